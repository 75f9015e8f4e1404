"""The cost of traces for a GET, by the share of traced requests: `make bench-traces`.

Needs `wrk`. As in `bench.http`, it opens 64 connections to one worker, measures the CPU
time of the worker and alternates rounds. The spans go to a collector on the loopback
interface that discards them.
"""

import shutil
import statistics
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from bench.http import CONNECTIONS, ROUNDS, SECONDS, microseconds_per_request
from bench.processes import KEY, TOKEN, create, service

OFF = "off"
RATIOS = (OFF, "0", "0.01", "0.1", "1")
SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@contextmanager
def collector() -> Iterator[str]:
    """Run a collector that discards its input. Yield its URL."""

    class Discarding(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Discarding) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def main() -> None:
    """Measure and print."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    figures: dict[str, list[float]] = {}
    with ExitStack() as stack:
        url = stack.enter_context(collector())
        running = {}
        for ratio in RATIOS:
            traced = {} if ratio == OFF else {"JAY_TRACING__OTLP_ENDPOINT": url, "JAY_TRACING__SAMPLE_RATIO": ratio}
            running[ratio] = stack.enter_context(service(NO_PROXY="127.0.0.1", **traced))
        key = ("-H", f"X-API-Key: {KEY}")
        cookies = {ratio: ("-H", f"Cookie: {TOKEN}={create(jay.url)}") for ratio, jay in running.items()}
        for _ in range(ROUNDS):
            for ratio, jay in running.items():
                measured = microseconds_per_request(jay, jay.url, *key, *cookies[ratio])
                figures.setdefault(f"ratio {ratio}", []).append(measured)
            for name, flags in (("unsampled parent", "00"), ("sampled parent", "01")):
                parent = ("-H", f"traceparent: {SAMPLED[:-2]}{flags}")
                jay = running["0"]
                measured = microseconds_per_request(jay, jay.url, *key, *cookies["0"], *parent)
                figures.setdefault(name, []).append(measured)
    base = statistics.median(figures[f"ratio {OFF}"])
    print(f"{CONNECTIONS} connections, {ROUNDS} rounds of {SECONDS} s each, CPU time of the worker per GET")
    for name, values in figures.items():
        middle = statistics.median(values)
        spread = f"{min(values):.1f} to {max(values):.1f}"
        print(f"{name:16} {middle:6.1f} µs  ({spread})  {middle - base:+.1f} µs")


if __name__ == "__main__":
    main()
