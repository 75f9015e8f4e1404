"""A coalescer that makes a span of each batch, linked to the requests that the batch carried.

DESIGN
Each item travels with the span of the request that submitted it: the sender of a batch is a task of its own, whose
own context says nothing of the requests. A batch is traced when at least one of its requests is.

Links.  To each request that is sampled, once. MAX_BATCH is also the SDK's limit of links.
Parent. The request, where just one is sampled: its trace then holds all there is to see. With several there is no
        right one, and the span begins a trace of its own.
        Source: OpenTelemetry specification, "Links between spans": a span that gathers what several requests began
        is linked to them and has no parent.
"""

import asyncio
from collections.abc import Sequence
from typing import Generic

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    Tracer,
    get_current_span,
    set_span_in_context,
    use_span,
)

from service.storage.coalescer import BatchRunner, Coalesce, Coalescing, Item, Result

# What Redis is sent, by operation of the session store, in the words of the conventions for Redis.
_ATTRIBUTES = {
    "create": {"db.operation.name": "EVALSHA", "db.stored_procedure.name": "create"},
    "find": {"db.operation.name": "MGET"},
    "end": {"db.operation.name": "EVALSHA", "db.stored_procedure.name": "end"},
}


class TracedCoalescer(Coalescing[Item, Result], Generic[Item, Result]):
    """Wraps a coalescer. `operation` is one of create, find and end."""

    def __init__(
        self, run_batch: BatchRunner[Item, Result], operation: str, *, coalesce: Coalesce, tracer: Tracer
    ) -> None:
        self._coalescer: Coalescing[tuple[Item, Span], Result] = coalesce(self._run, operation)
        self._run_items = run_batch
        self._tracer = tracer
        self._name = f"redis {operation}"
        self._attributes: dict[str, str | int] = {"db.system.name": "redis", **_ATTRIBUTES[operation]}

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""
        return self._coalescer.waiting

    def submit(self, item: Item, /) -> asyncio.Future[Result]:
        """Return the future result of an item. Raises Overloaded when too many wait already."""
        return self._coalescer.submit((item, get_current_span()))

    async def close(self) -> None:
        """Wait for the batches in flight and those that they make room for."""
        await self._coalescer.close()

    async def _run(self, carried: Sequence[tuple[Item, Span]]) -> Sequence[Result]:
        items = [item for item, _ in carried]
        traced = [span.get_span_context() for _, span in carried if span is not INVALID_SPAN]
        requests = {request.span_id: request for request in traced if request.trace_flags.sampled}
        if not requests:
            return await self._run_items(items)
        return await self._run_in_span(items, list(requests.values()))

    async def _run_in_span(self, items: Sequence[Item], requests: Sequence[SpanContext]) -> Sequence[Result]:
        parent = Context()
        if len(requests) == 1:
            parent = set_span_in_context(NonRecordingSpan(requests[0]), parent)
        attributes = self._attributes
        if len(items) > 1:  # by the conventions one is no batch
            attributes = {**attributes, "db.operation.batch.size": len(items)}
        span = self._tracer.start_span(
            self._name, parent, SpanKind.CLIENT, attributes, [Link(request) for request in requests]
        )
        try:
            # The error's text stays out of the span; an answer of Redis may quote a key.
            with use_span(span, record_exception=False, set_status_on_exception=False):
                return await self._run_items(items)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()
