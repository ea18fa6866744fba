# SPDX-License-Identifier: LGPL-3.0-only
"""udp_tracker_client.py as its users meet it: through the command line, with a tracker on loopback.

The rules of the protocol, with a clock of the test's own, are in test_udp_exchange.py.
"""

import json
import os
import re
import shutil
import socket
import time
from functools import partial

import pytest
import udp_tracker_client
from helpers import (
    PYTHON, ROOT, compact_json, json_lines, record_of, requests_of, run_command,
    wait_for_lookup
)
from loopback_faults import HOSTILE_TEXT
from loopback_tracker import LoopbackTracker

SCRIPT = "udp_tracker_client.py"
HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
HASH_BYTES = bytes.fromhex(HASH)
OPTIONS = (
    "--event --uploaded --downloaded --left --port --ip-address --peer-id --key --peers-wanted"
    " --format --help --version --verbose --timeout --ipv4 --ipv6"
).split()


CLIENT = PYTHON + [os.path.join(ROOT, SCRIPT)]


def run_redirected(redirection, *arguments):
    """Runs the client with a redirection of the shell."""
    return run_command(["sh", "-c", 'exec "$0" "$@" ' + redirection] + CLIENT + list(arguments))


@pytest.fixture
def start(start_script):
    return partial(start_script, SCRIPT)


def seconds_since(record):
    """Returns how long ago a request arrived: how long the client took, its start left out.

    A machine that runs many tests at once starts an interpreter as late as it likes.
    """
    return time.monotonic() - record.time


def filled_in(arguments, tracker):
    """Returns the arguments with the tracker's URL in place of TRACKER."""
    return [tracker.udp_url if word == "TRACKER" else word for word in arguments]


def check_that_nothing_arrived(tracker):
    """Sends a datagram, which is behind whatever the client may have sent, and sees it alone."""
    marker = b"the test's own"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(marker, ("127.0.0.1", tracker.udp_port))
    tracker.wait_for(lambda record: record.fields["datagram"] == marker)
    assert [record.fields["datagram"] for record in tracker.requests] == [marker]


# Announce


def test_announce_with_the_defaults(udp, tracker):
    result = udp("announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    (fields,) = requests_of(tracker, "announce")
    expected = {
        "transaction_id": fields["transaction_id"],
        "announce_interval": 120,
        "leechers": 0,
        "seeders": 1,
        "peers": [],
    }
    assert result.stdout == json.dumps({"AnnounceIpv4": expected}, indent=2) + "\n"
    record = tracker.wait_for(lambda record: record.action == "announce")
    assert fields["port"] == record.address[1]
    assert fields["info_hash"] == HASH_BYTES
    assert fields["peer_id"] == b"-qB00000000000000001"
    assert fields["ip_address"] == "0.0.0.0"
    assert fields["event"] == "started"
    assert fields["url_data"] == b""
    assert fields["key"] == 0
    assert fields["num_want"] == 1
    assert (fields["uploaded"], fields["downloaded"], fields["left"]) == (0, 0, 0)
    assert len(fields["datagram"]) == 98


def test_announce_with_every_option(udp, tracker):
    options = (
        "--event completed --uploaded 9223372036854775807 --downloaded 1 --left 2 --port 65535"
        " --ip-address 198.51.100.7 --peer-id -TR4040-abcdefghijkl --key -2147483648"
        " --peers-wanted -1 --timeout 2.5 --format compact -4"
    ).split()
    result = udp("announce", tracker.udp_url, HASH, *options)
    assert (result.code, result.stderr) == (0, "")
    (fields,) = requests_of(tracker, "announce")
    assert fields["event"] == "completed"
    assert fields["uploaded"] == 2 ** 63 - 1
    assert (fields["downloaded"], fields["left"]) == (1, 2)
    assert fields["port"] == 65535
    assert fields["ip_address"] == "198.51.100.7"
    assert fields["peer_id"] == b"-TR4040-abcdefghijkl"
    assert fields["key"] == -(2 ** 31)
    assert fields["num_want"] == -1


@pytest.mark.parametrize("event", ["none", "completed", "started", "stopped"])
def test_events(udp, tracker, event):
    assert udp("announce", tracker.udp_url, HASH, "--event", event).code == 0
    (fields,) = requests_of(tracker, "announce")
    assert fields["event"] == event


def test_a_peer_joins_and_leaves(udp, tracker):
    assert udp("announce", tracker.udp_url, HASH, "--left", "1").code == 0
    assert tracker.swarm(HASH_BYTES) == (0, 0, 1)
    assert udp("announce", tracker.udp_url, HASH, "--event", "stopped").code == 0
    assert tracker.swarm(HASH_BYTES) == (0, 0, 0)


def test_a_peer_id_of_hex_digits(udp, tracker):
    assert udp("announce", tracker.udp_url, HASH, "--peer-id", "00fF" * 10).code == 0
    (fields,) = requests_of(tracker, "announce")
    assert fields["peer_id"] == b"\x00\xff" * 10


def test_peers_over_ipv4(udp, tracker):
    for number in (7, 8, 9):
        tracker.add_peer(HASH_BYTES, "198.51.100.{}".format(number), 6881, left=1)
    result = udp("announce", tracker.udp_url, HASH, "--peers-wanted", "2")
    assert result.json["AnnounceIpv4"]["peers"] == ["198.51.100.7:6881", "198.51.100.8:6881"]
    assert result.json["AnnounceIpv4"]["leechers"] == 3


def test_announce_and_scrape_over_ipv6(udp):
    with LoopbackTracker(hosts=["::1"]) as tracker:
        tracker.add_peer(HASH_BYTES, "2001:db8::1", 6881)
        for family in ([], ["-6"], ["--ipv6"]):
            result = udp("announce", tracker.udp_url, HASH, *family)
            assert (result.code, result.stderr) == (0, "")
            assert list(result.json) == ["AnnounceIpv6"]
            assert list(result.json["AnnounceIpv6"]) == [
                "transaction_id", "announce_interval", "leechers", "seeders", "peers"
            ]
            assert result.json["AnnounceIpv6"]["peers"] == ["[2001:db8::1]:6881"]
        # Without a scheme too; -6 does no harm to a scrape.
        result = udp("scrape", tracker.udp_url[len("udp://") :], HASH, "-6")
        assert result.json["Scrape"]["torrent_stats"][0]["seeders"] == 2


def test_numbers_are_signed(udp, tracker):
    tracker.udp_fault = "negative-numbers"
    values = udp("announce", tracker.udp_url, HASH).json["AnnounceIpv4"]
    assert [values[key] for key in ("announce_interval", "leechers", "seeders")] == [-1, -2, -3]
    tracker.udp_fault = "scrape-negative"
    (entry,) = udp("scrape", tracker.udp_url, HASH).json["Scrape"]["torrent_stats"]
    assert entry == {"seeders": -1, "completed": -2, "leechers": -3}


def test_whole_peers_of_a_cut_off_list(udp, tracker):
    tracker.udp_fault = "peers-uneven"
    result = udp("announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert result.json["AnnounceIpv4"]["peers"] == ["198.51.0.1:6881", "198.51.0.2:6881"]


@pytest.mark.parametrize("given, digits", [
    (HASH.upper(), HASH),
    ("TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC", HASH),
    ("tq4eeiqt4mf76ijlgdbwbutptibbgzbc", HASH),
    (HASH + "0" * 24, HASH),
    ("magnet:?xt=urn:btih:" + HASH, HASH),
    ("magnet:?dn=a&xt=urn:btih:TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC&tr=udp%3A%2F%2Fa%3A1", HASH),
    ("MAGNET:?xt=URN:BTIH:" + HASH.upper(), HASH),
    ("magnet:?xt=urn%3Abtih%3A" + HASH, HASH),
    ("magnet:///?xt=urn:btih:" + HASH, HASH),
    ("magnet:?dn=a&amp;xt=urn:btih:" + HASH + "&amp;tr=udp://a:1", HASH),
    ("magnet:?DN=a&XT=urn:btih:" + HASH + "&TR=udp://a:1", HASH),
    ("\ufeff" + HASH + "\u200b\r\n", HASH),
    (" magnet:?xt=urn:btih:" + HASH + "\n", HASH),
    ("magnet:?xt.1=urn:btih:" + HASH + "&xt.2=urn:btih:" + OTHER_HASH, HASH),
    ("magnet:?xt=urn:btmh:1220" + HASH + "f" * 24, HASH),
    ("magnet:?xt=urn:btmh:1220" + "f" * 64 + "&xt=urn:btih:" + HASH, HASH),
    ("urn:btmh:1220" + HASH + "f" * 24, HASH),
])
def test_ways_to_give_an_info_hash(udp, tracker, given, digits):
    result = udp("scrape", tracker.udp_url, given)
    assert (result.code, result.stderr) == (0, "")
    (fields,) = requests_of(tracker, "scrape")
    assert fields["info_hashes"] == [bytes.fromhex(digits)]


# URL data (BEP 41)


@pytest.mark.parametrize("ending", ["", "/", "/announce", "/scrape", "?", "/announce?", "/#part"])
def test_a_usual_path_says_nothing(udp, tracker, ending):
    assert udp("announce", tracker.udp_url + ending, HASH).code == 0
    (fields,) = requests_of(tracker, "announce")
    assert len(fields["datagram"]) == 98


@pytest.mark.parametrize("ending, url_data", [
    ("/announce?passkey=1&x=%20", b"/announce?passkey=1&x=%20"),
    ("?passkey=1", b"?passkey=1"),
    ("/KEY/announce#part", b"/KEY/announce"),
    ("/caf\xe9", b"/caf%C3%A9"),
    ("/" + "p" * 254, b"/" + b"p" * 254),
    ("/" + "p" * 300 + "?" + "q" * 400, b"/" + b"p" * 300 + b"?" + b"q" * 400),
])
def test_path_and_query_go_along(udp, tracker, ending, url_data):
    result = udp("announce", tracker.udp_url[len("udp://") :] + ending, HASH)
    assert (result.code, result.stderr) == (0, "")
    (fields,) = requests_of(tracker, "announce")
    assert fields["url_data"] == url_data
    # Options of 255 bytes, and one with the rest.
    assert fields["datagram"][98:100] == bytes([2, min(255, len(url_data))])
    assert len(fields["datagram"]) == 98 + len(url_data) + 2 * (-(-len(url_data) // 255))


# Scrape


def many_hashes(count):
    return ["{:040x}".format(number) for number in range(1, count + 1)]


def test_scrape_of_several_hashes(udp, tracker):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881, left=1)
    tracker.add_peer(bytes.fromhex(OTHER_HASH), "198.51.100.7", 6881, left=0)
    result = udp("scrape", tracker.udp_url, OTHER_HASH, HASH, OTHER_HASH)
    assert (result.code, result.stderr) == (0, "")
    seeder = {"seeders": 1, "completed": 0, "leechers": 0}
    leecher = {"seeders": 0, "completed": 0, "leechers": 1}
    (fields,) = requests_of(tracker, "scrape")
    expected = {
        "transaction_id": fields["transaction_id"], "torrent_stats": [seeder, leecher, seeder]
    }
    assert result.stdout == json.dumps({"Scrape": expected}, indent=2) + "\n"


@pytest.mark.parametrize("count, parts", [(74, [74]), (75, [74, 1]), (200, [74, 74, 52])])
def test_scrape_of_more_hashes_than_a_request_holds(udp, tracker, count, parts):
    hashes = many_hashes(count)
    for number, info_hash in enumerate(hashes):
        for peer in range(number % 5):
            tracker.add_peer(bytes.fromhex(info_hash), "198.51.100.7", 6881, left=1)
    result = udp("scrape", tracker.udp_url, *hashes)
    assert (result.code, result.stderr) == (0, "")
    leechers = [entry["leechers"] for entry in result.json["Scrape"]["torrent_stats"]]
    assert leechers == [number % 5 for number in range(count)]
    scrapes = requests_of(tracker, "scrape")
    assert [len(fields["info_hashes"]) for fields in scrapes] == parts
    assert len(requests_of(tracker, "connect")) == 1
    assert len({fields["connection_id"] for fields in scrapes}) == 1
    assert len({fields["transaction_id"] for fields in scrapes}) == len(parts)
    assert result.json["Scrape"]["transaction_id"] == scrapes[0]["transaction_id"]


@pytest.mark.parametrize("fault, requested, returned", [
    ("scrape-short", 1, 0),
    ("scrape-short", 3, 2),
    ("scrape-uneven", 3, 2),
    ("scrape-empty", 3, 0),
    # Up to and with the first short reply.
    ("scrape-short", 75, 73),
    ("scrape-empty", 200, 0),
])
def test_a_truncated_scrape(udp, tracker, fault, requested, returned):
    tracker.udp_fault = fault
    result = udp("scrape", tracker.udp_url, *many_hashes(requested))
    assert result.code == 0
    assert len(result.json["Scrape"]["torrent_stats"]) == returned
    (line,) = result.stderr.splitlines()
    warning = json.loads(line)["warning"]
    assert line == json.dumps({"warning": warning}, separators=(",", ":"))
    assert list(warning) == ["kind", "requested", "returned", "message"]
    assert warning["kind"] == "scrape_response_truncated"
    assert (warning["requested"], warning["returned"]) == (requested, returned)


def test_entries_that_nobody_asked_for_are_shown(udp, tracker):
    tracker.udp_fault = "scrape-extra"
    result = udp("scrape", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert len(result.json["Scrape"]["torrent_stats"]) == 4


# The output


@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_formats(udp, tracker, command):
    tracker.add_peer(HASH_BYTES, "198.51.100.7", 6881)
    for options in ([], ["--format", "pretty"], ["--format", "json"]):
        result = udp(command, tracker.udp_url, HASH, *options)
        assert result.stdout == json.dumps(result.json, indent=2) + "\n"
    result = udp(command, tracker.udp_url, HASH, "--format", "compact")
    assert result.stdout == compact_json(result.json) + "\n"


@pytest.mark.parametrize("arguments", [
    ["announce", "TRACKER", HASH],
    ["scrape", "TRACKER", HASH],
    ["scrape", "TRACKER"] + many_hashes(75),
], ids=["announce", "scrape", "scrape of 75"])
def test_an_error_reply(udp, tracker, arguments):
    tracker.udp_fault = "error-reply"
    result = udp(*filled_in(arguments, tracker))
    assert (result.code, result.stderr) == (1, "")
    fields = requests_of(tracker, arguments[0])[0]
    expected = {
        "transaction_id": fields["transaction_id"], "message": "torrent not registered"
    }
    assert result.stdout == json.dumps({"Error": expected}, indent=2) + "\n"


def test_an_error_reply_to_connect(udp, tracker):
    tracker.udp_fault = "error-on-connect"
    result = udp("announce", tracker.udp_url, HASH, "--format", "compact")
    assert (result.code, result.stderr) == (1, "")
    (fields,) = requests_of(tracker, "connect")
    expected = {"transaction_id": fields["transaction_id"], "message": "come back later"}
    assert result.stdout == json.dumps({"Error": expected}, separators=(",", ":")) + "\n"


@pytest.mark.parametrize("fault, message", [
    ("error-control-characters", HOSTILE_TEXT),
    ("error-invalid-utf8", "refus\xe9 \xff\xfe\xc3"),
    ("error-with-nul", "torrent not registered"),
    ("error-empty", ""),
    ("error-huge", "no " * 20000),
])
@pytest.mark.parametrize("output", ["pretty", "compact"])
def test_hostile_text_in_an_error_reply(udp, tracker, fault, message, output):
    tracker.udp_fault = fault
    result = udp("announce", tracker.udp_url, HASH, "--format", output, "-v")
    assert result.code == 1
    assert result.json["Error"]["message"] == message
    assert result.stdout.isascii()
    assert result.stdout.replace("\n", "").isprintable()
    # A line end in the text is none in the output.
    assert result.stdout.count("\n") == (6 if output == "pretty" else 1)
    for line in result.stderr.splitlines():
        assert line.isprintable()
        assert "forged" not in line


def test_a_rejected_connection_id_gets_one_new_connect(udp, tracker):
    tracker.udp_fault = "reject-connection-id-once"
    result = udp("announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (0, "")
    assert len(requests_of(tracker, "connect")) == 2
    ids = [fields["connection_id"] for fields in requests_of(tracker, "announce")]
    assert len(ids) == len(set(ids)) == 2
    tracker.udp_fault = "reject-connection-id-always"
    result = udp("announce", tracker.udp_url, HASH)
    assert (result.code, result.stderr) == (1, "")
    assert result.json["Error"]["message"] == "Connection ID mismatch"
    assert len(requests_of(tracker, "connect")) == 4


def test_eight_bytes_name_opentracker(udp, tracker):
    tracker.udp_fault = "eight-bytes"
    error = record_of(udp("announce", tracker.udp_url, HASH))
    assert error["kind"] == "invalid_response"
    assert "8 bytes" in error["message"]
    assert "opentracker" in error["message"]


def test_the_source_is_the_tracker_as_given(udp, resolver, tracker):
    tracker.udp_fault = "eight-bytes"
    given = "LocalHost:{}/caf\xe9".format(tracker.udp_port)
    env = resolver({"localhost": ["127.0.0.1"]})
    assert record_of(udp("announce", given, HASH, env=env))["source"] == given


# Addresses at which nobody is


def test_a_closed_port_is_refused_at_once(udp, closed_udp_port):
    result = udp("announce", "{}:{}".format(*closed_udp_port), HASH, "--timeout", "30")
    assert record_of(result)["kind"] == "refused"


def test_an_address_that_cannot_be_reached(udp):
    # Nothing is sent to the broadcast address for who has not asked for the right to.
    result = udp("announce", "255.255.255.255:6969", HASH, "--timeout", "3000")
    assert record_of(result)["kind"] == "unreachable"


# Names


def test_a_name_that_does_not_resolve(udp, resolver):
    result = udp("announce", "udp://tracker.example:6969", HASH, env=resolver())
    error = record_of(result)
    assert (error["kind"], error["source"]) == ("resolve_failed", "udp://tracker.example:6969")
    assert "tracker.example" in error["message"]
    assert "Name or service not known" in error["message"]


def test_a_name_without_addresses_of_the_family(udp, resolver, tracker):
    url = "udp://tracker:{}".format(tracker.udp_port)
    env = resolver({"tracker": ["127.0.0.1"]})
    assert udp("announce", url, HASH, "-4", env=env).code == 0
    assert record_of(udp("announce", url, HASH, "-6", env=env))["kind"] == "resolve_failed"
    assert len(requests_of(tracker, "announce")) == 1


def test_an_international_name(udp, resolver, tracker):
    url = "udp://b\xfccher.example:{}".format(tracker.udp_port)
    env = resolver({"xn--bcher-kva.example": ["127.0.0.1"]})
    assert udp("announce", url, HASH, env=env).code == 0


def test_an_ipv4_address_in_ipv6_notation_is_ipv4(udp, tracker):
    address = "[::ffff:127.0.0.1]:{}".format(tracker.udp_port)
    assert list(udp("announce", address, HASH).json) == ["AnnounceIpv4"]


def test_a_scope_that_does_not_exist(udp):
    error = record_of(udp("announce", "udp://[fe80::1%25nowhere]:6969", HASH))
    assert error["kind"] == "resolve_failed"


@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_name_lookup_that_hangs(start, resolver, command):
    env = resolver({"slow": "hangs"})
    process = start(command, "udp://slow:6969", HASH, "--timeout", "0.4", env=env)
    wait_for_lookup(env)
    started = time.monotonic()
    stdout, stderr = process.communicate(timeout=10)
    assert time.monotonic() - started < 0.4 + 1
    assert (process.returncode, stdout) == (1, "")
    error = json.loads(stderr)["error"]
    assert (error["kind"], error["source"]) == ("timeout", "udp://slow:6969")
    assert "lookup" in error["message"]


def test_the_name_lookup_counts_for_the_time_out(udp, tracker, resolver):
    # The lookup takes most of the time; the silent tracker has the rest, half a second.
    tracker.udp_fault = "silent"
    url = "udp://slow:{}".format(tracker.udp_port)
    result = udp("announce", url, HASH, "--timeout", "2.5", env=resolver({"slow": 2.0}))
    assert seconds_since(tracker.requests[0]) < 0.5 + 1
    assert record_of(result)["kind"] == "timeout"
    assert result.seconds >= 2.5


@pytest.fixture
def two_addresses(monkeypatch, capfd):
    """A tracker at 127.0.0.1 and 127.0.0.2, which a name has; nobody listens at 127.0.0.3.

    Its ask("announce", option, …) runs the client, here, and returns (exit code, stdout, stderr);
    its addresses are those that the name has.
    """
    with LoopbackTracker(hosts=["127.0.0.1", "127.0.0.2"]) as tracker:

        def look_up(host, port, *_):
            assert host == "tracker"
            return [
                (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
                for address in tracker.addresses
            ]

        def ask(command, *options):
            url = "udp://tracker:{}".format(tracker.udp_port)
            code = udp_tracker_client.main([command, url, HASH] + list(options))
            return (code,) + tuple(capfd.readouterr())

        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        tracker.addresses = ["127.0.0.1", "127.0.0.2"]
        tracker.ask = ask
        yield tracker


@pytest.mark.parametrize("command", ["announce", "scrape"])
@pytest.mark.parametrize("fault", [
    "silent", "echo", "junk", "short", "connect-short", "wrong-action", "eight-bytes", None,
])
def test_a_name_with_one_bad_and_one_good_address(two_addresses, command, fault):
    """Without a fault: the port of the first one is closed."""
    if fault:
        two_addresses.udp_faults["127.0.0.1"] = fault
    else:
        two_addresses.addresses[0] = "127.0.0.3"
    code, stdout, stderr = two_addresses.ask(command)
    assert (code, stderr) == (0, "")
    asked = [fields["local_address"] for fields in requests_of(two_addresses, command)]
    good = "127.0.0.1" if (command, fault) == ("scrape", "eight-bytes") else "127.0.0.2"
    assert asked[-1] == good
    assert len(asked) == (2 if (command, fault) == ("announce", "eight-bytes") else 1)
    # The bad one of a name that is asked the other way round is as little in the way.
    two_addresses.addresses.reverse()
    assert two_addresses.ask(command)[0] == 0


def test_an_address_given_twice_is_asked_once(two_addresses):
    two_addresses.addresses[1] = "127.0.0.1"
    two_addresses.udp_faults["127.0.0.1"] = "silent"
    code, _, stderr = two_addresses.ask("announce", "--timeout", "0.3")
    assert code == 1
    assert len({record.address for record in two_addresses.requests}) == 1


def test_an_address_that_cannot_be_reached_before_a_good_one(two_addresses):
    two_addresses.addresses[0] = "255.255.255.255"
    assert two_addresses.ask("announce")[0] == 0


def test_two_good_addresses_are_not_both_announced_to(two_addresses):
    # Each reply takes a second: both have sent their connect long before. It is not so long that
    # the other address is asked as well.
    two_addresses.udp_fault = "slow"
    code, _, _ = two_addresses.ask("announce", "--timeout", "60")
    assert code == 0
    asked = {fields["local_address"] for fields in requests_of(two_addresses, "connect")}
    assert asked == {"127.0.0.1", "127.0.0.2"}
    asked = {fields["local_address"] for fields in requests_of(two_addresses, "announce")}
    assert asked == {"127.0.0.1"}


@pytest.mark.parametrize("first, second, kind", [
    ("silent", "silent", "timeout"),
    ("silent", "connect-short", "timeout"),
    ("refused", "silent", "timeout"),
    ("connect-short", "refused", "refused"),
    ("refused", "connect-short", "invalid_response"),
])
def test_two_bad_addresses(two_addresses, first, second, kind):
    for number, fault in enumerate((first, second)):
        if fault == "refused":
            two_addresses.addresses[number] = "127.0.0.3"
        else:
            two_addresses.udp_faults[two_addresses.addresses[number]] = fault
    started = time.monotonic()
    code, stdout, stderr = two_addresses.ask("announce", "--timeout", "0.4")
    assert time.monotonic() - started < 0.4 + 1
    assert (code, stdout) == (1, "")
    error = json.loads(stderr)["error"]
    # The kind is that of the last to fail; where they differ the message names all.
    assert error["kind"] == kind
    for address in two_addresses.addresses:
        named = "{}:{}".format(address, two_addresses.udp_port) in error["message"]
        assert named == (first != second)


# Arguments


IN_ANY_ORDER = [
    arguments.replace("HASH", HASH).split()
    for arguments in (
        "announce TRACKER HASH --key -4 --peers-wanted -1 --peer-id -TR4040-abcdefghijkl -4v",
        "--key -4 announce --peers-wanted -1 TRACKER -4 --peer-id -TR4040-abcdefghijkl HASH -v",
        "-4v --peer-id -TR4040-abcdefghijkl --key -4 --peers-wanted -1 announce TRACKER HASH",
        "--key=-4 --peers-wanted=-1 --peer-id=-TR4040-abcdefghijkl -v4 announce -- TRACKER HASH",
        "announce --key -4 --peers-wanted -1 --peer-id -TR4040-abcdefghijkl -v -4 -- TRACKER HASH",
        "announce TRACKER --key -4 --peer-id -TR4040-abcdefghijkl --peers-wanted -1 -v4 -- HASH",
        "--key -4 --peer-id -TR4040-abcdefghijkl --peers-wanted -1 -4 -v -- announce TRACKER HASH",
        "announce TRACKER HASH -4v --key 1 --key -4 --peer-id -TR4040-abcdefghijkl"
        " --peers-wanted -1 --",
    )
]


@pytest.mark.parametrize("arguments", IN_ANY_ORDER, ids=range(len(IN_ANY_ORDER)))
def test_arguments_in_any_order(udp, tracker, arguments):
    result = udp(*filled_in(arguments, tracker))
    assert (result.code, list(result.json)) == (0, ["AnnounceIpv4"])
    assert "connect" in result.stderr
    (fields,) = requests_of(tracker, "announce")
    assert (fields["key"], fields["num_want"]) == (-4, -1)
    assert fields["peer_id"] == b"-TR4040-abcdefghijkl"


def test_options_amid_info_hashes(udp, tracker):
    words = ["scrape", "--timeout", "5", tracker.udp_url, HASH, "-v4", OTHER_HASH, "--format"]
    result = udp(*words, "compact", HASH)
    assert (result.code, result.stdout.count("\n")) == (0, 1)
    (fields,) = requests_of(tracker, "scrape")
    assert [info_hash.hex() for info_hash in fields["info_hashes"]] == [HASH, OTHER_HASH, HASH]


PARSE_ALL = """
import json
import sys

import udp_tracker_client

for argv in json.load(sys.stdin):
    try:
        _, arguments = udp_tracker_client.parse_arguments(argv, "udp_tracker_client.py")
        names = "key", "peers_wanted", "peer_id", "verbose"
        outcome = [str(getattr(arguments, name)) for name in names]
    except BaseException as error:
        outcome = getattr(error, "code", repr(error))
    print(json.dumps(outcome))
"""


def test_every_python_takes_the_same_arguments(python):
    """argparse differs from version to version: in -- and in what counts as a negative number."""
    wrong = [arguments for arguments, _, _ in WRONG]
    lists = [
        [word.replace("TRACKER", "127.0.0.1:1") for word in arguments]
        for arguments in IN_ANY_ORDER + wrong
    ]
    result = run_command(
        [python, "-W", "error", "-c", PARSE_ALL],
        input=json.dumps(lists),
        cwd=ROOT,
        env={"PYTHONIOENCODING": "utf-8"},
    )
    outcomes = json_lines(result.stdout)
    taken = ["-4", "-1", str(b"-TR4040-abcdefghijkl"), "True"]
    assert outcomes[: len(IN_ANY_ORDER)] == [taken] * len(IN_ANY_ORDER)
    refused = zip(map(name_of, wrong), outcomes[len(IN_ANY_ORDER) :])
    assert [(name, outcome) for name, outcome in refused if outcome != 2] == []
    assert len(result.stderr.splitlines()) == len(wrong)


@pytest.mark.parametrize("options, seconds", [
    ([], 5), (["--timeout", "0.5"], 0.5), (["--timeout", ".5"], 0.5), (["--timeout", "5."], 5),
    (["--timeout", "+5"], 5), (["--timeout", "1.5E+1"], 15), (["--timeout=86400"], 86400),
])
def test_time_outs(options, seconds):
    _, arguments = udp_tracker_client.parse_arguments(["scrape", "a:1", HASH] + options, SCRIPT)
    assert arguments.timeout == seconds


ANNOUNCE = ["announce", "TRACKER", HASH]
WRONG = [
    # arguments, what was wrong, what is expected
    ([], "no command", "announce or scrape"),
    (["-v"], "no command", "announce or scrape"),
    (["bogus", "TRACKER", HASH], "'bogus'", "announce or scrape"),
    (["TRACKER", HASH], "command", "announce or scrape"),
    (["announce"], "TRACKER", "missing"),
    (["announce", "TRACKER"], "INFO_HASH", "missing"),
    (["scrape", "TRACKER"], "INFO_HASH", "missing"),
    (ANNOUNCE + [OTHER_HASH], OTHER_HASH, "unrecognized"),
    (ANNOUNCE + ["--nonsense"], "there is no option --nonsense (", ""),
    (ANNOUNCE + ["--nonsense=1"], "there is no option --nonsense (", ""),
    (ANNOUNCE + ["--peers"], "there is no option --peers", "did you mean --peers-wanted?"),
    (ANNOUNCE + ["--verb"], "there is no option --verb", "did you mean --verbose?"),
    (ANNOUNCE + ["--evnet", "none"], "there is no option --evnet", "did you mean --event?"),
    (ANNOUNCE + ["--evnet=none"], "there is no option --evnet", "did you mean --event?"),
    (ANNOUNCE + ["-x"], "there is no option -x (", ""),
    (ANNOUNCE + ["-4x"], "there is no option -x (", ""),
    (["scrape", "TRACKER", HASH, "--key", "1"], "there is no option --key (", ""),
    # It is named before anything else is complained of.
    (["announce", "TRACKER", "--evnet", "none"], "there is no option --evnet", "--event?"),
    (["scrape", "127.0.0.1", "zz", "--timeout", "no", "--formt"], "--formt", "--format?"),
    (ANNOUNCE + ["--key"], "--key", "expected one argument"),
    (ANNOUNCE + ["--timeout"], "--timeout", "expected one argument"),
    (ANNOUNCE + ["--ipv4=1"], "--ipv4", "'1'"),
    (ANNOUNCE + ["-4", "-6"], "-6", "-4"),
    # The info hash
    (["announce", "TRACKER", ""], "''", "40 hex digits"),
    (["announce", "TRACKER", HASH[1:]], HASH[1:], "39 hex digits were given; 40 hex digits"),
    (["announce", "TRACKER", HASH + "0"], HASH + "0", "41 hex digits were given; 40 hex digits"),
    (["scrape", "TRACKER", HASH, "x" + HASH], "x" + HASH, "41 characters were given"),
    (["announce", "TRACKER", __file__], "but a file", "bencode.py --info-hash FILE"),
    (["scrape", "TRACKER", "linux.TORRENT"], "but a file", "bencode.py --info-hash FILE"),
    (["scrape", "TRACKER", HASH, "zz" + HASH[2:]], "zz", "32 base32 characters"),
    (["announce", "TRACKER", "TQ4EEIQT4MF76IJLGDBWBUTPTIBBGZB1"], "ZB1", "base32"),
    # Letters that are base32 in upper case alone
    (["announce", "TRACKER", "\u017fQ4EEIQT4MF76IJLGDBWBUTPTIBBGZBC"], "\u017fQ4", "32 base32"),
    (["scrape", "TRACKER", "A" * 24 + "\xdf" * 8], "AAA\xdf", "32 base32 characters"),
    (["announce", "TRACKER", HASH + "0" * 23], "00'", "64 hex digits"),
    (["announce", "TRACKER", "\uff19" + HASH[1:]], "'\uff19c38", "magnet"),
    (["announce", "TRACKER", "magnet:?dn=name"], "magnet", "xt=urn:btih:"),
    (["announce", "TRACKER", "magnet:?xt=urn:btih:zz"], "btih:zz", "40 hex digits"),
    (["announce", "TRACKER", "magnet:?xt=urn:btmh:1220" + HASH], HASH, "64 hex digits"),
    (["announce", "TRACKER", "magnet:?xt=urn:sha1:" + HASH], "magnet", "xt=urn:btih:"),
    (["announce", "TRACKER", "magnet:?xt=urn:btih:magnet:?xt=urn:btih:" + HASH], "magnet", "hex"),
    (["announce", "TRACKER", "magnet:?xt=urn:btih:" * 2000 + HASH], "magnet", "hex digits"),
    # The tracker
    (["announce", "", HASH], "''", "host"),
    (["announce", "127.0.0.1", HASH], "'127.0.0.1'", "port"),
    (["announce", "udp://127.0.0.1/announce", HASH], "port is missing", "udp://host:port"),
    (["announce", "udp://127.0.0.1:", HASH], "port is missing", "udp://host:port"),
    (["announce", "127.0.0.1:0", HASH], "'0'", "1 to 65535"),
    (["announce", "127.0.0.1:65536", HASH], "'65536'", "1 to 65535"),
    (["announce", "127.0.0.1:-1", HASH], "'-1'", "1 to 65535"),
    (["announce", "127.0.0.1:http", HASH], "'http'", "1 to 65535"),
    (["announce", "127.0.0.1:6\u0669", HASH], "'6\u0669'", "1 to 65535"),
    (["announce", "http://127.0.0.1:6969", HASH], "'http'", "udp"),
    (["announce", "://127.0.0.1:6969", HASH], "scheme", "udp://host:port"),
    (["announce", "udp://:6969", HASH], "''", "host name"),
    (["announce", "udp://a b:6969", HASH], "a b", "spaces"),
    (["announce", "udp://a\\b:6969", HASH], "a\\\\b", "backslash"),
    (["announce", "udp://a..b:6969", HASH], "a..b", "host name"),
    (["announce", "udp://a*b:6969", HASH], "a*b", "host name"),
    (["announce", "udp://" + "a" * 64 + ":6969", HASH], "aaa", "host name"),
    (["announce", "udp://" + "a." * 127 + "com:6969", HASH], "a.com", "host name"),
    (["announce", "::1:6969", HASH], "::1:6969", "brackets"),
    (["announce", "udp://[::1:6969", HASH], "[::1:6969", "brackets"),
    (["announce", "udp://[::1]6969", HASH], "[::1]6969", "brackets"),
    (["announce", "udp://[127.0.0.1]:6969", HASH], "'127.0.0.1'", "IPv6 address"),
    (["announce", "udp://[::g]:6969", HASH], "'::g'", "IPv6 address"),
    (["announce", "udp://[::1%]:6969", HASH], "'::1%'", "IPv6 address"),
    (["announce", "udp://[::1%a/b]:6969", HASH], "[::1%a/b]", "IPv6 address"),
    (["announce", "[::1]:6969", HASH, "-4"], "::1", "-4"),
    (["announce", "[::1]:6969", HASH, "--ipv4"], "IPv4", "-4"),
    (["scrape", "TRACKER", HASH, "-6"], "127.0.0.1", "-6"),
    # Numbers and the like
    (ANNOUNCE + ["--port", "0"], "'0'", "1 to 65535"),
    (ANNOUNCE + ["--port", "65536"], "'65536'", "1 to 65535"),
    (ANNOUNCE + ["--key", "2147483648"], "'2147483648'", "-2147483648 to 2147483647"),
    (ANNOUNCE + ["--key", "-2147483649"], "'-2147483649'", "-2147483648 to 2147483647"),
    (ANNOUNCE + ["--key", ""], "''", "whole number"),
    (ANNOUNCE + ["--key", "1_000"], "'1_000'", "whole number"),
    (ANNOUNCE + ["--key", "1.5"], "'1.5'", "whole number"),
    (ANNOUNCE + ["--key", "0x1"], "'0x1'", "whole number"),
    (ANNOUNCE + ["--key", "\u0664"], "'\u0664'", "whole number"),
    (ANNOUNCE + ["--key", "9" * 5000], "999", "whole number"),
    (ANNOUNCE + ["--key", "-4", "--port", "--key"], "'--key'", "whole number"),
    (ANNOUNCE + ["--peers-wanted", "2147483648"], "'2147483648'", "to 2147483647"),
    (ANNOUNCE + ["--peers-wanted", "many"], "'many'", "whole number"),
    (ANNOUNCE + ["--uploaded", "-1"], "'-1'", "0 to 9223372036854775807"),
    (ANNOUNCE + ["--downloaded", "9223372036854775808"], "5808'", "0 to 9223372036854775807"),
    (ANNOUNCE + ["--left", "1e3"], "'1e3'", "0 to 9223372036854775807"),
    (ANNOUNCE + ["--event", "paused"], "'paused'", "stopped"),
    (ANNOUNCE + ["--format", "xml"], "'xml'", "compact"),
    (ANNOUNCE + ["--ip-address", "1.2.3"], "'1.2.3'", "IPv4 address"),
    (ANNOUNCE + ["--ip-address", "::1"], "'::1'", "IPv4 address"),
    (ANNOUNCE + ["--peer-id", "-TR4040-"], "'-TR4040-'", "20 ASCII characters"),
    (ANNOUNCE + ["--peer-id", "-TR4040-abcdefghijk\xe9"], "abcdefghijk\xe9'", "40 hex digits"),
    (ANNOUNCE + ["--peer-id", "-TR4040-abcdefghijk\t"], "abcdefghijk\\t'", "20 ASCII characters"),
    (ANNOUNCE + ["--peer-id", "0g" * 20], "0g0g", "40 hex digits"),
    (ANNOUNCE + ["--timeout", "0"], "'0'", "above 0"),
    (ANNOUNCE + ["--timeout", "-1"], "'-1'", "seconds above 0"),
    (ANNOUNCE + ["--timeout", "nan"], "'nan'", "number of seconds"),
    (ANNOUNCE + ["--timeout", "inf"], "'inf'", "at most 86400"),
    (ANNOUNCE + ["--timeout", "1e999"], "'1e999'", "at most 86400"),
    (ANNOUNCE + ["--timeout", "86400.1"], "'86400.1'", "at most 86400"),
    (ANNOUNCE + ["--timeout", "5s"], "'5s'", "number of seconds"),
    (ANNOUNCE + ["--timeout", "\u0665"], "'\u0665'", "number of seconds"),
]


def name_of(arguments):
    return " ".join(word[:24] for word in arguments[:6]).replace(HASH[:24], "HASH") or "nothing"


@pytest.mark.parametrize(
    "arguments, wrong, expected", WRONG, ids=[name_of(arguments) for arguments, _, _ in WRONG]
)
def test_wrong_usage(udp, tracker, arguments, wrong, expected):
    result = udp(*filled_in(arguments, tracker))
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(SCRIPT + ": error: ")
    assert result.stderr.endswith("\n")
    (message,) = result.stderr.splitlines()
    assert message.isprintable()
    assert wrong in message
    assert expected in message
    assert "--help" in message
    check_that_nothing_arrived(tracker)


HOSTILE = "\x1b[31mred\r\n\x7f\x9b\u202e\u200f"


@pytest.mark.parametrize("arguments", [
    [HOSTILE],
    ["announce", "udp://" + HOSTILE + ":6969", HASH],
    ["announce", "udp://127.0.0.1:1/" + HOSTILE, HASH],
    ["announce", HOSTILE + "://127.0.0.1:1", HASH],
    ["announce", "127.0.0.1:" + HOSTILE, HASH],
    ["scrape", "TRACKER", HOSTILE],
    ["scrape", "TRACKER", "magnet:?xt=urn:btih:" + HOSTILE],
    ANNOUNCE + [HOSTILE],
    ANNOUNCE + ["--" + HOSTILE],
    ANNOUNCE + ["-" + HOSTILE],
    ANNOUNCE + ["--ipv4=" + HOSTILE],
] + [
    ANNOUNCE + [option, HOSTILE]
    for option in OPTIONS
    if option not in ("--help", "--version", "--verbose", "--ipv4", "--ipv6")
], ids=lambda arguments: ascii(name_of(arguments)))
def test_control_characters_in_arguments_come_out_escaped(udp, tracker, arguments):
    # The last one is a byte that is no UTF-8.
    arguments = [word.replace(HOSTILE, HOSTILE + "\udcff") for word in arguments]
    result = udp(*filled_in(arguments, tracker))
    assert (result.code, result.stdout) == (2, "")
    assert result.stderr.startswith(SCRIPT + ": error: ")
    message, end = result.stderr.split("\n")
    assert end == ""
    assert message.isprintable()
    assert "\\x1b" in message or "control characters" in message
    check_that_nothing_arrived(tracker)


@pytest.mark.parametrize("arguments, named", [
    # Without a command it says how to see the options of each.
    (["--help"], ["--help", "--version", "announce --help"]),
    (["-h"], ["--help", "--version", "announce --help"]),
    (["announce", "-h"], OPTIONS),
    (["scrape", "--help"], OPTIONS[OPTIONS.index("--format") :]),
])
def test_help(udp, arguments, named):
    result = udp(*arguments)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.endswith("\n")
    examples = result.stdout.partition("\nexamples:\n")[2]
    assert examples.startswith("  " + SCRIPT)
    # Each example is what it says: it parses.
    commands = [line.partition(SCRIPT)[2].partition("|")[0] for line in examples.splitlines()]
    commands = [command.replace("'", "").split() for command in commands if command]
    assert commands
    for command in commands:
        if "--help" not in command:
            udp_tracker_client.parse_arguments(command, SCRIPT)
    exit_codes = result.stdout.partition("exit codes:")[2]
    assert {"0", "1", "2", "130", "143"} <= set(re.findall(r"[0-9]+", exit_codes))
    assert [option for option in named if option not in result.stdout] == []


def test_help_wins_over_what_is_missing(udp):
    assert udp("announce", "--help").code == 0
    assert udp("--timeout", "1", "-h", "scrape").code == 0


@pytest.mark.parametrize("arguments", [["--version"], ["announce", "--version"]])
def test_version(udp, arguments):
    result = udp(*arguments)
    assert (result.code, result.stderr) == (0, "")
    assert re.match(re.escape(SCRIPT) + r" [0-9]+\.[0-9]+\.[0-9]+\n\Z", result.stdout)


# Verbose


def test_verbose(udp, tracker):
    quiet = udp("announce", tracker.udp_url, HASH)
    for option in ("-v", "--verbose"):
        result = udp("announce", tracker.udp_url, HASH, option)
        assert result.code == 0
        assert set(result.json["AnnounceIpv4"]) == set(quiet.json["AnnounceIpv4"])
        address = tracker.udp_url[len("udp://") :]
        assert address in result.stderr
        # What was sent, and the round-trip times.
        assert "connect" in result.stderr
        assert "announce" in result.stderr
        assert len(re.findall(r"[0-9]\.[0-9]+ ms", result.stderr)) == 2


def test_verbose_names_what_is_ignored(udp, tracker):
    tracker.udp_fault = "wrong-transaction-id-first"
    result = udp("scrape", tracker.udp_url, HASH, "-v")
    assert result.code == 0
    assert result.stderr.count("ignored") == 2


def test_verbose_names_all_addresses(two_addresses):
    two_addresses.udp_faults["127.0.0.1"] = "silent"
    code, _, stderr = two_addresses.ask("announce", "-v")
    assert code == 0
    for address in two_addresses.addresses:
        assert "{}:{}".format(address, two_addresses.udp_port) in stderr


@pytest.mark.parametrize("variable", ["all_proxy", "http_proxy"])
def test_verbose_says_that_udp_knows_no_proxy(udp, tracker, variable):
    env = {variable: "socks5://127.0.0.1:1"}
    assert "proxy" in udp("announce", tracker.udp_url, HASH, "-v", env=env).stderr
    assert udp("announce", tracker.udp_url, HASH, env=env).stderr == ""


# Where it runs


def test_alone_in_an_empty_folder(run_script, python, tracker, tmp_path):
    copy = shutil.copy(os.path.join(ROOT, SCRIPT), str(tmp_path))
    result = run_script(copy, "announce", tracker.udp_url, HASH, python=python, cwd=str(tmp_path))
    assert (result.code, result.stderr, list(result.json)) == (0, "", ["AnnounceIpv4"])
    assert os.listdir(str(tmp_path)) == [SCRIPT]


def test_as_an_executable(tracker, tmp_path):
    shutil.copy(os.path.join(ROOT, SCRIPT), str(tmp_path))
    result = run_command(["./" + SCRIPT, "announce", tracker.udp_url, HASH], cwd=str(tmp_path))
    assert (result.code, result.stderr) == (0, "")
    assert list(result.json) == ["AnnounceIpv4"]


def test_from_standard_input(tracker, tmp_path):
    command = PYTHON + ["-", "announce", tracker.udp_url, HASH, "--key", "-4"]
    with open(os.path.join(ROOT, SCRIPT)) as script:
        result = run_command(command, stdin=script, cwd=str(tmp_path))
    assert (result.code, result.stderr) == (0, "")
    assert list(result.json) == ["AnnounceIpv4"]
    (fields,) = requests_of(tracker, "announce")
    assert fields["key"] == -4


def test_without_a_locale(udp, tracker):
    tracker.udp_fault = "error-control-characters"
    result = udp("announce", tracker.udp_url, HASH, env={"LC_ALL": "C", "LANG": "C"})
    assert result.json["Error"]["message"] == HOSTILE_TEXT


# Where nobody reads what is said on stderr


@pytest.mark.parametrize("fault, code", [(None, 0), ("wrong-action", 1), ("scrape-short", 0)])
def test_a_closed_stderr(tracker, fault, code):
    tracker.udp_fault = fault
    result = run_redirected("2>&-", "scrape", tracker.udp_url, HASH, "-v")
    assert (result.code, result.stderr) == (code, "")
    assert result.stdout[:1] == ("{" if code == 0 else "")
