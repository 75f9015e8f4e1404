"""The lock that the processes of the service take to write to one log."""

import fcntl
import os
import tempfile


class LogLock:
    """A lock that this process shares with its forks.

    The kernel releases it when its holder dies.
    """

    def __init__(self) -> None:
        can_name = hasattr(os, "memfd_create")
        self._file = os.memfd_create("jay-log") if can_name else os.dup(tempfile.TemporaryFile().fileno())  # noqa: SIM115 - kept open
        os.set_inheritable(self._file, False)

    def __enter__(self) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
