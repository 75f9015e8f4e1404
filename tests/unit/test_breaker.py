from service.storage.breaker import OPEN_SECONDS, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_an_open_breaker_rejects_and_probes_once() -> None:
    """After a failure calls are rejected, and every 0.5 s one call is a probe."""
    assert OPEN_SECONDS == 0.5
    clock = Clock()
    breaker = Breaker(clock)
    assert breaker.admits()
    assert breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    clock.now += OPEN_SECONDS
    assert breaker.admits()
    assert not breaker.admits()
    breaker.failed()
    assert not breaker.admits()
    clock.now += OPEN_SECONDS
    assert breaker.admits()
    breaker.succeeded()
    assert breaker.admits()
