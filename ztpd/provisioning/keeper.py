"""The gateway's credentials: on the disk, and in memory alone while the disk fails."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from ztpd import events, log, retry
from ztpd.errors import (
    Retry,
    SealingFailed,
    StoreCorrupt,
    StoreError,
    StoreStalled,
    StoreUnsafe,
    StoreUnsealable,
)
from ztpd.model import StoredCredentials
from ztpd.provisioning.board import is_another
from ztpd.provisioning.store import CredentialStore, Loaded
from ztpd.system.looptime import loop_time
from ztpd.system.offload import offload
from ztpd.system.sealing import SOCKET, CredentialsService

STALLED_AFTER_S = 10.0
"""So long the disk may take before that is said. Cheap cards take some seconds for an fsync."""

_SEALING_S = 40.0  # in addition: a TPM takes seconds, and is asked twice


def log_provisioned(stored: StoredCredentials) -> None:
    """Say that ``stored`` are on the disk."""
    log.emit(
        events.PROVISIONED,
        client_id=stored.credentials.client_id,
        transports=stored.credentials.transports,
    )


OPEN_WITHIN_S = 120.0
"""Credentials that could not be unsealed, or read, for so long count as lost: a TPM may be locked
for days, and a call gives others at once."""

STORING, READING = "storing the credentials", "reading the credentials"
_READ_WITHIN_S = 10.0  # for a person who waits
_LOST = "The credentials are lost with this stop; ztpd asks for others after the next start."


def _seen(write: asyncio.Task[None]) -> None:
    """The failure of a write for which nobody waits any more is no news: it is tried again."""
    if not write.cancelled():
        write.exception()


_SAVE_AGAIN = {Retry.LOCAL: retry.Delay(60, 3600, floor_s=60)}


async def load_soon(
    directory: Path, *, within_s: float = _READ_WITHIN_S, service: Path = SOCKET
) -> Loaded | None:
    """As :meth:`CredentialStore.load`, for a person who waits ``within_s`` for the disk and for
    systemd's ``service``, of which the larger part for the service.

    Raises :class:`StoreStalled` too.
    """
    sealer = CredentialsService(service, within_s=0.8 * within_s)  # it is named if it hangs
    try:
        return await offload(CredentialStore(directory, sealer=sealer).load, timeout_s=within_s)
    except TimeoutError:
        raise StoreStalled(f"{directory}, {READING}") from None


class Keeper:
    """``unsaved`` are the credentials that the disk does not have yet; None where it has them.

    ``unopened`` says why those on the disk cannot be opened: systemd has not unsealed them, or
    the disk not read them, for two minutes, and may do so later. None where there are none, or
    others were obtained.
    """

    def __init__(
        self, store: CredentialStore, failures: log.FailureLog, rng: random.Random
    ) -> None:
        self._store = store
        self._failures = failures
        self._rng = rng
        self._unopened_since_s: float | None = None
        self._may_convert = True
        self._writing: asyncio.Task[None] | None = None  # the newest
        self.unsaved: StoredCredentials | None = None
        self.unopened: StoreError | None = None

    def set_seal(self, seal: bool) -> None:
        """Whether the next files are sealed to this machine; :meth:`load` converts those there."""
        self._store.seal = seal
        self._may_convert = True

    @property
    def directory(self) -> Path:
        """Where the credentials are stored."""
        return self._store.directory

    @property
    def patience_s(self) -> float:
        """So long the disk may take."""
        return STALLED_AFTER_S + _SEALING_S * self._store.seal

    def stalled(self, doing: str) -> StoreStalled:
        """The disk has not answered for :attr:`patience_s`, at ``doing``; logs it."""
        error = StoreStalled(f"{self.directory}, {doing}")
        self._failures.record(error)
        return error

    async def load(self) -> StoredCredentials | None:
        """The current credentials; None where there are none, or only ones that are damaged or
        sealed to another machine.

        Raises :class:`SealingFailed` for two minutes, :class:`StoreUnsafe`, :class:`StoreVersion`
        and :class:`StoreError`, for two minutes where the disk cannot read the file.
        """
        if self.unsaved:
            return self.unsaved
        try:
            loaded = await offload(self._store.load)
        except (StoreCorrupt, StoreUnsealable) as error:
            self._unopened_since_s = self.unopened = None
            self._failures.record(error)
            return None
        except StoreError as error:
            unreadable = isinstance(error.__cause__, StoreCorrupt)
            if not (unreadable or isinstance(error, SealingFailed)):
                raise
            now_s = loop_time()
            if self._unopened_since_s is None:
                self._unopened_since_s = now_s
            if now_s - self._unopened_since_s < OPEN_WITHIN_S:
                raise
            self._failures.record(error)
            self.unopened = error
            return None
        self._unopened_since_s = self.unopened = None
        if loaded is None:
            return None
        if self._may_convert:
            self._may_convert = False  # once: where systemd does not answer it takes long
            try:
                await offload(self._store.convert)
                self._log_not_sealed()
            except StoreError as error:  # they can be used as they are
                self._failures.record(error)
        if loaded.previous:
            log.emit(events.PREVIOUS_CREDENTIALS, detail=loaded.note)
        log.redaction.hide(loaded.stored.credentials.secrets())
        return loaded.stored

    async def has_credentials(self) -> bool:
        """Whether there are credentials, on the disk or in memory. True where the disk fails:
        :meth:`load` raises that failure."""
        try:
            return self.unsaved is not None or await offload(self._store.load) is not None
        except StoreUnsealable:
            return False
        except StoreError:
            return True

    async def previous(self, current: StoredCredentials) -> StoredCredentials | None:
        """The generation before ``current``; None where there is none for the same gateway.

        A copied card brings the generation of another gateway along.
        """
        older = await offload(self._store.load_previous)
        if older is None or older.credentials.answer == current.credentials.answer:
            return None
        if older.hardware_id != current.hardware_id or is_another(older.board, current.board):
            return None
        log.redaction.hide(older.credentials.secrets())
        return older

    async def save(self, stored: StoredCredentials) -> None:
        """Write ``stored`` to the disk; keep it in memory where the disk fails, or does not answer
        in :attr:`patience_s`. The write then goes on.

        Raises :class:`StoreUnsafe`: a person must change the directory first.
        """
        self.unsaved = stored
        self._unopened_since_s = self.unopened = None
        self._writing = asyncio.create_task(self._write(stored))
        self._writing.add_done_callback(_seen)
        if not await self._written_in(self.patience_s):
            self.stalled(STORING)

    async def written(self) -> None:
        """Return when no write is under way any more, however long the disk takes."""
        await self._written_in(None)

    async def save_at_end(self) -> None:
        """Try once more to store what is unsaved, before the process ends."""
        stored = self.unsaved
        if stored is None:
            return
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write(stored))
        try:
            await self._writing
        except StoreError as error:
            self._failures.log_next()
            self._failures.record(type(error)(error.detail, advice=_LOST))
        else:
            log_provisioned(stored)

    async def _written_in(self, timeout_s: float | None) -> bool:
        """Whether the newest write has ended within ``timeout_s``; logs its failure.

        Raises :class:`StoreUnsafe`.
        """
        if self._writing is None:
            return True
        done, _ = await asyncio.wait((self._writing,), timeout=timeout_s)
        if not done:
            return False
        try:
            self._writing.result()
        except StoreUnsafe:
            raise
        except StoreError as error:
            self._failures.record(error)
        return True

    async def _write(self, stored: StoredCredentials) -> None:
        await offload(self._store.save, stored)
        self._log_not_sealed()
        if self.unsaved is stored:
            self.unsaved = None

    def _log_not_sealed(self) -> None:
        if (error := self._store.not_sealed) is not None:
            log.emit(events.NOT_SEALED, reason=error.detail)

    def forget_unsaved(self) -> None:
        """Drop credentials that the disk does not have: a person has imported others, or deleted
        all."""
        self.unsaved = None

    async def retry_save(self) -> None:
        """Return when nothing is unsaved any more; tries again within an hour at most."""
        backoff = retry.Backoff(_SAVE_AGAIN, self._rng)
        while stored := self.unsaved:
            try:
                if self._writing and not self._writing.done():
                    await self.written()
                else:
                    await asyncio.sleep(backoff.wait_s(StoreError()))
                    if self.unsaved is not stored:
                        continue  # newer ones have come meanwhile
                    await self.save(stored)
                if self.unsaved is None:
                    log_provisioned(stored)
            except StoreUnsafe as error:  # a wrong mode may be corrected later
                self._failures.record(error)
