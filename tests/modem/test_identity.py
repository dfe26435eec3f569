"""Where the identity comes from: the configuration, or the modem by AT.

Letters and numbers in the names are those of the modem scenarios; M10 and M14 of the fault table.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.identitybench import (
    EC25,
    EC25_PORTS,
    Result,
    held,
    read,
    reading,
    untouched,
    wired,
)
from tests.support.ptybench import another_user
from tests.support.usbtree import UsbTree
from tests.support.virtualtime import run
from ztpd.errors import (
    ConfigError,
    ModemAbsent,
    ModemAmbiguous,
    ModemBusy,
    ModemManagerAbsent,
    ModemRefused,
    ModemSilent,
    NotAnAtPort,
)
from ztpd.model import Identity, Imei
from ztpd.sim import modem as sim
from ztpd.sim.modem import ModemModel
from ztpd.sim.pty import Pty

IMEI = "490154203237518"
NMEA = b"$GNGGA,092725.00,4717.11399,N,00833.91590,E,1,08,1.01,499.6,M,48.0,M,,*45\r\n"


@pytest.fixture(autouse=True)
def no_bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")


@pytest.fixture
def gateway(tmp_path: Path) -> UsbTree:
    return UsbTree(tmp_path / "root")


def test_M14_an_imei_is_one(gateway: UsbTree) -> None:
    result = reading(gateway, source="fixed", hardware_id=IMEI)
    assert result.outcome == Identity(Imei(IMEI), "the configuration")


def test_M14_another_text_is_sent_as_it_is(gateway: UsbTree) -> None:
    result = reading(gateway, source="fixed", hardware_id="gw-000123")
    assert result.outcome == Identity(None, "the configuration", fixed="gw-000123")


def test_an_empty_one_is_a_mistake(gateway: UsbTree) -> None:
    with pytest.raises(ConfigError, match="hardware_id is empty"):
        reading(gateway, source="fixed")


def test_F85_G98_the_at_port_of_the_modem_is_found(
    gateway: UsbTree, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.plug(EC25, EC25_PORTS, name="Quectel_EC25")
    result = reading(gateway, {"ttyUSB2": sim.EC25})
    assert result.imei == IMEI
    by_id = gateway.root / "dev/serial/by-id/usb-Quectel_EC25-if02-port0"
    assert result.source == f"AT+CGSN on {by_id}"
    assert result.took_s < 10
    assert "waiting" not in caplog.text


def test_A14_an_a7670_answers_on_interface_04(gateway: UsbTree) -> None:
    ports = {2: "ttyUSB0", 3: "ttyUSB1", 4: "ttyUSB2", 5: "ttyUSB3"}
    gateway.plug("1e0e:9011", ports)
    mute = replace(sim.A7670, hangs=True)
    result = reading(gateway, {"ttyUSB0": mute, "ttyUSB2": sim.A7670})
    assert result.imei == IMEI
    assert "if04" in result.source


def test_D63_a_deaf_port_has_a_sibling(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    deaf = replace(sim.EC25, hangs=True)
    result = reading(gateway, {"ttyUSB2": deaf, "ttyUSB3": sim.EC25})
    assert result.imei == IMEI
    assert "if03" in result.source
    assert result.took_s < 12


def test_D63_both_are_asked_again_until_one_hears(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    slow, deaf = replace(sim.EC25, boot_s=25), replace(sim.EC25, hangs=True)
    assert reading(gateway, {"ttyUSB2": deaf, "ttyUSB3": slow}).imei == IMEI


def test_D55_a_modem_that_never_answers_is_silent(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    deaf = replace(sim.EC25, hangs=True)
    result = reading(gateway, {"ttyUSB2": deaf, "ttyUSB3": deaf})
    assert isinstance(result.outcome, ModemSilent)
    assert "if02" in str(result.outcome)


def test_D56_a_port_that_speaks_nmea_is_left_for_its_sibling(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    nmea = ModemModel("NMEA", {}, stream=NMEA, hangs=True)
    result = reading(gateway, {"ttyUSB2": nmea, "ttyUSB3": sim.EC25})
    assert result.imei == IMEI


def test_D56_a_modem_all_of_whose_ports_speak_nmea_is_refused_at_once(gateway: UsbTree) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"})
    nmea = ModemModel("NMEA", {}, stream=NMEA, hangs=True)
    result = reading(gateway, {"ttyUSB2": nmea})
    assert isinstance(result.outcome, NotAnAtPort)
    assert result.took_s < 10


def test_A06_a_modem_without_a_number_is_not_asked_on_every_port(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    unprogrammed = sim.NRF9160_UNPROGRAMMED
    result = reading(gateway, {"ttyUSB2": unprogrammed, "ttyUSB3": unprogrammed})
    assert isinstance(result.outcome, ModemRefused)
    assert result.took_s < 10


@pytest.mark.parametrize("ports", [EC25_PORTS, {2: "ttyUSB2"}], ids=["two ports", "one port"])
def test_C49_a_sim_may_be_busy_while_the_modem_starts(
    gateway: UsbTree, ports: dict[int, str]
) -> None:
    gateway.plug(EC25, ports)
    busy_at_first: list[sim.Reply] = [*[sim.Refuse(14)] * 20, sim.BARE]
    starting = replace(sim.EC25, answers={"AT+CGSN=1": busy_at_first})
    result = reading(gateway, {tty: starting for at, tty in ports.items() if at >= 2})
    assert result.imei == IMEI
    assert 20 < result.took_s < 50


def test_C36_a_modem_that_is_plugged_in_late_is_found(gateway: UsbTree) -> None:
    async def scenario() -> Result:
        asyncio.get_running_loop().call_later(20, gateway.plug, EC25, EC25_PORTS)
        async with wired(gateway, ttyUSB2=sim.EC25):
            return await read(gateway)

    result = run(scenario())
    assert result.imei == IMEI
    assert 20 < result.took_s < 30


def test_C37_without_a_modem_the_devices_found_are_named(gateway: UsbTree) -> None:
    gateway.plug("0403:6001", {0: "ttyUSB0"}, driver="ftdi_sio")
    result = reading(gateway, timeout_s=10)
    assert isinstance(result.outcome, ModemAbsent)
    assert "ttyUSB0 (0403:6001)" in str(result.outcome)
    assert result.took_s >= 10


def test_D64_a_modem_that_comes_back_under_other_numbers_is_followed(gateway: UsbTree) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"}, name="Q")

    async def scenario() -> Result:
        async with wired(gateway, ttyUSB2=replace(sim.EC25, hangs=True)) as modems:
            loop = asyncio.get_running_loop()
            loop.call_later(15, modems["ttyUSB2"].pty.unplug)
            loop.call_later(16, gateway.unplug, "1-1")
            loop.call_later(20, lambda: gateway.plug(EC25, {2: "ttyUSB4"}, name="Q"))
            async with wired(gateway, ttyUSB4=sim.EC25):
                return await read(gateway)

    result: Result = run(scenario())
    assert result.imei == IMEI
    assert result.took_s >= 10


def test_G99_a_receiver_next_to_the_modem_gets_no_byte(gateway: UsbTree) -> None:
    gateway.plug("1546:01a9", {0: "ttyACM0"}, driver="cdc_acm", socket="1-2")
    gateway.plug(EC25, EC25_PORTS)

    async def scenario() -> Result:
        async with wired(gateway, ttyUSB2=sim.EC25), Pty(gateway.root / "dev/ttyACM0") as pty:
            result = await read(gateway)
            assert pty.pending() == 0
            return result

    assert run(scenario()).imei == IMEI


@pytest.mark.parametrize(
    ("usb", "driver"),
    [
        pytest.param("1546:01a9", "cdc_acm", id="G99-F9P"),
        pytest.param("1546:01ab", "cdc_acm", id="G100-X20P"),
        pytest.param("05c6:9008", "qcserial", id="G103-recovery"),
        pytest.param("0403:6001", "ftdi_sio", id="G104-FTDI"),
        pytest.param("10c4:ea60", "cp210x", id="G104-CP210x"),
        pytest.param("1a86:7523", "ch341", id="G104-CH340"),
    ],
)
def test_G99_to_G104_other_devices_than_modems_are_not_opened(
    gateway: UsbTree, usb: str, driver: str
) -> None:
    gateway.plug(usb, {0: "ttyUSB0"}, driver=driver)
    result = untouched(gateway, "ttyUSB0", timeout_s=10)
    assert isinstance(result.outcome, ModemAbsent)


def test_G102_of_two_equal_modems_none_is_opened(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    gateway.plug(EC25, {2: "ttyUSB6"}, socket="1-2")
    result = untouched(gateway, "ttyUSB2")
    assert isinstance(result.outcome, ModemAmbiguous)
    assert result.outcome.needs_person
    assert "by-path" in str(result.outcome)


def test_G102_a_second_modem_that_starts_a_moment_later_counts(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)

    async def scenario() -> Result:
        later = {2: "ttyUSB6"}
        plug = lambda: gateway.plug(EC25, later, socket="1-2")  # noqa: E731
        asyncio.get_running_loop().call_later(0.5, plug)
        async with wired(gateway, ttyUSB2=sim.EC25) as modems:
            result = await read(gateway)
            assert modems["ttyUSB2"].commands == []
            return result

    assert isinstance(run(scenario()).outcome, ModemAmbiguous)


def test_M10_E66_a_held_modem_is_waited_for_and_its_holder_named(gateway: UsbTree) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"})
    result = reading(gateway, {"ttyUSB2": sim.EC25}, locked="ttyUSB2", timeout_s=10)
    assert isinstance(result.outcome, ModemBusy)
    assert "sleep (process " in str(result.outcome)
    assert result.took_s >= 10


def test_M10_E66_of_a_modem_with_one_port_held_the_sibling_is_asked(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    result = reading(gateway, {"ttyUSB2": sim.EC25, "ttyUSB3": sim.EC25}, locked="ttyUSB2")
    assert "if03" in result.source
    assert result.imei == IMEI
    assert result.took_s < 5


def test_M10_the_holder_of_the_better_port_is_named_where_its_sibling_is_silent(
    gateway: UsbTree,
) -> None:
    gateway.plug(EC25, EC25_PORTS)
    models = {"ttyUSB2": sim.EC25, "ttyUSB3": replace(sim.EC25, hangs=True)}
    result = reading(gateway, models, locked="ttyUSB2", timeout_s=10)
    assert isinstance(result.outcome, ModemBusy)
    assert "if02" in str(result.outcome)


def test_E66_a_port_that_is_released_is_asked_then(gateway: UsbTree) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"})

    async def scenario() -> Result:
        async with wired(gateway, ttyUSB2=sim.EC25):
            with held(gateway, "ttyUSB2") as holder:
                asyncio.get_running_loop().call_later(10, holder.kill)
                return await read(gateway)

    assert run(scenario()).imei == IMEI


def test_G104_an_adapter_is_opened(gateway: UsbTree) -> None:
    gateway.plug("0403:6001", {0: "ttyUSB0"}, name="FTDI", driver="ftdi_sio")
    model = replace(sim.SARA_R5, baudrate=9600)
    port = gateway.path("FTDI-if00-port0")
    assert reading(gateway, {"ttyUSB0": model}, port=port).imei == IMEI


@pytest.mark.parametrize("driver", ["ftdi_sio", "xr_serial", "cdc_acm", "a_driver_of_tomorrow"])
def test_FR52_behind_any_adapter_the_speed_is_found(gateway: UsbTree, driver: str) -> None:
    gateway.plug("04e2:1410", {0: "ttyUSB0"}, name="Exar", driver=driver)
    model = replace(sim.SARA_R5, baudrate=9600)
    port = str(gateway.root / "dev/ttyUSB0")
    assert reading(gateway, {"ttyUSB0": model}, port=port).imei == IMEI


def test_FR52_the_port_of_a_known_modem_is_asked_at_one_speed(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    model = replace(sim.EC25, hangs=True)
    result = reading(gateway, {"ttyUSB2": model}, timeout_s=30)
    assert "115200 baud" in str(result.outcome)
    assert "9600" not in str(result.outcome)


def test_D53_a_uart_is_tried_at_every_speed(gateway: UsbTree) -> None:
    gateway.uart("ttyAMA0")
    model = replace(sim.SARA_R5, baudrate=57600)
    port = str(gateway.root / "dev/ttyAMA0")
    assert reading(gateway, {"ttyAMA0": model}, port=port).imei == IMEI


def test_D53_a_configured_speed_is_the_only_one(gateway: UsbTree) -> None:
    gateway.uart("ttyAMA0")
    model = replace(sim.SARA_R5, baudrate=57600)
    port = str(gateway.root / "dev/ttyAMA0")
    result = reading(gateway, {"ttyAMA0": model}, port=port, baudrate=9600, timeout_s=10)
    assert isinstance(result.outcome, ModemSilent)


def test_on_usb_the_speed_does_not_matter(gateway: UsbTree) -> None:
    gateway.plug(EC25, EC25_PORTS)
    deaf = replace(sim.EC25, hangs=True)
    port = str(gateway.root / "dev/ttyUSB2")
    result = reading(gateway, {"ttyUSB2": deaf}, port=port, timeout_s=20)
    assert "115200 baud" in str(result.outcome)
    assert "9600" not in str(result.outcome)


def test_G99_a_receiver_configured_as_a_modem_gets_no_byte(gateway: UsbTree) -> None:
    gateway.plug("1546:01a9", {0: "ttyACM0"}, name="u-blox", driver="cdc_acm")
    result = untouched(gateway, "ttyACM0", port=gateway.path("u-blox-if00"))
    assert isinstance(result.outcome, NotAnAtPort)
    assert result.took_s < 1


def test_G99_a_receiver_behind_a_link_named_as_a_modems_port_gets_no_byte(
    gateway: UsbTree,
) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"})
    gateway.plug("1546:01a9", {0: "ttyACM0"}, name="u-blox", driver="cdc_acm", socket="1-2")
    own = gateway.root / "dev/mine/ttyUSB2"
    own.parent.mkdir()
    own.symlink_to("../ttyACM0")
    result = untouched(gateway, "ttyACM0", port=str(own))
    assert isinstance(result.outcome, NotAnAtPort)


def test_C37_a_port_that_is_not_there_is_named(gateway: UsbTree) -> None:
    port = str(gateway.root / "dev/ttyUSB2")
    result = reading(gateway, port=port, timeout_s=10)
    assert isinstance(result.outcome, ModemAbsent)
    assert port in str(result.outcome)


def test_a_port_locked_by_another_program_is_busy(gateway: UsbTree) -> None:
    gateway.plug(EC25, {2: "ttyUSB2"})

    async def scenario() -> Result:
        async with wired(gateway, ttyUSB2=sim.EC25) as modems:
            with another_user(modems["ttyUSB2"].path, locks=True):
                return await read(gateway, port=str(gateway.root / "dev/ttyUSB2"), timeout_s=5)

    assert isinstance(run(scenario()).outcome, ModemBusy)


def test_F84_source_modemmanager_waits_for_it_and_names_it(gateway: UsbTree) -> None:
    result = reading(gateway, source="modemmanager", timeout_s=5)
    assert isinstance(result.outcome, ModemManagerAbsent)
    assert result.took_s >= 5
