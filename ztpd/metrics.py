"""The daemon's metrics: names, meanings, and their text for Prometheus.

The text is version 0.0.4 of the exposition format. It has no time stamps, which the text file
collector of Debian's node exporter refuses, no position, and no name of a person, a gateway or a
modem. A gauge without a value is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ztpd import health
from ztpd.health import Health
from ztpd.lifecycle import State
from ztpd.status import Status, TrafficStatus

FILE = "metrics.prom"
BYTES_PER_MEGABYTE, SECONDS_PER_HOUR = 1_000_000, 3600

KINDS_LIMIT = 32
"""More different kinds of messages than this are counted as "other"."""

QUALITIES = {
    "no fix": 0,
    "time only": 0,
    "2D": 1,
    "3D": 1,
    "DGNSS": 2,
    "RTK fixed": 4,
    "RTK float": 5,
    "dead reckoning": 6,
}
"""The quality indicator of NMEA 0183's GGA, by label of the fix."""

Labels = tuple[tuple[str, str], ...]
Sample = tuple[str, Labels, float]


class Family(NamedTuple):
    """One metric; ``labels`` are the names of its labels."""

    kind: str  # "gauge" or "counter"
    help: str
    labels: tuple[str, ...] = ()


FAMILIES: Mapping[str, Family] = {
    "ztpd_up": Family("gauge", "1 while the daemon runs, 0 before its start and after its end."),
    "ztpd_build_info": Family("gauge", "Always 1; the version of ztpd is a label.", ("version",)),
    "ztpd_process_start_time_seconds": Family(
        "gauge", "Start of the daemon, in seconds since the Unix epoch."
    ),
    "ztpd_health": Family(
        "gauge", "1 for the verdict of `ztpd status`, 0 for all others.", ("health",)
    ),
    "ztpd_state": Family("gauge", "1 for the state of the daemon, 0 for all others.", ("state",)),
    "ztpd_cause_info": Family(
        "gauge", "Always 1; the event that says best why the verdict is no better.", ("event",)
    ),
    "ztpd_fix_quality": Family(
        "gauge",
        "Quality of the fix as in NMEA GGA: 0 none, 1 GNSS, 2 DGNSS, 4 RTK fixed, 5 RTK float, "
        "6 dead reckoning.",
    ),
    "ztpd_fix_seconds_total": Family(
        "counter", "Time with each fix; unknown: the receiver reported none.", ("fix",)
    ),
    "ztpd_corrections_used": Family(
        "gauge", "1 if the receiver uses the corrections, 0 if not or not known."
    ),
    "ztpd_correction_age_seconds": Family(
        "gauge", "Upper bound of the age of the corrections in use, as the receiver reports it."
    ),
    "ztpd_horizontal_accuracy_meters": Family(
        "gauge", "Horizontal accuracy, 1 sigma, as the receiver estimates it."
    ),
    "ztpd_satellites": Family("gauge", "Satellites used in the position."),
    "ztpd_sessions_total": Family(
        "counter", "Sessions opened with a correction service.", ("transport",)
    ),
    "ztpd_session_seconds_total": Family(
        "counter", "Time with an open session, summed over the sessions.", ("transport",)
    ),
    "ztpd_received_bytes_total": Family(
        "counter", "Bytes received in sessions, without those of TLS, TCP and IP.", ("transport",)
    ),
    "ztpd_frames_total": Family(
        "counter",
        "Correction messages. Of a kind: received from a service; used or rejected, as the "
        "receiver reports. Without kind: overrun (came faster than ztpd reads them); and what "
        "became of those for the receiver: delivered, dropped (the line was too slow), refused "
        "(no corrections), undelivered (it was not ready).",
        ("kind", "outcome"),
    ),
    "ztpd_month_bytes": Family(
        "gauge", "IP bytes of all sessions in this month of the data plan, both ways."
    ),
    "ztpd_month_session_seconds": Family("gauge", "Time with an open session in this month."),
    "ztpd_budget_used_ratio": Family(
        "gauge",
        "Share of the month's megabytes or hours that is used, if `[budget]` limits them.",
        ("limit",),
    ),
    "ztpd_ztp_calls_total": Family(
        "counter",
        "Calls to the provisioning service: success, refused, server (it failed), local (it was "
        "not reached).",
        ("outcome",),
    ),
    "ztpd_client_certificate_expiry_timestamp_seconds": Family(
        "gauge", "Last second of the client certificate, in seconds since the Unix epoch."
    ),
}
"""Every metric, in the order of the file."""


class Totals(NamedTuple):
    """Counts since the daemon started, which the status does not hold."""

    started_unix_s: float = 0.0
    expires_unix_s: int | None = None  # of the client certificate
    fix_s: Mapping[str, float] = {}  # by label of the fix
    sessions: Mapping[str, float] = {}  # by transport
    session_s: Mapping[str, float] = {}
    bytes: Mapping[str, float] = {}
    frames: Mapping[str, int] = {}  # received, by kind of message
    overrun: int = 0  # of these, those that were dropped before they were read
    calls: Mapping[str, float] = {}  # to ZTP, by outcome


def text(status: Status, totals: Totals) -> str:
    """The metrics of a daemon that runs."""
    return _format([("ztpd_up", (), 1), *_samples(status, totals)])


def _samples(status: Status, totals: Totals) -> Iterator[Sample]:
    view, verdict = status.receiver, health.health(status, is_running=True)
    yield "ztpd_build_info", (("version", status.version),), 1
    yield "ztpd_process_start_time_seconds", (), totals.started_unix_s
    for each in Health:
        if each is not Health.NOT_RUNNING:
            yield "ztpd_health", (("health", each.value),), each is verdict
    for state in State:
        yield "ztpd_state", (("state", state.value),), state.value == status.state
    if verdict is not Health.HEALTHY and (cause := health.cause(status)) and cause.event:
        yield "ztpd_cause_info", (("event", cause.event),), 1
    if view.fix in QUALITIES:
        yield "ztpd_fix_quality", (), QUALITIES[view.fix]
    yield from _counters("ztpd_fix_seconds_total", "fix", totals.fix_s)
    yield "ztpd_corrections_used", (), view.use == "used"
    if view.correction_age_s is not None:
        yield "ztpd_correction_age_seconds", (), view.correction_age_s
    if view.accuracy_m is not None:
        yield "ztpd_horizontal_accuracy_meters", (), view.accuracy_m
    yield "ztpd_satellites", (), view.satellites
    yield from _counters("ztpd_sessions_total", "transport", totals.sessions)
    yield from _counters("ztpd_session_seconds_total", "transport", totals.session_s)
    yield from _counters("ztpd_received_bytes_total", "transport", totals.bytes)
    yield from _frames("received", totals.frames)
    yield from _frames("used", view.used)
    yield from _frames("rejected", view.rejected)
    fates = {
        "overrun": totals.overrun,
        "delivered": view.delivered_frames,
        "dropped": view.dropped,
        "refused": view.refused,
        "undelivered": view.undelivered,
    }
    yield from _counters("ztpd_frames_total", "outcome", fates)
    if status.traffic:
        yield from _month(status.traffic)
    yield from _counters("ztpd_ztp_calls_total", "outcome", totals.calls)
    if totals.expires_unix_s is not None:
        name = "ztpd_client_certificate_expiry_timestamp_seconds"
        yield name, (), totals.expires_unix_s


def _month(traffic: TrafficStatus) -> Iterator[Sample]:
    yield "ztpd_month_bytes", (), traffic.month_bytes
    yield "ztpd_month_session_seconds", (), traffic.month_session_s
    if limit := traffic.limit_megabytes:
        used = traffic.month_bytes / (limit * BYTES_PER_MEGABYTE)
        yield "ztpd_budget_used_ratio", (("limit", "megabytes"),), used
    if limit := traffic.limit_hours:
        used = traffic.month_session_s / (limit * SECONDS_PER_HOUR)
        yield "ztpd_budget_used_ratio", (("limit", "hours"),), used


def _counters(name: str, label: str, counts: Mapping[str, float]) -> Iterator[Sample]:
    for value, count in counts.items():
        yield name, ((label, value),), count


def _frames(outcome: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    """The first kinds by name; the number of series must not depend on a service."""
    others = 0
    for place, (kind, count) in enumerate(counts.items()):
        if place < KINDS_LIMIT:
            yield "ztpd_frames_total", (("kind", kind), ("outcome", outcome)), count
        else:
            others += count
    if others:
        yield "ztpd_frames_total", (("kind", "other"), ("outcome", outcome)), others


def _format(samples: Iterable[Sample]) -> str:
    by_name: dict[str, list[str]] = {name: [] for name in FAMILIES}
    for name, labels, value in samples:
        shown = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels)
        braces = f"{{{shown}}}" if shown else ""
        by_name[name].append(f"{name}{braces} {_number(value)}\n")
    return "".join(
        f"# HELP {name} {FAMILIES[name].help}\n# TYPE {name} {FAMILIES[name].kind}\n"
        + "".join(found)
        for name, found in by_name.items()
        if found
    )


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    """``value`` without an exponent where it is whole; times to the millisecond."""
    return str(int(value)) if value == int(value) else f"{value:.3f}"


DOWN = _format([("ztpd_up", (), 0)])
"""The metrics where no daemon runs."""
