"""TLS of the listening socket, whose certificate can be replaced at run time.

`config/certificate.py` reads and checks the files.
"""

import logging
import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from service.config.certificate import load_pair
from service.config.settings import TlsSettings
from service.errors import TlsError

_logger = logging.getLogger(__name__)


class ServerTls:
    """The TLS context of a listening socket. A reload affects new connections only."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate, self._key = certificate, key
        self.context, self._validity = load_pair(certificate, key)
        self._current = self.context
        # OpenSSL calls it in every handshake, even if the client sends no server name.
        # A reload makes a new context. Loading a new pair into the one in use would
        # leave a certificate without its key when the second file is broken.
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
        """Present the pair that is in the files now.

        After an error, keep the old pair and return False.
        """
        try:
            self._current, self._validity = load_pair(self._certificate, self._key)
        except TlsError as error:
            _logger.error("the certificate stays as it is: %s", error)  # noqa: TRY400 - a sentence, not a traceback
            return False
        return True

    def log_validity(self) -> None:
        """Log when the certificate ends, as a warning if that is past or near."""
        if warning := self._validity.warning(datetime.now(UTC)):
            _logger.warning("certificate %s %s. Renew it and send SIGHUP", self._certificate, warning)
        else:
            end = f"{self._validity.ends_at:%Y-%m-%dT%H:%M:%SZ}"
            _logger.info("certificate %s is valid until %s", self._certificate, end)

    def _present(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        connection.context = self._current
