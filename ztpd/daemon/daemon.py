"""The daemon: one state, one activity at a time, and the background tasks beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from ztpd import __version__, events, log, retry, status
from ztpd.config import LoadedConfig, read_token
from ztpd.daemon import requests
from ztpd.daemon.present import PresentState
from ztpd.daemon.reload import changes
from ztpd.daemon.snapshot import document
from ztpd.daemon.systemd import notify
from ztpd.daemon.tasks import RESTART_S, Task, Tasks
from ztpd.daemon.upkeep import remove_token, upkeep
from ztpd.errors import ConfigError, NoTransport, Retry, SessionRefused, ZtpdError
from ztpd.lifecycle import Activity, Event, State, waiting_event
from ztpd.model import Identity, StoredCredentials
from ztpd.modem import identity
from ztpd.provisioning import board
from ztpd.provisioning.call import describe_transports
from ztpd.provisioning.provisioner import Provisioner
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.relay import Relay
from ztpd.sources.context import SessionContext, sends_keys
from ztpd.sources.endpoints import configured_without_ztp, endpoints
from ztpd.status import Status
from ztpd.system import control
from ztpd.system.clock import Clock
from ztpd.system.runlock import RunLock

_HEARTBEAT_S = 10.0
_STOP_WITHIN_S = 4.0


class Daemon:
    """One run of ztpd, from lock to clean stop."""

    def __init__(
        self,
        loaded: LoadedConfig,
        *,
        state_dir: Path,
        runtime_dir: Path,
        environ: Mapping[str, str] = os.environ,
        reload: Callable[[], LoadedConfig] | None = None,
        clock: Clock | None = None,
        board_serial: Callable[[], str] = board.serial,
    ) -> None:
        self.present = PresentState()
        self.stored: StoredCredentials | None = None
        self._loaded = loaded
        self._state_dir = state_dir
        self._runtime_dir = runtime_dir
        self._environ = environ
        self._reload_config = reload
        self._config_error: ConfigError | None = None  # of a new configuration that is not used
        self._tasks = Tasks()
        self._stopped = asyncio.Event()
        self._first_corrections = asyncio.Event()
        self._identity: Identity | None = None
        self._relay: Relay | None = None
        self._failures = log.FailureLog()
        self.receiver = self._make_receiver(loaded)
        self._context = SessionContext(lambda: self.receiver)
        self.provisioner = Provisioner(
            loaded.config,
            state_dir,
            dispatch=self.dispatch,
            read_identity=self._read_identity,
            token=lambda: read_token(self._loaded.config, self._environ),
            clock=clock or Clock(),
            board_serial=board_serial,
        )

    async def run(self) -> None:
        """Run until stopped. Raises :class:`LockHeld`, and nothing that is remote."""
        self._warn_of_unknown_keys()
        lock = RunLock(self._runtime_dir)
        lock.take()
        loop = asyncio.get_running_loop()
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(control.serve(self._runtime_dir, self._answer))
                for number in (signal.SIGTERM, signal.SIGINT):
                    loop.add_signal_handler(number, self.stop)
                loop.add_signal_handler(signal.SIGHUP, self._reload)
                notify("READY=1")
                log.emit(events.STARTED, version=__version__, how="")
                self._tasks.start(Task.RECEIVER, self.receiver.run)
                self._tasks.start(Task.HEARTBEAT, self._heartbeat)
                self.dispatch(Event.RESTART)
                await self._stopped.wait()
                notify("STOPPING=1")
                await self._tasks.end(*Task, within_s=_STOP_WITHIN_S)
                self.provisioner.stopping()
                self._publish()
        finally:
            lock.release()
        log.emit(events.STOPPED)

    def dispatch(
        self,
        event: Event,
        why: str = "",
        *,
        error: ZtpdError | None = None,
        wait_s: float | None = None,
    ) -> None:
        """The only way into another state. Raises :class:`ztpd.lifecycle.ImpossibleEvent`."""
        stale_after_s = self._loaded.config.corrections.stale_after_s
        activity = self.present.follow(event, why, error, wait_s, stale_after_s=stale_after_s)
        if event is Event.FIRST_FRAME:
            self._first_corrections.set()
        if activity is Activity.NONE:
            self._stopped.set()
        elif activity is not None:
            self._tasks.start(
                Task.ACTIVITY,
                lambda: self._perform(activity, event),
                name=activity.value,
                recover=self._begin_again,
            )
        self._publish()

    async def _perform(self, activity: Activity, event: Event) -> None:
        """Do ``activity``, which ``event`` started, and report its result."""
        try:
            match activity:
                case Activity.LOAD:
                    result = await self._load()
                case Activity.PROVISION:
                    result = await self._provision()
                case Activity.RELAY:
                    result = await self._relay_corrections()
                case _:
                    result = await self._refresh(by_person=event is Event.REPLACE)
        except Exception:
            error = ZtpdError(f"{activity.value} failed, see the journal")
            self.dispatch(Event.BACKOFF, error=error, wait_s=RESTART_S)
            raise
        self.dispatch(result)

    async def _begin_again(self) -> None:
        self.dispatch(Event.RESTART, "after an internal error")

    async def _load(self) -> Event:
        if configured_without_ztp(self._loaded.config):
            self.stored = None
            return Event.HAVE_CREDENTIALS
        self.stored = await retry.until_done(
            self.provisioner.stored, retry.Backoff(retry.ZTP), waiting=self._wait
        )
        self._failures.clear()
        if self.stored is None:
            return Event.UNPROVISIONED
        credentials = self.stored.credentials
        log.emit(
            events.CREDENTIALS_LOADED,
            age=log.duration(max(0.0, time.time() - self.stored.stored_unix_s)),
            client_id=credentials.client_id,
            transports=describe_transports(credentials),
        )
        return Event.HAVE_CREDENTIALS

    def _wait(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.record(error, retry_in_s=wait_s)
        self.dispatch(waiting_event(error), error=error, wait_s=wait_s)

    async def _blocked(self, error: ZtpdError) -> None:
        """Wait for a person, and look again in an hour."""
        wait_s = retry.SESSION[Retry.REFUSED].cap_s
        self._wait(error, wait_s)
        await asyncio.sleep(wait_s)

    async def _provision(self) -> Event:
        try:
            self._obtained(await self.provisioner.obtain())
        except ConfigError as error:
            await self._blocked(error)
            return Event.RESTART
        return Event.PROVISIONED

    async def _refresh(self, *, by_person: bool) -> Event:
        """Get other credentials: by a call, if a person asked for it, else as the day allows."""
        found: StoredCredentials | None = None
        try:
            if by_person:
                found = await self.provisioner.once()
            elif self.stored:
                found = await self.provisioner.replace(self.stored)
        except ZtpdError as error:
            self._failures.record(error)
        if found is None:
            return Event.HAVE_CREDENTIALS
        self._obtained(found)
        return Event.PROVISIONED

    def _obtained(self, stored: StoredCredentials) -> None:
        self.stored = stored
        self._context.credentials_obtained()

    async def _relay_corrections(self) -> Event:
        config, stored = self._loaded.config, self.stored
        try:
            channels = endpoints(config, stored.credentials if stored else None)
        except ZtpdError as error:
            await self._blocked(error)
            again = isinstance(error, NoTransport) and self._may_refresh()
            return Event.REFUSED if again else Event.RESTART
        self.receiver.set_keys(stored.credentials.keys if stored else ())
        self._relay = Relay(
            channels,
            self.receiver,
            open_session=lambda each: self._context.open(each, region=config.mqtt.region),
            dispatch=self.dispatch,
            format=config.corrections.format,
            stale_after_s=config.corrections.stale_after_s,
            may_refresh=self._may_refresh,
            channel_state=self._runtime_dir / "sessions.json",
            refusal_record=self._state_dir / "refused.json",
        )
        self._first_corrections.clear()
        self._tasks.start(Task.SAVE, self.provisioner.keeper.retry_save)
        if stored:
            self._tasks.start(Task.UPKEEP, lambda: self._upkeep(stored))
        try:
            await self._relay.run()
        except SessionRefused:
            return Event.REFUSED
        finally:
            await self._tasks.end(Task.SAVE, Task.UPKEEP)
        raise AssertionError("a relay ends with an error")

    def _may_refresh(self) -> bool:
        return self.stored is not None and self.provisioner.may_replace()

    async def _upkeep(self, stored: StoredCredentials) -> None:
        renewed = await upkeep(
            stored,
            self.provisioner,
            first_corrections=self._first_corrections,
            remove_token=self._remove_token,
        )
        self._obtained(renewed)
        self.dispatch(Event.RESTART, "new credentials")

    def _remove_token(self) -> None:
        if self._loaded.config.ztp.forget_token and self.provisioner.keeper.unsaved is None:
            remove_token(self._runtime_dir)

    async def _read_identity(self) -> Identity:
        self._identity = await identity.read(self._loaded.config)
        return self._identity

    def _make_receiver(self, loaded: LoadedConfig) -> Receiver:
        return Receiver(
            ReceiverSettings.of(loaded.config),
            on_change=self._publish,
            on_keys_wanted=self._ask_for_keys,
        )

    def _ask_for_keys(self) -> None:
        """Open another session where that brings the keys."""
        relay = self._relay
        if self.present.state is State.STREAMING and relay and sends_keys(relay.progress.kind):
            self.dispatch(Event.RESTART, "the receiver has no key for these corrections")

    def stop(self) -> None:
        self.dispatch(Event.STOP)

    def _reload(self) -> None:
        """Put a changed configuration in force; a wrong one changes nothing."""
        if self._reload_config is None or self.present.state is State.STOPPING:
            return
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            loaded = self._reload_config()
            receiver = self._make_receiver(loaded)
        except ConfigError as error:
            self._config_error = error
            log.emit(events.RELOAD_FAILED, error=error)
            self._publish()
        else:
            self._config_error = None
            self._apply_config(loaded, receiver)
        notify("READY=1")

    def _apply_config(self, loaded: LoadedConfig, receiver: Receiver) -> None:
        """Put ``loaded`` in force; a session or receiver that it does not concern goes on."""
        changed = changes(self._loaded.config, loaded.config)
        self._loaded = loaded
        log.emit(events.RELOADED, note=changed)
        self._warn_of_unknown_keys()
        log.set_level(loaded.config.log.level)
        self.provisioner.reconfigured(loaded.config)
        if changed.receiver:
            self.receiver = receiver
            self._tasks.start(Task.RECEIVER, receiver.run)
        if changed.session or (changed.provisioning and not self.present.has_session):
            self.dispatch(Event.RESTART, "the configuration changed")
        self._publish()

    async def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        return await requests.answer(self, request)

    def try_now(self, why: str, *, replace: bool = False) -> None:
        """End all waits, because of ``why``; ``replace``: get other credentials first."""
        self.provisioner.retry_now()
        if self._relay:
            self._relay.retry_now()
        self.dispatch(Event.REPLACE if replace else Event.RESTART, why)

    async def _heartbeat(self) -> None:
        """Feed the watchdog while the state is not overdue; keep the status file fresh."""
        while True:
            last_frame_s = self._relay.progress.last_frame_s if self._relay else None
            if not self.present.is_overdue(last_frame_s):
                notify("WATCHDOG=1")
            if self.present.state is State.STREAMING:
                self._publish()
            await asyncio.sleep(_HEARTBEAT_S)

    def _publish(self) -> None:
        """A status that cannot be made or written costs the status alone."""
        try:
            status.write(self._runtime_dir, self.document())
        except Exception as error:  # noqa: BLE001 - as above
            log.crash("status", error)

    def document(self) -> Status:
        """The status, as :data:`ztpd.status.FIELDS` explains it."""
        return document(
            now_s=asyncio.get_running_loop().time(),
            state=self.present.state,
            since=self.present.since,
            reason=self.present.reason,
            identity=self._identity,
            stored=self.stored,
            unsaved=self.provisioner.keeper.unsaved is not None,
            progress=self._relay.progress if self._relay else None,
            receiver=self.receiver,
            config_error=self._config_error,
        )

    def _warn_of_unknown_keys(self) -> None:
        for unknown in self._loaded.unknown:
            hint = f" (did you mean {unknown.nearest}?)" if unknown.nearest else ""
            log.emit(events.UNKNOWN_KEY, path=unknown.file, key=unknown.key, hint=hint)
