"""Every operation of both clients, with the fake and with a live service."""

import uuid
from datetime import UTC, timedelta
from typing import Any

import pytest
from jay_tracking_client.errors import (
    InvalidRequest,
    SessionAlreadyEnded,
    SessionNotFound,
    Unauthorized,
)

from tests.clients.conftest import Connect, Target

KEY = "7f6d2a4e-9f2b-4c37-8f6c-3f1f0a8f2c11"


@pytest.fixture
def client(connect: Connect, target: Target) -> Any:
    return connect(target.url, target.api_key)


async def test_a_session_is_created_read_and_ended(client: Any) -> None:
    """Each answer has the same session until it ends. Ending it again is harmless."""
    created = await client.create()
    assert created.user_id is None
    assert created.started_at.tzinfo is UTC
    assert timedelta(hours=23) < created.expires_at - created.started_at <= timedelta(hours=24)
    assert await client.get(created.id) == created
    assert await client.get(created.id.upper()) == created
    await client.end(created.id)
    await client.end(created.id)
    with pytest.raises(SessionNotFound):
        await client.get(created.id)


async def test_a_user_id_travels_unchanged(client: Any) -> None:
    """A user id of any printable characters comes back."""
    assert (await client.create("Zoë/7 ☕")).user_id == "Zoë/7 ☕"
    assert (await client.create("")).user_id is None


async def test_each_call_creates_a_session_and_a_key_repeats_one(client: Any) -> None:
    """Calls without a key create different sessions, and with a key the same one."""
    assert (await client.create()).id != (await client.create()).id
    key = str(uuid.uuid4())
    created = await client.create(idempotency_key=key)
    assert await client.create(idempotency_key=key) == created
    await client.end(created.id)
    with pytest.raises(SessionAlreadyEnded):
        await client.create(idempotency_key=key)


async def test_a_lookup_returns_the_live_sessions(client: Any) -> None:
    """A lookup has each live session under the string that was asked for."""
    guest, user, ended = await client.create(), await client.create("u"), await client.create()
    await client.end(ended.id)
    found = await client.lookup([guest.id.upper(), "null", ended.id, str(uuid.uuid4()), user.id])
    assert {string: session.id for string, session in found.items()} == {guest.id.upper(): guest.id, user.id: user.id}
    assert found[user.id].user_id == "u"
    assert found[user.id].expires_at == user.expires_at
    assert len(found[user.id].ref) == 32
    assert await client.find(guest.id) == found[guest.id.upper()]
    assert await client.find(ended.id) is None
    assert (await client.find_first([ended.id, user.id, guest.id])).id == user.id
    assert await client.find_first([]) is None


async def test_a_string_that_is_no_id_is_not_sent(client: Any) -> None:
    """Such a string has no session, and needs no request."""
    for string in ("", "null", "x\r\nX-API-Key: other", "é"):
        assert await client.find(string) is None
        await client.end(string)
        for call in (client.get, client.clear_user):
            with pytest.raises(SessionNotFound):
                await call(string)


async def test_errors_have_the_fields_of_the_problem(client: Any) -> None:
    """A rejected user id is named by its field, and not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        await client.create("undefined")
    assert (caught.value.status, caught.value.slug, caught.value.member) == (422, "invalid-request", "user_id")
    assert caught.value.request_id
    assert "undefined" not in str(caught.value).replace("`undefined`", "")


async def test_a_wrong_key_is_unauthorized(connect: Connect, target: Target) -> None:
    """An unknown API key is Unauthorized."""
    with pytest.raises(Unauthorized) as caught:
        await connect(target.url, "unknown-key").get(str(uuid.uuid4()))
    request_id = f" (request id {caught.value.request_id})"
    assert str(caught.value) == f"401 unauthorized: {caught.value.detail}{request_id}"


async def test_a_session_changes_its_user(client: Any) -> None:
    """Consent and its withdrawal continue the session under new ids."""
    guest = await client.create()
    user = await client.set_user(guest.id, "user-1")
    assert (user.user_id, user.started_at, user.expires_at) == ("user-1", guest.started_at, guest.expires_at)
    assert user.id != guest.id
    assert await client.set_user(guest.id, "user-1") == user
    assert await client.set_user(user.id, "user-1") == user
    with pytest.raises(SessionNotFound):
        await client.get(guest.id)
    again = await client.clear_user(guest.id)
    assert again.user_id is None
    assert again.id not in {guest.id, user.id}
    with pytest.raises(InvalidRequest):
        await client.set_user(again.id, "")
    await client.end(guest.id)
    with pytest.raises(SessionNotFound):
        await client.clear_user(again.id)
