"""A client of the service's API for the command line.

Its errors say what to do next.
"""

import http.client
import json
import re
import socket
import ssl
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from service.config.host_name import MAX_PORT, host_error
from service.errors import CommandError

TIMEOUT_SECONDS = 10.0

# The reason and the advice for a failed request. The first class that fits is used.
_FAILURES = (
    (ConnectionRefusedError, "connection refused", "Is the service running?"),
    (socket.gaierror, "the name of its host has no address", "Check the URL"),
    (TimeoutError, "timeout", "Is the service running, and does a firewall let requests pass?"),
    (ssl.SSLError, "TLS failed", "Does the port serve https://, not http://?"),
    (ConnectionError, "the connection was closed", "Does the port serve http://, not https://?"),
    (http.client.HTTPException, "the answer is not HTTP", "Does another server listen there?"),
)
_VISIBLE_ASCII = re.compile("[!-~]+")
_PATH = re.compile("(?:/[!-~]*)?")


@dataclass(frozen=True)
class Answer:
    """An HTTP response. `headers` keeps duplicates, and `body` is not decoded.

    `sent_at` and `received_at` are times of this machine's clock, in seconds since the
    epoch.
    """

    status: int
    headers: http.client.HTTPMessage
    body: bytes
    sent_at: float
    received_at: float

    def document(self) -> dict[str, Any]:
        """Return the JSON object in the body, or {} when the body is anything else."""
        try:
            content = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return content if isinstance(content, dict) else {}

    def detail(self) -> str | None:
        """Return the `detail` of a problem document, None without one."""
        detail = self.document().get("detail")
        return detail if isinstance(detail, str) else None


class ApiClient:
    """Sends requests to one service, one at a time.

    `url` is the URL of the service, such as http://127.0.0.1:8080. `given_by` is where
    the user can give it, for an error.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        given_by: str = "--url, JAY_URL",
        verify_tls: bool = True,
        timeout: float = TIMEOUT_SECONDS,
    ) -> None:
        if error := next(_url_errors(url), None):
            raise CommandError(f"the URL must be like http://127.0.0.1:8080 ({given_by}), but this one {error}")
        parts = urlsplit(url)
        if key is not None and not _VISIBLE_ASCII.fullmatch(key):
            raise CommandError("the key must be visible ASCII characters, without spaces (--key, JAY_KEY)")
        self.url = url.rstrip("/")
        self._host = parts.netloc
        self._prefix = parts.path.rstrip("/")
        self.tls = ssl.create_default_context() if parts.scheme == "https" else None
        if self.tls and not verify_tls:
            self.tls.check_hostname = False
            self.tls.verify_mode = ssl.CERT_NONE
        self.key = key
        self._timeout = timeout

    def send(self, method: str, path: str, headers: Mapping[str, str | None] | None = None) -> Answer:
        """Send a request and return any response. A header of None is not sent.

        Raises CommandError when no response arrives.
        """
        given = {"X-API-Key": self.key, **(headers or {})}
        sent = {name: value for name, value in given.items() if value is not None}
        try:
            connection = self._connection()
            try:
                connection.connect()
                sent_at = time.time()
                connection.request(method, self._prefix + path, headers=sent)
                response = connection.getresponse()
                return Answer(response.status, response.headers, response.read(), sent_at, time.time())
            finally:
                connection.close()
        except ssl.SSLCertVerificationError as error:
            raise CommandError(
                f"{self.url} cannot be trusted ({error.verify_message}). "
                "If your own CA issued the certificate, name the CA's file in SSL_CERT_FILE"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise CommandError(f"no answer from {self.url} {_failure(error)}") from None

    def fetch(self, path: str, method: str = "GET", *, needs: Sequence[str], **query: str | None) -> dict[str, Any]:
        """Return the JSON object of a successful answer, which has the fields `needs`.

        Raises CommandError with the service's message for any other answer.
        """
        given = {name.rstrip("_"): value for name, value in query.items() if value is not None}
        answer = self.send(method, f"{path}?{urlencode(given)}" if given else path)
        document = answer.document()
        if answer.status == http.client.OK and all(name in document for name in needs):
            return document
        if answer.status in {http.client.UNAUTHORIZED, http.client.FORBIDDEN}:
            message = answer.detail() or "The service rejects the request."
            raise CommandError(
                f"{self.url} answers with {answer.status}: {message} Pass the key with --key or in JAY_KEY."
            )
        if answer.status == http.client.NOT_FOUND and self._prefix:
            raise CommandError(f"{self.url} answers with 404. Check its path, which most deployments do not have")
        if answer.status == http.client.SERVICE_UNAVAILABLE and answer.detail():
            raise CommandError(f"{self.url} answers with 503: {answer.detail()} Run `jay-tracking doctor`")
        message = answer.detail() or "another server seems to listen there. Check the URL (--url, JAY_URL)"
        raise CommandError(f"{self.url} answers with {answer.status}: {message}")

    def _connection(self) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self._host, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, timeout=self._timeout, context=self.tls)


def _failure(error: Exception) -> str:
    """Return why no response arrived, and what to do."""
    for kind, reason, advice in _FAILURES:
        if isinstance(error, kind):
            return f"({reason}). {advice}"
    return f"({type(error).__name__}). Is the service running?"


def _url_errors(url: str) -> Iterator[str]:
    """Yield the errors of a service's URL.

    No error repeats a part of the URL, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
    except ValueError:
        yield f"has an invalid host, or a port that is not from 1 to {MAX_PORT}"
        return
    if not url.isprintable() or " " in url:
        yield "has a space or another character that is not allowed in URLs"
    if parts.scheme not in {"http", "https"} or not host:
        yield "does not begin with http:// or https:// and a host"
    yield from _address_errors(parts.netloc, host, port)
    if "?" in url or "#" in url or not _PATH.fullmatch(parts.path):
        yield "has a query, a fragment, or a path with characters that are not encoded"


def _address_errors(netloc: str, host: str, port: int | None) -> Iterator[str]:
    if port == 0:
        yield f"has a port that is not from 1 to {MAX_PORT}"
    if "@" in netloc:
        yield "has a user. The service takes an API key instead (--key, JAY_KEY)"
    if error := host_error(host):
        yield f"needs {error}"
    if "[" in netloc and ":" not in host:
        yield "has brackets around a host that is not an IPv6 address"
