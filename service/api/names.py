"""Names that clients choose: fields of a body, parameters of a query."""

import re
from collections.abc import Collection, Mapping

from service import errors

# In a query that was put together by hand, a value easily takes the place of a name. So fewer
# names are repeated there than of a body.
_PLAIN = {"field": re.compile(r"[A-Za-z0-9_-]{1,32}"), "parameter": re.compile(r"[A-Za-z_]{1,32}")}


def check_names(given: Mapping[str, object], known: Collection[str], where: str, kind: str) -> None:
    """Raise InvalidRequest when there is a name that is not known. `kind` is `field` or `parameter`."""
    if unknown := given.keys() - set(known):
        # The client chooses the name, so it may hold anything. Only a name that looks like one is repeated.
        plain = (name for name in sorted(unknown) if _PLAIN[kind].fullmatch(name))
        raise errors.InvalidRequest(
            f"{where} has an unknown {kind}. Known are: {', '.join(known)}.",
            member=next(plain, "unknown"),
        )
