# SPDX-License-Identifier: LGPL-3.0-only
"""How tracker_checker.py runs: one result each, in time, politely, whatever trackers do.

Names are looked up by a resolver of the test's own, so that nothing leaves this machine.
"""

import json
import re
import resource
import signal
import ssl
import subprocess
import time
from contextlib import ExitStack
from functools import partial

import pytest
import tracker_checker
import trustme
from helpers import SOON, START, json_lines, run_measured
from loopback_tracker import LoopbackTracker

SCRIPT = "tracker_checker.py"
HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
DEAD_UDP = "udp://127.0.0.1:1"


@pytest.fixture
def check(run_script):
    """A function that runs the checker and returns (its records in the order they came, Result)."""

    def run(*arguments, **settings):
        arguments = ("--format", "ndjson") + arguments
        result = run_script("tracker_checker.py", *arguments, **settings)
        assert "Traceback" not in result.stderr
        return json_lines(result.stdout), result

    return run


@pytest.fixture
def start(start_script):
    return partial(start_script, SCRIPT)


@pytest.fixture
def everywhere():
    """A tracker on all addresses 127.x.y.z, each of which may have a UDP fault of its own."""
    with LoopbackTracker(hosts=("0.0.0.0",)) as running:
        yield running


def by_tracker(records):
    """Returns the records by tracker; each must have exactly one."""
    found = {record["tracker"]: record for record in records}
    assert len(found) == len(records)
    return found


def addresses(network, count):
    """Returns so many addresses 127.network.x.y."""
    return ["127.{}.{}.{}".format(network, 1 + i // 250, 1 + i % 250) for i in range(count)]


# One result each.


def test_silent_trackers_end_together_within_the_timeout_and_a_second(check, everywhere):
    everywhere.udp_fault = everywhere.http_fault = everywhere.health_fault = "silent"
    inputs = []
    for address in addresses(1, 60):
        inputs.append("udp://{}:{}".format(address, everywhere.udp_port))
        inputs.append("http://{}:{}/announce".format(address, everywhere.http_port))
    health = ["--health", "http://127.0.0.1:{}/".format(everywhere.health_port)]
    records, result = check("-", *health, "--timeout", "1.5", stdin="\n".join(inputs))
    found = by_tracker(records)
    assert set(found) == set(inputs + health[1:])
    assert {record["status"] for record in records} == {"timeout"}
    assert all(1400 < record["elapsed_ms"] < 2500 for record in records)
    assert result.seconds < 1.5 + 1 + START


def test_a_dead_tracker_is_known_at_once(check, resolver):
    names = {"dead.example": ["127.0.0.1"]}
    inputs = ["udp://dead.example:1", "http://dead.example:1/announce", "udp://gone.example:1"]
    records, result = check(*inputs, "--timeout", "30", env=resolver(names))
    assert result.seconds < SOON
    found = by_tracker(records)
    assert {record["status"] for record in records} == {"error"}
    assert found[inputs[2]]["stages"][0]["name"] == "setup"
    assert "gone.example" in found[inputs[2]]["message"]


def test_a_name_that_does_not_resolve_is_a_setup_error_with_the_address_as_given(
    run_script, resolver
):
    given = "udp://gone.example:6969/announce"
    result = run_script("tracker_checker.py", given, env=resolver())
    body = result.json[0]["Udp"]["Err"]
    assert (body["remote_addr"], body["url"]) == (given, given)
    assert [name for name, _ in body["results"]] == ["Setup"]
    assert "gone.example" in body["results"][0][1]["Err"]


# Floods.


def test_floods_cost_no_tracker_its_answer(check, start_script, everywhere):
    floods = start_script("tests/floods.py", stdin=subprocess.PIPE)
    port = int(floods.stdout.readline())
    flooding = ["http://{}:{}/announce".format(host, port) for host in addresses(6, 50)]
    live = ["udp://{}:{}".format(host, everywhere.udp_port) for host in addresses(7, 100)]
    records, result = check("-", "--timeout", "5", stdin="\n".join(flooding + live))
    found = by_tracker(records)
    assert set(found) == set(flooding + live)
    assert {found[given]["status"] for given in live} == {"ok"}
    assert result.seconds < 5 + 1 + START


# Low limits.


def test_few_open_files_make_waves(start, everywhere):
    hosts = addresses(1, 300)
    for host in hosts[::5]:
        everywhere.udp_faults[host] = "silent"
    inputs = ["udp://{}:{}".format(host, everywhere.udp_port) for host in hosts]
    inputs += ["http://{}:{}".format(host, everywhere.http_port) for host in hosts[:30]]
    process = start(
        "--format", "ndjson", "--timeout", "1.5", *inputs,
        prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    stdout, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (0, "")
    found = by_tracker(json_lines(stdout))
    assert set(found) == set(inputs)
    for index, given in enumerate(inputs):
        silent = index < 300 and index % 5 == 0
        assert found[given]["status"] == ("timeout" if silent else "ok"), found[given]


def test_the_soft_limit_is_raised_where_it_can_be(start, everywhere):
    everywhere.udp_fault = "silent"
    inputs = ["udp://{}:{}".format(host, everywhere.udp_port) for host in addresses(1, 200)]
    began = time.monotonic()
    process = start(
        "--format", "ndjson", "--timeout", "1", *inputs,
        prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 1024)),
    )
    stdout, stderr = process.communicate(timeout=60)
    # All at once, where 64 would have made seven waves.
    assert time.monotonic() - began < 1 + 1 + START
    assert (process.returncode, stderr, stdout.count("\n")) == (0, "", 200)


# Names.


def test_names_that_hang_do_not_hold_the_others(check, tracker, resolver):
    names, hanging, live = {}, [], []
    for number in range(500):
        name = "name-{}.example".format(number)
        names[name] = "hangs" if number < 50 else ["127.0.0.1"]
        port = tracker.udp_port if number % 10 else tracker.http_port
        url = "{}://{}:{}".format("udp" if number % 10 else "http", name, port)
        (hanging if number < 50 else live).append(url)
    records, result = check(
        "-", "--timeout", "6", env=resolver(names), stdin="\n".join(hanging + live)
    )
    assert (result.code, result.stderr) == (0, "")
    found = by_tracker(records)
    assert set(found) == set(hanging + live)
    assert {found[given]["status"] for given in live} == {"ok"}
    assert {found[given]["status"] for given in hanging} == {"timeout"}
    assert all("name lookup" in found[given]["message"] for given in hanging)
    # Those live were not behind those that hang.
    assert max(found[given]["elapsed_ms"] for given in live) < 5500
    assert result.seconds < 6 + 1 + START


def test_slow_names_do_not_hold_each_other(check, tracker, resolver):
    names = {"name-{}.example".format(number): 0.4 for number in range(240)}
    urls = ["http://{}:{}".format(name, tracker.http_port) for name in names]
    records, _ = check(*urls, "--timeout", "2", "--no-scrape", env=resolver(names))
    assert [record["status"] for record in records] == ["ok"] * 240


def test_a_redirect_to_a_name_that_hangs_does_not_hold_others(check, tracker, resolver):
    names = {"hangs.example": "hangs", "live.example": ["127.0.0.1"]}
    with ExitStack() as stack:
        urls = []
        for name in names:
            other = stack.enter_context(LoopbackTracker(http_fault="redirect-other-host"))
            other.redirect_target = "http://{}:{}/announce".format(name, tracker.http_port)
            urls.append(other.http_url)
        options = ("--timeout", "1", "--no-scrape")
        records, _ = check(*urls, *options, env=resolver(names))
    found = by_tracker(records)
    assert found[urls[0]]["status"] == "timeout"
    # The redirect has lost the parameters, but there was an answer.
    assert "the tracker says" in found[urls[1]]["message"]


def test_each_name_is_looked_up_once_a_run(check, tracker, resolver):
    base = "://live.example:{}/{}/announce"
    urls = ["udp" + base.format(tracker.udp_port, number) for number in range(5)]
    urls += ["http" + base.format(tracker.http_port, number) for number in range(5)]
    env = resolver({"live.example": ["127.0.0.1"]})
    records, _ = check(*urls, env=env)
    assert {record["status"] for record in records} == {"ok"}
    with open(env["TEST_LOOKUPS"]) as lookups:
        assert lookups.read() == "live.example\n"


# All addresses of a name.


TWO = {"two.example": ["127.0.0.2", "127.0.0.1"], "none.example": ["127.0.0.3", "127.0.0.4"]}


def urls_of(tracker, name="two.example"):
    return (
        "udp://{}:{}".format(name, tracker.udp_port),
        "http://{}:{}/announce".format(name, tracker.http_port),
    )


def test_a_dead_first_address_does_not_hide_a_live_second_one(check, tracker, resolver):
    records, _ = check(*urls_of(tracker), env=resolver(TWO))
    assert [record["status"] for record in records] == ["ok", "ok"]
    assert {record["address"].partition(":")[0] for record in records} == {"127.0.0.1"}


def test_all_addresses_are_checks_of_their_own_next_to_each_other(run_script, tracker, resolver):
    udp, http = urls_of(tracker)
    arguments = [DEAD_UDP, udp, tracker.udp_url, http, tracker.http_url, "--all-addresses"]
    result = run_script("tracker_checker.py", *arguments, env=resolver(TWO))
    assert result.code == 0
    bodies = [(kind, outcome, body) for entry in result.json for kind, group in entry.items()
              for outcome, body in group.items()]
    port = ":{}".format(tracker.udp_port)
    assert [(outcome, body["remote_addr"]) for kind, outcome, body in bodies if kind == "Udp"] == [
        ("Err", "127.0.0.1:1"), ("Err", "127.0.0.2" + port), ("Ok", "127.0.0.1" + port),
        ("Ok", "127.0.0.1" + port),
    ]
    assert [body.get("url") for kind, _, body in bodies if kind == "Udp"] == [None, udp, udp, None]
    assert [(outcome, body["url"]) for kind, outcome, body in bodies if kind == "Http"] == [
        ("Err", http), ("Ok", http), ("Ok", tracker.http_url + "/"),
    ]


def test_it_shows_which_address_is_dead(check, run_script, tracker, resolver):
    inputs = [*urls_of(tracker), *urls_of(tracker, "none.example")]
    records, result = check(*inputs, "--all-addresses", env=resolver(TWO))
    found = sorted((record["kind"], record["status"], record["address"]) for record in records)
    ports = {"udp": tracker.udp_port, "http": tracker.http_port}
    assert found == sorted(
        (kind, "ok" if host.endswith(".1") else "error", "{}:{}".format(host, ports[kind]))
        for kind in ports for host in TWO["two.example"] + TWO["none.example"]
    )
    metrics = run_script(
        SCRIPT, *inputs, "--all-addresses", "--format", "prometheus", env=resolver(TWO)
    ).stdout.splitlines()
    up = [line for line in metrics if line.startswith("tracker_up{")]
    assert len(up) == 8
    for kind, port in ports.items():
        for host in TWO["two.example"] + TWO["none.example"]:
            label = 'address="{}:{}"'.format(host, port)
            assert [line.endswith(" 1") for line in up if label in line] == [host.endswith(".1")]


def test_a_redirect_to_another_name_goes_to_that_name(check, tracker, resolver):
    names = {"two.example": ["127.0.0.1"], "other.example": ["127.0.0.2"]}
    with LoopbackTracker(hosts=("127.0.0.2",)) as other:
        tracker.health_fault = "redirect-other-host"
        tracker.redirect_target = "http://other.example:{}/api/health_check".format(
            other.health_port
        )
        health = "http://two.example:{}/".format(tracker.health_port)
        for options in ([], ["--all-addresses"]):
            records, _ = check("--health", health, *options, env=resolver(names))
            assert [record["status"] for record in records] == ["ok"]


def test_waiting_for_a_place_takes_no_processor_time(everywhere, resolver):
    everywhere.udp_fault = "silent"
    # Five addresses each do not fill the places for sockets evenly: some are free, but too few.
    names = {
        "name-{}.example".format(number): addresses(number, 5) for number in range(1, 9)
    }
    inputs = ["udp://{}:{}".format(name, everywhere.udp_port) for name in names]
    result, usage = run_measured(
        SCRIPT, "--timeout", "1.5", *inputs, env=resolver(names),
        prepare=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)),
    )
    assert result.code == 0
    # Half of them wait for one and a half seconds, of which a busy loop would take most.
    assert usage.ru_utime + usage.ru_stime < 0.6


def test_ipv4_and_ipv6_of_a_name(check, run_script, tracker, resolver):
    names = {"both.example": ["::1", "127.0.0.1"]}
    udp, http = urls_of(tracker, "both.example")
    records, _ = check(udp, http, "--all-addresses", env=resolver(names))
    assert sorted((record["kind"], record["status"]) for record in records) == [
        ("http", "error"), ("http", "ok"), ("udp", "error"), ("udp", "ok")
    ]
    records, _ = check(udp, http, "--all-addresses", "-4", env=resolver(names))
    assert [record["status"] for record in records] == ["ok", "ok"]
    records, _ = check(udp, http, "-6", env=resolver(names))
    assert [record["status"] for record in records] == ["error", "error"]
    shown = run_script(
        "tracker_checker.py", udp, http, "--all-addresses", "--format", "urls", env=resolver(names)
    ).stdout
    assert shown == "{}\n{}\n".format(udp, http)


@pytest.mark.parametrize("kind", ["udp", "http"])
def test_the_address_shown_is_the_first_tried_where_none_answered(check, tracker, resolver, kind):
    tracker.udp_fault = tracker.http_fault = "silent"
    ports = {"udp": tracker.udp_port, "http": tracker.http_port}
    (url,) = [url for url in urls_of(tracker) if url.startswith(kind)]
    env = resolver({"two.example": ["127.0.0.1", "127.0.0.9"]})
    (record,), _ = check(url, "--timeout", "2", env=env)
    # The second, at which nobody listens, is the first to fail.
    assert record["message"].index("127.0.0.9") < record["message"].index("127.0.0.1")
    assert record["address"] == "127.0.0.1:{}".format(ports[kind])


def test_the_time_of_a_check_has_its_lookup_in_it(check, tracker, resolver):
    udp, http = urls_of(tracker, "slow.example")
    for options in ([], ["--all-addresses"]):
        records, _ = check(udp, http, *options, env=resolver({"slow.example": 0.4}))
        assert [record["status"] for record in records] == ["ok", "ok"]
        assert all(record["elapsed_ms"] >= 400 for record in records)


# Manners.


def announces(tracker):
    return [record for record in tracker.requests if record.action == "announce"]


def event_of(record):
    if record.protocol == "udp":
        return record.fields["event"]
    return record.fields["parameters"].get("event", b"").decode()


def announced(record):
    """Returns what an announce says: left, port and wanted (numbers) and peer_id (bytes)."""
    if record.protocol == "udp":
        fields = dict(record.fields, wanted=record.fields["num_want"])
    else:
        fields = dict(record.fields["parameters"])
        fields["wanted"] = fields.pop("numwant")
    peer_id = fields["peer_id"]
    return dict({name: int(fields[name]) for name in ("left", "port", "wanted")}, peer_id=peer_id)


def test_no_ghost_stays_and_the_checker_is_never_a_seeder(check, tracker):
    records, _ = check(tracker.udp_url, tracker.http_url)
    assert {record["status"] for record in records} == {"ok"}
    for protocol in ("udp", "http"):
        tracker.wait_for(
            lambda record: record.action == "announce" and record.protocol == protocol
            and event_of(record) == "stopped"
        )
    assert tracker.swarm(HASH) == (0, 0, 0)
    for protocol in ("udp", "http"):
        started, stopped = [record for record in announces(tracker) if record.protocol == protocol]
        assert (event_of(started), event_of(stopped)) == ("started", "stopped")
    for record in announces(tracker):
        fields = announced(record)
        assert (fields["left"], fields["wanted"] in (0, 1)) == (1, True)


def test_port_and_peer_id_are_of_no_client_and_new_for_each_run(check):
    peer_ids = []
    for _ in range(2):
        with LoopbackTracker() as tracker:
            check(tracker.udp_url, tracker.http_url, tracker.http_url + "/x/announce")
            # Over UDP the end of the run does not wait for event stopped.
            tracker.wait_for(lambda record: record.protocol == "udp"
                             and record.action == "announce" and event_of(record) == "stopped")
            # One of each in a run, also when it leaves.
            said = [announced(record) for record in announces(tracker)]
            ((port, peer_id),) = {(fields["port"], fields["peer_id"]) for fields in said}
        assert len(said) >= 6
        assert 49152 <= port <= 65535
        assert re.fullmatch(b"-qB4500-[0-9A-Za-z]{12}", peer_id)
        peer_ids.append(peer_id)
    assert peer_ids[0] != peer_ids[1]


def test_the_port_that_is_announced_can_be_given(check, tracker):
    check(tracker.udp_url, tracker.http_url, "--port", "6881")
    assert {announced(record)["port"] for record in announces(tracker)} == {6881}


@pytest.mark.parametrize("port", ["0", "65536", "-1", "many"])
def test_a_port_that_is_none(run_script, port):
    result = run_script(SCRIPT, "--port", port, DEAD_UDP)
    assert (result.code, result.stdout) == (2, "")
    assert "--port" in result.stderr


def test_a_partial_tracker_is_left_too(check):
    with LoopbackTracker(udp_fault="error-on-scrape", http_fault="missing-files") as tracker:
        records, _ = check(tracker.udp_url, tracker.http_url)
        assert {record["status"] for record in records} == {"partial"}
        for protocol in ("udp", "http"):
            tracker.wait_for(
                lambda record: record.action == "announce" and record.protocol == protocol
                and event_of(record) == "stopped"
            )
        assert tracker.swarm(HASH) == (0, 0, 0)


def test_what_was_not_accepted_is_not_stopped(check):
    with LoopbackTracker(udp_fault="error-on-announce", http_fault="failure") as tracker:
        check(tracker.udp_url, tracker.http_url)
        assert {event_of(record) for record in announces(tracker)} == {"started"}


def test_stopped_is_not_waited_for(check, tracker):
    # The tracker answers after a second: announce, scrape, and then stopped over HTTP.
    slow = tracker.http_url + "/fault/slow/announce"
    records, result = check(slow, "--timeout", "4")
    assert records[0]["status"] == "ok"
    assert result.seconds < 4 + 1 + START
    assert [event_of(record) for record in announces(tracker)] == ["started", "stopped"]


@pytest.mark.parametrize(
    "option, actions",
    [
        ("--no-announce", {("udp", "connect"), ("udp", "scrape"), ("http", "scrape")}),
        ("--no-scrape", {("udp", "connect"), ("udp", "announce"), ("http", "announce")}),
    ],
)
def test_a_stage_can_be_left_out(check, tracker, option, actions):
    tracker.add_peer(HASH, "198.51.100.1", 6881, left=0)
    records, _ = check(tracker.udp_url, tracker.http_url, option)
    assert {(record.protocol, record.action) for record in tracker.requests} == actions
    for record in records:
        assert (record["status"], record["seeders"]) == ("ok", 1)
        left_out = option[len("--no-") :]
        assert left_out not in [stage["name"] for stage in record["stages"]]
        assert ("interval" in record) == (option == "--no-scrape")


def test_nothing_is_announced_where_there_is_no_scrape_url(check, tracker):
    records, _ = check(tracker.http_url + "/tracker", "--no-announce")
    assert records[0]["status"] == "error"
    assert "scrape" in records[0]["message"]
    assert not tracker.requests


def test_at_most_four_http_requests_at_a_time_go_to_a_host(check, tracker):
    tracker.health_fault = tracker.http_fault = "silent"
    health = "http://127.0.0.1:{}/{}"
    options = [word for number in range(6) for word in (
        "--health", health.format(tracker.health_port, number))]
    trackers = ["{}/{}/announce".format(tracker.http_url, number) for number in range(4)]
    records, _ = check(*options, *trackers, "--timeout", "1")
    assert len(records) == 10
    assert {record["status"] for record in records} == {"timeout"}
    times = sorted(record.time for record in tracker.requests)
    assert len(times) == 10
    assert times[3] - times[0] < 1
    # Never a fifth while four are waited for, as far as arrivals on a busy machine can tell.
    assert all(later - earlier > 0.5 for earlier, later in zip(times, times[4:]))


def test_no_tracker_is_asked_twice(check, tracker):
    given = [tracker.udp_url, tracker.udp_url + "/announce", tracker.udp_url[len("udp://") :]]
    records, _ = check(*given, "-", stdin="\n".join(given))
    assert len(records) == 1
    assert [event_of(record) for record in announces(tracker)].count("started") == 1


def test_url_data_goes_along(check, tracker):
    check(tracker.udp_url + "/path?key=1", "--no-scrape")
    record = tracker.wait_for(lambda record: record.action == "announce")
    assert b"/path?key=1" in record.fields.values() or "/path?key=1" in record.fields.values()


# What a tracker says.


HINT = re.compile(r"; --info-hash [a-z ]+\Z")


@pytest.mark.parametrize("fault, said, refused", [
    ("udp error-on-announce", "torrent not registered", True),
    ("udp eight-bytes", "8 bytes", True),
    ("udp announce-short", "16 bytes", False),
    ("udp error-on-connect", "come back later", False),
    ("http failure", "torrent not registered", True),
    ("http failure-404", "torrent not registered", True),
    ("http html-404", "404", False),
])
def test_who_refuses_the_default_hash_may_know_another(check, run_script, fault, said, refused):
    protocol, _, name = fault.partition(" ")
    with LoopbackTracker(**{protocol + "_fault": name}) as tracker:
        url = tracker.udp_url if protocol == "udp" else tracker.http_url
        (record,), _ = check(url)
        ((group,),) = [entry.values() for entry in run_script(SCRIPT, url).json]
        (asked,), _ = check(url, "--info-hash", OTHER_HASH)
    failed = [stage for stage in record["stages"] if not stage["ok"]][0]
    (error,) = [
        outcome["Err"] for stage, outcome in group["Err"]["results"]
        if stage == failed["name"].capitalize()
    ]
    for text in (record["message"], failed["error"], error):
        assert said in text and bool(HINT.search(text)) == refused, text
    assert said in asked["message"] and "--info-hash" not in asked["message"]


# HTTP options.


def test_user_agent_and_headers(check, tracker):
    check(
        tracker.http_url, "--health", tracker.health_url,
        "--user-agent", "a checker/1.0", "--header", "X-Key: secret", "--header", "X-Two: 2",
    )
    asked = [record for record in tracker.requests if record.protocol in ("http", "health")]
    assert len(asked) == 4
    for record in asked:
        headers = dict(record.fields["headers"])
        assert headers["User-Agent"] == "a checker/1.0"
        assert (headers["X-Key"], headers["X-Two"]) == ("secret", "2")


def test_tls_is_verified(check, tmp_path):
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    path = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(path))
    with LoopbackTracker(tls=context) as tracker:
        inputs = [tracker.http_url, "--health", tracker.health_url]
        records, _ = check(*inputs)
        assert [record["status"] for record in records] == ["error", "error"]
        assert not tracker.requests
        for options in (["--cacert", path], ["--insecure"]):
            records, _ = check(*inputs, *options)
            assert [record["status"] for record in records] == ["ok", "ok"]


def test_a_proxy_of_another_kind_is_an_error_of_each_http_check(check, tracker):
    inputs = [tracker.udp_url, tracker.http_url, "--health", tracker.health_url]
    records, result = check(*inputs, env={"all_proxy": "socks5://127.0.0.1:1"})
    assert result.code == 0
    status = {record["kind"]: record["status"] for record in records}
    assert status == {"udp": "ok", "http": "error", "health": "error"}
    assert {record.protocol for record in tracker.requests} == {"udp"}


def test_an_http_proxy_is_used_and_looks_the_names_up(check, tracker, resolver):
    env = resolver({})
    env["http_proxy"] = tracker.http_url
    records, _ = check("http://tracker.example/announce", "--all-addresses", env=env)
    assert [record["status"] for record in records] == ["ok"]
    targets = [record.fields["target"] for record in tracker.requests]
    assert all(target.startswith("http://tracker.example/") for target in targets)


# Interruptions.


def interrupt(process, number):
    """Sends a signal; returns (stdout, stderr) once the process has ended."""
    process.send_signal(number)
    return process.communicate(timeout=30)


def start_and_wait(start, tracker, resolver, *options):
    """Starts a check of a live, and a silent tracker of each kind; returns it once it waits."""
    tracker.udp_faults["127.0.0.2"] = "silent"
    inputs = [
        tracker.udp_url,
        "udp://127.0.0.2:{}".format(tracker.udp_port),
        "udp://hangs.example:1",
        tracker.http_url + "/fault/silent/announce",
        "http://hangs.example:1/announce",
    ]
    env = resolver({"hangs.example": "hangs"})
    process = start(*inputs, "--timeout", "60", *options, env=env)
    # Once the live one was left its result is in.
    tracker.wait_for(lambda record: record.protocol == "udp" and record.action == "announce"
                     and event_of(record) == "stopped", timeout=20)
    tracker.wait_for(lambda record: record.protocol == "http", timeout=20)
    return process, inputs


@pytest.fixture
def two_hosts():
    with LoopbackTracker(hosts=("127.0.0.1", "127.0.0.2")) as running:
        yield running


def test_an_interrupted_check_keeps_what_had_ended(start, tracker):
    tracker.http_fault = "scrape-silent"
    process = start(tracker.http_url, "--timeout", "60", "--format", "ndjson")
    tracker.wait_for(lambda record: record.action == "scrape", timeout=20)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=10)
    record = json.loads(stdout)
    assert (process.returncode, stderr, record["status"]) == (130, "", "interrupted")
    assert [stage["ok"] for stage in record["stages"]] == [True, False]
    assert record["message"] == "scrape: interrupted"
    assert (record["interval"], record["leechers"]) == (120, 1)


def test_an_interrupted_run_reports_all_there_is(start, two_hosts, resolver):
    process, inputs = start_and_wait(start, two_hosts, resolver)
    stdout, stderr = interrupt(process, signal.SIGINT)
    bodies = [(outcome, body) for entry in json.loads(stdout) for group in entry.values()
              for outcome, body in group.items()]
    assert [outcome for outcome, _ in bodies] == ["Ok", "Err", "Err", "Err", "Err"]
    for _, body in bodies[1:]:
        assert "interrupted" in body["results"][-1][1]["Err"]


@pytest.mark.parametrize("name", ["ndjson", "table", "prometheus", "nagios", "urls"])
def test_every_format_is_whole_when_interrupted(start, two_hosts, resolver, name):
    process, inputs = start_and_wait(start, two_hosts, resolver, "--format", name)
    stdout, _ = interrupt(process, signal.SIGINT)
    if name == "ndjson":
        found = by_tracker(json_lines(stdout))
        assert set(found) == set(inputs)
        assert [found[given]["status"] for given in inputs] == ["ok"] + ["interrupted"] * 4
        assert all("interrupted" in found[given]["message"] for given in inputs[1:])
    elif name == "table":
        assert stdout.count("\ninterrupted ") == 4
        assert stdout.endswith("1 up (0 partial), 0 down, 0 unsupported of 5, 4 not finished\n")
    elif name == "prometheus":
        assert stdout.count("\ntracker_up{") == 1
    elif name == "nagios":
        assert stdout.startswith("TRACKERS OK - 1 of 1 up (4 not finished) | up=1;;;0;1 ")
    else:
        assert stdout == two_hosts.udp_url + "\n"


def test_an_interrupted_run_leaves_no_ghost(start, two_hosts, resolver):
    process, _ = start_and_wait(start, two_hosts, resolver)
    interrupt(process, signal.SIGINT)
    assert two_hosts.swarm(HASH) == (0, 0, 0)


def test_a_thread_that_hangs_does_not_hold_the_exit(check, resolver):
    env = resolver({"hangs.example": "hangs"})
    records, result = check("http://hangs.example:1/announce", "--timeout", "1", env=env)
    assert records[0]["status"] == "timeout"
    assert result.seconds < 1 + 1 + START


# A list in the shape of those that people publish.


def published_list(everywhere, dead_port):
    """Returns (text of a list, names, {line: what has to come of it})."""
    udp, http = everywhere.udp_port, everywhere.http_port
    names, expected, lines = {}, {}, ["\ufeff# Trackers, best first", ""]
    for number in range(30):
        names["t{}.example".format(number)] = ["127.0.1.{}".format(number + 1)]
        line = "udp://t{}.example:{}/announce".format(number, udp)
        expected[line] = ("udp", "ok")
        if number < 20:
            expected["http://t{}.example:{}/announce".format(number, http)] = ("http", "ok")
    for number in range(10):
        expected["udp://gone{}.example:{}/announce".format(number, udp)] = ("udp", "error")
        expected["http://gone{}.example:80/announce".format(number)] = ("http", "error")
    for number in range(1, 6):
        expected["udp://127.0.2.{}:{}/announce".format(number, dead_port)] = ("udp", "error")
        lost = "i2p://tracker{}.example:443/announce".format(number)
        expected[lost] = ("unsupported", "unsupported")
        partial = "http://127.0.3.{}:{}/fault/html-404/announce.php?scrape=no"
        expected[partial.format(number, http)] = ("http", "error")
        no_scrape = "http://127.0.3.{}:{}/fault/missing-files/announce".format(number, http)
        expected[no_scrape] = ("http", "partial")
    expected["http://example.i2p.invalid/a"] = ("http", "error")
    expected["udp://[::1]:{}/announce".format(dead_port)] = ("udp", "error")
    for broken in ("udp://no-port.example", "http://", "udp://b:0", "ftp://a.example/"):
        expected[broken] = ("unsupported", "unsupported")
    for line in expected:
        lines += [line, ""]
    again = list(expected)[::9] + ["UDP://T1.example:{}".format(udp)]
    return "\r\n".join(lines + again) + "\n", names, expected


def test_a_list_as_people_publish_it(check, run_script, everywhere, resolver):
    text, names, expected = published_list(everywhere, dead_port=1)
    records, result = check("-", stdin=text, env=resolver(names))
    assert result.code == 0
    found = by_tracker(records)
    assert {line: (one["kind"], one["status"]) for line, one in found.items()} == expected
    working = [line for line, (_, status) in expected.items() if status in ("ok", "partial")]
    urls = run_script(SCRIPT, "--format", "urls", "-", stdin=text, env=resolver(names))
    assert urls.stdout.splitlines() == working
    records, _ = check("-", stdin=urls.stdout, env=resolver(names))
    assert {record["tracker"] for record in records} == set(working)
    assert {record["status"] for record in records} == {"ok", "partial"}


def test_counts_of_http_replies():
    announce = {b"interval": 1, b"complete": 2, b"incomplete": 3}
    assert tracker_checker.announce_counts(announce) == (1, 2, 3)
    assert tracker_checker.announce_counts({b"interval": b"1", b"complete": [2]}) == (None, None, None)
    entry = {b"complete": 2, b"incomplete": b"x"}
    narrow = HASH.decode("latin-1").encode("utf-8")
    for key in (HASH, narrow):
        reply = {b"files": {b"\xff" * 20: {}, key: entry}}
        assert tracker_checker.scrape_counts(reply)[HASH] == (2, None, None)
    assert HASH not in tracker_checker.scrape_counts({b"files": {HASH[:19]: entry}})
    assert tracker_checker.scrape_counts({b"files": {HASH: 1}}) == {HASH: (None, None, None)}
    true = {b"files": {HASH: {b"complete": True}}}
    assert tracker_checker.scrape_counts(true) == {HASH: (None, None, None)}


@pytest.mark.parametrize("name, path", [("Two.Example", ""), ("two.example", "/fault/redirect")])
def test_an_address_is_kept_through_capitals_and_redirects(run_script, resolver, name, path):
    with LoopbackTracker(hosts=("127.0.0.2",)) as tracker:
        url = "http://{}:{}{}/announce".format(name, tracker.http_port, path)
        names = {"two.example": ["127.0.0.2", "127.0.0.3"]}
        arguments = [url, "--all-addresses", "--format", "ndjson", "--timeout", "3"]
        result = run_script("tracker_checker.py", *arguments, env=resolver(names))
    found = {record["address"]: record["status"] for record in json_lines(result.stdout)}
    port = ":{}".format(tracker.http_port)
    assert found == {"127.0.0.2" + port: "ok", "127.0.0.3" + port: "error"}
