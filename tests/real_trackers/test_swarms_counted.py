# SPDX-License-Identifier: LGPL-3.0-only
"""`swarms` against the trackers of others: each count of many torrents is the right one."""

import pytest
from real_trackers.conftest import SWARMS

WAYS = [
    ("opentracker_of_swarms", "udp"),
    ("opentracker_of_swarms", "http"),
    ("bittorrent_tracker", "udp"),
    ("bittorrent_tracker", "udp6"),
    ("bittorrent_tracker", "http"),
    ("bittorrent_tracker", "http6"),
    ("bittorrent_tracker", "ws"),
]


def count(checker, *urls):
    """Returns the entries of all SWARMS at these trackers."""
    result = checker("swarms", "-", *urls, stdin="\n".join(SWARMS) + "\n")
    assert (result.code, result.stderr) == (0, "")
    assert [entry["info_hash"] for entry in result.json] == SWARMS
    return result.json


def counts_in(entry):
    return entry["seeders"], entry["completed"], entry["leechers"]


@pytest.mark.parametrize("name, way", WAYS, ids=[" ".join(way) for way in WAYS])
def test_all_counts_are_right(name, way, request, swarms_of, checker):
    tracker = request.getfixturevalue(name)
    expected = swarms_of(tracker)
    # Else an order would not matter.
    assert len(set(expected.values())) > 10
    for entry in count(checker, getattr(tracker, way)):
        (said,) = entry["trackers"]
        counts = expected[entry["info_hash"]]
        if said.pop("listed", True) is False:
            # opentracker lists no torrent over HTTP that nobody has.
            assert (name, way) == ("opentracker_of_swarms", "http") and not any(counts)
        assert said == dict(counts._asdict(), tracker=said["tracker"])


def test_of_several_trackers_the_largest_count(
    opentracker_of_swarms, bittorrent_tracker, swarms_of, checker
):
    trackers = opentracker_of_swarms, bittorrent_tracker
    expected = [swarms_of(tracker) for tracker in trackers]
    urls = [url for tracker in trackers for url in tracker]
    for entry in count(checker, *urls):
        said = [each[entry["info_hash"]] for each in expected]
        assert counts_in(entry) == tuple(max(numbers) for numbers in zip(*said))
        assert [counts_in(each) for each in entry["trackers"]] == [said[0]] * 2 + [said[1]] * 5
