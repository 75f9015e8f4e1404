"""The directory of the embedded server."""

import errno
import fcntl
import os
import stat
import tempfile
from pathlib import Path

import pytest

from service.config.settings import RedisSettings
from service.errors import EmbeddedServerError
from service.storage.data_dir import DataDir
from service.storage.embedded import EmbeddedServer, find_redis

FILES = ("valkey.log", "lock", "dump.rdb", "temp-rewriteaof-1.aof", "appendonlydir/appendonly.aof.1.incr.aof")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def left_open(folder: Path) -> list[Path]:
    """Make the files that an older version with an open umask left."""
    (folder / "appendonlydir").mkdir(parents=True)
    files = [folder / name for name in FILES]
    for file in files:
        file.touch()
        file.chmod(0o664)
    (folder / "appendonlydir").chmod(0o775)
    folder.chmod(0o777)
    return [folder, folder / "appendonlydir", *files]


def test_open_permissions_are_tightened(tmp_path: Path) -> None:
    """The folder and the server's files become private to the user."""
    paths = left_open(tmp_path / "data")
    folder = DataDir(tmp_path / "data")
    folder.acquire()
    assert {mode(path) & 0o077 for path in paths} == {0}
    assert {mode(path) & 0o600 for path in paths} == {0o600}
    folder.release()


def test_a_folder_with_other_files_keeps_its_mode(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A folder with other files keeps its mode, and a log line warns about it."""
    paths = left_open(tmp_path / "data")
    (tmp_path / "data" / "somebody's").write_text("x")
    (tmp_path / "data" / "somebody's").chmod(0o644)
    folder = DataDir(tmp_path / "data")
    folder.acquire()
    assert mode(paths[0]) == 0o777
    assert {mode(path) & 0o077 for path in paths[1:]} == {0}
    assert mode(tmp_path / "data" / "somebody's") == 0o644
    assert "other users can replace files" in caplog.text
    folder.release()


def test_new_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    """The server runs with a umask that makes its files private."""
    (tmp_path / "data").mkdir()
    # Another file keeps the folder's mode open. A closed folder would hide the files.
    (tmp_path / "data" / "other").touch()
    before = os.umask(0)
    try:
        server = EmbeddedServer(tmp_path / "data")
        server.start()
        paths = [path for path in (tmp_path / "data").rglob("*") if path.name != "other"]
        assert len(paths) > 5
        assert {path.name: mode(path) & 0o077 for path in paths} == {path.name: 0 for path in paths}
        server.stop()
    finally:
        os.umask(before)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("name", [".", "valkey.log", "appendonlydir/appendonly.aof.1.incr.aof"])
def test_files_of_another_user_are_rejected(tmp_path: Path, name: str) -> None:
    """The error names the path, the owner and the fixes, and changes nothing."""
    left_open(tmp_path / "data")
    theirs = tmp_path / "data" / name
    os.chown(theirs, 12345, 12345)
    before = mode(theirs)
    with pytest.raises(EmbeddedServerError, match=r"belongs to another user \(user id 12345\).*JAY_REDIS__DATA_DIR"):
        DataDir(tmp_path / "data").acquire()
    assert mode(theirs) == before


def test_a_file_system_without_locks_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system without locks gets an error that says what to do."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(EmbeddedServerError, match=r"No locks available.*JAY_REDIS__DATA_DIR"):
        DataDir(tmp_path / "data").acquire()


def test_the_socket_of_a_long_folder_is_found_by_others(tmp_path: Path) -> None:
    """Other commands find the socket of a folder with a long path.

    The socket's folder is removed when the service stops.
    """
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    settings = RedisSettings(data_dir=deep)
    assert find_redis(settings) is None
    server = EmbeddedServer(deep)
    server.start()
    place = DataDir(deep).socket
    assert len(str(place)) <= 103
    assert place.is_socket()
    assert mode(place.parent) == 0o700
    assert find_redis(settings) == server.url == f"unix://{place}"
    server.stop()
    assert not place.parent.exists()
    assert not place.exists()
    assert find_redis(settings) is None


def test_the_socket_of_a_killed_service_is_removed(tmp_path: Path) -> None:
    """The folder behind the symbolic link is removed, and other folders stay."""
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    killed = DataDir(deep)
    killed.prepare_socket()
    folder = DataDir(deep)
    folder.acquire()
    folder.prepare_socket()
    assert not killed.socket.parent.exists()
    assert folder.socket.parent.exists()
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (deep / "valkey.sock").unlink()
    (deep / "valkey.sock").symlink_to(foreign / "valkey.sock")
    folder.prepare_socket()
    assert foreign.exists()
    folder.release()


def test_a_long_temporary_directory_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The socket works when the path of `TMPDIR` is too long for a socket too."""
    long = tmp_path / ("t" * 80)
    long.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(long))
    folder = DataDir(tmp_path / ("d" * 60) / ("e" * 60))
    folder.acquire()
    folder.prepare_socket()
    assert len(str(folder.socket)) <= 103
    folder.release()
