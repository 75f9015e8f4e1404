"""Access to the lanes of a connection, for tests that need a state of their own."""

from service.storage.connection import RedisConnection
from service.storage.server_lane import ServerLane


def close_breakers(*connections: RedisConnection) -> None:
    """Let the next calls be sent. An open breaker would reject them."""
    for connection in connections:
        for lane in connection._lanes.values():
            lane.close_breaker()


async def stop_probes(connection: RedisConnection) -> None:
    """Leave open breakers open until something else closes them."""
    for lane in connection._lanes.values():
        await lane._stop_probe()


async def all_lanes(connection: RedisConnection) -> list[ServerLane]:
    """Return the lanes of a connection, one for each server."""
    return [connection._lane_of(url) for url in await connection.server_urls()]
