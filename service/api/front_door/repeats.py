"""Recognizes a request that repeats an earlier one of its method and connection.

A page, a television or a back end sends the same head again and again, at most with
another session id. To compare a head takes 0.5 µs, and to read it takes 5 µs.
"""

import re

from service.api.front_door.exchange import Exchange, Peer, Plan
from service.api.front_door.fast_path import FastPath
from service.sessions import SESSION_ID_LENGTH, SESSION_ID_PATTERN

# A connection keeps one head for each method, and there may be many connections.
_MAX_BYTES = 2048

_ID = re.compile(SESSION_ID_PATTERN.encode())


class Repeat:
    """The head of a request and its plan, without the session id.

    Another id in the same place changes nothing else, because it has the same length
    and the same kind of characters. A head that has several session ids, or its id
    twice, only matches an equal head.
    """

    __slots__ = ("_after", "_before", "_presented", "plan")

    def __init__(self, head: bytes, plan: Plan, presented: tuple[str, ...]) -> None:
        self.plan = plan
        self._presented = presented
        self._before, self._after = head, b""
        if len(presented) == 1:
            before, session_id, after = head.lower().partition(presented[0].encode())
            if session_id not in after:
                self._before, self._after = head[: len(before)], head[len(before) + len(session_id) :]

    @classmethod
    def of(cls, exchange: Exchange, data: bytes) -> "Repeat | None":
        """Return the repeat of a request, or None if its head is too long to keep."""
        plan = exchange.plan
        return cls(data[: plan.size], plan, exchange.presented or ()) if plan.size <= _MAX_BYTES else None

    def presented_in(self, data: bytes) -> tuple[str, ...] | None:
        """Return the session ids of a request that repeats this one, or None."""
        before, after = self._before, self._after
        if not data.startswith(before):
            return None
        if not after:
            return self._presented
        start, end = len(before), len(before) + SESSION_ID_LENGTH
        if not data.startswith(after, end) or not _ID.fullmatch(data, start, end):
            return None
        return (data[start:end].lower().decode(),)


class Repeats:
    """The last requests of a connection, one for each method."""

    __slots__ = ("_by_first_byte",)

    def __init__(self) -> None:
        self._by_first_byte: dict[int, Repeat] | None = None  # 64 bytes less while idle

    def begin(self, fast_path: FastPath, data: bytes, peer: Peer, *, keeps: bool) -> Exchange | None:
        """Begin to answer the request in `data`. Returns None if it is for aiohttp.

        With `keeps`, a later request is compared with this one.
        """
        repeat = self._by_first_byte.get(data[0]) if self._by_first_byte else None
        if repeat is not None and fast_path.planner.is_current(repeat.plan):
            presented = repeat.presented_in(data)
            if presented is not None:
                return fast_path.begin(repeat.plan, presented, data, peer)
        plan = fast_path.planner.plan(data)
        exchange = plan and fast_path.begin(plan, None, data, peer)
        if keeps and exchange is not None and (repeat := Repeat.of(exchange, data)):
            if self._by_first_byte is None:
                self._by_first_byte = {}
            self._by_first_byte[data[0]] = repeat
        return exchange
