"""`jay-tracking ref`: the ref of a session."""

from service.commands import terminal
from service.config.settings import DEVELOPMENT_USER_SECRET, Settings
from service.digests import SessionRefs


def show(settings: Settings, session_id: str) -> None:
    """Print the ref of a session id under the configured secret.

    The published secret gets a warning on standard error.
    """
    if settings.session.user_secret == DEVELOPMENT_USER_SECRET:
        terminal.print_error(
            "warning: session.user_secret has its published default. A service with another secret has another ref "
            "for this session. Set JAY_SESSION__USER_SECRET to the secret of that service"
        )
    print(SessionRefs(settings.session.user_secret)(session_id))
