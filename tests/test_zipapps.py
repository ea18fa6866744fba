# SPDX-License-Identifier: LGPL-3.0-only
"""tools/build_zipapps.py: the bundles are the same from any build, and each works alone."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import zipfile

import pytest
from helpers import ROOT, SOON, run_command

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
BUNDLES = [
    "http_tracker_client.pyz",
    "tracker_checker.pyz",
    "tracker_client.pyz",
    "udp_tracker_client.pyz",
]


def build(root, output, python=sys.executable, umask="022", env=None, cwd=None):
    command = 'umask "$1"; shift; exec "$@"'
    tool = os.path.join(str(root), "tools", "build_zipapps.py")
    options = ["--output", str(output)] if output else []
    return run_command(
        ["sh", "-c", command, "sh", umask, python, tool] + options, env=env, cwd=cwd
    )


def contents(folder):
    return {name: (folder / name).read_bytes() for name in os.listdir(str(folder))}


@pytest.fixture(scope="session")
def dist(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dist")
    result = build(ROOT, folder)
    assert (result.code, result.stderr) == (0, "")
    return folder


@pytest.fixture(params=["oldest", "newest"])
def oldest_and_newest(request, pythons):
    versions = list(pythons)
    return pythons[versions[0] if request.param == "oldest" else versions[-1]]


@pytest.fixture
def alone(dist, tmp_path, run_script, oldest_and_newest):
    """A function that runs a bundle which is alone in its folder."""

    def run(bundle, *arguments, **settings):
        shutil.copy(str(dist / bundle), str(tmp_path))
        assert os.listdir(str(tmp_path)) == [bundle]
        return run_script(
            tmp_path / bundle, *arguments, python=oldest_and_newest, cwd=str(tmp_path), **settings
        )

    return run


@pytest.fixture
def copy_of_the_tree(tmp_path):
    """A copy of the sources, with times and modes of its own."""
    copy = tmp_path / "a copy"
    (copy / "tools" / "bundle").mkdir(parents=True)
    for folder in (".", "tools", os.path.join("tools", "bundle")):
        for name in os.listdir(os.path.join(ROOT, folder)):
            if name.endswith(".py") or name == "LICENSE":
                path = str(copy / folder / name)
                shutil.copyfile(os.path.join(ROOT, folder, name), path)
                os.chmod(path, 0o600)
                os.utime(path, (10**9, 10**9))
    return copy


def test_every_build_gives_the_same_bytes(dist, copy_of_the_tree, tmp_path, python):
    result = build(
        copy_of_the_tree,
        tmp_path / "out" / "put",
        python,
        umask="077",
        env={"TZ": "Asia/Kathmandu", "LC_ALL": "C"},
        cwd=str(tmp_path),
    )
    assert (result.code, result.stderr) == (0, "")
    assert contents(tmp_path / "out" / "put") == contents(dist)


def test_the_sums_are_right_and_everyone_may_run_the_bundles(dist):
    assert sorted(os.listdir(str(dist))) == ["SHA256SUMS"] + BUNDLES
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    output = subprocess.check_output(check, cwd=str(dist), universal_newlines=True)
    assert output == "".join(name + ": OK\n" for name in BUNDLES)
    assert [stat.S_IMODE((dist / name).stat().st_mode) for name in BUNDLES] == [0o755] * 4


def test_a_build_replaces_an_older_one(dist, tmp_path):
    for name in BUNDLES:
        (tmp_path / name).write_text("old")
    result = build(ROOT, tmp_path)
    assert result.stdout == (tmp_path / "SHA256SUMS").read_text()
    assert contents(tmp_path) == contents(dist)


def test_without_a_folder_named_it_is_dist(dist, copy_of_the_tree):
    assert build(copy_of_the_tree, None).code == 0
    assert contents(copy_of_the_tree / "dist") == contents(dist)


def test_a_source_that_is_missing_is_an_error_and_nothing_is_written(copy_of_the_tree, tmp_path):
    (copy_of_the_tree / "bencode.py").unlink()
    result = build(copy_of_the_tree, tmp_path / "output")
    assert result.code == 1
    assert "bencode.py" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "output").exists()


def test_nothing_in_a_bundle_depends_on_where_it_was_built(dist):
    for bundle in BUNDLES:
        with zipfile.ZipFile(str(dist / bundle)) as archive:
            entries = archive.infolist()
            assert archive.testzip() is None
        assert [entry.filename for entry in entries] == sorted(entry.filename for entry in entries)
        for entry in entries:
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.create_system == 3
            assert entry.external_attr >> 16 == stat.S_IFREG | 0o644
            assert entry.compress_type == zipfile.ZIP_STORED
            if entry.filename != "__main__.py":
                with open(os.path.join(ROOT, entry.filename), "rb") as source:
                    assert zipfile.ZipFile(str(dist / bundle)).read(entry) == source.read()


def test_udp_client_alone(alone, tracker):
    result = alone("udp_tracker_client.pyz", "announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["AnnounceIpv4"]["seeders"] == 1
    assert tracker.swarm(bytes.fromhex(HASH)).seeders == 1


def test_http_client_alone(alone, tracker):
    result = alone("http_tracker_client.pyz", "announce", tracker.http_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["complete"] == 1
    assert tracker.swarm(bytes.fromhex(HASH)).seeders == 1


def all_ok(report):
    return [list(entry) + list(list(entry.values())[0]) for entry in report] == [
        [kind, "Ok"] for kind in ("Udp", "Health", "Http")
    ]


def configuration(tracker):
    return json.dumps(
        {
            "udp_trackers": [tracker.udp_url],
            "http_trackers": [tracker.http_url],
            "health_checks": [tracker.health_url],
        }
    )


def test_checker_alone(alone, tracker):
    env = {"TORRUST_CHECKER_CONFIG": configuration(tracker)}
    result = alone("tracker_checker.pyz", env=env)
    assert (result.code, result.stderr) == (0, "")
    assert all_ok(result.json)


def test_the_one_tool_alone(alone, tracker):
    result = alone("tracker_client.pyz", "udp", "announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["AnnounceIpv4"]["seeders"] == 1

    result = alone("tracker_client.pyz", "http", "scrape", tracker.http_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert result.json[HASH]["complete"] == 1

    result = alone("tracker_client.pyz", "check", configuration(tracker))
    assert (result.code, result.stderr) == (0, "")
    assert all_ok(result.json)


def test_the_one_tool_monitors(dist, tracker, run_script):
    timing = ["--interval", "1", "--duration", "1"]
    result = run_script(dist / "tracker_client.pyz", "check", "monitor", tracker.udp_url, *timing)
    assert result.code == 0
    (monitored,) = result.json["udp_trackers"]
    assert monitored["status"]["code"] == "ok"


@pytest.mark.parametrize("bundle", BUNDLES)
def test_a_bundle_can_be_started_by_its_name(bundle, dist):
    output = subprocess.check_output([str(dist / bundle), "--version"], universal_newlines=True)
    name, version = output.split()
    assert name == bundle
    assert version[0].isdigit()


def test_help_shows_one_tool(dist, run_script):
    result = run_script(dist / "tracker_client.pyz", "--help")
    assert (result.code, result.stderr) == (0, "")
    for command in ("udp announce", "udp scrape", "http announce", "http scrape", "check monitor"):
        assert "\n  " + command in result.stdout
    assert "\n  tracker_client.pyz check " in result.stdout
    assert ".py " not in result.stdout
    assert run_script(dist / "tracker_client.pyz", "-h")[:3] == result[:3]


@pytest.mark.parametrize("command", ["udp", "http", "check"])
def test_help_of_a_command_speaks_of_the_one_tool(command, dist, run_script):
    result = run_script(dist / "tracker_client.pyz", command, "--help")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: tracker_client.pyz {} ".format(command))
    assert "\n  tracker_client.pyz {} ".format(command) in result.stdout
    assert ".py " not in result.stdout


@pytest.mark.parametrize(
    "arguments, start",
    [
        ([], "tracker_client.pyz: error: no command; udp, http or check "),
        (["announce"], "tracker_client.pyz: error: command 'announce'; udp, http or check "),
        (["\x1b[2J"], "tracker_client.pyz: error: command '\\x1b[2J'; udp, http or check "),
        (["--nonsense"], "tracker_client.pyz: error: command '--nonsense'; udp, http or check "),
        (["udp"], "tracker_client.pyz udp: error: "),
        (["http", "announce"], "tracker_client.pyz http: error: "),
        (["check", "--format", "none"], "tracker_client.pyz check: error: "),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, start, dist, run_script):
    result = run_script(dist / "tracker_client.pyz", *arguments)
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(start)
    assert result.stderr.count("\n") == 1


def test_all_parts_have_one_version(dist, run_script):
    versions = {
        run_script(dist / "tracker_client.pyz", *arguments, "--version").stdout.split()[-1]
        for arguments in ([], ["udp"], ["http"], ["check"])
    }
    versions.add(run_script("bencode.py", "--version").stdout.split()[-1])
    assert len(versions) == 1


@pytest.mark.parametrize(
    "command, needed, others",
    [
        ("udp", "udp_tracker_client", ["http_tracker_client", "tracker_checker", "bencode"]),
        ("http", "http_tracker_client", ["udp_tracker_client", "tracker_checker"]),
        ("check", "tracker_checker", ["udp_tracker_client", "http_tracker_client"]),
    ],
)
def test_only_what_a_command_needs_is_imported(command, needed, others, dist):
    arguments = [sys.executable, "-v", str(dist / "tracker_client.pyz"), command, "--version"]
    trace = subprocess.run(arguments, stderr=subprocess.PIPE, universal_newlines=True).stderr
    # Before Python 3.10 the name of what comes out of a bundle stands without quotes.
    assert re.search("import '?{}\\b".format(needed), trace)
    for other in others:
        assert not re.search("import '?{}\\b".format(other), trace)


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize(
    "command",
    [["udp_tracker_client.pyz", "announce"], ["tracker_client.pyz", "udp", "announce"]],
)
def test_a_signal_ends_a_bundle_without_a_traceback(
    command, number, code, dist, tracker, start_script
):
    tracker.udp_fault = "silent"
    process = start_script(dist / command[0], *command[1:], tracker.udp_url, HASH)
    tracker.wait_for(lambda record: record.action == "connect")
    process.send_signal(number)
    assert process.communicate(timeout=SOON) == ("", "")
    assert process.returncode == code


def test_the_one_tool_ends_a_monitor_with_its_summary(dist, tracker, start_script):
    process = start_script(dist / "tracker_client.pyz", "check", "monitor", tracker.udp_url)
    # The first probe has ended when its line is there.
    assert json.loads(process.stderr.readline())["status"] == "ok"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=SOON)
    assert (process.returncode, errors) == (0, "")
    (monitored,) = json.loads(output)["udp_trackers"]
    assert monitored["status"]["message"] == "monitor interrupted"
