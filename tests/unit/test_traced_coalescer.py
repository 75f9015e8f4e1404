import asyncio
from collections.abc import Sequence

import pytest
from opentelemetry.context import Context, attach, detach
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, StatusCode, get_current_span, set_span_in_context

from service.deferred import Deferred
from service.errors import StoreUnavailable
from service.storage.coalescer import MAX_BATCH, Coalescer
from service.storage.traced_coalescer import TracedCoalescer

UNSAMPLED = NonRecordingSpan(SpanContext(1, 1, is_remote=False))


class Traces:
    """A coalescer that answers each item with ten times its value, and its spans."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("test")
        self.error: BaseException | None = None
        self.current: list[object] = []
        self.coalescer = TracedCoalescer(self._run, "find", coalesce=Coalescer, tracer=self.tracer)

    async def _run(self, items: Sequence[int]) -> list[int]:
        self.current.append(get_current_span())
        if self.error:
            raise self.error
        return [10 * item for item in items]

    def request(self) -> Span:
        """Start the span of a request."""
        span = self.tracer.start_span("request", Context())
        assert isinstance(span, Span)
        return span

    def submit(self, item: int, request: Span | NonRecordingSpan | None = None) -> Deferred[int]:
        """Submit an item on behalf of a request."""
        token = attach(set_span_in_context(request, Context()) if request else Context())
        try:
            return self.coalescer.submit(item)
        finally:
            detach(token)


async def test_a_batch_is_linked_to_each_of_its_traced_requests_once() -> None:
    """A batch of several traced requests starts a trace and links to each."""
    traces = Traces()
    first, second = traces.request(), traces.request()
    waiting = [traces.submit(n, request) for n, request in enumerate([first, None, second, UNSAMPLED, first])]
    assert await asyncio.gather(*waiting) == [0, 10, 20, 30, 40]
    (batch,) = traces.exporter.get_finished_spans()
    assert batch.name == "redis find"
    assert [link.context for link in batch.links] == [first.get_span_context(), second.get_span_context()]
    assert batch.parent is None
    assert dict(batch.attributes or {})["db.operation.batch.size"] == 5


async def test_a_batch_with_one_traced_request_belongs_to_its_trace() -> None:
    """A batch with one traced request is part of the trace of that request."""
    traces = Traces()
    request = traces.request()
    await asyncio.gather(traces.submit(1), traces.submit(2, request), traces.submit(3, UNSAMPLED))
    (batch,) = traces.exporter.get_finished_spans()
    assert batch.parent == request.get_span_context()
    assert [link.context for link in batch.links] == [request.get_span_context()]


async def test_a_batch_without_traced_requests_has_no_span() -> None:
    """A batch without traced requests makes no span."""
    traces = Traces()
    waiting = [traces.submit(1), traces.submit(2, UNSAMPLED)]
    assert await asyncio.gather(*waiting) == [10, 20]
    assert not traces.exporter.get_finished_spans()


async def test_the_largest_batch_has_all_its_links() -> None:
    """The largest batch keeps all its links, because the SDK's limit is higher."""
    traces = Traces()
    requests = [traces.request() for _ in range(MAX_BATCH)]
    await asyncio.gather(*(traces.submit(number, request) for number, request in enumerate(requests)))
    (batch,) = traces.exporter.get_finished_spans()
    assert len(batch.links) == MAX_BATCH
    assert batch.dropped_links == 0


async def test_code_inside_a_batch_has_the_span_of_the_batch() -> None:
    """A span that the Redis client makes is a child of the batch's span."""
    traces = Traces()
    await traces.submit(1, traces.request())
    (batch,) = traces.exporter.get_finished_spans()
    (current,) = traces.current
    assert isinstance(current, Span)
    assert current.get_span_context() == batch.get_span_context()


@pytest.mark.parametrize("error", [StoreUnavailable("canary"), KeyError("canary"), asyncio.CancelledError("canary")])
async def test_a_failed_batch_has_the_type_of_its_error(error: BaseException) -> None:
    """The span has the type of the error and not its message.

    The waiters get the same error as without traces.
    """
    traces = Traces()
    traces.error = error
    expected = StoreUnavailable if isinstance(error, asyncio.CancelledError) else type(error)
    with pytest.raises(expected):
        await traces.submit(1, traces.request())
    await traces.coalescer.close()
    (batch,) = traces.exporter.get_finished_spans()
    assert batch.status.status_code is StatusCode.ERROR
    assert dict(batch.attributes or {})["error.type"] == type(error).__name__
    assert not batch.events
    assert "canary" not in batch.to_json()
