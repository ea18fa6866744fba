#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Check BitTorrent trackers over UDP and HTTP, and health endpoints, all at once.

    tracker_checker.py udp://tracker.example.org:6969 https://tracker.example.net/announce
    tracker_checker.py --format table trackers.txt
    curl -s https://example.org/trackers.txt | tracker_checker.py --format urls -
    tracker_checker.py monitor udp://tracker.example.org:6969 --interval 60 --duration 3600

Needs python3 (3.6 or newer) and bencode.py beside it, nothing else. It follows BEP 3, 7, 12, 15,
23, 31, 41, 48 and 52, and prints what the Rust tracker checker prints, among other formats.

It reads from top to bottom: the code it shares with the two clients (carried word for word by
tools/sync_copies.py, so that every script remains a single file: skip it at first), the inputs,
the checks, the runner that drives them all, the reports, the monitor, the command line.
"""
# --- carried region: start (home: udp_tracker_client.py) ---
if __name__ == "__main__":
    # Ctrl-C and SIGTERM end the script without a traceback, also while it still imports.
    # _signal is what signal is made of, without the enums that take a while to build.
    try:
        import os
        import _signal

        _signal.signal(_signal.SIGINT, lambda number, frame: os._exit(130))
        _signal.signal(_signal.SIGTERM, lambda number, frame: os._exit(143))
    except KeyboardInterrupt:
        raise SystemExit(130)
    # Neither imports nor a single request make much garbage, and to look for it among all that is
    # imported takes a millisecond. The checker turns it on again.
    import gc

    gc.disable()
# --- end of carried region: start ---

import errno
import io
import itertools
import os
import struct
import sys
import time
from collections import deque, namedtuple
from heapq import heappop, heappush

VERSION = "0.1.0"


# --- carried region: output (home: udp_tracker_client.py) ---
class Failure(Exception):
    """Why a request has no answer: `kind` is a word for programs, the text is for people."""

    def __init__(self, kind, message):
        super().__init__(message)
        self.kind = kind


def escape(text: str) -> str:
    """Returns text with control characters, direction marks and the like written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def to_json_text(value, pretty: bool) -> str:
    """Returns value as ASCII JSON: indented by two spaces, or on one line without spaces."""
    import json

    if pretty:
        return json.dumps(value, indent=2)
    return json.dumps(value, separators=(",", ":"))


def write_stdout(text: str) -> None:
    """Writes text to stdout, whole and at once; a reader that has gone away is not an error.

    Raises Failure (output_failed) when it cannot be written, as on a full disk.
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
    except BrokenPipeError:
        pass
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


def run(main) -> None:
    """Runs main(arguments) as a command and ends the process with the exit code it returns."""
    out_of_memory = False
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
    except Failure as failure:
        write_record("error", kind=failure.kind, source="stdout", message=str(failure))
        code = 1
    except MemoryError:
        # Until this block ends, all that the error has come through remains in memory.
        out_of_memory = True
    if out_of_memory:
        text = "there is not enough memory for it"
        write_record("error", kind="too_large", source="memory", message=text)
        code = 1
    # Not sys.exit: a thread that hangs in a name lookup must not hold the exit, and what stdout
    # could not take would be tried again, with a traceback.
    os._exit(code or 0)


# --- end of carried region: output ---


# --- carried region: arguments (home: udp_tracker_client.py) ---
def new_parser(prog: str, usage: str, description: str, examples: str):
    """Returns an argparse parser with one line for a usage error and no abbreviated options."""
    import argparse

    # It asks gettext for a translation of its own words, which have none: looking for one takes
    # longer than all the rest.
    argparse._ = str

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            write_stderr("{}: error: {} (see --help)".format(self.prog, escape(message)))
            raise SystemExit(2)

        def print_help(self, file=None):
            self.formatter_class = argparse.RawDescriptionHelpFormatter
            write_stdout(self.format_help())

        def parse(self, options, positionals):
            """Returns the namespace for what split_arguments() returned."""
            # argparse would drop it.
            if "--" in positionals or any(word.partition("=")[2] == "--" for word in options):
                self.error("'--' is no value that anything has")
            return self.parse_args(options + ["--"] + positionals)

    # argparse asks for one at each option, and to look for the terminal's width is slow.
    formatter = argparse.RawDescriptionHelpFormatter(prog, width=80)
    return Parser(
        prog=prog,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=lambda prog: formatter,
        allow_abbrev=False,
    )


def checked(parse):
    """Makes an argparse type of a function that raises ValueError with what was expected."""

    def parse_argument(text):
        try:
            return parse(text)
        except ValueError as error:
            import argparse

            raise argparse.ArgumentTypeError(str(error))

    return parse_argument


DIGITS = frozenset("0123456789")
HEX_DIGITS = DIGITS | frozenset("abcdefABCDEF")
BASE32_DIGITS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
NAME_CHARACTERS = HEX_DIGITS | frozenset("ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ-_")
HOST_CHARACTERS = NAME_CHARACTERS | {"."}
SCHEME_CHARACTERS = NAME_CHARACTERS - {"_"} | {"+", "."}


def is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and HEX_DIGITS.issuperset(text)


def split_arguments(argv: list, valued: dict) -> tuple:
    """Splits argv into options, each tied to its value, and positional arguments.

    argparse would take `--key -4` for two options, and before 3.7 it cannot have options amid a
    list of positional arguments. valued has the options that take a value, with their long
    names: {"--output": "--output", "-o": "--output"}.
    """
    options, positionals, words = [], [], iter(argv)

    def tie(name, value):
        options.append(name if value is None else name + "=" + value)

    for word in words:
        if word == "--":
            positionals.extend(words)
        elif word == "-" or not word.startswith("-"):
            positionals.append(word)
        elif word in valued:
            tie(valued[word], next(words, None))
        elif word.startswith("--"):
            options.append(word)
        else:
            for position, letter in enumerate(word[1:], 2):
                name = valued.get("-" + letter)
                if name:
                    tie(name, word[position:] or next(words, None))
                    break
                options.append("-" + letter)
    return options, positionals


def whole_number(low: int, high: int):
    """Returns an argparse type for whole numbers from low to high."""

    def parse(text):
        digits = text[1:] if text[:1] in ("+", "-") else text
        # Checked before int() sees it, which takes the digits of every script and underscores.
        if digits and DIGITS.issuperset(digits) and len(digits) < 30 and low <= int(text) <= high:
            return int(text)
        raise ValueError(
            "{!r} is not a whole number from {} to {}".format(text, low, high)
        )

    return checked(parse)


def seconds(low: float, high: float):
    """Returns an argparse type for seconds from low, or above it where it is 0, to high."""

    def parse(text):
        import re

        if re.match(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\Z", text, re.IGNORECASE):
            if 0 < float(text) and low <= float(text) <= high:
                return float(text)
        bounds = "from {} to".format(low) if low else "above 0, at most"
        raise ValueError(
            "{!r} is not a number of seconds {} {:.0f}".format(text, bounds, high)
        )

    return checked(parse)


def parse_info_hash(text: str) -> bytes:
    """Returns an info hash, or that of a magnet link, as the 20 bytes that trackers know.

    40 hex digits or 32 base32 characters (BEP 9), or 64 hex digits of version 2, of which BEP 52
    sends the first 20 bytes. In a magnet link of a hybrid torrent the version 1 hash counts.
    Raises ValueError for anything else.
    """
    if text[:8].lower() == "magnet:?":
        values = magnet_values(text, "xt")
        topics = [value.replace("%3A", ":").replace("%3a", ":") for value in values]
    else:
        topics = ["urn:btih:" + text, "urn:btmh:1220" + text, text]
    for prefix, sizes in (("urn:btih:", (40, 32)), ("urn:btmh:1220", (64,))):
        for topic in topics:
            digits = topic[len(prefix) :]
            if topic.lower().startswith(prefix) and len(digits) in sizes and decode_hash(digits):
                return decode_hash(digits)
    raise ValueError(
        "{!r} is not an info hash: 40 hex digits, 32 base32 characters, 64 hex digits "
        "(version 2) or a magnet link with xt=urn:btih: are expected".format(text)
    )


def magnet_values(text: str, key: str) -> list:
    """Returns the values that a magnet link has for a key, as xt, and for xt.1, xt.2 and so on."""
    import re

    parts = [part.partition("=") for part in text[8:].split("&")]
    return [value for name, _, value in parts if re.match(key + r"(\.[0-9]+)?\Z", name)]


def decode_hash(text: str) -> bytes:
    """Returns 20 bytes for an info hash in hex or base32, None for what is neither."""
    if is_hex(text, 40) or is_hex(text, 64):
        return bytes.fromhex(text)[:20]
    if len(text) == 32 and BASE32_DIGITS.issuperset(text):
        import base64

        return base64.b32decode(text.upper())
    return None


def add_common_options(parser, timeout: int) -> None:
    """Adds the options that every command has; timeout is the default, in seconds."""
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is done")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 86400),
        default=timeout,
        metavar="SECONDS",
        help="total time allowed, name lookup and resends included (default {})".format(timeout),
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


def show_version(options: list, prog: str) -> None:
    """Ends the command with its version where --version is among the options."""
    if "--version" in options:
        write_stdout("{} {}\n".format(prog, VERSION))
        raise SystemExit(0)


# --- end of carried region: arguments ---


# --- carried region: names (home: udp_tracker_client.py) ---
# credentials, port and query are None where the URL has none; path and query are as given.
Url = namedtuple("Url", "scheme credentials host port path query")


def split_url(text: str) -> Url:
    """Checks a URL and splits it; the host comes out in ASCII, an IPv6 one without brackets.

    Raises ValueError, with what was wrong and what is expected.
    """
    check_characters(text)
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
        check_host(literal[1:] if bracket else name, bool(bracket)),
        int(port) if port else None,
        path,
        query if question_mark else None,
    )


def check_characters(text: str) -> None:
    """Raises ValueError for what no URL has; before it is parsed, so that no request is forged."""
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("a URL has no spaces, control characters or backslashes")


def check_host(host: str, bracketed: bool) -> str:
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


def literal_version(host: str):
    """Returns the IP version of an address literal, 4 or 6; None for a name."""
    import socket

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
    import socket

    literal = literal_version(host)
    if literal and version not in (None, literal):
        raise Failure("unreachable", "{} is not an IPv{} address".format(host, version))
    if literal == 4:
        return [(host, port)]
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    flags = socket.AI_NUMERICHOST if literal else 0
    try:
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


def start_thread(work, *arguments) -> bool:
    """Starts work(*arguments) on a thread; False where no more threads are to be had."""
    # threading takes a while to import, and waits for each of its threads to begin.
    import _thread

    try:
        _thread.start_new_thread(work, arguments)
    except RuntimeError:
        return False
    return True


def network_failure(error: OSError) -> Failure:
    """Returns the Failure that stands for what the network said to a socket."""
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError)):
        return Failure("refused", "connection refused")
    if error.errno == errno.ETIMEDOUT:
        return Failure("timeout", "the system waited for an answer in vain")
    return Failure("unreachable", "unreachable: {}".format(error.strerror or error))


def combined_failure(failures: list) -> Failure:
    """Returns one Failure for [(address, Failure)], in the order in which they failed."""
    kind = failures[-1][1].kind
    if len(failures) == 1:
        return Failure(kind, str(failures[0][1]))
    parts = ["{}: {}".format(show_address(address), failure) for address, failure in failures]
    return Failure(kind, "; ".join(parts))


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


# --- end of carried region: names ---


# --- carried region: udp (home: udp_tracker_client.py) ---
# The wire format of BEP 15: pure functions, values in and bytes out, and back.
PROTOCOL_ID = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
ACTIONS = ("connect", "announce", "scrape", "error")
EVENTS = {"none": 0, "completed": 1, "started": 2, "stopped": 3}
HASHES_PER_SCRAPE = 74
CONNECTION_LIFETIME = 60  # seconds in which a client may use a connection id

# Numbers are signed, as on the wire; peers are socket addresses.
AnnounceReply = namedtuple("AnnounceReply", "transaction_id interval leechers seeders peers")
# stats is [(seeders, completed, leechers)].
ScrapeReply = namedtuple("ScrapeReply", "transaction_id stats")
ErrorReply = namedtuple("ErrorReply", "transaction_id message")


class Connect:
    """A connect request (BEP 15), which asks for the connection id of the others."""

    action = CONNECT

    @staticmethod
    def encode(connection_id: int, transaction_id: int) -> bytes:
        return struct.pack(">qii", PROTOCOL_ID, CONNECT, transaction_id)

    @staticmethod
    def parse(reply: bytes, ipv6: bool) -> int:
        """Returns the connection id; raises ValueError for a reply that is too short."""
        if len(reply) < 16:
            raise ValueError("{} bytes, 16 are expected".format(len(reply)))
        return struct.unpack_from(">q", reply, 8)[0]


class Announce(
    namedtuple(
        "Announce",
        "info_hash peer_id downloaded left uploaded event ip_address key peers_wanted port"
        " url_data",
    )
):
    """An announce request (BEP 15); event is its number, ip_address and url_data are bytes.

    Its fields stand in the order of the wire.
    """

    action = ANNOUNCE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(
            ">qii20s20sqqqi4siiH",
            connection_id,
            ANNOUNCE,
            transaction_id,
            *self[:-1]
        )
        return fixed + encode_url_data(self.url_data)

    def parse(self, reply: bytes, ipv6: bool) -> AnnounceReply:
        """Raises ValueError for a reply that is too short."""
        import socket

        if len(reply) < 20:
            hint = ""
            if len(reply) == 8:
                hint = "; opentracker answers so when the torrent is not on its list"
            raise ValueError("{} bytes, 20 are expected{}".format(len(reply), hint))
        _, transaction_id, interval, leechers, seeders = struct.unpack_from(">iiiii", reply)
        size, family = (18, socket.AF_INET6) if ipv6 else (6, socket.AF_INET)
        # Trackers have been seen to cut a list short: the entries that are whole count.
        peers = [
            (
                socket.inet_ntop(family, reply[start : start + size - 2]),
                int.from_bytes(reply[start + size - 2 : start + size], "big"),
            )
            for start in range(20, len(reply) - size + 1, size)
        ]
        return AnnounceReply(transaction_id, interval, leechers, seeders, peers)


class Scrape(namedtuple("Scrape", "info_hashes")):
    """A scrape request (BEP 15) for at most 74 info hashes."""

    action = SCRAPE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(">qii", connection_id, SCRAPE, transaction_id)
        return fixed + b"".join(self.info_hashes)

    def parse(self, reply: bytes, ipv6: bool) -> ScrapeReply:
        """Raises ValueError for a reply that ends within its first entry."""
        if 8 < len(reply) < 20:
            raise ValueError("{} bytes, 20 are expected".format(len(reply)))
        _, transaction_id = struct.unpack_from(">ii", reply)
        whole = (len(reply) - 8) // 12 * 12
        return ScrapeReply(transaction_id, list(struct.iter_unpack(">iii", reply[8 : 8 + whole])))


def encode_url_data(url_data: bytes) -> bytes:
    """Returns the URL data options of BEP 41, each with 255 bytes at most."""
    options = []
    for start in range(0, len(url_data), 255):
        part = url_data[start : start + 255]
        options.append(bytes((2, len(part))) + part)
    return b"".join(options)


def url_data_of(path: str, query: str) -> bytes:
    """Returns what BEP 41 sends of a URL: nothing where the path says nothing of its own."""
    if not query and path in ("", "/", "/announce", "/scrape"):
        return b""
    return encode_path(path, query).encode("ascii")


def parse_reply(request, action: int, reply: bytes, ipv6: bool):
    """Returns what the request makes of its reply, an ErrorReply or a Failure (invalid_response).

    The transaction id was right, so a wrong action or shape is the tracker's own word.
    """
    if action == ERROR:
        # Some trackers end the text with a NUL.
        _, transaction_id = struct.unpack_from(">ii", reply)
        return ErrorReply(transaction_id, text_of(reply[8:].rstrip(b"\0")))
    name = ACTIONS[request.action]
    if action != request.action:
        text = "the reply to {} has action {}, {} is expected".format(name, action, request.action)
        return Failure("invalid_response", text)
    try:
        return request.parse(reply, ipv6)
    except ValueError as error:
        return Failure("invalid_response", "the reply to {} has {}".format(name, error))


def new_transaction_id() -> int:
    return int.from_bytes(os.urandom(4), "big", signed=True)


class Pending:
    """A request that is under way: what it is, and when it was and will be sent."""

    __slots__ = ("request", "index", "first_sent", "sends", "next_send", "wait")

    def __init__(self, request, index, now, wait):
        self.request = request
        self.index = index
        self.first_sent = now
        self.sends = 0
        self.next_send = now
        self.wait = wait


class Exchange:
    """The rules of BEP 15 with one address of a tracker, without I/O and without a clock.

    The caller sends what due() returns, gives receive() every datagram that arrives, and calls
    due() again at wake_at or after a receive(). Times are seconds of any one clock.

    The strategy: one connect, whose connection id then carries all requests, up to eight at a
    time. Every request, the connect too, is sent again after 1, 2, 4, 8 … units, where the unit
    is a fifteenth of the time that was left when it was first sent, one second at most. So four
    sends fit into any time that is left, and the fourth still has half of it to be answered.
    A resend keeps its transaction id: a late reply to an earlier send counts, and the second of
    two replies belongs to nobody any more. What carries an unknown transaction id is ignored.

    replies has an entry for each request, in order: None while it is open, then an
    AnnounceReply, ScrapeReply, ErrorReply or Failure (timeout, invalid_response, or what the
    caller says with fail()). replied_at has the times at which they became known, connected_at
    that of the latest connection id, None while there was none.
    """

    IN_FLIGHT = 8

    __slots__ = (
        "requests replies replied_at ipv6 deadline held connection_id connected_at reconnected"
        " waiting pending wake_at"
    ).split()

    def __init__(self, requests, ipv6, now, deadline, held=False):
        self.requests = requests
        self.replies = [None] * len(requests)
        self.replied_at = [None] * len(requests)
        self.ipv6 = ipv6
        self.deadline = deadline
        self.held = held
        self.reconnected = False
        self.waiting = []
        self.pending = {}
        self.connected_at = None
        self._connect(now)

    @property
    def finished(self) -> bool:
        return None not in self.replies

    def is_connected(self, now: float) -> bool:
        """Whether there is a connection id that may still be used."""
        return self.connection_id is not None and now - self.connected_at < CONNECTION_LIFETIME

    def due(self, now: float) -> list:
        """Returns the datagrams to send now and sets wake_at; at the deadline, ends in timeouts."""
        if now >= self.deadline:
            self._time_out(now)
        if self.finished:
            return []
        if self.connection_id is not None and not self.is_connected(now):
            self._connect(now)
        datagrams = []
        wake_at = self.deadline
        for transaction_id, pending in self.pending.items():
            if pending.next_send <= now:
                datagrams.append(pending.request.encode(self.connection_id, transaction_id))
                pending.sends += 1
                pending.next_send = now + pending.wait
                pending.wait *= 2
            if pending.next_send < wake_at:
                wake_at = pending.next_send
        self.wake_at = wake_at
        return datagrams

    def receive(self, datagram: bytes, now: float):
        """Takes a datagram that arrived at now.

        Returns the seconds since its request was first sent, None when it belongs to none.
        """
        if len(datagram) < 8:
            return None
        action, transaction_id = struct.unpack_from(">ii", datagram)
        pending = self.pending.pop(transaction_id, None)
        if pending is None:
            return None
        self.wake_at = now
        reply = parse_reply(pending.request, action, datagram, self.ipv6)
        if pending.index is not None:
            if self._is_rejection(reply):
                # The tracker has forgotten the connection id, or was started anew.
                self.reconnected = True
                self._connect(now)
            else:
                self._settle(pending.index, reply, now)
        elif isinstance(reply, (Failure, ErrorReply)):
            self.fail(reply, now)
        else:
            self.connection_id = reply
            self.connected_at = now
        self._fill(now)
        return now - pending.first_sent

    def release(self, now: float) -> None:
        """Lets an exchange that was held at its connect go on to its requests."""
        self.held = False
        self._fill(now)

    def fail(self, outcome, now: float) -> None:
        """Ends every request that is still open with a Failure or an ErrorReply."""
        for index, reply in enumerate(self.replies):
            if reply is None:
                self._settle(index, outcome, now)
        self.pending.clear()
        self.waiting = []

    def _connect(self, now):
        """Starts over with a connect; all that is open waits for its connection id."""
        self.connection_id = None
        self.waiting = [index for index, reply in enumerate(self.replies) if reply is None]
        self.pending.clear()
        self._start(Connect, None, now)

    def _start(self, request, index, now):
        transaction_id = new_transaction_id()
        while transaction_id in self.pending:
            transaction_id = new_transaction_id()
        wait = min((self.deadline - now) / 15, 1)
        self.pending[transaction_id] = Pending(request, index, now, wait)
        self.wake_at = now

    def _fill(self, now):
        """Starts waiting requests while there is room in flight."""
        if self.connection_id is None or self.held:
            return
        while self.waiting and len(self.pending) < self.IN_FLIGHT:
            index = self.waiting.pop(0)
            self._start(self.requests[index], index, now)

    def _is_rejection(self, reply):
        """Whether an error reply speaks of the connection id, for the first time."""
        if self.reconnected or not isinstance(reply, ErrorReply):
            return False
        text = reply.message.lower()
        return "connection" in text or "cookie" in text

    def _settle(self, index, reply, now):
        self.replies[index] = reply
        self.replied_at[index] = now

    def _time_out(self, now):
        """Ends what is open, each request with the number of times that it was sent in vain."""
        for pending in list(self.pending.values()):
            action, sends = ACTIONS[pending.request.action], pending.sends
            failure = Failure("timeout", "no reply to {} (sent {} times)".format(action, sends))
            if pending.index is None:
                self.fail(failure, now)
            elif sends:
                self._settle(pending.index, failure, now)
        self.fail(Failure("timeout", "connected, but its turn did not come"), now)


class Conversation:
    """A tracker asked over UDP at all of its addresses: the sockets around the exchanges.

    The caller owns the selector and the clock: it calls advance(now) at wake_at, and
    read(socket, now) for each socket of the conversation that the selector finds readable (the
    selector's data is the conversation), until finished. Nothing here blocks.

    The first address starts at once, the next a quarter of a second after it or as soon as it
    fails (the way of RFC 8305), so that a dead address does not hide a live one. All may
    connect; the first to get a connection id goes on alone while it does not fail.

    At the end answered says whether the tracker answered, exchange is where it did and address its
    address. Where it did not, they are of the first that failed, or of the first that had got as
    far as to the requests (None where no socket could be opened). failures has
    [(address, Failure)] in the order in which they failed.
    """

    HEAD_START = 0.25
    READS = 16  # datagrams taken from a socket at a time, so that a flood cannot hold the caller

    __slots__ = (
        "requests deadline selector trace waiting head_start next_start exchanges leader failures"
        " answered exchange address wake_at"
    ).split()

    def __init__(self, addresses, requests, now, deadline, selector, trace=None):
        self.requests = requests
        self.deadline = deadline
        self.selector = selector
        self.trace = trace
        self.waiting = list(addresses)
        self.head_start = min(self.HEAD_START, (deadline - now) / (2 * len(addresses)))
        self.next_start = now
        self.exchanges = {}  # socket: (address, exchange), in the order in which they started
        self.leader = None
        self.failures = []
        self.answered = False
        self.exchange = None
        self.address = None
        self.wake_at = now

    @property
    def finished(self) -> bool:
        return not self.waiting and not self.exchanges

    def advance(self, now: float) -> None:
        """Opens the sockets and sends the datagrams that are due, and sets wake_at."""
        while self.waiting and (now >= self.next_start or not self.exchanges):
            self._open(self.waiting.pop(0), now)
        for sock, (_, exchange) in list(self.exchanges.items()):
            # An earlier exchange of this round may have ended the conversation.
            if sock in self.exchanges and now >= exchange.wake_at:
                self._send(sock, now)
        self._set_wake_at()

    def read(self, sock, now: float) -> None:
        """Takes what has arrived at one of the sockets, and sends what follows from it."""
        address, exchange = self.exchanges[sock]
        try:
            for _ in range(self.READS):
                datagram = sock.recv(65536)
                delay = exchange.receive(datagram, now)
                if self.trace:
                    self._trace_reply(address, datagram, delay)
        except BlockingIOError:
            pass
        except OSError as error:
            exchange.fail(network_failure(error), now)
        if self.leader is None and exchange.connection_id is not None:
            self._lead(exchange, now)
        self._send(sock, now)
        self._set_wake_at()

    def _open(self, address, now):
        """Starts an exchange with an address on a connected socket of its own.

        Connected, since then the system drops what others send and tells of a closed port.
        """
        import selectors
        import socket

        self.next_start = now + self.head_start
        ipv6 = ":" in address[0]
        sock = None
        try:
            sock = socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
            sock.setblocking(False)
            sock.connect(address)
            self.selector.register(sock, selectors.EVENT_READ, self)
        except OSError as error:
            if sock:
                sock.close()
            self.failures.append((address, network_failure(error)))
            return
        requests = self.requests
        if requests[0].action == ANNOUNCE and requests[0].port is None:
            requests = [requests[0]._replace(port=sock.getsockname()[1])]
        exchange = Exchange(requests, ipv6, now, self.deadline, held=True)
        self.exchanges[sock] = (address, exchange)

    def _send(self, sock, now):
        address, exchange = self.exchanges[sock]
        try:
            for datagram in exchange.due(now):
                if self.trace:
                    action = ACTIONS[datagram[11]]
                    self.trace("-> {} {}".format(show_address(address), action))
                sock.send(datagram)
        except OSError as error:
            # A full queue is one more way to lose a datagram: it will be sent again.
            if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
                exchange.fail(network_failure(error), now)
        if exchange.finished:
            self._finish(sock, now)

    def _finish(self, sock, now):
        """Closes an exchange that has ended; the first that the tracker answered ends them all."""
        address, exchange = self.exchanges.pop(sock)
        replies = exchange.replies
        failures = [reply for reply in replies if isinstance(reply, Failure)]
        # Where another address is being asked already, it decides.
        decides = self.leader in (None, exchange)
        self.answered = decides and len(failures) < len(replies)
        if self.answered or not self.exchange or (self.exchange.held and not exchange.held):
            self.address, self.exchange = address, exchange
        if self.answered:
            self.waiting = []
            for other in self.exchanges:
                self._close(other)
            self.exchanges.clear()
        else:
            failure = failures[-1] if failures else Failure("invalid_response", replies[0].message)
            self.failures.append((address, failure))
            if decides:
                self.next_start = now
                self.leader = None
                for _, other in self.exchanges.values():
                    if other.connection_id is not None:
                        self._lead(other, now)
                        break
        self._close(sock)

    def _lead(self, exchange, now):
        self.leader = exchange
        exchange.release(now)

    def _close(self, sock):
        self.selector.unregister(sock)
        sock.close()

    def _set_wake_at(self):
        self.wake_at = self.next_start if self.waiting else self.deadline
        for _, exchange in self.exchanges.values():
            self.wake_at = min(self.wake_at, exchange.wake_at)

    def _trace_reply(self, address, datagram, delay):
        text = "<- {} {} bytes".format(show_address(address), len(datagram))
        if delay is None:
            self.trace(text + ", not a reply to what was asked: ignored")
        else:
            self.trace("{}, {:.1f} ms after its request".format(text, delay * 1000))


# --- end of carried region: udp ---


# --- carried region: http (home: http_tracker_client.py) ---
# The URLs and queries of BEP 3, 7, 23 and 48: pure functions.
ANNOUNCE_LIMIT = 1024 * 1024  # bytes of a body, as sent and after decompression
SCRAPE_LIMIT = 16 * 1024 * 1024
FULL_SCRAPE_LIMIT = 128 * 1024 * 1024
HEADERS_LIMIT = 64 * 1024  # bytes of the status line and all headers
REDIRECTS = 5
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
DEFAULT_PORTS = {"http": 80, "https": 443}
PROXY_PORT = 1080  # as curl has it

# What all requests of a run have in common. version is that of IP, or None; headers are
# (name, value) pairs, tls is a Tls, environ has the proxy variables, resolve looks names up like
# look_up_within, trace is called with what is done, or None. turn is None, or a lock that a thread
# holds when it calls fetch(), which lets go of it while it waits for the network: however many
# threads there are and whatever they are sent, one at a time then competes for the interpreter.
HttpOptions = namedtuple("HttpOptions", "version user_agent headers tls environ resolve trace turn")
HttpOptions.__new__.__defaults__ = (None,)

# content_type and location are None where the reply has none.
HttpResponse = namedtuple("HttpResponse", "status reason content_type location body address")


def split_http_url(text: str) -> tuple:
    """Checks an HTTP URL and returns (all before its path, its path, its query with the ?).

    The host comes out in ASCII, path and query percent-encoded. Raises ValueError.
    """
    scheme, separator, _ = text.partition("://")
    if scheme.lower() not in DEFAULT_PORTS:
        found = "scheme {!r}".format(scheme) if separator else "no scheme"
        raise ValueError("{}; http:// or https:// is expected".format(found))
    url = split_url(text)
    authority = "[{}]".format(url.host.replace("%", "%25")) if ":" in url.host else url.host
    if url.credentials is not None:
        authority = "{}@{}".format(encode_path(url.credentials, None), authority)
    if url.port is not None:
        authority = "{}:{}".format(authority, url.port)
    query = "" if url.query is None else "?" + encode_path(url.query, None)
    return "{}://{}".format(url.scheme, authority), encode_path(url.path, None), query


def port_of(url: Url) -> int:
    return url.port or DEFAULT_PORTS[url.scheme]


def announce_url(text: str) -> str:
    """Returns the URL to announce at for a tracker's URL; raises ValueError for a broken one."""
    base, path, query = split_http_url(text)
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
    base, path, query = split_http_url(text)
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
                "there is no scrape URL for the path {!r}: its last segment does not begin with "
                "announce or scrape (BEP 48)".format(path)
            )
    return base + "/".join(segments) + query


def encode_query(parameters: list) -> str:
    """Returns a query of (name, value) pairs of bytes, text and numbers; None is left out."""
    from urllib.parse import quote

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


# What a reply says.
def import_bencode():
    """Returns the module bencode; raises Failure (missing_file) where it does not stand beside."""
    path = sys.path
    if "bencode" not in sys.modules and "__file__" in globals():
        # With -I or PYTHONSAFEPATH Python does not look there by itself.
        sys.path = [os.path.dirname(os.path.realpath(__file__))] + path
    try:
        import bencode

        bencode.to_json
    except Exception as error:
        # Another package may be of that name, and not even be Python 3.
        text = "bencode.py is missing: copy it beside this file ({})"
        raise Failure("missing_file", text.format(error))
    finally:
        sys.path = path
    return bencode


def excerpt(text: str) -> str:
    """Returns a text from the network as a message can have it: short, and without controls."""
    text = escape(text)
    return text if len(text) <= 120 else text[:117] + "..."


def read_reply(response: HttpResponse):
    """Returns the bencoded value of a reply's body; white space after it is no error.

    Raises Failure (http_status for 4xx and 5xx, else invalid_response) when it is no bencode.
    """
    bencode = import_bencode()
    try:
        return bencode.decode(response.body.rstrip(b" \t\r\n"))
    except bencode.BencodeError as error:
        problem = "not bencode ({})".format(error)
        raise broken_reply(*response[:3], problem=problem, body=response.body)


def broken_reply(status, reason, content_type, problem, body) -> Failure:
    """Returns the Failure that shows a reply that nothing can be read from."""
    text = "HTTP {} {}, {}, {}: {}".format(
        status,
        excerpt(reason),
        excerpt(content_type or "no content type"),
        problem,
        repr(bytes(body[:80]))[1:] if body else "an empty body",
    )
    return Failure("http_status" if status >= 400 else "invalid_response", text)


def check_announce(value, status: int, event: str = "started") -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    check_status(value, status)
    if event != "stopped" and not any(key in value for key in (b"interval", b"peers", b"peers6")):
        raise Failure("invalid_response", "the reply has neither interval nor peers nor peers6")


def check_scrape(value, status: int) -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    check_status(value, status)
    if not isinstance(value.get(b"files"), dict):
        raise Failure("invalid_response", "the reply has no dictionary files")


def check_status(value, status):
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


# Proxies, as curl takes them from the environment.
def proxy_for(target: Url, environ) -> Url:
    """Returns the proxy for a URL, None for none; raises ValueError for an unsupported one."""
    names = target.scheme + "_proxy", "all_proxy", "ALL_PROXY"
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


def is_exempt(target: Url, no_proxy: str) -> bool:
    """Whether no_proxy has the host: *, names with their subdomains, addresses, networks."""
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
        if literal_version(host):
            if is_in_network(host, entry):
                return True
        elif ("." + host).endswith("." + entry.lstrip("*.")):
            return True
    return False


def is_in_network(address: str, network: str) -> bool:
    import ipaddress

    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


# Fetching: blocks, but no longer than until its deadline, a time of time.monotonic().
class Tls:
    """The one TLS context of a run, made when first asked for: loading certificates is slow.

    Threads have to ask in turn, see HttpOptions.
    """

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


def time_left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise Failure("timeout", "no whole reply in time")
    return left


class Pause:
    """`with Pause(turn):` lets go of the turn of HttpOptions for as long as the block waits."""

    def __init__(self, turn):
        self.turn = turn

    def __enter__(self):
        if self.turn:
            self.turn.release()

    def __exit__(self, *error):
        if self.turn:
            self.turn.acquire()


class Stream(io.RawIOBase):
    """A connected socket whose every operation is kept to a deadline; it raises Failure.

    It is the raw reader under a ReplyReader.
    """

    def __init__(self, sock, deadline, address, turn):
        self.sock = sock
        self.deadline = deadline
        self.address = address
        self.turn = turn

    def request(self, method, target, headers):
        """Sends a request, and returns http.client's response with its body unread.

        Raises http.client.HTTPException, too, for what is no HTTP.
        """
        from http.client import HTTPResponse

        lines = ["{} {} HTTP/1.1".format(method, target)]
        lines.extend("{}: {}".format(*header) for header in headers.items())
        unsent = memoryview("\r\n".join(lines + ["", ""]).encode("latin-1"))
        while unsent:
            unsent = unsent[self.within_deadline(self.sock.send, unsent) :]
        # A new one for each request: what a proxy says beyond its answer to CONNECT is not read.
        reader = ReplyReader(self)
        while True:
            response = HTTPResponse(reader, method=method)
            response.begin()
            # Before the answer there may be others, as 103 Early Hints (RFC 9110, 15.2).
            if response.status >= 200 or response.status == 101:
                return response

    def readable(self):
        return True

    def readinto(self, buffer):
        return self.within_deadline(self.sock.recv_into, buffer)

    def within_deadline(self, operation, argument):
        """Returns what an operation of the socket returns, given no more than the time left."""
        import socket

        try:
            with Pause(self.turn):
                self.sock.settimeout(time_left(self.deadline))
                return operation(argument)
        except (socket.timeout, TimeoutError):
            raise Failure("timeout", "no whole reply in time")
        except OSError as error:
            text = "the connection broke off: {}".format(error.strerror or error)
            raise Failure("invalid_response", text)


class ReplyReader(io.BufferedReader):
    """A reader that limits the bytes of all its lines: status, headers, chunk sizes, trailers."""

    line_bytes_left = HEADERS_LIMIT

    def makefile(self, mode):
        """Stands in for the socket of which http.client makes a reader."""
        return self

    def close(self):
        """A response of http.client closes it at its end, but another may follow."""

    def readline(self, size=-1):
        most = self.line_bytes_left + 1
        line = super().readline(most if size < 0 else min(size, most))
        self.line_bytes_left -= len(line)
        if self.line_bytes_left < 0:
            raise Failure("too_large", "too many bytes of headers, chunk sizes or trailers")
        return line


def connect_to_any(addresses: list, deadline: float, trace=None, turn=None) -> tuple:
    """Connects over TCP to the first of the addresses that takes it; (socket, address).

    The next address is tried a quarter of a second after the one before, or as soon as that
    fails, as RFC 8305 does. trace and turn are those of HttpOptions. Raises Failure (refused,
    unreachable, timeout).
    """
    import selectors
    import socket

    now = next_start = time.monotonic()
    head_start = min(0.25, max(0, deadline - now) / (2 * len(addresses)))
    waiting = list(addresses)
    failures = []
    silent = Failure("timeout", "no answer to the connection")
    with selectors.DefaultSelector() as selector:
        pending = selector.get_map()  # its keys have the socket as fileobj, its address as data

        def drop(key, failure):
            selector.unregister(key.fileobj)
            key.fileobj.close()
            failures.append((key.data, failure))

        try:
            while waiting or pending:
                now = time.monotonic()
                if now >= deadline:
                    for key in list(pending.values()):
                        drop(key, silent)
                    break
                if waiting and (now >= next_start or not pending):
                    next_start = now + head_start
                    address = waiting.pop(0)
                    if trace:
                        trace("connecting to {}".format(show_address(address)))
                    try:
                        sock = start_connecting(address)
                    except OSError as error:
                        if pending and error.errno == errno.EMFILE:
                            # The one that has been silent the longest gives way.
                            drop(next(iter(pending.values())), silent)
                            waiting.insert(0, address)
                            next_start = now
                        else:
                            failures.append((address, network_failure(error)))
                        continue
                    selector.register(sock, selectors.EVENT_WRITE, address)
                until = min(next_start, deadline) if waiting else deadline
                with Pause(turn):
                    ready = selector.select(max(0, until - now))
                for key, _ in ready:
                    number = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if not number:
                        selector.unregister(key.fileobj)
                        return key.fileobj, key.data
                    next_start = now
                    drop(key, network_failure(OSError(number, os.strerror(number))))
        finally:
            for key in pending.values():
                key.fileobj.close()
    raise combined_failure(failures or [(addresses[0], Failure("timeout", "no time was left"))])


def start_connecting(address):
    """Returns a socket that is being connected; raises OSError."""
    import socket

    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def fetch(url: str, options: HttpOptions, deadline: float, limit: int) -> HttpResponse:
    """Gets a URL, through redirects, with at most limit bytes of body; with None, without it.

    Credentials, cookies and a Host header given as options go to the URL's own scheme, host and
    port only. Raises Failure (resolve_failed, timeout, refused, unreachable, tls,
    invalid_response, too_large, redirect; http_status where a proxy refuses).
    """
    target = first = split_url(url)
    home = True
    reached = ""
    for _ in range(REDIRECTS + 1):
        headers = request_headers(options, first.credentials, home)
        try:
            response = get(target, headers, options, deadline, limit)
        except Failure as failure:
            raise Failure(failure.kind, reached + str(failure))
        if response.status not in REDIRECT_STATUSES:
            return response
        url = redirect_target(url, response.location)
        target = split_url(url)
        # Who was once sent elsewhere is not trusted with the way back.
        home = home and origin_of(target) == origin_of(first)
        reached = "redirected to {}: ".format(excerpt(url))
        if options.trace:
            options.trace("redirected to {}".format(url))
    raise Failure("redirect", "more than {} redirects".format(REDIRECTS))


def origin_of(url: Url) -> tuple:
    """Returns what has to be the same for credentials to be sent: scheme, host and port."""
    return url.scheme, url.host.lower(), port_of(url)


def redirect_target(url: str, location: str) -> str:
    """Returns where a Location header leads to; raises Failure (redirect)."""
    from urllib.parse import urljoin

    if location is None:
        raise Failure("redirect", "a redirect without a Location")
    # http.client takes a header for Latin-1, but a URL that is not ASCII is UTF-8 as a rule.
    location = text_of(location.strip(" \t").encode("latin-1"))
    try:
        # Checked before it is joined, which would drop line ends silently.
        check_characters(location)
        base, path, query = split_http_url(urljoin(url, location))
    except ValueError as error:
        text = "a redirect to {}: {}".format(excerpt(location), excerpt(str(error)))
        raise Failure("redirect", text)
    scheme, _, authority = base.partition("://")
    return "{}://{}{}{}".format(scheme, authority.rpartition("@")[2], path, query)


def request_headers(options: HttpOptions, credentials: str, home: bool) -> dict:
    """Returns the headers of a request; home says whether it goes where the user sent it."""
    headers = {}
    for name, value in options.headers:
        name = name.title()
        if home or name not in ("Authorization", "Cookie", "Host"):
            if name in headers:
                value = headers[name] + ("; " if name == "Cookie" else ", ") + value
            headers[name] = value
    headers.setdefault("User-Agent", options.user_agent)
    if home and credentials is not None:
        headers.setdefault("Authorization", basic_authorization(credentials))
    return headers


def basic_authorization(credentials: str) -> str:
    """Returns the value of an Authorization header for user:password of a URL (RFC 7617)."""
    from base64 import b64encode
    from urllib.parse import unquote_to_bytes

    user, _, password = credentials.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + b64encode(pair).decode("ascii")


def get(target, headers, options, deadline, limit):
    """Sends one request, no redirects, and returns its HttpResponse."""
    import http.client

    try:
        proxy = proxy_for(target, options.environ)
    except ValueError as error:
        raise Failure("unreachable", str(error))
    stream = open_stream(target, proxy, options, deadline)
    try:
        if target.scheme == "https":
            if proxy:
                open_tunnel(stream, target, proxy.credentials)
            start_tls(stream, target.host, options.tls)
        via = proxy if target.scheme == "http" else None
        return read_response(stream, target, via, headers, options.trace, limit)
    except http.client.RemoteDisconnected:
        raise Failure("invalid_response", "the connection was closed without a reply")
    except http.client.HTTPException as error:
        # For too many headers http.client has no class of its own.
        too_large = type(error) in (http.client.HTTPException, http.client.LineTooLong)
        kind = "too_large" if too_large else "invalid_response"
        raise Failure(kind, "no HTTP reply: {}".format(excerpt(str(error))))
    finally:
        stream.sock.close()


def read_response(stream, target, proxy, headers, trace, limit):
    """Sends a request over an open stream and returns its HttpResponse.

    A proxy that is not None is at the other end of the stream.
    """
    url = without_credentials(target)
    authority, slash, path = url.partition("://")[2].partition("/")
    headers = dict({"Host": authority, "Accept-Encoding": "identity"}, **headers)
    headers["Connection"] = "close"
    if proxy and proxy.credentials is not None:
        headers["Proxy-Authorization"] = basic_authorization(proxy.credentials)
    if trace:
        trace("-> {} GET {}".format(stream.address, url))
    sent = time.monotonic()
    response = stream.request("GET", url if proxy else slash + path, headers)
    if trace:
        elapsed = (time.monotonic() - sent) * 1000
        text = "<- {} HTTP {}, {:.1f} ms after the request"
        trace(text.format(stream.address, response.status, elapsed))
    followed = response.status in REDIRECT_STATUSES
    return HttpResponse(
        response.status,
        response.reason,
        response.getheader("Content-Type"),
        response.getheader("Location"),
        b"" if followed or limit is None else read_body(response, limit),
        stream.address,
    )


def open_stream(target, proxy, options, deadline):
    """Returns a Stream to the target, or to the proxy that is not None."""
    host, port = target.host, port_of(target)
    if proxy:
        host, port = proxy.host, proxy.port or PROXY_PORT
    try:
        with Pause(options.turn):
            addresses = options.resolve(host, port, options.version, deadline)
        sock, address = connect_to_any(addresses, deadline, options.trace, options.turn)
    except OSError as error:
        # There was no descriptor left for the selector.
        raise network_failure(error)
    except Failure as failure:
        if proxy:
            raise Failure(failure.kind, "the proxy: {}".format(failure))
        raise
    return Stream(sock, deadline, show_address(address), options.turn)


def open_tunnel(stream, target, credentials):
    """Asks a proxy for a connection to the target (CONNECT); raises Failure when it refuses."""
    authority = show_address((target.host.partition("%")[0], port_of(target)))
    headers = {"Host": authority}
    if credentials is not None:
        headers["Proxy-Authorization"] = basic_authorization(credentials)
    response = stream.request("CONNECT", authority, headers)
    if response.status != 200:
        text = "the proxy refuses the connection: HTTP {} {}"
        raise Failure("http_status", text.format(response.status, excerpt(response.reason)))


def start_tls(stream, host, tls):
    """Puts TLS on the stream; raises Failure (tls, timeout)."""
    import socket

    # Certificates know neither the scope of an address nor the dot that may end a name.
    name = host.partition("%")[0].rstrip(".")
    try:
        context = tls.context()
        with Pause(stream.turn):
            stream.sock.settimeout(time_left(stream.deadline))
            stream.sock = context.wrap_socket(stream.sock, server_hostname=name)
    except (socket.timeout, TimeoutError):
        raise Failure("timeout", "no TLS handshake in time")
    except (OSError, ValueError, ImportError) as error:
        reason = getattr(error, "verify_message", None) or str(error)
        raise Failure("tls", "TLS: {}".format(excerpt(reason)))


def without_credentials(url: Url) -> str:
    """Returns a URL as requests have it: without credentials, scope and a port that is implied."""
    authority = show_address((url.host.partition("%")[0], port_of(url)))
    if port_of(url) == DEFAULT_PORTS[url.scheme]:
        authority = authority.rpartition(":")[0]
    return "{}://{}{}".format(url.scheme, authority, encode_path(url.path or "/", url.query))


def read_body(response, limit):
    """Returns the body, decompressed where it came so unasked; Failure beyond the limit."""
    # With a space at its end http.client does not know it.
    chunked = (response.getheader("Transfer-Encoding") or "").strip().lower() == "chunked"
    if chunked:
        response.length = None
    length = response.length
    if length == 0:
        return b""
    if (length or 0) > limit:
        text = "a body of {} bytes is announced".format(excerpt(str(length)))
        raise Failure("too_large", text)
    if chunked:
        parts = read_chunks(response.fp, limit)
    else:
        parts = iter(lambda: response.read(65536), b"")
    parts = limited(parts, limit)
    encoding = (response.getheader("Content-Encoding") or "").strip().lower()
    if encoding in ("gzip", "x-gzip", "deflate"):
        parts = limited(decompress(parts, limit + 1), limit)
    body = bytearray()
    try:
        for part in parts:
            body += part
        if response.length:
            text = "the body is {} bytes shorter than announced".format(response.length)
            raise Failure("invalid_response", text)
    except Failure as failure:
        if failure.kind == "invalid_response":
            content_type = response.getheader("Content-Type")
            failure = broken_reply(response.status, response.reason, content_type, failure, body)
        raise failure
    return bytes(body)


def limited(parts, limit):
    """Yields the parts, up to so many bytes in all; Failure (too_large) beyond that."""
    for part in parts:
        limit -= len(part)
        if limit < 0:
            raise Failure("too_large", "the body has more bytes than are accepted")
        yield part


def read_chunks(reader, limit):
    """Yields the parts of a chunked body (RFC 9112, 7.1).

    Not left to http.client, which takes a negative size for a chunk without end.
    """
    import re

    # Sizes and trailers may take as much as what they are about.
    reader.line_bytes_left = limit
    while True:
        size = reader.readline().partition(b";")[0].strip()
        if not re.match(rb"[0-9A-Fa-f]{1,16}\Z", size):
            raise Failure("invalid_response", "a chunk of the body has a broken size, or none")
        left = int(size, 16)
        if not left:
            break
        while left:
            part = reader.read(min(left, 65536))
            if not part:
                raise Failure("invalid_response", "the body ends within a chunk")
            left -= len(part)
            yield part
        if reader.readline(3).strip():
            raise Failure("invalid_response", "a chunk of the body is longer than its size")
    while reader.readline().strip():
        pass


def decompress(parts, most):
    """Yields what is compressed in the parts, at most so many bytes at a time."""
    import zlib

    stream = zlib.decompressobj(wbits=32 + zlib.MAX_WBITS)
    for part in parts:
        try:
            yield b"" if stream.eof else stream.decompress(part, most)
        except zlib.error:
            raise Failure("invalid_response", "the compressed body is broken")
    if not stream.eof:
        raise Failure("invalid_response", "the compressed body is cut off")


# --- end of carried region: http ---


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
    value = checked(parse_header_value)
    add("--user-agent", type=value, default=user_agent, help="default " + user_agent)
    add(
        "--header",
        metavar="'NAME: VALUE'",
        type=checked(parse_header),
        action="append",
        default=[],
        help="a further header; can be given several times",
    )
    cacert = checked(parse_cacert)
    add("--cacert", metavar="FILE", type=cacert, help="trust the certificates in it alone")
    add("--insecure", action="store_true", help="do not verify certificates")


def http_options_of(arguments, resolve) -> HttpOptions:
    """Returns what the arguments say of HTTP, with the proxies of the environment."""
    return HttpOptions(
        version=arguments.ip_version,
        user_agent=arguments.user_agent,
        headers=arguments.header,
        tls=Tls(arguments.cacert, arguments.insecure),
        environ=os.environ,
        resolve=resolve,
        trace=trace_for(arguments),
    )


# --- end of carried region: http options ---


# The inputs: whatever people have in hand, turned into targets.
UDP, HTTP, HEALTH, UNSUPPORTED = "udp", "http", "health", "unsupported"
MAX_INPUT = 64 * 1024 * 1024  # bytes taken from a file or standard input
DEFAULT_INFO_HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")


class ConfigurationError(Exception):
    """What was given to check cannot be read; source says where it stands."""

    def __init__(self, source, message):
        super().__init__(message)
        self.source = source


class Target:
    """A tracker, a health check, or a line of a list that is neither.

    kind is one of the four constants above, given the text as the user wrote it. url is an Url
    for UDP and text for HTTP (the announce URL) and health, host the host in it and literal its IP
    version, None for a name; problem says why a target is unsupported. Targets with the same key
    are the same. info_hash is None until it is known what to ask for.
    """

    __slots__ = "kind given url host port literal key info_hash problem".split()

    def __init__(self, kind, given, url, host, port, key, info_hash=None, problem=None):
        self.kind = kind
        self.given = given
        self.url = url
        self.host = host
        self.port = port
        self.literal = literal_version(host) if host else None
        self.key = key
        self.info_hash = info_hash
        self.problem = problem


def parse_tracker(text: str, info_hash: bytes = None) -> Target:
    """Returns the target for a tracker URL or host:port; raises ValueError for anything else."""
    scheme = text.partition("://")[0].lower() if "://" in text else UDP
    if scheme == UDP:
        url = split_url(text if "://" in text else "udp://" + text)
        if url.port is None:
            raise ValueError("the port is missing; udp://host:port is expected")
        host = url.host.lower()
        key = (UDP, host, url.port, url_data_of(url.path, url.query))
        return Target(UDP, text, url, host, url.port, key, info_hash)
    if scheme in DEFAULT_PORTS:
        return http_target(HTTP, text, announce_url(text), info_hash)
    raise ValueError("scheme {!r} cannot be checked; udp, http and https can".format(scheme))


def parse_health(text: str) -> Target:
    """Returns the target for the URL of a health check; raises ValueError for anything else."""
    url = split_url(text)
    if url.scheme not in DEFAULT_PORTS:
        raise ValueError("scheme {!r} is not http or https".format(url.scheme))
    return http_target(HEALTH, text, text)


def http_target(kind: str, given: str, text: str, info_hash: bytes = None) -> Target:
    url = split_url(text)
    host = url.host.lower()
    key = (kind, url.scheme, url.credentials, host, port_of(url), url.path or "/", url.query)
    return Target(kind, given, text, host, port_of(url), key, info_hash)


def tracker_or_unsupported(text: str, info_hash: bytes = None) -> Target:
    """Like parse_tracker, but what cannot be checked becomes an unsupported target."""
    try:
        return parse_tracker(text, info_hash)
    except ValueError as error:
        return unsupported(text, error)


def unsupported(text: str, error: Exception) -> Target:
    return Target(UNSUPPORTED, text, None, None, None, (UNSUPPORTED, text), problem=str(error))


class Inputs:
    """Collects the distinct targets of a run, in the order in which they were given.

    What takes an input raises ValueError where that cannot be read; source then says where it
    stands. own_hash is the info hash of the first magnet link or .torrent; trackerless is a
    ConfigurationError for the first one that names no tracker.
    """

    def __init__(self):
        self.targets = []
        self.source = "argument"
        self.own_hash = None
        self.trackerless = None
        self._keys = set()

    def add(self, target: Target) -> None:
        if target.key not in self._keys:
            self._keys.add(target.key)
            self.targets.append(target)

    def add_torrent(self, info_hash: bytes, trackers: list, what: str) -> None:
        """Adds the trackers of a magnet link or .torrent, to be asked for its own hash."""
        self.own_hash = self.own_hash or info_hash
        for tracker in trackers:
            self.add(tracker_or_unsupported(tracker, info_hash))
        if not trackers and not self.trackerless:
            text = "the {} names no tracker".format(what)
            self.trackerless = ConfigurationError(self.source, text)

    def add_argument(self, text: str) -> None:
        """Adds an INPUT of the command line."""
        self.source = "argument"
        if text.lstrip().startswith("{"):
            self.add_configuration(text)
        elif text[:8].lower() == "magnet:?":
            self.add_magnet(text)
        elif "://" in text:
            self.add(tracker_or_unsupported(text))
        elif text == "-" or ("\0" not in text and os.path.exists(text)):
            self.add_document(self.read(text))
        else:
            try:
                self.add(parse_tracker(text))
            except ValueError as error:
                reason = " ({})".format(error) if ":" in text else ""
                raise ValueError(
                    "{!r} is no file that exists, and no tracker URL, host:port, magnet link or "
                    "JSON configuration{}".format(text, reason)
                )

    def read(self, path: str) -> bytes:
        """Returns the bytes of a file, or of standard input for -, which is the source now."""
        self.source, file = ("stdin", 0) if path == "-" else (path, path)
        try:
            with open(file, "rb", closefd=file != 0) as stream:
                data = stream.read(MAX_INPUT + 1)
        except OSError as error:
            raise ValueError("cannot be read: {}".format(error.strerror))
        if len(data) > MAX_INPUT:
            raise ValueError("larger than {} MiB".format(MAX_INPUT >> 20))
        return data

    def add_document(self, data: bytes) -> None:
        """Adds what a file or standard input holds, a .torrent or text of any kind."""
        import re

        # A list may begin with d1:6969, but no value of a dictionary does as what follows there.
        key = re.match(rb"d([0-9]{1,3}):", data)
        value_at = key.end() + int(key.group(1)) if key else 0
        if key and re.match(rb"[dil]|[0-9]+:", data[value_at : value_at + 20]):
            self.add_torrent_file(data)
            return
        text = decode_text(data)
        if text.lstrip().startswith("{"):
            self.add_configuration(text)
            return
        lines = [line.strip() for line in re.split(r"[\r\n]+", text)]
        entries = [line for line in lines if line and not line.startswith("#")]
        if not entries:
            raise ValueError(
                "nothing to check; a tracker URL a line, JSON or a .torrent is expected"
            )
        for entry in entries:
            if entry[:8].lower() != "magnet:?":
                self.add(tracker_or_unsupported(entry))
                continue
            try:
                self.add_magnet(entry)
            except ValueError as error:
                if len(entries) == 1:
                    raise
                self.add(unsupported(entry, error))

    def add_configuration(self, text: str) -> None:
        """Adds a JSON configuration, the Rust checker's."""
        parsers = {
            "udp_trackers": (parse_tracker, UDP, "udp://host:port"),
            "http_trackers": (parse_tracker, HTTP, "http://host or https://host"),
            "health_checks": (parse_health, HEALTH, None),
        }
        configuration = parse_json(text)
        for name in configuration:
            if name not in parsers:
                raise ValueError(
                    "unknown key {!r}; udp_trackers, http_trackers and health_checks are "
                    "expected".format(name)
                )
        for name, (parse, kind, expected) in parsers.items():
            entries = configuration.get(name, [])
            if not isinstance(entries, list):
                raise ValueError("{}: a list of URLs is expected".format(name))
            for index, entry in enumerate(entries):
                place = "{}[{}]".format(name, index)
                if not isinstance(entry, str):
                    raise ValueError("{}: a URL is expected".format(place))
                try:
                    target = parse(entry)
                    if target.kind != kind:
                        raise ValueError("{} is expected".format(expected))
                except ValueError as error:
                    raise ValueError("{} {!r}: {}".format(place, entry, error))
                self.add(target)

    def add_magnet(self, text: str) -> None:
        """Adds the trackers (tr) of a magnet link (BEP 9)."""
        from urllib.parse import unquote

        info_hash = parse_info_hash(text)
        trackers = [unquote(value) for value in magnet_values(text, "tr") if value]
        self.add_torrent(info_hash, trackers, "magnet link (is it quoted?)")

    def add_torrent_file(self, data: bytes) -> None:
        """Adds the trackers of a .torrent (BEP 3, 12)."""
        bencode = import_bencode()
        try:
            torrent = bencode.decode(data)
        except bencode.BencodeError as error:
            raise ValueError("a broken .torrent: {}".format(error))
        if not isinstance(torrent.get(b"info"), dict):
            raise ValueError("a .torrent without an info dictionary")
        tiers = torrent.get(b"announce-list")
        urls = [torrent.get(b"announce")]
        for tier in tiers if isinstance(tiers, list) else []:
            urls.extend(tier if isinstance(tier, list) else [tier])
        trackers = [
            url.decode("utf-8", "backslashreplace").strip()
            for url in urls
            if isinstance(url, bytes) and url.strip()
        ]
        info_hash = torrent_info_hash(torrent[b"info"], bencode.raw_values(data)[b"info"])
        self.add_torrent(info_hash, trackers, ".torrent")


def torrent_info_hash(info: dict, raw: bytes) -> bytes:
    """Returns the info hash of a .torrent as trackers know it: of a hybrid, version 1 (BEP 52).

    raw is the info dictionary as it stands in the file: encoded again it may not be the same.
    """
    import hashlib

    if b"pieces" in info or info.get(b"meta version") != 2:
        return hashlib.sha1(raw).digest()
    return hashlib.sha256(raw).digest()[:20]


def decode_text(data: bytes) -> str:
    """Returns data as text, without a byte order mark; raises ValueError."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError("line {} is not UTF-8".format(line))
    if "\0" in text:
        raise ValueError("neither UTF-8 text nor a .torrent")
    return text


def parse_json(text: str) -> dict:
    """Returns a JSON object; raises ValueError with line and column of what is wrong."""
    import json

    def unique(pairs):
        found = {}
        for name, value in pairs:
            if name in found:
                raise ValueError("{!r} stands there more than once".format(name))
            found[name] = value
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        reason = error.msg
        # Python points at the comma or at the bracket after it, depending on its version.
        comma = text[: error.pos + 1].rstrip("]} \t\r\n")
        if comma.endswith(",") and text[len(comma) :].lstrip()[:1] in ("]", "}"):
            reason = "trailing comma"
        text = "broken JSON at line {}, column {}: {}"
        raise ValueError(text.format(error.lineno, error.colno, reason))
    except (RecursionError, ValueError) as error:
        raise ValueError("broken JSON: {}".format(error))
    if not isinstance(value, dict):
        raise ValueError("a JSON object with udp_trackers and so on is expected")
    return value


def read_inputs(words: list, config_path: str, targets: list, environ) -> Inputs:
    """Reads everything that is to be checked; raises ConfigurationError.

    words are the INPUT arguments, targets come from options. Where nothing at all is given, the
    environment is read: TORRUST_CHECKER_CONFIG_PATH before TORRUST_CHECKER_CONFIG.
    """
    inputs = Inputs()
    text = None
    if not words and not config_path and not targets:
        config_path = environ.get("TORRUST_CHECKER_CONFIG_PATH")
        text = environ.get("TORRUST_CHECKER_CONFIG")
        if not config_path and not text:
            raise ConfigurationError(
                "argument",
                "nothing to check: give trackers, a list, a .torrent or a magnet link, or set "
                "TORRUST_CHECKER_CONFIG or TORRUST_CHECKER_CONFIG_PATH",
            )
    try:
        for word in words:
            inputs.add_argument(word)
        if config_path:
            inputs.add_configuration(decode_text(inputs.read(config_path)))
        elif text:
            inputs.source = "TORRUST_CHECKER_CONFIG"
            inputs.add_configuration(text)
    except ValueError as error:
        raise ConfigurationError(inputs.source, str(error))
    for target in targets:
        inputs.add(target)
    if inputs.trackerless and not inputs.targets:
        raise inputs.trackerless
    return inputs


# The checks: what a tracker is asked, and what its answers say about it.
PEER_ID = b"-qB00000000000000001"
PEER_PORT = 6881
LARGE_REPLY = 64 * 1024  # bytes of an HTTP reply that takes milliseconds to decode

# What all checks of a run have in common; timeout is in seconds. http are HttpOptions, of which
# version and trace are for UDP, too.
Settings = namedtuple("Settings", "timeout announce scrape all_addresses http")
# A part of a check: elapsed is in seconds, failure is None where it went well.
Stage = namedtuple("Stage", "name elapsed failure")


class Result:
    """How a check ended. Counts, interval (seconds) and address are None where not known.

    elapsed is in seconds, finished_at a Unix time, detail what a health check was answered.
    under_way is the name of the last stage that a thread has begun.
    """

    __slots__ = (
        "target stages elapsed address interval seeders leechers detail finished_at under_way"
    ).split()

    def __init__(self, target, stages, elapsed, address=None):
        self.target = target
        self.stages = stages
        self.elapsed = elapsed
        self.address = address
        self.interval = None
        self.seeders = None
        self.leechers = None
        self.detail = None
        self.under_way = None
        self.finished_at = time.time()

    @property
    def failed(self):
        """The first stage that failed, or None."""
        return next((stage for stage in self.stages if stage.failure), None)

    @property
    def status(self) -> str:
        """ok, partial (announce works, scrape does not), timeout or error."""
        failed = self.failed
        if failed is None:
            return "ok"
        if failed.name == "scrape" and any(stage.name == "announce" for stage in self.stages):
            return "partial"
        return "timeout" if failed.failure.kind == "timeout" else "error"

    @property
    def up(self) -> bool:
        return self.status in ("ok", "partial")

    @property
    def message(self) -> str:
        """What failed and why, or None."""
        failed = self.failed
        return failed and "{}: {}".format(failed.name, failed.failure)


def udp_requests(info_hash: bytes, url_data: bytes, announce: bool, scrape: bool) -> list:
    """Returns what a UDP tracker is asked: never as a seeder, and scrape before announce.

    Both are in flight together; in this order the scrape does not count the announced peer.
    """
    requests = []
    if scrape:
        requests.append(Scrape([info_hash]))
    if announce:
        requests.append(
            Announce(
                info_hash=info_hash,
                peer_id=PEER_ID,
                downloaded=0,
                left=1,
                uploaded=0,
                event=EVENTS["started"],
                ip_address=bytes(4),
                key=0,
                peers_wanted=1,
                port=PEER_PORT,
                url_data=url_data,
            )
        )
    return requests


class UdpCheck(Conversation):
    """The conversation with a UDP tracker that ends outside its swarm and in a Result.

    task is the runner's Task; scheduled is for when it has last been told to go on with it.
    """

    __slots__ = ("task", "scheduled")

    def end(self, failure: Failure, now: float) -> None:
        """Ends the conversation before its time: what is open ends with the failure."""
        self.waiting = []
        for sock, (_, exchange) in list(self.exchanges.items()):
            if sock in self.exchanges:
                exchange.fail(failure, now)
                self._finish(sock, now)

    def _finish(self, sock, now):
        """Takes an exchange out of the swarm that it has entered, and closes it."""
        address, exchange = self.exchanges[sock]
        for request, reply in zip(exchange.requests, exchange.replies):
            if isinstance(reply, AnnounceReply) and exchange.is_connected(now):
                stopped = request._replace(event=EVENTS["stopped"], peers_wanted=0)
                if self.trace:
                    self.trace("-> {} announce, stopped".format(show_address(address)))
                try:
                    sock.send(stopped.encode(exchange.connection_id, new_transaction_id()))
                except OSError:
                    # It is a courtesy: the tracker forgets the peer after its interval anyway.
                    pass
        super()._finish(sock, now)

    def result(self, now: float) -> Result:
        """Returns how the finished conversation went."""
        exchange, task = self.exchange, self.task
        elapsed = task.setup + now - task.began
        unanswered = None if self.answered else combined_failure(self.failures)
        reached = self.answered or (exchange and exchange.connected_at)
        address = self.address if reached else task.addresses[0]
        result = Result(task.target, [], elapsed, show_address(address))

        def add(name, seconds, failure):
            result.stages.append(Stage(name, max(0, seconds), failure))

        if exchange is None:
            add("setup", elapsed, unanswered)
            return result
        add("setup", task.setup, None)
        connected_at = exchange.connected_at
        if connected_at is None:
            add("connect", now - task.began, unanswered or stage_failure(exchange.replies[0]))
            return result
        add("connect", connected_at - task.began, None)
        # In reverse: the scrape was asked first, but a reader expects the announce.
        answers = reversed(list(zip(exchange.requests, exchange.replies, exchange.replied_at)))
        for request, reply, replied_at in answers:
            failure = stage_failure(reply)
            if failure and unanswered:
                failure, unanswered = unanswered, None
            add(ACTIONS[request.action], replied_at - connected_at, failure)
            if isinstance(reply, AnnounceReply):
                result.interval = reply.interval
                result.seeders, result.leechers = reply.seeders, reply.leechers
            elif not failure:
                result.seeders, _, result.leechers = reply.stats[0]
        return result


def stage_failure(reply):
    """Returns the Failure that a reply over UDP stands for, or None."""
    if isinstance(reply, Failure):
        return reply
    if isinstance(reply, ErrorReply):
        return Failure("tracker_error", "the tracker says {!r}".format(reply.message))
    if isinstance(reply, ScrapeReply) and not reply.stats:
        return Failure("invalid_response", "the reply to scrape has no entry")
    return None


def check_http(result: Result, settings: Settings, deadline: float, report) -> None:
    """Checks an HTTP tracker and calls report(), then takes itself out of the swarm.

    result has no stage yet, and gets each as it ends. Blocks until the deadline at most.
    """
    target = result.target
    accepted = None
    if settings.announce:
        how = (announcing(target, "started"), settings, deadline, ANNOUNCE_LIMIT, check_announce)
        accepted = run_stage(result, "announce", ask_http, *how)
        if accepted:
            result.interval, result.seeders, result.leechers = announce_counts(accepted)
    try:
        url = with_query(scrape_url(target.url), encode_query([("info_hash", target.info_hash)]))
    except ValueError:
        url = None
    if settings.scrape and url:
        how = (url, settings, deadline, SCRAPE_LIMIT, check_scrape)
        reply = run_stage(result, "scrape", ask_http, *how)
        if reply:
            seeders, leechers = scrape_counts(reply, target.info_hash)
            result.seeders = result.seeders if seeders is None else seeders
            result.leechers = result.leechers if leechers is None else leechers
    elif not settings.announce:
        failure = Failure("unsupported", "it has no scrape URL, and no announce was wanted")
        result.stages.append(Stage("scrape", 0, failure))
    report()
    if accepted:
        try:
            fetch(announcing(target, "stopped"), settings.http, deadline, ANNOUNCE_LIMIT)
        except Failure:
            # It is a courtesy: the tracker forgets the peer after its interval anyway.
            pass


def run_stage(result, name, function, *arguments):
    """Runs function(result, …) as a stage of the result; returns its reply, None if it failed."""
    began = time.monotonic()
    result.under_way = name
    reply = failure = None
    try:
        reply = function(result, *arguments)
    except Failure as caught:
        # Without its traceback, which would keep the connection and its buffers.
        failure = Failure(caught.kind, str(caught))
    result.stages.append(Stage(name, time.monotonic() - began, failure))
    return reply


def numbers_of(value: dict, *keys) -> tuple:
    """Returns what a reply has for the keys, None for what is no number or not there."""
    found = map(value.get, keys)
    return tuple(number if isinstance(number, int) else None for number in found)


def announce_counts(value: dict) -> tuple:
    """Returns (interval in seconds, seeders, leechers) of an announce answer, None if not there."""
    return numbers_of(value, b"interval", b"complete", b"incomplete")


def scrape_counts(value: dict, info_hash: bytes) -> tuple:
    """Returns (seeders, leechers) of a torrent in a scrape answer, None if not there."""
    for key, counts in value[b"files"].items():
        if scraped_hash(key) == info_hash and isinstance(counts, dict):
            return numbers_of(counts, b"complete", b"incomplete")
    return None, None


def announcing(target: Target, event: str) -> str:
    """Returns the URL of an announce, never as a seeder."""
    parameters = [
        ("info_hash", target.info_hash),
        ("peer_id", PEER_ID),
        ("port", PEER_PORT),
        ("uploaded", 0),
        ("downloaded", 0),
        ("left", 1),
        ("event", event),
        ("compact", 1),
        ("numwant", 0 if event == "stopped" else 1),
    ]
    return with_query(target.url, encode_query(parameters))


def ask_http(result, url, settings, deadline, limit, check):
    """Returns the decoded reply, which check(reply, HTTP status) lets pass; raises Failure."""
    if result.stages and time.monotonic() >= deadline:
        raise Failure("timeout", "not asked, since the announce used up the time")
    response = fetch(url, settings.http, deadline, limit)
    result.address = response.address
    # Others may go on while a large reply is decoded.
    with Pause(settings.http.turn if len(response.body) > LARGE_REPLY else None):
        reply = read_reply(response)
    check(reply, response.status)
    return reply


def check_health(result: Result, settings: Settings, deadline: float, report) -> None:
    """Checks a health endpoint and calls report(): any 2xx status is well."""
    run_stage(result, "health", ask_health, result.target.url, settings, deadline)
    report()


def ask_health(result, url, settings, deadline):
    from http.client import responses

    response = fetch(url, settings.http, deadline, limit=None)
    result.address = response.address
    reason = responses.get(response.status, response.reason)
    result.detail = "{} {}".format(response.status, reason).strip()
    if not 200 <= response.status < 300:
        raise Failure("http_status", result.detail)


# The runner: one selector for UDP, threads for what blocks, one place that collects results.
class Lookups:
    """Looks names up on daemon threads, each name once, or anew each time with keep=False.

    A lookup cannot be interrupted. So whenever one has taken a tenth of a second another thread
    takes its place, up to `most`, and names that are slow or hang do not hold the others.
    """

    FIRST_THREADS = 32
    SLOW = 0.1  # seconds

    def __init__(self, version, most, keep, wake):
        import _thread

        self.version = version
        self.most = most
        self.keep = keep
        self.wake = wake
        self.queue = deque()
        self.lock = _thread.allocate_lock()
        self.lookups = {}  # host: Lookup
        self.busy = set()  # those that a thread is at
        self.threads = 0  # they end when there is nothing to look up

    class Lookup:
        """One name: when it was asked and begun (None before), and what came of it."""

        def __init__(self, host):
            import threading

            self.host = host
            self.begun = None
            self.finished = threading.Event()
            self.outcome = None  # addresses with port 0, or a Failure

    def find(self, host: str) -> "Lookups.Lookup":
        """Returns the lookup of a name, started if it is new; from any thread."""
        with self.lock:
            lookup = self.lookups.get(host)
            if lookup is None:
                lookup = self.Lookup(host)
                self.lookups[host] = lookup
                self.queue.append(lookup)
                # tend() starts more, and tries again where this one cannot be started.
                if not self.threads:
                    self._start_thread()
                self.wake()
            return lookup

    def resolve(self, host: str, port: int, version: int, deadline: float) -> list:
        """Like look_up_within, for the threads that speak HTTP."""
        if literal_version(host):
            return look_up(host, port, version)
        lookup = self.find(host)
        if not self.threads and not lookup.finished.is_set():
            # No thread is to be had but the one that asks.
            return look_up(host, port, version)
        lookup.finished.wait(max(0, deadline - time.monotonic()))
        outcome = lookup.outcome
        if outcome is None:
            raise Failure("timeout", "{}: the name lookup took too long".format(host))
        if isinstance(outcome, Failure):
            raise Failure(outcome.kind, str(outcome))
        return with_port(outcome, port)

    def tend(self, now: float) -> None:
        """Starts threads beside those whose lookups are slow; to be called now and then."""
        with self.lock:
            slow = sum(now - lookup.begun > self.SLOW for lookup in self.busy)
            wanted = min(len(self.busy) + len(self.queue), self.FIRST_THREADS + slow, self.most)
            while self.threads < wanted and self._start_thread():
                pass

    def is_stuck(self, since: float) -> bool:
        """Whether no thread has begun a lookup since a time of time.monotonic()."""
        with self.lock:
            return all(lookup.begun < since for lookup in self.busy)

    def _start_thread(self):
        started = start_thread(self._work)
        self.threads += started
        return started

    def _work(self):
        while True:
            with self.lock:
                if not self.queue:
                    self.threads -= 1
                    return
                lookup = self.queue.popleft()
                lookup.begun = time.monotonic()
                self.busy.add(lookup)
            try:
                outcome = look_up(lookup.host, 0, self.version)
            except Failure as failure:
                outcome = failure
            with self.lock:
                self.busy.discard(lookup)
                if not self.keep:
                    del self.lookups[lookup.host]
            lookup.outcome = outcome
            lookup.finished.set()
            self.wake()


def with_port(addresses: list, port: int) -> list:
    """Returns addresses that were looked up without a port with it."""
    return [(address[0], port) + address[2:] for address in addresses]


class Task:
    """One check of a target; result is None until it has ended.

    tasks are all of its target, in the order of their results. addresses are those that it may go
    to, None for any that its name has (or may yet be found to have); setup is how many seconds it
    took to look them up. found is a Result to which a thread adds what it finds out, None where
    there is no thread.
    """

    __slots__ = "target on_result asked tasks addresses setup began deadline found result".split()

    def __init__(self, target, on_result, asked):
        self.target = target
        self.on_result = on_result
        self.asked = asked
        self.tasks = [self]
        self.addresses = None
        self.setup = 0
        self.found = None
        self.result = None

    def begin(self, timeout):
        """Notes that it gets its socket or thread now."""
        self.began = time.monotonic()
        self.deadline = self.began + max(0, timeout - self.setup)


# How many lookups and HTTP checks may be under way, and how many UDP sockets open, at a time.
Limits = namedtuple("Limits", "lookups http udp")


def share_descriptors(available: int, names: int, http: int, udp: int) -> Limits:
    """Shares open files out among lookups (two each), HTTP checks (three each) and UDP sockets.

    Lookups and HTTP come first: a lookup that finds no descriptor free would say that the name
    is unknown. The numbers are those wished for; where there are too few, runs go in waves. An
    HTTP check of a name with many silent addresses may want more: the one that has been silent
    the longest then gives way.
    """
    lookups = max(1, min(names, 256, available // 8))
    available -= 2 * lookups if names else 0
    http = min(http, available // 6 if udp else available // 3)
    return Limits(lookups, max(1, http), max(1, available - 3 * http))


def open_files_available(wanted: int) -> int:
    """Returns how many more files may be opened, after raising the soft limit where it is low."""
    margin = 32  # what the interpreter and the output have open
    try:
        import resource
    except ImportError:
        return 400  # Windows: its select() takes 512 sockets
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + margin:
        soft = wanted + margin if hard == resource.RLIM_INFINITY else min(wanted + margin, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(8, soft - margin)


class Runner:
    """Runs checks side by side; all of its own work is done by the thread that calls run().

    submit() hands it a target; on_result(result) is called for each result of it. Every target
    gets its results, whatever becomes of it or of others: a check's own deadline is kept by the
    code that does it, and once more here, against threads that do not come back.
    """

    BATCH = 64  # UDP checks started before replies are looked at again, to keep latencies true
    TEND = 0.1  # seconds between looks at lookups, threads and the progress
    GRACE = 0.4  # seconds after its deadline in which a thread may still bring its own result
    PER_HOST = 4

    def __init__(self, settings: Settings, limits: Limits, keep_names: bool):
        import _thread
        import selectors
        import socket

        self.limits = limits
        self.tick = None
        self.interrupted = None
        self.open = set()
        self._timers = []  # a heap of (when, number, function, its arguments …)
        self._numbers = itertools.count()  # so that of two at the same time the first is first
        self._selector = selectors.DefaultSelector()
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self._selector.register(self._wake_in, selectors.EVENT_READ)
        self._woken = False
        self._posted = deque()
        self._lookups = Lookups(settings.http.version, limits.lookups, keep_names, self.wake)
        self._resolve = self._lookups.resolve
        http = settings.http._replace(resolve=self._resolve, turn=_thread.allocate_lock())
        self.settings = settings._replace(http=http)
        self._looking_up = {}  # task that waits for a lookup: the lookup
        self._udp_waiting = deque()
        self._udp_open = 0
        self._requests = {}
        self._http_running = set()
        self._http_ready = deque()
        self._http_hosts = {}  # host: its tasks, of which only the first few are ready or running

    def submit(self, target: Target, on_result) -> list:
        """Takes a target in and returns its Tasks, which are more once its addresses are known."""
        task = Task(target, on_result, time.monotonic())
        self.open.add(task)
        if target.kind == UNSUPPORTED:
            self._fail(task, Failure("unsupported", target.problem), 0)
        elif target.kind == UDP and target.literal:
            try:
                addresses = look_up(target.host, target.port, self.settings.http.version)
                self._found(task, addresses, 0)
            except Failure as failure:
                # Of the other IP version, or with the scope of an interface that is not there.
                self._fail(task, failure, 0)
        elif target.kind == UDP or (
            self.settings.all_addresses and not target.literal and self._is_direct(target)
        ):
            self._looking_up[task] = self._lookups.find(target.host)
        else:
            self._enqueue_http(task)
        return task.tasks

    def call_at(self, when: float, function, *arguments) -> None:
        """Calls function(*arguments) in run() at a time of time.monotonic()."""
        heappush(self._timers, (when, next(self._numbers), function, *arguments))

    def interrupt(self, number: int) -> None:
        """Ends run() before its time; what is open ends as interrupted. For signal handlers."""
        self.interrupted = number
        self.wake()

    def run(self, until: float = 0) -> None:
        """Runs until every target has its results and a time has come, or interrupted."""
        # Before lookups start more threads, of which there may be few.
        self._dispatch_http()
        self._tend()
        while not self.interrupted and (
            self.open or self._http_running or time.monotonic() < until
        ):
            # _tend is always among the timers.
            pause = 0 if self._has_places() else self._timers[0][0] - time.monotonic()
            for key, _ in self._selector.select(max(0, pause)):
                if key.data is None:
                    self._take_posted()
                # The reply on one socket may have closed others.
                elif key.fileobj in key.data.exchanges:
                    now = time.monotonic()
                    key.data.read(key.fileobj, now)
                    self._after(key.data, now)
            now = time.monotonic()
            while self._timers[0][0] <= now and not self.interrupted:
                _, _, function, *arguments = heappop(self._timers)
                function(*arguments)
            self._start_udp()
            self._dispatch_http()
        if self.interrupted:
            self._end_interrupted()

    def wake(self) -> None:
        """Makes run() look at what was posted; from any thread."""
        if not self._woken:
            self._woken = True
            try:
                self._wake_out.send(b"\0")
            except OSError:
                # The pipe is full of wake-up calls already.
                pass

    def _post(self, function, *arguments):
        self._posted.append((function, arguments))
        self.wake()

    def _take_posted(self):
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            pass
        self._woken = False
        if self._lookups.queue:
            self._lookups.tend(time.monotonic())
        while self._posted:
            function, arguments = self._posted.popleft()
            function(*arguments)
        found = [task for task, lookup in self._looking_up.items() if lookup.outcome is not None]
        for task in found:
            self._looked_up(task, self._looking_up.pop(task))

    def _tend(self):
        """Looks after what no event tells: lookups and threads that take too long, the progress."""
        now = time.monotonic()
        self.call_at(now + self.TEND, self._tend)
        self._lookups.tend(now)
        for task, lookup in list(self._looking_up.items()):
            if self._is_late(task, lookup, now):
                del self._looking_up[task]
                failure = Failure("timeout", lookup.host + ": the name lookup took too long")
                if not lookup.begun and not self._lookups.threads:
                    text = "{}: no thread can be started to look it up".format(lookup.host)
                    failure = Failure("resolve_failed", text)
                self._fail(task, failure, self.settings.timeout)
        for task in list(self._http_running):
            if now > task.deadline + self.GRACE:
                failure = Failure("timeout", "no end within {:g} s".format(self.settings.timeout))
                self._fail(task, failure, self.settings.timeout)
                self._release(task)
        if self.tick:
            self.tick()

    def _fail(self, task, failure, elapsed):
        """Ends a task with a failure, and with what its thread, if any, has found out so far."""
        result = Result(task.target, [], elapsed)
        if task.found:
            import copy

            # Its thread may yet come back. The stages first: what it does meanwhile is left out.
            stages = list(task.found.stages)
            result = copy.copy(task.found)
            result.stages, result.elapsed = stages, elapsed
        if not result.stages or result.under_way != result.stages[-1].name:
            first = {HTTP: "announce" if self.settings.announce else "scrape", HEALTH: "health"}
            name = result.under_way or first.get(result.target.kind, "setup")
            result.stages.append(Stage(name, elapsed, failure))
        self._settle(task, result)

    def _settle(self, task, result):
        """Takes the result of a task; what comes from a thread that was given up is too late."""
        if task.result is None:
            task.result = result
            result.finished_at = time.time()
            if self.settings.all_addresses and task.addresses:
                result.address = show_address(task.addresses[0])
            self.open.remove(task)
            task.on_result(result)

    # Names.

    def _is_direct(self, target):
        """Whether an HTTP target is reached without a proxy: then its name is ours to look up."""
        try:
            return proxy_for(split_url(target.url), self.settings.http.environ) is None
        except ValueError:
            return False

    def _is_late(self, task, lookup, now):
        since = now - self.settings.timeout
        if lookup.begun:
            return max(task.asked, lookup.begun) < since
        return task.asked < since and self._lookups.is_stuck(since)

    def _looked_up(self, task, lookup):
        elapsed = max(0, time.monotonic() - max(task.asked, lookup.begun))
        if isinstance(lookup.outcome, Failure):
            self._fail(task, lookup.outcome, elapsed)
        else:
            self._found(task, with_port(lookup.outcome, task.target.port), elapsed)

    def _found(self, task, addresses, elapsed):
        """Goes on with a task whose addresses are known now, or with one for each of them."""
        task.addresses, task.setup = addresses, elapsed
        if self.settings.all_addresses:
            task.addresses = addresses[:1]
            for address in addresses[1:]:
                more = Task(task.target, task.on_result, task.asked)
                more.addresses, more.setup = [address], elapsed
                task.tasks.append(more)
                self.open.add(more)
        for each in task.tasks:
            if each.target.kind == UDP:
                self._udp_waiting.append(each)
            else:
                self._enqueue_http(each)

    def _only_at(self, name, address):
        """Returns the settings with which HTTP goes to this one address of a name."""

        def resolve(host, port, version, deadline):
            if (host.lower(), port) == (name, address[1]):
                return [address]
            return self._resolve(host, port, version, deadline)

        return self.settings._replace(http=self.settings.http._replace(resolve=resolve))

    # UDP.

    def _start_udp(self):
        for _ in range(self.BATCH):
            if not self._has_places():
                return
            task = self._udp_waiting.popleft()
            self._udp_open += len(task.addresses)
            task.begin(self.settings.timeout)
            check = UdpCheck(
                task.addresses,
                self._requests_of(task.target),
                task.began,
                task.deadline,
                self._selector,
                self.settings.http.trace,
            )
            check.task, check.scheduled = task, None
            self._advance(check)

    def _has_places(self):
        """Whether a UDP check waits and there are sockets to be had for all of its addresses.

        One with more addresses than there can be sockets has to be alone.
        """
        if not self._udp_waiting:
            return False
        wanted = self._udp_open + len(self._udp_waiting[0].addresses)
        return wanted <= self.limits.udp or not self._udp_open

    def _requests_of(self, target):
        """Returns what a target is asked; most targets of a run share it."""
        key = (target.info_hash, url_data_of(target.url.path, target.url.query))
        if key not in self._requests:
            self._requests[key] = udp_requests(*key, self.settings.announce, self.settings.scrape)
        return self._requests[key]

    def _advance(self, check):
        """Lets a check go on whose time has come; it may have ended, or be asked too early."""
        if not check.finished:
            now = time.monotonic()
            check.advance(now)
            self._after(check, now)

    def _after(self, check, now):
        """Sees to the next step of a check after each, or takes its result."""
        if check.finished:
            self._udp_open -= len(check.task.addresses)
            self._settle(check.task, check.result(now))
        elif check.wake_at != check.scheduled:
            check.scheduled = check.wake_at
            self.call_at(check.wake_at, self._advance, check)

    # HTTP and health.

    def _enqueue_http(self, task):
        target = task.target
        task.found = Result(target, [], 0)
        tasks = self._http_hosts.setdefault(target.host, [])
        tasks.append(task)
        if len(tasks) <= self.PER_HOST:
            self._http_ready.append(task)

    def _dispatch_http(self):
        while self._http_ready and len(self._http_running) < self.limits.http:
            task = self._http_ready[0]
            task.begin(self.settings.timeout)
            started = start_thread(self._work, task)
            patience = task.asked + self.settings.timeout
            if not started and (self._http_running or task.began < patience):
                # Some thread has to end first.
                return
            self._http_ready.popleft()
            self._http_running.add(task)
            if not started:
                failure = Failure("unreachable", "no thread can be started to ask it")
                self._fail(task, failure, 0)
                self._release(task)

    def _work(self, task):
        """What a thread does: one HTTP or health check."""
        result, settings = task.found, self.settings
        if task.addresses:
            settings = self._only_at(result.target.host, task.addresses[0])
        check = check_health if result.target.kind == HEALTH else check_http

        def report():
            result.elapsed = task.setup + time.monotonic() - task.began
            self._post(self._settle, task, result)

        with settings.http.turn:
            try:
                check(result, settings, task.deadline, report)
            except Exception as error:
                # A fault of ours must not cost the result, nor those of the others.
                text = "{}: {}".format(type(error).__name__, error)
                task.found = Result(result.target, [], 0)
                failure = Failure("internal_error", text)
                self._post(self._fail, task, failure, settings.timeout)
        self._post(self._release, task)

    def _release(self, task):
        """Makes room for the next request to a host, and among those under way."""
        # Else a thread that was given up has come back after all.
        if task in self._http_running:
            self._http_running.remove(task)
            tasks = self._http_hosts[task.target.host]
            tasks.remove(task)
            if len(tasks) >= self.PER_HOST:
                self._http_ready.append(tasks[self.PER_HOST - 1])

    def _end_interrupted(self):
        """Gives every check that is still open its result."""
        now = time.monotonic()
        failure = Failure("interrupted", "interrupted")
        # What has come in by now still counts.
        self._take_posted()
        for check in {key.data for key in self._selector.get_map().values() if key.data}:
            check.end(failure, now)
            self._after(check, now)
        for task in list(self.open):
            self._fail(task, failure, now - task.asked)


# The reports: pure functions, from results to text.
def with_slash(url: str) -> str:
    """Returns an HTTP URL with / for an empty path."""
    import re

    return re.sub(r"^([^/]*//[^/?#]+)(?=[?#]|$)", r"\1/", url)


def show_outcome(failure, value=None) -> dict:
    return {"Err": str(failure)} if failure else {"Ok": value}


def result_to_json(result: Result) -> tuple:
    """Returns a result as the Rust checker prints it: (group, "Ok" or "Err", what is in them)."""
    target = result.target
    stages = [[stage.name.capitalize(), show_outcome(stage.failure)] for stage in result.stages]
    if target.kind == UDP:
        body = {"remote_addr": result.address or target.given, "results": stages}
        if not target.literal:
            body["url"] = target.given
    elif target.kind == HEALTH:
        answer = show_outcome(result.stages[0].failure, result.detail)
        body = {"url": with_slash(target.given), "result": answer}
    else:
        url = with_slash(target.given) if target.kind == HTTP else target.given
        body = {"url": url, "results": stages}
    return target.kind.capitalize(), "Err" if result.failed else "Ok", body


def report_json(results: list, pretty: bool) -> str:
    """Returns the Rust checker's report: UDP, then health, then HTTP, then what is neither."""
    order = (UDP, HEALTH, HTTP, UNSUPPORTED)
    grouped = sorted(results, key=lambda result: order.index(result.target.kind))
    parts = map(result_to_json, grouped)  # one at a time, for memory
    if not pretty:
        report = [{group: {outcome: body}} for group, outcome, body in parts]
        return to_json_text(report, pretty) + "\n"
    texts = {}

    def indent(value):
        if isinstance(value, str):
            return to_json_text(value, pretty=False)
        # The same stages come again and again, and json is slow to indent.
        key = repr(value)
        if key not in texts:
            texts[key] = to_json_text(value, pretty=True).replace("\n", "\n        ")
        return texts[key]

    entries = []
    for group, outcome, body in parts:
        lines = ['        "{}": {}'.format(key, indent(value)) for key, value in body.items()]
        entries.append(RESULT_TEMPLATE.format(group, outcome, ",\n".join(lines)))
    return "[\n" + ",\n".join(entries) + "\n]\n" if entries else "[]\n"


RESULT_TEMPLATE = """\
  {{
    "{}": {{
      "{}": {{
{}
      }}
    }}
  }}"""


def result_to_ndjson(result: Result) -> str:
    """Returns a result as one line of JSON; keys without a value are left out."""
    stages = [
        present(
            name=stage.name,
            ok=not stage.failure,
            elapsed_ms=to_ms(stage.elapsed),
            error=str(stage.failure) if stage.failure else None,
        )
        for stage in result.stages
    ]
    record = present(
        tracker=result.target.given,
        kind=result.target.kind,
        status=result.status,
        address=result.address,
        elapsed_ms=to_ms(result.elapsed),
        stages=stages,
        interval=result.interval,
        seeders=result.seeders,
        leechers=result.leechers,
        message=result.message,
    )
    return to_json_text(record, pretty=False) + "\n"


def present(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}


def to_ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def counted(results: list) -> list:
    """Returns those that count: unsupported lines only where nothing else could be checked."""
    return [result for result in results if result.target.kind != UNSUPPORTED] or results


NARROW = 80  # columns for tracker and reason, below which both side by side cannot be read
COLOURS = {"ok": 32, "partial": 33, "timeout": 31, "error": 31, UNSUPPORTED: 35}


def show_tracker(result: Result, with_address: bool) -> str:
    """Returns a tracker as it was given, with the address that was asked where that is a name."""
    if with_address and result.address and not result.target.literal:
        return "{} ({})".format(result.target.given, result.address)
    return result.target.given


def report_table(
    results: list, columns: int = None, colour: bool = False, all_addresses: bool = False
) -> str:
    """Returns an aligned table with a row for each result and a line of totals.

    columns is the width of the terminal, None where lines may have any length. In a narrow one
    the reason of a failure stands where its numbers would be.
    """
    columns = columns or sys.maxsize
    rows = [("STATUS", "LATENCY", "SEEDERS", "LEECHERS", "TRACKER", "", "")]
    for result in results:
        latency = "{:.0f} ms".format(result.elapsed * 1000) if result.up else None
        numbers = [
            "-" if number is None else str(number)
            for number in (latency, result.seeders, result.leechers)
        ]
        tracker = escape(show_tracker(result, all_addresses or result.target.kind == UDP))
        # The host stands in the tracker's column already.
        host = ": {}: ".format(result.target.host)
        reason = escape(result.message or "").replace(host, ": ", 1)
        why = "" if result.up else reason.partition(": ")[2]
        status = UNSUPPORTED if result.target.kind == UNSUPPORTED else result.status
        rows.append((status, *numbers, tracker, reason, why))
    widths = [max(map(len, texts)) for texts in zip(*rows)]
    status_width, *number_widths, tracker_width, reason_width, why_width = widths
    cells_width = sum(number_widths) + 4
    room = columns - 1 - status_width - cells_width - 4
    needed = tracker_width + 2 + reason_width
    narrow = room < min(needed, NARROW)
    if narrow:
        widening = max(0, min(room - tracker_width, why_width - cells_width))
        cells_width += widening
        room -= widening
    elif room < needed:
        tracker_width = min(tracker_width, room * 3 // 5)
    lines = []
    for status, *numbers, tracker, reason, why in rows:
        cells = "  ".join(text.rjust(width) for text, width in zip(numbers, number_widths))
        if narrow:
            cells = shorten(why or cells, cells_width).ljust(cells_width)
        elif reason:
            tracker = "{}  {}".format(shorten(tracker, tracker_width).ljust(tracker_width), reason)
        line = "{}  {}  {}".format(status.ljust(status_width), cells, shorten(tracker, room))
        line = shorten(line.rstrip(), columns - 1)
        if colour and status in COLOURS:
            line = "\x1b[{}m{}\x1b[0m{}".format(COLOURS[status], status, line[len(status) :])
        lines.append(line)
    statuses = [row[0] for row in rows]
    partial, unsupported = statuses.count("partial"), statuses.count(UNSUPPORTED)
    up = statuses.count("ok") + partial
    totals = "{} up ({} partial), {} down, {} unsupported"
    lines.append(totals.format(up, partial, len(results) - up - unsupported, unsupported))
    return "\n".join(lines) + "\n"


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


METRICS = (
    ("tracker_up", "Whether the tracker works: 1 for ok and partial, 0 for down."),
    ("tracker_stage_up", "Whether a stage of the check went well."),
    ("tracker_stage_duration_seconds", "How long a stage of the check took."),
    ("tracker_announce_interval_seconds", "The interval the tracker wants between announces."),
    ("tracker_seeders", "Seeders the tracker counts for the info hash."),
    ("tracker_leechers", "Leechers the tracker counts for the info hash."),
    ("tracker_last_check_timestamp_seconds", "When the check ended, as a Unix time."),
)


def report_prometheus(results: list, all_addresses: bool = False) -> str:
    """Returns metrics in the text exposition format, for node_exporter's textfile collector."""
    samples = {name: {} for name, _ in METRICS}  # each {series: value}

    def add(name, labels, value):
        text = ",".join('{}="{}"'.format(key, escape_label(label)) for key, label in labels)
        if value is not None:
            # Two odd names may look the same once they are escaped; a series may stand only once.
            samples[name].setdefault("{}{{{}}}".format(name, text), value)

    for result in results:
        labels = [("tracker", result.target.given), ("protocol", result.target.kind)]
        if all_addresses:
            labels.append(("address", result.address or ""))
        add("tracker_up", labels, int(result.up))
        for stage in result.stages:
            of_stage = labels + [("stage", stage.name)]
            add("tracker_stage_up", of_stage, int(not stage.failure))
            add("tracker_stage_duration_seconds", of_stage, round(stage.elapsed, 6))
        add("tracker_announce_interval_seconds", labels, result.interval)
        add("tracker_seeders", labels, result.seeders)
        add("tracker_leechers", labels, result.leechers)
        add("tracker_last_check_timestamp_seconds", labels, round(result.finished_at, 3))
    lines = []
    for name, text in METRICS:
        if samples[name]:
            lines.append("# HELP {} {}".format(name, text))
            lines.append("# TYPE {} gauge".format(name))
            lines.extend("{} {}".format(*sample) for sample in samples[name].items())
    return "".join(line + "\n" for line in lines)


def escape_label(text: str) -> str:
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')


NAGIOS_STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def report_nagios(results: list, all_addresses: bool = False) -> tuple:
    """Returns (line, exit code) after the monitoring plugins' guidelines."""
    checked = counted(results)
    total = len(checked)
    down = [result for result in checked if not result.up]
    partial = [result for result in checked if result.status == "partial"]
    up = total - len(down)
    left_out = len(results) - total
    code, word, named = (2, "down", down) if down else (1, "partial", partial)
    if named:
        names = name_some(named, all_addresses)
        text = "{} of {} {}: {}".format(len(named), total, word, names)
    elif results:
        code, text = 0, "{} of {} up".format(up, total)
    else:
        code, text = 3, "nothing was checked"
    if left_out:
        text += "; {} unsupported".format(left_out)
    performance = " ".join(
        "{}={};;;0;{}".format(name, value, total)
        for name, value in (("up", up), ("down", len(down)), ("partial", len(partial)))
    )
    return nagios_line(code, text, performance), code


def nagios_line(code: int, text: str, performance: str = "") -> str:
    # A | ends the text and starts the performance data.
    line = "TRACKERS {} - {}".format(NAGIOS_STATES[code], escape(text).replace("|", "!"))
    return line + (" | " + performance if performance else "") + "\n"


def name_some(results, with_address, most=10):
    names = [show_tracker(result, with_address) for result in results[:most]]
    if len(results) > most:
        names.append("and {} more".format(len(results) - most))
    return ", ".join(names)


def report_urls(results: list) -> str:
    """Returns the announce URLs of the trackers that work, one a line, to paste into a client."""
    urls = []
    for result in results:
        target = result.target
        if result.up and target.kind == UDP:
            place = show_address((target.url.host, target.url.port))
            urls.append("udp://" + place + encode_path(target.url.path, target.url.query))
        elif result.up and target.kind == HTTP:
            urls.append(target.url)
    # With --all-addresses a tracker has several results.
    return "".join(url + "\n" for url in dict.fromkeys(urls))


# The output: a file or stdout, and the progress line on a terminal.
class Progress:
    """One line on a terminal's stderr that says how far the run is; it is gone at the end."""

    def __init__(self, total, deadline):
        self.total = total
        self.deadline = deadline  # of time.monotonic(), when all is over as a rule
        self.done = self.up = self.down = 0
        self.shown = ""

    def count(self, result: Result) -> None:
        self.done += 1
        self.up += result.up
        self.down += not result.up and result.target.kind != UNSUPPORTED

    def draw(self) -> None:
        left = max(0, self.deadline - time.monotonic())
        text = "{} of {} done, {} up, {} down, {:.0f} s left".format(
            self.done, max(self.total, self.done), self.up, self.down, left
        )[: terminal_columns(sys.stderr) - 1]
        if text != self.shown:
            write_stderr("\r" + text + "\x1b[K", end="")
            self.shown = text

    def clear(self) -> None:
        if self.shown:
            write_stderr("\r\x1b[K", end="")
            self.shown = ""


def is_terminal(stream) -> bool:
    return stream is not None and stream.isatty()


def terminal_columns(stream) -> int:
    """Returns the width of the terminal that a stream goes to; 80 where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def check_output(path: str) -> None:
    """Raises Failure (output_failed) where it is known already that path cannot be written."""
    if os.path.isdir(path):
        raise Failure("output_failed", "{}: is a directory".format(path))
    place = path
    if is_replaceable(path):
        place = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(place):
            raise Failure("output_failed", "{}: there is no folder {}".format(path, place))
    if not os.access(place, os.W_OK):
        raise Failure("output_failed", "{}: no permission to write".format(path))


def is_replaceable(path):
    """Whether path is a regular file or not there yet, and no pipe or device or link to one."""
    if path.startswith(("/dev/", "/proc/")):
        return False
    return os.path.isfile(path) or not os.path.exists(path)


def write_output(path: str, text: str) -> None:
    """Writes a file whole and renames it into place; what is no regular file is written straight.

    Raises Failure (output_failed); the old file then stays as it was.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        if not is_replaceable(path):
            with open(path, "wb") as file:
                file.write(data)
            return
        target = os.path.realpath(path)
        temporary = "{}.{}.tmp".format(target, os.getpid())
        try:
            # Made anew: a link that somebody has put there is not followed.
            remove_if_there(temporary)
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, target)
        except OSError:
            remove_if_there(temporary)
            raise
    except BrokenPipeError:
        pass
    except OSError as error:
        raise Failure("output_failed", "cannot write {}: {}".format(path, error.strerror))


def remove_if_there(path):
    try:
        os.remove(path)
    except OSError:
        pass


def render(results: list, arguments, streamed: bool) -> tuple:
    """Returns (the report in the format asked for, the exit code that belongs to it).

    streamed says that the results have been written already, as they came.
    """
    name = arguments.format
    if name == "nagios":
        return report_nagios(results, arguments.all_addresses)
    if name == "table":
        terminal = is_terminal(sys.stdout) and not arguments.output
        columns = terminal_columns(sys.stdout) if terminal else None
        plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
        colour = terminal and not plain
        text = report_table(results, columns, colour, arguments.all_addresses)
    elif name == "ndjson":
        text = "" if streamed else "".join(map(result_to_ndjson, results))
    elif name == "prometheus":
        text = report_prometheus(results, arguments.all_addresses)
    elif name == "urls":
        text = report_urls(results)
    else:
        text = report_json(results, pretty=name != "compact")
    return text, exit_code(results, arguments.fail, arguments.fail_partial)


def exit_code(results: list, fail: bool, fail_partial: bool) -> int:
    """Returns 1 where what --fail or --fail-partial looks for is there, else 0."""
    checked = counted(results)
    if fail_partial:
        return int(any(result.status != "ok" for result in checked))
    return int(fail and any(not result.up for result in checked))


# The monitor.
class Tally:
    """The statistics of one target's probes; its size does not grow with their number."""

    def __init__(self, target):
        self.target = target
        self.counts = {"ok": 0, "timeout": 0, "error": 0}
        self.last_status = "error"
        self.min_ms = self.max_ms = self.last_ms = None
        self.sum_ms = 0

    def add(self, result: Result) -> dict:
        """Counts a probe and returns the record of it."""
        self.last_status = "ok" if result.up else result.status
        self.counts[self.last_status] += 1
        self.last_ms = None
        if result.up:
            self.last_ms = int(result.elapsed * 1000 + 0.5)
            self.sum_ms += self.last_ms
            self.min_ms = self.last_ms if self.min_ms is None else min(self.min_ms, self.last_ms)
            self.max_ms = max(self.max_ms or 0, self.last_ms)
        record = {
            "event": "probe",
            "sequence": sum(self.counts.values()),
            "url": show_url(self.target),
            "status": self.last_status,
            "elapsed_ms": self.last_ms,
        }
        if self.last_status == "error":
            record["message"] = result.message
        return record

    def summary(self, message: str) -> dict:
        total = sum(self.counts.values())
        answered, timeouts = self.counts["ok"], self.counts["timeout"]
        return {
            "url": show_url(self.target),
            "status": {
                "code": "ok" if answered else self.last_status,
                "message": message,
                "stats": {
                    "total": total,
                    "timeouts": timeouts,
                    "timeout_percent": timeouts * 100 // total if total else 0,
                    "errors": self.counts["error"],
                    "min_ms": self.min_ms,
                    "max_ms": self.max_ms,
                    "average_ms": int(self.sum_ms / answered + 0.5) if answered else None,
                    "last_ms": self.last_ms,
                },
            },
        }


def show_url(target: Target) -> str:
    """Returns the URL of a target, with udp:// where it was given without."""
    return target.given if "://" in target.given else "udp://" + target.given


class Monitor:
    """Probes targets at a fixed rate.

    Probes of a target are due at start, start + interval, … while before start + duration; one
    that is due while the one before it still runs is skipped. check(target, on_result) starts a
    check, call_at(time, function, …) calls a function then: the runner's, or a test's own.
    on_probe(tally, result) is called as each probe ends, to add the result to its tally.
    """

    def __init__(self, targets, interval, duration, check, call_at, on_probe):
        self.tallies = {target: Tally(target) for target in targets}
        self.interval = interval
        self.duration = duration
        self.check = check
        self.call_at = call_at
        self.on_probe = on_probe
        self.running = set()

    def start(self, now: float) -> None:
        self.began = now
        for target in self.tallies:
            self._due(target, 0)

    def _due(self, target, number):
        """Starts the probe `number` of a target, which is due now."""
        # Counted from the start and not from now, so that no delay adds up.
        following = (number + 1) * self.interval
        if following < self.duration:
            self.call_at(self.began + following, self._due, target, number + 1)
        if target not in self.running:
            self.running.add(target)
            self.check(target, self._on_result)

    def _on_result(self, result):
        self.running.discard(result.target)
        if result.failed and result.failed.failure.kind == "interrupted":
            return
        self.on_probe(self.tallies[result.target], result)

    def summary(self, message: str) -> dict:
        """Returns the summary of all targets, in groups; a group with nothing in it is left out."""
        groups = (("udp_trackers", UDP), ("http_trackers", HTTP), ("health_checks", HEALTH))
        summary = {}
        for name, kind in groups:
            of_kind = [tally for target, tally in self.tallies.items() if target.kind == kind]
            if of_kind:
                summary[name] = [tally.summary(message) for tally in of_kind]
        return summary


class MetricsFile:
    """A file with the metrics of every target's latest result, rewritten once a second at most."""

    def __init__(self, path, call_at):
        self.path = path
        self.call_at = call_at
        self.latest = {}  # target: its latest result
        self.written_at = 0
        self.scheduled = False

    def add(self, result: Result) -> None:
        self.latest[result.target] = result
        if not self.scheduled:
            self.scheduled = True
            self.call_at(max(time.monotonic(), self.written_at + 1), self._write_now)

    def write(self) -> None:
        """Raises Failure (output_failed)."""
        write_output(self.path, report_prometheus(list(self.latest.values())))

    def _write_now(self):
        self.scheduled = False
        self.written_at = time.monotonic()
        try:
            self.write()
        except Failure as failure:
            # The disk may have room again at the next probe.
            write_record("error", kind=failure.kind, source=self.path, message=str(failure))


# The command line.
DESCRIPTION = "Check BitTorrent trackers and health endpoints, all at once, and report on them."
MONITOR_DESCRIPTION = "Probe BitTorrent trackers and health endpoints at a fixed rate, and sum up."
INPUT_HELP = (
    "tracker URLs, host:port, magnet links, JSON configuration (text or file), lists of trackers, "
    ".torrent files, - for standard input; with none, TORRUST_CHECKER_CONFIG_PATH or "
    "TORRUST_CHECKER_CONFIG"
)
HASH_HELP = "what to ask for (default 9c384222..., or that of the magnet link or .torrent)"
CHECK_HELP = """\
examples:
  %(prog)s udp://tracker.example.org:6969 https://tracker.example.net/announce
  %(prog)s --format table trackers.txt
  %(prog)s --format urls - < trackers.txt > working.txt
  %(prog)s --format ndjson linux.torrent | jq -r 'select(.seeders) | [.seeders, .tracker] | @tsv'
  %(prog)s --fail --format table trackers.txt > report || mail -s down me@example.org < report
  %(prog)s monitor udp://tracker.example.org:6969 --interval 60 --duration 3600

A check announces itself (never as a seeder) and leaves the swarm at the end. Under the passkey of
a private tracker an announce counts: use --no-announce there. host:port is a UDP tracker. A line
that cannot be checked is unsupported; it is down only where there is nothing else.

exit codes:
  0 the run is complete, 1 something is down (with --fail) or the report could not be written,
  2 wrong usage or configuration, 130 Ctrl-C, 143 SIGTERM; --format nagios: 0, 1, 2, 3
"""
MONITOR_HELP = """\
examples:
  %(prog)s monitor udp://tracker.example.org:6969 --interval 60 --duration 3600
  %(prog)s monitor trackers.txt --format prometheus --output /var/lib/node_exporter/trackers.prom
  %(prog)s monitor udp --url udp://tracker.example.org:6969 --interval 60

Each probe is a line of JSON on stderr; the summary comes at the end, or on Ctrl-C, on stdout.

exit codes:
  0 the summary is out, 1 it could not be written, 2 wrong usage or configuration
"""
FORMATS = ["json", "pretty", "compact", "ndjson", "table", "prometheus", "nagios", "urls"]
VALUED_OPTIONS = {
    name: name
    for name in (
        "--timeout --format --output --config-path --health --jobs --info-hash --user-agent"
        " --header --cacert --interval --duration --url"
    ).split()
}
VALUED_OPTIONS.update({"-o": "--output", "-c": "--config-path"})


def named(parse):
    """Returns a function like parse whose ValueError names the text, as usage errors need."""

    def parse_text(text):
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError("{!r}: {}".format(text, error))

    return parse_text


def parse_path(text: str) -> str:
    """Returns a path; ValueError for the empty one, which a variable that is not set leaves."""
    if not text:
        raise ValueError("the name of a file is expected")
    return text


def add_input_options(parser) -> None:
    add = parser.add_argument
    add("inputs", metavar="INPUT", nargs="*", help=INPUT_HELP)
    path = checked(parse_path)
    add("-c", "--config-path", metavar="FILE", type=path, help="a JSON configuration")
    add(
        "--health",
        dest="targets",
        metavar="URL",
        action="append",
        default=[],
        type=checked(named(parse_health)),
        help="a health endpoint to check; can be given several times",
    )
    info_hash = checked(parse_info_hash)
    add("--info-hash", metavar="HASH", type=info_hash, help=HASH_HELP)
    help_text = "write there, whole or not at all (default -, stdout)"
    add("-o", "--output", metavar="FILE", type=path, help=help_text)
    add("--no-scrape", action="store_true", help="announce only")
    add("--no-announce", action="store_true", help="scrape only, as for private trackers")
    add(
        "--jobs",
        metavar="N",
        type=whole_number(1, 100000),
        default=1000,
        help="HTTP and health checks under way at a time (default 1000)",
    )
    add_http_options(parser, "tracker_checker.py/" + VERSION)


def add_check_options(parser) -> None:
    add = parser.add_argument
    add("--format", choices=FORMATS, default="json", help="default json")
    add("--fail", action="store_true", help="exit 1 when a tracker or health check is down")
    add("--fail-partial", action="store_true", help="the same, also when only scrape fails")
    add("--all-addresses", action="store_true", help="check every address of a name by itself")
    add("--no-progress", action="store_true", help="no progress line on the terminal")


def add_monitor_options(parser) -> None:
    parser.set_defaults(all_addresses=False)
    add = parser.add_argument
    formats = ["json", "pretty", "compact", "prometheus"]
    add("--format", choices=formats, default="json", help="default json")
    times = {"metavar": "SECONDS", "type": seconds(0.001, 1e10)}
    add("--interval", default=300, help="from one probe to the next (default 300)", **times)
    add("--duration", default=86400, help="of the whole (default 86400)", **times)
    add(
        "--url",
        dest="targets",
        metavar="URL",
        action="append",
        type=checked(named(parse_tracker)),
        help="the tracker, in the form monitor udp --url URL",
    )


def parse_arguments(argv: list, prog: str):
    """Returns the argparse namespace, with `monitor` saying which of the two commands it is."""
    options, positionals = split_arguments(argv, VALUED_OPTIONS)
    show_version(options, prog)
    monitor = positionals[:1] == ["monitor"]
    usage = "%(prog)s {}[INPUT ...] [options]".format("monitor " if monitor else "")
    description = MONITOR_DESCRIPTION if monitor else DESCRIPTION
    parser = new_parser(prog, usage, description, MONITOR_HELP if monitor else CHECK_HELP)
    add_input_options(parser)
    if monitor:
        positionals = positionals[1:]
        if positionals[:1] == ["udp"] and any(word.startswith("--url") for word in options):
            positionals = positionals[1:]
        add_monitor_options(parser)
    else:
        add_check_options(parser)
    add_common_options(parser, timeout=10 if monitor else 5)
    arguments = parser.parse(options, positionals)
    arguments.monitor = monitor
    if arguments.output == "-":
        arguments.output = None
    if monitor and arguments.format == "prometheus" and not arguments.output:
        parser.error("--format prometheus: --output FILE is expected, to be rewritten")
    if arguments.ip_version:
        refuse_other_literals(parser, arguments)
    if arguments.no_scrape and arguments.no_announce:
        parser.error("--no-scrape with --no-announce leaves nothing to check")
    return arguments


def refuse_other_literals(parser, arguments) -> None:
    """Ends in a usage error where something is an address of the IP version that is not wanted."""
    inputs = [tracker_or_unsupported(word) for word in arguments.inputs]
    for target in inputs + arguments.targets:
        if target.literal not in (None, arguments.ip_version):
            text = "{0!r} is not an IPv{1} address, as -{1} asks for"
            parser.error(text.format(target.given, arguments.ip_version))


def collect_targets(arguments) -> list:
    """Returns the targets, each with what to ask for; raises ConfigurationError."""
    words, config_path = arguments.inputs, arguments.config_path
    inputs = read_inputs(words, config_path, arguments.targets, os.environ)
    default = inputs.own_hash or DEFAULT_INFO_HASH
    for target in inputs.targets:
        target.info_hash = arguments.info_hash or target.info_hash or default
    return inputs.targets


def make_runner(arguments, targets) -> Runner:
    """Returns the runner for the targets, with as many places as there are descriptors for."""
    settings = Settings(
        timeout=arguments.timeout,
        announce=not arguments.no_announce,
        scrape=not arguments.no_scrape,
        all_addresses=arguments.all_addresses,
        http=http_options_of(arguments, resolve=None),
    )
    udp = sum(target.kind == UDP for target in targets)
    http = min(arguments.jobs, sum(target.kind in (HTTP, HEALTH) for target in targets))
    # An HTTP check at an address may be redirected to a name.
    names = http + len({target.host for target in targets if target.host and not target.literal})
    available = open_files_available(2 * min(names, 256) + 3 * http + 2 * udp)
    limits = share_descriptors(available, names, http, udp)
    if http:
        # Loaded now, so that the first check does not seem slow, and while there are files for it.
        __import__("http.client")
        __import__("copy")
    try:
        return Runner(settings, limits, keep_names=not arguments.monitor)
    except OSError as error:
        raise network_failure(error)


def on_signals(function) -> None:
    """Calls function(number) on the first SIGINT or SIGTERM; the second ends the process."""
    import signal

    seen = []

    def handle(number, frame):
        if seen:
            os._exit(128 + number)
        seen.append(number)
        function(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, handle)


def run_checks(arguments, targets) -> int:
    """Checks the targets once and writes the report; returns the exit code."""
    streaming = arguments.format == "ndjson" and not arguments.output
    shown = is_terminal(sys.stderr) and not (streaming and is_terminal(sys.stdout))
    runner = make_runner(arguments, targets)
    on_signals(runner.interrupt)
    waves = 1 + len(targets) // (runner.limits.udp + runner.limits.http)
    progress = Progress(len(targets), time.monotonic() + arguments.timeout * waves)
    if shown and not arguments.no_progress and not arguments.verbose:
        runner.tick = progress.draw

    def on_result(result):
        progress.count(result)
        if streaming:
            write_stdout(result_to_ndjson(result))

    groups = [runner.submit(target, on_result) for target in targets]
    runner.run()
    progress.clear()
    results = [task.result for tasks in groups for task in tasks]
    text, code = render(results, arguments, streamed=streaming)
    if not arguments.output:
        write_stdout(text)
    elif not runner.interrupted:
        write_output(arguments.output, text)
    return 128 + runner.interrupted if runner.interrupted else code


def run_monitor(arguments, targets) -> int:
    """Probes the targets until the duration is over or a signal comes; returns the exit code."""
    for target in targets:
        if target.kind == UNSUPPORTED:
            write_record(
                "warning", kind="unsupported", source=target.given, message=target.problem
            )
    targets = [target for target in targets if target.kind != UNSUPPORTED]
    if not targets:
        raise ConfigurationError("argument", "nothing to monitor")
    runner = make_runner(arguments, targets)
    on_signals(runner.interrupt)
    metrics = None
    if arguments.format == "prometheus":
        metrics = MetricsFile(arguments.output, runner.call_at)

    def on_probe(tally, result):
        write_stderr(to_json_text(tally.add(result), pretty=False))
        if metrics:
            metrics.add(result)

    monitor = Monitor(
        targets, arguments.interval, arguments.duration, runner.submit, runner.call_at, on_probe
    )
    began = time.monotonic()
    monitor.start(began)
    # It lasts its whole duration, so that one run after another keeps the rate.
    runner.run(until=began + arguments.duration)
    message = "monitor interrupted" if runner.interrupted else "monitor completed"
    text = to_json_text(monitor.summary(message), pretty=False) + "\n"
    if arguments.output and not metrics:
        write_output(arguments.output, text)
    else:
        write_stdout(text)
    if metrics and metrics.latest:
        metrics.write()
    return 0


def main(argv: list, prog: str = "tracker_checker.py") -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    arguments = parse_arguments(argv, prog)
    import gc

    gc.enable()
    if not arguments.monitor:
        # What ten thousand checks are made of lives until the end: there is no use in looking
        # through it for garbage again and again.
        gc.set_threshold(1000000)
    try:
        import_bencode()
    except Failure as failure:
        write_stderr("{}: error: {}".format(prog, escape(str(failure))))
        return 2
    code = 2
    try:
        targets = collect_targets(arguments)
        if arguments.output:
            check_output(arguments.output)
        code = 1
        run_command = run_monitor if arguments.monitor else run_checks
        return run_command(arguments, targets)
    except ConfigurationError as error:
        if arguments.format == "nagios":
            write_stdout(nagios_line(3, "{}: {}".format(error.source, error)))
            return 3
        write_record(
            "error", kind="invalid_configuration", source=error.source, message=str(error)
        )
        return 2
    except Failure as failure:
        source = arguments.output or "stdout"
        write_record("error", kind=failure.kind, source=source, message=str(failure))
        return code


if __name__ == "__main__":
    run(main)
