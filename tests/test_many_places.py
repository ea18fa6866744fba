# SPDX-License-Identifier: LGPL-3.0-only
"""The README's recipes for many places, with GNU parallel over ssh to real sshds.

Each place is an sshd of its own on 127.0.0.1, with a folder of its own and a resolver of its own:
so a tracker's name leads somewhere from one place and nowhere from another.
"""
import getpass
import json
import os
import subprocess
from collections import namedtuple

import pytest
from helpers import SITECUSTOMIZE, json_lines, run_script, wait_until
from readme import Desk, command, find_tool, require
from test_readme import example, free_port

PLACES = ("berlin", "tokyo", "lima")
LISTED = ("udp://tracker.example.org", "http://tracker.example.net", "udp://tracker.example.com")
# The names that each place knows. Nobody knows tracker.example.com.
KNOWN = {
    "berlin": ("tracker.example.org", "tracker.example.net"),
    "tokyo": ("tracker.example.org", "tracker.example.net"),
    "lima": ("tracker.example.org",),
}

SSHD = """\
ListenAddress 127.0.0.1:{port}
HostKey {keys}/host
AuthorizedKeysFile {keys}/user.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 50
Subsystem sftp internal-sftp
ForceCommand {folder}/enter
"""
# What a session at a place is: its command, in the folder and with the resolver of the place.
ENTER = """\
#!/bin/sh
cd {folder}/home || exit
PATH={bin}:$PATH PYTHONPATH={folder} PYTHONDONTWRITEBYTECODE=1
TEST_LOOKUPS={folder}/lookups TEST_NAMES='{names}'
export PATH PYTHONPATH PYTHONDONTWRITEBYTECODE TEST_LOOKUPS TEST_NAMES
case $SSH_ORIGINAL_COMMAND in
*sftp*) exec {sftp} ;;
*) exec sh -c "$SSH_ORIGINAL_COMMAND" ;;
esac
"""
CLIENT = """\
Host {name}
  HostName 127.0.0.1
  Port {port}
  User {user}
  IdentityFile {keys}/user
  IdentitiesOnly yes
  UserKnownHostsFile {keys}/known_hosts
  StrictHostKeyChecking accept-new
  HostKeyAlias {name}
  BatchMode yes
  LogLevel ERROR
"""
SFTP_SERVERS = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server")

World = namedtuple("World", "desk folders tracker")


def find_sftp_server():
    return next((path for path in SFTP_SERVERS if os.path.exists(path)), None)


@pytest.fixture
def world(tmp_path, tracker):
    """A Desk at which `ssh berlin` and the others work, and the folders at those places."""
    require("sshd", "ssh", "scp", "ssh-keygen", "parallel", "jq")
    version = subprocess.run(
        ["parallel", "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ).stdout
    if not version.startswith(b"GNU parallel"):
        pytest.skip("parallel is not GNU parallel: apt-get install parallel")
    if not find_sftp_server():
        pytest.skip("sftp-server is not here: apt-get install openssh-sftp-server")
    desk = Desk(tmp_path, tracker)
    keys, tools = tmp_path / "keys", tmp_path / "bin"
    keys.mkdir()
    for name in ("host", "user"):
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(keys / name)], check=True
        )
    if os.getuid() == 0:
        # sshd as root wants the folder that a service would make for it.
        os.makedirs("/run/sshd", exist_ok=True)
    servers, config, folders = [], "", {}
    for place in PLACES:
        folder = folders[place] = tmp_path / place
        (folder / "home").mkdir(parents=True)
        (folder / "sitecustomize.py").write_text(SITECUSTOMIZE)
        names = json.dumps({name: ["127.0.0.1"] for name in KNOWN[place]})
        (folder / "enter").write_text(
            ENTER.format(folder=folder, bin=tools, names=names, sftp=find_sftp_server())
        )
        (folder / "enter").chmod(0o755)
        port = free_port()
        (folder / "sshd_config").write_text(SSHD.format(port=port, keys=keys, folder=folder))
        config += CLIENT.format(name=place, port=port, user=getpass.getuser(), keys=keys)
        servers.append(subprocess.Popen(
            [find_tool("sshd"), "-D", "-e", "-f", str(folder / "sshd_config")],
            stdin=subprocess.DEVNULL,
            stderr=open(str(folder / "sshd.log"), "w"),
        ))
    (tmp_path / "ssh_config").write_text(config)
    for name in ("ssh", "scp"):
        exec_it = 'exec {} -F "{}" "$@"'.format(find_tool(name), tmp_path / "ssh_config")
        (tools / name).write_text("#!/bin/sh\n{}\n".format(exec_it))
        (tools / name).chmod(0o755)
    # GNU parallel keeps notes in a HOME.
    desk.env["HOME"] = str(tmp_path)
    ports = {"udp": tracker.udp_port, "http": tracker.http_port}
    (desk.folder / "trackers.txt").write_text("".join(
        "{}:{}{}\n".format(url, ports[url.split(":")[0]], "/announce" * url.startswith("http"))
        for url in LISTED
    ))
    try:
        for place in PLACES:
            wait_until(lambda: desk.run("ssh {} true".format(place)).code == 0)
        yield World(desk, folders, tracker)
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait()


@pytest.fixture
def asked(world):
    """The world once the README's commands have put the bundle there and asked from there."""
    result = world.desk.run(command("bash", "build_zipapps.py && parallel"))
    assert result.code == 0, result.stderr
    for folder in world.folders.values():
        assert (folder / "home" / "tracker_checker.pyz").exists()
    result = world.desk.run(command("bash", "--label from={}"))
    assert result.code == 0, result.stderr
    return world


def statuses_of(text, columns=4):
    """Returns the rows of a table as {first word: the others}, ports left out."""
    rows = [line.split() for line in text.splitlines()]
    assert {len(row) for row in rows} == {columns}
    return {row[0].rsplit(":", 1)[0] if "//" in row[0] else row[0]: row[1:] for row in rows}


def test_one_table_and_what_works_here_but_not_there(asked):
    desk = asked.desk
    lines = json_lines((desk.folder / "places.ndjson").read_text())
    assert sorted(line["labels"]["from"] for line in lines) == sorted(PLACES * 3)
    result = desk.run(command("bash", "as $places"))
    assert result.code == 0, result.stderr
    assert statuses_of(result.stdout) == {
        "TRACKER": ["berlin", "lima", "tokyo"],
        "udp://tracker.example.org": ["ok", "ok", "ok"],
        "http://tracker.example.net": ["ok", "error", "ok"],
        "udp://tracker.example.com": ["error", "error", "error"],
    }
    result = desk.run(command("bash", "select(any("))
    assert result.code == 0, result.stderr
    (line,) = result.stdout.splitlines()
    place, tracker, message = line.split("\t")
    assert place == "lima" and tracker.startswith("http://tracker.example.net:")
    assert "Name or service not known" in message
    require("mlr")
    result = desk.run(command("bash", "mlr --ijsonl"))
    assert result.code == 0, result.stderr
    table = statuses_of(result.stdout)
    # Places stand in the order in which they answered.
    columns = [table["tracker"].index(place) for place in PLACES]
    assert {tracker: [row[column] for column in columns] for tracker, row in table.items()} == {
        "tracker": list(PLACES),
        "udp://tracker.example.org": ["ok", "ok", "ok"],
        "http://tracker.example.net": ["ok", "ok", "error"],
        "udp://tracker.example.com": ["error", "error", "error"],
    }


def test_a_place_that_cannot_be_reached_is_missing_and_the_others_are_there(asked):
    (asked.folders["tokyo"] / "enter").write_text("#!/bin/sh\nexit 255\n")
    result = asked.desk.run(command("bash", "--label from={}"))
    assert result.code == 1
    result = asked.desk.run(command("bash", "as $places"))
    assert statuses_of(result.stdout, 3)["http://tracker.example.net"] == ["ok", "error"]


@pytest.fixture
def pushgateway():
    """The host:port of a running Prometheus pushgateway."""
    require("prometheus-pushgateway", "curl")
    address = "127.0.0.1:{}".format(free_port())
    process = subprocess.Popen(
        ["prometheus-pushgateway", "--web.listen-address=" + address], stderr=subprocess.DEVNULL
    )
    ready = "http://{}/-/ready".format(address)
    wait_until(
        lambda: subprocess.run(["curl", "-fs", ready], stdout=subprocess.DEVNULL).returncode == 0
    )
    yield address
    process.terminate()
    process.wait()


def test_metrics_of_all_places(asked, pushgateway):
    desk = asked.desk
    desk.names["127.0.0.1:9091"] = pushgateway
    push = command("bash", "-X PUT")
    result = desk.run(push)
    assert result.code == 0, result.stderr

    def up():
        lines = desk.run("curl -fsS http://{}/metrics".format(pushgateway)).stdout.splitlines()
        assert sum(line.startswith("push_time_seconds{") for line in lines) == 3
        series = [line for line in lines if line.startswith("tracker_up{")]
        return {
            (place, name): int(line.split()[-1])
            for line in series for place in PLACES for name in LISTED
            if 'vantage="{}"'.format(place) in line and '"{}:'.format(name) in line
        }

    expected = {
        (place, name): int(name.split("//")[1] in KNOWN[place]) for place in PLACES
        for name in LISTED
    }
    assert up() == expected
    # What is not in the list any more is gone; a place that is silent stays as it was.
    trackers = desk.folder / "trackers.txt"
    trackers.write_text(trackers.read_text().splitlines()[0] + "\n")
    (asked.folders["tokyo"] / "enter").write_text("#!/bin/sh\nexit 255\n")
    assert desk.run(push).code == 1
    assert up() == {
        key: value for key, value in expected.items() if key[0] == "tokyo" or key[1] == LISTED[0]
    }


PLACES_TESTS = """\
rule_files: [places.yml]
tests:
  - interval: 1m
    input_series:
      - {series: 'tracker_up{tracker="udp://a",protocol="udp",vantage="berlin"}', values: '1x60'}
      - {series: 'tracker_up{tracker="udp://a",protocol="udp",vantage="lima"}', values: '0x60'}
      - {series: 'tracker_up{tracker="udp://b",protocol="udp",vantage="berlin"}', values: '0x60'}
      - {series: 'tracker_up{tracker="udp://b",protocol="udp",vantage="lima"}', values: '0x60'}
      - {series: 'tracker_up{tracker="udp://c",protocol="udp",vantage="berlin"}', values: '1x60'}
      - {series: 'tracker_up{tracker="udp://c",protocol="udp",vantage="lima"}', values: '1x60'}
      - {series: 'push_time_seconds{job="trackers",vantage="lima"}', values: '0x60'}
    alert_rule_test:
      - {eval_time: 14m, alertname: TrackerDownSomewhere, exp_alerts: []}
      - eval_time: 16m
        alertname: TrackerDownSomewhere
        exp_alerts:
          - exp_labels: {tracker: 'udp://a', protocol: udp, vantage: lima}
            exp_annotations: {summary: 'udp://a is down from lima, and up elsewhere'}
      - eval_time: 16m
        alertname: TrackerDownEverywhere
        exp_alerts:
          - exp_labels: {tracker: 'udp://b'}
            exp_annotations: {summary: 'udp://b is down from all places'}
      - {eval_time: 30m, alertname: PlaceSilent, exp_alerts: []}
      - eval_time: 31m
        alertname: PlaceSilent
        exp_alerts:
          - exp_labels: {job: trackers, vantage: lima}
            exp_annotations: {summary: 'lima has sent nothing for half an hour'}
"""


def test_alerts_of_places(tmp_path):
    require("promtool")
    (tmp_path / "places.yml").write_text(example("places.yml"))
    (tmp_path / "test.yml").write_text(PLACES_TESTS)
    subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], check=True)


def test_one_run_asks_thousands_of_trackers_in_seconds():
    """Why a list is not split on one machine: 5,000 trackers, none of which answers."""
    trackers = "".join("udp://127.0.0.1:9/{}\n".format(number) for number in range(5000))
    result = run_script("tracker_checker.py", "--format", "table", "-", stdin=trackers)
    assert result.stdout.splitlines()[-2].startswith("0 up (0 partial), 5000 down")
    assert result.seconds < 30
