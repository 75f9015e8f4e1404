"""A session as the API writes it."""

from service.sessions import Session


def render(session: Session) -> dict[str, str]:
    """Return exactly the spec's members, `user_id` only when there is one."""
    content = {"session_id": session.id, "start_time": session.start_time, "source": session.source}
    if session.user_id is not None:
        content["user_id"] = session.user_id
    return content
