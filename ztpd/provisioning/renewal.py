"""When credentials with an end are renewed, and when a person hears of that end."""

from __future__ import annotations

import asyncio
import contextlib
import zlib
from collections.abc import Awaitable, Callable

from ztpd import events, log
from ztpd.errors import ZtpdError
from ztpd.model import StoredCredentials
from ztpd.system.clock import Clock

_RENEW_BEFORE_S = 7 * 86_400.0
_WARN_BEFORE_DAYS = (30, 7, 1)
_CHECK_EVERY_S = 3600.0


async def renew(
    stored: StoredCredentials,
    *,
    clock: Clock,
    look: Callable[[], Awaitable[None]],
    ask: Callable[[StoredCredentials], Awaitable[StoredCredentials]],
) -> StoredCredentials:
    """Return other credentials than ``stored`` once those are close to their end.

    ``look`` is awaited once an hour; ``ask`` too from 7 days before the end on, and decides whether
    a call is due. Credentials without an end are never renewed: this then does not return.
    """
    noted: set[int] = set()
    while True:
        if clock.is_past:
            with contextlib.suppress(ZtpdError):
                await clock.wait_usable()
        await look()
        if stored.expires_unix_s is not None and not clock.is_past:
            left_s = stored.expires_unix_s - clock.now()
            noted = _note_end(left_s, noted)
            if left_s < _RENEW_BEFORE_S - share_of_day_s(stored):
                renewed = await ask(stored)
                if renewed.credentials.answer != stored.credentials.answer:
                    return renewed
        await asyncio.sleep(_CHECK_EVERY_S)


def share_of_day_s(stored: StoredCredentials) -> float:
    """Spreads a fleet whose certificates end at one time over a day.

    The same at every start: a gateway that runs for an hour a day is renewed in time, too.
    """
    return zlib.crc32(stored.credentials.client_id.encode()) / 2**32 * 86_400


def _note_end(left_s: float, noted: set[int]) -> set[int]:
    """Warn of an end that has come closer than :data:`noted`; the days to note, fewer again where
    the clock was ahead."""
    due = {days for days in _WARN_BEFORE_DAYS if left_s < days * 86_400}
    if due - noted:
        log.emit(events.CERTIFICATE_EXPIRING, days=max(0, int(left_s / 86_400)))
    return due
