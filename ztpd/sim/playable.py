"""Files that can be played: recordings of ztpd, logs of a receiver, streams of corrections.

The kind is recognised by the content. Logs of other programs have no times of their own; they come
from the messages: NAV-PVT (time of week), RTCM 3 observations (epoch), SPARTN (time tag).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ztpd.model import GPS_LEAP_SECONDS, WEEK_S, Frame, FrameKind
from ztpd.sim.receiver.models import F9P, F9P_OLD, KNOWN, Model
from ztpd.wire import recording, rtcm, ubx
from ztpd.wire.frames import Scanner, spartn_time_tag
from ztpd.wire.recording import Record, RecordKind
from ztpd.wire.ubx import Message, MonVer, NavPvt

LONGEST_GAP_S = 600.0
"""Behind a longer one, or a step back, another log seems to begin: a second later."""

_DAY_S, _HALF_DAY_S = 86_400, 43_200
_LEAST_SHARE = 0.5  # of a file that has to be messages
_CORRECTIONS = (FrameKind.SPARTN, FrameKind.RTCM3)
_FORMATS = {FrameKind.SPARTN: "spartn", FrameKind.RTCM3: "rtcm"}
_SPARTN_AREAS = ("GAD", "EAS")  # their time is GPS time
_SPARTN_OFFSET_S = {1: 3 * 3600 - GPS_LEAP_SECONDS, 3: -14}  # GLONASS and BeiDou minus GPS time


@dataclass(frozen=True, slots=True)
class Playable:
    """Records in the order of their times, and what is known about their receiver."""

    kind: str  # in words
    records: tuple[Record, ...]
    model: Model = F9P
    note: str = ""  # a clause about a file that is not whole

    @property
    def duration_s(self) -> float:
        return self.records[-1].at_s

    @property
    def has_receiver(self) -> bool:
        return any(each.kind is RecordKind.FROM_RECEIVER for each in self.records)

    @property
    def has_service(self) -> bool:
        """Whether it has the course of sessions: without, any corrections serve."""
        events = (each.fields.get("event", "") for each in self.records if _is_event(each))
        return self.format != "" or any(str(name).startswith("session") for name in events)

    @property
    def format(self) -> str:
        """Of the corrections: "spartn", "rtcm", or "" where it has none."""
        scanner = Scanner(*_CORRECTIONS)
        for each in self.records:
            if each.kind is RecordKind.FROM_SERVICE and (found := scanner.feed(each.data)):
                return _FORMATS[found[0].kind]
        return ""


def load(path: Path) -> Playable:
    """Raises OSError, and ValueError with a clause about a file that cannot be played."""
    with path.open("rb") as file:
        data = file.read(recording.MOST_BYTES + 1)
    if len(data) > recording.MOST_BYTES:
        raise ValueError(f"it has more than {recording.MOST_BYTES >> 20} MiB")
    return _recording(data) if recording.is_recording(data) else _foreign(data)


def _is_event(record: Record) -> bool:
    return record.kind is RecordKind.EVENT


def _recording(data: bytes) -> Playable:
    found = recording.read(data)
    version = _version(found.about)
    stream = b"".join(each.data for each in found.records if each.kind is RecordKind.FROM_RECEIVER)
    frames = Scanner(FrameKind.UBX, FrameKind.NMEA).feed(stream)
    played = tuple(each for each in found.records if each.kind is not RecordKind.TO_RECEIVER)
    if not any(not _is_event(each) for each in played):
        raise ValueError("it has no bytes of a receiver or of a service")
    note = "it ends in the middle of a record" if found.is_cut else ""
    return Playable("a recording of ztpd", played, _model(frames, version), note)


def _version(about: dict[str, Any]) -> MonVer | None:
    try:
        message = ubx.parse(bytes.fromhex(str(about.get("receiver", ""))))
    except ValueError:
        return None
    return message if isinstance(message, MonVer) else None


def _model(frames: Iterable[Frame], version: MonVer | None) -> Model:
    """The simulated receiver that is most like the recorded one."""
    names = set()
    for frame in frames:
        names.add(frame.name)
        if version is None and frame.name == Message.MON_VER.label and len(frame.data) > 8:
            try:
                message = ubx.parse(frame.data)
            except ValueError:
                continue
            version = message if isinstance(message, MonVer) else None
    if version is None:
        older = Message.RXM_RTCM.label in names and Message.RXM_COR.label not in names
        return F9P_OLD if older else F9P
    return _like(version)


def _like(version: MonVer) -> Model:
    alike = [each for each in KNOWN if each.module.startswith(version.model[:7])] or [F9P]
    older = [each for each in alike if each.firmware <= version.firmware]
    nearest = max(older or alike, key=lambda each: each.firmware)
    return nearest.named(version)


def _foreign(data: bytes) -> Playable:
    scanner = Scanner(*FrameKind)
    frames = scanner.feed(data) + scanner.flush()
    sizes = {
        kind: sum(len(each.data) for each in frames if each.kind is kind) for kind in FrameKind
    }
    total = sum(sizes.values())
    if total < _LEAST_SHARE * len(data) or not frames:
        raise ValueError(
            "it is neither a recording of ztpd nor a log of UBX and NMEA, RTCM 3 or SPARTN"
            + (f": {total} of its {len(data)} bytes are messages" if total else "")
        )
    if any(each.name == Message.NAV_PVT.label for each in frames):
        model = _model(frames, None)
        timed = _timed(frames, _pvt_s, WEEK_S)
        return Playable("a log of a receiver", _records(timed, RecordKind.FROM_RECEIVER), model)
    kind = max(sizes, key=lambda each: sizes[each])
    if kind not in _CORRECTIONS:
        raise ValueError(f"it is {kind.value} without NAV-PVT, which would say when")
    frames = [each for each in frames if each.kind is kind]
    if kind is FrameKind.SPARTN:
        timed, name = _timed(frames, _spartn_s, _HALF_DAY_S), "a stream of SPARTN"
    else:
        timed, name = _timed_rtcm(frames), "a stream of RTCM 3"
    return Playable(name, _records(timed, RecordKind.FROM_SERVICE))


def _records(timed: Iterable[tuple[float, Frame]], kind: RecordKind) -> tuple[Record, ...]:
    return tuple(Record(at_s, kind, frame.data) for at_s, frame in timed)


def _timed(
    frames: Iterable[Frame], time_s: Callable[[Frame], float | None], period_s: int
) -> Iterator[tuple[float, Frame]]:
    """Each frame with its time since the first. ``time_s`` is None for a frame without one, which
    goes with the frame before; times begin again after ``period_s``."""
    at_s, last_s = 0.0, None
    for frame in frames:
        now_s = time_s(frame)
        if now_s is not None:
            passed_s = 0.0 if last_s is None else (now_s - last_s) % period_s
            if passed_s > period_s - LONGEST_GAP_S and frame.kind is FrameKind.SPARTN:
                passed_s, now_s = 0.0, last_s  # its messages are not quite in order
            at_s += passed_s if passed_s <= LONGEST_GAP_S else 1.0
            last_s = now_s
        yield round(at_s, 3), frame


def _pvt_s(frame: Frame) -> float | None:
    if frame.name != Message.NAV_PVT.label:
        return None
    try:
        message = ubx.parse(frame.data)
    except ValueError:
        return None
    return message.itow_ms / 1000 if isinstance(message, NavPvt) else None


def _spartn_s(frame: Frame) -> float:
    """GPS time modulo twelve hours."""
    tag, _ = spartn_time_tag(frame)
    subtype = frame.data[4] >> 4
    is_system = frame.name.partition("-")[0] not in _SPARTN_AREAS
    return (tag - (_SPARTN_OFFSET_S.get(subtype, 0) if is_system else 0)) % _HALF_DAY_S


def _timed_rtcm(frames: list[Frame]) -> Iterator[tuple[float, Frame]]:
    """By the epochs of the system that comes first. Raises ValueError where there is none."""
    numbers = (rtcm.number(rtcm.payload(each.data)) for each in frames)
    system = next((found for number in numbers if (found := rtcm.observed_system(number))), "")
    if not system:
        raise ValueError("it is RTCM 3 without observations, which would say when")

    def time_s(frame: Frame) -> float | None:
        return rtcm.epoch_s(rtcm.payload(frame.data), system)

    return _timed(frames, time_s, _DAY_S if system == "GLO" else WEEK_S)


def about(playable: Playable) -> str:
    """One line for a person."""
    parts = [playable.kind, f"{playable.duration_s:.0f} s"]
    if playable.has_receiver:
        parts.append(f"{playable.model.module} {playable.model.firmware}")
        parts.append(playable.format.upper())
    return ", ".join(filter(None, (*parts, playable.note)))
