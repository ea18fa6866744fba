# SPDX-License-Identifier: LGPL-3.0-only
"""What the measurements share: a server in a process of its own, and a command that is measured."""
import multiprocessing
import os
import signal
import subprocess
import threading
import time
from contextlib import contextmanager


def start(serve, ready):
    # Ctrl-C reaches this process too; it is for its parent to end it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    serve(ready)


@contextmanager
def server(serve):
    """Runs serve(ready) in a process of its own; yields what it says with ready.send()."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=start, args=(serve, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours.recv()
    finally:
        process.terminate()
        process.join()


def run_measured(command, environment, output, errors, patience):
    """Runs a command; returns (seconds, wait status, what it used of the machine).

    After so many seconds of patience it is killed.
    """
    start_time = time.monotonic()
    process = subprocess.Popen(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=errors
    )
    killer = threading.Timer(patience, os.kill, (process.pid, signal.SIGKILL))
    killer.daemon = True
    killer.start()
    _, status, usage = os.wait4(process.pid, 0)
    killer.cancel()
    # Else Popen would look for the process again.
    process.returncode = status
    return time.monotonic() - start_time, status, usage
