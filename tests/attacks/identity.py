"""Attacks on keys, bodies, session ids and cookies."""

from tests.attacks.attack import CANARY, LAST, VICTIM, Attack, ask, head, post
from tests.support.processes import KEY, PATH, TOKEN

KEYS = "key missing, unknown, twice, in the query"
JSON = "JSON in a wrong charset, BOM, invalid UTF-8, depth bomb, huge number, lone surrogate"
IDS = "id with newline, `*`, Latin-1 bytes, 1 MB"
TOSSING = "cookie tossing"
REFLECTED = "CR, LF, NUL in headers that could be reflected"

DEAD = "dddddddd-0000-4000-8000-00000000000d"
SET_COOKIE = f"Set-Cookie: {CANARY}"


def _get(*lines: str) -> bytes:
    return ask("GET", *lines) + LAST


def _same(fault: str, data: bytes, statuses: str) -> Attack:
    """Return an attack that a proxy forwards, so all three get the same answers."""
    return Attack(fault, data, statuses, statuses, statuses)


def _malformed(fault: str, data: bytes) -> Attack:
    """Return an attack after which the service closes, and proxies keep theirs open."""
    return Attack(fault, data, "400", "400 404", "400 404")


IDENTITY = {
    "no key": _same(KEYS, ask("GET", key=None) + LAST, "401 404"),
    "unknown key": _same(KEYS, ask("GET", key=CANARY) + LAST, "401 404"),
    "two keys": _malformed(KEYS, _get(f"X-API-Key: {CANARY}")),
    "two keys in one line": _malformed(KEYS, ask("GET", key=f"{KEY},{CANARY}") + LAST),
    "key in the query": _same(KEYS, ask("GET", key=None, path=f"{PATH}?X-API-Key={KEY}&{CANARY}") + LAST, "401 404"),
    "key in the path": _same(KEYS, ask("GET", key=None, path=f"{PATH}/{CANARY}") + LAST, "404 404"),
    "key of a visitor for a user": _same(
        KEYS, ask("DELETE", path=f"/v1/playouts/tracking/users/{CANARY}") + LAST, "403 404"
    ),
    "key in Latin-1": _same(KEYS, ask("GET", key="\udcff\udcfe") + LAST, "401 404"),
    "UTF-16 by its charset": _same(
        JSON, post('{"user_id": "u"}'.encode("utf-16"), kind="application/json; charset=utf-16") + LAST, "415 404"
    ),
    "UTF-16 without a charset": _malformed(JSON, post('{"user_id": "u"}'.encode("utf-16")) + LAST),
    "byte order mark": _malformed(JSON, post(b'\xef\xbb\xbf{"user_id": "u"}') + LAST),
    "invalid UTF-8": _malformed(JSON, post(b'{"user_id": "\xff\xfe"}') + LAST),
    "overlong UTF-8": _malformed(JSON, post(b'{"user_id": "\xc0\xaf"}') + LAST),
    "depth bomb of lists": _malformed(JSON, post(b"[" * 4000) + LAST),
    "depth bomb of objects": _malformed(JSON, post(b'{"a":' * 800) + LAST),
    "number of 4,000 digits": _same(JSON, post(b'{"user_id": ' + b"1" * 4000 + b"}") + LAST, "422 404"),
    "1e999": _same(JSON, post(b'{"user_id": 1e999}') + LAST, "422 404"),
    "lone surrogate": _same(JSON, post(b'{"user_id": "\\ud800"}') + LAST, "422 404"),
    "NUL in a user id": _same(JSON, post(b'{"user_id": "a\\u0000b"}') + LAST, "422 404"),
    "LF in a user id": _same(JSON, post(b'{"user_id": "a\\nb"}') + LAST, "422 404"),
    "unknown field": _same(JSON, post(b'{"is_admin": true}') + LAST, "422 404"),
    "field of a prototype": _same(JSON, post(b'{"__proto__": {"user_id": "u"}}') + LAST, "422 404"),
    "field with a secret name": _same(JSON, post(b'{"%b %b": 1}' % (CANARY.encode(), b"x" * 40)) + LAST, "422 404"),
    "a chosen source": _same(JSON, post(b'{"user_id": "u", "source": "x"}') + LAST, "422 404"),
    "a form": _same(JSON, post(b"user_id=u", kind="application/x-www-form-urlencoded") + LAST, "415 404"),
    "a form with JSON in it": _same(JSON, post(b'{"user_id":"u","x":"="}', kind="text/plain") + LAST, "415 404"),
    "XML with an entity": _same(
        JSON,
        post(b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>', kind="text/xml") + LAST,
        "415 404",
    ),
    "id with LF, encoded": _same(IDS, _get(f"{TOKEN}: {DEAD}%0a"), "404 404"),
    "id that is a pattern": _same(IDS, _get(f"{TOKEN}: *"), "404 404"),
    "id with a key name": _same(IDS, _get(f"{TOKEN}: {{u0}}secrets"), "404 404"),
    "id in Latin-1": _same(IDS, _get(f"{TOKEN}: \udce4\udcff"), "404 404"),
    "id with a suffix": _same(IDS, _get(f"{TOKEN}: {VICTIM}x"), "404 404"),
    "cookie of 8,000 bytes": _same(IDS, _get(f"Cookie: {TOKEN}={'*' * 8000}"), "404 404"),
    "deletion of a pattern": _same(IDS, ask("DELETE", f"{TOKEN}: *", f"Cookie: {TOKEN}=*") + LAST, "204 404"),
    "dead cookie before the live one": _same(TOSSING, _get(f"Cookie: {TOKEN}={DEAD}; {TOKEN}={VICTIM}"), "200 404"),
    "dead cookie in another line": _same(
        TOSSING, _get(f"Cookie: {TOKEN}={DEAD}", f"Cookie: {TOKEN}={VICTIM}"), "200 404"
    ),
    "20 dead cookies before the live header": _same(
        TOSSING, _get("Cookie: " + "; ".join([f"{TOKEN}={DEAD}"] * 20), f"{TOKEN}: {VICTIM}"), "200 404"
    ),
    "8 different dead cookies": _same(
        TOSSING,
        _get("Cookie: " + "; ".join(f"{TOKEN}={n}{DEAD[1:]}" for n in range(8)), f"{TOKEN}: {VICTIM}"),
        "404 404",
    ),
    "cookie without a name": _same(TOSSING, _get(f"Cookie: ={TOKEN}={VICTIM}"), "404 404"),
    "cookie in lower case": _same(TOSSING, _get(f"Cookie: {TOKEN.lower()}={VICTIM}"), "404 404"),
    "cookie with a prefix": _same(TOSSING, _get(f"Cookie: x{TOKEN}={VICTIM}"), "404 404"),
    "cookie within quotes": _same(TOSSING, _get(f'Cookie: a="; {TOKEN}={VICTIM}"b'), "404 404"),
    "session of the attacker's choice": Attack(
        TOSSING,
        head("POST", f"{TOKEN}: {DEAD}", f"Cookie: {TOKEN}={DEAD}") + b"\r\n" + LAST,
        "201 404",
        "201 404",
        "201 404",
        lacks=(DEAD.encode(),),
    ),
    "bare CR in Origin": Attack(
        REFLECTED, _get(f"Origin: https://app.example.com\r{SET_COOKIE}"), "400", "400", "400", lacks=(b"Set-Cookie",)
    ),
    "encoded CRLF in the path": Attack(
        REFLECTED,
        ask("GET", path=f"/v1/playouts/tracking/x%0d%0a{CANARY}:%20y") + LAST,
        "404 404",
        "404 404",
        "404 404",
    ),
    "encoded CRLF in a version": _same(REFLECTED, _get(f"x-jay-api-version: 1%0d%0a{SET_COOKIE}"), "400 404"),
    "a request id of the client": _same(REFLECTED, _get(f"X-Request-Id: {CANARY}"), "404 404"),
    "a version of the client": _same(REFLECTED, _get(f"x-jay-api-version: {CANARY}"), "400 404"),
    "requested headers of a preflight": _same(
        REFLECTED,
        ask(
            "OPTIONS",
            "Origin: https://app.example.com",
            "Access-Control-Request-Method: GET",
            f"Access-Control-Request-Headers: {CANARY}, x",
            key=None,
        )
        + LAST,
        "204 404",
    ),
}
