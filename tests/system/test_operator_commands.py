"""`counts` and `users` against a running service, as an operator types them."""

import csv
import http.server
import io
import json
import os
import pty
import re
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from rich.cells import cell_len

from service.api_keys import hash_key
from service.commands.counts import sparkline
from tests.support.http_servers import serving
from tests.support.processes import KEY, PATH, Launch, Process, command, eventually

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def service(launch: Launch) -> Process:
    """Run a service with four sessions: two of one user, one of another, one guest."""
    process = launch()
    for user_id in ("u[bold]1", "u[bold]1", "other", None):
        create(process, user_id)
    return process


def create(process: Process, user_id: str | None, key: str = KEY) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own URL
        process.url + PATH,
        method="POST",
        headers={"X-API-Key": key, "Content-Type": "application/json"},
        data=json.dumps({"user_id": user_id}).encode(),
    )
    with urllib.request.urlopen(request, timeout=10) as response:  # noqa: S310
        assert response.status == 201


@pytest.fixture
def run(environment: dict[str, str], service: Process) -> Run:
    """Return a function that runs the program. Keywords are environment variables."""

    def run_it(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        given = {**environment, "JAY_URL": service.url, "COLUMNS": "120", **variables}
        return subprocess.run(
            command(*arguments), env=given, capture_output=True, text=True, timeout=60, check=False, encoding="utf-8"
        )

    return run_it


def output(done: subprocess.CompletedProcess[str]) -> str:
    assert (done.returncode, done.stderr) == (0, ""), done
    return done.stdout


def test_counts_as_a_table(run: Run) -> None:
    """The table has a row with a sparkline for each source, and the totals."""
    shown = output(run("counts"))
    assert re.search(r"jay\.api\.playout\.1\.0\.0 +4 +4 +0 +0 +2 +█", shown)
    assert re.search(r"All sources +4 +4 +0 +0 +2 ", shown)
    assert "Most active: 4 at 20" in shown
    assert "by hour" in shown
    assert "As of 20" in shown
    assert "by day" in output(run("counts", "--from", "30d"))
    narrow = output(run("counts", COLUMNS="60"))
    assert max(map(len, narrow.splitlines())) <= 60
    assert "#" in output(run("counts", PYTHONIOENCODING="ascii"))


def test_counts_as_json_and_csv(run: Run) -> None:
    """`--json` prints the API's whole answer and `--csv` the series."""
    document: dict[str, Any] = json.loads(output(run("counts", "--json")))
    assert document["totals"]["created"] == 4
    assert document["definitions"]
    rows = list(csv.DictReader(io.StringIO(output(run("counts", "--csv")))))
    assert [(row["source"], row["created"], row["ended"]) for row in rows] == [("jay.api.playout.1.0.0", "4", "0")]
    figures = ["created", "ended", "expired", "active", "consent_given", "consent_withdrawn"]
    assert list(rows[0]) == ["start", "source", *figures]
    assert "Most active" not in output(run("counts", "--source", "radio"))
    one = json.loads(output(run("counts", "--json", "--from", "2h", "--interval", "hour", "--source", "radio")))
    assert one["totals"]["created"] == 0
    assert len(one["series"]) in {2, 3}


def test_counts_by_days_of_a_time_zone(run: Run) -> None:
    """`--tz` gives days of a zone, and an unknown zone is rejected at once."""
    today = datetime.now(ZoneInfo("Asia/Tokyo")).date()
    arguments = ("--tz", "Asia/Tokyo", "--from", str(today), "--to", str(today), "--interval", "day")
    document = json.loads(output(run("counts", "--json", *arguments)))
    assert (document["tz"], document["from"]) == ("Asia/Tokyo", f"{today - timedelta(days=1)}T15:00:00Z")
    assert f"Sessions on {today} (Asia/Tokyo day), by day" in output(run("counts", *arguments))
    for option, value, error in (
        ("--tz", "Mars/Olympus", "must be the name of a time zone"),
        ("--from", "yesterday", "or an age like 24h or 7d"),
        ("--to", "1w", "or an age like 24h or 7d"),
    ):
        done = run("counts", option, value)
        assert (done.returncode, done.stdout) == (2, "")
        assert error in done.stderr


def drain(terminal: int) -> bool:
    """Read all output that a terminal has received, without waiting for its end."""
    with suppress(BlockingIOError, OSError):
        while os.read(terminal, 65536):
            pass
    return True


def test_a_watched_table_is_updated(environment: dict[str, str], service: Process) -> None:
    """`--watch` updates the table, reports an outage and ends on Ctrl-C with 0."""
    leader, follower = pty.openpty()
    given = {**environment, "JAY_URL": service.url, "COLUMNS": "120", "LINES": "30", "TERM": "xterm"}
    watching = subprocess.Popen(
        command("counts", "--watch", "1"), env=given, stdout=follower, stdin=follower, stderr=follower, close_fds=True
    )
    os.close(follower)
    seen = ""

    def shows(what: str) -> bool:
        nonlocal seen
        seen += os.read(leader, 65536).decode(errors="replace")
        return bool(re.search(what, re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen)))

    try:
        eventually(lambda: shows("All sources +4 "), "the table", pause_seconds=0)
        create(service, None)
        eventually(lambda: shows("All sources +5 "), "the new session", pause_seconds=0)
        service.stop()
        eventually(lambda: shows("Not refreshed: no answer from"), "the report of the outage", pause_seconds=0)
        watching.send_signal(signal.SIGINT)
        os.set_blocking(leader, False)
        # The command ends once its last lines are read.
        eventually(lambda: drain(leader) and watching.poll() is not None, "the end of the command")
        assert watching.returncode == 0
    finally:
        watching.kill()
        watching.wait()
        os.close(leader)


def test_a_watched_table_can_be_piped(environment: dict[str, str], service: Process) -> None:
    """Each watched table is flushed, and the program ends when its reader does."""
    given = {**environment, "JAY_URL": service.url, "COLUMNS": "120"}
    watching = subprocess.Popen(command("counts", "--watch", "1"), env=given, stdout=subprocess.PIPE)
    try:
        assert watching.stdout
        tables = 0
        while tables < 2:
            line = watching.stdout.readline()
            assert line, "the output ended"
            tables += b"All sources" in line
        watching.stdout.close()
        assert watching.wait(20) == 1
    finally:
        watching.kill()
        watching.wait()


@pytest.mark.parametrize("user_id", ["undefined", "[object Object]", " ", "\u3000"])
def test_an_invalid_user_id_is_an_error(run: Run, user_id: str) -> None:
    """An invalid user id, as from a missing variable of a script, is an error."""
    for arguments in (("show", user_id), ("export", user_id), ("erase", user_id, "--yes")):
        done = run("users", *arguments)
        assert (done.returncode, done.stdout) == (1, "")
        assert "user_id must" in done.stderr


def test_users_are_shown_exported_and_erased(run: Run) -> None:
    """`users` shows, exports and erases users, and `erase` needs --yes in a script."""
    assert re.search(r"All sources +2", shown := output(run("users", "show", "u[bold]1")))
    assert "u[bold]1" in shown
    exported = json.loads(output(run("users", "export", "u[bold]1")))
    assert [session["user_id"] for session in exported["sessions"]] == ["u[bold]1"] * 2
    refused = run("users", "erase", "u[bold]1")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    receipt = json.loads(output(run("users", "erase", "u[bold]1", "--yes")))
    assert receipt["erased_sessions"] == 2
    assert json.loads(output(run("users", "export", "u[bold]1")))["sessions"] == []
    assert len(json.loads(output(run("users", "export", "other")))["sessions"]) == 1


@pytest.mark.parametrize(("typed", "left"), [(b"n\n", 1), (b"\n", 1), (b"\4", 1), (b"y\n", 0), (b" YES \n", 0)])
def test_erasing_asks_first(environment: dict[str, str], service: Process, run: Run, typed: bytes, left: int) -> None:
    """Any answer except yes erases nothing. Ctrl-D is no answer, and ends the line."""
    leader, follower = pty.openpty()
    os.write(leader, typed)
    done = subprocess.run(
        command("users", "erase", "other"),
        env={**environment, "JAY_URL": service.url},
        stdin=follower,
        capture_output=True,
        timeout=60,
        check=False,
    )
    os.close(leader)
    os.close(follower)
    question, _, rest = done.stderr.partition(b"? [y/N] ")
    assert question.startswith(b"End 1 live session of user")
    # A terminal shows the typed newline itself.
    assert rest == b"\n" * (typed == b"\4") + b"jay-tracking: nothing was erased\n" * left
    assert (done.returncode, bool(done.stdout)) == (left, not left)
    assert len(json.loads(output(run("users", "export", "other")))["sessions"]) == left


def test_errors_give_advice(run: Run, service: Process) -> None:
    """An error is one line with advice, exit status 1, and without the key."""
    for arguments, word in (
        (("counts", "--key", "your_api_key_here"), "scope `analytics`"),
        (("counts", "--key", "hunter2-key"), "valid API key"),
        (("counts", "--from", "2026-02-30"), "2026-01-31"),
        (("counts", "--url", "https://" + service.url.removeprefix("http://")), "(TLS failed). Does the port serve"),
        (("counts", "--url", "http://nowhere.invalid"), "the name of its host has no address"),
        (("counts", "--url", "http://127.0.0.1:1"), "Is the service running?"),
        (("counts", "--url", "localhost"), "must be like"),
        (("counts", "--url", service.url + "/nothing"), "Check its path"),
    ):
        done = run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), arguments
        assert word in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert "hunter2" not in done.stderr


def test_a_key_from_a_file_may_end_in_a_newline(run: Run) -> None:
    """A newline after a key is ignored, and an invalid key is not repeated."""
    assert json.loads(output(run("counts", "--json", JAY_KEY="demo-operator-key\n")))["totals"]
    done = run("counts", JAY_KEY="hunter2\nhunter3")
    assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
    assert "hunter" not in done.stderr


def test_a_closed_pipe_ends_a_command(environment: dict[str, str], service: Process) -> None:
    """A closed pipe ends a command without a traceback."""
    for arguments in (("counts", "--csv"), ("counts",), ("check-config",)):
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run(
            command(*arguments),
            env={**environment, "JAY_URL": service.url},
            stdout=writer,
            stderr=subprocess.PIPE,
            timeout=60,
            check=False,
        )
        os.close(writer)
        assert (done.returncode, done.stderr) == (1, b""), arguments


def test_figures_are_whole_in_any_width(run: Run) -> None:
    """No digit and no source is cut off, however narrow the terminal is."""
    for width in ("20", "40", "60", "80", "200"):
        shown = output(run("counts", COLUMNS=width)).replace("\n", "").replace(" ", "")
        assert "jay.api.playout.1.0.0" in shown
        assert "…" not in shown


def test_another_server_is_not_taken_for_the_service(run: Run) -> None:
    """The answer of another server is an error and no success."""

    class Foreign(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"a": 1}')

        do_GET = do_DELETE = answer  # noqa: N815 - the library's names

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Foreign) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for arguments in (("counts",), ("users", "show", "u"), ("users", "erase", "u", "--yes")):
            done = run(*arguments, "--url", f"http://127.0.0.1:{server.server_port}")
            assert (done.returncode, done.stdout) == (1, ""), arguments
            assert "Check the URL" in done.stderr
        server.shutdown()


def test_sparklines_fit() -> None:
    """Sparklines fit the width, with full bars at the maximum and none for 0."""
    assert sparkline([0, 1, 50, 100], 24) == " ▁▄█"
    assert sparkline([], 24) == ""
    assert sparkline([0, 0], 24) == "  "
    assert len(sparkline([1] * 90, 24)) == 23
    assert sparkline([1] * 48, 24) == "█" * 24


LONG_SOURCES = [f"jay.web.player.with-a-long-name/{'x' * 30}:{number}" for number in (1, 2)]
LONG_USERS = ["u" * 128, "日本語ユーザー" * 18]


@pytest.fixture
def wide(launch: Launch) -> Process:
    """Run a service whose sources and users have names of the maximum length."""
    keys = [{"name": "operator", "sha256": hash_key("demo-operator-key"), "scopes": ["analytics", "privacy"]}]
    keys += [
        {"name": f"k{n}", "sha256": hash_key(f"k{n}"), "scopes": ["track"], "source": source}
        for n, source in enumerate(LONG_SOURCES)
    ]
    process = launch(JAY_API_KEYS=json.dumps(keys))
    for number in range(2):
        for user_id in LONG_USERS:
            create(process, user_id, key=f"k{number}")
    return process


@pytest.mark.parametrize("width", [60, 80])
def test_long_names_fit(environment: dict[str, str], wide: Process, width: int) -> None:
    """No line is wider than the terminal, and JSON and CSV have the whole names."""
    given = {**environment, "JAY_URL": wide.url, "JAY_KEY": "demo-operator-key", "COLUMNS": str(width)}

    def shown(*arguments: str) -> str:
        done = subprocess.run(
            command(*arguments), env=given, capture_output=True, timeout=60, check=False, encoding="utf-8"
        )
        return output(done)

    for arguments in (("counts",), ("users", "show", LONG_USERS[0]), ("users", "show", LONG_USERS[1])):
        text = shown(*arguments)
        assert max(map(cell_len, text.splitlines())) <= width, text
        assert all(source in text for source in LONG_SOURCES) is (width >= 64)
        assert text.count(LONG_SOURCES[0][:20]) == 2
    assert all(source in shown("counts", "--csv") for source in LONG_SOURCES)
    assert all(source in shown("counts", "--json") for source in LONG_SOURCES)
    assert LONG_USERS[1] in shown("users", "export", LONG_USERS[1])


def test_a_date_is_a_whole_day(run: Run) -> None:
    """A date is its whole UTC day, and the heading names it."""
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    document = json.loads(output(run("counts", "--json", "--from", today, "--to", today)))
    assert document["from"] == f"{today}T00:00:00Z"
    assert (document["interval"], len(document["series"])) == ("hour", 24)
    assert document["totals"]["created"] == 4
    assert f"Sessions on {today} (UTC day), by hour" in output(run("counts", "--from", today, "--to", today))
    done = run("counts", "--from", today, "--to", "2020-01-01")
    assert (done.returncode, done.stdout) == (1, "")
    assert "must not be after `to`" in done.stderr


def test_settings_fit_a_terminal(environment: dict[str, str]) -> None:
    """A long setting wraps below its name, and a URL stays whole."""
    url = f"redis://user:password@{'long-name.' * 6}example.com:6379/0"
    leader, follower = pty.openpty()
    given = {**environment, "COLUMNS": "80", "JAY_REDIS__URL": url, "JAY_CORS__ORIGINS": json.dumps(ORIGINS)}
    done = subprocess.run(command("check-config"), env=given, stdout=follower, timeout=60, check=False)
    os.close(follower)
    text = read_all(leader)
    assert done.returncode == 0
    lines = [line.rstrip() for line in text.splitlines()]
    assert all(len(line) <= 80 or "long-name" in line for line in lines)
    assert any(url.replace("user:password", "user:***") in line for line in lines)
    assert all(any(origin in line for line in lines) for origin in ORIGINS)


ORIGINS = [f"https://www-{number}.example.com" for number in range(8)]


def read_all(leader: int) -> str:
    """Return the output of a terminal whose other end is closed, and close it."""
    seen = b""
    try:
        while part := os.read(leader, 65536):
            seen += part
    except OSError:  # EIO: the other end is closed
        pass
    os.close(leader)
    return seen.decode()


def test_help_fits_80_columns(environment: dict[str, str]) -> None:
    """The help of every command fits 80 columns."""
    names = re.findall(r"^    ([a-z][a-z-]+)\b", help_of(environment), re.MULTILINE)
    assert {"serve", "counts", "users", "doctor", "demo", "keys"} <= set(names)
    for words in ([], *([name] for name in names), ["users", "show"], ["users", "erase"], ["keys", "new"]):
        assert max(map(len, help_of(environment, *words).splitlines())) <= 80, words


def help_of(environment: dict[str, str], *words: str) -> str:
    given = {**environment, "COLUMNS": "80"}
    done = subprocess.run(
        command(*words, "--help"), env=given, capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


def test_an_outage_names_the_doctor(run: Run) -> None:
    """When the service cannot reach Redis, a command says how to find out why."""

    class Unavailable(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"detail": "The session store cannot be reached now."}).encode()
            self.send_response(503)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the output of the tests short."""

    with serving(Unavailable) as port:
        done = run("counts", "--url", f"http://127.0.0.1:{port}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.endswith("503: The session store cannot be reached now. Run `jay-tracking doctor`\n")
