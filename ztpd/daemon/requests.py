"""Requests of the control socket, and their answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from datetime import timedelta
from typing import Any, Protocol

from ztpd import records, status
from ztpd.daemon.observation import Observation
from ztpd.daemon.pauses import Asker, Pauses
from ztpd.daemon.present import PresentState
from ztpd.daemon.recorder import MOST_RECORDINGS
from ztpd.daemon.results import Results
from ztpd.errors import ClockError, TlsClock, ZtpdError
from ztpd.history import transfer
from ztpd.history.ring import HistoryRing
from ztpd.lifecycle import Activity, State
from ztpd.model import StoredCredentials
from ztpd.provisioning.provisioner import Provisioner
from ztpd.receiver import Receiver
from ztpd.status import Status
from ztpd.system.control import Verb, patience_s
from ztpd.system.looptime import loop_time

_INSPECT_S = 8.0
_TIME_WITHIN_S = 30.0  # its age is added; receivers may give a position every ten seconds

_WRONG_CLOCK = {ClockError.code, TlsClock.code}

Answer = dict[str, Any]


class Controlled(Protocol):
    """The daemon, as far as requests concern it."""

    @property
    def present(self) -> PresentState: ...
    @property
    def stored(self) -> StoredCredentials | None: ...
    @property
    def provisioner(self) -> Provisioner: ...
    @property
    def results(self) -> Results: ...
    @property
    def receiver(self) -> Receiver: ...
    @property
    def pauses(self) -> Pauses: ...
    @property
    def observation(self) -> Observation: ...
    def resume(self) -> None: ...
    def try_now(self, why: str, *, replace: bool = False) -> None: ...
    def document(self) -> Status: ...


async def answer(
    daemon: Controlled, request: dict[str, Any]
) -> Answer | AsyncGenerator[bytes, None]:
    try:
        verb = Verb(str(request.get("do")))
    except ValueError:
        return _no(f"unknown request {request.get('do')!r}")
    match verb:
        case Verb.RETRY:
            return _retry(daemon)
        case Verb.PAUSE:
            return _pause(daemon)
        case Verb.RESUME:
            return _resume(daemon)
        case Verb.PROVISION:
            wait_s = patience_s(request)
            return await _provision(daemon, force=bool(request.get("force")), wait_s=wait_s)
        case Verb.IMPORTED:
            daemon.provisioner.keeper.forget_unsaved()
            return _try_now(daemon, "credentials were imported")
        case Verb.FORGOTTEN:
            daemon.provisioner.keeper.forget_unsaved()
            daemon.provisioner.pacing.retry_now()
            return {"ok": True, "text": "the present ones are used until the next start"}
        case Verb.TIME:
            return _time(daemon.receiver) | {"clock": _clock(daemon)}
        case Verb.RECEIVER:
            every = bool(request.get("every"))
            return await _inspect(daemon.receiver, every, patience_s(request) or _INSPECT_S)
        case Verb.STATUS:
            return {"ok": True, "status": status.to_json(daemon.document())}
        case Verb.HISTORY:
            now = daemon.provisioner.clock.now
            return _history(daemon.observation.sampler.ring, request, unix_s=now())
        case Verb.RECORD:
            return _record(daemon, with_position=request.get("position") is True)


def _no(error: str) -> Answer:
    return {"ok": False, "error": error}


def _retry(daemon: Controlled) -> Answer:
    if daemon.pauses.present:
        return {"ok": True, "text": f"paused {daemon.pauses.text}"}
    if not daemon.present.is_waiting:
        return {"ok": True, "text": f"nothing to wait for: {daemon.present.state.value}"}
    calls = daemon.stored is None and daemon.present.activity is not Activity.RELAY
    if calls and (reason := daemon.provisioner.pacing.rate_limit_reason()):
        return _no(reason)
    return _try_now(daemon, "asked to try again now")


def _pause(daemon: Controlled) -> Answer:
    if daemon.pauses.by is not Asker.PERSON:
        daemon.pauses.begin(Asker.PERSON, "a person")
    return {"ok": True, "text": f"paused {daemon.pauses.text}"}


def _resume(daemon: Controlled) -> Answer:
    if not daemon.pauses.present:
        return {"ok": True, "text": f"not paused: {daemon.present.state.value}"}
    daemon.resume()
    return {"ok": True, "text": "going on; see `ztpd status`"}


async def _provision(daemon: Controlled, *, force: bool, wait_s: float) -> Answer:
    """``force``: also where there are credentials, which stay until there are others; ``wait_s``:
    how long to wait for the result."""
    stored, provisioner = daemon.stored, daemon.provisioner
    if stored and not force and await provisioner.keeper.has_credentials():
        had = stored.credentials.transports
        return {"ok": True, "text": f"already provisioned: {had}"}
    if daemon.pauses.present and stored is None:
        return _no(f"paused {daemon.pauses.text}")
    if reason := provisioner.pacing.rate_limit_reason():
        return _no(reason)
    result = daemon.results.next()
    begun = _try_now(daemon, "asked to provision now", replace=force and stored is not None)
    return await _result(daemon, result, wait_s) if wait_s else begun


async def _result(
    daemon: Controlled, result: asyncio.Future[ZtpdError | None], wait_s: float
) -> Answer:
    try:
        async with asyncio.timeout(wait_s):
            error = await result
    except TimeoutError:
        return _no(f"no result within {wait_s:.0f} s; see `ztpd status`")
    if error is None and daemon.provisioner.keeper.unsaved is not None:
        return _no("there are credentials, and the disk has not taken them so far")
    if error or daemon.stored is None:
        error = error or ZtpdError()
        return _no(str(error)) | {"advice": error.advice, "exit_status": error.exit_status}
    return {"ok": True, "text": f"provisioned: {daemon.stored.credentials.transports}"}


def _try_now(daemon: Controlled, why: str, *, replace: bool = False) -> Answer:
    daemon.try_now(why, replace=replace)
    return {"ok": True, "text": "trying now; see `ztpd status`"}


def _time(receiver: Receiver) -> Answer:
    """UTC by the receiver, for ztpd-settime: from a fix, or confirmed by other signals.

    Without satellites a receiver gives the time of its own clock chip, which may be years off.
    """
    fix, age_s = receiver.fix, receiver.fix_age_s
    if fix is None or fix.utc is None or age_s is None or age_s > _TIME_WITHIN_S:
        return _no("the receiver has no fully resolved time")
    if not fix.utc_confirmed:
        return _no("the receiver's time is neither confirmed nor from a fix")
    return {"ok": True, "utc": (fix.utc + timedelta(seconds=age_s)).isoformat()}


def _clock(daemon: Controlled) -> str:
    """Whether the date keeps ztpd from its work ("wrong"), or corrections flow by it ("right")."""
    failure = daemon.present.failures.last
    if daemon.provisioner.clock.is_past or (failure and failure.event in _WRONG_CLOCK):
        return "wrong"
    return "right" if daemon.present.state is State.STREAMING else "unknown"


def _record(daemon: Controlled, *, with_position: bool) -> Answer | AsyncGenerator[bytes, None]:
    recorder = daemon.observation.recorder
    if not recorder.is_free:
        return _no(f"{MOST_RECORDINGS} recordings are being made already")
    return recorder.record(daemon.receiver, with_position=with_position)


def _history(ring: HistoryRing, request: dict[str, Any], *, unix_s: float) -> Answer:
    """What there is; with ``column`` that series, of the samples before number ``until``, the
    ``last`` ones."""
    if "column" not in request:
        now_s = loop_time()
        return {
            "ok": True,
            "history": transfer.contents(ring, now_s=now_s, unix_s=unix_s),
        }
    until, last = request.get("until"), request.get("last")
    try:
        found = transfer.series(
            ring,
            str(request["column"]),
            until if isinstance(until, int) else ring.count,
            max(0, last) if isinstance(last, int) else None,
        )
    except KeyError:
        return _no(f"there is no series {request['column']!r}")
    return {"ok": True, "series": found}


async def _inspect(receiver: Receiver, every: bool, within_s: float) -> Answer:
    """The receiver's settings, read from it now; ``every``: also those that differ from the
    default, which takes seconds on a slow line."""
    try:
        async with asyncio.timeout(within_s):
            found = await receiver.inspect(every=every)
    except ZtpdError as error:
        return _no(str(error)) | {"advice": error.advice}
    except TimeoutError:
        return _no(f"the receiver did not answer in {within_s:g} s")
    return {"ok": True, "receiver": records.to_json(found)}
