"""A short memory of live sessions. It never remembers that a session is missing."""

from collections import OrderedDict
from collections.abc import Iterable
from datetime import datetime
from math import inf
from threading import Lock

from jay_tracking_client.options import Options
from jay_tracking_client.sessions import Session


class SessionCache:
    """Live sessions by id, each with the time of its lookup.

    A session is remembered for `cache_seconds`, and not beyond its expiry. The expiry
    is compared with the clock of the service, so a wrong clock of this machine does not
    matter. A full cache drops the least recently read session. Threads may share a
    cache.

    A lookup that was sent before a session ended may return it after the end. So the
    times of the last `cache_size` changes are kept, and such a session is not
    remembered.
    """

    def __init__(self, options: Options) -> None:
        self._options = options
        self._entries: OrderedDict[str, tuple[float, Session]] = OrderedDict()
        self._forgotten_at: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()

    def find(self, session_id: str) -> Session | None:
        """Return a remembered session."""
        with self._lock:
            until, session = self._entries.get(session_id, (0.0, None))
            if session is None:
                return None
            if self._options.clock() >= until:
                del self._entries[session_id]
                return None
            self._entries.move_to_end(session_id)
            return session

    def remember(self, sessions: Iterable[Session], asked_at: float, answered_at: datetime | None) -> None:
        """Remember the sessions of a lookup.

        `asked_at` is the client's time before the request, and `answered_at` is the
        service's time. Without the latter nothing is remembered.
        """
        if not self._options.cache_seconds or answered_at is None:
            return
        with self._lock:
            for session in sessions:
                if asked_at <= self._forgotten_at.get(session.id, -inf):
                    continue
                left = (session.expires_at - answered_at).total_seconds()
                self._entries[session.id] = (asked_at + min(self._options.cache_seconds, left), session)
                self._entries.move_to_end(session.id)
            while len(self._entries) > self._options.cache_size:
                self._entries.popitem(last=False)

    def forget(self, session_id: str) -> None:
        """Forget a session, which was changed or ended."""
        if not self._options.cache_seconds:
            return
        with self._lock:
            self._entries.pop(session_id, None)
            self._forgotten_at[session_id] = self._options.clock()
            self._forgotten_at.move_to_end(session_id)
            if len(self._forgotten_at) > self._options.cache_size:
                self._forgotten_at.popitem(last=False)
