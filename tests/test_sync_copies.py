# SPDX-License-Identifier: LGPL-3.0-only
"""tools/sync_copies.py: the copies of the tree are equal, and differing ones are found."""

import os

import pytest
from helpers import run_script

HOME = """import os
# --- carried region: wire (home: home.py) ---
def connect():
    return 1


# --- end of carried region: wire ---
# --- carried region: names (home: home.py) ---
NAMES = ["a", "ä"]
# --- end of carried region: names ---
print(connect())
"""
BEGIN = "# --- carried region: wire (home: home.py) ---\n"
END = "# --- end of carried region: wire ---\n"
WIRE = BEGIN + "{}" + END
BODY = "def connect():\n    return 1\n\n\n"


def sync_copies(*arguments):
    return run_script(os.path.join("tools", "sync_copies.py"), *arguments)


@pytest.fixture
def tree(tmp_path):
    """A tree with one home."""
    (tmp_path / "home.py").write_text(HOME, encoding="utf-8")
    return tmp_path


def test_the_copies_of_the_project_are_equal():
    result = sync_copies("--check")
    assert (result.code, result.stdout, result.stderr) == (0, "", "")


def test_equal_copies_pass_and_stay_untouched(tree):
    text = "first\r\n" + WIRE.format(BODY) + "last, without a line end"
    (tree / "copy.py").write_bytes(text.encode("utf-8"))
    for arguments in (["--check"], []):
        result = sync_copies("--root", tree, *arguments)
        assert (result.code, result.stdout, result.stderr) == (0, "", "")
    assert (tree / "copy.py").read_bytes() == text.encode("utf-8")


@pytest.mark.parametrize(
    "body, line_number",
    [
        (BODY.replace("1", "2"), 4),
        ("", 3),
        (BODY + "extra = 1\n", 7),
        ("def connect():\n    return 1\n", 5),
        (BODY.replace("\n", "\r\n"), 3),
    ],
)
def test_a_copy_that_differs_is_named_by_check_and_rewritten_without(tree, body, line_number):
    before = "# before\n" + WIRE.format(body) + "# after\n"
    (tree / "copy.py").write_bytes(before.encode("utf-8"))

    result = sync_copies("--root", tree, "--check")
    assert result.code == 1
    assert result.stdout == "copy.py:{}: wire differs from home.py\n".format(line_number)
    assert (tree / "copy.py").read_bytes() == before.encode("utf-8")

    result = sync_copies("--root", tree)
    assert result.code == 0
    assert "copy.py" in result.stdout
    after = "# before\n" + WIRE.format(BODY) + "# after\n"
    assert (tree / "copy.py").read_bytes() == after.encode("utf-8")
    assert (tree / "home.py").read_text(encoding="utf-8") == HOME


def test_every_copy_that_differs_is_named_and_all_are_rewritten(tree):
    (tree / "tools" / "bundle").mkdir(parents=True)
    both = HOME.replace("return 1", "return 1  # longer\n    # by a line").replace("ä", "b")
    (tree / "copy.py").write_text(both)
    (tree / "tools" / "bundle" / "main.py").write_text(WIRE.format("pass\n"))
    result = sync_copies("--root", tree, "--check")
    assert result.stdout.splitlines() == [
        "copy.py:4: wire differs from home.py",
        "copy.py:10: names differs from home.py",
        os.path.join("tools", "bundle", "main.py") + ":2: wire differs from home.py",
    ]
    assert sync_copies("--root", tree).code == 0
    assert (tree / "copy.py").read_text(encoding="utf-8") == HOME
    assert (tree / "tools" / "bundle" / "main.py").read_text() == WIRE.format(BODY)


@pytest.mark.parametrize(
    "name, text, problem",
    [
        (
            "copy.py",
            BEGIN.replace("home.py", "none.py") + END,
            "copy.py:1: there is no home none.py",
        ),
        ("copy.py", "\n" + BEGIN, "copy.py:2: wire does not end"),
        ("copy.py", END, "copy.py:1: wire ends but has not begun"),
        (
            "copy.py",
            BEGIN + END.replace("wire", "names"),
            "copy.py:2: names ends but has not begun",
        ),
        ("copy.py", BEGIN + BEGIN + END + END, "copy.py:2: a region begins within wire"),
        ("copy.py", (BEGIN + END).replace("wire", "rest"), "copy.py:1: home.py is no home of rest"),
        ("copy.py", BEGIN.replace(") ---", ")"), "copy.py:1: not a marker line"),
        ("home.py", HOME + BEGIN + END, "home.py:12: wire stands here twice"),
        (
            "home.py",
            HOME.replace("(home: home.py)", "(home: copy.py)"),
            "home.py is no home of wire",
        ),
        ("copy.py", "\udcff", "utf-8"),
    ],
)
def test_broken_marker_lines_are_an_error_and_nothing_is_written(tree, name, text, problem):
    (tree / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    (tree / "differs.py").write_text(WIRE.format("pass\n"))
    for arguments in (["--check"], []):
        result = sync_copies("--root", tree, *arguments)
        assert result.code == 2
        assert result.stdout == ""
        assert problem in result.stderr
        assert result.stderr.count("\n") == 1
    assert (tree / "differs.py").read_text() == WIRE.format("pass\n")


def test_a_root_that_is_not_there_is_an_error(tmp_path):
    result = sync_copies("--root", tmp_path / "none", "--check")
    assert result.code == 2
    assert "none" in result.stderr
