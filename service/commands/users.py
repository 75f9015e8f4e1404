"""`jay-tracking users show|export|erase`: what is kept of one user."""

import json
import sys
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from service.api import wire
from service.commands import tables, time_range
from service.commands.api_client import ApiClient
from service.commands.tables import MIN_WIDTH, Column, Figures
from service.errors import CommandError


def show(client: ApiClient, user_id: str) -> None:
    """Print live sessions by source, and the bounds of those created in the last day."""
    path = f"{wire.OPERATOR_PATH}/analytics/users/{_encoded(user_id)}"
    document = client.fetch(path, needs=("user_id", "active", "sources", "created"))
    _check_same(document["user_id"], user_id)
    active, rows = document["active"], document["sources"]
    column = Column("Active", [f"{row['active']:,}" for row in rows], f"{active:,}")
    figures = Figures("Source", [row["source"] for row in rows], "All sources", [column])
    console = Console()
    heading = tables.shortened(f"User {user_id}", max(console.width, MIN_WIDTH), console)
    console.print(Text(heading, style="bold", no_wrap=True, overflow="ignore"), crop=False)
    console.print(tables.laid_out(figures, console), crop=False)
    created = document["created"]
    low, high = created["at_least"], created["at_most"]
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    console.print(f"Created {time_range.spoken(document['from'], document['to'])}: {number}", highlight=False)


def export(client: ApiClient, user_id: str) -> None:
    """Print the live sessions as JSON."""
    print(json.dumps(_export(client, user_id), indent=2, ensure_ascii=False))


def erase(client: ApiClient, user_id: str, *, is_sure: bool) -> None:
    """Erase after a question and print the receipt. Raises CommandError when nobody can be asked, or says no."""
    if not is_sure and not sys.stdin.isatty():
        raise CommandError("there is nobody to ask whether to erase; say --yes")
    found = _export(client, user_id)["sessions"]
    if not is_sure:
        question = f"End {len(found)} live sessions of user {user_id!r} and forget the id, for good? [y/N] "
        print(question, end="", file=sys.stderr, flush=True)  # standard output is the receipt's
        if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
            raise CommandError("nothing was erased")
    path = f"{wire.OPERATOR_PATH}/users/{_encoded(user_id)}"
    print(json.dumps(client.fetch(path, "DELETE", needs=("erased_sessions", "erased_at")), indent=2))


def _export(client: ApiClient, user_id: str) -> dict[str, Any]:
    document = client.fetch(f"{wire.OPERATOR_PATH}/users/{_encoded(user_id)}/sessions", needs=("sessions",))
    for session in document["sessions"]:
        _check_same(session.get("user_id"), user_id)
    return document


def _check_same(answered: object, user_id: str) -> None:
    """Raise CommandError when an answer is of another user: some proxies decode or tidy up paths."""
    if answered != user_id:
        raise CommandError(
            "a proxy on the way changed the path, so that the answer is another user's: "
            "have it pass paths as they come, or ask the service itself with --url"
        )


def _encoded(user_id: str) -> str:
    """Return a user id as a segment of a path; dots too, as `.` and `..` would else be taken for directories."""
    if not user_id:
        raise CommandError("the user id is empty; guests have none")
    try:
        return quote(user_id, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise CommandError("the user id must be UTF-8, as the terminal's locale says") from None
