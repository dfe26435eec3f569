"""Every way a connection fails has one meaning for a person."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

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
from ztpd.net.errormap import network_error


def unverified(code: int, message: str = "") -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


def alert(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "kind", "advice"),
    [
        (unverified(66, "EE certificate key too weak"), TlsUntrusted, "2048 bits"),
        (unverified(68, "CA signature digest algorithm too weak"), TlsUntrusted, "SHA-1"),
        (alert("UNSAFE_LEGACY_RENEGOTIATION_DISABLED"), TlsError, "outdated"),
        (alert("DH_KEY_TOO_SMALL"), TlsError, "outdated"),
        (alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), TlsError, "outdated"),
    ],
)
def test_N18_a_server_of_the_last_decade_is_a_matter_of_its_operator(
    error: OSError, kind: type[NetworkError], advice: str
) -> None:
    found = network_error(error, "caster.example:2102")
    assert type(found) is kind
    assert advice in found.advice
    assert "operator must" in found.advice


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        pytest.param(OSError(errno.ENETUNREACH, "unreachable"), NoRoute, id="N01"),
        pytest.param(OSError(errno.EHOSTUNREACH, "no route"), NoRoute, id="N01-host"),
        pytest.param(socket.gaierror(socket.EAI_NONAME, "unknown"), ResolveFailed, id="N02"),
        pytest.param(socket.gaierror(socket.EAI_AGAIN, "try again"), ResolveFailed, id="N03"),
        pytest.param(ConnectionRefusedError(errno.ECONNREFUSED, "refused"), ConnectRefused),
        pytest.param(TimeoutError(), ConnectTimeout, id="N07"),
        pytest.param(ConnectionResetError(errno.ECONNRESET, "reset"), ConnectionLost, id="N10"),
        pytest.param(ssl.SSLEOFError(8, "eof"), ConnectionLost, id="N10-handshake"),
        pytest.param(unverified(18, "self-signed certificate"), TlsUntrusted, id="N14"),
        pytest.param(unverified(20, "unable to get local issuer"), TlsUntrusted, id="N14-issuer"),
        pytest.param(unverified(62, "hostname mismatch"), TlsHostname, id="N15"),
        pytest.param(unverified(64, "address mismatch"), TlsHostname, id="N15-address"),
        pytest.param(unverified(10, "certificate has expired"), TlsClock, id="N16"),
        pytest.param(unverified(9, "certificate is not yet valid"), TlsClock, id="N17"),
        pytest.param(alert("TLSV1_ALERT_PROTOCOL_VERSION"), TlsVersion, id="N18"),
        pytest.param(alert("WRONG_VERSION_NUMBER"), TlsVersion, id="N18-no-tls"),
        pytest.param(alert("SSLV3_ALERT_HANDSHAKE_FAILURE"), TlsError),
        pytest.param(alert("TLSV13_ALERT_CERTIFICATE_REQUIRED"), TlsClientCertificate, id="FR22"),
        pytest.param(alert("TLSV1_UNRECOGNIZED_NAME"), TlsHostname, id="FR22-name"),
        pytest.param(alert("SSLV3_ALERT_CERTIFICATE_EXPIRED"), TlsClientCertificate, id="FR22-end"),
        pytest.param(OSError(errno.EMFILE, "too many open files"), NetworkError, id="N30"),
    ],
)
def test_an_exception_becomes_an_error_that_names_the_host(
    error: OSError, kind: type[NetworkError]
) -> None:
    found = network_error(error, "caster.invalid")
    assert type(found) is kind
    assert "caster.invalid" in found.detail


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", "a client certificate is wanted"),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", "has expired, by the server's clock"),
        ("TLSV1_ALERT_UNKNOWN_CA", "issuer of the client certificate is unknown"),
        ("TLSV1_UNRECOGNIZED_NAME", "the server does not serve this name"),
        ("SSLV3_ALERT_HANDSHAKE_FAILURE", "no common cipher, or a client certificate"),
        ("BAD_SIGNATURE", "bad signature"),
    ],
)
def test_FR22_an_alert_is_named_by_its_meaning(reason: str, words: str) -> None:
    assert words in network_error(alert(reason), "caster.invalid").detail


@pytest.mark.parametrize("code", [2, 20, 21])
def test_FR34_an_issuer_that_was_not_sent_is_named(code: int) -> None:
    error = network_error(unverified(code, "unable to get local issuer"), "caster.invalid")
    assert "sends no certificate of its issuer" in error.detail
    assert "intermediate" in error.advice
