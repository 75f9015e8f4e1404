"""Certificates for tests: an authority, and the pairs of files that it issues."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography import x509  # trustme is built on it


class Authority:
    """Issues pairs into two files. The last pair is of servers and of their clients."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate = folder / "cert.pem"
        self.key = folder / "key.pem"
        self.file = folder / "ca.pem"
        self._authority = trustme.CA()
        self._authority.cert_pem.write_to_path(self.file)

    def issue(self, *names: str, days: float = 90, age_days: float = 1) -> bytes:
        """Write a new pair for 127.0.0.1 and localhost, or for other names.

        It expires in `days`.

        Returns the certificate in DER form.
        """
        now = datetime.now(UTC)
        names = names or ("127.0.0.1", "localhost")
        pair = self._authority.issue_cert(
            *names, not_before=now - timedelta(age_days), not_after=now + timedelta(days)
        )
        for file, content in ((self.certificate, pair.cert_chain_pems[0]), (self.key, pair.private_key_pem)):
            fresh = file.with_suffix(".new")
            content.write_to_path(fresh)
            fresh.replace(file)
        return ssl.PEM_cert_to_DER_cert(self.certificate.read_text())

    def trusting(self) -> ssl.SSLContext:
        """Return a client's context that trusts only this authority."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.file)
        return context

    @property
    def variables(self) -> dict[str, str]:
        """Return the environment of a service that uses the pair."""
        return {"JAY_SERVER__TLS__CERTIFICATE": str(self.certificate), "JAY_SERVER__TLS__KEY": str(self.key)}

    @property
    def client_parameters(self) -> dict[str, str]:
        """Return the parameters of redis-py, also in URLs, for a client with a pair."""
        return {
            "ssl_ca_certs": str(self.file),
            "ssl_certfile": str(self.certificate),
            "ssl_keyfile": str(self.key),
        }

    @property
    def server_options(self) -> dict[str, str]:
        """Return the options of a Redis, sentinel or node that wants client pairs."""
        return {
            "tls-ca-cert-file": str(self.file),
            "tls-cert-file": str(self.certificate),
            "tls-key-file": str(self.key),
            "tls-auth-clients": "yes",
            "tls-replication": "yes",
            "tls-cluster": "yes",
        }


def end_of(certificate: bytes) -> datetime:
    """Return when a certificate in DER form expires."""
    return x509.load_der_x509_certificate(certificate).not_valid_after_utc
