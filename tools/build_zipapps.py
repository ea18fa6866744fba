#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Builds the scripts into bundles: single executable files that need nothing but python3.

    tools/build_zipapps.py                  into dist/
    tools/build_zipapps.py --output DIR

A bundle is a zip archive behind a #! line (PEP 441). The same sources give the same bytes on any
machine: names are sorted, times and modes are fixed, and nothing is compressed, since deflate
differs between builds of zlib. SHA256SUMS beside the bundles is for `sha256sum --check`.
"""

import argparse
import hashlib
import io
import os
import sys
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHEBANG = b"#!/usr/bin/env python3\n"
EARLIEST = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip archive can hold
REGULAR_FILE = 0o100644
UNIX = 3

SCRIPTS = {
    "udp_tracker_client": ["udp_tracker_client.py"],
    "http_tracker_client": ["http_tracker_client.py", "bencode.py"],
    "tracker_checker": ["tracker_checker.py", "bencode.py"],
}
SCRIPT_MAIN = os.path.join("tools", "bundle", "script_main.py")
ONE_TOOL_MAIN = os.path.join("tools", "bundle", "tracker_client_main.py")
NAME_LINE = b'NAME = "udp_tracker_client"\n'


def read(path: str) -> bytes:
    """Returns the contents of a file of the project."""
    with open(os.path.join(ROOT, path), "rb") as stream:
        return stream.read()


def main_of(script: str) -> bytes:
    """Returns the __main__.py that starts a single script."""
    before, line, after = read(SCRIPT_MAIN).partition(NAME_LINE)
    if not line:
        raise ValueError("{} lacks the line {!r}".format(SCRIPT_MAIN, NAME_LINE.decode().strip()))
    return before + NAME_LINE.replace(b"udp_tracker_client", script.encode("ascii")) + after


def bundles() -> dict:
    """Returns {name of a bundle: {name within it: contents}}."""
    found = {}
    everything = {"__main__.py": read(ONE_TOOL_MAIN), "LICENSE": read("LICENSE")}
    for script, files in SCRIPTS.items():
        contents = {name: read(name) for name in files}
        everything.update(contents)
        contents.update({"__main__.py": main_of(script), "LICENSE": read("LICENSE")})
        found[script + ".pyz"] = contents
    found["tracker_client.pyz"] = everything
    return found


def pack(contents: dict) -> bytes:
    """Returns the bundle that holds the contents, {name: bytes}."""
    archive = io.BytesIO()
    archive.write(SHEBANG)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as bundle:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, EARLIEST)
            entry.create_system = UNIX
            entry.external_attr = REGULAR_FILE << 16
            bundle.writestr(entry, contents[name])
    return archive.getvalue()


def write(path: str, contents: bytes, mode: int) -> None:
    """Writes a file with the mode, whatever the umask; an older one is replaced at once."""
    unfinished = path + ".new"
    with open(unfinished, "wb") as stream:
        stream.write(contents)
    os.chmod(unfinished, mode)
    os.replace(unfinished, path)


def build(output: str) -> str:
    """Writes all bundles and their SHA256SUMS into the folder output; returns the sums."""
    packed = {name: pack(contents) for name, contents in bundles().items()}
    sums = "".join(
        "{}  {}\n".format(hashlib.sha256(packed[name]).hexdigest(), name) for name in sorted(packed)
    )
    os.makedirs(output, exist_ok=True)
    for name, bundle in packed.items():
        write(os.path.join(output, name), bundle, 0o755)
    write(os.path.join(output, "SHA256SUMS"), sums.encode("ascii"), 0o644)
    return sums


def main(argv: list) -> int:
    """Runs the command with its arguments and returns its exit code."""
    parser = argparse.ArgumentParser(description="Build the scripts into executable bundles.")
    parser.add_argument(
        "--output",
        default=os.path.join(ROOT, "dist"),
        metavar="DIR",
        help="where to write them (default: the project's dist/)",
    )
    arguments = parser.parse_args(argv)
    try:
        print(build(arguments.output), end="")
    except (OSError, ValueError) as error:
        print("error: {}".format(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
