# SPDX-License-Identifier: LGPL-3.0-only
"""What the tests share: a way to run a script, a tracker on loopback, the Pythons found here."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from functools import partial
from glob import glob

import pytest
from loopback_tracker import LoopbackTracker

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON_VERSIONS = ["3.{}".format(minor) for minor in range(6, 14)]


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


class Result(namedtuple("Result", "code stdout stderr seconds")):
    """What a script did: its exit code, what it wrote (text) and how long it took."""

    @property
    def json(self):
        """What stdout says, as values; an AssertionError with all of it where it is no JSON."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError("no JSON on stdout: {!r}".format(self))


def clean_environment():
    """Returns the environment without what changes how a script works."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("TORRUST_", "PYTHON"))
    }


@pytest.fixture(scope="session")
def run_script():
    """A function that runs a script of the project, or any Python file, and returns its Result.

    run_script("udp_tracker_client.py", "scrape", url, info_hash, python=…, env={…}, stdin="…"):
    warnings are errors, env is added to a clean environment.
    """

    def run(script, *arguments, python=sys.executable, env=None, stdin="", timeout=60, cwd=None):
        environment = dict(clean_environment(), PYTHONDONTWRITEBYTECODE="1")
        environment.update(env or {})
        command = [python, "-W", "error", os.path.join(ROOT, str(script))]
        started = time.monotonic()
        process = subprocess.run(
            command + [str(argument) for argument in arguments],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment,
            timeout=timeout,
            cwd=cwd,
        )
        seconds = time.monotonic() - started
        return Result(process.returncode, process.stdout, process.stderr, seconds)

    return run


@pytest.fixture
def udp(run_script):
    """A function that runs udp_tracker_client.py and returns its Result."""
    return partial(run_script, "udp_tracker_client.py")


@pytest.fixture
def http(run_script):
    """A function that runs http_tracker_client.py and returns its Result."""
    return partial(run_script, "http_tracker_client.py")


@pytest.fixture
def check(run_script):
    """A function that runs tracker_checker.py with a time-out of 3 s and returns its Result."""
    return partial(run_script, "tracker_checker.py", "--timeout", "3")


@pytest.fixture
def start_script():
    """A function that starts a script and returns the Popen; what still runs is killed."""
    processes = []

    def start(script, *arguments, env=None, **settings):
        streams = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-W", "error", os.path.join(ROOT, script)]
            + [str(argument) for argument in arguments],
            env=dict(clean_environment(), PYTHONDONTWRITEBYTECODE="1", **(env or {})),
            **dict(streams, **settings)
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def tracker():
    """A running LoopbackTracker on 127.0.0.1."""
    with LoopbackTracker() as running:
        yield running


def find_python(version):
    """Returns the path of a python3.N interpreter, or None."""
    if version == "{}.{}".format(*sys.version_info):
        return sys.executable
    for pyenv in (os.environ.get("PYENV_ROOT"), os.path.expanduser("~/.pyenv")):
        if pyenv:
            found = glob(os.path.join(pyenv, "versions", version + ".*", "bin", "python3"))
            if found:
                return sorted(found)[-1]
    found = shutil.which("python" + version)
    # pyenv puts commands on PATH that only say that they are not to be had.
    if found and subprocess.run([found, "-c", ""], stderr=subprocess.DEVNULL).returncode == 0:
        return found
    return None


@pytest.fixture(scope="session")
def pythons():
    """The interpreters found here: {version: path}, from 3.6 to 3.13."""
    found = {version: find_python(version) for version in PYTHON_VERSIONS}
    return {version: path for version, path in found.items() if path}


@pytest.fixture(params=PYTHON_VERSIONS)
def python(request, pythons):
    """The path of an interpreter, of each version in turn."""
    if request.param not in pythons:
        pytest.skip("Python {0} is not here: pyenv install {0}".format(request.param))
    return pythons[request.param]
