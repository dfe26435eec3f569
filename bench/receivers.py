"""A receiver as it comes: NMEA as from the factory, over a line that gives few bytes at a time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.gateway import Gateway
from ztpd.model import Frame, FrameKind
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver
from ztpd.wire import nmea
from ztpd.wire.frames import Scanner

_GGA = b"$GNGGA"
_AFTER_GGA = (
    b"GNRMC,120000.00,A,5231.2000,N,01324.3000,E,0.010,,281126,,,R,V",
    b"GNVTG,,T,,M,0.010,N,0.019,K,D",
    *(
        b"GNGSA,A,3,02,05,07,09,13,15,20,24,28,30,,,1.10,0.60,0.92,%d" % each
        for each in (1, 2, 3, 4)
    ),
    *(
        b"G%cGSV,3,%d,12,02,47,088,44,05,31,213,43,07,62,301,47,09,18,145,41,1" % (maker, number)
        for maker in b"PLAB"
        for number in (1, 2, 3)
    ),
    b"GNGLL,5231.2000,N,01324.3000,E,120000.00,A,D",
)
_NMEA = b"".join(b"$%b*%02X\r\n" % (each, nmea.checksum(each)) for each in _AFTER_GGA)
_FIX_S = 0.08  # after the epoch, a whole second, its reports begin
_EPOCH_S = 0.005  # in which a receiver has handed all reports of an epoch to USB
_ON = ("CFG-MSGOUT-UBX_NAV_PVT_{}", "CFG-MSGOUT-UBX_RXM_COR_{}")


class Rhythm(NamedTuple):
    """How the bytes of a receiver arrive."""

    name: str
    baudrate: int  # without effect on USB
    piece: int = 0  # bytes that the driver gives at a time; 0: an epoch
    rate_hz: int = 1  # 0: it says nothing


RHYTHMS = {
    "silent": Rhythm("silent", 115_200, rate_hz=0),
    "epochs": Rhythm("whole epochs (USB), 1 Hz", 115_200),
    "uart38": Rhythm("pieces of 16 bytes at 38,400 baud, 1 Hz", 38_400, 16),
    "uart115": Rhythm("pieces of 16 bytes at 115,200 baud, 1 Hz", 115_200, 16),
    "uart115x5": Rhythm("pieces of 16 bytes at 115,200 baud, 5 Hz", 115_200, 16, 5),
}


async def until_second_and(later_s: float) -> None:
    """Receivers and reference stations have their epochs at the same whole seconds."""
    await asyncio.sleep((later_s - time.time()) % 1.0)


class BenchPty(Pty):
    """Passes the device's bytes on in a rhythm, and notes when corrections arrive."""

    def __init__(self, path: Path, rhythm: Rhythm) -> None:
        super().__init__(path)
        self.arrivals: list[tuple[float, Frame]] = []  # with the loop's time
        self.first = asyncio.Event()
        self._rhythm = rhythm
        self._scanner = Scanner(FrameKind.RTCM3, FrameKind.SPARTN)
        self._line = bytearray()
        self._news = asyncio.Event()

    async def read(self, limit: int = 4096) -> bytes:
        data = await super().read(limit)
        now_s = asyncio.get_running_loop().time()
        for frame in self._scanner.feed(data):
            self.arrivals.append((now_s, frame))
            self.first.set()
        return data

    def send(self, data: bytes) -> None:
        self._line += data + (_NMEA if data.startswith(_GGA) else b"")
        self._news.set()

    async def carry(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._news.wait()
            began_s, carried = loop.time(), 0
            if not self._rhythm.piece:
                await asyncio.sleep(_EPOCH_S)
            while self._line:
                size = self._rhythm.piece or len(self._line)
                piece = bytes(self._line[:size])
                del self._line[:size]
                carried += len(piece)
                if self._rhythm.piece:
                    due_s = began_s + carried * 10 / self._rhythm.baudrate
                    await asyncio.sleep(max(0.0, due_s - loop.time()))
                super().send(piece)
            self._news.clear()


@asynccontextmanager
async def receiver(gateway: Gateway, rhythm: Rhythm) -> AsyncIterator[SimReceiver]:
    """One that reports its position and the corrections to whatever program reads it."""
    # A device that is on USB itself gives whole epochs, and its port is named so.
    name, wired = ("ttyS0", "UART1") if rhythm.piece else ("ttyACM0", "USB")
    gateway.gnss = line = BenchPty(gateway.top / name, rhythm)
    carrying = asyncio.create_task(line.carry())
    await until_second_and(_FIX_S)
    try:
        async with gateway.receiver(wired=wired) as device:
            for name in _ON:
                device.set(name, 1)
            if rhythm.piece:
                device.set("CFG-{}-BAUDRATE", rhythm.baudrate)
            device.set("CFG-RATE-MEAS", 1000 // max(1, rhythm.rate_hz))
            yield device
    finally:
        carrying.cancel()
        await asyncio.wait([carrying])
