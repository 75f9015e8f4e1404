"""A clock for code that takes one as a parameter."""


class ManualClock:
    """A clock that a test moves, by setting `now`. It counts seconds."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
