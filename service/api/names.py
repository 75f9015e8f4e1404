"""Checks of the names that clients send: fields of a body, parameters of a query."""

import re
from collections.abc import Collection, Mapping

from service import errors

# An error repeats an unknown name only if the name matches. In a query that was written
# by hand, a value such as a user id may be in the place of a name. So names of
# parameters with digits do not match.
_PLAIN = {"field": re.compile(r"[A-Za-z0-9_-]{1,32}"), "parameter": re.compile(r"[A-Za-z_]{1,32}")}


def check_names(names: Mapping[str, object], known: Collection[str], where: str, kind: str) -> None:
    """Raise InvalidRequest if a name is not known. `kind` is `field` or `parameter`."""
    if unknown := set(names) - set(known):
        plain = (name for name in sorted(unknown) if _PLAIN[kind].fullmatch(name))
        raise errors.InvalidRequest(
            f"{where} has an unknown {kind}. Known are: {', '.join(known)}.",
            member=next(plain, "unknown"),
        )
