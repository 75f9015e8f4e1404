from service.storage.breaker import OPEN_SECONDS, Breaker
from tests.support.clock import ManualClock


def admitted(breaker: Breaker) -> int:
    """Return the admission of a call that the breaker has to admit."""
    admission = breaker.admit()
    assert admission is not None
    return admission


def test_an_open_breaker_rejects_and_probes_once() -> None:
    """After a failure calls are rejected, and every 0.5 s one call is a probe."""
    assert OPEN_SECONDS == 0.5
    clock = ManualClock()
    breaker = Breaker(clock)
    first, second = admitted(breaker), admitted(breaker)
    assert breaker.failed(first)
    assert breaker.admit() is None
    clock.now += OPEN_SECONDS
    probe = admitted(breaker)
    assert breaker.admit() is None
    assert breaker.failed(probe)
    assert breaker.admit() is None
    clock.now += OPEN_SECONDS
    admitted(breaker)
    assert breaker.succeeded()
    assert not breaker.succeeded()
    assert admitted(breaker) not in {first, second}


def test_a_late_failure_changes_nothing() -> None:
    """A call that was sent before the breaker opened does not delay the probe.

    It does not open a breaker that has closed since.
    """
    clock = ManualClock()
    breaker = Breaker(clock)
    first, second, third = (admitted(breaker) for _ in range(3))
    breaker.failed(first)
    clock.now += OPEN_SECONDS / 2
    assert not breaker.failed(second)
    clock.now += OPEN_SECONDS / 2
    admitted(breaker)
    assert not breaker.failed(third)
    assert breaker.admit() is None  # the probe is still in progress
    breaker.succeeded()
    assert not breaker.failed(third)
    assert not breaker.is_open


def test_a_probe_that_fails_after_another_answer_is_late() -> None:
    """Once Redis has answered another lane, the failure of a probe opens nothing."""
    clock = ManualClock()
    breaker = Breaker(clock)
    breaker.failed(admitted(breaker))
    clock.now += OPEN_SECONDS
    probe = admitted(breaker)
    breaker.succeeded()
    assert not breaker.failed(probe)
    assert not breaker.is_open


def test_only_the_end_of_the_probe_admits_another() -> None:
    """A cancelled call that was sent before the breaker opened ends no probe."""
    clock = ManualClock()
    breaker = Breaker(clock)
    early = admitted(breaker)
    breaker.failed(admitted(breaker))
    clock.now += OPEN_SECONDS
    probe = admitted(breaker)
    breaker.cancelled(early)
    assert breaker.admit() is None
    breaker.cancelled(probe)
    assert admitted(breaker) != probe


def test_a_call_that_has_waited_is_admitted_again() -> None:
    """A call keeps a current admission. An outage in the meantime rejects the call."""
    clock = ManualClock()
    breaker = Breaker(clock)
    waiting = admitted(breaker)
    assert breaker.admit(waiting) == waiting
    breaker.failed(admitted(breaker))
    assert breaker.admit(waiting) is None
    clock.now += OPEN_SECONDS
    probe = admitted(breaker)
    assert breaker.admit(probe) == probe
    assert breaker.admit(waiting) is None
    breaker.succeeded()
    assert breaker.failed(breaker.admit(waiting) or 0)
