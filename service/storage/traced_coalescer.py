"""A coalescer that records a span for each batch, with links to its requests.

DESIGN
Each item is queued with the span of its request, because the batch runs in another task
whose context does not know the requests. A batch is traced when at least one of its
requests is sampled.

Links.  The span links to each sampled request once. MAX_BATCH is also the SDK's limit.
Parent. When one request is sampled, it is the parent, so that its trace is complete.
        When several are, the span has no parent and begins a trace.
        Source: OpenTelemetry specification, "Links between spans".
"""

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

from service.deferred import Deferred
from service.storage.coalescer import BatchQueue, BatchQueueFactory, BatchRunner, Item, Result

# Attributes by operation of the session store.
# Source: OpenTelemetry, "Semantic conventions for Redis".
_ATTRIBUTES = {
    "find": {"db.operation.name": "MGET"},
    **{
        script: {"db.operation.name": "EVALSHA", "db.stored_procedure.name": script}
        for script in ("create", "create_once", "end")
    },
}


class TracedCoalescer(BatchQueue[Item, Result], Generic[Item, Result]):
    """Wraps a coalescer. `operation` is one of create, create_once, find and end."""

    def __init__(
        self, run_batch: BatchRunner[Item, Result], operation: str, *, coalesce: BatchQueueFactory, tracer: Tracer
    ) -> None:
        self._coalescer: BatchQueue[tuple[Item, Span], Result] = coalesce(self._run, operation)
        self._run_items = run_batch
        self._tracer = tracer
        self._name = f"redis {operation}"
        self._attributes: dict[str, str | int] = {"db.system.name": "redis", **_ATTRIBUTES[operation]}

    @property
    def waiting(self) -> int:
        """The number of items that wait for the next batch."""
        return self._coalescer.waiting

    @property
    def is_idle(self) -> bool:
        """Whether no item waits or is in flight."""
        return self._coalescer.is_idle

    def submit(self, item: Item, /) -> Deferred[Result]:
        """Return the deferred result of an item.

        Raises Overloaded when the queue is full.
        """
        return self._coalescer.submit((item, get_current_span()))

    async def close(self) -> None:
        """Wait until all items have their results."""
        await self._coalescer.close()

    async def _run(self, batch: Sequence[tuple[Item, Span]]) -> Sequence[Result]:
        items = [item for item, _ in batch]
        traced = [span.get_span_context() for _, span in batch if span is not INVALID_SPAN]
        requests = {request.span_id: request for request in traced if request.trace_flags.sampled}
        if not requests:
            return await self._run_items(items)
        return await self._run_in_span(items, list(requests.values()))

    async def _run_in_span(self, items: Sequence[Item], requests: Sequence[SpanContext]) -> Sequence[Result]:
        parent = Context()
        if len(requests) == 1:
            parent = set_span_in_context(NonRecordingSpan(requests[0]), parent)
        attributes = self._attributes
        if len(items) > 1:  # by the conventions, one item is not a batch
            attributes = {**attributes, "db.operation.batch.size": len(items)}
        span = self._tracer.start_span(
            self._name, parent, SpanKind.CLIENT, attributes, [Link(request) for request in requests]
        )
        try:
            # The error's message is not recorded, because it may quote a key.
            with use_span(span, record_exception=False, set_status_on_exception=False):
                return await self._run_items(items)
        except BaseException as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(StatusCode.ERROR)
            raise
        finally:
            span.end()
