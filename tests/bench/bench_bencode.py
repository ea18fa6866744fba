#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure bencode.py beside other bencode libraries: one command, one run.

    python3 tests/bench/bench_bencode.py

Decodes and encodes three documents with each library in turn, round after round, and compares
within the rounds, so that a busy machine slows all of them alike. Times are processor time.
Exit code 0: decoding each document is at least 2.3 times as fast as with bencode.py of PyPI and
level with bencoder.pyx, which is compiled, or faster; 1: it is not, or one of the two could not be
measured. Encoding, and the info hash of a .torrent, are printed beside, without a target.

The libraries come from PyPI into the system's temporary directory (see others.py); bencode.py of
PyPI has a module bencodepy, as the package of that name has. Needs Python 3.8 or newer.
"""
import argparse
import gc
import hashlib
import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections import namedtuple
from functools import partial
from statistics import median

import others

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Before anything installed: the package bencode.py of PyPI has a module bencode as well.
sys.path.insert(0, ROOT)
import bencode  # noqa: E402

# name: of the package on PyPI
Library = namedtuple("Library", "name module decode encode")
LIBRARIES = [
    Library("bencode.py", "bencodepy", "decode", "encode"),
    Library("bencodepy", "bencodepy", "decode", "encode"),
    Library("bcoding", "bcoding", "bdecode", "bencode"),
    Library("bencoder.pyx", "bencoder", "bdecode", "bencode"),
    Library("fastbencode", "fastbencode", "bdecode", "bencode"),
]
OURS = "this bencode.py"

# At least how many times as fast as the library ours has to be in decoding.
TARGETS = {"bencode.py": 2.3, "bencoder.pyx": 1.0}
SAMPLE_SECONDS = 0.05  # a sample repeats a call until it takes about this long


# --- documents ---


def announce_reply(rng):
    """An announce reply with 200 peers as dictionaries (BEP 3)."""
    peers = [
        {
            b"ip": b"%d.%d.%d.%d" % tuple(rng.randrange(1, 255) for _ in range(4)),
            b"peer id": b"-qB4650-" + rng.getrandbits(96).to_bytes(12, "big"),
            b"port": rng.randrange(1024, 65536),
        }
        for _ in range(200)
    ]
    return {
        b"complete": 120,
        b"incomplete": 80,
        b"interval": 1800,
        b"min interval": 900,
        b"peers": peers,
    }


def scrape_reply(rng):
    """A scrape reply with 20,000 torrents (BEP 48): most swarms are small, a few are huge.

    The shape matters: with counts spread evenly up to 5,000, 100,000 and 500, so that hardly any
    has one digit, decoding was 2.2 times as fast as with bencode.py of PyPI.
    """
    return {
        b"files": {
            rng.getrandbits(160).to_bytes(20, "big"): {
                b"complete": int(rng.paretovariate(0.7)),
                b"downloaded": int(20 * rng.paretovariate(0.7)),
                b"incomplete": int(rng.paretovariate(0.8)) - 1,
            }
            for _ in range(20000)
        }
    }


def torrent(rng, count=20000):
    """A .torrent with so many files of 1 kB to 3 GB, a hundred a folder, 2,000 pieces (BEP 3)."""
    files = [
        {
            b"length": int(10 ** rng.uniform(3, 9.5)),
            b"path": [b"season %02d" % (number // 100), b"episode %05d.mkv" % number],
        }
        for number in range(count)
    ]
    return {
        b"announce": b"udp://tracker.example.org:6969/announce",
        b"info": {
            b"files": files,
            b"name": b"collection",
            b"piece length": 1 << 24,
            b"pieces": rng.getrandbits(160 * 2000).to_bytes(20 * 2000, "big"),
        },
    }


DOCUMENTS = [
    ("announce reply, 200 dictionary peers", announce_reply),
    ("scrape of 20,000 torrents", scrape_reply),
    ("torrent with 20,000 files", torrent),
]
# For --json: what most people have in hand.
ORDINARY = ("torrent with 100 files", partial(torrent, count=100))


# --- measurement ---


def time_calls(function, argument, calls):
    """Returns the seconds of processor time that one call takes, the mean of several in a row."""
    gc.collect()
    start = time.process_time()
    for _ in range(calls):
        function(argument)
    return (time.process_time() - start) / calls


def measure(functions, rounds):
    """Returns {name: [seconds of one call, ...]}, one sample a round.

    functions is {name: (function, argument)}.
    """
    calls = {
        name: max(1, int(SAMPLE_SECONDS / time_calls(*functions[name], calls=1)))
        for name in functions
    }
    samples = {name: [] for name in functions}
    for _ in range(rounds):
        for name in functions:
            samples[name].append(time_calls(*functions[name], calls=calls[name]))
    return samples


def ratio(samples, name, base):
    """Returns how many times as fast as base name is, the median of the rounds, or None."""
    if name not in samples or base not in samples:
        return None
    return median(theirs / ours for ours, theirs in zip(samples[name], samples[base]))


def load(library, folder):
    """Returns (decode, encode) of a library that is installed in the folder."""
    sys.path.insert(0, folder)
    try:
        module = importlib.import_module(library.module)
        return getattr(module, library.decode), getattr(module, library.encode)
    finally:
        sys.path.remove(folder)
        # Another package has a module of the same name.
        for name in [name for name in sys.modules if name.split(".")[0] == library.module]:
            del sys.modules[name]


def load_libraries(names):
    """Returns {name: (decode, encode)}, ours first, and {name: why it could not be loaded}."""
    loaded = {OURS: (bencode.decode, bencode.encode)}
    missing = {}
    for library in LIBRARIES:
        if library.name not in names:
            continue
        try:
            loaded[library.name] = load(library, others.install(library.name).folder)
        except subprocess.CalledProcessError:
            missing[library.name] = "could not be installed"
        except Exception as error:
            missing[library.name] = repr(error)
    return loaded, missing


def version_of(name):
    """Returns the version of what is measured under that name."""
    return bencode.VERSION if name == OURS else others.pinned_versions()[name]


def hash_info(decode, encode, data):
    """Returns the info hash as a program finds it that has no more than the two functions."""
    document = decode(data)
    # bcoding has text where the bytes are UTF-8.
    info = document[b"info"] if b"info" in document else document["info"]
    return hashlib.sha1(encode(info)).digest()


def operations(document, loaded, failed):
    """Returns {operation: {name: (function, argument)}}; what a library gets wrong is in failed."""
    data = bencode.encode(document)
    found = {"decode": {}, "encode": {}}
    if b"info" in document:
        found["info hash"] = {}
    for name, (decode, encode) in loaded.items():
        try:
            # What a library made of the data is what it is asked to encode: bcoding has text where
            # the bytes are UTF-8.
            value = decode(data)
            if encode(value) != data:
                raise ValueError("encodes the document to something else")
            hash_one = bencode.info_hash if name == OURS else partial(hash_info, decode, encode)
            if "info hash" in found:
                if hash_one(data) != bencode.info_hash(data):
                    raise ValueError("finds another info hash")
                found["info hash"][name] = hash_one, data
        except Exception as error:
            failed[name] = "{!r:.60}".format(error)
            continue
        found["decode"][name] = decode, data
        found["encode"][name] = encode, value
    return found


def measure_document(document, names, rounds):
    """Returns {operation: {name: [seconds of one call, ...]}} and {name: why it is not there}."""
    loaded, failed = load_libraries(names)
    found = operations(document, loaded, failed)
    return {name: measure(functions, rounds) for name, functions in found.items()}, failed


def print_table(title, samples, missing):
    """Prints a row for each library; a ratio of 2.0 is twice as fast as bencode.py of PyPI."""
    titles = ("", "best ms", "median ms", "x bencode.py")
    print("\n{}\n{:24}{:>10}{:>10}{:>14}".format(title, *titles))
    for name, times in samples.items():
        label = "{} {}".format(name, version_of(name))
        found = ratio(samples, name, "bencode.py")
        print(
            "  {:22}{:10.3f}{:10.3f}{:>14}".format(
                label,
                min(times) * 1e3,
                median(times) * 1e3,
                "-" if found is None else "{:.2f}".format(found),
            )
        )
    for name, reason in missing.items():
        print("  {:22}  not measured: {}".format(name, reason))


def run(rounds):
    """Measures all documents in this interpreter, prints tables; returns the exit code."""
    print("Python {}, {} rounds".format(sys.version.split()[0], rounds), flush=True)
    misses = []
    for title, make_document in DOCUMENTS:
        document = make_document(random.Random(1))
        names = [library.name for library in LIBRARIES]
        found, failed = measure_document(document, names, rounds)
        heading = "{} ({:,} bytes)".format(title, len(bencode.encode(document)))
        for operation, samples in found.items():
            print_table("{}, {}".format(operation, heading), samples, failed)
        for name, target in TARGETS.items():
            times = ratio(found["decode"], OURS, name)
            if times is None:
                misses.append("{}: {} was not measured".format(title, name))
            elif times < target:
                misses.append("{}: {:.2f} x {}, not {} x".format(title, times, name, target))
    print()
    for miss in misses:
        print("MISSED  " + miss)
    if not misses:
        wanted = ["{} x {}".format(target, name) for name, target in TARGETS.items()]
        print("All targets hold: decoding at least {} in each.".format(" and ".join(wanted)))
    return 1 if misses else 0


def print_json(names, rounds):
    """Measures an ordinary .torrent, and prints how many times as fast as each library ours is."""
    document = ORDINARY[1](random.Random(1))
    found, failed = measure_document(document, names, rounds)
    ratios = {
        operation: {name: ratio(samples, OURS, name) for name in samples if name != OURS}
        for operation, samples in found.items()
    }
    size = len(bencode.encode(document))
    said = {"document": ORDINARY[0], "bytes": size, "ratios": ratios, "failed": failed}
    print(json.dumps(said))


# --- command line ---


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=15, help="samples of each (default 15)")
    parser.add_argument(
        "--json",
        nargs="*",
        metavar="LIBRARY",
        help="measure an ordinary .torrent beside these, and print ratios as JSON",
    )
    arguments = parser.parse_args()
    if arguments.json is None:
        return run(arguments.rounds)
    print_json(arguments.json, arguments.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
