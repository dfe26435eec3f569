"""The simulated receiver's judgement of one correction message."""

from __future__ import annotations

from collections.abc import Callable, Container

from ztpd.model import Frame, FrameKind
from ztpd.sim.receiver.models import Model
from ztpd.wire import rtcm
from ztpd.wire.frames import spartn_encrypted
from ztpd.wire.ubx import NO_STATION, PROTOCOL_RTCM3, PROTOCOL_SPARTN, RxmCor

_GAD = 2


def judge(
    frame: Frame,
    model: Model,
    setting: Callable[[str], int],
    *,
    usable: bool,
    can_decrypt: bool,
    ignored: Container[int | None] = (),
) -> RxmCor:
    """The report about ``frame``, which is SPARTN or RTCM 3.

    ``usable``: the receiver has a time and no other source; ``can_decrypt``: it holds the key
    that the corrections are really encrypted with; ``ignored`` are reference stations whose
    corrections it does not use.
    """
    if frame.kind is FrameKind.RTCM3:
        station = rtcm.station_id(rtcm.payload(frame.data))
        return RxmCor(
            PROTOCOL_RTCM3,
            used=usable and station not in ignored and _passes(station, setting),
            correction_id=NO_STATION if station is None else station,
            message_type=int(frame.name),
        )
    message_type, subtype = frame.data[1] >> 1, frame.data[4] >> 4
    encrypted = spartn_encrypted(frame)
    decrypted = encrypted and can_decrypt
    handled = message_type == _GAD or frame.name.partition("-")[2] in model.systems
    chosen = not setting("CFG-SPARTN-USE_SOURCE")
    return RxmCor(
        PROTOCOL_SPARTN,
        used=usable and handled and chosen and (decrypted or not encrypted),
        message_type=message_type,
        subtype=subtype,
        input_handled=handled,
        encrypted=encrypted,
        decrypted=decrypted,
    )


def _passes(station: int | None, setting: Callable[[str], int]) -> bool:
    """The filter of reference stations: 0 off, 1 lets messages without a station pass, 2 strict."""
    match setting("CFG-RTCM-DF003_IN_FILTER"):
        case 0:
            return True
        case 1 if station is None:
            return True
    return station == setting("CFG-RTCM-DF003_IN")
