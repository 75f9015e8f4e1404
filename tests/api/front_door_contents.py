"""Requests for the comparison of the front door with aiohttp.

They vary keys, origins, candidates and bodies.
"""

from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN
from tests.api.doors import ABSENT, BODY, USER, A, B, cookie, request
from tests.api.front_door_heads import post

KEY_LINES = {
    "no key": request(key=None),
    "empty key": request(key=""),
    "operator's key": request(key="operator-key"),
    "key with a comma": request(key=f"{KEY},{KEY}"),
    "key in quotes": request(key=f'"{KEY}"'),
    "key in upper case": request(key=KEY.upper()),
    "key with white space": request(key=f" \t {KEY} \t"),
    "key that is not ASCII": request(key="ü"),
    "two keys": request("GET", f"X-API-Key: {KEY}"),
    "two different keys": request("GET", "X-API-Key: tv-key"),
    "bearer": request("GET", f"Authorization: Bearer {KEY}", key=None),
    "wrong key of a POST": request("POST", key="x", body=BODY),
    "wrong key of a DELETE": request("DELETE", key="x"),
    "wrong key from a page": request("GET", f"Origin: {ORIGIN}", key="x"),
    **{f"version {version!r}": request("GET", f"x-jay-api-version: {version}", cookie(A))
       for version in ("2025-05-19", " 2025-05-19 ", "", "2025-05-20", "2025-05-19,2025-05-19", "latest", "ü",
                       "2025-05-19\u00a0")},
}  # fmt: skip
_ORIGINS = (
    *(
        ORIGIN,
        ORIGIN.upper(),
        f"{ORIGIN}/",
        f"{ORIGIN}:443",
        f"{ORIGIN}.evil",
        "http://app.example.com",
        "null",
        "",
        "*",
    ),
    *("https://other.example", f"{ORIGIN},{ORIGIN}", f"{ORIGIN} ", "https://ü.example", f"{ORIGIN}, null"),
)
ORIGINS = {
    f"{method} by {key} from {origin!r}": request(method, f"Origin: {origin}", cookie(A), key=key)
    for method in ("GET", "POST")
    for key in (KEY, "bound-key", "bound-tv-key")
    for origin in _ORIGINS
} | {
    "bound without origin": request(key="bound-key"),
    "bound with two origins": request("GET", f"Origin: {ORIGIN}", f"Origin: {ORIGIN}", key="bound-key"),
    "livez from a page": request("GET", f"Origin: {ORIGIN}", path="/livez", key=None),
    "livez from another page": request("GET", "Origin: null", path="/livez", key=None),
    "DELETE from a page": request("DELETE", f"Origin: {ORIGIN}"),
    "HEAD from a page": request("HEAD", f"Origin: {ORIGIN}"),
}
PREFLIGHTS = {
    f"{method} of {path} from {origin!r} with {headers!r}": request(
        "OPTIONS",
        f"Origin: {origin}",
        f"Access-Control-Request-Method: {method}",
        *headers,
        path=path,
        key=key,
    )
    for path in (PATH, PATH.removeprefix("/v1"), "/livez", "/x")
    for method in ("GET", "POST", "DELETE", "HEAD", "PUT", "OPTIONS", "get", "PATCH", "", "GET, POST", "ü")
    for origin, headers, key in (
        (ORIGIN, (), None),
        (ORIGIN, ("Access-Control-Request-Headers: x-api-key",), KEY),
        (ORIGIN, ("Access-Control-Request-Headers:",), "x"),
        ("null", ("Access-Control-Request-Headers: x-api-key",), None),
    )
} | {
    "no origin": request("OPTIONS", "Access-Control-Request-Method: GET"),
    "no method": request("OPTIONS", f"Origin: {ORIGIN}"),
    "odd headers": request(
        "OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: ,a,,ü"
    ),
    "two headers": request(
        "OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET", "Access-Control-Request-Headers: a",
        "Access-Control-Request-Headers: b",
    ),
    "private network": request(
        "OPTIONS", f"Origin: {ORIGIN}", "Access-Control-Request-Method: GET",
        "Access-Control-Request-Private-Network: true",
    ),
}  # fmt: skip
_MANY = [f"{number:08x}-0000-4000-8000-000000000000" for number in range(12)]
_COOKIES = (
    *(f"{TOKEN.lower()}={A}", f"x{TOKEN}={A}", f"{TOKEN}x={A}", f"={TOKEN}={A}", f"x={TOKEN}={A}"),
    *(f'x="; {TOKEN}={A}"junk', f"{TOKEN} {A}", f" {TOKEN}={A} ", f"a=b;{TOKEN}={A};c=d", f'{TOKEN}="{A}"'),
    *(f"{TOKEN}={A.upper()}", f"{TOKEN} = {A}", f"{TOKEN}\t=\t{A}", f"a=b, {TOKEN}={A}", f"{TOKEN}={A},x"),
    *(
        f"{TOKEN}={A}x",
        f"{TOKEN}=x{A}",
        f"{TOKEN}=",
        TOKEN,
        f"{TOKEN}=;{TOKEN}={A}",
        f'{TOKEN}="{A}',
        f"; {TOKEN}={A}",
    ),
    *(f"{TOKEN}={'*' * 2000}; {TOKEN}={A}", f"{TOKEN}=null; {TOKEN}=undefined; {TOKEN}={B}", f"{TOKEN}={A[:-1]}"),
    "; ".join(f"{TOKEN}={one}" for one in (*_MANY, A)),
    "; ".join(f"{TOKEN}={one}" for one in (*_MANY[:7], A)),
    "; ".join([f"{TOKEN}={_MANY[0]}"] * 20 + [f"{TOKEN}={A}"]),
)
CANDIDATES = {
    **{f"cookie {line!r:.60}": request("GET", f"Cookie: {line}") for line in _COOKIES},
    **{f"{name} {value!r:.60}": request("GET", f"{name}: {value}")
       for name in (TOKEN, "X-Jay-Tracking")
       for value in (A.upper(), f"{ABSENT},{A}", f"{ABSENT} , {A}", f'"{A}"', f"{A};", f"{{{A}}}", A.replace("-", ""),
                     f",{A}", f"urn:uuid:{A}", "null", "", f"x, {A}", "*", f"{A} {B}", ",".join(_MANY))},
    "two lines": request("GET", f"{TOKEN}: x", f"{TOKEN}: {A}"),
    "two cookie lines": request("GET", cookie(ABSENT), cookie(A)),
    "cookie before header": request("GET", f"{TOKEN}: {A}", cookie(B)),
    "header before alias": request("GET", f"X-Jay-Tracking: {B}", f"{TOKEN}: {A}"),
    "absent, then alias": request("GET", cookie(ABSENT), f"{TOKEN}: {ABSENT}", f"X-Jay-Tracking: {USER}"),
    "HEAD of odd case": request("HEAD", cookie(A.upper())),
}  # fmt: skip
_USERS = (
    *(
        '""',
        "null",
        '"a"',
        '" "',
        '" a "',
        '"ü"',
        '"\\u00fc"',
        '"\\ud800"',
        '"\\u0000"',
        '"a\\nb"',
        '"\U0001f600"',
        "1",
    ),
    *(
        "true",
        "[]",
        "{}",
        "1e999",
        f'"{"x" * 128}"',
        f'"{"x" * 129}"',
        f'"{"ü" * 128}"',
        "NaN",
        "1" * 4300,
        '"\u202e"',
    ),
)
BODIES = {
    **{f"user {user!r:.40}": post(f'{{"user_id": {user}}}'.encode()) for user in _USERS},
    **{f"body {body!r:.40}": post(body)
       for body in (b" ", b"\r\n\t ", b"\x0b\x0c", b"\xc2\xa0", b"\x0b{}", b"{}\x0c", b"{}", b"[]", b"null", b"1",
                    b'"a"', b"{", b"{}{}", b"{},",
                    b"\xef\xbb\xbf{}", b'{"user_id": "\xff"}', b"\x00", b'{"a": 1}', b'{"user_id": "a", "a": 1}',
                    b'{"user_id": "a", "user_id": "b"}', b'{"user_id": "a", "userId": "b"}', b"[" * 4000,
                    b'{"user_id": "a", "userId": "a"}', b'{"user_id": null, "userId": "a"}', b"{'user_id': 'a'}",
                    b'{"USER_ID": "a"}', b'{"user\\u005fid": "a"}', b'{"a":' * 600, b'{"user_id": "a"}\x00',
                    b'{"user_id": "a" /**/}', "{}".encode("utf-16"))},
    **{f"type {kind!r}": post(BODY, f"Content-Type:{kind}")
       for kind in (" application/json", " Application/JSON", "application/json", " application/json; charset=utf-8",
                    " application/json;charset=UTF-8", ' application/json; charset="utf-8"', " application/json;",
                    " application/json; charset=latin-1", " application/json; charset=utf8", " application/json; a=b",
                    " application/problem+json", " text/plain", "", " application/json, text/plain", " json",
                    " application/json; charset*=utf-8''x", " text/json", " ü", f" application/json;{'x' * 200}")},
    **{f"coding {coding!r}": post(BODY, f"Content-Encoding: {coding}")
       for coding in ("gzip", "identity", "", "br", "GZIP", "identity, gzip", "x")},
    **{f"{size} bytes": post(BODY + b" " * (size - len(BODY))) for size in (4095, 4096, 4097, 9000, 10000)},
    "space around": post(b"\r\n " + BODY + b" \r\n"),
    "body without a type": request("POST", "Content-Length: 23") + BODY,
    "white space without a type": request("POST", "Content-Length: 2") + b"  ",
    "two types": post(BODY, "Content-Type: application/json", "content-type: application/json"),
}  # fmt: skip
SIGNALS = {
    f"Sec-GPC {values!r} of {key}": request(
        "POST", *(f"Sec-GPC:{value}" for value in values), "Content-Type: application/json", key=key, body=BODY
    )
    for key in (KEY, "gpc-key")
    for values in (
        (" 1",),
        ("1",),
        ("",),
        (" 0",),
        (" 1, 1",),
        (" 0,1",),
        (" ü",),
        (" 1", " 1"),
        (" 0", " 1"),
        (" 11",),
    )
}
_ONCE = "11111111-2222-4333-8444-555555555555"
REPETITIONS = {
    f"{method} {number} of {values!r} by {key}, body {body!r}": request(
        method, *(f"Idempotency-Key:{value}" for value in values), key=key, body=body
    )
    for key in (KEY, "tv-key")
    for method, body in (("POST", b""), ("POST", BODY), ("POST", b"{"), ("GET", b""), ("DELETE", b""))
    for values in (
        (f" {_ONCE}",),
        (f"{_ONCE}",),
        (f" \t{_ONCE} ",),
        (f" {_ONCE}", f" {_ONCE}"),
        (f" {_ONCE},{_ONCE}",),
        (" short",),
        ("",),
        (f" {'x' * 64}",),
        (f" {'x' * 65}",),
        (f" a b {_ONCE}",),
        (f" ü{_ONCE}",),
        (" !\"#$%&'()*+-./:;<=>?",),
    )
    for number in range(2)
}
CONTENTS = {
    "keys": KEY_LINES,
    "origins": ORIGINS,
    "preflights": PREFLIGHTS,
    "candidates": CANDIDATES,
    "bodies": BODIES,
    "signals": SIGNALS,
    "repetitions": REPETITIONS,
}
