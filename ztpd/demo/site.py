"""The simulators and the daemon of the demonstration, as far as a fault reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ztpd.demo.process import DaemonProcess
from ztpd.model import Secret
from ztpd.sim.modem import SARA_R5
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, Model, SimReceiver
from ztpd.sim.ztp_service import ZtpService
from ztpd.status import Cause

ONCE_WITHIN_S = 120.0
"""The demonstration reaches RTK fixed within this time, unless a fault takes longer."""

_ACTIVATION_S = 5.0
_LOOK_S = 0.5
_NAMED_FOR_S = 4.0  # so that a person sees the fault at its link
_PLUG_S = 1.0
_RETRY_EVERY_S = 5.0
_LOOKS_TOLD = 240  # a line in two minutes
_BACKUP_IN_USE = "session.backup_in_use"
_WRONG_TOKEN = Secret("00000000-0000-4000-8000-000000000000")


@dataclass(slots=True)
class Site:
    """The simulators and the daemon, as far as a fault reaches them."""

    proxy: FaultProxy  # between the daemon and the broker or caster
    service: ZtpService
    receiver: SimReceiver
    gnss: Pty
    daemon: DaemonProcess
    silence: asyncio.Event  # while set, broker and caster send no corrections
    causes: Callable[[], list[Cause]]  # published by the daemon, the most important first
    restart_source: Callable[[], None]
    tell: Callable[[str, str], None]
    spawn: Callable[[Coroutine[Any, Any, None]], None]

    def activate(self) -> None:
        """Deactivate the Thing, and activate it a little later."""
        portal = self.service.portal
        portal.profile = replace(portal.profile, auto_activate=False)

        async def later() -> None:
            await asyncio.sleep(_ACTIVATION_S)
            portal.activate(SARA_R5.imei)
            self.tell("demo", "activates the Thing in the portal")

        self.spawn(later())

    def unplug(self, for_s: float) -> None:
        async def out_and_in() -> None:
            self.gnss.unplug()
            self.tell("demo", "pulled the receiver's plug")
            await asyncio.sleep(for_s)
            self.gnss.plug()
            self.tell("demo", "plugged the receiver in again")

        self.receiver.power_cycle()
        self.spawn(out_and_in())

    def break_until_named(self, event: str, faults: Mapping[str, object]) -> None:
        """Give the receiver ``faults`` until the daemon publishes an event whose name begins with
        ``event``."""
        broken = self.receiver.faults
        before = {name: getattr(broken, name) for name in faults}

        def give(values: Mapping[str, object]) -> None:
            for name, value in values.items():
                setattr(broken, name, value)

        give(faults)
        self.when_named(event, lambda: give(before))

    def exchange_receiver(self) -> None:
        """Connect a receiver that is suitable."""
        self.receiver.exchange(F9P)
        self.unplug(_PLUG_S)

    def when_named(self, event: str, mend: Callable[[], None], *, retry: bool = False) -> None:
        """Call ``mend`` once the daemon publishes an event whose name begins with ``event``;
        ``retry``: then end the daemon's wait, as a person does."""

        async def wait_and_mend() -> None:
            text = ""
            while not text:
                await asyncio.sleep(_LOOK_S)
                found = (each.text for each in self.causes() if each.event.startswith(event))
                text = next(found, "")
            self.tell("demo", f"ztpd has named it ({text})")
            await asyncio.sleep(_NAMED_FOR_S)
            mend()
            self.tell("demo", "mended the fault")
            if retry:
                await self._retry()

        self.spawn(wait_and_mend())

    def when_put_back(self, is_back: Callable[[], bool]) -> None:
        """The demonstration goes on once ztpd has undone a change of another program."""

        async def wait() -> None:
            found = False
            while not found:
                await asyncio.sleep(_LOOK_S)
                found = is_back()
            self.tell("demo", "ztpd has put the setting back")

        self.spawn(wait())

    async def _retry(self) -> None:
        """``ztpd retry`` until the daemon obeys: it calls the service once a minute at most."""
        answer = await self.daemon.ask("retry")
        self.tell("demo", f"runs `ztpd retry`: {answer.text}")
        while answer.returncode:
            await asyncio.sleep(_RETRY_EVERY_S)
            answer = await self.daemon.ask("retry")

    def give_wrong_token(self) -> None:
        token = self.service.portal.profile.token
        self.daemon.write_token(_WRONG_TOKEN)
        self.when_named("ztp.refused", lambda: self.daemon.write_token(token), retry=True)

    def leave_off_the_allowlist(self) -> None:
        portal = self.service.portal

        def allow(*imeis: str) -> None:
            portal.profile = replace(portal.profile, allowlist=frozenset(imeis))

        allow()
        self.when_named("ztp.refused.not_listed", lambda: allow(SARA_R5.imei), retry=True)

    def ignore_station(self, station: int) -> None:
        """Make the receiver ignore the corrections of ``station`` until the backup is in use; the
        story ends when the service before it is back."""
        ignored = self.receiver.faults.ignored_stations
        ignored.add(station)

        async def come_back() -> None:
            looks = 0
            while any(each.event == _BACKUP_IN_USE for each in self.causes()):
                await asyncio.sleep(_LOOK_S)
                looks += 1
                if looks % _LOOKS_TOLD == 0:
                    passed = f"{looks * _LOOK_S / 60:.0f} min"
                    self.tell(
                        "demo", f"the backup is in use, the first service beside it: {passed}"
                    )
            self.tell("demo", "ztpd has changed back to the first service")

        def heed() -> None:
            ignored.clear()
            self.tell("demo", "ztpd has changed to the backup; the first service is good again now")
            self.tell("demo", "it has to bring corrections beside the backup for ten minutes")
            self.spawn(come_back())

        self.when_named(_BACKUP_IN_USE, heed)

    def silence_source(self) -> None:
        self.silence.set()
        self.when_named("session.stale", self.silence.clear)

    def drive_through_tunnel(self, for_s: float) -> None:
        async def in_and_out() -> None:
            self.receiver.faults.tunnel = True
            await asyncio.sleep(for_s)
            self.receiver.faults.tunnel = False
            self.tell("demo", "the tunnel ends")

        self.spawn(in_and_out())

    def outage(self, for_s: float) -> None:
        async def away_and_back() -> None:
            self.proxy.refuse()
            self.proxy.cut()
            await asyncio.sleep(for_s)
            await self.proxy.listen()
            self.tell("line", "takes connections again")

        self.spawn(away_and_back())


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: from the start on, or once the receiver is RTK fixed."""

    about: str
    early: Callable[[Site], None] = lambda _: None
    late: Callable[[Site], None] | None = None
    breaks: bool = False  # the connection to broker or caster
    model: Model = F9P
    backup: bool = False  # there is a second service
    format: str = ""  # of the corrections, where only one shows the fault
    within_s: float = ONCE_WITHIN_S  # the demonstration has to reach RTK fixed
