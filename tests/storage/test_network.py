"""Redis over the network: the ACL of docker-compose.yml, and a Unix socket."""

import re
from pathlib import Path

import pytest
import redis.asyncio

from service.sessions import SessionFactory
from service.storage.readiness import Readiness
from service.storage.session_store import RedisSessionStore
from tests.storage.conftest import MakeStore
from tests.support.servers import RedisServer


async def use_every_operation(store: RedisSessionStore, factory: SessionFactory) -> None:
    """Create, find and end sessions of a guest and a user, and check readiness."""
    guest, user = factory.new("s"), factory.new("s", "u")
    assert await store.create_many([guest, user]) == [True, True]
    assert await store.find_many([[guest.id], [user.id]]) == [guest, user]
    assert await store.end_many([[guest.id, user.id]]) == [["s", "s"]]
    await Readiness(store.connection, store._keyspace).check()


async def test_the_compose_files_acl_suffices(
    own_server: RedisServer, make_store: MakeStore, factory: SessionFactory, project: Path, prefix: str
) -> None:
    """The ACL of docker-compose.yml allows all operations and forbids SLOWLOG GET."""
    commands = re.findall(r"^      - (\+[a-z|]+)$", (project / "docker-compose.yml").read_text(), re.MULTILINE)
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        await raw.acl_setuser("jay", enabled=True, passwords=["+p@ss"], keys=[f"{prefix}*"], commands=commands)
    url = own_server.url.replace("redis://", "redis://jay:p%40ss@")
    await use_every_operation(await make_store(url), factory)
    async with redis.asyncio.Redis.from_url(url) as jay:
        with pytest.raises(redis.exceptions.NoPermissionError):
            await jay.slowlog_get()


async def test_the_path_of_the_url_selects_the_database(
    own_server: RedisServer, make_store: MakeStore, factory: SessionFactory
) -> None:
    """The number in the URL's path selects the database."""
    await use_every_operation(await make_store(own_server.url.removesuffix("/0") + "/3"), factory)
    async with redis.asyncio.Redis.from_url(own_server.url) as raw:
        assert await raw.dbsize() == 0


async def test_a_unix_socket(binary: str, make_store: MakeStore, factory: SessionFactory, tmp_path: Path) -> None:
    """A `unix://` URL connects through the socket at its path."""
    with RedisServer(binary, tmp_path, "--unixsocket", str(tmp_path / "r.sock")):
        await use_every_operation(await make_store(f"unix://{tmp_path / 'r.sock'}"), factory)
