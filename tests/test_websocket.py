# SPDX-License-Identifier: LGPL-3.0-only
"""WebSocket as values: frames in, messages out; and which message is the answer to what was asked."""

import json
import random

import pytest
from http_tracker_client import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Failure,
    FrameParser,
    encode_frame,
    is_answer,
    read_message,
    show_close,
    websocket_announce,
    websocket_scrape,
)
from loopback_faults import ws_frame

HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
FINAL, CONTINUATION, BINARY = 0x80, 0, 2


def frame(opcode, payload=b"", final=True, **further):
    """A frame as servers send it."""
    return ws_frame(payload, opcode, final, **further)


def parse(data, pieces=None, limit=1000):
    """What a parser makes of bytes that come in pieces: the messages, and the kind of a Failure."""
    parser = FrameParser(limit)
    found = []
    try:
        for piece in pieces or [data]:
            parser.feed(piece)
            while True:
                message = parser.take()
                if message is None:
                    break
                found.append(message)
    except Failure as failure:
        found.append(failure.kind)
    return found


STREAMS = [
    ("text", frame(TEXT, b"{}"), [(TEXT, b"{}")]),
    ("binary", frame(BINARY, b"{}"), [(TEXT, b"{}")]),
    ("empty", frame(TEXT), [(TEXT, b"")]),
    ("125", frame(TEXT, b"x" * 125), [(TEXT, b"x" * 125)]),
    ("126", frame(TEXT, b"x" * 126), [(TEXT, b"x" * 126)]),
    ("as large as allowed", frame(TEXT, b"x" * 1000), [(TEXT, b"x" * 1000)]),
    ("larger", frame(TEXT, b"x" * 1001), ["too_large"]),
    ("announced as 2 GiB", frame(TEXT, length=1 << 31), ["too_large"]),
    ("with the highest bit", frame(TEXT, length=1 << 63), ["too_large"]),
    (
        "fragments",
        frame(TEXT, b"a", final=False) + frame(CONTINUATION, b"b", final=False) + frame(CONTINUATION, b"c"),
        [(TEXT, b"abc")],
    ),
    (
        "a ping between fragments",
        frame(TEXT, b"a", final=False) + frame(PING, b"p") + frame(CONTINUATION, b"b"),
        [(PING, b"p"), (TEXT, b"ab")],
    ),
    (
        "fragments that are too large together",
        frame(TEXT, b"x" * 600, final=False) + frame(CONTINUATION, b"x" * 600),
        ["too_large"],
    ),
    ("empty fragments", frame(TEXT, b"", final=False) + frame(CONTINUATION), [(TEXT, b"")]),
    ("two messages", frame(TEXT, b"1") + frame(TEXT, b"2"), [(TEXT, b"1"), (TEXT, b"2")]),
    ("ping", frame(PING, b"x" * 125), [(PING, b"x" * 125)]),
    ("pong", frame(PONG), [(PONG, b"")]),
    ("close", frame(CLOSE, b"\x03\xe8bye"), [(CLOSE, b"\x03\xe8bye")]),
    ("masked", frame(TEXT, b"{}", mask=b"mask"), ["invalid_response"]),
    ("reserved bit", frame(TEXT, b"{}", reserved=4), ["invalid_response"]),
    ("unknown opcode", frame(3), ["invalid_response"]),
    ("unknown control opcode", frame(11), ["invalid_response"]),
    ("ping of 126", frame(PING, b"x" * 126), ["invalid_response"]),
    ("fragmented ping", frame(PING, b"", final=False), ["invalid_response"]),
    ("stray continuation", frame(CONTINUATION), ["invalid_response"]),
    ("text within fragments", frame(TEXT, b"a", final=False) + frame(TEXT, b"b"), ["invalid_response"]),
    ("an answer before a break", frame(TEXT, b"{}") + frame(3), [(TEXT, b"{}"), "invalid_response"]),
    ("half a frame", frame(TEXT, b"abc")[:-1], []),
    ("half a head", frame(TEXT, b"x" * 126)[:3], []),
]


@pytest.mark.parametrize("data, found", [row[1:] for row in STREAMS], ids=[row[0] for row in STREAMS])
def test_frames_whole_and_in_pieces(data, found):
    assert parse(data) == found
    assert parse(data, [data[at : at + 1] for at in range(len(data))]) == found
    draw = random.Random(1)
    for _ in range(20):
        cuts = sorted(draw.randrange(len(data) + 1) for _ in range(3))
        pieces = [data[i:j] for i, j in zip([0] + cuts, cuts + [len(data)])]
        assert parse(data, pieces) == found


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5, 125, 126, 65535, 65536])
def test_what_a_client_sends_is_masked(size):
    payload = bytes(number % 251 for number in range(size))
    sent = encode_frame(TEXT, payload)
    assert sent[0] == FINAL | TEXT
    assert sent[1] & 0x80
    start = {126: 4, 127: 10}.get(sent[1] & 0x7F, 2)
    announced = int.from_bytes(sent[2:start], "big") if start > 2 else sent[1] & 0x7F
    assert announced == size
    mask, masked = sent[start : start + 4], sent[start + 4 :]
    assert bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked)) == payload
    # A mask of its own for each frame (RFC 6455, 5.3).
    assert size == 0 or len({encode_frame(TEXT, payload) for _ in range(4)}) == 4


def test_a_close_says_its_code_and_reason():
    assert show_close(b"\x03\xf0not \x1b[31mhere").endswith(": 1008 not \\x1b[31mhere")
    assert show_close(b"").endswith(": no code")
    assert show_close(b"\x03").endswith(": no code")


# Messages.


def message(**fields):
    return read_message(json.dumps(fields).encode())


def test_binary_strings_are_the_latin_1_reading_of_their_bytes():
    found = message(files={HASH.decode("latin-1"): {"complete": 1}}, note="\u043f")
    assert found == {b"files": {HASH: {b"complete": 1}}, b"note": "\u043f".encode("utf-8")}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"null",
        b"1",
        b'"text"',
        b"{",
        b'{"a":1}x',
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":' + b"9" * 10000 + b"}",
        b"[" * 100000,
        b'{"a":' * 100000,
        b'{"a":' + b"[" * 256 + b"]" * 256 + b"}",
    ],
    ids=lambda data: repr(data[:20]),
)
def test_what_is_no_json_object_is_said_to_be_none(data):
    with pytest.raises(Failure) as caught:
        read_message(data)
    assert caught.value.kind == "invalid_response"
    assert len(str(caught.value)) < 400


def test_odd_json_is_taken_as_it_is():
    assert read_message(b'{"a":"\\ud800","b":null,"c":1.5,"d":true,"e":[{}],"":-0}') == {
        b"a": b"\xed\xa0\x80",
        b"b": None,
        b"c": 1.5,
        b"d": True,
        b"e": [{}],
        b"": 0,
    }


ANNOUNCE = websocket_announce(
    HASH, b"-qB00000000000000001", "started", uploaded=0, downloaded=0, left=1
)
SCRAPE = websocket_scrape([HASH])


def test_the_questions_are_those_of_webtorrent():
    assert ANNOUNCE == {
        "action": "announce",
        "info_hash": HASH.decode("latin-1"),
        "peer_id": "-qB00000000000000001",
        "uploaded": 0,
        "downloaded": 0,
        "left": 1,
        "event": "started",
        "numwant": 0,
        "offers": [],
    }
    numbers = dict(uploaded=0, downloaded=0, left=0)
    assert "event" not in websocket_announce(HASH, b"x" * 20, "none", **numbers)
    assert SCRAPE == {"action": "scrape", "info_hash": [HASH.decode("latin-1")]}
    # An empty list some servers never answer.
    assert websocket_scrape([]) == {"action": "scrape"}


OWN, OTHER = HASH.decode("latin-1"), "x" * 20


@pytest.mark.parametrize(
    "question, fields, answers",
    [
        (ANNOUNCE, dict(action="announce", info_hash=OWN, interval=120), True),
        (ANNOUNCE, dict(action="announce", info_hash=OTHER, interval=120), False),
        (ANNOUNCE, dict(action="announce", interval=120), False),
        (ANNOUNCE, dict(action="announce", info_hash=OWN, offer={}, offer_id="1"), False),
        (ANNOUNCE, dict(action="announce", info_hash=OWN, answer={}), False),
        (ANNOUNCE, dict(action="scrape", files={}), False),
        (ANNOUNCE, {"failure reason": "no"}, True),
        (ANNOUNCE, {"failure reason": "no", "action": "announce"}, True),
        (ANNOUNCE, {"failure reason": "no", "action": "announce", "info_hash": OWN}, True),
        (ANNOUNCE, {"failure reason": "no", "action": "announce", "info_hash": OTHER}, False),
        (ANNOUNCE, {"failure reason": "no", "action": "scrape"}, False),
        (ANNOUNCE, {}, False),
        (SCRAPE, dict(action="scrape", files={}), True),
        (SCRAPE, dict(action="scrape"), True),
        (SCRAPE, dict(action="announce", info_hash=OWN, interval=120), False),
        (SCRAPE, dict(files={}), False),
        (SCRAPE, {"failure reason": "no"}, True),
        (SCRAPE, dict(action=1), False),
        (SCRAPE, dict(action=["scrape"]), False),
    ],
)
def test_which_message_is_an_answer(question, fields, answers):
    assert is_answer(message(**fields), question) is answers
