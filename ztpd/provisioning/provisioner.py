"""From a gateway that knows nothing to stored credentials, and from refused ones to new ones."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from ztpd import events, log, retry
from ztpd.config import Config
from ztpd.errors import Retry, StoreCorrupt, StoreError, StoreUnsafe, ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event
from ztpd.model import Credentials, Identity, Imei, Secret, StoredCredentials, fingerprint
from ztpd.provisioning import board, http
from ztpd.provisioning.schedule import LONGEST_WAIT_S, Schedule
from ztpd.provisioning.store import CredentialStore, check_pair
from ztpd.system.clock import Clock
from ztpd.system.offload import offload
from ztpd.wire import x509, ztp
from ztpd.wire.hostnames import is_loopback

SCHEDULE_FILE = "ztp-schedule.json"
ASKED_AT_MOST_EVERY_S = 60.0
RENEW_BEFORE_S = 7 * 86_400.0
_WARN_BEFORE_DAYS = (30, 7, 1)
_COUNTED = (Retry.SERVER, Retry.REFUSED)  # errors of a service that has heard a call
_LOOK_AT_END_EVERY_S = 3600.0

ReadIdentity = Callable[[], Awaitable[Identity]]
Post = Callable[..., Awaitable[http.Reply]]


class Provisioner:
    """Owns the calls to the provisioning service and everything that keeps them few.

    ``report`` hears of every step; ``token`` is read anew for each call, so that a person's cure
    is noticed.
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
        board_serial: Callable[[], str] = board.serial,
        post: Post = http.post,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        self._read_identity = read_identity
        self._token = token
        self._board = board_serial()
        self._rng = rng or random.SystemRandom()
        self._store = CredentialStore(state_dir)
        self._schedule = schedule or Schedule(state_dir / SCHEDULE_FILE)
        self._post = post
        self._failures = log.FailureLog()
        self._backoff = retry.Backoff(retry.ZTP, self._rng)
        self._backoff.restore(self._schedule.steps)
        self._may_fall_back = True
        self._modem_compared = False
        self.clock = clock or Clock()
        self.unsaved: StoredCredentials | None = None

    async def stored(self) -> StoredCredentials | None:
        """What is on disk and belongs to this gateway; None if it has to be provisioned.

        Raises :class:`StoreUnsafe` and the like. No provisioning call is made.
        """
        if self.unsaved:
            return self.unsaved
        try:
            loaded = await offload(self._store.load)
        except StoreCorrupt as error:
            self._failures.record(error)
            return None
        if loaded is None:
            return None
        if loaded.previous:
            log.emit(events.PREVIOUS_CREDENTIALS, detail=loaded.note)
        stored = loaded.stored
        log.redaction.hide(stored.credentials.secrets())
        self.clock.floor_unix_s = max(self.clock.floor_unix_s, stored.stored_unix_s)
        if stored.hardware_id and board.is_another(stored.board, self._board):
            return await self._rebind_to_board(stored)
        return stored

    async def has_credentials(self) -> bool:
        """Whether there are credentials in the store, or still to be put there."""
        try:
            return self.unsaved is not None or await offload(self._store.load) is not None
        except StoreError:
            return True  # whether they can be used is told elsewhere

    async def _rebind_to_board(self, stored: StoredCredentials) -> StoredCredentials | None:
        """Credentials that came with a card from another board: ours only if the IMEI says so."""
        log.emit(events.BOARD_CHANGED, stored=stored.board)
        identity = await self._identify()
        while (again := await self._identify()).hardware_id != identity.hardware_id:
            identity = again
        if identity.hardware_id != stored.hardware_id:
            return None
        moved = StoredCredentials(
            stored.credentials,
            stored.hardware_id,
            self._board,
            stored.stored_unix_s,
            stored.expires_unix_s,
        )
        await self._save(moved)
        return moved

    async def obtain(self) -> StoredCredentials:
        """Identify, call the service until it gives credentials, store them."""
        identity = await self._identify()
        return await self._call_until_done(identity)

    async def replace(self, refused: StoredCredentials) -> StoredCredentials | None:
        """What to use when ``refused`` were refused for long; None where there is nothing else.

        New ones, if a day has passed since the last call; else the generation before, once. Raises
        a typed error; what was stored is stored still.
        """
        if not self._schedule.may_refresh():
            return await self._fall_back(refused)
        return await self._call(await self._identity_of(refused))

    def may_replace(self) -> bool:
        """Whether :meth:`replace` may have something."""
        return self._may_fall_back or self._schedule.may_refresh()

    async def _fall_back(self, refused: StoredCredentials) -> StoredCredentials | None:
        """The generation before becomes the current one, and the refused one the one before."""
        self._may_fall_back = False
        older = await offload(self._store.load_previous)
        if older is None or older.credentials.answer == refused.credentials.answer:
            return None
        if (older.hardware_id, older.board) != (refused.hardware_id, refused.board):
            return None  # a copied card brings those of another gateway along
        log.redaction.hide(older.credentials.secrets())
        log.emit(events.FELL_BACK, client_id=older.credentials.client_id)
        await self._save(older)
        return older

    async def _identity_of(self, stored: StoredCredentials) -> Identity:
        """Whom to ask for: it does not depend on a modem that may be away just now."""
        if not stored.hardware_id:
            return await self._read_identity()
        imei = _imei_or_none(stored.hardware_id)
        fixed = "" if imei else stored.hardware_id
        return Identity(imei, "the stored credentials", fixed=fixed)

    async def renew(self, stored: StoredCredentials) -> StoredCredentials:
        """Wait for the end of ``stored`` to come near, and for others that the service then gives.

        It is asked once a day from 7 days before the end on. Runs beside a session, which goes on
        until this returns; for ever, if the credentials have no end.
        """
        told: set[int] = set()
        while True:
            if self.clock.is_past:
                with contextlib.suppress(ZtpdError):
                    await self.clock.wait_usable()
            if stored.expires_unix_s is not None and not self.clock.is_past:
                left_s = stored.expires_unix_s - self.clock.now()
                self._note_end(left_s, told)
                if left_s < RENEW_BEFORE_S - _share_of_day_s(stored):
                    renewed = await self._call_if_due(stored)
                    if renewed.credentials.answer != stored.credentials.answer:
                        return renewed
            await asyncio.sleep(_LOOK_AT_END_EVERY_S)

    def _note_end(self, left_s: float, told: set[int]) -> None:
        due = {days for days in _WARN_BEFORE_DAYS if left_s < days * 86_400}
        if due - told:
            log.emit(events.CERTIFICATE_EXPIRING, days=max(0, int(left_s / 86_400)))
        told |= due

    async def _call_if_due(self, stored: StoredCredentials) -> StoredCredentials:
        """What a call gives; ``stored`` where it gives nothing, or the last one was today."""
        if not self._schedule.may_refresh():
            return stored
        try:
            return await self._call(await self._identity_of(stored))
        except ZtpdError as error:
            self._failures.record(error)
            return stored

    async def compare_modem(self, stored: StoredCredentials) -> None:
        """Ask the modem once in a run who it is, and tell if it is another one.

        A modem that does not answer is no news: the credentials work without it.
        """
        if self._modem_compared or not _imei_or_none(stored.hardware_id):
            return
        self._modem_compared = True
        with contextlib.suppress(ZtpdError):
            identity = await self._read_identity()
            if identity.hardware_id != stored.hardware_id:
                known = _imei_or_none(stored.hardware_id)
                log.emit(events.MODEM_CHANGED, imei=identity, stored=known)

    async def once(self) -> StoredCredentials:
        """One try, for a person who waits for it. Raises a typed error, which counts as any."""
        identity = await self._read_identity()
        self._schedule_applies(identity)
        try:
            return await self._call(identity)
        except ZtpdError as error:
            if error.retry in _COUNTED:
                self._keep_wait(error, self._backoff.wait_s(error))
            raise

    def request(self, identity: Identity) -> tuple[str, bytes, Secret]:
        """What a call sends: URL and body, and the token that is in it."""
        settings, token = self._config.ztp, self._token()
        log.redaction.hide([token])
        body = ztp.request_body(
            token=token,
            given_name=_given_name(settings.given_name, identity),
            tags=settings.tags,
            hardware_id=identity.hardware_id,
        )
        return settings.url.rstrip("/") + ztp.PATHS[settings.service], body, token

    def rate_limit_reason(self) -> str:
        """Why the service is not called now, even if a person asks; "" if it may be."""
        since_s = self._schedule.since_call_s()
        left_s = ASKED_AT_MOST_EVERY_S - since_s
        return f"asked {since_s:.0f} s ago; again in {left_s:.0f} s" if left_s > 0 else ""

    def reconfigured(self, config: Config) -> None:
        """Go on with ``config``, from the next call on."""
        self._config = config

    def retry_now(self) -> None:
        """A person wants a try now."""
        self._guard(self._schedule.no_wait)

    def stopping(self) -> None:
        self._guard(self._schedule.stopping)

    async def _identify(self) -> Identity:
        async def attempt() -> Identity:
            self._dispatch(Event.IDENTIFY)
            return await self._read_identity()

        backoff = retry.Backoff(retry.ZTP, self._rng)
        identity = await retry.until_done(attempt, backoff, waiting=self._wait_for_identity)
        self._failures.clear()
        note = f" ({identity.note})" if identity.note else ""
        log.emit(events.IDENTIFIED, imei=identity, source=identity.source, note=note)
        return identity

    def _wait_for_identity(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.record(error, retry_in_s=wait_s)
        self._dispatch(waiting_event(error), error=error, wait_s=wait_s)

    async def _call_until_done(self, identity: Identity) -> StoredCredentials:
        error: ZtpdError | None = None
        if self._schedule_applies(identity):
            why = "the wait after the last call is not over"
            wait_s = self._schedule.left_s(LONGEST_WAIT_S)
            error = ZtpdError.named(*self._schedule.reason)
        else:
            splay_s = self._rng.uniform(0, self._config.ztp.splay_s)
            patience_s = ASKED_AT_MOST_EVERY_S - self._schedule.since_call_s()
            wait_s, why = max(
                (splay_s, "spreading the fleet's first calls"),
                (patience_s, "the service is asked once a minute at most"),
            )
        if wait_s > 0:
            if error:
                self._failures.record(error, retry_in_s=wait_s)
            self._dispatch(waiting_event(error), why, error=error, wait_s=wait_s)
            await asyncio.sleep(wait_s)

        async def attempt() -> StoredCredentials:
            self._dispatch(Event.PROVISION)
            if (answered := self.unsaved) is not None:  # only the store was missing
                await self._save(answered)
                return answered
            return await self._call(identity)

        stored = await retry.until_done(attempt, self._backoff, waiting=self._wait_for_service)
        self._failures.clear()
        self._backoff.succeeded()
        return stored

    def _wait_for_service(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.record(error, retry_in_s=wait_s)
        self._keep_wait(error, wait_s)
        self._dispatch(waiting_event(error), error=error, wait_s=wait_s)

    def _keep_wait(self, error: ZtpdError, wait_s: float) -> None:
        if error.retry in _COUNTED:
            why = {"error": error.code, "detail": error.detail}
            self._guard(lambda: self._schedule.wait(wait_s, self._backoff.dump(), **why))

    def _schedule_applies(self, identity: Identity) -> bool:
        """Whether the schedule is about the next call; if not, its waits are forgotten."""
        if not self._schedule.called_for(identity.hardware_id):
            self._schedule.forget()
        elif self._schedule.request_changed(self._request_hash(identity)):
            self.retry_now()
        else:
            return True
        self._backoff.succeeded()
        return False

    def _request_hash(self, identity: Identity) -> str:
        """What a call would ask, as far as a person has a say in it; "" where there is no token,
        and so no call."""
        asked = self._config.ztp
        try:
            token = self._token()
        except ZtpdError:
            return ""
        names = "url", "service", "given_name", "tags", "allowed_hosts", "ca_file"
        settings = (getattr(asked, name) for name in names)
        return fingerprint(token, identity.hardware_id, *settings)

    async def _call(self, identity: Identity) -> StoredCredentials:
        """One call. Raises a typed error; nothing is stored unless the answer is complete."""
        settings = self._config.ztp
        url, body, token = self.request(identity)
        host = urlsplit(url).hostname or ""
        if is_loopback(host):
            self.clock.check()  # a service on this machine has this machine's clock
        else:
            await self.clock.wait_usable()
        attempt = self._attempts_made() + 1
        log.emit(events.ZTP_CALL, host=host, service=settings.service, attempt=attempt)
        crash_wait_s = retry.ZTP[Retry.SERVER].sample(attempt, self._rng)
        steps, server = self._backoff.dump(), Retry.SERVER.value
        steps[server] = steps.get(server, 0) + 1  # a crash in the call counts as a failed one
        asked = identity.hardware_id, self._request_hash(identity)
        self._guard(lambda: self._schedule.calling(crash_wait_s, steps, *asked))
        try:
            reply = await self._post(
                url, body, timeout_s=settings.timeout_s, ca_file=settings.ca_file
            )
        except ZtpdError as error:
            if error.retry not in _COUNTED:
                self._guard(self._schedule.not_delivered)
            raise
        if reply.status != 200:
            raise ztp.refusal(
                reply.status,
                reply.headers,
                reply.body,
                secrets=[token, Secret(identity.hardware_id)],
            )
        credentials = ztp.parse_answer(settings.service, reply.body)
        log.redaction.hide(credentials.secrets())
        ztp.check_hosts(credentials, allowed_hosts=settings.allowed_hosts, service_host=host)
        now_unix_s = int(self.clock.now())
        stored = await offload(
            bind_to_gateway, credentials, identity.hardware_id, self._board, now_unix_s
        )
        self._may_fall_back = True
        await self._save(stored)
        self._guard(self._schedule.succeeded)
        log.emit(
            events.PROVISIONED,
            client_id=credentials.client_id,
            transports=describe_transports(credentials),
        )
        return stored

    def _attempts_made(self) -> int:
        return sum(self._backoff.dump().values())

    async def _save(self, stored: StoredCredentials) -> None:
        """Keep ``stored``; a disk that fails costs the copy on disk, not the corrections."""
        try:
            await offload(self._store.save, stored)
            self.unsaved = None
        except StoreUnsafe:
            self.unsaved = stored
            raise
        except StoreError as error:
            self._failures.record(error)
            self.unsaved = stored

    async def retry_save(self) -> None:
        """Store what could not be stored, when the disk works again."""
        backoff = retry.Backoff({Retry.LOCAL: retry.Delay(60, 3600, floor_s=60)}, self._rng)
        while self.unsaved:
            await asyncio.sleep(backoff.wait_s(StoreError()))
            try:
                await self._save(self.unsaved)
            except StoreUnsafe as error:  # also a mode that a person has set is set right one day
                self._failures.record(error)

    def _guard(self, write: Callable[[], None]) -> None:
        """The schedule is worth a line when it cannot be written, not a failed provisioning."""
        try:
            write()
        except OSError as error:
            self._failures.record(StoreError(f"{SCHEDULE_FILE}: {error.strerror}"))


def bind_to_gateway(
    credentials: Credentials, hardware_id: str, board_serial: str, now_unix_s: int
) -> StoredCredentials:
    """``credentials`` with what they belong to. Raises :class:`ZtpKeyMismatch`."""
    expires_unix_s = None
    if credentials.mqtt:
        check_pair(credentials.mqtt.certificate, credentials.mqtt.private_key)
        expires_unix_s = x509.not_after(credentials.mqtt.certificate)
    return StoredCredentials(credentials, hardware_id, board_serial, now_unix_s, expires_unix_s)


def describe_transports(credentials: Credentials) -> str:
    """For a person: what the credentials open."""
    found = []
    if credentials.ntrip:
        found.append(f"NTRIP {credentials.ntrip.host}/{credentials.ntrip.mountpoint}")
    if credentials.mqtt:
        found.append(f"MQTT {credentials.mqtt.host}")
    if credentials.keys:
        found.append(f"{len(credentials.keys)} decryption keys")
    return ", ".join(found)


def _given_name(template: str, identity: Identity) -> str:
    return template.replace("{hostname}", socket.gethostname()).replace(
        "{imei}", identity.hardware_id
    )[: ztp.GIVEN_NAME_LIMIT]


def _share_of_day_s(stored: StoredCredentials) -> float:
    """Spreads a fleet whose certificates end at one time over a day.

    It is the same at every start: a gateway that runs for an hour a day gets its turn all the same.
    """
    return zlib.crc32(stored.credentials.client_id.encode()) / 2**32 * 86_400


def _imei_or_none(text: str) -> Imei | None:
    try:
        return Imei(text)
    except ZtpdError:
        return None
