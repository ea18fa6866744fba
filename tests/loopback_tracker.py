#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""A real small BitTorrent tracker on loopback, with faults to order, for tests and first steps.

It speaks UDP (BEP 15, BEP 41), HTTP (announce of BEP 3, 7 and 23, scrape of BEP 48), WebSocket
(WebTorrent, on the port of HTTP, as bittorrent-tracker does it) and has a health check. Swarms live
in memory and are shared by UDP, HTTP and WebSocket, IPv4 and IPv6: what one announces the other
scrapes. Two announces are of the same peer when the peer id and the address family are the same.
Addresses are taken from the sender, never from `ip=`. A peer over WebSocket counts, but is given to
nobody, and leaves when its connection closes.

In a test:

    with LoopbackTracker() as tracker:
        ask(tracker.udp_url)
        announce = tracker.wait_for(lambda record: record.action == "announce")

As a command, around another command, which finds the tracker in its environment:

    python3 tests/loopback_tracker.py -- python3 tracker_checker.py

A fault is something the tracker does wrong or oddly, by name; loopback_faults.py has them, and says
how to add one. `http://HOST:PORT/fault/NAME/announce` has the fault for that request alone,
`ws://HOST:PORT/fault/NAME/` for that connection.
"""
import argparse
import asyncio
import base64
import errno
import hashlib
import itertools
import json
import os
import random
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import defaultdict, deque, namedtuple
from urllib.parse import parse_qsl, unquote_to_bytes

try:
    import resource
except ImportError:
    # Windows has no such limits.
    resource = None

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import bencode
from loopback_faults import (
    CLOSE, CONTINUATION, HANDSHAKE_FAULTS, HTTP_FAULTS, PING, PONG, TEXT, UDP_FAULTS, WS_FAULTS,
    ws_close, ws_frame,
)

INTERVAL = 120
DEFAULT_PEERS_WANTED = 50
RECORDS_KEPT = 50000

SERVICES = ("udp", "http", "health")

UDP_PROTOCOL_ID = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
EVENTS = ("none", "completed", "started", "stopped")
ANNOUNCE_LENGTH = 98
SCRAPE_LIMIT = 74
LARGEST_DATAGRAM = 65507
URL_DATA_END, URL_DATA_NOP, URL_DATA = range(3)

HTTP_HEAD_LIMIT = 65536
HEALTH_PATH = "/api/health_check"

WS_ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
INVALID_EVENT = "invalid event"
WS_EVENTS = (None, "", "empty", "update", "started", "stopped", "completed")
WS_SCRAPE_FLAGS = {"min_request_interval": 600}
WS_MESSAGE_LIMIT = 100 << 20
BINARY = 2
PROTOCOL_ERROR, NOT_UTF8, TOO_BIG = 1002, 1007, 1009
# What is noted where no close frame came, or one without a code (RFC 6455).
NO_CODE, NO_CLOSE_FRAME = 1005, 1006

BIND_ATTEMPTS = 100
BATCH = 64
WILDCARDS = ("0.0.0.0", "::")
# The socket module has no name for these; the values are Linux's.
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_PKTINFO = 50

Record = namedtuple("Record", "protocol action fields address time")
Record.__doc__ = """A request that arrived.

protocol: 'udp', 'http', 'ws' or 'health'; action: 'connect', 'announce', 'scrape' or 'other',
over WebSocket also 'upgrade', 'ping', 'pong', 'close' or 'broken'; fields: a dictionary, see
`parse_udp_request`, `parse_http_request` and `WsConnection`; address: the sender's (host, port);
time: of arrival, by time.monotonic().
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
        """Note what a peer says of itself; a stopped one leaves the swarm.

        Without a port (None) it is a peer over WebSocket, which has no address for others.
        """
        host = host.partition("%")[0]
        family = family_of(host)
        key = peer_id, None if port is None else family
        with self._lock:
            if event == "stopped":
                swarm = self._swarms.get(info_hash)
                if swarm:
                    swarm.peers.pop(key, None)
                    swarm.completed_by.discard(key)
                return
            swarm = self._swarms.setdefault(info_hash, Swarm())
            compact = socket.inet_pton(family, host) + struct.pack(">H", port or 0)
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
                if peer.peer_id != asking and peer.family in families and peer.port is not None
            )
            return list(itertools.islice(others, wanted))

    def info_hashes(self):
        with self._lock:
            return list(self._swarms)

    def __contains__(self, info_hash):
        with self._lock:
            return info_hash in self._swarms


def made_up_info_hash(number):
    """Return the info hash of a made-up torrent: the SHA-1 of its number in decimal digits."""
    return hashlib.sha1(str(number).encode()).digest()


def made_up_counts(info_hash):
    """Return the Counts of a made-up torrent: half are zeros, most others small, some hundreds."""
    kind, seeders, completed, leechers = info_hash[:4]
    if kind < 128:
        return Counts(0, 0, 0)
    if kind < 224:
        return Counts(seeders % 8, completed % 64, leechers % 4)
    return Counts(seeders * 4, completed * 16, leechers * 2)


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
        self.listener = listener
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
        return self.scrape_reply(self.fields["info_hashes"][:SCRAPE_LIMIT])

    def scrape_reply(self, info_hashes):
        swarm = self.tracker.swarm
        return self.reply(SCRAPE, b"".join([
            struct.pack(">3i", *swarm(info_hash)) for info_hash in info_hashes
        ]))

    def _announce(self):
        fields = self.fields
        swarms = self.tracker.swarms
        info_hash = fields["info_hash"]
        swarms.announce(
            info_hash, fields["peer_id"], self.client[0], fields["port"], fields["left"],
            fields["event"],
        )
        peers = [] if fields["event"] == "stopped" else swarms.peers(
            info_hash, fields["peer_id"], fields["num_want"], (self.listener.family,)
        )
        counts = swarms.counts(info_hash)
        return self.announce_reply(
            INTERVAL, counts.leechers, counts.seeders,
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
        if not self.tracker.loses():
            self.listener.send(datagram, self.client, self._local_address)

    def send_later(self, seconds, datagram):
        self.tracker.loop.call_later(seconds, self.send, datagram)


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
        self.writer = writer

    async def read_request(self):
        """Read the request's head; return whether it was one."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        self.fields = parse_http_request(head)
        if not self.fields:
            return False
        self.fields["local_address"] = self.writer.get_extra_info("sockname")[0]
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
            b"interval": INTERVAL,
            b"min interval": INTERVAL,
        }
        if parameters.get("compact") == b"1":
            answer[b"peers"] = compact_peers(peers, socket.AF_INET)
            answer[b"peers6"] = compact_peers(peers, socket.AF_INET6)
        else:
            answer[b"peers"] = [dictionary_of(peer) for peer in peers]
        return answer

    def _scrape(self):
        info_hashes = self.fields["info_hashes"] or self.tracker.info_hashes()
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
        self.writer.write(data)
        await self.writer.drain()

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

    async def respond_with_fault(self, name):
        """Do what the fault does, but no longer than the client stays."""
        _, actions, answer = HTTP_FAULTS[name]
        if actions and self.action not in actions:
            await self.respond()
            return
        fault = self.tracker.loop.create_task(answer(self))
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


# WebSocket: the upgrade, frames (RFC 6455) and messages (WebTorrent)


def wants_websocket(fields):
    """Whether a HTTP request, by its fields, asks for an upgrade to WebSocket."""
    headers = lower_case_headers(fields)
    return (
        headers.get("upgrade", "").lower() == "websocket"
        and "upgrade" in headers.get("connection", "").lower()
    )


def lower_case_headers(fields):
    return {name.lower(): value for name, value in fields["headers"]}


def ws_accept(key):
    """Return the Sec-WebSocket-Accept that answers a Sec-WebSocket-Key."""
    digest = hashlib.sha1((key + WS_ACCEPT_SUFFIX).encode("latin-1")).digest()
    return base64.b64encode(digest).decode()


def ws_json(message):
    """Return a message as JSON, in UTF-8, as JavaScript writes it."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def bytes_of(value):
    """Return the bytes of which a text is the Latin-1 reading; what is none comes back as it is."""
    try:
        return value.encode("latin-1")
    except (AttributeError, UnicodeEncodeError):
        return value


def parse_ws_message(payload):
    """Return (action, fields) of a message: 'announce', 'scrape', or 'other' for what is neither.

    Fields: message (bytes, as it came), and the pairs of the JSON object, but info_hash (or a list
    of them) and peer_id as bytes; info_hashes, always a list.
    """
    fields = {"message": payload}
    try:
        pairs = json.loads(payload.decode())
    except (ValueError, RecursionError):
        return "other", fields
    if not isinstance(pairs, dict):
        return "other", fields
    fields.update(pairs)
    wanted = pairs.get("info_hash", [])
    fields["info_hashes"] = list(map(bytes_of, wanted if isinstance(wanted, list) else [wanted]))
    if "info_hash" in pairs:
        alone = not isinstance(wanted, list)
        fields["info_hash"] = fields["info_hashes"][0] if alone else fields["info_hashes"]
    if "peer_id" in pairs:
        fields["peer_id"] = bytes_of(pairs["peer_id"])
    action = pairs.get("action")
    return action if action in ("announce", "scrape") else "other", fields


def masked(data, mask):
    """Return data with a mask of four bytes XORed over it, or without it."""
    key = (mask * (len(data) // 4 + 1))[:len(data)]
    number = int.from_bytes(data, "big") ^ int.from_bytes(key, "big")
    return number.to_bytes(len(data), "big")


class WsBroken(Exception):
    """What a client must not do; (code to close with, what it did)."""


class WsExchange:
    """The upgrade or one message of a WebSocket connection, and the means to answer it."""

    def __init__(self, connection, action, fields):
        self.connection = connection
        self.tracker = connection.tracker
        self.http = connection.http
        self.writer = connection.http.writer
        self.action = action
        self.fields = fields

    # What to answer

    def problem(self):
        """Return what is wrong with the upgrade or message, or None."""
        if self.action == "upgrade":
            return self._problem_of_upgrade()
        fields = self.fields
        if self.action == "other":
            if "info_hashes" not in fields:
                return "the message is not a JSON object"
            return "invalid action in WS request: {}".format(fields.get("action"))
        for info_hash in fields["info_hashes"]:
            if not isinstance(info_hash, bytes) or len(info_hash) != 20:
                return "invalid info_hash"
        if self.action == "scrape":
            return None
        if not isinstance(fields.get("info_hash"), bytes):
            return "invalid info_hash"
        if not isinstance(fields.get("peer_id"), bytes) or len(fields["peer_id"]) != 20:
            return "invalid peer_id"
        for name in ("left", "uploaded", "downloaded", "numwant"):
            # Other trackers refuse what is no number, or take it for something else.
            if type(fields.get(name, 0)) is not int or fields.get(name, 0) < 0:
                return "invalid " + name
        return None if fields.get("event") in WS_EVENTS else INVALID_EVENT

    def _problem_of_upgrade(self):
        headers = lower_case_headers(self.fields)
        if self.fields["method"] != "GET":
            return "Invalid HTTP method"
        if not re.match("[+/0-9A-Za-z]{22}==$", headers.get("sec-websocket-key", "")):
            return "Missing or invalid Sec-WebSocket-Key header"
        if headers.get("sec-websocket-version") not in ("8", "13"):
            return "Missing or invalid Sec-WebSocket-Version header"
        return None

    def answer(self):
        """Return the right answer as a dictionary; an announce changes the swarm."""
        problem = self.problem()
        if problem == INVALID_EVENT:
            # The one thing that is wrong with an announce which is understood otherwise.
            info_hash = self.fields["info_hash"].decode("latin-1")
            return {"action": "announce", "failure reason": problem, "info_hash": info_hash}
        if problem:
            return {"failure reason": problem}
        return self._announce() if self.action == "announce" else self._scrape()

    def _announce(self):
        fields = self.fields
        info_hash = fields["info_hash"]
        self.connection.announce(
            info_hash, fields["peer_id"], fields.get("left", 1), fields.get("event")
        )
        counts = self.tracker.swarms.counts(info_hash)
        return {
            "complete": counts.seeders,
            "incomplete": counts.leechers,
            "action": "announce",
            "interval": INTERVAL,
            "info_hash": info_hash.decode("latin-1"),
        }

    def _scrape(self):
        info_hashes = self.fields["info_hashes"]
        if "info_hash" not in self.fields:
            info_hashes = self.tracker.info_hashes()
        return {
            "action": "scrape",
            "files": {
                info_hash.decode("latin-1"): self._scrape_entry(info_hash)
                for info_hash in info_hashes
            },
            "flags": WS_SCRAPE_FLAGS,
        }

    def _scrape_entry(self, info_hash):
        counts = self.tracker.swarm(info_hash)
        return {
            "complete": counts.seeders,
            "incomplete": counts.leechers,
            "downloaded": counts.completed,
        }

    def usual_body(self):
        """Return the right answer, in bytes: a message, or the head of the upgrade's response."""
        if self.action != "upgrade":
            return ws_json(self.answer())
        key = lower_case_headers(self.fields).get("sec-websocket-key", "")
        return http_head("101 Switching Protocols", {
            "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": ws_accept(key),
        })

    # Answering

    async def write(self, data):
        await self.http.write(data)

    async def respond(self, message=None):
        """Send a message, a dictionary or bytes: the right answer when none is given."""
        if not isinstance(message, bytes):
            message = self.usual_body() if message is None else ws_json(message)
        await self.write(ws_frame(message))

    async def upgrade(self, head=None):
        """Send the head of a response to the upgrade, the right one or another, and go on."""
        await self.write(self.usual_body() if head is None else head)
        self.connection.upgraded = True

    async def ping(self, payload):
        """Send a ping and wait for its pong."""
        arrival = self.connection.pings[payload] = self.tracker.loop.create_future()
        await self.write(ws_frame(payload, PING))
        await arrival

    async def close(self, payload):
        """Send a close frame; the connection ends when the client has answered it."""
        self.connection.closing = True
        await self.write(ws_frame(payload, CLOSE))

    def end(self):
        """Let the TCP connection end without a close frame."""
        self.connection.over = True


class WsConnection:
    """A connection that asked to be upgraded to WebSocket, until it ends.

    Its frames are read and noted while a message is answered, so that a fault can wait for a pong,
    and ends when the client leaves. Records: 'upgrade' (fields as those of an HTTP request);
    'announce', 'scrape' and 'other', see `parse_ws_message`; 'ping' and 'pong' (payload); 'close'
    (code, 1005 for a close frame without one, 1006 for an end without a close frame; reason);
    'broken' (problem), for what RFC 6455 forbids. All but 'upgrade' have the upgrade's path.
    """

    def __init__(self, tracker, http, reader, client_left):
        self.tracker = tracker
        self.http = http
        self.upgraded = False
        self.closing = False
        self.over = False
        self.pings = {}
        self._reader = reader
        self._client_left = client_left
        self._messages = asyncio.Queue()
        self._reading_is_over = False
        self._in_fault = False

    @property
    def _fault(self):
        return self.http.fault_in_path or self.tracker.ws_fault

    async def serve(self):
        exchange = WsExchange(self, "upgrade", self.http.fields)
        self.tracker.record("ws", exchange, self.http.client)
        problem = exchange.problem()
        if self._fault not in WS_FAULTS and self._fault is not None:
            await self.http.respond(b"no such fault\n", "404 Not Found")
        elif problem:
            known = self.http.fields["method"] == "GET"
            status = "400 Bad Request" if known else "405 Method Not Allowed"
            await self.http.respond(problem.encode(), status, "text/html", {
                "Sec-WebSocket-Version": "13, 8",
            })
        else:
            await self._upgrade(exchange)
        if self.upgraded:
            try:
                await self._serve_messages()
            finally:
                self._leave_swarms()

    async def _upgrade(self, exchange):
        answer = self._fault_for("upgrade")
        if not answer:
            await exchange.upgrade()
            return
        fault = self.tracker.loop.create_task(answer(exchange))
        try:
            await asyncio.wait([fault, self._client_left], return_when=asyncio.FIRST_COMPLETED)
            if fault.done():
                fault.result()
        finally:
            fault.cancel()
            await asyncio.gather(fault, return_exceptions=True)

    def _fault_for(self, action):
        """Return the function of the fault that concerns this action, or None."""
        _, actions, answer = WS_FAULTS[self._fault] if self._fault else (None, (), None)
        return answer if action in actions else None

    async def _serve_messages(self):
        reading = self.tracker.loop.create_task(self._read_messages())
        answering = self.tracker.loop.create_task(self._answer_messages())
        try:
            await asyncio.wait([reading, answering], return_when=asyncio.FIRST_COMPLETED)
            if answering.done():
                answering.result()
            elif not self._in_fault:
                self._reading_is_over = True
                self._messages.put_nowait(None)
                await answering
                if not self.closing:
                    await self.http.write(reading.result())
        finally:
            reading.cancel()
            answering.cancel()
            await asyncio.gather(reading, answering, return_exceptions=True)

    async def _answer_messages(self):
        while not self.over:
            exchange = await self._messages.get()
            if exchange is None:
                return
            if self.closing:
                continue
            answer = None if self._reading_is_over else self._fault_for(exchange.action)
            if answer:
                self._in_fault = True
                await answer(exchange)
                self._in_fault = False
            else:
                await exchange.respond()

    async def _read_messages(self):
        """Read until the client leaves or does what it must not; return a last frame for it."""
        try:
            return await self._read_frames()
        except WsBroken as error:
            code, problem = error.args
            self._record("broken", {"problem": problem})
            return ws_frame(ws_close(code), CLOSE)
        except (OSError, asyncio.IncompleteReadError):
            self._record("close", {"code": NO_CLOSE_FRAME, "reason": ""})
            return b""

    async def _read_frames(self):
        parts = []
        while True:
            final, opcode, payload = await self._read_frame()
            if opcode == CLOSE:
                code, reason = parse_ws_close(payload)
                self._record("close", {"code": code, "reason": reason})
                return ws_frame(payload, CLOSE)
            if opcode == PING:
                self._record("ping", {"payload": payload})
                await self.http.write(ws_frame(payload, PONG))
            elif opcode == PONG:
                self._record("pong", {"payload": payload})
                arrival = self.pings.pop(payload, None)
                if arrival and not arrival.done():
                    arrival.set_result(None)
            elif (opcode == CONTINUATION) != bool(parts):
                raise WsBroken(PROTOCOL_ERROR, "a fragment out of place")
            else:
                parts.append(payload)
                if final:
                    self._take_message(b"".join(parts))
                    parts = []

    async def _read_frame(self):
        """Return (whether it is the last of its message, opcode, payload)."""
        read = self._reader.readexactly
        first, second = await read(2)
        final, opcode, length = first >= 0x80, first & 0x0f, second & 0x7f
        if first & 0x70:
            raise WsBroken(PROTOCOL_ERROR, "a reserved bit is set")
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            raise WsBroken(PROTOCOL_ERROR, "unknown opcode {}".format(opcode))
        if opcode >= CLOSE and (length > 125 or not final):
            raise WsBroken(PROTOCOL_ERROR, "a control frame that is long or fragmented")
        if second < 0x80:
            raise WsBroken(PROTOCOL_ERROR, "a frame without a mask")
        if length > 125:
            length = int.from_bytes(await read(2 if length == 126 else 8), "big")
        if length > WS_MESSAGE_LIMIT:
            raise WsBroken(TOO_BIG, "a frame of {} bytes".format(length))
        mask = await read(4)
        return final, opcode, masked(await read(length), mask)

    def _take_message(self, payload):
        try:
            payload.decode()
        except UnicodeDecodeError:
            raise WsBroken(NOT_UTF8, "a message that is not UTF-8")
        action, fields = parse_ws_message(payload)
        self._messages.put_nowait(self._record(action, fields))

    def _record(self, action, fields):
        exchange = WsExchange(self, action, dict(fields, path=self.http.path))
        self.tracker.record("ws", exchange, self.http.client)
        return exchange

    # Swarms

    def announce(self, info_hash, peer_id, left, event):
        host = self.http.client[0]
        self.tracker.swarms.announce(info_hash, peer_id, host, None, left, event)
        if event == "stopped":
            self.tracker.ws_peers.pop((info_hash, peer_id), None)
        else:
            self.tracker.ws_peers[info_hash, peer_id] = self

    def _leave_swarms(self):
        for (info_hash, peer_id), connection in list(self.tracker.ws_peers.items()):
            if connection is self:
                self.announce(info_hash, peer_id, 0, "stopped")


def parse_ws_close(payload):
    """Return (code, reason) of a close frame."""
    if len(payload) == 1:
        raise WsBroken(PROTOCOL_ERROR, "a close frame of one byte")
    if not payload:
        return NO_CODE, ""
    code, = struct.unpack_from(">H", payload)
    if not (1000 <= code < 5000) or code in (1004, NO_CODE, NO_CLOSE_FRAME, 1015):
        raise WsBroken(PROTOCOL_ERROR, "the close code {}".format(code))
    try:
        return code, payload[2:].decode()
    except UnicodeDecodeError:
        raise WsBroken(NOT_UTF8, "a reason to close that is not UTF-8")


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
    """A stream whose end can be waited for, and that of what the client sends."""

    def __init__(self, reader, loop):
        super().__init__(reader, loop=loop)
        self.ended = loop.create_future()
        self.client_left = loop.create_future()

    def eof_received(self):
        self._note_that_client_left()
        return super().eof_received()

    def connection_lost(self, error):
        super().connection_lost(error)
        self._note_that_client_left()
        if not self.ended.done():
            self.ended.set_result(None)

    def _note_that_client_left(self):
        if not self.client_left.done():
            self.client_left.set_result(None)


class LoopbackTracker:
    """A tracker in a thread of its own, from `start()` to `stop()` or as a context manager.

    hosts: the addresses to listen on, IPv4, IPv6 or a wildcard, all with the same three ports.
    udp_fault, http_fault, health_fault, ws_fault: names of faults, may be changed while it runs.
    udp_faults: a dictionary of faults for single addresses asked, before udp_fault.
    tls: an ssl.SSLContext; then HTTP and the health check are HTTPS.
    ports: (UDP, HTTP, health), 0 for a free one.
    expected_query: `name=value&…` that each HTTP request must have, as a passkey.
    seed: of the random losses.
    redirect_target: the URL that the fault `redirect-other-host` leads to.
    loss_rate: of the datagrams over UDP, each way and whatever the fault, from 0 to 1.
    scrapes_answered: how many requests the UDP fault `scrape-then-silent` answers; it counts down.
    counts: the Counts of torrents, by info hash, that scrape gives in place of those of the swarm.
    Raises OSError where an address or port is not to be had.
    """

    def __init__(self, hosts=("127.0.0.1",), udp_fault=None, http_fault=None, health_fault=None,
                 tls=None, ports=(0, 0, 0), expected_query=None, seed=0, ws_fault=None):
        self.hosts = tuple(hosts)
        self.tls = tls
        self.expected_query = expected_query
        self.redirect_target = None
        self.swarms = Swarms()
        self.random = random.Random(seed)
        self.udp_faults = {}
        self.udp_sends = defaultdict(list)
        self.forgotten_clients = set()
        self.loss_rate = 0
        self.scrapes_answered = 3
        self.counts = {}
        self.ws_peers = {}
        self.ws_fault = ws_fault
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
    def ws_fault(self):
        return self._ws_fault

    @ws_fault.setter
    def ws_fault(self, name):
        check_fault(name, WS_FAULTS)
        self._ws_fault = name

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
    def ws_url(self):
        # ws for http, wss for https
        return self._web_url(self.http_port).replace("http", "ws", 1) + "/"

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
        """Enter a UdpQuery, HttpExchange or WsExchange among what arrived."""
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
        """Return the Counts (seeders, completed, leechers) that scrape gives of a swarm."""
        return self.counts.get(info_hash) or self.swarms.counts(info_hash)

    def set_counts(self, info_hash, seeders, completed, leechers):
        """Let scrape give these numbers, whoever is in the swarm."""
        self.counts[info_hash] = Counts(seeders, completed, leechers)

    def make_up_torrents(self, number):
        """Let there be so many torrents: made_up_info_hash(0) and on, with made_up_counts()."""
        for info_hash in map(made_up_info_hash, range(number)):
            self.counts[info_hash] = made_up_counts(info_hash)

    def knows(self, info_hash):
        """Whether there is such a torrent."""
        return info_hash in self.counts or info_hash in self.swarms

    def info_hashes(self):
        """Return the info hashes of all torrents."""
        return list(dict.fromkeys(self.swarms.info_hashes() + list(self.counts)))

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
                        place = service, join_address(host, ports[number])
                        listeners.append(listen(service, host, ports[number]))
                        ports[number] = listeners[-1].socket.getsockname()[1]
            except OSError as error:
                for listener in listeners:
                    listener.socket.close()
                first_host_bound = len(listeners) >= len(SERVICES)
                if error.errno != errno.EADDRINUSE or not first_host_bound or 0 not in wanted:
                    reason = "{} on {}: {}".format(*place, error.strerror or error)
                    raise OSError(error.errno, reason) from None
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

    def loses(self):
        """Whether a datagram is to be lost, by loss_rate."""
        return self.loss_rate > 0 and self.random.random() < self.loss_rate

    def _answer_query(self, query):
        if self.loses():
            return
        fault = self.udp_faults.get(query.fields["local_address"], self.udp_fault)
        _, actions, answer = UDP_FAULTS[fault] if fault else (None, (), None)
        if query.action in actions:
            answer(query)
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
                await self._serve_request(exchange, fault, reader, stream.client_left)
            else:
                await exchange.respond_with_fault(fault)
            writer.close()
            await stream.ended
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            # The client left, or sent no HTTP.
            pass
        finally:
            if transport:
                if not stream.ended.done():
                    transport.abort()
                # After abort() alone a TLS transport of Python 3.6 takes itself for open.
                transport.close()
            else:
                connection.close()

    async def _serve_request(self, exchange, fault, reader, client_left):
        if not await exchange.read_request():
            await exchange.write(http_head("400 Bad Request", {"Connection": "close"}))
            return
        if exchange.service == "http" and wants_websocket(exchange.fields):
            await WsConnection(self, exchange, reader, client_left).serve()
            return
        self.record(exchange.service, exchange, exchange.client)
        fault = exchange.fault_in_path or fault
        if fault is None or exchange.fields["method"] != "GET":
            await exchange.respond()
        elif fault in HTTP_FAULTS:
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

The command finds the tracker in its environment: TORRUST_CHECKER_CONFIG, a configuration of the
checker with all three; UDP_TRACKER, HTTP_TRACKER and HEALTH_CHECK, their URLs. no_proxy keeps it
from asking a proxy. The exit code is that of the command, 128 + N when it died of signal N.
"""


def parse_arguments(arguments):
    """Return (options, command)."""
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] [-- COMMAND ...]",
        description="Run a small BitTorrent tracker on loopback, around a command or until Ctrl-C.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for service in SERVICES:
        parser.add_argument("--{}-port".format(service), type=int, default=0, metavar="PORT",
                            help="a port rather than a free one")
    for service, faults in zip(SERVICES + ("ws",), (
            UDP_FAULTS, HTTP_FAULTS, HTTP_FAULTS, WS_FAULTS)):
        parser.add_argument("--{}-fault".format(service), metavar="NAME", choices=faults,
                            help="what to do wrong, see loopback_faults.py")
    parser.add_argument("--torrents", type=int, default=0, metavar="N",
                        help="have N made-up torrents; their info hashes are the SHA-1 of 0, 1, …")
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return parser.parse_args(arguments[:end]), arguments[end + 1:]


def has_ipv6():
    """Return whether this machine has IPv6 on loopback."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def print_addresses(tracker):
    for title, form, port in (
        ("UDP tracker", "udp://{}", tracker.udp_port),
        ("HTTP tracker", "http://{}", tracker.http_port),
        ("Health check", "http://{}" + HEALTH_PATH, tracker.health_port),
        ("WebSocket tracker", "ws://{}/", tracker.http_port),
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
        return 127
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    if terminated.is_set():
        child.terminate()
    code = child.wait()
    return code if code >= 0 else 128 - code


def main(arguments):
    options, command = parse_arguments(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    tracker = LoopbackTracker(
        ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"],
        options.udp_fault, options.http_fault, options.health_fault,
        ports=(options.udp_port, options.http_port, options.health_port),
        ws_fault=options.ws_fault,
    )
    tracker.make_up_torrents(options.torrents)
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
