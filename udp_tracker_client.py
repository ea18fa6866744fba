#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Ask a BitTorrent tracker over UDP: announce and scrape, answered in JSON.

    udp_tracker_client.py announce udp://tracker.example.org:6969 INFO_HASH
    udp_tracker_client.py scrape tracker.example.org:6969 INFO_HASH [INFO_HASH ...]

This file needs nothing but python3 (3.6 or newer): copy it to a host and run it. It follows
BEP 15 (the UDP tracker protocol), BEP 41 (its URL data extension) and BEP 52 (truncated
version 2 info hashes).

The idea: what is sent and what a reply means are pure functions; what to send when is an object
that knows neither sockets nor a clock (Exchange); what owns the sockets never blocks
(Conversation). So one loop can drive one of them, as here, or ten thousand, as the checker does.

The map, from top to bottom:
    udp wire format     the requests and replies of BEP 15, as values and as bytes
    udp exchange        the rules of BEP 15 with one address: ids, resends, the deadline
    udp conversation    the sockets: all addresses of a tracker, the first that answers counts
    question, answer    the one loop, and replies as JSON
    command line        options, help, main()
    plumbing            parser, options; URLs; addresses (and the Race between those of a host);
                        name lookup; output (Failure, JSON, signals and the exit)

The other scripts have some of this too: what stands between "carried region" lines is the same,
word for word, in each that needs it. Edit it in the script that the line calls its home, then run
tools/sync_copies.py; so every script remains a single file.
"""
import errno
import json
import os
import re
import selectors
import signal
import socket
import struct
import sys
import time
from collections import namedtuple

VERSION = "0.1.0"


# --- carried region: udp wire format (home: udp_tracker_client.py) ---
# The wire format of BEP 15: pure functions, values in and bytes out, and back.
PROTOCOL_ID = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
SHORT_ANNOUNCE = "; opentracker answers so when the torrent is not on its list"
ANNOUNCE_IPV6 = 4  # what some trackers answer an announce with over IPv6
ACTIONS = ("connect", "announce", "scrape", "error")
EVENTS = {"none": 0, "completed": 1, "started": 2, "stopped": 3}
CONNECTION_LIFETIME = 60  # seconds in which a client may use a connection id

# A request has an action, encode(connection_id, transaction_id) and parse(reply, ipv6). Connect has
# no fields: the class itself is the request.
# Numbers are signed, as on the wire; peers are socket addresses.
AnnounceReply = namedtuple("AnnounceReply", "transaction_id interval leechers seeders peers")
# stats is [(seeders, completed, leechers)].
ScrapeReply = namedtuple("ScrapeReply", "transaction_id stats")
ErrorReply = namedtuple("ErrorReply", "transaction_id message")


class Connect:
    """A connect request (BEP 15), which asks for the connection id of the others."""

    action = CONNECT

    @staticmethod
    def encode(connection_id: int, transaction_id: int) -> bytes:
        return struct.pack(">qii", PROTOCOL_ID, CONNECT, transaction_id)

    @staticmethod
    def parse(reply: bytes, ipv6: bool) -> int:
        """Returns the connection id; raises ValueError for a reply that is too short."""
        if len(reply) < 16:
            raise ValueError("{} bytes, 16 are expected".format(len(reply)))
        return struct.unpack_from(">q", reply, 8)[0]


class Announce(
    namedtuple(
        "Announce",
        "info_hash peer_id downloaded left uploaded event ip_address key peers_wanted port"
        " url_data",
    )
):
    """An announce request (BEP 15); event is its number, ip_address and url_data are bytes.

    Its fields stand in the order of the wire.
    """

    action = ANNOUNCE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(
            ">qii20s20sqqqi4siiH",
            connection_id,
            ANNOUNCE,
            transaction_id,
            *self[:-1]
        )
        return fixed + encode_url_data(self.url_data)

    def parse(self, reply: bytes, ipv6: bool) -> AnnounceReply:
        """Raises ValueError for a reply that is too short."""
        if len(reply) < 20:
            hint = SHORT_ANNOUNCE if len(reply) == 8 else ""
            raise ValueError("{} bytes, 20 are expected{}".format(len(reply), hint))
        _, transaction_id, interval, leechers, seeders = struct.unpack_from(">iiiii", reply)
        size, family = (18, socket.AF_INET6) if ipv6 else (6, socket.AF_INET)
        # Trackers have been seen to cut a list short: the entries that are whole count.
        peers = [
            (
                socket.inet_ntop(family, reply[start : start + size - 2]),
                int.from_bytes(reply[start + size - 2 : start + size], "big"),
            )
            for start in range(20, len(reply) - size + 1, size)
        ]
        return AnnounceReply(transaction_id, interval, leechers, seeders, peers)


class Scrape(namedtuple("Scrape", "info_hashes")):
    """A scrape request (BEP 15) for at most 74 info hashes."""

    action = SCRAPE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(">qii", connection_id, SCRAPE, transaction_id)
        return fixed + b"".join(self.info_hashes)

    def parse(self, reply: bytes, ipv6: bool) -> ScrapeReply:
        """Raises ValueError for a reply that ends within its first entry."""
        if 8 < len(reply) < 20:
            raise ValueError("{} bytes, 20 are expected".format(len(reply)))
        _, transaction_id = struct.unpack_from(">ii", reply)
        whole = (len(reply) - 8) // 12 * 12
        return ScrapeReply(transaction_id, list(struct.iter_unpack(">iii", reply[8 : 8 + whole])))


def encode_url_data(url_data: bytes) -> bytes:
    """Returns the URL data options of BEP 41, each with 255 bytes at most."""
    options = []
    for start in range(0, len(url_data), 255):
        part = url_data[start : start + 255]
        options.append(bytes((2, len(part))) + part)
    return b"".join(options)


def url_data_of(path: str, query: str) -> bytes:
    """Returns what BEP 41 sends of a URL: nothing where the path says nothing of its own."""
    if not query and path in ("", "/", "/announce", "/scrape"):
        return b""
    return encode_path(path, query).encode("ascii")


def parse_reply(request, action: int, reply: bytes, ipv6: bool):
    """Returns what the request makes of its reply, an ErrorReply or a Failure (invalid_response).

    The transaction id was right, so a wrong action or shape is the tracker's own word.
    """
    if action == ERROR:
        # Some trackers end the text with a NUL.
        _, transaction_id = struct.unpack_from(">ii", reply)
        return ErrorReply(transaction_id, text_of(reply[8:].rstrip(b"\0")))
    name = ACTIONS[request.action]
    if ipv6 and action == ANNOUNCE_IPV6 and request.action == ANNOUNCE:
        action = ANNOUNCE
    if action != request.action:
        text = "the reply to {} has action {}, {} is expected".format(name, action, request.action)
        return Failure("invalid_response", text)
    try:
        return request.parse(reply, ipv6)
    except ValueError as error:
        return Failure("invalid_response", "the reply to {} has {}".format(name, error))


def new_transaction_id() -> int:
    return int.from_bytes(os.urandom(4), "big", signed=True)


# --- end of carried region: udp wire format ---


# --- carried region: udp exchange (home: udp_tracker_client.py) ---
class Pending:
    """A request that is under way: what it is, and when it was and will be sent."""

    __slots__ = ("request", "index", "first_sent", "deadline", "sends", "next_send", "wait")

    def __init__(self, request, index, now, deadline, wait):
        self.request = request
        self.index = index
        self.first_sent = now
        self.deadline = deadline
        self.sends = 0
        self.next_send = now
        self.wait = wait


class Exchange:
    """The rules of BEP 15 with one address of a tracker, without I/O and without a clock.

    The caller sends what take_due_datagrams() returns, gives receive() every datagram that
    arrives, and calls take_due_datagrams() again at wake_at or after a receive(). Times are
    seconds of any one clock.

    The strategy: one connect, whose connection id then carries all requests, up to eight at a
    time. BEP 15 sends again after 15, 30, 60 … seconds; nobody waits that long, so every request,
    the connect too, is sent six times within the time that was left when it was first sent, and
    each wait is half as long again as the one before: of five seconds at 0, 0.24, 0.6, 1.1, 1.9
    and 3.2. Where a tenth of the datagrams is lost each way, a request then fails once in 20,000.
    A resend keeps its transaction id: a late reply to an earlier send counts, and the second of
    two replies belongs to nobody any more. What carries an unknown transaction id is ignored.
    held means that it connects, but sends no request until release(): of several addresses only
    one is to count an announce. With patience (seconds) each request has that much time from when
    it is first sent, and ask() adds further ones; deadline may then be infinite.

    replies has an entry for each request, in order: None while it is open, then an
    AnnounceReply, ScrapeReply, ErrorReply or Failure (timeout, invalid_response, or what the
    caller says with fail()). replied_at has the times at which they became known, connected_at
    that of the latest connection id, None while there was none.
    """

    IN_FLIGHT = 8
    SENDS = 6
    GROWTH = 1.5  # how much longer each wait is than the one before
    # What the waits add up to, in terms of the first.
    WAITS = (GROWTH ** SENDS - 1) / (GROWTH - 1)

    __slots__ = (
        "requests replies replied_at ipv6 deadline held patience connection_id connected_at"
        " reconnected waiting pending wake_at"
    ).split()

    def __init__(self, requests, ipv6, now, deadline, held=False, patience=None):
        self.requests = requests
        self.replies = [None] * len(requests)
        self.replied_at = [None] * len(requests)
        self.ipv6 = ipv6
        self.deadline = deadline
        self.held = held
        self.patience = patience
        self.reconnected = False
        self.waiting = []
        self.pending = {}
        self.connected_at = None
        self._connect(now)

    @property
    def finished(self) -> bool:
        return not self.pending and not self.waiting

    def is_connected(self, now: float) -> bool:
        """Whether there is a connection id that may still be used."""
        return self.connection_id is not None and now - self.connected_at < CONNECTION_LIFETIME

    def take_due_datagrams(self, now: float) -> list:
        """Returns the datagrams to send now and sets wake_at; what is late ends in timeouts."""
        self._time_out(now)
        if self.finished:
            return []
        if self.connection_id is not None and not self.is_connected(now):
            self._connect(now)
        datagrams = []
        wake_at = self.deadline
        for transaction_id, pending in self.pending.items():
            if pending.next_send <= now and pending.sends < self.SENDS:
                datagrams.append(pending.request.encode(self.connection_id, transaction_id))
                pending.sends += 1
                pending.next_send = now + pending.wait
                pending.wait *= self.GROWTH
            if pending.sends == self.SENDS:
                pending.next_send = pending.deadline
            if pending.next_send < wake_at:
                wake_at = pending.next_send
        self.wake_at = wake_at
        return datagrams

    def receive(self, datagram: bytes, now: float):
        """Takes a datagram that arrived at now.

        Returns the seconds since its request was first sent, None when it belongs to none.
        """
        if len(datagram) < 8:
            return None
        action, transaction_id = struct.unpack_from(">ii", datagram)
        pending = self.pending.pop(transaction_id, None)
        if pending is None:
            return None
        self.wake_at = now
        reply = parse_reply(pending.request, action, datagram, self.ipv6)
        if pending.index is not None:
            if self._is_rejection(reply):
                # The tracker has forgotten the connection id, or was started anew.
                self.reconnected = True
                self._connect(now)
            else:
                self.reconnected = False
                self._settle(pending.index, reply, now)
        elif isinstance(reply, (Failure, ErrorReply)):
            self.fail(reply, now)
        else:
            self.connection_id = reply
            self.connected_at = now
        self._fill(now)
        return now - pending.first_sent

    def ask(self, request, now: float) -> int:
        """Adds a request and returns its index among the replies."""
        index = len(self.requests)
        self.requests.append(request)
        self.replies.append(None)
        self.replied_at.append(None)
        self.waiting.append(index)
        if self.connection_id is None and not self.pending:
            # The connect before it was in vain.
            self._connect(now)
        self._fill(now)
        return index

    def release(self, now: float) -> None:
        """Lets an exchange that was held at its connect go on to its requests."""
        self.held = False
        self._fill(now)

    def fail(self, outcome, now: float) -> None:
        """Ends every request that is still open with a Failure or an ErrorReply."""
        for index, reply in enumerate(self.replies):
            if reply is None:
                self._settle(index, outcome, now)
        self.pending.clear()
        self.waiting = []

    def _connect(self, now):
        """Starts over with a connect; all that is open waits for its connection id."""
        self.connection_id = None
        self.waiting = [index for index, reply in enumerate(self.replies) if reply is None]
        self.pending.clear()
        self._start(Connect, None, now)

    def _start(self, request, index, now):
        transaction_id = new_transaction_id()
        while transaction_id in self.pending:
            transaction_id = new_transaction_id()
        deadline = self.deadline if self.patience is None else now + self.patience
        wait = (deadline - now) / self.WAITS
        self.pending[transaction_id] = Pending(request, index, now, deadline, wait)
        self.wake_at = now

    def _fill(self, now):
        """Starts waiting requests while there is room in flight."""
        if self.connection_id is None or self.held:
            return
        while self.waiting and len(self.pending) < self.IN_FLIGHT:
            index = self.waiting.pop(0)
            self._start(self.requests[index], index, now)

    def _is_rejection(self, reply):
        """Whether an error reply speaks of the connection id, for the first time."""
        if self.reconnected or not isinstance(reply, ErrorReply):
            return False
        text = reply.message.lower()
        return "connection" in text or "cookie" in text

    def _settle(self, index, reply, now):
        self.replies[index] = reply
        self.replied_at[index] = now

    def _time_out(self, now):
        """Ends what is late, each request with the number of times that it was sent in vain."""
        for transaction_id, pending in list(self.pending.items()):
            if now < pending.deadline:
                continue
            action, sends = ACTIONS[pending.request.action], pending.sends
            failure = Failure("timeout", "no reply to {} (sent {} times)".format(action, sends))
            if pending.index is None:
                self.fail(failure, now)
            elif sends:
                del self.pending[transaction_id]
                self._settle(pending.index, failure, now)
        if now >= self.deadline:
            self.fail(Failure("timeout", "connected, but its turn did not come"), now)


# --- end of carried region: udp exchange ---


# --- carried region: udp conversation (home: udp_tracker_client.py) ---
READS = 16  # datagrams taken from a socket at a time, so that a flood cannot hold the caller


def send_due(sock, address: tuple, exchange: Exchange, now: float, trace) -> None:
    """Sends the datagrams that are due; trace is called with what is done, or None."""
    try:
        for datagram in exchange.take_due_datagrams(now):
            if trace:
                action = ACTIONS[datagram[11]]  # the last byte of its number
                trace("-> {} {}".format(show_address(address), action))
            sock.send(datagram)
    except OSError as error:
        # A full queue is one more way to lose a datagram: it will be sent again.
        if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
            exchange.fail(network_failure(error), now)


def receive_ready(sock, address: tuple, exchange: Exchange, now: float, trace) -> None:
    """Takes what has arrived at a socket."""
    try:
        for _ in range(READS):
            datagram = sock.recv(65536)
            delay = exchange.receive(datagram, now)
            if trace:
                text = "<- {} {} bytes".format(show_address(address), len(datagram))
                if delay is None:
                    trace(text + ", not a reply to what was asked: ignored")
                else:
                    trace("{}, {:.1f} ms after its request".format(text, delay * 1000))
    except BlockingIOError:
        pass
    except OSError as error:
        exchange.fail(network_failure(error), now)


def progress_of(exchange: Exchange) -> tuple:
    """Returns how far an exchange got, to be compared: answers to requests come before all."""
    answers = [reply for reply in exchange.replies if reply and not isinstance(reply, Failure)]
    asked = not exchange.held
    return asked and bool(answers), len(answers), asked


class Conversation:
    """A tracker asked over UDP at all of its addresses: the sockets around the exchanges.

    The caller calls advance(now) at wake_at, and read(socket, now) for each socket that the
    selector finds readable (the selector's data is the owner), until finished; end(failure, now)
    ends it before its time. Nothing here blocks. The checker needs owner, leave and end().

    All addresses may connect, as the race has it; the one that leads goes on to the requests.
    Answers to all of them from there, error replies too, end the others. leave(conversation,
    socket, address, exchange, now) is called before a socket is closed.

    At the end answered says whether the tracker answered anything, exchange is where it answered
    most and address its address. Where it answered nothing they are of the first that failed, or of
    the first that had got as far as to the requests (None where no socket could be opened), and
    race has the failures.
    """

    __slots__ = (
        "requests deadline selector owner trace leave race exchanges exchange address wake_at"
    ).split()

    def __init__(
        self, addresses, requests, now, deadline, selector, owner=None, trace=None, leave=None
    ):
        self.requests = requests
        self.deadline = deadline
        self.selector = selector
        self.owner = owner
        self.trace = trace
        self.leave = leave
        self.race = Race(addresses, now, deadline)
        self.exchanges = {}  # socket: (address, exchange), in the order in which they started
        self.exchange = None
        self.address = None
        self.wake_at = now

    @property
    def finished(self) -> bool:
        return not self.exchanges and self.race.due_at is None

    @property
    def answered(self) -> bool:
        return self.exchange is not None and progress_of(self.exchange)[1] > 0

    def advance(self, now: float) -> None:
        """Opens the sockets and sends the datagrams that are due, and sets wake_at."""
        for sock, (_, exchange) in list(self.exchanges.items()):
            # An earlier exchange of this round may have ended the conversation.
            if sock in self.exchanges and now >= exchange.wake_at:
                self._send(sock, now)
        while True:
            address = self.race.take_due(now)
            if address is None:
                break
            self._open(address, now)
        self._ask_leader(now)
        self._set_wake_at()

    def read(self, sock, now: float) -> None:
        """Takes what has arrived at one of the sockets, and sends what follows from it."""
        if sock not in self.exchanges:
            # The reply on another one has closed it meanwhile.
            return
        address, exchange = self.exchanges[sock]
        receive_ready(sock, address, exchange, now, self.trace)
        if exchange.held and exchange.connection_id is not None:
            if address not in self.race.reached:
                self.race.reach(address)
            self._ask_leader(now)
        if sock in self.exchanges:
            self._send(sock, now)
        self._set_wake_at()

    def end(self, failure: "Failure", now: float) -> None:
        """Ends the conversation before its time: what is open ends with the failure."""
        self.race.stop()
        for sock, (_, exchange) in list(self.exchanges.items()):
            if sock in self.exchanges:
                exchange.fail(failure, now)
                self._finish(sock, now)

    def _open(self, address, now):
        """Starts an exchange with an address on a connected socket of its own.

        Connected, since then the system drops what others send and tells of a closed port.
        """
        try:
            sock = open_socket(address, socket.SOCK_DGRAM)
            self.selector.register(sock, selectors.EVENT_READ, self.owner)
        except OSError as error:
            self.race.fail(address, network_failure(error), now)
            return
        requests = [
            request._replace(port=sock.getsockname()[1])
            if request.action == ANNOUNCE and request.port is None
            else request
            for request in self.requests
        ]
        exchange = Exchange(requests, ":" in address[0], now, self.deadline, held=True)
        self.exchanges[sock] = (address, exchange)
        self._send(sock, now)

    def _send(self, sock, now):
        address, exchange = self.exchanges[sock]
        send_due(sock, address, exchange, now, self.trace)
        if exchange.finished:
            self._finish(sock, now)

    def _finish(self, sock, now):
        """Closes an exchange that has ended; where all was answered, the others as well."""
        address, exchange = self.exchanges.pop(sock)
        failures = [reply for reply in exchange.replies if isinstance(reply, Failure)]
        if exchange.held and self.race.asked and not failures:
            # An error reply to its connect does not end another address that is being asked.
            failures = [Failure("invalid_response", exchange.replies[0].message)]
        if self.exchange is None or progress_of(exchange) > progress_of(self.exchange):
            self.address, self.exchange = address, exchange
        self._close(sock, address, exchange, now)
        if failures:
            self.race.fail(address, failures[-1], now)
            self._ask_leader(now)
        else:
            self.race.stop()
            for other in list(self.exchanges):
                self._close(other, *self.exchanges.pop(other), now)

    def _ask_leader(self, now):
        """Lets the exchange go on to the requests that is to be asked now, if there is one."""
        leader = self.race.take_leader(now)
        for address, exchange in self.exchanges.values():
            if address == leader:
                exchange.release(now)

    def _close(self, sock, address, exchange, now):
        if self.leave:
            self.leave(self, sock, address, exchange, now)
        self.selector.unregister(sock)
        sock.close()

    def _set_wake_at(self):
        self.wake_at = self.deadline if self.race.wake_at is None else self.race.wake_at
        for _, exchange in self.exchanges.values():
            self.wake_at = min(self.wake_at, exchange.wake_at)


# --- end of carried region: udp conversation ---


# The question and the answer.


def ask(url: "Url", requests: list, timeout: float, version: int, trace=None) -> Conversation:
    """Sends the requests to a tracker and waits for its replies.

    timeout is in seconds and total: name lookup, all addresses and resends included; version is
    4 or 6, None for both. Returns the finished conversation; raises Failure when no address
    answered.
    """
    deadline = time.monotonic() + timeout
    addresses = look_up_within(url.host, url.port, version, deadline)
    with selectors.DefaultSelector() as selector:
        now = time.monotonic()
        conversation = Conversation(addresses, requests, now, deadline, selector, trace=trace)
        conversation.advance(now)
        while not conversation.finished:
            pause = max(0, conversation.wake_at - time.monotonic())
            ready = selector.select(min(pause, LONGEST_WAIT))
            now = time.monotonic()
            for key, _ in ready:
                conversation.read(key.fileobj, now)
            conversation.advance(now)
    if not conversation.answered:
        raise conversation.race.combined_failure()
    return conversation


def merge_scrapes(requests: list, replies: list) -> list:
    """Joins the replies of a scrape that was sent in parts, up to the first that is short or long.

    What follows could not be told apart from what that one lacks or has too much. Raises the
    Failure of a part before it that was not answered.
    """
    stats = []
    for request, reply in zip(requests, replies):
        if isinstance(reply, Failure):
            raise reply
        stats.extend(reply.stats)
        if len(reply.stats) != len(request.info_hashes):
            break
    return stats


def announce_to_json(reply: AnnounceReply, ipv6: bool) -> dict:
    """Returns an announce reply as the command shows it."""
    return {
        "AnnounceIpv6" if ipv6 else "AnnounceIpv4": {
            "transaction_id": reply.transaction_id,
            "announce_interval": reply.interval,
            "leechers": reply.leechers,
            "seeders": reply.seeders,
            "peers": [show_address(peer) for peer in reply.peers],
        }
    }


def scrape_to_json(transaction_id: int, stats: list) -> dict:
    """Returns [(seeders, completed, leechers)] as the command shows it."""
    return {
        "Scrape": {
            "transaction_id": transaction_id,
            "torrent_stats": [
                {"seeders": seeders, "completed": completed, "leechers": leechers}
                for seeders, completed, leechers in stats
            ],
        }
    }


# The command line.
DESCRIPTION = "Ask a BitTorrent tracker over UDP (BEP 15) and print its answer as JSON."
HASH = "9c38422213e30bff212b30c360d26f9a02136422"
HASH_HELP = "in hex or base32, of version 1 or 2, or a magnet link"
EXIT_CODES = """\
exit codes:
  0 the tracker answered, 1 it did not or it refused, 2 wrong usage (nothing was sent),
  130 Ctrl-C, 143 SIGTERM
"""
HELP = """\
commands:
  announce TRACKER INFO_HASH                   join a swarm and get peers
  scrape TRACKER INFO_HASH [INFO_HASH ...]     count seeders and leechers

examples:
  %(prog)s announce udp://tracker.example.org:6969 {hash}
  %(prog)s scrape tracker.example.org:6969 {hash}
  %(prog)s announce --help

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
ANNOUNCE_HELP = """\
examples:
  %(prog)s announce udp://tracker.example.org:6969 {hash}
  %(prog)s announce '[2001:db8::1]:6969' {hash} --left 1 --peers-wanted 50
  %(prog)s announce tracker.example.org:6969 {hash} --port 6881 | jq .

An announce enters the caller into the swarm, as a seeder while --left is 0. --event stopped takes
it out again; most trackers know a peer by its address and port, so give both the same --port.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
SCRAPE_HELP = """\
examples:
  %(prog)s scrape udp://tracker.example.org:6969 {hash}
  %(prog)s scrape tracker.example.org:6969 {hash} | jq '.Scrape.torrent_stats[0].seeders'

More than 74 info hashes are sent as several requests and their replies joined.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)


def parse_tracker(text: str) -> "Url":
    """Returns the Url of udp://host:port[/path][?query] or host:port, or raises ValueError."""
    url = split_url(text if "://" in text else "udp://" + text)
    if url.scheme != "udp":
        message = "scheme {!r} is not udp; http_tracker_client.py is for http, https, ws and wss"
        raise ValueError(message.format(url.scheme))
    if url.port is None:
        raise ValueError("the port is missing, often 6969; udp://host:port is expected")
    return url


def proxies_of(environ) -> list:
    """Returns the names of the proxy variables that are set."""
    names = ("http_proxy", "https_proxy", "all_proxy", "ALL_PROXY")
    return [name for name in names if environ.get(name)]


def parse_ipv4(text: str) -> bytes:
    """Returns an IPv4 address as 4 bytes, or raises ValueError."""
    try:
        return socket.inet_pton(socket.AF_INET, text)
    except (OSError, ValueError):
        raise ValueError("{!r} is not an IPv4 address".format(text))


def add_tracker(parser) -> None:
    parser.add_argument(
        "tracker", metavar="TRACKER", help="udp://host:port[/path][?query] or host:port"
    )


def add_announce_options(parser) -> None:
    count, signed = whole_number(0, 2 ** 63 - 1), whole_number(-(2 ** 31), 2 ** 31 - 1)
    add_tracker(parser)
    add = parser.add_argument
    add("info_hash", metavar="INFO_HASH", type=argument_type(parse_info_hash), help=HASH_HELP)
    add("--event", choices=list(EVENTS), default="started", help="default started")
    add("--uploaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--downloaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--left", type=count, default=0, metavar="BYTES", help="default 0, a seeder")
    add("--port", type=whole_number(1, 65535), help="default the local port of the socket")
    ipv4 = argument_type(parse_ipv4)
    add("--ip-address", type=ipv4, default=bytes(4), metavar="IPV4", help="default 0.0.0.0")
    add(
        "--peer-id",
        type=argument_type(parse_peer_id),
        default=b"-qB00000000000000001",
        help="20 ASCII characters or 40 hex digits (default -qB00000000000000001)",
    )
    add("--key", type=signed, default=0, help="signed 32-bit number (default 0)")
    add(
        "--peers-wanted",
        type=signed,
        default=1,
        metavar="N",
        help="default 1; -1 leaves it to the tracker",
    )


def add_scrape_options(parser) -> None:
    add_tracker(parser)
    info_hash = argument_type(parse_info_hash)
    parser.add_argument("info_hash", metavar="INFO_HASH", nargs="+", type=info_hash, help=HASH_HELP)


COMMANDS = {
    "announce": (
        add_announce_options,
        "%(prog)s announce TRACKER INFO_HASH [options]",
        ANNOUNCE_HELP,
    ),
    "scrape": (
        add_scrape_options,
        "%(prog)s scrape TRACKER INFO_HASH [INFO_HASH ...] [options]",
        SCRAPE_HELP,
    ),
    None: (None, "%(prog)s announce|scrape TRACKER INFO_HASH [options]", HELP),
}


def parse_arguments(argv: list, prog: str) -> tuple:
    """Returns (command, argparse namespace)."""
    command, arguments, parser = parse_client_command(argv, prog, DESCRIPTION, COMMANDS)
    try:
        arguments.url = parse_tracker(arguments.tracker)
        require_version(arguments.url.host, arguments.ip_version)
    except ValueError as error:
        parser.error("argument TRACKER: {!r}: {}".format(arguments.tracker, error))
    return command, arguments


HASHES_PER_SCRAPE = 74  # what BEP 15 has room for


def build_requests(command: str, arguments) -> list:
    """Returns the requests that the arguments ask for."""
    if command == "scrape":
        hashes = arguments.info_hash
        return [
            Scrape(hashes[start : start + HASHES_PER_SCRAPE])
            for start in range(0, len(hashes), HASHES_PER_SCRAPE)
        ]
    return [
        Announce(
            info_hash=arguments.info_hash,
            peer_id=arguments.peer_id,
            downloaded=arguments.downloaded,
            left=arguments.left,
            uploaded=arguments.uploaded,
            event=EVENTS[arguments.event],
            ip_address=arguments.ip_address,
            key=arguments.key,
            peers_wanted=arguments.peers_wanted,
            port=arguments.port,
            url_data=url_data_of(arguments.url.path, arguments.url.query),
        )
    ]


def main(argv: list, prog: str = "udp_tracker_client.py") -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    command, arguments = parse_arguments(argv, prog)
    requests = build_requests(command, arguments)
    trace = trace_for(arguments)
    if trace and proxies_of(os.environ):
        trace("UDP knows no proxy: {} does not count".format(", ".join(proxies_of(os.environ))))
    try:
        conversation = ask(arguments.url, requests, arguments.timeout, arguments.ip_version, trace)
        replies = conversation.exchange.replies
        errors = [reply for reply in replies if isinstance(reply, ErrorReply)]
        if errors:
            result = {"Error": dict(errors[0]._asdict())}
        elif command == "announce":
            result = announce_to_json(replies[0], conversation.exchange.ipv6)
        else:
            stats = merge_scrapes(requests, replies)
            result = scrape_to_json(replies[0].transaction_id, stats)
            warn_if_truncated(len(arguments.info_hash), len(stats))
    except Failure as failure:
        write_record("error", kind=failure.kind, source=arguments.tracker, message=str(failure))
        return 1
    write_stdout(to_json_text(result, arguments.format != "compact") + "\n")
    return 1 if errors else 0


# The plumbing, which the other scripts have too.


# --- carried region: parser (home: udp_tracker_client.py) ---
def new_parser(prog: str, usage: str, description: str, examples: str):
    """Returns an argparse parser with one line for a usage error and no abbreviated options."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            _, missing, names = message.partition("arguments are required: ")
            if missing:
                expected = self.usage % {"prog": self.prog}
                message = "{} missing; {} is expected".format(names, expected)
            write_stderr("{}: error: {} (see --help)".format(self.prog, escape(message)))
            raise SystemExit(2)

        def print_help(self, file=None):
            write_stdout(self.format_help())

    parser = Parser(
        prog=prog,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser


def tie_options(parser, argv: list) -> tuple:
    """Splits argv into options, each tied to its value as in --key=-4, and positional arguments.

    argparse would take `--key -4` for two options, and before 3.7 it cannot have options amid a
    list of positional arguments. Which options take a value is asked of the parser.
    """
    known = parser._option_string_actions
    options, positionals, words = [], [], iter(argv)

    def takes_value(name):
        return name in known and known[name].nargs != 0

    def tie(name, value):
        options.append(name if value is None else "{}={}".format(name, value))

    for word in words:
        if word == "--":
            positionals.extend(words)
        elif word == "-" or not word.startswith("-"):
            positionals.append(word)
        elif word.startswith("--"):
            tie(word, next(words, None) if takes_value(word) else None)
        else:
            # Short options may stand together, the last with its value: -vo FILE, -voFILE.
            for position, letter in enumerate(word[1:], 2):
                name = "-" + letter
                if takes_value(name):
                    tie(known[name].option_strings[-1], word[position:] or next(words, None))
                    break
                options.append(name)
    return options, positionals


def parse_tied(parser, options: list, positionals: list):
    """Returns the namespace for what tie_options() returned; --version ends the command."""
    if "--version" in options:
        write_stdout("{} {}\n".format(parser.prog, VERSION))
        raise SystemExit(0)
    for option in options:
        require_option(parser, option.partition("=")[0])
    if "--" in positionals or any(option.endswith("=--") for option in options):
        # argparse would make an empty list of it.
        parser.error("'--' is no value that anything has")
    return parser.parse_args(options + ["--"] + positionals)


def require_option(parser, name: str) -> None:
    """Ends in a usage error for an option that the parser has not, naming one that is near."""
    known = parser._option_string_actions
    if name not in known:
        import difflib

        near = [option for option in known if option.startswith(name)]
        if name == "-V":
            # Many other commands have that; -v is something else here.
            near = ["--version"]
        near = near or difflib.get_close_matches(name, known, 1, cutoff=0.75)
        hint = "; did you mean {}?".format(near[0]) if near else ""
        parser.error("there is no option {}{}".format(name, hint))


def argument_type(parse):
    """Makes an argparse type of a function that raises ValueError with what was expected."""

    def parse_argument(text):
        try:
            return parse(text)
        except ValueError as error:
            import argparse

            raise argparse.ArgumentTypeError(str(error))

    return parse_argument


# --- end of carried region: parser ---


# --- carried region: options (home: udp_tracker_client.py) ---
DIGITS = frozenset("0123456789")
HEX_DIGITS = DIGITS | frozenset("abcdefABCDEF")
BASE32_DIGITS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
# White space, and what is pasted along unseen: controls, direction marks, characters of no width.
BLANKS = "".join(
    chr(code)
    for first, last in (
        "\0 ", "\x7f\xa0", "\xad\xad", "\u061c\u061c", "\u1680\u1680", "\u180e\u180e",
        "\u2000\u200f", "\u2028\u202f", "\u205f\u206f", "\u3000\u3000", "\ufe00\ufe0f",
        "\ufeff\ufeff",
    )
    for code in range(ord(first), ord(last) + 1)
)


def whole_number(low: int, high: int):
    """Returns an argparse type for whole numbers from low to high."""

    def parse(text):
        digits = text[1:] if text[:1] in ("+", "-") else text
        # Checked before int() sees it, which takes the digits of every script and underscores.
        if digits and DIGITS.issuperset(digits) and len(digits) < 30 and low <= int(text) <= high:
            return int(text)
        raise ValueError("{!r} is not a whole number from {} to {}".format(text, low, high))

    return argument_type(parse)


def seconds(low: float, high: float):
    """Returns an argparse type for seconds from low, or above it where it is 0, to high."""

    def parse(text):
        if re.match(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\Z", text, re.IGNORECASE):
            if 0 < float(text) and low <= float(text) <= high:
                return float(text)
        bounds = "from {} to".format(low) if low else "above 0, at most"
        raise ValueError("{!r} is not a number of seconds {} {:.0f}".format(text, bounds, high))

    return argument_type(parse)


TIMEOUT_COVERS = "total time allowed, name lookup and resends included"


def add_network_options(parser, timeout: int, covers: str = TIMEOUT_COVERS) -> None:
    """Adds the options that every command on the network has; timeout is the default, in s.

    covers says what it is the time of.
    """
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is done")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 86400),
        default=timeout,
        metavar="SECONDS",
        help="{} (default {})".format(covers, timeout),
    )
    families = parser.add_mutually_exclusive_group()
    for version in (4, 6):
        families.add_argument(
            "-{}".format(version),
            "--ipv{}".format(version),
            dest="ip_version",
            action="store_const",
            const=version,
            help="use IPv{} only".format(version),
        )


def trace_for(arguments):
    """Returns the function that says on stderr what is done, None without --verbose."""
    return (lambda text: write_stderr(escape(text))) if arguments.verbose else None


def is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and HEX_DIGITS.issuperset(text)


def parse_info_hash(text: str) -> bytes:
    """Returns an info hash, or that of a magnet link, as the 20 bytes that trackers know.

    40 hex digits or 32 base32 characters (BEP 9), or 64 hex digits of version 2, of which BEP 52
    sends the first 20 bytes. In a magnet link of a hybrid torrent the version 1 hash counts.
    Raises ValueError for anything else.
    """
    given, text = text, text.strip(BLANKS)
    if is_magnet(text):
        values = magnet_values(text, "xt")
        topics = [value.replace("%3A", ":").replace("%3a", ":") for value in values]
    else:
        topics = ["urn:btih:" + text, "urn:btmh:1220" + text, text]
    for prefix, sizes in (("urn:btih:", (40, 32)), ("urn:btmh:1220", (64,))):
        for topic in topics:
            digits = topic[len(prefix) :]
            if topic.lower().startswith(prefix) and len(digits) in sizes and decode_hash(digits):
                return decode_hash(digits)
    if text.lower().endswith(".torrent") or ("\0" not in text and os.path.isfile(text)):
        message = "{!r} is not an info hash but a file; bencode.py --info-hash FILE prints its own"
        raise ValueError(message.format(given))
    if is_magnet(text):
        found = "a magnet link without one that is known"
    else:
        what = "hex digits" if HEX_DIGITS.issuperset(text) else "characters"
        found = "{} {} were given".format(len(text), what)
    raise ValueError(
        "{!r} is not an info hash: {}; 40 hex digits, 32 base32 characters, 64 hex digits "
        "(version 2) or a magnet link with xt=urn:btih: are expected".format(given, found)
    )


def is_magnet(text: str) -> bool:
    return re.match(r"magnet:(///)?\?", text, re.IGNORECASE) is not None


def magnet_values(text: str, key: str) -> list:
    """Returns the values that a magnet link has for a key, as xt, and for xt.1, xt.2 and so on.

    Keys are in any case, and the link may be out of the source of a page, with &amp; for &.
    """
    query = text.partition("?")[2].replace("&amp;", "&")
    parts = [part.partition("=") for part in query.split("&")]
    numbered = re.compile(key + r"(\.[0-9]+)?\Z", re.IGNORECASE)
    return [value for name, _, value in parts if numbered.match(name)]


def decode_hash(text: str) -> bytes:
    """Returns 20 bytes for an info hash in hex or base32, None for what is neither."""
    if is_hex(text, 40) or is_hex(text, 64):
        return bytes.fromhex(text)[:20]
    if len(text) == 32 and BASE32_DIGITS.issuperset(text):
        import base64

        return base64.b32decode(text.upper())
    return None


# --- end of carried region: options ---


# --- carried region: client options (home: udp_tracker_client.py) ---
def parse_client_command(argv: list, prog: str, description: str, commands: dict) -> tuple:
    """Parses the words after the name of a client.

    commands has (function that adds its options to a parser, usage, examples) for each command,
    and under None what --help says without one. Returns (command, argparse namespace, parser).
    """

    def parser_for(command):
        add_options, usage, examples = commands[command]
        parser = new_parser(prog, usage, description, examples)
        if add_options:
            add_options(parser)
            add_format_option(parser)
        add_network_options(parser, timeout=5)
        return parser

    # A first guess, since it may be the value of an option.
    command = next((word for word in argv if word in commands), None)
    parser = parser_for(command)
    options, positionals = tie_options(parser, argv)
    first = positionals[0] if positionals else None
    if first != command and first in commands:
        command, parser = first, parser_for(first)
        options, positionals = tie_options(parser, argv)
    if first not in commands or first is None:
        general = parser_for(None)
        asked = [option for option in options if option in ("-h", "--help", "--version")]
        if asked and first is None:
            parse_tied(general, asked, [])
        for name in (option.partition("=")[0] for option in options):
            if not any(name in parser_for(each)._option_string_actions for each in commands):
                require_option(parser_for("announce"), name)
        found = "no command" if first is None else "command {!r}".format(first)
        general.error("{}; announce or scrape is expected first".format(found))
    return command, parse_tied(parser, options, positionals[1:]), parser


def add_format_option(parser) -> None:
    parser.add_argument(
        "--format",
        choices=["pretty", "json", "text", "compact"],
        default="pretty",
        help="pretty (default; json and text are other names for it) or compact, on one line",
    )


def parse_peer_id(text: str) -> bytes:
    """Returns a peer id, 20 ASCII characters or 40 hex digits, as 20 bytes, or ValueError."""
    if is_hex(text, 40):
        return bytes.fromhex(text)
    if len(text) == 20 and text.isprintable() and max(text) < "\x7f":
        return text.encode("ascii")
    raise ValueError(
        "{!r} is not a peer id: 20 ASCII characters or 40 hex digits are expected".format(text)
    )


def require_version(host: str, version: int) -> None:
    """Raises ValueError for an address literal that is not of the IP version asked for."""
    if version and literal_version(host) not in (None, version):
        raise ValueError("{0} is not an IPv{1} address, as -{1} asks for".format(host, version))


def warn_if_truncated(requested: int, returned: int) -> None:
    """Writes a warning record when a scrape reply has fewer torrents than were asked for."""
    if returned < requested:
        write_record(
            "warning",
            kind="scrape_response_truncated",
            requested=requested,
            returned=returned,
            message="the tracker answered for {} of {} torrents".format(returned, requested),
        )


# --- end of carried region: client options ---


# --- carried region: urls (home: udp_tracker_client.py) ---
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
HOST_CHARACTERS = NAME_CHARACTERS | {"."}
SCHEME_CHARACTERS = NAME_CHARACTERS - {"_"} | {"+", "."}

# credentials, port and query are None where the URL has none; path and query are as given.
Url = namedtuple("Url", "scheme credentials host port path query")


def split_url(text: str) -> Url:
    """Checks a URL and splits it; the host comes out in ASCII, an IPv6 one without brackets.

    Raises ValueError, with what was wrong and what is expected.
    """
    require_url_characters(text)
    scheme, separator, rest = text.partition("://")
    if not (separator and scheme[:1].isalpha() and SCHEME_CHARACTERS.issuperset(scheme)):
        raise ValueError("no scheme; a URL like udp://host:port or http://host/ is expected")
    authority = rest.split("/")[0].split("?")[0].split("#")[0]
    credentials, at_sign, location = authority.rpartition("@")
    literal, bracket, tail = location.rpartition("]")
    name, _, port = tail.partition(":")
    if ":" in port or (bracket and (name or not literal.startswith("["))):
        raise ValueError(
            "host:port is expected, an IPv6 address in brackets, as [2001:db8::1]:6969"
        )
    if port and not (DIGITS.issuperset(port) and len(port) < 6 and 0 < int(port) < 65536):
        raise ValueError("port {!r} is not a number from 1 to 65535".format(port))
    path, question_mark, query = rest[len(authority) :].partition("#")[0].partition("?")
    return Url(
        scheme.lower(),
        credentials if at_sign else None,
        parse_host(literal[1:] if bracket else name, bool(bracket)),
        int(port) if port else None,
        path,
        query if question_mark else None,
    )


def require_url_characters(text: str) -> None:
    """Raises ValueError for what no URL has; before it is parsed, so that no request is forged."""
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("a URL has no spaces, control characters or backslashes")


def parse_host(host: str, bracketed: bool) -> str:
    """Returns the host in ASCII: an IPv6 literal (its scope after a %) or an IDNA name.

    Raises ValueError when it is neither.
    """
    if bracketed:
        address, percent, scope = host.partition("%")
        if scope.startswith("25") and len(scope) > 2:
            scope = scope[2:]
        known = scope and (HOST_CHARACTERS | {"~"}).issuperset(scope)
        if literal_version(address) != 6 or (percent and not known):
            raise ValueError("{!r} is not an IPv6 address".format(host))
        return address + percent + scope
    # The codec takes minutes for long names.
    if host and max(host) > "\x7f" and len(host) < 255:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("{!r} is not a host name".format(host))
    lengths = [len(label) for label in (host[:-1] if host.endswith(".") else host).split(".")]
    known = HOST_CHARACTERS.issuperset(host)
    if not (known and len(host) < 255 and 0 < min(lengths) and max(lengths) < 64):
        raise ValueError("{!r} is not a host name or an address".format(host))
    return host


def encode_path(path: str, query: str) -> str:
    """Returns path and query (None or "" for none) of a URL in ASCII, the rest as %XX of UTF-8."""
    text = path + "?" + query if query else path
    if max(text, default="") < "\x7f":
        return text
    return "".join(
        chr(byte) if byte < 0x7F else "%{:02X}".format(byte)
        for byte in text.encode("utf-8", "replace")
    )


def text_of(value) -> str:
    """Returns a text that a tracker sent: UTF-8, else Latin-1."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


# --- end of carried region: urls ---


# --- carried region: addresses (home: udp_tracker_client.py) ---
def literal_version(host: str):
    """Returns the IP version of an address literal, 4 or 6; None for a name."""
    version = 6 if ":" in host else 4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return version


def show_address(address: tuple) -> str:
    """Returns a socket address as 198.51.100.7:6969 or [2001:db8::1]:6969."""
    return ("[{}]:{}" if ":" in address[0] else "{}:{}").format(address[0], address[1])


def look_up(host: str, port: int, version: int) -> list:
    """Returns the addresses of a host, in the order the system would try them.

    version is 4 or 6, None for both. Each is a socket address: (IPv4 address, port) or (IPv6
    address, port, flow, scope). This blocks, for a name as long as the system's resolver takes.
    Raises Failure (resolve_failed, unreachable).
    """
    literal = literal_version(host)
    if literal and version not in (None, literal):
        raise Failure("unreachable", "{} is not an IPv{} address".format(host, version))
    if literal == 4:
        return [(host, port)]
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    flags = socket.AI_NUMERICHOST if literal else 0
    try:
        # One kind of socket, for UDP too: else each address comes once for each kind.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name that can be looked up"
        raise Failure("resolve_failed", "{}: {}".format(host, reason))
    addresses = []
    for _, _, _, _, address in found:
        if address[0].lower().startswith("::ffff:") and "." in address[0]:
            # An IPv4-mapped address is the IPv4 network in another notation.
            address = (address[0][7:], port)
        if address not in addresses:
            addresses.append(address)
    return addresses


def open_socket(address: tuple, kind: int):
    """Returns a socket of a kind (SOCK_STREAM, SOCK_DGRAM) that does not block; it is connected,
    or being connected, to the address. Raises OSError.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def network_failure(error: OSError) -> "Failure":
    """Returns the Failure that stands for what the network said to a socket."""
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError)):
        return Failure("refused", "connection refused")
    if error.errno == errno.ETIMEDOUT:
        return Failure("timeout", "the system waited for an answer in vain")
    return Failure("unreachable", "unreachable: {}".format(error.strerror or error))


class Race:
    """Which of a host's addresses is tried when, over UDP and TCP alike; no I/O and no clock.

    The first address is due at once, the next a quarter of a second after the one before or as
    soon as one has failed (the way of RFC 8305), so that a dead address does not hide a live one.
    The first that is reached leads: it is asked what the user wants to know. When it fails, or
    has said nothing for a quarter of the time that was left, the next one that was reached is
    asked as well, and any answer counts.

    due_at is when the next address is due, None where none is left; wake_at when something is due
    at all. failures has [(address, Failure)] in the order in which they failed. Times are seconds
    of any one clock.
    """

    HEAD_START = 0.25
    PATIENCE = 0.25  # of the time that is left

    __slots__ = "waiting head_start deadline due_at reached asked patience_ends failures".split()

    def __init__(self, addresses: list, now: float, deadline: float):
        self.waiting = tuple(addresses)
        # However little time there is, all get their turn in the first half of it.
        self.head_start = min(self.HEAD_START, max(0, deadline - now) / (2 * len(addresses)))
        self.deadline = deadline
        self.due_at = now
        self.reached = ()  # those that are not asked yet
        self.asked = ()
        self.patience_ends = now
        self.failures = ()

    @property
    def wake_at(self) -> float:
        """When take_due() or take_leader() has something, None while nothing is to be had."""
        times = [self.due_at] if self.due_at is not None else []
        if self.reached:
            times.append(self.patience_ends)
        return min(times, default=None)

    def take_due(self, now: float):
        """Returns the address that is to be tried now, None while there is none."""
        if self.due_at is None or now < self.due_at:
            return None
        address, self.waiting = self.waiting[0], self.waiting[1:]
        self.due_at = now + self.head_start if self.waiting else None
        return address

    def take_leader(self, now: float):
        """Returns the address that is to be asked now, None while there is none."""
        if not self.reached or now < self.patience_ends:
            return None
        address, self.reached = self.reached[0], self.reached[1:]
        self.asked += (address,)
        self.patience_ends = now + (self.deadline - now) * self.PATIENCE
        return address

    def reach(self, address: tuple) -> None:
        """Notes that a connection to an address stands."""
        self.reached += (address,)

    def fail(self, address: tuple, failure: "Failure", now: float) -> None:
        """Notes that an address has failed, and for what reason."""
        self.failures += ((address, failure),)
        self.reached = tuple(other for other in self.reached if other != address)
        self.asked = tuple(other for other in self.asked if other != address)
        if not self.asked:
            self.patience_ends = now
            if self.waiting and not self.reached:
                self.due_at = now

    def stop(self) -> None:
        """Tries and asks no further address."""
        self.waiting = self.reached = ()
        self.due_at = None

    def combined_failure(self) -> "Failure":
        """Returns one Failure for all: of the kind of the last; where they differ it names each."""
        kind = self.failures[-1][1].kind
        texts = [str(failure) for _, failure in self.failures]
        if len(set(texts)) > 1:
            texts = [
                "{}: {}".format(show_address(address), failure)
                for address, failure in self.failures
            ]
            return Failure(kind, "; ".join(texts))
        return Failure(kind, texts[0])


# --- end of carried region: addresses ---


# --- carried region: client lookup (home: udp_tracker_client.py) ---
# Seconds: of a signal that comes just before a wait Python hears only after it.
LONGEST_WAIT = 1


def look_up_within(host: str, port: int, version: int, deadline: float) -> list:
    """look_up, which cannot be interrupted, on a thread that is left behind at the deadline.

    deadline is in terms of time.monotonic(). Raises Failure (resolve_failed, timeout, unreachable).
    """
    if literal_version(host):
        return look_up(host, port, version)
    import threading

    outcome = []

    def work():
        try:
            outcome.append(look_up(host, port, version))
        except Failure as failure:
            outcome.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(0, deadline - time.monotonic()))
    if not outcome:
        raise Failure("timeout", "{}: the name lookup took too long".format(host))
    if isinstance(outcome[0], Failure):
        raise outcome[0]
    return outcome[0]


# --- end of carried region: client lookup ---


# --- carried region: output (home: udp_tracker_client.py) ---
class Failure(Exception):
    """Why a request has no answer: `kind` is a word for programs, the text is for people.

    address, as text, is where it was said, None where that does not matter.
    """

    def __init__(self, kind, message, address=None):
        super().__init__(message)
        self.kind = kind
        self.address = address

    def copy(self, before: str = "") -> "Failure":
        """Returns the same without its traceback, which keeps sockets and buffers; text before."""
        return Failure(self.kind, before + str(self), self.address)


def escape(text: str) -> str:
    """Returns text with control characters, direction marks and the like written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def to_json_text(value, pretty: bool) -> str:
    """Returns value as ASCII JSON: indented by two spaces, or on one line without spaces."""
    if pretty:
        return json.dumps(value, indent=2)
    return json.dumps(value, separators=(",", ":"))


def write_stdout(text: str) -> bool:
    """Writes text to stdout, whole and at once; a reader that has gone away is not an error.

    Returns whether there is a reader. Raises Failure (output_failed) when it cannot be written, as
    on a full disk.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        # Not by sys.stdout.write(): where stdout is unbuffered or does not block, that drops what
        # is not taken at the first try.
        raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        left = memoryview(text.encode(sys.stdout.encoding, "backslashreplace"))
        while left:
            written = raw.write(left)
            if written is None:
                import select

                select.select([], [raw], [])
            left = left[written or 0 :]
        return True
    except BrokenPipeError:
        return False
    except OSError as error:
        raise Failure("output_failed", "cannot write to stdout: {}".format(error.strerror))


def write_stderr(text: str, end: str = "\n") -> None:
    """Writes a line to stderr; there is no place left to complain when that fails."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text + end)
            sys.stderr.flush()
    except OSError:
        pass


def write_record(name: str, **fields) -> None:
    """Writes {name: fields} to stderr as one line of compact JSON."""
    write_stderr(to_json_text({name: fields}, pretty=False))


def run_and_exit(main) -> None:
    """Runs main(arguments) as a command and ends the process with the exit code it returns.

    Ctrl-C and SIGTERM end it at once, with 130 and 143, unless main() handles them itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, frame: os._exit(128 + caught))
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
    except Failure as failure:
        write_record("error", kind=failure.kind, source="stdout", message=str(failure))
        code = 1
    # Not sys.exit: a thread that hangs in a name lookup must not hold the exit, and what stdout
    # could not take would be tried again, with a traceback.
    os._exit(code or 0)


# --- end of carried region: output ---


if __name__ == "__main__":
    run_and_exit(main)
