"""`jay-tracking ref`: the ref of a session."""

from service.config.settings import Settings
from service.digests import SessionRefs


def show(settings: Settings, session_id: str) -> None:
    """Print the ref of a session id under the configured secret."""
    print(SessionRefs(settings.session.user_secret)(session_id))
