"""The API keys that the supervisor shares with its workers."""

import os

import pytest

from service.api_keys import ApiKey, Scope, hash_key
from service.server.shared_keys import SharedKeys


def keys(*names: str) -> tuple[ApiKey, ...]:
    return tuple(ApiKey(name, hash_key(name), frozenset({Scope.TRACK})) for name in names)


@pytest.mark.parametrize("can_name", [True, False])
def test_keys_are_read_as_they_were_written(monkeypatch: pytest.MonkeyPatch, *, can_name: bool) -> None:
    """Fewer keys replace more, with a file in memory or in a folder."""
    if not can_name:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    shared = SharedKeys(keys("one", "two", "three"))
    assert shared.get() == keys("one", "two", "three")
    shared.put(keys("one"))
    assert shared.get() == keys("one")
    shared.put(())
    assert shared.get() == ()


def test_keys_that_are_half_written_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A reader that meets a write returns nothing."""
    shared = SharedKeys(keys("one"))
    pwrite = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, frame, offset: pwrite(file, frame[:40], offset))
    shared.put(keys("two"))
    assert shared.get() is None
