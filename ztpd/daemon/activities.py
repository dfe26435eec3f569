"""The work of each activity; its result is the event that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from ztpd import events, log, retry
from ztpd.config import Config
from ztpd.daemon.counters import Counters
from ztpd.daemon.recorder import Recorder
from ztpd.daemon.results import Results
from ztpd.daemon.tasks import Task, Tasks
from ztpd.daemon.upkeep import remove_token, upkeep
from ztpd.errors import (
    ConfigError,
    ConfigFileUnusable,
    NoTransport,
    Retry,
    SessionRefused,
    StoreError,
    ZtpdError,
    ZtpTokenMissing,
)
from ztpd.lifecycle import Activity, Dispatch, Event, waiting_event
from ztpd.model import SourceEndpoint, StoredCredentials
from ztpd.provisioning.provisioner import Provisioner
from ztpd.receiver import Receiver
from ztpd.relay import Progress, Relay
from ztpd.relay.metering import TrafficMeter
from ztpd.sources.assistance import FetchRecord
from ztpd.sources.context import SessionContext
from ztpd.sources.endpoints import backups_alone, configured_without_ztp, endpoints
from ztpd.status import ChannelStatus
from ztpd.system.disk import DiskWriter

_OPEN_EVERY_S = 600.0
_ANSWER_S = 60.0  # below the time for which the watchdog lets a state last


class Activities:
    """``config`` and ``receiver`` are the ones in force when an activity begins."""

    def __init__(
        self,
        provisioner: Provisioner,
        tasks: Tasks,
        *,
        config: Callable[[], Config],
        receiver: Callable[[], Receiver],
        dispatch: Dispatch,
        state_dir: Path,
        runtime_dir: Path,
        disk: DiskWriter,
        meter: TrafficMeter,
        has_token: Callable[[], bool],
        is_paused: Callable[[], bool],
        results: Results,
        counters: Counters,
        recorder: Recorder,
    ) -> None:
        """``has_token``: somebody gave this gateway a ZTP token; ``is_paused``: no session may be
        opened, also after a restart."""
        self.stored: StoredCredentials | None = None
        self._not_replaced: ZtpdError | None = None
        self._provisioner = provisioner
        self._tasks = tasks
        self._config = config
        self._receiver = receiver
        self._dispatch = dispatch
        self._state_dir = state_dir
        self._runtime_dir = runtime_dir
        self._disk = disk
        self._has_token = has_token
        self._is_paused = is_paused
        self._results = results
        fetches = FetchRecord(runtime_dir / "assistance.json", provisioner.clock)
        self._context = SessionContext(receiver, fetches)
        self._open_session = counters.counted(meter.metered(recorder.tapped(self._context.open)))
        self._relay: Relay | None = None
        self._first_corrections = asyncio.Event()
        self._failures = log.FailureLog()
        self._load_failures = log.FailureLog()

    async def perform(self, activity: Activity, event: Event) -> Event:
        """Do ``activity``, which ``event`` started."""
        match activity:
            case Activity.LOAD:
                return await self._load()
            case Activity.PROVISION:
                return await self._provision()
            case Activity.RELAY:
                return await self._relay_corrections()
            case Activity.PAUSE:
                await self._rest()
            case Activity.REFRESH:
                return await self._refresh(by_person=event is Event.REPLACE)
        raise AssertionError(f"{activity} is no work")

    @property
    def progress(self) -> Progress | None:
        """Of the present session, or of the last one."""
        return self._relay.progress if self._relay else None

    @property
    def channels(self) -> tuple[ChannelStatus, ...]:
        """All correction services; empty before the first session is due."""
        return self._relay.overview() if self._relay else ()

    @property
    def credentials_problem(self) -> ZtpdError | None:
        """Why stored credentials are not in use, where they are wanted: they could not be opened so
        far, or are refused and could not be replaced without a person."""
        if configured_without_ztp(self._config()):
            return None
        return self._not_replaced if self.stored else self._provisioner.keeper.unopened

    def retry_now(self) -> None:
        """A person wants a try now."""
        self._provisioner.pacing.retry_now()
        if self._relay:
            self._relay.retry_now()

    def receiver_changed(self) -> None:
        """The receiver is ready, or no longer, or another error keeps it from that."""
        if self._relay:
            self._relay.receiver_changed()

    def forget_token(self) -> None:
        """Remove the token where that is wanted, once the credentials are stored, and corrections
        flow by them: if they are refused, the call for other ones needs it."""
        stored = self.stored and self._provisioner.keeper.unsaved is None
        flow = self._first_corrections.is_set() and not self._is_on_backup
        if stored and flow and self._config().ztp.forget_token:
            remove_token(self._runtime_dir)

    async def _load(self) -> Event:
        self._not_replaced = None
        if configured_without_ztp(self._config()):
            self.stored = None
            return Event.PAUSE if self._is_paused() else Event.HAVE_CREDENTIALS
        self.stored = await retry.until_done(
            self._provisioner.stored,
            retry.Backoff(retry.ZTP),
            waiting=partial(self._wait, failures=self._load_failures),
        )
        if self._provisioner.keeper.unopened is None:  # else that outage is not over
            self._load_failures.clear()
        self._failures.begin_anew()
        if self.stored is None and backups_alone(self._config(), has_token=self._has_token()):
            log.emit(events.BACKUPS_ALONE)
            self._results.report(ZtpTokenMissing("[[backup]] alone is in use"))
            return Event.PAUSE if self._is_paused() else Event.HAVE_CREDENTIALS
        if self._is_paused():
            return Event.PAUSE
        if self.stored is None:
            return Event.UNPROVISIONED
        log.emit(
            events.CREDENTIALS_LOADED,
            age=log.duration(max(0.0, self._provisioner.clock.now() - self.stored.stored_unix_s)),
            client_id=self.stored.credentials.client_id,
            transports=self.stored.credentials.transports,
        )
        return Event.HAVE_CREDENTIALS

    async def _rest(self) -> None:
        """Renew the credentials when they are due, unseal and save them, so that they are valid
        when the pause ends; nothing else."""
        self._relay = None
        self._tasks.start(Task.SAVE, self._provisioner.keeper.retry_save)
        if self.stored:
            self._tasks.start(Task.UPKEEP, self._renew_at_rest)
        elif self._provisioner.keeper.unopened:
            self._tasks.start(Task.UPKEEP, self._reopen)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            try:  # the answer of a renewal would be lost, and the next one comes a day later
                async with asyncio.timeout(_ANSWER_S):
                    await self._provisioner.idle()
            except TimeoutError:
                pass
            finally:
                await self._tasks.end(Task.SAVE, Task.UPKEEP)

    async def _renew_at_rest(self) -> None:
        while self.stored:
            self._obtained(await self._provisioner.renew(self.stored))
            self._tasks.start(Task.SAVE, self._provisioner.keeper.retry_save)

    async def _provision(self) -> Event:
        if self._provisioner.keeper.unopened:
            self._tasks.start(Task.UPKEEP, self._reopen)
        try:
            self._obtained(await self._provisioner.obtain())
        except ConfigError as error:
            await self._blocked(error)
            return Event.RESTART
        finally:
            await self._tasks.end(Task.UPKEEP)
        return Event.PROVISIONED

    async def _refresh(self, *, by_person: bool) -> Event:
        """Get other credentials: by a call, if a person asked for it, else as the day allows."""
        found: StoredCredentials | None = None
        try:
            if by_person:
                found = await self._provisioner.once()
            elif self.stored:
                found = await self._provisioner.replace(self.stored)
        except ZtpdError as error:
            self._failures.record(error)
            self._results.report(error)
            if error.needs_person and not by_person:
                self._not_replaced = error
            unsaved = self._provisioner.keeper.unsaved
            found = None if unsaved is self.stored else unsaved  # an answer, and no place for it
        if found is None:
            return Event.HAVE_CREDENTIALS
        self._obtained(found)
        return Event.PROVISIONED

    async def _relay_corrections(self) -> Event:
        if self._is_paused():  # credentials were asked for meanwhile
            return Event.PAUSE
        config, stored = self._config(), self.stored
        try:
            channels = await self._endpoints(config, stored)
        except ZtpdError as error:
            await self._blocked(error)
            again = isinstance(error, NoTransport) and self._may_refresh()
            return Event.REFUSED if again else Event.RESTART
        receiver = self._receiver()
        receiver.set_keys(stored.credentials.keys if stored else ())
        self._relay = Relay(
            channels,
            receiver,
            open_session=self._open_session,
            dispatch=self._dispatch_from_relay,
            format=config.corrections.format,
            stale_after_s=config.corrections.stale_after_s,
            may_refresh=self._may_refresh,
            channel_state=self._runtime_dir / "sessions.json",
            refusal_record=self._state_dir / "refused.json",
            disk=self._disk,
            clock=self._provisioner.clock,
        )
        self._first_corrections.clear()
        self._tasks.start(Task.SAVE, self._save)
        if stored:
            self._tasks.start(Task.UPKEEP, lambda: self._upkeep(stored))
        elif self._provisioner.keeper.unopened:
            self._tasks.start(Task.UPKEEP, self._reopen)
        try:
            await self._relay.run()
        except SessionRefused:
            return Event.REFUSED
        finally:
            await self._tasks.end(Task.SAVE, Task.UPKEEP)
        raise AssertionError("a relay ends with an error")

    async def _endpoints(
        self, config: Config, stored: StoredCredentials | None
    ) -> Sequence[SourceEndpoint]:
        """Wait for the files that ``config`` names: their partition may be mounted late."""
        backoff = retry.Backoff(retry.SESSION)
        while True:
            try:
                found = endpoints(config, stored.credentials if stored else None)
            except ConfigFileUnusable as error:
                wait_s = backoff.wait_s(error)
                self._wait(error, wait_s)
                await asyncio.sleep(wait_s)
            else:
                self._failures.clear()
                return found

    async def _upkeep(self, stored: StoredCredentials) -> None:
        renewed = await upkeep(
            stored,
            self._provisioner,
            first_corrections=self._first_corrections,
        )
        self._obtained(renewed)
        self._dispatch(Event.RESTART, "new credentials")

    async def _save(self) -> None:
        await self._provisioner.keeper.retry_save()
        self.forget_token()  # it was kept until now

    async def _reopen(self) -> None:
        """Use the credentials once they can be unsealed, or read, again."""
        while True:
            await asyncio.sleep(_OPEN_EVERY_S)
            with suppress(StoreError):
                if await self._provisioner.keeper.load() is not None:
                    await self._provisioner.idle()
                    self._dispatch(Event.RESTART, "the stored credentials can be opened again")
                    return

    @property
    def _is_on_backup(self) -> bool:
        return self.progress is not None and self.progress.backup

    def _dispatch_from_relay(
        self,
        event: Event,
        why: str = "",
        *,
        error: ZtpdError | None = None,
        wait_s: float | None = None,
    ) -> None:
        proven = event is Event.FIRST_FRAME and not self._is_on_backup
        if proven and not self._first_corrections.is_set():
            self._not_replaced = None
            self._first_corrections.set()
            self.forget_token()
        self._dispatch(event, why, error=error, wait_s=wait_s)

    def _wait(
        self, error: ZtpdError, wait_s: float, *, failures: log.FailureLog | None = None
    ) -> None:
        (failures or self._failures).record(error, retry_in_s=wait_s)
        self._dispatch(waiting_event(error), error=error, wait_s=wait_s)

    async def _blocked(self, error: ZtpdError) -> None:
        """Wait for a person, and look again in an hour."""
        wait_s = retry.SESSION[Retry.REFUSED].cap_s
        self._wait(error, wait_s)
        await asyncio.sleep(wait_s)

    def _obtained(self, stored: StoredCredentials) -> None:
        self.stored, self._not_replaced = stored, None
        self._context.credentials_obtained()

    def _may_refresh(self) -> bool:
        return self.stored is not None and self._provisioner.may_replace()
