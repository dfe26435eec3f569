"""Whether ModemManager or AT gives the identity: ModemManager played by a mock.

Letters and numbers in the names are those of the modem scenarios.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support import dbusbench
from tests.support.dbusbench import Bus, MockModemManager
from tests.support.identitybench import (
    EC25,
    EC25_PORTS,
    Result,
    read,
    reading,
    untouched,
    wired,
)
from tests.support.usbtree import UsbTree
from tests.support.virtualtime import run
from ztpd.errors import ImeiInvalid, ModemAmbiguous, ModemManagerNoImei, ModemManagerNoModem
from ztpd.sim import modem as sim
from ztpd.sim.pty import Pty

IMEI = "490154203237518"
OTHER = "352656100367872"

pytestmark = dbusbench.needs("python3-dbusmock")


@pytest.fixture(scope="module")
def one_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockModemManager]:
    with Bus(tmp_path_factory.mktemp("mock")) as bus:
        yield MockModemManager(bus)


@pytest.fixture
def mm(one_mock: MockModemManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockModemManager]:
    """A ModemManager that has no modems yet."""
    one_mock.bus.use(monkeypatch)
    yield one_mock
    one_mock.clear()


@pytest.fixture
def gateway(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path / "root")


def test_F73_its_number_is_taken_and_no_port_is_opened(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem(OTHER))
    result = untouched(gateway, "ttyUSB2")
    assert result.imei == OTHER
    assert result.source == "ModemManager, modem 0"


def test_F77_its_number_is_no_imei_and_the_port_is_its_own(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem("123456789012345"))
    assert isinstance(untouched(gateway, "ttyUSB2").outcome, ImeiInvalid)


def test_FR48_a_stick_that_it_does_not_know_is_listed_with_reason_and_remedy(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug_without_tty("12d1:14dc", {0: ("02", "cdc_ether")}, product="HUAWEI_MOBILE")
    for source in ("auto", "modemmanager"):
        outcome = reading(gateway, source=source, timeout_s=10).outcome
        assert isinstance(outcome, ModemManagerNoModem)
        assert "12d1:14dc HUAWEI_MOBILE (a network interface only" in str(outcome)
        assert 'source = "fixed"' in outcome.advice


def test_F81_two_modems_and_no_choice(gateway: UsbTree, mm: MockModemManager) -> None:
    mm.add(0, dbusbench.modem(IMEI))
    mm.add(1, dbusbench.modem(OTHER, port="ttyUSB6"))
    assert isinstance(reading(gateway).outcome, ModemAmbiguous)


def test_F81_two_modems_and_a_port(gateway: UsbTree, mm: MockModemManager) -> None:
    gateway.plug(EC25, {2: "ttyUSB6"})
    mm.add(0, dbusbench.modem(IMEI))
    mm.add(1, dbusbench.modem(OTHER, port="ttyUSB6"))
    assert reading(gateway, port="/dev/ttyUSB6").imei == OTHER


def test_F78_F83_without_a_number_its_ports_stay_its_own(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem("", state=-1))
    result = untouched(gateway, "ttyUSB2")
    assert isinstance(result.outcome, ModemManagerNoImei)
    assert 29 < result.took_s < 35, "it is given half of the time"


def test_F83_without_a_number_a_configured_port_of_its_own_is_not_opened(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    port = str(gateway.root / "dev/ttyUSB2")

    async def scenario() -> Result:
        async with Pty(port) as pty:  # the kernel's name of this port is the pty's
            mm.add(0, dbusbench.modem("", state=-1, port=Path(pty.terminal).name))
            result = await read(gateway, port=port, timeout_s=10)
            assert pty.pending() == 0
            return result

    assert isinstance(run(scenario()).outcome, ModemManagerNoImei)


def test_F83_another_port_is(gateway: UsbTree, mm: MockModemManager) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem("", state=-1, port="cdc-wdm0"))
    port = str(gateway.root / "dev/ttyUSB2")
    result = reading(gateway, {"ttyUSB2": sim.EC25}, port=port, timeout_s=20)
    assert result.imei == IMEI
    assert result.took_s > 10


def test_it_knows_no_modem_and_may_still_find_this_one(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    result = untouched(gateway, "ttyUSB2", timeout_s=10)
    assert isinstance(result.outcome, ModemManagerNoModem)


def test_it_is_configured_to_ignore_this_modem(gateway: UsbTree, mm: MockModemManager) -> None:
    gateway.plug(EC25, EC25_PORTS, hints={"ID_MM_DEVICE_IGNORE": "1"})
    assert reading(gateway, {"ttyUSB2": sim.EC25}, timeout_s=20).imei == IMEI


def test_it_is_configured_to_ignore_this_port(gateway: UsbTree, mm: MockModemManager) -> None:
    ignored = {3: {"ID_MM_PORT_IGNORE": "1"}}
    gateway.plug(EC25, EC25_PORTS, port_hints=ignored)
    mm.add(0, dbusbench.modem("", state=-1))
    result = reading(gateway, {"ttyUSB3": sim.EC25}, timeout_s=20)
    assert result.imei == IMEI
    assert "if03" in result.source


@pytest.mark.parametrize("kind", ["uart", "ignored"])
def test_a_configured_port_that_is_not_its_own_is_asked_at_once(
    gateway: UsbTree, mm: MockModemManager, kind: str
) -> None:
    mm.add(0, dbusbench.modem(OTHER))
    if kind == "uart":
        gateway.uart("ttyX")
    else:
        gateway.plug(EC25, {2: "ttyX"}, hints={"ID_MM_DEVICE_IGNORE": "1"})
    result = reading(gateway, {"ttyX": sim.EC25}, port=str(gateway.root / "dev/ttyX"))
    assert result.imei == IMEI
    assert result.took_s < 5


def test_a_configured_port_that_is_not_there_is_left_to_it(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    result = reading(gateway, port=str(gateway.root / "dev/ttyUSB2"), timeout_s=20)
    assert isinstance(result.outcome, ModemManagerNoModem)
    assert result.took_s < 12, "it probes new ports: another try begins with ModemManager again"


def test_source_modemmanager_never_opens_a_port(gateway: UsbTree, mm: MockModemManager) -> None:
    gateway.plug(EC25, EC25_PORTS, hints={"ID_MM_DEVICE_IGNORE": "1"})
    result = untouched(gateway, "ttyUSB2", source="modemmanager", timeout_s=10)
    assert isinstance(result.outcome, ModemManagerNoModem)


def test_source_at_never_asks_it(gateway: UsbTree, mm: MockModemManager) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem(OTHER))
    assert reading(gateway, {"ttyUSB3": sim.EC25}, source="at").imei == IMEI


def test_F86_a_modemmanager_that_goes_away_leaves_the_modem(
    gateway: UsbTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    with Bus(tmp_path) as bus:
        bus.use(monkeypatch)
        mm = MockModemManager(bus)

        async def scenario() -> Result:
            asyncio.get_running_loop().call_later(4, dbusbench.stop, mm.process)
            async with wired(gateway, ttyUSB2=sim.EC25):
                return await read(gateway, timeout_s=20)

        assert run(scenario()).imei == IMEI


def test_FR51_a_modem_without_a_valid_number_is_asked_by_at_where_that_is_allowed(
    gateway: UsbTree, mm: MockModemManager
) -> None:
    ignored = {3: {"ID_MM_PORT_IGNORE": "1"}}
    gateway.plug(EC25, EC25_PORTS, port_hints=ignored)
    mm.add(0, dbusbench.modem("2623CKLQ0009707"))
    assert reading(gateway, {"ttyUSB3": sim.EC25}, timeout_s=20).imei == IMEI


def test_FR47_a_modemmanager_that_starts_late_gets_the_modem(
    gateway: UsbTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    with Bus(tmp_path) as bus:
        bus.use(monkeypatch)

        def start() -> None:
            MockModemManager(bus).add(0, dbusbench.modem(OTHER))

        async def scenario() -> Result:
            asyncio.get_running_loop().call_later(4, start)
            async with wired(gateway, ttyUSB2=replace(sim.EC25, boot_s=30)) as modems:
                result = await read(gateway)
                assert not modems["ttyUSB2"].pty.users()
                return result

        result = run(scenario())
    assert result.imei == OTHER
    assert "ModemManager" in result.source


def test_FR47_a_bus_that_does_not_answer_yet_is_asked_again_before_a_port_is_opened(
    gateway: UsbTree, mm: MockModemManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bus hangs for the first two questions, as it may while a small board boots."""
    (tmp_path / "bin").mkdir()
    busctl = tmp_path / "bin/busctl"
    busctl.write_text(
        f"#!/bin/sh\necho asked >> {tmp_path}/asked\n"
        f'[ $(wc -l < {tmp_path}/asked) -gt 2 ] && exec /usr/bin/busctl "$@"\n'
        "echo 'Call failed: Connection timed out' >&2; exit 1\n"
    )
    busctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{busctl.parent}:{os.environ['PATH']}")
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem(OTHER))

    result = untouched(gateway, "ttyUSB2")

    assert result.imei == OTHER


@pytest.mark.parametrize("source", ["at", "modemmanager"])
def test_the_number_is_not_in_the_log(
    gateway: UsbTree, mm: MockModemManager, caplog: pytest.LogCaptureFixture, source: str
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    mm.add(0, dbusbench.modem(IMEI))
    result = reading(gateway, {"ttyUSB2": sim.EC25}, source=source)
    assert result.imei == IMEI
    assert IMEI[8:13] not in caplog.text + str(result.outcome)
