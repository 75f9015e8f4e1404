"""The memory limit of the embedded server, from its container or machine."""

import os
from collections.abc import Iterator
from pathlib import Path

from service.config.sizes import HALF, parse_size

# A rewrite of the append-only file forks the server. With many writes its memory can
# double until the rewrite ends. So the server gets half of the memory.
_DIVISOR = 2


def max_memory_bytes(max_memory: str) -> int:
    """Return the setting `redis.max_memory` in bytes."""
    size = None if max_memory == HALF else parse_size(max_memory)
    return allowed_bytes() // _DIVISOR if size is None else size


def allowed_bytes(root: Path = Path("/")) -> int:
    """Return the memory of the machine, or the lowest limit of this process's cgroups.

    `root` is the folder that contains `proc` and `sys`.
    """
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([machine, *_cgroup_limits(root)])


def _cgroup_limits(root: Path) -> Iterator[int]:
    """Yield the limits of this process's cgroup and of its ancestors.

    Source: man 7 cgroups. macOS has none.
    """
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, controllers, path = line.split(":", 2)
        if number == "0":
            base, name = root / "sys/fs/cgroup", "memory.max"
        elif "memory" in controllers.split(","):
            base, name = root / "sys/fs/cgroup/memory", "memory.limit_in_bytes"
        else:
            continue
        # A container sees its own cgroup at the base. With version 1 the path exists
        # only on the host.
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            if group.is_relative_to(base) and (limit := _read(group / name)) and limit.strip().isdigit():
                yield int(limit)


def _read(file: Path) -> str | None:
    try:
        return file.read_text("ascii")
    except OSError:  # missing or hidden from the container, so no limit is known
        return None
