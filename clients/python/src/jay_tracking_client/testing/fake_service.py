"""The fake service: the routes that the client calls, without Redis.

It follows the service for valid requests and for the errors that a client can cause.
CORS, versions, limits of creation and the other routes are left out.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime

from jay_tracking_client.messages import (
    IDEMPOTENCY_HEADER,
    LOOKUP_PATH,
    SESSION_COOKIE,
    SESSION_PATH,
    USER_PATH,
    Answer,
    Request,
)
from jay_tracking_client.operations import MAX_IDS
from jay_tracking_client.sessions import Session, parse_session_id
from jay_tracking_client.testing.fake_documents import (
    JSON_HEADERS,
    Problem,
    fields_of,
    found_fields,
    json_of,
    object_in,
    presented,
    problem,
    session_headers,
    user_id_in,
)
from jay_tracking_client.testing.fake_sessions import DAY_SECONDS, FakeSessions


@dataclass(frozen=True, slots=True)
class BrokenConnection:
    """A fault: the connection breaks. With `after`, the request is processed before."""

    after: bool = False


class FakeTrackingService:
    """Answers requests from memory. `requests` has those that it got.

    With `gpc_guest`, a creation with `Sec-GPC: 1` makes a guest's session.
    """

    def __init__(self, *, api_key: str = "fake-key", ttl_seconds: int = DAY_SECONDS, gpc_guest: bool = False) -> None:
        self.api_key = api_key
        self.url = ""  # set by the server
        self.requests: list[Request] = []
        self._sessions = FakeSessions(ttl_seconds)
        self._gpc_guest = gpc_guest
        self._faults: deque[Answer | BrokenConnection] = deque()
        self._routes: Mapping[tuple[str, str], Callable[[Request], Answer]] = {
            ("POST", SESSION_PATH): self._create,
            ("GET", SESSION_PATH): self._get,
            ("DELETE", SESSION_PATH): self._end,
            ("PUT", USER_PATH): self._set_user,
            ("DELETE", USER_PATH): self._clear_user,
            ("POST", LOOKUP_PATH): self._lookup,
        }

    @property
    def now(self) -> datetime:
        """The time of the service. It passes only by `advance`."""
        return self._sessions.now

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._sessions.now += timedelta(seconds=seconds)

    def create_session(self, user_id: str | None = None) -> Session:
        """Create a session without a request."""
        session = self._sessions.create(user_id)
        assert session is not None  # noqa: S101 - without a key, it always creates one
        return session

    def end_session(self, session_id: str) -> None:
        """End a session without a request."""
        self._sessions.end([session_id])

    def is_live(self, session_id: str) -> bool:
        """Return whether a session is live."""
        return self._sessions.find(session_id) is not None

    def fail_next(self, times: int = 1, *, status: int = 503, retry_after_seconds: int | None = None) -> None:
        """Answer the next requests with an error."""
        slug = {429: "too-many-requests", 503: "store-unavailable"}.get(status, "internal-error")
        headers = {} if retry_after_seconds is None else {"retry-after": str(retry_after_seconds)}
        self.answer_next(problem(status, slug, headers=headers), times)

    def answer_next(self, answer: Answer, times: int = 1) -> None:
        """Give the next requests this answer."""
        self._faults.extend([answer] * times)

    def break_next(self, times: int = 1, *, after: bool = False) -> None:
        """Break the connection of the next requests.

        The requests are processed first if `after` is true, so their answers are lost.
        """
        self._faults.extend([BrokenConnection(after=after)] * times)

    def recover(self) -> None:
        """Forget the errors and broken connections that are still to come."""
        self._faults.clear()

    def answer(self, request: Request) -> Answer | None:
        """Return the answer to a request, or None if the connection breaks.

        The names of the request's headers are in lower case.
        """
        self.requests.append(request)
        fault = self._faults.popleft() if self._faults else None
        if isinstance(fault, Answer):
            return self._dated(fault)
        if fault is not None and not fault.after:
            return None
        answer = self._dated(self._routed(request))
        return None if fault else answer

    def _dated(self, answer: Answer) -> Answer:
        date = format_datetime(self.now, usegmt=True)
        return Answer(answer.status, {"date": date, **answer.headers}, answer.body)

    def _routed(self, request: Request) -> Answer:
        route = self._routes.get((request.method, request.path))
        if route is None:
            return problem(404, "not-found")
        if request.headers.get("x-api-key") != self.api_key:
            return problem(401, "unauthorized")
        try:
            return route(request)
        except Problem as error:
            return error.answer

    def _create(self, request: Request) -> Answer:
        user_id = user_id_in(request)
        if self._gpc_guest and request.headers.get("sec-gpc") == "1":
            user_id = None
        session = self._sessions.create(user_id, request.headers.get(IDEMPOTENCY_HEADER.lower()))
        if session is None:
            raise Problem(409, "session-already-ended")
        return self._with_cookie(201, session)

    def _get(self, request: Request) -> Answer:
        session = next(filter(None, map(self._sessions.find, presented(request))), None)
        if session is None:
            raise Problem(404, "session-not-found")
        return Answer(200, session_headers(session), json_of(fields_of(session)))

    def _end(self, request: Request) -> Answer:
        self._sessions.end(presented(request))
        cookie = f"{SESSION_COOKIE}=; Path=/; Max-Age=0; Secure; HttpOnly; SameSite=Lax"
        return Answer(204, {"set-cookie": cookie})

    def _set_user(self, request: Request) -> Answer:
        user_id = user_id_in(request)
        if user_id is None:
            raise Problem(422, "invalid-request", "user_id")
        return self._changed(request, user_id)

    def _clear_user(self, request: Request) -> Answer:
        return self._changed(request, None)

    def _changed(self, request: Request, user_id: str | None) -> Answer:
        session = self._sessions.change_user(presented(request), user_id)
        if session is None:
            raise Problem(404, "session-not-found")
        return self._with_cookie(200, session)

    def _lookup(self, request: Request) -> Answer:
        ids = object_in(request).get("session_ids")
        if not isinstance(ids, list) or not 1 <= len(ids) <= MAX_IDS:
            raise Problem(422, "invalid-request", "session_ids")
        found = {one: self._sessions.find(parse_session_id(one) or "") for one in dict.fromkeys(ids)}
        live = {session.id: session for session in found.values() if session}
        missing = [one for one, session in found.items() if session is None]
        return Answer(
            200, JSON_HEADERS, json_of({"sessions": [*map(found_fields, live.values())], "missing": missing})
        )

    def _with_cookie(self, status: int, session: Session) -> Answer:
        seconds = int((session.expires_at - self.now).total_seconds())
        cookie = f"{SESSION_COOKIE}={session.id}; Path=/; Max-Age={seconds}; Secure; HttpOnly; SameSite=Lax"
        headers = {"set-cookie": cookie, SESSION_COOKIE.lower(): session.id}
        return Answer(status, session_headers(session) | headers, json_of(fields_of(session)))
