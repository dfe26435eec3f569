"""UBX-CFG and UBX-ACK: settings written, read, and acknowledged.

Source: u-blox ZED-F9P interface description, "UBX-CFG-VALSET", "UBX-CFG-VALGET" and "UBX-ACK".
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import NamedTuple

from ztpd.wire import ubxcfg
from ztpd.wire.ubxframe import Message, check_length, message

LAYER_RAM, LAYER_BBR, LAYER_FLASH = 1, 2, 4  # bits of CfgValset.layers
IN_FORCE, DEFAULTS = 0, 7  # layers of CfgValgetPoll
EVERY_KEY = 0x0FFF_FFFF  # in a poll: all keys, 64 in an answer


class CfgValset(NamedTuple):
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


class CfgValgetPoll(NamedTuple):
    """CFG-VALGET as a question. The answer is a :class:`CfgValget` and an :class:`Ack`, or, if
    one key is unknown, only a negative one."""

    keys: tuple[int, ...]
    layer: int = IN_FORCE  # 1 battery-backed RAM, 2 flash, 7 default
    position: int = 0  # so many items are skipped, where EVERY_KEY asks for more than 64

    def encode(self) -> bytes:
        """Raises ValueError above 64 keys."""
        if len(self.keys) > ubxcfg.MAX_ITEMS:
            raise ValueError(f"{len(self.keys)} keys, a message takes {ubxcfg.MAX_ITEMS}")
        header = struct.pack("<BBH", 0, self.layer, self.position)
        keys = b"".join(key.to_bytes(4, "little") for key in self.keys)
        return message(Message.CFG_VALGET, header + keys)

    @classmethod
    def decode(cls, payload: bytes) -> CfgValgetPoll:
        """Raises ValueError on a wrong length or version."""
        if len(payload) < 4 or len(payload) % 4 or payload[0] != 0:
            raise ValueError("CFG-VALGET is not a poll")
        keys = struct.unpack_from(f"<{len(payload) // 4 - 1}I", payload, 4)
        return cls(keys, payload[1], int.from_bytes(payload[2:4], "little"))


class CfgValget(NamedTuple):
    """CFG-VALGET as the answer."""

    values: Mapping[int, int]  # unsigned, see ubxcfg.unsigned
    layer: int = IN_FORCE
    position: int = 0

    def encode(self) -> bytes:
        """Raises ValueError above 64 items and where a value does not fit its key."""
        header = struct.pack("<BBH", 1, self.layer, self.position)
        return message(Message.CFG_VALGET, header + ubxcfg.encode_items(self.values))

    @classmethod
    def decode(cls, payload: bytes) -> CfgValget:
        """Raises ValueError on a wrong length or version, and on no whole items."""
        if len(payload) < 4 or payload[0] != 1:
            raise ValueError("CFG-VALGET is not an answer")
        position = int.from_bytes(payload[2:4], "little")
        return cls(ubxcfg.decode_items(payload[4:]), payload[1], position)


HOT_START = 0x0000  # CfgRst.cleared: orbits, time and position are kept
GNSS_ONLY = 0x02  # CfgRst.mode: the navigation restarts, ports and settings stay


class CfgRst(NamedTuple):
    """CFG-RST: restart the receiver; it is not acknowledged."""

    cleared: int = HOT_START  # navBbrMask: what the restart clears
    mode: int = GNSS_ONLY

    def encode(self) -> bytes:
        return message(Message.CFG_RST, struct.pack("<HBx", self.cleared, self.mode))

    @classmethod
    def decode(cls, payload: bytes) -> CfgRst:
        """Raises ValueError on a wrong length."""
        check_length(payload, 4, Message.CFG_RST)
        return cls(*struct.unpack("<HBx", payload))


class Ack(NamedTuple):
    """ACK-ACK or ACK-NAK: whether a configuration message was taken."""

    number: int  # of the message it answers
    ok: bool

    def encode(self) -> bytes:
        kind = Message.ACK_ACK if self.ok else Message.ACK_NAK
        return message(kind, struct.pack(">H", self.number))
