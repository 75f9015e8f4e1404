"""Blocks signals while a process starts or ends, so that none is lost or fatal.

Without a handler, the kernel drops a signal for PID 1 of a container, and ends any
other process. It keeps a blocked signal pending for both until the process unblocks it.
"""

import signal

# The supervisor sends SIGHUP to reload the API keys and SIGUSR1 to reload the
# certificate.
_HELD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
_STOP = frozenset({signal.SIGTERM, signal.SIGINT})


def hold() -> None:
    """Keep the signals pending from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _HELD)


def release() -> None:
    """Deliver pending signals now and later ones at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _HELD)


def is_stop_pending() -> bool:
    """Return whether SIGTERM or SIGINT arrived while signals were held."""
    return not _STOP.isdisjoint(signal.sigpending())
