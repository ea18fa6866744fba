#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Read and write bencode, the format of .torrent files and of trackers' replies (BEP 3).

    bencode.decode(b"d8:intervali1800ee")      # {b"interval": 1800}
    bencode.encode({b"interval": 1800})        # b"d8:intervali1800ee"
    bencode.info_hash(torrent)                 # the 20 bytes that trackers know a .torrent by

    bencode.py FILE                            # as a command: shows a file as JSON
    bencode.py --info-hash FILE                # prints the info hash of a .torrent

This file needs nothing but python3 (3.6 or newer). decode() is strict where laxness would hide
damage, and lenient where real trackers are sloppy: keys may be unsorted or repeated. Both ways
work with one loop and a stack of their own, so that no depth can exhaust Python's.

The map, from top to bottom:
    decoding            decode(), decode_file(), rare elements and errors
    info hash           info_hash()
    encoding            encode()
    output              decoded values as JSON
    command line        options, main()
    what is shared      parser and output, which stand word for word in the sibling scripts too
"""
import errno
import json
import os
import signal
import sys

VERSION = "0.1.0"

# BEP 3 sets no limits; these are far beyond what any tracker or .torrent file needs.
MAX_LEVELS = 256  # of lists and dictionaries inside each other
MAX_DIGITS = 64  # of an integer
INTEGER_LIMIT = 10**MAX_DIGITS
TOO_DEEP = "too deep: expected at most {} levels of lists and dictionaries".format(MAX_LEVELS)
TOO_LONG = "integer too long: expected at most {} digits".format(MAX_DIGITS)
EXCERPT_SIZE = 24  # bytes of the data in an error message
WHITE_SPACE = b" \t\n\v\f\r"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class BencodeError(ValueError):
    """Data that is not bencode, or a value beyond the limits; the message says what is wrong.

    offset counts bytes from 0 and is where the faulty element begins: the string, integer, list
    or dictionary, or the byte that begins none. Where the data ends too early between elements
    it is the length of the data. It is None when encode() raised the error.
    """

    def __init__(self, message: str, offset: "int | None" = None):
        super().__init__(message if offset is None else "{} at offset {}".format(message, offset))
        self.offset = offset


# --- decoding ---


def decode(data: bytes) -> "int | bytes | list | dict":
    """Returns the value that data stands for: int, bytes, list, or dict with bytes as keys.

    The keys of a dict are in the order of data; of a repeated key the last value stands.

    Raises BencodeError for anything that is not exactly one bencoded value, and beyond
    MAX_LEVELS and MAX_DIGITS; TypeError unless data is bytes, bytearray or memoryview.
    """
    return decode_from(bytes_of(data), 0, b"")


def decode_file(data: bytes) -> "int | bytes | list | dict":
    """Like decode(), of what a file may hold: the value, and around it what others have put there.

    That is white space or a byte order mark before the value, and white space or NULs after it.
    """
    data = bytes_of(data)
    return decode_from(data, start_of(data), WHITE_SPACE + b"\0")


def bytes_of(data) -> bytes:
    """Returns data as bytes; raises TypeError for what is not like bytes."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError("can decode bytes, bytearray and memoryview, not " + type(data).__name__)
    return bytes(data)


def start_of(data: bytes) -> int:
    """Returns where the value begins: after white space and a byte order mark."""
    return len(data) - len(data.lstrip(WHITE_SPACE + BYTE_ORDER_MARK))


def decode_from(data: bytes, position: int, ignored: bytes) -> "int | bytes | list | dict":
    """Returns the value that begins at position and that only ignored bytes may follow.

    Raises BencodeError.
    """
    size = len(data)

    # The loop is made for speed: it compares with local variables, and it calls the functions
    # below for rare elements only. That is why the lines that read a string stand here twice,
    # for keys and for values. Most strings have a length of one or two digits, and most numbers
    # in a scrape are of one digit.
    INTEGER, LIST, DICTIONARY, END, COLON, ZERO, NINE = b"ilde:09"
    longest_integer = MAX_DIGITS + len("ie")

    stack = []  # what encloses the container: (its container, key, in_dictionary) each
    container = None  # the list or dictionary that is being filled
    in_dictionary = False
    key = None  # the latest key of the dictionary
    # position is that of the element that is being read: it only moves on at the element's end.
    try:
        while True:
            byte = data[position]
            if byte == END:
                if not stack:
                    raise unexpected(data, position, "a value")
                value = container
                container, key, in_dictionary = stack.pop()
                position += 1
            else:
                if in_dictionary:
                    if not ZERO <= byte <= NINE:
                        raise unexpected(data, position, "a string as key, or e")
                    length = byte - ZERO
                    start = position + 2
                    byte = data[position + 1]
                    if byte != COLON:
                        if data[start] == COLON and ZERO <= byte <= NINE and length:
                            length = length * 10 + byte - ZERO
                            start += 1
                        else:
                            length, start = read_length(data, position)
                    end = start + length
                    if end > size:
                        raise cut_off_error(length, size - start, position)
                    key = data[start:end]
                    position = end
                    byte = data[position]

                if byte == INTEGER:
                    if data[position + 2] == END and ZERO <= data[position + 1] <= NINE:
                        value = data[position + 1] - ZERO
                        position += 3
                    else:
                        text = data[position + 1 : position + longest_integer]
                        digits, mark, _ = text.partition(b"e")
                        if mark and digits.isdigit() and digits[0] != ZERO:
                            value = int(digits)
                            position += len(digits) + 2
                        else:
                            value, position = read_integer(data, position)
                elif ZERO <= byte <= NINE:
                    length = byte - ZERO
                    start = position + 2
                    byte = data[position + 1]
                    if byte != COLON:
                        if data[start] == COLON and ZERO <= byte <= NINE and length:
                            length = length * 10 + byte - ZERO
                            start += 1
                        else:
                            length, start = read_length(data, position)
                    end = start + length
                    if end > size:
                        raise cut_off_error(length, size - start, position)
                    value = data[start:end]
                    position = end
                elif byte == LIST or byte == DICTIONARY:
                    if len(stack) == MAX_LEVELS:
                        raise BencodeError(TOO_DEEP, position)
                    stack.append((container, key, in_dictionary))
                    in_dictionary = byte == DICTIONARY
                    container = {} if in_dictionary else []
                    key = None
                    position += 1
                    continue
                else:
                    raise unexpected(data, position, "a value")

            if in_dictionary:
                container[key] = value
            elif stack:
                container.append(value)
            elif position == size or not data[position:].strip(ignored):
                return value
            else:
                raise unexpected(data, position, "the end")
    except IndexError:
        pass  # The next byte was asked for, and there is none.
    raise end_error(data, position, bool(stack))


def read_integer(data: bytes, position: int) -> tuple:
    """Returns the integer that begins at position, and the position after it.

    Raises BencodeError if it is malformed. decode() comes here with what is neither a single
    digit nor digits without a sign.
    """
    text, mark, _ = data[position + 1 : position + MAX_DIGITS + len("i-e")].partition(b"e")
    digits = text[1:] if text.startswith(b"-") else text
    if digits.isdigit() and len(digits) > MAX_DIGITS:
        raise BencodeError(TOO_LONG, position)
    if mark and digits.isdigit() and not digits.startswith(b"0"):
        return int(text), position + len(text) + len("ie")
    raise malformed_integer(b"i" + text + mark, position)


def malformed_integer(found: bytes, position: int) -> BencodeError:
    """Returns the error for what begins like an integer and is none."""
    message = "malformed integer: expected i, digits without a leading zero or -0, and e, found {}"
    return BencodeError(message.format(excerpt(found)), position)


def read_length(data: bytes, position: int) -> tuple:
    """Returns the length of the string that begins at position, and where its bytes begin.

    Raises BencodeError if it is malformed. decode() comes here with what is not one or two
    digits and a colon.
    """
    text, colon, _ = data[position : position + EXCERPT_SIZE].partition(b":")
    if colon and text.isdigit() and not text.startswith(b"0"):
        return int(text), position + len(text) + len(":")
    message = "malformed string: expected its length without a leading zero, and :, found {}"
    raise BencodeError(message.format(excerpt(text + colon)), position)


def cut_off_error(length: int, left: int, position: int) -> BencodeError:
    """Returns the error for a string of which only some bytes are left in the data."""
    message = "the data ends inside a string: expected {} bytes, found {}"
    return BencodeError(message.format(length, left), position)


def end_error(data: bytes, position: int, inside: bool) -> BencodeError:
    """Returns what is missing where the data ends inside or before the element at position."""
    if data.startswith(b"i", position):
        return malformed_integer(data[position:], position)
    if position < len(data):
        message = "the data ends inside the length of a string: found {}, expected digits and :"
        return BencodeError(message.format(excerpt(data, position)), position)
    expected = "another element or e" if inside else "a value"
    return BencodeError("the data ends too early: expected {}".format(expected), position)


def unexpected(data: bytes, position: int, expected: str) -> BencodeError:
    """Returns the error for a byte that begins nothing that may stand at position."""
    found = excerpt(data[position : position + 1])
    return BencodeError("expected {}, found {}".format(expected, found), position)


def excerpt(data: bytes, start: int = 0) -> str:
    """Returns the bytes from start on, but not more than a few, as quoted printable ASCII."""
    end = start + EXCERPT_SIZE
    return repr(data[start:end])[1:] + ("..." if len(data) > end else "")


# --- info hash ---


def info_hash(data: bytes) -> bytes:
    """Returns the 20 bytes that trackers know a .torrent by, of a hybrid those of version 1.

    They are the SHA-1 of the info dictionary, or the first bytes of its SHA-256 where it is of
    version 2 alone (BEP 52): of the bytes as they stand in data, since encoded again they may be
    others. Around the .torrent there may be what decode_file() allows. Raises BencodeError where
    data is no bencode or has no info dictionary; TypeError as decode() does.
    """
    import hashlib

    data = bytes_of(data)
    start = start_of(data)
    torrent = decode_file(data)
    info = torrent.get(b"info") if isinstance(torrent, dict) else None
    if not isinstance(info, dict):
        raise BencodeError("no .torrent: expected a dictionary with a dictionary info", start)
    raw = raw_value(data[start:], b"info")
    if b"pieces" in info or info.get(b"meta version") != 2:
        return hashlib.sha1(raw).digest()
    return hashlib.sha256(raw).digest()[:20]


def raw_value(data: bytes, key: bytes) -> bytes:
    """Returns the bytes that a key's value has in data, which is a dictionary that has the key.

    Of a repeated key the last value stands.
    """
    value = None
    position = 1
    while data[position : position + 1] != b"e":
        key_end = end_of(data, position)
        end = end_of(data, key_end)
        if data[position:key_end].partition(b":")[2] == key:
            value = data[key_end:end]
        position = end
    return value


def end_of(data: bytes, position: int) -> int:
    """Returns the position after the element that begins at position; data is known to be good."""
    depth = 0
    while True:
        byte = data[position : position + 1]
        if byte.isdigit():
            colon = data.index(b":", position)
            position = colon + 1 + int(data[position:colon])
        elif byte == b"i":
            position = data.index(b"e", position) + 1
        else:
            depth += -1 if byte == b"e" else 1
            position += 1
        if not depth:
            return position


# --- encoding ---


def encode(value: "int | bytes | list | dict") -> bytes:
    """Returns value as bencode: the only one there is, with the keys of each dict sorted.

    value is an int, bytes, a list, or a dict with bytes as keys.

    Raises TypeError for anything else, str, bool and bytearray too, also inside value and as a key;
    BencodeError beyond MAX_LEVELS, which a list that holds itself is, and MAX_DIGITS.
    """
    parts = []
    stack = []  # what is left of the lists and dictionaries around the one being written
    remaining = iter([value])
    while True:
        for item in remaining:
            if isinstance(item, bytes):
                parts.append(b"%d:" % len(item))
                parts.append(item)
            elif isinstance(item, int) and not isinstance(item, bool):
                if not -INTEGER_LIMIT < item < INTEGER_LIMIT:
                    raise BencodeError(TOO_LONG)
                parts.append(b"i%de" % item)
            elif isinstance(item, (list, dict)):
                if len(stack) == MAX_LEVELS:
                    raise BencodeError(TOO_DEEP)
                stack.append(remaining)
                if isinstance(item, list):
                    parts.append(b"l")
                    remaining = iter(item)
                else:
                    parts.append(b"d")
                    remaining = iter(keys_and_values(item))
                break
            else:
                raise TypeError(
                    "can encode int, bytes, list and dict, not " + type(item).__name__
                )
        else:
            if not stack:
                return b"".join(parts)
            parts.append(b"e")
            remaining = stack.pop()


def keys_and_values(dictionary: dict) -> list:
    """Returns [key, value, key, value, ...] in the order of the keys."""
    parts = []
    for key in dictionary:
        if not isinstance(key, bytes):
            raise TypeError("can encode a dict with bytes as keys, not " + type(key).__name__)
    for key in sorted(dictionary):
        parts += key, dictionary[key]
    return parts


# --- output ---


def to_json(value: "int | bytes | list | dict") -> "int | str | list | dict":
    """Returns a decoded value in types that json.dumps() takes.

    Byte strings that are UTF-8 become text, others {"hex": "..."}. Keys that are not UTF-8
    become their hex digits; should two keys of a dict come out alike, the last value stands.
    """
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return {"hex": value.hex()}
    if isinstance(value, list):
        return list(map(to_json, value))
    if isinstance(value, dict):
        result = {}
        for key, item in value.items():
            text = to_json(key)
            result[text if isinstance(text, str) else key.hex()] = to_json(item)
        return result
    return value


# --- command line ---

EXAMPLES = """\
Byte strings that are UTF-8 are shown as text, others as {"hex": "..."}.

examples:
  bencode.py debian.torrent
  bencode.py --format compact debian.torrent | jq .announce
  bencode.py --info-hash debian.torrent
  curl -s http://tracker.example.org/scrape | bencode.py -

exit codes:
  0 it is on stdout, 1 the file is not bencode (or no .torrent) or cannot be read, 2 wrong usage
"""


def parse_arguments(argv: list):
    """Returns the argparse namespace: file, format, info_hash."""
    description = "Show a bencoded file (a .torrent, a tracker's reply) as JSON."
    parser = new_parser("bencode.py", "%(prog)s FILE [options]", description, EXAMPLES)
    parser.add_argument("file", metavar="FILE", help="the file to show, or - for standard input")
    parser.add_argument(
        "--format",
        choices=["pretty", "json", "text", "compact"],
        default="pretty",
        help="pretty (the default; json and text are the same): indented; compact: one line",
    )
    parser.add_argument(
        "--info-hash", action="store_true", help="print the info hash of a .torrent, nothing else"
    )
    return parse_tied(parser, *tie_options(parser, argv))


def read_file(name: str) -> bytes:
    """Returns the content of the file, or of standard input for -. Raises OSError."""
    if name == "-":
        with open(0, "rb", closefd=False) as stream:
            return stream.read()
    with open(name, "rb") as stream:
        return stream.read()


def main(argv: list) -> int:
    """Shows a bencoded file as JSON, or its info hash, on stdout; returns the exit code."""
    arguments = parse_arguments(argv)
    try:
        data = read_file(arguments.file)
        if arguments.info_hash:
            text = info_hash(data).hex()
        else:
            text = to_json_text(to_json(decode_file(data)), pretty=arguments.format != "compact")
    except OSError as error:
        kind, message = "unreadable_file", error.strerror
    except BencodeError as error:
        kind, message = "invalid_bencode", str(error)
    else:
        write_stdout(text + "\n")
        return 0
    write_record("error", kind=kind, source=arguments.file, message=message)
    return 1


# --- what the scripts share: regions that stand word for word in several of them ---


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
