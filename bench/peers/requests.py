"""The workloads and their requests, as browsers and televisions send them."""

from dataclasses import dataclass

from bench.processes import KEY, TOKEN

ORIGIN = "https://www.play.example"
VERSION = "2025-05-19"

# A page of an allowed origin sends these, and other cookies around the session's.
BROWSER = {
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
    "Chrome/141.0.0.0 Safari/537.36",
    "X-API-Key": KEY,
    "x-jay-api-version": VERSION,
    "Accept": "*/*",
    "Origin": ORIGIN,
    "Sec-Fetch-Site": "same-site",
    "Sec-Fetch-Mode": "cors",
    "Sec-Fetch-Dest": "empty",
    "Referer": f"{ORIGIN}/shows/late-night/episode-12",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Accept-Language": "de-DE,de;q=0.9,en-US;q=0.8,en;q=0.7",
}
COOKIES_BEFORE = "_ga=GA1.1.1203948576.1731000000; consent=v2.1-1-0-1-0; theme=dark"
COOKIES_AFTER = "player_volume=0.8; _ga_XK3LQ9=GS1.1.1731000000.3.1.1731000450.60.0.0; ab=b7"
# An app on a television sends no origin and no cookie.
TELEVISION = {
    "Connection": "keep-alive",
    "User-Agent": "Mozilla/5.0 (SMART-TV; LINUX; Tizen 6.0) AppleWebKit/537.36 (KHTML, like Gecko) "
    "76.0.3809.146/6.0 TV Safari/537.36",
    "X-API-Key": KEY,
    "x-jay-api-version": VERSION,
    "Accept": "*/*",
}

# The requests that take turns. The mix has 80 % GET, 15 % POST and 5 % DELETE.
_READS = ("get-cookie",) * 4
WORKLOADS = {
    "get-cookie": ("get-cookie",),
    "get-header": ("get-header",),
    "get-miss": ("get-miss",),
    "post-guest": ("post-guest",),
    "post-user": ("post-user",),
    "mixed": (*_READS, "post-guest", *_READS, "post-user", *_READS, "post-guest", *_READS, "delete"),
}
TITLES = {
    "get-cookie": "GET by cookie",
    "get-header": "GET by header",
    "get-miss": "GET, 404",
    "post-guest": "POST, guest",
    "post-user": "POST, user",
    "mixed": "Mixed",
}


@dataclass(frozen=True)
class Session:
    """A created session: `name=value` of its cookie, and the value of its header."""

    cookie: str
    header: str


def _request(line: str, headers: dict[str, str], body: str = "") -> bytes:
    lines = (f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{line} HTTP/1.1\r\nHost: api.play.example\r\n{''.join(lines)}\r\n{body}".encode()


def by_cookie(method: str, path: str, session: Session) -> bytes:
    """Return a browser's request for a session."""
    cookie = f"{COOKIES_BEFORE}; {session.cookie}; {COOKIES_AFTER}"
    return _request(f"{method} {path}", {**BROWSER, "Cookie": cookie})


def by_header(method: str, path: str, session: Session) -> bytes:
    """Return a television's request for a session."""
    return _request(f"{method} {path}", {**TELEVISION, TOKEN: session.header})


def creation(path: str, user: int | None = None) -> bytes:
    """Return a browser's POST, for a guest or for a user with a number."""
    body = "" if user is None else f'{{"user_id":"user-{user:09}"}}'
    more = {
        "Cookie": f"{COOKIES_BEFORE}; {COOKIES_AFTER}",
        "Content-Type": "application/json",
        "Content-Length": str(len(body)),
    }
    return _request(f"POST {path}", {**BROWSER, **more}, body)


def without_key(path: str) -> bytes:
    """Return a GET that every server must reject."""
    return _request(f"GET {path}", {"Accept": "*/*"})
