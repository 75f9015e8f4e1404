"""The keys that a scan of Redis has visited, in bounded memory for any number of keys.

SCAN returns a key again when Redis resizes its table during the scan. A session that is
counted twice would make correct counts look wrong. A Python set of a million keys takes
110 MB. This module stores 16 bytes for each key in a temporary SQLite database. 8 MB of
it are in memory. The rest is in a file without a name, which is deleted with the
process.

The 16 bytes are a keyed hash, so that no session id is written to a disk. Among a
billion keys, the probability that two have the same hash is 1 in 10^20.
"""

import hashlib
import secrets
import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from service.errors import CommandError

_CACHE_KIB = 8192


class SeenKeys:
    """Remembers keys until it is closed."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._database = sqlite3.connect("", isolation_level=None)
        for name, value in (("cache_size", -_CACHE_KIB), ("journal_mode", "OFF"), ("synchronous", "OFF")):
            self._database.execute(f"PRAGMA {name} = {value}")
        self._database.execute("CREATE TABLE seen (digest BLOB PRIMARY KEY) WITHOUT ROWID")
        # One transaction for all keys. A commit for each would take ten times as long.
        self._database.execute("BEGIN")

    def add(self, keys: Iterable[bytes]) -> list[bytes]:
        """Add keys and return those that are new.

        Raises CommandError when the disk is full.
        """
        try:
            return [key for key in keys if self._is_new(key)]
        except sqlite3.OperationalError as error:
            raise CommandError(
                f"no room for a temporary file ({error}): it needs about 25 bytes for each session. "
                "Set SQLITE_TMPDIR to a directory with room"
            ) from None

    def _is_new(self, key: bytes) -> bool:
        digest = hashlib.blake2b(key, key=self._secret, digest_size=16).digest()
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
