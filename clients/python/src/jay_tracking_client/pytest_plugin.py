"""The pytest plugin: the fixture `tracking_service`, a fake service on a free port."""

from collections.abc import Iterator

import pytest

from jay_tracking_client.testing.fake_server import serving
from jay_tracking_client.testing.fake_service import FakeTrackingService


@pytest.fixture
def tracking_service() -> Iterator[FakeTrackingService]:
    """Return a fake tracking service whose `url` and `api_key` a client takes."""
    with serving(FakeTrackingService()) as service:
        yield service
