# SPDX-License-Identifier: LGPL-3.0-only
"""What a tracker is asked about many torrents, as values: questions out, replies in, no network.

A count given to the wrong torrent is the one thing that must not happen, so every test here that
ends with outcomes compares each of them with what the tracker really counts.
"""

import random

import pytest
from tracker_checker import (
    NOT_LISTED,
    UDP,
    Failure,
    Survey,
    Target,
    Torrent,
    UdpSurvey,
    count_arrangements,
)

TRACKER = Target(UDP, "udp://tracker.example:1", None, "tracker.example", 1, "key")
HASHES = [number.to_bytes(20, "big") for number in range(1, 5001)]


def counts_of(kind, seed=0):
    """Returns what a tracker counts for HASHES: {info hash: (seeders, completed, leechers)}."""
    draw = random.Random(seed)
    make = {
        "distinct": lambda number: (number, 2 * number, 3 * number),
        "alike": lambda number: (0, 0, 0),
        "few": lambda number: (draw.choice((0, 0, 0, 1)), 0, draw.choice((0, 0, 1))),
        "one in 74": lambda number: (int(number % 74 == 5), 0, 0),
        "mostly dead": lambda number: (draw.randrange(1, 9) if draw.random() < 0.05 else 0, 0, 0),
    }[kind]
    return {info_hash: make(number) for number, info_hash in enumerate(HASHES)}


def in_order(hashes, counts, draw):
    return [counts[info_hash] for info_hash in hashes]


def in_own_order(hashes, counts, draw):
    return [counts[info_hash] for info_hash in sorted(hashes, key=lambda each: each[::-1])]


def in_reverse(hashes, counts, draw):
    return in_order(hashes, counts, draw)[::-1]


def at_random(hashes, counts, draw):
    return draw.sample(in_order(hashes, counts, draw), len(hashes))


def rotated(hashes, counts, draw):
    found = in_order(hashes, counts, draw)
    return found[1:] + found[:1]


def neighbours_swapped(hashes, counts, draw):
    found = in_order(hashes, counts, draw)
    for start in range(0, len(found) - 1, 2):
        found[start : start + 2] = found[start + 1], found[start]
    return found


def even_ones_first(hashes, counts, draw):
    found = in_order(hashes, counts, draw)
    return found[::2] + found[1::2]


def by_size(hashes, counts, draw):
    return sorted(in_order(hashes, counts, draw))


def first_50(hashes, counts, draw):
    return in_order(hashes, counts, draw)[:50]


def without_the_dead(hashes, counts, draw):
    return [counts[each] for each in hashes if counts[each] != (0, 0, 0)]


def one_too_many(hashes, counts, draw):
    return in_order(hashes, counts, draw) + ([(9, 9, 9)] if len(hashes) > 1 else [])


ODD_WAYS = (
    in_own_order, in_reverse, at_random, rotated, neighbours_swapped, even_ones_first, by_size,
    first_50, without_the_dead, one_too_many,
)


class Run:
    """A survey whose replies come from a function, up to eight under way, in any order."""

    def __init__(self, hashes, survey_class=UdpSurvey, seed=0, **settings):
        self.torrents = [Torrent(info_hash, None) for info_hash in hashes]
        self.outcomes = {}
        self.asked = []  # the hashes of each question
        self.draw = random.Random(seed)
        for torrent in self.torrents:
            torrent.ask_at((TRACKER,))
        self.survey = survey_class(TRACKER, self.torrents, on_outcome=self.settle, **settings)

    def settle(self, torrent, tracker, outcome):
        assert torrent.info_hash not in self.outcomes
        assert tracker is TRACKER
        self.outcomes[torrent.info_hash] = outcome

    def answer(self, reply, at_a_time=8):
        """Asks to the end; reply(question) says what came of it to the survey."""
        under_way = []
        while True:
            while len(under_way) < at_a_time:
                question = self.survey.next_question()
                if question is None:
                    break
                self.asked.append(question.info_hashes)
                under_way.append(question)
            if not under_way:
                break
            reply(under_way.pop(self.draw.randrange(len(under_way))))
        assert list(sorted(self.outcomes)) == sorted(each.info_hash for each in self.torrents)
        return self.outcomes

    def answer_in(self, order, counts):
        """Has a tracker over UDP answer whose entries are in an order."""

        def reply(question):
            self.survey.take_entries(question, order(question.info_hashes, counts, self.draw))

        return self.answer(reply)


def wrong(outcomes, counts):
    """Returns those that say something, but not what the tracker counts."""
    return {
        info_hash: outcome
        for info_hash, outcome in outcomes.items()
        if not isinstance(outcome, Failure) and tuple(outcome) != counts[info_hash]
    }


@pytest.mark.parametrize("kind", ["distinct", "alike", "few", "one in 74", "mostly dead"])
@pytest.mark.parametrize("order", (in_order,) + ODD_WAYS, ids=lambda order: order.__name__)
def test_no_count_goes_to_another_torrent(order, kind):
    counts = counts_of(kind)
    run = Run(HASHES[:1000])
    assert wrong(run.answer_in(order, counts), counts) == {}


@pytest.mark.parametrize("size", [1, 2, 3, 10, 75])
@pytest.mark.parametrize("order", ODD_WAYS, ids=lambda order: order.__name__)
def test_nor_in_a_short_list_however_often_it_is_asked_for(order, size):
    for seed in range(15):
        for kind in ("few", "one in 74", "distinct"):
            counts = counts_of(kind, seed)
            run = Run(HASHES[seed : seed + size], seed=seed)
            assert wrong(run.answer_in(order, counts), counts) == {}


@pytest.mark.parametrize("kind", ["distinct", "few", "one in 74", "mostly dead"])
def test_a_tracker_in_order_is_asked_for_70_torrents_at_a_time(kind):
    counts = counts_of(kind)
    run = Run(HASHES)
    run.answer_in(in_order, counts)
    # 72 requests, and the proof: one more, or one for each of several.
    assert len(run.asked) <= 72 + 6
    assert max(map(len, run.asked)) == 70


def test_entries_that_are_all_alike_need_no_proof():
    run = Run(HASHES)
    run.answer_in(by_size, counts_of("alike"))
    assert len(run.asked) == 72


def test_the_proof_is_the_same_question_in_another_order():
    run = Run(HASHES[:70])
    run.answer_in(in_order, counts_of("distinct"))
    first, again = run.asked
    assert again != first and sorted(again) == sorted(first)


def test_too_few_torrents_for_a_proof_are_asked_for_one_by_one():
    run = Run(HASHES[:3])
    run.answer_in(in_order, counts_of("distinct"))
    assert run.asked == [HASHES[:3]] + [[each] for each in HASHES[:3]]


def test_a_swarm_that_changes_during_the_proof_costs_no_more_than_its_own_reply():
    counts = counts_of("distinct")
    run = Run(HASHES)
    replies = []

    def reply(question):
        replies.append(question)
        entries = in_order(question.info_hashes, counts, None)
        if question.proof and len(replies) < 12:
            entries = [(seeders + 1, *rest) for seeders, *rest in entries]
        run.survey.take_entries(question, entries)

    assert wrong(run.answer(reply), counts) == {}
    assert sum(len(asked) == 1 for asked in run.asked) in (70, 140)


def test_a_tracker_that_answers_for_fewer_is_asked_for_as_many():
    # aquatic answers for 70 at most.
    run = Run(HASHES)
    run.answer_in(first_50, counts_of("alike"))
    assert max(map(len, run.asked[20:])) == 50


def test_a_torrent_without_an_entry_is_not_listed():
    counts = counts_of("mostly dead")
    outcomes = Run(HASHES[:200]).answer_in(without_the_dead, counts)
    for info_hash, outcome in outcomes.items():
        assert (outcome is NOT_LISTED) == (counts[info_hash] == (0, 0, 0))


TIMEOUT = Failure("timeout", "no reply to scrape (sent 6 times)")


def test_a_tracker_that_falls_silent_is_not_asked_further():
    counts = counts_of("distinct")
    run = Run(HASHES)

    def reply(question):
        if len(run.asked) <= 30:
            run.survey.take_entries(question, in_order(question.info_hashes, counts, None))
        else:
            run.survey.fail(question, TIMEOUT)

    outcomes = run.answer(reply)
    assert wrong(outcomes, counts) == {}
    assert len(run.asked) < 45
    assert 1500 < sum(outcome is not TIMEOUT for outcome in outcomes.values()) < 2500
    assert run.survey.given_up


def test_a_reply_that_is_lost_among_others_costs_its_own_torrents_alone():
    counts = counts_of("distinct")
    run = Run(HASHES)

    def reply(question):
        if len(run.asked) == 40 and not question.proof:
            # Others have been answered meanwhile.
            run.survey.fail(question, TIMEOUT)
        else:
            run.survey.take_entries(question, in_order(question.info_hashes, counts, None))

    outcomes = run.answer(reply)
    assert wrong(outcomes, counts) == {}
    assert 0 < sum(outcome is TIMEOUT for outcome in outcomes.values()) <= 70 * 8
    assert not run.survey.given_up


@pytest.mark.parametrize("lost", range(6))
def test_a_proof_that_gets_no_answer_loses_nothing(lost):
    counts = counts_of("distinct")
    run = Run(HASHES[:300], seed=lost)
    proofs = []

    def reply(question):
        proofs.append(question.proof)
        if question.proof and proofs.count(True) == 1 + lost % 2:
            # Late, but others were answered meanwhile.
            question.replies_before -= 1
            run.survey.fail(question, TIMEOUT)
        else:
            run.survey.take_entries(question, in_order(question.info_hashes, counts, None))

    outcomes = run.answer(reply)
    assert wrong(outcomes, counts) == {}
    assert TIMEOUT not in outcomes.values()


def test_what_was_refused_together_is_asked_for_by_itself():
    counts = counts_of("distinct")
    refusal = Failure("tracker_error", "the tracker says 'unregistered torrent'")
    run = Run(HASHES[:100])

    def reply(question):
        if HASHES[7] in question.info_hashes:
            run.survey.refuse(question, refusal)
        else:
            run.survey.take_entries(question, in_order(question.info_hashes, counts, None))

    outcomes = run.answer(reply)
    assert wrong(outcomes, counts) == {}
    assert [each for each in outcomes if outcomes[each] is refusal] == [HASHES[7]]


# Replies that name their hashes, as over HTTP and WebSocket.


def by_name(hashes, **settings):
    settings = dict(dict(room=100, cost=lambda info_hash: 1), **settings)
    return Run(hashes, Survey, **settings)


def test_a_request_has_as_many_as_there_is_room_for():
    run = by_name(HASHES[:50], room=100, cost=lambda info_hash: 30 + info_hash[-1] % 2)
    run.answer(
        lambda question: run.survey.take_counts(question, counts_of("distinct")), at_a_time=1
    )
    assert set(map(len, run.asked[:-1])) == {3}
    assert sum(run.asked, []) == HASHES[:50]


def test_what_a_reply_leaves_out_is_asked_for_once_more_by_itself():
    counts = counts_of("distinct")
    left_out, unknown = HASHES[3], HASHES[4]
    run = by_name(HASHES[:200])

    def reply(question):
        found = {each: counts[each] for each in question.info_hashes if each != unknown}
        if len(question.info_hashes) > 1:
            found.pop(left_out, None)
        run.survey.take_counts(question, found)

    outcomes = run.answer(reply)
    assert outcomes[unknown] is NOT_LISTED
    assert outcomes[left_out] == counts[left_out]
    assert sorted(map(len, run.asked)) == [1, 1, 100, 100]


def test_counts_of_torrents_that_were_not_asked_for_are_nobodys():
    counts = counts_of("distinct")
    run = by_name(HASHES[:10])
    outcomes = run.answer(lambda question: run.survey.take_counts(question, counts))
    assert outcomes == {info_hash: counts[info_hash] for info_hash in HASHES[:10]}


def test_an_answer_for_others_alone_is_an_error():
    run = by_name(HASHES[:10])
    others = {HASHES[20]: (1, 2, 3)}
    outcomes = run.answer(lambda question: run.survey.take_counts(question, others))
    assert {outcome.kind for outcome in outcomes.values()} == {"invalid_response"}


def test_who_refuses_a_hundred_and_answers_for_none_is_not_asked_further():
    refusal = Failure("failure_reason", "the tracker says 'invalid passkey'")
    run = by_name(HASHES)
    outcomes = run.answer(lambda question: run.survey.refuse(question, refusal), at_a_time=1)
    assert len(run.asked) == 101
    assert set(outcomes.values()) == {refusal}


def test_who_answered_once_is_asked_for_all_that_is_left():
    counts = counts_of("distinct")
    refusal = Failure("failure_reason", "the tracker says 'unregistered torrent'")
    run = by_name(HASHES[:1000])

    def reply(question):
        if question.info_hashes == [HASHES[0]]:
            run.survey.take_counts(question, counts)
        else:
            run.survey.refuse(question, refusal)

    outcomes = run.answer(reply, at_a_time=1)
    assert len(run.asked) == 1010
    assert [each for each in outcomes if outcomes[each] is not refusal] == [HASHES[0]]


def test_an_entry_without_counts_is_an_error():
    run = by_name(HASHES[:1])
    empty = {HASHES[0]: (None, None, None)}
    outcomes = run.answer(lambda question: run.survey.take_counts(question, empty))
    assert outcomes[HASHES[0]].kind == "invalid_response"


def test_three_failures_in_a_row_are_enough():
    failure = Failure("http_status", "HTTP 503")
    run = by_name(HASHES)
    outcomes = run.answer(lambda question: run.survey.fail(question, failure), at_a_time=1)
    assert len(run.asked) == 3
    assert set(outcomes.values()) == {failure}


def test_failures_among_answers_are_not():
    counts = counts_of("distinct")
    failure = Failure("http_status", "HTTP 503")
    run = by_name(HASHES)

    def reply(question):
        if len(run.asked) % 3:
            run.survey.fail(question, failure)
        else:
            run.survey.take_counts(question, counts)

    outcomes = run.answer(reply, at_a_time=1)
    assert len(run.asked) == 50
    assert wrong(outcomes, counts) == {}


def test_answers_that_come_after_a_tracker_was_given_up_are_nobodys():
    run = by_name(HASHES[:300])
    early, late = run.survey.next_question(), run.survey.next_question()
    run.survey.fail(early, TIMEOUT)
    run.survey.take_counts(late, counts_of("distinct"))
    run.survey.fail(late, TIMEOUT)
    assert set(run.outcomes.values()) == {TIMEOUT}
    assert run.survey.next_question() is None


# What a proof is worth.


def test_arrangements():
    a, b, c = (0, 0, 0), (1, 0, 0), (2, 0, 0)
    assert count_arrangements([a, a, a]) == 1
    assert count_arrangements([a, a, b]) == 3
    assert count_arrangements([a, b, c]) == 6
