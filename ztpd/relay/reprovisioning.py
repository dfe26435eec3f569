"""Whether the failures of the channels mean that other credentials are due."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

from ztpd.relay import withdrawal
from ztpd.relay.channels import STABLE_S, Channel
from ztpd.relay.state_files import RefusalRecord
from ztpd.system.clock import Clock
from ztpd.system.disk import DiskWriter

REFRESH_AFTER_S = 3600.0


class CredentialsDoubt:
    """Judges the channels of the credentials; a backup has its own account and does not count.

    Times are the loop's, in seconds.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        record: Path | None,
        *,
        clock: Clock,
        disk: DiskWriter | None,
        rng: random.Random,
    ) -> None:
        """``record`` is a file that must survive a reboot."""
        self._channels = [channel for channel in channels if not channel.endpoint.backup]
        self._record = RefusalRecord(record, self._channels, clock, disk)
        self._withdrawn_after_s = rng.uniform(*withdrawal.REPROVISION_AFTER_S)
        self._no_corrections_since_s = 0.0
        self._refused_since_s: float | None = None

    async def load(self, now: float) -> None:
        await self._record.load()
        self._no_corrections_since_s = now

    def corrections(self, channel: Channel, now: float) -> None:
        """Corrections came from ``channel``."""
        if not channel.endpoint.backup:
            self._no_corrections_since_s, self._refused_since_s = now, None
            self._record.clear()

    def should_reprovision(self, now: float) -> bool:
        """One channel has refused the credentials for an hour, without corrections, or only
        withdrawn MQTT is left. An outage before the first refusal does not count."""
        idle_s = now - self._no_corrections_since_s
        if not self._channels or idle_s < STABLE_S:
            return False  # a channel delivers, so the credentials are good
        if any(channel.refuses for channel in self._channels):
            if self._refused_since_s is None:
                self._refused_since_s = now
            refused_s = max(now - self._refused_since_s, self._record.note())
            return refused_s >= REFRESH_AFTER_S
        return idle_s >= self._withdrawn_after_s and all(
            withdrawal.may_have_ended(channel.endpoint, channel.error) for channel in self._channels
        )
