"""The rules for user ids, and a function that reads one from a path."""

import unicodedata
from urllib.parse import unquote_to_bytes

from aiohttp import web

from service import errors
from service.sessions import MAX_USER_ID_LENGTH

PLACEHOLDER = "{user_id}"
# aiohttp's own pattern would leave out braces.
PATH_SEGMENT = "{user_id:[^/]+}"

# JavaScript's strings for a missing value. As user ids they would merge all visitors of
# a client with this bug into one user.
MISSING_VALUES = frozenset({"undefined", "null", "NaN", "[object Object]"})


def checked_user_id(value: object, field: str) -> str:
    """Return a valid user id. Raises InvalidRequest, which names `field`."""
    if not isinstance(value, str):
        raise errors.InvalidRequest(f"{field} must be a string or null.", member=field)
    if len(value) > MAX_USER_ID_LENGTH:
        raise errors.InvalidRequest(f"{field} must have at most {MAX_USER_ID_LENGTH} characters.", member=field)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise errors.InvalidRequest(f"{field} must have no control characters or lone surrogates.", member=field)
    if value and all(map(_is_blank, value)):
        raise errors.InvalidRequest(f"{field} must not be only white space.", member=field)
    if value in MISSING_VALUES:
        raise errors.InvalidRequest(
            f"{field} must be the id of a user. `undefined`, `null`, `NaN` and `[object Object]` are JavaScript's "
            "strings for a missing value.",
            member=field,
        )
    return value


def _is_blank(character: str) -> bool:
    """Return whether a character is white space or invisible, such as U+200B."""
    return character.isspace() or unicodedata.category(character) == "Cf"


def user_id_in_path(request: web.Request) -> str:
    """Return the user id that is percent-encoded in the path. Raises InvalidRequest.

    It is decoded from the raw path. The router decodes in part, so that its `%2F` may
    have been a `%2F` or a `%252F`.
    """
    resource = request.match_info.route.resource
    assert resource is not None  # noqa: S101 - a route with a handler has one
    index = resource.canonical.split("/").index(PLACEHOLDER)
    segment = unquote_to_bytes(request.rel_url.raw_path.split("/")[index])
    try:
        return checked_user_id(segment.decode(), "user_id")
    except UnicodeDecodeError:
        raise errors.InvalidRequest("user_id must be percent-encoded UTF-8.", member="user_id") from None
