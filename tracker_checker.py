#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-3.0-only
"""Check BitTorrent trackers and health endpoints, all at once, and report on them.

    tracker_checker.py udp://tracker.example.org:6969 https://tracker.example.net/announce
    tracker_checker.py --format table trackers.txt
    tracker_checker.py monitor udp://tracker.example.org:6969 --interval 60
    tracker_checker.py swarms *.torrent --format table

Needs python3 (3.6 or newer) and bencode.py beside it, nothing else. It does what the Rust
Torrust tracker checker does, with its JSON, and reports in other formats too.

The idea: one loop runs all checks side by side, over UDP and TCP. A check never blocks: it says
what it waits for, and the loop comes back to it. A UDP check is a Conversation; what goes over TCP,
and all that swarms asks, is steps: generator functions that yield what they wait for. A check has
its deadline from begin() on: a Conversation ends at it by itself, steps are ended by their Stepper.
Ctrl-C ends all that are open with a Failure. Only name lookups have threads, and lines of stdout
that come while checks run.

The map, from top to bottom:
    checks              what is checked, what comes of it, what a tracker is asked
    runner              steps in the loop, name lookups, and the loop itself
    swarms              many torrents asked of many trackers: what is asked, and whose a count is
    inputs              whatever people have in hand, turned into targets
    reports             results as text: JSON, a table, metrics, and so on
    page                what the table says as one HTML file, for a check and for the monitor
    output              a file or stdout, and the progress line
    monitor             the same checks again and again
    command line        options, help, main()
    plumbing            all that is carried from the two clients: BEP 15 (Exchange, Conversation),
                        HTTP (fetch, ReplyParser), WebSocket, steps (Wait, Lookup, Stream),
                        options, URLs, addresses (Race), output (Failure)

What stands between "carried region" lines is the same, word for word, in each script that needs
it. Edit it in the script that the line calls its home, then run tools/sync_copies.py; so every
script remains a single file.
"""
import errno
import gc
import itertools
import json
import math
import os
import random
import re
import selectors
import signal
import socket
import struct
import sys
import threading
import time
from collections import Counter, deque, namedtuple
from functools import partial
from heapq import heappop, heappush
from urllib.parse import quote, unquote_to_bytes, urljoin

VERSION = "0.1.0"


# The checks: what is checked, what a tracker is asked, and what its answers say about it.
UDP, HTTP, WS, HEALTH, UNSUPPORTED = "udp", "http", "ws", "health", "unsupported"
# Real clients announce none of these ports by themselves; what uses 6881 to 6999 private trackers
# refuse, and a client of this host that has the port would be taken out of its swarm.
FREE_PORTS = (49152, 65535)
REFUSAL_HINT = "; --info-hash asks for a torrent that the tracker has"
CHECK_LIMIT = 1024 * 1024  # bytes of a reply over TCP: more would take too long to decode

# What all checks of a run have in common; timeout is in seconds, port and peer_id are those that
# are announced. http are HttpOptions, of which ip_version and trace are for UDP, too.
Settings = namedtuple("Settings", "timeout announce scrape all_addresses port peer_id http")
# A part of a check: elapsed is in seconds, failure is None where it went well.
Stage = namedtuple("Stage", "name elapsed failure")


class Target:
    """A tracker, a health check, or a line of a list that is neither.

    kind         one of the five constants above
    given        the text as the user wrote it
    url          an Url for UDP, text for HTTP (the announce URL), WebSocket and health
    host, port   those in it; ip_version is 4 or 6 for an address literal, None for a name
    key          targets with the same key are the same
    info_hash    what to ask for, None until that is known
    problem      why a target is unsupported
    """

    __slots__ = "kind given url host port ip_version key info_hash problem".split()

    def __init__(self, kind, given, url, host, port, key, info_hash=None, problem=None):
        self.kind = kind
        self.given = given
        self.url = url
        self.host = host
        self.port = port
        self.ip_version = literal_version(host) if host else None
        self.key = key
        self.info_hash = info_hash
        self.problem = problem


class Result:
    """How a check ended. Counts, interval (seconds) and address are None where not known.

    elapsed is in seconds, finished_at and certificate_expires are Unix times, warning the
    tracker's own words, detail what a health check was answered.
    """

    __slots__ = (
        "target stages elapsed address interval seeders leechers certificate_expires warning"
        " detail finished_at"
    ).split()

    def __init__(self, target, stages=(), elapsed=0):
        self.target = target
        self.stages = list(stages)
        self.elapsed = elapsed
        self.address = None
        self.interval = None
        self.seeders = None
        self.leechers = None
        self.certificate_expires = None
        self.warning = None
        self.detail = None
        self.finished_at = time.time()

    def add(self, name: str, elapsed: float, failure=None) -> None:
        """Adds a stage, which has ended just now."""
        # After a new connect a reply may seem to have come before it.
        self.stages.append(Stage(name, max(0, elapsed), failure))
        self.finished_at = time.time()

    @property
    def failed_stage(self):
        """The first stage that failed, or None."""
        return next((stage for stage in self.stages if stage.failure), None)

    @property
    def status(self) -> str:
        """ok, partial (announce works, scrape does not), or a word that says why it is not up.

        That is timeout, error, interrupted or unsupported.
        """
        if self.target.kind == UNSUPPORTED:
            return UNSUPPORTED
        failed = self.failed_stage
        if failed is None:
            return "ok"
        if any(stage.failure and stage.failure.kind == "interrupted" for stage in self.stages):
            return "interrupted"
        if failed.name == "scrape" and any(stage.name == "announce" for stage in self.stages):
            return "partial"
        return "timeout" if failed.failure.kind == "timeout" else "error"

    @property
    def announced(self) -> bool:
        """Whether an announce was accepted."""
        return any(part.name == "announce" and not part.failure for part in self.stages)

    @property
    def up(self) -> bool:
        return self.status in ("ok", "partial")

    @property
    def down(self) -> bool:
        """Whether it does not work: what was interrupted is neither up nor down."""
        return self.status in DOWN_STATES + (UNSUPPORTED,)

    @property
    def message(self) -> str:
        """What failed and why, or None."""
        failed = self.failed_stage
        return "{}: {}".format(failed.name, failed.failure) if failed else None


class Check:
    """One check of a target, or of one address of it.

    found is what is known of the target's host: its addresses, the Failure of its lookup, or None
    where nobody looked; setup is how many seconds that took. siblings are all checks of the
    target, in the order of their results: one list for all of them, which grows when the addresses
    are known. on_result(result) is called at the end.

    began, deadline and work are None until the check has begun. work is what talks to the tracker:
    a Conversation over UDP, a Stepper over TCP. Both have advance(now), read(socket, now),
    end(failure, now), wake_at and finished, so that one loop runs them; only a Stepper waits for
    lookups, and has answer() for them.
    """

    __slots__ = (
        "target on_result submitted_at siblings found setup began deadline work scheduled result"
        " ended"
    ).split()

    def __init__(self, target: Target, on_result, submitted_at: float):
        self.target = target
        self.on_result = on_result
        self.submitted_at = submitted_at
        self.siblings = [self]
        self.found = None
        self.setup = 0
        self.began = self.deadline = self.work = None
        self.scheduled = None
        self.result = Result(target)
        self.ended = False

    @property
    def places(self) -> int:
        """How many open sockets it is counted for."""
        addresses = len(self.found) if isinstance(self.found, list) else 1
        # A proxy's name, or one behind a redirect, may have two addresses.
        return addresses if self.target.kind == UDP or self.target.ip_version else max(2, addresses)

    def begin(self, runner: "Runner", now: float) -> None:
        """Starts to talk to the tracker; the time of the lookup counts."""
        self.began = now - self.setup
        self.deadline = self.began + runner.settings.timeout
        if self.target.kind == UDP:
            self.work = converse(self, runner, now)
        else:
            self.work = start_steps(self, runner)
        self.work.advance(now)

    def fail(self, failure: "Failure", elapsed: float, settings: Settings) -> None:
        """Completes the result of a check that has not begun."""
        first = "announce" if settings.announce else "scrape"
        names = {HTTP: first, WS: "connect", HEALTH: "health"}
        self.result.add(names.get(self.target.kind, "setup"), elapsed, failure)
        self.result.elapsed = elapsed

    def conclude(self, now: float) -> None:
        """Completes the result of a check whose work is finished."""
        if self.target.kind == UDP:
            conclude_udp(self, now)
        elif self.result.address is None and isinstance(self.found, list):
            self.result.address = show_address(self.found[0])
        self.ended = True


# What is asked over UDP.


def converse(check: Check, runner: "Runner", now: float) -> "Conversation":
    """Returns the conversation that checks a UDP tracker."""
    return Conversation(
        check.found,
        runner.udp_requests(check.target),
        now,
        check.deadline,
        runner.selector,
        owner=check,
        trace=runner.settings.http.trace,
        leave=leave_swarm,
    )


def udp_requests(target: Target, settings: Settings) -> list:
    """Returns what a UDP tracker is asked: never as a seeder, and scrape before announce.

    Both are in flight together; in this order the scrape does not count the announced peer.
    """
    requests = []
    if settings.scrape:
        requests.append(Scrape([target.info_hash]))
    if settings.announce:
        requests.append(
            Announce(
                info_hash=target.info_hash,
                peer_id=settings.peer_id,
                downloaded=0,
                left=1,
                uploaded=0,
                event=EVENTS["started"],
                ip_address=bytes(4),
                key=0,
                peers_wanted=1,
                port=settings.port,
                url_data=url_data_of(target.url.path, target.url.query),
            )
        )
    return requests


def leave_swarm(conversation, sock, address, exchange, now) -> None:
    """Sends event stopped, once, to an address that has accepted an announce and is left now."""
    for request, reply in zip(exchange.requests, exchange.replies):
        if isinstance(reply, AnnounceReply) and exchange.is_connected(now):
            stopped = request._replace(event=EVENTS["stopped"], peers_wanted=0)
            if conversation.trace:
                conversation.trace("-> {} announce, stopped".format(show_address(address)))
            try:
                sock.send(stopped.encode(exchange.connection_id, new_transaction_id()))
            except OSError:
                # It is a courtesy: the tracker forgets the peer after its interval anyway.
                pass


def conclude_udp(check: Check, now: float) -> None:
    """Writes down how a conversation went: the stages, the address, the counts."""
    conversation, result = check.work, check.result
    exchange = conversation.exchange
    result.elapsed = now - check.began
    # Where all addresses failed, the first stage that failed names them all.
    unanswered = None if conversation.answered else conversation.race.combined_failure()
    reached = conversation.answered or (exchange and exchange.connected_at)
    result.address = show_address(conversation.address if reached else check.found[0])
    if exchange is None:
        result.add("setup", result.elapsed, unanswered)
        return
    result.add("setup", check.setup)
    connect_began = check.began + check.setup
    connected_at = exchange.connected_at
    if connected_at is None:
        failure = unanswered or stage_failure(exchange.replies[0])
        result.add("connect", now - connect_began, failure)
        return
    result.add("connect", connected_at - connect_began)
    accepted = any(isinstance(reply, AnnounceReply) for reply in exchange.replies)
    # In reverse: the scrape was asked first, but a reader expects the announce.
    answers = reversed(list(zip(exchange.requests, exchange.replies, exchange.replied_at)))
    for request, reply, replied_at in answers:
        failure = stage_failure(reply)
        if failure and unanswered:
            failure = unanswered
            unanswered = None
        if is_refusal(request, reply) and not accepted and asks_for_default(check.target):
            failure = Failure(failure.kind, str(failure) + REFUSAL_HINT)
        result.add(ACTIONS[request.action], replied_at - connected_at, failure)
        if isinstance(reply, AnnounceReply):
            result.interval = reply.interval
            result.seeders, result.leechers = reply.seeders, reply.leechers
        elif not failure:
            result.seeders, _, result.leechers = reply.stats[0]


def asks_for_default(target: Target) -> bool:
    return target.info_hash == DEFAULT_INFO_HASH


def is_refusal(request, reply) -> bool:
    """Whether a tracker says over UDP that it does not know the torrent.

    It does so with an error reply, or as opentracker with an announce reply of 8 bytes.
    """
    return isinstance(reply, ErrorReply) or (
        request.action == ANNOUNCE and isinstance(reply, Failure) and SHORT_ANNOUNCE in str(reply)
    )


def stage_failure(reply):
    """Returns the Failure that a reply over UDP stands for, or None."""
    if isinstance(reply, Failure):
        return reply
    if isinstance(reply, ErrorReply):
        return Failure("tracker_error", "the tracker says {!r}".format(reply.message))
    if isinstance(reply, ScrapeReply) and not reply.stats:
        return Failure("invalid_response", "the reply to scrape has no entry")
    return None


# What is asked over HTTP and WebSocket, as steps.


def start_steps(check: Check, runner: "Runner") -> "Stepper":
    """Returns what runs the steps that check a target over TCP."""
    steps = {HTTP: check_http, WS: check_websocket, HEALTH: check_health}[check.target.kind]
    return Stepper(steps(check, runner.settings), check, check.deadline, runner)


def check_http(check: Check, settings: Settings):
    """Steps that check an HTTP tracker, and then take the check out of its swarm."""
    target, result = check.target, check.result
    accepted = False
    if settings.announce:
        ask = announce_http(target, result, settings, check.deadline)
        accepted = yield from stage(check, "announce", ask)
    scrape = url_to_scrape(target, [target.info_hash])
    if settings.scrape and scrape:
        ask = scrape_http(scrape, target, result, settings.http, check.deadline)
        yield from stage(check, "scrape", ask)
    elif not settings.announce:
        # A result without a stage would be ok.
        text = "it has no scrape URL, and no announce was wanted"
        result.add("scrape", 0, Failure("unsupported", text))
    # Where it was cut short there is no time for a courtesy that takes a connection of its own.
    if accepted and not check.work.cut_short:
        try:
            url = url_to_announce(target, "stopped", settings)
            yield from fetch(url, settings.http, check.deadline, limit=None)
        except Failure:
            # It is a courtesy: the tracker forgets the peer after its interval anyway.
            pass


def check_websocket(check: Check, settings: Settings):
    """Steps that check a WebSocket tracker, all on one connection, and leave its swarm.

    The first question is part of the race between the host's addresses, as over UDP: one that
    agrees to the upgrade and then says nothing has not answered.
    """
    target, result = check.target, check.result
    wanted = {"announce": settings.announce, "scrape": settings.scrape}
    first, *further = [name for name in wanted if wanted[name]]
    upgraded_at = []

    def ask_first(websocket):
        """Steps that return None, or the Failure of a refusal: that leaves the connection."""
        upgraded_at.append(time.monotonic())
        result.certificate_expires = websocket.stream.certificate_expires
        try:
            yield from ask_over(websocket, first, target, result)
        except Failure as failure:
            if failure.kind != "failure_reason":
                raise
            return failure

    websocket = None
    try:
        websocket, failure = yield from open_websocket(
            target.url, settings.http, check.deadline, CHECK_LIMIT, ask_first
        )
    except Failure as caught:
        failure = caught.copy()
        result.address = failure.address or result.address
    now = time.monotonic()
    result.elapsed = now - check.began
    if not upgraded_at:
        result.add("connect", result.elapsed, failure)
        return
    result.add("connect", upgraded_at[-1] - check.began)
    result.add(first, now - upgraded_at[-1], failure)
    for name in further:
        yield from stage(check, name, ask_over(websocket, name, target, result))
    if websocket:
        yield from leave_over(websocket, check)


def ask_over(websocket: "WebSocket", name: str, target: Target, result: Result):
    """Steps that announce or scrape, and note what the tracker counts; Failure for no answer."""
    if websocket is None:
        raise Failure("invalid_response", "not asked: the connection has ended")
    if name == "announce":
        question = message_to_announce(target, websocket.peer_id, "started")
        take_answer = announce_answer
    else:
        question = websocket_scrape([target.info_hash])
        take_answer = scrape_answer
    reply = yield from websocket.ask(question)
    result.address = websocket.address
    take_answer(reply, 200, target, result)


def leave_over(websocket: "WebSocket", check: Check):
    """Steps that take a check out of its swarm, where it is in one, and close the connection."""
    try:
        if not check.work.cut_short:
            if check.result.announced:
                stopped = message_to_announce(check.target, websocket.peer_id, "stopped")
                yield from websocket.ask(stopped)
            yield from websocket.close()
    except Failure:
        # It is a courtesy: the tracker forgets the peer when the connection ends.
        pass
    finally:
        websocket.stream.close()


def check_health(check: Check, settings: Settings):
    """Steps that check a health endpoint: any 2xx status is well."""
    ask = ask_health(check.target, check.result, settings.http, check.deadline)
    yield from stage(check, "health", ask)


def stage(check: Check, name: str, steps):
    """Steps that run others as a stage of a check; they return whether those went well.

    Where the check has been cut short they are not begun.
    """
    began = check.began + check.result.elapsed
    failure = None
    if check.work.cut_short:
        failure = check.work.cut_short
        if failure.kind == "timeout":
            text = "not asked, since the {} used up the time".format(check.result.stages[-1].name)
            failure = Failure("timeout", text)
    else:
        try:
            yield from steps
        except Failure as caught:
            failure = caught.copy()
            check.result.address = failure.address or check.result.address
    now = time.monotonic()
    check.result.add(name, now - began, failure)
    check.result.elapsed = now - check.began
    return failure is None


def announce_http(target: Target, result: Result, settings: Settings, deadline: float):
    """Steps that announce, and note what the tracker counts; Failure where it does not answer."""

    def read(response):
        result.certificate_expires = response.certificate_expires
        announce_answer(read_reply(response), response.status, target, result)

    url = url_to_announce(target, "started", settings)
    response, _ = yield from fetch(url, settings.http, deadline, CHECK_LIMIT, read)
    result.address = response.address


def scrape_http(url: str, target: Target, result: Result, options: "HttpOptions", deadline: float):
    """Steps that scrape, and note what the tracker counts; Failure where it does not answer."""

    def read(response):
        result.certificate_expires = response.certificate_expires
        scrape_answer(read_reply(response), response.status, target, result)

    response, _ = yield from fetch(url, options, deadline, CHECK_LIMIT, read)
    result.address = response.address


def announce_answer(reply, status: int, target: Target, result: Result) -> None:
    """Notes what a tracker counts in its reply to an announce; Failure where that is no answer."""
    require_answer(require_announce, reply, status, target, result)
    result.interval, result.seeders, result.leechers = announce_counts(reply)


def scrape_answer(reply, status: int, target: Target, result: Result) -> None:
    """Notes what a tracker counts in its reply to a scrape; Failure where that is no answer."""
    require_answer(require_scrape, reply, status, target, result)
    seeders, _, leechers = scrape_counts(reply).get(target.info_hash, (None, None, None))
    # Where scrape does not know the torrent, announce's counts stay.
    result.seeders = result.seeders if seeders is None else seeders
    result.leechers = result.leechers if leechers is None else leechers


def require_answer(require, reply, status: int, target: Target, result: Result) -> None:
    """Raises Failure where require(reply, status) does; notes the warning that a reply has.

    Where the tracker refuses the default info hash, which no announce got past, there is a hint.
    """
    if isinstance(reply, dict) and reply.get(b"warning message"):
        result.warning = text_of(reply[b"warning message"])
    try:
        require(reply, status)
    except Failure as failure:
        if failure.kind == "failure_reason" and not result.announced and asks_for_default(target):
            raise Failure(failure.kind, str(failure) + REFUSAL_HINT)
        raise


def ask_health(target: Target, result: Result, options: "HttpOptions", deadline: float):
    """Steps that ask a health endpoint, and note its answer; Failure for any but a 2xx status."""
    response, _ = yield from fetch(target.url, options, deadline, limit=None)
    result.address = response.address
    result.certificate_expires = response.certificate_expires
    result.detail = show_status(response)
    if not 200 <= response.status < 300:
        raise Failure("http_status", result.detail)


def show_status(response: "HttpResponse") -> str:
    """Returns a status as 200 OK, with the standard's words for it where there are some."""
    from http import HTTPStatus

    try:
        reason = HTTPStatus(response.status).phrase
    except ValueError:
        reason = response.reason
    return "{} {}".format(response.status, reason).strip()


def url_to_announce(target: Target, event: str, settings: Settings) -> str:
    """Returns the URL of an announce, never as a seeder."""
    parameters = [
        ("info_hash", target.info_hash),
        ("peer_id", settings.peer_id),
        ("port", settings.port),
        ("uploaded", 0),
        ("downloaded", 0),
        ("left", 1),
        ("event", event),
        ("compact", 1),
        ("numwant", 0 if event == "stopped" else 1),
    ]
    return with_query(target.url, encode_query(parameters))


def message_to_announce(target: Target, peer_id: bytes, event: str) -> dict:
    """Returns the message of an announce, never as a seeder."""
    return websocket_announce(
        target.info_hash, peer_id, event, uploaded=0, downloaded=0, left=1
    )


def url_to_scrape(target: Target, info_hashes: list) -> str:
    """Returns the URL of a scrape, None for a tracker that has none."""
    try:
        url = scrape_url(target.url)
    except ValueError:
        return None
    return with_query(url, encode_query([("info_hash", each) for each in info_hashes]))


def announce_counts(value: dict) -> tuple:
    """Returns (interval in seconds, seeders, leechers) of an announce answer, None if not there."""
    return numbers_of(value, b"interval", b"complete", b"incomplete")


def scrape_counts(value: dict) -> dict:
    """Returns {info hash: (seeders, completed, leechers)} of a scrape answer, None if not there."""
    return {
        scraped_hash(key): numbers_of(
            counts if isinstance(counts, dict) else {}, b"complete", b"downloaded", b"incomplete"
        )
        for key, counts in value[b"files"].items()
    }


def numbers_of(value: dict, *keys) -> tuple:
    """Returns what a reply has for the keys, None for what is no number or not there."""
    found = map(value.get, keys)
    # JSON's true and false are numbers to Python.
    return tuple(number if type(number) is int else None for number in found)


# The runner: the one loop in which all checks begin, advance and end.
class Stepper:
    """Runs steps in the loop, with the methods that a Conversation has.

    steps are a generator that yields a Wait or a Lookup (both below, in the region steps). runner
    has the selector, whose data is the owner, and resolve(owner, lookup), which returns the
    addresses, a Failure, or None: then answer() is called later, if not forget_lookup(owner) comes
    before. cut_short is the Failure that has
    ended the steps before their time, which they hear of where they wait; None while there is none.
    """

    __slots__ = "steps owner deadline runner wait cut_short finished wake_at".split()

    def __init__(self, steps, owner, deadline, runner):
        self.steps = steps
        self.owner = owner
        self.deadline = deadline
        self.runner = runner
        self.wait = None
        self.cut_short = None
        self.finished = False
        self.wake_at = deadline

    def advance(self, now: float) -> None:
        """Begins the steps, or lets them go on at a time for which they waited."""
        if self.wait is None:
            self._go_on(None)
        elif now >= self.deadline:
            self.end(Failure("timeout", self.wait.late), now)
        elif now >= self.wake_at:
            # The time has come, and no socket is ready.
            self._go_on([])

    def read(self, sock, now: float) -> None:
        """Lets the steps go on where they waited for this socket."""
        if not self.finished and isinstance(self.wait, Wait) and sock in self.wait.events:
            self._go_on([sock])

    def answer(self, outcome) -> None:
        """Lets the steps go on with the addresses, or the Failure, for which they waited."""
        self._go_on(outcome)

    def end(self, failure: "Failure", now: float) -> None:
        """Ends the steps: they get the failure where they wait, and may not wait again."""
        self.cut_short = failure
        self._unwatch()
        try:
            self.steps.throw(failure)
        except StopIteration:
            pass
        else:
            self.steps.close()
        self.finished = True

    def _go_on(self, outcome):
        """Hands the steps what they waited for, until they wait for what is not there yet."""
        self._unwatch()
        try:
            while True:
                if isinstance(outcome, Failure):
                    self.wait = self.steps.throw(outcome.copy())
                else:
                    self.wait = self.steps.send(outcome)
                if isinstance(self.wait, Wait):
                    break
                outcome = self.runner.resolve(self.owner, self.wait)
                if outcome is None:
                    break
        except StopIteration:
            self.finished = True
            return
        until = self.wait.until
        self.wake_at = self.deadline if until is None else min(until, self.deadline)
        if isinstance(self.wait, Wait):
            for sock, event in self.wait.events.items():
                self.runner.selector.register(sock, event, self.owner)

    def _unwatch(self):
        if isinstance(self.wait, Wait):
            for sock in self.wait.events:
                self.runner.selector.unregister(sock)
        elif self.wait:
            self.runner.forget_lookup(self.owner)


class Lookups:
    """Looks names up on daemon threads, each name once, or anew each time with keep=False.

    A lookup cannot be interrupted. So whenever one has taken a tenth of a second another thread
    takes its place, up to `most`, and names that are slow or hang do not hold the others. wake()
    is called, from such a thread, when one has ended.
    """

    FIRST_THREADS = 32
    SLOW = 0.1  # seconds

    class Name:
        """One name: when its lookup was begun, None before, and what came of it."""

        def __init__(self, host):
            self.host = host
            self.begun = None
            self.outcome = None  # addresses with port 0, or a Failure

    def __init__(self, version, most, keep, wake):
        self.version = version
        self.most = most
        self.keep = keep
        self.wake = wake
        self.queue = deque()
        self.lock = threading.Lock()
        self.lookups = {}  # host: Name
        self.busy = set()  # those that a thread is at
        self.threads = 0  # they end when there is nothing to look up
        self.last_begun = time.monotonic()

    def find(self, host: str) -> "Lookups.Name":
        """Returns the lookup of a name, started if it is new."""
        with self.lock:
            lookup = self.lookups.get(host)
            if lookup is None:
                lookup = self.Name(host)
                self.lookups[host] = lookup
                self.queue.append(lookup)
        self.tend(time.monotonic())
        return lookup

    def tend(self, now: float) -> None:
        """Starts threads beside those whose lookups are slow; to be called now and then."""
        with self.lock:
            slow = sum(now - lookup.begun > self.SLOW for lookup in self.busy)
            wanted = min(len(self.busy) + len(self.queue), self.FIRST_THREADS + slow, self.most)
            while self.threads < wanted:
                self.threads += 1
                threading.Thread(target=self._work, daemon=True).start()

    def is_stuck(self, since: float) -> bool:
        """Whether no thread has begun a lookup since a time of time.monotonic()."""
        return self.last_begun < since

    def _work(self):
        while True:
            with self.lock:
                if not self.queue:
                    self.threads -= 1
                    return
                lookup = self.queue.popleft()
                lookup.begun = self.last_begun = time.monotonic()
                self.busy.add(lookup)
            try:
                outcome = look_up(lookup.host, 0, self.version)
            except Failure as failure:
                outcome = failure
            with self.lock:
                self.busy.discard(lookup)
                if not self.keep:
                    del self.lookups[lookup.host]
            lookup.outcome = outcome
            self.wake()


def with_port(outcome, port: int):
    """Returns what a lookup without a port came to, with the port."""
    if isinstance(outcome, Failure):
        return outcome
    return [(address[0], port) + address[2:] for address in outcome]


class Runner:
    """Runs checks side by side, all in the thread that calls run().

    submit() hands it a target; every target gets its results, whatever becomes of it or of others.
    A check waits for the lookup of its host, then, over TCP, for its turn at the host, then for
    places (open files). Its time is that of the lookup and of the check, without these waits.

    Fairness: datagrams are served first; of the streams that are ready those that have waited
    longest are served next, for no longer than a turn. A reply is read in pieces of 16 KiB, and
    none is larger than a mebibyte, so that no tracker can cost another one its answer.
    """

    BATCH = 64  # checks begun before replies are looked at again, to keep latencies true
    TURN = 0.02  # seconds in which streams are served before datagrams are again
    TEND = 0.1  # seconds between looks at lookups and the progress
    PER_HOST = 4  # requests at a time to one host, over TCP

    def __init__(self, settings: Settings, lookups: int, places: int, keep_names: bool):
        self.settings = settings
        self.places = places
        self.tick = None
        self.interrupted = None
        self.selector = selectors.DefaultSelector()
        self._open = set()  # checks without a result
        self._timers = []  # a heap of (when, number, function, its arguments …)
        self._numbers = itertools.count()  # so that of two at the same time the first is first
        self._wake_in, self._wake_out = socket.socketpair()
        self._wake_in.setblocking(False)
        self._wake_out.setblocking(False)
        self.selector.register(self._wake_in, selectors.EVENT_READ)
        self._lookups = Lookups(settings.http.ip_version, lookups, keep_names, self.wake)
        self._looking_up = {}  # check: the Lookups.Name for which it waits
        self._ready = deque()  # checks that wait for places
        self._places_taken = 0
        self._at_host = {}  # host: how many of its checks are ready or under way, over TCP
        self._held_back = {}  # host: its other checks
        self._streams = {}  # socket that is ready: its check, longest first
        self._udp_requests = {}

    def submit(self, target: Target, on_result) -> list:
        """Takes a target in and returns the list of its checks, which grows with its addresses."""
        return self.submit_check(Check(target, on_result, time.monotonic()))

    def submit_check(self, check: Check) -> list:
        """The same for a check that is made already."""
        target = check.target
        self._open.add(check)
        if target.kind == UNSUPPORTED:
            self._fail(check, Failure("unsupported", target.problem), 0)
        elif target.ip_version:
            try:
                found = look_up(target.host, target.port, self.settings.http.ip_version)
            except Failure as failure:
                # Of the other IP version, or with the scope of an interface that is not there.
                found = failure
            self._found(check, found, 0)
        elif target.kind == UDP or self._is_direct(target):
            self._looking_up[check] = self._lookups.find(target.host)
            # It may have been looked up for another check already.
            self.wake()
        else:
            self._enqueue(check)
        return check.siblings

    def call_at(self, when: float, function, *arguments) -> None:
        """Calls function(*arguments) in run() at a time of time.monotonic()."""
        heappush(self._timers, (when, next(self._numbers), function, *arguments))

    def interrupt(self, number: int) -> None:
        """Ends run() before its time; what is open ends as interrupted. For signal handlers."""
        self.interrupted = number
        self.wake()

    def wake(self) -> None:
        """Makes run() look at what has changed; from any thread."""
        try:
            self._wake_out.send(b"\0")
        except OSError:
            # It is full of wake-up calls already.
            pass

    def run(self, until: float = 0) -> None:
        """Runs until every target has its results and a time has come, or interrupted."""
        self._tend()
        while not self.interrupted and (self._open or time.monotonic() < until):
            busy = self._streams or self._has_places()
            # _tend is always among the timers.
            pause = 0 if busy else max(0, self._timers[0][0] - time.monotonic())
            for key, _ in self.selector.select(pause):
                if key.data is None:
                    self._take_wake_up()
                elif key.data.target.kind == UDP:
                    self._read(key.data, key.fileobj)
                else:
                    self._streams.setdefault(key.fileobj, key.data)
            self._serve_streams()
            now = time.monotonic()
            while self._timers[0][0] <= now and not self.interrupted:
                _, _, function, *arguments = heappop(self._timers)
                function(*arguments)
            self._begin_checks()
        if self.interrupted:
            self._end_interrupted()

    # Names.

    def resolve(self, check: Check, lookup: "Lookup"):
        """Returns the addresses, or Failure, for which steps wait; None where they come later."""
        # The host counts, whatever its port: a redirect to https does not leave the address.
        if check.found is not None and lookup.host.lower() == check.target.host:
            return with_port(check.found, lookup.port)
        name = self._lookups.find(lookup.host)
        if name.outcome is None:
            self._looking_up[check] = name
            return None
        return with_port(name.outcome, lookup.port)

    def forget_lookup(self, check: Check) -> None:
        """Notes that the steps of a check wait for no lookup any more."""
        self._looking_up.pop(check, None)

    def _is_direct(self, target):
        """Whether an HTTP target is reached without a proxy: then its name is ours to look up."""
        try:
            return proxy_for(split_url(target.url), self.settings.http.environ) is None
        except ValueError:
            return False

    def _take_wake_up(self):
        try:
            self._wake_in.recv(4096)
        except BlockingIOError:
            pass
        now = time.monotonic()
        if self._lookups.queue:
            self._lookups.tend(now)
        waiting = list(self._looking_up.items())
        for check, lookup in waiting:
            if lookup.outcome is None:
                continue
            del self._looking_up[check]
            if check.work is None:
                elapsed = max(0, now - max(check.submitted_at, lookup.begun))
                self._found(check, with_port(lookup.outcome, check.target.port), elapsed)
            else:
                check.work.answer(with_port(lookup.outcome, check.work.wait.port))
                self._after(check, now)

    def _tend(self):
        """Looks after what no event tells: lookups that take too long, the progress."""
        now = time.monotonic()
        self.call_at(now + self.TEND, self._tend)
        self._lookups.tend(now)
        for check, lookup in list(self._looking_up.items()):
            if check.work is None and self._is_late(check, lookup, now):
                del self._looking_up[check]
                failure = Failure("timeout", lookup.host + ": the name lookup took too long")
                self._found(check, failure, self.settings.timeout)
        if self.tick:
            self.tick()

    def _is_late(self, check, lookup, now):
        since = now - self.settings.timeout
        if lookup.begun:
            return max(check.submitted_at, lookup.begun) < since
        return check.submitted_at < since and self._lookups.is_stuck(since)

    def _found(self, check, found, elapsed):
        """Goes on with a check whose addresses are known now, or with one for each of them."""
        check.found, check.setup = found, elapsed
        if isinstance(found, Failure):
            if check.target.kind == UDP:
                self._fail(check, found, elapsed)
            else:
                # Its steps meet the failure in each stage, so that each says so.
                self._enqueue(check)
            return
        if self.settings.all_addresses:
            check.found = found[:1]
            for address in found[1:]:
                other = Check(check.target, check.on_result, check.submitted_at)
                other.found, other.setup = [address], elapsed
                other.siblings = check.siblings
                check.siblings.append(other)
                self._open.add(other)
        for each in check.siblings:
            self._enqueue(each)

    # Beginning, going on and ending.

    def udp_requests(self, target: Target) -> list:
        """Returns what a UDP target is asked; most targets of a run share it."""
        key = (target.info_hash, target.url.path, target.url.query)
        if key not in self._udp_requests:
            self._udp_requests[key] = udp_requests(target, self.settings)
        return self._udp_requests[key]

    def _enqueue(self, check):
        """Puts a check where it waits for its turn at the host and for places."""
        if check.target.kind != UDP:
            host = check.target.host
            if self._at_host.get(host, 0) == self.PER_HOST:
                self._held_back.setdefault(host, deque()).append(check)
                return
            self._at_host[host] = self._at_host.get(host, 0) + 1
        self._ready.append(check)

    def _has_places(self):
        """Whether a check waits and there are places for it; one that wants too many is alone."""
        if not self._ready:
            return False
        taken = self._places_taken
        return taken == 0 or taken + self._ready[0].places <= self.places

    def _begin_checks(self):
        for _ in range(self.BATCH):
            if not self._has_places():
                return
            check = self._ready.popleft()
            self._places_taken += check.places
            now = time.monotonic()
            check.begin(self, now)
            self._after(check, now)

    def _read(self, check, sock):
        """Lets a check go on one of whose sockets is ready; it may have ended meanwhile."""
        if not check.ended:
            now = time.monotonic()
            check.work.read(sock, now)
            self._after(check, now)

    def _serve_streams(self):
        """Lets the streams go on that are ready, for the length of a turn."""
        turn_ends = time.monotonic() + self.TURN
        while self._streams and time.monotonic() < turn_ends:
            sock = next(iter(self._streams))
            self._read(self._streams.pop(sock), sock)

    def _advance(self, check):
        """Lets a check go on whose time has come; it may have ended, or be asked too early."""
        if not check.ended:
            now = time.monotonic()
            check.work.advance(now)
            self._after(check, now)

    def _after(self, check, now):
        """Sees to the next step of a check after each, or takes its result."""
        if check.work.finished:
            check.conclude(now)
            check.work = None
            self._places_taken -= check.places
            if check.target.kind != UDP:
                self._leave_host(check.target.host)
            self._settle(check)
        elif check.work.wake_at != check.scheduled:
            check.scheduled = check.work.wake_at
            self.call_at(check.scheduled, self._advance, check)

    def _leave_host(self, host):
        if self._held_back.get(host):
            self._ready.append(self._held_back[host].popleft())
        else:
            self._at_host[host] -= 1

    def _fail(self, check, failure, elapsed):
        """Ends a check that has not begun."""
        check.fail(failure, elapsed, self.settings)
        check.ended = True
        self._settle(check)

    def _settle(self, check):
        self._open.discard(check)
        self._looking_up.pop(check, None)
        if self.settings.all_addresses and isinstance(check.found, list):
            check.result.address = show_address(check.found[0])
        check.on_result(check.result)

    def _end_interrupted(self):
        """Gives every check that is still open its result."""
        # Lookups that have ended by now still count.
        self._take_wake_up()
        now = time.monotonic()
        for check in list(self._open):
            if check.work is None:
                self._fail(check, Failure("interrupted", "interrupted"), now - check.submitted_at)
            else:
                check.work.end(Failure("interrupted", "interrupted"), now)
                self._after(check, now)


def share_open_files(available: int, names: int) -> tuple:
    """Shares open files out: (lookups under way, which take two each, sockets of checks).

    Lookups come first: one that finds no file free would say that the name is unknown.
    """
    lookups = max(1, min(names, 256, available // 8))
    return lookups, max(1, available - 2 * lookups if names else available)


def open_files_available(wanted: int) -> int:
    """Returns how many more files may be opened, after raising the soft limit where it is low."""
    margin = 32  # what the interpreter and the output have open
    try:
        import resource
    except ImportError:
        return 400  # Windows: its select() takes 512 sockets
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + margin:
        soft = wanted + margin if hard == resource.RLIM_INFINITY else min(wanted + margin, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        except (OSError, ValueError):
            soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if soft == resource.RLIM_INFINITY else max(8, soft - margin)


# The swarms: how alive many torrents are, asked of many trackers by scrapes alone.
URL_LENGTH = 2000  # characters that every server takes
# So many fit into one packet, over IPv6 and PPPoE, too; 74 would be in two, which get lost.
HASHES_PER_DATAGRAM = 70
HASHES_PER_MESSAGE = 100  # of a scrape over WebSocket

Counts = namedtuple("Counts", "seeders completed leechers")
class NotListed(Counts):
    """What a tracker counts for a torrent that its answer has no entry for."""

    __slots__ = ()


NOT_LISTED = NotListed(0, 0, 0)


class Torrent:
    """A torrent, the trackers that it is asked for at, and what each of them says.

    trackers are targets. outcomes has for each of them None while that is not known, then
    (seeders, completed, leechers), with None for what the tracker did not say, NOT_LISTED, or a
    Failure.
    """

    __slots__ = "info_hash name trackers outcomes open".split()

    def __init__(self, info_hash: bytes, name: str):
        self.info_hash = info_hash
        self.name = name
        self.ask_at(())

    def ask_at(self, trackers: tuple) -> None:
        """Says where it is asked for."""
        self.trackers = trackers
        self.outcomes = [None] * len(trackers)
        self.open = len(trackers)

    def settle(self, tracker: Target, outcome) -> bool:
        """Notes what a tracker says; returns whether that was the last one."""
        self.outcomes[self.trackers.index(tracker)] = outcome
        self.open -= 1
        return self.open == 0

    @property
    def answers(self) -> list:
        """The outcomes that are no failures."""
        return [outcome for outcome in self.outcomes if not isinstance(outcome, Failure)]

    @property
    def counts(self) -> Counts:
        """The largest that any tracker says, None for what none does.

        The swarms that trackers see overlap: a sum would count peers twice.
        """
        columns = zip(*self.answers) if self.answers else ((), (), ())
        return Counts(
            *(
                max((number for number in column if number is not None), default=None)
                for column in columns
            )
        )


class Question:
    """A scrape that is under way: for which torrents, and after how many replies it was sent.

    proof says that it is asked to prove the order of replies.
    """

    __slots__ = ("torrents", "replies_before", "proof")

    def __init__(self, torrents, replies_before, proof=False):
        self.torrents = torrents
        self.replies_before = replies_before
        self.proof = proof

    @property
    def info_hashes(self) -> list:
        return [torrent.info_hash for torrent in self.torrents]


class Survey:
    """What a tracker is asked about many torrents, and what follows from its replies; no I/O.

    Whoever asks takes next_question(), None when there is nothing to ask at the moment, and says
    what came of it: take_counts(), refuse() or fail(). Several may be under way. A request has
    room for so much, and cost(info_hash) is what a torrent takes of it. on_outcome(torrent,
    tracker, outcome) is called once for each torrent.

    What a reply has no entry for is asked for again, once and by itself; so is what was refused
    together with others. A tracker from which nothing at all came while a request timed out is not
    asked further, nor one whose last three requests have failed, nor one that has refused a hundred
    torrents and answered for none.
    """

    MOST_FAILURES = 3
    MOST_REFUSALS = 100

    def __init__(self, tracker: Target, torrents: list, room: int, cost, on_outcome):
        self.tracker = tracker
        self.room = room
        self.cost = cost
        self.on_outcome = on_outcome
        self.given_up = False
        self._waiting = deque(torrents)
        self._alone = deque()  # those that are to be asked for by themselves
        self._under_way = set()
        self._replies = 0
        self._failures = 0  # since the last reply
        self._refusals = 0  # of single torrents, before the first answer
        self._has_answered = False

    def next_question(self):
        question = self._choose()
        if question:
            self._under_way.add(question)
        return question

    def take_counts(self, question: Question, counts: dict) -> None:
        """Takes a reply that names its hashes: {info hash: (seeders, completed, leechers)}."""
        if counts and counts.keys().isdisjoint(question.info_hashes):
            self.fail(question, Failure("invalid_response", "it answers for other torrents"))
            return
        if not self._end(question):
            return
        self._has_answered = True
        for torrent in question.torrents:
            found = counts.get(torrent.info_hash)
            if found == (None, None, None):
                self._settle(torrent, Failure("invalid_response", "an entry without counts"))
            elif found:
                self._settle(torrent, found)
            elif len(question.torrents) > 1:
                self._alone.append(torrent)
            else:
                self._settle(torrent, NOT_LISTED)

    def refuse(self, question: Question, failure: "Failure") -> None:
        """Takes the tracker's word that it does not answer a question."""
        if not self._end(question):
            return
        together = len(question.torrents) > 1
        self._drop(question, failure, alone=together)
        if not together and not self._has_answered:
            self._refusals += 1
            if self._refusals == self.MOST_REFUSALS:
                self.give_up(failure)

    def fail(self, question: Question, failure: "Failure") -> None:
        """Takes the Failure of a question that no answer came to."""
        if question not in self._under_way:
            return
        self._under_way.remove(question)
        self._drop(question, failure, alone=False)
        self._failures += 1
        silent = failure.kind == "timeout" and question.replies_before == self._replies
        if silent or self._failures == self.MOST_FAILURES:
            self.give_up(failure)

    def give_up(self, failure: "Failure") -> None:
        """Asks nothing more; all that is not known has failed."""
        self.given_up = True
        for torrent in self._take_open():
            self._settle(torrent, failure)

    def _choose(self):
        """Returns the next Question, or None."""
        if self._alone:
            return Question([self._alone.popleft()], self._replies)
        torrents, room = [], self.room
        while self._waiting:
            room -= self.cost(self._waiting[0].info_hash)
            if torrents and room < 0:
                break
            torrents.append(self._waiting.popleft())
        return Question(torrents, self._replies) if torrents else None

    def _end(self, question):
        """Notes a reply; returns whether its question was still open."""
        self._replies += 1
        self._failures = 0
        if question not in self._under_way:
            # The tracker was given up meanwhile.
            return False
        self._under_way.remove(question)
        return True

    def _drop(self, question, failure, alone):
        """Lets the torrents of a question be asked for by themselves, or settles them."""
        for torrent in question.torrents:
            if alone:
                self._alone.append(torrent)
            else:
                self._settle(torrent, failure)

    def _take_open(self):
        """Returns all torrents whose outcome is not known, and forgets them."""
        found = [torrent for question in self._under_way for torrent in question.torrents]
        found += list(self._alone) + list(self._waiting)
        self._under_way.clear()
        self._alone.clear()
        self._waiting.clear()
        return found

    def _settle(self, torrent, outcome):
        self.on_outcome(torrent, self.tracker, outcome)


class UdpSurvey(Survey):
    """A survey over UDP, whose replies have counts in an order, and no hashes (BEP 15).

    The order should be that of the request, but some trackers have one of their own. Where all
    entries of a reply are alike it does not matter. Else it is proved before it is believed: a
    reply with unlike entries is asked for again in an order drawn at random, and the entries have
    to come back in that order. A tracker with another order passes by chance, once in as many times
    as the entries have arrangements; so proofs go on until that is less than once in a million.
    Meanwhile replies with unlike entries are in doubt, and are then read in order. Where three
    proofs have failed (one may, since swarms change while they are asked about), or there are too
    few torrents for a proof, each is asked for by itself; so are those of a reply with more or
    fewer entries than were asked for.

    So a torrent is in one place at a time: waiting, under way, to be asked for alone, or in a reply
    that is in doubt, on trial, or proved; and then it is settled, once.
    """

    CHANCES = 10 ** 6
    FAILED_PROOFS = 3

    def __init__(self, tracker, torrents, on_outcome):
        room = HASHES_PER_DATAGRAM
        super().__init__(tracker, torrents, room, lambda info_hash: 1, on_outcome)
        self._in_order = None  # whether replies are, None while that is not known
        self._in_doubt = deque()  # replies: (torrents, entries, arrangements)
        self._on_trial = None  # the reply that is asked for again
        self._proved = []  # replies that have passed
        self._chances = 1  # in which a tracker without order would have passed once
        self._failed_proofs = 0

    def take_entries(self, question: Question, entries: list) -> None:
        """Takes a reply that has entries in an order: [(seeders, completed, leechers)]."""
        if not self._end(question):
            return
        self._has_answered = True
        torrents = question.torrents
        if question.proof:
            self._end_proof(torrents, entries)
        elif len(torrents) == 1 and len(entries) <= 1:
            self._settle(torrents[0], entries[0] if entries else NOT_LISTED)
        elif len(torrents) == 1:
            text = "{} entries for one info hash".format(len(entries))
            self._settle(torrents[0], Failure("invalid_response", text))
        elif len(entries) != len(torrents):
            # It may be that the tracker answers for so many and no more.
            self.room = min(self.room, max(1, len(entries)))
            self._alone.extend(torrents)
        elif self._in_order or len(set(entries)) == 1:
            self._settle_in_order(torrents, entries)
        elif self._in_order is None:
            self._in_doubt.append((torrents, entries, count_arrangements(entries)))
        else:
            self._alone.extend(torrents)

    def _choose(self):
        if self._in_order is None and self._on_trial is None:
            if self._could_prove():
                self._on_trial = self._in_doubt.popleft()
                torrents = self._on_trial[0]
                drawn = random.sample(torrents, len(torrents))
                return Question(drawn, self._replies, proof=True)
            if not self._waiting and not self._under_way:
                self._forget_order()
        return super()._choose()

    def _could_prove(self):
        """Whether the replies that are in doubt, all together, would be enough."""
        chances = self._chances
        for _, _, arrangements in self._in_doubt:
            chances *= arrangements
            if chances >= self.CHANCES:
                return True
        return False

    def _end_proof(self, torrents, entries):
        """Compares the reply on trial with its entries in the order that was drawn."""
        first_torrents, first_entries, arrangements = self._on_trial
        expected = dict(zip(first_torrents, first_entries))
        if entries != [expected[torrent] for torrent in torrents]:
            self._fail_proof()
            return
        self._proved.append(self._on_trial)
        self._on_trial = None
        self._chances *= arrangements
        if self._chances >= self.CHANCES:
            self._in_order = True
            for reply in self._take_doubtful():
                self._settle_in_order(reply[0], reply[1])

    def _fail_proof(self):
        self._failed_proofs += 1
        self._chances = 1
        for reply in self._proved + [self._on_trial]:
            self._alone.extend(reply[0])
        self._proved, self._on_trial = [], None
        if self._failed_proofs == self.FAILED_PROOFS:
            self._forget_order()

    def _forget_order(self):
        """All that is in doubt, and all that is to come, is asked for by itself."""
        self._in_order = False
        for reply in self._take_doubtful():
            self._alone.extend(reply[0])

    def _drop(self, question, failure, alone):
        if question.proof:
            # Its torrents have their reply; it is only that it cannot be believed.
            self._fail_proof()
        else:
            super()._drop(question, failure, alone)

    def _take_doubtful(self):
        found = self._proved + list(self._in_doubt)
        self._proved = []
        self._in_doubt.clear()
        return found

    def _take_open(self):
        # The torrents of a reply on trial are those of the question that is under way for it.
        doubtful = [torrent for reply in self._take_doubtful() for torrent in reply[0]]
        self._on_trial = None
        return doubtful + super()._take_open()

    def _settle_in_order(self, torrents, entries):
        for torrent, entry in zip(torrents, entries):
            self._settle(torrent, entry)


def count_arrangements(entries: list) -> int:
    """Returns in how many orders entries can stand that can be told from each other."""
    arrangements = math.factorial(len(entries))
    for times in Counter(entries).values():
        arrangements //= math.factorial(times)
    return arrangements


class SwarmCheck(Check):
    """A tracker that is asked for many torrents: all over one socket, or once over HTTP.

    Over HTTP each of these asks one question and is followed by another, so that the trackers of a
    host have their turns.
    """

    __slots__ = ("survey",)

    def __init__(self, survey: Survey):
        super().__init__(survey.tracker, lambda result: None, time.monotonic())
        self.survey = survey

    def begin(self, runner: "Runner", now: float) -> None:
        """Starts to ask; it ends by itself, since each request has the time-out."""
        self.began = now
        self.deadline = float("inf")
        steps = {UDP: survey_udp, HTTP: survey_http, WS: survey_websocket}[self.target.kind]
        self.work = Stepper(steps(self, runner.settings), self, self.deadline, runner)
        self.work.advance(now)

    def fail(self, failure: "Failure", elapsed: float, settings: Settings) -> None:
        self.survey.give_up(failure)

    def conclude(self, now: float) -> None:
        self.ended = True


def start_survey(tracker: Target, torrents: list, on_outcome, runner: "Runner") -> None:
    """Has a tracker asked for torrents; one that cannot be asked has failed for all of them."""
    problem, at_a_time = tracker.problem, 1
    if tracker.kind == UDP:
        survey = UdpSurvey(tracker, torrents, on_outcome)
    elif tracker.kind == WS:
        survey = Survey(tracker, torrents, HASHES_PER_MESSAGE, lambda info_hash: 1, on_outcome)
    else:
        url, at_a_time = tracker.url or "", runner.PER_HOST
        survey = Survey(tracker, torrents, URL_LENGTH - len(url), length_in_query, on_outcome)
        if not problem and not url_to_scrape(tracker, []):
            problem = "it has no scrape URL (BEP 48)"
    if problem:
        survey.give_up(Failure("unsupported", problem))
        return
    for _ in range(min(at_a_time, len(torrents))):
        runner.submit_check(SwarmCheck(survey))


def length_in_query(info_hash: bytes) -> int:
    return len(encode_query([("info_hash", info_hash)])) + 1


# How a tracker is asked for many torrents, as steps.


def survey_udp(check: SwarmCheck, settings: Settings):
    """Steps that ask over UDP, at the address that answers first, eight requests at a time."""
    survey = check.survey
    question = survey.next_question()
    try:
        sock, exchange = yield from open_exchange(
            check.found, Scrape(question.info_hashes), settings.timeout, settings.http.trace
        )
    except Failure as failure:
        survey.give_up(failure)
        return
    asked = {0: question}
    try:
        while asked and not survey.given_up:
            for index in [index for index in asked if exchange.replies[index]]:
                take_udp_reply(survey, asked.pop(index), exchange.replies[index])
            while len(asked) < Exchange.IN_FLIGHT:
                question = survey.next_question()
                if question is None:
                    break
                request = Scrape(question.info_hashes)
                asked[exchange.ask(request, time.monotonic())] = question
            if asked:
                yield from exchange_datagrams(sock, exchange, settings.http.trace)
    except Failure as failure:
        survey.give_up(failure)
    finally:
        sock.close()


def take_udp_reply(survey: UdpSurvey, question: Question, reply) -> None:
    """Hands a survey what a question over UDP came to."""
    if isinstance(reply, Failure):
        survey.fail(question, reply)
    elif isinstance(reply, ErrorReply):
        survey.refuse(question, stage_failure(reply))
    else:
        survey.take_entries(question, reply.stats)


def open_exchange(addresses: list, request, timeout: float, trace):
    """Steps that return (socket, Exchange) with the address that answers a request first.

    The socket is connected. They raise Failure (timeout, refused, unreachable, invalid_response,
    tracker_error).
    """
    deadline = time.monotonic() + timeout

    def attempt(address):
        try:
            sock = open_socket(address, socket.SOCK_DGRAM)
        except OSError as error:
            raise network_failure(error)
        try:
            exchange = Exchange(
                [request],
                ":" in address[0],
                time.monotonic(),
                float("inf"),
                held=True,
                patience=timeout,
            )
            while exchange.connection_id is None and exchange.replies[0] is None:
                yield from exchange_datagrams(sock, exchange, trace)
            if exchange.replies[0] is None:
                yield TURN
                exchange.release(time.monotonic())
            while exchange.replies[0] is None:
                yield from exchange_datagrams(sock, exchange, trace)
            failure = stage_failure(exchange.replies[0])
            if failure and (failure is exchange.replies[0] or exchange.connection_id is None):
                raise failure
            return sock, exchange
        except BaseException:
            # GeneratorExit, too: another address may have answered first.
            sock.close()
            raise

    return (yield from try_addresses(addresses, attempt, deadline))


def exchange_datagrams(sock, exchange: "Exchange", trace):
    """Steps that send what is due, wait for what comes or is due next, and take what came.

    So UDP can be steps, too: there are few surveys, and thousands of checks.
    """
    address = sock.getpeername()
    send_due(sock, address, exchange, time.monotonic(), trace)
    if exchange.finished:
        return
    ready = yield Wait({sock: selectors.EVENT_READ}, exchange.wake_at, "no answer in time")
    if ready:
        receive_ready(sock, address, exchange, time.monotonic(), trace)


def survey_http(check: SwarmCheck, settings: Settings):
    """Steps that ask one question over HTTP; as long as there is one, another check follows."""
    question = check.survey.next_question()
    if question is None:
        return
    deadline = time.monotonic() + settings.timeout
    url = url_to_scrape(check.target, question.info_hashes)
    try:
        fetching = fetch(url, settings.http, deadline, CHECK_LIMIT, read_scrape)
        _, counts = yield from within(fetching, deadline)
        check.survey.take_counts(question, counts)
    except Failure as failure:
        take_failure(check, question, failure)
    if not check.survey.given_up:
        check.work.runner.submit_check(SwarmCheck(check.survey))


def read_scrape(response: "HttpResponse") -> dict:
    """Returns {info hash: (seeders, completed, leechers)} of a reply; Failure where it has none."""
    reply = read_reply(response)
    require_scrape(reply, response.status)
    return scrape_counts(reply)


def take_failure(check: SwarmCheck, question: Question, failure: "Failure") -> None:
    """Tells a survey what became of a question over TCP that has no answer."""
    if check.work.cut_short:
        check.survey.give_up(failure)
    elif failure.kind == "failure_reason":
        check.survey.refuse(question, failure)
    else:
        check.survey.fail(question, failure)


def survey_websocket(check: SwarmCheck, settings: Settings):
    """Steps that ask over WebSocket, on one connection for as long as it stands."""
    survey, websocket = check.survey, None
    question = survey.next_question()
    try:
        while question:
            deadline = time.monotonic() + settings.timeout
            ask = partial(scrape_over, info_hashes=question.info_hashes)
            was_open = websocket is not None
            try:
                if not was_open:
                    asking = open_websocket(
                        check.target.url, settings.http, deadline, CHECK_LIMIT, ask
                    )
                    websocket, outcome = yield from within(asking, deadline)
                else:
                    outcome = yield from within(ask(websocket), deadline)
            except Failure as failure:
                if was_open:
                    websocket.stream.close()
                    websocket = None
                    if failure.kind == "invalid_response" and not check.work.cut_short:
                        # Some trackers close after an answer: it is asked once more, from anew.
                        continue
                outcome = failure
            if isinstance(outcome, Failure):
                take_failure(check, question, outcome)
            else:
                survey.take_counts(question, outcome)
            question = survey.next_question()
        if websocket:
            yield from within(websocket.close(), time.monotonic() + settings.timeout)
    finally:
        if websocket:
            websocket.stream.close()


def scrape_over(websocket: "WebSocket", info_hashes: list):
    """Steps that scrape; they return {info hash: (seeders, completed, leechers)}.

    Or the Failure of a refusal, which leaves the connection as it is; they raise others.
    """
    reply = yield from websocket.ask(websocket_scrape(info_hashes))
    try:
        require_scrape(reply, 200)
    except Failure as failure:
        if failure.kind != "failure_reason":
            raise
        return failure
    return scrape_counts(reply)


def within(steps, deadline: float):
    """Steps that run others, which end with a timeout at a deadline of their own."""
    outcome = None
    try:
        while True:
            if isinstance(outcome, Failure):
                wait = steps.throw(outcome)
            else:
                wait = steps.send(outcome)
            until = deadline if wait.until is None else min(wait.until, deadline)
            try:
                outcome = yield wait._replace(until=until)
                if not outcome and time.monotonic() >= deadline:
                    outcome = Failure("timeout", wait.late)
            except Failure as failure:
                outcome = failure
    except StopIteration as end:
        return end.value
    finally:
        steps.close()


# The inputs: whatever people have in hand, turned into targets.
MAX_INPUT = 64 * 1024 * 1024  # bytes taken from a file or standard input
DEFAULT_INFO_HASH = bytes.fromhex("9c38422213e30bff212b30c360d26f9a02136422")

# What helps with JSON that another program has written, as Transmission's.
OTHER_JSON = (
    "; those in other JSON are checked with jq '[.. | strings]' FILE | tracker_checker.py -"
)
# A document of which some lines name no tracker: how many, and the first of them.
Skipped = namedtuple("Skipped", "source lines first")


def read_inputs(inputs: "Inputs", words: list, config_path: str, targets: list, environ) -> None:
    """Reads everything that is given; raises ConfigurationError.

    words are the INPUT arguments, targets come from options. Where nothing at all is given, the
    environment is read: TORRUST_CHECKER_CONFIG_PATH before TORRUST_CHECKER_CONFIG.
    """
    text = None
    if not words and not config_path and not targets:
        config_path = environ.get("TORRUST_CHECKER_CONFIG_PATH")
        text = environ.get("TORRUST_CHECKER_CONFIG")
        if not config_path and not text:
            raise ConfigurationError("argument", inputs.nothing)
    try:
        for word in words:
            inputs.add_argument(word)
        if config_path:
            inputs.add_configuration(decode_text(inputs.read(config_path)))
        elif text:
            inputs.source = "TORRUST_CHECKER_CONFIG"
            inputs.add_configuration(text)
    except ValueError as error:
        raise ConfigurationError(inputs.source, str(error))
    for target in targets:
        inputs.add(target)


class ConfigurationError(Exception):
    """What was given to check cannot be read; source says where it stands."""

    def __init__(self, source, message):
        super().__init__(message)
        self.source = source


class Inputs:
    """Collects the distinct targets of a run, in the order in which they were given.

    What takes an input raises ValueError where that cannot be read; source then says where it
    stands. own_hash is the info hash of the first magnet link or .torrent; broken is a
    ConfigurationError for the first one that cannot be read or names no tracker. given_twice
    counts what was given once more and is checked once, skipped has a Skipped for each document
    with lines that name no tracker. wanted is what a line should have, nothing what is said where
    nothing was given.
    """

    wanted = "tracker"
    nothing = (
        "nothing to check: give trackers, a list, a .torrent or a magnet link, or set "
        "TORRUST_CHECKER_CONFIG or TORRUST_CHECKER_CONFIG_PATH (see --help)"
    )

    def __init__(self):
        self.targets = []
        self.source = "argument"
        self.own_hash = None
        self.broken = None
        self.given_twice = 0
        self.skipped = []
        self._keys = set()

    def add(self, target: Target) -> None:
        if target.key in self._keys:
            self.given_twice += 1
        else:
            self._keys.add(target.key)
            self.targets.append(target)

    def require_enough(self) -> None:
        """Raises ConfigurationError where nothing but what is broken was given."""
        if self.broken and all(target.kind == UNSUPPORTED for target in self.targets):
            raise self.broken

    def add_broken(self, name: str, error: Exception) -> None:
        """Adds a magnet link or .torrent that cannot be checked, one of several perhaps."""
        self.broken = self.broken or ConfigurationError(self.source, str(error))
        self.add(unsupported(name, error))

    def add_argument(self, given: str) -> None:
        """Adds an INPUT of the command line."""
        self.source = "argument"
        # Quotes that a shell has left, as that of Windows does with the single ones.
        text = given.strip(BLANKS + "\"'")
        paths = [path for path in (given, text) if "\0" not in path and os.path.exists(path)]
        if text == "-":
            self.add_document(self.read(text))
        elif text.startswith("{"):
            self.add_configuration(text)
        elif "\n" in text and BEGIN.search(text):
            # As "$(cat trackers.txt)" is.
            self.add_text(text)
        elif is_magnet(text) or "://" in text:
            for entry in split_entry(text):
                self.add_entry(entry)
        elif paths:
            self.add_document(self.read(paths[0]))
        else:
            try:
                self.add(parse_tracker(text))
            except ValueError as error:
                message = "{!r} is no file that exists, and no tracker: {}{}"
                raise ValueError(message.format(given, error, hint_for(text)))

    def add_entry(self, text: str) -> None:
        """Adds a tracker or a magnet link."""
        if not is_magnet(text):
            self.add(tracker_or_unsupported(text))
            return
        try:
            self.add_magnet(text)
        except ValueError as error:
            self.add_broken(text, error)

    def read(self, path: str) -> bytes:
        """Returns the bytes of a file, or of standard input for -; errors name it from now on."""
        self.source, file = ("stdin", 0) if path == "-" else (path, path)
        try:
            with open(file, "rb", closefd=file != 0) as stream:
                data = stream.read(MAX_INPUT + 1)
        except OSError as error:
            raise ValueError("cannot be read: {}".format(error.strerror))
        if len(data) > MAX_INPUT:
            raise ValueError("larger than {} MiB".format(MAX_INPUT >> 20))
        return data

    def add_document(self, data: bytes) -> None:
        """Adds what a file or standard input holds, a .torrent or text of any kind."""
        # A list may begin with a host d1, as d1:6969. It is a .torrent only where a bencoded value
        # follows the first key.
        key = re.match(rb"[\s\xef\xbb\xbf]*d([0-9]{1,3}):", data)
        value_at = key.end() + int(key.group(1)) if key else 0
        is_torrent = key and re.match(rb"[dil]|[0-9]+:", data[value_at : value_at + 20])
        try:
            if is_torrent:
                self.add_torrent_file(data)
            else:
                self.add_text(decode_text(data))
        except ValueError as error:
            # An error page may have been saved as a .torrent.
            if not is_torrent and not self.source.lower().endswith(".torrent"):
                raise
            self.add_broken(self.source, error)

    def add_text(self, text: str) -> None:
        """Adds what a text holds: a JSON configuration, or a list of any shape."""
        content = text.strip(BLANKS)
        if content.startswith("{"):
            self.add_configuration(text)
            return
        texts = [text]
        if content.startswith("["):
            try:
                # Of an object the values count: as pairs without names they are one more list.
                value = json.loads(content, object_pairs_hook=lambda pairs: [v for _, v in pairs])
                texts = [item for item in leaves(value) if isinstance(item, str)]
            except (ValueError, RecursionError):
                pass
        is_page = content.startswith("<") and not BEGIN.match(content, 1)
        if is_page or not self.add_lines(texts):
            raise ValueError(show_nothing(text, self.wanted))

    def add_lines(self, texts: list) -> bool:
        """Adds what the lines of texts name; returns whether that is anything."""
        found, skipped, first = False, 0, None
        for line in (line for text in texts for line in re.split(r"[\r\n]+", text)):
            line = line[: comment_at(line)].strip(BLANKS)
            entries = self.find_entries(line)
            for entry in entries:
                self.add_entry(entry)
            found = found or bool(entries)
            if line and not entries:
                skipped += 1
                first = first or line
        if found and skipped:
            self.skipped.append(Skipped(self.source, skipped, excerpt(first[:200])))
        return found

    def find_entries(self, line: str) -> list:
        """Returns what a line names, for add_entry()."""
        return find_trackers(line) or lone_tracker(line)

    def add_configuration(self, text: str) -> None:
        """Adds a JSON configuration, the Rust checker's."""
        parsers = {
            "udp_trackers": (parse_tracker, (UDP,), "udp://host:port"),
            "http_trackers": (parse_tracker, (HTTP, WS), "http://, https://, ws:// or wss://"),
            "health_checks": (parse_health, (HEALTH,), None),
        }
        configuration = parse_json(text)
        for name in configuration:
            if name not in parsers:
                hint = "" if any(known in configuration for known in parsers) else OTHER_JSON
                raise ValueError(
                    "unknown key {!r}; udp_trackers, http_trackers and health_checks are "
                    "expected{}".format(name, hint)
                )
        for name, (parse, kinds, expected) in parsers.items():
            entries = configuration.get(name, [])
            if not isinstance(entries, list):
                raise ValueError("{}: a list of URLs is expected".format(name))
            for index, entry in enumerate(entries):
                place = "{}[{}]".format(name, index)
                if not isinstance(entry, str):
                    raise ValueError("{}: a URL is expected".format(place))
                try:
                    target = parse(entry)
                    if target.kind not in kinds:
                        raise ValueError("{} is expected".format(expected))
                except ValueError as error:
                    raise ValueError("{} {!r}: {}".format(place, entry, error))
                self.add(target)

    def add_magnet(self, text: str) -> None:
        """Adds the trackers (tr) of a magnet link (BEP 9)."""
        info_hash = parse_info_hash(text)
        trackers = [unquote_utf8(value) for value in magnet_values(text, "tr")]
        names = [unquote_utf8(value.replace("+", " ")) for value in magnet_values(text, "dn")]
        name = names[0] if names else None
        if_none = "the magnet link names no tracker (is it quoted?)"
        self.add_torrent(info_hash, name, trackers, if_none)

    def add_torrent_file(self, data: bytes) -> None:
        """Adds the trackers of a .torrent (BEP 3, 12)."""
        bencode = import_bencode()
        try:
            torrent, info_hash = bencode.decode_file(data), bencode.info_hash(data)
        except bencode.BencodeError as error:
            raise ValueError("a broken .torrent: {}".format(error))
        urls = leaves([torrent.get(b"announce"), torrent.get(b"announce-list")])
        # As a rule announce stands in announce-list, too.
        texts = dict.fromkeys(text_of(url) for url in urls if isinstance(url, bytes))
        name = torrent[b"info"].get(b"name")
        name = text_of(name) if isinstance(name, bytes) else None
        self.add_torrent(info_hash, name, list(texts), "the .torrent names no tracker")

    def add_torrent(self, info_hash: bytes, name: str, texts: list, if_none: str) -> None:
        """Adds the trackers of a magnet link or .torrent, to be asked for its own hash.

        Raises ValueError(if_none) where there are none.
        """
        self.own_hash = self.own_hash or info_hash
        trackers = [tracker for text in texts for tracker in split_entry(text)]
        for tracker in trackers:
            self.add(tracker_or_unsupported(tracker, info_hash))
        if not trackers:
            raise ValueError(if_none)


class SwarmInputs(Inputs):
    """Collects torrents as well: what a check takes for trackers to ask, this takes for itself.

    torrents has a Torrent for each distinct info hash; own_trackers those that it names. targets
    are the trackers that were given by themselves. rejected has (name, error) for each magnet link
    or .torrent that cannot be read.
    """

    wanted = "tracker, and no info hash that stands alone"
    nothing = (
        "nothing to ask for: give .torrent files, magnet links or info hashes, and trackers beside "
        "those that they name (see --help)"
    )

    HASH = re.compile(
        "(?:urn:btih:)?(?:[0-9a-f]{40}|[a-z2-7]{32})|(?:urn:btmh:1220)?[0-9a-f]{64}",
        re.IGNORECASE | re.ASCII,
    )
    AROUND = "\"'`,;*-\u2022"  # what a list may have around a hash, beside white space

    def __init__(self):
        super().__init__()
        self.torrents = {}  # by info hash
        self.own_trackers = {}  # by info hash: the targets, by their keys
        self.rejected = []
        self._trackers = {}  # all targets, by their keys
        self._parsed = {}  # the same, by how they are written

    def require_enough(self) -> None:
        """Raises ConfigurationError where there is no torrent, or nobody to ask."""
        if not self.torrents:
            raise self.broken or ConfigurationError(
                self.source, "no torrent: give .torrent files, magnet links or info hashes"
            )
        if not self._trackers:
            raise ConfigurationError(
                self.source,
                "no tracker to ask: give one beside the torrents, as udp://host:port",
            )

    def add(self, target: Target) -> None:
        if target.kind != HEALTH:
            super().add(target)
            self._trackers.setdefault(target.key, target)

    def add_broken(self, name: str, error: Exception) -> None:
        self.broken = self.broken or ConfigurationError(self.source, str(error))
        self.rejected.append((name, error))

    def add_argument(self, given: str) -> None:
        text = given.strip(BLANKS)
        # One digit too few is no name of a file.
        meant = self.is_hash(text) or (len(text) >= 20 and HEX_DIGITS.issuperset(text))
        if meant and not os.path.exists(given):
            self.source = "argument"
            self.add_torrent(parse_info_hash(text), None, [], None)
        else:
            super().add_argument(given)

    def add_entry(self, text: str) -> None:
        if self.is_hash(text):
            self.add_torrent(parse_info_hash(text), None, [], None)
        else:
            super().add_entry(text)

    def find_entries(self, line: str) -> list:
        text = line.strip(BLANKS + self.AROUND)
        return [text] if self.is_hash(text) else super().find_entries(line)

    def is_hash(self, text: str) -> bool:
        return self.HASH.fullmatch(text) is not None

    def add_torrent(self, info_hash: bytes, name: str, texts: list, if_none: str) -> None:
        """Adds a torrent, with trackers of its own or without."""
        if info_hash in self.torrents:
            self.given_twice += 1
        torrent = self.torrents.setdefault(info_hash, Torrent(info_hash, name))
        torrent.name = torrent.name or name or None
        own = self.own_trackers.setdefault(info_hash, {}) if texts else {}
        for text in texts:
            for entry in split_entry(text):
                if entry not in self._parsed:
                    target = tracker_or_unsupported(entry)
                    self._parsed[entry] = self._trackers.setdefault(target.key, target)
                own[self._parsed[entry].key] = self._parsed[entry]

    def join(self) -> dict:
        """Says each torrent where it is asked for; returns {tracker: its torrents}."""
        by_tracker = {}
        everywhere = tuple(self._trackers[target.key] for target in self.targets)
        for info_hash, torrent in self.torrents.items():
            own = self.own_trackers.get(info_hash)
            trackers = everywhere
            if own:
                trackers = tuple(dict.fromkeys(tuple(own.values()) + everywhere))
            torrent.ask_at(trackers)
            for tracker in trackers:
                by_tracker.setdefault(tracker, []).append(torrent)
        return by_tracker


# How a tracker or a magnet link begins, and what stands before the colon when one does.
BEGIN = re.compile(r"\s*(?:(?:udp|https?|wss?)://|magnet:(?:///)?\?)", re.IGNORECASE | re.ASCII)
NAME = re.compile(r"(?:udp|https?|wss?|magnet)\Z", re.IGNORECASE | re.ASCII)
COLON = re.compile(r":(?=//|\?)")
# What may end one has to be looked at: in a line all that is not plain, in an entry these alone.
IN_LINE = re.compile(r"[^\w%&=+$@!~*./#{}^-]")
IN_ENTRY = re.compile(r"[:?]")
WITHIN_WORD = re.compile(r"[\w%&+.-]")
SEPARATORS = ",;|\uff0c\uff1b\u3001"
# Quotes of all kinds, and what stands around a URL in text.
ENDS = "\"'`\\<>\xab\xbb\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f\u2039\u203a\u300c\u300d"
ENTITIES = (("&quot;", '"'), ("&#39;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


def find_trackers(line: str) -> list:
    """Returns the trackers and magnet links that stand anywhere in a line, each by itself.

    A tracker begins with udp://, http://, https://, ws:// or wss://. It ends at white space, a
    quote, a back-tick, a backslash, < or >, at a ) or ] that it did not open, at [/ behind its
    host, at a comma, ; or |, and where one of these schemes (or a magnet link) begins. After a ?
    both belong to its query, but for a comma, ; or | before white space, the end of the line or
    one of these schemes. What is not seen counts as white space, and HTML's entities as what they
    stand for. A scheme right before another is none. A magnet link is all query from its
    magnet:? on, trackers in it and an apostrophe within a word are part of it.

    In a line with other words an http:// or https:// URL is only a link, if its path does not say
    announce.
    """
    for entity, character in ENTITIES:
        line = line.replace(entity, character)
    found, others, position = [], [], 0
    for start, rest, end in spans(line, IN_LINE):
        others.append(line[position:start])
        position = end
        if rest < end:
            found.append(line[start:end].rstrip(SEPARATORS))
    others.append(line[position:])
    if re.search(r"[^\W\d_]", "".join(others)):
        link = re.compile(r"https?://(?![^/?#]*/[^?#]*announce)", re.IGNORECASE)
        found = [text for text in found if not link.match(text)]
    return found


def split_entry(text: str) -> list:
    """Returns the trackers in an argument, a tr or an announce entry: as a rule all of it is one.

    Another begins where a scheme follows white space, a comma, ; or |, or comes before any ?.
    What is no tracker is returned, too: nothing but such separators is dropped.
    """
    text = text.replace("&amp;", "&")
    around = SEPARATORS + BLANKS
    starts = [start for start, rest, end in spans(text, IN_ENTRY)]
    first = starts[0] if starts else 0
    if first and text[first - 1] not in around and not is_magnet(text[first:]):
        # It begins with something else, and so is no tracker.
        starts[0] = 0
    cuts = [0] + starts + [len(text)]
    pieces = [text[start:end].strip(around) for start, end in zip(cuts, cuts[1:])]
    # http:// of http://http://host is none.
    return [piece for piece in pieces if piece.rpartition("://")[2]] or [
        piece for piece in pieces if piece
    ]


def spans(text: str, marks):
    """Yields (start, rest, end) of each tracker or magnet link: rest is behind its scheme."""
    position = floor = 0
    while True:
        colon = COLON.search(text, position)
        if not colon:
            return
        position = colon.end()
        begin = begin_at(text, colon.start(), floor)
        if begin:
            start, rest, magnet = begin
            position = floor = end_of(text, rest, magnet, marks)
            yield start, rest, position


def begin_at(text: str, colon: int, floor: int):
    """Returns (start, rest, whether it is a magnet link) of what has its colon there, or None.

    It is found by its colon, since that is much faster. Nothing before floor belongs to it.
    """
    name = NAME.search(text, max(floor, colon - len("magnet")), colon)
    if not name:
        return None
    magnet = name.group().lower() == "magnet"
    for sign in (":?", ":///?") if magnet else ("://",):
        if text.startswith(sign, colon):
            return name.start(), colon + len(sign), magnet
    return None


def end_of(text: str, rest: int, magnet: bool, marks) -> int:
    """Returns where a tracker or magnet link ends, as find_trackers() says; rest is its rest."""
    in_query = magnet
    unclosed = {"(": 0, "[": 0}
    for mark in marks.finditer(text, rest):
        character, at = mark.group(), mark.start()
        if character == "?":
            in_query = True
        elif character == ":":
            begin = begin_at(text, at, rest)
            if begin and magnet and begin[2]:
                return begin[0]
            if begin and not magnet:
                if not in_query or text[begin[0] - 1] in SEPARATORS + BLANKS:
                    return begin[0]
        elif character in SEPARATORS:
            if not in_query or at + 1 == len(text) or text[at + 1] in BLANKS:
                return at
        elif character in "([":
            if text.startswith("[/", at) and at > rest:
                return at
            unclosed[character] += 1
        elif character in ")]":
            opener = "(" if character == ")" else "["
            if not unclosed[opener]:
                return at
            unclosed[opener] -= 1
        elif character in ENDS or character in BLANKS:
            if not (magnet and character == "'" and WITHIN_WORD.match(text, at + 1)):
                return at
    return len(text)


def comment_at(line: str) -> int:
    """Returns where a comment begins: at a # at the beginning or after white space."""
    at = line.find("#")
    while at > 0 and line[at - 1] not in BLANKS:
        at = line.find("#", at + 1)
    return len(line) if at < 0 else at


def lone_tracker(line: str) -> list:
    """Returns [line] if it is nothing but host:port, or a URL that nobody here can check."""
    if ":" not in line:
        return []
    if any(start > 0 or rest < end for start, rest, end in spans(line, IN_LINE)):
        # A link among other words.
        return []
    if "://" in line:
        word = re.match(r"[a-z][a-z0-9+.-]*://", line, re.IGNORECASE)
        return [line] if word and line.isprintable() and " " not in line else []
    try:
        parse_tracker(line)
    except ValueError:
        return []
    return [line]


def leaves(value):
    """Yields what is in a list and in the lists within it, in order."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, list):
            stack.extend(reversed(item))
        else:
            yield item


def hint_for(text: str) -> str:
    """Returns what may have been meant by an argument that is neither a file nor a tracker."""
    scheme = re.match(r"(udp|https?|wss?)(:/|//|:(?=[^0-9/]))", text, re.IGNORECASE)
    if scheme:
        meant = scheme.group(1) + "://" + text[scheme.end() :]
    else:
        from difflib import get_close_matches

        folder, name = os.path.split(text)
        try:
            names = os.listdir(folder or ".")
        except OSError:
            names = []
        near = get_close_matches(name, names, 1, cutoff=0.8)
        near = near or get_close_matches(text.lower(), filter(None, COMMANDS), 1, cutoff=0.75)
        meant = os.path.join(folder, near[0]) if near else ""
    if meant:
        return "; did you mean {}?".format(meant)
    if re.match(r"[^./\\:][^/\\:]*\.[^/\\:]+\Z", text):
        return ", or https://{}/announce".format(text)
    return ""


def unquote_utf8(text: str) -> str:
    """Returns text with its %XX decoded, but for those that are not UTF-8: they stay."""
    next_byte = "%[89ab][0-9a-f]"
    character = "%[0-7][0-9a-f]|%[cd][0-9a-f]{0}|%e[0-9a-f]{0}{0}|%f[0-7]{0}{0}{0}"

    def decode(match):
        try:
            return unquote_to_bytes(match.group()).decode("utf-8")
        except UnicodeDecodeError:
            return match.group()

    return re.sub(character.format(next_byte), decode, text, flags=re.IGNORECASE)


def show_nothing(text: str, wanted: str) -> str:
    """Returns what is wrong with a text in which there is nothing to check."""
    begin = excerpt(text.strip("\ufeff \t\r\n")[:100])
    if not begin:
        return "nothing to check: trackers in a text of any kind, JSON or a .torrent are expected"
    what = "it is a page, and no list" if begin.startswith("<") else "it names no " + wanted
    hint = " (gzip: unpack it first)" if text.startswith("\x1f\x8b") else ""
    return "{}; it begins with: {}{}".format(what, begin, hint)


def parse_tracker(text: str, info_hash: bytes = None) -> Target:
    """Returns the target for a tracker URL or host:port; raises ValueError for anything else."""
    scheme = text.partition("://")[0].lower() if "://" in text else UDP
    if scheme != UDP and scheme not in DEFAULT_PORTS:
        text = "scheme {!r} cannot be checked; udp, http, https, ws and wss can"
        raise ValueError(text.format(scheme))
    require_one(text)
    if scheme == UDP:
        url = split_url(text if "://" in text else "udp://" + text)
        if url.port is None:
            missing = "the port" if "://" in text else "the port or the scheme"
            raise ValueError("{} is missing; udp://host:port is expected".format(missing))
        host = url.host.lower()
        key = (UDP, host, url.port, url_data_of(url.path, url.query))
        return Target(UDP, text, url, host, url.port, key, info_hash)
    if is_websocket(text):
        return web_target(WS, text, websocket_url(text), info_hash)
    return web_target(HTTP, text, announce_url(text), info_hash)


def require_one(text: str) -> None:
    """Raises ValueError for two URLs in one: the second would be taken for a path."""
    if any(start > 0 for start, rest, end in spans(text, IN_ENTRY)):
        raise ValueError("there are several schemes in it; one URL is expected")


def parse_health(text: str) -> Target:
    """Returns the target for the URL of a health check; raises ValueError for anything else."""
    require_one(text)
    if "://" not in text:
        raise ValueError("no scheme; a URL like http://host/ or https://host/ is expected")
    url = split_url(text)
    if url.scheme not in HTTP_SCHEMES:
        raise ValueError("scheme {!r} is not http or https".format(url.scheme))
    return web_target(HEALTH, text, text)


def web_target(kind: str, given: str, text: str, info_hash: bytes = None) -> Target:
    url = split_url(text)
    host = url.host.lower()
    key = (kind, url.scheme, url.credentials, host, port_of(url), url.path or "/", url.query)
    return Target(kind, given, text, host, port_of(url), key, info_hash)


def tracker_or_unsupported(text: str, info_hash: bytes = None) -> Target:
    """Like parse_tracker, but what cannot be checked becomes an unsupported target."""
    try:
        return parse_tracker(text, info_hash)
    except ValueError as error:
        return unsupported(text, error)


def unsupported(text: str, error: Exception) -> Target:
    return Target(UNSUPPORTED, text, None, None, None, (UNSUPPORTED, text), problem=str(error))


def decode_text(data: bytes) -> str:
    """Returns data as text, without a byte order mark: UTF-16 with one, UTF-8, else Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_json(text: str) -> dict:
    """Returns a JSON object; raises ValueError with line and column of what is wrong."""
    def unique(pairs):
        found = {}
        for name, value in pairs:
            if name in found:
                raise ValueError("{!r} stands there more than once".format(name))
            found[name] = value
        return found

    start = len(text) - len(text.lstrip(BLANKS))
    if not text.startswith("{", start):
        raise ValueError(
            "no JSON configuration, which begins with {; a list or a .torrent is given as INPUT, "
            "without -c"
        )
    try:
        value, end = json.JSONDecoder(object_pairs_hook=unique).raw_decode(text, start)
        end = len(text) - len(text[end:].lstrip(BLANKS))
        if end < len(text):
            raise json.JSONDecodeError("Extra data", text, end)
        return value
    except json.JSONDecodeError as error:
        reason = error.msg
        # Python points at the comma or at the bracket after it, depending on its version.
        comma = text[: error.pos + 1].rstrip("]} \t\r\n")
        if comma.endswith(",") and text[len(comma) :].lstrip()[:1] in ("]", "}"):
            reason = "trailing comma"
        if '"' not in text:
            # A shell has taken them.
            reason += " (are quotes missing around all of it?)"
        text = "broken JSON at line {}, column {}: {}"
        raise ValueError(text.format(error.lineno, error.colno, reason))
    except (RecursionError, ValueError) as error:
        raise ValueError("broken JSON: {}".format(error))


# The reports: pure functions, from results to text.
def with_slash(url: str) -> str:
    """Returns an HTTP URL with / for an empty path."""
    return re.sub(r"^([^/]*//[^/?#]+)(?=[?#]|$)", r"\1/", url)


def show_outcome(failure, value=None) -> dict:
    return {"Err": str(failure)} if failure else {"Ok": value}


def result_to_json(result: Result) -> dict:
    """Returns a result as the Rust checker prints it."""
    target = result.target
    stages = [[stage.name.capitalize(), show_outcome(stage.failure)] for stage in result.stages]
    if target.kind == UDP:
        body = {"remote_addr": result.address or target.given, "results": stages}
        if not target.ip_version:
            body["url"] = target.given
    elif target.kind == HEALTH:
        answer = show_outcome(result.stages[0].failure, result.detail)
        body = {"url": with_slash(target.given), "result": answer}
    else:
        url = target.given if target.kind == UNSUPPORTED else with_slash(target.given)
        body = {"url": url, "results": stages}
    return {target.kind.capitalize(): {"Err" if result.failed_stage else "Ok": body}}


def report_json(results: list, pretty: bool) -> str:
    """Returns the Rust checker's report: UDP, health, HTTP, WebSocket, then what is neither."""
    order = (UDP, HEALTH, HTTP, WS, UNSUPPORTED)
    grouped = sorted(results, key=lambda result: order.index(result.target.kind))
    return json_list(map(result_to_json, grouped), pretty)


def json_list(values, pretty: bool) -> str:
    """Returns values as a JSON list; one by one, since of many at once json makes many pieces."""
    if not pretty:
        return "[" + ",".join(to_json_text(value, pretty) for value in values) + "]\n"
    texts = [to_json_text([value], pretty)[2:-2] for value in values]
    return "[\n" + ",\n".join(texts) + "\n]\n" if texts else "[]\n"


def result_to_ndjson(result: Result, labels: dict = None) -> str:
    """Returns a result as one line of JSON, with labels; keys without a value are left out."""
    target, certificate_expires = result.target, result.certificate_expires
    asks_for_torrent = target.info_hash and target.kind not in (HEALTH, UNSUPPORTED)
    stages = [
        present(
            name=stage.name,
            ok=not stage.failure,
            elapsed_ms=to_ms(stage.elapsed),
            error=str(stage.failure) if stage.failure else None,
        )
        for stage in result.stages
    ]
    record = present(
        time=show_time(result.finished_at, "milliseconds"),
        tracker=target.given,
        kind=target.kind,
        info_hash=target.info_hash.hex() if asks_for_torrent else None,
        status=result.status,
        address=result.address,
        elapsed_ms=to_ms(result.elapsed),
        stages=stages,
        message=result.message,
        interval=result.interval,
        seeders=result.seeders,
        leechers=result.leechers,
        certificate_expires=certificate_expires and show_time(certificate_expires, "seconds"),
        warning=result.warning,
        labels=labels or None,
    )
    return to_json_text(record, pretty=False) + "\n"


def present(**fields) -> dict:
    return {name: value for name, value in fields.items() if value is not None}


def to_ms(seconds: float) -> float:
    return round(seconds * 1000, 1)


def show_time(unix_time: float, precision: str) -> str:
    """Returns a Unix time in UTC as ISO 8601 has it, to seconds or milliseconds."""
    whole, thousandths = divmod(int(unix_time * 1000), 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))
    return text + (".{:03}Z".format(thousandths) if precision == "milliseconds" else "Z")


def counted(results: list) -> list:
    """Returns those that count: unsupported lines only where nothing else could be checked."""
    return [result for result in results if result.target.kind != UNSUPPORTED] or results


# The states of results in the order in which they are read, and those of what is down.
DOWN_STATES = ("timeout", "error")
STATES = ("ok", "partial", "timeout", "error", "interrupted", UNSUPPORTED)
COLOURS = {
    "ok": 32, "partial": 33, "timeout": 31, "error": 31, "interrupted": 33, UNSUPPORTED: 35
}
# Kinds of failures in the words of totals.
REASONS = {
    "timeout": "timeout",
    "refused": "connection refused",
    "resolve_failed": "name not found",
    "unreachable": "unreachable",
    "tls": "TLS",
    "http_status": "HTTP error status",
    "failure_reason": "refused by the tracker",
    "tracker_error": "refused by the tracker",
    "invalid_response": "invalid answer",
}
FEW = 3  # how many are named or counted one by one in a line that sums up
NARROW = 80  # columns for tracker and reason, below which both side by side cannot be read


def reason_of(result: Result) -> str:
    """Returns why a result is not ok, without control characters; "" where it is."""
    if not result.failed_stage:
        return ""
    text = str(result.failed_stage.failure)
    host = "{}: ".format(result.target.host)
    # The host stands in the tracker's name already.
    return escape(text[len(host) :] if text.startswith(host) else text)


def remark_of(result: Result) -> str:
    """Returns which stage failed and why, or what the tracker warns of; "" for neither."""
    reason = reason_of(result)
    if reason:
        unsupported = result.status == UNSUPPORTED
        return reason if unsupported else "{}: {}".format(result.failed_stage.name, reason)
    return "warning: " + escape(result.warning) if result.warning else ""


def reason_word(result: Result) -> str:
    """Returns the kind of a failure, in words for people."""
    kind = result.failed_stage.failure.kind
    return REASONS.get(kind, kind.replace("_", " "))


def in_reading_order(results: list) -> list:
    """Returns what is up by latency, then partial, down with like reasons together, and the rest.

    The reason that most have comes first.
    """
    words = [word for word, _ in count_reasons(results)]

    def place(result):
        if result.status in DOWN_STATES:
            return STATES.index("error"), words.index(reason_word(result)), reason_of(result)
        return STATES.index(result.status), result.elapsed if result.up else 0

    return sorted(results, key=place)


def totals_of(results: list, given_twice: int = 0) -> str:
    """Returns how many are up, down and neither; given_twice were given more than once."""
    statuses = Counter(result.status for result in results)
    text = "{} up ({} partial), {} down, {} unsupported of {}".format(
        statuses["ok"] + statuses["partial"],
        statuses["partial"],
        sum(statuses[state] for state in DOWN_STATES),
        statuses[UNSUPPORTED],
        len(results),
    )
    if given_twice:
        text += ", {} given twice".format(given_twice)
    if statuses["interrupted"]:
        text += ", {} not finished".format(statuses["interrupted"])
    return text


def count_reasons(results: list) -> list:
    """Returns [(reason in words, how many are down for it)], the most first."""
    down = [result for result in results if result.status in DOWN_STATES]
    return Counter(map(reason_word, down)).most_common()


def reasons_of(results: list) -> str:
    """Returns how many are down for which reason, "" where no more than a few are down."""
    counts = count_reasons(results)
    if sum(count for _, count in counts) <= FEW:
        return ""
    return "down: " + ", ".join("{} {}".format(count, word) for word, count in counts)


def address_of(result: Result) -> str:
    """Returns the address that was asked as a table shows it, "" where the tracker is one."""
    if result.address and not result.target.ip_version:
        return " ({})".format(result.address)
    return ""


def show_tracker(result: Result, with_address: bool) -> str:
    """Returns a tracker as it was given, with the address that was asked where that is a name."""
    return result.target.given + (address_of(result) if with_address else "")


# A row of the table: a status, number cells, a tracker, its address, why with the stage and
# without it.
Row = namedtuple("Row", "status numbers tracker address remark reason")


def report_table(
    results: list,
    columns: int = None,
    colour: bool = False,
    all_addresses: bool = False,
    given_twice: int = 0,
) -> str:
    """Returns an aligned table with a row for each result and lines of totals.

    columns is the width of the terminal, None where lines may have any length. In a narrow one
    the reason of a failure stands where its numbers would be. given_twice is how many of what was
    given had been given before.
    """
    columns = columns or sys.maxsize
    rows = [Row("STATUS", ("LATENCY", "SEEDERS", "LEECHERS"), "TRACKER", "", "", "")]
    for result in results if all_addresses else in_reading_order(results):
        latency = "{:.0f} ms".format(result.elapsed * 1000) if result.up else None
        numbers = tuple(
            "-" if number is None else str(number)
            for number in (latency, result.seeders, result.leechers)
        )
        remark = remark_of(result)
        reason = reason_of(result) or remark
        if result.up:
            # Beside the latency there is little room, and partial says that it is scrape.
            reason = reason.replace("the tracker says ", "", 1)
        tracker = escape(result.target.given)
        address = address_of(result) if all_addresses or result.target.kind == UDP else ""
        rows.append(Row(result.status, numbers, tracker, address, remark, reason))
    number_widths = [max(map(len, texts)) for texts in zip(*(row.numbers for row in rows))]
    status_width = max(len(row.status) for row in rows)
    room = columns - 1 - status_width - 2
    wide_tracker = max(len(row.tracker + row.address) for row in rows)
    wide = wide_tracker + 2 + max(len(row.remark) for row in rows)
    wide_room = room - sum(number_widths) - 6
    narrow = wide_room < min(wide, NARROW)
    if narrow:
        widths = narrow_widths(rows, room - 2, number_widths, all_addresses)
    else:
        tracker_width = wide_tracker if wide_room >= wide else min(wide_tracker, wide_room * 3 // 5)
    lines = []
    for row in rows:
        numbers = [text.rjust(width) for text, width in zip(row.numbers, number_widths)]
        if narrow:
            address = row.address if all_addresses else ""
            cells = narrow_cells(row, numbers, widths[0]) + "  "
            cells += shorten_tracker(row.tracker, address, widths[1])
        else:
            tracker = shorten_tracker(row.tracker, row.address, tracker_width)
            cells = "  ".join(numbers + [tracker.ljust(tracker_width), row.remark])
        line = shorten("{}  {}".format(row.status.ljust(status_width), cells).rstrip(), columns - 1)
        if colour:
            line = paint(row.status, line[: len(row.status)]) + line[len(row.status) :]
        lines.append(line)
    lines.append(totals_of(results, given_twice))
    lines += wrap(reasons_of(results), columns - 1)
    return "\n".join(lines) + "\n"


def narrow_widths(rows: list, room: int, number_widths: list, all_addresses: bool) -> tuple:
    """Returns the widths of (cells, tracker) where a reason stands in the cells of numbers."""
    numbers = sum(number_widths) + 4
    latency = number_widths[0] + 2
    wanted = max(len(row.reason) + (latency if row.numbers[0] != "-" else 0) for row in rows)
    tracker = max(len(row.tracker + (row.address if all_addresses else "")) for row in rows)
    # In 80 columns host and port of most trackers are seen, and the beginning of most reasons.
    cells = max(numbers, min(wanted, room - min(tracker, room * 4 // 7)))
    return cells, room - cells


def narrow_cells(row: "Row", numbers: list, width: int) -> str:
    """Returns the numbers of a row, or its reason, after the latency where it is up."""
    latency = numbers[0] + "  " if row.status in ("ok", "partial") else ""
    cells = latency + row.reason if row.reason else "  ".join(numbers)
    return shorten(cells, width).ljust(width)


def shorten_tracker(tracker: str, address: str, width: int) -> str:
    """Returns a tracker with its address in no more columns, of which the address comes first."""
    return shorten(shorten(tracker, max(width - len(address), 8)) + address, width)


def paint(status: str, text: str) -> str:
    """Returns text in the colour of a status."""
    return "\x1b[{}m{}\x1b[0m".format(COLOURS[status], text) if status in COLOURS else text


def wrap(text: str, width: int) -> list:
    """Returns the lines of a text, of as many words as there is room for; none for no text."""
    if len(text) <= width:
        return [text] if text else []
    from textwrap import wrap as wrap_words

    return wrap_words(text, max(width, 10), subsequent_indent="  ")


def shorten(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 3)] + "..."


METRICS = (
    ("tracker_up", "Whether the tracker works: 1 for ok and partial, 0 for down."),
    ("tracker_check_duration_seconds", "How long the check took."),
    ("tracker_stage_up", "Whether a stage of the check went well."),
    ("tracker_stage_duration_seconds", "How long a stage of the check took."),
    ("tracker_failure", "1 for a stage that failed, with the kind of its failure."),
    ("tracker_announce_interval_seconds", "The interval the tracker wants between announces."),
    ("tracker_seeders", "Seeders the tracker counts for the info hash."),
    ("tracker_leechers", "Leechers the tracker counts for the info hash."),
    (
        "tracker_certificate_expiry_timestamp_seconds",
        "When the tracker's TLS certificate ends, as a Unix time.",
    ),
    ("tracker_last_check_timestamp_seconds", "When the check ended, as a Unix time."),
)


def report_prometheus(results: list, all_addresses: bool = False, own_labels: dict = None) -> str:
    """Returns metrics in the text exposition format, for node_exporter's textfile collector.

    own_labels, {name: value}, stand on each of them.
    """
    samples = []

    def add(name, labels, value, **further):
        samples.append((name, dict(labels, **further), value))

    for result in results:
        if result.status == "interrupted":
            continue
        labels = {"tracker": result.target.given, "protocol": result.target.kind}
        if all_addresses:
            labels["address"] = result.address or ""
        labels.update(own_labels or {})
        add("tracker_up", labels, int(result.up))
        add("tracker_check_duration_seconds", labels, round(result.elapsed, 6))
        for stage in result.stages:
            seconds = round(stage.elapsed, 6)
            add("tracker_stage_up", labels, int(not stage.failure), stage=stage.name)
            add("tracker_stage_duration_seconds", labels, seconds, stage=stage.name)
            if stage.failure:
                add("tracker_failure", labels, 1, stage=stage.name, kind=stage.failure.kind)
        add("tracker_announce_interval_seconds", labels, result.interval)
        add("tracker_seeders", labels, result.seeders)
        add("tracker_leechers", labels, result.leechers)
        add("tracker_certificate_expiry_timestamp_seconds", labels, result.certificate_expires)
        add("tracker_last_check_timestamp_seconds", labels, round(result.finished_at, 3))
    return expose(METRICS, samples)


def expose(metrics: tuple, samples: list) -> str:
    """Returns samples, (name, labels, value), as text; those without a value are left out."""
    series = {name: {} for name, _ in metrics}
    for name, labels, value in samples:
        text = ",".join('{}="{}"'.format(key, escape_label(labels[key])) for key in labels)
        if value is not None:
            # Two odd names may look the same once they are escaped; a series may stand only once.
            series[name].setdefault("{}{{{}}}".format(name, text), value)
    lines = []
    for name, text in metrics:
        if series[name]:
            lines.append("# HELP {} {}".format(name, text))
            lines.append("# TYPE {} gauge".format(name))
            lines.extend("{} {}".format(*sample) for sample in series[name].items())
    return "".join(line + "\n" for line in lines)


def escape_label(text: str) -> str:
    return escape(text).replace("\\", "\\\\").replace('"', '\\"')


NAGIOS_STATES = ("OK", "WARNING", "CRITICAL", "UNKNOWN")


def report_nagios(
    results: list, all_addresses: bool = False, critical: int = 1, elapsed: float = None
) -> tuple:
    """Returns (text, exit code) after the monitoring plugins' guidelines.

    The first line has up to three of those that are down, or partial, then each that is not ok
    has one. Where fewer are down than critical that is a warning. elapsed is that of the run, in
    seconds, None where that is not known.
    """
    finished = [result for result in results if result.status != "interrupted"]
    checked = counted(finished)
    total = len(checked)
    down = [result for result in checked if result.down]
    partial = [result for result in checked if result.status == "partial"]
    left_out = len(finished) - total
    unfinished = len(results) - len(finished)
    if down:
        code = 2 if len(down) >= critical else 1
        text = name_some(down, total, "down", all_addresses)
    elif partial:
        code, text = 1, name_some(partial, total, "partial", all_addresses)
    elif checked:
        code, text = 0, "{0} of {0} up".format(total)
    else:
        code, text = 3, "nothing was checked"
    others = [(left_out, "unsupported"), (unfinished, "not finished")]
    asides = ["{} {}".format(*other) for other in others if other[0]]
    if asides:
        text += " ({})".format(", ".join(asides))
    performance = [
        "{}={};;;0;{}".format(name, value, total)
        for name, value in (
            ("up", total - len(down)), ("down", len(down)), ("partial", len(partial))
        )
    ]
    if elapsed is not None:
        performance.append("time={:.2f}s".format(elapsed))
    lines = "".join(
        plugin_text(
            "{}: {} ({})".format(
                result.status, show_tracker(result, all_addresses), remark_of(result)
            )
        ) + "\n"
        for result in in_reading_order(results)
        if result.status != "ok"
    )
    return nagios_line(code, text, " ".join(performance)) + lines, code


def nagios_line(code: int, text: str, performance: str = "") -> str:
    line = "TRACKERS {} - {}".format(NAGIOS_STATES[code], plugin_text(text))
    return line + (" | " + performance if performance else "") + "\n"


def plugin_text(text: str) -> str:
    """Returns text without what a plugin's output has a meaning of its own for.

    A | starts the performance data, a ; ends a command and starts a comment in Nagios' files.
    """
    return escape(text).replace("|", "!").replace(";", ",")


def name_some(named: list, total: int, state: str, with_address: bool) -> str:
    """Returns how many are in a state, and a few of them with their reasons."""
    names = [
        "{} ({})".format(
            show_tracker(result, with_address),
            "timeout" if result.status == "timeout" else shorten(reason_of(result), 80),
        )
        for result in in_reading_order(named)[:FEW]
    ]
    more = " and {} more".format(len(named) - FEW) if len(named) > FEW else ""
    return "{} of {} {}: {}{}".format(len(named), total, state, ", ".join(names), more)


def report_urls(results: list) -> str:
    """Returns the announce URLs of the trackers that work, one a line, to paste into a client."""
    urls = []
    for result in results:
        target = result.target
        if result.up and target.kind == UDP:
            place = show_address((target.url.host, target.url.port))
            urls.append("udp://" + place + encode_path(target.url.path, target.url.query))
        elif result.up and target.kind in (HTTP, WS):
            urls.append(target.url)
    # With --all-addresses a tracker has several results.
    return "".join(url + "\n" for url in dict.fromkeys(urls))


def render(results: list, arguments, streamed: bool, elapsed: float) -> tuple:
    """Returns (the report in the format asked for, the exit code that belongs to it).

    streamed says that the results have been written already, as they came; elapsed is how many
    seconds the run took.
    """
    name = arguments.format
    if name == "nagios":
        return report_nagios(results, arguments.all_addresses, arguments.critical or 1, elapsed)
    if name == "table":
        text = report_table(
            results,
            columns_for(arguments),
            wants_colour(arguments),
            arguments.all_addresses,
            arguments.given_twice,
        )
    elif name == "ndjson":
        lines = (result_to_ndjson(result, arguments.labels) for result in results)
        text = "" if streamed else "".join(lines)
    elif name == "prometheus":
        text = report_prometheus(results, arguments.all_addresses, arguments.labels)
    elif name == "urls":
        text = report_urls(results)
    elif name == "html":
        text = report_html(
            results, arguments.all_addresses, arguments.given_twice, arguments.labels
        )
    else:
        text = report_json(results, pretty=name != "compact")
    return text, exit_code(results, arguments.fail, arguments.fail_partial)


def exit_code(results: list, fail: bool, fail_partial: bool) -> int:
    """Returns 1 where what --fail or --fail-partial looks for is there, else 0."""
    checked = counted(results)
    if fail_partial:
        return 0 if all(result.status == "ok" for result in checked) else 1
    if fail:
        return 1 if any(result.down for result in checked) else 0
    return 0


# The reports on swarms.
def torrent_to_json(torrent: Torrent) -> dict:
    """Returns what all its trackers say of a torrent."""
    trackers = []
    for tracker, outcome in zip(torrent.trackers, torrent.outcomes):
        if isinstance(outcome, Failure):
            said = {"error": str(outcome)}
        else:
            seeders, completed, leechers = outcome
            said = present(seeders=seeders, leechers=leechers, completed=completed)
            if isinstance(outcome, NotListed):
                said["listed"] = False
        trackers.append(dict({"tracker": tracker.given}, **said))
    seeders, completed, leechers = torrent.counts
    counts = {"seeders": seeders, "leechers": leechers, "completed": completed}
    named = present(info_hash=torrent.info_hash.hex(), name=torrent.name)
    return dict(named, **counts, trackers=trackers)


def torrent_to_ndjson(torrent: Torrent, labels: dict) -> str:
    """Returns a torrent as one line of JSON, with the time at which that is."""
    now = show_time(time.time(), "milliseconds")
    record = dict({"time": now}, **torrent_to_json(torrent), **present(labels=labels or None))
    return to_json_text(record, pretty=False) + "\n"


def report_torrents_table(torrents: list, columns: int = None) -> str:
    """Returns an aligned table with a row for each torrent and a line of totals."""
    # Short, so that a hash has room in a terminal of 80 columns.
    rows = [("SEED", "LEECH", "DONE", "ANSWERS", "TORRENT")]
    for torrent in torrents:
        seeders, completed, leechers = torrent.counts
        numbers = [seeders, leechers, completed]
        answered = "{} of {}".format(len(torrent.answers), len(torrent.trackers))
        texts = ["-" if number is None else str(number) for number in numbers]
        rows.append((*texts, answered, escape(torrent.name or torrent.info_hash.hex())))
    widths = [max(map(len, texts)) for texts in zip(*rows)]
    lines = [
        "  ".join([text.rjust(width) for text, width in zip(numbers, widths)] + [torrent])
        for *numbers, torrent in rows
    ]
    if columns:
        lines = [shorten(line, columns - 1) for line in lines]
    asked = {tracker for torrent in torrents for tracker in torrent.trackers}
    answered = {
        tracker
        for torrent in torrents
        for tracker, outcome in zip(torrent.trackers, torrent.outcomes)
        if not isinstance(outcome, Failure)
    }
    text = "{} torrent{}, {} without seeders, {} not known; {} of {} trackers answered"
    seeders = [torrent.counts.seeders for torrent in torrents]
    plural = "" if len(torrents) == 1 else "s"
    none, unknown = seeders.count(0), seeders.count(None)
    lines.append(text.format(len(torrents), plural, none, unknown, len(answered), len(asked)))
    return "\n".join(lines) + "\n"


TORRENT_METRICS = (
    ("torrent_seeders", "The most seeders that a tracker counts for the torrent."),
    ("torrent_leechers", "The most leechers that a tracker counts for the torrent."),
    ("torrent_completed", "The most downloads that a tracker has counted for the torrent."),
    ("torrent_trackers_answered", "How many trackers answered for the torrent."),
    ("torrent_trackers_asked", "How many trackers were asked for the torrent."),
)


def report_torrents_prometheus(torrents: list, own_labels: dict) -> str:
    """Returns metrics in the text exposition format."""
    samples = []
    for torrent in torrents:
        labels = present(info_hash=torrent.info_hash.hex(), name=torrent.name)
        labels.update(own_labels)
        seeders, completed, leechers = torrent.counts
        values = (
            seeders, leechers, completed, len(torrent.answers), len(torrent.trackers)
        )
        for (name, _), value in zip(TORRENT_METRICS, values):
            samples.append((name, labels, value))
    return expose(TORRENT_METRICS, samples)


def render_torrents(torrents: list, arguments, streamed: bool) -> tuple:
    """Returns (the report in the format asked for, the exit code that belongs to it)."""
    name = arguments.format
    if name == "ndjson":
        lines = () if streamed else torrents
        text = "".join(torrent_to_ndjson(torrent, arguments.labels) for torrent in lines)
    elif name == "table":
        text = report_torrents_table(torrents, columns_for(arguments))
    elif name == "prometheus":
        text = report_torrents_prometheus(torrents, arguments.labels)
    else:
        text = json_list(map(torrent_to_json, torrents), pretty=name != "compact")
    wanted = arguments.min_seeders
    few = wanted is not None and any(
        torrent.counts.seeders is None or torrent.counts.seeders < wanted for torrent in torrents
    )
    return text, int(few)


# The page: what the table says as one HTML file, which asks nothing of anywhere. It is ASCII, so
# that it is the same in every encoding; its style and its script are allowed by their hashes.
PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
{refresh}<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
<header>
<h1>Trackers</h1>
<p class="dim">{made}</p>
{labels}</header>
<main>
<div class="tiles">
{tiles}</div>
{bar}<p>{totals}</p>
{reasons}<table>
<thead><tr>
{headings}</tr></thead>
<tbody>
{rows}</tbody>
</table>
</main>
<script>{script}</script>
</body>
</html>
"""
PAGE_POLICY = (
    "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
PAGE_STYLE = """
:root {
  --paper: #ffffff; --ink: #1b2530; --dim: #5a6775; --line: #dfe5eb; --raised: #f5f7f9;
  --good: #157347; --fair: #8a5d00; --bad: #bf2637; --other: #6b4fa0;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #12171d; --ink: #e3e9ef; --dim: #94a2b1; --line: #2a333d; --raised: #1a2129;
    --good: #4cc38a; --fair: #e0b04a; --bad: #ff7d86; --other: #b79df0;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body {
  margin: 0 auto; padding: 1.5rem; max-width: 75rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
  overflow-wrap: anywhere;
}
h1 { margin: 0; font-size: 1.6rem; }
p { margin: .35rem 0; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
:focus-visible { outline: 2px solid var(--good); outline-offset: 2px; border-radius: 3px; }
.dim, small { color: var(--dim); font-size: .85rem; }
.ok { --state: var(--good); }
.partial { --state: var(--fair); }
.timeout, .error, .tile.down { --state: var(--bad); }
.unsupported { --state: var(--other); }
.interrupted, .waiting { --state: var(--dim); }
.label { background: var(--raised); border: 1px solid var(--line); border-radius: 1rem;
  padding: .05rem .6rem; margin-right: .35rem; font-size: .85rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1.1rem 0 .8rem; }
.tile { flex: 1 1 6.5rem; padding: .55rem .8rem; text-align: left; white-space: nowrap;
  background: var(--raised);
  border: 1px solid var(--line); border-radius: .5rem; border-left: 4px solid var(--state); }
.tile b { display: block; font-size: 1.7rem; line-height: 1.15; color: var(--state);
  font-variant-numeric: tabular-nums; }
.tile[aria-pressed=true] { outline: 2px solid var(--state); }
.bar { display: block; width: 100%; height: .5rem; border-radius: .25rem; margin-bottom: .8rem; }
.bar path { fill: var(--state); }
.strip { display: block; width: 100%; min-width: 11rem; max-width: 20rem; height: 1.6rem; }
.strip path { stroke: var(--state); stroke-width: 3; }
table { width: 100%; border-collapse: collapse; margin-top: 1rem; }
th { text-align: left; padding: 0; position: sticky; top: 0; background: var(--paper);
  border-bottom: 2px solid var(--line); white-space: nowrap; font-size: .85rem; }
th button { width: 100%; padding: .5rem .6rem; text-align: inherit; font-weight: 600;
  color: var(--dim); }
th button::after { content: "\\2195"; opacity: .35; padding-left: .3rem; }
th[aria-sort] button { color: var(--ink); }
th[aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; }
th[aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
td { padding: .45rem .6rem; border-bottom: 1px solid var(--line); vertical-align: top;
  font-size: .93rem; }
tbody tr:hover { background: var(--raised); }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
td.tracker { width: 100%; }
.tracker small { display: block; }
.tracker .why { color: var(--state); }
.ok .why { color: var(--fair); }
.wide, .state { white-space: nowrap; }
.state { color: var(--state); font-weight: 600; }
.state::before { content: ""; display: inline-block; width: .6em; height: .6em; margin-right: .45em;
  border-radius: 50%; background: currentColor; }
.late { color: var(--bad); font-weight: 600; }
@media (max-width: 45rem) {
  body { padding: 1rem; }
  .tile { flex-basis: 4.6rem; padding: .4rem .6rem; }
  .tile b { font-size: 1.35rem; }
  table, thead, tbody { display: block; }
  thead tr { display: flex; flex-wrap: wrap; gap: .4rem; }
  th { position: static; border: 1px solid var(--line); border-radius: 1rem; }
  th button { padding: .3rem .7rem; }
  tbody tr { display: flex; flex-wrap: wrap; gap: .1rem .6rem; padding: .6rem 0;
    border-bottom: 1px solid var(--line); }
  td { padding: 0; border: 0; font-size: .8rem; }
  td.tracker { order: -1; font-size: 1rem; }
  td.wide { width: 100%; }
  .strip { max-width: none; }
  td[data-name]::before { content: attr(data-name) " "; color: var(--dim); }
  td.none { display: none; }
}
"""
PAGE_SCRIPT = """
"use strict";
const table = document.querySelector("table");
const heads = Array.from(table.tHead.rows[0].cells);
const rows = Array.from(table.tBodies[0].rows);
const tiles = Array.from(document.querySelectorAll(".tile"));
let view = { column: -1, down: false, state: "" };

// What has no value comes last, whichever way the others are sorted.
function compare(a, b) {
  const [x, y] = [a, b].map(row => row.cells[view.column].dataset.value);
  if (!x || !y) { return (x ? 0 : 1) - (y ? 0 : 1); }
  const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
  return view.down ? -order : order;
}

function show() {
  const sorted = view.column < 0 ? rows : rows.slice().sort(compare);
  for (const row of sorted) { table.tBodies[0].append(row); }
  for (const row of rows) { row.hidden = view.state !== "" && row.dataset.state !== view.state; }
  heads.forEach((head, column) => {
    if (column !== view.column) { head.removeAttribute("aria-sort"); return; }
    head.setAttribute("aria-sort", view.down ? "descending" : "ascending");
  });
  for (const tile of tiles) {
    tile.setAttribute("aria-pressed", String(tile.dataset.state === view.state));
  }
  // So that it looks the same when it has renewed itself.
  try { sessionStorage.setItem("view", JSON.stringify(view)); } catch (error) { }
}

heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
  const again = view.column === column;
  view = { ...view, column, down: again ? !view.down : head.dataset.first === "descending" };
  show();
}));
for (const tile of tiles) {
  tile.addEventListener("click", () => {
    view.state = view.state === tile.dataset.state ? "" : tile.dataset.state;
    show();
  });
}

function tellAge() {
  const made = document.querySelector("time"), age = document.querySelector(".age");
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(made.dateTime)) / 1000));
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];
  const [name, size] = units.find(unit => seconds >= unit[1]) || units[3];
  const count = Math.floor(seconds / size);
  age.textContent = " (" + count + " " + name + (count === 1 ? "" : "s") + " ago)";
  age.classList.toggle("late", age.dataset.late !== undefined && seconds > age.dataset.late);
}

try {
  const kept = JSON.parse(sessionStorage.getItem("view"));
  if (kept && kept.column < heads.length) { view = kept; show(); }
} catch (error) { }
tellAge();
setInterval(tellAge, 1000);
"""
# A heading of the page: what it is called, the class of its cells, whether it is sorted from the
# largest on first. A cell: its HTML, the value by which it is sorted, None where there is none.
Heading = namedtuple("Heading", "name style largest_first")
Cell = namedtuple("Cell", "html value")
CHECK_HEADINGS = (
    Heading("Status", "", True),
    Heading("Tracker", "tracker", False),
    Heading("Latency", "number", False),
    Heading("Seeders", "number", True),
    Heading("Leechers", "number", True),
)
MONITOR_HEADINGS = (
    Heading("Status", "", True),
    Heading("Tracker", "tracker", False),
    Heading("Uptime", "number", False),
    Heading("Latest probes", "wide", True),
    Heading("Probes", "number", True),
    Heading("Min", "number", True),
    Heading("Average", "number", True),
    Heading("Max", "number", True),
)
HTML_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;", "`": "&#96;"}
)
STRIP_PROBES = 60  # latest probes that the page of the monitor shows of each target
CERTIFICATE_DAYS = 21  # of a certificate that are worth a word


def html_of(text) -> str:
    """Returns text for a page, between tags or in a quoted attribute: ASCII that is inert there."""
    plain = escape(str(text)).translate(HTML_ESCAPES)
    return plain.encode("ascii", "xmlcharrefreplace").decode("ascii")


def hash_of(text: str) -> str:
    """Returns the source of a content security policy that allows this script or style."""
    from base64 import b64encode
    from hashlib import sha256

    return "'sha256-{}'".format(b64encode(sha256(text.encode("ascii")).digest()).decode("ascii"))


def report_html(
    results: list, all_addresses: bool = False, given_twice: int = 0, labels: dict = None
) -> str:
    """Returns a page with a row for each result, as the table has them."""
    ordered = results if all_addresses else in_reading_order(results)
    rows = []
    for result in ordered:
        latency = number_cell(to_ms(result.elapsed) if result.up else None, " ms")
        counts = [number_cell(number) for number in (result.seeders, result.leechers)]
        with_address = all_addresses or result.target.kind == UDP
        cells = [state_cell(result.status), tracker_cell(result, with_address), latency] + counts
        rows.append((result.status, cells))
    made = max((result.finished_at for result in results), default=time.time())
    totals = totals_of(results, given_twice)
    return page_of(CHECK_HEADINGS, rows, "Checked " + html_time(made), totals, results, labels)


def report_monitor_html(board: "Board", labels: dict = None) -> str:
    """Returns a page with a row for each target of a monitor, which renews itself until that ended.
    """
    rows, results = [], []
    for target, tally in board.tallies.items():
        result = board.latest.get(target)
        status = "waiting"
        if result:
            status = result.status
            results.append(result)
        stats = tally.stats()
        answered, total = tally.counts["ok"], stats["total"]
        uptime = Cell(show_uptime(answered, total), answered / total) if total else Cell("", None)
        probes = board.probes.get(target, ())
        cells = [
            state_cell(status),
            tracker_cell(result or Result(target), with_address=False),
            uptime,
            Cell(strip_of(probes), sum(ms is None for _, ms in probes)),
            number_cell(total),
        ]
        cells += [number_cell(stats[name], " ms") for name in ("min_ms", "average_ms", "max_ms")]
        rows.append((status, cells))
    for result in board.unsupported:
        results.append(result)
        empty = [Cell("", None)] * (len(MONITOR_HEADINGS) - 2)
        cells = [state_cell(result.status), tracker_cell(result, with_address=False)]
        rows.append((result.status, cells + empty))
    now = time.time()
    if board.ended:
        made, renew = "{} at {}".format(board.ended.capitalize(), html_time(now)), None
    else:
        text = "Probed every {:g} seconds since {}; written {}"
        # Where it has got much older than that, the monitor is no more.
        late = int(2 * board.interval + 120)
        made = text.format(board.interval, show_clock(board.began), html_time(now, late))
        renew = int(max(2, min(30, board.interval / 2)))
    totals = totals_of(results)
    waiting = len(rows) - len(results)
    if waiting:
        totals += ", {} not probed yet".format(waiting)
    return page_of(MONITOR_HEADINGS, rows, made, totals, results, labels, renew)


def page_of(
    headings, rows: list, made: str, totals: str, results: list, labels: dict, renew: int = None
) -> str:
    """Returns a page; made is HTML, rows are (state, cells), renew is in seconds or None."""
    states = Counter(state for state, _ in rows)
    counts = [
        ("ok", "ok", states["ok"]),
        ("partial", "partial", states["partial"]),
        ("down", "down", sum(states[state] for state in DOWN_STATES)),
        ("unsupported", UNSUPPORTED, states[UNSUPPORTED]),
        ("not finished", "interrupted", states["interrupted"]),
        ("waiting", "waiting", states["waiting"]),
    ]
    # The first three are there even where there is none.
    counts = counts[:3] + [count for count in counts[3:] if count[2]]
    tile = '<button class="tile {} {}" data-state="{}" aria-pressed="false"><b>{}</b>{}</button>\n'
    tiles = "".join(
        tile.format(state, word.split()[0], state, count, word) for word, state, count in counts
    )
    shown_labels = "".join(
        '<span class="label">{} = {}</span>'.format(html_of(name), html_of(value))
        for name, value in (labels or {}).items()
    )
    reasons = reasons_of(results)
    return PAGE.format(
        policy=PAGE_POLICY.format(hash_of(PAGE_STYLE), hash_of(PAGE_SCRIPT)),
        refresh='<meta http-equiv="refresh" content="{}">\n'.format(renew) if renew else "",
        title="{} of {} down - trackers".format(counts[2][2], len(rows)),
        style=PAGE_STYLE,
        made=made,
        labels="<p>{}</p>\n".format(shown_labels) if shown_labels else "",
        tiles=tiles,
        bar=bar_of(counts),
        totals=html_of(totals),
        reasons="<p>{}</p>\n".format(html_of(reasons)) if reasons else "",
        headings="".join(map(show_heading, headings)),
        rows="".join(show_row(headings, *row) for row in rows),
        script=PAGE_SCRIPT,
    )


def show_heading(heading: Heading) -> str:
    first = "descending" if heading.largest_first else "ascending"
    return '<th scope="col" class="{}" data-first="{}"><button>{}</button></th>\n'.format(
        heading.style, first, heading.name
    )


def show_row(headings, state: str, cells: list) -> str:
    kind = "down" if state in DOWN_STATES else state
    parts = ['<tr class="{}" data-state="{}">'.format(state, kind)]
    for heading, cell in zip(headings, cells):
        style = heading.style if cell.html else heading.style + " none"
        # The number's name is for phones, where there are no columns.
        name = ' data-name="{}"'.format(heading.name) if heading.style == "number" else ""
        value = "" if cell.value is None else html_of(cell.value)
        text = '<td class="{}"{} data-value="{}">{}</td>'
        parts.append(text.format(style.strip(), name, value, cell.html))
    return "".join(parts) + "</tr>\n"


def state_cell(state: str) -> Cell:
    value = STATES.index(state) if state in STATES else None
    return Cell('<span class="state">{}</span>'.format(state), value)


def tracker_cell(result: Result, with_address: bool) -> Cell:
    """Returns the cell of a tracker, with its address, and with why it is not ok below."""
    lines = [html_of(result.target.given)]
    if with_address and address_of(result):
        lines.append('<span class="dim">{}</span>'.format(html_of(address_of(result))))
    remark = remark_of(result)
    if remark:
        lines.append('<small class="why">{}</small>'.format(html_of(remark)))
    expires = result.certificate_expires
    if expires is not None and expires < result.finished_at + CERTIFICATE_DAYS * 86400:
        text = "<small>its certificate ends {}</small>"
        lines.append(text.format(show_time(expires, "seconds")[:10]))
    return Cell("".join(lines), result.target.given.lower())


def number_cell(number, unit: str = "") -> Cell:
    if number is None:
        return Cell("", None)
    return Cell("{:.0f}{}".format(number, unit), number)


def html_time(unix_time: float, late: int = None) -> str:
    """Returns a time with its age, which the script fills in; after `late` seconds it warns."""
    return '<time datetime="{}">{}</time><span class="age"{}></span>'.format(
        show_time(unix_time, "seconds"),
        show_clock(unix_time),
        "" if late is None else ' data-late="{}"'.format(late),
    )


def show_clock(unix_time: float) -> str:
    return show_time(unix_time, "seconds").replace("T", " ").replace("Z", " UTC")


def bar_of(counts: list) -> str:
    """Returns a bar that shows how many are in which state; "" for none at all."""
    total = sum(count for _, _, count in counts)
    parts, at = [], 0
    for _, state, count in counts:
        style = "error" if state == "down" else state
        if count:
            parts.append('<path class="{0}" d="M{1} 0h{2}v1h-{2}z"/>'.format(style, at, count))
        at += count
    svg = (
        '<svg class="bar" viewBox="0 0 {} 1" preserveAspectRatio="none" aria-hidden="true">'
        "{}</svg>\n"
    )
    return svg.format(total, "".join(parts)) if total else ""


def strip_of(probes) -> str:
    """Returns the latest probes, [(status, milliseconds or None)], as lines whose height is time.

    A probe that was not answered is a line from top to bottom.
    """
    if not probes:
        return ""
    slowest = max([ms for _, ms in probes if ms is not None] + [1])
    lines = {}  # status: where its lines go
    for number, (status, ms) in enumerate(probes, STRIP_PROBES - len(probes)):
        height = 20 if ms is None else 3 + 15 * ms // slowest
        lines.setdefault(status, []).append("M{} 20v-{}".format(4 * number + 2, height))
    counts = Counter(status for status, _ in probes).most_common()
    told = "latest {} probes: {}".format(
        len(probes), ", ".join("{} {}".format(count, status) for status, count in counts)
    )
    svg = '<svg class="strip" viewBox="0 0 {} 20" preserveAspectRatio="none" role="img">{}{}</svg>'
    paths = "".join(
        '<path class="{}" d="{}"/>'.format(status, "".join(places))
        for status, places in lines.items()
    )
    return svg.format(4 * STRIP_PROBES, "<title>{}</title>".format(told), paths)


# The output: a file or stdout, and the progress line on a terminal.
class LineWriter:
    """Writes to stdout in a thread of its own, so that a slow reader holds up no check.

    write() returns whether there is still a reader, as far as that is known; it and close(), which
    waits until all is written, raise the Failure (output_failed) that the thread has met.
    """

    def __init__(self):
        self._texts = deque()
        self._change = threading.Condition()
        self._closed = False
        self._has_reader = True
        self._failure = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def write(self, text: str) -> bool:
        if self._failure:
            raise self._failure
        with self._change:
            self._texts.append(text)
            self._change.notify()
        if not self._thread.ident:
            self._thread.start()
        return self._has_reader

    def close(self) -> None:
        with self._change:
            self._closed = True
            self._change.notify()
        if self._thread.ident:
            self._thread.join()
        if self._failure:
            raise self._failure

    def _work(self):
        while True:
            with self._change:
                while not self._texts and not self._closed:
                    self._change.wait()
                text = "".join(self._texts)
                self._texts.clear()
            if not text:
                return
            try:
                self._has_reader = write_stdout(text)
            except Failure as failure:
                self._failure = failure
                return


class Progress:
    """One line on a terminal's stderr that says how far the run is; it is gone at the end."""

    def __init__(self, total, deadline):
        self.total = total
        self.deadline = deadline  # of time.monotonic(), when all is over as a rule
        self.began = time.monotonic()
        self.done = self.up = self.down = 0
        self.shown = ""

    def count(self, result: Result) -> None:
        self.done += 1
        if result.up:
            self.up += 1
        elif result.down and result.target.kind != UNSUPPORTED:
            self.down += 1

    def describe(self) -> str:
        left = max(0, self.deadline - time.monotonic())
        return "{} of {} done, {} up, {} down, {:.0f} s left".format(
            self.done, max(self.total, self.done), self.up, self.down, left
        )

    def draw(self) -> None:
        """Shows how far the run is, from the first second on."""
        if time.monotonic() < self.began + 1:
            return
        text = self.describe()[: terminal_columns(sys.stderr) - 1]
        if text != self.shown:
            write_stderr("\r" + text + "\x1b[K", end="")
            self.shown = text

    def clear(self) -> None:
        if self.shown:
            write_stderr("\r\x1b[K", end="")
            self.shown = ""


class SwarmsProgress(Progress):
    """The same for torrents; done are those whose last tracker has answered, or failed."""

    def __init__(self, total):
        super().__init__(total, None)
        self.outcomes = 0

    def describe(self) -> str:
        text = "{} of {} torrents done, {} answers so far"
        return text.format(self.done, self.total, self.outcomes)


def is_terminal(stream) -> bool:
    return stream is not None and stream.isatty()


def columns_for(arguments) -> int:
    """Returns the width of the terminal that a report goes to, None where it goes elsewhere."""
    if arguments.output or not is_terminal(sys.stdout):
        return None
    return terminal_columns(sys.stdout)


def wants_colour(arguments) -> bool:
    """Whether a report is to be coloured: --color, then the environment, then where it goes."""
    if arguments.color != "auto":
        return arguments.color == "always"
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return columns_for(arguments) is not None and os.environ.get("TERM") != "dumb"


def terminal_columns(stream) -> int:
    """Returns the width of the terminal that a stream goes to; 80 where it does not say."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def require_writable(path: str) -> None:
    """Raises Failure (output_failed) where it is known already that path cannot be written."""
    if os.path.isdir(path):
        raise Failure("output_failed", "{}: is a directory".format(path))
    places = [path]
    if is_replaceable(path):
        folder = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(folder):
            raise Failure("output_failed", "{}: there is no folder {}".format(path, folder))
        # The folder may not be writable, as around a file that is mounted into a container.
        places.append(folder)
    if not any(os.access(place, os.W_OK) for place in places):
        raise Failure("output_failed", "{}: no permission to write".format(path))


def is_replaceable(path):
    """Whether path is a regular file or not there yet, and no pipe or device or link to one."""
    if path.startswith(("/dev/", "/proc/")):
        return False
    return os.path.isfile(path) or not os.path.exists(path)


def write_output(path: str, text: str) -> None:
    """Writes a file whole and renames it into place; what is no regular file is written straight.

    Raises Failure (output_failed); the old file then stays as it was.
    """
    data = text.encode("utf-8", "backslashreplace")
    try:
        if not is_replaceable(path):
            with open(path, "wb") as file:
                file.write(data)
            return
        target = os.path.realpath(path)
        temporary = "{}.{}.tmp".format(target, os.getpid())
        try:
            # Made anew: a link that somebody has put there is not followed.
            remove_if_there(temporary)
            with open(temporary, "xb") as file:
                file.write(data)
            os.replace(temporary, target)
        except OSError as error:
            remove_if_there(temporary)
            # A file that is mounted into a container cannot be renamed onto, nor made a new one of.
            mounted = (errno.EBUSY, errno.EXDEV, errno.EACCES, errno.EPERM, errno.EROFS)
            if error.errno not in mounted or not os.access(target, os.W_OK):
                raise
            with open(target, "wb") as file:
                file.write(data)
    except BrokenPipeError:
        pass
    except OSError as error:
        raise Failure("output_failed", "cannot write {}: {}".format(path, error.strerror))


def remove_if_there(path):
    try:
        os.remove(path)
    except OSError:
        pass


# The monitor.
class Tally:
    """The statistics of one target's probes; its size does not grow with their number."""

    def __init__(self, target):
        self.target = target
        self.counts = {"ok": 0, "timeout": 0, "error": 0}
        self.last_status = "error"
        self.min_ms = self.max_ms = self.last_ms = None
        self.sum_ms = 0

    def add(self, result: Result) -> dict:
        """Counts a probe and returns the record of it."""
        self.last_status = "ok" if result.up else result.status
        self.counts[self.last_status] += 1
        self.last_ms = None
        if result.up:
            self.last_ms = int(result.elapsed * 1000 + 0.5)
            self.sum_ms += self.last_ms
            self.min_ms = self.last_ms if self.min_ms is None else min(self.min_ms, self.last_ms)
            self.max_ms = max(self.max_ms or 0, self.last_ms)
        record = {
            "event": "probe",
            "sequence": sum(self.counts.values()),
            "url": show_url(self.target),
            "status": self.last_status,
            "elapsed_ms": self.last_ms,
        }
        if self.last_status == "error":
            record["message"] = result.message
        record["time"] = show_time(result.finished_at, "milliseconds")
        return record

    def stats(self) -> dict:
        """Returns the statistics of the probes so far; times are None where none was answered."""
        total = sum(self.counts.values())
        answered, timeouts = self.counts["ok"], self.counts["timeout"]
        return {
            "total": total,
            "timeouts": timeouts,
            "timeout_percent": timeouts * 100 // total if total else 0,
            "errors": self.counts["error"],
            "min_ms": self.min_ms,
            "max_ms": self.max_ms,
            "average_ms": int(self.sum_ms / answered + 0.5) if answered else None,
            "last_ms": self.last_ms,
        }

    def summary(self, message: str) -> dict:
        return {
            "url": show_url(self.target),
            "status": {
                "code": "ok" if self.counts["ok"] else self.last_status,
                "message": message,
                "stats": self.stats(),
            },
        }


def show_url(target: Target) -> str:
    """Returns the URL of a target, with udp:// where it was given without."""
    return target.given if "://" in target.given else "udp://" + target.given


class Monitor:
    """Probes targets at a fixed rate.

    Probes of a target are due at start, start + interval, … while before start + duration; one
    that is due while the one before it still runs is skipped. check(target, on_result) starts a
    check, call_at(time, function, …) calls a function then: the runner's, or a test's own.
    on_probe(tally, result) is called as each probe ends, to add the result to its tally.
    """

    def __init__(self, targets, interval, duration, check, call_at, on_probe):
        self.tallies = {target: Tally(target) for target in targets}
        self.interval = interval
        self.duration = duration
        self.check = check
        self.call_at = call_at
        self.on_probe = on_probe
        self.running = set()

    def start(self, now: float) -> None:
        self.began = now
        for target in self.tallies:
            self._due(target, 0)

    def _due(self, target, number):
        """Starts the probe `number` of a target, which is due now."""
        # Counted from the start and not from now, so that no delay adds up.
        following = (number + 1) * self.interval
        if following < self.duration:
            self.call_at(self.began + following, self._due, target, number + 1)
        if target not in self.running:
            self.running.add(target)
            self.check(target, self._on_result)

    def _on_result(self, result):
        self.running.discard(result.target)
        if result.status == "interrupted":
            return
        self.on_probe(self.tallies[result.target], result)

    def summary(self, message: str) -> dict:
        """Returns the summary of all targets, in groups; a group with nothing in it is left out."""
        groups = (
            ("udp_trackers", UDP),
            ("http_trackers", HTTP),
            ("ws_trackers", WS),
            ("health_checks", HEALTH),
        )
        summary = {}
        for name, kind in groups:
            of_kind = [tally for target, tally in self.tallies.items() if target.kind == kind]
            if of_kind:
                summary[name] = [tally.summary(message) for tally in of_kind]
        return summary


class Board:
    """What a file shows of each target of a monitor: its latest result and its latest probes.

    unsupported has a result for each target that cannot be checked; interval is in seconds; ended
    says how the monitor ended, None while it has not.
    """

    def __init__(self, tallies: dict, unsupported: list, interval: float):
        self.tallies = tallies
        self.unsupported = unsupported
        self.interval = interval
        self.began = time.time()
        self.ended = None
        self.latest = {}  # target: its latest result
        self.probes = {}  # target: (status, milliseconds or None) of the latest ones

    def add(self, result: Result, elapsed_ms: int) -> None:
        self.latest[result.target] = result
        probes = self.probes.setdefault(result.target, deque(maxlen=STRIP_PROBES))
        probes.append((result.status, elapsed_ms))

    @property
    def results(self) -> list:
        return list(self.latest.values()) + self.unsupported


class LiveFile:
    """A file that is rewritten as what it shows changes, once a second at most.

    report() returns its text; call_at(time, function) calls a function then, as the runner's does.
    """

    def __init__(self, path, call_at, report):
        self.path = path
        self.call_at = call_at
        self.report = report
        self.written_at = 0
        self.scheduled = False

    def change(self) -> None:
        """Says that the file is to be rewritten."""
        if not self.scheduled:
            self.scheduled = True
            self.call_at(max(time.monotonic(), self.written_at + 1), self._write_now)

    def write(self) -> None:
        """Raises Failure (output_failed)."""
        write_output(self.path, self.report())

    def _write_now(self):
        self.scheduled = False
        self.written_at = time.monotonic()
        try:
            self.write()
        except Failure as failure:
            # The disk may have room again at the next probe.
            write_record("error", kind=failure.kind, source=self.path, message=str(failure))


def show_uptime(answered: int, total: int) -> str:
    """Returns how many of the probes were answered, in percent, rounded down; - for no probes."""
    if not total:
        return "-"
    tenths = answered * 1000 // total
    return "{}.{}%".format(tenths // 10, tenths % 10)


def probe_line(result: Result, elapsed_ms: int, columns: int = None, colour: bool = False) -> str:
    """Returns a probe as a line for eyes: the local time, status, milliseconds, tracker, and why.

    columns is the width of the terminal, None where a line may have any length.
    """
    begin = time.strftime("%H:%M:%S  ", time.localtime(result.finished_at))
    latency = "-" if elapsed_ms is None else "{} ms".format(elapsed_ms)
    tracker = escape(show_url(result.target))
    line = "{}  {:>7}  {}  {}".format(result.status.ljust(7), latency, tracker, remark_of(result))
    line = shorten(line.rstrip(), (columns or sys.maxsize) - 1 - len(begin))
    if colour:
        line = paint(result.status, line[: len(result.status)]) + line[len(result.status) :]
    return begin + line + "\n"


def report_uptime(tallies, columns: int = None) -> str:
    """Returns a table of what a monitor has seen, with a row for each tally."""
    rows = [("UPTIME", "PROBES", "MIN", "AVERAGE", "MAX", "TRACKER")]
    for tally in tallies:
        stats = tally.stats()
        times = (stats["min_ms"], stats["average_ms"], stats["max_ms"])
        shown = tuple("-" if ms is None else "{} ms".format(ms) for ms in times)
        uptime = show_uptime(tally.counts["ok"], stats["total"])
        rows.append((uptime, str(stats["total"])) + shown + (escape(show_url(tally.target)),))
    widths = [max(map(len, texts)) for texts in zip(*rows)]
    lines = []
    for *numbers, tracker in rows:
        cells = [text.rjust(width) for text, width in zip(numbers, widths)]
        lines.append(shorten("  ".join(cells + [tracker]), (columns or sys.maxsize) - 1) + "\n")
    return "".join(lines)


# The command line.
DESCRIPTION = "Check BitTorrent trackers and health endpoints, all at once, and report on them."
MONITOR_DESCRIPTION = "Probe BitTorrent trackers and health endpoints at a fixed rate, and sum up."
INPUT_HELP = (
    "tracker URLs, host:port, magnet links, JSON configuration (text or file), lists of trackers, "
    ".torrent files, - for standard input; with none, TORRUST_CHECKER_CONFIG_PATH or "
    "TORRUST_CHECKER_CONFIG"
)
HASH_HELP = "what to ask for (default 9c384222..., or that of the magnet link or .torrent)"
CHECK_HELP = """\
examples:
  %(prog)s udp://tracker.example.org:6969 https://tracker.example.net/announce
  %(prog)s --format table trackers.txt
  %(prog)s --format urls - < trackers.txt > working.txt
  %(prog)s --format ndjson linux.torrent | jq -r 'select(.seeders) | [.seeders, .tracker] | @tsv'
  %(prog)s --format html --output trackers.html trackers.txt
  %(prog)s --format nagios --critical 3 trackers.txt
  %(prog)s --fail --format table trackers.txt > report || mail -s down me@example.org < report
  %(prog)s monitor udp://tracker.example.org:6969 --interval 60 --duration 3600
  %(prog)s swarms *.torrent --format table

A check announces itself (never as a seeder) and leaves the swarm at the end. Under the passkey of
a private tracker an announce counts: use --no-announce there. host:port is a UDP tracker. A line
that cannot be checked is unsupported; it is down only where there is nothing else.

exit codes:
  0 the run is complete, 1 something is down (with --fail) or the report could not be written,
  2 wrong usage or configuration, 130 Ctrl-C, 143 SIGTERM; --format nagios: 0, 1, 2, 3
"""
MONITOR_HELP = """\
examples:
  %(prog)s monitor udp://tracker.example.org:6969 --interval 60 --duration 3600
  %(prog)s monitor trackers.txt --format table --interval 60
  %(prog)s monitor trackers.txt --format html --output trackers.html --duration inf
  %(prog)s monitor trackers.txt --format ndjson --label from=berlin --duration inf >> probes.ndjson
  %(prog)s monitor trackers.txt --format prometheus --output /var/lib/node_exporter/trackers.prom
  %(prog)s monitor udp --url udp://tracker.example.org:6969 --interval 60

Each probe is a line of JSON on stderr; the summary comes at the end, or on Ctrl-C, on stdout.
With --format table or ndjson the probes themselves are on stdout. The files of html and prometheus
are rewritten as probes end, once a second at most; the page renews itself in a browser.

exit codes:
  0 the summary is out, 1 it could not be written, 2 wrong usage or configuration
"""
SWARMS_DESCRIPTION = "Ask trackers how many seeders and leechers torrents have, by scrapes alone."
SWARMS_INPUT_HELP = (
    ".torrent files, magnet links, info hashes, lists of them, and trackers in any form; each "
    "torrent is asked for at its own trackers and at those that are given by themselves"
)
SWARMS_HELP = """\
examples:
  %(prog)s swarms *.torrent --format table
  %(prog)s swarms hashes.txt udp://tracker.example.org:6969 > swarms.json
  %(prog)s swarms hashes.txt trackers.txt --format ndjson | jq -r 'select(.seeders == 0).info_hash'
  %(prog)s swarms *.torrent --min-seeders 3 --format table > few || mail -s few me@example.org < few

The counts of a torrent are the largest that any of its trackers says, null where none answered.
Nobody joins a swarm for it. A tracker from which nothing comes in the time of a request is not
asked further.

exit codes:
  0 the run is complete, 1 a torrent has fewer seeders than --min-seeders, or the report could not
  be written, 2 wrong usage or configuration, 130 Ctrl-C, 143 SIGTERM
"""
SWARMS_FORMATS = ["json", "pretty", "text", "compact", "ndjson", "table", "prometheus"]
# pretty and text are other names of json; the summary of a monitor is one line in each.
JSON_FORMATS = ["json", "pretty", "text", "compact", "ndjson"]
FORMATS = JSON_FORMATS + ["table", "html", "prometheus", "nagios", "urls"]
MONITOR_FORMATS = JSON_FORMATS + ["table", "html", "prometheus"]


def named(parse):
    """Returns a function like parse whose ValueError names the text, as usage errors need."""

    def parse_text(text):
        try:
            return parse(text)
        except ValueError as error:
            raise ValueError("{!r}: {}".format(text, error))

    return parse_text


def parse_path(text: str) -> str:
    """Returns a path; ValueError for the empty one, which a variable that is not set leaves."""
    if not text:
        raise ValueError("the name of a file is expected")
    return text


RESERVED_LABELS = (
    "tracker", "protocol", "stage", "kind", "address", "info_hash", "name", "__name__"
)


def parse_label(text: str) -> tuple:
    """Returns (name, value) of NAME=VALUE; ValueError for a name that is none, or is taken."""
    name, equals, value = text.partition("=")
    if not equals or not re.match(r"[a-zA-Z_][a-zA-Z0-9_]*\Z", name):
        raise ValueError(
            "{!r}: NAME=VALUE is expected, as from=berlin; a name has letters, digits and _, "
            "no digit first".format(text)
        )
    if name in RESERVED_LABELS:
        raise ValueError("{!r}: the label {} is there already; another name".format(text, name))
    return name, value


def require_distinct(parser, labels: list) -> dict:
    """Returns the labels as a dictionary; ends in a usage error where a name stands twice."""
    names = [name for name, _ in labels]
    for name in names:
        if names.count(name) > 1:
            parser.error("--label {}: it is given twice".format(name))
    return dict(labels)


def add_common_options(parser, input_help: str) -> None:
    """Adds what all commands have."""
    add = parser.add_argument
    add("inputs", metavar="INPUT", nargs="*", help=input_help)
    path = argument_type(parse_path)
    add("-c", "--config-path", metavar="FILE", type=path, help="a JSON configuration")
    help_text = "write there, whole or not at all (default -, stdout)"
    add("-o", "--output", metavar="FILE", type=path, help=help_text)
    add(
        "--label",
        dest="labels",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        type=argument_type(parse_label),
        help="a label of your own, as from=berlin, in ndjson, prometheus, html and probe lines",
    )


def add_question_options(parser) -> None:
    """Adds what a check and a monitor have of what is asked, and how it is shown."""
    add_common_options(parser, INPUT_HELP)
    add = parser.add_argument
    add(
        "--health",
        dest="targets",
        metavar="URL",
        action="append",
        default=[],
        type=argument_type(named(parse_health)),
        help="a health endpoint to check; can be given several times",
    )
    info_hash = argument_type(parse_info_hash)
    add("--info-hash", metavar="HASH", type=info_hash, help=HASH_HELP)
    help_text = "of a table: on a terminal (auto, the default), always or never"
    add("--color", choices=["auto", "always", "never"], default="auto", help=help_text)
    add("--no-scrape", action="store_true", help="announce only")
    add("--no-announce", action="store_true", help="scrape only, as for private trackers")
    port = whole_number(1, 65535)
    add("--port", type=port, metavar="N", help="what is announced (default one drawn at random)")


def add_check_options(parser) -> None:
    add_question_options(parser)
    add = parser.add_argument
    add("--format", choices=FORMATS, default="json", help="default json; for eyes: table, html")
    add("--fail", action="store_true", help="exit 1 when a tracker or health check is down")
    add("--fail-partial", action="store_true", help="the same, also when only scrape fails")
    add("--all-addresses", action="store_true", help="check every address of a name by itself")
    number = whole_number(1, 10 ** 9)
    help_text = "nagios: fewer down than N are a warning (default 1)"
    add("--critical", type=number, metavar="N", help=help_text)
    add("--no-progress", action="store_true", help="no progress line on the terminal")


def add_swarms_options(parser) -> None:
    add_common_options(parser, SWARMS_INPUT_HELP)
    parser.set_defaults(
        targets=[], no_announce=True, no_scrape=False, all_addresses=False, port=None
    )
    add = parser.add_argument
    add("--format", choices=SWARMS_FORMATS, default="json", help="default json")
    seeders = whole_number(0, 2 ** 31 - 1)
    help_text = "exit 1 when a torrent has fewer, or nobody answered for it"
    add("--min-seeders", metavar="N", type=seeders, help=help_text)
    add("--no-progress", action="store_true", help="no progress line on the terminal")


def parse_duration(text: str) -> float:
    """Returns seconds, which may be inf: an argparse type."""
    return float("inf") if text.lower() == "inf" else seconds(0.001, 1e10)(text)


def add_monitor_options(parser) -> None:
    add_question_options(parser)
    parser.set_defaults(all_addresses=False)
    add = parser.add_argument
    help_text = "default json; for eyes: table, html"
    add("--format", choices=MONITOR_FORMATS, default="json", help=help_text)
    times = {"metavar": "SECONDS", "type": seconds(0.001, 1e10)}
    add("--interval", default=300, help="from one probe to the next (default 300)", **times)
    times["type"] = parse_duration
    help_text = "of the whole (default 86400); inf: until Ctrl-C or a signal"
    add("--duration", default=86400, help=help_text, **times)
    add(
        "--url",
        dest="targets",
        metavar="URL",
        action="append",
        type=argument_type(named(parse_tracker)),
        help="the tracker, in the form monitor udp --url URL",
    )


# Each command, None for a check: its options, what it does, its examples, seconds of time-out, and
# what that covers.
COMMANDS = {
    None: (add_check_options, DESCRIPTION, CHECK_HELP, 5, "of a check, with its name lookup"),
    "monitor": (
        add_monitor_options, MONITOR_DESCRIPTION, MONITOR_HELP, 10, "of a probe, with its lookup"
    ),
    "swarms": (add_swarms_options, SWARMS_DESCRIPTION, SWARMS_HELP, 5, "of each request"),
}


def parse_arguments(argv: list, prog: str):
    """Returns the argparse namespace, with `command` saying which it is, None for a check."""
    command, parser, options, positionals = choose_command(argv, prog)
    if "--format=nagios" in options:
        # A plugin that fails says so in its own way.
        parser.error = end_as_unknown
    require_options(parser, options, command)
    # The Rust checker's form of the monitor.
    is_udp_form = command == "monitor" and positionals[1:2] == ["udp"]
    upstream = is_udp_form and any(option.startswith("--url=") for option in options)
    if is_udp_form and len(positionals) == 2 and not upstream and not os.path.exists("udp"):
        parser.error("monitor udp: --url udp://host:port is expected with it")
    if command:
        positionals = positionals[2:] if upstream else positionals[1:]
    arguments = parse_tied(parser, options, positionals)
    if upstream:
        for target in arguments.targets:
            if target.kind != UDP:
                text = "monitor udp --url {!r}: a udp URL is expected; without the word udp any is"
                parser.error(text.format(target.given))
    arguments.command = command
    if arguments.output == "-":
        arguments.output = None
    if arguments.ip_version:
        refuse_other_literals(parser, arguments)
    arguments.labels = require_distinct(parser, arguments.labels)
    require_what_fits(parser, arguments)
    return arguments


def choose_command(argv: list, prog: str) -> tuple:
    """Returns (command, its parser, options, positional arguments), as tie_options() has them."""
    # As a rule that word is the command, if it is not the value of an option.
    command = next((word for word in argv if word in COMMANDS), None)
    parser = parser_for(command, prog)
    options, positionals = tie_options(parser, argv)
    if command is None or positionals[:1] == [command]:
        return command, parser, options, positionals
    if command in positionals and not os.path.exists(command):
        for option in options:
            require_option(parser, option.partition("=")[0])
        parser.error("{0} has to come first: {1} {0} INPUT [options]".format(command, prog))
    parser = parser_for(None, prog)
    return (None, parser) + tie_options(parser, argv)


def require_what_fits(parser, arguments) -> None:
    """Ends in a usage error for options that do not go together."""
    name = arguments.format
    monitor = arguments.command == "monitor"
    if monitor and name in ("prometheus", "html") and not arguments.output:
        text = "--format {}: --output FILE is expected, to be rewritten"
        parser.error(text.format(name))
    if monitor and name == "ndjson" and arguments.output:
        parser.error("--format ndjson: a line a probe goes to stdout; > FILE is expected")
    if arguments.command is None and arguments.critical and name != "nagios":
        parser.error("--critical: --format nagios is expected with it, which it is for")
    if arguments.no_scrape and arguments.no_announce:
        parser.error("--no-scrape with --no-announce leaves nothing to check")


def require_options(parser, options: list, command: str) -> None:
    """Ends in a usage error for an option that the command has not; another one may have it."""
    names = [option.partition("=")[0] for option in options]
    unknown = [name for name in names if name not in parser._option_string_actions]
    if not unknown:
        return
    for other in COMMANDS:
        if unknown[0] in parser_for(other, parser.prog)._option_string_actions:
            text = "{0} belongs to {1}: {2} {1} INPUT [options]"
            if other is None:
                text = "{0} belongs to a check, not to {3}"
            parser.error(text.format(unknown[0], other, parser.prog, command))
    require_option(parser, unknown[0])


def end_as_unknown(message: str) -> None:
    """Ends the process as a Nagios plugin that cannot tell."""
    write_stdout(nagios_line(3, message))
    raise SystemExit(3)


def parser_for(command: str, prog: str):
    """Returns the parser for a command, None for a check."""
    add_options, description, examples, timeout, covers = COMMANDS[command]
    usage = "%(prog)s {}[INPUT ...] [options]".format(command + " " if command else "")
    parser = new_parser(prog, usage, description, examples)
    add_options(parser)
    add_http_options(parser, "tracker_checker.py/" + VERSION)
    add_network_options(parser, timeout, covers)
    return parser


def refuse_other_literals(parser, arguments) -> None:
    """Ends in a usage error where something is an address of the IP version that is not wanted."""
    words = [word for word in arguments.inputs if not word.lstrip(BLANKS).startswith("{")]
    inputs = [tracker_or_unsupported(entry) for word in words for entry in split_entry(word)]
    for target in inputs + arguments.targets:
        if target.ip_version not in (None, arguments.ip_version):
            text = "{0!r} is not an IPv{1} address, as -{1} asks for"
            parser.error(text.format(target.given, arguments.ip_version))


def collect_inputs(arguments, inputs: Inputs) -> None:
    """Reads what was given; raises ConfigurationError. Warns of what nothing was made of."""
    read_inputs(inputs, arguments.inputs, arguments.config_path, arguments.targets, os.environ)
    inputs.require_enough()
    for source, lines, first in inputs.skipped:
        text = "{} {} no {}, the first: {}"
        names = "line names" if lines == 1 else "lines name"
        message = text.format(lines, names, inputs.wanted, first)
        write_record("warning", kind="lines_skipped", source=source, lines=lines, message=message)


def collect_targets(arguments) -> list:
    """Returns the targets, each with what to ask for; raises ConfigurationError."""
    inputs = Inputs()
    collect_inputs(arguments, inputs)
    if not inputs.targets and arguments.command is None:
        # A run in which nothing is down is no good news where there was nothing to check.
        if arguments.fail or arguments.fail_partial:
            raise ConfigurationError(inputs.source, "nothing to check")
    arguments.given_twice = inputs.given_twice
    default = inputs.own_hash or DEFAULT_INFO_HASH
    for target in inputs.targets:
        target.info_hash = arguments.info_hash or target.info_hash or default
    return inputs.targets


def collect_torrents(arguments) -> tuple:
    """Returns (the torrents, {tracker: those that it is asked for}); raises ConfigurationError."""
    inputs = SwarmInputs()
    collect_inputs(arguments, inputs)
    for name, error in inputs.rejected:
        write_record("warning", kind="unsupported", source=name, message=str(error))
    return list(inputs.torrents.values()), inputs.join()


def make_runner(arguments, targets) -> Runner:
    """Returns the runner for the targets, with as many places as there are descriptors for."""
    settings = Settings(
        timeout=arguments.timeout,
        announce=not arguments.no_announce,
        scrape=not arguments.no_scrape,
        all_addresses=arguments.all_addresses,
        port=arguments.port or random.randint(*FREE_PORTS),
        peer_id=new_peer_id(),
        http=http_options_of(arguments),
    )
    http = sum(target.kind in (HTTP, WS, HEALTH) for target in targets)
    # An HTTP check at an address may be redirected to a name.
    names = http + len({target.host for target in targets if target.host and not target.ip_version})
    available = open_files_available(2 * min(names, 256) + 2 * len(targets))
    keep_names = arguments.command != "monitor"
    return Runner(settings, *share_open_files(available, names), keep_names=keep_names)


def on_signals(function, hangup: bool = False) -> None:
    """Calls function(number) on the first SIGINT or SIGTERM; the second ends the process.

    With hangup also on SIGHUP, where that is not ignored, as under nohup.
    """
    seen = []

    def handle(number, frame):
        if seen:
            os._exit(128 + number)
        seen.append(number)
        function(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if hangup and hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    for number in numbers:
        signal.signal(number, handle)


def show_progress(arguments) -> bool:
    """Whether there is to be a progress line."""
    return (
        is_terminal(sys.stderr)
        and os.environ.get("TERM", "dumb") != "dumb"
        and arguments.format != "ndjson"
        and not arguments.no_progress
        and not arguments.verbose
    )


def finish(text: str, code: int, arguments, runner: Runner) -> int:
    """Writes the report of a run and returns its exit code."""
    if not arguments.output:
        write_stdout(text)
    elif not runner.interrupted:
        # Half a run must not take the place of a whole report.
        write_output(arguments.output, text)
    return 128 + runner.interrupted if runner.interrupted else code


def run_checks(arguments, targets: list) -> int:
    """Checks the targets once and writes the report; returns the exit code."""
    streaming = arguments.format == "ndjson" and not arguments.output
    began = time.monotonic()
    runner = make_runner(arguments, targets)
    on_signals(runner.interrupt)
    waves = 1 + len(targets) // runner.places
    progress = Progress(len(targets), time.monotonic() + arguments.timeout * waves)
    if show_progress(arguments):
        runner.tick = progress.draw

    lines = LineWriter()

    def on_result(result):
        progress.count(result)
        if streaming:
            lines.write(result_to_ndjson(result, arguments.labels))

    groups = [runner.submit(target, on_result) for target in targets]
    runner.run()
    progress.clear()
    lines.close()
    results = [check.result for checks in groups for check in checks]
    elapsed = time.monotonic() - began
    text, code = render(results, arguments, streamed=streaming, elapsed=elapsed)
    return finish(text, code, arguments, runner)


def run_swarms(arguments, swarms: tuple) -> int:
    """Asks for torrents and writes what their trackers say; returns the exit code."""
    torrents, by_tracker = swarms
    streaming = arguments.format == "ndjson" and not arguments.output
    runner = make_runner(arguments, list(by_tracker))
    on_signals(runner.interrupt)
    progress = SwarmsProgress(len(torrents))
    if show_progress(arguments):
        runner.tick = progress.draw

    lines = LineWriter()

    def on_torrent(torrent):
        progress.done += 1
        if streaming:
            lines.write(torrent_to_ndjson(torrent, arguments.labels))

    def on_outcome(torrent, tracker, outcome):
        if not isinstance(outcome, Failure):
            progress.outcomes += 1
        if torrent.settle(tracker, outcome):
            on_torrent(torrent)

    for torrent in torrents:
        if not torrent.trackers:
            on_torrent(torrent)
    for tracker, its_torrents in by_tracker.items():
        start_survey(tracker, its_torrents, on_outcome, runner)
    runner.run()
    progress.clear()
    lines.close()
    return finish(*render_torrents(torrents, arguments, streamed=streaming), arguments, runner)


def run_monitor(arguments, targets: list) -> int:
    """Probes the targets until the duration is over or a signal comes; returns the exit code."""
    unsupported = [target for target in targets if target.kind == UNSUPPORTED]
    for target in unsupported:
        write_record("warning", kind="unsupported", source=target.given, message=target.problem)
    targets = [target for target in targets if target.kind != UNSUPPORTED]
    if not targets:
        raise ConfigurationError("argument", "nothing to monitor")
    runner = make_runner(arguments, targets)
    on_signals(runner.interrupt, hangup=True)

    lines = LineWriter()

    def on_probe(tally, result):
        record = tally.add(result)
        if not write_probe(arguments, record, result, lines):
            # Nobody is left to read the probes, as after `| head`.
            runner.interrupt(signal.SIGTERM)
        if file:
            board.add(result, tally.last_ms)
            file.change()

    monitor = Monitor(
        targets, arguments.interval, arguments.duration, runner.submit, runner.call_at, on_probe
    )
    board = Board(monitor.tallies, list(map(result_of_unsupported, unsupported)), monitor.interval)
    file = live_file(arguments, board, runner.call_at)
    began = time.monotonic()
    monitor.start(began)
    # It lasts its whole duration, so that one run after another keeps the rate.
    runner.run(until=began + arguments.duration)
    lines.close()
    message = "monitor interrupted" if runner.interrupted else "monitor completed"
    text = to_json_text(monitor.summary(message), pretty=False) + "\n"
    if arguments.format == "table":
        text = report_uptime(monitor.tallies.values(), columns_for(arguments))
    elif arguments.format == "ndjson":
        text = ""
    if arguments.output and not file:
        write_output(arguments.output, text)
    else:
        write_stdout(text)
    if file and (board.latest or arguments.format == "html"):
        board.ended = message
        file.write()
    return 0


def write_probe(arguments, record: dict, result: Result, lines: LineWriter) -> bool:
    """Writes a probe as the format has it, to the lines of stdout or as a record to stderr.

    Returns whether there is still a reader.
    """
    if arguments.format == "ndjson":
        return lines.write(result_to_ndjson(result, arguments.labels))
    if arguments.format == "table":
        # They go there also where the table at the end goes into a file.
        columns = terminal_columns(sys.stdout) if is_terminal(sys.stdout) else None
        line = probe_line(result, record["elapsed_ms"], columns, wants_colour(arguments))
        return lines.write(line)
    if arguments.labels:
        record = dict(record, labels=arguments.labels)
    write_stderr(to_json_text(record, pretty=False))
    return True


def result_of_unsupported(target: Target) -> Result:
    """Returns the result of a target that cannot be checked."""
    return Result(target, [Stage("setup", 0, Failure("unsupported", target.problem))])


def live_file(arguments, board: Board, call_at) -> LiveFile:
    """Returns the file that a monitor rewrites as its probes end, None where it has none."""
    if arguments.format == "html":
        file = LiveFile(
            arguments.output, call_at, lambda: report_monitor_html(board, arguments.labels)
        )
        # The page is there from the beginning on.
        file.change()
        return file
    if arguments.format == "prometheus":
        return LiveFile(
            arguments.output,
            call_at,
            lambda: report_prometheus(board.results, own_labels=arguments.labels),
        )
    return None


def main(argv: list, prog: str = "tracker_checker.py") -> int:
    """Runs the command with the arguments after its name; returns the exit code."""
    arguments = parse_arguments(argv, prog)
    # A reply may be half a million lists, and what ten thousand checks are made of lives until the
    # end: to look for garbage among all that every 700 allocations takes longer than the rest.
    gc.set_threshold(100000)
    try:
        import_bencode()
    except Failure as failure:
        if arguments.format == "nagios":
            end_as_unknown(str(failure))
        write_stderr("{}: error: {}".format(prog, escape(str(failure))))
        return 2
    collect, run_command = {
        None: (collect_targets, run_checks),
        "monitor": (collect_targets, run_monitor),
        "swarms": (collect_torrents, run_swarms),
    }[arguments.command]
    # Before the run a Failure is wrong usage, after it a report that was not written.
    failure_code = 2
    try:
        given = collect(arguments)
        if arguments.output:
            require_writable(arguments.output)
        failure_code = 1
        return run_command(arguments, given)
    except ConfigurationError as error:
        if arguments.format == "nagios":
            end_as_unknown("{}: {}".format(error.source, error))
        write_record(
            "error", kind="invalid_configuration", source=error.source, message=str(error)
        )
        return 2
    except Failure as failure:
        if arguments.format == "nagios" and arguments.output:
            end_as_unknown(str(failure))
        source = arguments.output or "stdout"
        write_record("error", kind=failure.kind, source=source, message=str(failure))
        return failure_code


# The plumbing: all of it is carried from the two clients.


# --- carried region: udp wire format (home: udp_tracker_client.py) ---
# The wire format of BEP 15: pure functions, values in and bytes out, and back.
PROTOCOL_ID = 0x41727101980
CONNECT, ANNOUNCE, SCRAPE, ERROR = range(4)
SHORT_ANNOUNCE = "; opentracker answers so when the torrent is not on its list"
ANNOUNCE_IPV6 = 4  # what some trackers answer an announce with over IPv6
ACTIONS = ("connect", "announce", "scrape", "error")
EVENTS = {"none": 0, "completed": 1, "started": 2, "stopped": 3}
CONNECTION_LIFETIME = 60  # seconds in which a client may use a connection id

# A request has an action, encode(connection_id, transaction_id) and parse(reply, ipv6). Connect has
# no fields: the class itself is the request.
# Numbers are signed, as on the wire; peers are socket addresses.
AnnounceReply = namedtuple("AnnounceReply", "transaction_id interval leechers seeders peers")
# stats is [(seeders, completed, leechers)].
ScrapeReply = namedtuple("ScrapeReply", "transaction_id stats")
ErrorReply = namedtuple("ErrorReply", "transaction_id message")


class Connect:
    """A connect request (BEP 15), which asks for the connection id of the others."""

    action = CONNECT

    @staticmethod
    def encode(connection_id: int, transaction_id: int) -> bytes:
        return struct.pack(">qii", PROTOCOL_ID, CONNECT, transaction_id)

    @staticmethod
    def parse(reply: bytes, ipv6: bool) -> int:
        """Returns the connection id; raises ValueError for a reply that is too short."""
        if len(reply) < 16:
            raise ValueError("{} bytes, 16 are expected".format(len(reply)))
        return struct.unpack_from(">q", reply, 8)[0]


class Announce(
    namedtuple(
        "Announce",
        "info_hash peer_id downloaded left uploaded event ip_address key peers_wanted port"
        " url_data",
    )
):
    """An announce request (BEP 15); event is its number, ip_address and url_data are bytes.

    Its fields stand in the order of the wire.
    """

    action = ANNOUNCE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(
            ">qii20s20sqqqi4siiH",
            connection_id,
            ANNOUNCE,
            transaction_id,
            *self[:-1]
        )
        return fixed + encode_url_data(self.url_data)

    def parse(self, reply: bytes, ipv6: bool) -> AnnounceReply:
        """Raises ValueError for a reply that is too short."""
        if len(reply) < 20:
            hint = SHORT_ANNOUNCE if len(reply) == 8 else ""
            raise ValueError("{} bytes, 20 are expected{}".format(len(reply), hint))
        _, transaction_id, interval, leechers, seeders = struct.unpack_from(">iiiii", reply)
        size, family = (18, socket.AF_INET6) if ipv6 else (6, socket.AF_INET)
        # Trackers have been seen to cut a list short: the entries that are whole count.
        peers = [
            (
                socket.inet_ntop(family, reply[start : start + size - 2]),
                int.from_bytes(reply[start + size - 2 : start + size], "big"),
            )
            for start in range(20, len(reply) - size + 1, size)
        ]
        return AnnounceReply(transaction_id, interval, leechers, seeders, peers)


class Scrape(namedtuple("Scrape", "info_hashes")):
    """A scrape request (BEP 15) for at most 74 info hashes."""

    action = SCRAPE

    def encode(self, connection_id: int, transaction_id: int) -> bytes:
        fixed = struct.pack(">qii", connection_id, SCRAPE, transaction_id)
        return fixed + b"".join(self.info_hashes)

    def parse(self, reply: bytes, ipv6: bool) -> ScrapeReply:
        """Raises ValueError for a reply that ends within its first entry."""
        if 8 < len(reply) < 20:
            raise ValueError("{} bytes, 20 are expected".format(len(reply)))
        _, transaction_id = struct.unpack_from(">ii", reply)
        whole = (len(reply) - 8) // 12 * 12
        return ScrapeReply(transaction_id, list(struct.iter_unpack(">iii", reply[8 : 8 + whole])))


def encode_url_data(url_data: bytes) -> bytes:
    """Returns the URL data options of BEP 41, each with 255 bytes at most."""
    options = []
    for start in range(0, len(url_data), 255):
        part = url_data[start : start + 255]
        options.append(bytes((2, len(part))) + part)
    return b"".join(options)


def url_data_of(path: str, query: str) -> bytes:
    """Returns what BEP 41 sends of a URL: nothing where the path says nothing of its own."""
    if not query and path in ("", "/", "/announce", "/scrape"):
        return b""
    return encode_path(path, query).encode("ascii")


def parse_reply(request, action: int, reply: bytes, ipv6: bool):
    """Returns what the request makes of its reply, an ErrorReply or a Failure (invalid_response).

    The transaction id was right, so a wrong action or shape is the tracker's own word.
    """
    if action == ERROR:
        # Some trackers end the text with a NUL.
        _, transaction_id = struct.unpack_from(">ii", reply)
        return ErrorReply(transaction_id, text_of(reply[8:].rstrip(b"\0")))
    name = ACTIONS[request.action]
    if ipv6 and action == ANNOUNCE_IPV6 and request.action == ANNOUNCE:
        action = ANNOUNCE
    if action != request.action:
        text = "the reply to {} has action {}, {} is expected".format(name, action, request.action)
        return Failure("invalid_response", text)
    try:
        return request.parse(reply, ipv6)
    except ValueError as error:
        return Failure("invalid_response", "the reply to {} has {}".format(name, error))


def new_transaction_id() -> int:
    return int.from_bytes(os.urandom(4), "big", signed=True)


# --- end of carried region: udp wire format ---


# --- carried region: udp exchange (home: udp_tracker_client.py) ---
class Pending:
    """A request that is under way: what it is, and when it was and will be sent."""

    __slots__ = ("request", "index", "first_sent", "deadline", "sends", "next_send", "wait")

    def __init__(self, request, index, now, deadline, wait):
        self.request = request
        self.index = index
        self.first_sent = now
        self.deadline = deadline
        self.sends = 0
        self.next_send = now
        self.wait = wait


class Exchange:
    """The rules of BEP 15 with one address of a tracker, without I/O and without a clock.

    The caller sends what take_due_datagrams() returns, gives receive() every datagram that
    arrives, and calls take_due_datagrams() again at wake_at or after a receive(). Times are
    seconds of any one clock.

    The strategy: one connect, whose connection id then carries all requests, up to eight at a
    time. BEP 15 sends again after 15, 30, 60 … seconds; nobody waits that long, so every request,
    the connect too, is sent six times within the time that was left when it was first sent, and
    each wait is half as long again as the one before: of five seconds at 0, 0.24, 0.6, 1.1, 1.9
    and 3.2. Where a tenth of the datagrams is lost each way, a request then fails once in 20,000.
    A resend keeps its transaction id: a late reply to an earlier send counts, and the second of
    two replies belongs to nobody any more. What carries an unknown transaction id is ignored.
    held means that it connects, but sends no request until release(): of several addresses only
    one is to count an announce. With patience (seconds) each request has that much time from when
    it is first sent, and ask() adds further ones; deadline may then be infinite.

    replies has an entry for each request, in order: None while it is open, then an
    AnnounceReply, ScrapeReply, ErrorReply or Failure (timeout, invalid_response, or what the
    caller says with fail()). replied_at has the times at which they became known, connected_at
    that of the latest connection id, None while there was none.
    """

    IN_FLIGHT = 8
    SENDS = 6
    GROWTH = 1.5  # how much longer each wait is than the one before
    # What the waits add up to, in terms of the first.
    WAITS = (GROWTH ** SENDS - 1) / (GROWTH - 1)

    __slots__ = (
        "requests replies replied_at ipv6 deadline held patience connection_id connected_at"
        " reconnected waiting pending wake_at"
    ).split()

    def __init__(self, requests, ipv6, now, deadline, held=False, patience=None):
        self.requests = requests
        self.replies = [None] * len(requests)
        self.replied_at = [None] * len(requests)
        self.ipv6 = ipv6
        self.deadline = deadline
        self.held = held
        self.patience = patience
        self.reconnected = False
        self.waiting = []
        self.pending = {}
        self.connected_at = None
        self._connect(now)

    @property
    def finished(self) -> bool:
        return not self.pending and not self.waiting

    def is_connected(self, now: float) -> bool:
        """Whether there is a connection id that may still be used."""
        return self.connection_id is not None and now - self.connected_at < CONNECTION_LIFETIME

    def take_due_datagrams(self, now: float) -> list:
        """Returns the datagrams to send now and sets wake_at; what is late ends in timeouts."""
        self._time_out(now)
        if self.finished:
            return []
        if self.connection_id is not None and not self.is_connected(now):
            self._connect(now)
        datagrams = []
        wake_at = self.deadline
        for transaction_id, pending in self.pending.items():
            if pending.next_send <= now and pending.sends < self.SENDS:
                datagrams.append(pending.request.encode(self.connection_id, transaction_id))
                pending.sends += 1
                pending.next_send = now + pending.wait
                pending.wait *= self.GROWTH
            if pending.sends == self.SENDS:
                pending.next_send = pending.deadline
            if pending.next_send < wake_at:
                wake_at = pending.next_send
        self.wake_at = wake_at
        return datagrams

    def receive(self, datagram: bytes, now: float):
        """Takes a datagram that arrived at now.

        Returns the seconds since its request was first sent, None when it belongs to none.
        """
        if len(datagram) < 8:
            return None
        action, transaction_id = struct.unpack_from(">ii", datagram)
        pending = self.pending.pop(transaction_id, None)
        if pending is None:
            return None
        self.wake_at = now
        reply = parse_reply(pending.request, action, datagram, self.ipv6)
        if pending.index is not None:
            if self._is_rejection(reply):
                # The tracker has forgotten the connection id, or was started anew.
                self.reconnected = True
                self._connect(now)
            else:
                self.reconnected = False
                self._settle(pending.index, reply, now)
        elif isinstance(reply, (Failure, ErrorReply)):
            self.fail(reply, now)
        else:
            self.connection_id = reply
            self.connected_at = now
        self._fill(now)
        return now - pending.first_sent

    def ask(self, request, now: float) -> int:
        """Adds a request and returns its index among the replies."""
        index = len(self.requests)
        self.requests.append(request)
        self.replies.append(None)
        self.replied_at.append(None)
        self.waiting.append(index)
        if self.connection_id is None and not self.pending:
            # The connect before it was in vain.
            self._connect(now)
        self._fill(now)
        return index

    def release(self, now: float) -> None:
        """Lets an exchange that was held at its connect go on to its requests."""
        self.held = False
        self._fill(now)

    def fail(self, outcome, now: float) -> None:
        """Ends every request that is still open with a Failure or an ErrorReply."""
        for index, reply in enumerate(self.replies):
            if reply is None:
                self._settle(index, outcome, now)
        self.pending.clear()
        self.waiting = []

    def _connect(self, now):
        """Starts over with a connect; all that is open waits for its connection id."""
        self.connection_id = None
        self.waiting = [index for index, reply in enumerate(self.replies) if reply is None]
        self.pending.clear()
        self._start(Connect, None, now)

    def _start(self, request, index, now):
        transaction_id = new_transaction_id()
        while transaction_id in self.pending:
            transaction_id = new_transaction_id()
        deadline = self.deadline if self.patience is None else now + self.patience
        wait = (deadline - now) / self.WAITS
        self.pending[transaction_id] = Pending(request, index, now, deadline, wait)
        self.wake_at = now

    def _fill(self, now):
        """Starts waiting requests while there is room in flight."""
        if self.connection_id is None or self.held:
            return
        while self.waiting and len(self.pending) < self.IN_FLIGHT:
            index = self.waiting.pop(0)
            self._start(self.requests[index], index, now)

    def _is_rejection(self, reply):
        """Whether an error reply speaks of the connection id, for the first time."""
        if self.reconnected or not isinstance(reply, ErrorReply):
            return False
        text = reply.message.lower()
        return "connection" in text or "cookie" in text

    def _settle(self, index, reply, now):
        self.replies[index] = reply
        self.replied_at[index] = now

    def _time_out(self, now):
        """Ends what is late, each request with the number of times that it was sent in vain."""
        for transaction_id, pending in list(self.pending.items()):
            if now < pending.deadline:
                continue
            action, sends = ACTIONS[pending.request.action], pending.sends
            failure = Failure("timeout", "no reply to {} (sent {} times)".format(action, sends))
            if pending.index is None:
                self.fail(failure, now)
            elif sends:
                del self.pending[transaction_id]
                self._settle(pending.index, failure, now)
        if now >= self.deadline:
            self.fail(Failure("timeout", "connected, but its turn did not come"), now)


# --- end of carried region: udp exchange ---


# --- carried region: udp conversation (home: udp_tracker_client.py) ---
READS = 16  # datagrams taken from a socket at a time, so that a flood cannot hold the caller


def send_due(sock, address: tuple, exchange: Exchange, now: float, trace) -> None:
    """Sends the datagrams that are due; trace is called with what is done, or None."""
    try:
        for datagram in exchange.take_due_datagrams(now):
            if trace:
                action = ACTIONS[datagram[11]]  # the last byte of its number
                trace("-> {} {}".format(show_address(address), action))
            sock.send(datagram)
    except OSError as error:
        # A full queue is one more way to lose a datagram: it will be sent again.
        if error.errno not in (errno.EAGAIN, errno.ENOBUFS):
            exchange.fail(network_failure(error), now)


def receive_ready(sock, address: tuple, exchange: Exchange, now: float, trace) -> None:
    """Takes what has arrived at a socket."""
    try:
        for _ in range(READS):
            datagram = sock.recv(65536)
            delay = exchange.receive(datagram, now)
            if trace:
                text = "<- {} {} bytes".format(show_address(address), len(datagram))
                if delay is None:
                    trace(text + ", not a reply to what was asked: ignored")
                else:
                    trace("{}, {:.1f} ms after its request".format(text, delay * 1000))
    except BlockingIOError:
        pass
    except OSError as error:
        exchange.fail(network_failure(error), now)


def progress_of(exchange: Exchange) -> tuple:
    """Returns how far an exchange got, to be compared: answers to requests come before all."""
    answers = [reply for reply in exchange.replies if reply and not isinstance(reply, Failure)]
    asked = not exchange.held
    return asked and bool(answers), len(answers), asked


class Conversation:
    """A tracker asked over UDP at all of its addresses: the sockets around the exchanges.

    The caller calls advance(now) at wake_at, and read(socket, now) for each socket that the
    selector finds readable (the selector's data is the owner), until finished; end(failure, now)
    ends it before its time. Nothing here blocks. The checker needs owner, leave and end().

    All addresses may connect, as the race has it; the one that leads goes on to the requests.
    Answers to all of them from there, error replies too, end the others. leave(conversation,
    socket, address, exchange, now) is called before a socket is closed.

    At the end answered says whether the tracker answered anything, exchange is where it answered
    most and address its address. Where it answered nothing they are of the first that failed, or of
    the first that had got as far as to the requests (None where no socket could be opened), and
    race has the failures.
    """

    __slots__ = (
        "requests deadline selector owner trace leave race exchanges exchange address wake_at"
    ).split()

    def __init__(
        self, addresses, requests, now, deadline, selector, owner=None, trace=None, leave=None
    ):
        self.requests = requests
        self.deadline = deadline
        self.selector = selector
        self.owner = owner
        self.trace = trace
        self.leave = leave
        self.race = Race(addresses, now, deadline)
        self.exchanges = {}  # socket: (address, exchange), in the order in which they started
        self.exchange = None
        self.address = None
        self.wake_at = now

    @property
    def finished(self) -> bool:
        return not self.exchanges and self.race.due_at is None

    @property
    def answered(self) -> bool:
        return self.exchange is not None and progress_of(self.exchange)[1] > 0

    def advance(self, now: float) -> None:
        """Opens the sockets and sends the datagrams that are due, and sets wake_at."""
        for sock, (_, exchange) in list(self.exchanges.items()):
            # An earlier exchange of this round may have ended the conversation.
            if sock in self.exchanges and now >= exchange.wake_at:
                self._send(sock, now)
        while True:
            address = self.race.take_due(now)
            if address is None:
                break
            self._open(address, now)
        self._ask_leader(now)
        self._set_wake_at()

    def read(self, sock, now: float) -> None:
        """Takes what has arrived at one of the sockets, and sends what follows from it."""
        if sock not in self.exchanges:
            # The reply on another one has closed it meanwhile.
            return
        address, exchange = self.exchanges[sock]
        receive_ready(sock, address, exchange, now, self.trace)
        if exchange.held and exchange.connection_id is not None:
            if address not in self.race.reached:
                self.race.reach(address)
            self._ask_leader(now)
        if sock in self.exchanges:
            self._send(sock, now)
        self._set_wake_at()

    def end(self, failure: "Failure", now: float) -> None:
        """Ends the conversation before its time: what is open ends with the failure."""
        self.race.stop()
        for sock, (_, exchange) in list(self.exchanges.items()):
            if sock in self.exchanges:
                exchange.fail(failure, now)
                self._finish(sock, now)

    def _open(self, address, now):
        """Starts an exchange with an address on a connected socket of its own.

        Connected, since then the system drops what others send and tells of a closed port.
        """
        try:
            sock = open_socket(address, socket.SOCK_DGRAM)
            self.selector.register(sock, selectors.EVENT_READ, self.owner)
        except OSError as error:
            self.race.fail(address, network_failure(error), now)
            return
        requests = [
            request._replace(port=sock.getsockname()[1])
            if request.action == ANNOUNCE and request.port is None
            else request
            for request in self.requests
        ]
        exchange = Exchange(requests, ":" in address[0], now, self.deadline, held=True)
        self.exchanges[sock] = (address, exchange)
        self._send(sock, now)

    def _send(self, sock, now):
        address, exchange = self.exchanges[sock]
        send_due(sock, address, exchange, now, self.trace)
        if exchange.finished:
            self._finish(sock, now)

    def _finish(self, sock, now):
        """Closes an exchange that has ended; where all was answered, the others as well."""
        address, exchange = self.exchanges.pop(sock)
        failures = [reply for reply in exchange.replies if isinstance(reply, Failure)]
        if exchange.held and self.race.asked and not failures:
            # An error reply to its connect does not end another address that is being asked.
            failures = [Failure("invalid_response", exchange.replies[0].message)]
        if self.exchange is None or progress_of(exchange) > progress_of(self.exchange):
            self.address, self.exchange = address, exchange
        self._close(sock, address, exchange, now)
        if failures:
            self.race.fail(address, failures[-1], now)
            self._ask_leader(now)
        else:
            self.race.stop()
            for other in list(self.exchanges):
                self._close(other, *self.exchanges.pop(other), now)

    def _ask_leader(self, now):
        """Lets the exchange go on to the requests that is to be asked now, if there is one."""
        leader = self.race.take_leader(now)
        for address, exchange in self.exchanges.values():
            if address == leader:
                exchange.release(now)

    def _close(self, sock, address, exchange, now):
        if self.leave:
            self.leave(self, sock, address, exchange, now)
        self.selector.unregister(sock)
        sock.close()

    def _set_wake_at(self):
        self.wake_at = self.deadline if self.race.wake_at is None else self.race.wake_at
        for _, exchange in self.exchanges.values():
            self.wake_at = min(self.wake_at, exchange.wake_at)


# --- end of carried region: udp conversation ---


# --- carried region: http urls (home: http_tracker_client.py) ---
# The URLs and queries of BEP 3, 7, 23 and 48: pure functions.
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
HTTP_SCHEMES, WEBSOCKET_SCHEMES = ("http", "https"), ("ws", "wss")
SECURE_SCHEMES = ("https", "wss")


def is_websocket(text: str) -> bool:
    """Whether a tracker's URL is that of a WebSocket tracker (WebTorrent)."""
    scheme, separator, _ = text.partition("://")
    return bool(separator) and scheme.lower() in WEBSOCKET_SCHEMES


def split_web_url(text: str, schemes: tuple = HTTP_SCHEMES) -> tuple:
    """Checks a URL and returns (all before its path, its path, its query with the ?).

    The host comes out in ASCII, path and query percent-encoded. Raises ValueError.
    """
    scheme, separator, _ = text.partition("://")
    if scheme.lower() not in schemes:
        found = "scheme {!r}".format(scheme) if separator else "no scheme"
        raise ValueError("{}; {}:// or {}:// is expected".format(found, *schemes))
    url = split_url(text)
    authority = "[{}]".format(url.host.replace("%", "%25")) if ":" in url.host else url.host
    if url.credentials is not None:
        authority = "{}@{}".format(encode_path(url.credentials, None), authority)
    if url.port is not None:
        authority = "{}:{}".format(authority, url.port)
    query = "" if url.query is None else "?" + encode_path(url.query, None)
    return "{}://{}".format(url.scheme, authority), encode_path(url.path, None), query


def port_of(url: "Url") -> int:
    return url.port or DEFAULT_PORTS[url.scheme]


def announce_url(text: str) -> str:
    """Returns the URL to announce at for a tracker's URL; raises ValueError for a broken one."""
    base, path, query = split_web_url(text)
    folder, _, last = path.rpartition("/")
    if path in ("", "/"):
        path = "/announce"
    elif last.startswith("scrape"):
        path = "{}/announce{}".format(folder, last[len("scrape") :])
    return base + path + query


def scrape_url(text: str) -> str:
    """Returns the URL to scrape at for a tracker's URL (BEP 48); ValueError where there is none.

    A last or last-but-one segment that begins with announce is turned to scrape.
    """
    base, path, query = split_web_url(text)
    segments = path.split("/")
    if path in ("", "/"):
        segments = ["", "scrape"]
    elif not segments[-1].startswith("scrape"):
        for index in (-1, -2):
            if segments[index].startswith("announce"):
                segments[index] = "scrape" + segments[index][len("announce") :]
                break
        else:
            raise ValueError(
                "there is no scrape URL for the path {!r}: none of its last two segments begins "
                "with announce or scrape (BEP 48)".format(path)
            )
    return base + "/".join(segments) + query


def websocket_url(text: str) -> str:
    """Returns the URL of a WebSocket tracker, whose path is used as it is; raises ValueError."""
    base, path, query = split_web_url(text, WEBSOCKET_SCHEMES)
    return base + (path or "/") + query


def encode_query(parameters: list) -> str:
    """Returns a query of (name, value) pairs of bytes, text and numbers; None is left out."""
    return "&".join(
        "{}={}".format(name, value if isinstance(value, int) else quote(value, safe=""))
        for name, value in parameters
        if value is not None
    )


def with_query(url: str, query: str) -> str:
    """Appends a query to a URL, which may have one already."""
    if not query:
        return url
    separator = "" if url.endswith(("?", "&")) else "&" if "?" in url else "?"
    return url + separator + query


# --- end of carried region: http urls ---


# --- carried region: http answers (home: http_tracker_client.py) ---
# What a reply says.
def import_bencode():
    """Returns the module bencode; raises Failure (missing_file) where it does not stand beside."""
    path = sys.path
    if "bencode" not in sys.modules and "__file__" in globals():
        # With -I or PYTHONSAFEPATH Python does not look there by itself.
        sys.path = [os.path.dirname(os.path.realpath(__file__))] + path
    try:
        import bencode

        # Another package may be of that name, and not even be Python 3.
        bencode.to_json
    except Exception as error:
        text = "bencode.py is missing: copy it beside this file ({})"
        raise Failure("missing_file", text.format(error))
    finally:
        sys.path = path
    return bencode


def excerpt(text: str) -> str:
    """Returns a text from the network as a message can have it: short, and without controls."""
    text = escape(text)
    return text if len(text) <= 120 else text[:117] + "..."


def read_reply(response: "HttpResponse"):
    """Returns the bencoded value of a reply's body; white space after it is no error.

    Raises Failure (http_status for 4xx and 5xx, else invalid_response) when it is no bencode.
    """
    bencode = import_bencode()
    try:
        return bencode.decode(response.body.rstrip(b" \t\r\n"))
    except bencode.BencodeError as error:
        raise broken_reply(response, "not bencode ({})".format(error))


def broken_reply(response: "HttpResponse", problem: str) -> "Failure":
    """Returns the Failure that shows a reply that nothing can be read from."""
    encoding = response.headers.get("content-encoding")
    text = "HTTP {} {}, {}, {}{}: {}".format(
        response.status,
        excerpt(response.reason),
        excerpt(response.headers.get("content-type") or "no content type"),
        excerpt(encoding) + ", " if encoding else "",
        problem,
        repr(response.body[:80])[1:] if response.body else "an empty body",
    )
    return Failure("http_status" if response.status >= 400 else "invalid_response", text)


def require_announce(value, status: int, event: str = "started") -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    require_dictionary(value, status)
    if event != "stopped" and not any(key in value for key in (b"interval", b"peers", b"peers6")):
        raise Failure("invalid_response", "the reply has neither interval nor peers nor peers6")


def require_scrape(value, status: int) -> None:
    """Raises Failure (failure_reason, http_status, invalid_response) for what is no answer."""
    require_dictionary(value, status)
    if not isinstance(value.get(b"files"), dict):
        raise Failure("invalid_response", "the reply has no dictionary files")


def require_dictionary(value, status):
    if isinstance(value, dict) and b"failure reason" in value:
        reason = text_of(value[b"failure reason"])
        raise Failure("failure_reason", "the tracker says {!r}".format(reason))
    if status >= 400:
        raise Failure("http_status", "the reply came with HTTP status {}".format(status))
    if not isinstance(value, dict):
        raise Failure("invalid_response", "the reply is not a dictionary")


def scraped_hash(key: bytes) -> bytes:
    """Returns the info hash that a key of files stands for.

    bittorrent-tracker sends the UTF-8 of the Latin-1 reading of the 20 bytes.
    """
    if len(key) != 20:
        try:
            narrow = key.decode("utf-8").encode("latin-1")
        except UnicodeError:
            return key
        if len(narrow) == 20:
            return narrow
    return key


# --- end of carried region: http answers ---


# --- carried region: http fetch (home: http_tracker_client.py) ---
# A URL is fetched through proxies, TLS and redirects, as steps: generator functions that read like
# code that blocks. They yield what they wait for (a Lookup, a Wait), and who runs them sends back
# what came of it, or throws the Failure that ends them there: the deadline's, for one.
REDIRECTS = 5
PROXY_PORT = 1080  # as curl has it
SECRET_HEADERS = ("Authorization", "Cookie", "Host", "Proxy-Authorization")

# What all requests of a run have in common. ip_version is 4, 6 or None; headers are (name, value)
# pairs, tls is a Tls, environ has the proxy variables, trace is called with what is done, or None.
HttpOptions = namedtuple("HttpOptions", "ip_version user_agent headers tls environ trace")


def fetch(url: str, options: HttpOptions, deadline: float, limit: int, read=None):
    """Steps that get a URL, through redirects; they return (its HttpResponse, what was read).

    limit is how many bytes the body may have; with None it is not read. read(response) returns
    what is read from it, or raises Failure: an address that answers with junk so gives way to the
    others of its host. The deadline is kept by who runs the steps; here it only spaces out the
    addresses. Credentials, cookies and a Host
    header given as options go to the URL's own scheme, host and port only. They raise Failure
    (resolve_failed, timeout, refused, unreachable, tls, invalid_response, too_large, redirect;
    http_status where a proxy refuses, or an error status has a broken body).
    """
    target = first = split_url(url)
    home = True
    redirected = ""
    for _ in range(REDIRECTS + 1):
        credentials = first.credentials if home else None
        headers = request_headers(options, target, credentials, home)
        try:
            response, value = yield from get(target, headers, options, deadline, limit, read)
        except Failure as failure:
            raise failure.copy(redirected)
        if response.status not in REDIRECT_STATUSES:
            return response, value
        url = redirect_target(url, response.headers.get("location"))
        target = split_url(url)
        # Who was once sent elsewhere is not trusted with the way back.
        home = home and origin_of(target) == origin_of(first)
        redirected = "redirected to {}: ".format(excerpt(url))
        if options.trace:
            options.trace("redirected to {}".format(url))
    raise Failure("redirect", "more than {} redirects".format(REDIRECTS))


def get(target: "Url", headers: dict, options: HttpOptions, deadline: float, limit: int, read):
    """Steps that send one request, no redirects, and return (its HttpResponse, what was read)."""
    proxy = proxy_in_force(target, options)
    authority, path = request_parts(target)
    url = "{}://{}{}".format(target.scheme, authority, path)
    if proxy and target.scheme == "http":
        path = url
        add_proxy_authorization(headers, proxy)

    def ask(address):
        stream = yield from open_stream(address, target, proxy, options)
        try:
            if options.trace:
                options.trace("-> {} GET {}".format(stream.address, url))
            sent = time.monotonic()
            response, _ = yield from request(stream, "GET", path, headers, limit)
            if options.trace:
                elapsed = (time.monotonic() - sent) * 1000
                text = "<- {} HTTP {}, {:.1f} ms after the request"
                options.trace(text.format(stream.address, response.status, elapsed))
        finally:
            stream.close()
        response = response._replace(
            address=stream.address, certificate_expires=stream.certificate_expires
        )
        unread = read is None or response.status in REDIRECT_STATUSES
        return response, None if unread else read(response)

    return (yield from reach(target, proxy, options, deadline, ask))


def proxy_in_force(target: "Url", options: HttpOptions) -> "Url":
    """Returns the proxy for a URL, None for none; Failure (unreachable) for an unsupported one."""
    try:
        return proxy_for(target, options.environ)
    except ValueError as error:
        raise Failure("unreachable", str(error))


def reach(target: "Url", proxy: "Url", options: HttpOptions, deadline: float, attempt):
    """Steps that run attempt(address), steps too, at the addresses of a host, or of its proxy."""
    peer, port = target, port_of(target)
    if proxy:
        peer, port = proxy, proxy.port or PROXY_PORT
    try:
        addresses = yield from find_addresses(peer.host, port, options.ip_version)
    except Failure as failure:
        raise failure.copy("the proxy: ") if proxy else failure
    return (yield from try_addresses(addresses, attempt, deadline))


def open_stream(address: tuple, target: "Url", proxy: "Url", options: HttpOptions):
    """Steps that return a Stream to the target, TLS and all: an attempt at one address.

    The address is the target's, or that of the proxy that is not None.
    """
    if options.trace:
        options.trace("connecting to {}".format(show_address(address)))
    stream = None
    through = proxy
    try:
        stream = yield from connect(address)
        yield TURN
        if proxy and target.scheme != "http":
            yield from open_tunnel(stream, target, proxy)
        if target.scheme in SECURE_SCHEMES:
            # What fails from here on is the target's.
            through = None
            yield from stream.start_tls(target.host, options.tls)
        return stream
    except BaseException as error:
        # GeneratorExit, too: another address may answer while this one waits for its turn.
        if stream:
            stream.close()
        if through and isinstance(error, Failure):
            raise error.copy("the proxy: ")
        raise


def open_tunnel(stream: "Stream", target: "Url", proxy: "Url"):
    """Steps that ask a proxy for a connection to the target; Failure when it refuses."""
    authority = show_address((target.host.partition("%")[0], port_of(target)))
    headers = {"Host": authority}
    add_proxy_authorization(headers, proxy)
    # What follows the headers is the tunnel, in which the client speaks first.
    response, _ = yield from request(stream, "CONNECT", authority, headers, limit=None)
    if not 200 <= response.status < 300:
        text = "it refuses the connection: HTTP {} {}"
        raise Failure("http_status", text.format(response.status, excerpt(response.reason)))


def request(stream: "Stream", method: str, request_target: str, headers: dict, limit: int):
    """Steps that send a request over a stream; they return (its HttpResponse, what came after)."""
    lines = ["{} {} HTTP/1.1".format(method, request_target)]
    lines.extend("{}: {}".format(*header) for header in headers.items())
    yield from stream.send("\r\n".join(lines + ["", ""]).encode("latin-1"))
    parser = ReplyParser(limit)
    response = None
    while response is None:
        response = parser.feed((yield from stream.receive()))
    return response, parser.rest


def origin_of(url: "Url") -> tuple:
    """Returns what has to be the same for credentials to be sent: scheme, host and port."""
    return url.scheme, url.host.lower(), port_of(url)


def redirect_target(url: str, location: str) -> str:
    """Returns where a Location header leads to, without credentials; raises Failure (redirect)."""
    if location is None:
        raise Failure("redirect", "a redirect without a Location")
    # Headers are Latin-1, but a URL that is not ASCII is UTF-8 as a rule; spaces are taken for %20,
    # as curl does.
    location = text_of(location.strip(" \t").encode("latin-1")).replace(" ", "%20")
    try:
        # Checked before it is joined, which would drop line ends silently.
        require_url_characters(location)
        base, path, query = split_web_url(urljoin(url, location))
    except ValueError as error:
        text = "a redirect to {}: {}".format(excerpt(location), excerpt(str(error)))
        raise Failure("redirect", text)
    scheme, _, authority = base.partition("://")
    return "{}://{}{}{}".format(scheme, authority.rpartition("@")[2], path, query)


def request_headers(options: HttpOptions, target: "Url", credentials: str, home: bool) -> dict:
    """Returns the headers of a request; home says whether it goes where the user sent it.

    What a user gives replaces what is sent by itself, but for Connection.
    """
    given = {}
    for name, value in options.headers:
        name = name.title()  # so that one given twice is joined, whatever its case
        if home or name not in SECRET_HEADERS:
            if name in given:
                value = given[name] + ("; " if name == "Cookie" else ", ") + value
            given[name] = value
    usual = {
        "Host": request_parts(target)[0],
        "User-Agent": options.user_agent,
        "Accept-Encoding": "identity",
    }
    if credentials is not None:
        usual["Authorization"] = basic_authorization(credentials)
    return dict(usual, **given, Connection="close")


def basic_authorization(credentials: str) -> str:
    """Returns the value of an Authorization header for user:password of a URL (RFC 7617)."""
    import base64

    user, _, password = credentials.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return "Basic " + base64.b64encode(pair).decode("ascii")


def add_proxy_authorization(headers: dict, proxy: "Url") -> None:
    """Adds the header for the credentials of a proxy, where it has some."""
    if proxy.credentials is not None:
        headers["Proxy-Authorization"] = basic_authorization(proxy.credentials)


def request_parts(url: "Url") -> tuple:
    """Returns what a request has of a URL: (authority, path and query).

    The authority is without credentials, the scope of an address, and a port that is implied.
    """
    host = url.host.partition("%")[0]
    if port_of(url) != DEFAULT_PORTS[url.scheme]:
        authority = show_address((host, port_of(url)))
    else:
        authority = "[{}]".format(host) if ":" in host else host
    return authority, encode_path(url.path or "/", url.query)


# Proxies come from http_proxy, https_proxy and no_proxy; another kind is refused, not bypassed.
def proxy_for(target: "Url", environ) -> "Url":
    """Returns the proxy for a URL, None for none; raises ValueError for an unsupported one."""
    own = "https_proxy" if target.scheme in SECURE_SCHEMES else "http_proxy"
    names = own, "all_proxy", "ALL_PROXY"
    name = next((name for name in names if environ.get(name)), names[0])
    proxy = environ.get(name)
    if not proxy or is_exempt(target, environ.get("no_proxy") or environ.get("NO_PROXY", "")):
        return None
    if name != names[0]:
        raise ValueError("{} is not supported; http_proxy and https_proxy are".format(name))
    proxy = proxy if "://" in proxy else "http://" + proxy
    # Nothing of the value is shown but its scheme: it may have a password.
    scheme = proxy.partition("://")[0].lower()
    if scheme != "http":
        raise ValueError("{}: scheme {!r}; http:// is expected".format(name, scheme))
    try:
        return split_url(proxy)
    except ValueError:
        raise ValueError("{}: not a URL; http://host:port is expected".format(name))


def is_exempt(target: "Url", no_proxy: str) -> bool:
    """Whether no_proxy has the host: *, a name or its parent, an address; with a port or not."""
    host = target.host.lower().partition("%")[0].rstrip(".")
    for entry in no_proxy.lower().replace(",", " ").split():
        name, colon, port = entry.rpartition(":")
        # What follows the last colon of an IPv6 address without brackets is no port.
        if colon and DIGITS.issuperset(port) and (":" not in name or name.endswith("]")):
            if port != str(port_of(target)):
                continue
            entry = name
        entry = entry.strip("[]")
        if entry in ("*", host):
            return True
        if not literal_version(host) and ("." + host).endswith("." + entry.lstrip("*.")):
            return True
    return False


# --- end of carried region: http fetch ---


# --- carried region: http reply (home: http_tracker_client.py) ---
# Bytes in, a response or a Failure out: HTTP/1.1 (RFC 9112) as servers really write it.
HEADERS_LIMIT = 64 * 1024  # bytes of the status line and all headers; of chunk sizes, too
REDIRECT_STATUSES = (301, 302, 303, 307, 308)
STATUS_LINE = re.compile(rb"HTTP/[0-9.]+ +([1-9][0-9]{2})(?: +(.*))?", re.DOTALL)
HEADER_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*:(.*)", re.DOTALL)
CHUNK_SIZE = re.compile(rb"[ \t]*([0-9A-Fa-f]{1,16})[ \t]*(;.*)?", re.DOTALL)
CONTENT_LENGTH = re.compile("0*([0-9]+) *(,|$)")
DICTIONARY = re.compile(rb"d[0-9]{1,20}:")
GZIP = b"\x1f\x8b"

# headers has names in lower case; address is that of the server, or of the proxy before it, None
# before it is known; certificate_expires, a Unix time, is None without TLS.
HttpResponse = namedtuple(
    "HttpResponse", "status reason headers body address certificate_expires"
)
HttpResponse.__new__.__defaults__ = (None, None)


class ReplyParser:
    """Reads the reply to one request from its bytes, whole or one at a time; it does no I/O.

    feed() takes what has come, b"" for the end of the connection, and returns the HttpResponse
    once it is whole, None before. limit is how many bytes the body may have, as sent and when
    decompressed; with None, and of a redirect, the body is not read.

    The strategy: each part of a reply has a method that takes it from the buffer, sets the method
    for the part after it, and returns whether it was there; feed() calls them while they are. A
    header line that is none costs that line and no more (as with curl), and a body that begins
    as bencode or gzip does is plain, whatever the headers call it.

    feed() raises Failure (invalid_response, http_status, too_large).
    """

    def __init__(self, limit: int):
        self.limit = limit
        self.response = None
        self._buffer = bytearray()
        self._searched = 0  # bytes of the buffer in which there is no line end
        self._ended = False
        self._line_bytes_left = HEADERS_LIMIT
        self._status, self._reason, self._headers = None, "", {}
        self._last_header = None
        self._body = bytearray()
        self._missing = None  # bytes of the body, or of its chunk, that have not come
        self._take_part = self._take_status_line

    @property
    def rest(self) -> bytes:
        """What has come after the reply, as frames do behind an upgrade."""
        return bytes(self._buffer)

    def feed(self, data: bytes):
        self._buffer += data
        self._ended = not data
        while self.response is None and self._take_part():
            pass
        return self.response

    def _take_line(self):
        """Returns the next line without its end, None while it has not come whole."""
        end = self._buffer.find(b"\n", self._searched)
        size = len(self._buffer) if end < 0 else end + 1
        if size > self._line_bytes_left:
            raise Failure("too_large", "too many bytes of headers or chunk sizes")
        if end < 0:
            self._searched = size
            return None
        line = bytes(self._buffer[:end]).rstrip(b"\r")
        del self._buffer[:size]
        self._searched = 0
        self._line_bytes_left -= size
        return line

    def _take_status_line(self):
        line = self._take_line()
        if line is None:
            if self._ended and not self._buffer:
                raise Failure("invalid_response", "the connection was closed without a reply")
            beginning = self._buffer[:120]
            if self._ended or (len(beginning) == 120 and not beginning.startswith(b"HTTP/")):
                raise self._no_http(beginning)
            return False
        found = STATUS_LINE.fullmatch(line)
        if not found:
            raise self._no_http(line)
        self._last_header = None
        self._status = int(found.group(1))
        self._reason = (found.group(2) or b"").decode("latin-1").strip()
        self._take_part = self._take_header
        return True

    def _no_http(self, data):
        text = excerpt(bytes(data[:120]).rstrip(b"\r").decode("latin-1"))
        return Failure("invalid_response", "no HTTP reply: {}".format(text))

    def _take_header(self):
        line = self._take_line()
        if line is None and not self._ended:
            return False
        if not line:
            # Where the connection ends within the headers, what came of them counts.
            self._end_headers()
        elif line[:1] in (b" ", b"\t"):
            # It goes on with the line before (RFC 9112, 5.2). The line end is kept, so that a
            # Location that has one is refused.
            if self._last_header:
                value = self._headers[self._last_header]
                more = line.strip().decode("latin-1")
                self._headers[self._last_header] = value + "\n" + more if value else more
        else:
            found = HEADER_LINE.fullmatch(line)
            self._last_header = None
            if found:
                name = found.group(1).decode("ascii").lower()
                if name not in self._headers:
                    self._headers[name] = found.group(2).strip(b" \t").decode("latin-1")
                    self._last_header = name
        return True

    def _end_headers(self):
        if 100 <= self._status < 200 and self._status != 101:
            # Others may come before the answer, as 103 Early Hints (RFC 9110, 15.2).
            self._status, self._headers = None, {}
            self._take_part = self._take_status_line
            return
        length = CONTENT_LENGTH.match(self._headers.get("content-length", ""))
        codings = self._headers.get("transfer-encoding", "").lower().split(",")
        if self._status in REDIRECT_STATUSES + (101, 204, 304) or self.limit is None:
            self._finish()
        elif "chunked" in map(str.strip, codings):
            self._take_part = self._take_first_chunk_size
        elif length:
            self._missing = int(length.group(1)[:20])  # int() is slow for a text without end
            if self._missing > self.limit:
                text = "a body of {} bytes is announced".format(excerpt(length.group(1)))
                raise Failure("too_large", text)
            self._take_part = self._take_sized_body
        else:
            self._take_part = self._take_body_to_the_end

    def _take_sized_body(self):
        self._missing -= self._move_to_body(self._missing)
        if self._missing:
            if self._ended:
                text = "the body is {} bytes shorter than announced".format(self._missing)
                raise self._broken(text, self._body)
            return False
        self._finish()
        return True

    def _take_body_to_the_end(self):
        self._move_to_body(len(self._buffer))
        if self._ended:
            self._finish()
        return self._ended

    def _move_to_body(self, most):
        """Moves what the buffer has to the body, but no more than so many bytes; how many."""
        part = self._buffer[:most]
        del self._buffer[:most]
        self._body += part
        if len(self._body) > self.limit:
            raise Failure("too_large", "the body has more bytes than are accepted")
        return len(part)

    def _take_first_chunk_size(self):
        if DICTIONARY.match(self._buffer) or self._buffer.startswith(GZIP):
            # A plain body, which some servers announce as chunked.
            self._take_part = self._take_body_to_the_end
            return True
        return self._take_chunk_size()

    def _take_chunk_size(self):
        line = self._take_line()
        if line is None:
            if self._ended:
                raise self._broken("the body ends before its last chunk", self._body + self._buffer)
            return False
        found = CHUNK_SIZE.fullmatch(line)
        if not found:
            raise self._broken("a chunk of the body has a broken size, or none", self._body + line)
        self._missing = int(found.group(1), 16)
        if self._missing:
            self._take_part = self._take_chunk
        else:
            # Trailers are not waited for: nothing else is read from this connection.
            self._finish()
        return True

    def _take_chunk(self):
        moved = self._move_to_body(self._missing)
        self._missing -= moved
        # So the sizes of all chunks may have as many bytes as the chunks, and what headers left.
        self._line_bytes_left += moved
        if self._missing:
            if self._ended:
                raise self._broken("the body ends within a chunk", self._body)
            return False
        self._take_part = self._take_chunk_end
        return True

    def _take_chunk_end(self):
        if not self._buffer.startswith((b"\n", b"\r\n")):
            if self._ended:
                raise self._broken("the body ends before its last chunk", self._body)
            if self._buffer not in (b"", b"\r"):
                raise self._broken("a chunk of the body is longer than its size", self._body)
            return False
        del self._buffer[: self._buffer.index(b"\n") + 1]
        self._take_part = self._take_chunk_size
        return True

    def _finish(self):
        encoding = self._headers.get("content-encoding", "").lower()
        try:
            body = decompress(bytes(self._body), encoding, self.limit)
        except ValueError as error:
            raise self._broken(str(error), self._body)
        self.response = HttpResponse(self._status, self._reason, self._headers, body)

    def _broken(self, problem, came):
        response = HttpResponse(self._status, self._reason, self._headers, bytes(came))
        return broken_reply(response, problem)


def decompress(body: bytes, encoding: str, limit: int) -> bytes:
    """Returns what a body is without gzip or deflate (with its wrapper or without).

    What begins as gzip does is gzip, and what begins as bencode does is plain, whatever the
    encoding says. Raises ValueError where it is broken, Failure (too_large) beyond the limit.
    """
    gzipped = body.startswith(GZIP)
    deflated = "deflate" in encoding and body and not DICTIONARY.match(body)
    if not gzipped and not deflated:
        return body
    import zlib

    for window in (16 + zlib.MAX_WBITS,) if gzipped else (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        stream = zlib.decompressobj(window)
        try:
            plain = stream.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(plain) > limit:
            raise Failure("too_large", "the body has more bytes than are accepted")
        if not stream.eof:
            raise ValueError("the compressed body is cut off")
        return plain
    raise ValueError("the compressed body is broken")


# --- end of carried region: http reply ---


# --- carried region: websocket (home: http_tracker_client.py) ---
# WebSocket (RFC 6455) as WebTorrent's trackers speak it: JSON, one message a request, in which each
# byte of a binary string is the character of the same number. Such a tracker has no peers to give
# to who makes no offers; no offers are made here.
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
NORMAL_CLOSE = (1000).to_bytes(2, "big")
ACCEPT_SUFFIX = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
NO_TRACKER_HINT = "; this may be no WebSocket tracker"
PEER_ID_BEGINNING = b"-qB4500-"
PEER_ID_CHARACTERS = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class FrameParser:
    """Reads messages from the bytes of a WebSocket connection, whole or one at a time; no I/O.

    feed() takes what has come, take() returns the next message as (opcode, payload), None while it
    has not come whole. The opcode is TEXT (also for binary messages, and for what came in
    fragments), PING, PONG or CLOSE. limit is how many bytes a message may have.

    take() raises Failure (invalid_response for what RFC 6455, 5 does not allow, too_large).
    """

    def __init__(self, limit: int):
        self.limit = limit
        self._buffer = bytearray()
        self._message = bytearray()
        self._in_fragments = False

    def feed(self, data: bytes) -> None:
        self._buffer += data

    def take(self):
        while True:
            frame = self._take_frame()
            if frame is None:
                return None
            opcode, final, payload = frame
            if opcode >= CLOSE:
                return opcode, payload
            self._message += payload
            self._in_fragments = not final
            if final:
                message, self._message = bytes(self._message), bytearray()
                return TEXT, message

    def _take_frame(self):
        """Returns (opcode, whether it is the last of its message, payload) of the next frame."""
        buffer = self._buffer
        if len(buffer) < 2:
            return None
        opcode, final, length = buffer[0] & 0x0F, bool(buffer[0] & 0x80), buffer[1] & 0x7F
        problem = self._problem_of(opcode, final, length)
        if problem:
            raise Failure("invalid_response", "it breaks the WebSocket protocol: " + problem)
        start = {126: 4, 127: 10}.get(length, 2)
        if len(buffer) < start:
            return None
        if start > 2:
            length = int.from_bytes(buffer[2:start], "big")
        if opcode < CLOSE and len(self._message) + length > self.limit:
            raise Failure("too_large", "a message of more bytes than are accepted")
        if len(buffer) < start + length:
            return None
        payload = bytes(buffer[start : start + length])
        del buffer[: start + length]
        return opcode, final, payload

    def _problem_of(self, opcode, final, length):
        if self._buffer[1] & 0x80:
            return "a masked frame"
        if self._buffer[0] & 0x70:
            return "a reserved bit"
        if opcode not in (CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG):
            return "the unknown opcode {}".format(opcode)
        if opcode >= CLOSE:
            return None if final and length <= 125 else "a control frame in fragments, or too long"
        if (opcode == CONTINUATION) != self._in_fragments:
            return "a fragment that does not fit"
        return None


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """Returns a whole message in one frame, masked as a client has to (RFC 6455, 5.3)."""
    size = len(payload)
    if size < 126:
        length = bytes([0x80 | size])
    elif size < 1 << 16:
        length = bytes([0x80 | 126]) + size.to_bytes(2, "big")
    else:
        length = bytes([0x80 | 127]) + size.to_bytes(8, "big")
    mask = os.urandom(4)
    masks = (mask * (size // 4 + 1))[:size]
    masked = int.from_bytes(payload, "big") ^ int.from_bytes(masks, "big")
    return bytes([0x80 | opcode]) + length + mask + masked.to_bytes(size, "big")


def open_websocket(url: str, options: HttpOptions, deadline: float, limit: int, ask):
    """Steps that return (a WebSocket to a tracker's URL, what ask(websocket) returned).

    ask(websocket) are steps, too, for the first question: an address that agrees to the upgrade and
    then says nothing, or junk, gives way to the others of its host. limit is how many bytes a
    message may have. Redirects are not followed. They raise Failure (resolve_failed, timeout,
    refused, unreachable, tls, invalid_response, too_large, http_status, and what ask raises).
    """
    target = split_url(url)
    proxy = proxy_in_force(target, options)

    def attempt(address):
        stream = yield from open_stream(address, target, proxy, options)
        try:
            websocket = yield from upgrade(stream, target, options, limit)
            return websocket, (yield from ask(websocket))
        except BaseException:
            # GeneratorExit, too: another address may have answered first.
            stream.close()
            raise

    return (yield from reach(target, proxy, options, deadline, attempt))


def upgrade(stream: "Stream", target: "Url", options: HttpOptions, limit: int):
    """Steps that turn a stream into a WebSocket (RFC 6455, 4.1), and return it.

    They raise Failure (timeout, invalid_response, too_large; http_status for any but 101).
    """
    from base64 import b64encode
    from hashlib import sha1

    key = b64encode(os.urandom(16))
    headers = request_headers(options, target, target.credentials, home=True)
    headers.update(
        {
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Sec-WebSocket-Key": key.decode("ascii"),
            "Sec-WebSocket-Version": "13",
        }
    )
    _, path = request_parts(target)
    if options.trace:
        options.trace("-> {} GET {}, to upgrade".format(stream.address, path))
    try:
        response, came = yield from request(stream, "GET", path, headers, limit=None)
    except Failure as failure:
        hint = NO_TRACKER_HINT if failure.kind == "invalid_response" else ""
        raise Failure(failure.kind, str(failure) + hint)
    if response.status != 101:
        raise broken_upgrade(response)
    accept = b64encode(sha1(key + ACCEPT_SUFFIX).digest()).decode("ascii")
    if response.headers.get("sec-websocket-accept") != accept:
        text = "the upgrade has no right Sec-WebSocket-Accept"
        raise Failure("invalid_response", text + NO_TRACKER_HINT)
    return WebSocket(stream, came, limit, options.trace)


def broken_upgrade(response: "HttpResponse") -> "Failure":
    """Returns the Failure for a server that does not agree to speak WebSocket."""
    text = "it does not speak WebSocket here: HTTP {} {}, {}".format(
        response.status,
        excerpt(response.reason),
        excerpt(response.headers.get("content-type") or "no content type"),
    )
    if response.status in REDIRECT_STATUSES:
        text += ", to " + excerpt(response.headers.get("location") or "nowhere")
    return Failure("http_status", text)


def new_peer_id() -> bytes:
    """Returns a peer id that no client has: 20 characters (BEP 20)."""
    count = len(PEER_ID_CHARACTERS)
    return PEER_ID_BEGINNING + bytes(PEER_ID_CHARACTERS[byte % count] for byte in os.urandom(12))


class WebSocket:
    """A WebSocket connection to a tracker; its operations are steps.

    It has a peer id of its own, since of two connections with the same one a tracker may ignore
    the second.
    """

    def __init__(self, stream: "Stream", came: bytes, limit: int, trace):
        self.stream = stream
        self.address = stream.address
        self.peer_id = new_peer_id()
        self.trace = trace
        self._has_answered = False
        self._parser = FrameParser(limit)
        self._parser.feed(came)

    def ask(self, question: dict):
        """Steps that send a request and return its answer, as the dictionary HTTP would have sent.

        What is no answer to it is skipped: peers' offers and answers, and what has another action
        or torrent. They raise Failure (timeout, invalid_response, too_large).
        """
        if self.trace:
            self.trace("-> {} {}".format(self.address, question["action"]))
        sent = time.monotonic()
        yield from self.send(question)
        while True:
            message = yield from self._receive()
            answer = read_message(message)
            answered = is_answer(answer, question)
            if self.trace:
                text = "<- {} {} bytes, {:.1f} ms after the request{}"
                elapsed = (time.monotonic() - sent) * 1000
                ignored = "" if answered else ", no answer to it: ignored"
                self.trace(text.format(self.address, len(message), elapsed, ignored))
            if answered:
                self._has_answered = True
                for key in (b"action", b"info_hash"):
                    answer.pop(key, None)
                return answer

    def send(self, question: dict):
        """Steps that send a request without waiting for its answer; they raise Failure."""
        text = json.dumps(question, ensure_ascii=False)
        yield from self.stream.send(encode_frame(TEXT, text.encode("utf-8")))

    def close(self):
        """Steps that say goodbye, where there is time for it, and close the connection."""
        try:
            yield from self.stream.send(encode_frame(CLOSE, NORMAL_CLOSE))
        except Failure:
            # It is a courtesy: the tracker sees the end of the connection anyway.
            pass
        finally:
            self.stream.close()

    def _receive(self):
        """Steps that return the next message's bytes, answering each ping on the way."""
        while True:
            message = self._parser.take()
            if message is None:
                self._parser.feed((yield from self._receive_bytes()))
                continue
            opcode, payload = message
            if opcode == TEXT:
                return payload
            if opcode == PING:
                yield from self.stream.send(encode_frame(PONG, payload))
            elif opcode == CLOSE:
                yield from self.stream.send(encode_frame(CLOSE, payload[:2]))
                raise Failure("invalid_response", show_close(payload))

    def _receive_bytes(self):
        try:
            data = yield from self.stream.receive()
            if not data:
                raise Failure("invalid_response", "the connection was closed without a reply")
            return data
        except Failure as failure:
            unheard = failure.kind == "invalid_response" and not self._has_answered
            raise Failure(failure.kind, str(failure) + (NO_TRACKER_HINT if unheard else ""))


def show_close(payload: bytes) -> str:
    """Returns what a close frame says (RFC 6455, 5.5.1)."""
    code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else "no code"
    reason = excerpt(text_of(payload[2:]))
    return "the tracker closed the connection: {}".format(" ".join([str(code), reason]).strip())


def websocket_announce(info_hash: bytes, peer_id: bytes, event: str, **numbers) -> dict:
    """Returns the announce to send; numbers are uploaded, downloaded and left, in bytes."""
    question = dict(
        action="announce",
        info_hash=info_hash.decode("latin-1"),
        peer_id=peer_id.decode("latin-1"),
        numwant=0,
        offers=[],
        **numbers
    )
    return question if event == "none" else dict(question, event=event)


def websocket_scrape(info_hashes: list) -> dict:
    """Returns the scrape to send; without info hashes it asks for all torrents."""
    texts = [info_hash.decode("latin-1") for info_hash in info_hashes]
    return {"action": "scrape", "info_hash": texts} if texts else {"action": "scrape"}


def is_answer(message: dict, question: dict) -> bool:
    """Whether a message answers a request: by its action, and by its torrent.

    Of a scrape one of the torrents is enough, or none at all: trackers leave out what they do not
    know. So an answer that comes twice is not one to the next request.
    """
    failed = b"failure reason" in message
    if b"offer" in message or b"answer" in message:
        return False
    if failed and b"action" not in message:
        # So says a tracker that did not understand the request.
        return True
    action = question["action"]
    if message.get(b"action") != action.encode("ascii"):
        return False
    if action == "scrape":
        files = message.get(b"files")
        asked = {text.encode("latin-1") for text in question.get("info_hash", ())}
        return not (asked and files and isinstance(files, dict) and asked.isdisjoint(files))
    if failed and b"info_hash" not in message:
        return True
    return message.get(b"info_hash") == question["info_hash"].encode("latin-1")


def read_message(data: bytes) -> dict:
    """Returns a tracker's JSON as the dictionary that bencode.decode() would have returned.

    So what reads the replies of HTTP trackers reads these, too; null and fractions stay as they
    are. Raises Failure (invalid_response) when it is no JSON object.
    """
    try:
        text = data.decode("utf-8")
        numbers = dict.fromkeys(("parse_int", "parse_float", "parse_constant"), parse_number)
        message = to_bytes(json.loads(text, **numbers))
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        shown = repr(data[:80])[1:] if data else "nothing"
        raise Failure("invalid_response", "the message is no JSON object: {}".format(shown))
    return message


def parse_number(text: str):
    """Returns a number of JSON; ValueError for one that nobody counts to, as NaN is."""
    if len(text) > 64 or not abs(float(text)) < float("inf"):
        raise ValueError("no number to count with")
    return float(text) if set(text) & set(".eE") else int(text)


def to_bytes(value, levels: int = 256):
    """Returns a value of JSON with its texts as bytes: their Latin-1 reading, else UTF-8.

    Raises ValueError for one of more levels than bencode.py takes.
    """
    if not levels:
        raise ValueError("nested too deep")
    if isinstance(value, str):
        try:
            return value.encode("latin-1")
        except UnicodeEncodeError:
            return value.encode("utf-8", "surrogatepass")
    if isinstance(value, list):
        return [to_bytes(item, levels - 1) for item in value]
    if isinstance(value, dict):
        return {to_bytes(key): to_bytes(item, levels - 1) for key, item in value.items()}
    return value


# --- end of carried region: websocket ---


# --- carried region: steps (home: http_tracker_client.py) ---
# What steps wait for, and the steps that connect, send and receive.
READ_SIZE = 16 * 1024  # bytes taken at a time, so that one stream cannot hold the others
# The two times between which a certificate is valid, in its DER form (RFC 5280, 4.1.2.5).
VALIDITY = re.compile(
    rb"\x30[\x1e\x20\x22](?:\x17\x0d[0-9]{12}Z|\x18\x0f[0-9]{14}Z)"
    rb"(?:\x17\x0d([0-9]{12})Z|\x18\x0f([0-9]{14})Z)"
)


class Wait(namedtuple("Wait", "events until late")):
    """Steps wait for sockets: events is {socket: selectors.EVENT_READ or EVENT_WRITE}.

    They get back the list of those that are ready, which is empty when the time `until` came
    before (of time.monotonic(), None for none). late is the message of the Failure at the deadline.
    """

    __slots__ = ()


class Lookup(namedtuple("Lookup", "host port version until")):
    """Steps wait for the addresses of a name, as look_up() returns them; until as above."""

    __slots__ = ()

    @property
    def late(self):
        return "{}: the name lookup took too long".format(self.host)


# What an attempt at an address yields once it has reached it: it goes on when it is to ask. It is
# known by its identity, so what stands between an attempt and try_addresses() has to pass it on.
TURN = Wait({}, None, "connected, but its turn did not come")
# Kinds of what a tracker, or a proxy, has said itself: no other address is asked then.
ANSWERS = ("http_status", "failure_reason")


def find_addresses(host: str, port: int, version: int):
    """Steps that return the addresses of a host; Failure (resolve_failed, unreachable, timeout)."""
    if literal_version(host):
        return look_up(host, port, version)
    return (yield Lookup(host, port, version, None))


def try_addresses(addresses: list, attempt, deadline: float):
    """Steps that run attempt(address), steps too, at the addresses of a host, as the Race has it.

    An attempt yields TURN when it has reached its address. They return what the first attempt
    returns that comes to its end. One that fails gives way to the others, unless that is an
    answer; where all fail, the Failure names all.
    """
    race = Race(addresses, time.monotonic(), deadline)
    attempts, waits = {}, {}  # by address: the steps that run there, and what they wait for

    def go_on(address, outcome):
        """Lets an attempt go on; raises StopIteration with what it returns, or a Failure."""
        steps = attempts[address]
        try:
            wait = steps.throw(outcome) if isinstance(outcome, Failure) else steps.send(outcome)
        except Failure as failure:
            del attempts[address]
            waits.pop(address, None)
            if failure.kind in ANSWERS:
                failure.address = show_address(address)
                raise
            race.fail(address, failure, time.monotonic())
        else:
            waits[address] = wait
            if wait is TURN:
                race.reach(address)

    try:
        while True:
            now = time.monotonic()
            address = race.take_due(now)
            if address:
                attempts[address] = attempt(address)
            else:
                address = race.take_leader(now)
            if address:
                go_on(address, None)
                continue
            if not attempts:
                raise race.combined_failure()
            events, times = {}, [race.wake_at]
            for wait in waits.values():
                events.update(wait.events)
                times.append(wait.until)
            until = min((when for when in times if when is not None), default=None)
            try:
                ready = yield Wait(events, until, "no answer in time")
            except Failure as failure:
                # Time is up, or the run is interrupted: each says where it was.
                for address, wait in list(waits.items()):
                    text = wait.late if failure.kind == "timeout" else str(failure)
                    go_on(address, Failure(failure.kind, text))
                # An attempt may not wait again; one that does so is closed below.
                raise race.combined_failure() if race.failures else failure
            for address, wait in list(waits.items()):
                found = [sock for sock in ready if sock in wait.events]
                is_due = wait.until is not None and time.monotonic() >= wait.until
                if found or is_due:
                    go_on(address, found)
    except StopIteration as end:
        return end.value
    finally:
        for steps in attempts.values():
            steps.close()


def connect(address: tuple):
    """Steps that return a Stream to an address; Failure (refused, unreachable, timeout)."""
    try:
        sock = open_socket(address, socket.SOCK_STREAM)
    except OSError as error:
        raise network_failure(error)
    try:
        yield Wait({sock: selectors.EVENT_WRITE}, None, "no answer to the connection")
        number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if number:
            raise network_failure(OSError(number, os.strerror(number)))
    except BaseException:
        # GeneratorExit, too: steps may be given up where they wait.
        sock.close()
        raise
    return Stream(sock, show_address(address))


class Stream:
    """A TCP connection, with TLS or without, whose operations are steps.

    TLS goes through memory (ssl.MemoryBIO), so that it waits where all else does. With it
    certificate_expires is the end of the server's certificate, as a Unix time; None where unknown.
    """

    def __init__(self, sock, address: str):
        self.sock = sock
        self.address = address
        self.certificate_expires = None
        self._tls = self._incoming = self._outgoing = None

    def close(self) -> None:
        self.sock.close()

    def send(self, data: bytes):
        """Steps that send all of data; they raise Failure (timeout, invalid_response)."""
        if self._tls:
            self._tls.write(data)
            data = self._outgoing.read()
        try:
            yield from self._send(data, "the request was not taken in time")
        except OSError as error:
            raise broken_off(error)

    def receive(self):
        """Steps that return what came next, 16 KiB at most, b"" at the end of the connection.

        They raise Failure (timeout, invalid_response).
        """
        late = "no whole reply in time"
        try:
            if not self._tls:
                return (yield from self._receive(late))
            import ssl

            while True:
                try:
                    return self._tls.read(READ_SIZE)
                except ssl.SSLWantReadError:
                    yield from self._exchange(late)
                except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                    # Many servers close without saying so to TLS.
                    return b""
        except OSError as error:
            raise broken_off(error)

    def start_tls(self, host: str, tls: "Tls"):
        """Steps that put TLS on the connection; they raise Failure (tls, timeout)."""
        # Certificates know neither the scope of an address nor the dot that may end a name.
        name = host.partition("%")[0].rstrip(".")
        try:
            import ssl

            context = tls.context()
            self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
            late = "no TLS handshake in time"
            while True:
                try:
                    self._tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    yield from self._exchange(late)
            yield from self._send(self._outgoing.read(), late)
            self.certificate_expires = certificate_end(self._tls.getpeercert(binary_form=True))
        except (OSError, ValueError, ImportError) as error:
            reason = getattr(error, "verify_message", None) or str(error)
            raise Failure("tls", "TLS: {}".format(excerpt(reason)))

    def _exchange(self, late):
        """Steps that send what TLS has to say and hand it what came."""
        yield from self._send(self._outgoing.read(), late)
        data = yield from self._receive(late)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _send(self, data, late):
        unsent = memoryview(data)
        while unsent:
            try:
                unsent = unsent[self.sock.send(unsent) :]
            except BlockingIOError:
                yield Wait({self.sock: selectors.EVENT_WRITE}, None, late)

    def _receive(self, late):
        while True:
            # Before each read, so that others get their turn in between.
            yield Wait({self.sock: selectors.EVENT_READ}, None, late)
            try:
                return self.sock.recv(READ_SIZE)
            except BlockingIOError:
                pass


def certificate_end(der: bytes):
    """Returns until when a certificate is valid, as a Unix time, None where it does not say.

    Of its DER form, since with --insecure the ssl module tells nothing else.
    """
    from datetime import datetime, timezone

    found = VALIDITY.search(der or b"")
    if not found:
        return None
    short, full = found.groups()
    # A year of two digits is one from 1950 to 2049.
    digits = (full or (b"19" if short >= b"50" else b"20") + short).decode("ascii")
    parts = [digits[:4]] + [digits[at : at + 2] for at in range(4, 14, 2)]
    try:
        return int(datetime(*map(int, parts), tzinfo=timezone.utc).timestamp())
    except ValueError:
        return None


def broken_off(error: OSError) -> "Failure":
    """Returns the Failure for a connection that broke off after it stood."""
    text = "the connection broke off: {}".format(error.strerror or error)
    return Failure("invalid_response", text)


class Tls:
    """The one TLS context of a run, made when first asked for: loading certificates is slow."""

    def __init__(self, cacert=None, insecure=False):
        self.cacert = cacert
        self.insecure = insecure
        self._context = None

    def context(self):
        """Returns the context; raises OSError when the certificates cannot be loaded."""
        import ssl

        if self._context is None:
            context = ssl.create_default_context(cafile=self.cacert)
            if self.insecure:
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            self._context = context
        return self._context


# --- end of carried region: steps ---


# --- carried region: http options (home: http_tracker_client.py) ---
def parse_header(text: str) -> tuple:
    """Returns (name, value) of a header given as 'Name: value', or raises ValueError."""
    name, colon, value = text.partition(":")
    token = NAME_CHARACTERS | set("!#$%&'*+.^`|~")
    if not (colon and name and token.issuperset(name)):
        raise ValueError("{!r} is not a header; 'Name: value' is expected".format(text))
    return name, parse_header_value(value.strip())


def parse_header_value(text: str) -> str:
    """Returns the value of a header as the Latin-1 reading of its UTF-8, or raises ValueError."""
    if not text.isprintable():
        raise ValueError("{!r} has characters that no header can have".format(text))
    return text.encode("utf-8").decode("latin-1")


def parse_cacert(text: str) -> str:
    """Returns the name of a file of certificates that can be loaded, or raises ValueError."""
    import ssl

    try:
        ssl.create_default_context(cafile=text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ValueError("{!r} has no certificates: {}".format(text, reason))
    return text


def add_http_options(parser, user_agent: str) -> None:
    """Adds the options that have to do with HTTP alone."""
    add = parser.add_argument
    value = argument_type(parse_header_value)
    add("--user-agent", type=value, default=user_agent, help="default " + user_agent)
    add(
        "--header",
        metavar="'NAME: VALUE'",
        type=argument_type(parse_header),
        action="append",
        default=[],
        help="a further header; can be given several times",
    )
    cacert = argument_type(parse_cacert)
    add("--cacert", metavar="FILE", type=cacert, help="trust the certificates in it alone")
    add("--insecure", action="store_true", help="do not verify certificates")


def http_options_of(arguments) -> "HttpOptions":
    """Returns what the arguments say of HTTP, with the proxies of the environment."""
    return HttpOptions(
        ip_version=arguments.ip_version,
        user_agent=arguments.user_agent,
        headers=arguments.header,
        tls=Tls(arguments.cacert, arguments.insecure),
        environ=os.environ,
        trace=trace_for(arguments),
    )


# --- end of carried region: http options ---


# --- carried region: parser (home: udp_tracker_client.py) ---
def new_parser(prog: str, usage: str, description: str, examples: str):
    """Returns an argparse parser with one line for a usage error and no abbreviated options."""
    import argparse

    class Parser(argparse.ArgumentParser):
        def error(self, message):
            _, missing, names = message.partition("arguments are required: ")
            if missing:
                expected = self.usage % {"prog": self.prog}
                message = "{} missing; {} is expected".format(names, expected)
            write_stderr("{}: error: {} (see --help)".format(self.prog, escape(message)))
            raise SystemExit(2)

        def print_help(self, file=None):
            write_stdout(self.format_help())

    parser = Parser(
        prog=prog,
        usage=usage,
        description=description,
        epilog=examples,
        formatter_class=lambda prog: argparse.RawDescriptionHelpFormatter(prog, width=80),
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    return parser


def tie_options(parser, argv: list) -> tuple:
    """Splits argv into options, each tied to its value as in --key=-4, and positional arguments.

    argparse would take `--key -4` for two options, and before 3.7 it cannot have options amid a
    list of positional arguments. Which options take a value is asked of the parser.
    """
    known = parser._option_string_actions
    options, positionals, words = [], [], iter(argv)

    def takes_value(name):
        return name in known and known[name].nargs != 0

    def tie(name, value):
        options.append(name if value is None else "{}={}".format(name, value))

    for word in words:
        if word == "--":
            positionals.extend(words)
        elif word == "-" or not word.startswith("-"):
            positionals.append(word)
        elif word.startswith("--"):
            tie(word, next(words, None) if takes_value(word) else None)
        else:
            # Short options may stand together, the last with its value: -vo FILE, -voFILE.
            for position, letter in enumerate(word[1:], 2):
                name = "-" + letter
                if takes_value(name):
                    tie(known[name].option_strings[-1], word[position:] or next(words, None))
                    break
                options.append(name)
    return options, positionals


def parse_tied(parser, options: list, positionals: list):
    """Returns the namespace for what tie_options() returned; --version ends the command."""
    if "--version" in options:
        write_stdout("{} {}\n".format(parser.prog, VERSION))
        raise SystemExit(0)
    for option in options:
        require_option(parser, option.partition("=")[0])
    if "--" in positionals or any(option.endswith("=--") for option in options):
        # argparse would make an empty list of it.
        parser.error("'--' is no value that anything has")
    return parser.parse_args(options + ["--"] + positionals)


def require_option(parser, name: str) -> None:
    """Ends in a usage error for an option that the parser has not, naming one that is near."""
    known = parser._option_string_actions
    if name not in known:
        import difflib

        near = [option for option in known if option.startswith(name)]
        if name == "-V":
            # Many other commands have that; -v is something else here.
            near = ["--version"]
        near = near or difflib.get_close_matches(name, known, 1, cutoff=0.75)
        hint = "; did you mean {}?".format(near[0]) if near else ""
        parser.error("there is no option {}{}".format(name, hint))


def argument_type(parse):
    """Makes an argparse type of a function that raises ValueError with what was expected."""

    def parse_argument(text):
        try:
            return parse(text)
        except ValueError as error:
            import argparse

            raise argparse.ArgumentTypeError(str(error))

    return parse_argument


# --- end of carried region: parser ---


# --- carried region: options (home: udp_tracker_client.py) ---
DIGITS = frozenset("0123456789")
HEX_DIGITS = DIGITS | frozenset("abcdefABCDEF")
BASE32_DIGITS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ234567")
# White space, and what is pasted along unseen: controls, direction marks, characters of no width.
BLANKS = "".join(
    chr(code)
    for first, last in (
        "\0 ", "\x7f\xa0", "\xad\xad", "\u061c\u061c", "\u1680\u1680", "\u180e\u180e",
        "\u2000\u200f", "\u2028\u202f", "\u205f\u206f", "\u3000\u3000", "\ufe00\ufe0f",
        "\ufeff\ufeff",
    )
    for code in range(ord(first), ord(last) + 1)
)


def whole_number(low: int, high: int):
    """Returns an argparse type for whole numbers from low to high."""

    def parse(text):
        digits = text[1:] if text[:1] in ("+", "-") else text
        # Checked before int() sees it, which takes the digits of every script and underscores.
        if digits and DIGITS.issuperset(digits) and len(digits) < 30 and low <= int(text) <= high:
            return int(text)
        raise ValueError("{!r} is not a whole number from {} to {}".format(text, low, high))

    return argument_type(parse)


def seconds(low: float, high: float):
    """Returns an argparse type for seconds from low, or above it where it is 0, to high."""

    def parse(text):
        if re.match(r"\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?\Z", text, re.IGNORECASE):
            if 0 < float(text) and low <= float(text) <= high:
                return float(text)
        bounds = "from {} to".format(low) if low else "above 0, at most"
        raise ValueError("{!r} is not a number of seconds {} {:.0f}".format(text, bounds, high))

    return argument_type(parse)


TIMEOUT_COVERS = "total time allowed, name lookup and resends included"


def add_network_options(parser, timeout: int, covers: str = TIMEOUT_COVERS) -> None:
    """Adds the options that every command on the network has; timeout is the default, in s.

    covers says what it is the time of.
    """
    parser.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is done")
    parser.add_argument(
        "--timeout",
        type=seconds(0, 86400),
        default=timeout,
        metavar="SECONDS",
        help="{} (default {})".format(covers, timeout),
    )
    families = parser.add_mutually_exclusive_group()
    for version in (4, 6):
        families.add_argument(
            "-{}".format(version),
            "--ipv{}".format(version),
            dest="ip_version",
            action="store_const",
            const=version,
            help="use IPv{} only".format(version),
        )


def trace_for(arguments):
    """Returns the function that says on stderr what is done, None without --verbose."""
    return (lambda text: write_stderr(escape(text))) if arguments.verbose else None


def is_hex(text: str, digits: int) -> bool:
    return len(text) == digits and HEX_DIGITS.issuperset(text)


def parse_info_hash(text: str) -> bytes:
    """Returns an info hash, or that of a magnet link, as the 20 bytes that trackers know.

    40 hex digits or 32 base32 characters (BEP 9), or 64 hex digits of version 2, of which BEP 52
    sends the first 20 bytes. In a magnet link of a hybrid torrent the version 1 hash counts.
    Raises ValueError for anything else.
    """
    given, text = text, text.strip(BLANKS)
    if is_magnet(text):
        values = magnet_values(text, "xt")
        topics = [value.replace("%3A", ":").replace("%3a", ":") for value in values]
    else:
        topics = ["urn:btih:" + text, "urn:btmh:1220" + text, text]
    for prefix, sizes in (("urn:btih:", (40, 32)), ("urn:btmh:1220", (64,))):
        for topic in topics:
            digits = topic[len(prefix) :]
            if topic.lower().startswith(prefix) and len(digits) in sizes and decode_hash(digits):
                return decode_hash(digits)
    if text.lower().endswith(".torrent") or ("\0" not in text and os.path.isfile(text)):
        message = "{!r} is not an info hash but a file; bencode.py --info-hash FILE prints its own"
        raise ValueError(message.format(given))
    if is_magnet(text):
        found = "a magnet link without one that is known"
    else:
        what = "hex digits" if HEX_DIGITS.issuperset(text) else "characters"
        found = "{} {} were given".format(len(text), what)
    raise ValueError(
        "{!r} is not an info hash: {}; 40 hex digits, 32 base32 characters, 64 hex digits "
        "(version 2) or a magnet link with xt=urn:btih: are expected".format(given, found)
    )


def is_magnet(text: str) -> bool:
    return re.match(r"magnet:(///)?\?", text, re.IGNORECASE) is not None


def magnet_values(text: str, key: str) -> list:
    """Returns the values that a magnet link has for a key, as xt, and for xt.1, xt.2 and so on.

    Keys are in any case, and the link may be out of the source of a page, with &amp; for &.
    """
    query = text.partition("?")[2].replace("&amp;", "&")
    parts = [part.partition("=") for part in query.split("&")]
    numbered = re.compile(key + r"(\.[0-9]+)?\Z", re.IGNORECASE)
    return [value for name, _, value in parts if numbered.match(name)]


def decode_hash(text: str) -> bytes:
    """Returns 20 bytes for an info hash in hex or base32, None for what is neither."""
    if is_hex(text, 40) or is_hex(text, 64):
        return bytes.fromhex(text)[:20]
    if len(text) == 32 and BASE32_DIGITS.issuperset(text):
        import base64

        return base64.b32decode(text.upper())
    return None


# --- end of carried region: options ---


# --- carried region: urls (home: udp_tracker_client.py) ---
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
HOST_CHARACTERS = NAME_CHARACTERS | {"."}
SCHEME_CHARACTERS = NAME_CHARACTERS - {"_"} | {"+", "."}

# credentials, port and query are None where the URL has none; path and query are as given.
Url = namedtuple("Url", "scheme credentials host port path query")


def split_url(text: str) -> Url:
    """Checks a URL and splits it; the host comes out in ASCII, an IPv6 one without brackets.

    Raises ValueError, with what was wrong and what is expected.
    """
    require_url_characters(text)
    scheme, separator, rest = text.partition("://")
    if not (separator and scheme[:1].isalpha() and SCHEME_CHARACTERS.issuperset(scheme)):
        raise ValueError("no scheme; a URL like udp://host:port or http://host/ is expected")
    authority = rest.split("/")[0].split("?")[0].split("#")[0]
    credentials, at_sign, location = authority.rpartition("@")
    literal, bracket, tail = location.rpartition("]")
    name, _, port = tail.partition(":")
    if ":" in port or (bracket and (name or not literal.startswith("["))):
        raise ValueError(
            "host:port is expected, an IPv6 address in brackets, as [2001:db8::1]:6969"
        )
    if port and not (DIGITS.issuperset(port) and len(port) < 6 and 0 < int(port) < 65536):
        raise ValueError("port {!r} is not a number from 1 to 65535".format(port))
    path, question_mark, query = rest[len(authority) :].partition("#")[0].partition("?")
    return Url(
        scheme.lower(),
        credentials if at_sign else None,
        parse_host(literal[1:] if bracket else name, bool(bracket)),
        int(port) if port else None,
        path,
        query if question_mark else None,
    )


def require_url_characters(text: str) -> None:
    """Raises ValueError for what no URL has; before it is parsed, so that no request is forged."""
    if not text.isprintable() or " " in text or "\\" in text:
        raise ValueError("a URL has no spaces, control characters or backslashes")


def parse_host(host: str, bracketed: bool) -> str:
    """Returns the host in ASCII: an IPv6 literal (its scope after a %) or an IDNA name.

    Raises ValueError when it is neither.
    """
    if bracketed:
        address, percent, scope = host.partition("%")
        if scope.startswith("25") and len(scope) > 2:
            scope = scope[2:]
        known = scope and (HOST_CHARACTERS | {"~"}).issuperset(scope)
        if literal_version(address) != 6 or (percent and not known):
            raise ValueError("{!r} is not an IPv6 address".format(host))
        return address + percent + scope
    # The codec takes minutes for long names.
    if host and max(host) > "\x7f" and len(host) < 255:
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError:
            raise ValueError("{!r} is not a host name".format(host))
    lengths = [len(label) for label in (host[:-1] if host.endswith(".") else host).split(".")]
    known = HOST_CHARACTERS.issuperset(host)
    if not (known and len(host) < 255 and 0 < min(lengths) and max(lengths) < 64):
        raise ValueError("{!r} is not a host name or an address".format(host))
    return host


def encode_path(path: str, query: str) -> str:
    """Returns path and query (None or "" for none) of a URL in ASCII, the rest as %XX of UTF-8."""
    text = path + "?" + query if query else path
    if max(text, default="") < "\x7f":
        return text
    return "".join(
        chr(byte) if byte < 0x7F else "%{:02X}".format(byte)
        for byte in text.encode("utf-8", "replace")
    )


def text_of(value) -> str:
    """Returns a text that a tracker sent: UTF-8, else Latin-1."""
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


# --- end of carried region: urls ---


# --- carried region: addresses (home: udp_tracker_client.py) ---
def literal_version(host: str):
    """Returns the IP version of an address literal, 4 or 6; None for a name."""
    version = 6 if ":" in host else 4
    family = socket.AF_INET6 if version == 6 else socket.AF_INET
    try:
        socket.inet_pton(family, host.partition("%")[0])
    except (OSError, ValueError):
        return None
    return version


def show_address(address: tuple) -> str:
    """Returns a socket address as 198.51.100.7:6969 or [2001:db8::1]:6969."""
    return ("[{}]:{}" if ":" in address[0] else "{}:{}").format(address[0], address[1])


def look_up(host: str, port: int, version: int) -> list:
    """Returns the addresses of a host, in the order the system would try them.

    version is 4 or 6, None for both. Each is a socket address: (IPv4 address, port) or (IPv6
    address, port, flow, scope). This blocks, for a name as long as the system's resolver takes.
    Raises Failure (resolve_failed, unreachable).
    """
    literal = literal_version(host)
    if literal and version not in (None, literal):
        raise Failure("unreachable", "{} is not an IPv{} address".format(host, version))
    if literal == 4:
        return [(host, port)]
    family = {4: socket.AF_INET, 6: socket.AF_INET6}.get(version, socket.AF_UNSPEC)
    flags = socket.AI_NUMERICHOST if literal else 0
    try:
        # One kind of socket, for UDP too: else each address comes once for each kind.
        found = socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, flags)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "not a name that can be looked up"
        raise Failure("resolve_failed", "{}: {}".format(host, reason))
    addresses = []
    for _, _, _, _, address in found:
        if address[0].lower().startswith("::ffff:") and "." in address[0]:
            # An IPv4-mapped address is the IPv4 network in another notation.
            address = (address[0][7:], port)
        if address not in addresses:
            addresses.append(address)
    return addresses


def open_socket(address: tuple, kind: int):
    """Returns a socket of a kind (SOCK_STREAM, SOCK_DGRAM) that does not block; it is connected,
    or being connected, to the address. Raises OSError.
    """
    sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, kind)
    try:
        sock.setblocking(False)
        sock.connect(address)
    except BlockingIOError:
        pass
    except OSError:
        sock.close()
        raise
    return sock


def network_failure(error: OSError) -> "Failure":
    """Returns the Failure that stands for what the network said to a socket."""
    if isinstance(error, (ConnectionRefusedError, ConnectionResetError)):
        return Failure("refused", "connection refused")
    if error.errno == errno.ETIMEDOUT:
        return Failure("timeout", "the system waited for an answer in vain")
    return Failure("unreachable", "unreachable: {}".format(error.strerror or error))


class Race:
    """Which of a host's addresses is tried when, over UDP and TCP alike; no I/O and no clock.

    The first address is due at once, the next a quarter of a second after the one before or as
    soon as one has failed (the way of RFC 8305), so that a dead address does not hide a live one.
    The first that is reached leads: it is asked what the user wants to know. When it fails, or
    has said nothing for a quarter of the time that was left, the next one that was reached is
    asked as well, and any answer counts.

    due_at is when the next address is due, None where none is left; wake_at when something is due
    at all. failures has [(address, Failure)] in the order in which they failed. Times are seconds
    of any one clock.
    """

    HEAD_START = 0.25
    PATIENCE = 0.25  # of the time that is left

    __slots__ = "waiting head_start deadline due_at reached asked patience_ends failures".split()

    def __init__(self, addresses: list, now: float, deadline: float):
        self.waiting = tuple(addresses)
        # However little time there is, all get their turn in the first half of it.
        self.head_start = min(self.HEAD_START, max(0, deadline - now) / (2 * len(addresses)))
        self.deadline = deadline
        self.due_at = now
        self.reached = ()  # those that are not asked yet
        self.asked = ()
        self.patience_ends = now
        self.failures = ()

    @property
    def wake_at(self) -> float:
        """When take_due() or take_leader() has something, None while nothing is to be had."""
        times = [self.due_at] if self.due_at is not None else []
        if self.reached:
            times.append(self.patience_ends)
        return min(times, default=None)

    def take_due(self, now: float):
        """Returns the address that is to be tried now, None while there is none."""
        if self.due_at is None or now < self.due_at:
            return None
        address, self.waiting = self.waiting[0], self.waiting[1:]
        self.due_at = now + self.head_start if self.waiting else None
        return address

    def take_leader(self, now: float):
        """Returns the address that is to be asked now, None while there is none."""
        if not self.reached or now < self.patience_ends:
            return None
        address, self.reached = self.reached[0], self.reached[1:]
        self.asked += (address,)
        self.patience_ends = now + (self.deadline - now) * self.PATIENCE
        return address

    def reach(self, address: tuple) -> None:
        """Notes that a connection to an address stands."""
        self.reached += (address,)

    def fail(self, address: tuple, failure: "Failure", now: float) -> None:
        """Notes that an address has failed, and for what reason."""
        self.failures += ((address, failure),)
        self.reached = tuple(other for other in self.reached if other != address)
        self.asked = tuple(other for other in self.asked if other != address)
        if not self.asked:
            self.patience_ends = now
            if self.waiting and not self.reached:
                self.due_at = now

    def stop(self) -> None:
        """Tries and asks no further address."""
        self.waiting = self.reached = ()
        self.due_at = None

    def combined_failure(self) -> "Failure":
        """Returns one Failure for all: of the kind of the last; where they differ it names each."""
        kind = self.failures[-1][1].kind
        texts = [str(failure) for _, failure in self.failures]
        if len(set(texts)) > 1:
            texts = [
                "{}: {}".format(show_address(address), failure)
                for address, failure in self.failures
            ]
            return Failure(kind, "; ".join(texts))
        return Failure(kind, texts[0])


# --- end of carried region: addresses ---


# --- carried region: output (home: udp_tracker_client.py) ---
class Failure(Exception):
    """Why a request has no answer: `kind` is a word for programs, the text is for people.

    address, as text, is where it was said, None where that does not matter.
    """

    def __init__(self, kind, message, address=None):
        super().__init__(message)
        self.kind = kind
        self.address = address

    def copy(self, before: str = "") -> "Failure":
        """Returns the same without its traceback, which keeps sockets and buffers; text before."""
        return Failure(self.kind, before + str(self), self.address)


def escape(text: str) -> str:
    """Returns text with control characters, direction marks and the like written as escapes."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def to_json_text(value, pretty: bool) -> str:
    """Returns value as ASCII JSON: indented by two spaces, or on one line without spaces."""
    if pretty:
        return json.dumps(value, indent=2)
    return json.dumps(value, separators=(",", ":"))


def write_stdout(text: str) -> bool:
    """Writes text to stdout, whole and at once; a reader that has gone away is not an error.

    Returns whether there is a reader. Raises Failure (output_failed) when it cannot be written, as
    on a full disk.
    """
    try:
        if sys.stdout is None:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        # Not by sys.stdout.write(): where stdout is unbuffered or does not block, that drops what
        # is not taken at the first try.
        raw = getattr(sys.stdout.buffer, "raw", sys.stdout.buffer)
        left = memoryview(text.encode(sys.stdout.encoding, "backslashreplace"))
        while left:
            written = raw.write(left)
            if written is None:
                import select

                select.select([], [raw], [])
            left = left[written or 0 :]
        return True
    except BrokenPipeError:
        return False
    except OSError as error:
        raise Failure("output_failed", "cannot write to stdout: {}".format(error.strerror))


def write_stderr(text: str, end: str = "\n") -> None:
    """Writes a line to stderr; there is no place left to complain when that fails."""
    try:
        if sys.stderr is not None:
            sys.stderr.write(text + end)
            sys.stderr.flush()
    except OSError:
        pass


def write_record(name: str, **fields) -> None:
    """Writes {name: fields} to stderr as one line of compact JSON."""
    write_stderr(to_json_text({name: fields}, pretty=False))


def run_and_exit(main) -> None:
    """Runs main(arguments) as a command and ends the process with the exit code it returns.

    Ctrl-C and SIGTERM end it at once, with 130 and 143, unless main() handles them itself.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda caught, frame: os._exit(128 + caught))
    try:
        code = main(sys.argv[1:])
    except SystemExit as stop:
        code = stop.code
    except Failure as failure:
        write_record("error", kind=failure.kind, source="stdout", message=str(failure))
        code = 1
    # Not sys.exit: a thread that hangs in a name lookup must not hold the exit, and what stdout
    # could not take would be tried again, with a traceback.
    os._exit(code or 0)


# --- end of carried region: output ---


if __name__ == "__main__":
    run_and_exit(main)
