"""The session ids that a request presents, by the rules of the service."""

import re
from collections.abc import Iterable, Sequence

COOKIE = "__Secure-jay_tracking"
HEADERS = ("__secure-jay_tracking", "x-jay-tracking")
MAX_CANDIDATES = 8

_UUID = "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
_ID = re.compile(_UUID)
_COOKIE = re.compile(rf'(?:^|[;,])[ \t]*{COOKIE}[ \t]*=[ \t]*"?({_UUID})"?[ \t]*(?=[;,]|$)')


def candidates(cookie_lines: Iterable[str], header_lines: Iterable[str]) -> Sequence[str]:
    """Return the ids in order of preference: cookies, then the header and its alias.

    `header_lines` has the values of both headers, in the order of `HEADERS`. Strings
    that are no UUID are ignored. There are at most 8 ids, in lower case.
    """
    found = [session_id for line in cookie_lines for session_id in _COOKIE.findall(line)]
    values = (value.strip() for line in header_lines for value in line.split(","))
    found += [value for value in values if _ID.fullmatch(value)]
    return list(dict.fromkeys(map(str.lower, found)))[:MAX_CANDIDATES]
