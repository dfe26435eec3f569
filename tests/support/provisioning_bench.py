"""A provisioner in virtual time; the simulated portal answers its calls without a network."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.support import virtualtime
from ztpd.config import Config
from ztpd.errors import ZtpdError
from ztpd.lifecycle import Event
from ztpd.model import Identity, Imei
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.reply import Reply
from ztpd.provisioning.schedule import Schedule
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Portal, Profile
from ztpd.system.clock import Clock
from ztpd.system.sealing import Sealer

IMEI, OTHER_IMEI = Imei("490154203237518"), Imei("356938035643809")
START_UNIX_S = 1_800_000_000
HOUR_S, DAY_S = 3600.0, 86_400.0
AUTHORITY = Authority()

Answer = Callable[[], Reply]


@dataclass
class Dispatched:
    """An event of the provisioner, with its time."""

    at_s: float
    event: Event
    error: ZtpdError | None
    wait_s: float | None


class ProvisioningBench:
    """One gateway over its starts and reboots. ``answer`` replaces the portal if set; it may
    raise. Times are those of the virtual loop."""

    def __init__(
        self,
        directory: Path,
        *,
        profile: Profile | None = None,
        board: str = "board-1",
        seed: int = 1,
        began_unix_s: float = START_UNIX_S,
        **ztp: Any,
    ) -> None:
        self.state_dir = directory
        self.config = Config()
        settings = {"url": "https://localhost"} | ztp
        self.config = replace(self.config, ztp=replace(self.config.ztp, **settings))
        self.portal = Portal(
            profile or Profile(),
            AUTHORITY,
            broker_host="localhost",
            caster_host="localhost",
            caster_ports=(2101, 2102),
            now=lambda: began_unix_s,
        )
        self._began_unix_s = began_unix_s
        self.answer: Answer | None = None
        self.calls: list[float] = []
        self.requests: list[dict[str, Any]] = []
        self.dispatched: list[Dispatched] = []
        self.board = board
        self.hostname = "gateway-1"
        self.token = TOKEN
        self.sealer: Sealer | None = None
        self.modem: list[Identity | ZtpdError] = [Identity(IMEI, "the modem")]
        self.reads = 0
        self.clock_off_s = 0.0
        self.synchronised = True
        self._boot, self._booted_s = 1, 0.0
        self._rng = random.Random(seed)

    @property
    def now_unix_s(self) -> float:
        return self._began_unix_s + _now() + self.clock_off_s

    def reboot(self) -> None:
        self._boot, self._booted_s = self._boot + 1, _now()

    def start(self) -> Provisioner:
        """A new process: it knows only the files on the disk."""
        return Provisioner(
            self.config,
            self.state_dir,
            dispatch=self._dispatch,
            read_identity=self._read_identity,
            token=lambda: self.token,
            clock=Clock(now=lambda: self.now_unix_s, synchronised=lambda: self.synchronised),
            schedule=Schedule(
                self.state_dir / SCHEDULE_FILE,
                instant=lambda: (f"boot {self._boot}", _now() - self._booted_s),
                now=lambda: self.now_unix_s,
            ),
            board_serial=lambda: self.board,
            hostname=lambda: self.hostname,
            post=self._post,
            rng=self._rng,
            sealer=self.sealer,
        )

    def issue(self, hardware_id: str, *, ends: datetime) -> None:
        """The Thing's certificate from now on is another one, and ends then."""
        thing = self.portal.things[hardware_id]
        pair = AUTHORITY.client(thing.client_id, not_after=ends)
        thing.credentials["certificate"] = pair.certificate
        thing.credentials["privateKey"] = pair.private_key.reveal()

    async def _read_identity(self) -> Identity:
        """The last of :attr:`modem` stays."""
        self.reads += 1
        found = self.modem.pop(0) if len(self.modem) > 1 else self.modem[0]
        if isinstance(found, ZtpdError):
            raise found
        return found

    async def _post(self, url: str, body: bytes, *, timeout_s: float, ca_file: str) -> Reply:
        self.calls.append(_now())
        self.requests.append(json.loads(body))
        if self.answer:
            return self.answer()
        headers = {"content-length": str(len(body))}
        status, answer = self.portal.answer("POST", urlsplit(url).path, headers, body)
        return Reply(status, {}, answer)

    def _dispatch(
        self,
        event: Event,
        why: str = "",
        *,
        error: ZtpdError | None = None,
        wait_s: float | None = None,
    ) -> None:
        self.dispatched.append(Dispatched(_now(), event, error, wait_s))


def run(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """A day in an instant: nothing here waits for anything but time and the disk."""
    return virtualtime.run(coroutine)


async def ended_after(coroutine: Any, seconds: float) -> bool:
    """Run ``coroutine`` for at most ``seconds``, then cancel it; whether it ended before."""
    try:
        async with asyncio.timeout(seconds):
            await coroutine
    except TimeoutError:
        return False
    return True


def raises(error: Callable[[], ZtpdError]) -> Answer:
    def answer() -> Reply:
        raise error()

    return answer


def _now() -> float:
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:  # a process is being started; its virtual loop begins at 0
        return 0.0
