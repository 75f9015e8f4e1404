"""The entry point of the program: `jay-tracking`, also `python -m service`.

It blocks signals before the slow imports, so that a SIGTERM during the start is not
lost.
"""

import sys

from service import stop_signals


def main() -> int:
    """Run the command line and return the exit status."""
    if sys.argv[1:2] == ["serve"]:
        stop_signals.hold()
    else:
        # The container image starts with blocked signals. The other commands need no
        # clean-up.
        stop_signals.release()
    from service.cli import main as run  # takes 0.25 s

    return run()


if __name__ == "__main__":
    sys.exit(main())
