"""The lock that the processes of the service take to write to one log."""

import errno
import fcntl
import os
import time

from service.unnamed_file import UnnamedFile

# 1 s in all. The holder of another lock needs microseconds.
_PAUSES_SECONDS = tuple(0.001 * 2**number for number in range(10))


class LogLock:
    """A lock that this process shares with its forks.

    The kernel releases it when its holder dies. It knows only which process holds a
    lock. When threads of two processes wait for each other's locks, it reports a
    deadlock, although other threads of these processes will release them soon.

    The lock's file also keeps for all processes whether the log ends in half a line.
    """

    def __init__(self) -> None:
        self._file = UnnamedFile("jay-log")

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

    @property
    def ends_in_line(self) -> bool:
        """Whether the log ends in half a line. Only the holder uses it."""
        return os.pread(self._file.fileno(), 1, 0) == b"1"

    @ends_in_line.setter
    def ends_in_line(self, is_half: bool) -> None:
        os.pwrite(self._file.fileno(), b"01"[is_half : is_half + 1], 0)
