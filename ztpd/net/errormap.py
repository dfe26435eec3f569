"""Maps socket and TLS exceptions of a failed connection to :class:`NetworkError`."""

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
    TlsClientCertificate,
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

# The issuer is neither in the server's chain nor trusted here: _UNABLE_TO_GET_ISSUER_CERT
# and _LOCALLY, _UNABLE_TO_VERIFY_LEAF_SIGNATURE.
_ISSUER_CODES = frozenset({2, 20, 21})
_ISSUER_MISSING = "the server sends no certificate of its issuer, and this gateway has none"

# Alerts of the server about the client's certificate (RFC 8446 section 6.2) by OpenSSL's reason.
# With TLS 1.3 they come after the handshake, in place of the first data.
CLIENT_CERTIFICATE = {
    "SSLV3_ALERT_BAD_CERTIFICATE": "the client certificate is not accepted",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the client certificate has expired, by the server's clock",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the client certificate is revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the client certificate is not accepted",
    "SSLV3_ALERT_NO_CERTIFICATE": "a client certificate is wanted",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "this kind of client certificate is not accepted",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "a client certificate is wanted",
    "TLSV1_ALERT_ACCESS_DENIED": "the client certificate has no access",
    "TLSV1_ALERT_UNKNOWN_CA": "the issuer of the client certificate is unknown to the server",
}

_OTHER_ALERTS = {
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "no common cipher, or a client certificate is wanted",
    "TLSV1_ALERT_DECRYPT_ERROR": "the server could not verify a signature",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the server requires stronger ciphers",
    "TLSV1_ALERT_INTERNAL_ERROR": "an error inside the server",
    "TLSV1_ALERT_NO_APPLICATION_PROTOCOL": "the server speaks another protocol (ALPN)",
}

# _EE_KEY_TOO_SMALL, _CA_KEY_TOO_SMALL, _CA_MD_TOO_WEAK: below OpenSSL's security level 2.
_WEAK_CODES = frozenset({66, 67, 68})
_REPLACE_CERTIFICATE = (
    "The server's operator must replace the certificate: it, or one above it, has a key below 2048 "
    "bits or is signed with SHA-1."
)

# What a server of the last decade runs into, and a server that wants a certificate.
_OUTDATED = frozenset(
    {
        "DH_KEY_TOO_SMALL",
        "LEGACY_SIGALG_DISALLOWED_OR_UNSUPPORTED",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "UNSAFE_LEGACY_RENEGOTIATION_DISABLED",
        "WRONG_SIGNATURE_TYPE",
    }
)
_UPDATE_SERVER = (
    "The server's TLS may be outdated: its operator must update it. Else it wants a client "
    "certificate: see [mqtt] cert_file."
)

_UNKNOWN_NAME = "TLSV1_UNRECOGNIZED_NAME"

NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EADDRNOTAVAIL})


def tls_error(error: ssl.SSLError, host: str) -> NetworkError:
    """``error``, met while making a TLS connection to ``host``, by its meaning for a person."""
    if isinstance(error, ssl.SSLCertVerificationError):
        detail = f"{host}: {error.verify_message or error.reason}"
        if error.verify_code in _CLOCK_CODES:
            return TlsClock(detail)
        if error.verify_code in _NAME_CODES:
            return TlsHostname(detail)
        if error.verify_code in _ISSUER_CODES:
            detail += f" ({_ISSUER_MISSING})"
        weak = error.verify_code in _WEAK_CODES
        return TlsUntrusted(detail, advice=_REPLACE_CERTIFICATE if weak else "")
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return ConnectionLost(f"{host}: in the middle of TLS")
    reason = error.reason or str(error)
    if reason in _VERSION_REASONS:
        return TlsVersion(f"{host}: {_words(reason)}")
    if reason in CLIENT_CERTIFICATE:
        return TlsClientCertificate(f"{host}: {CLIENT_CERTIFICATE[reason]}")
    if reason == _UNKNOWN_NAME:
        return TlsHostname(f"{host}: the server does not serve this name")
    advice = _UPDATE_SERVER if reason in _OUTDATED else ""
    return TlsError(f"{host}: {_OTHER_ALERTS.get(reason) or _words(reason)}", advice=advice)


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
    if error.errno in NO_ROUTE:
        return NoRoute(f"{where}: {error.strerror}")
    return NetworkError(f"{where}: {error.strerror or error}")


def _words(reason: str) -> str:
    return reason.lower().replace("_", " ")
