"""Folders for small files that are written often: in memory where that works."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - in memory, because the files change ten times a second
# The metrics of a worker take less than 1 MiB. In a full tmpfs a write would kill the
# worker with SIGBUS.
_ROOM_BYTES = 8 * 2**20


def scratch_folders() -> Iterator[Path]:
    """Yield the usable folders, the best first. TMPDIR, when set, is the only one."""
    usual = _usual_folder()
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        yield _MEMORY
    if usual is not None:
        yield usual


def _usual_folder() -> Path | None:
    """Return the folder for temporary files, None without one.

    The first call opens a file, so it fails when no file descriptor is free.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # tempfile finds no writable folder
        return None


def _has_room(folder: Path) -> bool:
    """Return whether a file of 8 MiB can be written there.

    Permissions alone do not say so.
    """
    try:
        with tempfile.TemporaryFile(prefix="jay-room-", dir=folder) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:  # says nothing about the folder
            raise
        return False
    return True
