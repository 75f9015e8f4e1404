"""Reads a YAML file into plain values."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from service.config.text_file import UnreadableText, read_text
from service.config.values import INTEGER, NUMBER
from service.errors import ConfigError

_TWICE = "has the same name twice"
_MERGE = "uses `<<`"

# The start of PyYAML's problem, the reason for the user, and the fix.
_PROBLEMS = (
    (_TWICE, _TWICE, "Remove one"),
    (_MERGE, _MERGE, "Write the names out"),
    ("found character '\\t'", "is indented with a tab", "Use spaces"),
    ("but found another document", "has a second document", "Remove it"),
)


class _Loader(yaml.SafeLoader):
    """A YAML loader with the numbers of YAML 1.2 and without surprising values.

    PyYAML follows YAML 1.1, where `010` is 8, `12:30:00` is 45000, `1_000` is 1000 and
    `2026-01-31` is a date. Here these are strings. A name that occurs twice is an
    error, because the second would silently replace the first. `<<`, which YAML 1.2
    does not have, is an error, because it can grow a small file to gigabytes.
    """

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Return the mapping. Raises YAMLError at the second of two equal names."""
        seen = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in seen:
                    raise yaml.MarkedYAMLError(problem=_TWICE, problem_mark=name.start_mark)
                seen.add(name.value)
        return super().construct_mapping(node, deep)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Raise YAMLError for `<<`."""
        for name, _ in node.value:
            if name.tag == "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=_MERGE, problem_mark=name.start_mark)


_OTHER_FORMS = {f"tag:yaml.org,2002:{kind}" for kind in ("int", "float", "timestamp")}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _OTHER_FORMS]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag, _form in (("int", INTEGER.pattern), ("float", rf"{NUMBER.pattern}|[-+]?\.(?:inf|nan)")):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(f"(?:{_form})$"), list("-+.0123456789"))


def read_yaml(path: Path) -> object:
    """Return the value in a file, None when it is empty.

    Raises FileNotFoundError or ConfigError.
    """
    try:
        return yaml.load(read_text(path), _Loader)  # noqa: S506 - a subclass of SafeLoader
    except UnreadableText as error:
        reason = str(error)
    except yaml.YAMLError as error:
        reason = _yaml_reason(error)
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        ValueError,
    ):  # PyYAML raises these for a tag that does not fit its value
        reason = "holds a value that cannot be read. Check numbers, tags and nesting"
    raise ConfigError([f"{path}: {reason}"])


def _yaml_reason(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f" near line {mark.line + 1}" if mark else ""
    problem = getattr(error, "problem", None) or ""
    known = ((reason, fix) for start, reason, fix in _PROBLEMS if problem.startswith(start))
    reason, fix = next(known, ("is not YAML", "Check indentation and quotes"))
    return f"{reason}{where}. {fix}"
