"""Reads the media type of a body with `aiohttp.helpers.parse_mimetype`.

Slow and failing parser of Content-Type
---------------------------------------
Without it: `request.content_type` uses the e-mail parser of the standard library. It
    raises on odd parameters, and takes half a second for 8,000 semicolons.
Upstream: https://github.com/aio-libs/aiohttp/issues/10889 is about its default type. No
    issue was found about its errors and its time.
Versions: 3.14.
Test: tests/api/test_transport.py
    test_any_content_type_is_answered_at_once
Can go when: `request.content_type` never raises and takes linear time.
"""

from aiohttp import hdrs, web
from aiohttp.helpers import MimeType, parse_mimetype

# Real media types are shorter. The limit bounds the time of the parser.
MAX_LENGTH = 128


def media_type_of(request: web.Request) -> MimeType:
    """Return the media type in lower case, or an empty one if it is too long."""
    # There is one line at most: aiohttp's parser rejects two.
    value = request.headers.get(hdrs.CONTENT_TYPE, "")
    return parse_mimetype(value.lower() if len(value) <= MAX_LENGTH else "")
