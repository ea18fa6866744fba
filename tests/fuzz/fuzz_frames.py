# SPDX-License-Identifier: LGPL-3.0-only
"""What comes over a WebSocket connection against what http_tracker_client.py makes of it.

A case is one of

    ("frames", limit of a message, bytes, sizes of pieces, the messages if nothing was changed)
    ("talk", "announce" or "scrape", bytes, sizes of pieces)
    ("message", bytes)
    ("sent", opcode, payload)

However bytes come, whole, one by one or in these pieces, the same messages have to come of them,
and the same Failure; a talk asks its question, and has the bytes for an answer.
"""
import json
import struct

import http_tracker_client as http
from fuzz_replies import in_pieces
from mutate import BYTES, TEXTS, below, hostile_text, mutate, pick, random_bytes

HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
TEXT_HASH = HASH.decode("latin-1")
OPCODES = (http.CONTINUATION, http.TEXT, http.BINARY, http.CLOSE, http.PING, http.PONG)
LIMITS = (0, 10, 125, 126, 200, 1000, 5000, 70000)
SIZES = (0, 0, 1, 2, 5, 20, 100, 124, 125, 126, 127, 130, 500, 3000)
HEAD = 10  # bytes that come before a payload at most
CONTROL = 125  # bytes of a control frame's payload at most
FINAL, MASKED = 0x80, 0x80
PIECES = BYTES + [
    bytes(4), b"\xff" * 4, b"\x7f\xff\xff\xff", b"\x81\x7e", b"\x81\x7f", b"\x80\x00", b"\x00\x00",
    b"\x89\x00", b"\x88\x02\x03\xe8", b"\x81\x02{}", b"\xc1\x02{}", b"\x81\x82mask",
    b"\x7f" + bytes(7) + b"\x01", b"\x7f\x80" + bytes(7),
] * 20

NUMWANT = dict(uploaded=0, downloaded=0, left=1)
QUESTIONS = {
    "announce": http.websocket_announce(HASH, b"-qB00000000000000001", "started", **NUMWANT),
    "scrape": http.websocket_scrape([HASH]),
}
COUNTS = {"complete": 3, "incomplete": 1, "downloaded": 7}
MESSAGES = [
    {"action": "announce", "info_hash": TEXT_HASH, "complete": 0, "incomplete": 1, "interval": 120},
    {"action": "announce", "info_hash": "x" * 20, "interval": 120},
    {"action": "announce", "info_hash": TEXT_HASH, "interval": 60, "warning message": "soon"},
    {"action": "scrape", "files": {TEXT_HASH: COUNTS}, "flags": {"min_request_interval": 600}},
    {"action": "scrape", "files": {}},
    {"action": "scrape", "files": {HASH.hex(): COUNTS, "\u043f" * 20: COUNTS}},
    {"action": "announce", "info_hash": TEXT_HASH, "offer": {"type": "offer", "sdp": "v=0\r\n"},
     "offer_id": "1" * 20, "peer_id": "2" * 20},
    {"action": "announce", "info_hash": TEXT_HASH, "answer": {"type": "answer", "sdp": ""}},
    {"action": "announce", "failure reason": "disallowed torrent", "info_hash": TEXT_HASH},
    {"failure reason": "Invalid request"},
    {"failure reason": "no scrapes", "action": "scrape"},
    {},
    [],
    None,
    1,
    "text",
]
VALUES = [
    None, True, False, 0, -1, 1.5, 1e300, -0.0, 2 ** 31, 2 ** 64, 10 ** 70, "", "1", "\u00ff" * 20,
    "\ud800", [], {}, [[]], {"": None}, [None], {"complete": True}, {"files": {}}, COUNTS,
]
KEYS = (
    "action info_hash complete incomplete downloaded interval files peers peers6 offer answer"
).split() + ["failure reason", "warning message", "external ip", "", "\u00ff" * 20, "\ud800"]
JSON_PIECES = TEXTS + list('{}[]",:') * 8 + ["null", "true", "NaN", "-", "1e999", "\\u0000"] * 3
JSON_PIECES += ["\\ud800", "\\", '"action":"scrape"', '"files":', "9" * 70, "[" * 3000, "1E5"]


def frame(opcode, payload=b"", first=FINAL, second=0):
    """Returns a frame as servers send it; first and second are further bits of its two bytes."""
    size = len(payload)
    if size <= CONTROL:
        length = bytes([second | size])
    elif size < 1 << 16:
        length = struct.pack(">BH", second | 126, size)
    else:
        length = struct.pack(">BQ", second | 127, size)
    return bytes([first | opcode]) + length + payload


# Cases.


def generate(rng):
    kind = below(rng, 10)
    if kind < 4:
        return make_frames(rng)
    if kind < 7:
        return make_talk(rng)
    if kind < 9:
        return "message", make_message(rng)
    return "sent", pick(rng, OPCODES), random_bytes(rng, pick(rng, SIZES))


def make_frames(rng):
    limit = pick(rng, LIMITS)
    data, messages, largest = b"", [], 0
    for _ in range(below(rng, 5)):
        kind = below(rng, 3)
        if kind == 0:
            message = make_control(rng)
            data += frame(*message)
        else:
            payload = random_bytes(rng, pick(rng, SIZES + (limit, limit + 1)))
            message = http.TEXT, payload
            largest = max(largest, len(payload))
            data += frame(pick(rng, (http.TEXT, http.BINARY)), payload) if kind == 1 else (
                in_fragments(rng, payload, messages)
            )
        messages.append(message)
    if any(opcode != http.TEXT for opcode, _ in messages):
        # What comes between the fragments of a message counts with them.
        largest += CONTROL
    if largest > limit or not below(rng, 2):
        messages = None
        if below(rng, 3):
            data = mutate(rng, data, PIECES)
    return "frames", limit, data, sizes_of_pieces(rng), messages


def make_control(rng):
    opcode = pick(rng, (http.PING, http.PONG, http.CLOSE))
    return opcode, random_bytes(rng, pick(rng, (0, 1, 2, 3, 20, CONTROL)))


def in_fragments(rng, payload, messages):
    """Returns frames that are one message, with control frames between, which go to messages."""
    cuts = sorted(below(rng, len(payload) + 1) for _ in range(below(rng, 4)))
    parts = [payload[i:j] for i, j in zip([0] + cuts, cuts + [len(payload)])]
    data = b""
    for number, part in enumerate(parts):
        opcode = http.CONTINUATION if number else pick(rng, (http.TEXT, http.BINARY))
        data += frame(opcode, part, FINAL if number == len(parts) - 1 else 0)
        if number < len(parts) - 1 and not below(rng, 3):
            control = make_control(rng)
            data += frame(*control)
            messages.append(control)
    return data


def sizes_of_pieces(rng):
    return [1 + below(rng, pick(rng, (2, 20, 200, 2000))) for _ in range(8)]


def make_talk(rng):
    data = b""
    for _ in range(below(rng, 5)):
        kind = below(rng, 6)
        if kind == 0:
            data += frame(*make_control(rng))
        elif kind == 1:
            data += in_fragments(rng, make_message(rng), [])
        else:
            data += frame(http.TEXT, make_message(rng))
    if not below(rng, 4):
        data = mutate(rng, data, PIECES)
    return "talk", pick(rng, ("announce", "scrape")), data, sizes_of_pieces(rng)


def make_message(rng):
    message = pick(rng, MESSAGES)
    if isinstance(message, dict):
        message = dict(message)
        for _ in range(below(rng, 3)):
            message[pick(rng, KEYS)] = pick(rng, VALUES) if below(rng, 4) else hostile_text(rng)
        if not below(rng, 3) and isinstance(message.get("files"), dict):
            message["files"] = dict(message["files"])
            message["files"][pick(rng, KEYS)] = pick(rng, VALUES)
    text = json.dumps(message, ensure_ascii=not below(rng, 2))
    if not below(rng, 3):
        text = mutate(rng, text, JSON_PIECES)
    data = text.encode("utf-8", "surrogatepass")
    return mutate(rng, data, BYTES) if not below(rng, 8) else data


# Checks.


def check(case):
    return CHECKS[case[0]](*case[1:])


def check_frames(limit, data, sizes, messages):
    whole = parse(limit, [data])
    assert parse(limit, in_pieces(data, [1])) == whole, "byte by byte something else came of it"
    assert parse(limit, in_pieces(data, sizes)) == whole, "in pieces something else came of it"
    found, failure = whole
    if messages is not None:
        assert (found, failure) == (messages, None), "not the messages that were sent"
    for opcode, payload in found:
        assert opcode in (http.TEXT, http.CLOSE, http.PING, http.PONG)
        assert len(payload) <= (limit if opcode == http.TEXT else CONTROL)
        if opcode == http.CLOSE:
            text = http.show_close(payload)
            assert text.isprintable() and len(text) < 1000
    if failure:
        return failure[0]
    return "messages" if found else "no message"


def parse(limit, pieces):
    """Returns (the messages that come of the pieces, (kind, text) of the Failure or None)."""
    parser = http.FrameParser(limit)
    found = []
    try:
        for piece in pieces:
            parser.feed(piece)
            while True:
                message = parser.take()
                if message is None:
                    break
                found.append(message)
            assert len(parser._message) <= limit, "more than a message may have"
            # Of what has not come whole there is one frame.
            assert len(parser._buffer) < HEAD + max(limit, CONTROL), "more than a frame is kept"
    except http.Failure as failure:
        assert failure.kind in ("invalid_response", "too_large"), failure.kind
        assert str(failure).isprintable()
        return found, (failure.kind, str(failure))
    return found, None


class Stream:
    """A connection whose peer has said all it says; keeps what is sent. Its methods are steps."""

    address = "127.0.0.1:80"

    def __init__(self, pieces):
        self.pieces = iter(pieces)
        self.sent = b""

    def send(self, data):
        self.sent += data
        return
        yield

    def receive(self):
        return next(self.pieces, b"")
        yield


def run_steps(steps):
    """Runs steps that have nothing to wait for; returns what they return."""
    try:
        next(steps)
    except StopIteration as end:
        return end.value
    raise AssertionError("the steps wait for something")


def check_talk(name, data, sizes):
    whole = talk(name, [data] if data else [])
    assert talk(name, in_pieces(data, [1])) == whole, "byte by byte something else came of it"
    assert talk(name, in_pieces(data, sizes)) == whole, "in pieces something else came of it"
    outcome, sent = whole
    (first, *others) = sent
    assert first[0] == http.TEXT and json.loads(first[1].decode("utf-8")) == QUESTIONS[name]
    assert {opcode for opcode, _ in others} <= {http.PONG, http.CLOSE}
    if isinstance(outcome, tuple):
        return outcome[0]
    look_at_answer(name, outcome)
    return "an answer to " + name


def talk(name, pieces):
    """Returns (the answer to a question, or (kind, text) of the Failure; the frames sent)."""
    stream = Stream(pieces)
    websocket = http.WebSocket(stream, b"", 5000, None)
    try:
        outcome = run_steps(websocket.ask(dict(QUESTIONS[name])))
    except http.Failure as failure:
        assert failure.kind in ("invalid_response", "too_large"), failure.kind
        assert str(failure).isprintable()
        outcome = failure.kind, str(failure)
    return outcome, unmask(stream.sent)


def unmask(data):
    """Returns [(opcode, payload)] of what a client sent."""
    found = []
    while data:
        assert data[0] & 0xF0 == FINAL and data[1] & MASKED
        size, start = data[1] & 0x7F, 2
        if size > CONTROL:
            start = {126: 4, 127: 10}[size]
            size = int.from_bytes(data[2:start], "big")
        mask, masked = data[start : start + 4], data[start + 4 : start + 4 + size]
        assert len(mask) == 4 and len(masked) == size
        payload = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
        found.append((data[0] & 0x0F, payload))
        data = data[start + 4 + size :]
    return found


def check_message(data):
    try:
        message = http.read_message(data)
    except http.Failure as failure:
        assert failure.kind == "invalid_response"
        assert str(failure).isprintable() and len(str(failure)) < 500
        return "no JSON object"
    assert isinstance(message, dict) and all(isinstance(key, bytes) for key in message)
    answered = [name for name in QUESTIONS if http.is_answer(message, QUESTIONS[name])]
    for name in answered:
        look_at_answer(name, message)
    return "answers " + " and ".join(answered) if answered else "answers nothing"


def look_at_answer(name, reply):
    """Has an answer shown as the command shows it, and its counts read as the checker does it."""
    shown = http.to_json_text(http.reply_to_json(name, reply), pretty=False)
    assert shown.isprintable() and max(shown) < "\x7f"
    json.loads(shown)
    try:
        if name == "scrape":
            http.require_scrape(reply, 200)
        else:
            http.require_announce(reply, 200)
    except http.Failure as failure:
        assert failure.kind in ("failure_reason", "invalid_response") and str(failure).isprintable()


def check_sent(opcode, payload):
    sent = http.encode_frame(opcode, payload)
    assert unmask(sent) == [(opcode, payload)], "not what was to be sent"
    # The shortest length that there is (RFC 6455, 5.2).
    extra = 0 if len(payload) <= CONTROL else 2 if len(payload) < 1 << 16 else 8
    assert len(sent) == 2 + extra + 4 + len(payload)
    return "sent"


CHECKS = {
    "frames": check_frames,
    "talk": check_talk,
    "message": check_message,
    "sent": check_sent,
}
