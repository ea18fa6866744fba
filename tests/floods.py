#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""HTTP trackers that flood who asks them, for tests and measurements: one at each loopback address.

    python3 tests/floods.py

It prints its port and serves until its standard input ends. What a connection gets depends on the
last number of the address: a body without end, chunks of one byte without end, headers without
end, or a mebibyte of lists in lists, each as fast as it is taken. It is a process of its own, so
that it takes no time from a tracker that has to answer.
"""

import socket
import sys
import threading

OK = b"HTTP/1.1 200 OK\r\n"
NESTED = b"d8:intervali1800e5:peers0:1:xl" + (b"l" * 200 + b"e" * 200) * 2621 + b"ee"
FLOODS = (
    (OK + b"\r\n", b"d" * 65536, None),
    (OK + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nd\r\n" * 10000, None),
    (OK, b"X-Header: value\r\n" * 4000, None),
    (OK + b"Content-Length: %d\r\n\r\n" % len(NESTED), NESTED, 1),
)


def flood(connection, beginning, more, times):
    """Sends a beginning and then more of it, without end or so many times."""
    try:
        connection.recv(65536)
        connection.sendall(beginning)
        while times is None or times > 0:
            connection.sendall(more)
            times = times and times - 1
        connection.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # The other side has had enough.
    connection.close()


def serve(listener):
    while True:
        connection, _ = listener.accept()
        number = int(connection.getsockname()[0].rpartition(".")[2])
        kind = FLOODS[number % len(FLOODS)]
        threading.Thread(target=flood, args=(connection,) + kind, daemon=True).start()


def main():
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen(1000)
        print(listener.getsockname()[1], flush=True)
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        sys.stdin.read()


if __name__ == "__main__":
    main()
