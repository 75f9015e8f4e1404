"""The doctor's checks of the certificate that a URL presents: its dates."""

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import urlsplit

from service.commands.api_client import TIMEOUT_SECONDS
from service.commands.doctor_results import CheckResult, good, problem, unknown, warning
from service.config.certificate import Validity
from service.quantities import quantity

_HTTPS_PORT = 443
_RENEW = "renew it, then send SIGHUP to the service or reload the proxy that ends TLS"


def check(url: str) -> Iterator[CheckResult]:
    """Yield the results about the dates of the certificate at an https:// URL.

    The doctor's requests check whether the certificate can be trusted.
    """
    try:
        validity = Validity.of_der(_presented_at(url))
    except (OSError, ValueError) as error:
        yield unknown(f"the certificate cannot be read ({type(error).__name__})", "see the results of the requests")
        return
    now = datetime.now(UTC)
    finding = validity.warning(now)
    if finding is None:
        left = quantity(validity.days_left(now), "day")
        yield good(f"the certificate is valid until {validity.ends_at:%Y-%m-%d}, for {left}")
    elif validity.starts_at <= now < validity.ends_at:
        yield warning(f"the certificate {finding}", _RENEW)
    else:
        yield problem(f"the certificate {finding}", _RENEW)


def _presented_at(url: str) -> bytes:
    """Return the server's certificate in DER form.

    It is not verified, so that expired ones are read too.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, parts.port or _HTTPS_PORT), TIMEOUT_SECONDS) as connection,
        context.wrap_socket(connection, server_hostname=host) as secured,
    ):
        return secured.getpeercert(binary_form=True) or b""
