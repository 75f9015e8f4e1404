"""Requests for the comparison of the front door with aiohttp.

They vary the framing and the form of the heads.
"""

from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN
from tests.api.doors import ABSENT, BODY, USER, A, B, cookie, request

_LF, _NUL = "\n", "\x00"
_SHORT = b"{}"


def post(body: bytes, *lines: str) -> bytes:
    """Return a creation with a body."""
    return request("POST", *lines, body=body)


USUAL = {
    "cookie": request("GET", cookie(A), "User-Agent: x", f"Origin: {ORIGIN}"),
    "header": request("GET", f"{TOKEN}: {B}"),
    "alias": request("GET", f"X-Jay-Tracking: {USER}"),
    "other path": request("GET", cookie(A), path=PATH.removeprefix("/v1")),
    "absent": request("GET", cookie(ABSENT)),
    "nothing": request("GET"),
    "head": request("HEAD", cookie(A)),
    "head of nothing": request("HEAD"),
    "guest": request("POST"),
    "guest with a length": request("POST", "Content-Length: 0"),
    "user": post(BODY),
    "userId": post(b'{"userId": "user-123"}', f"Origin: {ORIGIN}"),
    "tv": request("POST", key="tv-key"),
    "livez": request(path="/livez", key=None),
    "head of livez": request("HEAD", path="/livez", key=None),
    "preflight": request(
        "OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: x-api-key, content-type", key=None,
    ),
    "end nothing": request("DELETE"),
    "end absent": request("DELETE", cookie(ABSENT)),
}  # fmt: skip
ENDS = {
    "end by cookie": request("DELETE", cookie(A), f"Origin: {ORIGIN}"),
    "ended": request("GET", cookie(A)),
    "end by header": request("DELETE", f"{TOKEN}: {B}"),
    "end of several": request("DELETE", cookie(f"{A}; {TOKEN}={USER}")),
    "end of ended": request("DELETE", cookie(USER)),
}
SLOW = {
    "readyz": request(path="/readyz"),
    "unknown path": request(path="/x"),
    "method": request("PUT"),
    "query": request(path=f"{PATH}?a=b"),
    "wrong key": request(key="x"),
    "chunks": request("GET", "X-Y: 1", path="/docs", key=None),
    "bad json": post(b"{"),
    "two cookies": request("GET", cookie("x"), cookie(A)),
    "version": request("GET", "x-jay-api-version: 2020-01-01"),
}

FRAMING = {
    "two lengths": request("POST", "Content-Length: 2", "Content-Length: 2", body=_SHORT),
    "different lengths": request("POST", "Content-Length: 2", "content-length: 3") + _SHORT,
    "lengths in one line": request("POST", "Content-Length: 2, 2") + _SHORT,
    "length and chunks": request("POST", "Content-Length: 2", "Transfer-Encoding: chunked") + b"0\r\n\r\n",
    "chunks": request("POST", "Transfer-Encoding: chunked", "Content-Type: application/json")
    + b"17\r\n" + BODY + b"\r\n0\r\n\r\n",
    "gzip and chunks": request("POST", "Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n",
    "identity": request("POST", "Transfer-Encoding: identity"),
    "empty coding": request("POST", "Transfer-Encoding: "),
    **{f"length {length!r}": request("POST", f"Content-Length: {length}") + _SHORT
       for length in ("+2", "-2", "2 ", "\t2", "02", "0002", "00002", "2 2", "0x2", "", "٢", "99999999999999999999")},
    "length of a GET": request("GET", "Content-Length: 2") + _SHORT,
    "no length of a GET": request("GET", "Content-Length: 0"),
    "length of a DELETE": request("DELETE", "Content-Length: 2") + _SHORT,
    "length of livez": request("GET", "Content-Length: 0", path="/livez"),
    "length of a preflight": request("OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET",
                                     "Content-Length: 0"),
    "folded line": request("GET", "X-Y: a\r\n b"),
    "folded cookie": request("GET", f"Cookie: a=b;\r\n {TOKEN}={A}"),
    "bare LF": request("GET", f"X-Y: a{_LF}X-Z: b"),
    "LF at the end": request("GET").replace(b"\r\n\r\n", b"\r\n\n"),
    "LF everywhere": request("GET").replace(b"\r\n", b"\n"),
    "bare CR": request("GET", "X-Y: a\rX-Z: b"),
    "CR CR LF": request("GET", "X-Y: a\r"),
    "NUL in a value": request("GET", f"X-Y: a{_NUL}"),
    "NUL in a cookie": request("GET", cookie(f"{A}{_NUL}")),
    "control byte": request("GET", "X-Y: a\x01"),
    "DEL": request("GET", "X-Y: a\x7f"),
    "tab": request("GET", "X-Y: a\tb"),
    "space before colon": request("GET", "X-Y : a"),
    "tab before colon": request("GET", f"{TOKEN}\t: {A}"),
    "space before a name": request("GET", " X-Y: a"),
    "space before the first name": request("GET", host=" Host: x"),
    "no colon": request("GET", "X-Y"),
    "no name": request("GET", ": a"),
    "odd name": request("GET", "X(Y): a"),
    "name in Latin-1": request("GET", "X-é: a"),
    "no host": request("GET", host="X-Z: y"),
    "empty host": request("GET", host="Host:"),
    "odd host": request("GET", host="Host: a b:/x@[::1"),
    "two hosts": request("GET", "host: x"),
    "host list": request("GET", host="Host: a, b"),
    "empty lines before": b"\r\n\r\n" + request("GET"),
    "LF before": b"\n" + request("GET"),
    "space before": b" " + request("GET"),
}  # fmt: skip


def _line(line: str) -> bytes:
    return f"{line}\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode()


LINES = {
    line: _line(line)
    for line in (
        *(f"GET {PATH} {version}" for version in ("HTTP/1.0", "HTTP/0.9", "HTTP/2.0", "HTTP/1.2", "HTTP/1.10", "")),
        *(f"GET {PATH} {version}" for version in ("http/1.1", "HTTP/1.1 ", "HTTP/11", "HTTP/1.1x", " HTTP/1.1")),
        *(f"{method} {PATH} HTTP/1.1" for method in ("get", "TRACE", "PATCH", "PROPFIND", "GETX", "PUT", "OPTIONS")),
        *(
            f"GET {target} HTTP/1.1"
            for target in (f"http://x{PATH}", f"http://a@b:c{PATH}", "*", f"/{PATH}", "//livez")
        ),
        *(f"GET {PATH}{rest} HTTP/1.1" for rest in ("/", "?", "?a", "#a", "%20", "x", "/../session", ";a")),
        *(f"GET {target} HTTP/1.1" for target in ("/%6civez", "/LIVEZ", "/livez/", "livez", "/livez?x-api-key=a")),
        "CONNECT x:1 HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "POST /livez HTTP/1.1",
        "OPTIONS /livez HTTP/1.1",
        f"GET\t{PATH}\tHTTP/1.1",
        f"GET  {PATH} HTTP/1.1",
    )
}
SIZES = {
    **{
        f"{count} headers": request("GET", *(f"X-{number}: y" for number in range(count - 2)))
        for count in (63, 64, 65)
    },
    **{f"value of {size} bytes": request("GET", f"X: {'y' * size}") for size in (4000, 8100, 8186, 8190, 8191, 9000)},
    **{f"name of {size} bytes": request("GET", f"{'y' * size}: x") for size in (4000, 8100, 8190, 8191)},
    **{
        f"cookie of {size} bytes": request("GET", cookie(A) + ";a=" + "b" * (size - 69))
        for size in (4096, 8190, 8191)
    },
    **{
        f"line of {size} bytes": request(path=f"{PATH}?{'a' * (size - len(PATH) - 14)}")
        for size in (4095, 4096, 4097)
    },
    "large head of small headers": request("GET", *(f"X-{number}: {'y' * 500}" for number in range(20))),
    "white space of 8000 bytes": request("GET", f"{TOKEN}:{' ' * 8000}{A}"),
    "white space behind": request("GET", f"{TOKEN}: {A}{' ' * 8000}"),
}
_NAMES = (
    *("X-API-Key", "x-jay-api-version", TOKEN, "X-Jay-Tracking", "X-Forwarded-For", "Forwarded", "Cookie", "Origin"),
    *("Access-Control-Request-Method", "Content-Type", "Connection", "Host", "User-Agent", "Expect", "Upgrade"),
    *("Proxy-Connection", "Content-Encoding", "Content-Location", "Content-Range", "ETag", "Max-Forwards", "Server"),
    *("Sec-WebSocket-Key1", "Accept", "TE", "Trailer", "Keep-Alive", "HTTP2-Settings", "Authorization", "Range"),
)
NAMES = {
    **{f"two {name}": request("GET", f"{name}: a", f"{name.swapcase()}: a") for name in _NAMES},
    **{f"empty {name}": request("POST", f"{name}:") for name in _NAMES},
    **{f"odd {name}": request("POST", f"{name.upper()}: \t a b,c \t") for name in _NAMES},
    **{f"one {name}": request("GET", f"{name.lower()}: x", cookie(A)) for name in _NAMES if name != "Cookie"},
    "upper case": request("GET", f"X-OTHER: {A}").replace(b"X-API-Key", b"X-API-KEY"),
    "session header in lower case": request("GET", f"{TOKEN.lower()}: {A}"),
    "value in UTF-8": request("GET", "X-Y: ü", cookie(A)),
    "cookie in UTF-8": request("GET", f"Cookie: a=ü; {TOKEN}={A}"),
    "value that is not UTF-8": request("GET", "X-Y: \udcff\udcfe", cookie(A)),
    "cookie that is not UTF-8": request("GET", f"Cookie: {TOKEN}=\udcff; {TOKEN}={A}"),
    "session header that is not UTF-8": request("GET", f"{TOKEN}: \udcff", cookie(A)),
}
CONNECTIONS = {
    line: request("GET", line, cookie(A), f"Origin: {ORIGIN}")
    for line in (
        *(
            "Connection: close",
            "Connection: Close",
            "Connection: keep-alive",
            "Connection: Keep-Alive",
            "Connection:",
        ),
        *("Connection: keep-alive, close", "Connection: close, keep-alive", "Connection: upgrade", "Connection: x"),
        *("Connection: X-API-Key", "Connection: keep-alive\r\nConnection: close", "Proxy-Connection: close"),
        *("Proxy-Connection: keep-alive", "Keep-Alive: timeout=1", "Upgrade: h2c", "Upgrade: websocket", "Upgrade:"),
        *("Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x", "Connection: upgrade\r\nUpgrade: h2c"),
        *("Expect: 100-continue", "Expect: foo", "Expect:", "TE: trailers", "Trailer: X-Y"),
    )
}
EXPECTING = {
    "body behind its expectation": request("POST", "Expect: 100-continue", body=BODY),
    "unknown expectation of a body": request("POST", "Expect: foo", body=BODY),
    "upgrade of a body": request("POST", "Connection: upgrade", "Upgrade: h2c", body=BODY),
}
# A valid request, and bytes after it that are not a request.
BEHIND = {
    "body without a length": (request("POST", "Content-Type: application/json"), BODY),
    "a length that is too small": (post(_SHORT), b"X"),
    "body of a GET": (request("GET", cookie(A)), BODY),
    "binary": (request(path="/livez"), b"\x00\x01\r\n\r\n"),
    "NUL": (request("DELETE"), request("GET", f"X-Y: a{_NUL}")),
    "two lengths": (request("POST"), request("POST", "Content-Length: 1", "Content-Length: 2")),
    "no host": (request("GET"), request("GET", host="X-Z: y")),
    "no HTTP": (request("GET", cookie(B)), b"x x\r\n\r\n"),
}
HEADS = {
    "usual": USUAL,
    "ends": ENDS,
    "slow": SLOW,
    "framing": FRAMING,
    "lines": LINES,
    "sizes": SIZES,
    "names": NAMES,
    "connections": CONNECTIONS,
    "expecting": EXPECTING,
}
