"""The service watches its Redis: the memory forecast and warnings about settings."""

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio
from prometheus_client.parser import text_string_to_metric_families

from service.storage import memory_growth, store_watch
from tests.api.conftest import Service, Start
from tests.support.processes import command
from tests.support.servers import Raw, RedisServer, binaries

STORE = "/v1/playouts/tracking/analytics/store"
OPERATOR = {"X-API-Key": "operator-key"}
METRIC = "jay_redis_memory_full_seconds"
MB = 2**20
PATIENCE_SECONDS = 30


@pytest.fixture
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shorten minutes to a second, and extend the range of the forecast."""
    monkeypatch.setattr(store_watch, "POLL_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(store_watch, "MIN_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(memory_growth, "MIN_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(memory_growth, "MIN_SPAN_SECONDS", 0.2)
    monkeypatch.setattr(memory_growth, "WINDOW_SECONDS", 5.0)


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """Run a Valkey with all recommended settings and a limit of 64 MiB."""
    folder = tmp_path / "redis"
    folder.mkdir()
    options = ("--appendonly", "yes", "--maxmemory", str(64 * MB), "--maxmemory-policy", "noeviction")
    with RedisServer(binaries()["valkey"], folder, *options) as server:
        yield server


@pytest.fixture
async def admin(small: RedisServer) -> AsyncIterator[Raw]:
    """Return a client with all permissions."""
    async with redis.asyncio.Redis.from_url(small.url, decode_responses=True) as client:
        yield client


async def until(check: Callable[[], Awaitable[bool]], what: str) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE_SECONDS
    while not await check():
        assert asyncio.get_running_loop().time() < deadline, f"not in time: {what}"
        await asyncio.sleep(0.02)


async def status_of(service: Service) -> dict[str, Any]:
    response = await service.request("GET", STORE, headers=OPERATOR)
    assert response.status == 200
    document: dict[str, Any] = await response.json()
    return document


async def metric_of(service: Service) -> float | None:
    """Return the forecast in /metrics, or `None` without a sample."""
    text = await (await service.request("GET", "/metrics", headers=OPERATOR)).text()
    assert f"# TYPE {METRIC} gauge" in text
    (family,) = (one for one in text_string_to_metric_families(text) if one.name == METRIC)
    assert len(family.samples) <= 1
    return family.samples[0].value if family.samples else None


class Filling:
    """Fills Redis at a constant rate for at least 40 seconds."""

    def __init__(self, admin: Raw) -> None:
        self._task = asyncio.create_task(self._fill(admin))

    async def _fill(self, admin: Raw) -> None:
        for number in range(800):
            await admin.set(f"filling:{number}", "x" * (MB // 16), ex=600)
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


def warnings_in(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name.startswith("service") and record.getMessage().startswith("Redis: ")
    ]


async def doctor(service: Service, *arguments: str) -> str:
    url = f"http://127.0.0.1:{service.port}"
    process = await asyncio.create_subprocess_exec(
        *command("doctor", "--url", url, "--key", "operator-key", "--no-redis", *arguments),
        env={**os.environ, "COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert errors == b""
    return output.decode()


@pytest.mark.usefixtures("_impatient")
async def test_growing_memory_is_forecast_everywhere(start: Start, small: RedisServer, admin: Raw) -> None:
    """Metric, store endpoint and doctor agree on the forecast.

    Without growth there is none.
    """
    service = await start(small.url)

    async def has_none() -> bool:
        return await metric_of(service) is None and (await status_of(service))["memory_full_seconds"] is None

    async def doctor_has_none() -> bool:
        return "no forecast: the memory in use is not growing" in await doctor(service)

    # Redis grows while the service connects, and while the doctor does.
    await until(has_none, "no forecast before the growth")
    await until(doctor_has_none, "the doctor's report of no forecast")
    filling = Filling(admin)

    async def is_forecast() -> bool:
        # At most 1.25 MiB a second go into 64 MiB.
        both = await metric_of(service), (await status_of(service))["memory_full_seconds"]
        return all(seconds is not None and 5 < seconds < 600 for seconds in both)

    await until(is_forecast, "a forecast")
    said = await doctor(service)
    assert "! memory is full in" in said
    assert "at this rate" in said
    assert "✗" not in said.partition("memory is full")[2]
    await filling.stop()
    await admin.flushall()
    await until(has_none, "no forecast without growth")


@pytest.mark.usefixtures("_impatient")
async def test_the_forecast_of_full_memory_is_zero(start: Start, small: RedisServer, admin: Raw) -> None:
    """With full memory the forecast is 0, and the doctor reports it."""
    service = await start(small.url)
    await admin.config_set("maxmemory", MB)

    async def is_full() -> bool:
        return await metric_of(service) == 0

    await until(is_full, "0 seconds")
    assert (await status_of(service))["memory_full_seconds"] == 0
    assert "memory is full now" in await doctor(service)


@pytest.mark.usefixtures("_impatient")
async def test_without_a_limit_there_is_no_forecast(start: Start, small: RedisServer, admin: Raw) -> None:
    """Without a limit growing memory has no forecast."""
    await admin.config_set("maxmemory", 0)
    service = await start(small.url)
    filling = Filling(admin)
    for _ in range(40):
        assert await metric_of(service) is None
        await asyncio.sleep(0.02)
    assert (await status_of(service))["memory_full_seconds"] is None
    assert "memory is full" not in await doctor(service)
    await filling.stop()


@pytest.mark.usefixtures("_impatient")
async def test_a_redis_that_rejects_info_is_no_failure(
    start: Start, small: RedisServer, admin: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    """Without INFO the service works, without forecast, warning and error."""
    caplog.set_level(logging.INFO, "service")
    await admin.config_set("appendonly", "no")
    await admin.acl_setuser("mute", enabled=True, passwords=["+mute"], keys=["*"], commands=["+@all", "-info"])
    service = await start(small.url.replace("://", "://mute:mute@"))
    asked = (await admin.info("commandstats")).get("cmdstat_info", {}).get("rejected_calls", 0)

    async def is_asked_again() -> bool:
        return bool((await admin.info("commandstats"))["cmdstat_info"]["rejected_calls"] > asked + 3)

    await until(is_asked_again, "three looks")
    assert await metric_of(service) is None
    state = await status_of(service)
    assert (state["memory_full_seconds"], state["warnings"]) == (None, [])
    await service.create()
    assert [record for record in caplog.records if record.name.startswith("service.storage")] == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"appendonly": "no"}, ["no append-only file: a restart of Redis loses sessions. Fix: set appendonly yes"]),
        (
            {"maxmemory-policy": "allkeys-lru"},
            ["maxmemory-policy allkeys-lru may evict sessions, counts and the indexes of erasures"],
        ),
        # Every key of the service has a lifetime.
        (
            {"maxmemory-policy": "volatile-ttl"},
            ["maxmemory-policy volatile-ttl may evict sessions, counts and the indexes of erasures"],
        ),
        ({"maxmemory": "0"}, ["no memory limit is set"]),
        ({"maxmemory": "0", "maxmemory-policy": "allkeys-lru"}, ["no memory limit is set"]),
        ({"appendonly": "no", "maxmemory": "0"}, ["no append-only file", "no memory limit is set"]),
        ({}, []),
    ],
)
async def test_a_risky_setting_is_logged_at_the_start(
    start: Start,
    small: RedisServer,
    admin: Raw,
    caplog: pytest.LogCaptureFixture,
    options: dict[str, str],
    words: list[str],
) -> None:
    """Each risky setting is one warning at the start, and a safe Redis has none."""
    for name, value in options.items():
        await admin.config_set(name, value)
    service = await start(small.url)

    async def has_all() -> bool:
        return len(warnings_in(caplog)) >= len(words)

    state = await status_of(service)  # another check besides the one at the start
    await until(has_all, "the warnings")
    said = warnings_in(caplog)
    assert len(said) == len(state["warnings"]) == len(words), said
    for line, word, one in zip(said, words, state["warnings"], strict=True):
        assert word in line
        assert line.partition(" (")[0].startswith(f"Redis: {one['problem'].partition(' (')[0]}")
        assert line.endswith(f". Fix: {one['advice']}")


@pytest.mark.usefixtures("_impatient")
async def test_a_risk_is_logged_once_per_change(
    start: Start, small: RedisServer, admin: Raw, caplog: pytest.LogCaptureFixture
) -> None:
    """A risk is logged again only after it was fixed and came back."""
    service = await start(small.url)

    async def risks(number: int) -> None:
        async def are_seen() -> bool:
            return len((await status_of(service))["warnings"]) == number

        await until(are_seen, f"{number} risks")

    for change in (1, 2):
        await admin.config_set("maxmemory-policy", "allkeys-lru")
        await risks(1)
        for _ in range(3):
            await admin.client_kill_filter(_type="normal", skipme=True)
            await service.create()
            await asyncio.sleep(0.1)
        assert len(warnings_in(caplog)) == change
        await admin.config_set("maxmemory-policy", "noeviction")
        await risks(0)
    assert len(warnings_in(caplog)) == 2


async def test_a_risk_is_logged_after_a_reconnect(
    start: Start, small: RedisServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Risky settings after a reconnect are logged with the first answer."""
    monkeypatch.setattr(store_watch, "RETRY_SECONDS", store_watch.POLL_SECONDS)
    service = await start(small.url)
    await service.create()
    assert warnings_in(caplog) == []
    small.kill()
    assert (await service.request("POST")).status == 503
    small._options = ("--appendonly", "no", "--maxmemory", str(64 * MB))
    small.start()

    async def is_noticed() -> bool:
        return bool(warnings_in(caplog))

    async with asyncio.timeout(store_watch.POLL_SECONDS / 2):
        await until(is_noticed, "the warning")
    assert len(warnings_in(caplog)) == 1
    assert "no append-only file" in warnings_in(caplog)[0]
