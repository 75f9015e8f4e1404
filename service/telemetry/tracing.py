"""OpenTelemetry's SDK for one process, and the exporter of spans to the collector.

Each worker makes a `Tracing` after the fork, because a thread sends the spans. The
module is imported only when traces are on.
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

_CLOSE_SECONDS = 1.0  # a worker has 1.5 s for its clean-up
_QUIET_SECONDS = 60.0
_CONVENTIONS = "https://opentelemetry.io/schemas/1.38.0"

# These loggers write a line per span or attempt. Some lines quote a client, or a header
# for the collector.
_SILENT = ("opentelemetry", "urllib3")


class Tracing:
    """The tracer of the process.

    It samples every span, because callers start a span only for a sampled request.
    """

    def __init__(self, endpoint: str) -> None:
        for name in _SILENT:  # before they read their variables and warn
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._provider = TracerProvider(ALWAYS_ON, _resource(), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(CollectorExporter(endpoint)))
        self.tracer = self._provider.get_tracer("service", __version__, _CONVENTIONS)

    def close(self) -> None:
        """Send the remaining spans, in at most 1 s, even if the collector hangs."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


class CollectorExporter(OTLPSpanExporter):
    """Sends spans to a collector by OTLP over HTTP.

    Logs at most once a minute that spans do not arrive.
    """

    def __init__(self, endpoint: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._transport = _Transport()
        super().__init__(f"{endpoint.rstrip('/')}/v1/traces", session=self._transport)
        self._clock = clock
        self._is_out = False
        self._quiet_until = clock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send spans, with retries."""
        # The first attempt to send replaces it.
        self._transport.problem = "they cannot be encoded"
        result = super().export(spans)
        self._log_change(self._transport.problem)
        return result

    def _log_change(self, problem: str | None) -> None:
        now = self._clock()
        if now < self._quiet_until or (problem is None and not self._is_out):
            return
        self._quiet_until = now + _QUIET_SECONDS
        self._is_out = problem is not None
        if problem is None:
            _logger.warning("traces arrive at the collector again")
        else:
            _logger.error(
                "traces do not arrive at the collector (%s) and are dropped. Check tracing.otlp_endpoint, the "
                "collector and the OTEL_ variables. Requests are not affected",
                problem,
            )


class _Transport(requests.Session):
    """Remembers the result of the last attempt, which the exporter does not expose."""

    problem: str | None = None

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request."""
        try:
            response = super().request(*args, **kwargs)
        except Exception as error:
            self.problem = type(error).__name__
            raise
        # The exporter does not follow redirects, and treats them as a success.
        is_accepted = response.status_code < HTTPStatus.MULTIPLE_CHOICES
        self.problem = None if is_accepted else f"status {response.status_code}"
        return response


def _resource() -> Resource:
    """Return the resource of the spans.

    OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES override our attributes.
    """
    ours = {"service.name": "jay-tracking", "service.version": __version__}
    return Resource.create({**ours, **OTELResourceDetector().detect().attributes})
