# SPDX-License-Identifier: LGPL-3.0-only
"""What tracker_checker.py takes as input, in every kind and mix, and what it says of bad input.

Trackers that only have to be told apart are at ports of 127.0.0.1 that refuse at once.
"""

import base64
import hashlib
import json
import os
import random
import time

import bencode
import pytest
import tracker_checker
from helpers import PYTHON, ROOT, json_lines, only_record, run_command, run_measured
from tracker_checker import find_trackers, split_entry

DEFAULT_HASH = "9c38422213e30bff212b30c360d26f9a02136422"
HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
HASH_V2 = "1c38422213e30bff212b30c360d26f9a021364221c38422213e30bff212b30c3"
# Nobody listens on ports this low in a test machine: the system answers that they are closed.
UDP_1, UDP_2, UDP_3 = ("udp://127.0.0.1:{}".format(port) for port in (1, 2, 3))
HTTP_1, HTTP_2 = ("http://127.0.0.1:{}/announce".format(port) for port in (1, 2))
HEALTH_1 = "http://127.0.0.1:1/health"


@pytest.fixture
def trackers(check):
    """A function that runs the checker and returns the trackers of its results, sorted."""

    def run(*arguments, **settings):
        result = check("--format", "ndjson", *arguments, **settings)
        assert (result.code, result.stderr) == (0, "")
        return sorted(record["tracker"] for record in json_lines(result.stdout))

    return run


@pytest.fixture
def refused(check):
    """A function that runs the checker on what is no configuration; returns (source, message)."""

    def run(*arguments, **settings):
        result = check(*arguments, **settings)
        assert (result.code, result.stdout) == (2, "")
        error = only_record(result)
        assert error["kind"] == "invalid_configuration"
        return error["source"], error["message"]

    return run


@pytest.fixture
def asked_hash(check, tracker):
    """A function that runs the checker; returns the hex of the one info hash that was asked for."""

    def run(*arguments, **settings):
        result = check(*arguments, **settings)
        assert (result.code, result.stderr) == (0, "")
        hashes = set()
        for record in tracker.requests:
            if record.action in ("announce", "scrape"):
                hashes.update(record.fields.get("info_hashes") or [record.fields["info_hash"]])
        (info_hash,) = hashes
        return info_hash.hex()

    return run


def read_words(*words, **environ):
    """Returns the Inputs of the words of a command line, without checking anything."""
    inputs = tracker_checker.Inputs()
    tracker_checker.read_inputs(inputs, list(words), None, [], environ)
    inputs.require_enough()
    return inputs


def collect(*words, **environ):
    """Returns the distinct trackers of inputs, in their order, without checking them."""
    return [target.given for target in read_words(*words, **environ).targets]


def read_document(data, name="list.txt"):
    """Returns the Inputs of what a file of that name holds: bytes, or text as UTF-8."""
    inputs = tracker_checker.Inputs()
    inputs.source = name
    inputs.add_document(data if isinstance(data, bytes) else data.encode("utf-8"))
    return inputs


def found_in(data):
    """Returns the trackers that a document names, in their order."""
    return [target.given for target in read_document(data).targets]


def write(path, content):
    """Writes bytes or text (as UTF-8) and returns the path as text."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return str(path)


def torrent_bytes(trackers, info, **further):
    """Returns a .torrent; info is a dictionary, or the raw bytes of one."""
    raw = info if isinstance(info, bytes) else bencode.encode(info)
    content = {key.encode(): value for key, value in further.items()}
    if trackers:
        content[b"announce"] = trackers[0].encode()
        content[b"announce-list"] = [[url.encode()] for url in trackers]
    # bencode sorts keys; info is put in as it stands.
    return bencode.encode(content)[:-1] + b"4:info" + raw + b"e"


INFO = {b"length": 1, b"name": b"a file", b"piece length": 16384, b"pieces": b"p" * 20}
CONFIGURATION = {"udp_trackers": [UDP_1], "http_trackers": [HTTP_1], "health_checks": [HEALTH_1]}
ALL_OF_IT = sorted([UDP_1, HTTP_1, HEALTH_1])


# Every kind of INPUT.


def test_tracker_urls_and_host_port(trackers):
    assert trackers(UDP_1, "127.0.0.1:2", HTTP_1) == sorted([UDP_1, "127.0.0.1:2", HTTP_1])


@pytest.mark.parametrize("quote", ["'", '"', " '"])
def test_quotes_that_a_shell_has_left_are_no_part_of_a_tracker(trackers, quote):
    given = quote + "udp://127.0.0.1:1" + quote.strip()
    assert trackers(given, "127.0.0.1:2") == ["127.0.0.1:2", "udp://127.0.0.1:1"]


def test_an_argument_of_several_lines_is_a_list(trackers):
    text = "udp://127.0.0.1:1 # mine\n# udp://127.0.0.1:3\ni2p://x\nhttp://127.0.0.1:2/announce"
    assert trackers(text) == ["http://127.0.0.1:2/announce", "i2p://x", "udp://127.0.0.1:1"]


def test_ipv6_host_port(trackers):
    assert trackers("[::1]:1", "udp://[::1]:2") == ["[::1]:1", "udp://[::1]:2"]


@pytest.mark.parametrize("text", [json.dumps(CONFIGURATION), " \n" + json.dumps(CONFIGURATION)])
def test_configuration_as_text(trackers, text):
    assert trackers(text) == ALL_OF_IT


def test_configuration_in_a_file(trackers, tmp_path):
    path = write(tmp_path / "checker.json", json.dumps(CONFIGURATION, indent=4))
    assert trackers(path) == ALL_OF_IT
    assert trackers("-c", path) == ALL_OF_IT
    assert trackers("--config-path", path) == ALL_OF_IT
    assert trackers("--config-path=" + path) == ALL_OF_IT


def test_configuration_with_windows_line_ends_and_a_bom(trackers, tmp_path):
    text = "\ufeff" + json.dumps(CONFIGURATION, indent=2).replace("\n", "\r\n")
    path = write(tmp_path / "checker.json", text)
    assert trackers(path) == ALL_OF_IT
    assert trackers("-c", path) == ALL_OF_IT
    assert trackers("-", stdin=text) == ALL_OF_IT


def test_configuration_in_the_environment(trackers, tmp_path):
    path = write(tmp_path / "checker.json", json.dumps({"udp_trackers": [UDP_2]}))
    text = json.dumps(CONFIGURATION)
    assert trackers(env={"TORRUST_CHECKER_CONFIG": text}) == ALL_OF_IT
    assert trackers(env={"TORRUST_CHECKER_CONFIG_PATH": path}) == [UDP_2]


def test_the_path_in_the_environment_comes_before_the_text(trackers, tmp_path):
    path = write(tmp_path / "checker.json", json.dumps({"udp_trackers": [UDP_2]}))
    text = json.dumps(CONFIGURATION)
    both = {"TORRUST_CHECKER_CONFIG_PATH": path, "TORRUST_CHECKER_CONFIG": text}
    assert trackers(env=both) == [UDP_2]


def test_the_environment_counts_only_without_an_input(trackers, tmp_path):
    env = {"TORRUST_CHECKER_CONFIG": json.dumps(CONFIGURATION)}
    path = write(tmp_path / "checker.json", json.dumps({"udp_trackers": [UDP_2]}))
    assert trackers(UDP_3, env=env) == [UDP_3]
    assert trackers("-c", path, env=env) == [UDP_2]
    assert trackers("--health", HEALTH_1, env=env) == [HEALTH_1]


@pytest.mark.parametrize(
    "configuration, expected",
    [
        ({"udp_trackers": [UDP_1]}, [UDP_1]),
        ({"http_trackers": [HTTP_1]}, [HTTP_1]),
        ({"health_checks": [HEALTH_1]}, [HEALTH_1]),
        ({}, []),
        ({"udp_trackers": [], "http_trackers": [], "health_checks": []}, []),
    ],
)
def test_a_missing_key_is_empty(trackers, configuration, expected):
    assert trackers(json.dumps(configuration)) == expected


def test_udp_entries_may_leave_out_the_scheme_and_have_a_path(trackers):
    entries = ["127.0.0.1:1", "udp://127.0.0.1:2/announce", "127.0.0.1:3/announce?key=1", "[::1]:4"]
    assert trackers(json.dumps({"udp_trackers": entries})) == sorted(entries)


LIST = """\
# the best trackers

{0}
\t {1} \t

   # more
{0}
127.0.0.1:3
{2}
""".format(UDP_1, HTTP_1, UDP_2)
LISTED = sorted([UDP_1, HTTP_1, "127.0.0.1:3", UDP_2])


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        LIST.rstrip("\n"),
        LIST.replace("\n", "\r\n"),
        LIST.replace("\n", "\r"),
        LIST.replace("\n", "\n\n\n"),
        "\ufeff" + LIST,
        "\ufeff" + LIST.replace("\n", "\r\n"),
    ],
    ids=["usual", "no end", "crlf", "cr", "blank lines", "bom", "bom and crlf"],
)
def test_lists_of_one_tracker_a_line(trackers, tmp_path, text):
    assert trackers(write(tmp_path / "list.txt", text)) == LISTED
    assert trackers("-", stdin=text) == LISTED


def test_a_list_of_one_line_after_a_bom_is_no_odd_url(trackers, tmp_path):
    assert trackers(write(tmp_path / "list.txt", "\ufeff" + UDP_1)) == [UDP_1]


def test_a_magnet_in_a_list(trackers, tmp_path):
    magnet = "magnet:?xt=urn:btih:{}&tr={}".format(HASH, UDP_2)
    path = write(tmp_path / "list.txt", "{}\n{}\n".format(UDP_1, magnet))
    assert trackers(path) == [UDP_1, UDP_2]


def test_a_file_named_like_a_tracker_is_a_file(trackers, tmp_path):
    write(tmp_path / "127.0.0.1:2", UDP_1)
    assert trackers("127.0.0.1:2", cwd=str(tmp_path)) == [UDP_1]
    assert trackers("udp://127.0.0.1:2", cwd=str(tmp_path)) == [UDP_2]


def test_a_file_named_stdin_is_a_file(trackers, tmp_path):
    write(tmp_path / "stdin", json.dumps({"udp_trackers": [UDP_1]}))
    assert trackers("stdin", cwd=str(tmp_path), stdin=UDP_2) == [UDP_1]
    assert trackers("-c", "stdin", cwd=str(tmp_path), stdin=UDP_2) == [UDP_1]


def test_options_and_inputs_mix_in_any_order(check):
    result = check(UDP_1, "--format", "ndjson", UDP_2, "--timeout=2", "--", UDP_3)
    assert sorted(record["tracker"] for record in json_lines(result.stdout)) == [
        UDP_1, UDP_2, UDP_3
    ]


def test_every_kind_in_one_run(trackers, tmp_path):
    torrent = torrent_bytes(["udp://127.0.0.1:11"], INFO)
    expected = [
        UDP_1, HTTP_1, HEALTH_1, "127.0.0.1:7", "http://127.0.0.1:8/health",
        "http://127.0.0.1:9/announce", "udp://127.0.0.1:10", "udp://127.0.0.1:11",
        "udp://127.0.0.1:12", "udp://127.0.0.1:13",
    ]
    found = trackers(
        "\ufeff" + json.dumps(CONFIGURATION) + "\u200b",
        "127.0.0.1:7",
        "--health", "http://127.0.0.1:8/health",
        "http://127.0.0.1:9/announce",
        "magnet:?xt=urn:btih:{}&tr=udp%3A%2F%2F127.0.0.1%3A10".format(HASH),
        write(tmp_path / "a.torrent", torrent),
        write(tmp_path / "list.txt", "udp://127.0.0.1:12\r\n"),
        "-",
        stdin="udp://127.0.0.1:13\n",
    )
    assert found == sorted(expected)


# Duplicates.


@pytest.mark.parametrize(
    "first, second",
    [
        ("udp://localhost:1", "udp://LOCALHOST:1/announce"),
        ("udp://localhost:1", "localhost:1"),
        ("udp://localhost:1", "UDP://localhost:1/"),
        ("udp://127.0.0.1:1/scrape", "127.0.0.1:1"),
        ("udp://127.0.0.1:1/a?b", "127.0.0.1:1/a?b"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/announce"),
        ("http://localhost:1/announce", "HTTP://LocalHost:1/announce"),
        ("http://127.0.0.1:1/announce", "http://127.0.0.1:1/scrape"),
        ("wss://127.0.0.1:1", "wss://127.0.0.1:1"),
    ],
)
def test_the_same_tracker_is_one(tmp_path, first, second):
    assert collect(first, second) == [first]
    assert collect(second, first) == [second]
    path = write(tmp_path / "list.txt", "{}\n{}\n{}\n".format(second, first, second))
    assert collect(path) == [second]


@pytest.mark.parametrize(
    "first, second",
    [
        ("udp://127.0.0.1:1", "udp://127.0.0.1:2"),
        ("udp://127.0.0.1:1", "udp://127.0.0.2:1"),
        ("udp://127.0.0.1:1/a", "udp://127.0.0.1:1/A"),
        ("udp://127.0.0.1:1/announce", "udp://127.0.0.1:1/announce?key=1"),
        ("http://127.0.0.1:1/announce", "http://127.0.0.1:1/announce?key=1"),
        ("http://127.0.0.1:1/announce", "http://127.0.0.1:1/announce.php"),
        ("http://127.0.0.1:1/a/announce", "http://127.0.0.1:1/b/announce"),
        ("http://127.0.0.1:1/announce", "udp://127.0.0.1:1/announce"),
        ("wss://127.0.0.1:1", "wss://127.0.0.1:2"),
    ],
)
def test_other_trackers_are_others(first, second):
    assert collect(first, second) == [first, second]


def test_the_same_tracker_is_checked_once(trackers):
    listed = "udp://LOCALHOST:1/announce\n{0}\n{0}/scrape\n{0}\n".format("udp://localhost:1")
    assert trackers("localhost:1", "-", stdin=listed) == ["localhost:1"]


def test_an_http_tracker_and_a_health_check_of_one_url_are_two(trackers):
    assert trackers(HTTP_1, "--health", HTTP_1, "--health", HTTP_1) == [HTTP_1, HTTP_1]


@pytest.mark.parametrize(
    "text, given_twice",
    [
        ("{0}\n{0}\n{1}\n", 1),
        ("{0}\n{0}\n{0}\n{1}\n{1}", 3),
        ("{0} {1} udp://127.0.0.1:1/announce", 1),
        ("{0}\n{1}", 0),
        ("i2p://a\n{0}\ni2p://a\n{1}", 1),
    ],
)
def test_what_is_given_twice_is_counted(text, given_twice):
    inputs = read_document(text.format(UDP_1, HTTP_1))
    assert inputs.given_twice == given_twice
    assert [target.given for target in inputs.targets if target.kind != "unsupported"] == [
        UDP_1, HTTP_1,
    ]


def test_announce_and_announce_list_do_not_make_a_tracker_given_twice(tmp_path):
    path = write(tmp_path / "a.torrent", torrent_bytes([UDP_1, HTTP_1], INFO))
    assert read_words(path).given_twice == 0
    assert read_words(path, path).given_twice == 2


def test_the_table_says_how_many_were_given_twice(check):
    twice = check("--format", "table", UDP_1, UDP_2, "127.0.0.1:1", UDP_1)
    assert twice.stdout.endswith(", 2 given twice\n")
    assert "given twice" not in check("--format", "table", UDP_1, UDP_2).stdout


# .torrent files.


UNSORTED_INFO = b"d6:pieces20:" + b"p" * 20 + b"4:name6:a file12:piece lengthi16384e6:lengthi1ee"
INFO_V2 = {
    b"file tree": {b"a file": {b"": {b"length": 1, b"pieces root": b"r" * 32}}},
    b"meta version": 2,
    b"name": b"a file",
    b"piece length": 16384,
}
HYBRID_INFO = {**INFO, **INFO_V2}


@pytest.mark.parametrize(
    "info, digest",
    [
        (INFO, "sha1"),
        (UNSORTED_INFO, "sha1"),
        (INFO_V2, "sha256"),
        (HYBRID_INFO, "sha1"),
        # Within info the same key may stand again, and a value may look like it.
        ({**INFO, b"info": {b"info": b"4:infod"}}, "sha1"),
    ],
    ids=["v1", "unsorted", "v2", "hybrid", "info in info"],
)
def test_a_torrent_asks_for_the_hash_of_its_raw_info(asked_hash, tracker, tmp_path, info, digest):
    raw = info if isinstance(info, bytes) else bencode.encode(info)
    data = torrent_bytes([tracker.udp_url, tracker.http_url], info, comment=b"4:infod1:ai1ee")
    path = write(tmp_path / "a.torrent", data)
    assert asked_hash(path) == hashlib.new(digest, raw).hexdigest()[:40]
    assert {record.protocol for record in tracker.requests} == {"udp", "http"}


TORRENT_AND_LINE_END = (
    b"d8:announce29:udp://127.0.0.1:6969/announce4:infod6:lengthi1e4:name8:file.bin"
    b"12:piece lengthi16384e6:pieces20:" + bytes(range(20)) + b"ee\n"
)


@pytest.mark.parametrize("before", [b"", b"\r\n", b"\xef\xbb\xbf", b" \xef\xbb\xbf\t"])
@pytest.mark.parametrize("after", [b"", b"\r\n", b"\0", b" \0\0\n"])
def test_what_stands_around_a_torrent(before, after):
    inputs = read_document(before + TORRENT_AND_LINE_END + after)
    (target,) = inputs.targets
    assert target.given == "udp://127.0.0.1:6969/announce"
    assert target.info_hash.hex() == "232545fc5f426283b76df26177ef92791ad7cadb"


def test_a_torrent_on_standard_input(asked_hash, tracker):
    data = torrent_bytes([tracker.udp_url], INFO)
    expected = hashlib.sha1(bencode.encode(INFO)).hexdigest()
    assert asked_hash("-", stdin=data.decode("ascii")) == expected


def test_announce_and_all_tiers_of_the_list_are_checked(trackers, tmp_path):
    tiers = [[UDP_1.encode(), UDP_2.encode()], [HTTP_1.encode(), UDP_1.encode()], [b" "]]
    data = bencode.encode({b"announce": UDP_3.encode(), b"announce-list": tiers, b"info": INFO})
    assert trackers(write(tmp_path / "a.torrent", data)) == sorted([UDP_1, UDP_2, UDP_3, HTTP_1])


@pytest.mark.parametrize(
    "content",
    [
        {b"announce": UDP_1.encode()},
        {b"announce-list": [[UDP_1.encode()]]},
        {b"announce": UDP_1.encode(), b"announce-list": 7},
        {b"announce": UDP_1.encode(), b"announce-list": [7, [[]], []]},
        {b"announce": 7, b"announce-list": [[UDP_1.encode()]]},
        {b"announce": [UDP_1.encode()]},
        {b"announce": [[7, UDP_1.encode()]], b"announce-list": {}},
        {b"announce-list": UDP_1.encode()},
        {b"announce-list": [UDP_1.encode()]},
        {b"announce-list": [[[[UDP_1.encode()]], b"\0\r\n"]]},
        {b"announce": b"\xef\xbb\xbf " + UDP_1.encode() + b"\0\0"},
        {b"announce": b"\r\n" + UDP_1.encode() + "\u200b".encode()},
        {b"announce": UDP_1.encode() + b",\n" + UDP_1.encode()},
    ],
)
def test_odd_torrents(tmp_path, content):
    data = bencode.encode({**content, b"info": INFO})
    assert collect(write(tmp_path / "a.torrent", data)) == [UDP_1]


BAD_TORRENTS = [
    (torrent_bytes([], INFO), "names no tracker"),
    (torrent_bytes([UDP_1], INFO)[:-30], "offset"),
    (torrent_bytes([UDP_1], INFO) + b"x", "offset"),
    (bencode.encode({b"announce": UDP_1.encode()}), "info"),
    (bencode.encode({b"announce": UDP_1.encode(), b"info": b"no dictionary"}), "info"),
    (b"d8:announce" + b"l" * 100000 + b"e", "deep"),
]
NO_TORRENTS = [
    (torrent_bytes([UDP_1], INFO)[:9], "d8:announ"),
    (b"<!DOCTYPE html>\n<html><a href='udp://127.0.0.1:1'>", "<!DOCTYPE html>"),
    (b"404: Not Found\n", "404: Not Found"),
    (b"\x1f\x8b\x08\0\0\0", "gzip"),
    (b"", "nothing to check"),
]
KINDS_OF_BAD = [
    "no announce", "cut off", "trailing bytes", "no info", "info of a wrong type", "deep",
    "cut off early", "page", "error", "gzip", "empty",
]


@pytest.mark.parametrize("data, word", BAD_TORRENTS + NO_TORRENTS, ids=KINDS_OF_BAD)
def test_a_bad_torrent_alone_is_a_configuration_error(refused, tmp_path, data, word):
    path = write(tmp_path / "a.torrent", data)
    source, message = refused(path)
    assert source == path
    assert word in message


@pytest.mark.parametrize("data, word", BAD_TORRENTS + NO_TORRENTS, ids=KINDS_OF_BAD)
def test_a_bad_torrent_among_good_ones_is_one_unsupported_result(tmp_path, data, word):
    good = write(tmp_path / "good.torrent", torrent_bytes([UDP_1], INFO))
    bad = write(tmp_path / "BAD.TORRENT", data)
    for words in ((good, bad), (bad, good)):
        inputs = read_words(*words)
        broken, checked = sorted(inputs.targets, key=lambda target: target.given)
        if broken.given == UDP_1:
            broken, checked = checked, broken
        assert (checked.given, checked.kind) == (UDP_1, "udp")
        assert (broken.given, broken.kind) == (bad, "unsupported")
        assert word in broken.problem


def test_all_torrents_of_a_folder(check, tracker, tmp_path):
    for number, (data, _) in enumerate(BAD_TORRENTS + NO_TORRENTS):
        write(tmp_path / "{}.torrent".format(number), data)
    write(tmp_path / "good.torrent", torrent_bytes([tracker.udp_url], INFO))
    paths = sorted(str(path) for path in tmp_path.glob("*.torrent"))
    result = check("--fail", "--format", "ndjson", *paths)
    assert (result.code, result.stderr) == (0, "")
    kinds = {record["tracker"]: record["kind"] for record in json_lines(result.stdout)}
    assert kinds.pop(tracker.udp_url) == "udp"
    assert kinds == dict.fromkeys(paths[:-1], "unsupported")


def test_broken_ones_among_what_nobody_can_check_are_a_configuration_error(refused, tmp_path):
    bad = write(tmp_path / "bad.torrent", BAD_TORRENTS[0][0])
    worse = write(tmp_path / "worse.torrent", BAD_TORRENTS[1][0])
    assert refused("i2p://127.0.0.1:1", bad, worse)[0] == bad
    assert refused(worse, bad)[0] == worse


# Magnet links.


@pytest.mark.parametrize(
    "topics, expected",
    [
        ("xt=urn:btih:" + HASH, HASH),
        ("xt=urn:btih:" + HASH.upper(), HASH),
        ("xt=urn%3Abtih%3A" + HASH, HASH),
        ("xt=urn:btih:" + base64.b32encode(bytes.fromhex(HASH)).decode(), HASH),
        ("xt=urn:btih:" + base64.b32encode(bytes.fromhex(HASH)).decode().lower(), HASH),
        ("xt=urn:btmh:1220" + HASH_V2, HASH_V2[:40]),
        ("xt=urn:btmh:1220{}&xt=urn:btih:{}".format(HASH_V2, HASH), HASH),
        ("xt.1=urn:btih:{}&xt.2=urn:btmh:1220{}".format(HASH, HASH_V2), HASH),
    ],
    ids=["hex", "upper", "encoded", "base32", "base32 lower", "v2", "hybrid", "numbered"],
)
def test_a_magnet_asks_for_its_own_hash(asked_hash, tracker, topics, expected):
    magnet = "magnet:?{}&dn=a+file&tr={}".format(
        topics, tracker.udp_url.replace(":", "%3A").replace("/", "%2f")
    )
    assert asked_hash(magnet, tracker.http_url) == expected


def test_all_trackers_of_a_magnet_are_checked(trackers):
    magnet = "MAGNET:?xt=urn:btih:{}&tr={}&tr.1={}&tr.2={}".format(
        HASH, UDP_1, UDP_2, "http%3A%2F%2F127.0.0.1%3A1%2Fannounce"
    )
    assert trackers(magnet) == sorted([UDP_1, UDP_2, HTTP_1])
    assert trackers("-", stdin=magnet + "\n") == sorted([UDP_1, UDP_2, HTTP_1])


def test_a_magnet_without_trackers_gives_its_hash_to_others(asked_hash, tracker):
    magnet = "magnet:?xt=urn:btih:" + HASH
    assert asked_hash(magnet, tracker.udp_url) == HASH
    inputs = read_words(magnet, tracker.udp_url)
    assert [(target.given, target.kind) for target in inputs.targets] == [
        (magnet, "unsupported"), (tracker.udp_url, "udp"),
    ]
    assert "no tracker" in inputs.targets[0].problem


MAGNET = "magnet:?xt=urn:btih:{}&dn=a+file&tr=udp%3A%2F%2F127.0.0.1%3A1&tr={}".format(HASH, HTTP_1)


@pytest.mark.parametrize(
    "magnet",
    [
        MAGNET,
        MAGNET.replace("&", "&amp;"),
        MAGNET.replace("magnet:?", "magnet:///?"),
        MAGNET.replace("magnet:?", "MAGNET:?"),
        MAGNET.replace("xt=", "XT=").replace("tr=", "Tr="),
        MAGNET.replace("&tr=", "&tr.1=", 1).replace("&tr=", "&TR.2="),
        MAGNET.replace("&tr=http", "%2Chttp"),
        MAGNET.replace("&tr=http", "%0D%0A%20http"),
        MAGNET.replace("&tr=http", "http"),
        MAGNET.replace("&tr=http", ",http"),
        MAGNET.replace("tr=", "tr=%00%20%E2%80%8B") + "%EF%BB%BF%00",
        MAGNET.replace("a+file", "It's+a+(file)+of+[this]"),
        "\ufeff " + MAGNET + "\r\n",
    ],
)
def test_magnets_as_they_are_pasted(magnet):
    assert collect(magnet) == found_in(magnet) == [UDP_1, HTTP_1]
    assert {target.info_hash.hex() for target in read_words(magnet).targets} == {HASH}
    # In a text it ends as a tracker does.
    for before, after in (("<", ">"), ("'", "'"), ('"', '"'), ("[a name](", ")"), ("a: ", " # b")):
        assert found_in("{}{}{}".format(before, magnet.strip("\ufeff \r\n"), after)) == [
            UDP_1, HTTP_1,
        ]


@pytest.mark.parametrize(
    "value, expected",
    [
        ("http%3A%2F%2Fa%2Fannounce%3Fkey%3D%e9%FF", "http://a/announce?key=%e9%FF"),
        ("udp://a:1/%C3%A9%C3%A9", "udp://a:1/\u00e9\u00e9"),
        ("udp://a:1/%C3%41", "udp://a:1/%C3A"),
        ("udp://a:1/%ed%a0%80%E2%82", "udp://a:1/%ed%a0%80%E2%82"),
        ("udp://a:1/%zz%4", "udp://a:1/%zz%4"),
        ("udp://a:1/%2541+", "udp://a:1/%41+"),
    ],
)
def test_what_is_not_utf8_in_a_magnet_stays_as_it_is(value, expected):
    assert collect("magnet:?xt=urn:btih:{}&tr={}".format(HASH, value)) == [expected]


def test_a_bad_magnet_among_others_is_one_unsupported_result():
    bad = ["magnet:?tr=" + UDP_2, "magnet:?xt=urn:btih:" + HASH, "magnet:?"]
    for inputs in (read_words(MAGNET, *bad), read_words(*bad, UDP_1)):
        unsupported = [target for target in inputs.targets if target.kind == "unsupported"]
        assert [target.given for target in unsupported] == bad
        assert all(target.problem for target in unsupported)
    assert collect("{}\n{}".format(MAGNET, MAGNET.replace(HASH, DEFAULT_HASH))) == [UDP_1, HTTP_1]
    inputs = read_document("\n".join([bad[0], UDP_1, bad[1]]))
    assert [target.kind for target in inputs.targets] == ["unsupported", "udp", "unsupported"]


def test_the_default_hash(asked_hash, tracker):
    assert asked_hash(tracker.udp_url) == DEFAULT_HASH


def test_the_option_comes_before_the_hash_of_a_magnet(asked_hash, tracker):
    magnet = "magnet:?xt=urn:btih:{}&tr={}".format(HASH, tracker.udp_url)
    assert asked_hash(magnet, "--info-hash", "0" * 39 + "1") == "0" * 39 + "1"


@pytest.mark.parametrize(
    "magnet, word",
    [
        ("magnet:?xt=urn:btih:" + HASH, "tracker"),
        ("magnet:?xt=urn:btih:{}&tr=".format(HASH), "tracker"),
        ("magnet:?tr=" + UDP_1, "xt"),
        ("magnet:?xt=urn:sha1:ABC&tr=" + UDP_1, "xt"),
        ("magnet:?xt=urn:btih:abc&tr=" + UDP_1, "info hash"),
        ("magnet:?", "xt"),
    ],
)
def test_a_bad_magnet_is_a_configuration_error(refused, magnet, word):
    source, message = refused(magnet)
    assert source == "argument"
    assert word in message


# What cannot be checked is a result.


UNSUPPORTED = [
    "i2p://127.0.0.1:1/announce",
    "i2p://127.0.0.1:1",
    "i2p://tracker.i2p/announce",
    "dht+x.1-2://7",
    "udp://127.0.0.1",
    "udp://127.0.0.1:0",
    "udp://127.0.0.1:65536",
    "http://",
    "http://[::1/announce",
    "udp://::1:6969",
    "http://a..b/",
]


def test_lines_that_cannot_be_checked_are_results(check, tmp_path):
    path = write(tmp_path / "list.txt", "\n".join([UDP_1] + UNSUPPORTED))
    result = check(path)
    assert (result.code, result.stderr) == (0, "")
    assert list(result.json[0]) == ["Udp"]
    for given, entry in zip(UNSUPPORTED, result.json[1:]):
        results = entry["Unsupported"]["Err"]["results"]
        reason = results[0][1]["Err"]
        assert entry == {
            "Unsupported": {"Err": {"url": given, "results": [["Setup", {"Err": reason}]]}}
        }
        assert reason
    assert len(result.json) == 1 + len(UNSUPPORTED)


def test_the_reason_names_the_scheme(check):
    result = check("i2p://127.0.0.1:1/announce")
    assert "'i2p'" in result.json[0]["Unsupported"]["Err"]["results"][0][1]["Err"]


@pytest.mark.parametrize("given", ["i2p://127.0.0.1:1", "udp://127.0.0.1", "http://a b"])
def test_arguments_magnets_and_torrents_too(check, tmp_path, given):
    torrent = write(tmp_path / "a.torrent", torrent_bytes([given], INFO))
    magnet = "magnet:?xt=urn:btih:{}&tr={}".format(HASH, given.replace(" ", "%20"))
    for arguments in ([given], [magnet], [torrent], [given, magnet, torrent]):
        result = check("--format", "ndjson", *arguments)
        assert result.code == 0
        record = json.loads(result.stdout)
        assert (record["tracker"], record["kind"]) == (given, "unsupported")
        assert record["status"] == "unsupported"
        assert record["message"]


# Lists and other text, as people have it.


THE_THREE = [
    "udp://127.0.0.1:6969/announce", "udp://127.0.0.1:6970/announce",
    "http://127.0.0.1:7070/announce",
]
COMMAS = ",".join(THE_THREE)
ESCAPED = COMMAS.replace(":", "%3A").replace("/", "%2F").replace(",", "&amp;tr=")
# A document, and how many of its lines are skipped.
CASES = {
    "comma": (COMMAS + "\n", 0),
    "glued": ("{}{}\n{}\n".format(*THE_THREE), 0),
    "comments": (
        "# my trackers\n{} # fast\n{}\t# often down, same owner as the first\n\n"
        "{}   # HTTP\n".format(*THE_THREE),
        0,
    ),
    "utf16": ("\r\n".join(THE_THREE + [""]).encode("utf-16"), 0),
    "array": ('["{}", "{}",\n "{}"]\n'.format(*THE_THREE), 0),
    "aria2": ("continue=true\nbt-tracker={}\n".format(COMMAS), 1),
    "magnet": ("magnet:?xt=urn:btih:{}&amp;dn=f.bin&amp;tr={}\n".format(HASH, ESCAPED), 0),
    "utf16 big": (("\ufeff" + "\n".join(THE_THREE)).encode("utf-16-be"), 0),
    "utf16 cut off": ("\n".join(THE_THREE + ["x"]).encode("utf-16")[:-1], 1),
    "utf16 array": (json.dumps(THE_THREE).encode("utf-16"), 0),
    "latin1": ("# f\xfcr uns\n{}\n{} # B\xfccher\n{}".format(*THE_THREE).encode("latin-1"), 0),
    "cp1252": ("\x93{}\x94 \x96 \x84{}\x93 \x85 {}".format(*THE_THREE).encode("latin-1"), 0),
    "blank lines": ("\n\n".join(THE_THREE), 0),
    "semicolons": ("; ".join(THE_THREE), 0),
    "pipes": ("|" + "|".join(THE_THREE) + "|", 0),
    "spaces": (" \u3000 ".join(THE_THREE), 0),
    "zero width": ("\u200b" + "\u200b\n\u2060".join(THE_THREE) + "\ufeff", 0),
    "nuls": ("\0".join(THE_THREE).encode(), 0),
    "colours": ("\n".join("\x1b[32m{}\x1b[0m".format(url) for url in THE_THREE), 0),
    "glued thrice": ("".join(THE_THREE), 0),
    "numbered": ("\n".join("{}. {}".format(n, url) for n, url in enumerate(THE_THREE, 1)), 0),
    "numbered tightly": ("1.{}\n2){}\n(3){}".format(*THE_THREE), 0),
    "bullets": ("Trackers:\n* {}\n- {}\n\u2022{}".format(*THE_THREE), 1),
    "quoted": ("'{}'\n\"{}\",\n`{}`".format(*THE_THREE), 0),
    "quoted well": ("\u201c{}\u201d \u00ab{}\u00bb \u2018{}\u2019".format(*THE_THREE), 0),
    "angles": ("\n".join("<{}>".format(url) for url in THE_THREE), 0),
    "bbcode": ("[list][*][url]{}[/url][*][url={}]two[/url]\n[code]{}[/code]".format(*THE_THREE), 0),
    "markdown": ("- [{0}]({0})\n- [two]({1}) up\n- ({2})".format(*THE_THREE), 0),
    "markdown table": (
        "| tracker |\n| --- | --- |\n| {} | 99 % |\n|{}|no|\n| `{}` | yes |".format(*THE_THREE),
        2,
    ),
    "csv": ("url,up,ms\n{},yes,12\n{};no;\n\"{}\",\"yes\",3".format(*THE_THREE), 1),
    "ini": ("[trackers]\nfirst={}\nsecond = {}\nthird: {}".format(*THE_THREE), 1),
    "yaml": ("trackers:\n  - {}\n  - '{}'\n  - \"{}\"\n".format(*THE_THREE), 1),
    "python": ("TRACKERS = ['{}',\n  '{}', \"{}\"]".format(*THE_THREE), 0),
    "escaped line ends": ("{}\\n{}\\n{}\\n".format(*THE_THREE), 0),
    "page source": ("&lt;{}&gt;, &quot;{}&quot;, &#39;{}&#39;".format(*THE_THREE), 0),
    "broken array": ('["{}", "{}", "{}",]'.format(*THE_THREE), 0),
    "array of arrays": (json.dumps([[THE_THREE[:2]], [], [[THE_THREE[2]], 7, None, ""]]), 0),
    "array of texts": (json.dumps(["# mine\n" + "\n".join(THE_THREE), COMMAS + "#"]), 0),
    # The keys of objects are no trackers, and what is no text is nothing.
    "client": (
        json.dumps(
            [{"url": "** [DHT] **", "tier": -1, "msg": ""}]
            + [{"url": url, "tier": 0, "udp://127.0.0.1:1": True} for url in THE_THREE]
        ),
        1,
    ),
    "client with scrape": (
        json.dumps([{"announce": u, "scrape": u.replace("announce", "scrape")} for u in THE_THREE]),
        0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_same_trackers_of_every_kind_of_list(name):
    document, skipped = CASES[name]
    inputs = read_document(document)
    assert [(target.kind, target.given) for target in inputs.targets] == list(
        zip(["udp", "udp", "http"], THE_THREE)
    )
    assert sum(entry.lines for entry in inputs.skipped) == skipped


@pytest.mark.parametrize("name", list(CASES)[:8])
def test_on_standard_input_and_in_a_file(name, tmp_path):
    document, skipped = CASES[name]
    data = document if isinstance(document, bytes) else document.encode("utf-8")
    path = tmp_path / "list"
    path.write_bytes(data)
    script = os.path.join(ROOT, "tracker_checker.py")
    for word, source in ((str(path), str(path)), ("-", "stdin")):
        with open(str(path), "rb") as stdin:
            command = PYTHON + [script, "--format", "compact", "--timeout", "3", word]
            result = run_command(command, stdin=stdin)
        assert [list(entry) for entry in result.json] == [["Udp"], ["Udp"], ["Http"]]
        if skipped:
            warning = only_record(result, "warning")
            assert list(warning) == ["kind", "source", "lines", "message"]
            assert warning["kind"] == "lines_skipped"
            assert (warning["source"], warning["lines"]) == (source, skipped)
        else:
            assert result.stderr == ""


def test_what_works_in_a_list_of_commas(check, tracker, closed_udp_port, tmp_path):
    dead = "udp://{}:{}/announce".format(*closed_udp_port)
    working = [tracker.udp_url + "/announce", tracker.http_url + "/announce"]
    path = write(tmp_path / "aria2.conf", "bt-tracker=" + ",".join([working[0], dead, working[1]]))
    result = check("--fail", "--format", "urls", path)
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout.splitlines() == working


def test_the_warning_shows_the_first_line_that_was_skipped(check):
    text = "# a list\n\n{}\nsee\x1b[31m you\nmore\n".format(UDP_1)
    warning = only_record(check("-", stdin=text), "warning")
    assert warning["lines"] == 2
    assert "see\\x1b[31m you" in warning["message"] and "more" not in warning["message"]
    long = only_record(check("-", stdin="{}\n{}\n".format(UDP_1, "word " * 10000)), "warning")
    assert len(long["message"]) < 300


def test_each_document_has_its_own_warning(check, tmp_path):
    paths = [write(tmp_path / name, "{}\n{}".format(UDP_1, name)) for name in ("one", "two")]
    result = check(*paths)
    warnings = [record["warning"] for record in json_lines(result.stderr)]
    assert [(warning["source"], warning["lines"]) for warning in warnings] == [
        (path, 1) for path in paths
    ]


NO_LISTS = [
    ("404: Not Found", "404: Not Found"),
    ("\r\n  Too Many Requests\n", "Too Many Requests"),
    ("<!DOCTYPE html>\n<html><body>Not here</body></html>", "<!DOCTYPE html>"),
    ("\ufeff\n <html><a href='udp://127.0.0.1:1/announce'>{}</a>".format(HTTP_1), "<html>"),
    ("<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "AccessDenied"),
    ("<", "<"),
    (b"\x1f\x8b\x08\0\0\0\0\0\0\x03udp", "gzip"),
    (b"PK\x03\x04\x14\0\0\0", "PK\\x03\\x04"),
    (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
    (UDP_1.encode("utf-16-le"), "u\\x00d\\x00p"),
    ("see https://example.org/ for trackers", "see https"),
    ("[]", "[]"),
    ('["DHT", 7, {"udp://127.0.0.1:1": ""}]', "DHT"),
    ('{}'.format("[" * 100000), "[[["),
    ("tracker.example.org", "tracker.example.org"),
    ("://127.0.0.1:1", "://127.0.0.1:1"),
    ("- udp://\nhttp://http://", "udp://"),
    ("http://a/,http://b/,words", "http://a/"),
    ("127.0.0.1:99999", "99999"),
    ("udp:127.0.0.1:1", "udp:127"),
    ("\x1b]0;title\x07\u202e404", "404"),
]


@pytest.mark.parametrize("document, shown", NO_LISTS)
def test_what_names_no_tracker_is_a_configuration_error_that_shows_how_it_begins(document, shown):
    with pytest.raises(ValueError) as caught:
        read_document(document)
    assert shown in str(caught.value)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250


@pytest.mark.parametrize("name", tracker_checker.FORMATS)
def test_an_error_page_in_every_format(check, tmp_path, name):
    path = write(tmp_path / "list.txt", "404: Not Found\n")
    result = check("--format", name, path)
    if name == "nagios":
        assert (result.code, result.stderr, result.stdout.count("\n")) == (3, "", 1)
        assert result.stdout.startswith("TRACKERS UNKNOWN") and "404: Not Found" in result.stdout
    else:
        assert (result.code, result.stdout) == (2, "")
        error = only_record(result)
        assert (error["kind"], error["source"]) == ("invalid_configuration", path)
        assert "404: Not Found" in error["message"]


README_TEXT = """\
Trackers [![build](https://ci.example.org/badge.svg)](https://ci.example.org/x)
========
Updated daily, see https://example.org/list and <http://example.org/>. Ask `udp://` first.

    curl -O https://example.org/trackers_all.txt  # or wget http://example.org/a
Mirrors: http://announce.example.org/list.txt, https://example.org/?q=announce#announce
* `udp://127.0.0.1:6969/announce` (works)
* udp://127.0.0.1:6970/announce, and over HTTP http://127.0.0.1:7070/announce
"""


def test_in_prose_nothing_is_asked_that_is_no_tracker():
    inputs = read_document(README_TEXT)
    assert [target.given for target in inputs.targets] == THE_THREE
    assert inputs.skipped[0].lines == 5
    assert inputs.skipped[0].first.startswith("Trackers [![build]")


# A line, and what is found in it.
LINES = [
    ("http://a/", ["http://a/"]),
    ("- http://a/ | https://b:1?x !", ["http://a/", "https://b:1?x"]),
    ("or http://a/", []),
    ("or HTTP://a/x/ANNOUNCE.php?y", ["HTTP://a/x/ANNOUNCE.php?y"]),
    ("http://a/scrape 7 \u00e9", []),
    ("http://user:announce@announce/?announce or", []),
    ("or udp://a ws://b WSS://c", ["udp://a", "ws://b", "WSS://c"]),
    ("http://http://a/", ["http://a/"]),
    ("udp://http://ws://a:1/", ["ws://a:1/"]),
    ("udp:// http://", []),
    ("xudp://a:1 #1", ["udp://a:1"]),
    ("udp://a:1/#b?c#d", ["udp://a:1/#b?c#d"]),
    # Brackets
    ("udp://[::1]:1/", ["udp://[::1]:1/"]),
    ("(udp://[::1]:1)", ["udp://[::1]:1"]),
    ("[[udp://[::1]:1]]", ["udp://[::1]:1"]),
    ("(http://a/(b)/announce)", ["http://a/(b)/announce"]),
    ("http://a/[b](c", ["http://a/[b](c"]),
    ("udp://a:1/(b]c", ["udp://a:1/(b"]),
    ("[http://a/?b=[1]](udp://b:1)", ["http://a/?b=[1]", "udp://b:1"]),
    ("udp://a:1[/url]", ["udp://a:1"]),
    ("http://a/announce?b[/url]", ["http://a/announce?b"]),
    ("udp://a:1/b/[/c]", ["udp://a:1/b/"]),
    # Commas and their like
    ("udp://a:1,,;|udp://b:1,", ["udp://a:1", "udp://b:1"]),
    ("http://a/?b=1,2;3|4", ["http://a/?b=1,2;3|4"]),
    ("http://a/?b=1,2, http://b/?c;", ["http://a/?b=1,2", "http://b/?c"]),
    ("http://a/?b=1,udp://b:1/?x|wss://c/;", ["http://a/?b=1", "udp://b:1/?x", "wss://c/"]),
    ("http://a/?b=1;x", ["http://a/?b=1;x"]),
    ("http://a/?b=1;\u200bx", []),
    ("http://a/?b&amp;c=1&amp;d", ["http://a/?b&c=1&d"]),
    ("udp://a:1/x&amp;y,z", ["udp://a:1/x&y"]),
    ("udp://a:1\uff0cudp://b:1\u3001udp://c:1", ["udp://a:1", "udp://b:1", "udp://c:1"]),
    # One within another
    ("http://a/http://b/", ["http://a/", "http://b/"]),
    ("http://a/?u=http://b/", ["http://a/?u=http://b/"]),
    ("http://a/?http://b/?udp://c:1", ["http://a/?http://b/?udp://c:1"]),
    ("'http://a/?b','http://c/?d'", ["http://a/?b", "http://c/?d"]),
    ('http://a/?b,"http://c/"', ["http://a/?b", "http://c/"]),
    # Magnet links
    ("udp://a:1magnet:?xt=1", ["udp://a:1", "magnet:?xt=1"]),
    ("magnet:?a=udp://b,udp://c,magnet:///?e", ["magnet:?a=udp://b,udp://c", "magnet:///?e"]),
    ("Magnet:?a=1magnet:?b=2, magnet:?c", ["Magnet:?a=1", "magnet:?b=2", "magnet:?c"]),
    ("'magnet:?dn=It's' 'magnet:?b'", ["magnet:?dn=It's", "magnet:?b"]),
    ("magnet:?a http://b/", ["magnet:?a", "http://b/"]),
    ("magnet: magnet:a magnet:// magnet:?", []),
]


@pytest.mark.parametrize("line, found", LINES)
def test_find_trackers(line, found):
    assert find_trackers(line) == found


NOT_SEEN = " \t\v\f\0\x1b\x7f\x85\xa0\xad\u2003\u2028\u200b\u200e\u2060\ufeff"


@pytest.mark.parametrize(
    "end", NOT_SEEN + "\"'`\\<>)],;|\u201c\u201d\u2018\u2019\u00ab\u00bb", ids=ascii
)
def test_a_tracker_ends(end):
    for tracker in ("udp://a:1", "http://a/announce", "wss://[::1]:1/x(y)", "HTTP://a/?b=(c)"):
        assert find_trackers("{0}{1}{0}{1} {1} {0}".format(tracker, end)) == [tracker] * 3
        assert find_trackers(end + tracker + end) == [tracker]


PLAIN = list("-._~:@!$&*+=%#/^{}\u00e9\u4e2d\u0301\U0001f600") + ["(1)", "[1]", "//"]


@pytest.mark.parametrize("plain", PLAIN, ids=ascii)
def test_a_tracker_does_not_end(plain):
    for tracker in ("udp://a:1/x{}y", "http://a/announce{}y", "http://a/announce?x={}y"):
        assert find_trackers("<" + tracker.format(plain) + ">") == [tracker.format(plain)]


@pytest.mark.parametrize(
    "line, given",
    [
        ("127.0.0.1:1", "127.0.0.1:1"),
        (" \u200b[::1]:1/announce?x\ufeff ", "[::1]:1/announce?x"),
        ("tracker.example:80/x\t# mine", "tracker.example:80/x"),
        ("i2p://a.i2p/announce", "i2p://a.i2p/announce"),
        ("ftp://a/b # c", "ftp://a/b"),
        ("udp://", "udp://"),
    ],
)
def test_what_counts_only_alone_in_a_line(line, given):
    assert found_in(line) == [given]
    for more in ("- " + line, line.replace("#", "x #") + ("" if "#" in line else " x")):
        with pytest.raises(ValueError):
            found_in(more)


@pytest.mark.parametrize(
    "line, found",
    [
        ("#" + UDP_1, []),
        (" \u200b# " + UDP_1, []),
        (UDP_2 + " #" + UDP_1, [UDP_2]),
        (UDP_2 + "\xa0#" + UDP_1, [UDP_2]),
        (UDP_2 + "/#" + UDP_1, [UDP_2 + "/#", UDP_1]),
        ("'#" + UDP_1, [UDP_1]),
        ("a#b # " + UDP_1, []),
    ],
)
def test_comments(line, found):
    assert found_in("udp://127.0.0.1:3\n" + line) == ["udp://127.0.0.1:3"] + found


# An argument, and the trackers that it is.
ENTRIES = [
    (UDP_1, [UDP_1]),
    ("\ufeff\0 {}\u200b\r\n\0".format(UDP_1), [UDP_1]),
    ("{} {}\n{}".format(UDP_1, UDP_2, HTTP_1), [UDP_1, UDP_2, HTTP_1]),
    ("{},{}; {} |".format(UDP_1, UDP_2, HTTP_1), [UDP_1, UDP_2, HTTP_1]),
    (UDP_1 + HTTP_1, [UDP_1, HTTP_1]),
    ("http://" + HTTP_1, [HTTP_1]),
    ("http://udp://http://" + HTTP_1, [HTTP_1]),
    (HTTP_1 + "?a=1,2", [HTTP_1 + "?a=1,2"]),
    (HTTP_1 + "?a=" + HTTP_2, [HTTP_1 + "?a=" + HTTP_2]),
    (HTTP_1 + "?a=1;" + HTTP_2, [HTTP_1 + "?a=1", HTTP_2]),
    (HTTP_1 + "?a=1&amp;b=2", [HTTP_1 + "?a=1&b=2"]),
    ("127.0.0.1:7 " + UDP_1, ["127.0.0.1:7", UDP_1]),
    # What is no tracker is not made one.
    ("http://a b/announce", ["http://a b/announce"]),
    ("x" + UDP_1, ["x" + UDP_1]),
    ("({})".format(UDP_1), ["({})".format(UDP_1)]),
    (UDP_1 + " # mine", [UDP_1 + " # mine"]),
    ("udp://", ["udp://"]),
    ("i2p://a/b", ["i2p://a/b"]),
]


@pytest.mark.parametrize("text, expected", ENTRIES)
def test_trackers_in_an_argument_a_tr_and_an_announce_entry(tmp_path, text, expected):
    assert split_entry(text) == expected
    assert collect(text) == expected
    in_hex = "".join("%{:02X}".format(byte) for byte in text.encode())
    assert collect("magnet:?xt=urn:btih:{}&tr={}".format(HASH, in_hex)) == expected
    for content in ({b"announce": text.encode()}, {b"announce-list": [[text.encode()]]}):
        data = bencode.encode({**content, b"info": INFO})
        assert collect(write(tmp_path / "a.torrent", data)) == expected


def test_no_two_trackers_are_one(check):
    result = check("--format", "ndjson", UDP_1 + "/announce" + UDP_2, "--fail")
    assert result.code == 1
    assert [record["tracker"] for record in json_lines(result.stdout)] == [
        UDP_1 + "/announce", UDP_2,
    ]
    for text in (UDP_1 + "/announce" + UDP_2, "http://" + HTTP_1):
        with pytest.raises(ValueError, match="several schemes"):
            tracker_checker.parse_tracker(text)


def test_an_address_of_the_other_family_in_an_argument_of_several(check):
    for text in (UDP_1 + ",udp://[::1]:1", "\ufeff127.0.0.1:1 udp://[::1]:1 "):
        for option in ("-4", "-6"):
            result = check(option, text)
            assert (result.code, result.stdout) == (2, "")
            assert "is not an IPv" in result.stderr
    assert check("-4", json.dumps({"udp_trackers": ["[::1]:1", UDP_1]})).code == 0


def test_arguments_with_what_is_not_seen_around_them(trackers, tmp_path):
    write(tmp_path / "list.txt", UDP_3)
    words = [" {}\n".format(UDP_1), "\ufeff127.0.0.1:2\u200b", "list.txt\r"]
    assert trackers(*words, cwd=str(tmp_path)) == sorted([UDP_1, "127.0.0.1:2", UDP_3])


def test_a_file_is_found_by_its_name_as_it_is(tmp_path):
    assert collect(write(tmp_path / "list \u200b", UDP_1)) == [UDP_1]


# Whatever stands around and between trackers.


BETWEEN = [
    " ", "\t", "\u200b", "\xa0", "\0", '"', "'", "`", "\\", "<", ">", ")", "]", "\u201d", "\n",
    "\r\n", " | ", ", ", "; ", '", "', "](", "> <", ") - (", "&quot; ", "\ufeff\n",
]
# These end a path, and a query only right before the next.
COMMA_LIKE = [",", ";", "|", ",,", ";|"]
WORDS = [
    "", "", "1. ", "- ", "* ", "bt-tracker=", "up ", "(", "[", "see: ", "99% ", "\u4e2d\u6587 ",
]
SCHEMES = ["udp", "http", "https", "ws", "wss", "UDP", "Http"]
HOSTS = ["a", "tracker.example.org", "[2001:db8::1]", "127.0.0.1", "b\u00fccher.example"]


def random_tracker(rng):
    scheme, host = rng.choice(SCHEMES), rng.choice(HOSTS)
    path = rng.choice(["/announce", "/x/announce.php", "/(a)/announce", "/announce/[b]"])
    query = rng.choice(["", "", "?key=1", "?a=1,2;b", "?u=http://c/d", "?a=(b)&c"])
    return "{}://{}:{}{}{}".format(scheme, host, rng.randint(1, 65535), path, query)


def random_text(rng, trackers):
    """Returns trackers with separators and words around and between them."""
    text = rng.choice(WORDS)
    for tracker in trackers:
        text += tracker
        kind = rng.randrange(4)
        if kind == 0 and "?" not in tracker:
            continue
        if kind == 1:
            text += rng.choice(COMMA_LIKE)
        else:
            text += "".join(rng.choice(BETWEEN) for _ in range(rng.randint(1, 3)))
            text += rng.choice(WORDS)
    return text


@pytest.mark.parametrize("seed", range(20))
def test_what_stands_around_and_between_trackers_changes_nothing(seed):
    rng = random.Random(seed)
    for _ in range(100):
        trackers = [random_tracker(rng) for _ in range(rng.randint(1, 6))]
        text = random_text(rng, trackers)
        found = [url for line in text.splitlines() for url in find_trackers(line)]
        assert found == trackers, repr(text)
        distinct = {tracker_checker.tracker_or_unsupported(url).key for url in trackers}
        inputs = read_document(rng.choice(["", "\ufeff", "\n"]) + text)
        assert {target.key for target in inputs.targets} == distinct
        assert len(inputs.targets) + inputs.given_twice == len(trackers)


LONG = [
    "a", "udp://", "udp://a:1 ", "http://a/?http://", "http://a/?x, ", ",", "(", "()", "\t#", " ",
    "magnet:?", "magnet:?x=udp://a:1,", "://", "'", "&amp;", "\u200b", "\u00e9", "[/", "a:1\n",
]


@pytest.mark.parametrize("piece", LONG, ids=repr)
def test_time_grows_with_the_length_and_no_faster(piece):
    def seconds(length):
        text = piece * (length // len(piece))
        started = time.process_time()
        for read, document in ((read_document, text), (read_words, "http://a/?" + text + "x")):
            try:
                read(document)
            except (ValueError, tracker_checker.ConfigurationError):
                pass
        return time.process_time() - started

    # Sixteen times as much takes some sixteen times as long; what is quadratic, 256 times.
    short = max(seconds(10000), 0.002)
    assert seconds(160000) < 100 * short


# Configuration errors.


def test_nothing_at_all(refused):
    source, message = refused()
    assert source == "argument"
    assert "TORRUST_CHECKER_CONFIG" in message
    assert refused(env={"TORRUST_CHECKER_CONFIG": "", "TORRUST_CHECKER_CONFIG_PATH": ""})[0] == (
        "argument"
    )


@pytest.mark.parametrize(
    "word, missing",
    [
        ("tracker.example.org", "the port or the scheme is missing"),
        ("missing.txt", "no file"),
        ("127.0.0.1:99999", "'99999'"),
        ("just words", "spaces"),
        ("", "host"),
        ("\u200b", "host"),
    ],
)
def test_an_argument_that_is_nothing(refused, tmp_path, word, missing):
    source, message = refused(word, cwd=str(tmp_path))
    assert source == "argument"
    assert repr(word) in message and missing in message


def test_a_configuration_whose_quotes_a_shell_took(refused):
    assert "quotes" in refused("{udp_trackers:[127.0.0.1:1]}")[1]
    assert "quotes" not in refused('{"udp_trackers":[127.0.0.1:1]}')[1]


@pytest.mark.parametrize(
    "text", [UDP_1 + "\n" + HTTP_1, "127.0.0.1:1", '["{}"]'.format(UDP_1), "\ufeff# a list\n", "de"]
)
def test_a_list_for_a_configuration_is_told_where_it_belongs(refused, tmp_path, text):
    path = write(tmp_path / "list.txt", text)
    for arguments, env, source in (
        (["-c", path], None, path),
        ([], {"TORRUST_CHECKER_CONFIG_PATH": path}, path),
        ([], {"TORRUST_CHECKER_CONFIG": text}, "TORRUST_CHECKER_CONFIG"),
    ):
        found, message = refused(*arguments, env=env)
        assert found == source
        assert "INPUT" in message and "without -c" in message


def test_nothing_to_check_is_no_success(check, tmp_path):
    path = write(tmp_path / "empty.json", '{"udp_trackers": []}')
    for option in ("--fail", "--fail-partial"):
        for word, source in (("{}", "argument"), (path, path)):
            result = check(word, option)
            assert (result.code, result.stdout) == (2, "")
            error = only_record(result)
            assert (error["source"], error["message"]) == (source, "nothing to check")
        assert check("{}", option, "--format", "nagios").code == 3
        assert check("{}", "--health", HEALTH_1, option).code == 1
    assert check("{}").stdout == "[]\n"


@pytest.mark.parametrize(
    "configuration, named",
    [
        ({"udp_tracker": []}, "'udp_tracker'"),
        ({"udp_trackers": [UDP_1], "timeout": 3}, "'timeout'"),
        ({"udp_trackers": UDP_1}, "udp_trackers"),
        ({"udp_trackers": None}, "udp_trackers"),
        ({"http_trackers": {"0": HTTP_1}}, "http_trackers"),
        ({"health_checks": 7}, "health_checks"),
        ({"udp_trackers": [UDP_1, 7]}, "udp_trackers[1]"),
        ({"http_trackers": [None]}, "http_trackers[0]"),
        ({"health_checks": [[HEALTH_1]]}, "health_checks[0]"),
        ({"udp_trackers": [UDP_1, "127.0.0.1"]}, "udp_trackers[1] '127.0.0.1'"),
        ({"udp_trackers": [HTTP_1]}, "udp_trackers[0] {!r}".format(HTTP_1)),
        ({"udp_trackers": [""]}, "udp_trackers[0] ''"),
        ({"udp_trackers": ["udp://a b:1"]}, "udp_trackers[0] 'udp://a b:1'"),
        ({"http_trackers": [HTTP_1, UDP_1]}, "http_trackers[1] {!r}".format(UDP_1)),
        ({"http_trackers": ["127.0.0.1:1"]}, "'127.0.0.1:1': http://, https://, ws:// or wss:// is"),
        ({"http_trackers": ["udp://127.0.0.1:1"]}, "http_trackers[0] 'udp://127.0.0.1:1'"),
        ({"http_trackers": ["http://[::1"]}, "http_trackers[0] 'http://[::1'"),
        ({"health_checks": ["127.0.0.1:1"]}, "health_checks[0] '127.0.0.1:1'"),
        ({"health_checks": [UDP_1]}, "health_checks[0] {!r}".format(UDP_1)),
        ({"health_checks": ["http://127.0.0.1:99999/"]}, "health_checks[0] "),
        ({"udp_trackers": [UDP_1 + "," + UDP_2]}, "udp_trackers[0] "),
        ({"udp_trackers": [UDP_1 + "/announce" + UDP_2]}, "several schemes"),
        ({"http_trackers": [HTTP_1 + "," + HTTP_2]}, "several schemes"),
        ({"http_trackers": [HTTP_1, "http://" + HTTP_2]}, "http_trackers[1] "),
        ({"health_checks": [HEALTH_1 + ";" + HEALTH_1]}, "several schemes"),
    ],
)
def test_what_is_wrong_in_a_configuration_is_named(configuration, named):
    with pytest.raises(tracker_checker.ConfigurationError) as caught:
        collect(TORRUST_CHECKER_CONFIG=json.dumps(configuration))
    assert caught.value.source == "TORRUST_CHECKER_CONFIG"
    assert named in str(caught.value)


def test_a_key_that_stands_twice_is_an_error(refused):
    text = '{{"udp_trackers": ["{}"], "udp_trackers": ["{}"]}}'.format(UDP_1, UDP_2)
    source, message = refused(text)
    assert source == "argument"
    assert "'udp_trackers'" in message


def test_a_list_may_begin_with_a_host_that_looks_like_bencode(tmp_path):
    for lines in (["d1:6969", "d12:80"], ["d1:80", "udp://d2:80"], ["d2:80/announce"]):
        assert collect(write(tmp_path / "list", "\n".join(lines))) == lines


def test_a_torrent_whose_first_key_is_a_digit_is_no_list(tmp_path):
    raw = torrent_bytes([UDP_1], INFO).replace(b"d8:announce", b"d1:0i1e8:announce", 1)
    assert collect(write(tmp_path / "torrent", raw)) == [UDP_1]


def test_an_error_names_the_entry_and_what_is_expected(refused):
    text = json.dumps({"udp_trackers": [UDP_1, "127.0.0.1"]})
    source, message = refused(env={"TORRUST_CHECKER_CONFIG": text})
    assert source == "TORRUST_CHECKER_CONFIG"
    assert "udp_trackers[1] '127.0.0.1'" in message
    assert "udp://host:port is expected" in message


BROKEN = '{\n  "udp_trackers": [\n    "127.0.0.1:1"\n    "127.0.0.1:2"\n  ]\n}'


def test_sources_are_named(refused, tmp_path):
    path = write(tmp_path / "checker.json", BROKEN)
    for arguments, settings, source in (
        ([], {"env": {"TORRUST_CHECKER_CONFIG": BROKEN}}, "TORRUST_CHECKER_CONFIG"),
        ([], {"env": {"TORRUST_CHECKER_CONFIG_PATH": path}}, path),
        (["-c", path], {}, path),
        ([path], {}, path),
        (["-"], {"stdin": BROKEN}, "stdin"),
        ([BROKEN], {}, "argument"),
    ):
        found, message = refused(*arguments, **settings)
        assert found == source
        assert "line 4, column 5" in message


@pytest.mark.parametrize(
    "text, lines",
    [
        ('{\n  "udp_trackers": ["127.0.0.1:1"],\n}', (2, 3)),
        ('{"udp_trackers": ["127.0.0.1:1" , \t] }', (1,)),
    ],
)
def test_a_trailing_comma_is_called_so_on_every_python(refused, pythons, text, lines):
    for version, python in pythons.items():
        source, message = refused(text, python=python)
        assert "trailing comma" in message, version
        # Python points at the comma or at the bracket after it.
        assert any("line {}, column ".format(number) in message for number in lines), version


@pytest.mark.parametrize(
    "text",
    [
        '{"udp_trackers": ["127.0.0.1:1"],}',
        '{"udp_trackers": ["127.0.0.1:1",]}',
        '{"udp_trackers": ["127.0.0.1:1"\r\n,\r\n]}',
        '{"udp_trackers": ["127.0.0.1:1",\n\n],\n}',
    ],
)
def test_trailing_commas(text):
    with pytest.raises(tracker_checker.ConfigurationError, match="line.*column.*trailing comma"):
        collect(text)


@pytest.mark.parametrize(
    "text",
    ['{"udp_trackers": ["a:1" "b:2"]}', '{"udp_trackers" []}', "{", '{"a": 1', "{]", "{} {", "{}x"],
)
def test_other_faults_are_no_trailing_comma(text):
    with pytest.raises(tracker_checker.ConfigurationError) as caught:
        collect(text)
    assert "trailing comma" not in str(caught.value)
    assert "line 1, column " in str(caught.value)


def test_deep_nesting(refused, pythons):
    text = '{"udp_trackers": ' + "[" * 100000
    for python in pythons.values():
        source, message = refused("-", stdin=text, python=python)
        assert source == "stdin"
        assert message


@pytest.mark.parametrize("text", ["[]", "7", "null", '"udp://127.0.0.1:1"', UDP_1, " "])
def test_a_configuration_is_an_object(refused, tmp_path, text):
    path = write(tmp_path / "checker.json", text)
    assert refused("-c", path)[0] == path
    assert refused(env={"TORRUST_CHECKER_CONFIG": text})[0] == "TORRUST_CHECKER_CONFIG"


@pytest.mark.parametrize("digits", [4000, 5000])
def test_a_number_of_many_digits_is_only_a_wrong_type(refused, digits):
    assert refused('{"udp_trackers": ' + "1" * digits + "}")[0] == "argument"


def test_a_directory(refused, tmp_path):
    for arguments, settings in (
        ([str(tmp_path)], {}),
        (["-c", str(tmp_path)], {}),
        ([], {"env": {"TORRUST_CHECKER_CONFIG_PATH": str(tmp_path)}}),
    ):
        source, message = refused(*arguments, **settings)
        assert source == str(tmp_path)
        assert "directory" in message


def test_a_missing_file(refused, tmp_path):
    path = str(tmp_path / "missing.json")
    for arguments, settings in (
        (["-c", path], {}),
        ([], {"env": {"TORRUST_CHECKER_CONFIG_PATH": path}}),
    ):
        source, message = refused(*arguments, **settings)
        assert source == path
        assert "No such file" in message


def unreadable_file(folder):
    """Returns a file that is there but cannot be read, not by root either."""
    if os.geteuid() == 0:
        return "/proc/self/mem"
    path = folder / "secret.txt"
    path.write_text(UDP_1)
    path.chmod(0)
    return str(path)


def test_an_unreadable_file(refused, tmp_path):
    path = unreadable_file(tmp_path)
    for arguments in ([path], ["-c", path]):
        source, message = refused(*arguments)
        assert source == path
        assert "cannot be read" in message


@pytest.mark.parametrize("text", ["", "\n\n", "\ufeff", "# only\n# comments\n", " \t\r\n"])
def test_nothing_in_a_list(refused, tmp_path, text):
    path = write(tmp_path / "list.txt", text)
    assert refused(path)[0] == path
    assert refused("-", stdin=text)[0] == "stdin"


def test_a_gigabyte_of_zeros_is_an_error_soon_and_with_little_memory(tmp_path):
    path = str(tmp_path / "zeros")
    with open(path, "wb") as file:
        file.truncate(1 << 30)
    for arguments in ([path], ["-c", path]):
        result, usage = run_measured("tracker_checker.py", *arguments)
        assert (result.code, result.stdout) == (2, "")
        assert only_record(result)["source"] == path
        assert usage.ru_utime + usage.ru_stime < 5
        assert usage.ru_maxrss < 200 * 1024


def test_a_file_of_zeros_is_no_list(refused, tmp_path):
    path = write(tmp_path / "zeros", bytes(1 << 20))
    assert refused(path)[0] == path


def test_standard_input_that_is_closed():
    script = os.path.join(ROOT, "tracker_checker.py")
    result = run_command(["sh", "-c", 'exec "$@" - <&-', "sh"] + PYTHON + [script])
    assert (result.code, result.stdout) == (2, "")
    assert only_record(result)["source"] == "stdin"


def test_nagios_says_unknown_on_stdout(check, tmp_path):
    path = write(tmp_path / "a|b.json", BROKEN)
    result = check("--format", "nagios", "-c", path)
    assert result.code == 3
    assert result.stdout.startswith("TRACKERS UNKNOWN - ")
    assert result.stdout.count("\n") == 1
    assert "line 4, column 5" in result.stdout
    assert "|" not in result.stdout


def test_an_error_is_one_line_whatever_is_in_it(check, tmp_path):
    hostile = "\x1b[31m\u202e\nudp_trackers"
    result = check(json.dumps({hostile: []}))
    assert result.code == 2
    assert result.stderr.count("\n") == 1
    assert result.stderr.isascii()
    assert json.loads(result.stderr)["error"]["kind"] == "invalid_configuration"
    result = check("--format", "nagios", json.dumps({hostile: []}))
    assert result.code == 3
    assert result.stdout.count("\n") == 1
    assert result.stdout.rstrip("\n").isprintable()


# Wrong usage.


@pytest.mark.parametrize(
    "arguments, named",
    [
        (["--format", "xml"], "xml"),
        (["--timeout", "0"], "0"),
        (["--timeout", "nan"], "nan"),
        (["--timeout", "86401"], "86401"),
        (["--info-hash", "abc"], "abc"),
        (["--health", "udp://127.0.0.1:1"], "udp"),
        (["--health", "no url"], "no url"),
        (["--unknown"], "--unknown"),
        (["--output"], "output"),
        (["-4", "-6"], "-"),
        (["monitor", "--interval", "0"], "0"),
        (["monitor", "--duration", "soon"], "soon"),
        (["monitor", "--format", "prometheus"], "--output"),
        (["--no-announce", "--no-scrape"], "--no-"),
    ],
)
def test_a_usage_error_is_one_line(run_script, tracker, arguments, named):
    command = ["monitor"] if arguments[0] == "monitor" else []
    options = arguments[len(command) :]
    result = run_script("tracker_checker.py", *command, tracker.udp_url, *options)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("tracker_checker.py: error: ")
    assert result.stderr.count("\n") == 1
    assert "--help" in result.stderr
    assert named in result.stderr
    assert not tracker.requests


def test_monitor_that_does_not_come_first(run_script, tmp_path):
    def run(*arguments):
        return run_script("tracker_checker.py", *arguments, cwd=str(tmp_path))

    for arguments in ([UDP_1, "monitor"], ["--timeout", "1", UDP_1, "monitor", "--interval", "5"]):
        result = run(*arguments)
        assert (result.code, result.stdout) == (2, "")
        assert "has to come first: tracker_checker.py monitor INPUT [options] (see --help)" in (
            result.stderr
        )
    # What is no option of it either is named before that.
    assert "no option --intervall; did you mean" in run(UDP_1, "monitor", "--intervall", "5").stderr
    write(tmp_path / "monitor", UDP_2)
    result = run(UDP_1, "monitor", "--format", "urls")
    assert (result.code, result.stderr) == (0, "")


def test_help_and_version(check):
    for arguments in (["--help"], ["monitor", "--help"], ["-h"]):
        result = check(*arguments)
        assert (result.code, result.stderr) == (0, "")
        assert "examples:" in result.stdout
    assert check("--version").stdout.startswith("tracker_checker.py ")
