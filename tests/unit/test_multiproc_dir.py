"""The directory in which the workers of a service keep their metrics."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from service.errors import ServerError
from service.telemetry import multiproc_dir, scratch_folders

RACE = """
import os, sys
from pathlib import Path
from service.telemetry.multiproc_dir import VARIABLE, multiproc_dir
sys.stdin.read()
for _ in range(60):
    with multiproc_dir():
        folder = Path(os.environ[VARIABLE])
        (folder / "figures").write_text("1")
        for _ in range(3):
            assert (folder / "figures").exists(), "taken away"
    assert not folder.exists()
"""


def test_concurrent_starts_do_not_delete_each_others_folders(tmp_path: Path, project: Path) -> None:
    """Eight services that start together keep their folders, in 60 rounds."""
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": str(project)}
    services = [
        subprocess.Popen([sys.executable, "-c", RACE], env=environment, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(8)
    ]
    for service in services:
        assert service.stdin is not None
        service.stdin.close()  # starts all of them at once
        service.stdin = None
    failures = [service.communicate()[1].decode() for service in services]
    assert [service.returncode for service in services] == [0] * 8, "".join(failures)
    assert not list(tmp_path.iterdir())


def test_an_unlocked_folder_is_removed_only_when_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without a lock is removed after an hour.

    A service that was killed before it could lock its folder leaves one.
    """
    monkeypatch.setattr(multiproc_dir, "scratch_folders", lambda: iter([tmp_path]))
    monkeypatch.setenv(multiproc_dir.VARIABLE, "")
    young, old = tmp_path / "jay-new-young", tmp_path / "jay-new-old"
    young.mkdir()
    old.mkdir()
    os.utime(old, (0, 0))
    with multiproc_dir.multiproc_dir():
        assert young.exists()
        assert not old.exists()


def test_the_next_folder_is_used_when_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The start fails only when no folder works, and the error names the fix."""
    monkeypatch.setenv(multiproc_dir.VARIABLE, "")
    monkeypatch.setattr(multiproc_dir, "scratch_folders", lambda: iter([tmp_path / "none", tmp_path]))
    with multiproc_dir.multiproc_dir():
        assert Path(os.environ[multiproc_dir.VARIABLE]).parent == tmp_path
    monkeypatch.setattr(multiproc_dir, "scratch_folders", lambda: iter([tmp_path / "none"]))
    with (
        pytest.raises(ServerError, match=r"cannot keep metrics \(No such file or directory\).*set TMPDIR"),
        multiproc_dir.multiproc_dir(),
    ):
        pass


@pytest.mark.parametrize(("is_there", "has_tmpdir"), [(True, False), (False, False), (True, True)])
def test_a_folder_in_memory_is_preferred(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_there: bool, has_tmpdir: bool
) -> None:
    """A folder in memory is used, unless `TMPDIR` names one or none works."""
    memory, usual = tmp_path / "memory", tmp_path / "usual"
    usual.mkdir()
    if is_there:
        memory.mkdir()
    monkeypatch.setattr(scratch_folders, "_MEMORY", memory)
    monkeypatch.setattr(tempfile, "tempdir", str(usual))
    monkeypatch.setenv("TMPDIR", str(usual))
    if not has_tmpdir:
        monkeypatch.delenv("TMPDIR")
    expected = [memory, usual] if is_there and not has_tmpdir else [usual]
    assert list(scratch_folders.scratch_folders()) == expected
