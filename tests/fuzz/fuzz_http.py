# SPDX-License-Identifier: LGPL-3.0-only
"""Replies over TCP against the fetch and reply code of http_tracker_client.py, without a network.

A case is (command, URL, limit of the body, addresses that a name has, replies). A reply is
(head, tail, times, piece, ending): the bytes head and then so many times tail come in pieces of
that many bytes, and at the end the connection is "closed", "reset" or "silent". Each connection
takes the next reply: of a redirect, and of the next address where one fails or is silent.
"""
import gzip
import json
import zlib
from contextlib import contextmanager

import bencode
import http_tracker_client as http
import tracker_checker as checker
from fuzz_bencode import HASH, REPLIES, TOKENS
from mutate import BYTES, HOSTILE_TEXT, below, mutate, pick

URLS = (
    "http://tracker.example/announce",
    "http://user:secret@tracker.example:8080/announce?passkey=1",
    "http://user:secret@127.0.0.1/announce",
    "https://user:secret@[2001:db8::1]/announce",
)
KINDS = {
    "resolve_failed", "timeout", "refused", "unreachable", "invalid_response", "tls",
    "http_status", "too_large", "redirect", "failure_reason",
}
TIMEOUT = 60
HOSTILE = [text.encode("utf-8", "surrogatepass") for text in HOSTILE_TEXT]

STATUS_LINES = [b"HTTP/1.1 200 OK"] * 20 + [
    b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified",
    b"HTTP/1.1 400 Invalid Request", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 503 Unavailable",
    b"HTTP/1.1 999 \x1b[31mred\x9b", b"HTTP/1.1 099 low", b"HTTP/1.1 1000 high", b"HTTP/9 200 OK",
    b"HTTP/1.1 OK", b"HTTP/1.1 -200 OK", b"ICY 200 OK", b"", b"220 mail.example ESMTP",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK", b"HTTP/1.1 101 Switching Protocols",
]
REDIRECTS = [b"HTTP/1.1 %d Found" % status for status in http.REDIRECT_STATUSES]
USUAL_HEADERS = [
    b"Content-Type: text/plain", b"Content-Type: text/html; charset=utf-8", b"Content-Type:",
    b"Connection: close", b"Connection: keep-alive", b"Set-Cookie: a=b", b"X-A:b",
]
ODD_HEADERS = [
    b": no name", b"no colon", b" folded", b"X-Hostile: \x1b[31m\x9b\xe2\x80\xae",
    b"Content-Length: 5",
    b"Content-Length: -1", b"Content-Length: many", b"Content-Length: 99999999999999999999",
    b"Content-Encoding: gzip", b"Content-Encoding: deflate", b"Content-Encoding: x-unheard-of",
    b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip, chunked", b"Content-Length:",
    b"Retry-After: 1", b"X-Long: " + b"v" * 3000, b"\x00: \x00", b"Content-Type: a/\xff",
]
LOCATIONS = [
    b"http://tracker.example/announce", b"http://other.example/announce", b"/elsewhere?a=b",
    b"https://tracker.example/announce", b"//other.example/x", b"?only=query", b"", b"#part",
    b"http://user:other@other.example/", b"http://tracker.example:8080/announce?passkey=1",
    b"file:///etc/passwd", b"ftp://other.example/", b"http://[::1/", b"http://[::1]:99999/",
    b"http://other.example/a b", b"http://other.example/\r\n X-Forged: yes", b"javascript:0",
    "http://b\u00fccher.example/\u00fc".encode(), b"http://other.example/\xff\xfe", b"HTTP://X",
    b"http://127.0.0.1/announce", b"http://" + b"a" * 300 + b"/", b"http://a..b/", b"http://",
    b"\\\\other.example\\", b"http://other.example\\@tracker.example/", b"http:/one", b"http:two",
    b"http://xn--/", b"http://tracker.example@other.example/", b"http://other.example:/",
    # IDNA would take minutes for it.
    "http://{}/".format("".join(map(chr, range(0x4e00, 0x7ce0)))).encode(),
]
PIECES = BYTES + TOKENS * 2 + HOSTILE + [
    b"\r\n", b"\r\n\r\n", b"\n", b"HTTP/1.1 200 OK\r\n", b"0\r\n\r\n", b"5\r\n", b"ffffffff\r\n",
    b"-5\r\n", b"Location: ", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n",
] * 6


def generate(rng):
    command = pick(rng, ("announce", "scrape"))
    limit = pick(rng, (100, 1000, 5000, http.ANNOUNCE_LIMIT))
    hops = pick(rng, (0, 0, 0, 0, 1, 2, 7))
    replies = [make_reply(rng, redirects=True) for _ in range(hops)] + [make_reply(rng, False)]
    addresses = pick(rng, (1, 1, 1, 2, 3))
    if addresses > 1:
        replies += [make_reply(rng, False) for _ in range(below(rng, 3))]
    return command, pick(rng, URLS), limit, addresses, replies


def make_reply(rng, redirects):
    if redirects:
        lines = [pick(rng, REDIRECTS)]
        location = pick(rng, LOCATIONS)
        if not below(rng, 4):
            location = mutate(rng, location, PIECES)
        lines.append(b"Location: " + location)
    else:
        lines = [pick(rng, STATUS_LINES)]
    headers = ODD_HEADERS if not below(rng, 4) else USUAL_HEADERS
    lines += [pick(rng, headers) for _ in range(below(rng, 4))]
    body = pick(rng, REPLIES)
    if not below(rng, 3):
        body = mutate(rng, body, PIECES)
    headers, body = code_body(rng, body)
    rng.shuffle(headers)
    head = b"\r\n".join(lines + headers) + b"\r\n\r\n" + body
    if not below(rng, 4):
        head = mutate(rng, head, PIECES)
    tail, times = b"", 0
    if not below(rng, 50):
        # What goes on for long, from somewhere within the reply.
        head = head[: below(rng, len(head) + 1)]
        tail = pick(rng, (b"\0", b"X-Header: value\r\n", b"1\r\na\r\n", b"0", b"v", b"\r\n", b"le"))
        tail *= 5000
        times = 1 + below(rng, 60)
    piece = pick(rng, (1, 3, 100, 8192, 8192, 65536))
    if piece < 100 and (times or len(head) > 2000):
        piece = 8192
    return head, tail, times, piece, pick(rng, ("closed", "closed", "reset", "silent"))


def code_body(rng, body):
    """Returns (headers, body) in one of the ways that HTTP has for a body, right or wrong."""
    headers = []
    kind = below(rng, 12)
    if kind == 0:
        headers.append(b"Content-Encoding: gzip")
        body = gzip.compress(body, 1)
    elif kind == 1:
        headers.append(b"Content-Encoding: deflate")
        body = zlib.compress(body * pick(rng, (1, 1, 300)), 1)
    kind = below(rng, 8)
    if kind < 3:
        length = len(body) if kind else max(0, len(body) + below(rng, 9) - 4)
        headers.append(b"Content-Length: %d" % length)
    elif kind < 6:
        headers.append(b"Transfer-Encoding: chunked")
        size = 1 + below(rng, 60)
        parts = [body[start : start + size] for start in range(0, len(body), size)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    return headers, body


class FakeStream:
    """What fetching needs of a Stream: a connection whose other side has written all it will."""

    address = "192.0.2.1:80"
    certificate_expires = None

    def __init__(self, reply):
        self.head, self.tail, self.times, self.piece, self.ending = reply
        self.sent = b""
        self.taken = 0
        self.closed = False

    def send(self, data):
        self.sent += data
        return
        yield

    def receive(self):
        if not self.head and self.times:
            self.head = self.tail
            self.times -= 1
        if not self.head:
            if self.ending == "reset":
                raise http.broken_off(ConnectionResetError(104, "Connection reset by peer"))
            if self.ending == "silent":
                yield http.Wait({}, None, "no whole reply in time")
            return b""
        part = self.head[: min(http.READ_SIZE, self.piece)]
        self.head = self.head[len(part) :]
        self.taken += len(part)
        return part

    def close(self):
        self.closed = True


class Clock:
    """Stands in for the module time: it goes on only where steps wait."""

    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now


@contextmanager
def fake_network(replies):
    """Lets the client connect to fake streams; yields (clock, (target, stream) so far)."""
    replies = iter(replies)
    connections = []

    def open_stream(address, target, proxy, options):
        assert proxy is None
        reply = next(replies, None)
        if reply is None:
            raise http.Failure("refused", "the connection was refused")
        stream = FakeStream(reply)
        connections.append((target, stream))
        try:
            yield http.TURN
        except BaseException:
            stream.close()
            raise
        return stream

    original = http.open_stream, http.time
    http.open_stream, http.time = open_stream, Clock()
    try:
        yield http.time, connections
    finally:
        http.open_stream, http.time = original


def run_steps(steps, addresses, clock, deadline):
    """Runs steps: a name has so many addresses, and no socket is ever ready."""
    outcome = None
    try:
        while True:
            wait = steps.send(outcome)
            if isinstance(wait, http.Lookup):
                outcome = [("192.0.2.{}".format(i), wait.port) for i in range(1, addresses + 1)]
                continue
            outcome = []
            if wait.until is None or wait.until >= deadline:
                break
            assert wait.until > clock.now, "waits for what has been"
            clock.now = wait.until
        clock.now = deadline
        steps.throw(http.Failure("timeout", wait.late))
    except StopIteration as end:
        return end.value
    raise AssertionError("the steps wait again after their end")


OPTIONS = http.HttpOptions(
    None,
    user_agent="fuzz",
    headers=[("Cookie", "a=secret"), ("X-Further", "secret")],
    tls=None,
    environ={},
    trace=None,
)


def check(case):
    command, url, limit, addresses, replies = case
    if command == "scrape":
        url = http.scrape_url(url)
    with fake_network(replies) as (clock, connections):
        try:
            query = http.encode_query([("info_hash", HASH)])
            deadline = clock.now + TIMEOUT
            steps = http.fetch(
                http.with_query(url, query), OPTIONS, deadline, limit, look_at_reply(command, limit)
            )
            response, value = run_steps(steps, addresses, clock, deadline)
            assert response.status not in http.REDIRECT_STATUSES
            return ask(command, response, value)
        except http.Failure as failure:
            assert failure.kind in KINDS, failure.kind
            assert str(failure)
            http.to_json_text({"message": str(failure)}, pretty=False).encode("ascii")
            return failure.kind
        finally:
            look_at_connections(connections, limit, addresses)


def look_at_reply(command, limit):
    """Returns what reads a response, as the client does, and looks at what it shows of it."""

    def read(response):
        assert len(response.body) <= limit, "a larger body than allowed"
        reply = http.read_reply(response)
        bencode.encode(reply)
        text = http.to_json_text(http.reply_to_json(command, reply), pretty=True)
        assert text.replace("\n", "").isprintable() and max(text) < "\x7f"
        json.loads(text)
        return reply

    return read


def ask(command, response, reply):
    """Does what the client does with a reply; returns a word for what came of it."""
    if command == "announce":
        http.require_announce(reply, response.status, "started")
        numbers = checker.announce_counts(reply)
    else:
        http.require_scrape(reply, response.status)
        numbers = checker.scrape_counts(reply).get(HASH, ())
    assert all(number is None or isinstance(number, int) for number in numbers)
    return "an answer to " + command


def look_at_connections(connections, limit, addresses):
    """What was sent has to be one request each, and secrets go to the first origin alone."""
    assert len(connections) <= addresses * (1 + http.REDIRECTS)
    origin, home = None, True
    for target, stream in connections:
        assert stream.closed
        # The lines, the body and the sizes of its chunks, and what was read with their last byte.
        assert stream.taken <= 2 * http.HEADERS_LIMIT + 2 * limit + http.READ_SIZE, "took too much"
        here = target.scheme, target.host.lower(), http.port_of(target)
        origin = origin or here
        home = home and here == origin
        # Where another address was first, nothing was asked here.
        if stream.sent or addresses == 1:
            look_at_request(stream.sent, target, home)


def look_at_request(sent, target, home):
    head, end, rest = sent.partition(b"\r\n\r\n")
    assert end and not rest, "not one request"
    lines = head.split(b"\r\n")
    assert lines[0].startswith(b"GET /") and lines[0].endswith(b" HTTP/1.1")
    assert lines[0].count(b" ") == 2
    for line in lines:
        assert all(0x20 <= byte < 0x7f for byte in line), "a forged line"
    names = [line.partition(b":")[0].lower() for line in lines[1:]]
    assert sorted(names) == sorted(set(names)), "a header stands twice"
    assert set(names) <= {
        b"host", b"user-agent", b"connection", b"accept-encoding", b"x-further",
        b"cookie", b"authorization",
    }
    assert names.count(b"host") == 1
    if not home:
        assert b"authorization" not in names and b"cookie" not in names, "a secret went elsewhere"
