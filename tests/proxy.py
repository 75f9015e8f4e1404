"""A TCP proxy between the service and Redis that loses replies."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

DECIDES = Callable[[], bool]


class LossyProxy:
    """Forwards everything; where `loses_reply()` says so, it cuts the connection instead of handing a reply on.

    The command has then run, and the client cannot know.
    """

    def __init__(self, target_port: int, loses_reply: DECIDES) -> None:
        self._target_port = target_port
        self._loses_reply = loses_reply
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self.lost = 0

    @property
    def url(self) -> str:
        """The URL for clients."""
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
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
