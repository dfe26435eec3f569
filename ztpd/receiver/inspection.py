"""One look at a receiver that no daemon looks after."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from ztpd.receiver.receiver import Receiver
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.serialport.discovery import ROOT


async def inspect(settings: ReceiverSettings, *, root: Path = ROOT) -> Inspection:
    """Open the receiver's port and read its settings; writes only queries.

    Raises :class:`ztpd.errors.SerialError` and :class:`ztpd.errors.ReceiverError`.
    """
    settled = asyncio.Event()
    receiver = Receiver(
        replace(settings, configure=False, share=""), on_change=settled.set, root=root
    )
    running = asyncio.create_task(receiver.run())
    try:
        await settled.wait()
        return replace(await receiver.inspect(), configure=settings.configure)
    finally:
        running.cancel()
        await asyncio.wait([running])
