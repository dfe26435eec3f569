"""ztpd and programs of others that do a part of its work: their command lines."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from bench.process import Process
from bench.sources import Via
from tests.support.gateway import Gateway

_VENV = Path("build/bench-venv")
_PYGNSSUTILS = "pygnssutils==1.2.5"
USUAL: dict[Via, str] = {"ntrip": "BASE-RTCM", "mqtt": "/pp/ip/eu"}
"""Mountpoint and topic of the corrections."""


class Job(NamedTuple):
    """What each of them is to do: bring corrections to the receiver at a port."""

    gateway: Gateway
    baudrate: int
    via: Via
    port: int  # of the service on this machine
    name: str = ""  # of mountpoint or topic, else the usual one

    @property
    def tty(self) -> str:
        return self.gateway.gnss.terminal

    @property
    def client_id(self) -> str:
        return self.gateway.top.name

    @property
    def source(self) -> str:
        return self.name or USUAL[self.via]

    def pair(self) -> tuple[Path, Path]:
        client = self.gateway.authority.client("bench")
        certificate, key = client.write(self.gateway.top, "bench")
        return Path(certificate), Path(key)


def _ztpd(job: Job) -> list[str]:
    if job.via == "ntrip":
        table = {"host": "127.0.0.1", "port": job.port, "mountpoint": job.source, "tls": False}
    else:
        certificate, key = job.pair()
        table = {"host": "localhost", "port": job.port, "topics": [job.source]}
        table |= {"ca_file": job.gateway.ca_file, "cert_file": certificate, "key_file": key}
        table |= {"client_id": job.client_id}
    path = job.gateway.configure(
        receiver={"port": job.gateway.gnss.path, "baudrate": job.baudrate},
        corrections={"stale_after_s": 300},  # also where it is to get none
        **{job.via: table},
    )
    return [sys.executable, "-m", "ztpd", "--config", str(path), "run"]


def _gpsd(job: Job) -> list[str]:
    caster = f"ntrip://user:secret@127.0.0.1:{job.port}/{job.source}"
    control = str(job.gateway.top / "gpsd.sock")
    with socket.create_server(("127.0.0.1", 0)) as free:
        own = str(free.getsockname()[1])
    return ["gpsd", "-N", "-n", "-S", own, "-F", control, "-s", str(job.baudrate), caster, job.tty]


def _str2str(job: Job) -> list[str]:
    caster = f"ntrip://user:secret@127.0.0.1:{job.port}/{job.source}"
    port = f"serial://{job.tty.removeprefix('/dev/')}:{job.baudrate}"
    return ["str2str", "-in", caster, "-out", port]


def _gnssntripclient(job: Job) -> list[str]:
    caster = f"--server 127.0.0.1 --port {job.port} --mountpoint {job.source}".split()
    return [_pygnssutils("gnssntripclient"), *caster, *_to_serial(job)]


def _gnssmqttclient(job: Job) -> list[str]:
    certificate, key = job.pair()
    broker = f"--server localhost --port {job.port} --clientid bench --region eu".split()
    topics = ["--topic_ip", "1", "--topic_mga", "0", "--topic_key", "0"]
    pair = ["--tlscrt", str(certificate), "--tlskey", str(key)]
    return [_pygnssutils("gnssmqttclient"), *broker, *topics, *pair, *_to_serial(job)]


def _to_serial(job: Job) -> list[str]:
    return ["--clioutput", "2", "--output", f"{job.tty}@{job.baudrate}"]


def _bare(job: Job) -> list[str]:
    tls = [str(job.gateway.ca_file), *map(str, job.pair())] if job.via == "mqtt" else []
    line = [job.via, str(job.port), job.source, job.tty, str(job.baudrate)]
    return [sys.executable, "-m", "bench.bare", *line, *tls]


def _mosquitto_sub(job: Job) -> list[str]:
    certificate, key = map(str, job.pair())
    tls = ["--cafile", str(job.gateway.ca_file), "--cert", certificate, "--key", key]
    topic = ["-t", job.source, "-N", "-i", job.client_id]
    return ["mosquitto_sub", "-h", "localhost", "-p", str(job.port), *tls, *topic]


COMMANDS: dict[str, Callable[[Job], list[str]]] = {
    "ztpd": _ztpd,
    "gpsd": _gpsd,
    "str2str": _str2str,
    "gnssntripclient": _gnssntripclient,
    "gnssmqttclient": _gnssmqttclient,
    "mosquitto_sub": _mosquitto_sub,
    "bare-python": _bare,
}
_PACKAGES = {"gpsd": "gpsd", "str2str": "rtklib", "mosquitto_sub": "mosquitto-clients"}


@functools.cache
def _pygnssutils(program: str) -> str:
    """Its path, in an environment of the bench's own; "" where it cannot be installed."""
    path = _VENV / "bin" / program
    if not path.exists():
        pip = [str(_VENV / "bin" / "pip"), "install", "--quiet", _PYGNSSUTILS]
        for command in ([sys.executable, "-m", "venv", str(_VENV)], pip):
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return ""
    return str(path.absolute())


def missing(name: str) -> str:
    """Why a program cannot take part; "" where it can."""
    if name.startswith("gnss"):
        return "" if _pygnssutils(name) else f"{_PYGNSSUTILS} cannot be installed"
    if name in ("ztpd", "bare-python") or shutil.which(name):
        return ""
    return f"not installed: apt install {_PACKAGES[name]}"


def installed(*names: str) -> list[str]:
    """Those that can take part; the others are named."""
    for name in names:
        if why := missing(name):
            print(f"{name}: skipped, {why}", flush=True)
    return [name for name in names if not missing(name)]


@asynccontextmanager
async def started(name: str, job: Job) -> AsyncIterator[Process]:
    """That program at work, until the context ends. What it prints goes to the receiver."""
    environ = {key: text for key, text in os.environ.items() if key != "JOURNAL_STREAM"} | {
        "STATE_DIRECTORY": str(job.gateway.state_dir),
        "RUNTIME_DIRECTORY": str(job.gateway.runtime_dir),
        "SSL_CERT_FILE": str(job.gateway.ca_file),
        "PATH": f"{os.environ.get('PATH', os.defpath)}:/usr/sbin",
    }
    nothing = asyncio.subprocess.DEVNULL
    output = os.open(job.tty, os.O_WRONLY | os.O_NOCTTY) if name == "mosquitto_sub" else nothing
    command, began_s = COMMANDS[name](job), asyncio.get_running_loop().time()
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdin=nothing, stdout=output, stderr=nothing
    )
    if output != nothing:
        os.close(output)
    try:
        yield Process(process.pid, began_s)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
