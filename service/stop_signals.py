"""Signals that arrive while a process starts or ends: kept pending by the kernel, neither lost nor deadly.

The kernel drops a signal for PID 1 of a container as long as no handler is set, and ends any other process. It keeps
a blocked signal for both, until the process releases it.
"""

import signal

# The supervisor has its workers reload the API keys by SIGHUP and the certificate by SIGUSR1: one may be broken.
HELD = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1})
_STOP = frozenset({signal.SIGTERM, signal.SIGINT})


def hold() -> None:
    """Keep the signals pending from now on."""
    signal.pthread_sigmask(signal.SIG_BLOCK, HELD)


def release() -> None:
    """Deliver pending signals now and later ones at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD)


def is_stop_pending() -> bool:
    """Return whether SIGTERM or SIGINT arrived while signals were held."""
    return not _STOP.isdisjoint(signal.sigpending())
