"""Checks that a system does its work before its speed is measured."""

import json

import redis

from bench.peers.client import Answer, ask
from bench.peers.requests import ORIGIN, VERSION, by_cookie, by_header, creation, without_key

DAY_SECONDS = 86400


def _record(answer: Answer) -> dict[str, str]:
    record: dict[str, str] = json.loads(answer.body)
    assert record["start_time"], answer
    assert record["source"], answer
    return record


def verify(port: int, path: str, store: redis.Redis, *, has_header: bool) -> None:
    """Create, read and end a session, and look into Redis.

    Raise `AssertionError` with the answer that breaks the contract.
    """
    rejected = ask(port, without_key(path))
    assert rejected.status == 401, rejected  # noqa: PLR2004
    created = ask(port, creation(path))
    assert created.status == 201, created  # noqa: PLR2004
    assert created.headers["x-jay-api-version"] == VERSION, created
    assert created.headers["access-control-allow-origin"] == ORIGIN, created
    _record(created)
    session = created.session
    assert session.cookie, created
    for request in (by_cookie, *([by_header] if has_header else [])):
        found = ask(port, request("GET", path, session))
        assert found.status == 200, found  # noqa: PLR2004
        _record(found)
    of_user = ask(port, creation(path, user=0))
    assert _record(of_user)["user_id"] == "user-000000000", of_user
    expiries = [int(store.ttl(key)) for key in store.scan_iter(count=1000)]
    assert sum(DAY_SECONDS - 60 <= seconds <= DAY_SECONDS for seconds in expiries) >= 2, expiries  # noqa: PLR2004
    keys = store.dbsize()
    ended = ask(port, by_cookie("DELETE", path, session))
    assert ended.status == 204, ended  # noqa: PLR2004
    assert ended.session.cookie.endswith(("=", '=""')), ended
    assert store.dbsize() < keys, "DELETE removes no key"
    gone = ask(port, by_cookie("GET", path, session))
    assert gone.status == 404, gone  # noqa: PLR2004
