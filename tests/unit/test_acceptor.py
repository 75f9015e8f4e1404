"""Workers that listen on one socket share its connections."""

import asyncio
import errno
import select
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress

import pytest
from aiohttp import web

from service.api import acceptor as module
from service.api.acceptor import Acceptor
from service.api.aiohttp_internals.site import Site
from service.api.closing_listener import accept_waiting, drop_new_connections, stop_dropping

CONNECTIONS = 64


class Greeter(asyncio.Protocol):
    """Sends its name to each client and closes."""

    def __init__(self, name: bytes) -> None:
        self.name = name

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.name)
        transport.close()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A bound socket that does not listen yet."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


def new_acceptor(listener: socket.socket, name: bytes = b"a") -> Acceptor:
    """Return an acceptor with its own descriptor, as in another process."""
    one = Acceptor(listener.dup(), lambda: Greeter(name), tls=None, handshake_seconds=1)
    one.start(128)
    return one


async def name_of(client: socket.socket) -> bytes:
    """Return the name that a client receives."""
    client.setblocking(False)
    async with asyncio.timeout(30):
        return await asyncio.get_running_loop().sock_recv(client, 16)


async def test_waiting_connections_are_shared_evenly(listener: socket.socket) -> None:
    """Each acceptor takes one waiting connection per turn of the event loop."""
    with ExitStack() as clients:
        opened = [clients.enter_context(socket.create_connection(listener.getsockname())) for _ in range(CONNECTIONS)]
        both = [new_acceptor(listener, name) for name in (b"a", b"b")]
        names = [await name_of(client) for client in opened]
        for one in both:
            one.close()
    assert abs(names.count(b"a") - names.count(b"b")) <= 2


async def test_a_closed_acceptor_leaves_connections_to_the_others(listener: socket.socket) -> None:
    """After one acceptor has closed, the other gets every connection."""
    first, second = new_acceptor(listener, b"a"), new_acceptor(listener, b"b")
    first.close()
    first.close()
    for _ in range(3):
        with socket.create_connection(listener.getsockname()) as client:
            assert await name_of(client) == b"b"
    second.close()


async def test_it_goes_on_after_an_error(
    listener: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a free descriptor, it tries again after pauses, and logs one line."""
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.01)

    class Full(socket.socket):
        """A socket whose first two attempts to accept fail."""

        failures = 2

        def accept(self) -> tuple[socket.socket, object]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    full = Full(fileno=listener.dup().detach())
    one = Acceptor(full, lambda: Greeter(b"a"), tls=None, handshake_seconds=1)
    one.start(8)
    with socket.create_connection(listener.getsockname()) as client:
        assert await name_of(client) == b"a"
    one.close()
    assert [record.getMessage() for record in caplog.records] == [
        "cannot accept connections (Too many open files), trying again every 0.01 s. "
        "Raise the limit of open files of the service (ulimit -n, LimitNOFILE of systemd)"
    ]


def begin_connection(address: tuple[str, int]) -> socket.socket:
    """Begin to connect, and return the socket."""
    client = socket.socket()
    client.setblocking(False)
    with suppress(BlockingIOError):
        client.connect(address)
    return client


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can drop packets of a listener")
def test_new_connections_can_be_dropped(listener: socket.socket) -> None:
    """A connection that begins just before the listener closes is refused, not reset.

    One that waits already, and one that begins after the filter is gone, are accepted.
    On the loopback, a connection is complete when `connect` returns.
    """
    listener.listen(8)
    address = listener.getsockname()
    with ExitStack() as clients:
        clients.enter_context(socket.create_connection(address)).sendall(b"sent")
        drop_new_connections(listener)
        clients.enter_context(begin_connection(address))
        (waiting,) = accept_waiting(listener)
        clients.enter_context(waiting)
        assert waiting.recv(16) == b"sent"
        stop_dropping(listener)
        clients.enter_context(begin_connection(address))
        assert [clients.enter_context(one) for one in accept_waiting(listener)]
        drop_new_connections(listener)
        late = clients.enter_context(begin_connection(address))
        listener.close()
        assert select.select([], [late], [], 30)[1]  # after the second SYN, in a second
        assert late.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNREFUSED


@pytest.mark.parametrize("is_shared", [False, True])
async def test_connections_that_wait_at_the_stop_are_served(listener: socket.socket, *, is_shared: bool) -> None:
    """A connection that waits in the kernel when a site stops is not reset."""

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response(text="served")

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = Site(runner, listener.dup(), tls=None, is_shared=is_shared)
    await site.start()
    with socket.create_connection(listener.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.0\r\n\r\n")
        listener.close()
        await site.stop()
        client.setblocking(False)
        async with asyncio.timeout(30):
            answer = await asyncio.get_running_loop().sock_recv(client, 1024)
    await runner.cleanup()
    assert answer.endswith(b"served")
