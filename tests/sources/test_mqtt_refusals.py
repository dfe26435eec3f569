"""MQTT brokers that refuse by closing, that only port 443 reaches, or that send too much."""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support import scripted_broker
from tests.support.limits import limited
from tests.support.scripted_broker import Peer, ScriptedBroker
from ztpd.errors import (
    BrokerAccountRefused,
    ClosedEarly,
    ConnectTimeout,
    LocalizedOnly,
    NetworkError,
    SessionProtocol,
    SessionRefused,
    SubscriptionRefused,
    ZtpdError,
)
from ztpd.model import MqttEndpoint, Topic
from ztpd.net.dial import dial
from ztpd.net.resolve import Address
from ztpd.sim.authority import Authority
from ztpd.sim.mqtt_packets import CONNECT, PUBLISH, SUBSCRIBE, connack, packet, suback, subscribed
from ztpd.sources import open_session, topics
from ztpd.sources.mqtt import MqttSession
from ztpd.wire.frames import spartn_frame

DATA, KEYS, ASSIST = "/pp/ip/eu", "/pp/ubx/0236/ip", "/pp/ubx/mga"
FRAME = spartn_frame(0, 0, bytes(60), time_tag=1)


def endpoint(broker: ScriptedBroker, *paths: str, **given: Any) -> MqttEndpoint:
    settings: dict[str, Any] = {"tls": False} | given
    return MqttEndpoint(
        settings.pop("host", broker.host),
        broker.port,
        client_id="gateway",
        topics=tuple(Topic(path) for path in paths or (DATA, KEYS)),
        **settings,
    )


async def refusal(broker: ScriptedBroker, *paths: str, **given: Any) -> ZtpdError:
    with pytest.raises(ZtpdError) as caught:
        async with MqttSession(endpoint(broker, *paths, **given)):
            pass
    return caught.value


async def end(broker: ScriptedBroker) -> ZtpdError | None:
    """The failure of a session before its first frame."""
    try:
        async with MqttSession(endpoint(broker)) as session, asyncio.timeout(30):
            await anext(session)
    except ZtpdError as error:
        return error
    return None


async def forever() -> None:
    await asyncio.Event().wait()


def closes_for(*forbidden: str) -> scripted_broker.Script:
    """As AWS IoT Core: closes where a SUBSCRIBE names a topic that the policy does not allow."""

    async def script(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack())
        identifier, asked = subscribed(await client.expect(SUBSCRIBE))
        if set(asked) & set(forbidden):
            return
        client.send(suback(identifier, asked.values()))
        await forever()

    return script


async def test_FR24_closing_after_connect_names_the_stage() -> None:
    async def script(client: Peer) -> None:
        await client.expect(CONNECT)

    async with ScriptedBroker(script) as broker:
        error = await refusal(broker)
        assert isinstance(error, ClosedEarly)
        assert "waiting for CONNACK" in str(error)
        assert broker.sessions == 1, "no topic can be the reason"


async def test_FR24_closing_for_an_optional_topic_is_avoided_by_leaving_it_out() -> None:
    async with ScriptedBroker(closes_for(ASSIST)) as broker:
        async with MqttSession(endpoint(broker, DATA, KEYS, ASSIST)) as session:
            assert session.refused == (ASSIST,)
        assert broker.sessions == 2


async def test_FR24_closing_for_the_corrections_is_a_refusal() -> None:
    async with ScriptedBroker(closes_for(DATA)) as broker:
        error = await refusal(broker, DATA, KEYS, ASSIST)
        assert isinstance(error, ClosedEarly)
        assert "waiting for SUBACK" in str(error)
        assert broker.sessions == 2

    async with ScriptedBroker(closes_for(DATA)) as broker:
        assert isinstance(await refusal(broker, DATA, KEYS), ClosedEarly)
        assert broker.sessions == 1


async def test_FR24_a_broker_that_refuses_all_needed_topics_after_the_second_try_says_so() -> None:
    async def script(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack())
        identifier, asked = subscribed(await client.expect(SUBSCRIBE))
        if ASSIST in asked:
            return
        client.send(suback(identifier, [0x80] * len(asked)))
        await forever()

    async with ScriptedBroker(script) as broker:
        assert isinstance(await refusal(broker, DATA, ASSIST), SubscriptionRefused)


@pytest.mark.parametrize("port", [443, 0], ids=["443", "another"])
async def test_FR32_port_443_speaks_the_alpn_of_mqtt_with_a_certificate(
    port: int, tmp_path: Path
) -> None:
    authority = Authority()
    context = authority.server_context()
    context.set_alpn_protocols(["x-amzn-mqtt-ca", "http/1.1"])
    spoken: list[str | None] = []

    async def script(client: Peer) -> None:
        spoken.append(client.alpn)
        await client.accept()
        await forever()

    broker = ScriptedBroker(script, tls=context, port=port)
    try:
        await broker.__aenter__()
    except PermissionError:
        pytest.skip("only root may listen on port 443")
    try:
        ca_file = str(authority.write(tmp_path / "ca.pem"))
        async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
            pass
    finally:
        await broker.__aexit__(None, None, None)
    assert spoken == ["x-amzn-mqtt-ca" if port == 443 else None]


@pytest.mark.parametrize("payload", [b"", FRAME])
async def test_FR114_an_address_whose_broker_sends_no_corrections_goes_last(payload: bytes) -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        client.send(published(1, 1, payload))
        await forever()

    async with ScriptedBroker(script) as broker:
        async with MqttSession(endpoint(broker)) as session:
            if payload:
                await anext(session)
        with socket.create_server(("127.0.0.2", broker.port)):
            places = [(broker.host, broker.port), ("127.0.0.2", broker.port)]
            sock, address = await dial([Address(socket.AF_INET, place) for place in places])
            sock.close()
    assert address.place[0] == (broker.host if payload else "127.0.0.2")


LOCALIZED = (
    Topic("pp/ip/L2N5375W00125/dict", "dictionary"),
    Topic("pp/ip/L2N5375W00125/N5200W00300", "node"),
)


@pytest.mark.parametrize("region", ["auto", "eu"])
def test_FR59_an_offer_of_localized_topics_only_is_called_that(region: str) -> None:
    offered = (*LOCALIZED, Topic(KEYS), Topic(ASSIST))
    with pytest.raises(LocalizedOnly) as caught:
        topics.choose(offered, region=region)
    assert "NTRIP" in caught.value.advice
    assert caught.value.needs_person


def test_FR59_localized_topics_beside_regional_ones_do_no_harm() -> None:
    chosen = topics.choose((*LOCALIZED, Topic(DATA)), region="eu")
    assert [topic.path for topic in chosen] == [DATA]


def published(identifier: int, qos: int, payload: bytes = b"x" * 1000) -> bytes:
    body = len(DATA).to_bytes(2, "big") + DATA.encode() + identifier.to_bytes(2, "big")
    return packet(PUBLISH | qos << 1, body + payload)


@pytest.mark.parametrize("qos", [2, 3])
async def test_FR84_a_message_with_qos_2_ends_the_session(qos: int) -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        for number in range(1, 20_000):
            client.send(published(number, qos))
            await client.drain()
        await forever()

    async with ScriptedBroker(script) as broker:
        tracemalloc.start()
        try:
            assert isinstance(await end(broker), SessionProtocol)
            assert tracemalloc.get_traced_memory()[1] < 8 << 20
        finally:
            tracemalloc.stop()


async def test_FR84_a_message_with_qos_1_is_taken() -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        client.send(published(1, 1, FRAME))
        await forever()

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        async with asyncio.timeout(5):
            assert (await anext(session)).data == FRAME


async def test_FR84_a_broker_that_reads_no_acknowledgement_is_left() -> None:
    """The kernel holds 10,000 acknowledgements or many times as many."""
    some = b"".join(published(number, 1, b"") for number in range(1, 501))

    async def script(client: Peer) -> None:
        await client.accept()
        client.stop_reading()
        while True:
            client.send(some)
            await client.drain()

    async with ScriptedBroker(script, narrow=True) as broker:
        assert isinstance(await end(broker), SessionProtocol)


@pytest.mark.parametrize("free", [0, 1, 2, 3])
async def test_FR110_a_missing_descriptor_is_no_refusal_of_the_credentials(
    free: int, tmp_path: Path
) -> None:
    authority = Authority()
    pair = authority.client("gateway")

    async def script(client: Peer) -> None:
        await client.accept()
        await forever()

    async with ScriptedBroker(script, tls=authority.server_context()) as broker:
        mine = endpoint(
            broker,
            tls=True,
            ca_file=str(authority.write(tmp_path / "ca.pem")),
            certificate=pair.certificate,
            private_key=pair.private_key,
        )
        held: list[int] = []
        error: ZtpdError | None = None
        with limited(resource.RLIMIT_NOFILE, 256):
            try:
                with suppress(OSError):
                    while True:
                        held.append(os.open("/dev/null", os.O_RDONLY))
                for _ in range(free):
                    os.close(held.pop())
                async with MqttSession(mine, timeout_s=3):
                    pass
            except ZtpdError as caught:
                error = caught
            finally:
                for number in held:
                    os.close(number)
        assert error is None or type(error) in (NetworkError, ConnectTimeout)
        assert error is not None or free > 1
        async with MqttSession(mine):
            pass


@pytest.mark.parametrize(("own", "kind"), [(True, BrokerAccountRefused), (False, SessionRefused)])
async def test_Q04_a_refusal_of_the_configured_log_in_speaks_of_no_portal(
    own: bool, kind: type[ZtpdError]
) -> None:
    async def script(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack(5))
        await client.packet()

    async with ScriptedBroker(script) as broker:
        wanted = endpoint(broker, own_account=own)
        with pytest.raises(ZtpdError) as caught:
            async with open_session(wanted, position=lambda: None, fresh_credentials=False):
                pass
    assert type(caught.value) is kind
    assert ("portal" in caught.value.advice) != own


@pytest.mark.parametrize("own", [True, False])
async def test_Q04_a_refusal_of_configured_topics_speaks_of_no_thing(own: bool) -> None:
    async def script(client: Peer) -> None:
        await client.expect(CONNECT)
        client.send(connack())
        identifier, asked = subscribed(await client.expect(SUBSCRIBE))
        client.send(suback(identifier, [0x80] * len(asked)))
        await forever()

    async with ScriptedBroker(script) as broker:
        error = await refusal(broker, own_account=own)
    assert isinstance(error, SubscriptionRefused)
    assert ("Thing" in error.advice) != own
