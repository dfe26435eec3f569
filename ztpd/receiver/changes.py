"""The settings of a receiver that differ from its firmware's defaults.

A receiver has about a thousand. They come 64 at a time, each time after a question, so that its
messages and the corrections pass between them.
"""

from __future__ import annotations

from ztpd.errors import ReceiverSilent
from ztpd.receiver.client import UbxClient
from ztpd.receiver.settings import ChangedSetting
from ztpd.wire import ubxcfg
from ztpd.wire.ubx import (
    DEFAULTS,
    EVERY_KEY,
    IN_FORCE,
    Ack,
    CfgValget,
    CfgValgetPoll,
    Message,
    Parsed,
)

_MOST = 4096  # a receiver that never ends is left after so many


async def read(client: UbxClient) -> tuple[ChangedSetting, ...]:
    """Ask for all of them; none where the receiver does not answer that question.

    Raises :class:`ztpd.errors.PortLost`.
    """
    try:
        values, defaults = [await _every(client, layer) for layer in (IN_FORCE, DEFAULTS)]
    except ReceiverSilent:
        return ()
    return tuple(
        ChangedSetting(key, value, defaults.get(key))
        for key, value in sorted(values.items())
        if value != defaults.get(key)
    )


async def _every(client: UbxClient, layer: int) -> dict[int, int]:
    found: dict[int, int] = {}
    for position in range(0, _MOST, ubxcfg.MAX_ITEMS):

        def answer(message: Parsed, position: int = position) -> dict[int, int] | None:
            if isinstance(message, CfgValget):
                ours = (message.layer, message.position) == (layer, position)
                return dict(message.values) if ours else None
            is_ack = isinstance(message, Ack)
            return {} if is_ack and message == Ack(Message.CFG_VALGET, ok=False) else None

        poll = CfgValgetPoll((EVERY_KEY,), layer, position)
        part = await client.ask(poll.encode(), answer, "CFG-VALGET of all settings")
        found |= part
        if len(part) < ubxcfg.MAX_ITEMS:
            break
    return found
