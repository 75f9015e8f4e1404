"""The parsers of requests: each gets bytes of any kind.

A parser either returns a value that keeps the promises below, or raises an error that
the client gets as a problem document. Every other exception is a finding.
"""

import asyncio
import ipaddress
import unicodedata

from aiohttp import StreamReader, hdrs, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.test_utils import make_mocked_request
from multidict import CIMultiDict, CIMultiDictProxy

from service.api import versions, wire
from service.api.client_address import ClientAddresses
from service.api.cors import origin_in
from service.api.count_query import MAX_HOURS, CountQueryReader
from service.api.create_body import EXAMPLE, FIELDS, MAX_BYTES, user_id_in
from service.api.field_lines import elements
from service.api.front_door.heads import presented_in, read_head
from service.api.json_body import parse_object, read_object
from service.api.known_paths import KnownPaths
from service.api.lookup_body import MAX_IDS, read_session_ids
from service.api.session_token import MAX_CANDIDATES, candidates
from service.api.user_id import checked_user_id
from service.errors import RequestError
from service.sessions import MAX_USER_ID_LENGTH, parse_session_id

NOW = 1_795_000_000.5
LOOP = asyncio.new_event_loop()
PEER, TRUSTED = "203.0.113.9", "10.1.2.3"
PATHS = (*wire.SESSION_PATHS, "/v1/playouts/tracking/users/{user_id}", wire.LIVEZ_PATH, wire.DOCS_PATH)

_addresses = ClientAddresses(["10.0.0.0/8", "::1/128"])
_queries = CountQueryReader(90, lambda: NOW)
_known_paths = KnownPaths(PATHS)


def text_of(data: bytes) -> str:
    """Return bytes as aiohttp decodes the bytes of headers."""
    return data.decode("utf-8", "surrogateescape")


def lines_of(data: bytes, count: int) -> list[str]:
    """Return the first lines, which stand for the values of several headers."""
    lines = text_of(data).split("\n", count - 1)
    return [*lines, *[""] * (count - len(lines))]


def session_token(data: bytes) -> None:
    """At most eight ids come out, and each is in the request in its usual form."""
    cookie, second_cookie, token, alias = lines_of(data, 4)
    names = (hdrs.COOKIE, hdrs.COOKIE, wire.SESSION_TOKEN, wire.SESSION_TOKEN_ALIAS)
    pairs = list(zip(names, (cookie, second_cookie, token, alias), strict=True))
    found = candidates(CIMultiDictProxy(CIMultiDict(pairs)))
    assert len(found) <= MAX_CANDIDATES
    assert len(found) == len(set(found))
    for one in found:
        assert parse_session_id(one) == one
        assert one in text_of(data).lower()


def head(data: bytes) -> None:
    """Front door and handlers read the same session ids and the same head."""
    found = read_head(data)
    if found is None:
        return
    _, _, headers, size = found
    assert data[size - 4 : size] == b"\r\n\r\n"
    assert data.count(b"\r\n\r\n", 0, size) == 1
    multi = CIMultiDict((name.decode(), value.decode()) for name, value in headers.items())
    assert presented_in(headers) == candidates(CIMultiDictProxy(multi))


def _is_user_id(value: str) -> bool:
    is_plain = not any(unicodedata.category(one) in {"Cc", "Cs"} for one in value)
    return 0 < len(value) <= MAX_USER_ID_LENGTH and is_plain and not value.isspace()


def create_body(data: bytes) -> None:
    """A body gives a user id without control characters, or a guest."""
    try:
        user_id = user_id_in(parse_object(data, FIELDS, EXAMPLE))
    except RequestError:
        return
    assert user_id is None or _is_user_id(user_id)


def _request(data: bytes) -> web.Request:
    """Return a request whose first line is the media type, and the rest is the body."""
    kind, _, body = data.partition(b"\n")
    payload = StreamReader(BaseProtocol(LOOP), 2**16, loop=LOOP)
    payload.feed_data(body)
    payload.feed_eof()
    request = make_mocked_request("POST", "/", payload=payload)
    request._headers = CIMultiDictProxy(CIMultiDict({hdrs.CONTENT_TYPE: text_of(kind)}))
    return request


def json_body(data: bytes) -> None:
    """A body is a JSON object with known fields, or a client error."""
    try:
        content = LOOP.run_until_complete(
            read_object(_request(data), max_bytes=MAX_BYTES, fields=FIELDS, example=EXAMPLE)
        )
    except RequestError:
        return
    assert content is None or set(content) <= set(FIELDS)


def lookup_body(data: bytes) -> None:
    """A lookup has 1 to 1,000 different strings, which UTF-8 can encode."""
    try:
        ids = LOOP.run_until_complete(read_session_ids(_request(data)))
    except RequestError:
        return
    assert 1 <= len(ids) <= MAX_IDS
    assert len(ids) == len({one.encode() for one in ids})


def count_query(data: bytes) -> None:
    """A query gives a range within the retention, and a limited series."""
    known = ("from", "to", "interval", "source", "limit")
    request = make_mocked_request("GET", "/?" + data.decode("latin-1").replace("#", "&"))
    try:
        query = _queries.read(request, known)
    except RequestError:
        return
    requested = query.requested
    assert requested.start < requested.end
    assert requested.start >= NOW - 91 * 86_400
    assert requested.end <= NOW + 86_400
    assert len(requested.starts) <= MAX_HOURS
    assert 1 <= query.limit <= 100


def user_id(data: bytes) -> None:
    """A user id has no control characters, and is not blank."""
    try:
        value = checked_user_id(data.decode("utf-8", "surrogatepass"), "user_id")
    except (RequestError, UnicodeDecodeError):
        return
    assert value == "" or _is_user_id(value)
    value.encode()


def field_lines(data: bytes) -> None:
    """Two lines have the elements of one line with both values."""
    one, other = lines_of(data, 2)
    found = list(elements(f"{one}, {other}"))
    assert found == [*elements(one), *elements(other)]
    assert all(element and "," not in element and element == element.strip(" \t") for element in found)


def api_version(data: bytes) -> None:
    """A version is a supported one, or none."""
    assert versions.resolve(text_of(data)) in {None, *versions.SUPPORTED}


def forwarded(data: bytes) -> None:
    """Only a trusted proxy can name an address, and the result is an address."""
    forwarded_for, forwarded_header = lines_of(data, 2)
    assert _addresses.behind(PEER, forwarded_for, forwarded_header) == PEER
    found = _addresses.behind(TRUSTED, forwarded_for or None, forwarded_header or None)
    if "/" in found:
        assert ipaddress.IPv6Network(found).prefixlen == 64
    else:
        assert found == TRUSTED or found in text_of(data).lower() or ":" in text_of(data)
        ipaddress.IPv4Address(found)


def known_path(data: bytes) -> None:
    """A hint is a path of the route table."""
    assert _known_paths.nearest(text_of(data)) in {None, *PATHS}


def rejected_origin(data: bytes) -> None:
    """The origin of rejected bytes has no line end."""
    found = origin_in(data)
    assert found is None or not set(found) & {"\r", "\n"}
