"""The session ids that a visitor's request presents, read like the service does."""

import re
from collections.abc import Iterable, Iterator
from itertools import islice

from jay_tracking_client.messages import SESSION_COOKIE
from jay_tracking_client.sessions import SESSION_ID_PATTERN, parse_session_id

MAX_CANDIDATES = 8
_COOKIE = re.compile(rf'(?:^|[;,])[ \t]*{SESSION_COOKIE}[ \t]*=[ \t]*"?({SESSION_ID_PATTERN})"?[ \t]*(?=[;,]|$)')


def candidates(cookies: Iterable[str], headers: Iterable[str], aliases: Iterable[str]) -> list[str]:
    """Return at most 8 ids of `Cookie`, header and alias lines, in this order.

    A proxy may have joined several lines with commas. A value that is not a session id
    is ignored.
    """
    found = [*_in_cookies(cookies), *_in_headers(headers), *_in_headers(aliases)]
    return list(islice(dict.fromkeys(found), MAX_CANDIDATES))


def _in_cookies(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        for found in _COOKIE.finditer(line):
            yield found[1].lower()


def _in_headers(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        for element in line.split(","):
            if session_id := parse_session_id(element.strip(" \t")):
                yield session_id
