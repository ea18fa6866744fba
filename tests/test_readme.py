# SPDX-License-Identifier: LGPL-3.0-only
"""Every command of the README does what the README says of it."""
import hashlib
import os
import re
import shutil
import subprocess
import sys

import bencode
import pytest
from helpers import ROOT, run_command

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
    README = file.read()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
COMMANDS = [line for kind, block in BLOCKS if kind == "sh" for line in block.splitlines()]
# .ci/run takes this one from the README and runs it: it runs this test.
TEST_COMMAND = [command for command in COMMANDS if "-m pytest" in command]

# What a command prints, by a part of the command; the first that fits counts.
EXPECTED = (
    (
        "-- python3 tracker_checker.py --format table",
        r"3 up \(0 partial\), 0 down, 0 unsupported of 3\n\Z",
    ),
    (" --help", r"usage: .*\n(.*\n)*examples:\n"),
    ("announce udp://", r'\A\{\n  "AnnounceIpv4": \{\n'),
    ("jq '.Scrape.torrent_stats[0].seeders'", r"\A1\n\Z"),
    ("scrape udp://", r'"torrent_stats": \[\n      \{\n        "seeders": 1,'),
    ("announce http://", r'\A\{\n  "complete": \d+,\n'),
    ("scrape http://", r'\A\{"' + HASH + r'":\{"complete":1,"downloaded":\d,"incomplete":0\}\}\n\Z'),
    ("| sed G", r"\Audp://127.0.0.1:\d+\n\nhttp://127.0.0.1:\d+/announce\n\n\Z"),
    ("magnet:?", r"\A(1\t\d\t(udp|http)://\S+\n){2}\Z"),
    ("sort_by", r"\A([\d.]+\t(udp|http)://\S+\n){2}\Z"),
    ("select(.message)", r"\A(\S+\t[^\n]+\n){2}\Z"),
    ("@csv", r'\A("\S+","(ok|error|unsupported)",[\d.]+\n){4}\Z'),
    ("--all-addresses", r"\n1 up \(0 partial\), 0 down, 0 unsupported of 1\n\Z"),
    ("--no-announce", r"\n1 up \(0 partial\), 0 down, 0 unsupported of 1\n\Z"),
    (
        "--format nagios",
        r"\ATRACKERS OK - 2 of 2 up \| up=2;;;0;2 down=0;;;0;2 partial=0;;;0;2 "
        r"time=\d+\.\d\ds\n\Z",
    ),
    ("--format prometheus", r"\A\Z"),
    ("swarms *.torrent --format table", r"\n +0 +0 +0 +1 of 1  linux\n1 torrent, 1 without"),
    ("monitor udp://", r'\A\{"udp_trackers":\[\{"url":"udp://\S+","status":\{"code":"ok",'),
    ("bencode.py --info-hash", r"\A[0-9a-f]{40}\n\Z"),
    ("linux.torrent", r"\Alinux\n\Z"),
    ("build_zipapps.py", r""),
    ("trackers.txt", r"\n2 up \(0 partial\), 1 down, 1 unsupported of 4\n\Z"),
)


@pytest.fixture
def desk(tmp_path, tracker):
    """A function that runs a command of the README in a copy of the project.

    The copy has the files that the README speaks of, and the trackers of its examples are the
    loopback tracker, with a seeder in the swarm.
    """
    tracker.add_peer(bytes.fromhex(HASH), "127.0.0.1", 6881, left=0)
    for name in os.listdir(ROOT):
        if name.endswith(".py") or name == "LICENSE":
            shutil.copy(os.path.join(ROOT, name), str(tmp_path))
    for name in ("tests", "tools"):
        shutil.copytree(os.path.join(ROOT, name), str(tmp_path / name))
    names = {
        "tracker.example.org:6969": "127.0.0.1:{}".format(tracker.udp_port),
        "tracker.example.org%3A6969": "127.0.0.1:{}".format(tracker.udp_port),
        "http://tracker.example.net": tracker.http_url,
        "http%3A%2F%2Ftracker.example.net": tracker.http_url,
        "http://lists.example.org": "file://{}".format(tmp_path),
        "/opt/tracker_checker.py": "{}/tracker_checker.py".format(tmp_path),
        "/etc/trackers.txt": "{}/trackers.txt".format(tmp_path),
    }

    def localize(text):
        for name, here in names.items():
            text = text.replace(name, here)
        return text

    list_of_trackers = "# A list\n\nudp://tracker.example.org:6969\n\ni2p://tracker.example.com\n"
    list_of_trackers += "http://tracker.example.net/announce\n127.0.0.1:9\n"
    (tmp_path / "trackers.txt").write_text(localize(list_of_trackers))
    torrent = {b"announce": tracker.udp_url.encode(), b"info": {b"name": b"linux"}}
    (tmp_path / "linux.torrent").write_bytes(bencode.encode(torrent))
    os.symlink(sys.executable, str(tmp_path / "python3"))

    def run(command):
        return run_command(
            ["bash", "-o", "pipefail", "-c", localize(command)],
            cwd=str(tmp_path),
            env={"PATH": "{}:{}".format(tmp_path, os.environ["PATH"])},
        )

    return run


@pytest.mark.parametrize("command", [c for c in COMMANDS if c not in TEST_COMMAND])
def test_command(command, desk):
    for tool in ("jq", "curl"):
        if tool in command and not shutil.which(tool):
            pytest.skip("{0} is not here: apt-get install {0}".format(tool))
    if "dist/" in command:
        assert desk("python3 tools/build_zipapps.py").code == 0
    pattern = [pattern for part, pattern in EXPECTED if part in command][0]
    result = desk(command)
    assert result.code == 0, result.stderr
    assert re.search(pattern, result.stdout), result.stdout


def test_test_command_is_run_by_ci():
    assert len(TEST_COMMAND) == 1
    with open(os.path.join(ROOT, ".ci", "run"), encoding="utf-8") as file:
        assert "README.md" in file.read()


def block(kind, part):
    return [block for name, block in BLOCKS if name == kind and part in block][0]


def test_cron_line_says_nothing_while_all_is_well_and_mails_the_table_if_not(desk):
    command = block("cron", "--fail").split(" ", 5)[5]
    failing = desk(command)
    assert re.search(r"\nerror .* 127\.0\.0\.1:9 ", failing.stdout)
    assert desk("grep -v -e :9$ trackers.txt > all && mv all trackers.txt").code == 0
    well = desk(command)
    assert (well.code, well.stdout, well.stderr) == (0, "", "")


def test_cron_line_mails_the_torrents_with_few_seeders(desk, tracker):
    command = block("cron", "--min-seeders").split(" ", 5)[5].replace("/srv/torrents/", "")
    few = desk(command)
    assert re.search(r"\n +0 +0 +0 +1 of 1  linux\n", few.stdout)
    info_hash = hashlib.sha1(bencode.encode({b"name": b"linux"})).digest()
    tracker.set_counts(info_hash, 3, 0, 0)
    well = desk(command)
    assert (well.code, well.stdout, well.stderr) == (0, "", "")


def test_alert_rules_are_valid(tmp_path):
    if not shutil.which("promtool"):
        pytest.skip("promtool is not here: apt-get install prometheus")
    rules = tmp_path / "rules.yml"
    rules.write_text(block("yaml", "alert"))
    subprocess.run(["promtool", "check", "rules", str(rules)], check=True)


def test_configuration_example_is_valid(desk, tracker):
    configuration = block("json", "udp_trackers").replace("'", "")
    result = desk("python3 tracker_checker.py --format table '{}'".format(configuration))
    assert "3 up" in result.stdout or "2 up" in result.stdout, result.stdout + result.stderr


def test_tables_name_what_there_is(desk):
    metrics = desk("python3 tracker_checker.py --format prometheus trackers.txt").stdout
    for name in re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE):
        assert "`{}`".format(name) in README
    helped = desk("python3 tracker_checker.py --help").stdout
    for name in re.search(r"--format \{([\w,]+)\}", helped).group(1).split(","):
        assert "`{}`".format(name) in README or name == "pretty"
