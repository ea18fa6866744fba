# SPDX-License-Identifier: LGPL-3.0-only
"""WebSocket trackers asked by the HTTP client and by the checker: what is sent, what is shown, and
that nothing stays in the swarm. What each fault comes to stands in test_fault_matrix.py.
"""

import signal

import pytest
from helpers import SOON, json_lines, record_of, requests_of, run_script
from loopback_tracker import LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
HASH_BYTES = bytes.fromhex(HASH)


def only(tracker, action):
    fields, = requests_of(tracker, action)
    return fields


def require_good_manners(tracker, connections):
    """Each connection ended with a close 1000, nobody stayed, and no frame broke the protocol."""
    tracker.wait_for(lambda record: len(requests_of(tracker, "close")) == connections)
    closes = requests_of(tracker, "close")
    assert [fields["code"] for fields in closes] == [1000] * connections
    assert requests_of(tracker, "broken") == []
    assert tracker.ws_peers == {}


# The client.


def test_announce(http, tracker):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881)
    result = http("announce", tracker.ws_url, HASH, "--format", "compact", "--left", "1")
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout == '{"complete":1,"incomplete":1,"interval":120}\n'
    fields = only(tracker, "announce")
    peer_id = fields.pop("peer_id")
    assert len(peer_id) == 20
    for name in ("message", "path", "info_hashes"):
        fields.pop(name, None)
    assert fields == {
        "action": "announce",
        "info_hash": HASH_BYTES,
        "uploaded": 0,
        "downloaded": 0,
        "left": 1,
        "event": "started",
        "numwant": 0,
        "offers": [],
    }
    require_good_manners(tracker, 1)


def test_each_connection_has_a_peer_id_of_its_own(http, tracker):
    for _ in range(2):
        assert http("announce", tracker.ws_url, HASH).code == 0
    peer_ids = {fields["peer_id"] for fields in requests_of(tracker)}
    assert len(peer_ids) == 2
    assert http("announce", tracker.ws_url, HASH, "--peer-id", "-XX0000-abcdefghijkl").code == 0
    assert requests_of(tracker)[-1]["peer_id"] == b"-XX0000-abcdefghijkl"


def test_scrape(http, tracker):
    tracker.set_counts(HASH_BYTES, 3, 2, 1)
    result = http("scrape", tracker.ws_url, HASH, OTHER_HASH)
    assert (result.code, result.stderr) == (0, "")
    assert list(result.json.items()) == [
        (HASH, {"complete": 3, "downloaded": 2, "incomplete": 1}),
        (OTHER_HASH, {"complete": 0, "downloaded": 0, "incomplete": 0}),
    ]
    result = http("scrape", tracker.ws_url)
    assert list(result.json) == [HASH]
    require_good_manners(tracker, 2)


@pytest.mark.parametrize("path, sent", [("", "/"), ("/", "/"), ("/x/announce?a=b", "/x/announce?a=b")])
@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_the_path_is_used_as_it_is(http, tracker, command, path, sent):
    url = "ws://127.0.0.1:{}{}".format(tracker.http_port, path)
    assert http(command, url, HASH, "--header", "Origin: http://x").code == 0
    fields = only(tracker, "upgrade")
    assert fields["target"] == sent
    headers = dict(fields["headers"])
    assert headers["Host"] == "127.0.0.1:{}".format(tracker.http_port)
    assert headers["Origin"] == "http://x"
    assert "Sec-WebSocket-Extensions" not in headers


def test_an_event_that_is_none_is_left_out(http, tracker):
    assert http("announce", tracker.ws_url, HASH, "--event", "none").code == 0
    assert "event" not in only(tracker, "announce")


@pytest.mark.parametrize(
    "option", ["--compact=1", "--port=1", "--peer-addr=::1", "--key=x", "--tracker-id=x",
               "--peers-wanted=1"],
)
def test_options_that_only_http_has(http, option):
    result = http("announce", "wss://tracker.example", HASH, option)
    assert (result.code, result.stdout) == (2, "")
    assert option.partition("=")[0] in result.stderr and "WebSocket" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("url", ["ws://", "wss:///x", "ws://a b", "ws://[::1", "ws://h:0x1"])
def test_broken_urls(http, url):
    result = http("announce", url, HASH)
    assert (result.code, result.stdout) == (2, "")
    assert "argument URL" in result.stderr


def test_what_a_verbose_run_says(http, tracker):
    result = http("announce", tracker.ws_url, HASH, "-v")
    lines = result.stderr.splitlines()
    assert [line.split()[0] for line in lines] == ["connecting", "->", "->", "<-"]
    assert "ms after the request" in lines[-1]


def test_an_address_that_takes_the_question_and_is_silent_gives_way(http, resolver):
    names = {"two.example": ["127.0.0.2", "127.0.0.3"]}
    with LoopbackTracker(hosts=("127.0.0.2", "127.0.0.3"), ws_fault="silent") as tracker:
        url = "ws://two.example:{}/".format(tracker.http_port)
        result = http("announce", url, HASH, "--timeout", "2", env=resolver(names))
        assert record_of(result)["kind"] == "timeout"
        # Each was asked, with a peer id of its own: a tracker may ignore one that is taken.
        announces = requests_of(tracker)
    assert len({fields["peer_id"] for fields in announces}) == len(announces) == 2


# The checker.


def test_a_check(check, tracker):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881)
    result = check(tracker.ws_url, "--format", "compact")
    assert (result.code, result.stderr) == (0, "")
    stages = ",".join('["{}",{{"Ok":null}}]'.format(name) for name in ("Connect", "Announce", "Scrape"))
    assert result.stdout == '[{{"Ws":{{"Ok":{{"url":"{}","results":[{}]}}}}}}]\n'.format(
        tracker.ws_url, stages
    )
    started, stopped = requests_of(tracker)
    assert (started["event"], stopped["event"]) == ("started", "stopped")
    assert (started["left"], stopped["left"]) == (1, 1)
    assert started["peer_id"] == stopped["peer_id"]
    assert only(tracker, "upgrade")
    require_good_manners(tracker, 1)


def test_fifty_checks_at_once_beside_another_checker(start_script, tracker):
    urls = ["ws://127.0.0.1:{}/{}".format(tracker.http_port, number) for number in range(50)]
    command = ["tracker_checker.py", "--format", "ndjson", "--timeout", "30", *urls]
    processes = [start_script(*command) for _ in range(2)]
    for process in processes:
        stdout, stderr = process.communicate(timeout=60)
        assert (process.returncode, stderr) == (0, "")
        assert [record["status"] for record in json_lines(stdout)] == ["ok"] * 50
    announces = requests_of(tracker)
    peer_ids = {fields["peer_id"] for fields in announces if fields["event"] == "started"}
    assert len(peer_ids) == 100
    require_good_manners(tracker, 100)


def test_the_parts_of_a_check(check, tracker):
    result = check(tracker.ws_url, "--no-announce", "--format", "ndjson")
    record, = json_lines(result.stdout)
    assert [stage["name"] for stage in record["stages"]] == ["connect", "scrape"]
    assert requests_of(tracker) == []
    result = check(tracker.ws_url, "--no-scrape", "--format", "ndjson")
    record, = json_lines(result.stdout)
    assert [stage["name"] for stage in record["stages"]] == ["connect", "announce"]
    assert (record["interval"], record["address"]) == (120, tracker.ws_url.split("/")[2])


def test_websocket_trackers_come_after_the_others(check, tracker):
    urls = [tracker.ws_url, tracker.http_url, tracker.udp_url, "i2p://x"]
    health = ["--health", tracker.health_url]
    result = check(*urls, *health)
    assert [list(entry) for entry in result.json] == [
        ["Udp"], ["Health"], ["Http"], ["Ws"], ["Unsupported"]
    ]
    configuration = '{{"http_trackers":["{}","{}"]}}'.format(tracker.http_url, tracker.ws_url)
    assert [list(entry) for entry in check(configuration).json] == [["Http"], ["Ws"]]
    assert check(tracker.ws_url, tracker.ws_url).json == check(tracker.ws_url).json


def test_a_working_one_is_listed_as_it_is_asked(check, tracker):
    given = "WS://127.0.0.1:{}".format(tracker.http_port)
    assert check(given, "--format", "urls").stdout == tracker.ws_url + "\n"


def test_a_refusal_leaves_the_connection_to_scrape(check, tracker):
    tracker.ws_fault = "failure-on-announce"
    result = check(tracker.ws_url)
    (_, connect), (_, announce), (_, scrape) = result.json[0]["Ws"]["Err"]["results"]
    assert connect == scrape == {"Ok": None}
    assert "--info-hash" in announce["Err"]
    assert len(requests_of(tracker, "upgrade")) == 1
    # It is in no swarm, and leaves none.
    assert [fields["event"] for fields in requests_of(tracker)] == ["started"]


def test_an_announce_that_ends_the_connection_leaves_nothing_to_scrape(check, tracker):
    tracker.ws_fault = "close-on-announce"
    (_, connect), (_, announce), (_, scrape) = check(tracker.ws_url).json[0]["Ws"]["Err"]["results"]
    assert connect == {"Ok": None}
    assert "1008" in announce["Err"]
    assert "connection" in scrape["Err"]


def test_no_peer_stays_after_ctrl_c(start_script, tracker):
    tracker.ws_fault = "scrape-silent"
    command = ["tracker_checker.py", tracker.ws_url, "--timeout", "60", "--format", "ndjson"]
    process = start_script(*command)
    tracker.wait_for(lambda record: record.action == "scrape")
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=SOON)
    assert process.returncode == 130
    record, = json_lines(stdout)
    assert record["status"] == "interrupted"
    assert [stage["ok"] for stage in record["stages"]] == [True, True, False]
    tracker.wait_for(lambda record: record.action == "close")
    assert tracker.ws_peers == {}


def test_monitor(check, tracker):
    result = run_script(
        "tracker_checker.py", "monitor", tracker.ws_url, "--interval", "9", "--duration", "0.5"
    )
    assert result.code == 0
    summary, = result.json["ws_trackers"]
    assert (summary["url"], summary["status"]["code"]) == (tracker.ws_url, "ok")
    assert only_record_event(result)["status"] == "ok"


def only_record_event(result):
    line, = json_lines(result.stderr)
    return line


def test_an_unsupported_proxy(check, tracker):
    environment = {"all_proxy": "socks5://127.0.0.1:1"}
    result = check(tracker.ws_url, env=environment)
    (name, connect), = result.json[0]["Ws"]["Err"]["results"]
    assert name == "Connect" and "all_proxy" in connect["Err"]
    result = run_script("http_tracker_client.py", "scrape", tracker.ws_url, HASH, env=environment)
    assert (result.code, result.stdout) == (2, "")
