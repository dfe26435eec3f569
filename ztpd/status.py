"""The status as a type: built by the daemon, written to a file, read by the other verbs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ztpd import records
from ztpd.system.files import read_json, write_atomic

SCHEMA = 1
FILE = "status.json"


class Cause(NamedTuple):
    """A reason: an event's name, its sentence, and the advice for a person."""

    event: str = ""
    text: str = ""
    advice: str = ""


class Failure(NamedTuple):
    """The last failure, kept until its step succeeds."""

    event: str = ""
    text: str = ""
    advice: str = ""
    at: str = ""  # ISO 8601, UTC
    times: int = 0  # in a row
    needs_person: bool = False


class IdentityStatus(NamedTuple):
    id: str = ""  # an IMEI without its middle
    source: str = ""


class CredentialsStatus(NamedTuple):
    age_s: int = 0
    expires: str | None = None  # ISO 8601 date
    unsaved: bool = False


class SourceStatus(NamedTuple):
    """The present session with the correction service."""

    where: str = ""
    session_s: float = 0.0
    delivering_s: float | None = None
    format: str | None = None
    frames: Mapping[str, int] = {}
    bytes: int = 0
    other_format: int = 0
    overrun: int = 0  # frames that came faster than they were read
    last_frame_age_s: float | None = None


class ChannelStatus(NamedTuple):
    """One correction service that may be used, and why it is not, or when it will be tried."""

    name: str = ""
    backup: bool = False
    state: str = ""  # "in use", "opening", "beside", "waiting", "left" or "standby"
    event: str = ""  # of its last failure; "" while it is in use
    text: str = ""
    advice: str = ""
    next_attempt_s: float | None = None
    takes_over_s: float | None = None
    last_corrections_age_s: float | None = None
    today_bytes: int | None = None  # None, and so the next three: not known
    today_session_s: float | None = None
    month_bytes: int | None = None
    month_session_s: float | None = None


class PauseStatus(NamedTuple):
    """Why there is no session."""

    by: str = ""  # "person", "budget" or "still"
    why: str = ""
    ends: str = ""  # how it ends, for a person
    since: str = ""  # ISO 8601, UTC

    def __str__(self) -> str:
        return f"by {self.why}, until {self.ends}"


class ChannelTraffic(NamedTuple):
    """What the sessions of one channel have used."""

    name: str = ""
    today_bytes: int = 0
    today_session_s: float = 0.0
    month_bytes: int = 0
    month_session_s: float = 0.0


class TrafficStatus(NamedTuple):
    """What all sessions have used, and the limits of ``[budget]``."""

    month_begins: str = ""  # ISO 8601 date
    month_ends: str = ""  # the first day of the next one
    month_bytes: int = 0
    month_session_s: float = 0.0
    today_bytes: int = 0
    today_session_s: float = 0.0
    limit_megabytes: int | None = None
    limit_hours: int | None = None
    channels: tuple[ChannelTraffic, ...] = ()

    def __str__(self) -> str:
        used = _used(self.month_bytes / 1e6, self.limit_megabytes, "MB")
        return f"{used}, {_used(self.month_session_s / 3600, self.limit_hours, 'h')}"

    def of(self, channel: ChannelStatus) -> ChannelStatus:
        """``channel`` with its part."""
        part = next((each for each in self.channels if each.name == channel.name), ChannelTraffic())
        return channel._replace(
            today_bytes=part.today_bytes,
            today_session_s=part.today_session_s,
            month_bytes=part.month_bytes,
            month_session_s=part.month_session_s,
        )


def _used(amount: float, limit: int | None, unit: str) -> str:
    """As "412 of 1000 MB"."""
    shown = f"{amount:.0f}" if amount >= 10 else f"{amount:.1f}"
    return f"{shown} of {limit} {unit}" if limit else f"{shown} {unit}"


class FindingStatus(NamedTuple):
    """A reason why the position is no better than it is."""

    event: str = ""
    text: str = ""
    advice: str = ""
    since: str = ""  # ISO 8601, UTC


class ReceiverView(NamedTuple):
    """The receiver's part of the status. No position, no key.

    One class because it is one object of the status file.
    """

    model: str = ""  # "" until it has answered
    firmware: str = ""
    protocol: str = ""
    port: str = ""
    baudrate: int = 0
    ready: bool = False
    problem: str = ""
    fix: str = "unknown"
    fix_for_s: float | None = None  # how long the fix has had this label; None: unknown
    best_fix_age_s: float | None = None  # since the fix was best_fix, or since the set-up
    best_fix: str = ""  # the best label in reach with these corrections; "": no answer yet
    carrier: str = "none"
    correction_age_s: float | None = None
    accuracy_m: float | None = None
    satellites: int = 0
    use_for_s: float | None = None  # how long ``use`` has been so
    use: str = "unknown"  # "used", "not used: " and why, or "unknown"
    use_event: str = ""  # name of the event that says why they are not used; "": no such reason
    used: Mapping[str, int] = {}
    rejected: Mapping[str, int] = {}
    findings: tuple[FindingStatus, ...] = ()  # the most direct reason first
    delivered_frames: int = 0  # that left the port
    delivered_bytes: int = 0
    dropped: int = 0  # frames that came faster than the line takes them
    dropped_share: float | None = None  # of those of the last five minutes, 0 to 1; None: no frames
    refused: int = 0  # frames from outside that are no corrections, or not for this receiver
    undelivered: int = 0  # frames that came while the receiver was not ready
    first_fix_s: float | None = None  # from its set-up, the last one
    first_float_s: float | None = None
    first_fixed_s: float | None = None
    skipped_bytes: int = 0  # from the receiver, not part of a valid message
    share_problem: str = ""  # why its messages cannot be shared with other programs


class Status(NamedTuple):
    """The published document, see :data:`FIELDS`; None where a part has nothing to say.

    One class because it is one document.
    """

    schema: int = 0  # 0: no status was found
    version: str = ""
    at: str = ""  # ISO 8601, UTC
    pid: int | None = None
    state: str = ""
    since: str = ""  # ISO 8601, UTC
    reason: Cause = Cause()
    next_attempt_s: float | None = None
    paused: PauseStatus | None = None
    last_failure: Failure | None = None
    identity: IdentityStatus | None = None
    service: str | None = None
    client_id: str | None = None
    credentials: CredentialsStatus | None = None
    credentials_problem: Cause | None = None
    source: SourceStatus | None = None
    channels: tuple[ChannelStatus, ...] = ()  # in the order of preference
    traffic: TrafficStatus | None = None
    receiver: ReceiverView = ReceiverView()
    receiver_problem: Cause | None = None
    config_problem: Cause | None = None


def to_json(status: Status) -> dict[str, Any]:
    """The document; a part that is None, or an empty list, is left out."""
    document: dict[str, Any] = records.to_json(status)
    return {name: value for name, value in document.items() if value not in (None, [])}


def from_json(document: object) -> Status:
    """The status in ``document``, as far as it is one; never raises."""
    return records.from_json(Status, document)


def write(directory: Path, status: Status) -> None:
    """Publish ``status``; a full runtime directory costs the status, not the daemon."""
    data = json.dumps(to_json(status)).encode() + b"\n"
    with suppress(OSError):
        write_atomic(directory / FILE, data, mode=0o644, durable=False)


def read(directory: Path) -> Status:
    """The last status written; empty where there is none that can be read."""
    return from_json(read_json(directory / FILE))


FIELDS: Mapping[str, str] = {
    "schema": "version of this form",
    "version": "of ztpd",
    "running": "whether a daemon runs; if not, the rest is from the last one",
    "health": "the verdict in a word",
    "at": "when this was written (ISO 8601, UTC)",
    "pid": "process id of the daemon",
    "state": "the state of the daemon, see [states](states.md)",
    "since": "since when",
    "reason.event": "the [event](events.md) that led to the state, or `state.` and its name",
    "reason.text": "why, for a person",
    "reason.advice": "advice for a person, or empty",
    "next_attempt_s": "seconds from `at` to the next try",
    "paused.by": "who asked for the pause: `person` (`ztpd pause`), `budget` (`[budget] then`) or "
    "`still` (`[corrections] pause_when_still_minutes`); the whole part is absent without one",
    "paused.why": "the same for a person",
    "paused.ends": "how it ends, for a person",
    "paused.since": "since when (ISO 8601, UTC)",
    "last_failure.event": "the last failure; kept until its step succeeds, during tries too",
    "last_failure.text": "for a person",
    "last_failure.advice": "the remedy",
    "last_failure.at": "when it came (ISO 8601, UTC)",
    "last_failure.times": "how often in a row",
    "last_failure.needs_person": "whether waiting alone cannot help",
    "identity.id": "the IMEI without its middle, or the configured hardware id",
    "identity.source": "where it was read",
    "service": "`flex` or `live`",
    "client_id": "the Thing's client id",
    "credentials.age_s": "seconds since the credentials were stored",
    "credentials.expires": "last day of the client certificate, if there is one",
    "credentials.unsaved": "whether the disk has refused them so far",
    "credentials_problem.event": "why credentials that are stored are not in use: they cannot be "
    "unsealed or read at present, or are refused and cannot be replaced",
    "credentials_problem.text": "for a person",
    "credentials_problem.advice": "advice for a person",
    "source.where": "the correction service: kind, host, port, mountpoint",
    "source.session_s": "age of the session",
    "source.delivering_s": "seconds since its first correction went to the receiver",
    "source.format": "`SPARTN` or `RTCM3`",
    "source.frames": "correction messages of this session, by kind",
    "source.bytes": "their bytes",
    "source.other_format": "messages left out because they are of the other format",
    "source.overrun": "messages dropped because they came faster than ztpd reads them (MQTT only)",
    "source.last_frame_age_s": "seconds since the last correction came",
    "channels.name": "a list of all services, in the order of preference: each by its name",
    "channels.backup": "whether it is one of `[[backup]]`",
    "channels.state": "`in use`; `opening`; `beside` (its session is open, and it takes over once "
    "it is stable); `waiting` for its next try; `left`, because the receiver did not use its "
    "corrections, or it failed again within ten minutes of its return; `standby` (not needed)",
    "channels.event": "the [event](events.md) of its last failure, empty while it is in use",
    "channels.text": "why it is not in use, for a person",
    "channels.advice": "the remedy",
    "channels.next_attempt_s": "seconds from `at` to its next try",
    "channels.takes_over_s": "while it is `beside`: seconds from `at` until it takes over, if its "
    "corrections go on",
    "channels.last_corrections_age_s": "seconds since it last brought corrections",
    "channels.today_bytes": "its part of `traffic.today_bytes`; null while that is not known",
    "channels.today_session_s": "its part",
    "channels.month_bytes": "its part",
    "channels.month_session_s": "its part",
    "traffic.month_begins": "first day of the present month of the plan (`[budget] "
    "month_begins_on`, UTC); the whole part is absent while the date, or what was counted "
    "before, is not known",
    "traffic.month_ends": "first day of the next one",
    "traffic.month_bytes": "IP bytes of the sessions in this month, both ways",
    "traffic.month_session_s": "seconds with an open session in this month",
    "traffic.today_bytes": "the same of this day (UTC)",
    "traffic.today_session_s": "the same of this day (UTC)",
    "traffic.limit_megabytes": "`[budget] megabytes_per_month` (1000000 bytes each), if it is set",
    "traffic.limit_hours": "`[budget] hours_per_month`, if it is set",
    "traffic.channels.name": "a list: each service that was used in this month, also one that is "
    "configured no longer",
    "traffic.channels.today_bytes": "its part of the above",
    "traffic.channels.today_session_s": "its part",
    "traffic.channels.month_bytes": "its part",
    "traffic.channels.month_session_s": "its part",
    "receiver.model": "empty until the receiver has answered",
    "receiver.firmware": "its version",
    "receiver.protocol": "the UBX protocol version",
    "receiver.port": "the serial port",
    "receiver.baudrate": "the speed in use, 0 while the port is closed",
    "receiver.ready": "whether it is set up and takes corrections",
    "receiver.problem": "why not",
    "receiver.fix": "`no fix`, `time only`, `dead reckoning`, `2D`, `3D`, `DGNSS`, `RTK float`, "
    "`RTK fixed` or `unknown`",
    "receiver.fix_for_s": "seconds since the fix has been this",
    "receiver.best_fix": "the best fix that this receiver can reach (RTK float where its product "
    "line is unknown), empty until it has answered",
    "receiver.best_fix_age_s": "seconds since the fix was that; since the set-up if it never was",
    "receiver.carrier": "`none`, `float` or `fixed`",
    "receiver.correction_age_s": "upper bound of the age of the corrections in use",
    "receiver.accuracy_m": "horizontal, 1 sigma, as the receiver estimates it",
    "receiver.satellites": "used in the position",
    "receiver.use": "`used`, `not used: ` and why, or `unknown`, after a while with `: ` and why; "
    "`unknown` too while the receiver is not ready",
    "receiver.use_for_s": "for how many seconds `use` has been so",
    "receiver.use_event": "the [event](events.md) that says why they are not used, or why their "
    "use is not known; else empty",
    "receiver.used": "messages that the receiver used, by kind",
    "receiver.rejected": "messages that it did not use, by kind",
    "receiver.findings.event": "a list: the [events](events.md) that say why the position is no "
    "better, the most direct one first",
    "receiver.findings.text": "each for a person",
    "receiver.findings.advice": "advice for a person",
    "receiver.findings.since": "since when (ISO 8601, UTC)",
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
    "receiver.share_problem": 'why an `[output]` does not work; "" where all do, or none is set',
    "receiver_problem.event": "the error that keeps the receiver from being used, if any",
    "receiver_problem.text": "for a person",
    "receiver_problem.advice": "advice for a person",
    "config_problem.event": "why a changed configuration was not taken up, where it was not",
    "config_problem.text": "for a person",
    "config_problem.advice": "advice for a person",
    "clock": "`synchronised`, `not synchronised`, `behind` (shows a date that is past), `unknown`",
}
"""Every field of the document, with its meaning: docs/status.md is made from this."""
