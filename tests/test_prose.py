"""The measurable rules of the project's English: words, sentences, widths.

The rules apply to all prose in the repository: docstrings, comments, messages, help
texts, documents, the API reference and the dashboard. Strings in tests are skipped,
because they are input or quote the service. Vendored files and locks are skipped too.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.prose import Passage, Sentence, passages, sentences

ROOT = Path(__file__).parent.parent
FOLDERS = ("jay_tracking", "service", "clients", "tests", "bench", "tools", "docs", "deploy", ".ci")
SUFFIXES = {
    ".py",
    ".lua",
    ".js",
    ".kt",
    ".mjs",
    ".swift",
    ".css",
    ".html",
    ".md",
    ".yaml",
    ".yml",
    ".json",
    ".toml",
    ".conf",
    ".service",
}
NAMES = {"Caddyfile", "Dockerfile", "Makefile", "run", ".dockerignore", ".gitattributes", ".gitignore"}
LEFT_OUT = {"vendor", "__pycache__", "node_modules", "golden_responses.json"}

MAX_COLUMNS = 88
MAX_WORDS = 40
MAX_AVERAGE_WORDS = 20
WORDS_PER_SEMICOLON = 1000
WORDS_PER_PAGE = 500
MAX_ALIGNED_COMMENTS = 2

BANNED = {
    r"anew": "again",
    r"who(?:m)?ever": "say who",
    r"mend(?:s|ed|ing)?": "fix",
    r"mistak(?:e|es|en|enly)": "error",
    r"(?:stands?|standing|stood)(?! for\b)(?!-)": "is, is in, is at",
    r"tell(?:s|ing)?|told": "returns, says, logs",
    r"(?:an?|any|each|every|no|one|empty|optional) text(?! (?:file|line|format|field|editor|stream))": "string",
    r"texts(?<!error texts)(?<!help texts)": "strings",
    r"members?": "field",
    r"what is wrong": "invalid, the error",
    r"all that|that which": "all, everything",
    r"hence|thus|therefore|wherefore": "so, or a new sentence",
    r"lest": "so that … not",
    r"upon": "on",
    r"wherein|whereby|therein|thereof|thereby|whence|whilst|amongst": "plain words",
    r"save (?:for|that|where|when|those|what)": "except",
    r"(?<!thing )(?<!body )(?<!one )(?<!what )(?<!where )(?<!who )else": "otherwise, or a new sentence",
    r"(?:behaviou?r|colou?r|favou?r|honou?r|neighbou?r)(?<=our)\w*|licence|centre": "American spelling",
}
BANNED_WORDS = re.compile("|".join(rf"\b(?:{pattern})\b" for pattern in BANNED), re.IGNORECASE)
RIDDLE = re.compile(r"[\W\d_]*(?:what|whatever|whoever|who|that which)\b", re.IGNORECASE)

# Files, words that are allowed there, and the reason.
EXCEPTIONS = (
    ("service/storage/scripts/*.lua", r"members?", "Redis has members of sets and sorted sets"),
    ("service/storage/top_lists.py", r"members?", "Redis has members of sorted sets"),
    ("tests/unit/test_top_lists.py", r"members?", "Redis has members of sorted sets"),
)


def _files() -> Iterator[str]:
    inside = (path for folder in FOLDERS for path in (ROOT / folder).rglob("*"))
    for path in sorted((*ROOT.iterdir(), *inside)):
        name = path.relative_to(ROOT)
        if path.is_file() and (path.suffix in SUFFIXES or path.name in NAMES) and LEFT_OUT.isdisjoint(name.parts):
            yield name.as_posix()


FILES = tuple(_files())


def _prose(name: str) -> list[Passage]:
    found = list(passages(ROOT / name))
    return [one for one in found if not (one.kind == "string" and name.startswith("tests/"))]


def _banned(name: str, all_sentences: list[Sentence]) -> Iterator[tuple[int, str]]:
    allowed = [words for files, words, _ in EXCEPTIONS if fnmatch(name, files)]
    for sentence in all_sentences:
        for found in BANNED_WORDS.finditer(sentence.masked):
            if not any(re.fullmatch(words, found[0], re.IGNORECASE) for words in allowed):
                yield sentence.line, f"“{found[0]}” in: {sentence.text}"


def _sentence_shapes(all_sentences: list[Sentence]) -> Iterator[tuple[int, str]]:
    for sentence in all_sentences:
        words = sentence.words
        if len(words) > 1 and RIDDLE.match(sentence.masked) and not sentence.masked.endswith("?"):
            yield sentence.line, f"begins with “{words[0]}”: {sentence.text}"
        if len(words) > MAX_WORDS:
            yield sentence.line, f"{len(words)} words, at most {MAX_WORDS}: {sentence.text}"


def _semicolons(all_sentences: list[Sentence]) -> Iterator[tuple[int, str]]:
    found = [one for one in all_sentences if re.search(r"(?<!&amp)(?<!&lt)(?<!&gt)(?<!&nbsp);", one.masked)]
    allowance = sum(len(one.words) for one in all_sentences) // WORDS_PER_SEMICOLON
    in_comments = [one for one in found if one.kind == "comment"]
    others = [one for one in found if one.kind != "comment"]
    for sentence in (*in_comments, *(others if len(others) > allowance else ())):
        yield sentence.line, f"semicolon in: {sentence.text}"


def _repeated(all_sentences: list[Sentence]) -> Iterator[tuple[int, str]]:
    found = [one for one in all_sentences if re.search(r"\bof its own\b", one.masked)]
    pages = sum(len(one.words) for one in all_sentences) / WORDS_PER_PAGE
    if len(found) > max(1, pages):
        yield found[-1].line, f"“of its own” {len(found)} times in this file: {found[-1].text}"


def _columns(name: str, prose: list[Passage]) -> Iterator[tuple[int, str]]:
    if not name.endswith((".py", ".lua")):
        return
    lines = (ROOT / name).read_text("utf-8").splitlines()
    trailing = Counter[tuple[int, int]]()
    for passage in prose:
        if passage.kind == "string":
            continue
        for number in range(passage.line, passage.line + passage.text.count("\n") + 1):
            line = lines[number - 1]
            is_lint = re.search(r"(?:# noqa|# type:|# pragma|#!|--!)", line)
            if len(line) > MAX_COLUMNS and not is_lint and not re.search(r"https?://|^\s*[|+├│└]", line):
                yield number, f"{len(line)} columns, at most {MAX_COLUMNS}: {line.strip()}"
        line = lines[passage.line - 1]
        column = line.rfind("# " if name.endswith(".py") else "-- ")
        if passage.kind == "comment" and line[:column].strip():
            trailing[passage.line, column] = trailing[passage.line - 1, column] + 1
            if trailing[passage.line, column] > MAX_ALIGNED_COMMENTS:
                yield passage.line, f"a column of comments: {line.strip()}"


def _findings(name: str) -> list[str]:
    prose = _prose(name)
    all_sentences = [sentence for passage in prose for sentence in sentences(passage)]
    found = (
        *_banned(name, all_sentences),
        *_sentence_shapes(all_sentences),
        *_semicolons(all_sentences),
        *_repeated(all_sentences),
        *_columns(name, prose),
    )
    return [f"{name}:{line}: {finding}" for line, finding in sorted(found)]


@pytest.mark.parametrize("name", FILES)
def test_prose_is_plain_english(name: str) -> None:
    """The prose of a file follows the rules."""
    findings = _findings(name)
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


def test_sentences_are_short_on_average() -> None:
    """A sentence has fewer than 20 words on average over the whole repository."""
    lengths = [
        len(sentence.words)
        for name in FILES
        for passage in _prose(name)
        if passage.kind in {"docstring", "comment", "document"}
        for sentence in sentences(passage)
    ]
    assert sum(lengths) / len(lengths) < MAX_AVERAGE_WORDS


def test_every_exception_is_used() -> None:
    """Every exception has a file in which its words occur."""
    for files, words, _ in EXCEPTIONS:
        matching = [
            sentence
            for name in FILES
            if fnmatch(name, files)
            for passage in _prose(name)
            for sentence in sentences(passage)
            if re.search(words, sentence.masked)
        ]
        assert matching, files
