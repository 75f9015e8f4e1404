"""The connection of the doctor and the demo to Redis."""

import pytest

from service.commands.patient_connection import patient_connection
from service.config.settings import RedisSettings


@pytest.mark.parametrize(("configured", "expected"), [(0.25, 5.0), (10.0, 10.0)])
async def test_a_command_waits_at_least_as_long_as_the_service(configured: float, expected: float) -> None:
    """A slow Redis that the service can use does not look dead to the doctor."""
    async with patient_connection("redis://127.0.0.1/0", RedisSettings(timeout_seconds=configured)) as connection:
        assert connection.deadline_seconds == 2 * expected
