"""A session as the JSON object that the API returns."""

import orjson

from service.sessions import Session


def session_json(session: Session) -> bytes:
    """Return exactly the fields of the spec. `user_id` is left out for a guest."""
    content = {"session_id": session.id, "start_time": session.start_time, "source": session.source}
    if session.user_id is not None:
        content["user_id"] = session.user_id
    return orjson.dumps(content)
