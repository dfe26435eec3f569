"""A hostile user of the gateway itself."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

import pytest

from tests.attack.bench import ntrip_only, responsive, some_fast, status
from tests.support.until import until
from ztpd.system.control import SOCKET_NAME

REQUESTS = {
    "nothing": b"",
    "an endless line": b"a" * (1 << 20),
    "deep nesting": b"[" * 60_000 + b"\n",
    "a number of 100,000 digits": b'{"do": ' + b"9" * 60_000 + b"}\n",
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
