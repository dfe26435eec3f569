"""``ztpd demo``: simulated devices and services on this machine, and the real daemon.

The daemon is a separate process; it knows only its configuration file.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from ztpd import status
from ztpd.demo.console import Console
from ztpd.demo.faults import FAULTS
from ztpd.demo.process import DaemonProcess
from ztpd.demo.site import ONCE_WITHIN_S, Fault, Site
from ztpd.errors import UsageError
from ztpd.health import causes
from ztpd.model import DynamicKey, Frame, FrameKind, Secret
from ztpd.sim import corrections
from ztpd.sim.authority import Authority
from ztpd.sim.broker import Broker
from ztpd.sim.caster import Caster
from ztpd.sim.corrections import Piece
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.portal import Profile
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, SimReceiver
from ztpd.sim.ztp_service import ZtpService
from ztpd.status import Status
from ztpd.wire import ubx

_LOOK_S = 0.25
_JOURNAL_LINE = re.compile(r"^[0-9:]{8} \S+ +")
_FASTER = 5.0  # than real SPARTN, which comes every 5 s; RTCM comes each second anyway


class Demo:
    """One run."""

    broker: Broker
    caster: Caster
    backup: Caster  # for a fault that has one
    proxy: FaultProxy  # between the daemon and either of them
    service: ZtpService
    receiver: SimReceiver
    needs_gga = True  # the caster

    def __init__(self, options: argparse.Namespace, console: Console, directory: Path) -> None:
        self._options = options
        self._console = console
        self._directory = directory
        self._daemon = DaemonProcess(directory)
        self._authority = _authority(options.via)
        self._fault = FAULTS[options.fault] if options.fault else None
        self._within_s = self._fault.within_s if self._fault else ONCE_WITHIN_S
        self._gnss = Pty(directory / "dev/gnss")
        self._background: set[asyncio.Task[None]] = set()
        self._faulty: set[asyncio.Task[None]] = set()  # those that end a fault
        self._silence = asyncio.Event()
        self._fault_injected = False
        self._wanted = 1  # corrections at the receiver
        self._connections = 0  # through the proxy

    async def run(self) -> bool:
        """Whether the receiver reached RTK fixed with the corrections."""
        async with AsyncExitStack() as stack:
            await self._start_simulators(stack)
            daemon = self._daemon
            daemon.prepare(self._configuration(), self.service.portal.profile.token)
            if self._fault:
                self._console.name_fault(self._fault.about)
                self._fault.early(self._site())
            self._console.tell("demo", f"starts the real daemon: ztpd run --config {daemon.config}")
            journal = await daemon.start()
            self._console.name_commands(
                tuple(f"{daemon.command} {verb}" for verb in ("status", "check"))
            )
            telling = asyncio.create_task(self._tell_journal(journal))
            try:
                return await self._watch()
            finally:
                for task in self._background:
                    task.cancel()
                await daemon.stop()
                await telling

    async def _start_simulators(self, stack: AsyncExitStack) -> None:
        options, teller = self._options, self._console.teller
        tls = self._authority.server_context() if self._authority else None
        if tls is None:
            self._console.tell("demo", "goes without TLS, since python3-trustme is not installed")
        if options.via == "mqtt":
            self.broker = await stack.enter_async_context(
                Broker(self._authority, say=teller("broker"))
            )
            if self.broker.engine == "amqtt":
                self._console.tell("broker", "mosquitto is not installed; amqtt takes its place")
                self._console.tell("broker", "and lets clients in without their certificates")
        else:
            mountpoint = f"NEAR-{options.format.upper()}"
            self.caster = await stack.enter_async_context(
                Caster(
                    {mountpoint: self._blocks},
                    tls=tls,
                    needs_gga=self.needs_gga,
                    say=teller("caster"),
                )
            )
        if self._fault and self._fault.backup:
            self.backup = await stack.enter_async_context(
                Caster({"BACKUP": _backup_blocks}, say=teller("backup"))
            )
        source = self.broker if options.via == "mqtt" else self.caster
        self.proxy = await stack.enter_async_context(
            FaultProxy(source.host, source.port, say=teller("line"))
        )
        self.service = await stack.enter_async_context(
            ZtpService(
                self._authority,
                profile=Profile(
                    service=options.service, format=options.format, protocol=options.via
                ),
                caster_ports=(self.proxy.port, self.proxy.port),
                say=teller("ztp"),
            )
        )
        keys = self.service.portal.keys
        modem = SimModem(self._directory / "dev/modem", SARA_R5, say=teller("modem"))
        await stack.enter_async_context(modem)
        await stack.enter_async_context(self._gnss)
        self.receiver = await stack.enter_async_context(
            self._make_receiver(key=bytes.fromhex(keys["current"]["value"]), say=teller("receiver"))
        )
        if options.via == "mqtt":
            await self._publish_keys()
            self._spawn(self._publish())

    def _make_receiver(self, **options: Any) -> SimReceiver:
        return SimReceiver(self._gnss, self._fault.model if self._fault else F9P, **options)

    def _site(self) -> Site:
        return Site(
            proxy=self.proxy,
            service=self.service,
            receiver=self.receiver,
            gnss=self._gnss,
            daemon=self._daemon,
            silence=self._silence,
            causes=lambda: causes(status.read(self._daemon.runtime_dir)),
            restart_source=self._restart_source,
            tell=self._console.tell,
            spawn=self._spawn_fault,
        )

    def _configuration(self) -> str:
        """The daemon's configuration. It names the ports, since none of them is on USB."""
        top, via = self._directory, self._options.via
        lines = [
            "[ztp]",
            f'url = "{self.service.url}"',
            f'service = "{self._options.service}"',
            f'token_file = "{self._daemon.token}"',
            'tags = ["demo"]',
            "splay_s = 0",
            "[identity]",
            'source = "at"',
            f'port = "{top}/dev/modem"',
            "[receiver]",
            f'port = "{self._gnss.path}"',
            "[corrections]",
            f'prefer = ["{via}"]',
            f"[{via}]",
        ]
        if via == "mqtt":
            lines.append(f"port = {self.proxy.port}")
        if self._authority:
            authority = f'ca_file = "{self._authority.write(top / "authority.pem")}"'
            lines.append(authority)
            lines.insert(1, authority)
        else:
            lines.append("tls = false")
        if self._fault and self._fault.backup:
            lines += ["[[backup]]", 'name = "second service"', 'mountpoint = "BACKUP"']
            lines.append("tls = false")
            lines += [f'host = "{self.backup.host}"', f"port = {self.backup.port}"]
        return "\n".join(lines) + "\n"

    async def _tell_journal(self, journal: asyncio.StreamReader) -> None:
        """Print the daemon's journal lines with the times of the demo instead of their own."""
        async for line in journal:
            text = line.decode(errors="replace").rstrip()
            self._console.tell(
                "ztpd", _JOURNAL_LINE.sub("", text).replace(f"{self._directory}/", "")
            )

    async def _watch(self) -> bool:
        """Watch daemon and receiver until corrections are in use."""
        due_s, announced = time.monotonic() + self._within_s, False
        while self._daemon.ended_with is None:
            seen = status.read(self._daemon.runtime_dir)
            self._console.show(seen)
            if self._proven(seen) and not announced:
                self._console.tell("demo", "RTK fixed, by corrections that the receiver used")
                if self._fault and self._fault.late and not self._fault_injected:
                    self._inject_late_fault(self._fault)
                    due_s = time.monotonic() + self._within_s
                    continue
                if self._options.once:
                    return True
                self._console.tell("demo", "goes on until Ctrl-C")
                announced = True
            if self._options.once and time.monotonic() > due_s:
                self._console.tell("demo", f"not RTK fixed within {self._within_s:.0f} s")
                return False
            await asyncio.sleep(_LOOK_S)
        self._console.tell("demo", f"the daemon ended with status {self._daemon.ended_with}")
        return False

    def _proven(self, seen: Status) -> bool:
        """The receiver uses corrections and is RTK fixed, and the daemon knows it."""
        if self.proxy.connections < self._connections:
            self._expect_more()
        fresh = len(self.receiver.corrections()) >= self._wanted
        return (
            fresh
            and not self._faulty
            and self.receiver.used > 0
            and self.receiver.stage == "RTK fixed"
            and (seen.receiver.use, seen.receiver.fix) == ("used", "RTK fixed")
        )

    def _inject_late_fault(self, fault: Fault) -> None:
        """Inject the fault; from now on only later corrections count."""
        self._fault_injected = True
        self._connections = self.proxy.connections + fault.breaks
        self._expect_more()
        if fault.late:
            fault.late(self._site())

    def _expect_more(self) -> None:
        self._wanted = len(self.receiver.corrections()) + 12

    def _restart_source(self) -> None:
        if self._options.via == "mqtt":
            self._spawn(self.broker.restart())
        else:
            self.caster.end_sessions()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _spawn_fault(self, coroutine: Coroutine[Any, Any, None]) -> None:
        """Run the end of a fault; before that the demonstration does not end."""
        task = self._spawn(coroutine)
        self._faulty.add(task)
        task.add_done_callback(self._faulty.discard)

    async def _publish_keys(self) -> None:
        keys = [
            DynamicKey(Secret(key["value"]), key["start"], key["duration"])
            for key in self.service.portal.keys.values()
        ]
        await self.broker.publish("/pp/ubx/0236/ip", ubx.spartn_keys(keys), retain=True)

    async def _publish(self) -> None:
        async for piece in corrections.paced(self._pieces(), speed=self._speed):
            if self._silence.is_set():
                continue
            part = f"/{piece.suffix}" if piece.suffix else ""
            await self.broker.publish(f"/pp/ip/eu{part}", piece.data)
            if part:
                await self.broker.publish("/pp/ip/eu", piece.data)

    async def _blocks(self) -> AsyncIterator[bytes]:
        async for piece in corrections.paced(self._pieces(), speed=self._speed):
            if not self._silence.is_set():
                yield piece.data

    @property
    def _speed(self) -> float:
        return _FASTER if self._options.format == "spartn" else 1.0

    def _pieces(self) -> Iterator[Piece]:
        options, rng = self._options, random.Random()
        if options.capture:
            return corrections.replay(captured(options))
        if options.format == "rtcm":
            return corrections.coalesce(corrections.rtcm(rng))
        now = corrections.spartn_time(time.time())
        encrypted = options.via == "mqtt"  # like the service
        return corrections.coalesce(corrections.spartn(rng, encrypted=encrypted, start=now))


async def _backup_blocks() -> AsyncIterator[bytes]:
    pieces = corrections.rtcm(random.Random(), station=corrections.BACKUP_STATION)
    async for piece in corrections.paced(corrections.coalesce(pieces)):
        yield piece.data


def _authority(via: str) -> Authority | None:
    """None where the package that it needs is missing: then the services go without TLS.

    MQTT needs it, since a client of the service logs in by its certificate.
    """
    try:
        return Authority()
    except ModuleNotFoundError:
        if via == "mqtt":
            raise
        return None


def captured(options: argparse.Namespace) -> Sequence[Frame]:
    kind = FrameKind.RTCM3 if options.format == "rtcm" else FrameKind.SPARTN
    try:
        return corrections.captured(options.capture, kind)
    except OSError as error:
        raise UsageError(f"{options.capture}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{error}; --format has to fit") from error
