"""The handlers of counts: sessions, the most active users, one user.

`count_query.py` reads the query. `count_definitions.py` explains the figures.
"""

import time
from collections.abc import Iterable

import orjson
from aiohttp import web

from service.api import count_definitions
from service.api.answer_cache import AnswerCache
from service.api.count_query import CountQuery, CountQueryReader
from service.api.responses import json_response
from service.api.timestamps import rfc3339
from service.api.user_id import user_id_in_path
from service.counts import Bounds, CountRange, CountStore, Interval, Peak, SessionCounts, SourceCounts
from service.users import UserStore


class AnalyticsHandlers:
    """GET of the counts under `/analytics`."""

    def __init__(self, counts: CountStore, users: UserStore, retention_days: int) -> None:
        self._counts = counts
        self._users = users
        self._reader = CountQueryReader(retention_days, time.time)
        self._answers = AnswerCache()

    def forget_answers(self) -> None:
        """Drop the cached answers. The erasure of a user calls this."""
        self._answers.clear()

    async def count_sessions(self, request: web.Request) -> web.Response:
        """Answer 200 with totals, figures by source and a series."""
        query = self._reader.read(request, ("from", "to", "interval", "source", "tz"))

        async def answer() -> bytes:
            now = time.time()
            counts = await self._counts.count_sessions(query.requested, now, query.source)
            return orjson.dumps(
                {
                    **_heading(query, now),
                    "interval": query.requested.interval,
                    "tz": query.requested.zone.name,
                    "totals": {**_figures(counts.total), **_peak(counts.peak)},
                    "sources": [{"source": name, **_figures(figures)} for name, figures in counts.by_source.items()],
                    "series": list(_series(query.requested, counts)),
                    "definitions": count_definitions.SESSIONS,
                }
            )

        return json_response(await self._answers.get(query, answer))

    async def top_users(self, request: web.Request) -> web.Response:
        """Answer 200 with the users who created the most sessions.

        Each number has bounds.
        """
        query = self._reader.read(request, ("from", "to", "limit"))

        async def answer() -> bytes:
            now = time.time()
            top = await self._counts.top_users(query.requested, query.limit)
            return orjson.dumps(
                {
                    **_heading(query, now),
                    "users": [{"user_id": user, "created": _bounds(created)} for user, created in top.users],
                    "others_at_most": top.others_at_most,
                    "definitions": count_definitions.TOP_USERS,
                }
            )

        return json_response(await self._answers.get(("users", query), answer, holds_user_ids=True))

    async def count_user(self, request: web.Request) -> web.Response:
        """Answer 200 with one user's figures.

        The answer holds the user id, so it is not cached.
        """
        user_id = user_id_in_path(request)
        query = self._reader.read(request, ("from", "to"))
        now = time.time()
        counts = await self._users.count(user_id, query.requested)
        active = counts.active_by_source
        content = {
            **_heading(query, now),
            "user_id": user_id,
            "active": sum(active.values()),
            "sources": [{"source": source, "active": number} for source, number in active.items()],
            "created": _bounds(counts.created),
            "definitions": count_definitions.USER,
        }
        return json_response(orjson.dumps(content))


def _heading(query: CountQuery, now: float) -> dict[str, str]:
    return {"as_of": rfc3339(now), "from": rfc3339(query.requested.start), "to": rfc3339(query.requested.end)}


def _figures(counts: SourceCounts) -> dict[str, int | None]:
    known = [number for number in counts.expired if number is not None]
    return {
        "active": counts.active,
        "created": sum(counts.created),
        "ended": sum(counts.ended),
        "expired": sum(known) if known else None,
        "unique_users": counts.unique_users,
        "consent_given": sum(counts.consent_given),
        "consent_withdrawn": sum(counts.consent_withdrawn),
    }


def _peak(peak: Peak | None) -> dict[str, object]:
    return {"peak_active": peak and peak.active, "peak_at": peak and rfc3339(peak.at)}


def _series(requested: CountRange, counts: SessionCounts) -> Iterable[dict[str, object]]:
    """Yield a point for each interval.

    `sources` leaves out each source whose numbers are zero.
    """
    for number, start in enumerate(requested.starts):
        point = {"start": rfc3339(start), **_point(counts.total, number)}
        if requested.interval is Interval.DAY:
            point["unique_users"] = counts.unique_users[number]
        by_source = ((name, _point(figures, number)) for name, figures in counts.by_source.items())
        point["sources"] = {name: figures for name, figures in by_source if any(figures.values())}
        yield point


def _point(counts: SourceCounts, number: int) -> dict[str, object]:
    """Return the figures of one interval."""
    return {
        "active": counts.active_at[number],
        "created": counts.created[number],
        "ended": counts.ended[number],
        "expired": counts.expired[number],
        "consent_given": counts.consent_given[number],
        "consent_withdrawn": counts.consent_withdrawn[number],
    }


def _bounds(bounds: Bounds) -> dict[str, int]:
    return {"at_least": bounds.at_least, "at_most": bounds.at_most}
