"""UBX-NAV: the position, and the satellites it is made from.

Source: u-blox ZED-F9P (HPG 1.50) and ZED-X20P interface descriptions, "UBX-NAV-PVT" and
"UBX-NAV-SAT".
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import NamedTuple

from ztpd.model import Carrier, Fix
from ztpd.wire.ubxframe import Message, check_length, message

_PVT_TIME = struct.Struct("<IH5BBIi")
_PVT_PLACE = struct.Struct("<4B4i2I12xi12xHH12x")
_PVT_BYTES = 92

_AGE_BOUNDS_S = (None, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)
_LONGEST_AGE_S = 255.0  # CFG-NAVSPG-CONSTR_DGNSSTO, one byte: older corrections are never used


class NavPvt(NamedTuple):
    """NAV-PVT: position, time and their quality. Heading and velocity by axis are left out."""

    itow_ms: int = 0  # GPS time of week of the navigation epoch
    utc: datetime | None = None  # None unless date and time are marked valid
    fully_resolved: bool = False  # no uncertainty of whole seconds is left in utc
    confirmed_time: bool = False  # date and time of day, by additional signals
    fix_type: int = 0  # 0 none, 1 dead reckoning, 2 2D, 3 3D, 4 with dead reckoning, 5 time only
    fix_ok: bool = False  # gnssFixOK: valid, within the receiver's limits
    differential: bool = False  # diffSoln: corrections were applied
    carrier: Carrier = Carrier.NONE
    satellites: int = 0
    lon_deg: float = 0.0
    lat_deg: float = 0.0
    height_mm: int = 0  # above the ellipsoid
    msl_mm: int = 0  # above mean sea level
    hacc_mm: int = 0xFFFF_FFFF
    vacc_mm: int = 0xFFFF_FFFF
    speed_mm_s: int = 0  # gSpeed, over ground
    pdop: float = 99.99
    invalid_llh: bool = False
    correction_age_class: int = 0  # lastCorrectionAge, 0 to 15; 0: none received, or not reported

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        when = self.utc or datetime(1970, 1, 1, tzinfo=UTC)
        dated = self.utc is not None
        try:
            time = _PVT_TIME.pack(
                self.itow_ms,
                *when.timetuple()[:6],
                0b011 * dated | self.fully_resolved << 2,
                0 if self.fully_resolved else 0xFFFF_FFFF,
                when.microsecond * 1000,
            )
            place = _PVT_PLACE.pack(
                self.fix_type,
                self.fix_ok | self.differential << 1 | self.carrier.value << 6,
                1 << 5 | self.confirmed_time << 6 | self.confirmed_time << 7,
                self.satellites,
                round(self.lon_deg * 1e7),
                round(self.lat_deg * 1e7),
                self.height_mm,
                self.msl_mm,
                self.hacc_mm,
                self.vacc_mm,
                self.speed_mm_s,
                round(self.pdop * 100),
                self.invalid_llh | (self.correction_age_class & 0xF) << 1,
            )
        except struct.error as error:
            raise ValueError(f"NAV-PVT: {error}") from None
        return message(Message.NAV_PVT, time + place)

    @classmethod
    def decode(cls, payload: bytes) -> NavPvt:
        """Raises ValueError on a wrong length."""
        check_length(payload, _PVT_BYTES, Message.NAV_PVT)
        itow_ms, *date, valid, _accuracy_ns, nano = _PVT_TIME.unpack_from(payload)
        fix_type, flags, flags2, satellites, lon, lat, *lengths_mm, pdop, flags3 = (
            _PVT_PLACE.unpack_from(payload, _PVT_TIME.size)
        )
        height_mm, msl_mm, hacc_mm, vacc_mm, speed_mm_s = lengths_mm
        return cls(
            itow_ms=itow_ms,
            utc=_utc(date, nano) if valid & 0b11 == 0b11 else None,
            fully_resolved=bool(valid & 0b100),
            confirmed_time=flags2 & 0xC0 == 0xC0,
            fix_type=fix_type,
            fix_ok=bool(flags & 1),
            differential=bool(flags & 2),
            carrier=_CARRIERS[flags >> 6],
            satellites=satellites,
            lon_deg=lon / 1e7,
            lat_deg=lat / 1e7,
            height_mm=height_mm,
            msl_mm=msl_mm,
            hacc_mm=hacc_mm,
            vacc_mm=vacc_mm,
            speed_mm_s=speed_mm_s,
            pdop=pdop / 100,
            invalid_llh=bool(flags3 & 1),
            correction_age_class=flags3 >> 1 & 0xF,
        )

    def to_fix(self) -> Fix:
        """The fix as the rest of ztpd sees it.

        A time-only fix and one with an invalid position are not ``ok``. The correction age is
        the upper bound of the class reported; above 120 s, which has none, it is 255 s: no
        receiver can be set to use corrections that are older.
        """
        age = min(self.correction_age_class, len(_AGE_BOUNDS_S))
        return Fix(
            ok=self.fix_ok and not self.invalid_llh and 1 <= self.fix_type <= 4,
            lat_deg=self.lat_deg,
            lon_deg=self.lon_deg,
            height_m=self.msl_mm / 1000,
            geoid_m=(self.height_mm - self.msl_mm) / 1000,
            accuracy_m=self.hacc_mm / 1000,
            satellites=self.satellites,
            carrier=self.carrier,
            differential=self.differential,
            correction_age_s=_AGE_BOUNDS_S[age] if age < len(_AGE_BOUNDS_S) else _LONGEST_AGE_S,
            correction_age_from_s=(_AGE_BOUNDS_S[age - 1] or 0.0) if age else 0.0,
            utc=self.utc if self.fully_resolved else None,
            pdop=self.pdop,
            three_d=self.fix_type != 2,
            time_only=self.fix_type == 5,
            dead_reckoning=self.fix_type == 1,
            speed_mps=self.speed_mm_s / 1000,
            utc_confirmed=self.confirmed_time or (self.fix_ok and 2 <= self.fix_type <= 5),
        )


_CARRIERS = (Carrier.NONE, Carrier.FLOAT, Carrier.FIXED, Carrier.NONE)  # 3 is reserved


def _utc(date: list[int], nano: int) -> datetime | None:
    """The receiver's date and time; None where they are no date.

    A negative ``nano`` (the seconds are then rounded up) counts as 0, a leap second as second 59.
    """
    year, month, day, hour, minute, second = date
    microsecond = min(max(nano, 0) // 1000, 999_999)
    try:
        return datetime(year, month, day, hour, minute, min(second, 59), microsecond, tzinfo=UTC)
    except ValueError:
        return None


_SAT_HEADER = struct.Struct("<IBB2x")
_SAT = struct.Struct("<BBBbhhI")
SYSTEMS = {0: "GPS", 1: "SBAS", 2: "GAL", 3: "BDS", 5: "QZSS", 6: "GLO", 7: "NavIC"}
"""Names of NAV-SAT's ``gnssId``."""


class Satellite(NamedTuple):
    """One satellite as NAV-SAT reports it."""

    system: int  # see SYSTEMS
    number: int
    cno_dbhz: int = 0  # carrier to noise density of its best signal; 0: not received
    elevation_deg: int = 0
    azimuth_deg: int = 0
    used: bool = False  # in the position
    corrected: bool = False  # corrections for it are at hand


class NavSat(NamedTuple):
    """NAV-SAT: the satellites that the receiver knows of."""

    satellites: tuple[Satellite, ...]
    itow_ms: int = 0

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        try:
            header = _SAT_HEADER.pack(self.itow_ms, 1, len(self.satellites))
            blocks = [
                _SAT.pack(
                    each.system,
                    each.number,
                    each.cno_dbhz,
                    each.elevation_deg,
                    each.azimuth_deg,
                    0,
                    each.used << 3 | each.corrected << 6,
                )
                for each in self.satellites
            ]
        except struct.error as error:
            raise ValueError(f"NAV-SAT: {error}") from None
        return message(Message.NAV_SAT, header + b"".join(blocks))

    @classmethod
    def decode(cls, payload: bytes) -> NavSat:
        """Raises ValueError on a wrong length or version."""
        if len(payload) < _SAT_HEADER.size or payload[4] != 1:
            raise ValueError("NAV-SAT has not version 1")
        itow_ms, _, count = _SAT_HEADER.unpack_from(payload)
        check_length(payload, _SAT_HEADER.size + count * _SAT.size, Message.NAV_SAT)
        return cls(
            tuple(
                Satellite(
                    system,
                    number,
                    cno,
                    elevation,
                    azimuth,
                    bool(flags >> 3 & 1),
                    bool(flags >> 6 & 1),
                )
                for system, number, cno, elevation, azimuth, _residual, flags in _SAT.iter_unpack(
                    payload[_SAT_HEADER.size :]
                )
            ),
            itow_ms,
        )
