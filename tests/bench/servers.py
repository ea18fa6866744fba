# SPDX-License-Identifier: LGPL-3.0-only
"""What the measurements share: a server in a process of its own."""
import multiprocessing
import signal
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
