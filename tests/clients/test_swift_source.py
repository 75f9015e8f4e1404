"""The source of the Swift client, checked with a parser, because there is no compiler.

These tests show that the source is Swift, and that its names, labels and numbers are
right. They do not show that its types fit or that it behaves as described.
"""

import re
from pathlib import Path
from typing import Any

import pytest

from service.api import wire
from tests.clients.conformance import CONTENT
from tests.support.openapi import Reference
from tests.support.swift import UNNAMED, Parameter, Source

CLIENT = Path(__file__).parents[2] / "clients/swift"
CODE = (CLIENT / "JayTracking.swift").read_text("utf-8")
EXAMPLES = re.findall(r"^```swift\n(.*?)^```$", (CLIENT / "README.md").read_text("utf-8"), re.MULTILINE | re.DOTALL)
SESSION_PATH = "/v1/playouts/tracking/session"

# The names of Swift and Foundation that the client and its examples use.
STANDARD_TYPES = """
    Bool CustomDebugStringConvertible CustomReflectable CustomStringConvertible Data Date
    DateFormatter Decodable Double Equatable Error Foundation FoundationNetworking HTTPURLResponse
    Int JSONDecoder JSONEncoder Locale Mirror NSLock NSObject Never Sendable Set String Task
    TimeInterval TimeZone URL URLError URLRequest URLSession URLSessionConfiguration URLSessionTask
    URLSessionTaskDelegate UUID UInt64 UserDefaults Void unchecked
"""
STANDARD_NAMES = """
    $0 addingTimeInterval allSatisfy appendingPathComponent badServerResponse compactMap contains
    convertFromSnakeCase count date dateFormat decode dropFirst encode ephemeral
    finishTasksAndInvalidate flatMap hasPrefix httpBody httpCookieStorage httpMethod
    httpShouldSetCookies isEmpty keyDecodingStrategy locale lowercased map max prefix random
    removeObject shared split standard statusCode string timeIntervalSince timeoutIntervalForRequest
    timeoutIntervalForResource timeZone unlock urlCache utf8 uuidString
"""
# The parser takes some keywords for names.
KEYWORDS = "async defer self"
STANDARD = {*STANDARD_TYPES.split(), *STANDARD_NAMES.split(), *KEYWORDS.split()}
# Functions of Foundation with the name of a function of the client.
OTHER_LABELS: dict[str, list[tuple[str, ...]]] = {
    "data": [("for",)],
    "prefix": [(UNNAMED,), ("while",)],
    "set": [(UNNAMED, "forKey")],
    "setValue": [(UNNAMED, "forHTTPHeaderField")],
    "value": [("forHTTPHeaderField",)],
}


@pytest.fixture(scope="module")
def source() -> Source:
    """Return the client and the examples as one file."""
    return Source("\n".join([CODE, *EXAMPLES]))


def constant(name: str) -> str:
    """Return the value of a static constant as it is in the source."""
    found = re.search(rf"static let {name}(?:: [\w<>]+)? = (.+)", CODE)
    assert found, name
    return found[1].strip('"')


def test_the_parser_finds_no_error(source: Source) -> None:
    """The client and the examples of its README are Swift."""
    assert len(EXAMPLES) > 3
    assert source.errors() == []


def test_each_name_is_declared(source: Source) -> None:
    """Each name is declared in the client, or is one of Swift and Foundation."""
    foreign = source.used_names() - source.declared_names()
    assert foreign - STANDARD == set()
    assert STANDARD - foreign == set()


def test_each_call_has_the_labels_of_its_function(source: Source) -> None:
    """Each call of a function of the client has its labels, in their order."""
    signatures = source.signatures()
    for name, all_labels in OTHER_LABELS.items():
        signatures.setdefault(name, []).extend(tuple(map(Parameter, labels)) for labels in all_labels)
    checked = 0
    for call in source.calls():
        if call.name in signatures:
            assert any(call.fits(one) for one in signatures[call.name]), call
            checked += 1
    assert checked > 50


def test_the_names_are_those_of_the_service() -> None:
    """Path, headers and problem types are those that the service has."""
    assert "/" + constant("path") == SESSION_PATH
    assert f"/{constant('path')}/{constant('userPath')}" == f"{SESSION_PATH}/user"
    assert constant("keyHeader") == wire.API_KEY
    assert constant("sessionHeader") == wire.SESSION_TOKEN_ALIAS
    assert constant("idempotencyHeader") == wire.IDEMPOTENCY_KEY
    types = {body["type"] for body in bodies() if "type" in body}
    assert all(one.startswith(constant("problem")) for one in types)
    gone = re.findall(r'"([\w-]+)"', constant("goneKinds") + '"')
    assert {constant("problem") + kind for kind in gone} <= types
    assert gone == ["session-not-found", "session-already-ended"]


def bodies() -> list[dict[str, Any]]:
    """Return the JSON bodies of the cases, which have the problems of the service."""
    found = [response.get("body") for response in CONTENT["responses"].values()]
    return [body for body in found if isinstance(body, dict)]


def test_the_requests_are_in_the_api_reference() -> None:
    """The API reference has each method and path, and its status of success."""
    table = {
        name: dict(re.findall(r"case \.(\w+): return \"?(\w+)\"?", block))
        for name, block in re.findall(r"var (\w+): \w+ \{\n        switch self \{(.*?)\n        \}", CODE, re.DOTALL)
    }
    operations = Reference().operations()
    assert table["method"].keys() == table["expectedStatus"].keys()
    assert len(table["method"]) == 5
    for call, method in table["method"].items():
        path = f"{SESSION_PATH}/user" if call in {"setUser", "clearUser"} else SESSION_PATH
        responses = operations[method, path]["responses"]
        assert [status for status in responses if status.startswith("2")] == [table["expectedStatus"][call]]


def test_the_numbers_are_those_of_the_cases() -> None:
    """Tries, pauses and limits are those of clients of visits."""
    options = CONTENT["options"]["visit"]
    assert int(constant("tries")) == options["attempts"]
    assert float(constant("pause")) == options["pause_seconds"]
    assert float(constant("longestWait")) == options["longest_retry_after_seconds"]
    assert float(constant("timeout")) == options["timeout_seconds"]
    assert float(constant("sessionIsValid")) == options["session_is_valid_seconds"]
