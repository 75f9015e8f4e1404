"""The containers that Compose creates from docker-compose.yml.

The real podman-compose runs, and a fake podman records its calls.
"""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

_STAND_IN = """#!/bin/sh
printf '%s\\0' "$@" >> "$PODMAN_CALLS"
printf '\\n\\0' >> "$PODMAN_CALLS"
case "$*" in *--version*) echo podman version 4.3.1 ;; ps*) echo '[]' ;; esac
"""


@dataclass(frozen=True)
class Container:
    """A container as Compose would create it."""

    arguments: tuple[str, ...]

    def values(self, option: str) -> list[str]:
        """Return the values of an option, in order."""
        return [value for name, value in zip(self.arguments, self.arguments[1:], strict=False) if name == option]

    @property
    def environment(self) -> dict[str, str]:
        """Return the container's variables.

        The last value of a name wins, as in podman.
        """
        return dict(pair.split("=", 1) for pair in self.values("-e"))


def copy_of(project: Path, folder: Path) -> Path:
    """Return a folder with the Compose file and config.yaml, as on a server."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("docker-compose.yml", "config.yaml"):
        shutil.copy(project / name, folder)
    return folder


def plain_environment() -> dict[str, str]:
    """Return this process's environment without the service's variables."""
    return {name: value for name, value in os.environ.items() if not name.startswith("JAY_")}


def podman_compose(podman: Path) -> list[str]:
    """Return the command of podman-compose with a fake podman, which is written.

    The fake writes its calls to the file in PODMAN_CALLS.
    """
    podman.write_text(_STAND_IN)
    podman.chmod(0o755)
    return [str(Path(sys.executable).parent / "podman-compose"), "--podman-path", str(podman), "--in-pod=false"]


def up(folder: Path, *options: str, **variables: str) -> dict[str, Container]:
    """Run `compose up -d` in a folder and return the containers by service."""
    calls = folder.parent / "podman-calls"
    calls.unlink(missing_ok=True)
    subprocess.run(
        [*podman_compose(folder.parent / "podman"), *options, "up", "-d", "--no-build"],
        cwd=folder,
        env={**plain_environment(), "PODMAN_CALLS": str(calls), **variables},
        check=True,
        capture_output=True,
        timeout=60,
    )
    found = {}
    for call in calls.read_text().split("\n\0"):
        arguments = tuple(call.split("\0")[:-1])
        if arguments[:1] == ("create",):
            container = Container(arguments)
            label = next(one for one in container.values("--label") if one.startswith("com.docker.compose.service="))
            found[label.partition("=")[2]] = container
    return found
