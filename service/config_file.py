"""A YAML file as plain values, or one sentence that says why not."""

import os
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from service.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML that takes no name twice: the second would silently replace the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """Return the mapping. Raises a YAMLError at the second of two equal names."""
        seen = set()
        for name, _ in node.value:
            if isinstance(name, yaml.ScalarNode):
                if name.value in seen:
                    raise yaml.MarkedYAMLError(problem=_TWICE, problem_mark=name.start_mark)
                seen.add(name.value)
        return super().construct_mapping(node, deep)


_TWICE = "the same name stands twice"


def read_yaml(path: Path) -> object:
    """Return what a file holds, None when it is empty. Raises FileNotFoundError, and ConfigError for all else."""
    try:
        return yaml.load(path.read_text("utf-8"), _Loader)  # noqa: S506 - a safe one
    except FileNotFoundError:
        raise
    except UnicodeDecodeError:
        mistake = "is not text in UTF-8; save it anew in that encoding"
    except OSError as error:
        mistake = f"cannot be read by user {os.getuid()} ({error.strerror}); check its permissions and its folder's"
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" near line {mark.line + 1}" if mark else ""
        is_twice = getattr(error, "problem", None) == _TWICE
        mistake = f"{_TWICE}{where}; remove one" if is_twice else f"is not YAML{where}; check indentation and quotes"
    except (ValueError, RecursionError):
        mistake = "holds a value that cannot be read; check dates, numbers and nesting"
    raise ConfigError([f"{path}: {mistake}"])
