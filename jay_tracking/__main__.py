"""The installed program: `jay-tracking`, also `python -m jay_tracking`."""

import sys

import jay_tracking


def main() -> int:
    """Run the service's command line and return the exit status."""
    # The wheel has service/ in this folder. The repository has it in the folder above.
    sys.path[:0] = jay_tracking.__path__
    from service.__main__ import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
