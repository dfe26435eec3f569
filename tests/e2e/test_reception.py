"""A position that stays float, or does not come: the whole daemon says why, in status, check and
journal, once, and says when it is over."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import in_virtual_time, log_lines
from tests.support.until import until
from ztpd import check, status
from ztpd.check import LinkState
from ztpd.cli import receiver as screen
from ztpd.cli.status import render
from ztpd.health import Health, health
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.sim.receiver import F9P, F9P_NEW, F9P_OLD, X20P, Faults, Model, SimReceiver
from ztpd.status import FindingStatus, Status
from ztpd.wire.rtcm import StationPosition
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

FAR = StationPosition(2003, 3_830_000.0, 912_000.0, 5_000_000.0, 0.0)


class Site:
    """A gateway with a private caster, in virtual time."""

    def __init__(self, gateway: Gateway, sim: SimReceiver, log: list[str]) -> None:
        self.gateway, self.sim, self.log = gateway, sim, log

    @property
    def status(self) -> Status:
        return status.read(self.gateway.runtime_dir)

    @property
    def findings(self) -> list[str]:
        return [each.event for each in self.status.receiver.findings]

    def logged(self, event: str) -> list[str]:
        return [line for line in self.log if line.startswith(event + " ")]

    async def found(self, event: str) -> FindingStatus:
        await until(lambda: event in self.findings, 400)
        return next(each for each in self.status.receiver.findings if each.event == event)

    async def checked(self) -> list[check.Result]:
        return await self.gateway.checked(self.status)

    async def check_use(self) -> check.Result:
        return next(each for each in await self.checked() if each.layer == "use")


@asynccontextmanager
async def site(
    top: Path,
    model: Model = F9P,
    *,
    faults: Callable[[Faults], None] = lambda _: None,
    needs_gga: bool = False,
    **stream: Any,
) -> AsyncIterator[Site]:
    """RTK float at best; streaming, unless the caster waits for a position."""

    async def blocks() -> AsyncIterator[bytes]:
        pieces = corrections.coalesce(corrections.rtcm(random.Random(1), **stream))
        async for piece in corrections.paced(pieces):
            yield piece.data

    gateway = Gateway(top)
    async with (
        Caster({"NEAR": blocks}, needs_gga=needs_gga) as caster,
        gateway.receiver(model=model) as sim,
    ):
        sim.faults.never_fixed = True
        faults(sim.faults)
        gateway.configure(
            ntrip={
                "host": "127.0.0.1",
                "port": caster.port,
                "mountpoint": "NEAR",
                "tls": False,
            }
        )
        with log_lines() as log:
            async with gateway.running():
                one = Site(gateway, sim, log)
                await until(lambda: needs_gga or one.status.state == "streaming", 60)
                yield one


def breaks(name: str, value: object) -> Callable[[Faults], None]:
    return lambda faults: setattr(faults, name, value)


@pytest.mark.parametrize(
    ("model", "fault", "mended", "event", "text"),
    [
        pytest.param(
            F9P,
            ("antenna", Antenna.SHORT),
            Antenna.OK,
            "gnss.reception.antenna_short",
            "the receiver reports a short circuit in the antenna or its cable",
            id="a short circuit in the antenna",
        ),
        pytest.param(
            X20P,
            ("antenna", Antenna.OPEN),
            Antenna.OK,
            "gnss.reception.antenna_open",
            "the receiver reports that no antenna is connected",
            id="an antenna that is not connected",
        ),
        pytest.param(
            F9P_OLD,
            ("jamming", Jamming.CRITICAL),
            Jamming.NONE,
            "gnss.reception.jammed",
            "the receiver reports radio interference",
            id="jamming, by firmware without SEC-SIG",
        ),
        pytest.param(
            F9P_NEW,
            ("jamming", Jamming.WARNING),
            Jamming.NONE,
            "gnss.reception.jammed",
            "the receiver reports radio interference at 1575.42 MHz",
            id="jamming, by firmware that has it in SEC-SIG alone",
        ),
        pytest.param(
            F9P,
            ("spoofing", Spoofing.AFFIRMED),
            Spoofing.NONE,
            "gnss.reception.spoofed",
            "the receiver reports false satellite signals (spoofing)",
            id="spoofing",
        ),
        pytest.param(
            F9P,
            ("cno_dbhz", 35),
            44,
            "gnss.reception.weak",
            "only 4 of 32 satellites are received well (35 dBHz or more), the best with 35 dBHz",
            id="weak signals",
        ),
        pytest.param(
            F9P,
            ("no_sky", True),
            False,
            "gnss.reception.no_signal",
            "the receiver receives no satellite",
            id="no signal at all",
        ),
    ],
)
def test_antenna_and_signals_are_named_and_it_is_said_when_they_are_well_again(
    tmp_path: Path,
    model: Model,
    fault: tuple[str, object],
    mended: object,
    event: str,
    text: str,
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path, model, faults=breaks(*fault)) as one:
            finding = await one.found(event)
            assert finding.text == text
            assert finding.advice.endswith(".")
            assert health(one.status, is_running=True) is Health.DEGRADED
            shown = render(one.status, is_running=True)
            assert f": degraded: {finding.text}" in shown
            assert f"found  {finding.text}, since 20" in shown
            assert f"found  {finding.text}\n" in screen.life(one.status.receiver)
            result = await one.check_use()
            assert (result.state, result.event) == (LinkState.PROBLEM, event)
            assert (result.text, result.advice) == (finding.text, finding.advice)
            setattr(one.sim.faults, fault[0], mended)
            await until(lambda: event not in one.findings, 400)
            await until(lambda: health(one.status, is_running=True) is Health.HEALTHY, 60)
            assert len(one.logged(event)) == 1
            (over,) = one.logged("gnss.reception.over")
            assert over.endswith(f": {finding.text}")

    run()


@pytest.mark.slow
def test_overruns_of_the_port_are_named(tmp_path: Path) -> None:
    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path) as one:
            await until(lambda: one.sim.setting("CFG-MSGOUT-UBX_MON_COMMS_{}") > 0, 60)
            await asyncio.sleep(130)
            one.sim.faults.overruns = 4
            finding = await one.found("gnss.reception.overrun")
            assert "at its port USB, 4 times" in finding.text
            await until(lambda: one.findings == [], 400)
            assert len(one.logged("gnss.reception.overrun")) == 1

    run()


@pytest.mark.parametrize(
    ("stream", "event", "text"),
    [
        pytest.param(
            {"station": FAR},
            "gnss.reception.far",
            "the reference station is 61 km away",
            id="a station that is far away",
        ),
        pytest.param(
            {"without": (1006,)},
            "gnss.reception.no_station",
            "the corrections lack RTCM 1005 and 1006, the position of the reference station",
            id="a stream without the station's position",
        ),
        pytest.param(
            {"without": (1230,)},
            "gnss.reception.no_biases",
            "the corrections have GLONASS and lack RTCM 1230 and 1033, its biases",
            id="GLONASS without its biases",
        ),
    ],
)
@pytest.mark.slow
def test_corrections_that_cannot_lead_to_a_fixed_position_are_named(
    tmp_path: Path, stream: dict[str, Any], event: str, text: str
) -> None:
    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path, **stream) as one:
            finding = await one.found(event)
            assert finding.text == text
            assert (await one.check_use()).text == text
            one.sim.faults.never_fixed = False
            await until(lambda: one.findings == [], 400)
            assert len(one.logged(event)) == len(one.logged("gnss.reception.over")) == 1

    run()


def test_old_corrections_are_named(tmp_path: Path) -> None:
    """They are old when they arrive; that none of them is used is for the verdict to say."""

    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path) as one:
            await until(lambda: one.sim.used > 5, 30)
            one.sim.faults.late_s = 25.0
            finding = await one.found("gnss.reception.late")
            assert finding.text in {
                f"the corrections in use are up to {age} s old" for age in (30, 45, 60)
            }

    run()


def test_a_receiver_that_is_well_has_no_findings(tmp_path: Path) -> None:
    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path, faults=breaks("never_fixed", False)) as one:
            await until(lambda: one.status.receiver.fix == "RTK fixed", 60)
            await asyncio.sleep(300)
            assert one.findings == []
            assert health(one.status, is_running=True) is Health.HEALTHY
            assert [line for line in one.log if "gnss.reception" in line] == []

    run()


def test_an_antenna_fault_is_named_before_the_position_that_it_costs(tmp_path: Path) -> None:
    """The caster waits for a position, and there is none."""

    def unplugged(faults: Faults) -> None:
        faults.antenna, faults.no_sky = Antenna.OPEN, True

    @in_virtual_time
    async def run() -> None:
        async with site(tmp_path, faults=unplugged, needs_gga=True) as one:
            finding = await one.found("gnss.reception.antenna_open")
            await until(lambda: one.status.state == "waiting", 400)
            shown = render(one.status, is_running=True)
            assert f": waiting: {finding.text}" in shown
            found = await one.checked()
            broken = [each for each in found if each.state is LinkState.PROBLEM]
            assert [(each.layer, each.text) for each in broken] == [("use", finding.text)]
            one.sim.faults.antenna, one.sim.faults.no_sky = Antenna.OK, False
            await until(lambda: one.status.state == "streaming", 400)

    run()
