"""UBX-RXM: correction messages as the receiver judges them, and its decryption keys.

Source: u-blox ZED-F9P (HPG 1.13, 1.50) and ZED-X20P interface descriptions, "UBX-RXM-COR",
"UBX-RXM-RTCM" and "UBX-RXM-SPARTNKEY".
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from ztpd.model import WEEK_S, DynamicKey
from ztpd.wire.ubxframe import Message, check_length, message

_COR = struct.Struct("<BB2xIHH")
_UNKNOWN_NO_YES = (None, False, True, None)
PROTOCOL_UNKNOWN, PROTOCOL_RTCM3, PROTOCOL_SPARTN, PROTOCOL_HAS = 0, 1, 2, 5
PROTOCOL_PMP, PROTOCOL_QZSS_L6 = 29, 30
"""Values of RxmCor.protocol; HAS is Galileo's correction service, PMP is SPARTN over L-band."""

NO_STATION = 0xFFFF  # RxmCor.correction_id of all but RTCM


class RxmCor(NamedTuple):
    """RXM-COR: the use of one correction message. None means it does not know."""

    protocol: int = PROTOCOL_SPARTN
    erroneous: bool | None = False  # damaged on its way
    used: bool | None = True
    correction_id: int = NO_STATION  # of RTCM: reference station id (DF003)
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
        check_length(payload, _COR.size, Message.RXM_COR)
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


_RTCM = struct.Struct("<BBHHH")


class RxmRtcm(NamedTuple):
    """RXM-RTCM: the use of one RTCM message.

    Firmware that has it as the only report: ZED-F9P before HPG 1.30 (version 2), and generation
    8, whose reports (version 2 too, before that 0) leave ``used`` open.
    """

    message_type: int
    station_id: int = 0  # DF003
    damaged: bool = False  # its CRC was wrong
    used: bool | None = None  # None: not said
    subtype: int = 0  # of message 4072

    @property
    def as_cor(self) -> RxmCor:
        """The same as newer firmware reports it in RXM-COR."""
        return RxmCor(
            PROTOCOL_RTCM3,
            erroneous=self.damaged,
            used=self.used,
            correction_id=self.station_id,
            message_type=self.message_type,
            subtype=self.subtype,
            encrypted=None,
            decrypted=None,
        )

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        flags = self.damaged | _trit(self.used) << 1
        try:
            payload = _RTCM.pack(2, flags, self.subtype, self.station_id, self.message_type)
        except struct.error as error:
            raise ValueError(f"RXM-RTCM: {error}") from None
        return message(Message.RXM_RTCM, payload)

    @classmethod
    def decode(cls, payload: bytes) -> RxmRtcm:
        """Raises ValueError on a wrong length or version."""
        check_length(payload, _RTCM.size, Message.RXM_RTCM)
        version, flags, subtype, station_id, message_type = _RTCM.unpack(payload)
        if version not in (0, 2):
            raise ValueError(f"RXM-RTCM has version {version}")
        used = _UNKNOWN_NO_YES[flags >> 1 & 3] if version == 2 else None
        return cls(message_type, station_id, bool(flags & 1), used, subtype)


KEY_BYTES = 16  # SPARTN payloads are AES-128


@dataclass(frozen=True, slots=True)
class KeySlot:
    """One SPARTN decryption key and the GPS time from which it holds."""

    value: bytes = field(repr=False)  # 16 bytes, secret
    week: int
    tow_s: int


class SpartnKey(NamedTuple):
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
        check_length(payload, 4 + (8 + KEY_BYTES) * count, Message.RXM_SPARTNKEY)
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
