# SPDX-License-Identifier: LGPL-3.0-only
"""Interruptions: Ctrl-C and SIGTERM, pipes that close, disks that are full, and nowhere else.

The two tables say what each script does then: its exit code, what is on stdout and stderr. Below
them the runs that are interrupted at any moment once main() runs; INTERRUPTIONS in the
environment is how often each kind of them is (10).
"""

import json
import os
import random
import resource
import select
import signal
import socket
import subprocess
import sys
from contextlib import closing

import pytest
from helpers import ROOT, clean_environment
from loopback_tracker import LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
TIMES = int(os.environ.get("INTERRUPTIONS", "10"))
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
FORMATS = ["json", "compact", "ndjson", "table", "html", "prometheus", "nagios", "urls"]
# Seconds that no run takes to end, and far less than what it has to wait for.
SOON, LATE = 60, "3000"

# A signal while a script waits. Waits for: a tracker with a fault; a name that is looked up; the
# other side of a TLS handshake; standard input. After it stdout has nothing, or the report, in
# which the check is an Err that says interrupted, or the summary of the monitor; stderr nothing.
SIGNALS = """
script                         waits for                SIGINT  SIGTERM  stdout
udp_tracker_client announce    udp silent               130     143      nothing
udp_tracker_client announce    udp silent-announce      130     143      nothing
udp_tracker_client announce    udp slow                 130     143      nothing
udp_tracker_client announce    lookup                   130     143      nothing
udp_tracker_client scrape      udp silent               130     143      nothing
udp_tracker_client scrape      udp silent-scrape        130     143      nothing
udp_tracker_client scrape      lookup                   130     143      nothing
http_tracker_client announce   http silent              130     143      nothing
http_tracker_client announce   http silent-in-body      130     143      nothing
http_tracker_client announce   http drip-headers        130     143      nothing
http_tracker_client announce   http endless-continue    130     143      nothing
http_tracker_client announce   http redirect-to-drip    130     143      nothing
http_tracker_client announce   lookup                   130     143      nothing
http_tracker_client announce   handshake                130     143      nothing
http_tracker_client scrape     http silent              130     143      nothing
http_tracker_client scrape     http drip-body           130     143      nothing
tracker_checker                udp silent               130     143      report
tracker_checker                udp silent-announce      130     143      report
tracker_checker                http silent              130     143      report
tracker_checker                http drip-body           130     143      report
tracker_checker                lookup                   130     143      report
tracker_checker                handshake                130     143      report
tracker_checker monitor        udp silent               0       0        summary
tracker_checker monitor        http silent              0       0        summary
tracker_checker monitor        lookup                   0       0        summary
tracker_checker monitor        handshake                0       0        summary
bencode                        input                    130     143      nothing
"""
# Output that cannot be written. A pipe that is closed, before the first byte or after the first
# line, leaves the script the code of its run and stderr empty. A disk that is full, at once or
# after a few bytes, and a stdout that is closed are an output_failed record and exit 1. Probes
# of the monitor come before it.
OUTPUTS = """
command                                                 pipe  head  full  fills  closed
udp_tracker_client announce UDP HASH                    0     0     1     1      1
udp_tracker_client announce UDP/error-reply HASH        1     1     1     1      1
udp_tracker_client announce UDP/many-peers HASH         0     0     1     1      1
udp_tracker_client scrape UDP HASH                      0     0     1     1      1
udp_tracker_client --help                               0     0     1     1      1
udp_tracker_client --version                            0     0     1     1      1
http_tracker_client announce HTTP HASH                  0     0     1     1      1
http_tracker_client announce HTTP/failure HASH          1     1     1     1      1
http_tracker_client scrape HTTP HASH                    0     0     1     1      1
http_tracker_client --help                              0     0     1     1      1
http_tracker_client --version                           0     0     1     1      1
tracker_checker LIST                                    0     0     1     1      1
tracker_checker LIST --fail                             1     1     1     1      1
tracker_checker LIST --format compact                   0     0     1     1      1
tracker_checker LIST --format ndjson                    0     0     1     1      1
tracker_checker LIST --format ndjson --fail             1     1     1     1      1
tracker_checker LIST --format table                     0     0     1     1      1
tracker_checker LIST --format html                      0     0     1     1      1
tracker_checker LIST --format prometheus                0     0     1     1      1
tracker_checker LIST --format nagios                    2     2     1     1      1
tracker_checker LIST --format urls                      0     0     1     1      1
tracker_checker monitor UDP --duration 0.1              0     0     1     1      1
tracker_checker monitor UDP --duration 0.1 --format ndjson   0  0  1     1      1
tracker_checker monitor UDP --duration 0.1 --format table    0  0  1     1      1
tracker_checker --help                                  0     0     1     1      1
tracker_checker --version                               0     0     1     1      1
bencode FILE                                            0     0     1     1      1
bencode --help                                          0     0     1     1      1
bencode --version                                       0     0     1     1      1
"""

# Runs a script as a command would be, and writes a byte to a pipe when its main() is called.
START = '''\
import os, sys

pipe, path = int(sys.argv[1]), sys.argv[2]
sys.argv = sys.argv[2:]
sys.path[0] = os.path.dirname(path)


def notice(frame, event, _):
    if event == "call" and (frame.f_code.co_name, frame.f_code.co_filename) == ("main", path):
        sys.setprofile(None)
        os.write(pipe, b".")


with open(path, encoding="utf-8") as file:
    code = compile(file.read(), path, "exec")
sys.setprofile(notice)
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
    """A script that was started; wait_for_byte() comes back when its main() is called."""

    def __init__(self, script, *arguments, stdin=b"", stdout=subprocess.PIPE, env=None,
                 prepare=None):
        self.pipe, theirs = os.pipe()
        self.lines = b""

        def prepare_all():
            # An interrupt is for the script alone, and never ignored as in the background.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if prepare:
                prepare()

        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(theirs), os.path.join(ROOT, script)]
            + [str(argument) for argument in arguments],
            # Without buffers nothing is in them that communicate() would not see.
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=subprocess.PIPE,
            env=clean_environment(dict(env or {}, TEST_PIPE=str(theirs))),
            pass_fds=[theirs],
            preexec_fn=prepare_all,
        )
        os.close(theirs)
        if stdin is not None:
            # A list is far smaller than a pipe.
            self.process.stdin.write(stdin)
            self.process.stdin.close()
            self.process.stdin = None

    def wait_for_byte(self):
        """Waits for the next byte on the pipe: first that of main()."""
        ready, _, _ = select.select([self.pipe], [], [], SOON)
        assert ready and os.read(self.pipe, 1) == b".", self.process.stderr.read()

    def wait_for_line(self):
        """Waits for the next line on stderr."""
        self.lines += self.process.stderr.readline()

    def end(self, number=None):
        """Sends a signal; returns (exit code as a shell has it, stdout, stderr) once it ended."""
        if number:
            self.process.send_signal(number)
        try:
            stdout, stderr = self.process.communicate(timeout=SOON)
        finally:
            self.process.kill()
            os.close(self.pipe)
        stderr = self.lines + stderr
        code = self.process.returncode
        assert b"Traceback" not in stderr, stderr
        return 128 - code if code < 0 else code, (stdout or b"").decode(), stderr.decode()

    def let_run(self, seconds):
        """Lets the script run for a time that it is not expected to end in."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pass


def rows_of(table):
    """Returns the cells of each row; at least two spaces are between two of them."""
    _, *lines = table.strip().splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


# A script that waits.


def check_interruption(words, url, number, code, expected, waits, stdin=b"", env=None):
    """Runs the script until waits(), then sends the signal and looks at what comes of it."""
    script, *arguments = words.split()
    arguments.append(url)
    if script in ("udp_tracker_client", "http_tracker_client"):
        arguments.append(HASH)
    if script != "bencode":
        arguments += ["--timeout", LATE]
    run = Running(script + ".py", *arguments, stdin=stdin, env=env)
    run.wait_for_byte()
    waits(run)
    found, stdout, stderr = run.end(number)
    assert (found, stderr) == (code, "")
    if expected == "nothing":
        assert stdout == ""
    elif expected == "report":
        (((_, outcomes),),) = [entry.items() for entry in json.loads(stdout)]
        assert list(outcomes) == ["Err"]
        errors = [stage.get("Err", "") for _, stage in outcomes["Err"]["results"]]
        assert "interrupted" in "".join(errors)
    else:
        assert expected == "summary" and stdout.count("\n") == 1
        (((entry,),),) = [json.loads(stdout).values()]
        assert entry["status"]["message"] == "monitor interrupted"
        assert entry["status"]["stats"]["total"] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("words, waits_for, sigint, sigterm, stdout", rows_of(SIGNALS))
def test_a_signal_while_a_script_waits(
    tmp_path, words, waits_for, sigint, sigterm, stdout, number
):
    code = int(sigint if number == signal.SIGINT else sigterm)
    interruption = (number, code, stdout)
    protocol, _, fault = waits_for.partition(" ")
    if waits_for == "input":
        # It waits as soon as main() runs: nobody writes there.
        check_interruption(words, "-", *interruption, waits=lambda run: None, stdin=None)
    elif waits_for == "lookup":
        (tmp_path / "sitecustomize.py").write_text(HANGING_RESOLVER)
        scheme = "http" if words.startswith("http") else "udp"
        check_interruption(
            words, scheme + "://hangs.example:1/announce", *interruption,
            waits=Running.wait_for_byte, env={"PYTHONPATH": str(tmp_path)},
        )
    elif waits_for == "handshake":
        with closing(socket.create_server(("127.0.0.1", 0))) as listener:
            listener.settimeout(SOON)
            connections = []

            def receive_first_words(_):
                connections.append(listener.accept()[0])
                assert connections[0].recv(65536)

            url = "https://127.0.0.1:{}/announce".format(listener.getsockname()[1])
            check_interruption(words, url, *interruption, waits=receive_first_words)
            connections[0].close()
    else:
        with LoopbackTracker(**{protocol + "_fault": fault}) as tracker:
            # With silent-announce the connect before it was answered.
            action = fault.rpartition("-")[2]
            if action not in ("announce", "scrape"):
                action = None

            def receive_request(_):
                tracker.wait_for(lambda record: action in (None, record.action), timeout=SOON)

            url = tracker.udp_url if protocol == "udp" else tracker.http_url + "/announce"
            check_interruption(words, url, *interruption, waits=receive_request)


# Output that cannot be written.


@pytest.fixture(scope="module")
def everywhere():
    """A tracker on all addresses 127.x.y.z, some of them with a fault over UDP."""
    with LoopbackTracker(hosts=("0.0.0.0",)) as running:
        for i in range(1, 151):
            for network in (1, 2):
                running.udp_faults["127.{}.7.{}".format(network, i)] = "silent"
        running.udp_faults["127.9.1.1"] = "error-reply"
        running.udp_faults["127.9.1.2"] = "many-peers"
        yield running


def run_with_output(output, arguments, stdin):
    """Runs a script with such a stdout; returns (exit code, stderr)."""
    if output in ("pipe", "head"):
        reader, writer = os.pipe()
        if output == "pipe":
            os.close(reader)
        run = Running(*arguments, stdin=stdin, stdout=writer)
        os.close(writer)
        if output == "head":
            with open(reader, "rb", buffering=0) as stream:
                stream.readline()
    elif output == "full":
        with open("/dev/full", "wb") as full:
            run = Running(*arguments, stdin=stdin, stdout=full)
    elif output == "fills":
        with open("output", "wb") as file:
            run = Running(
                *arguments, stdin=stdin, stdout=file,
                prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
            )
    else:
        run = Running(*arguments, stdin=stdin, stdout=None, prepare=lambda: os.close(1))
    code, _, stderr = run.end()
    return code, stderr


@pytest.mark.parametrize("output", ["pipe", "head", "full", "fills", "closed"])
@pytest.mark.parametrize("command, codes", [(row[0], row[1:]) for row in rows_of(OUTPUTS)])
def test_output_that_cannot_be_written(
    everywhere, tmp_path, monkeypatch, output, command, codes
):
    monkeypatch.chdir(tmp_path)
    code = int(codes[["pipe", "head", "full", "fills", "closed"].index(output)])
    script, *words = command.split()
    stdin = b""
    arguments = []
    for word in words:
        name, _, fault = word.partition("/")
        if name == "UDP":
            host = {"error-reply": "127.9.1.1", "many-peers": "127.9.1.2"}.get(fault, "127.9.1.3")
            arguments.append("udp://{}:{}".format(host, everywhere.udp_port))
        elif name == "HTTP":
            path = "/fault/" + fault if fault else ""
            arguments.append("http://127.9.2.1:{}{}/announce".format(everywhere.http_port, path))
        elif name == "LIST":
            arguments.append("-")
            given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 251)]
            stdin = "\n".join(given + ["udp://127.0.0.1:1/%d" % i for i in range(250)]).encode()
        elif name == "FILE":
            (tmp_path / "file").write_bytes(b"l" + b"5:large" * 10 ** 5 + b"e")
            arguments.append("file")
        else:
            arguments.append(HASH if name == "HASH" else word)
    found, stderr = run_with_output(output, [script + ".py"] + arguments, stdin)
    assert found == code
    records = list(map(json.loads, stderr.splitlines()))
    if output not in ("pipe", "head"):
        error = records.pop()["error"]
        assert list(error) == ["kind", "source", "message"]
        assert error["kind"] == "output_failed"
    assert all(record.get("event") == "probe" for record in records)


# Runs that are interrupted at any moment.


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


def start_checker(trackers, *options):
    """Starts the checker with a list on standard input; returns it when its main() is called."""
    run = Running("tracker_checker.py", *options, stdin="\n".join(trackers).encode())
    run.wait_for_byte()
    return run


@pytest.mark.timeout(60 + 12 * TIMES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_over_a_thousand_trackers(everywhere, number):
    given = thousand_trackers(everywhere)
    expected = sorted(url + "/" if url.count("/") == 2 and url[0] == "h" else url for url in given)
    whole = 0
    for run_number, moment in enumerate(moments(number)):
        # A hash of its own, by which to know the requests of this run from late ones of another.
        info_hash = (1000 * number + run_number).to_bytes(20, "big")
        options = ["-", "--timeout", LATE, "--info-hash", info_hash.hex()]

        def is_of_this_run(record):
            return info_hash in record.fields.get("info_hashes", ())

        run = start_checker(given, *options)
        run.let_run(moment)
        if run_number == 0:
            everywhere.wait_for(is_of_this_run, timeout=SOON)
        code, stdout, stderr = run.end(number)
        note = "interrupted after {:.3f} s".format(moment)
        assert (code, stderr) == (CODES[number], ""), note
        # Nothing is printed only where nothing was asked yet.
        if stdout or any(map(is_of_this_run, everywhere.requests)):
            report = json.loads(stdout)
            assert sorted(trackers_of(report)) == expected, note
            whole += 1
    assert whole


@pytest.mark.timeout(60 + 12 * TIMES)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_monitor(everywhere, number):
    given = thousand_trackers(everywhere)[::10]
    whole = 0
    for run_number, moment in enumerate(moments(100 + number)):
        run = start_checker(given, "monitor", "--interval", 0.5, "--timeout", LATE, "-")
        run.let_run(moment)
        if run_number == 0:
            run.wait_for_line()
        code, stdout, stderr = run.end(number)
        note = "interrupted after {:.3f} s".format(moment)
        probes = [json.loads(line) for line in stderr.splitlines()]
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
    assert whole


def test_no_file_is_half_written(everywhere, tmp_path):
    """A run with -o that is interrupted at any moment leaves the old file, or the new one whole."""
    given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 251)]
    path = tmp_path / "report.json"
    rng = random.Random(7)
    for _ in range(TIMES):
        path.write_text("the old report")
        run = start_checker(given, "-", "-o", path)
        run.let_run(1.2 * rng.random())
        code, stdout, stderr = run.end(rng.choice((signal.SIGINT, signal.SIGTERM)))
        assert (stdout, stderr) == ("", "")
        assert os.listdir(str(tmp_path)) == ["report.json"]
        if path.read_text() != "the old report":
            assert len(json.loads(path.read_text())) == 250
        else:
            assert code in (130, 143)


def test_the_metrics_of_the_monitor_are_whole_at_any_moment(everywhere, tmp_path):
    given = ["udp://127.8.3.{}:{}".format(i, everywhere.udp_port) for i in range(1, 101)]
    path = tmp_path / "trackers.prom"
    options = ["--interval", 0.3, "--format", "prometheus", "--output", path]
    rng = random.Random(8)
    written = 0
    for run_number in range(TIMES):
        path.write_text("the old metrics\n")
        run = start_checker(given, "monitor", "-", *options)
        run.let_run(2 * rng.random())
        while run_number == 0 and path.read_text() == "the old metrics\n":
            run.let_run(0.1)
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
