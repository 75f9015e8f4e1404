"""The lock that the processes of the service take to write to one log."""

import os

from service.process_lock import ProcessLock


class LogLock(ProcessLock):
    """The lock of a log.

    Its file keeps for all processes whether the log ends in half a line.
    """

    def __init__(self) -> None:
        super().__init__("jay-log")

    @property
    def ends_in_half_line(self) -> bool:
        """Whether the log ends in half a line. Only the holder uses it."""
        return os.pread(self._file.fileno(), 1, 0) == b"1"

    @ends_in_half_line.setter
    def ends_in_half_line(self, is_half: bool) -> None:
        os.pwrite(self._file.fileno(), b"1" if is_half else b"0", 0)
