"""The whole daemon beside MQTT brokers that refuse, misbehave, or are hard to reach."""

from __future__ import annotations

import asyncio
import itertools
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import scripted_broker, virtualtime
from tests.support.gateway import Gateway
from tests.support.scripted_broker import Peer, ScriptedBroker
from tests.support.services import reason, state
from tests.support.until import until
from ztpd.cli.status import render
from ztpd.sim.mqtt_packets import (
    CONNECT,
    PUBLISH,
    SUBSCRIBE,
    connack,
    packet,
    publish,
    suback,
    subscribed,
)
from ztpd.sim.portal import Profile
from ztpd.sim.receiver import SimReceiver
from ztpd.sim.ztp_service import ZtpService
from ztpd.sources.mqtt import QUEUE_BYTES
from ztpd.status import from_json
from ztpd.wire.frames import spartn_frame
from ztpd.wire.ubx import Message, message

DATA, ASSIST = "/pp/ip/eu", "/pp/ubx/mga"
LOCALIZED = "pp/ip/L2N5375W00125/dict"
MGA = message(Message.MGA_INI, bytes(20))


async def streams(client: Peer) -> None:
    """Corrections each second, on any topic of corrections that was asked for."""
    await stream(client, await client.accept())


async def stream(client: Peer, topics: Sequence[str]) -> None:
    if ASSIST in topics:
        client.send(publish(ASSIST, MGA, retain=True))
    for second in itertools.count():
        client.send(publish(DATA, spartn_frame(0, 0, bytes(60), time_tag=second)))
        await asyncio.sleep(1)


def closes_for(*forbidden: str) -> scripted_broker.Script:
    """As AWS IoT Core: closes where a SUBSCRIBE names a topic that the policy does not allow."""

    async def script(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack())
        identifier, asked = subscribed(await client.expect(SUBSCRIBE))
        if not set(asked) & set(forbidden):
            client.send(suback(identifier, asked.values()))
            await stream(client, list(asked))

    return script


@dataclass
class Bench:
    gateway: Gateway
    broker: ScriptedBroker
    receiver: SimReceiver

    @property
    def reported(self) -> str:
        """The status's reason and its advice."""
        found = self.gateway.status.get("reason", {})
        return f"{found.get('text')} {found.get('advice')}"


@asynccontextmanager
async def provisioned(
    top: Path,
    script: scripted_broker.Script,
    *,
    offered: Sequence[str] = (),
    port: int = 0,
    **mqtt: Any,
) -> AsyncIterator[Bench]:
    """A gateway whose provisioning gives a client certificate, and the topics ``offered``."""
    gateway = Gateway(top)
    tls = gateway.authority.server_context()
    tls.verify_mode = ssl.CERT_REQUIRED
    tls.load_verify_locations(cadata=gateway.authority.certificate)
    tls.set_alpn_protocols(["x-amzn-mqtt-ca"])
    profile = Profile(protocol="mqtt", format="spartn", topics=tuple(offered))
    async with (
        ScriptedBroker(script, tls=tls, port=port) as broker,
        ZtpService(gateway.authority, profile=profile) as service,
        gateway.receiver(speed=1.0) as receiver,
    ):
        gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
                "splay_s": 0,
            },
            identity={"source": "fixed", "hardware_id": "gateway-1"},
            mqtt={"port": broker.port, "ca_file": gateway.ca_file} | mqtt,
        )
        yield Bench(gateway, broker, receiver)


def test_FR24_a_broker_that_closes_after_connect_is_named_with_policy_plan_and_client_id(
    tmp_path: Path,
) -> None:
    async def refuses(client: Peer) -> None:
        await client.expect(CONNECT)

    async def scenario() -> None:
        async with provisioned(tmp_path, refuses) as bench, bench.gateway.running():
            await until(lambda: reason(bench.gateway) == "mqtt.denied", within_s=120)
            assert state(bench.gateway) == "blocked"
            assert "waiting for CONNACK, 3 times in a row" in bench.reported
            for word in ("plan", "policy", "client_id"):
                assert word in bench.reported

    virtualtime.run(scenario())


def test_FR24_a_broker_that_closes_for_an_optional_topic_serves_the_others(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench_of = provisioned(tmp_path, closes_for(ASSIST))
        async with bench_of as bench, bench.gateway.running():
            await until(lambda: state(bench.gateway) == "streaming", within_s=90)
            assert bench.broker.sessions == 2
            await asyncio.sleep(10)
            assert bench.broker.sessions == 2

    virtualtime.run(scenario())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may listen on port 443")
def test_FR32_a_daemon_reaches_a_broker_by_port_443(tmp_path: Path) -> None:
    spoken: list[str | None] = []

    async def script(client: Peer) -> None:
        spoken.append(client.alpn)
        await streams(client)

    async def scenario() -> None:
        async with provisioned(tmp_path, script, port=443) as bench, bench.gateway.running():
            await until(lambda: state(bench.gateway) == "streaming", within_s=90)

    virtualtime.run(scenario())
    assert spoken == ["x-amzn-mqtt-ca"]


def test_FR59_an_offer_of_localized_topics_only_names_ntrip(tmp_path: Path) -> None:
    async def scenario() -> None:
        bench_of = provisioned(tmp_path, streams, offered=[LOCALIZED, "/pp/ubx/0236/ip"])
        async with bench_of as bench, bench.gateway.running():
            await until(lambda: reason(bench.gateway) == "mqtt.localized_only", within_s=60)
            assert state(bench.gateway) == "blocked"
            assert "NTRIP" in bench.reported
            assert bench.broker.sessions == 0

    virtualtime.run(scenario())


def test_FR84_messages_with_qos_2_end_the_session_by_name(tmp_path: Path) -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        topic = len(DATA).to_bytes(2, "big") + DATA.encode()
        for number in range(1, 1000):
            client.send(packet(PUBLISH | 4, topic + number.to_bytes(2, "big") + bytes(1000)))
            await client.drain()
        await client.packet()

    async def scenario() -> None:
        async with provisioned(tmp_path, script) as bench, bench.gateway.running():
            await until(lambda: reason(bench.gateway) == "session.protocol", within_s=90)
            assert "QoS 2" in bench.reported
            assert bench.receiver.corrections() == []

    virtualtime.run(scenario())


def test_Q17_corrections_that_come_faster_than_they_are_read_are_counted_and_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More than the daemon holds comes before the answer to SUBSCRIBE."""
    frames = 100
    assert frames * 1000 > QUEUE_BYTES

    async def floods(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack())
        identifier, asked = subscribed(await client.expect(SUBSCRIBE))
        for number in range(frames):
            client.send(publish(DATA, spartn_frame(0, 0, bytes(1000), time_tag=number)))
        await client.drain()
        await asyncio.sleep(1)
        client.send(suback(identifier, asked.values()))
        await stream(client, list(asked))

    async def scenario() -> None:
        async with provisioned(tmp_path, floods) as bench, bench.gateway.running():
            await until(lambda: state(bench.gateway) == "streaming", within_s=90)
            await asyncio.sleep(180)
            found = bench.gateway.status
            lost, at_port = found["source"]["overrun"], found["receiver"]["dropped"]
            assert frames - QUEUE_BYTES // 1000 <= lost < frames
            passed = sum(len(each.data) > 1000 for each in bench.receiver.corrections())
            assert passed + lost + at_port == frames
            shown = render(from_json(found), is_running=True)
            assert f"{lost} dropped unread" in shown
            line = f'ztpd_frames_total{{outcome="overrun"}} {lost}\n'
            assert line in (bench.gateway.runtime_dir / "metrics.prom").read_text()
            said = [each for each in caplog.messages if "faster than ztpd reads them" in each]
            assert len(said) == 1
            assert said[0].startswith(f"{lost} frames of mqtt://")

    virtualtime.run(scenario())


@pytest.mark.slow
def test_FR110_a_daemon_without_descriptors_does_not_blame_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    async def scenario() -> None:
        async with provisioned(tmp_path, streams) as bench:
            gateway = bench.gateway
            async with gateway.running():
                await until(lambda: state(gateway) == "streaming", within_s=90)
            with monkeypatch.context() as patched:
                patched.setattr(os, "memfd_create", none_left)
                async with gateway.running():
                    await until(lambda: "Too many open files" in bench.reported, within_s=60)
                    await asyncio.sleep(60)
                    assert state(gateway) == "waiting"
                    assert not (gateway.state_dir / "refused.json").exists()
                    patched.undo()
                    await until(lambda: state(gateway) == "streaming", within_s=400)

    virtualtime.run(scenario())


@pytest.mark.parametrize(
    ("settings", "offered"),
    [({"region": "eu"}, ()), ({}, (DATA, "/pp/ubx/0236/ip", ASSIST))],
    ids=["region set", "one region offered"],
)
def test_FR111_without_a_fix_assistance_comes_at_once_where_the_region_is_known(
    tmp_path: Path, settings: dict[str, Any], offered: Sequence[str]
) -> None:
    async def scenario() -> None:
        bench_of = provisioned(tmp_path, streams, offered=offered, **settings)
        async with bench_of as bench:
            bench.receiver.faults.no_sky = True
            async with bench.gateway.running():
                took_s = await until(lambda: MGA in received(bench.receiver), within_s=90)
                assert took_s < 15
                assert bench.broker.sessions == 1

    virtualtime.run(scenario())


def test_FR111_without_a_fix_the_region_of_several_is_waited_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with provisioned(tmp_path, streams) as bench:
            bench.receiver.faults.no_sky = True
            async with bench.gateway.running():
                await asyncio.sleep(50)
                assert bench.broker.sessions == 0
                assert "position" in bench.reported

    virtualtime.run(scenario())


def received(receiver: SimReceiver) -> list[bytes]:
    return [frame.data for frame in receiver.received]
