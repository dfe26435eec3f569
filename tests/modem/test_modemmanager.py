"""The IMEI that ModemManager knows. Numbers in the names: group F of the modem scenarios."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import dbusbench
from tests.support.dbusbench import Bus, MockModemManager, RealModemManager
from ztpd.errors import (
    IdentityError,
    ImeiInvalid,
    ModemAmbiguous,
    ModemManagerAbsent,
    ModemManagerNoImei,
    ModemManagerNoModem,
    ModemManagerSilent,
)
from ztpd.model import Identity, Imei
from ztpd.modem import modemmanager
from ztpd.sim.modem import BARE, ModemModel, Refuse, Reply, Say

IMEI = "490154203237518"
OTHER = "352656100367872"
A_MOMENT_S = 0.8  # for one answer, on a busy machine too
MODEM = ModemModel("generic", {"AT+CGSN": BARE})

MANAGED = "org.freedesktop.DBus.ObjectManager.GetManagedObjects"

ANSWERS: dict[str, Reply] = {
    "f73": BARE,
    "f74": Say('+CGSN: "{imei}"'),
    "f75": Say("3575200701207601"),
    "f76": Say("35752007012076"),
    "f77": Say("123456789012345"),
    "f78": Refuse(13),
}


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bus]:
    with Bus(tmp_path) as bus:
        bus.use(monkeypatch)
        yield bus


@pytest.fixture(scope="module")
def daemon_with_six(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealModemManager]:
    with Bus(tmp_path_factory.mktemp("bus")) as bus, RealModemManager(bus) as daemon:
        for name, answer in ANSWERS.items():
            daemon.add(name, ModemModel(name, {"AT+CGSN": answer}))
        dbusbench.wait(
            lambda: bus.call(dbusbench.OBJECT, MANAGED).count("/virtual/") == len(ANSWERS)
        )
        yield daemon


@pytest.fixture
def six(daemon_with_six: RealModemManager, monkeypatch: pytest.MonkeyPatch) -> RealModemManager:
    """Debian's ModemManager with a modem for each of ``ANSWERS``."""
    daemon_with_six.bus.use(monkeypatch)
    return daemon_with_six


@pytest.fixture(scope="module")
def one_mock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MockModemManager]:
    with Bus(tmp_path_factory.mktemp("mock")) as bus:
        yield MockModemManager(bus)


@pytest.fixture
def mock(one_mock: MockModemManager, monkeypatch: pytest.MonkeyPatch) -> Iterator[MockModemManager]:
    """A ModemManager that has no modems yet."""
    one_mock.bus.use(monkeypatch)
    yield one_mock
    one_mock.clear()


real = dbusbench.needs("ModemManager")
mocked = dbusbench.needs("python3-dbusmock")


async def read(choice: str = "", *, timeout_s: float = 10.0) -> Identity:
    return await modemmanager.read_imei(choice, timeout_s=timeout_s)


@real
@pytest.mark.parametrize(
    ("name", "digits", "noted"),
    [
        pytest.param("f73", IMEI, False, id="F73-bare"),
        pytest.param("f74", IMEI, False, id="F74-quoted"),
        pytest.param("f75", "357520070120767", True, id="F75-16-digits"),
        pytest.param("f76", "357520070120767", True, id="F76-14-digits"),
    ],
)
async def test_F73_to_F76_the_number_that_it_read_becomes_the_imei(
    six: RealModemManager, name: str, digits: str, noted: bool
) -> None:
    identity = await read(f"/virtual/{name}")
    assert identity.imei == Imei(digits)
    assert bool(identity.note) == noted
    assert identity.source.startswith("ModemManager, modem ")


@real
async def test_F77_a_number_that_is_no_imei_is_refused_and_not_shown(
    six: RealModemManager,
) -> None:
    with pytest.raises(ImeiInvalid, match=r"ModemManager, modem \d: the check digit") as refusal:
        await read("/virtual/f77")
    assert "1234567" not in str(refusal.value)


@real
async def test_F78_a_modem_without_a_number_is_waited_for_and_named(
    six: RealModemManager,
) -> None:
    with pytest.raises(ModemManagerNoImei, match=r"f78 at /virtual/f78\), state disabled"):
        await read("/virtual/f78", timeout_s=A_MOMENT_S)


@real
async def test_F79_a_modem_that_comes_late_is_waited_for(bus: Bus) -> None:
    with RealModemManager(bus) as daemon:
        asyncio.get_running_loop().call_later(0.6, daemon.add, "late", MODEM)
        assert (await read()).imei == Imei(IMEI)


@real
async def test_F86_a_restart_of_the_daemon_is_survived(bus: Bus) -> None:
    with RealModemManager(bus) as daemon:
        daemon.add("m", ModemModel("no number yet", {"AT+CGSN": [Refuse(13), BARE]}))
        reading = asyncio.create_task(read())
        await asyncio.sleep(0.4)
        dbusbench.stop(daemon.process)
        await asyncio.sleep(0.2)
        daemon.start()
        daemon.announce("m")
        assert (await reading).imei == Imei(IMEI)


@real
async def test_F87_a_daemon_that_hangs_costs_no_more_than_its_time(bus: Bus) -> None:
    with RealModemManager(bus) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        started = asyncio.get_running_loop().time()
        with pytest.raises(ModemManagerSilent):
            await read(timeout_s=1.0)
        assert asyncio.get_running_loop().time() - started < 1.5


@real
@pytest.mark.slow
async def test_F87_a_hanging_daemon_differs_from_an_absent_one(bus: Bus) -> None:
    with RealModemManager(bus) as daemon:
        daemon.process.send_signal(signal.SIGSTOP)
        with pytest.raises(ModemManagerSilent, match="timed out"):
            await modemmanager.modems()


@pytest.mark.slow
@dbusbench.needs()
async def test_FR47_a_bus_that_hangs_says_neither_yes_nor_no(bus: Bus) -> None:
    bus.process.send_signal(signal.SIGSTOP)
    assert await modemmanager.present() is None


@real
@pytest.mark.parametrize("options", [(), ("--debug",)], ids=["normal", "debug"])
async def test_F88_F89_nothing_is_sent_to_the_modem_and_it_stays_where_it_is(
    bus: Bus, options: tuple[str, ...]
) -> None:
    with RealModemManager(bus, *options) as daemon:
        engine = daemon.add("m", MODEM)
        await read()
        before, number = list(engine.commands), (await modemmanager.modems())[0].number
        await read()
        assert engine.commands == before
        assert (await modemmanager.modems())[0].number == number


@mocked
async def test_F88_F89_only_the_list_of_objects_is_asked_for(mock: MockModemManager) -> None:
    mock.add(0, dbusbench.modem(IMEI))
    await read()
    assert "GetManagedObjects" in mock.calls()
    assert "InhibitDevice" not in mock.calls()
    assert "Command" not in mock.calls(0)


@real
async def test_F90_a_modem_that_died_silently_keeps_its_number(bus: Bus) -> None:
    with RealModemManager(bus) as daemon:
        daemon.add("m", MODEM)
        await read()
        daemon.unplug("m")
        assert (await read(timeout_s=2.0)).imei == Imei(IMEI)


@real
async def test_F91_a_port_need_not_be_below_dev(six: RealModemManager) -> None:
    (modem,) = (each for each in await modemmanager.modems() if each.device == "/virtual/f73")
    assert all("/f73" in port for port in modem.ports)
    assert (await read(next(iter(modem.ports)))).imei == Imei(IMEI)


@mocked
async def test_F80_a_modem_that_vanishes_and_comes_back_under_another_number(
    mock: MockModemManager,
) -> None:
    mock.add(0, dbusbench.modem("", state=0))
    reading = asyncio.create_task(read())
    await asyncio.sleep(0.2)
    mock.remove(0)
    await asyncio.sleep(0.2)
    mock.add(1, dbusbench.modem(IMEI))
    assert (await reading).source == "ModemManager, modem 1"


@mocked
async def test_F81_of_two_modems_none_is_chosen_by_chance(mock: MockModemManager) -> None:
    mock.add(0, dbusbench.modem(IMEI, port="ttyUSB2", device="/sys/devices/1-1"))
    mock.add(1, dbusbench.modem(OTHER, port="ttyUSB6", device="/sys/devices/1-2"))
    with pytest.raises(ModemAmbiguous) as refusal:
        await read()
    assert "modem 0 (ttyUSB2 at /sys/devices/1-1)" in str(refusal.value)
    assert "modem 1 (ttyUSB6 at /sys/devices/1-2)" in str(refusal.value)


@mocked
async def test_F81_a_port_or_the_device_chooses(mock: MockModemManager, tmp_path: Path) -> None:
    mock.add(0, dbusbench.modem(IMEI, port="ttyUSB2", device="/sys/devices/1-1"))
    mock.add(1, dbusbench.modem(OTHER, port="ttyUSB6", device="/sys/devices/1-2"))
    link = tmp_path / "usb-Quectel-if02-port0"
    link.symlink_to("/dev/ttyUSB6")
    for choice in ("/dev/ttyUSB6", str(link), "/sys/devices/1-2"):
        assert (await read(choice)).imei == Imei(OTHER), choice


@mocked
async def test_a_choice_that_no_modem_fits_is_named_with_the_modems_found(
    mock: MockModemManager,
) -> None:
    mock.add(0, dbusbench.modem(IMEI))
    with pytest.raises(ModemManagerNoModem, match="/dev/ttyUSB9 is none of modem 0"):
        await read("/dev/ttyUSB9", timeout_s=A_MOMENT_S)


@mocked
async def test_without_a_modem_it_says_so(mock: MockModemManager) -> None:
    with pytest.raises(ModemManagerNoModem):
        await read(timeout_s=A_MOMENT_S)


ODD = [
    "'State': <int32 3>",
    "'EquipmentIdentifier': <int32 5>",
    "'EquipmentIdentifier': <['a']>",
    "'EquipmentIdentifier': <''>, 'Ports': <@a(su) []>",
    "'EquipmentIdentifier': <''>, 'Ports': <'ttyUSB2'>",
    "'EquipmentIdentifier': <''>, 'Ports': <[(1, 2)]>",
    "'State': <'failed'>, 'Device': <uint32 9>",
]


@mocked
async def test_F82_missing_and_odd_properties_are_as_if_empty(mock: MockModemManager) -> None:
    for number, properties in enumerate(ODD):
        mock.add(number, properties)
    found = await modemmanager.modems()
    assert [modem.number for modem in found] == list("0123456")
    assert {modem.numbers for modem in found} == {()}
    assert {modem.device for modem in found} == {""}
    assert {modem.ports for modem in found} == {frozenset()}


@mocked
async def test_F82_a_modem_with_odd_properties_has_no_number(mock: MockModemManager) -> None:
    mock.add(0, ODD[1])
    with pytest.raises(ModemManagerNoImei, match="modem 0"):
        await read(timeout_s=A_MOMENT_S)


@mocked
async def test_the_number_of_the_other_interface_does_too(mock: MockModemManager) -> None:
    mock.add(0, dbusbench.modem(""), threegpp=f"'Imei': <'{IMEI}'>")
    assert (await read()).imei == Imei(IMEI)


@mocked
@pytest.mark.parametrize(("reason", "words"), [(2, "no SIM"), (77, "no reason")])
async def test_F83_a_failed_modem_is_named_with_the_reason(
    mock: MockModemManager, reason: int, words: str
) -> None:
    failed = dbusbench.modem("", state=-1) + f", 'StateFailedReason': <uint32 {reason}>"
    mock.add(0, failed)
    with pytest.raises(ModemManagerNoImei, match=f"state failed, {words}"):
        await read(timeout_s=A_MOMENT_S)


@mocked
async def test_F83_a_failed_modem_may_have_a_number_all_the_same(mock: MockModemManager) -> None:
    mock.add(0, dbusbench.modem(IMEI, state=-1))
    assert (await read()).imei == Imei(IMEI)


@dbusbench.needs()
async def test_F84_it_is_not_on_the_bus(bus: Bus, caplog: pytest.LogCaptureFixture) -> None:
    assert not await modemmanager.present()
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]
    with pytest.raises(ModemManagerAbsent):
        await modemmanager.modems()
    with pytest.raises(ModemManagerAbsent):
        await read(timeout_s=A_MOMENT_S)


async def test_F85_there_is_no_bus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    assert not await modemmanager.present()
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


async def test_F85_there_is_no_busctl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert not await modemmanager.present()
    with pytest.raises(ModemManagerAbsent):
        await modemmanager.modems()


@mocked
@pytest.mark.parametrize(
    ("equipment", "threegpp"),
    [
        ("A1000012345678", IMEI),
        ("2623CKLQ0009707", IMEI),
        ("0f8fad5b-d9cb-469f-a165-70867728950e", IMEI),
        ("490154203237519", IMEI),
        ("", IMEI),
        (IMEI, "490154203237519"),
        (f"{IMEI} 352656100367872", ""),
        (f"{IMEI}\\r\\n352656100367872", "352656100367872"),
    ],
    ids=["MEID", "serial", "UUID", "check digit", "empty", "first", "two", "two lines"],
)
async def test_FR51_the_first_valid_number_of_all_counts(
    mock: MockModemManager, equipment: str, threegpp: str
) -> None:
    mock.add(0, dbusbench.modem(equipment), f"'Imei': <'{threegpp}'>")
    assert (await read()).imei == Imei(IMEI)


async def test_an_answer_that_is_no_json_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "busctl"
    odd.write_text("#!/bin/sh\necho '{\"data\": 7}'\n")
    odd.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not await modemmanager.present()


@dbusbench.needs()
async def test_a_reading_ends_at_once_when_it_is_cancelled(bus: Bus) -> None:
    reading = asyncio.create_task(read())
    await asyncio.sleep(0.3)
    reading.cancel()
    for _ in range(5):  # turns of the event loop: the machine may be slow
        await asyncio.sleep(0)
    assert reading.cancelled()


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(IMEI),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [dbusbench.MODEM, dbusbench.MODEM_3GPP, "Ports", "Device", "State", "data", "Imei"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=10), _JSON, max_size=3) | _JSON)
def test_F82_any_objects_give_a_list(objects: Any) -> None:
    for modem in modemmanager.modems_in(objects):
        assert all(modem.numbers)
        assert isinstance(str(modem), str)
        assert isinstance(modem.state_name, str)


def test_every_failure_is_one_of_identity() -> None:
    for kind in (ModemManagerAbsent, ModemManagerSilent, ModemManagerNoModem, ModemManagerNoImei):
        assert issubclass(kind, IdentityError)
