"""A receiver on the bench: the real room, a simulated device, a pseudo-terminal between them, and
a clock that jumps."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import virtualtime
from ztpd.model import DynamicKey, Frame, FrameKind, Secret
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, Model, SimReceiver
from ztpd.wire import ubx
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_frame

KEY, NEXT_KEY, WRONG_KEY = (bytes([fill]) * 16 for fill in (0x11, 0x22, 0x33))
PERIOD = timedelta(weeks=4)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a coroutine test on a loop whose clock jumps."""

    @functools.wraps(test)
    def run(**fixtures: Any) -> None:
        virtualtime.run(test(**fixtures))

    return run


class ReceiverBench:
    """``sim`` and ``receiver`` joined by ``pty``; ``log`` holds the journal lines."""

    def __init__(self, pty: Pty, sim: SimReceiver, receiver: Receiver, log: list[str]) -> None:
        self.pty, self.sim, self.receiver, self.log = pty, sim, receiver, log
        self._tags = 0

    def logged(self, event: str) -> list[str]:
        return [
            line.partition(" ")[2]
            for line in self.log
            if line.startswith((event + " ", event + "."))
        ]

    def spartn(self, *, encrypted: bool = False, name: str = "OCB-GPS") -> Frame:
        self._tags += 5
        return spartn(self._tags, encrypted=encrypted, name=name)

    async def stream(self, seconds: float, frame: Callable[[], Frame]) -> None:
        """Deliver a correction each second."""
        for _ in range(round(seconds)):
            self.receiver.deliver(frame())
            await asyncio.sleep(1)


def only_frame(data: bytes) -> Frame:
    (frame,) = Scanner(*FrameKind).feed(data)
    return frame


def spartn(time_tag: int = 5, *, encrypted: bool = False, name: str = "OCB-GPS") -> Frame:
    message_type, subtype = {"OCB-GPS": (0, 0), "OCB-GLO": (0, 1), "GAD": (2, 0)}[name]
    payload = random.Random(time_tag).randbytes(200)
    data = spartn_frame(message_type, subtype, payload, time_tag=time_tag, encrypted=encrypted)
    return only_frame(data)


def rtcm(station: int = 0, number: int = 1077) -> Frame:
    return only_frame(rtcm_frame((number << 12 | station).to_bytes(3, "big") + bytes(100)))


def ubx_frame(number: int, payload: bytes = b"") -> Frame:
    return Frame(FrameKind.UBX, ubx.message(number, payload), ubx.label(number))


def dynamic_key(value: bytes, start: datetime) -> DynamicKey:
    start_ms = round(start.timestamp() * 1000)
    return DynamicKey(Secret(value.hex()), start_ms, 28 * 86_400_000 - 1)


def current_and_next(value: bytes = KEY) -> list[DynamicKey]:
    today = datetime.now(UTC) - timedelta(days=1)
    return [dynamic_key(value, today), dynamic_key(NEXT_KEY, today + PERIOD)]


@contextlib.contextmanager
def log_lines() -> Iterator[list[str]]:
    """The log lines of this block: event name and text, INFO and above."""
    lines: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.INFO:
                lines.append(f"{getattr(record, 'ZTPD_EVENT', '')} {record.getMessage()}")

    handler = Collect()
    logger = logging.getLogger("ztpd")
    logger.addHandler(handler)
    try:
        yield lines
    finally:
        logger.removeHandler(handler)


@contextlib.asynccontextmanager
async def bench(
    tmp_path: Path,
    model: Model = F9P,
    *,
    wired: str = "USB",
    key: bytes | None = KEY,
    settings: dict[str, Any] | None = None,
    on_change: Callable[[], None] = lambda: None,
    on_keys_wanted: Callable[[], None] = lambda: None,
    **options: Any,
) -> AsyncIterator[ReceiverBench]:
    """A powered receiver, with ztpd's side running."""
    async with (
        Pty(tmp_path / "gnss") as pty,
        SimReceiver(pty, model, wired=wired, key=key, **options) as sim,
    ):
        receiver = Receiver(
            ReceiverSettings(pty.path, **(settings or {})),
            rng=random.Random(7),
            on_change=on_change,
            on_keys_wanted=on_keys_wanted,
        )
        with log_lines() as log:
            running = asyncio.create_task(receiver.run())
            try:
                yield ReceiverBench(pty, sim, receiver, log)
            finally:
                running.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await running
