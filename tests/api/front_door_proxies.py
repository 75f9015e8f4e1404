"""Requests to forward-auth for the comparison of the front door with aiohttp."""

from tests.api.conftest import KEY, ORIGIN, TOKEN
from tests.api.doors import ABSENT, USER, A, cookie, request

PROXY_KEY, REVEALING_KEY = "proxy-key", "revealing-key"
FORWARD_AUTH = "/v1/playouts/tracking/forward-auth"


def forwarded(method: str, *lines: str, behind: str = "", key: str | None = PROXY_KEY, body: bytes = b"") -> bytes:
    """Return a request of a proxy. `behind` is the visitor's path and query."""
    return request(method, *lines, path=FORWARD_AUTH + behind, key=key, body=body)


_BEHIND = (
    *("?require=live", "?require=dead", "?x", "#x", "x", "/../session", "/%2e%2e/session", "//", "/#x", "/ü"),
    *("/%0A", "/%00", "/%FF", "/%", '/"<>|\\^`{}[]', "/" + "a" * 4000, "/" + "a" * 4096),
)
FAST_FORWARDED = {
    "live": forwarded("GET", cookie(A)),
    "user": forwarded("GET", cookie(USER), key=REVEALING_KEY),
    "absent": forwarded("GET", cookie(ABSENT)),
    "nothing": forwarded("GET"),
    "ref": forwarded("GET", cookie("a" * 32)),
    "short path": request("GET", cookie(A), path=FORWARD_AUTH.removeprefix("/v1"), key=PROXY_KEY),
    "behind it": forwarded("GET", cookie(A), behind="/movies/7?require=live&x=%0A"),
    "behind the short path": request("GET", cookie(A), path=FORWARD_AUTH.removeprefix("/v1") + "/", key=PROXY_KEY),
    "POST behind it": forwarded("POST", cookie(A), "Content-Length: 0", behind="/login"),
    "DELETE": forwarded("DELETE", cookie(A)),
    "preflight": forwarded("OPTIONS", cookie(A), f"Origin: {ORIGIN}", "Access-Control-Request-Method: PUT"),
    "foreign preflight": forwarded("OPTIONS", "Origin: null", "Access-Control-Request-Method: PUT", behind="/a"),
    "baggage": forwarded("GET", cookie(A), "baggage: a=1, session%2Eid=x;p ,b=2;c"),
    "baggage of nobody": forwarded("GET", "Baggage: session.id=x"),
    "empty baggage": forwarded("GET", cookie(A), "baggage:"),
    "page": forwarded("GET", cookie(A), f"Origin: {ORIGIN}"),
    "other page": forwarded("GET", cookie(A), "Origin: https://other.example"),
    "version": forwarded("GET", cookie(A), "x-jay-api-version: 1999-01-01"),
    "visitor's token": forwarded("GET", cookie(A), "Authorization: Bearer x"),
}
SLOW_FORWARDED = {
    **{f"{method} of {behind!r}": forwarded(method, cookie(A), behind=behind)
       for method in ("HEAD", "PUT", "PATCH", "TRACE", "PROPFIND", "PURGE", "M-SEARCH")
       for behind in ("", "/", "/a/b?c")},
    **{f"behind {behind[:20]!r}, {len(behind)}": forwarded("GET", cookie(A), behind=behind)
       for behind in _BEHIND},
    "required and absent": forwarded("GET", cookie(ABSENT), "baggage: session.id=x,a=1", behind="?require=live"),
    "required and live": forwarded("GET", cookie(A), behind="?a=b&require=live"),
    "lines of baggage": forwarded("GET", cookie(A), "baggage: a=1", "BAGGAGE: session.id=x", "baggage: b=2"),
    "odd baggage": forwarded("GET", cookie(A), "baggage: ü=1,a=ü,b=1"),
    "much baggage": forwarded("GET", cookie(A), f"baggage: {','.join(f'k{n}=v' for n in range(500))}"),
    "long baggage": forwarded("GET", cookie(A), f"baggage: {'x' * 8000}=1,a=1"),
    "two cookies": forwarded("GET", cookie(ABSENT), cookie(A)),
    "two origins": forwarded("GET", cookie(A), "Origin: a", "Origin: b"),
    "expectation": forwarded("GET", cookie(A), "Expect: foo"),
    "continue": forwarded("POST", cookie(A), "Expect: 100-continue", body=b"x"),
    "upgrade": forwarded("GET", cookie(A), "Connection: upgrade", "Upgrade: websocket"),
    "body": forwarded("POST", cookie(A), "Content-Type: text/plain", body=b"x" * 9000),
    "body of a GET": forwarded("GET", cookie(A), body=b"{}"),
    "coding": forwarded("POST", cookie(A), "Content-Encoding: x", body=b"x"),
    "chunks": forwarded("POST", cookie(A), "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "proxy's connection": forwarded("GET", cookie(A), "Connection: close"),
    "no key": forwarded("GET", cookie(A), key=None),
    "unknown key": forwarded("PROPFIND", cookie(A), key="x", behind="/a"),
    "key of a page": forwarded("GET", cookie(A), key=KEY),
    "key of a page in a preflight": forwarded("OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET",
                                              key=KEY),
    "two keys": forwarded("GET", cookie(A), "X-API-Key: x"),
    "bearer": forwarded("GET", f"Authorization: Bearer {PROXY_KEY}", f"{TOKEN}: {A}", key=None),
    "HTTP/1.0": forwarded("GET", cookie(A)).replace(b"HTTP/1.1", b"HTTP/1.0"),
}  # fmt: skip
PROXIES = {"proxies": FAST_FORWARDED, "odd proxies": SLOW_FORWARDED}
