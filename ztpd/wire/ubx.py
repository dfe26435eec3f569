"""The UBX messages ztpd uses, both directions.

``encode()`` gives a whole frame, ready to be written; ``decode()`` takes a payload;
:func:`parse` takes a whole frame and finds the right class. The messages are in modules by
subject: ubxnav, ubxrxm, ubxmon, ubxset; this one has all names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ztpd.wire.ubxframe import (
    OVERHEAD,
    SYNC,
    Message,
    check_length,
    checksum,
    label,
    message,
    poll,
    split,
    unwrap,
)
from ztpd.wire.ubxmon import (
    Antenna,
    Jamming,
    MonComms,
    MonRf,
    MonVer,
    PortCounts,
    RfBlock,
    SecSig,
    Spoofing,
)
from ztpd.wire.ubxnav import NavPvt, NavSat, Satellite
from ztpd.wire.ubxrxm import (
    NO_STATION,
    PROTOCOL_HAS,
    PROTOCOL_PMP,
    PROTOCOL_QZSS_L6,
    PROTOCOL_RTCM3,
    PROTOCOL_SPARTN,
    PROTOCOL_UNKNOWN,
    KeySlot,
    RxmCor,
    RxmRtcm,
    SpartnKey,
    spartn_keys,
)
from ztpd.wire.ubxset import (
    DEFAULTS,
    EVERY_KEY,
    IN_FORCE,
    LAYER_BBR,
    LAYER_FLASH,
    LAYER_RAM,
    Ack,
    CfgRst,
    CfgValget,
    CfgValgetPoll,
    CfgValset,
)

__all__ = [
    "DEFAULTS",
    "EVERY_KEY",
    "IN_FORCE",
    "LAYER_BBR",
    "LAYER_FLASH",
    "LAYER_RAM",
    "NO_STATION",
    "OVERHEAD",
    "PROTOCOL_HAS",
    "PROTOCOL_PMP",
    "PROTOCOL_QZSS_L6",
    "PROTOCOL_RTCM3",
    "PROTOCOL_SPARTN",
    "PROTOCOL_UNKNOWN",
    "SYNC",
    "Ack",
    "Antenna",
    "CfgRst",
    "CfgValget",
    "CfgValgetPoll",
    "CfgValset",
    "Jamming",
    "KeySlot",
    "Message",
    "MonComms",
    "MonRf",
    "MonVer",
    "NavPvt",
    "NavSat",
    "Other",
    "Parsed",
    "PortCounts",
    "RfBlock",
    "RxmCor",
    "RxmRtcm",
    "Satellite",
    "SecSig",
    "SpartnKey",
    "Spoofing",
    "checksum",
    "label",
    "message",
    "parse",
    "poll",
    "spartn_keys",
    "split",
    "unwrap",
]


class Other(NamedTuple):
    """A message not taken apart here, or a poll: then the payload is empty."""

    number: int
    payload: bytes = b""

    def encode(self) -> bytes:
        return message(self.number, self.payload)


Parsed = (
    MonVer
    | MonComms
    | MonRf
    | SecSig
    | NavPvt
    | NavSat
    | RxmCor
    | RxmRtcm
    | SpartnKey
    | CfgValset
    | CfgValgetPoll
    | CfgValget
    | CfgRst
    | Ack
    | Other
)


def _valget(payload: bytes) -> CfgValget | CfgValgetPoll:
    return (CfgValgetPoll if payload[:1] == b"\0" else CfgValget).decode(payload)


def _ack(payload: bytes, ok: bool) -> Ack:
    check_length(payload, 2, Message.ACK_ACK if ok else Message.ACK_NAK)
    return Ack(int.from_bytes(payload, "big"), ok)


_DECODERS: dict[int, Callable[[bytes], Parsed]] = {
    Message.MON_VER: MonVer.decode,
    Message.MON_COMMS: MonComms.decode,
    Message.MON_RF: MonRf.decode,
    Message.SEC_SIG: SecSig.decode,
    Message.NAV_PVT: NavPvt.decode,
    Message.NAV_SAT: NavSat.decode,
    Message.RXM_COR: RxmCor.decode,
    Message.RXM_RTCM: RxmRtcm.decode,
    Message.RXM_SPARTNKEY: SpartnKey.decode,
    Message.CFG_RST: CfgRst.decode,
    Message.CFG_VALSET: CfgValset.decode,
    Message.CFG_VALGET: _valget,
    Message.ACK_ACK: lambda payload: _ack(payload, True),
    Message.ACK_NAK: lambda payload: _ack(payload, False),
}


def parse(frame: bytes) -> Parsed:
    """The message in one whole frame; :class:`Other` for a poll and for messages without a class
    here.

    Raises ValueError where the frame is not whole or its payload has a wrong length or value.
    """
    return decode(*unwrap(frame))


def decode(number: int, payload: bytes) -> Parsed:
    """As :func:`parse`, where the frame is known to be whole: its checksum is not read again."""
    decoder = _DECODERS.get(number)
    return decoder(payload) if decoder and payload else Other(number, payload)
