"""The check of `jay-tracking torture` after its load, and the end of its sessions."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus

from service.commands.torture_http import Reply, TortureHttp
from service.commands.torture_ledger import Entry, Findings, Ledger
from service.errors import CommandError

READY_SECONDS = 120.0
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.25
_ANSWER_SECONDS = 30.0

OnStep = Callable[[], object]


async def wait_until_ready(http: TortureHttp) -> float:
    """Return the seconds until the service was ready.

    Raises CommandError after two minutes.
    """
    started = time.monotonic()
    while not await http.is_ready():
        if time.monotonic() - started > READY_SECONDS:
            raise CommandError(
                f"the service is not ready {READY_SECONDS:.0f} s after the load, so nothing can be checked. "
                "See its log. The sessions of this run expire by themselves"
            )
        await asyncio.sleep(_POLL_SECONDS)
    return time.monotonic() - started


def sessions_to_check(ledger: Ledger) -> int:
    """Return how many sessions `check` reads."""
    return len(ledger.live.entries) + len(ledger.ended.entries)


async def check(http: TortureHttp, ledger: Ledger, on_step: OnStep) -> Findings:
    """Read every session whose state is known, and return what was found.

    Raises CommandError if the service does not answer.
    """
    findings = Findings()

    async def read(entry: Entry) -> None:
        reply = await _answer(http, "GET", entry, {HTTPStatus.OK, HTTPStatus.NOT_FOUND})
        is_found = reply.status == HTTPStatus.OK
        if entry.ended_at is not None:
            findings.gone += not is_found
            findings.revived += [entry] * is_found
        elif is_found:
            findings.found += 1
        else:
            findings.lost.append(entry)
        on_step()

    await _each([*ledger.live.entries, *ledger.ended.entries], read, http.connections)
    return findings


def sessions_to_end(ledger: Ledger) -> Sequence[Entry]:
    """Return the sessions that may live."""
    return [*ledger.live.entries, *ledger.uncertain.entries]


async def end_all(http: TortureHttp, sessions: Sequence[Entry], on_step: OnStep) -> None:
    """End sessions.

    Raises CommandError if the service does not answer.
    """

    async def end(entry: Entry) -> None:
        await _answer(http, "DELETE", entry, {HTTPStatus.NO_CONTENT})
        on_step()

    await _each(sessions, end, http.connections)


async def _each(entries: Iterable[Entry], step: Callable[[Entry], Awaitable[None]], connections: int) -> None:
    left = iter(entries)

    async def work() -> None:
        for entry in left:
            await step(entry)

    await asyncio.gather(*(work() for _ in range(connections)))


async def _answer(http: TortureHttp, method: str, entry: Entry, expected: set[HTTPStatus]) -> Reply:
    """Return the first expected answer."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        await http.pace.wait()
        reply = await http.send(method, entry.session_id)
        if reply.status in expected:
            return reply
        if time.monotonic() > deadline:
            raise CommandError(
                f"the check stopped, because the service does not serve requests after the load ({reply.reason}). "
                "See its log"
            )
        await asyncio.sleep(_RETRY_SECONDS)
