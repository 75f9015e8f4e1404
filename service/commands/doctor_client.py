"""The doctor's checks by requests: whether proxies pass requests and answers unchanged.

A check that the key's scopes or origins do not allow is reported as skipped, with the
scope that it needs. A skipped check says nothing about the deployment.
"""

from collections.abc import Iterator
from http import HTTPStatus
from http.cookies import SimpleCookie

from service.api import versions, wire
from service.commands import doctor_memory
from service.commands.api_client import Answer, ApiClient
from service.commands.doctor_clocks import Offset, offset_of
from service.commands.doctor_results import CheckResult, good, problem, unknown
from service.errors import CommandError
from service.sessions import parse_session_id

_PATH = wire.SESSION_PATHS[0]
_UNDERSCORES = (
    "a proxy drops header names with an underscore. In nginx, set `underscores_in_headers on;` in the default "
    "server of the port, or make devices send X-Jay-Tracking"
)

_NOT_READY = {
    "draining": "wait until it has stopped, or start it again",
    "store-unavailable": "see the results about Redis",
}


class ClientChecks:
    """Checks the service by the requests of a client.

    After `run`, `is_reached` is whether the service answered, and `clock_offset` is the
    offset of its clock, None when no answer had a time.
    """

    def __init__(self, client: ApiClient, operator: ApiClient, origin: str | None) -> None:
        self._client = client
        self._operator = operator
        self._origin = origin
        self.is_reached = False
        self.clock_offset: Offset | None = None

    def run(self) -> Iterator[CheckResult]:
        """Create, read and end a session, then run the other checks of the key."""
        try:
            yield from _readiness(self._client)
            created = self._client.send("POST", _PATH)
        except CommandError as error:
            yield problem(str(error), "start the service, or pass the URL that clients use with --url")
            return
        self.is_reached = True
        self.clock_offset = offset_of(created)
        try:
            yield from self._session(created)
            if created.status != HTTPStatus.SERVICE_UNAVAILABLE:
                # The 503 is reported already.
                yield from self._counts()
            if self._origin:
                yield from _cors(self._client, self._origin)
        except CommandError as error:
            yield problem(str(error), "run the doctor again: the service answered a moment ago")

    def _session(self, created: Answer) -> Iterator[CheckResult]:
        session_id = created.document().get("session_id")
        if created.status == HTTPStatus.CREATED and isinstance(session_id, str) and parse_session_id(session_id):
            yield good("a session can be created")
            yield from _version_and_caching(created)
            yield from _headers(created, session_id)
            yield from _ways(self._client, session_id)
        elif _is_problem(created, "forbidden"):
            yield from _version_and_caching(created)
            skipped = "creating, reading and ending a session, its cookie and its headers"
            yield _skipped(skipped, "track", "--key or JAY_KEY")
        elif _is_problem(created, "unauthorized") and self._client.key is None:
            yield _skipped("everything that needs a key", "track", "--key or JAY_KEY", "no key was given")
        else:
            reason = created.detail() or "not an answer of this service"
            yield problem(f"a session cannot be created: {created.status}, {reason}", _advice(created))

    def _counts(self) -> Iterator[CheckResult]:
        """Run the checks that need another scope than `track`."""
        answer = self._operator.send("GET", f"{wire.OPERATOR_PATH}/analytics/users/doctor")
        if _is_problem(answer, "unauthorized") and self._operator.key == self._client.key:
            return  # reported already
        if answer.status == HTTPStatus.OK and "as_of" in answer.document():
            self.clock_offset = self.clock_offset or offset_of(answer)
            yield good("counts can be read")
            yield from doctor_memory.check(self._operator)
        elif _is_problem(answer, "forbidden"):
            yield _skipped("reading counts", "analytics", "--operator-key or JAY_OPERATOR_KEY")
        elif answer.document():
            reason = answer.detail() or "without a reason"
            advice = _advice(answer, "--operator-key or in JAY_OPERATOR_KEY")
            yield problem(f"counts cannot be read: {answer.status}, {reason}", advice)
        else:
            yield unknown("the counts cannot be reached from here", "fine if the proxy passes only sessions")
        yield from _paths(self._operator)


def _is_problem(answer: Answer, slug: str) -> bool:
    return answer.document().get("type") == wire.PROBLEM_TYPE_PREFIX + slug


def _skipped(checks: str, scope: str, options: str, reason: str = "") -> CheckResult:
    return unknown(
        f"not checked: {checks} ({reason or f'this key lacks the scope `{scope}`'})",
        f"run the doctor again with a key that has the scope `{scope}` ({options})",
    )


def _readiness(client: ApiClient) -> Iterator[CheckResult]:
    ready = client.send("GET", "/readyz")
    status = ready.document().get("status")
    if ready.status == HTTPStatus.OK and status == "ready":
        yield good("the service is ready: Redis accepts writes")
    elif status in _NOT_READY:
        yield problem(f"the service is not ready: {status}", _NOT_READY[status])
    else:
        yield unknown("/readyz cannot be reached from here", "fine if the proxy passes only the API")


def _advice(answer: Answer, options: str = "--key or in JAY_KEY") -> str:
    if _is_problem(answer, "unauthorized"):
        return f"pass a key of this service with {options}"
    request_id = answer.document().get("request_id")
    return f"search the service's log for the request_id {request_id}" if request_id else "check --url"


def _version_and_caching(created: Answer) -> Iterator[CheckResult]:
    version = created.headers.get(wire.API_VERSION)
    if version == versions.LATEST:
        yield good(f"API version {version}")
    else:
        answered = f"the service answers with API version {version}" if version else "the answer has no API version"
        yield problem(answered, f"this program expects {versions.LATEST}. Update the older of the two")
    if created.headers.get("Cache-Control") == "no-store":
        yield good("answers forbid caching: Cache-Control is `no-store`")
    else:
        yield problem("Cache-Control is not `no-store`", "make the proxy or CDN keep the service's header")


def _headers(created: Answer, session_id: str) -> Iterator[CheckResult]:
    if created.headers.get(wire.SESSION_TOKEN) == session_id:
        yield good(f"the header {wire.SESSION_TOKEN} of the answer arrives")
    else:
        advice = "make the proxy pass this header"
        yield problem(f"the header {wire.SESSION_TOKEN} of the answer does not arrive", advice)
    cookies = [cookie for line in created.headers.get_all("Set-Cookie", []) for cookie in SimpleCookie(line).values()]
    ours = [cookie for cookie in cookies if cookie.key == wire.SESSION_TOKEN and cookie.value == session_id]
    if len(ours) == 1 and ours[0]["secure"] and ours[0]["httponly"]:
        yield good("the cookie of the answer arrives with Secure and HttpOnly")
    else:
        yield problem("the cookie of the answer is lost or changed", "make the proxy pass Set-Cookie unchanged")


def _ways(client: ApiClient, session_id: str) -> Iterator[CheckResult]:
    """Present the session in each way that clients have, then end it."""
    ways = (
        ("the cookie", {"Cookie": f"{wire.SESSION_TOKEN}={session_id}"}, "make the proxy pass Cookie unchanged"),
        (f"the header {wire.SESSION_TOKEN}", {str(wire.SESSION_TOKEN): session_id}, _UNDERSCORES),
        (
            f"the header {wire.SESSION_TOKEN_ALIAS}",
            {str(wire.SESSION_TOKEN_ALIAS): session_id},
            "make the proxy pass this header",
        ),
    )
    arrived: dict[str, str] = {}
    for name, headers, advice in ways:
        status = client.send("GET", _PATH, headers).status
        if status == HTTPStatus.OK:
            arrived = headers
            yield good(f"{name} reaches the service")
        else:
            yield problem(f"{name} does not reach the service ({status})", advice)
    if not arrived:
        return
    ended = client.send("DELETE", _PATH, arrived)
    is_gone = client.send("GET", _PATH, arrived).status == HTTPStatus.NOT_FOUND
    if ended.status == HTTPStatus.NO_CONTENT and is_gone:
        yield good("the session can be ended")
    else:
        yield problem(f"the session cannot be ended ({ended.status})", "make the proxy pass DELETE")


def _paths(client: ApiClient) -> Iterator[CheckResult]:
    """Request a user id with dots and slashes.

    A proxy that decodes paths makes another path of it, which the service does not
    have. Only answers of the service count, not those of a proxy that passes only
    sessions.
    """
    answer = client.send("GET", f"{wire.OPERATOR_PATH}/users/..%2Fa%2Fb/sessions")
    if _is_problem(answer, "not-found"):
        advice = (
            "an export or an erasure can fail or reach another user. Make the proxy pass paths unchanged "
            "(in nginx, use proxy_pass without a path after the host)"
        )
        yield problem("a proxy decodes or normalizes paths", advice)
    elif "sessions" in answer.document() or _is_problem(answer, "forbidden"):
        yield good("paths reach the service unchanged")
    else:
        yield unknown(f"not checked: whether paths reach the service unchanged (the answer is {answer.status})")


def _cors(client: ApiClient, origin: str) -> Iterator[CheckResult]:
    headers = {
        "X-API-Key": None,
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ", ".join(sorted(wire.REQUEST_HEADERS)),
    }
    preflight = client.send("OPTIONS", _PATH, headers)
    if preflight.status < HTTPStatus.MULTIPLE_CHOICES and _allows(preflight, origin):
        yield good(f"pages of {origin} may call the API: the preflight passes")
    else:
        advice = "add exactly this string to cors.origins and restart, and make the proxy pass OPTIONS"
        yield problem(f"pages of {origin} may not call the API: the preflight fails ({preflight.status})", advice)
        return
    plain, answer = (client.send("GET", _PATH, {"Origin": given}) for given in (None, origin))
    if _is_problem(answer, "forbidden") and not _is_problem(plain, "forbidden"):
        yield unknown(
            f"not checked: whether pages of {origin} may use their key (the `origins` of this key do not list it)",
            "run the doctor again with the key of that page, or add the origin to this key's `origins`",
        )
    exposed = {name.strip().lower() for name in answer.headers.get("Access-Control-Expose-Headers", "").split(",")}
    if _allows(answer, origin) and exposed >= {name.lower() for name in wire.RESPONSE_HEADERS}:
        yield good("pages can read answers, including errors")
    else:
        advice = "make the proxy pass the Access-Control headers and add none of its own"
        yield problem("pages cannot read answers", advice)


def _allows(answer: Answer, origin: str) -> bool:
    allowed = answer.headers.get_all("Access-Control-Allow-Origin", [])
    return allowed == [origin] and answer.headers.get("Access-Control-Allow-Credentials") == "true"
