import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.create_body import EXAMPLE, FIELDS, user_id_in
from service.api.json_body import parse_object
from service.errors import InvalidRequest, MalformedRequest, RequestError


def read(body: bytes) -> str | None:
    return user_id_in(parse_object(body, FIELDS, EXAMPLE))


@pytest.mark.parametrize("body", [b"{}", b'{"user_id": null}', b'{"user_id": ""}', b'{"userId":"","user_id":null}'])
def test_no_user_id_means_a_guest(body: bytes) -> None:
    """An empty body, `null` and a body without a user id create a guest's session."""
    assert read(body) is None


@pytest.mark.parametrize("body", [b'{"user_id":"u"}', b'{"userId":"u"}', b' {"userId" : "u", "user_id" : "\\u0075"}'])
def test_both_spellings_are_read(body: bytes) -> None:
    """The spellings `user_id` and `userId` both work, also together when equal."""
    assert read(body) == "u"


@pytest.mark.parametrize(
    ("body", "member"),
    [
        ({"user_id": "a", "userId": "b"}, "userId"),
        ({"user_id": None, "userId": "b"}, "userId"),
        ({"userid": "a"}, "userid"),
        ({"user_id": "a", "consent": True}, "consent"),
        ({"user-id": "a"}, "user-id"),
        ({"user_id_2": "a"}, "user_id_2"),
        ({"x" * 32: 1}, "x" * 32),
        ({"x" * 33: 1}, "unknown"),
        ({"550e8400-e29b-41d4-a716-446655440000": 1}, "unknown"),
        ({"user-123@example.com": 1}, "unknown"),
        ({"user id": 1}, "unknown"),
        ({"": 1}, "unknown"),
        ({"@": 1, "user-id": "a"}, "user-id"),
        ({"user_id": "u", "userId": "undefined"}, "userId"),
        ({"user_id": 7}, "user_id"),
        ({"userId": ["a"]}, "userId"),
        ({"user_id": False}, "user_id"),
        ({"user_id": 10**30}, "user_id"),
        ({"user_id": "a" * 129}, "user_id"),
        ({"user_id": "a\x00"}, "user_id"),
        ({"userId": "a\nb"}, "userId"),
        ({"user_id": "\x7f"}, "user_id"),
        ({"user_id": "\x85"}, "user_id"),
        ({"user_id": "\ud800"}, "user_id"),
        ({"userId": "a\udfffb"}, "userId"),
    ],
)
def test_an_invalid_field_is_named(body: object, member: str) -> None:
    """The error names the invalid field, and an unknown name is not repeated."""
    with pytest.raises(InvalidRequest) as caught:
        read(json.dumps(body).encode())
    assert caught.value.members == {"member": member}


@pytest.mark.parametrize(
    ("body", "member"),
    [
        (b'{"user_id":"a","user_id":"b"}', "user_id"),
        (b'{"userId":"a","userId":"a"}', "userId"),
        (b'{"user_id":null,"userId":"a","user_id":"a"}', "user_id"),
        (b'{"user_id":"a","user\\u005fid":"b"}', "user_id"),
        (b'{"user_id":"\\ud800","user_id":"a"}', "user_id"),
        (b'{"consent":1,"consent":2}', "consent"),
        (b'{"user_id":{"a":1,"a":2}}', "a"),
        (b'{"user-123@example.com":1,"user-123@example.com":2}', "unknown"),
    ],
)
def test_a_field_that_is_sent_twice_is_named(body: bytes, member: str) -> None:
    """Parsers differ in the value that they take, so a field is not accepted twice."""
    with pytest.raises(InvalidRequest, match="twice") as caught:
        read(body)
    assert caught.value.members == {"member": member}


def test_a_colon_in_a_user_id_is_read() -> None:
    """A colon in a value is not taken for a second field."""
    assert read(b'{"user_id":"crm:7:x","userId":"crm:7:x"}') == "crm:7:x"


@pytest.mark.parametrize(
    "user_id",
    [" ", "   ", "\u00a0", "\u2003\u2009", "\u3000", "\u2028", "\u200b", "\ufeff", " \u200d ", "\u00ad"],
    ids=ascii,
)
@pytest.mark.parametrize("member", FIELDS)
def test_an_invisible_user_id_is_rejected(member: str, user_id: str) -> None:
    """A user id of only white space or zero-width characters is rejected."""
    with pytest.raises(InvalidRequest, match="white space") as caught:
        read(json.dumps({member: user_id}).encode())
    assert caught.value.members == {"member": member}


@pytest.mark.parametrize("user_id", ["undefined", "null", "NaN", "[object Object]"])
@pytest.mark.parametrize("member", FIELDS)
def test_a_stringified_missing_value_is_rejected(member: str, user_id: str) -> None:
    """A missing value that JavaScript turned into a string is rejected.

    Such ids would merge all visitors of a client with this bug into one user.
    """
    with pytest.raises(InvalidRequest, match="missing value") as caught:
        read(json.dumps({member: user_id}).encode())
    assert caught.value.members == {"member": member}


@pytest.mark.parametrize("user_id", ["Undefined", "NULL", "nan", "None", "null ", " null", "nullable", "object", "0"])
def test_an_id_that_only_resembles_a_missing_value_is_kept(user_id: str) -> None:
    """Only the exact strings are rejected, also without trimming white space."""
    assert read(json.dumps({"user_id": user_id}).encode()) == user_id


def test_user_ids_may_be_long_and_of_any_script() -> None:
    """A user id has at most 128 characters of any script."""
    for user_id in ("user-123-xyz", "ü" * 128, "🙂" * 128, " u ", "a b", '"; DROP TABLE', "<b>"):
        assert read(json.dumps({"user_id": user_id}).encode()) == user_id


@pytest.mark.parametrize(
    "body",
    [
        b"user_id=1",
        b"[]",
        b'"user"',
        b"1",
        b"null",
        b"NaN",
        b'{"user_id": NaN}',
        b'{"user_id": Infinity}',
        b'\xef\xbb\xbf{"user_id":"u"}',
        b'{"user_id":"\xff"}',
        b'{"user_id":"\xed\xa0\x80"}',
        b'{"user_id":"u"} x',
        b'{"user_id":"u"',
        b"[" * 4000,
        b'{"a":' * 800,
        "{}".encode("utf-16"),
    ],
)
def test_a_body_that_is_not_a_json_object_is_malformed(body: bytes) -> None:
    """Invalid JSON, invalid UTF-8, other types and deep nesting are a 400."""
    with pytest.raises(MalformedRequest):
        read(body)


def test_numbers_of_thousands_of_digits_are_invalid() -> None:
    """A number that Python refuses to convert is a client error."""
    with pytest.raises(RequestError):
        read(b'{"user_id": ' + b"9" * 4000 + b"}")
    with pytest.raises(RequestError):
        read(b'{"user_id": "\\ud800", "x": ' + b"9" * 4000 + b"}")


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_any_bytes_give_a_result_or_a_client_error(body: bytes) -> None:
    """Any bytes give a user id, a guest or a client error."""
    try:
        user_id = read(body)
    except RequestError:
        return
    assert user_id is None or 0 < len(user_id) <= 128


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["user_id", "userId", "x"]), inner),
    max_leaves=10,
)


@given(JSON)
def test_any_json_gives_a_result_or_a_client_error(content: object) -> None:
    """Any JSON gives a user id, a guest or a client error."""
    try:
        read(json.dumps(content).encode())
    except RequestError:
        return
    assert isinstance(content, dict)
