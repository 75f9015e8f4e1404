"""The body of POST: from bytes to the user id that it consents to, if any."""

import asyncio
import json
import re
import unicodedata
from typing import NoReturn

import orjson
from aiohttp import hdrs, web
from aiohttp.helpers import parse_mimetype

from service import errors
from service.sessions import MAX_USER_ID_LENGTH

MAX_BYTES = 4096
MAX_MEDIA_TYPE = 128
DEADLINE_SECONDS = 5.0

# The spec's curl writes the first, its JavaScript and Kotlin the second.
_MEMBERS = ("user_id", "userId")
_PLAIN_NAME = re.compile(r"[A-Za-z_]{1,32}")


async def read_user_id(request: web.Request) -> str | None:
    """Return the user id of a creation request, None for a guest.

    Raises BodyTooLarge, RequestTimeout, MalformedRequest, UnsupportedMediaType or InvalidRequest.
    """
    body = (await _read(request)).strip() if request.body_exists else b""
    if not body:
        return None
    _check_media_type(request)
    return _user_id(_parse(body))


async def _read(request: web.Request) -> bytes:
    if (request.content_length or 0) > MAX_BYTES:
        raise errors.BodyTooLarge(f"Send at most {MAX_BYTES} bytes; only user_id is read.")
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await request.read()
    except TimeoutError:
        raise errors.RequestTimeout(f"Send the whole body within {DEADLINE_SECONDS:.0f} seconds.") from None
    except web.HTTPRequestEntityTooLarge:
        raise errors.BodyTooLarge(f"Send at most {MAX_BYTES} bytes; only user_id is read.") from None
    except (web.RequestPayloadError, ConnectionError):  # the second: the client went away, and nobody reads this
        raise errors.MalformedRequest("The body breaks off or its chunks are malformed; send it anew.") from None


def _check_media_type(request: web.Request) -> None:
    # Not aiohttp's `content_type`: the e-mail parser behind it raises on odd input, and takes half a second for some.
    text = request.headers.get(hdrs.CONTENT_TYPE, "")
    media_type = parse_mimetype(text.lower() if len(text) <= MAX_MEDIA_TYPE else "")
    if media_type.type != "application" or (media_type.suffix or media_type.subtype) != "json":
        raise errors.UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    charset = media_type.parameters.get("charset", "utf-8")
    if charset not in {"utf-8", "utf8"} or "charset*" in media_type.parameters:
        raise errors.UnsupportedMediaType("Send the body in UTF-8.")
    if hdrs.CONTENT_ENCODING in request.headers:
        raise errors.UnsupportedMediaType("Send the body uncompressed, without Content-Encoding.")


def _parse(body: bytes) -> object:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    # The standard parser takes escaped lone surrogates, which are to be answered with the member's name.
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise errors.MalformedRequest('Send one JSON object in UTF-8, such as {"user_id": "user-123"}.') from None


def _refuse_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")


def _user_id(content: object) -> str | None:
    if not isinstance(content, dict):
        raise errors.MalformedRequest('Send a JSON object, such as {"user_id": "user-123"}.')
    if unknown := content.keys() - set(_MEMBERS):
        # A name is the client's text and may hold anything; only what looks like a member's name is said back.
        named = min(unknown)
        raise errors.InvalidRequest(
            "The body has a member that is not known here; only user_id (or userId) is read.",
            member=named if _PLAIN_NAME.fullmatch(named) else "unknown",
        )
    given = [_checked(member, content[member]) for member in _MEMBERS if member in content]
    if len(given) > 1 and given[0] != given[1]:
        raise errors.InvalidRequest("user_id and userId differ; send one of them.", member="userId")
    return given[0] if given else None


def _checked(member: str, value: object) -> str | None:
    """Return a user id that can be kept, None for null and the empty text, which mean a guest."""
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise errors.InvalidRequest(f"{member} must be a text or null.", member=member)
    if len(value) > MAX_USER_ID_LENGTH:
        raise errors.InvalidRequest(f"{member} must have at most {MAX_USER_ID_LENGTH} characters.", member=member)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise errors.InvalidRequest(f"{member} must have no control characters or lone surrogates.", member=member)
    return value
