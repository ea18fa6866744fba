# SPDX-License-Identifier: LGPL-3.0-only
"""http_tracker_client.py: its functions, and the command with a tracker on loopback.

What comes of the bytes of a reply is in test_http_replies.py.
"""

import base64
import itertools
import json
import os
import select
import selectors
import shutil
import socket
import threading
import time
from contextlib import closing

import http_tracker_client as client
import pytest
import trustme
from helpers import (
    PYTHON, ROOT, compact_json, only_record, record_of, requests_of, run_command, run_measured
)
from loopback_faults import HOSTILE_LINE, HOSTILE_TEXT
from loopback_tracker import LoopbackTracker

SCRIPT = "http_tracker_client.py"
HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
HASH_BYTES = bytes.fromhex(HASH)
ANSWER = b"d8:intervali120e5:peers0:e"


class Server:
    """A TCP server on loopback: handle(connection, head) answers each request, on a thread.

    heads has the heads of the requests so far, as text without the last empty line.
    """

    def __init__(self, handle, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind((host, 0))
        self.listener.listen(16)
        self.port = self.listener.getsockname()[1]
        self.address = ("[{}]:{}" if ":" in host else "{}:{}").format(host, self.port)
        self.url = "http://" + self.address
        self.heads = []
        self._handle = handle
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        # A listener that is shut down ends its accept(); closing alone does not.
        self.listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self.listener.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with closing(connection):
            try:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    data = connection.recv(65536)
                    if not data:
                        return
                    head += data
                head = head.decode("latin-1")
                self.heads.append(head[:-4])
                self._handle(connection, head)
            except OSError:
                # The client left.
                pass


def answering(reply):
    """Returns a handler that sends these bytes."""
    return lambda connection, head: connection.sendall(reply)


def response(body=ANSWER, *headers):
    lines = ["HTTP/1.1 200 OK", "Content-Length: {}".format(len(body))] + list(headers)
    return "\r\n".join(lines + ["", ""]).encode("latin-1") + body


def redirecting(location):
    """Returns a handler that redirects there."""
    text = "HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n".format(location)
    return answering(text.encode("latin-1"))


def drip(connection, data):
    """Sends the data again and again, a byte every tenth of a second, until the client leaves."""
    for byte in itertools.cycle(data):
        connection.sendall(bytes([byte]))
        if select.select([connection], [], [], 0.1)[0]:
            return


def wait_for_the_end(connection):
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass


def headers_of(head):
    """Returns the headers of a request as {lower-case name: value}."""
    lines = head.split("\r\n")[1:]
    return {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}


def pump(one, other):
    """Passes on what two connections send to each other until one of them ends."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


def act_as_proxy(connection, head, more=b""):
    """Handles a request as an HTTP proxy does; a tunnel (CONNECT) too, with more said behind it."""
    method, target, _ = head.split("\r\n")[0].split(" ")
    authority = target if method == "CONNECT" else target.partition("://")[2].partition("/")[0]
    host, _, port = authority.rpartition(":")
    with closing(socket.create_connection((host.strip("[]"), int(port)))) as upstream:
        if method == "CONNECT":
            answer = b"HTTP/1.1 200 Connection established\r\nVia: test\r\n\r\n"
            connection.sendall(answer + more)
        else:
            upstream.sendall(head.encode("latin-1"))
        pump(connection, upstream)


@pytest.fixture
def proxy():
    with Server(act_as_proxy) as running:
        yield running


def options_of(**settings):
    """Returns the usual HttpOptions but for what is given."""
    usual = dict(ip_version=None, user_agent="test", headers=[], tls=client.Tls())
    usual.update(environ={}, trace=None)
    usual.update(settings)
    return client.HttpOptions(**usual)


def fetch(url, timeout=5, read=None, **settings):
    """Runs the steps of client.fetch() with such HttpOptions; returns the response.

    With read, a function of the response, returns what that returned.
    """
    deadline = time.monotonic() + timeout
    steps = client.fetch(url, options_of(**settings), deadline, client.ANNOUNCE_LIMIT, read)
    response, value = client.run_steps(steps, deadline)
    return value if read else response


def failure_of(url, **settings):
    with pytest.raises(client.Failure) as caught:
        fetch(url, **settings)
    return caught.value


@pytest.fixture
def resolve_to(monkeypatch):
    """A function after whose call every host has these addresses, literals too."""
    return lambda *addresses: monkeypatch.setattr(
        client, "look_up", lambda host, port, version: list(addresses)
    )


# URLs and queries


@pytest.mark.parametrize("given, announce, scrape", [
    ("http://h", "http://h/announce", "http://h/scrape"),
    ("http://h/", "http://h/announce", "http://h/scrape"),
    ("HTTPS://h:8443", "https://h:8443/announce", "https://h:8443/scrape"),
    ("http://h?key=1", "http://h/announce?key=1", "http://h/scrape?key=1"),
    ("http://h/announce", "http://h/announce", "http://h/scrape"),
    ("http://h/scrape", "http://h/announce", "http://h/scrape"),
    ("http://h/a/scrape.php?x=1", "http://h/a/announce.php?x=1", "http://h/a/scrape.php?x=1"),
    ("http://h/announce/KEY", "http://h/announce/KEY", "http://h/scrape/KEY"),
    ("http://h/K/announce.php?x=1", "http://h/K/announce.php?x=1", "http://h/K/scrape.php?x=1"),
    ("http://h/announce/", "http://h/announce/", "http://h/scrape/"),
    ("http://h/announce#part", "http://h/announce", "http://h/scrape"),
    ("http://u:p@h/announce", "http://u:p@h/announce", "http://u:p@h/scrape"),
    ("http://[2001:db8::a]:80", "http://[2001:db8::a]:80/announce",
     "http://[2001:db8::a]:80/scrape"),
    ("http://[fe80::1%eth0]", "http://[fe80::1%25eth0]/announce", "http://[fe80::1%25eth0]/scrape"),
    ("http://bücher.example/é/announce?k=ü",
     "http://xn--bcher-kva.example/%C3%A9/announce?k=%C3%BC",
     "http://xn--bcher-kva.example/%C3%A9/scrape?k=%C3%BC"),
    ("http://h/other", "http://h/other", None),
    ("http://h/announce/a/b", "http://h/announce/a/b", None),
    ("http://h/Announce", "http://h/Announce", None),
])
def test_announce_and_scrape_urls(given, announce, scrape):
    assert client.announce_url(given) == announce
    assert client.announce_url(announce) == announce
    if scrape:
        assert client.scrape_url(given) == scrape
    else:
        with pytest.raises(ValueError, match="no scrape URL"):
            client.scrape_url(given)


BROKEN_URLS = [
    ("tracker.example", "no scheme"),
    ("udp://tracker.example:6969", "'udp'; http:// or https:// is expected"),
    ("file:///etc/passwd", "'file'; http:// or https:// is expected"),
    ("http://", "not a host name"),
    ("http:///announce", "not a host name"),
    ("http://a b/", "no spaces"),
    ("http://h/\r\nX-Forged: 1", "no spaces, control characters"),
    ("http://h/\tx", "no spaces, control characters"),
    ("http://h\\x/", "backslashes"),
    ("http://h:0/", "port '0'"),
    ("http://h:65536/", "port '65536'"),
    ("http://h:http/", "port 'http'"),
    ("http://[::1/", "in brackets"),
    ("http://::1/", "in brackets"),
    ("http://[127.0.0.1]/", "not an IPv6 address"),
    ("http://h_\u202e/", "control characters"),
]


@pytest.mark.parametrize("url, expected", BROKEN_URLS)
def test_broken_urls(url, expected):
    for function in (client.announce_url, client.scrape_url):
        with pytest.raises(ValueError, match=expected):
            function(url)


def test_encode_query():
    assert client.encode_query([]) == ""
    assert client.encode_query([("a", bytes(range(20)))]) == (
        "a=%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13"
    )
    parameters = [("b", "é #&="), ("c", 0), ("d", None), ("e", ""), ("b", 1)]
    assert client.encode_query(parameters) == "b=%C3%A9%20%23%26%3D&c=0&e=&b=1"


@pytest.mark.parametrize("url, query, expected", [
    ("http://h/a", "x=1", "http://h/a?x=1"),
    ("http://h/a?k=v", "x=1", "http://h/a?k=v&x=1"),
    ("http://h/a?", "x=1", "http://h/a?x=1"),
    ("http://h/a?k=v&", "x=1", "http://h/a?k=v&x=1"),
    ("http://h/a", "", "http://h/a"),
])
def test_with_query(url, query, expected):
    assert client.with_query(url, query) == expected


# Proxies


@pytest.mark.parametrize("url, environ, expected", [
    ("http://h/", {}, None),
    ("http://h/", {"http_proxy": ""}, None),
    ("http://h/", {"http_proxy": "http://p:3128"}, "http://p:3128"),
    ("http://h/", {"http_proxy": "p:3128"}, "http://p:3128"),
    ("http://h/", {"http_proxy": "http://u:p@p:3128/"}, "http://u:p@p:3128/"),
    ("http://h/", {"https_proxy": "http://p:3128"}, None),
    ("http://h/", {"HTTP_PROXY": "http://p:3128"}, None),
    ("https://h/", {"https_proxy": "http://p:3128"}, "http://p:3128"),
    ("https://h/", {"http_proxy": "http://p:3128"}, None),
    ("http://h/", {"http_proxy": "http://p:1", "all_proxy": "socks5://p"}, "http://p:1"),
    ("http://h/", {"all_proxy": "socks5://p", "no_proxy": "h"}, None),
    ("https://h/", {"https_proxy": "socks5://p", "no_proxy": "*"}, None),
    ("http://h/", {"ALL_PROXY": "socks5://p", "NO_PROXY": "h"}, None),
])
def test_proxy_for(url, environ, expected):
    proxy = client.proxy_for(client.split_url(url), environ)
    assert proxy == (expected and client.split_url(expected))


@pytest.mark.parametrize("url, environ, expected", [
    ("http://h/", {"all_proxy": "http://p:3128"}, "all_proxy"),
    ("http://h/", {"ALL_PROXY": "socks5://p:3128"}, "ALL_PROXY"),
    ("http://h/", {"all_proxy": "socks5://p:1080", "no_proxy": "x"}, "all_proxy"),
    ("http://h/", {"http_proxy": "socks5h://user:secret@p:1080"}, "http_proxy: scheme 'socks5h'"),
    ("https://h/", {"https_proxy": "https://p:1080"}, "https_proxy: scheme 'https'"),
    ("http://h/", {"http_proxy": "http://user:secret@p:port"}, "http_proxy: not a URL"),
    ("http://h/", {"http_proxy": "http://p\r\nX: 1"}, "http_proxy: not a URL"),
])
def test_proxies_that_are_not_supported(url, environ, expected):
    with pytest.raises(ValueError, match=expected) as caught:
        client.proxy_for(client.split_url(url), environ)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("url, no_proxy, exempt", [
    ("http://tracker.example/", "tracker.example", True),
    ("http://tracker.example/", "TRACKER.example", True),
    ("http://tracker.example./", "tracker.example", True),
    ("http://tracker.example/", "example", True),
    ("http://tracker.example/", ".example", True),
    ("http://tracker.example/", "*.example", True),
    ("http://tracker.example/", ".tracker.example", True),
    ("http://tracker.example/", "racker.example", False),
    ("http://tracker.example/", "a.tracker.example", False),
    ("http://tracker.example/", "a, b tracker.example", True),
    ("http://tracker.example/", "*", True),
    ("http://tracker.example/", "", False),
    ("http://tracker.example/", ",.,", False),
    ("http://tracker.example/", "tracker.example:80", True),
    ("http://tracker.example/", "tracker.example:443", False),
    ("https://tracker.example/", "tracker.example:443", True),
    ("http://tracker.example:6969/", "tracker.example:6969", True),
    ("http://tracker.example:6969/", "tracker.example:80", False),
    ("http://10.1.2.3/", "10.1.2.3", True),
    ("http://10.1.2.3:81/", "10.1.2.3:81", True),
    ("http://10.1.2.3/", "2.3", False),
    ("http://[2001:db8::1]/", "2001:db8::1", True),
    ("http://[2001:db8::1]/", "[2001:db8::1]", True),
    ("http://[2001:db8::1]/", "[2001:db8::1]:80", True),
    ("http://[2001:db8::1]/", "[2001:db8::1]:81", False),
])
def test_no_proxy(url, no_proxy, exempt):
    environ = {"http_proxy": "http://p:1", "https_proxy": "http://p:1", "no_proxy": no_proxy}
    assert (client.proxy_for(client.split_url(url), environ) is None) == exempt


def test_an_http_request_through_a_proxy(http, tracker, proxy):
    environment = {"http_proxy": proxy.url.replace("//", "//user:p%40ss@")}
    result = http("announce", tracker.http_url, HASH, env=environment)
    assert (result.code, result.stderr) == (0, "")
    head, = proxy.heads
    assert head.startswith("GET {}/announce?info_hash=".format(tracker.http_url))
    headers = headers_of(head)
    assert headers["host"] == tracker.http_url[len("http://") :]
    assert base64.b64decode(headers["proxy-authorization"].split()[1]) == b"user:p@ss"
    result = http("announce", tracker.http_url, HASH, env=dict(environment, no_proxy="127.0.0.1"))
    assert result.code == 0
    assert len(proxy.heads) == 1


def test_a_proxy_cannot_answer_for_who_is_behind_tls(http, secure_tracker, cacert):
    forged = response(b"d8:intervali666e5:peers0:e")
    with Server(lambda connection, head: act_as_proxy(connection, head, forged)) as proxy:
        arguments = ["announce", secure_tracker.http_url, HASH, "--cacert", cacert]
        result = http(*arguments, env={"https_proxy": proxy.url})
    assert "666" not in result.stdout


def test_an_https_request_through_a_proxy(http, secure_tracker, cacert, proxy):
    environment = {"https_proxy": proxy.url.replace("//", "//user:pass@")}
    arguments = ["announce", secure_tracker.http_url, HASH, "--cacert", cacert]
    result = http(*arguments, "--header", "Cookie: secret", env=environment)
    assert (result.code, result.stderr) == (0, "")
    head, = proxy.heads
    target = "localhost:{}".format(secure_tracker.http_port)
    assert head.startswith("CONNECT {} HTTP/1.1\r\n".format(target))
    headers = headers_of(head)
    assert headers["host"] == target
    assert base64.b64decode(headers["proxy-authorization"].split()[1]) == b"user:pass"
    assert "cookie" not in headers
    # What is for the proxy does not go to the tracker.
    request, = requests_of(secure_tracker)
    assert "Proxy-Authorization" not in dict(request["headers"])


def test_a_proxy_that_refuses(http, tracker):
    reply = b"HTTP/1.1 407 Proxy \x1b[31mAuthentication\r\nContent-Length: 0\r\n\r\n"
    with Server(answering(reply)) as proxy:
        for scheme in ("http", "https"):
            environment = {scheme + "_proxy": proxy.url}
            url = tracker.http_url.replace("http", scheme)
            error = record_of(http("announce", url, HASH, env=environment))
            assert error["kind"] == "http_status"
            assert "407" in error["message"]
            assert "\x1b" not in error["message"]
    assert tracker.requests == []


def test_a_proxy_that_is_not_there(http, tracker, closed_port):
    for scheme in ("http", "https"):
        environment = {scheme + "_proxy": "http://{}:{}".format(*closed_port)}
        url = tracker.http_url.replace("http", scheme)
        error = record_of(http("announce", url, HASH, env=environment))
        assert error["kind"] == "refused"
        assert "proxy" in error["message"]


@pytest.mark.parametrize("reply, kind", [
    (b"", "timeout"),
    (b"HTTP/1.1 200 OK\r\nX-Drip: ", "timeout"),
    (b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100000, "too_large"),
    (b"220 mail.example ESMTP\r\n", "invalid_response"),
])
def test_a_proxy_that_hangs_or_babbles(http, reply, kind):
    def handle(connection, head):
        connection.sendall(reply)
        drip(connection, b"x")

    with Server(handle) as proxy:
        environment = {"https_proxy": proxy.url}
        result = http("announce", "https://t.invalid", HASH, "--timeout", "1", env=environment)
    assert record_of(result)["kind"] == kind


@pytest.mark.parametrize("environment", [
    {"all_proxy": "socks5://user:secret@127.0.0.1:9"},
    {"http_proxy": "socks5://user:secret@127.0.0.1:9"},
    {"http_proxy": "https://user:secret@127.0.0.1:9"},
])
def test_an_unsupported_proxy_is_wrong_usage(http, tracker, environment):
    result = http("announce", tracker.http_url, HASH, env=environment)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("http_tracker_client.py: error: " + list(environment)[0])
    assert result.stderr.count("\n") == 1
    assert "secret" not in result.stderr
    assert tracker.requests == []


def test_an_unsupported_proxy_behind_a_redirect(tracker):
    with Server(redirecting("https://127.0.0.1:1/")) as server:
        failure = failure_of(server.url, environ={"https_proxy": "socks5://127.0.0.1:9"})
    assert failure.kind == "unreachable"
    assert "https_proxy" in str(failure)


# Announce


def test_announce_with_the_defaults(http, tracker):
    result = http("announce", tracker.http_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    expected = {"complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": []}
    assert result.stdout == json.dumps(expected, indent=2) + "\n"
    request, = requests_of(tracker)
    assert request["path"] == "/announce"
    assert request["parameters"] == {
        "info_hash": HASH_BYTES,
        "peer_id": b"-qB00000000000000001",
        "port": b"17548",
        "uploaded": b"0",
        "downloaded": b"0",
        "left": b"0",
        "event": b"started",
        "compact": b"1",
    }
    assert sorted(request["headers"]) == [
        ("Accept-Encoding", "identity"),
        ("Connection", "close"),
        ("Host", tracker.http_url[len("http://") :]),
        ("User-Agent", "http_tracker_client.py/" + client.VERSION),
    ]


def test_announce_with_every_option(http, tracker):
    given = (
        "--event started --uploaded 1 --downloaded 2 --left 3 --port 6881 --peer-addr 2001:db8::1"
        " --peer-id -TR4040-abcdefghijkl --compact 0 --peers-wanted -1 --key -4 --tracker-id -x"
        " --user-agent agent/1 --timeout 5.5 --format json -4"
    ).split()
    given += ["--header", "X-One: 1", "--header", "x-two:", "--header", "X-One:  é "]
    result = http(*given[:8], "announce", tracker.http_url, *given[8:], HASH)
    assert (result.code, result.stderr) == (0, "")
    request, = requests_of(tracker)
    parameters = dict(request["parameters"])
    assert parameters.pop("info_hash") == HASH_BYTES
    assert parameters == {
        "event": b"started", "uploaded": b"1", "downloaded": b"2", "left": b"3", "port": b"6881",
        "ip": b"2001:db8::1", "peer_id": b"-TR4040-abcdefghijkl", "compact": b"0",
        "numwant": b"-1", "key": b"-4", "trackerid": b"-x",
    }
    headers = {name.lower(): value for name, value in request["headers"]}
    assert headers["user-agent"] == "agent/1"
    assert headers["x-one"].encode("latin-1").decode() == "1, é"
    assert headers["x-two"] == ""


@pytest.mark.parametrize("event, sent", [
    ("none", None), ("started", b"started"), ("stopped", b"stopped"), ("completed", b"completed"),
])
def test_events(http, tracker, event, sent):
    assert http("announce", tracker.http_url, HASH, "--event", event).code == 0
    assert requests_of(tracker)[0]["parameters"].get("event") == sent


def test_a_peer_joins_and_leaves(http, tracker):
    assert http("announce", tracker.http_url, HASH, "--left", "1").code == 0
    assert tracker.swarm(HASH_BYTES) == (0, 0, 1)
    assert http("announce", tracker.http_url, HASH, "--event", "stopped").code == 0
    assert tracker.swarm(HASH_BYTES) == (0, 0, 0)


def test_any_dictionary_answers_event_stopped(http, tracker):
    tracker.http_fault = "empty-dictionary"
    result = http("announce", tracker.http_url, HASH, "--event", "stopped")
    assert (result.code, result.stdout, result.stderr) == (0, "{}\n", "")


@pytest.mark.parametrize("given", [
    HASH.upper(),
    "TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC",
    "magnet:?dn=x&xt=urn:btih:" + HASH,
    HASH + "0" * 24,
])
def test_ways_to_give_an_info_hash(http, tracker, given):
    assert http("announce", tracker.http_url, given).code == 0
    assert requests_of(tracker)[0]["info_hashes"] == [HASH_BYTES]


def test_the_query_of_the_url_is_kept(http):
    with LoopbackTracker(expected_query="passkey=abc") as tracker:
        url = tracker.http_url + "/announce?passkey=abc"
        for command in ("announce", "scrape"):
            assert http(command, url, HASH).code == 0
        result = http("announce", tracker.http_url, HASH)
        assert (result.code, result.stderr) == (1, "")
        assert list(result.json) == ["failure reason"]


def test_credentials_in_the_url(http, tracker):
    url = tracker.http_url.replace("//", "//user:p%40ss:w%C3%B6rd@")
    result = http("announce", url, HASH, "-v")
    assert result.code == 0
    headers = dict(requests_of(tracker)[0]["headers"])
    kind, value = headers["Authorization"].split()
    assert kind == "Basic"
    assert base64.b64decode(value) == "user:p@ss:wörd".encode()
    assert "@" not in headers["Host"]
    assert "p%40ss" not in result.stderr


def test_credentials_in_the_url_are_not_shown(http, tracker):
    tracker.http_fault = "redirect-relative"
    url = tracker.http_url.replace("//", "//user:secret@")
    result = http("announce", url, HASH, "-v")
    assert result.code == 0
    assert "redirected to " + tracker.http_url in result.stderr
    assert "secret" not in result.stderr
    with Server(redirecting("/again")) as server:
        failure = failure_of(server.url.replace("//", "//user:secret@"))
    assert failure.kind == "redirect"
    assert "secret" not in str(failure)


def test_a_given_authorization_comes_before_that_of_the_url(http, tracker):
    url = tracker.http_url.replace("//", "//user:pass@")
    header = "authorization: Bearer token"
    assert http("announce", url, HASH, "--header", header).code == 0
    assert dict(requests_of(tracker)[0]["headers"])["Authorization"] == "Bearer token"


def test_peers_over_ipv4_and_ipv6(http, tracker):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881, peer_id=b"-TR4040-abcdefghijkl")
    tracker.add_peer(HASH_BYTES, "2001:db8::7", 6882, peer_id=b"\x00\xff" * 10)
    result = http("announce", tracker.http_url, HASH)
    assert result.json["peers"] == [
        {"ip": "198.51.100.7", "port": 6881}, {"ip": "2001:db8::7", "port": 6882},
    ]
    assert list(result.json) == ["complete", "incomplete", "interval", "min interval", "peers"]
    result = http("announce", tracker.http_url, HASH, "--compact", "0")
    assert result.json["peers"] == [
        {"ip": "198.51.100.7", "peer id": b"-TR4040-abcdefghijkl".hex(), "port": 6881},
        {"ip": "2001:db8::7", "peer id": "00ff" * 10, "port": 6882},
    ]
    assert list(result.json["peers"][0]) == ["ip", "peer id", "port"]


@pytest.mark.parametrize("arguments", [[], ["-6"], ["--ipv6"]])
def test_announce_and_scrape_over_ipv6(http, arguments):
    with LoopbackTracker(hosts=["::1"]) as tracker:
        assert http("announce", tracker.http_url, HASH, *arguments).code == 0
        assert http("scrape", tracker.http_url, HASH, *arguments).code == 0
        assert requests_of(tracker)[0]["headers"]
        assert dict(requests_of(tracker)[0]["headers"])["Host"] == tracker.http_url[7:]


SHOWN = [
    # fault, event, what is shown
    ("missing-counts", {"interval": 120, "min interval": 120, "peers": []}),
    ("missing-interval", {"complete": 1, "incomplete": 0, "min interval": 120, "peers": []}),
    ("missing-peers", {"complete": 1, "incomplete": 0, "interval": 120, "min interval": 120}),
    ("extra-keys", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [],
        "downloaded": 12, "external ip": "198.51.100.7", "tracker id": "id 1",
        "warning message": "please update",
    }),
    ("wrong-types", {
        "complete": 1, "incomplete": 0, "interval": "soon", "min interval": 120, "peers": 7,
        "peers6": 7,
    }),
    ("odd-types", {
        "complete": "many", "incomplete": [1], "interval": 120, "min interval": {"seconds": 1},
        "peers": [],
    }),
    ("negative-numbers", {
        "complete": -2, "incomplete": -3, "interval": -1, "min interval": -1, "peers": [],
    }),
    ("peers6-only", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [
            {"ip": "2001:db8::7", "port": 6881}, {"ip": "2001:db8::8", "port": 6881},
        ],
    }),
    ("uneven-peers", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [
            {"ip": "198.51.100.7", "port": 6881}, {"ip": "198.51.100.8", "port": 6882},
        ],
    }),
    ("dictionary-peers", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [
            {"ip": "198.51.100.7", "peer id": b"-LT0001-dictionary01".hex(), "port": 6881},
            {"ip": "2001:db8::7", "peer id": b"-LT0001-dictionary02".hex(), "port": 6882},
        ],
    }),
    ("broken-dictionary-peers", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [
            {}, {"ip": "198.51.100.7"}, {"port": 6881},
            {"ip": 7, "peer id": [], "port": "6881"},
            {"ip": "", "peer id": b"short".hex(), "port": 70000},
            {"ip": {"hex": "fffe"}, "peer id": b"-LT0001-dictionary01".hex(), "port": -1},
            13, "198.51.100.7:6881", [],
        ],
    }),
    ("unsorted-keys", {
        "complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": [],
    }),
]


@pytest.mark.parametrize("fault, expected", SHOWN, ids=[fault for fault, _ in SHOWN])
def test_what_an_announce_shows(http, tracker, fault, expected):
    tracker.http_fault = fault
    result = http("announce", tracker.http_url, HASH, "--format", "compact")
    assert (result.code, result.stderr) == (0, "")
    # As text, since the order of the keys counts.
    assert result.stdout == compact_json(expected) + "\n"


@pytest.mark.parametrize("body, expected", [
    (b"d11:external ip16:" + b"\0" * 15 + b"\x01" + b"8:intervali1ee",
     {"interval": 1, "external ip": "::1"}),
    (b"d11:external ip3:abc8:intervali1ee", {"interval": 1, "external ip": "abc"}),
    (b"d11:external ip16:2001:db8:1::12348:intervali1ee",
     {"interval": 1, "external ip": "2001:db8:1::1234"}),
    (b"d8:intervali1e1:x2:\xff\xfe2:\xff\x00i7ee",
     {"interval": 1, "x": {"hex": "fffe"}, "ff00": 7}),
    (b"d8:intervali1e15:warning message6:refus\xe9e",
     {"interval": 1, "warning message": "refusé"}),
    (b"d5:peers6:\x7f\0\0\x01\x1a\xe16:peers6i7ee",
     {"peers": [{"ip": "127.0.0.1", "port": 6881}], "peers6": 7}),
    (b"d5:peersi7e6:peers618:" + b"\0" * 15 + b"\x01\x1a\xe1e",
     {"peers": 7, "peers6": [{"ip": "::1", "port": 6881}]}),
    (b"d5:peersld2:ip9:127.0.0.1eee", {"peers": [{"ip": "127.0.0.1"}]}),
])
def test_odd_announce_replies(http, body, expected):
    with Server(answering(response(body))) as server:
        result = http("announce", server.url, HASH, "--format", "compact")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == compact_json(expected) + "\n"


def test_a_reply_of_the_deepest_nesting(http):
    body = b"d1:a" + b"l" * 255 + b"e" * 255 + b"8:intervali1ee"
    with Server(answering(response(body))) as server:
        for style in ("pretty", "compact"):
            assert http("announce", server.url, HASH, "--format", style).code == 0


# Scrape


def test_scrape(http, tracker):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881)
    result = http("scrape", tracker.http_url + "/announce", HASH)
    assert (result.code, result.stderr) == (0, "")
    expected = {HASH: {"complete": 1, "downloaded": 0, "incomplete": 0}}
    assert result.stdout == json.dumps(expected, indent=2) + "\n"
    request, = requests_of(tracker, "scrape")
    assert (request["path"], request["info_hashes"]) == ("/scrape", [HASH_BYTES])


def test_scrape_of_several_hashes(http, tracker):
    result = http("scrape", tracker.http_url, HASH, "--format", "compact", OTHER_HASH, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert sorted(result.json) == sorted([HASH, OTHER_HASH])
    assert requests_of(tracker, "scrape")[0]["info_hashes"] == [
        HASH_BYTES, bytes.fromhex(OTHER_HASH), HASH_BYTES,
    ]


def test_full_scrape(http, tracker):
    for info_hash in (HASH, OTHER_HASH):
        tracker.add_peer(bytes.fromhex(info_hash), "198.51.100.7", 6881)
    result = http("scrape", tracker.http_url)
    assert (result.code, result.stderr) == (0, "")
    assert set(result.json) == {HASH, OTHER_HASH}
    assert requests_of(tracker, "scrape")[0]["query"] == ""


SCRAPES = [
    # fault, what is shown of HASH, torrents that were answered of two
    ("scrape-extra-keys", {"complete": 0, "downloaded": 0, "incomplete": 0, "downloaders": 3,
                           "name": "a file"}, 2),
    ("scrape-odd-types", {"complete": "many", "downloaded": [1], "incomplete": 0}, 2),
    ("scrape-negative", {"complete": -1, "downloaded": -2, "incomplete": -3}, 2),
    ("scrape-flags", {"complete": 0, "downloaded": 0, "incomplete": 0}, 2),
    ("latin1-hashes", {"complete": 0, "downloaded": 0, "incomplete": 0}, 2),
    ("files-of-numbers", 1, 2),
    ("scrape-truncated", None, 1),
    ("scrape-empty", None, 0),
    ("hex-hashes", None, 0),
    ("odd-hashes", None, 0),
]


@pytest.mark.parametrize("fault, entry, answered", SCRAPES, ids=[row[0] for row in SCRAPES])
def test_what_a_scrape_shows(http, tracker, fault, entry, answered):
    tracker.http_fault = fault
    result = http("scrape", tracker.http_url, OTHER_HASH, HASH, OTHER_HASH)
    assert result.code == 0
    if entry is not None:
        assert list(result.json) == [OTHER_HASH, HASH]
        assert json.dumps(result.json[HASH]) == json.dumps(entry)
    if fault == "odd-hashes":
        assert list(result.json) == [OTHER_HASH[:-2], HASH[:-2]]
    if fault == "hex-hashes":
        assert list(result.json) == [OTHER_HASH.encode().hex(), HASH.encode().hex()]
    if answered == 2:
        assert result.stderr == ""
    else:
        warning = only_record(result, "warning")
        assert list(warning) == ["kind", "requested", "returned", "message"]
        assert warning["kind"] == "scrape_response_truncated"
        assert (warning["requested"], warning["returned"]) == (2, answered)


def test_an_answer_for_others_is_truncated(http):
    with Server(answering(response(b"d5:filesd20:" + b"a" * 20 + b"deee"))) as server:
        result = http("scrape", server.url, HASH)
    assert (result.code, list(result.json)) == (0, ["61" * 20])
    assert only_record(result, "warning")["returned"] == 0


def test_limits_of_scrapes(http):
    size = client.SCRAPE_LIMIT + 1
    head = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n".format(size).encode()

    def handle(connection, head_of_request):
        connection.sendall(head)
        if "info_hash" not in head_of_request:
            connection.sendall(b"d5:filesde1:x%d:" % (size - len(b"d5:filesde1:x:e") - 8))
            connection.sendall(b"x" * (size - len(b"d5:filesde1:x:e") - 8) + b"e")

    with Server(handle) as server:
        assert record_of(http("scrape", server.url, HASH))["kind"] == "too_large"
        result = http("scrape", server.url, "--timeout", "30")
        assert (result.code, result.stdout, result.stderr) == (0, "{}\n", "")


# Failures and answers under an error status


@pytest.mark.parametrize("fault, expected", [
    ("failure", {"failure reason": "torrent not registered"}),
    ("failure-404", {"failure reason": "torrent not registered"}),
    ("failure-503", {"failure reason": "torrent not registered"}),
    ("failure-retry-in", {"failure reason": "overloaded", "retry in": 5}),
    ("failure-retry-never", {"failure reason": "gone for good", "retry in": "never"}),
    ("failure-empty", {"failure reason": ""}),
    ("failure-latin1", {"failure reason": "refusé"}),
    ("failure-not-text", {"failure reason": 13}),
    ("failure-control-characters", {"failure reason": HOSTILE_TEXT}),
])
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_failure_reasons(http, tracker, fault, expected, command):
    tracker.http_fault = fault
    result = http(command, tracker.http_url, HASH, "--format", "compact")
    assert (result.code, result.stderr) == (1, "")
    assert result.stdout == compact_json(expected).replace(
        "\x7f", "\\u007f"
    ) + "\n"
    assert result.stdout[:-1].isprintable()


def test_a_failure_reason_comes_first(http, tracker):
    tracker.http_fault = "failure-beside-answer"
    result = http("announce", tracker.http_url, HASH)
    assert (result.code, result.stderr) == (1, "")
    assert list(result.json)[:2] == ["failure reason", "complete"]


@pytest.mark.parametrize("fault, command, kind, shown", [
    ("not-a-dictionary", "announce", "invalid_response", [1, 2]),
    ("not-a-dictionary", "scrape", "invalid_response", [1, 2]),
    ("empty-dictionary", "announce", "invalid_response", {}),
    ("missing-files", "scrape", "invalid_response", {"flags": {"min_request_interval": 900}}),
    ("files-not-a-dictionary", "scrape", "invalid_response", {"files": [1]}),
    ("answer-404", "scrape", "http_status",
     {HASH: {"complete": 0, "downloaded": 0, "incomplete": 0}}),
    ("answer-500", "announce", "http_status",
     {"complete": 1, "incomplete": 0, "interval": 120, "min interval": 120, "peers": []}),
])
def test_bencode_that_is_no_answer_is_shown(http, tracker, fault, command, kind, shown):
    tracker.http_fault = fault
    result = http(command, tracker.http_url, HASH)
    assert (result.code, result.json) == (1, shown)
    error = only_record(result)
    assert (error["kind"], error["source"]) == (kind, tracker.http_url)


# Memory


def peak_memory_of(*arguments):
    """Runs the client and returns (exit code, its peak memory in MiB)."""
    result, usage = run_measured(SCRIPT, *arguments)
    return result.code, usage.ru_maxrss / 1024


@pytest.mark.parametrize("fault", [
    "gzip-bomb", "endless-body", "endless-chunks", "endless-header-line", "endless-trailers",
    "endless-chunk-size-line",
])
def test_memory_stays_flat(tracker, fault):
    _, usual = peak_memory_of("announce", tracker.http_url, HASH)
    tracker.http_fault = fault
    code, peak = peak_memory_of("announce", tracker.http_url, HASH)
    assert code == 1
    assert peak < usual + 10


# Redirects


@pytest.mark.parametrize("location, path", [
    ("/other?x=1", "/other?x=1"),
    ("other", "/a/other"),
    ("../other", "/other"),
    ("?x=1", "/a/announce?x=1"),
    ("//{host}/other", "/other"),
    ("http://{host}/other#part", "/other"),
    ("http://{host}", "/"),
    ("HTTP://{host}/other", "/other"),
    ("/caf\xc3\xa9", "/caf%C3%A9"),
    ("/caf\xe9", "/caf%C3%A9"),
    ("/other \t", "/other"),
    # As curl does it.
    ("/my files/a  b?x=1 2", "/my%20files/a%20%20b?x=1%202"),
    ("a b", "/a/a%20b"),
])
def test_where_redirects_lead(location, path):
    def handle(connection, head):
        if head.startswith("GET /a/announce?first"):
            redirecting(location.format(host=server.address))(connection, head)
        else:
            connection.sendall(response())

    with Server(handle) as server:
        assert fetch(server.url + "/a/announce?first").body == ANSWER
        assert server.heads[1].split()[1] == path


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_five_redirects_are_followed(status):
    def handle(connection, head):
        number = int(head.split()[1].strip("/")) - 1
        if number < 0:
            connection.sendall(response())
        else:
            text = "HTTP/1.1 {} Gone on\r\nLocation: /{}\r\n\r\n".format(status, number)
            connection.sendall(text.encode())

    with Server(handle) as server:
        assert fetch(server.url + "/5").body == ANSWER
        assert len(server.heads) == 6
        assert failure_of(server.url + "/6").kind == "redirect"
        assert len(server.heads) == 12


@pytest.mark.parametrize("status", ["300", "304", "305", "306"])
def test_other_statuses_are_not_followed(status):
    text = "HTTP/1.1 {} Other\r\nLocation: http://127.0.0.1:1/\r\n\r\n".format(status)
    with Server(answering(text.encode())) as server:
        assert fetch(server.url).status == int(status)


@pytest.mark.parametrize("location", [
    "file:///etc/passwd", "ftp://127.0.0.1/", "udp://127.0.0.1:6969", "javascript:alert(1)",
    "http://[::1/", "http://h:0/", "http://a b/", "\\\\h\\x", "http://h@:80/",
    "/a\tb", "/a\rb", "/a\r\n b", "/a\0b", "/a\x0bb", "/a\x1b[31m", "/a\x7f", "/\x85",
    "/\xe2\x80\xa8", "/\xe2\x80\xae", "x" * 10000 + ":", "http://" + "x" * 10000,
])
def test_redirects_that_are_not_followed(location):
    with Server(redirecting(location)) as server:
        failure = failure_of(server.url)
        assert len(server.heads) == 1
    assert failure.kind == "redirect"
    assert str(failure).isprintable()
    assert len(str(failure)) < 400


SECRETS = [("Authorization", "Bearer secret"), ("cookie", "secret"), ("Host", "secret.example")]


@pytest.mark.parametrize("headers, credentials", [(SECRETS, ""), ([], "user:secret@")])
def test_credentials_do_not_follow_to_another_host_or_port(headers, credentials):
    headers = headers + [("X-Other", "kept")]
    with Server(answering(response())) as other, Server(redirecting(other.url + "/x")) as home:
        url = "http://{}{}/announce".format(credentials, home.address)
        assert fetch(url, headers=headers).body == ANSWER
        assert "secret" in home.heads[0] or "Authorization" in home.heads[0]
        found = headers_of(other.heads[0])
        assert not {"authorization", "cookie"} & set(found)
        assert found["host"] == other.address
        assert found["x-other"] == "kept"


def test_credentials_stay_with_their_host():
    def handle(connection, head):
        first = head.startswith("GET /first")
        (redirecting("/second") if first else answering(response()))(connection, head)

    with Server(handle) as server:
        url = "http://user:pass@{}/first".format(server.address)
        assert fetch(url, headers=[("Cookie", "a=1"), ("Cookie", "b=2")]).body == ANSWER
        first, second = map(headers_of, server.heads)
    assert first == second
    assert second["cookie"] == "a=1; b=2"
    assert "authorization" in second


def test_credentials_do_not_come_back_by_way_of_another_host():
    def handle(connection, head):
        first = head.startswith("GET /first")
        (redirecting(other.url) if first else answering(response()))(connection, head)

    with Server(handle) as home:
        with Server(redirecting(home.url + "/chosen-by-other")) as other:
            fetch("http://user:pass@{}/first".format(home.address))
    assert "authorization" in headers_of(home.heads[0])
    assert "authorization" not in headers_of(home.heads[1])


def test_credentials_of_a_location_are_not_sent():
    with Server(answering(response())) as other:
        with Server(redirecting("http://user:pass@{}/".format(other.address))) as home:
            fetch(home.url)
        assert "authorization" not in headers_of(other.heads[0])


def test_a_failure_behind_a_redirect_says_where(closed_port):
    with Server(redirecting("http://{}:{}/x".format(*closed_port))) as server:
        failure = failure_of(server.url)
    assert failure.kind == "refused"
    assert "http://{}:{}/x".format(*closed_port) in str(failure)


def test_what_is_no_bencode_behind_a_redirect_says_where(http):
    with Server(answering(response(b"<html>"))) as other:
        with Server(redirecting(other.url + "/x")) as server:
            error = record_of(http("announce", server.url, HASH))
    assert error["kind"] == "invalid_response"
    assert other.url + "/x" in error["message"]


# TLS


@pytest.fixture(scope="session")
def authority():
    return trustme.CA()


@pytest.fixture(scope="session")
def cacert(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("tls") / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    return str(path)


def server_context(authority, *names):
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*names).configure_cert(context)
    return context


@pytest.fixture
def secure_tracker(authority):
    with LoopbackTracker(tls=server_context(authority, "localhost", "127.0.0.1")) as running:
        yield running


def test_https(http, secure_tracker, cacert, python):
    for host in ("localhost", "127.0.0.1"):
        url = secure_tracker.http_url.replace("localhost", host)
        result = http("announce", url, HASH, "--cacert", cacert, python=python)
        assert (result.code, result.stderr) == (0, "")
        assert result.json["peers"] == []


def test_a_certificate_of_an_unknown_authority(http, secure_tracker, pythons):
    for python in pythons.values():
        error = record_of(http("announce", secure_tracker.http_url, HASH, python=python))
        assert error["kind"] == "tls"
        assert "certificate" in error["message"]
    assert requests_of(secure_tracker) == []


def test_a_certificate_of_another_name(http, authority, cacert, pythons):
    with LoopbackTracker(tls=server_context(authority, "other.example")) as tracker:
        for python in pythons.values():
            result = http("announce", tracker.http_url, HASH, "--cacert", cacert, python=python)
            assert record_of(result)["kind"] == "tls"
        assert requests_of(tracker) == []


def test_insecure(http, authority):
    with LoopbackTracker(tls=server_context(authority, "other.example")) as tracker:
        for command in ("announce", "scrape"):
            result = http(command, tracker.http_url, HASH, "--insecure")
            assert (result.code, result.stderr) == (0, "")


def test_a_name_that_ends_in_a_dot_and_an_address_with_a_scope(authority, cacert, resolve_to):
    context = server_context(authority, "name.example", "::1")
    with LoopbackTracker(tls=context) as tracker:
        resolve_to(("127.0.0.1", tracker.http_port))
        for host in ("name.example.", "[::1%lo]"):
            found = fetch("https://{}/other".format(host), tls=client.Tls(cacert))
            assert found.status == 404


def test_https_on_a_port_that_does_not_speak_tls(http):
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def greet():
            with closing(listener.accept()[0]) as connection:
                connection.sendall(b"220 mail.example ESMTP\r\n")
                wait_for_the_end(connection)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        url = "https://127.0.0.1:{}/".format(listener.getsockname()[1])
        assert record_of(http("announce", url, HASH))["kind"] == "tls"
        thread.join()


@pytest.mark.parametrize("content", [None, b"", b"not a certificate\n"])
def test_a_cacert_that_has_no_certificates(http, tracker, tmp_path, content):
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    result = http("announce", tracker.http_url, HASH, "--cacert", path)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("http_tracker_client.py: error: argument --cacert: ")
    assert tracker.requests == []


def test_certificates_that_cannot_be_loaded(http, tracker, tmp_path):
    # Python 3.8 and later write the keys of connections there.
    environment = {"SSLKEYLOGFILE": str(tmp_path / "missing" / "keys")}
    url = tracker.http_url.replace("http:", "https:")
    error = record_of(http("announce", url, HASH, env=environment))
    assert error["kind"] == "tls"


# Deadlines and addresses


def test_refused(http, closed_port):
    result = http("announce", "http://{}:{}".format(*closed_port), HASH, "--timeout", "30")
    assert record_of(result)["kind"] == "refused"


def full_listener():
    """Returns (listener, connections): nobody is let in there any more, nor refused."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    connections = []
    for _ in range(8):
        connection = socket.socket()
        connection.setblocking(False)
        connection.connect_ex(listener.getsockname())
        connections.append(connection)
    select.select([], connections, [], 1)
    return listener, connections


@pytest.fixture
def silent_address():
    """An address where connecting takes forever."""
    listener, connections = full_listener()
    yield listener.getsockname()
    for sock in [listener] + connections:
        sock.close()


def test_a_connection_that_is_not_answered(http, silent_address):
    url = "http://{}:{}".format(*silent_address)
    result = http("announce", url, HASH, "--timeout", "0.7")
    assert record_of(result)["kind"] == "timeout"


def test_a_name_that_does_not_resolve(http, resolver):
    error = record_of(http("announce", "http://missing.example/", HASH, env=resolver()))
    assert error["kind"] == "resolve_failed"
    assert "missing.example" in error["message"]


def test_a_name_lookup_that_hangs(http, resolver):
    env = resolver({"slow.example": "hangs"})
    result = http("announce", "http://slow.example/", HASH, "--timeout", "0.7", env=env)
    error = record_of(result)
    assert (error["kind"], error["message"]) == (
        "timeout", "slow.example: the name lookup took too long"
    )


def test_the_first_address_that_answers_counts(silent_address, closed_port, resolve_to):
    with Server(answering(response())) as server:
        good = ("127.0.0.1", server.port)
        unreachable = ("::1%nowhere", 9, 0, 99999)
        several = [silent_address] + [closed_port] * 20
        # With many dead addresses each has its share of the time.
        silent = [silent_address] * 20
        for dead in ([silent_address], [closed_port], [unreachable], several, silent):
            resolve_to(*dead, good)
            found = fetch("http://name.example/")
            assert (found.body, found.address) == (ANSWER, server.address)
        assert headers_of(server.heads[0])["host"] == "name.example"


def test_a_slow_first_address_is_not_given_up(resolve_to):
    def late(connection, head):
        # Longer than the next address would wait for its turn.
        time.sleep(2 * client.Race.HEAD_START)
        connection.sendall(response())

    with Server(late) as first, Server(answering(response())) as second:
        resolve_to(("127.0.0.1", first.port), ("127.0.0.1", second.port))
        assert fetch("http://name.example/").address == first.address
        assert second.heads == []


@pytest.mark.parametrize("reply", [
    b"", b"220 mail.example ESMTP\r\n", response(b"<html>"), None
], ids=["closes", "no HTTP", "no bencode", "silent"])
def test_an_address_that_fails_after_its_connection_gives_way(reply, resolve_to):
    left = threading.Event()

    def handle(connection, head):
        if reply is None:
            wait_for_the_end(connection)
        else:
            connection.sendall(reply)
        left.set()

    with Server(handle) as first, Server(answering(response())) as second:
        resolve_to(("127.0.0.1", first.port), ("127.0.0.1", second.port))
        found = fetch("http://name.example/", timeout=2, read=client.read_reply)
        assert found == {b"interval": 120, b"peers": b""}
        assert (len(first.heads), len(second.heads)) == (1, 1)
        # Its connection is not kept.
        assert left.wait(10)


def test_an_address_whose_handshake_fails_gives_way(authority, cacert, resolve_to):
    context = server_context(authority, "name.example")
    broken, well = LoopbackTracker(http_fault="reset-handshake"), LoopbackTracker(tls=context)
    with broken, well:
        resolve_to(("127.0.0.1", broken.http_port), ("127.0.0.1", well.http_port))
        found = fetch("https://name.example/other", tls=client.Tls(cacert))
        assert found.status == 404


@pytest.mark.parametrize("reply, kind", [
    (b"HTTP/1.1 404 Not Found\r\nContent-Length: 6\r\n\r\n<html>", "http_status"),
    (response(b"d14:failure reason2:noe"), None),
    (b"HTTP/1.1 302 Found\r\nLocation: ftp://h/\r\n\r\n", "redirect"),
])
def test_after_an_answer_no_other_address_is_asked(reply, kind, resolve_to):
    with Server(answering(reply)) as first, Server(answering(response())) as second:
        resolve_to(("127.0.0.1", first.port), ("127.0.0.1", second.port))
        # With much time, so that patience does not end on a busy machine.
        settings = {"timeout": 60, "read": client.read_reply}
        if kind:
            assert failure_of("http://name.example/", **settings).kind == kind
        else:
            assert fetch("http://name.example/", **settings) == {b"failure reason": b"no"}
        assert second.heads == []


def test_what_a_proxy_refuses_at_one_address_is_not_asked_of_another(resolve_to):
    reply = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
    with Server(answering(reply)) as first, Server(act_as_proxy) as second:
        resolve_to(("127.0.0.1", first.port), ("127.0.0.1", second.port))
        environ = {"https_proxy": "http://proxy.example"}
        failure = failure_of("https://name.example/", timeout=60, environ=environ)
        assert (failure.kind, second.heads) == ("http_status", [])


@pytest.mark.parametrize("proxied", [False, True])
def test_an_attempt_that_is_given_up_leaves_no_connection(proxied):
    with Server(lambda connection, head: wait_for_the_end(connection)) as server:
        proxy = client.split_url(server.url) if proxied else None
        target = client.split_url("https://name.example/")
        steps = client.open_stream(("127.0.0.1", server.port), target, proxy, options_of())
        (sock,) = next(steps).events
        select.select([], [sock], [])
        # It waits for its turn, and then for the tunnel.
        assert steps.send([sock]) is client.TURN
        if proxied:
            assert list(steps.send(None).events) == [sock]
        steps.close()
        assert sock.fileno() == -1


def test_what_all_addresses_fail_with_alike_is_said_once(resolve_to):
    with Server(answering(b"")) as first, Server(answering(b"")) as second:
        resolve_to(("127.0.0.1", first.port))
        alone = failure_of("http://name.example/")
        resolve_to(("127.0.0.1", first.port), ("127.0.0.1", second.port))
        both = failure_of("http://name.example/")
    assert (both.kind, str(both)) == (alone.kind, str(alone))
    assert len(second.heads) == 1


def test_all_addresses_are_named_when_all_fail(silent_address, closed_port, resolve_to):
    resolve_to(closed_port, silent_address)
    failure = failure_of("http://name.example/", timeout=0.6)
    assert failure.kind == "timeout"
    assert "{}:{}".format(*closed_port) in str(failure)
    assert "{}:{}".format(*silent_address) in str(failure)


@pytest.mark.parametrize("version, host, other", [(6, "::1", "127.0.0.1"), (4, "127.0.0.1", "::1")])
def test_the_ip_version_holds_behind_redirects_and_proxies(version, host, other):
    with Server(answering(response()), other) as there:
        with Server(redirecting(there.url), host) as server:
            failure = failure_of(server.url, ip_version=version)
            assert failure.kind == "unreachable" and other in str(failure)
        proxy = {"http_proxy": there.url}
        failure = failure_of("http://a.example/", ip_version=version, environ=proxy)
        assert failure.kind == "unreachable"
    assert there.heads == []


@pytest.fixture
def pair():
    """Two connected sockets; the first does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with closing(ours), closing(theirs):
        yield ours, theirs


def test_a_request_to_who_does_not_read(pair):
    deadline = time.monotonic() + 0.3
    stream = client.Stream(pair[0], "127.0.0.1:80")
    with pytest.raises(client.Failure) as caught:
        client.run_steps(stream.send(bytes(10000000)), deadline)
    assert caught.value.kind == "timeout"


def test_the_deadline_holds_though_there_is_always_something_to_read(pair):
    ours, theirs = pair
    theirs.sendall(b"x")

    def steps():
        for _ in range(1000):
            yield client.Wait({ours: selectors.EVENT_READ}, None, "too late")

    with pytest.raises(client.Failure, match="too late") as caught:
        client.run_steps(steps(), time.monotonic())
    assert caught.value.kind == "timeout"


def test_what_is_looked_up(monkeypatch):
    asked = []

    def look_up(*arguments):
        asked.append(arguments)
        return [("127.0.0.1", server.port)]

    monkeypatch.setattr(client, "look_up", look_up)
    with Server(answering(response())) as server:
        for url in ("http://a.example/", "http://a.example:81/", "http://[2001:db8::a]/"):
            fetch(url, ip_version=4)
        fetch("http://a.example/", environ={"http_proxy": "proxy.example"})
    assert asked == [
        ("a.example", 80, 4), ("a.example", 81, 4), ("2001:db8::a", 80, 4),
        ("proxy.example", 1080, None),
    ]


@pytest.mark.parametrize("url, host", [
    ("http://a.example/", "a.example"),
    ("http://a.example:80/", "a.example"),
    ("http://a.example:81/", "a.example:81"),
    ("http://[2001:db8::a]:81/", "[2001:db8::a]:81"),
    ("http://[fe80::a%12]/", "[fe80::a]"),
])
def test_the_host_header(url, host, resolve_to):
    with Server(answering(response())) as server:
        resolve_to(("127.0.0.1", server.port))
        fetch(url)
        assert headers_of(server.heads[0])["host"] == host


# Injection


@pytest.mark.parametrize("key", [
    "a b", "a&event=stopped", "a\r\nX-Forged: 1", "a#b", "é", "a%20b",
])
def test_what_is_sent_as_given_cannot_forge_anything(http, tracker, key):
    assert http("announce", tracker.http_url, HASH, "--key", key, "--tracker-id", key).code == 0
    request, = requests_of(tracker)
    assert request["parameters"]["key"] == request["parameters"]["trackerid"] == key.encode()
    assert request["parameters"]["event"] == b"started"
    assert "X-Forged" not in dict(request["headers"])


def test_bytes_that_are_not_utf8_are_sent_as_given(tracker):
    command = PYTHON + [os.path.join(ROOT, SCRIPT), "announce", tracker.http_url, HASH]
    result = run_command([word.encode() for word in command] + [b"--key", b"\xff\xfe"])
    assert (result.code, result.stderr) == (0, "")
    assert requests_of(tracker)[0]["parameters"]["key"] == b"\xff\xfe"


@pytest.mark.parametrize("header", [
    "no colon", ": no name", "A B: x", "X: a\r\nX-Forged: 1", "X: a\nb", "X: \x1b[31m",
    "X\r\n: a", "X:\u202e", "Ü: x", "",
])
def test_headers_that_could_forge(http, tracker, header):
    result = http("announce", tracker.http_url, HASH, "--header", header)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("http_tracker_client.py: error: argument --header: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr[:-1].isprintable()
    assert tracker.requests == []


def test_a_user_agent_that_could_forge(http, tracker):
    result = http("announce", tracker.http_url, HASH, "--user-agent", "a\r\nX-Forged: 1")
    assert (result.code, tracker.requests) == (2, [])
    assert result.stderr.count("\n") == 1


def test_hostile_text_is_escaped_with_verbose_too(http, tracker):
    tracker.http_fault = "redirect-control-characters"
    result = http("announce", tracker.http_url, HASH, "-v")
    assert result.code == 1
    assert all(line.isprintable() for line in result.stderr.split("\n"))
    assert HOSTILE_LINE not in result.stderr


# Arguments


WRONG = [
    ([], "no command"),
    (["frobnicate"], "'frobnicate'"),
    (["announce"], "URL"),
    (["announce", "URL"], "INFO_HASH"),
    (["announce", "URL", HASH, HASH], "unrecognized arguments"),
    (["announce", "URL", HASH[1:]], "not an info hash"),
    (["announce", "URL", "magnet:?dn=x"], "not an info hash"),
    (["scrape"], "URL"),
    (["scrape", "URL", "x"], "not an info hash"),
    (["scrape", "URL/other", HASH], "no scrape URL"),
    (["announce", "URL", HASH, "--event", "paused"], "--event"),
    (["announce", "URL", HASH, "--uploaded", "-1"], "--uploaded"),
    (["announce", "URL", HASH, "--downloaded", "9223372036854775808"], "--downloaded"),
    (["announce", "URL", HASH, "--left", "1.5"], "--left"),
    (["announce", "URL", HASH, "--port", "0"], "--port"),
    (["announce", "URL", HASH, "--port", "65536"], "--port"),
    (["announce", "URL", HASH, "--peer-addr", "a b"], "--peer-addr"),
    (["announce", "URL", HASH, "--peer-addr", ""], "--peer-addr"),
    (["announce", "URL", HASH, "--peer-id", "short"], "--peer-id"),
    (["announce", "URL", HASH, "--compact", "2"], "--compact"),
    (["announce", "URL", HASH, "--peers-wanted", "x"], "--peers-wanted"),
    (["announce", "URL", HASH, "--timeout", "0"], "--timeout"),
    (["announce", "URL", HASH, "--timeout", "nan"], "--timeout"),
    (["announce", "URL", HASH, "--format", "xml"], "--format"),
    (["announce", "URL", HASH, "--xyzzy"], "there is no option --xyzzy (see"),
    (["announce", "URL", HASH, "--time", "1"], "no option --time; did you mean --timeout? (see"),
    (["announce", "URL", HASH, "--uplaoded=1"], "no option --uplaoded; did you mean --uploaded?"),
    (["scrape", "URL", HASH, "-x"], "there is no option -x"),
    (["announce", "URL", HASH, "--key"], "--key"),
    (["announce", "URL", HASH, "-4", "-6"], "-6"),
    (["announce", "URL", HASH, "-6"], "127.0.0.1"),
    (["announce", "http://[::1]:1/", HASH, "-4"], "::1"),
    (["scrape", "URL", HASH, "--event", "started"], "--event"),
    (["announce", "udp://h:1", HASH], "'udp'; http:// or https:// is expected"),
    (["announce", "http://h/\x1b[31m\u202e", HASH], "no spaces, control characters"),
]


@pytest.mark.parametrize("arguments, expected", WRONG)
def test_wrong_usage(http, tracker, arguments, expected):
    arguments = [word.replace("URL", tracker.http_url) for word in arguments]
    result = http(*arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("http_tracker_client.py: error: ")
    assert result.stderr.count("\n") == 1
    assert result.stderr[:-1].isprintable()
    assert result.stderr.endswith("(see --help)\n")
    assert expected in result.stderr
    assert tracker.requests == []


@pytest.mark.parametrize("arguments", [
    ["--help"], ["-h"], ["announce", "--help"], ["scrape", "-h"], ["--help", "announce", "x"],
])
def test_help(http, arguments):
    result = http(*arguments)
    assert (result.code, result.stderr) == (0, "")
    assert "examples:" in result.stdout
    assert "exit codes:" in result.stdout
    if "announce" in arguments:
        for option in (
            "--event --uploaded --downloaded --left --port --peer-addr --peer-id --compact"
            " --peers-wanted --key --tracker-id --user-agent --header --cacert --insecure --format"
            " --timeout --verbose --version --ipv4 --ipv6"
        ).split():
            assert option in result.stdout


@pytest.mark.parametrize("arguments", [["--version"], ["announce", "--version"]])
def test_version(http, arguments):
    result = http(*arguments)
    expected = "http_tracker_client.py {}\n".format(client.VERSION)
    assert (result.code, result.stdout, result.stderr) == (0, expected, "")


def test_verbose(http, tracker):
    tracker.http_fault = "redirect"
    result = http("announce", tracker.http_url, HASH, "-v")
    assert result.code == 0
    assert result.json["interval"] == 120
    address = tracker.http_url[len("http://") :]
    assert result.stderr.count("connecting to {}\n".format(address)) == 2
    sent = "-> {} GET {}/announce?info_hash=%9C8B".format(address, tracker.http_url)
    assert sent in result.stderr
    assert "<- {} HTTP 302".format(address) in result.stderr
    assert " ms after" in result.stderr


# Where the script stands


def test_bencode_alone_is_found_where_python_does_not_look(pythons, tracker, tmp_path):
    for name in (SCRIPT, "bencode.py"):
        shutil.copy(os.path.join(ROOT, name), str(tmp_path))
    (tmp_path / "socket.py").write_text("raise ImportError('not the one of the library')")
    for python in pythons.values():
        command = [python, "-I", str(tmp_path / SCRIPT), "announce", tracker.http_url, HASH]
        result = run_command(command, cwd="/")
        assert (result.code, result.stderr) == (0, "")


def test_alone_in_an_empty_folder(run_script, python, tracker, tmp_path):
    shutil.copy(os.path.join(ROOT, SCRIPT), str(tmp_path))
    result = run_script(tmp_path / SCRIPT, "announce", tracker.http_url, HASH, python=python)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith("http_tracker_client.py: error: bencode.py is missing")
    assert result.stderr.count("\n") == 1
    assert tracker.requests == []
    shutil.copy(os.path.join(ROOT, "bencode.py"), str(tmp_path))
    for command in ("announce", "scrape"):
        result = run_script(tmp_path / SCRIPT, command, tracker.http_url, HASH, python=python)
        assert (result.code, result.stderr) == (0, "")


@pytest.mark.parametrize("content", [
    "def bdecode(data):\n    pass\n", "print 'Python 2'\n", "raise RuntimeError('no')\n",
])
def test_another_package_of_the_name_bencode(run_script, tracker, tmp_path, content):
    (tmp_path / "library" / "bencode").mkdir(parents=True)
    (tmp_path / "library" / "bencode" / "__init__.py").write_text(content)
    script = tmp_path / "alone" / SCRIPT
    script.parent.mkdir()
    shutil.copy(os.path.join(ROOT, SCRIPT), str(script))
    environment = {"PYTHONPATH": str(tmp_path / "library")}
    result = run_script(script, "announce", tracker.http_url, HASH, env=environment)
    assert (result.code, result.stdout) == (2, "")
    assert "bencode.py is missing" in result.stderr
    assert result.stderr.count("\n") == 1
    # What needs no bencode works without it.
    assert run_script(script, "--version", env=environment).code == 0
    assert "no command" in run_script(script, env=environment).stderr


def test_plain_http_needs_no_ssl(http, tracker, tmp_path):
    # Some builds of Python come without ssl; http.client is slow to load.
    for module in ("ssl", "http"):
        (tmp_path / (module + ".py")).write_text("raise ImportError('no {} here')\n".format(module))
    environment = {"PYTHONPATH": str(tmp_path)}
    for arguments in (["--version"], ["announce", tracker.http_url, HASH]):
        result = http(*arguments, env=environment)
        assert (result.code, result.stderr) == (0, "")
    url = tracker.http_url.replace("http:", "https:")
    error = record_of(http("announce", url, HASH, env=environment))
    assert error["kind"] == "tls"
    assert "no ssl here" in error["message"]


# WebSocket trackers behind TLS and proxies; the rest of them is in test_websocket_trackers.py.


@pytest.mark.parametrize("through_proxy", [False, True])
def test_wss(http, secure_tracker, cacert, proxy, through_proxy):
    environment = {"https_proxy": proxy.url.replace("//", "//user:pass@")} if through_proxy else {}
    arguments = ["announce", secure_tracker.ws_url, HASH, "--cacert", cacert]
    result = http(*arguments, "--header", "Cookie: secret", env=environment)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["complete"] == 1
    upgrade, = requests_of(secure_tracker, "upgrade")
    headers = dict(upgrade["headers"])
    assert headers["Cookie"] == "secret"
    assert "Proxy-Authorization" not in headers
    assert len(proxy.heads) == through_proxy
    for head in proxy.heads:
        assert head.startswith("CONNECT localhost:{} HTTP/1.1".format(secure_tracker.http_port))
        assert "secret" not in head


def test_ws_goes_through_a_tunnel_of_the_http_proxy(http, tracker, proxy):
    environment = {"http_proxy": proxy.url, "https_proxy": "http://127.0.0.1:1"}
    result = http("scrape", tracker.ws_url, HASH, env=environment)
    assert (result.code, result.stderr) == (0, "")
    head, = proxy.heads
    assert head.startswith("CONNECT 127.0.0.1:{} HTTP/1.1".format(tracker.http_port))


def test_wss_with_a_certificate_of_an_unknown_authority(http, secure_tracker):
    result = http("announce", secure_tracker.ws_url, HASH)
    assert record_of(result)["kind"] == "tls"
    assert http("announce", secure_tracker.ws_url, HASH, "--insecure").code == 0
