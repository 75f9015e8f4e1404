import hashlib

from service.api_keys import (
    DEMO_OPERATOR_KEY,
    DEMO_TRACK_KEY,
    ApiKey,
    Keyring,
    Scope,
    demo_keys_in,
    hash_key,
    new_raw_key,
)


def key(raw: str, name: str = "web", origins: frozenset[str] | None = None) -> ApiKey:
    return ApiKey(name, hash_key(raw), frozenset({Scope.TRACK}), origins=origins)


def test_a_key_is_found_by_its_raw_form_only() -> None:
    """A hash, another case or a part of a key is not a valid key."""
    ring = Keyring([key("secret-one"), key("secret-two", "tv")])
    found = ring.find("secret-two")
    assert found is not None
    assert found.name == "tv"
    for raw in ("", "secret", "SECRET-ONE", "secret-one ", hash_key("secret-one"), "0" * 64, "\udcff", "🙂"):
        assert ring.find(raw) is None


def test_an_empty_string_is_not_a_key() -> None:
    """A request without a key is unknown, although its hash is configured."""
    assert Keyring([key("")]).find("") is None


def test_a_byte_that_is_not_utf8_is_hashed_as_sent() -> None:
    """A byte of a key that is not UTF-8 is not the same as a question mark."""
    assert hash_key("key\udcff") == hashlib.sha256(b"key\xff").hexdigest()
    assert Keyring([key("key?")]).find("key\udcff") is None


def test_two_keys_of_one_name_are_a_rotation() -> None:
    """Two keys of one name work until the old entry is removed."""
    ring = Keyring([key("old"), key("new")])
    assert [found.name for found in (ring.find("old"), ring.find("new")) if found] == ["web", "web"]


def test_origins_restrict_browser_pages_only() -> None:
    """A request without an `Origin` header is not from a page and is accepted."""
    bound = key("k", origins=frozenset({"https://a.example"}))
    assert bound.allows_origin("https://a.example")
    assert bound.allows_origin(None)
    assert not bound.allows_origin("https://b.example")
    assert not bound.allows_origin("null")
    assert key("k").allows_origin("https://b.example")


def test_new_keys_are_long_and_different() -> None:
    """A new key carries 256 random bits."""
    keys = {new_raw_key() for _ in range(100)}
    assert len(keys) == 100
    assert all(raw.startswith("jay_") and len(raw) == 47 for raw in keys)


def test_demo_keys_are_recognized_by_their_hash() -> None:
    """A demo entry under another name is still a demo key."""
    for raw in (DEMO_TRACK_KEY, DEMO_OPERATOR_KEY):
        assert demo_keys_in([key(raw, "innocent"), key("own")]) == {raw: key(raw, "innocent")}
