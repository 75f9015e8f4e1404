from service.storage.breaker import OPEN_SECONDS, Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_refuses_after_an_outage_and_probes_once() -> None:
    """After a failure nobody waits; after half a second one call tries, and its fate decides."""
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
