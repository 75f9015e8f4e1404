"""`jay-tracking doctor`: looks at a running deployment as a client and at its Redis, and says what to do."""

import asyncio
import logging

from rich.console import Console

from service.commands import doctor_certificate, doctor_clocks, doctor_redis
from service.commands.api_client import ApiClient
from service.commands.check_results import Report, unknown
from service.commands.doctor_client import ClientSide
from service.config.settings import Settings
from service.storage.embedded import find_redis


def examine(client: ApiClient, settings: Settings | None, origin: str | None, *, repair: bool) -> int:
    """Print what is found and return the number of problems. Without settings Redis is not looked at."""
    logging.disable()  # what the service would log is told by the results
    console = Console()
    report = Report(console)
    if client.url.startswith("https:"):
        report.part(f"Certificate at {client.url}", doctor_certificate.look(client.url))
    client_side = ClientSide(client, origin)
    report.part(f"Requests to {client.url}", client_side.look())
    if settings is not None and (url := find_redis(settings.redis)) is None:
        advice = "give the service's configuration, run it where the service runs, or say --no-redis"
        report.part("Redis", [unknown("no embedded server runs here", advice)])
    elif settings is not None and url is not None:
        if client_side.is_reached and (clocks := asyncio.run(doctor_clocks.look(client_side.clock, settings, url))):
            report.part("Clocks", clocks)
        for title, results in asyncio.run(doctor_redis.look(settings, url, console, repair=repair)):
            report.part(title, results)
    report.conclude()
    return report.problems
