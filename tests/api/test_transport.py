"""Raw sockets: parser errors, slow and endless requests, and pipelines."""

import asyncio
import json
import socket
import time

import pytest

from service.api import json_body
from tests.api.conftest import KEY, ORIGIN, PATH, TOKEN, Service

HEAD = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n".encode()
CANARY = b"canary-5e55"


def parsed(answer: bytes) -> tuple[int, dict[str, str], dict[str, object]]:
    """Split one response into status, lower-case headers and the JSON body."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines)
    return int(status.split()[1]), headers, json.loads(body) if body else {}


MALFORMED = {
    "length and chunks": HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + CANARY,
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}" + CANARY,
    "signed length": HEAD + b"Content-Length: +5\r\n\r\n{}" + CANARY,
    "space before colon": HEAD + b"X-Y : " + CANARY + b"\r\n\r\n",
    "folded line": HEAD + b"X-Y: a\r\n " + CANARY + b"\r\n\r\n",
    "bare LF": HEAD + b"X-Y: a\nX-Z: " + CANARY + b"\r\n\r\n",
    "NUL": HEAD + b"X-Y: a\x00" + CANARY + b"\r\n\r\n",
    "coding before chunked": HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + CANARY,
    "unknown coding": HEAD + b"Transfer-Encoding: x\r\n\r\n" + CANARY,
    "no HTTP": CANARY + b" " + CANARY + b"\r\n\r\n",
    "binary": b"\x00\x01\x02" + CANARY + b"\r\n\r\n",
    "TLS on a plain port": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + CANARY,
    "HTTP/9": b"GET / HTTP/9.9\r\nHost: x\r\n\r\n" + CANARY,
}


@pytest.mark.parametrize("case", MALFORMED)
async def test_a_malformed_request_is_one_400_without_echo(
    service: Service, caplog: pytest.LogCaptureFixture, case: str
) -> None:
    """A malformed request is a fixed 400, a close and one log line."""
    answer = await service.raw(MALFORMED[case], until_closed=True)
    assert answer.count(b"\r\nServer: ") == 1, answer
    status, headers, document = parsed(answer)
    assert (status, document["type"]) == (400, "urn:jay:problem:malformed-request")
    assert headers["connection"] == "close"
    assert headers["content-type"] == "application/problem+json"
    assert headers["x-request-id"] == document["request_id"]
    assert headers["server"] == "jay-tracking"
    assert b"canary" not in answer
    assert [(line["status"], line["key"]) for line in service.log_lines()] == [(400, "-")]
    assert "canary" not in caplog.text
    assert not [record for record in caplog.records if record.exc_info]


BAD_CHUNKS = {
    "size that is none": b"x\r\n\r\n",
    "LF in extension": b"2;a\nb\r\n{}\r\n0\r\n\r\n",
    "no CRLF after data": b"2\r\n{}x0\r\n\r\n",
    "negative size": b"-1\r\n\r\n",
}


@pytest.mark.parametrize("in_one_packet", [True, False])
@pytest.mark.parametrize("case", BAD_CHUNKS)
async def test_malformed_chunks_are_one_400(service: Service, case: str, *, in_one_packet: bool) -> None:
    """After malformed chunks nothing on the connection is read as a request."""
    head = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
    body = BAD_CHUNKS[case] + b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    packets = [head + body] if in_one_packet else [head, body]
    answer = await service.raw(*packets, until_closed=True)
    assert answer.count(b"\r\nServer: ") == 1, answer
    status, headers, document = parsed(answer)
    assert (status, document["type"]) == (400, "urn:jay:problem:malformed-request")
    assert headers["connection"] == "close"


@pytest.mark.parametrize(
    ("data", "status", "slug"),
    [
        (b"GET /" + b"x" * 5000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414, "uri-too-long"),
        (HEAD + b"X-Y: " + b"x" * 9000 + b"\r\n\r\n", 431, "headers-too-large"),
        (HEAD + b"x" * 9000 + b": y\r\n\r\n", 431, "headers-too-large"),
        (HEAD + b"".join(b"X-%d: y\r\n" % n for n in range(70)) + b"\r\n", 431, "headers-too-large"),
        (b"FROBNICATE /x HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method-not-allowed"),
        (b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", 405, "method-not-allowed"),
        (f"TRACE {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), 405, "method-not-allowed"),
        (HEAD + b"Expect: foo\r\n\r\n", 417, "expectation-failed"),
        (HEAD + b"Content-Length: 10000000000\r\n\r\n", 413, "body-too-large"),
    ],
)
async def test_limits_and_methods(service: Service, data: bytes, status: int, slug: str) -> None:
    """Each violated limit has its own problem document."""
    found, headers, document = parsed(await service.raw(data))
    assert (found, document["type"]) == (status, f"urn:jay:problem:{slug}")
    assert headers["x-jay-api-version"] == "2025-05-19"
    if status == 405:
        assert "post" in headers["allow"]
    else:  # the client may still be sending the request
        assert headers["connection"] == "close"


async def test_requests_within_the_limits_are_served(service: Service) -> None:
    """Requests within 4 KiB, 8,190-byte fields and 64 fields are served."""
    target = f"{PATH}?{'x' * (4095 - len(PATH) - 1)}"
    fields = b"".join(b"X-%d: y\r\n" % n for n in range(60))
    for data, status in (
        (f"POST {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode(), 201),
        (f"POST {target}xx HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode(), 414),
        (HEAD + b"X-Y: " + b"x" * 8100 + b"\r\n\r\n", 201),
        (HEAD + b"X-Y: " + b"x" * 8191 + b"\r\n\r\n", 431),
        (HEAD + fields + b"\r\n", 201),
        (HEAD + fields + b"A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\n\r\n", 431),
        (HEAD + b"Content-Length: 4096\r\n\r\n" + b" " * 4096, 201),
        (HEAD + b"Content-Length: 4097\r\n\r\n" + b" " * 4097, 413),
    ):
        assert parsed(await service.raw(data))[0] == status, (status, data[:60])


async def test_a_session_is_served_with_unusual_targets_and_hosts(service: Service) -> None:
    """Host is ignored, and an absolute-form target is served by its path."""
    session_id = await service.create()
    for target, host in (
        (PATH, b"Host: a b\r\n"),
        (PATH, b"Host: [::bad\r\n"),
        (PATH, b"Host: \r\n"),
        (PATH, b"Host: x:99999\r\n"),
        (f"http://evil.example{PATH}", b"Host: x\r\n"),
        (f"{PATH}?a=%00&b", b"Host: x\r\n"),
        (PATH.replace("tracking", "%74racking"), b"Host: x\r\n"),
    ):
        request = f"GET {target} HTTP/1.1\r\nX-API-Key: {KEY}\r\n{TOKEN}: {session_id}\r\n".encode() + host + b"\r\n"
        status, _, document = parsed(await service.raw(request))
        assert (status, document.get("session_id")) == (200, session_id), (target, host, document)


async def test_unusual_targets_are_not_found(service: Service) -> None:
    """Unusual targets are a 404 and never a 500."""
    for target in (
        "*",
        "//",
        "/%",
        "/%zz",
        "/\xff",
        "/..",
        "/" + "a/" * 1500,
        "http://[x/",
        "x:y",
        "/?" + "=" * 3000,
    ):
        status, _, document = parsed(
            await service.raw(f"GET {target} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n".encode("latin-1"))
        )
        assert status in {400, 404}, (target, status)
        assert str(document["type"]).startswith("urn:jay:problem:")


async def test_http_1_0_and_lower_case_names_work(service: Service) -> None:
    """HTTP/1.0 and lower-case names work."""
    status, headers, _ = parsed(
        await service.raw(f"POST {PATH} HTTP/1.0\r\nx-api-key: {KEY}\r\n\r\n".encode(), until_closed=True)
    )
    assert status == 201
    assert "connection" not in headers or headers["connection"] == "close"


async def test_expect_continue_is_served(service: Service) -> None:
    """`Expect: 100-continue` gets a 100, then the response."""
    body = b'{"user_id":"u"}'
    head = HEAD + b"Content-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    status, _, document = parsed(await service.raw_after_continue(head, body))
    assert (status, document["user_id"]) == (201, "u")


async def test_a_stalled_body_is_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stalls for 5 s is a 408, and the connection closes."""
    assert json_body.DEADLINE_SECONDS == 5.0
    monkeypatch.setattr(json_body, "DEADLINE_SECONDS", 0.05)
    started = time.monotonic()
    status, headers, document = parsed(await service.raw(HEAD + b"Content-Length: 10\r\n\r\n{"))
    assert (status, document["type"]) == (408, "urn:jay:problem:request-timeout")
    assert headers["connection"] == "close"
    assert time.monotonic() - started < 4


async def test_an_endless_chunked_body_ends_at_the_limit(service: Service) -> None:
    """A chunked body of more than 4 KiB is a 413."""
    chunk = b"400\r\n" + b" " * 1024 + b"\r\n"
    status, _, document = parsed(await service.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5))
    assert (status, document["type"]) == (413, "urn:jay:problem:body-too-large")


async def test_pipelined_requests_are_answered_in_order(service: Service) -> None:
    """Fifty pipelined requests get their own responses in order."""
    ids = [await service.create() for _ in range(50)]
    requests = b"".join(
        f"GET {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n{TOKEN}: {one}\r\n".encode()
        + (b"Connection: close\r\n\r\n" if one == ids[-1] else b"\r\n")
        for one in ids
    )
    answers = (await service.raw(requests, until_closed=True)).split(b"HTTP/1.1 200 ")[1:]
    assert [json.loads(answer.partition(b"\r\n\r\n")[2])["session_id"] for answer in answers] == ids


async def test_header_bytes_beyond_ascii_are_ignored(service: Service) -> None:
    """Latin-1 and invalid UTF-8 in header values are rejected or ignored."""
    for line, status in (
        (b"X-API-Key: \xff\xfe", 401),
        (f"X-API-Key: {KEY}\r\n{TOKEN}: ".encode() + b"\xe4\xff", 404),
        (f"X-API-Key: {KEY}\r\nCookie: {TOKEN}=".encode() + b"\xff", 404),
        (f"X-API-Key: {KEY}\r\nOrigin: ".encode() + b"\xff", 404),
        (f"X-API-Key: {KEY}\r\nx-jay-api-version: ".encode() + b"\xff", 400),
    ):
        found, _, _ = parsed(await service.raw(f"GET {PATH} HTTP/1.1\r\nHost: x\r\n".encode() + line + b"\r\n\r\n"))
        assert found == status, line


CODINGS = ("gzip, chunked", "foo, chunked", "identity, chunked", ",chunked", "chunked;q=1", "", "chunked, chunked")


@pytest.mark.parametrize("coding", CODINGS)
async def test_only_plain_chunked_is_read(service: Service, coding: str) -> None:
    """Other transfer codings are rejected, and the connection closes."""
    body = b'10\r\n{"user_id": "u"}\r\n0\r\n\r\n'
    answer = await service.raw(
        HEAD + f"Content-Type: application/json\r\nTransfer-Encoding: {coding}\r\n\r\n".encode() + body,
        until_closed=True,
    )
    status, headers, document = parsed(answer)
    assert (status, document["type"]) == (400, "urn:jay:problem:malformed-request")
    assert headers["connection"] == "close"


async def test_chunks_in_http_1_0_are_rejected(service: Service) -> None:
    """HTTP/1.0 with chunks is invalid framing (RFC 9112 section 6.1)."""
    head = f"POST {PATH} HTTP/1.0\r\nX-API-Key: {KEY}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert parsed(await service.raw(head.encode(), until_closed=True))[0] == 400


@pytest.mark.parametrize("version", ["HTTP/2.0", "HTTP/0.9"])
async def test_unsupported_http_versions_are_rejected(service: Service, version: str) -> None:
    """The response to an unsupported version does not repeat it."""
    answer = await service.raw(f"GET {PATH} {version}\r\nHost: x\r\n\r\n".encode(), until_closed=True)
    assert answer.startswith((b"HTTP/1.1 400 ", b"HTTP/1.0 400 "))


async def test_a_connect_ends_the_connection(service: Service) -> None:
    """The bytes after a CONNECT are not HTTP and are not executed."""
    inner = HEAD + b"\r\n"
    head = b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(inner)
    answer = await service.raw(head + inner, until_closed=True)
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert answer.count(b"\r\nServer: ") == 1
    assert len(service.log_lines()) == 1


@pytest.mark.parametrize("host", ["xn--a", "xn--" + "a" * 60, "xn--99zzzz", "[::1", "a b", "\u00e4"])
async def test_an_absolute_target_with_any_host_is_answered(service: Service, host: str) -> None:
    """The host of an absolute target is ignored, also when it is invalid."""
    answer = await service.raw(f"GET http://{host}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert parsed(answer)[0] in {400, 404}


CONTENT_TYPES = (
    "application/json; charset*=utf-16''utf-8",
    "application/json;charset*=unicode_escape''%5cx",
    "application/json; charset*" + "9" * 5000 + "=a",
    "application/json;" + "(" * 4000,
    "(" * 4000,
    'application/json; charset="' + '("' * 2000,
    ";CANARY*0*",
    "application/json;X*0*\xff",
    "application/json; z" + ";" * 8000,
    "application/json, application/json",
    "json",
    "/",
)


@pytest.mark.parametrize("value", CONTENT_TYPES, ids=range(len(CONTENT_TYPES)))
async def test_any_content_type_is_answered_at_once(service: Service, value: str) -> None:
    """Unusual content types are a 415 or ignored, at once."""
    body = b'{"user_id": "u"}'
    head = HEAD + b"Content-Type: " + value.encode("latin-1") + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
    started = time.process_time()
    answer = await service.raw(head + body)
    # Seconds of CPU. aiohttp's own parser of this header takes 0.3 s for some values.
    assert time.process_time() - started < 0.2
    assert parsed(answer)[0] == (201 if value.startswith("application/json;X") else 415)
    assert b"CANARY" not in answer


PREFLIGHT = f"OPTIONS {PATH} HTTP/1.1\r\nHost: x\r\nAccess-Control-Request-Method: ".encode()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"GET /livez HTTP/1.1\r\nHost: x\r\nExpect: \xff\r\n\r\n", 417),
        (PREFLIGHT + b"GET\r\nOrigin: \xff\r\n\r\n", 403),
        (PREFLIGHT + f"GET\r\nOrigin: {ORIGIN}\r\nAccess-Control-Request-Headers: ".encode() + b"\xff\r\n\r\n", 204),
        (PREFLIGHT + b"\xff\r\n" + f"Origin: {ORIGIN}\r\n\r\n".encode(), 204),
    ],
)
async def test_invalid_header_bytes_are_not_repeated(service: Service, data: bytes, status: int) -> None:
    """Header bytes that are not UTF-8 are not repeated and cause no 500."""
    answer = await service.raw(data)
    assert parsed(answer)[0] == status
    assert b"\xff" not in answer


@pytest.mark.parametrize("is_reset", [False, True], ids=["closed", "reset"])
async def test_a_client_that_disconnects_in_a_request_is_no_error(
    service: Service, caplog: pytest.LogCaptureFixture, *, is_reset: bool
) -> None:
    """After a disconnect the log has no error, and the service continues."""
    for rest in (b"Content-Length: 30\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n5\r\n{", b"X-Y: "):
        _, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HEAD + rest)
        await writer.drain()
        await service.request("GET", "/livez")
        if is_reset:
            # closes with a RST, so that the service sees no end of the stream
            linger = b"\1\0\0\0\0\0\0\0"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(30):
        while [line["status"] for line in service.log_lines()].count(400) < 2:
            await asyncio.sleep(0.005)
    assert await service.create()
    assert {line["status"] for line in service.log_lines()} == {200, 201, 400}
    # The logger `service.aiohttp` is silenced.
    assert not [one for one in caplog.records if one.exc_info and one.name != "service.aiohttp"]


async def test_a_half_closed_connection_gets_its_responses(service: Service) -> None:
    """A client may close its side before it reads its responses."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write((HEAD + b"\r\n") * 3)
    writer.write_eof()
    answers = b""
    async with asyncio.timeout(10):
        while answers.count(b"HTTP/1.1 201 ") < 3:
            data = await reader.read(65536)
            assert data, answers
            answers += data
        assert await reader.read(-1) == b""
    writer.close()
    assert len(service.log_lines()) == 3


@pytest.mark.parametrize(
    "trailer", [f"X-API-Key: {KEY}", f"{TOKEN}: x", "Host: evil", "Content-Type: text/plain", f"Origin: {ORIGIN}"]
)
async def test_trailers_do_not_reach_the_next_request(service: Service, trailer: str) -> None:
    """The connection closes after chunks, so trailers are not read as headers."""
    first = HEAD + f"Transfer-Encoding: chunked\r\n\r\n0\r\n{trailer}\r\n\r\n".encode()
    answer = await service.raw(first + f"GET {PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode(), until_closed=True)
    # In one packet a second Host is a parse error of both requests. In two packets the
    # first request and the last one are answered.
    assert answer.startswith((b"HTTP/1.1 201 ", b"HTTP/1.0 400 "))
    assert b"\r\nConnection: close\r\n" in answer
    assert answer.count(b"\r\nServer: ") == 1


async def test_an_upgrade_ends_the_connection(service: Service) -> None:
    """An upgrade is not granted, and the connection closes."""
    head = HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    answer = await service.raw(head + HEAD + b"\r\n", until_closed=True)
    assert answer.startswith(b"HTTP/1.1 201 ")
    assert answer.count(b"\r\nServer: ") == 1


@pytest.mark.parametrize("delay", [0.0, 0.0005])
async def test_a_client_that_closes_its_side_at_once_is_answered(service: Service, delay: float) -> None:
    """A client that closes its side with or after the request is answered."""
    for _ in range(100):
        reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
        writer.write(HEAD + b"\r\n")
        if delay:
            await asyncio.sleep(delay)
        writer.write_eof()
        async with asyncio.timeout(5):  # less than the 15 s of an idle connection
            assert (await reader.read(-1)).startswith(b"HTTP/1.1 201 ")
        writer.close()


async def test_a_client_that_closes_its_side_in_the_body_is_answered_at_once(service: Service) -> None:
    """When a body cannot be completed, the response comes at once."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(HEAD + b"Content-Length: 10\r\n\r\n{")
    writer.write_eof()
    async with asyncio.timeout(3):
        assert (await reader.read(-1)).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_parser_errors_are_readable_for_an_allowed_page(service: Service) -> None:
    """An allowed page can read parser errors, and a foreign page cannot."""
    for origin, allowed in ((ORIGIN, True), ("https://evil.example", False)):
        head = HEAD + f"Origin: {origin}\r\n".encode()
        for data in (head + b"Cookie: " + b"x" * 9000 + b"\r\n\r\n", head.replace(b"POST", b"FROB") + b"\r\n"):
            for packets in ((data,), (data[:200], data[200:])):
                status, headers, _ = parsed(await service.raw(*packets))
                assert status in {405, 431}
                assert (headers.get("access-control-allow-origin") == origin) is allowed


async def test_a_parser_error_with_a_damaged_origin_is_answered(service: Service) -> None:
    """Bytes of `Origin` that are not ASCII do not prevent the problem document."""
    damaged = HEAD + b"Origin: https://app.\xc3\xa4.example\r\nCookie: " + b"x" * 9000 + b"\r\n\r\n"
    status, headers, document = parsed(await service.raw(damaged))
    assert (status, document["type"]) == (431, "urn:jay:problem:headers-too-large")
    assert "access-control-allow-origin" not in headers


async def test_many_connections_fit_the_listen_queue(service: Service) -> None:
    """The listen queue is longer than 128, so clients are not delayed."""
    assert [site._backlog for site in service.runner.sites] == [2048]
