# SPDX-License-Identifier: LGPL-3.0-only
"""What the scripts print is, to the letter, what the Rust clients print.

The expected texts are those of the Rust project's README and of recorded runs. A transaction id
is random, peers have the addresses of this tracker, peer ids are hex (theirs are byte lists), and
no download is counted for an announce with the defaults (theirs says completed).
"""

import json
import re

import pytest

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"

UDP_ANNOUNCE = """\
{
  "AnnounceIpv4": {
    "transaction_id": -888840697,
    "announce_interval": 120,
    "leechers": 0,
    "seeders": 1,
    "peers": []
  }
}
"""
UDP_ANNOUNCE_WITH_PEERS = """\
{
  "AnnounceIpv4": {
    "transaction_id": -888840697,
    "announce_interval": 120,
    "leechers": 2,
    "seeders": 1,
    "peers": [
      "198.51.100.7:6881",
      "198.51.100.8:6882"
    ]
  }
}
"""
UDP_SCRAPE = """\
{
  "Scrape": {
    "transaction_id": -888840697,
    "torrent_stats": [
      {
        "seeders": 1,
        "completed": 0,
        "leechers": 0
      }
    ]
  }
}
"""
UDP_SCRAPE_OF_TWO = """\
{
  "Scrape": {
    "transaction_id": -888840697,
    "torrent_stats": [
      {
        "seeders": 0,
        "completed": 0,
        "leechers": 0
      },
      {
        "seeders": 1,
        "completed": 1,
        "leechers": 2
      }
    ]
  }
}
"""
HTTP_ANNOUNCE = """\
{
  "complete": 1,
  "incomplete": 0,
  "interval": 120,
  "min interval": 120,
  "peers": []
}
"""
HTTP_ANNOUNCE_COMPACT = """\
{"complete":1,"incomplete":0,"interval":120,"min interval":120,"peers":[]}
"""
HTTP_ANNOUNCE_WITH_PEERS = """\
{"complete":1,"incomplete":2,"interval":120,"min interval":120,"peers":[\
{"ip":"198.51.100.7","peer id":"2d5452343030302d6162636465666768696a6b6c","port":6881},\
{"ip":"198.51.100.8","peer id":"2d5452343030302d6262636465666768696a6b6c","port":6882}]}
"""
HTTP_SCRAPE = """\
{
  "9c38422213e30bff212b30c360d26f9a02136422": {
    "complete": 1,
    "downloaded": 0,
    "incomplete": 0
  }
}
"""
HTTP_SCRAPE_COMPACT = """\
{"9c38422213e30bff212b30c360d26f9a02136422":{"complete":1,"downloaded":0,"incomplete":0}}
"""
HTTP_SCRAPE_OF_TWO = """\
{"443c7602b4fde83d1154d6d9da48808418b181b6":{"complete":0,"downloaded":0,"incomplete":0},\
"9c38422213e30bff212b30c360d26f9a02136422":{"complete":1,"downloaded":1,"incomplete":2}}
"""
CHECKER = """\
[
  {
    "Udp": {
      "Ok": {
        "remote_addr": "127.0.0.1:6969",
        "results": [
          [
            "Setup",
            {
              "Ok": null
            }
          ],
          [
            "Connect",
            {
              "Ok": null
            }
          ],
          [
            "Announce",
            {
              "Ok": null
            }
          ],
          [
            "Scrape",
            {
              "Ok": null
            }
          ]
        ]
      }
    }
  },
  {
    "Health": {
      "Ok": {
        "url": "http://127.0.0.1:1212/api/health_check",
        "result": {
          "Ok": "200 OK"
        }
      }
    }
  },
  {
    "Http": {
      "Ok": {
        "url": "http://127.0.0.1:7070/",
        "results": [
          [
            "Announce",
            {
              "Ok": null
            }
          ],
          [
            "Scrape",
            {
              "Ok": null
            }
          ]
        ]
      }
    }
  }
]
"""


@pytest.fixture
def prints(run_script):
    """A function that runs a script, which must succeed, and returns what it prints."""

    def run(*arguments, **settings):
        result = run_script(*arguments, **settings)
        assert (result.code, result.stderr) == (0, "")
        text, ids = re.subn(r'("transaction_id": )-?[0-9]+', r"\g<1>-888840697", result.stdout)
        assert ids == (1 if arguments[0] == "udp_tracker_client.py" else 0)
        return text

    return run


@pytest.fixture
def busy_tracker(tracker):
    """A tracker with a swarm of two leechers, and a seeder who has completed once."""
    peer_ids = b"-TR4000-abcdefghijkl", b"-TR4000-bbcdefghijkl"
    for number, peer_id in enumerate(peer_ids):
        address = "198.51.100.{}".format(7 + number)
        tracker.add_peer(bytes.fromhex(HASH), address, 6881 + number, left=1, peer_id=peer_id)
    return tracker


def test_udp_announce_and_scrape(prints, tracker):
    client = "udp_tracker_client.py"
    assert prints(client, "announce", tracker.udp_url, HASH) == UDP_ANNOUNCE
    assert prints(client, "scrape", tracker.udp_url, HASH) == UDP_SCRAPE


def test_http_announce_and_scrape(prints, tracker):
    client, compact = "http_tracker_client.py", ["--format", "compact"]
    assert prints(client, "announce", tracker.http_url, HASH) == HTTP_ANNOUNCE
    assert prints(client, "announce", tracker.http_url, HASH, *compact) == HTTP_ANNOUNCE_COMPACT
    assert prints(client, "scrape", tracker.http_url, HASH) == HTTP_SCRAPE
    assert prints(client, "scrape", tracker.http_url, HASH, *compact) == HTTP_SCRAPE_COMPACT


def test_announces_of_a_swarm_with_peers(prints, busy_tracker):
    options = ["--compact", "0", "--format", "compact"]
    printed = prints("http_tracker_client.py", "announce", busy_tracker.http_url, HASH, *options)
    assert printed == HTTP_ANNOUNCE_WITH_PEERS
    tracker = busy_tracker.udp_url[len("udp://") :]
    options = ["--peers-wanted", "2"]
    printed = prints("udp_tracker_client.py", "announce", tracker, HASH, *options)
    assert printed == UDP_ANNOUNCE_WITH_PEERS


def test_scrapes_of_two_torrents(prints, busy_tracker, run_script):
    announce = ["announce", busy_tracker.http_url, HASH, "--event", "completed"]
    assert run_script("http_tracker_client.py", *announce).code == 0
    scrape = ["scrape", busy_tracker.http_url, HASH, OTHER_HASH, "--format", "compact"]
    assert prints("http_tracker_client.py", *scrape) == HTTP_SCRAPE_OF_TWO
    scrape = ["scrape", busy_tracker.udp_url, OTHER_HASH, HASH]
    assert prints("udp_tracker_client.py", *scrape) == UDP_SCRAPE_OF_TWO


def test_checker(prints, tracker):
    udp_address = tracker.udp_url[len("udp://") :]
    configuration = {
        "udp_trackers": [udp_address],
        "http_trackers": [tracker.http_url],
        "health_checks": [tracker.health_url],
    }
    printed = prints(
        "tracker_checker.py", env={"TORRUST_CHECKER_CONFIG": json.dumps(configuration)}
    )
    expected = (
        CHECKER.replace("127.0.0.1:6969", udp_address)
        .replace("http://127.0.0.1:7070", tracker.http_url)
        .replace("http://127.0.0.1:1212/api/health_check", tracker.health_url)
    )
    assert printed == expected
