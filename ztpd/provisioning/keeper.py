"""The gateway's credentials: on the disk, and in memory alone while the disk fails."""

from __future__ import annotations

import asyncio
import random

from ztpd import events, log, retry
from ztpd.errors import (
    Retry,
    SealingFailed,
    StoreCorrupt,
    StoreError,
    StoreUnsafe,
    StoreUnsealable,
)
from ztpd.model import StoredCredentials
from ztpd.provisioning.board import is_another
from ztpd.provisioning.store import CredentialStore
from ztpd.system.offload import offload


def log_provisioned(stored: StoredCredentials) -> None:
    """Say that ``stored`` are on the disk."""
    log.emit(
        events.PROVISIONED,
        client_id=stored.credentials.client_id,
        transports=stored.credentials.transports,
    )


UNSEAL_WITHIN_S = 120.0
"""Credentials that could not be unsealed for so long count as lost: a TPM may be locked for days,
and a call gives others at once."""

_SAVE_AGAIN = {Retry.LOCAL: retry.Delay(60, 3600, floor_s=60)}


class Keeper:
    """``unsaved`` are the credentials that the disk does not have yet; None where it has them."""

    def __init__(
        self, store: CredentialStore, failures: log.FailureLog, rng: random.Random
    ) -> None:
        self._store = store
        self._failures = failures
        self._rng = rng
        self._sealing_failed_since_s: float | None = None
        self.unsaved: StoredCredentials | None = None

    def set_seal(self, seal: bool) -> None:
        """Whether the next files are sealed to this machine; :meth:`load` converts those there."""
        self._store.seal = seal

    async def load(self) -> StoredCredentials | None:
        """The current credentials; None where there are none, or only ones that are damaged or
        sealed to another machine.

        Raises :class:`SealingFailed` for two minutes, :class:`StoreUnsafe`, :class:`StoreVersion`
        and :class:`StoreError`.
        """
        if self.unsaved:
            return self.unsaved
        try:
            loaded = await offload(self._store.load)
        except (StoreCorrupt, StoreUnsealable) as error:
            self._failures.record(error)
            return None
        except SealingFailed as error:
            now_s = asyncio.get_running_loop().time()
            if self._sealing_failed_since_s is None:
                self._sealing_failed_since_s = now_s
            if now_s - self._sealing_failed_since_s < UNSEAL_WITHIN_S:
                raise
            self._failures.record(StoreUnsealable(str(error)))
            return None
        self._sealing_failed_since_s = None
        if loaded is None:
            return None
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
        """Write ``stored`` to the disk; keep it in memory where the disk fails.

        Raises :class:`StoreUnsafe`: a person must change the directory first.
        """
        try:
            await offload(self._store.save, stored)
            self.unsaved = None
            self._log_not_sealed()
        except StoreUnsafe:
            self.unsaved = stored
            raise
        except StoreError as error:
            self._failures.record(error)
            self.unsaved = stored

    def _log_not_sealed(self) -> None:
        if (error := self._store.not_sealed) is not None:
            log.emit(events.NOT_SEALED, reason=error.detail)

    def forget_unsaved(self) -> None:
        """Drop credentials that the disk does not have: a person has imported others."""
        self.unsaved = None

    async def retry_save(self) -> None:
        """Return when nothing is unsaved any more; tries again within an hour at most."""
        backoff = retry.Backoff(_SAVE_AGAIN, self._rng)
        while self.unsaved:
            await asyncio.sleep(backoff.wait_s(StoreError()))
            stored = self.unsaved
            try:
                await self.save(stored)
                if self.unsaved is None:
                    log_provisioned(stored)
            except StoreUnsafe as error:  # a wrong mode may be corrected later
                self._failures.record(error)
