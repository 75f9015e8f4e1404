"""The code blocks of the spec, extracted from its file.

The file runs blocks and prose together. Where it is not available, requests of the same
shape replace it.
"""

import re
from pathlib import Path

SPEC_HOST = "https://your-api-domain"


def spec_text(project: Path) -> str | None:
    """Return the spec, or None when it is not beside the project."""
    found = sorted((project.parent / "shared" / "spec").glob("*.txt"))
    return found[0].read_text("utf-8") if found else None


def curl_commands(text: str) -> list[str]:
    """Return the unchanged curl commands. Each ends with its `-i`."""
    return re.findall(r"curl -X .*?-i(?=curl|[A-Z]|\s|$)", text, re.DOTALL)


def javascript_functions(text: str) -> dict[str, str]:
    """Return the JavaScript functions by name, each with balanced braces."""
    functions = {}
    for match in re.finditer(r"async function (\w+)\(", text):
        depth, end = 0, text.index("{", text.index(")", match.end()))
        for end in range(end, len(text)):  # noqa: B020 - starts at the body
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            if depth == 0:
                break
        functions[match[1]] = text[match.start() : end + 1]
    return functions


SAME_SHAPE_CURL = r"""curl -X POST "https://your-api-domain/v1/playouts/tracking/session" \
-H "X-API-Key: your_api_key_here" \-i
curl -X POST "https://your-api-domain/v1/playouts/tracking/session" \
-H "X-API-Key: your_api_key_here" \
-H "Content-Type: application/json" \
-d '{"user_id": "user-123-xyz"}' \
-i
curl -X GET "https://your-api-domain/v1/playouts/tracking/session" \
-H "X-API-Key: your_api_key_here" \
-H "Cookie: __Secure-jay_tracking=your_session_id" \
-i
curl -X DELETE "https://your-api-domain/v1/playouts/tracking/session" \
-H "X-API-Key: your_api_key_here" \
-H "Cookie: __Secure-jay_tracking=your_session_id" \
-i
"""

SAME_SHAPE_JAVASCRIPT = """
async function call(method, more = {}, body, credentials = 'include') {
  const headers = {'x-jay-api-version': '2025-05-19', 'X-API-Key': 'your_api_key_here', ...more};
  return fetch('https://your-api-domain/v1/playouts/tracking/session', {method, credentials, headers, body});
}
async function createTrackingSession(userId = null) {
  const r = await call('POST', {'Content-Type': 'application/json'}, userId ? JSON.stringify({userId}) : undefined);
  return r.ok ? await r.json() : null;
}
async function createTracking(userId = null) { return await createTrackingSession(userId); }
async function checkTrackingSession() { const r = await call('GET'); return r.ok ? await r.json() : null; }
async function endTrackingSession() { return (await call('DELETE')).ok; }
async function setupTracking(userId = null) {
  const body = userId ? JSON.stringify({userId}) : undefined;
  const r = await call('POST', {'Content-Type': 'application/json'}, body, 'omit');
  const data = await r.json(); saveSessionId(data.session_id); return data.session_id;
}
async function fetchWithTracking(url) {
  const headers = {'__Secure-jay_tracking': getStoredSessionId(), 'X-API-Key': 'your_api_key_here'};
  return (await fetch(url, {headers})).json();
}
async function deleteTrackingSession() {
  const r = await call('DELETE', {'__Secure-jay_tracking': getStoredSessionId()}, undefined, 'omit');
  if (r.ok) { clearSessionId(); return true; }
  return false;
}
"""


def javascript(project: Path, url: str) -> str:
    """Return the spec's functions with `url` as the service."""
    functions = javascript_functions(spec_text(project) or SAME_SHAPE_JAVASCRIPT)
    functions.pop("call", None)
    text = "\n".join(functions.values()) if spec_text(project) else SAME_SHAPE_JAVASCRIPT
    return text.replace(SPEC_HOST, url)
