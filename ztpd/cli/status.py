"""``ztpd status``: one screen for a person, one JSON object for a program."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from ztpd import status as published
from ztpd.cli.ask import daemon_status
from ztpd.cli.livepage import has_blocks, has_colours, width
from ztpd.cli.screen import Shown, joined, row, show
from ztpd.errors import ZtpdError
from ztpd.health import STALE_AFTER_S, Health, age_s, cause, health
from ztpd.log import duration
from ztpd.model import utc
from ztpd.status import (
    Cause,
    ChannelStatus,
    ChannelTraffic,
    ReceiverView,
    SourceStatus,
    Status,
    TrafficStatus,
)
from ztpd.system import directories
from ztpd.system.clock import IN_WORDS, Clock
from ztpd.system.files import become_owner
from ztpd.unit import read as read_unit
from ztpd.unit import why_not_running

if TYPE_CHECKING:
    from ztpd.cli.recent import Recent
    from ztpd.config import LoadedConfig

_COLOURS = {Health.HEALTHY: 32, Health.PAUSED: 32, Health.BLOCKED: 31, Health.NOT_RUNNING: 31}
_YELLOW = 33
_FLOWING_S = 60.0  # a stream that has been quiet for longer has no present rate


def status(options: argparse.Namespace) -> int:
    """The verb; its exit status is that of :attr:`Health.exit_status`."""

    def load() -> LoadedConfig:
        from ztpd import config  # costs more than all the rest of this verb

        return config.load(options.config)

    colour = has_colours(sys.stdout)
    recent = _recent(colour) if options.watch and not options.json else None

    def screen() -> Shown:
        clock, answered = Clock().describe(), daemon_status()
        is_running = answered is not None
        shown = answered or published.read(directories.runtime_dir())
        word = health(shown, is_running=is_running, now=datetime.now(UTC))
        if options.json:
            document = {"running": is_running, "health": word.value, **published.to_json(shown)}
            return Shown(json.dumps(document | {"clock": clock}, indent=1) + "\n", word.exit_status)
        on_disk = "" if is_running else _on_disk()
        down = None if is_running else why_not_running(read_unit(), load)
        text = render(
            shown, is_running=is_running, clock=clock, on_disk=on_disk, down=down, colour=colour
        )
        below = recent.text(shown.pid or 0, width(sys.stdout)) if recent and is_running else ""
        return Shown(text, word.exit_status, below)

    return show(screen, again=options.watch, still=not options.json)


def _recent(colour: bool) -> Recent:
    from ztpd.cli.recent import Recent
    from ztpd.cli.sparklines import ASCII, BLOCKS

    return Recent(BLOCKS if has_blocks(sys.stdout) else ASCII, colour=colour)


def _on_disk() -> str:
    """The stored credentials, as far as this user may see them."""
    from ztpd.provisioning.store import CredentialStore

    directory = directories.state_dir()
    try:
        become_owner(directory)
        if not os.access(directory, os.R_OK) and directory.exists():
            return f"{directory} is for its owner; run this as root to see it"
        loaded = CredentialStore(directory).load()
    except ZtpdError as error:
        return str(error)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if loaded is None:
        return f"no credentials in {directory}"
    stored = loaded.stored
    return f"credentials of {utc(stored.stored_unix_s):%Y-%m-%d}: {stored.credentials.transports}"


def render(
    status: Status,
    *,
    is_running: bool,
    now: datetime | None = None,
    clock: str = "",
    on_disk: str = "",
    down: Cause | None = None,
    colour: bool = False,
) -> str:
    """One screen for a person.

    ``clock`` is that of :meth:`Clock.describe`. Where no daemon runs, ``on_disk`` are the stored
    credentials, and ``down`` is why.
    """
    now = now or datetime.now(UTC)
    word = health(status, is_running=is_running, now=now)
    known = cause(status, now) if is_running else down
    lines = [_headline(status, word, known, colour)]
    if known and word not in (Health.HEALTHY, Health.STARTING, Health.PAUSED):
        lines.append(row("do", known.advice))
    if is_running and word is not Health.STARTING:
        lines.append(row("next try", _next_try(status, now)))
    lines += [*(_settings(status) if is_running else ()), "\n"]
    state = f"{status.state} {_since(status.since, now)}".rstrip()
    if is_running:
        lines.append(row("state", joined(state, _renewed(status, now))))
        lines.append(row("failed", "" if word is Health.PAUSED else _failure(status, now)))
    else:
        lines += [row("on disk", on_disk), row("last state", state if status.state else "")]
    if status.identity:
        lines.append(row("identity", joined(status.identity.id, status.identity.source)))
    lines.append(row("credentials", _credentials(status)))
    if is_running:
        lines += _source_rows(status.source) if status.source else []
        several = status.channels if len(status.channels) > 1 else ()
        lines += _channel_rows(several)
        lines += _receiver_rows(status.receiver, now, _other_remedy(status, known))
        lines += _traffic_rows(status.traffic, several) if status.traffic else []
    lines.append(row("clock", joined(f"{now:%Y-%m-%d %H:%M:%S} UTC", IN_WORDS.get(clock, clock))))
    return "".join(lines)


def _headline(status: Status, word: Health, known: Cause | None, colour: bool) -> str:
    shown = word.value
    if colour:
        shown = f"\033[1;{_COLOURS.get(word, _YELLOW)}m{shown}\033[0m"
    match word:
        case Health.NOT_RUNNING if known is None:
            text = "start it with `systemctl start ztpd`"
        case Health.HEALTHY:
            text = joined("the receiver uses the corrections", status.receiver.fix)
        case Health.STARTING if status.state == "streaming":
            text = "corrections flow; it is not known at present whether the receiver uses them"
        case _:
            text = known.text if known else ""
    version = f"ztpd {status.version}" if status.version else "ztpd"
    if word is Health.PAUSED:
        return f"{version}: {shown} {status.paused or ''}\n"
    return f"{version}: {shown}: {text}\n"


def _settings(status: Status) -> Iterator[str]:
    """A changed configuration that is not in force."""
    if broken := status.config_problem:
        yield row("settings", broken.text)
        yield row("", broken.advice)


def _failure(status: Status, now: datetime) -> str:
    """How often the same failure came, and how old the last one is."""
    failure = status.last_failure
    if failure is None:
        return ""
    times = f"{failure.times} times in a row, the last " if failure.times > 1 else ""
    ago_s = age_s(failure.at, now)
    return "" if ago_s is None else f"{times}{duration(max(0.0, ago_s))} ago"


def _renewed(status: Status, now: datetime) -> str:
    old_s = age_s(status.at, now)
    is_old = old_s is not None and old_s > STALE_AFTER_S
    return f"as of {duration(old_s or 0.0)} ago" if is_old else ""


def _credentials(status: Status) -> str:
    if not status.credentials:
        return status.credentials_problem.text if status.credentials_problem else ""
    credentials, expiry = status.credentials, status.credentials.expires
    return joined(
        f"{status.service} {status.client_id}",
        f"{duration(credentials.age_s)} old",
        f"until {expiry}" if expiry else "",
        "not yet on disk" if credentials.unsaved else "",
    )


def _source_rows(source: SourceStatus) -> list[str]:
    rows = [row("source", source.where)]
    if source.frames:
        frames = sum(source.frames.values())
        passed_s = source.delivering_s or source.session_s  # a session may be open for longer
        rate = source.bytes / passed_s if passed_s else 0
        counted, age_s = f"{frames} messages, {source.bytes} bytes", source.last_frame_age_s or 0.0
        if age_s < _FLOWING_S:
            counted += f" ({rate:.0f} B/s)"
        last = f"the last {duration(age_s)} ago"
        lost = f"{source.overrun} dropped unread" if source.overrun else ""
        rows.append(row("corrections", joined(source.format, counted, last, lost)))
    return rows


def _channel_rows(channels: Sequence[ChannelStatus]) -> Iterator[str]:
    """Every service, with its part of the month."""
    for number, each in enumerate(channels):
        age_s, wait_s = each.last_corrections_age_s, each.next_attempt_s
        over_s = each.takes_over_s
        text = joined(
            f"{each.name}: {each.state}",
            "backup" if each.backup else "",
            f"the last corrections {duration(age_s)} ago" if age_s is not None else "",
            each.text,
            f"next try in {duration(wait_s)}" if wait_s is not None else "",
            f"takes over in {duration(over_s)}" if over_s is not None else "",
            f"this month {_month(each)}" if each.month_session_s else "",
        )
        yield row("" if number else "services", text)
        yield row("", each.advice if each.text else "")


def _traffic_rows(traffic: TrafficStatus, shown: Sequence[ChannelStatus]) -> Iterator[str]:
    """The month's bytes and hours, and those of services that have no row among ``shown``."""
    yield row("this month", traffic)
    names = {each.name for each in shown}
    for each in traffic.channels if len(traffic.channels) > 1 else ():
        if each.name not in names:
            yield row("", f"{_month(each)} by {each.name}")


def _month(used: ChannelStatus | ChannelTraffic) -> TrafficStatus:
    return TrafficStatus(
        month_bytes=used.month_bytes or 0, month_session_s=used.month_session_s or 0.0
    )


def _other_remedy(status: Status, known: Cause | None) -> str:
    """The remedy of the receiver's problem, unless the first lines have it."""
    problem = status.receiver_problem
    return problem.advice if problem and not (known and known.advice == problem.advice) else ""


def _receiver_rows(view: ReceiverView, now: datetime, remedy: str) -> list[str]:
    if not view.model:
        return [row("receiver", view.problem), row("", remedy)]
    age_s = view.correction_age_s
    return [
        row("receiver", joined(view.model, view.firmware, view.port)),
        row("problem", view.problem),
        row("", remedy),
        row(
            "fix",
            joined(
                f"{view.fix} for {duration(view.fix_for_s)}" if view.fix_for_s else view.fix,
                f"{view.accuracy_m:.3g} m" if view.accuracy_m is not None else "",
                f"{view.satellites} satellites" if view.satellites else "",
                f"corrections younger than {age_s:g} s" if age_s is not None else "",
            ),
        ),
        row("use", _use(view)),
        *(
            line
            for each in view.findings
            for line in (
                row("found", joined(each.text, _since(each.since, now))),
                row("", each.advice),
            )
        ),
    ]


def _use(view: ReceiverView) -> str:
    """A reason has its age."""
    if not view.use_event or not view.use_for_s:
        return view.use
    return f"{view.use} (for {duration(view.use_for_s)})"


def _since(moment: str, now: datetime) -> str:
    with suppress(ValueError, TypeError, OverflowError):
        began = datetime.fromisoformat(moment)
        passed_s = (now - began).total_seconds()
        passed = duration(passed_s) if passed_s >= 0 else "by a clock that was set back"
        return f"since {began:%Y-%m-%d %H:%M:%S} UTC ({passed})"
    return ""


def _next_try(status: Status, now: datetime) -> str:
    """The status may be older than the wait."""
    if status.next_attempt_s is None:
        return ""
    if (old_s := age_s(status.at, now)) is None:
        return ""
    left_s = max(0.0, status.next_attempt_s - old_s)
    return f"in {duration(left_s)}; `ztpd retry` tries sooner"
