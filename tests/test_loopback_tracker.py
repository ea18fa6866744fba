# SPDX-License-Identifier: LGPL-3.0-only
"""The loopback tracker itself, asked through plain sockets and urllib, not by our own clients."""
import hashlib
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
import urllib.error
import urllib.request
import zlib
from urllib.parse import quote

import bencode
import pytest
import trustme
from helpers import ROOT, SOON, run_command, run_script, wait_until
from loopback_faults import HTTP_FAULTS, WS_FAULTS
from loopback_tracker import (
    LoopbackTracker, has_ipv6, join_address, made_up_counts, made_up_info_hash
)

SCRIPT = os.path.join("tests", "loopback_tracker.py")
HASH = bytes(range(100, 120))
OTHER_HASH = bytes(range(200, 220))
PEER_ID = b"-LT0001-abcdefghijkl"
OTHER_PEER_ID = b"-LT0001-mnopqrstuvwx"
FINE_FAULTS = [name for name, fault in HTTP_FAULTS.items() if fault.fine]
FINE_WS_FAULTS = [name for name, fault in WS_FAULTS.items() if fault.fine]
TEXT_HASH, OTHER_TEXT_HASH = HASH.decode("latin-1"), OTHER_HASH.decode("latin-1")
# Of RFC 6455, where they stand as an example.
WS_KEY, WS_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 here: give lo the address ::1")


class UdpClient:
    """A connected UDP socket, so that only replies from the address asked arrive."""

    def __init__(self, tracker, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.settimeout(5)
        self.socket.connect((host, tracker.udp_port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def exchange(self, datagram):
        self.socket.send(datagram)
        return self.socket.recv(65536)

    def is_silent(self, seconds=0.2):
        """Whether nothing arrives for so many seconds."""
        self.socket.settimeout(seconds)
        try:
            self.socket.recv(65536)
        except socket.timeout:
            return True
        finally:
            self.socket.settimeout(5)
        return False

    def connect(self):
        reply = self.exchange(connect_request())
        assert reply[:8] == struct.pack(">ii", 0, 7) and len(reply) == 16
        return reply[8:]

    def announce(self, connection_id=None, **fields):
        """Return (interval, leechers, seeders, compact peers)."""
        connection_id = connection_id or self.connect()
        reply = self.exchange(announce_request(connection_id, **fields))
        assert reply[:8] == struct.pack(">ii", 1, 8), reply
        return struct.unpack(">3i", reply[8:20]) + (reply[20:],)

    def scrape(self, *info_hashes):
        """Return the numbers of all entries: seeders, completed, leechers, and so on."""
        reply = self.exchange(scrape_request(self.connect(), *info_hashes))
        assert reply[:8] == struct.pack(">ii", 2, 9), reply
        return struct.unpack(">{}i".format(3 * len(info_hashes)), reply[8:])


class WsClient:
    """A connection to the WebSocket tracker, upgraded by hand."""

    def __init__(self, tracker, path="/", context=None, version=13):
        self.socket = socket.create_connection(("127.0.0.1", tracker.http_port), timeout=5)
        if context:
            self.socket = context.wrap_socket(self.socket, server_hostname="localhost")
        self.stream = self.socket.makefile("rb")
        self.socket.sendall(ws_upgrade(path, version).encode())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stream.close()
        self.socket.close()

    def read_head(self):
        """Return the status line of the upgrade and its headers, their names in lower case."""
        lines = iter(lambda: self.stream.readline().decode("latin-1").rstrip("\r\n"), "")
        status = next(lines)
        return status, {line.split(": ")[0].lower(): line.split(": ")[1] for line in lines}

    def upgrade(self):
        status, headers = self.read_head()
        if status.startswith("HTTP/1.1 103"):
            status, headers = self.read_head()
        assert status == "HTTP/1.1 101 Switching Protocols"
        assert headers["sec-websocket-accept"] == WS_ACCEPT
        return self

    def send_frame(self, payload, first=0x81):
        self.socket.sendall(client_frame(payload, first))

    def send(self, **pairs):
        self.send_frame(json.dumps(pairs).encode())

    def read_frame(self):
        """Return (first byte, payload) of a frame, b"" for both at the end of the stream."""
        head = self.stream.read(2)
        if not head:
            return b"", b""
        length = head[1]
        if length > 125:
            length = int.from_bytes(self.stream.read(2 if length == 126 else 8), "big")
        return head[:1], self.stream.read(length)

    def read_message(self):
        """Return the next message; a ping is answered, fragments are put together."""
        message = b""
        while True:
            first, payload = self.read_frame()
            assert first, "the connection has ended"
            opcode = first[0] & 15
            if opcode == 9:
                self.send_frame(payload, 0x8a)
            elif opcode < 8:
                message += payload
                if first[0] & 0x80:
                    return message

    def ask(self, **pairs):
        self.send(**pairs)
        return json.loads(self.read_message().decode())

    def announce(self, **changed):
        return self.ask(**ws_announce(**changed))

    def scrape(self, *info_hashes):
        """Return the files of a scrape of some info hashes, texts."""
        answer = self.ask(action="scrape", info_hash=info_hashes)
        assert answer["action"] == "scrape"
        return answer["files"]


def ws_upgrade(path, version=13):
    return (
        "GET {} HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n"
        "Sec-WebSocket-Key: {}\r\nSec-WebSocket-Version: {}\r\n\r\n"
    ).format(path, WS_KEY, version)


def client_frame(payload, first=0x81, mask=b"\x01\x02\x03\x04"):
    long = len(payload) > 125
    size = b"\xfe" + struct.pack(">H", len(payload)) if long else bytes([0x80 | len(payload)])
    masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return bytes([first]) + size + mask + masked


def ws_announce(**changed):
    pairs = {
        "action": "announce", "info_hash": TEXT_HASH, "peer_id": PEER_ID.decode(), "left": 0,
        "uploaded": 0, "downloaded": 0, "event": "started", "numwant": 0, "offers": [],
    }
    pairs.update(changed)
    return {name: value for name, value in pairs.items() if value is not None}


def ws_counts(seeders, completed, leechers):
    return {"complete": seeders, "incomplete": leechers, "downloaded": completed}


def connect_request(transaction_id=7):
    return struct.pack(">qii", 0x41727101980, 0, transaction_id)


def announce_request(
    connection_id,
    transaction_id=8,
    info_hash=HASH,
    peer_id=PEER_ID,
    left=0,
    event=2,
    num_want=-1,
    port=6881,
    options=b"",
):
    return (
        connection_id
        + struct.pack(">ii", 1, transaction_id)
        + info_hash
        + peer_id
        + struct.pack(">qqqi", 10, left, 20, event)
        + struct.pack(">4siiH", bytes([1, 2, 3, 4]), -5, num_want, port)
        + options
    )


def scrape_request(connection_id, *info_hashes):
    return connection_id + struct.pack(">ii", 2, 9) + b"".join(info_hashes)


def fetch(url, **kwargs):
    """Return a urllib response; for an error status that is an HTTPError."""
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(**kwargs)
    )
    try:
        return opener.open(url, timeout=5)
    except urllib.error.HTTPError as error:
        return error


def fetch_answer(url, **kwargs):
    with fetch(url, **kwargs) as response:
        return bencode.decode(response.read().rstrip(b"\r\n"))


def query(path="/announce", **changed):
    """Return path and query of an announce with these parameters changed, None to leave one out."""
    parameters = {"info_hash": HASH, "peer_id": PEER_ID, "port": "6881", "left": "0"}
    parameters.update(changed)
    pairs = [(name, value) for name, value in parameters.items() if value is not None]
    return path + "?" + "&".join("{}={}".format(name, quote(value)) for name, value in pairs)


def scrape_query(*info_hashes, path="/scrape"):
    return path + "?" + "&".join("info_hash=" + quote(info_hash) for info_hash in info_hashes)


def compact(host, port):
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.inet_pton(family, host) + struct.pack(">H", port)


def counts(seeders, completed, leechers):
    return {b"complete": seeders, b"downloaded": completed, b"incomplete": leechers}


def open_request(port, path):
    """Return a socket that has sent a request and waits for the response."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=5)
    request = "GET {} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n".format(path, port)
    connection.sendall(request.encode())
    return connection


# Swarms over UDP


def test_an_announce_over_udp_changes_what_scrape_says(tracker):
    with UdpClient(tracker) as client:
        assert client.scrape(HASH) == (0, 0, 0)
        assert client.announce(left=5, event=2) == (120, 1, 0, b"")
        assert client.scrape(HASH, OTHER_HASH) == (0, 0, 1, 0, 0, 0)
        assert client.announce(left=0, event=1) == (120, 0, 1, b"")
        assert client.scrape(OTHER_HASH, HASH) == (0, 0, 0, 1, 1, 0)


def test_a_peer_that_says_completed_again_is_counted_once(tracker):
    with UdpClient(tracker) as client:
        client.announce(event=1)
        client.announce(event=1)
        assert client.scrape(HASH) == (1, 1, 0)


def test_a_stopped_peer_leaves_the_swarm(tracker):
    with UdpClient(tracker) as client:
        client.announce()
        client.announce(peer_id=OTHER_PEER_ID, left=1)
        assert client.announce(event=3) == (120, 1, 0, b"")
        assert client.scrape(HASH) == (0, 0, 1)


def test_udp_gives_the_other_peers(tracker):
    tracker.add_peer(HASH, "198.51.100.7", 1000)
    tracker.add_peer(HASH, "2001:db8::7", 1001)
    with UdpClient(tracker) as client:
        client.announce(peer_id=OTHER_PEER_ID, port=1002)
        peers = compact("198.51.100.7", 1000) + compact("127.0.0.1", 1002)
        assert client.announce() == (120, 0, 4, peers)


@pytest.mark.parametrize("wanted, given", [(-1, 50), (0, 0), (1, 1), (70, 60)])
def test_udp_gives_as_many_peers_as_wanted(tracker, wanted, given):
    for number in range(60):
        tracker.add_peer(HASH, "198.51.100.7", 1000 + number, left=1)
    with UdpClient(tracker) as client:
        _, leechers, _, peers = client.announce(num_want=wanted)
    assert (leechers, len(peers)) == (60, 6 * given)


# The UDP protocol


def test_a_wrong_connection_id_is_an_error(tracker):
    with UdpClient(tracker) as client, UdpClient(tracker) as other:
        connection_id = client.connect()
        assert connection_id != other.connect()
        reply = other.exchange(announce_request(connection_id))
        assert reply == struct.pack(">ii", 3, 8) + b"Connection ID mismatch"
        reply = other.exchange(scrape_request(bytes(8), HASH))
        assert reply == struct.pack(">ii", 3, 9) + b"Connection ID mismatch"
        # A connect that was sent twice leaves the first id good.
        client.connect()
        client.announce(connection_id)
    assert tracker.swarm(HASH) == (1, 0, 0)


def test_a_udp_request_is_recorded(tracker):
    options = b"\x01\x02\x05/anno\x02\x04unce\x09\x02??\x02\x04?a=b\x00\x02\x01x"
    with UdpClient(tracker) as client:
        connection_id = client.connect()
        client.announce(connection_id, left=30, options=options)
        client.scrape(HASH, OTHER_HASH)
        address = client.socket.getsockname()
    assert [record.action for record in tracker.requests] == [
        "connect", "announce", "connect", "scrape",
    ]
    announce = tracker.requests[1]
    assert announce.protocol == "udp"
    assert announce.address == address
    assert announce.fields.pop("datagram").endswith(options)
    assert announce.fields == {
        "connection_id": struct.unpack(">q", connection_id)[0],
        "transaction_id": 8,
        "info_hash": HASH,
        "info_hashes": [HASH],
        "peer_id": PEER_ID,
        "downloaded": 10,
        "left": 30,
        "uploaded": 20,
        "event": "started",
        "ip_address": "1.2.3.4",
        "key": -5,
        "num_want": -1,
        "port": 6881,
        "url_data": b"/announce?a=b",
        "local_address": "127.0.0.1",
    }
    assert tracker.requests[3].fields["info_hashes"] == [HASH, OTHER_HASH]


def test_a_wildcard_tracker_answers_from_the_address_asked():
    with LoopbackTracker(hosts=["0.0.0.0"]) as tracker:
        for host in ("127.0.0.77", "127.0.0.78", "127.0.0.1"):
            with UdpClient(tracker, host) as client:
                client.announce()
            assert tracker.requests[-1].fields["local_address"] == host
        assert tracker.udp_url == "udp://127.0.0.1:{}".format(tracker.udp_port)


@needs_ipv6
def test_an_ipv6_wildcard_tracker_answers():
    with LoopbackTracker(hosts=["0.0.0.0", "::"]) as tracker:
        with UdpClient(tracker, "::1") as client:
            client.announce()
        assert tracker.requests[-1].fields["local_address"] == "::1"
        with UdpClient(tracker, "127.0.0.9") as client:
            client.announce()


def test_a_wildcard_tracker_has_faults_for_single_addresses():
    with LoopbackTracker(hosts=["0.0.0.0"]) as tracker:
        tracker.udp_faults["127.0.0.2"] = "error-on-connect"
        with UdpClient(tracker, "127.0.0.2") as client:
            assert client.exchange(connect_request())[:4] == struct.pack(">i", 3)
        with UdpClient(tracker, "127.0.0.3") as client:
            client.announce()


# HTTP


def test_udp_and_http_share_swarms(tracker):
    with UdpClient(tracker) as client:
        client.announce(port=1000, left=1)
        answer = fetch_answer(
            tracker.http_url + query(peer_id=OTHER_PEER_ID, event="completed", port="1001")
        )
        assert answer == {
            b"complete": 1,
            b"incomplete": 1,
            b"interval": 120,
            b"min interval": 120,
            b"peers": [{b"ip": b"127.0.0.1", b"peer id": PEER_ID, b"port": 1000}],
        }
        assert client.scrape(HASH) == (1, 1, 1)
        assert client.announce(left=1)[3] == compact("127.0.0.1", 1001)
    assert fetch_answer(tracker.http_url + scrape_query(HASH, OTHER_HASH)) == {
        b"files": {HASH: counts(1, 1, 1), OTHER_HASH: counts(0, 0, 0)}
    }


def test_an_http_peer_that_stopped_leaves(tracker):
    fetch_answer(tracker.http_url + query())
    answer = fetch_answer(tracker.http_url + query(event="stopped"))
    assert (answer[b"complete"], answer[b"peers"]) == (0, [])
    assert tracker.swarm(HASH) == (0, 0, 0)


def test_http_gives_peers_of_both_families(tracker):
    tracker.add_peer(HASH, "198.51.100.7", 1000, peer_id=OTHER_PEER_ID)
    tracker.add_peer(HASH, "2001:db8::7", 1001, left=1)
    answer = fetch_answer(tracker.http_url + query(compact="1"))
    assert answer[b"peers"] == compact("198.51.100.7", 1000)
    assert answer[b"peers6"] == compact("2001:db8::7", 1001)
    assert (answer[b"complete"], answer[b"incomplete"]) == (2, 1)
    answer = fetch_answer(tracker.http_url + query(compact="0"))
    assert [peer[b"ip"] for peer in answer[b"peers"]] == [b"198.51.100.7", b"2001:db8::7"]
    assert answer[b"peers"][0][b"peer id"] == OTHER_PEER_ID
    assert b"peers6" not in answer


@pytest.mark.parametrize("wanted, given", [(None, 50), ("0", 0), ("2", 2)])
def test_http_gives_as_many_peers_as_wanted(tracker, wanted, given):
    for number in range(60):
        tracker.add_peer(HASH, "198.51.100.7", 1000 + number)
    assert len(fetch_answer(tracker.http_url + query(numwant=wanted))[b"peers"]) == given


@needs_ipv6
def test_ipv6_and_ipv4_peers_meet():
    with LoopbackTracker(hosts=["127.0.0.1", "::1"]) as tracker:
        with UdpClient(tracker, "::1") as client:
            client.announce(port=1000)
            assert client.announce(peer_id=OTHER_PEER_ID) == (120, 0, 2, compact("::1", 1000))
        with UdpClient(tracker) as client:
            assert client.announce(peer_id=bytes(20)) == (120, 0, 3, b"")
        url = "http://" + join_address("::1", tracker.http_port)
        answer = fetch_answer(url + query(compact="1", peer_id=bytes(20)))
        assert answer[b"peers6"] == compact("::1", 1000) + compact("::1", 6881)
        # The peer that was there over IPv4 is there over IPv6 too, but is not its own peer.
        assert (answer[b"complete"], answer[b"peers"]) == (4, b"")


def test_a_full_scrape_has_all_swarms(tracker):
    tracker.add_peer(HASH, "198.51.100.7", 1000)
    tracker.add_peer(OTHER_HASH, "198.51.100.7", 1000, left=1)
    assert fetch_answer(tracker.http_url + "/scrape") == {
        b"files": {HASH: counts(1, 0, 0), OTHER_HASH: counts(0, 0, 1)}
    }


@pytest.mark.parametrize(
    "changed, reason",
    [
        ({"info_hash": None}, b"info_hash is not 20 bytes"),
        ({"info_hash": b"short"}, b"info_hash is not 20 bytes"),
        ({"peer_id": None}, b"peer_id is not 20 bytes"),
        ({"port": None}, b"port is not a number"),
        ({"port": "70000"}, b"port is out of range"),
        ({"left": "much"}, b"left is not a number"),
    ],
)
def test_a_bad_announce_is_a_failure(tracker, changed, reason):
    answer = fetch_answer(tracker.http_url + query(**changed))
    assert answer == {b"failure reason": reason}
    assert tracker.swarm(HASH) == (0, 0, 0)


def test_the_health_check(tracker):
    with fetch(tracker.health_url) as response:
        assert response.getcode() == 200
        assert json.loads(response.read().decode()) == {"status": "Ok"}
    with fetch(tracker.health_url + "/other") as response:
        assert response.getcode() == 404
    assert [record.protocol for record in tracker.requests] == ["health", "health"]
    assert len({tracker.http_port, tracker.health_port}) == 2


def test_https():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with LoopbackTracker(tls=server) as tracker:
        assert tracker.http_url == "https://localhost:{}".format(tracker.http_port)
        assert b"peers" in fetch_answer(tracker.http_url + query(), context=client)
        with fetch(tracker.health_url, context=client) as response:
            assert response.getcode() == 200


# WebSocket


def test_udp_and_http_and_websocket_share_counts(tracker):
    with WsClient(tracker).upgrade() as ws, UdpClient(tracker) as client:
        assert ws.announce(left=5) == {
            "complete": 0, "incomplete": 1, "action": "announce", "interval": 120,
            "info_hash": TEXT_HASH,
        }
        assert client.announce(left=0, event=1) == (120, 1, 1, b"")
        assert ws.ask(action="scrape", info_hash=TEXT_HASH) == {
            "action": "scrape",
            "files": {TEXT_HASH: ws_counts(1, 1, 1)},
            "flags": {"min_request_interval": 600},
        }
        answer = fetch_answer(tracker.http_url + query(peer_id=OTHER_PEER_ID, compact="1"))
        assert (answer[b"complete"], answer[b"incomplete"]) == (2, 1)
        # The peer over WebSocket is given to nobody.
        assert answer[b"peers"] == compact("127.0.0.1", 6881)
        assert client.scrape(HASH) == (2, 1, 1)


def test_a_scrape_over_websocket_may_be_of_several_or_of_all(tracker):
    tracker.add_peer(OTHER_HASH, "198.51.100.7", 1000)
    with WsClient(tracker).upgrade() as ws:
        assert ws.scrape(TEXT_HASH, OTHER_TEXT_HASH, TEXT_HASH) == {
            TEXT_HASH: ws_counts(0, 0, 0), OTHER_TEXT_HASH: ws_counts(1, 0, 0),
        }
        assert ws.ask(action="scrape")["files"] == {OTHER_TEXT_HASH: ws_counts(1, 0, 0)}
        assert ws.scrape() == {}


def test_a_peer_over_websocket_leaves_when_it_stops_or_its_connection_ends(tracker):
    with WsClient(tracker).upgrade() as ws, WsClient(tracker).upgrade() as other:
        ws.announce()
        ws.announce(info_hash=OTHER_TEXT_HASH)
        other.announce(peer_id=OTHER_PEER_ID.decode())
        assert ws.announce(event="stopped")["complete"] == 1
        assert tracker.swarm(HASH) == (1, 0, 0)
        ws.announce()
        assert tracker.swarm(HASH) == (2, 0, 0)
        ws.send_frame(struct.pack(">H", 1000) + b"bye", 0x88)
        assert ws.read_frame() == (b"\x88", struct.pack(">H", 1000) + b"bye")
        assert ws.read_frame() == (b"", b"")
        wait_until(lambda: tracker.swarm(HASH) == (1, 0, 0))
        assert tracker.swarm(OTHER_HASH) == (0, 0, 0)
    wait_until(lambda: tracker.swarm(HASH) == (0, 0, 0))
    wait_until(lambda: tracker.open_connections == 0)
    closes = [record.fields["code"] for record in tracker.requests if record.action == "close"]
    assert closes == [1000, 1006]


def test_what_arrives_over_websocket_is_recorded(tracker):
    with WsClient(tracker, "/announce?passkey=1").upgrade() as ws:
        ws.announce(left=7, event=None)
        ws.scrape(TEXT_HASH, OTHER_TEXT_HASH)
        ws.send_frame(b"are you there?", 0x89)
        assert ws.read_frame() == (b"\x8a", b"are you there?")
        ws.send_frame(b"unasked", 0x8a)
        ws.send_frame(b"hello")
        ws.read_message()
        ws.send_frame(b"", 0x88)
        assert ws.read_frame() == (b"\x88", b"")
        address = ws.socket.getsockname()
    upgrade, announce, scrape, ping, pong, other, close = tracker.requests
    assert {record.protocol for record in tracker.requests} == {"ws"}
    assert {record.address for record in tracker.requests} == {address}
    assert (upgrade.action, upgrade.fields["target"]) == ("upgrade", "/announce?passkey=1")
    assert ("Sec-WebSocket-Key", WS_KEY) in upgrade.fields["headers"]
    sent = ws_announce(left=7, event=None, info_hash=HASH, peer_id=PEER_ID)
    assert announce.action == "announce"
    assert json.loads(announce.fields.pop("message").decode())["info_hash"] == TEXT_HASH
    assert announce.fields == dict(sent, info_hashes=[HASH], path="/announce")
    assert (scrape.action, scrape.fields["info_hashes"]) == ("scrape", [HASH, OTHER_HASH])
    assert (ping.action, ping.fields["payload"]) == ("ping", b"are you there?")
    assert (pong.action, pong.fields["payload"]) == ("pong", b"unasked")
    assert (other.action, other.fields["message"]) == ("other", b"hello")
    assert (close.action, close.fields["code"]) == ("close", 1005)


@pytest.mark.parametrize(
    "message, reason",
    [
        (ws_announce(info_hash=None), "invalid info_hash"),
        (ws_announce(info_hash=HASH.hex()), "invalid info_hash"),
        (ws_announce(info_hash=TEXT_HASH[1:] + "\u20ac"), "invalid info_hash"),
        (ws_announce(peer_id="short"), "invalid peer_id"),
        (ws_announce(event="paused"), "invalid event"),
        (ws_announce(left="0"), "invalid left"),
        (ws_announce(numwant=-1), "invalid numwant"),
        ({"action": "scrape", "info_hash": [TEXT_HASH, "short"]}, "invalid info_hash"),
        ({"action": "news"}, "invalid action in WS request: news"),
        ([], "the message is not a JSON object"),
    ],
)
def test_a_bad_message_is_a_failure_and_the_next_is_answered(tracker, message, reason):
    with WsClient(tracker).upgrade() as ws:
        ws.send_frame(json.dumps(message).encode())
        answer = json.loads(ws.read_message().decode())
        assert answer["failure reason"] == reason
        # These say what they answer only where all but the event is understood.
        assert ("action" in answer, "info_hash" in answer) == (reason == "invalid event",) * 2
        assert tracker.swarm(HASH) == (0, 0, 0)
        assert ws.announce()["complete"] == 1


def test_a_message_may_come_in_fragments_and_as_binary(tracker):
    message = json.dumps(ws_announce()).encode()
    with WsClient(tracker).upgrade() as ws:
        ws.send_frame(message[:9], 0x02)
        ws.send_frame(b"between", 0x89)
        assert ws.read_frame() == (b"\x8a", b"between")
        ws.send_frame(message[9:], 0x80)
        assert json.loads(ws.read_message().decode())["complete"] == 1


@pytest.mark.parametrize(
    "frame, code",
    [
        (b"\x81\x05hello", 1002),
        (b"\xc1\x80\0\0\0\0", 1002),
        (b"\x83\x80\0\0\0\0", 1002),
        (b"\x80\x80\0\0\0\0", 1002),
        (b"\x09\x80\0\0\0\0", 1002),
        (b"\x89\xfe\0\x7e", 1002),
        (b"\x01\x81\0\0\0\0{\x81\x81\0\0\0\0{", 1002),
        (b"\x88\x81\0\0\0\0\x03", 1002),
        (b"\x81\x81\0\0\0\0\xff", 1007),
        (b"\x81\xff\x80\0\0\0\0\0\0\0", 1009),
    ],
)
def test_what_no_client_may_send_closes_the_connection(tracker, frame, code):
    with WsClient(tracker).upgrade() as ws:
        ws.socket.sendall(frame)
        assert ws.read_frame() == (b"\x88", struct.pack(">H", code))
        assert ws.read_frame() == (b"", b"")
    assert tracker.requests[1].action == "broken"


def test_a_bad_upgrade_is_a_400(tracker):
    with WsClient(tracker, version=12) as ws:
        status, headers = ws.read_head()
        assert status == "HTTP/1.1 400 Bad Request"
        assert headers["sec-websocket-version"] == "13, 8"
        assert ws.stream.read() == b"Missing or invalid Sec-WebSocket-Version header"


def test_wss():
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    with LoopbackTracker(tls=server) as tracker:
        assert tracker.ws_url == "wss://localhost:{}/".format(tracker.http_port)
        with WsClient(tracker, context=client).upgrade() as ws:
            assert ws.announce()["complete"] == 1


# Counts that no peer made


def test_counts_that_are_set_are_what_scrape_gives(tracker):
    tracker.add_peer(HASH, "198.51.100.7", 1000)
    tracker.set_counts(HASH, 7, 8, 9)
    tracker.make_up_torrents(300)
    made_up = [made_up_info_hash(number) for number in range(300)]
    assert made_up[12] == hashlib.sha1(b"12").digest()
    numbers = [made_up_counts(info_hash) for info_hash in made_up]
    assert 100 < numbers.count((0, 0, 0)) < 200 and max(numbers).seeders > 500
    with UdpClient(tracker) as client, WsClient(tracker).upgrade() as ws:
        assert client.scrape(HASH, *made_up[:73]) == (7, 8, 9) + sum(numbers[:73], ())
        files = ws.scrape(TEXT_HASH, made_up[299].decode("latin-1"))
        assert list(files.values()) == [ws_counts(7, 8, 9), ws_counts(*numbers[299])]
    files = fetch_answer(tracker.http_url + "/scrape")[b"files"]
    assert len(files) == 301 and files[HASH] == counts(7, 8, 9)


# Life


def test_a_tracker_can_come_back_on_its_ports(tracker):
    ports = tracker.udp_port, tracker.http_port, tracker.health_port
    fetch_answer(tracker.http_url + query())
    tracker.stop()
    with pytest.raises(urllib.error.URLError):
        fetch(tracker.http_url + query())
    tracker.start()
    assert (tracker.udp_port, tracker.http_port, tracker.health_port) == ports
    assert fetch_answer(tracker.http_url + query())[b"complete"] == 1


# The event loop's own debug messages on slow steps are of no interest here.
ALL_AT_ONCE = """
import gc, logging, socket, sys
sys.path.insert(0, {tests!r})
from loopback_tracker import HTTP_FAULTS, LoopbackTracker, WS_FAULTS
logging.getLogger('asyncio').setLevel(logging.ERROR)
with LoopbackTracker() as tracker:
    connections = []
    for name in HTTP_FAULTS:
        connection = socket.create_connection(('127.0.0.1', tracker.http_port))
        request = 'GET /fault/{{}}/announce HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n'.format(name)
        connection.sendall(request.encode())
        connections.append(connection)
    for name in WS_FAULTS:
        connection = socket.create_connection(('127.0.0.1', tracker.http_port))
        connection.sendall({upgrade!r}.format(name).encode() + {frames!r})
        connections.append(connection)
    connections.append(socket.create_connection(('127.0.0.1', tracker.http_port)))
    tracker.wait_for(lambda record: name in record.fields['path'])
    tracker.wait_for(lambda record: record.action == 'scrape' and record.protocol == 'ws')
for connection in connections:
    connection.close()
gc.collect()
"""


def test_a_stop_amid_all_faults_leaves_nothing_open(python):
    frames = client_frame(json.dumps(ws_announce()).encode())
    frames += client_frame(json.dumps({"action": "scrape", "info_hash": TEXT_HASH}).encode())
    upgrade = ws_upgrade("/fault/{}/")
    source = ALL_AT_ONCE.format(
        tests=os.path.join(ROOT, "tests"), upgrade=upgrade, frames=frames
    )
    result = run_command([python, "-W", "error", "-X", "dev", "-c", source])
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


# Faults


@pytest.mark.parametrize("name", ["udp_fault", "http_fault", "health_fault", "ws_fault"])
def test_an_unknown_fault_is_an_error(name):
    with pytest.raises(ValueError, match="unknown fault 'weird'"):
        LoopbackTracker(**{name: "weird"})


def ask(client, action, connection_id):
    """Send the request with the transaction id 7; return the first reply."""
    requests = {
        "connect": connect_request(),
        "announce": announce_request(connection_id, transaction_id=7),
        "scrape": connection_id + struct.pack(">ii", 2, 7) + HASH + OTHER_HASH,
    }
    return client.exchange(requests[action])


def error_reply(message):
    return struct.pack(">ii", 3, 7) + message


@pytest.mark.parametrize(
    "fault, actions, change",
    [
        ("junk", "connect announce scrape", lambda right: b"HTTP/1.1 400 Bad Request\r\n"),
        ("empty-datagram", "connect announce scrape", lambda right: b""),
        ("short", "connect announce scrape", lambda right: right[:7]),
        ("huge-datagram", "connect announce scrape", lambda right: right.ljust(65507, b"\0")),
        ("wrong-transaction-id", "connect announce scrape",
         lambda right: right[:4] + struct.pack(">i", 8) + right[8:]),
        ("unknown-action", "connect announce scrape", lambda right: b"\0\0\0\7" + right[4:]),
        ("wrong-action", "connect scrape", lambda right: b"\0\0\0\1" + right[4:]),
        ("connect-short", "connect", lambda right: right[:12]),
        ("error-on-connect", "connect", lambda right: error_reply(b"come back later")),
        ("eight-bytes", "announce", lambda right: struct.pack(">ii", 1, 7)),
        ("announce-short", "announce", lambda right: right[:16]),
        ("negative-numbers", "announce", lambda right: right[:8] + struct.pack(">3i", -1, -2, -3)),
        ("error-on-announce", "announce", lambda right: error_reply(b"torrent not registered")),
        ("error-reply", "announce scrape", lambda right: error_reply(b"torrent not registered")),
        ("error-empty", "announce scrape", lambda right: error_reply(b"")),
        ("scrape-empty", "scrape", lambda right: right[:8]),
        ("scrape-short", "scrape", lambda right: right[:20]),
        ("scrape-uneven", "scrape", lambda right: right[:27]),
        ("scrape-extra", "scrape", lambda right: right + bytes(36)),
        ("error-on-scrape", "scrape", lambda right: error_reply(b"scrape is not allowed")),
        ("scrape-sorted", "scrape", lambda right: right),
        ("scrape-reversed", "scrape", lambda right: right[:8] + right[20:] + right[8:20]),
        ("scrape-sorted-distinct", "scrape", lambda right: right),
        ("scrape-first-50", "scrape", lambda right: right),
        ("scrape-known", "scrape", lambda right: right[:20]),
        ("scrape-one-extra", "scrape", lambda right: right + bytes(12)),
        ("scrape-delayed", "scrape", lambda right: right),
        ("scrape-overtaking", "scrape", lambda right: right),
    ],
)
def test_udp_faults_that_change_a_reply(tracker, fault, actions, change):
    with UdpClient(tracker) as client:
        connection_id = client.connect()
        client.announce(connection_id)
        for action in ("connect", "announce", "scrape"):
            tracker.udp_fault = None
            right = ask(client, action, connection_id)
            tracker.udp_fault = fault
            if action in actions.split():
                assert ask(client, action, connection_id) == change(right)
            elif fault != "wrong-action":
                assert ask(client, action, connection_id) == right


@pytest.mark.parametrize(
    "fault, sent, received",
    [
        ("silent", [1, 2], []),
        ("silent-connect", [1, 2], []),
        ("lose-first", [1, 2], [2]),
        ("lose-first-three", [1, 2, 3, 4], [4]),
        ("late", [1, 2], [1]),
        ("duplicate", [7], [7, 7]),
        ("duplicate-late", [7], [7, 7]),
        ("wrong-transaction-id-first", [7], [8, 7]),
        ("wrong-transaction-id-flood", [7], list(range(8, 208)) + [7]),
        ("other-port-first", [7], [7]),
    ],
)
def test_udp_faults_that_change_how_often_a_request_is_answered(tracker, fault, sent, received):
    tracker.udp_fault = fault
    with UdpClient(tracker) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        for transaction_id in sent:
            client.socket.send(connect_request(transaction_id))
        replies = [client.socket.recv(100) for _ in received]
        wait_until(lambda: len(tracker.requests) == len(sent))
        assert client.is_silent()
    assert [struct.unpack(">i", reply[4:8])[0] for reply in replies] == received


# 74 of them, the first one twice, in no order.
SEVENTY_FOUR = [made_up_info_hash(number) for number in range(73)] + [made_up_info_hash(0)]


@pytest.mark.parametrize(
    "fault, order",
    [
        ("scrape-sorted", sorted),
        ("scrape-reversed", lambda asked: asked[::-1]),
        ("scrape-sorted-distinct", lambda asked: sorted(set(asked))),
        ("scrape-first-50", lambda asked: asked[:50]),
        ("scrape-first-70", lambda asked: asked[:70]),
    ],
)
def test_orders_of_a_scrape_over_udp(tracker, fault, order):
    for number, info_hash in enumerate(SEVENTY_FOUR):
        tracker.set_counts(info_hash, number, 0, 0)
    tracker.udp_fault = fault
    with UdpClient(tracker) as client:
        reply = client.exchange(scrape_request(client.connect(), *SEVENTY_FOUR))
    assert seeders_in(reply) == [tracker.counts[asked].seeders for asked in order(SEVENTY_FOUR)]


def seeders_in(reply):
    return [numbers[0] for numbers in struct.iter_unpack(">3i", reply[8:])]


def test_a_scrape_in_random_order(tracker):
    for number, info_hash in enumerate(SEVENTY_FOUR):
        tracker.set_counts(info_hash, number, 0, 0)
    tracker.udp_fault = "scrape-random"
    with UdpClient(tracker) as client:
        request = scrape_request(client.connect(), *SEVENTY_FOUR[1:])
        first, second = seeders_in(client.exchange(request)), seeders_in(client.exchange(request))
    assert first != second and sorted(first) == sorted(second) == list(range(1, 74))


def test_a_tracker_that_falls_silent_after_some_scrapes(tracker):
    tracker.udp_fault = "scrape-then-silent"
    tracker.scrapes_answered = 2
    with UdpClient(tracker) as client:
        request = scrape_request(client.connect(), HASH)
        assert client.exchange(request) == client.exchange(request)
        client.socket.send(request)
        assert client.is_silent()
        client.announce()


@pytest.mark.parametrize("fault", [None, "scrape-sorted", "scrape-doubled", "scrape-overtaking"])
def test_a_loss_rate_is_beside_any_fault(tracker, fault):
    tracker.udp_fault = fault
    with UdpClient(tracker) as client:
        request = scrape_request(client.connect(), HASH)
        tracker.loss_rate = 1
        client.socket.send(request)
        assert client.is_silent()
        tracker.loss_rate = 0.5
        for _ in range(100):
            client.socket.send(request)
        wait_until(lambda: len(tracker.requests) == 102)
        tracker.loss_rate = 0
        # The last replies of the others may come 50 ms later.
        time.sleep(0.1)
        client.socket.send(connect_request())
        replies = list(iter(lambda: client.socket.recv(100)[:4], bytes(4)))
    assert 5 < len(replies) < 100


def test_replies_from_another_port(tracker):
    tracker.udp_fault = "other-port"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.sendto(connect_request(), ("127.0.0.1", tracker.udp_port))
        reply, (host, port) = client.recvfrom(100)
    assert reply[:8] == struct.pack(">ii", 0, 7)
    assert host == "127.0.0.1" and port != tracker.udp_port


def test_a_connection_id_is_rejected_once(tracker):
    tracker.udp_fault = "reject-connection-id-once"
    with UdpClient(tracker) as client:
        first = client.connect()
        for _ in range(2):
            assert client.exchange(announce_request(first))[8:] == b"Connection ID mismatch"
        second = client.connect()
        assert second != first
        client.announce(second)
        client.announce(second)


def test_losses_are_those_of_the_seed():
    def answered(seed):
        with LoopbackTracker(udp_fault="loss-20", seed=seed) as tracker:
            with UdpClient(tracker) as client, UdpClient(tracker) as marker:
                for number in range(300):
                    client.socket.send(connect_request(number))
                wait_until(lambda: len(tracker.requests) == 300)
                tracker.udp_fault = None
                # Answered last, so that all other replies are there by then.
                marker.connect()
                client.socket.setblocking(False)
                return receive_all(client.socket)

    first, again, other = answered(1), answered(1), answered(2)
    assert first == again != other
    # A request and its reply get through with a probability of 0.64.
    assert 150 < len(first) < 230


def receive_all(connection):
    transaction_ids = []
    while True:
        try:
            transaction_ids.append(connection.recv(100)[4:8])
        except BlockingIOError:
            return transaction_ids


def test_a_fault_in_the_path_is_for_that_request(tracker):
    tracker.http_fault = "answer-500"
    with fetch(tracker.http_url + query()) as response:
        assert response.getcode() == 500
    with fetch(tracker.http_url + query("/fault/html-404/announce")) as response:
        assert (response.getcode(), response.read()[:6]) == (404, b"<html>")
    with fetch(tracker.http_url + query("/fault/none/announce")) as response:
        assert response.getcode() == 200
    with fetch(tracker.http_url + query("/fault/weird/announce")) as response:
        assert response.read() == b"no such fault\n"


def test_a_websocket_fault_in_the_path_is_for_that_connection(tracker):
    tracker.ws_fault = "failure"
    with WsClient(tracker).upgrade() as ws:
        assert ws.announce()["failure reason"] == "torrent not registered"
        tracker.ws_fault = None
        assert "failure reason" not in ws.announce()
        tracker.ws_fault = "failure"
    with WsClient(tracker, "/fault/none/announce").upgrade() as ws:
        assert "failure reason" not in ws.announce()
    # One of HTTP is none of WebSocket.
    for fault in ("weird", "html-404"):
        with WsClient(tracker, "/fault/{}/announce".format(fault)) as ws:
            assert ws.read_head()[0] == "HTTP/1.1 404 Not Found"
    assert b"peers" in fetch_answer(tracker.http_url + query())


def read_answer(ws, action, **pairs):
    """Return the first message with this action and these pairs, and how many came before it."""
    for number in range(300):
        message = json.loads(ws.read_message().decode())
        if message["action"] == action and "offer" not in message and pairs.items() <= {
                (name, str(value)) for name, value in message.items()}:
            return message, number


@pytest.mark.parametrize("fault", FINE_WS_FAULTS)
def test_what_is_fine_over_websocket_has_the_right_answer(tracker, fault):
    with WsClient(tracker, "/fault/{}/".format(fault)).upgrade() as ws:
        ws.send(**ws_announce())
        answer, before = read_answer(ws, "announce", info_hash=TEXT_HASH)
        assert answer["interval"] == 120
        counted = {"many-offers-first": 200, "offer-first": 1, "other-hash-first": 1}
        assert before == counted.get(fault, before)
        ws.send(action="scrape", info_hash=[TEXT_HASH, OTHER_TEXT_HASH])
        if fault == "twice":
            read_answer(ws, "announce")
        files = {}
        while TEXT_HASH not in files:
            files = read_answer(ws, "scrape")[0]["files"]
    assert files[TEXT_HASH]["complete"] == 1 and OTHER_TEXT_HASH in files


def right_answer(**changed):
    answer = {
        "complete": 1, "incomplete": 0, "action": "announce", "interval": 120,
        "info_hash": TEXT_HASH,
    }
    answer.update(changed)
    return {name: value for name, value in answer.items() if value is not None}


@pytest.mark.parametrize(
    "fault, announce",
    [
        ("failure", {"failure reason": "torrent not registered", "action": "announce",
                     "info_hash": TEXT_HASH}),
        ("failure-alone", {"failure reason": "torrent not registered"}),
        ("failure-on-announce", {"failure reason": "torrent not registered", "action": "announce",
                                 "info_hash": TEXT_HASH}),
        ("json-array", [right_answer()]),
        ("json-null", None),
        ("empty-object", {}),
        ("other-hash", right_answer(info_hash="further info hash 01")),
        ("missing-interval", right_answer(interval=None)),
        ("missing-hash", right_answer(info_hash=None)),
        ("numbers-as-text", right_answer(complete="1", incomplete="0", interval="120")),
        ("large-message", right_answer()),
        ("failure-on-scrape", right_answer()),
    ],
)
def test_websocket_faults_that_change_an_announce_answer(tracker, fault, announce):
    tracker.ws_fault = fault
    with WsClient(tracker).upgrade() as ws:
        ws.send(**ws_announce())
        message = ws.read_message()
        assert json.loads(message.decode()) == announce
        assert (len(message) == 2 << 20) == (fault == "large-message")


@pytest.mark.parametrize(
    "fault, scrape",
    [
        ("failure-on-scrape", {"action": "scrape", "failure reason": "scrape is not allowed"}),
        ("scrape-empty", {}),
        ("scrape-known", [TEXT_HASH]),
        ("scrape-truncated", [TEXT_HASH]),
        ("scrape-extra", [TEXT_HASH, OTHER_TEXT_HASH, "further info hash 01"]),
        ("files-of-numbers", {TEXT_HASH: 1, OTHER_TEXT_HASH: 1}),
        ("files-not-a-dictionary", [1]),
    ],
)
def test_websocket_faults_that_change_a_scrape_answer(tracker, fault, scrape):
    tracker.ws_fault = fault
    tracker.add_peer(HASH, "198.51.100.7", 1000)
    with WsClient(tracker).upgrade() as ws:
        assert "failure reason" not in ws.announce()
        answer = ws.ask(action="scrape", info_hash=[TEXT_HASH, OTHER_TEXT_HASH])
    files = answer.get("files", answer)
    assert list(files) == scrape if isinstance(scrape, list) else files == scrape


@pytest.mark.parametrize(
    "fault, status",
    [
        ("status-400", "400 Bad Request"),
        ("html-403", "403 Forbidden"),
        ("html", "200 OK"),
        ("failure-http", "200 OK"),
        ("redirect", "302 Found"),
    ],
)
def test_websocket_faults_in_place_of_the_upgrade(tracker, fault, status):
    with WsClient(tracker, "/fault/{}/".format(fault)) as ws:
        assert ws.read_head()[0] == "HTTP/1.1 " + status
        ws.stream.read()


@pytest.mark.parametrize(
    "fault, accept", [("wrong-accept", "AAAA" + WS_ACCEPT), ("missing-accept", None)]
)
def test_websocket_faults_of_the_accept_key_go_on(tracker, fault, accept):
    with WsClient(tracker, "/fault/{}/".format(fault)) as ws:
        status, headers = ws.read_head()
        assert status.startswith("HTTP/1.1 101 ")
        assert headers.get("sec-websocket-accept") == accept
        assert ws.announce()["complete"] == 1


@pytest.mark.parametrize(
    "fault, first, end",
    [
        ("silent-after-upgrade", b"", "silent"),
        ("close-after-upgrade", b"\x88\x0c\x03\xe9going away", "closes"),
        ("end-after-upgrade", b"", "closed"),
        ("reset-after-upgrade", b"", "reset"),
        ("silent", b"", "silent"),
        ("silent-in-message", b"\x81\x7f\0\0\0\0\0\0\0\x78{", "silent"),
        ("close-in-message", b"\x81\x7f\0\0\0\0\0\0\0\x78{", "closed"),
        ("reset-in-message", b"\x81\x7f\0\0\0\0\0\0\0\x78{", "reset"),
        ("close", b"", "closed"),
        ("reset", b"", "reset"),
        ("close-1000", b"\x88\x02\x03\xe8", "closes"),
        ("close-1008", b"\x88\x18\x03\xf0torrent not registered", "closes"),
        ("close-one-byte", b"\x88\x01\x03", "closes"),
        ("masked", b"\x81\xe3\x01\x02\x03\x04", "silent"),
        ("reserved-bit", b"\xc1", "silent"),
        ("unknown-opcode", b"\x83", "silent"),
        ("stray-continuation", b"\x80", "silent"),
        ("text-in-fragments", b"\x01\x0a", "silent"),
        ("fragmented-ping", b"\x09\x04ping\x81", "silent"),
        ("long-ping", b"\x89\x7e\0\x7epp", "silent"),
        ("length-highest-bit", b"\x81\x7f\x80\0\0\0\0\0\0\0{", "silent"),
        ("huge-length", b"\x81\x7f\0\0\0\0\x80\0\0\0{", "silent"),
        ("empty-message", b"\x81\0", "silent"),
    ],
)
def test_websocket_faults_that_end_in_their_own_way(tracker, fault, first, end):
    with WsClient(tracker, "/fault/{}/".format(fault)).upgrade() as ws:
        if not fault.endswith("-after-upgrade"):
            ws.send(**ws_announce())
        assert ws.stream.read(len(first)) == first
        if end == "closes":
            # What the client answers is waited for.
            ws.send_frame(first[2:4] if len(first) > 3 else b"", 0x88)
            assert ws.stream.read() == b""
            assert tracker.wait_for(lambda record: record.action == "close")
        elif end == "silent":
            ws.socket.settimeout(0.1)
            with pytest.raises(socket.timeout):
                while ws.socket.recv(65536):
                    pass
        elif end == "reset":
            with pytest.raises(ConnectionResetError):
                ws.stream.read()
        else:
            assert len(ws.stream.read()) < 100


def test_a_ping_first_is_followed_by_the_answer_when_its_pong_is_there(tracker):
    with WsClient(tracker, "/fault/ping-first/").upgrade() as ws:
        ws.send(**ws_announce())
        assert ws.read_frame() == (b"\x89", b"are you there?")
        ws.send_frame(b"another", 0x8a)
        tracker.wait_for(lambda record: record.action == "pong")
        ws.send_frame(b"are you there?", 0x8a)
        assert json.loads(ws.read_message().decode()) == right_answer()


def test_a_peer_id_that_another_connection_has_is_ignored(tracker):
    tracker.ws_fault = "peer-id-taken"
    with WsClient(tracker).upgrade() as ws, WsClient(tracker).upgrade() as other:
        assert ws.announce() == ws.announce() == right_answer()
        other.send(**ws_announce())
        assert other.announce(peer_id=OTHER_PEER_ID.decode()) == right_answer(complete=2)


@pytest.mark.parametrize(
    "fault", [name for name in WS_FAULTS if name.startswith(("endless", "drip"))]
)
def test_what_never_ends_over_websocket_does_not_keep_others_waiting(tracker, fault):
    with WsClient(tracker, "/fault/{}/".format(fault)) as endless:
        endless.send(**ws_announce())
        size = 300000 if fault.startswith("endless") else 10
        assert len(endless.stream.read(size)) == size
        with WsClient(tracker).upgrade() as ws:
            assert ws.scrape(TEXT_HASH)
    wait_until(lambda: tracker.open_connections == 0)


def test_a_websocket_fault_ends_when_the_client_leaves(tracker):
    for fault in WS_FAULTS:
        ws = WsClient(tracker, "/fault/{}/".format(fault))
        ws.send(**ws_announce())
        ws.stream.close()
        ws.socket.close()
    wait_until(lambda: tracker.open_connections == 0)
    assert tracker.swarm(HASH) == (0, 0, 0)


def test_a_fault_of_the_health_check(tracker):
    tracker.health_fault = "status-500"
    with fetch(tracker.health_url) as response:
        assert response.getcode() == 500
    assert b"peers" in fetch_answer(tracker.http_url + query())


@pytest.mark.parametrize("fault", [
    name for name in FINE_FAULTS if name not in ("gzip", "deflate", "redirect-308")
])
def test_what_is_fine_can_be_read_by_urllib(tracker, fault):
    announce = fetch_answer(tracker.http_url + query("/fault/{}/announce".format(fault)))
    assert announce[b"interval"] == 120
    assert b"peers" in announce or b"peers6" in announce
    scrape = fetch_answer(
        tracker.http_url + scrape_query(HASH, path="/fault/{}/scrape".format(fault))
    )
    assert len(scrape[b"files"]) == 1


@pytest.mark.parametrize(
    "fault, beginning, end",
    [
        ("close", b"", "closed"),
        ("close-after-status-line", b"HTTP/1.1 200 OK\r\n", "closed"),
        ("not-http", b"220 mail.example ESMTP\r\n", "closed"),
        ("status-999", b"HTTP/1.1 999 Request Denied\r\n", "closed"),
        ("redirect-file", b"HTTP/1.1 302 Found\r\n", "closed"),
        ("reset", b"", "reset"),
        ("reset-in-body", b"HTTP/1.1 200 OK\r\n", "reset"),
        ("silent", b"", "silent"),
        ("silent-in-body", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nd8:interval", "silent"),
    ],
)
def test_http_faults_that_end_in_their_own_way(tracker, fault, beginning, end):
    with open_request(tracker.http_port, query("/fault/{}/announce".format(fault))) as connection:
        stream = connection.makefile("rb", buffering=0)
        assert read_exactly(stream, len(beginning)) == beginning
        if end == "closed":
            assert bool(stream.readall()) == (fault in ("status-999", "redirect-file"))
        elif end == "reset":
            with pytest.raises(ConnectionResetError):
                stream.readall()
        else:
            connection.settimeout(0.2)
            with pytest.raises(socket.timeout):
                connection.recv(100)


def test_a_drip_is_a_byte_every_tenth_of_a_second(tracker):
    started = time.monotonic()
    path = query("/fault/drip-status-line/announce")
    with open_request(tracker.http_port, path) as connection:
        stream = connection.makefile("rb", buffering=0)
        assert read_exactly(stream, 17) == b"HTTP/1.1 200 OOOO"
    # No sooner, however busy the machine is.
    assert time.monotonic() - started > 0.3


def read_exactly(stream, length):
    data = b""
    while len(data) < length:
        received = stream.read(length - len(data))
        assert received
        data += received
    return data


@pytest.mark.parametrize(
    "fault", ["endless-body", "endless-chunks", "endless-headers", "endless-continue", "gzip-bomb"]
)
def test_what_never_ends_does_not_keep_others_waiting(tracker, fault):
    with open_request(tracker.http_port, query("/fault/{}/announce".format(fault))) as endless:
        read_exactly(endless.makefile("rb"), 500000)
        assert b"peers" in fetch_answer(tracker.http_url + query())


def test_a_fault_ends_when_the_client_leaves(tracker):
    for fault in HTTP_FAULTS:
        open_request(tracker.http_port, query("/fault/{}/announce".format(fault))).close()
    with fetch(tracker.health_url):
        pass
    wait_until(lambda: tracker.open_connections == 0)


def test_a_gzip_bomb_unpacks_to_a_thousand_times_its_size(tracker):
    with fetch(tracker.http_url + query("/fault/gzip-bomb/announce")) as response:
        packed = response.read(20000)
    assert len(zlib.decompressobj(wbits=31).decompress(packed)) > 900 * len(packed)


def test_a_silent_handshake():
    with LoopbackTracker(http_fault="silent-handshake") as tracker:
        with socket.create_connection(("127.0.0.1", tracker.http_port), timeout=0.3) as connection:
            with pytest.raises(socket.timeout):
                ssl.create_default_context().wrap_socket(connection, server_hostname="localhost")


def test_a_redirect_to_another_host(tracker):
    with LoopbackTracker() as other:
        tracker.http_fault = "redirect-other-host"
        tracker.redirect_target = other.http_url + query()
        assert b"peers" in fetch_answer(tracker.http_url + query())
        assert [record.action for record in other.requests] == ["announce"]


# The command


def run_around(source, **settings):
    """Runs the tracker around a Python program."""
    return run_script(SCRIPT, "--", sys.executable, "-c", source, **settings)


SHOW_ENVIRONMENT = """
import json, os, urllib.request
names = 'TORRUST_CHECKER_CONFIG', 'UDP_TRACKER', 'HTTP_TRACKER', 'HEALTH_CHECK', 'no_proxy'
assert 'TORRUST_CHECKER_CONFIG_PATH' not in os.environ
assert urllib.request.urlopen(os.environ['HEALTH_CHECK']).getcode() == 200
print(json.dumps([os.environ[name] for name in names]))
"""


def test_a_command_finds_the_tracker_in_its_environment():
    environment = {"TORRUST_CHECKER_CONFIG_PATH": "/nowhere", "no_proxy": "x"}
    result = run_around(SHOW_ENVIRONMENT, env=environment)
    assert result.code == 0, result.stderr
    config, udp, http, health, no_proxy = result.json
    assert udp.startswith("udp://127.0.0.1:") and http.startswith("http://127.0.0.1:")
    assert json.loads(config) == {
        "udp_trackers": [udp[len("udp://"):]],
        "http_trackers": [http],
        "health_checks": [health],
    }
    assert no_proxy == "127.0.0.1,localhost,::1"
    lines = result.stderr.splitlines()
    assert [line.split(" and ")[0] for line in lines] == [
        "UDP tracker: " + udp, "HTTP tracker: " + http, "Health check: " + health,
        "WebSocket tracker: " + http.replace("http", "ws") + "/",
    ]
    assert all(" and IPv6 " in line for line in lines) == has_ipv6()


@pytest.mark.parametrize(
    "source, code",
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL),
    ],
)
def test_the_exit_code_is_that_of_the_command(source, code):
    assert run_around(source).code == code


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_without_a_command_it_serves_until_a_signal(start_script, number, code):
    process = start_script(SCRIPT, "--torrents", "3", "--ws-fault", "html")
    addresses = [process.stderr.readline().split()[2] for _ in range(4)]
    with fetch(addresses[2]) as response:
        assert response.getcode() == 200
    assert set(fetch_answer(addresses[1] + "/scrape")[b"files"]) == {
        made_up_info_hash(0), made_up_info_hash(1), made_up_info_hash(2),
    }
    process.send_signal(number)
    assert process.communicate(timeout=SOON) == ("", "")
    assert process.returncode == code


# Takes a moment, so that it is seen whether it is waited for.
WAIT_FOR_SIGNAL = """
import signal, sys, time
numbers = {signal.SIGINT, signal.SIGTERM}
signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
print('ready', flush=True)
number = signal.sigwait(numbers)
time.sleep(0.2)
print(int(number), flush=True)
sys.exit(9)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_reaches_the_command_and_it_is_waited_for(start_script, number):
    command = ["--", sys.executable, "-c", WAIT_FOR_SIGNAL]
    # In a process group of its own, as a terminal does it.
    process = start_script(SCRIPT, *command, prepare=os.setsid)
    assert process.stdout.readline() == "ready\n"
    if number == signal.SIGINT:
        # Ctrl-C goes to all processes of the terminal's foreground.
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    stdout, stderr = process.communicate(timeout=SOON)
    assert (process.returncode, stdout) == (9, "{:d}\n".format(number))
    assert "Traceback" not in stderr
