# SPDX-License-Identifier: LGPL-3.0-only
"""A short run of each family of fuzz/, and that what is broken is found, kept and replayed."""

import os
import sys

import pytest
from helpers import ROOT, run_command

FAMILIES = ["exchange", "http", "replies", "frames", "swarms", "bencode", "inputs", "reports"]
# What has to come up in a short run: a family that gets nowhere finds nothing.
OUTCOMES = {
    "exchange": ["timeout", "invalid_response", "AnnounceReply", "ScrapeReply", "ErrorReply"],
    "http": ["an answer to announce", "an answer to scrape", "failure_reason", "redirect",
             "http_status", "timeout", "too_large", "invalid_response"],
    "replies": ["a response before the end", "a response at the end", "invalid_response",
                "too_large", "http_status"],
    "frames": ["messages", "no message", "sent", "an answer to announce", "an answer to scrape",
               "no JSON object", "answers nothing", "invalid_response", "too_large"],
    "swarms": ["all counts, over udp", "all counts, over named", "all counts, whatever happened",
               "some failed", "junk among the replies"],
    "bencode": ["refused", "decoded", "decoded, with keys in another order",
                "decoded, and has an info hash", "decoded as a file"],
    "inputs": ["targets", "configuration error", "unsupported alone", "no URL", "an HTTP URL",
               "a WebSocket URL", "torrents", "a value", "words", "usage error"],
    "reports": ["ok", "error", "no results", "partial", "timeout"],
}
# A fault for each family, as the statement that puts it in place of what is right.
BROKEN = {
    # A reply is taken for whatever was asked last.
    "exchange": "import udp_tracker_client as udp; receive = udp.Exchange.receive;"
                " udp.Exchange.receive = lambda self, datagram, now: receive(self, datagram[:4]"
                " + min(self.pending, default=0).to_bytes(4, 'big', signed=True)"
                " + datagram[8:], now)",
    # Bodies have no limit any more.
    "http": "import http_tracker_client as http; Parser = http.ReplyParser;"
            " http.ReplyParser = lambda limit: Parser(1 << 30)",
    # A carriage return that comes alone is taken for a line end.
    "replies": "import http_tracker_client as http; feed = http.ReplyParser.feed;"
               " http.ReplyParser.feed = lambda self, data:"
               " feed(self, b'\\n' if data == b'\\r' else data)",
    # What the protocol forbids is taken.
    "frames": "import http_tracker_client as http;"
              " http.FrameParser._problem_of = lambda *_: None",
    # Each tracker is believed to answer in the order in which it was asked.
    "swarms": "import tracker_checker; Survey = tracker_checker.UdpSurvey; init = Survey.__init__;"
              " Survey.__init__ = lambda self, *arguments:"
              " init(self, *arguments) or setattr(self, '_in_order', True)",
    # Anything after the value is ignored.
    "bencode": "import bencode; decode = bencode.decode;"
               " bencode.decode = lambda data: decode(bytes(data).rstrip(b'\\r\\n'))",
    # An error that nobody declared.
    "inputs": "import tracker_checker; tracker_checker.parse_host ="
              " lambda host, bracketed: {'localhost': host}[host]",
    # What a tracker says goes to the terminal as it is.
    "reports": "import tracker_checker; tracker_checker.escape = lambda text: text",
}
START = (
    "import sys; sys.path[:0] = [{0!r} + '/tests/fuzz', {0!r}]; {1}; import run;"
    " sys.exit(run.main(sys.argv[1:]))"
)


def run_fuzz(*arguments, broken=None):
    """Runs the command, perhaps with a fault in the code under test; returns (code, stdout)."""
    command = [sys.executable, os.path.join(ROOT, "tests", "fuzz", "run.py")]
    if broken:
        command = [sys.executable, "-c", START.format(ROOT, broken)]
    result = run_command(command + [str(argument) for argument in arguments], timeout=100)
    assert "Traceback" not in result.stderr, result.stderr
    return result.code, result.stdout


def counts_of(stdout):
    """Returns {outcome: how often} from what a run prints at its end."""
    lines = [line for line in stdout.splitlines() if line.startswith("  ")]
    pairs = [line.strip().partition("  ") for line in lines]
    return {outcome: int(count.replace(",", "")) for count, _, outcome in pairs}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_short_run(name):
    code, stdout = run_fuzz(name, "--runs", 2000, "--seed", 20)
    assert code == 0, stdout
    assert stdout.startswith("{}: 2,000 runs in ".format(name))
    counts = counts_of(stdout)
    assert sum(counts.values()) == 2000
    assert [outcome for outcome in OUTCOMES[name] if not counts.get(outcome)] == []


def test_the_same_seed_gives_the_same_cases():
    runs = [run_fuzz("exchange", "--runs", 300, "--seed", seed)[1] for seed in (3, 3, 4)]
    first, again, other = map(counts_of, runs)
    assert first == again != other


def test_a_run_can_be_as_long_as_one_likes():
    code, stdout = run_fuzz("bencode", "--seconds", "0.2")
    assert code == 0
    assert sum(counts_of(stdout).values()) > 0


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_broken_is_found_kept_and_replayed(tmp_path, name):
    folder = tmp_path / "kept"
    options = ["--runs", 2000, "--seed", 20, "--keep", folder]
    code, stdout = run_fuzz(name, *options, broken=BROKEN[name])
    assert code == 1
    assert "Traceback" in stdout
    kept = sorted(os.listdir(str(folder)))
    assert kept and all(file.startswith(name + "-20-") for file in kept)
    path = folder / kept[0]
    assert str(path) in stdout
    code, stdout = run_fuzz(name, "--replay", path, broken=BROKEN[name])
    assert (code, "broke: " in stdout) == (1, True)
    # Once the fault is mended the same case passes.
    code, stdout = run_fuzz(name, "--replay", path)
    assert (code, "broke: " in stdout) == (0, False)


def test_a_case_without_end_is_found(tmp_path):
    broken = "import run, bencode; run.LONGEST = 0.2;"
    broken += " bencode.decode = lambda *_: [1 for number in iter(int, 1) if number]"
    code, stdout = run_fuzz("bencode", "--runs", 1, "--keep", tmp_path, broken=broken)
    assert code == 1
    assert "took too long" in stdout
    assert len(os.listdir(str(tmp_path))) == 1


@pytest.mark.parametrize("arguments", [["nothing"], ["http", "--replay", "/missing"], []])
def test_wrong_usage(arguments):
    assert run_fuzz(*arguments)[0] == 2
