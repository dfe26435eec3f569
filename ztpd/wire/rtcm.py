"""RTCM 3 messages, as far as ztpd looks into them: number, reference station, its position.

Source: RTCM 10403.3, sections 3.4 and 3.5 (data fields DF002, DF003, DF025 to DF028, messages 1005
and 1006, MSM).
"""

from __future__ import annotations

from typing import NamedTuple

STATION_POSITION = frozenset({1005, 1006})
GLONASS_BIASES = frozenset(
    {1033, 1230}
)  # code-phase biases, or the receiver type that implies them
MOVING_BASE = 4072  # u-blox: reference station that moves; it takes the place of 1005

_OBSERVATIONS = {
    **dict.fromkeys(range(1001, 1005), "GPS"),
    **dict.fromkeys(range(1009, 1013), "GLO"),
}
_MSM_SYSTEMS = ("GPS", "GLO", "GAL", "SBAS", "QZSS", "BDS", "NavIC")
_MSM = (1070 + 10 * kind + msm for kind in range(len(_MSM_SYSTEMS)) for msm in range(1, 8))
_WITH_STATION = frozenset({*range(1001, 1014), 1029, *range(1032, 1036), 1230, *_MSM})
_POSITION_BITS = {1005: 152, 1006: 168}
_PER_METRE = 10_000


def number(payload: bytes) -> int:
    """DF002; 0 for a payload that is too short to have one. ``payload`` is without RTCM's frame."""
    return int.from_bytes(payload[:2], "big") >> 4 if len(payload) >= 2 else 0


def payload(frame: bytes) -> bytes:
    """The payload of one whole RTCM 3 frame."""
    return frame[3:-3]


def observed_system(message_number: int) -> str:
    """The system whose observations a message carries: "GPS", "GLO" ...; "" for others."""
    kind, msm = divmod(message_number - 1070, 10)
    if 0 <= kind < len(_MSM_SYSTEMS) and 1 <= msm <= 7:
        return _MSM_SYSTEMS[kind]
    return _OBSERVATIONS.get(message_number, "")


def station_id(data: bytes) -> int | None:
    """DF003 of a payload, 0 to 4095; None where that message has none or is too short."""
    return identity(data)[1]


def identity(data: bytes) -> tuple[int, int | None]:
    """:func:`number` and :func:`station_id` of a payload."""
    found = number(data)
    if found not in _WITH_STATION or len(data) < 3:
        return found, None
    return found, int.from_bytes(data[1:3], "big") & 0xFFF


def epoch_s(data: bytes, system: str) -> float | None:
    """The time of the observations of ``system`` in a payload, in its own time: seconds of the
    week, for GLONASS of the day. None for other messages."""
    found = number(data)
    if observed_system(found) != system or len(data) < 7:
        return None
    bits = int.from_bytes(data[:7], "big") >> 2  # number 12, station 12, epoch 30
    if system != "GLO":
        return (bits & 0x3FFF_FFFF) / 1000
    milliseconds = bits & 0x07FF_FFFF if found > 1070 else bits >> 3 & 0x07FF_FFFF
    return milliseconds / 1000  # MSM have the day of the week before it


class StationPosition(NamedTuple):
    """1005 or 1006: where the antenna reference point of the reference station is."""

    station_id: int
    x_m: float  # earth-centred, earth-fixed, to 0.1 mm
    y_m: float
    z_m: float
    antenna_height_m: float | None = None  # above the marker; only 1006 has it

    def encode(self) -> bytes:
        """The payload. Raises ValueError where a value does not fit its field."""
        fields = [(1006 if self.antenna_height_m is not None else 1005, 12), (self.station_id, 12)]
        fields += [(0, 6), (0b1110, 4)]  # year of realisation; has GPS, GLONASS, Galileo
        for metres, bits_behind in ((self.x_m, 2), (self.y_m, 2), (self.z_m, 0)):
            count = round(metres * _PER_METRE)
            if not -(1 << 37) < count < 1 << 37:
                raise ValueError(f"{metres} m is no position of a station")
            fields += [(count % (1 << 38), 38), (0, bits_behind)]
        if self.antenna_height_m is not None:
            fields.append((round(self.antenna_height_m * _PER_METRE), 16))
        result, width = 0, 0
        for value, bits in fields:
            if not 0 <= value < 1 << max(bits, 1):
                raise ValueError(f"{value} does not fit {bits} bits")
            result, width = result << bits | value, width + bits
        return result.to_bytes(width // 8, "big")

    @classmethod
    def decode(cls, data: bytes) -> StationPosition:
        """Raises ValueError for another message and where the payload is too short.

        Longer payloads are taken: a later version of the standard may add fields at the end.
        """
        bits = _POSITION_BITS.get(number(data))
        if bits is None or len(data) * 8 < bits:
            raise ValueError("neither RTCM 1005 nor 1006, or cut short")
        whole = int.from_bytes(data[: bits // 8], "big")

        def signed(at: int) -> float:
            value = whole >> (bits - at - 38) & (1 << 38) - 1
            return (value - (value >> 37 << 38)) / _PER_METRE

        height_m = (whole & 0xFFFF) / _PER_METRE if bits == 168 else None
        return cls(whole >> (bits - 24) & 0xFFF, signed(34), signed(74), signed(114), height_m)
