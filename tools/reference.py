"""Writes lists from the code into other files: `make reference`.

docs/operations.md has a table of the settings and a table of the metrics.
docker-compose.yml has the variable of each setting. docs/scaling.md and docs/sizing.md
have the tables of `simulate_cluster.py`. A block starts with a line that names it and
ends with a line `end`. Everything outside of the blocks is written by hand.
config.schema.json is generated completely.
"""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

from service.config.schema import config_schema_json
from service.config.setting_list import all_settings, as_string
from service.config.settings import Settings
from service.telemetry.metrics import Counter, Metrics
from tools import simulate_cluster

ROOT = Path(__file__).parent.parent

# docker-compose.yml sets a value for these above the block.
_SET_BY_COMPOSE = {"JAY_REDIS__URL", "JAY_REDIS__DATA_DIR", "JAY_SERVER__HOST"}


def _settings_table() -> Iterator[str]:
    yield "| Setting | Default | Meaning |"
    yield "|---|---|---|"
    for setting in all_settings():
        default = as_string(setting.value_in(Settings()))
        yield f"| `{setting.name}` | `{default}` | {setting.declaration.help} |"


def _metrics_table() -> Iterator[str]:
    yield "| Metric | Labels | Meaning |"
    yield "|---|---|---|"
    for metric in Metrics().all():
        name = metric.name + ("_total" if isinstance(metric, Counter) else "")
        labels = ", ".join(f"`{label}`" for label in metric.labels) or "-"
        yield f"| `{name}` | {labels} | {metric.help} |"


def _compose_variables() -> Iterator[str]:
    for setting in all_settings():
        if setting.variable not in _SET_BY_COMPOSE:
            yield f"      {setting.variable}:"


PLAN = simulate_cluster.Plan(simulate_cluster.Load())

# By file, then by the name of the block.
BLOCKS: dict[str, dict[str, Callable[[], Iterator[str]]]] = {
    "docs/operations.md": {"settings": _settings_table, "metrics": _metrics_table},
    "docker-compose.yml": {"settings": _compose_variables},
    "docs/scaling.md": {
        "spread": simulate_cluster.spread_table,
        "load": lambda: simulate_cluster.load_table(PLAN),
        "nodes": lambda: simulate_cluster.node_table(PLAN),
    },
    "docs/sizing.md": {"sizes": simulate_cluster.size_table},
}


def updated(file: str) -> str:
    """Return a file's content with every block as the code declares it."""
    content = (ROOT / file).read_text("utf-8")
    for name, lines in BLOCKS[file].items():
        block = re.compile(rf"(?m)^( *(?:<!--|#) {name}: .*\n)(?:.*\n)*?( *(?:<!--|#) end\b)")
        parts = block.split(content)
        if len(parts) != 4:  # noqa: PLR2004 - before, first line, last line, after
            raise SystemExit(f"{file} must have exactly one block `{name}`")
        before, first, last, after = parts
        content = "".join((before, first, *(f"{line}\n" for line in lines()), last, after))
    return content


if __name__ == "__main__":
    for path in BLOCKS:
        (ROOT / path).write_text(updated(path), "utf-8")
    (ROOT / "config.schema.json").write_text(config_schema_json(), "utf-8")
