"""The scripts as Redis is sent them."""

from functools import cache
from importlib import resources

NAMES = ("counters", "create", "created", "end", "erase", "secrets", "union", "user")


@cache
def script_text(name: str) -> str:
    """Return `scripts/<name>.lua` with `shard.lua` in front, because a script cannot load another."""
    folder = resources.files("service.storage") / "scripts"
    return "\n".join((folder / f"{part}.lua").read_text("utf-8") for part in ("shard", name))
