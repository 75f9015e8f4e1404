"""Forward-auth: the visitor's session for a proxy. It enriches and never denies."""

import dataclasses
import re
from collections.abc import Sequence
from urllib.parse import unquote

import pytest

from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES
from service.api_keys import Reveal
from service.config.settings import DEVELOPMENT_USER_SECRET
from service.config.telemetry_settings import LogSettings
from service.digests import SessionRefs
from service.errors import Overloaded
from tests.api.conftest import (
    KEY,
    KEYS,
    ORIGIN,
    PATH,
    PROXY,
    REVEALING,
    TOKEN,
    OpenDoors,
    Service,
    Start,
    problem,
)
from tests.api.doors import ABSENT, LAST, A, Doors, cookie, exchange
from tests.api.front_door_proxies import FORWARD_AUTH, SLOW_FORWARDED, forwarded
from tests.support.servers import RedisServer, binaries

PROXY_KEY = {"X-API-Key": "proxy-key"}
OURS = (
    *("X-Jay-Session", "X-Jay-Session-Ref", "X-Jay-Session-Expires", "X-Jay-Source", "X-Jay-Session-Id"),
    *("X-Jay-User-Id", "baggage"),
)
DENIED = {"no key", "unknown key", "two keys", "bearer", "key of a page", "key of a page in a preflight"}
# Targets that the HTTP parser does not read, and another path.
UNREADABLE = {"behind '/ü', 2": 400, "behind '/aaaaaaaaaaaaaaaaaaa', 4097": 414, "behind 'x', 1": 404}
ref_of = SessionRefs(DEVELOPMENT_USER_SECRET)


@pytest.fixture
async def service(start: Start) -> Service:
    """Return a service with keys of proxies."""
    return await start(api_keys=(*KEYS, PROXY, REVEALING))


async def ask(service: Service, behind: str = "", method: str = "GET", **headers: str) -> dict[str, str]:
    """Return the headers of a 200 that are for the service behind the proxy."""
    sent = {**PROXY_KEY, **{name.replace("_", "-"): value for name, value in headers.items()}}
    response = await service.request(method, FORWARD_AUTH + behind, headers=sent)
    assert (response.status, await response.read()) == (200, b"")
    return {name: response.headers[name] for name in OURS if name in response.headers}


async def test_a_live_session_is_described(service: Service) -> None:
    """A live session has its ref, expiry and source, and the ref in `baggage`."""
    created = await service.request("POST", json={"user_id": "u"}, headers={"X-API-Key": "tv-key"})
    ref = ref_of(created.headers[TOKEN])
    found = await ask(service, Cookie=f"{TOKEN}={created.headers[TOKEN]}")
    assert found == {
        "X-Jay-Session": "live",
        "X-Jay-Session-Ref": ref,
        "X-Jay-Session-Expires": created.headers["X-Jay-Session-Expires"],
        "X-Jay-Source": "tv.app.2",
        "baggage": f"session.id={ref}",
    }
    assert await ask(service, X_Jay_Tracking=created.headers[TOKEN]) == found
    await service.request("DELETE", headers={TOKEN: created.headers[TOKEN]})
    assert await ask(service, Cookie=f"{TOKEN}={created.headers[TOKEN]}") == {"X-Jay-Session": "none"}


@pytest.mark.parametrize("user_id", ["user-1", "Jörg, Ünal\u00a0<x>;=%/?", "a" * 128, "🙂"])
async def test_a_key_may_reveal_more(start: Start, user_id: str) -> None:
    """Only a key that may reveal an id gets it, and a user id is percent-encoded."""
    for number, reveal in enumerate(({Reveal.SESSION_ID}, {Reveal.USER_ID}, set(Reveal), set())):
        key = dataclasses.replace(PROXY, reveal=frozenset(reveal))
        service = await start(api_keys=(*KEYS, key))
        session_id = await service.create(json={"user_id": user_id})
        found = await ask(service, Cookie=f"{TOKEN}={session_id}")
        assert found.get("X-Jay-Session-Id") == (session_id if Reveal.SESSION_ID in reveal else None), number
        encoded = found.get("X-Jay-User-Id")
        assert (encoded is not None) == (Reveal.USER_ID in reveal)
        assert encoded is None or re.fullmatch("[A-Za-z0-9._~%-]+", encoded)
        assert encoded is None or unquote(encoded, errors="strict") == user_id
        guest = await ask(service, Cookie=f"{TOKEN}={await service.create()}")
        assert "X-Jay-User-Id" not in guest


async def test_baggage_is_merged(service: Service) -> None:
    """The answer has the request's baggage without a session id, in every state."""
    session_id = await service.create()
    sent = "a=1, session%2Eid=forged ,b=2"
    assert (await ask(service, baggage=sent, Cookie=f"{TOKEN}={session_id}"))["baggage"] == (
        f"session.id={ref_of(session_id)},a=1,b=2"
    )
    for token in ("", ABSENT):
        assert await ask(service, baggage=sent, Cookie=f"{TOKEN}={token}") == {
            "X-Jay-Session": "none",
            "baggage": "a=1,b=2",
        }
    assert await ask(service, baggage="session.id=forged") == {"X-Jay-Session": "none", "baggage": ""}


async def test_nothing_of_a_visitor_changes_the_status(doors: Doors) -> None:
    """Any method, path, version, origin, expectation and body gets 200."""
    for name, one in SLOW_FORWARDED.items():
        if name in DENIED or "require" in name:
            continue
        answer = await exchange(doors.front.port, [one], half_close=True)
        expected = UNREADABLE.get(name, 200)
        assert answer.split()[1] == str(expected).encode(), (name, answer)
        if expected == 200:
            assert b"\r\nX-Jay-Session: live\r\n" in answer, name


async def test_only_the_parser_limits_what_a_visitor_sends(doors: Doors) -> None:
    """The API reference names the limits of the HTTP parser."""
    fields = [f"x{number}: 1" for number in range(MAX_HEADERS)]
    own_fields = forwarded("GET").count(b": ")
    for method, lines, behind, expected in (
        ("GET", fields[own_fields:], "/a", 200),
        ("GET", fields[own_fields - 1 :], "/a", 431),
        ("GET", [f"a: {'x' * MAX_FIELD_BYTES}"], "", 200),
        ("GET", [f"a: {'x' * (MAX_FIELD_BYTES + 1)}"], "", 431),
        ("GET", [], "/" + "a" * MAX_LINE_BYTES, 414),
        ("CONNECT", [], "/a", 405),
        ("FOO", [], "", 405),
        ("GET", ["User-Agent: a", "User-Agent: b"], "", 400),
    ):
        answer = await exchange(doors.front.port, [forwarded(method, *lines, behind=behind)], half_close=True)
        assert answer.split()[1] == str(expected).encode(), (method, len(lines), answer)


@pytest.mark.parametrize("behind", ["", "?require=live", "/", "/a"])
async def test_a_connect_ends_the_connection(service: Service, behind: str) -> None:
    """The bytes after a CONNECT are not HTTP and are not executed."""
    head = f"CONNECT {FORWARD_AUTH}{behind} HTTP/1.1\r\nHost: x\r\nX-API-Key: proxy-key\r\n\r\n"
    inner = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n"
    answer = await service.raw((head + inner).encode(), until_closed=True)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer


async def test_only_the_key_of_the_proxy_is_rejected(doors: Doors) -> None:
    """A missing, unknown, repeated or weak key of the proxy is an error."""
    statuses = {name: (await exchange(doors.front.port, [SLOW_FORWARDED[name] + LAST])).split()[1] for name in DENIED}
    assert statuses == {
        **dict.fromkeys(("no key", "unknown key", "bearer"), b"401"),
        **dict.fromkeys(("key of a page", "key of a page in a preflight"), b"403"),
        "two keys": b"400",
    }


async def test_a_session_can_be_required(service: Service) -> None:
    """`require=live` on exactly this path gives 401 without a live session."""
    session_id = await service.create()
    for behind in ("?require=live", "?a=b&require=live", "?require=&require=live"):
        assert (await ask(service, behind, Cookie=f"{TOKEN}={session_id}"))["X-Jay-Session"] == "live"
        response = await service.request(
            "GET", FORWARD_AUTH + behind, headers={**PROXY_KEY, "baggage": "session.id=x,a=1"}
        )
        await problem(response, 401, "session-required")
        assert response.headers["X-Jay-Session"] == "none"
        assert response.headers["baggage"] == "a=1"
    for behind in ("", "?require=", "?require=dead", "/?require=live", "/a?require=live"):
        assert await ask(service, behind) == {"X-Jay-Session": "none"}


async def test_without_redis_the_session_is_unknown(
    open_doors: OpenDoors, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Without Redis the answer is 200 and `unknown`, or 503 for `require=live`."""
    with RedisServer(binaries()["valkey"], tmp_path_factory.mktemp("own")) as own:
        doors = await open_doors(own.url)
        own.kill()
        for behind in ("", "/", "/a?require=live"):
            for method in ("GET", "PROPFIND"):
                answer = await doors.answers(
                    forwarded(method, cookie(A), "baggage: a=1,session.id=x", behind=behind) + LAST
                )
                assert answer.startswith(b"HTTP/1.1 200 ")
                assert b"\r\nX-Jay-Session: unknown\r\nbaggage: a=1\r\n" in answer
        required = await doors.answers(forwarded("GET", cookie(A), behind="?require=live") + LAST)
        assert required.startswith(b"HTTP/1.1 503 ")
        assert b"urn:jay:problem:store-unavailable" in required
        assert b"\r\nX-Jay-Session: unknown\r\n" in required
        for line in (cookie("a" * 32), cookie("null"), "X-Y: z"):  # Redis is not asked
            assert b"\r\nX-Jay-Session: none\r\n" in await doors.answers(forwarded("GET", line) + LAST)


async def test_an_overload_is_answered_at_once(doors: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the service is overloaded, the session is unknown and no visitor waits."""
    calls: list[float] = []

    def overloaded(_: Sequence[str]) -> None:
        calls.append(0.0)
        raise Overloaded("too many")

    for service in (doors.front, doors.aiohttp):
        fast_path = service.runner._fast_path
        assert fast_path is not None
        monkeypatch.setattr(fast_path._sessions, "find", overloaded)
    answer = await doors.answers(forwarded("GET", cookie(A)) * 20 + LAST)
    assert answer.count(b"\r\nX-Jay-Session: unknown\r\n") == 20
    assert len(calls) == 40
    required = await doors.answers(forwarded("GET", cookie(A), behind="?require=live") + LAST)
    assert required.startswith(b"HTTP/1.1 503 ")
    assert b"urn:jay:problem:overloaded" in required
    assert not [door for door in doors.front.runner.server._doors if door._is_full]  # type: ignore[union-attr]


async def test_the_log_and_the_metrics_name_the_route(start: Start) -> None:
    """Log and metrics have the route without the visitor's path, and the ref."""
    service = await start(api_keys=(*KEYS, PROXY), log=LogSettings(session_ref=True))
    session_id = await service.create()
    for behind in ("", "/movies?hidden=1"):
        for method in ("GET", "HEAD", "PROPFIND"):
            await ask(service, behind, method, Cookie=f"{TOKEN}={session_id}")
    lines = [line for line in service.log_lines() if "forward-auth" in str(line["route"])]
    assert [(line["route"], line["session_ref"], line["key"]) for line in lines] == [
        (FORWARD_AUTH + name, ref_of(session_id), "proxy") for name in ("", "/{path}") for _ in range(3)
    ]
    text = await (await service.request("GET", "/metrics", headers={"X-API-Key": "operator-key"})).text()
    assert 'jay_forward_auth_total{session="live"} 6.0' in text
    assert "hidden" not in text
    assert "movies" not in text


async def test_a_page_may_read_the_headers(service: Service) -> None:
    """CORS exposes every header of the answer."""
    response = await service.request("GET", FORWARD_AUTH, headers={**PROXY_KEY, "Origin": ORIGIN})
    assert set(OURS) <= set(response.headers["Access-Control-Expose-Headers"].split(", "))
