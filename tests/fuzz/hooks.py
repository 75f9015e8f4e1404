"""Makes the requests of schemathesis follow the rules that OpenAPI cannot express.

Some rules relate values to each other, to the clock or to the tz database
(docs/decisions.md). The hooks change values that are valid by themselves so that they
follow these rules. They do so in invalid requests too, so the service rejects these for
the invalid value and not for such a rule.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import jsonschema_rs
import schemathesis

from service.api.handlers.openapi import openapi_document

_TOKEN = "__Secure-jay_tracking"
_DAY = timedelta(days=1)
_SCHEMAS = openapi_document()["components"]["schemas"]
_USER_ID = jsonschema_rs.Draft202012Validator(_SCHEMAS["UserIdOrNone"])
_TIME_ZONE = _SCHEMAS["TimeZone"]
_ZONES = ("UTC", "Europe/Berlin", "America/New_York")
_MOMENT = re.compile(_SCHEMAS["Moment"]["pattern"])

# The last two sessions. Reads name the last one, which is never changed.
_created: list[str] = []
# The number of changes of a session's user is limited.
_MAX_CHANGES = 50
_changes: Counter[str] = Counter()

Context = schemathesis.HookContext
Case: TypeAlias = "schemathesis.Case[Any]"


@schemathesis.hook
def before_call(context: Context, case: Case, kwargs: dict[str, Any]) -> None:  # noqa: ARG001 - as it is called
    """Make a case follow the rules before it is sent."""
    _order_range(case.query)
    _name_a_zone(case.query)
    _agree(case.body)
    if case.meta is None or case.meta.generation.mode.is_positive:
        _present_live_session(case)


@schemathesis.hook
def after_call(context: Context, case: Case, response: schemathesis.Response) -> None:  # noqa: ARG001 - as it is called
    """Remember the last two sessions that were created."""
    if response.status_code != 201:
        return
    [session_id] = response.headers[_TOKEN.lower()]
    if session_id not in _created and not _changes[session_id]:  # no repeated creation
        _created[:] = [*_created[-1:], session_id]


def _order_range(query: Any) -> None:
    """Make a range begin before it ends, and in the time for which counts are kept.

    A schema cannot refer to the clock.
    """
    now = datetime.now(UTC)
    for name, moment in (("from", now - 2 * _DAY), ("to", now - _DAY)):
        text = query.get(name)
        if isinstance(text, str) and _MOMENT.fullmatch(text):
            # The spelling stays as it was generated: with or without a time, its
            # letters, its fraction.
            time = text[10:]
            query[name] = f"{moment:%Y-%m-%d}" + (f"{time[0]}{moment:%H:%M:%S}{time[9:]}" if time else "")


def _name_a_zone(query: Any) -> None:
    """Replace a name in the form of a time zone by that of a zone.

    A schema cannot refer to the tz database.
    """
    name = query.get("tz")
    if isinstance(name, str) and len(name) <= _TIME_ZONE["maxLength"] and re.search(_TIME_ZONE["pattern"], name):
        query["tz"] = _ZONES[len(name) % len(_ZONES)]


def _agree(body: Any) -> None:
    """Give both spellings of the user id the same value, an invalid one if it exists.

    A schema cannot compare two fields.
    """
    if isinstance(body, dict) and {"user_id", "userId"} <= body.keys():
        wrong = [value for value in (body["user_id"], body["userId"]) if not _USER_ID.is_valid(value)]
        body["user_id"] = body["userId"] = wrong[0] if wrong else body["user_id"]


def _present_live_session(case: Case) -> None:
    """Make most reads and changes of the user name a live session.

    The others keep the value that was generated. An id whose user has changed still
    names the session in further changes.
    """
    if len(_created) < 2 or len(case.headers.get(_TOKEN, "")) % 4 == 3:
        return
    to_change, to_read = _created
    if case.path.endswith("/session/user"):
        _changes[to_change] += 1
        if _changes[to_change] <= _MAX_CHANGES:
            case.headers[_TOKEN] = to_change
    elif case.method in {"GET", "HEAD"}:
        case.headers[_TOKEN] = to_read
