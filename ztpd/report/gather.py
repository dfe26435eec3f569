"""Gathers the parts of a report from the running daemon, or from what the last one left.

Each part has its own time limit, so that all of them take less than half a minute, besides a
recording.
"""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import time
import zlib
from collections.abc import Callable
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ztpd import __version__, config, records, status
from ztpd.check import Check, Result
from ztpd.config import LoadedConfig
from ztpd.errors import ConfigError, ZtpdError
from ztpd.health import health
from ztpd.history import transfer
from ztpd.history.transfer import HistoryData
from ztpd.receiver.settings import Inspection
from ztpd.report.masking import Masking
from ztpd.report.material import Material
from ztpd.status import Status
from ztpd.system import control, directories
from ztpd.system.control import Verb

_HISTORY_S = 2.0  # for each series
_RECEIVER_S = 12.0  # all its settings, which are 12 kB
_JOURNAL_S = 5.0
_CHECK_S = 9.0
_JOURNAL_LINES = 20_000
_JOURNAL_BYTES = 2_000_000
_RECORDING_BYTES = 20_000_000

Journal = Callable[[], str]


def gather(
    path: Path,
    *,
    daemon: Status | None,
    masking: Masking,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    journal: Journal | None = None,
    record_s: float = 0.0,
) -> Material:
    """``daemon`` is the running daemon's status, None where none runs; ``record_s``: for so long
    what goes over the wires is recorded, in masked form unless ``masking`` leaves positions.

    As root it becomes the user that owns the credentials, once the journal has been read.
    """
    made = now()
    material = Material(made, versions=_versions(), is_running=daemon is not None)
    material.status = daemon or status.read(directories.runtime_dir())
    word = health(material.status, is_running=material.is_running, now=made if daemon else None)
    material.verdict = word.value
    loaded = _configuration(material, path)
    masking.hide_own(loaded)
    if loaded:
        material.config_text = config.show(masking.config(loaded))
    try:
        material.journal = (journal or read_journal)()
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        material.lacks("journal", error)
    if not material.journal and not any(part == "journal" for part, _ in material.missing):
        material.lacks("journal", "journalctl shows no line of ztpd.service to this user")
    if daemon:
        _from_daemon(material)
        if record_s:
            _record(material, record_s, with_position=masking.with_position)
    else:
        material.lacks("history", "no daemon runs, and it is kept in memory only")
        material.lacks("receiver settings", "no daemon runs; `ztpd receiver show` reads them")
    asyncio.run(_check(material, path, daemon))
    return material


def read_journal() -> str:
    """The unit's lines of the last 24 hours. Raises OSError and subprocess.SubprocessError."""
    command = ["journalctl", "--unit=ztpd.service", "--since=-24h", "--output=short-iso"]
    command += ["--no-pager", "--quiet", f"--lines={_JOURNAL_LINES}"]
    done = subprocess.run(command, capture_output=True, timeout=_JOURNAL_S, check=True)
    return done.stdout[-_JOURNAL_BYTES:].decode(errors="replace")


def _configuration(material: Material, path: Path) -> LoadedConfig | None:
    try:
        return config.load(path)
    except ConfigError as error:
        material.lacks("configuration", error)
        return None


def _from_daemon(material: Material) -> None:
    directory = directories.runtime_dir()

    def series(request: dict[str, Any]) -> dict[str, Any]:
        question = {"do": Verb.HISTORY} | request
        return control.ask(directory, question, timeout_s=_HISTORY_S)

    try:
        material.history = transfer.fetch(series)
    except ZtpdError as error:
        material.lacks("history", error)
    else:
        if not len(material.history):
            material.lacks("history", "the daemon has just started")
    question = {"do": Verb.RECEIVER, "every": True, "wait_s": _RECEIVER_S}
    try:
        answer = control.ask(directory, question, timeout_s=_RECEIVER_S + 1.0)
    except ZtpdError as error:
        material.lacks("receiver settings", error)
        return
    if answer.get("ok"):
        material.inspection = records.from_json(Inspection, answer.get("receiver"))
    else:
        material.lacks("receiver settings", answer.get("error"))


def _record(material: Material, for_s: float, *, with_position: bool) -> None:
    request = {"do": Verb.RECORD, "position": with_position}
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    packed = bytearray()
    end_s = time.monotonic() + for_s
    try:
        with closing(control.stream(directories.runtime_dir(), request)) as pieces:
            for piece in pieces:
                packed += packer.compress(piece)
                if time.monotonic() >= end_s:
                    break
                if len(packed) > _RECORDING_BYTES:
                    material.lacks("rest of the recording", f"it has {_RECORDING_BYTES} bytes")
                    break
            else:
                material.lacks("rest of the recording", "the daemon ended")
    except ZtpdError as error:
        material.lacks("recording", error)
        return
    material.recording = bytes(packed + packer.flush())


async def _check(material: Material, path: Path, daemon: Status | None) -> None:
    """Where it takes too long, the links that were reached. No port is opened beside a daemon."""
    found: list[Result] = []
    walk = Check(lambda: config.load(path), state_dir=directories.state_dir(), daemon=daemon)
    try:
        async with asyncio.timeout(_CHECK_S):
            await walk.run(found.append)
    except TimeoutError:
        material.lacks("check", f"cut off after {_CHECK_S:g} s; `ztpd check` takes its time")
    material.checked = tuple(found)


def _versions() -> dict[str, str]:
    system = ""
    with suppress(OSError):
        system = platform.freedesktop_os_release().get("PRETTY_NAME", "")
    up_s = time.clock_gettime(time.CLOCK_BOOTTIME)
    return {
        "ztpd": __version__,
        "system": system,
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "Python": platform.python_version(),
        "up": f"{up_s / 3600:.1f} h",
        "load": " ".join(f"{each:.2f}" for each in os.getloadavg()),
    }


def history_rows(history: HistoryData, *, with_position: bool) -> list[list[str]]:
    """The samples as a table: a heading, then the oldest first."""
    left_out = () if with_position else ("lat_deg", "lon_deg", "height_m")
    numbers = [name for name in history.numbers if name not in left_out]
    heading = ["time", *history.texts, *numbers, *(f"frames {kind}" for kind in history.kinds)]
    rows = [heading]
    for each, unix_s in enumerate(history.unix_s):
        moment = datetime.fromtimestamp(round(unix_s), UTC)
        row = [moment.strftime("%Y-%m-%dT%H:%M:%SZ")]
        row += [history.texts[name][each] for name in history.texts]
        row += [_plain(history.numbers[name][each]) for name in numbers]
        row += [str(history.kinds[kind][each]) for kind in history.kinds]
        rows.append(row)
    return rows


def _plain(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"
