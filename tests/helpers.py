# SPDX-License-Identifier: LGPL-3.0-only
"""What several test files need: to run a script, to read what it wrote, to find the Pythons."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from glob import glob

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON_VERSIONS = ["3.{}".format(minor) for minor in range(6, 14)]
# What a script is run by: a warning is an error.
PYTHON = [sys.executable, "-W", "error"]
# Seconds within which has ended what ends at once, where it would else take its time-out of a
# minute: a machine that does other things as well takes its time.
SOON = 10
# Seconds that such a machine may take to start an interpreter, before any promise counts.
START = 1

# Python runs a sitecustomize at its start: this one answers for the resolver of the system.
SITECUSTOMIZE = '''\
import json, os, socket, threading, time

NAMES = json.loads(os.environ["TEST_NAMES"])
LOOKUPS = os.environ["TEST_LOOKUPS"]
ask_system = socket.getaddrinfo


def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if flags & socket.AI_NUMERICHOST:
        return ask_system(host, port, family, type, proto, flags)
    with open(LOOKUPS, "a") as file:
        print(host, file=file)
    addresses = NAMES.get(host.lower())
    if addresses == "hangs":
        threading.Event().wait()
    if isinstance(addresses, float):
        time.sleep(addresses)
        addresses = ["127.0.0.1"]
    found = []
    for address in addresses or []:
        own = socket.AF_INET6 if ":" in address else socket.AF_INET
        if family in (0, own):
            end = (0, 0) if own == socket.AF_INET6 else ()
            found.append((own, type, proto, "", (address, port) + end))
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    return found


socket.getaddrinfo = getaddrinfo
'''


# Running a script


class Result(namedtuple("Result", "code stdout stderr seconds")):
    """What a command did: its exit code, what it wrote (text) and how long it took."""

    @property
    def json(self):
        """What stdout says, as values; an AssertionError with all of it where it is no JSON."""
        try:
            return json.loads(self.stdout)
        except ValueError:
            raise AssertionError("no JSON on stdout: {!r}".format(self))


def clean_environment(further=None):
    """Returns the environment without what changes how a script works, and with what is given."""
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.lower().endswith("_proxy") and not name.startswith(("TORRUST_", "PYTHON"))
    }
    # It would come before the width that a terminal has.
    environment.pop("COLUMNS", None)
    return dict(environment, PYTHONDONTWRITEBYTECODE="1", **(further or {}))


def run_command(command, env=None, timeout=60, **settings):
    """Runs a command, a list, and returns its Result; env is added to a clean environment."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    pipes.update(settings)
    started = time.monotonic()
    process = subprocess.run(command, env=clean_environment(env), timeout=timeout, **pipes)
    seconds = time.monotonic() - started
    return Result(process.returncode, process.stdout, process.stderr, seconds)


def command_of(script, arguments, python=sys.executable):
    """Returns the command that runs a script of the project, or any Python file."""
    command = [python, "-W", "error", os.path.join(ROOT, str(script))]
    return command + [str(argument) for argument in arguments]


def run_script(script, *arguments, python=sys.executable, stdin="", **settings):
    """Runs a script of the project, or any Python file, and returns its Result.

    run_script("udp_tracker_client.py", "scrape", url, info_hash, env={…}, stdin="…"): warnings
    are errors, env is added to a clean environment.
    """
    return run_command(command_of(script, arguments, python), input=stdin, **settings)


def start_script(script, *arguments, env=None, prepare=None, **streams):
    """Starts a script, with prepare() called in its process first; returns the Popen."""
    pipes = dict(stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    pipes.update(streams)
    return subprocess.Popen(
        command_of(script, arguments),
        encoding="utf-8",
        env=clean_environment(env),
        preexec_fn=prepare,
        **pipes
    )


def run_measured(script, *arguments, **settings):
    """Runs a script, as start_script() does; returns (Result, what it used of the machine)."""
    started = time.monotonic()
    with start_script(script, *arguments, **settings) as process:
        stdout, stderr = process.stdout.read(), process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.WEXITSTATUS(status)
    return Result(process.returncode, stdout, stderr, time.monotonic() - started), usage


def wait_until(condition, seconds=20):
    """Waits for what no other process tells: asks again and again until it is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "this did not become true in time"
        time.sleep(0.01)


def wait_for_lookup(env):
    """Waits until a script with this environment, of the fixture resolver, looks up a name."""
    wait_until(lambda: os.path.exists(env["TEST_LOOKUPS"]))


# What it wrote


def compact_json(value):
    return json.dumps(value, separators=(",", ":"))


def json_lines(text):
    """Returns what each line says, as values."""
    return [json.loads(line) for line in text.splitlines()]


def only_record(result, name="error"):
    """Returns the one record on stderr, with its keys in order."""
    (line,) = result.stderr.splitlines()
    record = json.loads(line)
    assert result.stderr == compact_json(record) + "\n"
    assert list(record) == [name]
    if name == "error":
        assert list(record["error"]) == ["kind", "source", "message"]
    return record[name]


def record_of(result):
    """Returns the error record of a run that printed nothing on stdout."""
    assert (result.code, result.stdout) == (1, "")
    return only_record(result)


def requests_of(tracker, action="announce"):
    """Returns the fields of all requests of an action that arrived at a LoopbackTracker.

    Without resends over UDP, which have the transaction id of the first: on a busy machine a reply
    may come so late that there is one.
    """
    seen, found = set(), []
    for record in tracker.requests:
        key = record.address, record.fields.get("transaction_id")
        if record.action == action and (record.protocol != "udp" or key not in seen):
            seen.add(key)
            found.append(record.fields)
    return found


# The Pythons


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


def find_pythons():
    """Returns the interpreters found here: {version: path}, from 3.6 to 3.13."""
    found = {version: find_python(version) for version in PYTHON_VERSIONS}
    return {version: path for version, path in found.items() if path}
