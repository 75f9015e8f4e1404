"""Reads JSON bodies: checks size, deadline, media type and field names."""

import asyncio
import json
from collections.abc import Collection, Sequence
from typing import Any, NoReturn

import orjson
from aiohttp import hdrs, web

from service import errors
from service.api.aiohttp_internals.expectation import is_waiting, send_continue
from service.api.aiohttp_internals.media_type import media_type_of
from service.api.field_lines import combined, elements
from service.api.member_names import check_names, shown_name

DEADLINE_SECONDS = 5.0

# JSON allows no other white space (RFC 8259 section 2). By default, `bytes.strip` also
# removes vertical tabs and form feeds.
WHITE_SPACE = b" \t\n\r"


async def read_object(
    request: web.Request, *, max_bytes: int, fields: Collection[str], example: str
) -> dict[str, Any] | None:
    """Return the JSON object in the body, or None if the body is empty or white space.

    `fields` are the known fields. Error messages quote `example`, a valid body. Raises
    BodyTooLarge, RequestTimeout, UnsupportedMediaType, the errors of `parse_object`,
    and MalformedRequest for an incomplete body.
    """
    if not request.body_exists:
        return None
    if (request.content_length or 0) > max_bytes:
        raise _too_large(max_bytes)
    if is_waiting(request):
        _check_media_type(request)
        await send_continue(request)
    body = (await _read(request, max_bytes)).strip(WHITE_SPACE)
    if not body:
        return None
    _check_media_type(request)
    return parse_object(body, fields, example)


def parse_object(body: bytes, fields: Collection[str], example: str) -> dict[str, Any]:
    """Return the JSON object.

    Raises MalformedRequest, or InvalidRequest for a field that is unknown or is
    sent twice.
    """
    content = _parse(body, example)
    if not isinstance(content, dict):
        raise errors.MalformedRequest(f"Send a JSON object, such as {example}.")
    check_names(content, fields, "The body", "field")
    return content


async def _read(request: web.Request, max_bytes: int) -> bytes:
    body = b""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while chunk := await request.content.readany():
                body += chunk
                if len(body) > max_bytes:
                    raise _too_large(max_bytes)
    except TimeoutError:
        raise errors.RequestTimeout(f"Send the whole body within {DEADLINE_SECONDS:.0f} seconds.") from None
    except web.RequestPayloadError:  # also when the client is gone
        raise errors.MalformedRequest("The body is incomplete or its chunks are malformed. Send it again.") from None
    return body


def _too_large(max_bytes: int) -> errors.BodyTooLarge:
    return errors.BodyTooLarge(f"Send at most {max_bytes} bytes.")


def _check_media_type(request: web.Request) -> None:
    media_type = media_type_of(request)
    if media_type.type != "application" or (media_type.suffix or media_type.subtype) != "json":
        raise errors.UnsupportedMediaType("Send the body as JSON, with Content-Type: application/json.")
    charsets = set(media_type.parameters.getall("charset", ()))
    if not charsets <= {"utf-8", "utf8"} or "charset*" in media_type.parameters:
        raise errors.UnsupportedMediaType("Send the body in UTF-8.")
    # `identity` means no encoding (RFC 9110 section 12.5.3).
    codings = elements(combined(request.headers, hdrs.CONTENT_ENCODING))
    if any(coding.lower() != "identity" for coding in codings):
        raise errors.UnsupportedMediaType("Send the body uncompressed, without Content-Encoding.")


def _parse(body: bytes, example: str) -> object:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        pass
    else:
        # orjson keeps the last of two fields with the same name. Each has its colon.
        if not isinstance(content, dict) or body.count(b":") == len(content):
            return content
    # The standard parser shows fields that are sent twice. It also accepts escaped lone
    # surrogates, so that the error of the field's check can name the field.
    try:
        return json.loads(body.decode(), parse_constant=_reject_constant, object_pairs_hook=_object_of)
    except (ValueError, RecursionError):
        raise errors.MalformedRequest(f"Send one JSON object in UTF-8, such as {example}.") from None


def _object_of(fields: Sequence[tuple[str, object]]) -> dict[str, object]:
    content: dict[str, object] = {}
    for name, value in fields:
        if name in content:
            message = "The body has a field twice. Send each field once."
            raise errors.InvalidRequest(message, member=shown_name(name, "field"))
        content[name] = value
    return content


def _reject_constant(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are not JSON")
