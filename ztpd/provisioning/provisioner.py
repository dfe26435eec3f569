"""From a gateway without credentials to stored ones, and from refused ones to others."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ztpd import events, log, retry
from ztpd.config import Config
from ztpd.errors import Retry, StoreError, ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event
from ztpd.model import Identity, Secret, StoredCredentials
from ztpd.provisioning import board, http, renewal
from ztpd.provisioning.call import Post, Request, call, request_hash
from ztpd.provisioning.identification import Identification, ReadIdentity
from ztpd.provisioning.keeper import Keeper, log_provisioned
from ztpd.provisioning.schedule import LONGEST_WAIT_S, Schedule
from ztpd.provisioning.store import CredentialStore
from ztpd.system import hostname
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.offload import offload
from ztpd.wire.hostnames import is_loopback

SCHEDULE_FILE = "ztp-schedule.json"
ASKED_AT_MOST_EVERY_S = 60.0
_REFRESH_TRIES = 4
_REFRESH_WAIT_S = 300.0  # a longer wait is spent with the old credentials
_KEEP_WAIT_EVERY_S = 600.0
_COUNTED = (Retry.SERVER, Retry.REFUSED)  # errors of a service that has received a call


class Provisioner:
    """Decides when the provisioning service is called, and keeps the calls few.

    ``dispatch`` receives every step; ``token`` is re-read for each call, so a corrected token
    file takes effect.
    """

    def __init__(
        self,
        config: Config,
        state_dir: Path,
        *,
        dispatch: Dispatch,
        read_identity: ReadIdentity,
        token: Callable[[], Secret],
        clock: Clock | None = None,
        schedule: Schedule | None = None,
        disk: DiskWriter | None = None,
        board_serial: Callable[[], str] = board.serial,
        hostname: Callable[[], str] = hostname.current,
        post: Post = http.post,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        self._token = token
        self._board = board_serial()
        self._hostname = hostname
        self._rng = rng or random.SystemRandom()
        self._schedule = schedule or Schedule(state_dir / SCHEDULE_FILE, disk=disk)
        self._post = post
        self._failures = log.FailureLog()
        self._backoff = retry.Backoff(retry.ZTP, self._rng)
        self._backoff.restore(self._schedule.steps)
        self._has_previous = True  # until the disk was read
        self._calling = asyncio.Lock()
        self.clock = clock or Clock()
        self.identification = Identification(
            read_identity, dispatch=dispatch, wait=self._wait, rng=self._rng
        )
        self.keeper = Keeper(CredentialStore(state_dir), self._failures, self._rng)

    async def stored(self) -> StoredCredentials | None:
        """The credentials of this gateway; None if it has to be provisioned.

        Raises :class:`StoreUnsafe` and the like. No provisioning call is made.
        """
        stored = await self.keeper.load()
        if stored is None:
            return None
        self.clock.note_past(stored.stored_unix_s)
        if stored.hardware_id and board.is_another(stored.board, self._board):
            return await self._rebind_to_board(stored)
        return stored

    async def _rebind_to_board(self, stored: StoredCredentials) -> StoredCredentials | None:
        """Take credentials that came with a card from another board, if the IMEI is the same."""
        log.emit(events.BOARD_CHANGED, stored=stored.board)
        identity = await self.identification.confirmed()
        if identity.hardware_id != stored.hardware_id:
            return None
        moved = replace(stored, board=self._board)
        await self.keeper.save(moved)
        return moved

    async def obtain(self) -> StoredCredentials:
        """Identify, call the service until it gives credentials, store them."""
        identity = await self.identification.until_known()
        self._failures.clear()
        return await self._call_until_done(identity)

    async def replace(self, refused: StoredCredentials) -> StoredCredentials | None:
        """Other credentials when ``refused`` were refused for long; None where there are none.

        New ones, if a call may be made; else the generation before: the two take turns. Raises a
        typed error; the stored ones stay stored then.
        """
        if self._schedule.may_refresh():
            return await self._call_in_earnest(await self.identification.of(refused))
        older = await self.keeper.previous(refused)
        self._has_previous = older is not None
        if older:
            log.emit(events.FELL_BACK, client_id=older.credentials.client_id)
            await self.keeper.save(older)
        return older

    def may_replace(self) -> bool:
        """Whether :meth:`replace` may return credentials."""
        return self._has_previous or self._schedule.may_refresh()

    async def _call_in_earnest(self, identity: Identity) -> StoredCredentials:
        """A call, repeated a few times where the service or the network fails for a moment."""
        for tries_left in reversed(range(_REFRESH_TRIES)):
            try:
                return await self._call(identity)
            except ZtpdError as error:
                wait_s = self._backoff.wait_s(error)
                self._keep_wait(error, wait_s)
                passing = error.retry in (Retry.LOCAL, Retry.SERVER) and not error.needs_person
                if not passing or not tries_left or wait_s > _REFRESH_WAIT_S:
                    raise
                self._wait(error, wait_s)
                await asyncio.sleep(wait_s)
                self._dispatch(Event.PROVISION)
        raise AssertionError("the last try returns or raises")

    async def renew(self, stored: StoredCredentials) -> StoredCredentials:
        """Return other credentials than ``stored`` once those are close to their end."""
        return await renewal.renew(stored, clock=self.clock, ask=self._call_if_due)

    async def _call_if_due(self, stored: StoredCredentials) -> StoredCredentials:
        """The answer of a call; ``stored`` if it fails, or the last one was today."""
        if not self._schedule.may_renew():
            return stored
        try:
            return await self._call(await self.identification.of(stored))
        except ZtpdError as error:
            self._failures.record(error)
            return stored

    async def once(self) -> StoredCredentials:
        """One try, for a person who waits for it. Raises a typed error, which counts as any."""
        identity = await self.identification.read()
        if self._schedule_applies(identity) and self._schedule.left_s(LONGEST_WAIT_S):
            self._backoff.take_back(Retry.REFUSED)  # as in retry_now
        try:
            return await self._call(identity)
        except ZtpdError as error:
            if error.retry in _COUNTED:
                self._keep_wait(error, self._backoff.wait_s(error))
            raise

    def request(self, identity: Identity) -> Request:
        """The request that a call would send; blocks for up to 4 s.

        Raises the error of the token or of a setting.
        """
        hostname = self._hostname()
        return Request.of(self._config.ztp, identity, self._token(), hostname=hostname)

    def rate_limit_reason(self) -> str:
        """Why the service is not called now, even if a person asks; "" if it may be."""
        since_s = self._schedule.since_call_s()
        left_s = ASKED_AT_MOST_EVERY_S - since_s
        return f"asked {since_s:.0f} s ago; again in {left_s:.0f} s" if left_s > 0 else ""

    def reconfigured(self, config: Config) -> None:
        """Go on with ``config``, from the next call on."""
        self._config = config

    def retry_now(self) -> None:
        """End the wait: a person asks for a try, which makes the next wait no longer."""
        if self._schedule.left_s(LONGEST_WAIT_S):
            self._backoff.take_back(Retry.REFUSED)
        self._guard(lambda: self._schedule.no_wait(self._backoff.dump()))

    async def idle(self) -> None:
        """Return when no call is under way: its answer would be lost, and the next one is late."""
        async with self._calling:
            return

    def stopping(self) -> None:
        self._guard(self._schedule.keep_wait)

    async def _call_until_done(self, identity: Identity) -> StoredCredentials:
        await self._wait_before_first(identity)

        async def attempt() -> StoredCredentials:
            self._dispatch(Event.PROVISION)
            if (answered := self.keeper.unsaved) is not None:  # only the store was missing
                await self.keeper.save(answered)
                return answered
            return await self._call(identity)

        def waiting(error: ZtpdError, wait_s: float) -> None:
            self._keep_wait(error, wait_s)
            self._wait(error, wait_s)

        stored = await retry.until_done(attempt, self._backoff, waiting=waiting)
        self._failures.clear()
        return stored

    async def _wait_before_first(self, identity: Identity) -> None:
        """Wait as the schedule says; else spread the first call, and keep to one a minute."""
        if self._schedule_applies(identity):
            why = "the wait after the last call is not over"
            wait_s = self._schedule.left_s(LONGEST_WAIT_S)
            error = ZtpdError.named(*self._schedule.reason)
        else:
            error = None
            wait_s, why = max(
                (self._splay_s(identity.hardware_id), "spreading the first calls"),
                (
                    ASKED_AT_MOST_EVERY_S - self._schedule.since_call_s(),
                    "the service is asked once a minute at most",
                ),
            )
        if wait_s > 0:
            self._wait(error, wait_s, why)
            while error is None and wait_s > _KEEP_WAIT_EVERY_S:  # the power may be cut meanwhile
                await asyncio.sleep(_KEEP_WAIT_EVERY_S)
                wait_s -= _KEEP_WAIT_EVERY_S
                self._guard(self._schedule.keep_wait)
            await asyncio.sleep(wait_s)

    def _splay_s(self, hardware_id: str) -> float:
        drawn_s = self._rng.uniform(0, self._config.ztp.splay_s)
        left_s = drawn_s
        with contextlib.suppress(OSError):  # the splay holds for this run at least
            left_s = self._schedule.splay_s(hardware_id, lambda: drawn_s)
        return min(left_s, self._config.ztp.splay_s)

    def _wait(self, error: ZtpdError | None, wait_s: float, why: str = "") -> None:
        if error:
            self._failures.record(error, retry_in_s=wait_s)
        self._dispatch(waiting_event(error), why, error=error, wait_s=wait_s)

    def _keep_wait(self, error: ZtpdError, wait_s: float) -> None:
        if error.retry in _COUNTED:
            steps, answered = self._backoff.dump(), error.retry is Retry.REFUSED
            why = {"error": error.code, "detail": error.detail}
            self._guard(lambda: self._schedule.wait(wait_s, steps, **why, answered=answered))

    def _schedule_applies(self, identity: Identity) -> bool:
        """Whether the schedule is about the next call; if not, its waits are dropped."""
        if not self._schedule.called_for(identity.hardware_id):
            self._schedule.forget_others(identity.hardware_id)
        elif self._schedule.request_changed(self._request_hash(identity)):
            self.retry_now()
        else:
            return True
        self._backoff.succeeded()
        return False

    def _request_hash(self, identity: Identity) -> str:
        """Fingerprint of the request; "" where there is no token, and so no call."""
        try:
            return request_hash(self._config.ztp, self._token(), identity.hardware_id)
        except ZtpdError:
            return ""

    async def _call(self, identity: Identity) -> StoredCredentials:
        """One call. Raises a typed error; nothing is stored unless the answer is complete."""
        async with self._calling:
            return await self._call_once(identity)

    async def _call_once(self, identity: Identity) -> StoredCredentials:
        settings, request = self._config.ztp, await offload(self.request, identity)
        if is_loopback(request.host):
            self.clock.check()  # a service on this machine has this machine's clock
        else:
            await self.clock.wait_usable()
        steps = self._backoff.dump()
        attempt = sum(steps.values()) + 1
        name = f' as "{request.shown_name}"' if request.shown_name else ""
        log.emit(
            events.ZTP_CALL_AGAIN if self._failures.is_failing else events.ZTP_CALL,
            host=request.host,
            name=name,
            service=settings.service,
            attempt=attempt,
        )
        crash_wait_s = retry.ZTP[Retry.SERVER].sample(attempt, self._rng)
        server = Retry.SERVER.value
        steps[server] = steps.get(server, 0) + 1  # a crash in the call counts as a failed one
        asked = identity.hardware_id, self._request_hash(identity)
        self._guard(lambda: self._schedule.calling(crash_wait_s, steps, *asked))
        await self._schedule.written()
        try:
            stored = await call(
                request,
                settings,
                board_serial=self._board,
                now=self.clock.now,
                post=self._post,
            )
        except ZtpdError as error:
            if error.retry not in _COUNTED or not error.delivered:
                self._guard(self._schedule.not_delivered)
            raise
        self._has_previous = True
        await self.keeper.save(stored)
        self._guard(self._schedule.succeeded)
        self._backoff.succeeded()
        if self.keeper.unsaved is None:
            log_provisioned(stored)
        return stored

    def _guard(self, write: Callable[[], None]) -> None:
        """Log a schedule that cannot be written: it fails no provisioning."""
        try:
            write()
        except OSError as error:
            self._failures.record(StoreError(f"{SCHEDULE_FILE}: {error.strerror}"))
