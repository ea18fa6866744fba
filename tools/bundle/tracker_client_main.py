# SPDX-License-Identifier: LGPL-3.0-only
"""Starts tracker_client.pyz, the scripts in one tool: the __main__.py of that bundle.

It hands the words after `udp`, `http` or `check` to the script that they are for. A script is
imported only when it is needed.
"""

import sys
from importlib import import_module

PROG = "tracker_client.pyz"
SCRIPTS = {
    "udp": "udp_tracker_client",
    "http": "http_tracker_client",
    "check": "tracker_checker",
}
HELP = """\
usage: {prog} udp|http|check ...

Ask BitTorrent trackers, over UDP, HTTP and WebSocket, and print what they answer as JSON.

commands:
  udp announce TRACKER INFO_HASH               join a swarm and get peers
  udp scrape TRACKER INFO_HASH [INFO_HASH ...] count seeders and leechers
  http announce URL INFO_HASH                  the same over HTTP or WebSocket
  http scrape URL [INFO_HASH ...]              without a hash: of all its torrents
  check [INPUT ...]                            tell which trackers work
  check monitor [INPUT ...]                    check them again and again
  check swarms [INPUT ...]                     count seeders and leechers of torrents

options:
  -h, --help  show this help; each command has one of its own, as {prog} udp --help
  --version   show the version and exit

examples:
  {prog} udp announce udp://tracker.example.org:6969 {hash}
  {prog} http scrape https://tracker.example.org/announce {hash}
  {prog} check udp://tracker.example.org:6969 https://tracker.example.org/announce
  {prog} check --format table trackers.txt
  {prog} check swarms --format table linux.torrent
  {prog} check monitor --interval 60 --duration 3600 tracker.example.org:6969
""".format(prog=PROG, hash="9c38422213e30bff212b30c360d26f9a02136422")


def answer(script, argv: list) -> int:
    """Answers what is about the whole tool, with the output functions of any of the scripts."""
    if not argv:
        problem = "no command"
    elif argv[0] in ("-h", "--help"):
        script.write_stdout(HELP)
        return 0
    elif argv[0] == "--version":
        script.write_stdout("{} {}\n".format(PROG, script.VERSION))
        return 0
    else:
        problem = "command {!r}".format(argv[0])
    script.write_stderr(
        "{}: error: {}; udp, http or check is expected (see --help)".format(PROG, problem)
    )
    return 2


def main() -> None:
    command = sys.argv[1] if len(sys.argv) > 1 else None
    script = import_module(SCRIPTS.get(command, "udp_tracker_client"))
    if command in SCRIPTS:
        script.run_and_exit(lambda argv: script.main(argv[1:], prog="{} {}".format(PROG, command)))
    else:
        script.run_and_exit(lambda argv: answer(script, argv))


if __name__ == "__main__":
    main()
