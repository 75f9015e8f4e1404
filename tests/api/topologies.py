"""Shared by the tests of Sentinel and Cluster: statuses by shard, and waiting."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus

from service.api.wire import OPERATOR_PATH as BASE
from service.sessions import SHARD_COUNT
from tests.api.conftest import TOKEN, Service

DEADLINE_SECONDS = 30.0
OPERATOR = {"X-API-Key": "operator-key"}


async def session_in_each_shard(service: Service) -> dict[int, str]:
    """Create sessions of guests until each shard has one. Returns the id by shard."""
    found: dict[int, str] = {}
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(found) < SHARD_COUNT:
            session_id = await service.create()
            found[int(session_id[0], 16)] = session_id
    return found


async def read_all(service: Service, sessions: dict[int, str]) -> dict[int, int]:
    """Return the status of a GET by shard."""
    responses = {
        shard: await service.request("GET", headers={TOKEN: session_id}) for shard, session_id in sessions.items()
    }
    return {shard: response.status for shard, response in responses.items()}


async def operator_statuses(service: Service, session_ids: list[str]) -> dict[str, int]:
    """Return the status of every route for operators."""
    requests = {
        "lookup": service.request(
            "POST", f"{BASE}/sessions/lookup", json={"session_ids": session_ids}, headers=OPERATOR
        ),
        "counts": service.request("GET", f"{BASE}/analytics/sessions?interval=day", headers=OPERATOR),
        "top": service.request("GET", f"{BASE}/analytics/users", headers=OPERATOR),
        "user": service.request("GET", f"{BASE}/analytics/users/u", headers=OPERATOR),
        "export": service.request("GET", f"{BASE}/users/u/sessions", headers=OPERATOR),
        "erase": service.request("DELETE", f"{BASE}/users/u", headers=OPERATOR),
        "status": service.request("GET", f"{BASE}/analytics/store", headers=OPERATOR),
        "ready": service.request("GET", "/readyz"),
    }
    return {name: (await request).status for name, request in requests.items()}


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = DEADLINE_SECONDS) -> float:
    """Wait until a condition holds. Returns the seconds that it took."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)
    return loop.time() - started


async def is_ready(service: Service) -> bool:
    """Return whether `/readyz` answers 200."""
    return (await service.request("GET", "/readyz")).status == HTTPStatus.OK
