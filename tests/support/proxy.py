"""TCP proxies: one loses replies of Redis, one is slow, one changes its target.

`Impostor` answers in place of Redis.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Self

import hiredis

Decides = Callable[[], bool]

# After so many turns of the event loop, each accepted connection has its task.
_TURNS_OF_AN_ACCEPT = 5


class Listener:
    """Listens on a free port and closes all its connections at the end.

    `_accept` serves one connection.
    """

    def __init__(self) -> None:
        self._port = 0  # the kernel chooses one
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Return the port for clients."""
        return self._port

    @property
    def url(self) -> str:
        """Return the URL for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    async def __aenter__(self) -> Self:
        await self._listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for _ in range(_TURNS_OF_AN_ACCEPT):
            await asyncio.sleep(0)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A connection that is not closed before the loop ends fails a later test.
        await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._track, "127.0.0.1", self._port)
        self._port = int(self._server.sockets[0].getsockname()[1])

    def _track(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def close(task: asyncio.Task[None]) -> None:
            # A task that was cancelled before its first step closed nothing itself.
            self._tasks.discard(task)
            writer.close()

        self._writers.add(writer)
        task = asyncio.create_task(self._accept(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(close)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise NotImplementedError


class Impostor(Listener):
    """Serves each connection with a function of the test."""

    def __init__(self, answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> None:
        super().__init__()
        self._answer = answer

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._answer(reader, writer)


class Proxy(Listener):
    """Forwards connections to a server. `_accept` forwards one of them."""

    def __init__(self, target_port: int) -> None:
        super().__init__()
        self._target_port = target_port


class LossyProxy(Proxy):
    """Forwards everything, and closes the connection instead of some replies.

    `loses_reply()` decides for each reply. The command has run, and the client cannot
    know that.
    """

    def __init__(self, target_port: int, loses_reply: Decides) -> None:
        super().__init__(target_port)
        self._loses_reply = loses_reply
        self.lost = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        requests = asyncio.create_task(self._forward(reader, upstream_writer))
        try:
            while data := await upstream_reader.read(65536):
                if self._loses_reply():
                    self.lost += 1
                    break
                writer.write(data)
        finally:
            requests.cancel()
            for stream in (writer, upstream_writer):
                stream.close()
            for stream in (writer, upstream_writer):
                with suppress(ConnectionError, asyncio.CancelledError):
                    await stream.wait_closed()

    @staticmethod
    async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)


class SlowLink(Proxy):
    """Forwards everything with a delay of `delay_seconds` in each direction.

    The end of a connection is delayed too.
    """

    def __init__(self, target_port: int, delay_seconds: float) -> None:
        super().__init__(target_port)
        self.delay_seconds = delay_seconds  # a test may change it
        self.connections = 0

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self._target_port)
        try:
            await asyncio.gather(self._forward(reader, target_writer), self._forward(target_reader, writer))
        finally:
            for stream in (writer, target_writer):
                stream.transport.abort()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def receive() -> None:
            data = b"-"
            while data:
                try:
                    data = await reader.read(65536)
                except ConnectionError:  # a reset ends the connection too
                    data = b""
                arrived.put_nowait((loop.time() + self.delay_seconds, data))

        receiving = asyncio.create_task(receive())
        try:
            while True:
                due, data = await arrived.get()
                await asyncio.sleep(due - loop.time())
                if not data:
                    break
                writer.write(data)
            with suppress(OSError, RuntimeError):
                writer.write_eof()
        finally:
            receiving.cancel()


@contextmanager
def running(link: SlowLink) -> Iterator[SlowLink]:
    """Run a link in a thread, for a test without an event loop."""
    started: Future[Callable[[], object]] = Future()

    async def run() -> None:
        async with link:
            over, loop = asyncio.Event(), asyncio.get_running_loop()
            started.set_result(lambda: loop.call_soon_threadsafe(over.set))
            await over.wait()

    # At its end, asyncio.run cancels connections that are being accepted too.
    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    stop = started.result()
    try:
        yield link
    finally:
        stop()
        thread.join()


class MovingName(Proxy):
    """A name of the primary: new connections go to the current target.

    Open connections stay. With a `refusal`, connections to an earlier target stay open
    and each of their commands gets that answer.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        self._refusals: dict[int, bytes] = {}
        self._open: Counter[int] = Counter()

    def move(self, target_port: int, refusal: str | None = None) -> None:
        """Point to another server.

        With a `refusal`, connections to the old server get it as their answers.
        """
        if refusal is not None:
            self._refusals[self._target_port] = f"-{refusal}\r\n".encode()
        self._target_port = target_port

    def connections_to(self, target_port: int) -> int:
        """Return the number of open connections to a server."""
        return self._open[target_port]

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target = self._target_port
        target_reader, target_writer = await asyncio.open_connection("127.0.0.1", target)
        self._open[target] += 1
        pumps = [
            asyncio.create_task(self._requests(reader, writer, target_writer, target)),
            asyncio.create_task(self._replies(target_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._open[target] -= 1
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for stream in (writer, target_writer):
                stream.transport.abort()

    async def _requests(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        target_writer: asyncio.StreamWriter,
        target: int,
    ) -> None:
        commands = hiredis.Reader()  # parses arrays, and a command is one
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                commands.feed(data)
                while commands.gets() is not False:
                    writer.write(self._refusals.get(target, b""))
                if target not in self._refusals:
                    target_writer.write(data)

    @staticmethod
    async def _replies(target_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await target_reader.read(65536):
                writer.write(data)
