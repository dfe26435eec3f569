"""A gateway among simulators that all can fail, in virtual time, and the list of its faults."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import shutil
import signal
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.clocks import Clocks
from tests.support.gateway import Gateway
from tests.support.scripted_broker import Peer, ScriptedBroker
from tests.support.until import until
from ztpd.daemon import Daemon
from ztpd.errors import ConfigError, ZtpdError
from ztpd.lifecycle import Activity, State
from ztpd.serialport.port import SerialPort
from ztpd.sim import corrections, mqtt_packets
from ztpd.sim.caster import Caster
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.portal import Profile
from ztpd.sim.proxy import FaultProxy, Line
from ztpd.sim.ztp_service import FAULTS as SERVICE_FAULTS
from ztpd.sim.ztp_service import Fault as ServiceFault
from ztpd.sim.ztp_service import ZtpService
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

_MINUTE_S, _HOUR_S = 60.0, 3600.0


class _Endless(deque[ServiceFault]):
    """One fault for every call, until it is replaced."""

    def __init__(self, fault: ServiceFault) -> None:
        super().__init__([fault])
        self.taken = 0

    def popleft(self) -> ServiceFault:
        self.taken += 1
        return self[0]


class Broker:
    """Publishes corrections to every client; ``fault`` holds for what it does from then on."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.fault = ""
        self._now = now
        self._client: Peer | None = None

    async def play(self, client: Peer) -> None:
        with suppress(OSError):  # such as TLS that lost bytes on a line that was silent
            await self._play(client)

    async def _play(self, client: Peer) -> None:
        if self.fault == "closes":
            return
        if code := {"unavailable": 3, "unauthorised": 5}.get(self.fault):
            await client.expect(mqtt_packets.CONNECT)
            client.send(mqtt_packets.connack(code))
            return
        if self.fault == "mute":
            while True:  # until the client gives up
                await client.packet()
        topics = await client.accept()
        if self._client is not None:
            self._client.close()  # a client has one session (MQTT 3.1.1, section 3.1.4)
        self._client = client
        publishing = asyncio.create_task(self._publish(client, topics))
        try:
            while True:
                if (await client.packet()).type == mqtt_packets.PINGREQ:
                    client.send(mqtt_packets.packet(mqtt_packets.PINGRESP))
        finally:
            publishing.cancel()

    async def _publish(self, client: Peer, topics: list[str]) -> None:
        start = corrections.spartn_time(self._now())
        pieces = corrections.coalesce(corrections.spartn(random.Random(1), start=start))
        async for piece in corrections.paced(pieces):
            topic = f"/pp/ip/eu/{piece.suffix}"
            topic = topic if topic in topics else "/pp/ip/eu"
            if self.fault != "mute" and topic in topics:
                client.send(mqtt_packets.publish(topic, piece.data))


class Site:
    """``source`` is the line to caster and broker, ``ztp`` that to the provisioning service."""

    daemon: Daemon

    def __init__(
        self, top: Path, protocol: str, rng: random.Random, clocks: Clocks | None = None
    ) -> None:
        self.clocks = clocks or Clocks()
        self.gateway = Gateway(top, clock=self.clocks.clock)
        self.rng = rng
        self.protocol = protocol
        self.forced = 0  # calls that a person asked for
        self.refused = 0  # calls that a fault of the service answered
        self.asked = 0  # control requests that end waits
        self.overdue: list[str] = []  # the watchdog would have ended the process
        self._running: AbstractAsyncContextManager[Daemon] | None = None
        self._held: SerialPort | None = None
        self.aside: list[asyncio.Task[None]] = []

    async def build(self, stack: AsyncExitStack) -> None:
        """Start the simulators, and write the configuration."""
        gateway, tls = self.gateway, self.gateway.authority.server_context()
        self.caster = await stack.enter_async_context(
            Caster({"NEAR-RTCM": self._rtcm}, tls=tls, needs_gga=True)
        )
        self.broker = Broker(self.clocks.true_unix_s)
        listening = await stack.enter_async_context(ScriptedBroker(self.broker.play, tls=tls))
        self.sources = [
            await stack.enter_async_context(FaultProxy("127.0.0.1", port))
            for port in (self.caster.port, listening.port)
        ]
        format = "spartn" if self.protocol == "mqtt" else "rtcm"
        self.service = await stack.enter_async_context(
            ZtpService(
                gateway.authority,
                profile=Profile(protocol=self.protocol, format=format),  # type: ignore[arg-type]
                caster_ports=(2101, self.sources[0].port),
                now=self.clocks.true_unix_s,
            )
        )
        portal = self.service.portal
        self.caster.users = {portal.username: portal.password.reveal()}
        self.ztp = await stack.enter_async_context(FaultProxy("127.0.0.1", self.service.port))
        self.modem = await stack.enter_async_context(SimModem(gateway.top / "modem", SARA_R5))
        self.receiver = await stack.enter_async_context(
            gateway.receiver(wall_clock=self.clocks.utc)
        )
        self.configure()

    def configure(self, **changes: dict[str, Any]) -> None:
        gateway = self.gateway
        tables: dict[str, dict[str, Any]] = {
            "ztp": {
                "url": f"https://localhost:{self.ztp.port}",
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
                "splay_s": 0,
            },
            "identity": {"source": "at", "port": gateway.top / "modem"},
            "receiver": {"port": gateway.gnss.path, "baudrate": 921_600},
            "ntrip": {"ca_file": gateway.ca_file},
            "mqtt": {"ca_file": gateway.ca_file, "port": self.sources[1].port},
        }
        for name, change in changes.items():
            tables[name] = tables.get(name, {}) | change
        gateway.configure(**tables)

    async def _rtcm(self) -> AsyncIterator[bytes]:
        pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
        async for piece in corrections.paced(pieces):
            yield piece.data

    async def start(self) -> None:
        """Nothing runs where the configuration is wrong: the process ends with status 78."""
        running = self.gateway.running()
        with suppress(ConfigError):
            self.daemon = await running.__aenter__()
            self._running = running

    async def stop(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            await running.__aexit__(None, None, None)

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def reboot(self) -> None:
        await self.stop()
        self._empty(self.gateway.runtime_dir)
        self.clocks.reboot(off_for_s=20.0)
        self.receiver.power_cycle()
        await self.start()

    async def forget(self) -> None:
        """Stop, and be a gateway that was never provisioned."""
        await self.stop()
        self._empty(self.gateway.runtime_dir)
        self._empty(self.gateway.state_dir)
        self.service.portal.things.clear()
        self.service.calls.clear()
        self.service.requests = 0
        self.clocks.reboot(off_for_s=20.0)

    @staticmethod
    def _empty(folder: Path) -> None:
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    async def close(self) -> None:
        for task in self.aside:
            task.cancel()
        await asyncio.gather(*self.aside, return_exceptions=True)
        self.release()
        await self.stop()

    async def ask(self, request: dict[str, Any]) -> None:
        with suppress(ZtpdError):  # such as a daemon that has stopped
            await offload(control.ask, self.gateway.runtime_dir, request)

    def aside_from(self, work: Coroutine[Any, Any, None]) -> None:
        self.aside.append(asyncio.create_task(work, name="chaos"))

    def reload(self) -> None:
        if self._running is not None:
            os.kill(os.getpid(), signal.SIGHUP)

    async def hold(self) -> None:
        """Another program opens the receiver's port, once it can."""
        while self._held is None:
            try:
                self._held = await SerialPort.open(self.gateway.gnss.path, 38_400)
            except Exception:
                await asyncio.sleep(1)

    def release(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    async def watch(self) -> None:
        """Look for a state that lasts longer than the watchdog allows."""
        while True:
            await asyncio.sleep(5)
            present = self.daemon.present
            if self.is_stopped:
                continue
            if present.state is not State.STREAMING and present.is_overdue(None):
                self.overdue.append(present.state.value)

    @property
    def is_stopped(self) -> bool:
        return self._running is None

    @property
    def is_well(self) -> bool:
        """Corrections flow, and the receiver reports that it uses them."""
        return (
            self.daemon.present.state is State.STREAMING and self.daemon.receiver.view.use == "used"
        )

    async def well(self, within_s: float) -> float:
        return await until(lambda: self.is_well, within_s)

    def footprint(self) -> tuple[Counter[str], int]:
        """Tasks by name, or by coroutine where they have none; and open descriptors."""
        gc.collect()
        tasks = Counter(
            task.get_coro().__qualname__  # type: ignore[union-attr]
            if task.get_name().startswith("Task-")
            else task.get_name()
            for task in asyncio.all_tasks()
            if task.get_name() != "chaos"
        )
        return tasks, len(os.listdir("/proc/self/fd"))

    @property
    def activities(self) -> list[str]:
        names = {each.value for each in Activity}
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name() in names]


Act = Callable[[Site], Any]


class Fault(NamedTuple):
    """``strike`` and ``heal`` may be coroutine functions. ``back_s``: the longest wait that the
    daemon documents after it (docs/faults.md, the caps of ztpd.retry)."""

    room: str
    name: str
    strike: Act
    heal: Act = lambda _: None
    back_s: float = 300.0
    longest_s: float = 600.0


def _lines(site: Site) -> list[FaultProxy]:
    return [*site.sources, site.ztp]


def _each(what: Callable[[FaultProxy], Any]) -> Act:
    async def act(site: Site) -> None:
        for line in _lines(site):
            if asyncio.iscoroutine(found := what(line)):
                await found

    return act


def _down(line: FaultProxy) -> None:
    line.refuse()
    line.cut()


def _line(line: Line) -> Callable[[FaultProxy], None]:
    def act(proxy: FaultProxy) -> None:
        proxy.to_client = line

    return act


def _network() -> list[Fault]:
    heal = _each(FaultProxy.heal)
    return [
        Fault("network", "reset", _each(FaultProxy.reset), longest_s=0),
        Fault("network", "half open", _each(FaultProxy.half_open), longest_s=0),
        Fault("network", "down", _each(_down), _each(FaultProxy.listen)),
        Fault("network", "silent", _each(FaultProxy.go_silent), heal),
        Fault("network", "slow", _each(_line(Line(latency_s=0.6, bytes_per_s=8000))), heal),
        Fault("network", "cut each 3 kB", _each(_line(Line(reset_at=3000))), heal, _HOUR_S / 2),
    ]


def _service(name: str, fault: ServiceFault) -> Fault:
    def strike(site: Site) -> None:
        site.service.script = _Endless(fault)

    def heal(site: Site) -> None:
        script, site.service.script = site.service.script, deque()
        site.refused += script.taken if isinstance(script, _Endless) else 0

    return Fault("service", name, strike, heal, _HOUR_S)


def _portal(**changed: Any) -> tuple[Act, Act]:
    def strike(site: Site) -> None:
        portal = site.service.portal
        portal.profile = replace(portal.profile, **changed)

    def heal(site: Site) -> None:
        back = {name: getattr(Profile(), name) for name in changed}
        site.service.portal.profile = replace(site.service.portal.profile, **back)

    return strike, heal


_CASTER = {
    "unauthorized": _HOUR_S,
    "forbidden": _HOUR_S,
    "not-found": _HOUR_S,
    "sourcetable": _HOUR_S,
    "banned": _HOUR_S,
    "unavailable": _HOUR_S,
    "no-answer": 300.0,
    "half-head": 300.0,
    "endless-head": 300.0,
    "bad-chunks": _HOUR_S,
    "silent": _HOUR_S,
    "stall": _HOUR_S,
    "short-life": _HOUR_S / 2,
    "bad-crc": 300.0,
    "noise": 300.0,
    "empty": _HOUR_S,
    "cmr": _HOUR_S,
    "rtcm2": _HOUR_S,
    "digest": _HOUR_S,
    "redirect": _HOUR_S,
    "reset": 300.0,
}
_BROKER = {"unauthorised": _HOUR_S, "unavailable": 300.0, "closes": _HOUR_S, "mute": _HOUR_S}


def _caster(fault: str, back_s: float) -> Fault:
    def strike(site: Site) -> None:
        site.caster.fault = fault
        site.caster.end_sessions()

    def heal(site: Site) -> None:
        site.caster.fault = ""

    return Fault("caster", fault, strike, heal, back_s)


def _broker(fault: str, back_s: float) -> Fault:
    def strike(site: Site) -> None:
        site.broker.fault = fault
        site.sources[1].cut()

    def heal(site: Site) -> None:
        site.broker.fault = ""

    return Fault("broker", fault, strike, heal, back_s)


def _receiver(name: str, value: object, back_s: float = 180.0) -> Fault:
    before: dict[str, object] = {}

    def strike(site: Site) -> None:
        before[name] = getattr(site.receiver.faults, name)
        setattr(site.receiver.faults, name, value)

    def heal(site: Site) -> None:
        setattr(site.receiver.faults, name, before[name])

    return Fault("receiver", name, strike, heal, back_s)


def _unplug(site: Site) -> None:
    site.gateway.gnss.unplug()
    site.receiver.power_cycle()


def _busy(site: Site) -> None:
    site.gateway.gnss.unplug()
    site.gateway.gnss.plug()
    site.aside_from(site.hold())


def _devices() -> list[Fault]:
    plug: Act = lambda site: site.gateway.gnss.plug()  # noqa: E731 - one of many in a table
    return [
        Fault("receiver", "unplugged", _unplug, plug),
        Fault("receiver", "plugged again", lambda site: site.gateway.gnss.replug(), longest_s=0),
        Fault("receiver", "restarted", lambda site: site.receiver.power_cycle(), longest_s=0),
        Fault("receiver", "port held", _busy, lambda site: site.release(), longest_s=120),
        _receiver("sends_nothing", True),
        _receiver("hears_nothing", True),
        _receiver("ignores_input", True),
        _receiver("stuck", True),
        _receiver("no_sky", True),
        _receiver("tunnel", True),
        _receiver("never_fixed", True),
        _receiver("answer_delay_s", 3.0),
        Fault("modem", "unplugged", lambda s: s.modem.pty.unplug(), lambda s: s.modem.pty.plug()),
        Fault(
            "modem",
            "hung",
            lambda site: setattr(site.modem.engine, "_hung", True),
            lambda site: setattr(site.modem.engine, "_hung", False),
        ),
    ]


def _in_the_way(folder: str, name: str) -> Fault:
    def place(site: Site) -> Path:
        top: Path = getattr(site.gateway, folder)
        return top / name

    def strike(site: Site) -> None:
        place(site).unlink(missing_ok=True)
        with suppress(FileExistsError):
            place(site).mkdir()

    def heal(site: Site) -> None:
        with suppress(OSError):
            place(site).rmdir()

    return Fault("disk", f"{name} cannot be written", strike, heal)


def _slow(site: Site) -> None:
    for name in ("ztp-schedule.json", "refused.json"):
        with suppress(FileExistsError):
            os.mkfifo(site.gateway.state_dir / f".{name}.{os.getpid()}")


def _fast(site: Site) -> None:
    for name in ("ztp-schedule.json", "refused.json"):
        path = site.gateway.state_dir / f".{name}.{os.getpid()}"
        with suppress(OSError):  # a writer that waits gets a reader, and fails at its fsync
            os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        path.unlink(missing_ok=True)


def _mode(mode: int) -> Act:
    return lambda site: site.gateway.state_dir.chmod(mode)


def _disk() -> list[Fault]:
    return [
        Fault("disk", "directory open to others", _mode(0o755), _mode(0o700), _HOUR_S),
        Fault("disk", "slow", _slow, _fast, longest_s=20),
        _in_the_way("state_dir", "credentials.json.new"),
        _in_the_way("runtime_dir", "status.json"),
        _in_the_way("runtime_dir", "sessions.json"),
    ]


def _clock(off_s: float) -> Fault:
    def strike(site: Site) -> None:
        site.clocks.off_s = off_s

    def heal(site: Site) -> None:
        site.clocks.off_s = 0.0

    return Fault("clock", f"{off_s / _HOUR_S:+.0f} h", strike, heal)


def _reload(name: str, **changes: dict[str, Any]) -> Fault:
    def strike(site: Site) -> None:
        site.configure(**changes)
        site.reload()

    def heal(site: Site) -> None:
        site.configure()
        site.reload()

    return Fault("reload", name, strike, heal)


def _broken(site: Site) -> None:
    path = site.gateway.top / "ztpd.toml"
    path.write_text(path.read_text() + "[ntrip]\n")
    site.reload()


async def _mended(site: Site) -> None:
    site.configure()
    if site.is_stopped:
        await site.start()
    site.reload()


async def _reloads(site: Site) -> None:
    for number in range(8):
        site.configure(corrections={"queue_bytes": 20_000 + number})
        site.reload()
        await asyncio.sleep(site.rng.uniform(0, 3))


def _request(verb: Verb, *, force: bool = False, times: int = 1) -> Fault:
    async def strike(site: Site) -> None:
        for _ in range(times):
            site.forced += force
            site.asked += 1
            await site.ask({"do": verb} | ({"force": True} if force else {}))
            await asyncio.sleep(site.rng.uniform(0, 20))

    back_s = _HOUR_S if force else 300.0  # by force the next waits are those of a call
    return Fault("request", f"{verb.value}{' --force' * force}", strike, back_s=back_s)


def _restarts(name: str, again: Act, times: int = 1) -> Fault:
    async def strike(site: Site) -> None:
        for _ in range(times):
            await again(site)
            await asyncio.sleep(site.rng.uniform(0, 15))

    return Fault("restart", name, strike, longest_s=0)


FAULTS: list[Fault] = [
    *_network(),
    *(_service(name, fault) for name, fault in SERVICE_FAULTS.items() if name != "bomb"),
    Fault("service", "profile off", *_portal(enabled=False), _HOUR_S),
    *(_caster(name, back_s) for name, back_s in _CASTER.items()),
    *(_broker(name, back_s) for name, back_s in _BROKER.items()),
    *_devices(),
    *_disk(),
    *(_clock(hours * _HOUR_S) for hours in (-100_000, -2, 2, 48)),
    _reload("interval", ntrip={"gga_interval_s": 5}),
    _reload("tags", ztp={"tags": ["a"]}),
    _reload("queue", corrections={"queue_bytes": 20_000}),
    Fault("reload", "broken file", _broken, _mended),
    Fault("reload", "eight", _reloads, _mended),
    _request(Verb.RETRY, times=5),
    _request(Verb.PROVISION, times=3),
    _request(Verb.PROVISION, force=True, times=2),
    _request(Verb.RECEIVER, times=3),
    Fault(
        "request",
        "paused",
        lambda site: site.ask({"do": Verb.PAUSE}),
        lambda site: site.ask({"do": Verb.RESUME}),
    ),
    _request(Verb.TIME),
    _restarts("once", Site.restart),
    _restarts("five times", Site.restart, times=5),
    _restarts("reboot", Site.reboot),
]


def draw(rng: random.Random, protocol: str, *, is_early: bool) -> list[Fault]:
    """One to three faults of different rooms, of those that the gateway meets."""
    idle = {"ntrip": {"broker"}, "mqtt": {"caster"}, "both": set[str]()}[protocol]
    idle |= set() if is_early else {"service", "modem"}
    rooms = sorted({fault.room for fault in FAULTS} - idle)
    chosen = rng.sample(rooms, rng.randint(1, 3))
    return [rng.choice([fault for fault in FAULTS if fault.room == room]) for room in chosen]
