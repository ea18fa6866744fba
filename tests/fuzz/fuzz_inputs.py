# SPDX-License-Identifier: LGPL-3.0-only
"""What people give to the scripts: documents, arguments, URLs, words of a command line.

A case is (what it is, the text or the bytes or the words).
"""
import argparse
import io
import json
import re
import sys

import bencode
import http_tracker_client as http
import tracker_checker as checker
import udp_tracker_client as udp
from mutate import BYTES, TEXTS, below, hostile_text, mutate, pick, random_bytes

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
BASE32 = "TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC"
V2 = "1220" + HASH + HASH[:24]

SCHEMES = ["udp", "http", "https", "HTTP", "ws", "wss", "ftp", "file", "", "1http", "h_t", "magnet"]
HOSTS = [
    "tracker.example.org", "127.0.0.1", "[2001:db8::1]", "[fe80::1%25eth0]", "[::1", "::1", "A.b",
    "b\u00fccher.example", "\u30c8\u30e9\u30c3\u30ab\u30fc.example", "a..b", ".", "a.", "-",
    "xn--bcher-kva.example", "localhost", "1", "0x7f.1", "256.1.1.1", "a" * 64, "a." * 130, "_",
    "\uff0e\uff11", "a\u3002b", "[::ffff:1.2.3.4]", "".join(map(chr, range(0x4e00, 0x7ce0))),
]
PORTS = ["", ":", ":80", ":6969", ":0", ":65535", ":65536", ":-1", ":\u0661", ":80:80", ":1e3"]
PATHS = [
    "", "/", "/announce", "/scrape", "/announce.php?a=b", "/KEY/announce", "/announce/KEY", "?a=b",
    "/x/scrape.php", "/announcement", "//announce", "/%0d%0a", "/\u00fc?\u00fc#\u00fc", "#frag",
    "/announce?", "/ann?passkey=\u20ac&x", "/scrape/../announce", "/a b", "/a\r\nX: y", "/\\",
]
CREDENTIALS = ["", "", "", "user:pass@", "@", "user@", "a:b:c@", "\u00fc:\u00fc@", "a@b@"]
MAGNET = "magnet:?xt=urn:btih:{}&dn=a%20name&tr=udp%3A%2F%2Fa.example%3A1&tr.1=http%3A%2F%2Fb.test"
HASHES = [
    HASH, HASH.upper(), BASE32, BASE32.lower(), V2[4:], "urn:btih:" + HASH, "urn:btmh:" + V2, "",
    HASH[:-1], HASH + "0", "g" * 40, "1" * 32, MAGNET.format(HASH), MAGNET.format(BASE32),
    "magnet:?xt=urn:btmh:" + V2, "magnet:?xt.1=urn%3Abtih%3A" + HASH, "magnet:?tr=udp://a:1",
    "\u0661" * 40, "magnet:?xt=urn:btmh:{}&xt=urn:btih:{}".format(V2, HASH),
]
CONFIGURATIONS = [
    '{"udp_trackers": ["127.0.0.1:6969"], "http_trackers": ["http://127.0.0.1:7070"], '
    '"health_checks": ["http://127.0.0.1:1212/api/health_check"]}',
    '{"udp_trackers": []}', "{}", '{"udp_trackers": ["127.0.0.1:6969",]}', '{"udp_trackers": [1]}',
    '{"unknown": []}', '{"http_trackers": "http://a/"}', '{"http_trackers": {"a": 1}}', "{" * 3000,
    '{"udp_trackers": [' * 3000, '{"a": NaN}', '{"a": 1e999}', '{"a": ' + "9" * 5000 + "}",
    '{"health_checks": ["ftp://a/"]}', '{"udp_trackers": ["\\ud800:1"]}', '\ufeff{"a": 1}',
]
# What stands between trackers in a list of any shape, and where another of them begins.
BETWEEN = [
    "", " ", ",", ", ", ";", "|", '", "', "'", "`", "<", ">", ")", "](", "[/", " # ", "\u200b", "\n",
    "\r\n", "\0", "\\n", "&amp;", "&quot;", "?", "=", "http://", "magnet:?", " see ",
]
SCHEME = re.compile(r"(?:udp|https?|wss?)://", re.IGNORECASE | re.ASCII)
JSON_PIECES = TEXTS + list('{}[]",:') * 4 + ["udp_trackers", "\\u0000", "\\ud800", "\\", "null"]
WORDS = (
    "announce scrape monitor swarms udp check --min-seeders --event started none --key -4 -6 --ipv4 --peer-id -v "
    "-h --help --version --timeout 5 0 nan 1e5 86401 --format json table compact nope "
    "--uploaded -1 --left 9223372036854775808 --port 65536 --ip-address 1.2.3.4 --header "
    "Name:value --user-agent x y: --peer-addr ::1 --compact 1 --no-scrape --no-announce "
    "--fail -c -o out -oout -vo --jobs 7 -- - --url --interval --duration --info-hash "
    "--health --numwant --no-progress --all-addresses --tracker-id id --insecure -x --= =x "
    "--key=-4 --format=json"
).split() + [HASH, "udp://127.0.0.1:1", "http://127.0.0.1:1/announce", "127.0.0.1:1", ""]

PARSERS = [
    udp.parse_info_hash, udp.parse_peer_id, udp.parse_ipv4, udp.parse_tracker,
    udp.whole_number(-1, 2 ** 31 - 1), http.parse_header, http.parse_header_value,
    http.parse_peer_addr, checker.parse_tracker,
    checker.parse_health,
]


def parser_of(client, command):
    """Returns the parser that a client has for a command."""
    parser = client.new_parser("command", "", "", "")
    client.COMMANDS[command][0](parser)
    client.add_format_option(parser)
    client.add_network_options(parser, timeout=5)
    return parser


COMMANDS = [parser_of(client, name) for client in (udp, http) for name in ("announce", "scrape")]
COMMANDS += [checker.parser_for(command, "command") for command in checker.COMMANDS]


def make_url(rng):
    text = "".join(pick(rng, part) for part in (SCHEMES, ["://"], CREDENTIALS, HOSTS, PORTS, PATHS))
    if not below(rng, 8):
        text = text.partition("://")[2]
    return mutate(rng, text, TEXTS) if not below(rng, 4) else text


def plain_url(rng):
    """Returns a URL that can be checked, as a rule."""
    scheme = pick(rng, ("udp", "http", "https", "ws", "wss"))
    return "{}://{}:6969{}".format(scheme, pick(rng, HOSTS[:3]), pick(rng, PATHS[:6]))


def make_torrent(rng):
    urls = [make_url(rng).encode("utf-8", "replace") for _ in range(below(rng, 4))]
    info = {b"name": b"a", b"length": 9, b"piece length": 16384, b"pieces": random_bytes(rng, 20)}
    if not below(rng, 3):
        info = {b"meta version": 2, b"file tree": {}, b"piece length": 16384}
    torrent = {b"announce": pick(rng, urls or [b""]), b"announce-list": [urls[:1], urls[1:]]}
    torrent[b"info"] = info
    if not below(rng, 4):
        torrent[pick(rng, list(torrent))] = pick(rng, (1, b"", [], {}, [b"udp://a:1"], [[1, []]]))
    data = bencode.encode(torrent)
    return mutate(rng, data, BYTES) if not below(rng, 2) else data


def make_document(rng):
    kind = below(rng, 6)
    if kind == 0:
        return make_torrent(rng)
    if kind == 1:
        text = make_json(rng)
    elif kind == 2:
        text = make_list(rng)
    elif kind == 3:
        text = json.dumps([make_list(rng), {"url": plain_url(rng), "tier": 1}, [make_url(rng)]])
    else:
        lines = [pick(rng, (make_url, plain_url))(rng) for _ in range(below(rng, 6))]
        lines += [make_magnet(rng), "# " + hostile_text(rng)] if not below(rng, 4) else []
        text = pick(rng, ("\n", "\r\n", "\r", "\n\n")).join(lines)
        if not below(rng, 4):
            text = mutate(rng, text, TEXTS)
    encoding = "utf-8" if below(rng, 8) else "utf-16"
    data = text.encode(encoding, pick(rng, ("replace", "surrogatepass")))
    return mutate(rng, data, BYTES) if not below(rng, 6) else data


def make_hashes(rng):
    """Returns a list of torrents, with trackers among them."""
    lines = [
        pick(rng, HASHES) if below(rng, 3) else pick(rng, (make_magnet, plain_url, make_list))(rng)
        for _ in range(1 + below(rng, 6))
    ]
    text = pick(rng, ("\n", "\r\n", " # one\n", "\n\n", ",\n")).join(lines)
    if not below(rng, 3):
        text = mutate(rng, text, TEXTS)
    return text.encode("utf-8", "surrogatepass")


def make_list(rng):
    """Returns trackers with anything between them."""
    pieces = []
    for _ in range(1 + below(rng, 5)):
        pieces += [pick(rng, (make_url, plain_url, make_magnet))(rng), pick(rng, BETWEEN)]
    return "".join(pieces)


def make_json(rng):
    if not below(rng, 3):
        urls = ['"{}"'.format(plain_url(rng)) for _ in range(below(rng, 4))]
        text = '{{"udp_trackers": [{}]}}'.format(", ".join(urls))
        return text.replace("udp_trackers", pick(rng, ("udp_trackers", "http_trackers")))
    text = pick(rng, CONFIGURATIONS)
    return mutate(rng, text, JSON_PIECES) if below(rng, 4) else text


def make_magnet(rng):
    parts = ["xt=urn:btih:" + HASH, "xt=urn:btmh:" + V2, "dn=" + hostile_text(rng), "tr="]
    parts += ["tr{}={}".format(pick(rng, ("", ".1")), make_url(rng)) for _ in range(below(rng, 3))]
    rng.shuffle(parts)
    return "magnet:?" + "&".join(parts[: 1 + below(rng, len(parts))])


def make_argument(rng):
    text = pick(rng, (make_url, plain_url, make_json, make_magnet, make_list, hostile_text))(rng)
    return mutate(rng, text, TEXTS) if not below(rng, 4) else text


def as_argument(text):
    """Returns text as Python would take it from a command line, where no other surrogates are."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")


def generate(rng):
    # argparse takes a thousand times as long as the rest.
    if not below(rng, 300):
        name = pick(rng, ("udp command", "http command", "checker command"))
        return name, [as_argument(word_of(rng)) for _ in range(below(rng, 9))]
    name = pick(rng, ("document", "document", "argument", "url", "url", "value", "words", "proxy"))
    if name in ("document", "argument") and not below(rng, 3):
        name = "swarms " + name
    if name == "document":
        return name, make_document(rng)
    if name == "swarms document":
        return name, make_document(rng) if below(rng, 3) else make_hashes(rng)
    if name == "words":
        return name, [pick(rng, WORDS) for _ in range(below(rng, 9))]
    if name == "value":
        return name, as_argument(make_value(rng))
    if name == "swarms argument" and not below(rng, 2):
        return name, as_argument(make_value(rng))
    if name.endswith("argument"):
        return name, as_argument(make_argument(rng))
    return name, make_url(rng)


def make_value(rng):
    kind = below(rng, 4)
    if kind == 0:
        return pick(rng, HASHES)
    return (make_argument, hostile_text, word_of)[kind - 1](rng)


def word_of(rng):
    return hostile_text(rng) if not below(rng, 8) else pick(rng, WORDS)


def check(case):
    name, given = case
    return CHECKS[name](given)


# Documents and arguments.


def check_document(data):
    return look_at_inputs(lambda inputs: inputs.add_document(data))


def check_swarms_document(data):
    return look_at_swarm_inputs(lambda inputs: inputs.add_document(data))


def check_swarms_argument(text):
    return without_files(
        lambda: look_at_swarm_inputs(lambda inputs: inputs.add_argument(text))
    )


def check_argument(text):
    return without_files(lambda: look_at_inputs(lambda inputs: inputs.add_argument(text)))


def without_files(check):
    read = checker.Inputs.read
    # Some file of that name may be there, and standard input is not for us.
    checker.Inputs.read = lambda inputs, path: b"udp://127.0.0.1:1"
    try:
        return check()
    finally:
        checker.Inputs.read = read


def look_at_swarm_inputs(add):
    inputs = checker.SwarmInputs()
    try:
        add(inputs)
    except ValueError as error:
        assert inputs.source and str(error)
        return "configuration error"
    for name, error in inputs.rejected:
        assert str(error)
    for target in inputs.targets:
        assert target.kind != checker.HEALTH
        look_at_target(target)
    by_tracker = inputs.join()
    given = {target.key for target in inputs.targets}
    asked = 0
    for info_hash, torrent in inputs.torrents.items():
        assert torrent.info_hash == info_hash and len(info_hash) == 20
        assert len(set(torrent.trackers)) == len(torrent.trackers) == torrent.open
        keys = {tracker.key for tracker in torrent.trackers}
        assert len(keys) == torrent.open and given <= keys, "not asked for at one of them"
        for tracker in torrent.trackers:
            assert by_tracker[tracker].count(torrent) == 1
        asked += torrent.open
        for tracker in torrent.trackers:
            torrent.settle(tracker, checker.NOT_LISTED)
    assert asked == sum(map(len, by_tracker.values()))
    torrents = list(inputs.torrents.values())
    for torrent in torrents:
        line = checker.torrent_to_ndjson(torrent, {"from": "here"})
        assert len(line.splitlines()) == 1 and max(line) < "\x7f"
    table = checker.report_torrents_table(torrents)
    assert all(line.isprintable() for line in table.splitlines())
    return "torrents" if torrents else "no torrents"


def look_at_inputs(add):
    inputs = checker.Inputs()
    try:
        add(inputs)
    except ValueError as error:
        assert inputs.source and str(error)
        return "configuration error"
    keys = [target.key for target in inputs.targets]
    assert len(keys) == len(set(keys)), "a tracker stands twice"
    assert inputs.own_hash is None or len(inputs.own_hash) == 20
    for target in inputs.targets:
        look_at_target(target)
    kinds = {target.kind for target in inputs.targets}
    return "unsupported alone" if kinds == {checker.UNSUPPORTED} else "targets"


def look_at_target(target):
    assert target.info_hash is None or len(target.info_hash) == 20
    if not checker.is_magnet(target.given):
        look_for_another(target.given)
    if target.kind == checker.UNSUPPORTED:
        assert target.problem
        return
    assert target.given.isprintable() and " " not in target.given
    assert target.host and max(target.host) < "\x7f" and len(target.host) <= 300
    if target.kind == checker.UDP:
        assert 0 < target.url.port < 65536
    elif target.kind == checker.HTTP:
        look_at_http_url(target.url)
    elif target.kind == checker.WS:
        look_at_url(target.url, ("ws://", "wss://"))
    if target.kind != checker.HEALTH:
        # What works is put on a list, which has to mean the same tracker.
        result = checker.Result(target)
        (line,) = checker.report_urls([result]).splitlines()
        assert checker.parse_tracker(line).key == target.key, "another tracker once it is listed"


def look_for_another(given):
    """Fails where a second tracker begins in a text: before any ?, or after what separates two."""
    for begin in [found.start() for found in SCHEME.finditer(given)][1:]:
        assert "?" in given[:begin], "two trackers in one"
        assert given[begin - 1] not in " \t\r\n,;|\0\u200b\ufeff", "two trackers in one"


# URLs.


def look_at_http_url(url):
    look_at_url(url, ("http://", "https://"))


def look_at_url(url, schemes):
    assert url.startswith(schemes)
    assert url.isprintable() and " " not in url and max(url) < "\x7f"


def check_url(text):
    try:
        url = checker.split_url(text)
    except ValueError as error:
        assert str(error)
        return "no URL"
    assert url.scheme == url.scheme.lower() and re.match(r"[a-z][a-z0-9+.-]*\Z", url.scheme)
    assert re.match(r"[A-Za-z0-9_.:%~-]+\Z", url.host)
    assert url.port is None or 0 < url.port < 65536
    path = checker.encode_path(url.path, url.query)
    assert path.isprintable() and max(path, default="/") < "\x7f" and " " not in path
    try:
        announce = checker.announce_url(text)
    except ValueError:
        assert url.scheme not in ("http", "https")
        return check_websocket_url(text) if url.scheme in ("ws", "wss") else "another URL"
    assert checker.announce_url(announce) == announce
    look_at_http_url(announce)
    try:
        scrape = checker.scrape_url(text)
    except ValueError:
        return "an HTTP URL that cannot be scraped"
    look_at_http_url(scrape)
    # Path and query aside, both are the same.
    assert checker.split_url(scrape)[:4] == checker.split_url(announce)[:4]
    return "an HTTP URL"


def check_websocket_url(text):
    url = checker.websocket_url(text)
    look_at_url(url, ("ws://", "wss://"))
    assert checker.websocket_url(url) == url
    return "a WebSocket URL"


def check_proxy(text):
    url = checker.split_url("http://tracker.example.org/announce")
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        environ = {"http_proxy": "proxy.example", name: text}
        try:
            proxy = checker.proxy_for(url, environ)
        except ValueError as error:
            assert str(error)
        else:
            assert proxy is None or proxy.scheme == "http"
    return "proxies"


# Values and words of a command line.


def check_value(text):
    good = 0
    for parse in PARSERS:
        try:
            value = parse(text)
        except (ValueError, argparse.ArgumentTypeError) as error:
            assert str(error)
            continue
        good += 1
        if parse in (udp.parse_info_hash, udp.parse_peer_id):
            assert len(value) == 20
    return "a value" if good else "no value"


def check_words(words):
    for parser in COMMANDS:
        options, positionals = checker.tie_options(parser, words)
        assert all(option.startswith("-") for option in options)
        rest = iter(words)
        assert all(word in rest for word in positionals), "not in the order in which they came"
        for word in words:
            # Of short options in one word each becomes an option of its own.
            if word[:1] != "-" or word[:2] == "--" != word:
                assert word in positionals or any(word in option for option in options), "lost"
    return "words"


def check_command(module):
    def check_arguments(words):
        streams = sys.stdout, sys.stderr
        sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO()), io.StringIO()
        try:
            module.parse_arguments(words, "command")
            return "arguments"
        except SystemExit as stop:
            lines = sys.stderr.getvalue().splitlines()
            assert stop.code in (0, 2)
            assert len(lines) == (1 if stop.code else 0), "not one line"
            assert all(line.isprintable() and "--help" in line for line in lines)
            assert (stop.code == 0) == bool(sys.stdout.buffer.getvalue())
            return "help" if stop.code == 0 else "usage error"
        finally:
            sys.stdout, sys.stderr = streams

    return check_arguments


CHECKS = {
    "document": check_document,
    "argument": check_argument,
    "swarms document": check_swarms_document,
    "swarms argument": check_swarms_argument,
    "url": check_url,
    "proxy": check_proxy,
    "value": check_value,
    "words": check_words,
    "udp command": check_command(udp),
    "http command": check_command(http),
    "checker command": check_command(checker),
}
