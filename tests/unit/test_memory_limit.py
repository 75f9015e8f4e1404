import os
from pathlib import Path

import pytest

from service.config.loading import load
from service.config.settings import Settings
from service.config.sizes import parse_size
from service.errors import ConfigError
from service.storage.memory_limit import allowed_bytes, max_memory_bytes

MACHINE = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
MB = 1024 * 1024


def tree(root: Path, cgroup: str, **files: str) -> Path:
    """Return a folder that looks like `/` to the reader of limits."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(cgroup)
    for name, content in files.items():
        file = root / "sys/fs/cgroup" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return root


V2 = "0::/\n"
V1 = "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n"


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        (V2, {"memory.max": f"{64 * MB}\n"}, 64 * MB),
        (V2, {"memory.max": "max\n"}, MACHINE),
        (V2, {}, MACHINE),
        ("0::/a.slice/b.service\n", {"a.slice/b.service/memory.max": "max\n", "a.slice/memory.max": "1000\n"}, 1000),
        ("0::/a/b\n", {"a/b/memory.max": "2000\n", "a/memory.max": "3000\n", "c/memory.max": "1\n"}, 2000),
        (V1, {"memory/memory.limit_in_bytes": f"{64 * MB}\n"}, 64 * MB),
        (V1, {"memory/docker/abc/memory.limit_in_bytes": "5000\n"}, 5000),
        (V1, {"memory/memory.limit_in_bytes": "9223372036854771712\n"}, MACHINE),
        (V2, {"memory.max": "99999999999999999999\n"}, MACHINE),
        ("1:name=systemd:/\n", {"memory.max": "1\n"}, MACHINE),
        ("0::/../../outside\n", {"memory.max": "7000\n"}, 7000),
    ],
)
def test_the_lowest_limit_above_the_process_applies(
    tmp_path: Path, cgroup: str, files: dict[str, str], expected: int
) -> None:
    """The lowest limit of both cgroup versions applies, or the machine's memory."""
    assert allowed_bytes(tree(tmp_path, cgroup, **files)) == expected


def test_a_machine_without_cgroups_has_its_memory(tmp_path: Path) -> None:
    """Without cgroups, as on macOS, the limit is the machine's memory."""
    assert allowed_bytes(tmp_path) == MACHINE


def test_the_default_is_half_of_the_limit() -> None:
    """The default is half, because a rewrite of the file may take the rest."""
    assert Settings().redis.max_memory == "half"
    assert max_memory_bytes("half") == allowed_bytes() // 2
    assert max_memory_bytes("100mb") == 100 * MB


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("1", 1),
        ("1b", 1),
        ("1k", 1000),
        ("1kb", 1024),
        ("512MB", 512 * MB),
        ("2m", 2_000_000),
        ("3gb", 3 * 1024 * MB),
        ("3g", 3_000_000_000),
        ("", None),
        ("0", None),
        ("-1mb", None),
        ("1.5gb", None),
        ("1 gb", None),
        ("1tb", None),
        ("\u0661mb", None),
    ],
)
def test_sizes_have_the_units_of_redis(text: str, size: int | None) -> None:
    """Units with a b are powers of 1024, and those without are powers of 1000."""
    assert parse_size(text) == size


@pytest.mark.parametrize("value", ["8mb", "8388608", "half", "4096gb", "512MB"])
def test_a_usable_size_is_accepted(value: str) -> None:
    """A usable size is accepted from the environment and from the file."""
    assert load({"JAY_REDIS__MAX_MEMORY": value}).settings.redis.max_memory == value


@pytest.mark.parametrize("value", ["0", "8388607", "7mb", "4097gb", "Half", "50%", "much", "9" * 30])
def test_any_other_size_is_rejected(value: str) -> None:
    """Other sizes are rejected, also 0, which means no limit in Redis."""
    with pytest.raises(ConfigError, match="JAY_REDIS__MAX_MEMORY must be `half` or a size from 8mb to 4096gb"):
        load({"JAY_REDIS__MAX_MEMORY": value})
