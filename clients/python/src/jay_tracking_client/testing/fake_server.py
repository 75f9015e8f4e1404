"""Serves the fake service on a free port of the loopback address."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import SHUT_RDWR, socket
from threading import Lock, Thread

from jay_tracking_client.messages import Request
from jay_tracking_client.testing.fake_service import FakeTrackingService


@contextmanager
def serving(service: FakeTrackingService) -> Iterator[FakeTrackingService]:
    """Serve a fake service, and set its `url`, for the time of a block."""
    server = _Server(service)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield service
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """Ends connections that a client keeps open, so that none is left after a test."""

    daemon_threads = False  # so that server_close() waits for them

    def __init__(self, service: FakeTrackingService) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.service = service
        self.lock = Lock()
        self._connections: set[socket] = set()

    def get_request(self) -> tuple[socket, object]:
        connection, address = super().get_request()
        self._connections.add(connection)
        return connection, address

    def close_request(self, request: socket | tuple[bytes, socket]) -> None:
        assert isinstance(request, socket)  # noqa: S101 - TCP has no datagrams
        self._connections.discard(request)
        super().close_request(request)

    def server_close(self) -> None:
        for connection in tuple(self._connections):
            with suppress(OSError):  # the client was faster
                connection.shutdown(SHUT_RDWR)
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    # One packet for each answer. Otherwise each takes 40 ms more (delayed ACK).
    wbufsize = 65_536

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", 0)))
        with self.server.lock:
            answer = self.server.service.answer(Request(self.command, self.path, headers, body))
        if answer is None:
            self.close_connection = True
            return
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - names of http.server

    def log_message(self, *_arguments: object) -> None:
        """Log nothing, because a test reads what its own code logs."""
