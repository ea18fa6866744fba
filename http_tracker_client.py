#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Ask a BitTorrent tracker over HTTP or HTTPS: announce and scrape, answered in JSON.

    http_tracker_client.py announce https://tracker.example.org/announce INFO_HASH
    http_tracker_client.py scrape https://tracker.example.org/announce [INFO_HASH ...]

Needs python3 (3.6 or newer) and bencode.py beside it, nothing else. It follows BEP 3 (trackers),
BEP 7 (IPv6), BEP 23 (compact peers), BEP 24 (external ip), BEP 31 (retry in), BEP 48 (scrape)
and BEP 52 (truncated version 2 info hashes).

It reads from top to bottom: arguments and names, the URLs and replies as pure functions, fetching
under a deadline, the output, the command line. Regions between "carried region" lines stand word
for word in the sibling scripts too; tools/sync_copies.py keeps them equal, so that every script
remains a single file.
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
import os
import sys
import time
from collections import namedtuple

VERSION = "0.1.0"
USER_AGENT = "http_tracker_client.py/" + VERSION


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


# --- carried region: client options (home: udp_tracker_client.py) ---
def parse_peer_id(text: str) -> bytes:
    """Returns a peer id, 20 ASCII characters or 40 hex digits, as 20 bytes, or ValueError."""
    if is_hex(text, 40):
        return bytes.fromhex(text)
    if len(text) == 20 and text.isprintable() and max(text) < "\x7f":
        return text.encode("ascii")
    raise ValueError(
        "{!r} is not a peer id: 20 ASCII characters or 40 hex digits are expected".format(text)
    )


def add_format_option(parser) -> None:
    parser.add_argument(
        "--format",
        choices=["pretty", "json", "compact"],
        default="pretty",
        help="pretty (default; json is another name for it) or compact, on one line",
    )


def parse_command(argv: list, prog: str, valued: dict, commands: dict, description: str) -> tuple:
    """Parses the words after the name of a client; only the parser that is needed is built.

    commands has (function that adds its options to a parser, usage, help) for each command, and
    under None what is said without one. Returns (command, argparse namespace, parser).
    """
    options, positionals = split_arguments(argv, valued)
    show_version(options, prog)
    command = positionals[0] if positionals else None
    add_options, usage, examples = commands.get(command, commands[None])
    parser = new_parser(prog, usage, description, examples)
    if add_options:
        add_options(parser)
        add_format_option(parser)
    add_common_options(parser, timeout=5)
    if command is None and {"-h", "--help"} & set(options):
        parser.print_help()
        raise SystemExit(0)
    if not add_options:
        found = "no command" if command is None else "command {!r}".format(command)
        parser.error("{}; announce or scrape is expected".format(found))
    return command, parser.parse(options, positionals[1:]), parser


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


def check_version(host: str, version: int) -> None:
    """Raises ValueError for an address literal that is not of the IP version asked for."""
    if version and literal_version(host) not in (None, version):
        raise ValueError("{0} is not an IPv{1} address, as -{1} asks for".format(host, version))


# --- end of carried region: client options ---


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


# --- carried region: client lookup (home: udp_tracker_client.py) ---
def look_up_within(host: str, port: int, version: int, deadline: float) -> list:
    """look_up, which cannot be interrupted, on a thread that is left behind at the deadline.

    deadline is in terms of time.monotonic(). Raises Failure (resolve_failed, timeout, unreachable).
    """
    if literal_version(host):
        return look_up(host, port, version)
    import _thread

    outcome = []
    done = _thread.allocate_lock()
    done.acquire()

    def work():
        try:
            outcome.append(look_up(host, port, version))
        except Failure as failure:
            outcome.append(failure)
        done.release()

    if not start_thread(work):
        raise Failure("resolve_failed", "{}: no thread can be started to look it up".format(host))
    left = deadline - time.monotonic()
    while not outcome and left > 0:
        # In slices: a signal that comes just before a wait is seen after it.
        done.acquire(timeout=min(left, 0.2))
        left = deadline - time.monotonic()
    if not outcome:
        raise Failure("timeout", "{}: the name lookup took too long".format(host))
    if isinstance(outcome[0], Failure):
        raise outcome[0]
    return outcome[0]


# --- end of carried region: client lookup ---


# The output: replies as the values that become JSON.
def show_ip(data: bytes) -> str:
    """Returns 4 or 16 bytes as an address."""
    import socket

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
DESCRIPTION = "Ask a BitTorrent tracker over HTTP (BEP 3, 48) and print its answer as JSON."
HASH = "9c38422213e30bff212b30c360d26f9a02136422"
HASH_HELP = "in hex or base32, of version 1 or 2, or a magnet link"
EXIT_CODES = """\
exit codes:
  0 the tracker answered, 1 it did not, 2 wrong usage (nothing was sent),
  130 Ctrl-C, 143 SIGTERM
"""
HELP = """\
commands:
  announce URL INFO_HASH              join a swarm and get peers
  scrape URL [INFO_HASH ...]          count seeders and leechers

examples:
  %(prog)s announce https://tracker.example.org/announce {hash}
  %(prog)s scrape https://tracker.example.org/announce {hash}
  %(prog)s announce --help

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
ANNOUNCE_HELP = """\
examples:
  %(prog)s announce https://tracker.example.org/announce {hash}
  %(prog)s announce http://tracker.example.org {hash} --left 1 --peers-wanted 50
  %(prog)s announce http://tracker.example.org {hash} --event stopped | jq .

An announce enters the caller into the swarm, as a seeder while --left is 0; --event stopped takes
it out again. Without a path /announce is asked. Proxies are taken from http_proxy, https_proxy and
no_proxy.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
SCRAPE_HELP = """\
examples:
  %(prog)s scrape https://tracker.example.org/announce {hash}
  %(prog)s scrape http://tracker.example.org {hash} | jq '.[].complete'

The last part of the path is turned from announce to scrape (BEP 48). Without an INFO_HASH the
tracker is asked for all its torrents, which not every tracker answers.

{exit_codes}""".format(hash=HASH, exit_codes=EXIT_CODES)
VALUED_OPTIONS = {
    name: name
    for name in (
        "--timeout --format --event --uploaded --downloaded --left --port --peer-addr --peer-id"
        " --compact --peers-wanted --key --tracker-id --user-agent --header --cacert"
    ).split()
}


def parse_peer_addr(text: str) -> str:
    """Returns an address or, as BEP 3 allows, a name; raises ValueError for anything else."""
    return check_host(text, bracketed=":" in text)


def add_tracker(parser) -> None:
    parser.add_argument("tracker", metavar="URL", help="http[s]://host[:port][/path][?query]")


def add_announce_options(parser) -> None:
    count = whole_number(0, 2 ** 63 - 1)
    add_tracker(parser)
    add = parser.add_argument
    add("info_hash", metavar="INFO_HASH", type=checked(parse_info_hash), help=HASH_HELP)
    add(
        "--event",
        choices=["none", "started", "stopped", "completed"],
        default="completed",
        help="default completed",
    )
    add("--uploaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--downloaded", type=count, default=0, metavar="BYTES", help="default 0")
    add("--left", type=count, default=0, metavar="BYTES", help="default 0, a seeder")
    add("--port", type=whole_number(1, 65535), default=17548, help="default 17548")
    add("--peer-addr", type=checked(parse_peer_addr), metavar="ADDRESS", help="sent as ip=")
    add(
        "--peer-id",
        type=checked(parse_peer_id),
        default=b"-qB00000000000000001",
        help="20 ASCII characters or 40 hex digits (default -qB00000000000000001)",
    )
    add("--compact", type=whole_number(0, 1), default=1, metavar="0|1", help="default 1")
    add("--peers-wanted", type=whole_number(-1, 2 ** 31 - 1), metavar="N", help="sent as numwant=")
    add("--key", type=os.fsencode, help="sent as it is given")
    add("--tracker-id", type=os.fsencode, metavar="ID", help="sent as it is given, as trackerid=")
    add_http_options(parser, USER_AGENT)


def add_scrape_options(parser) -> None:
    info_hash = checked(parse_info_hash)
    add_tracker(parser)
    parser.add_argument(
        "info_hash", metavar="INFO_HASH", nargs="*", type=info_hash, help=HASH_HELP
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
    command, arguments, parser = parse_command(argv, prog, VALUED_OPTIONS, COMMANDS, DESCRIPTION)
    try:
        url = (announce_url if command == "announce" else scrape_url)(arguments.tracker)
        check_version(split_url(url).host, arguments.ip_version)
    except ValueError as error:
        parser.error("argument URL: {!r}: {}".format(arguments.tracker, error))
    try:
        proxy_for(split_url(url), os.environ)
    except ValueError as error:
        parser.error(str(error))
    return command, arguments, with_query(url, build_query(command, arguments))


def build_query(command: str, arguments) -> str:
    """Returns the query that the arguments ask for (BEP 3, 7, 23, 48); "" for a full scrape."""
    if command == "scrape":
        return encode_query([("info_hash", info_hash) for info_hash in arguments.info_hash])
    return encode_query(
        [
            ("info_hash", arguments.info_hash),
            ("peer_id", arguments.peer_id),
            ("port", arguments.port),
            ("uploaded", arguments.uploaded),
            ("downloaded", arguments.downloaded),
            ("left", arguments.left),
            ("event", None if arguments.event == "none" else arguments.event),
            ("compact", arguments.compact),
            ("numwant", arguments.peers_wanted),
            ("key", arguments.key),
            ("ip", arguments.peer_addr),
            ("trackerid", arguments.tracker_id),
        ]
    )


def ask(command: str, arguments, url: str) -> tuple:
    """Sends the request; returns (the decoded reply, the Failure that it is, or None).

    Raises Failure where there is no reply that can be decoded.
    """
    deadline = time.monotonic() + arguments.timeout
    limit = ANNOUNCE_LIMIT
    if command == "scrape":
        limit = SCRAPE_LIMIT if arguments.info_hash else FULL_SCRAPE_LIMIT
    options = http_options_of(arguments, look_up_within)
    response = fetch(url, options, deadline, limit)
    reply = read_reply(response)
    try:
        if command == "announce":
            check_announce(reply, response.status, arguments.event)
        else:
            check_scrape(reply, response.status)
    except Failure as failure:
        return reply, failure
    return reply, None


def main(argv: list, prog: str = "http_tracker_client.py") -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    command, arguments, url = parse_arguments(argv, prog)
    try:
        import_bencode()
    except Failure as failure:
        write_stderr("{}: error: {}".format(prog, escape(str(failure))))
        return 2
    try:
        reply, failure = ask(command, arguments, url)
    except Failure as caught:
        reply, failure = None, caught
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


if __name__ == "__main__":
    run(main)
