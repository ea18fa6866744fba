# SPDX-License-Identifier: LGPL-3.0-only
"""A quick run of the measurement that also compares counts: it ends well, and finds what is wrong.

How long things take is not for the tests: the measurements have their limits.
"""

import os
import sys

import pytest
from helpers import ROOT, run_command

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
