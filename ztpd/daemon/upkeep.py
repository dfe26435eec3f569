"""Upkeep of credentials beside a session."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path

from ztpd.model import StoredCredentials
from ztpd.provisioning.provisioner import Provisioner

_START_UP_S = 60.0
_LONGEST_START_UP_S = 600.0


async def upkeep(
    stored: StoredCredentials,
    provisioner: Provisioner,
    *,
    first_corrections: asyncio.Event,
) -> StoredCredentials:
    """Compare the modem, wait until ``stored`` are close to their end, and renew them.

    The modem is asked when start-up is over and its port is free: after the first corrections by
    ``stored``, or ten minutes, as their service may be out while a backup brings corrections.
    """
    with suppress(TimeoutError):
        async with asyncio.timeout(_LONGEST_START_UP_S):
            await first_corrections.wait()
    await asyncio.sleep(_START_UP_S)
    await provisioner.identification.compare(stored)
    return await provisioner.renew(stored)


def remove_token(runtime_dir: Path) -> None:
    """Ask root's ztpd-forget-token.path to remove the token's file, which ztpd may not."""
    with suppress(OSError):
        (runtime_dir / "forget-token").touch(mode=0o600)
