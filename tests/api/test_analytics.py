import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis.asyncio

from service.config.settings import AnalyticsSettings
from tests.api.conftest import Service, Start, problem
from tests.support.servers import RedisServer

BASE = "/v1/playouts/tracking/analytics"
OPERATOR = {"X-API-Key": "operator-key"}
NO_CONSENTS = {"consent_given": 0, "consent_withdrawn": 0}


async def get(service: Service, path: str, **query: str) -> dict[str, Any]:
    response = await service.request("GET", f"{BASE}/{path}", headers=OPERATOR, params=query)
    assert response.status == 200, await response.text()
    document: dict[str, Any] = await response.json()
    return document


async def fill(service: Service) -> None:
    """Create 12 sessions and end three of them.

    Six are of guests and six of three users. The TV key creates half of each.
    """
    ids = []
    for number in range(12):
        headers = {"X-API-Key": "tv-key"} if number % 4 < 2 else {}
        body = {"json": {"user_id": f"user-{number % 3}"}} if number % 2 else {}
        ids.append(await service.create(headers=headers, **body))
    for session_id in ids[:3]:
        await service.request("DELETE", headers={"X-Jay-Tracking": session_id})


async def test_totals_sources_and_series_agree(service: Service) -> None:
    """The series adds up to the sources, and the sources to the totals."""
    await fill(service)
    document = await get(service, "sessions")
    totals = {"active": 9, "created": 12, "ended": 3, "expired": 0, "unique_users": 3, **NO_CONSENTS}
    peak = {"peak_active": 9, "peak_at": document["as_of"]}
    assert document["totals"] == {**totals, **peak}
    default, tv = document["sources"]
    assert default["source"] == "jay.api.playout.1.0.0"
    assert tv == {
        "source": "tv.app.2",
        "active": 4,
        "created": 6,
        "ended": 2,
        "expired": 0,
        "unique_users": 3,
        **NO_CONSENTS,
    }
    assert default["created"] + tv["created"] == 12
    assert 24 <= len(document["series"]) <= 25
    assert document["interval"] == "hour"
    assert sum(point["created"] for point in document["series"]) == 12
    assert sum(point["ended"] for point in document["series"]) == 3
    by_source = [point["sources"].get("tv.app.2", {"created": 0})["created"] for point in document["series"]]
    assert sum(by_source) == 6
    names = {"start", "active", "created", "ended", "expired", "sources", *NO_CONSENTS}
    assert all(set(point) == names for point in document["series"])
    assert {point["active"] for point in document["series"]} == {0}
    # A source without sessions in an hour is left out. The last two may have some.
    assert not any(point["sources"] for point in document["series"][:-2])
    assert document["series"][-1]["sources"]["tv.app.2"] == {
        "active": 0,
        "created": 6,
        "ended": 2,
        "expired": 0,
        **NO_CONSENTS,
    }


async def test_an_answer_describes_itself(service: Service) -> None:
    """An answer has the time it was true, its range and the definitions."""
    document = await get(service, "sessions")
    as_of = datetime.fromisoformat(document["as_of"])
    assert abs(datetime.now(UTC) - as_of) < timedelta(seconds=30)
    start, end = (datetime.fromisoformat(document[name]) for name in ("from", "to"))
    assert start <= as_of - timedelta(hours=23)
    assert as_of <= end
    assert start.minute == end.minute == 0
    assert set(document["definitions"]) == set(document["totals"])
    for definition in document["definitions"].values():
        assert set(definition) == {"meaning", "kind", "error"}


async def test_days_of_a_time_zone(service: Service) -> None:
    """With `tz`, dates and days are those of the zone, and times stay in UTC."""
    await fill(service)
    today = datetime.now(ZoneInfo("Asia/Tokyo")).date()
    days = {"from": str(today - timedelta(days=1)), "to": str(today)}
    document = await get(service, "sessions", interval="day", tz="Asia/Tokyo", **days)
    assert document["tz"] == "Asia/Tokyo"
    assert [point["start"] for point in document["series"]] == [
        f"{today - timedelta(days=2)}T15:00:00Z",
        f"{today - timedelta(days=1)}T15:00:00Z",
    ]
    assert document["to"] == f"{today}T15:00:00Z"
    assert [point["created"] for point in document["series"]] == [0, 12]
    assert document["totals"]["created"] == 12
    assert document["series"][-1]["unique_users"] == document["totals"]["unique_users"] == 3
    assert (await get(service, "sessions"))["tz"] == "UTC"


async def test_figures_before_the_oldest_counts_are_null(start: Start) -> None:
    """A number that needs counts that are no longer kept is null."""
    service = await start(analytics=AnalyticsSettings(retention_days=2))
    await fill(service)
    first = datetime.now(UTC) - timedelta(days=2)
    document = await get(service, "sessions", interval="day", **{"from": first.strftime("%Y-%m-%d")})
    assert [(point["active"], point["expired"]) for point in document["series"]] == [(None, None), (0, 0), (0, 0)]
    assert document["totals"]["expired"] == 0
    document = await get(service, "sessions", **{name: first.strftime("%Y-%m-%d") for name in ("from", "to")})
    totals = document["totals"]
    assert (totals["expired"], totals["peak_active"], totals["peak_at"]) == (None, None, None)


async def test_by_day_there_are_unique_users_of_each_day(service: Service) -> None:
    """Unique users are counted by day, and merged over the range."""
    await fill(service)
    document = await get(service, "sessions", interval="day")
    assert len(document["series"]) in {1, 2}
    assert sum(point["unique_users"] for point in document["series"]) == 3
    assert document["totals"]["unique_users"] == 3
    assert document["series"][-1]["start"].endswith("T00:00:00Z")


async def test_counts_of_one_source(service: Service) -> None:
    """With `source` all counts are of that source, and 0 for an unknown one."""
    await fill(service)
    document = await get(service, "sessions", source="tv.app.2")
    assert document["totals"]["created"] == 6
    assert [source["source"] for source in document["sources"]] == ["tv.app.2"]
    nothing = await get(service, "sessions", source="radio")
    numbers = {name: number for name, number in nothing["totals"].items() if name != "peak_at"}
    assert numbers == {
        "active": 0,
        "created": 0,
        "ended": 0,
        "expired": 0,
        "unique_users": 0,
        "peak_active": 0,
        **NO_CONSENTS,
    }


async def test_a_range_is_widened_to_whole_intervals(service: Service) -> None:
    """A range that is widened to whole intervals is returned as widened."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = today - timedelta(days=3), today - timedelta(days=1)
    query = {"from": (start + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%SZ")}
    query["to"] = (end - timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    document = await get(service, "sessions", interval="day", **query)
    assert document["from"] == start.strftime("%Y-%m-%dT00:00:00Z")
    assert document["to"] == end.strftime("%Y-%m-%dT00:00:00Z")
    assert len(document["series"]) == 2


@pytest.mark.parametrize(
    ("path", "interval"), [("sessions", "hour"), ("sessions", "day"), ("users", None), ("users/user-1", None)]
)
async def test_from_and_to_of_one_date_are_that_day(service: Service, path: str, interval: str | None) -> None:
    """Equal dates in `from` and `to` cover that whole day."""
    await fill(service)
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    found = []
    for day in (today, today - timedelta(days=1)):
        date = day.strftime("%Y-%m-%d")
        query = {"from": date, "to": date} | ({"interval": interval} if interval else {})
        document = await get(service, path, **query)
        assert document["from"] == day.strftime("%Y-%m-%dT00:00:00Z")
        assert document["to"] == (day + timedelta(days=1)).strftime("%Y-%m-%dT00:00:00Z")
        if path == "sessions":
            assert len(document["series"]) == (24 if interval == "hour" else 1)
            assert sum(point["created"] for point in document["series"]) == document["totals"]["created"]
            found.append(document["totals"]["created"])
        elif path == "users":
            found.append(sum(user["created"]["at_least"] for user in document["users"]))
        else:
            found.append(document["created"]["at_least"])
    assert found == [{"sessions": 12, "users": 6, "users/user-1": 2}[path], 0]


@pytest.mark.parametrize(
    ("path", "query", "member"),
    [
        ("sessions", {"from": "yesterday"}, "from"),
        ("sessions", {"from": "2026-11-26", "to": "2026-11-25"}, "from"),
        ("sessions", {"from": "2026-11-26T12:00:00Z", "to": "2026-11-26T12:00:00Z"}, "from"),
        ("users", {"from": "2026-11-26", "to": "2026-11-26T00:00:00Z"}, "from"),
        ("users/u", {"from": "2026-11-26T12:00:00Z", "to": "2026-11-25"}, "from"),
        ("sessions", {"from": "2026-13-01T00:00:00Z"}, "from"),
        ("sessions", {"to": "2026-11-01T00:00:00+05:00"}, "to"),
        ("sessions", {"from": "1999-01-01"}, "from"),
        ("sessions", {"from": "2999-01-01"}, "from"),
        ("sessions", {"from": "2999-01-01", "to": "2999-01-02"}, "from"),
        ("sessions", {"to": "1999-01-01"}, "to"),
        ("sessions", {"interval": "week"}, "interval"),
        ("sessions", {"tz": "Mars/Olympus"}, "tz"),
        ("sessions", {"tz": ""}, "tz"),
        ("sessions", {"tz": "Asia/Kolkata"}, "tz"),
        ("users", {"tz": "UTC"}, "tz"),
        ("sessions", {"source": "a b"}, "source"),
        ("sessions", {"source": ""}, "source"),
        ("sessions", {"limit": "3"}, "limit"),
        ("sessions", {"form": "2026-11-01"}, "form"),
        ("users", {"limit": "0"}, "limit"),
        ("users", {"limit": "101"}, "limit"),
        ("users", {"limit": "ten"}, "limit"),
        ("users", {"limit": "٣"}, "limit"),
        ("users", {"interval": "day"}, "interval"),
        ("users/u", {"limit": "3"}, "limit"),
    ],
)
async def test_invalid_queries_name_the_parameter(
    service: Service, path: str, query: dict[str, str], member: str
) -> None:
    """An invalid parameter is a 422 that names it, and no default is used."""
    response = await service.request("GET", f"{BASE}/{path}", headers=OPERATOR, params=query)
    assert (await problem(response, 422, "invalid-request"))["member"] == member


async def test_a_parameter_given_twice_is_rejected(service: Service) -> None:
    """A parameter that is given twice is a 422."""
    response = await service.request("GET", f"{BASE}/users?limit=1&limit=2", headers=OPERATOR)
    assert (await problem(response, 422, "invalid-request"))["member"] == "limit"


async def test_a_long_range_by_hour_is_rejected(service: Service) -> None:
    """A range that is too long by hour is answered by day."""
    start = (datetime.now(UTC) - timedelta(days=90)).strftime("%Y-%m-%d")
    response = await service.request("GET", f"{BASE}/sessions?from={start}", headers=OPERATOR)
    assert (await problem(response, 422, "invalid-request"))["member"] == "interval"
    assert len((await get(service, "sessions", interval="day", **{"from": start}))["series"]) == 91
    for path in ("users", "users/u"):
        assert (await get(service, path, **{"from": start}))["from"] == f"{start}T00:00:00Z"


async def test_counts_go_back_as_far_as_they_are_kept(start: Start) -> None:
    """A range before the oldest counts is a 422 with the oldest day as a field."""
    service = await start(analytics=AnalyticsSettings(retention_days=7))
    early = (datetime.now(UTC) - timedelta(days=8)).strftime("%Y-%m-%d")
    response = await service.request("GET", f"{BASE}/sessions?interval=day&from={early}", headers=OPERATOR)
    document = await problem(response, 422, "invalid-request")
    oldest = (datetime.now(UTC) - timedelta(days=7)).strftime("%Y-%m-%dT00:00:00Z")
    assert document["oldest"] == oldest
    assert oldest in str(document["detail"])


async def test_the_most_active_users_come_first(service: Service) -> None:
    """Top users have bounds, and the answer has a bound for all other users."""
    for number, user in enumerate(["rare", "often", "often", "often", "some", "some"]):
        await service.create(json={"user_id": user}, headers={"X-API-Key": "tv-key"} if number % 2 else {})
    document = await get(service, "users", limit="2")
    assert document["users"] == [
        {"user_id": "often", "created": {"at_least": 3, "at_most": 3}},
        {"user_id": "some", "created": {"at_least": 2, "at_most": 2}},
    ]
    assert document["others_at_most"] == 1
    assert set(document["definitions"]) == {"created", "others_at_most"}


async def test_users_and_sessions_of_one_range_have_their_own_answers(service: Service) -> None:
    """Answers to the same parameters are cached by path."""
    await service.create(json={"user_id": "u"})
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    days = {"from": today, "to": today}
    for _ in range(2):
        assert "series" in await get(service, "sessions", interval="day", **days)
        assert "users" in await get(service, "users", **days)


async def test_the_longest_list_of_users_can_be_read(service: Service) -> None:
    """100 users is the largest limit."""
    assert (await get(service, "users", limit="100"))["users"] == []


async def test_live_sessions_of_one_user_are_exact(service: Service) -> None:
    """Live sessions are exact in all and by source, and created ones have bounds."""
    ids = [await service.create(json={"user_id": "ü/%"}, headers={"X-API-Key": key}) for key in ("tv-key", "tv-key")]
    ids.append(await service.create(json={"user_id": "ü/%"}))
    await service.request("DELETE", headers={"X-Jay-Tracking": ids[0]})
    document = await get(service, "users/%C3%BC%2F%25")
    assert document["user_id"] == "ü/%"
    assert document["active"] == 2
    assert document["sources"] == [
        {"source": "jay.api.playout.1.0.0", "active": 1},
        {"source": "tv.app.2", "active": 1},
    ]
    assert document["created"] == {"at_least": 3, "at_most": 3}
    unknown = await get(service, "users/nobody")
    assert (unknown["active"], unknown["sources"]) == (0, [])
    assert unknown["created"] == {"at_least": 0, "at_most": 0}


async def test_concurrent_callers_share_one_read(service: Service, valkey: RedisServer) -> None:
    """Callers with the same query within a second share one answer."""
    await service.create(json={"user_id": "u"})
    async with redis.asyncio.Redis.from_url(valkey.url) as raw:

        async def calls(times: int, **asked: str) -> int:
            await raw.config_resetstat()
            await asyncio.gather(*(get(service, "sessions", interval="day", **asked) for _ in range(times)))
            return sum(command["calls"] for command in (await raw.info("commandstats")).values())

        await calls(1, source="other")  # opens connections and loads scripts
        one = await calls(1, source="jay.api.playout.1.0.0")
        assert await calls(100) <= 3 * one  # two reads when a second ends in between


@pytest.mark.parametrize("path", ["sessions", "users", "users/u"])
async def test_only_the_scope_analytics_reads_counts(service: Service, path: str) -> None:
    """A key without the scope `analytics`, as in web pages, cannot read counts."""
    await problem(await service.request("GET", f"{BASE}/{path}"), 403, "forbidden")


async def test_the_state_of_redis(service: Service, valkey: RedisServer) -> None:
    """The answer has the server, its memory and its persistence."""
    state = await get(service, "store")
    async with redis.asyncio.Redis.from_url(valkey.url) as raw:
        info = await raw.info()
    assert state["server"] == f"Valkey {info['valkey_version']}"
    assert 0 < state["memory_used_bytes"] < state["machine_memory_bytes"] == info["total_system_memory"]
    assert state["memory_limit_bytes"] == info["maxmemory"] == 0  # no limit is set
    assert state["append_only_file"] is bool(info["aof_enabled"])
    assert state["may_evict"] is False
    assert state["answered_in_ms"] > 0
    assert datetime.fromisoformat(state["as_of"]).tzinfo is not None
    assert (await service.request("GET", f"{BASE}/store")).status == 403


async def test_a_redis_without_info(start: Start, valkey: RedisServer) -> None:
    """When INFO is not permitted, the details are unknown and Redis is available."""
    async with redis.asyncio.Redis.from_url(valkey.url) as raw:
        await raw.acl_setuser("mute", enabled=True, passwords=["+mute"], keys=["*"], commands=["+@all", "-info"])
        service = await start(valkey.url.replace("://", "://mute:mute@"))
        state = await get(service, "store")
        await raw.acl_deluser("mute")
    unknown = state.keys() - {"as_of", "answered_in_ms", "environment"}
    assert [state[name] for name in unknown] == [[] if name == "warnings" else None for name in unknown]
