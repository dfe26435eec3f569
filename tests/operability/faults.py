"""Twenty faults, one to three of each group of the fault matrix, each around the real daemon.

``python tests/operability/faults.py > docs/operability.md`` measures them and prints the page.
"""

from __future__ import annotations

import asyncio
import fcntl
import itertools
import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from tests.operability import verdicts
from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.scripted_broker import Peer, ScriptedBroker
from tests.support.until import until
from ztpd import check, config, events, status
from ztpd.cli.status import render
from ztpd.daemon import Daemon
from ztpd.health import Health, cause, health
from ztpd.model import utc
from ztpd.provisioning import http
from ztpd.serialport.access import absent
from ztpd.sim import corrections
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.caster import Caster
from ztpd.sim.modem import SARA_R5, ModemModel, SimModem
from ztpd.sim.mqtt_packets import CONNECT, connack
from ztpd.sim.portal import Profile
from ztpd.sim.receiver import F9P, F9P_OLD
from ztpd.sim.ztp_service import Answer, ZtpService
from ztpd.status import Status
from ztpd.system import control
from ztpd.system.clock import Clock
from ztpd.system.control import Verb
from ztpd.system.offload import offload

WITHIN_S = 10.0
SURE_AFTER_S = 60.0  # a receiver has 40 s to use its corrections
TOPIC = "corrections/base"
MOUNTPOINT = "NEAR"
LONG_AGO = datetime(2020, 1, 1)


async def rtcm() -> AsyncIterator[bytes]:
    async for piece in corrections.paced(corrections.rtcm(random.Random(1)), speed=5):
        yield piece.data


async def spartn() -> AsyncIterator[bytes]:
    async for piece in corrections.paced(corrections.spartn(random.Random(1)), speed=20):
        yield piece.data


async def encrypted() -> AsyncIterator[bytes]:
    made = corrections.spartn(random.Random(1), encrypted=True)
    async for piece in corrections.paced(made, speed=20):
        yield piece.data


@dataclass
class Site:
    """A gateway with its devices and services. ``stack`` ends all of them."""

    gateway: Gateway
    stack: AsyncExitStack
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    clock: Clock = field(default_factory=Clock)

    def write(self) -> Path:
        return self.gateway.configure(**self.tables)

    async def receiver(self, **options: Any) -> None:
        await self.stack.enter_async_context(self.gateway.receiver(speed=5.0, **options))

    async def modem(self, model: ModemModel = SARA_R5) -> None:
        path = self.gateway.top / "modem"
        self.tables["identity"] |= {"port": path, "baudrate": 115200}
        await self.stack.enter_async_context(SimModem(path, model, scale=0.05))

    async def ztp(self, *, profile: Profile | None = None, script: tuple[Answer, ...] = ()) -> None:
        """The provisioning service, and a gateway that has yet to ask it."""
        service = ZtpService(self.gateway.authority, profile=profile, script=script)
        await self.stack.enter_async_context(service)
        self.tables["ztp"] = {
            "url": service.url,
            "ca_file": self.gateway.ca_file,
            "token_file": self.gateway.token_file,
            "splay_s": 0,
        }
        self.tables["identity"] = {"source": "at", "timeout_s": 5}

    async def caster(
        self, feed: Callable[[], AsyncIterator[bytes]] = rtcm, **options: Any
    ) -> Caster:
        """A private caster, for which no provisioning is needed."""
        options = {"tls": self.gateway.authority.server_context()} | options
        caster = Caster({MOUNTPOINT: feed}, **options)
        await self.stack.enter_async_context(caster)
        self.tables["ntrip"] = {
            "host": "localhost",
            "port": caster.port,
            "mountpoint": MOUNTPOINT,
            "ca_file": self.gateway.ca_file,
        }
        return caster

    async def broker(self, script: Callable[[Peer], Awaitable[None]]) -> None:
        tls = self.gateway.authority.server_context()
        broker = await self.stack.enter_async_context(ScriptedBroker(script, tls=tls))
        self.tables["mqtt"] = {
            "host": "localhost",
            "port": broker.port,
            "topics": [TOPIC],
            "ca_file": self.gateway.ca_file,
        }
        self.tables["corrections"] = {"stale_after_s": 6}

    def stored(self, content: dict[str, Any], mode: int = 0o600) -> None:
        path = self.gateway.state_dir / "credentials.json"
        path.write_text(json.dumps(content))
        path.chmod(mode)


async def no_modem(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    site.tables["identity"]["port"] = site.gateway.top / "modem"


async def silent_modem(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    await site.modem(ModemModel("silent", {}, hangs=True))


async def no_such_name(site: Site) -> None:
    await site.receiver()
    await site.caster()
    site.tables["ntrip"]["host"] = "caster.invalid"


async def captive_portal(site: Site) -> None:
    page = Answer(200, "<html><title>Welcome to the hotel</title></html>")
    await site.ztp(script=(page,) * 20)
    await site.receiver()
    await site.modem()


async def untrusted(site: Site) -> None:
    await site.receiver()
    await site.caster(tls=Authority().server_context())


async def not_listed(site: Site) -> None:
    await site.ztp(profile=Profile(allowlist=frozenset()))
    await site.receiver()
    await site.modem()


async def no_token(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    await site.modem()
    site.gateway.token_file.unlink()


async def readable_by_others(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    await site.modem()
    site.stored({}, mode=0o644)


async def newer_store(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    await site.modem()
    site.stored({"format": 9})


async def clock_at_1970(site: Site) -> None:
    await site.ztp()
    await site.receiver()
    await site.modem()
    site.clock = Clock(now=lambda: 12.0, synchronised=lambda: False)


async def expired_certificate(site: Site) -> None:
    await site.receiver()
    await site.caster(tls=server_context(site.gateway.authority.server(not_after=LONG_AGO)))


async def broker_refuses(site: Site) -> None:
    async def refuse(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack(5))

    await site.receiver()
    await site.broker(refuse)


async def broker_is_silent(site: Site) -> None:
    async def accept(client: Peer) -> None:
        await client.accept()
        while True:
            await client.packet()

    await site.receiver()
    await site.broker(accept)


async def wrong_password(site: Site) -> None:
    await site.receiver()
    await site.caster(users={"gateway": "planted-secret-1"})
    password = site.gateway.top / "password"
    password.write_text("planted-secret-2")
    site.tables["ntrip"] |= {"username": "gateway", "password_file": password}


async def no_mountpoint(site: Site) -> None:
    await site.receiver()
    await site.caster()
    site.tables["ntrip"]["mountpoint"] = "FAR"


async def no_receiver(site: Site) -> None:
    await site.caster()


async def receiver_in_use(site: Site) -> None:
    await site.receiver()
    await site.caster()
    site.stack.enter_context(_another_user(site.gateway.gnss.path))


@contextmanager
def _another_user(port: str) -> Iterator[None]:
    """A process that has the port open and locked, as gpsd does."""
    device = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    try:
        fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process = subprocess.Popen(["sleep", "60"], pass_fds=[device])
    finally:
        os.close(device)
    try:
        yield
    finally:
        process.kill()
        process.wait()


async def no_spartn(site: Site) -> None:
    await site.receiver(model=F9P_OLD)
    await site.caster(spartn)


async def no_key(site: Site) -> None:
    await site.receiver(model=F9P, key=bytes(16))
    await site.caster(encrypted)


async def broken_reload(site: Site) -> None:
    await site.receiver()
    await site.caster()


async def break_configuration(site: Site) -> None:
    runtime_dir = site.gateway.runtime_dir
    await until(lambda: health(status.read(runtime_dir), is_running=True) is Health.HEALTHY)
    path = site.gateway.top / "ztpd.toml"
    path.write_text(path.read_text() + "[ntrip]\n")
    os.kill(os.getpid(), signal.SIGHUP)


async def _nothing(_: Site) -> None:
    """The fault is there from the start."""


class Fault(NamedTuple):
    id: str
    about: str
    event: str
    prepare: Callable[[Site], Awaitable[None]]
    strike: Callable[[Site], Awaitable[None]] = _nothing
    within_s: float = WITHIN_S
    port: str = ""  # the one that is not there: its advice in a container is another

    def advice(self, top: Path) -> str:
        """The remedy on this machine, for a gateway in ``top``."""
        own = absent(str(top / self.port)).own_advice if self.port else ""
        return own or action(self.event)


FAULTS = (
    Fault("M01", "the modem's port is not there", "modem.absent", no_modem, port="modem"),
    Fault("M02", "the modem does not answer", "modem.silent", silent_modem),
    Fault("N02", "the caster's name is unknown", "net.dns", no_such_name),
    Fault("N13", "a hotspot's page answers", "ztp.captive_portal", captive_portal),
    Fault("N14", "a certificate of an unknown issuer", "tls.untrusted", untrusted),
    Fault("Z04", "the IMEI is not on the allowlist", "ztp.refused.not_listed", not_listed),
    Fault("Z14", "there is no token", "ztp.token_missing", no_token),
    Fault("S10", "others can read the credentials", "store.unsafe", readable_by_others),
    Fault("S16", "the credentials are a newer version's", "store.version", newer_store),
    Fault("C01", "the clock shows 1970", "clock.unset", clock_at_1970),
    Fault("N16", "the server's certificate has expired", "tls.clock", expired_certificate),
    Fault("Q04", "the broker refuses the log-in", "mqtt.account_refused", broker_refuses),
    Fault("Q10", "the broker sends nothing", "session.stale", broker_is_silent),
    Fault("R01", "the caster refuses the password", "ntrip.account_refused", wrong_password),
    Fault("R03", "the mountpoint does not exist", "ntrip.mountpoint", no_mountpoint),
    Fault("U01", "the receiver's port is not there", "serial.absent", no_receiver, port="gnss"),
    Fault("U08", "another program has the receiver", "serial.busy", receiver_in_use),
    Fault("G05", "the receiver knows no SPARTN", "gnss.no_spartn", no_spartn),
    Fault("G07", "the receiver has no key", "gnss.not_used.no_key", no_key, within_s=SURE_AFTER_S),
    Fault(
        "D06",
        "a broken file is reloaded",
        "config.reload_failed",
        broken_reload,
        break_configuration,
    ),
)


@dataclass
class Seen:
    """The three diagnoses of one fault."""

    journal: list[tuple[str, str]]  # event and line
    reported: Status
    screen: str
    found: list[check.Result]
    after_s: float

    @property
    def line(self) -> str:
        """The journal lines about the status's cause."""
        event = _named(self.reported)
        return next((text for name, text in self.journal if name == event), "")


class _Journal(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.lines: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append((str(getattr(record, "ZTPD_EVENT", "")), record.getMessage()))


@contextmanager
def _journal() -> Iterator[_Journal]:
    journal, logger = _Journal(), logging.getLogger("ztpd")
    before = logger.level
    logger.addHandler(journal)
    logger.setLevel(logging.INFO if before == logging.NOTSET else before)
    try:
        yield journal
    finally:
        logger.removeHandler(journal)
        logger.setLevel(before)


@asynccontextmanager
async def _running(site: Site, path: Path) -> AsyncIterator[None]:
    daemon = Daemon(
        config.load(path),
        state_dir=site.gateway.state_dir,
        runtime_dir=site.gateway.runtime_dir,
        environ={},
        reload=lambda: config.load(path),
        clock=site.clock,
        post=http.post,
    )
    running = asyncio.create_task(daemon.run())
    try:
        yield
    finally:
        daemon.stop()
        async with asyncio.timeout(10):
            await running


async def observe(fault: Fault, top: Path) -> Seen:
    """Run the daemon in ``fault`` until its status names a cause, and ask all three."""
    loop = asyncio.get_running_loop()
    async with AsyncExitStack() as stack:
        site = Site(Gateway(top), stack)
        await fault.prepare(site)
        path = site.write()
        journal = stack.enter_context(_journal())
        await stack.enter_async_context(_running(site, path))
        began_s = loop.time()
        await fault.strike(site)
        with suppress(AssertionError):  # the caller compares the state at that time
            await until(lambda: _event(site) == fault.event, within_s=fault.within_s)
        after_s = loop.time() - began_s
        runtime_dir = site.gateway.runtime_dir
        answer = await offload(control.ask, runtime_dir, {"do": Verb.STATUS})
        reported = status.from_json(answer["status"])
        found = await site.gateway.checked(reported, clock=site.clock)
        now = utc(site.clock.now())
        screen = render(reported, is_running=True, now=now, clock=site.clock.describe())
        return Seen(journal.lines, reported, screen, found, after_s)


def _event(site: Site) -> object:
    return _named(status.read(site.gateway.runtime_dir))


def _named(reported: Status) -> str:
    known = cause(reported)
    return known.event if known else ""


def action(event: str) -> str:
    """The declared remedy."""
    return next(each.remedy for each in events.every() if each.name == event)


def row(fault: Fault, seen: Seen) -> str:
    """One line of the table; the same at every run."""
    broken = check.document(seen.found)
    named = {fault.event} <= {name for name, _ in seen.journal}
    reported = _named(seen.reported)
    same = "same" if named and reported == broken["event"] == fault.event else "DIFFERENT"
    layer = check.LINKS.get(str(broken["layer"]), "none")
    word = health(seen.reported, is_running=True).value
    return f"| {fault.id} | {fault.about} | `{fault.event}` | {same} | {word} | {layer} |"


HEAD = """# Twenty faults, and their diagnosis

Measured by `tests/operability`: the real daemon against simulated devices and services, one fault
at a time. In each, within 10 s (40 s more if a receiver has to use its corrections), the
journal, `ztpd status` and `ztpd check` name the same cause and the same action. "same" means that
they did. [events.md](events.md) has the meaning of each event.

| number | fault | cause, in all three | they agree | status | check stops at |
| --- | --- | --- | --- | --- | --- |
"""
ACTIONS = "\n## Their remedies\n\n| cause | action |\n| --- | --- |\n"


def page(rows: dict[str, str], sections: Iterable[str]) -> str:
    """``rows`` by the fault's number, ``sections`` one for each of the verdicts."""
    causes = dict.fromkeys(fault.event for fault in FAULTS)
    actions = "".join(f"| `{event}` | {action(event)} |\n" for event in causes)
    table = "".join(f"{rows[fault.id]}\n" for fault in FAULTS)
    return f"{HEAD}{table}{ACTIONS}{actions}{verdicts.HEAD}{''.join(sections)}"


def main() -> None:
    rows = {}
    for fault, number in zip(FAULTS, itertools.count(), strict=False):
        with tempfile.TemporaryDirectory(prefix=f"ztpd-{number}-") as top:
            rows[fault.id] = row(fault, asyncio.run(observe(fault, Path(top))))
        print(rows[fault.id], file=sys.stderr)
    sections = []
    for verdict in verdicts.VERDICTS:
        with tempfile.TemporaryDirectory(prefix="ztpd-verdict-") as top, _journal():
            seen = virtualtime.run(verdicts.observe(verdict, Path(top)))
            sections.append(verdicts.section(verdict, seen))
        print(sections[-1], file=sys.stderr)
    print(page(rows, sections), end="")


if __name__ == "__main__":
    main()
