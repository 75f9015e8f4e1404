import re
from datetime import UTC, datetime, timedelta
from itertools import count
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.digests import UserDigest
from service.sessions import SHARED_DIGIT_US, Session, SessionFactory, parse_session_id, shard_of

SPEC_ID = "550e8400-e29b-41d4-a716-446655440000"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)))  # noqa: DTZ001 - hypothesis wants naive bounds
def test_start_time_has_six_digits_and_no_zone(moment: datetime) -> None:
    """The start time has the format of the spec's example for every moment."""
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert Session(SPEC_ID, microseconds, "s").start_time == moment.isoformat(timespec="microseconds")


def test_start_time_matches_the_spec() -> None:
    """The moment of the spec's example has the spec's string."""
    moment = datetime(2023, 1, 15, 14, 30, 24, 123456, tzinfo=UTC)
    session = Session(SPEC_ID, int(moment.timestamp()) * 1_000_000 + 123456, "s")
    assert session.start_time == "2023-01-15T14:30:24.123456"


@given(st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)), st.integers(1, 400 * 86400))  # noqa: DTZ001 - as above
def test_the_expiry_is_rounded_down_to_the_second(moment: datetime, ttl_seconds: int) -> None:
    """A session expires its lifetime after its start, rounded down to the second."""
    microseconds = (moment.replace(tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    session = Session(SPEC_ID, microseconds, "s", ttl_seconds=ttl_seconds)
    expected = (moment + timedelta(seconds=ttl_seconds)).replace(microsecond=0)
    assert session.expires_at == f"{expected.isoformat()}Z"


@given(st.uuids())
def test_every_uuid_is_an_id_in_either_case(uuid: UUID) -> None:
    """An id in upper-case hexadecimal digits is the same id."""
    assert parse_session_id(str(uuid)) == parse_session_id(str(uuid).upper()) == str(uuid)


@given(st.text())
def test_an_id_is_safe_in_a_key(text: str) -> None:
    """Every accepted id is a UUID in its usual form."""
    session_id = parse_session_id(text)
    assert session_id is None or str(UUID(session_id)) == session_id


def test_strings_that_resemble_ids_are_rejected() -> None:
    """Braces, prefixes, other lengths and a final line feed are rejected."""
    for text in (
        "",
        "null",
        "undefined",
        "{" + SPEC_ID + "}",
        "urn:uuid:" + SPEC_ID,
        SPEC_ID + "\n",
        SPEC_ID[:-1],
        SPEC_ID.replace("-", ""),
        "*" * 1_000_000,
    ):
        assert parse_session_id(text) is None, text[:40]


def test_a_guest_gets_a_random_uuid_of_version_4() -> None:
    """A guest's id is a random UUID of version 4, and guests spread over all shards."""
    new = SessionFactory(UserDigest("secret-secret"), clock_ns=count(step=SHARED_DIGIT_US * 1000).__next__).new
    ids = [new("source").id for _ in range(400)]
    assert len({one[1:] for one in ids}) == 400
    assert {UUID(one).version for one in ids} == {4}
    assert {shard_of(one) for one in ids} == set(range(16))


def test_guests_of_the_same_moment_share_a_shard() -> None:
    """Guests of the same 2 ms are in one shard, so that one batch has few groups."""
    new = SessionFactory(UserDigest("secret-secret"), clock_ns=count(step=SHARED_DIGIT_US * 100).__next__).new
    shards = [shard_of(new("source").id) for _ in range(100)]
    assert [len(set(shards[first : first + 10])) for first in range(0, 100, 10)] == [1] * 10
    assert len(set(shards)) > 1


def test_a_users_sessions_share_a_shard_and_users_spread() -> None:
    """The sessions of a user share a shard, and users spread over all shards."""
    digest = UserDigest("secret-secret")
    new = SessionFactory(digest).new
    for user in ("user-123-xyz", "ü" * 128, "🙂"):
        sessions = [new("source", user) for _ in range(20)]
        assert {shard_of(session.id) for session in sessions} == {shard_of(digest(user))}
        assert {UUID(session.id).version for session in sessions} == {4}
        assert len({session.id for session in sessions}) == 20
    digests = [digest(f"user-{number}") for number in range(1000)]
    assert {shard_of(one) for one in digests} == set(range(16))
    assert all(re.fullmatch(r"[0-9a-f][A-Za-z0-9+/]{15}", one) for one in digests)


def test_the_digest_depends_on_the_secret() -> None:
    """Another secret gives another digest."""
    assert UserDigest("one-secret")("user") != UserDigest("two-secrets")("user")
    assert "user" not in UserDigest("one-secret")("user")
