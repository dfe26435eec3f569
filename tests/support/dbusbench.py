"""A message bus of our own with ModemManager on it: Debian's daemon, or a mock.

Debian's ModemManager has a Test interface, by which a Unix socket becomes a modem's only port: it
then needs neither udev nor systemd nor root. For answers that it never gives, such as properties
of a wrong type, there is the mock: python3-dbusmock, run by Debian's own Python.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from types import TracebackType

import pytest

from tests.support.unix_socket import UnixSocketLine
from ztpd.sim.modem import Engine, ModemModel, Reply, Say

NAME = "org.freedesktop.ModemManager1"
OBJECT = "/org/freedesktop/ModemManager1"
MODEM = f"{NAME}.Modem"
MODEM_3GPP = f"{NAME}.Modem.Modem3gpp"

_DEBIAN_PYTHON = "/usr/bin/python3"
_PROGRAMS = f"{os.environ.get('PATH', '')}:/usr/sbin"
_BASICS: Mapping[str, Reply] = {  # without these ModemManager makes no object of a modem
    "ATX4": Say(),
    "AT&C1": Say(),
    "AT+GCAP": Say("+GCAP: +CGSM"),
    "AT+CFUN?": Say("+CFUN: 1"),
    "AT+CPIN?": Say("+CPIN: READY"),
}


def _missing(names: tuple[str, ...]) -> Iterator[str]:
    probe = [_DEBIAN_PYTHON, "-c", "import dbusmock"]
    for name in names:
        if name != "python3-dbusmock":
            there = shutil.which(name, path=_PROGRAMS) is not None
        else:
            with suppress(OSError):
                there = subprocess.run(probe, capture_output=True).returncode == 0
        if not there:
            yield name


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where one of ``programs`` is missing, and say which."""
    missing = ", ".join(_missing(("dbus-daemon", "busctl", "gdbus", *programs)))
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {missing}")


def wait(until: Callable[[], bool], within_s: float = 10.0) -> None:
    deadline = time.monotonic() + within_s
    while not until():
        assert time.monotonic() < deadline, "no such line"
        time.sleep(0.02)


class Bus:
    """A message bus; :meth:`use` makes it the system bus of the code under test."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.address = f"unix:path={directory}/bus"
        self._ending = ExitStack()

    def __enter__(self) -> Bus:
        config = self.directory / "bus.conf"
        config.write_text(
            f"<busconfig><listen>{self.address}</listen><policy context='default'>"
            "<allow send_destination='*'/><allow receive_type='method_call'/>"
            "<allow receive_type='method_return'/><allow receive_type='error'/>"
            "<allow receive_type='signal'/><allow own='*'/></policy></busconfig>"
        )
        self.process = self.start("dbus-daemon", f"--config-file={config}", "--nofork")
        wait(self.directory.joinpath("bus").exists)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._ending.close()

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", self.address)

    @property
    def _world(self) -> dict[str, str]:
        bus = {f"DBUS_{kind}_BUS_ADDRESS": self.address for kind in ("SYSTEM", "SESSION")}
        return {**os.environ, **bus, "PATH": _PROGRAMS}

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process on this bus, ended with it."""
        process = subprocess.Popen(
            command,
            env=self._world,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._ending.callback(stop, process)
        return process

    def call(self, path: str, method: str, *arguments: str) -> str:
        """Call ModemManager, or the mock; arguments are GVariant texts."""
        command = ["gdbus", "call", "--session", "--dest", NAME, "--object-path", path]
        done = subprocess.run(
            [*command, "--method", method, *arguments],
            env=self._world,
            capture_output=True,
            text=True,
            timeout=10,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def has_daemon(self) -> bool:
        command = ["busctl", "--system", "--auto-start=no", "status", NAME]
        return subprocess.run(command, env=self._world, capture_output=True).returncode == 0


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


class RealModemManager:
    """Debian's daemon; its modems are simulated in a thread, as the tests wait for answers."""

    def __init__(self, bus: Bus, *options: str) -> None:
        self.engines: dict[str, Engine] = {}
        self.bus = bus
        self._options = options
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._lines: dict[str, UnixSocketLine] = {}
        self._tasks: list[asyncio.Task[None]] = []

    def __enter__(self) -> RealModemManager:
        self._thread.start()
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        stop(self.process)
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def start(self) -> None:
        self.process = self.bus.start(
            *("ModemManager", "--test-session", "--test-enable", "--test-no-udev"),
            *("--no-auto-scan", "--test-no-suspend-resume", "--test-no-qrtr"),
            *("--log-level=ERR", f"--log-file={self.bus.directory}/modemmanager.log"),
            *self._options,
        )
        wait(self.bus.has_daemon)

    def add(self, name: str, model: ModemModel) -> Engine:
        """Plug in a modem; its Device is ``/virtual/NAME``. ModemManager takes a second or so."""

        async def plug() -> Engine:
            line = self._lines[name] = UnixSocketLine(self.bus.directory / name)
            line.plug()
            answers = {**_BASICS, **model.answers}
            engine = self.engines[name] = Engine(replace(model, answers=answers), line)
            self._tasks.append(asyncio.create_task(engine.run()))
            return engine

        engine = asyncio.run_coroutine_threadsafe(plug(), self._loop).result(10)
        self.announce(name)
        return engine

    def announce(self, name: str) -> None:
        self.bus.call(
            OBJECT, f"{NAME}.Test.SetProfile", name, "generic", f"['{self._lines[name].path}']"
        )

    def unplug(self, name: str) -> None:
        self._loop.call_soon_threadsafe(self._lines[name].unplug)

    async def _end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for line in self._lines.values():
            line.unplug()


class MockModemManager:
    """Objects and properties as a test wants them."""

    def __init__(self, bus: Bus) -> None:
        self.bus = bus
        self._modems: set[int] = set()
        self.process = bus.start(
            *(_DEBIAN_PYTHON, "-m", "dbusmock", "--session", "--is-object-manager"),
            *(NAME, OBJECT, "org.freedesktop.DBus.ObjectManager"),
        )
        wait(bus.has_daemon)

    def add(self, number: int, properties: str, threegpp: str = "") -> None:
        """A modem; ``properties`` is the inside of a GVariant dictionary."""
        path = f"{OBJECT}/Modem/{number}"
        self._modems.add(number)
        methods = "[('Command', 'su', 's', 'ret = \"+CGSN: 0\"')]"
        self.bus.call(
            OBJECT, "org.freedesktop.DBus.Mock.AddObject", path, MODEM, f"{{{properties}}}", methods
        )
        if threegpp:
            self.bus.call(
                path,
                "org.freedesktop.DBus.Mock.AddProperties",
                MODEM_3GPP,
                f"{{{threegpp}}}",
            )

    def remove(self, number: int) -> None:
        path = f"{OBJECT}/Modem/{number}"
        self._modems.remove(number)
        self.bus.call(OBJECT, "org.freedesktop.DBus.Mock.RemoveObject", path)

    def clear(self) -> None:
        for number in list(self._modems):
            self.remove(number)

    def calls(self, number: int | None = None) -> str:
        """The calls on the daemon and its modems."""
        path = OBJECT if number is None else f"{OBJECT}/Modem/{number}"
        return self.bus.call(path, "org.freedesktop.DBus.Mock.GetCalls")


def modem(
    imei: str = "490154203237518", *, port: str = "ttyUSB2", device: str = "/sys/1", state: int = 8
) -> str:
    """The usual properties of a modem, for :meth:`MockModemManager.add`."""
    return (
        f"'EquipmentIdentifier': <'{imei}'>, 'Device': <'{device}'>, 'State': <int32 {state}>, "
        f"'Ports': <[('{port}', uint32 3)]>"
    )
