import asyncio
import io
import json
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from service.api.answer_cache import AnswerCache
from service.config.settings import DEVELOPMENT_USER_SECRET, RedisSettings
from service.digests import UserDigest
from service.errors import StoreUnavailable
from service.sessions import SessionFactory
from service.storage.connection import RedisConnection
from service.storage.keyspace import Keyspace, Lifetimes
from service.storage.session_store import RedisSessionStore
from service.storage.user_store import RedisUserStore
from service.telemetry import logs
from tests.api.conftest import PATH, Service, Start, problem
from tests.support.servers import RedisServer

USERS = "/v1/playouts/tracking/users"
ANALYTICS = "/v1/playouts/tracking/analytics"
OPERATOR = {"X-API-Key": "operator-key"}

USER_IDS = (
    "user-123-xyz",
    "a/b",
    "a%2Fb",
    "100%",
    "%",
    "%FF",
    "a?b#c",
    "a b+c",
    "{user_id}",
    "{x}",
    "..",
    ".",
    "../../livez",
    "\\",
    "ü",
    "🙂" * 128,
    "<script>alert(1)</script>",
    "'; --",
    "\u2028u",
    " u ",
    "sessions",
    ";a=b",
    "a:b@c",
)


@pytest.mark.parametrize("user_id", USER_IDS)
async def test_any_user_id_works_in_the_path(service: Service, user_id: str) -> None:
    """Every user id of a creation works percent-encoded in the path."""
    other = await service.create(json={"user_id": user_id + "x"} if len(user_id) < 128 else {})
    ids = [await service.create(json={"user_id": user_id}) for _ in range(3)]
    encoded = quote(user_id, safe="").replace(".", "%2E")

    async def call(method: str, path: str) -> dict[str, object]:
        answer = await service.raw(f"{method} {path} HTTP/1.1\r\nHost: x\r\nX-API-Key: operator-key\r\n\r\n".encode())
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], answer
        document: dict[str, object] = json.loads(body)
        return document

    exported = await call("GET", f"{USERS}/{encoded}/sessions")
    assert [session["session_id"] for session in exported["sessions"]] == ids  # type: ignore[attr-defined]
    assert {session["user_id"] for session in exported["sessions"]} == {user_id}  # type: ignore[attr-defined]
    assert (await call("GET", f"{ANALYTICS}/users/{encoded}"))["active"] == 3
    assert (await call("DELETE", f"{USERS}/{encoded}"))["erased_sessions"] == 3
    assert (await call("GET", f"{USERS}/{encoded}/sessions"))["sessions"] == []
    assert (await service.request("GET", headers={"X-Jay-Tracking": other})).status == 200
    for session_id in ids:
        assert (await service.request("GET", headers={"X-Jay-Tracking": session_id})).status == 404


async def test_a_receipt_has_the_removed_and_the_remaining_data(service: Service) -> None:
    """The receipt has the number of sessions, the time and the remaining data."""
    for _ in range(2):
        await service.create(json={"user_id": "u"})
    response = await service.request("DELETE", f"{USERS}/u", headers=OPERATOR)
    receipt = await response.json()
    assert set(receipt) == {"erased_sessions", "erased_at", "remaining"}
    assert receipt["erased_sessions"] == 2
    assert abs(datetime.now(UTC) - datetime.fromisoformat(receipt["erased_at"])) < timedelta(seconds=30)
    assert "unique users" in receipt["remaining"]
    counts = await (await service.request("GET", f"{ANALYTICS}/sessions", headers=OPERATOR)).json()
    expected = {"active": 0, "created": 2, "ended": 2, "expired": 0, "unique_users": 1}
    assert {name: counts["totals"][name] for name in expected} == expected
    users = await (await service.request("GET", f"{ANALYTICS}/users", headers=OPERATOR)).json()
    assert users["users"] == []
    again = await service.request("DELETE", f"{USERS}/u", headers=OPERATOR)
    assert (await again.json())["erased_sessions"] == 0


async def test_no_session_created_before_an_erasure_survives_it(service: Service) -> None:
    """Creations during an erasure survive only when they began later."""

    async def create() -> None:
        for _ in range(20):
            await service.create(json={"user_id": "u"})

    async def erase() -> datetime:
        response = await service.request("DELETE", f"{USERS}/u", headers=OPERATOR)
        return datetime.fromisoformat((await response.json())["erased_at"])

    creators = [asyncio.create_task(create()) for _ in range(8)]
    erased_at = datetime.now(UTC)
    while not all(task.done() for task in creators):
        erased_at = await erase()
        document = await (await service.request("GET", f"{USERS}/u/sessions", headers=OPERATOR)).json()
        for session in document["sessions"]:
            assert datetime.fromisoformat(session["start_time"]).replace(tzinfo=UTC) > erased_at
    await asyncio.gather(*creators)


async def test_a_user_with_a_hundred_thousand_sessions_is_exported_and_erased(
    start: Start, valkey: RedisServer, prefix: str
) -> None:
    """The export and the erasure are complete, and visitors are served meanwhile."""
    number, digest = 100_000, UserDigest(DEVELOPMENT_USER_SECRET)
    # The stall of a busy machine must not count as a long call.
    patient = RedisSettings(key_prefix=prefix, timeout_seconds=5)
    service = await start(redis=patient)
    connection = RedisConnection.alone(valkey.url, patient)
    store = RedisSessionStore(connection, Keyspace(prefix), Lifetimes.of(600, 90), top_users=100)
    factory = SessionFactory(digest)
    for _ in range(number // 500):
        await store.create_many([factory.new("s", "u") for _ in range(500)])
    await connection.close()
    visitor = await service.create()
    done = asyncio.Event()

    async def visit() -> set[int]:
        statuses = set()
        while not done.is_set():
            statuses.add((await service.request("GET", headers={"X-Jay-Tracking": visitor})).status)
            statuses.add((await service.request("POST", json={"user_id": "v"})).status)
        return statuses

    visits = [asyncio.create_task(visit()) for _ in range(4)]
    try:
        exported = await service.request("GET", f"{USERS}/u/sessions", headers=OPERATOR)
        counted = await service.request("GET", f"{ANALYTICS}/users/u", headers=OPERATOR)
        erased = await service.request("DELETE", f"{USERS}/u", headers=OPERATOR)
    finally:
        done.set()
    assert [response.status for response in (exported, counted, erased)] == [200, 200, 200]
    starts = [session["start_time"] for session in (await exported.json())["sessions"]]
    assert len(starts) == number
    assert starts == sorted(starts)
    assert (await counted.json())["active"] == number
    assert (await erased.json())["erased_sessions"] == number
    assert set.union(*await asyncio.gather(*visits)) == {200, 201}


@pytest.mark.parametrize(
    ("segment", "why"), [("a%00b", "control"), ("x" * 129, "128"), ("%FF", "UTF-8"), ("%ED%A0%80", "UTF-8")]
)
async def test_an_invalid_user_id_is_rejected(service: Service, segment: str, why: str) -> None:
    """The error is a 422 that names the field and does not repeat the id."""
    request = f"DELETE {USERS}/{segment} HTTP/1.1\r\nHost: x\r\nX-API-Key: operator-key\r\n\r\n"
    answer = await service.raw(request.encode())
    document = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (document["status"], document["member"]) == (422, "user_id")
    assert why in document["detail"]
    assert segment not in document["detail"]


async def test_other_scopes_and_methods_are_rejected(service: Service) -> None:
    """A track key may not list or erase, and a path without an id is a 404."""
    await problem(await service.request("GET", f"{USERS}/u/sessions"), 403, "forbidden")
    await problem(await service.request("DELETE", f"{USERS}/u"), 403, "forbidden")
    await problem(await service.request("DELETE", f"{USERS}/", headers=OPERATOR), 404, "not-found")
    response = await service.request("POST", f"{USERS}/u", headers=OPERATOR)
    await problem(response, 405, "method-not-allowed")
    assert response.headers["Allow"] == "DELETE, OPTIONS"


@pytest.mark.parametrize(
    "user_id", ["undefined", "null", "NaN", "%5Bobject%20Object%5D", "%20", "%E3%80%80", "%E2%80%8B"]
)
async def test_an_impossible_user_id_in_the_path_is_rejected(service: Service, user_id: str) -> None:
    """A back end that erases `undefined` gets a 422."""
    for method, path in (
        ("GET", f"{USERS}/{user_id}/sessions"),
        ("DELETE", f"{USERS}/{user_id}"),
        ("GET", f"{ANALYTICS}/users/{user_id}"),
    ):
        response = await service.request(method, path, headers=OPERATOR)
        assert (await problem(response, 422, "invalid-request"))["member"] == "user_id"


async def test_no_line_of_the_log_holds_a_user_id(service: Service) -> None:
    """User routes are logged as the route, without the user id."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonFormatter())
    logging.getLogger().addHandler(handler)
    try:
        await service.create(json={"user_id": "canary-user"})
        for method, path in (
            ("GET", f"{USERS}/canary-user/sessions"),
            ("GET", f"{ANALYTICS}/users/canary-user"),
            ("GET", f"{ANALYTICS}/users?canary-user=1"),
            ("PUT", f"{USERS}/canary-user"),
            ("GET", f"{USERS}/canary-user/nothing"),
            ("DELETE", f"{USERS}/canary-user"),
        ):
            response = await service.request(method, path, headers=OPERATOR)
            if response.status >= 400:
                assert "canary-user" not in await response.text()
    finally:
        logging.getLogger().removeHandler(handler)
    assert "canary" not in json.dumps(service.log_lines()) + stream.getvalue()
    assert {line["route"] for line in service.log_lines()} >= {f"{USERS}/{{user_id}}/sessions", PATH}


async def test_an_erasure_that_fails_late_leaves_no_cached_answer(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a 503 too, the list of top users is read again, without an erased user."""
    await service.create(json={"user_id": "canary"})
    erase = RedisUserStore.erase

    async def fail_late(store: RedisUserStore, user_id: str, now_us: int) -> int:
        await erase(store, user_id, now_us)
        raise StoreUnavailable("the last reply was lost")

    monkeypatch.setattr(RedisUserStore, "erase", fail_late)
    assert "canary" in await (await service.request("GET", f"{ANALYTICS}/users", headers=OPERATOR)).text()
    erased = await service.request("DELETE", f"{USERS}/canary", headers=OPERATOR)
    await problem(erased, 503, "store-unavailable")
    assert "canary" not in await (await service.request("GET", f"{ANALYTICS}/users", headers=OPERATOR)).text()


@pytest.mark.parametrize("is_rewritten", [True, False])
async def test_a_receipt_says_whether_redis_rewrites_its_file(
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    is_rewritten: bool,  # noqa: FBT001 - pytest passes it by name
) -> None:
    """The receipt asks for a rewrite when none has started, and has microseconds."""

    async def rewrite(_: RedisUserStore) -> bool:
        return is_rewritten

    monkeypatch.setattr(RedisUserStore, "rewrite_append_only_file", rewrite)
    now_us = int(time.time()) * 1_000_000 + 42
    monkeypatch.setattr("service.api.handlers.users.time.time_ns", lambda: now_us * 1000)
    receipt = await (await service.request("DELETE", f"{USERS}/u", headers=OPERATOR)).json()
    assert receipt["erased_at"].endswith(".000042Z")
    assert ("has started to rewrite" in receipt["remaining"]) is is_rewritten
    assert ("BGREWRITEAOF" in receipt["remaining"]) is not is_rewritten


async def test_only_the_list_of_top_users_may_hold_a_user_id(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an erasure, nobody joins a list of top users that was begun long before."""
    get, marks = AnswerCache.get, list[dict[str, bool]]()

    async def marked(
        cache: AnswerCache, key: Hashable, answer: Callable[[], Awaitable[bytes]], **more: bool
    ) -> bytes:
        marks.append(more)
        return await get(cache, key, answer, **more)

    monkeypatch.setattr(AnswerCache, "get", marked)
    for path in ("sessions", "users"):
        assert (await service.request("GET", f"{ANALYTICS}/{path}", headers=OPERATOR)).status == 200
    assert marks == [{}, {"holds_user_ids": True}]
