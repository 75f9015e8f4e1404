"""`Idempotency-Key`: a repeated creation gets the session of the first request."""

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from service.config.settings import RedisSettings
from service.counts import HOUR
from tests.api.conftest import KEY, ORIGIN, TOKEN, Service, Start, problem

IDEMPOTENCY = {"Idempotency-Key": "7f6d2a4e-9f2b-4c37-8f6c-3f1f0a8f2c11"}


async def test_a_repeated_creation_gets_the_same_answer(service: Service) -> None:
    """Body, session header and expiry are the same. The cookie gets the rest."""
    for body in (None, {"user_id": "u"}):
        first = await service.request("POST", json=body, headers=IDEMPOTENCY)
        again = await service.request("POST", json=body, headers=IDEMPOTENCY)
        assert (first.status, again.status) == (201, 201)
        assert await first.read() == await again.read()
        for name in (TOKEN, "X-Jay-Session-Expires"):
            assert first.headers[name] == again.headers[name]
        cookies = [re.sub("Max-Age=([0-9]+)", "Max-Age=", one.headers["Set-Cookie"]) for one in (first, again)]
        assert cookies[0] == cookies[1]
        seconds = [
            int(one.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0]) for one in (first, again)
        ]
        assert 86_390 < seconds[1] <= seconds[0] <= 86_400
        assert (await service.request("GET", headers={TOKEN: again.headers[TOKEN]})).status == 200
    created = await service.request("POST", json={"user_id": "other"}, headers=IDEMPOTENCY)
    assert created.headers[TOKEN] != first.headers[TOKEN]


@pytest.mark.parametrize("more", [{}, {"Max-Forwards": "1"}], ids=["front door", "aiohttp"])
async def test_the_cookie_of_a_repeated_creation_gets_the_rest_of_the_lifetime(
    service: Service, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    """An hour after the creation, its repetition gives the cookie an hour less."""
    fast_path = service.runner._fast_path
    assert fast_path is not None
    with monkeypatch.context() as an_hour_ago:
        an_hour_ago.setattr(fast_path._creations._factory, "_clock_ns", lambda: time.time_ns() - HOUR * 10**9)
        await service.create(headers=IDEMPOTENCY | more)
    again = await service.request("POST", headers=IDEMPOTENCY | more)
    seconds = int(again.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0])
    assert 86_400 - 2 * HOUR < seconds <= 86_400 - HOUR


async def test_a_burst_of_creations_fails_no_request(service: Service) -> None:
    """Creations with a key leave in batches, and fail neither others nor each other."""
    burst = [service.request("POST", headers={"Idempotency-Key": f"{number:016}"}) for number in range(90)]
    others = [service.request("POST") for _ in range(10)]
    answers = await asyncio.gather(*burst, *others)
    assert {answer.status for answer in answers} == {201}
    assert len({answer.headers[TOKEN] for answer in answers}) == 100


async def test_an_ended_session_is_a_conflict(service: Service) -> None:
    """After the end of its session, a key gets 409 and no cookie."""
    created = await service.request("POST", headers=IDEMPOTENCY)
    await service.request("DELETE", headers={TOKEN: created.headers[TOKEN]})
    conflict = await service.request("POST", headers=IDEMPOTENCY)
    await problem(conflict, 409, "session-already-ended")
    assert "Set-Cookie" not in conflict.headers
    erased = await service.request("POST", json={"user_id": "u"}, headers=IDEMPOTENCY)
    assert erased.status == 201
    operator = {"X-API-Key": "operator-key"}
    assert (await service.request("DELETE", "/v1/playouts/tracking/users/u", headers=operator)).status == 200
    again = await service.request("POST", json={"user_id": "u"}, headers=IDEMPOTENCY)
    await problem(again, 409, "session-already-ended")


@pytest.mark.parametrize(
    "value", ["", "short", "x" * 15, "x" * 65, "with a space in the key", f"{'a' * 16},{'b' * 16}"]
)
async def test_an_invalid_key_is_named(service: Service, value: str) -> None:
    """A key of another form is a 422 that names the header, and creates nothing."""
    found = await problem(await service.request("POST", headers={"Idempotency-Key": value}), 422, "invalid-request")
    assert found["member"] == "Idempotency-Key"


async def test_a_key_that_is_sent_twice_is_named(service: Service) -> None:
    """Two lines of the header are a 422, as one line with a comma is."""
    line = b"Idempotency-Key: 7f6d2a4e-9f2b-4c37-8f6c-3f1f0a8f2c11\r\n"
    head = f"POST /v1/playouts/tracking/session HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n".encode()
    answer = await service.raw(head + line * 2 + b"\r\n")
    assert b" 422 " in answer.partition(b"\r\n")[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["member"] == "Idempotency-Key"
    answer = await service.raw(head + line.replace(b"7f6d", b"\xc3\xa4\xc3\xa4") + b"\r\n")
    assert answer.partition(b"\r\n")[0].split()[1] in {b"400", b"422"}


async def test_pages_may_send_the_header(service: Service) -> None:
    """A preflight allows the header to pages of configured origins."""
    headers = {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "idempotency-key",
    }
    allowed = (await service.request("OPTIONS", headers=headers)).headers["Access-Control-Allow-Headers"]
    assert "idempotency-key" in allowed.lower().split(", ")


async def test_without_redis_nothing_is_created(start: Start, tmp_path: Path) -> None:
    """Without Redis a creation with a key is a 503 without a cookie."""
    service = await start(url=f"unix://{tmp_path}/none.sock", redis=RedisSettings())
    response = await service.request("POST", headers=IDEMPOTENCY)
    await problem(response, 503, "store-unavailable")
    assert "Set-Cookie" not in response.headers
