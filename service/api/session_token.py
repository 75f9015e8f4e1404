"""The session token on the wire: candidates in from cookies and headers, cookie and header out."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from aiohttp import hdrs

from service.api import wire
from service.api.field_lines import elements
from service.config.settings import CookieSettings
from service.sessions import SESSION_ID_PATTERN, parse_session_id

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

MAX_CANDIDATES = 8

# http.cookies and aiohttp keep one of several cookies of a name. This service reads them all.
# A cookie whose name only ends in ours, or one without a name, does not match: the pair has to
# begin where the line or the last pair ended. A comma ends a pair too, as some proxies join two
# Cookie lines with it.
# The pattern begins with the name, for which the engine searches 0.8 µs faster than for a
# separator. `_ids_of_cookies` looks at what is before the name.
_COOKIE = re.compile(rf'{wire.SESSION_TOKEN}[ \t]*=[ \t]*"?({SESSION_ID_PATTERN})"?[ \t]*(?=[;,]|$)')
_EXPIRED = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


def candidates(headers: "CIMultiDictProxy[str]") -> tuple[str, ...]:
    """Return the session ids that a request presents, in the order in which they are tried.

    First every cookie of exactly our name in the order sent, over all `Cookie` lines and
    duplicates. Then our header, then its alias for clients behind proxies that drop header
    names with an underscore. A header may have several lines, or several values joined by a
    comma. A value that is not a UUID is ignored. At most 8, without repetitions.
    """
    names = (wire.SESSION_TOKEN, wire.SESSION_TOKEN_ALIAS)
    lines = [line for name in names if name in headers for line in headers.getall(name)]
    return candidates_in(headers.getall(hdrs.COOKIE, ()), lines)


def candidates_in(cookies: Iterable[str], values: Iterable[str]) -> tuple[str, ...]:
    """Return the candidates of `Cookie` lines and of lines of the session headers, in this order."""
    found = [session_id.lower() for line in cookies for session_id in _ids_of_cookies(line)]
    for line in values:
        # One value is the usual case. Splitting it first would cost 0.3 µs.
        elements_of = elements(line) if "," in line else (line,)
        found += filter(None, map(parse_session_id, elements_of))
    return tuple(found) if len(found) < 2 else tuple(islice(dict.fromkeys(found), MAX_CANDIDATES))  # noqa: PLR2004


def _ids_of_cookies(line: str) -> Iterator[str]:
    for found in _COOKIE.finditer(line):
        before = line[: found.start()].rstrip(" \t")
        if not before or before[-1] in ";,":
            yield found[1]


class SessionCookie:
    """Writes `Set-Cookie`. Setting and deleting share every attribute, or browsers would not match the two."""

    def __init__(self, settings: CookieSettings, ttl_seconds: int) -> None:
        # A browser ignores a cookie with the prefix `__Secure-` that is not `Secure`, even to delete it.
        flags = ["Secure", "HttpOnly", f"SameSite={settings.same_site}"]
        if settings.domain:
            flags.insert(0, f"Domain={settings.domain}")
        if settings.partitioned:
            flags.append("Partitioned")
        self._path = f"Path={settings.path}"
        self._flags = "; ".join(flags)
        self._lifetime = f"Max-Age={ttl_seconds}"
        self.deletion = f"{wire.SESSION_TOKEN}=; {self._path}; {_EXPIRED}; {self._flags}"

    def setting(self, session_id: str) -> str:
        """Return the `Set-Cookie` value that hands the browser a session; it lives as long as the session."""
        return f"{wire.SESSION_TOKEN}={session_id}; {self._path}; {self._lifetime}; {self._flags}"
