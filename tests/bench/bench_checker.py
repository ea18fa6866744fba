#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Measure the checker with thousands of trackers, and beside other checkers: one command, one run.

    python3 tests/bench/bench_checker.py

All trackers are on loopback, each at an address of its own in 127.0.0.0/8. The silent ones take
datagrams or connections and never answer, so that a check of one takes the whole time-out; what
counts is how little longer many take than one. The live ones are one server at all addresses.
Live UDP trackers are also checked beside HTTP trackers that flood, and one over wss:// beside one
over https:// (the certificate is made by openssl).
Then trackerping and torrentlib check lists of 100 and of 1,000 silent UDP trackers and a live
one. They come from PyPI into the system's temporary directory (see others.py). Both send one
connect request to each tracker and no more.
Exit code 0: all limits hold; 1: one is broken. Needs Linux, and takes some seven minutes.
"""
import argparse
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections import namedtuple
from contextlib import contextmanager
from functools import partial
from statistics import median

import others
from servers import run_measured, server

TESTS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROOT = os.path.dirname(TESTS)

TIMEOUT = "5"  # seconds, of each check
PATIENCE = 400  # seconds after which a run is ended
QUICK = 1000  # trackers, the most with --quick
LIST_SIZES = (100, 1000)

# kind: one of KINDS; ratio: to the time of one tracker of the kind; memory: in MB; each the most it
# may be, None without a limit
Case = namedtuple("Case", "kind count ratio memory")
CASES = [
    Case("silent UDP", 1, None, None),
    Case("silent UDP", 1000, 1.05, None),
    Case("silent UDP", 10000, 1.10, 66),
    Case("silent HTTP", 1, None, None),
    Case("silent HTTP", 1000, 1.06, 44),
    Case("silent HTTP", 4000, 1.30, 80),
    Case("silent WebSocket", 1, None, None),
    Case("silent WebSocket", 1000, 1.06, None),
    Case("live UDP", 1000, None, None),
    Case("live HTTP", 1000, None, None),
]

# arguments: those after the interpreter, with PATH for the file that has the list of trackers and
# TIMEOUT; answer: what it prints in the end when of so many trackers so many are alive
Tool = namedtuple("Tool", "name package arguments answer")
TORRENTLIB = """
import sys
from torrentlib.Tracker import Check
results = Check.multiple(open(sys.argv[1]).read().split(), timeout=int(sys.argv[2]){})
print("found", sum(results.values()), "of", len(results))
"""
TOOLS = [
    Tool(
        "trackerping",
        "trackerping",
        ["-m", "trackerping", "-l", "-t", "TIMEOUT", "PATH"],
        "{total} trackers total, {live} available",
    ),
    Tool(
        "torrentlib",
        "torrentlib",
        ["-c", TORRENTLIB.format(""), "PATH", "TIMEOUT"],
        "found {live} of {total}",
    ),
    Tool(
        "torrentlib, 2,000 threads",
        "torrentlib",
        ["-c", TORRENTLIB.format(", max_threads=2000"), "PATH", "TIMEOUT"],
        "found {live} of {total}",
    ),
]

# What a run took: seconds on the clock and of the processor, MB; whether it did what it should.
Run = namedtuple("Run", "seconds processor memory failure")


# --- trackers ---


@contextmanager
def silent_udp():
    """Yields the port of a UDP socket that nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", 0))
        yield sock.getsockname()[1]


def serve_silent_http(ready):
    """Accepts connections and keeps them, without a word."""
    connections = []
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(4096)
        ready.send(listener.getsockname()[1])
        while True:
            connections.append(listener.accept()[0])


def serve_live(port_of):
    """Returns what runs a tracker that answers at whatever address it is asked, for server()."""

    def serve(ready):
        # Not imported by the process that starts the checker, see run().
        sys.path.insert(0, TESTS)
        from loopback_tracker import LoopbackTracker

        with LoopbackTracker(hosts=("0.0.0.0",)) as tracker:
            ready.send(getattr(tracker, port_of))
            signal.pause()

    return serve


# start: a context manager that gives a port; results: of these texts the report has one for each
Kind = namedtuple("Kind", "start scheme results")
KINDS = {
    "silent UDP": Kind(silent_udp, "udp", ['["Connect",{"Err":"no reply to connect']),
    "silent HTTP": Kind(lambda: server(serve_silent_http), "http", ['"no whole reply in time"']),
    "silent WebSocket": Kind(
        lambda: server(serve_silent_http), "ws", ['["Connect",{"Err":"no whole reply in time"']
    ),
    "live UDP": Kind(lambda: server(serve_live("udp_port")), "udp", ['{"Udp":{"Ok":{']),
    "live HTTP": Kind(lambda: server(serve_live("http_port")), "http", ['{"Http":{"Ok":{']),
}


def tracker_urls(scheme, count, port):
    """Returns URLs with as many loopback addresses, none of them 127.0.0.1."""
    first = 0x7F010001
    addresses = (number.to_bytes(4, "big") for number in range(first, first + count))
    form = "{}://{}:{}/announce"
    return [form.format(scheme, socket.inet_ntoa(address), port) for address in addresses]


def write_list(folder, urls):
    """Writes a list of trackers into the folder; returns its path."""
    path = os.path.join(folder, "trackers.txt")
    with open(path, "w") as file:
        file.write("\n".join(urls) + "\n")
    return path


# --- measurement ---


def run(command, texts, times):
    """Runs a command to its end, and looks whether it printed the texts so many times in all.

    The kernel counts the peak memory of this process as the command's own, so that this process
    has to be the smaller one.
    """
    environment = {
        name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")
    }
    environment["PYTHONIOENCODING"] = "utf-8"
    with tempfile.TemporaryFile() as output:
        seconds, status, usage = run_measured(command, environment, output, output, PATIENCE)
        output.seek(0)
        printed = output.read().decode("utf-8", "replace").strip()
    found = sum(printed.count(text) for text in texts)
    failure = None
    if os.WIFSIGNALED(status):
        failure = "ended by signal {} after {:.0f} s".format(os.WTERMSIG(status), seconds)
    elif found != times:
        failure = "{} of {} results as expected; the end of its output: {}".format(
            found, times, ascii(printed[-100:])
        )
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, failure)


def checker_command(python, folder, path, timeout=TIMEOUT):
    script = os.path.join(folder, "tracker_checker.py")
    settings = ["--format", "compact", "--no-progress", "--timeout", timeout]
    return [python, script, path] + settings


def measure_case(case, python, folder, timeout=TIMEOUT):
    """Returns the Run of the checker with the trackers of a case."""
    kind = KINDS[case.kind]
    with kind.start() as port:
        path = write_list(folder, tracker_urls(kind.scheme, case.count, port))
        return run(checker_command(python, folder, path, timeout), kind.results, case.count)


def judge(case, found, one):
    """Returns (the ratio to the Run of one tracker or None, the limits as text, the verdict)."""
    ratio = found.seconds / one.seconds if one and case.count > 1 else None
    limits = [
        (ratio, case.ratio, "{:.2f} x one"),
        (found.memory, case.memory, "{} MB"),
    ]
    limits = [limit for limit in limits if limit[1] is not None]
    text = ", ".join(unit.format(most) for _, most, unit in limits)
    if found.failure:
        return ratio, text, "FAILED: " + found.failure
    if not limits:
        return ratio, text, ""
    return ratio, text, "ok" if all(value <= most for value, most, _ in limits) else "OVER"


def measure_cases(cases, python, folder):
    """Measures the cases in turn and prints a row for each; returns how many broke a limit."""
    titles = ("trackers", "seconds", "x one", "processor s", "peak MB", "limits")
    print("\n{:20}{:>9}{:>8}{:>13}{:>9}  {:24}".format(*titles), flush=True)
    ones = {}
    misses = 0
    for case in cases:
        found = measure_case(case, python, folder)
        if case.count == 1:
            ones[case.kind] = found
        ratio, limits, verdict = judge(case, found, ones.get(case.kind))
        row = "{:20}{:9.2f}{:>8}{:13.2f}{:9.1f}  {:24}{}".format(
            "{:,} {}".format(case.count, case.kind),
            found.seconds,
            "-" if ratio is None else "{:.3f}".format(ratio),
            found.processor,
            found.memory,
            limits,
            verdict,
        )
        print(row.rstrip(), flush=True)
        misses += verdict not in ("", "ok")
    return misses


# --- floods ---


def measure_floods(python, folder):
    """Checks live UDP trackers beside HTTP trackers that flood, run by run; returns the misses.

    Every live tracker has to be up, and a run has to end within the time-out plus a second.
    """
    live, floods, runs = 100, 50, 10
    title = "{} live UDP beside {} floods".format(live, floods)
    print("\n{:28}{:>9}{:>13}{:>9}".format(title, "seconds", "processor s", "peak MB"))
    misses = 0
    command = [sys.executable, os.path.join(TESTS, "floods.py")]
    with server(serve_live("udp_port")) as live_port, subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as flooding:
        flood_port = int(flooding.stdout.readline())
        urls = tracker_urls("http", floods, flood_port) + tracker_urls("udp", live, live_port)
        path = write_list(folder, urls)
        for number in range(1, runs + 1):
            found = run(checker_command(python, folder, path), KINDS["live UDP"].results, live)
            verdict = "ok" if found.seconds <= float(TIMEOUT) + 1 else "OVER"
            if found.failure:
                verdict = "FAILED: " + found.failure
            row = "  run {:<22}{:9.2f}{:13.2f}{:9.1f}  {}"
            print(row.format(number, found.seconds, found.processor, found.memory, verdict))
            if verdict != "ok":
                misses += 1
    return misses


# --- TLS ---


def serve_tls(certificate, ready):
    """Runs a tracker that speaks TLS, with the certificate and its key in a file."""
    sys.path.insert(0, TESTS)
    import ssl

    from loopback_tracker import LoopbackTracker

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with LoopbackTracker(tls=context) as tracker:
        ready.send(tracker.http_port)
        signal.pause()


def measure_tls(python, folder):
    """Checks a tracker over WebSocket and over HTTP, both with TLS, in turn; returns the misses."""
    runs = 11
    certificate = os.path.join(folder, "certificate.pem")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext"]
    command += ["subjectAltName=IP:127.0.0.1", "-keyout", certificate, "-out"]
    try:
        with open(os.devnull, "w") as silence:
            made = os.path.join(folder, "made.pem")
            subprocess.check_call(command + [made], stdout=silence, stderr=silence)
    except (OSError, subprocess.CalledProcessError) as error:
        print("\nTLS: not measured: {}".format(error))
        return 0
    with open(made) as public, open(certificate, "a") as file:
        file.write(public.read())
    titles = ("median s", "x https", "processor s", "peak MB", "x https")
    title = "1 live tracker with TLS, {} runs".format(runs)
    print("\n{:32}{:>9}{:>9}{:>13}{:>9}{:>9}".format(title, *titles))
    misses = 0
    found = {"https": [], "wss": []}
    with server(partial(serve_tls, certificate)) as port:
        for _ in range(runs):
            for scheme, texts in (("https", ['{"Http":{"Ok":{']), ("wss", ['{"Ws":{"Ok":{'])):
                path = write_list(folder, ["{}://127.0.0.1:{}/announce".format(scheme, port)])
                command = checker_command(python, folder, path) + ["--cacert", made]
                found[scheme].append(run(command, texts, 1))
    base = None
    for scheme, samples in found.items():
        middle = Run(*(median(values) for values in list(zip(*samples))[:3]), failure=None)
        base = base or middle
        failures = [each.failure for each in samples if each.failure]
        row = "  {:30}{:9.3f}{:9.2f}{:13.3f}{:9.1f}{:9.2f}  {}".format(
            scheme,
            middle.seconds,
            middle.seconds / base.seconds,
            middle.processor,
            middle.memory,
            middle.memory / base.memory,
            "FAILED: " + failures[0] if failures else "",
        )
        print(row.rstrip(), flush=True)
        misses += bool(failures)
    return misses


# --- other checkers ---


def install_all():
    """Returns {package: its Package, or None where it could not be installed}."""
    packages = {}
    for name in {tool.package: None for tool in TOOLS}:
        try:
            packages[name] = others.install(name)
        except (OSError, subprocess.CalledProcessError) as error:
            print("{}: could not be installed: {}".format(name, error))
            packages[name] = None
    return packages


def run_tool(tool, package, path, total, live, timeout=TIMEOUT):
    """Returns the Run of another checker with a list of so many trackers, so many of them alive."""
    values = {"PATH": path, "TIMEOUT": timeout}
    command = package.command + [values.get(argument, argument) for argument in tool.arguments]
    return run(command, [tool.answer.format(total=total, live=live)], 1)


def print_tool(name, found, ours):
    """Prints a row; a ratio of 2.0 has taken twice the time of this checker."""
    if found is None:
        print("  {:26}not measured: could not be installed".format(name))
    elif found.failure:
        print("  {:26}not measured: {}".format(name, found.failure))
    else:
        row = "  {:26}{:9.2f}{:10.2f}{:13.2f}{:9.1f}"
        ratio = found.seconds / ours.seconds
        print(row.format(name, found.seconds, ratio, found.processor, found.memory))


def compare(python, folder):
    """Lets the other checkers and this one check the same lists, and prints a table of each."""
    packages = install_all()
    with silent_udp() as silent_port, server(serve_live("udp_port")) as live_port:
        for size in LIST_SIZES:
            urls = tracker_urls("udp", size, silent_port) + tracker_urls("udp", 1, live_port)
            path = write_list(folder, urls)
            title = "{:,} silent UDP, 1 live".format(size)
            titles = ("seconds", "x ours", "processor s", "peak MB")
            print("\n{:28}{:>9}{:>10}{:>13}{:>9}".format(title, *titles))
            ours = run(checker_command(python, folder, path), KINDS["live UDP"].results, 1)
            print_tool("this checker", ours, ours)
            for tool in TOOLS:
                package = packages[tool.package]
                found = package and run_tool(tool, package, path, size + 1, 1)
                print_tool(tool.name, found, ours)
                sys.stdout.flush()


# --- command line ---


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--python", default=sys.executable, metavar="PATH", help="the interpreter of the checker"
    )
    parser.add_argument(
        "--quick", action="store_true", help="no more than 1,000 trackers, no other checkers"
    )
    arguments = parser.parse_args()
    _, most_files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, most_files))
    version = subprocess.check_output([arguments.python, "--version"], universal_newlines=True)
    heading = "{}, {} cores, load {:.1f}, time-out {} s"
    print(heading.format(version.strip(), os.cpu_count(), os.getloadavg()[0], TIMEOUT))
    cases = [case for case in CASES if not arguments.quick or case.count <= QUICK]
    # A copy, so that compiled files are left there.
    with tempfile.TemporaryDirectory() as folder:
        for script in ("tracker_checker.py", "bencode.py"):
            shutil.copy(os.path.join(ROOT, script), folder)
        misses = measure_cases(cases, arguments.python, folder)
        misses += measure_tls(arguments.python, folder)
        misses += measure_floods(arguments.python, folder)
        if not arguments.quick:
            compare(arguments.python, folder)
    print("\n{}".format("All limits hold." if not misses else "{} OVER".format(misses)))
    return 1 if misses else 0


if __name__ == "__main__":
    sys.exit(main())
