"""What OpenAPI cannot say of a valid request, made true of the cases that schemathesis takes for valid.

Two rules of requests relate values to each other or to the clock (docs/decisions.md), and a read that finds something
has to name a session that lives. Invalid cases go out as they are.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import schemathesis

_TOKEN = "__Secure-jay_tracking"
_DAY = timedelta(days=1)

_created: list[str] = []


Context = schemathesis.HookContext
Case: TypeAlias = "schemathesis.Case[Any]"


@schemathesis.hook
def before_call(context: Context, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - as it is called
    """Mend a valid case before it is sent."""
    if case.meta is None or case.meta.generation.mode.is_positive:
        _order_range(case.query)
        _agree(case.body)
        if case.method in {"GET", "HEAD"}:
            _present_live_session(case.headers)


@schemathesis.hook
def after_call(context: Context, case: Case, response: schemathesis.Response) -> None:  # noqa: ARG001 - as it is called
    """Remember the last session that was created."""
    if response.status_code == 201:
        _created[:] = response.headers[_TOKEN.lower()]


def _order_range(query: Any) -> None:
    """Have a range begin before it ends, and while counts are kept: no schema knows the time."""
    now = datetime.now(UTC)
    for name, moment in (("from", now - 2 * _DAY), ("to", now - _DAY)):
        if name in query:
            # Spelled as it was generated: with or without a time, its letters, its fraction.
            time = query[name][10:]
            query[name] = f"{moment:%Y-%m-%d}" + (f"{time[0]}{moment:%H:%M:%S}{time[9:]}" if time else "")


def _agree(body: Any) -> None:
    """Have both spellings of the user id say the same: no schema compares members."""
    if isinstance(body, dict) and {"user_id", "userId"} <= body.keys():
        body["userId"] = body["user_id"]


def _present_live_session(headers: Any) -> None:
    """Have most reads name the last session that was created; what else may stand there is tried by the others."""
    if _created and len(headers.get(_TOKEN, "")) % 4 != 3:
        headers[_TOKEN] = _created[0]
