"""What the control socket is asked about the receiver, and the answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from ztpd import records
from ztpd.errors import ZtpdError
from ztpd.receiver import Receiver

_INSPECT_S = 8.0
_TIME_WITHIN_S = 5.0


def receiver_time(receiver: Receiver) -> dict[str, Any]:
    """UTC by the receiver, for ztpd-settime."""
    fix, age_s = receiver.fix, receiver.fix_age_s
    if fix is None or fix.utc is None or age_s is None or age_s > _TIME_WITHIN_S:
        return {"ok": False, "error": "the receiver has no fully resolved time"}
    return {"ok": True, "utc": (fix.utc + timedelta(seconds=age_s)).isoformat()}


async def inspect(receiver: Receiver) -> dict[str, Any]:
    """How the receiver is set, read from it now."""
    try:
        async with asyncio.timeout(_INSPECT_S):
            found = await receiver.inspect()
    except ZtpdError as error:
        return {"ok": False, "error": str(error), "advice": error.advice}
    except TimeoutError:
        return {"ok": False, "error": f"the receiver did not answer in {_INSPECT_S:g} s"}
    return {"ok": True, "receiver": records.to_json(found)}
