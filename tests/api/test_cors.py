"""Preflights and other OPTIONS requests of pages, web views and load balancers."""

import pytest

from service.api.cors import LIBRARY_HEADERS
from service.config.settings import CorsSettings
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service, Start, problem
from tests.api.test_transport import parsed

METHODS = "GET, HEAD, POST, PUT, DELETE"
HEADERS = (
    "content-type, x-api-key, x-jay-api-version, __secure-jay_tracking, x-jay-tracking, idempotency-key, "
    "traceparent, tracestate, baggage, sentry-trace, x-requested-with, cache-control, pragma"
)
PATHS = (
    PATH,
    PATH.removeprefix("/v1"),
    "/v1/playouts/tracking/users/u",
    "/livez",
    "/metrics",
    "/docs",
    "/static/dashboard.js",
    "/nowhere",
    "/",
)


def preflight(method: str = "GET", headers: str | None = None, origin: str = ORIGIN) -> dict[str, str | None]:
    asked = {"Access-Control-Request-Headers": headers} if headers is not None else {}
    return {"X-API-Key": None, "Origin": origin, "Access-Control-Request-Method": method, **asked}


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "*",
        "https://app.example.com.evil.example",
        "https://evil-app.example.com",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://APP.example.com",
        "https://app.example.com/",
        f"{ORIGIN}, {ORIGIN}",
        f"{ORIGIN}, https://evil.example",
        "",
    ],
)
async def test_a_foreign_origin_gets_no_cors_header(service: Service, origin: str) -> None:
    """Responses to a foreign origin have no CORS headers on any path."""
    for response in (
        await service.request("POST", headers={"Origin": origin}),
        await service.request("GET", "/nowhere", headers={"Origin": origin}),
        await service.request("OPTIONS", headers={"Origin": origin}),
        *[await service.request("OPTIONS", path, headers=preflight(origin=origin)) for path in PATHS],
    ):
        assert not [name for name in response.headers if name.lower().startswith("access-control")]
        if response.status >= 400:
            assert response.headers["Vary"] == "Origin"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "FROB", ""])
async def test_every_preflight_of_an_allowed_origin_gets_the_same_answer(
    service: Service, method: str, path: str
) -> None:
    """Every preflight of an allowed origin is a 204 with constant lists.

    The browser compares, and a page can read errors of any path.
    """
    response = await service.request("OPTIONS", path, headers=preflight(method))
    assert (response.status, await response.read()) == (204, b"")
    headers = response.headers
    assert headers.getall("Access-Control-Allow-Origin") == [ORIGIN]
    assert headers.getall("Access-Control-Allow-Credentials") == ["true"]
    assert headers.getall("Access-Control-Allow-Methods") == [METHODS]
    assert headers.getall("Access-Control-Allow-Headers") == [HEADERS]
    assert headers.getall("Access-Control-Max-Age") == ["600"]
    assert headers["Vary"] == "Origin"


@pytest.mark.parametrize(
    "asked",
    [
        "content-type,X-API-Key, x-jay-api-version,__secure-jay_tracking",
        "baggage,sentry-trace,traceparent,x-api-key",
        "x-requested-with",
        "x-canary",
        "traceparent, x-canary, x-api-key",
        "",
        ",,",
        "x" * 4000,
        "canary: *\t",
    ],
)
async def test_an_unknown_header_does_not_fail_a_preflight(service: Service, asked: str) -> None:
    """A requested header that is not allowed is not in the list."""
    response = await service.request("OPTIONS", headers=preflight("POST", asked))
    assert response.status == 204
    assert response.headers["Access-Control-Allow-Headers"] == HEADERS
    assert "canary" not in str(response.headers)


async def test_a_preflight_needs_neither_key_nor_version_nor_redis(start: Start) -> None:
    """A preflight works without key, version and Redis."""
    service = await start(url="redis://127.0.0.1:1/0")
    headers = {**preflight("DELETE"), "x-jay-api-version": "1999-01-01", "X-API-Key": "wrong"}
    response = await service.request("OPTIONS", headers=headers)
    assert response.status == 204
    assert response.headers["x-jay-api-version"] == "2025-05-19"


async def test_configured_headers_are_allowed_too(start: Start) -> None:
    """Configured headers are in the list once, in lower case."""
    cors = CorsSettings(origins=(ORIGIN,), request_headers=("X-Client-Version", "traceparent", "x-client-version"))
    service = await start(cors=cors)
    response = await service.request("OPTIONS", headers=preflight())
    assert response.headers["Access-Control-Allow-Headers"] == f"{HEADERS}, x-client-version"


@pytest.mark.parametrize(
    "origin", ["capacitor://localhost", "app://-", "http://[::1]:3000", "chrome-extension://abc"]
)
async def test_web_views_are_origins(start: Start, origin: str) -> None:
    """Requests, errors and preflights of a web view are answered like a page's."""
    service = await start(cors=CorsSettings(origins=(ORIGIN, origin)))
    for response in (
        await service.request("OPTIONS", headers=preflight(origin=origin)),
        await service.request("POST", headers={"Origin": origin}),
        await service.request("GET", "/nowhere", headers={"Origin": origin}),
    ):
        assert response.headers["Access-Control-Allow-Origin"] == origin


async def test_the_routes_use_no_method_that_cors_does_not_allow(service: Service) -> None:
    """CORS allows the methods of every route."""
    used = {route.method for route in service.runner.app.router.routes()}
    used.discard("*")  # forward-auth, which no page calls
    assert used <= {*METHODS.split(", "), "OPTIONS"}
    assert {name.lower() for name in LIBRARY_HEADERS} <= set(HEADERS.split(", "))


@pytest.mark.parametrize(
    "more",
    [{}, {"Origin": ORIGIN}, {"Origin": "https://evil.example"}, {"Access-Control-Request-Method": "GET"}],
)
@pytest.mark.parametrize(
    ("path", "allow"),
    [
        (PATH, "DELETE, GET, HEAD, OPTIONS, POST"),
        (f"{PATH}?x=1", "DELETE, GET, HEAD, OPTIONS, POST"),
        ("/v1/playouts/tracking/sessions/lookup", "OPTIONS, POST"),
        ("/v1/playouts/tracking/users/u", "DELETE, OPTIONS"),
        ("/v1/playouts/tracking/users/u/sessions", "GET, HEAD, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/metrics", "GET, HEAD, OPTIONS"),
        ("/dashboard", "GET, HEAD, OPTIONS"),
        ("/", "DELETE, GET, HEAD, OPTIONS, POST, PUT"),
        ("/nowhere", "DELETE, GET, HEAD, OPTIONS, POST, PUT"),
    ],
)
async def test_options_without_a_preflight_lists_the_methods(
    service: Service, path: str, allow: str, more: dict[str, str]
) -> None:
    """Other OPTIONS requests are a 204 with `Allow`, without a key.

    An unknown path lists the methods of the whole service.
    """
    response = await service.request("OPTIONS", path, headers={"X-API-Key": None, **more})
    assert (response.status, await response.read()) == (204, b"")
    assert response.headers.getall("Allow") == [allow]
    assert "Access-Control-Allow-Methods" not in response.headers


async def test_a_405_allows_what_options_lists(service: Service) -> None:
    """A 405 and an OPTIONS request of a path list the same methods."""
    for path in ("/livez", "/metrics", PATH, "/v1/playouts/tracking/users/u"):
        listed = (await service.request("OPTIONS", path)).headers["Allow"]
        response = await service.request("PATCH", path)
        await problem(response, 405, "method-not-allowed")
        assert response.headers["Allow"] == listed


@pytest.mark.parametrize(
    "head",
    [
        b"OPTIONS / HTTP/1.0\r\n\r\n",
        b"OPTIONS / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"OPTIONS * HTTP/1.0\r\n\r\n",
    ],
)
async def test_a_load_balancers_check_passes(service: Service, head: bytes) -> None:
    """The default checks of load balancers succeed, also without `Host`."""
    status, headers, _ = parsed(await service.raw(head))
    assert status == 204
    assert headers["allow"] == "delete, get, head, options, post, put"


async def test_a_page_may_use_head(service: Service) -> None:
    """A page may send HEAD and read its response."""
    session_id = await service.create()
    response = await service.request("HEAD", headers={"Origin": ORIGIN, TOKEN: session_id})
    assert (response.status, response.headers["Access-Control-Allow-Origin"]) == (200, ORIGIN)


async def test_two_origins_count_as_none(service: Service) -> None:
    """A request with two `Origin` lines has no allowed origin."""
    other = "https://evil.example"
    for lines, joined in (((ORIGIN, other), f"{ORIGIN}, {other}"), ((ORIGIN, ORIGIN), f"{ORIGIN}, {ORIGIN}")):
        for values in (lines, (joined,)):
            origins = "".join(f"Origin: {value}\r\n" for value in values)
            for key, expected in ((KEY, 201), ("bound-key", 403)):
                head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {key}\r\n{origins}\r\n"
                status, headers, _ = parsed(await service.raw(head.encode()))
                assert status == expected
                assert "access-control-allow-origin" not in headers
            broken = f"POST {PATH} HTTP/1.1\r\nHost: x\r\n{origins}X-Y : z\r\n\r\n"
            status, headers, _ = parsed(await service.raw(broken.encode()))
            assert status == 400
            assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("other", ["https://evil.example", ORIGIN])
async def test_a_preflight_with_two_origins_is_foreign(service: Service, path: str, other: str) -> None:
    """A preflight with two `Origin` lines is answered like one with both in a line."""
    for origins in ((ORIGIN, other), (other, ORIGIN), (f"{ORIGIN}, {other}",)):
        lines = "".join(f"Origin: {value}\r\n" for value in origins)
        head = f"OPTIONS {path} HTTP/1.1\r\nHost: x\r\n{lines}Access-Control-Request-Method: POST\r\n\r\n"
        status, headers, _ = parsed(await service.raw(head.encode()))
        assert status == 403
        assert not [name for name in headers if name.startswith("access-control-")]
