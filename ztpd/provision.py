"""From a gateway that knows nothing to stored credentials, and from refused ones to new ones."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from urllib.parse import urlsplit

from ztpd import events, log, retry
from ztpd.config import Config
from ztpd.errors import Retry, StoreCorrupt, StoreError, StoreUnsafe, ZtpdError
from ztpd.lifecycle import Event, Report
from ztpd.link import board
from ztpd.link.clock import Clock
from ztpd.link.offload import offload
from ztpd.link.schedule import Schedule
from ztpd.link.store import CredentialStore, check_pair
from ztpd.model import Credentials, Identity, Imei, Secret, StoredCredentials
from ztpd.wire import x509, ztp

SCHEDULE_FILE = "ztp-schedule.json"

ReadIdentity = Callable[[], Awaitable[Identity]]


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
        report: Report,
        read_identity: ReadIdentity,
        clock: Clock | None = None,
        token: Callable[[], Secret],
        board_serial: Callable[[], str] = board.serial,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._report = report
        self._read_identity = read_identity
        self._token = token
        self._board = board_serial()
        self._rng = rng or random.SystemRandom()
        self._store = CredentialStore(state_dir)
        self._schedule = Schedule(state_dir / SCHEDULE_FILE)
        self._failures = log.Failures()
        self._backoff = retry.Backoff(retry.ZTP, self._rng)
        self._backoff.restore(self._schedule.steps)
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
            self._failures.tell(error)
            return None
        if loaded is None:
            return None
        if loaded.previous:
            log.emit(events.PREVIOUS_CREDENTIALS, detail=loaded.note)
        stored = loaded.stored
        log.redaction.hide(stored.credentials.secrets())
        self.clock.floor_unix_s = max(self.clock.floor_unix_s, stored.stored_unix_s)
        if self._board == stored.board or not stored.hardware_id or not stored.board:
            return stored
        return await self._adopt(stored)

    async def _adopt(self, stored: StoredCredentials) -> StoredCredentials | None:
        """Credentials that came with a card from another board: ours only if the IMEI says so."""
        log.emit(events.BOARD_CHANGED, stored=stored.board)
        identity = await self._identify()
        if (await self._identify()).hardware_id != identity.hardware_id:
            identity = await self._identify()
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

    async def refresh(self, stored: StoredCredentials | None) -> StoredCredentials:
        """One call for new credentials, for a gateway whose own were refused or end soon.

        Raises a typed error; the old credentials stay until the new ones are stored.
        """
        if stored and stored.hardware_id:
            imei = _imei_or_none(stored.hardware_id)
            fixed = "" if imei else stored.hardware_id
            identity = Identity(imei, "the stored credentials", fixed=fixed)
        else:
            identity = await self._identify()
        self._report(Event.PROVISION)
        return await self._call(identity)

    async def once(self) -> StoredCredentials:
        """One try, for a person who waits for it. Raises a typed error."""
        return await self._call(await self._read_identity())

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

    def may_refresh(self) -> bool:
        """Whether a day has passed since the last call."""
        return self._schedule.may_refresh()

    def since_call_s(self) -> float:
        """Seconds since the last call began; infinite if there was none."""
        return self._schedule.since_call_s()

    def hurry(self) -> None:
        """A person wants a try now."""
        self._guard(self._schedule.no_wait)

    def stopping(self) -> None:
        self._guard(self._schedule.stopping)

    async def _identify(self) -> Identity:
        async def attempt() -> Identity:
            self._report(Event.IDENTIFY)
            return await self._read_identity()

        backoff = retry.Backoff(retry.ZTP, self._rng)
        identity = await retry.until_done(attempt, backoff, waiting=self._wait_for_identity)
        self._failures.over()
        note = f" ({identity.note})" if identity.note else ""
        log.emit(events.IDENTIFIED, imei=identity, source=identity.source, note=note)
        return identity

    def _wait_for_identity(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.tell(error, retry_in_s=wait_s)
        self._report(Event.POSTPONED, error=error, wait_s=wait_s)

    async def _call_until_done(self, identity: Identity) -> StoredCredentials:
        wait_s = self._schedule.left_s(retry.RETRY_AFTER_CAP_S)
        if not self._schedule.called_before:
            wait_s = self._rng.uniform(0, self._config.ztp.splay_s)
        if wait_s > 0:
            why = (
                "spreading the fleet's first calls"
                if not self._schedule.called_before
                else ("the wait after the last try is not over")
            )
            self._report(Event.POSTPONED, why, wait_s=wait_s)
            await asyncio.sleep(wait_s)

        async def attempt() -> StoredCredentials:
            self._report(Event.PROVISION)
            return await self._call(identity)

        stored = await retry.until_done(attempt, self._backoff, waiting=self._wait_for_service)
        self._failures.over()
        self._backoff.succeeded()
        self._guard(self._schedule.succeeded)
        return stored

    def _wait_for_service(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.tell(error, retry_in_s=wait_s)
        if error.retry is not Retry.LOCAL:
            self._guard(lambda: self._schedule.wait(wait_s, self._backoff.dump()))
        event = Event.HALTED if error.needs_person else Event.POSTPONED
        self._report(event, error=error, wait_s=wait_s)

    async def _call(self, identity: Identity) -> StoredCredentials:
        """One call. Raises a typed error; nothing is stored unless the answer is complete."""
        settings = self._config.ztp
        url, body, token = self.request(identity)
        host = urlsplit(url).hostname or ""
        if _is_loopback(host):
            self.clock.check()  # a service on this machine has this machine's clock
        else:
            await self.clock.settle()
        attempt = self._attempts_made() + 1
        log.emit(events.ZTP_CALL, host=host, service=settings.service, attempt=attempt)
        crash_wait_s = retry.ZTP[Retry.SERVER].draw(attempt, self._rng)
        self._guard(lambda: self._schedule.calling(crash_wait_s, self._backoff.dump()))

        from ztpd.link import http  # aiohttp costs 10 MiB that a provisioned gateway never pays

        reply = await http.post(url, body, timeout_s=settings.timeout_s, ca_file=settings.ca_file)
        if reply.status != 200:
            raise ztp.refusal(reply.status, reply.headers, reply.body, secrets=[token])
        credentials = ztp.parse_answer(settings.service, reply.body)
        log.redaction.hide(credentials.secrets())
        ztp.check_hosts(credentials, allowed_hosts=settings.allowed_hosts, service_host=host)
        stored = await offload(self._bind, credentials, identity)
        await self._save(stored)
        log.emit(
            events.PROVISIONED,
            client_id=credentials.client_id,
            transports=transports(credentials),
        )
        return stored

    def _attempts_made(self) -> int:
        return sum(self._backoff.dump().values())

    def _bind(self, credentials: Credentials, identity: Identity) -> StoredCredentials:
        return bind(credentials, identity.hardware_id, self._board, int(self.clock.now()))

    async def _save(self, stored: StoredCredentials) -> None:
        """Keep ``stored``; a disk that fails costs the copy on disk, not the corrections."""
        try:
            await offload(self._store.save, stored)
            self.unsaved = None
        except StoreUnsafe:
            raise
        except StoreError as error:
            self._failures.tell(error)
            self.unsaved = stored

    async def keep_saving(self) -> None:
        """Store what could not be stored, when the disk works again."""
        backoff = retry.Backoff({Retry.LOCAL: retry.Wait(60, 3600, floor_s=60)}, self._rng)
        while self.unsaved:
            await asyncio.sleep(backoff.wait_s(StoreError()))
            await self._save(self.unsaved)

    def _guard(self, write: Callable[[], None]) -> None:
        """The schedule is worth a line when it cannot be written, not a failed provisioning."""
        try:
            write()
        except OSError as error:
            self._failures.tell(StoreError(f"{SCHEDULE_FILE}: {error.strerror}"))


def bind(
    credentials: Credentials, hardware_id: str, board_serial: str, now_unix_s: int
) -> StoredCredentials:
    """``credentials`` with what they belong to. Raises :class:`ZtpKeyMismatch`."""
    expires_unix_s = None
    if credentials.mqtt:
        check_pair(credentials.mqtt.certificate, credentials.mqtt.private_key)
        expires_unix_s = x509.not_after(credentials.mqtt.certificate)
    return StoredCredentials(credentials, hardware_id, board_serial, now_unix_s, expires_unix_s)


def transports(credentials: Credentials) -> str:
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


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith("127.") or host == "::1"


def _imei_or_none(text: str) -> Imei | None:
    try:
        return Imei(text)
    except ZtpdError:
        return None
