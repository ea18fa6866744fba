# SPDX-License-Identifier: LGPL-3.0-only
"""Every script does its main job on every Python from 3.6 to 3.13, without a warning."""

import json

import pytest
from helpers import json_lines

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
SCRIPTS = ["udp_tracker_client.py", "http_tracker_client.py", "tracker_checker.py", "bencode.py"]


@pytest.fixture
def ask(run_script, python):
    """A function that runs a script on the Python in turn and returns its JSON."""

    def run(*arguments, **settings):
        result = run_script(*arguments, python=python, **settings)
        # A warning would be on stderr, or an error of its own, since warnings are errors.
        assert (result.code, result.stderr) == (0, "")
        return result.json

    return run


def test_udp_client(ask, tracker):
    reply = ask("udp_tracker_client.py", "announce", tracker.udp_url, HASH)
    assert reply["AnnounceIpv4"]["seeders"] == 1
    reply = ask("udp_tracker_client.py", "scrape", tracker.udp_url, HASH)
    assert reply["Scrape"]["torrent_stats"] == [{"seeders": 1, "completed": 0, "leechers": 0}]


def test_http_client(ask, tracker):
    reply = ask("http_tracker_client.py", "announce", tracker.http_url, HASH)
    assert (reply["complete"], reply["peers"]) == (1, [])
    reply = ask("http_tracker_client.py", "scrape", tracker.http_url, HASH)
    assert reply == {HASH: {"complete": 1, "downloaded": 0, "incomplete": 0}}


def test_checker(ask, tracker):
    configuration = {
        "udp_trackers": [tracker.udp_url],
        "http_trackers": [tracker.http_url],
        "health_checks": [tracker.health_url],
    }
    report = ask("tracker_checker.py", env={"TORRUST_CHECKER_CONFIG": json.dumps(configuration)})
    assert [list(entry) for entry in report] == [["Udp"], ["Health"], ["Http"]]
    assert all(list(*entry.values()) == ["Ok"] for entry in report)


def test_monitor(run_script, python, tracker):
    arguments = ["monitor", tracker.udp_url, tracker.http_url, "--interval", "1", "--duration", "1"]
    result = run_script("tracker_checker.py", *arguments, python=python)
    assert result.code == 0
    for kind in ("udp_trackers", "http_trackers"):
        (summary,) = result.json[kind]
        assert summary["status"]["code"] == "ok"
    probes = json_lines(result.stderr)
    assert [probe["status"] for probe in probes] == ["ok", "ok"]


def test_bencode(ask, tmp_path):
    (tmp_path / "reply").write_bytes(b"d8:intervali120e5:peers2:\xff\x00e")
    assert ask("bencode.py", tmp_path / "reply") == {"interval": 120, "peers": {"hex": "ff00"}}


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_version_and_wrong_usage(script, run_script, python):
    result = run_script(script, "--help", python=python)
    assert (result.code, result.stderr) == (0, "")
    assert script in result.stdout
    result = run_script(script, "--version", python=python)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith(script + " ")
    result = run_script(script, "--nonsense", python=python)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(script + ": error: ")
    assert result.stderr.count("\n") == 1
