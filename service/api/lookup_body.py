"""The body of a lookup: the ids of many sessions."""

from collections.abc import Sequence

from aiohttp import web

from service import errors
from service.api.json_body import read_object

MAX_IDS = 1000
MAX_BYTES = 65_536  # 1,000 ids take 39,000 bytes, the rest is for white space

_FIELD = "session_ids"


async def read_session_ids(request: web.Request) -> Sequence[str]:
    """Return the requested strings without repetitions, in their order.

    Raises InvalidRequest, and the errors of `read_object`.
    """
    example = '{"session_ids": ["23e9…", "9b1d…"]}'
    content = await read_object(request, max_bytes=MAX_BYTES, fields=(_FIELD,), example=example)
    ids = (content or {}).get(_FIELD)
    if not isinstance(ids, list) or not all(isinstance(string, str) and _is_unicode(string) for string in ids):
        raise errors.InvalidRequest(f"Send {_FIELD}, a list of strings.", member=_FIELD)
    if not 1 <= len(ids) <= MAX_IDS:
        raise errors.InvalidRequest(f"Send 1 to {MAX_IDS} {_FIELD}, and more in further requests.", member=_FIELD)
    return list(dict.fromkeys(ids))


def _is_unicode(string: str) -> bool:
    """Return whether the answer can repeat a string.

    UTF-8 cannot encode lone surrogates.
    """
    try:
        string.encode()
    except UnicodeEncodeError:
        return False
    return True
