"""A broker or a caster that sends frames with the time of their making."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ztpd.model import Frame
from ztpd.sim.authority import Authority
from ztpd.sim.broker import Broker
from ztpd.sim.caster import Caster
from ztpd.wire.frames import rtcm_frame

Via = Literal["mqtt", "ntrip"]

_TYPE = bytes([1077 >> 4, (1077 & 15) << 4])  # an RTCM message of a kind that receivers use
_HEAD = 3  # bytes before the message
_TOPIC = "corrections/base"


class Source(NamedTuple):
    via: Via
    host: str
    port: int
    directory: Path
    authority: Authority

    def settings(self, port: int, name: str) -> dict[str, dict[str, Any]]:
        """The tables of a gateway's configuration that lead here, by way of ``port``."""
        ca_file = self.authority.write(self.directory / "authority.pem")
        if self.via == "ntrip":
            ntrip = {"host": "localhost", "port": port, "mountpoint": "BASE", "ca_file": ca_file}
            return {"ntrip": ntrip}
        certificate, key = self.authority.client(name).write(self.directory, name)
        mqtt = {
            "host": "localhost",
            "port": port,
            "topics": [_TOPIC],
            "client_id": name,
            "ca_file": ca_file,
            "cert_file": certificate,
            "key_file": key,
        }
        return {"mqtt": mqtt}


@asynccontextmanager
async def source(
    via: Via, directory: Path, *, size: int = 100, period_s: float = 0.1
) -> AsyncIterator[Source]:
    """A service with TLS, as the real ones have, that sends a frame each period."""
    authority = Authority()

    async def frames() -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            yield _stamped(loop.time(), size)
            due_s += period_s
            await asyncio.sleep(max(0.0, due_s - loop.time()))

    if via == "ntrip":
        async with Caster({"BASE": frames}, tls=authority.server_context()) as caster:
            yield Source(via, caster.host, caster.port, directory, authority)
        return

    async def publish(broker: Broker) -> None:
        async for frame in frames():
            await broker.publish(_TOPIC, frame)

    async with Broker(authority) as broker:
        publishing = asyncio.create_task(publish(broker))
        try:
            yield Source(via, broker.host, broker.port, directory, authority)
        finally:
            publishing.cancel()
            await asyncio.wait([publishing])


def _stamped(now: float, size: int) -> bytes:
    return rtcm_frame((_TYPE + struct.pack(">d", now)).ljust(size - _HEAD - 3, b"\0"))


def made_at(frame: Frame) -> float:
    """When ``frame`` was handed to the service, on this process's clock."""
    made_s: float = struct.unpack_from(">d", frame.data, _HEAD + len(_TYPE))[0]
    return made_s
