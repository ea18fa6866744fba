# SPDX-License-Identifier: LGPL-3.0-only
"""What the loopback tracker can do wrong or oddly, by name: UDP_FAULTS, HTTP_FAULTS, WS_FAULTS.

To add a fault, add a row to a table below, under the actions that it concerns (requests of other
actions get the right answer):

    ("connect-short", "a connect reply of 12 bytes", changed(lambda reply: reply[:12])),

a name; what the tracker does, which begins with "fine" where a client has to cope with it; and
what it does in place of the right answer. Over UDP that is a function of a UdpQuery, which sends
what it likes with query.send(); query.answer() is the right reply, in bytes. Over HTTP it is a
coroutine function of an HttpExchange, which writes what it likes with exchange.write() or
respond(); the connection is closed when it ends. Over WebSocket it is one of a WsExchange, which is
the upgrade or a message: the connection is closed when an upgrade ends without exchange.upgrade(),
but goes on after a message, until exchange.end(). Most rows need no function of their own: those
above each table, as changed(), error(), respond(), answer(), send() and redirect(), make one.

Then say what the fault comes to in the tables of test_fault_matrix.py, which fails until every fault
is there.
"""
import asyncio
import binascii
import gzip
import itertools
import json
import socket
import struct
import zlib
from collections import namedtuple

import bencode  # loopback_tracker.py, which imports this file, has made it importable


class Fault(namedtuple("Fault", "description actions answer")):
    """What the tracker does, for requests of which actions, and the function that does it."""

    @property
    def fine(self):
        """Whether a client has to cope with it."""
        return self.description.startswith("fine")


UDP_FAULTS = {}
HTTP_FAULTS = {}
WS_FAULTS = {}
# These happen before a request is read: where they are the tracker's own, not in a path.
HANDSHAKE_FAULTS = ("silent-handshake", "drip-handshake", "reset-handshake")

CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
DRIP_SECONDS = 0.1
RESET_SECONDS = 0.1

# The opcodes of WebSocket frames.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

# What a hostile tracker sends to take over a terminal or to forge a line of a report.
HOSTILE_LINE = "\x1b[31mred\x07\x7f\x9b32m \u202eevil\u200f"
HOSTILE_TEXT = HOSTILE_LINE + '\0\r\n{"forged":"line"}\n'
PAGE = b"<html><head><title>Welcome</title></head><body>Nothing here.</body></html>\n"
FAILURE = b"d14:failure reason22:torrent not registerede"
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIP = {"Content-Encoding": "gzip"}
COMPACT_PEERS = b"\xc6\x33\x64\x07\x1a\xe1" b"\xc6\x33\x64\x08\x1a\xe2"
COMPACT_PEERS6 = b"".join(
    socket.inet_pton(socket.AF_INET6, host) + b"\x1a\xe1" for host in ("2001:db8::7", "2001:db8::8")
)


# UDP


def enter_udp_faults(actions, rows):
    """Enter faults (name, description, answer) that concern requests of these actions alone."""
    for name, description, answer in rows:
        UDP_FAULTS[name] = Fault(description, actions, answer)


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


def earlier_sends(query):
    """Return the queries that this one repeats, the first first (transaction ids aside)."""
    key = query.client, query.datagram[:12], query.datagram[16:]
    earlier = query.tracker.udp_sends[key]
    query.tracker.udp_sends[key] = earlier + [query]
    return earlier


def lose_sends(count):
    """The first sends of each request are lost, so many of them."""
    def answer(query):
        if len(earlier_sends(query)) >= count:
            query.send(query.answer())
    return answer


def answer_late(query):
    earlier = earlier_sends(query)
    if len(earlier) == 1:
        earlier[0].send(earlier[0].answer())


def answer_twice(seconds):
    """The right reply, and again some seconds later."""
    def answer(query):
        reply = query.answer()
        query.send(reply)
        query.send_later(seconds, reply)
    return answer


def send_from_other_port(query, datagram):
    with socket.socket(query.listener.family, socket.SOCK_DGRAM) as other:
        other.bind((query.fields["local_address"], 0))
        other.sendto(datagram, query.client)


def answer_from_other_port_first(query):
    send_from_other_port(query, query.error(b"from another port"))
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
        query.send(query.announce_reply(120, 0, len(peers) // query.peer_length, peers))
    return answer


def made_up_peers(count, length):
    """Return compact peers, 198.51.x.y or [2001:db8::x:y], all at port 6881."""
    prefix = b"\xc6\x33" if length == 6 else b"\x20\x01\x0d\xb8" + bytes(10)
    return b"".join(prefix + struct.pack(">HH", number, 6881) for number in range(1, count + 1))


def scrape_of(choose):
    """A scrape reply for what a function makes of the info hashes asked for."""
    return asked(lambda query: choose(query.fields["info_hashes"]))


def asked(choose):
    """As scrape_of(), but with a function of the query; a request with a wrong id is an error."""
    def answer(query):
        right = query.answer()
        right_action = right[:4] == struct.pack(">i", SCRAPE)
        query.send(query.scrape_reply(choose(query)) if right_action else right)
    return answer


def in_random_order(query):
    info_hashes = query.fields["info_hashes"]
    return query.tracker.random.sample(info_hashes, len(info_hashes))


def known_hashes(query):
    return list(filter(query.tracker.knows, query.fields["info_hashes"]))


def answer_then_fall_silent(query):
    """Answer as many requests as the tracker's scrapes_answered says."""
    if query.tracker.scrapes_answered > 0:
        query.tracker.scrapes_answered -= 1
        query.send(query.answer())


def answer_within(seconds):
    """The right reply after a random time, so that replies overtake each other."""
    return lambda query: query.send_later(
        seconds * query.tracker.random.random(), query.answer()
    )


enter_udp_faults(("connect", "announce", "scrape"), [
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
     lambda query: send_from_other_port(query, query.answer())),
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
     changed(lambda reply: reply.ljust(65507, b"\0"))),
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

    # Orders, and numbers of entries
    ("scrape-sorted", "a scrape reply in the order of the info hashes, not that of the request",
     scrape_of(sorted)),
    ("scrape-reversed", "a scrape reply in the reverse order of the request",
     scrape_of(lambda info_hashes: info_hashes[::-1])),
    ("scrape-random", "a scrape reply in random order, another each time",
     asked(in_random_order)),
    ("scrape-sorted-distinct", "as scrape-sorted, and an entry for each hash once, as Torrust's",
     scrape_of(lambda info_hashes: sorted(set(info_hashes)))),
    ("scrape-first-50", "a scrape reply for the first 50 info hashes",
     scrape_of(lambda info_hashes: info_hashes[:50])),
    ("scrape-first-70", "a scrape reply for the first 70 info hashes, as aquatic's",
     scrape_of(lambda info_hashes: info_hashes[:70])),
    ("scrape-known", "a scrape reply without entries for torrents that the tracker does not know",
     asked(known_hashes)),
    ("scrape-one-extra", "a scrape reply with an entry too many, of zeros",
     changed(lambda reply: reply + bytes(12))),

    # Times
    ("scrape-then-silent", "answers the first requests (the tracker's scrapes_answered), no others",
     answer_then_fall_silent),
    ("scrape-delayed", "fine: a scrape reply comes 50 ms later",
     lambda query: query.send_later(0.05, query.answer())),
    ("scrape-overtaking", "fine: scrape replies come within 50 ms, and overtake each other",
     answer_within(0.05)),
    ("scrape-doubled", "fine: a scrape reply comes again 10 ms later", answer_twice(0.01)),
])


# HTTP


def enter_http_faults(actions, rows):
    """Enter faults (name, description, answer) that concern requests of these actions alone."""
    for name, description, answer in rows:
        HTTP_FAULTS[name] = Fault(description, actions, answer)


def respond(body=None, status=None, content_type=None, headers=None):
    """The right response but for what is given; body may be a function of the right body."""
    async def do(exchange):
        sent = body(exchange.usual_body()) if callable(body) else body
        await exchange.respond(sent, status, content_type, headers)
    return do


def answer(change):
    """The right response, but its dictionary is changed by a function."""
    async def do(exchange):
        if exchange.problem():
            await exchange.respond()
        else:
            await exchange.respond(bencode.encode(change(exchange.answer())))
    return do


def send(data, then=None):
    """Raw bytes, or a function of the right body that makes them; then perhaps hold or reset."""
    async def do(exchange):
        await exchange.write(data(exchange.usual_body()) if callable(data) else data)
        if then:
            await then(exchange)
    return do


def drip(beginning, data):
    """Raw bytes, then others again and again, one byte every tenth of a second."""
    async def do(exchange):
        await exchange.write(beginning)
        for byte in itertools.cycle(data):
            await exchange.write(bytes([byte]))
            await asyncio.sleep(DRIP_SECONDS)
    return do


def flood(beginning, data, times=None, pause=0):
    """Raw bytes, then others again and again, as fast as the client reads or with a pause (s)."""
    async def do(exchange):
        await exchange.write(beginning)
        for _ in range(times) if times else itertools.count():
            await exchange.write(data)
            # Where the client reads fast enough, write() alone never lets others run.
            await asyncio.sleep(pause)
    return do


def redirect(location, status="302 Found", after=0):
    """A redirect to a URL, or to what a function makes of the exchange, after some seconds."""
    async def do(exchange):
        url = location(exchange) if callable(location) else location
        await asyncio.sleep(after)
        await exchange.respond(b"", status, headers={"Location": url})
    return do


async def hold(exchange):
    """Keep the connection open until the client closes it."""
    await exchange.tracker.loop.create_future()


async def reset(exchange):
    """Break the connection off with a TCP reset."""
    # A reset takes with it what the client has not yet read: leave it the time to.
    await asyncio.sleep(RESET_SECONDS)
    connection = exchange.writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    exchange.writer.transport.abort()


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


def target(exchange, fault):
    """Return path and query of a request, with a fault of this name in the path."""
    return "/fault/{}{}?{}".format(fault, exchange.path, exchange.fields["query"])


def to(fault, further=""):
    """A function that returns the URL of the same request with this fault."""
    def url(exchange):
        headers = {name.lower(): value for name, value in exchange.fields["headers"]}
        scheme = "https" if exchange.tracker.tls else "http"
        return "{}://{}{}{}".format(scheme, headers["host"], target(exchange, fault), further)
    return url


def next_hop(fault):
    """A function that returns another URL each time, with this same fault."""
    return lambda exchange: "{}&hop={}".format(
        to(fault)(exchange), exchange.tracker.random.getrandbits(32)
    )


def failure(reason):
    return {b"failure reason": reason}


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
     redirect(lambda exchange: target(exchange, "none"), "301 Moved Permanently")),
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


# WebSocket


def ws_frame(payload, opcode=TEXT, final=True, reserved=0, mask=None, length=None):
    """Return a frame of RFC 6455; length: one that it only says it has, in eight bytes."""
    first = bytes([(0x80 if final else 0) | reserved << 4 | opcode])
    bit = 0x80 if mask else 0
    if length is not None:
        head = bytes([bit | 127]) + struct.pack(">Q", length)
    elif len(payload) < 126:
        head = bytes([bit | len(payload)])
    elif len(payload) < 65536:
        head = bytes([bit | 126]) + struct.pack(">H", len(payload))
    else:
        head = bytes([bit | 127]) + struct.pack(">Q", len(payload))
    if mask:
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
    return first + head + (mask or b"") + payload


def ws_close(code, reason=""):
    """Return the payload of a close frame."""
    return struct.pack(">H", code) + reason.encode()


def enter_ws_faults(actions, rows):
    """Enter faults (name, description, answer) that concern requests of these actions alone."""
    for name, description, answer in rows:
        WS_FAULTS[name] = Fault(description, actions, answer)


def over_http(fault):
    """What a fault of the table above does, in place of the upgrade."""
    return lambda exchange: fault(exchange.http)


def upgrade(change):
    """The upgrade, but what is sent is made by a function of the right head; then it goes on."""
    async def do(exchange):
        await exchange.upgrade(change(exchange.usual_body()))
    return do


def lower_case_head(head):
    """Return the head of a response with its headers in lower case and reverse order."""
    status, *headers = head.decode("latin-1").rstrip().split("\r\n")
    pairs = [header.partition(": ") for header in reversed(headers)]
    lines = [status] + ["{}: {}".format(name.lower(), value) for name, _, value in pairs]
    return "\r\n".join(lines + ["", ""]).encode()


async def upgrade_after_a_second(exchange):
    await asyncio.sleep(1)
    await exchange.upgrade()


async def upgrade_and_close(exchange):
    await exchange.upgrade()
    await exchange.close(ws_close(1001, "going away"))


async def answer_and_end(exchange):
    await exchange.respond()
    exchange.end()


def say(change):
    """The right answer, but its dictionary is changed by a function; failures are as they were."""
    async def do(exchange):
        if exchange.problem():
            await exchange.respond()
        else:
            await exchange.respond(change(exchange.answer()))
    return do


def say_text(data):
    """A text message of these bytes, or of what a function makes of the right answer's."""
    return send(lambda body: ws_frame(data(body) if callable(data) else data))


def say_twice(change):
    """What a function makes of the right answer's dictionary, and after it the right answer."""
    async def do(exchange):
        right = exchange.answer()
        if not exchange.problem():
            await exchange.respond(change(right))
        await exchange.respond(right)
    return do


def with_first(pair):
    """A function that puts a key and value, in JSON, at the head of a JSON object."""
    return lambda body: b"{" + pair + b"," + body[1:]


def refusal(reason, *keys):
    """A failure reason; with keys of the right answer."""
    return say(lambda right: with_keys(
        {"failure reason": reason}, {key: right[key] for key in keys if key in right}
    ))


def refusal_of_message(reason):
    """A failure reason with action and info hash, where the answer would have them."""
    return refusal(reason, "action", "info_hash")


def offer(answer, number=0):
    """Return an offer of another peer that nobody asked for, beside this answer."""
    return {
        "action": "announce",
        "info_hash": answer.get("info_hash", OFFERED_HASH),
        "offer": {"type": "offer", "sdp": "v=0\r\no=- {} 2 IN IP4 127.0.0.1\r\n".format(number)},
        "offer_id": "{:020d}".format(number),
        "peer_id": "-LT0001-offering0000",
    }


def offers_first(count):
    async def do(exchange):
        right = exchange.answer()
        for number in range(count):
            await exchange.respond(offer(right, number))
        await exchange.respond(right)
    return do


async def offer_without_end(exchange):
    data = ws_frame(json.dumps(offer(exchange.answer())).encode()) * 20
    await flood(b"", data, pause=0.01)(exchange)


async def ping_first(exchange):
    await exchange.ping(b"are you there?")
    await exchange.respond()


async def answer_in_fragments(exchange):
    body = exchange.usual_body()
    await exchange.write(ws_frame(body[:10], final=False))
    await exchange.ping(b"between fragments")
    await exchange.write(ws_frame(body[10:20], CONTINUATION, final=False))
    await exchange.write(ws_frame(b"", CONTINUATION, final=False))
    await exchange.write(ws_frame(body[20:], CONTINUATION))


async def answer_byte_by_byte(exchange):
    for byte in ws_frame(exchange.usual_body()):
        await exchange.write(bytes([byte]))
        await asyncio.sleep(0)


async def answer_after_a_second(exchange):
    await asyncio.sleep(1)
    await exchange.respond()


async def answer_unless_peer_id_is_taken(exchange):
    key = exchange.fields.get("info_hash"), exchange.fields.get("peer_id")
    if exchange.problem() or exchange.tracker.ws_peers.get(key) in (None, exchange.connection):
        await exchange.respond()


async def ignore(exchange):
    """Say nothing to the message; the connection goes on."""


async def end(exchange):
    exchange.end()


def close(payload):
    return lambda exchange: exchange.close(payload)


def in_aquatic_order(right):
    keys = ("action", "info_hash", "complete", "incomplete", "interval", "files")
    return {key: right[key] for key in keys if key in right}


def with_text_for_numbers(right):
    return {
        key: str(value) if isinstance(value, int) else value for key, value in right.items()
    }


def with_files(change):
    """A scrape answer whose files are what a function makes of the right ones."""
    return say(lambda right: with_keys(right, {"files": change(right["files"])}))


def each_file(change):
    """A scrape answer whose entries are what a function makes of the right ones."""
    return with_files(lambda files: {key: change(entry) for key, entry in files.items()})


def padded(length):
    """A function that makes JSON as long as this with spaces before its end."""
    return lambda body: body[:-1] + b" " * (length - len(body)) + body[-1:]


async def leave_out_unknown_hashes(exchange):
    def known(files):
        return {
            key: entry for key, entry in files.items()
            if exchange.tracker.knows(key.encode("latin-1"))
        }
    await with_files(known)(exchange)


OFFERED_HASH = "offered info hash 01"
FURTHER_HASH = "further info hash 01"
HALF = b'{"action":"announce","comp'
FRAGMENT = ws_frame(b'{"action":"announce","padding":"', final=False)

enter_ws_faults((), [
    ("none", "fine: no fault, also where one is set for all connections", ignore),
])
enter_ws_faults(("upgrade",), [
    # Silence, and connections that break
    ("silent-upgrade", "accepts the request for an upgrade and says nothing", hold),
    ("close-upgrade", "closes the connection without a word, as aquatic does", send(b"")),
    ("reset-upgrade", "breaks the connection off with a TCP reset", reset),
    ("slow-upgrade", "fine, but the upgrade comes after a second",
     upgrade_after_a_second),
    ("silent-after-upgrade", "the upgrade, then silence", send(lambda head: head, hold)),
    ("close-after-upgrade", "the upgrade, then a close frame 1001", upgrade_and_close),
    ("end-after-upgrade", "the upgrade, then the end of the connection",
     send(lambda head: head)),
    ("reset-after-upgrade", "the upgrade, then a TCP reset", send(lambda head: head, reset)),

    # Other responses
    ("status-400", "400 with a line of text",
     over_http(respond(b"Invalid Upgrade header", "400 Bad Request", "text/html"))),
    ("html-403", "an HTML page under 403", over_http(respond(PAGE, "403 Forbidden", "text/html"))),
    ("html-control-characters", "a page under 403 with ESC, newlines, C1 and direction marks",
     over_http(respond(HOSTILE_TEXT.encode(), "403 Forbidden", "text/html"))),
    ("html", "an HTML page under 200", over_http(respond(PAGE, content_type="text/html"))),
    ("failure-http", "a bencoded failure reason under 200, as a tracker that only knows HTTP",
     over_http(respond(FAILURE))),
    ("redirect", "a redirect to the same server", over_http(redirect(to("none")))),
    ("reason-phrase-control-characters", "404, its phrase with ESC, C1 and direction marks",
     over_http(respond(b"", "404 " + HOSTILE_LINE))),

    # Heads
    ("wrong-accept", "the upgrade with a Sec-WebSocket-Accept for another key",
     upgrade(lambda head: head.replace(b"Accept: ", b"Accept: AAAA"))),
    ("missing-accept", "the upgrade without Sec-WebSocket-Accept",
     upgrade(lambda head: head[:head.index(b"Sec-WebSocket-Accept")] + b"\r\n")),
    ("lower-case-headers", "fine: the headers in lower case and another order, as aquatic's",
     upgrade(lower_case_head)),
    ("first-frame-in-upgrade", "fine: an offer in the same segment as the upgrade",
     upgrade(lambda head: head + ws_frame(json.dumps(offer({})).encode()))),
    ("early-hints", "fine: 103 Early Hints before the upgrade",
     upgrade(lambda head: b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + head)),
    ("drip-status-line", "a status line without end, byte by byte",
     drip(b"HTTP/1.1 101 ", b"O")),
    ("drip-headers", "headers without end, byte by byte",
     drip(b"HTTP/1.1 101 Switching Protocols\r\n", b"X-A: b\r\n")),
    ("endless-early-hints", "103 Early Hints without end",
     flood(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000)),
    ("endless-headers", "headers without end",
     flood(b"HTTP/1.1 101 Switching Protocols\r\n", b"X-Header: value\r\n" * 1000)),
    ("endless-header-line", "a header line without end",
     flood(b"HTTP/1.1 101 Switching Protocols\r\nX-Header: ", b"v" * 65536)),
    ("not-http", "the greeting of a mail server", send(b"220 mail.example ESMTP\r\n")),
    ("binary-junk", "bytes of all values", send(bytes(range(256)) * 4)),
])
enter_ws_faults(("announce", "scrape"), [
    # Silence, and connections that break
    ("silent", "takes messages and never answers them", ignore),
    ("slow", "fine, but each answer comes after a second", answer_after_a_second),
    ("silent-in-message", "half of an answer, then silence",
     send(ws_frame(HALF, length=120), hold)),
    ("close-in-message", "half of an answer, then the end of the connection",
     send(ws_frame(HALF, length=120), end)),
    ("reset-in-message", "half of an answer, then a TCP reset",
     send(ws_frame(HALF, length=120), reset)),
    ("close", "closes the TCP connection in place of an answer, as aquatic does", end),
    ("close-after-answer", "the answer, and then the end of the connection", answer_and_end),
    ("reset", "breaks the connection off with a TCP reset", reset),
    ("close-1000", "a close frame 1000 in place of an answer", close(ws_close(1000))),
    ("close-1001", "a close frame 1001 with a reason in place of an answer",
     close(ws_close(1001, "going away"))),
    ("close-1008", "a close frame 1008 with a reason in place of an answer",
     close(ws_close(1008, "torrent not registered"))),
    ("close-1005", "a close frame with the code 1005, which none may have", close(ws_close(1005))),
    ("close-empty", "a close frame without a code", close(b"")),
    ("close-one-byte", "a close frame of one byte", close(b"\x03")),
    ("close-control-characters", "a close frame whose reason has ESC, newlines, direction marks",
     close(ws_close(1008, HOSTILE_TEXT))),
    ("close-invalid-utf8", "a close frame whose reason is not UTF-8",
     close(ws_close(1008) + b"refus\xe9")),

    # Other messages and frames around the right answer
    ("offer-first", "fine: an offer of another peer, then the right answer", offers_first(1)),
    ("many-offers-first", "fine: 200 offers of other peers, then the right answer",
     offers_first(200)),
    ("other-action-first", "fine: an answer to another action, then the right one",
     say_twice(lambda right: {
         "announce": {"action": "scrape", "files": {}},
         "scrape": {"action": "announce", "info_hash": FURTHER_HASH, "complete": 7,
                    "incomplete": 7, "interval": 7}}[right["action"]])),
    ("unknown-action-first", "fine: a message of an unknown action, then the right answer",
     say_twice(lambda right: with_keys(right, {"action": "news", "text": "hello"}))),
    ("twice", "fine: each answer twice", say_twice(lambda right: right)),
    ("ping-first", "fine: a ping, and the right answer only after its pong", ping_first),
    ("empty-ping-first", "fine: a ping without a payload, then the right answer",
     send(lambda body: ws_frame(b"", PING) + ws_frame(body))),
    ("pong-first", "fine: a pong that nobody asked for, then the right answer",
     send(lambda body: ws_frame(b"unasked", PONG) + ws_frame(body))),
    ("fragments", "fine: the answer in fragments, one of them empty, a ping between",
     answer_in_fragments),
    ("byte-by-byte", "fine: the answer comes byte by byte",
     answer_byte_by_byte),
    ("binary", "fine: the answer as a binary message",
     send(lambda body: ws_frame(body, BINARY))),

    # Frames that RFC 6455 forbids
    ("masked", "the answer is masked, which only a client's messages are",
     send(lambda body: ws_frame(body, mask=b"\x01\x02\x03\x04"))),
    ("reserved-bit", "the answer has a reserved bit set, as if it were compressed",
     send(lambda body: ws_frame(body, reserved=4))),
    ("unknown-opcode", "the answer in a frame with the opcode 3",
     send(lambda body: ws_frame(body, 3))),
    ("stray-continuation", "the answer as the continuation of nothing",
     send(lambda body: ws_frame(body, CONTINUATION))),
    ("text-in-fragments", "the first fragment of a message, then the answer as one of its own",
     send(lambda body: ws_frame(body[:10], final=False) + ws_frame(body))),
    ("fragmented-ping", "a ping that is a first fragment, then the right answer",
     send(lambda body: ws_frame(b"ping", PING, final=False) + ws_frame(body))),
    ("long-ping", "a ping of 126 bytes, then the right answer",
     send(lambda body: ws_frame(b"p" * 126, PING) + ws_frame(body))),
    ("length-highest-bit", "a length with the highest bit set",
     send(lambda body: ws_frame(body, length=1 << 63))),

    # What never ends, or is far too long
    ("huge-length", "the beginning of a message of 2 GiB, then silence",
     send(ws_frame(HALF, length=1 << 31), hold)),
    ("drip-message", "a message without end, byte by byte",
     drip(ws_frame(b'{"action":"announce",', length=1000000), b" ")),
    ("endless-fragments", "a message of fragments without end",
     flood(FRAGMENT, ws_frame(b"a" * 65536, CONTINUATION, final=False))),
    ("endless-empty-fragments", "fragments of no bytes without end",
     flood(FRAGMENT, ws_frame(b"", CONTINUATION, final=False) * 1000, pause=0.01)),
    ("endless-offers", "offers without end", offer_without_end),
    ("endless-pings", "pings without end", flood(b"", ws_frame(b"and again", PING) * 20, pause=0.01)),

    # Failure reasons
    ("failure", "a failure reason, with action and info hash",
     refusal_of_message("torrent not registered")),
    ("failure-alone", "a failure reason without action and info hash",
     refusal("torrent not registered")),
    ("failure-empty", "a failure reason of no characters", refusal_of_message("")),
    ("failure-not-text", "a failure reason that is a number", refusal_of_message(13)),
    ("failure-control-characters", "a failure reason with ESC, newlines, C1 and direction marks",
     refusal_of_message(HOSTILE_TEXT)),
    ("failure-lone-surrogates", "a failure reason with halves of surrogate pairs",
     say_text(with_first(b'"failure reason":"\\ud800 \\udfff"'))),

    # JSON
    ("not-json", "a line of text that is no JSON", say_text(b"Unexpected token")),
    ("empty-message", "a message of no bytes", say_text(b"")),
    ("json-array", "the answer within an array", say_text(lambda body: b"[" + body + b"]")),
    ("json-null", "null", say_text(b"null")),
    ("json-cut-off", "the answer without its last byte", say_text(lambda body: body[:-1])),
    ("empty-object", "an object with nothing in it", say_text(b"{}")),
    ("invalid-utf8", "an answer that is not UTF-8",
     say_text(with_first(b'"a":"refus\xe9"'))),
    ("lone-surrogates", "fine: a warning message with halves of surrogate pairs",
     say_text(with_first(b'"warning message":"\\ud800 \\udfff"'))),
    ("deep-nesting", "arrays in arrays, 100,000 deep",
     say_text(with_first(b'"a":' + b"[" * 100000 + b"]" * 100000))),
    ("not-a-number", "NaN and Infinity, which JSON does not have",
     say_text(with_first(b'"a":NaN,"b":-Infinity'))),
    ("huge-integer", "a number of 10,000 digits", say_text(with_first(b'"a":' + b"9" * 10000))),
    ("huge-float", "a number too large for a float",
     say_text(with_first(b'"a":1e999'))),
    ("aquatic-order", "fine: the keys as aquatic has them, in its order", say(in_aquatic_order)),
    ("extra-keys", "fine: tracker id, warning message, a fraction, null, and nested values",
     say(lambda right: with_keys(right, {
         "tracker id": "id 1", "warning message": "please update", "min interval": 30.5,
         "external ip": None, "nested": {"list": [1, [2, {}]], "true": True}}))),
    ("warning-control-characters", "fine: a warning message with ESC, newlines, direction marks",
     say(lambda right: with_keys(right, {"warning message": HOSTILE_TEXT}))),
    ("control-characters-in-keys", "fine: a key with ESC, newlines and direction marks",
     say(lambda right: with_keys(right, {HOSTILE_TEXT: HOSTILE_TEXT}))),
])
enter_ws_faults(("announce",), [
    ("silent-announce", "never answers announce", ignore),
    ("peer-id-taken", "fine: ignores an announce with a peer id of another open connection",
     answer_unless_peer_id_is_taken),
    ("failure-on-announce", "a failure reason to announce; scrape works",
     refusal_of_message("torrent not registered")),
    ("close-on-announce", "a close frame 1008 in place of an announce answer",
     close(ws_close(1008, "torrent not registered"))),
    ("other-hash-first", "fine: an answer for another info hash, then the right one",
     say_twice(lambda right: with_keys(right, {"info_hash": FURTHER_HASH, "complete": 7}))),
    ("other-hash", "an answer for another info hash alone",
     say(lambda right: with_keys(right, {"info_hash": FURTHER_HASH}))),
    ("missing-interval", "an announce answer without interval",
     say(lambda right: without_keys(right, "interval"))),
    ("missing-counts", "fine: an announce answer without complete and incomplete",
     say(lambda right: without_keys(right, "complete", "incomplete"))),
    ("missing-hash", "an announce answer without info hash",
     say(lambda right: without_keys(right, "info_hash"))),
    ("missing-action", "an announce answer without action",
     say(lambda right: without_keys(right, "action"))),
    ("numbers-as-text", "an announce answer whose numbers are text", say(with_text_for_numbers)),
    ("odd-types", "counts are null and lists; the rest is right",
     say(lambda right: with_keys(right, {"complete": None, "incomplete": [1]}))),
    ("negative-numbers", "interval and counts below zero",
     say(lambda right: with_keys(right, {"complete": -2, "incomplete": -3, "interval": -1}))),
    ("large-message", "an announce answer of 2 MiB", say_text(padded(2 << 20))),
])
enter_ws_faults(("scrape",), [
    ("scrape-silent", "takes a scrape request and never answers it", ignore),
    ("failure-on-scrape", "a failure reason to scrape; announce works",
     refusal_of_message("scrape is not allowed")),
    ("scrape-close", "closes the TCP connection in place of a scrape answer", end),
    ("scrape-empty", "a scrape answer with no entry in files", with_files(lambda files: {})),
    ("scrape-known", "a scrape answer without what the tracker does not know, as aquatic's",
     leave_out_unknown_hashes),
    ("scrape-truncated", "a scrape answer that lacks the last entry",
     with_files(lambda files: dict(list(files.items())[:-1]))),
    ("scrape-first-70", "fine: a scrape answer for the first 70 info hashes",
     with_files(lambda files: dict(list(files.items())[:70]))),
    ("scrape-reversed", "fine: a scrape answer in the reverse order of the request",
     with_files(lambda files: dict(reversed(list(files.items()))))),
    ("scrape-extra", "fine: a scrape answer with an entry that nobody asked for",
     with_files(lambda files: dict(
         files, **{FURTHER_HASH: {"complete": 7, "incomplete": 7, "downloaded": 7}}))),
    ("scrape-extra-keys", "fine: a scrape answer with name and a fraction per torrent",
     each_file(lambda entry: dict(entry, name="a file", speed=0.5))),
    ("scrape-odd-types", "a scrape answer whose counts are text, null and lists",
     each_file(lambda entry: {"complete": "many", "incomplete": None, "downloaded": [1]})),
    ("scrape-negative", "a scrape answer with numbers below zero",
     each_file(lambda entry: {"complete": -1, "incomplete": -3, "downloaded": -2})),
    ("scrape-name-control-characters", "a scrape answer with ESC, newlines and more in a name",
     each_file(lambda entry: dict(entry, name=HOSTILE_TEXT))),
    ("missing-files", "a scrape answer without files",
     say(lambda right: without_keys(right, "files"))),
    ("files-not-a-dictionary", "a scrape answer whose files are a list",
     say(lambda right: with_keys(right, {"files": [1]}))),
    ("files-of-numbers", "a scrape answer whose entries are numbers",
     each_file(lambda entry: 1)),
    ("odd-hashes", "info hashes with a character that is not in Latin-1",
     with_files(lambda files: {key[:-1] + "\u20ac": entry for key, entry in files.items()})),
    ("short-hashes", "info hashes that lack their last character",
     with_files(lambda files: {key[:-1]: entry for key, entry in files.items()})),
    ("scrape-large-message", "a scrape answer of 16 MiB and a byte",
     say_text(padded((16 << 20) + 1))),
])
