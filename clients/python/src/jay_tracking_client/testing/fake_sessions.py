"""The sessions of the fake service: a store in memory with a clock that tests move."""

import hashlib
import random
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from jay_tracking_client.sessions import Session

DEFAULT_SOURCE = "jay.api.playout.1.0.0"
DAY_SECONDS = 86_400
START = datetime(2026, 1, 1, 12, tzinfo=UTC)


class FakeSessions:
    """Creates, finds, ends and changes sessions. Each run makes the same ids."""

    def __init__(self, ttl_seconds: int = DAY_SECONDS) -> None:
        self.now = START
        self._ttl = timedelta(seconds=ttl_seconds)
        self._random = random.Random(0)  # noqa: S311 - ids of a fake are the same in each run
        self._live: dict[str, Session] = {}
        self._successors: dict[str, str] = {}
        self._created: dict[tuple[str, str | None], str] = {}

    def create(self, user_id: str | None = None, idempotency_key: str | None = None) -> Session | None:
        """Return a new session, or that of the key, or None if it has ended."""
        known = self._created.get((idempotency_key, user_id)) if idempotency_key else None
        if known:
            return self.find(known)
        session = self._new(Session("", self.now, DEFAULT_SOURCE, self.now + self._ttl, user_id))
        if idempotency_key:
            self._created[idempotency_key, user_id] = session.id
        return session

    def find(self, session_id: str) -> Session | None:
        """Return a live session."""
        session = self._live.get(session_id)
        return session if session and self.now < session.expires_at else None

    def end(self, session_ids: Iterable[str]) -> None:
        """End sessions, and the successors of replaced ids."""
        for session_id in session_ids:
            self._live.pop(self._current(session_id), None)

    def change_user(self, session_ids: Iterable[str], user_id: str | None) -> Session | None:
        """Replace the first live session by one with or without a user id.

        A replaced id reaches its successor.
        """
        session = next(filter(None, (self.find(self._current(one)) for one in session_ids)), None)
        if session is None or session.user_id == user_id:
            return session
        changed = self._new(replace(session, user_id=user_id))
        del self._live[session.id]
        self._successors[session.id] = changed.id
        return changed

    def _new(self, session: Session) -> Session:
        session_id = str(uuid.UUID(int=self._random.getrandbits(128), version=4))
        ref = hashlib.sha256(f"ref {session_id}".encode()).hexdigest()[:32]
        self._live[session_id] = replace(session, id=session_id, ref=ref)
        return self._live[session_id]

    def _current(self, session_id: str) -> str:
        while session_id in self._successors:
            session_id = self._successors[session_id]
        return session_id
