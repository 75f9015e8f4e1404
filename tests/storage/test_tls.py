"""TLS to one server, to a Cluster and to Sentinel, and the causes of its failures.

The authority is private, and servers and sentinels want a certificate of their clients.
"""

import asyncio
import io
import re
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from rich.console import Console

from service.commands import doctor_redis, patient_connection
from service.config.redis_url import check_redis_url
from service.config.settings import RedisSettings, Settings
from service.counts import DAY, CountRange, Interval
from service.errors import StoreUnavailable
from service.sessions import SessionFactory
from service.storage.embedded_process import find_binary
from service.storage.keyspace import SHARD_TAGS, Keyspace
from service.storage.readiness import Readiness
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import Connect, MakeAnalytics, MakeStore, MakeUsers
from tests.support.certificates import Authority
from tests.support.proxy import SlowLink
from tests.support.redis_commands import ask
from tests.support.servers import RedisServer, free_port
from tests.support.topologies import FAILOVER_SECONDS, ClusterGroup, SentinelGroup

SLOT = ClusterGroup.slot_of(SHARD_TAGS[0])
DEADLINE_SECONDS = 30.0
SECRET = "canary-4f1c"

Use = Callable[[str], Awaitable[RedisSessionStore]]


@pytest.fixture
def use(
    make_store: MakeStore,
    make_analytics: MakeAnalytics,
    make_users: MakeUsers,
    factory: SessionFactory,
    keyspace: Keyspace,
) -> Use:
    """Return a function that uses all stores at a URL and returns the session store."""

    async def use_every_store(url: str) -> RedisSessionStore:
        store, analytics, users = await make_store(url), make_analytics(url), make_users(url)
        guests, mine = [factory.new("s") for _ in range(40)], [factory.new("s", "u") for _ in range(3)]
        assert await store.create_many([*guests, *mine]) == [True] * 43
        assert await store.find_many([[one.id] for one in guests]) == guests
        assert await store.end_many([[one.id for one in guests]]) == [["s"] * 40]
        now = time.time()
        today = CountRange.around(now - DAY, now, Interval.HOUR)
        total = (await analytics.count_sessions(today, now)).total
        assert (sum(total.created), sum(total.ended), total.active) == (43, 40, 3)
        assert (total.unique_users, len(await users.find_sessions("u"))) == (1, 3)
        assert [user for user, _ in (await analytics.top_users(today, 10)).users] == ["u"]
        assert await users.erase("u", int((now + 1) * 1_000_000)) == 3
        assert await store.find_each([one.id for one in mine]) == {}
        assert await Readiness(store.connection, keyspace).check() == []
        return store

    return use_every_store


async def until_served(operation: Callable[[], Awaitable[Any]]) -> None:
    """Repeat an operation until Redis serves it."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await operation()
            except StoreUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def test_one_server(tls_binary: str, authority: Authority, use: Use, tmp_path: Path) -> None:
    """A `rediss://` URL works with a certificate of the client, and without one."""
    with RedisServer(tls_binary, tmp_path, tls=authority) as server:
        await use(server.url)
        ask(server, "CONFIG", "SET", "tls-auth-clients", "no")
        await use(f"rediss://localhost:{server.port}/1?ssl_ca_certs={authority.file}")


async def test_a_cluster(
    tls_binary: str, authority: Authority, use: Use, factory: SessionFactory, tmp_path: Path
) -> None:
    """With TLS, redirects of a slot that moves and a failover are followed."""
    with ClusterGroup(
        tls_binary, tmp_path / "cluster", node_timeout_seconds=FAILOVER_SECONDS, tls=authority
    ) as cluster:
        store = await use(cluster.url)
        sessions = [factory.new("s") for _ in range(6)]
        sessions = [one._replace(id=f"0{one.id[1:]}") for one in sessions]
        stored = {one.id: one for one in sessions}
        assert await store.create_many(sessions) == [True] * 6
        source = cluster.primary_of(SLOT)
        target = next(node for node in cluster.primaries if node is not source)
        cluster.begin_move(SLOT, target)
        cluster.migrate_keys(SLOT, source, target, 3)
        assert await store.find_each([*stored]) == stored  # ASK
        cluster.migrate_keys(SLOT, source, target)
        cluster.finish_move(SLOT, source, target)
        assert await store.find_each([*stored]) == stored  # MOVED
        assert f":{target.port}?" in store.connection.servers.urls[0]
        await asyncio.to_thread(cluster.wait_until_ok)
        assert cluster.kill_primary(SLOT) is target
        await asyncio.to_thread(cluster.wait_for_failover, SLOT, target)
        await until_served(lambda: store.create_many([sessions[0]._replace(id=f"0{factory.new('s').id[1:]}")]))
        assert await store.find_each([*stored]) == stored


async def test_sentinel(
    tls_binary: str, authority: Authority, use: Use, factory: SessionFactory, tmp_path: Path
) -> None:
    """With TLS and passwords of sentinels and servers, a failover is followed."""
    with SentinelGroup(
        tls_binary, tmp_path / "sentinel", replicas=1, down_after_seconds=FAILOVER_SECONDS, tls=authority
    ) as group:
        for server in group.servers:
            ask(server, "ACL", "SETUSER", "jay", "on", ">redis-pass", "+@all", "~*")
        for sentinel in group.sentinels:
            ask(sentinel, "ACL", "SETUSER", "watcher", "on", ">sentinel-pass", "+@all")
        url = group.url.replace("://", "://jay:redis-pass@")
        store = await use(f"{url}&sentinel_username=watcher&sentinel_password=sentinel-pass")
        group.wait_until_replicated()
        old = group.kill_primary()
        new = await asyncio.to_thread(group.wait_for_failover, old)
        await until_served(lambda: store.create_many([factory.new("s")]))
        assert f":{new.port}/" in store.connection.servers.urls[0]


@pytest.mark.parametrize("is_secured", [False, True])
async def test_each_step_of_discovery_has_the_whole_timeout(
    request: pytest.FixtureRequest, connect: Connect, tmp_path: Path, *, is_secured: bool
) -> None:
    """A sentinel behind a slow link is asked, although all steps exceed the timeout."""
    tls: Authority | None = request.getfixturevalue("authority") if is_secured else None
    binary = request.getfixturevalue("tls_binary") if is_secured else find_binary()
    with SentinelGroup(binary, tmp_path / "group", replicas=0, sentinels=1, tls=tls) as group:
        [sentinel] = group.sentinels
        ask(sentinel, "ACL", "SETUSER", "watcher", "on", ">pass", "+@all")
        async with SlowLink(sentinel.port, 0.3) as link:
            url = group.url.replace(str(sentinel.port), str(link.port))
            url += f"{'&' if is_secured else '?'}sentinel_username=watcher&sentinel_password=pass"
            connection = connect(url, timeout_seconds=1.0)
            started = time.monotonic()
            assert await connection.call("get", "GET", "x") is None
            assert time.monotonic() - started > 1.0


async def test_large_values(tls_binary: str, authority: Authority, connect: Connect, tmp_path: Path) -> None:
    """Values that are larger than all buffers are read and written."""
    large = b"x" * 5_000_000
    with RedisServer(tls_binary, tmp_path, tls=authority) as server:
        connection = connect(server.url)
        await connection.call("set", "SET", "x", large)
        assert await connection.call_all("get", [("GET", "x")] * 3) == [large] * 3


async def test_a_renewed_certificate_of_the_client_is_used(
    tls_binary: str, authority: Authority, connect: Connect, tmp_path: Path
) -> None:
    """A connection that is made again reads files that have changed."""
    with RedisServer(tls_binary, tmp_path, tls=authority) as server:
        connection = connect(server.url, timeout_seconds=1.0)
        await connection.call("get", "GET", "x")
        authority.issue(age_days=10, days=-5)
        await connection.reconnect()
        with pytest.raises(StoreUnavailable, match="ssl_certfile"):
            await connection.call("get", "GET", "x")
        authority.issue()
        await until_served(lambda: connection.call("get", "GET", "x"))


CAUSES = {
    "authority": "no authority that the service trusts has issued the certificate of the server. Set ssl_ca_certs",
    "name": "the certificate of the server is not valid for '127.0.0.1'. Use the names of the certificate",
    "plain port": "the port does not speak TLS. Name the port for TLS in redis.url, or write redis",
    "no certificate": "ssl_certfile and ssl_keyfile",  # the alert can be lost
    "no certificate, TLS 1.2": "It may want the certificate in ssl_certfile and ssl_keyfile of redis.url",
}
FORMS = {"server": "rediss://{}/0{}", "sentinel": "rediss+sentinel://{}/jay/0{}", "cluster": "rediss+cluster://{}{}"}


@pytest.fixture
def broken(tls_binary: str, authority: Authority, tmp_path: Path, case: str) -> Iterator[tuple[str, str]]:
    """Run a server, and return its address and parameters, with which TLS fails."""
    other = Authority(tmp_path / "other")
    parameters = authority.client_parameters
    if case == "authority":
        parameters["ssl_ca_certs"] = str(other.file)
    elif case.startswith("no certificate"):
        parameters = {"ssl_ca_certs": parameters["ssl_ca_certs"]}
    elif case == "name":
        authority.issue("redis.example")
    plain_port = free_port()
    version = "TLSv1.2" if case.endswith("1.2") else "TLSv1.3"
    with RedisServer(
        tls_binary, tmp_path, "--port", str(plain_port), "--tls-protocols", version, tls=authority
    ) as one:
        port = plain_port if case == "plain port" else one.port
        yield f"127.0.0.1:{port}", f"?{urlencode(parameters)}"


@pytest.mark.parametrize("case", CAUSES)
async def test_a_failure_names_its_cause(
    broken: tuple[str, str],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    case: str,
) -> None:
    """The error, the log and the doctor name the cause of a failure and the setting.

    Neither has a password or a path of the URL.
    """
    monkeypatch.setattr(patient_connection, "_TIMEOUT_SECONDS", 0.5)
    address, parameters = broken
    for name, form in FORMS.items():
        url = form.format(f"jay:{SECRET}@{address}", parameters)
        assert check_redis_url(url) is None
        caplog.clear()
        with pytest.raises(StoreUnavailable) as raised:
            await connect(url, timeout_seconds=0.5).call("get", "GET", "x")
        [line] = [record.getMessage() for record in caplog.records if record.name.startswith("service")]
        settings = Settings(redis=RedisSettings(url=url))
        [(_, [result])] = await doctor_redis.check(settings, url, Console(file=io.StringIO()), repair=False)
        for words in (str(raised.value), line, result.finding):
            assert CAUSES[case] in words, name
            assert SECRET not in words
            assert not re.search(r"\.pem", words)
        assert "Check redis.url" in line
