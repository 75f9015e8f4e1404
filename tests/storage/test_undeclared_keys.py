"""Stores that refuse scripts whose keys are not declared in KEYS."""

from collections.abc import Awaitable, Callable, Iterator

import pytest
from redis.exceptions import ResponseError

from service.counts import DAY, CountRange, Interval
from service.sessions import Session
from service.storage import script_files
from tests.storage.conftest import MakeAnalytics, MakeStore, MakeUsers, Mint
from tests.support.servers import RedisServer, binaries

NOW = 20_500 * DAY + 12 * 3600
RANGE = CountRange(NOW - 3 * DAY, NOW + 3600, Interval.DAY)
GROUPED = {"group_by_shard": "always"}

# Refuses each command of a script whose keys are not all in KEYS.
REFUSES_UNDECLARED_KEYS = """
local declared, all = {}, { MGET = true, DEL = true, EXISTS = true, PFCOUNT = true, PFMERGE = true }
for _, key in ipairs(KEYS) do declared[key] = true end
local server = redis
local redis = { pcall = function(command, ...)
  local keys = all[command] and { ... } or { (...) }
  if command == 'RENAME' then keys = { ... } end
  for _, key in ipairs(keys) do
    if not declared[key] then return { err = 'ERR script tried accessing undeclared key' } end
  end
  return server.pcall(command, ...)
end }
"""


@pytest.fixture(scope="module", params=[name for name in binaries() if name == "valkey"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one kind of server. The shim is in the scripts."""
    with RedisServer(binaries()[request.param], tmp_path_factory.mktemp("undeclared")) as started:
        yield started


@pytest.fixture(autouse=True)
def _refuse_undeclared_keys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    original = script_files.script_text.__wrapped__

    def with_shim(name: str) -> str:
        return REFUSES_UNDECLARED_KEYS + original(name)

    def clear() -> None:
        script_files.script_digest.cache_clear()

    clear()
    monkeypatch.setattr(script_files, "script_text", with_shim)
    yield
    monkeypatch.undo()
    clear()


async def test_the_documented_operations_work_without_undeclared_keys(
    server: RedisServer, make_store: MakeStore, make_analytics: MakeAnalytics, make_users: MakeUsers, mint: Mint
) -> None:
    """Creating, reading and counting work. Ending, export and erasure do not.

    docs/operations.md lists the same operations.
    """
    store = await make_store(server.url, redis=GROUPED, clock=lambda: NOW)
    counts, users = make_analytics(server.url, redis=GROUPED), make_users(server.url, redis=GROUPED)
    sessions: list[Session] = [mint(NOW), mint(NOW, "s", "u"), mint(NOW, "other", "v")]
    assert await store.create_many(sessions) == [True] * 3
    operations: dict[str, Callable[[], Awaitable[object]]] = {
        "create once": lambda: store.create_many_once([(mint(NOW, "s"), "request"), (mint(NOW, "s", "w"), "other")]),
        "read": lambda: store.find_many([[session.id] for session in sessions]),
        "end": lambda: store.end_many([[sessions[0].id]]),
        "lookup": lambda: store.find_each([session.id for session in sessions]),
        "counts": lambda: counts.count_sessions(RANGE, NOW),
        "top users": lambda: counts.top_users(RANGE, 10),
        "counts of a user": lambda: users.count("u", RANGE),
        "export": lambda: users.find_sessions("u"),
        "erase": lambda: users.erase("u", NOW * 1_000_000),
    }
    refused = set()
    for name, operation in operations.items():
        try:
            await operation()
        except ResponseError as error:
            assert "undeclared key" in str(error), name
            refused.add(name)
    assert refused == {"end", "counts of a user", "export", "erase"}
    totals = await counts.count_sessions(RANGE, NOW)
    assert (sum(totals.total.created), totals.total.active, totals.total.unique_users) == (5, 5, 3)
