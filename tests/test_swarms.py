# SPDX-License-Identifier: LGPL-3.0-only
"""`tracker_checker.py swarms` as a command: what it takes, asks, prints, and how it ends.

What follows from a tracker's replies, whatever their order, is in test_surveys.py, as values.
"""

import hashlib
import json
import random
import signal
import subprocess

import bencode
import pytest
from helpers import SOON, json_lines, only_record, requests_of, wait_until
from loopback_tracker import LoopbackTracker, made_up_counts, made_up_info_hash

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
CLOSED = "udp://127.0.0.1:1"


@pytest.fixture
def swarms(run_script):
    """A function that runs the command and returns its Result."""

    def run(*arguments, **settings):
        return run_script("tracker_checker.py", "swarms", "--timeout", "3", *arguments, **settings)

    return run


@pytest.fixture
def counting(tracker):
    """A running tracker that counts something for two torrents."""
    tracker.set_counts(bytes.fromhex(HASH), 3, 7, 1)
    tracker.set_counts(bytes.fromhex(OTHER_HASH), 0, 2, 5)
    return tracker


def torrent_file(path, name, trackers):
    """Writes a .torrent; returns its info hash in hex."""
    info = {b"name": name.encode(), b"piece length": 16384, b"pieces": bytes(20), b"length": 1}
    torrent = {b"info": info}
    if trackers:
        torrent[b"announce-list"] = [[tracker.encode()] for tracker in trackers]
    path.write_bytes(bencode.encode(torrent))
    return hashlib.sha1(bencode.encode(info)).hexdigest()


def record_of_entry(seeders, completed, leechers, **further):
    return dict(seeders=seeders, leechers=leechers, completed=completed, **further)


# What it prints.


def test_the_shape(swarms, counting):
    magnet = "magnet:?xt=urn:btih:{}&dn=a+name%21".format(OTHER_HASH)
    inputs = [HASH, magnet, counting.udp_url, counting.http_url, counting.ws_url, CLOSED]
    result = swarms(*inputs, "--format", "compact")
    assert (result.code, result.stderr) == (0, "")
    first = record_of_entry(3, 7, 1)
    second = record_of_entry(0, 2, 5)
    urls = [counting.udp_url, counting.http_url, counting.ws_url]
    error = {"tracker": CLOSED, "error": "connection refused"}
    assert result.json == [
        dict(
            info_hash=HASH, **first, trackers=[dict(tracker=url, **first) for url in urls] + [error]
        ),
        dict(
            info_hash=OTHER_HASH,
            name="a name!",
            **second,
            trackers=[dict(tracker=url, **second) for url in urls] + [error]
        ),
    ]
    text = '[{{"info_hash":"{}","seeders":3,"leechers":1,"completed":7,"trackers":[{{"tracker":'
    assert result.stdout.startswith(text.format(HASH))
    assert '"name":"a name!","seeders":0,' in result.stdout
    assert json.dumps(result.json, indent=2) + "\n" == swarms(*inputs).stdout


def test_nobody_joins_a_swarm(swarms, counting):
    swarms(HASH, counting.udp_url, counting.http_url, counting.ws_url)
    assert {record.action for record in counting.requests} <= {
        "connect", "scrape", "upgrade", "close"
    }
    assert len(requests_of(counting, "scrape")) == 3
    assert requests_of(counting, "close")[0]["code"] == 1000


def test_the_largest_count_that_any_tracker_says(swarms, counting):
    with LoopbackTracker() as other:
        other.set_counts(bytes.fromhex(HASH), 1, 1, 9)
        entry, = swarms(HASH, counting.udp_url, other.http_url).json
    assert (entry["seeders"], entry["completed"], entry["leechers"]) == (3, 7, 9)


def test_a_tracker_without_an_entry_does_not_list_it(swarms, counting):
    counting.udp_fault = counting.ws_fault = "scrape-known"
    counting.http_fault = "scrape-empty"
    unknown = "11" * 20
    urls = [counting.udp_url, counting.http_url, counting.ws_url]
    entry, = swarms(unknown, *urls).json
    assert entry["trackers"] == [
        dict(tracker=url, seeders=0, leechers=0, completed=0, listed=False) for url in urls
    ]
    assert entry["seeders"] == 0


def test_all_trackers_dead(swarms):
    result = swarms(HASH, CLOSED, "http://127.0.0.1:1/announce", "ws://127.0.0.1:1")
    assert (result.code, result.stderr) == (0, "")
    entry, = result.json
    assert [entry[name] for name in ("seeders", "leechers", "completed")] == [None] * 3
    assert [set(each) for each in entry["trackers"]] == [{"tracker", "error"}] * 3
    assert swarms(HASH, CLOSED, "--min-seeders", "0").code == 1


@pytest.mark.parametrize(
    "tracker, words",
    [
        ("http://127.0.0.1:1/x", "scrape URL"),
        ("i2p://x", "i2p"),
        ("udp://127.0.0.1", "port"),
        ("udp://nowhere.example:1", "nowhere.example"),
        ("http://nowhere.example/announce", "nowhere.example"),
    ],
)
def test_a_tracker_that_cannot_be_asked(swarms, resolver, tracker, words):
    magnet = "magnet:?xt=urn:btih:{}&tr={}".format(HASH, tracker)
    entry, = swarms(magnet, env=resolver()).json
    (said,) = entry["trackers"]
    assert said["tracker"] == tracker and words in said["error"]


def test_ndjson_is_a_torrent_a_line(swarms, counting):
    result = swarms(HASH, OTHER_HASH, counting.udp_url, "--format", "ndjson")
    records = json_lines(result.stdout)
    assert [list(record)[:2] for record in records] == [["time", "info_hash"]] * 2
    plain = swarms(HASH, OTHER_HASH, counting.udp_url).json
    for record in records:
        record.pop("time")
    assert sorted(records, key=plain.index) == plain


def test_the_table(swarms, counting, tmp_path):
    torrent_file(tmp_path / "a.torrent", "nobody\x1b[31m", [counting.udp_url])
    inputs = [HASH, OTHER_HASH, tmp_path / "a.torrent", counting.udp_url, CLOSED]
    result = swarms(*inputs, "--format", "table")
    assert result.stdout == """\
SEED  LEECH  DONE  ANSWERS  TORRENT
   3      1     7   1 of 2  {}
   0      5     2   1 of 2  {}
   0      0     0   1 of 2  nobody\\x1b[31m
3 torrents, 2 without seeders, 0 not known; 1 of 2 trackers answered
""".format(HASH, OTHER_HASH)


def test_prometheus(swarms, counting):
    magnet = "magnet:?xt=urn:btih:{}&dn=a+name".format(OTHER_HASH)
    result = swarms(HASH, magnet, counting.udp_url, CLOSED, "--format", "prometheus")
    samples = [line for line in result.stdout.splitlines() if not line.startswith("#")]
    labels = ['{{info_hash="{}"}}'.format(HASH), '{{info_hash="{}",name="a name"}}'.format(OTHER_HASH)]
    assert samples == [
        "torrent_{}{} {}".format(name, label, value)
        for name, values in (
            ("seeders", (3, 0)),
            ("leechers", (1, 5)),
            ("completed", (7, 2)),
            ("trackers_answered", (1, 1)),
            ("trackers_asked", (2, 2)),
        )
        for label, value in zip(labels, values)
    ]


def test_too_few_seeders(swarms, counting):
    assert swarms(HASH, counting.udp_url, "--min-seeders", "3").code == 0
    assert swarms(HASH, counting.udp_url, "--min-seeders", "4").code == 1
    assert swarms(HASH, OTHER_HASH, counting.udp_url, "--min-seeders", "1").code == 1


# What it takes.


def test_torrents_are_asked_for_at_their_own_trackers_and_at_those_given(swarms, tmp_path):
    with LoopbackTracker() as own, LoopbackTracker() as given:
        path = tmp_path / "a.torrent"
        info_hash = torrent_file(path, "a", [own.udp_url, own.http_url])
        result = swarms(path, HASH, given.udp_url)
        asked = [[entry["tracker"] for entry in torrent["trackers"]] for torrent in result.json]
        assert asked == [[own.udp_url, own.http_url, given.udp_url], [given.udp_url]]
        assert [torrent["info_hash"] for torrent in result.json] == [info_hash, HASH]
        hashes = {each.hex() for fields in requests_of(own, "scrape") for each in fields["info_hashes"]}
        assert hashes == {info_hash}


@pytest.mark.parametrize(
    "given",
    [
        HASH.upper(),
        "TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC",
        "urn:btih:" + HASH,
        HASH + "0" * 24,
        "urn:btmh:1220" + HASH + "0" * 24,
        "magnet:?xt=urn:btih:" + HASH,
        "- " + HASH + ",",
        '"{}"'.format(HASH),
    ],
)
def test_ways_to_give_an_info_hash(swarms, counting, given):
    if given[0].isalnum():
        entry, = swarms(given, counting.udp_url).json
        assert (entry["info_hash"], entry["seeders"]) == (HASH, 3)
    entry, = swarms("-", counting.udp_url, stdin="# a list\n{}  # this one\n".format(given)).json
    assert entry["info_hash"] == HASH


def test_a_list_may_have_hashes_and_trackers_together(swarms, counting):
    text = "{}\n\n{}\nnot a hash\n{}\n{}\n".format(HASH, counting.udp_url, OTHER_HASH, HASH)
    result = swarms("-", stdin=text)
    assert [entry["info_hash"] for entry in result.json] == [HASH, OTHER_HASH]
    warning = only_record(result, "warning")
    assert (warning["kind"], warning["lines"]) == ("lines_skipped", 1)


@pytest.mark.parametrize(
    "arguments, words",
    [
        ([], "nothing to ask for"),
        ([HASH], "no tracker"),
        ([CLOSED], "no torrent"),
        ([HASH[:-1], CLOSED], "39 hex digits"),
        (["nosuch.torrent", CLOSED], "nosuch.torrent"),
    ],
)
def test_what_there_is_nothing_to_do_with(swarms, arguments, words):
    result = swarms(*arguments)
    assert (result.code, result.stdout) == (2, "")
    error = only_record(result)
    assert error["kind"] == "invalid_configuration" and words in error["message"]


def test_a_broken_torrent_among_others_is_a_warning(swarms, counting, tmp_path):
    path = tmp_path / "broken.torrent"
    path.write_bytes(b"d4:infod4:name")
    result = swarms(path, HASH, counting.udp_url)
    assert [entry["info_hash"] for entry in result.json] == [HASH]
    warning = only_record(result, "warning")
    assert (warning["kind"], warning["source"]) == ("unsupported", str(path))
    result = swarms(path, counting.udp_url)
    assert (result.code, result.stdout) == (2, "")
    assert only_record(result)["source"] == str(path)


# Many, and trackers that make it hard.


def many(number):
    return "".join(made_up_info_hash(each).hex() + "\n" for each in range(number))


def require_no_wrong_count(result, number, missing=0):
    """Every torrent has an entry, every count in it is right, and few are missing."""
    assert len(result.json) == number
    errors = 0
    for entry in result.json:
        counts = made_up_counts(bytes.fromhex(entry["info_hash"]))
        for said in entry["trackers"]:
            if "error" in said:
                errors += 1
            else:
                found = said["seeders"], said["completed"], said["leechers"]
                assert found == tuple(counts), entry
    assert errors <= missing


@pytest.mark.parametrize(
    "fault",
    [None, "scrape-sorted", "scrape-reversed", "scrape-random", "scrape-sorted-distinct",
     "scrape-first-70", "scrape-one-extra", "scrape-delayed", "scrape-overtaking",
     "scrape-doubled"],
)
def test_no_count_goes_to_another_torrent(swarms, tracker, fault):
    tracker.make_up_torrents(1000)
    tracker.udp_fault = fault
    result = swarms("-", tracker.udp_url, stdin=many(1000))
    assert (result.code, result.stderr) == (0, "")
    # An entry too many makes all of them doubtful.
    require_no_wrong_count(result, 1000, missing=1000 if fault == "scrape-one-extra" else 0)


@pytest.mark.parametrize("fault", [None, "scrape-sorted", "scrape-reversed", "scrape-random"])
def test_nor_under_loss(swarms, fault):
    with LoopbackTracker() as one, LoopbackTracker() as two, LoopbackTracker() as three:
        trackers = [one, two, three]
        for number, tracker in enumerate(trackers):
            tracker.random = random.Random(number)
            tracker.make_up_torrents(500)
            tracker.loss_rate = 0.1
            tracker.udp_fault = fault
        result = swarms("-", *[tracker.udp_url for tracker in trackers], stdin=many(500))
    # A request is lost once in 20,000 times, with all the torrents that it asks for.
    require_no_wrong_count(result, 500, missing=150)


@pytest.mark.parametrize(
    "fault",
    ["none", "twice", "scrape-known", "scrape-reversed", "scrape-extra", "scrape-first-70"],
)
def test_many_over_websocket(swarms, tracker, fault):
    tracker.make_up_torrents(400)
    tracker.ws_fault = fault
    result = swarms("-", tracker.ws_url, stdin=many(400))
    require_no_wrong_count(result, 400)
    assert len(requests_of(tracker, "upgrade")) == 1


def test_a_connection_that_ends_after_each_answer_is_opened_anew(swarms, tracker):
    tracker.make_up_torrents(400)
    tracker.ws_fault = "close-after-answer"
    require_no_wrong_count(swarms("-", tracker.ws_url, stdin=many(400)), 400)


@pytest.mark.parametrize("fault", ["failure-alone", "failure"])
def test_a_refusal_leaves_the_connection_and_is_not_asked_for_without_end(swarms, tracker, fault):
    tracker.ws_fault = fault
    result = swarms("-", tracker.ws_url, stdin=many(300))
    assert all("registered" in entry["trackers"][0]["error"] for entry in result.json)
    assert len(requests_of(tracker, "upgrade")) <= 2
    assert len(requests_of(tracker, "scrape")) < 110


def test_a_slow_tracker_leaves_the_others_of_its_host_their_turns(swarms, tracker):
    tracker.make_up_torrents(400)
    slow = tracker.http_url + "/fault/slow/announce"
    result = swarms("-", slow, tracker.http_url, stdin=many(400))
    require_no_wrong_count(result, 400)
    paths = [fields["path"] for fields in requests_of(tracker, "scrape")]
    first_fast = paths.index("/scrape")
    assert first_fast < 10 < len(paths)


def test_a_reader_that_is_slow_makes_no_tracker_time_out(start_script, tracker):
    tracker.make_up_torrents(1000)
    inputs = [tracker.http_url, tracker.udp_url]
    process = start_script(
        "tracker_checker.py", "swarms", "-", *inputs, "--timeout", "1", "--format", "ndjson",
        stdin=subprocess.PIPE,
    )
    process.stdin.write(many(1000))
    process.stdin.close()
    process.stdin = None
    # Nobody reads yet, and the pipe has room for a third of it: all is asked nevertheless.
    wait_until(
        lambda: sum(len(each["info_hashes"]) for each in requests_of(tracker, "scrape")) >= 2000
    )
    stdout, stderr = process.communicate(timeout=SOON)
    assert (process.returncode, stderr) == (0, "")
    assert len(json_lines(stdout)) == 1000
    assert '"error"' not in stdout


def test_many_over_http(swarms, tracker):
    tracker.make_up_torrents(400)
    result = swarms("-", tracker.http_url, stdin=many(400))
    require_no_wrong_count(result, 400)
    assert all(len(fields["target"]) < 2000 for fields in requests_of(tracker, "scrape"))
    assert 10 < len(requests_of(tracker, "scrape")) < 20


def test_a_tracker_that_falls_silent_in_the_middle_is_not_asked_further(swarms, tracker):
    tracker.make_up_torrents(3000)
    tracker.udp_fault = "scrape-then-silent"
    tracker.scrapes_answered = 20
    result = swarms("-", tracker.udp_url, "--timeout", "1", stdin=many(3000))
    assert len(requests_of(tracker, "scrape")) < 20 + 8 + 3
    answered = sum("error" not in entry["trackers"][0] for entry in result.json)
    assert 70 * 10 < answered < 70 * 21
    require_no_wrong_count(result, 3000, missing=3000 - answered)


@pytest.mark.parametrize("udp_fault", ["silent", "silent-scrape", "silent-connect", "junk"])
def test_a_silent_tracker_costs_its_timeout_once(swarms, udp_fault):
    with LoopbackTracker(udp_fault=udp_fault) as tracker:
        result = swarms("-", tracker.udp_url, "--timeout", "1", stdin=many(1000))
    assert len(requests_of(tracker, "scrape")) <= 1
    assert len(result.json) == 1000
    assert all("error" in entry["trackers"][0] for entry in result.json)


@pytest.mark.parametrize("protocol", ["http", "ws"])
def test_a_silent_tracker_over_tcp_costs_its_timeout_once(swarms, tracker, protocol):
    tracker.http_fault = tracker.ws_fault = "silent"
    url = tracker.http_url if protocol == "http" else tracker.ws_url
    result = swarms("-", url, "--timeout", "1", stdin=many(500))
    assert len(requests_of(tracker, "scrape")) <= 4
    assert all("error" in entry["trackers"][0] for entry in result.json)


def test_an_error_reply_for_some_is_not_one_for_all(swarms, tracker):
    tracker.udp_fault = "error-on-scrape"
    entries = swarms(HASH, OTHER_HASH, tracker.udp_url).json
    assert ["not allowed" in entry["trackers"][0]["error"] for entry in entries] == [True, True]


def test_connection_ids_that_are_rejected_are_renewed(swarms, tracker):
    tracker.make_up_torrents(1000)
    tracker.udp_fault = "reject-connection-id-once"
    result = swarms("-", tracker.udp_url, stdin=many(1000))
    require_no_wrong_count(result, 1000)


# How it ends.


def test_ctrl_c_prints_all_there_is(start_script, tracker):
    tracker.make_up_torrents(1000)
    tracker.udp_fault = "scrape-then-silent"
    tracker.scrapes_answered = 6
    process = start_script(
        "tracker_checker.py", "swarms", "-", tracker.udp_url, "--timeout", "60",
        stdin=subprocess.PIPE,
    )
    process.stdin.write(many(1000))
    process.stdin.close()
    process.stdin = None
    tracker.wait_for(lambda record: record.action == "scrape" and len(scrapes(tracker)) > 8)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=SOON)
    assert (process.returncode, stderr) == (130, "")
    entries = json.loads(stdout)
    assert len(entries) == 1000
    errors = {entry["trackers"][0].get("error") for entry in entries}
    assert "interrupted" in errors


def scrapes(tracker):
    return [record for record in tracker.requests if record.action == "scrape"]


def test_an_old_report_stays_when_a_run_is_cut_short(start_script, tracker, tmp_path):
    report = tmp_path / "report"
    report.write_text("old")
    tracker.udp_fault = "silent-scrape"
    process = start_script(
        "tracker_checker.py", "swarms", HASH, tracker.udp_url, "-o", report, "--timeout", "60"
    )
    tracker.wait_for(lambda record: record.action == "scrape")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=SOON) == ("", "")
    assert process.returncode == 143
    assert report.read_text() == "old"


def test_help_has_examples(run_script):
    result = run_script("tracker_checker.py", "swarms", "--help")
    assert result.code == 0
    assert "swarms *.torrent --format table" in result.stdout
    result = run_script("tracker_checker.py", HASH, "swarms")
    assert result.code == 2 and "swarms has to come first" in result.stderr
