"""Repeated header lines equal one line with comma-joined values.

Source: RFC 9110 section 5.3.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from service.api.handlers import pages
from tests.api.conftest import KEY, PATH, TOKEN, Service, problem
from tests.api.test_transport import parsed

ALIAS = "X-Jay-Tracking"
UNKNOWN = "00000000-0000-4000-8000-000000000000"
VERSION = "2025-05-19"


async def statuses(service: Service, method: str, path: str, lines: Sequence[tuple[str, str]], body: bytes) -> int:
    """Send a request with these header lines and return its status.

    Checks that every joined form has the same status.
    """
    names = list(dict.fromkeys(name for name, _ in lines))
    values = {name: [value for one, value in lines if one == name] for name in names}
    forms = [list(lines)]
    forms.extend([(name, joint.join(values[name])) for name in names] for joint in (", ", ",", " ,\t"))
    found = set()
    for form in forms:
        head = "".join(f"{name}: {value}\r\n" for name, value in form)
        length = f"Content-Length: {len(body)}\r\n" if body else ""
        request = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{head}{length}\r\n".encode() + body
        found.add(int((await service.raw(request)).split()[1]))
    assert len(found) == 1, found
    return found.pop()


KEYED = ("X-API-Key", KEY)
USER = b'{"user_id": "u"}'
JSON = ("Content-Type", "application/json")


@pytest.mark.parametrize(
    ("lines", "body", "status"),
    [
        ([KEYED, KEYED], b"", 400),
        ([KEYED, ("X-API-Key", "wrong")], b"", 400),
        ([("X-API-Key", ""), KEYED], b"", 400),
        ([KEYED, ("x-jay-api-version", VERSION), ("x-jay-api-version", VERSION)], b"", 400),
        ([KEYED, ("x-jay-api-version", VERSION), ("x-jay-api-version", "1999-01-01")], b"", 400),
        ([KEYED, JSON], USER, 201),
        ([KEYED, JSON, ("Content-Encoding", "identity")], USER, 201),
        ([KEYED, JSON, ("Content-Encoding", "Identity"), ("Content-Encoding", "IDENTITY")], USER, 201),
        ([KEYED, JSON, ("Content-Encoding", ""), ("Content-Encoding", "identity")], USER, 201),
        ([KEYED, JSON, ("Content-Encoding", "identity"), ("Content-Encoding", "gzip")], USER, 415),
        ([KEYED, JSON, ("Content-Encoding", "gzip"), ("Content-Encoding", "identity")], USER, 415),
        ([KEYED, ("Expect", "100-continue"), ("Expect", "foo")], b"", 417),
        ([KEYED, ("Expect", "foo"), ("Expect", "100-continue")], b"", 417),
        ([KEYED, ("Expect", "100-continue"), ("Expect", "100-Continue")], b"", 201),
        ([KEYED, ("Transfer-Encoding", "gzip"), ("Transfer-Encoding", "chunked")], b"", 400),
        ([KEYED, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "gzip")], b"", 400),
        ([KEYED, ("Transfer-Encoding", "chunked"), ("Transfer-Encoding", "chunked")], b"", 400),
    ],
)
async def test_creation_reads_lines_and_commas_alike(
    service: Service, lines: list[tuple[str, str]], body: bytes, status: int
) -> None:
    """A creation has the same status for repeated and for joined lines."""
    assert await statuses(service, "POST", PATH, lines, body) == status


async def test_two_media_types_are_rejected_in_either_form(service: Service) -> None:
    """Two media types are rejected, as two lines and as one."""
    for second in ("application/json", "text/plain"):
        for value, status in ((f"{JSON[1]}\r\nContent-Type: {second}", 400), (f"{JSON[1]}, {second}", 415)):
            head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\nContent-Type: {value}\r\n"
            request = f"{head}Content-Length: {len(USER)}\r\n\r\n".encode() + USER
            assert parsed(await service.raw(request))[0] == status


def bearer(key: str) -> tuple[str, str]:
    return ("Authorization", f"Bearer {key}")


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([bearer("operator-key")], 200),
        ([bearer("operator-key"), bearer("operator-key")], 400),
        ([bearer("operator-key"), bearer("wrong")], 400),
        ([("Authorization", "Basic eDp5"), bearer("operator-key")], 400),
        ([bearer("operator-key"), ("Authorization", "junk")], 400),
        ([("Authorization", "Digest a=b"), ("Authorization", "c=d")], 401),
        ([("X-API-Key", "operator-key"), ("X-API-Key", "operator-key")], 400),
        ([("X-API-Key", "operator-key"), bearer("operator-key")], 400),
    ],
)
async def test_metrics_read_lines_and_commas_alike(
    service: Service, lines: list[tuple[str, str]], status: int
) -> None:
    """Several bearer tokens are rejected in either form."""
    assert await statuses(service, "GET", "/metrics", lines, b"") == status


async def test_a_key_in_both_headers_is_explained(service: Service) -> None:
    """The error for a key in two headers names both of them."""
    headers = dict([("X-API-Key", "operator-key"), bearer("operator-key")])
    response = await service.request("GET", "/metrics", headers=headers)
    document = await problem(response, 400, "malformed-request")
    assert document["detail"] == ("Send one API key: in X-API-Key or, for /metrics, in Authorization, not in both.")


async def test_a_page_that_the_browser_has_is_found_among_several_tags(service: Service) -> None:
    """`If-None-Match` may list several tags."""
    file = Path(pages.__file__).parent.parent / "static" / "docs.html"
    known = f'"{hashlib.sha256(file.read_bytes()).hexdigest()[:16]}"'
    for tags, status in (
        (['"other"', known], 304),
        ([known, '"other"'], 304),
        (['"other"', f"W/{known}"], 304),
        (["*"], 304),
        (['"other"', '"another"'], 200),
        ([known.strip('"')], 200),
    ):
        lines = [("If-None-Match", tag) for tag in tags]
        assert await statuses(service, "GET", "/docs", lines, b"") == status, tags


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
@pytest.mark.parametrize("joint", [None, ", ", ",", " , ", ",,"])
@pytest.mark.parametrize("name", [TOKEN, ALIAS, "Cookie"])
async def test_every_candidate_is_found_in_either_form(
    service: Service, name: str, joint: str | None, method: str
) -> None:
    """GET finds a live session behind a dead one, and DELETE ends every one."""
    ids = [await service.create() for _ in range(2)]
    values = [UNKNOWN, ids[0], "null", ids[1]]
    if name == "Cookie":
        values = [f"{TOKEN}={value}" for value in values]
    lines = values if joint is None else [joint.join(values)]
    head = "".join(f"{name}: {line}\r\n" for line in lines)
    request = f"{method} {PATH} HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n{head}Connection: close\r\n\r\n"
    answer = await service.raw(request.encode(), until_closed=True)
    status, _, body = parsed(answer)
    if method == "DELETE":
        assert status == 204
        for session_id in ids:
            assert (await service.request("GET", headers={TOKEN: session_id})).status == 404
    else:
        assert (status, body.get("session_id")) == (200, None if method == "HEAD" else ids[0])


async def test_a_header_set_twice_by_a_page_is_one_session(service: Service) -> None:
    """A header that a page sets twice is found, joined as `XMLHttpRequest` does."""
    session_id = await service.create()
    twice = {ALIAS: f"{session_id}, {session_id}"}
    assert (await service.request("GET", headers=twice)).status == 200
    assert (await service.request("DELETE", headers=twice)).status == 204
    assert (await service.request("GET", headers=twice)).status == 404
