"""The UBX messages ztpd uses, both directions.

``encode()`` gives a whole frame, ready to be written; ``decode()`` takes a payload;
:func:`parse` takes a whole frame and finds the right class. Sources: u-blox ZED-F9P (HPG 1.50)
and ZED-X20P interface descriptions, by the names of the messages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum
from itertools import accumulate

from ztpd.model import WEEK_S, Carrier, DynamicKey, Fix
from ztpd.wire import ubxcfg

SYNC = b"\xb5\x62"
OVERHEAD = 8  # bytes of a frame beside its payload

LAYER_RAM, LAYER_BBR, LAYER_FLASH = 1, 2, 4  # bits of CfgValset.layers


class Message(IntEnum):
    """Class and id as one number: class in the high byte."""

    NAV_PVT = 0x0107
    NAV_HPPOSLLH = 0x0114
    NAV_SAT = 0x0135
    RXM_RTCM = 0x0232
    RXM_SPARTN = 0x0233
    RXM_COR = 0x0234
    RXM_SPARTNKEY = 0x0236
    RXM_PMP = 0x0272
    INF_ERROR = 0x0400
    INF_WARNING = 0x0401
    INF_NOTICE = 0x0402
    ACK_NAK = 0x0500
    ACK_ACK = 0x0501
    CFG_RST = 0x0604
    CFG_VALSET = 0x068A
    CFG_VALGET = 0x068B
    MON_VER = 0x0A04
    MON_COMMS = 0x0A36
    MGA_GPS = 0x1300
    MGA_GAL = 0x1302
    MGA_BDS = 0x1303
    MGA_QZSS = 0x1305
    MGA_GLO = 0x1306
    MGA_ANO = 0x1320
    MGA_INI = 0x1340
    MGA_ACK = 0x1360
    MGA_DBD = 0x1380

    @property
    def label(self) -> str:
        """u-blox's own spelling: "NAV-PVT"."""
        return self.name.replace("_", "-")


_LABELS = {int(each): each.label for each in Message}


def label(number: int) -> str:
    """The name of class and id, "NAV-PVT", or four hexadecimal digits where it has none here."""
    return _LABELS.get(number) or f"{number:04x}"


def checksum(body: bytes) -> bytes:
    """Two bytes over class, id, length and payload: 8-bit Fletcher (RFC 1145)."""
    return bytes((sum(body) & 0xFF, sum(accumulate(body)) & 0xFF))


def message(number: int, payload: bytes = b"") -> bytes:
    """A whole frame; ``number`` holds class and id, as :class:`Message` does.

    Raises ValueError above 65535 bytes of payload.
    """
    if len(payload) > 0xFFFF:
        raise ValueError(f"{len(payload)} bytes, a UBX frame takes 65535")
    body = struct.pack(">H", number) + struct.pack("<H", len(payload)) + payload
    return SYNC + body + checksum(body)


def poll(number: int) -> bytes:
    """The frame that asks for a message: that message without payload."""
    return message(number)


def unwrap(frame: bytes) -> tuple[int, bytes]:
    """Number and payload of one whole frame. Raises ValueError where it is not one."""
    if len(frame) < OVERHEAD or frame[:2] != SYNC:
        raise ValueError("not a UBX frame")
    (length,) = struct.unpack_from("<H", frame, 4)
    if len(frame) != length + OVERHEAD:
        raise ValueError(f"{len(frame)} bytes, the UBX header says {length + OVERHEAD}")
    expected = checksum(frame[2:-2])
    if frame[-2:] != expected:
        raise ValueError(f"UBX checksum {frame[-2:].hex()}, expected {expected.hex()}")
    return int.from_bytes(frame[2:4], "big"), frame[6:-2]


def _need(payload: bytes, length: int, number: Message) -> None:
    if len(payload) != length:
        raise ValueError(f"{number.label} has {len(payload)} bytes of payload, not {length}")


@dataclass(frozen=True, slots=True)
class Other:
    """A message not taken apart here, or a poll: then the payload is empty."""

    number: int
    payload: bytes = b""

    def encode(self) -> bytes:
        return message(self.number, self.payload)


@dataclass(frozen=True, slots=True)
class MonVer:
    """MON-VER: what the receiver is."""

    software: str
    hardware: str
    extensions: tuple[str, ...] = ()

    def encode(self) -> bytes:
        """Raises ValueError where a text is too long or not ASCII."""
        texts = [
            (self.software, 30),
            (self.hardware, 10),
            *((text, 30) for text in self.extensions),
        ]
        return message(Message.MON_VER, b"".join(_padded(text, size) for text, size in texts))

    @classmethod
    def decode(cls, payload: bytes) -> MonVer:
        """Raises ValueError on a wrong length."""
        if len(payload) < 40 or (len(payload) - 40) % 30:
            raise ValueError(f"MON-VER has {len(payload)} bytes of payload, not 40 + n * 30")
        extensions = (_text(payload[at : at + 30]) for at in range(40, len(payload), 30))
        return cls(_text(payload[:30]), _text(payload[30:40]), tuple(extensions))

    @property
    def model(self) -> str:
        """Such as "ZED-F9P"; "" where the receiver does not say."""
        return self._extension("MOD")

    @property
    def firmware(self) -> str:
        """Such as "HPG 1.32"; the software version where no product firmware is named."""
        return self._extension("FWVER") or self.software

    @property
    def protocol(self) -> str:
        """Such as "27.31"; "" where the receiver does not say."""
        return self._extension("PROTVER")

    def _extension(self, name: str) -> str:
        for text in self.extensions:
            if text.startswith(name + "="):
                return text[len(name) + 1 :].strip()
        return ""


def _text(field_bytes: bytes) -> str:
    return field_bytes.split(b"\0", 1)[0].decode("ascii", "replace").strip()


def _padded(text: str, size: int) -> bytes:
    if len(text) > size:
        raise ValueError(f"{text!r} is longer than {size} characters")
    return text.encode("ascii").ljust(size, b"\0")


_PVT_TIME = struct.Struct("<IH5BBIi")
_PVT_PLACE = struct.Struct("<4B4i2I28xHH12x")
_PVT_BYTES = 92

_AGE_BOUNDS_S = (None, 1.0, 2.0, 5.0, 10.0, 15.0, 20.0, 30.0, 45.0, 60.0, 90.0, 120.0)
_LONGEST_AGE_S = 255.0  # CFG-NAVSPG-CONSTR_DGNSSTO, one byte: older corrections are never used


@dataclass(frozen=True, slots=True)
class NavPvt:
    """NAV-PVT: position, time and what they are worth. Velocity and heading are left out."""

    itow_ms: int = 0  # GPS time of week of the navigation epoch
    utc: datetime | None = None  # None unless date and time are marked valid
    fully_resolved: bool = False  # no uncertainty of whole seconds is left in utc
    confirmed_time: bool = False
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
    pdop: float = 99.99
    invalid_llh: bool = False
    correction_age_class: int = 0  # lastCorrectionAge, 0 to 15; 0: none received

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
                round(self.pdop * 100),
                self.invalid_llh | (self.correction_age_class & 0xF) << 1,
            )
        except struct.error as error:
            raise ValueError(f"NAV-PVT: {error}") from None
        return message(Message.NAV_PVT, time + place)

    @classmethod
    def decode(cls, payload: bytes) -> NavPvt:
        """Raises ValueError on a wrong length."""
        _need(payload, _PVT_BYTES, Message.NAV_PVT)
        itow_ms, *date, valid, _accuracy_ns, nano = _PVT_TIME.unpack_from(payload)
        fix_type, flags, flags2, satellites, lon, lat, *lengths_mm, pdop, flags3 = (
            _PVT_PLACE.unpack_from(payload, _PVT_TIME.size)
        )
        height_mm, msl_mm, hacc_mm, vacc_mm = lengths_mm
        return cls(
            itow_ms=itow_ms,
            utc=_utc(date, nano) if valid & 0b11 == 0b11 else None,
            fully_resolved=bool(valid & 0b100),
            confirmed_time=bool(flags2 & 0x80),
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
        age = self.correction_age_class
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
            utc=self.utc if self.fully_resolved else None,
            pdop=self.pdop,
            three_d=self.fix_type != 2,
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


_COR = struct.Struct("<BB2xIHH")
_UNKNOWN_NO_YES = (None, False, True, None)
PROTOCOL_RTCM3, PROTOCOL_SPARTN, PROTOCOL_PMP = 1, 2, 29  # RxmCor.protocol


@dataclass(frozen=True, slots=True)
class RxmCor:
    """RXM-COR: what the receiver did with one correction message. None means it does not know."""

    protocol: int = PROTOCOL_SPARTN
    erroneous: bool | None = False  # damaged on its way
    used: bool | None = True
    correction_id: int = 0xFFFF  # RTCM reference station id, else 0xFFFF
    message_type: int = 0  # RTCM: 1077; SPARTN: 0 OCB, 1 HPAC, 2 GAD
    subtype: int = 0
    type_valid: bool = True
    subtype_valid: bool = True
    input_handled: bool = True  # the firmware can handle this type
    encrypted: bool | None = False
    decrypted: bool | None = False
    ebno: int = 0  # 1/8 dB, L-band only

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        status = (
            (self.protocol & 0x1F)
            | _trit(self.erroneous) << 5
            | _trit(self.used) << 7
            | (self.correction_id & 0xFFFF) << 9
            | self.type_valid << 25
            | self.subtype_valid << 26
            | self.input_handled << 27
            | _trit(self.encrypted) << 28
            | _trit(self.decrypted) << 30
        )
        try:
            payload = _COR.pack(1, self.ebno, status, self.message_type, self.subtype)
        except struct.error as error:
            raise ValueError(f"RXM-COR: {error}") from None
        return message(Message.RXM_COR, payload)

    @classmethod
    def decode(cls, payload: bytes) -> RxmCor:
        """Raises ValueError on a wrong length or version."""
        _need(payload, _COR.size, Message.RXM_COR)
        version, ebno, status, message_type, subtype = _COR.unpack(payload)
        if version != 1:
            raise ValueError(f"RXM-COR has version {version}")
        return cls(
            protocol=status & 0x1F,
            erroneous=_UNKNOWN_NO_YES[status >> 5 & 3],
            used=_UNKNOWN_NO_YES[status >> 7 & 3],
            correction_id=status >> 9 & 0xFFFF,
            message_type=message_type,
            subtype=subtype,
            type_valid=bool(status >> 25 & 1),
            subtype_valid=bool(status >> 26 & 1),
            input_handled=bool(status >> 27 & 1),
            encrypted=_UNKNOWN_NO_YES[status >> 28 & 3],
            decrypted=_UNKNOWN_NO_YES[status >> 30 & 3],
            ebno=ebno,
        )


def _trit(value: bool | None) -> int:
    return 0 if value is None else 1 + value


KEY_BYTES = 16  # SPARTN payloads are AES-128


@dataclass(frozen=True, slots=True)
class KeySlot:
    """One SPARTN decryption key and the GPS time from which it holds."""

    value: bytes = field(repr=False)  # 16 bytes, secret
    week: int
    tow_s: int


@dataclass(frozen=True, slots=True)
class SpartnKey:
    """RXM-SPARTNKEY: the decryption keys, to the receiver or from it."""

    keys: tuple[KeySlot, ...] = ()

    def encode(self) -> bytes:
        """Raises ValueError where a key has not 16 bytes, or its time is no GPS time."""
        for key in self.keys:
            if len(key.value) != KEY_BYTES or not 0 <= key.tow_s < WEEK_S:
                raise ValueError(f"not a SPARTN key: {len(key.value)} bytes, from {key.tow_s} s")
        try:
            parts = [struct.pack("<BBxx", 1, len(self.keys))]
            parts += [struct.pack("<xBHI", KEY_BYTES, key.week, key.tow_s) for key in self.keys]
        except struct.error as error:
            raise ValueError(f"RXM-SPARTNKEY: {error}") from None
        return message(Message.RXM_SPARTNKEY, b"".join(parts + [key.value for key in self.keys]))

    @classmethod
    def decode(cls, payload: bytes) -> SpartnKey:
        """Raises ValueError on a wrong version or length, of the whole or of a key."""
        if len(payload) < 4 or payload[0] != 1:
            raise ValueError("RXM-SPARTNKEY has not version 1")
        count = payload[1]
        _need(payload, 4 + (8 + KEY_BYTES) * count, Message.RXM_SPARTNKEY)
        keys = []
        for place in range(count):
            length, week, tow_s = struct.unpack_from("<xBHI", payload, 4 + 8 * place)
            if length != KEY_BYTES or tow_s >= WEEK_S:
                raise ValueError(f"RXM-SPARTNKEY: key of {length} bytes from second {tow_s}")
            start = 4 + 8 * count + KEY_BYTES * place
            keys.append(KeySlot(payload[start : start + KEY_BYTES], week, tow_s))
        return cls(tuple(keys))


def spartn_keys(keys: Iterable[DynamicKey]) -> bytes:
    """The frame that gives ``keys`` to the receiver.

    Raises ValueError where a key is not 32 hexadecimal digits or its start is no GPS time.
    """
    slots = []
    for key in keys:
        try:
            value = bytes.fromhex(key.value.reveal())
        except ValueError:
            raise ValueError("a SPARTN key is not hexadecimal") from None
        slots.append(KeySlot(value, *key.gps_time))
    return SpartnKey(tuple(slots)).encode()


@dataclass(frozen=True, slots=True)
class CfgValset:
    """CFG-VALSET: settings for the receiver, all or none; it answers with an :class:`Ack`."""

    values: Mapping[int, int]  # key id -> value, see ubxcfg
    layers: int = LAYER_RAM

    def encode(self) -> bytes:
        """Raises ValueError above 64 items and where a value does not fit its key."""
        header = struct.pack("<BBxx", 0, self.layers)
        return message(Message.CFG_VALSET, header + ubxcfg.encode_items(self.values))

    @classmethod
    def decode(cls, payload: bytes) -> CfgValset:
        """Raises ValueError on a wrong length, on no whole items, and on a transaction."""
        if len(payload) < 4 or payload[0] != 0:
            raise ValueError("CFG-VALSET has not version 0")
        return cls(ubxcfg.decode_items(payload[4:]), payload[1])


@dataclass(frozen=True, slots=True)
class CfgValgetPoll:
    """CFG-VALGET as a question. The answer is a :class:`CfgValget` and an :class:`Ack`, or, if
    one key is unknown, only a negative one."""

    keys: tuple[int, ...]
    layer: int = 0  # 0 what is in force, 1 battery-backed RAM, 2 flash, 7 default

    def encode(self) -> bytes:
        """Raises ValueError above 64 keys."""
        if len(self.keys) > ubxcfg.MAX_ITEMS:
            raise ValueError(f"{len(self.keys)} keys, a message takes {ubxcfg.MAX_ITEMS}")
        header = struct.pack("<BBxx", 0, self.layer)
        keys = b"".join(key.to_bytes(4, "little") for key in self.keys)
        return message(Message.CFG_VALGET, header + keys)

    @classmethod
    def decode(cls, payload: bytes) -> CfgValgetPoll:
        """Raises ValueError on a wrong length or version."""
        if len(payload) < 4 or len(payload) % 4 or payload[0] != 0:
            raise ValueError("CFG-VALGET is not a poll")
        return cls(struct.unpack_from(f"<{len(payload) // 4 - 1}I", payload, 4), payload[1])


@dataclass(frozen=True, slots=True)
class CfgValget:
    """CFG-VALGET as the answer."""

    values: Mapping[int, int]  # unsigned, see ubxcfg.unsigned
    layer: int = 0

    def encode(self) -> bytes:
        """Raises ValueError above 64 items and where a value does not fit its key."""
        header = struct.pack("<BBxx", 1, self.layer)
        return message(Message.CFG_VALGET, header + ubxcfg.encode_items(self.values))

    @classmethod
    def decode(cls, payload: bytes) -> CfgValget:
        """Raises ValueError on a wrong length or version, and on no whole items."""
        if len(payload) < 4 or payload[0] != 1:
            raise ValueError("CFG-VALGET is not an answer")
        return cls(ubxcfg.decode_items(payload[4:]), payload[1])


@dataclass(frozen=True, slots=True)
class Ack:
    """ACK-ACK or ACK-NAK: whether a configuration message was taken."""

    number: int  # of the message it answers
    ok: bool

    def encode(self) -> bytes:
        kind = Message.ACK_ACK if self.ok else Message.ACK_NAK
        return message(kind, struct.pack(">H", self.number))


Parsed = MonVer | NavPvt | RxmCor | SpartnKey | CfgValset | CfgValgetPoll | CfgValget | Ack | Other


def _valget(payload: bytes) -> CfgValget | CfgValgetPoll:
    return (CfgValgetPoll if payload[:1] == b"\0" else CfgValget).decode(payload)


def _ack(payload: bytes, ok: bool) -> Ack:
    _need(payload, 2, Message.ACK_ACK if ok else Message.ACK_NAK)
    return Ack(int.from_bytes(payload, "big"), ok)


_DECODERS: dict[int, Callable[[bytes], Parsed]] = {
    Message.MON_VER: MonVer.decode,
    Message.NAV_PVT: NavPvt.decode,
    Message.RXM_COR: RxmCor.decode,
    Message.RXM_SPARTNKEY: SpartnKey.decode,
    Message.CFG_VALSET: CfgValset.decode,
    Message.CFG_VALGET: _valget,
    Message.ACK_ACK: lambda payload: _ack(payload, True),
    Message.ACK_NAK: lambda payload: _ack(payload, False),
}


def parse(frame: bytes) -> Parsed:
    """The message in one whole frame; :class:`Other` for a poll and for what has no class here.

    Raises ValueError where the frame is not whole or its payload not what the message allows.
    """
    number, payload = unwrap(frame)
    decode = _DECODERS.get(number)
    return decode(payload) if decode and payload else Other(number, payload)
