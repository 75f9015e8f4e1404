import hashlib
import hmac
import re

from hypothesis import given
from hypothesis import strategies as st

from service.digests import SessionRefs
from service.sessions import parse_session_id


@given(st.text(min_size=1, max_size=100), st.uuids())
def test_a_ref_is_the_documented_hash(secret: str, session_id: object) -> None:
    """A ref is the first half of HMAC-SHA-256 of `ref` and the id, in hex digits."""
    expected = hmac.digest(secret.encode(), b"ref" + str(session_id).encode(), hashlib.sha256)[:16].hex()
    refs = SessionRefs(secret)
    assert refs(str(session_id)) == refs(str(session_id)) == expected


@given(st.uuids())
def test_a_ref_is_no_session_id(session_id: object) -> None:
    """A ref has 32 hex digits and is not accepted as a session id."""
    ref = SessionRefs("a-secret")(str(session_id))
    assert re.fullmatch("[0-9a-f]{32}", ref)
    assert parse_session_id(ref) is None


def test_another_secret_gives_other_refs() -> None:
    """The ref of a session depends on the secret."""
    session_id = "550e8400-e29b-41d4-a716-446655440000"
    assert SessionRefs("one-secret")(session_id) != SessionRefs("other-secret")(session_id)
