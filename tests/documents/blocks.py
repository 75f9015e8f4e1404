"""The code blocks of all Markdown pages."""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FOLDERS = ("", "docs", "clients", "deploy")
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\S*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A code block. `page` is a path from the root, `line` that of its first line."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        """Return where the block is, as a test's name."""
        return f"{self.page}:{self.line}"


@cache
def pages() -> tuple[str, ...]:
    """Return the path of every page."""
    files = (
        file for folder in _FOLDERS for file in (ROOT / folder).glob("*.md" if folder in {"", "docs"} else "**/*.md")
    )
    return tuple(sorted(str(file.relative_to(ROOT)) for file in files))


@cache
def all_blocks() -> tuple[Block, ...]:
    """Return the blocks of all pages, in their order."""
    return tuple(block for page in pages() for block in _blocks(page))


def blocks_in(language: str, page: str | None = None) -> list[Block]:
    """Return the blocks in a language, of all pages or of one."""
    return [block for block in all_blocks() if block.language == language and page in {None, block.page}]


def _blocks(page: str) -> Iterator[Block]:
    content = (ROOT / page).read_text("utf-8")
    for found in _FENCE.finditer(content):
        line = content.count("\n", 0, found.start()) + 2
        yield Block(page, line, found["language"], textwrap.dedent(found["text"]))
