"""`jay-tracking users show|export|erase`: the data of one user."""

import json
import sys
from typing import Any
from urllib.parse import quote

from rich.console import Console
from rich.text import Text

from service.api import wire
from service.commands import tables, time_range
from service.commands.api_client import ApiClient
from service.commands.tables import Column, Figures
from service.commands.terminal import MIN_WIDTH
from service.errors import CommandError
from service.quantities import quantity


def show(client: ApiClient, user_id: str) -> None:
    """Print live sessions by source, and the sessions created in the last day."""
    path = f"{wire.OPERATOR_PATH}/analytics/users/{_encoded(user_id)}"
    document = client.fetch(path, needs=("user_id", "active", "sources", "created"))
    _check_same(document["user_id"], user_id)
    active, rows = document["active"], document["sources"]
    column = Column("Active", [f"{row['active']:,}" for row in rows], f"{active:,}")
    figures = Figures("Source", [row["source"] for row in rows], "All sources", [column])
    console = Console()
    heading = tables.shorten(f"User {user_id}", max(console.width, MIN_WIDTH), console)
    console.print(Text(heading, style="bold"), no_wrap=True, overflow="ignore", crop=False)
    console.print(tables.lay_out(figures, console), crop=False)
    created = document["created"]
    low, high = created["at_least"], created["at_most"]
    number = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    console.print(
        f"Sessions created {time_range.range_in_words(document['from'], document['to'])}: {number}", highlight=False
    )


def export(client: ApiClient, user_id: str) -> None:
    """Print the live sessions as JSON."""
    print(json.dumps(_export(client, user_id), indent=2, ensure_ascii=False))


def erase(client: ApiClient, user_id: str, *, is_sure: bool) -> None:
    """Erase a user after confirmation and print the receipt.

    Raises CommandError without confirmation.
    """
    if not is_sure and not sys.stdin.isatty():
        raise CommandError("standard input is not a terminal, so nobody can confirm the erasure. Pass --yes to erase")
    found = _export(client, user_id)["sessions"]
    if not is_sure:
        sessions = quantity(len(found), "live session")
        question = f"End {sessions} of user {user_id!r} and remove the user id for good? [y/N] "
        # Standard output is for the receipt.
        print(question, end="", file=sys.stderr, flush=True)
        typed = sys.stdin.readline()
        if not typed.endswith("\n"):  # Ctrl-D
            print(file=sys.stderr)
        if typed.strip().lower() not in {"y", "yes"}:
            raise CommandError("nothing was erased")
    path = f"{wire.OPERATOR_PATH}/users/{_encoded(user_id)}"
    print(json.dumps(client.fetch(path, "DELETE", needs=("erased_sessions", "erased_at")), indent=2))


def _export(client: ApiClient, user_id: str) -> dict[str, Any]:
    document = client.fetch(f"{wire.OPERATOR_PATH}/users/{_encoded(user_id)}/sessions", needs=("sessions",))
    for session in document["sessions"]:
        _check_same(session.get("user_id"), user_id)
    return document


def _check_same(answered: object, user_id: str) -> None:
    """Raise CommandError if an answer is about another user.

    Some proxies decode or normalize paths.
    """
    if answered != user_id:
        raise CommandError(
            "the answer is about another user, because a proxy changed the path. "
            "Make the proxy pass paths unchanged, or pass the service's own URL with --url"
        )


def _encoded(user_id: str) -> str:
    """Return a user id as a segment of a path.

    Dots are encoded as well, because `.` and `..` are directories.
    """
    if not user_id:
        raise CommandError("the user id is empty. Sessions of guests have no user id")
    try:
        return quote(user_id, safe="").replace(".", "%2E")
    except UnicodeEncodeError:
        raise CommandError("the user id must be valid in the encoding of the terminal's locale") from None
