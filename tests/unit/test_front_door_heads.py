"""aiohttp's parser reads every head that the front door takes in the same way."""

import asyncio
from collections.abc import Iterator

import pytest
from aiohttp import HttpVersion11
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserC
from hypothesis import example, given
from hypothesis import strategies as st

from service.api import wire
from service.api.front_door.heads import Head, read_head
from service.api.request_limits import MAX_FIELD_BYTES, MAX_HEADERS, MAX_LINE_BYTES

PATH = wire.SESSION_PATHS[0].encode()
BEHIND = f"{wire.FORWARD_AUTH_PATHS[0]}/"
START = b"GET %b HTTP/1.1\r\nHost: x\r\n" % PATH
NEXT = b"GET /next HTTP/1.1\r\nHost: y\r\n\r\n"
READ = (
    *("X-API-Key", "x-jay-api-version", "__Secure-jay_tracking", "X-Jay-Tracking", "X-Forwarded-For", "Forwarded"),
    *("Cookie", "Origin", "Access-Control-Request-Method", "Content-Length", "Content-Type", "Connection", "baggage"),
)
HANDED_OVER = (
    *("Transfer-Encoding", "Expect", "Upgrade", "Proxy-Connection", "Content-Encoding", "Content-Location"),
    *("Content-Range", "ETag", "Max-Forwards", "Server", "Sec-WebSocket-Key1"),
)
OTHERS = ("Host", "User-Agent", "Accept", "Accept-Encoding", "X-Other", "Referer", "Cookie2", "X-Host", "a")
ODD_NAMES = ("", " X", "X ", "X\t", "Content-Length ", "X(", "\u00e9", "Transfer-Encoding\x0b", "X\0", '"X"')
VALUES = (
    *("", "x", " ", "\t", "0", "5", "+5", "-0", "05", "5, 5", "0x5", "5 5", "chunked", "gzip, chunked", "identity"),
    *("close", "keep-alive", "Keep-Alive", "upgrade", "websocket", "100-continue", "a\tb", "a: b", "a, b", "\u00e9"),
    *("\x00", "\x7f", "\x0b", "a\x01b", "a\rb", "a\nb", "a\r\n b", "99999999999999999999", "a" * 300, "http://x/"),
)


@pytest.fixture(scope="module")
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    """A loop that does not run, for the parser's payloads."""
    one = asyncio.new_event_loop()
    yield one
    one.close()


def new_parser(loop: asyncio.AbstractEventLoop) -> HttpRequestParser:
    """Return a parser with the limits of the service, as a connection has it."""
    return HttpRequestParser(
        BaseProtocol(loop),
        loop,
        2**16,
        max_line_size=MAX_LINE_BYTES,
        max_field_size=MAX_FIELD_BYTES,
        max_headers=MAX_HEADERS,
        auto_decompress=False,
    )


def parse(loop: asyncio.AbstractEventLoop, data: bytes) -> list[RawRequestMessage] | None:
    """Return the requests that the parser finds, None when it rejects the bytes."""
    try:
        messages, is_upgraded, tail = new_parser(loop).feed_data(data)
    except HttpProcessingError:
        return None
    assert not is_upgraded
    assert not tail
    return [message for message, _ in messages]


def check(loop: asyncio.AbstractEventLoop, data: bytes) -> Head | None:
    """Check that the parser reads the same head as the door, and return it."""
    head = read_head(data)
    if head is None:
        return None
    method, path, headers, size = head
    assert parse(loop, data[: size - 1]) == []
    messages = parse(loop, data[:size])
    assert messages is not None
    (message,) = messages
    if path.endswith(b"/"):  # of forward-auth, with the visitor's path behind it
        assert message.path.startswith(path.decode())
        path = message.path.encode()
    assert (message.method, message.path) == (method.decode(), path.decode())
    assert message.version == HttpVersion11
    assert (message.chunked, message.upgrade, message.compression) == (False, False, None)
    for name in (*READ, *HANDED_OVER, "Host", "User-Agent"):
        expected = [headers[name.lower().encode()].decode()] if name.lower().encode() in headers else []
        assert message.headers.getall(name, []) == expected, name
    length = int(headers.get(b"content-length", b"0"))
    if length <= MAX_FIELD_BYTES and headers.get(b"connection", b"").lower() != b"close":
        body = b"\r\n" * length
        requests = parse(loop, data[:size] + body[:length] + NEXT) or []
        assert [request.path for request in requests] == [path.decode(), "/next"]
    return head


def test_the_parser_is_the_one_of_the_service() -> None:
    """The parser is the one in C. Without it, aiohttp silently uses one in Python."""
    assert HttpRequestParser is HttpRequestParserC


names = st.sampled_from((*READ, *HANDED_OVER, *OTHERS, *ODD_NAMES)).flatmap(
    lambda name: st.sampled_from((name, name, name.lower(), name.upper(), name.swapcase()))
)
values = st.sampled_from(VALUES) | st.text(st.characters(max_codepoint=255), max_size=20)
white = st.sampled_from(["", " ", "\t", "  ", " \t "])
lines = st.tuples(names, st.sampled_from([":", ":", ":", " :", "", "::"]), white, values, white).map("".join)
usual_lines = st.tuples(
    st.sampled_from((*READ, *OTHERS)), st.just(":"), white, st.text(st.characters(max_codepoint=126), max_size=9)
).map("".join)
targets = st.sampled_from(["", "a", "..", "//", "a?b=c&d", "#x", "%", "%00", "%zz", "a" * 4100]) | st.text(
    st.characters(max_codepoint=255), max_size=9
)
starts = st.tuples(
    st.sampled_from(["GET", "POST", "HEAD", "DELETE", "OPTIONS", "PUT", "get", "GET ", "\r\nGET"]),
    st.sampled_from([*wire.SESSION_PATHS, wire.LIVEZ_PATH, "/livez/", "/livez?", "http://x/livez", "*", "/livezz"])
    | st.tuples(st.sampled_from(wire.FORWARD_AUTH_PATHS), st.sampled_from(["", "/", "x"]), targets).map("".join),
    st.sampled_from(["HTTP/1.1"] * 5 + ["HTTP/1.0", "HTTP/1.1 ", "HTTP/11", "http/1.1", "HTTP/2.0", "HTTP/1.10"]),
).map(" ".join)
behind = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9).map(BEHIND.__add__)
usual_starts = st.tuples(st.sampled_from(["GET", "POST"]), st.just(PATH.decode()) | behind).map(
    lambda start: f"{start[0]} {start[1]} HTTP/1.1"
)
ends = st.sampled_from(["\r\n"] * 9 + ["\n", "\r", "\r\r\n", "\r\n ", ""])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that a client could send, most of them nearly right."""
    usual = draw(st.lists(usual_lines, max_size=3, unique_by=lambda line: line.partition(":")[0]))
    odd = draw(st.lists(lines, max_size=3))
    first = draw(usual_starts | starts)
    host = draw(st.sampled_from([["Host: x"]] * 4 + [[], ["host: x"]]))
    text = first + "\r\n" + "".join(line + draw(ends if odd else st.just("\r\n")) for line in (*host, *usual, *odd))
    return (text + "\r\n").encode("latin-1")


@given(heads())
@example(b"GET /livez HTTP/1.1\r\n\r\n")
@example(START + b"Sec-WebSocket-Key1: x\r\n\r\n")
@example(START + b"Content-Length: +5\r\n\r\n")
@example(START + b"Content-Length: \r\n\r\n")
@example(START + b"Content-Length: 5\r\n\r\n")
@example(START + b"content-length: 5\r\nCONTENT-LENGTH: 5\r\n\r\n")
@example(START + b"Host: x\r\n\r\n")
@example(b"GET %b%b HTTP/1.1\r\nHost: x\r\n\r\n" % (BEHIND.encode(), b"a" * (MAX_LINE_BYTES - len(BEHIND))))
@example(b"GET %b%b HTTP/1.1\r\nHost: x\r\n\r\n" % (BEHIND.encode(), b"a" * (MAX_LINE_BYTES - len(BEHIND) - 14)))
@example(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % (BEHIND.encode() + bytes(range(33, 127))))
@example(START + b"X-API-Key: \t key \t \r\nCookie:\r\n\r\n")
def test_every_head_that_the_door_takes_is_read_alike(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    """Door and parser read the same method, path, values and number of bytes."""
    check(loop, data)


@given(heads(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 2), st.binary(max_size=2)), max_size=3))
def test_every_damaged_head_that_the_door_takes_is_read_alike(
    loop: asyncio.AbstractEventLoop, data: bytes, changes: list[tuple[int, int, bytes]]
) -> None:
    """Door and parser agree when bytes of a head are replaced, removed or added."""
    for place, removed, added in changes:
        place %= len(data)  # noqa: PLW2901 - anywhere
        data = data[:place] + added + data[place + removed :]
    check(loop, data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_alike(loop: asyncio.AbstractEventLoop, data: bytes) -> None:
    """The door takes no head that the parser rejects."""
    check(loop, data)
    check(loop, START + data)
    check(loop, START + data + b"\r\n\r\n")


@pytest.mark.parametrize("name", [*READ, "Host", "User-Agent", *OTHERS])
@pytest.mark.parametrize("white", [b"", b" ", b"\t", b" \t "])
def test_each_usual_head_is_taken(loop: asyncio.AbstractEventLoop, name: str, white: bytes) -> None:
    """The door takes usual heads, so the properties above mean something."""
    host = b"" if name == "Host" else b"Host: x\r\n"
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        line = spelled.encode() + b":" + white + b"7" + white + b"\r\n"
        head = check(loop, b"POST %b HTTP/1.1\r\n%b%b\r\n" % (PATH, host, line))
        assert head is not None
        if name in {*READ, "Host", "User-Agent"}:
            assert head[2][name.lower().encode()] == b"7"


@pytest.mark.parametrize("name", HANDED_OVER)
def test_each_header_that_is_for_aiohttp_is_handed_over(name: str) -> None:
    """A head with such a header is for aiohttp, in any spelling and without a value."""
    for spelled in (name, name.lower(), name.upper(), name.swapcase()):
        assert read_head(START + f"{spelled}: x\r\n\r\n".encode()) is None
        assert read_head(START + f"{spelled}:\r\n\r\n".encode()) is None


@pytest.mark.parametrize("name", [*READ, "Host", "User-Agent"])
def test_each_header_that_is_read_may_come_once(name: str) -> None:
    """A head that repeats one of these headers is for aiohttp, in any spelling."""
    first = b"" if name == "Host" else b"Host: x\r\n"
    lines = f"{name}: 1\r\nX: y\r\n{name.swapcase()}: 1\r\n\r\n".encode()
    assert read_head(b"GET /livez HTTP/1.1\r\n" + first + lines) is None


def test_limits_are_those_of_the_parser(loop: asyncio.AbstractEventLoop) -> None:
    """64 headers, lines of 4,096 and heads of 8,190 bytes are taken, larger ones not.

    The larger ones are for aiohttp.
    """
    for size in (MAX_LINE_BYTES, MAX_LINE_BYTES + 1):
        first = b"GET %b HTTP/1.1" % BEHIND.encode().ljust(size - len("GET  HTTP/1.1"), b"a")
        assert len(first) == size
        assert (check(loop, first + b"\r\nHost: x\r\n\r\n") is not None) == (size == MAX_LINE_BYTES)
    for count in (MAX_HEADERS, MAX_HEADERS + 1):
        data = START + b"".join(b"X-%d: y\r\n" % number for number in range(count - 1)) + b"\r\n"
        assert (check(loop, data) is not None) == (count == MAX_HEADERS)
        assert (parse(loop, data) is not None) == (count == MAX_HEADERS)
    for size in (MAX_FIELD_BYTES, MAX_FIELD_BYTES + 1):
        data = START + b"X: " + b"y" * (size - len(START) - 7) + b"\r\n\r\n"
        assert len(data) == size
        assert (check(loop, data) is not None) == (size == MAX_FIELD_BYTES)
