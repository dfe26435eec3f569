"""What is published: the status file, and how a person sees it."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from ztpd import events
from ztpd.errors import LockHeld
from ztpd.log import duration
from ztpd.system.files import read_json, write_atomic

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


FIELDS: Mapping[str, str] = {
    "schema": "version of this form",
    "version": "of ztpd",
    "running": "whether a daemon runs; else the rest is what the last one said",
    "at": "when this was written (ISO 8601, UTC)",
    "pid": "process id of the daemon",
    "state": "what the daemon is doing, see [states](states.md)",
    "since": "since when",
    "reason.event": "the [event](events.md) that led to the state, or `state.` and its name",
    "reason.text": "why, for a person",
    "reason.advice": "what a person should do, or empty",
    "next_attempt_s": "seconds from `at` to the next try",
    "identity.id": "the IMEI without its middle, or the configured hardware id",
    "identity.source": "where it was read",
    "service": "`flex` or `live`",
    "client_id": "the Thing's client id",
    "credentials.age_s": "seconds since the credentials were stored",
    "credentials.expires": "last day of the client certificate, if there is one",
    "credentials.unsaved": "whether the disk has refused them so far",
    "source.where": "the correction service: kind, host, port, mountpoint",
    "source.session_s": "age of the session",
    "source.format": "`SPARTN` or `RTCM3`",
    "source.frames": "correction messages of this session, by kind",
    "source.bytes": "their bytes",
    "source.other_format": "messages left out because they are of the other format",
    "source.last_frame_age_s": "seconds since the last correction came",
    "receiver.model": "empty until the receiver has answered",
    "receiver.firmware": "its version",
    "receiver.protocol": "the UBX protocol version",
    "receiver.port": "the serial port",
    "receiver.baudrate": "the speed in use, 0 while the port is closed",
    "receiver.ready": "whether it is set up and takes corrections",
    "receiver.problem": "why not",
    "receiver.fix": "`no fix`, `2D`, `3D`, `DGNSS`, `RTK float`, `RTK fixed` or `unknown`",
    "receiver.fix_for_s": "seconds since the fix has been this",
    "receiver.best_fix": "the best fix that this receiver can reach, empty until it has answered",
    "receiver.carrier": "`none`, `float` or `fixed`",
    "receiver.correction_age_s": "upper bound of the age of the corrections in use",
    "receiver.accuracy_m": "horizontal, 1 sigma, as the receiver estimates it",
    "receiver.satellites": "used in the position",
    "receiver.use": "`used`, `not used: ` and why, or `unknown`",
    "receiver.use_event": "the [event](events.md) that says why they are not used, else empty",
    "receiver.used": "messages that the receiver used, by kind",
    "receiver.rejected": "messages that it did not use, by kind",
    "receiver.delivered_frames": "messages that have left the port towards it",
    "receiver.delivered_bytes": "their bytes",
    "receiver.dropped": "messages that came faster than the line takes them",
    "receiver.dropped_share": "their share in the last five minutes, 0 to 1",
    "receiver.refused": "messages from outside that were none for a receiver",
    "receiver.undelivered": "messages that came while it was not ready",
    "receiver.first_fix_s": "seconds from its set-up to the first fix",
    "receiver.first_float_s": "to RTK float",
    "receiver.first_fixed_s": "to RTK fixed",
    "receiver.skipped_bytes": "bytes from it that are no message",
    "receiver_problem.event": "what keeps the receiver from being used, where something does",
    "receiver_problem.text": "for a person",
    "receiver_problem.advice": "what to do",
    "config_problem.event": "why a changed configuration was not taken up, where it was not",
    "config_problem.text": "for a person",
    "config_problem.advice": "what to do",
    "clock": "`synchronised`, `not synchronised`, `behind` (shows a date that is past), `unknown`",
}
"""Every field of the document, with its meaning: docs/status.md is made from this."""

EXIT_STREAMING, EXIT_FAILED, EXIT_DEGRADED, EXIT_NOT_RUNNING = 0, 1, 2, 3


class Health(Enum):
    """The whole status in a word; the number is the exit status for scripts."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    STARTING = "starting"
    WAITING = "waiting"
    BLOCKED = "blocked"
    NOT_RUNNING = "not running"

    @property
    def exit_status(self) -> int:
        """0 streaming, 1 failed (a person is needed), 2 degraded or waiting, 3 down."""
        return {
            Health.HEALTHY: EXIT_STREAMING,
            Health.BLOCKED: EXIT_FAILED,
            Health.NOT_RUNNING: EXIT_NOT_RUNNING,
        }.get(self, EXIT_DEGRADED)


_COLOURS = {Health.HEALTHY: 32, Health.BLOCKED: 31, Health.NOT_RUNNING: 31}
_YELLOW = 33


def health(document: Mapping[str, Any], *, is_running: bool) -> Health:
    """The word for ``document``."""
    if not is_running:
        return Health.NOT_RUNNING
    match document.get("state"):
        case "blocked":
            return Health.BLOCKED
        case "waiting":
            return Health.WAITING
        case "streaming" if _trouble(document):
            return Health.DEGRADED
        case "streaming":
            return Health.HEALTHY
    return Health.STARTING


def exit_status(document: Mapping[str, Any], *, is_running: bool) -> int:
    """For scripts, see :attr:`Health.exit_status`."""
    return health(document, is_running=is_running).exit_status


def cause(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a person should know first: event, text and advice; empty where all is well."""
    return _trouble(document) or _part(document, "config_problem")


def _trouble(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """What keeps corrections from being used."""
    reason, problem = _part(document, "reason"), _part(document, "receiver_problem")
    if document.get("state") != "streaming":
        is_named = reason.get("advice") or document.get("state") != "waiting"
        return reason if is_named else problem or reason
    if problem:
        return problem
    use = str(_part(document, "receiver").get("use", ""))
    if use.startswith("not used"):
        event = events.not_used(use)
        return {"event": event.name, "text": event.text, "advice": event.remedy}
    return {}


def render(
    document: Mapping[str, Any],
    *,
    is_running: bool,
    now: datetime | None = None,
    clock: str = "",
    on_disk: str = "",
    colour: bool = False,
) -> str:
    """One screen for a person.

    ``clock`` is its quality in a word; ``on_disk`` what is stored, for when no daemon runs.
    """
    now = now or datetime.now(UTC)
    word = health(document, is_running=is_running)
    lines = [_headline(document, word, colour), *_explained(document, word, now), ""]
    state = f"{document.get('state')} {_since(document.get('since'), now)}"
    if is_running:
        lines.append(_row("state", state))
    else:
        lines.append(_row("on disk", on_disk))
        lines.append(_row("last state", state if document else ""))
    identity = _part(document, "identity")
    lines.append(_row("identity", _joined(identity.get("id"), identity.get("source"))))
    lines.append(_row("credentials", _credentials(document)))
    if is_running:
        lines += _source_rows(_part(document, "source"))
        lines += _receiver_rows(_part(document, "receiver"))
    lines.append(_row("clock", _joined(f"{now:%Y-%m-%d %H:%M:%S} UTC", clock)))
    return "\n".join(line for line in lines if line is not None) + "\n"


def _headline(document: Mapping[str, Any], word: Health, colour: bool) -> str:
    shown = word.value
    if colour:
        shown = f"\033[1;{_COLOURS.get(word, _YELLOW)}m{shown}\033[0m"
    match word:
        case Health.NOT_RUNNING:
            text = "start it with `systemctl start ztpd`"
        case Health.HEALTHY:
            view = _part(document, "receiver")
            used = "the receiver uses the corrections" if view.get("use") == "used" else "streaming"
            text = _joined(used, view.get("fix"))
        case _:
            text = str(cause(document).get("text", ""))
    version = f"ztpd {document['version']}" if document.get("version") else "ztpd"
    return f"{version}: {shown}: {text}"


def _explained(document: Mapping[str, Any], word: Health, now: datetime) -> Iterator[str | None]:
    """What to do, and when ztpd does something by itself."""
    if word in (Health.DEGRADED, Health.WAITING, Health.BLOCKED):
        yield _row("do", cause(document).get("advice"))
        yield _row("next try", _in(document, now))
    if broken := _part(document, "config_problem"):
        yield _row("settings", broken.get("text"))
        yield f"{'':>12}  {broken.get('advice')}"


def _credentials(document: Mapping[str, Any]) -> str:
    credentials = _part(document, "credentials")
    if not credentials:
        return ""
    expiry = credentials.get("expires")
    return _joined(
        f"{document.get('service')} {document.get('client_id')}",
        f"{duration(float(credentials.get('age_s', 0)))} old",
        f"until {expiry}" if expiry else "",
        "not yet on disk" if credentials.get("unsaved") else "",
    )


def _source_rows(source: Mapping[str, Any]) -> list[str | None]:
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
                    f"{frames} messages, {octets} bytes ({rate:.0f} B/s)",
                    f"the last {source.get('last_frame_age_s') or 0.0:.1f} s ago",
                ),
            )
        )
    return rows


def _receiver_rows(receiver: Mapping[str, Any]) -> list[str | None]:
    if not receiver:
        return []
    rows = [
        _row(
            "receiver",
            _joined(receiver.get("model"), receiver.get("firmware"), receiver.get("port"))
            if receiver.get("model")
            else receiver.get("problem"),
        )
    ]
    if receiver.get("model"):
        age, accuracy = receiver.get("correction_age_s"), receiver.get("accuracy_m")
        rows.append(_row("problem", receiver.get("problem")))
        rows.append(
            _row(
                "fix",
                _joined(
                    receiver.get("fix"),
                    f"{accuracy:.3f} m" if accuracy is not None else "",
                    f"{receiver['satellites']} satellites" if receiver.get("satellites") else "",
                    f"corrections younger than {age:g} s" if age is not None else "",
                ),
            )
        )
        rows.append(_row("use", receiver.get("use")))
    return rows


def _row(name: str, text: object) -> str | None:
    return f"{name:>12}  {text}" if text else None


def _joined(*parts: object) -> str:
    return ", ".join(str(part) for part in parts if part)


def _since(moment: object, now: datetime) -> str:
    with suppress(ValueError, TypeError):
        began = datetime.fromisoformat(str(moment))
        return f"since {began:%Y-%m-%d %H:%M:%S} UTC ({duration((now - began).total_seconds())})"
    return ""


def _in(document: Mapping[str, Any], now: datetime) -> str:
    """When the next try is due: the document may be older than the wait."""
    with suppress(ValueError, TypeError, KeyError):
        written = datetime.fromisoformat(str(document.get("at")))
        left_s = float(document["next_attempt_s"]) - (now - written).total_seconds()
        return f"in {duration(max(0.0, left_s))}; `ztpd retry` tries now"
    return ""


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = document.get(name)
    return part if isinstance(part, Mapping) else {}
