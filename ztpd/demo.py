"""``ztpd demo``: simulated devices and services on this machine, and the real daemon.

The daemon is a separate process; it knows only its configuration file.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TextIO

from ztpd import log, status
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
from ztpd.sim.proxy import BAD_LINES, FaultProxy, Line
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, F9R, Model, SimReceiver
from ztpd.sim.ztp_service import Answer, Cut, ZtpService
from ztpd.status import Status
from ztpd.wire import ubx
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

ONCE_WITHIN_S = 90.0
_LOOK_S = 0.5
_ACTIVATION_S = 5.0
_STOP_WITHIN_S = 10.0
_JOURNAL_LINE = re.compile(r"^[0-9:]{8} \S+ +")
_FASTER = 5.0  # faster than real corrections, which come every 5 s


class Console:
    """Prints each step on a line; on a terminal it updates the last line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._began_s = time.monotonic()
        self._living = stream.isatty()
        self._shown = False
        self.on_closed_output: Callable[[], object] = lambda: None  # after the output was closed

    def teller(self, who: str) -> Callable[[str], None]:
        """Print a message of a simulator, which may begin with its own name."""
        return lambda what: self.tell(who, what.removeprefix(f"{who}: ").removeprefix(f"{who} "))

    def tell(self, who: str, what: str) -> None:
        seconds = time.monotonic() - self._began_s
        try:
            self._clear()
            print(f"{seconds:6.1f} s  {who:<9} {what}", file=self._stream, flush=True)
        except OSError:  # the reader of the pipe ended, or the terminal was closed
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            self.on_closed_output()

    def live(self, what: str) -> None:
        if self._living:
            self._clear()
            width = shutil.get_terminal_size().columns - 1
            print(f"\033[2m{what[:width]}\033[0m", end="", file=self._stream, flush=True)
            self._shown = True

    def _clear(self) -> None:
        if self._shown:
            print("\r\033[K", end="", file=self._stream)
            self._shown = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: from the start on, or once the receiver is RTK fixed."""

    about: str
    early: Callable[[Demo], None] = lambda _: None
    late: Callable[[Demo], None] | None = None
    breaks: bool = False  # the connection to broker or caster
    model: Model = F9P


def _line(line: Line) -> Callable[[Demo], None]:
    return lambda demo: setattr(demo.proxy, "to_client", line)


def _ztp(*answers: Answer | Cut) -> Callable[[Demo], None]:
    return lambda demo: demo.service.script.extend(answers)


def _until_named(event: str, **faults: object) -> Callable[[Demo], None]:
    return lambda demo: demo.break_until_named(event, faults)


FAULTS: Mapping[str, Fault] = {
    "busy-service": Fault(
        "the provisioning service is overloaded at first", _ztp(Answer(503, "Service Unavailable"))
    ),
    "lost-answer": Fault("the connection is cut in the service's answer", _ztp(Cut(900))),
    "not-active": Fault("the Thing is activated only after a while", lambda demo: demo.activate()),
    "receiver-reset": Fault("the receiver restarts", late=lambda demo: demo.receiver.reset()),
    "receiver-unplugged": Fault(
        "the receiver's plug is pulled for three seconds", late=lambda demo: demo.unplug(3.0)
    ),
    "receiver-deaf": Fault(
        "the wire to the receiver's input is cut", _until_named("gnss.", hears_nothing=True)
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
        late=lambda demo: demo.drive_through_tunnel(10.0),
        model=F9R,
    ),
    "source-restart": Fault(
        "the broker or caster is restarted", late=lambda demo: demo.restart_source(), breaks=True
    ),
    "outage": Fault(
        "the broker or caster cannot be reached for three seconds",
        late=lambda demo: demo.outage(3.0),
        breaks=True,
    ),
    "cut": Fault(
        "the connection is closed on the way", late=lambda demo: demo.proxy.cut(), breaks=True
    ),
    "reset": Fault(
        "the connection is reset on the way", late=lambda demo: demo.proxy.reset(), breaks=True
    ),
    "half-open": Fault(
        "the connection breaks, and neither end is notified",
        late=lambda demo: demo.proxy.half_open(),
        breaks=True,
    ),
    **{name: Fault(about, _line(line)) for name, (about, line) in BAD_LINES.items()},
}


class Demo:
    """One run. The simulators are attributes, for the faults."""

    broker: Broker
    caster: Caster
    proxy: FaultProxy  # between the daemon and either of them
    service: ZtpService
    receiver: SimReceiver

    def __init__(self, options: argparse.Namespace, story: Console, directory: Path) -> None:
        self._options = options
        self._story = story
        self._directory = directory
        self._authority = Authority()
        self._fault = FAULTS[options.fault] if options.fault else None
        self._gnss = Pty(directory / "dev/gnss")
        self._background: set[asyncio.Task[None]] = set()
        self._struck = False
        self._wanted = 1  # corrections at the receiver
        self._connections = 0  # through the proxy

    async def run(self) -> bool:
        """Whether the receiver reached RTK fixed with the corrections."""
        async with AsyncExitStack() as stack:
            await self._start_simulators(stack)
            config = self._write_configuration()
            self._story.tell("demo", f"starts the real daemon: ztpd run --config {config}")
            daemon = await self._start_daemon(config)
            telling = asyncio.create_task(self._tell_journal(daemon))
            try:
                return await self._watch(daemon)
            finally:
                for task in self._background:
                    task.cancel()
                await _stop(daemon)
                await telling

    async def _start_simulators(self, stack: AsyncExitStack) -> None:
        options, teller = self._options, self._story.teller
        tls = self._authority.server_context()
        if options.via == "mqtt":
            self.broker = await stack.enter_async_context(
                Broker(self._authority, say=teller("broker"))
            )
            if self.broker.engine == "amqtt":
                self._story.tell("broker", "mosquitto is not installed; amqtt takes its place")
                self._story.tell("broker", "and lets clients in without their certificates")
        else:
            mountpoint = f"NEAR-{options.format.upper()}"
            self.caster = await stack.enter_async_context(
                Caster({mountpoint: self._blocks}, tls=tls, needs_gga=True, say=teller("caster"))
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
                caster_ports=(2101, self.proxy.port if options.via == "ntrip" else 2102),
                say=teller("ztp"),
            )
        )
        keys = self.service.portal.keys
        modem = SimModem(self._directory / "dev/modem", SARA_R5, say=teller("modem"))
        await stack.enter_async_context(modem)
        await stack.enter_async_context(self._gnss)
        self.receiver = await stack.enter_async_context(
            SimReceiver(
                self._gnss,
                self._fault.model if self._fault else F9P,
                key=bytes.fromhex(keys["current"]["value"]),
                say=teller("receiver"),
            )
        )
        if options.via == "mqtt":
            await self._publish_keys()
            self._spawn(self._publish())
        if self._fault:
            self._story.tell("demo", f"fault: {self._fault.about}")
            self._fault.early(self)

    def _write_configuration(self) -> Path:
        """Write the daemon's configuration. It names the ports, since none of them is on USB."""
        top, via = self._directory, self._options.via
        authority = self._authority.write(top / "authority.pem")
        token = top / "token"
        token.touch(mode=0o600)
        token.write_text(self.service.portal.profile.token.reveal())
        config = top / "ztpd.toml"
        lines = [
            "[ztp]",
            f'url = "{self.service.url}"',
            f'service = "{self._options.service}"',
            f'token_file = "{token}"',
            f'ca_file = "{authority}"',
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
            f'ca_file = "{authority}"',
        ]
        if via == "mqtt":
            lines.append(f"port = {self.proxy.port}")
        config.write_text("\n".join(lines) + "\n")
        return config

    async def _start_daemon(self, config: Path) -> asyncio.subprocess.Process:
        for name, mode in (("state", 0o700), ("run", 0o755)):
            (self._directory / name).mkdir(mode=mode)
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NOTIFY_SOCKET", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY")
        } | {
            "STATE_DIRECTORY": str(self._directory / "state"),
            "RUNTIME_DIRECTORY": str(self._directory / "run"),
        }
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "ztpd",
            "--config",
            str(config),
            "run",
            env=environ,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the daemon
        )

    async def _tell_journal(self, daemon: asyncio.subprocess.Process) -> None:
        """Print the daemon's journal lines with the times of the demo instead of their own."""
        assert daemon.stderr  # noqa: S101 - it was asked for
        async for line in daemon.stderr:
            text = line.decode(errors="replace").rstrip()
            self._story.tell("ztpd", _JOURNAL_LINE.sub("", text).replace(f"{self._directory}/", ""))

    async def _watch(self, daemon: asyncio.subprocess.Process) -> bool:
        """Watch daemon and receiver until corrections are in use."""
        due_s, told = time.monotonic() + ONCE_WITHIN_S, False
        while daemon.returncode is None:
            seen = status.read(self._directory / "run")
            self._story.live(_pulse(seen))
            if self._proven(seen) and not told:
                self._story.tell("demo", "RTK fixed, by corrections that the receiver used")
                if self._fault and self._fault.late and not self._struck:
                    self._inject_late_fault(self._fault)
                    due_s = time.monotonic() + ONCE_WITHIN_S
                    continue
                if self._options.once:
                    return True
                self._story.tell("demo", "goes on until Ctrl-C")
                told = True
            if self._options.once and time.monotonic() > due_s:
                self._story.tell("demo", f"not RTK fixed within {ONCE_WITHIN_S:.0f} s")
                return False
            await asyncio.sleep(_LOOK_S)
        self._story.tell("demo", f"the daemon ended with status {daemon.returncode}")
        return False

    def _proven(self, seen: Status) -> bool:
        """The receiver uses corrections and is RTK fixed, and the daemon knows it."""
        if self.proxy.connections < self._connections:
            self._expect_more()
        fresh = len(self.receiver.corrections()) >= self._wanted
        return (
            fresh
            and self.receiver.used > 0
            and self.receiver.stage == "RTK fixed"
            and (seen.receiver.use, seen.receiver.fix) == ("used", "RTK fixed")
        )

    def _inject_late_fault(self, fault: Fault) -> None:
        """Inject the fault; from now on only later corrections count."""
        self._struck = True
        self._connections = self.proxy.connections + fault.breaks
        self._expect_more()
        if fault.late:
            fault.late(self)

    def _expect_more(self) -> None:
        self._wanted = len(self.receiver.corrections()) + 12

    def activate(self) -> None:
        """Deactivate the Thing, and activate it a little later."""
        portal = self.service.portal
        portal.profile = replace(portal.profile, auto_activate=False)

        async def later() -> None:
            await asyncio.sleep(_ACTIVATION_S)
            portal.activate(SARA_R5.imei)
            self._story.tell("demo", "activates the Thing in the portal")

        self._spawn(later())

    def unplug(self, for_s: float) -> None:
        async def out_and_in() -> None:
            self._gnss.unplug()
            self._story.tell("demo", "pulled the receiver's plug")
            await asyncio.sleep(for_s)
            self._gnss.plug()
            self._story.tell("demo", "plugged the receiver in again")

        self.receiver.power_cycle()
        self._spawn(out_and_in())

    def break_until_named(self, event: str, faults: Mapping[str, object]) -> None:
        """Give the receiver ``faults`` until the daemon publishes an event whose name begins with
        ``event``."""
        broken = self.receiver.faults
        before = {name: getattr(broken, name) for name in faults}

        def give(values: Mapping[str, object]) -> None:
            for name, value in values.items():
                setattr(broken, name, value)

        def named() -> str:
            seen = status.read(self._directory / "run")
            return next((each.text for each in causes(seen) if each.event.startswith(event)), "")

        async def mend() -> None:
            text = ""
            while not text:
                await asyncio.sleep(_LOOK_S)
                text = named()
            self._story.tell("demo", f"ztpd has named it ({text}); mended")
            give(before)

        give(faults)
        self._spawn(mend())

    def drive_through_tunnel(self, for_s: float) -> None:
        async def in_and_out() -> None:
            self.receiver.faults.tunnel = True
            await asyncio.sleep(for_s)
            self.receiver.faults.tunnel = False
            self._story.tell("demo", "the tunnel ends")

        self._spawn(in_and_out())

    def outage(self, for_s: float) -> None:
        async def away_and_back() -> None:
            self.proxy.refuse()
            self.proxy.cut()
            await asyncio.sleep(for_s)
            await self.proxy.listen()
            self._story.tell("line", "takes connections again")

        self._spawn(away_and_back())

    def restart_source(self) -> None:
        if self._options.via == "mqtt":
            self._spawn(self.broker.restart())
        else:
            self.caster.end_sessions()

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def _publish_keys(self) -> None:
        keys = [
            DynamicKey(Secret(key["value"]), key["start"], key["duration"])
            for key in self.service.portal.keys.values()
        ]
        await self.broker.publish("/pp/ubx/0236/ip", ubx.spartn_keys(keys), retain=True)

    async def _publish(self) -> None:
        async for piece in corrections.paced(self._pieces(), speed=_FASTER):
            part = f"/{piece.suffix}" if piece.suffix else ""
            await self.broker.publish(f"/pp/ip/eu{part}", piece.data)
            if part:
                await self.broker.publish("/pp/ip/eu", piece.data)

    async def _blocks(self) -> AsyncIterator[bytes]:
        async for piece in corrections.paced(self._pieces(), speed=_FASTER):
            yield piece.data

    def _pieces(self) -> Iterator[Piece]:
        options, rng = self._options, random.Random()
        if options.capture:
            return corrections.replay(_captured(options))
        if options.format == "rtcm":
            return corrections.coalesce(corrections.rtcm(rng))
        now = corrections.spartn_time(time.time())
        encrypted = options.via == "mqtt"  # like the service
        return corrections.coalesce(corrections.spartn(rng, encrypted=encrypted, start=now))


def _pulse(seen: Status) -> str:
    parts = [seen.state or "starting"]
    if seen.source:
        parts.append(f"{sum(seen.source.frames.values())} frames, {seen.source.bytes} bytes")
    parts.append(f"fix {seen.receiver.fix}, corrections {seen.receiver.use}")
    return "          " + " | ".join(parts)


async def _stop(daemon: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        daemon.send_signal(signal.SIGTERM)
    try:
        await asyncio.wait_for(daemon.wait(), _STOP_WITHIN_S)
    except TimeoutError:
        daemon.kill()
        await daemon.wait()


async def _play(options: argparse.Namespace, story: Console, directory: Path) -> bool:
    """Run the demo, and end every part of it in order, also after an error."""
    playing, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert playing  # noqa: S101 - a coroutine runs in a task
    story.on_closed_output = playing.cancel
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, playing.cancel)
    return await Demo(options, story, directory).run()


def _captured(options: argparse.Namespace) -> Sequence[Frame]:
    kind = FrameKind.RTCM3 if options.format == "rtcm" else FrameKind.SPARTN
    try:
        return corrections.captured(options.capture, kind)
    except OSError as error:
        raise UsageError(f"{options.capture}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{error}; --format has to fit") from error


def run(options: argparse.Namespace) -> int:
    """The exit status: 0 when stopped by Ctrl-C, or with ``--once`` when corrections were used."""
    if options.fault == "list":
        for name, fault in FAULTS.items():
            print(f"{name:<20} {fault.about}")
        return 0
    if options.fault and options.fault not in FAULTS:
        raise UsageError(f"no fault {options.fault!r}; there are {', '.join(FAULTS)}")
    if options.capture:
        _captured(options)
    log.setup("warning")
    story = Console(sys.stdout)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ztpd-demo-") as directory:
        try:
            reached = asyncio.run(_play(options, story, Path(directory)))
        except (KeyboardInterrupt, asyncio.CancelledError):
            story.tell("demo", "stopped")
            return 0
    took = log.duration(time.monotonic() - began_s)
    story.tell("demo", f"{'done' if reached else 'failed'} after {took}")
    return 0 if reached else 1
