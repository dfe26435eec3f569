"""How a receiver is set, read from it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ztpd.errors import ReceiverError, ZtpdError
from ztpd.receiver import changes, configure
from ztpd.receiver.assessment import known_inputs
from ztpd.receiver.attach import Attachment
from ztpd.receiver.client import UbxClient
from ztpd.receiver.configure import Group
from ztpd.receiver.settings import Inspection, ReceiverSettings
from ztpd.serialport.discovery import ROOT


class Questions:
    """Questions about the settings that wait for an answer; one reading answers all of them."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[Inspection]] = []
        self._every = False  # one of them is for every setting

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def ask(self, *, every: bool) -> asyncio.Future[Inspection]:
        question: asyncio.Future[Inspection] = asyncio.get_running_loop().create_future()
        self._waiting.append(question)
        self._every |= every
        return question

    async def answer(
        self,
        client: UbxClient,
        attachment: Attachment,
        settings: ReceiverSettings,
        groups: Sequence[Group],
    ) -> None:
        """A receiver that does not answer costs the questions alone: corrections need no answer.

        Raises :class:`ztpd.errors.PortLost`.
        """
        every = self._every
        try:
            found = await read(client, attachment, settings, groups, every=every)
        except ReceiverError as error:
            self.fail(error)
            return
        if self._every != every:
            return  # a question that came meanwhile wants more
        for question in self._take():
            question.set_result(found)

    def fail(self, error: ZtpdError) -> None:
        for question in self._take():
            question.set_exception(error)

    def _take(self) -> list[asyncio.Future[Inspection]]:
        waiting = [question for question in self._waiting if not question.done()]
        self._waiting.clear()
        self._every = False
        return waiting


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
    client: UbxClient,
    attachment: Attachment,
    settings: ReceiverSettings,
    groups: Sequence[Group],
    *,
    every: bool = False,
) -> Inspection:
    """Read the settings of an identified receiver; nothing is changed.

    ``every``: also those that differ from the firmware's default, of all there are. Raises as
    :func:`ztpd.receiver.configure.apply`.
    """
    applied = await configure.apply(client, groups, write=False)
    changed = await changes.read(client) if every else ()
    version = attachment.version
    return Inspection(
        model=version.model,
        firmware=version.firmware,
        protocol=version.protocol,
        port=attachment.path,
        baudrate=client.port.baudrate,
        speed=client.port.speed.strip(),
        wanted_baudrate=attachment.wanted_baudrate,
        takes=tuple(sorted(kind.value for kind in known_inputs(applied))),
        configure=settings.configure,
        settings=configure.compare(groups, applied),
        changed=changed,
    )
