"""Connections of the front door: slow clients, lost clients, timeouts, shutdown."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from service.api.front_door import door as front_door
from service.api.front_door.door import REST_SECONDS, FrontDoor
from service.api.front_door.inbox import MAX_KEPT_BYTES
from service.api_keys import Keyring
from service.config.settings import ServerSettings
from service.deferred import Deferred
from service.errors import Overloaded, StoreUnavailable
from service.sessions import Session
from tests.api.conftest import OpenDoors, Service, Start
from tests.api.doors import ABSENT, BODY, LAST, LIVEZ, USER, A, B, Doors, cookie, normalized, request, turns
from tests.support.processes import TOKEN

GET, POST, READYZ = request("GET", cookie(A)), request("POST", body=BODY), request(path="/readyz")
END = request("DELETE", cookie(A))
COUNT = 1000
READ_BYTES = 256 * 1024  # asyncio reads at most this many at once
SHORT = 0.3
PAUSE_MS = 1000  # a slow machine needs more than a tenth of it to send a request


async def until(is_true: Callable[[], object]) -> None:
    """Wait until a condition is true. Fails after 30 s."""
    async with asyncio.timeout(30):
        while not is_true():
            await asyncio.sleep(0.002)


def doors_of(service: Service) -> list[FrontDoor]:
    """Return the open connections that have a front door."""
    assert service.runner.server is not None
    return list(service.runner.server._doors)  # type: ignore[attr-defined]


async def door_of(service: Service) -> FrontDoor:
    """Return the front door of the only connection."""
    await until(lambda: len(doors_of(service)) == 1)
    (door,) = doors_of(service)
    return door


def pending_read(service: Service, monkeypatch: pytest.MonkeyPatch) -> Deferred[Session | None]:
    """Let reads of a service wait for the result that is returned."""
    fast_path = service.runner._fast_path
    assert fast_path is not None
    found: Deferred[Session | None] = Deferred()
    monkeypatch.setattr(fast_path._sessions, "find", lambda _: found)
    return found


Reported = list[Mapping[str, Any]]


@pytest.fixture
async def reported() -> Reported:
    """Return the list of what the event loop reports from now on."""
    contexts: Reported = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: contexts.append(context))
    return contexts


@asynccontextmanager
async def connected(service: Service) -> AsyncIterator[socket.socket]:
    """Open a connection whose client reads little at a time."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", service.port))
        yield client


def shrink(transport: asyncio.BaseTransport | None) -> None:
    """Let the kernel buffer few bytes of answers, so that asyncio keeps the rest."""
    assert transport is not None
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)


async def send(client: socket.socket, data: bytes) -> None:
    """Send bytes."""
    await asyncio.get_running_loop().sock_sendall(client, data)


async def read_to_end(client: socket.socket) -> bytes:
    """Read until the service closes."""
    received = b""
    async with asyncio.timeout(30):
        while data := await asyncio.get_running_loop().sock_recv(client, 65536):
            received += data
    return received


async def pause_redis(doors: Doors) -> None:
    """Let Redis pause, so that requests are pending."""
    await doors.store.execute_command("CLIENT", "PAUSE", PAUSE_MS, "ALL")  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("half_close", [False, True])
async def test_a_slow_reader_gets_the_same_answers(doors: Doors, half_close: bool) -> None:  # noqa: FBT001 - a parameter
    """A thousand requests are answered in order, within bounded memory."""
    data = (LIVEZ + GET + READYZ + GET + POST) * (COUNT // 5) + (b"" if half_close else LAST)
    answers = []
    for service in (doors.front, doors.aiohttp):
        async with connected(service) as client:
            if service is doors.front:
                door = await door_of(service)
                shrink(door._transport)
            sending = asyncio.create_task(send(client, data))
            if service is doors.front:
                await until(lambda door=door: door._is_full)  # type: ignore[misc]
                for _ in range(50):
                    await asyncio.sleep(0)
                    assert len(door._inbox) <= MAX_KEPT_BYTES + READ_BYTES
                    assert door._transport is not None
                    assert door._transport.get_write_buffer_size() < 2 * 65536
            reading = asyncio.create_task(read_to_end(client))
            await sending
            if half_close:
                client.shutdown(socket.SHUT_WR)
            answers.append(normalized(await reading))
    assert answers[0] == answers[1]
    assert answers[0].count(b"\r\nServer: ") == COUNT + (not half_close)
    await doors.check_effects()


@pytest.mark.parametrize(("request_", "count"), [(LIVEZ, 1000), (GET, 300)], ids=["livez", "get"])
async def test_a_slow_reader_that_closes_its_side_gets_every_answer(
    doors: Doors, request_: bytes, count: int
) -> None:
    """A slow client that closes its side early still gets every answer."""
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        shrink(door._transport)
        await send(client, request_ * count)
        await until(lambda: door._is_full and len(door._inbox))
        client.shutdown(socket.SHUT_WR)
        await until(lambda: door._has_ended)
        assert (await read_to_end(client)).count(b"\r\nServer: ") == count


async def test_a_slow_reader_that_closes_its_side_gets_a_whole_file(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file behind a pending request is sent to its end."""
    service = await start()
    found = pending_read(service, monkeypatch)
    async with connected(service) as client:
        door = await door_of(service)
        shrink(door._transport)
        await send(client, GET + request(path="/static/vendor/swagger-ui/swagger-ui-bundle.js"))
        await until(lambda: door._exchange is not None)
        client.shutdown(socket.SHUT_WR)
        await until(lambda: door._has_ended)
        found.resolve(None)
        answers = await read_to_end(client)
    assert answers.startswith(b"HTTP/1.1 404 Not Found")
    head, _, body = answers[answers.index(b"HTTP/1.1 200 OK") :].partition(b"\r\n\r\n")
    assert b"\r\nContent-Length: %d\r\n" % len(body) in head


async def test_requests_that_wait_for_redis_do_not_fill_the_memory(doors: Doors) -> None:
    """The front door pauses reading while it keeps many bytes of pending requests."""
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        sending = asyncio.create_task(send(client, POST * 100_000))
        largest = 0
        for _ in range(50):
            exchange = door._exchange
            await until(lambda exchange=exchange: door._exchange is not exchange)  # type: ignore[misc]
            largest = max(largest, len(door._inbox))
        assert MAX_KEPT_BYTES < largest <= MAX_KEPT_BYTES + 2 * READ_BYTES
        sending.cancel()


@pytest.mark.parametrize("data", [POST, END], ids=["post", "delete"])
async def test_a_request_whose_client_is_lost_is_finished_and_recorded(doors: Doors, data: bytes) -> None:
    """A request whose client is lost is recorded, because Redis may have run it."""
    for service in (doors.front, doors.aiohttp):
        async with connected(service) as client:
            await pause_redis(doors)
            await send(client, data)
            await turns(10)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await until(lambda service=service: service.log_lines())  # type: ignore[misc]
    assert not doors_of(doors.front)
    await doors.check_effects()


@pytest.mark.parametrize("first", [b"", READYZ], ids=["new", "used"])
@pytest.mark.parametrize("kind", ["draining", "closing", "half-closed"])
async def test_a_pending_request_is_answered_before_the_end(doors: Doors, first: bytes, kind: str) -> None:
    """A pending request is answered during a drain, a shutdown and a half-close."""
    answers = []
    for service in (doors.front, doors.aiohttp):
        async with connected(service) as client:
            await send(client, first)
            await until(lambda service=service: len(service.log_lines()) == bool(first))  # type: ignore[misc]
            await pause_redis(doors)
            await send(client, POST)
            await turns(10)
            if service is doors.front:
                door = await door_of(service)
                await until(lambda door=door: door.pending is not None)  # type: ignore[misc]
            if kind == "half-closed":
                client.shutdown(socket.SHUT_WR)
            else:
                service.runner.health.is_draining = True
            if kind == "closing":
                closing = asyncio.create_task(service.runner.cleanup())
            answers.append(normalized(await read_to_end(client)))
            if kind == "closing":
                await closing
    assert answers[0] == answers[1]
    assert answers[0].count(b"HTTP/1.1 201 Created") == 1
    assert answers[0].count(b"Connection: close") == (kind != "half-closed")


async def test_a_new_connection_may_send_its_request_during_the_shutdown(start: Start) -> None:
    """A connection without a request is open for a moment after the shutdown began."""
    service = await start()
    async with connected(service) as client:
        await door_of(service)
        service.runner.health.is_draining = True
        closing = asyncio.create_task(service.runner.cleanup())
        await turns(10)
        await send(client, POST)
        answer = await read_to_end(client)
        await closing
    assert answer.startswith(b"HTTP/1.1 201 Created")
    assert b"Connection: close" in answer


async def test_a_request_in_the_hands_of_aiohttp_is_answered_during_the_shutdown(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that aiohttp answers is not cut off by the shutdown."""
    service = await start()
    found = pending_read(service, monkeypatch)
    async with connected(service) as client:
        await send(client, request("GET", cookie(A), "Max-Forwards: 1"))
        door = await door_of(service)
        await until(lambda: door._slow is not None and not door._slow.is_at_rest())
        closing = asyncio.create_task(service.runner.cleanup())
        await until(lambda: door.is_closing)
        found.resolve(None)
        assert (await read_to_end(client)).startswith(b"HTTP/1.1 404 Not Found")
        await closing


async def test_a_request_that_fails_during_the_shutdown_is_answered_once(
    start: Start, monkeypatch: pytest.MonkeyPatch, reported: Reported
) -> None:
    """The error of a pending request is its answer, and the event loop reports none."""
    service = await start()
    found = pending_read(service, monkeypatch)
    async with connected(service) as client:
        await send(client, GET)
        await until(lambda: len(found._callbacks) == 1)
        service.runner.health.is_draining = True
        closing = asyncio.create_task(service.runner.cleanup())
        await until(lambda: len(found._callbacks) == 2)
        found.resolve(StoreUnavailable("down"))
        answer = await read_to_end(client)
        await closing
    gc.collect()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert answer.count(b"HTTP/1.1") == 1
    assert reported == []


async def test_a_pending_request_does_not_stop_the_shutdown(
    start: Start, monkeypatch: pytest.MonkeyPatch, reported: Reported
) -> None:
    """A request without a result is given up, and its later error is not reported."""
    service = await start(server=ServerSettings(shutdown_seconds=SHORT))
    found = pending_read(service, monkeypatch)
    async with connected(service) as client:
        await send(client, GET)
        await until(lambda: found._callbacks)
        async with asyncio.timeout(30):
            await service.runner.cleanup()
        assert await read_to_end(client) == b""
    found.resolve(StoreUnavailable("down"))
    await turns()
    gc.collect()
    assert reported == []


async def test_a_request_that_was_not_read_yet_is_answered_during_the_shutdown(start: Start) -> None:
    """A connection with unread bytes is not closed before their answer."""
    service = await start()
    async with connected(service) as client:
        door = await door_of(service)
        assert client.send(POST) == len(POST)
        door.close()  # before the event loop has read the bytes
        answer = await read_to_end(client)
    assert answer.startswith(b"HTTP/1.1 201 Created")


async def test_a_silent_connection_does_not_stop_the_shutdown(start: Start) -> None:
    """A connection that sends nothing is closed at the shutdown."""
    service = await start()
    async with connected(service) as client:
        await door_of(service)
        async with asyncio.timeout(5):
            await service.runner.cleanup()
        assert await read_to_end(client) == b""


async def test_no_timeout_ends_a_pending_request(open_doors: OpenDoors) -> None:
    """The timeout for idle connections does not run while a request waits for Redis."""
    doors = await open_doors(server=ServerSettings(keepalive_seconds=PAUSE_MS / 3000))
    for first in (b"", request(path="/x")):
        async with connected(doors.front) as client:
            await pause_redis(doors)
            await send(client, first + GET)
            answer = await read_to_end(client)
            assert answer.count(b"HTTP/1.1 200 OK") == 1
            assert answer.count(b"\r\nServer: ") == 1 + bool(first)


async def test_aiohttp_knows_that_a_request_is_pending(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a connection that aiohttp has used, its timer waits for the front door."""
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        await send(client, READYZ)
        await until(lambda: door._slow is not None and door._slow.is_at_rest())
        assert door._slow is not None
        found = pending_read(doors.front, monkeypatch)
        await send(client, GET)
        await until(lambda: door.pending is not None)
        assert door._slow.has_pending_answer
        found.resolve(None)
        await until(lambda: door.pending is None)
        assert not door._slow.has_pending_answer


async def test_an_answer_of_the_front_door_restarts_the_timer_of_aiohttp(doors: Doors) -> None:
    """A connection that aiohttp has used is not idle after a frequent request."""
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        await send(client, READYZ)
        await until(lambda: door._slow is not None and door._slow.is_at_rest())
        assert door._slow is not None
        before = door._slow._next_keepalive_close_time
        await send(client, LIVEZ)
        await until(lambda: door._slow is not None and door._slow._next_keepalive_close_time > before)


async def test_a_client_that_reads_slowly_gets_more_time(doors: Doors) -> None:
    """A client that has read something since the last check is not closed."""
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        shrink(door._transport)
        await send(client, LIVEZ * COUNT)
        await until(lambda: door._is_full)
        transport = door._transport
        assert transport is not None
        await until(lambda: door._reprieve(transport, 75.0) == 0)
        await asyncio.get_running_loop().sock_recv(client, 65536)
        await until(lambda: door._reprieve(transport, 75.0) == 75.0)
        await until(lambda: door._reprieve(transport, 75.0) == 0)


@pytest.mark.parametrize("data", [LIVEZ, GET], ids=["livez", "get"])
async def test_a_client_that_reads_nothing_is_closed(start: Start, data: bytes) -> None:
    """A connection that reads nothing for the keep-alive time is closed."""
    service = await start(server=ServerSettings(keepalive_seconds=SHORT))
    async with connected(service) as client:
        door = await door_of(service)
        shrink(door._transport)
        sending = asyncio.create_task(send(client, data * COUNT))
        await until(lambda: door._is_full)
        await until(lambda: not doors_of(service))
        await asyncio.gather(sending, return_exceptions=True)


async def test_a_connection_returns_to_the_front_door(doors: Doors) -> None:
    """After aiohttp has answered a request, the front door answers the next ones."""
    server = doors.front.runner.server
    assert server is not None
    slow = (
        READYZ,
        request(path="/x"),
        request("GET", cookie("x"), cookie(A)),
        request("POST", body=b'{"user_id": 1}'),
        request("PUT"),
        b"\r\n" + LIVEZ,
        LIVEZ[:20],
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", doors.front.port)

    async def ask(data: bytes) -> bytes:
        writer.write(data)
        async with asyncio.timeout(30):
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            return head + await reader.readexactly(int(length or 0))

    for number, one in enumerate(slow):
        if one == LIVEZ[:20]:
            writer.write(one)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            one = LIVEZ[20:]  # noqa: PLW2901 - the rest of it
        assert b" 40" not in (await ask(one)).split(b"\r\n")[0] or number
        (door,) = doors_of(doors.front)
        await until(lambda door=door: door._slow is not None and door._slow.is_at_rest())  # type: ignore[misc]
        for fast in (GET, POST, LIVEZ):
            assert (await ask(fast)).startswith(b"HTTP/1.1 20")
        assert server.requests_count == number + 1
    writer.close()


async def test_repeated_requests_get_their_own_answers(doors: Doors) -> None:
    """Repeated heads with other ids and bodies get answers of their own."""
    ids = (A, B, A.upper(), ABSENT, USER, "null", A[:-1] + "x", A)
    gets = [request("GET", cookie(one)) for one in ids]
    headers = [request("GET", f"{TOKEN}: {one}") for one in ids]
    posts = [request("POST", body=b'{"user_id": "user-%d"}' % number) for number in range(3)]
    others = [request("POST"), request("POST"), END, END, GET, *posts]
    packets = [*gets, *headers, *posts, *others, b"".join(gets), b"".join(posts)]
    answer = await doors.answers(*packets, LAST)
    assert answer.count(b"HTTP/1.1 ") == 3 * len(ids) + 3 * len(posts) + 5 + 1


async def test_a_repeat_after_a_change_of_keys(doors: Doors) -> None:
    """A key that was removed is rejected in a repeated request too."""
    async with connected(doors.front) as client:
        for expected in (b"200", b"200", b"200", b"401", b"401"):
            if expected == b"401":
                doors.front.runner.use_keys(Keyring([]))
            await send(client, GET)
            received = b""
            while not received.endswith(b"}"):
                received += await asyncio.get_running_loop().sock_recv(client, 65536)
            assert received.startswith(b"HTTP/1.1 " + expected)


async def test_nothing_is_read_during_the_rest(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 503 `overloaded`, bytes of the client stay in the kernel for a while."""
    monkeypatch.setattr(front_door, "REST_SECONDS", 60.0)
    fast_path = doors.front.runner._fast_path
    assert fast_path is not None

    def overloaded(_: Sequence[str]) -> Deferred[Session | None]:
        raise Overloaded("too many")

    monkeypatch.setattr(fast_path._sessions, "find", overloaded)
    async with connected(doors.front) as client:
        door = await door_of(doors.front)
        await send(client, GET)
        await until(lambda: door._is_full)
        assert door._transport is not None
        assert not door._transport.is_reading()


async def test_a_connection_rests_after_an_overload(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """After 503 `overloaded`, later requests of a connection wait for their answer."""
    fast_path = doors.front.runner._fast_path
    assert fast_path is not None
    find, calls = fast_path._sessions.find, list[float]()
    loop = asyncio.get_running_loop()

    def overloaded_at_first(candidates: Sequence[str]) -> Deferred[Session | None]:
        calls.append(loop.time())
        if len(calls) == 1:
            raise Overloaded("too many")
        return find(candidates)

    monkeypatch.setattr(fast_path._sessions, "find", overloaded_at_first)
    async with connected(doors.front) as client:
        await send(client, GET + GET)
        received = b""
        while not received.endswith(b"}"):
            received += await loop.sock_recv(client, 65536)
        assert received.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in received
        await send(client, GET + LAST)
        rest = await read_to_end(client)
    assert rest.count(b"HTTP/1.1 200 ") == 3
    assert calls[1] - calls[0] >= REST_SECONDS


@pytest.mark.parametrize("is_kept", [True, False], ids=["in the inbox", "in the kernel"])
async def test_a_request_during_the_rest_is_answered_at_the_shutdown(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    is_kept: bool,  # noqa: FBT001 - a parameter
) -> None:
    """The shutdown ends the rest after 503 `overloaded`, and loses no request."""
    monkeypatch.setattr(front_door, "REST_SECONDS", 60.0)
    service = await start()
    fast_path = service.runner._fast_path
    assert fast_path is not None

    def overloaded(_: Sequence[str]) -> Deferred[Session | None]:
        raise Overloaded("too many")

    async with connected(service) as client:
        with monkeypatch.context() as busy:
            busy.setattr(fast_path._sessions, "find", overloaded)
            await send(client, GET + POST if is_kept else GET)
            door = await door_of(service)
            await until(lambda: door._is_full)
        if not is_kept:
            await send(client, POST)
        service.runner.health.is_draining = True
        closing = asyncio.create_task(service.runner.cleanup())
        answers = await read_to_end(client)
        await closing
    assert answers.startswith(b"HTTP/1.1 503 ")
    assert answers.count(b"HTTP/1.1 201 Created") == 1
    assert answers.count(b"Connection: close") == 1
