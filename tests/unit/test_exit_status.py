"""The exit status of a process in words."""

import signal

import pytest

from service.telemetry.exit_status import exit_in_words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "ended with status 0"),
        (1, "ended with status 1"),
        (-signal.SIGKILL, "was killed by SIGKILL"),
        (-signal.SIGRTMIN - 1, f"was killed by signal {signal.SIGRTMIN + 1}"),
    ],
)
def test_every_exit_status_has_words(status: int, words: str) -> None:
    """A signal without a name does not end the supervisor that reports it."""
    assert exit_in_words(status) == words
