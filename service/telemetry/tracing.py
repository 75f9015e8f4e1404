"""Where spans go: OpenTelemetry's SDK, set up for one process, and the way to the collector.

Each worker makes its own after the fork, as a thread sends the spans. Imported only where traces are wanted.
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Any

import requests
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from service import __version__

_logger = logging.getLogger(__name__)

CLOSE_SECONDS = 1.0  # of the two that a worker has for its clean-up
_QUIET_SECONDS = 60.0
_CONVENTIONS = "https://opentelemetry.io/schemas/1.38.0"

# Their own lines come once a span or once a try, and some quote what a client sent, or a header for the collector.
_SILENT = ("opentelemetry", "urllib3")


class Tracing:
    """The process's tracer. Whoever starts a span has decided already that it is to be sampled."""

    def __init__(self, endpoint: str) -> None:
        for name in _SILENT:  # before anything of theirs reads a variable
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._provider = TracerProvider(ALWAYS_ON, _resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(CollectorExporter(endpoint)))
        self.tracer = self._provider.get_tracer("service", __version__, _CONVENTIONS)

    def close(self) -> None:
        """Send what waits, for a second at most: a collector that hangs must not hold the exit."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)


class CollectorExporter(OTLPSpanExporter):
    """Sends spans to a collector, OTLP over HTTP, and tells at most once a minute when they do not arrive."""

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._way = _Way()
        super().__init__(f"{endpoint.rstrip('/')}/v1/traces", session=self._way)
        self._clock = clock
        self._is_out = False
        self._quiet_until = clock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, with some retries."""
        self._way.problem = "they cannot be encoded"  # unless there is a try
        result = super().export(spans)
        self._tell(self._way.problem)
        return result

    def _tell(self, problem: str | None) -> None:
        now = self._clock()
        if now < self._quiet_until or (problem is None and not self._is_out):
            return
        self._quiet_until = now + _QUIET_SECONDS
        self._is_out = problem is not None
        if problem is None:
            _logger.warning("traces arrive again")
        else:
            _logger.error(
                "traces do not arrive (%s) and are dropped; check tracing.otlp_endpoint, the collector and OTEL_ "
                "variables; requests are not affected",
                problem,
            )


class _Way(requests.Session):
    """Remembers how the last try ended; the exporter keeps that to itself."""

    problem: str | None = None

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request."""
        try:
            response = super().request(*args, **kwargs)
        except Exception as error:
            self.problem = type(error).__name__
            raise
        # A redirect is not followed, and the exporter takes it for a success.
        is_taken = response.status_code < HTTPStatus.MULTIPLE_CHOICES
        self.problem = None if is_taken else f"status {response.status_code}"
        return response


def _resource() -> Resource:
    """Return what the spans are of; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    ours = {"service.name": "jay-tracking", "service.version": __version__}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
