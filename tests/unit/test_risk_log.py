"""The log of risks in the configuration of Redis."""

import os

import pytest

from service.storage.redis_status import status_of
from service.storage.risk_log import RiskLog
from service.store_status import StoreStatus

SAFE = {"aof_enabled": 1, "maxmemory": 1_000_000, "maxmemory_policy": "noeviction"}


def status(**changes: int | str) -> StoreStatus:
    """Return the status of a safe Redis, apart from the changes."""
    return status_of(SAFE | changes)


def problems(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the starts of the lines that were logged since the last call."""
    found = [record.getMessage().removeprefix("Redis: ").split(" ")[0] for record in caplog.records]
    caplog.clear()
    return found


def test_each_risk_is_logged_once_until_it_has_ended(caplog: pytest.LogCaptureFixture) -> None:
    """A risk that comes back is logged again."""
    log = RiskLog()
    log.record(status())
    assert problems(caplog) == []
    for _ in range(3):
        log.record(status(aof_enabled=0, maxmemory_policy="allkeys-lru"))
    assert problems(caplog) == ["no", "maxmemory-policy"]
    log.record(status(maxmemory_policy="allkeys-lru"))
    log.record(status(aof_enabled=0, maxmemory_policy="allkeys-lru"))
    assert problems(caplog) == ["no"]


def test_a_setting_that_is_hidden_for_a_moment_is_not_logged_again(caplog: pytest.LogCaptureFixture) -> None:
    """A status without a setting does not say that its risk has ended."""
    log = RiskLog()
    for one in (status(aof_enabled=0), status_of({}), status(aof_enabled=0)):
        log.record(one)
    assert problems(caplog) == ["no"]


# Python cannot know that this thread holds no lock.
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_workers_share_what_was_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A risk that one worker has logged is not logged by another."""
    log = RiskLog()
    pid = os.fork()
    if pid == 0:
        try:
            log.record(status(aof_enabled=0))
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    log.record(status(aof_enabled=0))
    assert problems(caplog) == []
