"""POST, GET, HEAD and DELETE of a session, by the rows of docs/api.md."""

import json
import re
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from aiohttp import ClientResponse, FormData

from service.config.settings import CookieSettings, SessionSettings
from service.storage.keyspace import Keyspace
from tests.api.conftest import ORIGIN, PATH, TOKEN, Service, Start, problem
from tests.support.servers import Raw

SPEC_SOURCE = "jay.api.playout.1.0.0"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


async def test_a_guest_session(service: Service) -> None:
    """A guest's session is a 201 with the spec's fields, the header and one cookie."""
    response = await service.request("POST")
    body = await response.json()
    assert response.status == 201
    assert list(body) == ["session_id", "start_time", "source"]
    assert UUID(body["session_id"]).version == 4
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", body["start_time"])
    assert abs((datetime.fromisoformat(body["start_time"] + "+00:00") - datetime.now(UTC)).total_seconds()) < 10
    assert body["source"] == SPEC_SOURCE
    assert response.headers.getall(TOKEN) == [body["session_id"]]
    assert response.headers.getall("Set-Cookie") == [
        f"{TOKEN}={body['session_id']}; Path=/; Max-Age=86400; Secure; HttpOnly; SameSite=Lax"
    ]


@pytest.mark.parametrize("path", [PATH, "/playouts/tracking/session"])
async def test_both_paths_serve_the_same_sessions(service: Service, path: str) -> None:
    """Both paths of the spec serve the same sessions."""
    session_id = await service.create()
    response = await service.request("GET", path, headers={TOKEN: session_id})
    assert (await response.json())["session_id"] == session_id
    assert (await service.request("DELETE", path, headers={TOKEN: session_id})).status == 204


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", None),
        (b"", "application/json"),
        (b"", "text/plain"),
        (b" \r\n\t ", "application/xml"),
        (b"{}", "application/json"),
        (b'{"user_id": null}', "application/json"),
        (b'{"user_id": ""}', "application/vnd.jay+json; charset=utf-8"),
        (b'{"user_id": ""}', "application/json; charset=UTF8"),
    ],
)
async def test_no_user_id_makes_a_guest(service: Service, body: bytes, content_type: str | None) -> None:
    """Empty bodies, objects and strings and `null` create a guest's session."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await service.request("POST", data=body, headers=headers, skip_auto_headers=["Content-Type"])
    assert response.status == 201, await response.text()
    assert "user_id" not in await response.json()


@pytest.mark.parametrize(
    "body",
    [{"user_id": "user-123-xyz"}, {"userId": "user-123-xyz"}, {"user_id": "user-123-xyz", "userId": "user-123-xyz"}],
)
async def test_a_consenting_user(service: Service, body: dict[str, str]) -> None:
    """Either spelling of the user id gives a session with the id."""
    response = await service.request("POST", json=body)
    created = await response.json()
    assert response.status == 201
    assert created["user_id"] == "user-123-xyz"
    read = await service.request("GET", headers={TOKEN: created["session_id"]})
    assert await read.json() == created


@pytest.mark.parametrize(
    ("body", "content_type", "status", "slug"),
    [
        (b'{"user_id": "a", "userId": "b"}', "application/json", 422, "invalid-request"),
        (b'{"userid": "a"}', "application/json", 422, "invalid-request"),
        (b'{"user_id": "\\ud800"}', "application/json", 422, "invalid-request"),
        (b"user_id=a", "application/json", 400, "malformed-request"),
        (b'{"user_id": NaN}', "application/json", 400, "malformed-request"),
        (b"[" * 4096, "application/json", 400, "malformed-request"),
        (b"\x0b", "application/json", 400, "malformed-request"),
        (b'\x0b{"user_id": "a"}', "application/json", 400, "malformed-request"),
        (b'{"user_id": "a"}\x0c', "application/json", 400, "malformed-request"),
        (b"\x0c", None, 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "text/plain", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "application/jsonp", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "text/x+json", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "application/json; charset=latin-1", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "application/json; charset=utf-8; charset=latin-1", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "application/json; charset=latin-1; charset=utf-8", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', "application/json; charset*=utf-8''latin-1", 415, "unsupported-media-type"),
        (b'{"user_id": "a"}', None, 415, "unsupported-media-type"),
        (b" " * 4097, "application/json", 413, "body-too-large"),
    ],
)
async def test_an_invalid_body(
    service: Service, body: bytes, content_type: str | None, status: int, slug: str
) -> None:
    """An invalid body has its own status and creates no session and no cookie."""
    headers = {} if content_type is None else {"Content-Type": content_type}
    response = await service.request("POST", data=body, headers=headers, skip_auto_headers=["Content-Type"])
    await problem(response, status, slug)
    assert "Set-Cookie" not in response.headers
    assert TOKEN not in response.headers


async def test_compressed_bodies_are_rejected_unread(service: Service) -> None:
    """A compressed body is rejected without decompression."""
    for coding in ("gzip", "deflate", "br", "x", "identity, gzip", "gzip, identity", "identity;q=1"):
        response = await service.request(
            "POST",
            data=b"\x1f\x8b\x08" + b"0" * 100,
            headers={"Content-Encoding": coding, "Content-Type": "application/json"},
        )
        await problem(response, 415, "unsupported-media-type")


async def test_a_body_may_be_declared_as_not_encoded(service: Service) -> None:
    """`identity` in any spelling is no compression."""
    for coding in ("identity", "Identity", "identity, IDENTITY", ""):
        headers = {"Content-Encoding": coding, "Content-Type": "application/json"}
        response = await service.request("POST", data=b'{"user_id": "u"}', headers=headers)
        assert (response.status, (await response.json())["user_id"]) == (201, "u")


async def test_forms_are_rejected(service: Service) -> None:
    """HTML forms create no session, so a page of another site cannot either."""
    for form in (FormData({"user_id": "a"}), FormData({"user_id": "a"}, default_to_multipart=True)):
        await problem(await service.request("POST", data=form), 415, "unsupported-media-type")


@pytest.mark.parametrize("more", [{}, {"Max-Forwards": "1"}], ids=["front door", "aiohttp"])
async def test_an_id_that_is_taken_is_not_given_twice(
    service: Service, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    """If the random source repeats itself, the second visitor gets no session."""
    session_id = await service.create(json={"user_id": "first"})
    fast_path = service.runner._fast_path
    assert fast_path is not None
    factory = fast_path._creations._factory
    new = factory.new
    monkeypatch.setattr(factory, "new", lambda *of: new(*of)._replace(id=session_id))
    response = await service.request("POST", headers=more)
    document = await problem(response, 500, "internal-error")
    assert session_id not in str(document)
    assert TOKEN not in response.headers
    found = await service.request("GET", headers={TOKEN: session_id})
    assert (await found.json())["user_id"] == "first"


async def test_post_ignores_a_presented_id(service: Service) -> None:
    """POST neither reuses nor changes a session that the client presents."""
    old = await service.create()
    new = await service.create(headers={TOKEN: old, "Cookie": f"{TOKEN}={UNKNOWN}"})
    assert new not in {old, UNKNOWN}
    assert (await service.request("GET", headers={TOKEN: old})).status == 200
    assert (await service.request("GET", headers={TOKEN: UNKNOWN})).status == 404


async def test_the_source_is_that_of_the_key(service: Service) -> None:
    """The source comes from the key, and a client cannot choose it."""
    response = await service.request("POST", headers={"X-API-Key": "tv-key"})
    assert (await response.json())["source"] == "tv.app.2"
    await problem(await service.request("POST", json={"source": "mine"}), 422, "invalid-request")


async def test_get_returns_the_body_of_post(service: Service) -> None:
    """GET works by cookie, header and alias, and sets no cookie."""
    created = await service.request("POST", json={"user_id": "ü🙂"})
    session_id = created.headers[TOKEN]
    for headers in (
        {"Cookie": f"a=b; {TOKEN}={session_id}"},
        {TOKEN: session_id.upper()},
        {"X-Jay-Tracking": session_id},
    ):
        response = await service.request("GET", headers=headers)
        assert response.status == 200
        assert await response.read() == await created.read()
        assert "Set-Cookie" not in response.headers
        assert TOKEN not in response.headers


async def test_a_dead_cookie_never_hides_a_live_header(service: Service) -> None:
    """The first live candidate wins: cookies, then header, then alias."""
    first, second, third = [await service.create() for _ in range(3)]
    everything = {"Cookie": f"{TOKEN}={UNKNOWN}; {TOKEN}={first}", TOKEN: second, "X-Jay-Tracking": third}
    for expected in (first, second, third):
        response = await service.request("GET", headers=everything)
        assert (await response.json())["session_id"] == expected
        await service.request("DELETE", headers={TOKEN: expected})
    assert (await service.request("GET", headers=everything)).status == 404


async def test_every_missing_session_gets_the_same_answer(service: Service) -> None:
    """Unknown, ended, malformed and missing ids get the same 404."""
    ended = await service.create()
    await service.request("DELETE", headers={TOKEN: ended})
    bodies = set()
    for value in (None, UNKNOWN, ended, "null", "undefined", "", "*", "x" * 5000):
        response = await service.request("GET", headers={TOKEN: value})
        document = await problem(response, 404, "session-not-found")
        del document["request_id"]
        assert "Set-Cookie" not in response.headers
        bodies.add(json.dumps(document))
    assert len(bodies) == 1


async def test_head_is_get_without_a_body(service: Service) -> None:
    """HEAD has the status and headers of GET and no body."""
    session_id = await service.create()
    get = await service.request("GET", headers={TOKEN: session_id})
    head = await service.request("HEAD", headers={TOKEN: session_id})
    assert (head.status, await head.read()) == (200, b"")

    def steady(response: ClientResponse) -> dict[str, str]:
        return {k: v for k, v in response.headers.items() if k.lower() not in {"x-request-id", "date"}}

    assert steady(head) == steady(get)
    missing = await service.request("HEAD", headers={TOKEN: UNKNOWN})
    assert (missing.status, await missing.read()) == (404, b"")


async def test_delete_ends_every_session_presented(service: Service) -> None:
    """DELETE ends every session in cookies and headers, and is idempotent."""
    ids = [await service.create() for _ in range(4)]
    headers = {"Cookie": f"{TOKEN}={ids[0]}; {TOKEN}={ids[1]}", TOKEN: ids[2], "X-Jay-Tracking": ids[3]}
    for presented in (headers, headers, {}):
        response = await service.request("DELETE", headers=presented)
        assert (response.status, await response.read()) == (204, b"")
        assert response.headers.getall("Set-Cookie") == [
            f"{TOKEN}=; Path=/; Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT; Secure; HttpOnly; SameSite=Lax"
        ]
        assert "Content-Length" not in response.headers
    for session_id in ids:
        assert (await service.request("GET", headers={TOKEN: session_id})).status == 404


async def test_cookie_attributes_and_lifetime_are_configurable(start: Start, keyspace: Keyspace, raw: Raw) -> None:
    """Both cookies have the configured attributes, and Max-Age is the lifetime."""
    service = await start(
        cookie=CookieSettings(same_site="None", domain="example.com", path="/v1", partitioned=True),
        session=SessionSettings(ttl_seconds=600, source="own"),
    )
    created = await service.request("POST")
    session_id = created.headers[TOKEN]
    rest = "Secure; HttpOnly; SameSite=None; Partitioned"
    assert created.headers["Set-Cookie"] == f"{TOKEN}={session_id}; Path=/v1; Max-Age=600; Domain=example.com; {rest}"
    assert 590 < await raw.ttl(keyspace.session(session_id)) <= 600
    deleted = await service.request("DELETE")
    expired = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"
    assert deleted.headers["Set-Cookie"] == f"{TOKEN}=; Path=/v1; {expired}; Domain=example.com; {rest}"


async def test_every_answer_has_the_same_expiry(start: Start, keyspace: Keyspace, raw: Raw) -> None:
    """Every answer has the expiry of the creation, whatever the settings are later."""
    services = [await start(session=SessionSettings(ttl_seconds=seconds)) for seconds in (86400, 600)]
    for creator, seconds in zip(services, (86400, 600), strict=True):
        created = await creator.request("POST", headers={"Origin": ORIGIN})
        session_id = created.headers[TOKEN]
        moment = datetime.fromisoformat((await created.json())["start_time"]) + timedelta(seconds=seconds)
        expected = f"{moment.replace(microsecond=0).isoformat()}Z"
        answers = [created]
        for service in services:
            answers += [await service.request(method, headers={TOKEN: session_id}) for method in ("GET", "HEAD")]
            found = await service.request(
                "POST", f"{PATH}s/lookup", headers={"X-API-Key": "operator-key"}, json={"session_ids": [session_id]}
            )
            assert (await found.json())["sessions"][0]["expires_at"] == expected
        assert [one.headers["X-Jay-Session-Expires"] for one in answers] == [expected] * 5
        assert "X-Jay-Session-Expires" in created.headers["Access-Control-Expose-Headers"].split(", ")
        left = await raw.pttl(keyspace.session(session_id)) / 1000
        whole = moment.replace(microsecond=0, tzinfo=UTC)
        assert 0 <= time.time() + left - whole.timestamp() < 10


async def test_a_guests_record_holds_only_id_time_and_source(service: Service, keyspace: Keyspace, raw: Raw) -> None:
    """A guest's record has no address, no user agent and no derived id."""
    session_id = await service.create(headers={"User-Agent": "canary", "X-Forwarded-For": "192.0.2.1"})
    start_time, source = json.loads(await raw.get(keyspace.session(session_id)))
    assert isinstance(start_time, int)
    assert source == SPEC_SOURCE
