"""The six links of the demonstration's picture, read from the daemon's status."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ztpd.check import layer_of
from ztpd.health import Health, causes, health
from ztpd.log import duration
from ztpd.status import Cause, SourceStatus, Status

NAMES = ("modem", "ZTP", "store", "service", "receiver", "fix")


class Mark(Enum):
    PENDING = "pending"
    BUSY = "busy"
    DONE = "done"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Step:
    """One link: how far it is, in a mark and in words; ``advice`` only for a fault."""

    name: str
    mark: Mark
    text: str = ""
    advice: str = ""


def steps(seen: Status) -> list[Step]:
    """All links in the order of :data:`NAMES`."""
    bad = Mark.ERROR if health(seen, is_running=True) is Health.BLOCKED else Mark.WARNING
    faults: dict[str, Step] = {}
    for cause in causes(seen):
        name = _link_of(cause, seen)
        if name and cause.advice:
            faults.setdefault(name, Step(name, bad, cause.text, cause.advice))
    return [faults.get(step.name, step) for step in _undisturbed(seen)]


def _link_of(cause: Cause, seen: Status) -> str:
    """The link that ``cause`` is about; "" for one that is about none."""
    match layer_of(cause.event):
        case "modem":
            return "modem"
        case "token" | "ztp":
            return "ZTP"
        case "credentials":
            return "ZTP" if cause.event.startswith("ztp.") else "store"
        case "permissions":
            return "store"
        case "clock" | "route" | "dns" | "tcp" | "tls":
            return "service" if seen.client_id else "ZTP"
        case "login" | "data" | "backup":
            return "service"
        case "receiver" | "setup":
            return "receiver"
        case "use":
            of_sky = cause.event.startswith(("gnss.reception", "gnss.no_fix", "gnss.fix_"))
            return "fix" if of_sky else "receiver"
    return ""


def _undisturbed(seen: Status) -> Iterator[Step]:
    """The links as far as they work."""
    identity, view, kept = seen.identity, seen.receiver, seen.credentials
    if identity:
        source = identity.source.partition(" on ")[0]
        yield Step("modem", Mark.DONE, f"IMEI {identity.id}, from {source}")
    else:
        yield _busy_in(seen, "modem", "identifying", "reads the IMEI")
    if seen.client_id:
        text = f"{seen.service}: credentials of client …{seen.client_id[-12:]}"
        yield Step("ZTP", Mark.DONE, text)
    else:
        yield _busy_in(seen, "ZTP", "provisioning", "asks the service for credentials")
    if kept:
        yield Step("store", Mark.DONE, f"credentials on the disk, {duration(kept.age_s)} old")
    else:
        yield Step("store", Mark.PENDING)
    yield _service(seen, seen.source)
    if not view.model:
        yield Step("receiver", Mark.BUSY if seen.state else Mark.PENDING, view.problem)
    else:
        product = f"{view.model} {view.firmware}"
        if view.use == "used":
            yield Step("receiver", Mark.DONE, f"{product}, uses the corrections")
        else:
            doing = "ready for corrections" if view.ready else view.problem or "being configured"
            yield Step("receiver", Mark.BUSY, f"{product}, {doing}")
    accuracy = f", {view.accuracy_m:.3g} m" if view.accuracy_m is not None else ""
    count = f", {view.satellites} satellites" if view.satellites else ""
    if view.fix == "unknown":
        yield Step("fix", Mark.PENDING)
    else:
        mark = Mark.DONE if view.fix == "RTK fixed" else Mark.BUSY
        yield Step("fix", mark, f"{view.fix}{accuracy}{count}")


def _busy_in(seen: Status, name: str, state: str, text: str) -> Step:
    return Step(name, Mark.BUSY, text) if seen.state == state else Step(name, Mark.PENDING)


def _service(seen: Status, source: SourceStatus | None) -> Step:
    if source is None or not source.where:
        return _busy_in(seen, "service", "connecting", "opens a session")
    count = sum(source.frames.values())
    if not count:
        return Step("service", Mark.BUSY, f"no corrections yet from {source.where}")
    amount = f"{count} messages, {source.bytes / 1000:.0f} kB"
    return Step("service", Mark.DONE, f"{amount} from {source.where}")
