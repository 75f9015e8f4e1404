"""The body of a look-up: the ids of many sessions."""

from collections.abc import Sequence

from aiohttp import web

from service import errors
from service.api.json_body import read_object

MAX_IDS = 1000
MAX_BYTES = 65_536  # 1,000 ids take 39,000; the rest is for white space

_MEMBER = "session_ids"


async def read_session_ids(request: web.Request) -> Sequence[str]:
    """Return the texts that are asked for, each once, in their order. Raises what `read_object` raises."""
    example = '{"session_ids": ["23e9…", "9b1d…"]}'
    content = await read_object(request, max_bytes=MAX_BYTES, members=(_MEMBER,), example=example)
    ids = (content or {}).get(_MEMBER)
    if not isinstance(ids, list) or not all(isinstance(text, str) and _is_unicode(text) for text in ids):
        raise errors.InvalidRequest(f"Send {_MEMBER}, a list of texts.", member=_MEMBER)
    if not 1 <= len(ids) <= MAX_IDS:
        raise errors.InvalidRequest(f"Send 1 to {MAX_IDS} {_MEMBER}, and more in further requests.", member=_MEMBER)
    return list(dict.fromkeys(ids))


def _is_unicode(text: str) -> bool:
    """Tell whether a text can be sent back: JSON can spell lone surrogates, UTF-8 cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
