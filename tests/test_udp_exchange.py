# SPDX-License-Identifier: LGPL-3.0-only
"""The rules of BEP 15 without a network: wire format, Exchange and Race with a clock of the test's
own, and Conversation over sockets on loopback, but with that same clock; also as the checker has
it, which leaves the swarm before a socket is closed.
"""

import selectors
import socket
import struct
from collections import namedtuple

import pytest
import tracker_checker as checker
import udp_tracker_client as client
from udp_tracker_client import (
    ANNOUNCE,
    CONNECT,
    ERROR,
    SCRAPE,
    Announce,
    AnnounceReply,
    Connect,
    Conversation,
    ErrorReply,
    Exchange,
    Failure,
    Race,
    Scrape,
    ScrapeReply,
)

HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
PEER_ID = b"-qB00000000000000001"
START = 1000.0
EVENT_STOPPED = 3

# A request as it is on the wire; a connect has the protocol id in place of a connection id.
Sent = namedtuple("Sent", "connection_id action transaction_id datagram")


def announce(**changes):
    values = dict(
        info_hash=HASH,
        peer_id=PEER_ID,
        downloaded=0,
        left=0,
        uploaded=0,
        event=2,
        ip_address=bytes(4),
        key=0,
        peers_wanted=1,
        port=6881,
        url_data=b"",
    )
    values.update(changes)
    return Announce(**values)


def scrapes(count):
    return [Scrape([bytes([number]) * 20]) for number in range(count)]


def sent(datagram):
    return Sent(*struct.unpack_from(">qii", datagram), datagram)


def connect_reply(request, connection_id=7):
    return struct.pack(">iiq", CONNECT, request.transaction_id, connection_id)


def announce_reply(request, peers=b"", seeders=3):
    return struct.pack(">5i", ANNOUNCE, request.transaction_id, 120, 2, seeders) + peers


def scrape_reply(request, *entries):
    entries = entries or [(1, 2, 3)]
    return struct.pack(">ii", SCRAPE, request.transaction_id) + b"".join(
        struct.pack(">3i", *entry) for entry in entries
    )


def error_reply(request, text=b"torrent not registered"):
    return struct.pack(">ii", ERROR, request.transaction_id) + text


# Wire format


def test_connect_request():
    assert Connect.encode(None, -2) == bytes.fromhex("0000041727101980 00000000 fffffffe")


def test_announce_request():
    request = announce(
        downloaded=1,
        left=2 ** 63 - 1,
        uploaded=3,
        event=1,
        ip_address=b"\xc6\x33\x64\x07",
        key=-4,
        peers_wanted=-1,
        port=65535,
    )
    assert request.encode(-5, 6) == (
        bytes.fromhex("fffffffffffffffb 00000001 00000006")
        + HASH
        + PEER_ID
        + bytes.fromhex("0000000000000001 7fffffffffffffff 0000000000000003 00000001")
        + bytes.fromhex("c6336407 fffffffc ffffffff ffff")
    )


@pytest.mark.parametrize("length, option_lengths", [
    (1, [1]), (254, [254]), (255, [255]), (256, [255, 1]), (510, [255, 255]), (600, [255, 255, 90]),
])
def test_announce_request_with_url_data(length, option_lengths):
    url_data = bytes(number % 251 for number in range(length))
    options = announce(url_data=url_data).encode(7, 8)[98:]
    expected, start = b"", 0
    for option_length in option_lengths:
        part = url_data[start : start + option_length]
        expected += bytes([2, option_length]) + part
        start += option_length
    assert options == expected


def test_announce_request_without_url_data():
    assert len(announce().encode(7, 8)) == 98


def test_scrape_request():
    other = bytes(range(20))
    head = bytes.fromhex("0000000000000007 00000002 ffffffff")
    assert Scrape([HASH, other]).encode(7, -1) == head + HASH + other


@pytest.mark.parametrize("path", ["", "/", "/announce", "/scrape"])
@pytest.mark.parametrize("query", [None, ""])
def test_a_usual_path_is_no_url_data(path, query):
    assert client.url_data_of(path, query) == b""


@pytest.mark.parametrize("path, query, url_data", [
    ("/KEY/announce", None, b"/KEY/announce"),
    ("/announce/", None, b"/announce/"),
    ("/announce", "passkey=1", b"/announce?passkey=1"),
    ("", "passkey=1", b"?passkey=1"),
    ("/", "a?b", b"/?a?b"),
    ("/caf\xe9 \U0001f60a".replace(" ", "/"), "\u2028", b"/caf%C3%A9/%F0%9F%98%8A?%E2%80%A8"),
    ("/%20%", None, b"/%20%"),
])
def test_url_data(path, query, url_data):
    assert client.url_data_of(path, query) == url_data


REQUEST = Sent(7, ANNOUNCE, -9, b"")


def parse(request, reply, ipv6=False):
    (action,) = struct.unpack_from(">i", reply)
    return client.parse_reply(request, action, reply, ipv6)


def test_announce_reply_over_ipv4():
    peers = b"\xc6\x33\x64\x07\x1a\xe1" + bytes(6) + b"\xff" * 6
    expected = [("198.51.100.7", 6881), ("0.0.0.0", 0), ("255.255.255.255", 65535)]
    reply = parse(announce(), announce_reply(REQUEST, peers, seeders=-3))
    assert reply == AnnounceReply(-9, 120, 2, -3, expected)


def test_announce_reply_over_ipv6():
    peers = b"\x20\x01\x0d\xb8" + bytes(11) + b"\x01\x1a\xe1"
    reply = parse(announce(), announce_reply(REQUEST, peers), ipv6=True)
    assert reply.peers == [("2001:db8::1", 6881)]


def test_action_4_over_ipv6_is_an_announce_reply():
    peer = bytes.fromhex("20010db8 00000000 00000000 00000007 1ae1")
    reply = struct.pack(">5i", 4, -9, 1800, 2, 3) + peer
    expected = AnnounceReply(-9, 1800, 2, 3, [("2001:db8::7", 6881)])
    assert parse(announce(), reply, ipv6=True) == expected
    assert "8 bytes" in str(parse(announce(), reply[:8], ipv6=True))
    # Elsewhere it is the action of nothing.
    for request_of, ipv6 in [(announce(), False), (Scrape([HASH]), True), (Connect, True)]:
        failure = parse(request_of, reply, ipv6)
        assert (failure.kind, "action 4" in str(failure)) == ("invalid_response", True)


@pytest.mark.parametrize("ipv6, size", [(False, 6), (True, 18)])
def test_whole_entries_of_a_cut_off_peer_list(ipv6, size):
    for rest in range(size):
        reply = parse(announce(), announce_reply(REQUEST, bytes(2 * size + rest)), ipv6)
        assert len(reply.peers) == 2


def test_scrape_reply():
    reply = parse(Scrape([HASH] * 2), scrape_reply(REQUEST, (1, 2, 3), (-1, -2, -(2 ** 31))))
    assert reply == ScrapeReply(-9, [(1, 2, 3), (-1, -2, -(2 ** 31))])
    assert parse(Scrape([HASH]), scrape_reply(REQUEST)[:8]).stats == []
    assert parse(Scrape([HASH] * 2), scrape_reply(REQUEST) + bytes(11)).stats == [(1, 2, 3)]


@pytest.mark.parametrize("text, message", [
    (b"torrent not registered", "torrent not registered"),
    (b"", ""),
    (b"with NUL\0\0", "with NUL"),
    ("caf\xe9 \u202e".encode(), "caf\xe9 \u202e"),
    (b"refus\xe9 \xff", "refus\xe9 \xff"),
])
@pytest.mark.parametrize("request_of", [Connect, announce(), Scrape([HASH])])
def test_error_reply(request_of, text, message):
    assert parse(request_of, error_reply(REQUEST, text)) == ErrorReply(-9, message)


@pytest.mark.parametrize("request_of, reply, hints", [
    (Connect, connect_reply(REQUEST)[:15], ["connect", "15 bytes", "16"]),
    (Connect, connect_reply(REQUEST)[:8], ["connect", "8 bytes"]),
    (Connect, announce_reply(REQUEST), ["connect", "action 1", "0"]),
    (announce(), announce_reply(REQUEST)[:8], ["announce", "8 bytes", "opentracker", "list"]),
    (announce(), announce_reply(REQUEST)[:19], ["announce", "19 bytes", "20"]),
    (announce(), scrape_reply(REQUEST), ["announce", "action 2"]),
    (announce(), connect_reply(REQUEST), ["announce", "action 0"]),
    (Scrape([HASH]), scrape_reply(REQUEST)[:9], ["scrape", "9 bytes"]),
    (Scrape([HASH]), scrape_reply(REQUEST)[:19], ["scrape", "19 bytes"]),
    (Scrape([HASH]), announce_reply(REQUEST), ["scrape", "action 1"]),
    (Scrape([HASH]), struct.pack(">ii", -1, -9), ["scrape", "action -1"]),
    (Scrape([HASH]), struct.pack(">ii", 7, -9) + bytes(100), ["scrape", "action 7"]),
])
def test_wrong_action_or_shape(request_of, reply, hints):
    failure = parse(request_of, reply)
    assert isinstance(failure, Failure)
    assert failure.kind == "invalid_response"
    for hint in hints:
        assert hint in str(failure)


def test_transaction_ids_are_random_signed_numbers():
    ids = {client.new_transaction_id() for _ in range(1000)}
    assert len(ids) > 990
    assert min(ids) < 0 < max(ids)
    assert all(-(2 ** 31) <= number < 2 ** 31 for number in ids)


# Exchange


class Dialogue:
    """An exchange, and the clock that the test sets: seconds since the start."""

    def __init__(self, *requests, timeout=5.0, ipv6=False, held=False):
        self.exchange = Exchange(list(requests), ipv6, START, START + timeout, held)
        self.now = 0.0

    @property
    def replies(self):
        return self.exchange.replies

    @property
    def wake_at(self):
        return self.exchange.wake_at - START

    def at(self, seconds):
        self.now = seconds
        return self

    def take_due_datagrams(self):
        return [sent(datagram) for datagram in self.exchange.take_due_datagrams(START + self.now)]

    def receive(self, datagram):
        return self.exchange.receive(datagram, START + self.now)

    def connect(self, connection_id=7):
        """Answers the connect that is due, and returns what is sent thereupon."""
        (request,) = self.take_due_datagrams()
        assert request.action == CONNECT
        assert self.receive(connect_reply(request, connection_id)) is not None
        return self.take_due_datagrams()

    def sends_until_the_end(self):
        """Answers nothing any more; returns [(time, request)] of what is sent."""
        sends = [(self.now, request) for request in self.take_due_datagrams()]
        while not self.exchange.finished:
            self.now = self.wake_at
            sends.extend((self.now, request) for request in self.take_due_datagrams())
        return sends


def times(sends):
    return [round(time, 2) for time, _ in sends]


@pytest.mark.parametrize("timeout, expected", [
    (5, [0, 0.24, 0.6, 1.14, 1.95, 3.17]),
    (1.5, [0, 0.07, 0.18, 0.34, 0.59, 0.95]),
    (15, [0, 0.72, 1.8, 3.43, 5.86, 9.52]),
    (60, [0, 2.89, 7.22, 13.71, 23.46, 38.08]),
    (86400, [0, 4157.59, 10393.98, 19748.57, 33780.45, 54828.27]),
])
def test_times_of_a_request_that_is_not_answered(timeout, expected):
    dialogue = Dialogue(announce(), timeout=timeout)
    sends = dialogue.sends_until_the_end()
    assert times(sends) == expected
    assert {request.action for _, request in sends} == {CONNECT}
    assert dialogue.now == timeout
    (failure,) = dialogue.replies
    assert failure.kind == "timeout"
    assert "connect" in str(failure)
    assert "6 times" in str(failure)
    assert dialogue.exchange.replied_at == [START + timeout]


def test_the_time_left_is_shared_by_the_requests():
    dialogue = Dialogue(announce(), Scrape([HASH])).at(0)
    dialogue.take_due_datagrams()
    dialogue.at(2)
    first = dialogue.connect()
    assert [request.action for request in first] == [ANNOUNCE, SCRAPE]
    sends = dialogue.sends_until_the_end()
    for action in (ANNOUNCE, SCRAPE):
        again = [entry for entry in sends if entry[1].action == action]
        assert times(again) == [2.14, 2.36, 2.69, 3.17, 3.9]
    assert dialogue.now == 5
    assert [failure.kind for failure in dialogue.replies] == ["timeout", "timeout"]
    assert "announce" in str(dialogue.replies[0])
    assert "scrape" in str(dialogue.replies[1])


def test_nothing_is_sent_before_it_is_due():
    dialogue = Dialogue(announce())
    assert len(dialogue.take_due_datagrams()) == 1
    assert dialogue.take_due_datagrams() == []
    assert dialogue.wake_at == pytest.approx(0.2406, abs=1e-4)
    assert dialogue.at(0.24).take_due_datagrams() == []
    assert len(dialogue.at(0.25).take_due_datagrams()) == 1


def test_a_caller_who_is_late_does_not_catch_up():
    """The waits stay as long as they are; what does not fit into the time any more is not sent."""
    for late, expected in [(0.3, [0, 0.54, 1.2, 2.04, 3.15, 4.67]), (1, [0, 1.24, 2.6, 4.14])]:
        dialogue = Dialogue(announce())
        sent_at = []
        while not dialogue.exchange.finished:
            sent_at += [dialogue.now for _ in dialogue.take_due_datagrams()]
            assert dialogue.take_due_datagrams() == []
            dialogue.now = min(dialogue.wake_at + late, 5)
        assert [round(seconds, 2) for seconds in sent_at] == expected
        assert "{} times".format(len(expected)) in str(dialogue.replies[0])


def test_requests_carry_the_connection_id():
    dialogue = Dialogue(announce(), Scrape([HASH]))
    (connect,) = dialogue.take_due_datagrams()
    assert connect.connection_id == 0x41727101980
    dialogue.receive(connect_reply(connect, -(2 ** 63)))
    requests = dialogue.take_due_datagrams()
    assert [request.action for request in requests] == [ANNOUNCE, SCRAPE]
    assert {request.connection_id for request in requests} == {-(2 ** 63)}
    ids = {request.transaction_id for request in [connect] + requests}
    assert len(ids) == 3
    dialogue.at(0.5).receive(scrape_reply(requests[1]))
    assert not dialogue.exchange.finished
    dialogue.at(0.75).receive(announce_reply(requests[0]))
    assert dialogue.exchange.finished
    assert dialogue.replies == [
        AnnounceReply(requests[0].transaction_id, 120, 2, 3, []),
        ScrapeReply(requests[1].transaction_id, [(1, 2, 3)]),
    ]
    assert dialogue.exchange.replied_at == [START + 0.75, START + 0.5]
    assert dialogue.take_due_datagrams() == []


def test_a_connection_id_of_zero():
    (request,) = Dialogue(announce()).connect(connection_id=0)
    assert (request.action, request.connection_id) == (ANNOUNCE, 0)


def test_each_address_family_has_its_peers():
    peers = bytes(18)
    for ipv6, count in ((False, 3), (True, 1)):
        dialogue = Dialogue(announce(), ipv6=ipv6)
        (request,) = dialogue.connect()
        dialogue.receive(announce_reply(request, peers))
        assert len(dialogue.replies[0].peers) == count


def test_a_late_reply_to_an_earlier_send_counts():
    dialogue = Dialogue(announce())
    (connect,) = dialogue.take_due_datagrams()
    (again,) = dialogue.at(0.4).take_due_datagrams()
    assert again == connect
    dialogue.at(0.9)
    assert dialogue.receive(connect_reply(connect)) == pytest.approx(0.9)
    (request,) = dialogue.take_due_datagrams()
    (again,) = dialogue.at(1.5).take_due_datagrams()
    assert again == request
    assert dialogue.at(1.7).receive(announce_reply(request)) == pytest.approx(0.8)
    assert isinstance(dialogue.replies[0], AnnounceReply)


def test_the_second_of_two_replies_belongs_to_nobody():
    dialogue = Dialogue(announce(), Scrape([HASH]))
    (connect,) = dialogue.take_due_datagrams()
    assert dialogue.receive(connect_reply(connect, 7)) is not None
    assert dialogue.receive(connect_reply(connect, 8)) is None
    requests = dialogue.take_due_datagrams()
    assert [request.connection_id for request in requests] == [7, 7]
    assert dialogue.receive(announce_reply(requests[0], seeders=1)) is not None
    assert dialogue.receive(announce_reply(requests[0], seeders=2)) is None
    assert dialogue.receive(error_reply(requests[0])) is None
    assert dialogue.replies[0].seeders == 1
    assert dialogue.replies[1] is None
    assert dialogue.take_due_datagrams() == []


def test_what_carries_another_transaction_id_is_ignored():
    dialogue = Dialogue(announce())
    (connect,) = dialogue.take_due_datagrams()
    strange = connect._replace(transaction_id=connect.transaction_id ^ 1)
    for reply in (connect_reply(strange), error_reply(strange), announce_reply(strange)[:8]):
        assert dialogue.receive(reply) is None
    assert dialogue.take_due_datagrams() == []
    assert times(dialogue.at(0.1).sends_until_the_end()) == [0.24, 0.6, 1.14, 1.95, 3.17]
    assert dialogue.replies[0].kind == "timeout"


def test_the_wait_goes_on_after_what_is_ignored():
    dialogue = Dialogue(announce())
    (request,) = dialogue.connect()
    strange = request._replace(transaction_id=request.transaction_id ^ 1)
    assert dialogue.receive(announce_reply(strange)) is None
    assert dialogue.receive(announce_reply(request)) is not None
    assert isinstance(dialogue.replies[0], AnnounceReply)


@pytest.mark.parametrize("length", range(8))
def test_fewer_than_eight_bytes_are_ignored(length):
    dialogue = Dialogue(announce())
    (connect,) = dialogue.take_due_datagrams()
    assert dialogue.receive(connect_reply(connect)[:length]) is None
    assert not dialogue.exchange.finished
    assert dialogue.receive(connect_reply(connect)) is not None


@pytest.mark.parametrize("reply_to", [
    lambda request: announce_reply(request)[:8],
    lambda request: announce_reply(request)[:19],
    lambda request: scrape_reply(request),
    lambda request: connect_reply(request),
    lambda request: struct.pack(">ii", 7, request.transaction_id) + bytes(20),
], ids=["8 bytes", "19 bytes", "scrape", "connect", "action 7"])
def test_a_wrong_action_or_shape_is_reported_at_once(reply_to):
    dialogue = Dialogue(announce(), Scrape([HASH]))
    requests = dialogue.connect()
    dialogue.at(0.1).receive(reply_to(requests[0]))
    assert dialogue.replies[0].kind == "invalid_response"
    assert dialogue.exchange.replied_at[0] == START + 0.1
    # The other request is none of its business.
    dialogue.receive(scrape_reply(requests[1]))
    assert isinstance(dialogue.replies[1], ScrapeReply)
    assert dialogue.exchange.finished


@pytest.mark.parametrize("length", range(8, 16))
def test_a_connect_reply_that_is_too_short_ends_all(length):
    dialogue = Dialogue(announce(), Scrape([HASH]))
    (connect,) = dialogue.take_due_datagrams()
    dialogue.receive(connect_reply(connect)[:length])
    assert [reply.kind for reply in dialogue.replies] == ["invalid_response"] * 2
    assert dialogue.take_due_datagrams() == []


def test_an_error_reply_to_connect_ends_all():
    dialogue = Dialogue(announce(), Scrape([HASH]))
    (connect,) = dialogue.take_due_datagrams()
    dialogue.receive(error_reply(connect, b"connection limit"))
    assert dialogue.replies == [ErrorReply(connect.transaction_id, "connection limit")] * 2
    assert dialogue.exchange.finished
    assert dialogue.take_due_datagrams() == []


def test_an_error_reply_is_of_its_request_alone():
    dialogue = Dialogue(announce(), Scrape([HASH]))
    requests = dialogue.connect()
    dialogue.receive(error_reply(requests[0]))
    assert dialogue.replies == [
        ErrorReply(requests[0].transaction_id, "torrent not registered"), None
    ]
    assert [request.action for request in dialogue.at(1).take_due_datagrams()] == [SCRAPE]


@pytest.mark.parametrize("text", [
    b"Connection ID mismatch", b"invalid connection id", b"Cookie value from connection failed",
])
def test_a_rejected_connection_id_gets_one_new_connect(text):
    dialogue = Dialogue(announce())
    (request,) = dialogue.connect(connection_id=7)
    dialogue.at(1).receive(error_reply(request, text))
    assert dialogue.replies == [None]
    (again,) = dialogue.connect(connection_id=8)
    assert (again.action, again.connection_id) == (ANNOUNCE, 8)
    assert dialogue.receive(announce_reply(request)) is None
    dialogue.receive(error_reply(again, text))
    assert dialogue.replies == [ErrorReply(again.transaction_id, text.decode())]
    assert dialogue.take_due_datagrams() == []


def test_the_new_connect_has_the_time_that_is_left():
    dialogue = Dialogue(announce())
    (request,) = dialogue.connect()
    dialogue.at(2).receive(error_reply(request, b"Connection ID mismatch"))
    sends = dialogue.sends_until_the_end()
    assert times(sends) == [2, 2.14, 2.36, 2.69, 3.17, 3.9]
    assert {request.action for _, request in sends} == {CONNECT}
    assert dialogue.now == 5


def test_another_error_gets_no_new_connect():
    dialogue = Dialogue(announce())
    (request,) = dialogue.connect()
    dialogue.receive(error_reply(request, b"torrent not registered"))
    assert isinstance(dialogue.replies[0], ErrorReply)


def test_requests_in_flight_when_the_connection_id_is_rejected():
    dialogue = Dialogue(*scrapes(3))
    first, second, third = dialogue.connect(connection_id=7)
    dialogue.receive(scrape_reply(first))
    dialogue.receive(error_reply(second, b"Connection ID mismatch"))
    (connect,) = dialogue.take_due_datagrams()
    assert connect.action == CONNECT
    # The rejection of the other one speaks of the same id: it changes nothing.
    assert dialogue.receive(error_reply(third, b"Connection ID mismatch")) is None
    assert dialogue.take_due_datagrams() == []
    dialogue.receive(connect_reply(connect, 8))
    again = dialogue.take_due_datagrams()
    assert [request.datagram[16:] for request in again] == [
        second.datagram[16:], third.datagram[16:]
    ]
    assert {request.connection_id for request in again} == {8}
    for request in again:
        dialogue.receive(scrape_reply(request))
    assert all(isinstance(reply, ScrapeReply) for reply in dialogue.replies)


def test_a_connection_id_older_than_a_minute_is_not_used():
    dialogue = Dialogue(announce(), timeout=200)
    (connect,) = dialogue.take_due_datagrams()
    dialogue.at(0.5).receive(connect_reply(connect, 7))
    seen = []
    while not seen or seen[-1].action == ANNOUNCE:
        seen.extend(dialogue.take_due_datagrams())
        if seen[-1].action == ANNOUNCE:
            assert dialogue.now < 60.5
            dialogue.at(dialogue.wake_at)
    assert len(seen) > 3
    dialogue.receive(connect_reply(seen[-1], 8))
    (request,) = dialogue.take_due_datagrams()
    assert (request.action, request.connection_id) == (ANNOUNCE, 8)
    # It was no rejection: that one is still to come.
    dialogue.receive(error_reply(request, b"Connection ID mismatch"))
    (connect,) = dialogue.take_due_datagrams()
    assert connect.action == CONNECT


@pytest.mark.parametrize("seconds, action", [(59.9, ANNOUNCE), (60, CONNECT), (100, CONNECT)])
def test_an_exchange_that_was_held_for_long_connects_anew(seconds, action):
    dialogue = Dialogue(announce(), timeout=200, held=True)
    assert dialogue.connect() == []
    dialogue.at(seconds)
    dialogue.exchange.release(START + seconds)
    (request,) = dialogue.take_due_datagrams()
    assert request.action == action


def test_a_held_exchange_connects_and_no_more():
    dialogue = Dialogue(announce(), held=True)
    assert dialogue.connect() == []
    assert dialogue.at(4.9).take_due_datagrams() == []
    assert dialogue.wake_at == 5
    dialogue.exchange.release(START + 4.9)
    assert dialogue.wake_at == pytest.approx(4.9)
    (request,) = dialogue.take_due_datagrams()
    assert request.action == ANNOUNCE


def test_an_exchange_that_was_released_before_it_connected():
    dialogue = Dialogue(announce(), held=True)
    (connect,) = dialogue.take_due_datagrams()
    dialogue.exchange.release(START)
    assert dialogue.take_due_datagrams() == []
    dialogue.receive(connect_reply(connect))
    (request,) = dialogue.take_due_datagrams()
    assert request.action == ANNOUNCE


def test_the_time_out_of_a_held_exchange_does_not_deny_its_connect():
    dialogue = Dialogue(announce(), held=True)
    dialogue.connect()
    dialogue.at(5).take_due_datagrams()
    assert dialogue.replies[0].kind == "timeout"
    assert "no reply to connect" not in str(dialogue.replies[0])


def test_eight_requests_at_a_time():
    dialogue = Dialogue(*scrapes(20))
    requests = dialogue.connect()
    assert len(requests) == 8
    answered = []
    while requests:
        assert len(requests) <= 8
        dialogue.receive(scrape_reply(requests[0]))
        answered.append(requests.pop(0))
        requests.extend(dialogue.take_due_datagrams())
    assert [request.datagram[16] for request in answered] == list(range(20))
    assert dialogue.exchange.finished
    ids = [request.transaction_id for request in answered]
    assert [reply.transaction_id for reply in dialogue.replies] == ids


def test_a_transaction_id_is_never_in_use_twice(monkeypatch):
    numbers = iter([1, 2, 2, 2, 3, 3, 4])
    monkeypatch.setattr(client, "new_transaction_id", lambda: next(numbers))
    requests = Dialogue(*scrapes(3)).connect()
    assert [request.transaction_id for request in requests] == [2, 3, 4]


def test_fail_ends_what_is_open():
    dialogue = Dialogue(*scrapes(10))
    requests = dialogue.connect()
    dialogue.receive(scrape_reply(requests[0]))
    failure = Failure("refused", "the connection was refused")
    dialogue.exchange.fail(failure, START + 1)
    assert isinstance(dialogue.replies[0], ScrapeReply)
    assert dialogue.replies[1:] == [failure] * 9
    assert dialogue.exchange.replied_at[1:] == [START + 1] * 9
    assert dialogue.exchange.finished
    assert dialogue.receive(scrape_reply(requests[1])) is None


# Race


A, B, C = ADDRESSES = [("192.0.2.1", 1), ("2001:db8::1", 2, 0, 0), ("192.0.2.3", 3)]
REFUSED, SILENT = Failure("refused", "was refused"), Failure("timeout", "no reply")


@pytest.mark.parametrize("timeout, addresses, steps", [
    # A step: at which second, what is called, with or returning which address; then when the next
    # address is due, and when anything is.
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.2, "take_due", None, 0.25, 0.25),
        (0.25, "take_due", B, 0.5, 0.5),
        # The head start counts from when the one before was really tried.
        (0.6, "take_due", C, None, None),
        (9, "take_due", None, None, None),
        (9, "take_leader", None, None, None),
    ]),
    # However little time there is, all are tried in the first half of it.
    (0.4, [A, B], [(0, "take_due", A, 0.1, 0.1), (0.1, "take_due", B, None, None)]),
    (0, [A, B], [(0, "take_due", A, 0, 0), (0, "take_due", B, None, None)]),
    # One that fails brings the next at once, and that one has a head start of its own.
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.1, "fail", A, 0.1, 0.1),
        (0.1, "take_due", B, 0.35, 0.35),
        (0.2, "fail", B, 0.2, 0.2),
        (0.2, "take_due", C, None, None),
        (0.3, "fail", C, None, None),
    ]),
    # Where one leads, another's failure brings nobody before their time, but the leader's does.
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.25, "take_due", B, 0.5, 0.5),
        (0.3, "reach", B, 0.5, 0),
        (0.3, "take_leader", B, 0.5, 0.5),
        (0.3, "take_leader", None, 0.5, 0.5),
        (0.4, "fail", A, 0.5, 0.5),
        (0.45, "fail", B, 0.45, 0.45),
    ]),
    # The first that was reached leads, not the first that was tried; then the next one does.
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.25, "take_due", B, 0.5, 0.5),
        (0.5, "take_due", C, None, None),
        (0.6, "reach", C, None, 0),
        (0.6, "take_leader", C, None, None),
        (0.7, "reach", A, None, 1.7),
        (0.8, "reach", B, None, 1.7),
        (0.8, "take_leader", None, None, 1.7),
        (0.9, "fail", A, None, 1.7),
        (1, "fail", C, None, 1),
        (1, "take_leader", B, None, None),
        (2, "fail", B, None, None),
    ]),
    # A leader that says nothing is joined after a quarter of the time that was left.
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.25, "take_due", B, 0.5, 0.5),
        (0.5, "take_due", C, None, None),
        (1, "reach", A, None, 0),
        (1, "take_leader", A, None, None),
        (1.1, "reach", B, None, 2),
        (1.99, "take_leader", None, None, 2),
        (2, "take_leader", B, None, None),
        # That one has its quarter too, whether it fails or not, as long as the leader does not.
        (2.1, "reach", C, None, 2.75),
        (2.2, "fail", B, None, 2.75),
        (2.2, "take_leader", None, None, 2.75),
        (2.3, "fail", A, None, 2.3),
        (2.3, "take_leader", C, None, None),
    ]),
    # One that is reached after the patience has ended is asked at once.
    (5, [A, B], [
        (0, "take_due", A, 0.25, 0.25),
        (0, "reach", A, 0.25, 0),
        (0, "take_leader", A, 0.25, 0.25),
        (0.25, "take_due", B, None, None),
        (3, "reach", B, None, 1.25),
        (3, "take_leader", B, None, None),
    ]),
    # The end of the time is no reason to ask anybody twice.
    (5, [A, B], [
        (0, "take_due", A, 0.25, 0.25),
        (0.25, "take_due", B, None, None),
        (5, "reach", A, None, 0),
        (5, "reach", B, None, 0),
        (5, "take_leader", A, None, 5),
        (5, "take_leader", B, None, None),
        (6, "take_leader", None, None, None),
    ]),
    (5, [A, B, C], [
        (0, "take_due", A, 0.25, 0.25),
        (0.1, "reach", A, 0.25, 0),
        (0.1, "take_leader", A, 0.25, 0.25),
        (0.25, "take_due", B, 0.5, 0.5),
        (0.3, "reach", B, 0.5, 0.5),
        (0.4, "stop", None, None, None),
        (1, "take_due", None, None, None),
        (4, "take_leader", None, None, None),
        (4, "fail", A, None, None),
    ]),
])
def test_who_is_tried_when_and_who_is_asked(timeout, addresses, steps):
    race = Race(addresses, START, START + timeout)
    assert (race.due_at, race.wake_at, race.asked, race.failures) == (START, START, (), ())
    asked, failed = [], []
    for seconds, method, address, due_at, wake_at in steps:
        now = START + seconds
        if method == "take_due":
            assert race.take_due(now) == address
        elif method == "take_leader":
            assert race.take_leader(now) == address
            asked += [address] if address else []
        elif method == "fail":
            race.fail(address, REFUSED, now)
            failed.append(address)
        elif method == "reach":
            race.reach(address)
        else:
            race.stop()
        assert race.due_at == (None if due_at is None else pytest.approx(START + due_at))
        assert race.wake_at == (None if wake_at is None else pytest.approx(START + wake_at))
        assert list(race.asked) == [other for other in asked if other not in failed]
    assert list(race.failures) == [(address, REFUSED) for address in failed]


@pytest.mark.parametrize("failures, kind, message", [
    ([(A, REFUSED)], "refused", "was refused"),
    ([(A, REFUSED), (B, SILENT)], "timeout", "192.0.2.1:1: was refused; [2001:db8::1]:2: no reply"),
    ([(B, SILENT), (A, REFUSED)], "refused", "[2001:db8::1]:2: no reply; 192.0.2.1:1: was refused"),
    # What all say alike is said once.
    ([(A, REFUSED), (B, REFUSED)], "refused", "was refused"),
])
def test_one_failure_for_all_addresses(failures, kind, message):
    race = Race(ADDRESSES, START, START + 5)
    for address, failure in failures:
        race.fail(address, failure, START)
    assert (race.combined_failure().kind, str(race.combined_failure())) == (kind, message)


# Conversation: real sockets, the test's clock


class Server:
    """A UDP socket in the place of a tracker."""

    def __init__(self, family=socket.AF_INET, host="127.0.0.1"):
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.bind((host, 0))
        self.socket.settimeout(5)
        self.client = None

    @property
    def address(self):
        return self.socket.getsockname()

    def receive(self):
        datagram, self.client = self.socket.recvfrom(65536)
        return sent(datagram)

    def reply(self, datagram):
        self.socket.sendto(datagram, self.client)

    @property
    def idle(self):
        """Whether nothing has arrived: on loopback a datagram has, once it is sent."""
        self.socket.setblocking(False)
        try:
            self.socket.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            self.socket.settimeout(5)
        return False


@pytest.fixture
def server():
    """A function that makes Servers."""
    servers = []

    def make(*arguments):
        servers.append(Server(*arguments))
        return servers[-1]

    yield make
    for each in servers:
        each.socket.close()


class Talk:
    """A conversation, its selector, and the test's clock in seconds since the start."""

    def __init__(self, addresses, requests=None, timeout=5.0, kind=Conversation, leave=None):
        self.lines = []
        self.selector = selectors.DefaultSelector()
        self.conversation = kind(
            addresses,
            requests or [announce()],
            START,
            START + timeout,
            self.selector,
            owner=self,
            trace=self.lines.append,
            leave=leave,
        )

    def advance(self, seconds):
        self.conversation.advance(START + seconds)

    def read(self, seconds):
        """Waits for a datagram (or an error of a socket) and reads it."""
        ready = self.selector.select(5)
        assert ready, "nothing arrived"
        for key, _ in ready:
            assert key.data is self
            self.conversation.read(key.fileobj, START + seconds)
        self.advance(seconds)

    @property
    def wake_at(self):
        return self.conversation.wake_at - START

    @property
    def replies(self):
        return self.conversation.exchange.replies

    @property
    def failures(self):
        return [(address, failure.kind) for address, failure in self.conversation.race.failures]

    def check_that_all_is_closed(self):
        assert self.conversation.finished
        assert not self.selector.get_map()


@pytest.fixture
def talk():
    """A function that starts a Talk."""
    talks = []

    def make(*arguments, **settings):
        talks.append(Talk(*arguments, **settings))
        talks[-1].advance(0)
        return talks[-1]

    yield make
    for each in talks:
        for sock in each.conversation.exchanges:
            sock.close()
        each.selector.close()


def test_one_address(server, talk):
    tracker = server()
    dialogue = talk([tracker.address])
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    tracker.reply(announce_reply(tracker.receive()))
    assert not dialogue.conversation.finished
    dialogue.read(0.2)
    assert dialogue.replies[0].seeders == 3
    assert dialogue.conversation.address == tracker.address
    assert dialogue.failures == []
    dialogue.check_that_all_is_closed()


@pytest.mark.parametrize("timeout, head_start", [(5, 0.25), (0.4, 0.1)])
def test_the_second_address_starts_while_the_first_is_silent(server, talk, timeout, head_start):
    first, second = server(), server()
    dialogue = talk([first.address, second.address], timeout=timeout)
    assert first.receive().action == CONNECT
    assert second.idle
    seconds = 0
    while dialogue.wake_at < head_start - 1e-9:
        seconds = dialogue.wake_at
        dialogue.advance(seconds)
        assert second.idle
    assert dialogue.wake_at == pytest.approx(head_start)
    dialogue.advance(dialogue.wake_at)
    second.reply(connect_reply(second.receive()))
    dialogue.read(head_start + 0.01)
    second.reply(announce_reply(second.receive()))
    dialogue.read(head_start + 0.02)
    assert dialogue.replies[0].seeders == 3
    assert dialogue.conversation.address == second.address
    assert dialogue.failures == []
    dialogue.check_that_all_is_closed()


def test_all_of_many_addresses_start_within_half_of_the_time(server, talk):
    servers = [server() for _ in range(20)]
    dialogue = talk([each.address for each in servers], timeout=1.0)
    while dialogue.wake_at <= 0.5:
        dialogue.advance(dialogue.wake_at)
    assert not any(each.idle for each in servers)


def test_a_refused_address_gives_way_at_once(server, talk, closed_udp_port):
    second = server()
    dialogue = talk([closed_udp_port, second.address])
    dialogue.read(0.01)
    assert dialogue.failures == [(closed_udp_port, "refused")]
    second.reply(connect_reply(second.receive()))
    dialogue.read(0.02)
    second.reply(announce_reply(second.receive()))
    dialogue.read(0.03)
    assert dialogue.replies[0].seeders == 3
    assert dialogue.conversation.address == second.address


def test_an_unreachable_address_gives_way_at_once(server, talk):
    second = server()
    # Nothing may be sent to the broadcast address by who has not asked for the right to.
    dialogue = talk([("255.255.255.255", 6969), second.address])
    assert dialogue.failures == [(("255.255.255.255", 6969), "unreachable")]
    assert second.receive().action == CONNECT


def test_an_address_that_answers_junk_gives_way_at_once(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address])
    first.reply(connect_reply(first.receive())[:12])
    dialogue.read(0.01)
    assert dialogue.failures == [(first.address, "invalid_response")]
    assert second.receive().action == CONNECT


# Seconds: the second address starts after 0.25, before anything is sent to the first once more.
BEFORE_RESENDS = 10


def connect_both(server, talk, **settings):
    """Returns a talk with two trackers that have both got a connection id; the first leads."""
    first, second = server(), server()
    dialogue = talk([first.address, second.address], timeout=BEFORE_RESENDS, **settings)
    connect = first.receive()
    dialogue.advance(0.25)
    first.reply(connect_reply(connect, 1))
    dialogue.read(0.26)
    second.reply(connect_reply(second.receive(), 2))
    dialogue.read(0.27)
    return dialogue, first, second


def test_only_one_of_two_connected_addresses_gets_the_announce(server, talk):
    dialogue, first, second = connect_both(server, talk)
    request = first.receive()
    assert (request.action, request.connection_id) == (ANNOUNCE, 1)
    assert second.idle
    first.reply(announce_reply(request))
    dialogue.read(0.3)
    assert dialogue.conversation.address == first.address
    dialogue.check_that_all_is_closed()
    assert second.idle


def test_what_comes_together_with_the_answer_is_too_late(server, talk):
    dialogue, first, second = connect_both(server, talk)
    first.reply(announce_reply(first.receive()))
    second.reply(bytes(20))
    # The selector has named both sockets: the answer at the first closes the second.
    for sock in list(dialogue.conversation.exchanges):
        dialogue.conversation.read(sock, START + 0.3)
    assert dialogue.replies[0].seeders == 3
    dialogue.check_that_all_is_closed()


def test_the_held_address_goes_on_where_the_first_fails(server, talk):
    dialogue, first, second = connect_both(server, talk)
    first.reply(announce_reply(first.receive())[:8])
    dialogue.read(0.3)
    request = second.receive()
    assert (request.action, request.connection_id) == (ANNOUNCE, 2)
    assert dialogue.failures == [(first.address, "invalid_response")]
    second.reply(announce_reply(request))
    dialogue.read(0.4)
    assert dialogue.replies[0].seeders == 3
    assert dialogue.conversation.address == second.address
    dialogue.check_that_all_is_closed()


@pytest.mark.parametrize("late", [False, True])
def test_a_silent_leader_is_joined_and_any_answer_counts(server, talk, late):
    """After a quarter of the time that was left; the leader's own answer still counts then."""
    dialogue, first, second = connect_both(server, talk)
    request = first.receive()
    joined_at = 0.26 + (BEFORE_RESENDS - 0.26) / 4
    while dialogue.wake_at < joined_at - 1e-9:
        dialogue.advance(dialogue.wake_at)
        assert second.idle
    assert dialogue.wake_at == pytest.approx(joined_at)
    dialogue.advance(dialogue.wake_at)
    dialogue.advance(dialogue.wake_at)
    joined = second.receive()
    assert (joined.action, joined.connection_id) == (ANNOUNCE, 2)
    live, request = (first, request) if late else (second, joined)
    live.reply(announce_reply(request))
    dialogue.read(joined_at + 0.1)
    assert dialogue.replies[0].seeders == 3
    assert dialogue.conversation.address == live.address
    assert dialogue.failures == []
    dialogue.check_that_all_is_closed()


def test_an_address_that_connects_once_the_patience_is_over_is_asked_at_once(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address])
    first.reply(connect_reply(first.receive()))
    dialogue.read(0.01)
    while dialogue.wake_at < 3:
        dialogue.advance(dialogue.wake_at)
    second.reply(connect_reply(second.receive(), 2))
    dialogue.read(3)
    requests = [second.receive()]
    while not second.idle:
        requests.append(second.receive())
    assert requests[-1].connection_id == 2


def junk_reply(request):
    return announce_reply(request)[:8]


@pytest.mark.parametrize("second_replies, kept, outcome", [
    ((scrape_reply, announce_reply), 1, AnnounceReply),
    ((scrape_reply, error_reply), 1, ErrorReply),
    # One answer is no more than the one that the first has given.
    ((scrape_reply, junk_reply), 0, Failure),
    ((junk_reply, announce_reply), 0, Failure),
    ((junk_reply, junk_reply), 0, Failure),
])
def test_the_exchange_that_answered_most_is_kept(server, talk, second_replies, kept, outcome):
    """The first answers the scrape, and the announce with junk: the second is asked as well."""
    requests = [Scrape([HASH]), announce()]
    dialogue, first, second = connect_both(server, talk, requests=requests)
    for request, reply_to in zip((first.receive(), first.receive()), (scrape_reply, junk_reply)):
        first.reply(reply_to(request))
    while not dialogue.failures:
        dialogue.read(0.3)
    assert dialogue.failures == [(first.address, "invalid_response")]
    assert not dialogue.conversation.finished
    for request, reply_to in zip((second.receive(), second.receive()), second_replies):
        second.reply(reply_to(request))
    while not dialogue.conversation.finished:
        dialogue.read(0.4)
    assert dialogue.conversation.answered
    assert dialogue.conversation.address == (first, second)[kept].address
    assert isinstance(dialogue.replies[0], ScrapeReply)
    assert isinstance(dialogue.replies[1], outcome)
    dialogue.check_that_all_is_closed()


def test_an_error_of_the_held_address_does_not_end_the_first(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address], timeout=BEFORE_RESENDS)
    connect = first.receive()
    dialogue.advance(0.25)
    first.reply(connect_reply(connect))
    dialogue.read(0.26)
    request = first.receive()
    assert request.action == ANNOUNCE
    second.reply(error_reply(second.receive(), b"come back later"))
    dialogue.read(0.27)
    assert not dialogue.conversation.finished
    first.reply(announce_reply(request))
    dialogue.read(0.28)
    assert dialogue.conversation.address == first.address
    assert dialogue.replies[0].seeders == 3


def test_an_error_reply_is_an_answer(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address])
    first.reply(connect_reply(first.receive()))
    dialogue.read(0.01)
    first.reply(error_reply(first.receive()))
    dialogue.read(0.02)
    assert dialogue.replies[0].message == "torrent not registered"
    assert dialogue.conversation.address == first.address
    dialogue.check_that_all_is_closed()
    assert second.idle


def test_all_addresses_silent(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address])
    while not dialogue.conversation.finished:
        seconds = dialogue.wake_at
        assert seconds <= 5
        dialogue.advance(seconds)
    assert seconds == 5
    assert dialogue.failures == [(first.address, "timeout"), (second.address, "timeout")]
    dialogue.check_that_all_is_closed()


@pytest.mark.parametrize("live", [0, 1])
def test_of_addresses_that_fall_silent_the_one_that_connected_is_kept(server, talk, live):
    trackers = [server(), server()]
    dialogue = talk([tracker.address for tracker in trackers])
    dialogue.advance(0.25)
    trackers[live].reply(connect_reply(trackers[live].receive()))
    dialogue.read(0.26)
    while not dialogue.conversation.finished:
        dialogue.advance(dialogue.wake_at)
    assert not dialogue.conversation.answered
    assert dialogue.conversation.address == trackers[live].address
    assert dialogue.conversation.exchange.connected_at == START + 0.26


@pytest.mark.parametrize("leader", [0, 1])
def test_of_addresses_that_fall_silent_the_one_that_was_asked_is_kept(server, talk, leader):
    trackers = [server(), server()]
    dialogue = talk([tracker.address for tracker in trackers])
    dialogue.advance(0.25)
    for seconds, number in ((0.26, leader), (0.27, 1 - leader)):
        trackers[number].reply(connect_reply(trackers[number].receive()))
        dialogue.read(seconds)
    # A caller who comes late: the patience with the leader and the time are over at once.
    dialogue.advance(5)
    assert dialogue.conversation.finished
    assert dialogue.conversation.address == trackers[leader].address
    assert "no reply to announce" in str(dialogue.replies[0])


def test_of_addresses_that_were_all_asked_the_first_to_fail_is_kept(server, talk):
    dialogue, first, second = connect_both(server, talk)
    while not dialogue.conversation.finished:
        dialogue.advance(dialogue.wake_at)
    assert dialogue.failures == [(first.address, "timeout"), (second.address, "timeout")]
    assert not dialogue.conversation.answered
    assert dialogue.conversation.address == first.address
    said = {str(failure) for _, failure in dialogue.conversation.race.failures}
    assert said == {"no reply to announce (sent 6 times)"}


@pytest.mark.parametrize("reply, kind, text", [
    (None, "timeout", "no reply to announce"),
    (b"short", "invalid_response", "the reply to announce has"),
])
def test_of_several_requests_that_fail_the_last_says_why(server, talk, reply, kind, text):
    tracker = server()
    dialogue = talk([tracker.address], [Scrape([HASH]), announce()])
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    tracker.receive()
    request = tracker.receive()
    if reply:
        tracker.reply(announce_reply(request)[:8] + reply)
        dialogue.read(0.2)
    while not dialogue.conversation.finished:
        dialogue.advance(dialogue.wake_at)
    ((_, failure),) = dialogue.conversation.race.failures
    assert failure.kind == kind
    assert text in str(failure)


def test_no_address_can_be_opened(talk):
    address = ("255.255.255.255", 6969)
    dialogue = talk([address, address])
    assert dialogue.failures == [(address, "unreachable")] * 2
    assert dialogue.conversation.exchange is None
    dialogue.check_that_all_is_closed()


def test_failures_are_in_the_order_in_which_they_came(server, talk, closed_udp_port):
    first, last = server(), server()
    dialogue = talk([first.address, closed_udp_port, last.address])
    connect = first.receive()
    dialogue.advance(0.25)
    dialogue.read(0.26)
    first.reply(connect_reply(connect)[:8])
    dialogue.read(0.27)
    last.reply(struct.pack(">ii", 7, last.receive().transaction_id))
    dialogue.read(0.28)
    assert dialogue.failures == [
        (closed_udp_port, "refused"),
        (first.address, "invalid_response"),
        (last.address, "invalid_response"),
    ]
    failure = dialogue.conversation.race.combined_failure()
    assert failure.kind == "invalid_response"
    for address, _ in dialogue.failures:
        assert "127.0.0.1:{}: ".format(address[1]) in str(failure)


def test_the_local_port_is_announced_by_default(server, talk):
    tracker = server()
    dialogue = talk([tracker.address], [announce(port=None)])
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    request = tracker.receive()
    assert struct.unpack_from(">H", request.datagram, 96) == (tracker.client[1],)


def test_peers_over_ipv6(server, talk):
    tracker = server(socket.AF_INET6, "::1")
    dialogue = talk([tracker.address])
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    peer = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + b"\x1a\xe1"
    tracker.reply(announce_reply(tracker.receive(), peer))
    dialogue.read(0.2)
    assert dialogue.conversation.exchange.ipv6
    assert dialogue.replies[0].peers == [("2001:db8::1", 6881)]


def test_a_flood_does_not_hold_the_caller(server, talk):
    tracker = server()
    dialogue = talk([tracker.address])
    connect = tracker.receive()
    for _ in range(100):
        tracker.reply(bytes(20))
    tracker.reply(connect_reply(connect))
    rounds = 0
    while tracker.idle:
        dialogue.read(0.1)
        rounds += 1
    assert rounds > 1
    assert tracker.receive().action == ANNOUNCE


def test_trace(server, talk):
    tracker = server()
    dialogue = talk([tracker.address])
    connect = tracker.receive()
    tracker.reply(bytes(20))
    dialogue.read(0.05)
    tracker.reply(connect_reply(connect))
    dialogue.read(0.1)
    tracker.receive()
    sent_connect, ignored, reply, sent_announce = dialogue.lines
    address = "127.0.0.1:{}".format(tracker.address[1])
    assert all(address in line for line in dialogue.lines)
    assert "connect" in sent_connect
    assert "ignored" in ignored
    assert "16 bytes" in reply
    assert "100.0 ms" in reply
    assert "announce" in sent_announce


def test_the_owner_is_told_before_a_socket_is_closed(server, talk):
    left = []

    def leave(conversation, sock, address, exchange, now):
        assert conversation is dialogue.conversation
        assert sock.getpeername() == address
        left.append((address, exchange.connection_id, now - START))

    dialogue, first, second = connect_both(server, talk, leave=leave)
    first.reply(announce_reply(first.receive())[:8])
    dialogue.read(0.5)
    assert left == [(first.address, 1, 0.5)]
    second.reply(announce_reply(second.receive()))
    dialogue.read(0.75)
    assert left == [(first.address, 1, 0.5), (second.address, 2, 0.75)]


@pytest.mark.parametrize("answered", [False, True])
def test_end_closes_all_and_leaves_the_failure(server, talk, answered):
    """What was answered by then is an answer."""
    dialogue, first, second = connect_both(server, talk, requests=[announce(), Scrape([HASH])])
    request = first.receive()
    if answered:
        first.reply(announce_reply(request))
        dialogue.read(0.5)
    interrupted = Failure("interrupted", "interrupted")
    dialogue.conversation.end(interrupted, START + 1)
    dialogue.check_that_all_is_closed()
    assert dialogue.conversation.answered == answered
    assert dialogue.conversation.address == first.address
    assert isinstance(dialogue.replies[0], AnnounceReply if answered else Failure)
    assert dialogue.replies[1] is interrupted
    if not answered:
        assert dialogue.failures == [
            (first.address, "interrupted"), (second.address, "interrupted")
        ]


def test_end_tries_no_further_address(server, talk):
    first, second = server(), server()
    dialogue = talk([first.address, second.address])
    dialogue.conversation.end(Failure("interrupted", "interrupted"), START + 0.1)
    dialogue.check_that_all_is_closed()
    assert dialogue.failures == [(first.address, "interrupted")]
    assert second.idle


# As the checker has it: an announce that was accepted is taken back


def of_the_checker(*requests):
    """Returns settings for a talk: with the requests as the checker's copy of the code has them."""
    requests = [getattr(checker, type(request).__name__)(*request) for request in requests]
    return dict(requests=requests, kind=checker.Conversation, leave=checker.leave_swarm)


def test_farewell_is_sent_once(server, talk):
    started = announce(event=2, left=1, peers_wanted=1)
    dialogue, first, second = connect_both(server, talk, **of_the_checker(started))
    request = first.receive()
    first.reply(announce_reply(request))
    dialogue.read(0.3)
    farewell = first.receive()
    assert farewell.transaction_id != request.transaction_id
    expected = announce(event=EVENT_STOPPED, left=1, peers_wanted=0)
    assert farewell.datagram == expected.encode(1, farewell.transaction_id)
    assert first.idle
    assert second.idle
    dialogue.check_that_all_is_closed()
    assert "stopped" in dialogue.lines[-1]


def test_farewell_of_a_check_that_is_cut_short(server, talk):
    """It was accepted, but the scrape beside it had no answer yet."""
    tracker = server()
    dialogue = talk([tracker.address], **of_the_checker(announce(), Scrape([HASH])))
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    tracker.reply(announce_reply(tracker.receive()))
    assert tracker.receive().action == SCRAPE
    dialogue.read(0.2)
    dialogue.conversation.end(checker.Failure("interrupted", "interrupted"), START + 0.3)
    farewell = tracker.receive()
    assert struct.unpack_from(">i", farewell.datagram, 80) == (EVENT_STOPPED,)
    dialogue.check_that_all_is_closed()


@pytest.mark.parametrize("request_of, reply_to", [
    (announce(), error_reply),
    (announce(), lambda request: announce_reply(request)[:8]),
    (Scrape([HASH]), scrape_reply),
], ids=["error", "invalid", "scrape"])
def test_no_farewell(server, talk, request_of, reply_to):
    tracker = server()
    dialogue = talk([tracker.address], **of_the_checker(request_of))
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0.1)
    tracker.reply(reply_to(tracker.receive()))
    dialogue.read(0.2)
    dialogue.check_that_all_is_closed()
    assert tracker.idle


@pytest.mark.parametrize("seconds, is_sent", [(59, True), (61, False)])
def test_no_farewell_with_a_connection_id_older_than_a_minute(server, talk, seconds, is_sent):
    tracker = server()
    requests = of_the_checker(announce(), Scrape([HASH]))
    dialogue = talk([tracker.address], timeout=200, **requests)
    tracker.reply(connect_reply(tracker.receive()))
    dialogue.read(0)
    tracker.reply(announce_reply(tracker.receive()))
    scrape = tracker.receive()
    dialogue.read(0.5)
    while dialogue.wake_at < seconds:
        dialogue.advance(dialogue.wake_at)
        assert tracker.receive() == scrape
    tracker.reply(scrape_reply(scrape))
    dialogue.read(seconds)
    dialogue.check_that_all_is_closed()
    assert tracker.idle is not is_sent


# Scrapes that were sent in parts


def merged(*counts_and_replies):
    requests = [Scrape([HASH] * count) for count, _ in counts_and_replies]
    return client.merge_scrapes(requests, [reply for _, reply in counts_and_replies])


def stats_of(count, number=0):
    return [(number, index, 0) for index in range(count)]


def test_merging_scrapes():
    parts = [stats_of(74, 1), stats_of(74, 2), stats_of(52, 3)]
    replies = [(len(part), ScrapeReply(9, part)) for part in parts]
    assert merged(*replies) == parts[0] + parts[1] + parts[2]


def test_merging_goes_up_to_the_first_short_reply():
    parts = [(74, ScrapeReply(1, stats_of(74, 1))), (74, ScrapeReply(2, stats_of(70, 2)))]
    expected = stats_of(74, 1) + stats_of(70, 2)
    assert merged(*parts, (52, ScrapeReply(3, stats_of(52, 3)))) == expected
    # What would not be shown cannot spoil what is.
    assert merged(*parts, (52, Failure("timeout", "no reply"))) == expected
    assert merged((74, ScrapeReply(1, [])), (1, ScrapeReply(2, stats_of(1)))) == []


def test_merging_raises_the_failure_of_a_part():
    with pytest.raises(Failure) as caught:
        merged((74, ScrapeReply(1, stats_of(74))), (1, Failure("timeout", "no reply")))
    assert caught.value.kind == "timeout"
