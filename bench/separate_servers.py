"""Sessions on several servers that do not know of each other, for comparison."""

from collections.abc import Sequence

from service.deferred import Deferred
from service.sessions import SHARD_COUNT, Session, SessionStore, shard_of


class SeparateServers(SessionStore):
    """Spreads sessions over stores that do not know of each other."""

    def __init__(self, stores: Sequence[SessionStore]) -> None:
        self._stores = stores

    def create(self, session: Session) -> Deferred[bool]:
        """Create in the session's store."""
        return self._store_of(session.id).create(session)

    def create_once(self, session: Session, request_hash: str) -> Deferred[Session | None]:
        """Create in the session's store."""
        return self._store_of(session.id).create_once(session, request_hash)

    def find(self, candidates: Sequence[str]) -> Deferred[Session | None]:
        """Read from the store of the only candidate."""
        (session_id,) = candidates
        return self._store_of(session_id).find(candidates)

    def end(self, candidates: Sequence[str]) -> Deferred[Sequence[str]]:
        """End in the store of the only candidate."""
        (session_id,) = candidates
        return self._store_of(session_id).end(candidates)

    def _store_of(self, session_id: str) -> SessionStore:
        return self._stores[shard_of(session_id) * len(self._stores) // SHARD_COUNT]
