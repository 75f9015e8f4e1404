"""A client of the service's own API, for the command line. One request at a time, and errors that say what to do."""

import http.client
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from service.errors import CommandError

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Answer:
    """A response; `headers` keeps duplicates, `body` is what came, undecoded."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def document(self) -> dict[str, Any]:
        """Return the body as a JSON object, {} when it is none."""
        try:
            content = json.loads(self.body)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}


class ApiClient:
    """Speaks to one service. `url` is such as http://127.0.0.1:8080, `key` an API key."""

    def __init__(
        self, url: str, key: str | None = None, *, verify_tls: bool = True, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
            raise CommandError("the URL must be like http://127.0.0.1:8080 (--url, or JAY_URL)")
        self.url = url.rstrip("/")
        self._host = parts.netloc.rpartition("@")[2]
        self._prefix = parts.path.rstrip("/")
        self._context = ssl.create_default_context() if parts.scheme == "https" else None
        if self._context and not verify_tls:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
        self._key = key
        self._timeout = timeout

    def send(self, method: str, path: str, headers: Mapping[str, str | None] | None = None) -> Answer:
        """Send a request, whatever its answer; None takes away a header. Raises CommandError without an answer."""
        connection = (
            http.client.HTTPSConnection(self._host, timeout=self._timeout, context=self._context)
            if self._context
            else http.client.HTTPConnection(self._host, timeout=self._timeout)
        )
        given = {"X-API-Key": self._key, **(headers or {})}
        try:
            sent = {name: value for name, value in given.items() if value is not None}
            connection.request(method, self._prefix + path, headers=sent)
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        except ssl.SSLError as error:
            raise CommandError(
                f"{self.url} cannot be trusted ({error.reason}); where the certificate is of a CA of your own, "
                "name that CA's file in SSL_CERT_FILE"
            ) from None
        except (OSError, http.client.HTTPException) as error:
            raise CommandError(
                f"no answer from {self.url} ({type(error).__name__}); is the service running?"
            ) from None
        except UnicodeEncodeError:
            raise CommandError("the key must be ASCII (--key, or JAY_KEY)") from None
        finally:
            connection.close()

    def fetch(self, path: str, method: str = "GET", **query: str | None) -> dict[str, Any]:
        """Return the JSON object of a successful answer. Raises CommandError with what the service said otherwise."""
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        answer = self.send(method, f"{path}?{urlencode(given)}" if given else path)
        document = answer.document()
        if answer.status == http.client.OK and document:
            return document
        if answer.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            raise CommandError(f"{document.get('detail', 'refused')} Give the key with --key or in JAY_KEY.")
        said = document.get("detail") or "something else than this service seems to answer there"
        raise CommandError(f"{self.url} answered {answer.status}: {said}")
