"""The folder of the embedded server: private, locked while it is in use, and the way to the server's socket."""

import fcntl
import logging
import os
import pwd
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from service import stop_signals
from service.errors import EmbeddedServerError

_logger = logging.getLogger(__name__)

# sockaddr_un.sun_path takes 107 bytes on Linux and 103 on macOS.
_MAX_SOCKET_PATH = 103
_SOCKET_FOLDER_PREFIX = "jay-"
_LOCK_SECONDS = 5.0  # a server whose parent was killed may still be ending
_POLL_SECONDS = 0.01
_NAMES = frozenset({"appendonlydir", "dump.rdb", "lock", "valkey.log", "valkey.sock"})
_TEMPORARY_PREFIX = "temp-"  # files that the server renames when they are complete


class DataDir:
    """Where the embedded server keeps its data. Only `take` and `leave` change anything."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock_file: int | None = None
        self._link = self.path / "valkey.sock"

    @property
    def log_file(self) -> Path:
        """The server's log."""
        return self.path / "valkey.log"

    @property
    def socket(self) -> Path:
        """The server's socket. It is elsewhere, behind a symbolic link, where its path would be too long."""
        return self._link.readlink() if self._link.is_symlink() else self._link

    def take(self) -> None:
        """Make the folder private and lock it. Raises EmbeddedServerError, which says what to do."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            self._close_to_others()
            self.lock_file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot write to {self.path} ({error.strerror}): set JAY_REDIS__DATA_DIR to a directory "
                "that can be written, or JAY_REDIS__URL to a Redis server"
            ) from None
        self._take_lock(self.lock_file)

    def make_way_for_socket(self) -> None:
        """Remove the socket of an earlier server, and choose a place for the new one."""
        self._remove_socket()
        if len(os.fsencode(self._link)) > _MAX_SOCKET_PATH:
            # Not a TemporaryDirectory: workers are forks, and each that ends would remove it under the others.
            folder = tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=_short_folder())
            self._link.symlink_to(Path(folder) / "valkey.sock")

    def leave(self) -> None:
        """Give the folder back. The lock ends with the last process that holds it."""
        if self.lock_file is not None:
            self._remove_socket()
            os.close(self.lock_file)
            self.lock_file = None

    def _check_owner(self) -> None:
        """Refuse files of another user: that user could read and change them, whatever their mode."""
        for path in (self.path, *self._own_files()):
            owner = path.lstat().st_uid
            if owner != os.geteuid():
                raise EmbeddedServerError(
                    f"{path} belongs to another user ({_user_name(owner)}): run as that user, change the owner with "
                    "chown -R, or set JAY_REDIS__DATA_DIR to a directory of your own"
                )

    def _close_to_others(self) -> None:
        """Take the permissions of group and others away, also from what an older version left open.

        A folder that holds other files too keeps its own mode: it may be one that has to be shared.
        """
        for path in self._own_files():
            mode = path.lstat().st_mode
            if not stat.S_ISLNK(mode) and mode & 0o077:
                path.chmod(stat.S_IMODE(mode) & 0o700)
        mode = self.path.stat().st_mode
        if all(_is_own(path) for path in self.path.iterdir()):
            self.path.chmod(stat.S_IMODE(mode) & 0o700)
        elif mode & 0o022:
            _logger.warning("other users can replace files in %s: run chmod go-w on it", self.path)

    def _own_files(self) -> Iterator[Path]:
        for path in self.path.iterdir():
            if _is_own(path):
                yield path
                if path.is_dir() and not path.is_symlink():
                    yield from path.rglob("*")

    def _take_lock(self, lock_file: int) -> None:
        """Hold the directory until this process and its server are both gone: the server inherits the lock."""
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline or stop_signals.is_stop_pending():
                    os.close(lock_file)
                    self.lock_file = None
                    raise EmbeddedServerError(
                        f"{self.path} is in use by another jay-tracking: stop that one, or set "
                        "JAY_REDIS__DATA_DIR to another directory"
                    ) from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _remove_socket(self) -> None:
        if self._link.is_symlink():
            socket = self._link.readlink()
            if socket.parent.name.startswith(_SOCKET_FOLDER_PREFIX):
                socket.unlink(missing_ok=True)
                with suppress(FileNotFoundError):  # somebody cleared the temporary files
                    socket.parent.rmdir()
        self._link.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    return path.name in _NAMES or path.name.startswith(_TEMPORARY_PREFIX)


def _short_folder() -> str:
    """Return where temporary folders go, /tmp where TMPDIR is itself too long for a socket."""
    usual = tempfile.gettempdir()
    room = len("/jay-12345678/valkey.sock")
    return usual if len(os.fsencode(usual)) + room <= _MAX_SOCKET_PATH else "/tmp"  # noqa: S108 - mkdtemp makes it safe


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user id {number}"
