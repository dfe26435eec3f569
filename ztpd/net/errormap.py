"""What a failed connection means: socket and TLS exceptions as :class:`NetworkError`."""

from __future__ import annotations

import errno
import socket
import ssl

from ztpd.errors import (
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    NetworkError,
    NoRoute,
    ResolveFailed,
    TlsClock,
    TlsError,
    TlsHostname,
    TlsUntrusted,
    TlsVersion,
)

# OpenSSL, include/openssl/x509_vfy.h: X509_V_ERR_CERT_NOT_YET_VALID, _CERT_HAS_EXPIRED,
# _HOSTNAME_MISMATCH, _IP_ADDRESS_MISMATCH. Every other code means that no trust was found.
_CLOCK_CODES = frozenset({9, 10})
_NAME_CODES = frozenset({62, 64})

# OpenSSL's reason when the peer offers no version we take, or speaks something else than TLS.
_VERSION_REASONS = frozenset(
    {
        "HTTP_REQUEST",
        "NO_PROTOCOLS_AVAILABLE",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "UNSUPPORTED_PROTOCOL",
        "WRONG_SSL_VERSION",
        "WRONG_VERSION_NUMBER",
    }
)

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def tls_error(error: ssl.SSLError, host: str) -> NetworkError:
    """``error``, met while making a TLS connection to ``host``, by its meaning for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"{host}: {error.verify_message or error.reason}"
        if error.verify_code in _CLOCK_CODES:
            return TlsClock(detail)
        if error.verify_code in _NAME_CODES:
            return TlsHostname(detail)
        return TlsUntrusted(detail)
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ConnectionLost(f"{host}: in the middle of TLS")
    reason = error.reason or str(error)
    if reason in _VERSION_REASONS:
        return TlsVersion(f"{host}: {_words(reason)}")
    return TlsError(f"{host}: {_words(reason)}")


def network_error(error: OSError, where: str) -> NetworkError:
    """``error``, met while connecting to ``where``, by its meaning for a person."""
    if isinstance(error, ssl.SSLError):
        return tls_error(error, where)
    if isinstance(error, socket.gaierror):
        return ResolveFailed(f"{where}: {error.strerror}")
    if isinstance(error, ConnectionRefusedError):
        return ConnectRefused(where)
    if isinstance(error, TimeoutError):
        return ConnectTimeout(where)
    if isinstance(error, ConnectionError):
        return ConnectionLost(f"{where}: {error.strerror or error}")
    if error.errno in _NO_ROUTE:
        return NoRoute(f"{where}: {error.strerror}")
    return NetworkError(f"{where}: {error.strerror or error}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
