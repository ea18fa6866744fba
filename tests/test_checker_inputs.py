# SPDX-License-Identifier: LGPL-3.0-only
"""What tracker_checker.py takes as input, in every kind and mix, and what it says of bad input.

Trackers that only have to be told apart are at ports of 127.0.0.1 that refuse at once.
"""

import base64
import hashlib
import json
import os

import bencode
import pytest
import tracker_checker
from helpers import PYTHON, ROOT, json_lines, only_record, run_command, run_measured

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


def collect(*words, **environ):
    """Returns the distinct trackers of inputs, in their order, without checking them."""
    inputs = tracker_checker.read_inputs(list(words), None, [], environ)
    return [target.given for target in inputs.targets]


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
def test_lists(trackers, tmp_path, text):
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
        json.dumps(CONFIGURATION),
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
    ],
)
def test_odd_torrents(tmp_path, content):
    data = bencode.encode({**content, b"info": INFO})
    assert collect(write(tmp_path / "a.torrent", data)) == [UDP_1]


@pytest.mark.parametrize(
    "data, word",
    [
        (torrent_bytes([], INFO), "tracker"),
        (torrent_bytes([UDP_1], INFO)[:-30], "offset"),
        (torrent_bytes([UDP_1], INFO) + b"x", "offset"),
        (bencode.encode({b"announce": UDP_1.encode()}), "info"),
        (bencode.encode({b"announce": UDP_1.encode(), b"info": b"no dictionary"}), "info"),
        (b"d8:announce" + b"l" * 100000 + b"e", "deep"),
    ],
    ids=["no announce", "cut off", "trailing bytes", "no info", "info of a wrong type", "deep"],
)
def test_a_bad_torrent_is_a_configuration_error(refused, tmp_path, data, word):
    path = write(tmp_path / "a.torrent", data)
    source, message = refused(path)
    assert source == path
    assert word in message


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
    assert asked_hash("magnet:?xt=urn:btih:" + HASH, tracker.udp_url) == HASH


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
    "wss://127.0.0.1:1/announce",
    "ws://127.0.0.1:1",
    "i2p://tracker.i2p/announce",
    "udp://127.0.0.1",
    "udp://127.0.0.1:0",
    "udp://127.0.0.1:65536",
    "udp://127.0.0.1:1 # the best",
    "http://",
    "http://a b/announce",
    "http://[::1/announce",
    "http://127.0.0.1:1\\announce",
    "udp://::1:6969",
    "://127.0.0.1:1",
    "tracker.example.org",
    "just words",
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
    result = check("wss://127.0.0.1:1/announce")
    assert "'wss'" in result.json[0]["Unsupported"]["Err"]["results"][0][1]["Err"]


@pytest.mark.parametrize("given", ["wss://127.0.0.1:1", "udp://127.0.0.1", "http://a b"])
def test_arguments_magnets_and_torrents_too(check, tmp_path, given):
    torrent = write(tmp_path / "a.torrent", torrent_bytes([given], INFO))
    magnet = "magnet:?xt=urn:btih:{}&tr={}".format(HASH, given.replace(" ", "%20"))
    for arguments in ([given], [magnet], [torrent], [given, magnet, torrent]):
        result = check("--format", "ndjson", *arguments)
        assert result.code == 0
        record = json.loads(result.stdout)
        assert (record["tracker"], record["kind"]) == (given, "unsupported")
        assert record["status"] == "error"
        assert record["message"]


# Configuration errors.


def test_nothing_at_all(refused):
    source, message = refused()
    assert source == "argument"
    assert "TORRUST_CHECKER_CONFIG" in message
    assert refused(env={"TORRUST_CHECKER_CONFIG": "", "TORRUST_CHECKER_CONFIG_PATH": ""})[0] == (
        "argument"
    )


@pytest.mark.parametrize("word", ["tracker.example.org", "missing.txt", "127.0.0.1:99999", ""])
def test_an_argument_that_is_nothing(refused, tmp_path, word):
    source, message = refused(word, cwd=str(tmp_path))
    assert source == "argument"
    assert repr(word) in message


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
        ({"http_trackers": ["127.0.0.1:1"]}, "'127.0.0.1:1': http://host or https://host is"),
        ({"http_trackers": ["wss://127.0.0.1:1"]}, "http_trackers[0] 'wss://127.0.0.1:1'"),
        ({"http_trackers": ["http://[::1"]}, "http_trackers[0] 'http://[::1'"),
        ({"health_checks": ["127.0.0.1:1"]}, "health_checks[0] '127.0.0.1:1'"),
        ({"health_checks": [UDP_1]}, "health_checks[0] {!r}".format(UDP_1)),
        ({"health_checks": ["http://127.0.0.1:99999/"]}, "health_checks[0] "),
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
    for lines in (["d1:6969", "d12:80"], ["d1:example.org", "udp://d2:80"], ["d2:80/announce"]):
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
    "text", ['{"udp_trackers": ["a:1" "b:2"]}', '{"udp_trackers" []}', "{", '{"a": 1', "{]", "{} {"]
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


def test_a_file_that_is_not_utf8(refused, tmp_path):
    listed = write(tmp_path / "list.txt", b"# trackers\nudp://127.0.0.1:1\nudp://b\xfccher:1\n")
    configuration = write(tmp_path / "checker.json", b'{"udp_trackers":\n["b\xfccher:1"]}')
    source, message = refused(listed)
    assert source == listed
    assert "line 3" in message and "UTF-8" in message
    for arguments in ([configuration], ["-c", configuration]):
        source, message = refused(*arguments)
        assert source == configuration
        assert "line 2" in message and "UTF-8" in message
    windows = write(tmp_path / "utf16.txt", UDP_1.encode("utf-16"))
    assert "UTF-8" in refused(windows)[1]


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


def test_help_and_version(check):
    for arguments in (["--help"], ["monitor", "--help"], ["-h"]):
        result = check(*arguments)
        assert (result.code, result.stderr) == (0, "")
        assert "examples:" in result.stdout
    assert check("--version").stdout.startswith("tracker_checker.py ")
