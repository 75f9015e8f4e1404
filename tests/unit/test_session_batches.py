"""An end of several sessions, of which some have a successor in another shard."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from service.deferred import Deferred
from service.errors import StoreUnavailable
from service.storage.session_batches import BatchingSessionStore
from service.storage.session_value import PENDING, POINTER


def end_of(replies: Sequence[str] | Exception, successors: dict[str, str]) -> Deferred[Sequence[str]]:
    """Return the end of sessions, given the replies and the sources of successors."""

    async def end_successor(reply: str) -> str:
        return successors.pop(reply, reply)

    ended: Deferred[Sequence[str]] = Deferred()
    ended.resolve(replies)
    none = dict.fromkeys(("create_many", "create_many_once", "find_many", "end_many"))
    store: Any = SimpleNamespace(connection=SimpleNamespace(groups_by_shard=True), **none)
    coalesce: Any = lambda *_: SimpleNamespace(submit=lambda _: ended)  # noqa: E731 - one expression
    changes: Any = SimpleNamespace(end_successor=end_successor)
    return BatchingSessionStore(store, coalesce, changes).end(["a", "b", "c"])


async def test_successors_end_beside_sessions_without_one() -> None:
    """Each successor ends, also if another session of the request has none."""
    live, gone = f"{POINTER.decode()}live", f"{PENDING.decode()}gone"
    successors = {live: "tv", gone: ""}
    assert await end_of(["web", live, gone], successors) == ["web", "tv"]
    assert not successors


async def test_an_end_that_fails_has_its_error() -> None:
    """An error of Redis reaches the request."""
    with pytest.raises(StoreUnavailable):
        await end_of(StoreUnavailable("TimeoutError"), {})
