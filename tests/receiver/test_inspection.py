"""`ztpd receiver show` and `monitor`: the output for three models."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.receiver_bench import bench, in_virtual_time
from ztpd import records
from ztpd.cli import main, receiver
from ztpd.config import Config, LoadedConfig, ReceiverOptions
from ztpd.daemon import Daemon
from ztpd.errors import PortAbsent, ReceiverRefused, ReceiverSilent, ReceiverUnconfigurable
from ztpd.model import FrameKind
from ztpd.receiver import Inspection, ReceiverSettings, inspect
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import F9P, F9P_OLD, X20P, Model, SimReceiver
from ztpd.system.offload import offload
from ztpd.wire import ubx
from ztpd.wire.ubx import CfgValget, CfgValgetPoll, Message

QUESTIONS = {ubx.poll(Message.MON_VER), ubx.poll(Message.RXM_SPARTNKEY)}


async def looked_at(
    tmp_path: Path, model: Model, **settings: Any
) -> tuple[Inspection, SimReceiver]:
    async with Pty(tmp_path / "gnss") as pty, SimReceiver(pty, model) as sim:
        return await inspect(ReceiverSettings(pty.path, **settings)), sim


def states(found: Inspection, state: str) -> list[str]:
    return [each.name for each in found.settings if each.state == state]


def nothing_was_written(sim: SimReceiver) -> bool:
    for frame in sim.received:
        question = frame.data in QUESTIONS or isinstance(ubx.parse(frame.data), CfgValgetPoll)
        if frame.kind is not FrameKind.UBX or not question:
            return False
    return bool(sim.received)


@pytest.mark.parametrize("model", [F9P, F9P_OLD, X20P], ids=lambda model: model.firmware)
@in_virtual_time
async def test_each_model_is_shown_with_the_pending_changes_and_nothing_is_written(
    tmp_path: Path, model: Model
) -> None:
    found, sim = await looked_at(tmp_path, model)
    assert nothing_was_written(sim)
    assert (found.model, found.firmware) == (model.module, model.firmware)
    assert found.takes == (("RTCM3", "SPARTN") if model.spartn else ("RTCM3",))
    assert "CFG-MSGOUT-UBX_NAV_PVT_USB" in states(found, "wrong")
    assert ("CFG-USBINPROT-SPARTN" in states(found, "unknown")) is not model.spartn


@in_virtual_time
async def test_it_reads_like_a_list_of_work(tmp_path: Path) -> None:
    found, _ = await looked_at(tmp_path, F9P_OLD, keys={"CFG-RATE-MEAS": 200})
    text = receiver.inspection(found)
    squeezed = re.sub(r"(?<=\S)  +", "  ", re.sub(r"port  \S+", "port  P", text))
    assert squeezed.startswith(
        """\
   receiver  ZED-F9P, firmware HPG 1.13, protocol 27.12
       port  P at 38400 baud
      takes  RTCM3
    setting  CFG-UART1INPROT-RTCM3X  1
"""
    )
    assert "    unknown  CFG-USBINPROT-SPARTN  not known to this firmware" in squeezed
    assert "     change  CFG-MSGOUT-UBX_NAV_PVT_USB  0, would be set to 1\n" in squeezed
    assert "     change  CFG-RATE-MEAS  1000, would be set to 200\n" in squeezed
    assert squeezed.endswith("             7 settings would be changed (in RAM)\n")


@in_virtual_time
async def test_the_daemons_answer_reads_the_same(tmp_path: Path) -> None:
    found, _ = await looked_at(tmp_path, F9P)
    answer = records.from_json(Inspection, records.to_json(found))
    assert answer == found
    assert receiver.inspection(answer) == receiver.inspection(found)


@in_virtual_time
async def test_a_missing_port_is_reported(tmp_path: Path) -> None:
    with pytest.raises(PortAbsent):
        await inspect(ReceiverSettings(str(tmp_path / "gone")))


@in_virtual_time
async def test_beside_the_daemon_the_receiver_is_read_again(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        with pytest.raises(ReceiverSilent):
            await b.receiver.inspect()
        await b.receiver.wait_ready()
        assert states(await b.receiver.inspect(), "wrong") == []
        b.sim.set("CFG-SPARTN-USE_SOURCE", 1)
        before = len(b.sim.received)
        first, second = await asyncio.gather(b.receiver.inspect(), b.receiver.inspect())
        assert states(first, "wrong") == ["CFG-SPARTN-USE_SOURCE"]
        assert second == first
        asked = [ubx.parse(frame.data) for frame in b.sim.received[before:]]
        assert all(isinstance(message, CfgValgetPoll | CfgValget) for message in asked)


@in_virtual_time
async def test_who_asks_while_the_port_goes_away_gets_an_answer(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        asking = asyncio.create_task(b.receiver.inspect())
        await asyncio.sleep(0)
        b.pty.unplug()
        await asyncio.wait([asking], timeout=10)
        assert asking.exception() is not None


@in_virtual_time
async def test_a_question_that_stays_unanswered_costs_no_corrections(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(10)
        b.sim.faults.answers_no_settings = True
        with pytest.raises(ReceiverUnconfigurable):
            await b.receiver.inspect()
        await asyncio.sleep(1)
        assert b.receiver.ready
        b.sim.faults.answers_no_settings = False
        assert states(await b.receiver.inspect(), "wrong") == []


@in_virtual_time
async def test_an_unusable_receiver_is_reported_with_the_cause(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.refused = {
            key for key in b.sim.settings if key >> 16 in (0x1073, 0x1075, 0x1077)
        }
        await asyncio.sleep(10)
        with pytest.raises(ReceiverRefused):
            await b.receiver.inspect()


@pytest.mark.parametrize("model", [F9P, F9P_OLD, X20P], ids=lambda model: model.firmware)
@in_virtual_time
async def test_the_monitor_shows_fix_and_corrections_by_type(tmp_path: Path, model: Model) -> None:
    async with bench(tmp_path, model) as b:
        assert receiver.life(b.receiver.view) == "   receiver  not found yet\n"
        await b.receiver.wait_ready()
        await asyncio.sleep(5)
        names = ["OCB-GPS", "OCB-GLO"] * 20
        if model.spartn:
            await b.stream(40, lambda: b.spartn(name=names.pop()))
        text = receiver.life(b.receiver.view)
        assert f"receiver  {model.module}, {model.firmware}, {b.pty.path}\n" in text
        if model.spartn:
            assert "RTK fixed, " in text
            assert re.search(r"first  fix after \d", text)
            assert "corrections  used, the last within" in text
            rejected = {F9P: 0, X20P: 20}[model]
            assert re.search(rf"OCB-GLO +{20 - rejected} +{rejected}\n", text)
        else:
            assert "3D, " in text


@asynccontextmanager
async def daemon(tmp_path: Path, port: str) -> AsyncIterator[Path]:
    for name in ("state", "run"):
        (tmp_path / name).mkdir()
    config = Config(receiver=ReceiverOptions(port=port))
    running = Daemon(
        LoadedConfig(config, {}, ()), state_dir=tmp_path / "state", runtime_dir=tmp_path / "run"
    )
    task = asyncio.create_task(running.run())
    try:
        yield tmp_path / "run"
    finally:
        running.stop()
        await task


async def test_the_verbs_ask_a_running_daemon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))

    async def ztpd(*words: str) -> int:
        return await offload(lambda: main(list(words)))

    async with (
        Pty(tmp_path / "gnss") as pty,
        SimReceiver(pty, speed=5),
        daemon(tmp_path, pty.path),
    ):
        for _ in range(50):
            await asyncio.sleep(0.1)
            if await ztpd("receiver", "show", "--json") == 0:
                break
        reported = json.loads(capsys.readouterr().out)
        assert reported["model"] == "ZED-F9P"
        assert "wrong" not in [each["state"] for each in reported["settings"]]
        assert await ztpd("receiver", "show") == 0
        assert capsys.readouterr().out.endswith("nothing would be changed\n")
        assert await ztpd("receiver", "monitor", "--once") == 0
        assert "receiver  ZED-F9P, HPG 1.32" in capsys.readouterr().out


def test_without_a_daemon_there_is_nothing_to_monitor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    assert main(["receiver", "monitor", "--once"]) == 3
    assert "systemctl start ztpd" in capsys.readouterr().err
