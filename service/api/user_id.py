"""What a user id may be, and reading one from a path."""

import unicodedata
from urllib.parse import unquote_to_bytes

from aiohttp import web

from service import errors
from service.sessions import MAX_USER_ID_LENGTH

PLACEHOLDER = "{user_id}"
# aiohttp's own pattern would leave out braces.
PATH_SEGMENT = "{user_id:[^/]+}"


# JavaScript's strings for a missing value. As user ids they would merge all visitors of a
# client with this bug into one user.
NO_USER_IDS = frozenset({"undefined", "null", "NaN", "[object Object]"})


def checked_user_id(value: object, member: str) -> str:
    """Return a user id that can be kept. Raises InvalidRequest, which names the member."""
    if not isinstance(value, str):
        raise errors.InvalidRequest(f"{member} must be a string or null.", member=member)
    if len(value) > MAX_USER_ID_LENGTH:
        raise errors.InvalidRequest(f"{member} must have at most {MAX_USER_ID_LENGTH} characters.", member=member)
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in value):
        raise errors.InvalidRequest(f"{member} must have no control characters or lone surrogates.", member=member)
    if value and all(map(_is_blank, value)):
        raise errors.InvalidRequest(f"{member} must not be only white space.", member=member)
    if value in NO_USER_IDS:
        raise errors.InvalidRequest(
            f"{member} must be the id of a user. `undefined`, `null`, `NaN` and `[object Object]` are JavaScript's "
            "strings for a missing value.",
            member=member,
        )
    return value


def _is_blank(character: str) -> bool:
    """Return whether a character is white space or takes no room, such as U+200B."""
    return character.isspace() or unicodedata.category(character) == "Cf"


def user_id_in_path(request: web.Request) -> str:
    """Return the user id that the path names, percent-encoded there. Raises InvalidRequest.

    Taken from the path as it was sent: the router has decoded it in part, and a `%2F` is then no longer told
    from a `%252F`.
    """
    resource = request.match_info.route.resource
    assert resource is not None  # noqa: S101 - a route with a handler has one
    place = resource.canonical.split("/").index(PLACEHOLDER)
    segment = unquote_to_bytes(request.rel_url.raw_path.split("/")[place])
    try:
        return checked_user_id(segment.decode(), "user_id")
    except UnicodeDecodeError:
        raise errors.InvalidRequest("user_id must be percent-encoded UTF-8.", member="user_id") from None
