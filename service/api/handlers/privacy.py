"""The privacy notice as JSON and as a page, and Global Privacy Control.

The API keys may change while the service runs, so each request makes the notice. That
takes 0.1 ms.
"""

from collections.abc import Callable, Iterator
from html import escape

import orjson
from aiohttp import web

from service.api.auth import check_version
from service.api.handlers.pages import HTML, STATIC_FOLDER, answer_page, etag_of
from service.api.privacy_notice import Notice
from service.api.privacy_sentences import EVERY_KEY
from service.api.responses import json_response, open_json_response

_PLACE = "<!-- notice -->"


class PrivacyHandlers:
    """GET of the notice. None of the routes needs a key."""

    def __init__(self, make_notice: Callable[[], Notice]) -> None:
        self._make_notice = make_notice
        self._page = (STATIC_FOLDER / "privacy.html").read_text("utf-8")

    async def get_document(self, request: web.Request) -> web.Response:
        """Answer 200 with the notice as JSON."""
        check_version(request)
        return json_response(orjson.dumps(self._make_notice().document()))

    async def get_page(self, request: web.Request) -> web.Response:
        """Answer 200 with the notice as a page, or 304 to a browser that has it."""
        body = self._page.replace(_PLACE, "\n".join(_html(self._make_notice()))).encode()
        return answer_page(request, body, etag_of(body), HTML)

    async def get_gpc(self, _: web.Request) -> web.Response:
        """Answer 200 with whether every session respects Global Privacy Control.

        Source: W3C, Global Privacy Control, "GPC Support Resource".
        """
        is_respected = self._make_notice().fields["global_privacy_control"] == EVERY_KEY
        return open_json_response(orjson.dumps({"gpc": is_respected}))


def _html(notice: Notice) -> Iterator[str]:
    for section in notice.sections:
        yield f'<section class="panel">\n<h2>{escape(section.title)}</h2>\n<ul>'
        for statement in section.statements:
            yield f"<li>{_linked(statement.text)}</li>"
        yield "</ul>\n</section>"


def _linked(text: str) -> str:
    """Return a sentence as HTML, with links for its URLs and email addresses."""
    return " ".join(map(_word, text.split(" ")))


def _word(word: str) -> str:
    stem = word.rstrip(".")
    rest = escape(word[len(stem) :])
    if stem.startswith("https://"):
        return f'<a href="{escape(stem)}">{escape(stem)}</a>{rest}'
    if "@" in stem:
        return f'<a href="mailto:{escape(stem)}">{escape(stem)}</a>{rest}'
    return escape(word)
