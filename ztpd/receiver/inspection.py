"""How a receiver is set, read from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ztpd.receiver import configure
from ztpd.receiver.assessment import known_inputs
from ztpd.receiver.attach import Attachment
from ztpd.receiver.client import UbxClient
from ztpd.receiver.configure import Group
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.serialport.discovery import ROOT


async def inspect(settings: ReceiverSettings, *, root: Path = ROOT) -> Inspection:
    """Open the port of a receiver that no daemon uses; nothing but questions is written.

    Raises why the receiver cannot be used: :class:`ztpd.errors.SerialError`,
    :class:`ztpd.errors.ReceiverError`.
    """
    attachment = Attachment(settings, root)
    port = await attachment.open()
    try:
        client = UbxClient(port, lambda *_: None)
        await attachment.identify(client)
        return await read(client, attachment, settings, configure.plan(settings.keys))
    finally:
        port.close()


async def read(
    client: UbxClient, attachment: Attachment, settings: ReceiverSettings, groups: Sequence[Group]
) -> Inspection:
    """Read the settings of an identified receiver; nothing is changed.

    Raises as :func:`ztpd.receiver.configure.apply`.
    """
    applied = await configure.apply(client, groups, write=False)
    version = attachment.version
    return Inspection(
        model=version.model,
        firmware=version.firmware,
        protocol=version.protocol,
        port=attachment.path,
        baudrate=client.port.baudrate,
        speed=client.port.speed,
        wanted_baudrate=attachment.wanted_baudrate,
        takes=tuple(sorted(kind.value for kind in known_inputs(applied))),
        configure=settings.configure,
        settings=configure.compare(groups, applied),
    )
