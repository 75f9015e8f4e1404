"""Checks of the names that clients send: fields of a body, parameters of a query."""

import re
from collections.abc import Collection, Iterable
from typing import Literal, TypeAlias

from service import errors

Kind: TypeAlias = Literal["field", "parameter"]

# An error repeats an unknown name only if the name matches. In a query that was written
# by hand, a value such as a user id may be in the place of a name. So names of
# parameters with digits do not match.
_PLAIN: dict[Kind, re.Pattern[str]] = {
    "field": re.compile(r"[A-Za-z0-9_-]{1,32}"),
    "parameter": re.compile(r"[A-Za-z_]{1,32}"),
}
_HIDDEN = "unknown"


def check_names(names: Iterable[str], known: Collection[str], where: str, kind: Kind) -> None:
    """Raise InvalidRequest if a name is not known.

    `where` begins the sentence of the error, such as "The query".
    """
    if unknown := set(names) - set(known):
        shown = {shown_name(name, kind) for name in unknown} - {_HIDDEN}
        raise errors.InvalidRequest(
            f"{where} has an unknown {kind}. Known are: {', '.join(known)}.",
            member=min(shown, default=_HIDDEN),
        )


def shown_name(name: str, kind: Kind) -> str:
    """Return a name as an error may repeat it."""
    return name if _PLAIN[kind].fullmatch(name) else _HIDDEN
