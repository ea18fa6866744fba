# SPDX-License-Identifier: LGPL-3.0-only
"""Trackers with orders, numbers and troubles of their own against the surveys of `swarms`.

A case is (survey, torrents, counts, order, length, troubles, questions at a time, seed): which of
SURVEYS, how many torrents, what the tracker counts for them (of COUNTS), in which of ORDERS its
entries come and how many (of LENGTHS), what else happens to a reply ({of TROUBLES: how often, from
0 to 1}), and the seed of all that is left to chance.

Whatever the tracker does, each torrent has one outcome in the end. Where it says the truth, in
whatever order, no count is wrong; where nothing else happens either, none is missing.
"""
import random

from mutate import below, pick
from tracker_checker import NOT_LISTED, UDP, WS, Failure, Survey, Target, Torrent, UdpSurvey

MOST_TORRENTS = 500
HASHES = [bytes([number % 251]) * 12 + number.to_bytes(8, "big") for number in range(MOST_TORRENTS)]
random.Random(1).shuffle(HASHES)
NUMBERS = (1, 2, 3, 5, 9, 10, 11, 30, 69, 70, 71, 72, 140, 142, 211, 300, MOST_TORRENTS)
UDP_TRACKER = Target(UDP, "udp://tracker.example:1", None, "tracker.example", 1, "key")
WS_TRACKER = Target(WS, "ws://tracker.example/", "ws://tracker.example/", "a", 80, "key")
ZEROS = (0, 0, 0)
PER_REQUEST = 70


# What a tracker counts: functions of the torrent's number and the generator of random numbers.

COUNTS = {
    "distinct": lambda number, rng: (number, 2 * number, 3 * number),
    "alike": lambda number, rng: ZEROS,
    "few": lambda number, rng: (pick(rng, (0, 0, 0, 1)), 0, pick(rng, (0, 0, 1))),
    "one in 70": lambda number, rng: (int(number % 70 == 5), 0, 0),
    "mostly dead": lambda number, rng: (below(rng, 9) if rng.random() < 0.05 else 0, 0, 0),
    "two": lambda number, rng: (below(rng, 2), 0, 0),
    "alternating": lambda number, rng: (number % 2, 0, 0),
    "mirrored": lambda number, rng: (min(number % 70, 69 - number % 70), 0, 0),
    "halves": lambda number, rng: (number % 70 // 35, 0, 0),
    "negative": lambda number, rng: (-below(rng, 3), 2 ** 31 - 1, -1),
    "made up": lambda number, rng: tuple(
        below(rng, pick(rng, (1, 1, 2, 8, 100))) for _ in range(3)
    ),
}


# The order of a reply: functions of the hashes asked for, the counts, the generator of random
# numbers and a key that is the same for all replies; they return the hashes in another order.


def in_shards(hashes, counts, rng, key):
    """As where each worker of a tracker answers for its own torrents."""
    shards = 2 + key % 5
    return sorted(hashes, key=lambda each: each[-1] % shards)


def as_a_map_has_them(hashes, counts, rng, key):
    """As where they went through a map that has another order each time, but for small ones."""
    buckets = max(1, len(hashes) // 8)
    salt = rng.getrandbits(30)
    start = below(rng, 8)
    numbered = enumerate(hashes)
    return [
        each for _, _, each in sorted(
            (hash((salt, each)) % buckets, (number + start) % 8, each) for number, each in numbered
        )
    ]


def by_position(hashes, counts, rng, key):
    """The same jumble each time, whatever is asked for."""
    return random.Random(key).sample(hashes, len(hashes))


def rotated(hashes, counts, rng, key):
    start = key % len(hashes)
    return hashes[start:] + hashes[:start]


ORDERS = {
    "that of the request": lambda hashes, counts, rng, key: hashes,
    "reversed": lambda hashes, counts, rng, key: hashes[::-1],
    "sorted": lambda hashes, counts, rng, key: sorted(hashes),
    "sorted by another key": lambda hashes, counts, rng, key: sorted(
        hashes, key=lambda each: (int.from_bytes(each, "big") * (2 * key + 1)) % 2 ** 160
    ),
    "random": lambda hashes, counts, rng, key: rng.sample(hashes, len(hashes)),
    "by size": lambda hashes, counts, rng, key: sorted(hashes, key=counts.get, reverse=True),
    "in shards": in_shards,
    "as a map has them": as_a_map_has_them,
    "by position": by_position,
    "even ones first": lambda hashes, counts, rng, key: hashes[::2] + hashes[1::2],
    "odd ones first": lambda hashes, counts, rng, key: hashes[1::2] + hashes[::2],
    "neighbours swapped": lambda hashes, counts, rng, key: [
        each for at in range(0, len(hashes), 2) for each in hashes[at : at + 2][::-1]
    ],
}
# Orders that no tracker is known to have, and that a proof does not see through each time: those
# of which there are but a few, or that only some requests show. They are not drawn; a case can
# name them.
UNPROVED_ORDERS = {
    "ends swapped": lambda hashes, counts, rng, key: (
        hashes[-1:] + hashes[1:-1] + hashes[:1] if len(hashes) > 1 else hashes
    ),
    "rotated": rotated,
    "rotated at random": lambda hashes, counts, rng, key: rotated(
        hashes, counts, rng, below(rng, len(hashes))
    ),
    "the living first": lambda hashes, counts, rng, key: sorted(
        hashes, key=lambda each: counts[each] == ZEROS
    ),
}

# Which of the hashes a reply has entries for, before they are put in order: functions of those
# that were asked for, and the counts.
LENGTHS = {
    "all": lambda hashes, counts: hashes,
    "50 at most": lambda hashes, counts: hashes[:50],
    "10 at most": lambda hashes, counts: hashes[:10],
    "those known": lambda hashes, counts: [each for each in hashes if counts[each] != ZEROS],
    "all but the last": lambda hashes, counts: hashes[:-1] if len(hashes) > 1 else hashes,
    "one too many": lambda hashes, counts: hashes + hashes[:1] if len(hashes) > 1 else hashes,
    "none": lambda hashes, counts: [],
}
SURVEYS = ("udp", "udp", "named")
TROUBLES = ("refused", "silent", "broken", "late", "doubled", "changed", "junk", "ended")
FAILURES = {
    "refused": Failure("tracker_error", "the tracker says 'no'"),
    "silent": Failure("timeout", "no reply to scrape (sent 6 times)"),
    "broken": Failure("invalid_response", "a reply of 8 bytes"),
    "ended": Failure("interrupted", "interrupted"),
}


def generate(rng):
    troubles = {}
    for _ in range(pick(rng, (0, 0, 1, 2, 3))):
        troubles[pick(rng, TROUBLES)] = pick(rng, (0.002, 0.02, 0.1, 0.3, 0.9))
    return (
        pick(rng, SURVEYS),
        pick(rng, NUMBERS),
        pick(rng, list(COUNTS)),
        pick(rng, list(ORDERS)),
        pick(rng, list(LENGTHS)) if not below(rng, 3) else "all",
        troubles,
        pick(rng, (1, 2, 8, 8)),
        rng.getrandbits(30),
    )


class Tracker:
    """A tracker that answers in its own way; truths has all that it ever counted for a torrent."""

    def __init__(self, counts, order, length, rng, key):
        self.counts = counts
        self.order = dict(ORDERS, **UNPROVED_ORDERS)[order]
        self.length = LENGTHS[length]
        self.rng = rng
        self.key = key
        self.truths = {info_hash: {found} for info_hash, found in counts.items()}

    def change(self):
        info_hash = pick(self.rng, list(self.counts))
        self.counts[info_hash] = tuple(below(self.rng, 5) for _ in range(3))
        self.truths[info_hash].add(self.counts[info_hash])

    def entries(self, hashes):
        """Returns [(info hash, counts)] as they come in its reply."""
        found = self.length(list(hashes), self.counts)
        if found:
            found = self.order(found, self.counts, self.rng, self.key)
        return [(each, self.counts[each]) for each in found]


class Observed:
    """A survey and who asks for it, with a look at the promises."""

    def __init__(self, survey, hashes, tracker, troubles, rng):
        self.named = survey == "named"
        self.tracker = tracker
        self.troubles = troubles
        self.rng = rng
        self.outcomes = {}
        self.asked = 0
        self.seen = set()  # of TROUBLES
        self.late = []
        torrents = [Torrent(info_hash, None) for info_hash in hashes]
        self.target = WS_TRACKER if self.named else UDP_TRACKER
        for torrent in torrents:
            torrent.ask_at((self.target,))
        if self.named:
            room = 1 + below(rng, 120)
            cost = pick(rng, (lambda info_hash: 1, lambda info_hash: 20 + info_hash[0] % 40))
            self.survey = Survey(self.target, torrents, room, cost, self.settle)
        else:
            self.survey = UdpSurvey(self.target, torrents, self.settle)

    def settle(self, torrent, tracker, outcome):
        assert tracker is self.target
        assert torrent.info_hash not in self.outcomes, "a second outcome"
        self.outcomes[torrent.info_hash] = outcome

    def run(self, at_a_time):
        """Asks to the end, as many as that at a time; replies come in any order."""
        under_way = []
        asking = at_a_time
        while True:
            while len(under_way) < asking:
                question = self.survey.next_question()
                if question is None:
                    break
                self.look_at(question)
                under_way.append(question)
            if self.named:
                # Whoever has found nothing to ask does not come again.
                asking = len(under_way)
            if not under_way:
                break
            self.answer(under_way.pop(below(self.rng, len(under_way))))
            if self.survey.given_up:
                for question in under_way:
                    # What is still to come is nobody's.
                    self.take(question)
                break
        for question in self.late:
            self.take(question)
        assert self.survey.next_question() is None

    def look_at(self, question):
        hashes = question.info_hashes
        assert hashes and len(hashes) == len(set(hashes))
        assert self.named or len(hashes) <= PER_REQUEST
        self.asked += 1

    def happens(self, trouble):
        if self.rng.random() >= self.troubles.get(trouble, 0):
            return False
        self.seen.add(trouble)
        return True

    def answer(self, question):
        if self.happens("changed"):
            self.tracker.change()
        if self.happens("ended"):
            self.survey.give_up(FAILURES["ended"])
        elif self.happens("refused"):
            self.survey.refuse(question, FAILURES["refused"])
        elif self.happens("silent"):
            self.survey.fail(question, FAILURES["silent"])
        elif self.happens("broken"):
            self.survey.fail(question, FAILURES["broken"])
        elif self.happens("late"):
            self.survey.fail(question, FAILURES["silent"])
            self.late.append(question)
        else:
            self.take(question)
            if self.happens("doubled"):
                self.take(question)
        if self.late and not below(self.rng, 3):
            self.take(self.late.pop())

    def take(self, question):
        """Hands the survey the tracker's reply."""
        found = self.tracker.entries(question.info_hashes)
        if self.happens("junk"):
            found = self.spoil(found)
        if self.named:
            self.survey.take_counts(question, dict(found))
        else:
            self.survey.take_entries(question, [counts for _, counts in found])

    def spoil(self, found):
        """Returns a reply that is not true."""
        rng = self.rng
        number = pick(rng, (len(found), len(found), below(rng, 200)))
        values = [(below(rng, 2), 0, 0), (-1, 2 ** 31 - 1, 0), (None, None, None), (1, None, 0)]
        return [(pick(rng, HASHES), pick(rng, values)) for _ in range(number)]


def check(case):
    survey, number, counts, order, length, troubles, at_a_time, seed = case
    rng = random.Random(seed)
    start = below(rng, MOST_TORRENTS - number + 1)
    hashes = HASHES[start : start + number]
    make = COUNTS[counts]
    known = {info_hash: make(index, rng) for index, info_hash in enumerate(hashes)}
    tracker = Tracker(known, order, length, rng, rng.getrandbits(30))
    observed = Observed(survey, hashes, tracker, troubles, rng)
    observed.run(at_a_time)
    outcomes = observed.outcomes
    assert set(outcomes) == set(hashes), "a torrent without an outcome"
    # Each of them once in a batch, in three proofs at most, and by itself.
    assert observed.asked <= 2 * number + 20, "asked too often"
    if "junk" in observed.seen:
        return "junk among the replies"
    failed = 0
    for info_hash, outcome in outcomes.items():
        if isinstance(outcome, Failure):
            failed += 1
        elif length == "none":
            assert outcome is NOT_LISTED
        else:
            assert tuple(outcome) in tracker.truths[info_hash], "a wrong count"
    if not observed.seen - {"changed", "doubled"}:
        assert not failed, "a count is missing"
        return "all counts, over " + survey
    return "some failed" if failed else "all counts, whatever happened"
