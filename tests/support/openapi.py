"""The API reference for tests: it resolves references and validates values."""

import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs

from service.api.handlers.openapi import openapi_document

METHODS = frozenset({"get", "head", "post", "put", "patch", "delete", "options", "trace"})


class Reference:
    """The document, with checks of values and responses."""

    def __init__(self) -> None:
        self.document = openapi_document()

    def resolved(self, node: Any) -> Any:
        """Return the target of a reference, or any other node unchanged."""
        while isinstance(node, dict) and "$ref" in node:
            target: Any = self.document
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def operations(self) -> dict[tuple[str, str], Any]:
        """Return each operation by method, in upper case, and path."""
        return {
            (method.upper(), path): operation
            for path, item in self.document["paths"].items()
            for method, operation in item.items()
            if method in METHODS
        }

    def path_of(self, path: str) -> str:
        """Return the documented path that matches a real one."""
        for template in self.document["paths"]:
            if re.fullmatch(re.sub(r"\{[^}]+\}", "[^/]+", template), path.partition("?")[0]):
                return str(template)
        raise AssertionError(f"{path} is not documented")

    def errors(self, value: object, schema: Any) -> list[str]:
        """Return the schema errors of a value as sentences."""
        whole = {**schema, "components": self.document["components"]}
        validator = jsonschema_rs.Draft202012Validator(whole, validate_formats=True)
        return [f"{list(error.instance_path)}: {error.message}" for error in validator.iter_errors(value)]

    def media_types(self) -> Iterator[tuple[str, Any]]:
        """Yield each media type object of the document, with its location."""
        pending: list[tuple[str, Any]] = [("", self.document)]
        while pending:
            where, node = pending.pop()
            if isinstance(node, dict):
                if "content" in node and isinstance(node["content"], dict):
                    yield from ((f"{where}/content/{name}", one) for name, one in node["content"].items())
                pending += [(f"{where}/{name}", one) for name, one in node.items()]
            elif isinstance(node, list):
                pending += [(f"{where}/{number}", one) for number, one in enumerate(node)]
