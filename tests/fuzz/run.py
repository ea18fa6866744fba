#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Feed the scripts with random, mutated and hostile data, as fast as it goes.

    python3 tests/fuzz/run.py FAMILY [--runs N | --seconds S] [--seed N] [--keep DIR]
    python3 tests/fuzz/run.py FAMILY --replay FILE

The families:

    exchange   datagrams, delays and losses against the exchange of udp_tracker_client.py
    http       replies, redirects and connections that end against what http_tracker_client.py
               does to fetch a URL
    replies    bytes of replies against its parser: whole, byte by byte, in random pieces
    frames     what comes over WebSocket against its parser, likewise, and messages of trackers
    swarms     trackers with orders, numbers and troubles of their own against the surveys of
               `tracker_checker.py swarms`
    bencode    bytes against decode() and encode() of bencode.py
    inputs     configurations, lists, magnet links, .torrent files, URLs and words of a command
               line against the input code of tracker_checker.py and the clients
    reports    results with hostile texts against every report of tracker_checker.py

A run makes one case and checks it: nothing but the declared errors may come out, and what the
family promises has to hold. The same seed gives the same cases. The first case that breaks at
each place of the code is shown and, with --keep, kept as a file that --replay takes: a Python
literal, so that it can be read and cut down by hand.

Exit code: 0 nothing broke, 1 something did, 2 wrong usage.
"""
import argparse
import ast
import importlib
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter

FUZZ = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(FUZZ))
sys.path[:0] = [FUZZ, ROOT]

FAMILIES = (
    "exchange", "http", "replies", "frames", "swarms", "bencode", "inputs", "reports"
)
LONGEST = 10  # seconds of processor time that a case may take
SHOWN = 20  # places of the code for which a case is shown and kept


class TookTooLong(BaseException):
    """A case does not come to an end. No Exception, so that the code under test lets it through."""


def end_case(number, frame):
    raise TookTooLong("no end after {} s of processor time".format(LONGEST))


def limit_time(seconds):
    """Ends a case after so many seconds, where the system has a timer for that; 0 stops it.

    Of processor time, so that it does not matter what else the machine does.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, seconds)


def run_case(family, case):
    """Returns (what the family says of the case, None), or (None, the error that broke it)."""
    limit_time(LONGEST)
    try:
        return family.check(case), None
    except (Exception, SystemExit, TookTooLong) as error:
        return None, error
    finally:
        limit_time(0)


def place_of(error):
    """Returns what makes two errors the same one: their type, and where they were raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    if isinstance(error, TookTooLong):
        return "took too long"
    return "{} at {}:{}".format(type(error).__name__, os.path.basename(frame[0]), frame[1])


def describe(error):
    lines = traceback.format_exception(type(error), error, error.__traceback__)
    return "".join(lines).encode("ascii", "backslashreplace").decode("ascii")


def keep(folder, name, case, note):
    """Writes a case into a file of the folder, below a note in comments; returns its path."""
    os.makedirs(folder, exist_ok=True)
    path = os.path.join(folder, name)
    comments = "".join("# {}\n".format(line) for line in note.splitlines())
    with open(path, "w", encoding="ascii") as file:
        file.write(comments + ascii(case) + "\n")
    return path


def load(path):
    """Returns the case in a file; raises OSError and ValueError."""
    with open(path, encoding="ascii") as file:
        try:
            return ast.literal_eval(file.read())
        except SyntaxError as error:
            raise ValueError(error)


def fuzz(name, family, runs, seconds, seed, folder):
    """Runs cases until so many are done or the time is over; returns how many of them broke."""
    rng = random.Random(seed)
    outcomes = Counter()
    places = Counter()
    began = time.monotonic()
    done = 0
    while time.monotonic() - began < seconds if runs is None else done < runs:
        case = family.generate(rng)
        outcome, error = run_case(family, case)
        done += 1
        if error is None:
            outcomes[outcome] += 1
            continue
        place = place_of(error)
        places[place] += 1
        if places[place] == 1 and len(places) <= SHOWN:
            note = "{}, seed {}, run {}: {}\n{}".format(name, seed, done, place, describe(error))
            print(note)
            if folder:
                file_name = "{}-{}-{}.txt".format(name, seed, done)
                print("kept as {}\n".format(keep(folder, file_name, case, note)))
    report(name, done, time.monotonic() - began, seed, outcomes, places)
    return sum(places.values())


def report(name, done, seconds, seed, outcomes, places):
    text = "{}: {:,} runs in {:.1f} s, seed {}: {:,} broke"
    print(text.format(name, done, seconds, seed, sum(places.values())))
    for counts in (outcomes, places):
        for key, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            print("  {:>9,}  {}".format(count, key))


def replay(name, family, path):
    """Runs the case in a file; returns the exit code."""
    outcome, error = run_case(family, load(path))
    if error is None:
        print("{}: {}: {}".format(name, path, outcome))
        return 0
    print(describe(error))
    print("{}: {}: broke: {}".format(name, path, place_of(error)))
    return 1


def parse_arguments(argv):
    parser = argparse.ArgumentParser(
        prog="tests/fuzz/run.py",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage="%(prog)s FAMILY [options]",
    )
    parser.add_argument("family", metavar="FAMILY", choices=FAMILIES)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--runs", type=int, metavar="N", help="default 100000")
    length.add_argument("--seconds", type=float, metavar="S", help="in place of a number of runs")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="default 1")
    parser.add_argument("--keep", metavar="DIR", help="keep what breaks in this folder")
    parser.add_argument("--replay", metavar="FILE", help="run the one case in a kept file")
    arguments = parser.parse_args(argv)
    if arguments.runs is None and arguments.seconds is None:
        arguments.runs = 100000
    return arguments


def main(argv):
    """Runs the command with the arguments after its name; returns the exit code."""
    arguments = parse_arguments(argv)
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGPROF, end_case)
    # Not by the family's name alone: a module http or bencode would hide another.
    family = importlib.import_module("fuzz_" + arguments.family)
    if arguments.replay:
        try:
            return replay(arguments.family, family, arguments.replay)
        except (OSError, ValueError) as error:
            print("{}: {}".format(arguments.replay, error), file=sys.stderr)
            return 2
    broken = fuzz(
        arguments.family,
        family,
        arguments.runs,
        arguments.seconds,
        arguments.seed,
        arguments.keep,
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
