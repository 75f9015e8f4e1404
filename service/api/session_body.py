"""A session as the JSON objects that the API returns."""

import orjson

from service.sessions import Session


def session_json(session: Session) -> bytes:
    """Return exactly the fields of the spec. `user_id` is left out for a guest."""
    return orjson.dumps(_fields(session))


def looked_up_json(session: Session) -> bytes:
    """Return the fields of the spec and those for back ends."""
    return orjson.dumps({**_fields(session), "expires_at": session.expires_at})


def _fields(session: Session) -> dict[str, str]:
    content = {"session_id": session.id, "start_time": session.start_time, "source": session.source}
    if session.user_id is not None:
        content["user_id"] = session.user_id
    return content
