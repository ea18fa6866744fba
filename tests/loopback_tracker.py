#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""A real small BitTorrent tracker on loopback, with faults to order, for tests and first steps.

It speaks UDP (BEP 15, BEP 41), HTTP (announce of BEP 3, 7 and 23, scrape of BEP 48) and has a
health check. Swarms live in memory and are shared by UDP and HTTP, IPv4 and IPv6: what one
announces the other scrapes. Two announces are of the same peer when the peer id and the address
family are the same. Addresses are taken from the sender, never from `ip=`.

In a test:

    with LoopbackTracker() as tracker:
        ask(tracker.udp_url)
        announce = tracker.wait_for(lambda record: record.action == "announce")

As a command, around another command, which finds the tracker in its environment:

    python3 tests/loopback_tracker.py -- python3 tracker_checker.py

A fault is something the tracker does wrong or oddly, by name: `UDP_FAULTS` and `HTTP_FAULTS` list
them. `http://HOST:PORT/fault/NAME/announce` has the fault for that request alone.
"""

import os
import signal
import sys


def exit_by_signal(number, _frame):
    """Leave at once with the exit code a shell gives for a death by this signal."""
    os._exit(128 + number)


if __name__ == "__main__":
    # The imports below take a moment; a Ctrl-C in it must not end in a traceback.
    signal.signal(signal.SIGINT, exit_by_signal)
    signal.signal(signal.SIGTERM, exit_by_signal)

import argparse
import asyncio
import binascii
import errno
import gzip
import hashlib
import itertools
import json
import random
import re
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections import defaultdict, deque, namedtuple
from urllib.parse import parse_qsl, unquote_to_bytes

try:
    import resource
except ImportError:
    # Windows has no such limits.
    resource = None

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import bencode

INTERVAL = 120
DEFAULT_PEERS_WANTED = 50
RECORDS_KEPT = 50000

SERVICES = ("udp", "http", "health")

UDP_PROTOCOL_ID = 0x41727101980
UDP_ACTIONS = ("connect", "announce", "scrape")
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
EVENTS = ("none", "completed", "started", "stopped")
ANNOUNCE_LENGTH = 98
SCRAPE_LIMIT = 74
LARGEST_DATAGRAM = 65507
URL_DATA_END, URL_DATA_NOP, URL_DATA = range(3)

HTTP_HEAD_LIMIT = 65536
HEALTH_PATH = "/api/health_check"
DRIP_SECONDS = 0.1
RESET_SECONDS = 0.1

BIND_ATTEMPTS = 100
BATCH = 64
WILDCARDS = ("0.0.0.0", "::")
# The socket module has no name for these; the values are Linux's.
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50

# What a hostile tracker sends to take over a terminal or to forge a line of a report.
HOSTILE_LINE = "\x1b[31mred\x07\x7f\x9b32m \u202eevil\u200f"
HOSTILE_TEXT = HOSTILE_LINE + '\0\r\n{"forged":"line"}\n'
PAGE = b"<html><head><title>Welcome</title></head><body>Nothing here.</body></html>\n"
FAILURE = b"d14:failure reason22:torrent not registerede"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = {"Content-Encoding": "gzip"}
HANDSHAKE_FAULTS = ("silent-handshake", "drip-handshake", "reset-handshake")
COMPACT_PEERS = b"\xc6\x33\x64\x07\x1a\xe1" b"\xc6\x33\x64\x08\x1a\xe2"
COMPACT_PEERS6 = b"".join(
    socket.inet_pton(socket.AF_INET6, host) + b"\x1a\xe1" for host in ("2001:db8::7", "2001:db8::8")
)

UDP_FAULTS = {}
HTTP_FAULTS = {}
UDP_HANDLERS = {}
HTTP_HANDLERS = {}

Record = namedtuple("Record", "protocol action fields address time")
Record.__doc__ = """A request that arrived.

protocol: 'udp', 'http' or 'health'; action: 'connect', 'announce', 'scrape' or 'other';
fields: a dictionary, see `parse_udp_request` and `parse_http_request`; address: the sender's
(host, port); time: of arrival, by time.monotonic().
"""
Counts = namedtuple("Counts", "seeders completed leechers")
Peer = namedtuple("Peer", "peer_id family host port left compact")


# Swarms


class Swarm:
    """The peers of one torrent, and how often one has completed it."""

    def __init__(self):
        self.peers = {}
        self.completed_by = set()
        self.completed = 0

    def counts(self):
        seeders = sum(peer.left == 0 for peer in self.peers.values())
        return Counts(seeders, self.completed, len(self.peers) - seeders)


class Swarms:
    """All swarms by info hash; safe to use from several threads."""

    def __init__(self):
        self._swarms = {}
        self._lock = threading.Lock()

    def announce(self, info_hash, peer_id, host, port, left, event):
        """Note what a peer says of itself; a stopped one leaves the swarm."""
        host = host.partition("%")[0]
        family = family_of(host)
        key = peer_id, family
        with self._lock:
            if event == "stopped":
                swarm = self._swarms.get(info_hash)
                if swarm:
                    swarm.peers.pop(key, None)
                    swarm.completed_by.discard(key)
                return
            swarm = self._swarms.setdefault(info_hash, Swarm())
            compact = socket.inet_pton(family, host) + struct.pack(">H", port)
            swarm.peers[key] = Peer(peer_id, family, host, port, left, compact)
            if event == "completed" and key not in swarm.completed_by:
                # A peer that says it again (a resend, say) has not completed it once more.
                swarm.completed_by.add(key)
                swarm.completed += 1
            elif event == "started":
                swarm.completed_by.discard(key)

    def counts(self, info_hash):
        """Return the Counts of a swarm, zeros for one that nobody announced."""
        with self._lock:
            swarm = self._swarms.get(info_hash)
            return swarm.counts() if swarm else Counts(0, 0, 0)

    def peers(self, info_hash, asking, wanted, families=(socket.AF_INET, socket.AF_INET6)):
        """Return at most `wanted` peers without the asking one (a peer id); below 0: the usual."""
        wanted = DEFAULT_PEERS_WANTED if wanted < 0 else wanted
        with self._lock:
            swarm = self._swarms.get(info_hash)
            if not swarm:
                return []
            others = (
                peer for peer in swarm.peers.values()
                if peer.peer_id != asking and peer.family in families
            )
            return list(itertools.islice(others, wanted))

    def info_hashes(self):
        with self._lock:
            return list(self._swarms)


def family_of(host):
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def join_address(host, port):
    """Return host:port as URLs write it."""
    return "[{}]:{}".format(host, port) if ":" in host else "{}:{}".format(host, port)


def reachable(host):
    """Return the address under which a host bound to is reached: loopback for a wildcard."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


# UDP: wire format (BEP 15, BEP 41)


def parse_udp_request(datagram):
    """Return (action, fields) of a datagram; 'other' is what is no request of BEP 15.

    Fields of any request: connection_id and transaction_id (signed numbers), datagram (bytes).
    Of announce: info_hash, peer_id, downloaded, left, uploaded, event ('none', 'completed',
    'started', 'stopped', or the number where it is none of these), ip_address (text), key,
    num_want, port, url_data (bytes). Of announce and scrape: info_hashes (a list).
    """
    fields = {"datagram": datagram}
    if len(datagram) < 16:
        return "other", fields
    connection_id, action, transaction_id = struct.unpack_from(">qii", datagram)
    fields.update(connection_id=connection_id, transaction_id=transaction_id)
    if action == CONNECT and connection_id == UDP_PROTOCOL_ID:
        return "connect", fields
    if action == ANNOUNCE and len(datagram) >= ANNOUNCE_LENGTH:
        fields.update(parse_udp_announce(datagram))
        return "announce", fields
    if action == SCRAPE and len(datagram) > 16 and len(datagram) % 20 == 16:
        fields["info_hashes"] = [datagram[at:at + 20] for at in range(16, len(datagram), 20)]
        return "scrape", fields
    return "other", fields


def parse_udp_announce(datagram):
    (info_hash, peer_id, downloaded, left, uploaded, event, ip_address, key, num_want,
     port) = struct.unpack_from(">20s20sqqqi4siiH", datagram, 16)
    return {
        "info_hash": info_hash,
        "info_hashes": [info_hash],
        "peer_id": peer_id,
        "downloaded": downloaded,
        "left": left,
        "uploaded": uploaded,
        "event": EVENTS[event] if 0 <= event < len(EVENTS) else event,
        "ip_address": socket.inet_ntoa(ip_address),
        "key": key,
        "num_want": num_want,
        "port": port,
        "url_data": parse_url_data(datagram[ANNOUNCE_LENGTH:]),
    }


def parse_url_data(options):
    """Return the joined URL data of BEP 41's options; what follows a broken option is dropped."""
    url_data = b""
    at = 0
    while at < len(options) and options[at] != URL_DATA_END:
        if options[at] == URL_DATA_NOP:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if options[at] == URL_DATA:
            url_data += options[at + 2:at + 2 + length]
        at += 2 + length
    return url_data


class UdpListener:
    """A UDP socket that answers from the address asked, also where it is bound to a wildcard."""

    service = "udp"

    def __init__(self, host, port):
        self.host = host
        self.family = family_of(host)
        self._wildcard = host in WILDCARDS
        self.socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self.socket.setblocking(False)
            # A checker may ask a thousand trackers at once, all of them this one.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            if self.family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if self._wildcard:
                self._ask_for_destinations()
            self.socket.bind((host, port))
        except OSError:
            self.socket.close()
            raise

    def _ask_for_destinations(self):
        if self.family == socket.AF_INET:
            self.socket.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        else:
            self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)

    def receive(self):
        """Return (datagram, the client's socket address, the address it asked)."""
        if not self._wildcard:
            datagram, client = self.socket.recvfrom(65536)
            return datagram, client, self.host
        datagram, ancillary, _, client = self.socket.recvmsg(65536, 64)
        return datagram, client, self._destination(ancillary)

    def _destination(self, ancillary):
        for _, kind, content in ancillary:
            if self.family == socket.AF_INET and kind == IP_PKTINFO:
                return socket.inet_ntop(socket.AF_INET, content[8:12])
            if self.family == socket.AF_INET6 and kind == IPV6_PKTINFO:
                return socket.inet_ntop(socket.AF_INET6, content[:16])
        return self.host

    def send(self, datagram, client, source):
        """Send from the address `source`; a datagram that cannot be sent is lost."""
        try:
            if self._wildcard:
                self.socket.sendmsg([datagram], [self._source(source)], 0, client)
            else:
                self.socket.sendto(datagram, client)
        except OSError:
            pass

    def _source(self, host):
        address = socket.inet_pton(self.family, host)
        if self.family == socket.AF_INET:
            return socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=I4s4s", 0, address, bytes(4))
        return socket.IPPROTO_IPV6, IPV6_PKTINFO, struct.pack("=16sI", address, 0)


class UdpQuery:
    """One request datagram, and the means to answer it."""

    def __init__(self, tracker, listener, datagram, client, local_address):
        self.tracker = tracker
        self.client = client
        self.datagram = datagram
        self.action, self.fields = parse_udp_request(datagram)
        self.fields["local_address"] = local_address
        self.peer_length = 6 if listener.family == socket.AF_INET else 18
        self._listener = listener
        self._local_address = local_address

    def answer(self):
        """Return the right reply; an announce changes the swarm."""
        if self.action == "other":
            return self.error(b"malformed request")
        right_id = self.tracker.connection_id(self.client)
        if self.action != "connect" and self.fields["connection_id"] != right_id:
            return self.error(b"Connection ID mismatch")
        return self.accept()

    def accept(self):
        """Return the right reply whatever the connection id."""
        if self.action == "connect":
            return self.reply(CONNECT, struct.pack(">q", self.tracker.connection_id(self.client)))
        if self.action == "announce":
            return self._announce()
        return self.reply(SCRAPE, b"".join(
            struct.pack(">3i", *self.tracker.swarm(info_hash))
            for info_hash in self.fields["info_hashes"][:SCRAPE_LIMIT]
        ))

    def _announce(self):
        fields = self.fields
        swarms = self.tracker.swarms
        info_hash = fields["info_hash"]
        swarms.announce(
            info_hash, fields["peer_id"], self.client[0], fields["port"], fields["left"],
            fields["event"],
        )
        peers = [] if fields["event"] == "stopped" else swarms.peers(
            info_hash, fields["peer_id"], fields["num_want"], (self._listener.family,)
        )
        counts = swarms.counts(info_hash)
        return self.announce_reply(
            self.tracker.interval, counts.leechers, counts.seeders,
            b"".join(peer.compact for peer in peers)
        )

    def announce_reply(self, interval, leechers, seeders, peers):
        numbers = struct.pack(">3i", interval, leechers, seeders)
        most = (LARGEST_DATAGRAM - 20) // self.peer_length * self.peer_length
        return self.reply(ANNOUNCE, numbers + peers[:most])

    def error(self, message):
        return self.reply(ERROR, message)

    def reply(self, action, rest):
        return struct.pack(">ii", action, self.fields["transaction_id"]) + rest

    def send(self, datagram):
        self._listener.send(datagram, self.client, self._local_address)

    def send_later(self, seconds, datagram):
        self.tracker.loop.call_later(seconds, self.send, datagram)

    def send_from_other_port(self, datagram):
        with socket.socket(self._listener.family, socket.SOCK_DGRAM) as other:
            other.bind((self._local_address, 0))
            other.sendto(datagram, self.client)

    def earlier_sends(self):
        """Return the queries that this one repeats, the first first (transaction ids aside)."""
        key = self.client, self.datagram[:12], self.datagram[16:]
        earlier = self.tracker.udp_sends[key]
        self.tracker.udp_sends[key] = earlier + [self]
        return earlier


# UDP faults: a handler takes a query and does what it wants in place of the right answer


def enter_udp_faults(actions, rows):
    """Enter faults (name, description, handler) that concern requests of these actions alone."""
    for name, description, handler in rows:
        UDP_FAULTS[name] = description
        UDP_HANDLERS[name] = handler, actions


def changed(change):
    """The right reply, changed by a function from bytes to bytes."""
    return lambda query: query.send(change(query.answer()))


def error(message):
    return lambda query: query.send(query.error(message))


def first(*datagrams):
    """Some datagrams, then the right reply."""
    def answer(query):
        for datagram in datagrams:
            query.send(datagram)
        query.send(query.answer())
    return answer


def others_first(count):
    """Error replies with other transaction ids, then the right reply."""
    def answer(query):
        for distance in range(1, count + 1):
            query.send(with_other_transaction_id(query.error(b"not yours"), distance))
        query.send(query.answer())
    return answer


def loss(rate):
    """Requests and replies are lost, each at this rate (0 to 1)."""
    def answer(query):
        lose = query.tracker.random.random
        if lose() >= rate:
            reply = query.answer()
            if lose() >= rate:
                query.send(reply)
    return answer


def lose_sends(count):
    """The first sends of each request are lost, so many of them."""
    def answer(query):
        if len(query.earlier_sends()) >= count:
            query.send(query.answer())
    return answer


def answer_late(query):
    earlier = query.earlier_sends()
    if len(earlier) == 1:
        earlier[0].send(earlier[0].answer())


def answer_twice(seconds):
    """The right reply, and again some seconds later."""
    def answer(query):
        reply = query.answer()
        query.send(reply)
        query.send_later(seconds, reply)
    return answer


def answer_from_other_port_first(query):
    query.send_from_other_port(query.error(b"from another port"))
    query.send(query.answer())


def with_other_transaction_id(reply, distance=1):
    transaction_id, = struct.unpack_from(">I", reply, 4)
    return reply[:4] + struct.pack(">I", (transaction_id + distance) % 2 ** 32) + reply[8:]


def with_action_of_another(reply):
    action, = struct.unpack_from(">i", reply)
    other = {CONNECT: ANNOUNCE, ANNOUNCE: SCRAPE, SCRAPE: ANNOUNCE, ERROR: CONNECT}[action]
    return struct.pack(">i", other) + reply[4:]


def reject_once(query):
    query.tracker.forgotten_clients.add(query.client)
    query.send(query.answer())


def accept_id_zero(query):
    if query.action == "connect":
        query.send(query.reply(CONNECT, bytes(8)))
    elif query.fields["connection_id"] == 0:
        query.send(query.accept())
    else:
        query.send(query.answer())


def announce_numbers(interval, leechers, seeders):
    return lambda query: query.send(query.announce_reply(interval, leechers, seeders, b""))


def scrape_numbers(*numbers):
    entry = struct.pack(">3i", *numbers)
    return lambda query: query.send(
        query.reply(SCRAPE, entry * len(query.fields["info_hashes"]))
    )


def announce_peers(make):
    """An announce reply with what a function makes of the length of a peer entry (6 or 18)."""
    def answer(query):
        peers = make(query.peer_length)
        query.send(query.announce_reply(INTERVAL, 0, len(peers) // query.peer_length, peers))
    return answer


def made_up_peers(count, length):
    """Return compact peers, 198.51.x.y or [2001:db8::x:y], all at port 6881."""
    prefix = b"\xc6\x33" if length == 6 else b"\x20\x01\x0d\xb8" + bytes(10)
    return b"".join(prefix + struct.pack(">HH", number, 6881) for number in range(1, count + 1))


enter_udp_faults(UDP_ACTIONS, [
    ("silent", "never answers", lambda query: None),
    ("slow", "fine, but each reply comes after a second",
     lambda query: query.send_later(1, query.answer())),
    ("loss-10", "loses 10 % of the requests and 10 % of the replies", loss(0.1)),
    ("loss-20", "loses 20 % of the requests and 20 % of the replies", loss(0.2)),
    ("lose-first", "loses the first send of each request", lose_sends(1)),
    ("lose-first-three", "loses the first three sends of each request", lose_sends(3)),
    ("late", "answers the first send of a request only when a second one arrives", answer_late),
    ("duplicate", "sends each reply twice", answer_twice(0)),
    ("duplicate-late", "sends each reply again 50 ms later", answer_twice(0.05)),
    ("other-port", "answers from another port",
     lambda query: query.send_from_other_port(query.answer())),
    ("other-port-first", "an error reply from another port, then the right reply",
     answer_from_other_port_first),
    ("echo", "sends each request back, as an echo service does",
     lambda query: query.send(query.datagram)),
    ("junk", "answers with a line of HTTP", changed(lambda reply: b"HTTP/1.1 400 Bad Request\r\n")),
    ("junk-first", "bytes that are no reply, then the right reply", first(b"\xff" * 50, b"\0" * 7)),
    ("empty-datagram", "answers with a datagram of no bytes", changed(lambda reply: b"")),
    ("empty-datagram-first", "a datagram of no bytes, then the right reply", first(b"")),
    ("short", "the first 7 bytes of each reply", changed(lambda reply: reply[:7])),
    ("huge-datagram", "each reply is filled up with zeros to 65,507 bytes",
     changed(lambda reply: reply.ljust(LARGEST_DATAGRAM, b"\0"))),
    ("wrong-transaction-id", "each reply has another transaction id",
     changed(with_other_transaction_id)),
    ("wrong-transaction-id-first", "an error reply with another transaction id, then the right one",
     others_first(1)),
    ("wrong-transaction-id-flood", "200 error replies with other transaction ids, then the right",
     others_first(200)),
    ("wrong-action", "each reply has the action of another request",
     changed(with_action_of_another)),
    ("unknown-action", "each reply has the action 7",
     changed(lambda reply: struct.pack(">i", 7) + reply[4:])),
    ("connection-id-zero", "fine: the connection id is 0", accept_id_zero),
])
enter_udp_faults(("connect",), [
    ("silent-connect", "never answers connect", lambda query: None),
    ("connect-short", "a connect reply of 12 bytes", changed(lambda reply: reply[:12])),
    ("connect-extra", "fine: a connect reply with further bytes after it",
     changed(lambda reply: reply + b"extra")),
    ("error-on-connect", "an error reply to connect", error(b"come back later")),
])
enter_udp_faults(("announce", "scrape"), [
    ("error-reply", "an error reply to announce and scrape", error(b"torrent not registered")),
    ("error-empty", "an error reply without a message", error(b"")),
    ("error-with-nul", "an error reply that ends with NUL", error(b"torrent not registered\0")),
    ("error-control-characters", "an error reply with ESC, newlines, C1 and direction marks",
     error(HOSTILE_TEXT.encode())),
    ("error-invalid-utf8", "an error reply that is not UTF-8", error(b"refus\xe9 \xff\xfe\xc3")),
    ("error-huge", "an error reply of 60,000 characters", error(b"no " * 20000)),
    ("reject-connection-id-once", "rejects the first connection id of each client, not the second",
     reject_once),
    ("reject-connection-id-always", "rejects each connection id", error(b"Connection ID mismatch")),
])
enter_udp_faults(("announce",), [
    ("silent-announce", "never answers announce", lambda query: None),
    ("eight-bytes", "an announce reply of 8 bytes, as opentracker for a torrent not on its list",
     changed(lambda reply: reply[:8])),
    ("announce-short", "an announce reply of 16 bytes", changed(lambda reply: reply[:16])),
    ("error-on-announce", "an error reply to announce; scrape works",
     error(b"torrent not registered")),
    ("negative-numbers", "interval and counts of announce are below zero",
     announce_numbers(-1, -2, -3)),
    ("huge-numbers", "interval and counts of announce are 2147483647",
     announce_numbers(*[2 ** 31 - 1] * 3)),
    ("peers-uneven", "two peers and the half of a third",
     announce_peers(lambda length: made_up_peers(3, length)[:-length // 2])),
    ("peers-port-zero", "the peers 0.0.0.0:0 and 255.255.255.255:65535, or those of IPv6",
     announce_peers(lambda length: bytes(length) + b"\xff" * length)),
    ("many-peers", "3,000 peers, however many were wanted",
     announce_peers(lambda length: made_up_peers(3000, length))),
    ("ipv6-peers-over-ipv4", "a peer of the other family: 18 bytes over IPv4, 6 over IPv6",
     announce_peers(lambda length: made_up_peers(1, {6: 18, 18: 6}[length]))),
])
enter_udp_faults(("scrape",), [
    ("silent-scrape", "never answers scrape", lambda query: None),
    ("scrape-empty", "a scrape reply without entries", changed(lambda reply: reply[:8])),
    ("scrape-short", "a scrape reply that lacks the last entry",
     changed(lambda reply: reply[:-12])),
    ("scrape-uneven", "a scrape reply whose last entry is cut off",
     changed(lambda reply: reply[:-5])),
    ("scrape-extra", "a scrape reply with three entries too many",
     changed(lambda reply: reply + bytes(36))),
    ("scrape-negative", "a scrape reply with numbers below zero", scrape_numbers(-1, -2, -3)),
    ("error-on-scrape", "an error reply to scrape; announce works",
     error(b"scrape is not allowed")),
])


# HTTP: requests and responses (BEP 3, 7, 23, 48)


def parse_http_request(head):
    """Return the fields of a request's head, or None for what is no HTTP request.

    Fields: request_line, method, target, path and query (text as sent), parameters (a dictionary
    of text to bytes, percent-decoded, the last of equal names), info_hashes (a list of bytes, as
    info_hash may come repeatedly), headers (a list of (name, value)).
    """
    lines = head.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        return None
    # A client that takes this tracker for a proxy sends the whole URL.
    path, _, query = re.sub("^https?://[^/?]*", "", words[1]).partition("?")
    pairs = [pair.partition("=") for pair in query.split("&") if pair]
    parameters = [(name, unquote_to_bytes(value)) for name, _, value in pairs]
    headers = [line.partition(":") for line in lines[1:] if line]
    return {
        "request_line": lines[0],
        "method": words[0],
        "target": words[1],
        "path": path or "/",
        "query": query,
        "parameters": dict(parameters),
        "info_hashes": [value for name, value in parameters if name == "info_hash"],
        "headers": [(name, value.strip()) for name, _, value in headers],
    }


def action_of_path(path):
    """Return 'announce' or 'scrape' as the last or last but one segment begins, else 'other'."""
    for segment in reversed(path.split("/")[-2:]):
        for action in ("announce", "scrape"):
            if segment.startswith(action):
                return action
    return "other"


def failure(reason):
    return {b"failure reason": reason}


def dictionary_of(peer):
    return {b"ip": peer.host.encode(), b"peer id": peer.peer_id, b"port": peer.port}


def compact_peers(peers, family):
    return b"".join(peer.compact for peer in peers if peer.family == family)


def http_head(status, headers):
    """Return status line and headers; a header whose value is None is left out."""
    lines = ["HTTP/1.1 " + status]
    lines += ["{}: {}".format(*header) for header in headers.items() if header[1] is not None]
    return "\r\n".join(lines + ["", ""]).encode()


class HttpExchange:
    """One HTTP request, and the means to answer it."""

    def __init__(self, tracker, service, reader, writer):
        self.tracker = tracker
        self.service = service
        self.client = writer.get_extra_info("peername")
        self.action = "other"
        self.fields = {}
        self.path = "/"
        self.fault_in_path = None
        self._reader = reader
        self._writer = writer

    async def read_request(self):
        """Read the request's head; return whether it was one."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.fields = parse_http_request(head)
        if not self.fields:
            return False
        self.fields["local_address"] = self._writer.get_extra_info("sockname")[0]
        self.path = self.fields["path"]
        fault = re.match("/fault/([^/]+)(/.*)", self.path)
        if fault:
            self.fault_in_path, self.path = fault.groups()
        if self.service == "http":
            self.action = action_of_path(self.path)
        return True

    # What to answer

    def answer(self):
        """Return the right answer as a dictionary; an announce changes the swarm."""
        problem = self.problem()
        if problem:
            return failure(problem)
        return self._announce() if self.action == "announce" else self._scrape()

    def problem(self):
        """Return what is wrong with the parameters, or None."""
        parameters = self.fields["parameters"]
        for name, value in parse_qsl(self.tracker.expected_query or ""):
            if parameters.get(name) != value.encode():
                return b"the query is not as expected: " + name.encode()
        if any(len(info_hash) != 20 for info_hash in self.fields["info_hashes"]):
            return b"info_hash is not 20 bytes"
        if self.action == "scrape":
            return None
        for name in ("info_hash", "peer_id"):
            if len(parameters.get(name, b"")) != 20:
                return name.encode() + b" is not 20 bytes"
        for name, default in (("port", b""), ("left", b"1"), ("numwant", b"-1")):
            if not re.match(b"-?[0-9]{1,20}$", parameters.get(name, default)):
                return name.encode() + b" is not a number"
        if not 0 < int(parameters["port"]) < 65536:
            return b"port is out of range"
        return None

    def _announce(self):
        parameters = self.fields["parameters"]
        swarms = self.tracker.swarms
        info_hash, peer_id = parameters["info_hash"], parameters["peer_id"]
        event = parameters.get("event", b"").decode("latin-1")
        left = int(parameters.get("left", 1))
        swarms.announce(
            info_hash, peer_id, self.client[0], int(parameters["port"]), left, event
        )
        wanted = int(parameters.get("numwant", -1))
        peers = [] if event == "stopped" else swarms.peers(info_hash, peer_id, wanted)
        counts = swarms.counts(info_hash)
        answer = {
            b"complete": counts.seeders,
            b"incomplete": counts.leechers,
            b"interval": self.tracker.interval,
            b"min interval": self.tracker.interval,
        }
        if parameters.get("compact") == b"1":
            answer[b"peers"] = compact_peers(peers, socket.AF_INET)
            answer[b"peers6"] = compact_peers(peers, socket.AF_INET6)
        else:
            answer[b"peers"] = [dictionary_of(peer) for peer in peers]
        return answer

    def _scrape(self):
        info_hashes = self.fields["info_hashes"] or self.tracker.swarms.info_hashes()
        return {b"files": {info_hash: self._scrape_entry(info_hash) for info_hash in info_hashes}}

    def _scrape_entry(self, info_hash):
        counts = self.tracker.swarm(info_hash)
        return {
            b"complete": counts.seeders,
            b"downloaded": counts.completed,
            b"incomplete": counts.leechers,
        }

    def usual_response(self):
        """Return (status, content type, body) of the right response."""
        if self.fields["method"] != "GET":
            return "405 Method Not Allowed", "text/plain", b"only GET is known here\n"
        if self.action != "other":
            return "200 OK", "text/plain", bencode.encode(self.answer())
        if self.service == "health" and self.path == HEALTH_PATH:
            return "200 OK", "application/json", b'{"status":"Ok"}'
        return "404 Not Found", "text/plain", b"nothing here\n"

    def usual_body(self):
        return self.usual_response()[2]

    # Answering

    async def write(self, data):
        self._writer.write(data)
        await self._writer.drain()

    async def respond(self, body=None, status=None, content_type=None, headers=None):
        """Send a whole response: the usual one but for what is given.

        A header with the value None is left out, Content-Length too.
        """
        usual_status, usual_type = "200 OK", "text/plain"
        if body is None:
            usual_status, usual_type, body = self.usual_response()
        all_headers = {
            "Content-Type": content_type or usual_type,
            "Content-Length": len(body),
            "Connection": "close",
        }
        all_headers.update(headers or {})
        await self.write(http_head(status or usual_status, all_headers) + body)

    def target(self, fault):
        """Return path and query of this request, with a fault of this name in the path."""
        return "/fault/{}{}?{}".format(fault, self.path, self.fields["query"])

    def url(self, fault):
        """Return the URL of this request, with a fault of this name in the path."""
        host = join_address(*self._writer.get_extra_info("sockname")[:2])
        host = {name.lower(): value for name, value in self.fields["headers"]}.get("host", host)
        return "{}://{}{}".format("https" if self.tracker.tls else "http", host, self.target(fault))

    async def respond_with_fault(self, name):
        """Do what the fault does, but no longer than the client stays."""
        handler, actions = HTTP_HANDLERS[name]
        if actions and self.action not in actions:
            await self.respond()
            return
        fault = self.tracker.loop.create_task(handler(self))
        client_left = self.tracker.loop.create_task(self._wait_until_client_leaves())
        try:
            await asyncio.wait([fault, client_left], return_when=asyncio.FIRST_COMPLETED)
            if fault.done():
                fault.result()
        finally:
            fault.cancel()
            client_left.cancel()
            await asyncio.gather(fault, client_left, return_exceptions=True)

    async def _wait_until_client_leaves(self):
        while await self._reader.read(65536):
            pass

    async def reset(self):
        """Break the connection off with a TCP reset."""
        # A reset takes with it what the client has not yet read: leave it the time to.
        await asyncio.sleep(RESET_SECONDS)
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


# HTTP faults: a handler is a coroutine function that takes an exchange and does what it wants in
# place of the right response; the connection is closed when it ends


def enter_http_faults(actions, rows):
    """Enter faults (name, description, handler) that concern requests of these actions alone."""
    for name, description, handler in rows:
        HTTP_FAULTS[name] = description
        HTTP_HANDLERS[name] = handler, actions


def respond(body=None, status=None, content_type=None, headers=None):
    """The right response but for what is given; body may be a function of the right body."""
    async def handler(exchange):
        sent = body(exchange.usual_body()) if callable(body) else body
        await exchange.respond(sent, status, content_type, headers)
    return handler


def answer(change):
    """The right response, but its dictionary is changed by a function."""
    async def handler(exchange):
        if exchange.problem():
            await exchange.respond()
        else:
            await exchange.respond(bencode.encode(change(exchange.answer())))
    return handler


def send(data, then=None):
    """Raw bytes, or a function of the right body that makes them; then perhaps hold or reset."""
    async def handler(exchange):
        await exchange.write(data(exchange.usual_body()) if callable(data) else data)
        if then:
            await then(exchange)
    return handler


def drip(beginning, data):
    """Raw bytes, then others again and again, one byte every tenth of a second."""
    async def handler(exchange):
        await exchange.write(beginning)
        for byte in itertools.cycle(data):
            await exchange.write(bytes([byte]))
            await asyncio.sleep(DRIP_SECONDS)
    return handler


def flood(beginning, data, times=None):
    """Raw bytes, then others again and again, as fast as the client reads."""
    async def handler(exchange):
        await exchange.write(beginning)
        for _ in range(times) if times else itertools.count():
            await exchange.write(data)
            # Where the client reads fast enough, write() alone never lets others run.
            await asyncio.sleep(0)
    return handler


def redirect(location, status="302 Found", after=0):
    """A redirect to a URL, or to what a function makes of the exchange, after some seconds."""
    async def handler(exchange):
        url = location(exchange) if callable(location) else location
        await asyncio.sleep(after)
        await exchange.respond(b"", status, headers={"Location": url})
    return handler


async def hold(exchange):
    """Keep the connection open until the client closes it."""
    await exchange.tracker.loop.create_future()


async def reset(exchange):
    await exchange.reset()


async def respond_slowly(exchange):
    await asyncio.sleep(1)
    await exchange.respond()


async def respond_and_hold(exchange):
    await exchange.respond(headers={"Connection": "keep-alive"})
    await hold(exchange)


async def send_gzip_bomb(exchange):
    compressor = zlib.compressobj(wbits=31)
    beginning = compressor.compress(b"d8:intervali120e5:peers1073741824:")
    beginning += compressor.flush(zlib.Z_FULL_FLUSH)
    # After a full flush nothing refers back, so that the same megabyte can follow again and again.
    megabyte = compressor.compress(bytes(1 << 20)) + compressor.flush(zlib.Z_FULL_FLUSH)
    send_all = flood(OK + b"Content-Encoding: gzip\r\n\r\n" + beginning, megabyte, times=1024)
    await send_all(exchange)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def in_chunks(body):
    """Return a body in chunks of 10 bytes, with the last chunk."""
    return b"".join(chunk(body[at:at + 10]) for at in range(0, len(body), 10)) + b"0\r\n\r\n"


def broken_gzip(body):
    compressed = bytearray(gzip.compress(body))
    compressed[10:20] = b"\xff" * 10
    return bytes(compressed)


def to(name, further=""):
    """A function that returns the URL of the same request with this fault."""
    return lambda exchange: exchange.url(name) + further


def next_hop(name):
    """A function that returns another URL each time, with this same fault."""
    return lambda exchange: "{}&hop={}".format(
        exchange.url(name), exchange.tracker.random.getrandbits(32)
    )


def with_keys(dictionary, further):
    return dict(list(dictionary.items()) + list(further.items()))


def without_keys(dictionary, *keys):
    return {key: value for key, value in dictionary.items() if key not in keys}


def with_peers(peers):
    """A function that puts these peers into an announce answer, in place of the right ones."""
    return lambda right: with_keys(without_keys(right, b"peers6"), {b"peers": peers})


def with_hashes(change):
    """A function that changes the info hashes of a scrape answer."""
    return lambda right: {
        b"files": {change(info_hash): entry for info_hash, entry in right[b"files"].items()}
    }


def with_entries(further):
    """A function that adds to the entries of a scrape answer."""
    return lambda right: {
        b"files": {key: with_keys(entry, further) for key, entry in right[b"files"].items()}
    }


def pairs_of(body):
    """Return the pairs of a bencoded dictionary, each as (key, value), both bencoded."""
    dictionary = bencode.decode(body)
    return [(bencode.encode(key), bencode.encode(dictionary[key])) for key in sorted(dictionary)]


def reversed_keys(body):
    return b"d%se" % b"".join(key + value for key, value in reversed(pairs_of(body)))


def doubled_keys(body):
    """Return the body with each key twice, first with the value 0."""
    return b"d%se" % b"".join(key + b"i0e" + key + value for key, value in pairs_of(body))


def with_first_pair(pair):
    """A function that puts a bencoded key and value at the head of a bencoded dictionary."""
    return lambda body: b"d" + pair + body[1:]


enter_http_faults((), [
    ("none", "fine: no fault, also where one is set for all requests", respond()),

    # Silence, and connections that break
    ("silent", "accepts the request and says nothing", hold),
    ("silent-after-status-line", "a status line, then silence", send(OK, hold)),
    ("silent-after-headers", "all headers, then silence",
     send(OK + b"Content-Length: 100\r\n\r\n", hold)),
    ("silent-in-body", "the beginning of a body, then silence",
     send(OK + b"Content-Length: 100\r\n\r\nd8:interval", hold)),
    ("silent-handshake", "says nothing, not even a TLS handshake", hold),
    ("slow", "fine, but the response comes after a second", respond_slowly),
    ("close", "closes the connection without a word", send(b"")),
    ("close-after-status-line", "a status line, then the end", send(OK)),
    ("close-in-headers", "the end comes within a header", send(OK + b"Content-Type: text/pl")),
    ("reset", "breaks the connection off with a TCP reset", reset),
    ("reset-in-body", "breaks the connection off within the body",
     send(OK + b"Content-Length: 100\r\n\r\nd8:interval", reset)),
    ("reset-handshake", "breaks the connection off before any TLS handshake", reset),

    # Drips, a byte every tenth of a second
    ("drip-handshake", "a TLS handshake message without end, byte by byte",
     drip(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc", b"\0")),
    ("drip-status-line", "a status line without end, byte by byte", drip(b"HTTP/1.1 200 ", b"O")),
    ("drip-headers", "headers without end, byte by byte", drip(OK, b"X-A: b\r\n")),
    ("drip-continue", "100 Continue without end, byte by byte",
     drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n")),
    ("drip-body", "a body without end, byte by byte",
     drip(OK + b"Content-Length: 1000000\r\n\r\nd8:intervali120e5:peers999900:", b"\0")),
    ("drip-chunk-size", "a chunk size without end, byte by byte", drip(CHUNKED, b"0")),
    ("drip-chunks", "chunks of one byte without end, byte by byte",
     drip(CHUNKED + chunk(b"d8:intervali120e5:peers999900:"), chunk(b"\0"))),

    # What never ends, or is far too long
    ("endless-status-line", "a status line without end", flood(b"HTTP/1.1 200 ", b"O" * 65536)),
    ("endless-continue", "100 Continue without end",
     flood(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
    ("endless-headers", "headers without end", flood(OK, b"X-Header: value\r\n" * 1000)),
    ("endless-header-line", "a header line without end", flood(OK + b"X-Header: ", b"v" * 65536)),
    ("too-many-headers", "10,000 headers before a right response",
     respond(headers={"X-Header-{}".format(number): "v" for number in range(10000)})),
    ("endless-body", "a body without end and without a length",
     flood(OK + b"\r\nd8:intervali120e5:peers99999999999:", bytes(65536))),
    ("endless-chunks", "chunks without end",
     flood(CHUNKED + chunk(b"d8:intervali120e5:peers99999999999:"), chunk(bytes(65536)))),
    ("endless-small-chunks", "chunks of one byte without end",
     flood(CHUNKED + chunk(b"d8:intervali120e5:peers99999999999:"), chunk(b"\0") * 10000)),
    ("endless-chunk-size-line", "a chunk extension without end",
     flood(CHUNKED + b"5;", b"extension=" * 6000)),
    ("endless-trailers", "headers without end after the last chunk",
     flood(CHUNKED + b"0\r\n", b"X-Trailer: value\r\n" * 1000)),
    ("large-body", "a body of 200 MB that says its length",
     flood(OK + b"Content-Length: 209715200\r\n\r\n", bytes(1 << 20), times=200)),

    # What is not HTTP
    ("not-http", "the greeting of a mail server", send(b"220 mail.example ESMTP\r\n")),
    ("binary-junk", "bytes of all values", send(bytes(range(256)) * 4)),
    ("no-status-line", "the right body without status line and headers", send(lambda body: body)),
    ("status-not-a-number", "a status line with a word for its number", respond(status="OK 200")),
    ("header-without-colon", "a line that is no header, then the right response",
     send(lambda body: OK + b"no header\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))),

    # Statuses and pages
    ("html", "an HTML page under 200", respond(PAGE, content_type="text/html")),
    ("html-400", "an HTML page under 400, as opentracker answers compact=0",
     respond(PAGE, "400 Invalid Request", "text/html")),
    ("html-404", "an HTML page under 404", respond(PAGE, "404 Not Found", "text/html")),
    ("html-503", "an HTML page under 503", respond(PAGE, "503 Service Unavailable", "text/html")),
    ("html-control-characters", "a page with ESC, newlines, C1 and direction marks",
     respond(HOSTILE_TEXT.encode(), content_type="text/html")),
    ("content-type-control-characters", "a content type with ESC, C1 and direction marks",
     respond(PAGE, content_type="text/html" + HOSTILE_LINE)),
    ("reason-phrase-control-characters", "404, its phrase with ESC, C1 and direction marks",
     respond(b"", "404 " + HOSTILE_LINE)),
    ("answer-404", "the right body under 404", respond(status="404 Not Found")),
    ("answer-500", "the right body under 500", respond(status="500 Internal Server Error")),
    ("status-204", "204 without a body", respond(b"", "204 No Content")),
    ("status-304", "304, though nobody asked what is new", respond(b"", "304 Not Modified")),
    ("status-401", "401 that asks for a name and password",
     respond(b"", "401 Unauthorized", headers={"WWW-Authenticate": 'Basic realm="tracker"'})),
    ("status-500", "500 with a line of text",
     respond(b"out of order\n", "500 Internal Server Error")),
    ("status-999", "a status that does not exist", respond(b"denied\n", "999 Request Denied")),

    # Lengths
    ("empty-body", "200 with a body of no bytes", respond(b"")),
    ("cut-off", "the first half of the right body, under the length of that half",
     respond(lambda body: body[:len(body) // 2])),
    ("shorter-than-announced", "half of the right body, under the length of the whole",
     send(lambda body: OK + b"Content-Length: %d\r\n\r\n%s" % (len(body), body[:len(body) // 2]))),
    ("longer-than-announced", "the right body, under the length of half",
     send(lambda body: OK + b"Content-Length: %d\r\n\r\n%s" % (len(body) // 2, body))),
    ("huge-content-length", "the right body, under the length of an exabyte",
     respond(headers={"Content-Length": 10 ** 18})),
    ("negative-content-length", "the right body, under the length -1",
     respond(headers={"Content-Length": -1})),
    ("content-length-not-a-number", "the right body, under the length `many`",
     respond(headers={"Content-Length": "many"})),
    ("keep-open", "fine: the connection stays open after the response", respond_and_hold),
    ("no-length-no-end", "the right body without a length, and the connection stays open",
     send(lambda body: OK + b"\r\n" + body, hold)),
    ("http-1.0-no-length", "fine: HTTP/1.0, the body ends where the connection does",
     send(lambda body: b"HTTP/1.0 200 OK\r\n\r\n" + body)),
    ("continue", "fine: 100 Continue before the response",
     send(lambda body: b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n" + body)),

    # Transfer and content codings
    ("chunked", "fine: the body in chunks of 10 bytes",
     send(lambda body: CHUNKED + in_chunks(body))),
    ("chunked-with-extras", "fine: a chunk with an extension, and a trailer",
     send(lambda body: CHUNKED + b"%x;name=value\r\n%s\r\n0\r\nX-Trailer: value\r\n\r\n" % (
         len(body), body))),
    ("chunks-cut-off", "the right body in a chunk, but no last chunk",
     send(lambda body: CHUNKED + chunk(body))),
    ("bad-chunk-size", "a chunk size that is no number", send(CHUNKED + b"zz\r\nd8:interval")),
    ("negative-chunk-size", "a chunk size below zero", send(CHUNKED + b"-5\r\nd8:interval")),
    ("huge-chunk-size", "a chunk size of 16 exabytes",
     send(CHUNKED + b"ffffffffffffffff\r\nd8:interval")),
    ("gzip", "fine: compressed by gzip, though nobody asked for it",
     respond(gzip.compress, headers=GZIP)),
    ("gzip-broken", "gzip with broken content", respond(broken_gzip, headers=GZIP)),
    ("gzip-cut-off", "gzip that ends too early",
     respond(lambda body: gzip.compress(body)[:-20], headers=GZIP)),
    ("gzip-not", "the right body, said to be gzip", respond(headers=GZIP)),
    ("gzip-bomb", "1 MB of gzip that unpacks to 1 GB", send_gzip_bomb),
    ("deflate", "fine: compressed by deflate (zlib), though nobody asked for it",
     respond(zlib.compress, headers={"Content-Encoding": "deflate"})),
    ("unknown-coding", "a content coding that nobody knows",
     respond(b"\x8b\x02\x80", headers={"Content-Encoding": "x-unheard-of"})),

    # Redirects
    ("redirect", "fine: a redirect to the same server", redirect(to("none"))),
    ("redirect-308", "fine: a permanent redirect with the status 308",
     redirect(to("none"), "308 Permanent Redirect")),
    ("redirect-relative", "fine: a redirect whose Location is only a path",
     redirect(lambda exchange: exchange.target("none"), "301 Moved Permanently")),
    ("redirect-other-host", "a redirect to the URL in the tracker's redirect_target",
     redirect(lambda exchange: exchange.tracker.redirect_target)),
    ("redirect-loop", "a redirect to itself", redirect(to("redirect-loop"))),
    ("redirect-endless", "redirects without end, each to another URL",
     redirect(next_hop("redirect-endless"))),
    ("redirect-slow", "redirects without end, each after a second",
     redirect(next_hop("redirect-slow"), after=1)),
    ("redirect-to-silence", "a redirect to a URL that is never answered",
     redirect(to("silent"))),
    ("redirect-to-drip", "a redirect to a body that comes byte by byte", redirect(to("drip-body"))),
    ("redirect-to-closed-port", "a redirect to a port that nobody listens on",
     redirect(lambda exchange: "http://127.0.0.1:1" + exchange.path)),
    ("redirect-file", "a redirect to file:///etc/passwd", redirect("file:///etc/passwd")),
    ("redirect-ftp", "a redirect to an FTP server", redirect("ftp://127.0.0.1/announce")),
    ("redirect-no-location", "a redirect that does not say where", redirect(None)),
    ("redirect-bad-url", "a redirect to what is no URL", redirect("http://[::1/")),
    ("redirect-control-characters", "a redirect to a URL with spaces, ESC and direction marks",
     redirect(to("none", "&x=" + HOSTILE_LINE))),
    ("redirect-crlf", "a redirect whose Location goes on in a folded line, to forge a header",
     redirect(to("none", "\r\n X-Forged: yes"))),

    # Bodies
    ("trailing-crlf", "fine: CR LF after the right body, as aquatic sends it",
     respond(lambda body: body + b"\r\n")),
    ("trailing-junk", "an HTML comment after the right body",
     respond(lambda body: body + b"<!-- served by a proxy -->")),
    ("text-html-bencode", "fine: the right body, said to be HTML",
     respond(content_type="text/html; charset=utf-8")),
])
enter_http_faults(("announce", "scrape"), [
    # Failure reasons
    ("failure", "a failure reason", respond(FAILURE)),
    ("failure-404", "a failure reason under 404", respond(FAILURE, "404 Not Found")),
    ("failure-503", "a failure reason under 503", respond(FAILURE, "503 Service Unavailable")),
    ("failure-retry-in", "a failure reason, and the minutes after which to try again (BEP 31)",
     answer(lambda right: with_keys(failure(b"overloaded"), {b"retry in": 5}))),
    ("failure-retry-never", "a failure reason, and never to try again (BEP 31)",
     answer(lambda right: with_keys(failure(b"gone for good"), {b"retry in": b"never"}))),
    ("failure-empty", "a failure reason of no characters", answer(lambda right: failure(b""))),
    ("failure-control-characters", "a failure reason with ESC, newlines, C1 and direction marks",
     answer(lambda right: failure(HOSTILE_TEXT.encode()))),
    ("failure-latin1", "a failure reason in Latin-1", answer(lambda right: failure(b"refus\xe9"))),
    ("failure-not-text", "a failure reason that is a number", answer(lambda right: failure(13))),
    ("failure-beside-answer", "a failure reason in a right answer",
     answer(lambda right: with_keys(right, failure(b"half-hearted")))),

    # Dictionaries
    ("not-a-dictionary", "a list", respond(b"li1ei2ee")),
    ("empty-dictionary", "a dictionary with nothing in it", respond(b"de")),
    ("control-characters-in-keys", "a key and its value with ESC, newlines and direction marks",
     answer(lambda right: with_keys(right, {HOSTILE_TEXT.encode(): HOSTILE_TEXT.encode()}))),
    ("unsorted-keys", "fine: the keys in reverse order", respond(reversed_keys)),
    ("duplicate-keys", "each key twice, first with the value 0", respond(doubled_keys)),
    ("deep-nesting", "lists in lists, 100,000 deep",
     respond(with_first_pair(b"1:a" + b"l" * 100000 + b"e" * 100000))),
    ("huge-integer", "a number of 10,000 digits",
     respond(with_first_pair(b"1:ai" + b"9" * 10000 + b"e"))),
    ("leading-zero", "a number with leading zeros, which bencode forbids",
     respond(with_first_pair(b"1:ai007e"))),
    ("huge-string-length", "a byte string that says it is an exabyte",
     respond(with_first_pair(b"1:a1000000000000000000:"))),
])
enter_http_faults(("announce",), [
    ("missing-interval", "an announce answer without interval",
     answer(lambda right: without_keys(right, b"interval"))),
    ("missing-min-interval", "fine: an announce answer without min interval, as aquatic's",
     answer(lambda right: without_keys(right, b"min interval"))),
    ("missing-counts", "fine: an announce answer without complete and incomplete",
     answer(lambda right: without_keys(right, b"complete", b"incomplete"))),
    ("missing-peers", "an announce answer without peers",
     answer(lambda right: without_keys(right, b"peers", b"peers6"))),
    ("wrong-types", "interval is text and peers a number",
     answer(lambda right: with_keys(right, {b"interval": b"soon", b"peers": 7, b"peers6": 7}))),
    ("odd-types", "counts are text and lists; the rest is right",
     answer(lambda right: with_keys(right, {
         b"complete": b"many", b"incomplete": [1], b"min interval": {b"seconds": 1}}))),
    ("negative-numbers", "interval and counts below zero",
     answer(lambda right: with_keys(right, {
         b"complete": -2, b"incomplete": -3, b"interval": -1, b"min interval": -1}))),
    ("extra-keys", "fine: tracker id, warning message, external ip, downloaded",
     answer(lambda right: with_keys(right, {
         b"downloaded": 12, b"external ip": b"\xc6\x33\x64\x07", b"tracker id": b"id 1",
         b"warning message": b"please update"}))),
    ("warning-control-characters", "a warning message with ESC, newlines and direction marks",
     answer(lambda right: with_keys(right, {b"warning message": HOSTILE_TEXT.encode()}))),
    ("peers-only", "fine: two compact peers, and no peers6", answer(with_peers(COMPACT_PEERS))),
    ("peers6-only", "fine: two compact peers in peers6, and no peers",
     answer(lambda right: with_keys(without_keys(right, b"peers"), {b"peers6": COMPACT_PEERS6}))),
    ("uneven-peers", "two compact peers and the half of a third",
     answer(with_peers(COMPACT_PEERS + b"\xc6\x33\x64"))),
    ("dictionary-peers", "fine: two peers as dictionaries, also where compact ones were asked for",
     answer(with_peers([
         {b"ip": b"198.51.100.7", b"peer id": b"-LT0001-dictionary01", b"port": 6881},
         {b"ip": b"2001:db8::7", b"peer id": b"-LT0001-dictionary02", b"port": 6882}]))),
    ("named-peers", "fine: a peer as a dictionary, with a name for its address (BEP 3)",
     answer(with_peers([
         {b"ip": b"peer.example", b"peer id": b"-LT0001-dictionary01", b"port": 6881}]))),
    ("broken-dictionary-peers", "peers as dictionaries: keys missing, of wrong types, out of range",
     answer(with_peers([
         {}, {b"ip": b"198.51.100.7"}, {b"port": 6881},
         {b"ip": 7, b"peer id": [], b"port": b"6881"},
         {b"ip": b"", b"peer id": b"short", b"port": 70000},
         {b"ip": b"\xff\xfe", b"peer id": b"-LT0001-dictionary01", b"port": -1},
         13, b"198.51.100.7:6881", []]))),
    ("peer-control-characters", "a peer whose address has ESC, newlines and direction marks",
     answer(with_peers([{b"ip": HOSTILE_TEXT.encode(), b"port": 6881}]))),
    ("many-peers", "100,000 compact peers, however many were wanted",
     answer(with_peers(COMPACT_PEERS * 50000))),
    ("too-many-peers", "1,000,000 compact peers, 6 MB", answer(with_peers(COMPACT_PEERS * 500000))),
])
enter_http_faults(("scrape",), [
    ("scrape-silent", "accepts a scrape request and says nothing", hold),
    ("scrape-empty", "a scrape answer with no entry in files",
     answer(lambda right: {b"files": {}})),
    ("scrape-truncated", "a scrape answer that lacks the last entry",
     answer(lambda right: {b"files": dict(sorted(right[b"files"].items())[:-1])})),
    ("scrape-flags", "fine: a scrape answer with flags beside files (BEP 48)",
     answer(lambda right: with_keys(right, {b"flags": {b"min_request_interval": 900}}))),
    ("scrape-extra-keys", "fine: a scrape answer with name and downloaders per torrent",
     answer(with_entries({b"downloaders": 3, b"name": b"a file"}))),
    ("scrape-odd-types", "a scrape answer whose counts are text and lists",
     answer(with_entries({b"complete": b"many", b"downloaded": [1]}))),
    ("scrape-negative", "a scrape answer with numbers below zero",
     answer(with_entries({b"complete": -1, b"downloaded": -2, b"incomplete": -3}))),
    ("scrape-name-control-characters", "a scrape answer with ESC, newlines and more in a name",
     answer(with_entries({b"name": HOSTILE_TEXT.encode()}))),
    ("missing-files", "a scrape answer without files",
     answer(lambda right: {b"flags": {b"min_request_interval": 900}})),
    ("files-not-a-dictionary", "a scrape answer whose files are a list",
     answer(lambda right: {b"files": [1]})),
    ("files-of-numbers", "a scrape answer whose entries are numbers",
     answer(lambda right: {b"files": {info_hash: 1 for info_hash in right[b"files"]}})),
    ("latin1-hashes", "fine: info hashes as the UTF-8 of their Latin-1, as bittorrent-tracker's",
     answer(with_hashes(lambda info_hash: info_hash.decode("latin-1").encode()))),
    ("hex-hashes", "info hashes as 40 hex digits", answer(with_hashes(binascii.hexlify))),
    ("odd-hashes", "info hashes that lack their last byte",
     answer(with_hashes(lambda info_hash: info_hash[:-1]))),
])


# The tracker


class TcpListener:
    """A TCP socket that listens for HTTP or health requests."""

    def __init__(self, service, host, port):
        self.service = service
        self.socket = socket.socket(family_of(host), socket.SOCK_STREAM)
        try:
            self.socket.setblocking(False)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family_of(host) == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            self.socket.bind((host, port))
            self.socket.listen(4096)
        except OSError:
            self.socket.close()
            raise


def listen(service, host, port):
    return UdpListener(host, port) if service == "udp" else TcpListener(service, host, port)


class Connection(asyncio.StreamReaderProtocol):
    """A stream whose end can be waited for."""

    def __init__(self, reader, loop):
        super().__init__(reader, loop=loop)
        self.ended = loop.create_future()

    def connection_lost(self, error):
        super().connection_lost(error)
        if not self.ended.done():
            self.ended.set_result(None)


class LoopbackTracker:
    """A tracker in a thread of its own, from `start()` to `stop()` or as a context manager.

    hosts: the addresses to listen on, IPv4, IPv6 or a wildcard, all with the same three ports.
    udp_fault, http_fault, health_fault: names of faults, may be changed while it runs.
    udp_faults: a dictionary of faults for single addresses asked, before udp_fault.
    tls: an ssl.SSLContext; then HTTP and the health check are HTTPS.
    interval: seconds, in announce replies.
    ports: (UDP, HTTP, health), 0 for a free one.
    expected_query: `name=value&…` that each HTTP request must have, as a passkey.
    seed: of the random losses.
    redirect_target: the URL that the fault `redirect-other-host` leads to.
    most_connections: how many HTTP connections have been open at a time, health checks included.
    Raises OSError where an address or port is not to be had.
    """

    def __init__(self, hosts=("127.0.0.1",), udp_fault=None, http_fault=None, health_fault=None,
                 tls=None, interval=INTERVAL, ports=(0, 0, 0), expected_query=None, seed=0):
        self.hosts = tuple(hosts)
        self.tls = tls
        self.interval = interval
        self.expected_query = expected_query
        self.redirect_target = None
        self.most_connections = 0
        self.swarms = Swarms()
        self.random = random.Random(seed)
        self.udp_faults = {}
        self.udp_sends = defaultdict(list)
        self.forgotten_clients = set()
        self.udp_fault = udp_fault
        self.http_fault = http_fault
        self.health_fault = health_fault
        self.udp_port, self.http_port, self.health_port = ports
        self.loop = None
        self._secret = os.urandom(16)
        self._peer_numbers = itertools.count(1)
        self._records = deque(maxlen=RECORDS_KEPT)
        self._arrival = threading.Condition()
        self._arrived = 0
        self._connections = {}
        self._listeners = []
        self._thread = None
        self._stopping = None

    # Faults

    @property
    def udp_fault(self):
        return self._udp_fault

    @udp_fault.setter
    def udp_fault(self, name):
        check_fault(name, UDP_FAULTS)
        self.udp_sends.clear()
        self.forgotten_clients.clear()
        self._udp_fault = name

    @property
    def http_fault(self):
        return self._http_fault

    @http_fault.setter
    def http_fault(self, name):
        check_fault(name, HTTP_FAULTS)
        self._http_fault = name

    @property
    def health_fault(self):
        return self._health_fault

    @health_fault.setter
    def health_fault(self, name):
        check_fault(name, HTTP_FAULTS)
        self._health_fault = name

    # Addresses

    @property
    def udp_url(self):
        return "udp://" + join_address(reachable(self.hosts[0]), self.udp_port)

    @property
    def http_url(self):
        return self._web_url(self.http_port)

    @property
    def health_url(self):
        return self._web_url(self.health_port) + HEALTH_PATH

    def _web_url(self, port):
        if self.tls:
            return "https://localhost:{}".format(port)
        return "http://" + join_address(reachable(self.hosts[0]), port)

    # What arrived

    @property
    def requests(self):
        """The Records of all requests so far, in the order of their arrival."""
        with self._arrival:
            return list(self._records)

    def wait_for(self, predicate, timeout=5):
        """Return the first Record that satisfies the predicate, waiting for it.

        Raises AssertionError with what arrived when it does not come in `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        seen = 0
        with self._arrival:
            while True:
                new = min(self._arrived - seen, len(self._records))
                seen = self._arrived
                for record in itertools.islice(self._records, len(self._records) - new, None):
                    if predicate(record):
                        return record
                self._arrival.wait(max(0, deadline - time.monotonic()))
                if self._arrived == seen and time.monotonic() >= deadline:
                    raise AssertionError("not among the requests that arrived:\n{}".format(
                        "\n".join(map(str, self._records)) or "none"
                    ))

    def record(self, protocol, request, address):
        """Enter a request, a UdpQuery or HttpExchange, among those that arrived."""
        record = Record(protocol, request.action, request.fields, address[:2], time.monotonic())
        with self._arrival:
            self._records.append(record)
            self._arrived += 1
            self._arrival.notify_all()

    @property
    def open_connections(self):
        """The number of HTTP connections open now, health checks included."""
        return len(self._connections)

    # Swarms

    def add_peer(self, info_hash, address, port, left=0, peer_id=None):
        """Let a peer be in a swarm; without a peer id it gets one of its own."""
        peer_id = peer_id or b"-LT0001-%012d" % next(self._peer_numbers)
        self.swarms.announce(info_hash, peer_id, address, port, left, "none")

    def swarm(self, info_hash):
        """Return the Counts (seeders, completed, leechers) of a swarm."""
        return self.swarms.counts(info_hash)

    # Life

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def start(self):
        self._listeners = self._bind()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def stop(self):
        """End all that is under way and close all sockets; a second stop does nothing."""
        if self._thread:
            self.loop.call_soon_threadsafe(self._stopping.set)
            self._thread.join()
            self._thread = None

    def _bind(self):
        """Return the listeners; where ports are free to choose, try until all hosts have them."""
        wanted = self.udp_port, self.http_port, self.health_port
        for _ in range(BIND_ATTEMPTS):
            listeners = []
            ports = list(wanted)
            try:
                for host in self.hosts:
                    for number, service in enumerate(SERVICES):
                        listeners.append(listen(service, host, ports[number]))
                        ports[number] = listeners[-1].socket.getsockname()[1]
            except OSError as error:
                for listener in listeners:
                    listener.socket.close()
                first_host_bound = len(listeners) >= len(SERVICES)
                if error.errno != errno.EADDRINUSE or not first_host_bound or 0 not in wanted:
                    raise
            else:
                self.udp_port, self.http_port, self.health_port = ports
                return listeners
        raise OSError(errno.EADDRINUSE, "no port is free on all of " + ", ".join(self.hosts))

    def _run(self, ready):
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(report_exception)
        try:
            self.loop.run_until_complete(self._serve(ready))
        finally:
            self.loop.close()

    async def _serve(self, ready):
        self._stopping = asyncio.Event()
        for listener in self._listeners:
            receive = self._receive if listener.service == "udp" else self._accept
            self.loop.add_reader(listener.socket, receive, listener)
        ready.set()
        await self._stopping.wait()
        for listener in self._listeners:
            self.loop.remove_reader(listener.socket)
            listener.socket.close()
        await self._close_connections()

    async def _close_connections(self):
        for task in self._connections:
            task.cancel()
        connections = dict(self._connections)
        await asyncio.gather(*connections, return_exceptions=True)
        for _ in range(3):
            # What a transport does after its abort is done in the loop's next rounds.
            await asyncio.sleep(0)
        for connection in connections.values():
            # A task that was cancelled before its first step has left its socket open.
            connection.close()

    # UDP

    def connection_id(self, client):
        """Return the connection id of a client's address: random, but the same for a time."""
        state = client, client in self.forgotten_clients
        digest = hashlib.blake2b(repr(state).encode(), key=self._secret, digest_size=8).digest()
        return struct.unpack(">q", digest)[0]

    def _receive(self, listener):
        for _ in range(BATCH):
            try:
                query = UdpQuery(self, listener, *listener.receive())
            except BlockingIOError:
                return
            except OSError:
                # The error of an earlier send, a port that was closed meanwhile.
                continue
            self.record("udp", query, query.client)
            self._answer_query(query)

    def _answer_query(self, query):
        fault = self.udp_faults.get(query.fields["local_address"], self.udp_fault)
        handler, actions = UDP_HANDLERS[fault] if fault else (None, ())
        if query.action in actions:
            handler(query)
        elif len(query.datagram) >= 16:
            query.send(query.answer())

    # HTTP

    def _accept(self, listener):
        for _ in range(BATCH):
            try:
                connection, _ = listener.socket.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self._pause_accepting(listener)
                return
            connection.setblocking(False)
            task = self.loop.create_task(self._serve_connection(connection, listener.service))
            self._connections[task] = connection
            self.most_connections = max(self.most_connections, len(self._connections))
            task.add_done_callback(self._connections.pop)

    def _pause_accepting(self, listener):
        """Out of file descriptors: raise the limit, and try again in a moment."""
        raise_open_files_limit()
        self.loop.remove_reader(listener.socket)
        self.loop.call_later(0.1, self._resume_accepting, listener)

    def _resume_accepting(self, listener):
        if not self._stopping.is_set():
            self.loop.add_reader(listener.socket, self._accept, listener)

    async def _serve_connection(self, connection, service):
        fault = self.http_fault if service == "http" else self.health_fault
        speaks = fault not in HANDSHAKE_FAULTS
        reader = asyncio.StreamReader(limit=HTTP_HEAD_LIMIT, loop=self.loop)
        stream = Connection(reader, self.loop)
        transport = None
        try:
            transport, _ = await self.loop.connect_accepted_socket(
                lambda: stream, connection, ssl=self.tls if speaks else None
            )
            writer = asyncio.StreamWriter(transport, stream, reader, self.loop)
            exchange = HttpExchange(self, service, reader, writer)
            if speaks:
                await self._serve_request(exchange, fault)
            else:
                await exchange.respond_with_fault(fault)
            writer.close()
            await stream.ended
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The client left, or sent no HTTP.
            pass
        finally:
            if transport:
                transport.abort()
                # After abort() alone a TLS transport of Python 3.6 takes itself for open.
                transport.close()
            else:
                connection.close()

    async def _serve_request(self, exchange, fault):
        if not await exchange.read_request():
            await exchange.write(http_head("400 Bad Request", {"Connection": "close"}))
            return
        self.record(exchange.service, exchange, exchange.client)
        fault = exchange.fault_in_path or fault
        if fault is None or exchange.fields["method"] != "GET":
            await exchange.respond()
        elif fault in HTTP_HANDLERS:
            await exchange.respond_with_fault(fault)
        else:
            await exchange.respond(b"no such fault\n", "404 Not Found")


def check_fault(name, faults):
    if name is not None and name not in faults:
        raise ValueError("unknown fault {!r}, expected one of: {}".format(name, ", ".join(faults)))


def report_exception(loop, context):
    """Show what the event loop could not handle, but for what a client does to its connection."""
    if not isinstance(context.get("exception"), OSError):
        loop.default_exception_handler(context)


def raise_open_files_limit():
    if resource:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


# The command


EXAMPLES = """examples:
  python3 tests/loopback_tracker.py -- python3 tracker_checker.py
  python3 tests/loopback_tracker.py -- sh -c \\
      'python3 udp_tracker_client.py announce "$UDP_TRACKER" HASH'
  python3 tests/loopback_tracker.py --udp-fault silent -- python3 tracker_checker.py
  python3 tests/loopback_tracker.py --http-port 7070        (serves until Ctrl-C)
  python3 tests/loopback_tracker.py --list-faults

The command finds the tracker in its environment: TORRUST_CHECKER_CONFIG, a configuration of the
checker with all three; UDP_TRACKER, HTTP_TRACKER and HEALTH_CHECK, their URLs. no_proxy keeps it
from asking a proxy. The exit code is that of the command, 128 + N when it died of signal N.
"""


class ArgumentParser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        self.exit(2, "{0}: error: {1} (see {0} --help)\n".format(self.prog, message))


def parse_arguments(arguments):
    """Return (options, command)."""
    parser = ArgumentParser(
        usage="%(prog)s [options] [-- COMMAND ...]",
        description="Run a small BitTorrent tracker on loopback, around a command or until Ctrl-C.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", action="append", metavar="ADDRESS", dest="hosts",
                        help="address to listen on, repeatable (127.0.0.1, and ::1 if there is)")
    for service in SERVICES:
        parser.add_argument("--{}-port".format(service), type=port_number, default=0,
                            metavar="PORT", help="a port rather than a free one")
    for service, faults in zip(SERVICES, (UDP_FAULTS, HTTP_FAULTS, HTTP_FAULTS)):
        parser.add_argument("--{}-fault".format(service), metavar="NAME", type=fault_of(faults),
                            help="what to do wrong, see --list-faults")
    parser.add_argument("--list-faults", action="store_true", help="show all faults")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:end])
    command = arguments[end + 1:]
    if end < len(arguments) and not command:
        parser.error("expected a command after --")
    return options, command


def port_number(text):
    if not re.match("[0-9]{1,5}$", text) or int(text) > 65535:
        raise argparse.ArgumentTypeError("expected a port from 0 to 65535, not " + ascii(text))
    return int(text)


def fault_of(faults):
    def parse(name):
        if name not in faults:
            raise argparse.ArgumentTypeError("unknown fault {}, see --list-faults".format(
                ascii(name)))
        return name
    return parse


def list_faults():
    """Print a table of the faults; a reader that leaves early is no error."""
    lines = []
    for title, faults in (("UDP", UDP_FAULTS), ("HTTP and health check", HTTP_FAULTS)):
        lines.append(title)
        lines += ["  {:34} {}".format(*fault) for fault in faults.items()]
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:
        # Else the interpreter would complain when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def default_hosts():
    """Return the loopback addresses that this machine has."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return ["127.0.0.1"]
    return ["127.0.0.1", "::1"]


def print_addresses(tracker):
    for title, form, port in (
        ("UDP tracker", "udp://{}", tracker.udp_port),
        ("HTTP tracker", "http://{}", tracker.http_port),
        ("Health check", "http://{}" + HEALTH_PATH, tracker.health_port),
    ):
        urls = [
            ("IPv6 " if ":" in host else "") + form.format(join_address(host, port))
            for host in map(reachable, tracker.hosts)
        ]
        print("{}: {}".format(title, " and ".join(urls)), file=sys.stderr)


def environment_for(tracker):
    """Return the environment in which a command finds the tracker."""
    environment = dict(os.environ)
    environment.pop("TORRUST_CHECKER_CONFIG_PATH", None)
    environment.update(
        TORRUST_CHECKER_CONFIG=json.dumps({
            "udp_trackers": [tracker.udp_url[len("udp://"):]],
            "http_trackers": [tracker.http_url],
            "health_checks": [tracker.health_url],
        }),
        UDP_TRACKER=tracker.udp_url,
        HTTP_TRACKER=tracker.http_url,
        HEALTH_CHECK=tracker.health_url,
        no_proxy="127.0.0.1,localhost,::1",
    )
    return environment


def run_command(command, environment):
    """Run a command to its end and return its exit code, as a shell gives it.

    A terminal sends Ctrl-C to the command as well, so that it is only waited for; a SIGTERM is
    passed on.
    """
    terminated = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: terminated.set())
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as error:
        print("{}: {}".format(command[0], error.strerror), file=sys.stderr)
        return 127 if isinstance(error, FileNotFoundError) else 126
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    if terminated.is_set():
        child.terminate()
    code = child.wait()
    return code if code >= 0 else 128 - code


def main(arguments):
    options, command = parse_arguments(arguments)
    if options.list_faults:
        list_faults()
        return 0
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    tracker = LoopbackTracker(
        options.hosts or default_hosts(),
        options.udp_fault, options.http_fault, options.health_fault,
        ports=(options.udp_port, options.http_port, options.health_port),
    )
    try:
        tracker.start()
    except OSError as error:
        print("cannot listen: {}".format(error.strerror or error), file=sys.stderr)
        return 2
    try:
        print_addresses(tracker)
        if command:
            return run_command(command, environment_for(tracker))
        threading.Event().wait()
    finally:
        tracker.stop()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
