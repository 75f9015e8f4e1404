"""Recognizes the head of a frequent request by its bytes.

The door takes a head only if every HTTP parser reads it in the same way, and hands all
other bytes to aiohttp. It never repairs, guesses or rejects. It takes a head that

- arrived whole, in ASCII, with CRLF line ends, no folded line, and no white space
  before them,
- names one of the paths below and HTTP/1.1 in its request line,
- is within the limits for heads,
- has a Host, and repeats none of the headers below,
- has none of the headers that change how the bytes behind it are read, except for a
  Content-Length in digits.
"""

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

from service.api import wire
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS
from service.api.session_token import candidates_in

_PATHS = "|".join(map(re.escape, (*wire.SESSION_PATHS, wire.LIVEZ_PATH)))

# Possessive quantifiers: a head that does not match costs no more than one that does.
_HEAD = re.compile(
    (
        rf"(GET|HEAD|POST|DELETE|OPTIONS) ({_PATHS}) HTTP/1\.1\r\n"
        rf"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]++:[\t -~]*+\r\n){{0,{MAX_HEADERS}}}+\r\n"
    ).encode()
)

# The headers that the fast path reads.
_READ = {
    *(wire.API_KEY, wire.API_VERSION, wire.SESSION_TOKEN, wire.SESSION_TOKEN_ALIAS, wire.X_FORWARDED_FOR),
    *(
        "Forwarded",
        "Cookie",
        "Origin",
        "Access-Control-Request-Method",
        "Content-Length",
        "Content-Type",
        "Connection",
    ),
}
# A request with one of these is for aiohttp: the bytes behind the head are read in
# another way, or the answer depends on more than the fast path knows.
_HANDED_OVER = frozenset(
    name.encode()
    for name in (
        *("transfer-encoding", "expect", "upgrade", "proxy-connection", "content-encoding"),
        *("content-location", "content-range", "etag", "max-forwards", "server"),
        "sec-websocket-key1",  # aiohttp rejects it
    )
)
# aiohttp rejects a request that repeats one of these.
_SINGLE = {"Host", "User-Agent"}
_HOST, _LENGTH = b"host", b"content-length"


def _pattern_of(names: Iterable[str]) -> str:
    """Return a pattern for names in any case.

    It decides letter by letter, which is twice as fast as a list of names. Such a list
    is three times as fast as the flag IGNORECASE.
    """
    rest_by_letter: dict[str, set[str]] = {}
    for name in names:
        rest_by_letter.setdefault(name[:1], set()).add(name[1:])
    branches = [
        (f"[{letter}{letter.upper()}]" if letter.isalpha() else re.escape(letter)) + _pattern_of(sorted(rest))
        for letter, rest in sorted(rest_by_letter.items())
        if letter
    ]
    if "" in rest_by_letter and branches:
        return f"(?:{'|'.join(branches)})?"  # a name ends here, and others go on
    return f"(?:{'|'.join(branches)})" if len(branches) > 1 else "".join(branches)


_HEADERS = re.compile(
    (
        rf"\n({_pattern_of(name.lower() for name in (*_READ, *map(bytes.decode, _HANDED_OVER), *_SINGLE))}):"
        r"[ \t]*([^\r]*[^\r \t]|)[ \t]*\r"
    ).encode()
)

_TOKEN, _ALIAS = wire.SESSION_TOKEN.lower().encode(), wire.SESSION_TOKEN_ALIAS.lower().encode()

# Method, path, the headers that the fast path reads by lower-case name, size in bytes.
# A plain tuple takes a quarter of the time of a named one.
Head: TypeAlias = tuple[bytes, bytes, dict[bytes, bytes], int]


def read_head(data: bytes) -> Head | None:
    """Return the head at the start of `data`, or None when it is for aiohttp."""
    head = _HEAD.match(data)
    if head is None or (size := head.end()) > MAX_FIELD_BYTES:
        return None
    found = _HEADERS.findall(data, 0, size)
    headers = {name.lower(): value for name, value in found}
    if len(headers) < len(found) or _HOST not in headers or not _HANDED_OVER.isdisjoint(headers):
        return None
    if _LENGTH in headers and not headers[_LENGTH].isdigit():
        return None
    return head[1], head[2], headers, size


def presented_in(headers: Mapping[bytes, bytes]) -> tuple[str, ...]:
    """Return the session ids that a request presents, in order of preference."""
    cookie, token, alias = headers.get(b"cookie"), headers.get(_TOKEN), headers.get(_ALIAS)
    cookies = () if cookie is None else (cookie.decode(),)
    return candidates_in(cookies, [value.decode() for value in (token, alias) if value is not None])


def text_of(value: bytes | None) -> str | None:
    """Return a header's value as a string."""
    return None if value is None else value.decode()


def has_body(headers: Mapping[bytes, bytes]) -> bool:
    """Return whether a body follows the head."""
    return headers.get(b"content-length", b"0") != b"0"
