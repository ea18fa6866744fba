# SPDX-License-Identifier: LGPL-3.0-only
"""Replies over HTTP against the parser of http_tracker_client.py, fed in pieces of all sizes.

A case is (limit of the body or None, the bytes of the reply, sizes of pieces). However a reply
comes, whole, byte by byte or in these pieces, the same has to come of it.
"""
import http_tracker_client as http
from fuzz_http import PIECES, make_reply
from mutate import below, mutate, pick

LIMITS = (None, 0, 10, 100, 1000, 5000, http.ANNOUNCE_LIMIT)


def generate(rng):
    head, tail, _, _, _ = make_reply(rng, redirects=not below(rng, 10))
    data = (head + tail)[:6000]
    if not below(rng, 3):
        data = mutate(rng, data, PIECES)
    sizes = [1 + below(rng, pick(rng, (2, 20, 200, 2000))) for _ in range(8)]
    return pick(rng, LIMITS), data, sizes


def feed(limit, pieces):
    """Returns what comes of a reply in these pieces, before or after the connection's end."""
    parser = http.ReplyParser(limit)
    try:
        for piece in pieces:
            response = parser.feed(piece)
            if response:
                return response, "before the end"
        return parser.feed(b""), "at the end"
    except http.Failure as failure:
        return failure.kind, str(failure)


def in_pieces(data, sizes):
    at = 0
    while at < len(data):
        for size in sizes:
            yield data[at : at + size]
            at += size
            if at >= len(data):
                break


def check(case):
    limit, data, sizes = case
    whole = feed(limit, [data] if data else [])
    assert feed(limit, in_pieces(data, [1])) == whole, "byte by byte something else came of it"
    assert feed(limit, in_pieces(data, sizes)) == whole, "in pieces something else came of it"
    outcome, where = whole
    if isinstance(outcome, str):
        assert outcome in ("invalid_response", "http_status", "too_large"), outcome
        assert where.isprintable()
        return outcome
    assert 100 <= outcome.status < 1000
    assert len(outcome.body) <= (limit or 0)
    return "a response " + where
