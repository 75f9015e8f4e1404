"""`jay-tracking healthcheck`: for containers and scripts, which look at the exit status, and for people."""

from http import HTTPStatus

from service.commands.api_client import ApiClient
from service.errors import CommandError

_REASONS = {
    "draining": "it is being stopped",
    "store-unavailable": "Redis cannot be asked; `jay-tracking doctor` finds out more",
}


def check(client: ApiClient, *, is_live: bool) -> str:
    """Return the body of the service's answer. Raises CommandError unless it is alive, or ready."""
    path, expected = ("/livez", "alive") if is_live else ("/readyz", "ready")
    answer = client.send("GET", path)
    status = answer.document().get("status")
    if answer.status == HTTPStatus.OK and status == expected:
        return answer.body.decode()
    if isinstance(status, str) and answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise CommandError(f"{client.url} is not {expected}: {_REASONS.get(status, status)}")
    raise CommandError(
        f"{client.url}{path} answered {answer.status}, and not as this service does; check the URL (--url)"
    )
