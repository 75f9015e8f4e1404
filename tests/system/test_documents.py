"""Commands in the documents work as pasted."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from service.config.settings import Settings
from tests.support.processes import Launch

PUBLISHED = f"http://127.0.0.1:{Settings().server.port}"


def shell_blocks(document: Path, heading: str) -> list[str]:
    """Return the shell blocks of a section."""
    section = document.read_text("utf-8").split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return re.findall(r"```sh\n(.*?)```", section, re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_first_session_of_the_readme_works_as_pasted(project: Path, launch: Launch) -> None:
    """The README's first session creates three sessions, ends one and counts them."""
    process = launch()
    blocks = shell_blocks(project / "README.md", "A first session")
    outputs = [
        subprocess.run(
            ["/bin/sh", "-ec", block.replace(PUBLISHED, process.url)],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        ).stdout
        for block in blocks
    ]
    guest, user, read, counts = outputs
    assert guest.startswith("HTTP/1.1 201")
    assert '"user_id":"user-123-xyz"' in user
    found, ended, missing = read.index('{"session_id"'), read.index("HTTP/1.1 204"), read.index('"status":404')
    assert found < ended < missing
    assert '"totals":{"active":2,"created":3,"ended":1,' in counts
