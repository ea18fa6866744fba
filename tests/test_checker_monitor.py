# SPDX-License-Identifier: LGPL-3.0-only
"""tracker_checker.py monitor: probes at a fixed rate, a line each, and a summary at the end."""

import heapq
import itertools
import json
import os
import re
import signal
import time
import tracemalloc
from functools import partial

import pytest
import tracker_checker
from helpers import compact_json, json_lines, wait_until
from loopback_tracker import LoopbackTracker

HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
DEAD_UDP = "udp://127.0.0.1:1"
I2P = "i2p://127.0.0.1:1/announce"
STATS = [
    "total", "timeouts", "timeout_percent", "errors", "min_ms", "max_ms", "average_ms", "last_ms"
]


@pytest.fixture
def monitor(run_script):
    """A function that runs monitor; returns (its summary, its probe lines, its Result)."""

    def run(*arguments, **settings):
        result = run_script("tracker_checker.py", "monitor", *arguments, **settings)
        assert result.code == 0
        return result.json, probes_of(result.stderr), result

    return run


def probes_of(stderr):
    """Returns the probe lines, each of which must be compact JSON, as dictionaries."""
    probes = []
    for line in stderr.splitlines():
        assert line == compact_json(json.loads(line))
        probes.append(json.loads(line))
    assert all(probe["event"] == "probe" for probe in probes)
    return probes


@pytest.fixture
def start(start_script):
    return partial(start_script, "tracker_checker.py", "monitor")


def times_of(tracker, action="connect"):
    return [record.time for record in tracker.requests if record.action == action]


# Probes and the summary.


def test_a_probe_is_a_line_and_the_summary_comes_last(monitor, tracker):
    summary, probes, result = monitor(tracker.udp_url, "--interval", "0.4", "--duration", "1")
    assert [list(probe) for probe in probes] == [
        ["event", "sequence", "url", "status", "elapsed_ms", "time"]] * 3
    stamps = [probe["time"] for probe in probes]
    assert stamps == sorted(set(stamps)) and stamps[0].startswith("20") and stamps[0][-1] == "Z"
    assert [probe["sequence"] for probe in probes] == [1, 2, 3]
    assert {(probe["url"], probe["status"]) for probe in probes} == {(tracker.udp_url, "ok")}
    times = [probe["elapsed_ms"] for probe in probes]
    assert all(isinstance(elapsed, int) and 0 <= elapsed < 5000 for elapsed in times)
    assert result.stdout.count("\n") == 1
    assert result.stdout == compact_json(summary) + "\n"
    assert list(summary) == ["udp_trackers"]
    (entry,) = summary["udp_trackers"]
    assert list(entry) == ["url", "status"]
    assert list(entry["status"]) == ["code", "message", "stats"]
    assert list(entry["status"]["stats"]) == STATS
    assert entry == {
        "url": tracker.udp_url,
        "status": {
            "code": "ok",
            "message": "monitor completed",
            "stats": {
                "total": 3, "timeouts": 0, "timeout_percent": 0, "errors": 0,
                "min_ms": min(times), "max_ms": max(times),
                "average_ms": int(sum(times) / 3 + 0.5), "last_ms": times[-1],
            },
        },
    }


@pytest.mark.parametrize("name", ["json", "pretty", "compact"])
def test_the_summary_is_one_line_in_every_format(monitor, tracker, name):
    options = ["--interval", "1", "--duration", "0.1", "--format", name]
    _, _, result = monitor(tracker.udp_url, *options)
    assert result.stdout.count("\n") == 1


def test_probes_are_due_at_multiples_of_the_interval(monitor, tracker):
    # With a clock of the test's own, below, it is seen to the millisecond.
    monitor(tracker.udp_url, "--interval", "0.8", "--duration", "3")
    assert len(times_of(tracker)) == 4


@pytest.mark.parametrize("interval, duration, count", [("0.4", "0.8", 2), ("0.5", "0.4", 1)])
def test_probes_are_due_before_the_duration_ends(monitor, tracker, interval, duration, count):
    _, probes, _ = monitor(tracker.udp_url, "--interval", interval, "--duration", duration)
    assert [probe["sequence"] for probe in probes] == list(range(1, count + 1))


def test_all_kinds_of_targets_each_with_its_own_sequence(monitor, tracker):
    summary, probes, _ = monitor(
        tracker.http_url, tracker.udp_url[len("udp://") :], DEAD_UDP,
        "--health", tracker.health_url, "--interval", "0.3", "--duration", "0.5",
    )
    assert list(summary) == ["udp_trackers", "http_trackers", "health_checks"]
    urls = {name: [entry["url"] for entry in entries] for name, entries in summary.items()}
    assert urls == {
        "udp_trackers": [tracker.udp_url, DEAD_UDP],
        "http_trackers": [tracker.http_url],
        "health_checks": [tracker.health_url],
    }
    assert len(probes) == 8
    for url in itertools.chain(*urls.values()):
        own = [probe for probe in probes if probe["url"] == url]
        assert [probe["sequence"] for probe in own] == [1, 2]
        for probe in own:
            if url == DEAD_UDP:
                assert (probe["status"], probe["elapsed_ms"]) == ("error", None)
                assert list(probe)[-2:] == ["message", "time"]
                assert "refused" in probe["message"]
            else:
                assert (probe["status"], "message" in probe) == ("ok", False)
    dead = summary["udp_trackers"][1]["status"]
    assert (dead["code"], dead["stats"]) == (
        "error", dict(dict.fromkeys(STATS), total=2, timeouts=0, timeout_percent=0, errors=2)
    )


def test_a_slow_probe_skips_those_due_meanwhile(monitor):
    with LoopbackTracker(udp_fault="silent") as tracker:
        summary, probes, result = monitor(
            tracker.udp_url, "--interval", "1", "--timeout", "1.4", "--duration", "4.2"
        )
    # Due at 0, 1, 2, 3 and 4: while one takes 1.4 s the next is skipped.
    assert [probe["sequence"] for probe in probes] == [1, 2, 3]
    for probe in probes:
        assert list(probe) == ["event", "sequence", "url", "status", "elapsed_ms", "time"]
        assert (probe["status"], probe["elapsed_ms"]) == ("timeout", None)
    (entry,) = summary["udp_trackers"]
    assert entry["status"]["code"] == "timeout"
    assert entry["status"]["stats"] == dict(
        dict.fromkeys(STATS), total=3, timeouts=3, timeout_percent=100, errors=0
    )


def test_a_slow_target_does_not_shift_the_others(monitor, tracker):
    slow = tracker.http_url + "/fault/slow/announce"
    _, probes, _ = monitor(
        slow, tracker.udp_url, "--interval", "0.5", "--duration", "1.8", "--no-scrape"
    )
    assert len(times_of(tracker)) == 4
    assert len([probe for probe in probes if probe["url"] == slow]) == 1


def test_partial_is_ok(monitor):
    with LoopbackTracker(udp_fault="error-on-scrape") as tracker:
        summary, probes, _ = monitor(tracker.udp_url, "--interval", "1", "--duration", "1")
    assert [probe["status"] for probe in probes] == ["ok"]
    assert summary["udp_trackers"][0]["status"]["code"] == "ok"


def test_the_upstream_form(monitor, tracker):
    summary, probes, _ = monitor(
        "udp", "--url", tracker.udp_url, "--interval", "1", "--timeout", "1", "--duration", "2",
        "--info-hash", HASH,
    )
    assert [probe["sequence"] for probe in probes] == [1, 2]
    assert [entry["url"] for entry in summary["udp_trackers"]] == [tracker.udp_url]
    hashes = {
        record.fields["info_hash"].hex() for record in tracker.requests
        if record.action == "announce"
    }
    assert hashes == {HASH}


@pytest.mark.parametrize("arguments", [["--url={}"], ["--timeout", "1", "--url", "{}"]])
def test_the_upstream_form_in_other_orders(monitor, tracker, arguments):
    arguments = [word.format(tracker.udp_url) for word in arguments]
    summary, _, _ = monitor("udp", *arguments, "--interval", "1", "--duration", "1")
    assert len(summary["udp_trackers"]) == 1


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/announce", "https://127.0.0.1:1"])
def test_the_upstream_form_is_for_udp(run_script, url):
    result = run_script("tracker_checker.py", "monitor", "udp", "--url", url)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("tracker_checker.py: error: ") and url in result.stderr
    assert "a udp URL is expected" in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_the_word_udp_any_url_is_probed(monitor, tracker):
    summary, _, _ = monitor("--url", tracker.http_url, "--interval", "1", "--duration", "1")
    assert list(summary) == ["http_trackers"]


def test_inputs_are_those_of_a_check(monitor, tracker, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("# a list\n{0}\n{0}\n".format(tracker.udp_url))
    configuration = json.dumps({"http_trackers": [tracker.http_url]})
    rate = ["--interval", "1", "--duration", "1"]
    summary, probes, _ = monitor(path, configuration, *rate)
    assert {name: len(entries) for name, entries in summary.items()} == {
        "udp_trackers": 1, "http_trackers": 1
    }
    summary, _, _ = monitor(*rate, env={"TORRUST_CHECKER_CONFIG": configuration})
    assert list(summary) == ["http_trackers"]


def test_a_configuration_error(run_script):
    result = run_script("tracker_checker.py", "monitor", '{"udp_trackers": [7]}')
    assert (result.code, result.stdout) == (2, "")
    error = json.loads(result.stderr)["error"]
    assert (error["kind"], error["source"]) == ("invalid_configuration", "argument")


def test_what_cannot_be_checked_does_not_stop_the_others(run_script, tracker):
    result = run_script(
        "tracker_checker.py", "monitor", "i2p://127.0.0.1:1/announce", tracker.udp_url,
        "--interval", "1", "--duration", "1",
    )
    assert result.code == 0
    assert len(result.json["udp_trackers"]) == 1
    assert len([line for line in result.stderr.splitlines() if '"event":"probe"' in line]) == 1


def test_probe_lines_have_labels(monitor, tracker):
    labels = ["--label", "from=berlin", "--label", "list=a"]
    _, probes, _ = monitor(tracker.udp_url, *labels, "--interval", "1", "--duration", "1")
    assert list(probes[0])[-2:] == ["time", "labels"]
    assert probes[0]["labels"] == {"from": "berlin", "list": "a"}


# Probes on stdout.


def test_ndjson_has_the_line_of_a_check_for_each_probe(run_script, tracker):
    result = run_script(
        "tracker_checker.py", "monitor", tracker.udp_url, DEAD_UDP, "--format", "ndjson",
        "--label", "from=berlin", "--interval", "0.3", "--duration", "0.5",
    )
    assert (result.code, result.stderr) == (0, "")
    records = json_lines(result.stdout)
    assert sorted((record["tracker"], record["status"]) for record in records) == sorted(
        [(tracker.udp_url, "ok"), (DEAD_UDP, "error")] * 2
    )
    for record in records:
        assert (list(record)[0], record["labels"]) == ("time", {"from": "berlin"})
        assert record["stages"] and record["kind"] == "udp"


def test_a_table_is_a_line_a_probe_and_sums_up_at_the_end(run_script, tracker):
    result = run_script(
        "tracker_checker.py", "monitor", tracker.udp_url, DEAD_UDP, "--format", "table",
        "--interval", "0.3", "--duration", "0.5", env={"TZ": "UTC"},
    )
    assert (result.code, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    up = re.compile("[0-9]{2}(:[0-9]{2}){2}  ok +[0-9]+ ms  " + tracker.udp_url)
    down = re.compile("[0-9]{2}(:[0-9]{2}){2}  error +-  " + DEAD_UDP + "  connect: .*refused")
    for pattern in (up, down):
        assert len([line for line in lines[:4] if pattern.fullmatch(line)]) == 2
    assert lines[4].split() == ["UPTIME", "PROBES", "MIN", "AVERAGE", "MAX", "TRACKER"]
    live, dead = [line.split() for line in lines[5:]]
    assert (live[:2], live[-1]) == (["100.0%", "2"], tracker.udp_url)
    assert live.count("ms") == 3
    assert dead == ["0.0%", "2", "-", "-", "-", DEAD_UDP]


def test_the_table_at_the_end_can_go_into_a_file(run_script, tracker, tmp_path):
    path = tmp_path / "table"
    result = run_script(
        "tracker_checker.py", "monitor", tracker.udp_url, "--format", "table", "-o", path,
        "--interval", "1", "--duration", "0.1", "--color", "always",
    )
    assert result.stdout.count("\n") == 1 and "\x1b[32mok\x1b[0m" in result.stdout
    assert path.read_text().startswith("UPTIME")


@pytest.mark.parametrize("name", ["ndjson", "table"])
def test_hostile_text_on_stdout(run_script, name):
    with LoopbackTracker(udp_fault="error-control-characters") as tracker:
        result = run_script(
            "tracker_checker.py", "monitor", tracker.udp_url, "--format", name,
            "--interval", "1", "--duration", "1",
        )
    assert result.stdout.replace("\n", "").isprintable()
    assert result.stdout.count("\n") == (1 if name == "ndjson" else 3)


@pytest.mark.parametrize("name", ["ndjson", "table"])
def test_it_ends_when_nobody_reads_the_probes_any_more(start, tracker, name):
    process = start(tracker.udp_url, "--format", name, "--interval", "0.2", "--duration", "inf")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=30) == 0
    assert process.stderr.read() == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_until_a_signal(start, tracker, number):
    process = start(
        tracker.udp_url, "--format", "ndjson", "--interval", "0.2", "--duration", "inf",
        prepare=lambda: signal.signal(number, signal.SIG_DFL),
    )
    for _ in range(3):
        assert json.loads(process.stdout.readline())["status"] == "ok"
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (0, "")
    assert all(record["status"] == "ok" for record in json_lines(stdout))


@pytest.mark.parametrize("arguments, told", [
    (["--format", "html"], "--output FILE is expected"),
    (["--format", "prometheus"], "--output FILE is expected"),
    (["--format", "ndjson", "-o", "probes"], "> FILE is expected"),
    (["--duration", "infinite"], "'infinite' is not a number of seconds"),
    (["--interval", "inf"], "'inf' is not a number of seconds"),
    (["--fail"], "--fail belongs to a check"),
])
def test_wrong_usage(run_script, arguments, told):
    result = run_script("tracker_checker.py", "monitor", DEAD_UDP, *arguments)
    assert (result.code, result.stdout, result.stderr.count("\n")) == (2, "", 1)
    assert told in result.stderr


def test_hostile_text_stays_on_its_line(monitor):
    with LoopbackTracker(udp_fault="error-control-characters") as tracker:
        _, probes, result = monitor(tracker.udp_url, "--interval", "1", "--duration", "1")
    assert [probe["status"] for probe in probes] == ["error"]
    assert result.stderr.isascii() and "\x7f" not in result.stderr


def test_no_probe_leaves_a_ghost(monitor, tracker):
    monitor(tracker.udp_url, tracker.http_url, "--interval", "0.3", "--duration", "0.5")
    for protocol in ("udp", "http"):
        tracker.wait_for(
            lambda record: record.protocol == protocol and record.action == "announce"
            and "stopped" in str(record.fields)
        )
    assert tracker.swarm(tracker_checker.DEFAULT_INFO_HASH) == (0, 0, 0)


def test_no_announce(monitor, tracker):
    monitor(tracker.udp_url, "--no-announce", "--interval", "1", "--duration", "1")
    assert not times_of(tracker, "announce")
    assert times_of(tracker, "scrape")


# Signals.


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_with_the_summary(start, number):
    with LoopbackTracker(hosts=("127.0.0.1", "127.0.0.2")) as tracker:
        tracker.udp_faults["127.0.0.2"] = "silent"
        silent = [
            "udp://127.0.0.2:{}".format(tracker.udp_port),
            tracker.http_url + "/fault/silent/announce",
        ]
        process = start(
            tracker.udp_url, *silent, "--interval", "60", "--timeout", "60",
            # These tests may run under nohup themselves.
            prepare=lambda: signal.signal(number, signal.SIG_DFL),
        )
        line = process.stderr.readline()
        assert json.loads(line)["url"] == tracker.udp_url
        tracker.wait_for(lambda record: record.protocol == "http")
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr, stdout.count("\n")) == (0, "", 1)
    live, dead = json.loads(stdout)["udp_trackers"]
    assert live["status"]["code"] == "ok"
    assert {live["status"]["message"], dead["status"]["message"]} == {"monitor interrupted"}
    assert live["status"]["stats"]["total"] == 1
    assert (dead["status"]["stats"]["total"], dead["status"]["stats"]["last_ms"]) == (0, None)


def test_a_hangup_that_is_ignored_ends_nothing(start, tracker):
    # As under nohup.
    process = start(
        tracker.udp_url, "--interval", "0.2",
        prepare=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    before = json.loads(process.stderr.readline())["sequence"]
    process.send_signal(signal.SIGHUP)
    while json.loads(process.stderr.readline())["sequence"] < before + 3:
        pass
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(stdout)["udp_trackers"][0]["status"]["stats"]["total"] >= before + 3


# Metrics and files.


METRICS = ["--format", "prometheus", "--output"]


def read_metrics(path):
    """Returns {tracker: tracker_up}; the file must be whole at any time."""
    text = path.read_text()
    assert text.startswith("# HELP tracker_up ") and text.endswith("\n")
    return {
        tracker: int(value)
        for tracker, value in re.findall('^tracker_up\\{tracker="([^"]*)".*\\} ([01])$', text, re.M)
    }


def test_the_metrics_file_is_rewritten_as_probes_end(start, tracker, tmp_path):
    path = tmp_path / "trackers.prom"
    path.write_text("old\n")
    old = path.stat().st_mtime_ns
    process = start(tracker.udp_url, DEAD_UDP, *METRICS, path, "--interval", "0.2")
    seen = []
    deadline = time.monotonic() + 30
    try:
        while len(seen) < 3 and time.monotonic() < deadline:
            # Each probe is a line: so this looks at the file again and again as they end.
            process.stderr.readline()
            stamp = path.stat().st_mtime_ns
            if stamp not in [old] + seen:
                read_metrics(path)
                seen.append(stamp)
    finally:
        process.send_signal(signal.SIGTERM)
        stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(json.loads(stdout)["udp_trackers"]) == 2
    first, second, third = seen
    # At most once a second, as far as the stamps of a file can tell.
    assert min(second - first, third - second) > 0.9 * 10 ** 9
    assert read_metrics(path) == {tracker.udp_url: 1, DEAD_UDP: 0}
    assert os.listdir(str(tmp_path)) == ["trackers.prom"]


def test_the_last_state_is_in_the_metrics_file(run_script, tracker, tmp_path):
    path = tmp_path / "trackers.prom"
    result = run_script(
        "tracker_checker.py", "monitor", tracker.udp_url, I2P, "--health", tracker.health_url,
        *METRICS, path, "--interval", "0.4", "--duration", "1", "--label", "from=berlin",
    )
    assert result.json["udp_trackers"][0]["status"]["stats"]["total"] == 3
    # What cannot be checked is there, too.
    assert read_metrics(path) == {tracker.udp_url: 1, tracker.health_url: 1, I2P: 0}
    samples = [line for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all('from="berlin"' in line for line in samples)


def test_the_page_is_rewritten_as_probes_end_and_renews_itself(start, tracker, tmp_path):
    path = tmp_path / "trackers.html"
    process = start(
        tracker.udp_url, DEAD_UDP, I2P, "--format", "html", "-o", path, "--interval", "0.2",
        "--duration", "inf", "--label", "from=berlin",
    )
    try:
        # It is there before the first probe has ended, or soon after it.
        wait_until(path.exists)
        assert 'http-equiv="refresh"' in path.read_text()
        wait_until(lambda: re.search("latest ([3-9]|..) probes: .* ok", path.read_text()))
    finally:
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == 0
    assert len(json.loads(stdout)["udp_trackers"]) == 2
    assert json.loads(stderr.splitlines()[0])["warning"]["kind"] == "unsupported"
    page = path.read_text()
    assert "refresh" not in page and "Monitor interrupted at" in page
    for text in (tracker.udp_url, DEAD_UDP, I2P, "from = berlin", "100.0%", "0.0%"):
        assert text in page
    assert os.listdir(str(tmp_path)) == ["trackers.html"]


def test_metrics_that_cannot_be_written_do_not_cost_the_summary(start, tmp_path, tracker):
    folder = tmp_path / "folder"
    folder.mkdir()
    process = start(tracker.udp_url, *METRICS, folder / "metrics", "--interval", "60")
    json.loads(process.stderr.readline())
    folder.rename(tmp_path / "elsewhere")
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=30)
    assert "output_failed" in stderr
    assert json.loads(stdout)["udp_trackers"][0]["status"]["stats"]["total"] == 1


def test_the_summary_can_go_into_a_file(run_script, tracker, tmp_path):
    path = tmp_path / "summary"
    result = run_script(
        "tracker_checker.py", "monitor", tracker.udp_url, "-o", path, "--interval", "1",
        "--duration", "1",
    )
    assert (result.code, result.stdout) == (0, "")
    assert len(json.loads(path.read_text())["udp_trackers"]) == 1


# A day, with a clock of the test's own.


class Clock:
    """A clock that stands still but for what is due: call_at(), and run() to its end."""

    def __init__(self):
        self.now = 1000.0
        self.due = []
        self.numbers = itertools.count()

    def call_at(self, when, function, *arguments):
        heapq.heappush(self.due, (when, next(self.numbers), function, arguments))

    def run(self, until=float("inf")):
        while self.due and self.due[0][0] < until:
            self.now, _, function, arguments = heapq.heappop(self.due)
            function(*arguments)


class Day:
    """A Monitor on a Clock.

    seconds_of(number) says how long the check of this number takes; every tenth is a time-out.
    started has the times at which the checks of a target started, in seconds from the first.
    """

    def __init__(self, targets, interval, duration, seconds_of):
        self.clock = Clock()
        self.began = self.clock.now
        self.counts = dict.fromkeys(targets, 0)
        self.started = {target: [] for target in targets}
        self.seconds_of = seconds_of
        self.monitor = tracker_checker.Monitor(
            targets, interval, duration, self.check, self.clock.call_at, self.on_probe
        )
        self.monitor.start(self.began)

    def check(self, target, on_result):
        number = self.counts[target]
        self.counts[target] += 1
        self.note(target, self.clock.now - self.began)
        seconds = self.seconds_of(number)
        failure = tracker_checker.Failure("timeout", "no reply") if number % 10 == 9 else None
        stages = [tracker_checker.Stage("connect", seconds, failure)]
        result = tracker_checker.Result(target, stages, seconds)
        self.clock.call_at(self.clock.now + seconds, lambda: on_result(result))

    def note(self, target, at):
        self.started[target].append(at)

    @staticmethod
    def on_probe(tally, result):
        tally.add(result)


def make_targets(count):
    return [
        tracker_checker.parse_tracker("udp://127.0.0.1:{}".format(port))
        for port in range(1, count + 1)
    ]


def test_a_day_of_a_hundred_trackers_has_every_probe_at_its_time():
    targets = make_targets(100)
    # From a millisecond to just below the interval, and never twice the same in a row.
    day = Day(targets, 300, 86400, lambda number: 0.001 + (number * 37.77) % 299.9)
    day.clock.run()
    due = [300 * number for number in range(288)]
    assert all(started == due for started in day.started.values())
    summary = day.monitor.summary("monitor completed")["udp_trackers"]
    assert len(summary) == 100
    for entry in summary:
        assert entry["status"]["stats"]["total"] == 288
        assert entry["status"]["stats"]["timeouts"] == 28
        # 9.7 percent, rounded down.
        assert entry["status"]["stats"]["timeout_percent"] == 9


def test_a_day_of_an_interval_that_no_binary_fraction_has_does_not_drift():
    (target,) = make_targets(1)
    day = Day([target], 7.7, 86400, lambda number: 0.1)
    day.clock.run()
    started = day.started[target]
    assert len(started) == 11221
    assert max(abs(at - 7.7 * number) for number, at in enumerate(started)) < 0.001


def test_what_takes_longer_than_the_interval_skips_and_stays_on_the_grid():
    (target,) = make_targets(1)
    day = Day([target], 300, 86400, lambda number: 450)
    day.clock.run()
    assert day.started[target] == [600 * number for number in range(144)]
    stats = day.monitor.summary("")["udp_trackers"][0]["status"]["stats"]
    assert stats["total"] == 144


def test_a_probe_that_ends_as_the_next_is_due_does_not_skip_it():
    (target,) = make_targets(1)
    day = Day([target], 300, 3000, lambda number: 299.999)
    day.clock.run()
    assert len(day.started[target]) == 10


def test_memory_does_not_grow_with_the_number_of_probes():
    targets = make_targets(100)
    day = Day(targets, 300, 86400, lambda number: 0.5)
    # The test's own notes are not the monitor's memory.
    day.note = lambda target, at: None
    tracemalloc.start()
    try:
        day.clock.run(until=day.began + 7200)
        after_two_hours = tracemalloc.get_traced_memory()[0]
        day.clock.run()
        after_a_day = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after_a_day - after_two_hours < 16 * 1024
    assert day.monitor.summary("")["udp_trackers"][0]["status"]["stats"]["total"] == 288


def test_what_a_long_run_shows_is_bounded_by_the_targets(tmp_path):
    tallies = {target: tracker_checker.Tally(target) for target in make_targets(10)}
    board = tracker_checker.Board(tallies, [], 300)
    clock = Clock()
    file = tracker_checker.LiveFile(
        str(tmp_path / "metrics"), clock.call_at,
        lambda: tracker_checker.report_prometheus(board.results),
    )
    for number in range(1000):
        target = list(tallies)[number % 10]
        board.add(tracker_checker.Result(
            target, [tracker_checker.Stage("connect", number, None)], number), number)
        file.change()
    assert len(clock.due) == 1
    clock.run()
    assert len(read_metrics(tmp_path / "metrics")) == 10
    assert {len(probes) for probes in board.probes.values()} == {tracker_checker.STRIP_PROBES}
    assert len(tracker_checker.report_monitor_html(board)) < 50000
