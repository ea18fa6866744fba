# SPDX-License-Identifier: LGPL-3.0-only
"""The scripts against opentracker, which serves only the torrents on its list."""

import json

import pytest

UNLISTED = "9c38422213e30bff212b30c360d26f9a02136422"


@pytest.fixture(scope="module")
def seeder(client, opentracker, torrents):
    return client.seed(torrents["seeded on opentracker"], opentracker.udp, opentracker.http)


def test_udp_announce_finds_the_seeder(seeder, opentracker, udp_client):
    options = ["--left", "1", "--peers-wanted", "50"]
    result = udp_client("announce", opentracker.udp, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    reply = result.json["AnnounceIpv4"]
    assert reply["seeders"] == 1
    assert "{}:{}".format(*seeder.ipv4) in reply["peers"]


def test_http_announce_finds_the_seeder(seeder, opentracker, http_client):
    options = ["--left", "1", "--event", "started"]
    result = http_client("announce", opentracker.http, seeder.info_hash, *options)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["complete"] == 1
    assert dict(zip(("ip", "port"), seeder.ipv4)) in result.json["peers"]


def test_http_announce_without_compact_is_refused_by_status(seeder, opentracker, http_client):
    options = ["--compact", "0"]
    result = http_client("announce", opentracker.http, seeder.info_hash, *options)
    assert (result.code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert error["kind"] == "http_status"
    assert error["source"] == opentracker.http
    assert "400" in error["message"]


def test_scrape_counts_what_was_announced(opentracker, torrents, udp_client, http_client):
    counted, other = torrents["counted"].info_hash, torrents["nobody has it"].info_hash
    for port, left, event in ((1001, 0, "started"), (1002, 1, "started"), (1003, 1, "started")):
        options = ["--port", port, "--left", left, "--event", event]
        assert udp_client("announce", opentracker.udp, counted, *options).code == 0
    options = ["--port", 1003, "--left", 0, "--event", "completed"]
    assert http_client("announce", opentracker.http, counted, *options).code == 0

    result = udp_client("scrape", opentracker.udp, other, counted)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["Scrape"]["torrent_stats"] == [
        {"seeders": 0, "completed": 0, "leechers": 0},
        {"seeders": 2, "completed": 1, "leechers": 1},
    ]
    result = http_client("scrape", opentracker.http, counted)
    assert (result.code, result.stderr) == (0, "")
    assert result.json == {counted: {"complete": 2, "downloaded": 1, "incomplete": 1}}


def test_full_scrape_has_the_seeded_torrent(seeder, opentracker, http_client):
    result = http_client("scrape", opentracker.http)
    assert (result.code, result.stderr) == (0, "")
    assert result.json[seeder.info_hash]["complete"] == 1


@pytest.mark.parametrize("way", ["udp", "http"])
def test_event_stopped_removes_the_peer(way, opentracker, torrents, udp_client, http_client):
    info_hash = torrents["left over " + way].info_hash
    client = udp_client if way == "udp" else http_client
    leave = ["announce", getattr(opentracker, way), info_hash, "--port", 6881, "--left", 1]

    def leechers():
        stats = udp_client("scrape", opentracker.udp, info_hash).json["Scrape"]["torrent_stats"]
        return stats[0]["leechers"]

    assert client(*leave, "--event", "started").code == 0
    assert leechers() == 1
    assert client(*leave, "--event", "stopped").code == 0
    assert leechers() == 0


def test_udp_announce_of_an_unlisted_torrent_is_told_as_such(opentracker, udp_client):
    result = udp_client("announce", opentracker.udp, UNLISTED)
    assert (result.code, result.stdout) == (1, "")
    error = json.loads(result.stderr)["error"]
    assert error["kind"] == "invalid_response"
    assert "8 bytes" in error["message"]
    assert "opentracker" in error["message"]
    assert "list" in error["message"]


def test_http_announce_of_an_unlisted_torrent_has_a_failure_reason(opentracker, http_client):
    result = http_client("announce", opentracker.http, UNLISTED)
    assert result.code == 1
    assert "not authorized" in result.json["failure reason"]


def test_checker_says_ok_and_leaves_no_peer(opentracker, torrents, checker, udp_client, until):
    info_hash = torrents["checked"].info_hash
    result = checker(opentracker.udp, opentracker.http, "--info-hash", info_hash)
    assert (result.code, result.stderr) == (0, "")
    udp, http = result.json
    stages = [[stage, {"Ok": None}] for stage in ("Setup", "Connect", "Announce", "Scrape")]
    assert udp["Udp"]["Ok"]["results"] == stages
    assert http["Http"]["Ok"]["results"] == stages[2:]

    def nobody():
        result = udp_client("scrape", opentracker.udp, info_hash)
        return result.json["Scrape"]["torrent_stats"][0]["leechers"] == 0

    # The UDP announce that says stopped is not waited for by the checker.
    until(nobody)


def test_checker_shows_which_stage_an_unlisted_torrent_fails(opentracker, checker):
    result = checker(opentracker.udp, opentracker.http)
    assert (result.code, result.stderr) == (0, "")
    udp, http = result.json
    setup, connect, announce, scrape = udp["Udp"]["Err"]["results"]
    assert (setup[1], connect[1], scrape) == ({"Ok": None}, {"Ok": None}, ["Scrape", {"Ok": None}])
    assert "8 bytes" in announce[1]["Err"] and "--info-hash" in announce[1]["Err"]
    announce, scrape = http["Http"]["Err"]["results"]
    assert "not authorized" in announce[1]["Err"] and "--info-hash" in announce[1]["Err"]
    assert scrape == ["Scrape", {"Ok": None}]
