"""The faults that the demonstration can inject, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ztpd.demo.process import DaemonProcess
from ztpd.model import Secret
from ztpd.sim.modem import SARA_R5
from ztpd.sim.proxy import BAD_LINES, FaultProxy, Line
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, F9R, Model, SimReceiver
from ztpd.sim.ztp_service import Answer, Cut, ZtpService
from ztpd.status import Cause
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

_ACTIVATION_S = 5.0
_LOOK_S = 0.5
_RETRY_EVERY_S = 5.0
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

    def when_named(self, event: str, mend: Callable[[], None], *, retry: bool = False) -> None:
        """Call ``mend`` once the daemon publishes an event whose name begins with ``event``;
        ``retry``: then end the daemon's wait, as a person does."""

        async def wait_and_mend() -> None:
            text = ""
            while not text:
                await asyncio.sleep(_LOOK_S)
                found = (each.text for each in self.causes() if each.event.startswith(event))
                text = next(found, "")
            self.tell("demo", f"ztpd has named it ({text}); mended")
            mend()
            if retry:
                await self._retry()

        self.spawn(wait_and_mend())

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


def _line(line: Line) -> Callable[[Site], None]:
    return lambda site: setattr(site.proxy, "to_client", line)


def _ztp(*answers: Answer | Cut) -> Callable[[Site], None]:
    return lambda site: site.service.script.extend(answers)


def _until_named(event: str, **faults: object) -> Callable[[Site], None]:
    return lambda site: site.break_until_named(event, faults)


FAULTS: Mapping[str, Fault] = {
    "busy-service": Fault(
        "the provisioning service is overloaded at first", _ztp(Answer(503, "Service Unavailable"))
    ),
    "lost-answer": Fault("the connection is cut in the service's answer", _ztp(Cut(900))),
    "wrong-token": Fault(
        "the gateway has a ZTP token that the service does not know",
        lambda site: site.give_wrong_token(),
    ),
    "allowlist": Fault(
        "the modem's IMEI is not on the allowlist of the device profile",
        lambda site: site.leave_off_the_allowlist(),
    ),
    "not-active": Fault("the Thing is activated only after a while", lambda site: site.activate()),
    "receiver-reset": Fault("the receiver restarts", late=lambda site: site.receiver.reset()),
    "receiver-unplugged": Fault(
        "the receiver's plug is pulled for three seconds", late=lambda site: site.unplug(3.0)
    ),
    "receiver-deaf": Fault(
        "the wire to the receiver's input is cut", _until_named("gnss.", hears_nothing=True)
    ),
    "settings-locked": Fault(
        "the receiver refuses every change of its settings",
        _until_named("gnss.not_set", locked=True),
    ),
    "other-source": Fault(
        "the receiver ignores the corrections: a radio brings those of another station",
        _until_named("gnss.not_used.", radio_station=77, never_fixed=True),
    ),
    "no-antenna": Fault(
        "no antenna is connected",
        _until_named("gnss.reception.antenna_open", antenna=Antenna.OPEN, no_sky=True),
    ),
    "antenna-short": Fault(
        "the antenna's cable has a short circuit",
        _until_named("gnss.reception.antenna_short", antenna=Antenna.SHORT, never_fixed=True),
    ),
    "jammed": Fault(
        "a transmitter nearby disturbs the satellites' signals",
        _until_named("gnss.reception.jammed", jamming=Jamming.CRITICAL, no_sky=True),
    ),
    "spoofed": Fault(
        "the receiver gets false satellite signals",
        _until_named("gnss.reception.spoofed", spoofing=Spoofing.AFFIRMED, never_fixed=True),
    ),
    "tunnel": Fault(
        "a vehicle drives through a tunnel for ten seconds",
        late=lambda site: site.drive_through_tunnel(10.0),
        model=F9R,
    ),
    "silent-caster": Fault(
        "the broker or caster accepts the session and sends nothing",
        lambda site: site.silence_source(),
    ),
    "source-restart": Fault(
        "the broker or caster is restarted", late=lambda site: site.restart_source(), breaks=True
    ),
    "outage": Fault(
        "the broker or caster cannot be reached for three seconds",
        late=lambda site: site.outage(3.0),
        breaks=True,
    ),
    "cut": Fault(
        "the connection is closed on the way", late=lambda site: site.proxy.cut(), breaks=True
    ),
    "reset": Fault(
        "the connection is reset on the way", late=lambda site: site.proxy.reset(), breaks=True
    ),
    "half-open": Fault(
        "the connection breaks, and neither end is notified",
        late=lambda site: site.proxy.half_open(),
        breaks=True,
    ),
    **{name: Fault(about, _line(line)) for name, (about, line) in BAD_LINES.items()},
}
