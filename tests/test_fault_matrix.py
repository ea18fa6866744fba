# SPDX-License-Identifier: LGPL-3.0-only
"""The fault matrix: what each fault of the loopback tracker comes to, and nowhere else.

The tables say it, for both clients, the checker and its health checks. A new fault of the
tracker needs its row here. The scripts are run as commands by the oldest and the newest Python
found, each in a forked process, so that hundreds of them do not wait for as many interpreters to
start. Whatever the fault: a run ends within its time-out and a second, with one record on stderr
or none, no traceback, and nothing but JSON on stdout.
"""

import json
import ssl
import subprocess
import sys
from contextlib import ExitStack
from itertools import chain, cycle, islice

import pytest
import trustme
from helpers import ROOT, Result, clean_environment, json_lines
from loopback_faults import HANDSHAKE_FAULTS, HTTP_FAULTS, UDP_FAULTS, WS_FAULTS
from loopback_tracker import HEALTH_PATH, LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
OTHER_HASH = "443c7602b4fde83d1154d6d9da48808418b181b6"
# Seconds: enough for two replies that take one second each, whatever else the machine does.
TIMEOUT = 5
# Of the name that a hostile redirect leads to: IDNA takes minutes for it.
LONG_NAME = "".join(map(chr, range(0x4E00, 0x4E00 + 12000)))

# What each fault comes to. For a client, in a word where announce and scrape do the same:
#
#   ok        the answer, exit 0
#   short     the answer and a warning that it has fewer torrents than asked for, exit 0
#   error     the tracker's error reply, or its failure reason, as JSON, exit 1
#   others    an error record of that kind (invalid: invalid_response, status: http_status), exit 1
#   +json     the record, and the reply as JSON
#   a|b       either: which one is a matter of chance, or of how busy the machine is
#   a/b       a for announce, b for scrape
#
# For the checker and its health checks: the status of the result. Last, words that stand in what
# the client says where it has no answer, and in the message of the checker's result.
UDP_TABLE = """
fault                        client      checker             says
silent                       timeout     timeout
slow                         ok          ok
loss-10                      ok|timeout  ok|partial|timeout
loss-20                      ok|timeout  ok|partial|timeout
lose-first                   ok          ok
lose-first-three             ok          ok
late                         ok          ok
duplicate                    ok          ok
duplicate-late               ok          ok
other-port                   timeout     timeout
other-port-first             ok          ok
echo                         timeout     timeout
junk                         timeout     timeout
junk-first                   ok          ok
empty-datagram               timeout     timeout
empty-datagram-first         ok          ok
short                        timeout     timeout
huge-datagram                ok          ok
wrong-transaction-id         timeout     timeout
wrong-transaction-id-first   ok          ok
wrong-transaction-id-flood   ok|timeout  ok|partial|timeout
wrong-action                 invalid     error               action 1
unknown-action               invalid     error               action 7
connection-id-zero           ok          ok
silent-connect               timeout     timeout             connect
connect-short                invalid     error               connect 12
connect-extra                ok          ok
error-on-connect             error       error               come back later
error-reply                  error       error               torrent not registered
error-empty                  error       error
error-with-nul               error       error               torrent not registered
error-control-characters     error       error
error-invalid-utf8           error       error               refusé
error-huge                   error       error
reject-connection-id-once    ok          ok
reject-connection-id-always  error       error               mismatch
silent-announce              timeout/ok  timeout             announce
eight-bytes                  invalid/ok  error               announce 8 bytes opentracker
announce-short               invalid/ok  error               announce 16 bytes
error-on-announce            error/ok    error               torrent not registered
negative-numbers             ok          ok
huge-numbers                 ok          ok
peers-uneven                 ok          ok
peers-port-zero              ok          ok
many-peers                   ok          ok
ipv6-peers-over-ipv4         ok          ok
silent-scrape                ok/timeout  partial             scrape
scrape-empty                 ok/short    partial
scrape-short                 ok/short    partial
scrape-uneven                ok/short    partial
scrape-extra                 ok          ok
scrape-negative              ok          ok
error-on-scrape              ok/error    partial             scrape is not allowed
scrape-sorted                ok          ok
scrape-sorted-distinct       ok          ok
scrape-reversed              ok          ok
scrape-random                ok          ok
scrape-first-50              ok          ok
scrape-first-70              ok          ok
scrape-known                 ok/short    ok|partial
scrape-one-extra             ok          ok
scrape-then-silent           ok/ok|timeout  ok|partial       scrape
scrape-delayed               ok          ok
scrape-overtaking            ok          ok
scrape-doubled               ok          ok
"""
HTTP_TABLE = r"""
fault                             client             checker        health   says
none                              ok                 ok             ok
silent                            timeout            timeout        timeout
silent-after-status-line          timeout            timeout        timeout
silent-after-headers              timeout            timeout        ok
silent-in-body                    timeout            timeout        ok
silent-handshake                  timeout            timeout        timeout
slow                              ok                 ok             ok
close                             invalid            error          error
close-after-status-line           invalid            error          ok
close-in-headers                  invalid            error          ok
reset                             invalid            error          error
reset-in-body                     invalid            error          ok
reset-handshake                   invalid|tls        error          error
drip-handshake                    timeout            timeout        timeout
drip-status-line                  timeout            timeout        timeout
drip-headers                      timeout            timeout        timeout
drip-continue                     timeout            timeout        timeout
drip-body                         timeout            timeout        ok
drip-chunk-size                   timeout            timeout        ok
drip-chunks                       timeout            timeout        ok
endless-status-line               too_large          error          error
endless-continue                  too_large          error          error
endless-headers                   too_large          error          error
endless-header-line               too_large          error          error
too-many-headers                  too_large          error          error
endless-body                      too_large|timeout  error|timeout  ok
endless-chunks                    too_large|timeout  error|timeout  ok
endless-small-chunks              too_large|timeout  error|timeout  ok
endless-chunk-size-line           too_large|timeout  error|timeout  ok
endless-trailers                  invalid            error          ok
large-body                        too_large|timeout  error|timeout  ok
not-http                          invalid            error          error    220 mail.example
binary-junk                       invalid            error          error
no-status-line                    invalid            error          error
status-not-a-number               invalid            error          error    OK 200
header-without-colon              ok                 ok             ok
html                              invalid            error          ok       200 text/html Welcome
html-400                          status             error          error    400 text/html Welcome
html-404                          status             error          error    404 text/html Welcome
html-503                          status             error          error    503 text/html Welcome
html-control-characters           invalid            error          ok       200 \x1b
content-type-control-characters   invalid            error          ok       text/html\x1b
reason-phrase-control-characters  status             error          error    404 \x1b
answer-404                        status+json        error          error    404
answer-500                        status+json        error          error    500
status-204                        invalid            error          ok       204 Content
status-304                        invalid            error          error    304 Modified
status-401                        status             error          error    401 Unauthorized
status-500                        status             error          error    500 out of order
status-999                        status             error          error    999 denied
empty-body                        invalid            error          ok       200 text/plain
cut-off                           invalid            error          ok       text/plain d8:complete
shorter-than-announced            invalid            error          ok       200 shorter
longer-than-announced             invalid            error          ok
huge-content-length               too_large          error          ok       1000000000000000000
negative-content-length           ok                 ok             ok
content-length-not-a-number       ok                 ok             ok
keep-open                         ok                 ok             ok
no-length-no-end                  timeout            timeout        ok
http-1.0-no-length                ok                 ok             ok
continue                          ok                 ok             ok
chunked                           ok                 ok             ok
chunked-with-extras               ok                 ok             ok
chunks-cut-off                    invalid            error          ok
bad-chunk-size                    invalid            error          ok
negative-chunk-size               invalid            error          ok
huge-chunk-size                   invalid            error          ok       200 d8:interval
gzip                              ok                 ok             ok
gzip-broken                       invalid            error          ok       200 text/plain
gzip-cut-off                      invalid            error          ok       200 text/plain
gzip-not                          ok                 ok             ok
gzip-bomb                         too_large|timeout  error|timeout  ok
deflate                           ok                 ok             ok
unknown-coding                    invalid            error          ok       200 text/plain
redirect                          ok                 ok             ok
redirect-308                      ok                 ok             ok
redirect-relative                 ok                 ok             ok
redirect-other-host               error              error          ok       info_hash
redirect-loop                     redirect           error          error    5
redirect-endless                  redirect           error          error    5
redirect-slow                     timeout            timeout        timeout
redirect-to-silence               timeout            timeout        timeout  /fault/silent/
redirect-to-drip                  timeout            timeout        ok       /fault/drip-body/
redirect-to-closed-port           refused            error          error    127.0.0.1:1 refused
redirect-file                     redirect           error          error    file:///etc/passwd
redirect-ftp                      redirect           error          error    ftp://127.0.0.1/
redirect-no-location              redirect           error          error    Location
redirect-bad-url                  redirect           error          error    http://[::1/
redirect-control-characters       redirect           error          error
redirect-crlf                     redirect           error          error
trailing-crlf                     ok                 ok             ok
trailing-junk                     invalid            error          ok       200 text/plain
text-html-bencode                 ok                 ok             ok
failure                           error              error          ok       torrent not registered
failure-404                       error              error          ok       torrent not registered
failure-503                       error              error          ok       torrent not registered
failure-retry-in                  error              error          ok       overloaded
failure-retry-never               error              error          ok       gone for good
failure-empty                     error              error          ok
failure-control-characters        error              error          ok
failure-latin1                    error              error          ok       refusé
failure-not-text                  error              error          ok       13
failure-beside-answer             error              error          ok       half-hearted
not-a-dictionary                  invalid+json       error          ok       dictionary
empty-dictionary                  invalid+json       error          ok
control-characters-in-keys        ok                 ok             ok
unsorted-keys                     ok                 ok             ok
duplicate-keys                    ok                 ok             ok
deep-nesting                      invalid            error          ok       256
huge-integer                      invalid            error          ok       64
leading-zero                      invalid            error          ok       i007e
huge-string-length                invalid            error          ok       1000000000000000000
missing-interval                  ok                 ok             ok
missing-min-interval              ok                 ok             ok
missing-counts                    ok                 ok             ok
missing-peers                     ok                 ok             ok
wrong-types                       ok                 ok             ok
odd-types                         ok                 ok             ok
negative-numbers                  ok                 ok             ok
extra-keys                        ok                 ok             ok
warning-control-characters        ok                 ok             ok
peers-only                        ok                 ok             ok
peers6-only                       ok                 ok             ok
uneven-peers                      ok                 ok             ok
dictionary-peers                  ok                 ok             ok
named-peers                       ok                 ok             ok
broken-dictionary-peers           ok                 ok             ok
peer-control-characters           ok                 ok             ok
many-peers                        ok                 ok             ok
too-many-peers                    too_large/ok       error          ok
scrape-silent                     ok/timeout         partial        ok
scrape-empty                      ok/short           ok             ok
scrape-truncated                  ok/short           ok             ok
scrape-flags                      ok                 ok             ok
scrape-extra-keys                 ok                 ok             ok
scrape-odd-types                  ok                 ok             ok
scrape-negative                   ok                 ok             ok
scrape-name-control-characters    ok                 ok             ok
missing-files                     ok/invalid+json    partial        ok
files-not-a-dictionary            ok/invalid+json    partial        ok
files-of-numbers                  ok                 ok             ok
latin1-hashes                     ok                 ok             ok
hex-hashes                        ok/short           ok             ok
odd-hashes                        ok/short           ok             ok
"""
WS_TABLE = r"""
fault                             client                checker        says
none                              ok                    ok
silent-upgrade                    timeout               timeout
close-upgrade                     invalid               error          no WebSocket tracker
reset-upgrade                     invalid               error          no WebSocket tracker
slow-upgrade                      ok                    ok
silent-after-upgrade              timeout               timeout
close-after-upgrade               invalid               error          1001 going away
end-after-upgrade                 invalid               error          connection
reset-after-upgrade               invalid               error          connection
status-400                        status                error          400 Bad
html-403                          status                error          403 Forbidden text/html
html-control-characters           status                error          403
html                              status                error          200 text/html
failure-http                      status                error          200
redirect                          status                error          302 /fault/none/
reason-phrase-control-characters  status                error          404 \x1b
wrong-accept                      invalid               error          Sec-WebSocket-Accept
missing-accept                    invalid               error          Sec-WebSocket-Accept
lower-case-headers                ok                    ok
first-frame-in-upgrade            ok                    ok
early-hints                       ok                    ok
drip-status-line                  timeout               timeout
drip-headers                      timeout               timeout
endless-early-hints               too_large             error
endless-headers                   too_large             error
endless-header-line               too_large             error
not-http                          invalid               error          220 mail.example no WebSocket tracker
binary-junk                       invalid               error
silent                            timeout               timeout
slow                              ok                    ok
silent-in-message                 timeout               timeout
close-in-message                  invalid               error
reset-in-message                  invalid               error
close                             invalid               error          no WebSocket tracker
close-after-answer                ok                    partial
reset                             invalid               error
close-1000                        invalid               error          1000
close-1001                        invalid               error          1001 going away
close-1008                        invalid               error          1008 torrent not registered
close-1005                        invalid               error          1005
close-empty                       invalid               error          closed
close-one-byte                    invalid               error          closed
close-control-characters          invalid               error          1008
close-invalid-utf8                invalid               error          1008 refusé
offer-first                       ok                    ok
many-offers-first                 ok                    ok
other-action-first                ok                    ok
unknown-action-first              ok                    ok
twice                             ok                    ok
ping-first                        ok                    ok
empty-ping-first                  ok                    ok
pong-first                        ok                    ok
fragments                         ok                    ok
byte-by-byte                      ok                    ok
binary                            ok                    ok
masked                            invalid               error          masked
reserved-bit                      invalid               error          reserved bit
unknown-opcode                    invalid               error          opcode 3
stray-continuation                invalid               error          fragment
text-in-fragments                 invalid               error          fragment
fragmented-ping                   invalid               error          control frame
long-ping                         invalid               error          control frame
length-highest-bit                too_large             error
huge-length                       too_large             error
drip-message                      timeout               timeout
endless-fragments                 too_large|timeout     error|timeout
endless-empty-fragments           timeout               timeout
endless-offers                    timeout               timeout
endless-pings                     timeout               timeout
failure                           error                 error          torrent not registered
failure-alone                     error                 error          torrent not registered
failure-empty                     error                 error
failure-not-text                  error                 error          13
failure-control-characters        error                 error
failure-lone-surrogates           error                 error
not-json                          invalid               error          Unexpected token
empty-message                     invalid               error
json-array                        invalid               error
json-null                         invalid               error          null
json-cut-off                      invalid               error
empty-object                      timeout               timeout
invalid-utf8                      invalid               error
lone-surrogates                   ok                    ok
deep-nesting                      invalid               error
not-a-number                      invalid               error
huge-integer                      invalid               error
huge-float                        invalid               error
aquatic-order                     ok                    ok
extra-keys                        ok                    ok
warning-control-characters        ok                    ok
control-characters-in-keys        ok                    ok
silent-announce                   timeout/ok            timeout
peer-id-taken                     ok                    ok
failure-on-announce               error/ok              error          torrent not registered
close-on-announce                 invalid/ok            error          1008
other-hash-first                  ok                    ok
other-hash                        timeout/ok            timeout
missing-interval                  invalid+json/ok       error
missing-counts                    ok                    ok
missing-hash                      timeout/ok            timeout
missing-action                    timeout/ok            timeout
numbers-as-text                   ok                    ok
odd-types                         ok                    ok
negative-numbers                  ok                    ok
large-message                     too_large|timeout/ok  error|timeout
scrape-silent                     ok/timeout            partial
failure-on-scrape                 ok/error              partial        not allowed
scrape-close                      ok/invalid            partial        closed
scrape-empty                      ok/short              ok
scrape-known                      ok/short              ok
scrape-truncated                  ok/short              ok
scrape-first-70                   ok                    ok
scrape-reversed                   ok                    ok
scrape-extra                      ok                    ok
scrape-extra-keys                 ok                    ok
scrape-odd-types                  ok                    ok
scrape-negative                   ok                    ok
scrape-name-control-characters    ok                    ok
missing-files                     ok/invalid+json       partial
files-not-a-dictionary            ok/invalid+json       partial
files-of-numbers                  ok                    ok
odd-hashes                        ok/timeout            partial
short-hashes                      ok/timeout            partial
scrape-large-message              ok/too_large|timeout  partial
"""
# Over TLS the same has to come of what the bytes under it, or their end, could change.
TLS_FAULTS = (
    "none", "silent", "silent-in-body", "slow", "close", "close-in-headers", "reset",
    "reset-in-body", "drip-headers", "drip-body", "drip-chunks", "endless-body", "endless-headers",
    "shorter-than-announced", "keep-open", "http-1.0-no-length", "chunked", "gzip", "gzip-bomb",
    "redirect", "redirect-to-silence", "many-peers",
)
WSS_FAULTS = (
    "none", "silent-upgrade", "close-upgrade", "reset-upgrade", "drip-headers", "silent",
    "silent-in-message", "close-in-message", "reset", "close-1001", "fragments", "byte-by-byte",
    "ping-first", "large-message", "endless-offers", "masked",
)

# Runs scripts in forked processes: [[script, [argument, …], stdin], …] on stdin, for each
# [exit code, stdout, stderr, seconds] on stdout; what others did meanwhile is not in the seconds.
DRIVER = '''\
import json, os, sys, tempfile, time, types
# What the scripts may import: so it is there in all processes.
import argparse, encodings.idna, http.client, ipaddress, selectors, socket, ssl, threading
import urllib.request, zlib

root, most = sys.argv[1], 40
sys.dont_write_bytecode = True
sys.path.insert(0, root)
waiting = list(enumerate(json.load(sys.stdin)))
code = {}
for _, (script, _, _) in waiting:
    if script not in code:
        path = os.path.join(root, script)
        with open(path, encoding="utf-8") as file:
            code[script] = compile(file.read(), path, "exec")
running, results = {}, {}


def start(number, script, arguments, stdin):
    """Comes back in the parent; in the child this is the interpreter that runs the script."""
    streams = [tempfile.TemporaryFile() for _ in range(3)]
    streams[0].write(stdin.encode())
    streams[0].seek(0)
    began = time.monotonic()
    child = os.fork()
    if child:
        running[child] = number, began, streams
        return
    for descriptor, stream in enumerate(streams):
        os.dup2(stream.fileno(), descriptor)
    sys.argv = [os.path.join(root, script)] + arguments
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    main.__file__ = sys.argv[0]
    exec(code[script], main.__dict__)
    sys.exit()


def waited_for_processor(process):
    """Returns the seconds that a process was ready to run and others had the processor."""
    with open("/proc/{}/schedstat".format(process)) as file:
        return int(file.read().split()[1]) / 1e9


while waiting or running:
    while waiting and len(running) < most:
        number, case = waiting.pop(0)
        start(number, *case)
    child = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT).si_pid
    number, began, streams = running.pop(child)
    seconds = time.monotonic() - began - waited_for_processor(child)
    _, status = os.waitpid(child, 0)
    texts = []
    for stream in streams[1:]:
        stream.seek(0)
        texts.append(stream.read().decode("utf-8", "surrogateescape"))
    for stream in streams:
        stream.close()
    results[number] = [os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)]
    results[number] += texts + [seconds]
json.dump([results[number] for number in sorted(results)], sys.stdout)
'''


def parse_table(table):
    """Returns {fault: {column: the outcomes that are right}}, with announce and scrape for client.

    "says" is a column too: of the words.
    """
    (_, *columns, _), *rows = [line.split() for line in table.strip().splitlines()]
    expected = {}
    for fault, *cells in rows:
        assert fault not in expected and len(cells) >= len(columns), fault
        outcomes = dict(zip(columns, cells))
        announce, _, scrape = outcomes.pop("client").partition("/")
        outcomes.update(announce=announce, scrape=scrape or announce)
        expected[fault] = {
            column: {long_word(word) for word in cell.split("|")}
            for column, cell in outcomes.items()
        }
        expected[fault]["says"] = cells[len(columns) :]
    return expected


def long_word(word):
    kind, plus, rest = word.partition("+")
    return {"invalid": "invalid_response", "status": "http_status"}.get(kind, kind) + plus + rest


UDP_OUTCOMES, HTTP_OUTCOMES = parse_table(UDP_TABLE), parse_table(HTTP_TABLE)
WS_OUTCOMES = parse_table(WS_TABLE)


class World:
    """A loopback tracker with every fault at an address of its own: 127.1.x.y over UDP, 127.2.x.y
    over HTTP, 127.4.x.y over HTTPS, 127.6.x.y and 127.7.x.y over WebSocket. Faults of the TLS
    handshake need a tracker each.

    udp, http, tls, ws, wss and health are {fault: URL}.
    """

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
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(context)
        secure = stack.enter_context(LoopbackTracker(hosts=("0.0.0.0",), tls=context))
        self.tls = {
            fault: "https://{}:{}/fault/{}/announce".format(address, secure.http_port, fault)
            for fault, address in zip(TLS_FAULTS, addresses(4))
        }
        self.ws = {
            fault: "ws://{}:{}/fault/{}/".format(address, self.tracker.http_port, fault)
            for fault, address in zip(WS_FAULTS, addresses(6))
        }
        self.wss = {
            fault: "wss://{}:{}/fault/{}/".format(address, secure.http_port, fault)
            for fault, address in zip(WSS_FAULTS, addresses(7))
        }


def addresses(network):
    return ("127.{}.{}.{}".format(network, 1 + i // 250, 1 + i % 250) for i in range(60000))


@pytest.fixture
def world():
    with ExitStack() as stack:
        yield World(stack)


@pytest.fixture(params=["oldest", "newest"])
def either_python(request, pythons):
    """The path of the oldest, and of the newest Python found here."""
    return list(pythons.values())[0 if request.param == "oldest" else -1]


def run_side_by_side(python, cases):
    """Runs [(script, [argument, …], stdin), …]; returns the Results in this order."""
    process = subprocess.run(
        [python, "-W", "error", "-c", DRIVER, ROOT],
        input=json.dumps(cases),
        stdout=subprocess.PIPE,
        encoding="utf-8",
        env=clean_environment(),
        timeout=100,
        check=True,
    )
    return [Result(*result) for result in json.loads(process.stdout)]


def check_text(text):
    """What a tracker says can neither drive a terminal nor forge a line."""
    assert text.isascii() and text.replace("\n", "").isprintable(), "raw control characters"
    assert not text or text.endswith("\n") and not text.endswith("\n\n")


def outcome_of(result, given):
    """Returns the word of the tables for what a client did, and what it says of the tracker.

    AssertionError for what no client may do.
    """
    check_text(result.stdout)
    check_text(result.stderr)
    assert "Traceback" not in result.stderr
    reply = result.json if result.stdout else None
    if not result.stderr:
        said = reply.get("failure reason", reply.get("Error", {}).get("message"))
        assert result.code == (0 if said is None else 1)
        return ("ok", "") if said is None else ("error", str(said))
    assert result.stderr.count("\n") == 1
    ((name, record),) = json.loads(result.stderr).items()
    if name == "warning":
        assert (result.code, record["kind"]) == (0, "scrape_response_truncated")
        assert record["returned"] < record["requested"] == 2
        return "short", ""
    assert (name, result.code, record["source"]) == ("error", 1, given)
    assert list(record) == ["kind", "source", "message"] and record["message"]
    assert len(record["message"]) < 800
    return record["kind"] + ("+json" if result.stdout else ""), record["message"]


def both(fault):
    return "announce", "scrape"


def check_client(python, script, urls, expected, *options, asked=both):
    """urls: pairs of a fault and the URL of a tracker that has it; asked(fault): the commands."""
    commands = {"announce": [HASH], "scrape": [HASH, OTHER_HASH]}
    keys = [(fault, url, command) for fault, url in urls for command in asked(fault)]
    options = list(options) + ["--timeout", str(TIMEOUT)]
    cases = [
        (script, [command, url] + options + commands[command], "") for _, url, command in keys
    ]
    problems = []
    for (fault, url, command), result in zip(keys, run_side_by_side(python, cases)):
        try:
            outcome, said = outcome_of(result, url)
            assert outcome in expected[fault][command], outcome
            if said:
                assert all(word in said for word in expected[fault]["says"]), said
            assert result.seconds < TIMEOUT + 1, "took {:.2f} s".format(result.seconds)
        except Exception as error:
            text = "{}: {} {}: {}\n  {!r}".format(fault, command, url, error, result)
            problems.append(text[:2000])
    assert not problems, "\n".join(problems)


def test_every_fault_has_its_outcome_and_every_outcome_its_fault():
    assert set(UDP_OUTCOMES) == set(UDP_FAULTS)
    assert set(HTTP_OUTCOMES) == set(HTTP_FAULTS)
    assert set(WS_OUTCOMES) == set(WS_FAULTS)


def test_the_udp_client(either_python, world):
    check_client(either_python, "udp_tracker_client.py", world.udp.items(), UDP_OUTCOMES)


def test_the_http_client(either_python, world):
    urls = chain(world.http.items(), world.tls.items())
    check_client(either_python, "http_tracker_client.py", urls, HTTP_OUTCOMES, "--insecure")


def test_the_http_client_over_websocket(either_python, world):
    urls = chain(world.ws.items(), world.wss.items())
    turns = cycle((("announce",), ("scrape",)))

    def asked(fault):
        """Where both commands meet the same, one is enough."""
        outcomes = WS_OUTCOMES[fault]
        alike = outcomes["announce"] == outcomes["scrape"]
        return next(turns) if alike else ("announce", "scrape")

    options = ["--insecure"]
    check_client(
        either_python, "http_tracker_client.py", urls, WS_OUTCOMES, *options, asked=asked
    )


def check_all_at_once(python, world, groups):
    """Has the checker check all trackers of groups, (URLs by fault, outcomes, column), at once.

    There is one result each, in time, and nobody is disturbed by a neighbour: those that are well
    are so beside all the others.
    """
    expected = {}
    for urls, outcomes, column in groups:
        for fault, url in urls.items():
            words = outcomes[fault]["says"] if column == "checker" else ()
            expected[url] = fault, outcomes[fault][column], words
    for host in islice(addresses(5), 20):
        expected["udp://{}:{}".format(host, world.tracker.udp_port)] = "none", {"ok"}, ()
        expected["http://{}:{}".format(host, world.tracker.http_port)] = "none", {"ok"}, ()
    health = [word for url in world.health.values() if url in expected for word in ("--health", url)]
    trackers = "\n".join(url for url in expected if url not in health)
    arguments = ["-", "--format", "ndjson", "--insecure", "--timeout", str(TIMEOUT)] + health
    (result,) = run_side_by_side(python, [("tracker_checker.py", arguments, trackers)])
    assert (result.code, result.stderr) == (0, "")
    check_text(result.stdout)
    records = json_lines(result.stdout)
    found = {record["tracker"]: record for record in records}
    assert len(found) == len(records)
    assert set(found) == set(expected)
    problems = []
    for url, (fault, statuses, words) in expected.items():
        record = found[url]
        right = record["status"] in statuses
        if record["status"] != "ok":
            right = right and record["message"] and all(word in record["message"] for word in words)
        if not right or record["elapsed_ms"] > (TIMEOUT + 1) * 1000:
            problems.append("{}: {} {} expected: {}".format(fault, statuses, words, record))
    assert not problems, "\n".join(problems)
    assert result.seconds < TIMEOUT + 1


def test_the_checker(either_python, world):
    groups = [
        (world.udp, UDP_OUTCOMES, "checker"),
        (world.http, HTTP_OUTCOMES, "checker"),
        (world.tls, HTTP_OUTCOMES, "checker"),
        (world.health, HTTP_OUTCOMES, "health"),
    ]
    check_all_at_once(either_python, world, groups)


def test_the_checker_over_websocket(either_python, world):
    groups = [(world.ws, WS_OUTCOMES, "checker"), (world.wss, WS_OUTCOMES, "checker")]
    check_all_at_once(either_python, world, groups)


@pytest.mark.parametrize("command", ["announce", "scrape"])
def test_a_redirect_to_a_host_name_without_end(world, command):
    world.tracker.redirect_target = "http://{}/announce".format(LONG_NAME)
    url = world.http["redirect-other-host"]
    arguments = [command, url, HASH, "--timeout", str(TIMEOUT)]
    (result,) = run_side_by_side(sys.executable, [("http_tracker_client.py", arguments, "")])
    assert outcome_of(result, url)[0] == "redirect"
    assert result.seconds < TIMEOUT + 1


def test_a_host_name_without_end_in_a_list():
    given = "udp://{}:6969".format(LONG_NAME)
    arguments = ["-", "--timeout", str(TIMEOUT)]
    (result,) = run_side_by_side(sys.executable, [("tracker_checker.py", arguments, given)])
    (entry,) = result.json
    assert entry["Unsupported"]["Err"]["url"] == given
    assert result.seconds < TIMEOUT + 1
