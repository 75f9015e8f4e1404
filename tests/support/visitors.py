"""Visitors that create and read sessions in turn and record each answer."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientResponse

from tests.support.processes import TOKEN

DEADLINE_SECONDS = 30.0

# Sends a request with a method and `headers=`, and returns the response after its body.
Request = Callable[..., Awaitable[ClientResponse]]


@dataclass(frozen=True)
class Answered:
    """The answer to a creation or to the read of its session.

    Times are of the monotonic clock.
    """

    visitor: int
    status: int
    sent_at: float
    answered_at: float
    token: str | None = None  # the id of a successful creation

    @property
    def is_success(self) -> bool:
        """Return whether the visitor got the expected answer."""
        return self.status in {200, 201}


@dataclass
class Visitors:
    """Concurrent visitors."""

    request: Request
    number: int
    answers: list[Answered] = field(default_factory=list)
    _is_over: bool = False

    async def visit(self, visitor: int) -> None:
        """Create and read sessions until `stop` is called."""
        while not self._is_over:
            token = await self._send(visitor, "POST")
            if token is not None:
                await self._send(visitor, "GET", token)

    async def _send(self, visitor: int, method: str, token: str | None = None) -> str | None:
        sent_at = time.monotonic()
        response = await self.request(method, headers={TOKEN: token} if token else {})
        acknowledged = str(response.headers[TOKEN]) if response.status == 201 else None
        self.answers.append(Answered(visitor, response.status, sent_at, time.monotonic(), acknowledged))
        return acknowledged

    def stop(self) -> None:
        """Let each visitor finish its current session."""
        self._is_over = True

    def since(self, moment: float) -> Sequence[Answered]:
        """Return the answers to requests that were sent after a moment."""
        return [answer for answer in self.answers if answer.sent_at >= moment]

    async def served(self, rounds: int, since: float) -> None:
        """Wait until the last `rounds` answers to each visitor are successes."""
        await self._until(lambda: all(self._ends_well(visitor, rounds, since) for visitor in range(self.number)))

    async def _until(self, check: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not check():
                await asyncio.sleep(0.01)

    def _ends_well(self, visitor: int, rounds: int, since: float) -> bool:
        last = [answer for answer in self.answers if answer.visitor == visitor and answer.sent_at >= since][-rounds:]
        return len(last) == rounds and all(answer.is_success for answer in last)

    def recovered_after(self, moment: float) -> float:
        """Return the seconds from a moment to the last failed answer."""
        failures = [answer.answered_at for answer in self.answers if not answer.is_success]
        return max(failures, default=moment) - moment


@asynccontextmanager
async def visitors(request: Request, number: int) -> AsyncIterator[Visitors]:
    """Run visitors while the context is open."""
    crowd = Visitors(request, number)
    async with asyncio.TaskGroup() as tasks:
        for visitor in range(number):
            tasks.create_task(crowd.visit(visitor))
        try:
            yield crowd
        finally:
            crowd.stop()
