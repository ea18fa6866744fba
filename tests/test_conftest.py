# SPDX-License-Identifier: LGPL-3.0-only
"""The option --no-skips: no test can be left out silently."""

import os
import re
import shutil
import subprocess
import sys

import pytest

TESTS = os.path.dirname(os.path.abspath(__file__))
SKIPPING = {
    "by a mark": """
import pytest

@pytest.mark.skip(reason="by a mark")
def test():
    pass
""",
    "by a fixture": """
import pytest

@pytest.fixture
def missing():
    pytest.skip("by a fixture")

def test(missing):
    pass
""",
    "by the module": """
import pytest

pytest.importorskip("no_such_module", reason="by the module")

def test():
    pass
""",
}
OTHERS = """
import pytest

def test_passes():
    pass

@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    assert False
"""


@pytest.fixture
def run_pytest(tmp_path):
    """A function that runs pytest with this conftest.py over one test file; returns its output."""

    def run(text, *options):
        shutil.copy(os.path.join(TESTS, "conftest.py"), str(tmp_path))
        (tmp_path / "test_it.py").write_text(text)
        process = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", str(tmp_path)]
            + ["--rootdir", str(tmp_path)]
            + list(options),
            stdout=subprocess.PIPE,
            universal_newlines=True,
            env=dict(os.environ, PYTHONPATH=TESTS, PYTHONDONTWRITEBYTECODE="1", PYTEST_ADDOPTS=""),
        )
        return process.returncode, process.stdout

    return run


@pytest.mark.parametrize("reason", sorted(SKIPPING))
def test_a_skip_is_a_failure_with_no_skips_only(reason, run_pytest):
    _, output = run_pytest(SKIPPING[reason])
    assert "1 skipped" in output
    assert re.search("SKIPPED .*" + reason, output)
    code, output = run_pytest(SKIPPING[reason], "--no-skips")
    assert code in (1, 2)
    assert "skipped in" not in output
    assert re.search("--no-skips forbids: .*" + reason, output)


def test_all_else_is_as_it_was(run_pytest):
    for options in ([], ["--no-skips"]):
        code, output = run_pytest(OTHERS, *options)
        assert code == 0
        assert "1 passed, 1 xfailed" in output
