"""The body of a request that creates a session or sets its user: a user id, or none."""

from collections.abc import Mapping

from aiohttp import web

from service import errors
from service.api.json_body import read_object
from service.api.user_id import checked_user_id

MAX_BYTES = 4096

# The spec's curl example sends the first, its JavaScript and Kotlin examples the
# second.
FIELDS = ("user_id", "userId")
EXAMPLE = '{"user_id": "user-123"}'


async def read_user_id(request: web.Request) -> str | None:
    """Return the user id in the body of a request, None for a guest.

    Raises InvalidRequest, and the errors of `read_object`.
    """
    content = await read_object(request, max_bytes=MAX_BYTES, fields=FIELDS, example=EXAMPLE)
    return user_id_in(content) if content else None


def user_id_in(content: Mapping[str, object]) -> str | None:
    """Return the user id in a parsed body, None for a guest. Raises InvalidRequest."""
    given = [_user_id(content[field], field) for field in FIELDS if field in content]
    if len(given) > 1 and given[0] != given[1]:
        raise errors.InvalidRequest("user_id and userId differ. Send one of them.", member="userId")
    return given[0] if given else None


def _user_id(value: object, field: str) -> str | None:
    """Return a valid user id. null and the empty string mean a guest: None."""
    return None if value is None or value == "" else checked_user_id(value, field)
