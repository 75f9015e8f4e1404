"""The API reference.

`openapi.yaml` is written by hand, and tests compare it with the service.
"""

import asyncio
from pathlib import Path
from typing import Any

import orjson
import yaml
from aiohttp import web

from service.api.responses import open_json_response

_FILE = Path(__file__).parent.parent / "openapi.yaml"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # 13 ms in C, 100 ms in Python


def openapi_yaml() -> str:
    """Return the document as YAML, as it is in the file."""
    return _FILE.read_text("utf-8")


def openapi_document() -> dict[str, Any]:
    """Return the parsed document."""
    content: dict[str, Any] = yaml.load(openapi_yaml(), _Loader)  # noqa: S506 - both are safe loaders
    return content


def openapi_json() -> bytes:
    """Return the document as indented JSON."""
    return orjson.dumps(openapi_document(), option=orjson.OPT_INDENT_2)


class OpenapiHandler:
    """GET of `/openapi.json`."""

    def __init__(self) -> None:
        self._json: bytes | None = None

    async def get_document(self, _: web.Request) -> web.Response:
        """Answer 200 with the document as JSON. The first request converts the file."""
        if self._json is None:
            self._json = await asyncio.to_thread(openapi_json)
        return open_json_response(self._json)
