"""`counts` and `users` with a service whose answers are given."""

import csv
import dataclasses
import io
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from service.commands import counts, users
from service.commands.api_client import ApiClient
from service.commands.counts import CountsOptions, sparkline
from service.errors import CommandError

ZEROS = dict.fromkeys(("active", "created", "ended", "expired", "unique_users", *counts._CONSENTS), 0)
POINT = dict.fromkeys(counts._IN_SERIES, 0)
HOURS = [f"2026-11-26T{hour:02}:00:00Z" for hour in range(24)]
DAY = CountsOptions("2026-11-26", "2026-11-26", None, None)
Shown = Callable[..., str]


def document(totals: dict[str, Any] | None = None, **created: int) -> dict[str, Any]:
    """Return an answer of the API with a number of creations in each hour."""
    rows = [{"source": source, **ZEROS, "created": number} for source, number in created.items()]
    by_source = {source: {**POINT, "created": number} for source, number in created.items()}
    return {
        "as_of": "2026-11-27T00:00:00Z",
        "from": "2026-11-26T00:00:00Z",
        "to": "2026-11-27T00:00:00Z",
        "interval": "hour",
        "totals": {**ZEROS, "peak_active": 0, "peak_at": None, **(totals or {})},
        "sources": [{**row, **(totals or {})} for row in rows],
        "series": [{"start": start, "sources": by_source} for start in HOURS],
    }


class Service(ApiClient):
    """Gives answers, or raises errors, one after the other."""

    def __init__(self, *answers: dict[str, Any] | Exception) -> None:
        super().__init__("http://127.0.0.1:8080")
        self._answers = iter(answers)

    def fetch(self, *_: object, **__: object) -> dict[str, Any]:
        answer = next(self._answers)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Shown:
    """Return a function that shows an answer at a width and returns the output."""

    def show(answer: dict[str, Any], width: int = 120) -> str:
        monkeypatch.setenv("COLUMNS", str(width))
        counts.show(Service(answer), DAY)
        return capsys.readouterr().out

    return show


def test_the_source_with_most_sessions_comes_first(shown: Shown) -> None:
    """Rows are in the order of their sessions, whatever the order of the answer."""
    lines = shown(document(few=1, most=3, some=2)).splitlines()
    names = [line.split()[0] for line in lines if line.strip().startswith(("few", "most", "some"))]
    assert names == ["most", "some", "few"]


def test_consents_are_shown_when_there_are_any(shown: Shown) -> None:
    """The columns of consents appear with the first change of consent."""
    assert "Consent" not in shown(document(web=1))
    assert "Consent" in shown(document({"consent_withdrawn": 1}, web=1), width=160)


def test_an_unknown_figure_is_no_zero(shown: Shown) -> None:
    """A number that the service does not know is a question mark."""
    (row,) = [line for line in shown(document({"expired": None}, web=5)).splitlines() if "All sources" in line]
    assert row.split() == ["All", "sources", "0", "0", "0", "?", "0"]


def test_the_highest_number_of_active_sessions_is_shown(shown: Shown) -> None:
    """The line below the table has it with its time, unless there was none."""
    peak: dict[str, Any] = {"peak_active": 1234, "peak_at": "2026-11-26T12:00:00Z"}
    assert "Most active: 1,234 at 2026-11-26T12:00:00Z." in shown(document(peak, web=5))
    assert "Most active" not in shown(document())


@pytest.mark.parametrize(("width", "bars"), [(89, 12), (90, 24), (160, 24)])
def test_charts_are_shorter_on_narrow_terminals(shown: Shown, width: int, bars: int) -> None:
    """Below 90 columns a chart has 12 bars for 24 hours."""
    assert shown(document(web=1), width).count("█") == bars


def test_each_bar_stands_for_an_equal_part() -> None:
    """The numbers up to the maximum are spread evenly over the eight bars."""
    assert sparkline(range(1, 17), 24) == "▁▁▂▂▃▃▄▄▅▅▆▆▇▇██"


def test_csv_has_the_line_ends_of_unix(capsys: pytest.CaptureFixture[str]) -> None:
    """The CSV has a line for each interval and source, without carriage returns."""
    answer = document(web=2)
    answer["series"][0]["sources"]["web"]["expired"] = None
    counts.print_csv(Service(answer), DAY)
    written = capsys.readouterr().out
    assert "\r" not in written
    rows = list(csv.DictReader(io.StringIO(written)))
    assert [(row["start"], row["source"], row["created"]) for row in rows] == [(start, "web", "2") for start in HOURS]
    assert rows[0]["expired"] == ""


def test_a_watched_table_waits_between_two_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """After each request, also a failed one, the command waits for the interval."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    answers = (document(web=1), document(web=2), CommandError("no answer"), document(web=3))
    views = counts._views(Service(*answers), DAY, 7.0, Console(file=io.StringIO()))
    for number, _ in enumerate(itertools.islice(views, len(answers))):
        assert waits == [7.0] * number


def test_an_outage_is_shown_above_a_table_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """A low terminal shows the beginning of a long table, so the error comes first."""
    monkeypatch.setattr(time, "sleep", lambda _: None)
    console = Console(file=io.StringIO(), width=120)
    answers = (document(None, **{f"source-{number}": 1 for number in range(50)}), CommandError("no answer"))
    views = counts._views(Service(*answers), DAY, 7.0, console)
    next(views)
    with console.capture() as capture:
        console.print(next(views))
    first, *rest = capture.get().splitlines()
    assert first == "Not refreshed: no answer"
    assert sum("source-" in line for line in rest) == 50


def user(low: int, high: int, name: str = "u") -> dict[str, Any]:
    """Return the figures of a user without live sessions."""
    created = {"at_least": low, "at_most": high}
    times = {name: document()[name] for name in ("from", "to")}
    return {"user_id": name, "active": 0, "sources": [], "created": created, **times}


@pytest.mark.parametrize(("low", "high", "words"), [(3, 3, ": 3"), (0, 0, ": 0"), (1200, 1300, ": 1,200 to 1,300")])
def test_the_sessions_of_a_user_have_bounds(
    capsys: pytest.CaptureFixture[str], low: int, high: int, words: str
) -> None:
    """Bounds that are equal are one number."""
    users.show(Service(user(low, high)), "u")
    assert capsys.readouterr().out.endswith(f"Sessions created on 2026-11-26 (UTC day){words}\n")


def test_a_user_is_readable_on_the_narrowest_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long user id is shortened to 40 columns, not to fewer."""
    monkeypatch.setenv("COLUMNS", "10")
    name = "u" * 128
    users.show(Service(user(0, 0, name)), name)
    assert len(capsys.readouterr().out.splitlines()[0]) == 40


EXPORT = {"sessions": [{"user_id": "u"}, {"user_id": "v"}]}


@pytest.mark.parametrize(("command", "answer"), [(users.show, user(1, 1, "v")), (users.export, EXPORT)])
def test_the_data_of_another_user_is_not_shown(
    capsys: pytest.CaptureFixture[str], command: Callable[[ApiClient, str], None], answer: dict[str, Any]
) -> None:
    """An answer about another user is an error, and nothing of it is printed."""
    with pytest.raises(CommandError, match="about another user"):
        command(Service(answer), "u")
    assert capsys.readouterr().out == ""


def test_another_user_is_not_erased() -> None:
    """The command sends no erasure when the export is about another user."""
    with pytest.raises(CommandError, match="about another user"):
        users.erase(Service(EXPORT), "u", is_sure=True)


@pytest.mark.parametrize(("chosen", "asked"), [("day", "day"), (None, "hour")])
def test_a_chosen_interval_replaces_the_suitable_one(chosen: str | None, asked: str) -> None:
    """Without `--interval`, the series of one day has hours."""

    class Recording(Service):
        def fetch(self, *_: object, **parameters: object) -> dict[str, Any]:
            intervals.append(parameters["interval"])
            return super().fetch()

    intervals: list[object] = []
    counts.print_json(Recording(document(web=1)), dataclasses.replace(DAY, interval=chosen))
    assert intervals == [asked]
