# SPDX-License-Identifier: LGPL-3.0-only
"""A name with ::1 and 127.0.0.1, each of which does something of its own: who answers in the end.

Two tables, of UDP and of HTTP, say it once for the clients and the checker, with and without
--no-scrape. All rows are run side by side, and each of them ends within its time-out and a second.
"""

import re
import selectors
import socket
import struct
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from threading import Thread

import pytest
from helpers import START, json_lines, only_record
from loopback_tracker import LoopbackTracker

HASH = "9c38422213e30bff212b30c360d26f9a02136422"
HOSTS = ("::1", "127.0.0.1")
TIMEOUT = 2  # seconds
AT_ONCE = 6  # clients: their interpreters, too, have to start

# Of the two addresses of a name, in the order in which they are tried, what each does:
#
#   good            everything right
#   refused         nobody is at the port
#   dead            takes no connection (TCP)
#   silent          never answers; over TCP it takes the connection
#   mute            answers connect and nothing else
#   junk, cut       answers with what is no reply; with half of one
#   closes          closes the connection without an answer
#   page            a page of HTML under 200
#   denied          an error reply, or a failure reason: an answer
#   status          a page under 404: an answer
#   action-4        answers the announce with action 4 (over IPv4 that is junk)
#   half            answers the scrape, and the announce with junk
#   half-mute       answers the scrape, and the announce not at all
#   no-answer       answers with bencode that is no answer: junk
#   scrapeless      answers the announce, and the scrape not at all
#
# @6 or @4 behind the first: only where its address is the IPv6 or the IPv4 one. What comes of it,
# for an announce of the client: `answer` or `error` (reply, failure reason) and from which of the
# addresses, else the kind of the error record. For the checker: the status, and the number of the
# address in its result; behind / with --no-scrape, where that is something else.
UDP_TABLE = """
first              second           client            checker
good               good             answer:1          ok:1
refused            good             answer:2          ok:2
silent             good             answer:2          ok:2
mute               good             answer:2          ok:2
junk               good             answer:2          ok:2
cut                good             answer:2          ok:2
half               good             answer:2          ok:2
half-mute          good             answer:2          ok:2
scrapeless         good             answer:1          ok:2/ok:1
denied             good             error:1           error:1
denied-connect     good             error:1           error:1
action-4@6         good             answer:1          ok:1
action-4@4         good             answer:2          ok:2

good               refused          answer:1          ok:1
good               silent           answer:1          ok:1
good               mute             answer:1          ok:1
good               junk             answer:1          ok:1
good               cut              answer:1          ok:1
good               half             answer:1          ok:1
good               denied           answer:1          ok:1
good               denied-connect   answer:1          ok:1
good               scrapeless       answer:1          ok:1
good@4             action-4         answer:1          ok:1

refused            denied           error:2           error:2
silent             denied           error:2           error:2
mute               denied           error:2           error:2
junk               denied           error:2           error:2
half               denied           error:2           error:2
mute               denied-connect   error:2           error:2
mute@4             action-4         answer:2          ok:2
mute@6             scrapeless       answer:2          partial:2/ok:2

scrapeless@6       scrapeless       answer:1          partial:1/ok:1
silent@6           silent           timeout           timeout:1
silent@4           mute             timeout           timeout:2
refused@6          mute             timeout           timeout:2
mute@6             refused          timeout           timeout:1
mute@6             junk             timeout           timeout:2
refused            junk             invalid_response  error:2
junk               refused          refused           error:1
junk               junk             invalid_response  error:1
half@6             mute             timeout           error:1/timeout:1
mute@6             half             timeout           error:2/timeout:2
half               refused          refused           error:1
refused            half             invalid_response  error:2
"""
HTTP_TABLE = """
first              second           client            checker
good               good             answer:1          ok:1
refused            good             answer:2          ok:2
dead               good             answer:2          ok:2
silent             good             answer:2          ok:2
junk               good             answer:2          ok:2
cut                good             answer:2          ok:2
closes             good             answer:2          ok:2
page               good             answer:2          ok:2
half               good             answer:2          ok:1/ok:2
half-mute          good             answer:2          ok:1/ok:2
no-answer          good             answer:2          ok:2
scrapeless         good             answer:1          ok:2/ok:1
denied             good             error:1           error:1
status             good             http_status:1     error:1

good               refused          answer:1          ok:1
good               dead             answer:1          ok:1
good               silent           answer:1          ok:1
good               junk             answer:1          ok:1
good               denied           answer:1          ok:1
good               status           answer:1          ok:1

refused            denied           error:2           error:2
dead               denied           error:2           error:2
silent             denied           error:2           error:2
junk               denied           error:2           error:2
closes             status           http_status:2     error:2
silent             status           http_status:2     error:2

scrapeless@6       scrapeless       answer:1          partial:1/ok:1
dead@6             silent           timeout           timeout:1
refused@6          silent           timeout           timeout:1
silent@6           refused          timeout           timeout:1
silent@6           junk             timeout           timeout:1
refused            junk             invalid_response  error:1
junk               refused          refused           error:1
page               page             invalid_response  error:1
half               refused          refused           error:1
"""

Row = namedtuple("Row", "protocol first second client checker no_scrape")
# A row with its addresses in this order, at a port of both.
Case = namedtuple("Case", "row hosts port name")


def parse_table(protocol, table):
    """Returns [(Row, [the host of the first address, …])]."""
    rows = []
    for line in table.strip().splitlines()[1:]:
        if line:
            first, second, client, checker = line.split()
            first, _, version = first.partition("@")
            checker, _, no_scrape = checker.partition("/")
            row = Row(protocol, first, second, client, checker, no_scrape or checker)
            rows.append((row, {"6": HOSTS[:1], "4": HOSTS[1:], "": HOSTS}[version]))
    assert len(set(rows)) == len(rows)
    return rows


ROWS = {"udp": parse_table("udp", UDP_TABLE), "http": parse_table("http", HTTP_TABLE)}


# What an address does: functions from its number, 1 or 2, to what it sends, None for nothing


def nothing(number):
    return None


def always(value):
    return lambda number: value


def denied_over_udp(number):
    return 3, b"denied at %d" % number


CONNECT, ANNOUNCE, SCRAPE = range(3)
RIGHT_OVER_UDP = {
    CONNECT: always((0, bytes(8))),
    ANNOUNCE: lambda number: (1, struct.pack(">3i", 1800, 0, number)),
    SCRAPE: lambda number: (2, struct.pack(">3i", number, 0, 0)),
}
# What it does in place of that; of a reply the action, and what follows the transaction id.
UDP_DOES = {
    "good": {},
    "silent": {CONNECT: nothing},
    "mute": {ANNOUNCE: nothing, SCRAPE: nothing},
    "junk": {ANNOUNCE: always((7, bytes(20))), SCRAPE: always((7, bytes(20)))},
    "cut": {CONNECT: always((0, bytes(4)))},
    "denied": {ANNOUNCE: denied_over_udp, SCRAPE: denied_over_udp},
    "denied-connect": {CONNECT: denied_over_udp},
    "action-4": {
        ANNOUNCE: always((4, bytes.fromhex(
            "00000708 00000002 00000003 20010db8 00000000 00000000 00000007 1ae1"
        )))
    },
    "half": {ANNOUNCE: always((7, bytes(20)))},
    "half-mute": {ANNOUNCE: nothing},
    "scrapeless": {SCRAPE: nothing},
}


def http_reply(body, status=b"200 OK", length=None):
    length = len(body) if length is None else length
    return b"HTTP/1.1 %s\r\nContent-Length: %d\r\n\r\n%s" % (status, length, body)


def in_both(reply):
    return {"announce": reply, "scrape": reply}


PAGE = b"<html>Welcome</html>"
RIGHT_OVER_HTTP = {
    "announce": lambda number: http_reply(b"d8:completei%de8:intervali1800e5:peers0:e" % number),
    "scrape": lambda number: http_reply(
        b"d5:filesd20:%sd8:completei%de10:incompletei0eeee" % (bytes.fromhex(HASH), number)
    ),
}
HTTP_DOES = {
    "good": {},
    "silent": in_both(nothing),
    "junk": in_both(always(b"220 mail.example ESMTP\r\n")),
    "cut": in_both(always(http_reply(b"d8:complete", length=40))),
    "closes": in_both(always(b"")),
    "page": in_both(always(http_reply(PAGE))),
    "denied": in_both(lambda number: http_reply(b"d14:failure reason11:denied at %de" % number)),
    "status": in_both(lambda number: http_reply(PAGE, b"404 denied at %d" % number)),
    "half": {"announce": always(b"220 mail.example ESMTP\r\n")},
    "half-mute": {"announce": nothing},
    "no-answer": in_both(always(http_reply(b"d7:minimumi1ee"))),
    "scrapeless": {"scrape": nothing},
}


class Addresses:
    """Sockets at ::1 and 127.0.0.1, all served by one thread; a context manager."""

    def __init__(self):
        self.selector = selectors.DefaultSelector()
        self.stack = ExitStack()
        self.stack.callback(self.selector.close)
        self.ending, self.end = socket.socketpair()
        for sock in (self.ending, self.end):
            self.stack.enter_context(sock)
        self.selector.register(self.ending, selectors.EVENT_READ)
        self.announced = set()  # (port, number) of those that got an announce
        self.thread = Thread(target=self.serve, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.send(b"x")
        self.thread.join()
        self.stack.close()

    def open_all(self, rows):
        """Returns the Cases of [(Row, hosts of the first address)], opened."""
        cases = []
        for row, first_hosts in rows:
            for host in first_hosts:
                hosts = (host,) + tuple(other for other in HOSTS if other != host)
                does = {hosts[0]: (1, row.first), hosts[1]: (2, row.second)}
                name = "{}-{}-{}.example".format(row.protocol, len(cases), row.first)
                cases.append(Case(row, hosts, self.open(row.protocol, does), name))
        return cases

    def open(self, protocol, does):
        """Opens the sockets for {host: (number, what it does)}; returns their common port."""
        kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
        for _ in range(100):
            port = 0
            with ExitStack() as opened:
                try:
                    for host, (number, what) in does.items():
                        family = socket.AF_INET6 if ":" in host else socket.AF_INET
                        sock = opened.enter_context(socket.socket(family, kind))
                        sock.bind((host, port))
                        port = sock.getsockname()[1]
                        self.begin(opened, sock, protocol, number, what)
                except OSError:
                    # The port is not free at the second one.
                    continue
                self.stack.enter_context(opened.pop_all())
                return port
        raise AssertionError("no port is free at both addresses")

    def begin(self, opened, sock, protocol, number, what):
        """Lets a socket that is bound do what it does."""
        if what == "refused":
            if protocol == "udp":
                # It takes nothing but from itself.
                sock.connect(sock.getsockname())
            return
        if what == "dead":
            sock.listen(0)
            # Connections that nobody accepts: where there is no room for more, none is taken.
            for _ in range(8):
                other = opened.enter_context(socket.socket(sock.family, socket.SOCK_STREAM))
                other.setblocking(False)
                other.connect_ex(sock.getsockname())
            return
        if protocol == "udp":
            serve, does = self.answer_datagram, {**RIGHT_OVER_UDP, **UDP_DOES[what]}
        else:
            serve, does = self.accept, {**RIGHT_OVER_HTTP, **HTTP_DOES[what]}
            sock.listen(16)
        self.selector.register(sock, selectors.EVENT_READ, (serve, number, does))
        opened.callback(self.selector.unregister, sock)

    def serve(self):
        while True:
            for key, _ in self.selector.select():
                if key.fileobj is self.ending:
                    return
                serve, number, does = key.data
                serve(key.fileobj, number, does)

    def answer_datagram(self, sock, number, does):
        datagram, client = sock.recvfrom(65536)
        _, action, transaction_id = struct.unpack_from(">qii", datagram)
        if action == ANNOUNCE:
            self.announced.add((sock.getsockname()[1], number))
        reply = does[action](number)
        if reply:
            action, body = reply
            sock.sendto(struct.pack(">ii", action, transaction_id) + body, client)

    def accept(self, listener, number, does):
        connection, _ = listener.accept()
        self.stack.enter_context(connection)
        serve = self.answer_request
        self.selector.register(connection, selectors.EVENT_READ, (serve, number, does))

    def answer_request(self, connection, number, does):
        """Answers a request, which fits into one read, and ends the connection, also at its end."""
        request = connection.recv(65536)
        reply = None
        if request:
            action = "scrape" if b"/scrape" in request.split()[1] else "announce"
            if action == "announce":
                self.announced.add((connection.getsockname()[1], number))
            reply = does[action](number)
            if reply is None:
                return
            connection.sendall(reply)
        self.selector.unregister(connection)
        connection.close()


@pytest.fixture
def addresses():
    with Addresses() as running:
        yield running


def url_of(case):
    path = "" if case.row.protocol == "udp" else "/announce"
    return "{}://{}:{}{}".format(case.row.protocol, case.name, case.port, path)


def names_of(cases):
    """Returns what the fixture resolver takes."""
    return {case.name: list(case.hosts) for case in cases}


def show(case, number):
    """Returns one of the addresses of a case as the scripts show it."""
    host = case.hosts[number - 1]
    return ("[{}]:{}" if ":" in host else "{}:{}").format(host, case.port)


def outcome_of(case, result):
    """Returns the words of the tables for what a client did."""
    if result.stderr:
        assert (result.code, result.stdout) == (1, "")
        record = only_record(result)
        assert record["source"] == url_of(case)
        said_by = re.search("denied at ([12])", record["message"])
        if said_by:
            return "{}:{}".format(record["kind"], said_by.group(1))
        # Where all fail, each in its own way, both are named.
        if case.row.first != case.row.second:
            assert show(case, 1) in record["message"] and show(case, 2) in record["message"]
        return record["kind"]
    reply = result.json
    said = reply.get("failure reason") or reply.get("Error", {}).get("message")
    assert result.code == (1 if said else 0)
    if said:
        return "error:" + re.match("denied at ([12])$", said).group(1)
    if case.row.protocol == "http":
        return "answer:{}".format(reply["complete"])
    ((name, answer),) = reply.items()
    number = 1 + case.hosts.index({"AnnounceIpv6": "::1", "AnnounceIpv4": "127.0.0.1"}[name])
    does = case.row.first if number == 1 else case.row.second
    assert answer["seeders"] == (3 if does == "action-4" else number)
    return "answer:{}".format(number)


@pytest.mark.parametrize("protocol", ROWS)
def test_clients(addresses, resolver, run_script, protocol):
    cases = addresses.open_all(ROWS[protocol])
    env = resolver(names_of(cases))
    script = protocol + "_tracker_client.py"

    def ask(case):
        return run_script(script, "announce", url_of(case), HASH, "--timeout", TIMEOUT, env=env)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(ask, cases))
    problems = []
    for case, result in zip(cases, results):
        try:
            assert outcome_of(case, result) == case.row.client
            assert result.seconds < TIMEOUT + 1 + START
            # Where the first one answers, the second is not announced to.
            assert (case.port, 2) not in addresses.announced or case.row.client[-1] != "1"
        except Exception as error:
            problems.append("{}: {}\n  {!r}".format(case, error, result))
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize("options", [[], ["--no-scrape"]], ids=["all", "no-scrape"])
def test_checker(addresses, resolver, run_script, options):
    cases = addresses.open_all(ROWS["udp"] + ROWS["http"])
    env = resolver(names_of(cases))
    given = "\n".join(map(url_of, cases))
    options = ["--format", "ndjson", "--timeout", TIMEOUT] + options
    result = run_script("tracker_checker.py", "-", *options, stdin=given, env=env)
    assert (result.code, result.stderr) == (0, "")
    records = {record["tracker"]: record for record in json_lines(result.stdout)}
    assert len(records) == len(cases)
    problems = []
    for case in cases:
        record = records[url_of(case)]
        number = {show(case, number): number for number in (1, 2)}[record["address"]]
        expected = case.row.no_scrape if "--no-scrape" in options else case.row.checker
        if "{}:{}".format(record["status"], number) != expected:
            problems.append("{}: {}".format(case, record))
        elif record["elapsed_ms"] > (TIMEOUT + 1) * 1000:
            problems.append("{} took {} ms".format(case, record["elapsed_ms"]))
    # How long the run of a checker takes is told by the fault matrix.
    assert not problems, "\n".join(problems)


def test_one_that_waits_for_its_turn_is_not_asked_and_closed(resolver, run_script):
    """The first takes a second to answer: no reason yet to ask the second, which is reached."""
    with LoopbackTracker(hosts=HOSTS, udp_fault="slow", http_fault="slow") as tracker:
        urls = ["udp://both.example:{}".format(tracker.udp_port)]
        urls += ["http://both.example:{}/announce".format(tracker.http_port)]
        env = resolver({"both.example": HOSTS})
        # Of so many seconds the first one has a quarter for itself.
        options = ["--timeout", 12]
        for script, url in zip(("udp_tracker_client.py", "http_tracker_client.py"), urls):
            result = run_script(script, "announce", url, HASH, *options, env=env)
            assert (result.code, result.stderr) == (0, "")
        result = run_script("tracker_checker.py", *urls, *options, env=env)
        assert (result.code, result.stderr) == (0, "")
        asked = {
            (record.protocol, record.fields["local_address"])
            for record in tracker.requests
            if record.action in ("announce", "scrape")
        }
    assert asked == {("udp", "::1"), ("http", "::1")}


# The trackers that were seen to do so


def test_action_4_in_full(addresses, resolver, run_script):
    """For a name and for an address literal."""
    (case,) = addresses.open_all([(Row("udp", "action-4", "refused", "", "", ""), HOSTS[:1])])
    env = resolver(names_of([case]))
    for url in (url_of(case), "udp://" + show(case, 1)):
        result = run_script("udp_tracker_client.py", "announce", url, HASH, env=env)
        assert (result.code, result.stderr) == (0, "")
        answer = result.json["AnnounceIpv6"]
        assert list(result.json) == ["AnnounceIpv6"]
        expected = dict(
            transaction_id=answer["transaction_id"],
            announce_interval=1800,
            leechers=2,
            seeders=3,
            peers=["[2001:db8::7]:6881"],
        )
        assert list(answer.items()) == list(expected.items())
        for options in ([], ["--no-scrape"]):
            options = ["--format", "ndjson"] + options
            result = run_script("tracker_checker.py", url, *options, env=env)
            (record,) = json_lines(result.stdout)
            assert (record["status"], record["address"]) == ("ok", show(case, 1))
            assert record["interval"] == 1800


def test_an_ipv6_address_that_goes_mute_after_the_connect(addresses, resolver, run_script):
    (case,) = addresses.open_all([(Row("udp", "mute", "good", "", "", ""), HOSTS[:1])])
    env = resolver(names_of([case]))
    options = ["--timeout", TIMEOUT]
    result = run_script("udp_tracker_client.py", "announce", url_of(case), HASH, *options, env=env)
    assert (result.code, list(result.json)) == (0, ["AnnounceIpv4"])
    assert result.seconds < TIMEOUT + 1 + START
    options += ["--format", "ndjson"]
    result = run_script("tracker_checker.py", url_of(case), *options, env=env)
    (record,) = json_lines(result.stdout)
    assert (record["status"], record["address"]) == ("ok", "127.0.0.1:{}".format(case.port))
