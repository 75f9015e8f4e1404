"""Reads the English of a file: docstrings, comments, messages, documents, pages.

`passages` finds the prose of a file, and `sentences` splits a passage. Code is skipped:
fenced and indented blocks, code spans, URLs. The rules are in `tests/test_prose.py`.
"""

import ast
import io
import json
import re
import textwrap
import tokenize
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Literal

import yaml

Kind = Literal["docstring", "comment", "string", "document"]

# A string constant with fewer words is a name, a header or a format.
MIN_STRING_WORDS = 4

# YAML and JSON fields that people read: API reference, alerts, Grafana.
PROSE_FIELDS = {"description", "summary", "title", "action"}

DIRECTIVE = re.compile(r"(noqa\b[: ,A-Z0-9]*|type: ?ignore\S*|pragma: no (?:cover|branch)|fmt: \w+|!.*)[-: ]*")
COMMENT_OR_STRING = {
    "hash": re.compile(r"""(?P<comment>(?:(?<=\s)|^)\#.*)|"(?:\\.|[^"\\\n])*"|'[^'\n]*'""", re.MULTILINE),
    "lua": re.compile(r"""(?P<comment>--.*)|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'"""),
    "js": re.compile(
        r"""(?P<comment>/\*.*?\*/|//[^\n]*)"""
        r"""|(?P<string>"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*`)""",
        re.DOTALL,
    ),
}
MASKED = re.compile(
    r"``.+?``|`[^`]+`"  # code spans
    r"|https?://[^\s)>\"']+"
    r"|\]\([^)\s]*\)"  # targets of Markdown links
    r"|</?[a-z][^>]*>|<!--|-->",
    re.DOTALL,
)
BLOCK_START = re.compile(r"\s*$|\s*(?:[-*] |\d+\. |#+ |\||@\w+|:param|KEYS |ARGV |Returns )")
SENTENCE_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!vs\.)(?<!cf\.)[)\"'*_]*\s+")


@dataclass(frozen=True)
class Passage:
    """Prose that starts at a line of its file. It keeps its line breaks."""

    kind: Kind
    line: int
    text: str


@dataclass(frozen=True)
class Sentence:
    """A sentence, once as written and once with code and URLs replaced by `X`."""

    kind: Kind
    line: int
    text: str
    masked: str

    @property
    def words(self) -> list[str]:
        """The words. A code span counts as one."""
        return re.findall(r"[A-Za-z0-9][\w'.:/-]*", self.masked)


def passages(path: Path) -> Iterator[Passage]:
    """Yield all prose of a file."""
    source = path.read_text("utf-8")
    yield from READERS.get(path.suffix, _hash_comments)(source)


def sentences(passage: Passage) -> Iterator[Sentence]:
    """Split a passage at full stops, list items, headings and table cells."""
    masked = MASKED.sub(_mask, passage.text)
    for start, end in _blocks(passage.text):
        cells = r"[^|]+" if masked[start:end].lstrip().startswith("|") else r"(?s:.+)"
        for cell in re.finditer(cells, masked[start:end]):
            begin = start + cell.start()
            stops = [found.end() + begin for found in SENTENCE_END.finditer(cell[0])]
            for first, last in zip([begin, *stops], [*stops, start + cell.end()], strict=True):
                text = passage.text[first:last]
                if text.strip():
                    indent = len(text) - len(text.lstrip())
                    line = passage.line + passage.text.count("\n", 0, first + indent)
                    yield Sentence(passage.kind, line, " ".join(text.split()), " ".join(masked[first:last].split()))


def _mask(found: re.Match[str]) -> str:
    """Return as many characters: the positions of sentences must not change."""
    filler = " " if found[0].startswith(("]", "<", "--")) else "X"
    return re.sub(r"[^\n]", filler, found[0])


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yield the bounds of paragraphs, list items, headings and table rows."""
    start = position = 0
    after_blank = is_code = False
    for line in text.splitlines(keepends=True):
        is_code = (line.startswith("    ") and (after_blank or is_code)) or (is_code and not line.strip())
        after_blank = not line.strip()
        if is_code or BLOCK_START.match(line):
            yield start, position
            start = position
        position += len(line)
        if is_code:
            start = position
    yield start, position


def _python(source: str) -> Iterator[Passage]:
    lines = source.splitlines()
    documentation: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            documentation.add(id(node.value))
            text = "\n".join(lines[node.lineno - 1 : node.end_lineno])
            text = re.sub(r"^\s*r?\"{1,3}|\"{1,3}.*\Z", "", text)
            first, _, rest = text.partition("\n")
            yield Passage("docstring", node.lineno, "\n".join(filter(None, (first, textwrap.dedent(rest)))))
    yield from _python_comments(source)
    in_parts: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.JoinedStr):
            in_parts |= {id(part) for part in node.values}
            text = "".join(
                part.value if isinstance(part, ast.Constant) and isinstance(part.value, str) else "X"
                for part in node.values
            )
            yield from _string(text, node.lineno)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            in_parts.add(id(node.value))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in in_parts:
            yield from _string(node.value, node.lineno)


def _python_comments(source: str) -> Iterator[Passage]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from _joined(
        (token.start[0], token.start[1], token.line[: token.start[1]].strip() == "", token.string[1:])
        for token in tokens
        if token.type == tokenize.COMMENT
    )


def _joined(comments: Iterator[tuple[int, int, bool, str]]) -> Iterator[Passage]:
    """Join the lines of comment blocks: (line, column, alone on its line, text)."""
    block: list[str] = []
    first, at = 0, -1
    for line, column, alone, text in comments:
        bare = text.removeprefix(" ")
        directive = DIRECTIVE.match(bare)
        clean = bare[directive.end() :] if directive else bare
        if block and alone and column == at and line == first + len(block):
            block.append(clean)
            continue
        if block:
            yield Passage("comment", first, "\n".join(block))
        block, first, at = [clean], line, column if alone else -1
    if block:
        yield Passage("comment", first, "\n".join(block))


def _string(value: str, line: int) -> Iterator[Passage]:
    words = re.findall(r"(?:^|(?<=\s))[A-Za-z][a-z']+(?=[\s,.;:!?)]|$)", value)
    if len(words) >= MIN_STRING_WORDS and not re.search(r"\(\?|\[\^|\\[a-z]|redis\.p?call", value):
        yield Passage("string", line, value)


def _scanned(language: str, marker: str) -> Callable[[str], Iterator[Passage]]:
    def read(source: str) -> Iterator[Passage]:
        comments = []
        for found in COMMENT_OR_STRING[language].finditer(source):
            line = source.count("\n", 0, found.start()) + 1
            column = found.start() - source.rfind("\n", 0, found.start()) - 1
            alone = not source[found.start() - column : found.start()].strip()
            groups = found.groupdict()
            if (comment := groups.get("comment")) and comment.startswith(marker):
                comments.append((line, column, alone, comment.removeprefix(marker)))
            elif comment:
                inner = re.sub(r"(?m)^ *\*(?!/) ?", "", comment.strip("/").strip("*"))
                yield Passage("comment", line, inner)
            elif string := groups.get("string"):
                yield from _string(re.sub(r"\$\{[^}]*\}", "X", string[1:-1]), line)
        yield from _joined(iter(comments))

    return read


_hash_comments = _scanned("hash", "#")


def _markdown(source: str) -> Iterator[Passage]:
    """Yield the whole document, with fenced blocks blanked."""
    blank = re.sub(
        r"^( *)```.*?^\1```$", lambda found: "\n" * found[0].count("\n"), source, flags=re.DOTALL | re.MULTILINE
    )
    yield Passage("document", 1, blank)


def _yaml(source: str) -> Iterator[Passage]:
    yield from _hash_comments(source)
    pending = [yaml.compose(source, Loader=yaml.SafeLoader)]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.SequenceNode):
            pending.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                if isinstance(value, yaml.ScalarNode) and key.value in PROSE_FIELDS:
                    raw = source[value.start_mark.index : value.end_mark.index]
                    first, _, rest = raw.partition("\n")
                    first = "" if first[:1] in {"|", ">"} else first.strip("\"'")
                    yield Passage("document", value.start_mark.line + 1, f"{first}\n{textwrap.dedent(rest)}")
                pending.append(value)


def _json(source: str) -> Iterator[Passage]:
    for found in re.finditer(r'"(\w+)": ("(?:\\.|[^"\\])*")', source):
        if found[1] in PROSE_FIELDS:
            yield Passage("document", source.count("\n", 0, found.start()) + 1, json.loads(found[2]))


class _Page(HTMLParser):
    """Collects the prose of an HTML page."""

    ATTRIBUTES = ("title", "alt", "aria-label", "placeholder")

    def __init__(self) -> None:
        super().__init__()
        self.passages: list[Passage] = []
        self._tag = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._tag = tag
        for name, value in attrs:
            if name in self.ATTRIBUTES and value:
                self.passages.append(Passage("document", self.getpos()[0], value))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - HTMLParser calls it
        self._tag = ""

    def handle_data(self, data: str) -> None:
        if self._tag not in {"script", "style", "code"} and data.strip():
            self.passages.append(Passage("document", self.getpos()[0], data))

    def handle_comment(self, data: str) -> None:
        self.passages.append(Passage("comment", self.getpos()[0], data))


def _html(source: str) -> Iterator[Passage]:
    page = _Page()
    page.feed(source)
    yield from page.passages


READERS: dict[str, Callable[[str], Iterator[Passage]]] = {
    ".py": _python,
    ".lua": _scanned("lua", "--"),
    **dict.fromkeys((".js", ".kt", ".mjs", ".swift"), _scanned("js", "//")),
    ".css": _scanned("js", "//"),
    ".md": _markdown,
    ".yaml": _yaml,
    ".yml": _yaml,
    ".json": _json,
    ".html": _html,
}
