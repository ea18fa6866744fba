# SPDX-License-Identifier: LGPL-3.0-only
"""Every command of the README does what the README says of it.

Those that need other hosts or torrent clients are in test_many_places.py and
test_torrent_clients.py.
"""
import contextlib
import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.parse
import urllib.request
from xml.etree import ElementTree

import bencode
import pytest
from browser import find_browser
from helpers import ROOT, clean_environment, wait_until
from readme import (
    BLOCKS, HASH, HEALTH_PORT, README, Desk, block, command, commands_of, copy_project, find_tool,
    require,
)

# .ci/run takes this one from the README and runs it: it runs this test.
TEST_COMMANDS = [line for line in commands_of("sh") if "-m pytest" in line]
START = command("sh", "--udp-port")
END = command("sh", "kill")
COMMANDS = [line for line in commands_of("sh") if line not in TEST_COMMANDS + [START, END]]

# What a command prints, by a part of the command; the first that fits counts.
EXPECTED = (
    (
        "-- python3 tracker_checker.py --format table",
        r"\n3 up \(0 partial\), 0 down, 0 unsupported of 3\n\Z",
    ),
    (" --help", r"usage: .*\n(.*\n)*examples:\n"),
    ("bencode.py --info-hash", r'\A\{\n  "AnnounceIpv4": \{\n'),
    ("client.py announce udp://", r'\A\{\n  "AnnounceIpv4": \{\n'),
    ("jq '.Scrape.torrent_stats[0].seeders'", r"\A1\n\Z"),
    ("scrape udp://", r'"torrent_stats": \[\n      \{\n        "seeders": 1,'),
    ("client.py announce http://", r'\A\{\n  "complete": \d+,\n'),
    ("client.py announce ws://", r'\A\{\n  "complete": \d+,\n'),
    (
        "scrape http://",
        r'\A\{"' + HASH + r'":\{"complete":1,"downloaded":\d,"incomplete":0\}\}\n\Z',
    ),
    ("| sed G", r"\Audp://127.0.0.1:\d+\n\nhttp://127.0.0.1:\d+/announce\n\nws://\S+\n\n\Z"),
    ("--format urls", r"\A\Z"),
    ("magnet:?", r"\A(1\t\d\t(udp|http)://\S+\n){2}\Z"),
    ("sort_by", r"\A([\d.]+\t(udp|http|ws)://\S+\n){3}\Z"),
    ("select(.message)", r"\A(\S+\t[^\n]+\n){2}\Z"),
    ("@csv", r'\A("\S+","(ok|error|unsupported)",[\d.]+\n){5}\Z'),
    ("--all-addresses", r"\n[12] up \(0 partial\), [01] down, 0 unsupported of [12]\n\Z"),
    ("--no-announce", r"\n1 up \(0 partial\), 0 down, 0 unsupported of 1\n\Z"),
    ("--health", r"\n1 up \(0 partial\), 0 down, 0 unsupported of 1\n\Z"),
    ("--fail", r"\n1 up \(0 partial\), 0 down, 0 unsupported of 1\nall is well\n\Z"),
    (
        "--format nagios",
        r"\ATRACKERS OK - 2 of 2 up \| up=2;;;0;2 down=0;;;0;2 partial=0;;;0;2 "
        r"time=\d+\.\d\ds\n\Z",
    ),
    (
        "swarms examples/*.torrent --format table",
        r"\n +0 +0 +0 +2 of 2  linux\n(.*\n)*3 torrents, 3 without",
    ),
    ("--format prometheus", r"\A\Z"),
    ("--format html", r"\A(\{.*\}\n)?\Z"),
    (
        "monitor examples/trackers.txt",
        r"(?s)\A\d\d:\d\d:\d\d  .*\nUPTIME +PROBES +MIN .*100\.0% +2 .*\n +0\.0% +2 ",
    ),
    ("monitor udp://", r'\A\{"udp_trackers":\[\{"url":"udp://\S+","status":\{"code":"ok",'),
    ("linux.torrent", r"\Alinux\n\Z"),
    ("build_zipapps.py", r""),
    ("sha256sum", r"\A(\S+: OK\n){4}\Z"),
    ("ws://", r"\n3 up \(0 partial\), 0 down, 0 unsupported of 3\n\Z"),
    ("trackers.txt", r"\n3 up \(0 partial\), 1 down, 1 unsupported of 5\n\Z"),
)


@pytest.fixture
def desk(tmp_path, tracker):
    """A Desk, with a seeder in the swarm of the examples."""
    tracker.add_peer(bytes.fromhex(HASH), "127.0.0.1", 6881, left=0)
    return Desk(tmp_path, tracker)


@pytest.mark.parametrize("line", COMMANDS)
def test_command(line, desk):
    require(*(tool for tool in ("jq", "curl") if tool in line))
    if "dist" in line:
        assert desk.run("python3 tools/build_zipapps.py").code == 0
    pattern = [pattern for part, pattern in EXPECTED if part in line][0]
    result = desk.run(line)
    assert result.code == 0, result.stderr
    assert re.search(pattern, result.stdout), result.stdout


def test_files_that_commands_write(desk):
    for part in ("urls - <", "-o torrents.prom", "-o trackers.prom", "-o trackers.html examples"):
        assert desk.run(command("sh", part)).code == 0
    written = {
        name: (desk.folder / name).read_text()
        for name in ("working.txt", "torrents.prom", "trackers.prom", "trackers.html")
    }
    assert len(written["working.txt"].splitlines()) == 3
    assert 'torrent_seeders{info_hash="' in written["torrents.prom"]
    assert 'tracker_up{tracker="udp://127.0.0.1:9",protocol="udp"} 0\n' in written["trackers.prom"]
    assert "3 up (0 partial), 1 down, 1 unsupported of 5" in written["trackers.html"]


def test_test_command_is_run_by_ci():
    assert len(TEST_COMMANDS) == 1
    with open(os.path.join(ROOT, ".ci", "run"), encoding="utf-8") as file:
        assert "README.md" in file.read()


def test_every_block_is_run_by_a_test():
    """No block that a reader would paste is of a kind that no test here knows."""
    kinds = {"sh", "bash", "cron", "ini", "nagios", "icinga", "yaml", "json", "text"}
    assert {kind for kind, _ in BLOCKS} == kinds
    tests = ""
    for name in ("test_readme.py", "test_many_places.py", "test_torrent_clients.py"):
        with open(os.path.join(ROOT, "tests", name), encoding="utf-8") as file:
            tests += file.read()
    parts = re.findall(r'command\("bash", "([^"]+)"\)', tests)
    for line in commands_of("bash"):
        assert [part for part in parts if part in line], line


def test_it_is_got(desk, tmp_path):
    """git clone, and curl of single files, from a folder in place of the address."""
    require("curl", "git")
    source = tmp_path / "published" / "tracker-clients.git"
    (source / "raw").mkdir(parents=True)
    copy_project(source)
    (source / "raw" / "main").symlink_to(source)
    git = "git -c user.name=somebody -c user.email=somebody@example.org"
    prepared = "git init -q && git add . && {} commit -q -m all".format(git)
    assert desk.run(prepared, cwd=str(source)).code == 0
    desk.names["https://example.org/tracker-clients.git"] = str(source)
    desk.names["https://example.org/tracker-clients"] = "file://" + str(source)
    lines = command("bash", "git clone"), command("bash", "--remote-name-all")
    for number, line in enumerate(lines):
        folder = tmp_path / str(number)
        folder.mkdir()
        result = desk.run(line + " && python3 tracker_checker.py --version", cwd=str(folder))
        assert (result.code, result.stdout) == (0, "tracker_checker.py 0.1.0\n"), result.stderr


def test_a_list_on_the_web(desk):
    require("curl")
    desk.names["https://example.org/trackers.txt"] = "file://" + desk.names["/etc/trackers.txt"]
    result = desk.run(command("bash", "https://example.org/trackers.txt"))
    assert (result.code, len(result.stdout.splitlines())) == (0, 3)


def assert_mails_nothing(result):
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("part", ["*/5 * * * * chronic", "report="])
def test_cron_line_says_nothing_while_all_is_well_and_mails_the_table_if_not(desk, part):
    line = command("cron", part)
    if "chronic" in line:
        require("chronic")
    line = line.split(" ", 5)[5]
    assert re.search(r"\nerror .* udp://127\.0\.0\.1:9 ", desk.run(line).stdout)
    trackers = desk.folder / "examples" / "trackers.txt"
    trackers.write_text(re.sub(r".*:9 .*\n|i2p.*\n", "", trackers.read_text()))
    assert_mails_nothing(desk.run(line))


def test_cron_line_mails_the_torrents_with_few_seeders(desk, tracker):
    require("chronic")
    line = command("cron", "--min-seeders").split(" ", 5)[5]
    assert re.search(r"\n +0 +0 +0 +2 of 2  linux\n", desk.run(line).stdout)
    for path in (desk.folder / "examples").glob("*.torrent"):
        info = bencode.decode(path.read_bytes())[b"info"]
        tracker.set_counts(hashlib.sha1(bencode.encode(info)).digest(), 3, 0, 0)
    assert_mails_nothing(desk.run(line))


def test_nagios_command(desk):
    line = re.search(r"command_line +(.*)", block("nagios", "define command")).group(1)
    line = line.replace("$ARG1$", "3").replace("$ARG2$", "/etc/trackers.txt")
    result = desk.run(line)
    assert result.code == 1
    assert result.stdout.startswith("TRACKERS WARNING - 1 of 4 down: udp://127.0.0.1:9 (")


def test_icinga_command(desk):
    text = block("icinga", "CheckCommand")
    words = json.loads(re.search(r"command = (\[.*\])", text).group(1))
    values = dict(re.findall(r'vars\.(\w+) = "?([^"\n]+)"?', text))
    for option, name in re.findall(r'"(--\w+)" = "\$(\w+)\$"', text):
        words += [option, values[name]]
    words.append(values[re.search(r'value = "\$(\w+)\$", skip_key = true', text).group(1)])
    result = desk.run(" ".join(map(shlex.quote, words)))
    assert words[-3:] == ["--critical", "1", "/etc/trackers.txt"]
    assert result.code == 2 and result.stdout.startswith("TRACKERS CRITICAL - 1 of 4 down: ")


UNITS = ("tracker-check.service", "tracker-check.timer", "tracker-monitor.service")


def example(*names):
    with open(os.path.join(ROOT, "examples", *names), encoding="utf-8") as file:
        return file.read()


def test_examples_are_what_the_readme_shows():
    shown = [text for kind, text in BLOCKS if kind in ("ini", "yaml")]
    files = [example("systemd", name) for name in UNITS]
    files += [example(name) for name in ("alerts.yml", "relabel.yml", "places.yml")]
    assert shown == files


def test_units_are_valid_and_do_their_work(desk, tmp_path):
    require("systemd-analyze")
    for name in UNITS:
        shutil.copy(os.path.join(ROOT, "examples", "systemd", name), str(tmp_path))
        subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(tmp_path / name)], check=True
        )
    service, _, monitor = (example("systemd", name) for name in UNITS)
    failed = desk.run(re.search("ExecStart=(.*)", service).group(1))
    assert failed.code == 1 and "3 up (0 partial), 1 down" in failed.stdout
    desk.names["/var/lib/prometheus/node-exporter"] = str(tmp_path)
    watch = re.search("ExecStart=(.*)", monitor).group(1)
    assert desk.run("timeout --preserve-status 3 " + watch).code == 0
    assert "\ntracker_up{" in (tmp_path / "trackers.prom").read_text()


ALERT_TESTS = """\
rule_files: [alerts.yml]
tests:
  - interval: 1m
    input_series:
      - {series: 'tracker_up{tracker="udp://a",protocol="udp"}', values: '1x5 0x40'}
      - {series: 'tracker_up{tracker="udp://b",protocol="udp"}', values: '1x60'}
      - {series: 'tracker_up{tracker="i2p://c",protocol="unsupported"}', values: '0x60'}
      - {series: 'tracker_last_check_timestamp_seconds{tracker="udp://a"}', values: '0x60'}
      - series: 'tracker_certificate_expiry_timestamp_seconds{tracker="https://d"}'
        values: '604860x60'
    alert_rule_test:
      - {eval_time: 15m, alertname: TrackerDown, exp_alerts: []}
      - eval_time: 22m
        alertname: TrackerDown
        exp_alerts:
          - exp_labels: {tracker: 'udp://a', protocol: udp}
            exp_annotations: {summary: 'udp://a is down'}
      - {eval_time: 29m, alertname: TrackerCheckStale, exp_alerts: []}
      - eval_time: 31m
        alertname: TrackerCheckStale
        exp_alerts:
          - exp_labels: {tracker: 'udp://a'}
            exp_annotations: {summary: 'udp://a has not been checked for half an hour'}
      - {eval_time: 0m, alertname: TrackerCertificateEnds, exp_alerts: []}
      - eval_time: 5m
        alertname: TrackerCertificateEnds
        exp_alerts:
          - exp_labels: {tracker: 'https://d'}
            exp_annotations: {summary: 'the certificate of https://d ends within a week'}
      - {eval_time: 30m, alertname: TrackerMetricsMissing, exp_alerts: []}
  - interval: 1m
    input_series:
      - {series: 'node_load1', values: '1x60'}
    alert_rule_test:
      - {eval_time: 14m, alertname: TrackerMetricsMissing, exp_alerts: []}
      - eval_time: 16m
        alertname: TrackerMetricsMissing
        exp_alerts:
          - exp_labels: {}
            exp_annotations: {summary: 'no tracker is checked at all'}
"""


def test_alerts_fire_when_they_should(tmp_path):
    require("promtool")
    (tmp_path / "alerts.yml").write_text(example("alerts.yml"))
    (tmp_path / "test.yml").write_text(ALERT_TESTS)
    subprocess.run(["promtool", "test", "rules", str(tmp_path / "test.yml")], check=True)


METRICS = """\
tracker_up{tracker="http://tracker.example.org:80/SECRET/announce?passkey=SECRET",protocol="http"} 1
tracker_up{tracker="https://me:SECRET@tracker.example.net/announce",protocol="http"} 1
tracker_up{tracker="udp://tracker.example.org:6969",protocol="udp"} 1
node_load1 1
"""


@contextlib.contextmanager
def serving(text):
    """A web server that has one text; gives its host:port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield "127.0.0.1:{}".format(server.server_port)
        server.shutdown()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_passkeys_do_not_reach_prometheus(tmp_path):
    """A real Prometheus scrapes with this configuration, and knows no passkey."""
    require("prometheus")
    with serving(METRICS) as target:
        config = example("relabel.yml").replace("127.0.0.1:9100", target)
        (tmp_path / "prometheus.yml").write_text("global: {scrape_interval: 1s}\n" + config)
        url = "http://127.0.0.1:{}".format(free_port())
        process = subprocess.Popen(
            [
                "prometheus", "--config.file=" + str(tmp_path / "prometheus.yml"),
                "--storage.tsdb.path=" + str(tmp_path / "data"),
                "--web.listen-address=" + url[len("http://"):],
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        query = url + "/api/v1/query?query=" + urllib.parse.quote("{job='node'}")
        answers = []

        def scraped():
            with contextlib.suppress(OSError):
                answers.append(urllib.request.urlopen(query).read().decode())
                return "tracker.example" in answers[-1]

        try:
            wait_until(scraped, 60)
        finally:
            process.terminate()
            process.wait()
    labels = [series["metric"] for series in json.loads(answers[-1])["data"]["result"]]
    assert "SECRET" not in answers[-1]
    assert {each["tracker"] for each in labels if "tracker" in each} == {
        "http://tracker.example.org:80", "https://tracker.example.net",
        "udp://tracker.example.org:6969",
    }
    assert "node_load1" in [each["__name__"] for each in labels]


def test_configuration_example_is_valid(desk):
    configuration = block("json", "udp_trackers")
    result = desk.run("python3 tracker_checker.py --format table {}".format(
        shlex.quote(configuration)
    ))
    assert "3 up (0 partial), 0 down" in result.stdout, result.stdout + result.stderr


def test_tables_name_what_there_is(desk):
    metrics = "".join(
        desk.run("python3 tracker_checker.py {} --format prometheus".format(rest)).stdout
        for rest in ("examples/trackers.txt", "swarms examples/*.torrent")
    )
    names = re.findall(r"^# TYPE (\w+)", metrics, re.MULTILINE)
    assert len(names) > 12
    for name in names:
        assert "`{}`".format(name) in README
    helped = desk.run("python3 tracker_checker.py --help").stdout
    for name in re.search(r"--format \{([\w,]+)\}", helped).group(1).split(","):
        assert "`{}`".format(name) in README or name == "pretty"
    lines = desk.run(
        "python3 tracker_checker.py --format ndjson --label from=here examples/trackers.txt"
    ).stdout.splitlines()
    keys_shown = README.split("<summary>The keys of")[1].split("</details>")[0]
    for key in {key for line in lines for key in json.loads(line)}:
        assert "`{}`".format(key) in keys_shown


def test_every_promise_has_a_test_that_there_is():
    rows = README.split("| what happens | ")[1].split("\n\n")[0].splitlines()[2:]
    assert len(rows) > 10
    for row in rows:
        tests = re.findall(r"`(tests/[\w./]+)`", row.split(" | ")[-1])
        assert tests, row
        for test in tests:
            assert os.path.exists(os.path.join(ROOT, test)), test


def test_links_and_pictures_are_there():
    for link in re.findall(r"\]\(([^)]+)\)", README):
        if not link.startswith("https://"):
            path = os.path.join(ROOT, link)
            assert os.path.exists(path), link
            assert os.path.isdir(path) or os.path.getsize(path) < 200000


def test_a_port_that_is_taken_is_named(run_script, tracker):
    result = run_script("tests/loopback_tracker.py", "--udp-port", tracker.udp_port)
    assert (result.code, result.stdout) == (2, "")
    message = "cannot listen: udp on 127.0.0.1:{}: Address already in use\n"
    assert result.stderr == message.format(tracker.udp_port)


# In a network of its own: what needs the README's own ports.

FOLLOW = """\
set -u
unset HOME
cd {folder}
{commands}
"""
LISTENS = "until (exec 3<>/dev/tcp/127.0.0.1/{}) 2>/dev/null; do sleep 0.1; done"


@pytest.fixture
def isolated():
    """A function that runs a command in a network of its own, with nothing but loopback in it."""
    require("unshare", "ip")
    for options in ("-n", "-rn"):
        isolate = [find_tool("unshare"), options]
        if not subprocess.run(isolate + ["true"], stderr=subprocess.DEVNULL).returncode:
            break
    else:
        pytest.skip("no network of its own is permitted here: unshare -rn true")

    def run(arguments, environment):
        up = "{} link set lo up && exec ".format(shlex.quote(find_tool("ip")))
        inner = up + " ".join(map(shlex.quote, arguments))
        return subprocess.run(
            isolate + ["sh", "-c", inner], env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8", timeout=100,
        )

    return run


def drop_rights():
    """Returns the command that runs another as a user without rights, for root alone."""
    if os.getuid() != 0:
        return []
    require("setpriv")
    return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--no-new-privs"]


def test_it_is_followed_to_the_letter(isolated):
    """All sh blocks in their order in one shell, on the README's own ports, in a new clone.

    By a user without rights elsewhere and without a HOME, in a folder with a space in its name.
    """
    require("jq", "curl")
    unprivileged = drop_rights()
    # Not in tmp_path, whose parents only its owner may enter.
    with tempfile.TemporaryDirectory() as parent:
        os.chmod(parent, 0o755)
        folder = os.path.join(parent, "a new clone")
        os.mkdir(folder)
        copy_project(folder)
        if unprivileged:
            for path, folders, files in os.walk(folder):
                for name in [path] + [os.path.join(path, name) for name in folders + files]:
                    os.chown(name, 65534, 65534)
        lines = []
        for number, line in enumerate(commands_of("sh")):
            if line not in TEST_COMMANDS:
                lines += ["echo '=== {}'".format(number), line, "echo \"--- $?\""]
            # Before the next command the reader sees where the tracker listens.
            if line == START:
                lines.append(LISTENS.format(HEALTH_PORT))
        script = os.path.join(parent, "follow.sh")
        with open(script, "w") as file:
            file.write(FOLLOW.format(folder=shlex.quote(folder), commands="\n".join(lines)))
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1"}
        # An interpreter of root's own is of no use to another.
        if unprivileged and subprocess.run(
            unprivileged + ["python3", "-c", ""], env=environment, stderr=subprocess.DEVNULL
        ).returncode:
            environment["PATH"] = "/usr/local/bin:/usr/bin:/bin"
        follow = unprivileged + ["bash", "-o", "pipefail", script]
        result = isolated(follow, environment)
        left = sorted(os.listdir(folder))
    print(result.stdout, result.stderr)
    codes = re.findall(r"^--- (\d+)$", result.stdout, re.MULTILINE)
    assert codes == ["0"] * (len(commands_of("sh")) - len(TEST_COMMANDS))
    assert "\n   1      0     0   2 of 2  linux\n" in result.stdout
    assert "3 up (0 partial), 1 down, 1 unsupported of 5" in result.stdout
    assert {"dist", "trackers.html", "trackers.prom", "working.txt"} <= set(left)


def test_the_pictures_are_made_from_real_runs(isolated, tmp_path):
    if not find_browser():
        pytest.skip("chromium is not here: apt-get install chromium")
    make = os.path.join(ROOT, "tools", "make_pictures.py")
    result = isolated(
        [sys.executable, make, "--seconds", "3", "--output", str(tmp_path)],
        clean_environment({"HOME": str(tmp_path)}),
    )
    assert result.returncode == 0, result.stderr
    table = ElementTree.parse(str(tmp_path / "table.svg"))
    text = " ".join(table.getroot().itertext())
    assert "6 up (1 partial), 5 down, 1 unsupported of 12" in text
    page = (tmp_path / "page.png").read_bytes()
    assert page.startswith(b"\x89PNG") and len(page) > 20000
