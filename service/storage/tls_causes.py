"""Names the cause of a failed TLS connection to Redis, and the setting to look at.

The reasons are those of OpenSSL 3. Its versions differ in the prefixes of the names of
alerts (`SSLV3_ALERT_…`, `SSL/TLS_ALERT_…`), so only the ends of the names are compared.
"""

import ssl
from collections.abc import Iterator

from service.storage.tls import FIRST_REPLY, HANDSHAKE

_AUTHORITY = (
    "no authority that the service trusts has issued the certificate of the server. Set ssl_ca_certs in redis.url to "
    "the file of its authority"
)
_DATES = (
    "the certificate of the server has expired or is not valid yet. Renew it, and check the clock of this machine"
)
# X509_V_ERR_… of OpenSSL.
_VERIFY_CODES = {9: _DATES, 10: _DATES, **dict.fromkeys((18, 19, 20, 21), _AUTHORITY)}
_NAME_CODES = (62, 64)  # of a host and of an IP address

# The server has ended the connection, perhaps because it was killed.
_ENDS = (ssl.SSLEOFError, ssl.SSLZeroReturnError)

_NOT_TLS = "Name the port for TLS in redis.url, or write redis in place of rediss"
_REJECTED = "the server rejects the certificate of the service ({}). Check ssl_certfile in redis.url"
_REASONS = (
    ("WRONG_VERSION_NUMBER", f"the port does not speak TLS. {_NOT_TLS}"),
    ("RECORD_LAYER_FAILURE", f"the port does not speak TLS. {_NOT_TLS}"),
    (
        "ALERT_CERTIFICATE_REQUIRED",
        "the server wants a certificate of the service. Set ssl_certfile and ssl_keyfile in redis.url",
    ),
    (
        "ALERT_HANDSHAKE_FAILURE",
        "the server ends the handshake. It may want the certificate in ssl_certfile and ssl_keyfile of redis.url",
    ),
    ("ALERT_UNKNOWN_CA", _REJECTED.format("of an unknown authority")),
    ("ALERT_CERTIFICATE_EXPIRED", _REJECTED.format("it has expired")),
    ("ALERT_CERTIFICATE_REVOKED", _REJECTED.format("it is revoked")),
    ("ALERT_CERTIFICATE_UNKNOWN", _REJECTED.format("it is invalid")),
    ("ALERT_BAD_CERTIFICATE", _REJECTED.format("it is invalid")),
    ("ALERT_UNSUPPORTED_CERTIFICATE", _REJECTED.format("it is of a kind that the server does not support")),
    ("PROTOCOL_VERSION", "the server does not speak TLS 1.2 or 1.3. Allow one of them there"),
    ("UNSUPPORTED_PROTOCOL", "the server does not speak TLS 1.2 or 1.3. Allow one of them there"),
    ("KEY_VALUES_MISMATCH", "ssl_certfile and ssl_keyfile in redis.url are not a pair"),
)
_NOTES = {
    HANDSHAKE: f"no answer to the TLS handshake: the server hangs, or the port does not speak TLS. {_NOT_TLS}",
    FIRST_REPLY: (
        "the server ended the connection after the TLS handshake. It may want the certificate in ssl_certfile and "
        "ssl_keyfile of redis.url, or reject the one that is there"
    ),
}


def tls_cause_of(error: BaseException) -> str | None:
    """Return the cause of an error in plain words, or None when TLS is not the cause.

    It names hosts, settings and nothing else from `redis.url`.
    """
    chain = list(_chain(error))
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError):
            return _of_verification(one)
        if isinstance(one, ssl.SSLError) and not isinstance(one, _ENDS):
            return _of_reason(one.reason or "unknown reason")
    notes = {note for one in chain for note in getattr(one, "__notes__", ())}
    return next((cause for note, cause in _NOTES.items() if note in notes), None)


def _of_reason(reason: str) -> str:
    other = f"TLS failed ({reason}). Check the parameters that begin with ssl_ in redis.url"
    return next((cause for end, cause in _REASONS if reason.endswith(end)), other)


def _of_verification(error: ssl.SSLCertVerificationError) -> str:
    if error.verify_code in _NAME_CODES:
        # "Hostname mismatch, certificate is not valid for 'redis.example'."
        invalid = error.verify_message.rpartition("certificate ")[2].rstrip(".")
        return (
            f"the certificate of the server {invalid}. Use the names of the certificate in redis.url, and in what "
            "sentinels and nodes of a cluster announce"
        )
    other = f"the certificate of the server is invalid ({error.verify_message}). Check ssl_ca_certs in redis.url"
    return _VERIFY_CODES.get(error.verify_code, other)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it came from."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__
