"""What is published: the status file, and how a person sees it."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from ztpd.errors import LockHeld
from ztpd.link.files import read_json, write_atomic
from ztpd.log import duration

SCHEMA = 1
FILE = "status.json"
LOCK = "lock"


class Lock:
    """One ztpd per runtime directory; the kernel lets go of it when the process ends."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK
        self._file: int | None = None

    def take(self) -> None:
        """Raises :class:`LockHeld`, or OSError where the directory cannot be used."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(file)
            raise LockHeld(str(self._path)) from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def running(directory: Path) -> bool:
    """Whether a daemon holds the lock in ``directory``."""
    try:
        file = os.open(directory / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(file)
    return False


def write(directory: Path, document: Mapping[str, Any]) -> None:
    """Publish ``document``; a full runtime directory costs the status, not the daemon."""
    data = json.dumps(document, indent=1, default=_plain).encode() + b"\n"
    with suppress(OSError):
        write_atomic(directory / FILE, data, mode=0o644, durable=False)


def read(directory: Path) -> dict[str, Any]:
    """The last status written; empty where there is none."""
    return read_json(directory / FILE)


def plain(value: object) -> Any:
    """``value`` as JSON types; dataclasses become objects, enumerations their value."""
    return json.loads(json.dumps(value, default=_plain))


def _plain(value: object) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return {field.name: getattr(value, field.name) for field in fields}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (set, frozenset)):
        return sorted(plain(item) for item in value)
    return str(value)


EXIT_STREAMING, EXIT_FAILED, EXIT_DEGRADED, EXIT_NOT_RUNNING = 0, 1, 2, 3


def exit_status(document: Mapping[str, Any], *, is_running: bool) -> int:
    """For scripts: 0 streaming, 1 failed (a person is needed), 2 degraded or waiting, 3 down."""
    if not is_running:
        return EXIT_NOT_RUNNING
    if document.get("state") == "blocked":
        return EXIT_FAILED
    if document.get("state") == "streaming" and not _unused(document):
        return EXIT_STREAMING
    return EXIT_DEGRADED


def _unused(document: Mapping[str, Any]) -> bool:
    return str(_part(document, "receiver").get("use", "")).startswith("not used")


def render(document: Mapping[str, Any], *, is_running: bool, now: datetime | None = None) -> str:
    """One screen for a person."""
    if not document:
        return "ztpd is not running, and has left no status.\n"
    now = now or datetime.now(UTC)
    lines = []
    if not is_running:
        lines.append(f"ztpd is not running; this is what it said last ({document.get('at')}):")
    reason = _part(document, "reason")
    lines.append(_row("state", f"{document.get('state')}, {_since(document.get('since'), now)}"))
    lines.append(_row("why", reason.get("text")))
    lines.append(_row("do", reason.get("advice")))
    lines.append(_row("next try", _in(document.get("next_attempt_s"))))
    identity = _part(document, "identity")
    lines.append(_row("identity", _joined(identity.get("id"), identity.get("source"))))
    credentials = _part(document, "credentials")
    if credentials:
        age = duration(float(credentials.get("age_s", 0)))
        expiry = credentials.get("expires")
        lines.append(
            _row(
                "credentials",
                _joined(
                    f"{document.get('service')} {document.get('client_id')}",
                    f"{age} old",
                    f"until {expiry}" if expiry else "",
                    "not yet on disk" if credentials.get("unsaved") else "",
                ),
            )
        )
    lines += _source_rows(_part(document, "source"))
    lines += _receiver_rows(_part(document, "receiver"))
    lines.append(_row("clock", document.get("clock")))
    lines.append(_row("version", document.get("version")))
    return "\n".join(line for line in lines if line) + "\n"


def _source_rows(source: Mapping[str, Any]) -> list[str]:
    if not source:
        return []
    rows = [_row("source", source.get("where"))]
    if source.get("frames"):
        frames, octets = sum(source["frames"].values()), source.get("bytes", 0)
        rate = octets / source["session_s"] if source.get("session_s") else 0
        rows.append(
            _row(
                "corrections",
                _joined(
                    source.get("format"),
                    f"{frames} frames, {octets} bytes ({rate:.0f} B/s)",
                    f"last {source.get('last_frame_age_s', 0):.1f} s ago",
                    f"{source['skipped_bytes']} bytes skipped"
                    if source.get("skipped_bytes")
                    else "",
                ),
            )
        )
    return rows


def _receiver_rows(receiver: Mapping[str, Any]) -> list[str]:
    if not receiver:
        return []
    rows = [
        _row(
            "receiver",
            _joined(receiver.get("model"), receiver.get("firmware"), receiver.get("port"))
            or receiver.get("problem"),
        )
    ]
    if receiver.get("model"):
        age, accuracy = receiver.get("correction_age_s"), receiver.get("accuracy_m")
        rows.append(
            _row(
                "fix",
                _joined(
                    receiver.get("fix"),
                    f"accuracy {accuracy:.3f} m" if accuracy is not None else "",
                    f"{receiver['satellites']} satellites" if receiver.get("satellites") else "",
                    f"corrections younger than {age:g} s" if age is not None else "",
                ),
            )
        )
        rows.append(_row("use", receiver.get("use")))
    return rows


def _row(name: str, text: object) -> str:
    return f"{name:>12}  {text}" if text else ""


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _since(moment: object, now: datetime) -> str:
    with suppress(ValueError, TypeError):
        return f"since {moment} ({duration((now - datetime.fromisoformat(str(moment))).seconds)})"
    return ""


def _in(seconds: object) -> str:
    return f"in {duration(float(seconds))}" if isinstance(seconds, (int, float)) else ""


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}
