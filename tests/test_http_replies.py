# SPDX-License-Identifier: LGPL-3.0-only
"""Replies over HTTP as values: bytes in, a response or a Failure out, and what a reply says.

Each reply is fed whole, byte by byte and in pieces of 7, and the same has to come of it.
"""

import zlib

import pytest
from http_tracker_client import (
    ANNOUNCE_LIMIT, HEADERS_LIMIT, Failure, HttpResponse, ReplyParser, read_reply,
    require_announce, require_scrape
)

BODY = b"d8:completei3e10:incompletei2e8:intervali1800e5:peers0:e"
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


# What zlib calls the window says what is around the compressed data, too.
ZLIB, NOTHING, GZIP = 15, -15, 31


def compress(data, window):
    # Not gzip.compress(), which writes the time: the same rows are the same bytes in each process.
    stream = zlib.compressobj(wbits=window)
    return stream.compress(data) + stream.flush()


ZIPPED = compress(BODY, GZIP)
WRAPPED = compress(BODY, ZLIB)
RAW = compress(BODY, NOTHING)

pieces = pytest.mark.parametrize("size", [None, 1, 7])


def start(data, size, limit=ANNOUNCE_LIMIT):
    """Feeds a parser in pieces of a size, None for whole; returns (parser, response or None)."""
    parser = ReplyParser(limit)
    size = size or max(1, len(data))
    for at in range(0, len(data), size):
        found = parser.feed(data[at : at + size])
        if found:
            return parser, found
    return parser, None


def feed(data, size=None, limit=ANNOUNCE_LIMIT):
    """Returns what comes of a reply after which the connection ends."""
    parser, found = start(data, size, limit)
    return found or parser.feed(b"")


def failure_of(function, *arguments):
    with pytest.raises(Failure) as caught:
        function(*arguments)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 800
    return caught.value


# Replies that are well


@pieces
@pytest.mark.parametrize("reply", [
    OK + LENGTH + b"\r\n" + BODY,
    OK + LENGTH + b"\r\n" + BODY + b"what nobody announced",
    b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY,
    (OK + LENGTH).replace(b"\r", b"") + b"\n" + BODY,
    CHUNKED + chunk(BODY) + LAST,
    CHUNKED + b"".join(chunk(BODY[at : at + 9]) for at in range(0, len(BODY), 9)) + LAST,
    CHUNKED + b"0038 ; name=value\r\n" + BODY + b"\r\n000;x\r\n\r\n",
    CHUNKED + b" 38 \n" + BODY + b"\n0\n\n",
    CHUNKED + b"000000000000000E\r\n" + BODY[:14] + b"\r\n2a\r\n" + BODY[14:] + b"\r\n" + LAST,
    CHUNKED + chunk(BODY) + b"0\r\nX-Trailer: 1\r\n\r\n",
    # Trailers are not waited for.
    CHUNKED + chunk(BODY) + b"0\r\n",
    OK + LENGTH + b"transfer-encoding:Chunked \r\n\r\n" + chunk(BODY) + LAST,
    OK + b"Content-Length: 3\r\nTransfer-Encoding: x, chunked\r\n\r\n" + chunk(BODY) + LAST,
    OK + b"junk\r\nA B: c\r\n: d\r\n" + LENGTH + b"\r\n" + BODY,
    OK + LENGTH + b"Content-Length: 3\r\n\r\n" + BODY,
    OK + b"".join(b"X-%d: %d\r\n" % (at, at) for at in range(120)) + LENGTH + b"\r\n" + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + LENGTH + b"\r\n" + BODY,
    2 * b"HTTP/1.1 103 Early Hints\r\nLink: a\r\nContent-Length: 9\r\n\r\n" + CHUNKED
    + chunk(BODY) + LAST,
    b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\n" + OK + b" folded\r\n" + LENGTH + b"\r\n" + BODY,
    OK + b"Content-Length: %025d\r\n\r\n" % len(BODY) + BODY,
    OK + b"Content-Length:\r\n %d\r\n\r\n" % len(BODY) + BODY,
])
def test_replies_that_say_where_they_end(reply, size):
    # Without the end of the connection, which a server may keep open.
    _, found = start(reply, size)
    assert (found.status, found.reason, found.body, found.address) == (200, "OK", BODY, None)


@pieces
@pytest.mark.parametrize("headers", [
    b"",
    b"Content-Length:\r\n",
    b"Content-Length: many\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: +3\r\n",
    b"Content-Length: 1_0\r\n",
    b"Content-Length: \xb3\r\n",
    b"Transfer-Encoding: identity\r\n",
    # Plain, though the header says else.
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Encoding: gzip\r\n" + LENGTH,
])
@pytest.mark.parametrize("version", [b"HTTP/1.0", b"HTTP/1.1"])
def test_replies_that_end_with_the_connection(version, headers, size):
    parser, found = start(version + b" 200 OK\r\n" + headers + b"\r\n" + BODY, size)
    assert found is None
    found = parser.feed(b"")
    assert (found.status, found.body) == (200, BODY)


@pieces
@pytest.mark.parametrize("line, status, reason", [
    (b"HTTP/1.1 200 OK", 200, "OK"),
    (b"HTTP/1.1 200", 200, ""),
    (b"HTTP/1.1 200 ", 200, ""),
    (b"HTTP/1.0  404   Not  \xe9 ", 404, "Not  \xe9"),
    (b"HTTP/2 999 ", 999, ""),
])
def test_status_lines(line, status, reason, size):
    _, found = start(line + b"\r\nContent-Length: 0\r\n\r\n", size)
    assert (found.status, found.reason, found.body) == (status, reason, b"")


@pieces
@pytest.mark.parametrize("lines, headers", [
    (b"", {}),
    (b"X-One: 1\r\nX-TWO:2 \t\r\nx3 : \t3\r\n", {"x-one": "1", "x-two": "2", "x3": "3"}),
    (b"X: caf\xe9: \x1b\r\nY:\r\nZ: a\rb\r\n", {"x": "caf\xe9: \x1b", "y": "", "z": "a\rb"}),
    # A line that is no header costs that line, and those that would go on with it.
    (b"no header\r\nX: 1\r\nA B: 2\r\n: 3\r\n\xff: 4\r\n\0: 5\r\nY: 6\r\n", {"x": "1", "y": "6"}),
    (b"X: 1\r\nno header\r\n and more\r\nY: 2\r\n", {"x": "1", "y": "2"}),
    (b" folded at once\r\nX: 1\r\n", {"x": "1"}),
    # The line ends are kept: a Location that has one is refused.
    (b"X: a\r\n\tb\r\n   c \r\nY: 1\r\n", {"x": "a\nb\nc", "y": "1"}),
    # Of headers with one name the first counts.
    (b"X: 1\r\nx: 2\r\n more\r\nX: 3\r\n", {"x": "1"}),
])
@pytest.mark.parametrize("line_end", [b"\r\n", b"\n"])
def test_headers(lines, headers, line_end, size):
    reply = (OK + lines + b"\r\n").replace(b"\r\n", line_end)
    assert start(reply, size, None)[1].headers == headers


@pieces
@pytest.mark.parametrize("status, limit", [
    (200, None), (404, None), (101, 9), (204, 9), (301, 9), (302, 9), (303, 9), (304, 9), (307, 9),
    (308, 9),
])
@pytest.mark.parametrize("headers", [
    b"", b"Content-Length: 100\r\n", b"Transfer-Encoding: chunked\r\n",
])
def test_bodies_that_are_not_read(status, limit, headers, size):
    reply = b"HTTP/1.1 %d X\r\nLocation: /\r\n%b\r\n" % (status, headers)
    _, found = start(reply, size, limit)
    assert (found.status, found.body, found.headers["location"]) == (status, b"", "/")


@pieces
@pytest.mark.parametrize("framing", ["length", "chunks", "end"])
@pytest.mark.parametrize("encoding, sent, body", [
    (b"gzip", ZIPPED, BODY),
    (b"X-GZIP", ZIPPED + b"padding", BODY),
    (None, ZIPPED, BODY),
    (b"deflate", ZIPPED, BODY),
    (b"deflate", WRAPPED, BODY),
    (b"Deflate ", WRAPPED + b"\r\n", BODY),
    (b"deflate", RAW, BODY),
    (b"gzip", BODY, BODY),
    (b"deflate", BODY, BODY),
    (b"identity", BODY, BODY),
    (b"gzip", b"", b""),
    (b"deflate", b"", b""),
    (b"gzip", compress(b"", GZIP), b""),
    (b"gzip", b"<html>", b"<html>"),
    (b"br", b"\x0b\x1b\x80", b"\x0b\x1b\x80"),
    (b"\r\n deflate", WRAPPED, BODY),
])
def test_codings(encoding, sent, body, framing, size):
    reply = OK + (b"" if encoding is None else b"Content-Encoding: %b\r\n" % encoding)
    if framing == "length":
        reply += b"Content-Length: %d\r\n\r\n" % len(sent) + sent
    elif framing == "chunks":
        reply += b"Transfer-Encoding: chunked\r\n\r\n"
        reply += b"".join(chunk(sent[at : at + 10]) for at in range(0, len(sent), 10)) + LAST
    else:
        reply += b"\r\n" + sent
    parser, found = start(reply, size)
    if framing == "end":
        assert found is None
        found = parser.feed(b"")
    assert found.body == body


# Replies that are broken


@pieces
@pytest.mark.parametrize("reply, told", [
    (b"220 mail.example ESMTP\r\n", "no HTTP reply: 220 mail.example ESMTP"),
    (b"\r\n", "no HTTP reply"),
    (b"<html>\x1b[31m</html>\n", "<html>\\x1b[31m</html>"),
    (bytes(range(128, 256)) * 2, "no HTTP reply: \\x80"),
    (BODY + b"\r\n", "no HTTP reply: d8:complete"),
    (b"HTTP/1.1\r\n\r\n", "HTTP/1.1"),
    (b"HTTP/1.1 2x0 OK\r\n\r\n", "2x0"),
    (b"HTTP/1.1 099 OK\r\n\r\n", "099"),
    (b"HTTP/1.1 2000 OK\r\n\r\n", "2000"),
    (b"ICY 200 OK\r\n\r\n", "ICY"),
    (b"HTTP/1.1 100 Continue\r\n\r\n" + LENGTH + b"\r\n", "no HTTP reply: Content-Length"),
    (CHUNKED + b"-1\r\n" + BODY, "size"),
    (CHUNKED + b"+38\r\n" + BODY, "size"),
    (CHUNKED + b"0x38\r\n" + BODY, "size"),
    (CHUNKED + b"3_8\r\n" + BODY, "size"),
    (CHUNKED + b"\r\n" + BODY, "size"),
    (CHUNKED + b"10000000000000038\r\n" + BODY, "size"),
    (CHUNKED + b"d8\x0a" * 100, "longer than its size"),
    (CHUNKED + b"37\r\n" + BODY + b"\r\n0\r\n\r\n", "longer than its size: 'd8:complete"),
    (CHUNKED + chunk(BODY) + b"no size\r\n", "size, or none: 'd8:complete"),
    (OK + b"Content-Length: 2\r\n\r\n\x1f\x8b", "compressed body is cut off"),
    (OK + b"Content-Length: 20\r\n\r\n" + ZIPPED[:20], "compressed body is cut off"),
    (OK + b"Content-Length: 20\r\n\r\n" + ZIPPED[:10] + b"\xff" * 10, "compressed body is broken"),
    (OK + b"Content-Encoding: deflate\r\nContent-Length: 20\r\n\r\n" + WRAPPED[:20], "cut off"),
    (OK + b"Content-Encoding: deflate\r\nContent-Length: 6\r\n\r\n<html>", "broken: '<html>'"),
    (CHUNKED + b"<html>502\r\n", "<html>502"),
])
def test_broken_replies_are_told_at_once(reply, told, size):
    failure = failure_of(start, reply, size)
    assert failure.kind == "invalid_response"
    assert told in str(failure)


@pieces
@pytest.mark.parametrize("reply, told", [
    (b"", "closed without a reply"),
    (b"HTTP/1.1 103 Early Hints\r\n\r\n", "closed without a reply"),
    (b"HTTP/1.1 200", "no HTTP reply: HTTP/1.1 200"),
    (b"220 mail", "no HTTP reply: 220 mail"),
    (CHUNKED, "before its last chunk"),
    (CHUNKED + b"38", "before its last chunk"),
    (CHUNKED + b"40\r\n" + BODY, "within a chunk: 'd8:complete"),
    (CHUNKED + b"ffffffffffffffff\r\n" + BODY, "within a chunk: 'd8:complete"),
    (CHUNKED + chunk(BODY)[:-2], "before its last chunk: 'd8:complete"),
    (CHUNKED + chunk(BODY)[:-1], "before its last chunk: 'd8:complete"),
    (CHUNKED + chunk(BODY), "before its last chunk: 'd8:complete"),
    (CHUNKED + chunk(BODY) + b"0", "before its last chunk: 'd8:complete"),
    (OK + LENGTH + b"\r\n", "56 bytes shorter than announced: an empty body"),
    (OK + LENGTH + b"\r\n" + BODY[:-1], "1 bytes shorter than announced: 'd8:complete"),
    (CHUNKED + b"<html>502", "<html>502"),
])
def test_replies_that_end_too_soon(reply, told, size):
    parser, found = start(reply, size)
    assert found is None
    failure = failure_of(parser.feed, b"")
    assert failure.kind == "invalid_response"
    assert told in str(failure)


@pytest.mark.parametrize("reply", [
    OK + LENGTH + b"\r\n" + BODY,
    OK + b"X: 1\r\n\r\n" + BODY,
    CHUNKED + chunk(BODY[:20]) + chunk(BODY[20:]) + b"0\r\n",
    CHUNKED + BODY,
    b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: %d\r\n\r\n" % len(ZIPPED) + ZIPPED,
])
def test_no_end_of_the_connection_makes_an_answer_of_a_part(reply):
    assert read_reply(feed(reply))[b"complete"] == 3
    for end in range(len(reply)):
        failure = failure_of(lambda: read_reply(feed(reply[:end])))
        assert failure.kind == "invalid_response"


@pieces
@pytest.mark.parametrize("headers, body, told", [
    (b"Content-Length: 490\r\n", b"hello", "485"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\nx\r\n", "size"),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n6\r\n", "within a chunk"),
])
@pytest.mark.parametrize("status, kind", [(200, "invalid_response"), (404, "http_status")])
def test_a_body_that_is_cut_off_is_described(headers, body, told, status, kind, size):
    reply = b"HTTP/1.1 %d Fine\r\nContent-Type: text/x\x1b\r\n%b\r\n%b" % (status, headers, body)
    failure = failure_of(feed, reply, size)
    assert failure.kind == kind
    text = "HTTP {} Fine, text/x\\x1b, ".format(status)
    assert str(failure).startswith(text) and told in str(failure) and "hello" in str(failure)


# Limits


@pieces
@pytest.mark.parametrize("reply", [
    OK + LENGTH + b"\r\n" + BODY,
    OK + b"\r\n" + BODY,
    CHUNKED + chunk(BODY) + LAST,
    CHUNKED + chunk(BODY[:40]) + chunk(BODY[40:]) + LAST,
    CHUNKED + BODY,
])
def test_the_limit_of_the_body(reply, size):
    assert feed(reply, size, len(BODY)).body == BODY
    assert failure_of(feed, reply, size, len(BODY) - 1).kind == "too_large"


@pieces
@pytest.mark.parametrize("window", [GZIP, ZLIB, NOTHING])
def test_the_limit_of_what_is_compressed(window, size):
    head = OK + b"Content-Encoding: deflate\r\n\r\n"
    bomb = head + compress(bytes(100000), window)
    assert feed(bomb, size, 100000).body == bytes(100000)
    assert failure_of(feed, bomb, size, 99999).kind == "too_large"
    # As it is sent it counts too.
    sent = compress(b"!", window)
    assert feed(head + sent, size, len(sent)).body == b"!"
    assert failure_of(feed, head + sent, size, len(sent) - 1).kind == "too_large"


@pieces
@pytest.mark.parametrize("length", ["1001", "9" * 25, "1" + "0" * 25])
def test_a_length_that_is_too_large(length, size):
    reply = OK + b"Content-Length: %b\r\n\r\n" % length.encode()
    failure = failure_of(start, reply, size, 1000)
    assert failure.kind == "too_large" and length in str(failure)


@pytest.mark.parametrize("size", [None, 7])
def test_the_limit_of_the_headers(size):
    head = OK + b"X: " + b"x" * (HEADERS_LIMIT - len(OK) - 7)
    assert len(head + b"\r\n\r\n") == HEADERS_LIMIT
    assert feed(head + b"\r\n\r\n" + BODY, size).body == BODY
    assert failure_of(feed, head + b"x\r\n\r\n" + BODY, size).kind == "too_large"


@pytest.mark.parametrize("beginning, more", [
    (b"HTTP/1.1 200 ", b"OK" * 100),
    (OK + b"X: ", b"x" * 100),
    (OK, b"X: x\r\n"),
    (OK, b"no header\r\n"),
    (OK + b"X:", b"\r\n x"),
    (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    (CHUNKED, b"0" * 100),
    (CHUNKED + b"38;", b"x" * 100),
    (CHUNKED, b"1\r\nd\r\n"),
])
def test_floods_are_soon_too_large(beginning, more):
    parser = ReplyParser(128 * 1024 * 1024)
    parser.feed(beginning + more)
    fed = []

    def go_on():
        while True:
            fed.append(len(more))
            parser.feed(more)

    assert failure_of(go_on).kind == "too_large"
    assert sum(fed) < 4 * HEADERS_LIMIT


def test_many_small_chunks_are_no_flood():
    body = b"d1:x1000000:" + bytes(1000000) + b"e"
    reply = CHUNKED + b"".join(chunk(body[at : at + 8]) for at in range(0, len(body), 8)) + LAST
    assert feed(reply).body == body


# What a reply says


def reply_of(body, status=200, **headers):
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpResponse(status, "Reason", headers, body, "127.0.0.1:80")


@pytest.mark.parametrize("ending", [b"", b"\r\n", b" \t\n\n"])
def test_read_reply(ending):
    assert read_reply(reply_of(b"d8:intervali9ee" + ending)) == {b"interval": 9}


@pytest.mark.parametrize("body, status, kind", [
    (b"<html>\x1b[31m</html>", 200, "invalid_response"),
    (b"<html></html>", 404, "http_status"),
    (b"", 200, "invalid_response"),
    (b"d8:interval", 200, "invalid_response"),
    (b"de\0", 200, "invalid_response"),
    (b"dede", 200, "invalid_response"),
    (bytes(range(256)) * 1000, 503, "http_status"),
])
def test_read_reply_of_what_is_no_bencode(body, status, kind):
    reply = reply_of(body, status, content_type="text/html\x1b" + "x" * 10000)
    failure = failure_of(read_reply, reply)
    assert failure.kind == kind
    assert str(failure).startswith("HTTP {} Reason, text/html\\x1bxxx".format(status))


def test_what_is_no_bencode_is_shown_with_its_encoding():
    reply = reply_of(b"\x0b\x1b\x80", content_type="text/x", content_encoding="br\x1b")
    assert "br\\x1b" in str(failure_of(read_reply, reply))


@pytest.mark.parametrize("value, status, event, kind, expected", [
    ({b"interval": 1}, 200, "started", None, None),
    ({b"peers": b""}, 200, "started", None, None),
    ({b"peers6": []}, 200, None, None, None),
    ({}, 200, "stopped", None, None),
    ({}, 200, "started", "invalid_response", "interval"),
    ([], 200, "stopped", "invalid_response", "dictionary"),
    (1, 200, "none", "invalid_response", "dictionary"),
    ({b"interval": 1}, 400, "started", "http_status", "400"),
    ({b"interval": 1}, 500, "stopped", "http_status", "500"),
    ({b"failure reason": b"no"}, 200, "started", "failure_reason", "no"),
    ({b"failure reason": "nön".encode()}, 404, "stopped", "failure_reason", "nön"),
    ({b"failure reason": b"refus\xe9"}, 200, "started", "failure_reason", "refusé"),
    ({b"failure reason": 13, b"interval": 1}, 200, "started", "failure_reason", "13"),
])
def test_require_announce(value, status, event, kind, expected):
    if not kind:
        require_announce(value, status, event)
        return
    failure = failure_of(require_announce, value, status, event)
    assert failure.kind == kind and expected in str(failure)


@pytest.mark.parametrize("value, status, kind", [
    ({b"files": {}}, 200, None),
    ({b"files": []}, 200, "invalid_response"),
    ({b"interval": 1}, 200, "invalid_response"),
    ([], 200, "invalid_response"),
    ({b"files": {}}, 404, "http_status"),
    ({b"files": {}, b"failure reason": b"no"}, 200, "failure_reason"),
])
def test_require_scrape(value, status, kind):
    if kind:
        assert failure_of(require_scrape, value, status).kind == kind
    else:
        require_scrape(value, status)
