"""TLS of the service itself: its certificate and key, loaded as one, and replaced while the service serves.

It also reads the dates of a certificate. Which connections use TLS is decided in `server.py`.
"""

import logging
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
from service.config.settings import TlsSettings

_logger = logging.getLogger(__name__)

WARNING_DAYS = 14  # ACME clients renew 30 days before the end: two weeks later something is broken

_MAX_BYTES = 1 << 20  # a chain has some kilobytes
_CERTIFICATE_MARK = b"-----BEGIN CERTIFICATE-----"
_KEY_MARK = b"PRIVATE KEY-----"
_BOTH = "Name the two files that were issued together"


class _KeyHasPassphraseError(Exception):
    """OpenSSL asked for a passphrase. Nobody is there to type it."""


@dataclass(frozen=True)
class Validity:
    """From when to when a certificate is valid, in UTC."""

    starts_at: datetime
    ends_at: datetime

    @classmethod
    def of_file(cls, path: Path) -> Self:
        """Return the dates of the first certificate in a PEM file. Raises OSError."""
        # The standard library has no public way to read a certificate that it did not verify. Python's own tests have
        # used this function since 2.6. Without it the service needs the package `cryptography` for two dates.
        decoded = _test_decode_cert(path)
        return cls(_moment(decoded["notBefore"]), _moment(decoded["notAfter"]))

    @classmethod
    def of_der(cls, certificate: bytes) -> Self:
        """Return the dates of a certificate in DER form, as a server presents it. Raises OSError."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as file:
            file.write(ssl.DER_cert_to_PEM_cert(certificate))
            file.flush()
            return cls.of_file(Path(file.name))

    def days_left(self, now: datetime) -> int:
        """Return the whole days until the end, less than 0 after it."""
        return (self.ends_at - now).days

    def warning(self, now: datetime) -> str | None:
        """Return what is wrong with a certificate of these dates, None when nothing is."""
        if now >= self.ends_at:
            return f"expired on {self.ends_at:%Y-%m-%d}: clients refuse it"
        if now < self.starts_at:
            return f"is not valid before {self.starts_at:%Y-%m-%d %H:%M} UTC: clients refuse it until then"
        if self.days_left(now) < WARNING_DAYS:
            return f"ends on {self.ends_at:%Y-%m-%d}, in less than {WARNING_DAYS} days"
        return None


def load_pair(certificate: Path, key: Path) -> tuple[ssl.SSLContext, Validity]:
    """Return a server's context with this pair, and the certificate's dates.

    Raises TlsError, which names the file and says what to do.
    """
    _check_file("certificate", certificate, _CERTIFICATE_MARK)
    _check_file("key", key, _KEY_MARK)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=_refuse_passphrase)
        return context, Validity.of_file(certificate)
    except _KeyHasPassphraseError:
        advice = f"Remove it with `openssl pkey -in {key} -out NEW_FILE`"
        raise errors.TlsError(_unusable("key", key, "it has a passphrase", advice)) from None
    except (OSError, ValueError) as error:
        raise errors.TlsError(_diagnosis(certificate, key, error)) from None


class ServerTls:
    """The TLS context of a listening socket. `reload` replaces its certificate; connections go on."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context, self._validity = load_pair(certificate, key)
        self._current = self.context
        # Called in every handshake, also of a client that names no server. Loading a new pair into a context that
        # serves would leave a certificate without its key when the second of the two files is broken.
        self.context.sni_callback = self._present

    @classmethod
    def of(cls, settings: TlsSettings) -> Self | None:
        """Return the TLS of these settings, None for plain HTTP. Raises TlsError."""
        if settings.certificate is None or settings.key is None:
            return None
        tls = cls(settings.certificate, settings.key)
        tls.log_validity()
        return tls

    def reload(self) -> bool:
        """Present the pair that is in the files now. One that cannot be used keeps the old pair and returns False."""
        try:
            self._current, self._validity = load_pair(self._certificate, self._key)
        except errors.TlsError as error:
            _logger.error("the certificate stays as it is: %s", error)  # noqa: TRY400 - a sentence, not a traceback
            return False
        return True

    def log_validity(self) -> None:
        """Log until when the certificate is valid, as a warning when that is over or near."""
        if warning := self._validity.warning(datetime.now(UTC)):
            _logger.warning("certificate %s %s. Renew it and send SIGHUP.", self._certificate, warning)
        else:
            end = f"{self._validity.ends_at:%Y-%m-%dT%H:%M:%SZ}"
            _logger.info("certificate %s is valid until %s", self._certificate, end)

    def _present(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current


def _refuse_passphrase() -> NoReturn:
    raise _KeyHasPassphraseError


def _unusable(setting: str, path: Path, reason: str, advice: str) -> str:
    return f"server.tls.{setting}: {path} cannot be used ({reason}). {advice}."


def _check_file(setting: str, path: Path, mark: bytes) -> None:
    """Raise TlsError for a file that OpenSSL need not see. It would read a device or a pipe without end."""
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
        what = "private key" if mark == _KEY_MARK else "certificate"
        raise errors.TlsError(_unusable(setting, path, f"it holds no {what} in PEM form", _BOTH))


def _diagnosis(certificate: Path, key: Path, error: OSError | ValueError) -> str:
    """Return which of the two files is the cause. OpenSSL names neither."""
    reason = getattr(error, "reason", None) or type(error).__name__
    if reason == "KEY_VALUES_MISMATCH":
        return _unusable("key", key, f"it is not the key of {certificate}", _BOTH)
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(certificate)
    except (OSError, ValueError):
        return _unusable("certificate", certificate, "it is damaged or cut off", "Copy the file again")
    if reason in {"EE_KEY_TOO_SMALL", "CA_MD_TOO_WEAK", "CA_KEY_TOO_SMALL"}:
        return _unusable("certificate", certificate, f"OpenSSL: {reason}", "Have a stronger one issued")
    return _unusable("key", key, "it is damaged or cut off", "Copy the file again")


def _moment(text: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
