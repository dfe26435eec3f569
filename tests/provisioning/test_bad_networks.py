"""Provisioning over lines that work badly, and with a process at its limits."""

from __future__ import annotations

import asyncio
import os
import resource
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.support.limits import limited
from tests.support.provisioning_bench import ProvisioningBench, ended_after, run
from ztpd.config import Config
from ztpd.errors import ConnectionLost, ConnectTimeout, NoRoute, Retry, ZtpdError
from ztpd.model import Identity, Imei
from ztpd.provisioning import http
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.reply import Reply
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Profile
from ztpd.sim.proxy import FaultProxy, Line
from ztpd.sim.ztp_service import ZtpService


async def identity() -> Identity:
    return Identity(Imei("490154203237518"), "the modem")


def ignored(*_: Any, **__: Any) -> None:
    """A closed port."""


@asynccontextmanager
async def behind(
    directory: Path, line: Line, *, timeout_s: float = 30
) -> AsyncIterator[tuple[Provisioner, ZtpService]]:
    """A gateway that reaches the service by a bad line only."""
    authority = Authority()
    ca_file = authority.write(directory / "ca.pem")
    (directory / "state").mkdir(mode=0o700)
    async with (
        ZtpService(authority, profile=Profile(protocol="mqtt", format="spartn")) as service,
        FaultProxy("127.0.0.1", service.port, to_client=line, to_server=line) as proxy,
    ):
        url = f"https://localhost:{proxy.port}"
        settings = replace(Config().ztp, url=url, ca_file=str(ca_file), timeout_s=timeout_s)
        yield (
            Provisioner(
                replace(Config(), ztp=settings),
                directory / "state",
                dispatch=ignored,
                read_identity=identity,
                token=lambda: TOKEN,
                post=http.post,
            ),
            service,
        )


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(Line(latency_s=0.3), id="300 ms"),
        pytest.param(Line(bytes_per_s=8000), id="64 kbit/s"),
        pytest.param(Line(piece=7), id="torn"),
        pytest.param(Line(latency_s=0.3, bytes_per_s=2500), id="20 kbit/s", marks=pytest.mark.slow),
    ],
)
async def test_N11_a_bad_line_is_good_enough(tmp_path: Path, line: Line) -> None:
    async with behind(tmp_path, line) as (provisioner, service):
        stored = await provisioner.once()

    assert stored.credentials.mqtt
    assert len(service.calls) == 1


async def test_N12_where_long_packets_vanish_the_call_times_out_and_says_where(
    tmp_path: Path,
) -> None:
    """The server's certificate is the first thing longer than a packet."""
    async with behind(tmp_path, Line(silent_at=500), timeout_s=1) as (provisioner, _):
        with pytest.raises(ConnectTimeout, match="in the TLS handshake") as lost:
            await provisioner.once()

    assert lost.value.retry is Retry.SERVER
    assert "MTU" in lost.value.advice


def test_N29_a_link_that_flaps_makes_few_attempts_and_leaves_no_task() -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        gateway = ProvisioningBench(Path(name))

        def answer() -> Reply:
            up = int(gateway.now_unix_s / 5) % 2
            raise ConnectionLost if up else NoRoute

        async def scenario() -> None:
            gateway.answer = answer
            await ended_after(gateway.start().obtain(), 600)
            assert len(asyncio.all_tasks()) == 1

        run(scenario())

    assert 5 <= len(gateway.calls) <= 300
    assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= 1


async def test_N30_without_descriptors_it_fails_by_name_and_recovers(tmp_path: Path) -> None:
    async with behind(tmp_path, Line()) as (provisioner, service):
        await asyncio.sleep(0)
        held: list[int] = []
        few = max(map(int, os.listdir("/proc/self/fd"))) + 8
        with limited(resource.RLIMIT_NOFILE, few):
            try:
                with suppress(OSError):
                    while True:
                        held.append(os.open("/dev/null", os.O_RDONLY))
                with pytest.raises(ZtpdError):
                    await provisioner.once()
            finally:
                for descriptor in held:
                    os.close(descriptor)
        assert await provisioner.once()

    assert len(service.calls) == 1
