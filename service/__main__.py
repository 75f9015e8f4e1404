"""The entry point: `jay-tracking`, also `python -m service`.

It holds signals before the slow imports, so that a SIGTERM during start-up is not lost.
"""

import sys

from service import stop_signals


def main() -> int:
    """Run the command line and return the exit status."""
    if sys.argv[1:2] == ["serve"]:
        stop_signals.hold()
    else:
        # the image starts with signals blocked, and the other commands need no clean-up
        stop_signals.release()
    from service.cli import main as run  # takes 0.25 s

    return run()


if __name__ == "__main__":
    sys.exit(main())
