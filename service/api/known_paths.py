"""Suggests a known path in the 404 of a path that is close to it.

The result is always a path of the route table. Nothing that the client sent is in it.
"""

import re
from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from service.api import wire
from service.api.user_id import PLACEHOLDER

# Longer paths get no hint. The longest known path has 48 characters, and a UUID after
# the path of a session makes 65. A raw path may be longer, because a user id in it is
# replaced.
MAX_LENGTH = 96
MAX_RAW_LENGTH = 512
MAX_SEGMENTS = 12
# Dice coefficient of the trigrams, from 0 to 1. `/sesion` has 0.71 with the end of the
# session path, `/ready` has 0.77 with `/readyz`, and `/health` less than 0.2 with any.
CUTOFF = 0.5

# Characters that end a path. A client may have escaped `?` or `#`, or left it out.
_QUERY = re.compile("[?#&;]")
# Characters around a path that was copied from a sentence.
_PUNCTUATION = " \t.,:'\"<>()"


class KnownPaths:
    """Finds the known path that is closest to another path.

    Anyone can cause a 404, so the cost is bounded: about 0.1 ms, where difflib takes
    1.3 ms.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        """Take the paths of the route table, with `{user_id}` for a user id."""
        known = [
            path
            for path in dict.fromkeys(paths)
            if not path.startswith(wire.STATIC_PATH) and not path.endswith(wire.VISITOR_PATH)
        ]
        spellings: dict[str, str] = {}
        for path in sorted(known, key=len):
            for spelling in _spellings(path):
                spellings.setdefault(spelling, path)
        spellings |= {path.strip("/"): path for path in known}
        self._known = [(_trigrams(spelling), path) for spelling, path in spellings.items()]

    def nearest(self, raw_path: str) -> str | None:
        """Return the known path closest to a path, or None if none is close."""
        if len(raw_path) > MAX_RAW_LENGTH:
            return None
        segments = list(_segments(raw_path.partition("?")[0]))
        if not 0 < len(segments) <= MAX_SEGMENTS:
            return None
        for number, segment in enumerate(segments[:-1], 1):
            if _similarity(_trigrams(segment), _USERS) >= CUTOFF:
                # Clients choose the user id, so any string may be here.
                segments[number] = PLACEHOLDER
        path = "/".join(segments)
        if len(path) > MAX_LENGTH:
            return None
        trigrams = _trigrams(path)
        similarity, nearest = max(((_similarity(trigrams, known), path) for known, path in self._known))
        return nearest if similarity >= CUTOFF else None


def _spellings(path: str) -> Iterator[str]:
    """Yield a known path, and its ends without the first segments of its prefix."""
    rest = path.strip("/")
    yield rest
    if path.startswith(wire.OPERATOR_PATH):
        for _ in range(wire.OPERATOR_PATH.count("/")):
            rest = rest.partition("/")[2]
            yield rest


def _segments(raw_path: str) -> Iterator[str]:
    """Yield the segments of a path in lower case, without stray punctuation."""
    path = _QUERY.split(unquote(raw_path).replace("\\", "/"), maxsplit=1)[0]
    for segment in path.lower().split("/"):
        if stripped := segment.strip(_PUNCTUATION):
            yield stripped


def _trigrams(string: str) -> frozenset[str]:
    padded = f"  {string} "
    return frozenset(padded[start : start + 3] for start in range(len(padded) - 2))


def _similarity(one: frozenset[str], other: frozenset[str]) -> float:
    return 2 * len(one & other) / (len(one) + len(other))


_USERS = _trigrams("users")
