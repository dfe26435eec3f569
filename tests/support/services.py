"""A gateway with a modem, and the services that its configuration names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from ztpd.model import StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.caster import Caster
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.portal import Profile
from ztpd.sim.ztp_service import ZtpService
from ztpd.wire.frames import rtcm_frame

IMEI = SARA_R5.imei


async def corrections() -> AsyncIterator[bytes]:
    while True:
        yield rtcm_frame(bytes([1077 >> 4, (1077 & 15) << 4, 0, 0]) + bytes(60))
        await asyncio.sleep(0.1)


@asynccontextmanager
async def services(
    tmp_path: Path,
    *,
    profile: Profile | None = None,
    script: tuple[Any, ...] = (),
    speed: float = 5.0,
    identity: dict[str, Any] | None = None,
    **tables: dict[str, Any] | list[dict[str, Any]],
) -> AsyncIterator[tuple[Gateway, ZtpService, Caster]]:
    """A gateway with modem and receiver, the provisioning service and a caster."""
    gateway = Gateway(tmp_path)
    tls = gateway.authority.server_context()
    async with (
        Caster({"NEAR-RTCM": corrections}, tls=tls) as caster,
        ZtpService(
            gateway.authority,
            profile=profile,
            caster_ports=(2101, caster.port),
            script=script,
        ) as service,
        SimModem(tmp_path / "modem", SARA_R5, scale=0.05),
        gateway.receiver(speed=speed),
    ):
        gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
                "splay_s": 0,
            },
            identity={"source": "at", "port": tmp_path / "modem"} | (identity or {}),
            ntrip={"ca_file": gateway.ca_file},
            **tables,
        )
        yield gateway, service, caster


def state(gateway: Gateway) -> str:
    return str(gateway.status.get("state"))


def reason(gateway: Gateway) -> str:
    return str(gateway.status.get("reason", {}).get("event"))


def kept(gateway: Gateway) -> StoredCredentials:
    loaded = CredentialStore(gateway.state_dir).load()
    assert loaded
    return loaded.stored


def reissue(gateway: Gateway, service: ZtpService) -> None:
    """The Thing's certificate from now on is another one."""
    (thing,) = service.portal.things.values()
    pair = gateway.authority.client(thing.client_id)
    thing.credentials["certificate"] = pair.certificate
    thing.credentials["privateKey"] = pair.private_key.reveal()
