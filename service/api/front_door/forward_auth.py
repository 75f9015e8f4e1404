"""Answers forward-auth on the fast path, by the functions of its handler."""

from collections.abc import Iterator

from service.api import wire
from service.api.forward_auth import ForwardAuth, state_of
from service.api.front_door.answers import start_of
from service.api.front_door.exchange import Answer, Begin, Exchange, Route
from service.api.responses import headers_response
from service.sessions import Session
from service.telemetry.metrics import Metrics

_BAGGAGE = wire.BAGGAGE.encode()


class ForwardAuthAnswers:
    """Finishes the exchanges of forward-auth."""

    def __init__(self, forward_auth: ForwardAuth, metrics: Metrics) -> None:
        self._forward_auth = forward_auth
        self._metrics = metrics
        self._start = start_of(headers_response({}))

    def routes(self, begin: Begin) -> Iterator[tuple[tuple[bytes, bytes], Route]]:
        """Yield the routes by method and path. `begin` finds the session."""
        for path in wire.FORWARD_AUTH_PATHS:
            # aiohttp answers HEAD, because its answer has no Content-Length.
            for method in ("GET", "POST", "DELETE", "OPTIONS"):
                for ending, name in (("", ""), ("/", wire.VISITOR_PATH)):
                    route = Route(method, path + name, begin, self._answer, is_for_proxies=True)
                    yield (method.encode(), (path + ending).encode()), route

    def _answer(self, exchange: Exchange, result: Session | Exception | None, _: str) -> Answer:
        if isinstance(result, Session):
            exchange.session_id = result.id
        self._metrics.forwarded.add((state_of(result),))
        baggage = exchange.plan.headers.get(_BAGGAGE)
        lines = self._forward_auth.lines(result, () if baggage is None else (baggage.decode(),), exchange.plan.key)
        return 200, self._start + lines, b""
