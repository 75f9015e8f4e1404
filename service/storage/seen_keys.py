"""The keys that a walk through Redis has visited, in bounded memory however many keys there are.

SCAN returns a key again when Redis resizes its table during the walk, and a session that is counted twice makes right
counts look wrong. A set of a million keys takes 110 MB. Here each key is 16 bytes in a temporary SQLite database, of
which 8 MB are in memory and the rest is in a file that has no name and vanishes with the process.

A keyed hash is stored, so that no session id is on a disk. It has 128 bits: two of a billion keys have the same hash
with odds of 1 in 10^20.
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
        self._database.execute("BEGIN")  # one transaction for all: a commit for each key would take ten times as long

    def fresh(self, keys: Iterable[bytes]) -> list[bytes]:
        """Return the keys that are seen for the first time. Raises CommandError where there is no room for them."""
        try:
            return [key for key in keys if self._is_fresh(key)]
        except sqlite3.OperationalError as error:
            raise CommandError(
                f"no room for a temporary file ({error}): about 25 bytes a session are needed; "
                "name a directory with room in SQLITE_TMPDIR"
            ) from None

    def _is_fresh(self, key: bytes) -> bool:
        digest = hashlib.blake2b(key, key=self._secret, digest_size=16).digest()
        return self._database.execute("INSERT OR IGNORE INTO seen VALUES (?)", (digest,)).rowcount == 1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._database.close()
