"""The measurable rules of the project's English: words, sentences, widths.

The rules apply to all prose in the repository: docstrings, comments, messages, help
texts, documents, the API reference and the dashboard. Strings in tests are skipped,
because they are input or quote the service. Vendored files and locks are skipped too.

This command shows the findings of a file that is still in PENDING:
`pytest tests/test_prose.py --runxfail -k NAME`. A file in PENDING that has no findings
fails, so the list only gets shorter.
"""

import re
from collections import Counter
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.prose import Passage, Sentence, passages, sentences

ROOT = Path(__file__).parent.parent
FOLDERS = ("service", "tests", "bench", "tools", "docs", "deploy", ".ci")
SUFFIXES = {".py", ".lua", ".js", ".css", ".html", ".md", ".yaml", ".yml", ".json", ".toml", ".conf"}
NAMES = {"Dockerfile", "Makefile", "run", ".dockerignore", ".gitattributes", ".gitignore"}
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

# By folder, each line removed with the rewrite of its file.
PENDING: tuple[str, ...] = (
    # root
    "CHANGELOG.md",
    "docker-compose.yml",
    "pyproject.toml",
    # bench
    "bench/__init__.py",
    "bench/creation.py",
    "bench/http.py",
    "bench/isolation.py",
    "bench/limits.py",
    "bench/memory.py",
    "bench/process.py",
    "bench/processes.py",
    "bench/scale.py",
    "bench/traces.py",
    # deploy/monitoring
    "deploy/monitoring/alerts.yml",
    "deploy/monitoring/prometheus.yml",
    # deploy/monitoring/grafana/dashboards
    "deploy/monitoring/grafana/dashboards/jay-tracking.json",
    # docs
    "docs/architecture.md",
    "docs/decisions.md",
    "docs/operations.md",
    # service
    "service/__init__.py",
    "service/api_keys.py",
    "service/app.py",
    "service/counts.py",
    "service/errors.py",
    "service/rate_limits.py",
    "service/sessions.py",
    "service/stop_signals.py",
    "service/store_status.py",
    "service/versions.py",
    # service/api
    "service/api/__init__.py",
    "service/api/aiohttp_errors.py",
    "service/api/answer_cache.py",
    "service/api/auth.py",
    "service/api/client_address.py",
    "service/api/cors.py",
    "service/api/count_query.py",
    "service/api/create_body.py",
    "service/api/create_limits.py",
    "service/api/definitions.py",
    "service/api/dispatcher.py",
    "service/api/field_lines.py",
    "service/api/json_body.py",
    "service/api/known_paths.py",
    "service/api/lookup_body.py",
    "service/api/names.py",
    "service/api/openapi.yaml",
    "service/api/problems.py",
    "service/api/responses.py",
    "service/api/routes.py",
    "service/api/session_body.py",
    "service/api/session_token.py",
    "service/api/traced_dispatcher.py",
    "service/api/user_id.py",
    "service/api/wire.py",
    # service/api/aiohttp_internals
    "service/api/aiohttp_internals/clocks.py",
    "service/api/aiohttp_internals/connection.py",
    "service/api/aiohttp_internals/expectation.py",
    "service/api/aiohttp_internals/framing.py",
    "service/api/aiohttp_internals/server.py",
    "service/api/aiohttp_internals/site.py",
    # service/api/handlers
    "service/api/handlers/analytics.py",
    "service/api/handlers/openapi.py",
    "service/api/handlers/operations.py",
    "service/api/handlers/pages.py",
    "service/api/handlers/sessions.py",
    "service/api/handlers/users.py",
    # service/api/static
    "service/api/static/dashboard.css",
    "service/api/static/docs.css",
    # service/api/static/dashboard
    "service/api/static/dashboard/api.js",
    "service/api/static/dashboard/chart.js",
    "service/api/static/dashboard/dashboard.js",
    "service/api/static/dashboard/definitions.js",
    "service/api/static/dashboard/dom.js",
    "service/api/static/dashboard/key_store.js",
    "service/api/static/dashboard/notice.js",
    "service/api/static/dashboard/poller.js",
    "service/api/static/dashboard/ranges.js",
    "service/api/static/dashboard/series.js",
    "service/api/static/dashboard/start.js",
    "service/api/static/dashboard/tables.js",
    "service/api/static/dashboard/text.js",
    # service/commands
    # service/config
    # service/server
    # service/storage
    "service/storage/__init__.py",
    "service/storage/analytics.py",
    "service/storage/backoff.py",
    "service/storage/breaker.py",
    "service/storage/client.py",
    "service/storage/coalescer.py",
    "service/storage/connection.py",
    "service/storage/consistency_check.py",
    "service/storage/counters.py",
    "service/storage/data_dir.py",
    "service/storage/embedded.py",
    "service/storage/embedded_state.py",
    "service/storage/keyspace.py",
    "service/storage/lane.py",
    "service/storage/lanes.py",
    "service/storage/memory_growth.py",
    "service/storage/memory_limit.py",
    "service/storage/pipelines.py",
    "service/storage/readiness.py",
    "service/storage/redis_errors.py",
    "service/storage/redis_status.py",
    "service/storage/risk_log.py",
    "service/storage/script_files.py",
    "service/storage/seen_keys.py",
    "service/storage/self_test.py",
    "service/storage/session_store.py",
    "service/storage/session_value.py",
    "service/storage/source_counters.py",
    "service/storage/steps.py",
    "service/storage/store_watch.py",
    "service/storage/top_lists.py",
    "service/storage/traced_coalescer.py",
    "service/storage/unique_users.py",
    "service/storage/user_secrets.py",
    "service/storage/users.py",
    # service/storage/scripts
    "service/storage/scripts/counters.lua",
    "service/storage/scripts/create.lua",
    "service/storage/scripts/created.lua",
    "service/storage/scripts/end.lua",
    "service/storage/scripts/erase.lua",
    "service/storage/scripts/repair.lua",
    "service/storage/scripts/secrets.lua",
    "service/storage/scripts/self_test.lua",
    "service/storage/scripts/shard.lua",
    "service/storage/scripts/union.lua",
    "service/storage/scripts/user.lua",
    # service/telemetry
    # tests/browser
    "tests/browser/conftest.py",
    "tests/browser/dashboard.py",
    "tests/browser/test_cookie.py",
    "tests/browser/test_dashboard.py",
    "tests/browser/test_dashboard_looks.py",
    "tests/browser/test_dashboard_names.py",
    "tests/browser/test_dashboard_outages.py",
    "tests/browser/test_dashboard_start.py",
    "tests/browser/test_docs.py",
    "tests/browser/test_instrumented_pages.py",
    # tests/fuzz
    "tests/fuzz/__init__.py",
    "tests/fuzz/hooks.py",
    "tests/fuzz/schemathesis.toml",
    # tests/storage
    "tests/storage/conftest.py",
    "tests/storage/counts.py",
    "tests/storage/test_acl.py",
    "tests/storage/test_analytics.py",
    "tests/storage/test_bounded_reads.py",
    "tests/storage/test_erasure.py",
    "tests/storage/test_inspection.py",
    "tests/storage/test_long_run.py",
    "tests/storage/test_lost_replies.py",
    "tests/storage/test_model.py",
    "tests/storage/test_network.py",
    "tests/storage/test_outages.py",
    "tests/storage/test_rewrite.py",
    "tests/storage/test_session_store.py",
    # tests/system
    "tests/system/spec.py",
    "tests/system/test_canary.py",
    "tests/system/test_compose.py",
    "tests/system/test_demo.py",
    "tests/system/test_doctor.py",
    "tests/system/test_documents.py",
    "tests/system/test_full_store.py",
    "tests/system/test_fuzz.py",
    "tests/system/test_isolation.py",
    "tests/system/test_locks.py",
    "tests/system/test_metrics.py",
    "tests/system/test_monitoring.py",
    "tests/system/test_nginx.py",
    "tests/system/test_process.py",
    "tests/system/test_slow_loading.py",
    "tests/system/test_spec_clients.py",
    "tests/system/test_stalled_log.py",
    "tests/system/test_start_and_stop.py",
    "tests/system/test_supervision.py",
    "tests/system/test_terminals.py",
    "tests/system/test_tls.py",
    "tests/system/test_traces.py",
    # tools
    "tools/screenshots.py",
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


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason="in PENDING", strict=True)) if name in PENDING else name
        for name in FILES
    ],
)
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


def test_every_pending_file_exists() -> None:
    """A file that was renamed or removed is not in PENDING."""
    assert set(PENDING) <= set(FILES)


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
