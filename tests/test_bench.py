# SPDX-License-Identifier: LGPL-3.0-only
"""Quick runs of the measurement that compares counts, and of the one that makes the README's table.

How long things take is not for the tests: the measurements have their limits.
"""

import os
import sys

import pytest
from helpers import ROOT, run_command

sys.path.insert(0, os.path.join(ROOT, "tests", "bench"))
from bench_table import END, START, parts_of, shape_of  # noqa: E402

TABLE = os.path.join(ROOT, "tests", "bench", "bench_table.py")
BENCH = os.path.join(ROOT, "tests", "bench", "bench_swarms.py")
# The order of a tracker's replies is believed without a proof.
BROKEN = (
    "import sys; sys.path.insert(0, {0!r}); import bench_swarms;"
    " bench_swarms.LOSS_ORDERS = ('scrape-reversed',);"
    " ours = bench_swarms.our_command; bench_swarms.our_command = lambda python, folder, *rest:"
    " [python, '-c', {1!r}.format(folder)] + ours(python, folder, *rest)[2:];"
    " sys.argv = ['bench', '--loss', '--quick']; sys.exit(bench_swarms.main())"
)
CREDULOUS = (
    "import sys; sys.path.insert(0, {0!r}); import tracker_checker;"
    " Survey = tracker_checker.UdpSurvey; init = Survey.__init__; Survey.__init__ = lambda self, *arguments:"
    " init(self, *arguments) or setattr(self, '_in_order', True);"
    " sys.exit(tracker_checker.main(sys.argv[1:]))"
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it measures Linux")


def test_swarms_beside_a_loop_over_the_clients():
    result = run_command([sys.executable, BENCH, "--quick"], timeout=100)
    assert (result.code, result.stderr) == (0, "")
    assert result.stdout.count("this checker") == result.stdout.count("loop over") == 2
    assert "All limits hold." in result.stdout


def test_a_wrong_count_is_a_failure():
    code = BROKEN.format(os.path.dirname(BENCH), CREDULOUS)
    result = run_command([sys.executable, "-c", code], timeout=100)
    assert result.code == 1, result
    assert "COUNTS ARE WRONG" in result.stdout


def test_the_table_is_written_between_its_comments(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n\n{}\nold\n{}\n\nThe end.\n".format(START, END), encoding="utf-8")
    command = [sys.executable, TABLE, "--quick", "--readme", str(readme)]
    result = run_command(command, timeout=100)
    assert (result.code, result.stderr) == (0, "")
    assert readme.read_text(encoding="utf-8") == "# Title\n\n{}\n{}{}\n\nThe end.\n".format(
        START, result.stdout, END
    )
    # The README's table has the headings and rows that the command writes; figures are its own.
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        parts = parts_of(file.read())
    assert parts
    assert shape_of(parts[1]) == shape_of(result.stdout)


def test_a_readme_without_the_comments_is_left_alone(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("# Title\n", encoding="utf-8")
    result = run_command([sys.executable, TABLE, "--quick", "--readme", str(readme)])
    assert (result.code, result.stdout) == (1, "")
    assert "there are no lines" in result.stderr
    assert readme.read_text(encoding="utf-8") == "# Title\n"


def test_the_shape_of_a_table_has_no_figures():
    table = (
        "Measured with Python 3.11.7.\n\n| what | beside | this project |\n| --- | --- | --- |\n"
        "| check of {} trackers | other {} | {} |\n"
    )
    first = table.format("1,000", "1.1.1", "2.3 times as fast")
    assert shape_of(first) == shape_of(table.format("10", "2.0", "not measured"))
    assert shape_of(first) != shape_of(first.replace("trackers", "torrents"))
    assert shape_of(first) != shape_of(first.replace("this project", "ours"))
