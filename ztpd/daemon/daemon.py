"""The daemon: one state, one activity at a time, and the background tasks beside it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ztpd import __version__, events, log, metrics, status
from ztpd.config import Config, LoadedConfig, exposed_files, has_token, read_token
from ztpd.daemon import counters
from ztpd.daemon.activities import Activities
from ztpd.daemon.counters import Counters
from ztpd.daemon.economy import Economy
from ztpd.daemon.observation import Observation
from ztpd.daemon.pauses import Pauses
from ztpd.daemon.present import PresentState
from ztpd.daemon.reload import changes
from ztpd.daemon.results import Results
from ztpd.daemon.snapshot import document
from ztpd.daemon.systemd import notify
from ztpd.daemon.tasks import RESTART_S, Task, Tasks
from ztpd.errors import ConfigError, RuntimeDirectoryUnusable, StoreError, ZtpdError
from ztpd.lifecycle import Activity, Event, State
from ztpd.model import Identity, StoredCredentials, utc
from ztpd.provisioning import board, post_process
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.reply import Post
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.relay import metering
from ztpd.sources.context import sends_keys
from ztpd.status import Status
from ztpd.system import control_server
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.looptime import loop_time
from ztpd.system.runlock import RunLock
from ztpd.system.sealing import Sealer

_HEARTBEAT_S = 10.0
_STOP_WITHIN_S = 4.0
_WRITTEN_WITHIN_S = 2.0


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
        post: Post = post_process.post,
        sealer: Sealer | None = None,
    ) -> None:
        clock = clock or Clock()
        self.present = PresentState(lambda: utc(clock.now()))
        self.results = Results()
        self._loaded = loaded
        self._runtime_dir = runtime_dir
        self._environ = environ
        self._reload_config = reload
        self._config_error: ConfigError | None = None  # of a new configuration that is not used
        self._tasks = Tasks()
        self._stopped = asyncio.Event()
        self._identity: Identity | None = None
        self.observation = Observation()
        self._counters = Counters(clock.now)
        self._runtime_failures = log.FailureLog(ends_one=True)
        disk_log = _DiskLog()
        self._disk = DiskWriter(disk_log.failed, disk_log.works_again)
        self._meter = metering.TrafficMeter(state_dir / metering.FILE, self._disk, clock)
        self.pauses = Pauses(runtime_dir, clock, self.dispatch)
        self._economy = Economy(
            self._meter,
            self.pauses,
            config=lambda: self._loaded.config,
            present=self.present,
        )
        self.receiver = self._make_receiver(loaded)
        self.provisioner = Provisioner(
            loaded.config,
            state_dir,
            dispatch=self.dispatch,
            read_identity=self._read_identity,
            token=lambda: read_token(self._loaded.config, self._environ),
            clock=clock,
            board_serial=board_serial,
            disk=self._disk,
            post=post,
            on_call=self._counters.on_call,
            sealer=sealer,
        )
        self._activities = Activities(
            self.provisioner,
            self._tasks,
            config=lambda: self._loaded.config,
            receiver=lambda: self.receiver,
            dispatch=self.dispatch,
            state_dir=state_dir,
            runtime_dir=runtime_dir,
            disk=self._disk,
            meter=self._meter,
            has_token=lambda: has_token(self._loaded.config, self._environ),
            is_paused=lambda: self.pauses.present is not None,
            results=self.results,
            counters=self._counters,
            recorder=self.observation.recorder,
        )

    async def run(self) -> None:
        """Run until stopped. Raises :class:`LockHeld`, and nothing that is remote."""
        _warn_of(self._loaded)
        lock = RunLock(self._runtime_dir)
        try:
            lock.take()
        except OSError as error:  # full, or without inodes: corrections do not need it
            log.FailureLog().record(_unusable(error))
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_callback)
        try:
            self._tasks.start(Task.CONTROL, self._serve)
            await asyncio.sleep(0)  # the socket is there when READY=1 is said
            for number in (signal.SIGTERM, signal.SIGINT):
                loop.add_signal_handler(number, self.stop)
            loop.add_signal_handler(signal.SIGHUP, self._reload)
            notify("READY=1")
            log.emit(events.STARTED, version=__version__, how="")
            self._tasks.start(Task.RECEIVER, self.receiver.run)
            self._tasks.start(Task.TRAFFIC, self._meter.load)
            self._tasks.start(Task.HEARTBEAT, self._heartbeat)
            self.dispatch(Event.RESTART)
            await self._stopped.wait()
            notify("STOPPING=1")
            await self._tasks.end(*Task, within_s=_STOP_WITHIN_S)
            self.provisioner.pacing.keep_rest()
            self._meter.save()
            self._publish()
            with suppress(TimeoutError):  # the files before stay whole
                async with asyncio.timeout(_WRITTEN_WITHIN_S):
                    await self.provisioner.keeper.save_at_end()
                    await self._disk.written()
        finally:
            loop.set_exception_handler(None)
            counters.write(self._runtime_dir, metrics.DOWN)
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
        if event is Event.PAUSE:
            why = self.pauses.text
        stale_after_s = self._loaded.config.corrections.stale_after_s
        activity = self.present.follow(event, why, error, wait_s, stale_after_s=stale_after_s)
        if error or event is Event.PROVISIONED:
            self.results.report(error)
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
        try:
            result = await self._activities.perform(activity, event)
        except Exception:
            error = ZtpdError(f"{activity.value} failed, see the journal")
            self.dispatch(Event.BACKOFF, error=error, wait_s=RESTART_S)
            raise
        self.dispatch(result)

    async def _begin_again(self) -> None:
        self.dispatch(Event.RESTART, "after an internal error")

    async def _read_identity(self) -> Identity:
        self._identity = await _read_identity(self._loaded.config)
        return self._identity

    def _make_receiver(self, loaded: LoadedConfig) -> Receiver:
        return Receiver(
            ReceiverSettings.of(loaded.config),
            on_change=self._receiver_changed,
            on_keys_wanted=self._ask_for_keys,
            on_fix=self._economy.on_fix,
            wall_clock=self.present.wall_clock,
            tap=self.observation.recorder,
        )

    def _receiver_changed(self) -> None:
        if self.present.activity is Activity.RELAY:  # else its relay ends in this turn of the loop
            self._activities.receiver_changed()
        self._publish()

    def _ask_for_keys(self) -> None:
        """Open another session where that brings the keys."""
        progress = self._activities.progress
        if self.present.state is State.STREAMING and progress and sends_keys(progress.kind):
            self.dispatch(Event.RESTART, "the receiver has no key for these corrections")

    @property
    def stored(self) -> StoredCredentials | None:
        """The credentials in use, on the disk or in memory."""
        return self._activities.stored

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
        finally:
            notify("READY=1")  # else systemd waits for the end of the reload until its time limit

    def _apply_config(self, loaded: LoadedConfig, receiver: Receiver) -> None:
        """Put ``loaded`` in force; a session or receiver that it does not concern goes on."""
        changed = changes(self._loaded.config, loaded.config)
        self._loaded = loaded
        log.emit(events.RELOADED, note=changed)
        _warn_of(loaded)
        log.set_level(loaded.config.log.level)
        self.provisioner.reconfigured(loaded.config)
        if changed.receiver:
            self.receiver = receiver
            self._tasks.start(Task.RECEIVER, receiver.run)
        if self.present.state is State.STREAMING:
            self._activities.forget_token()
        if changed.session or (changed.provisioning and not self.present.has_session):
            self._tasks.start(Task.RELOAD, self._begin_with_config)
        self._publish()

    async def _begin_with_config(self) -> None:
        await self.provisioner.idle()
        self.dispatch(Event.RESTART, "the configuration changed")

    async def _serve(self) -> None:
        """Answer requests; try again where the socket cannot be made."""
        while True:
            try:
                async with control_server.serve(self._runtime_dir, self._answer):
                    self._runtime_failures.clear()
                    await asyncio.get_running_loop().create_future()
            except OSError as error:
                self._runtime_failures.record(_unusable(error), retry_in_s=_HEARTBEAT_S)
            await asyncio.sleep(_HEARTBEAT_S)

    async def _answer(self, request: dict[str, Any]) -> control_server.Answer:
        try:
            return await _answer(self, request)
        except Exception as error:  # noqa: BLE001 - it costs this one answer
            log.crash("control", error)
            return {"ok": False, "error": "internal error, see the journal"}

    def try_now(self, why: str, *, replace: bool = False) -> None:
        """End all waits, because of ``why``; ``replace``: get other credentials first."""
        self._activities.retry_now()
        self.dispatch(Event.REPLACE if replace else Event.RESTART, why)

    def resume(self) -> None:
        """End the pause for a person."""
        self._economy.resume()

    async def _heartbeat(self) -> None:
        """Feed the watchdog while the state is not overdue; count; keep the status file fresh."""
        while True:
            progress = self._activities.progress
            if not self.present.is_overdue(progress.last_frame_s if progress else None):
                notify("WATCHDOG=1")
            self._economy.update()
            if document := self._publish():
                self._publish_metrics(document)
                self.observation.update(document, self.receiver, progress)
            await asyncio.sleep(_HEARTBEAT_S)

    def _publish(self) -> Status | None:
        """A status that cannot be made or written costs the status alone; None: not made."""
        document = None
        try:
            status.write(self._runtime_dir, document := self.document())
        except Exception as error:  # noqa: BLE001 - as above
            log.crash("status", error)
        return document

    def _publish_metrics(self, document: Status) -> None:
        """As for the status."""
        try:
            totals = self._counters.totals(self.receiver.fix_seconds, self.stored)
            counters.write(self._runtime_dir, metrics.text(document, totals))
        except Exception as error:  # noqa: BLE001 - as above
            log.crash("metrics", error)

    def document(self) -> Status:
        """The status, as :data:`ztpd.status.FIELDS` explains it."""
        return document(
            now_s=loop_time(),
            at=self.present.wall_clock(),
            state=self.present.state,
            since=self.present.since,
            reason=self.present.reason,
            paused=self.pauses.present,
            last_failure=self.present.failures.last,
            identity=self._identity,
            stored=self.stored,
            credentials_problem=self._activities.credentials_problem,
            unsaved=self.provisioner.keeper.unsaved is not None,
            progress=self._activities.progress,
            channels=self._activities.channels,
            traffic=self._economy.traffic(),
            receiver=self.receiver,
            config_error=self._config_error,
        )


def _warn_of(loaded: LoadedConfig) -> None:
    """Log what is wrong with a configuration that is used all the same."""
    for unknown in loaded.unknown:
        hint = f" (did you mean {unknown.nearest}?)" if unknown.nearest else ""
        log.emit(events.UNKNOWN_KEY, path=unknown.file, key=unknown.key, hint=hint)
    for exposed in exposed_files(loaded.config):
        log.emit(events.FILE_EXPOSED, **exposed._asdict())


async def _read_identity(config: Config) -> Identity:
    from ztpd.modem import identity  # a provisioned gateway does not need its modem

    return await identity.read(config)


async def _answer(daemon: Daemon, request: dict[str, Any]) -> control_server.Answer:
    from ztpd.daemon import requests  # once somebody asks

    return await requests.answer(daemon, request)


def _unusable(error: OSError) -> RuntimeDirectoryUnusable:
    return RuntimeDirectoryUnusable(f"{error.filename or 'control socket'}: {error.strerror}")


class _DiskLog:
    """Logs files of the state directory that could not be written, and that all were since."""

    def __init__(self) -> None:
        self._failures = log.FailureLog(ends_one=True)

    def failed(self, path: Path, error: OSError) -> None:
        self._failures.record(StoreError(f"{path.name}: {error.strerror}"))

    def works_again(self) -> None:
        self._failures.clear()


def _log_callback(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log the failure of a callback, such as a signal's or a library's, that no task awaits."""
    error = context.get("exception") or RuntimeError(context.get("message"))
    log.crash("event loop", error if isinstance(error, Exception) else RuntimeError(repr(error)))
