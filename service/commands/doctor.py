"""`jay-tracking doctor`: checks a running deployment and gives advice."""

import asyncio
import logging

from rich.console import Console

from service.commands import doctor_certificate, doctor_clocks, doctor_redis
from service.commands.api_client import ApiClient
from service.commands.doctor_client import ClientChecks
from service.commands.doctor_results import Report, unknown
from service.config.settings import Settings
from service.storage.embedded import find_redis


def examine(
    client: ApiClient, operator: ApiClient, settings: Settings | None, origin: str | None, *, repair: bool
) -> int:
    """Print the results and return the number of problems.

    `operator` reads counts. Without settings Redis is not checked.
    """
    logging.disable()  # the results have everything that the stores would log
    console = Console()
    report = Report(console)
    if client.url.startswith("https:"):
        report.part(f"Certificate at {client.url}", doctor_certificate.check(client.url))
    client_checks = ClientChecks(client, operator, origin)
    report.part(f"Requests to {client.url}", client_checks.run())
    if settings is not None and (url := find_redis(settings.redis)) is None:
        advice = "pass the service's configuration with --config, run the doctor on its machine, or use --no-redis"
        report.part("Redis", [unknown("the embedded server does not run here", advice)])
    elif settings is not None and url is not None:
        clock_offset = client_checks.clock_offset
        if client_checks.is_reached and (clocks := asyncio.run(doctor_clocks.check(clock_offset, settings, url))):
            report.part("Clocks", clocks)
        for title, results in asyncio.run(doctor_redis.check(settings, url, console, repair=repair)):
            report.part(title, results)
    report.conclude()
    return report.problems
