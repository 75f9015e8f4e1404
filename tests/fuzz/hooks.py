"""Makes the requests of schemathesis follow the rules that OpenAPI cannot express.

Some rules relate values to each other, to the clock or to the tz database
(docs/decisions.md). The hooks change values that are valid by themselves so that they
follow these rules. They do so in invalid requests too, so the service rejects these for
the invalid value and not for such a rule.
"""

import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import jsonschema_rs
import requests
import schemathesis

from service.api.handlers.openapi import openapi_document
from service.api.wire import SESSION_PATHS

_TOKEN = "__Secure-jay_tracking"
_DAY = timedelta(days=1)
_SCHEMAS = openapi_document()["components"]["schemas"]
_USER_ID = jsonschema_rs.Draft202012Validator(_SCHEMAS["UserIdOrNone"])
_TIME_ZONE = _SCHEMAS["TimeZone"]
_ZONES = ("UTC", "Europe/Berlin", "America/New_York")
_MOMENT = re.compile(_SCHEMAS["Moment"]["pattern"])

_created: list[str] = []

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
    """Remember the last session that was created."""
    if response.status_code == 201:
        _created[:] = response.headers[_TOKEN.lower()]


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
    """Make most reads name the last session, and most changes of the user a new one.

    The others keep the value that was generated. A change of the user replaces its
    session, and the number of changes of a session is limited.
    """
    if len(case.headers.get(_TOKEN, "")) % 4 == 3:
        return
    if case.path.endswith("/session/user"):
        case.headers[_TOKEN] = _new_session(case.operation.schema.get_base_url())
    elif case.method in {"GET", "HEAD"} and _created:
        case.headers[_TOKEN] = _created[0]


def _new_session(base_url: str) -> str:
    key = {"X-API-Key": os.environ["FUZZ_KEY"]}
    answer = requests.post(base_url.rstrip("/") + SESSION_PATHS[0], headers=key, timeout=10)
    return answer.headers[_TOKEN]
