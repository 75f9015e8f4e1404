"""The parsers under test, with examples and the words that inputs are made of."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from service.storage.embedded_process import find_binary
from tests.attacks.fuzzing import request_parsers as requests
from tests.attacks.fuzzing import setting_parsers as settings
from tests.support.processes import KEY, PATH, TOKEN
from tests.support.servers import RedisServer

A, B = b"aaaaaaaa-0000-4000-8000-000000000001", b"BBBBBBBB-0000-4000-8000-00000000000B"
NAME = TOKEN.encode()


@dataclass(frozen=True)
class Parser:
    """A parser, examples of its inputs, and words that often occur in them."""

    check: Callable[[bytes], None]
    examples: tuple[bytes, ...]
    words: tuple[bytes, ...]


def _words(text: str, *more: bytes) -> tuple[bytes, ...]:
    """Return the words of a string, and words that it cannot have."""
    return *(word.encode() for word in text.split()), *more


_JSON = _words('{ } [ ] : , " null 1 -0 1e400 "\\ud800" "\\u0000" NaN true', b" ")
_FIELDS = _words('"user_id" "userId" "a" "x" \\ "undefined"', b"\xff", b"\xef\xbb\xbf")
_KINDS = _words('application/json charset= utf-8 utf-16 text/plain +json " ; *= =', b"\n")

_HEAD = f"GET {PATH} HTTP/1.1\r\n".encode()
_KEYED = f"Host: x\r\nX-API-Key: {KEY}\r\nCookie: {TOKEN}=".encode() + A + b"\r\n\r\n"
_HASH = b"0" * 64

REQUESTS = {
    "session token": Parser(
        requests.session_token,
        (NAME + b"=" + A + b"; a=b\n" + NAME + b"=x\n" + B + b"\n" + A + b"," + B,),
        (NAME, A, B, A[:-1], *_words('= ; , " x', b" ", b"\t", b"\n")),
    ),
    "head": Parser(
        requests.head,
        (_HEAD + _KEYED,),
        (_HEAD, NAME, A, *_words("Host:x Cookie: = , Content-Length:0 X-Jay-Tracking", b"\r\n", b": ", b"\t")),
    ),
    "create body": Parser(requests.create_body, (b'{"user_id": "u"}', b'{"userId": null}'), (*_JSON, *_FIELDS)),
    "JSON body": Parser(
        requests.json_body, (b'application/json; charset="utf-8"\n{"user_id": "u"}',), (*_KINDS, *_JSON, *_FIELDS)
    ),
    "lookup body": Parser(
        requests.lookup_body,
        (b'application/json\n{"session_ids": ["' + A + b'", "x"]}',),
        (*_KINDS, *_JSON, *_words('"session_ids" "x"', b'"' + A + b'"')),
    ),
    "count query": Parser(
        requests.count_query,
        (b"from=2026-11-20&to=2026-11-21T00:00:00Z&interval=day&limit=5&source=a.b",),
        _words("from= to= interval= limit= source= & 2026-11-20 T10:00:00Z hour day %30 5 +00:00 .5"),
    ),
    "user id": Parser(
        requests.user_id,
        (b"user-1", "ü\u200b".encode()),
        _words("undefined null a", b" ", b"\x00", b"\xed\xa0\x80", b"\xe2\x80\x8b"),
    ),
    "field lines": Parser(requests.field_lines, (b"a, b\n,c ,",), _words(", a", b" ", b"\t", b"\n", b"\x0b")),
    "API version": Parser(requests.api_version, (b"2025-05-19", b" 2025-05-19, x"), _words("2025 -05-19 ,", b" ")),
    "forwarded addresses": Parser(
        requests.forwarded,
        (b'1.2.3.4, 10.1.2.3\nfor=1.2.3.4;by=x, For="[2001:db8::1]:80"',),
        _words('10.1.2.3 1.2.3.4 [2001:db8::1] :80 for= " unknown _x ::ffff:1.2.3.4 ::1 , ; % 999', b" ", b"\n"),
    ),
    "path of a 404": Parser(
        requests.known_path, (b"/v1/playout/tracking/sesion", b"/users/x"), _words("/ users %2f ? .. session")
    ),
    "origin of rejected bytes": Parser(
        requests.rejected_origin,
        (b"GET / HTTP/1.1\r\nOrigin: https://x\r\n\r\n",),
        _words("Origin: https://x", b"\r\n", b"\r", b"\n", b" "),
    ),
}
SETTINGS = {
    "redis.url": Parser(
        settings.redis_url,
        (
            b"redis://jay:hunter2canary@h:6379/0",
            b"rediss://h?ssl_cert_reqs=none",
            b"unix://u:hunter2canary@/run/x.sock?db=1",
        ),
        _words("redis:// rediss:// unix:// hunter2canary @ : / ? & = db ssl_cert_reqs [::1] %40 #"),
    ),
    "single values": Parser(
        settings.single_value,
        (b"https://www.example.com", b"10.0.0.0/8", b"http://collector:4318", b"512mb", b"app://-"),
        _words("https:// http:// example.com : 443 / 10.0.0.0 ::1 [ ] xn-- ü . 0x"),
    ),
    "rate limits": Parser(settings.rate_limit, (b"60/minute",), _words("60 0 / minute day 9999999")),
    "API keys": Parser(
        settings.api_keys,
        (
            b'[{"name": "a", "sha256": "' + _HASH + b'", "scopes": ["track"], "origins": ["https://x"]}]',
            b'[{"name": "hunter2canary", "sha256": "hunter2canary"}]',
        ),
        (*_JSON, *_words('"name" "sha256" "scopes" "track" "hunter2canary" "create_limit" "1/day" "source"')),
    ),
    "environment": Parser(
        settings.environment, (b"a=1\nb=x\n\xc3\xbc=[]",), _words('= 1 [] true ["x"] a b c d e', b"\n")
    ),
}
STORED = Parser(
    print,
    (b'[1673792424123456,"tv.app"]', b'[1673792424123456,"tv.app","user-1","5f0c1b"]', b"-"),
    (*_JSON, *_words('1673792424123456 "\\u0041" "\\ud83d\\ude00" 0x10 01 1e3 1.0 -1 9007199254740992', b"\x00")),
)
FILES = Parser(
    print,
    (b"server:\n  port: 80\n", b"api_keys:\n- {name: a}\n"),
    _words('server : port { } &a *a !!python/object:os.system <<: " redis', b"\n", b"  ", b"- ", b"\t"),
)


def parsers_with(redis_url: str, folder: Path) -> dict[str, Parser]:
    """Return every parser. The scripts run in a Redis, and files are in a folder."""
    stored = Parser(settings.SessionValue(redis_url), STORED.examples, STORED.words)
    files = Parser(partial(settings.yaml_file, folder=folder), FILES.examples, FILES.words)
    return {**REQUESTS, **SETTINGS, "session value": stored, "config.yaml": files}


@contextmanager
def resources() -> Iterator[tuple[str, Path]]:
    """Yield the URL of a Redis and a folder for `parsers_with`."""
    with tempfile.TemporaryDirectory() as folder, RedisServer(find_binary(), Path(folder)) as server:
        yield server.url, Path(folder)
