"""How fast corrections flow again after an outage, how soon a silent link is noticed, and how old
corrections get on a serial line that is too slow for them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.sources import Source, Via, made_at, source
from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.model import FrameKind
from ztpd.relay.channels import STABLE_S
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.receiver import SimReceiver

OUTAGE_S = 3.0
SLOW_BAUD = 38_400
OVERLOAD = 1.67  # times the capacity of that line
_LOOK_S = 0.01


class Line(NamedTuple):
    """One gateway that streams, and the line between it and its source."""

    proxy: FaultProxy
    receiver: SimReceiver

    async def until(self, condition: Callable[[], bool]) -> float:
        """Seconds until ``condition`` holds."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await until(condition, within_s=300)
        return loop.time() - began_s

    async def corrections(self) -> float:
        """Seconds until the receiver gets corrections that it has not yet."""
        received = self.receiver.received
        known = len(received)
        return await self.until(
            lambda: any(frame.kind is FrameKind.RTCM3 for frame in received[known:])
        )


@asynccontextmanager
async def streaming(there: Source, directory: Path) -> AsyncIterator[Line]:
    gateway = Gateway(directory, there.authority)
    async with (
        FaultProxy(there.host, there.port) as proxy,
        gateway.receiver() as receiver,
    ):
        gateway.configure(**there.settings(proxy.port, directory.name))
        async with gateway.running():
            line = Line(proxy, receiver)
            await line.corrections()
            yield line


async def outage(line: Line) -> float:
    """The service cannot be reached for a while: seconds from its return to corrections."""
    line.proxy.refuse()
    line.proxy.cut()
    await asyncio.sleep(OUTAGE_S)
    await line.proxy.listen()
    return await line.corrections()


async def silence(line: Line) -> float:
    """The line dies without a word: seconds until the gateway opens another connection."""
    before = line.proxy.connections
    line.proxy.half_open()
    return await line.until(lambda: line.proxy.connections > before)


async def repeated(
    fault: Callable[[Line], Awaitable[float]],
    via: Via,
    directory: Path,
    *,
    gateways: int,
    rounds: int,
) -> list[float]:
    """``fault`` on many gateways side by side, each time after a session that was proved."""
    rng = random.Random(5)

    async def one(there: Source, top: Path) -> list[float]:
        async with streaming(there, top) as line:
            found = []
            for _ in range(rounds):
                await asyncio.sleep(STABLE_S + rng.uniform(1, 5))
                found.append(await fault(line))
                await line.corrections()
            return found

    tops = [directory / f"gateway-{number}" for number in range(gateways)]
    for top in tops:
        top.mkdir()
    async with source(via, directory) as there, asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(there, top)) for top in tops]
    return [seconds for task in tasks for seconds in task.result()]


class Overload(NamedTuple):
    oldest_s: float  # from the service to the last byte at the receiver
    usual_s: float  # the same, median
    frames: int
    damaged_bytes: int
    bytes_per_s: float  # that the receiver took


async def overload(via: Via, directory: Path, *, for_s: float) -> Overload:
    """A UART of 38,400 baud, offered more than it carries."""
    size = 320
    period_s = size / (OVERLOAD * SLOW_BAUD / 10)
    gateway = Gateway(directory)
    ages: list[float] = []
    async with source(via, directory, size=size, period_s=period_s) as there:
        gateway.configure(
            receiver={"port": gateway.gnss.path, "baudrate": SLOW_BAUD},
            **there.settings(there.port, "gateway"),
        )
        async with gateway.receiver(wired="UART1") as receiver, gateway.running():
            line = Line(FaultProxy("", 0), receiver)
            await line.corrections()
            loop = asyncio.get_running_loop()
            seen, ends_s = len(receiver.received), loop.time() + for_s
            while loop.time() < ends_s:
                await asyncio.sleep(_LOOK_S)
                fresh, seen = receiver.received[seen:], len(receiver.received)
                ages += [loop.time() - made_at(each) for each in fresh if each.name == "1077"]
            damaged = receiver.skipped_bytes
    ages.sort()
    taken = len(ages) * size / for_s
    return Overload(ages[-1], ages[len(ages) // 2], len(ages), damaged, taken)


def within(seconds: list[float], limit_s: float) -> float:
    """The share of ``seconds`` that is not above ``limit_s``, in per cent."""
    return 100 * sum(each <= limit_s for each in seconds) / len(seconds)


def median(seconds: list[float]) -> float:
    return sorted(seconds)[len(seconds) // 2]
