"""Failures on the way: what a client repeats, when, and what it raises."""

import asyncio
import json
import logging
import socket
import threading
import traceback
import uuid
from typing import Any

import pytest
from jay_tracking_client.errors import (
    ConnectionFailed,
    RequestFailed,
    ServiceUnavailable,
    TimedOut,
    TooManyRequests,
    TrackingError,
    UnexpectedAnswer,
    Unready,
)
from jay_tracking_client.messages import Answer, Request
from jay_tracking_client.options import Target
from jay_tracking_client.testing.fake_service import FakeTrackingService

from tests.clients.conformance import INVALID_URLS
from tests.clients.conftest import LIVE_KEY, LIVE_KEYS, Connect, Pauses, RealPauses
from tests.support.processes import Launch, kill

KEY = "secret-api-key-of-a-test"
USER = "secret-user"


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(connect: Connect, fake: FakeTrackingService, pauses: Pauses) -> Any:
    fake.api_key = KEY
    return connect(fake.url, KEY, pauses, chance=lambda _least, most: most)


async def test_pauses_double_until_the_attempts_end(client: Any, fake: FakeTrackingService, pauses: Pauses) -> None:
    """Three attempts have two pauses between them, and the last error is raised."""
    fake.fail_next(3)
    with pytest.raises(Unready):
        await client.get(fake.create_session().id)
    assert pauses == [0.1, 0.2]
    assert len(fake.requests) == 3


async def test_a_pause_is_random_up_to_its_limit(connect: Connect, fake: FakeTrackingService, pauses: Pauses) -> None:
    """The limit doubles up to `max_pause_seconds`, and the least pause is none."""
    options = {"attempts": 5, "pause_seconds": 0.1, "max_pause_seconds": 0.3, "total_seconds": 60.0}
    client = connect(fake.url, fake.api_key, pauses, chance=lambda least, most: least + most / 2, **options)
    fake.fail_next(5)
    with pytest.raises(Unready):
        await client.get(fake.create_session().id)
    assert pauses == [0.05, 0.1, 0.15, 0.15]


async def test_a_lost_answer_creates_one_session(client: Any, fake: FakeTrackingService) -> None:
    """The repeated creation carries the key of the first, and gets its session."""
    fake.break_next(after=True)
    created = await client.create("u")
    keys = {request.headers["idempotency-key"] for request in fake.requests}
    assert (len(fake.requests), len(keys)) == (2, 1)
    assert fake.is_live(created.id)


@pytest.mark.parametrize("call", ["get", "end", "clear_user", "find"])
async def test_safe_requests_survive_a_broken_connection(client: Any, fake: FakeTrackingService, call: str) -> None:
    """Reads and changes that may run twice are repeated after a broken connection."""
    session = fake.create_session("u")
    fake.break_next(2)
    await getattr(client, call)(session.id)
    assert len(fake.requests) == 3


async def test_a_pause_is_at_least_retry_after(client: Any, fake: FakeTrackingService, pauses: Pauses) -> None:
    """The random part is added to Retry-After."""
    fake.fail_next(retry_after_seconds=2)
    await client.find(fake.create_session().id)
    assert pauses == [2.1]


async def test_a_retry_after_beyond_the_call_ends_it(client: Any, fake: FakeTrackingService, pauses: Pauses) -> None:
    """A pause that exceeds the time of the call is left to the caller."""
    fake.fail_next(status=429, retry_after_seconds=60)
    with pytest.raises(TooManyRequests) as caught:
        await client.create()
    assert caught.value.retry_after_seconds == 60
    assert pauses == []


async def test_a_429_names_both_of_its_causes(client: Any, fake: FakeTrackingService) -> None:
    """The service rejects creations with 429, and changes of the user too."""
    session = fake.create_session()
    fake.fail_next(status=429, retry_after_seconds=60)
    with pytest.raises(TooManyRequests, match="creations, or changes of a user"):
        await client.set_user(session.id, "user-1")


@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
async def test_other_errors_are_not_repeated(client: Any, fake: FakeTrackingService, status: int) -> None:
    """An error that a repetition would meet again is raised at once."""
    fake.fail_next(3, status=status)
    with pytest.raises(TrackingError):
        await client.get(fake.create_session().id)
    assert len(fake.requests) == 1


async def test_a_call_outlasts_a_restart_of_the_store(connect: Connect, launch: Launch) -> None:
    """With the default options, a lookup gets its result after the store is back."""
    process = launch(JAY_API_KEYS=json.dumps(LIVE_KEYS))
    client = connect(process.url, LIVE_KEY, RealPauses())
    kill(process.valkey_pid)
    assert await client.find(str(uuid.uuid4())) is None


def test_a_creation_without_a_key_is_not_repeatable() -> None:
    """Only a POST that has a key, or that reads, is repeatable."""
    assert not Request("POST", "/").is_repeatable
    assert Request("POST", "/", {"Idempotency-Key": "x" * 16}).is_repeatable
    assert Request("POST", "/", reads=True).is_repeatable
    assert Request("PUT", "/").is_repeatable


async def test_a_silent_service_is_a_time_out(connect: Connect) -> None:
    """A service that accepts and never answers costs the caller the total time."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(f"http://127.0.0.1:{server.getsockname()[1]}", KEY, total_seconds=0.2)
        with pytest.raises(TimedOut):
            await client.create()


async def test_a_closed_port_is_a_failed_connection(connect: Connect) -> None:
    """A service that does not listen is a ServiceUnavailable error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(ConnectionFailed) as caught:
        await connect(f"http://127.0.0.1:{port}", KEY).create()
    assert isinstance(caught.value, ServiceUnavailable)


async def test_an_idle_connection_that_the_service_closed_is_replaced(connect: Connect, pauses: Pauses) -> None:
    """A service that closes idle connections costs no attempt."""
    answer = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"

    def serve(server: socket.socket) -> None:
        for _ in range(3):
            connection = server.accept()[0]
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
            closed.release()

    closed = threading.Semaphore(0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(10)
        served = asyncio.create_task(asyncio.to_thread(serve, server))
        client = connect(f"http://127.0.0.1:{server.getsockname()[1]}", KEY, pauses)
        for _ in range(3):
            with pytest.raises(UnexpectedAnswer):
                await client.get(str(uuid.uuid4()))
            # The event loop reads the end of the connection before it goes on.
            await asyncio.to_thread(closed.acquire, timeout=10)
        await served
    assert pauses == []


async def test_a_late_pause_ends_the_call(connect: Connect, fake: FakeTrackingService) -> None:
    """A call whose time is over after a pause makes no further attempt."""
    times = iter((0.0, 0.0, 0.1, 5.0))
    client = connect(fake.url, fake.api_key, clock=lambda: next(times))
    fake.fail_next(9)
    with pytest.raises(TimedOut):
        await client.get(fake.create_session().id)
    assert len(fake.requests) == 1


async def test_a_foreign_answer_is_unexpected(client: Any, fake: FakeTrackingService) -> None:
    """A redirect is not followed, and a body that is not the service's is an error."""
    problem = {"content-type": "application/problem+json"}
    answers = (
        Answer(307, {"location": "http://127.0.0.1:1/"}),
        Answer(200, {}, b"<html>"),
        Answer(200, {}, b"[]"),
        Answer(200, {}, b"[" * 100_000),
        Answer(404, {}, b"nothing here"),
        Answer(404, problem, b"{"),
        Answer(404, problem, b"[]"),
        Answer(404, problem, b"[" * 100_000),
    )
    for answer in answers:
        fake.answer_next(answer)
        with pytest.raises(UnexpectedAnswer):
            await client.get(fake.create_session().id)


async def test_errors_and_logs_have_no_secrets(
    client: Any, fake: FakeTrackingService, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors, representations and debug logs have no API key, session or user id."""
    caplog.set_level(logging.DEBUG)
    session = fake.create_session(USER)
    shown = [repr(session), repr(Request("PUT", "/", {"x": KEY}, USER.encode())), repr(Target("http://h", KEY))]
    faults: tuple[Any, ...] = (
        lambda: fake.fail_next(3),
        lambda: fake.fail_next(status=400),
        lambda: fake.break_next(3),
        lambda: fake.answer_next(Answer(200, {}, session.id.encode())),
        lambda: fake.answer_next(Answer(999_999, {}, session.id.encode()), times=3),
    )
    for fault in faults:
        fault()
        with pytest.raises(TrackingError) as caught:
            await client.set_user(session.id, USER)
        shown += [repr(caught.value), "".join(traceback.format_exception(caught.value, chain=True))]
        cause = caught.value.__cause__ or caught.value.__context__
        shown.append(repr(cause))
    for secret in (KEY, session.id, USER):
        assert not [text for text in (*shown, caplog.text) if secret in text]


@pytest.mark.parametrize("key", [None, "", "a b", "a,b", "a\nb", "é"])
def test_an_impossible_key_is_a_value_error_without_it(connect: Connect, key: str | None) -> None:
    """A key that no header can carry is rejected by the constructor."""
    with pytest.raises(ValueError, match="api_key must be"):
        connect("http://h", key)


@pytest.mark.parametrize("url", INVALID_URLS)
def test_an_impossible_url_is_a_value_error_without_it(connect: Connect, url: str) -> None:
    """A URL with credentials, a query or a fragment is rejected, and not repeated."""
    with pytest.raises(ValueError, match="url must be") as caught:
        connect(url, KEY)
    assert "secret" not in "".join(traceback.format_exception(caught.value, chain=True))


async def test_an_impossible_idempotency_key_is_a_value_error(client: Any, fake: FakeTrackingService) -> None:
    """A key that the service would reject is not sent."""
    with pytest.raises(ValueError, match="idempotency_key"):
        await client.create(idempotency_key="short")
    assert fake.requests == []


def test_a_retry_after_in_the_past_is_no_pause() -> None:
    """A date before that of the answer is a pause of no seconds, not a negative one."""
    headers = {"retry-after": "Thu, 01 Jan 2026 12:00:00 GMT", "date": "Thu, 01 Jan 2026 12:00:05 GMT"}
    assert Answer(503, headers).retry_after_seconds == 0.0


async def test_a_cookie_of_an_answer_is_not_sent(connect: Connect, fake: FakeTrackingService) -> None:
    """No request of a later visitor has the cookie of an earlier one."""
    client = connect(fake.url.replace("127.0.0.1", "localhost"), fake.api_key, connect_seconds=5.0)
    fake.answer_next(Answer(404, {"set-cookie": "visitor=a; Path=/"}))
    for _ in range(2):
        with pytest.raises(RequestFailed):
            await client.get(str(uuid.uuid4()))
    assert ["cookie" in request.headers for request in fake.requests] == [False, False]
