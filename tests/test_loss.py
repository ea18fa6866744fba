# SPDX-License-Identifier: LGPL-3.0-only
"""Loss and delay over UDP: a healthy tracker is rarely called down, and strangers do no harm.

Six sends of a request have to be lost, or their replies, before it counts as not answered: with
the loss p each way that is (1 - (1 - p)²)⁶, for each of connect, announce and scrape. What is
promised: less than one check in 1,000 at 10 %, less than one in 100 at 20 %. The simulation drives
the exchange with a clock of its own; over real sockets LOSS_CHECKS in the environment says how many
checks there are at 10 % (half as many at 20 %). Run with -s to see the figures beside the theory.
"""

import json
import os
import random
import struct
from collections import Counter
from heapq import heappop, heappush
from itertools import count
from math import exp

import pytest
from helpers import SOON, START, json_lines
from loopback_tracker import LoopbackTracker
from udp_tracker_client import (
    ANNOUNCE, CONNECT, EVENTS, SCRAPE, Announce, Exchange, Failure, Scrape
)

HASH_TEXT = "9c38422213e30bff212b30c360d26f9a02136422"
HASH = bytes.fromhex(HASH_TEXT)
SIMULATED = 10000  # checks
REAL = int(os.environ.get("LOSS_CHECKS", "200"))
TIMEOUT = 5
MOST_SENDS = 6
REQUESTS = [
    Scrape([HASH]),
    Announce(HASH, b"-qB00000000000000001", 0, 1, 0, EVENTS["started"], bytes(4), 0, 1, 6881, b""),
]
# The share of checks that call a healthy tracker down, by the loss each way.
PROMISED = {0: 0, 0.1: 1 / 1000, 0.2: 1 / 100}


def lost_requests(loss):
    """Returns the share of requests of which all six sends are lost, or their replies."""
    return (1 - (1 - loss) ** 2) ** MOST_SENDS


def lost_checks(loss):
    """Returns the share of checks in which that happens to one of the three requests."""
    return 1 - (1 - lost_requests(loss)) ** 3


def test_the_arithmetic_of_six_sends():
    for loss, lost, share in ((0.1, 0.19, 0.00014), (0.2, 0.36, 0.0065)):
        assert lost_requests(loss) == pytest.approx(lost ** 6)
        assert lost_checks(loss) == pytest.approx(share, rel=0.02)
        assert lost_checks(loss) < PROMISED[loss]
        # Four sends would not do.
        assert 1 - (1 - lost ** 4) ** 3 > PROMISED[loss]


# The simulation.


class Tracker:
    """The other side of the simulation: answers what arrives, after a time that varies.

    answers are the actions that it answers at all; sends counts what was sent to it, by
    (action, transaction id).
    """

    def __init__(
        self, rng, loss, round_trip=0.05, duplicates=0.0, strangers=0.0,
        answers=(CONNECT, ANNOUNCE, SCRAPE),
    ):
        self.rng = rng
        self.loss = loss
        self.round_trip = round_trip
        self.duplicates = duplicates
        self.strangers = strangers
        self.answers = answers
        self.sends = Counter()
        self.order = count(1)
        self.under_way = []

    def take(self, datagram, now):
        """Takes a datagram that was sent now; what it answers is under way then, or lost."""
        _, action, transaction_id = struct.unpack_from(">qii", datagram)
        self.sends[action, transaction_id] += 1
        if self.strangers and self.rng.random() < self.strangers:
            self.send(struct.pack(">ii", 3, self.rng.getrandbits(31)) + b"not yours", now)
        if action not in self.answers or self.rng.random() < self.loss:
            return
        for _ in range(2 if self.rng.random() < self.duplicates else 1):
            if self.rng.random() >= self.loss:
                self.send(self.answer(action, transaction_id), now)

    def send(self, reply, now):
        delay = self.round_trip * (0.5 + self.rng.random())
        heappush(self.under_way, (now + delay, next(self.order), reply))

    def answer(self, action, transaction_id):
        """Returns a reply; no two are alike, so that it shows which of them has counted."""
        number = next(self.order)
        bodies = {
            CONNECT: struct.pack(">q", number),
            ANNOUNCE: struct.pack(">iii", 120, 0, number),
            SCRAPE: struct.pack(">iii", number, 0, 0),
        }
        return struct.pack(">ii", action, transaction_id) + bodies[action]


def converse(tracker, timeout=TIMEOUT):
    """Runs an exchange with the tracker to its end; returns it and the time that it took.

    Whatever the tracker does, that is no longer than the time-out, no request is sent more than
    six times, and of the replies to a request one counts.
    """
    now = start = 1000.0
    exchange = Exchange(REQUESTS, False, start, start + timeout)
    counted = Counter()
    while not exchange.finished:
        for datagram in exchange.take_due_datagrams(now):
            tracker.take(datagram, now)
        if exchange.finished:
            break
        now = exchange.wake_at
        if tracker.under_way and tracker.under_way[0][0] <= now:
            now, _, reply = heappop(tracker.under_way)
            before = exchange.connection_id, list(exchange.replies)
            if exchange.receive(reply, now) is None:
                assert (exchange.connection_id, exchange.replies) == before
            else:
                counted[reply[4:8]] += 1
    assert now <= start + timeout
    assert max(tracker.sends.values()) <= MOST_SENDS
    assert set(counted.values()) <= {1}
    return exchange, now - start


def failures_of(exchange):
    return [reply for reply in exchange.replies if isinstance(reply, Failure)]


@pytest.mark.parametrize("round_trip, allowed", [(0.05, 1), (0.6, 2)])
@pytest.mark.parametrize("loss", [0, 0.1, 0.2])
def test_a_healthy_tracker_is_rarely_called_down(loss, round_trip, allowed):
    """At a round trip of 600 ms (300 to 900) the late sends are too late: twice as many at most."""
    rng = random.Random(20 + int(100 * loss))
    down = 0
    for _ in range(SIMULATED):
        failures = failures_of(converse(Tracker(rng, loss, round_trip))[0])
        assert {failure.kind for failure in failures} <= {"timeout"}
        down += bool(failures)
    text = "loss {:.0%} each way, {:.0f} ms: {} of {:,} down, {:.3%}"
    text += " (in theory {:.3%}, {:.2g}^6 = {:.1e} a request; promised {:.1%})"
    print(text.format(
        loss, 1000 * round_trip, down, SIMULATED, down / SIMULATED, lost_checks(loss),
        1 - (1 - loss) ** 2, lost_requests(loss), allowed * PROMISED[loss],
    ))
    assert down < allowed * PROMISED[loss] * SIMULATED or down == loss == 0
    if allowed == 1:
        # Within four standard deviations of the theory: less would lose too little for a proof.
        expected = lost_checks(loss) * SIMULATED
        assert abs(down - expected) <= 4 * expected ** 0.5


@pytest.mark.parametrize("loss", [0, 0.1])
@pytest.mark.parametrize("round_trip", [0.05, 0.6, 1.2])
def test_late_and_doubled_replies_count_once_and_strangers_not_at_all(round_trip, loss):
    rng = random.Random(3)
    down = resent = 0
    for _ in range(SIMULATED // 10):
        tracker = Tracker(rng, loss, round_trip, duplicates=0.5, strangers=0.5)
        exchange, _ = converse(tracker)
        down += bool(failures_of(exchange))
        resent += max(tracker.sends.values()) > 1
    # At 600 ms and more the second send goes before the first is answered.
    assert resent == SIMULATED // 10 or round_trip < 0.3
    # What comes twice at times is lost less often; only a round trip of 1.2 s leaves few sends.
    assert down <= (SIMULATED // 10 * 0.002 if round_trip < 1 else SIMULATED // 10 * 0.05)


@pytest.mark.parametrize("timeout", [0.001, 1, 5, 60, 86400])
@pytest.mark.parametrize("answers, sends", [
    ((), {CONNECT: [6]}),
    ((CONNECT,), {CONNECT: [1], ANNOUNCE: [6], SCRAPE: [6]}),
    ((CONNECT, SCRAPE), {CONNECT: [1], ANNOUNCE: [6], SCRAPE: [1]}),
])
def test_a_dead_tracker_costs_the_time_out_and_six_datagrams(answers, sends, timeout):
    tracker = Tracker(random.Random(1), 0, round_trip=timeout / 1000, answers=answers)
    exchange, seconds = converse(tracker, timeout)
    assert {failure.kind for failure in failures_of(exchange)} == {"timeout"}
    assert seconds == pytest.approx(timeout)
    found = {}
    for (action, _), times in tracker.sends.items():
        found.setdefault(action, []).append(times)
    # After a minute a connection id is out of date: all begins once more with a connect.
    if timeout <= 60 or not answers:
        assert found == sends


# Real sockets.


def most_in_theory(mean):
    """Returns the number above which, with this mean, there are less than once in 10,000 runs."""
    number, probability = 0, exp(-mean)
    rest = 1 - probability
    while rest > 1e-4:
        number += 1
        probability *= mean / number
        rest -= probability
    return number


@pytest.mark.parametrize("fault, loss, checks", [
    ("loss-10", 0.1, REAL), ("loss-20", 0.2, REAL // 2),
])
def test_checks_over_real_sockets(run_script, fault, loss, checks):
    with LoopbackTracker(hosts=("0.0.0.0",), udp_fault=fault, seed=4) as tracker:
        given = [
            "udp://127.3.{}.{}:{}".format(number // 250, number % 250 + 1, tracker.udp_port)
            for number in range(checks)
        ]
        options = ["--format", "ndjson", "--timeout", TIMEOUT]
        result = run_script("tracker_checker.py", "-", *options, stdin="\n".join(given))
        announced = len(sends_of(tracker, "announce"))
    records = json_lines(result.stdout)
    assert sorted(record["tracker"] for record in records) == sorted(given)
    statuses = Counter(record["status"] for record in records)
    failed = checks - statuses["ok"]
    expected = lost_checks(loss) * checks
    text = "{}: {} of {:,} down over real sockets (in theory {:.1f}, promised less than {:.1f}): {}"
    print(text.format(fault, failed, checks, expected, PROMISED[loss] * checks, dict(statuses)))
    assert set(statuses) <= {"ok", "timeout", "partial"}
    assert failed <= most_in_theory(expected)
    # It did lose: more arrived than an announce and a farewell each, less what was lost of these.
    assert announced > 2 * checks * (1 - loss)
    assert result.seconds < TIMEOUT + 1 + START


def client(run_script, tracker, command="announce", timeout=3):
    """Runs the client. With a time-out of 30 s it sends once, even if a reply is a second late."""
    return run_script(
        "udp_tracker_client.py", command, tracker.udp_url, HASH_TEXT, "--timeout", timeout
    )


def sends_of(tracker, action):
    return [record for record in tracker.requests if record.action == action]


@pytest.mark.parametrize("fault, sends", [("late", 2), ("lose-first", 2), ("lose-first-three", 4)])
def test_lost_and_late_replies_count(run_script, fault, sends):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker)
        assert (result.code, result.stderr) == (0, "")
        for action in ("connect", "announce"):
            assert sends <= len(sends_of(tracker, action)) <= MOST_SENDS
        # A resend keeps its transaction id, so that a late reply is still one to it.
        ids = {record.fields["transaction_id"] for record in sends_of(tracker, "announce")}
        assert len(ids) == 1
        assert result.json["AnnounceIpv4"]["transaction_id"] in ids


@pytest.mark.parametrize("fault", ["duplicate", "duplicate-late"])
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_duplicates_do_no_harm(run_script, fault, command):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker, command, timeout=30)
        assert (result.code, result.stderr) == (0, "")
        assert [len(sends_of(tracker, action)) for action in ("connect", command)] == [1, 1]


@pytest.mark.parametrize("fault", [
    "other-port-first", "wrong-transaction-id-first", "junk-first", "empty-datagram-first",
])
def test_the_wait_goes_on_after_what_is_ignored(run_script, fault):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker)
        assert (result.code, result.stderr) == (0, "")
        assert "AnnounceIpv4" in result.json


@pytest.mark.parametrize("fault", ["other-port", "wrong-transaction-id", "short", "echo"])
def test_what_is_not_a_reply_is_waited_past_until_the_deadline(run_script, fault):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker, timeout=1)
        assert (result.code, result.stdout) == (1, "")
        assert json.loads(result.stderr)["error"]["kind"] == "timeout"
        assert 1 <= result.seconds < 1 + 1 + START
        assert 1 < len(sends_of(tracker, "connect")) <= MOST_SENDS


@pytest.mark.parametrize("fault", [
    "wrong-action", "unknown-action", "connect-short", "eight-bytes",
])
def test_a_wrong_action_or_shape_is_reported_at_once(run_script, fault):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker, timeout=30)
        assert (result.code, result.stdout) == (1, "")
        assert json.loads(result.stderr)["error"]["kind"] == "invalid_response"
        assert result.seconds < SOON
        assert len(sends_of(tracker, "connect")) == 1


@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_rejected_connection_id_gets_one_new_connect(run_script, command):
    with LoopbackTracker(udp_fault="reject-connection-id-once") as tracker:
        result = client(run_script, tracker, command, timeout=30)
        assert (result.code, result.stderr) == (0, "")
        assert [len(sends_of(tracker, action)) for action in ("connect", command)] == [2, 2]
    with LoopbackTracker(udp_fault="reject-connection-id-always") as tracker:
        result = client(run_script, tracker, command, timeout=30)
        assert result.code == 1
        assert result.json["Error"]["message"] == "Connection ID mismatch"
        assert len(sends_of(tracker, "connect")) == 2
