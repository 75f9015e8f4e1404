"""The exit status of a process in words, for the log."""

import signal


def exit_in_words(status: int) -> str:
    """Return how a process ended, such as `was killed by SIGKILL`.

    A negative status is the number of a signal, as in `subprocess`.
    """
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # Python has names for two of the real-time signals only
        return f"was killed by signal {-status}"
