"""The session token on the wire: candidates in from cookies and headers, cookie and header out."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aiohttp import hdrs

from service.api import wire
from service.sessions import parse_session_id
from service.settings import CookieSettings

if TYPE_CHECKING:
    from multidict import CIMultiDictProxy

MAX_CANDIDATES = 8

_EXPIRED = "Max-Age=0; Expires=Thu, 01 Jan 1970 00:00:00 GMT"


def candidates(headers: "CIMultiDictProxy[str]") -> tuple[str, ...]:
    """Return the session ids that a request presents, in the order in which they are to be tried.

    First every cookie of exactly our name in the order sent, over all `Cookie` lines and duplicates; then our
    header; then its alias for clients behind proxies that drop header names with an underscore. What is not a
    UUID counts as absent. At most 8, without repetitions.
    """
    found: dict[str, None] = {}
    for text in _presented(headers):
        session_id = parse_session_id(text)
        if session_id is not None:
            found[session_id] = None
            if len(found) == MAX_CANDIDATES:
                break
    return tuple(found)


def _presented(headers: "CIMultiDictProxy[str]") -> Iterator[str]:
    # http.cookies and aiohttp keep one of several cookies of a name, and only the first Cookie line.
    for line in headers.getall(hdrs.COOKIE, ()):
        if wire.SESSION_TOKEN in line:
            for pair in line.split(";"):
                name, _, value = pair.partition("=")
                if name.strip() == wire.SESSION_TOKEN:
                    yield value.strip().strip('"')
    yield from headers.getall(wire.SESSION_TOKEN, ())
    yield from headers.getall(wire.SESSION_TOKEN_ALIAS, ())


class SessionCookie:
    """Writes `Set-Cookie`. Setting and deleting share every attribute, or browsers would not match the two."""

    def __init__(self, settings: CookieSettings, ttl_seconds: int) -> None:
        attributes = [f"Path={settings.path}"]
        if settings.domain:
            attributes.append(f"Domain={settings.domain}")
        # A browser ignores a cookie with the prefix `__Secure-` that is not `Secure`, even to delete it.
        attributes += ["Secure", "HttpOnly", f"SameSite={settings.same_site}"]
        if settings.partitioned:
            attributes.append("Partitioned")
        scope, *flags = attributes
        self._scope = scope
        self._flags = "; ".join(flags)
        self._lifetime = f"Max-Age={ttl_seconds}"
        self.deletion = f"{wire.SESSION_TOKEN}=; {self._scope}; {_EXPIRED}; {self._flags}"

    def setting(self, session_id: str) -> str:
        """Return the `Set-Cookie` value that hands the browser a session; it lives as long as the session."""
        return f"{wire.SESSION_TOKEN}={session_id}; {self._scope}; {self._lifetime}; {self._flags}"
