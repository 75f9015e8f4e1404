"""The doctor's checks of Redis: its settings, and its counts against its sessions."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.commands import doctor_privacy
from service.commands.doctor_results import CheckResult, good, problem, unknown
from service.commands.patient_connection import patient_connection
from service.config.settings import Settings
from service.digests import UserDigest
from service.errors import Overloaded, StoreUnavailable
from service.quantities import quantity
from service.storage.connection import RedisConnection
from service.storage.consistency_check import ConsistencyCheck, ConsistencyReport
from service.storage.keyspace import Keyspace
from service.storage.readiness import Readiness
from service.storage.redis_status import status_of
from service.storage.self_test import OLDEST_VERSION
from service.store_status import Risk, risks_of

_NEARLY_FULL = 0.8  # of maxmemory
_READ_COMMANDS = "+scan +hscan +get +getrange +hexists +exists +smembers +ttl"


async def check(
    settings: Settings, url: str, console: Console, *, repair: bool
) -> list[tuple[str, list[CheckResult]]]:
    """Return results with headings about the Redis of the settings.

    `url` is never `embedded`.
    """
    keyspace = Keyspace(settings.redis.key_prefix)
    digest, *previous = map(UserDigest, (settings.session.user_secret, *settings.session.previous_user_secrets))
    ttl_seconds = settings.session.ttl_seconds
    parts: list[tuple[str, list[CheckResult]]] = []
    try:
        async with patient_connection(url, settings.redis) as connection:
            consistency = ConsistencyCheck(connection, keyspace, digest, ttl_seconds=ttl_seconds, previous=previous)
            for number, info in enumerate(servers := await consistency.servers(), start=1):
                heading = f"Redis, primary {number} of {len(servers)}" if len(servers) > 1 else "Redis"
                parts.append((heading, list(_server(info))))
            with _Bar(console, await consistency.count_keys()) as advance:
                report = await consistency.run(advance, repair=repair)
            parts.append(("Counts and indexes", list(_report(report, repair=repair))))
            privacy = doctor_privacy.check(connection, keyspace, (digest, *previous))
            parts.append(("Users' data", [result async for result in privacy]))
            # A failure closes connections, so this check is the last.
            parts.insert(len(servers), ("Writes to Redis", [await _writes(connection, keyspace)]))
    except StoreUnavailable as error:
        advice = "check redis.url, and that this machine reaches it. Until then the service answers with 503"
        parts.append(("Redis", [problem(f"Redis cannot be used ({error})", advice)]))
    return parts


async def _writes(connection: RedisConnection, keyspace: Keyspace) -> CheckResult:
    """Check what the service checks for /readyz, on the same temporary keys."""
    advice = "see docs/troubleshooting.md, 503, which has a fix for each reason"
    try:
        shards_out = await Readiness(connection, keyspace).check()
    except (Overloaded, StoreUnavailable) as error:
        return problem(f"sessions cannot be created, read and ended ({error})", advice)
    if shards_out:
        shards = ", ".join(f"{shard:x}" for shard in shards_out)
        return problem(f"sessions of the shards {shards} cannot be created, read and ended", advice)
    return good("sessions can be created, read and ended")


def _server(info: Mapping[str, Any] | None) -> Iterator[CheckResult]:
    if info is None:
        yield unknown("the Redis user may not see persistence, eviction and memory", "allow the user +info")
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        yield unknown(f"the version of {name} is not in INFO", "use Redis 7.0 or newer, or Valkey")
    elif (int(found[1]), int(found[2])) >= OLDEST_VERSION:
        yield good(f"{name} {version}")
    else:
        yield problem(f"{name} {version} is too old", "use 7.0 or newer")
    if info.get("role") == "slave":  # INFO says so in every version
        yield problem("redis.url is a replica, which rejects writes", "set redis.url to the primary")
    yield from _persistence(info)
    yield from _memory(info)


def _persistence(info: Mapping[str, Any]) -> Iterator[CheckResult]:
    risks = risks_of(status_of(info))
    if "append_only_file" not in risks:
        yield unknown("persistence is not in INFO", "check in the provider's console that data survives a restart")
    elif (risk := risks["append_only_file"]) is not None:
        yield problem(risk.problem, risk.advice)
    elif any(info.get(name, "ok") != "ok" for name in ("aof_last_write_status", "aof_last_bgrewrite_status")):
        yield problem("Redis cannot write the append-only file", "see the log of Redis. Usually the disk is full")
    else:
        yield good("sessions survive a restart of Redis in the append-only file")


def _memory(info: Mapping[str, Any]) -> Iterator[CheckResult]:
    status = status_of(info)
    risks = risks_of(status)
    if status.memory_limit_bytes != 0:  # without a limit nothing is evicted
        yield from _eviction(risks)
    used, limit = status.memory_used_bytes, status.memory_limit_bytes
    if (risk := risks.get("memory_limit")) is not None:
        yield problem(risk.problem, risk.advice)
    elif limit is None or used is None:
        yield unknown("the memory in use and its limit are not in INFO")
    elif used > _NEARLY_FULL * limit:
        advice = "give Redis more memory. When it is full, sessions cannot be created"
        yield problem(f"memory is nearly full: {used / limit:.0%} of maxmemory", advice)
    else:
        yield good(f"memory: {used / 2**20:,.0f} of {limit / 2**20:,.0f} MiB in use")


def _eviction(risks: Mapping[str, Risk | None]) -> Iterator[CheckResult]:
    if "eviction" not in risks:
        advice = "set it to noeviction, or Redis may evict sessions, counts and the indexes of erasures"
        yield unknown("maxmemory-policy is not in INFO", advice)
    elif (risk := risks["eviction"]) is not None:
        yield problem(risk.problem, risk.advice)
    else:
        yield good("Redis evicts no keys (noeviction)")


def _report(report: ConsistencyReport | None, *, repair: bool) -> Iterator[CheckResult]:
    if report is None:
        yield unknown("the Redis user may not read all keys", f"allow the user {_READ_COMMANDS}")
        return
    sessions, keys = quantity(report.sessions, "session"), quantity(report.keys, "key")
    yield good(f"{sessions}, {report.users:,} with a user id, in {keys}")
    if report.wrong_hours:
        advice = (
            "session.ttl_seconds was changed, sessions were deleted by hand, or another program wrote to these keys. "
            "`active` is correct again when the sessions of those hours have expired"
        )
        hours = f"{len(report.wrong_hours)} of {report.compared_hours} counts by hour"
        yield problem(f"{hours} differ from the number of sessions", advice)
    elif report.compared_hours:
        yield good(f"counts equal the number of sessions ({report.compared_hours} counts by hour, source and shard)")
    else:
        yield good("there are no counts to compare yet")
    yield from doctor_privacy.index_findings(report, repair=repair)
    if report.expired_in_indexes:
        sessions = quantity(report.expired_in_indexes, "expired session")
        done = f"removed {sessions} from indexes"
        left = f"the indexes have {sessions} until the user returns or --repair removes them"
        yield good(done if repair else left)
    if report.without_lifetime or report.foreign:
        advice = "another program uses redis.key_prefix. Set another prefix there, and delete its keys"
        keys = quantity(report.without_lifetime + report.foreign, "key")
        yield problem(f"found {keys} of another program or without a lifetime", advice)


class _Bar(AbstractContextManager[Callable[[int], None]]):
    """A progress bar on a terminal. Without a terminal it prints nothing."""

    def __init__(self, console: Console, total: int | None) -> None:
        columns = (TextColumn("Reading keys"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("keys", total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda number: self._progress.advance(self._task, number)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
