"""The check of `jay-tracking torture` after its load, and the end of its sessions."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from http import HTTPStatus

from service.commands.torture_http import Reply, TortureHttp
from service.commands.torture_ledger import Entry, Findings, Ledger, Pool
from service.errors import CommandError

READY_SECONDS = 120.0
_POLL_SECONDS = 0.05
_RETRY_SECONDS = 0.25
_ANSWER_SECONDS = 30.0
_FOUND_OR_NOT = {HTTPStatus.OK, HTTPStatus.NOT_FOUND}

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
    """Return how many ids `check` reads. Each change that it settles adds two."""
    pools = (ledger.live, ledger.ended, ledger.replaced)
    return sum(len(pool.entries) for pool in pools) + 2 * len(ledger.unsettled.entries)


async def check(http: TortureHttp, ledger: Ledger, on_step: OnStep) -> Findings:
    """Read every session whose state is known, and return what was found.

    Changes of consent without an answer are repeated first. Each has one effect,
    whether or not it ran before. Raises CommandError if the service does not answer.
    """
    one = _Check(http, ledger, on_step)
    unsettled, ledger.unsettled = ledger.unsettled, Pool()
    for pool, step in (
        (unsettled, one.settle),
        (ledger.live, one.read_live),
        (ledger.ended, one.read_ended),
        (ledger.replaced, one.read_replaced),
    ):
        await _each(pool.entries, step, http.connections)
    return one.findings


class _Check:
    """The steps of a check."""

    def __init__(self, http: TortureHttp, ledger: Ledger, on_step: OnStep) -> None:
        self._http = http
        self._ledger = ledger
        self._on_step = on_step
        self.findings = Findings()

    async def settle(self, entry: Entry) -> None:
        """Repeat a change of consent."""
        reply = await _answer(
            self._http, _FOUND_OR_NOT, lambda: self._http.change_user(entry.session_id, entry.wanted_user_id)
        )
        if reply.status == HTTPStatus.OK:
            self._ledger.settle(entry, reply.session_id)
        else:
            self.findings.lost.append(entry)

    async def read_live(self, entry: Entry) -> None:
        """Read a session that has to live, with its user id or without one."""
        reply = await self._read(entry)
        if reply.status != HTTPStatus.OK:
            self.findings.lost.append(entry)
            return
        self.findings.found += 1
        if reply.user_id != entry.user_id:
            self.findings.other_user.append(entry)

    async def read_ended(self, entry: Entry) -> None:
        """Read a session that has to be dead."""
        is_found = (await self._read(entry)).status == HTTPStatus.OK
        self.findings.gone += not is_found
        self.findings.revived += [entry] * is_found

    async def read_replaced(self, entry: Entry) -> None:
        """Read an id that has to be dead, because its session has another one."""
        is_found = (await self._read(entry)).status == HTTPStatus.OK
        self.findings.replaced += not is_found
        self.findings.returned += [entry] * is_found

    async def _read(self, entry: Entry) -> Reply:
        reply = await _answer(self._http, _FOUND_OR_NOT, lambda: self._http.send("GET", entry.session_id))
        self._on_step()
        return reply


def sessions_to_end(ledger: Ledger) -> Sequence[Entry]:
    """Return the sessions that may live."""
    return [*ledger.live.entries, *ledger.uncertain.entries]


async def end_all(http: TortureHttp, sessions: Sequence[Entry], on_step: OnStep) -> None:
    """End sessions.

    Raises CommandError if the service does not answer.
    """

    async def end(entry: Entry) -> None:
        await _answer(http, {HTTPStatus.NO_CONTENT}, lambda: http.send("DELETE", entry.session_id))
        on_step()

    await _each(sessions, end, http.connections)


async def _each(entries: Iterable[Entry], step: Callable[[Entry], Awaitable[None]], connections: int) -> None:
    left = iter(entries)

    async def work() -> None:
        for entry in left:
            await step(entry)

    await asyncio.gather(*(work() for _ in range(connections)))


async def _answer(http: TortureHttp, expected: set[HTTPStatus], send: Callable[[], Awaitable[Reply]]) -> Reply:
    """Return the first expected answer."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while True:
        await http.pace.wait()
        reply = await send()
        if reply.status in expected:
            return reply
        if time.monotonic() > deadline:
            raise CommandError(
                f"the check stopped, because the service does not serve requests after the load ({reply.reason}). "
                "See its log"
            )
        await asyncio.sleep(_RETRY_SECONDS)
