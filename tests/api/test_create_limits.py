"""The limit of creations by API key and client address."""

import dataclasses
from typing import Any

import pytest
from aiohttp import ClientResponse

from service.api.client_address import ClientAddresses
from service.api.create_limits import CreateLimits
from service.api_keys import Keyring, Scope, hash_key
from service.config.settings import CorsSettings, ServerSettings
from service.errors import TooManyRequests
from service.rate_limits import RateLimit, RateLimiter
from tests.api.conftest import KEY, KEYS, ORIGIN, PATH, Service, Start
from tests.support.servers import Raw

LIMITED = dataclasses.replace(KEYS[0], create_limit=RateLimit(3, 3600))
OTHER = dataclasses.replace(LIMITED, name="other", sha256=hash_key("other-key"))
BEHIND_PROXY = ServerSettings(trusted_proxies=("127.0.0.1",))


@pytest.fixture
async def limited(start: Start) -> Service:
    return await start(api_keys=(LIMITED, OTHER), server=BEHIND_PROXY, cors=CorsSettings(origins=(ORIGIN,)))


async def post(service: Service, address: str, **more: Any) -> ClientResponse:
    headers = {"X-Forwarded-For": address, **more.pop("headers", {})}
    return await service.request("POST", headers=headers, **more)


async def test_creations_over_the_limit_are_429(limited: Service) -> None:
    """A creation over the limit is a 429 with `Retry-After` and no cookie.

    A page can read it.
    """
    assert [(await post(limited, "1.1.1.1")).status for _ in range(3)] == [201] * 3
    refused = await post(limited, "1.1.1.1", headers={"Origin": ORIGIN})
    assert refused.status == 429
    assert refused.content_type == "application/problem+json"
    assert (await refused.json())["type"] == "urn:jay:problem:too-many-requests"
    assert 1190 <= int(refused.headers["Retry-After"]) <= 1200
    assert refused.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "Retry-After" in refused.headers["Access-Control-Expose-Headers"]
    assert "Set-Cookie" not in refused.headers
    assert "1.1.1.1" not in await refused.text()


async def test_redis_grows_by_no_more_than_the_limit(limited: Service, prefix: str, raw: Raw) -> None:
    """A flood from one address stores no more sessions than the limit."""
    for _ in range(3):
        await post(limited, "1.1.1.1")
    before = {key async for key in raw.scan_iter(match=f"{prefix}*")}
    assert before
    statuses = {(await post(limited, "1.1.1.1", json={"user_id": f"user-{number}"})).status for number in range(50)}
    assert statuses == {429}
    assert {key async for key in raw.scan_iter(match=f"{prefix}*")} <= before


async def test_only_this_client_and_key_is_limited(limited: Service) -> None:
    """Other addresses, keys and requests are not limited."""
    for _ in range(4):
        last = await post(limited, "1.1.1.1")
    assert last.status == 429
    assert (await post(limited, "1.1.1.2")).status == 201
    assert (await post(limited, "1.1.1.1", headers={"X-API-Key": "other-key"})).status == 201
    assert (await limited.request("GET", headers={"X-Forwarded-For": "1.1.1.1"})).status == 404
    assert (await limited.request("DELETE", headers={"X-Forwarded-For": "1.1.1.1"})).status == 204


async def test_invalid_bodies_do_not_count(limited: Service) -> None:
    """Requests with an invalid body do not count."""
    for _ in range(5):
        assert (await post(limited, "1.1.1.1", json={"user_id": 7})).status == 422
    assert [(await post(limited, "1.1.1.1")).status for _ in range(4)] == [201, 201, 201, 429]


async def test_both_paths_share_the_limit(limited: Service) -> None:
    """Both paths of the spec share the limit."""
    statuses = [(await limited.request("POST", path)).status for path in (PATH, PATH.removeprefix("/v1"), PATH, PATH)]
    assert statuses == [201, 201, 201, 429]


async def test_a_client_cannot_choose_its_address(start: Start) -> None:
    """Without trusted proxies, forwarding headers are ignored."""
    service = await start(api_keys=(LIMITED,))
    statuses = [
        (await post(service, f"1.1.1.{number}", headers={"Forwarded": f"for=2.2.2.{number}"})).status
        for number in range(4)
    ]
    assert statuses == [201, 201, 201, 429]


async def test_a_reload_of_the_keys_keeps_the_counts(limited: Service) -> None:
    """Keys with the same name share a count, also after a reload."""
    for _ in range(3):
        await post(limited, "1.1.1.1")
    renewed = dataclasses.replace(LIMITED, sha256=hash_key("new-key"))
    limited.runner.use_keys(Keyring((LIMITED, renewed)))
    assert (await post(limited, "1.1.1.1", headers={"X-API-Key": "new-key"})).status == 429


async def test_a_reload_with_another_limit_takes_effect_at_once(limited: Service) -> None:
    """A client above the old limit waits as long as the new limit says, and no more."""
    for _ in range(3):
        await post(limited, "1.1.1.1")
    assert int((await post(limited, "1.1.1.1")).headers["Retry-After"]) > 600
    limited.runner.use_keys(Keyring((dataclasses.replace(LIMITED, create_limit=RateLimit(2, 1200)),)))
    refused = await post(limited, "1.1.1.1")
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) <= 600


async def test_the_log_names_the_key_once_and_no_address(limited: Service, caplog: pytest.LogCaptureFixture) -> None:
    """The log names each limited key once and no address."""
    for key in (KEY, "other-key"):
        for _ in range(6):
            await post(limited, "198.51.100.7", headers={"X-API-Key": key})
    lines = [record.getMessage() for record in caplog.records if "create_limit" in record.getMessage()]
    assert [line.split("API key ")[1].split()[0] for line in lines] == ["demo", "other"]
    assert "198.51.100.7" not in str(lines)


def test_a_wait_is_rounded_up_to_whole_seconds() -> None:
    """`Retry-After` is never shorter than the wait, and never 0."""
    clock = iter((0.0, 1.75, 0.25))
    limits = CreateLimits(ClientAddresses(()), RateLimiter(lambda: next(clock)))
    limit = RateLimit(1, 2)
    limits.count(LIMITED, limit, "1.1.1.1")
    for seconds in (1, 2):
        with pytest.raises(TooManyRequests) as caught:
            limits.count(LIMITED, limit, "1.1.1.1")
        assert caught.value.retry_after_seconds == seconds


async def test_a_key_without_a_limit_has_none(service: Service) -> None:
    """A key without `create_limit` is not limited."""
    assert KEYS[0].create_limit is None
    assert Scope.TRACK in KEYS[0].scopes
    assert {(await service.request("POST")).status for _ in range(100)} == {201}
