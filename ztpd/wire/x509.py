"""The validity of a certificate, read from its DER (RFC 5280 section 4.1).

The standard library shows these dates only for the certificate of a peer.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _INTEGER, _VERSION = 0x30, 0x02, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18


def not_before(pem: str) -> int:
    """The notBefore date of the first certificate in ``pem``, in seconds since the Unix epoch.

    Raises ValueError.
    """
    return _validity(pem)[0]


def not_after(pem: str) -> int:
    """The notAfter date of the first certificate in ``pem``, in seconds since the Unix epoch.

    Raises ValueError.
    """
    return _validity(pem)[1]


def _validity(pem: str) -> tuple[int, int]:
    found = _PEM.search(pem)
    if not found:
        raise ValueError("no certificate in the text")
    der = base64.b64decode("".join(found[1].split()), validate=True)
    body = _Reader(_Reader(der).take(_SEQUENCE)[1]).take(_SEQUENCE)[1]
    fields = _Reader(body)
    if fields.next_tag == _VERSION:
        fields.take(_VERSION)
    fields.take(_INTEGER)  # serial number
    fields.take(_SEQUENCE)  # signature algorithm
    fields.take(_SEQUENCE)  # issuer
    dates = _Reader(fields.take(_SEQUENCE)[1])
    begin, end = (dates.take(_UTC_TIME, _GENERALIZED_TIME) for _ in range(2))
    return _unix_s(*begin), _unix_s(*end)


class _Reader:
    """DER elements one after another."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def next_tag(self) -> int:
        return self._data[0] if self._data else -1

    def take(self, *tags: int) -> tuple[int, bytes]:
        """Tag and content of the next element. ValueError if it is not one of ``tags``."""
        data = self._data
        if len(data) < 2 or data[0] not in tags:
            raise ValueError("not the structure of a certificate")
        start, length = 2, data[1]
        if length & 0x80:  # the length's own length; 0 would be BER's indefinite form
            width = length & 0x7F
            if not 1 <= width <= 4:
                raise ValueError("not a DER length")
            start += width
            length = int.from_bytes(data[2:start], "big")
        end = start + length
        if end > len(data):
            raise ValueError("the certificate is cut short")
        self._data = data[end:]
        return data[0], data[start:end]


def _unix_s(tag: int, content: bytes) -> int:
    text = content.decode("ascii")
    if not re.fullmatch(r"[0-9]{12}Z" if tag == _UTC_TIME else r"[0-9]{14}Z", text):
        raise ValueError("not a date as RFC 5280 writes it")
    if tag == _UTC_TIME:  # two digits of the year: RFC 5280 section 4.1.2.5.1
        text = ("19" if text[0] >= "5" else "20") + text
    moment = datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    return int(moment.timestamp())
