"""The simulated receiver, read through a bare file descriptor by pyubx2."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pyubx2 import UBXReader

from tests.support import virtualtime
from ztpd.model import Frame, FrameKind
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import (
    D9S,
    F9P,
    F9P_NEW,
    F9P_OLD,
    F9R,
    F9T,
    M8P,
    M9N,
    X20P,
    X20P_HAS,
    Model,
    SimReceiver,
)
from ztpd.wire import ubx, ubxcfg
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_frame
from ztpd.wire.ubx import (
    Ack,
    Antenna,
    CfgValget,
    CfgValgetPoll,
    CfgValset,
    Jamming,
    KeySlot,
    Message,
    MonComms,
    MonRf,
    MonVer,
    NavPvt,
    NavSat,
    Parsed,
    RxmCor,
    RxmRtcm,
    SecSig,
    SpartnKey,
    Spoofing,
)

ALL = (D9S, F9P, F9P_NEW, F9P_OLD, F9R, F9T, M8P, M9N, X20P, X20P_HAS)
KEY = bytes(range(16))
OTHER_KEY = bytes(16)


class Host:
    """The other end of the line."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        self._scanner = Scanner(FrameKind.UBX, FrameKind.NMEA)

    async def listen(self, seconds: float = 0.3) -> list[Frame]:
        await asyncio.sleep(seconds)
        return self._scanner.feed(self.hear())

    def hear(self) -> bytes:
        """All that came since: a read gives what the kernel has moved so far."""
        said = b""
        with contextlib.suppress(BlockingIOError):
            while more := os.read(self.fd, 65536):
                said += more
        return said

    async def ask(self, *requests: bytes) -> list[Parsed]:
        """The UBX messages that come back at once."""
        await self.listen(0)
        for request in requests:
            os.write(self.fd, request)
        return [ubx.parse(f.data) for f in await self.listen() if f.kind is FrameKind.UBX]

    async def switch_on(self, *names: str) -> None:
        answer = await self.ask(CfgValset({ubxcfg.KEYS[name]: 1 for name in names}).encode())
        assert Ack(Message.CFG_VALSET, ok=True) in answer


@contextlib.asynccontextmanager
async def powered(
    tmp_path: Path, model: Model = F9P, **options: Any
) -> AsyncIterator[tuple[SimReceiver, Host]]:
    async with Pty(tmp_path / "gnss") as pty, SimReceiver(pty, model, **options) as sim:
        host = Host(pty.path)
        try:
            yield sim, host
        finally:
            os.close(host.fd)


def in_virtual_time(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[[Path], None]:
    def run(tmp_path: Path) -> None:
        virtualtime.run(test(tmp_path))

    run.__name__ = test.__name__
    return run


def spartn(name: str = "OCB-GPS", *, encrypted: bool = False) -> bytes:
    subtype = {"OCB-GPS": 0, "OCB-GLO": 1}[name]
    return spartn_frame(0, subtype, bytes(50), time_tag=4, encrypted=encrypted)


def reports(messages: list[Parsed]) -> list[RxmCor]:
    return [message for message in messages if isinstance(message, RxmCor)]


@in_virtual_time
async def test_it_reports_its_model(tmp_path: Path) -> None:
    for model in ALL:
        async with powered(tmp_path / model.firmware, model) as (_, host):
            (version,) = await host.ask(ubx.poll(Message.MON_VER))
            assert isinstance(version, MonVer)
            assert (version.model, version.firmware) == (model.module, model.firmware)


@in_virtual_time
async def test_out_of_the_box_it_chatters_nmea_and_no_ubx(tmp_path: Path) -> None:
    async with powered(tmp_path) as (_, host):
        frames = await host.listen(5.5)
        assert [frame.name for frame in frames] == ["GGA"] * 5


@in_virtual_time
async def test_settings_are_read_set_and_refused_as_a_whole(tmp_path: Path) -> None:
    known, unknown = ubxcfg.KEYS["CFG-RATE-MEAS"], 0x20930031
    async with powered(tmp_path) as (sim, host):
        poll = CfgValgetPoll((known,)).encode()
        assert await host.ask(poll) == [
            CfgValget({known: 1000}),
            Ack(Message.CFG_VALGET, ok=True),
        ]
        assert await host.ask(CfgValgetPoll((known, unknown)).encode()) == [
            Ack(Message.CFG_VALGET, ok=False)
        ]
        assert await host.ask(CfgValset({known: 500, unknown: 1}).encode()) == [
            Ack(Message.CFG_VALSET, ok=False)
        ]
        assert sim.setting("CFG-RATE-MEAS") == 1000
        assert Ack(Message.CFG_VALSET, ok=True) in await host.ask(CfgValset({known: 500}).encode())
        assert sim.setting("CFG-RATE-MEAS") == 500


@in_virtual_time
async def test_a_restart_loses_the_settings_in_ram_and_keeps_those_in_flash(tmp_path: Path) -> None:
    spartn_on, rate = ubxcfg.KEYS["CFG-USBINPROT-SPARTN"], ubxcfg.KEYS["CFG-RATE-MEAS"]
    async with powered(tmp_path) as (sim, host):
        layers = ubx.LAYER_RAM | ubx.LAYER_FLASH
        await host.ask(CfgValset({spartn_on: 1}).encode(), CfgValset({rate: 2000}, layers).encode())
        os.write(host.fd, SpartnKey((KeySlot(KEY, 2400, 0),)).encode())
        await asyncio.sleep(0.1)
        assert sim.keys
        sim.reset()
        assert sim.keys == ()
        assert sim.setting("CFG-{}INPROT-SPARTN") == 0
        assert sim.setting("CFG-RATE-MEAS") == 2000
        assert await host.ask(ubx.poll(Message.MON_VER)) == [], "it boots"
        banner = await host.listen(1)
        assert b"u-blox AG" in banner[0].data


@in_virtual_time
async def test_a_protocol_that_is_not_switched_on_is_skipped_without_a_word(
    tmp_path: Path,
) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_RXM_COR_USB")
        assert reports(await host.ask(spartn())) == []
        assert sim.corrections() == []
        await host.switch_on("CFG-USBINPROT-SPARTN")
        assert len(reports(await host.ask(spartn()))) == 1


@in_virtual_time
async def test_ubx_inside_a_message_it_does_not_take_is_obeyed(tmp_path: Path) -> None:
    """The trap that makes hidden UBX dangerous."""
    hidden = CfgValset({ubxcfg.KEYS["CFG-RATE-MEAS"]: 100}).encode()
    carrier = spartn_frame(0, 0, hidden, time_tag=1)
    async with powered(tmp_path) as (sim, host):
        os.write(host.fd, carrier)
        await asyncio.sleep(0.1)
        assert sim.setting("CFG-RATE-MEAS") == 100


@in_virtual_time
async def test_keys_are_accepted_silently_and_reported_on_request(tmp_path: Path) -> None:
    keys = SpartnKey((KeySlot(KEY, 2400, 7), KeySlot(OTHER_KEY, 2404, 0)))
    async with powered(tmp_path) as (_, host):
        assert await host.ask(keys.encode()) == []
        assert await host.ask(ubx.poll(Message.RXM_SPARTNKEY)) == [keys]
    async with powered(tmp_path, F9P_OLD) as (_, host):
        assert await host.ask(keys.encode(), ubx.poll(Message.RXM_SPARTNKEY)) == []


@in_virtual_time
async def test_it_reports_each_correction_as_the_sheet_says(tmp_path: Path) -> None:
    async with powered(tmp_path, X20P, key=KEY) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_RXM_COR_USB", "CFG-USBINPROT-SPARTN")

        async def report(data: bytes) -> RxmCor:
            (one,) = reports(await host.ask(data))
            return one

        assert (await report(spartn())).used is False, "it has no time yet"
        await asyncio.sleep(3)
        assert (await report(spartn())).used is True
        locked = await report(spartn(encrypted=True))
        assert (locked.used, locked.encrypted, locked.decrypted) == (False, True, False)
        sim.keys = (KeySlot(OTHER_KEY, 2400, 0),)
        assert (await report(spartn(encrypted=True))).decrypted is False
        sim.keys = (KeySlot(OTHER_KEY, 2400, 0), KeySlot(KEY, 2404, 0))
        assert (await report(spartn(encrypted=True))).used is True
        unsupported = await report(spartn("OCB-GLO"))
        assert (unsupported.used, unsupported.input_handled) == (False, False)
        sim.set("CFG-SPARTN-USE_SOURCE", 1)
        assert (await report(spartn())).used is False
        damaged = bytearray(spartn())
        damaged[20] ^= 1
        assert (await report(bytes(damaged))).erroneous is True
        rtcm = await report(rtcm_frame((1077 << 4).to_bytes(2, "big") + bytes(30)))
        assert (rtcm.protocol, rtcm.message_type, rtcm.used) == (1, 1077, True)


@in_virtual_time
async def test_the_fix_comes_with_corrections_and_goes_without(tmp_path: Path) -> None:
    story: list[str] = []
    async with powered(tmp_path, say=story.append) as (_, host):
        await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB", "CFG-USBINPROT-SPARTN")
        await asyncio.sleep(5)
        for _ in range(12):
            os.write(host.fd, spartn())
            await asyncio.sleep(1)
        await asyncio.sleep(70)
        fixes = [ubx.parse(f.data) for f in await host.listen() if f.name == "NAV-PVT"]
        labels = [fix.to_fix().label for fix in fixes if isinstance(fix, NavPvt)]
        assert list(dict.fromkeys(labels)) == ["no fix", "3D", "DGNSS", "RTK float", "RTK fixed"]
        assert labels[-1] == "3D"
        ages = [fix.to_fix().correction_age_s for fix in fixes if isinstance(fix, NavPvt)]
        assert ages[-12] == 60
        assert ages[-1] is None
    assert story == [
        "receiver: took 2 settings",
        "receiver: 3D",
        "receiver: DGNSS after 1 correction messages",
        "receiver: RTK float after 4 correction messages",
        "receiver: RTK fixed after 12 correction messages",
        "receiver: 3D",
    ]


@in_virtual_time
async def test_a_cold_start_has_no_time_and_a_warm_one_has(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1, saved=True)

        async def first() -> NavPvt:
            frames = [f for f in await host.listen(2.2) if f.name == "NAV-PVT"]
            message = ubx.parse(frames[0].data)
            assert isinstance(message, NavPvt)
            return message

        await asyncio.sleep(5)
        await host.listen(0)
        sim.reset()
        assert (await first()).fix_ok
        sim.power_cycle()
        cold = await first()
        assert not cold.fix_ok
        assert cold.utc is None


@in_virtual_time
async def test_a_faster_clock_makes_more_positions(tmp_path: Path) -> None:
    async with powered(tmp_path, speed=10) as (sim, host):
        sim.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1)
        frames = [f for f in await host.listen(2.05) if f.name == "NAV-PVT"]
        assert 18 <= len(frames) <= 21


@in_virtual_time
async def test_a_uart_hears_and_says_noise_at_another_speed(tmp_path: Path) -> None:
    async with powered(tmp_path, wired="UART1") as (sim, host):
        assert len(await host.ask(ubx.poll(Message.MON_VER))) == 1
        sim.set("CFG-UART1-BAUDRATE", 115200)
        assert await host.ask(ubx.poll(Message.MON_VER)) == []
        assert await host.listen(3) == []
        assert len(sim.received) == 1


@in_virtual_time
async def test_a_uart_is_no_faster_than_its_speed(tmp_path: Path) -> None:
    async with powered(tmp_path, wired="UART1") as (sim, host):
        for _ in range(10):
            os.write(host.fd, rtcm_frame(bytes(900)))
        await asyncio.sleep(1)
        assert 3 <= len(sim.corrections()) <= 4, "3840 bytes a second"
        await asyncio.sleep(2)
        assert len(sim.corrections()) == 10


@in_virtual_time
async def test_faults_can_be_switched_while_it_runs(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        poll = ubx.poll(Message.MON_VER)
        sim.faults.sends_nothing = True
        assert await host.ask(poll) == []
        sim.faults.sends_nothing = False
        sim.faults.lost_answers = 1
        assert await host.ask(poll) == []
        assert len(await host.ask(poll)) == 1
        sim.faults.refused = {ubxcfg.KEYS["CFG-TMODE-MODE"]}
        answer = await host.ask(CfgValgetPoll((ubxcfg.KEYS["CFG-TMODE-MODE"],)).encode())
        assert answer == [Ack(Message.CFG_VALGET, ok=False)]


# Models that lack functions of a ZED-F9P


def msm(station: int = 2003, number: int = 1077) -> bytes:
    """An RTCM observation message of a reference station."""
    return rtcm_frame((number << 12 | station).to_bytes(3, "big") + bytes(30))


async def fixes(host: Host, seconds: float = 2.0) -> list[NavPvt]:
    await host.listen(0)
    messages = [ubx.parse(f.data) for f in await host.listen(seconds) if f.name == "NAV-PVT"]
    return [message for message in messages if isinstance(message, NavPvt)]


@in_virtual_time
async def test_old_firmware_reports_rtcm_in_its_own_message(tmp_path: Path) -> None:
    async with powered(tmp_path, F9P_OLD) as (_, host):
        cor = ubxcfg.KEYS["CFG-MSGOUT-UBX_RXM_COR_USB"]
        assert await host.ask(CfgValgetPoll((cor,)).encode()) == [Ack(Message.CFG_VALGET, ok=False)]
        await host.switch_on("CFG-MSGOUT-UBX_RXM_RTCM_USB")
        await asyncio.sleep(3)
        assert await host.ask(msm()) == [RxmRtcm(1077, 2003, used=True)]


@in_virtual_time
async def test_generation_8_refuses_settings_by_key(tmp_path: Path) -> None:
    async with powered(tmp_path, M8P) as (_, host):
        rate = ubxcfg.KEYS["CFG-RATE-MEAS"]
        answers = await host.ask(CfgValgetPoll((rate,)).encode(), CfgValset({rate: 200}).encode())
        assert answers == [Ack(Message.CFG_VALGET, ok=False), Ack(Message.CFG_VALSET, ok=False)]
        assert [frame.name for frame in await host.listen(1.2)] == ["GGA"]


@in_virtual_time
async def test_receivers_without_rtk_stop_at_a_differential_position(tmp_path: Path) -> None:
    for model in (F9T, M9N):
        async with powered(tmp_path / model.module, model) as (_, host):
            await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB")
            await asyncio.sleep(4)
            for _ in range(20):
                os.write(host.fd, msm())
                await asyncio.sleep(0.2)
            assert (await fixes(host))[-1].to_fix().label == "DGNSS"


@in_virtual_time
async def test_a_receiver_of_corrections_has_no_position(tmp_path: Path) -> None:
    async with powered(tmp_path, D9S) as (_, host):
        pvt = ubxcfg.KEYS["CFG-MSGOUT-UBX_NAV_PVT_USB"]
        assert await host.ask(CfgValgetPoll((pvt,)).encode()) == [Ack(Message.CFG_VALGET, ok=False)]
        assert await host.listen(5) == []


# Other sources


@in_virtual_time
async def test_with_has_from_the_sky_the_input_of_the_host_is_dead(tmp_path: Path) -> None:
    async with powered(tmp_path, X20P_HAS) as (sim, host):
        sim.set("CFG-NAVCOR-ENABLE_HOST", 0, saved=True)
        sim.set("CFG-NAVCOR-ENABLE_GAL_HAS", 1, saved=True)
        await host.switch_on("CFG-MSGOUT-UBX_RXM_COR_USB")
        await asyncio.sleep(4)
        seen = reports(await host.ask(msm()) + await host.ask(*[msm()] * 3))
        await asyncio.sleep(2)
        seen += reports([ubx.parse(f.data) for f in await host.listen() if f.name == "RXM-COR"])
        assert {(each.protocol, each.used) for each in seen} == {(ubx.PROTOCOL_HAS, True)}
        sim.set("CFG-NAVCOR-ENABLE_HOST", 1)
        (report,) = reports(await host.ask(msm()))
        assert (report.protocol, report.used) == (ubx.PROTOCOL_RTCM3, True)


@in_virtual_time
async def test_a_radio_on_another_port_is_preferred(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_RXM_COR_USB", "CFG-USBINPROT-SPARTN")
        sim.faults.radio_station = 77
        await asyncio.sleep(3.5)
        await host.listen(0)
        os.write(host.fd, spartn())
        seen = reports([ubx.parse(f.data) for f in await host.listen(1.2) if f.name == "RXM-COR"])
        assert {(each.protocol, each.correction_id, each.used) for each in seen} == {
            (ubx.PROTOCOL_RTCM3, 77, True),
            (ubx.PROTOCOL_SPARTN, ubx.NO_STATION, False),
        }


@in_virtual_time
async def test_the_filter_lets_one_station_pass(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_RXM_COR_USB")
        await asyncio.sleep(3)
        sim.set("CFG-RTCM-DF003_IN", 12)
        used: dict[int, list[bool | None]] = {}
        for strictness in (0, 1, 2):
            sim.set("CFG-RTCM-DF003_IN_FILTER", strictness)
            answers = await host.ask(msm(12), msm(2003), rtcm_frame(bytes([0x3F, 0xB0, 0])))
            used[strictness] = [report.used for report in reports(answers)]
        assert used == {
            0: [True, True, True],
            1: [True, False, True],
            2: [True, False, False],
        }


@in_virtual_time
async def test_a_base_station_has_a_time_and_uses_no_corrections(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB", "CFG-MSGOUT-UBX_RXM_COR_USB")
        sim.set("CFG-TMODE-MODE", 1)
        await asyncio.sleep(4)
        assert (await fixes(host))[-1].fix_type == 5
        assert [report.used for report in reports(await host.ask(msm()))] == [False]


# The line and its answers


@in_virtual_time
async def test_a_lock_refuses_every_change_and_answers_questions(tmp_path: Path) -> None:
    rate = ubxcfg.KEYS["CFG-RATE-MEAS"]
    async with powered(tmp_path) as (sim, host):
        sim.faults.locked = True
        assert await host.ask(CfgValset({rate: 200}).encode(), CfgValgetPoll((rate,)).encode()) == [
            Ack(Message.CFG_VALSET, ok=False),
            CfgValget({rate: 1000}),
            Ack(Message.CFG_VALGET, ok=True),
        ]


@in_virtual_time
async def test_with_a_cut_wire_it_hears_nothing_and_goes_on_sending(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB")
        sim.received.clear()
        sim.faults.hears_nothing = True
        assert Message.MON_VER not in [
            getattr(message, "number", None)
            for message in await host.ask(ubx.poll(Message.MON_VER))
        ]
        assert sim.received == []
        assert {"NAV-PVT", "GGA"} <= {frame.name for frame in await host.listen(3)}


@in_virtual_time
async def test_with_ubx_output_off_it_sends_nmea_only(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        sim.set("CFG-{}OUTPROT-UBX", 0)
        assert await host.ask(ubx.poll(Message.MON_VER)) == []
        sim.reset()
        frames = await host.listen(4)
        assert {frame.kind for frame in frames} == {FrameKind.NMEA}


@in_virtual_time
async def test_answers_may_be_late(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        sim.faults.answer_delay_s = 1.2
        assert await host.ask(ubx.poll(Message.MON_VER)) == []
        assert "MON-VER" in [frame.name for frame in await host.listen(1.2)]


# Antenna and sky


async def _monitored(host: Host, sim: SimReceiver) -> Mapping[type[Parsed], Parsed]:
    """One report of each kind."""
    for name in ("NAV_SAT", "MON_RF", "MON_COMMS", "SEC_SIG"):
        sim.set(f"CFG-MSGOUT-UBX_{name}_{{}}", 1)
    await host.listen(0)
    frames = [frame for frame in await host.listen(1.3) if frame.kind is FrameKind.UBX]
    return {type(message): message for message in (ubx.parse(frame.data) for frame in frames)}


@in_virtual_time
async def test_the_antenna_is_known_where_its_detection_is_on(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        seen = {}
        for detection in (0, 1):
            sim.set("CFG-HW-ANT_CFG_SHORTDET", detection)
            sim.set("CFG-HW-ANT_CFG_OPENDET", detection)
            for antenna in (Antenna.OK, Antenna.SHORT, Antenna.OPEN):
                sim.faults.antenna = antenna
                report = (await _monitored(host, sim))[MonRf]
                assert isinstance(report, MonRf)
                seen[detection, antenna] = report.antenna
        assert seen == {
            **{(0, each): Antenna.UNKNOWN for each in (Antenna.OK, Antenna.SHORT, Antenna.OPEN)},
            **{(1, each): each for each in (Antenna.OK, Antenna.SHORT, Antenna.OPEN)},
        }


@in_virtual_time
async def test_newer_firmware_reports_jamming_in_sec_sig_alone(tmp_path: Path) -> None:
    for model in (F9P, F9P_NEW):
        async with powered(tmp_path / model.firmware, model) as (sim, host):
            if model.jamming_in_rf:
                sim.set("CFG-ITFM-ENABLE", 1)
            sim.faults.jamming, sim.faults.spoofing = Jamming.CRITICAL, Spoofing.INDICATED
            seen = await _monitored(host, sim)
            security, radio = seen[SecSig], seen[MonRf]
            assert isinstance(security, SecSig)
            assert isinstance(radio, MonRf)
            assert (security.jamming, security.spoofing) == (Jamming.CRITICAL, Spoofing.INDICATED)
            assert security.version == model.security
            expected = Jamming.CRITICAL if model is F9P else Jamming.UNKNOWN
            assert radio.jamming is expected


@in_virtual_time
async def test_satellites_get_weak_and_ports_overrun(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await asyncio.sleep(4)
        seen = await _monitored(host, sim)
        assert isinstance(strong := seen[NavSat], NavSat)
        sim.faults.cno_dbhz, sim.faults.overruns = 25, 3
        seen = await _monitored(host, sim)
        assert isinstance(weak := seen[NavSat], NavSat)
        assert isinstance(ports := seen[MonComms], MonComms)
        assert max(each.cno_dbhz for each in strong.satellites) == 44
        assert max(each.cno_dbhz for each in weak.satellites) == 25
        assert sum(each.used for each in strong.satellites) >= 18
        assert ports.ports["USB"].overruns == 3


@in_virtual_time
async def test_in_a_tunnel_sensors_go_on_and_satellites_do_not(tmp_path: Path) -> None:
    for model in (F9R, F9P):
        async with powered(tmp_path / model.module, model) as (sim, host):
            await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB")
            await asyncio.sleep(4)
            sim.faults.tunnel = True
            last = (await fixes(host, 3))[-1]
            assert last.satellites == 0
            assert (last.fix_type, last.fix_ok) == ((1, True) if model is F9R else (0, False))
            assert model is F9P or last.hacc_mm == 38_000


@in_virtual_time
async def test_a_position_may_stay_float(tmp_path: Path) -> None:
    async with powered(tmp_path) as (sim, host):
        await host.switch_on("CFG-MSGOUT-UBX_NAV_PVT_USB")
        sim.faults.never_fixed = True
        await asyncio.sleep(4)
        for _ in range(20):
            os.write(host.fd, msm())
            await asyncio.sleep(0.2)
        assert (await fixes(host))[-1].to_fix().label == "RTK float"


@pytest.mark.parametrize("model", ALL, ids=lambda model: model.firmware)
def test_pyubx2_reads_everything_it_says(tmp_path: Path, model: Model) -> None:
    said = bytearray()

    async def listen() -> None:
        async with powered(tmp_path, model, key=KEY) as (sim, host):
            for message in ("NAV_PVT", *model.reports, *model.monitors):
                sim.set(f"CFG-MSGOUT-UBX_{message}_{{}}", 1)
            sim.set("CFG-{}INPROT-SPARTN", int(model.spartn))
            sim.keys = (KeySlot(KEY, 2400, 0),)
            for request in (
                ubx.poll(Message.MON_VER),
                ubx.poll(Message.RXM_SPARTNKEY),
                CfgValgetPoll((ubxcfg.KEYS["CFG-RATE-MEAS"],)).encode(),
                spartn(encrypted=True) if model.spartn else msm(),
            ):
                os.write(host.fd, request)
                for _ in range(4):  # a terminal holds 4 kB
                    await asyncio.sleep(0.5)
                    said.extend(host.hear())
            sim.reset()
            await asyncio.sleep(3)
            said.extend(host.hear())

    virtualtime.run(listen())
    names = {
        message.identity
        for _, message in UBXReader(BytesIO(bytes(said)), quitonerror=2, protfilter=3)
        if message is not None
    }
    expected = {"MON-VER", "GNTXT", "ACK-ACK" if model.key_value else "ACK-NAK"}
    if model.navigates:
        expected |= {"NAV-PVT", "GNGGA"}
        expected |= {each.replace("_", "-") for each in (*model.reports, *model.monitors)}
        if model.spartn:
            expected.discard("RXM-RTCM")  # it was sent SPARTN
    assert expected <= names
    assert ("RXM-SPARTN-KEY" in names) == model.spartn
