"""The cost of a provisioned daemon: start, memory, CPU time, wake-ups, modules."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from bench.sources import Via
from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.model import StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.sim import corrections
from ztpd.sim.authority import Authority
from ztpd.sim.caster import Caster
from ztpd.sim.portal import TOKEN, Portal, Profile
from ztpd.sim.proxy import FaultProxy
from ztpd.sim.receiver import SimReceiver
from ztpd.wire import ztp

_READY_WITHIN_S = 30.0
_READY = b"daemon.started"  # the line that is written with READY=1
_IMPORTED = re.compile(rb"import time:.*\| +([\w.]+)$")
_HEADERS = {"content-length": "1"}  # all the portal looks at
_IMEI = "490154203237518"
_RESIGNED_S = 120.0  # after which a receiver that says nothing is asked every minute or two
_PROCESS_CLOCK = 2  # CPUCLOCK_SCHED, see clock_getcpuclockid(3)


@dataclass
class Process:
    """A running daemon, seen from outside. Its imports are known where they were asked for."""

    pid: int
    began_s: float = 0.0  # the loop's time of its start
    ready_s: float = 0.0  # from its start to READY=1
    lines: int = 0  # that it wrote to the journal
    exit_status: int | None = None  # once it has ended
    imports: set[str] = field(default_factory=set)

    def memory_kib(self, field: str) -> int:
        """``field`` of /proc/PID/smaps_rollup: "Rss", "Pss"."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        found = re.search(rf"^{field}: +(\d+) kB", text, re.MULTILINE)
        return int(found[1]) if found else 0

    def cpu_s(self) -> float:
        """CPU time of all its threads. /proc counts in steps of 10 ms, which is too coarse."""
        return time.clock_gettime(~self.pid << 3 | _PROCESS_CLOCK)

    def switches(self) -> int:
        """How often any of its threads went to sleep of its own."""
        texts = [each.read_text() for each in Path(f"/proc/{self.pid}/task").glob("*/status")]
        found = [re.search(r"^voluntary_ctxt_switches:\t(\d+)", text, re.M) for text in texts]
        return sum(int(each[1]) for each in found if each)

    def descriptors(self) -> int:
        return sum(1 for _ in Path(f"/proc/{self.pid}/fd").iterdir())

    async def wake_ups_per_s(self, for_s: float) -> float:
        before = self.switches()
        await asyncio.sleep(for_s)
        return (self.switches() - before) / for_s


def end_with_sigterm() -> None:
    """Let SIGTERM end this program as Ctrl-C does: with the daemons that it has started."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@asynccontextmanager
async def daemon(gateway: Gateway, *, trace_imports: bool = False) -> AsyncIterator[Process]:
    """``ztpd run`` as systemd starts it, until the context ends. It must be configured."""
    environ = {name: text for name, text in os.environ.items() if name != "JOURNAL_STREAM"} | {
        "STATE_DIRECTORY": str(gateway.state_dir),
        "RUNTIME_DIRECTORY": str(gateway.runtime_dir),
    }
    options = ["-X", "importtime"] if trace_imports else []
    command = [*options, "-m", "ztpd", "--config", str(gateway.top / "ztpd.toml"), "run"]
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *command, env=environ, stderr=asyncio.subprocess.PIPE
    )
    seen, ready = Process(process.pid, began_s), asyncio.Event()

    async def listen() -> None:
        assert process.stderr
        async for line in process.stderr:
            if imported := _IMPORTED.match(line):
                seen.imports.add(imported[1].decode())
                continue
            seen.lines += 1
            if _READY in line and not ready.is_set():
                seen.ready_s = loop.time() - began_s
                ready.set()

    listening = asyncio.create_task(listen())
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            await ready.wait()
        yield seen
    finally:
        process.terminate()
        seen.exit_status = await process.wait()
        await listening


LOCAL_SERVICE = {"allowed_hosts": ["localhost"]}
"""Settings of [ztp] for an answer that names this machine."""


def store_credentials(gateway: Gateway, caster_port: int, via: Via = "ntrip") -> None:
    """As after an earlier start that was provisioned."""
    portal = Portal(
        Profile(protocol=via),
        gateway.authority,
        broker_host="localhost",
        caster_host="localhost",
        caster_ports=(2101, caster_port),
    )
    body = ztp.request_body(token=TOKEN, given_name="g", tags=(), hardware_id=_IMEI)
    _, answer = portal.answer("POST", ztp.PATHS["flex"], _HEADERS, body)
    credentials = ztp.parse_answer("flex", answer)
    stored = StoredCredentials(credentials, _IMEI, "", stored_unix_s=1_790_000_000)
    CredentialStore(gateway.state_dir).save(stored)


@asynccontextmanager
async def source(authority: Authority, *, fast: float = 1.0) -> AsyncIterator[Caster]:
    """A caster whose stream has the rhythm of the real ones."""

    async def blocks() -> AsyncIterator[bytes]:
        made = corrections.coalesce(corrections.spartn(random.Random(1)))
        async for piece in corrections.paced(made, speed=fast):
            yield piece.data

    names = {"NEAR-SPARTN": blocks, "NEAR-RTCM": blocks}
    async with Caster(names, tls=authority.server_context()) as caster:
        yield caster


class Streaming(NamedTuple):
    """A daemon whose corrections come over a line that can be made to fail."""

    daemon: Process
    caster: Caster
    line: FaultProxy
    receiver: SimReceiver


@asynccontextmanager
async def streaming(gateway: Gateway) -> AsyncIterator[Streaming]:
    async with source(gateway.authority) as caster, FaultProxy(caster.host, caster.port) as line:
        store_credentials(gateway, line.port)
        gateway.configure(ztp=LOCAL_SERVICE, ntrip={"ca_file": gateway.ca_file})
        async with gateway.receiver() as receiver, daemon(gateway) as process:
            await until(lambda: receiver.stage == "RTK fixed", within_s=120)
            yield Streaming(process, caster, line, receiver)


@dataclass
class Costs:
    ready_s: float = 0.0
    rss_kib: int = 0
    pss_kib: int = 0
    cpu_ms_per_s: float = 0.0
    wake_ups_streaming: float = 0.0
    wake_ups_mute: float = 0.0
    wake_ups_absent: float = 0.0
    libraries: tuple[str, ...] = ()


async def costs(directory: Path, *, for_s: float) -> Costs:
    found = Costs()
    gateway = Gateway(directory)
    async with source(gateway.authority) as caster:
        store_credentials(gateway, caster.port)
        known = {"source": "fixed", "hardware_id": _IMEI}  # no modem: none is waited for
        gateway.configure(ztp=LOCAL_SERVICE, ntrip={"ca_file": gateway.ca_file}, identity=known)
        async with gateway.receiver() as receiver, daemon(gateway, trace_imports=True) as process:
            await until(lambda: receiver.stage == "RTK fixed", within_s=60)
            began_s = process.cpu_s()
            found.wake_ups_streaming = await process.wake_ups_per_s(for_s)
            found.cpu_ms_per_s = 1000 * (process.cpu_s() - began_s) / for_s
            found.rss_kib, found.pss_kib = process.memory_kib("Rss"), process.memory_kib("Pss")
            receiver.faults.sends_nothing = True
            await asyncio.sleep(_RESIGNED_S)
            found.wake_ups_mute = await process.wake_ups_per_s(2 * for_s)
        libraries = {"aiohttp", "dbus_fast", "paho", "serial", "tenacity"}
        found.libraries = tuple(sorted(libraries & process.imports))
        async with daemon(gateway) as process:
            found.ready_s = process.ready_s
            await asyncio.sleep(for_s / 2)
            found.wake_ups_absent = await process.wake_ups_per_s(for_s)
    return found
