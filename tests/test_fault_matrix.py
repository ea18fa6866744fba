# SPDX-License-Identifier: LGPL-3.0-only
"""The fault matrix: each fault of the loopback tracker against both clients and the checker.

The two tables say what each fault has to come to. The scripts are run as commands, their main()
in a forked process each, so that hundreds of them do not wait for as many interpreters to start.
"""

import json
from contextlib import ExitStack

import pytest
from helpers import PYTHON, ROOT, START, json_lines, run_command
from loopback_faults import HANDSHAKE_FAULTS, HTTP_FAULTS, UDP_FAULTS
from loopback_tracker import HEALTH_PATH, LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
# Seconds: enough for two replies that take one second each, whatever else the machine does.
TIMEOUT = 3
# Of the name that a hostile redirect leads to: IDNA takes minutes for it.
LONG_NAME = "".join(map(chr, range(0x4E00, 0x4E00 + 12000)))

# What each fault comes to: for the announce and the scrape of a client, and for the checker.
#
#   ok        the answer, exit 0
#   short     the answer and a warning that it has fewer torrents than asked for, exit 0
#   error     the tracker's error reply, or its failure reason, as JSON, exit 1
#   others    an error record of that kind (invalid: invalid_response, status: http_status), exit 1
#   +json     the record, and the reply as JSON
#   a|b       either: which one is a matter of chance
#
# The checker and its health checks: the status of the result.
UDP_TABLE = """
fault                         announce      scrape        checker
silent                        timeout       timeout       timeout
slow                          ok            ok            ok
loss-10                       ok|timeout    ok|timeout    ok|partial|timeout
loss-20                       ok|timeout    ok|timeout    ok|partial|timeout
lose-first                    ok            ok            ok
lose-first-three              ok            ok            ok
late                          ok            ok            ok
duplicate                     ok            ok            ok
duplicate-late                ok            ok            ok
other-port                    timeout       timeout       timeout
other-port-first              ok            ok            ok
echo                          timeout       timeout       timeout
junk                          timeout       timeout       timeout
junk-first                    ok            ok            ok
empty-datagram                timeout       timeout       timeout
empty-datagram-first          ok            ok            ok
short                         timeout       timeout       timeout
huge-datagram                 ok            ok            ok
wrong-transaction-id          timeout       timeout       timeout
wrong-transaction-id-first    ok            ok            ok
wrong-transaction-id-flood    ok|timeout    ok|timeout    ok|partial|timeout
wrong-action                  invalid       invalid       error
unknown-action                invalid       invalid       error
connection-id-zero            ok            ok            ok
silent-connect                timeout       timeout       timeout
connect-short                 invalid       invalid       error
connect-extra                 ok            ok            ok
error-on-connect              error         error         error
error-reply                   error         error         error
error-empty                   error         error         error
error-with-nul                error         error         error
error-control-characters      error         error         error
error-invalid-utf8            error         error         error
error-huge                    error         error         error
reject-connection-id-once     ok            ok            ok
reject-connection-id-always   error         error         error
silent-announce               timeout       ok            timeout
eight-bytes                   invalid       ok            error
announce-short                invalid       ok            error
error-on-announce             error         ok            error
negative-numbers              ok            ok            ok
huge-numbers                  ok            ok            ok
peers-uneven                  ok            ok            ok
peers-port-zero               ok            ok            ok
many-peers                    ok            ok            ok
ipv6-peers-over-ipv4          ok            ok            ok
silent-scrape                 ok            timeout       partial
scrape-empty                  ok            short         partial
scrape-short                  ok            short         partial
scrape-uneven                 ok            short         partial
scrape-extra                  ok            ok            ok
scrape-negative               ok            ok            ok
error-on-scrape               ok            error         partial
"""
HTTP_TABLE = """
fault                             announce           scrape             checker        health
none                              ok                 ok                 ok             ok
silent                            timeout            timeout            timeout        timeout
silent-after-status-line          timeout            timeout            timeout        timeout
silent-after-headers              timeout            timeout            timeout        ok
silent-in-body                    timeout            timeout            timeout        ok
silent-handshake                  timeout            timeout            timeout        timeout
slow                              ok                 ok                 ok             ok
close                             invalid            invalid            error          error
close-after-status-line           invalid            invalid            error          ok
close-in-headers                  invalid            invalid            error          ok
reset                             invalid            invalid            error          error
reset-in-body                     invalid            invalid            error          ok
reset-handshake                   tls                tls                error          error
drip-handshake                    timeout            timeout            timeout        timeout
drip-status-line                  timeout            timeout            timeout        timeout
drip-headers                      timeout            timeout            timeout        timeout
drip-continue                     timeout            timeout            timeout        timeout
drip-body                         timeout            timeout            timeout        ok
drip-chunk-size                   timeout            timeout            timeout        ok
drip-chunks                       timeout            timeout            timeout        ok
endless-status-line               too_large          too_large          error          error
endless-continue                  too_large          too_large          error          error
endless-headers                   too_large          too_large          error          error
endless-header-line               too_large          too_large          error          error
too-many-headers                  too_large          too_large          error          error
endless-body                      too_large|timeout  too_large|timeout  error|timeout  ok
endless-chunks                    too_large|timeout  too_large|timeout  error|timeout  ok
endless-small-chunks              too_large|timeout  too_large|timeout  error|timeout  ok
endless-chunk-size-line           too_large|timeout  too_large|timeout  error|timeout  ok
endless-trailers                  too_large|timeout  too_large|timeout  error|timeout  ok
large-body                        too_large|timeout  too_large|timeout  error|timeout  ok
not-http                          invalid            invalid            error          error
binary-junk                       invalid            invalid            error          error
no-status-line                    invalid            invalid            error          error
status-not-a-number               invalid            invalid            error          error
header-without-colon              ok                 ok                 ok             ok
html                              invalid            invalid            error          ok
html-400                          status             status             error          error
html-404                          status             status             error          error
html-503                          status             status             error          error
html-control-characters           invalid            invalid            error          ok
content-type-control-characters   invalid            invalid            error          ok
reason-phrase-control-characters  status             status             error          error
answer-404                        status+json        status+json        error          error
answer-500                        status+json        status+json        error          error
status-204                        invalid            invalid            error          ok
status-304                        invalid            invalid            error          error
status-401                        status             status             error          error
status-500                        status             status             error          error
status-999                        status             status             error          error
empty-body                        invalid            invalid            error          ok
cut-off                           invalid            invalid            error          ok
shorter-than-announced            invalid            invalid            error          ok
longer-than-announced             invalid            invalid            error          ok
huge-content-length               too_large          too_large          error          ok
negative-content-length           ok                 ok                 ok             ok
content-length-not-a-number       ok                 ok                 ok             ok
keep-open                         ok                 ok                 ok             ok
no-length-no-end                  timeout            timeout            timeout        ok
http-1.0-no-length                ok                 ok                 ok             ok
continue                          ok                 ok                 ok             ok
chunked                           ok                 ok                 ok             ok
chunked-with-extras               ok                 ok                 ok             ok
chunks-cut-off                    invalid            invalid            error          ok
bad-chunk-size                    invalid            invalid            error          ok
negative-chunk-size               invalid            invalid            error          ok
huge-chunk-size                   invalid            invalid            error          ok
gzip                              ok                 ok                 ok             ok
gzip-broken                       invalid            invalid            error          ok
gzip-cut-off                      invalid            invalid            error          ok
gzip-not                          invalid            invalid            error          ok
gzip-bomb                         too_large|timeout  too_large|timeout  error|timeout  ok
deflate                           ok                 ok                 ok             ok
unknown-coding                    invalid            invalid            error          ok
redirect                          ok                 ok                 ok             ok
redirect-308                      ok                 ok                 ok             ok
redirect-relative                 ok                 ok                 ok             ok
redirect-other-host               error              error              error          ok
redirect-loop                     redirect           redirect           error          error
redirect-endless                  redirect           redirect           error          error
redirect-slow                     timeout            timeout            timeout        timeout
redirect-to-silence               timeout            timeout            timeout        timeout
redirect-to-drip                  timeout            timeout            timeout        ok
redirect-to-closed-port           refused            refused            error          error
redirect-file                     redirect           redirect           error          error
redirect-ftp                      redirect           redirect           error          error
redirect-no-location              redirect           redirect           error          error
redirect-bad-url                  redirect           redirect           error          error
redirect-control-characters       redirect           redirect           error          error
redirect-crlf                     redirect           redirect           error          error
trailing-crlf                     ok                 ok                 ok             ok
trailing-junk                     invalid            invalid            error          ok
text-html-bencode                 ok                 ok                 ok             ok
failure                           error              error              error          ok
failure-404                       error              error              error          ok
failure-503                       error              error              error          ok
failure-retry-in                  error              error              error          ok
failure-retry-never               error              error              error          ok
failure-empty                     error              error              error          ok
failure-control-characters        error              error              error          ok
failure-latin1                    error              error              error          ok
failure-not-text                  error              error              error          ok
failure-beside-answer             error              error              error          ok
not-a-dictionary                  invalid+json       invalid+json       error          ok
empty-dictionary                  invalid+json       invalid+json       error          ok
control-characters-in-keys        ok                 ok                 ok             ok
unsorted-keys                     ok                 ok                 ok             ok
duplicate-keys                    ok                 ok                 ok             ok
deep-nesting                      invalid            invalid            error          ok
huge-integer                      invalid            invalid            error          ok
leading-zero                      invalid            invalid            error          ok
huge-string-length                invalid            invalid            error          ok
missing-interval                  ok                 ok                 ok             ok
missing-min-interval              ok                 ok                 ok             ok
missing-counts                    ok                 ok                 ok             ok
missing-peers                     ok                 ok                 ok             ok
wrong-types                       ok                 ok                 ok             ok
odd-types                         ok                 ok                 ok             ok
negative-numbers                  ok                 ok                 ok             ok
extra-keys                        ok                 ok                 ok             ok
warning-control-characters        ok                 ok                 ok             ok
peers-only                        ok                 ok                 ok             ok
peers6-only                       ok                 ok                 ok             ok
uneven-peers                      ok                 ok                 ok             ok
dictionary-peers                  ok                 ok                 ok             ok
named-peers                       ok                 ok                 ok             ok
broken-dictionary-peers           ok                 ok                 ok             ok
peer-control-characters           ok                 ok                 ok             ok
many-peers                        ok                 ok                 ok             ok
too-many-peers                    too_large          ok                 error          ok
scrape-silent                     ok                 timeout            partial        ok
scrape-empty                      ok                 short              ok             ok
scrape-truncated                  ok                 short              ok             ok
scrape-flags                      ok                 ok                 ok             ok
scrape-extra-keys                 ok                 ok                 ok             ok
scrape-odd-types                  ok                 ok                 ok             ok
scrape-negative                   ok                 ok                 ok             ok
scrape-name-control-characters    ok                 ok                 ok             ok
missing-files                     ok                 invalid+json       partial        ok
files-not-a-dictionary            ok                 invalid+json       partial        ok
files-of-numbers                  ok                 ok                 ok             ok
latin1-hashes                     ok                 ok                 ok             ok
hex-hashes                        ok                 short              ok             ok
odd-hashes                        ok                 short              ok             ok
"""

# Runs main() of the clients in forked processes: [[script, arguments], …] on stdin, for each
# [exit code, stdout, stderr, seconds] on stdout.
DRIVER = '''\
import json, os, sys, tempfile, time

root, most = sys.argv[1], 24
sys.path.insert(0, root)
import bencode, http.client, http_tracker_client, selectors, socket, ssl, udp_tracker_client
import urllib.request

modules = {"udp": udp_tracker_client, "http": http_tracker_client}
waiting = list(enumerate(json.load(sys.stdin)))
running, results = {}, {}


def start(number, script, arguments):
    streams = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.dup2(streams[0].fileno(), 1)
        os.dup2(streams[1].fileno(), 2)
        sys.argv = [script] + arguments
        module = modules[script]
        module.run(module.main)
    running[child] = number, began, streams


while waiting or running:
    while waiting and len(running) < most:
        number, (script, arguments) = waiting.pop(0)
        start(number, script, arguments)
    child, status = os.wait()
    number, began, streams = running.pop(child)
    seconds = time.monotonic() - began
    texts = []
    for stream in streams:
        stream.seek(0)
        texts.append(stream.read().decode("utf-8", "surrogateescape"))
        stream.close()
    results[number] = [os.WEXITSTATUS(status), texts[0], texts[1], seconds]
json.dump([results[number] for number in sorted(results)], sys.stdout)
'''


def parse_table(table, faults):
    """Returns {fault: {column: the outcomes that are right}}; it has to have all the faults."""
    header, *rows = [line.split() for line in table.strip().splitlines()]
    expected = {}
    for row in rows:
        assert len(row) == len(header) and row[0] not in expected, row
        expected[row[0]] = {
            column: {long_word(word) for word in cell.split("|")}
            for column, cell in zip(header[1:], row[1:])
        }
    assert set(expected) == set(faults)
    return expected


def long_word(word):
    kind, plus, rest = word.partition("+")
    return {"invalid": "invalid_response", "status": "http_status"}.get(kind, kind) + plus + rest


class World:
    """A loopback tracker with every fault at an address of its own: 127.1.x.y over UDP, 127.2.x.y
    over HTTP. Faults of the TLS handshake need a tracker each."""

    def __init__(self, stack):
        self.tracker = stack.enter_context(LoopbackTracker(hosts=("0.0.0.0",)))
        # Without the query of the announce, which a redirect has to carry itself.
        self.tracker.redirect_target = "http://127.0.0.3:{}/announce".format(self.tracker.http_port)
        self.udp = {}
        for fault, address in zip(UDP_FAULTS, addresses(1)):
            self.tracker.udp_faults[address] = fault
            self.udp[fault] = "udp://{}:{}".format(address, self.tracker.udp_port)
        self.http, self.health = {}, {}
        for fault, http, health in zip(HTTP_FAULTS, addresses(2), addresses(3)):
            path = "/fault/" + fault
            ports = self.tracker.http_port, self.tracker.health_port
            scheme = "http"
            if fault in HANDSHAKE_FAULTS:
                faults = {"http_fault": fault, "health_fault": fault}
                broken = stack.enter_context(LoopbackTracker(hosts=(http, health), **faults))
                ports = broken.http_port, broken.health_port
                path, scheme = "", "https"
            self.http[fault] = "{}://{}:{}{}/announce".format(scheme, http, ports[0], path)
            self.health[fault] = "{}://{}:{}{}{}".format(
                scheme, health, ports[1], path, HEALTH_PATH
            )


def addresses(network):
    return ("127.{}.{}.{}".format(network, 1 + i // 250, 1 + i % 250) for i in range(60000))


@pytest.fixture
def world():
    with ExitStack() as stack:
        yield World(stack)


def run_clients(cases):
    """Runs [(script, [argument, …]), …] side by side; returns [(code, stdout, stderr, seconds)]."""
    command = PYTHON + ["-c", DRIVER, ROOT]
    result = run_command(command, input=json.dumps(cases), timeout=100)
    assert result.code == 0, result.stderr
    return result.json


def outcome_of(code, stdout, stderr, given):
    """Returns the word of the tables for what a client did; AssertionError for what none may do."""
    for text in (stdout, stderr):
        assert text.isascii() and text.replace("\n", "").isprintable(), "raw control characters"
    assert "Traceback" not in stderr
    reply = json.loads(stdout) if stdout else None
    assert not stdout or stdout.endswith("\n") and not stdout.endswith("\n\n")
    if not stderr:
        is_error = "Error" in reply or "failure reason" in reply
        assert code == (1 if is_error else 0)
        return "error" if is_error else "ok"
    assert stderr.count("\n") == 1
    ((name, record),) = json.loads(stderr).items()
    if name == "warning":
        assert (code, record["kind"]) == (0, "scrape_response_truncated")
        assert record["returned"] < record["requested"] == 2
        return "short"
    assert (name, code, record["source"]) == ("error", 1, given)
    assert list(record) == ["kind", "source", "message"] and record["message"]
    return record["kind"] + ("+json" if stdout else "")


def check_client(script, urls, table):
    expected = parse_table(table, urls)
    commands = {"announce": [HASH], "scrape": [HASH, OTHER_HASH]}
    keys = [(fault, command) for fault in urls for command in commands]
    cases = [
        (script, [command, urls[fault], "--timeout", str(TIMEOUT)] + commands[command])
        for fault, command in keys
    ]
    problems = []
    for (fault, command), (code, stdout, stderr, seconds) in zip(keys, run_clients(cases)):
        try:
            outcome = outcome_of(code, stdout, stderr, urls[fault])
            assert outcome in expected[fault][command], outcome
            assert seconds < TIMEOUT + 1, "took {:.2f} s".format(seconds)
        except Exception as error:
            problems.append((fault, command, error, code, stdout[:200], stderr[:300]))
    assert problems == []


def test_there_are_more_than_forty_faults():
    # The same word stands for the same fault over UDP and HTTP.
    assert len(set(UDP_FAULTS) | set(HTTP_FAULTS)) >= 40


def test_the_udp_client(world):
    check_client("udp", world.udp, UDP_TABLE)


def test_the_http_client(world):
    check_client("http", world.http, HTTP_TABLE)


def test_the_checker_has_one_result_each_and_all_in_time(run_script, world):
    expected = {}
    for urls, table, column in (
        (world.udp, UDP_TABLE, "checker"),
        (world.http, HTTP_TABLE, "checker"),
        (world.health, HTTP_TABLE, "health"),
    ):
        table = parse_table(table, urls)
        expected.update((urls[fault], (fault, table[fault][column])) for fault in urls)
    health = [word for url in world.health.values() for word in ("--health", url)]
    trackers = list(world.udp.values()) + list(world.http.values())
    options = ["--format", "ndjson", "--timeout", TIMEOUT]
    result = run_script("tracker_checker.py", "-", *options, *health, stdin="\n".join(trackers))
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.isascii() and result.stdout.replace("\n", "").isprintable()
    records = json_lines(result.stdout)
    found = {record["tracker"]: record for record in records}
    assert len(found) == len(records)
    assert set(found) == set(expected)
    problems = []
    for url, (fault, statuses) in expected.items():
        record = found[url]
        right = record["status"] in statuses and (record["status"] == "ok" or record["message"])
        if not right or record["elapsed_ms"] > (TIMEOUT + 1) * 1000:
            problems.append((fault, statuses, record))
    assert problems == []
    assert result.seconds < TIMEOUT + 1 + START


def test_a_busy_neighbour_does_not_make_a_tracker_down(run_script, world):
    """Hundreds of HTTP checks, many of them floods, start beside UDP trackers that are well."""
    live = ["udp://127.9.0.{}:{}".format(i, world.tracker.udp_port) for i in range(1, 101)]
    floods = ("endless", "gzip-bomb", "deep-nesting", "many-peers", "large-body", "html")
    busy = [
        url.replace("127.2.", "127.{}.".format(network))
        for fault, url in world.http.items() if fault.startswith(floods)
        for network in range(20, 36)
    ]
    options = ["--format", "ndjson", "--timeout", TIMEOUT]
    for _ in range(2):
        result = run_script("tracker_checker.py", "-", *options, stdin="\n".join(live + busy))
        records = json_lines(result.stdout)
        status = {record["tracker"]: record["status"] for record in records}
        assert len(status) == len(live + busy)
        assert [url for url in live if status[url] != "ok"] == []


@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_redirect_to_a_host_name_without_end(run_script, world, command):
    world.tracker.redirect_target = "http://{}/announce".format(LONG_NAME)
    url = world.http["redirect-other-host"]
    result = run_script("http_tracker_client.py", command, url, HASH, "--timeout", TIMEOUT)
    assert outcome_of(result.code, result.stdout, result.stderr, url) == "redirect"
    assert result.seconds < TIMEOUT + 1 + START


def test_a_host_name_without_end_in_a_list(run_script):
    given = "udp://{}:6969".format(LONG_NAME)
    result = run_script("tracker_checker.py", "-", "--timeout", TIMEOUT, stdin=given)
    (entry,) = result.json
    assert entry["Unsupported"]["Err"]["url"] == given
    assert result.seconds < TIMEOUT + 1 + START
