"""Sets a configured speed on both ends of the line to the receiver.

The receiver's speed is a setting of its port, and a tty's name does not show which port that is: a
change of the other UART would cut off the device there. So ztpd asks the receiver which of its
ports counts the bytes sent. Like all settings this one goes to RAM.
"""

from __future__ import annotations

import asyncio

from ztpd.errors import ReceiverSilent
from ztpd.receiver.client import UbxClient
from ztpd.receiver.identify import version
from ztpd.wire import ubx, ubxcfg
from ztpd.wire.ubx import CfgValset, Message, MonComms, Parsed

_UARTS = {"UART1": "CFG-UART1-BAUDRATE", "UART2": "CFG-UART2-BAUDRATE"}
_POLL = ubx.poll(Message.MON_COMMS)
_PADDING = b"\xff" * 64  # skipped by a receiver, and counted
_SWITCH_S = 0.15  # u-blox: wait 100 ms after a change
_LOOKS = 3


async def change(client: UbxClient, baudrate: int) -> bool:
    """Bring both ends of the line to ``baudrate``; False if they stay as they were.

    Raises :class:`ReceiverSilent` where the receiver answers at neither speed, and
    :class:`ztpd.errors.PortLost`, also where the host's port cannot be set to it.
    """
    uart = await port_in_use(client)
    if uart not in _UARTS:
        return False
    before = client.port.baudrate
    # The answer comes at one speed or the other: it is not waited for.
    client.port.write(CfgValset({ubxcfg.KEYS[_UARTS[uart]]: baudrate}).encode())
    if await _answers_at(client, baudrate):
        return True
    if not await _answers_at(client, before):
        raise ReceiverSilent(f"{client.port.path}, after a change from {before} to {baudrate} baud")
    return False


async def _answers_at(client: UbxClient, baudrate: int) -> bool:
    await client.port.drained()
    await asyncio.sleep(_SWITCH_S)
    await client.port.set_baudrate(baudrate)
    client.reset_scanner()
    try:
        await version(client, tries=2)
    except ReceiverSilent:
        return False
    return True


async def port_in_use(client: UbxClient) -> str:
    """The receiver's name of the port that ``client`` is connected to, "" where that is not plain.

    Raises :class:`ztpd.errors.PortLost`.
    """
    for _ in range(_LOOKS):
        before = await _received(client)
        client.port.write(_PADDING)
        after = await _received(client)
        sent = len(_PADDING) + len(_POLL)
        grown = [
            name for name in after if name in before and _grown(before[name], after[name]) >= sent
        ]
        if len(grown) == 1:
            return grown[0]
        if not grown:
            break
    return ""


def _grown(before: int, after: int) -> int:
    return (after - before) % 2**32


async def _received(client: UbxClient) -> dict[str, int]:
    """The bytes received by each of the receiver's ports; empty without an answer."""

    def answer(message: Parsed) -> dict[str, int] | None:
        if isinstance(message, MonComms):
            return {name: port.received_bytes for name, port in message.ports.items()}
        return None

    try:
        return await client.ask(_POLL, answer, "MON-COMMS", tries=2)
    except ReceiverSilent:
        return {}
