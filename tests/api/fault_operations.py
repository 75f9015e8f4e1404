"""The operations of the fault matrix, and the sessions and users that they need."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from aiohttp import ClientResponse

from service.api.wire import OPERATOR_PATH as BASE
from service.config.settings import SessionSettings
from service.digests import UserDigest
from service.sessions import SHARD_COUNT, shard_of
from tests.api.conftest import ORIGIN, PATH, TOKEN, Service
from tests.api.topologies import OPERATOR

READS = ("find", "head", "lookup")
_DIGEST = UserDigest(SessionSettings().user_secret)


class Operation(NamedTuple):
    """One request. `calls` is at least the number of its calls to Redis in a row."""

    name: str
    status: int  # of a success
    method: str
    path: str = PATH
    calls: int = 1
    headers: Mapping[str, str] = MappingProxyType({})
    json: Mapping[str, object] | None = None

    async def send(self, service: Service) -> ClientResponse:
        """Send the request as a page of an allowed origin does."""
        more = {} if self.json is None else {"json": self.json}
        return await service.request(self.method, self.path, headers={**self.headers, "Origin": ORIGIN}, **more)


@dataclass(frozen=True)
class Subjects:
    """The sessions and users of some shards. Each operation has its own."""

    found: str
    ended: str
    exported: str
    erased: str
    new_user: str
    given: str
    withdrawn: str

    def operations(self) -> Iterator[Operation]:
        """Yield the operations that need these shards only."""
        yield Operation("create", 201, "POST", json={"user_id": self.new_user})
        yield Operation("find", 200, "GET", headers={TOKEN: self.found})
        yield Operation("head", 200, "HEAD", headers={TOKEN: self.found})
        yield Operation("end", 204, "DELETE", headers={TOKEN: self.ended})
        yield Operation("give", 200, "PUT", f"{PATH}/user", 2, {TOKEN: self.given}, {"user_id": self.new_user})
        yield Operation("withdraw", 200, "DELETE", f"{PATH}/user", 2, {TOKEN: self.withdrawn})
        asked = {"session_ids": [self.found]}
        yield Operation("lookup", 200, "POST", f"{BASE}/sessions/lookup", headers=OPERATOR, json=asked)
        yield Operation("user", 200, "GET", f"{BASE}/analytics/users/{self.exported}", 4, OPERATOR)
        yield Operation("export", 200, "GET", f"{BASE}/users/{self.exported}/sessions", 3, OPERATOR)

    def operations_on_all_shards(self) -> Iterator[Operation]:
        """Yield the operations that need every shard."""
        yield Operation("counts", 200, "GET", f"{BASE}/analytics/sessions?interval=day", 4 * SHARD_COUNT, OPERATOR)
        yield Operation("users", 200, "GET", f"{BASE}/analytics/users", 2 * SHARD_COUNT, OPERATOR)
        yield Operation("erase", 200, "DELETE", f"{BASE}/users/{self.erased}", 2 * SHARD_COUNT, OPERATOR)
        yield Operation("ready", 200, "GET", "/readyz", 8)


async def seeded(service: Service, shards: Sequence[int]) -> Subjects:
    """Create the sessions of the subjects in some shards."""
    exported, erased, *others = (_user_in(shards, number) for number in range(7))
    for user in (exported, erased):
        await service.create(json={"user_id": user})
    found, ended, given, withdrawn = [await service.create(json={"user_id": user}) for user in others[:4]]
    return Subjects(found, ended, exported, erased, others[4], given, withdrawn)


def _user_in(shards: Sequence[int], number: int) -> str:
    """Return a user id whose sessions are in one of the shards."""
    names = (f"canary-user-{number}-{attempt}" for attempt in range(1000))
    return next(name for name in names if shard_of(_DIGEST(name)) in shards)
