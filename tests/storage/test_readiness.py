"""The check for /readyz notices each operation that does not work."""

from collections.abc import Sequence
from typing import Any

import pytest

from service.errors import StoreUnavailable
from service.storage import readiness
from service.storage.keyspace import Keyspace
from service.storage.readiness import Readiness
from service.storage.session_store import RedisSessionStore


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
