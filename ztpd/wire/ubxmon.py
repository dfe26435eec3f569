"""UBX-MON and UBX-SEC: version, ports, antenna, radio frequency front end, jamming and spoofing.

Source: u-blox ZED-F9P (HPG 1.50) and ZED-X20P interface descriptions, "UBX-MON-VER",
"UBX-MON-COMMS", "UBX-MON-RF" and "UBX-SEC-SIG"; port ids from the integration manuals.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from ztpd.sanitize import quoted
from ztpd.wire.ubxframe import Message, check_length, message


class MonVer(NamedTuple):
    """MON-VER: model and firmware."""

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
        """Older firmware writes a blank where others have "="."""
        for text in self.extensions:
            if text.startswith((name + "=", name + " ")):
                return text[len(name) + 1 :].strip()
        return ""


def _text(field_bytes: bytes) -> str:
    """Printable on one line, for any bytes of the device."""
    return quoted(field_bytes.split(b"\0", 1)[0].decode("ascii", "replace"))


def _padded(text: str, size: int) -> bytes:
    if len(text) > size:
        raise ValueError(f"{text!r} is longer than {size} characters")
    return text.encode("ascii").ljust(size, b"\0")


_COMMS = struct.Struct("<BBBx4B")
_PORT = struct.Struct("<HHIBBHIBBH4H8xI")
_PORT_NAMES = {0x0000: "I2C", 0x0100: "UART1", 0x0201: "UART2", 0x0300: "USB", 0x0400: "SPI"}
_PORT_IDS = {name: number for number, name in _PORT_NAMES.items()}
_X20_UART2 = 0x0200


class PortCounts(NamedTuple):
    """The traffic of one port of the receiver since it started; counters are modulo 2**32."""

    received_bytes: int = 0
    sent_bytes: int = 0
    overruns: int = 0  # periods of 100 ms in which received bytes were lost, modulo 2**16
    skipped_bytes: int = 0  # received, and part of no message
    rx_peak_percent: int = 0  # highest use of the receive buffer
    tx_peak_percent: int = 0  # highest use of the transmit buffer


class MonComms(NamedTuple):
    """MON-COMMS: each port's traffic and losses.

    Its answer shows which port a host is connected to, which nothing else does: that port counts
    the bytes the host has just sent.
    """

    ports: Mapping[str, PortCounts]  # by u-blox name; ports unknown here are left out

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        try:
            blocks = [
                _PORT.pack(
                    _PORT_IDS[name],
                    0,
                    port.sent_bytes,
                    0,
                    port.tx_peak_percent,
                    0,
                    port.received_bytes,
                    0,
                    port.rx_peak_percent,
                    port.overruns,
                    *[0] * 4,
                    port.skipped_bytes,
                )
                for name, port in self.ports.items()
            ]
        except struct.error as error:
            raise ValueError(f"MON-COMMS: {error}") from None
        header = _COMMS.pack(0, len(blocks), 0, 0, 1, 5, 0xFF)
        return message(Message.MON_COMMS, header + b"".join(blocks))

    @classmethod
    def decode(cls, payload: bytes) -> MonComms:
        """Raises ValueError on a wrong length or version."""
        if len(payload) < _COMMS.size or payload[0] != 0:
            raise ValueError("MON-COMMS has not version 0")
        check_length(payload, _COMMS.size + payload[1] * _PORT.size, Message.MON_COMMS)
        ports = {}
        for block in _PORT.iter_unpack(payload[_COMMS.size :]):
            name = "UART2" if block[0] == _X20_UART2 else _PORT_NAMES.get(block[0])
            if name:
                ports[name] = PortCounts(
                    received_bytes=block[6],
                    sent_bytes=block[2],
                    overruns=block[9],
                    skipped_bytes=block[14],
                    rx_peak_percent=block[8],
                    tx_peak_percent=block[4],
                )
        return cls(ports)


class Antenna(IntEnum):
    """State of the antenna supervisor (MON-RF ``antStatus``)."""

    INIT = 0
    UNKNOWN = 1  # no detection, or switched off
    OK = 2
    SHORT = 3
    OPEN = 4


class Jamming(IntEnum):
    """MON-RF and SEC-SIG ``jammingState``."""

    UNKNOWN = 0  # or detection is off
    NONE = 1
    WARNING = 2  # interference is visible, the position is good
    CRITICAL = 3  # interference is visible, and there is no position


class Spoofing(IntEnum):
    """SEC-SIG ``spoofingState``."""

    UNKNOWN = 0  # or detection is off
    NONE = 1
    INDICATED = 2
    AFFIRMED = 3  # by several signs at once


_RF_HEADER = struct.Struct("<BB2x")
_RF_BLOCK = struct.Struct("<BBBBI4xHHBbBbB3x")


class RfBlock(NamedTuple):
    """One frequency band's front end, as MON-RF reports it."""

    block: int = 0
    antenna: Antenna = Antenna.UNKNOWN
    antenna_powered: bool | None = None  # None: the receiver does not know
    jamming: Jamming = Jamming.UNKNOWN  # always UNKNOWN from HPG 1.50 on: see SecSig
    noise: int = 0  # noise level measured by the core
    agc: int = 0  # gain of the amplifier, 0 to 8191; low under strong interference
    cw_indicator: int = 0  # 0 no continuous-wave interference, 255 strong


class MonRf(NamedTuple):
    """MON-RF: antenna and interference, one block for each frequency band."""

    blocks: tuple[RfBlock, ...]

    @property
    def antenna(self) -> Antenna:
        """The antenna's state: a short or an open line before all else."""
        return max((block.antenna for block in self.blocks), default=Antenna.UNKNOWN)

    @property
    def jamming(self) -> Jamming:
        """The worst of all bands."""
        return max((block.jamming for block in self.blocks), default=Jamming.UNKNOWN)

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        try:
            blocks = [
                _RF_BLOCK.pack(
                    block.block,
                    block.jamming,
                    block.antenna,
                    2 if block.antenna_powered is None else block.antenna_powered,
                    0,
                    block.noise,
                    block.agc,
                    block.cw_indicator,
                    *[0] * 4,
                )
                for block in self.blocks
            ]
            header = _RF_HEADER.pack(0, len(blocks))
        except struct.error as error:
            raise ValueError(f"MON-RF: {error}") from None
        return message(Message.MON_RF, header + b"".join(blocks))

    @classmethod
    def decode(cls, payload: bytes) -> MonRf:
        """Raises ValueError on a wrong length or version. States not known here are UNKNOWN."""
        if len(payload) < _RF_HEADER.size or payload[0] != 0:
            raise ValueError("MON-RF has not version 0")
        check_length(payload, _RF_HEADER.size + payload[1] * _RF_BLOCK.size, Message.MON_RF)
        blocks = []
        for fields in _RF_BLOCK.iter_unpack(payload[_RF_HEADER.size :]):
            number, flags, antenna, power, _post, noise, agc, indicator, *_imbalance = fields
            blocks.append(
                RfBlock(
                    block=number,
                    antenna=Antenna(antenna) if antenna <= Antenna.OPEN else Antenna.UNKNOWN,
                    antenna_powered=bool(power) if power < 2 else None,
                    jamming=Jamming(flags & 3),
                    noise=noise,
                    agc=agc,
                    cw_indicator=indicator,
                )
            )
        return cls(tuple(blocks))


_SEC_V1 = struct.Struct("<B3xB3xB3x")
_SEC_V2 = struct.Struct("<BBxB")


class SecSig(NamedTuple):
    """SEC-SIG: whether the signals are jammed or spoofed.

    Version 1 (protocol 27.31) and version 2 (HPG 1.50 and later, with frequencies).
    """

    jamming: Jamming = Jamming.UNKNOWN
    spoofing: Spoofing = Spoofing.UNKNOWN
    detects_jamming: bool = True
    detects_spoofing: bool = True
    version: int = 2
    jammed_khz: tuple[int, ...] = ()  # centre frequencies of the jammed bands, version 2 only

    def encode(self) -> bytes:
        """Raises ValueError where a value is out of its field's range."""
        jam = self.detects_jamming | self.jamming << 1
        spoof = self.detects_spoofing | self.spoofing << 1
        if self.version == 1:
            return message(Message.SEC_SIG, _SEC_V1.pack(1, jam, spoof))
        if any(not 0 <= khz < 1 << 24 for khz in self.jammed_khz) or len(self.jammed_khz) > 255:
            raise ValueError("SEC-SIG: not a frequency")
        bands = b"".join((khz | 1 << 24).to_bytes(4, "little") for khz in self.jammed_khz)
        header = _SEC_V2.pack(2, jam | spoof << 3, len(self.jammed_khz))
        return message(Message.SEC_SIG, header + bands)

    @classmethod
    def decode(cls, payload: bytes) -> SecSig:
        """Raises ValueError on a wrong length or version. States not known here are UNKNOWN."""
        if payload[:1] == b"\x01":
            check_length(payload, _SEC_V1.size, Message.SEC_SIG)
            _, jam, spoof = _SEC_V1.unpack(payload)
            return cls(
                Jamming(jam >> 1 & 3), _spoofing(spoof >> 1 & 7), bool(jam & 1), bool(spoof & 1), 1
            )
        if payload[:1] != b"\x02" or len(payload) < _SEC_V2.size:
            raise ValueError("SEC-SIG has neither version 1 nor 2")
        _, flags, count = _SEC_V2.unpack_from(payload)
        check_length(payload, _SEC_V2.size + 4 * count, Message.SEC_SIG)
        bands = struct.unpack_from(f"<{count}I", payload, _SEC_V2.size)
        return cls(
            jamming=Jamming(flags >> 1 & 3),
            spoofing=_spoofing(flags >> 4 & 7),
            detects_jamming=bool(flags & 1),
            detects_spoofing=bool(flags >> 3 & 1),
            jammed_khz=tuple(band & 0xFF_FFFF for band in bands if band >> 24 & 1),
        )


def _spoofing(value: int) -> Spoofing:
    return Spoofing(value) if value <= Spoofing.AFFIRMED else Spoofing.UNKNOWN
