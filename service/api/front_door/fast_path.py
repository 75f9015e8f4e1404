"""The fast path: answers a frequent request without a task, request object or router.

It answers valid requests for sessions and forward-auth, preflights and /livez.
Everything else is for aiohttp, so only one place explains the errors of clients. The
fast path answers these errors itself: a session that does not exist or has ended
already, a Redis that cannot serve, an overload, a creation above its limit, and a bug.
A second attempt through aiohttp would ask Redis again. It could also create a second
session, or count twice.

Policy and constants are those of the handlers: keys and origins (`auth.py`, `cors.py`),
candidates (`session_token.py`), bodies (`create_body.py`), limits (`create_limits.py`),
problem documents (`problems.py`). `tests/api/test_front_door.py` compares both ways.
"""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from aiohttp import hdrs

from service import errors
from service.api import wire
from service.api.auth import Authorizer
from service.api.cors import Cors
from service.api.dispatcher import new_request_id
from service.api.forward_auth import UNKNOWN_ERRORS
from service.api.front_door.answers import CLOSE, DateLine, Problems, ProblemTemplate, expires_line, start_of
from service.api.front_door.creations import Creations
from service.api.front_door.exchange import Answer, Exchange, Peer, Plan, Route
from service.api.front_door.forward_auth import ForwardAuthAnswers
from service.api.front_door.heads import presented_in
from service.api.front_door.plans import Planner
from service.api.handlers.health import ALIVE, Health
from service.api.handlers.sessions import session_not_found
from service.api.responses import empty_response, json_response, open_json_response
from service.api.session_body import session_json
from service.api.session_token import SessionCookie
from service.sessions import Session, SessionStore
from service.telemetry.metrics import Metrics
from service.telemetry.request_recorder import RequestRecorder

# aiohttp-cors answers preflights for these methods, which have a route.
_ROUTED = frozenset({b"GET", b"HEAD", b"POST", b"DELETE"})
_NO_CONTENT = 204


class FastPath:
    """Begins and finishes exchanges."""

    def __init__(
        self,
        sessions: SessionStore,
        authorizer: Authorizer,
        cookie: SessionCookie,
        *,
        creations: Creations,
        forward_auth: ForwardAuthAnswers,
        cors: Cors,
        health: Health,
        recorder: RequestRecorder,
        metrics: Metrics,
        source: str,
    ) -> None:
        self._sessions = sessions
        self._creations = creations
        self._forward_auth = forward_auth
        self._cors = cors
        self.health = health
        self._record = recorder.record
        self._metrics = metrics
        self._source = source
        self._date = DateLine()
        self.planner = Planner(dict(self._all_routes()), authorizer, cors)
        self._found_start = start_of(json_response(b""))
        self._ended_start = start_of(empty_response({hdrs.SET_COOKIE: cookie.deletion}))
        self._alive_start = start_of(open_json_response(ALIVE))
        self._problem = Problems().answer
        self._missing = ProblemTemplate.of(session_not_found())

    def _all_routes(self) -> Iterator[tuple[tuple[bytes, bytes], Route]]:
        for path in wire.SESSION_PATHS:
            for method, begin, finish in (
                ("GET", self._begin_find, self._answer_find),
                ("HEAD", self._begin_find, self._answer_find),
                ("POST", self._creations.begin, self._creations.finish),
                ("DELETE", self._begin_end, self._answer_end),
                ("OPTIONS", self._begin_preflight, self._answer_preflight),
            ):
                route = Route(method, path, begin, finish, method != "OPTIONS", takes_body=method == "POST")
                yield (method.encode(), path.encode()), route
        yield from self._forward_auth.routes(self._begin_find)
        for method in ("GET", "HEAD"):
            route = Route(method, wire.LIVEZ_PATH, self._begin_livez, self._answer_livez, needs_key=False)
            yield (method.encode(), wire.LIVEZ_PATH.encode()), route

    def begin(self, plan: Plan, presented: tuple[str, ...] | None, data: bytes, peer: Peer) -> Exchange | None:
        """Begin to answer the request in `data`. Returns None if it is for aiohttp.

        `presented` are the session ids of the request, or None if they have not been
        read yet. `peer` returns the address at the other end of the connection.
        """
        if self.health.is_draining:
            return None
        exchange = Exchange(plan, presented)
        try:
            return plan.route.begin(exchange, data, peer)
        except errors.JayError as error:  # a limit or a full queue
            # The traceback leads to the exchange, and cycles have to be collected.
            exchange.result = error.with_traceback(None)
            return exchange
        except Exception as error:  # noqa: BLE001 - a bug, which `problem_of` logs
            exchange.result = error
            return exchange

    def answer(self, exchange: Exchange, result: Any) -> bytes:
        """Return the answer, from the result of Redis or the exception in its place."""
        request_id = new_request_id()
        route, key = exchange.plan.route, exchange.plan.key
        if isinstance(result, Exception) and not (route.is_for_proxies and isinstance(result, UNKNOWN_ERRORS)):
            status, start, body = self._problem(result, request_id)
        else:
            try:
                status, start, body = route.finish(exchange, result, request_id)
            except Exception as error:  # noqa: BLE001 - an ended session, or a bug, which `problem_of` logs
                status, start, body = self._problem(error, request_id)
        now = time.time()
        length = "" if status == _NO_CONTENT else f"Content-Length: {len(body)}\r\n"
        close = CLOSE if self.health.is_draining else ""
        head = f"{start}X-Request-Id: {request_id}\r\n{exchange.cors}{length}{self._date.at(now)}{close}\r\n"
        seconds = time.perf_counter() - exchange.started
        record = (now, route.method, route.path, status, seconds, request_id, key.name if key else "-")
        self._record(record, exchange.session_id)
        return head.encode() if route.method == "HEAD" else head.encode() + body

    def _begin_find(self, exchange: Exchange, _: bytes, __: Peer) -> Exchange:
        if presented := _presented_in(exchange):
            exchange.deferred = self._sessions.find(presented)
        return exchange

    def _answer_find(self, exchange: Exchange, session: Session | None, request_id: str) -> Answer:
        if session is None:
            self._metrics.missed.add((self._source_of(exchange),))
            return self._missing.answer(request_id)
        exchange.session_id = session.id
        self._metrics.found.add((session.source,))
        return 200, f"{self._found_start}{expires_line(session)}", session_json(session)

    def _begin_end(self, exchange: Exchange, _: bytes, __: Peer) -> Exchange:
        if presented := _presented_in(exchange):
            exchange.deferred = self._sessions.end(presented)
        return exchange

    def _answer_end(self, exchange: Exchange, sources: Sequence[str] | None, _: str) -> Answer:
        if sources and exchange.presented and len(exchange.presented) == 1:
            (exchange.session_id,) = exchange.presented
        for source in sources or ():
            self._metrics.ended.add((source,))
        return _NO_CONTENT, self._ended_start, b""

    def _begin_preflight(self, exchange: Exchange, _: bytes, __: Peer) -> Exchange | None:
        headers = exchange.plan.headers
        if not exchange.cors or headers.get(b"access-control-request-method") not in _ROUTED:
            return None
        exchange.result, exchange.cors = self._cors.preflight_lines(headers[b"origin"])
        return exchange

    def _answer_preflight(self, exchange: Exchange, _: object, __: str) -> Answer:
        return _NO_CONTENT, exchange.result, b""

    def _begin_livez(self, exchange: Exchange, _: bytes, __: Peer) -> Exchange:
        return exchange

    def _answer_livez(self, _: Exchange, __: object, ___: str) -> Answer:
        return 200, self._alive_start, ALIVE

    def _source_of(self, exchange: Exchange) -> str:
        key = exchange.plan.key
        return (key and key.source) or self._source


def _presented_in(exchange: Exchange) -> tuple[str, ...]:
    if exchange.presented is None:
        exchange.presented = presented_in(exchange.plan.headers)
    return exchange.presented
