"""A changed `session.user_secret` is detected, rejected and rotated."""

import time
from pathlib import Path

import pytest

from service.config.settings import SessionSettings
from service.digests import UserDigest
from service.sessions import SHARD_COUNT
from service.storage.embedded_process import find_binary
from service.storage.keyspace import Keyspace
from tests.api.conftest import PATH, TOKEN, Service, Start, problem
from tests.api.topologies import until
from tests.support.servers import Raw, RedisServer

BASE = "/v1/playouts/tracking"
OPERATOR = {"X-API-Key": "operator-key"}
ROUTES = (
    ("GET", f"{BASE}/users/u/sessions"),
    ("GET", f"{BASE}/analytics/users/u"),
    ("DELETE", f"{BASE}/users/u"),
)
OLD, NEW = "the-old-secret", "the-new-secret"


async def with_secret(start: Start, secret: str, *previous: str) -> Service:
    return await start(session=SessionSettings(user_secret=secret, previous_user_secrets=previous))


async def exported(service: Service) -> set[str]:
    response = await service.request("GET", f"{BASE}/users/u/sessions", headers=OPERATOR)
    assert response.status == 200, await response.text()
    return {session["session_id"] for session in (await response.json())["sessions"]}


async def test_a_changed_secret_stops_the_user_routes(start: Start, caplog: pytest.LogCaptureFixture) -> None:
    """After a change the user routes are a 503 and visitors are served."""
    old = await with_secret(start, OLD)
    session = await old.create(json={"user_id": "u"})
    caplog.clear()
    new = await with_secret(start, NEW)
    lines = [record.getMessage() for record in caplog.records if "user_secret" in record.getMessage()]
    assert len(lines) == 1
    for method, path in ROUTES:
        document = await problem(await new.request(method, path, headers=OPERATOR), 503, "store-unavailable")
        assert "session.previous_user_secrets" in str(document["detail"])
        for text in (str(document), *lines):
            assert OLD not in text
            assert NEW not in text
    assert (await new.request("GET", headers={TOKEN: session})).status == 200
    other = await new.create(json={"user_id": "u"})
    assert (await new.request("GET", headers={TOKEN: other})).status == 200
    assert (await new.request("GET", "/readyz")).status == 200
    for path in ("sessions", "users"):
        assert (await new.request("GET", f"{BASE}/analytics/{path}", headers=OPERATOR)).status == 200
    # A 200 would lack the sessions under `other`.
    assert (await old.request(*ROUTES[0], headers=OPERATOR)).status == 503


async def test_a_rotated_secret_finds_and_erases_everything(start: Start, raw: Raw, keyspace: Keyspace) -> None:
    """During a rotation in the order of docs/operations.md no route fails."""
    ids = set()
    for secret, previous in ((OLD, ()), (OLD, (NEW,)), (NEW, (OLD,)), (OLD, (NEW,))):
        service = await with_secret(start, secret, *previous)
        ids |= {await service.create(json={"user_id": "u"}) for _ in range(2)}
        assert await exported(service) == ids
    service = await with_secret(start, NEW, OLD)
    figures = await (await service.request("GET", f"{BASE}/analytics/users/u", headers=OPERATOR)).json()
    assert (figures["active"], figures["created"]) == (8, {"at_least": 8, "at_most": 8})
    receipt = await (await service.request("DELETE", f"{BASE}/users/u", headers=OPERATOR)).json()
    assert receipt["erased_sessions"] == 8
    assert {(await service.request("GET", headers={TOKEN: one})).status for one in ids} == {404}
    for shard in range(SHARD_COUNT):
        async for key in raw.scan_iter(match=f"{keyspace.base(shard)}top:*"):
            assert "u" not in await raw.zrange(key, 0, -1)


async def test_a_wrong_secret_that_created_nothing_leaves_no_trace(start: Start) -> None:
    """A wrong secret that created no sessions has no effect."""
    right = await with_secret(start, OLD)
    session = await right.create(json={"user_id": "u"})
    wrong = await with_secret(start, NEW)
    await wrong.create()
    assert (await wrong.request(*ROUTES[0], headers=OPERATOR)).status == 503
    assert await exported(await with_secret(start, OLD)) == {session}


async def test_a_secret_is_detected_after_redis_lost_its_data(start: Start, tmp_path: Path) -> None:
    """A Redis that restarts without its data knows the secret of the next session."""
    with RedisServer(find_binary(), tmp_path, "--save", "") as server:
        old = await start(url=server.url, session=SessionSettings(user_secret=OLD))
        await old.create(json={"user_id": "u"})
        server.kill()
        server.start()

        async def creates() -> bool:
            return (await old.request("POST", json={"user_id": "u"})).status == 201

        await until(creates)
        new = await start(url=server.url, session=SessionSettings(user_secret=NEW))
        assert (await new.request("DELETE", f"{BASE}/users/u", headers=OPERATOR)).status == 503


async def test_fingerprints_live_as_long_as_sessions(start: Start, raw: Raw, keyspace: Keyspace) -> None:
    """Fingerprints of secrets expire with their sessions."""
    service = await with_secret(start, OLD)
    await service.create(json={"user_id": "u"})
    fingerprint = UserDigest(OLD).fingerprint
    assert list(await raw.hgetall(keyspace.secrets)) == [fingerprint]
    assert 86400 + 7000 < await raw.ttl(keyspace.secrets) <= 86400 + 7200
    await raw.hset(keyspace.secrets, fingerprint, int(time.time()) - 1)
    new = await with_secret(start, NEW)
    assert (await new.request(*ROUTES[0], headers=OPERATOR)).status == 200
    assert list(await raw.hgetall(keyspace.secrets)) == [UserDigest(NEW).fingerprint]


async def test_top_users_forget_an_erased_user_at_once(service: Service) -> None:
    """Top users are not cached over an erasure."""
    await service.create(json={"user_id": "u"})

    async def listed() -> list[str]:
        response = await service.request("GET", f"{BASE}/analytics/users", headers=OPERATOR)
        return [user["user_id"] for user in (await response.json())["users"]]

    assert await listed() == ["u"]
    assert (await service.request("DELETE", f"{BASE}/users/u", headers=OPERATOR)).status == 200
    assert await listed() == []
    assert (await service.request("POST", PATH, json={"user_id": "u"})).status == 201
