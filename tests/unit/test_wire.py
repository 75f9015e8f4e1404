from service.api import cors, versions, wire
from service.api_keys import Scope


def test_wire_names_match_the_contract() -> None:
    """Clients use these names, so a change breaks them.

    The golden responses pin `RESPONSE_HEADERS`, and the API reference lists them.
    """
    assert wire.SESSION_TOKEN == "__Secure-jay_tracking"
    assert wire.SESSION_TOKEN_ALIAS == "X-Jay-Tracking"
    assert wire.API_KEY == "X-API-Key"
    assert wire.API_VERSION == "x-jay-api-version"
    assert wire.REQUEST_ID == "X-Request-Id"
    assert wire.SESSION_PATHS == ("/v1/playouts/tracking/session", "/playouts/tracking/session")
    assert versions.LATEST == "2025-05-19"
    assert [*Scope] == ["track", "validate", "analytics", "privacy"]
    assert wire.METHODS == ("GET", "HEAD", "POST", "PUT", "DELETE")
    assert wire.ALLOW == ("DELETE", "GET", "HEAD", "OPTIONS", "POST", "PUT")
    assert [name.lower() for name in wire.REQUEST_HEADERS] == [
        "content-type",
        "x-api-key",
        "x-jay-api-version",
        "__secure-jay_tracking",
        "x-jay-tracking",
        "idempotency-key",
    ]
    assert cors.LIBRARY_HEADERS == (
        "traceparent",
        "tracestate",
        "baggage",
        "sentry-trace",
        "x-requested-with",
        "cache-control",
        "pragma",
    )


def test_versions_resolve() -> None:
    """No version or an empty one is the latest, and an unknown one is `None`."""
    for requested in (None, "", "  ", "2025-05-19", " 2025-05-19 "):
        assert versions.resolve(requested) == "2025-05-19"
    for requested in ("2025-05-20", "latest", "1", "2025-05-19, 2025-05-19"):
        assert versions.resolve(requested) is None
