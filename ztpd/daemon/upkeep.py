"""Upkeep of credentials beside a session, after its first corrections."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from ztpd.model import StoredCredentials
from ztpd.provisioning.provisioner import Provisioner

_START_UP_S = 60.0


async def upkeep(
    stored: StoredCredentials,
    provisioner: Provisioner,
    *,
    first_corrections: asyncio.Event,
    forget_token: Callable[[], None],
) -> StoredCredentials:
    """Compare the modem, wait until ``stored`` are close to their end, and renew them.

    The token is kept until corrections have come: if the credentials are refused, the call for
    other ones needs it. The modem is asked when start-up is over and its port is free.
    """
    await first_corrections.wait()
    forget_token()
    await asyncio.sleep(_START_UP_S)
    await provisioner.identification.compare(stored)
    return await provisioner.renew(stored)


def remove_token(runtime_dir: Path) -> None:
    """Ask root's ztpd-forget-token.path to remove the token's file, which ztpd may not."""
    with suppress(OSError):
        (runtime_dir / "forget-token").touch(mode=0o600)
