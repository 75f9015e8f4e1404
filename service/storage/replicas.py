"""The replicas of one server, for `redis.durability: replicated`.

A failover that an operator starts promotes a replica while the primary still runs.
Sentinel leaves the primary as it is for about a second, and the other replicas follow
it for this time. A write that reaches all of them is lost all the same, because the
promoted replica lacks it. So `Replicas` asks each replica that has left whether it is a
primary now.
"""

import asyncio
import time
from collections.abc import Collection, Sequence
from typing import Any

from redis.exceptions import RedisError

from service.config.redis_servers import RedisServers
from service.storage.client import Client
from service.storage.deadlines import Deadlines, next_step

# Sentinel needs 1 to 2 s. A replica that an operator has detached for good stops writes
# for no longer than this.
HOLD_SECONDS = 10.0

_Address = tuple[str, int]  # host and port


class Replicas:
    """The replicas that the last reply to ROLE listed."""

    def __init__(self, timeout_seconds: float) -> None:
        """`timeout_seconds` limits each question to a replica."""
        self._timeout_seconds = timeout_seconds
        self._deadlines = Deadlines(timeout_seconds)
        self._known: frozenset[_Address] = frozenset()
        self._held_until = 0.0

    @property
    def count(self) -> int:
        """The number of replicas that a write has to reach, at least one."""
        return max(1, len(self._known))

    async def update(self, url: str, role: Sequence[Any]) -> int | None:
        """Take the replicas from the reply to ROLE of the primary at `url`.

        Returns the number of replicas that a write has to reach. Returns None when a
        replica has left because it is a primary now, and for HOLD_SECONDS afterwards.
        """
        listed = frozenset((host.decode(), int(port)) for host, port, _ in role[2])
        # Other calls that run meanwhile have to ask as well, so `_known` changes last.
        if await self._is_any_primary(url, self._known - listed):
            self._held_until = time.monotonic() + HOLD_SECONDS
        self._known = listed
        return None if time.monotonic() < self._held_until else self.count

    async def _is_any_primary(self, url: str, replicas: Collection[_Address]) -> bool:
        """Ask replicas with the credentials of the primary at `url`."""
        if not replicas or url.startswith("unix:"):
            return False
        next_step()
        servers = RedisServers.of(url)
        return any(await asyncio.gather(*(self._is_primary(servers.server_url(*replica)) for replica in replicas)))

    async def _is_primary(self, url: str) -> bool:
        """Return whether a server answers that it is a primary."""
        client = Client(url, self._timeout_seconds, connections=1)
        try:
            [role] = await self._deadlines.limit(client.call_all([("ROLE",)]))
        except (RedisError, OSError, TimeoutError):
            return False
        finally:
            await client.close()
        return isinstance(role, list) and role[0] == b"master"
