# SPDX-License-Identifier: LGPL-3.0-only
"""What the measurements share: the packages of others, in the versions of requirements.txt.

Each is installed into a folder of its own below one in the system's temporary directory, which
later runs use again: one that cannot be installed does not keep the others away, and none meets
another's modules.
"""
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
from collections import namedtuple

REQUIREMENTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "requirements.txt")

# folder: where its modules are; command: the interpreter that finds them, as the start of a command
Package = namedtuple("Package", "name version folder command")


def pinned_versions():
    """Returns {package: version} as in requirements.txt."""
    with open(REQUIREMENTS) as file:
        lines = [line.strip() for line in file if not line.startswith("#")]
    return dict(line.split("==") for line in lines)


def install(name, python=sys.executable):
    """Returns the Package for an interpreter, installed where it is missing.

    Raises OSError or CalledProcessError where that cannot be done.
    """
    version = pinned_versions()[name]
    code = "import sys; print('{}.{}'.format(*sys.version_info))"
    series = subprocess.check_output([python, "-c", code], universal_newlines=True).strip()
    base = os.path.join(tempfile.gettempdir(), "bench-{}-{}".format(getpass.getuser(), series))
    environment = os.path.join(base, "venv")
    in_environment = os.path.join(environment, "bin", "python")
    if not os.path.isdir(environment):
        try:
            subprocess.check_call([python, "-m", "venv", environment], stdout=sys.stderr)
        except (OSError, subprocess.CalledProcessError):
            shutil.rmtree(environment, ignore_errors=True)
            raise
    folder = os.path.join(base, "{}-{}".format(name, version))
    if not os.path.isdir(folder):
        # Renamed when it is whole.
        with tempfile.TemporaryDirectory(dir=base) as scratch:
            unfinished = os.path.join(scratch, name)
            subprocess.check_call(
                [in_environment, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
                + ["--target", unfinished, "{}=={}".format(name, version)],
                stdout=sys.stderr,
            )
            os.rename(unfinished, folder)
    return Package(name, version, folder, ["env", "PYTHONPATH=" + folder, in_environment])
