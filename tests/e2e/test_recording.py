"""``ztpd record`` and ``ztpd report --seconds`` beside the whole daemon."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import (
    KEY,
    NEXT_KEY,
    current_and_next,
    in_virtual_time,
    only_frame,
)
from tests.support.services import IMEI, services, state
from tests.support.until import until
from ztpd.cli import main
from ztpd.daemon import Daemon
from ztpd.daemon.record_buffer import BUFFER_BYTES
from ztpd.errors import DaemonRefused, DaemonSilent
from ztpd.model import FrameKind
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.portal import TOKEN
from ztpd.system import control
from ztpd.system.offload import offload
from ztpd.wire import recording, ubx
from ztpd.wire.frames import Scanner
from ztpd.wire.recording import ReadRecording, Record, RecordKind
from ztpd.wire.ubx import NavPvt

PLACES = (round(52.52e7), round(13.405e7))


def ztpd(top: Path, *words: str) -> int:
    return main(["--config", str(top / "ztpd.toml"), *words])


def names(found: ReadRecording, kind: RecordKind) -> set[str]:
    stream = b"".join(each.data for each in found.records if each.kind is kind)
    return {frame.name for frame in Scanner(*FrameKind).feed(stream)}


def happened(found: ReadRecording) -> list[str]:
    return [str(each.fields["event"]) for each in found.records if each.kind is RecordKind.EVENT]


@asynccontextmanager
async def bench(top: Path) -> AsyncIterator[Daemon]:
    """A daemon alone."""
    gateway = Gateway(top)
    gateway.configure(ntrip={"host": "127.0.0.1", "port": 9, "mountpoint": "MP", "tls": False})
    async with gateway.running() as daemon:
        yield daemon


def places_in(data: bytes) -> int:
    return sum(place.to_bytes(4, "little") in data for place in PLACES) + (b",5231." in data)


@pytest.mark.slow
async def test_a_recording_has_both_directions_and_the_sessions_and_neither_key_nor_place(
    directory: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with services(directory) as (gateway, _, caster), gateway.running() as daemon:
        await until(lambda: state(gateway) == "streaming", 30)
        await until(lambda: gateway.status["receiver"]["fix"] == "RTK fixed", 60)
        path, whole = directory / "r.ztpd", directory / "whole.ztpd"
        recorded = asyncio.create_task(
            offload(ztpd, directory, "record", str(path), "--seconds", "4")
        )
        await until(lambda: path.exists())
        await asyncio.sleep(1)
        caster.end_sessions()
        assert await recorded == 0
        await until(lambda: not daemon.observation.recorder.is_recording, 5)
        words = ("record", str(whole), "--seconds", "1", "--with-position")
        assert await offload(ztpd, directory, *words) == 0
        assert state(gateway) == "streaming"
        stored = CredentialStore(gateway.state_dir).load()

    assert stored
    assert path.stat().st_mode & 0o777 == 0o600
    found = recording.read(path.read_bytes())
    assert not found.is_cut
    assert 3 < found.duration_s < 5
    assert ubx.parse(bytes.fromhex(found.about["receiver"])).model == "ZED-F9P"  # type: ignore[union-attr]
    assert {"NAV-PVT", "RXM-COR", "GGA"} <= names(found, RecordKind.FROM_RECEIVER)
    assert {"1077"} <= names(found, RecordKind.TO_RECEIVER)
    assert names(found, RecordKind.FROM_SERVICE) == {"1077"}
    assert happened(found)[:2] == ["port-opened", "session-opened"]
    assert happened(found)[2:4] == ["session-ended", "session-opened"]
    unpacked = b"".join(each.data for each in found.records)
    assert not places_in(unpacked)
    assert places_in(b"".join(each.data for each in recording.read(whole.read_bytes()).records))
    for secret in [TOKEN, *stored.stored.credentials.secrets()]:
        assert secret.reveal().encode() not in unpacked
    assert IMEI.encode() not in unpacked
    out, err = capfd.readouterr()
    assert out.splitlines() == [str(path), str(whole)]
    assert "from the receiver" in err
    assert "without secrets, positions moved to 1 N 1 E" in err


@pytest.mark.slow
async def test_the_keys_that_the_receiver_is_given_are_zeros(directory: Path) -> None:
    async with services(directory) as (gateway, _, _), gateway.running() as daemon:
        await until(lambda: state(gateway) == "streaming", 30)
        stream = daemon.observation.recorder.record(daemon.receiver, with_position=True)
        data = await anext(stream)
        daemon.receiver.set_keys(current_and_next())
        async with asyncio.timeout(20):
            while not (keys := _given_keys(data)):
                data += await anext(stream)
        await stream.aclose()
    assert len(keys) == 2
    assert KEY not in data
    assert NEXT_KEY not in data


def _given_keys(data: bytes) -> list[ubx.KeySlot]:
    parsed = (
        ubx.parse(frame.data)
        for each in recording.read(data).records
        if each.kind is RecordKind.TO_RECEIVER
        for frame in Scanner(FrameKind.UBX).feed(each.data)
    )
    found = [key for each in parsed if isinstance(each, ubx.SpartnKey) for key in each.keys]
    assert not any(any(key.value) for key in found)
    return found


@pytest.mark.slow
async def test_the_report_has_a_recording_where_seconds_are_given(directory: Path) -> None:
    async with services(directory) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "streaming", 30)
        path = directory / "r.tar.gz"
        words = ("report", "--seconds", "2", "--output", str(path))
        assert await offload(ztpd, directory, *words, timeout_s=60) == 0
    with tarfile.open(path) as archive:
        file = archive.extractfile("ztpd-report/recording.ztpd")
        assert file
        found = recording.read(file.read())
    assert "NAV-PVT" in names(found, RecordKind.FROM_RECEIVER)
    assert not places_in(b"".join(each.data for each in found.records))


async def test_without_a_daemon_there_is_no_file(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Gateway(directory)
    assert ztpd(directory, "record", str(directory / "r.ztpd"), "--seconds", "1") == 3
    assert not (directory / "r.ztpd").exists()
    assert "no daemon is running" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "soon", "1e9"])
def test_seconds_are_a_number_up_to_a_day(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="64"):
        main(["record", "--seconds", seconds])
    assert "is no number of seconds, up to a day" in capsys.readouterr().err


async def test_no_file_is_overwritten(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    taken = directory / "taken.ztpd"
    taken.write_text("mine")
    async with services(directory) as (gateway, _, _), gateway.running():
        await until(lambda: gateway.status.get("state"))
        assert await offload(ztpd, directory, "record", str(taken), "--seconds", "1") == 73
    assert taken.read_text() == "mine"
    assert "File exists" in capsys.readouterr().err


async def test_a_third_recording_is_refused_and_a_reader_that_hangs_up_makes_room(
    directory: Path,
) -> None:
    async with services(directory) as (gateway, _, _), gateway.running() as daemon:
        await until(lambda: gateway.status.get("state"))
        streams = [control.stream(gateway.runtime_dir, {"do": "record"}) for _ in range(3)]
        for each in streams[:2]:
            await offload(next, each)
        with pytest.raises(DaemonRefused, match="2 recordings are being made already"):
            await offload(next, streams[2])
        streams[0].close()
        await until(lambda: daemon.observation.recorder.is_free, 5)
        streams[1].close()
        await until(lambda: not daemon.observation.recorder.is_recording, 5)


@in_virtual_time
async def test_a_reader_that_is_slow_loses_bytes_and_is_told_and_the_daemon_goes_on(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as daemon:
        stream = daemon.observation.recorder.record(daemon.receiver, with_position=False)
        data = await anext(stream)
        filler = ubx.message(0x0A21, bytes(1000))
        for _ in range(2 * BUFFER_BYTES // 1000):
            daemon.observation.recorder.received(filler)
        data += await anext(stream)
        daemon.observation.recorder.received(filler)
        data += await anext(stream)
        await stream.aclose()
        assert not daemon.observation.recorder.is_recording
    found = recording.read(data)
    (lost,) = [each.fields for each in found.records if each.fields.get("event") == "lost"]
    kept = sum(each.data.count(filler) for each in found.records if filler in each.data)
    assert kept * len(filler) <= BUFFER_BYTES
    assert lost["bytes"] >= BUFFER_BYTES
    assert found.records[-1].data == filler


def test_a_daemon_that_nobody_records_has_no_code_for_it_in_memory() -> None:
    code = "import sys, ztpd.cli, ztpd.daemon; print([m for m in sys.modules if 'redaction' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == "[]"


@in_virtual_time
async def test_bytes_that_are_no_frame_are_zeros(tmp_path: Path) -> None:
    """They may be the remains of a key."""
    async with bench(tmp_path) as daemon:
        recorder = daemon.observation.recorder
        stream = recorder.record(daemon.receiver, with_position=True)
        data = await anext(stream)
        key = ubx.SpartnKey((ubx.KeySlot(b"\x5a" * 16, 2392, 0),)).encode()
        damaged = key[:8] + b"\xff" + key[9:]
        pvt = NavPvt(itow_ms=1000).encode()
        recorder.received(damaged[:20])
        recorder.received(damaged[20:] + pvt)
        data += await anext(stream)
        await stream.aclose()
    (record,) = recording.read(data).records
    assert b"\x5a" not in record.data
    assert len(record.data) == len(damaged) + len(pvt)
    assert only_frame(record.data.strip(b"\0")).name == "NAV-PVT"


@pytest.mark.slow
async def test_ctrl_c_ends_a_recording_in_order_and_without_seconds_it_goes_on(
    directory: Path,
) -> None:
    async with services(directory) as (gateway, _, _), gateway.running():
        await until(lambda: state(gateway) == "streaming", 30)
        words = [sys.executable, "-m", "ztpd", "record", "-"]
        process = await asyncio.create_subprocess_exec(
            *words, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        await asyncio.sleep(3)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert process.returncode == 0, err
    found = recording.read(out)
    assert not found.is_cut
    assert "NAV-PVT" in names(found, RecordKind.FROM_RECEIVER)
    assert json.loads(json.dumps(found.about))["position"] is False


async def test_the_end_of_the_daemon_is_told_and_the_file_is_whole(
    directory: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / "r.ztpd"
    async with services(directory) as (gateway, _, _):
        async with gateway.running():
            await until(lambda: gateway.status.get("state"))
            recorded = asyncio.create_task(offload(ztpd, directory, "record", str(path)))
            await until(lambda: path.exists())
            await asyncio.sleep(1)
        assert await recorded == 75
    assert not recording.read(path.read_bytes()).is_cut
    assert "ended during the recording" in capsys.readouterr().err
    assert not [each for each in caplog.records if each.levelno >= logging.ERROR]


@pytest.mark.parametrize(
    "sent",
    [
        b"no recording\n" * 10,
        recording.header({}) + b"no record\n",
        recording.header({})
        + Record(0.0, RecordKind.EVENT, b'{"event": "lost", "bytes": "x"}').encode(),
    ],
)
async def test_FR89_a_daemon_that_was_taken_over_ends_a_recording_in_order(
    sent: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async def enemy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"ok": true}\n' + sent)
        await writer.drain()
        writer.close()

    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    server = await asyncio.start_unix_server(enemy, tmp_path / control.SOCKET_NAME)
    async with server:
        status = await offload(main, ["record", "--seconds", "2", str(tmp_path / "file")])
    assert status == DaemonSilent.exit_status
    assert "Traceback" not in capsys.readouterr().err
