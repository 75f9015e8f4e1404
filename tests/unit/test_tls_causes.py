"""The causes of failed handshakes in plain words, from the errors of OpenSSL itself."""

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import pytest
from redis.asyncio.connection import RedisSSLContext
from redis.exceptions import ConnectionError as RedisConnectionError

from service.storage.tls_causes import tls_cause_of
from tests.support.certificates import Authority

NAME = "redis.example"


class Sides:
    """The contexts of a server that wants a certificate, and of a client with one."""

    def __init__(self, folder: Path) -> None:
        self.ours, self.other = Authority(folder / "ours"), Authority(folder / "other")
        self.ours.issue(NAME)
        self.server, self.client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), self.ours.trusting()
        self.server.verify_mode = ssl.CERT_REQUIRED
        self.server.load_verify_locations(self.ours.file)
        for context in (self.server, self.client):
            context.load_cert_chain(self.ours.certificate, self.ours.key)

    def with_pair(self, context: ssl.SSLContext, authority: Authority, **dates: float) -> Self:
        """Give a side another certificate."""
        authority.issue(NAME, **dates)
        context.load_cert_chain(authority.certificate, authority.key)
        return self

    def with_bare_client(self, trusted: Authority) -> Self:
        """Replace the client by one without a certificate."""
        self.client = trusted.trusting()
        return self

    def with_old(self, context: ssl.SSLContext) -> Self:
        """Limit a side to TLS 1.2."""
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        return self

    def with_new(self, context: ssl.SSLContext) -> Self:
        """Limit a side to TLS 1.3."""
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        return self

    def error(self, name: str = NAME, answer: bytes = b"") -> BaseException | None:
        """Return the error that the client gets. `answer` replaces the server's."""
        to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = self.client.wrap_bio(to_client, to_server, server_hostname=name)
        server = self.server.wrap_bio(to_server, to_client, server_side=True)
        for side in (client, server) * 3:
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                if side is client:
                    return error
            to_client.write(answer)
        # In TLS 1.3 the client has finished when the server looks at its certificate.
        try:
            client.read(1)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLError as error:
            return error
        return None


CASES: dict[str, tuple[Callable[[Sides], BaseException | None], str]] = {
    "authority": (
        lambda sides: sides.with_bare_client(sides.other).error(),
        "no authority that the service trusts has issued the certificate of the server. Set ssl_ca_certs",
    ),
    "name": (
        lambda sides: sides.error("a.example"),
        "the certificate of the server is not valid for 'a.example'. Use the names of the certificate in redis.url",
    ),
    "expired": (
        lambda sides: sides.with_pair(sides.server, sides.ours, days=-1, age_days=9).error(),
        "the certificate of the server has expired or is not valid yet",
    ),
    "not valid yet": (
        lambda sides: sides.with_pair(sides.server, sides.ours, age_days=-9).error(),
        "the certificate of the server has expired or is not valid yet",
    ),
    "no certificate of the service": (
        lambda sides: sides.with_bare_client(sides.ours).error(),
        "the server wants a certificate of the service. Set ssl_certfile and ssl_keyfile in redis.url",
    ),
    "no certificate of the service, TLS 1.2": (
        lambda sides: sides.with_bare_client(sides.ours).with_old(sides.server).error(),
        "the server ends the handshake. It may want the certificate in ssl_certfile and ssl_keyfile",
    ),
    "foreign certificate of the service": (
        lambda sides: sides.with_pair(sides.client, sides.other).error(),
        "the server rejects the certificate of the service (of an unknown authority). Check ssl_certfile",
    ),
    "expired certificate of the service": (
        lambda sides: sides.with_pair(sides.client, sides.ours, days=-1, age_days=9).error(),
        "the server rejects the certificate of the service (it has expired). Check ssl_certfile",
    ),
    "version": (
        lambda sides: sides.with_new(sides.server).with_old(sides.client).error(),
        "the server does not speak TLS 1.2 or 1.3",
    ),
    "an error in the clear": (
        lambda sides: sides.error(answer=b"-ERR unknown command\r\n"),
        "the port does not speak TLS. Name the port for TLS in redis.url, or write redis in place of rediss",
    ),
    "cut off": (
        lambda sides: sides.error(answer=b"\x15\x03\x03\x00\x02\x02\x50"),
        "TLS failed (TLSV1_ALERT_INTERNAL_ERROR). Check the parameters that begin with ssl_ in redis.url",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_failed_handshake_has_a_cause(tmp_path: Path, case: str) -> None:
    """Each failure names its cause and the parameter, also behind redis-py's error."""
    fail, cause = CASES[case]
    error = fail(Sides(tmp_path))
    assert error is not None
    wrapped = RedisConnectionError("Error 1 connecting to a:1.")
    wrapped.__context__ = error
    assert (tls_cause_of(wrapped) or "").startswith(cause), error


def test_a_handshake_without_a_problem_succeeds(tmp_path: Path) -> None:
    """Both sides of these tests agree when nothing is changed."""
    assert Sides(tmp_path).error() is None


def test_files_of_different_pairs_have_a_cause(tmp_path: Path) -> None:
    """A key of another pair, as in the middle of a renewal, is named."""
    sides = Sides(tmp_path)
    sides.other.issue()
    with pytest.raises(ssl.SSLError) as raised:
        RedisSSLContext(certfile=str(sides.ours.certificate), keyfile=str(sides.other.key)).get()
    assert tls_cause_of(raised.value) == "ssl_certfile and ssl_keyfile in redis.url are not a pair"


def test_other_errors_have_no_cause() -> None:
    """Errors without TLS, and the end of a connection, keep their own messages."""
    ended = RedisConnectionError("Connection closed by server.")
    ended.__context__ = ssl.SSLEOFError(8, "EOF occurred in violation of protocol")
    assert tls_cause_of(ended) is tls_cause_of(RedisConnectionError("Error 111 connecting to a:1.")) is None
