"""Codes by which a broker refuses or ends a connection: MQTT 3.1.1, MQTT 5 and TLS."""

from __future__ import annotations

import ssl
from typing import Any

from ztpd.errors import (
    ConnectionLost,
    SessionError,
    SessionProtocol,
    SessionRefused,
    ZtpdError,
)
from ztpd.model import utc
from ztpd.net.errormap import CLIENT_CERTIFICATE, network_error

# MQTT 3.1.1 section 3.2.2.3, and MQTT 5 section 3.2.2.2, in which some brokers answer.
_CONNACK: dict[int, tuple[type[SessionError], str]] = {
    code: meaning
    for codes, meaning in (
        ((1, 132), (SessionProtocol, "the broker does not speak MQTT 3.1.1")),
        ((2, 133), (SessionRefused, "the broker does not take the client identifier")),
        ((3, 136, 137, 151, 159), (SessionError, "the broker is not available")),
        ((4, 134), (SessionRefused, "bad user name or password")),
        ((5, 135, 138), (SessionRefused, "not authorised")),
    )
    for code in codes
}

_IDENTIFIER = (2, 133)
_SET_CLIENT_ID = (
    "Check [mqtt] client_id, or leave it out where the credentials have one; else ask the "
    "broker's operator which client identifier it takes."
)

# paho's reasons for a disconnection: its own number in 1.x, an MQTT 5 reason in 2.x.
_KEEPALIVE_LOST = (16, 141)
_PROTOCOL_ERROR = (2, 130)


def number(code: Any) -> int:
    """paho's return code: a number in 1.x, a ReasonCode in 2.x."""
    return int(getattr(code, "value", code))


def refusal(code: int, where: str, client_id: str) -> SessionError:
    """The error of a CONNACK with ``code``, which is not 0."""
    kind, words = _CONNACK.get(code, (SessionProtocol, f"CONNACK with code {code}"))
    named = f' "{client_id}"' if code in _IDENTIFIER else ""
    return kind(f"{where}: {words}{named}", advice=_SET_CLIENT_ID if named else "")


def broken(code: int, where: str) -> ZtpdError | None:
    """The error of a disconnection for which paho gives ``code``; None where the peer closed."""
    if code in _KEEPALIVE_LOST:
        return ConnectionLost(f"{where}: no answer to a ping")
    if code in _PROTOCOL_ERROR:
        return SessionProtocol(f"{where}: a packet that MQTT 3.1.1 does not allow")
    return None


def lost(error: OSError, where: str, stage: str, certificate: str, *, accepted: bool) -> ZtpdError:
    """The error of a connection that failed in ``stage``; ``accepted``: behind the log-in;
    ``certificate``: that of this client (PEM), "" for none."""
    if isinstance(error, ssl.SSLError) and error.reason in CLIENT_CERTIFICATE:
        return SessionRefused(f"{where}: {CLIENT_CERTIFICATE[error.reason]}{_dates(certificate)}")
    if accepted:
        return ConnectionLost(f"{where}: {error.strerror or error}")
    return network_error(error, f"{where}, {stage}")


def _dates(certificate: str) -> str:
    """A server gives one reason for many faults: a certificate may also not be valid yet."""
    from ztpd.wire import x509

    try:
        first, last = x509.not_before(certificate), x509.not_after(certificate)
    except ValueError:  # there is none
        return ""
    return f"; it is valid from {utc(first):%Y-%m-%d} to {utc(last):%Y-%m-%d}"
