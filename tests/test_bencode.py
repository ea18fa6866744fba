# SPDX-License-Identifier: LGPL-3.0-only
"""bencode.py: decode, encode, info_hash, to_json, the limits, and the command."""

import hashlib
import json
import os
import random
import sys
import threading
import time
from collections import OrderedDict
from enum import IntEnum

import bencode
import pytest
from bencode import BencodeError, decode, decode_file, encode, info_hash, raw_value, to_json
from helpers import ROOT, record_of, run_command


DEEPEST = 256  # levels
LONGEST = 10**64 - 1  # an integer of 64 digits

# Each is the only bencode of its value.
PAIRS = [
    (b"i0e", 0),
    (b"i7e", 7),
    (b"i10e", 10),
    (b"i-1e", -1),
    (b"i-10e", -10),
    (b"i1234567890e", 1234567890),
    (b"i%de" % LONGEST, LONGEST),
    (b"i-%de" % LONGEST, -LONGEST),
    (b"0:", b""),
    (b"1:e", b"e"),
    (b"9:123456789", b"123456789"),
    (b"10:0123456789", b"0123456789"),
    (b"99:" + b"x" * 99, b"x" * 99),
    (b"100:" + b"x" * 100, b"x" * 100),
    (b"12345:" + b"\0" * 12345, b"\0" * 12345),
    (b"le", []),
    (b"de", {}),
    (b"llelee", [[], []]),
    (b"ldedee", [{}, {}]),
    (b"li1e1:ae", [1, b"a"]),
    (b"d0:0:e", {b"": b""}),
    (b"d1:ai1e1:bi2ee", {b"a": 1, b"b": 2}),
    (b"d1:ade1:bl1:xe1:c0:e", {b"a": {}, b"b": [b"x"], b"c": b""}),
    (b"d1:ad1:bd1:ci-5eee1:dlli1eeee", {b"a": {b"b": {b"c": -5}}, b"d": [[1]]}),
    (b"ld1:ai1eed1:ai2eei3ee", [{b"a": 1}, {b"a": 2}, 3]),
    (b"d10:0123456789i1e100:%bi2ee" % (b"x" * 100), {b"0123456789": 1, b"x" * 100: 2}),
    # Keys are sorted as bytes, not as text or by length.
    (b"d1:B0:1:a0:2:aa0:1:\xff0:e", {b"B": b"", b"a": b"", b"aa": b"", b"\xff": b""}),
]

SHORT = [data for data, _ in PAIRS if len(data) < 500]

# (data, offset of the error, a word of its message)
MALFORMED = [
    # no value, or no element
    (b"", 0, "ends"),
    (b"x", 0, "'x'"),
    (b"e", 0, "expected a value, found 'e'"),
    (b":", 0, "':'"),
    (b"-1:a", 0, "'-'"),
    (b"+3:abc", 0, "'+'"),
    (b" 3:abc", 0, "' '"),
    (b"\r\ni1e", 0, r"\r"),
    (b"\xd9\xa1:a", 0, r"\xd9"),  # ARABIC-INDIC DIGIT ONE in UTF-8
    (b"\xb2:ab", 0, r"\xb2"),  # SUPERSCRIPT TWO in Latin-1
    (b"li1ex", 4, "'x'"),
    (b"li1e-1:ae", 4, "'-'"),
    (b"null", 0, "'n'"),
    # integers
    (b"i", 0, "integer"),
    (b"i1", 0, "integer"),
    (b"i12", 0, "integer"),
    (b"i-", 0, "integer"),
    (b"i-1", 0, "integer"),
    (b"ie", 0, "malformed integer"),
    (b"lie", 1, "malformed integer"),
    (b"d1:aie", 4, "malformed integer"),
    (b"iee", 0, "malformed integer"),
    (b"i-e", 0, "integer"),
    (b"i--1e", 0, "integer"),
    (b"i-0e", 0, "-0"),
    (b"i00e", 0, "leading zero"),
    (b"i01e", 0, "leading zero"),
    (b"i-01e", 0, "leading zero"),
    (b"i-00e", 0, "leading zero"),
    (b"i+5e", 0, "integer"),
    (b"i 5e", 0, "integer"),
    (b"i5 e", 0, "integer"),
    (b"i5\ne", 0, "integer"),
    (b"i- 5e", 0, "integer"),
    (b"i1_0e", 0, "integer"),
    (b"i-1_0e", 0, "integer"),
    (b"i0x1e", 0, "integer"),
    (b"i1.0e", 0, "integer"),
    (b"i1E5e", 0, "integer"),
    (b"i5\0e", 0, "integer"),
    (b"i\xd9\xa1e", 0, "integer"),
    (b"i\xb2e", 0, "integer"),
    (b"i:e", 0, "integer"),
    (b"i/e", 0, "integer"),
    (b"i5:e", 0, "integer"),
    (b"i1i2ee", 0, "integer"),
    (b"li1ei01ee", 4, "leading zero"),
    (b"d1:ai-0ee", 4, "-0"),
    (b"d1:bi1ee1:", 8, "expected the end"),
    # strings
    (b"1", 0, "string"),
    (b"12", 0, "string"),
    (b"123", 0, "string"),
    (b"1:", 0, "expected 1 bytes, found 0"),
    (b"5:abcd", 0, "expected 5 bytes, found 4"),
    (b"10:abc", 0, "expected 10 bytes, found 3"),
    (b"100:abc", 0, "expected 100 bytes, found 3"),
    (b"00:", 0, "leading zero"),
    (b"03:abc", 0, "leading zero"),
    (b"003:abc", 0, "leading zero"),
    (b"3 :abc", 0, "string"),
    (b"3_0:abc", 0, "string"),
    (b"1_0:" + b"a" * 10, 0, "string"),
    (b"3abc", 0, "string"),
    (b"3;abc", 0, "string"),
    (b"3/:abc", 0, "string"),
    (b"1\xd9\xa1:a", 0, "string"),
    (b"3-:abc", 0, "string"),
    (b"99999999999999999999:a", 0, "expected 99999999999999999999 bytes"),
    (b"l1:a4:abe", 4, "expected 4 bytes, found 3"),
    (b"li1e03:abce", 4, "leading zero"),
    # lists
    (b"l", 1, "e"),
    (b"li1e", 4, "another element or e"),
    (b"l1:a", 4, "another element or e"),
    (b"ll", 2, "another element or e"),
    (b"lle", 3, "another element or e"),
    # dictionaries
    (b"d", 1, "another element or e"),
    (b"d1:a", 4, "another element or e"),
    (b"d1:ai1e", 7, "another element or e"),
    (b"d1:ae", 4, "'e'"),
    (b"d1:ai1e1:be", 10, "'e'"),
    (b"di1e1:ae", 1, "key"),
    (b"dle1:ae", 1, "key"),
    (b"dde1:ae", 1, "key"),
    (b"d-1:ai1ee", 1, "key"),
    (b"d1:ai1ei2ei3ee", 7, "key"),
    (b"d03:abci1ee", 1, "leading zero"),
    (b"d3:abi1ee", 6, "string"),
    (b"d9:abi1ee", 1, "expected 9 bytes, found 6"),
    (b"d99:abi1ee", 1, "expected 99 bytes, found 6"),
    (b"d1:a9:abe", 4, "expected 9 bytes, found 3"),
    (b"d1", 1, "string"),
    (b"d1:a3", 4, "string"),
    (b"d1:ai", 4, "integer"),
    # after the value
    (b"i1ee", 3, "expected the end"),
    (b"i1ei2e", 3, "expected the end"),
    (b"i10e ", 4, "expected the end"),
    (b"i-1e\n", 4, "expected the end"),
    (b"0:x", 2, "expected the end"),
    (b"3:abcd", 5, "expected the end"),
    (b"lee", 2, "expected the end"),
    (b"le0:", 2, "expected the end"),
    (b"dei1e", 2, "expected the end"),
    (b"de\r\n", 2, "expected the end"),
]


def error_of(function, *arguments):
    with pytest.raises(BencodeError) as caught:
        function(*arguments)
    return caught.value


def nested(levels, opening=b"l", closing=b"e", inside=b""):
    return opening * levels + inside + closing * levels


# decode


@pytest.mark.parametrize("data, value", PAIRS, ids=[repr(data[:30]) for data, _ in PAIRS])
def test_decode(data, value):
    found = decode(data)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_decode_takes_what_is_like_bytes(kind):
    assert decode(kind(b"d1:al1:xi5eee")) == {b"a": [b"x", 5]}


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_decoded_strings_are_bytes_of_their_own(kind):
    data = bytearray(b"l3:abce")
    value = decode(kind(data))
    data[3:6] = b"xyz"
    assert value == [b"abc"]
    assert type(value[0]) is bytes


@pytest.mark.parametrize("data", ["i1e", 1, None, [b"i1e"], True])
def test_decode_refuses_what_is_not_bytes(data):
    with pytest.raises(TypeError, match="bytes"):
        decode(data)


@pytest.mark.parametrize(
    "data, offset, word", MALFORMED, ids=[repr(data) for data, _, _ in MALFORMED]
)
def test_malformed(data, offset, word):
    error = error_of(decode, data)
    assert isinstance(error, ValueError)
    assert error.offset == offset
    assert word in str(error)
    assert "expected" in str(error)
    assert "offset {}".format(offset) in str(error)
    assert str(error).isprintable() and str(error).isascii()


@pytest.mark.parametrize("data", SHORT)
def test_every_truncation_is_an_error(data):
    for size in range(len(data)):
        error = error_of(decode, data[:size])
        assert 0 <= error.offset <= size


@pytest.mark.parametrize("data", SHORT)
def test_anything_after_the_value_is_an_error(data):
    for extra in (b"\0", b"\n", b"0:", b"i0e"):
        assert error_of(decode, data + extra).offset == len(data)


def test_unsorted_and_repeated_keys():
    unsorted, repeated = b"d1:bi1e1:ai2ee", b"d1:ai1e1:bi2e1:ai3ee"
    assert list(decode(unsorted).items()) == [(b"b", 1), (b"a", 2)]
    assert decode(repeated) == {b"a": 3, b"b": 2}


def test_error_shows_only_the_beginning_of_long_data():
    for data in (b"i" + b"x" * 10**6, b"1" + b"x" * 10**6, b"i" + b"1" * 10**6 + b"e"):
        assert len(str(error_of(decode, data))) < 200


# limits


@pytest.mark.parametrize(
    "fitting",
    [
        nested(DEEPEST),
        nested(DEEPEST, inside=b"i1e"),
        nested(DEEPEST - 1, b"d1:k", inside=b"de"),
        nested(DEEPEST // 2, b"ld1:k", b"ee", inside=b"0:"),
    ],
    ids=["lists", "integer inside", "dictionaries", "both"],
)
def test_levels(fitting):
    assert encode(decode(fitting)) == fitting
    for too_deep in (b"l" + fitting + b"e", b"d1:k" + fitting + b"e"):
        assert "256" in str(error_of(decode, too_deep))


def test_offset_of_the_level_too_many():
    assert error_of(decode, nested(DEEPEST + 1)).offset == DEEPEST
    assert error_of(decode, b"l" * 10**6).offset == DEEPEST
    assert error_of(decode, b"d1:k" * 10**6).offset == DEEPEST * 4


def test_levels_count_what_is_open_and_not_what_was():
    data = b"l" + nested(DEEPEST - 1) * 3 + b"e"
    assert encode(decode(data)) == data


def build(levels, wrap):
    value = wrap(None)
    for _ in range(levels - 1):
        value = wrap(value)
    return value


@pytest.mark.parametrize(
    "wrap",
    [lambda v: [] if v is None else [v], lambda v: {} if v is None else {b"k": v}],
    ids=["list", "dict"],
)
def test_encode_levels(wrap):
    fitting = build(DEEPEST, wrap)
    assert decode(encode(fitting)) == fitting
    error = error_of(encode, [fitting])
    assert (error.offset, "256" in str(error)) == (None, True)
    error_of(encode, build(100000, wrap))


def test_values_that_hold_themselves():
    endless_list, endless_dict = [], {}
    endless_list.append(endless_list)
    endless_dict[b"k"] = [endless_dict]
    assert "256" in str(error_of(encode, endless_list))
    assert "256" in str(error_of(encode, endless_dict))


def test_neither_way_needs_pythons_stack():
    def descend(left):
        if left:
            return descend(left - 1)
        error_of(decode, nested(DEEPEST + 1))
        error_of(encode, [decode(nested(DEEPEST))])
        return encode(decode(nested(DEEPEST)))

    results = []
    # What is left of Python's stack is enough for the test itself, but not for DEEPEST calls.
    left = sys.getrecursionlimit() - DEEPEST // 2
    thread = threading.Thread(target=lambda: results.append(descend(left)))
    thread.start()
    thread.join()
    assert results == [nested(DEEPEST)]


@pytest.mark.parametrize("sign", [b"", b"-"])
def test_digits(sign):
    fitting = b"i" + sign + b"9" * 64 + b"e"
    assert encode(decode(fitting)) == fitting
    for digits in (b"1" + b"0" * 64, b"9" * 65, b"9" * 66, b"9" * 67, b"9" * 5000):
        for end in (b"e", b""):
            error = error_of(decode, b"l" + b"i" + sign + digits + end)
            assert (error.offset, "64" in str(error)) == (1, True)
    error = error_of(encode, int(sign + b"1" + b"0" * 64))
    assert (error.offset, "64" in str(error)) == (None, True)
    error_of(encode, [{b"k": int(sign + b"9" * 4000)}])


@pytest.mark.parametrize("data", [b"i%be", b"i-%be", b"%b:a", b"d%b:a"])
def test_millions_of_digits_are_refused_at_once(data):
    started = time.process_time()
    for digit in (b"0", b"9"):
        error_of(decode, data % (digit * 4000000))
    assert time.process_time() - started < 2


# encode


@pytest.mark.parametrize("data, value", PAIRS, ids=[repr(data[:30]) for data, _ in PAIRS])
def test_encode(data, value):
    found = encode(value)
    assert found == data
    assert type(found) is bytes


def test_encode_sorts_keys():
    value = OrderedDict([(b"b", 1), (b"a", OrderedDict([(b"\xff", 1), (b"", 2), (b"Z", 3)]))])
    assert encode(value) == b"d1:ad0:i2e1:Zi3e1:\xffi1ee1:bi1ee"


def test_encode_takes_subclasses():
    class Event(IntEnum):
        STARTED = 2

    class Text(bytes):
        pass

    class Peers(list):
        pass

    value = Peers([Event.STARTED, Text(b"abc"), OrderedDict({Text(b"k"): 1})])
    assert encode(value) == b"li2e3:abcd1:ki1eee"


@pytest.mark.parametrize(
    "value",
    ["", "a", None, True, False, 1.0, (), (1,), set(), int, bytearray(b"a"), memoryview(b"a")],
    ids=lambda value: "{} {!r}".format(type(value).__name__, value).partition(" at 0x")[0],
)
def test_encode_refuses_other_types(value):
    for container in (value, [value], [1, [value]], {b"k": value}):
        with pytest.raises(TypeError, match=type(value).__name__):
            encode(container)


@pytest.mark.parametrize("key", ["", "text", None, True, 1, (), 1.0], ids=repr)
def test_encode_refuses_other_keys(key):
    for dictionary in ({key: 1}, {b"a": 1, key: 2}, [{b"a": {key: 1}}]):
        with pytest.raises(TypeError, match=type(key).__name__):
            encode(dictionary)


def test_encode_leaves_its_argument_as_it_is():
    value = {b"b": [1, {b"y": 1, b"x": 2}], b"a": b"s"}
    encode(value)
    assert list(value) == [b"b", b"a"]
    assert list(value[b"b"][1]) == [b"y", b"x"]


# both ways


def random_value(rng, depth):
    kind = rng.randrange(4 if depth else 2)
    if kind == 0:
        return rng.choice([1, -1]) * rng.getrandbits(rng.choice([1, 4, 8, 32, 64, 200]))
    if kind == 1:
        return rng.getrandbits(8 * 130).to_bytes(130, "big")[: rng.choice([0, 1, 9, 10, 99, 130])]
    if kind == 2:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(6))]
    return {
        bytes(rng.choices(b"ab\xff\0e", k=rng.randrange(12))): random_value(rng, depth - 1)
        for _ in range(rng.randrange(6))
    }


@pytest.mark.parametrize("seed", range(20))
def test_round_trip(seed):
    rng = random.Random(seed)
    for _ in range(100):
        value = random_value(rng, 5)
        data = encode(value)
        assert decode(data) == value
        assert encode(decode(data)) == data


@pytest.mark.parametrize("seed", range(20))
def test_changed_bytes_end_in_a_value_or_an_error(seed):
    rng = random.Random(seed)
    for _ in range(200):
        data = bytearray(encode(random_value(rng, 4)))
        for _ in range(rng.randrange(1, 4)):
            data[rng.randrange(len(data))] = rng.choice(b"ilde:0123456789-_ +\n\xff")
        try:
            value = decode(data)
        except BencodeError as error:
            assert 0 <= error.offset <= len(data)
            continue
        # What is lenient is the order and the number of keys: nothing else is lost or added.
        encoded = encode(value)
        assert decode(encoded) == value
        assert len(encoded) < len(data) or sorted(encoded) == sorted(data)


# info hash


V1 = encode({b"length": 9, b"name": b"a", b"piece length": 16384, b"pieces": b"p" * 20})
V2 = encode({b"file tree": {b"a": {b"": {b"length": 9}}}, b"meta version": 2, b"name": b"a"})
HYBRID = encode({**decode(V1), **decode(V2)})
UNSORTED = b"d4:name1:a6:pieces0:6:lengthi9ee"
REPEATED = b"d6:pieces0:4:name1:a4:name1:be"


def torrent(info, before=b"8:announce9:udp://a:1", after=b"3:zzzd4:infod4:name1:xee"):
    """Returns a .torrent with more around info, of which some looks like it."""
    return b"d" + before + b"4:info" + info + after + b"e"


@pytest.mark.parametrize("info, digest", [
    (V1, hashlib.sha1(V1)),
    (V2, hashlib.sha256(V2)),
    (HYBRID, hashlib.sha1(HYBRID)),
    # Of the bytes as they stand: encoded again they would be others.
    (UNSORTED, hashlib.sha1(UNSORTED)),
    (REPEATED, hashlib.sha1(REPEATED)),
    (b"de", hashlib.sha1(b"de")),
], ids=["v1", "v2", "hybrid", "unsorted", "repeated", "empty"])
def test_info_hash(info, digest):
    expected = digest.digest()[:20]
    for data in (
        torrent(info),
        torrent(info, b"", b""),
        torrent(info, b"1:ad4:infod1:xi1eee1:b11:4:infod1:xe"),
        # Of a repeated key the last value stands.
        torrent(info, before=b"4:infod4:name3:onee"),
        torrent(info, before=b"4:info3:two"),
    ):
        assert info_hash(data) == expected
    for kind in (bytearray, memoryview):
        assert info_hash(kind(torrent(info))) == expected


# What is not part of the value: before it, after it.
AROUND = [
    (b"", b"\n"),
    (b"", b"\r\n"),
    (b"", b" \t\v\f"),
    (b"", b"\0"),
    (b"", b"\0" * 1000),
    (b"", b"\n\0 \0"),
    (b"\xef\xbb\xbf", b""),
    (b"\r\n", b""),
    (b" \t\xef\xbb\xbf\n", b"\r\n"),
]


@pytest.mark.parametrize("before, after", AROUND)
def test_what_stands_around_a_torrent_is_no_part_of_it(before, after):
    data = before + torrent(V1) + after
    assert info_hash(data) == info_hash(bytearray(data)) == hashlib.sha1(V1).digest()
    assert decode_file(data) == decode_file(memoryview(data)) == decode(torrent(V1))
    # decode() is told what the value is, and nothing else.
    error_of(decode, data)


@pytest.mark.parametrize("data", [b"1: ", b"3:a\0\0", b"2:\r\n"])
def test_a_string_may_end_with_white_space(data):
    assert decode_file(data) == decode(data)
    assert decode_file(b" " + data + b" \n") == decode(data)


@pytest.mark.parametrize(
    "data, offset",
    [
        (b"", 0),
        (b" \r\n", 3),
        (b"\xef\xbb\xbf<html>", 3),
        (b"\0de", 0),
        (b" de x", 3),
        (b"\nd1:ai1x", 5),
        (b" \xef\xbb\xbfl\0e", 5),
        (b"de\xef\xbb\xbf", 2),
    ],
)
def test_other_things_around_it_are_an_error_at_their_place(data, offset):
    assert error_of(decode_file, data).offset == offset
    error_of(info_hash, data)


@pytest.mark.parametrize("data", ["de", 1, None, [b"de"]])
def test_only_bytes_have_an_info_hash(data):
    for function in (info_hash, decode_file):
        with pytest.raises(TypeError, match="bytes"):
            function(data)


@pytest.mark.parametrize("data", [
    b"", b"<html>", b"i1e", b"4:info", b"le", b"l4:infodee", b"de", b"d4:infoi1ee", b"d4:infolee",
    b"d4:info0:e", b"d3:zzzd4:infodeee", torrent(b"de", after=b"4:infoi1e"), torrent(V1)[:-1],
], ids=repr)
def test_no_info_hash(data):
    error = error_of(info_hash, data)
    assert 0 <= error.offset <= len(data)
    assert "expected" in str(error)


@pytest.mark.parametrize("seed", range(20))
def test_raw_value(seed):
    rng = random.Random(seed)
    for _ in range(100):
        value = {b"%d" % number: random_value(rng, 4) for number in range(rng.randrange(6))}
        for key, item in value.items():
            assert raw_value(encode(value), key) == encode(item)


# as JSON


def test_to_json():
    value = {
        b"text": "naïve ☃".encode(),
        b"bytes": b"\xff\x00",
        b"\xfe\x01": [b"", 1, -(10**30), {}],
        "ключ".encode(): {b"k": [b"\xc3"]},
    }
    shown = to_json(value)
    assert shown == {
        "text": "naïve ☃",
        "bytes": {"hex": "ff00"},
        "fe01": ["", 1, -(10**30), {}],
        "ключ": {"k": [{"hex": "c3"}]},
    }
    assert list(shown) == ["text", "bytes", "fe01", "ключ"]
    json.dumps(shown)


@pytest.mark.parametrize("data", [b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80", b"a\x80"])
def test_to_json_shows_what_is_not_quite_utf8_in_hex(data):
    assert to_json(data) == {"hex": data.hex()}


# the command


@pytest.fixture
def show(run_script, tmp_path):
    """A function that writes data to a file and shows it: show(data, option, ...) -> Result."""

    def run(data, *options, **settings):
        path = tmp_path / "file"
        path.write_bytes(data)
        return run_script("bencode.py", path, *options, **settings)

    return run


def test_command_formats(show):
    data = b"d1:a2:\xff\x001:bl1:xi-2elee1:cdee"
    pretty = show(data)
    assert (pretty.code, pretty.stderr) == (0, "")
    assert pretty.stdout == (
        '{\n  "a": {\n    "hex": "ff00"\n  },\n  "b": [\n    "x",\n    -2,\n    []\n  ],\n'
        '  "c": {}\n}\n'
    )
    for option in (["--format", "pretty"], ["--format", "json"], ["--format=pretty"]):
        assert show(data, *option).stdout == pretty.stdout
    compact = show(data, "--format", "compact")
    assert compact.stdout == '{"a":{"hex":"ff00"},"b":["x",-2,[]],"c":{}}\n'
    assert (compact.code, compact.stderr) == (0, "")


def test_command_escapes_control_and_other_characters(show):
    text = "\x00\x1b[31m\x7f\x9b\n\u202e\u00e9\U0001f600"
    data = encode({text.encode(): text.encode()})
    for options in ([], ["--format", "compact"]):
        result = show(data, *options)
        assert result.json == {text: text}
        assert all(" " <= character <= "~" for character in result.stdout.replace("\n", ""))
        assert r"\u007f" in result.stdout and r"\u202e" in result.stdout


def test_command_reads_standard_input(run_script):
    result = run_script("bencode.py", "-", "--format", "compact", stdin="d1:ai1ee")
    assert (result.code, result.stdout, result.stderr) == (0, '{"a":1}\n', "")
    result = run_script("bencode.py", "-", stdin="d1:ai1e")
    assert (result.code, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"]["source"] == "-"


def test_command_takes_options_before_the_file(run_script, tmp_path):
    (tmp_path / "file").write_bytes(b"le")
    result = run_script("bencode.py", "--format", "compact", tmp_path / "file")
    assert (result.code, result.stdout) == (0, "[]\n")


@pytest.mark.parametrize("options", [[], ["--format", "compact"]])
def test_command_shows_the_deepest_and_the_longest(show, options):
    data = nested(DEEPEST - 1, b"d1:k", b"e", b"li%dee" % LONGEST)
    result = show(data, *options)
    assert (result.code, result.stderr) == (0, "")
    assert str(LONGEST) in result.stdout
    result = show(nested(100000), *options)
    assert (result.code, result.stdout) == (1, "")
    assert "256" in json.loads(result.stderr)["error"]["message"]


@pytest.mark.parametrize("data, offset", [(b"", 0), (b"li1e\xff\x1be", 4), (b"i1e\r\ni2e", 3)])
def test_command_with_bad_bencode(show, tmp_path, data, offset):
    result = show(data)
    assert (result.code, result.stdout) == (1, "")
    assert result.stderr.count("\n") == 1 and ": " not in result.stderr.split('"message"')[0]
    error = json.loads(result.stderr)["error"]
    assert list(error) == ["kind", "source", "message"]
    assert error["kind"] == "invalid_bencode"
    assert error["source"] == str(tmp_path / "file")
    assert "offset {}".format(offset) in error["message"]
    assert error["message"].isprintable()


@pytest.mark.parametrize("before, after", AROUND)
def test_command_shows_no_part_of_what_stands_around(show, before, after):
    data = before + torrent(V1) + after
    result = show(data, "--format", "compact")
    assert (result.code, result.stderr) == (0, "")
    assert result.json["announce"] == "udp://a:1"
    result = show(data, "--info-hash")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == hashlib.sha1(V1).hexdigest() + "\n"


def test_command_prints_the_info_hash(run_script, tmp_path):
    path = tmp_path / "a.torrent"
    for info, digest in ((V1, hashlib.sha1(V1)), (V2, hashlib.sha256(V2))):
        data = torrent(info)
        path.write_bytes(data)
        for arguments in (["--info-hash", path], [path, "--info-hash"], ["--info-hash", "-"]):
            result = run_script("bencode.py", *arguments, stdin=data.decode())
            assert (result.code, result.stderr) == (0, "")
            assert result.stdout == digest.hexdigest()[:40] + "\n"


@pytest.mark.parametrize("data", [b"", b"de", b"<html>", b"d4:infoi1ee", torrent(V1)[:-1]])
def test_command_says_where_there_is_no_info_hash(show, tmp_path, data):
    error = record_of(show(data, "--info-hash"))
    assert (error["kind"], error["source"]) == ("invalid_bencode", str(tmp_path / "file"))
    assert "offset" in error["message"]


LARGE = b"l" + b"5:large" * 10**5 + b"e"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_command_writes_all_to_a_pipe_that_does_not_block(
    start_script, tmp_path, unbuffered
):
    (tmp_path / "file").write_bytes(LARGE)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    env = {"PYTHONUNBUFFERED": unbuffered}
    process = start_script("bencode.py", tmp_path / "file", stdout=writing, env=env)
    os.close(writing)
    with open(reading) as pipe:
        assert json.load(pipe) == ["large"] * 10**5
    assert process.communicate() == (None, "")
    assert process.returncode == 0


def test_command_with_unreadable_files(run_script, tmp_path):
    for path in (tmp_path / "nothing here", tmp_path, tmp_path / "\x1b\n\u202e"):
        result = run_script("bencode.py", path)
        assert result.stderr.isascii()
        error = record_of(result)
        assert (error["kind"], error["source"]) == ("unreadable_file", str(path))
        assert error["message"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such descriptors")
def test_command_without_standard_input():
    command = ["sh", "-c", 'exec "$@" <&-', "sh", sys.executable, "bencode.py", "-"]
    assert record_of(run_command(command, cwd=ROOT))["kind"] == "unreadable_file"


@pytest.mark.parametrize(
    "arguments",
    [[], ["a", "b"], ["--format", "xml", "a"], ["--format"], ["--form", "json", "a"], ["-x", "a"]],
    ids=" ".join,
)
def test_command_usage_errors(run_script, arguments):
    result = run_script("bencode.py", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("bencode.py: error: ")
    assert result.stderr.endswith("(see --help)\n")
    assert result.stderr.count("\n") == 1


def test_command_help_and_version(run_script):
    for option in ("-h", "--help"):
        result = run_script("bencode.py", option)
        assert (result.code, result.stderr) == (0, "")
        assert "examples:" in result.stdout and "--format" in result.stdout
    result = run_script("bencode.py", "--version")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == "bencode.py {}\n".format(bencode.VERSION)
