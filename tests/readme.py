# SPDX-License-Identifier: LGPL-3.0-only
"""What the README has in it for tests to run, and a place to run it in.

Its blocks are of two kinds: `sh` can be pasted as it stands once the loopback tracker runs, `bash`
needs something more, which the README names. The trackers of its examples are those of a
LoopbackTracker on free ports here: localize() puts its addresses in the place of theirs.
"""
import contextlib
import os
import re
import shutil
import subprocess
import sys

import bencode
import pytest
from helpers import ROOT, clean_environment, run_command

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
UDP_PORT, HTTP_PORT, HEALTH_PORT = 6969, 7070, 1212
with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
    README = file.read()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PACKAGES = {
    "mlr": "miller", "sshd": "openssh-server", "promtool": "prometheus", "chronic": "moreutils",
    "systemd-analyze": "systemd", "aria2c": "aria2", "transmission-remote": "transmission-cli",
    "column": "bsdextrautils", "scp": "openssh-client", "ssh": "openssh-client",
    "ssh-keygen": "openssh-client", "ip": "iproute2", "unshare": "util-linux",
    "setpriv": "util-linux",
}


def block(kind, part):
    """Returns the text of the one block of a kind that has a part in it."""
    (found,) = [text for name, text in BLOCKS if name == kind and part in text]
    return found


def commands_of(kind):
    """Returns the lines of all blocks of a kind."""
    return [line for name, text in BLOCKS if name == kind for line in text.splitlines()]


def command(kind, part):
    """Returns the one line of the blocks of a kind that has a part in it."""
    (found,) = [line for line in commands_of(kind) if part in line]
    return found


def find_tool(name):
    """Returns the path of a command, also of one for administrators."""
    return shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin:/sbin")


def require(*tools):
    """Skips a test where a tool is not installed."""
    for tool in tools:
        if not find_tool(tool):
            package = PACKAGES.get(tool, tool)
            pytest.skip("{} is not here: apt-get install {}".format(tool, package))


def copy_project(folder):
    """Copies what a clone has to a folder, but for the .git."""
    for name in os.listdir(ROOT):
        if name.endswith(".py") or name in ("LICENSE", "README.md"):
            shutil.copy(os.path.join(ROOT, name), str(folder))
    for name in ("tests", "tools", "examples"):
        shutil.copytree(
            os.path.join(ROOT, name),
            os.path.join(str(folder), name),
            ignore=shutil.ignore_patterns("__pycache__"),
        )


class Desk:
    """A copy of the project in which commands of the README run, against a LoopbackTracker."""

    def __init__(self, folder, tracker):
        self.folder = folder / "a clone"
        self.folder.mkdir()
        copy_project(self.folder)
        self.names = {}
        ports = tracker.udp_port, tracker.http_port, tracker.health_port
        for theirs, ours in zip((UDP_PORT, HTTP_PORT, HEALTH_PORT), ports):
            for form in ("127.0.0.1:{}", "127.0.0.1%3A{}", "localhost:{}"):
                self.names[form.format(theirs)] = form.format(ours)
        # Places outside have no space in their names.
        (folder / "opt").symlink_to(self.folder)
        self.names["/opt/trackers"] = str(folder / "opt")
        self.names["/etc/trackers.txt"] = str(folder / "opt" / "examples" / "trackers.txt")
        self.names["/srv/torrents"] = str(folder / "opt" / "examples")
        examples = self.folder / "examples"
        trackers = examples / "trackers.txt"
        trackers.write_text(self.localize(trackers.read_text()))
        for path in examples.glob("*.torrent"):
            torrent = bencode.decode(path.read_bytes())
            torrent[b"announce"] = tracker.udp_url.encode()
            torrent[b"announce-list"] = [
                [self.localize(url.decode()).encode()]
                for tier in torrent[b"announce-list"] for url in tier
            ]
            path.write_bytes(bencode.encode(torrent))
        tools = folder / "bin"
        tools.mkdir()
        (tools / "python3").symlink_to(sys.executable)
        self.env = {"PATH": "{}:{}".format(tools, os.environ["PATH"])}

    def localize(self, text):
        for name, here in self.names.items():
            text = text.replace(name, here)
        return text

    @contextlib.contextmanager
    def start(self, text, **env):
        """Runs a command of the README, which need not end by itself."""
        process = subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", self.localize(text)],
            cwd=str(self.folder),
            env=clean_environment(dict(self.env, **env)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield process
        finally:
            process.terminate()
            process.wait(20)

    def run(self, text, **settings):
        """Runs a command of the README and returns its Result."""
        settings.setdefault("cwd", str(self.folder))
        return run_command(
            ["bash", "-o", "pipefail", "-c", self.localize(text)], env=self.env, **settings
        )
