#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Keeps code that stands in several scripts word for word equal.

    tools/sync_copies.py            rewrite every copy from its home
    tools/sync_copies.py --check    change nothing, name every copy that differs

Each script is one file that works alone, so what two of them need stands in both. One of them
is its home, where it is edited; the others carry it. In each file two lines surround it:

    # --- carried region: wire format (home: udp_tracker_client.py) ---
    ...
    # --- end of carried region: wire format ---

The scripts are the *.py files of the project's top folder and of tools/bundle/. A home is named
by its path from the top folder.

Exit codes: 0 all copies are equal (or were made so), 1 --check found one that differs, 2 the
marker lines are broken, or a file cannot be read or written.
"""

import argparse
import os
import re
import sys
from collections import namedtuple

MARKER = re.compile(r"# --- (end of )?carried region\b")
BEGIN = re.compile(r"# --- carried region: ([^()]+) \(home: ([^()]+)\) ---")
END = re.compile(r"# --- end of carried region: ([^()]+) ---")

# lines is what stands between the two marker lines; start is the index of its first line.
Region = namedtuple("Region", "file name home start lines")


class MarkerError(ValueError):
    """Marker lines that do not fit together; the text begins with the file and the line."""

    def __init__(self, file, line_number, problem):
        super().__init__("{}:{}: {}".format(file, line_number, problem))


def read_lines(root: str, file: str) -> list:
    """Returns the lines of a file without their ends; joined by newlines they are the file."""
    with open(os.path.join(root, file), encoding="utf-8", newline="") as stream:
        return stream.read().split("\n")


def find_scripts(root: str) -> list:
    """Returns the paths, from root, of all files that may have regions, sorted."""
    found = []
    for folder in ("", os.path.join("tools", "bundle")):
        if not folder or os.path.isdir(os.path.join(root, folder)):
            names = sorted(os.listdir(os.path.join(root, folder)))
            found += [os.path.join(folder, name) for name in names if name.endswith(".py")]
    return found


def find_regions(file: str, lines: list) -> list:
    """Returns the regions of one file in their order. Raises MarkerError."""
    regions = []
    opened = None
    for index, line in enumerate(lines):
        if not MARKER.match(line):
            continue
        begin, end = BEGIN.fullmatch(line), END.fullmatch(line)
        if begin:
            if opened:
                raise MarkerError(file, index + 1, "a region begins within " + opened.name)
            opened = Region(file, begin.group(1), begin.group(2), index + 1, None)
            if any(region.name == opened.name for region in regions):
                raise MarkerError(file, index + 1, opened.name + " stands here twice")
        elif end:
            if not opened or opened.name != end.group(1):
                raise MarkerError(file, index + 1, end.group(1) + " ends but has not begun")
            regions.append(opened._replace(lines=lines[opened.start : index]))
            opened = None
        else:
            raise MarkerError(file, index + 1, "not a marker line: " + line)
    if opened:
        raise MarkerError(file, opened.start, opened.name + " does not end")
    return regions


def find_home(copy: Region, regions_of: dict) -> Region:
    """Returns the region in its home that copy must equal. Raises MarkerError."""
    if copy.home not in regions_of:
        raise MarkerError(copy.file, copy.start, "there is no home " + copy.home)
    for region in regions_of[copy.home]:
        if (region.name, region.home) == (copy.name, copy.home):
            return region
    raise MarkerError(copy.file, copy.start, "{} is no home of {}".format(copy.home, copy.name))


def first_difference(copy: Region, home: Region) -> int:
    """Returns the line number, in the copy's file, of the first line that differs."""
    common = min(len(copy.lines), len(home.lines))
    for offset in range(common):
        if copy.lines[offset] != home.lines[offset]:
            return copy.start + offset + 1
    return copy.start + common + 1


def sync(root: str, check: bool) -> list:
    """Compares every copy with its home and, unless check is set, rewrites those that differ.

    Returns a line of text for each that differed. Raises MarkerError, OSError, and for a file
    that is not UTF-8 UnicodeDecodeError; all marker lines are checked before a file is written.
    """
    lines_of = {file: read_lines(root, file) for file in find_scripts(root)}
    regions_of = {file: find_regions(file, lines) for file, lines in lines_of.items()}
    copies = [region for regions in regions_of.values() for region in regions]
    pairs = [(copy, find_home(copy, regions_of)) for copy in copies]
    differing = [(copy, home) for copy, home in pairs if copy.lines != home.lines]
    if not check:
        # From the last to the first, so that a new length does not move what is still to do.
        for copy, home in reversed(differing):
            lines_of[copy.file][copy.start : copy.start + len(copy.lines)] = home.lines
        for file in sorted({copy.file for copy, _ in differing}):
            with open(os.path.join(root, file), "w", encoding="utf-8", newline="") as stream:
                stream.write("\n".join(lines_of[file]))
    return [
        "{}:{}: {} differs from {}".format(
            copy.file, first_difference(copy, home), copy.name, home.file
        )
        for copy, home in differing
    ]


def main(argv: list) -> int:
    """Runs the command with its arguments and returns its exit code."""
    parser = argparse.ArgumentParser(
        description="Keep code that stands in several scripts word for word equal."
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing, exit 1 when one differs"
    )
    parser.add_argument(
        "--root",
        default=os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        metavar="DIR",
        help="the project's top folder (default: the one above this script)",
    )
    arguments = parser.parse_args(argv)
    try:
        report = sync(arguments.root, arguments.check)
    except (OSError, ValueError) as error:
        print("error: {}".format(error), file=sys.stderr)
        return 2
    for line in report:
        print(line if arguments.check else line + ", rewritten")
    return 1 if report and arguments.check else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
