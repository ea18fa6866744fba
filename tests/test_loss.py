# SPDX-License-Identifier: LGPL-3.0-only
"""Loss and delay over UDP: a healthy tracker is rarely called down, and strangers do no harm.

Four sends of a request have to be lost, or their replies, before it counts as not answered: with
the loss p each way that is (1 - (1 - p)²)⁴, for each of connect, announce and scrape. The
simulation drives the exchange with a clock of its own; LOSS_RUNS in the environment changes the
number of its runs. Run with -s to see the figures beside the theory.
"""

import json
import os
import random
import struct
from heapq import heappop, heappush
from itertools import count

import pytest
from helpers import SOON, START, json_lines
from loopback_tracker import LoopbackTracker
from udp_tracker_client import (
    ANNOUNCE, CONNECT, EVENTS, SCRAPE, Announce, Exchange, Failure, Scrape
)

HASH_TEXT = "9c38422213e30bff212b30c360d26f9a02136422"
HASH = bytes.fromhex(HASH_TEXT)
RUNS = int(os.environ.get("LOSS_RUNS", "10000"))
TIMEOUT = 5
REQUESTS = [
    Scrape([HASH]),
    Announce(HASH, b"-qB00000000000000001", 0, 1, 0, EVENTS["started"], bytes(4), 0, 1, 6881, b""),
]
# What a run may cost in the end: the promise, which the theory keeps with room to spare.
PROMISED = {0.1: 0.01, 0.2: 0.08}


def in_theory(loss, requests=3):
    """Returns the share of checks in which one of so many requests loses all its four sends."""
    lost_each_way = 1 - (1 - loss) ** 2
    return 1 - (1 - lost_each_way ** 4) ** requests


# The simulation.


class Tracker:
    """The other side of the simulation: answers what arrives, after a time that varies."""

    def __init__(self, rng, loss, round_trip=0.05, duplicates=0.0, strangers=0.0):
        self.rng = rng
        self.loss = loss
        self.round_trip = round_trip
        self.duplicates = duplicates
        self.strangers = strangers
        self.order = count()
        self.under_way = []

    def take(self, datagram, now):
        """Takes a datagram that was sent now; what it answers is under way then, or lost."""
        if self.strangers and self.rng.random() < self.strangers:
            self.send(struct.pack(">ii", 3, self.rng.getrandbits(31)) + b"not yours", now)
        if self.rng.random() < self.loss:
            return
        reply = self.answer(datagram)
        copies = 2 if self.rng.random() < self.duplicates else 1
        for _ in range(copies):
            if self.rng.random() >= self.loss:
                self.send(reply, now)

    def send(self, reply, now):
        delay = self.round_trip * (0.5 + self.rng.random())
        heappush(self.under_way, (now + delay, next(self.order), reply))

    @staticmethod
    def answer(datagram):
        _, action, transaction_id = struct.unpack_from(">qii", datagram)
        bodies = {
            CONNECT: struct.pack(">q", 7),
            ANNOUNCE: struct.pack(">iii", 120, 0, 1),
            SCRAPE: struct.pack(">iii", 1, 0, 0),
        }
        return struct.pack(">ii", action, transaction_id) + bodies[action]


def converse(tracker):
    """Runs an exchange with the tracker to its end; returns it and the time that it took."""
    now = start = 1000.0
    exchange = Exchange(REQUESTS, False, start, start + TIMEOUT)
    while not exchange.finished:
        for datagram in exchange.take_due_datagrams(now):
            tracker.take(datagram, now)
        if exchange.finished:
            break
        now = exchange.wake_at
        if tracker.under_way and tracker.under_way[0][0] <= now:
            now, _, reply = heappop(tracker.under_way)
            exchange.receive(reply, now)
    return exchange, now - start


def failures_of(exchange):
    return [reply for reply in exchange.replies if isinstance(reply, Failure)]


@pytest.mark.parametrize("round_trip", [0.05, 0.2])
@pytest.mark.parametrize("loss", [0, 0.1, 0.2])
def test_a_healthy_tracker_is_rarely_called_down(loss, round_trip):
    rng = random.Random(20 + int(100 * loss))
    down = 0
    for _ in range(RUNS):
        exchange, seconds = converse(Tracker(rng, loss, round_trip))
        assert seconds <= TIMEOUT
        failures = failures_of(exchange)
        assert {failure.kind for failure in failures} <= {"timeout"}
        down += bool(failures)
    theory = in_theory(loss)
    text = "loss {:.0%} each way: {} of {} called down, {:.2%} (in theory {:.2%}, promised {:.0%})"
    print(text.format(loss, down, RUNS, down / RUNS, theory, PROMISED.get(loss, 0)))
    assert down <= PROMISED.get(loss, 0) * RUNS
    # Within four standard deviations of the theory: less would lose too little to prove a thing.
    assert abs(down - theory * RUNS) <= 4 * (theory * RUNS) ** 0.5


def test_duplicates_and_strangers_do_no_harm():
    """As above, but every reply comes twice at times, and datagrams of others come in between."""
    rng = random.Random(3)
    runs = RUNS // 10
    down = sum(
        bool(failures_of(converse(Tracker(rng, 0.1, duplicates=0.5, strangers=0.5))[0]))
        for _ in range(runs)
    )
    # The duplicate of a reply is a second chance for it.
    assert down <= 0.01 * runs
    assert all(
        not failures_of(converse(Tracker(rng, 0, duplicates=1, strangers=1))[0])
        for _ in range(runs // 10)
    )


# Real sockets.


@pytest.mark.parametrize("fault, loss", [("loss-10", 0.1), ("loss-20", 0.2)])
def test_two_hundred_checks_over_real_sockets(run_script, fault, loss):
    with LoopbackTracker(hosts=("0.0.0.0",), udp_fault=fault, seed=4) as tracker:
        given = ["udp://127.3.0.{}:{}".format(i, tracker.udp_port) for i in range(1, 201)]
        options = ["--format", "ndjson", "--timeout", TIMEOUT]
        result = run_script("tracker_checker.py", "-", *options, stdin="\n".join(given))
        asked = sum(record.action == "announce" for record in tracker.requests)
    records = json_lines(result.stdout)
    assert sorted(record["tracker"] for record in records) == sorted(given)
    failed = [record for record in records if record["status"] != "ok"]
    theory = in_theory(loss)
    text = "{}: {} of 200 called down or partial over real sockets (in theory {:.1f})"
    print(text.format(fault, len(failed), 200 * theory))
    assert {record["status"] for record in failed} <= {"timeout", "partial"}
    # Two hundred are few: a number that comes up in less than one of 10,000 runs is too many.
    assert len(failed) <= 200 * theory + 4 * (200 * theory) ** 0.5 + 1
    # It did lose: more was sent than an announce and a farewell each.
    assert asked > 400 * (1 - loss)
    assert result.seconds < TIMEOUT + 1 + START


def client(run_script, tracker, command="announce", timeout=3):
    """Runs the client. With a time-out of 30 s it sends once, even if a reply is a second late."""
    return run_script(
        "udp_tracker_client.py", command, tracker.udp_url, HASH_TEXT, "--timeout", timeout
    )


def sends_of(tracker, action):
    return [record for record in tracker.requests if record.action == action]


@pytest.mark.parametrize("fault, at_least", [
    # The first of four sends at a fifteenth of the time, the next two at a third in all.
    ("late", 0.2), ("lose-first", 0.2), ("lose-first-three", 1.4),
])
def test_lost_and_late_replies_count(run_script, fault, at_least):
    with LoopbackTracker(udp_fault=fault) as tracker:
        result = client(run_script, tracker)
        assert (result.code, result.stderr) == (0, "")
        assert at_least < result.seconds
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
        assert 1 < len(sends_of(tracker, "connect")) <= 4


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
