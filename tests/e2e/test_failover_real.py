"""Fail-over among real parts: two casters of RTKLIB and mosquitto, in real time."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.receiver_bench import log_lines, rtcm
from tests.support.rtklib import needs_str2str, rtklib_caster
from tests.support.until import until
from ztpd import status
from ztpd.sim.broker import Broker, find_mosquitto

FOREIGN, OURS = 77, 5  # reference stations
TOPIC = "base/rtcm"


def epoch(station: int) -> bytes:
    return rtcm(station).data + rtcm(station, 1005).data


async def publish(broker: Broker) -> None:
    while True:
        await broker.publish(TOPIC, epoch(OURS))
        await asyncio.sleep(1)


@needs_str2str
@pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")
@pytest.mark.slow
async def test_the_receivers_use_moves_from_rtklib_to_mosquitto_and_an_end_to_the_other_rtklib(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    password = tmp_path / "password"
    password.write_text("secret")
    account = {
        "host": "127.0.0.1",
        "mountpoint": "BASE",
        "username": "user",
        "password_file": password,
        "tls": False,
    }

    def in_use() -> str:
        seen = status.read(gateway.runtime_dir)
        return next((each.name for each in seen.channels if each.state == "in use"), "")

    def fixed() -> bool:
        view = status.read(gateway.runtime_dir).receiver
        return (view.use, view.fix) == ("used", "RTK fixed")

    async with (
        rtklib_caster([epoch(FOREIGN)], every_s=1) as first,
        rtklib_caster([epoch(OURS)], every_s=1) as second,
        Broker(engine="mosquitto") as broker,
        gateway.receiver() as sim,
    ):
        publishing = asyncio.create_task(publish(broker))
        sim.faults.ignored_stations = {FOREIGN}
        gateway.configure(
            ntrip=account | {"port": first},
            mqtt={"host": broker.host, "port": broker.port, "topics": [TOPIC], "tls": False},
            backup=[account | {"port": second, "name": "second base"}],
        )
        with log_lines() as log:
            async with gateway.running():
                await until(lambda: in_use().startswith("ntrip"), 20)
                took_s = await until(lambda: in_use().startswith("mqtt"), 240)
                assert 120 <= took_s <= 220
                await until(fixed, 60)
                publishing.cancel()
                await broker.stop()
                await until(lambda: in_use().startswith("second base"), 60)
                await until(fixed, 60)
        changes = [line for line in log if line.startswith("session.service_changed")]
        assert len(changes) == 2
        assert "does not use the corrections of this service" in changes[0]
        assert "from second base" in changes[1]
