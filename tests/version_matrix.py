#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Every script, bundle, main format and main error, on every Python, under all circumstances.

    python3 tests/version_matrix.py

prints the table: a row for each of them, a column for each Python found here. test_versions.py
runs the same as tests. A case is what is run and what has to come of it; a circumstance is how
Python is started, and in which surroundings. All cases are run with warnings as errors; those that
stand for the others (MAIN) under each circumstance, too.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

from helpers import ROOT, clean_environment, find_pythons
from loopback_tracker import LoopbackTracker

import bencode  # loopback_tracker.py has made it importable

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
SCRIPTS = ["udp_tracker_client.py", "http_tracker_client.py", "tracker_checker.py", "bencode.py"]
BUNDLES = [script[:-3] + ".pyz" for script in SCRIPTS[:3]] + ["tracker_client.pyz"]

# stdout and stderr are patterns, None for nothing at all; words in braces are names of the World.
Case = namedtuple("Case", "name script arguments code stdout stderr")


def well(name, script, arguments, stdout):
    return Case(name, script, arguments.split(), 0, stdout, None)


def wrong(name, script, arguments, code, stderr, stdout=None):
    return Case(name, script, arguments.split(), code, stdout, stderr)


UDP, HTTP, CHECK, BENCODE = SCRIPTS
CASES = [
    well("udp announce", UDP, "announce {udp} {hash}", r'^\{\n  "AnnounceIpv4": '),
    well("udp scrape", UDP, "scrape {udp} {hash} --format compact", r'^\{"Scrape":\{.*\}\n$'),
    well("http announce", HTTP, "announce {http} {hash} --key -4 -v", r'"complete": \d')._replace(
        stderr=r"-> .*announce"
    ),
    well("http scrape", HTTP, "scrape {http} {hash}", r'"downloaded": \d'),
    well("ws announce", HTTP, "announce {ws} {hash}", r'"interval": 120\n\}'),
    well("ws scrape", HTTP, "scrape {ws} {hash}", r'"downloaded": \d'),
    well("json", CHECK, "{trackers}", r'^\[\n  \{\n    "Udp": \{\n      "Ok"(.|\n)*"Ws"'),
    well("ndjson", CHECK, "--format ndjson {trackers}", r'^(\{"time":.*"status":"ok".*\}\n){4}$'),
    well("table", CHECK, "--format table {trackers}", r"\n4 up \(0 partial\), 0 down, 0 unsupp"),
    well("html", CHECK, "--format html {trackers}", r"^<!DOCTYPE html>(.|\n)*</html>\n$"),
    well("prometheus", CHECK, "--format prometheus {trackers}", r'\ntracker_up\{.*\} 1\n'),
    well("nagios", CHECK, "--format nagios {trackers}", r"^TRACKERS OK - 4 of 4 up \| up=4"),
    well("urls", CHECK, "--format urls {udp}", r"^udp://.*\n$"),
    well("torrent", CHECK, "--format table {torrent}", r"\n1 up"),
    well(
        "monitor", CHECK, "monitor --duration 0.1 --interval 1 {udp}", r'^\{"udp_trackers".*\n$'
    )._replace(stderr=r'^\{"event":"probe".*\n$'),
    well("swarms", CHECK, "swarms {hash} {udp} {http} {ws}", r'"trackers": \[(.|\n)*"tracker"'),
    well("swarms table", CHECK, "swarms {torrent} --format table", r"\n1 torrent, "),
    well("bencode", BENCODE, "{torrent}", r'"name": "linux"'),
    well("info hash", BENCODE, "--info-hash {torrent}", r"^[0-9a-f]{40}\n$"),
    well("udp bundle", BUNDLES[0], "scrape {udp} {hash}", r'"Scrape"'),
    well("http bundle", BUNDLES[1], "scrape {ws} {hash}", r'"downloaded"'),
    well("checker bundle", BUNDLES[2], "--format urls {trackers}", r"^udp"),
    well("one tool", BUNDLES[3], "check swarms {hash} {http} --format table", r"\n1 torrent, "),
    wrong("refused", UDP, "scrape {closed} {hash}", 1, r'^\{"error":\{"kind":"refused".*\}\n$'),
    wrong("failure", HTTP, "announce {failure} {hash}", 1, None, r'"failure reason": "torrent not'),
    wrong("down", CHECK, "--fail {closed}", 1, None, r'"Err": "connection refused"'),
    wrong("configuration", CHECK, "[", 2, r'^\{"error":\{"kind":"invalid_configuration".*\}\n$'),
    wrong("broken bencode", BENCODE, "{script}", 1, r'^\{"error":\{"kind":"invalid_bencode"'),
]
CASES += [well("help", script, "--help", r"^usage: .*\n(.*\n)*examples:\n") for script in SCRIPTS]
CASES += [well("version", script, "--version", r"^" + script + r" \d") for script in SCRIPTS]
CASES += [
    wrong("usage", script, "--nonsense", 2, r"^" + script + r": error: .*--nonsense.*\n$")
    for script in SCRIPTS
]
MAIN = ("udp scrape", "table", "bencode", "refused")

# How Python is started; what stands in the surroundings is done by run().
CIRCUMSTANCES = {
    "-O": ["-O"],
    "-I": ["-I"],
    "LC_ALL=C": [],
    "PYTHONUNBUFFERED=1": [],
    "closed stdin": [],
    "closed stdout": [],
    "read-only folder": [],
}


class World:
    """A running tracker, and a folder with the scripts, the bundles and a .torrent.

    As root the folder is mounted read-only where that can be done, since nothing else keeps root
    from writing there.
    """

    def __init__(self, folder, tracker):
        self.folder = folder
        for script in SCRIPTS:
            shutil.copy(os.path.join(ROOT, script), folder)
        tool = os.path.join(ROOT, "tools", "build_zipapps.py")
        command = [sys.executable, tool, "--output", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        torrent = os.path.join(folder, "linux.torrent")
        with open(torrent, "wb") as file:
            value = {b"announce": tracker.udp_url.encode(), b"info": {b"name": b"linux"}}
            file.write(bencode.encode(value))
        for name in os.listdir(folder):
            os.chmod(os.path.join(folder, name), 0o444)
        os.chmod(folder, 0o555)
        self.words = {
            "udp": tracker.udp_url,
            "http": tracker.http_url,
            "ws": tracker.ws_url,
            "failure": tracker.http_url + "/fault/failure/announce",
            "closed": "udp://127.0.0.1:1",
            "hash": HASH,
            "torrent": torrent,
            "script": os.path.join(folder, BENCODE),
            "trackers": json.dumps(
                {
                    "udp_trackers": [tracker.udp_url],
                    "http_trackers": [tracker.http_url, tracker.ws_url],
                    "health_checks": [tracker.health_url],
                }
            ),
        }
        mount = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
        self.read_only = ["unshare", "-m", "sh", "-c", mount, folder]
        try:
            tried = subprocess.run(
                self.read_only + ["true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            if tried.returncode:
                self.read_only = []
        except OSError:
            self.read_only = []

    def close(self):
        """Makes the folder one that can be removed."""
        os.chmod(self.folder, 0o755)


def run(case, python, circumstance, world):
    """Runs a case; returns what is wrong with what came of it, "" for nothing."""
    arguments = [argument.format(**world.words) for argument in case.arguments]
    flags = ["-W", "error"] + CIRCUMSTANCES.get(circumstance, [])
    command = [python] + flags + [os.path.join(world.folder, case.script)] + arguments
    name, equals, value = circumstance.partition("=")
    environment = clean_environment({name: value} if equals else {})
    if circumstance == "read-only folder":
        # It may want to keep what it compiled.
        del environment["PYTHONDONTWRITEBYTECODE"]
        command = world.read_only + command
    closed = {"closed stdin": "<&-", "closed stdout": ">&-"}.get(circumstance)
    if closed:
        command = ["sh", "-c", 'exec "$@" ' + closed, "sh"] + command
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=environment,
        cwd=world.folder,
        timeout=60,
    )
    if circumstance == "closed stdout":
        case = case._replace(stdout=None)
        if case.code == 0:
            case = case._replace(code=1, stderr=r'^\{"error":\{"kind":"output_failed".*\}\n$')
    right = done.returncode == case.code and all(
        text == "" if pattern is None else re.search(pattern, text)
        for pattern, text in ((case.stdout, done.stdout), (case.stderr, done.stderr))
    )
    return "" if right else "{} {}: {!r}".format(case.name, circumstance, done)[:2000]


def all_cases():
    """Returns [(case, circumstance)], "" for no particular one."""
    main = [case for case in CASES if case.name in MAIN]
    return [(case, "") for case in CASES] + [
        (case, circumstance) for circumstance in CIRCUMSTANCES for case in main
    ]


def main():
    """Prints the table; returns the exit code."""
    pythons = find_pythons()
    print("{:32}".format(""), *pythons)
    problems = []
    with tempfile.TemporaryDirectory() as folder, LoopbackTracker() as tracker:
        world = World(folder, tracker)
        for case, circumstance in all_cases():
            found = [run(case, python, circumstance, world) for python in pythons.values()]
            of_script = case.script if case.name in ("help", "version", "usage") else ""
            name = " ".join(filter(None, (case.name, of_script, circumstance)))
            marks = ["FAIL" if problem else "ok" for problem in found]
            print("{:32}".format(name), *(m.ljust(len(v)) for m, v in zip(marks, pythons)))
            problems += filter(None, found)
        world.close()
    print("\n".join(problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
