# SPDX-License-Identifier: LGPL-3.0-only
"""Starts the one script of a bundle: its __main__.py, as tools/build_zipapps.py puts it there."""

# --- carried region: start (home: udp_tracker_client.py) ---
if __name__ == "__main__":
    # Ctrl-C and SIGTERM end the script without a traceback, also while it still imports.
    # _signal is what signal is made of, without the enums that take a while to build.
    try:
        import os
        import _signal

        _signal.signal(_signal.SIGINT, lambda number, frame: os._exit(130))
        _signal.signal(_signal.SIGTERM, lambda number, frame: os._exit(143))
    except KeyboardInterrupt:
        raise SystemExit(130)
    # Neither imports nor a single request make much garbage, and to look for it among all that is
    # imported takes a millisecond. The checker turns it on again.
    import gc

    gc.disable()
# --- end of carried region: start ---

from importlib import import_module

# The line that differs from bundle to bundle.
NAME = "udp_tracker_client"


def main() -> None:
    script = import_module(NAME)
    script.run(lambda argv: script.main(argv, prog=NAME + ".pyz"))


if __name__ == "__main__":
    main()
