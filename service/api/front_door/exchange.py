"""A frequent request in progress, and the plan and the route that it follows."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from service.api_keys import ApiKey
    from service.deferred import Deferred
    from service.sessions import Session

# The status, the status line with the first headers, and the body.
Answer: TypeAlias = tuple[int, str, bytes]
Headers: TypeAlias = dict[bytes, bytes]  # by lower-case name
# Returns the address at the other end of the connection.
Peer: TypeAlias = Callable[[], str]
Begin: TypeAlias = Callable[["Exchange", bytes, Peer], "Exchange | None"]
Finish: TypeAlias = Callable[["Exchange", Any, str], Answer]


class Route(NamedTuple):
    """A frequent request: its names in the log, and how it begins and finishes.

    With `is_for_proxies`, the key needs another scope, no other header changes the
    status, and `finish` gets the errors of Redis as results.
    """

    method: str
    path: str
    begin: Begin
    finish: Finish
    needs_key: bool = True
    takes_body: bool = False
    is_for_proxies: bool = False


class Plan(NamedTuple):
    """How to answer a request, to the extent that its head decides it.

    Requests with equal heads have the same plan while the API keys are the same. `size`
    is the length of the head in bytes.
    """

    route: Route
    size: int
    headers: Headers
    cors: str
    key: "ApiKey | None"  # /livez and preflights need none
    keys_version: int


class Exchange:
    """A request in progress: everything that its answer and its record need.

    `presented` are the session ids, or None before they are read. `deferred` is the
    result of Redis, or None for an answer that needs none. `size` is the length of the
    head and the body in bytes. `session_id` is the session that the request has
    created, found or ended.
    """

    __slots__ = ("cors", "deferred", "plan", "presented", "result", "session", "session_id", "size", "started")

    def __init__(self, plan: Plan, presented: tuple[str, ...] | None) -> None:
        self.started = time.perf_counter()
        self.plan = plan
        self.presented = presented
        self.size = plan.size
        self.cors = plan.cors
        self.deferred: Deferred[Any] | None = None
        self.result: Any = None  # when Redis is not asked
        self.session: Session | None = None  # the one that is created
        self.session_id: str | None = None
