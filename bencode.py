#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Read and write bencode, the format of .torrent files and of trackers' replies (BEP 3).

    bencode.decode(b"d8:intervali1800ee")      # {b"interval": 1800}
    bencode.encode({b"interval": 1800})        # b"d8:intervali1800ee"

    bencode.py FILE                            # as a command: shows a file as JSON

This file needs nothing but python3 (3.6 or newer). decode() is strict where laxness would hide
damage, and lenient where real trackers are sloppy: keys may be unsorted or repeated. Both ways
work with one loop and a stack of their own, so that no depth can exhaust Python's.

It reads from top to bottom: the error, decoding, encoding, the output as JSON, the command line.
Regions between "carried region" lines stand word for word in the sibling scripts too.
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
import os
import sys

VERSION = "0.1.0"

# BEP 3 sets no limits; these are far beyond what any tracker or .torrent file needs.
MAX_LEVELS = 256  # of lists and dictionaries inside each other
MAX_DIGITS = 64  # of an integer
INTEGER_LIMIT = 10**MAX_DIGITS
TOO_DEEP = "too deep: expected at most {} levels of lists and dictionaries".format(MAX_LEVELS)
TOO_LONG = "integer too long: expected at most {} digits".format(MAX_DIGITS)
EXCERPT_SIZE = 24  # bytes of the data in an error message


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


def decode(data: bytes, strict: bool = False) -> "int | bytes | list | dict":
    """Returns the value that data stands for: int, bytes, list, or dict with bytes as keys.

    The keys of a dict are in the order of data; of a repeated key the last value stands. With
    strict, keys have to be sorted and unique, as BEP 3 demands.

    Raises BencodeError for anything that is not exactly one bencoded value, and beyond
    MAX_LEVELS and MAX_DIGITS; TypeError unless data is bytes, bytearray or memoryview.
    """
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError("can decode bytes, bytearray and memoryview, not " + type(data).__name__)
    data = bytes(data)
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
    position = 0  # of the element that is being read: it only moves on at the element's end
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
                    previous = key
                    key = data[start:end]
                    if strict and previous is not None and key <= previous:
                        raise order_error(previous, key, position)
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
            elif position == size:
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
    message = "malformed integer: expected i, digits without a leading zero or -0, and e, found {}"
    raise BencodeError(message.format(excerpt(b"i" + text + mark)), position)


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


def raw_values(data: bytes) -> dict:
    """Returns {key: the bytes that its value has in data} for a dictionary that decode() takes.

    For hashes, as that of the info dictionary of a .torrent: data may not be sorted, and then
    encode() gives other bytes. Of a repeated key the last value stands.
    """
    values = {}
    position = 1
    while data[position : position + 1] != b"e":
        key_end = end_of(data, position)
        key = data[position:key_end].partition(b":")[2]
        position = end_of(data, key_end)
        values[key] = data[key_end:position]
    return values


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


def cut_off_error(length: int, left: int, position: int) -> BencodeError:
    """Returns the error for a string of which only some bytes are left in the data."""
    message = "the data ends inside a string: expected {} bytes, found {}"
    return BencodeError(message.format(length, left), position)


def end_error(data: bytes, position: int, inside: bool) -> BencodeError:
    """Returns what is missing where the data ends inside or before the element at position."""
    if position < len(data):
        message = "the data ends inside an element: expected an integer or a string, found {}"
        return BencodeError(message.format(excerpt(data, position)), position)
    expected = "another element or e" if inside else "a value"
    return BencodeError("the data ends too early: expected {}".format(expected), position)


def unexpected(data: bytes, position: int, expected: str) -> BencodeError:
    """Returns the error for a byte that begins nothing that may stand at position."""
    found = excerpt(data[position : position + 1])
    return BencodeError("expected {}, found {}".format(expected, found), position)


def order_error(previous: bytes, key: bytes, position: int) -> BencodeError:
    """Returns the error for a key that strict decoding does not take after the previous one."""
    message = "repeated key: expected each key once, found {} again"
    if key != previous:
        message = "unsorted keys: expected them in the order of their bytes, found {} after {}"
    return BencodeError(message.format(excerpt(key), excerpt(previous)), position)


def excerpt(data: bytes, start: int = 0) -> str:
    """Returns the bytes from start on, but not more than a few, as quoted printable ASCII."""
    end = start + EXCERPT_SIZE
    return repr(data[start:end])[1:] + ("..." if len(data) > end else "")


# --- encoding ---


def encode(value: "int | bytes | list | dict") -> bytes:
    """Returns value as bencode: the only one there is, with the keys of each dict sorted.

    value is an int, bytes (bytearray, memoryview), a list, or a dict with bytes as keys.

    Raises TypeError for anything else, str, bool and None too, also inside value and as a key;
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
            elif isinstance(item, (bytearray, memoryview)):
                item = bytes(item)
                parts.append(b"%d:%b" % (len(item), item))
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


# --- command line ---

EXAMPLES = """\
Byte strings that are UTF-8 are shown as text, others as {"hex": "..."}.

examples:
  bencode.py debian.torrent
  bencode.py --format compact debian.torrent | jq .announce
  curl -s http://tracker.example.org/scrape | bencode.py -

exit codes:
  0 the file was shown, 1 it is not bencode or cannot be read, 2 wrong usage
"""


def parse_arguments(argv: list):
    """Returns the argparse namespace: file, format."""
    import argparse

    def exit_with_usage_error(message):
        write_stderr("bencode.py: error: {} (see --help)".format(escape(message)))
        raise SystemExit(2)

    parser = argparse.ArgumentParser(
        prog="bencode.py",
        description="Show a bencoded file (a .torrent, a tracker's reply) as JSON.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.error = exit_with_usage_error
    parser.print_help = lambda: write_stdout(parser.format_help())
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument("file", metavar="FILE", help="the file to show, or - for standard input")
    parser.add_argument(
        "--format",
        choices=["pretty", "json", "compact"],
        default="pretty",
        help="pretty (the default; json is the same): indented; compact: one line",
    )
    if "--version" in argv:
        write_stdout("bencode.py {}\n".format(VERSION))
        raise SystemExit(0)
    return parser.parse_args(argv)


def read_file(name: str) -> bytes:
    """Returns the content of the file, or of standard input for -. Raises OSError."""
    if name == "-":
        with open(0, "rb", closefd=False) as stream:
            return stream.read()
    with open(name, "rb") as stream:
        return stream.read()


def decode_file(data: bytes):
    """Decodes data that may end with white space, as some trackers' replies; BencodeError."""
    try:
        return decode(data)
    except BencodeError:
        return decode(data.rstrip(b" \t\r\n"))


def main(argv: list) -> int:
    """Shows a bencoded file as JSON on stdout; returns the exit code."""
    arguments = parse_arguments(argv)
    try:
        value = decode_file(read_file(arguments.file))
    except OSError as error:
        kind, message = "unreadable_file", error.strerror
    except BencodeError as error:
        kind, message = "invalid_bencode", str(error)
    else:
        write_stdout(to_json_text(to_json(value), pretty=arguments.format != "compact") + "\n")
        return 0
    write_record("error", kind=kind, source=arguments.file, message=message)
    return 1


if __name__ == "__main__":
    run(main)
