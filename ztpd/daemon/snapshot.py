"""The status as it is published, from what the daemon knows: no secrets, no position."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ztpd import __version__, events, status
from ztpd.errors import ConfigError, ZtpdError
from ztpd.lifecycle import State
from ztpd.model import Identity, StoredCredentials, utc
from ztpd.receiver import Receiver
from ztpd.relay import Progress


@dataclass
class Reason:
    """Why the present state is what it is."""

    event: str
    text: str
    advice: str
    until_s: float | None = None  # loop time of the next try


def document(
    *,
    now_s: float,
    state: State,
    since: datetime,
    reason: Reason,
    identity: Identity | None,
    stored: StoredCredentials | None,
    unsaved: bool,
    progress: Progress | None,
    receiver: Receiver,
    config_error: ConfigError | None,
) -> dict[str, Any]:
    """``now_s`` is the event loop's time, as are the times in ``reason`` and ``progress``.

    ``unsaved``: the disk has not taken ``stored`` so far; ``config_error``: of a new
    configuration that is therefore not in force. The fields are explained in
    :data:`ztpd.status.FIELDS`.
    """
    told: dict[str, Any] = {
        "schema": status.SCHEMA,
        "version": __version__,
        "at": _iso(datetime.now(UTC)),
        "pid": os.getpid(),
        "state": state.value,
        "since": _iso(since),
        "reason": {"event": reason.event, "text": reason.text, "advice": reason.advice},
    }
    if reason.until_s is not None:
        told["next_attempt_s"] = round(max(0.0, reason.until_s - now_s), 1)
    if identity:
        told["identity"] = {"id": str(identity), "source": identity.source}
    if stored:
        told |= {
            "service": stored.credentials.service,
            "client_id": stored.credentials.client_id,
            "credentials": {
                "age_s": max(0, int(time.time()) - stored.stored_unix_s),
                "expires": _date(stored.expires_unix_s),
                "unsaved": unsaved,
            },
        }
    if progress:
        told["source"] = _source(progress, now_s)
    told["receiver"] = receiver.view
    if receiver.error:
        told["receiver_problem"] = _problem(receiver.error)
    if config_error:
        failed = events.RELOAD_FAILED
        told["config_problem"] = {
            "event": failed.name,
            "text": failed.text.format(error=config_error),
            "advice": failed.remedy,
        }
    return told


def _source(progress: Progress, now_s: float) -> dict[str, Any]:
    last_s = progress.last_frame_s
    return {
        "where": progress.where,
        "session_s": round(now_s - progress.opened_s, 1),
        "format": progress.format,
        "frames": progress.frames,
        "bytes": progress.bytes,
        "other_format": progress.other_format,
        "last_frame_age_s": None if last_s is None else round(now_s - last_s, 1),
    }


def _problem(error: ZtpdError) -> dict[str, str]:
    return {"event": error.code, "text": str(error), "advice": error.advice}


def _iso(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")


def _date(unix_s: int | None) -> str | None:
    return None if unix_s is None else f"{utc(unix_s):%Y-%m-%d}"
