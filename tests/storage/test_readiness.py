"""The check for /readyz notices each operation that does not work."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.config.settings import RedisSettings
from service.errors import Overloaded, StoreUnavailable
from service.sessions import SHARD_COUNT, Session
from service.storage import readiness
from service.storage.connection import RedisConnection
from service.storage.discovery import Discovery
from service.storage.keyspace import Keyspace
from service.storage.readiness import Readiness
from service.storage.server_map import ServerMap
from service.storage.session_store import RedisSessionStore
from service.storage.shared import Shared
from tests.storage.counts import read_counts
from tests.support.servers import Raw


async def test_a_check_uses_new_connections_now_and_then(
    store: RedisSessionStore, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks that follow each other share connections, so that they cost little."""
    connection, reconnects = store.connection, 0
    reconnect = connection.reconnect

    async def counted(url: str | None = None) -> None:
        nonlocal reconnects
        reconnects += 1
        await reconnect(url)

    monkeypatch.setattr(connection, "reconnect", counted)
    checks = Readiness(connection, keyspace)
    for pause, expected in ((1e9, 1), (0.0, 4)):
        monkeypatch.setattr(readiness, "RETEST_SECONDS", pause)
        for _ in range(3):
            assert await checks.check() == []
        assert reconnects == expected


@pytest.mark.parametrize(("operation", "result"), [("create_many", []), ("find_each", {}), ("end_many", [[]])])
async def test_an_operation_without_effect_is_noticed(
    store: RedisSessionStore, keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch, operation: str, result: Any
) -> None:
    """A Redis that does not keep, return or end a session is not ready."""
    checks = Readiness(store.connection, keyspace)

    async def without_effect(_: Sequence[Any]) -> Any:
        return result

    monkeypatch.setattr(checks._store, operation, without_effect)
    with pytest.raises(StoreUnavailable):
        await checks.check()


async def test_a_check_is_in_no_count(store: RedisSessionStore, keyspace: Keyspace, raw: Raw) -> None:
    """The sessions of a check are not those of visitors."""
    assert await Readiness(store.connection, keyspace).check() == []
    counts = await read_counts(raw, keyspace)
    assert (counts.created, counts.ended, counts.live_by_minute) == ({}, {}, {})


class TwoServers(Discovery):
    """Serves the even shards with one server and the odd ones with another."""

    def __init__(self) -> None:
        super().__init__(RedisSettings())
        self.groups_by_shard = True

    async def find(self) -> Sequence[str]:
        return [f"redis://127.0.0.1:{1 + shard % 2}/0" for shard in range(SHARD_COUNT)]


@pytest.mark.parametrize("error", [StoreUnavailable(""), Overloaded("")])
async def test_the_shards_that_cannot_be_used_are_named(
    keyspace: Keyspace, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Each shard of a server that fails is checked alone. All together are an error."""
    out: set[str] = set()

    async def check(sessions: Sequence[Session]) -> None:
        if any(session.id[0] in out for session in sessions):
            raise error

    connection = RedisConnection(Shared(ServerMap(TwoServers()), RedisSettings()))
    await connection.servers.load()
    checks = Readiness(connection, keyspace)
    monkeypatch.setattr(checks, "_check", check)
    for digits, expected in (("", []), ("5", [5]), ("21", [1, 2]), ("123456789abcdef", [*range(1, SHARD_COUNT)])):
        out.clear()
        out.update(digits)
        assert await checks.check() == expected
    out.add("0")
    with pytest.raises(StoreUnavailable):
        await checks.check()
    await connection.servers.close()
