"""Takes secrets out of frames, and positions where they are not wanted.

Secrets: decryption keys (RXM-SPARTNKEY), security messages and settings, backups of the receiver.
Their bytes become zeros; the frame stays whole, with its checksum right.

Positions: the first one becomes 1 degree north and 1 degree east, and all others keep their
distance in metres from it. A reference station keeps its distance, in whole kilometres. Of a
message that could tell the place in another way (observations, directions to satellites,
atmosphere, and all that is not known here) only its kind and time stay.
"""

from __future__ import annotations

import math
import struct
from itertools import pairwise

from ztpd.model import Frame, FrameKind
from ztpd.wire import nmea, rtcm, ubx, ubxcfg
from ztpd.wire.frames import rtcm_frame, spartn_encrypted, spartn_frame, spartn_time_tag
from ztpd.wire.geodesy import ecef_m
from ztpd.wire.ubx import Message

ANCHOR_DEG = 1.0
"""Latitude and longitude that stand for the first position."""

_MERIDIAN_DEGREE_M = 110_580.0  # a degree of latitude near the equator
_SECURITY, _UPDATE = 0x27, 0x09  # classes
_SIGNAL_REPORTS = (Message.SEC_SIG, 0x2710)  # SEC-SIGLOG
_LISTS_OF_SETTINGS = {Message.CFG_VALSET, Message.CFG_VALGET}
_SECURITY_SETTINGS, _TMODE, _GEOFENCE = 0xF6, 0x03, 0x24  # groups of configuration items
_TMODE_MODE = 0x2003_0001

_PLACELESS_CLASSES = {0x04, 0x05, 0x0A, 0x27}  # INF, ACK, MON, SEC
_PLACELESS = {
    *(0x0103, 0x0104, 0x0112, 0x0120, 0x0121, 0x0122, 0x0126, 0x0143, 0x0160, 0x0161),
    *(Message.RXM_RTCM, Message.RXM_COR, Message.RXM_SPARTNKEY, Message.RXM_SPARTN),
    *(Message.CFG_RST, Message.CFG_VALSET, Message.CFG_VALGET),
    *range(Message.MGA_GPS, Message.MGA_ANO + 1),
    Message.MGA_ACK,
}
"""Without a position: STATUS, DOP, VELNED, times, SIG, EOE, reports about corrections, settings
(whose positions are taken out), orbits."""

_PVT_PLACE = struct.Struct("<iiii")  # longitude, latitude, height, height above sea level
_PVT_FLAGS_AT, _PVT_PLACE_AT, _PVT_DECLINATION_AT, _PVT_BYTES = 21, 24, 88, 92
_SAT_HEADER_BYTES, _SAT_BYTES = 8, 12
_SAT_DIRECTION = slice(3, 8)  # elevation, azimuth, residual

_PLACELESS_RTCM = {1007, 1008, 1013, 1019, 1020, 1033, 1042, 1044, 1045, 1046, 1230}
_OBSERVED_BYTES = 8  # number, station and time of observations
_NUMBER_BYTES = 3  # number and station

_PLACED_SENTENCES = {
    "GGA": (6, 2, 9, 11),
    "GNS": (6, 2, 9, 10),
    "RMC": (2, 3),
    "GLL": (6, 1),
}
"""Fields with the validity, the latitude, the height above sea level, and the geoid's."""
_INVALID = frozenset("0VN")  # GGA, RMC and GLL, GNS
_PLACELESS_SENTENCES = {"TXT", "GSA", "ZDA", "GST", "GBS"}
_MAGNETIC_FIELDS = {"RMC": (10, 11), "VTG": (3,)}
"""The magnetic declination, or what it follows from: it differs from place to place."""
_GSV_FIRST = 4  # field of the first satellite, each with number, elevation, azimuth, C/N0
_OCB = "OCB"


def holds_position(key: int) -> bool:
    """Whether a configuration item of the receiver may be part of a position."""
    return (key >> 16) & 0xFF in (_TMODE, _GEOFENCE) and key != _TMODE_MODE


class FrameRedaction:
    """For one stream of frames, or for several of one gateway."""

    def __init__(self, *, with_position: bool) -> None:
        """``with_position``: positions stay."""
        self._with_position = with_position
        self._first: tuple[float, float, float] | None = None  # degrees, and metres

    def apply(self, frame: Frame) -> bytes:
        """A frame of the same kind and length, whole; zeros for a sentence of NMEA that is not
        known here. Never raises."""
        data = frame.data
        try:
            match frame.kind:
                case FrameKind.UBX:
                    return self._ubx(data)
                case _ if self._with_position:
                    return data
                case FrameKind.RTCM3:
                    return self._rtcm(rtcm.payload(data))
                case FrameKind.SPARTN:
                    return data if frame.name.startswith(_OCB) else _without_payload(frame)
                case FrameKind.NMEA:
                    return self._nmea(frame)
        except (ValueError, struct.error, OverflowError):
            pass
        return bytes(len(data))

    def _ubx(self, data: bytes) -> bytes:
        number, payload = ubx.unwrap(data)
        kept = payload
        if number == Message.RXM_SPARTNKEY:
            kept = _without_keys(payload)
        elif number in _LISTS_OF_SETTINGS:
            kept = self._without_secret_settings(number, payload)
        elif number >> 8 in (_SECURITY, _UPDATE) and number not in _SIGNAL_REPORTS:
            kept = bytes(len(payload))
        elif not self._with_position:
            kept = self._without_place(number, payload)
        return data if kept == payload else ubx.message(number, kept)

    def _without_secret_settings(self, number: int, payload: bytes) -> bytes:
        asks = number == Message.CFG_VALGET and payload[:1] == b"\0"
        if asks or len(payload) < 4:
            return payload
        try:
            values = ubxcfg.decode_items(payload[4:])
        except ValueError:
            return payload[:4] + bytes(len(payload) - 4)
        kept = {key: 0 if self._is_hidden(key) else value for key, value in values.items()}
        items = ubxcfg.encode_items(kept)
        return payload[:4] + items.ljust(len(payload) - 4, b"\0")

    def _is_hidden(self, key: int) -> bool:
        hides_place = not self._with_position and holds_position(key)
        return hides_place or (key >> 16) & 0xFF == _SECURITY_SETTINGS

    def _without_place(self, number: int, payload: bytes) -> bytes:
        if number == Message.NAV_PVT and len(payload) == _PVT_BYTES:
            return self._moved_pvt(payload)
        if number == Message.NAV_SAT:
            return _without_directions(payload)
        if number in _PLACELESS or number >> 8 in _PLACELESS_CLASSES:
            return payload
        return bytes(len(payload))

    def _moved_pvt(self, payload: bytes) -> bytes:
        moved = bytearray(payload)
        lon, lat, _, sea_mm = _PVT_PLACE.unpack_from(payload, _PVT_PLACE_AT)
        if not payload[_PVT_FLAGS_AT] & 1:  # no valid fix: the last or a default position
            lon = lat = 0
        lat_deg, lon_deg, height_m = self._moved(lat / 1e7, lon / 1e7, sea_mm / 1000)
        height_mm = round(height_m * 1000)
        _PVT_PLACE.pack_into(
            moved, _PVT_PLACE_AT, round(lon_deg * 1e7), round(lat_deg * 1e7), height_mm, height_mm
        )
        return bytes(moved[:_PVT_DECLINATION_AT]).ljust(_PVT_BYTES, b"\0")

    def _moved(self, lat_deg: float, lon_deg: float, height_m: float) -> tuple[float, float, float]:
        """The position that stands for this one. Both exactly 0 is none, and stays."""
        if lat_deg == 0 and lon_deg == 0:
            return 0.0, 0.0, 0.0
        if self._first is None:
            self._first = lat_deg, lon_deg, height_m
        first_lat, first_lon, first_m = self._first
        east = (lon_deg - first_lon + 180) % 360 - 180
        narrower = math.cos(math.radians(first_lat)) / math.cos(math.radians(ANCHOR_DEG))
        lat = max(-90.0, min(90.0, ANCHOR_DEG + lat_deg - first_lat))
        lon = max(-180.0, min(180.0, ANCHOR_DEG + east * narrower))
        return lat, lon, height_m - first_m

    def _rtcm(self, payload: bytes) -> bytes:
        number = rtcm.number(payload)
        if number in rtcm.STATION_POSITION:
            return rtcm_frame(self._moved_station(payload).ljust(len(payload), b"\0"))
        if number in _PLACELESS_RTCM:
            return rtcm_frame(payload)
        kept = _OBSERVED_BYTES if rtcm.observed_system(number) else _NUMBER_BYTES
        return rtcm_frame(payload[:kept] + bytes(max(0, len(payload) - kept)))

    def _moved_station(self, payload: bytes) -> bytes:
        station = rtcm.StationPosition.decode(payload)
        distance_m = 0.0
        if self._first:
            there = (station.x_m, station.y_m, station.z_m)
            distance_m = round(math.dist(ecef_m(*self._first), there), -3)
        north_deg = min(80.0, distance_m / _MERIDIAN_DEGREE_M)
        x_m, y_m, z_m = ecef_m(ANCHOR_DEG + north_deg, ANCHOR_DEG, 0.0)
        kept = rtcm.StationPosition(station.station_id, x_m, y_m, z_m, station.antenna_height_m)
        return kept.encode()

    def _nmea(self, frame: Frame) -> bytes:
        data, name = frame.data, frame.name
        if name in _PLACELESS_SENTENCES:
            return data
        fields = data[1:-5].decode("ascii").split(",")
        if name == "GSV":
            for first in range(_GSV_FIRST, len(fields) - 3, 4):
                fields[first + 1] = fields[first + 2] = ""
        elif name in _PLACED_SENTENCES:
            validity, at, *heights = _PLACED_SENTENCES[name]
            self._move_sentence(fields, validity, at, heights)
        elif name not in _MAGNETIC_FIELDS:
            return bytes(len(data))
        for place in _MAGNETIC_FIELDS.get(name, ()):
            if place < len(fields):
                fields[place] = ""
        body = ",".join(fields).encode("ascii")
        return b"$%b*%02X\r\n" % (body, nmea.checksum(body))

    def _move_sentence(self, fields: list[str], validity: int, at: int, heights: list[int]) -> None:
        """Move latitude, N or S, longitude, E or W from field ``at`` on. Raises ValueError."""
        if len(fields) <= max(validity, at + 3, *heights):
            raise ValueError("a field is missing")
        if not fields[at] or not fields[at + 2] or _INVALID.issuperset(fields[validity]):
            for place in (*range(at, at + 4), *heights):
                fields[place] = ""
            return
        lat_deg, lon_deg = _degrees(fields[at], 2), _degrees(fields[at + 2], 3)
        lat_deg *= -1 if fields[at + 1] == "S" else 1
        lon_deg *= -1 if fields[at + 3] == "W" else 1
        sea_m = float(fields[heights[0]]) if heights and fields[heights[0]] else 0.0
        if self._first is None and not heights:  # its height is to come
            moved_lat, moved_lon, moved_m = ANCHOR_DEG, ANCHOR_DEG, 0.0
        else:
            moved_lat, moved_lon, moved_m = self._moved(lat_deg, lon_deg, sea_m)
        for place, degrees, digits, signs in (
            (at, moved_lat, 2, "NS"),
            (at + 2, moved_lon, 3, "EW"),
        ):
            decimals = len(fields[place].partition(".")[2])
            fields[place] = _angle(degrees, digits, decimals)
            fields[place + 1] = signs[degrees < 0]
        for place, text in zip(heights, (f"{moved_m:.1f}", "0.0"), strict=False):
            if fields[place]:
                fields[place] = text


def _without_keys(payload: bytes) -> bytes:
    """RXM-SPARTNKEY with its numbers and times; a poll stays, and of any other nothing does."""
    if not payload:
        return payload
    try:
        keys = ubx.SpartnKey.decode(payload).keys
    except ValueError:
        return bytes(len(payload))
    blank = (ubx.KeySlot(bytes(len(key.value)), key.week, key.tow_s) for key in keys)
    return ubx.unwrap(ubx.SpartnKey(tuple(blank)).encode())[1]


def _without_directions(payload: bytes) -> bytes:
    kept = bytearray(payload)
    edges = range(_SAT_HEADER_BYTES, len(payload) + 1, _SAT_BYTES)
    for begin, _ in pairwise(edges):
        where = slice(begin + _SAT_DIRECTION.start, begin + _SAT_DIRECTION.stop)
        kept[where] = bytes(_SAT_DIRECTION.stop - _SAT_DIRECTION.start)
    return bytes(kept)


def _without_payload(frame: Frame) -> bytes:
    """A SPARTN frame whose payload, and authentication, are zeros."""
    data = frame.data
    tag, wide = spartn_time_tag(frame)
    encrypted, crc_type = spartn_encrypted(frame), data[3] >> 4 & 3
    at = 10 if wide else 8
    solution = int.from_bytes(data[at - 2 : at], "big")
    encryption_id = sequence = 0
    size = (data[1] << 16 | data[2] << 8 | data[3]) >> 7 & 0x3FF
    if encrypted:
        bits = int.from_bytes(data[at : at + 2], "big")
        encryption_id, sequence = bits >> 12, bits >> 6 & 0x3F
        at += 2
    authentication = bytes(len(data) - at - size - crc_type - 1)
    return spartn_frame(
        data[1] >> 1,
        data[4] >> 4,
        bytes(size),
        time_tag=tag,
        wide_tag=wide,
        encrypted=encrypted,
        crc_type=crc_type,
        solution_id=solution >> 4 & 0x7F,
        processor_id=solution & 0xF,
        encryption_id=encryption_id,
        sequence=sequence,
        authentication=authentication,
    )


def _degrees(text: str, digits: int) -> float:
    """Of ``ddmm.mmm``. Raises ValueError."""
    return int(text[:digits]) + float(text[digits:]) / 60


def _angle(degrees: float, digits: int, decimals: int) -> str:
    """The same the other way round, rounded as a whole so that minutes stay below 60."""
    scale = 10**decimals
    whole, rest = divmod(round(abs(degrees) * 60 * scale), 60 * scale)
    minutes, fraction = divmod(rest, scale)
    return f"{whole:0{digits}}{minutes:02}" + (f".{fraction:0{decimals}}" if decimals else "")
