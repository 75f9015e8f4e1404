"""Wraps the dispatcher to make a span of each request. Used only while tracing is on.

A span has a fixed set of attributes: method, route, scheme, status. Of the client's
data it has only the trace context: no path, query, header, address or id. With
`tracing.session_ref`, it also has the session's ref as `session.id`.

Source: OpenTelemetry's semantic conventions for HTTP, and W3C Trace Context.
"""

import re
from collections.abc import Awaitable
from random import random

from aiohttp import web
from multidict import CIMultiDictProxy, istr
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import SpanKind, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.api.auth import DirectHandlers, Handler
from service.api.dispatcher import KNOWN_METHODS, MisframedRequest, route_of
from service.api.session_token import SESSION_OF_REQUEST
from service.digests import SessionRefs

Headers = CIMultiDictProxy[str]

_TRACEPARENT = istr("traceparent")
_W3C = TraceContextTextMapPropagator()
# Recognizes unsampled trace contexts. The propagator takes 5 µs longer per request, and
# most trace contexts are not sampled.
_UNSAMPLED_PARENT = re.compile("00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")
_UNSAMPLED = Context({"sampled": False})  # represents every unsampled trace context
# A connection's task handles many requests. An empty context hides the span of the last
# one.
_NOTHING = Context()
_FAILED = 500


class TracedDispatcher:
    """Calls `handler`, the dispatcher, inside a span for each sampled request."""

    def __init__(
        self,
        handler: Handler,
        direct_handlers: DirectHandlers,
        tracer: Tracer,
        sample_ratio: float,
        *,
        refs: SessionRefs | None,
    ) -> None:
        """`direct_handlers` handle the requests that skip the router.

        `refs` makes the refs in spans. Without it, spans have none.
        """
        self._handler = handler
        self._direct_handlers = direct_handlers
        self._tracer = tracer
        self._sample_ratio = sample_ratio
        self._refs = refs

    def handle(self, request: web.Request) -> Awaitable[web.StreamResponse]:
        """Return the response to a request. A sampled request gets a span.

        The trace context decides about sampling. Without one, `sample_ratio` decides.
        """
        parent = _parent_of(request.headers) if _TRACEPARENT in request.headers else _NOTHING
        if parent is _UNSAMPLED or (parent is _NOTHING and random() >= self._sample_ratio):  # noqa: S311
            return self._handler(request)
        if type(request) is MisframedRequest:
            return self._handler(request)
        return self._handle_in_span(request, parent)

    async def _handle_in_span(self, request: web.Request, parent: Context) -> web.StreamResponse:
        method = request.method if request.method in KNOWN_METHODS else "_OTHER"
        attributes: dict[str, str | int] = {"http.request.method": method, "url.scheme": request.scheme}
        span = self._tracer.start_span(_name(method), parent, SpanKind.SERVER)
        token = attach(set_span_in_context(span, _NOTHING))
        try:
            response = await self._handler(request)
        except BaseException as error:
            # The connection was closed, by the client or by the shutdown.
            attributes["error.type"] = type(error).__qualname__
            raise
        else:
            path = request.raw_path
            route = path if (request.method, path) in self._direct_handlers else route_of(request)
            if route != "-":
                span.update_name(f"{_name(method)} {route}")
                attributes["http.route"] = route
            attributes["http.response.status_code"] = status = response.status
            if self._refs is not None and (session_id := request.get(SESSION_OF_REQUEST)) is not None:
                attributes["session.id"] = self._refs(session_id)
            if status >= _FAILED:
                attributes["error.type"] = str(status)
            return response
        finally:
            detach(token)
            span.set_attributes(attributes)
            if "error.type" in attributes:
                span.set_status(StatusCode.ERROR)
            span.end()


def _name(method: str) -> str:
    return "HTTP" if method == "_OTHER" else method


class _Headers(Getter[Headers]):
    """Reads headers for OpenTelemetry."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return every value, or None."""
        return carrier.getall(key, None)

    def keys(
        self, carrier: Headers
    ) -> list[str]:  # pragma: no cover - the interface requires it, and no code calls it
        """Return the names."""
        return list(carrier)


_HEADERS = _Headers()


def _parent_of(headers: Headers) -> Context:
    """Return the trace context of a request.

    Returns _NOTHING if it is malformed or repeated.
    """
    values = headers.getall(_TRACEPARENT)
    if len(values) > 1 or "," in values[0]:
        return _NOTHING
    if _UNSAMPLED_PARENT.fullmatch(values[0]):
        return _UNSAMPLED
    parent = _W3C.extract(headers, _NOTHING, _HEADERS)
    caller = get_current_span(parent).get_span_context()
    return _UNSAMPLED if caller.is_valid and not caller.trace_flags.sampled else parent
