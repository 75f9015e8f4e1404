"""Every fault of Redis, with every operation and every topology.

Each row of `FAULTS` says what its fault may do to the operations. For each topology,
one service runs all operations during the fault and after it.
"""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial

import pytest
from aiohttp import ClientResponse

from service import app
from service.config.settings import RedisSettings
from service.sessions import SHARD_COUNT, shard_of
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS
from service.storage.user_store import RedisUserStore
from tests.api.conftest import KEY, ORIGIN, TOKEN, Service, Start, problem
from tests.api.fault_operations import Operation, Subjects, seeded
from tests.api.fault_rows import EITHER, FAILS, FAULTS, SOON, WORKS, Outcome, Row
from tests.api.stored_sessions import StoredSessions
from tests.api.topologies import OPERATOR
from tests.support.fault_proxy import FaultProxy, FaultyStore
from tests.support.servers import RedisServer
from tests.support.topologies import ClusterGroup, SentinelGroup

KNOWN_SECONDS = 0.05  # the longest time to a 503 once an outage is known
RECOVERY_SECONDS = 2.0
BUSY = 4  # on a busy machine, everything may take this many times as long
PASSWORD = "canary-password"
SESSION_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Run one server with an append-only file, which an erasure rewrites."""
    with RedisServer(find_binary(), tmp_path_factory.mktemp("single"), "--appendonly", "yes") as server:
        yield server


@pytest.fixture(scope="module")
def sentinel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    """Run a primary, a replica and a sentinel, without a failover."""
    folder = tmp_path_factory.mktemp("sentinel")
    # The sentinel reaches the servers without the proxies.
    with SentinelGroup(
        find_binary(), folder, "--appendonly", "yes", replicas=1, sentinels=1, down_after_seconds=60
    ) as group:
        yield group


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterGroup]:
    """Run a Cluster of three primaries."""
    folder = tmp_path_factory.mktemp("cluster")
    with ClusterGroup(
        find_binary(), folder, "--appendonly", "yes", replicas_per_primary=0, node_timeout_seconds=60
    ) as group:
        yield group


@dataclass
class Scene:
    """A service behind proxies, and one fault.

    `faulty` are the proxies that get the fault, and `hit` the shards of their servers.
    `bodies` are those of all 503 answers, and `created` the user by session id.
    """

    row: Row
    service: Service
    faulty: Sequence[FaultProxy]
    hit: Sequence[int]
    stored: StoredSessions
    bodies: list[str] = field(default_factory=list)
    created: dict[str, str] = field(default_factory=dict)

    @property
    def spared(self) -> Sequence[int]:
        """Return the shards whose servers have no fault."""
        return [shard for shard in range(SHARD_COUNT) if shard not in self.hit]

    def begin(self) -> None:
        """Switch the fault on."""
        for one in self.faulty:
            one.begin(self.row.begins())

    async def end(self) -> None:
        """Switch the fault off."""
        for one in self.faulty:
            await one.end()

    async def send(self, operation: Operation) -> tuple[ClientResponse, float]:
        """Return the response and the seconds until it came."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        response = await operation.send(self.service)
        seconds = loop.time() - started
        if response.status == 503:
            self.bodies.append(await response.text())
        elif operation.name == "create" and response.status == 201:
            self.created[response.headers[TOKEN]] = str((operation.json or {})["user_id"])
        return response, seconds


@pytest.fixture(params=FAULTS)
def row(request: pytest.FixtureRequest) -> Row:
    """Return one row of the matrix."""
    return FAULTS[request.param]


@pytest.fixture(params=["single", "sentinel", "cluster", "cluster-one-primary"])
async def scene(
    request: pytest.FixtureRequest, row: Row, start: Start, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """Start a service behind proxies, one for each server."""
    # By default, an erasure that has begun repeats a call after 0.75 s and after 1.5 s.
    monkeypatch.setattr(app, "RedisUserStore", partial(RedisUserStore, pauses=(0.05, 0.1)))
    store = request.getfixturevalue(request.param.partition("-")[0])
    async with AsyncExitStack() as stack:
        faulty = await stack.enter_async_context(FaultyStore(store, f"default:{PASSWORD}"))
        stored = StoredSessions(store, prefix)
        stack.push_async_callback(stored.close)
        hit, proxies = list(range(SHARD_COUNT)), faulty.proxies
        if request.param == "cluster-one-primary":
            # Not the primary of shard 0, which all operations on users need.
            victim, slots = store.primaries[-1], map(store.slot_of, SHARD_TAGS)
            hit = [shard for shard, slot in enumerate(slots) if store.primary_of(slot) is victim]
            assert 0 not in hit
            proxies = [faulty.by_port[victim.port]]
        settings = RedisSettings(key_prefix=prefix, timeout_seconds=row.timeout_seconds)
        service = await start(url=faulty.url, redis=settings)
        # The service has to close before its proxies do.
        stack.push_async_callback(service.client.close)
        yield Scene(row, service, proxies, hit, stored)


async def test_a_fault_of_redis(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """During a fault each answer is true or a 503 in time. Afterwards everything works.

    The counts match the stored sessions, and no secret is in a log, error or metric.
    """
    caplog.set_level(logging.INFO)
    row = scene.row
    hit = await seeded(scene.service, scene.hit)
    spared = await seeded(scene.service, scene.spared) if scene.spared else None
    before = await scene.stored.sessions()
    operations = [*hit.operations(), *hit.operations_on_all_shards()]
    scene.begin()
    await check_during(scene, operations, spared)
    if row.outcome is FAILS:
        await check_during(scene, operations, spared)  # the fault is known now
        await check_known(scene, operations)
        if not row.has_effect:
            assert in_shards(scene.hit, await scene.stored.sessions()) == in_shards(scene.hit, before)
    else:
        assert sum(one.struck for one in scene.faulty) >= (len(operations) if row.is_single else 1)
    await scene.end()
    await check_success_of(scene, operations)
    await check_truth(scene, [one for one in (hit, spared) if one])
    await check_secrets(scene, caplog)


async def check_during(scene: Scene, operations: Sequence[Operation], spared: Subjects | None) -> None:
    """Check all operations during the fault, and that no other shard is affected."""
    row = scene.row

    async def check(operation: Operation, outcome: Outcome) -> None:
        response, seconds = await scene.send(operation)
        await check_response(response, operation, outcome)
        calls = 1 if response.status == 503 else operation.calls
        assert seconds < BUSY * row.longest * row.timeout_seconds * calls, operation.name

    if row.is_single:
        for operation in operations:
            scene.begin()
            await check(operation, row.outcome_of(operation))
        operations = ()
    unaffected = list(spared.operations()) if spared else []
    if row.outcome is SOON:
        await check_success_of(scene, [*operations, *unaffected])
    else:
        checks = [check(operation, row.outcome_of(operation)) for operation in operations]
        await asyncio.gather(*checks, *(check(operation, WORKS) for operation in unaffected))
    assert (await scene.service.request("GET", "/livez")).status == 200
    if spared:
        response = await scene.service.request("GET", "/readyz?shards=any")
        assert response.status == 200
        assert json.loads(await response.read()).get("shards_out", []) == (scene.hit if row.outcome is FAILS else [])


async def check_response(response: ClientResponse, operation: Operation, outcome: Outcome) -> None:
    """Check the status and headers of one answer."""
    statuses = {FAILS: {503}, WORKS: {operation.status}, EITHER: {503, operation.status}}[outcome]
    assert response.status in statuses, (operation.name, await response.text())
    headers = response.headers
    if operation.name != "ready":
        assert headers["x-jay-api-version"] == "2025-05-19"
        assert headers["Access-Control-Allow-Origin"] == ORIGIN
    if response.status == 503:
        assert headers["Retry-After"] == "1"
        assert "Set-Cookie" not in headers
        assert TOKEN not in headers
        if operation.name not in {"head", "ready"}:
            await problem(response, 503, "store-unavailable")
    elif operation.name == "find":
        assert json.loads(await response.read())["session_id"] == operation.headers[TOKEN]
    elif operation.name == "lookup":
        assert json.loads(await response.read())["missing"] == []


async def check_known(scene: Scene, operations: Sequence[Operation]) -> None:
    """Check that a 503 takes no time while an outage is known.

    Now and then a request is a probe, which takes longer.
    """
    for operation in operations:
        if scene.row.outcome_of(operation) is FAILS and operation.name in {"create", "find", "end"}:
            answers = [await scene.send(operation) for _ in range(5)]
            assert {response.status for response, _ in answers} == {503}
            assert min(seconds for _, seconds in answers) < KNOWN_SECONDS


async def check_success_of(scene: Scene, operations: Sequence[Operation]) -> None:
    """Check that every operation works within 2 s without a restart."""
    pending = list(operations)
    async with asyncio.timeout(BUSY * RECOVERY_SECONDS):
        while pending:
            answers = await asyncio.gather(*map(scene.send, pending))
            for operation, (response, _) in zip(pending, answers, strict=True):
                await check_response(response, operation, EITHER)
            failed = [response.status == 503 for response, _ in answers]
            pending = [operation for operation, has_failed in zip(pending, failed, strict=True) if has_failed]
            await asyncio.sleep(0.05)


def in_shards(shards: Sequence[int], sessions: Mapping[str, str | None]) -> dict[str, str | None]:
    return {session_id: user for session_id, user in sessions.items() if shard_of(session_id) in shards}


async def check_truth(scene: Scene, subjects: Sequence[Subjects]) -> None:
    """Check that each success has happened, and that the counts are exact."""
    live = await scene.stored.sessions()
    assert scene.created.items() <= live.items()
    for one in subjects:
        assert one.found in live
        assert one.ended not in live
        assert one.exported in live.values()
    assert subjects[0].erased not in live.values()
    assert await scene.stored.check_counts() >= len(live)


async def check_secrets(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    """Check that logs, errors and metrics hold no secret, and that no bug is logged."""
    metrics = await scene.service.request("GET", "/metrics", headers=OPERATOR)
    assert metrics.status == 200
    assert not [record for record in caplog.records if record.exc_info or record.name == "asyncio"]
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
    written = "\n".join([*logged, *map(str, scene.service.log_lines()), *scene.bodies, await metrics.text()])
    for secret in ("canary", PASSWORD, KEY, OPERATOR["X-API-Key"]):
        assert secret not in written
    assert not SESSION_ID.search(written)
