# SPDX-License-Identifier: LGPL-3.0-only
"""Starts the one script of a bundle: its __main__.py, as tools/build_zipapps.py puts it there."""

from importlib import import_module

# The line that differs from bundle to bundle.
NAME = "udp_tracker_client"


def main() -> None:
    script = import_module(NAME)
    script.run_and_exit(lambda argv: script.main(argv, prog=NAME + ".pyz"))


if __name__ == "__main__":
    main()
