# SPDX-License-Identifier: LGPL-3.0-only
"""The fixtures that several test files use, and the option --no-skips."""

import json
import socket
from contextlib import ExitStack
from functools import partial

import helpers
import pytest
from loopback_tracker import LoopbackTracker


def pytest_addoption(parser):
    parser.addoption(
        "--no-skips", action="store_true", help="a test that would be skipped fails instead"
    )


def fail_instead_of_skipping(report, config):
    if config.getoption("--no-skips") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = "skipped, which --no-skips forbids: {}".format(report.longrepr[2])
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    return fail_instead_of_skipping((yield), item.config)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    return fail_instead_of_skipping((yield), collector.config)


# Scripts


@pytest.fixture(scope="session")
def run_script():
    """The function of helpers.py: run_script(script, argument, …) returns a Result."""
    return helpers.run_script


@pytest.fixture
def udp():
    """A function that runs udp_tracker_client.py and returns its Result."""
    return partial(helpers.run_script, "udp_tracker_client.py")


@pytest.fixture
def http():
    """A function that runs http_tracker_client.py and returns its Result."""
    return partial(helpers.run_script, "http_tracker_client.py")


@pytest.fixture
def check():
    """A function that runs tracker_checker.py with a time-out of 3 s and returns its Result."""
    return partial(helpers.run_script, "tracker_checker.py", "--timeout", "3")


@pytest.fixture
def start_script():
    """A function that starts a script and returns the Popen; what still runs is killed."""
    with ExitStack() as stack:

        def start(*arguments, **settings):
            # It waits for the process and closes its pipes, after the kill.
            process = stack.enter_context(helpers.start_script(*arguments, **settings))
            stack.callback(process.kill)
            return process

        yield start


@pytest.fixture
def resolver(tmp_path):
    """A function that returns an environment in which names have these addresses, others none.

    resolver({"two.example": ["127.0.0.1", "::1"], "dead.example": "hangs", "slow.example": 0.4}),
    the last in seconds: so no test asks a name server.
    """
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(helpers.SITECUSTOMIZE)

    def environment(addresses=None):
        return {
            "PYTHONPATH": str(folder),
            "TEST_NAMES": json.dumps(addresses or {}),
            "TEST_LOOKUPS": str(folder / "lookups"),
        }

    return environment


@pytest.fixture(scope="session")
def pythons():
    """The interpreters found here: {version: path}, from 3.6 to 3.13."""
    return helpers.find_pythons()


@pytest.fixture(params=helpers.PYTHON_VERSIONS)
def python(request, pythons):
    """The path of an interpreter, of each version in turn."""
    if request.param not in pythons:
        pytest.skip("Python {0} is not here: pyenv install {0}".format(request.param))
    return pythons[request.param]


# Addresses


@pytest.fixture
def tracker():
    """A running LoopbackTracker on 127.0.0.1."""
    with LoopbackTracker() as running:
        yield running


@pytest.fixture
def closed_port():
    """A (host, port) over TCP that is bound, so that nobody else has it, but does not listen."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock.getsockname()


@pytest.fixture
def closed_udp_port():
    """A (host, port) over UDP at which the system refuses what comes, and that nobody else has.

    Its socket is connected, to itself, and takes nothing from any other address.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.connect(sock.getsockname())
        yield sock.getsockname()
