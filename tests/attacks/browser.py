"""Attacks by pages of other origins, and answers that a page must be able to read."""

from tests.attacks.attack import LAST, ORIGIN, Attack, ask, post
from tests.support.processes import TOKEN

READABLE = "allowed origin, all error statuses"
FOREIGN = "`null`, suffix tricks, other port, other case"
PREFLIGHT = "preflight"
DELETION = "deletion"
CROSS_SITE = "cross-site page"
CACHES = "nginx, caches in between"

ALLOWED = f"Origin: {ORIGIN}"
METHOD = "Access-Control-Request-Method: DELETE"
CORS = (f"Access-Control-Allow-Origin: {ORIGIN}\r\n".encode(), b"Access-Control-Allow-Credentials: true\r\n")
NO_CORS = (b"Access-Control-Allow-",)
VARY = b"Vary: Origin\r\n"


def _page(data: bytes, status: str) -> Attack:
    """Return a request of an allowed page, whose answer the page can read."""
    return Attack(READABLE, data, status, status, status, has=(*CORS, VARY))


def _foreign(origin: str, method: str = "GET", status: str = "404") -> Attack:
    data = ask(method, f"Origin: {origin}", "Connection: close")
    return Attack(FOREIGN, data, status, status, status, has=(VARY,), lacks=NO_CORS)


def _preflight(origin: str, status: str, *, is_allowed: bool) -> Attack:
    data = ask("OPTIONS", f"Origin: {origin}", METHOD, "Connection: close", key=None)
    more = {"has": (*CORS, VARY)} if is_allowed else {"has": (VARY,), "lacks": NO_CORS}
    return Attack(PREFLIGHT, data, status, status, status, **more)


END = "Connection: close"
DELETED = (f"Set-Cookie: {TOKEN}=; Path=/; Max-Age=0; ".encode(), b"; Secure; HttpOnly; SameSite=Lax\r\n")
NOT_STORED = (b"Cache-Control: no-store\r\n",)

BROWSER = {
    "400 for an allowed page": _page(post(b"{", ALLOWED, END), "400"),
    "401 for an allowed page": _page(ask("GET", ALLOWED, END, key="x"), "401"),
    "403 for an allowed page": _page(ask("GET", ALLOWED, END, path="/v1/playouts/tracking/analytics/store"), "403"),
    "404 for an allowed page": _page(ask("GET", ALLOWED, END), "404"),
    "405 for an allowed page": _page(ask("PATCH", ALLOWED, END), "405"),
    "413 for an allowed page": _page(post(b" " * 5000, ALLOWED, END), "413"),
    "414 for an allowed page": _page(
        ask("GET", ALLOWED, END, path=f"/v1/playouts/tracking/session?{'x' * 5000}"), "414"
    ),
    "415 for an allowed page": _page(post(b"{}", ALLOWED, END, kind="text/plain"), "415"),
    "422 for an allowed page": _page(post(b'{"a": 1}', ALLOWED, END), "422"),
    "version for an allowed page": _page(ask("GET", ALLOWED, END, "x-jay-api-version: 1"), "400"),
    "origin null": _foreign("null"),
    "origin with a suffix": _foreign(f"{ORIGIN}.evil.example"),
    "origin with a prefix": _foreign("https://evil-app.example.com"),
    "origin with a port": _foreign(f"{ORIGIN}:8443"),
    "origin with the default port": _foreign(f"{ORIGIN}:443"),
    "origin in upper case": _foreign(ORIGIN.upper()),
    "origin with another scheme": _foreign(ORIGIN.replace("https", "http")),
    "origin with a user": _foreign(f"{ORIGIN}@evil.example"),
    "origin with a path": _foreign(f"{ORIGIN}/"),
    "origin that is a pattern": _foreign("*"),
    "two origins": _foreign(f"{ORIGIN}, https://evil.example"),
    "preflight of an allowed page": _preflight(ORIGIN, "204", is_allowed=True),
    "preflight of a foreign page": _preflight("https://evil.example", "403", is_allowed=False),
    "preflight of origin null": _preflight("null", "403", is_allowed=False),
    "end of a session": Attack(DELETION, ask("DELETE", END), "204", "204", "204", has=(*DELETED, *NOT_STORED)),
    "form of another site": Attack(
        CROSS_SITE,
        post(b'{"user_id":"u","x":"="}', "Origin: https://evil.example", END, kind="text/plain").replace(
            b"X-API-Key", b"X-Other"
        ),
        "401",
        "401",
        "401",
        lacks=(*NO_CORS, b"Set-Cookie"),
    ),
    "cookie for the own site only": Attack(
        CROSS_SITE,
        ask("POST", "Origin: https://evil.example", END),
        "201",
        "201",
        "201",
        has=(b"; Secure; HttpOnly; SameSite=Lax\r\n",),
        lacks=NO_CORS,
    ),
    "caches": Attack(
        CACHES,
        ask("GET", "Cache-Control: only-if-cached", "If-None-Match: *") + LAST,
        "404 404",
        "404 404",
        "404 404",
        has=(*NOT_STORED, VARY),
    ),
    "alias of the header": Attack(
        CACHES,
        ask("GET", "X-Jay-Tracking: vvvvvvvv-0000-4000-8000-000000000000", END),
        "200",
        "200",
        "200",
        has=(*NOT_STORED, VARY),
    ),
}
