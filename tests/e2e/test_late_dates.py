"""The whole daemon at dates on which clocks and counters of 32 bits, dates with two digits for the
year, and the calendar itself have traps; it runs from half a minute before each one."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.chaos import Site
from tests.support.clocks import Clocks
from tests.support.virtualtime import run
from ztpd import events
from ztpd.model import utc
from ztpd.provisioning.store import CredentialStore
from ztpd.receiver.keys import starts

TRAPS = {
    "signed 32 bits end": datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    # 2048 weeks after the epoch that counts today; satellites send ten bits
    "the GPS week counts from zero": datetime(2038, 11, 20, 23, 59, 42, tzinfo=UTC),
    "2039": datetime(2039, 1, 1, tzinfo=UTC),
    "UTCTime ends": datetime(2050, 1, 1, tzinfo=UTC),
    "no leap day in 2100": datetime(2100, 3, 1, tzinfo=UTC),
    "unsigned 32 bits end": datetime(2106, 2, 7, 6, 28, 16, tzinfo=UTC),
}
BEFORE = timedelta(seconds=30)


@pytest.mark.parametrize("protocol", ["mqtt", "ntrip"])
@pytest.mark.parametrize("trap", TRAPS)
def test_a_gateway_is_provisioned_and_streams_across_late_dates(
    tmp_path: Path, trap: str, protocol: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "ztpd")
    run(_across(tmp_path, TRAPS[trap], protocol))
    told = {getattr(record, "ZTPD_EVENT", "") for record in caplog.records}
    assert events.PROVISIONED.name in told
    assert events.TASK_DIED.name not in told


async def _across(top: Path, trap: datetime, protocol: str) -> None:
    clocks = Clocks((trap - BEFORE).timestamp())
    async with AsyncExitStack() as stack:
        site = Site(top, protocol, random.Random(1), clocks)
        await site.build(stack)
        stack.push_async_callback(site.close)
        gateway = site.gateway
        await site.start()
        assert await site.well(60) < BEFORE.total_seconds(), "before the trap"
        provisioned = utc(clocks.true_unix_s())

        await asyncio.sleep(60)
        assert site.is_well
        assert datetime.fromisoformat(gateway.status["at"]) > trap
        assert gateway.status["receiver"]["correction_age_s"] < 60
        await site.restart()
        await site.well(60)
        await site.reboot()
        await site.well(60)
        assert site.service.requests == 1, "neither a restart nor a boot makes a call"

        loaded = CredentialStore(gateway.state_dir).load()
        assert loaded is not None
        assert trap - BEFORE <= utc(loaded.stored.stored_unix_s) <= provisioned
        assert gateway.status["credentials"]["age_s"] >= 60
        assert gateway.status["traffic"]["month_session_s"] >= 30, "of this month"
        if protocol == "mqtt":
            assert (loaded.stored.expires_unix_s or 0) > clocks.true_unix_s()
            current, following = site.receiver.keys
            assert starts(current) <= utc(clocks.true_unix_s()) < starts(following)
