"""The client's side of the doctor: what becomes of requests and answers on the way to the service and back."""

from collections.abc import Iterator
from http import HTTPStatus
from http.cookies import SimpleCookie

from service import versions
from service.api import cors, wire
from service.commands.api_client import Answer, ApiClient
from service.commands.findings import Finding, good, problem, unknown
from service.errors import CommandError
from service.sessions import parse_session_id

_PATH = wire.SESSION_PATHS[0]
_UNDERSCORES = (
    "a proxy on the way drops header names with an underscore: in nginx set `underscores_in_headers on;` in the "
    "default server of the port, or have devices send X-Jay-Tracking"
)


def look(client: ApiClient, origin: str | None) -> Iterator[Finding]:
    """Create a session the way clients do, read it in each way, end it."""
    try:
        yield from _readiness(client)
        created = client.send("POST", _PATH)
    except CommandError as error:
        yield problem(str(error), "start it, or name the URL that clients use with --url")
        return
    session_id = created.document().get("session_id")
    if created.status != HTTPStatus.CREATED or not (isinstance(session_id, str) and parse_session_id(session_id)):
        said = created.detail() or "not the answer of this service"
        yield problem(f"a session cannot be created: {created.status}, {said}", _advice(created))
        return
    yield good("a session can be created")
    yield from _headers(created, session_id)
    try:
        yield from _ways(client, session_id)
        yield from _paths(client)
        if origin:
            yield from _cors(client, origin)
    except CommandError as error:
        yield problem(str(error), "run the doctor again: the service was there a moment ago")


def _readiness(client: ApiClient) -> Iterator[Finding]:
    ready = client.send("GET", "/readyz")
    status = ready.document().get("status")
    if ready.status == HTTPStatus.OK and status == "ready":
        yield good("ready: Redis takes writes")
    elif status in {"draining", "store-unavailable"}:
        yield problem(f"not ready: {status}", "see below for Redis; a draining service is being stopped")
    else:
        yield unknown("/readyz is not to be seen from here", "fine where the proxy only passes the API")


def _advice(answer: Answer) -> str:
    if answer.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        return "give a key with the scope `track` with --key or in JAY_KEY"
    return "see `detail`, and the service's log under the request_id" if answer.document() else "check --url"


def _headers(created: Answer, session_id: str) -> Iterator[Finding]:
    version = created.headers.get(wire.API_VERSION)
    if version == versions.LATEST:
        yield good(f"API version {version}")
    else:
        said = f"the service answers with API version {version}" if version else "the answer names no API version"
        yield problem(said, f"this program knows {versions.LATEST}: update the older of the two, or mend the proxy")
    if created.headers.get(wire.SESSION_TOKEN) == session_id:
        yield good("the answer's session header arrives")
    else:
        yield problem(f"the answer's header {wire.SESSION_TOKEN} does not arrive", "let the proxy pass it")
    cookies = [cookie for line in created.headers.get_all("Set-Cookie", []) for cookie in SimpleCookie(line).values()]
    ours = [cookie for cookie in cookies if cookie.key == wire.SESSION_TOKEN and cookie.value == session_id]
    if len(ours) == 1 and ours[0]["secure"] and ours[0]["httponly"]:
        yield good("the cookie arrives, Secure and HttpOnly")
    else:
        yield problem("the cookie does not arrive as it was set", "let the proxy pass Set-Cookie unchanged")
    if created.headers.get("Cache-Control") == "no-store":
        yield good("answers may not be cached")
    else:
        yield problem("Cache-Control is not `no-store` any more", "let the proxy or CDN keep the service's header")


def _ways(client: ApiClient, session_id: str) -> Iterator[Finding]:
    """Present the session in each way that clients have, and end it at last."""
    ways = (
        ("the cookie", {"Cookie": f"{wire.SESSION_TOKEN}={session_id}"}, "let the proxy pass Cookie unchanged"),
        (f"the header {wire.SESSION_TOKEN}", {str(wire.SESSION_TOKEN): session_id}, _UNDERSCORES),
        (
            f"the header {wire.SESSION_TOKEN_ALIAS}",
            {str(wire.SESSION_TOKEN_ALIAS): session_id},
            "let the proxy pass it",
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
        yield problem(f"the session cannot be ended ({ended.status})", "let the proxy pass DELETE")


def _paths(client: ApiClient) -> Iterator[Finding]:
    """Ask for a user whose id has a slash: refused with this key, but not found where a proxy decodes the path."""
    answer = client.send("GET", f"{wire.OPERATOR_PATH}/users/a%2F..%2Fb/sessions")
    if answer.status == HTTPStatus.NOT_FOUND:
        advice = (
            "some users cannot be exported or erased, or another is in their place: have the proxy pass paths as "
            "they come (nginx: no path behind the host in proxy_pass)"
        )
        yield problem("a proxy on the way decodes or tidies up paths", advice)
    elif answer.status in {HTTPStatus.OK, HTTPStatus.FORBIDDEN}:
        yield good("paths reach the service as they are sent")
    else:
        yield unknown(f"whether paths reach the service as they are sent ({answer.status})")


def _cors(client: ApiClient, origin: str) -> Iterator[Finding]:
    asked = {
        "X-API-Key": None,
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": ", ".join(sorted(cors.REQUEST_HEADERS)),
    }
    preflight = client.send("OPTIONS", _PATH, asked)
    if preflight.status < HTTPStatus.MULTIPLE_CHOICES and _allows(preflight, origin):
        yield good(f"pages of {origin} may call: the preflight passes")
    else:
        advice = "add it to cors.origins, spelled exactly so, and restart; let the proxy pass OPTIONS"
        yield problem(f"pages of {origin} may not call: the preflight fails ({preflight.status})", advice)
    answer = client.send("GET", _PATH, {"Origin": origin})
    exposed = {name.strip().lower() for name in answer.headers.get("Access-Control-Expose-Headers", "").split(",")}
    if answer.status == HTTPStatus.FORBIDDEN:
        yield problem(f"pages of {origin} may not use this key", "add the origin to the key's `origins`")
    elif _allows(answer, origin) and exposed >= {name.lower() for name in cors.EXPOSED_HEADERS}:
        yield good("pages can read the answers, errors too")
    else:
        yield problem("pages cannot read the answers", "let the proxy pass the Access-Control headers, and add none")


def _allows(answer: Answer, origin: str) -> bool:
    allowed = answer.headers.get_all("Access-Control-Allow-Origin", [])
    return allowed == [origin] and answer.headers.get("Access-Control-Allow-Credentials") == "true"
