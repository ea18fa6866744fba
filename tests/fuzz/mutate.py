# SPDX-License-Identifier: LGPL-3.0-only
"""Random changes to bytes and text, all from the generator of random numbers that is given."""

BYTES = [bytes([number]) for number in range(256)]

# Characters and words that have broken programs before: what drives a terminal, ends a line,
# means something in a URL, in JSON, in a report or to a parser of numbers.
HOSTILE_TEXT = (
    "\0 \a \b \t \n \r \x1b[31m \x1b]0;title\x07 \x7f \x85 \x9b2J \xa0 \xad \xe9 \u0130 \u0660"
    " \u200f \u2028 \u202e \u2066 \u3002 \ud800 \udcff \ufeff \ufffd \U0001f600 \U000e0001"
    " \u00b2 \uff0e"
).split(" ") + ["\r\n", " ", '{"forged":"line"}\n', "\n# HELP forged\n", 'tracker_up{x="y"} 1\n']
MARKS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + "%00 %0d%0a %20 %zz :// // .. ?? ## @@".split()
WORDS = (
    "announce scrape announce.php http https udp wss file localhost 127.0.0.1 ::1 [::1] [::1%25lo]"
    " 0 1 -1 -0 007 80 6969 65535 65536 99999999999999999999 1e999 nan inf 0x10 true null xn--"
    " peers info_hash magnet:? xt=urn:btih: xt=urn:btmh:1220 tr= dn= user:pass@"
).split()
TEXTS = HOSTILE_TEXT + MARKS + WORDS

LARGEST = 20000  # bytes or characters that a change leaves at most


def below(rng, limit):
    """Returns a whole number from 0 to below the limit; much faster than randrange()."""
    return int(rng.random() * limit)


def pick(rng, choices):
    return choices[int(rng.random() * len(choices))]


def random_bytes(rng, length):
    return rng.getrandbits(8 * length).to_bytes(length, "big") if length else b""


def hostile_text(rng, most=6):
    """Returns up to so many pieces of hostile text, joined."""
    return "".join(pick(rng, TEXTS) for _ in range(below(rng, most + 1)))


def mutate(rng, data, pieces):
    """Returns data, bytes or text, after one to four changes; pieces may be put into it."""
    for _ in range(1 + below(rng, 4)):
        start = below(rng, len(data) + 1)
        end = min(len(data), start + below(rng, pick(rng, (2, 5, 20, 200))))
        kind = below(rng, 6)
        if kind == 0:
            data = data[:start] + pick(rng, pieces) + data[start:]
        elif kind in (1, 2):
            data = data[:start] + pick(rng, pieces) + data[end:]
        elif kind == 3:
            data = data[:start] + data[end:]
        elif kind == 4:
            data = data[:end] + data[start:end] * below(rng, 5) + data[end:]
        else:
            data = data[:start] if below(rng, 3) else data[start:] + data[:start]
    return data[:LARGEST]
