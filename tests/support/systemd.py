"""A unit of systemd: its lines, and the environment that it gives to its program."""

import re
from pathlib import Path

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "jay-tracking.service"


class Unit:
    """The directives of a unit, of which some have several lines."""

    def __init__(self, file: Path) -> None:
        self._lines = re.findall(r"^([A-Za-z]+)=(.*)$", file.read_text("utf-8"), re.MULTILINE)

    def values(self, name: str) -> list[str]:
        """Return the values of a directive, in order."""
        return [value for directive, value in self._lines if directive == name]

    def value(self, name: str) -> str:
        """Return the value of a directive that has one line."""
        (value,) = self.values(name)
        return value

    @property
    def credentials(self) -> dict[str, str]:
        """Return the files of the credentials by name."""
        return dict(line.split(":", 1) for line in self.values("LoadCredential"))

    def environment(self, credentials: Path, state: Path) -> dict[str, str]:
        """Return the variables, with the folders that `%d` and `%S` stand for."""
        pairs = dict(line.split("=", 1) for line in self.values("Environment"))
        return {
            name: value.replace("%d", str(credentials)).replace("%S", str(state)) for name, value in pairs.items()
        }
