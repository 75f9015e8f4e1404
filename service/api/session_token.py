"""The session token in requests and responses.

`candidates` reads it from cookies and headers. `SessionCookie` writes `Set-Cookie`.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from aiohttp import hdrs, web
from multidict import CIMultiDictProxy

from service.api import wire
from service.api.field_lines import elements
from service.config.settings import CookieSettings
from service.sessions import SESSION_ID_PATTERN, parse_session_id

MAX_CANDIDATES = 8

# The session that a request has created, found or ended, for its record and its span.
SESSION_OF_REQUEST = web.RequestKey("session_id", str)

# http.cookies and aiohttp keep one of several cookies of one name. This service reads
# all of them. A pair starts at the start of the line or after the last pair, so a
# cookie whose name only ends with this name does not match. A comma ends a pair too,
# because some proxies join two Cookie lines with a comma.
# The pattern starts with the name, because `re` finds it 0.8 µs faster than a
# separator.
_COOKIE = re.compile(rf'{wire.SESSION_TOKEN}[ \t]*=[ \t]*"?({SESSION_ID_PATTERN})"?[ \t]*(?=[;,]|$)')
_EXPIRED = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


def candidates(headers: CIMultiDictProxy[str]) -> tuple[str, ...]:
    """Return the session ids that a request presents, in order of preference.

    The order is: every cookie of exactly this name as sent, in all `Cookie` lines,
    then the header, then its alias for clients behind proxies that drop header names
    with an underscore. A header may have several lines, or several values joined by a
    comma. A value that is not a UUID is ignored. The result has at most 8 ids, without
    repetitions.
    """
    names = (wire.SESSION_TOKEN, wire.SESSION_TOKEN_ALIAS)
    lines = [line for name in names if name in headers for line in headers.getall(name)]
    return candidates_in(headers.getall(hdrs.COOKIE, ()), lines)


def candidates_in(cookies: Iterable[str], values: Iterable[str]) -> tuple[str, ...]:
    """Return the candidates of `Cookie` lines, then of lines of the session headers."""
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
    """Writes `Set-Cookie` to set and to delete the cookie.

    Both share every attribute. Otherwise browsers would keep the cookie.
    """

    def __init__(self, settings: CookieSettings, ttl_seconds: int) -> None:
        # A browser ignores a cookie with the prefix `__Secure-` and no `Secure`, even
        # to delete it.
        flags = ["Secure", "HttpOnly", f"SameSite={settings.same_site}"]
        if settings.domain:
            flags.insert(0, f"Domain={settings.domain}")
        if settings.partitioned:
            flags.append("Partitioned")
        self._path = f"Path={settings.path}"
        self._flags = "; ".join(flags)
        self._ttl_seconds = ttl_seconds
        self.deletion = f"{wire.SESSION_TOKEN}=; {self._path}; {_EXPIRED}; {self._flags}"

    def setting(self, session_id: str, max_age: int | None = None) -> str:
        """Return the `Set-Cookie` value that sets the cookie.

        It is kept for `max_age` seconds, by default for the lifetime of a new session.
        """
        seconds = self._ttl_seconds if max_age is None else max_age
        return f"{wire.SESSION_TOKEN}={session_id}; {self._path}; Max-Age={seconds}; {self._flags}"
