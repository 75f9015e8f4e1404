"""A terminal in a copy of the project, beside a running service."""

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from service.config.settings import Settings
from tests.documents import stand_ins
from tests.documents.blocks import ROOT, Block
from tests.support.processes import Launch, Process

# URLs of the service in the pages.
EXAMPLES = (
    f"http://127.0.0.1:{Settings().server.port}",
    f"http://localhost:{Settings().server.port}",
    "https://localhost",
    "https://tracking.example.com",
)
_PARTS = ("docker-compose.yml", "config.yaml", "Makefile", "pyproject.toml", "Dockerfile")
_FOLDERS = ("requirements", "clients", "deploy")
_SYSTEM_FOLDERS = re.compile(r"(?<![\w.])/(?=(?:etc|opt|usr/local)/)")


@dataclass
class Terminal:
    """A shell in a copy of the project, beside a running service."""

    folder: Path
    process: Process
    environment: dict[str, str]

    def paste(self, blocks: list[Block]) -> str:
        """Run blocks in one shell until the first failure, and return their output."""
        script = "".join(f"echo '# {block}' >&2\n{self._here(block.text)}\n" for block in blocks)
        done = subprocess.run(
            ["/bin/sh", "-euc", script],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def statuses(self) -> list[int]:
        """Return the statuses of all requests of curl."""
        file = Path(self.environment[stand_ins.STATUSES])
        return [int(line) for line in file.read_text("ascii").splitlines()] if file.exists() else []

    def _here(self, text: str) -> str:
        """Return a block for the service and a copy of the system's folders."""
        root = f"{self.environment[stand_ins.SCRATCH]}/root/"
        text = for_process(text, self.process).replace("/usr/bin/", "")
        return _SYSTEM_FOLDERS.sub(root, text)


def for_process(text: str, process: Process) -> str:
    """Return a block with the URL of a process in place of that of the pages."""
    for example in EXAMPLES:
        text = text.replace(example, process.url)
    return text


@pytest.fixture
def terminal(launch: Launch, environment: dict[str, str], tmp_path: Path) -> Terminal:
    """Open a shell with a copy of the project and the programs of `stand_ins`."""
    process = launch(JAY_CORS__ORIGINS='["https://www.example.com"]')
    folder, scratch = tmp_path / "copy", tmp_path / "scratch"
    for folder_of_programs in (scratch / "bin", folder / ".venv" / "bin"):
        stand_ins.programs(folder_of_programs)
    for part in _PARTS:
        shutil.copy(ROOT / part, folder)
    for part in _FOLDERS:
        shutil.copytree(ROOT / part, folder / part)
    of_the_service = {name: value for name, value in environment.items() if name.startswith("JAY_")}
    for name in ("etc/systemd/system", "opt", "usr/local/share/ca-certificates"):
        (scratch / "root" / name).mkdir(parents=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("JAY_", "PYTEST_"))}
    return Terminal(
        folder,
        process,
        {
            **plain,
            "PATH": f"{scratch / 'bin'}{os.pathsep}{plain['PATH']}",
            "HOME": str(scratch),
            "JAY_URL": process.url,
            stand_ins.SERVICE: json.dumps(of_the_service),
            stand_ins.PID: str(process.popen.pid),
            stand_ins.STATUSES: str(scratch / "statuses"),
            stand_ins.SCRATCH: str(scratch),
        },
    )
