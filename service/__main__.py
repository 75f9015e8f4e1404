"""The entry of the program: `jay-tracking`, also `python -m service`.

It holds signals back before it imports anything that takes time, so that a SIGTERM during start-up is not lost.
"""

import sys

from service import stop_signals


def main() -> int:
    """Run the command line and return the exit status."""
    if sys.argv[1:2] == ["serve"]:
        stop_signals.hold()
    else:  # the image is started with signals blocked, and the other commands have nothing to clear up
        stop_signals.release()
    from service.cli import main as run  # takes a quarter of a second

    return run()


if __name__ == "__main__":
    sys.exit(main())
