"""Each installed proxy with its shipped files, in front of an application."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.forward_auth import PROGRAMS, application, proxy
from tests.support.forward_auth_visitor import KEYS
from tests.support.processes import Launch, Process


@pytest.fixture(params=list(PROGRAMS))
def kind(request: pytest.FixtureRequest) -> str:
    """Return the name of an installed proxy."""
    if PROGRAMS[request.param] is None:
        pytest.skip(f"{request.param} is not installed, or too old")
    return str(request.param)


@pytest.fixture
def jay(launch: Launch) -> Process:
    """Run the service with a key for the proxy."""
    return launch(JAY_API_KEYS=json.dumps(KEYS), JAY_REDIS__TIMEOUT_SECONDS="10", JAY_LOG__SESSION_REF="true")


@pytest.fixture
def application_port() -> Iterator[int]:
    """Run an application that answers its request's headers."""
    with application() as port:
        yield port


@pytest.fixture
def front(kind: str, jay: Process, application_port: int, tmp_path: Path) -> Iterator[Process]:
    """Run the proxy in front of the application."""
    with proxy(kind, tmp_path / kind, jay.url, application_port) as process:
        yield process
