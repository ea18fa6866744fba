# SPDX-License-Identifier: LGPL-3.0-only
"""The page of tracker_checker.py: as text, and as a browser has it."""
import re
from html.parser import HTMLParser

import pytest
import tracker_checker as checker
from browser import Browser, find_browser

HOSTILE = (
    "</script><script>document.title = 'pwned'</script>"
    "<img src=x onerror=\"document.title='pwned'\">"
    "<a href='https://elsewhere.example/'>\u202e\x1b[31m`&amp;&#x202e;\ud800\u4e2d{{}}{0}"
)
VOID = ("meta", "link", "path")


class Outline(HTMLParser):
    """Notes the tags of a page, that each is closed in its place, and what all attributes say."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.open, self.text = [], [], [], ""
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def result_of(given, failure=None, elapsed=0.1, seeders=None, stage="connect"):
    result = checker.Result(checker.tracker_or_unsupported(given), elapsed=elapsed)
    if result.target.kind == checker.UNSUPPORTED:
        failure = checker.Failure("unsupported", result.target.problem)
    elif stage == "scrape":
        result.add("announce", elapsed)
    result.add(stage, elapsed, failure)
    result.seeders = seeders
    return result


def mixed():
    """Returns results of all kinds, with hostile text wherever a tracker or a list has a say."""
    warned = result_of("udp://127.0.0.1:3", elapsed=0.3, seeders=7)
    warned.warning = HOSTILE
    ending = result_of("https://127.0.0.1:5", elapsed=0.2, seeders=100)
    ending.certificate_expires = int(ending.finished_at) + 86400
    failure = checker.Failure("tracker_error", "the tracker says " + HOSTILE)
    return [
        warned,
        result_of("udp://127.0.0.1:1", elapsed=0.1, seeders=20),
        ending,
        result_of("udp://127.0.0.1:4", failure, stage="scrape"),
        result_of("udp://127.0.0.1:2", checker.Failure("timeout", "no reply")),
        result_of("http://127.0.0.1:2/" + "long" * 60, failure),
        result_of("i2p://" + HOSTILE),
        result_of("udp://127.0.0.1:6", checker.Failure("interrupted", "interrupted")),
    ]


def page_of_check():
    return checker.report_html(mixed(), given_twice=2, labels={"from": HOSTILE})


def page_of_monitor(ended=None, interval=60):
    results = mixed()[:-1]
    tallies = {
        result.target: checker.Tally(result.target) for result in results
        if result.target.kind != checker.UNSUPPORTED
    }
    board = checker.Board(
        tallies, [result for result in results if result.target not in tallies], interval
    )
    for result in results:
        for _ in range(checker.STRIP_PROBES + 3 if result.target in tallies else 0):
            tallies[result.target].add(result)
            board.add(result, tallies[result.target].last_ms)
    tallies[checker.parse_tracker("udp://127.0.0.1:7")] = checker.Tally(None)
    board.ended = ended
    return checker.report_monitor_html(board, {"from": HOSTILE})


PAGES = {
    "check": page_of_check,
    "monitor": page_of_monitor,
    "ended": lambda: page_of_monitor("monitor completed"),
    "often": lambda: page_of_monitor(interval=1),
    "nothing": lambda: checker.report_html([]),
}


@pytest.mark.parametrize("name", list(PAGES))
def test_a_page_is_well_formed_and_has_no_tags_of_others(name):
    page = PAGES[name]()
    assert page.isascii() and page.endswith("</html>\n")
    outline = Outline(page)
    assert outline.tags.count("script") == outline.tags.count("style") == 1
    assert not {"img", "a", "iframe", "form", "base"} & set(outline.tags)
    # Nothing is loaded, and nothing but the page's own script listens.
    for attribute, value in outline.attributes:
        assert not attribute.startswith("on") and attribute not in ("src", "style")
        assert attribute != "href" or value == "data:,"
    refresh = ("http-equiv", "refresh") in outline.attributes
    assert refresh == (name in ("monitor", "often"))
    assert all(
        character.isprintable() or character == "\n" for character in outline.text
    )


def test_a_page_says_what_a_table_says():
    text = Outline(page_of_check()).text
    assert "4 up (1 partial), 2 down, 1 unsupported of 8, 2 given twice, 1 not finished" in text
    assert re.search(r"Checked 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", text)
    for part in (
        "connect: no reply", "scrape: the tracker says </script>", "warning: </script>",
        "its certificate ends 20", "scheme 'i2p' cannot be checked", "from = </script>",
    ):
        assert part in text
    text = Outline(page_of_monitor()).text
    assert "4 up (1 partial), 2 down, 1 unsupported of 7, 1 not probed yet" in text
    assert "latest 60 probes: 60 timeout" in text and "100.0%" in text and "0.0%" in text
    assert "Probed every 60 seconds since 20" in text
    assert "Monitor completed at 20" in Outline(page_of_monitor("monitor completed")).text


def test_uptime_is_rounded_down():
    assert [checker.show_uptime(*counts) for counts in ((0, 0), (0, 3), (2, 3), (9999, 10000))] == [
        "-", "0.0%", "66.6%", "99.9%"
    ]


# In a browser.


@pytest.fixture(scope="module")
def browser():
    if not find_browser():
        pytest.skip("chromium is not here: apt-get install chromium")
    with Browser() as running:
        yield running


@pytest.fixture
def open_page(browser, tmp_path):
    """A function that opens one of PAGES at a width and returns it, loaded and without an error."""

    def open_at(name, width=1280, dark=False):
        path = tmp_path / (name + ".html")
        path.write_text(PAGES[name]())
        return browser.open(path.as_uri(), width, dark)

    return open_at


STATES = "Array.from(document.querySelectorAll('tbody tr:not([hidden])')).map(r => r.dataset.state)"
COLUMN = "Array.from(document.querySelectorAll('tbody tr')).map(r => r.cells[{}].textContent)"


def assert_at_peace(page, path_end=".html"):
    """It has asked for nothing but itself, complained of nothing, and runs no other script."""
    assert len(page.requests) == 1 and page.requests[0].endswith(path_end)
    assert page.errors == []
    assert page.evaluate("document.title").endswith(" down - trackers")
    assert page.evaluate("document.scripts.length") == 1
    assert page.evaluate("document.images.length + document.links.length") == 0


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["check", "monitor", "ended", "nothing"])
def test_it_loads_and_asks_nothing_of_anywhere(open_page, name, width):
    page = open_page(name, width)
    assert_at_peace(page)
    # Its style is in force, and nothing sticks out at the side.
    assert page.evaluate("getComputedStyle(document.querySelector('.tiles')).display") == "flex"
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('.age').textContent").endswith(" ago)")


def test_it_is_light_and_dark(open_page):
    shown = "getComputedStyle(document.body).{}"
    colours = [
        [page.evaluate(shown.format(name)) for name in ("backgroundColor", "color")]
        for page in (open_page("check"), open_page("check", dark=True))
    ]
    assert colours[0][0] == "rgb(255, 255, 255)"
    assert colours[0][0] != colours[1][0] and colours[0][1] != colours[1][1]


@pytest.mark.parametrize("width", [390, 1280])
def test_it_sorts_by_a_click(open_page, width):
    page = open_page("check", width)
    before = page.evaluate(COLUMN.format(2))
    assert before[:3] == ["100 ms", "200 ms", "300 ms"]
    page.click("th:nth-child(4) button")
    # The largest first; what has no number stays last.
    assert page.evaluate(COLUMN.format(3)) == ["100", "20", "7"] + [""] * 5
    assert page.evaluate("document.querySelector('th:nth-child(4)').ariaSort") == "descending"
    page.click("th:nth-child(4) button")
    assert page.evaluate(COLUMN.format(3)) == ["7", "20", "100"] + [""] * 5
    page.click("th:nth-child(1) button")
    assert page.evaluate(STATES)[0] == "unsupported"
    assert page.evaluate("document.querySelectorAll('[aria-sort]').length") == 1
    assert_at_peace(page)


def test_it_sorts_by_the_keyboard_and_keeps_the_view_when_it_is_renewed(open_page):
    page = open_page("check")
    page.evaluate("document.querySelector('th:nth-child(3) button').focus()")
    page.press("Enter", 13, "\r")
    page.press("Enter", 13, "\r")
    assert page.evaluate("document.querySelector('th:nth-child(3)').ariaSort") == "descending"
    assert page.evaluate(COLUMN.format(2))[:3] == ["300 ms", "200 ms", "100 ms"]
    page.evaluate("document.querySelector('.tile.down').focus()")
    page.press(" ", 32, " ")
    assert page.evaluate(STATES) == ["down", "down"]
    page.evaluate("window.before = true")
    page.browser.forget()
    page.call("Page.reload")
    page.wait_until_renewed()
    assert page.evaluate("document.querySelector('th:nth-child(3)').ariaSort") == "descending"
    assert page.evaluate(STATES) == ["down", "down"]
    page.click(".tile.down")
    assert len(page.evaluate(STATES)) == 8
    assert_at_peace(page)


def test_the_page_of_a_monitor_renews_itself(open_page):
    page = open_page("often")
    page.evaluate("window.before = true")
    page.browser.forget()
    page.wait_until_renewed()
    assert_at_peace(page)


def test_a_page_that_is_not_renewed_any_more_says_so(open_page):
    page = open_page("monitor")
    late = "document.querySelector('.age').classList.contains('late')"
    assert page.evaluate(late) is False
    page.evaluate("document.querySelector('time').dateTime = '2026-01-01T00:00:00Z'; tellAge()")
    assert page.evaluate(late) is True
