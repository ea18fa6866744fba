# SPDX-License-Identifier: LGPL-3.0-only
"""Datagrams, delays and losses against the exchange of udp_tracker_client.py, with a fake clock.

A case is (requests, ipv6, held, time-out, first transaction id, steps). A request is "announce"
or the number of hashes of a scrape. A step is (seconds that pass, what is answered, with what):
what is answered counts the datagrams sent so far, the latest being -1, and None is nobody's; with
what is the bytes of a datagram, which get the transaction id of what they answer, or "right",
"echo", "release", "fail" or "wait".
"""
import json
import struct
from collections import Counter

import udp_tracker_client as udp
from mutate import BYTES, below, mutate, pick, random_bytes

START = 1000.0
MOST_SENDS = 6
HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
URL_DATA = b"/announce?passkey=1"
REQUEST = udp.Announce(HASH, b"-qB00000000000000001", 0, 0, 0, 2, bytes(4), 0, -1, 6881, URL_DATA)
ID = 2 ** 32 // 7  # the distance of transaction ids: odd, so that none comes twice


def reply(action, body):
    """Returns a reply of BEP 15; the transaction id is put in when it is sent."""
    return struct.pack(">ii", action, 0) + body


PEERS = b"\xc6\x33\x64\x07\x1a\xe1\xc6\x33\x64\x08\x1a\xe2"
PEERS6 = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x07\x1a\xe1"
REPLIES = [
    reply(0, b"\x80connect"),
    reply(0, bytes(8)),
    reply(0, b"\x01connectextra"),
    reply(1, struct.pack(">iii", 120, 0, 1)),
    reply(1, struct.pack(">iii", 1800, 2, 5) + PEERS),
    reply(1, struct.pack(">iii", 1800, 1, 5) + PEERS6),
    reply(1, struct.pack(">iii", -1, -2, -3) + PEERS[:9]),
    reply(4, struct.pack(">iii", 1800, 2, 3) + PEERS6),
    reply(1, b""),
    reply(2, struct.pack(">iii", 1, 0, 0)),
    reply(2, struct.pack(">iii", 1, 0, 0) * 74),
    reply(2, b""),
    reply(2, bytes(7)),
    reply(3, b"torrent not registered"),
    reply(3, b"Connection ID mismatch"),
    reply(3, b"invalid cookie\0"),
    reply(3, b"\x1b[31m\r\n\x9b\xff\xe2\x80\xae"),
    reply(3, b""),
    reply(7, b"unknown"),
    b"",
    b"\0" * 7,
    b"HTTP/1.1 400 Bad Request\r\n",
]
PIECES = BYTES + [bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", PEERS, PEERS6, b"connection"] * 20
TIMEOUTS = (0.001, 0.5, 1, 5, 5, 5, 5, 15, 15.001, 60, 86400)
PAUSES = (0, 0, 0, 0.001, 0.05, 0.05, 0.34, 1, 3, 20, 61)


def generate(rng):
    requests = [pick(rng, ("announce", 1, 2, 74)) for _ in range(pick(rng, (1, 1, 2, 2, 3, 10)))]
    # Most start with a proper connect, so that there is something to go wrong after it.
    steps = [] if not below(rng, 6) else [(0.02, -1, "right")]
    for _ in range(below(rng, 10)):
        seconds = pick(rng, PAUSES) * rng.random()
        which = pick(rng, (None, -1, -1, -1, -2, -3, below(rng, 12)))
        kind = below(rng, 8)
        if kind < 3:
            answer = "right"
        elif kind == 3:
            answer = pick(rng, ("wait", "wait", "wait", "echo", "release", "fail"))
        elif kind == 4:
            answer = random_bytes(rng, pick(rng, (4, 8, 12, 16, 20, 26, 60)))
        else:
            answer = pick(rng, REPLIES)
            if not below(rng, 2):
                answer = mutate(rng, answer, PIECES)
        steps.append((seconds, which, answer))
    first_id = rng.getrandbits(32)
    timeout = pick(rng, TIMEOUTS)
    return requests, not below(rng, 3), not below(rng, 8), timeout, first_id, steps


class TransactionIds:
    """Ids in place of random ones, so that a case comes out the same each time."""

    def __init__(self, first):
        self.next = first

    def __call__(self):
        self.next = (self.next + ID) % 2 ** 32
        return self.next - 2 ** 31


class Observed:
    """An exchange and its caller, with a look at the promises after each step."""

    def __init__(self, requests, ipv6, held, timeout):
        self.requests = [
            REQUEST if request == "announce" else udp.Scrape([HASH] * request)
            for request in requests
        ]
        self.now = START
        self.deadline = START + timeout
        self.exchange = udp.Exchange(self.requests, ipv6, self.now, self.deadline, held)
        self.sent = []
        self.sends = Counter()  # by transaction id
        self.answered = {}  # the action of the reply, by transaction id
        self.connection_id = None
        self.replies = list(self.exchange.replies)

    def send_due(self):
        """Sends what is due, and looks at what that is."""
        if self.exchange.finished:
            return
        for datagram in self.exchange.take_due_datagrams(self.now):
            connection_id, action, transaction_id = struct.unpack_from(">qii", datagram)
            if action == udp.CONNECT:
                assert datagram[:8] == b"\0\0\x04\x17\x27\x10\x19\x80" and len(datagram) == 16
            else:
                assert connection_id == self.connection_id, "not the latest connection id"
                assert not self.exchange.held
                assert len(datagram) == 98 + 2 + len(URL_DATA) or (len(datagram) - 16) % 20 == 0
            assert transaction_id not in self.answered, "sent again after its answer"
            self.sends[transaction_id] += 1
            assert self.sends[transaction_id] <= MOST_SENDS, "too many sends"
            assert self.now < self.deadline, "sent at the deadline"
            self.sent.append(datagram)
        assert len(self.exchange.pending) <= udp.Exchange.IN_FLIGHT
        if not self.exchange.finished:
            assert self.now < self.exchange.wake_at <= self.deadline, "wakes up in vain or too late"
        self.look_at_replies()

    def receive(self, datagram):
        exchange = self.exchange
        before = (list(exchange.replies), exchange.connection_id, dict(exchange.pending))
        delay = exchange.receive(datagram, self.now)
        if delay is None:
            after = (list(exchange.replies), exchange.connection_id, dict(exchange.pending))
            assert after == before, "it changed something, but was said to belong to nobody"
            assert len(datagram) < 8 or struct.unpack_from(">i", datagram, 4)[0] not in before[2]
            return
        action, transaction_id = struct.unpack_from(">ii", datagram)
        assert self.sends[transaction_id], "a reply to what was never sent"
        assert transaction_id not in self.answered, "a second reply"
        assert delay >= 0
        self.answered[transaction_id] = action
        if self.request_of(transaction_id)[11] == udp.CONNECT and action == udp.CONNECT:
            if len(datagram) >= 16:
                self.connection_id = struct.unpack_from(">q", datagram, 8)[0]
                assert exchange.connection_id == self.connection_id
                assert exchange.connected_at == self.now
        self.look_at_replies()

    def request_of(self, transaction_id):
        wanted = struct.pack(">i", transaction_id)
        return next(datagram for datagram in self.sent if datagram[12:16] == wanted)

    def look_at_replies(self):
        for index, reply in enumerate(self.exchange.replies):
            if self.replies[index] is not None:
                assert reply is self.replies[index], "a reply changed"
            elif reply is not None:
                self.look_at(self.requests[index], reply)
                assert self.exchange.replied_at[index] == self.now
        self.replies = list(self.exchange.replies)

    def look_at(self, request, reply):
        if isinstance(reply, udp.Failure):
            assert reply.kind in ("timeout", "invalid_response", "interrupted"), reply.kind
            assert reply.kind != "timeout" or self.now >= self.deadline, "timed out too early"
            return
        assert reply.transaction_id in self.answered, "a reply that nobody sent"
        if isinstance(reply, udp.AnnounceReply):
            assert isinstance(request, udp.Announce)
            action = self.answered[reply.transaction_id]
            assert action == udp.ANNOUNCE or action == 4 and self.exchange.ipv6
            for host, port in reply.peers:
                assert (":" in host) == self.exchange.ipv6 and 0 <= port < 65536
        elif isinstance(reply, udp.ScrapeReply):
            assert isinstance(request, udp.Scrape)
        else:
            assert isinstance(reply, udp.ErrorReply)

    def step(self, seconds, which, answer):
        self.now += seconds
        if answer == "release":
            self.exchange.release(self.now)
        elif answer == "fail":
            self.exchange.fail(udp.Failure("interrupted", "interrupted"), self.now)
            self.look_at_replies()
        elif answer != "wait":
            self.receive(self.make_datagram(which, answer))

    def make_datagram(self, which, answer):
        """Returns the datagram that answers one of those that were sent, or nobody's."""
        if which is None or not self.sent:
            if not isinstance(answer, str):
                return answer
            # An id that is in use by chance would be nobody's no more.
            return reply(udp.ERROR, b"not yours")[:4] + b"\x12\x34\x56\x78not yours"
        asked = self.sent[which % len(self.sent)]
        if answer == "echo":
            return asked
        if answer == "right":
            answer = REPLIES[{udp.CONNECT: 0, udp.ANNOUNCE: 4, udp.SCRAPE: 10}[asked[11]]]
        return answer[:4] + asked[12:16] + answer[8:]

    def finish(self):
        """Answers nothing any more, until the exchange has ended."""
        rounds = 0
        while not self.exchange.finished:
            rounds += 1
            assert rounds < 3000, "the exchange does not end"
            self.now = max(self.now, self.exchange.wake_at)
            self.send_due()
        assert not self.exchange.pending
        assert self.exchange.receive(reply(udp.ERROR, b"too late"), self.now) is None

    def outcome(self):
        """Returns a word for how it ended, after the replies have been made JSON."""
        replies = self.exchange.replies
        for reply_ in replies:
            if isinstance(reply_, udp.AnnounceReply):
                shown = udp.announce_to_json(reply_, self.exchange.ipv6)
            elif isinstance(reply_, udp.ScrapeReply):
                shown = udp.scrape_to_json(reply_.transaction_id, reply_.stats)
            else:
                shown = {"message": getattr(reply_, "message", str(reply_))}
            text = udp.to_json_text(shown, pretty=False)
            assert text.isprintable() and max(text) < "\x7f"
            json.loads(text)
        kinds = {getattr(reply_, "kind", type(reply_).__name__) for reply_ in replies}
        return kinds.pop() if len(kinds) == 1 else "replies of several kinds"


def check(case):
    requests, ipv6, held, timeout, first_id, steps = case
    random_id = udp.new_transaction_id
    udp.new_transaction_id = TransactionIds(first_id)
    try:
        observed = Observed(requests, ipv6, held, timeout)
        observed.send_due()
        for step in steps:
            observed.step(*step)
            observed.send_due()
        observed.finish()
        return observed.outcome()
    finally:
        udp.new_transaction_id = random_id
