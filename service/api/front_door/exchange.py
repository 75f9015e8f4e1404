"""A frequent request in progress, and the table row that describes its kind."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from asyncio import Future

    from service.api_keys import ApiKey
    from service.sessions import Session

# The status, the status line with the first headers, and the body.
Answer: TypeAlias = tuple[int, str, bytes]
Headers: TypeAlias = dict[bytes, bytes]  # by lower-case name
# Returns the address at the other end of the connection.
Peer: TypeAlias = Callable[[], str]
Finish: TypeAlias = Callable[["Exchange", Any, str], Answer]


class Exchange:
    """A request in progress: everything that its answer and its record need.

    `future` is the result of Redis, or None for an answer that needs none. `size` is
    the number of bytes that the request has.
    """

    __slots__ = ("cors", "future", "key", "result", "session", "size", "started", "where")

    def __init__(self, where: "Route", size: int, cors: str) -> None:
        self.started = time.perf_counter()
        self.where = where
        self.size = size
        self.cors = cors
        self.key: ApiKey | None = None  # /livez and preflights need none
        self.future: Future[Any] | None = None
        self.result: Any = None  # where there is no future
        self.session: Session | None = None  # the one that is created


class Route(NamedTuple):
    """A frequent request: its names in the log, and how it begins and finishes."""

    method: str
    path: str
    begin: Callable[["Exchange", Headers, bytes, Peer], "Exchange | None"]
    finish: Finish
