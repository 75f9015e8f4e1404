"""The shell blocks of each page run in their order, as somebody pastes them."""

import re
import shutil
from pathlib import Path

import pytest
import yaml

from service.config.environment import COMPOSE_VARIABLES
from service.config.setting_list import all_settings
from tests.documents.blocks import Block, all_blocks, blocks_in
from tests.documents.conftest import Terminal

# These pages need more than the service, and tests of their own follow them:
# test_correlation.py, test_python_blocks.py and test_distributions.py.
FOLLOWED_ELSEWHERE = {"docs/correlate.md", "docs/backends.md", "docs/releasing.md"}
PAGES = sorted({block.page for block in blocks_in("sh")} - FOLLOWED_ELSEWHERE)
_SUCCESS = range(200, 300)

pytestmark = pytest.mark.skipif(
    any(shutil.which(program) is None for program in ("curl", "make", "openssl")),
    reason="curl, make or openssl is not installed",
)


def expected_statuses(block: Block) -> list[range]:
    """Return the status of each request: the number in its comment, or any success."""
    lines = block.text.replace("\\\n", " ").splitlines()
    comments = [re.search(r"# (\d{3})\b", line) for line in lines if re.search(r"\bcurl ", line)]
    return [range(int(found[1]), int(found[1]) + 1) if found else _SUCCESS for found in comments]


def put_own_keys(folder: Path) -> None:
    """Replace the demo keys, which the page asks the reader to do by hand."""
    configuration = yaml.safe_load((folder / "config.yaml").read_text("utf-8"))
    configuration["api_keys"] = [{"name": "own", "sha256": "0" * 64, "scopes": ["track"]}]
    (folder / "config.yaml").write_text(yaml.safe_dump(configuration), "utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_the_shell_blocks_of_a_page_run_as_pasted(terminal: Terminal, page: str) -> None:
    """Every command succeeds, and every request gets the status in its comment."""
    blocks = blocks_in("sh", page)
    by_hand = next((at for at, block in enumerate(blocks) if ". ./.env" in block.text), len(blocks))
    terminal.paste(blocks[:by_hand])
    if by_hand < len(blocks):
        put_own_keys(terminal.folder)
        terminal.paste(blocks[by_hand:])
    expected = [one for block in blocks for one in expected_statuses(block)]
    actual = terminal.statuses()
    assert len(actual) == len(expected)
    assert all(status in allowed for status, allowed in zip(actual, expected, strict=True)), (actual, expected)


@pytest.mark.parametrize(
    "text",
    [
        "jay-tracking no-such-command",
        "jay-tracking counts --no-such-option",
        "make no-such-target",
        "docker compose no-such-command",
        "docker compose --profile edge up --no-such-option",
        "docker run other-image:1.0",
        "pip install no-such-package-at-all",
        "pip install ./clients/python[nothing]",
        ".venv/bin/pytest tests/unit/test_of_nothing.py",
        ".venv/bin/python -m bench.nothing",
        "pkill -HUP -o -f 'another program'",
        "systemctl restart another-unit",
        "git diff tests/no-such-file.py",
        "kubectl apply -k deploy/kubernetes/overlays/nothing",
        "kubectl -n jay-tracking rollout status deployment/another",
        "sudo cp no-such-file /etc/",
    ],
)
def test_a_wrong_command_in_a_page_is_found(terminal: Terminal, text: str) -> None:
    """A command that does not exist fails, whichever program it is of."""
    with pytest.raises(AssertionError):
        terminal.paste([Block("page.md", 1, "sh", text)])


def test_the_first_session_of_the_readme_is_what_the_readme_shows(terminal: Terminal) -> None:
    """The README's first session creates three sessions, ends one and counts them."""
    output = terminal.paste([block for block in blocks_in("sh", "README.md") if "curl" in block.text])
    assert output.startswith("HTTP/1.1 201")
    assert '"user_id":"user-123-xyz"' in output
    found, ended, missing = output.rindex('{"session_id"'), output.index("HTTP/1.1 204"), output.index('"status":404')
    assert found < ended < missing
    assert '"totals":{"active":2,"created":3,"ended":1,' in output


@pytest.mark.parametrize("block", blocks_in("dotenv"), ids=str)
def test_the_variables_of_a_dotenv_exist(block: Block) -> None:
    """Each line of a .env sets a variable that something reads."""
    known = {setting.variable for setting in all_settings()} | set(COMPOSE_VARIABLES)
    for line in block.text.splitlines():
        name = line.partition("=")[0].removesuffix("_FILE")
        assert name in known or name.startswith("OTEL_"), line


def test_every_block_is_run_or_shows_data() -> None:
    """A page has no block in a language that no test runs or checks."""
    run = {"sh", "dotenv", "python", "js", "html", "kotlin"}
    parsed = {"swift"}  # without a compiler (clients/swift/README.md)
    data = {"http", "json", "nginx", "haproxy", "yaml", ""}
    assert {block.language for block in all_blocks()} <= run | parsed | data
