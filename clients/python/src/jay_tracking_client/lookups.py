"""Splits the ids of a lookup into batches and reads the result, for both clients."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from jay_tracking_client.cache import SessionCache
from jay_tracking_client.operations import MAX_IDS
from jay_tracking_client.sessions import Session, parse_session_id


def check_ids(strings: Iterable[str]) -> None:
    """Raise TypeError for a string. Each of its characters would be taken for an id."""
    if isinstance(strings, str):
        raise TypeError("pass a list of ids, or one id to find()")


class Lookup:
    """The lookup of any number of strings, each of which may be an id or not."""

    def __init__(self, strings: Iterable[str], cache: SessionCache) -> None:
        check_ids(strings)
        self._ids = {string: parse_session_id(string) for string in strings}
        self._live: dict[str, Session] = {}
        self._wanted = []
        for session_id in dict.fromkeys(filter(None, self._ids.values())):
            if session := cache.find(session_id):
                self._live[session_id] = session
            else:
                self._wanted.append(session_id)

    def batches(self) -> Iterator[Sequence[str]]:
        """Yield the ids of each request."""
        pending = iter(self._wanted)
        while ids := tuple(islice(pending, MAX_IDS)):
            yield ids

    def add(self, sessions: Iterable[Session]) -> None:
        """Add the live sessions of a batch."""
        self._live.update((session.id, session) for session in sessions)

    def result(self) -> dict[str, Session]:
        """Return the live sessions by the strings that were asked for."""
        return {string: self._live[key] for string, key in self._ids.items() if key in self._live}
