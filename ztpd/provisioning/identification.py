"""The identity that a call is made for: read from the modem, or that of stored credentials."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Awaitable, Callable

from ztpd import events, log, retry
from ztpd.errors import ZtpdError
from ztpd.lifecycle import Dispatch, Event, waiting_event
from ztpd.model import Identity, Imei, StoredCredentials

ReadIdentity = Callable[[], Awaitable[Identity]]


class Identification:
    """``read`` reads the modem once, or raises; ``dispatch`` receives each try and each wait."""

    def __init__(
        self,
        read: ReadIdentity,
        *,
        dispatch: Dispatch,
        rng: random.Random,
    ) -> None:
        self.read = read
        self._dispatch = dispatch
        self._rng = rng
        self._failures = log.FailureLog()
        self._compared = False

    async def until_known(self) -> Identity:
        """The identity, read until the modem gives one."""
        self._failures.log_next()
        tried = False

        async def attempt() -> Identity:
            nonlocal tried
            self._dispatch(Event.IDENTIFY)
            with log.in_detail(tried):  # the first try has said what it waits for
                tried = True
                return await self.read()

        backoff = retry.Backoff(retry.ZTP, self._rng)
        identity = await retry.until_done(attempt, backoff, waiting=self._wait)
        note = f" ({identity.note})" if identity.note else ""
        log.emit(events.IDENTIFIED, imei=identity, source=identity.source, note=note)
        self._failures.clear()
        return identity

    def _wait(self, error: ZtpdError, wait_s: float) -> None:
        self._failures.record(error, retry_in_s=wait_s)
        self._dispatch(waiting_event(error), error=error, wait_s=wait_s)

    async def confirmed(self) -> Identity:
        """The identity that two readings in a row agree on."""
        identity = await self.until_known()
        while (again := await self.until_known()).hardware_id != identity.hardware_id:
            identity = again
        return identity

    async def of(self, stored: StoredCredentials) -> Identity:
        """The identity that ``stored`` were obtained for: the modem may be away just now."""
        if not stored.hardware_id:
            return await self.read()
        imei = _imei_or_none(stored.hardware_id)
        fixed = "" if imei else stored.hardware_id
        return Identity(imei, "the stored credentials", fixed=fixed)

    async def compare(self, stored: StoredCredentials) -> None:
        """Read the modem's identity once in a run, and log if it is not that of ``stored``.

        A modem that does not answer is ignored: the credentials work without it.
        """
        if self._compared or not (known := _imei_or_none(stored.hardware_id)):
            return
        self._compared = True
        with contextlib.suppress(ZtpdError):
            identity = await self.read()
            if identity.hardware_id != stored.hardware_id:
                log.emit(events.MODEM_CHANGED, imei=identity, stored=known)


def _imei_or_none(text: str) -> Imei | None:
    try:
        return Imei(text)
    except ZtpdError:
        return None
