"""The daemon: runs the activities, holds the one state, tells systemd and the status file."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ztpd import __version__, events, log, retry, status
from ztpd.config import Loaded, read_token
from ztpd.daemon import requests
from ztpd.daemon.snapshot import Reason, document
from ztpd.daemon.systemd import notify
from ztpd.errors import ConfigError, NoTransport, Retry, SessionRefused, ZtpdError
from ztpd.lifecycle import Activity, Event, State, step, waiting_event
from ztpd.model import Fix, Identity, SourceEndpoint, StoredCredentials
from ztpd.modem import identity
from ztpd.provisioning.call import describe_transports
from ztpd.provisioning.provisioner import Provisioner
from ztpd.receiver import Receiver, ReceiverSettings
from ztpd.relay import Relay
from ztpd.sources import open_session
from ztpd.sources.endpoints import configured_without_ztp, endpoints
from ztpd.sources.ntrip import GgaPolicy
from ztpd.status import Status
from ztpd.system import control
from ztpd.system.clock import Clock
from ztpd.system.runlock import RunLock
from ztpd.system.tasks import end

_HEARTBEAT_S = 10.0
_GRACE_S = 60.0
_STOP_WITHIN_S = 4.0
_FRESH_S = 600.0
_POSITION_S = 5.0

_DEADLINES_S = {
    State.STARTING: 120.0,
    State.IDENTIFYING: 660.0,
    State.PROVISIONING: 660.0,
    State.CONNECTING: 120.0,
    State.STREAMING: 360.0,
    State.REFRESHING: 660.0,
}
"""How long a state may go without any report before the watchdog may bite."""


_TOLD_BY_THEIR_EVENT = {
    State.PROVISIONING,
    State.STREAMING,
    State.WAITING,
    State.BLOCKED,
    State.STOPPING,
}
"""Another INFO line, or the failure's, says the same and more."""


PROVISIONING_TABLES = {"ztp", "identity"}
RECEIVER_TABLES = {"receiver", "corrections", "output"}
SESSION_TABLES = {"corrections", "mqtt", "ntrip", "receiver", "output"}
"""Tables of the configuration, by what has to begin anew when one of them changes."""


class Daemon:
    """One run of ztpd, from lock to clean stop."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        state_dir: Path,
        runtime_dir: Path,
        environ: Mapping[str, str] = os.environ,
        reload: Callable[[], Loaded] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._loaded = loaded
        self._state_dir = state_dir
        self._runtime_dir = runtime_dir
        self._environ = environ
        self._reload_config = reload
        self._config_error: ConfigError | None = None  # of a new configuration that is not used
        self._clock = clock or Clock()
        self._state = State.STARTING
        self._since = datetime.now(UTC)
        self._reason = Reason("daemon.started", "", "")
        self._deadline_s = float("inf")
        self._running: set[asyncio.Task[None]] = set()  # the activity, and those that are ending
        self._stopped = asyncio.Event()
        self._identity: Identity | None = None
        self._stored: StoredCredentials | None = None
        self._provisioned_s: float | None = None
        self._relay: Relay | None = None
        self._receiver = self._make_receiver(loaded)
        self._receiving: asyncio.Task[None] | None = None
        self._provisioner = self._make_provisioner()
        self._force = False
        self._flowing = asyncio.Event()
        self._gga = GgaPolicy()  # one for all sessions: a reconnection must not forget the place
        self._failures = log.FailureLog()
        self._activities: dict[Activity, Callable[[], Awaitable[Event]]] = {
            Activity.LOAD: self._load,
            Activity.PROVISION: self._provision,
            Activity.RELAY: self._relay_corrections,
            Activity.REFRESH: self._refresh,
        }

    async def run(self) -> None:
        """Run until told to stop. Raises :class:`LockHeld` and nothing else that is remote."""
        self._warn_of_unknown_keys()
        lock = RunLock(self._runtime_dir)
        lock.take()
        try:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(control.serve(self._runtime_dir, self._control))
                self._listen_to_signals()
                notify("READY=1")
                log.emit(events.STARTED, version=__version__, how="")
                self._receiving = asyncio.create_task(self._keep(self._receiver.run, "receiver"))
                heartbeat = asyncio.create_task(self._heartbeat())
                self._start(Activity.LOAD)
                await self._stopped.wait()
                notify("STOPPING=1")
                await end(heartbeat, self._receiving, *self._running, within_s=_STOP_WITHIN_S)
                self._provisioner.stopping()
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
        """The only way into another state."""
        following = step(self._state, event)
        now = asyncio.get_running_loop().time()
        before, self._state = self._state, following.state
        if event is Event.FIRST_FRAME:
            self._flowing.set()
        if before is not self._state:
            self._since = datetime.now(UTC)
        self._reason = Reason(
            event=error.code if error else f"state.{self._state.value}",
            text=str(error) if error else why or self._state.meaning,
            advice=error.advice if error else "",
            until_s=None if wait_s is None else now + wait_s,
        )
        allowed_s = _DEADLINES_S.get(self._state, float("inf"))
        if self._state is State.CONNECTING:
            allowed_s += self._loaded.config.corrections.stale_after_s
        self._deadline_s = now + (allowed_s if wait_s is None else wait_s + _GRACE_S)
        if following.start is not None:
            self._start(following.start)
        if before is not self._state:
            self._tell_state(before)
        self._publish()

    def _tell_state(self, before: State) -> None:
        reason = self._reason
        wait = "" if reason.until_s is None else f", next try in {self._next_try()}"
        notify(f"STATUS={self._state.value}: {reason.text}{wait}")
        again = before in (State.WAITING, State.BLOCKED)
        quiet = again or self._state in _TOLD_BY_THEIR_EVENT
        log.emit(
            events.STATE_AGAIN if quiet else events.STATE,
            state=self._state.value,
            why=reason.text,
        )

    def _next_try(self) -> str:
        until_s = self._reason.until_s or 0.0
        return log.duration(max(0.0, until_s - asyncio.get_running_loop().time()))

    def _start(self, activity: Activity) -> None:
        """Begin ``activity`` when everything before it has ended: there is never more than one."""
        before = set(self._running)
        for task in before - {asyncio.current_task()}:
            task.cancel()
        if activity is Activity.NONE:
            self._stopped.set()
            return
        task = asyncio.create_task(self._perform(activity, before))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _perform(self, activity: Activity, before: set[asyncio.Task[None]]) -> None:
        if before:
            await asyncio.wait(before)
        event = await self._supervised(self._activities[activity], activity.value)
        self.dispatch(event)

    async def _supervised(self, work: Callable[[], Awaitable[Event]], name: str) -> Event:
        """``work``'s event; what nobody foresaw is told, and everything begins anew."""
        try:
            return await work()
        except Exception as error:  # noqa: BLE001 - the process stays up, whatever happens
            log.crash(name, error)
            await asyncio.sleep(_HEARTBEAT_S)
            return Event.RESTART

    async def _keep(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Run ``work`` for ever."""
        while True:
            try:
                await work()
            except Exception as error:  # noqa: BLE001 - as in _supervised
                log.crash(name, error)
            await asyncio.sleep(_HEARTBEAT_S)

    async def _load(self) -> Event:
        force, self._force = self._force, False
        if configured_without_ztp(self._loaded.config):
            self._stored = None
            return Event.HAVE_CREDENTIALS
        self._stored = await retry.until_done(
            self._provisioner.stored, retry.Backoff(retry.ZTP), waiting=self._wait
        )
        self._failures.clear()
        if self._stored is None:
            return Event.UNPROVISIONED
        if force:
            self._force = True
            return Event.REPLACE
        credentials = self._stored.credentials
        log.emit(
            events.CREDENTIALS_LOADED,
            age=log.duration(max(0.0, time.time() - self._stored.stored_unix_s)),
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
            self._stored = await self._provisioner.obtain()
        except ConfigError as error:
            await self._blocked(error)
            return Event.RESTART
        self._provisioned_s = asyncio.get_running_loop().time()
        return Event.PROVISIONED

    async def _refresh(self) -> Event:
        force, self._force = self._force, False
        try:
            if force:
                found: StoredCredentials | None = await self._provisioner.once()
            else:
                found = self._stored and await self._provisioner.replace(self._stored)
        except ZtpdError as error:
            self._failures.record(error)
            found = None
        if found is None:
            return Event.HAVE_CREDENTIALS  # the old credentials may be taken again one day
        self._stored = found
        self._provisioned_s = asyncio.get_running_loop().time()
        return Event.PROVISIONED

    async def _relay_corrections(self) -> Event:
        config = self._loaded.config
        credentials = self._stored.credentials if self._stored else None
        try:
            channels = endpoints(config, credentials)
        except ZtpdError as error:
            await self._blocked(error)
            again = isinstance(error, NoTransport) and self._may_refresh()
            return Event.REFUSED if again else Event.RESTART
        self._receiver.set_keys(credentials.keys if credentials else ())
        self._relay = Relay(
            channels,
            self._receiver,
            open_session=self._open_session,
            dispatch=self.dispatch,
            format=config.corrections.format,
            stale_after_s=config.corrections.stale_after_s,
            may_refresh=self._may_refresh,
            channel_state=self._runtime_dir / "sessions.json",
            refusal_record=self._state_dir / "refused.json",
        )
        self._flowing.clear()
        beside = [asyncio.create_task(self._provisioner.keeper.retry_save())]
        if self._stored:
            beside.append(asyncio.create_task(self._upkeep(self._stored)))
        try:
            await self._relay.run()
        except SessionRefused:
            return Event.REFUSED
        finally:
            for task in beside:
                task.cancel()
        raise AssertionError("a relay runs for ever")

    def _forget_token(self) -> None:
        """Ask root's ztpd-forget-token.path to remove the token's file, which ztpd cannot."""
        stored = self._stored is not None and self._provisioner.keeper.unsaved is None
        if stored and self._loaded.config.ztp.forget_token:
            with suppress(OSError):
                (self._runtime_dir / "forget-token").touch(mode=0o600)

    async def _upkeep(self, stored: StoredCredentials) -> None:
        """Once they have proved good: whether the token is still needed, whether the modem is still
        the one, and whether the credentials end soon."""
        await self._flowing.wait()
        self._forget_token()  # not before: stored credentials that are refused still need it
        await asyncio.sleep(_GRACE_S)  # start-up is over, and the modem's port at rest
        await self._provisioner.compare_modem(stored)
        self._stored = await self._provisioner.renew(stored)
        self._provisioned_s = asyncio.get_running_loop().time()
        self.dispatch(Event.RESTART, "new credentials")

    def _may_refresh(self) -> bool:
        return self._stored is not None and self._provisioner.may_replace()

    def _open_session(self, endpoint: SourceEndpoint) -> Any:
        fresh = (
            self._provisioned_s is not None
            and asyncio.get_running_loop().time() - self._provisioned_s < _FRESH_S
        )
        return open_session(
            endpoint,
            region=self._loaded.config.mqtt.region,
            position=self._position,
            gga=self._gga,
            fresh_credentials=fresh,
        )

    def _position(self) -> Fix | None:
        """Where the receiver is now; what it said a while ago is no longer that."""
        age_s = self._receiver.fix_age_s
        return self._receiver.fix if age_s is not None and age_s <= _POSITION_S else None

    async def _read_identity(self) -> Identity:
        self._identity = await identity.read(self._loaded.config)
        return self._identity

    def _make_provisioner(self) -> Provisioner:
        return Provisioner(
            self._loaded.config,
            self._state_dir,
            dispatch=self.dispatch,
            read_identity=self._read_identity,
            token=lambda: read_token(self._loaded.config, self._environ),
            clock=self._clock,
        )

    def _make_receiver(self, loaded: Loaded) -> Receiver:
        return Receiver(
            ReceiverSettings.of(loaded.config),
            on_change=self._publish,
            on_keys_wanted=self._ask_for_keys,
        )

    def _ask_for_keys(self) -> None:
        """A broker tells its keys at every subscription; a caster has none to tell."""
        relay = self._relay
        if self._state is State.STREAMING and relay and relay.progress.where.startswith("mqtt"):
            self.dispatch(Event.RESTART, "the receiver has no key for these corrections")

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def stop(self) -> None:
        self.dispatch(Event.STOP)

    def _reload(self) -> None:
        """Take up a changed configuration; a broken one changes nothing."""
        if self._reload_config is None or self._state is State.STOPPING:
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

    def _apply_config(self, loaded: Loaded, receiver: Receiver) -> None:
        """Put a configuration in force; a session or receiver it does not concern goes on."""
        before, self._loaded = self._loaded.config, loaded
        tables = [field.name for field in fields(loaded.config)]
        changed = {name for name in tables if getattr(before, name) != getattr(loaded.config, name)}
        note = f": {', '.join(f'[{name}]' for name in sorted(changed))} changed"
        log.emit(events.RELOADED, note=note if changed else ", nothing changed")
        self._warn_of_unknown_keys()
        log.set_level(loaded.config.log.level)
        self._provisioner.reconfigured(loaded.config)
        if changed & RECEIVER_TABLES:
            self._replace_receiver(receiver)
        well = self._state in (State.CONNECTING, State.STREAMING)
        if changed & SESSION_TABLES or (changed & PROVISIONING_TABLES and not well):
            self.dispatch(Event.RESTART, "the configuration changed")
        self._publish()

    def _replace_receiver(self, receiver: Receiver) -> None:
        """The port is given back by the one before it is opened by the new one."""
        before, self._receiver = self._receiving, receiver

        async def follow() -> None:
            if before:
                await end(before, within_s=_STOP_WITHIN_S)
            await self._keep(receiver.run, "receiver")

        self._receiving = asyncio.create_task(follow())

    async def _control(self, request: dict[str, Any]) -> dict[str, Any]:
        match request.get("do"):
            case "retry":
                return self._retry_now()
            case "provision":
                return await self._provision_now(force=bool(request.get("force")))
            case "imported":
                self._provisioner.keeper.unsaved = None
                return self._restart("credentials were imported")
            case "time":
                return requests.receiver_time(self._receiver)
            case "receiver":
                return await requests.inspect(self._receiver)
            case "status":
                return {"ok": True, "status": status.to_json(self._document())}
            case other:
                return {"ok": False, "error": f"unknown request {other!r}"}

    def _retry_now(self) -> dict[str, Any]:
        if self._state not in (State.WAITING, State.BLOCKED):
            return {"ok": True, "text": f"nothing to wait for: {self._state.value}"}
        if self._stored is None and (rate_limit_reason := self._provisioner.rate_limit_reason()):
            return {"ok": False, "error": rate_limit_reason}
        return self._restart("asked to try again now")

    async def _provision_now(self, *, force: bool) -> dict[str, Any]:
        if self._stored and not force and await self._provisioner.keeper.has_credentials():
            had = describe_transports(self._stored.credentials)
            return {"ok": True, "text": f"already provisioned: {had}"}
        if rate_limit_reason := self._provisioner.rate_limit_reason():
            return {"ok": False, "error": rate_limit_reason}
        self._force = force
        return self._restart("asked to provision now")

    def _restart(self, why: str) -> dict[str, Any]:
        self._provisioner.retry_now()
        if self._relay:
            self._relay.retry_now()
        self.dispatch(Event.RESTART, why)
        return {"ok": True, "text": "trying now; see `ztpd status`"}

    async def _heartbeat(self) -> None:
        """Feed the watchdog from the loop, while the state keeps its deadline; renew the status."""
        while True:
            relay = self._relay
            if self._state is State.STREAMING and relay and relay.progress.last_frame_s:
                self._deadline_s = relay.progress.last_frame_s + _DEADLINES_S[State.STREAMING]
            if asyncio.get_running_loop().time() < self._deadline_s:
                notify("WATCHDOG=1")
            if self._state is State.STREAMING:
                self._publish()
            await asyncio.sleep(_HEARTBEAT_S)

    def _publish(self) -> None:
        """Whatever is wrong with the status costs the status, and nothing else."""
        try:
            status.write(self._runtime_dir, self._document())
        except Exception as error:  # noqa: BLE001 - as in _supervised
            log.crash("status", error)

    def _document(self) -> Status:
        return document(
            now_s=asyncio.get_running_loop().time(),
            state=self._state,
            since=self._since,
            reason=self._reason,
            identity=self._identity,
            stored=self._stored,
            unsaved=self._provisioner.keeper.unsaved is not None,
            progress=self._relay.progress if self._relay else None,
            receiver=self._receiver,
            config_error=self._config_error,
        )

    def _warn_of_unknown_keys(self) -> None:
        for unknown in self._loaded.unknown:
            hint = f" (did you mean {unknown.nearest}?)" if unknown.nearest else ""
            log.emit(events.UNKNOWN_KEY, path=unknown.file, key=unknown.key, hint=hint)
