# SPDX-License-Identifier: LGPL-3.0-only
"""Results with hostile texts against every report of tracker_checker.py.

A case is ([result, …], columns of the terminal or None, whether prometheus has addresses). A
result is (kind, the text as given, [(stage, seconds, None or (kind of failure, message)), …],
address, interval, seeders, leechers, what a health check said, the tracker's warning or None).
"""
import json
import re
from html.parser import HTMLParser

import tracker_checker as checker
from mutate import TEXTS, below, hostile_text, mutate, pick

GIVEN = {
    checker.UDP: (
        "udp://tracker.example.org:6969", "127.0.0.1:6969", "udp://[2001:db8::1]:80/announce?a=b",
        "udp://b\u00fccher.example:1/\u20ac", 'udp://a:1/"|\\', "UDP://A:1/%0a{}",
    ),
    checker.HTTP: (
        "http://tracker.example.org", "https://user:pass@a/announce?passkey=1", "http://a/\u4e2d|x",
        'http://a:80/"\\,{', "http://[::1]:7070/scrape?a#b", "http://a/'%1b[31m",
    ),
    checker.HEALTH: ("http://127.0.0.1:1212/api/health_check", "https://a?x|y"),
    checker.UNSUPPORTED: ("i2p://tracker.example.org", "", "a", "magnet", "#"),
}
STAGES = {
    checker.UDP: ("setup", "connect", "announce", "scrape"),
    checker.HTTP: ("announce", "scrape"),
    checker.HEALTH: ("health",),
    checker.UNSUPPORTED: ("setup",),
}
FAILURES = ("timeout", "refused", "tracker_error", "invalid_response", "http_status", "interrupted")
ADDRESSES = (None, "127.0.0.1:6969", "[2001:db8::1]:6969")
NUMBERS = (None, None, 0, 1, -1, 1800, 2 ** 31 - 1, 10 ** 63)
SECONDS = (0, 0.0001, 0.0412, 1, 5.0000001, 86400)
NOT_PRINTED = re.compile("[\0-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
COLOUR = re.compile("^\x1b\\[3[0-9]m([a-z]+)\x1b\\[0m")
PAGE_TAGS = set(
    "html head meta title link style body header h1 p main div button b table thead tr th tbody td "
    "span small time svg path script".split()
)
LABEL = r'[a-z]+="(?:[^"\\]|\\.)*"'
SAMPLE = re.compile(r"[a-z_]+\{{{0}(?:,{0})*\}} -?[0-9.e-]+".format(LABEL))


def generate(rng):
    results = [make_result(rng) for _ in range(pick(rng, (0, 1, 1, 1, 2, 6)))]
    return results, pick(rng, (None, None, 20, 40, 80, 200)), not below(rng, 2)


def make_result(rng):
    kind = pick(rng, (checker.UDP, checker.UDP, checker.HTTP, checker.HEALTH, checker.UNSUPPORTED))
    given = pick(rng, GIVEN[kind])
    if not below(rng, 2):
        given = mutate(rng, given, TEXTS) if below(rng, 2) else hostile_text(rng)
    stages = []
    for name in STAGES[kind]:
        failure = None
        if kind == checker.UNSUPPORTED or not below(rng, 5):
            failure = (pick(rng, FAILURES), "the tracker says " + hostile_text(rng))
        stages.append((name, pick(rng, SECONDS), failure))
        if failure and name != "announce":
            break
    numbers = [pick(rng, NUMBERS) for _ in range(3)]
    detail = "200 OK" if below(rng, 3) else hostile_text(rng)
    warning = None if below(rng, 3) else hostile_text(rng)
    return [kind, given, stages, pick(rng, ADDRESSES)] + numbers + [detail, warning]


def target_of(kind, given):
    """Returns the target that the checker makes of a text; what it does not take is unsupported."""
    try:
        if kind == checker.HEALTH:
            return checker.parse_health(given)
        if kind != checker.UNSUPPORTED:
            return checker.parse_tracker(given)
    except ValueError:
        pass
    return checker.unsupported(given, ValueError("it is no URL"))


def result_of(kind, given, stages, address, interval, seeders, leechers, detail, warning):
    target = target_of(kind, given)
    failures = [
        (name, seconds, failure and checker.Failure(*failure)) for name, seconds, failure in stages
    ]
    if target.kind != kind and not any(failure for _, _, failure in failures):
        failures = [("setup", 0, checker.Failure("unsupported", target.problem))]
    if target.kind != kind and target.kind == checker.HEALTH:
        failures = [("health",) + failures[0][1:]]
    if target.kind == checker.UNSUPPORTED:
        # It is never under way, so it cannot be interrupted.
        failures = [
            (name, seconds, failure and checker.Failure("unsupported", str(failure)))
            for name, seconds, failure in failures
        ]
    stages = [checker.Stage(*stage) for stage in failures]
    result = checker.Result(target, stages, sum(stage.elapsed for stage in stages))
    result.address = address
    result.interval, result.seeders, result.leechers = interval, seeders, leechers
    result.detail, result.warning = detail, warning
    return result


def lines_of(text):
    """Returns the lines of a report, after a look that nothing in them drives a terminal."""
    assert text == "" or text.endswith("\n")
    lines = text.split("\n")[:-1]
    for line in lines:
        assert not NOT_PRINTED.search(line) and line.isprintable(), "a raw control character"
    return lines


def check(case):
    results, columns, with_address = case
    results = [result_of(*result) for result in results]
    check_json(results)
    check_ndjson(results)
    check_table(results, columns)
    check_html(results, with_address)
    check_prometheus(results, with_address)
    check_nagios(results)
    check_urls(results)
    check_monitor(results)
    for result in results:
        record = checker.to_json_text({"message": result.message or ""}, pretty=False)
        assert len(lines_of(record + "\n")) == 1
    statuses = {result.status for result in results}
    return " and ".join(sorted(statuses)) or "no results"


def check_json(results):
    (line,) = lines_of(checker.report_json(results, pretty=False))
    entries = json.loads(line)
    assert len(entries) == len(results)
    text = checker.report_json(results, pretty=True)
    lines_of(text)
    assert max(text) < "\x7f"
    assert text == json.dumps(entries, indent=2).replace("\x7f", "\\u007f") + "\n"
    for entry in entries:
        ((group, outcomes),) = entry.items()
        assert group in ("Udp", "Http", "Health", "Unsupported")
        assert list(outcomes) in (["Ok"], ["Err"])
    failed = sum("Err" in list(entry.values())[0] for entry in entries)
    assert failed == sum(result.status != "ok" for result in results)


def check_ndjson(results):
    for result in results:
        text = checker.result_to_ndjson(result)
        (line,) = lines_of(text)
        assert max(line) < "\x7f"
        record = json.loads(line)
        # Two halves of a surrogate pair that met by chance come back as one character.
        assert json.dumps(record["tracker"]) == json.dumps(result.target.given)
        assert (record["status"] == "ok") == ("message" not in record)
        assert json.dumps(record.get("warning")) == json.dumps(result.warning)


def unfinished_of(results):
    return [result for result in results if result.status == "interrupted"]


def check_table(results, columns):
    lines = lines_of(checker.report_table(results))
    coloured = checker.report_table(results, columns, colour=True).split("\n")[:-1]
    # A header, the totals, and where many are down the reasons.
    assert len(lines) - len(results) in (2, 3)
    totals = lines[len(results) + 1]
    unfinished = len(unfinished_of(results))
    assert totals.endswith(", {} not finished".format(unfinished)) == bool(unfinished)
    assert len(coloured) >= len(lines)
    for line in coloured[: len(results) + 1]:
        plain = COLOUR.sub(r"\1", line)
        assert plain.isprintable()
        assert not columns or len(plain) < columns, "wider than the terminal"


class Tags(HTMLParser):
    """Counts the tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.rows, self.scripts = 0, 0
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        assert tag in PAGE_TAGS, "a forged tag"
        assert not any(name.startswith("on") for name, _ in attributes)
        self.rows += 1 if tag == "tr" else 0
        self.scripts += 1 if tag == "script" else 0


def check_html(results, with_address):
    labels = {"from": result.warning for result in results if result.warning}
    page = checker.report_html(results, with_address, given_twice=1, labels=labels)
    lines_of(page)
    assert max(page) < "\x7f"
    tags = Tags(page)
    assert (tags.rows, tags.scripts) == (len(results) + 1, 1)


def check_prometheus(results, with_address):
    lines = lines_of(checker.report_prometheus(results, with_address, {"from": "a\\b\"\n"}))
    samples = [line for line in lines if line and not line.startswith("# ")]
    for line in samples:
        assert SAMPLE.match(line).end() == len(line), "no sample: " + line
    series = [line.rpartition(" ")[0] for line in samples]
    assert len(series) == len(set(series)), "a series stands twice"
    up = [line for line in samples if line.startswith("tracker_up{")]
    distinct = set()
    for result in results:
        if result.status != "interrupted":
            address = with_address and result.address
            distinct.add((checker.escape(result.target.given), result.target.kind, address))
    assert len(up) == len(distinct)


def check_nagios(results):
    text, code = checker.report_nagios(results, critical=2, elapsed=1)
    line, *others = lines_of(text)
    assert line.startswith("TRACKERS {} - ".format(checker.NAGIOS_STATES[code]))
    assert text.count("|") == 1, "a forged start of the performance data"
    first, _, performance = line.partition(" | ")
    assert ";" not in first + "".join(others)
    counts = r"up=\d+;;;0;\d+ down=\d+;;;0;\d+ partial=\d+;;;0;\d+ time=1.00s\Z"
    assert re.match(counts, performance)
    unfinished = len(unfinished_of(results))
    assert ("{} not finished)".format(unfinished) in first[-20:]) == bool(unfinished)
    assert len(others) == len([result for result in results if result.status != "ok"])
    for fail in (False, True):
        assert checker.exit_code(results, fail, True) in (0, 1)


def check_urls(results):
    lines = lines_of(checker.report_urls(results))
    assert len(lines) <= sum(result.up for result in results)
    for line in lines:
        assert max(line) < "\x7f" and " " not in line
        checker.parse_tracker(line)


def check_monitor(results):
    unsupported = [result for result in results if result.status == "unsupported"]
    probes = [result for result in results if result not in unsupported]
    tallies = {result.target: checker.Tally(result.target) for result in probes}
    board = checker.Board(tallies, unsupported, 60)
    for result in probes:
        if result.status == "interrupted":
            # The monitor leaves it out.
            continue
        record = checker.to_json_text(tallies[result.target].add(result), pretty=False)
        (line,) = lines_of(record + "\n")
        assert json.loads(line)["sequence"] == 1
        board.add(result, tallies[result.target].last_ms)
        lines_of(checker.probe_line(result, tallies[result.target].last_ms))
    page = checker.report_monitor_html(board)
    lines_of(page)
    assert Tags(page).rows == len(results) + 1
    lines_of(checker.report_uptime(tallies.values()))
    for tally in tallies.values():
        line = checker.to_json_text(tally.summary("monitor completed"), pretty=False)
        assert max(line) < "\x7f"
        json.loads(line)
