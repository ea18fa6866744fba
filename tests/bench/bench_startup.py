#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure how long the scripts take from their start to their exit: one command, one run.

    python3 tests/bench/bench_startup.py

What a script may take is a multiple of what the interpreter takes to import the libraries that
it needs. All commands run in turn, round after round, so that a busy machine slows all of them
alike, and in each round in another order, since a command takes longer after one that left less
of Python in the processor's caches; ratios are those of the medians. A tracker on loopback, in a
process of its own, answers the announces. Measured are the system's python3 and the one on the
PATH or of pyenv.
Exit code 0: all limits hold; 1: one is broken. They are limits on the time on the clock; the
ratio in processor time is printed beside it, since it is the steadier one on a busy machine.

The scripts run from a copy in the system's temporary directory, where Python may keep its
compiled bencode.py as it does for a user. What the packages that are installed for an interpreter
let it do at every start is in all rows, and brings the ratios nearer to 1: the first row shows
how much that is. Needs Python 3.8 and a POSIX system.
"""
import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import namedtuple
from contextlib import contextmanager
from statistics import median

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)
sys.path.insert(0, TESTS)
from loopback_tracker import LoopbackTracker  # noqa: E402
from servers import server  # noqa: E402

SCRIPTS = ("bencode.py", "udp_tracker_client.py", "http_tracker_client.py", "tracker_checker.py")
INFO_HASH = "9c38422213e30bff212b30c360d26f9a02136422"

UDP_BASE = "import socket, struct, json, argparse"
HTTP_BASE = "import urllib.request, json, argparse"

# base: the name of the command whose median, times limit, is the most this one may take; None
# for no limit
Command = namedtuple("Command", "name arguments exit_code base limit")


# --- what is measured ---


def commands_for(folder, udp_url, http_url):
    """Returns the Commands, bases first; the arguments are those after the interpreter."""
    udp, http, checker = (os.path.join(folder, script) for script in SCRIPTS[1:])
    return [
        Command("the interpreter alone", ["-c", "pass"], 0, None, None),
        Command("A: " + UDP_BASE, ["-c", UDP_BASE], 0, None, None),
        Command("B: " + HTTP_BASE, ["-c", HTTP_BASE], 0, None, None),
        Command("UDP announce", [udp, "announce", udp_url, INFO_HASH], 0, "A", 1.35),
        Command("HTTP announce", [http, "announce", http_url, INFO_HASH], 0, "B", 0.95),
        Command("checker --version", [checker, "--version"], 0, "A", None),
    ]


def child_environment():
    """Returns an environment without a proxy and without a say in how Python keeps bytecode."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith("PYTHON")
    }


# --- measurement ---


def spawn(python, arguments, environment):
    """Runs the interpreter with all streams at /dev/null.

    Returns ((seconds on the clock, seconds of processor time), exit code).
    """
    silence = [(os.POSIX_SPAWN_OPEN, number, os.devnull, os.O_RDWR, 0) for number in range(3)]
    start = time.perf_counter()
    pid = os.posix_spawn(python, [python] + arguments, environment, file_actions=silence)
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - start
    code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
    return (seconds, usage.ru_utime + usage.ru_stime), code


def measure(python, commands, runs):
    """Returns {name: [(seconds on the clock, seconds of processor time), ...]}.

    Raises RuntimeError for an exit code that is not the expected one.
    """
    environment = child_environment()
    samples = {command.name: [] for command in commands}
    # The first round fills caches, Python's of bytecode among them, and is not counted.
    for number in range(runs + 1):
        for command in random.sample(commands, len(commands)):
            times, code = spawn(python, command.arguments, environment)
            if code != command.exit_code:
                text = "{}: exit code {}, expected {}"
                raise RuntimeError(text.format(command.name, code, command.exit_code))
            if number:
                samples[command.name].append(times)
    return samples


def ratios_of(commands, samples):
    """Returns {name: (ratio to the base on the clock, in processor time)} of those with a base."""
    medians = {name: [median(times) for times in zip(*samples[name])] for name in samples}
    bases = {name.partition(":")[0]: medians[name] for name in medians}
    return {
        name: tuple(ours / base for ours, base in zip(medians[name], bases[command.base]))
        for command in commands
        for name in [command.name]
        if command.base
    }


def report(commands, samples):
    """Prints a row for each command; returns the names of those over their limits."""
    ratios = ratios_of(commands, samples)
    titles = ("best ms", "median ms", "ratio", "limit", "processor ms", "ratio")
    print("{:42}{:>9}{:>11}{:>9}{:>9}{:>16}{:>9}".format("", *titles))
    over = []
    for command in commands:
        best = min(seconds for seconds, _ in samples[command.name])
        seconds, processor = (median(times) for times in zip(*samples[command.name]))
        ratio = limit = processor_ratio = verdict = ""
        if command.base:
            ratio, processor_ratio = (
                "{:.2f} {}".format(each, command.base) for each in ratios[command.name]
            )
        if command.limit:
            limit = "{:.2f} {}".format(command.limit, command.base)
            verdict = "ok" if ratios[command.name][0] <= command.limit else "over"
        if verdict == "over":
            over.append(command.name)
        row = "  {:40}{:9.1f}{:11.1f}{:>9}{:>9}{:16.1f}{:>9}  {}"
        times = best * 1e3, seconds * 1e3, ratio, limit, processor * 1e3, processor_ratio, verdict
        print(row.format(command.name, *times).rstrip())
    return over


# --- tracker, interpreters, command line ---


def serve(ready):
    """Runs the loopback tracker until its process is ended."""
    with LoopbackTracker() as tracker:
        ready.send((tracker.udp_url, tracker.http_url))
        signal.pause()


@contextmanager
def all_commands():
    """Yields the Commands, with a tracker that answers and a copy of the scripts."""
    with tempfile.TemporaryDirectory() as folder, server(serve) as urls:
        for script in SCRIPTS:
            shutil.copy(os.path.join(ROOT, script), folder)
        yield commands_for(folder, *urls)


def find_interpreters():
    """Returns the paths of the system's python3 and of the one on the PATH or of pyenv.

    Each is asked for its own path, since what is on the PATH may be a script that starts it.
    """
    found = {}
    for command in (["/usr/bin/python3"], ["python3"], ["pyenv", "exec", "python3"]):
        try:
            path = subprocess.check_output(
                command + ["-c", "import sys; print(sys.executable)"],
                stderr=subprocess.DEVNULL,
                universal_newlines=True,
            ).strip()
        except (OSError, subprocess.CalledProcessError):
            continue
        found.setdefault(os.path.realpath(path), path)
    return list(found.values())


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=40, help="runs of each command (default 40)")
    parser.add_argument(
        "--python", action="append", metavar="PATH", help="an interpreter to measure, repeatable"
    )
    arguments = parser.parse_args()
    pythons = [os.path.abspath(path) for path in arguments.python or find_interpreters()]
    over = []
    with all_commands() as commands:
        for python in pythons:
            version = subprocess.check_output([python, "--version"], universal_newlines=True)
            print("\n{} ({}), {} runs".format(python, version.strip(), arguments.runs), flush=True)
            try:
                samples = measure(python, commands, arguments.runs)
            except RuntimeError as error:
                sys.exit(str(error))
            over += ["{}: {}".format(python, name) for name in report(commands, samples)]
    print()
    for name in over:
        print("OVER  " + name)
    if not over:
        print("All limits hold.")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
