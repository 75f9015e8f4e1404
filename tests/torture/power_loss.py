"""Simulates a power loss: a killed server keeps only what it has synchronized.

SIGKILL alone says nothing about this, because the kernel still writes its page cache. A
small library records the size of each file at every fsync. After the kill, each
append-only file is cut to its size at the last fsync.
"""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.servers import RedisServer

SOURCE = Path(__file__).with_name("fsync_log.c")
COMPILER = shutil.which("cc") or shutil.which("gcc")


class PowerSupply:
    """The power of one server, which must be connected before the server starts."""

    def __init__(self, server: RedisServer) -> None:
        self._server = server
        self._log = server.folder / "fsync.log"

    def connect(self, fsync_seconds: float = 0.0) -> None:
        """Build the library, and let the server load it at its start.

        Each fsync takes `fsync_seconds` longer, as on a slow disk.
        """
        assert COMPILER is not None
        library = self._server.folder / "fsync_log.so"
        subprocess.run([COMPILER, "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
        self._server.environment = {"LD_PRELOAD": str(library), "FSYNC_LOG": str(self._log)}
        if fsync_seconds:
            self._server.environment["FSYNC_DELAY_US"] = str(int(fsync_seconds * 1e6))

    def fail(self) -> None:
        """Kill the server and cut its files."""
        self._server.kill()
        synchronized = self._synchronized()
        for file in append_only_files(self._server):
            size = file.stat()
            os.truncate(file, min(synchronized.get(size.st_ino, 0), size.st_size))

    def _synchronized(self) -> dict[int, int]:
        """Return the bytes on the disk by inode. A renamed file keeps its inode."""
        lines = self._log.read_text().splitlines()
        assert lines, "the server has loaded the library and synchronized a file"
        return {int(inode): int(size) for inode, size in map(str.split, lines)}


def append_only_files(server: RedisServer) -> list[Path]:
    """Return the files with a server's commands, from the oldest to the newest.

    The base file and the manifest are not among them: the server synchronizes them
    before it uses them.
    """
    found = (server.folder / "appendonlydir").glob("*.incr.aof")
    return sorted(found, key=lambda file: int(file.name.split(".")[-3]))
