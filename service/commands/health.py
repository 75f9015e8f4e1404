"""`jay-tracking healthcheck`: exits with status 0 if the service is ready."""

from http import HTTPStatus

from service.commands.api_client import ApiClient
from service.errors import CommandError

_REASONS = {
    "draining": "it is stopping",
    "store-unavailable": "it cannot use Redis. Run `jay-tracking doctor`",
}


def check(client: ApiClient, *, is_live: bool) -> str:
    """Return the body of the answer.

    Raises CommandError unless the service is ready, or alive.
    """
    path, expected = ("/livez", "alive") if is_live else ("/readyz", "ready")
    answer = client.send("GET", path)
    status = answer.document().get("status")
    if answer.status == HTTPStatus.OK and status == expected:
        return answer.body.decode()
    if isinstance(status, str) and answer.status == HTTPStatus.SERVICE_UNAVAILABLE:
        raise CommandError(f"{client.url} is not {expected}: {_REASONS.get(status, status)}")
    raise CommandError(
        f"{client.url}{path} answers with {answer.status}, but not as this service does. Check the URL (--url)"
    )
