"""NMEA 0183: the checksum, and a GGA sentence out of a fix. Source: NMEA 0183, GGA."""

from __future__ import annotations

from functools import reduce
from operator import xor

from ztpd.model import Carrier, Fix

_PER_DEGREE = 60 * 10_000  # GGA gives minutes with four decimals: 0.2 m


def checksum(body: bytes) -> int:
    """The two digits behind ``*``: exclusive or of all bytes between ``$`` and ``*``."""
    return reduce(xor, body, 0)


def gga(fix: Fix, *, age_s: float | None = None, talker: str = "GN") -> bytes:
    """The sentence with the position for a caster: no field empty, CRLF at its end.

    ``age_s`` is the age of the corrections in use; None takes it from the fix, or 0.0 without
    one. The time is 000000.00 while the receiver has not resolved it: casters use the position
    only. The HDOP field holds the PDOP, which is never below the HDOP.

    Raises ValueError for a fix that is not ok, and for a latitude and longitude of exactly 0,
    which software without a position writes.
    """
    if not fix.ok:
        raise ValueError("there is no valid fix")
    if not (-90 <= fix.lat_deg <= 90 and -180 <= fix.lon_deg <= 180):
        raise ValueError("latitude or longitude is out of range")
    if fix.lat_deg == 0 and fix.lon_deg == 0:
        raise ValueError("latitude and longitude are both exactly 0")
    if age_s is None:
        age_s = fix.correction_age_s or 0.0
    fields = (
        f"{talker}GGA",
        f"{fix.utc:%H%M%S}.{fix.utc.microsecond // 10_000:02}" if fix.utc else "000000.00",
        _angle(fix.lat_deg, degree_digits=2),
        "S" if fix.lat_deg < 0 else "N",
        _angle(fix.lon_deg, degree_digits=3),
        "W" if fix.lon_deg < 0 else "E",
        str(_quality(fix)),
        f"{min(fix.satellites, 99):02}",
        f"{min(fix.pdop, 99.99):.2f}",
        f"{fix.height_m:.1f}",
        "M",
        f"{fix.geoid_m:.1f}",
        "M",
        f"{age_s:.1f}",
        "0000",
    )
    body = ",".join(fields).encode("ascii")
    return b"$%b*%02X\r\n" % (body, checksum(body))


def _quality(fix: Fix) -> int:
    """Field 6: 4 RTK fixed, 5 RTK float, 2 differential, 1 GNSS, 6 dead reckoning."""
    if fix.dead_reckoning:
        return 6
    if fix.carrier is Carrier.FIXED:
        return 4
    if fix.carrier is Carrier.FLOAT:
        return 5
    return 2 if fix.differential else 1


def _angle(degrees: float, *, degree_digits: int) -> str:
    """``ddmm.mmmm`` or ``dddmm.mmmm``, rounded as a whole so that minutes stay below 60."""
    whole, rest = divmod(round(abs(degrees) * _PER_DEGREE), _PER_DEGREE)
    minutes, fraction = divmod(rest, 10_000)
    return f"{whole:0{degree_digits}}{minutes:02}.{fraction:04}"
