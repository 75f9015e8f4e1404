"""The folder in which the workers of one service put their numbers, for each other to add up.

It has to be there, and named in the environment, before anything imports prometheus_client: that is when the library
decides whether its numbers are one process's or many's. So this module imports neither.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.errors import ServerError

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_PREFIX = "jay-metrics-"
_MEMORY = Path("/dev/shm")  # noqa: S108 - in memory: what is written often should not reach a disk


@contextmanager
def metrics_folder() -> Iterator[None]:
    """Make the folder, and remove it when the process that made it leaves. Raises ServerError."""
    owner = os.getpid()
    is_free_to_choose = "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK)
    try:
        folder, lock = _make(_MEMORY if is_free_to_choose else None)
    except OSError as error:
        raise ServerError(
            f"cannot keep metrics ({error.strerror}): have TMPDIR name a folder that can be written to, "
            "or set JAY_METRICS__ENABLED=false"
        ) from None
    os.environ[VARIABLE] = str(folder)
    try:
        yield
    finally:
        if os.getpid() == owner:  # workers, being forks, come by here too
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _make(root: Path | None) -> tuple[Path, int]:
    """Return a new folder and its lock, which the workers inherit; remove what killed services have left behind."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = os.open(folder, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():  # else another service, starting too, took it for one left behind
            break
        os.close(lock)
    for other in folder.parent.glob(f"{_PREFIX}*"):
        if other != folder:
            _remove_if_left(other)
    return folder, lock


def _remove_if_left(folder: Path) -> None:
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
