"""The fingerprint of the user secret survives a loss of Redis's data."""

from collections.abc import AsyncIterator
from itertools import count

import pytest

from service.config.settings import RedisSettings
from service.digests import UserDigest
from service.errors import StoreUnavailable, UnknownUserSecret
from service.sessions import SessionFactory
from service.storage.keyspace import SECRETS_SHARD, Keyspace, Lifetimes
from service.storage.lanes import Lanes
from service.storage.session_store import RedisSessionStore
from service.storage.user_secrets import UserSecrets
from service.telemetry.metrics import Metrics
from tests.storage.conftest import Store
from tests.support.clock import ManualClock
from tests.support.servers import Raw

TTL_SECONDS = 86400


@pytest.fixture
def clock() -> ManualClock:
    """Return the clock of the user secrets."""
    return ManualClock(1_700_000_000.0)


@pytest.fixture
async def lanes(server: Store, keyspace: Keyspace) -> AsyncIterator[Lanes]:
    """Return the lanes of a worker."""
    made = Lanes(server.url, RedisSettings(timeout_seconds=10), keyspace, Metrics())
    yield made
    await made.close()


@pytest.fixture
def secrets(lanes: Lanes, keyspace: Keyspace, digest: UserDigest, clock: ManualClock) -> UserSecrets:
    """Return the user secrets of a worker."""
    made = UserSecrets(lanes.sessions, keyspace, [digest], clock=clock)
    lanes.add_steps(made.steps)
    return made


async def lose_data(raw: Raw, lanes: Lanes, keyspace: Keyspace) -> None:
    """Lose the fingerprints and the connections, like a restart without a file."""
    assert await raw.delete(keyspace.secrets)
    await lanes.sessions.reconnect()


async def test_a_creation_on_a_new_connection_comes_after_the_record(
    lanes: Lanes, secrets: UserSecrets, keyspace: Keyspace, digest: UserDigest, raw: Raw, clock: ManualClock
) -> None:
    """After a loss of data, no session of a user is created without a fingerprint."""
    factory = SessionFactory(digest)
    # Its sessions are on the server of the fingerprints, also in a cluster.
    user_id = next(f"user-{n}" for n in count() if digest(f"user-{n}")[0] == f"{SECRETS_SHARD:x}")
    store = RedisSessionStore(lanes.sessions, keyspace, Lifetimes.of(TTL_SECONDS, 90), top_users=100, secrets=secrets)
    await store.create_many([factory.new("s", user_id)])
    before = await raw.hgetall(keyspace.secrets)
    clock.now += 60
    await lose_data(raw, lanes, keyspace)
    await store.create_many([factory.new("s", user_id)])
    assert await raw.hgetall(keyspace.secrets) == before
    other = UserSecrets(lanes.operators, keyspace, [UserDigest("another-secret")], clock=clock)
    with pytest.raises(UnknownUserSecret):
        await other.check()


async def test_a_new_connection_records_nothing_new(
    lanes: Lanes, secrets: UserSecrets, keyspace: Keyspace, raw: Raw, clock: ManualClock
) -> None:
    """Without a record that still lives, a new connection writes nothing."""
    await lanes.sessions.call("find", "GET", keyspace.secrets)
    assert not await raw.exists(keyspace.secrets)
    await secrets.record(TTL_SECONDS)
    clock.now += TTL_SECONDS + 7200
    await lose_data(raw, lanes, keyspace)
    await lanes.sessions.call("find", "GET", keyspace.secrets)
    assert not await raw.exists(keyspace.secrets)


async def test_a_new_connection_does_not_prolong_a_fingerprint(
    lanes: Lanes, secrets: UserSecrets, keyspace: Keyspace, raw: Raw, clock: ManualClock
) -> None:
    """A fingerprint expires when the last session under its secret has expired."""
    await secrets.record(TTL_SECONDS)
    before = await raw.hgetall(keyspace.secrets), await raw.ttl(keyspace.secrets)
    clock.now += 3000
    await lanes.sessions.reconnect()
    await lanes.sessions.call("find", "HLEN", keyspace.secrets)
    after = await raw.hgetall(keyspace.secrets), await raw.ttl(keyspace.secrets)
    assert after[0] == before[0]
    assert after[1] <= before[1]


async def test_the_record_of_a_secret_removes_expired_fingerprints(
    lanes: Lanes, secrets: UserSecrets, keyspace: Keyspace, raw: Raw, clock: ManualClock
) -> None:
    """Fingerprints of old secrets do not pile up, although the hash lives on."""
    await secrets.record(TTL_SECONDS)
    [old] = await raw.hkeys(keyspace.secrets)
    clock.now += TTL_SECONDS + 7200
    await UserSecrets(lanes.operators, keyspace, [UserDigest("another-secret")], clock=clock).record(TTL_SECONDS)
    [new] = await raw.hkeys(keyspace.secrets)
    assert new != old


async def test_a_record_that_failed_is_repeated(
    secrets: UserSecrets, keyspace: Keyspace, raw: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record whose write failed is not taken for one that Redis has."""

    async def fail(*_: object) -> None:
        raise StoreUnavailable("lost")

    with monkeypatch.context() as patch:
        patch.setattr(secrets, "_write", fail)
        with pytest.raises(StoreUnavailable):
            await secrets.record(TTL_SECONDS)
    assert [*secrets.steps([SECRETS_SHARD])] == []
    await secrets.record(TTL_SECONDS)
    assert await raw.exists(keyspace.secrets)


async def test_a_clock_that_steps_back_leads_to_a_record(
    secrets: UserSecrets, keyspace: Keyspace, raw: Raw, clock: ManualClock
) -> None:
    """A record is not taken for a recent one when the clock was ahead at its time."""
    await secrets.record(TTL_SECONDS)
    await raw.delete(keyspace.secrets)
    clock.now -= 60
    await secrets.record(TTL_SECONDS)
    assert await raw.exists(keyspace.secrets)


async def test_only_the_server_of_the_fingerprints_records_them(secrets: UserSecrets) -> None:
    """New connections to the other servers of a cluster record nothing."""
    await secrets.record(TTL_SECONDS)
    assert [*secrets.steps([SECRETS_SHARD + 1])] == []
    assert len([*secrets.steps([SECRETS_SHARD, SECRETS_SHARD + 1])]) == 1
