# SPDX-License-Identifier: LGPL-3.0-only
"""The tracker of the tests must serve a real client as the real trackers do."""


def test_a_real_client_is_found_on_the_loopback_tracker(
    client, torrents, loopback_tracker, udp_client, http_client
):
    udp, http = loopback_tracker.udp_url, loopback_tracker.http_url + "/announce"
    seeder = client.seed(torrents["seeded on the loopback tracker"], udp, http)

    result = udp_client("announce", udp, seeder.info_hash, "--peers-wanted", 9)
    assert "{}:{}".format(*seeder.ipv4) in result.json["AnnounceIpv4"]["peers"]
    result = http_client("announce", http, seeder.info_hash)
    assert dict(zip(("ip", "port"), seeder.ipv4)) in result.json["peers"]
