"""The status document for publication: no secrets, no position."""

from __future__ import annotations

import os
from datetime import datetime
from typing import NamedTuple

from ztpd import __version__, events
from ztpd.errors import ConfigError, ZtpdError
from ztpd.lifecycle import State
from ztpd.model import Identity, StoredCredentials
from ztpd.receiver import Receiver
from ztpd.relay import Progress
from ztpd.status import (
    SCHEMA,
    Cause,
    ChannelStatus,
    CredentialsStatus,
    Failure,
    IdentityStatus,
    PauseStatus,
    SourceStatus,
    Status,
    TrafficStatus,
)
from ztpd.system.clock import day


class Reason(NamedTuple):
    """The reason of the present state."""

    event: str
    text: str
    advice: str
    until_s: float | None = None  # loop time of the next try


def document(
    *,
    now_s: float,
    at: datetime,
    state: State,
    since: datetime,
    reason: Reason,
    paused: PauseStatus | None,
    last_failure: Failure | None,
    identity: Identity | None,
    stored: StoredCredentials | None,
    credentials_problem: ZtpdError | None,
    unsaved: bool,
    progress: Progress | None,
    channels: tuple[ChannelStatus, ...],
    traffic: TrafficStatus | None,
    receiver: Receiver,
    config_error: ConfigError | None,
) -> Status:
    """``now_s`` is the event loop's time, as are the times in ``reason`` and ``progress``; ``at``
    is the wall clock's.

    ``credentials_problem``: why those on the disk are not in use; ``unsaved``: the disk has not
    taken ``stored`` so far; ``config_error``: of a new configuration that is therefore not in
    force. The fields are explained in :data:`ztpd.status.FIELDS`.
    """
    until_s = reason.until_s
    return Status(
        schema=SCHEMA,
        version=__version__,
        at=_iso(at),
        pid=os.getpid(),
        state=state.value,
        since=_iso(since),
        reason=Cause(reason.event, reason.text, reason.advice),
        next_attempt_s=None if until_s is None else round(max(0.0, until_s - now_s), 1),
        paused=paused,
        last_failure=last_failure,
        identity=IdentityStatus(str(identity), identity.source) if identity else None,
        service=stored.credentials.service if stored else None,
        client_id=stored.credentials.client_id if stored else None,
        credentials=_credentials(stored, unsaved, at) if stored else None,
        credentials_problem=_problem(credentials_problem) if credentials_problem else None,
        source=_source(progress, now_s) if progress else None,
        channels=tuple(map(traffic.of, channels)) if traffic else channels,
        traffic=traffic,
        receiver=receiver.view,
        receiver_problem=_problem(receiver.error) if receiver.error else None,
        config_problem=_not_in_force(config_error) if config_error else None,
    )


def _credentials(stored: StoredCredentials, unsaved: bool, at: datetime) -> CredentialsStatus:
    age_s = max(0, int(at.timestamp()) - stored.stored_unix_s)
    ends_unix_s = stored.expires_unix_s
    return CredentialsStatus(age_s, None if ends_unix_s is None else day(ends_unix_s), unsaved)


def _source(progress: Progress, now_s: float) -> SourceStatus:
    first_s, last_s = progress.first_frame_s, progress.last_frame_s
    return SourceStatus(
        where=progress.where,
        session_s=round(now_s - progress.opened_s, 1) if progress.where else 0.0,
        delivering_s=None if first_s is None else round(now_s - first_s, 1),
        format=progress.format.value if progress.format else None,
        frames=progress.frames,
        bytes=progress.bytes,
        other_format=progress.other_format,
        overrun=progress.overrun,
        last_frame_age_s=None if last_s is None else round(now_s - last_s, 1),
    )


def _problem(error: ZtpdError) -> Cause:
    return Cause(error.code, str(error), error.advice)


def _not_in_force(error: ConfigError) -> Cause:
    failed = events.RELOAD_FAILED
    return Cause(failed.name, failed.text.format(error=error), failed.remedy)


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
