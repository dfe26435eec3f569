"""From a gateway without credentials to stored ones, and from refused ones to others."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ztpd import events, log, retry
from ztpd.config import Config
from ztpd.errors import CredentialsLost, Retry, ZtpdError
from ztpd.lifecycle import Dispatch, Event
from ztpd.model import Identity, Secret, StoredCredentials
from ztpd.provisioning import board, post_process, renewal
from ztpd.provisioning.identification import Identification, ReadIdentity
from ztpd.provisioning.keeper import READING, STORING, Keeper, log_provisioned
from ztpd.provisioning.pacing import SCHEDULE_FILE, Pacing
from ztpd.provisioning.reply import Post
from ztpd.provisioning.schedule import Schedule
from ztpd.provisioning.store import CredentialStore
from ztpd.system import hostname
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter
from ztpd.system.offload import offload
from ztpd.system.sealing import Sealer
from ztpd.wire.hostnames import is_loopback

if TYPE_CHECKING:
    from ztpd.provisioning.call import Request

T = TypeVar("T")
_PROXY_VARIABLES = ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
_REFRESH_TRIES = 4
_REFRESH_WAIT_S = 300.0  # a longer wait is spent with the old credentials


class Provisioner:
    """Obtains, replaces and renews credentials with few calls to the provisioning service.

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
        post: Post = post_process.post,
        on_call: Callable[[ZtpdError | None], None] = lambda _: None,
        rng: random.Random | None = None,
        sealer: Sealer | None = None,
    ) -> None:
        """``on_call`` receives the error of each call that has ended, None for credentials."""
        self._config = config
        self._dispatch = dispatch
        self._token = token
        self._board = board_serial()
        self._hostname = hostname
        self._post = post
        self._on_call = on_call
        self._failures = log.FailureLog()
        self._has_previous = True  # until the disk was read
        self._calling = asyncio.Lock()
        self.clock = clock = clock or Clock()
        rng = rng or random.SystemRandom()
        schedule = schedule or Schedule(
            state_dir / SCHEDULE_FILE, instant=clock.instant, now=clock.now, disk=disk
        )
        self.pacing = Pacing(
            schedule,
            self._failures,
            dispatch=dispatch,
            rng=rng,
            synchronised=clock.is_synchronised,
        )
        self.identification = Identification(read_identity, dispatch=dispatch, rng=rng)
        store = CredentialStore(state_dir, seal=config.ztp.seal_credentials, sealer=sealer)
        self.keeper = Keeper(store, self._failures, rng)

    async def stored(self) -> StoredCredentials | None:
        """The credentials of this gateway; None if it has to be provisioned.

        Raises :class:`StoreUnsafe` and the like. No provisioning call is made.
        """
        stored = await self._on_disk(self.keeper.load(), READING)
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
        moved = stored._replace(board=self._board)
        await self.keeper.save(moved)
        return moved

    async def obtain(self) -> StoredCredentials:
        """Identify, call the service until it gives credentials, store them."""
        identity = await self.identification.until_known()
        self._failures.begin_anew()
        return await self._call_until_done(identity)

    async def replace(self, refused: StoredCredentials) -> StoredCredentials | None:
        """Other credentials when ``refused`` were refused for long; None where there are none.

        New ones, if a call may be made; else the generation before: the two take turns. Raises a
        typed error; the stored ones stay stored then.
        """
        if self.pacing.may_refresh():
            return await self._call_in_earnest(await self.identification.of(refused))
        older = await self.keeper.previous(refused)
        self._has_previous = older is not None
        if older:
            log.emit(events.FELL_BACK, client_id=older.credentials.client_id)
            await self.keeper.save(older)
        return older

    def may_replace(self) -> bool:
        """Whether :meth:`replace` may return credentials."""
        return self._has_previous or self.pacing.may_refresh()

    async def _call_in_earnest(self, identity: Identity) -> StoredCredentials:
        """A call, repeated a few times where the service or the network fails for a moment."""
        for tries_left in reversed(range(_REFRESH_TRIES)):
            try:
                return await self._call(identity)
            except ZtpdError as error:
                wait_s = self.pacing.wait_after(error)
                passing = error.retry in (Retry.LOCAL, Retry.SERVER) and not error.needs_person
                if not passing or not tries_left or wait_s > _REFRESH_WAIT_S:
                    raise
                self.pacing.begin_wait(error, wait_s)
                await asyncio.sleep(wait_s)
                self._dispatch(Event.PROVISION)
        raise AssertionError("the last try returns or raises")

    async def renew(self, stored: StoredCredentials) -> StoredCredentials:
        """Return other credentials than ``stored`` once those are close to their end."""
        return await renewal.renew(
            stored, clock=self.clock, look=self.pacing.look_at_clock, ask=self._call_if_due
        )

    async def _call_if_due(self, stored: StoredCredentials) -> StoredCredentials:
        """The answer of a call, on the disk or not; ``stored`` if it fails, or the last one was
        today."""
        if not self.pacing.may_renew():
            return stored
        try:
            return await self._call(await self.identification.of(stored), background=True)
        except ZtpdError as error:
            self._failures.record(error)
            return self.keeper.unsaved or stored

    async def once(self) -> StoredCredentials:
        """One try, for a person who waits for it. Raises a typed error, which counts as any."""
        identity = await self.identification.read()
        self.pacing.on_demand(identity.hardware_id, self._request_hash(identity))
        try:
            return await self._call(identity)
        except ZtpdError as error:
            self.pacing.demand_failed(error)
            raise

    def request(self, identity: Identity) -> Request:
        """The request that a call would send; blocks for up to 4 s.

        Raises the error of the token or of a setting.
        """
        from ztpd.provisioning.call import Request  # a provisioned gateway makes no call

        hostname = self._hostname()
        return Request.of(self._config.ztp, identity, self._token(), hostname=hostname)

    def reconfigured(self, config: Config) -> None:
        """Go on with ``config``, from the next call on."""
        self._config = config
        self.keeper.set_seal(config.ztp.seal_credentials)

    async def idle(self) -> None:
        """Return when no call is under way: its answer would be lost, and the next one is late."""
        async with self._calling:
            return

    async def _call_until_done(self, identity: Identity) -> StoredCredentials:
        await self.pacing.before_first(
            identity.hardware_id,
            self._request_hash(identity),
            splay_s=self._config.ztp.splay_s,
            without=self.keeper.unopened or CredentialsLost(),
        )

        async def attempt() -> StoredCredentials:
            self._dispatch(Event.PROVISION)
            if (answered := self.keeper.unsaved) is not None:  # only the store was missing
                await self.keeper.save(answered)
                self.pacing.call_succeeded()
                return answered
            return await self._call(identity)

        stored = await retry.until_done(
            attempt, self.pacing.backoff, waiting=self.pacing.on_backoff
        )
        self._failures.clear()
        return stored

    def _request_hash(self, identity: Identity) -> str:
        """Fingerprint of the request; "" where there is no token, and so no call."""
        from ztpd.provisioning.call import request_hash

        try:
            return request_hash(self._config.ztp, self._token(), identity.hardware_id)
        except ZtpdError:
            return ""

    async def _call(self, identity: Identity, *, background: bool = False) -> StoredCredentials:
        """One call. Raises a typed error; nothing is stored unless the answer is complete.

        ``background``: the daemon's state is that of another activity.
        """
        async with self._calling:
            return await self._call_once(identity, background)

    async def _call_once(self, identity: Identity, background: bool) -> StoredCredentials:
        from ztpd.provisioning.call import call, request_hash

        request = await offload(self.request, identity)
        settings = self._config.ztp  # with the request: a reload may change them meanwhile
        if is_loopback(request.host):
            self.clock.check()  # a service on this machine has this machine's clock
        else:
            await self.clock.wait_usable()
        again = self._failures.count > 0
        for variable in () if again else filter(os.environ.get, _PROXY_VARIABLES):
            log.emit(events.PROXY_IGNORED, variable=variable)
        name = f' as "{request.shown_name}"' if request.shown_name else ""
        log.emit(
            events.ZTP_CALL_AGAIN if again else events.ZTP_CALL,
            host=request.host,
            name=name,
            service=settings.service,
            attempt=self.pacing.attempt,
        )
        question = request_hash(settings, request.token, identity.hardware_id)
        noted = self.pacing.begin_call(identity.hardware_id, question)
        if background:
            await noted
        else:
            doing = "noting the call to the provisioning service"
            await self._on_disk(noted, doing, then=Event.PROVISION)
        try:
            stored = await call(
                request,
                settings,
                board_serial=self._board,
                now=self.clock.now,
                post=self._post,
            )
        except ZtpdError as error:
            self._on_call(error)
            self.pacing.call_failed(error)
            raise
        self._on_call(None)
        self._has_previous = True
        if not background:
            self._dispatch(Event.PROVISION, f"{STORING} in {self.keeper.directory}")
        await self.keeper.save(stored)
        self.pacing.call_succeeded()
        if self.keeper.unsaved is None:
            log_provisioned(stored)
        return stored

    async def _on_disk(self, work: Awaitable[T], doing: str, *, then: Event | None = None) -> T:
        """The result of ``work``; says so where the disk does not answer, and dispatches ``then``
        when it does again. The wait has no end: the next start has to know of this one."""
        said = False

        def stalled() -> None:
            nonlocal said
            said = True
            self._dispatch(Event.BACKOFF, error=self.keeper.stalled(doing))

        timer = asyncio.get_running_loop().call_later(self.keeper.patience_s, stalled)
        try:
            result = await work
        finally:
            timer.cancel()
        if said and then:
            self._dispatch(then)
        return result
