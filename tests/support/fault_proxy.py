"""A proxy before a Redis server, with a fault that a test switches on and off."""

import asyncio
import hashlib
import socket
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import hiredis

from tests.support.proxied_store import ProxiedStore, Store
from tests.support.proxy import Proxy
from tests.support.servers import free_port

Command = Sequence[bytes]
# Returns the reply in place of that of the server, or None to run the command.
Answer = Callable[[Command], bytes | None]
# Returns the bytes to send for replies that arrive together, and whether the
# connection stays open.
Spoil = Callable[[bytes], tuple[bytes, bool]]
# The stub of hiredis knows only commands of one word.
_pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]
Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(frozen=True)
class Fault:
    """A fault. By default there is none.

    is_down: the port is closed, and connections are reset. is_hung: connections are
    accepted, and commands run only when the fault ends, as after SIGCONT.
    disconnects: the open connections are reset when the fault begins. greeting: sent to
    a new connection, which is then closed.
    """

    is_down: bool = False
    is_hung: bool = False
    disconnects: bool = False
    greeting: bytes = b""
    delay_seconds: float = 0.0
    answer: Answer = lambda _: None
    spoil: Spoil = lambda reply: (reply, True)


class FaultProxy(Proxy):
    """Forwards commands and replies, with the current fault.

    A fault strikes the replies to commands that arrive together as one. `struck` is the
    number of times that it did.
    """

    def __init__(self, target_port: int) -> None:
        super().__init__(target_port)
        # The proxy takes its port again after it was down.
        self._port = free_port()
        self._fault = Fault()
        self._ended = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self.struck = 0

    def begin(self, fault: Fault) -> None:
        """Switch a fault on."""
        self._fault = fault
        self._ended.clear()
        if fault.is_down:
            assert self._server is not None
            self._server.close()
        if fault.is_down or fault.disconnects:
            for writer in self._open:
                _reset(writer)

    async def end(self) -> None:
        """Switch the fault off."""
        was_down, self._fault = self._fault.is_down, Fault()
        self._ended.set()
        if was_down:
            await self._listen()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        target: Stream | None = None
        self._open.add(writer)
        try:
            with suppress(ConnectionError):
                if self._fault.greeting:
                    writer.write(self._fault.greeting)
                else:
                    target = await asyncio.open_connection("127.0.0.1", self._target_port)
                    await self._serve(reader, writer, target)
        finally:
            self._open.discard(writer)
            if target is not None:
                target[1].transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: Stream) -> None:
        commands = hiredis.Reader()  # parses arrays, and a command is one
        is_open = True
        while is_open and (data := await reader.read(65536)):
            commands.feed(data)
            arrived: list[Command] = []
            while (command := commands.gets()) is not False:
                arrived.append(command)
            if not arrived:
                continue
            replies, is_open = await self._replies(arrived, target)
            if self._fault.delay_seconds:
                asyncio.get_running_loop().call_later(self._fault.delay_seconds, _write_if_open, writer, replies)
            else:
                writer.write(replies)

    async def _replies(self, commands: Sequence[Command], target: Stream) -> tuple[bytes, bool]:
        if self._fault.is_hung:
            await self._ended.wait()
        fault, replies, to_run = self._fault, b"", list[Command]()
        for command in commands:
            if answer := fault.answer(command):
                self.struck += 1
                replies += await _run(to_run, target) + answer
                to_run = []
            else:
                to_run.append(command)
        replies += await _run(to_run, target)
        spoiled = fault.spoil(replies)
        self.struck += bool(fault.delay_seconds or spoiled != (replies, True))
        return spoiled


class FaultyStore(ProxiedStore[FaultProxy]):
    """Puts a `FaultProxy` before each server of a store."""

    def __init__(self, store: Store, credentials: str) -> None:
        super().__init__(store, FaultProxy, credentials)


async def _run(commands: Sequence[Command], target: Stream) -> bytes:
    """Return the bytes of the server's replies to commands."""
    reader, writer = target
    writer.writelines(_pack(tuple(command)) for command in commands)
    parser, replies, missing = hiredis.Reader(), b"", len(commands)
    while missing:
        data = await reader.read(65536)
        if not data:
            raise ConnectionResetError
        parser.feed(data)
        replies += data
        while missing and parser.gets() is not False:
            missing -= 1
    return replies


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close a connection at once, with RST."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


def reply_lost() -> Fault:
    """Close the connection in place of each reply."""
    return Fault(spoil=lambda _: (b"", False))


def reply_lost_once() -> Fault:
    """Close the connection in place of the next reply."""
    left = [(b"", False)]
    return Fault(spoil=lambda reply: left.pop() if left else (reply, True))


def reply_cut() -> Fault:
    """Close the connection in the middle of each reply."""
    return Fault(spoil=lambda reply: (reply[: len(reply) // 2], False))


def reply_replaced(garbage: bytes) -> Fault:
    """Send other bytes in place of each reply."""
    return Fault(spoil=lambda _: (garbage, True))


def rejected(error: str, *names: bytes, disconnects: bool = False) -> Fault:
    """Answer commands of these names with an error. Without a name, answer all."""
    reply = f"-{error}\r\n".encode()
    return Fault(answer=lambda command: reply if not names or command[0] in names else None, disconnects=disconnects)


def scripts_flushed() -> Fault:
    """Answer NOSCRIPT until a script is loaded again, as after SCRIPT FLUSH."""
    loaded: set[bytes] = set()

    def answer(command: Command) -> bytes | None:
        if command[:2] == [b"SCRIPT", b"LOAD"]:
            loaded.add(hashlib.sha1(command[2], usedforsecurity=False).hexdigest().encode())
        is_missing = command[0] == b"EVALSHA" and command[1] not in loaded
        return b"-NOSCRIPT No matching script.\r\n" if is_missing else None

    return Fault(answer=answer)


def _write_if_open(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write late, unless the service has closed the connection meanwhile.

    uvloop raises RuntimeError for a write to a closed connection.
    """
    if not writer.is_closing():
        writer.write(data)
