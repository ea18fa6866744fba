#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Makes the pictures of the README, docs/table.svg and docs/page.png, from real runs.

    tools/make_pictures.py                  into docs/
    tools/make_pictures.py --output DIR --seconds 10

A list of trackers is checked, then watched for half a minute. They are loopback trackers, healthy
and not, on 127.0.0.1 and its neighbours; their names lead there. Needs the ports 6969 and 7070 of
those addresses, and chromium for the page.
"""
import argparse
import base64
import fcntl
import html
import json
import os
import pty
import re
import select
import struct
import sys
import tempfile
import termios
import threading
from contextlib import ExitStack

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path[:0] = [ROOT, os.path.join(ROOT, "tests")]
import helpers
from browser import Browser, find_browser
from loopback_tracker import LoopbackTracker

HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
# The trackers, and what each does wrong over UDP and HTTP.
FAULTS = {
    "tracker.example.org": (None, None),
    "open.example.net": (None, None),
    "far.example.com": ("slow", "slow"),
    "noscrape.example.net": ("error-on-scrape", None),
    "silent.example.org": ("silent", "silent"),
    "private.example.com": ("error-reply", "failure"),
    "parked.example.net": (None, "html"),
}
URLS = """\
udp://tracker.example.org:6969
http://tracker.example.org:7070/announce
ws://tracker.example.org:7070/
udp://open.example.net:6969/announce
http://far.example.com:7070/announce
udp://noscrape.example.net:6969
udp://silent.example.org:6969
http://silent.example.org:7070/announce
http://private.example.com:7070/announce
http://parked.example.net:7070/announce
https://gone.example.com/announce
i2p://hidden.example.org/announce
"""
STOPS_AT = 0.6  # of the time that the monitor has one of the trackers stops
PAGE_WIDTH, PAGE_HEIGHT = 1280, 783
COLUMNS = 110
CELL, LINE, MARGIN = 8.43, 20, 16  # pixels of the picture of a terminal
BACKGROUND, FOREGROUND = "#0d1117", "#e6edf3"
COLOURS = {"31": "#ff7b72", "32": "#7ee787", "33": "#e3b341", "35": "#d2a8ff"}


def start_trackers(stack):
    """Starts the trackers of FAULTS; returns them and the addresses, both by name."""
    trackers, addresses = {}, {}
    for number, (name, (udp_fault, http_fault)) in enumerate(FAULTS.items(), 1):
        addresses[name] = ["127.0.0.{}".format(number)]
        trackers[name] = stack.enter_context(LoopbackTracker(
            addresses[name], udp_fault=udp_fault, http_fault=http_fault, ports=(6969, 7070, 0)
        ))
        for peer in range(3 * number):
            left = 0 if peer % 3 else 1
            trackers[name].add_peer(HASH, "127.0.1.{}".format(peer + 1), 6881, left=left)
    return trackers, addresses


def prepare(folder, addresses):
    """Writes the list and the sitecustomize; returns the environment in which names are known."""
    for name, text in (("trackers.txt", URLS), ("sitecustomize.py", helpers.SITECUSTOMIZE)):
        with open(os.path.join(folder, name), "w") as file:
            file.write(text)
    return {
        "PYTHONPATH": folder,
        "TEST_NAMES": json.dumps(addresses),
        "TEST_LOOKUPS": os.path.join(folder, "lookups"),
    }


def run_checker(folder, env, *arguments, **settings):
    trackers = os.path.join(folder, "trackers.txt")
    result = helpers.run_script("tracker_checker.py", *arguments, trackers, env=env, **settings)
    if result.code:
        sys.exit(result.stderr)
    return result.stdout


def run_in_terminal(folder, env, *arguments):
    """Returns what the checker writes to a terminal of COLUMNS columns."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    run_checker(folder, dict(env, TERM="xterm"), *arguments, stdout=its)
    os.close(its)
    written = b""
    while select.select([ours], [], [], 0)[0]:
        try:
            written += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    return written.decode().replace("\r\n", "\n")


def picture_of_terminal(lines):
    """Returns an SVG of lines of text with ANSI colours."""
    plain = [re.sub(r"\x1b\[[\d;]*m", "", line) for line in lines]
    width = round(2 * MARGIN + CELL * max(map(len, plain)))
    height = 2 * MARGIN + LINE * len(lines)
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}">\n'
        "<style>text {{ font: 14px 'DejaVu Sans Mono', Menlo, Consolas, monospace; "
        "white-space: pre; fill: {2} }}</style>\n"
        '<rect width="{0}" height="{1}" rx="8" fill="{3}"/>\n'.format(
            width, height, FOREGROUND, BACKGROUND
        )
    ]
    for row, line in enumerate(lines):
        colour, column = None, 0
        for code, text in re.findall(r"(?:\x1b\[([\d;]*)m)?([^\x1b]*)", line):
            if code:
                colour = COLOURS.get(code)
            # Each word has its own place, so that columns stand under each other in any font.
            for word in re.finditer(r"\S+(?: \S+)*", text):
                parts.append('<text x="{:.1f}" y="{}" textLength="{:.1f}"{}>{}</text>\n'.format(
                    MARGIN + CELL * (column + word.start()),
                    MARGIN + LINE * row + 14,
                    CELL * len(word.group()),
                    ' fill="{0}" style="fill: {0}"'.format(colour) if colour else "",
                    html.escape(word.group()),
                ))
            column += len(text)
    return "".join(parts + ["</svg>\n"])


def picture_of_page(path):
    """Returns a PNG of a page."""
    with Browser() as browser:
        page = browser.open("file://" + path, PAGE_WIDTH)
        # Tall enough for all of it, so that there is no scroll bar.
        page.call(
            "Emulation.setDeviceMetricsOverride",
            width=PAGE_WIDTH, height=3 * PAGE_HEIGHT, deviceScaleFactor=1, mobile=False,
        )
        clip = dict(x=0, y=0, width=PAGE_WIDTH, height=PAGE_HEIGHT, scale=1)
        answer = page.call("Page.captureScreenshot", format="png", clip=clip)
        return base64.b64decode(answer["data"])


def main():
    parser = argparse.ArgumentParser(description="Make the pictures of the README.")
    parser.add_argument("--output", default=os.path.join(ROOT, "docs"), metavar="DIR")
    parser.add_argument("--seconds", type=int, default=30, help="how long to watch (default 30)")
    options = parser.parse_args()
    output = options.output
    if not find_browser():
        sys.exit("chromium is not here: apt-get install chromium")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        try:
            trackers, addresses = start_trackers(stack)
        except OSError as error:
            sys.exit("cannot listen: {}".format(error.strerror))
        env = prepare(folder, addresses)
        table = run_in_terminal(folder, env, "--format", "table", "--color", "always")
        command = "$ python3 tracker_checker.py --format table trackers.txt"
        with open(os.path.join(output, "table.svg"), "w") as file:
            file.write(picture_of_terminal([command] + table.splitlines()))
        page = os.path.join(folder, "trackers.html")
        stop = trackers["open.example.net"].stop
        stopper = threading.Timer(STOPS_AT * options.seconds, stop)
        stopper.start()
        run_checker(
            folder, env, "monitor", "--format", "html", "--output", page,
            "--interval", "1", "--timeout", "4", "--duration", str(options.seconds),
        )
        with open(os.path.join(output, "page.png"), "wb") as file:
            file.write(picture_of_page(page))


if __name__ == "__main__":
    main()
