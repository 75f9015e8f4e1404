from service.backoff import Backoff


def test_pauses_grow_and_are_bounded() -> None:
    """The first retry has no pause, and the longest pause is 8 s."""
    now = 0.0
    backoff = Backoff(lambda: now)
    assert backoff.is_due
    pauses = []
    for _ in range(2000):
        pauses.append(backoff.failed())
        assert backoff.is_due == (pauses[-1] == 0)
        now += pauses[-1]
        assert backoff.is_due
    assert pauses[:7] == [0, 0.5, 1, 2, 4, 8, 8]
    assert pauses[-1] == 8


def test_success_makes_the_next_retry_immediate() -> None:
    """After a success the next retry has no pause."""
    backoff = Backoff(lambda: 0.0)
    for _ in range(5):
        backoff.failed()
    before = backoff.is_due
    backoff.reset()
    assert (before, backoff.is_due) == (False, True)
    assert backoff.failed() == 0
