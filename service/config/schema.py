"""The JSON Schema of `config.yaml`, by which editors complete and check the file.

It has names, types, bounds, choices and patterns. Checks that are Python functions, and
those across settings, are left to `jay-tracking check-config`.
"""

import dataclasses
import inspect
import json
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from service.config.declaration import declaration_of
from service.config.settings import Settings

_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string", Path: "string"}


def config_schema() -> dict[str, Any]:
    """Return the schema. It is of draft 7, which every YAML language server reads."""
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "config.yaml of jay-tracking",
        **_section_schema(Settings),
        "type": ["object", "null"],
    }


def config_schema_json() -> str:
    """Return the content of `config.schema.json`."""
    return json.dumps(config_schema(), indent=2, ensure_ascii=False) + "\n"


def _section_schema(section: type) -> dict[str, Any]:
    kinds = typing.get_type_hints(section)
    properties = {}
    for declared in dataclasses.fields(section):
        kind = kinds[declared.name]
        is_section = dataclasses.is_dataclass(kind)
        properties[declared.name] = (
            _section_schema(typing.cast("type", kind)) if is_section else _setting_schema(kind, declared)
        )
    # In a file, a section whose lines are all comments is null.
    return {
        "type": ["object", "null"],
        "description": inspect.getdoc(section),
        "properties": properties,
        "additionalProperties": False,
    }


def _setting_schema(kind: Any, declared: dataclasses.Field[Any]) -> dict[str, Any]:
    declaration = declaration_of(declared)
    return {
        "description": declaration.help,
        "default": _plain(declared.default),
        **_type_schema(kind),
        **getattr(declaration.check, "schema", {}),
        **declaration.schema,
    }


def _type_schema(kind: Any) -> dict[str, Any]:
    origin = get_origin(kind)
    if origin is types.UnionType:  # only unions with None are in use
        inner = _type_schema(get_args(kind)[0])
        inner.pop("minLength", None)  # an empty value counts as none
        return {**inner, "type": [inner["type"], "null"]}
    if origin is Literal:
        return {"enum": list(get_args(kind))}
    if origin is tuple:
        return {"type": "array", "items": {"type": "string"}}
    return {"type": _TYPES[kind], **({"minLength": 1} if kind in (str, Path) else {})}


def _plain(default: object) -> object:
    if isinstance(default, tuple):
        return list(default)
    return str(default) if isinstance(default, Path) else default
