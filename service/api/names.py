"""Names that clients give to things: members of a body, parameters of a query."""

import re
from collections.abc import Collection, Mapping

from service import errors

_PLAIN = re.compile(r"[A-Za-z_]{1,32}")


def check_names(given: Mapping[str, object], known: Collection[str], where: str, kind: str) -> None:
    """Raise InvalidRequest when there is a name that is not known."""
    if unknown := given.keys() - set(known):
        # A name is the client's text and may hold anything; only what looks like a name is said back.
        named = min(unknown)
        raise errors.InvalidRequest(
            f"{where} has a {kind} that is not known here; known are: {', '.join(known)}.",
            member=named if _PLAIN.fullmatch(named) else "unknown",
        )
