"""Middleware for WSGI applications, such as those of Flask and Django.

app.wsgi_app = SessionMiddleware(app.wsgi_app, client)
session = request.environ["jay_session"]
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from jay_tracking_client.candidates import candidates
from jay_tracking_client.errors import ServiceUnavailable
from jay_tracking_client.logs import logged_session
from jay_tracking_client.middleware.guard import Guard, Refusal
from jay_tracking_client.sync import TrackingClient

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

SESSION_KEY = "jay_session"
# Many WSGI servers drop headers with an underscore, and pass on the alias only.
_NAMES = ("HTTP_COOKIE", "HTTP___SECURE_JAY_TRACKING", "HTTP_X_JAY_TRACKING")


class SessionMiddleware:
    """Sets `environ["jay_session"]`."""

    def __init__(self, app: "WSGIApplication", client: TrackingClient, guard: Guard | None = None) -> None:
        self._app = app
        self._client = client
        self._guard = guard or Guard()

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Call the application with the visitor's session, or refuse the visitor."""
        presented = candidates(*([environ[name]] if name in environ else [] for name in _NAMES))
        try:
            session = self._client.find_first(presented)
            refusal = self._guard.check_session(session)
        except ServiceUnavailable as error:
            session, refusal = None, self._guard.check_outage(error)
        if refusal is not None:
            return _refuse(start_response, refusal)
        environ[SESSION_KEY] = session
        with logged_session(session):
            return self._app(environ, start_response)


def _refuse(start_response: "StartResponse", refusal: Refusal) -> list[bytes]:
    headers = [*refusal.headers.items(), ("Content-Length", str(len(refusal.body)))]
    start_response(f"{refusal.status} {refusal.reason}", headers)
    return [refusal.body]
