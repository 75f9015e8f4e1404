"""The API reference is valid, complete, and agrees with the code."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi.definitions import OPENAPI_31

from service import __version__
from service.api import count_definitions, create_body, lookup_body, problems, request_limits, versions, wire
from service.api.count_query import DEFAULT_LIMIT, MAX_HOURS, MAX_LIMIT
from service.api.handlers.openapi import openapi_json, openapi_yaml
from service.api.session_token import MAX_CANDIDATES
from service.api.user_id import MISSING_VALUES
from service.api_keys import Scope
from service.sessions import MAX_USER_ID_LENGTH, SOURCE_PATTERN
from tests.support.openapi import Reference

# The rows of the contract, which clients rely on.
CONTRACT = {
    400: {"malformed-request", "unsupported-version"},
    401: {"unauthorized", "session-required"},
    403: {"forbidden"},
    404: {"session-not-found", "not-found"},
    405: {"method-not-allowed"},
    408: {"request-timeout"},
    413: {"body-too-large"},
    414: {"uri-too-long"},
    415: {"unsupported-media-type"},
    422: {"invalid-request"},
    429: {"too-many-requests"},
    431: {"headers-too-large"},
    500: {"internal-error"},
    503: {"store-unavailable", "overloaded"},
}


@pytest.fixture(scope="module")
def reference() -> Reference:
    """Return the document."""
    return Reference()


def documented_problems(reference: Reference) -> dict[tuple[int, str], set[str]]:
    """Return the titles of the problem examples, by status and slug."""
    found: dict[tuple[int, str], set[str]] = {}
    for schema in reference.document["components"]["schemas"].values():
        if "const" in schema.get("properties", {}).get("type", {}):
            slug = schema["properties"]["type"]["const"].removeprefix(wire.PROBLEM_TYPE_PREFIX)
            found[schema["properties"]["status"]["const"], slug] = set()
    for _, media_type in reference.media_types():
        for example in examples_of(reference, media_type):
            if isinstance(example, dict) and str(example.get("type")).startswith(wire.PROBLEM_TYPE_PREFIX):
                slug = example["type"].removeprefix(wire.PROBLEM_TYPE_PREFIX)
                found[example["status"], slug].add(example["title"])
    return found


def examples_of(reference: Reference, media_type: Any) -> list[Any]:
    named = [reference.resolved(example)["value"] for example in media_type.get("examples", {}).values()]
    return [*named, media_type["example"]] if "example" in media_type else named


def references_in(node: object) -> list[str]:
    if isinstance(node, list):
        return [reference for one in node for reference in references_in(one)]
    if isinstance(node, dict):
        own = [node["$ref"]] if "$ref" in node else []
        return own + [reference for one in node.values() for reference in references_in(one)]
    return []


def test_it_is_openapi(reference: Reference) -> None:
    """The document is valid OpenAPI 3.1, and the YAML and JSON forms are equal."""
    validator = jsonschema_rs.Draft202012Validator(OPENAPI_31)
    assert [
        f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(reference.document)
    ] == []
    assert json.loads(openapi_json()) == reference.document
    assert openapi_yaml().startswith("openapi: 3.1.0\n")
    assert max(map(len, openapi_yaml().splitlines())) <= 140


def test_references_resolve_and_components_are_used(reference: Reference) -> None:
    """Every reference resolves, and every component is used."""
    used = set(references_in(reference.document))
    for target in used:
        assert reference.resolved({"$ref": target})
    components = reference.document["components"]
    there = {f"#/components/{kind}/{name}" for kind in components for name in components[kind]}
    there -= {f"#/components/securitySchemes/{name}" for name in components["securitySchemes"]}
    assert used == there


def test_versions_agree(reference: Reference) -> None:
    """The document has the release's version and the API's versions."""
    components = reference.document["components"]
    assert reference.document["info"]["version"] == __version__
    assert components["headers"]["ApiVersion"]["schema"]["const"] == versions.LATEST
    assert components["parameters"]["ApiVersion"]["schema"]["enum"] == [*versions.SUPPORTED, ""]
    assert f"`x-jay-api-version: {versions.LATEST}`" in reference.document["info"]["description"]


def test_exactly_the_problems_of_the_service_are_documented(reference: Reference) -> None:
    """Each status, slug and title of the service's table has an example."""
    answered: dict[tuple[int, str], set[str]] = {}
    for row in problems._TABLE.values():
        answered.setdefault((row.status, row.slug), set()).add(row.title)
    documented = documented_problems(reference)
    assert documented.keys() == answered.keys()
    for problem, titles in answered.items():
        assert documented[problem]
        assert documented[problem] <= titles


def test_every_row_of_the_contract_is_documented(reference: Reference) -> None:
    """Each row's status and problems are documented at its request."""
    documented = {
        status: {slug for one, slug in documented_problems(reference) if one == status} for status in CONTRACT
    }
    assert documented == CONTRACT
    statuses = {int(status) for operation in reference.operations().values() for status in operation["responses"]}
    assert statuses >= CONTRACT.keys()
    responses = reference.document["components"]["responses"].values()
    headers_of = {
        schema.get("$ref", "").rpartition("/")[2]: set(response["headers"])
        for response in responses
        for media_type in response["content"].values()
        for schema in media_type["schema"].get("oneOf", [media_type["schema"]])
    }
    assert "WWW-Authenticate" in headers_of["Unauthorized"]
    assert "Allow" in headers_of["MethodNotAllowed"]
    assert "Retry-After" in headers_of["StoreUnavailable"] & headers_of["Overloaded"] & headers_of["TooManyRequests"]


def test_every_body_has_a_valid_example(reference: Reference) -> None:
    """Every body has an example that matches its schema."""
    for where, media_type in reference.media_types():
        examples = examples_of(reference, media_type)
        assert examples or where.startswith("/paths//openapi.json"), where
        for example in examples:
            assert reference.errors(example, media_type["schema"]) == [], where


def test_every_other_example_is_valid(reference: Reference) -> None:
    """Examples of parameters, headers and schemas match their schema."""
    components = reference.document["components"]
    described = [*components["parameters"].values(), *components["headers"].values()]
    described += [
        reference.resolved(parameter)
        for operation in reference.operations().values()
        for parameter in operation.get("parameters", ())
    ]
    for one in described:
        if "example" in one:
            assert reference.errors(one["example"], one["schema"]) == [], one
    for schema in components["schemas"].values():
        for example in schema.get("examples", ()):
            assert reference.errors(example, schema) == [], schema


def test_definitions_are_quoted_exactly(reference: Reference) -> None:
    """The examples have the same definitions as the service's answers."""
    examples = reference.document["components"]["examples"]
    for name, expected in (
        ("CountsByHour", count_definitions.SESSIONS),
        ("CountsByDay", count_definitions.SESSIONS),
        ("TopUsers", count_definitions.TOP_USERS),
        ("UserCounts", count_definitions.USER),
    ):
        assert examples[name]["value"]["definitions"] == expected


def test_limits_match_the_code(reference: Reference) -> None:
    """Lengths, numbers and scopes in the document are those of the code."""
    schemas, text = reference.document["components"]["schemas"], openapi_yaml()
    assert schemas["UserId"]["maxLength"] == schemas["UserIdOrNone"]["maxLength"] == MAX_USER_ID_LENGTH
    assert schemas["Source"]["pattern"] == f"^{SOURCE_PATTERN}$"
    assert set(schemas["NewSession"]["properties"]) == set(create_body.FIELDS)
    assert schemas["Lookup"]["properties"]["session_ids"]["maxItems"] == lookup_body.MAX_IDS
    assert schemas["TopUsers"]["properties"]["users"]["maxItems"] == MAX_LIMIT
    (limit,) = (one["schema"] for one in reference.operations()[TOP]["parameters"] if one.get("name") == "limit")
    assert (limit["minimum"], limit["maximum"], limit["default"]) == (1, MAX_LIMIT, DEFAULT_LIMIT)
    for name in ("UserId", "UserIdOrNone"):
        assert set(schemas[name]["not"]["enum"]) == MISSING_VALUES
    for sentence in (
        f"at most {MAX_HOURS} hours",
        f"over {request_limits.MAX_FIELD_BYTES:,} bytes, or there are more than {request_limits.MAX_HEADERS}",
        f"over {request_limits.MAX_LINE_BYTES:,} bytes",
        f"at most {create_body.MAX_BYTES // 1024} KiB",
        f"at most {lookup_body.MAX_BYTES // 1024} KiB",
        f"up to {lookup_body.MAX_IDS:,} sessions",
        *(f"| `{scope}` |" for scope in Scope),
    ):
        assert sentence in text


def test_limits_in_the_guide_match_the_code(project: Path) -> None:
    """docs/api.md has the limits of the code."""
    text = " ".join((project / "docs/api.md").read_text("utf-8").split())
    create_kib, lookup_kib = create_body.MAX_BYTES // 1024, lookup_body.MAX_BYTES // 1024
    for sentence in (
        f"at most {MAX_CANDIDATES} different ids",
        f"at most {MAX_USER_ID_LENGTH} characters",
        f"more than {create_kib} KiB, or {lookup_kib} KiB for a lookup",
        f"with 1 to {lookup_body.MAX_IDS:,} ids",
        f"at most {MAX_HOURS} hours",
    ):
        assert sentence in text


def test_the_headers_that_pages_can_read_are_listed(reference: Reference) -> None:
    """`ExposeHeaders` of the document lists `RESPONSE_HEADERS` of `wire.py`."""
    listed = reference.document["components"]["headers"]["ExposeHeaders"]["schema"]["const"]
    assert listed == ", ".join(wire.RESPONSE_HEADERS)


TOP = ("GET", "/v1/playouts/tracking/analytics/users")


def test_operations_are_described(reference: Reference) -> None:
    """Each operation has a unique id, a summary, a description and one tag."""
    operations = reference.operations()
    assert set(Counter(operation["operationId"] for operation in operations.values()).values()) == {1}
    tags = {tag["name"] for tag in reference.document["tags"] if tag["description"]}
    for operation in operations.values():
        assert operation["summary"]
        assert operation["description"]
        assert len(operation["tags"]) == 1
        assert set(operation["tags"]) <= tags
        assert re.fullmatch("[a-z][A-Za-z]+", operation["operationId"])


def test_head_and_the_short_path_are_the_same(reference: Reference) -> None:
    """HEAD is described where GET is, and both paths of a session are equal."""
    operations = reference.operations()

    def promise(method: str, path: str) -> tuple[object, ...]:
        operation = operations[method, path]
        return tuple(operation.get(part) for part in ("parameters", "requestBody", "responses", "security", "tags"))

    for method, path in operations:
        if method == "GET":
            assert promise("HEAD", path) == promise("GET", path)
    long, short = wire.SESSION_PATHS
    for method in ("POST", "GET", "HEAD", "DELETE"):
        assert promise(method, long) == promise(method, short)
