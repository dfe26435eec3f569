"""Plays a recording: the receiver says, and the caster sends, what was recorded, at its times."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from ztpd.model import Frame, FrameKind
from ztpd.sim.caster import Caster
from ztpd.sim.playable import Playable
from ztpd.sim.pty import Pty
from ztpd.sim.receiver.device import SimReceiver
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner
from ztpd.wire.recording import Record, RecordKind
from ztpd.wire.ubx import Message, MonComms, RxmCor

SLOWEST, FASTEST = 0.01, 1000.0

_SESSION_WITHIN_S = 2.0  # once the receiver has been set up: it may have had none
_CONFIGURATION = 0x06
_ANSWERS = {
    Message.MON_VER.label,
    Message.CFG_VALGET.label,
    Message.RXM_SPARTNKEY.label,
    Message.ACK_ACK.label,
    Message.ACK_NAK.label,
}
"""The played receiver gives these itself, to the questions that it is really asked."""

_FAULTS: Mapping[str, str] = {
    "session.refused": "unauthorized",
    "session.not_active": "unauthorized",
    "ntrip.account_refused": "unauthorized",
    "ntrip.gga_missing": "unauthorized",
    "ntrip.authentication": "digest",
    "ntrip.forbidden": "forbidden",
    "ntrip.mountpoint": "not-found",
    "ntrip.redirect": "redirect",
    "ntrip.table_instead": "sourcetable",
}
"""How the caster answers, by the reason why a session was not opened."""


class PlayedReceiver(SimReceiver):
    """Answers questions and takes settings; all that it says unasked is played."""

    def __init__(self, pty: Pty, playable: Playable, **options: Any) -> None:
        super().__init__(pty, playable.model, **options)
        self.configured = asyncio.Event()  # the host has begun to set it up
        self._ports = _first_ports(playable.records)

    async def _navigate(self) -> None:
        """Positions are played."""

    def _report(self, report: RxmCor) -> None:
        """The use of corrections is played."""

    def _command(self, frame: Frame) -> None:
        super()._command(frame)
        if frame.data[2] == _CONFIGURATION:
            self.configured.set()

    def _comms(self) -> MonComms:
        """With the losses recorded before: only later ones are news."""
        found = super()._comms()
        if self._ports is None:
            return found
        return MonComms(
            {
                name: ubx.PortCounts(counts.received_bytes, overruns=before.overruns)
                if (before := self._ports.ports.get(name))
                else counts
                for name, counts in found.ports.items()
            }
        )

    def play(self, data: bytes) -> None:
        self.send(_without_answers(data))


class Playback:
    """One run; :meth:`feed` is the caster's stream."""

    def __init__(self, playable: Playable, *, speed: float = 1.0) -> None:
        """Times are divided by ``speed``."""
        self.playable = playable
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        self._speed = speed
        self._session = asyncio.Event()  # one has been opened
        self._streams: set[asyncio.Queue[bytes]] = set()

    async def feed(self) -> AsyncIterator[bytes]:
        """The corrections that come from now on; for each session."""
        stream: asyncio.Queue[bytes] = asyncio.Queue()
        self._streams.add(stream)
        self._session.set()
        try:
            while True:
                yield await stream.get()
        finally:
            self._streams.discard(stream)

    async def run(self, receiver: SimReceiver, pty: Pty, caster: Caster) -> None:
        """Begin once the daemon has set up its receiver and opened a session, and play all."""
        caster.fault = self._first_fault()
        if isinstance(receiver, PlayedReceiver):
            await receiver.configured.wait()
            try:
                async with asyncio.timeout(_SESSION_WITHIN_S):
                    await self._session.wait()
            except TimeoutError:
                pass  # the recorded daemon may have had none
        else:
            await self._session.wait()
        self.begun.set()
        now = asyncio.get_running_loop().time
        began_s = now()
        for record in self.playable.records:
            wait_s = began_s + record.at_s / self._speed - now()
            if wait_s > 0:
                await asyncio.sleep(wait_s)
            match record.kind:
                case RecordKind.FROM_RECEIVER if isinstance(receiver, PlayedReceiver):
                    receiver.play(record.data)
                case RecordKind.FROM_SERVICE:
                    self._send(record.data)
                case RecordKind.EVENT if record.at_s > 0:  # those at 0 had happened before
                    self._happen(record.fields, pty, caster)
        self.done.set()

    def _first_fault(self) -> str:
        """Where the recording begins without a session, why there is none."""
        events = (each.fields for each in self.playable.records if each.kind is RecordKind.EVENT)
        first = next((each for each in events if str(each.get("event")).startswith("session")), {})
        return _fault(first) if first.get("event") == "session-failed" else ""

    def _send(self, data: bytes) -> None:
        """Correction messages; the keys of a broker do not come from a caster."""
        if ubx.SYNC not in data[:2]:
            for stream in self._streams:
                stream.put_nowait(data)

    @staticmethod
    def _happen(event: Mapping[str, Any], pty: Pty, caster: Caster) -> None:
        match event.get("event"):
            case "port-lost":
                pty.unplug()
            case "port-opened":
                pty.plug()
            case "session-opened":
                caster.fault = ""
            case "session-ended":
                caster.end_sessions()
            case "session-failed":
                caster.fault = _fault(event)


def _fault(event: Mapping[str, Any]) -> str:
    return _FAULTS.get(str(event.get("cause")), "")


def _without_answers(data: bytes) -> bytes:
    frames = Scanner(FrameKind.UBX).feed(data)
    for frame in frames:
        if frame.name in _ANSWERS:
            data = data.replace(frame.data, b"")
    return data


def _first_ports(records: tuple[Record, ...]) -> MonComms | None:
    scanner = Scanner(FrameKind.UBX)
    for record in records:
        if record.kind is RecordKind.FROM_RECEIVER:
            for frame in scanner.feed(record.data):
                try:
                    message = ubx.parse(frame.data)
                except ValueError:
                    continue
                if isinstance(message, MonComms):
                    return message
    return None
