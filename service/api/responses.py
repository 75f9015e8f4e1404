"""Constructors of responses, with the headers that all responses of a kind carry."""

from collections.abc import Mapping

from aiohttp import hdrs, web
from multidict import CIMultiDict, istr

from service.api import versions, wire
from service.api.aiohttp_internals.large_body import MIN_BYTES, LargeBody

# Mapping is invariant in its keys, and istr is the faster str for header names.
Headers = Mapping[str, str] | Mapping[istr, str]

# Setting `Server` keeps aiohttp from sending its own version in this header.
_COMMON = {hdrs.SERVER: wire.SERVER_NAME, wire.CONTENT_TYPE_OPTIONS: "nosniff"}
API_HEADERS = {
    **_COMMON,
    wire.API_VERSION: versions.LATEST,
    hdrs.CACHE_CONTROL: "no-store",
    hdrs.VARY: hdrs.ORIGIN,
}

# A page may load and call this service only. uPlot and Swagger UI need nothing more,
# except that Swagger UI has its icons in `data:` URLs.
_CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = {
    **_COMMON,
    hdrs.CACHE_CONTROL: "no-cache",
    hdrs.VARY: hdrs.ORIGIN,  # caches may keep a page, and `cors.py` adds headers to it
    wire.CONTENT_SECURITY_POLICY: _CONTENT_SECURITY_POLICY,
    wire.REFERRER_POLICY: "no-referrer",
}

# Copying a ready multidict is several times cheaper than setting each header on each
# response. The routes of `_OPEN_…` are not part of the versioned API.
_OPEN_JSON = CIMultiDict({**_COMMON, hdrs.CACHE_CONTROL: "no-store", hdrs.CONTENT_TYPE: wire.JSON_CONTENT_TYPE})
_OPEN_TEXT = CIMultiDict({**_COMMON, hdrs.CACHE_CONTROL: "no-store"})
_OPEN_PAGE = CIMultiDict(_PAGE)
_API_JSON = CIMultiDict({**API_HEADERS, hdrs.CONTENT_TYPE: wire.JSON_CONTENT_TYPE})
_API_PROBLEM = CIMultiDict({**API_HEADERS, hdrs.CONTENT_TYPE: wire.PROBLEM_CONTENT_TYPE})
_API_EMPTY = CIMultiDict(API_HEADERS)


def json_response(body: bytes, status: int = 200, more: Headers | None = None) -> web.Response:
    """Return an API response with a JSON body."""
    return _response(_API_JSON, status, body, more)


def problem_document(body: bytes, status: int, more: Headers) -> web.Response:
    """Return an API response with a problem document (RFC 9457)."""
    return _response(_API_PROBLEM, status, body, more)


def empty_response(more: Headers) -> web.Response:
    """Return an API response without a body: 204."""
    return _response(_API_EMPTY, 204, None, more)


def headers_response(more: Headers) -> web.Response:
    """Return an API response whose content is its headers: 200 with an empty body."""
    return _response(_API_EMPTY, 200, b"", more)


def open_json_response(body: bytes, status: int = 200, more: Headers | None = None) -> web.Response:
    """Return a JSON response of a route that is not part of the API, such as /livez."""
    return _response(_OPEN_JSON, status, body, more)


def page_response(body: bytes | None, status: int = 200) -> web.Response:
    """Return a response with a static file.

    Browsers check each time if it has changed.
    """
    return _response(_OPEN_PAGE, status, body, None)


def text_response(body: bytes, content_type: str) -> web.Response:
    """Return a response in plain text, such as metrics."""
    return _response(_OPEN_TEXT, 200, body, {hdrs.CONTENT_TYPE: content_type})


def add_api_headers(response: web.StreamResponse) -> None:
    """Add the API headers to a response that no function of this module made."""
    # Every function of this module sets this header, and aiohttp never does.
    if wire.CONTENT_TYPE_OPTIONS not in response.headers:
        response.headers.update(API_HEADERS)


def _response(headers: "CIMultiDict[str]", status: int, body: bytes | None, more: Headers | None) -> web.Response:
    content = LargeBody(body) if body is not None and len(body) >= MIN_BYTES else body
    response = web.Response(status=status, body=content, headers=headers)
    if more:
        response.headers.update(more)
    return response
