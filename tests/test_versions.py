# SPDX-License-Identifier: LGPL-3.0-only
"""Every promise on every Python, as version_matrix.py has it."""

import pytest
from version_matrix import CASES, CIRCUMSTANCES, MAIN, World, run


@pytest.fixture
def world(tmp_path, tracker):
    made = World(str(tmp_path), tracker)
    yield made
    made.close()


def test_every_script_bundle_format_and_error(python, world):
    problems = [run(case, python, "", world) for case in CASES]
    assert not any(problems), "\n".join(filter(None, problems))


def test_all_circumstances(python, world):
    main = [case for case in CASES if case.name in MAIN]
    assert len(main) == len(MAIN)
    problems = [
        run(case, python, circumstance, world) for circumstance in CIRCUMSTANCES for case in main
    ]
    assert not any(problems), "\n".join(filter(None, problems))
