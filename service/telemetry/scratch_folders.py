"""Folders for small files that are written often: in memory where possible, never without trying."""

import errno
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

_MEMORY = Path("/dev/shm")  # noqa: S108 - in memory: files that change ten times a second should not reach a disk
# The metrics of a worker take less than one MiB. A full tmpfs would kill the workers with SIGBUS when they write.
_ROOM_BYTES = 8 * 2**20


def scratch_folders() -> Iterator[Path]:
    """Yield the folders that can be used now, best first. A folder that TMPDIR names is the only one."""
    usual = _usual_folder()
    if "TMPDIR" not in os.environ and _has_room(_MEMORY):
        yield _MEMORY
    if usual is not None:
        yield usual


def _usual_folder() -> Path | None:
    """Return where temporary files go; asked for the first time at the start, when there are file descriptors."""
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError:  # of all folders that tempfile tries, none can be written to
        return None


def _has_room(folder: Path) -> bool:
    """Return whether a file can be made there and filled: permissions alone do not say so."""
    try:
        with tempfile.TemporaryFile(prefix="jay-room-", dir=folder) as file:
            file.write(bytes(_ROOM_BYTES))
            file.flush()
    except OSError as error:
        if error.errno in {errno.EMFILE, errno.ENFILE}:  # says nothing about the folder
            raise
        return False
    return True
