"""Redis's side of the doctor: is it set up so that nothing is lost, and do its counts agree with its sessions."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from service.commands import doctor_privacy
from service.commands.findings import Finding, good, problem, unknown
from service.errors import StoreUnavailable
from service.sessions import UserDigest
from service.settings import Settings
from service.storage.connection import RedisConnection
from service.storage.inspection import Audit, Inspection
from service.storage.keyspace import Keyspace
from service.storage.state import state_of
from service.store_state import Risk, risks_of

_OLDEST_VERSION = (7, 0)
_TIMEOUT_SECONDS = 5.0
_FULL = 0.8  # of maxmemory
_AUDIT_COMMANDS = "+scan +hscan +get +getrange +hexists +exists +smembers +ttl"


async def look(settings: Settings, url: str, console: Console, *, repair: bool) -> list[tuple[str, list[Finding]]]:
    """Return headed findings about the Redis that the settings name; `url` is never `embedded`."""
    # Nobody waits for the doctor, and it should not give up on a Redis that is busy.
    connection = RedisConnection(url, dataclasses.replace(settings.redis, timeout_seconds=_TIMEOUT_SECONDS))
    keyspace = Keyspace(settings.redis.key_prefix)
    digest, *previous = map(UserDigest, (settings.session.user_secret, *settings.session.previous_user_secrets))
    ttl_seconds = settings.session.ttl_seconds
    inspection = Inspection(connection, keyspace, digest, ttl_seconds=ttl_seconds, previous=previous)
    parts: list[tuple[str, list[Finding]]] = []
    try:
        parts.append(("Redis", list(_server(await inspection.server()))))
        total = await inspection.count_keys()
        with _Bar(console, total) as advance:
            audit = await inspection.audit(advance, repair=repair)
        parts.append(("Counts and indexes", list(_audit(audit, repair=repair))))
        privacy = doctor_privacy.look(connection, keyspace, (digest, *previous))
        parts.append(("Users' data", [finding async for finding in privacy]))
    except StoreUnavailable as error:
        advice = "check redis.url, and that this machine reaches it; the service answers 503 as long"
        parts.append(("Redis", [problem(f"Redis cannot be asked ({error})", advice)]))
    finally:
        await connection.close()
    return parts


def _server(info: Mapping[str, Any] | None) -> Iterator[Finding]:
    if info is None:
        yield unknown(
            "not allowed to look at persistence, eviction and memory", "allow the Redis user +info to see them"
        )
        return
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info.get("redis_version") or "")
    found = re.match(r"(\d+)\.(\d+)", version)
    if found is None:
        yield unknown(f"the version of {name} is not in INFO", "7.0 or newer is needed, or Valkey 7.2")
    elif (int(found[1]), int(found[2])) >= _OLDEST_VERSION:
        yield good(f"{name} {version}")
    else:
        yield problem(f"{name} {version}", "7.0 or newer is needed")
    if info.get("role") == "slave":  # the word of INFO, in every version
        yield problem("it is a replica and takes no writes", "name the primary in redis.url")
    yield from _persistence(info)
    yield from _memory(info)


def _persistence(info: Mapping[str, Any]) -> Iterator[Finding]:
    risks = risks_of(state_of(info))
    if "append_only_file" not in risks:
        yield unknown("persistence is not in INFO", "look in the provider's console whether data survives a restart")
    elif (risk := risks["append_only_file"]) is not None:
        yield problem(risk.problem, risk.advice)
    elif any(info.get(name, "ok") != "ok" for name in ("aof_last_write_status", "aof_last_bgrewrite_status")):
        yield problem("the append-only file cannot be written", "see Redis's log; usually the disk is full")
    else:
        yield good("an append-only file keeps sessions over a restart")


def _memory(info: Mapping[str, Any]) -> Iterator[Finding]:
    state = state_of(info)
    risks = risks_of(state)
    if state.memory_limit_bytes != 0:  # the missing limit is the problem
        yield from _eviction(risks)
    used, limit = state.memory_used_bytes, state.memory_limit_bytes
    if (risk := risks.get("memory_limit")) is not None:
        yield problem(risk.problem, risk.advice)
    elif limit is None or used is None:
        yield unknown("memory in use and its limit are not in INFO")
    elif used > _FULL * limit:
        advice = "give it more; when full, no session can be created"
        yield problem(f"memory is nearly used up: {used / limit:.0%} of maxmemory", advice)
    else:
        yield good(f"memory: {used / 2**20:,.0f} of {limit / 2**20:,.0f} MiB in use")


def _eviction(risks: Mapping[str, Risk | None]) -> Iterator[Finding]:
    if "eviction" not in risks:
        advice = "it must be noeviction, or Redis may evict sessions and counts"
        yield unknown("maxmemory-policy is not in INFO", advice)
    elif (risk := risks["eviction"]) is not None:
        yield problem(risk.problem, risk.advice)
    else:
        yield good("nothing is evicted")


def _audit(audit: Audit | None, *, repair: bool) -> Iterator[Finding]:
    if audit is None:
        yield unknown("not allowed to look at all keys", f"allow the Redis user {_AUDIT_COMMANDS}")
        return
    yield good(f"{audit.sessions:,} sessions, {audit.users:,} of them of users, among {audit.keys:,} keys")
    if audit.wrong_hours:
        advice = (
            "session.ttl_seconds was changed, sessions were deleted by hand, or somebody else wrote to these keys; "
            "`active` is right again when the sessions of those hours have expired"
        )
        hours = f"{len(audit.wrong_hours)} of {audit.compared_hours} counts by hour"
        yield problem(f"{hours} are not the number of their sessions", advice)
    elif audit.compared_hours:
        yield good(f"counts agree with sessions ({audit.compared_hours} by hour, source and shard)")
    else:
        yield good("there is nothing to compare yet")
    yield from doctor_privacy.index_findings(audit, repair=repair)
    if audit.expired_in_indexes:
        done = (
            "were taken out of indexes"
            if repair
            else "stand in indexes; they go when the user comes or with --repair"
        )
        yield good(f"{audit.expired_in_indexes} expired sessions {done}")
    if audit.without_lifetime or audit.foreign:
        advice = "another program writes under redis.key_prefix: give it another prefix, and delete its keys"
        number = audit.without_lifetime + audit.foreign
        yield problem(f"{number} keys are not of this service, or have no lifetime", advice)


class _Bar(AbstractContextManager[Callable[[int], None]]):
    """A progress bar on a terminal, nothing elsewhere."""

    def __init__(self, console: Console, total: int | None) -> None:
        columns = (TextColumn("Visiting keys"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._progress.add_task("keys", total=total)

    def __enter__(self) -> Callable[[int], None]:
        self._progress.start()
        return lambda number: self._progress.advance(self._task, number)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
