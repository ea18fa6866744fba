# SPDX-License-Identifier: LGPL-3.0-only
"""What tracker_checker.py reports: every format to the letter, where it goes, the exit codes."""

import errno
import fcntl
import functools
import json
import os
import pty
import re
import resource
import shutil
import signal
import ssl
import stat
import struct
import subprocess
import termios
import threading
from datetime import datetime

import pytest
import tracker_checker
import trustme
from helpers import compact_json, json_lines, only_record, run_command, start_script
from loopback_faults import HOSTILE_TEXT
from loopback_tracker import LoopbackTracker

SCRIPT = "tracker_checker.py"
HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
# Nobody listens on a port this low in a test machine: the system answers that it is closed.
DEAD_UDP = "udp://127.0.0.1:1"
DEAD_HTTP = "http://127.0.0.1:1/announce"
I2P = "i2p://127.0.0.1:1/announce"
OK_STAGES = [["Setup", {"Ok": None}], ["Connect", {"Ok": None}]]
ALL_OK = OK_STAGES + [["Announce", {"Ok": None}], ["Scrape", {"Ok": None}]]


@pytest.fixture
def partial():
    """A tracker whose announce works and whose scrape does not, over UDP and HTTP."""
    with LoopbackTracker(udp_fault="error-on-scrape", http_fault="missing-files") as running:
        yield running


@pytest.fixture
def hostile():
    """A tracker that answers with text that would forge lines and drive a terminal."""
    with LoopbackTracker(
        udp_fault="error-control-characters",
        http_fault="failure-control-characters",
        health_fault="reason-phrase-control-characters",
    ) as running:
        yield running


@pytest.fixture
def start(start_script):
    return functools.partial(start_script, SCRIPT, "--timeout", "3")


def start_on_terminal(stream, columns, *arguments, env=None, term="xterm"):
    """Starts the checker with stdout or stderr a terminal; returns (process, our side of it).

    term is TERM in its environment; None leaves it as it is here.
    """
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = dict({"TERM": term} if term else {}, **(env or {}))
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, stream: slave}
    process = start_script(SCRIPT, *arguments, env=env, **streams)
    os.close(slave)
    return process, master


def read_to_the_end(master):
    """Returns all that is still written to a terminal, as text."""
    parts = []
    try:
        while True:
            parts.append(os.read(master, 65536))
    except OSError:
        # That is how a terminal says that its other side was closed.
        pass
    finally:
        os.close(master)
    return b"".join(parts).decode("utf-8").replace("\r\n", "\n")


def run_on_terminal(stream, columns, *arguments, env=None):
    """Runs the checker with stdout or stderr a terminal; returns what it wrote there."""
    process, master = start_on_terminal(stream, columns, "--timeout", "3", *arguments, env=env)
    with process:
        return read_to_the_end(master)


def records(result):
    """Returns the lines of ndjson as dictionaries by tracker."""
    found = json_lines(result.stdout)
    assert len({(record["tracker"], record["kind"]) for record in found}) == len(found)
    return {record["tracker"]: record for record in found}


def host_port(url):
    return url.partition("://")[2]


# json and compact.


def test_json_of_what_works(check, tracker):
    result = check(tracker.http_url, "--health", tracker.health_url, tracker.udp_url)
    assert (result.code, result.stderr) == (0, "")
    assert result.json == [
        {"Udp": {"Ok": {"remote_addr": host_port(tracker.udp_url), "results": ALL_OK}}},
        {"Health": {"Ok": {"url": tracker.health_url, "result": {"Ok": "200 OK"}}}},
        {"Http": {"Ok": {"url": tracker.http_url + "/", "results": ALL_OK[2:]}}},
    ]
    assert result.stdout == json.dumps(result.json, indent=2) + "\n"


def test_json_of_all_there_is(check, tracker, partial):
    mixed = [I2P, DEAD_HTTP, tracker.http_url, DEAD_UDP, partial.udp_url, tracker.udp_url]
    health = ["--health", tracker.health_url + "/missing", "--health", "http://127.0.0.1:1/health"]
    result = check(*(mixed + health))
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == json.dumps(result.json, indent=2) + "\n"
    kinds = [(kind, *entry) for group in result.json for kind, entry in group.items()]
    assert kinds == [
        ("Udp", "Err"), ("Udp", "Err"), ("Udp", "Ok"), ("Health", "Err"), ("Health", "Err"),
        ("Http", "Err"), ("Http", "Ok"), ("Unsupported", "Err"),
    ]
    bodies = [body for group in result.json for entry in group.values() for body in entry.values()]
    dead, partly, live, missing, dead_health, dead_http, live_http, i2p = bodies
    assert list(dead) == ["remote_addr", "results"]
    assert dead["remote_addr"] == "127.0.0.1:1"
    assert dead["results"][0] == ["Setup", {"Ok": None}]
    assert dead["results"][1][0] == "Connect"
    assert list(dead["results"][1][1]) == ["Err"]
    assert len(dead["results"]) == 2
    assert partly["results"][:3] == ALL_OK[:3]
    assert "scrape is not allowed" in partly["results"][3][1]["Err"]
    assert live["results"] == ALL_OK
    assert missing == {
        "url": tracker.health_url + "/missing", "result": {"Err": "404 Not Found"}
    }
    assert list(dead_health["result"]) == ["Err"]
    assert [stage for stage, _ in dead_http["results"]] == ["Announce", "Scrape"]
    assert all(list(outcome) == ["Err"] for _, outcome in dead_http["results"])
    assert live_http["results"] == ALL_OK[2:]
    assert (i2p["url"], i2p["results"][0][0]) == (I2P, "Setup")


def test_compact_is_the_same_on_one_line(check, tracker):
    inputs = [DEAD_UDP, I2P, tracker.udp_url, tracker.http_url, "--health", tracker.health_url]
    pretty = check(*inputs)
    for name in ("json", "pretty"):
        assert check("--format", name, *inputs).stdout == pretty.stdout
    compact = check("--format", "compact", *inputs)
    assert compact.stdout == compact_json(pretty.json) + "\n"


def test_groups_keep_the_order_of_the_input(check, tracker):
    urls = ["{}/{}/announce".format(tracker.http_url, number) for number in (3, 1, 2)]
    udp = ["udp://127.0.0.1:{}".format(port) for port in (3, 1, 2)]
    result = check(*[url for pair in zip(urls, udp) for url in pair])
    found = [body for group in result.json for entry in group.values() for body in entry.values()]
    assert [body["remote_addr"] for body in found[:3]] == [host_port(url) for url in udp]
    assert [body["url"] for body in found[3:]] == urls


def test_a_tracker_given_by_name_is_told_by_its_url(check, tracker):
    given = "localhost:{}".format(tracker.udp_port)
    (entry,) = check(given, "-4").json
    body = entry["Udp"]["Ok"]
    assert list(body) == ["remote_addr", "results", "url"]
    assert (body["remote_addr"], body["url"]) == (host_port(tracker.udp_url), given)


def test_no_trackers_give_an_empty_list(check):
    assert check("{}").stdout == "[]\n"
    assert check("{}", "--format", "compact").stdout == "[]\n"


@pytest.mark.parametrize(
    "path, shown", [("", "/"), ("/", "/"), ("?key=1", "/?key=1"), ("/announce", "/announce")]
)
def test_an_http_url_is_as_given_but_for_an_empty_path(check, tracker, path, shown):
    (entry,) = check(tracker.http_url + path).json
    assert entry["Http"]["Ok"]["url"] == tracker.http_url + shown


def test_an_error_reply_is_an_err_and_scrape_is_tried_all_the_same(check):
    with LoopbackTracker(udp_fault="error-on-announce") as tracker:
        url = "{}/fault/too-many-peers/announce".format(tracker.http_url)
        udp, http = check(tracker.udp_url, url).json
    results = udp["Udp"]["Err"]["results"]
    assert results[:2] == OK_STAGES
    assert "torrent not registered" in results[2][1]["Err"]
    assert results[3] == ["Scrape", {"Ok": None}]
    results = http["Http"]["Err"]["results"]
    assert (results[0][0], list(results[0][1])) == ("Announce", ["Err"])
    assert results[1] == ["Scrape", {"Ok": None}]


def test_a_failure_reason_is_what_the_tracker_said(check, tracker):
    (entry,) = check(tracker.http_url + "/fault/failure/announce").json
    for _, outcome in entry["Http"]["Err"]["results"]:
        assert "torrent not registered" in outcome["Err"]


def test_an_http_url_without_a_scrape_url_has_no_scrape_stage(check, tracker):
    (entry,) = check(tracker.http_url + "/tracker").json
    assert [name for name, _ in entry["Http"]["Err"]["results"]] == ["Announce"]
    assert not [record for record in tracker.requests if record.action == "scrape"]


def test_health_is_any_2xx(check, tracker):
    url = "http://127.0.0.1:{}/fault/{{}}/api/health_check".format(tracker.health_port)
    for fault, outcome in (
        ("status-204", {"Ok": "204 No Content"}),
        ("redirect", {"Ok": "200 OK"}),
        ("status-500", {"Err": "500 Internal Server Error"}),
        ("html-503", {"Err": "503 Service Unavailable"}),
    ):
        (entry,) = check("--health", url.format(fault)).json
        assert entry["Health"][list(outcome)[0]]["result"] == outcome


# ndjson.


def test_ndjson_of_what_works(check, tracker):
    for number in range(2):
        tracker.add_peer(HASH, "198.51.100.{}".format(number + 1), 6881, left=0)
    tracker.add_peer(HASH, "198.51.100.7", 6881, left=5)
    result = check(
        "--format", "ndjson", tracker.udp_url, tracker.http_url, "--health", tracker.health_url
    )
    assert (result.code, result.stderr) == (0, "")
    found = records(result)
    udp = found[tracker.udp_url]
    assert list(udp) == [
        "time", "tracker", "kind", "info_hash", "status", "address", "elapsed_ms", "stages",
        "interval", "seeders", "leechers",
    ]
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", udp["time"])
    assert udp["info_hash"] == HASH.hex()
    assert (udp["kind"], udp["status"], udp["interval"]) == ("udp", "ok", 120)
    assert udp["address"] == host_port(tracker.udp_url)
    assert [stage["name"] for stage in udp["stages"]] == ["setup", "connect", "announce", "scrape"]
    for stage in udp["stages"]:
        assert list(stage) == ["name", "ok", "elapsed_ms"]
        assert stage["ok"] is True
        assert 0 <= stage["elapsed_ms"] < 3000
    assert 0 < udp["elapsed_ms"] < 3000
    assert udp["seeders"] == 2
    http = found[tracker.http_url]
    assert list(http) == list(udp)
    assert (http["kind"], http["address"]) == ("http", host_port(tracker.http_url))
    assert [stage["name"] for stage in http["stages"]] == ["announce", "scrape"]
    assert (http["seeders"], http["interval"]) == (2, 120)
    health = found[tracker.health_url]
    assert list(health) == ["time", "tracker", "kind", "status", "address", "elapsed_ms", "stages"]
    assert (health["kind"], health["stages"][0]["name"]) == ("health", "health")


def test_ndjson_of_what_does_not(check, partial):
    silent = partial.http_url + "/fault/silent/announce"
    inputs = [DEAD_UDP, DEAD_HTTP, I2P, partial.udp_url, partial.http_url, silent]
    result = check("--format", "ndjson", "--timeout", "1", *inputs)
    assert result.code == 0
    for line in result.stdout.splitlines():
        assert line == compact_json(json.loads(line))
    found = records(result)
    assert set(found) == set(inputs)
    statuses = [found[given]["status"] for given in inputs]
    assert statuses == ["error", "error", "unsupported", "partial", "partial", "timeout"]
    for given in inputs:
        record = found[given]
        keys = list(record)
        assert keys[keys.index("stages") + 1] == "message"
        bad = [stage for stage in record["stages"] if not stage["ok"]]
        assert all(list(stage) == ["name", "ok", "elapsed_ms", "error"] for stage in bad)
        assert bad[0]["error"] in record["message"]
    assert found[DEAD_HTTP]["address"] == host_port(DEAD_UDP)
    assert found[I2P]["kind"] == "unsupported" and "info_hash" not in found[I2P]
    # What was not asked any more is told so.
    assert [stage["name"] for stage in found[silent]["stages"]] == ["announce", "scrape"]
    assert not [
        record for record in partial.requests
        if record.action == "scrape" and "silent" in record.fields.get("path", "")
    ]


def test_ndjson_comes_as_checks_end(start, tracker):
    silent = tracker.http_url + "/fault/silent/announce"
    process = start("--format", "ndjson", "--timeout", "60", silent, tracker.udp_url)
    try:
        assert json.loads(process.stdout.readline())["tracker"] == tracker.udp_url
        assert process.poll() is None
    finally:
        process.terminate()
        process.communicate()


def test_ndjson_in_a_file_keeps_the_order_of_the_input(check, tracker, tmp_path):
    inputs = [tracker.http_url + "/fault/slow/announce", DEAD_HTTP, tracker.udp_url, I2P, DEAD_UDP]
    path = tmp_path / "report.ndjson"
    result = check("--format", "ndjson", "-o", path, *inputs, "--no-announce")
    assert (result.code, result.stdout) == (0, "")
    assert [json.loads(line)["tracker"] for line in path.read_text().splitlines()] == inputs


def test_counts_are_those_of_scrape_else_those_of_announce(check):
    with LoopbackTracker(udp_fault="scrape-negative") as tracker:
        found = records(check("--format", "ndjson", tracker.udp_url))[tracker.udp_url]
    assert (found["seeders"], found["leechers"]) == (-1, -3)
    with LoopbackTracker(udp_fault="huge-numbers") as tracker:
        scraped = records(check("--format", "ndjson", tracker.udp_url))[tracker.udp_url]
        announced = check("--format", "ndjson", "--no-scrape", tracker.udp_url)
        announced = records(announced)[tracker.udp_url]
    assert (scraped["seeders"], scraped["leechers"]) == (0, 0)
    assert (announced["seeders"], announced["leechers"]) == (2 ** 31 - 1, 2 ** 31 - 1)
    assert scraped["interval"] == 2 ** 31 - 1
    with LoopbackTracker(http_fault="scrape-empty") as tracker:
        found = records(check("--format", "ndjson", tracker.http_url))[tracker.http_url]
    assert (found["seeders"], found["leechers"]) == (0, 1)


def test_ndjson_has_the_warning_of_a_tracker(check, hostile):
    warnings = {"extra-keys": "please update", "warning-control-characters": HOSTILE_TEXT}
    for fault, warning in warnings.items():
        url = "{}/fault/{}/announce".format(hostile.http_url, fault)
        record = records(check("--format", "ndjson", url))[url]
        assert (record["status"], list(record)[-1]) == ("ok", "warning")
        assert record["warning"] == warning


def test_labels_of_ones_own(check, tracker):
    labels = ["--label", "from=berlin", "--label", 'list="a" \\ b=c']
    inputs = [tracker.udp_url, DEAD_UDP, I2P]
    for record in json_lines(check("--format", "ndjson", *labels, *inputs).stdout):
        assert list(record)[-1] == "labels"
        assert record["labels"] == {"from": "berlin", "list": '"a" \\ b=c'}
    samples = parse_metrics(check("--format", "prometheus", *labels, *inputs).stdout)
    for _, found in samples:
        found = dict(found)
        assert (found["from"], found["list"]) == ("berlin", '\\"a\\" \\\\ b=c')


@pytest.mark.parametrize("labels, told", [
    (["from"], "NAME=VALUE is expected"), (["=berlin"], "NAME=VALUE is expected"),
    (["1a=b"], "NAME=VALUE is expected"), (["a-b=c"], "NAME=VALUE is expected"),
    (["a\n=c"], "NAME=VALUE is expected"), (["\u00e4=c"], "NAME=VALUE is expected"),
    (["tracker=a"], "tracker"), (["name=a"], "name"), (["from=a", "from=b"], "given twice"),
])
def test_labels_that_cannot_be(check, labels, told):
    for command in ([], ["monitor"]):
        words = [word for label in labels for word in ("--label", label)]
        result = check(*command, *words, DEAD_UDP)
        assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
        assert told in result.stderr


@pytest.fixture(scope="module")
def secure():
    """(a LoopbackTracker over TLS, a file with its authority, when its certificate ends)."""
    authority = trustme.CA()
    ends = datetime(2042, 1, 31, 12, 30, 1)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost", not_after=ends).configure_cert(context)
    with authority.cert_pem.tempfile() as cacert, LoopbackTracker(tls=context) as running:
        yield running, cacert, ends


@pytest.mark.parametrize("options", [["--cacert"], ["--insecure"]])
def test_when_a_certificate_ends(check, secure, options, python):
    tracker, cacert, ends = secure
    options = options + [cacert] if options == ["--cacert"] else options
    host = tracker.http_url.replace("127.0.0.1", "localhost")
    inputs = [
        host, host + "/fault/failure/announce", "--health",
        tracker.health_url.replace("127.0.0.1", "localhost"),
    ]
    result = check("--format", "ndjson", *options, *inputs, python=python)
    assert result.stderr == ""
    found = json_lines(result.stdout)
    assert len(found) == 3
    assert {record["certificate_expires"] for record in found} == {"2042-01-31T12:30:01Z"}
    samples = parse_metrics(check("--format", "prometheus", *options, *inputs).stdout)
    ended = sample_of(samples, "tracker_certificate_expiry_timestamp_seconds", host)
    assert ended == (ends - datetime(1970, 1, 1)).total_seconds()


@pytest.mark.parametrize("times, end", [
    (b"\x30\x1e\x17\x0d500101000000Z\x17\x0d491231235959Z", 2524607999),
    (b"\x30\x20\x17\x0d500101000000Z\x18\x0f99991231235959Z", 253402300799),
    (b"\x30\x22\x18\x0f20500101000000Z\x18\x0f20500230000000Z", None),
    (b"\x30\x1e\x17\x0d500101000000Z\x17\x0d49123123595Z", None),
    (b"", None),
])
def test_the_end_of_a_certificate(times, end):
    assert tracker_checker.certificate_end(b"\x30\x82" + times + b"\x30") == end
    if end:
        assert tracker_checker.show_time(end, "seconds").endswith("-12-31T23:59:59Z")


# table.


def result_like(given, status="ok", reason="", elapsed=0.1, kind=None):
    """Returns a Result of a status; reason is the message of its failure, of that kind."""
    target = tracker_checker.tracker_or_unsupported(given)
    result = tracker_checker.Result(target, elapsed=elapsed)
    if status == "partial":
        result.add("announce", elapsed)
    stage = {"partial": "scrape", "unsupported": "setup"}.get(status, "connect")
    kind = kind or {"partial": "tracker_error", "error": "refused"}.get(status, status)
    result.add(stage, elapsed, None if status == "ok" else tracker_checker.Failure(kind, reason))
    return result


def test_table(check, tracker, partial):
    inputs = [DEAD_HTTP, tracker.udp_url, I2P, partial.udp_url, tracker.http_url, DEAD_UDP]
    result = check("--format", "table", *inputs)
    assert (result.code, result.stderr) == (0, "")
    header, *rows, totals = result.stdout.splitlines()
    assert header.split() == ["STATUS", "LATENCY", "SEEDERS", "LEECHERS", "TRACKER"]
    assert [row.split()[0] for row in rows] == [
        "ok", "ok", "partial", "error", "error", "unsupported"
    ]
    start_of_tracker = header.index("TRACKER")
    shown = [row[start_of_tracker:].split()[0] for row in rows]
    assert set(shown[:2]) == {tracker.udp_url, tracker.http_url}
    # Like reasons stand in the order of the input.
    assert shown[2:] == [partial.udp_url, DEAD_HTTP, DEAD_UDP, I2P]
    for row, (latency, seeders) in zip(rows[1:], [("ms", "0"), ("ms", "0"), ("-", "-")]):
        assert row[start_of_tracker - 2 : start_of_tracker] == "  "
        assert row[:start_of_tracker].split()[-3] == latency
        assert row[:start_of_tracker].split()[-2] == seeders
    why = "connection refused"
    assert why in rows[3] and why in rows[4]
    assert rows[3].index("announce:") == rows[4].index("connect:")
    assert "scrape" in rows[2] and rows[5].endswith("ws and wss can")
    assert rows[0].endswith(shown[0]) and rows[1].endswith(shown[1])
    assert totals == "3 up (1 partial), 2 down, 1 unsupported of 6"


def test_rows_are_what_is_up_by_latency_then_the_rest_by_reason():
    results = [
        result_like("i2p://a", "unsupported", "no"), result_like("a:1", "interrupted", "stopped"),
        result_like("a:2", "error", "connection refused"),
        result_like("a:3", "timeout", "no answer"), result_like("a:4", "partial", "no", 0.1),
        result_like("a:5", elapsed=0.3), result_like("a:6", elapsed=0.2),
        result_like("a:7", "timeout", "no answer"),
    ]
    lines = tracker_checker.report_table(results, given_twice=2).splitlines()
    assert len(lines) == 10
    named = [re.search(r"(a:\d|i2p://a)", line).group() for line in lines[1:9]]
    assert named == ["a:6", "a:5", "a:4", "a:3", "a:7", "a:2", "a:1", "i2p://a"]
    assert lines[-1] == (
        "3 up (1 partial), 3 down, 1 unsupported of 8, 2 given twice, 1 not finished"
    )
    # With every address they stand in the order of the input, so next to each other.
    lines = tracker_checker.report_table(results, all_addresses=True).splitlines()
    assert [line.split()[-1] for line in lines[6:8]] == ["a:5", "a:6"]


def test_where_many_are_down_their_reasons_are_counted():
    results = [result_like("a:{}".format(port), "timeout", "no answer") for port in range(1, 4)]
    assert tracker_checker.report_table(results).endswith("of 3\n")
    results += [
        result_like("b:1", "error", "connection refused"),
        result_like("b:2", "error", "no such name", kind="resolve_failed"),
        result_like("b:3", "partial", "no"),
    ]
    text = tracker_checker.report_table(results)
    assert text.endswith("of 6\ndown: 3 timeout, 1 connection refused, 1 name not found\n")


def test_at_80_columns_what_is_not_ok_says_which_tracker_and_why():
    warned = result_like("udp://warns.example.org:6969/announce")
    warned.warning = "please update your client, which is old"
    results = [
        warned,
        result_like("udp://partly.example.org:6969/announce", "partial", "no scrape here, sorry"),
        result_like("udp://refuses.example.org:6969/announce", "error", "connection refused"),
        result_like("udp://silent.example.org:6969/announce", "timeout", "no reply to connect"),
        result_like("i2p://other.example.org/announce", "unsupported", "scheme 'i2p' unknown"),
        result_like("udp://live.example.org:6969/announce"),
    ]
    lines = tracker_checker.report_table(results, 80).splitlines()
    assert max(map(len, lines)) < 80
    for name, why in (
        ("warns", "warning: please"), ("partly", "no scrape here"), ("other", "scheme 'i2p'"),
        ("refuses", "connection refused"), ("silent", "no reply to connect"),
    ):
        (row,) = [line for line in lines if "://{}.example.org".format(name) in line]
        assert why in row


def test_a_table_shows_a_warning_where_nothing_failed(check, tracker):
    url = tracker.http_url + "/fault/extra-keys/announce"
    shown = check("--format", "table", url).stdout
    assert "\nok " in shown and url + "  warning: please update\n" in shown
    result = tracker_checker.Result(tracker_checker.parse_tracker(url))
    result.warning = HOSTILE_TEXT
    shown = tracker_checker.report_table([result])
    assert "  warning: " in shown and shown.replace("\n", "").isprintable()
    result.add("announce", 0)
    result.add("scrape", 0, tracker_checker.Failure("http_status", "no such path"))
    shown = tracker_checker.report_table([result])
    assert "scrape: no such path" in shown and "warning: " not in shown


@pytest.mark.parametrize("columns", [44, 60, 80, 200])
def test_a_table_fits_the_terminal(tracker, columns):
    long = "{}/fault/failure/{}/announce".format(tracker.http_url, "long" * 40)
    shown = run_on_terminal("stdout", columns, "--format", "table", tracker.udp_url, long, DEAD_UDP)
    lines = re.sub("\x1b\\[[0-9;]*m", "", shown).splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= columns
    if columns >= 80:
        assert lines[1].endswith(tracker.udp_url)
        assert tracker.http_url in lines[2]
        assert "the tracker says" in lines[2]
        assert "connection refused" in lines[3] and lines[3].endswith(DEAD_UDP) is (columns == 80)


@pytest.mark.parametrize("columns", [60, 80, 100, 200, None])
def test_a_table_says_why_a_name_was_not_found_but_the_name_only_once(columns):
    failure = tracker_checker.Failure(
        "resolve_failed", "tracker.example: Name or service not known"
    )
    target = tracker_checker.parse_tracker("udp://tracker.example:6969")
    stages = [tracker_checker.Stage("setup", 0, failure)]
    text = tracker_checker.report_table([tracker_checker.Result(target, stages, 0)], columns)
    assert "Name or service not known" in text
    assert text.count("tracker.exam") == 1


def test_a_table_in_a_pipe_has_no_limit_and_no_colour(check, tracker):
    long = "{}/{}/announce".format(tracker.http_url, "long" * 60)
    result = check("--format", "table", long, env={"TERM": "xterm", "COLUMNS": "80"})
    assert long in result.stdout
    assert "\x1b" not in result.stdout


def test_colour_is_for_terminals_without_no_color(tracker, tmp_path):
    arguments = ["stdout", 80, "--format", "table", tracker.udp_url, DEAD_UDP]
    shown = run_on_terminal(*arguments)
    assert "\x1b[32mok\x1b[0m" in shown and "\x1b[31merror\x1b[0m" in shown
    assert "\x1b" not in run_on_terminal(*arguments, env={"NO_COLOR": "1"})
    assert "\x1b" not in run_on_terminal(*arguments, env={"TERM": "dumb"})
    assert "\x1b" not in run_on_terminal(*arguments, "--color", "never", env={"FORCE_COLOR": "1"})
    path = tmp_path / "table"
    assert run_on_terminal(*arguments, "-o", path) == ""
    assert "\x1b" not in path.read_text()


@pytest.mark.parametrize("options, env, coloured", [
    ([], {}, False),
    ([], {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
    ([], {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
    (["--color", "always"], {"NO_COLOR": "1"}, True),
    (["--color=never"], {"FORCE_COLOR": "1"}, False),
    (["--color", "auto"], {}, False),
])
def test_colour_in_a_pipe(check, options, env, coloured):
    shown = check("--format", "table", DEAD_UDP, *options, env=env).stdout
    assert ("\x1b[31merror\x1b[0m" in shown) == coloured


# prometheus.

SAMPLE = re.compile(r'([a-z_]+)\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?[0-9.e+-]+)')
LABEL = re.compile(r'([a-z]+)="((?:[^"\\]|\\.)*)"')
METRICS = [
    "tracker_up", "tracker_check_duration_seconds", "tracker_stage_up",
    "tracker_stage_duration_seconds", "tracker_failure", "tracker_announce_interval_seconds",
    "tracker_seeders", "tracker_leechers", "tracker_last_check_timestamp_seconds",
]


def parse_metrics(text):
    """Returns {(name, labels as sorted pairs): value} of a text in the exposition format."""
    samples = {}
    announced = []
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            announced.append(line.split()[2])
            assert len(line.split()) > 3
        elif line.startswith("# TYPE "):
            assert line == "# TYPE {} gauge".format(announced[-1])
        else:
            name, labels, value = SAMPLE.fullmatch(line).groups()
            # All samples of a metric stand together, after its HELP and TYPE.
            assert name == announced[-1]
            key = name, tuple(sorted(LABEL.findall(labels)))
            assert key not in samples
            samples[key] = float(value)
    assert len(set(announced)) == len(announced)
    return samples


def sample_of(samples, name, given, stage=None):
    """Returns the value of a metric of a tracker, None where there is none."""
    for (found, labels), value in samples.items():
        labels = dict(labels)
        if (found, labels["tracker"], labels.get("stage")) == (name, given, stage):
            return value
    return None


def test_prometheus(check, tracker, partial):
    inputs = [tracker.udp_url, partial.http_url, DEAD_UDP, I2P]
    result = check("--format", "prometheus", *inputs, "--health", tracker.health_url)
    assert (result.code, result.stderr) == (0, "")
    samples = parse_metrics(result.stdout)
    assert list(dict.fromkeys(name for name, _ in samples)) == METRICS
    up = [sample_of(samples, "tracker_up", given) for given in inputs + [tracker.health_url]]
    assert up == [1, 1, 0, 0, 1]
    for given, stages in (
        (tracker.udp_url, {"setup": 1, "connect": 1, "announce": 1, "scrape": 1}),
        (partial.http_url, {"announce": 1, "scrape": 0}),
        (DEAD_UDP, {"setup": 1, "connect": 0, "announce": None}),
        (tracker.health_url, {"health": 1}),
    ):
        for stage, value in stages.items():
            assert sample_of(samples, "tracker_stage_up", given, stage) == value
            if value is not None:
                seconds = sample_of(samples, "tracker_stage_duration_seconds", given, stage)
                assert 0 <= seconds < 3
    assert sample_of(samples, "tracker_announce_interval_seconds", tracker.udp_url) == 120
    assert sample_of(samples, "tracker_seeders", tracker.udp_url) == 0
    assert sample_of(samples, "tracker_leechers", DEAD_UDP) is None
    assert sample_of(samples, "tracker_last_check_timestamp_seconds", DEAD_UDP) > 1700000000
    assert 0 < sample_of(samples, "tracker_check_duration_seconds", tracker.udp_url) < 3
    failures = {
        (labels["tracker"], labels["stage"]): (labels["kind"], value)
        for labels, value in (
            (dict(labels), value) for (name, labels), value in samples.items()
            if name == "tracker_failure"
        )
    }
    assert failures == {
        (DEAD_UDP, "connect"): ("refused", 1), (I2P, "setup"): ("unsupported", 1),
        (partial.http_url, "scrape"): ("invalid_response", 1),
    }
    protocols = {dict(labels)["protocol"] for _, labels in samples}
    assert protocols == {"udp", "http", "health", "unsupported"}
    assert not any(dict(labels).get("address") for _, labels in samples)


@pytest.mark.parametrize("options", [[], ["--all-addresses"]])
def test_a_tracker_that_goes_down_and_comes_back_has_the_same_series(check, tracker, options):
    by_name = tracker.udp_url.replace("127.0.0.1", "localhost")
    inputs = [tracker.udp_url, by_name, tracker.http_url, "--health", tracker.health_url, "-4"]
    seen = []
    for udp_fault, http_fault in ((None, None), ("error-reply", "close"), (None, None)):
        tracker.udp_fault, tracker.http_fault, tracker.health_fault = (
            udp_fault, http_fault, http_fault
        )
        samples = parse_metrics(check("--format", "prometheus", *options, *inputs).stdout)
        up = {labels: value for (name, labels), value in samples.items() if name == "tracker_up"}
        assert set(up.values()) == {0 if udp_fault else 1}
        seen.append(set(up))
        for labels in map(dict, up):
            address = host_port(labels["tracker"]).partition("/")[0]
            address = address.replace("localhost", "127.0.0.1")
            assert labels.get("address") == (address if options else None)
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize("name", ["table", "nagios"])
def test_all_addresses_of_a_name_can_be_told_apart(check, tracker, name):
    host, _, port = host_port(tracker.http_url).partition(":")
    inputs = ["{}://localhost:{}".format(*one) for one in (("http", port), ("udp", 1))]
    result = check("--format", name, "--all-addresses", "-4", *inputs)
    assert "localhost:1 (127.0.0.1:1)" in result.stdout
    if name == "table":
        assert "localhost:{0} (127.0.0.1:{0})".format(port) in result.stdout


def test_promtool_accepts_the_metrics(check, tracker, partial, hostile):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here: apt-get install prometheus")
    odd = 'i2p://a"b\\c\td'
    for inputs in (
        [tracker.udp_url, tracker.http_url, "--health", tracker.health_url, "--all-addresses"],
        [
            partial.udp_url, hostile.udp_url, hostile.http_url, DEAD_UDP, DEAD_HTTP, odd, I2P,
            "--label", 'from="berlin" \\ \n',
        ],
    ):
        metrics = check("--format", "prometheus", *inputs).stdout
        checked = run_command(
            ["promtool", "check", "metrics"], input=metrics, stderr=subprocess.STDOUT
        )
        assert (checked.code, checked.stdout) == (0, "")


def test_two_trackers_that_look_the_same_are_no_double_series(check, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("i2p://a\x07b\ni2p://a\\x07b\ni2p://a\\u202eb\ni2p://a\u202eb\n")
    result = check("--format", "prometheus", path)
    assert parse_metrics(result.stdout)


# nagios.


@pytest.mark.parametrize(
    "inputs, code, text, performance",
    [
        ("live", 0, "OK", "up=2;;;0;2 down=0;;;0;2 partial=0;;;0;2"),
        ("live partial", 1, "WARNING", "up=3;;;0;3 down=0;;;0;3 partial=1;;;0;3"),
        ("live partial dead", 2, "CRITICAL - 1 of 4 down: " + DEAD_UDP,
         "up=3;;;0;4 down=1;;;0;4 partial=1;;;0;4"),
        ("live i2p", 0, "OK - 2 of 2 up (1 unsupported)",
         "up=2;;;0;2 down=0;;;0;2 partial=0;;;0;2"),
        ("dead i2p", 2, "CRITICAL - 1 of 1 down: " + DEAD_UDP,
         "up=0;;;0;1 down=1;;;0;1 partial=0;;;0;1"),
        ("i2p", 2, "CRITICAL - 1 of 1 down: " + I2P, "up=0;;;0;1 down=1;;;0;1 partial=0;;;0;1"),
    ],
)
def test_nagios(check, tracker, partial, inputs, code, text, performance):
    urls = {
        "live": [tracker.udp_url, tracker.http_url], "partial": [partial.udp_url],
        "dead": [DEAD_UDP], "i2p": [I2P],
    }
    given = [url for word in inputs.split() for url in urls[word]]
    result = check("--format", "nagios", *given)
    assert (result.code, result.stderr) == (code, "")
    first, *others = result.stdout.splitlines()
    shown, separator, data = first.partition(" | ")
    assert shown.startswith("TRACKERS " + text)
    assert re.fullmatch(re.escape(performance) + r" time=\d+\.\d\ds", data)
    assert len(others) == len([word for word in inputs.split() if word != "live"])
    if code == 1:
        assert partial.udp_url in shown


def test_nagios_of_nothing(check):
    result = check("--format", "nagios", "{}")
    assert (result.code, result.stdout.count("\n")) == (3, 1)
    assert result.stdout.startswith("TRACKERS UNKNOWN - ")


def test_nagios_of_what_was_interrupted_before_anything_ended():
    target = tracker_checker.parse_tracker(DEAD_UDP)
    failure = tracker_checker.Failure("interrupted", "interrupted")
    result = tracker_checker.Result(target, [tracker_checker.Stage("connect", 1, failure)], 1)
    line, code = tracker_checker.report_nagios([result])
    assert (line.partition(" |")[0], code) == (
        "TRACKERS UNKNOWN - nothing was checked (1 not finished)", 3
    )


@pytest.mark.parametrize("arguments, told", [
    (["--format", "nagios"], "nothing to check"),
    (["--format", "nagios", "--bogus", DEAD_UDP], "there is no option --bogus"),
    (["--timeout", "0", DEAD_UDP, "--format=nagios"], "--timeout"),
    (["--format", "nagios", "-6", DEAD_UDP], "127.0.0.1"),
    (["--no-scrape", "--no-announce", "--format", "nagios", DEAD_UDP], "nothing to check"),
    (["--format", "nagios", "--port", "a|b", DEAD_UDP], "a!b"),
    (["--format", "nagios", "no-port.example"], "no-port.example"),
    (["--format", "nagios", '{"udp_trackers": [7]}'], "udp_trackers"),
])
def test_nagios_cannot_tell_where_it_is_used_wrongly(check, arguments, told):
    result = check(*arguments)
    assert (result.code, result.stderr) == (3, "")
    assert result.stdout.startswith("TRACKERS UNKNOWN - ") and told in result.stdout
    assert result.stdout.count("\n") == 1 and "|" not in result.stdout


def test_nagios_has_one_bar_whatever_trackers_are_called(check, hostile):
    odd = ["udp://127.0.0.1:1/a|b;c", "i2p://a\nb|c;d", hostile.udp_url, hostile.http_url]
    result = check("--format", "nagios", *odd, "--health", hostile.health_url)
    assert result.code == 2
    first, *others = result.stdout.splitlines()
    assert len(others) == 5
    assert result.stdout.count("|") == 1
    text = first.partition("|")[0]
    assert ";" not in text + "".join(others)
    assert result.stdout.replace("\n", "").isprintable()


def test_nagios_with_many_down_stays_short(check):
    urls = ["udp://127.0.0.1:{}".format(port) for port in range(1, 60)]
    result = check("--format", "nagios", *urls)
    assert result.code == 2
    first, *others = result.stdout.splitlines()
    text = first.partition(" | ")[0]
    assert text == (
        "TRACKERS CRITICAL - 59 of 59 down: udp://127.0.0.1:1 (connection refused), "
        "udp://127.0.0.1:2 (connection refused), udp://127.0.0.1:3 (connection refused) "
        "and 56 more"
    )
    assert [line.split()[1] for line in others] == urls
    assert set(line.split(" ", 2)[2] for line in others) == {"(connect: connection refused)"}


@pytest.mark.parametrize("critical, code", [(None, 2), (1, 2), (2, 2), (3, 1)])
def test_nagios_warns_where_fewer_are_down_than_is_critical(check, tracker, critical, code):
    options = ["--critical", critical] if critical else []
    inputs = [DEAD_UDP, DEAD_HTTP, tracker.udp_url]
    result = check("--format", "nagios", *options, *inputs)
    assert result.code == code
    assert result.stdout.startswith("TRACKERS {} - 2 of 3 down: ".format(
        "CRITICAL" if code == 2 else "WARNING"
    ))


def test_critical_is_for_nagios(check):
    result = check("--critical", "2", DEAD_UDP)
    assert (result.code, result.stdout) == (2, "")
    assert "--format nagios" in result.stderr


@pytest.mark.parametrize("path", ["missing/report", "/dev/full"])
def test_nagios_cannot_tell_where_its_output_cannot_be_written(check, path, tmp_path):
    result = check("--format", "nagios", "-o", path, DEAD_UDP, cwd=str(tmp_path))
    assert (result.code, result.stderr) == (3, "")
    assert result.stdout.startswith("TRACKERS UNKNOWN - ") and path in result.stdout
    assert result.stdout.count("\n") == 1


# urls.


def test_urls_are_what_works_and_work_when_checked_again(check, tracker, partial):
    port = tracker.udp_port
    inputs = [
        DEAD_UDP, I2P, "127.0.0.1:{}".format(port), tracker.http_url, DEAD_HTTP,
        "{}/announce?key=1".format(partial.http_url), partial.udp_url + "/path?key=1",
        "UDP://LocalHost:{}/announce".format(port), tracker.http_url + "/x/announce",
    ]
    result = check("--format", "urls", *inputs, "--health", tracker.health_url)
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert [line.lower() for line in lines] == [
        "udp://127.0.0.1:{}".format(port),
        tracker.http_url + "/announce",
        partial.http_url + "/announce?key=1",
        partial.udp_url + "/path?key=1",
        "udp://localhost:{}/announce".format(port),
        tracker.http_url + "/x/announce",
    ]
    again = records(check("--format", "ndjson", "-", stdin=result.stdout))
    assert list(again) and set(again) == set(lines)
    assert {record["status"] for record in again.values()} <= {"ok", "partial"}


def test_urls_of_ipv6(check):
    with LoopbackTracker(hosts=("::1",)) as tracker:
        given = "[::1]:{}".format(tracker.udp_port)
        result = check("--format", "urls", given, tracker.http_url)
        assert result.stdout == "udp://{}\n{}/announce\n".format(given, tracker.http_url)
        again = records(check("--format", "ndjson", "-", stdin=result.stdout))
    assert {record["status"] for record in again.values()} == {"ok"}


def test_urls_of_nothing_that_works(check):
    result = check("--format", "urls", DEAD_UDP, I2P)
    assert (result.code, result.stdout) == (0, "")


@pytest.mark.parametrize("name", ["prometheus", "urls"])
def test_the_order_of_the_input_is_kept(check, tracker, name):
    urls = [
        tracker.http_url + "/fault/slow/announce", tracker.udp_url,
        tracker.http_url + "/announce", tracker.udp_url + "/path",
    ]
    shown = check("--format", name, *urls, "--no-announce").stdout
    places = [re.search(re.escape(url) + r'(?![\w/])', shown).start() for url in urls]
    assert places == sorted(places)


# Hostile text.


FORMATS = ["json", "compact", "ndjson", "table", "html", "prometheus", "nagios", "urls"]


@pytest.mark.parametrize("name", FORMATS)
def test_what_trackers_say_forges_no_line_and_drives_no_terminal(check, hostile, tmp_path, name):
    given = [hostile.udp_url, hostile.http_url]
    health = ["--health", hostile.health_url]
    result = check("--format", name, *given, *health, "-v")
    forged = HOSTILE_TEXT.splitlines()[-1]
    for text in (result.stdout, result.stderr):
        assert text.replace("\n", "").isprintable()
        assert forged not in text.splitlines()
    lines = result.stdout.splitlines()
    if name == "table":
        assert len(lines) == 5
    elif name == "ndjson":
        assert len(records(result)) == 3
    elif name == "prometheus":
        assert len({dict(labels)["tracker"] for _, labels in parse_metrics(result.stdout)}) == 3
    elif name == "urls":
        assert lines == []
    if name in ("json", "compact", "ndjson"):
        assert result.stdout.isascii() and "\x7f" not in result.stdout


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_list_holds_forges_no_line_and_drives_no_terminal(check, tmp_path, name):
    lines = ["udp://127.0.0.1:1/\x1b[31m", "i2p://127.0.0.1:1/\u00e9", "a\x7fb", "\x9b2J\u202e"]
    path = tmp_path / "list.txt"
    path.write_text("\n".join(lines), encoding="utf-8")
    torrent = tmp_path / "\x1b[31m\u202e\n.torrent"
    torrent.write_text("\x1b[31m404\n")
    argument = "i2p://a\x1b[31m\u202e\nb"
    result = check("--format", name, path, torrent, argument)
    assert result.stdout.replace("\n", "").isprintable()
    assert only_record(result, "warning")["kind"] == "lines_skipped"
    assert result.stderr.isascii()
    if name == "table":
        assert result.stdout.count("\n") == 4 + 2
    if name == "ndjson":
        given = {"udp://127.0.0.1:1/", lines[1], str(torrent), argument}
        assert set(records(result)) == given


@pytest.mark.parametrize("name", ["json", "table", "prometheus", "nagios", "urls"])
def test_a_locale_without_unicode_is_no_error(check, tracker, name):
    dead = "udp://127.0.0.1:1/\u4e2d"
    live = "{}/b\u00fccher/\u4e2d/announce".format(tracker.http_url)
    result = check("--format", name, live, dead, env={"PYTHONIOENCODING": "ascii"})
    assert (result.code, result.stderr) == (2 if name == "nagios" else 0, "")
    assert result.stdout.isascii()
    assert ("127.0.0.1:1" if name == "nagios" else host_port(tracker.http_url)) in result.stdout


def test_an_argument_that_is_not_text(start, tracker, tmp_path):
    for name in FORMATS:
        process = start("--format", name, b"udp://\xff:1".decode("utf-8", "surrogateescape"))
        stdout, stderr = process.communicate(timeout=30)
        assert process.returncode == (2 if name == "nagios" else 0)
        assert stderr == ""
        assert stdout.isascii()


# Exit codes.


@pytest.mark.parametrize(
    "inputs, plain, fail, fail_partial",
    [
        ("live", 0, 0, 0),
        ("live partial", 0, 0, 1),
        ("live dead", 0, 1, 1),
        ("live silent", 0, 1, 1),
        ("live unhealthy", 0, 1, 1),
        ("live i2p", 0, 0, 0),
        ("partial i2p", 0, 0, 1),
        ("i2p", 0, 1, 1),
    ],
)
def test_exit_codes(check, tracker, partial, inputs, plain, fail, fail_partial):
    words = {
        "live": [tracker.udp_url, tracker.http_url, "--health", tracker.health_url],
        "partial": [partial.http_url],
        "dead": [DEAD_UDP],
        "silent": [tracker.http_url + "/fault/silent/announce"],
        "unhealthy": ["--health", tracker.health_url + "/missing"],
        "i2p": [I2P],
    }
    given = [word for name in inputs.split() for word in words[name]] + ["--timeout", "0.5"]
    codes = [check(*given, *options).code for options in ([], ["--fail"], ["--fail-partial"])]
    assert codes == [plain, fail, fail_partial]


@pytest.mark.parametrize("name", ["ndjson", "table", "prometheus", "urls"])
def test_exit_codes_hold_for_every_format(check, name):
    assert check("--format", name, DEAD_UDP).code == 0
    assert check("--format", name, DEAD_UDP, "--fail").code == 1


# --output.


@pytest.mark.parametrize("name", FORMATS)
def test_output_is_what_stdout_would_have(check, tracker, tmp_path, name):
    path = tmp_path / "report"
    result = check("--format", name, "--output", path, tracker.udp_url, DEAD_UDP)
    assert (result.stdout, result.stderr) == ("", "")
    assert result.code == (2 if name == "nagios" else 0)
    text = path.read_text()
    assert host_port(DEAD_UDP if name == "nagios" else tracker.udp_url) in text
    assert text.endswith("\n")
    assert os.listdir(str(tmp_path)) == ["report"]


def test_output_replaces_the_file_whole(check, tracker, tmp_path):
    path = tmp_path / "report"
    path.write_text("old\n" * 10000)
    before = path.stat().st_ino
    check("-o", path, tracker.udp_url)
    assert len(json.loads(path.read_text())) == 1
    # A reader that has the old file open keeps it as it was: it is another file.
    assert path.stat().st_ino != before


@pytest.mark.parametrize("umask", [0o022, 0o027, 0o077])
def test_output_has_the_permissions_of_the_umask(start, tmp_path, umask):
    path = tmp_path / "report"
    path.write_text("old")
    path.chmod(0o600)
    process = start("-o", path, DEAD_UDP, prepare=lambda: os.umask(umask))
    process.communicate(timeout=30)
    assert process.returncode == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("there", [True, False])
def test_output_follows_a_link(check, tmp_path, there):
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "report", tmp_path / "link"
    if there:
        target.write_text("old")
    link.symlink_to(target)
    result = check("-o", link, DEAD_UDP)
    assert result.code == 0
    assert link.is_symlink()
    assert len(json.loads(target.read_text())) == 1
    assert sorted(os.listdir(str(tmp_path))) == ["folder", "link"]
    assert os.listdir(str(tmp_path / "folder")) == ["report"]


@pytest.mark.parametrize("number, straight", [
    (errno.EBUSY, True), (errno.EXDEV, True), (errno.EACCES, True), (errno.EROFS, True),
    (errno.ENOSPC, False), (errno.EDQUOT, False),
])
def test_output_onto_what_cannot_be_renamed_onto_is_written_straight(
    monkeypatch, tmp_path, number, straight
):
    def replace(source, target):
        # As for a file that is mounted into a container.
        raise OSError(number, os.strerror(number), source, None, target)

    path = tmp_path / "report"
    path.write_text("the old report, which is longer")
    monkeypatch.setattr(os, "replace", replace)
    if straight:
        tracker_checker.write_output(str(path), "new\n")
        assert path.read_text() == "new\n"
    else:
        with pytest.raises(tracker_checker.Failure, match=os.strerror(number)) as caught:
            tracker_checker.write_output(str(path), "new\n")
        assert caught.value.kind == "output_failed"
        assert path.read_text() == "the old report, which is longer"
    assert os.listdir(str(tmp_path)) == ["report"]


def test_output_into_a_fifo_is_written_straight(check, tmp_path):
    path = tmp_path / "fifo"
    os.mkfifo(str(path))
    read = []
    reader = threading.Thread(target=lambda: read.append(path.read_text()))
    reader.start()
    result = check("-o", path, DEAD_UDP)
    reader.join(30)
    assert (result.code, result.stderr) == (0, "")
    assert len(json.loads(read[0])) == 1
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_output_that_is_a_dash_is_stdout(check):
    assert check("--output", "-", "--format", "urls", "i2p://a").stdout == ""
    assert check("-o", "-", "i2p://a").stdout == check("i2p://a").stdout
    assert not os.path.exists("-")


@pytest.mark.parametrize("option", ["--output", "--config-path"])
def test_an_empty_path_is_a_usage_error(check, option):
    result = check(option, "", DEAD_UDP)
    assert (result.code, result.stdout) == (2, "")
    assert "the name of a file is expected" in result.stderr


def test_output_to_dev_stdout(check):
    result = check("-o", "/dev/stdout", DEAD_UDP)
    assert (result.code, result.stderr) == (0, "")
    assert len(result.json) == 1
    result = check("-o", "/dev/null", DEAD_UDP)
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("path", ["missing/report", ".", "file/report"])
def test_output_that_cannot_be_is_an_error_before_any_check(check, tracker, tmp_path, path):
    (tmp_path / "file").write_text("")
    for command in ([], ["monitor"]):
        result = check(*command, "-o", path, tracker.udp_url, cwd=str(tmp_path))
        assert (result.code, result.stdout) == (2, "")
        assert result.stderr.count("\n") == 1
        error = json.loads(result.stderr)["error"]
        assert (error["kind"], error["source"]) == ("output_failed", path)
        assert not tracker.requests


def test_output_on_a_full_disk(check):
    result = check("-o", "/dev/full", DEAD_UDP)
    assert (result.code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert (error["kind"], error["source"]) == ("output_failed", "/dev/full")


def test_the_old_file_stays_on_a_full_disk(start, tmp_path):
    path = tmp_path / "report"
    path.write_text("the old report")
    process = start(
        "-o", path, DEAD_UDP,
        prepare=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10)),
    )
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert json.loads(stderr)["error"]["kind"] == "output_failed"
    assert path.read_text() == "the old report"
    assert os.listdir(str(tmp_path)) == ["report"]


# What was meant.


@pytest.mark.parametrize("arguments, told", [
    (["monitr", DEAD_UDP], "did you mean monitor?"),
    (["Monitor", DEAD_UDP], "did you mean monitor?"),
    (["trackesr.txt"], "did you mean trackers.txt?"),
    (["folder/trackers.tx"], "did you mean folder/trackers.txt?"),
    (["tracker.example.org"], "udp://host:port is expected, or https://tracker.example.org/"),
    (["https:/a.example/x"], "did you mean https://a.example/x?"),
    (["http:a.example"], "did you mean http://a.example?"),
    (["udp//a.example:1"], "did you mean udp://a.example:1?"),
    (["--health", "localhost:1212/x"], "no scheme; a URL like http://host/"),
    (["--interval", "5", DEAD_UDP], "--interval belongs to monitor: tracker_checker.py monitor"),
    (["--url=udp://a:1"], "--url belongs to monitor"),
    (["monitor", "--all-addresses", DEAD_UDP], "--all-addresses belongs to a check"),
    (["monitor", "udp"], "monitor udp: --url udp://host:port is expected"),
    (["monitor", "udp", "--interval", "5"], "--url udp://host:port is expected"),
    (["monitor", "udp", "--bogus"], "there is no option --bogus"),
    (["-V"], "did you mean --version?"),
    (['{"arguments": {"torrents": []}}'], "jq '[.. | strings]' FILE | tracker_checker.py -"),
])
def test_what_was_meant_is_said_in_one_line(check, tmp_path, arguments, told):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "trackers.txt", tmp_path / "folder" / "trackers.txt"):
        path.write_text(DEAD_UDP)
    result = check(*arguments, cwd=str(tmp_path))
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert told in result.stderr


# Progress and diagnostics.


@pytest.mark.parametrize("columns", [30, 80])
def test_progress_on_a_terminal(tracker, columns):
    silent = ["--health", "http://127.0.0.1:{}/fault/silent/".format(tracker.health_port)]
    process, master = start_on_terminal("stderr", columns, *silent, DEAD_UDP, "--timeout", "60")
    with process:
        shown = ""
        while "1 of 2 done, 0 up, 1 down"[: columns - 1] not in shown:
            shown += os.read(master, 65536).decode()
        process.send_signal(signal.SIGINT)
        shown += read_to_the_end(master)
    # It is gone at the end, and never takes a line of its own.
    assert shown.endswith("\r\x1b[K") and "\n" not in shown
    lines = [line.replace("\x1b[K", "") for line in shown.split("\r")]
    assert max(map(len, lines)) < columns
    if columns == 80:
        assert re.fullmatch("1 of 2 done, 0 up, 1 down, [0-9]+ s left", lines[-2])


def test_progress_comes_from_the_first_second_on(monkeypatch, capsys):
    clock = [1000.0]
    monkeypatch.setattr(tracker_checker.time, "monotonic", lambda: clock[0])
    progress = tracker_checker.Progress(3, deadline=1005.0)
    result = tracker_checker.Result(tracker_checker.parse_tracker(DEAD_UDP))
    progress.count(result)
    for at, shown in ((1000.0, ""), (1000.9, ""), (1001.0, "1 of 3 done, 1 up, 0 down, 4 s left")):
        clock[0] = at
        progress.draw()
        assert capsys.readouterr().err == (shown and "\r{}\x1b[K".format(shown))
    # What is neither up nor down counts as done.
    result.add("setup", 0, tracker_checker.Failure("interrupted", "interrupted"))
    progress.count(result)
    progress.draw()
    assert "2 of 3 done, 1 up, 0 down" in capsys.readouterr().err


@pytest.mark.parametrize("options, term", [
    (["--no-progress"], "xterm"),
    (["--format", "ndjson"], "xterm"),
    (["--format", "ndjson", "-o", os.devnull], "xterm"),
    ([], "dumb"),
    ([], None),
])
def test_where_there_is_no_progress(tracker, monkeypatch, options, term):
    monkeypatch.delenv("TERM", raising=False)
    silent = ["--health", "http://127.0.0.1:{}/fault/silent/".format(tracker.health_port)]
    # Longer than the second after which there would be some.
    arguments = [*silent, "--timeout", "1.6", *options]
    process, master = start_on_terminal("stderr", 80, *arguments, term=term)
    with process:
        assert read_to_the_end(master) == ""


def test_verbose_is_on_stderr_alone(check, tracker):
    result = check("-v", tracker.udp_url, tracker.http_url)
    assert len(result.json) == 2
    assert host_port(tracker.udp_url) in result.stderr
    assert host_port(tracker.http_url) in result.stderr
    assert "/announce?" in result.stderr
    assert "Traceback" not in result.stderr
