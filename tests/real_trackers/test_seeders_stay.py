# SPDX-License-Identifier: LGPL-3.0-only
"""A client that seeds stays in its swarm, and is counted right, whatever its own host asks.

These trackers know a peer by its address and port. Each client here has a loopback address of its
own, from which the scripts ask as well: so none needs a port that another run of the tests has.
"""

import random
from collections import namedtuple

import pytest

OUR_PEER_ID = "-qB00000000000000001"  # the clients' default
TRACKERS = ["opentracker", "bittorrent_tracker"]
WAYS = ["udp", "http"]
ONLOOKER = "--left 1 --peers-wanted 50 --port 1 --peer-id -XX0000-onlooker0000".split()
# The peers are without the onlooker that asks for them, which counts as incomplete.
Swarm = namedtuple("Swarm", "complete downloaded incomplete peers")
# Makes every connection come from the address in TEST_SOURCE.
SITECUSTOMIZE = """\
import os, socket


class Socket(socket.socket):
    def connect(self, address):
        self.bind((os.environ["TEST_SOURCE"], 0))
        super().connect(address)


socket.socket = Socket
"""


@pytest.fixture(scope="module", params=TRACKERS)
def tracker(request):
    """The URLs of each tracker in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def from_host_of(tmp_path_factory):
    """A function that returns the environment in which a script asks from a seeder's address."""
    folder = tmp_path_factory.mktemp("site")
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
    return lambda seeder: {"PYTHONPATH": str(folder), "TEST_SOURCE": seeder.ipv4[0]}


@pytest.fixture(scope="module")
def start_seeder(new_client, tracker, torrents):
    """A function that seeds a torrent on the tracker, from a new address and the port given."""
    clients = []

    def start(name, port, *fingerprint):
        host = "127.{}.{}.{}".format(*(random.randrange(64, 250) for _ in range(3)))
        clients.append(new_client("{}:{}".format(host, port), *fingerprint))
        # Over HTTP alone: all sessions of a process share their connection ids over UDP, which
        # trackers give to an address. The swarms are the same.
        seeder = clients[-1].seed(torrents[name], tracker.http)
        assert port in (0, seeder.ipv4[1])
        return seeder

    return start


@pytest.fixture(
    scope="module",
    params=[(port, who) for port in (6881, 0) for who in ("as itself", "under our peer id")],
    ids=lambda param: "{} {}".format(*param),
)
def seeder(request, start_seeder, tracker, http_client):
    """A Seeder on port 6881, or on another, under libtorrent's peer id, or under ours."""
    port, who = request.param
    name = "stays on {} {}".format(port or "another port", who)
    seeder = start_seeder(name, port, *([] if who == "as itself" else [OUR_PEER_ID]))
    if hasattr(tracker, "udp6"):
        # The one of these trackers that tells peer ids.
        ask = ["announce", tracker.http, seeder.info_hash, "--compact", 0, *ONLOOKER]
        peer_ids = [bytes.fromhex(peer["peer id"]) for peer in http_client(*ask).json["peers"]]
        assert (OUR_PEER_ID.encode() in peer_ids) == (who != "as itself")
    return seeder


@pytest.fixture
def look_at(tracker, udp_client, http_client):
    """A function that returns a Swarm as the tracker shows it, and has it the same in both ways.

    It asks as a leecher, from another address and under another peer id, which stays there.
    """

    def look(seeder):
        ask = ["announce", tracker.udp, seeder.info_hash, *ONLOOKER]
        # Where the one who asks is listed, too.
        peers = set(udp_client(*ask).json["AnnounceIpv4"]["peers"]) - {"127.0.0.1:1"}
        found = http_client("scrape", tracker.http, seeder.info_hash).json[seeder.info_hash]
        swarm = Swarm(found["complete"], found["downloaded"], found["incomplete"], sorted(peers))
        scraped = udp_client("scrape", tracker.udp, seeder.info_hash).json["Scrape"]
        (entry,) = scraped["torrent_stats"]
        assert tuple(entry.values()) == swarm[:3]
        return swarm

    return look


@pytest.fixture
def alone(look_at, until):
    """A function that waits until a seeder, and the onlooker, are all of a swarm; returns it."""

    def wait(seeder):
        expected = ["{}:{}".format(*seeder.ipv4)]
        seen = []

        def is_alone():
            seen[:] = [look_at(seeder)]
            return seen[0]._replace(downloaded=None) == Swarm(1, None, 1, expected)

        until(is_alone)
        return seen[0]

    return wait


def check_of(checker, url, seeder, *options, env):
    result = checker(url, "--info-hash", seeder.info_hash, "--format", "ndjson", *options, env=env)
    assert (result.code, result.json["status"], result.stderr) == (0, "ok", "")


@pytest.mark.parametrize("way", WAYS)
def test_a_check_takes_nobody_out_and_counts_no_download(
    way, tracker, seeder, from_host_of, checker, alone
):
    before = alone(seeder)
    check_of(checker, getattr(tracker, way), seeder, env=from_host_of(seeder))
    # Over UDP the event stopped of the check may come after its end.
    assert alone(seeder) == before


def test_an_announce_counts_no_download(tracker, seeder, from_host_of, http_client, look_at, alone):
    before = alone(seeder)
    announce = ["announce", tracker.http, seeder.info_hash]
    result = http_client(*announce, env=from_host_of(seeder))
    assert (result.code, result.stderr) == (0, "")
    joined = look_at(seeder)
    assert (joined.complete, set(joined.peers) > set(before.peers)) == (2, True)
    # bittorrent-tracker gives the number of seeders for it.
    downloads = joined.complete if hasattr(tracker, "udp6") else before.downloaded
    assert joined.downloaded == downloads
    assert http_client(*announce, "--event", "stopped", env=from_host_of(seeder)).code == 0
    assert alone(seeder) == before


@pytest.mark.parametrize("way", WAYS)
def test_a_check_that_announces_the_port_of_a_client_takes_it_out(
    way, tracker, start_seeder, from_host_of, checker, alone, look_at, until
):
    """So the tests above see what they are there for."""
    seeder = start_seeder("taken out over " + way, 0)
    alone(seeder)
    options = ["--port", seeder.ipv4[1]]
    check_of(checker, getattr(tracker, way), seeder, *options, env=from_host_of(seeder))
    until(lambda: look_at(seeder)._replace(downloaded=None) == Swarm(0, None, 1, []))
