"""The users of sessions: contracts of the stores that set, list and erase them.

There is no I/O here. `service/storage/user_changes.py` implements `ConsentStore`, and
`service/storage/user_store.py` implements `UserStore`.
"""

from collections.abc import Sequence
from typing import Protocol

from service.counts import CountRange, UserCounts
from service.sessions import Session


class ConsentStore(Protocol):
    """Adds a user id to the session of a visitor, or removes it."""

    async def set_user(self, candidates: Sequence[str], user_id: str | None) -> Session | None:
        """Replace the first live candidate by a session with this user, or with none.

        Returns the new session: another id, the same start, source and expiry. Returns
        the session as it is when it has this user already, and None when no candidate
        is live. A candidate that was replaced is tried after the live ones, as the id
        of its successor. When the user id is None, the successors of all candidates go
        on without one, so that no old id leaves a user id behind. Called again with the
        same arguments, the method returns the same session and counts once.

        Raises StoreUnavailable, Overloaded, and TooManyRequests for a user id after
        `MAX_USER_CHANGES` changes.
        """


class UserStore(Protocol):
    """The data of one user.

    All methods raise StoreUnavailable and Overloaded, and UnknownUserSecret while they
    could miss sessions under a secret that is not configured.
    """

    async def find_sessions(self, user_id: str) -> Sequence[Session]:
        """Return the live sessions of a user, oldest first."""

    async def count(self, user_id: str, requested: CountRange) -> UserCounts:
        """Return the number of live sessions, and bounds of those created."""

    async def erase(self, user_id: str, now_us: int) -> int:
        """End all sessions of a user and forget the id. Returns how many were ended.

        No session that was created before the call survives it. They count as ended at
        `now_us`, in microseconds since the epoch.
        """

    async def rewrite_append_only_file(self) -> bool:
        """Start a rewrite of Redis's append-only file.

        Returns False when it does not start.
        """
