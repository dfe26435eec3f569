"""Tests of the clock run this under libfaketime: ``faketime_child.py TASK [ARGUMENT ...]``."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ztpd.config import Config
from ztpd.errors import ZtpdError
from ztpd.model import Identity, Imei
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.schedule import Schedule
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.portal import TOKEN
from ztpd.system.clock import Clock


async def identity() -> Identity:
    return Identity(Imei("490154203237518"), "the modem")


def ignored(*_: Any, **__: Any) -> None:
    """Discards all events."""


def provision(url: str, ca_file: str, state_dir: str) -> None:
    """The real call by the system's clock; the service is taken for one on another machine."""
    elsewhere = url.replace("localhost", "ztp.example")
    settings = replace(Config().ztp, url=elsewhere, ca_file=ca_file, allowed_hosts=("localhost",))
    provisioner = Provisioner(
        replace(Config(), ztp=settings),
        Path(state_dir),
        dispatch=ignored,
        read_identity=identity,
        token=lambda: TOKEN,
        clock=Clock(synchronised=lambda: None),
        hostname=lambda: "gateway-1",  # libfaketime stands no subprocess of a thread
        post=_post_to(url),
    )
    try:
        stored = asyncio.run(provisioner.once())
        print("provisioned", stored.credentials.client_id, stored.stored_unix_s)
    except ZtpdError as error:
        print(error.code, error.retry.value)


def _post_to(url: str) -> Any:
    async def post(_: str, body: bytes, **options: Any) -> Any:
        from ztpd.provisioning import http
        from ztpd.wire.ztp import PATHS

        return await http.post(url + PATHS["flex"], body, **options)

    return post


def jump(rate_file: str, new_date: str, state_dir: str) -> None:
    """The date jumps while a wait goes on."""

    async def main() -> None:
        schedule = Schedule(Path(state_dir) / "schedule.json")
        schedule.calling(3600, {}, "gw-1")
        loop = asyncio.get_running_loop()
        began_s, date_s = loop.time(), time.time()
        asyncio.get_running_loop().call_later(
            0.3, lambda: Path(rate_file).write_text(new_date + "\n")
        )
        await asyncio.sleep(1.0)
        again = Schedule(Path(state_dir) / "schedule.json")
        loaded = CredentialStore(Path(state_dir)).load()
        print(
            round(loop.time() - began_s, 1),
            round(abs(time.time() - date_s) > 86_400),
            round(again.left_s()),
            again.may_refresh(),
            loaded is not None,
        )

    asyncio.run(main())


def save(state_dir: str) -> None:
    """Write files with dates, at the present date."""
    schedule = Schedule(Path(state_dir) / "schedule.json")
    schedule.calling(60, {}, "gw-1")
    schedule.succeeded()
    again = Schedule(Path(state_dir) / "schedule.json")
    print(Clock(synchronised=lambda: True).describe(), round(again.left_s() / 100))


VERBS: dict[str, Callable[..., None]] = {"provision": provision, "jump": jump, "save": save}

if __name__ == "__main__":
    VERBS[sys.argv[1]](*sys.argv[2:])
