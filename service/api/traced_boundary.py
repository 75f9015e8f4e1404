"""A boundary that makes a span of each request: the middleware of traces, used only where traces are wanted.

What a span says is a fixed set: method, route, scheme, status. Of what the client sent, only its trace context goes
on; no path, no query, no header, no address, no id.
Source: OpenTelemetry's semantic conventions for HTTP, and W3C Trace Context.
"""

from collections.abc import Coroutine
from random import random
from typing import Any

from aiohttp import web
from multidict import istr
from opentelemetry.context import Context, attach, detach
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer, get_current_span, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service.api.boundary import METHODS, Boundary, MisframedRequest, route_of

_TRACEPARENT = istr("traceparent")
_W3C = TraceContextTextMapPropagator()
_NOTHING = Context()  # the task of a connection answers many requests; none may see the span of the one before
_FAILED = 500


class TracedBoundary(Boundary):
    """Stands where the plain boundary would. A request that is not sampled costs a look at its headers."""

    def __init__(self, *args: Any, tracer: Tracer, sample_ratio: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._tracer = tracer
        self._sample_ratio = sample_ratio

    def answer(self, request: web.Request) -> Coroutine[Any, Any, web.StreamResponse]:
        """Answer a request, inside a span where it is sampled: by the trace it belongs to, else by chance."""
        parent = _parent_of(request)
        caller = get_current_span(parent).get_span_context()
        is_sampled = caller.trace_flags.sampled if caller.is_valid else random() < self._sample_ratio  # noqa: S311
        if is_sampled and type(request) is not MisframedRequest:
            return self._answer_in_span(request, parent)
        return super().answer(request)

    async def _answer_in_span(self, request: web.Request, parent: Context) -> web.StreamResponse:
        method = request.method if request.method in METHODS else "_OTHER"
        attributes = {"http.request.method": method, "url.scheme": request.scheme}
        span = self._tracer.start_span(_name(method), parent, SpanKind.SERVER, attributes)
        token = attach(set_span_in_context(span, _NOTHING))
        try:
            response = await super().answer(request)
        except BaseException as error:  # the connection was cut off, at shutdown at the latest
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
        else:
            path = request.raw_path
            route = path if (request.method, path) in self._shortcuts else route_of(request)
            _describe(span, method, route, response.status)
            return response
        finally:
            detach(token)
            span.end()


def _describe(span: Span, method: str, route: str, status: int) -> None:
    span.set_attribute("http.response.status_code", status)
    if route != "-":
        span.update_name(f"{_name(method)} {route}")
        span.set_attribute("http.route", route)
    if status >= _FAILED:
        span.set_attribute("error.type", str(status))
        span.set_status(StatusCode.ERROR)


def _name(method: str) -> str:
    return "HTTP" if method == "_OTHER" else method


class _Headers(Getter[web.Request]):
    """How OpenTelemetry reads the headers of a request."""

    def get(self, carrier: web.Request, key: str) -> list[str] | None:
        """Return every value, or None."""
        return carrier.headers.getall(key, None)

    def keys(self, carrier: web.Request) -> list[str]:
        """Return the names; the trace context needs none."""
        return list(carrier.headers)


_HEADERS = _Headers()


def _parent_of(request: web.Request) -> Context:
    """Return the trace context of a request, an empty one where it has none, two, or one that is malformed."""
    if len(request.headers.getall(_TRACEPARENT, ())) != 1:
        return _NOTHING
    return _W3C.extract(request, _NOTHING, _HEADERS)
