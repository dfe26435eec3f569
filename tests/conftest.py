"""Guards for every test: no network beyond loopback, no serial port beyond ptys, no bad log line.

Coroutine tests run on a fresh event loop each, without a plug-in.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import logging
import os
import re
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from ztpd import log
from ztpd.net import dial

settings.register_profile("house", deadline=None)  # machines differ, and CI is busy
settings.register_profile("emulated", deadline=None, max_examples=10)  # `make arm-test`
settings.load_profile(os.environ.get("ZTPD_HYPOTHESIS", "house"))

CAPTURES = Path(os.environ.get("ZTPD_CAPTURES", Path(__file__).parents[2] / "shared/captures"))


def pytest_report_header() -> list[str]:
    names = ("aiohttp", "paho-mqtt", "pyserial", "tenacity")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in names)
    return [f"world: Python {sys.version.split()[0]}, {versions}"]


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    wanted = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: value for name, value in pyfuncitem.funcargs.items() if name in wanted}
    asyncio.run(pyfuncitem.obj(**arguments))
    return True


@pytest.fixture
def memory_path() -> Iterator[Path]:
    """As ``tmp_path``, in memory: on a disk each status that is renamed into place costs 3 ms, most
    of the time of a virtual hour."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def open_path() -> Iterator[Path]:
    """As ``tmp_path``, for other users too: each start of pytest closes its own directories."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(autouse=True)
def _no_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sockets other than Unix and loopback raise, and so do serial ports other than ptys."""
    real_connect, real_connect_ex = socket.socket.connect, socket.socket.connect_ex

    def check(address: Any) -> None:
        if isinstance(address, tuple):
            host = str(address[0])
            if host != "localhost" and not ipaddress.ip_address(host.split("%")[0]).is_loopback:
                pytest.fail(f"a test wants to leave this machine: {address}")

    def connect(self: socket.socket, address: Any) -> None:
        check(address)
        real_connect(self, address)

    def connect_ex(self: socket.socket, address: Any) -> int:
        check(address)
        return real_connect_ex(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect_ex)

    real_open = os.open

    def guarded_open(path: Any, *args: Any, **kwargs: Any) -> int:
        name = os.fspath(path)
        if isinstance(name, str) and name.startswith("/dev/tty") and name != "/dev/tty":
            real = os.path.realpath(name)
            if not real.startswith("/dev/pts/"):
                pytest.fail(f"a test wants a real serial port: {name}")
        return real_open(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", guarded_open)


PLANTED = re.compile(
    "0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"  # the simulated portal's token
    "|planted-secret|PRIVATE KEY"
    "|35752007012076[07]|490154203237518"  # whole IMEIs, which are shown in part only
)
"""Secrets that tests put where the daemon finds them, and that no record of any test may show."""

_leaks: list[str] = []


class _FormatEverything(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        fields = [text for name, text in record.__dict__.items() if name.startswith("ZTPD_")]
        trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else ""
        test = os.environ.get("PYTEST_CURRENT_TEST", "")
        if "test_log.py" in test:  # there secrets are logged to see them masked
            return
        for text in (record.getMessage(), *map(str, fields), trace):
            if PLANTED.search(text):
                _leaks.append(f"{test}: {text}")

    def handleError(self, record: logging.LogRecord) -> None:
        raise


@pytest.fixture(autouse=True)
def _no_address_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins as a new process does."""
    monkeypatch.setattr(dial, "_failed_s", {})


@pytest.fixture(autouse=True)
def _log_lines_are_sound() -> Iterator[None]:
    """Every record is formatted, at DEBUG, also where no handler prints it."""
    handler = _FormatEverything(level=logging.DEBUG)
    logger = logging.getLogger("ztpd")
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield
    logger.removeHandler(handler)
    logger.setLevel(before)
    for left in [each for each in logging.root.handlers if log.redaction in each.filters]:
        logging.root.removeHandler(left)  # its stream was the test's, and is closed


@pytest.fixture(autouse=True, scope="session")
def _P11_no_secret_was_ever_logged() -> Iterator[None]:
    """Before redaction: that is only the second net."""
    yield
    assert not _leaks


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The top of a gateway whose directories the verbs find by the environment, as systemd's do."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    return tmp_path


@pytest.fixture
def captures() -> Path:
    """The folder of recorded streams; a test that needs it is skipped where it is absent."""
    if not CAPTURES.is_dir():
        pytest.skip(f"recorded streams not found in {CAPTURES}; set ZTPD_CAPTURES")
    return CAPTURES
