"""The privacy notice and Global Privacy Control over HTTP."""

import dataclasses
import json

import pytest

from service.api_keys import ApiKey, Gpc, Keyring, Reveal, Scope
from service.config.privacy_settings import PrivacySettings
from service.config.settings import CookieSettings
from service.config.telemetry_settings import LogSettings
from tests.api.conftest import KEYS, ORIGIN, PATH, TOKEN, Service, Start, problem

NOTICE = "/v1/playouts/tracking/privacy"
NO_KEY: dict[str, str | None] = {"X-API-Key": None}
RESPECTING = tuple(dataclasses.replace(key, gpc=Gpc.GUEST) if Scope.TRACK in key.scopes else key for key in KEYS)


async def test_the_notice_needs_no_key(service: Service) -> None:
    """A consent tool reads the notice without a key, also from an allowed page."""
    response = await service.request("GET", NOTICE, headers={**NO_KEY, "Origin": ORIGIN})
    assert response.status == 200
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert response.headers["x-jay-api-version"] == "2025-05-19"
    document = await response.json()
    assert document["cookie"]["name"] == TOKEN
    assert document["retention"] == {"session_seconds": 86400, "count_days": 90}
    unknown = await service.request("GET", NOTICE, headers={**NO_KEY, "x-jay-api-version": "1999-01-01"})
    await problem(unknown, 400, "unsupported-version")


async def test_the_page_has_the_same_sentences(start: Start) -> None:
    """The page shows every sentence, escaped, with links for contact and objection."""
    service = await start(
        privacy=PrivacySettings(contact="a&b@example.com", objection_url="https://www.example.com/x?a=1&b=2"),
        cookie=CookieSettings(same_site="Strict"),
    )
    document = await (await service.request("GET", NOTICE)).json()
    response = await service.request("GET", "/privacy", headers=NO_KEY)
    page = await response.text()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in response.headers["Content-Security-Policy"]
    assert '<a href="mailto:a&amp;b@example.com">a&amp;b@example.com</a>.' in page
    assert '<a href="https://www.example.com/x?a=1&amp;b=2">' in page
    for section in document["notice"]:
        assert f"<h2>{section['title']}</h2>" in page
        for statement in section["statements"]:
            if "example.com" not in statement["text"]:
                assert f"<li>{statement['text'].replace(chr(39), '&#x27;')}</li>" in page
    assert "SameSite=Strict" in page
    again = await service.request("GET", "/privacy", headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


@pytest.mark.parametrize("keys", [KEYS, RESPECTING], ids=["ignore", "guest"])
async def test_the_support_resource_follows_the_keys(start: Start, keys: tuple[object, ...]) -> None:
    """`gpc` is true when every key that creates sessions respects the signal."""
    service = await start(api_keys=keys)
    response = await service.request("GET", "/.well-known/gpc.json", headers=NO_KEY)
    assert response.content_type == "application/json"
    assert await response.json() == {"gpc": keys is RESPECTING}


async def test_new_keys_change_the_notice(service: Service) -> None:
    """After a reload of the keys, notice and resource are those of the new keys."""
    before = await (await service.request("GET", "/privacy")).text()
    service.runner.use_keys(Keyring(RESPECTING))
    assert await (await service.request("GET", "/.well-known/gpc.json")).json() == {"gpc": True}
    assert await (await service.request("GET", "/privacy")).text() != before


async def test_ids_that_a_new_key_reveals_are_in_the_notice(start: Start) -> None:
    """Page and JSON have the ids that a proxy's key reveals, also after a reload."""
    track = tuple(key for key in KEYS if Scope.TRACK in key.scopes)
    service = await start(api_keys=track, log=LogSettings(session_ref=True))
    page = await (await service.request("GET", "/privacy")).text()
    assert "No proxy passes data of a session on to other services." in page
    assert "It has a keyed hash of the session id (session ref)" in page
    proxy = ApiKey("proxy", "1" * 64, frozenset({Scope.VALIDATE}), reveal=frozenset({Reveal.USER_ID}))
    service.runner.use_keys(Keyring((*track, proxy)))
    assert "It may add the user id." in await (await service.request("GET", "/privacy")).text()
    document = await (await service.request("GET", NOTICE)).json()
    (passed_on,) = [section["statements"] for section in document["notice"] if section["title"] == "Other services"]
    assert passed_on[1]["text"].endswith("It may add the user id.")
    assert passed_on[1]["settings"] == ["api_keys"]


@pytest.mark.parametrize("signal", ["1", " 1 ", "1, 1", "0, 1"])
async def test_a_key_that_respects_the_signal_stores_no_user_id(start: Start, signal: str) -> None:
    """With `gpc: guest` and `Sec-GPC: 1`, a user id is checked and not stored."""
    service = await start(api_keys=RESPECTING)
    headers: dict[str, str | None] = {"Sec-GPC": signal}
    response = await service.request("POST", json={"user_id": "user-1"}, headers=headers)
    assert response.status == 201
    assert "user_id" not in await response.json()
    session = await service.request("GET", PATH, headers={TOKEN: response.headers[TOKEN]})
    assert "user_id" not in json.loads(await session.read())
    operator: dict[str, str | None] = {"X-API-Key": "operator-key"}
    export = await service.request("GET", "/v1/playouts/tracking/users/user-1/sessions", headers=operator)
    assert (await export.json())["sessions"] == []
    await problem(await service.request("POST", json={"user_id": " "}, headers=headers), 422, "invalid-request")


@pytest.mark.parametrize(("keys", "signal"), [(KEYS, "1"), (RESPECTING, None), (RESPECTING, "0"), (RESPECTING, "")])
async def test_without_the_signal_or_the_option_the_user_id_is_stored(
    start: Start, keys: tuple[object, ...], signal: str | None
) -> None:
    """Both the option of the key and the signal are needed."""
    service = await start(api_keys=keys)
    response = await service.request("POST", json={"user_id": "user-1"}, headers={"Sec-GPC": signal})
    assert (await response.json())["user_id"] == "user-1"
