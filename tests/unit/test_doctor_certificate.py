"""The doctor's result for the dates of a certificate."""

from pathlib import Path

import pytest

from service.commands import doctor_certificate
from service.commands.doctor_results import Status
from tests.support.certificates import Authority


@pytest.mark.parametrize(
    ("days", "age_days", "status", "words"),
    [
        (60.5, 1, Status.GOOD, "for 60 days"),
        (13, 1, Status.WARNING, "in less than 14 days"),
        (-1, 9, Status.PROBLEM, "expired on"),
        (60, -2, Status.PROBLEM, "is not valid before"),
        (10, -2, Status.PROBLEM, "is not valid before"),
    ],
)
def test_a_certificate_that_clients_reject_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, days: float, age_days: float, status: Status, words: str
) -> None:
    """An expired certificate and one of the future are problems, with advice."""
    presented = Authority(tmp_path).issue(days=days, age_days=age_days)
    monkeypatch.setattr(doctor_certificate, "_presented_at", lambda _: presented)
    (found,) = doctor_certificate.check("https://service.example")
    assert found.status is status
    assert words in found.finding
    assert bool(found.advice) is (status is not Status.GOOD)
