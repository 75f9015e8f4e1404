"""The Redis part of the doctor: every INFO works, also one with missing fields."""

import itertools
from typing import Any

import pytest

from service.commands import doctor_redis
from service.commands.doctor_results import Status
from service.storage.consistency_check import ConsistencyReport
from service.storage.redis_status import status_of

INFO: dict[str, Any] = {
    "redis_version": "7.4.1",
    "role": "master",
    "aof_enabled": 1,
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "used_memory": 1_000_000,
    "maxmemory": 100_000_000,
    "maxmemory_policy": "noeviction",
    "total_system_memory": 200_000_000,
}
SUBSETS = [set(chosen) for size in range(len(INFO) + 1) for chosen in itertools.combinations(INFO, size)]


def test_no_field_is_needed() -> None:
    """With any field missing, the check works and reports no new problem."""
    for names in SUBSETS:
        info = {name: INFO[name] for name in names}
        results = list(doctor_redis._server(info))
        assert [one.finding for one in results if one.status is Status.PROBLEM] == [], names
        assert all(one.status is Status.GOOD for one in results) or names != set(INFO)
        status_of(info)


@pytest.mark.parametrize("value", ["", "unknown", "7", "redacted", {"a": 1}, None])
def test_a_field_may_hold_anything(value: object) -> None:
    """A version, size or status in an unexpected form is unknown."""
    for name in INFO:
        results = list(doctor_redis._server({**INFO, name: value}))
        if name in {"redis_version", "used_memory", "aof_enabled"}:
            assert any(one.status is Status.UNKNOWN for one in results), name
    assert status_of({**INFO, "used_memory": value, "maxmemory": value}).memory_used_bytes is None


def test_problems_are_found_in_a_complete_info() -> None:
    """A complete INFO with bad values gives its problems."""
    wrong = {"redis_version": "6.2.0", "role": "slave", "aof_enabled": 0, "maxmemory_policy": "allkeys-lru"}
    results = list(doctor_redis._server({**INFO, **wrong, "used_memory": 99_000_000}))
    assert len([one for one in results if one.status is Status.PROBLEM]) == 5


@pytest.mark.parametrize("name", ["aof_last_write_status", "aof_last_bgrewrite_status"])
def test_an_append_only_file_that_cannot_be_written_is_a_problem(name: str) -> None:
    """A failed write or rewrite of the file is a problem, and the disk is named."""
    found = [one for one in doctor_redis._server({**INFO, name: "err"}) if one.status is not Status.GOOD]
    assert [(one.status, one.finding) for one in found] == [
        (Status.PROBLEM, "Redis cannot write the append-only file")
    ]
    assert "the disk is full" in found[0].advice


@pytest.mark.parametrize(
    ("version", "status"),
    [("6.2.14", Status.PROBLEM), ("7.0.0", Status.GOOD), ("7.10.1", Status.GOOD), ("10.0.0", Status.GOOD)],
)
def test_the_oldest_version_is_good_enough(version: str, status: Status) -> None:
    """Redis 7.0 is the oldest version that is good."""
    (found,) = [one for one in doctor_redis._server({**INFO, "redis_version": version}) if version in one.finding]
    assert found.status is status


@pytest.mark.parametrize(("used", "status"), [(80_000_000, Status.GOOD), (80_000_001, Status.PROBLEM)])
def test_memory_above_four_fifths_is_nearly_full(used: int, status: Status) -> None:
    """The report has the used memory or its share of the limit."""
    (found,) = [one for one in doctor_redis._server({**INFO, "used_memory": used}) if "memory" in one.finding]
    assert found.status is status


def test_without_a_memory_limit_eviction_is_not_judged() -> None:
    """Redis evicts nothing without a limit, so the limit is the only problem."""
    results = list(doctor_redis._memory({**INFO, "maxmemory": 0, "maxmemory_policy": "allkeys-lru"}))
    assert [one.status for one in results] == [Status.PROBLEM]
    assert results[0].finding.startswith("no memory limit is set")


def findings(*, repair: bool = False, **figures: Any) -> list[tuple[Status, str]]:
    """Return the results of a check of sessions, which is fine apart from figures."""
    report = ConsistencyReport(**{"sessions": 3, "users": 2, "keys": 9, "compared_hours": 4, **figures})
    return [(one.status, one.finding) for one in doctor_redis._report(report, repair=repair)]


def test_a_consistent_redis_is_good() -> None:
    """The report has the numbers that were checked, and that nothing is missing."""
    assert findings() == [
        (Status.GOOD, "3 sessions, 2 with a user id, in 9 keys"),
        (Status.GOOD, "counts equal the number of sessions (4 counts by hour, source and shard)"),
        (Status.GOOD, "every session of a user is in the index of the user"),
    ]
    assert (Status.GOOD, "there are no counts to compare yet") in findings(compared_hours=0)


@pytest.mark.parametrize(
    ("figures", "problem"),
    [
        ({"not_indexed": 2}, "the indexes of users lack 2 sessions"),
        ({"unknown_secret": 1}, "found 1 session created under another session.user_secret"),
        ({"misplaced": 1}, "found 1 session in another shard than the index of the user"),
        ({"without_lifetime": 1, "foreign": 2}, "found 3 keys of another program or without a lifetime"),
        ({"foreign": 1}, "found 1 key of another program or without a lifetime"),
        ({"wrong_hours": [("hour", "source", 0)]}, "1 of 4 counts by hour differ from the number of sessions"),
    ],
)
def test_each_inconsistency_is_a_problem(figures: dict[str, Any], problem: str) -> None:
    """No result contradicts the problem."""
    found = findings(**figures)
    assert [finding for status, finding in found if status is Status.PROBLEM] == [problem]
    is_of_an_index = not {"without_lifetime", "foreign", "wrong_hours"} & set(figures)
    assert any("every session of a user is in" in finding for _, finding in found) is not is_of_an_index
    assert any("counts equal" in finding for _, finding in found) is ("wrong_hours" not in figures)


def test_a_complete_repair_leaves_no_problem() -> None:
    """Sessions that were added to an index are not missing any more."""
    found = findings(repair=True, not_indexed=2, repaired=2, expired_in_indexes=1)
    assert {status for status, _ in found} == {Status.GOOD}
    shown = [finding for _, finding in found]
    assert "added 2 sessions to the indexes of users" in shown
    assert "every session of a user is in the index of the user" in shown
    assert "removed 1 expired session from indexes" in shown
