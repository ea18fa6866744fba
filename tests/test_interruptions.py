# SPDX-License-Identifier: LGPL-3.0-only
"""Interruptions: Ctrl-C and SIGTERM at any moment, pipes that close, disks that are full.

INTERRUPTIONS in the environment is how often each kind of run is interrupted (10). The clock of
a run starts at the script's first statement: what the interpreter does before is its own.
"""

import json
import os
import random
import select
import signal
import subprocess
import sys
import time

import pytest
from helpers import ROOT, SOON, clean_environment, json_lines, wait_until
from loopback_tracker import LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
TIMES = int(os.environ.get("INTERRUPTIONS", "10"))
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
FORMATS = ["json", "compact", "ndjson", "table", "prometheus", "nagios", "urls"]

# Runs a script as a command would be, but lets it write a byte to a pipe in its first statements.
START = '''\
import os, sys
pipe, path = int(sys.argv[1]), sys.argv[2]
sys.argv = sys.argv[2:]
sys.path[0] = os.path.dirname(path)
with open(path, encoding="utf-8") as file:
    source = file.read()
first = "    try:\\n        import os\\n"
assert first in source
marked = first + "        os.write({}, b'.')\\n".format(pipe)
code = compile(source.replace(first, marked, 1), path, "exec")
exec(code, {"__name__": "__main__", "__file__": path})
'''
# Hangs in each name lookup; a byte on the pipe says that it does.
HANGING_RESOLVER = '''\
import os, socket, threading

def getaddrinfo(*_, **__):
    os.write(int(os.environ["TEST_PIPE"]), b".")
    threading.Event().wait()

socket.getaddrinfo = getaddrinfo
'''


class Running:
    """A script that was started; wait_for_start() comes back at its first statement."""

    def __init__(self, script, *arguments, stdin=b"", stdout=subprocess.PIPE, env=None):
        self.pipe, theirs = os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs), os.path.join(ROOT, script)]
            + [str(argument) for argument in arguments],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=clean_environment(dict(env or {}, TEST_PIPE=str(theirs))),
            pass_fds=[theirs],
            # An interrupt is for the script alone, and never ignored as in the background.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        os.close(theirs)
        # A list is far smaller than a pipe.
        self.process.stdin.write(stdin)
        self.process.stdin.close()
        self.process.stdin = None

    def wait_for_byte(self):
        """Waits for the next byte on the pipe: first that of the first statement."""
        ready, _, _ = select.select([self.pipe], [], [], 30)
        assert ready and os.read(self.pipe, 1) == b".", self.process.stderr.read()

    def end(self, number=None):
        """Sends a signal; returns (exit code as a shell has it, stdout, stderr, seconds)."""
        began = time.monotonic()
        if number:
            self.process.send_signal(number)
        stdout, stderr = self.process.communicate(timeout=60)
        seconds = time.monotonic() - began
        os.close(self.pipe)
        code = self.process.returncode
        assert b"Traceback" not in stderr, stderr
        return 128 - code if code < 0 else code, (stdout or b"").decode(), stderr.decode(), seconds

    def let_run(self, seconds):
        """Lets the script run for a time that it is not expected to end in."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass


@pytest.fixture(scope="module")
def everywhere():
    """A tracker on all addresses 127.x.y.z."""
    with LoopbackTracker(hosts=("0.0.0.0",)) as running:
        for i in range(1, 151):
            for network in (1, 2):
                running.udp_faults["127.{}.7.{}".format(network, i)] = "silent"
        yield running


def thousand_trackers(tracker):
    """Returns 350 live and 300 silent UDP trackers, 175 live and 175 silent HTTP trackers."""
    given = []
    for i in range(1, 176):
        for network in (1, 2):
            given.append("udp://127.{}.3.{}:{}".format(network, i, tracker.udp_port))
        given.append("http://127.4.3.{}:{}".format(i, tracker.http_port))
        given.append("http://127.5.3.{}:{}/fault/silent/announce".format(i, tracker.http_port))
    for i in range(1, 151):
        for network in (1, 2):
            given.append("udp://127.{}.7.{}:{}".format(network, i, tracker.udp_port))
    assert len(given) == 1000
    return given


def trackers_of(report):
    """Returns the trackers in a report in JSON, as they were given."""
    found = []
    for entry in report:
        ((group, outcomes),) = entry.items()
        ((_, body),) = outcomes.items()
        # A UDP tracker that was not asked yet has no address, and stands there as it was given.
        address = body.get("remote_addr", "")
        found.append("udp://" + address.replace("udp://", "") if group == "Udp" else body["url"])
    return found


def moments(number):
    """Returns seeded random moments, in seconds: most of them early, where most happens."""
    rng = random.Random(number)
    return [2.5 * rng.random() ** 2 for _ in range(TIMES)]


def interrupt_checker(trackers, number, moment, *options):
    """Sends the checker a signal when it has run for so many seconds; returns what end() does."""
    run = Running("tracker_checker.py", *options, stdin="\n".join(trackers).encode())
    run.wait_for_byte()
    run.let_run(moment)
    return run.end(number)


@pytest.mark.timeout(60 + 12 * TIMES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_over_a_thousand_trackers(everywhere, number):
    given = thousand_trackers(everywhere)
    expected = sorted(url + "/" if url.count("/") == 2 and url[0] == "h" else url for url in given)
    whole, longest = 0, 0
    for run_number, moment in enumerate(moments(number)):
        # A hash of its own, by which to know the requests of this run from late ones of another.
        info_hash = (1000 * number + run_number).to_bytes(20, "big")
        options = ["-", "--timeout", 60, "--info-hash", info_hash.hex()]
        code, stdout, stderr, seconds = interrupt_checker(given, number, moment, *options)
        longest = max(longest, seconds)
        note = "interrupted after {:.3f} s".format(moment)
        assert (code, stderr) == (CODES[number], ""), note
        assert seconds < SOON, note
        # Nothing is printed only where nothing was asked yet.
        if stdout or any(
            info_hash in record.fields.get("info_hashes", ()) for record in everywhere.requests
        ):
            report = json.loads(stdout)
            assert sorted(trackers_of(report)) == expected, note
            whole += 1
    text = "{}: {} runs, {} of them with a report, the longest ended {:.2f} s after the signal"
    print(text.format(signal.Signals(number).name, TIMES, whole, longest))
    assert whole


@pytest.mark.timeout(60 + 12 * TIMES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_monitor(everywhere, number):
    given = thousand_trackers(everywhere)[::10]
    whole, longest = 0, 0
    for moment in moments(100 + number):
        options = ["monitor", "-", "--interval", 0.5, "--timeout", 60]
        code, stdout, stderr, seconds = interrupt_checker(given, number, moment, *options)
        longest = max(longest, seconds)
        note = "interrupted after {:.3f} s".format(moment)
        assert seconds < SOON, note
        probes = json_lines(stderr)
        assert all(probe["event"] == "probe" for probe in probes)
        if not stdout:
            # The inputs had not been read.
            assert (code, probes) == (CODES[number], []), note
            continue
        whole += 1
        assert code == 0, note
        summary = json.loads(stdout)
        entries = summary["udp_trackers"] + summary["http_trackers"]
        assert sorted(entry["url"] for entry in entries) == sorted(given)
        assert {entry["status"]["message"] for entry in entries} == {"monitor interrupted"}
        totals = sum(entry["status"]["stats"]["total"] for entry in entries)
        assert totals == len(probes)
    text = "{} to monitor: {} runs, {} with a summary, the longest ended {:.2f} s after the signal"
    print(text.format(signal.Signals(number).name, TIMES, whole, longest))
    assert whole


@pytest.mark.parametrize("script, arguments", [
    ("udp_tracker_client.py", ["announce", "udp://127.0.0.1:1", HASH]),
    ("http_tracker_client.py", ["announce", "http://127.0.0.1:1", HASH]),
    ("tracker_checker.py", ["udp://127.0.0.1:1"]),
])
def test_from_the_first_statement_on(script, arguments):
    """While a script still imports, and up to its end: the code of the signal or of the run."""
    rng = random.Random(script)
    for _ in range(TIMES):
        run = Running(script, *arguments)
        run.wait_for_byte()
        run.let_run(0.1 * rng.random())
        code, stdout, stderr, seconds = run.end(signal.SIGINT)
        assert code in (130, 0, 1)
        assert seconds < SOON
        if code == 130 and script != "tracker_checker.py":
            assert stdout == ""
        if stdout:
            json.loads(stdout)


# A client that waits.


def interrupt_client(number, script, *arguments, env=None, waits=None):
    run = Running(script, *arguments, "--timeout", 60, env=env)
    run.wait_for_byte()
    (waits or run.wait_for_byte)()
    code, stdout, stderr, seconds = run.end(number)
    assert (code, stdout, stderr) == (CODES[number], "", "")
    assert seconds < SOON


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("protocol, fault, command, action", [
    ("udp", "silent", "announce", "connect"), ("udp", "silent", "scrape", "connect"),
    ("udp", "silent-announce", "announce", "announce"),
    ("udp", "silent-scrape", "scrape", "scrape"),
    ("http", "silent", "announce", "announce"), ("http", "silent", "scrape", "scrape"),
    ("http", "silent-in-body", "announce", "announce"),
    ("http", "drip-body", "scrape", "scrape"), ("http", "drip-headers", "announce", "announce"),
])
def test_a_client_that_waits(protocol, fault, command, action, number):
    with LoopbackTracker(**{protocol + "_fault": fault}) as tracker:
        url = tracker.udp_url if protocol == "udp" else tracker.http_url
        interrupt_client(
            number, protocol + "_tracker_client.py", command, url, HASH,
            waits=lambda: tracker.wait_for(lambda record: record.action == action, timeout=30),
        )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("script, url", [
    ("udp_tracker_client.py", "udp://hangs.example:1"),
    ("http_tracker_client.py", "http://hangs.example/announce"),
])
def test_a_client_in_a_name_lookup(tmp_path, script, url, number):
    (tmp_path / "sitecustomize.py").write_text(HANGING_RESOLVER)
    env = {"PYTHONPATH": str(tmp_path)}
    interrupt_client(number, script, "announce", url, HASH, env=env)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("fault", ["silent-handshake", "drip-handshake"])
def test_a_client_in_a_tls_handshake(fault, number):
    with LoopbackTracker(http_fault=fault) as tracker:
        url = tracker.http_url.replace("http:", "https:") + "/announce"
        run = Running("http_tracker_client.py", "announce", url, HASH, "-v", "--timeout", 60)
        assert run.process.stderr.readline().startswith(b"connecting to ")
        wait_until(lambda: tracker.open_connections)
        code, stdout, stderr, seconds = run.end(number)
        assert (code, stdout) == (CODES[number], "")
        assert seconds < SOON


# Pipes that close.


@pytest.mark.parametrize("name", FORMATS)
def test_a_pipe_that_closes_ends_quietly_with_the_code_of_the_run(everywhere, name):
    rng = random.Random(name)
    given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 251)]
    given += ["udp://127.0.0.1:1/{}".format(i) for i in range(250)]
    for taken in [0, 1] + [int(60000 * rng.random() ** 2) for _ in range(3)]:
        reader, writer = os.pipe()
        stdin = "\n".join(given).encode()
        run = Running("tracker_checker.py", "-", "--format", name, stdin=stdin, stdout=writer)
        os.close(writer)
        with open(reader, "rb") as stream:
            stream.read(taken)
        code, _, stderr, _ = run.end()
        assert (code, stderr) == (2 if name == "nagios" else 0, ""), taken


@pytest.mark.parametrize("taken", [0, 1, 5000, 70000])
@pytest.mark.parametrize("protocol", ["udp", "http"])
def test_a_pipe_that_closes_before_a_client_is_done(protocol, taken):
    with LoopbackTracker(**{protocol + "_fault": "many-peers"}) as tracker:
        url = tracker.udp_url if protocol == "udp" else tracker.http_url
        reader, writer = os.pipe()
        run = Running(protocol + "_tracker_client.py", "announce", url, HASH, stdout=writer)
        os.close(writer)
        with open(reader, "rb") as stream:
            stream.read(taken)
        code, _, stderr, _ = run.end()
        assert (code, stderr) == (0, "")


# Full disks and half-written files.


@pytest.mark.parametrize("arguments", [
    ["udp_tracker_client.py", "announce", "UDP", HASH],
    ["udp_tracker_client.py", "scrape", "UDP", HASH],
    ["http_tracker_client.py", "announce", "HTTP", HASH],
    ["http_tracker_client.py", "scrape", "HTTP", HASH],
    ["tracker_checker.py", "monitor", "UDP", "--interval", "1", "--duration", "0.5"],
] + [["tracker_checker.py", "UDP", "HTTP", "--format", name] for name in FORMATS])
def test_a_full_disk(tracker, arguments):
    urls = {"UDP": tracker.udp_url, "HTTP": tracker.http_url}
    arguments = [urls.get(word, word) for word in arguments]
    with open("/dev/full", "w") as full:
        code, _, stderr, _ = Running(*arguments, stdout=full).end()
    assert code == 1
    records = json_lines(stderr)
    assert records[-1]["error"]["kind"] == "output_failed"
    assert all(record.get("event") == "probe" for record in records[:-1])


def test_no_file_is_half_written(everywhere, tmp_path):
    """A run with -o that is interrupted at any moment leaves the old file, or the new one whole."""
    given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 251)]
    path = tmp_path / "report.json"
    rng = random.Random(7)
    written = 0
    for _ in range(TIMES):
        path.write_text("the old report")
        stdin = "\n".join(given).encode()
        run = Running("tracker_checker.py", "-", "-o", path, stdin=stdin)
        run.wait_for_byte()
        run.let_run(1.2 * rng.random())
        code, stdout, stderr, seconds = run.end(rng.choice((signal.SIGINT, signal.SIGTERM)))
        assert (stdout, stderr) == ("", "")
        assert seconds < SOON
        assert os.listdir(str(tmp_path)) == ["report.json"]
        if path.read_text() != "the old report":
            assert len(json.loads(path.read_text())) == 250
            written += 1
        else:
            assert code in (130, 143)
    print("{} of {} runs had written their report".format(written, TIMES))


def test_the_metrics_of_the_monitor_are_whole_at_any_moment(everywhere, tmp_path):
    given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 101)]
    path = tmp_path / "trackers.prom"
    options = ["--interval", 0.3, "--format", "prometheus", "--output", path]
    rng = random.Random(8)
    written = 0
    for _ in range(TIMES):
        path.write_text("the old metrics\n")
        stdin = "\n".join(given).encode()
        run = Running("tracker_checker.py", "monitor", "-", *options, stdin=stdin)
        run.wait_for_byte()
        run.let_run(2 * rng.random())
        run.end(rng.choice((signal.SIGINT, signal.SIGTERM)))
        assert os.listdir(str(tmp_path)) == ["trackers.prom"]
        text = path.read_text()
        if text != "the old metrics\n":
            written += 1
            assert text.endswith("\n")
            checked_at = text.count("\ntracker_last_check_timestamp_seconds{")
            # The old ones stay until there are others.
            assert text.count("\ntracker_up{") == checked_at > 0
    assert written
