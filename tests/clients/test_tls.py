"""Clients of a service with a certificate of a private authority."""

import json
import uuid
from pathlib import Path

import pytest
from jay_tracking_client.errors import ConnectionFailed

from tests.clients.conftest import LIVE_KEY, LIVE_KEYS, Connect
from tests.support.certificates import Authority
from tests.support.processes import Launch


async def test_a_private_authority_needs_its_context(connect: Connect, launch: Launch, tmp_path: Path) -> None:
    """A client reaches the service with the authority's context, and not without it."""
    authority = Authority(tmp_path / "tls")
    authority.issue()
    process = launch(authority.trusting(), JAY_API_KEYS=json.dumps(LIVE_KEYS), **authority.variables)
    client = connect(process.url, LIVE_KEY, ssl_context=authority.trusting())
    assert await client.find(str(uuid.uuid4())) is None
    with pytest.raises(ConnectionFailed):
        await connect(process.url, LIVE_KEY).find(str(uuid.uuid4()))
