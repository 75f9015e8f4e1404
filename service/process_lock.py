"""A lock between the processes of the service."""

import errno
import fcntl
import time

from service.anonymous_file import AnonymousFile

# 1 s in all. The holder of another lock needs microseconds.
_PAUSES_SECONDS = tuple(0.001 * 2**number for number in range(10))


class ProcessLock:
    """A lock that this process shares with its forks.

    The kernel releases it when its holder dies. It knows only which process holds a
    lock. When threads of two processes wait for each other's locks, it reports a
    deadlock, although other threads of these processes will release them soon.
    """

    def __init__(self, name: str) -> None:
        """`name` is what lists of open files show."""
        self._file = AnonymousFile(name)

    def __enter__(self) -> None:
        for pause in _PAUSES_SECONDS:
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno != errno.EDEADLK:
                    raise
                time.sleep(pause)
            else:
                return
        fcntl.lockf(self._file, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN)
