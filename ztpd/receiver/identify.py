"""Identifies a u-blox receiver on a port, and its speed.

ztpd writes only the empty poll of MON-VER before an answer, so that it disturbs no other device.
Filler follows only where UBX frames, or an earlier answer, prove a u-blox receiver.
"""

from __future__ import annotations

from collections.abc import Sequence

from ztpd.errors import (
    ReceiverDeaf,
    ReceiverError,
    ReceiverSilent,
    ReceiverUnconfigurable,
    ReceiverUnknown,
)
from ztpd.receiver.client import TRIES, UbxClient
from ztpd.wire import ubx
from ztpd.wire.frames import SPARTN_LIMIT
from ztpd.wire.ubx import Message, MonVer, Parsed

SPEEDS = (38400, 9600, 115200, 57600, 230400, 460800, 921600)
"""38400 is the default of the u-blox F9 and X20 generations, 9600 that of those before. The
highest come last: a port that cannot be set to one of them ends the search."""

_LISTEN_S = 1.2  # a receiver left as it was made says something every second

_FILLER = b"\xff" * (SPARTN_LIMIT + 4)
"""Longer than any frame ztpd sends. A receiver whose parser holds the beginning of a frame takes
all that follows for the rest of it, polls too; bytes of 0xFF behind that it skips."""

_LATELY_S = 2.5  # less than the three seconds of a question that is not answered
_NOISE = 40  # bytes without a valid frame: more than one cut in two can leave


async def identify(
    client: UbxClient,
    first: int,
    *,
    others: Sequence[int] = SPEEDS,
    only_if_heard: bool = False,
    known: bool = False,
) -> MonVer:
    """The version report of the receiver; the port keeps the speed that works, ``first`` if
    possible.

    ``others`` are tried after ``first``. With ``only_if_heard`` a device is asked only once it
    has sent something that a receiver sends. ``known``: a u-blox receiver has answered there.
    Raises :class:`ReceiverDeaf` where a u-blox receiver sends and does not answer,
    :class:`ReceiverUnknown` where another device sends, :class:`ReceiverSilent` where nothing
    intelligible comes, and :class:`ztpd.errors.PortLost`.
    """
    heard_bytes = 0
    for baudrate in dict.fromkeys((first, *others)):
        if baudrate != client.port.baudrate:
            await client.port.set_baudrate(baudrate)
        client.reset_scanner()
        if only_if_heard:
            await client.sniff(_LISTEN_S)
        for tried in range(TRIES if client.valid_frames or not only_if_heard else 0):
            if tried and (known or client.is_ublox):
                client.port.write(_FILLER)
            try:
                return await version(client, tries=1)
            except ReceiverSilent:
                if not client.valid_frames and (baudrate != first or _noise(client) > _NOISE):
                    break  # not this speed
        if client.valid_frames:
            names = ", ".join(list(client.scanner.counts.frames)[:3])
            # without other speeds it is u-blox's own USB
            if known or client.is_ublox or not others:
                raise ReceiverDeaf(
                    f"{client.port.path}, {names} at {baudrate} baud, and no answer to MON-VER"
                )
            raise ReceiverUnknown(
                f"{client.port.path} sends {names} at {baudrate} baud, but does not answer MON-VER"
            )
        heard_bytes += _noise(client)
    heard = "its bytes are no known message" if heard_bytes else "it sends nothing"
    where = f"at any speed tried, {first} baud first" if others else "on USB"
    raise ReceiverSilent(f"{client.port.path}, {heard} {where}")


def _noise(client: UbxClient) -> int:
    """How many bytes came that were part of no valid frame."""
    return client.scanner.counts.skipped_bytes + client.scanner.pending


async def version(client: UbxClient, tries: int = TRIES) -> MonVer:
    """The answer to MON-VER. Raises :class:`ReceiverSilent`."""

    def answer(message: Parsed) -> MonVer | None:
        return message if isinstance(message, MonVer) else None

    return await client.ask(ubx.poll(Message.MON_VER), answer, "MON-VER", tries)


async def unanswered(client: UbxClient, error: ReceiverSilent) -> ReceiverError:
    """The meaning of ``error``, a question about settings that was not answered: whether the
    receiver hears at all shows its answer to MON-VER.

    Raises :class:`ztpd.errors.PortLost`.
    """
    sends = client.proof_age_s <= _LATELY_S
    try:
        await version(client, tries=2)
    except ReceiverSilent:
        return ReceiverDeaf(error.detail) if sends else error
    return ReceiverUnconfigurable(error.detail)
