"""The data directory of the embedded server.

It is private, and locked while a server uses it. This module also chooses the path of
the server's socket.
"""

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
# A server whose parent was killed may need this time to exit.
_LOCK_SECONDS = 5.0
_POLL_SECONDS = 0.01
_NAMES = frozenset({"appendonlydir", "dump.rdb", "lock", "valkey.log", "valkey.sock"})
# Files that the server renames when they are complete.
_TEMPORARY_PREFIX = "temp-"


class DataDir:
    """The data directory. Creating the object changes no file."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.lock_file: int | None = None
        self._link = self.path / "valkey.sock"
        # The socket in another folder, once this process has chosen one.
        self._short_socket: Path | None = None

    @property
    def log_file(self) -> Path:
        """The path of the server's log."""
        return self.path / "valkey.log"

    @property
    def socket(self) -> Path:
        """The path of the server's socket.

        If the path in this directory is too long for a socket, a symbolic link there
        names a shorter one.
        """
        if self._short_socket is not None:
            return self._short_socket
        return self._link.readlink() if self._link.is_symlink() else self._link

    def acquire(self) -> None:
        """Create the directory, make it private and lock it.

        Raises EmbeddedServerError, whose message says what to do.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check_owner()
            self._make_private()
            self.lock_file = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._take_lock(self.lock_file)
        except OSError as error:
            raise EmbeddedServerError(
                f"cannot write to {self.path} ({error.strerror}): set JAY_REDIS__DATA_DIR to a writable "
                "directory, or JAY_REDIS__URL to a Redis server"
            ) from None

    @property
    def is_present(self) -> bool:
        """Whether the locked directory is still at its path."""
        try:
            found = (self.path / "lock").stat()
        except OSError:
            return False
        return self.lock_file is not None and os.path.samestat(found, os.fstat(self.lock_file))

    def prepare_socket(self) -> None:
        """Remove the socket of an earlier server and choose the path, once.

        Workers keep the path that they got when they started.
        """
        self._remove_socket()
        if len(os.fsencode(self._link)) > _MAX_SOCKET_PATH:
            if self._short_socket is None:
                # A TemporaryDirectory would be removed by the first worker that exits,
                # because workers are forks.
                folder = tempfile.mkdtemp(prefix=_SOCKET_FOLDER_PREFIX, dir=_short_folder())
                self._short_socket = Path(folder) / "valkey.sock"
            else:
                # It fails if another user has made the folder in the meantime.
                self._short_socket.parent.mkdir(mode=0o700)
            self._link.symlink_to(self._short_socket)

    def release(self) -> None:
        """Remove the socket and release the lock, which the server may still hold."""
        if self.lock_file is not None:
            self._remove_socket()
            os.close(self.lock_file)
            self.lock_file = None

    def _check_owner(self) -> None:
        """Reject files of another user.

        That user could read and change them, whatever their mode is.
        """
        for path in (self.path, *self._own_files()):
            owner = path.lstat().st_uid
            if owner != os.geteuid():
                raise EmbeddedServerError(
                    f"{path} belongs to another user ({_user_name(owner)}): run as that user, change the owner with "
                    "chown -R, or set JAY_REDIS__DATA_DIR to a directory of your own"
                )

    def _make_private(self) -> None:
        """Remove the permissions of group and others, which older versions granted.

        A directory that contains other files keeps its mode, because it may be shared.
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
        """Lock the directory until this process and its server have exited."""
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
        if self._short_socket is not None or self._link.is_symlink():
            socket = self.socket
            if socket.parent.name.startswith(_SOCKET_FOLDER_PREFIX):
                socket.unlink(missing_ok=True)
                with suppress(FileNotFoundError):  # the temporary files were cleared
                    socket.parent.rmdir()
        self._link.unlink(missing_ok=True)


def _is_own(path: Path) -> bool:
    return path.name in _NAMES or path.name.startswith(_TEMPORARY_PREFIX)


def _short_folder() -> str:
    """Return the folder for temporary files, or /tmp when its path is too long."""
    usual = tempfile.gettempdir()
    room = len("/jay-12345678/valkey.sock")
    return usual if len(os.fsencode(usual)) + room <= _MAX_SOCKET_PATH else "/tmp"  # noqa: S108 - mkdtemp makes it safe


def _user_name(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"user id {number}"
