"""The whole daemon's metrics: as they develop, how often they are written, and at the end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.prometheus import complaints, read, with_promtool
from tests.support.receiver_bench import in_virtual_time
from tests.support.services import services, state
from tests.support.until import until
from ztpd import metrics, status
from ztpd.cli.main import main
from ztpd.daemon import Daemon
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.sim.portal import Profile
from ztpd.sim.receiver import SimReceiver
from ztpd.sim.ztp_service import Answer
from ztpd.system.runlock import RunLock


async def stream() -> AsyncIterator[bytes]:
    pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
    async for piece in corrections.paced(pieces):
        yield piece.data


class Site:
    def __init__(
        self, gateway: Gateway, caster: Caster, receiver: SimReceiver, daemon: Daemon
    ) -> None:
        self.gateway, self.caster, self.receiver, self.daemon = gateway, caster, receiver, daemon

    @property
    def fix(self) -> str:
        return status.read(self.gateway.runtime_dir).receiver.fix


@contextlib.asynccontextmanager
async def site(top: Path) -> AsyncIterator[Site]:
    """Streaming from a caster of its own, in virtual time."""
    gateway = Gateway(top)
    async with Caster({"NEAR": stream}) as caster, gateway.receiver() as receiver:
        ntrip = {"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
        gateway.configure(ntrip=ntrip)
        async with gateway.running() as daemon:
            one = Site(gateway, caster, receiver, daemon)
            await until(lambda: one.fix == "RTK fixed", 120)
            yield one


@in_virtual_time
async def test_two_minutes_of_good_service_are_two_minutes_of_rtk_fixed(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        await asyncio.sleep(10)
        before = read(one.gateway.runtime_dir)
        await asyncio.sleep(120)
        after = read(one.gateway.runtime_dir)

        def gain(name: str, **labels: str) -> float:
            return after.sum(name, **labels) - before.sum(name, **labels)

        assert after.value("ztpd_up") == 1
        assert after.label("ztpd_health") == "healthy"
        assert gain("ztpd_fix_seconds_total", fix="RTK fixed") == pytest.approx(120, abs=11)
        assert gain("ztpd_fix_seconds_total") == pytest.approx(120, abs=11)
        assert gain("ztpd_session_seconds_total", transport="ntrip") == pytest.approx(120, abs=11)
        assert after.value("ztpd_sessions_total", transport="ntrip") == 1
        assert after.value("ztpd_sessions_total", transport="mqtt") == 0
        received = gain("ztpd_frames_total", outcome="received")
        assert received == pytest.approx(gain("ztpd_frames_total", outcome="used"), rel=0.15)
        assert received == pytest.approx(gain("ztpd_frames_total", outcome="delivered"), rel=0.15)
        assert gain("ztpd_received_bytes_total", transport="ntrip") > 100 * received / 10
        assert gain("ztpd_frames_total", kind="1077", outcome="used") == pytest.approx(120, abs=11)


@in_virtual_time
async def test_a_lost_session_and_an_unplugged_receiver_show(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        directory = one.gateway.runtime_dir
        one.caster.end_sessions()
        await until(lambda: read(directory).sum("ztpd_sessions_total") == 2, 60)
        bytes_before = read(directory).sum("ztpd_received_bytes_total")
        await asyncio.sleep(30)
        assert read(directory).sum("ztpd_received_bytes_total") > bytes_before

        one.gateway.gnss.unplug()
        await until(lambda: read(directory).value("ztpd_fix_quality") is None, 60)
        await until(lambda: read(directory).label("ztpd_health") != "healthy", 60)
        unknown_s = read(directory).sum("ztpd_fix_seconds_total", fix="unknown")
        assert read(directory).label("ztpd_cause_info").startswith("serial.")
        await asyncio.sleep(300)
        unplugged_s = read(directory).sum("ztpd_fix_seconds_total", fix="unknown") - unknown_s
        assert unplugged_s == pytest.approx(300, abs=20)


@in_virtual_time
async def test_they_are_renewed_every_ten_seconds_and_not_more_often(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        file, written = one.gateway.runtime_dir / metrics.FILE, set()
        for _ in range(600):
            await asyncio.sleep(0.1)
            written.add(os.stat(file).st_ino)  # a new file is renamed into place
            one.receiver.faults.never_fixed = not one.receiver.faults.never_fixed
        assert len(written) <= 7
        assert file.stat().st_mode & 0o777 == 0o644


@in_virtual_time
async def test_after_a_clean_stop_they_say_down_and_nothing_else(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        assert read(one.gateway.runtime_dir).value("ztpd_up") == 1
    assert (tmp_path / "run" / metrics.FILE).read_text() == metrics.DOWN


@with_promtool
@in_virtual_time
async def test_promtool_has_no_complaint_about_a_daemon(tmp_path: Path) -> None:
    async with site(tmp_path) as one:
        text = (one.gateway.runtime_dir / metrics.FILE).read_text()
    assert complaints(text) == ""


@in_virtual_time
async def test_calls_to_the_provisioning_service_are_counted_by_their_outcome(
    tmp_path: Path,
) -> None:
    refused = Answer(403, "{}")
    async with (
        services(tmp_path, script=(refused,)) as (gateway, _, _),
        gateway.running() as daemon,
    ):
        await until(lambda: state(gateway) == "blocked")
        daemon.try_now("a person asks")
        await until(lambda: state(gateway) == "streaming", 90)
        await until(lambda: outcome(gateway, "success") == 1, 15)
        assert outcome(gateway, "refused") == 1
        assert outcome(gateway, "server") == outcome(gateway, "local") == 0


def outcome(gateway: Gateway, name: str) -> float | None:
    return read(gateway.runtime_dir).value("ztpd_ztp_calls_total", outcome=name)


@in_virtual_time
async def test_the_end_of_a_client_certificate_is_told(tmp_path: Path) -> None:
    profile = Profile(protocol="both")
    async with services(tmp_path, profile=profile) as (gateway, _, _), gateway.running() as daemon:
        await until(lambda: state(gateway) == "streaming")
        await until(lambda: expiry(gateway) is not None, 15)
        assert daemon.stored
        assert expiry(gateway) == daemon.stored.expires_unix_s


def expiry(gateway: Gateway) -> float | None:
    name = "ztpd_client_certificate_expiry_timestamp_seconds"
    return read(gateway.runtime_dir).value(name)


async def test_the_verb_prints_them_and_knows_whether_a_daemon_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway(tmp_path)
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    gateway.configure(ntrip={"host": "127.0.0.1", "port": 1, "mountpoint": "X", "tls": False})
    async with gateway.running():
        await until((gateway.runtime_dir / metrics.FILE).exists)
        assert main(["metrics"]) == 0
        assert "\nztpd_up 1\n" in capsys.readouterr().out
    (gateway.runtime_dir / metrics.FILE).write_text("ztpd_up 1\n")  # as a kill -9 leaves it
    assert main(["metrics"]) == 3
    assert capsys.readouterr().out == metrics.DOWN


def test_FR88_the_verb_prints_no_control_character_of_a_daemon_that_was_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    (tmp_path / metrics.FILE).write_bytes(b"ztpd_up 1\n\x1b[2J\x1b]0;owned\x07\rztpd_up 0\n")
    lock = RunLock(tmp_path)
    lock.take()
    try:
        assert main(["metrics"]) == 0
    finally:
        lock.release()
    assert capsys.readouterr().out == "ztpd_up 1\n.[2J.]0;owned..ztpd_up 0\n"


async def test_a_runtime_directory_that_takes_no_file_costs_the_metrics_alone(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    (gateway.runtime_dir / metrics.FILE).mkdir()
    async with Caster({"NEAR": stream}) as caster, gateway.receiver():
        ntrip = {"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
        gateway.configure(ntrip=ntrip)
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
