# SPDX-License-Identifier: LGPL-3.0-only
"""Trackers and a client that others wrote, started for the tests of this folder.

opentracker is a command (Debian has it), bittorrent-tracker's server comes from npm into the
folder that BITTORRENT_TRACKER_DIR names, libtorrent from PyPI. Each test skips what is not here.
"""

import functools
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import namedtuple
from contextlib import contextmanager

import bencode
import pytest
from loopback_tracker import LoopbackTracker

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "bittorrent_tracker_server.mjs")
# libtorrent keeps UDP connection ids by address, whatever the port, so each tracker has its own;
# bittorrent-tracker is on 127.0.0.1.
OPENTRACKER_ADDRESS = "127.0.0.2"
LOOPBACK_TRACKER_ADDRESS = "127.0.0.3"
PATIENCE = 20  # seconds until something that was started has to be there
START_ATTEMPTS = 5

OpenTracker = namedtuple("OpenTracker", "udp http")
# Its ws is at all loopback addresses.
BittorrentTracker = namedtuple("BittorrentTracker", "udp udp6 http http6 ws")
# Where a seeding client is to be found: its (address, port) over IPv4 and over IPv6.
Seeder = namedtuple("Seeder", "info_hash ipv4 ipv6")


class Torrent:
    """The metainfo of a small torrent, which is another one for each name."""

    def __init__(self, name):
        self.content = name.encode("ascii") * 100
        self.info = {
            b"name": name.encode("ascii"),
            b"length": len(self.content),
            b"piece length": 32768,
            b"pieces": hashlib.sha1(self.content).digest(),
        }
        self.info_hash = hashlib.sha1(bencode.encode(self.info)).hexdigest()


# A swarm for each purpose, since all tests talk to the same trackers.
TORRENTS = {
    name: Torrent(name)
    for name in (
        "seeded on opentracker",
        "seeded on bittorrent-tracker",
        "seeded on bittorrent-tracker over UDP and IPv6",
        "seeded on bittorrent-tracker over HTTP and IPv6",
        "seeded on bittorrent-tracker over IPv4 and IPv6",
        "seeded on the loopback tracker",
        "left over udp",
        "left over udp6",
        "left over http",
        "left over http6",
        "left over ws",
        "refused",
        "counted",
        "checked",
        "checked at once",
        "nobody has it",
        "stays on 6881 as itself",
        "stays on 6881 under our peer id",
        "stays on another port as itself",
        "stays on another port under our peer id",
        "taken out over udp",
        "taken out over http",
    )
}

# Many torrents with few peers, for what asks for all of them.
SWARMS = [hashlib.sha1(b"swarm %d" % number).hexdigest() for number in range(200)]
Counts = namedtuple("Counts", "seeders completed leechers")


def free_port():
    """Returns a port that is free for opentracker over TCP and UDP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((OPENTRACKER_ADDRESS, 0))
            try:
                udp.bind(tcp.getsockname())
            except OSError:
                continue
            return tcp.getsockname()[1]


def require_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 on loopback here: sysctl net.ipv6.conf.lo.disable_ipv6=0")


def answers_http(process, address):
    """Waits until a process serves HTTP on the address; False when it ended instead."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            direct.open("http://{}/scrape".format(address), timeout=1).close()
            return True
        except urllib.error.HTTPError:
            return True
        except OSError:
            # Nothing can be waited on for a socket that another process will open.
            time.sleep(0.02)
    return False


def end(process):
    process.terminate()
    process.wait()


@contextmanager
def running_opentracker(info_hashes):
    """Runs an opentracker that lists these and no others; yields an OpenTracker of URLs."""
    command = shutil.which("opentracker")
    if not command:
        pytest.skip("opentracker is not here: apt-get install opentracker")
    # It becomes nobody where it is started by root, and must read the list then.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        with open(os.path.join(folder, "white.txt"), "w") as whitelist:
            whitelist.write("".join(info_hash + "\n" for info_hash in info_hashes))
        for _ in range(START_ATTEMPTS):
            port = free_port()
            address = "{}:{}".format(OPENTRACKER_ADDRESS, port)
            process = subprocess.Popen(
                [command, "-i", OPENTRACKER_ADDRESS, "-p", str(port), "-P", str(port)]
                + ["-d", folder, "-w", "white.txt"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            if answers_http(process, address):
                break
            end(process)
        else:
            pytest.fail("opentracker does not start")
        yield OpenTracker("udp://" + address, "http://{}/announce".format(address))
        end(process)


@pytest.fixture(scope="session")
def opentracker():
    """A running opentracker that lists the TORRENTS and no others: an OpenTracker of URLs."""
    with running_opentracker([torrent.info_hash for torrent in TORRENTS.values()]) as urls:
        yield urls


@pytest.fixture(scope="session")
def opentracker_of_swarms():
    """A running opentracker that lists the SWARMS and no others: an OpenTracker of URLs."""
    with running_opentracker(SWARMS) as urls:
        yield urls


@pytest.fixture(scope="session")
def bittorrent_tracker():
    """A running server of bittorrent-tracker, which refuses one torrent: a BittorrentTracker."""
    node = shutil.which("node")
    folder = os.environ.get("BITTORRENT_TRACKER_DIR")
    if not node or not folder:
        pytest.skip(
            "bittorrent-tracker is not here: npm install --ignore-scripts bittorrent-tracker "
            "in a folder, and that folder in BITTORRENT_TRACKER_DIR"
        )
    require_ipv6()
    process = subprocess.Popen(
        [node, SERVER, folder, TORRENTS["refused"].info_hash],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    line = process.stdout.readline()
    if not line:
        pytest.fail("bittorrent-tracker does not start from {}".format(folder))
    yield BittorrentTracker(**json.loads(line))
    process.stdin.close()
    process.stdout.close()
    process.wait()


class Client:
    """A libtorrent session on loopback that seeds what it is told to.

    interfaces are the addresses and ports at which it listens, as libtorrent has them; its peer id
    begins with the fingerprint, which may be the whole of it.
    """

    def __init__(self, libtorrent, folder, interfaces, fingerprint=None):
        self.libtorrent = libtorrent
        self.folder = folder
        own = {"peer_fingerprint": fingerprint} if fingerprint else {}
        self.session = libtorrent.session(
            {
                **own,
                "listen_interfaces": interfaces,
                # It takes no other port where one is taken.
                "max_retry_port_bind": 0,
                "announce_to_all_trackers": True,
                "announce_to_all_tiers": True,
                "enable_dht": False,
                "enable_lsd": False,
                "enable_natpmp": False,
                "enable_upnp": False,
                "stop_tracker_timeout": 0,
                "alert_mask": libtorrent.alert.category_t.status_notification
                | libtorrent.alert.category_t.tracker_notification,
            }
        )
        self.answered = set()
        self.listening = {}
        self._wait(lambda: len(self.listening) == interfaces.count(",") + 1)

    def seed(self, torrent, *trackers):
        """Seeds the torrent and returns once all trackers have answered its announce."""
        parameters = self.libtorrent.add_torrent_params()
        parameters.ti = self.libtorrent.torrent_info({b"info": torrent.info})
        parameters.save_path = str(self.folder)
        parameters.trackers = list(trackers)
        # Complete as it is, and started at once: not when its turn comes in a queue.
        parameters.flags = self.libtorrent.torrent_flags.seed_mode
        (self.folder / torrent.info[b"name"].decode("ascii")).write_bytes(torrent.content)
        handle = self.session.add_torrent(parameters)
        assert str(handle.info_hash()) == torrent.info_hash
        answers = {(torrent.info_hash, url) for url in trackers}
        self._wait(lambda: self.answered >= answers)
        listening = self.listening.get
        return Seeder(torrent.info_hash, listening("IPv4"), listening("IPv6"))

    def _wait(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (self.listening, self.answered)
            self.session.wait_for_alert(500)
            for alert in self.session.pop_alerts():
                self._take(alert)

    def _take(self, alert):
        if isinstance(alert, self.libtorrent.tracker_reply_alert):
            self.answered.add((str(alert.handle.info_hash()), alert.url))
        elif isinstance(alert, self.libtorrent.listen_succeeded_alert):
            family = "IPv6" if ":" in alert.address else "IPv4"
            self.listening[family] = (alert.address, alert.port)


@pytest.fixture(scope="session")
def new_client(tmp_path_factory):
    """A function that starts a libtorrent Client; its arguments are the Client's own."""
    libtorrent = pytest.importorskip(
        "libtorrent", reason="libtorrent is not here: pip install libtorrent"
    )
    return lambda *arguments: Client(libtorrent, tmp_path_factory.mktemp("seeds"), *arguments)


@pytest.fixture(scope="session")
def client(new_client):
    """A libtorrent Client over IPv4 and IPv6."""
    require_ipv6()
    return new_client("127.0.0.1:0,[::1]:0")


@pytest.fixture(scope="module")
def loopback_tracker():
    with LoopbackTracker([LOOPBACK_TRACKER_ADDRESS]) as tracker:
        yield tracker


def join_swarms(url):
    """Announces peers of a third of SWARMS over HTTP; returns {info hash: (seeders, leechers)}.

    Not all of a list of 200 are found by opentracker: a torrent that is refused has nobody.
    """
    address = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE)
    joined = dict.fromkeys(SWARMS, (0, 0))
    for number, info_hash in enumerate(SWARMS[::3]):
        seeders, leechers = number % 5, number // 5 % 4
        for peer in range(seeders + leechers):
            query = {
                "info_hash": bytes.fromhex(info_hash),
                "peer_id": "-XX0000-%012d" % peer,
                "port": 1000 + peer,
                "uploaded": 0,
                "downloaded": 0,
                "left": 0 if peer < seeders else 1,
                "compact": 1,
                "event": "started",
            }
            connection.request("GET", address.path + "?" + urllib.parse.urlencode(query))
            with connection.getresponse() as response:
                assert response.status == 200
                if b"failure reason" not in response.read():
                    joined[info_hash] = seeders, leechers
            # opentracker closes it after each reply without a word.
            connection.close()
    return joined


@pytest.fixture(scope="session")
def swarms_of(bittorrent_tracker):
    """A function that returns {info hash: Counts} of SWARMS on a tracker; peers join at first."""

    @functools.lru_cache(maxsize=None)
    def counts(tracker):
        # As completed bittorrent-tracker gives the number of seeders, opentracker that of those
        # that have said so.
        as_completed = 1 if tracker == bittorrent_tracker else 0
        return {
            info_hash: Counts(seeders, as_completed * seeders, leechers)
            for info_hash, (seeders, leechers) in join_swarms(tracker.http).items()
        }

    return counts


@pytest.fixture(scope="session")
def torrents():
    """The Torrents of these tests by name, each for a swarm of its own."""
    return TORRENTS


@pytest.fixture(scope="session")
def until():
    """A function that waits until a condition, asked again and again, is true."""

    def wait(condition):
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, "this did not become true in time"

    return wait


@pytest.fixture(scope="session")
def udp_client(run_script):
    return functools.partial(run_script, "udp_tracker_client.py")


@pytest.fixture(scope="session")
def http_client(run_script):
    return functools.partial(run_script, "http_tracker_client.py")


@pytest.fixture(scope="session")
def checker(run_script):
    return functools.partial(run_script, "tracker_checker.py")
