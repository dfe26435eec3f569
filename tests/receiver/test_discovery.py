"""`receiver.port = "auto"`: the one receiver is found, and nothing else gets a byte.

Trees of sysfs whose ttys lead to pseudo-terminals."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.support.receiver_bench import in_virtual_time, log_lines, rtcm
from tests.support.until import until
from tests.support.usbtree import UsbTree
from ztpd.errors import (
    PortBusy,
    PortPermission,
    ReceiverAbsent,
    ReceiverAmbiguous,
    ReceiverSilent,
    ReceiverUnknown,
    ReceiverUnsuitable,
)
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.receiver.discovery import PortFinder
from ztpd.serialport import discovery
from ztpd.serialport.port import SerialPort
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import D9S, F9P, F9T, X20P, Model, SimReceiver
from ztpd.wire import ubx
from ztpd.wire.ubx import Message

F9, X20, FTDI, CH340, EC25 = "1546:01a9", "1546:01ab", "0403:6001", "1a86:7523", "2c7c:0125"
M9N = Model("NEO-M9N", "SPG 4.04", "32.01", systems=(), base=False)
ASKED = ubx.poll(Message.MON_VER)


class UsbGateway:
    """A machine with USB sockets and one UART; ``receiver`` looks for its port."""

    def __init__(self, root: Path, stack: AsyncExitStack) -> None:
        self.tree = UsbTree(root)
        self.receiver = Receiver(
            ReceiverSettings("auto"), rng=random.Random(7), root=self.tree.root
        )
        self._stack = stack
        self._pty: dict[str, Pty] = {}

    async def line(self, tty: str) -> Pty:
        """The far end of a tty; it is silent at first."""
        pty = self._pty[tty] = Pty(self.tree.root / "dev" / tty)
        return await self._stack.enter_async_context(pty)

    async def receiver_on(self, tty: str, model: Model = F9P, *, wired: str = "USB") -> SimReceiver:
        sim = SimReceiver(await self.line(tty), model, wired=wired)
        return await self._stack.enter_async_context(sim)

    def plug(self, usb: str, tty: str, *, socket: str = "1-1", serial: str = "") -> None:
        driver = {"1546": "cdc_acm", "0403": "ftdi_sio", "1a86": "ch341"}[usb[:4]]
        self.tree.plug(usb, {0: tty}, driver=driver, socket=socket, serial=serial)

    def unplug(self, tty: str) -> None:
        self._pty[tty].unplug()
        place = (self.tree.root / "sys/class/tty" / tty).resolve()
        (self.tree.root / "sys/class/tty" / tty).unlink()
        while not (place / "idVendor").exists():
            place = place.parent
        shutil.rmtree(place)
        for link in self.tree.root.glob("dev/serial/*/*"):
            if link.readlink().name == tty:
                link.unlink()

    def uart(self, tty: str = "ttyAMA0", *, console: bool = False) -> None:
        self.tree.uart(tty, console=console)
        (self.tree.root / "dev/serial0").symlink_to(tty)


@contextlib.asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[UsbGateway]:
    async with AsyncExitStack() as stack:
        yield UsbGateway(tmp_path / "root", stack)


@contextlib.asynccontextmanager
async def running(here: UsbGateway) -> AsyncIterator[list[str]]:
    with log_lines() as log:
        task = asyncio.create_task(here.receiver.run())
        try:
            yield log
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


async def flows_to(here: UsbGateway, sim: SimReceiver, within_s: float = 5) -> float:
    def arrived() -> bool:
        here.receiver.deliver(rtcm())
        return bool(sim.corrections())

    sim.received.clear()
    return await until(arrived, within_s)


@contextlib.contextmanager
def listening(pty: Pty, answer: bytes = b"", every_s: float = 0.0) -> Iterator[bytearray]:
    """All that a device is sent; it says ``answer`` to it, or of itself."""
    sent = bytearray()

    async def listen() -> None:
        while True:
            sent.extend(await pty.read())
            if not every_s:
                pty.send(answer)

    async def speak() -> None:
        while every_s:
            pty.send(answer)
            await asyncio.sleep(every_s)

    tasks = [asyncio.ensure_future(listen()), asyncio.ensure_future(speak())]
    try:
        yield sent
    finally:
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("usb", [F9, X20])
@in_virtual_time
async def test_a_receiver_on_usb_is_found_by_its_id_and_named_by_its_stable_name(
    tmp_path: Path, usb: str
) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyACM3", X20P if usb == X20 else F9P)
        here.plug(usb, "ttyACM3", serial="77")
        async with running(here) as log:
            await flows_to(here, sim)
            name = here.tree.root / "dev/serial/by-id/usb-Vendor_Product_77-if00"
            assert here.receiver.view.port == str(name)
            assert f"on {name} at" in log[0]


@pytest.mark.parametrize("baudrate", [38400, 115200])
@pytest.mark.parametrize("usb", [FTDI, CH340])
@in_virtual_time
async def test_a_receiver_behind_an_adapter_is_found_by_its_messages(
    tmp_path: Path, usb: str, baudrate: int
) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        sim.set("CFG-UART1-BAUDRATE", baudrate)
        here.plug(usb, "ttyUSB0")
        async with running(here):
            await flows_to(here, sim, 10)
            assert here.receiver.view.baudrate == baudrate


@pytest.mark.parametrize("port", ["auto", "dev/ttyACM0"])
@in_virtual_time
async def test_P16_an_adapter_of_class_cdc_acm_has_the_speed_of_its_line(
    tmp_path: Path, port: str
) -> None:
    """No correction on a line that is too slow waits in the adapter until it is stale."""
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyACM0", wired="UART1")
        sim.set("CFG-{}-BAUDRATE", 9600, saved=True)
        here.tree.plug("1a86:55d2", {0: "ttyACM0"}, driver="cdc_acm")
        if port != "auto":
            settings = ReceiverSettings(str(here.tree.root / port))
            here.receiver = Receiver(settings, rng=random.Random(7), root=here.tree.root)
        async with running(here) as log:
            await until(lambda: here.receiver.ready, 30)
            assert any("at 9600 baud" in line for line in log)
            for number in range(60):  # 2000 bytes a second, and the line takes 960
                here.receiver.deliver(rtcm(number))
                for _ in range(18):
                    here.receiver.deliver(rtcm(number))
                await asyncio.sleep(1)
                newest = sim.corrections()[-1:] or [rtcm(0)]
                assert number - (int.from_bytes(newest[0].data[3:6], "big") & 0xFFF) <= 12


@in_virtual_time
async def test_a_receiver_on_the_boards_uart_is_found_last(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyAMA0", wired="UART1")
        here.uart()
        async with running(here):
            await flows_to(here, sim, 10)


@in_virtual_time
async def test_the_console_of_the_kernel_is_left_alone(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        pty = await here.line("ttyAMA0")
        here.uart(console=True)
        with listening(pty) as sent:
            async with running(here):
                await until(lambda: here.receiver.error, 5)
                await asyncio.sleep(60)
        assert sent == b""


@in_virtual_time
async def test_U03_a_modem_receives_nothing_behind_any_adapter(tmp_path: Path) -> None:
    """By its id it is no candidate; behind an adapter it says nothing a receiver says."""
    async with gateway(tmp_path) as here:
        known, hidden = await here.line("ttyUSB0"), await here.line("ttyUSB4")
        here.tree.plug(EC25, {2: "ttyUSB0"})
        here.plug(FTDI, "ttyUSB4", socket="1-2")
        with (
            listening(known, b"\r\nERROR\r\n") as to_known,
            listening(hidden, b"\r\n+CREG: 1\r\n\r\nOK\r\n", every_s=1) as to_hidden,
        ):
            async with running(here):
                await until(lambda: here.receiver.error, 20)
                await asyncio.sleep(30)
        assert to_known + to_hidden == b""
        assert isinstance(here.receiver.error, ReceiverSilent)


@in_virtual_time
async def test_G06_a_receiver_of_another_make_is_identified_and_left_alone(tmp_path: Path) -> None:
    other = b"$GPTXT,01,01,02,ANTSTATUS=OK*3B\r\n"
    async with gateway(tmp_path) as here:
        pty = await here.line("ttyUSB0")
        here.plug(CH340, "ttyUSB0")
        with listening(pty, other, every_s=1) as sent:
            async with running(here) as log:
                await until(lambda: here.receiver.error, 20)
                await asyncio.sleep(30)
        assert isinstance(here.receiver.error, ReceiverUnknown)
        assert bytes(sent).replace(ASKED, b"") == b""
        assert 0 < len(sent) < 30 * len(ASKED), "less and less often"
        assert len(log) < 6


@in_virtual_time
async def test_U03_a_named_port_that_is_a_modems_gets_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        pty = await here.line("ttyUSB2")
        here.tree.plug(EC25, {2: "ttyUSB2"})
        here.receiver = Receiver(
            ReceiverSettings(pty.path), rng=random.Random(7), root=here.tree.root
        )
        with listening(pty) as sent:
            async with running(here):
                await until(lambda: here.receiver.error, 5)
        assert "is a port of a modem" in str(here.receiver.error)
        assert sent == b""


@in_virtual_time
async def test_the_port_named_for_the_modem_is_not_tried(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        pty = await here.line("ttyUSB0")
        here.plug(FTDI, "ttyUSB0")
        others = (str(here.tree.root / "dev/ttyUSB0"),)
        here.receiver = Receiver(
            ReceiverSettings("auto", others=others), rng=random.Random(7), root=here.tree.root
        )
        with listening(pty, b"$GPTXT,01,01,02,ANTSTATUS=OK*3B\r\n", every_s=1) as sent:
            async with running(here):
                await until(lambda: here.receiver.error, 5)
        assert isinstance(here.receiver.error, ReceiverAbsent)
        assert sent == b""


@in_virtual_time
async def test_of_two_receivers_the_one_that_takes_corrections_is_meant(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        other, sim = await here.receiver_on("ttyACM0", M9N), await here.receiver_on("ttyACM1")
        here.plug(F9, "ttyACM0")
        here.plug(F9, "ttyACM1", socket="1-2")
        async with running(here):
            await flows_to(here, sim, 10)
        assert {frame.data for frame in other.received} == {ASKED}


@in_virtual_time
async def test_a_receiver_behind_an_adapter_is_found_beside_one_of_l_band_on_usb(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        other = await here.receiver_on("ttyACM0", D9S)
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        here.plug(F9, "ttyACM0")
        here.plug(FTDI, "ttyUSB0", socket="1-2")
        async with running(here):
            await flows_to(here, sim, 10)
        assert {frame.data for frame in other.received} == {ASKED}


@in_virtual_time
async def test_a_receiver_behind_an_adapter_is_found_when_it_begins_to_send(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        await here.receiver_on("ttyACM0", D9S)
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        sim.faults.sends_nothing = True
        here.plug(F9, "ttyACM0")
        here.plug(FTDI, "ttyUSB0", socket="1-2")
        async with running(here):
            await until(lambda: isinstance(here.receiver.error, ReceiverUnsuitable), 20)
            assert here.receiver.view.model == "NEO-D9S"
            sim.faults.sends_nothing = False
            await flows_to(here, sim, 120)


@in_virtual_time
async def test_the_reason_why_the_known_receiver_does_not_answer_is_given_beside_another(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        other, sim = await here.receiver_on("ttyACM0", F9T), await here.receiver_on("ttyACM1")
        here.plug(F9, "ttyACM0")
        here.plug(F9, "ttyACM1", socket="1-2")
        async with running(here):
            await flows_to(here, sim, 10)
            sim.faults.ignores_input = sim.faults.sends_nothing = True
            await asyncio.sleep(120)
            assert isinstance(here.receiver.error, ReceiverSilent)
            sim.faults.ignores_input = sim.faults.sends_nothing = False
            await flows_to(here, sim, 130)
        assert {frame.data for frame in other.received} == {ASKED}


@pytest.mark.parametrize("away_s", [3, 300])
@pytest.mark.parametrize("model", [F9T, M9N, D9S], ids=lambda model: model.module)
@in_virtual_time
async def test_U02_P17_a_receiver_that_is_away_is_waited_for_beside_one_without_rtk(
    tmp_path: Path, model: Model, away_s: float
) -> None:
    async with gateway(tmp_path) as here:
        other, pty = await here.receiver_on("ttyACM0", model), await here.line("ttyACM1")
        here.plug(F9, "ttyACM0")
        async with SimReceiver(pty) as sim:
            here.plug(F9, "ttyACM1", socket="1-2")
            async with running(here):
                await flows_to(here, sim, 10)
                here.unplug("ttyACM1")
                await asyncio.sleep(away_s)
                assert isinstance(here.receiver.error, ReceiverAbsent)
                assert "ZED-F9P with HPG 1.32 is away" in str(here.receiver.error)
                pty.plug()
                here.plug(F9, "ttyACM1", socket="1-2")
                await flows_to(here, sim, 5)
        assert {frame.data for frame in other.received} == {ASKED}


@in_virtual_time
async def test_an_adapter_is_left_alone_beside_a_receiver_on_usb_that_is_silent(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        silent = await here.receiver_on("ttyACM0")
        silent.faults.sends_nothing = True
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        here.plug(F9, "ttyACM0")
        here.plug(FTDI, "ttyUSB0", socket="1-2")
        async with running(here):
            await asyncio.sleep(60)
            assert isinstance(here.receiver.error, ReceiverSilent)
        assert sim.received == []


@in_virtual_time
async def test_of_two_that_both_take_corrections_a_person_must_choose(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        sims = [await here.receiver_on("ttyACM0"), await here.receiver_on("ttyACM1")]
        here.plug(F9, "ttyACM0")
        here.plug(F9, "ttyACM1", socket="1-2")
        async with running(here):
            await until(lambda: here.receiver.error, 10)
        assert isinstance(here.receiver.error, ReceiverAmbiguous)
        assert "by-path" in str(here.receiver.error)
        for sim in sims:
            assert {frame.data for frame in sim.received} == {ASKED}


@in_virtual_time
async def test_a_second_receiver_that_appears_a_little_later_is_not_overlooked(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        for tty in ("ttyACM0", "ttyACM1"):
            await here.receiver_on(tty)
        here.plug(F9, "ttyACM0")
        async with running(here):
            await asyncio.sleep(0.5)
            here.plug(F9, "ttyACM1", socket="1-2")
            await until(lambda: isinstance(here.receiver.error, ReceiverAmbiguous), 10)
            assert not here.receiver.ready


@in_virtual_time
async def test_U02_P17_a_receiver_that_comes_back_under_a_new_name_is_followed(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyACM0")
        here.plug(F9, "ttyACM0")
        async with running(here) as log:
            await flows_to(here, sim)
            for number, away_s in enumerate((0.2, 3, 60), start=1):
                here.unplug(f"ttyACM{number - 1}")
                await asyncio.sleep(away_s)
                assert not here.receiver.ready
                sim = await here.receiver_on(f"ttyACM{number}")
                here.plug(F9, f"ttyACM{number}")
                await flows_to(here, sim, 5)
        reported = [line.split()[0] for line in log]
        assert reported[:2] == ["gnss.found", "gnss.configured"]
        assert (reported.count("serial.lost"), reported.count("gnss.absent")) == (1, 1)


@in_virtual_time
async def test_U02_a_receiver_behind_an_adapter_comes_back_in_five_seconds_too(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        here.plug(FTDI, "ttyUSB0")
        async with running(here):
            await flows_to(here, sim, 10)
            here.unplug("ttyUSB0")
            await asyncio.sleep(30)
            sim = await here.receiver_on("ttyUSB1", wired="UART1")
            here.plug(FTDI, "ttyUSB1")
            await flows_to(here, sim, 5)


@in_virtual_time
async def test_a_missing_receiver_is_reported_with_the_ports_that_exist(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        here.tree.plug(EC25, {2: "ttyUSB0"})
        async with running(here) as log:
            await until(lambda: here.receiver.error, 5)
            assert isinstance(here.receiver.error, ReceiverAbsent)
            assert "on USB there are ttyUSB0 (2c7c:0125)" in log[0]
            sim = await here.receiver_on("ttyACM0")
            here.plug(F9, "ttyACM0", socket="1-2")
            await flows_to(here, sim, 5)


@in_virtual_time
async def test_the_same_ports_are_walked_once_a_minute_and_a_new_one_at_once(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        here.tree.plug(EC25, {2: "ttyUSB0"})
        finder = PortFinder(root=here.tree.root)

        async def look() -> str:
            with pytest.raises(ReceiverAbsent) as found:
                await finder.find(38400, 16384, 10.0)
            return found.value.detail

        there = await look()
        names = (here.tree.root / "sys/class/tty").resolve()
        for vendor in here.tree.root.rglob("idVendor"):
            vendor.write_text("1234")  # nothing but a walk can see that
        assert await look() == there
        await asyncio.sleep(60)
        changed = await look()
        assert "1234" in changed
        (names / "ttyUSB9").mkdir()
        for vendor in here.tree.root.rglob("idVendor"):
            vendor.write_text("4321")
        assert "4321" in await look()


@in_virtual_time
async def test_U08_a_receiver_that_another_program_holds_is_reported(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyACM0")
        here.plug(F9, "ttyACM0")
        other = await SerialPort.open(str(here.tree.root / "dev/ttyACM0"), 38400)
        async with running(here):
            await until(lambda: here.receiver.error, 5)
            assert isinstance(here.receiver.error, PortBusy)
            other.close()
            await flows_to(here, sim, 60)


@in_virtual_time
async def test_U08_an_adapter_that_another_program_holds_is_reported(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyUSB0", wired="UART1")
        here.plug(FTDI, "ttyUSB0")
        with open(here.tree.root / "dev/ttyUSB0") as port:
            other = subprocess.Popen(["sleep", "60"], stdin=port)
        try:
            async with running(here):
                await until(lambda: here.receiver.error, 5)
                error = here.receiver.error
                assert isinstance(error, ReceiverAbsent)
                assert f"ttyUSB0 is in use by sleep (process {other.pid})" in str(error)
                assert error.advice == PortBusy.advice
                other.kill()
                other.wait()
                await flows_to(here, sim, 90)
        finally:
            other.kill()
            other.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="a root process changes its user here")
@in_virtual_time
async def test_U09_a_port_this_user_may_not_open_is_reported_with_its_owner(
    open_path: Path,
) -> None:
    async with gateway(open_path) as here:
        sim = await here.receiver_on("ttyACM0")
        here.plug(F9, "ttyACM0")
        terminal = Path(os.path.realpath(here.tree.root / "dev/ttyACM0"))
        terminal.chmod(0o000)
        os.seteuid(65534)
        try:
            async with running(here) as log:
                await until(lambda: here.receiver.error, 5)
                assert isinstance(here.receiver.error, PortPermission)
                assert "dialout" in log[0]
                os.seteuid(0)
                terminal.chmod(0o660)
                await flows_to(here, sim, 30)
        finally:
            os.seteuid(0)


@in_virtual_time
async def test_U11_a_storm_of_resets_under_ever_new_names_leaves_nothing_behind(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        pty = await here.line("ttyACM0")
        async with SimReceiver(pty), running(here) as log:
            here.plug(F9, "ttyACM0")
            await here.receiver.wait_ready()
            descriptors, tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
            for _ in range(15):
                here.unplug("ttyACM0")
                await asyncio.sleep(1)
                pty.plug()
                here.plug(F9, "ttyACM0")
                await asyncio.sleep(5)
            await until(lambda: here.receiver.ready, 5)
            assert len(os.listdir("/proc/self/fd")) <= descriptors
            assert len(asyncio.all_tasks()) <= tasks
            assert len(log) <= 20, "in a minute and a half"


@in_virtual_time
async def test_a_receiver_on_usb_that_does_not_answer_is_given_up_in_three_seconds(
    tmp_path: Path,
) -> None:
    """There is no line speed to search for."""
    async with gateway(tmp_path) as here:
        sim = await here.receiver_on("ttyACM0")
        sim.faults.sends_nothing = True
        here.plug(F9, "ttyACM0")
        async with running(here):
            assert await until(lambda: here.receiver.error, 10) < 5
            assert isinstance(here.receiver.error, ReceiverSilent)
            sim.faults.sends_nothing = False
            await flows_to(here, sim, 70)


def test_the_real_tree_of_this_machine_can_be_walked() -> None:
    assert isinstance(discovery.gnss_candidates(), list)


@in_virtual_time
async def test_FR48_an_adapter_that_brltty_took_is_named_with_the_remedy(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        here.tree.plug_without_tty(CH340, {0: ("ff", "usbfs")}, product="USB Serial")
        async with running(here):
            await until(lambda: here.receiver.error, 5)
            error = here.receiver.error
            assert isinstance(error, ReceiverAbsent)
            assert "1a86:7523 USB Serial (taken by a program over usbfs)" in str(error)
            assert "remove brltty" in error.advice


@in_virtual_time
async def test_FR48_a_stick_without_a_tty_is_listed_and_is_no_advice_for_a_receiver(
    tmp_path: Path,
) -> None:
    async with gateway(tmp_path) as here:
        here.tree.plug_without_tty("12d1:14dc", {0: ("02", "cdc_ether")})
        async with running(here):
            await until(lambda: here.receiver.error, 5)
            error = here.receiver.error
            assert isinstance(error, ReceiverAbsent)
            assert "12d1:14dc (a network interface only, driver cdc_ether)" in str(error)
            assert error.advice == ReceiverAbsent.advice


@pytest.mark.parametrize(
    ("tty", "cure"), [("ttyAMA0", "serial-getty@ttyAMA0"), ("ttyAMA10", "debug connector")]
)
@in_virtual_time
async def test_FR50_a_console_on_the_only_uart_is_named(
    tmp_path: Path, tty: str, cure: str
) -> None:
    async with gateway(tmp_path) as here:
        here.uart(tty, console=True)
        async with running(here):
            await until(lambda: here.receiver.error, 5)
            error = here.receiver.error
            assert isinstance(error, ReceiverAbsent)
            assert f"serial0 ({tty}) is in use by the console of the kernel" in str(error)
            assert cure in error.advice


@in_virtual_time
async def test_FR55_noise_on_the_mini_uart_names_its_clock(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        here.tree.uart("ttyS0", driver="bcm2835-aux-uart", serial_core=True)
        noise = await here.line("ttyS0")
        port = str(here.tree.root / "dev/ttyS0")
        here.receiver = Receiver(ReceiverSettings(port), rng=random.Random(7), root=here.tree.root)
        with listening(noise, b"\xfe\x80\x00\xf8", every_s=0.1):
            async with running(here) as log:
                await until(lambda: here.receiver.error, 120)
                error = here.receiver.error
        assert isinstance(error, ReceiverSilent)
        assert "mini-UART" in error.advice
        assert "mini-UART" in log[0]


@in_virtual_time
async def test_FR55_a_name_that_two_adapters_share_is_named_once(tmp_path: Path) -> None:
    async with gateway(tmp_path) as here:
        for number in (0, 1):
            here.plug(FTDI, f"ttyUSB{number}", socket=f"1-{number + 1}")
        silent = await here.line("ttyUSB1")
        port = str(here.tree.root / "dev/serial/by-id/usb-Vendor_Product-if00-port0")
        here.receiver = Receiver(ReceiverSettings(port), rng=random.Random(7), root=here.tree.root)
        with listening(silent):
            async with running(here) as log:
                await until(lambda: here.receiver.error, 120)
                await asyncio.sleep(120)
        shared = [each for each in log if each.startswith("serial.name_shared")]
        assert len(shared) == 1
        assert "2 equal devices have the name" in shared[0]
