"""A session as the JSON objects that the API returns."""

import asyncio
from collections.abc import Callable, Sequence

import orjson

from service.digests import SessionRefs
from service.sessions import Session

_SESSIONS_PER_PART = 250  # 1 ms of the event loop


def session_json(session: Session) -> bytes:
    """Return exactly the fields of the spec. `user_id` is left out for a guest."""
    return orjson.dumps(_fields(session))


def found_json(session: Session, ref: str) -> bytes:
    """Return the fields of the spec, the expiry and the ref, for a lookup."""
    return orjson.dumps({**_fields(session), "expires_at": session.expires_at, "ref": ref})


def exported_json(session: Session, ref: str) -> bytes:
    """Return the fields of the spec and the ref, for the export of a user."""
    return orjson.dumps({**_fields(session), "ref": ref})


async def joined_json(
    sessions: Sequence[Session], render: Callable[[Session, str], bytes], refs: SessionRefs
) -> bytes:
    """Return the sessions as the elements of a JSON array.

    Other requests have their turn between two parts of the array.
    """
    parts = []
    for start in range(0, len(sessions), _SESSIONS_PER_PART):
        part = sessions[start : start + _SESSIONS_PER_PART]
        parts.append(b",".join([render(session, refs(session.id)) for session in part]))
        await asyncio.sleep(0)
    return b",".join(parts)


def _fields(session: Session) -> dict[str, str]:
    content = {"session_id": session.id, "start_time": session.start_time, "source": session.source}
    if session.user_id is not None:
        content["user_id"] = session.user_id
    return content
