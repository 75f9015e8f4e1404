"""The folder in which the workers of one service share their metrics.

prometheus_client decides at its import, by an environment variable, whether metrics are
of one process or of many. So the folder must exist before that import, and this module
does not import the library.
"""

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import ServerError
from service.telemetry.scratch_folders import scratch_folders

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "jay-metrics-"
_NEW_PREFIX = "jay-new-"
_OLD_SECONDS = 3600.0


@contextmanager
def multiproc_dir() -> Iterator[None]:
    """Make the folder, and remove it when the process that made it exits.

    Raises ServerError.
    """
    owner = os.getpid()
    folder, lock = _make_somewhere()
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        if os.getpid() == owner:  # workers are forks and run this too
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _make_somewhere() -> tuple[Path, int]:
    reason = "(no folder for temporary files is writable)"
    for root in scratch_folders():
        try:
            return _make(root)
        except OSError as error:
            reason = f"({error.strerror}) in {root}"
    raise ServerError(
        f"cannot keep metrics {reason}: set TMPDIR to a writable folder, or set JAY_METRICS__ENABLED=false"
    )


def _make(root: Path) -> tuple[Path, int]:
    """Return a new folder and its lock, which the workers inherit.

    Removes the folders of killed services as well. The folder gets its final name after
    it is locked. So another service that starts at the same moment does not take it for
    a folder of a killed service.
    """
    unlocked = Path(tempfile.mkdtemp(prefix=_NEW_PREFIX, dir=root))
    lock = os.open(unlocked, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    folder = unlocked.rename(root / unlocked.name.replace(_NEW_PREFIX, _PREFIX))
    for other in root.glob(f"{_PREFIX}*"):
        if other != folder:
            _remove_if_unlocked(other)
    for other in root.glob(f"{_NEW_PREFIX}*"):
        _remove_if_old(other)
    return folder, lock


def _remove_if_unlocked(folder: Path) -> None:
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:  # another user's, or gone
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # in use
        pass
    finally:
        os.close(lock)


def _remove_if_old(folder: Path) -> None:
    """Remove the empty folder of a service that was killed before it could lock it."""
    try:
        if time.time() - folder.stat().st_mtime > _OLD_SECONDS:
            folder.rmdir()
    except OSError:  # another user's, or gone
        pass
