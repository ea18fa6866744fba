# SPDX-License-Identifier: LGPL-3.0-only
"""The scripts against the server of bittorrent-tracker: UDP, HTTP and WebSocket, IPv4 and IPv6."""

import time
from concurrent.futures import ThreadPoolExecutor

import http_tracker_client
import pytest
from http_tracker_client import HttpOptions, open_websocket, run_steps, websocket_announce

PEER_ID = "-XX0000-000000000001"


def as_peer(address):
    return dict(zip(("ip", "port"), address))


def without_peer_id(peers):
    return [{"ip": peer["ip"], "port": peer["port"]} for peer in peers]


@pytest.fixture(scope="module")
def seed(client, torrents):
    """A function that seeds a torrent on some of the tracker's URLs."""
    return lambda name, *urls: client.seed(torrents["seeded on bittorrent-tracker" + name], *urls)


@pytest.fixture(scope="module")
def seeder(seed, bittorrent_tracker):
    return seed("", bittorrent_tracker.udp, bittorrent_tracker.http)


def test_udp_announce_finds_the_seeder(seeder, bittorrent_tracker, udp_client):
    options = ["--left", "1", "--peers-wanted", "50"]
    result = udp_client("announce", bittorrent_tracker.udp, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    reply = result.json["AnnounceIpv4"]
    assert reply["seeders"] == 1
    assert "{}:{}".format(*seeder.ipv4) in reply["peers"]


def test_udp_announce_over_ipv6_counts_the_seeder(seed, bittorrent_tracker, udp_client):
    # Over UDP this tracker lists IPv4 peers only, so there are counts and no peers to see.
    seeder = seed(" over UDP and IPv6", bittorrent_tracker.udp6)
    options = ["--left", "1", "--peers-wanted", "50"]
    result = udp_client("announce", bittorrent_tracker.udp6, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    reply = result.json["AnnounceIpv6"]
    assert (reply["seeders"], reply["leechers"], reply["peers"]) == (1, 1, [])


@pytest.mark.parametrize("compact", [0, 1])
def test_http_announce_finds_the_seeder(compact, seeder, bittorrent_tracker, http_client):
    options = ["--left", 1, "--event", "started", "--compact", compact]
    result = http_client("announce", bittorrent_tracker.http, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["complete"] == 1
    peers = result.json["peers"]
    assert as_peer(seeder.ipv4) in without_peer_id(peers)
    if compact:
        assert not any("peer id" in peer for peer in peers)
    else:
        (peer,) = [peer for peer in peers if peer["port"] == seeder.ipv4[1]]
        assert bytes.fromhex(peer["peer id"]).startswith(b"-LT")


@pytest.mark.parametrize("compact", [0, 1])
def test_http_announce_over_ipv6_finds_the_seeder(compact, seed, bittorrent_tracker, http_client):
    seeder = seed(" over HTTP and IPv6", bittorrent_tracker.http6)
    options = ["--left", 1, "--event", "started", "--compact", compact]
    result = http_client("announce", bittorrent_tracker.http6, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["complete"] == 1
    assert as_peer(seeder.ipv6) in without_peer_id(result.json["peers"])
    assert "peers6" not in result.json


@pytest.mark.parametrize("compact", [0, 1])
def test_peers_of_both_families_come_out_as_one_list(
    compact, seed, bittorrent_tracker, http_client
):
    urls = bittorrent_tracker.http, bittorrent_tracker.http6
    seeder = seed(" over IPv4 and IPv6", *urls)
    options = ["--left", 1, "--event", "started", "--compact", compact]
    for url in urls:
        result = http_client("announce", url, seeder.info_hash, *options)
        assert (result.code, result.stderr) == (0, "")
        peers = without_peer_id(result.json["peers"])
        assert as_peer(seeder.ipv4) in peers
        assert as_peer(seeder.ipv6) in peers


def test_scrape_counts_what_was_announced(bittorrent_tracker, torrents, udp_client, http_client):
    counted, other = torrents["counted"].info_hash, torrents["nobody has it"].info_hash
    for port, left in ((1001, 0), (1002, 0), (1003, 1)):
        options = ["--port", port, "--left", left, "--event", "started"]
        assert udp_client("announce", bittorrent_tracker.udp, counted, *options).code == 0
    options = ["--port", 1004, "--left", 1, "--event", "started"]
    assert http_client("announce", bittorrent_tracker.http6, counted, *options).code == 0

    for url in (bittorrent_tracker.udp, bittorrent_tracker.udp6):
        result = udp_client("scrape", url, other, counted)
        assert (result.code, result.stderr) == (0, "")
        # As "completed" this tracker gives the number of seeders.
        assert result.json["Scrape"]["torrent_stats"] == [
            {"seeders": 0, "completed": 0, "leechers": 0},
            {"seeders": 2, "completed": 2, "leechers": 2},
        ]
    for url in (bittorrent_tracker.http, bittorrent_tracker.http6):
        result = http_client("scrape", url, other, counted)
        assert (result.code, result.stderr) == (0, "")
        assert result.json == {
            other: {"complete": 0, "downloaded": 0, "incomplete": 0},
            counted: {"complete": 2, "downloaded": 2, "incomplete": 2},
        }


def test_scrape_reads_info_hashes_that_came_as_utf8(bittorrent_tracker, http_client):
    # 14 of these 20 bytes are above 0x7f in UTF-8, where each takes two.
    info_hash = "9c38422213e30bff212b30c360d26f9a02136422"
    options = ["--left", 1, "--event", "started"]
    assert http_client("announce", bittorrent_tracker.http, info_hash, *options).code == 0
    result = http_client("scrape", bittorrent_tracker.http, info_hash)
    assert (result.code, result.stderr) == (0, "")
    assert result.json == {info_hash: {"complete": 0, "downloaded": 0, "incomplete": 1}}


def test_full_scrape_has_the_seeded_torrent(seeder, bittorrent_tracker, http_client):
    result = http_client("scrape", bittorrent_tracker.http)
    assert (result.code, result.stderr) == (0, "")
    assert result.json[seeder.info_hash]["complete"] == 1


@pytest.mark.parametrize("way", ["udp", "udp6", "http", "http6"])
def test_event_stopped_removes_the_peer(way, bittorrent_tracker, torrents, udp_client, http_client):
    info_hash = torrents["left over " + way].info_hash
    client = udp_client if way.startswith("udp") else http_client
    leave = ["announce", getattr(bittorrent_tracker, way), info_hash, "--port", 6881, "--left", 1]

    def leechers():
        result = http_client("scrape", bittorrent_tracker.http, info_hash)
        return result.json[info_hash]["incomplete"]

    assert client(*leave, "--event", "started").code == 0
    assert leechers() == 1
    assert client(*leave, "--event", "stopped").code == 0
    assert leechers() == 0


def test_an_unknown_path_is_told_as_a_failure_reason(bittorrent_tracker, http_client, torrents):
    url = bittorrent_tracker.http.replace("/announce", "/other")
    result = http_client("announce", url, torrents["counted"].info_hash)
    assert result.code == 1
    assert "/other" in result.json["failure reason"]


def test_checker_says_ok_and_leaves_no_peer(
    bittorrent_tracker, torrents, checker, http_client, until
):
    info_hash = torrents["checked"].info_hash
    result = checker(*bittorrent_tracker, "--info-hash", info_hash)
    assert (result.code, result.stderr) == (0, "")
    stages = [[stage, {"Ok": None}] for stage in ("Setup", "Connect", "Announce", "Scrape")]
    report = result.json
    assert [entry["Udp"]["Ok"]["results"] for entry in report[:2]] == [stages] * 2
    assert [entry["Http"]["Ok"]["results"] for entry in report[2:4]] == [stages[2:]] * 2
    assert [entry["Ws"]["Ok"]["results"] for entry in report[4:]] == [stages[1:]]

    def nobody():
        result = http_client("scrape", bittorrent_tracker.http, info_hash)
        return result.json[info_hash]["incomplete"] == 0

    # The UDP announce that says stopped is not waited for by the checker.
    until(nobody)


# WebSocket. A peer leaves with its connection, so that a peer to be seen has to keep one.


@pytest.fixture
def incomplete(bittorrent_tracker, http_client):
    """A function that returns how many leechers the tracker counts, as its HTTP side says."""

    def count(info_hash):
        return http_client("scrape", bittorrent_tracker.http, info_hash).json[info_hash][
            "incomplete"
        ]

    return count


@pytest.fixture
def stay(bittorrent_tracker):
    """A function that joins a swarm as PEER_ID, and stays in it to the end of the test."""
    connections = []

    def join(info_hash):
        question = websocket_announce(
            bytes.fromhex(info_hash), PEER_ID.encode(), "started", uploaded=0, downloaded=0, left=1
        )
        deadline = time.monotonic() + 20
        options = HttpOptions(4, "tests", [], tls=None, environ={}, trace=None)
        websocket, answer = run_steps(
            open_websocket(
                bittorrent_tracker.ws,
                options,
                deadline,
                http_tracker_client.ANNOUNCE_LIMIT,
                lambda websocket: websocket.ask(question),
            ),
            deadline,
        )
        connections.append(websocket)
        return answer

    yield join
    for websocket in connections:
        websocket.stream.close()


def test_websocket_announce_and_scrape(bittorrent_tracker, torrents, http_client, incomplete):
    info_hash, other = torrents["left over ws"].info_hash, torrents["nobody has it"].info_hash
    result = http_client("announce", bittorrent_tracker.ws, info_hash, "--left", 1)
    assert (result.code, result.stderr) == (0, "")
    assert result.json == {"complete": 0, "incomplete": 1, "interval": 120}
    result = http_client("announce", bittorrent_tracker.ws, info_hash, "--event", "stopped")
    assert (result.code, result.stderr) == (0, "")
    assert incomplete(info_hash) == 0
    result = http_client("scrape", bittorrent_tracker.ws, other, info_hash)
    assert (result.code, result.stderr) == (0, "")
    nobody = {"complete": 0, "downloaded": 0, "incomplete": 0}
    assert result.json == {other: nobody, info_hash: nobody}


def test_websocket_event_stopped_removes_the_peer(
    bittorrent_tracker, torrents, http_client, incomplete, stay
):
    info_hash = torrents["left over ws"].info_hash
    assert stay(info_hash)[b"incomplete"] == 1
    assert incomplete(info_hash) == 1
    scraped = http_client("scrape", bittorrent_tracker.ws, info_hash).json
    assert scraped[info_hash]["incomplete"] == 1
    leave = ["--event", "stopped", "--peer-id", PEER_ID, "--left", 1]
    result = http_client("announce", bittorrent_tracker.ws, info_hash, *leave)
    assert (result.code, result.json["incomplete"]) == (0, 0)
    assert incomplete(info_hash) == 0


def test_websocket_announce_that_is_refused(bittorrent_tracker, torrents, http_client, checker):
    info_hash = torrents["refused"].info_hash
    result = http_client("announce", bittorrent_tracker.ws, info_hash)
    assert (result.code, result.json) == (1, {"failure reason": "disallowed torrent"})
    (entry,) = checker(bittorrent_tracker.ws, "--info-hash", info_hash).json
    connect, announce, scrape = entry["Ws"]["Err"]["results"]
    assert connect == ["Connect", {"Ok": None}]
    assert "disallowed torrent" in announce[1]["Err"]
    assert scrape == ["Scrape", {"Ok": None}]


def test_fifty_websocket_checks_at_once_by_two_checkers(
    bittorrent_tracker, torrents, checker, incomplete, until
):
    info_hash = torrents["checked at once"].info_hash
    # At as many addresses, since one address is asked four times at once and no more.
    urls = [
        bittorrent_tracker.ws.replace("127.0.0.1", "127.0.0.{}".format(number))
        for number in range(1, 51)
    ]

    def run(_):
        return checker(*urls, "--info-hash", info_hash)

    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(run, range(2)))
    stages = [[stage, {"Ok": None}] for stage in ("Connect", "Announce", "Scrape")]
    for result in results:
        assert (result.code, result.stderr) == (0, "")
        assert [entry["Ws"]["Ok"]["results"] for entry in result.json] == [stages] * 50
    until(lambda: incomplete(info_hash) == 0)
