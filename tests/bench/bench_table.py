#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure what the README says of speed, and print it as a Markdown table: one command, one run.

    python3 tests/bench/bench_table.py

Each figure is a ratio of two times that were measured in this run; the other benches say how, and
measure more. The packages of others come from PyPI in the versions of requirements.txt (see
others.py), bittorrent-tracker from the folder that BITTORRENT_TRACKER_DIR names. What cannot be
measured has a row that says why. bencoder.pyx is measured by another Python of pyenv where it does
not install for the running one.

--readme writes the table into README.md, between two comments. --quick takes a few seconds, needs
no network, and has rows with small numbers and without the others: it shows that the command works.
Exit code 0: all that is ours was measured; 1: it gave a wrong result, or the two comments are not
there. Needs Linux and Python 3.8 or newer, and takes some four minutes.
"""
import argparse
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from collections import namedtuple
from glob import glob
from shutil import copy
from statistics import median

import bench_checker
import bench_startup
import bench_swarms
import others

BENCH = os.path.dirname(os.path.abspath(__file__))
README = os.path.join(bench_checker.ROOT, "README.md")
START, END = "<!-- bench table -->", "<!-- end of bench table -->"

SILENT = ("silent UDP", "silent HTTP", "silent WebSocket")
COMPILED = ("bencoder.pyx", "fastbencode")
LIBRARIES = ("bencodepy", "bencode.py") + COMPILED
CHECKERS = bench_checker.TOOLS[:2]
SCRAPERS = ("bittorrent-tracker", "tracker-scraper")
SCRAPES = ["--no-announce"]

# starts: of each command; samples: of each call; rounds: of short runs; of all of them the medians
# count. trackers: of a list; silence: the time-out in seconds where one is compared with many;
# patience: that of a list of silent trackers, beside checkers that have few at a time
Effort = namedtuple("Effort", "starts samples rounds trackers silence patience")
FULL = Effort(30, 11, 3, 1000, "5", "1")
QUICK = Effort(1, 1, 1, 10, "1", "1")

# A list of trackers that others check too. what: as printed; results: what this checker says of
# each one that is live; settings: of this checker; times of several rounds are medians.
Listed = namedtuple("Listed", "what urls results live timeout settings rounds")

# what, beside: as printed; result: a text
Row = namedtuple("Row", "what beside result")

NOTE = (
    "This checker asks more than the two others: over UDP they send a connect request, over HTTP"
    " an announce, once; it connects, announces, scrapes, leaves the swarm again, and repeats what"
    " is lost. The scrapers believe that replies are in the order of the request, and repeat"
    " nothing; over HTTP tracker-scraper writes a space in an info hash as `+`, which the tracker, as"
    " opentracker, takes for a `+`."
)


class Wrong(Exception):
    """What is ours did not do what it should: there is no figure for that."""


def speed(ratio):
    """Says how fast ours is, where it takes 1 and the other one ratio."""
    if ratio >= 1.05:
        return "{:.{}f} times as fast".format(ratio, 1 if ratio < 9.95 else 0)
    return "as fast" if ratio > 0.95 else length(1 / ratio)


def length(ratio):
    return "takes {:.2f} times as long".format(ratio)


def named(package):
    return "{} {}".format(package, others.pinned_versions()[package])


def skipped(why):
    return "not measured: " + why


# --- rows ---


def pythons():
    """Returns the running interpreter and those of pyenv, the newest first, each once a version."""
    root = os.environ.get("PYENV_ROOT", os.path.expanduser("~/.pyenv"))
    found = {}
    for path in glob(os.path.join(root, "versions", "3.*", "bin", "python3")):
        version = tuple(map(int, re.findall(r"\d+", path.split(os.sep)[-3])[:2]))
        if (3, 8) <= version != sys.version_info[:2]:
            found[version] = path
    return [sys.executable] + [found[version] for version in sorted(found, reverse=True)]


def can_install(name, python):
    try:
        others.install(name, python)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def bencode_rows(effort, quick):
    names = [] if quick else list(LIBRARIES)
    compiled_by = sys.executable
    if not quick:
        able = (python for python in pythons() if can_install("bencoder.pyx", python))
        compiled_by = next(able, None)
    found = {}
    for python in {sys.executable, compiled_by} - {None}:
        mine = [
            name
            for name in names
            if python == (compiled_by if name == "bencoder.pyx" else sys.executable)
        ]
        script = os.path.join(BENCH, "bench_bencode.py")
        command = [python, script, "--rounds", str(effort.samples), "--json"] + mine
        said = json.loads(subprocess.check_output(command))
        for operation, ratios in said["ratios"].items():
            found.setdefault(operation, {}).update(ratios)
            for name, failure in said["failed"].items():
                found[operation][name] = skipped(failure)
    for operation, ratios in found.items():
        what = "{} of a .torrent with 100 files ({:.0f} kB)".format(operation, said["bytes"] / 1e3)
        for name in LIBRARIES:
            result = ratios.get(name, skipped("--quick" if quick else "not built"))
            if not isinstance(result, str):
                result = speed(result)
                if name == "bencoder.pyx" and compiled_by != sys.executable:
                    result += " (both by {})".format(version_of(compiled_by))
            beside = named(name) + (", compiled" if name in COMPILED else "")
            yield Row(what, beside, result)


def startup_rows(effort, quick):
    with tempfile.TemporaryDirectory() as folder, bench_startup.all_commands() as commands:
        # What is installed for the interpreter may have it do something at every start.
        subprocess.check_call([sys.executable, "-m", "venv", "--without-pip", folder])
        python = os.path.join(folder, "bin", "python")
        try:
            samples = bench_startup.measure(python, commands, effort.starts)
        except RuntimeError as error:
            raise Wrong(str(error))
    codes = {"A": bench_startup.UDP_BASE, "B": bench_startup.HTTP_BASE}
    ratios = bench_startup.ratios_of(commands, samples)
    for command in commands:
        if command.base:
            beside = "`python3 -c '{}'`".format(codes[command.base])
            result = length(ratios[command.name][0])
            yield Row(command.name + ", from start to exit", beside, result)


def required(found):
    if found.failure:
        raise Wrong(found.failure)
    return found.seconds


def silent_rows(effort, quick, folder):
    for kind in SILENT:
        one, many = (
            required(
                bench_checker.measure_case(
                    bench_checker.Case(kind, count, None, None),
                    sys.executable,
                    folder,
                    effort.silence,
                )
            )
            for count in (1, effort.trackers)
        )
        what = "check of {:,} {} trackers".format(effort.trackers, kind)
        yield Row(what, "a check of one", length(many / one))


def list_rows(listed, packages, folder):
    """Yields a row for each of the other checkers; packages has a text for one that is not here."""
    path = bench_checker.write_list(folder, listed.urls)
    ours, theirs = [], {tool.name: [] for tool in CHECKERS}
    failures = dict(packages)
    command = bench_checker.checker_command(sys.executable, folder, path, listed.timeout)
    command += listed.settings
    for _ in range(listed.rounds):
        ours.append(required(bench_checker.run(command, listed.results, listed.live)))
        for tool in CHECKERS:
            package = packages[tool.package]
            if isinstance(failures[tool.package], str):
                continue
            found = bench_checker.run_tool(
                tool, package, path, len(listed.urls), listed.live, listed.timeout
            )
            theirs[tool.name].append(found.seconds)
            if found.failure:
                failures[tool.package] = "no: " + found.failure
    for tool in CHECKERS:
        result = failures[tool.package]
        if not isinstance(result, str):
            result = speed(median(theirs[tool.name]) / median(ours))
        yield Row(listed.what, named(tool.package), result)


def checker_rows(effort, quick, folder):
    packages = {}
    for tool in CHECKERS:
        try:
            packages[tool.package] = skipped("--quick") if quick else others.install(tool.package)
        except (OSError, subprocess.CalledProcessError):
            packages[tool.package] = skipped("could not be installed")
    count = effort.trackers
    for name, settings, does in (
        ("live UDP", [], "check"),
        ("live HTTP", [], "check"),
        ("live HTTP", SCRAPES, "`--no-announce` check"),
    ):
        kind = bench_checker.KINDS[name]
        with kind.start() as port:
            urls = bench_checker.tracker_urls(kind.scheme, count, port)
            what = "{} of {:,} {} trackers".format(does, count, name)
            timeout = bench_checker.TIMEOUT
            listed = Listed(what, urls, kind.results, count, timeout, settings, effort.rounds)
            yield from list_rows(listed, packages, folder)
    live = bench_checker.KINDS["live UDP"]
    with bench_checker.silent_udp() as silent_port, live.start() as live_port:
        urls = bench_checker.tracker_urls("udp", count, silent_port)
        urls += bench_checker.tracker_urls("udp", 1, live_port)
        what = "check of {:,} silent UDP trackers and a live one, time-out {} s"
        what = what.format(count, effort.patience)
        listed = Listed(what, urls, live.results, 1, effort.patience, [], 1)
        yield from list_rows(listed, packages, folder)


def find_scrapers(quick):
    """Returns {name: Tool, or a text that says why it is not here}."""
    makers = (bench_swarms.make_node_tool, bench_swarms.make_scraper)
    if quick:
        return {name: skipped("--quick") for name in SCRAPERS}
    tools = {}
    for name, make in zip(SCRAPERS, makers):
        try:
            tools[name] = make()
        except (OSError, subprocess.CalledProcessError):
            tools[name] = skipped("not installed")
    return tools


def swarm_row_of(case, name, tool, seconds, failure, ours):
    """Returns the Row of a scraper, which took so many seconds in the median, or has failed."""
    result = tool
    if not isinstance(tool, str):
        name = tool.name.replace(", over UDP", "")
        result = failure or speed(seconds / ours)
    return Row("`swarms`: " + bench_swarms.title_of(case), name, result)


def swarm_rows(effort, quick, folder):
    tools = find_scrapers(quick)
    ours = bench_swarms.our_tool(sys.executable)
    for case in bench_swarms.CASES:
        if quick:
            case = case._replace(
                torrents=case.torrents // 100, udp=min(case.udp, 2), http=min(case.http, 2)
            )
        failures = {}
        for name, tool in tools.items():
            if case.http and not isinstance(tool, str) and "over UDP" in tool.name:
                failures[name] = "no: it takes info hashes of HTTP replies for text"
        times = {name: [] for name in tools}
        our_times = []
        path = bench_swarms.write_torrents(case, folder)
        with bench_swarms.trackers(case.torrents, case.udp, case.http) as urls:
            for _ in range(effort.rounds):
                our_times.append(required(bench_swarms.run_tool(ours, folder, path, urls)))
                for name, tool in tools.items():
                    # One that has failed has no figure, however often it is tried.
                    if isinstance(tool, str) or name in failures:
                        continue
                    found = bench_swarms.run_tool(tool, folder, path, urls)
                    times[name].append(found.seconds)
                    if found.failure:
                        failures[name] = "no: " + found.failure.lower()
        for name, tool in tools.items():
            seconds = median(times[name] or [0])
            yield swarm_row_of(case, name, tool, seconds, failures.get(name), median(our_times))


def make_rows(quick):
    effort = QUICK if quick else FULL
    yield from bencode_rows(effort, quick)
    yield from startup_rows(effort, quick)
    # A copy, so that compiled files are left there.
    with tempfile.TemporaryDirectory() as folder:
        for script in bench_swarms.SCRIPTS:
            copy(os.path.join(bench_checker.ROOT, script), folder)
        yield from silent_rows(effort, quick, folder)
        yield from checker_rows(effort, quick, folder)
        yield from swarm_rows(effort, quick, folder)


# --- Markdown ---


def version_of(python):
    return subprocess.check_output([python, "--version"], universal_newlines=True).strip()


def cell(text):
    return " ".join(text.replace("|", "\\|").split())


def make_table(quick):
    """Measures; returns the text that stands between the two comments. Raises Wrong."""
    machine = bench_swarms.describe_machine()
    lines = ["Measured with {}; {}.".format(version_of(sys.executable), machine), ""]
    lines += ["| what | beside | this project |", "| --- | --- | --- |"]
    for row in make_rows(quick):
        lines.append("| {} |".format(" | ".join(map(cell, row))))
        if sys.stderr.isatty():
            print(lines[-1], file=sys.stderr, flush=True)
    return "\n".join(lines + ["", NOTE]) + "\n"


def parts_of(text):
    """Returns (what is before the table, the table, what is after it), or None without comments."""
    before, start, rest = text.partition(START + "\n")
    table, end, after = rest.partition(END)
    return (before + start, table, end + after) if end else None


def shape_of(table):
    """Returns the heading and rows of a table without figures: what is measured beside what."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    rows = [line.split(" | ")[:2] for line in lines]
    return lines[:1] + [[re.sub(r" ?\d[\d.,]*", "", text) for text in row] for row in rows]


# --- command line ---


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small numbers, and no others")
    parser.add_argument(
        "--readme",
        nargs="?",
        const=README,
        metavar="FILE",
        help="write the table into the file (README.md) as well",
    )
    arguments = parser.parse_args()
    parts = None
    if arguments.readme:
        with open(arguments.readme, encoding="utf-8") as file:
            parts = parts_of(file.read())
        if parts is None:
            form = "{}: there are no lines {!r} and {!r} to write the table between"
            print(form.format(arguments.readme, START, END), file=sys.stderr)
            return 1
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    try:
        table = make_table(arguments.quick)
    except Wrong as error:
        print("not what it should be: {}".format(error), file=sys.stderr)
        return 1
    print(table, end="")
    if parts:
        with open(arguments.readme, "w", encoding="utf-8") as file:
            file.write(parts[0] + table + parts[2])
    return 0


if __name__ == "__main__":
    sys.exit(main())
