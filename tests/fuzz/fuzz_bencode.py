# SPDX-License-Identifier: LGPL-3.0-only
"""Bytes against bencode.py. A case is the bytes.

A second decoder, short and slow, says what is bencode; the two have to agree on every case.
"""
import hashlib
import json
import re

import bencode
from mutate import BYTES, below, mutate, pick, random_bytes

HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
REPLIES = [
    b"d8:completei1e10:incompletei0e8:intervali120e12:min intervali120e5:peers0:e",
    b"d8:completei1e10:incompletei2e8:intervali1800e5:peers12:\xc6\x33\x64\x07\x1a\xe1"
    b"\xc6\x33\x64\x08\x1a\xe26:peers60:e\r\n",
    b"d8:intervali120e5:peersld2:ip12:198.51.100.77:peer id20:-TR4000-abcdefghijkl4:porti6881eeee",
    b"d14:failure reason22:torrent not registered8:retry ini5ee",
    b"d14:failure reason22:torrent not registered8:retry in5:nevere",
    b"d5:filesd20:" + HASH + b"d8:completei1e10:downloadedi1e10:incompletei0eeee",
    b"d5:filesd26:" + HASH.decode("latin-1").encode() + b"d8:completei1e10:downloadedi1e"
    b"10:incompletei0eee5:flagsd20:min_request_intervali900eee",
    b"d8:announce35:udp://tracker.example.org:6969/path13:announce-listll6:udp://el3:abcee"
    b"4:infod6:lengthi9e4:name1:a12:piece lengthi16384e6:pieces20:" + HASH + b"ee",
    b"d4:infod9:file treed1:ad0:d6:lengthi9eeee12:meta versioni2e12:piece lengthi16384eee",
]
TOKENS = [
    b"i0e", b"i-0e", b"i007e", b"i-5e", b"ie", b"i-e", b"i1", b"i" + b"9" * 64 + b"e",
    b"i" + b"9" * 65 + b"e", b"i-" + b"1" * 64 + b"e", b"0:", b"1:a", b"01:a", b"-1:a",
    b"99999999999:", b"9" * 30 + b":", b"1:", b":", b"de", b"le", b"d", b"l", b"e", b"e" * 9,
    b"l" * 255, b"l" * 257 + b"e" * 257, b"d1:a" * 256 + b"i1e" + b"e" * 256, b"1:ai1e1:ai2e",
    b"1:bi1e1:ai2e", b"i1_0e", b"i 1e", b"i+1e", "i\u0661e".encode(), b"1 :a", b"5:peers",
]
PIECES = BYTES + TOKENS * 8
BEFORE = [b"", b" ", b"\r\n", b"\xef\xbb\xbf", b"\n\xef\xbb\xbf\t", b"\0"]
AFTER = [b"", b"\n", b"\r\n", b"\0", b" \0\0\n", b"\xef\xbb\xbf"]

LENGTH = re.compile(rb"(0|[1-9][0-9]*):")
INTEGER = re.compile(rb"i(0|-?[1-9][0-9]{0,63})e")


class NotBencode(Exception):
    pass


class Value:
    """What the second decoder finds: a value, where it ends, and whether all keys are in order."""

    def __init__(self, value, end, in_order=True):
        self.value = value
        self.end = end
        self.in_order = in_order


def reference(data):
    """Returns the Value of data; raises NotBencode."""
    found = reference_value(data, 0, 0)
    if found.end != len(data):
        raise NotBencode
    return found


def reference_of_file(data):
    """Returns the value of data without what may stand around it; raises NotBencode."""
    inside = re.sub(rb"\A(?:[ \t\n\v\f\r]|\xef|\xbb|\xbf)+", b"", data)
    found = reference_value(inside, 0, 0)
    if re.search(rb"[^ \t\n\v\f\r\0]", inside[found.end :]):
        raise NotBencode
    return found.value


def reference_value(data, start, levels):
    """Returns the Value that begins at start."""
    mark = data[start : start + 1]
    if mark == b"i":
        found = INTEGER.match(data, start)
        if not found:
            raise NotBencode
        return Value(int(found.group(1)), found.end())
    if mark not in (b"l", b"d"):
        return reference_string(data, start)
    if levels == 256:
        raise NotBencode
    values, keys, position = [], [], start + 1
    while data[position : position + 1] != b"e":
        if mark == b"d":
            key = reference_string(data, position)
            keys.append(key.value)
            position = key.end
        values.append(reference_value(data, position, levels + 1))
        position = values[-1].end
    in_order = keys == sorted(set(keys)) and all(item.in_order for item in values)
    values = [item.value for item in values]
    return Value(dict(zip(keys, values)) if mark == b"d" else values, position + 1, in_order)


def reference_string(data, start):
    found = LENGTH.match(data, start)
    # A length of more digits than the data has bytes is beyond its end in any case.
    if not found or len(found.group(1)) > 20 or found.end() + int(found.group(1)) > len(data):
        raise NotBencode
    end = found.end() + int(found.group(1))
    return Value(data[found.end() : end], end)


def reference_info_hash(data):
    """Returns the info hash of data, which is good bencode; None where there is none."""
    info = raw = None
    position = 1
    while data[:1] == b"d" and data[position : position + 1] != b"e":
        key = reference_string(data, position)
        item = reference_value(data, key.end, 1)
        if key.value == b"info":
            info, raw = item.value, data[key.end : item.end]
        position = item.end
    if not isinstance(info, dict):
        return None
    is_v2 = info.get(b"meta version") == 2 and b"pieces" not in info
    return (hashlib.sha256 if is_v2 else hashlib.sha1)(raw).digest()[:20]


def random_value(rng, levels=0):
    """Returns a value that encode() takes."""
    kind = below(rng, 2 if levels > 4 else 4)
    if kind == 0:
        return pick(rng, (0, 1, -1, 1800, 2 ** 31, -2 ** 63, 10 ** 63, rng.getrandbits(40)))
    if kind == 1:
        return pick(rng, (b"", b"peers", HASH, random_bytes(rng, below(rng, 30))))
    items = [random_value(rng, levels + 1) for _ in range(below(rng, 4))]
    if kind == 2:
        return items
    return {random_bytes(rng, below(rng, 4)): item for item in items}


def sloppy(rng, value):
    """Returns value as bencode whose keys are in any order, and some twice."""
    if isinstance(value, dict):
        pairs = [bencode.encode(key) + sloppy(rng, item) for key, item in value.items()]
        pairs += [pair for pair in pairs if not below(rng, 5)]
        return b"d" + b"".join(pairs) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(sloppy(rng, item) for item in value) + b"e"
    return bencode.encode(value)


def generate(rng):
    kind = below(rng, 10)
    if kind == 0:
        return random_bytes(rng, below(rng, 40))
    if kind == 1:
        return b"".join(pick(rng, TOKENS) for _ in range(1 + below(rng, 8)))
    if kind < 5:
        encode = bencode.encode if kind == 2 else lambda value: sloppy(rng, value)
        value = {random_bytes(rng, below(rng, 3)): random_value(rng) for _ in range(4)}
        if not below(rng, 3):
            value[b"info"] = {pick(rng, (b"pieces", b"a")): b"", b"meta version": 1 + below(rng, 2)}
        return encode(value)
    if kind == 5:
        return pick(rng, BEFORE) + pick(rng, REPLIES) + pick(rng, AFTER)
    if kind == 6:
        return mutate(rng, sloppy(rng, [random_value(rng) for _ in range(4)]), PIECES)
    return mutate(rng, pick(rng, REPLIES), PIECES)


def done(function, data):
    """Returns (what the function makes of data, None), or (None, its error after a look at it)."""
    try:
        return function(data), None
    except bencode.BencodeError as error:
        assert 0 <= error.offset <= len(data), "the offset is not in the data"
        assert str(error).isprintable() and max(str(error)) < "\x7f"
        assert len(str(error)) < 400
        return None, error


def check(data):
    value, error = done(bencode.decode, data)
    file_value, file_error = done(bencode.decode_file, data)
    info_hash, no_info_hash = done(bencode.info_hash, data)
    try:
        expected = reference(data)
    except NotBencode:
        assert error, "this is not bencode, but was decoded"
        try:
            inside = reference_of_file(data)
        except NotBencode:
            assert file_error and no_info_hash, "this is not bencode, but was decoded"
            return "refused"
        assert file_value == inside, "another value"
        return "decoded as a file"
    assert not error, "this is bencode: {}".format(error)
    assert expected.value == value == file_value, "another value"
    assert reference_info_hash(data) == info_hash, "another info hash"
    encoded = bencode.encode(value)
    assert bencode.decode(encoded) == value
    assert bencode.decode(bytearray(data)) == bencode.decode(memoryview(data)) == value
    json.dumps(bencode.to_json(value))
    assert (encoded == data) == expected.in_order, "encode() puts keys in order, and no more"
    if info_hash:
        return "decoded, and has an info hash"
    return "decoded" if expected.in_order else "decoded, with keys in another order"
