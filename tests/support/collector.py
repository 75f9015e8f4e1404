"""A trace collector on the loopback: it accepts OTLP over HTTP, hangs or rejects."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span


@dataclass
class Collector:
    """The received exports.

    `status` is the status of each response. While `is_hanging` is true, no response is
    sent.
    """

    url: str = ""
    status: int = 200
    is_hanging: bool = False
    received: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)

    @property
    def spans(self) -> list[Span]:
        """Return all spans."""
        return [
            span
            for _, _, export in self.received
            for resource in export.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    @property
    def resources(self) -> list[dict[str, str]]:
        """Return the resource attributes of each export."""
        return [
            {item.key: item.value.string_value for item in resource.resource.attributes}
            for _, _, export in self.received
            for resource in export.resource_spans
        ]

    @property
    def instances(self) -> set[str]:
        """Return the instance ids of the processes that sent spans."""
        return {resource["service.instance.id"] for resource in self.resources}


@contextmanager
def collector(**state: Any) -> Iterator[Collector]:
    """Run a collector."""
    collected = Collector(**state)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            collected.received.append(
                (self.path, {name.lower(): value for name, value in self.headers.items()}, _parsed(body))
            )
            if collected.is_hanging:
                collected.released.wait()
            self.send_response(collected.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Log nothing, because the client process may have ended."""

    with Server(("127.0.0.1", 0), Handler) as server:
        collected.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield collected
        finally:
            collected.released.set()
            server.shutdown()
            thread.join()


def _parsed(body: bytes) -> ExportTraceServiceRequest:
    export = ExportTraceServiceRequest()
    export.ParseFromString(body)
    return export


def attributes(span: Span) -> dict[str, str | int]:
    """Return the attributes of a span."""
    return {
        item.key: item.value.int_value if item.value.HasField("int_value") else item.value.string_value
        for item in span.attributes
    }
