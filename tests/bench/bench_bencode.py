#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure bencode.py beside other bencode libraries: one command, one run.

    python3 tests/bench/bench_bencode.py

Decodes and encodes three documents with each library in turn, round after round, and compares
within the rounds, so that a busy machine slows all of them alike. Times are processor time.
Exit code 0: decoding each document is at least 2.3 times as fast as with bencodepy and level
with bencoder.pyx, which is compiled, or faster; 1: it is not, or one of the two could not be
measured. Encoding is printed beside, without a target.

The libraries come from PyPI into a virtual environment in the system's temporary directory,
which later runs use again. With --python they are those of that interpreter instead. Needs
Python 3.8 or newer.
"""
import argparse
import gc
import getpass
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import namedtuple
from statistics import median

ROOT = os.path.abspath(os.path.join(os.path.dirname(__file__), "..", ".."))
# Before anything installed: the package bencode.py of PyPI has a module bencode as well.
sys.path.insert(0, ROOT)
import bencode  # noqa: E402

# name: as printed; package: on PyPI
Library = namedtuple("Library", "name package module decode encode")
LIBRARIES = [
    Library("bencodepy", "bencode.py", "bencodepy", "decode", "encode"),
    Library("bcoding", "bcoding", "bcoding", "bdecode", "bencode"),
    Library("bencoder.pyx", "bencoder.pyx", "bencoder", "bdecode", "bencode"),
    Library("fastbencode", "fastbencode", "fastbencode", "bdecode", "bencode"),
]
OURS = "this bencode.py"

# At least how many times as fast as the library ours has to be in decoding.
TARGETS = {"bencodepy": 2.3, "bencoder.pyx": 1.0}
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
    has one digit, decoding was 2.2 times as fast as with bencodepy.
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


def torrent(rng):
    """A .torrent with 20,000 files of 1 kB to 3 GB, each in one of 200 folders (BEP 3)."""
    files = [
        {
            b"length": int(10 ** rng.uniform(3, 9.5)),
            b"path": [b"season %02d" % (number // 100), b"episode %05d.mkv" % number],
        }
        for number in range(20000)
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


def load_libraries():
    """Returns {name: (decode, encode)}, ours first, and {name: why it could not be loaded}."""
    loaded = {OURS: (bencode.decode, bencode.encode)}
    missing = {}
    for library in LIBRARIES:
        try:
            module = importlib.import_module(library.module)
            loaded[library.name] = getattr(module, library.decode), getattr(module, library.encode)
        except Exception as error:
            missing[library.name] = "not measured: {!r}".format(error)
    return loaded, missing


def version_of(name):
    """Returns the version of what is measured under that name."""
    if name == OURS:
        return bencode.VERSION
    from importlib.metadata import PackageNotFoundError, version

    package = next(library.package for library in LIBRARIES if library.name == name)
    try:
        return version(package)
    except PackageNotFoundError:
        # Before Python 3.10 the name has to be spelled as its folder is.
        return version(package.replace(".", "_"))


def print_table(title, samples, missing):
    """Prints a row for each library; a ratio of 2.0 is twice as fast as bencodepy."""
    print("\n{}\n{:24}{:>10}{:>10}{:>14}".format(title, "", "best ms", "median ms", "x bencodepy"))
    for name, times in samples.items():
        label = "{} {}".format(name, version_of(name))
        found = ratio(samples, name, "bencodepy")
        print(
            "  {:22}{:10.3f}{:10.3f}{:>14}".format(
                label,
                min(times) * 1e3,
                median(times) * 1e3,
                "-" if found is None else "{:.2f}".format(found),
            )
        )
    for name, reason in missing.items():
        print("  {:22}  {}".format(name, reason))


def run(rounds):
    """Measures all documents in this interpreter, prints tables; returns the exit code."""
    print("Python {}, {} rounds".format(sys.version.split()[0], rounds))
    loaded, missing = load_libraries()
    misses = []
    for title, make_document in DOCUMENTS:
        document = make_document(random.Random(1))
        data = bencode.encode(document)
        decoders, encoders, failed = {}, {}, dict(missing)
        for name, (decode, encode) in loaded.items():
            try:
                # What a library made of the data is what it is asked to encode: bcoding has
                # text where the bytes are UTF-8.
                value = decode(data)
                if encode(value) != data:
                    raise ValueError("encodes the document to something else")
            except Exception as error:
                failed[name] = "not measured: {!r:.60}".format(error)
                continue
            decoders[name] = decode, data
            encoders[name] = encode, value
        decoding = measure(decoders, rounds)
        heading = "{} ({:,} bytes)".format(title, len(data))
        print_table("decode, " + heading, decoding, failed)
        print_table("encode, " + heading, measure(encoders, rounds), failed)
        for name, target in TARGETS.items():
            found = ratio(decoding, OURS, name)
            if found is None:
                misses.append("{}: {} was not measured".format(title, name))
            elif found < target:
                misses.append("{}: {:.2f} x {}, not {} x".format(title, found, name, target))
    print()
    for miss in misses:
        print("MISSED  " + miss)
    if not misses:
        wanted = ["{} x {}".format(target, name) for name, target in TARGETS.items()]
        print("All targets hold: decoding at least {} in each.".format(" and ".join(wanted)))
    return 1 if misses else 0


# --- environment and command line ---


def make_environment():
    """Returns the Python of a virtual environment with the libraries, made where it is missing."""
    name = "bench-bencode-{}-python{}.{}".format(getpass.getuser(), *sys.version_info[:2])
    folder = os.path.join(tempfile.gettempdir(), name)
    python = os.path.join(folder, "Scripts" if os.name == "nt" else "bin", "python")
    print("virtual environment with the libraries: " + folder, flush=True)
    if not os.path.isdir(folder):
        try:
            venv.create(folder, with_pip=True)
        except (OSError, subprocess.CalledProcessError) as error:
            shutil.rmtree(folder, ignore_errors=True)
            sys.exit("could not make it (see --python): {}".format(error))
    for library in LIBRARIES:
        command = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        if subprocess.call(command + [library.package]) != 0:
            print("could not install {}".format(library.package), flush=True)
    return python


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--python", help="measure in this interpreter, with the libraries it has")
    parser.add_argument("--here", action="store_true", help="measure in the running interpreter")
    parser.add_argument("--rounds", type=int, default=15, help="samples of each (default 15)")
    arguments = parser.parse_args()
    if arguments.here:
        return run(arguments.rounds)
    python = arguments.python or make_environment()
    return subprocess.call(
        [python, os.path.abspath(__file__), "--here", "--rounds", str(arguments.rounds)]
    )


if __name__ == "__main__":
    sys.exit(main())
