"""An anonymous file: it has no name, and a process shares it with its forks."""

import os
import tempfile
import weakref


class AnonymousFile:
    """A file in memory, or in a folder where the system has no such files.

    It is closed when nothing refers to it. At the exit it stays open, because a thread
    may still use it.
    """

    def __init__(self, name: str) -> None:
        """`name` is what lists of open files show."""
        if hasattr(os, "memfd_create"):
            self._file = os.memfd_create(name)
        else:
            with tempfile.TemporaryFile() as file:
                self._file = os.dup(file.fileno())
        os.set_inheritable(self._file, False)
        weakref.finalize(self, os.close, self._file).atexit = False

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._file
