#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Ask a BitTorrent tracker over HTTP or WebSocket: announce and scrape, answered in JSON.

    http_tracker_client.py announce https://tracker.example.org/announce INFO_HASH
    http_tracker_client.py announce wss://tracker.example.org INFO_HASH
    http_tracker_client.py scrape https://tracker.example.org/announce [INFO_HASH ...]

Needs python3 (3.6 or newer) and bencode.py beside it, nothing else. It follows BEP 3 (trackers),
BEP 7 (IPv6), BEP 23 (compact peers), BEP 24 (external ip), BEP 31 (retry in), BEP 48 (scrape),
BEP 52 (truncated version 2 info hashes), and RFC 6455 (WebSocket) for the trackers of WebTorrent.

The idea: what is asked and what an answer says are pure functions; what comes over the wire is
read by parsers that do no I/O; and fetching is written as steps, generator functions that
yield what they wait for. Here run_steps() runs them alone, under one deadline; in the checker its
loop runs thousands side by side.

The map, from top to bottom:
    http urls           the URL and query of an announce and of a scrape
    http answers        what a reply says, and whether it is an answer at all
    http fetch          one URL, through proxies, TLS and redirects, as steps
    http reply          bytes in, a response out: HTTP as servers really write it
    websocket           bytes in, messages out, and a tracker asked on one connection
    steps               what steps wait for; connecting, and TLS
    question, answer    running the steps alone, and replies as JSON
    command line        options, help, main()
    plumbing            HTTP options, parser, options; URLs; addresses (and the Race between those
                        of a host); name lookup; output (Failure, JSON, signals and the exit)

The other scripts have some of this too: what stands between "carried region" lines is the same,
word for word, in each that needs it. Edit it in the script that the line calls its home, then run
tools/sync_copies.py; so every script remains a single file.
"""
import errno
import json
import os
import re
import selectors
import signal
import socket
import sys
import time
from collections import namedtuple
from urllib.parse import quote, unquote_to_bytes, urljoin

VERSION = "0.1.0"
USER_AGENT = "http_tracker_client.py/" + VERSION


# --- carried region: http urls (home: http_tracker_client.py) ---
# The URLs and queries of BEP 3, 7, 23 and 48: pure functions.
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
HTTP_SCHEMES, WEBSOCKET_SCHEMES = ("http", "https"), ("ws", "wss")
SECURE_SCHEMES = ("https", "wss")


def is_websocket(text: str) -> bool:
    """Whether a tracker's URL is that of a WebSocket tracker (WebTorrent)."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in WEBSOCKET_SCHEMES


def split_web_url(text: str, schemes: tuple = HTTP_SCHEMES) -> tuple:
    """Checks a URL and returns (all before its path, its path, its query with the ?).

    The host comes out in ASCII, path and query percent-encoded. Raises ValueError.
    """
    scheme, separator, _ = text.partition("://")
    if scheme.lower() not in schemes:
        found = "scheme {!r}".format(scheme) if separator else "no scheme"
        raise ValueError("{}; {}:// or {}:// is expected".format(found, *schemes))
    url = split_url(text)
    authority = "[{}]".format(url.host.replace("%", "%25")) if ":" in url.host else url.host
    if url.credentials is not None:
        authority = "{}@{}".format(encode_path(url.credentials, None), authority)
    if url.port is not None:
        authority = "{}:{}".format(authority, url.port)
    query = "" if url.query is None else "?" + encode_path(url.query, None)
    return "{}://{}".format(url.scheme, authority), encode_path(url.path, None), query


def port_of(url: "Url") -> int:
    return url.port or DEFAULT_PORTS[url.scheme]


def announce_url(text: str) -> str:
    """Returns the URL to announce at for a tracker's URL; raises ValueError for a broken one."""
    base, path, query = split_web_url(text)
    folder, _, last = path.rpartition("/")
    if path in ("", "/"):
        path = "/announce"
    elif last.startswith("scrape"):
        path = "{}/announce{}".format(folder, last[len("scrape") :])
    return base + path + query


def scrape_url(text: str) -> str:
    """Returns the URL to scrape at for a tracker's URL (BEP 48); ValueError where there is none.

    A last or last-but-one segment that begins with announce is turned to scrape.
    """
    base, path, query = split_web_url(text)
    segments = path.split("/")
    if path in ("", "/"):
        segments = ["", "scrape"]
    elif not segments[-1].startswith("scrape"):
        for index in (-1, -2):
            if segments[index].startswith("announce"):
                segments[index] = "scrape" + segments[index][len("announce") :]
                break
        else:
            raise ValueError(
                "there is no scrape URL for the path {!r}: none of its last two segments begins "
                "with announce or scrape (BEP 48)".format(path)
            )
    return base + "/".join(segments) + query


def websocket_url(text: str) -> str:
    """Returns the URL of a WebSocket tracker, whose path is used as it is; raises ValueError."""
    base, path, query = split_web_url(text, WEBSOCKET_SCHEMES)
    return base + (path or "/") + query


def encode_query(parameters: list) -> str:
    """Returns a query of (name, value) pairs of bytes, text and numbers; None is left out."""
    return "&".join(
        "{}={}".format(name, value if isinstance(value, int) else quote(value, safe=""))
        for name, value in parameters
        if value is not None
    )


def with_query(url: str, query: str) -> str:
    """Appends a query to a URL, which may have one already."""
    if not query:
        return url
    separator = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return url + separator + query


# --- end of carried region: http urls ---


# --- carried region: http answers (home: http_tracker_client.py) ---
# What a reply says.
def import_bencode():
    """Returns the module bencode; raises Failure (missing_file) where it does not stand beside."""
    path = sys.path
    if "bencode" not in sys.modules and "__file__" in globals():
        # With -I or PYTHONSAFEPATH Python does not look there by itself.
        sys.path = [os.path.dirname(os.path.realpath(__file__))] + path
    try:
        import bencode

        # Another package may be of that name, and not even be Python 3.
        bencode.to_json
    except Exception as error:
        text = "bencode.py is missing: copy it beside this file ({})"
        raise Failure("missing_file", text.format(error))
    finally:
        sys.path = path
    return bencode


def excerpt(text: str) -> str:
    """Returns a text from the network as a message can have it: short, and without controls."""
    text = escape(text)
    return text if len(text) <= 120 else text[:117] + "..."


def read_reply(response: "HttpResponse"):
    """Returns the bencoded value of a reply's body; white space after it is no error.

    Raises Failure (http_status for 4xx and 5xx, else invalid_response) when it is no bencode.
    """
    bencode = import_bencode()
    try:
        return bencode.decode(response.body.rstrip(b" \t\r\n"))
    except bencode.BencodeError as error:
        raise broken_reply(response, "not bencode ({})".format(error))


def broken_reply(response: "HttpResponse", problem: str) -> "Failure":
    """Returns the Failure that shows a reply that nothing can be read from."""
    encoding = response.headers.get("content-encoding")
    text = "HTTP {} {}, {}, {}{}: {}".format(
        response.status,
        excerpt(response.reason),
        excerpt(response.headers.get("content-type") or "no content type"),
        excerpt(encoding) + ", " if encoding else "",
        problem,
        repr(response.body[:80])[1:] if response.body else "an empty body",
    )
    return Failure("http_status" if response.status >= 400 else "invalid_response", text)


def require_announce(value, status: int, event: str = "started") -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    require_dictionary(value, status)
    if event != "stopped" and not any(key in value for key in (b"interval", b"peers", b"peers6")):
        raise Failure("invalid_response", "the reply has neither interval nor peers nor peers6")


def require_scrape(value, status: int) -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    require_dictionary(value, status)
    if not isinstance(value.get(b"files"), dict):
        raise Failure("invalid_response", "the reply has no dictionary files")


def require_dictionary(value, status):
    if isinstance(value, dict) and b"failure reason" in value:
        reason = text_of(value[b"failure reason"])
        raise Failure("failure_reason", "the tracker says {!r}".format(reason))
    if status >= 400:
        raise Failure("http_status", "the reply came with HTTP status {}".format(status))
    if not isinstance(value, dict):
        raise Failure("invalid_response", "the reply is not a dictionary")


def scraped_hash(key: bytes) -> bytes:
    """Returns the info hash that a key of files stands for.

    bittorrent-tracker sends the UTF-8 of the Latin-1 reading of the 20 bytes.
    """
    if len(key) != 20:
        try:
            narrow = key.decode("utf-8").encode("latin-1")
        except UnicodeError:
            return key
        if len(narrow) == 20:
            return narrow
    return key


# --- end of carried region: http answers ---


# --- carried region: http fetch (home: http_tracker_client.py) ---
# A URL is fetched through proxies, TLS and redirects, as steps: generator functions that read like
# code that blocks. They yield what they wait for (a Lookup, a Wait), and who runs them sends back
# what came of it, or throws the Failure that ends them there: the deadline's, for one.
REDIRECTS = 5
PROXY_PORT = 1080  # as curl has it
SECRET_HEADERS = ("Authorization", "Cookie", "Host", "Proxy-Authorization")

# What all requests of a run have in common. ip_version is 4, 6 or None; headers are (name, value)
# pairs, tls is a Tls, environ has the proxy variables, trace is called with what is done, or None.
HttpOptions = namedtuple("HttpOptions", "ip_version user_agent headers tls environ trace")


def fetch(url: str, options: HttpOptions, deadline: float, limit: int, read=None):
    """Steps that get a URL, through redirects; they return (its HttpResponse, what was read).

    limit is how many bytes the body may have; with None it is not read. read(response) returns
    what is read from it, or raises Failure: an address that answers with junk so gives way to the
    others of its host. The deadline is kept by who runs the steps; here it only spaces out the
    addresses. Credentials, cookies and a Host
    header given as options go to the URL's own scheme, host and port only. They raise Failure
    (resolve_failed, timeout, refused, unreachable, tls, invalid_response, too_large, redirect;
    http_status where a proxy refuses, or an error status has a broken body).
    """
    target = first = split_url(url)
    home = True
    redirected = ""
    for _ in range(REDIRECTS + 1):
        credentials = first.credentials if home else None
        headers = request_headers(options, target, credentials, home)
        try:
            response, value = yield from get(target, headers, options, deadline, limit, read)
        except Failure as failure:
            raise failure.copy(redirected)
        if response.status not in REDIRECT_STATUSES:
            return response, value
        url = redirect_target(url, response.headers.get("location"))
        target = split_url(url)
        # Who was once sent elsewhere is not trusted with the way back.
        home = home and origin_of(target) == origin_of(first)
        redirected = "redirected to {}: ".format(excerpt(url))
        if options.trace:
            options.trace("redirected to {}".format(url))
    raise Failure("redirect", "more than {} redirects".format(REDIRECTS))


def get(target: "Url", headers: dict, options: HttpOptions, deadline: float, limit: int, read):
    """Steps that send one request, no redirects, and return (its HttpResponse, what was read)."""
    proxy = proxy_in_force(target, options)
    authority, path = request_parts(target)
    url = "{}://{}{}".format(target.scheme, authority, path)
    if proxy and target.scheme == "http":
        path = url
        add_proxy_authorization(headers, proxy)

    def ask(address):
        stream = yield from open_stream(address, target, proxy, options)
        try:
            if options.trace:
                options.trace("-> {} GET {}".format(stream.address, url))
            sent = time.monotonic()
            response, _ = yield from request(stream, "GET", path, headers, limit)
            if options.trace:
                elapsed = (time.monotonic() - sent) * 1000
                text = "<- {} HTTP {}, {:.1f} ms after the request"
                options.trace(text.format(stream.address, response.status, elapsed))
        finally:
            stream.close()
        response = response._replace(
            address=stream.address, certificate_expires=stream.certificate_expires
        )
        unread = read is None or response.status in REDIRECT_STATUSES
        return response, None if unread else read(response)

    return (yield from reach(target, proxy, options, deadline, ask))


def proxy_in_force(target: "Url", options: HttpOptions) -> "Url":
    """Returns the proxy for a URL, None for none; Failure (unreachable) for an unsupported one."""
    try:
        return proxy_for(target, options.environ)
    except ValueError as error:
        raise Failure("unreachable", str(error))


def reach(target: "Url", proxy: "Url", options: HttpOptions, deadline: float, attempt):
    """Steps that run attempt(address), steps too, at the addresses of a host, or of its proxy."""
    peer, port = target, port_of(target)
    if proxy:
        peer, port = proxy, proxy.port or PROXY_PORT
    try:
        addresses = yield from find_addresses(peer.host, port, options.ip_version)
    except Failure as failure:
        raise failure.copy("the proxy: ") if proxy else failure
    return (yield from try_addresses(addresses, attempt, deadline))


def open_stream(address: tuple, target: "Url", proxy: "Url", options: HttpOptions):
    """Steps that return a Stream to the target, TLS and all: an attempt at one address.

    The address is the target's, or that of the proxy that is not None.
    """
    if options.trace:
        options.trace("connecting to {}".format(show_address(address)))
    stream = None
    through = proxy
    try:
        stream = yield from connect(address)
        yield TURN
        if proxy and target.scheme != "http":
            yield from open_tunnel(stream, target, proxy)
        if target.scheme in SECURE_SCHEMES:
            # What fails from here on is the target's.
            through = None
            yield from stream.start_tls(target.host, options.tls)
        return stream
    except BaseException as error:
        # GeneratorExit, too: another address may answer while this one waits for its turn.
        if stream:
            stream.close()
        if through and isinstance(error, Failure):
            raise error.copy("the proxy: ")
        raise


def open_tunnel(stream: "Stream", target: "Url", proxy: "Url"):
    """Steps that ask a proxy for a connection to the target; Failure when it refuses."""
    authority = show_address((target.host.partition("%")[0], port_of(target)))
    headers = {"Host": authority}
    add_proxy_authorization(headers, proxy)
    # What follows the headers is the tunnel, in which the client speaks first.
    response, _ = yield from request(stream, "CONNECT", authority, headers, limit=None)
    if not 200 <= response.status < 300:
        text = "it refuses the connection: HTTP {} {}"
        raise Failure("http_status", text.format(response.status, excerpt(response.reason)))


def request(stream: "Stream", method: str, request_target: str, headers: dict, limit: int):
    """Steps that send a request over a stream; they return (its HttpResponse, what came after)."""
    lines = ["{} {} HTTP/1.1".format(method, request_target)]
    lines.extend("{}: {}".format(*header) for header in headers.items())
    yield from stream.send("\r\n".join(lines + ["", ""]).encode("latin-1"))
    parser = ReplyParser(limit)
    response = None
    while response is None:
        response = parser.feed((yield from stream.receive()))
    return response, parser.rest


def origin_of(url: "Url") -> tuple:
    """Returns what has to be the same for credentials to be sent: scheme, host and port."""
    return url.scheme, url.host.lower(), port_of(url)


def redirect_target(url: str, location: str) -> str:
    """Returns where a Location header leads to, without credentials; raises Failure (redirect)."""
    if location is None:
        raise Failure("redirect", "a redirect without a Location")
    # Headers are Latin-1, but a URL that is not ASCII is UTF-8 as a rule; spaces are taken for %20,
    # as curl does.
    location = text_of(location.strip(" \t").encode("latin-1")).replace(" ", "%20")
    try:
        # Checked before it is joined, which would drop line ends silently.
        require_url_characters(location)
        base, path, query = split_web_url(urljoin(url, location))
    except ValueError as error:
        text = "a redirect to {}: {}".format(excerpt(location), excerpt(str(error)))
        raise Failure("redirect", text)
    scheme, _, authority = base.partition("://")
    return "{}://{}{}{}".format(scheme, authority.rpartition("@")[2], path, query)


def request_headers(options: HttpOptions, target: "Url", credentials: str, home: bool) -> dict:
    """Returns the headers of a request; home says whether it goes where the user sent it.

    What a user gives replaces what is sent by itself, but for Connection.
    """
    given = {}
    for name, value in options.headers:
        name = name.title()  # so that one given twice is joined, whatever its case
        if home or name not in SECRET_HEADERS:
            if name in given:
                value = given[name] + ("; " if name == "Cookie" else ", ") + value
            given[name] = value
    usual = {
        "Host": request_parts(target)[0],
        "User-Agent": options.user_agent,
        "Accept-Encoding": "identity",
    }
    if credentials is not None:
        usual["Authorization"] = basic_authorization(credentials)
    return dict(usual, **given, Connection="close")


def basic_authorization(credentials: str) -> str:
    """Returns the value of an Authorization header for user:password of a URL (RFC 7617)."""
    import base64

    user, _, password = credentials.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + base64.b64encode(pair).decode("ascii")


def add_proxy_authorization(headers: dict, proxy: "Url") -> None:
    """Adds the header for the credentials of a proxy, where it has some."""
    if proxy.credentials is not None:
        headers["Proxy-Authorization"] = basic_authorization(proxy.credentials)


def request_parts(url: "Url") -> tuple:
    """Returns what a request has of a URL: (authority, path and query).

    The authority is without credentials, the scope of an address, and a port that is implied.
    """
    host = url.host.partition("%")[0]
    if port_of(url) != DEFAULT_PORTS[url.scheme]:
        authority = show_address((host, port_of(url)))
    else:
        authority = "[{}]".format(host) if ":" in host else host
    return authority, encode_path(url.path or "/", url.query)


# Proxies come from http_proxy, https_proxy and no_proxy; another kind is refused, not bypassed.
def proxy_for(target: "Url", environ) -> "Url":
    """Returns the proxy for a URL, None for none; raises ValueError for an unsupported one."""
    own = "https_proxy" if target.scheme in SECURE_SCHEMES else "http_proxy"
    names = own, "all_proxy", "ALL_PROXY"
    name = next((name for name in names if environ.get(name)), names[0])
    proxy = environ.get(name)
    if not proxy or is_exempt(target, environ.get("no_proxy") or environ.get("NO_PROXY", "")):
        return None
    if name != names[0]:
        raise ValueError("{} is not supported; http_proxy and https_proxy are".format(name))
    proxy = proxy if "://" in proxy else "http://" + proxy
    # Nothing of the value is shown but its scheme: it may have a password.
    scheme = proxy.partition("://")[0].lower()
    if scheme != "http":
        raise ValueError("{}: scheme {!r}; http:// is expected".format(name, scheme))
    try:
        return split_url(proxy)
    except ValueError:
        raise ValueError("{}: not a URL; http://host:port is expected".format(name))


def is_exempt(target: "Url", no_proxy: str) -> bool:
    """Whether no_proxy has the host: *, a name or its parent, an address; with a port or not."""
    host = target.host.lower().partition("%")[0].rstrip(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        name, colon, port = entry.rpartition(":")
        # What follows the last colon of an IPv6 address without brackets is no port.
        if colon and DIGITS.issuperset(port) and (":" not in name or name.endswith("]")):
            if port != str(port_of(target)):
                continue
            entry = name
        entry = entry.strip("[]")
        if entry in ("*", host):
            return True
        if not literal_version(host) and ("." + host).endswith("." + entry.lstrip("*.")):
            return True
    return False


# --- end of carried region: http fetch ---


# --- carried region: http reply (home: http_tracker_client.py) ---
# Bytes in, a response or a Failure out: HTTP/1.1 (RFC 9112) as servers really write it.
HEADERS_LIMIT = 64 * 1024  # bytes of the status line and all headers; of chunk sizes, too
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ +([1-9][0-9]{2})(?: +(.*))?", re.DOTALL)
HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:(.*)", re.DOTALL)
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(;.*)?", re.DOTALL)
CONTENT_LENGTH = re.compile("0*([0-9]+) *(,|$)")
DICTIONARY = re.compile(rb"d[0-9]{1,20}:")
GZIP = b"\x1f\x8b"

# headers has names in lower case; address is that of the server, or of the proxy before it, None
# before it is known; certificate_expires, a Unix time, is None without TLS.
HttpResponse = namedtuple(
    "HttpResponse", "status reason headers body address certificate_expires"
)
HttpResponse.__new__.__defaults__ = (None, None)


class ReplyParser:
    """Reads the reply to one request from its bytes, whole or one at a time; it does no I/O.

    feed() takes what has come, b"" for the end of the connection, and returns the HttpResponse
    once it is whole, None before. limit is how many bytes the body may have, as sent and when
    decompressed; with None, and of a redirect, the body is not read.

    The strategy: each part of a reply has a method that takes it from the buffer, sets the method
    for the part after it, and returns whether it was there; feed() calls them while they are. A
    header line that is none costs that line and no more (as with curl), and a body that begins
    as bencode or gzip does is plain, whatever the headers call it.

    feed() raises Failure (invalid_response, http_status, too_large).
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.response = None
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer in which there is no line end
        self._ended = False
        self._line_bytes_left = HEADERS_LIMIT
        self._status, self._reason, self._headers = None, "", {}
        self._last_header = None
        self._body = bytearray()
        self._missing = None  # bytes of the body, or of its chunk, that have not come
        self._take_part = self._take_status_line

    @property
    def rest(self) -> bytes:
        """What has come after the reply, as frames do behind an upgrade."""
        return bytes(self._buffer)

    def feed(self, data: bytes):
        self._buffer += data
        self._ended = not data
        while self.response is None and self._take_part():
            pass
        return self.response

    def _take_line(self):
        """Returns the next line without its end, None while it has not come whole."""
        end = self._buffer.find(b"\n", self._searched)
        size = len(self._buffer) if end < 0 else end + 1
        if size > self._line_bytes_left:
            raise Failure("too_large", "too many bytes of headers or chunk sizes")
        if end < 0:
            self._searched = size
            return None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[:size]
        self._searched = 0
        self._line_bytes_left -= size
        return line

    def _take_status_line(self):
        line = self._take_line()
        if line is None:
            if self._ended and not self._buffer:
                raise Failure("invalid_response", "the connection was closed without a reply")
            beginning = self._buffer[:120]
            if self._ended or (len(beginning) == 120 and not beginning.startswith(b"HTTP/")):
                raise self._no_http(beginning)
            return False
        found = STATUS_LINE.fullmatch(line)
        if not found:
            raise self._no_http(line)
        self._last_header = None
        self._status = int(found.group(1))
        self._reason = (found.group(2) or b"").decode("latin-1").strip()
        self._take_part = self._take_header
        return True

    def _no_http(self, data):
        text = excerpt(bytes(data[:120]).rstrip(b"\r").decode("latin-1"))
        return Failure("invalid_response", "no HTTP reply: {}".format(text))

    def _take_header(self):
        line = self._take_line()
        if line is None and not self._ended:
            return False
        if not line:
            # Where the connection ends within the headers, what came of them counts.
            self._end_headers()
        elif line[:1] in (b" ", b"\t"):
            # It goes on with the line before (RFC 9112, 5.2). The line end is kept, so that a
            # Location that has one is refused.
            if self._last_header:
                value = self._headers[self._last_header]
                more = line.strip().decode("latin-1")
                self._headers[self._last_header] = value + "\n" + more if value else more
        else:
            found = HEADER_LINE.fullmatch(line)
            self._last_header = None
            if found:
                name = found.group(1).decode("ascii").lower()
                if name not in self._headers:
                    self._headers[name] = found.group(2).strip(b" \t").decode("latin-1")
                    self._last_header = name
        return True

    def _end_headers(self):
        if 100 <= self._status < 200 and self._status != 101:
            # Others may come before the answer, as 103 Early Hints (RFC 9110, 15.2).
            self._status, self._headers = None, {}
            self._take_part = self._take_status_line
            return
        length = CONTENT_LENGTH.match(self._headers.get("content-length", ""))
        codings = self._headers.get("transfer-encoding", "").lower().split(",")
        if self._status in REDIRECT_STATUSES + (101, 204, 304) or self.limit is None:
            self._finish()
        elif "chunked" in map(str.strip, codings):
            self._take_part = self._take_first_chunk_size
        elif length:
            self._missing = int(length.group(1)[:20])  # int() is slow for a text without end
            if self._missing > self.limit:
                text = "a body of {} bytes is announced".format(excerpt(length.group(1)))
                raise Failure("too_large", text)
            self._take_part = self._take_sized_body
        else:
            self._take_part = self._take_body_to_the_end

    def _take_sized_body(self):
        self._missing -= self._move_to_body(self._missing)
        if self._missing:
            if self._ended:
                text = "the body is {} bytes shorter than announced".format(self._missing)
                raise self._broken(text, self._body)
            return False
        self._finish()
        return True

    def _take_body_to_the_end(self):
        self._move_to_body(len(self._buffer))
        if self._ended:
            self._finish()
        return self._ended

    def _move_to_body(self, most):
        """Moves what the buffer has to the body, but no more than so many bytes; how many."""
        part = self._buffer[:most]
        del self._buffer[:most]
        self._body += part
        if len(self._body) > self.limit:
            raise Failure("too_large", "the body has more bytes than are accepted")
        return len(part)

    def _take_first_chunk_size(self):
        if DICTIONARY.match(self._buffer) or self._buffer.startswith(GZIP):
            # A plain body, which some servers announce as chunked.
            self._take_part = self._take_body_to_the_end
            return True
        return self._take_chunk_size()

    def _take_chunk_size(self):
        line = self._take_line()
        if line is None:
            if self._ended:
                raise self._broken("the body ends before its last chunk", self._body + self._buffer)
            return False
        found = CHUNK_SIZE.fullmatch(line)
        if not found:
            raise self._broken("a chunk of the body has a broken size, or none", self._body + line)
        self._missing = int(found.group(1), 16)
        if self._missing:
            self._take_part = self._take_chunk
        else:
            # Trailers are not waited for: nothing else is read from this connection.
            self._finish()
        return True

    def _take_chunk(self):
        moved = self._move_to_body(self._missing)
        self._missing -= moved
        # So the sizes of all chunks may have as many bytes as the chunks, and what headers left.
        self._line_bytes_left += moved
        if self._missing:
            if self._ended:
                raise self._broken("the body ends within a chunk", self._body)
            return False
        self._take_part = self._take_chunk_end
        return True

    def _take_chunk_end(self):
        if not self._buffer.startswith((b"\n", b"\r\n")):
            if self._ended:
                raise self._broken("the body ends before its last chunk", self._body)
            if self._buffer not in (b"", b"\r"):
                raise self._broken("a chunk of the body is longer than its size", self._body)
            return False
        del self._buffer[: self._buffer.index(b"\n") + 1]
        self._take_part = self._take_chunk_size
        return True

    def _finish(self):
        encoding = self._headers.get("content-encoding", "").lower()
        try:
            body = decompress(bytes(self._body), encoding, self.limit)
        except ValueError as error:
            raise self._broken(str(error), self._body)
        self.response = HttpResponse(self._status, self._reason, self._headers, body)

    def _broken(self, problem, came):
        response = HttpResponse(self._status, self._reason, self._headers, bytes(came))
        return broken_reply(response, problem)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Returns what a body is without gzip or deflate (with its wrapper or without).

    What begins as gzip does is gzip, and what begins as bencode does is plain, whatever the
    encoding says. Raises ValueError where it is broken, Failure (too_large) beyond the limit.
    """
    gzipped = body.startswith(GZIP)
    deflated = "deflate" in encoding and body and not DICTIONARY.match(body)
    if not gzipped and not deflated:
        return body
    import zlib

    for window in (16 + zlib.MAX_WBITS,) if gzipped else (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit:
            raise Failure("too_large", "the body has more bytes than are accepted")
        if not stream.eof:
            raise ValueError("the compressed body is cut off")
        return plain
    raise ValueError("the compressed body is broken")


# --- end of carried region: http reply ---


# --- carried region: websocket (home: http_tracker_client.py) ---
# WebSocket (RFC 6455) as WebTorrent's trackers speak it: JSON, one message a request, in which each
# byte of a binary string is the character of the same number. Such a tracker has no peers to give
# to who makes no offers; no offers are made here.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL_CLOSE = (1000).to_bytes(2, "big")
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NO_TRACKER_HINT = "; this may be no WebSocket tracker"
PEER_ID_BEGINNING = b"-qB4500-"
PEER_ID_CHARACTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class FrameParser:
    """Reads messages from the bytes of a WebSocket connection, whole or one at a time; no I/O.

    feed() takes what has come, take() returns the next message as (opcode, payload), None while it
    has not come whole. The opcode is TEXT (also for binary messages, and for what came in
    fragments), PING, PONG or CLOSE. limit is how many bytes a message may have.

    take() raises Failure (invalid_response for what RFC 6455, 5 does not allow, too_large).
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._buffer = bytearray()
        self._message = bytearray()
        self._in_fragments = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self):
        while True:
            frame = self._take_frame()
            if frame is None:
                return None
            opcode, final, payload = frame
            if opcode >= CLOSE:
                return opcode, payload
            self._message += payload
            self._in_fragments = not final
            if final:
                message, self._message = bytes(self._message), bytearray()
                return TEXT, message

    def _take_frame(self):
        """Returns (opcode, whether it is the last of its message, payload) of the next frame."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final, length = buffer[0] & 0x0F, bool(buffer[0] & 0x80), buffer[1] & 0x7F
        problem = self._problem_of(opcode, final, length)
        if problem:
            raise Failure("invalid_response", "it breaks the WebSocket protocol: " + problem)
        start = {126: 4, 127: 10}.get(length, 2)
        if len(buffer) < start:
            return None
        if start > 2:
            length = int.from_bytes(buffer[2:start], "big")
        if opcode < CLOSE and len(self._message) + length > self.limit:
            raise Failure("too_large", "a message of more bytes than are accepted")
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, final, payload

    def _problem_of(self, opcode, final, length):
        if self._buffer[1] & 0x80:
            return "a masked frame"
        if self._buffer[0] & 0x70:
            return "a reserved bit"
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return "the unknown opcode {}".format(opcode)
        if opcode >= CLOSE:
            return None if final and length <= 125 else "a control frame in fragments, or too long"
        if (opcode == CONTINUATION) != self._in_fragments:
            return "a fragment that does not fit"
        return None


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Returns a whole message in one frame, masked as a client has to (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    masks = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(masks, "big")
    return bytes([0x80 | opcode]) + length + mask + masked.to_bytes(size, "big")


def open_websocket(url: str, options: HttpOptions, deadline: float, limit: int, ask):
    """Steps that return (a WebSocket to a tracker's URL, what ask(websocket) returned).

    ask(websocket) are steps, too, for the first question: an address that agrees to the upgrade and
    then says nothing, or junk, gives way to the others of its host. limit is how many bytes a
    message may have. Redirects are not followed. They raise Failure (resolve_failed, timeout,
    refused, unreachable, tls, invalid_response, too_large, http_status, and what ask raises).
    """
    target = split_url(url)
    proxy = proxy_in_force(target, options)

    def attempt(address):
        stream = yield from open_stream(address, target, proxy, options)
        try:
            websocket = yield from upgrade(stream, target, options, limit)
            return websocket, (yield from ask(websocket))
        except BaseException:
            # GeneratorExit, too: another address may have answered first.
            stream.close()
            raise

    return (yield from reach(target, proxy, options, deadline, attempt))


def upgrade(stream: "Stream", target: "Url", options: HttpOptions, limit: int):
    """Steps that turn a stream into a WebSocket (RFC 6455, 4.1), and return it.

    They raise Failure (timeout, invalid_response, too_large; http_status for any but 101).
    """
    from base64 import b64encode
    from hashlib import sha1

    key = b64encode(os.urandom(16))
    headers = request_headers(options, target, target.credentials, home=True)
    headers.update(
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode("ascii"),
            "Sec-WebSocket-Version": "13",
        }
    )
    _, path = request_parts(target)
    if options.trace:
        options.trace("-> {} GET {}, to upgrade".format(stream.address, path))
    try:
        response, came = yield from request(stream, "GET", path, headers, limit=None)
    except Failure as failure:
        hint = NO_TRACKER_HINT if failure.kind == "invalid_response" else ""
        raise Failure(failure.kind, str(failure) + hint)
    if response.status != 101:
        raise broken_upgrade(response)
    accept = b64encode(sha1(key + ACCEPT_SUFFIX).digest()).decode("ascii")
    if response.headers.get("sec-websocket-accept") != accept:
        text = "the upgrade has no right Sec-WebSocket-Accept"
        raise Failure("invalid_response", text + NO_TRACKER_HINT)
    return WebSocket(stream, came, limit, options.trace)


def broken_upgrade(response: "HttpResponse") -> "Failure":
    """Returns the Failure for a server that does not agree to speak WebSocket."""
    text = "it does not speak WebSocket here: HTTP {} {}, {}".format(
        response.status,
        excerpt(response.reason),
        excerpt(response.headers.get("content-type") or "no content type"),
    )
    if response.status in REDIRECT_STATUSES:
        text += ", to " + excerpt(response.headers.get("location") or "nowhere")
    return Failure("http_status", text)


def new_peer_id() -> bytes:
    """Returns a peer id that no client has: 20 characters (BEP 20)."""
    count = len(PEER_ID_CHARACTERS)
    return PEER_ID_BEGINNING + bytes(PEER_ID_CHARACTERS[byte % count] for byte in os.urandom(12))


class WebSocket:
    """A WebSocket connection to a tracker; its operations are steps.

    It has a peer id of its own, since of two connections with the same one a tracker may ignore
    the second.
    """

    def __init__(self, stream: "Stream", came: bytes, limit: int, trace):
        self.stream = stream
        self.address = stream.address
        self.peer_id = new_peer_id()
        self.trace = trace
        self._has_answered = False
        self._parser = FrameParser(limit)
        self._parser.feed(came)

    def ask(self, question: dict):
        """Steps that send a request and return its answer, as the dictionary HTTP would have sent.

        What is no answer to it is skipped: peers' offers and answers, and what has another action
        or torrent. They raise Failure (timeout, invalid_response, too_large).
        """
        if self.trace:
            self.trace("-> {} {}".format(self.address, question["action"]))
        sent = time.monotonic()
        yield from self.send(question)
        while True:
            message = yield from self._receive()
            answer = read_message(message)
            answered = is_answer(answer, question)
            if self.trace:
                text = "<- {} {} bytes, {:.1f} ms after the request{}"
                elapsed = (time.monotonic() - sent) * 1000
                ignored = "" if answered else ", no answer to it: ignored"
                self.trace(text.format(self.address, len(message), elapsed, ignored))
            if answered:
                self._has_answered = True
                for key in (b"action", b"info_hash"):
                    answer.pop(key, None)
                return answer

    def send(self, question: dict):
        """Steps that send a request without waiting for its answer; they raise Failure."""
        text = json.dumps(question, ensure_ascii=False)
        yield from self.stream.send(encode_frame(TEXT, text.encode("utf-8")))

    def close(self):
        """Steps that say goodbye, where there is time for it, and close the connection."""
        try:
            yield from self.stream.send(encode_frame(CLOSE, NORMAL_CLOSE))
        except Failure:
            # It is a courtesy: the tracker sees the end of the connection anyway.
            pass
        finally:
            self.stream.close()

    def _receive(self):
        """Steps that return the next message's bytes, answering each ping on the way."""
        while True:
            message = self._parser.take()
            if message is None:
                self._parser.feed((yield from self._receive_bytes()))
                continue
            opcode, payload = message
            if opcode == TEXT:
                return payload
            if opcode == PING:
                yield from self.stream.send(encode_frame(PONG, payload))
            elif opcode == CLOSE:
                yield from self.stream.send(encode_frame(CLOSE, payload[:2]))
                raise Failure("invalid_response", show_close(payload))

    def _receive_bytes(self):
        try:
            data = yield from self.stream.receive()
            if not data:
                raise Failure("invalid_response", "the connection was closed without a reply")
            return data
        except Failure as failure:
            unheard = failure.kind == "invalid_response" and not self._has_answered
            raise Failure(failure.kind, str(failure) + (NO_TRACKER_HINT if unheard else ""))


def show_close(payload: bytes) -> str:
    """Returns what a close frame says (RFC 6455, 5.5.1)."""
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else "no code"
    reason = excerpt(text_of(payload[2:]))
    return "the tracker closed the connection: {}".format(" ".join([str(code), reason]).strip())


def websocket_announce(info_hash: bytes, peer_id: bytes, event: str, **numbers) -> dict:
    """Returns the announce to send; numbers are uploaded, downloaded and left, in bytes."""
    question = dict(
        action="announce",
        info_hash=info_hash.decode("latin-1"),
        peer_id=peer_id.decode("latin-1"),
        numwant=0,
        offers=[],
        **numbers
    )
    return question if event == "none" else dict(question, event=event)


def websocket_scrape(info_hashes: list) -> dict:
    """Returns the scrape to send; without info hashes it asks for all torrents."""
    texts = [info_hash.decode("latin-1") for info_hash in info_hashes]
    return {"action": "scrape", "info_hash": texts} if texts else {"action": "scrape"}


def is_answer(message: dict, question: dict) -> bool:
    """Whether a message answers a request: by its action, and by its torrent.

    Of a scrape one of the torrents is enough, or none at all: trackers leave out what they do not
    know. So an answer that comes twice is not one to the next request.
    """
    failed = b"failure reason" in message
    if b"offer" in message or b"answer" in message:
        return False
    if failed and b"action" not in message:
        # So says a tracker that did not understand the request.
        return True
    action = question["action"]
    if message.get(b"action") != action.encode("ascii"):
        return False
    if action == "scrape":
        files = message.get(b"files")
        asked = {text.encode("latin-1") for text in question.get("info_hash", ())}
        return not (asked and files and isinstance(files, dict) and asked.isdisjoint(files))
    if failed and b"info_hash" not in message:
        return True
    return message.get(b"info_hash") == question["info_hash"].encode("latin-1")


def read_message(data: bytes) -> dict:
    """Returns a tracker's JSON as the dictionary that bencode.decode() would have returned.

    So what reads the replies of HTTP trackers reads these, too; null and fractions stay as they
    are. Raises Failure (invalid_response) when it is no JSON object.
    """
    try:
        text = data.decode("utf-8")
        numbers = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), parse_number)
        message = to_bytes(json.loads(text, **numbers))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        shown = repr(data[:80])[1:] if data else "nothing"
        raise Failure("invalid_response", "the message is no JSON object: {}".format(shown))
    return message


def parse_number(text: str):
    """Returns a number of JSON; ValueError for one that nobody counts to, as NaN is."""
    if len(text) > 64 or not abs(float(text)) < float("inf"):
        raise ValueError("no number to count with")
    return float(text) if set(text) & set(".eE") else int(text)


def to_bytes(value, levels: int = 256):
    """Returns a value of JSON with its texts as bytes: their Latin-1 reading, else UTF-8.

    Raises ValueError for one of more levels than bencode.py takes.
    """
    if not levels:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return [to_bytes(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {to_bytes(key): to_bytes(item, levels - 1) for key, item in value.items()}
    return value


# --- end of carried region: websocket ---


# --- carried region: steps (home: http_tracker_client.py) ---
# What steps wait for, and the steps that connect, send and receive.
READ_SIZE = 16 * 1024  # bytes taken at a time, so that one stream cannot hold the others
# The two times between which a certificate is valid, in its DER form (RFC 5280, 4.1.2.5).
VALIDITY = re.compile(
    rb"\x30[\x1e\x20\x22](?:\x17\x0d[0-9]{12}Z|\x18\x0f[0-9]{14}Z)"
    rb"(?:\x17\x0d([0-9]{12})Z|\x18\x0f([0-9]{14})Z)"
)


class Wait(namedtuple("Wait", "events until late")):
    """Steps wait for sockets: events is {socket: selectors.EVENT_READ or EVENT_WRITE}.

    They get back the list of those that are ready, which is empty when the time `until` came
    before (of time.monotonic(), None for none). late is the message of the Failure at the deadline.
    """

    __slots__ = ()


class Lookup(namedtuple("Lookup", "host port version until")):
    """Steps wait for the addresses of a name, as look_up() returns them; until as above."""

    __slots__ = ()

    @property
    def late(self):
        return "{}: the name lookup took too long".format(self.host)


# What an attempt at an address yields once it has reached it: it goes on when it is to ask. It is
# known by its identity, so what stands between an attempt and try_addresses() has to pass it on.
TURN = Wait({}, None, "connected, but its turn did not come")
# Kinds of what a tracker, or a proxy, has said itself: no other address is asked then.
ANSWERS = ("http_status", "failure_reason")


def find_addresses(host: str, port: int, version: int):
    """Steps that return the addresses of a host; Failure (resolve_failed, unreachable, timeout)."""
    if literal_version(host):
        return look_up(host, port, version)
    return (yield Lookup(host, port, version, None))


def try_addresses(addresses: list, attempt, deadline: float):
    """Steps that run attempt(address), steps too, at the addresses of a host, as the Race has it.

    An attempt yields TURN when it has reached its address. They return what the first attempt
    returns that comes to its end. One that fails gives way to the others, unless that is an
    answer; where all fail, the Failure names all.
    """
    race = Race(addresses, time.monotonic(), deadline)
    attempts, waits = {}, {}  # by address: the steps that run there, and what they wait for

    def go_on(address, outcome):
        """Lets an attempt go on; raises StopIteration with what it returns, or a Failure."""
        steps = attempts[address]
        try:
            wait = steps.throw(outcome) if isinstance(outcome, Failure) else steps.send(outcome)
        except Failure as failure:
            del attempts[address]
            waits.pop(address, None)
            if failure.kind in ANSWERS:
                failure.address = show_address(address)
                raise
            race.fail(address, failure, time.monotonic())
        else:
            waits[address] = wait
            if wait is TURN:
                race.reach(address)

    try:
        while True:
            now = time.monotonic()
            address = race.take_due(now)
            if address:
                attempts[address] = attempt(address)
            else:
                address = race.take_leader(now)
            if address:
                go_on(address, None)
                continue
            if not attempts:
                raise race.combined_failure()
            events, times = {}, [race.wake_at]
            for wait in waits.values():
                events.update(wait.events)
                times.append(wait.until)
            until = min((when for when in times if when is not None), default=None)
            try:
                ready = yield Wait(events, until, "no answer in time")
            except Failure as failure:
                # Time is up, or the run is interrupted: each says where it was.
                for address, wait in list(waits.items()):
                    text = wait.late if failure.kind == "timeout" else str(failure)
                    go_on(address, Failure(failure.kind, text))
                # An attempt may not wait again; one that does so is closed below.
                raise race.combined_failure() if race.failures else failure
            for address, wait in list(waits.items()):
                found = [sock for sock in ready if sock in wait.events]
                is_due = wait.until is not None and time.monotonic() >= wait.until
                if found or is_due:
                    go_on(address, found)
    except StopIteration as end:
        return end.value
    finally:
        for steps in attempts.values():
            steps.close()


def connect(address: tuple):
    """Steps that return a Stream to an address; Failure (refused, unreachable, timeout)."""
    try:
        sock = open_socket(address, socket.SOCK_STREAM)
    except OSError as error:
        raise network_failure(error)
    try:
        yield Wait({sock: selectors.EVENT_WRITE}, None, "no answer to the connection")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise network_failure(OSError(number, os.strerror(number)))
    except BaseException:
        # GeneratorExit, too: steps may be given up where they wait.
        sock.close()
        raise
    return Stream(sock, show_address(address))


class Stream:
    """A TCP connection, with TLS or without, whose operations are steps.

    TLS goes through memory (ssl.MemoryBIO), so that it waits where all else does. With it
    certificate_expires is the end of the server's certificate, as a Unix time; None where unknown.
    """

    def __init__(self, sock, address: str):
        self.sock = sock
        self.address = address
        self.certificate_expires = None
        self._tls = self._incoming = self._outgoing = None

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes):
        """Steps that send all of data; they raise Failure (timeout, invalid_response)."""
        if self._tls:
            self._tls.write(data)
            data = self._outgoing.read()
        try:
            yield from self._send(data, "the request was not taken in time")
        except OSError as error:
            raise broken_off(error)

    def receive(self):
        """Steps that return what came next, 16 KiB at most, b"" at the end of the connection.

        They raise Failure (timeout, invalid_response).
        """
        late = "no whole reply in time"
        try:
            if not self._tls:
                return (yield from self._receive(late))
            import ssl

            while True:
                try:
                    return self._tls.read(READ_SIZE)
                except ssl.SSLWantReadError:
                    yield from self._exchange(late)
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    # Many servers close without saying so to TLS.
                    return b""
        except OSError as error:
            raise broken_off(error)

    def start_tls(self, host: str, tls: "Tls"):
        """Steps that put TLS on the connection; they raise Failure (tls, timeout)."""
        # Certificates know neither the scope of an address nor the dot that may end a name.
        name = host.partition("%")[0].rstrip(".")
        try:
            import ssl

            context = tls.context()
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
            late = "no TLS handshake in time"
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    yield from self._exchange(late)
            yield from self._send(self._outgoing.read(), late)
            self.certificate_expires = certificate_end(self._tls.getpeercert(binary_form=True))
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "verify_message", None) or str(error)
            raise Failure("tls", "TLS: {}".format(excerpt(reason)))

    def _exchange(self, late):
        """Steps that send what TLS has to say and hand it what came."""
        yield from self._send(self._outgoing.read(), late)
        data = yield from self._receive(late)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _send(self, data, late):
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[self.sock.send(unsent) :]
            except BlockingIOError:
                yield Wait({self.sock: selectors.EVENT_WRITE}, None, late)

    def _receive(self, late):
        while True:
            # Before each read, so that others get their turn in between.
            yield Wait({self.sock: selectors.EVENT_READ}, None, late)
            try:
                return self.sock.recv(READ_SIZE)
            except BlockingIOError:
                pass


def certificate_end(der: bytes):
    """Returns until when a certificate is valid, as a Unix time, None where it does not say.

    Of its DER form, since with --insecure the ssl module tells nothing else.
    """
    from datetime import datetime, timezone

    found = VALIDITY.search(der or b"")
    if not found:
        return None
    short, full = found.groups()
    # A year of two digits is one from 1950 to 2049.
    digits = (full or (b"19" if short >= b"50" else b"20") + short).decode("ascii")
    parts = [digits[:4]] + [digits[at : at + 2] for at in range(4, 14, 2)]
    try:
        return int(datetime(*map(int, parts), tzinfo=timezone.utc).timestamp())
    except ValueError:
        return None


def broken_off(error: OSError) -> "Failure":
    """Returns the Failure for a connection that broke off after it stood."""
    text = "the connection broke off: {}".format(error.strerror or error)
    return Failure("invalid_response", text)


class Tls:
    """The one TLS context of a run, made when first asked for: loading certificates is slow."""

    def __init__(self, cacert=None, insecure=False):
        self.cacert = cacert
        self.insecure = insecure
        self._context = None

    def context(self):
        """Returns the context; raises OSError when the certificates cannot be loaded."""
        import ssl

        if self._context is None:
            context = ssl.create_default_context(cafile=self.cacert)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context


# --- end of carried region: steps ---


# The question: the steps, run alone.
ANNOUNCE_LIMIT = 1024 * 1024  # bytes of a body or a message, as sent and after decompression
SCRAPE_LIMIT = 16 * 1024 * 1024
FULL_SCRAPE_LIMIT = 128 * 1024 * 1024


def ask(command: str, arguments, url: str) -> tuple:
    """Sends the request; returns (the decoded reply, why it is no answer), each None where not."""
    deadline = time.monotonic() + arguments.timeout
    options = http_options_of(arguments)
    limit = ANNOUNCE_LIMIT
    if command == "scrape":
        limit = SCRAPE_LIMIT if arguments.info_hash else FULL_SCRAPE_LIMIT
    decoded = [None]

    def require_answer(reply, status=200):
        decoded[0] = reply
        if command == "announce":
            require_announce(reply, status, arguments.event)
        else:
            require_scrape(reply, status)

    def read(response):
        require_answer(read_reply(response), response.status)

    def ask_websocket(websocket):
        reply = yield from websocket.ask(build_question(command, arguments, websocket.peer_id))
        yield from websocket.close()
        require_answer(reply)

    if is_websocket(url):
        steps = open_websocket(url, options, deadline, limit, ask_websocket)
    else:
        steps = fetch(url, options, deadline, limit, read)
    try:
        run_steps(steps, deadline)
    except Failure as failure:
        return decoded[0], failure
    return decoded[0], None


def run_steps(steps, deadline: float):
    """Runs steps alone, and returns what they return or raises what they raise.

    deadline is in terms of time.monotonic(); to wait beyond it is a timeout to the steps.
    """
    resume, value = steps.send, None
    with selectors.DefaultSelector() as selector:
        while True:
            try:
                wait = resume(value)
            except StopIteration as end:
                return end.value
            try:
                resume, value = steps.send, wait_for(wait, selector, deadline)
            except Failure as failure:
                resume, value = steps.throw, failure


def wait_for(wait, selector, deadline: float) -> list:
    """Blocks until what steps wait for is there, and returns it; Failure at the deadline."""
    if isinstance(wait, Lookup):
        return look_up_within(wait.host, wait.port, wait.version, deadline)
    for sock, event in wait.events.items():
        selector.register(sock, event)
    until = deadline if wait.until is None else min(wait.until, deadline)
    ready = []
    while not ready:
        left = max(0, until - time.monotonic())
        ready = [key.fileobj for key, _ in selector.select(min(left, LONGEST_WAIT))]
        if left <= LONGEST_WAIT:
            break
    for sock in wait.events:
        selector.unregister(sock)
    if time.monotonic() >= deadline:
        raise Failure("timeout", wait.late)
    return ready


# The output: replies as the values that become JSON.
def show_ip(data: bytes) -> str:
    """Returns 4 or 16 bytes as an address."""
    return socket.inet_ntop(socket.AF_INET if len(data) == 4 else socket.AF_INET6, data)


def announce_to_json(reply: dict) -> dict:
    """Returns a reply to an announce as the command shows it, whatever the tracker put into it.

    The usual keys come first, then the others in the tracker's order. peers and peers6, compact
    or not, become one list; what has a type of its own stays as it came.
    """
    shown = import_bencode().to_json(reply)
    for key in (b"failure reason", b"warning message"):
        if isinstance(reply.get(key), bytes):
            shown[key.decode()] = text_of(reply[key])
    address = reply.get(b"external ip")
    # Some trackers send it as text, which may have 16 characters as well.
    packed = isinstance(address, bytes) and len(address) in (4, 16)
    if packed and not literal_version(text_of(address)):
        shown["external ip"] = show_ip(address)
    for name, size in (("peers", 4), ("peers6", 16)):
        if name in shown:
            shown[name] = peers_to_json(reply[name.encode()], size)
    if isinstance(shown.get("peers", []), list) and isinstance(shown.get("peers6"), list):
        shown["peers"] = shown.get("peers", []) + shown.pop("peers6")
    return put_first(
        ("failure reason", "complete", "incomplete", "interval", "min interval", "peers"), shown
    )


def put_first(names, entry: dict) -> dict:
    """Returns the entry with the names that it has in front, and then the others."""
    first = [name for name in names if name in entry]
    return {name: entry[name] for name in first + [name for name in entry if name not in first]}


def peers_to_json(peers, size: int):
    """Returns a list of peers as JSON, whose addresses have so many bytes when it is compact.

    That is BEP 23 for 4 bytes, BEP 7 for 16. What is no list stays as it came.
    """
    if isinstance(peers, list):
        return [peer_to_json(peer) for peer in peers]
    if not isinstance(peers, bytes):
        return import_bencode().to_json(peers)
    # Of a list that was cut the entries that are whole count.
    return [
        {
            "ip": show_ip(peers[start : start + size]),
            "port": int.from_bytes(peers[start + size : start + size + 2], "big"),
        }
        for start in range(0, len(peers) - size - 1, size + 2)
    ]


def peer_to_json(peer):
    """Returns a peer of a list that is not compact, as JSON; its peer id in hex."""
    shown = import_bencode().to_json(peer)
    if isinstance(peer, dict):
        if isinstance(peer.get(b"peer id"), bytes):
            shown["peer id"] = peer[b"peer id"].hex()
        shown = put_first(("ip", "peer id", "port"), shown)
    return shown


def scrape_to_json(reply: dict) -> dict:
    """Returns a reply to a scrape as the command shows it: counts by info hash in hex."""
    to_json = import_bencode().to_json
    shown = {}
    for key, counts in reply[b"files"].items():
        entry = to_json(counts)
        if isinstance(counts, dict):
            entry = put_first(("complete", "downloaded", "incomplete"), entry)
        shown[scraped_hash(key).hex()] = entry
    return shown


def reply_to_json(command: str, reply):
    """Returns any decoded reply as JSON, also one that is no answer to the command."""
    if isinstance(reply, dict) and (command == "announce" or b"failure reason" in reply):
        return announce_to_json(reply)
    if isinstance(reply, dict) and isinstance(reply.get(b"files"), dict):
        return scrape_to_json(reply)
    return import_bencode().to_json(reply)


# The command line.
DESCRIPTION = "Ask a BitTorrent tracker over HTTP or WebSocket and print its answer as JSON."
HASH = "9c38422213e30bff212b30c360d26f9a02136422"
HASH_HELP = "in hex or base32, of version 1 or 2, or a magnet link"
EXIT_CODES = """\
exit codes:
  0 the tracker answered, 1 it did not or it refused, 2 wrong usage (nothing was sent),
  130 Ctrl-C, 143 SIGTERM
"""
HELP = """\
commands:
  announce URL INFO_HASH              join a swarm and get peers
  scrape URL [INFO_HASH ...]          count seeders and leechers

examples:
  %(prog)s announce https://tracker.example.org/announce {hash}
  %(prog)s scrape https://tracker.example.org/announce {hash}
  %(prog)s announce wss://tracker.example.org {hash}
  %(prog)s announce --help

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
ANNOUNCE_HELP = """\
examples:
  %(prog)s announce https://tracker.example.org/announce {hash}
  %(prog)s announce http://tracker.example.org {hash} --left 1 --peers-wanted 50
  %(prog)s announce http://tracker.example.org {hash} --event stopped | jq .
  %(prog)s announce wss://tracker.example.org {hash}

An announce enters the caller into the swarm, as a seeder while --left is 0; --event stopped takes
it out again. Without a path /announce is asked. Proxies are taken from http_proxy, https_proxy and
no_proxy. A WebSocket tracker has no peers to give, no --compact, --port, --peer-addr, --key,
--tracker-id and --peers-wanted, and it forgets the caller when the connection ends.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
SCRAPE_HELP = """\
examples:
  %(prog)s scrape https://tracker.example.org/announce {hash}
  %(prog)s scrape http://tracker.example.org {hash} | jq '.[].complete'

The last part of the path is turned from announce to scrape (BEP 48). Without an INFO_HASH the
tracker is asked for all its torrents, which not every tracker answers.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
PORT = 17548
PEER_ID = b"-qB00000000000000001"
HTTP_ONLY = ("compact", "port", "peer_addr", "key", "tracker_id", "peers_wanted")


def parse_peer_addr(text: str) -> str:
    """Returns an address or, as BEP 3 allows, a name; raises ValueError for anything else."""
    return parse_host(text, bracketed=":" in text)


def add_tracker(parser) -> None:
    help_text = "http[s]://host[:port][/path][?query], or ws[s]:// for a WebSocket tracker"
    parser.add_argument("tracker", metavar="URL", help=help_text)


def add_announce_options(parser) -> None:
    # The defaults are those of the Rust client, but for the event: completed counts a download.
    count = whole_number(0, 2 ** 63 - 1)
    add_tracker(parser)
    add = parser.add_argument
    add("info_hash", metavar="INFO_HASH", type=argument_type(parse_info_hash), help=HASH_HELP)
    add(
        "--event",
        choices=["none", "started", "stopped", "completed"],
        default="started",
        help="default started",
    )
    add("--uploaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--downloaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--left", type=count, default=0, metavar="BYTES", help="default 0, a seeder")
    add("--port", type=whole_number(1, 65535), help="default {}".format(PORT))
    add("--peer-addr", type=argument_type(parse_peer_addr), metavar="ADDRESS", help="sent as ip=")
    add(
        "--peer-id",
        type=argument_type(parse_peer_id),
        help="20 ASCII characters or 40 hex digits (default {}, at random for a WebSocket "
        "tracker)".format(PEER_ID.decode()),
    )
    add("--compact", type=whole_number(0, 1), metavar="0|1", help="default 1")
    add("--peers-wanted", type=whole_number(-1, 2 ** 31 - 1), metavar="N", help="sent as numwant=")
    add("--key", type=os.fsencode, help="sent as it is given")
    add("--tracker-id", type=os.fsencode, metavar="ID", help="sent as it is given, as trackerid=")
    add_http_options(parser, USER_AGENT)


def add_scrape_options(parser) -> None:
    info_hash = argument_type(parse_info_hash)
    add_tracker(parser)
    # Without a default argparse says of no URL that this is missing, too.
    parser.add_argument(
        "info_hash", metavar="INFO_HASH", nargs="*", default=[], type=info_hash, help=HASH_HELP
    )
    add_http_options(parser, USER_AGENT)


COMMANDS = {
    "announce": (
        add_announce_options,
        "%(prog)s announce URL INFO_HASH [options]",
        ANNOUNCE_HELP,
    ),
    "scrape": (
        add_scrape_options,
        "%(prog)s scrape URL [INFO_HASH ...] [options]",
        SCRAPE_HELP,
    ),
    None: (None, "%(prog)s announce|scrape URL [INFO_HASH] [options]", HELP),
}


def parse_arguments(argv: list, prog: str) -> tuple:
    """Returns (command, argparse namespace, URL of the request)."""
    command, arguments, parser = parse_client_command(argv, prog, DESCRIPTION, COMMANDS)
    over_websocket = is_websocket(arguments.tracker)
    try:
        if over_websocket:
            url = websocket_url(arguments.tracker)
        else:
            url = (announce_url if command == "announce" else scrape_url)(arguments.tracker)
        require_version(split_url(url).host, arguments.ip_version)
    except ValueError as error:
        hint = ""
        if arguments.tracker.lower().startswith("udp://"):
            hint = "; udp_tracker_client.py is for udp"
        elif re.match(r"(https?|wss?):/[^/]", arguments.tracker, re.IGNORECASE):
            hint = "; did you mean {}?".format(arguments.tracker.replace(":/", "://", 1))
        parser.error("argument URL: {!r}: {}{}".format(arguments.tracker, error, hint))
    try:
        proxy_for(split_url(url), os.environ)
    except ValueError as error:
        parser.error(str(error))
    if over_websocket:
        for name in HTTP_ONLY:
            if getattr(arguments, name, None) is not None:
                text = "--{}: a WebSocket tracker has no such parameter"
                parser.error(text.format(name.replace("_", "-")))
        return command, arguments, url
    return command, arguments, with_query(url, build_query(command, arguments))


def build_query(command: str, arguments) -> str:
    """Returns the query that the arguments ask for (BEP 3, 7, 23, 48); "" for a full scrape."""
    if command == "scrape":
        return encode_query([("info_hash", info_hash) for info_hash in arguments.info_hash])
    return encode_query(
        [
            ("info_hash", arguments.info_hash),
            ("peer_id", arguments.peer_id or PEER_ID),
            ("port", arguments.port or PORT),
            ("uploaded", arguments.uploaded),
            ("downloaded", arguments.downloaded),
            ("left", arguments.left),
            ("event", None if arguments.event == "none" else arguments.event),
            ("compact", 1 if arguments.compact is None else arguments.compact),
            ("numwant", arguments.peers_wanted),
            ("key", arguments.key),
            ("ip", arguments.peer_addr),
            ("trackerid", arguments.tracker_id),
        ]
    )


def build_question(command: str, arguments, own_peer_id: bytes) -> dict:
    """Returns the message that the arguments ask for, over a WebSocket with that peer id."""
    if command == "scrape":
        return websocket_scrape(arguments.info_hash)
    return websocket_announce(
        arguments.info_hash,
        arguments.peer_id or own_peer_id,
        arguments.event,
        uploaded=arguments.uploaded,
        downloaded=arguments.downloaded,
        left=arguments.left,
    )


def main(argv: list, prog: str = "http_tracker_client.py") -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    command, arguments, url = parse_arguments(argv, prog)
    try:
        import_bencode()
    except Failure as failure:
        write_stderr("{}: error: {}".format(prog, escape(str(failure))))
        return 2
    reply, failure = ask(command, arguments, url)
    if reply is not None:
        shown = reply_to_json(command, reply)
        write_stdout(to_json_text(shown, arguments.format != "compact") + "\n")
    if failure and failure.kind != "failure_reason":
        write_record("error", kind=failure.kind, source=arguments.tracker, message=str(failure))
    elif not failure and command == "scrape":
        asked = set(arguments.info_hash)
        found = {scraped_hash(key) for key in reply[b"files"]}
        warn_if_truncated(len(asked), len(asked & found))
    return 1 if failure else 0


# The plumbing, which the other scripts have too.


# --- carried region: http options (home: http_tracker_client.py) ---
def parse_header(text: str) -> tuple:
    """Returns (name, value) of a header given as 'Name: value', or raises ValueError."""
    name, colon, value = text.partition(":")
    token = NAME_CHARACTERS | set("!#$%&'*+.^`|~")
    if not (colon and name and token.issuperset(name)):
        raise ValueError("{!r} is not a header; 'Name: value' is expected".format(text))
    return name, parse_header_value(value.strip())


def parse_header_value(text: str) -> str:
    """Returns the value of a header as the Latin-1 reading of its UTF-8, or raises ValueError."""
    if not text.isprintable():
        raise ValueError("{!r} has characters that no header can have".format(text))
    return text.encode("utf-8").decode("latin-1")


def parse_cacert(text: str) -> str:
    """Returns the name of a file of certificates that can be loaded, or raises ValueError."""
    import ssl

    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError("{!r} has no certificates: {}".format(text, reason))
    return text


def add_http_options(parser, user_agent: str) -> None:
    """Adds the options that have to do with HTTP alone."""
    add = parser.add_argument
    value = argument_type(parse_header_value)
    add("--user-agent", type=value, default=user_agent, help="default " + user_agent)
    add(
        "--header",
        metavar="'NAME: VALUE'",
        type=argument_type(parse_header),
        action="append",
        default=[],
        help="a further header; can be given several times",
    )
    cacert = argument_type(parse_cacert)
    add("--cacert", metavar="FILE", type=cacert, help="trust the certificates in it alone")
    add("--insecure", action="store_true", help="do not verify certificates")


def http_options_of(arguments) -> "HttpOptions":
    """Returns what the arguments say of HTTP, with the proxies of the environment."""
    return HttpOptions(
        ip_version=arguments.ip_version,
        user_agent=arguments.user_agent,
        headers=arguments.header,
        tls=Tls(arguments.cacert, arguments.insecure),
        environ=os.environ,
        trace=trace_for(arguments),
    )


# --- end of carried region: http options ---


# --- carried region: parser (home: udp_tracker_client.py) ---
def new_parser(prog: str, usage: str, description: str, examples: str):
    """Returns an argparse parser with one line for a usage error and no abbreviated options."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            _, missing, names = message.partition("arguments are required: ")
            if missing:
                expected = self.usage % {"prog": self.prog}
                message = "{} missing; {} is expected".format(names, expected)
            write_stderr("{}: error: {} (see --help)".format(self.prog, escape(message)))
            raise SystemExit(2)

        def print_help(self, file=None):
            write_stdout(self.format_help())

    parser = Parser(
        prog=prog,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser


def tie_options(parser, argv: list) -> tuple:
    """Splits argv into options, each tied to its value as in --key=-4, and positional arguments.

    argparse would take `--key -4` for two options, and before 3.7 it cannot have options amid a
    list of positional arguments. Which options take a value is asked of the parser.
    """
    known = parser._option_string_actions
    options, positionals, words = [], [], iter(argv)

    def takes_value(name):
        return name in known and known[name].nargs != 0

    def tie(name, value):
        options.append(name if value is None else "{}={}".format(name, value))

    for word in words:
        if word == "--":
            positionals.extend(words)
        elif word == "-" or not word.startswith("-"):
            positionals.append(word)
        elif word.startswith("--"):
            tie(word, next(words, None) if takes_value(word) else None)
        else:
            # Short options may stand together, the last with its value: -vo FILE, -voFILE.
            for position, letter in enumerate(word[1:], 2):
                name = "-" + letter
                if takes_value(name):
                    tie(known[name].option_strings[-1], word[position:] or next(words, None))
                    break
                options.append(name)
    return options, positionals


def parse_tied(parser, options: list, positionals: list):
    """Returns the namespace for what tie_options() returned; --version ends the command."""
    if "--version" in options:
        write_stdout("{} {}\n".format(parser.prog, VERSION))
        raise SystemExit(0)
    for option in options:
        require_option(parser, option.partition("=")[0])
    if "--" in positionals or any(option.endswith("=--") for option in options):
        # argparse would make an empty list of it.
        parser.error("'--' is no value that anything has")
    return parser.parse_args(options + ["--"] + positionals)


def require_option(parser, name: str) -> None:
    """Ends in a usage error for an option that the parser has not, naming one that is near."""
    known = parser._option_string_actions
    if name not in known:
        import difflib

        near = [option for option in known if option.startswith(name)]
        if name == "-V":
            # Many other commands have that; -v is something else here.
            near = ["--version"]
        near = near or difflib.get_close_matches(name, known, 1, cutoff=0.75)
        hint = "; did you mean {}?".format(near[0]) if near else ""
        parser.error("there is no option {}{}".format(name, hint))


def argument_type(parse):
    """Makes an argparse type of a function that raises ValueError with what was expected."""

    def parse_argument(text):
        try:
            return parse(text)
        except ValueError as error:
            import argparse

            raise argparse.ArgumentTypeError(str(error))

    return parse_argument


# --- end of carried region: parser ---


# --- carried region: options (home: udp_tracker_client.py) ---
DIGITS = frozenset("0123456789")
HEX_DIGITS = DIGITS | frozenset("abcdefABCDEF")
BASE32_DIGITS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
# White space, and what is pasted along unseen: controls, direction marks, characters of no width.
BLANKS = "".join(
    chr(code)
    for first, last in (
        "\0 ", "\x7f\xa0", "\xad\xad", "\u061c\u061c", "\u1680\u1680", "\u180e\u180e",
        "\u2000\u200f", "\u2028\u202f", "\u205f\u206f", "\u3000\u3000", "\ufe00\ufe0f",
        "\ufeff\ufeff",
    )
    for code in range(ord(first), ord(last) + 1)
)


def whole_number(low: int, high: int):
    """Returns an argparse type for whole numbers from low to high."""

    def parse(text):
        digits = text[1:] if text[:1] in ("+", "-") else text
        # Checked before int() sees it, which takes the digits of every script and underscores.
        if digits and DIGITS.issuperset(digits) and len(digits) < 30 and low <= int(text) <= high:
            return int(text)
        raise ValueError("{!r} is not a whole number from {} to {}".format(text, low, high))

    return argument_type(parse)


def seconds(low: float, high: float):
    """Returns an argparse type for seconds from low, or above it where it is 0, to high."""

    def parse(text):
        if re.match(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\Z", text, re.IGNORECASE):
            if 0 < float(text) and low <= float(text) <= high:
                return float(text)
        bounds = "from {} to".format(low) if low else "above 0, at most"
        raise ValueError("{!r} is not a number of seconds {} {:.0f}".format(text, bounds, high))

    return argument_type(parse)


TIMEOUT_COVERS = "total time allowed, name lookup and resends included"


def add_network_options(parser, timeout: int, covers: str = TIMEOUT_COVERS) -> None:
    """Adds the options that every command on the network has; timeout is the default, in s.

    covers says what it is the time of.
    """
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is done")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 86400),
        default=timeout,
        metavar="SECONDS",
        help="{} (default {})".format(covers, timeout),
    )
    families = parser.add_mutually_exclusive_group()
    for version in (4, 6):
        families.add_argument(
            "-{}".format(version),
            "--ipv{}".format(version),
            dest="ip_version",
            action="store_const",
            const=version,
            help="use IPv{} only".format(version),
        )


def trace_for(arguments):
    """Returns the function that says on stderr what is done, None without --verbose."""
    return (lambda text: write_stderr(escape(text))) if arguments.verbose else None


def is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and HEX_DIGITS.issuperset(text)


def parse_info_hash(text: str) -> bytes:
    """Returns an info hash, or that of a magnet link, as the 20 bytes that trackers know.

    40 hex digits or 32 base32 characters (BEP 9), or 64 hex digits of version 2, of which BEP 52
    sends the first 20 bytes. In a magnet link of a hybrid torrent the version 1 hash counts.
    Raises ValueError for anything else.
    """
    given, text = text, text.strip(BLANKS)
    if is_magnet(text):
        values = magnet_values(text, "xt")
        topics = [value.replace("%3A", ":").replace("%3a", ":") for value in values]
    else:
        topics = ["urn:btih:" + text, "urn:btmh:1220" + text, text]
    for prefix, sizes in (("urn:btih:", (40, 32)), ("urn:btmh:1220", (64,))):
        for topic in topics:
            digits = topic[len(prefix) :]
            if topic.lower().startswith(prefix) and len(digits) in sizes and decode_hash(digits):
                return decode_hash(digits)
    if text.lower().endswith(".torrent") or ("\0" not in text and os.path.isfile(text)):
        message = "{!r} is not an info hash but a file; bencode.py --info-hash FILE prints its own"
        raise ValueError(message.format(given))
    if is_magnet(text):
        found = "a magnet link without one that is known"
    else:
        what = "hex digits" if HEX_DIGITS.issuperset(text) else "characters"
        found = "{} {} were given".format(len(text), what)
    raise ValueError(
        "{!r} is not an info hash: {}; 40 hex digits, 32 base32 characters, 64 hex digits "
        "(version 2) or a magnet link with xt=urn:btih: are expected".format(given, found)
    )


def is_magnet(text: str) -> bool:
    return re.match(r"magnet:(///)?\?", text, re.IGNORECASE) is not None


def magnet_values(text: str, key: str) -> list:
    """Returns the values that a magnet link has for a key, as xt, and for xt.1, xt.2 and so on.

    Keys are in any case, and the link may be out of the source of a page, with &amp; for &.
    """
    query = text.partition("?")[2].replace("&amp;", "&")
    parts = [part.partition("=") for part in query.split("&")]
    numbered = re.compile(key + r"(\.[0-9]+)?\Z", re.IGNORECASE)
    return [value for name, _, value in parts if numbered.match(name)]


def decode_hash(text: str) -> bytes:
    """Returns 20 bytes for an info hash in hex or base32, None for what is neither."""
    if is_hex(text, 40) or is_hex(text, 64):
        return bytes.fromhex(text)[:20]
    if len(text) == 32 and BASE32_DIGITS.issuperset(text):
        import base64

        return base64.b32decode(text.upper())
    return None


# --- end of carried region: options ---


# --- carried region: client options (home: udp_tracker_client.py) ---
def parse_client_command(argv: list, prog: str, description: str, commands: dict) -> tuple:
    """Parses the words after the name of a client.

    commands has (function that adds its options to a parser, usage, examples) for each command,
    and under None what --help says without one. Returns (command, argparse namespace, parser).
    """

    def parser_for(command):
        add_options, usage, examples = commands[command]
        parser = new_parser(prog, usage, description, examples)
        if add_options:
            add_options(parser)
            add_format_option(parser)
        add_network_options(parser, timeout=5)
        return parser

    # A first guess, since it may be the value of an option.
    command = next((word for word in argv if word in commands), None)
    parser = parser_for(command)
    options, positionals = tie_options(parser, argv)
    first = positionals[0] if positionals else None
    if first != command and first in commands:
        command, parser = first, parser_for(first)
        options, positionals = tie_options(parser, argv)
    if first not in commands or first is None:
        general = parser_for(None)
        asked = [option for option in options if option in ("-h", "--help", "--version")]
        if asked and first is None:
            parse_tied(general, asked, [])
        for name in (option.partition("=")[0] for option in options):
            if not any(name in parser_for(each)._option_string_actions for each in commands):
                require_option(parser_for("announce"), name)
        found = "no command" if first is None else "command {!r}".format(first)
        general.error("{}; announce or scrape is expected first".format(found))
    return command, parse_tied(parser, options, positionals[1:]), parser


def add_format_option(parser) -> None:
    parser.add_argument(
        "--format",
        choices=["pretty", "json", "text", "compact"],
        default="pretty",
        help="pretty (default; json and text are other names for it) or compact, on one line",
    )


def parse_peer_id(text: str) -> bytes:
    """Returns a peer id, 20 ASCII characters or 40 hex digits, as 20 bytes, or ValueError."""
    if is_hex(text, 40):
        return bytes.fromhex(text)
    if len(text) == 20 and text.isprintable() and max(text) < "\x7f":
        return text.encode("ascii")
    raise ValueError(
        "{!r} is not a peer id: 20 ASCII characters or 40 hex digits are expected".format(text)
    )


def require_version(host: str, version: int) -> None:
    """Raises ValueError for an address literal that is not of the IP version asked for."""
    if version and literal_version(host) not in (None, version):
        raise ValueError("{0} is not an IPv{1} address, as -{1} asks for".format(host, version))


def warn_if_truncated(requested: int, returned: int) -> None:
    """Writes a warning record when a scrape reply has fewer torrents than were asked for."""
    if returned < requested:
        write_record(
            "warning",
            kind="scrape_response_truncated",
            requested=requested,
            returned=returned,
            message="the tracker answered for {} of {} torrents".format(returned, requested),
        )


# --- end of carried region: client options ---


# --- carried region: urls (home: udp_tracker_client.py) ---
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
HOST_CHARACTERS = NAME_CHARACTERS | {"."}
SCHEME_CHARACTERS = NAME_CHARACTERS - {"_"} | {"+", "."}

# credentials, port and query are None where the URL has none; path and query are as given.
Url = namedtuple("Url", "scheme credentials host port path query")


def split_url(text: str) -> Url:
    """Checks a URL and splits it; the host comes out in ASCII, an IPv6 one without brackets.

    Raises ValueError, with what was wrong and what is expected.
    """
    require_url_characters(text)
    scheme, separator, rest = text.partition("://")
    if not (separator and scheme[:1].isalpha() and SCHEME_CHARACTERS.issuperset(scheme)):
        raise ValueError("no scheme; a URL like udp://host:port or http://host/ is expected")
    authority = rest.split("/")[0].split("?")[0].split("#")[0]
    credentials, at_sign, location = authority.rpartition("@")
    literal, bracket, tail = location.rpartition("]")
    name, _, port = tail.partition(":")
    if ":" in port or (bracket and (name or not literal.startswith("["))):
        raise ValueError(
            "host:port is expected, an IPv6 address in brackets, as [2001:db8::1]:6969"
        )
    if port and not (DIGITS.issuperset(port) and len(port) < 6 and 0 < int(port) < 65536):
        raise ValueError("port {!r} is not a number from 1 to 65535".format(port))
    path, question_mark, query = rest[len(authority) :].partition("#")[0].partition("?")
    return Url(
        scheme.lower(),
        credentials if at_sign else None,
        parse_host(literal[1:] if bracket else name, bool(bracket)),
        int(port) if port else None,
        path,
        query if question_mark else None,
    )


def require_url_characters(text: str) -> None:
    """Raises ValueError for what no URL has; before it is parsed, so that no request is forged."""
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("a URL has no spaces, control characters or backslashes")


def parse_host(host: str, bracketed: bool) -> str:
    """Returns the host in ASCII: an IPv6 literal (its scope after a %) or an IDNA name.

    Raises ValueError when it is neither.
    """
    if bracketed:
        address, percent, scope = host.partition("%")
        if scope.startswith("25") and len(scope) > 2:
            scope = scope[2:]
        known = scope and (HOST_CHARACTERS | {"~"}).issuperset(scope)
        if literal_version(address) != 6 or (percent and not known):
            raise ValueError("{!r} is not an IPv6 address".format(host))
        return address + percent + scope
    # The codec takes minutes for long names.
    if host and max(host) > "\x7f" and len(host) < 255:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("{!r} is not a host name".format(host))
    lengths = [len(label) for label in (host[:-1] if host.endswith(".") else host).split(".")]
    known = HOST_CHARACTERS.issuperset(host)
    if not (known and len(host) < 255 and 0 < min(lengths) and max(lengths) < 64):
        raise ValueError("{!r} is not a host name or an address".format(host))
    return host


def encode_path(path: str, query: str) -> str:
    """Returns path and query (None or "" for none) of a URL in ASCII, the rest as %XX of UTF-8."""
    text = path + "?" + query if query else path
    if max(text, default="") < "\x7f":
        return text
    return "".join(
        chr(byte) if byte < 0x7F else "%{:02X}".format(byte)
        for byte in text.encode("utf-8", "replace")
    )


def text_of(value) -> str:
    """Returns a text that a tracker sent: UTF-8, else Latin-1."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


# --- end of carried region: urls ---


# --- carried region: addresses (home: udp_tracker_client.py) ---
def literal_version(host: str):
    """Returns the IP version of an address literal, 4 or 6; None for a name."""
    version = 6 if ":" in host else 4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return version


def show_address(address: tuple) -> str:
    """Returns a socket address as 198.51.100.7:6969 or [2001:db8::1]:6969."""
    return ("[{}]:{}" if ":" in address[0] else "{}:{}").format(address[0], address[1])


def look_up(host: str, port: int, version: int) -> list:
    """Returns the addresses of a host, in the order the system would try them.

    version is 4 or 6, None for both. Each is a socket address: (IPv4 address, port) or (IPv6
    address, port, flow, scope). This blocks, for a name as long as the system's resolver takes.
    Raises Failure (resolve_failed, unreachable).
    """
    literal = literal_version(host)
    if literal and version not in (None, literal):
        raise Failure("unreachable", "{} is not an IPv{} address".format(host, version))
    if literal == 4:
        return [(host, port)]
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    flags = socket.AI_NUMERICHOST if literal else 0
    try:
        # One kind of socket, for UDP too: else each address comes once for each kind.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name that can be looked up"
        raise Failure("resolve_failed", "{}: {}".format(host, reason))
    addresses = []
    for _, _, _, _, address in found:
        if address[0].lower().startswith("::ffff:") and "." in address[0]:
            # An IPv4-mapped address is the IPv4 network in another notation.
            address = (address[0][7:], port)
        if address not in addresses:
            addresses.append(address)
    return addresses


def open_socket(address: tuple, kind: int):
    """Returns a socket of a kind (SOCK_STREAM, SOCK_DGRAM) that does not block; it is connected,
    or being connected, to the address. Raises OSError.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def network_failure(error: OSError) -> "Failure":
    """Returns the Failure that stands for what the network said to a socket."""
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError)):
        return Failure("refused", "connection refused")
    if error.errno == errno.ETIMEDOUT:
        return Failure("timeout", "the system waited for an answer in vain")
    return Failure("unreachable", "unreachable: {}".format(error.strerror or error))


class Race:
    """Which of a host's addresses is tried when, over UDP and TCP alike; no I/O and no clock.

    The first address is due at once, the next a quarter of a second after the one before or as
    soon as one has failed (the way of RFC 8305), so that a dead address does not hide a live one.
    The first that is reached leads: it is asked what the user wants to know. When it fails, or
    has said nothing for a quarter of the time that was left, the next one that was reached is
    asked as well, and any answer counts.

    due_at is when the next address is due, None where none is left; wake_at when something is due
    at all. failures has [(address, Failure)] in the order in which they failed. Times are seconds
    of any one clock.
    """

    HEAD_START = 0.25
    PATIENCE = 0.25  # of the time that is left

    __slots__ = "waiting head_start deadline due_at reached asked patience_ends failures".split()

    def __init__(self, addresses: list, now: float, deadline: float):
        self.waiting = tuple(addresses)
        # However little time there is, all get their turn in the first half of it.
        self.head_start = min(self.HEAD_START, max(0, deadline - now) / (2 * len(addresses)))
        self.deadline = deadline
        self.due_at = now
        self.reached = ()  # those that are not asked yet
        self.asked = ()
        self.patience_ends = now
        self.failures = ()

    @property
    def wake_at(self) -> float:
        """When take_due() or take_leader() has something, None while nothing is to be had."""
        times = [self.due_at] if self.due_at is not None else []
        if self.reached:
            times.append(self.patience_ends)
        return min(times, default=None)

    def take_due(self, now: float):
        """Returns the address that is to be tried now, None while there is none."""
        if self.due_at is None or now < self.due_at:
            return None
        address, self.waiting = self.waiting[0], self.waiting[1:]
        self.due_at = now + self.head_start if self.waiting else None
        return address

    def take_leader(self, now: float):
        """Returns the address that is to be asked now, None while there is none."""
        if not self.reached or now < self.patience_ends:
            return None
        address, self.reached = self.reached[0], self.reached[1:]
        self.asked += (address,)
        self.patience_ends = now + (self.deadline - now) * self.PATIENCE
        return address

    def reach(self, address: tuple) -> None:
        """Notes that a connection to an address stands."""
        self.reached += (address,)

    def fail(self, address: tuple, failure: "Failure", now: float) -> None:
        """Notes that an address has failed, and for what reason."""
        self.failures += ((address, failure),)
        self.reached = tuple(other for other in self.reached if other != address)
        self.asked = tuple(other for other in self.asked if other != address)
        if not self.asked:
            self.patience_ends = now
            if self.waiting and not self.reached:
                self.due_at = now

    def stop(self) -> None:
        """Tries and asks no further address."""
        self.waiting = self.reached = ()
        self.due_at = None

    def combined_failure(self) -> "Failure":
        """Returns one Failure for all: of the kind of the last; where they differ it names each."""
        kind = self.failures[-1][1].kind
        texts = [str(failure) for _, failure in self.failures]
        if len(set(texts)) > 1:
            texts = [
                "{}: {}".format(show_address(address), failure)
                for address, failure in self.failures
            ]
            return Failure(kind, "; ".join(texts))
        return Failure(kind, texts[0])


# --- end of carried region: addresses ---


# --- carried region: client lookup (home: udp_tracker_client.py) ---
# Seconds: of a signal that comes just before a wait Python hears only after it.
LONGEST_WAIT = 1


def look_up_within(host: str, port: int, version: int, deadline: float) -> list:
    """look_up, which cannot be interrupted, on a thread that is left behind at the deadline.

    deadline is in terms of time.monotonic(). Raises Failure (resolve_failed, timeout, unreachable).
    """
    if literal_version(host):
        return look_up(host, port, version)
    import threading

    outcome = []

    def work():
        try:
            outcome.append(look_up(host, port, version))
        except Failure as failure:
            outcome.append(failure)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(max(0, deadline - time.monotonic()))
    if not outcome:
        raise Failure("timeout", "{}: the name lookup took too long".format(host))
    if isinstance(outcome[0], Failure):
        raise outcome[0]
    return outcome[0]


# --- end of carried region: client lookup ---


# --- carried region: output (home: udp_tracker_client.py) ---
class Failure(Exception):
    """Why a request has no answer: `kind` is a word for programs, the text is for people.

    address, as text, is where it was said, None where that does not matter.
    """

    def __init__(self, kind, message, address=None):
        super().__init__(message)
        self.kind = kind
        self.address = address

    def copy(self, before: str = "") -> "Failure":
        """Returns the same without its traceback, which keeps sockets and buffers; text before."""
        return Failure(self.kind, before + str(self), self.address)


def escape(text: str) -> str:
    """Returns text with control characters, direction marks and the like written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def to_json_text(value, pretty: bool) -> str:
    """Returns value as ASCII JSON: indented by two spaces, or on one line without spaces."""
    if pretty:
        return json.dumps(value, indent=2)
    return json.dumps(value, separators=(",", ":"))


def write_stdout(text: str) -> bool:
    """Writes text to stdout, whole and at once; a reader that has gone away is not an error.

    Returns whether there is a reader. Raises Failure (output_failed) when it cannot be written, as
    on a full disk.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        # Not by sys.stdout.write(): where stdout is unbuffered or does not block, that drops what
        # is not taken at the first try.
        raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        left = memoryview(text.encode(sys.stdout.encoding, "backslashreplace"))
        while left:
            written = raw.write(left)
            if written is None:
                import select

                select.select([], [raw], [])
            left = left[written or 0 :]
        return True
    except BrokenPipeError:
        return False
    except OSError as error:
        raise Failure("output_failed", "cannot write to stdout: {}".format(error.strerror))


def write_stderr(text: str, end: str = "\n") -> None:
    """Writes a line to stderr; there is no place left to complain when that fails."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text + end)
            sys.stderr.flush()
    except OSError:
        pass


def write_record(name: str, **fields) -> None:
    """Writes {name: fields} to stderr as one line of compact JSON."""
    write_stderr(to_json_text({name: fields}, pretty=False))


def run_and_exit(main) -> None:
    """Runs main(arguments) as a command and ends the process with the exit code it returns.

    Ctrl-C and SIGTERM end it at once, with 130 and 143, unless main() handles them itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, frame: os._exit(128 + caught))
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
    except Failure as failure:
        write_record("error", kind=failure.kind, source="stdout", message=str(failure))
        code = 1
    # Not sys.exit: a thread that hangs in a name lookup must not hold the exit, and what stdout
    # could not take would be tried again, with a traceback.
    os._exit(code or 0)


# --- end of carried region: output ---


if __name__ == "__main__":
    run_and_exit(main)
