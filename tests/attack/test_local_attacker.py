"""A hostile user of the gateway itself."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attack.bench import ntrip_only, responsive, some_fast, status
from tests.support.limits import limited
from tests.support.services import corrections
from tests.support.until import until
from ztpd.sim.caster import Caster
from ztpd.system.control import SOCKET_NAME

REQUESTS = {
    "nothing": b"",
    "an endless line": b"a" * (1 << 20),
    "deep nesting": b"[" * 60_000 + b"\n",
    "a number of 100,000 digits": b'{"do": ' + b"9" * 60_000 + b"}\n",
    "a wait of 400 digits": b'{"do": "status", "wait_s": 1' + b"0" * 400 + b"}\n",
    "no object": b'["retry"]\n',
    "a verb that is none": b'{"do": "__class__"}\n',
    "a verb that is no text": b'{"do": {"do": "retry"}}\n',
    "no text": bytes(range(128, 256)) + b"\n",
    "many requests in one connection": b'{"do": "status"}\n' * 3000,
}


@pytest.mark.parametrize(
    "name", some_fast(REQUESTS, "an endless line", "deep nesting", "a verb that is none")
)
async def test_a_hostile_request_leaves_the_control_socket_in_order(
    name: str, tmp_path: Path
) -> None:
    gateway = ntrip_only(tmp_path, 9)
    async with gateway.receiver(speed=20), gateway.running(), responsive():
        await until(lambda: (gateway.runtime_dir / SOCKET_NAME).exists())
        for _ in range(20):
            _, writer = await asyncio.open_unix_connection(gateway.runtime_dir / SOCKET_NAME)
            with suppress(OSError):
                writer.write(REQUESTS[name])
            assert await status(gateway)
            writer.transport.abort()


async def test_idle_control_connections_do_not_block_others(tmp_path: Path) -> None:
    gateway = ntrip_only(tmp_path, 9)
    async with gateway.receiver(speed=20), gateway.running(), responsive():
        await until(lambda: (gateway.runtime_dir / SOCKET_NAME).exists())
        open_ones = [
            await asyncio.open_unix_connection(gateway.runtime_dir / SOCKET_NAME)
            for _ in range(200)
        ]
        assert await status(gateway)
        for _, writer in open_ones:
            writer.transport.abort()


AS_NOBODY = """
import os, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
os.setgroups([]), os.setgid(65534), os.setuid(65534)
held = []
while True:
    client = socket.socket(socket.AF_UNIX)
    client.setblocking(False)
    try:
        client.connect(sys.argv[1])
        held.append(client)
        del held[:-1000]
    except OSError:
        client.close()
        time.sleep(0.01)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
async def test_connections_of_another_user_leave_descriptors_for_the_corrections() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)  # pytest's own directories are closed to others
        async with Caster({"MP": corrections}) as caster:
            gateway = ntrip_only(Path(name), caster.port)
            control = gateway.runtime_dir / SOCKET_NAME
            async with gateway.running(), responsive():
                await until(control.exists)
                few = len(os.listdir("/proc/self/fd")) + 64  # systemd's limit is 1024
                with limited(resource.RLIMIT_NOFILE, few):
                    other = await asyncio.create_subprocess_exec(
                        sys.executable, "-c", AS_NOBODY, str(control)
                    )
                    try:
                        await asyncio.sleep(1)
                        async with gateway.receiver(speed=20):
                            await until(lambda: gateway.status["state"] == "streaming")
                            assert await status(gateway)
                    finally:
                        other.kill()
                        await other.wait()


@pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
async def test_files_in_place_of_ours_do_not_stop_the_daemon(kind: str, tmp_path: Path) -> None:
    gateway = ntrip_only(tmp_path, 9)
    place = gateway.runtime_dir / "status.json"
    if kind == "fifo":
        os.mkfifo(place)
    elif kind == "link":
        place.symlink_to(tmp_path / "ztpd.toml")
    else:
        place.mkdir()
    before = (tmp_path / "ztpd.toml").read_text()
    async with gateway.receiver(speed=20), gateway.running(), responsive():
        await asyncio.sleep(1)
        assert await status(gateway)
    assert (tmp_path / "ztpd.toml").read_text() == before
