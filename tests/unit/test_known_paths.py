import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.api.known_paths import KnownPaths

SESSION = "/v1/playouts/tracking/session"
SHORT = "/playouts/tracking/session"
OPERATOR = "/v1/playouts/tracking"
PATHS = (
    SESSION,
    SHORT,
    f"{OPERATOR}/sessions/lookup",
    f"{OPERATOR}/analytics/sessions",
    f"{OPERATOR}/analytics/users",
    f"{OPERATOR}/analytics/users/{{user_id}}",
    f"{OPERATOR}/analytics/store",
    f"{OPERATOR}/users/{{user_id}}/sessions",
    f"{OPERATOR}/users/{{user_id}}",
    f"{OPERATOR}/privacy",
    *("/livez", "/readyz", "/metrics", "/dashboard", "/docs", "/openapi.json", "/static/dashboard.js"),
    *("/privacy", "/.well-known/gpc.json"),
)
KNOWN = KnownPaths(PATHS)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        (f"{SESSION}/", SESSION),
        (f"{SESSION}//", SESSION),
        (f"/{SESSION}", SESSION),
        ("/v1//playouts/tracking/session", SESSION),
        ("/v1/playouts//tracking/session/", SESSION),
        (f"{SHORT}/", SHORT),
        ("/V1/Playouts/Tracking/Session", SESSION),
        ("/sesion", SESSION),
        ("/session", SESSION),
        ("/v1/session", SESSION),
        ("/tracking/session", SESSION),
        ("/v1/playouts/tracking", SESSION),
        (f"{OPERATOR}/sessions", SESSION),
        (f"{OPERATOR}/sesion", SESSION),
        (f"{OPERATOR}/sesison", SESSION),
        ("/v1/playout/tracking/session", SESSION),
        ("/v2/playouts/tracking/session", SESSION),
        ("/api/v1/playouts/tracking/session", SESSION),
        (f"{SESSION}%3Fsource=x", SESSION),
        (f"{SESSION}&source=x", SESSION),
        (f"{SESSION};jsessionid=1", SESSION),
        (f"{SESSION}%23top", SESSION),
        (f"{SESSION}%20", SESSION),
        (f"{SESSION}%2F?a=b", SESSION),
        (f"{SESSION}.", SESSION),
        (f"/%22{SESSION}%22", SESSION),
        (f"{SESSION}/550e8400-e29b-41d4-a716-446655440000", SESSION),
        (SESSION.replace("/", "\\"), SESSION),
        ("/playouts/tracking/sessions/lookup", f"{OPERATOR}/sessions/lookup"),
        (f"{OPERATOR}/session/lookup", f"{OPERATOR}/sessions/lookup"),
        (f"{OPERATOR}/lookup", f"{OPERATOR}/sessions/lookup"),
        ("/playouts/tracking/analytics/sessions", f"{OPERATOR}/analytics/sessions"),
        (f"{OPERATOR}/analytics/session/", f"{OPERATOR}/analytics/sessions"),
        ("/analytics/users", f"{OPERATOR}/analytics/users"),
        ("/analytics/users/canary", f"{OPERATOR}/analytics/users/{{user_id}}"),
        (f"{OPERATOR}/users/canary/session", f"{OPERATOR}/users/{{user_id}}/sessions"),
        (f"{OPERATOR}/users/can/ary/sessions", f"{OPERATOR}/users/{{user_id}}/sessions"),
        (f"{OPERATOR}/users/{'x' * 128}/session", f"{OPERATOR}/users/{{user_id}}/sessions"),
        (f"{OPERATOR}/user/canary", f"{OPERATOR}/users/{{user_id}}"),
        ("/playouts/tracking/users/canary", f"{OPERATOR}/users/{{user_id}}"),
        ("/livez/", "/livez"),
        ("/live", "/livez"),
        ("/ready", "/readyz"),
        ("/Metrics", "/metrics"),
        ("/doc", "/docs"),
        ("/Privacy/", "/privacy"),
        ("/playouts/tracking/privacy", f"{OPERATOR}/privacy"),
        ("/.well-known/gpc", "/.well-known/gpc.json"),
        ("//dashboard", "/dashboard"),
        ("/openapi.yaml", "/openapi.json"),
    ],
)
def test_a_similar_path_is_suggested(path: str, meant: str) -> None:
    """Paths with wrong slashes, case, parts or typos get the intended path."""
    assert KNOWN.nearest(path) == meant


@pytest.mark.parametrize(
    "path",
    [
        *("/", "", "/nowhere", "/favicon.ico", "/robots.txt", "/.env", "/wp-login.php", "/v1", "/admin"),
        *(
            "/static/app.js",
            "/static/dashboard.js/",
            "/?/livez",
            "*",
            "/%",
            "/%ff",
            "/" + "a/" * 2000,
            "/" + "x" * 4000,
        ),
        f"/{'a/' * 20}{SESSION}",
    ],
)
def test_another_path_has_no_suggestion(path: str) -> None:
    """A path that resembles no known path gets no suggestion."""
    assert KNOWN.nearest(path) is None


def test_only_registered_paths_are_suggested() -> None:
    """A route that is switched off, such as `/metrics`, is not suggested."""
    assert KnownPaths(path for path in PATHS if path != "/metrics").nearest("/metrics") is None


@given(st.text(max_size=120) | st.sampled_from(PATHS).flatmap(lambda path: st.text(max_size=9).map(path.__add__)))
def test_a_suggestion_repeats_nothing_of_the_request(path: str) -> None:
    """The suggestion for any string is a known path or nothing."""
    assert KNOWN.nearest(path) in {None, *PATHS}
