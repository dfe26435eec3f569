"""The conversation with the receiver over one open port."""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable
from typing import TypeVar

from ztpd.errors import ReceiverSilent
from ztpd.model import Frame, FrameKind
from ztpd.serialport.port import SerialPort
from ztpd.system.looptime import loop_time
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner
from ztpd.wire.ubx import Parsed

T = TypeVar("T")

TRIES = 3
ANSWER_S = 1.0  # receivers answer within 0.1 s; their output queue may add the rest
_LATEST_ANSWER_S = 5.0  # the longest wait for the answers of a receiver that is slow
_QUIET_S = 0.05  # bytes of one frame follow each other: after such a pause the rest is lost
_FRAME_S = 0.5  # gathered at most within a frame, so that a pause is noticed where none follows


class UbxClient:
    """Pulls frames out of the port and asks questions; for one task."""

    def __init__(
        self, port: SerialPort, on_message: Callable[[Frame, Parsed | None, float], None]
    ) -> None:
        """``on_message`` is called with every frame, with its message where it is UBX, and with
        the loop's time of its last byte."""
        self.port = port
        self._on_message = on_message
        self._answer_s = ANSWER_S
        self._proof_s = -math.inf  # when a u-blox receiver was last recognised
        self.reset_scanner()

    def reset_scanner(self) -> None:
        """Reset the counts, as after a change of speed."""
        self.is_ublox = False  # proven by a frame that no other maker's device sends
        self.scanner = Scanner(FrameKind.UBX, FrameKind.NMEA, FrameKind.RTCM3)

    @property
    def valid_frames(self) -> int:
        return sum(self.scanner.counts.frames.values())

    @property
    def proof_age_s(self) -> float:
        """Seconds since a u-blox receiver was last recognised; infinite if none ever was."""
        return loop_time() - self._proof_s

    async def receive(
        self, within_s: float | None = None, *, gather_s: float = 0.0
    ) -> list[Parsed]:
        """The UBX messages that came with the next bytes; none if ``within_s`` passed, or the
        line paused within a frame. ``gather_s`` as in :meth:`SerialPort.read`.

        Raises :class:`ztpd.errors.PortLost`.
        """
        begun = self.scanner.pending > 0
        if begun:
            within_s, gather_s = _QUIET_S, min(gather_s, _FRAME_S)
        data = await self.port.read(within_s, gather_s=gather_s)
        frames = self.scanner.feed(data) if data else []
        if begun and not data:
            frames = self.scanner.flush()
        return [message for frame in frames if (message := self._take(frame)) is not None]

    async def sniff(self, seconds: float) -> None:
        """Read for this time, or until the first valid frame.

        Raises :class:`ztpd.errors.PortLost`.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not self.valid_frames:
                    await self.receive()

    def _take(self, frame: Frame) -> Parsed | None:
        message: Parsed | None = None
        if frame.kind is FrameKind.UBX:
            try:
                message = ubx.decode(*ubx.split(frame.data))
            except ValueError:  # sound on the line, but not as documented: of no use here
                message = None
        is_message = frame.kind is FrameKind.UBX and len(frame.data) > ubx.OVERHEAD  # no echo
        if is_message or frame.name == "PUBX" or is_banner(frame):
            self.is_ublox, self._proof_s = True, self.port.read_s
        self._on_message(frame, message, self.port.read_s)
        return message

    async def ask(
        self, request: bytes, answer: Callable[[Parsed], T | None], subject: str, tries: int = TRIES
    ) -> T:
        """Send ``request`` until ``answer`` returns something for a message.

        A receiver that answers late gets more time from then on, and the answers to repeated
        requests are waited for: an ACK-NAK does not tell which request it belongs to.
        Raises :class:`ReceiverSilent`, which names ``subject``, after ``tries``.
        """
        began_s = loop_time()
        for earlier in range(tries):
            self.port.write(request)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._answer_s):
                    found = await self._answer(answer)
                await self._slow_down(answer, loop_time() - began_s, earlier)
                return found
        raise ReceiverSilent(f"{self.port.path}, {subject}, asked {tries} times")

    async def _slow_down(
        self, answer: Callable[[Parsed], T | None], took_s: float, earlier: int
    ) -> None:
        """After an answer to the last of ``earlier`` + 1 requests: take the others too."""
        if not earlier:
            return
        self._answer_s = min(_LATEST_ANSWER_S, max(self._answer_s, 1.5 * took_s))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._answer_s):
                for _ in range(earlier):
                    await self._answer(answer)

    async def _answer(self, answer: Callable[[Parsed], T | None]) -> T:
        while True:
            for message in await self.receive():
                if (found := answer(message)) is not None:
                    return found


def is_banner(frame: Frame) -> bool:
    """The first text that a receiver sends after a start names its maker, as NMEA or UBX."""
    return frame.name in ("TXT", "INF-NOTICE") and b"u-blox AG" in frame.data
