"""The load of `jay-tracking torture`: visitors and their sessions."""

import asyncio
import random
import secrets
import time
from http import HTTPStatus

from service.commands.torture_http import Reply, TortureHttp
from service.commands.torture_ledger import Entry, Ledger, Outcomes

_USERS = 50
# Shares of the requests. The rest reads ids that have ended or were replaced.
_CREATIONS, _CHANGES, _ENDS, _READS = 0.45, 0.15, 0.15, 0.2


class Load:
    """Visitors with one request in progress each. All answers go into the ledger."""

    def __init__(self, http: TortureHttp) -> None:
        self._http = http
        self.ledger = Ledger()
        self._users = [f"torture-{secrets.token_hex(4)}" for _ in range(_USERS)]
        self._over = asyncio.Event()

    async def run(self, seconds: float) -> None:
        """Send requests for this long, or until `stop`. Then close the ledger."""
        self._over.clear()
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._http.connections):
                tasks.create_task(self._visit(until))
        self.ledger.close()

    def stop(self) -> None:
        """End `run` after the requests in progress."""
        self._over.set()

    async def _has_turn(self, until: float) -> bool:
        """Wait for the pace, and return False when the load is over."""
        delay, left = self._http.pace.delay(), until - time.monotonic()
        try:
            await asyncio.wait_for(self._over.wait(), min(delay, left))
        except TimeoutError:
            return delay < left
        return False

    async def _visit(self, until: float) -> None:
        while not self._over.is_set() and await self._has_turn(until):
            chance = random.random()  # noqa: S311 - no secret
            if chance < _CREATIONS:
                await self._create()
            elif chance < _CREATIONS + _CHANGES:
                await self._change_user()
            elif chance < _CREATIONS + _CHANGES + _ENDS:
                await self._end()
            elif chance < _CREATIONS + _CHANGES + _ENDS + _READS:
                await self._read_live()
            else:
                await self._read_dead()

    async def _create(self) -> None:
        """Create a session, every second one with a user."""
        user = random.choice([None, random.choice(self._users)])  # noqa: S311 - no secret
        reply = await self._send("POST", user_id=user)
        if _settle(self.ledger.created, reply, HTTPStatus.CREATED):
            self.ledger.live.add(Entry(reply.session_id, time.monotonic(), user_id=user))

    async def _change_user(self) -> None:
        """Change the consent of a visitor: give a user id, or withdraw it."""
        if (entry := self.ledger.live.take()) is None:
            return await self._create()
        entry.wanted_user_id = random.choice(self._users) if entry.user_id is None else None  # noqa: S311 - no secret
        reply = await self._http.change_user(entry.session_id, entry.wanted_user_id)
        self.ledger.note(reply.reason, is_served=reply.is_served)
        if _settle(self.ledger.changes, reply, HTTPStatus.OK):
            self.ledger.replace(entry, reply.session_id, entry.wanted_user_id)
        elif reply.is_refusal:
            self.ledger.missed += reply.status == HTTPStatus.NOT_FOUND
            self.ledger.live.add(entry)
        else:
            self.ledger.unsettled.add(entry)
        return None

    async def _end(self) -> None:
        """End a session. While the request runs, no other visitor uses the session."""
        if (entry := self.ledger.live.take()) is None:
            return await self._create()
        reply = await self._send("DELETE", entry)
        if _settle(self.ledger.ends, reply, HTTPStatus.NO_CONTENT):
            entry.ended_at = time.monotonic()
            self.ledger.ended.add(entry)
        elif reply.is_refusal:
            self.ledger.live.add(entry)
        else:
            self.ledger.uncertain.add(entry)
        return None

    async def _read_live(self) -> None:
        if (entry := self.ledger.live.take()) is None:
            return await self._create()
        reply = await self._send("GET", entry)
        self.ledger.missed += reply.status == HTTPStatus.NOT_FOUND
        self.ledger.live.add(entry)
        return None

    async def _read_dead(self) -> None:
        pool = random.choice((self.ledger.ended, self.ledger.replaced))  # noqa: S311 - no secret
        if (entry := pool.take()) is None:
            return await self._create()
        reply = await self._send("GET", entry)
        self.ledger.late_reads += reply.status == HTTPStatus.OK
        pool.add(entry)
        return None

    async def _send(self, method: str, entry: Entry | None = None, user_id: str | None = None) -> Reply:
        reply = await self._http.send(method, entry.session_id if entry else None, user_id)
        self.ledger.note(reply.reason, is_served=reply.is_served)
        return reply


def _settle(outcomes: Outcomes, reply: Reply, expected: HTTPStatus) -> bool:
    """Count the outcome of a change and return whether it was acknowledged."""
    if reply.status == expected:
        outcomes.acknowledged += 1
        return True
    if reply.is_refusal:
        outcomes.refused += 1
    else:
        outcomes.unknown += 1
    return False
