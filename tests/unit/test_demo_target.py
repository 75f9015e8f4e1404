"""The answers of a service that `jay-tracking demo` does not fill."""

import http.client
import json
from typing import Literal

import pytest

from service.api import wire
from service.commands.api_client import Answer, ApiClient
from service.commands.demo_target import check_environments
from service.config.settings import RedisSettings, Settings
from service.errors import CommandError

URL = "redis://127.0.0.1:1"


class Service(ApiClient):
    """Gives one answer about the state of Redis."""

    def __init__(self, status: int, document: object) -> None:
        super().__init__("http://127.0.0.1:8080")
        self._answer = Answer(status, http.client.HTTPMessage(), json.dumps(document).encode(), 0.0, 0.0)

    def send(self, method: str, path: str, headers: object = None) -> Answer:
        assert (method, path, headers) == ("GET", wire.STORE_STATUS_PATH, None)
        return self._answer


def check(status: int, document: object, environment: Literal["development", "production"] = "development") -> str:
    """Check a configuration, and a service with this answer."""
    settings = Settings(environment=environment, redis=RedisSettings(url=URL))
    return check_environments(settings, Service(status, document))


def test_a_development_service_is_filled() -> None:
    """The check returns the URL of Redis."""
    assert check(200, {"environment": "development"}) == URL


@pytest.mark.parametrize(
    ("status", "document", "words"),
    [
        (200, {"environment": "production"}, "is in production"),
        (403, {"environment": "production"}, "is in production"),
        (401, {}, "Pass a key with the scope `analytics`"),
        (403, {}, "Pass a key with the scope `analytics`"),
        (503, {"detail": "Redis is full."}, "cannot use its Redis: Redis is full."),
        (503, {}, "cannot use its Redis: see its log"),
        (404, {"environment": "development"}, "does not say whether it is in production \\(404\\)"),
        (200, {"environment": "staging"}, "does not say whether it is in production \\(200\\)"),
        (200, [], "does not say whether it is in production \\(200\\)"),
    ],
)
def test_any_other_answer_is_an_error(status: int, document: object, words: str) -> None:
    """The error says why the demo cannot see that the service is in development."""
    with pytest.raises(CommandError, match=words):
        check(status, document)


def test_a_configuration_of_production_is_refused_first() -> None:
    """The own configuration decides before any request."""
    with pytest.raises(CommandError, match="this configuration is for production"):
        check(200, {"environment": "development"}, environment="production")
