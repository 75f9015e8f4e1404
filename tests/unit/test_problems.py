import inspect
import json

import pytest

from service import errors
from service.api.problems import problem_response

GOLDEN = {
    errors.MalformedRequest: (400, "malformed-request"),
    errors.UnsupportedVersion: (400, "unsupported-version"),
    errors.Unauthorized: (401, "unauthorized"),
    errors.SessionRequired: (401, "session-required"),
    errors.Forbidden: (403, "forbidden"),
    errors.PreflightRejected: (403, "forbidden"),
    errors.NotFound: (404, "not-found"),
    errors.SessionNotFound: (404, "session-not-found"),
    errors.RequestTimeout: (408, "request-timeout"),
    errors.SessionAlreadyEnded: (409, "session-already-ended"),
    errors.BodyTooLarge: (413, "body-too-large"),
    errors.UriTooLong: (414, "uri-too-long"),
    errors.UnsupportedMediaType: (415, "unsupported-media-type"),
    errors.ExpectationFailed: (417, "expectation-failed"),
    errors.InvalidRequest: (422, "invalid-request"),
    errors.HeadersTooLarge: (431, "headers-too-large"),
}


@pytest.mark.parametrize("kind", GOLDEN)
def test_each_error_is_a_problem_document(kind: type[errors.RequestError]) -> None:
    """Each request error has its documented status, type, title and request id."""
    response = problem_response(kind("Do this.", member="user_id"), "0123456789abcdef")
    status, slug = GOLDEN[kind]
    assert isinstance(response.body, bytes)
    document = json.loads(response.body)
    assert response.status == status
    assert response.headers["Content-Type"] == "application/problem+json"
    assert document.pop("title")
    assert document == {
        "type": f"urn:jay:problem:{slug}",
        "status": status,
        "detail": "Do this.",
        "request_id": "0123456789abcdef",
        "member": "user_id",
    }


def test_every_request_error_is_covered() -> None:
    """The table of this test has every subclass of `RequestError`."""
    kinds = {kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.RequestError)}
    assert kinds - {errors.RequestError} == {*GOLDEN, errors.MethodNotAllowed, errors.TooManyRequests}


def test_some_errors_carry_headers() -> None:
    """401, 405, 429 and 503 carry their headers."""
    unauthorized = problem_response(errors.Unauthorized(""), "")
    not_allowed = problem_response(errors.MethodNotAllowed(["GET", "POST"]), "")
    too_many = problem_response(errors.TooManyRequests("", 17), "")
    unavailable = problem_response(errors.StoreUnavailable("secret detail"), "")
    assert unauthorized.headers["WWW-Authenticate"] == 'ApiKey header="X-API-Key"'
    assert (not_allowed.status, not_allowed.headers["Allow"]) == (405, "GET, POST")
    assert (too_many.status, too_many.headers["Retry-After"]) == (429, "17")
    document = json.loads(too_many.body or b"")  # type: ignore[arg-type]
    assert (document["type"], document["title"]) == ("urn:jay:problem:too-many-requests", "Too many requests")
    assert (unavailable.status, unavailable.headers["Retry-After"]) == (503, "1")
    assert isinstance(unavailable.body, bytes)
    assert b"secret" not in unavailable.body


@pytest.mark.parametrize("kind", [errors.StoreUnavailable, errors.UnknownUserSecret, errors.Overloaded])
def test_every_503_tells_clients_when_to_repeat(kind: type[errors.JayError]) -> None:
    """Each 503 has `Retry-After`."""
    response = problem_response(kind("reason"), "id")
    assert (response.status, response.headers["Retry-After"]) == (503, "1")


def test_a_bug_is_answered_with_a_fixed_message() -> None:
    """An unexpected error is a 500 that reveals nothing about it."""
    response = problem_response(KeyError("canary"), "id")
    assert response.status == 500
    assert isinstance(response.body, bytes)
    assert b"canary" not in response.body
    assert json.loads(response.body)["type"] == "urn:jay:problem:internal-error"
