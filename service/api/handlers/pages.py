"""Static pages, and the scripts, styles and images that they load.

Their Content-Security-Policy lets a page load files of this service only. Each file is
read from disk once. A browser that has the current version gets 304.
"""

import hashlib
from functools import cached_property
from pathlib import Path

from aiohttp import ETag, hdrs, web

from service.api.field_lines import combined, elements
from service.api.responses import page_response

STATIC_FOLDER = Path(__file__).parent.parent / "static"
HTML = "text/html; charset=utf-8"
_CONTENT_TYPES = {
    ".html": HTML,
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}


class Page:
    """The handler of one file. `name` is relative to the folder of static files."""

    def __init__(self, name: str) -> None:
        self._file = STATIC_FOLDER / name
        self._content_type = _CONTENT_TYPES[self._file.suffix]

    async def get(self, request: web.Request) -> web.Response:
        """Answer 200 with the file, or 304 to a browser that has it."""
        body, etag = self._content
        return answer_page(request, body, etag, self._content_type)

    @cached_property
    def _content(self) -> tuple[bytes, str]:
        body = self._file.read_bytes()
        return body, etag_of(body)


def etag_of(body: bytes) -> str:
    """Return the tag of a page, which changes with its content."""
    return hashlib.sha256(body).hexdigest()[:16]


def answer_page(request: web.Request, body: bytes, etag: str, content_type: str) -> web.Response:
    """Answer 200 with a page, or 304 to a browser that has it."""
    # aiohttp's `if_none_match` reads only the first of several lines.
    known = {tag.removeprefix("W/") for tag in elements(combined(request.headers, hdrs.IF_NONE_MATCH))}
    is_known = bool(known & {f'"{etag}"', "*"})
    response = page_response(None, 304) if is_known else page_response(body)
    if not is_known:
        response.headers[hdrs.CONTENT_TYPE] = content_type
    response.etag = ETag(etag)
    return response


def static_files() -> list[str]:
    """Return the names of all files that pages load. Each page has its own route."""
    names = (
        file.relative_to(STATIC_FOLDER).as_posix()
        for file in STATIC_FOLDER.rglob("*")
        if file.suffix in _CONTENT_TYPES
    )
    return sorted(name for name in names if not name.endswith(".html"))
