"""The faults of one server. Each breaks a site and repairs it."""

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from service.sessions import SESSION_ID_PATTERN
from tests.support.redis_commands import ask, wait_until
from tests.support.servers import RedisServer
from tests.torture.power_loss import append_only_files
from tests.torture.sites import Site

STOPPED_SECONDS = 1.0
LOSSY_SECONDS = 1.0
LOST_REPLIES = 0.05
_ABSENT_SECONDS = (0.0, 0.3)
_MULTI, _EXEC = b"*1\r\n$5\r\nMULTI\r\n", b"*1\r\n$4\r\nEXEC\r\n"
_IDS = re.compile(SESSION_ID_PATTERN.encode())


@dataclass(frozen=True)
class Injected:
    """A fault that is over. Times are of the monotonic clock.

    `excused` are the ids of sessions whose last change the fault has removed. `shards`
    are the only first digits of session ids whose requests may fail, and None allows
    all. `repair` restores the servers after the check.
    """

    began_at: float
    over_at: float
    excused: frozenset[str] = frozenset()
    shards: frozenset[str] | None = None
    repair: Callable[[], Awaitable[None]] | None = None


Fault = Callable[[Site], Awaitable[Injected]]


async def kill_server(site: Site) -> Injected:
    """Kill the server with SIGKILL and start it again."""
    began_at = time.monotonic()
    site.server.kill()
    await _start_again(site)
    return Injected(began_at, time.monotonic())


async def kill_service(site: Site) -> Injected:
    """Kill the supervisor and the workers with SIGKILL and start the service again."""
    began_at = time.monotonic()
    await asyncio.to_thread(site.service.kill)
    await asyncio.to_thread(site.service.start)
    return Injected(began_at, time.monotonic())


async def stop_server(site: Site) -> Injected:
    """Freeze the server for a second."""
    return await _freeze(site.server.signal)


async def stop_service(site: Site) -> Injected:
    """Freeze the supervisor and the workers for a second."""
    return await _freeze(site.service.signal)


async def lose_replies(site: Site) -> Injected:
    """Lose 5 % of the server's replies for a second, after their commands have run."""
    began_at = time.monotonic()
    site.losses.share = LOST_REPLIES
    await asyncio.sleep(LOSSY_SECONDS)
    site.losses.share = 0.0
    return Injected(began_at, time.monotonic())


async def tear_tail(site: Site) -> Injected:
    """Kill the server and cut its append-only file in the middle of a command."""
    began_at = time.monotonic()
    site.server.kill()
    excused = _cut_last_command(site.server)
    await _start_again(site)
    return Injected(began_at, time.monotonic(), excused)


async def fail_power(site: Site) -> Injected:
    """Kill the server, and keep only what it has synchronized."""
    assert site.power is not None
    began_at = time.monotonic()
    site.power.fail()
    await _start_again(site)
    return Injected(began_at, time.monotonic())


async def _start_again(site: Site) -> None:
    """Start the server after a moment, and return when it has loaded its data."""
    await asyncio.sleep(random.uniform(*_ABSENT_SECONDS))
    await asyncio.to_thread(site.server.start)
    await asyncio.to_thread(wait_until, lambda: ask(site.server, "PING") == "PONG", "the data is loaded")


async def _freeze(send: Callable[[signal.Signals], None]) -> Injected:
    began_at = time.monotonic()
    send(signal.SIGSTOP)
    try:
        await asyncio.sleep(STOPPED_SECONDS)
    finally:
        send(signal.SIGCONT)
    return Injected(began_at, time.monotonic())


def _cut_last_command(server: RedisServer) -> frozenset[str]:
    """Cut the file within its last command, and return the session ids in it.

    Redis drops the command, and with it the whole transaction that it is in.
    """
    file = append_only_files(server)[-1]
    content = file.read_bytes()
    command = content.rindex(b"\r\n*", 0, len(content) - 1) + 2
    cut = random.randrange(command + 1, len(content))
    multi = content.rfind(_MULTI, 0, cut)
    is_within = multi >= 0 and content.find(_EXEC, multi, cut) < 0
    dropped = content[multi if is_within else command :]
    os.truncate(file, cut)
    return frozenset(found.decode() for found in _IDS.findall(dropped))
