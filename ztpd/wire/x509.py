"""The validity and the names of a certificate, read from its DER (RFC 5280 section 4.1).

The standard library shows them only for the certificate of a peer that was verified.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import NamedTuple

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", re.DOTALL)
_SEQUENCE, _SET, _INTEGER, _OID, _VERSION = 0x30, 0x31, 0x02, 0x06, 0xA0
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
# RFC 5280 appendix A.1: id-at-commonName, id-at-organizationName, and the DirectoryString's kinds.
_COMMON_NAME, _ORGANISATION = b"\x55\x04\x03", b"\x55\x04\x0a"
_STRINGS = {0x0C: "utf-8", 0x13: "ascii", 0x14: "latin-1", 0x16: "ascii", 0x1E: "utf-16-be"}


class Certificate(NamedTuple):
    """Common name and organisation of both sides, as "Proxy CA (Example Inc.)", "" for none; the
    dates are seconds since the Unix epoch."""

    subject: str
    issuer: str
    not_before: int
    not_after: int


def parse(der: bytes) -> Certificate:
    """The certificate ``der``, which is not verified. Raises ValueError."""
    issuer, validity, subject = _body(der)
    return Certificate(_name(subject), _name(issuer), *_dates(validity))


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
    return _dates(_body(base64.b64decode("".join(found[1].split()), validate=True))[1])


def _dates(validity: bytes) -> tuple[int, int]:
    dates = _Reader(validity)
    begin, end = (dates.take(_UTC_TIME, _GENERALIZED_TIME) for _ in range(2))
    return _unix_s(*begin), _unix_s(*end)


def _body(der: bytes) -> tuple[bytes, bytes, bytes]:
    """The contents of issuer, validity and subject."""
    fields = _Reader(_Reader(_Reader(der).take(_SEQUENCE)[1]).take(_SEQUENCE)[1])
    if fields.next_tag == _VERSION:
        fields.take(_VERSION)
    fields.take(_INTEGER)  # serial number
    fields.take(_SEQUENCE)  # signature algorithm
    issuer, validity, subject = (fields.take(_SEQUENCE)[1] for _ in range(3))
    return issuer, validity, subject


def _name(content: bytes) -> str:
    found: dict[bytes, str] = {}
    sets = _Reader(content)
    while sets.next_tag != -1:
        pair = _Reader(_Reader(sets.take(_SET)[1]).take(_SEQUENCE)[1])
        kind = pair.take(_OID)[1]
        if kind in (_COMMON_NAME, _ORGANISATION):
            tag, text = pair.take(*_STRINGS)
            found.setdefault(kind, text.decode(_STRINGS[tag], "replace"))
    common, organisation = found.get(_COMMON_NAME, ""), found.get(_ORGANISATION, "")
    return f"{common} ({organisation})" if common and organisation else common or organisation


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
    # strptime would load a module, which a daemon that runs for years may find gone from the disk
    year, *rest = (int(text[:4]), *(int(text[place : place + 2]) for place in range(4, 14, 2)))
    month, day, hour, minute, second = rest
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return int(moment.timestamp())
