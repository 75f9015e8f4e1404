"""Names of request headers that CORS may allow pages to send."""

import re
from collections.abc import Sequence

from service.config.value_checks import Each

# One header of the preflight response lists them all. 32 names of 64 characters are 2
# KB.
MAX_NAMES = 32
_NAME = re.compile(r"[A-Za-z0-9!#$%&'+.^_`|~-]{1,64}")  # RFC 9110's token without `*`

# Only browsers set these, never a page (WHATWG Fetch, "forbidden request-header").
_FORBIDDEN = re.compile(
    "accept-charset|accept-encoding|access-control-request-(headers|method)|connection|content-length|cookie2?|date"
    "|dnt|expect|host|keep-alive|origin|referer|set-cookie|te|trailer|transfer-encoding|upgrade|via|proxy-.*|sec-.*",
    re.IGNORECASE,
)


def check_request_headers(names: Sequence[str]) -> str | None:
    """Return what the list must be instead, or None if CORS can allow it."""
    if len(names) > MAX_NAMES:
        return f"must have at most {MAX_NAMES} names"
    return Each(_name_error)(names)


def _name_error(name: str) -> str | None:
    if name == "*":
        return "must not be `*`: pages call with cookies, and browsers then read it as a name"
    if not _NAME.fullmatch(name):
        return "must be the name of a header, such as x-client-version"
    if _FORBIDDEN.fullmatch(name):
        return f"must be a header that pages can set, and pages cannot set {name.lower()}"
    return None
