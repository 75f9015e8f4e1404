"""Reads and checks the service's certificate and key, and certificates' dates.

`server/tls.py` presents the pair to clients and replaces it at a reload.
"""

import os
import ssl
import stat
import tempfile
from _ssl import _test_decode_cert  # type: ignore[attr-defined]  # typeshed lists what is public
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn, Self

from service import errors

# ACME clients renew 30 days before the end. After 16 more days, the renewal has failed.
_WARNING_DAYS = 14

_MAX_BYTES = 1 << 20  # a certificate chain has a few kilobytes
_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_KEY_MARK = b"PRIVATE KEY-----"
_BOTH = "Name the two files that were issued together"


class _KeyHasPassphraseError(Exception):
    """OpenSSL asked for a passphrase, which nobody can type."""


@dataclass(frozen=True)
class Validity:
    """The period in which a certificate is valid, in UTC."""

    starts_at: datetime
    ends_at: datetime

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the dates of the first certificate in a PEM file. Raises OSError."""
        # The standard library has no public function that reads a certificate without
        # verifying it. Python's own tests have used this one since 2.6. The alternative
        # is the package `cryptography`, for two dates.
        decoded = _test_decode_cert(path)
        return cls(_moment(decoded["notBefore"]), _moment(decoded["notAfter"]))

    @classmethod
    def of_der(cls, certificate: bytes) -> Self:
        """Return the dates of a certificate in DER form, as servers present it.

        Raises OSError.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(ssl.DER_cert_to_PEM_cert(certificate))
            file.flush()
            return cls.of_file(Path(file.name))

    def days_left(self, now: datetime) -> int:
        """Return the whole days until the end, negative after it."""
        return (self.ends_at - now).days

    def warning(self, now: datetime) -> str | None:
        """Return the problem with the dates as the end of a sentence, or None."""
        if now >= self.ends_at:
            return f"expired on {self.ends_at:%Y-%m-%d}: clients reject it"
        if now < self.starts_at:
            return f"is not valid before {self.starts_at:%Y-%m-%d %H:%M} UTC: clients reject it until then"
        if self.days_left(now) < _WARNING_DAYS:
            return f"ends on {self.ends_at:%Y-%m-%d}, in less than {_WARNING_DAYS} days"
        return None


def load_pair(certificate: Path, key: Path) -> tuple[ssl.SSLContext, Validity]:
    """Return a server context with this pair, and the dates of the certificate.

    Raises TlsError. The message names the file and says what to do.
    """
    _check_file("certificate", certificate, _CERTIFICATE_MARK)
    _check_file("key", key, _KEY_MARK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_reject_passphrase)
        return context, Validity.of_file(certificate)
    except _KeyHasPassphraseError:
        advice = f"Remove it with `openssl pkey -in {key} -out NEW_FILE`"
        raise errors.TlsError(_unusable("key", key, "it has a passphrase", advice)) from None
    except (OSError, ValueError) as error:
        raise errors.TlsError(_diagnosis(certificate, key, error)) from None


def _reject_passphrase() -> NoReturn:
    raise _KeyHasPassphraseError


def _unusable(setting: str, path: Path, reason: str, advice: str) -> str:
    return f"server.tls.{setting}: {path} cannot be used ({reason}). {advice}."


def _check_file(setting: str, path: Path, mark: bytes) -> None:
    """Raise TlsError for a file that cannot hold the certificate or the key.

    OpenSSL would read a device or a pipe forever.
    """
    try:
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise errors.TlsError(_unusable(setting, path, "it is not a regular file", "Check the path"))
        with path.open("rb") as file:
            content = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "its name is invalid"
        advice = f"Check the path, and that user {os.getuid()} may read the file"
        raise errors.TlsError(_unusable(setting, path, reason, advice)) from None
    if len(content) > _MAX_BYTES:
        raise errors.TlsError(_unusable(setting, path, "it is larger than 1 MiB", "Check the path"))
    if mark not in content:
        missing = "private key" if mark == _KEY_MARK else "certificate"
        raise errors.TlsError(_unusable(setting, path, f"it holds no {missing} in PEM form", _BOTH))


def _diagnosis(certificate: Path, key: Path, error: OSError | ValueError) -> str:
    """Return the message for OpenSSL's error, which does not name the file at fault."""
    reason = getattr(error, "reason", None) or type(error).__name__
    if reason == "KEY_VALUES_MISMATCH":
        return _unusable("key", key, f"it is not the key of {certificate}", _BOTH)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except (OSError, ValueError):
        return _unusable("certificate", certificate, "it is damaged or cut off", "Copy the file again")
    if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        advice = "Request a certificate with a longer key and a newer signature"
        return _unusable("certificate", certificate, f"OpenSSL: {reason}", advice)
    return _unusable("key", key, "it is damaged or cut off", "Copy the file again")


def _moment(date: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(date), UTC)
