"""A file without a name."""

import gc
import os

import pytest

from service.anonymous_file import AnonymousFile


@pytest.mark.parametrize("has_files_in_memory", [True, False])
def test_a_file_that_is_gone_is_closed(monkeypatch: pytest.MonkeyPatch, *, has_files_in_memory: bool) -> None:
    """A file leaves no descriptor behind, and no other program gets it."""
    if not has_files_in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)
    file = AnonymousFile("jay-test")
    descriptor = file.fileno()
    assert not os.get_inheritable(descriptor)
    del file
    gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)
