import pytest

from service.server.heartbeats import Heartbeats


def silences(steps: list[tuple[float, dict[int, float]]]) -> list[dict[int, float]]:
    now = 0.0
    heartbeats = Heartbeats(lambda: now)
    found = []
    for now, beats in steps:  # noqa: B007 - the clock reads it
        found.append(dict(heartbeats.silences(beats)))
    return found


def test_a_worker_that_beats_is_not_silent() -> None:
    """A worker's silence starts again with each heartbeat."""
    assert silences([(1, {7: 1.0}), (2, {7: 2.0}), (3, {7: 2.0}), (4, {7: 2.0}), (5, {7: 5.0})]) == [
        {7: 0},
        {7: 0},
        {7: 1},
        {7: 2},
        {7: 0},
    ]


@pytest.mark.parametrize("pause", [60.0, 86400.0])
def test_a_pause_counts_as_two_seconds(pause: float) -> None:
    """A pause of the supervisor counts as at most two seconds of silence."""
    assert silences([(1, {7: 1.0}), (2, {7: 1.0}), (2 + pause, {7: 1.0})])[-1] == {7: 3}


def test_workers_come_and_go() -> None:
    """A new worker starts without silence, also when it reuses a pid."""
    assert silences([(1, {7: 1.0}), (2, {7: 1.0, 8: 2.0}), (3, {8: 2.0}), (4, {7: 1.0})]) == [
        {7: 0},
        {7: 1, 8: 0},
        {8: 1},
        {7: 0},
    ]
