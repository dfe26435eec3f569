"""A simulated gateway whose identity is read in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from tests.support import virtualtime
from tests.support.until import until
from tests.support.usbtree import UsbTree
from ztpd.config import Config, IdentityOptions
from ztpd.errors import IdentityError
from ztpd.model import Identity
from ztpd.modem import identity
from ztpd.sim.modem import ModemModel, SimModem
from ztpd.sim.pty import Pty

EC25 = "2c7c:0125"
EC25_PORTS = {0: "ttyUSB0", 1: "ttyUSB1", 2: "ttyUSB2", 3: "ttyUSB3"}


@dataclass
class Result:
    outcome: Identity | IdentityError
    took_s: float

    @property
    def imei(self) -> str:
        """The number read; raises the error, if one came instead."""
        if isinstance(self.outcome, IdentityError):
            raise self.outcome
        assert self.outcome.imei is not None
        return self.outcome.imei.digits

    @property
    def source(self) -> str:
        assert isinstance(self.outcome, Identity)
        return self.outcome.source


async def read(gateway: UsbTree, **settings: Any) -> Result:
    now = asyncio.get_running_loop().time
    started = now()
    ticking = asyncio.create_task(_tick())
    config = replace(Config(), identity=IdentityOptions(**settings))
    try:
        outcome: Identity | IdentityError = await identity.read(config, root=gateway.root)
    except IdentityError as error:
        outcome = error
    finally:
        ticking.cancel()
    result = Result(outcome, now() - started)
    assert result.took_s <= config.identity.timeout_s + 5
    return result


async def _tick() -> None:
    """Time goes by in small steps only, so that a slow subprocess does not miss its deadline."""
    while True:
        await asyncio.sleep(0.5)


@contextlib.asynccontextmanager
async def wired(gateway: UsbTree, **models: ModemModel) -> AsyncIterator[dict[str, SimModem]]:
    """A simulated modem on each of the ttys named."""
    async with contextlib.AsyncExitStack() as stack:
        yield {
            tty: await stack.enter_async_context(SimModem(gateway.root / "dev" / tty, model))
            for tty, model in models.items()
        }


@contextlib.contextmanager
def held(gateway: UsbTree, tty: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the port open and has locked it the UUCP way."""
    lock = gateway.root / f"var/lock/LCK..{tty}"
    port = os.open(gateway.root / "dev" / tty, os.O_RDWR | os.O_NOCTTY)
    with subprocess.Popen(["sleep", "100"], stdin=port) as holder:
        os.close(port)
        lock.write_text(f"{holder.pid:>10}\n")
        try:
            yield holder
        finally:
            holder.kill()
            lock.unlink(missing_ok=True)


def reading(
    gateway: UsbTree,
    models: dict[str, ModemModel] | None = None,
    *,
    locked: str = "",
    **settings: Any,
) -> Result:
    """The identity, with ``models`` on their ttys; the ports are given back, one whose opening was
    given up once the kernel has opened it.

    Another program holds the tty ``locked`` meanwhile.
    """

    async def scenario() -> Result:
        async with wired(gateway, **(models or {})) as modems:
            with held(gateway, locked) if locked else contextlib.nullcontext():
                result = await read(gateway, **settings)
            await until(lambda: not any(modem.pty.users() for modem in modems.values()), 5)
            assert all(not modem.engine.forbidden for modem in modems.values())
            return result

    result: Result = virtualtime.run(scenario())
    return result


def untouched(gateway: UsbTree, tty: str, **settings: Any) -> Result:
    """The identity where ``tty`` must get no byte and not even be opened."""

    async def scenario() -> Result:
        async with Pty(gateway.root / "dev" / tty) as pty:
            task = asyncio.create_task(read(gateway, **settings))
            while not task.done():
                assert not pty.users(), f"{tty} is open"
                await asyncio.sleep(2)
            assert pty.pending() == 0
            return await task

    result: Result = virtualtime.run(scenario())
    return result
