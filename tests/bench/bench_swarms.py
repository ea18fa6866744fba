#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure `tracker_checker.py swarms` with many torrents, and beside others: one command, one run.

    python3 tests/bench/bench_swarms.py

All trackers are on loopback, made up by the loopback tracker in processes of their own. The same
torrents are asked for by bittorrent-tracker's Client.scrape (npm; BITTORRENT_TRACKER_DIR in the
environment names the folder it is installed in), by tracker-scraper of PyPI (see others.py) and by
a loop over udp_tracker_client.py, and http_tracker_client.py, of 74 torrents a command. None but
this checker looks whether replies are in the order in which it asked, and the others do not send
again what was lost. Every count is compared with what the trackers count; one that is wrong fails.
Over HTTP tracker-scraper writes a space in an info hash as +, which the loopback tracker, as
opentracker, takes for a +, and so counts another torrent.

--loss measures something else: 5,000 torrents on three UDP trackers that lose a tenth of the
datagrams each way, with replies in the order of the request, sorted, reversed and at random. No
count may be wrong, and fewer than one in 1,000 torrents may lack one.

Exit code 0: all limits hold; 1: one is broken, or a count is wrong. With --quick there are few
torrents, no limits on time and memory, and no others but the loop. Needs Linux, and takes some
three minutes.
"""
import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from contextlib import ExitStack, contextmanager
from functools import partial

import others
from servers import run_measured, server

BENCH = os.path.dirname(os.path.abspath(__file__))
TESTS = os.path.dirname(BENCH)
ROOT = os.path.dirname(TESTS)

SCRIPTS = ("tracker_checker.py", "udp_tracker_client.py", "http_tracker_client.py", "bencode.py")
PATIENCE = 400  # seconds after which a run is ended
PER_REQUEST = 74
MOST_FOR_LOOP = 50000  # answers; it takes longer than anybody has patience for more

# udp, http: how many trackers of each; seconds and memory (in MB): the most that ours may take,
# None without a limit
Case = namedtuple("Case", "torrents udp http seconds memory")
CASES = [
    Case(20000, 1, 0, 3, 120),
    Case(100000, 1, 0, 15, 400),
    Case(2000, 10, 10, 10, None),
]
QUICK_CASES = [Case(1000, 1, 0, None, None), Case(200, 2, 2, None, None)]

LOST = 0.1  # of the datagrams each way
LOSS_ORDERS = (None, "scrape-sorted", "scrape-reversed", "scrape-random")
LOSS_TRACKERS = 3
MOST_MISSING = 1 / 1000  # of the torrents

# ours: whether a count that is wrong is a fault of ours; command: a function of (folder with the
# scripts, file with the torrents, tracker URLs); read: a generator of (info hash in hex, (seeders,
# completed, leechers) or None for what has failed) from the file that has what was printed and the
# file with the torrents.
Tool = namedtuple("Tool", "name ours command read")

# What a run took: seconds on the clock and of the processor, MB; whether it did what it should.
Run = namedtuple("Run", "seconds processor memory failure")

SCRAPER = """
import logging, sys
from tracker_scraper import scrape
logging.disable(logging.CRITICAL)
hashes = open(sys.argv[1]).read().split()
for tracker in sys.argv[2:]:
    for at in range(0, len(hashes), 74):
        for info_hash, found in scrape(tracker, hashes[at:at + 74]).items():
            print(info_hash, found["seeds"], found["complete"], found["peers"])
"""
LOOP = """
for tracker
do
  case $tracker in
    udp:*) client=udp_tracker_client.py;;
    *) client=http_tracker_client.py;;
  esac
  xargs -n 74 -a "$HASHES" "$PYTHON" "$FOLDER/$client" scrape "$tracker" --format compact || exit
done
"""


# --- trackers ---


def serve(torrents, fault, loss, seed, ready):
    """Runs a tracker with so many made-up torrents; says (its UDP URL, its HTTP URL)."""
    # Not imported by the process that starts the checker, see run().
    sys.path.insert(0, TESTS)
    from loopback_tracker import LoopbackTracker

    with LoopbackTracker(udp_fault=fault, seed=seed) as tracker:
        tracker.make_up_torrents(torrents)
        tracker.loss_rate = loss
        ready.send((tracker.udp_url, tracker.http_url + "/announce"))
        signal.pause()


@contextmanager
def trackers(torrents, udp, http, fault=None, loss=0):
    """Yields the URLs of so many trackers of each kind, all of them with the same torrents."""
    with ExitStack() as stack:
        urls = [
            stack.enter_context(server(partial(serve, torrents, fault, loss, number)))
            for number in range(max(udp, http))
        ]
        yield [each for each, _ in urls[:udp]] + [each for _, each in urls[:http]]


def write_hashes(torrents, path, ready):
    sys.path.insert(0, TESTS)
    from loopback_tracker import made_up_info_hash

    with open(path, "w") as file:
        file.writelines(made_up_info_hash(number).hex() + "\n" for number in range(torrents))
    ready.send(None)


# --- what is measured ---


def our_command(python, folder, path, urls):
    script = os.path.join(folder, "tracker_checker.py")
    return [python, script, "swarms", path] + urls + ["--format", "compact", "--no-progress"]


def read_ours(output, hashes):
    for entry in json.load(output):
        for said in entry["trackers"]:
            counts = None
            if "error" not in said:
                counts = said["seeders"], said["completed"], said["leechers"]
            yield entry["info_hash"], counts


def loop_command(python, folder, path, urls):
    settings = ["PYTHON=" + python, "FOLDER=" + folder, "HASHES=" + path]
    return ["env"] + settings + ["sh", "-c", LOOP, "sh"] + urls


def read_loop(output, hashes):
    """Reads a line a command: a list of entries over UDP, a dictionary by info hash over HTTP."""
    hashes = [line.strip() for line in hashes]
    at = 0  # among all that was asked for over UDP
    for line in output:
        found = json.loads(line)
        if "Scrape" in found:
            for entry in found["Scrape"]["torrent_stats"]:
                yield hashes[at % len(hashes)], tuple(entry.values())
                at += 1
        else:
            for info_hash, entry in found.items():
                yield info_hash, (entry["complete"], entry["downloaded"], entry["incomplete"])


def read_lines(output, hashes):
    for line in output:
        info_hash, *counts = line.split()
        yield info_hash, tuple(map(int, counts))


def scraper_command(package, folder, path, urls):
    return package.command + ["-c", SCRAPER, path] + urls


def node_command(npm, folder, path, urls):
    script = os.path.join(BENCH, "scrape_with_bittorrent_tracker.mjs")
    return ["node", script, npm, path] + urls


def our_tool(python):
    return Tool("this checker", True, partial(our_command, python), read_ours)


def loop_tool(python):
    name = "loop over the clients, {} torrents a command".format(PER_REQUEST)
    return Tool(name, True, partial(loop_command, python), read_loop)


def make_scraper():
    """Returns the Tool of tracker-scraper; raises what says that it cannot."""
    package = others.install("tracker-scraper")
    name = "{} {}".format(package.name, package.version)
    return Tool(name, False, partial(scraper_command, package), read_lines)


def make_node_tool():
    """Returns the Tool of bittorrent-tracker; raises OSError where it is not here."""
    npm = os.environ.get("BITTORRENT_TRACKER_DIR", "")
    with open(os.path.join(npm, "node_modules", "bittorrent-tracker", "package.json")) as file:
        version = json.load(file)["version"]
    if not shutil.which("node"):
        raise OSError("no node on the PATH")
    # Over UDP alone: it takes info hashes of HTTP replies for text.
    name = "bittorrent-tracker {}, over UDP".format(version)
    return Tool(name, False, partial(node_command, npm), read_lines)


def make_tools(python, quick):
    """Returns the Tools that are measured beside ours, and prints which cannot be."""
    tools = []
    for name, make in (("bittorrent-tracker", make_node_tool), ("tracker-scraper", make_scraper)):
        if quick:
            continue
        try:
            tools.append(make())
        except (OSError, subprocess.CalledProcessError) as error:
            print("{}: not measured: {}".format(name, error))
    return tools + [loop_tool(python)]


# --- measurement ---


def compare(tool, output_path, hashes_path, times, ready):
    """Compares what was printed with what trackers count for made-up torrents.

    Says (wrong counts, missing ones, torrents that lack one, torrents without any), or an error.
    """
    sys.path.insert(0, TESTS)
    from loopback_tracker import made_up_counts

    try:
        found, wrong = {}, 0
        with open(output_path) as output, open(hashes_path) as hashes:
            expected = [line.strip() for line in hashes]
            hashes.seek(0)
            for info_hash, counts in tool.read(output, hashes):
                if counts is not None:
                    found[info_hash] = found.get(info_hash, 0) + 1
                    wrong += counts != tuple(made_up_counts(bytes.fromhex(info_hash)))
        numbers = [found.get(info_hash, 0) for info_hash in expected]
        wrong += sum(number > times for number in numbers) + len(set(found) - set(expected))
        missing = sum(times - number for number in numbers)
        lacking = sum(number < times for number in numbers)
        ready.send((wrong, missing, lacking, numbers.count(0)))
    except Exception as error:
        with open(output_path, "rb") as output:
            output.seek(0, os.SEEK_END)
            output.seek(max(0, output.tell() - 100))
            ready.send("{!r}; the end of its output: {}".format(error, ascii(output.read())))


def run(tool, command, folder, path, times):
    """Runs a command to its end; returns (its Run, what compare() says of what it printed).

    The kernel counts the peak memory of this process as the command's own, so that this process
    has to be the smaller one: what is printed is read by another one.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    output_path = os.path.join(folder, "output")
    with open(output_path, "wb") as output, open(os.path.join(folder, "errors"), "w+b") as errors:
        seconds, status, usage = run_measured(command, environment, output, errors, PATIENCE)
        errors.seek(0)
        said = ascii(errors.read()[-200:])
    with server(partial(compare, tool, output_path, path, times)) as found:
        pass
    failure = None
    if os.WIFSIGNALED(status):
        failure = "ended by signal {} after {:.0f} s".format(os.WTERMSIG(status), seconds)
    elif status:
        failure = "exit code {}: {}".format(os.WEXITSTATUS(status), said)
    elif isinstance(found, str):
        failure = found
    elif found[0]:
        failure = "{:,} COUNTS ARE WRONG".format(found[0])
    processor = usage.ru_utime + usage.ru_stime
    return Run(seconds, processor, usage.ru_maxrss / 1024, failure), found


def run_tool(tool, folder, path, urls):
    """Returns the Run of a tool, in which no count may be wrong and none missing."""
    if "over UDP" in tool.name:
        urls = [url for url in urls if url.startswith("udp:")]
    command = tool.command(folder, path, urls)
    found, said = run(tool, command, folder, path, len(urls))
    if not found.failure and said[1]:
        found = found._replace(failure="{:,} COUNTS ARE MISSING".format(said[1]))
    return found


def judge(case, found):
    """Returns (the limits and whether ours keeps them, as text; whether it does)."""
    limits = [(found.seconds, case.seconds, "{} s"), (found.memory, case.memory, "{} MB")]
    limits = [limit for limit in limits if limit[1] is not None]
    text = ", ".join(unit.format(most) for _, most, unit in limits)
    kept = all(value <= most for value, most, _ in limits)
    return (text and "{}: {}".format(text, "ok" if kept else "OVER")), kept


def title_of(case):
    return "{:,} torrents on {}".format(
        case.torrents,
        " and ".join(
            "{} {} tracker{}".format(number, kind, "s" * (number > 1))
            for number, kind in ((case.udp, "UDP"), (case.http, "HTTP"))
            if number
        ),
    )


def write_torrents(case, folder):
    """Writes the info hashes of a case into the folder; returns the path of the file."""
    path = os.path.join(folder, "hashes.txt")
    with server(partial(write_hashes, case.torrents, path)):
        pass
    return path


def measure_case(case, ours, tools, folder):
    """Prints a table of a case; returns how many limits were broken and counts wrong."""
    path = write_torrents(case, folder)
    misses = 0
    titles = ("seconds", "x ours", "processor s", "peak MB", "x ours")
    print("\n{:52}{:>9}{:>8}{:>13}{:>9}{:>8}".format(title_of(case), *titles), flush=True)
    with trackers(case.torrents, case.udp, case.http) as urls:
        base = None
        for tool in [ours] + tools:
            if tool.read is read_loop and case.torrents * len(urls) > MOST_FOR_LOOP:
                continue
            found = run_tool(tool, folder, path, urls)
            base = base or found
            verdict, kept = judge(case, found) if tool is ours else ("", True)
            if found.failure:
                verdict, kept = found.failure, not tool.ours
            misses += not kept
            row = "  {:50}{:9.2f}{:8.2f}{:13.2f}{:9.1f}{:8.2f}  {}".format(
                tool.name,
                found.seconds,
                found.seconds / base.seconds,
                found.processor,
                found.memory,
                found.memory / base.memory,
                verdict,
            )
            print(row.rstrip(), flush=True)
    return misses


# --- loss ---


def measure_loss(torrents, ours, folder):
    """Prints a row for each order of replies; returns how many have broken what is promised."""
    path = os.path.join(folder, "hashes.txt")
    with server(partial(write_hashes, torrents, path)):
        pass
    title = "{:,} torrents on {} UDP trackers, {:.0f} % lost each way".format(
        torrents, LOSS_TRACKERS, LOST * 100
    )
    titles = ("seconds", "wrong", "missing", "torrents", "unknown")
    print("\n{:56}{:>9}{:>7}{:>9}{:>10}{:>9}".format(title, *titles), flush=True)
    misses = 0
    for order in LOSS_ORDERS:
        with trackers(torrents, LOSS_TRACKERS, 0, order, LOST) as urls:
            command = ours.command(folder, path, urls)
            found, said = run(ours, command, folder, path, len(urls))
        if isinstance(said, str):
            said = (0,) * 4
        kept = not found.failure and said[2] < max(1, torrents * MOST_MISSING)
        misses += not kept
        row = "  {:54}{:9.2f}{:7,}{:9,}{:10,}{:9,}  {}"
        name = (order or "scrape in the order of the request").replace("-", " ")
        verdict = "ok" if kept else found.failure or "OVER"
        print(row.format(name, found.seconds, *said, verdict), flush=True)
    return misses


# --- command line ---


def describe_machine():
    """Returns a line that says on what, and when, this was measured."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            names = [line for line in file if line.startswith("model name")]
            model = names[0].partition(":")[2].strip()
    except (OSError, IndexError):
        pass
    return "{}; {}, {} cores, load {:.1f}; {}".format(
        time.strftime("%Y-%m-%d"), model, os.cpu_count(), os.getloadavg()[0], platform.system()
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="the interpreter of the scripts"
    )
    parser.add_argument("--quick", action="store_true", help="few torrents, no limits on time")
    parser.add_argument("--loss", action="store_true", help="measure what is lost, and no times")
    parser.add_argument(
        "--torrents", type=int, metavar="N", help="with --loss (default 5000, 300 with --quick)"
    )
    arguments = parser.parse_args()
    version = subprocess.check_output([arguments.python, "--version"], universal_newlines=True)
    print("{}; {}".format(version.strip(), describe_machine()))
    ours = our_tool(arguments.python)
    # A copy, so that compiled files are left there.
    with tempfile.TemporaryDirectory() as folder:
        for script in SCRIPTS:
            shutil.copy(os.path.join(ROOT, script), folder)
        if arguments.loss:
            torrents = arguments.torrents or (300 if arguments.quick else 5000)
            misses = measure_loss(torrents, ours, folder)
        else:
            tools = make_tools(arguments.python, arguments.quick)
            cases = QUICK_CASES if arguments.quick else CASES
            misses = sum(measure_case(case, ours, tools, folder) for case in cases)
    print("\n{}".format("All limits hold." if not misses else "{} OVER".format(misses)))
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
