"""An MQTT session against real brokers: mutual TLS, restarts, twins."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ztpd.errors import (
    ConnectionLost,
    SessionClosed,
    SessionRefused,
    TlsUntrusted,
    ZtpdError,
)
from ztpd.model import Frame, FrameKind, MqttEndpoint, Secret, Topic
from ztpd.sim.authority import Authority, Pair
from ztpd.sim.broker import Broker, find_mosquitto
from ztpd.sim.corrections import coalesce, cut, paced, rtcm, spartn
from ztpd.sources.mqtt import MqttSession
from ztpd.wire import ubx

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")

DATA, KEYS = "/pp/ip/eu", "/pp/ubx/0236/ip"
KEY = ubx.SpartnKey((ubx.KeySlot(bytes(16), 2444, 0), ubx.KeySlot(bytes(16), 2448, 0))).encode()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.client("gateway")


@pytest.fixture
def tls(authority: Authority, pair: Pair, tmp_path: Path) -> dict[str, Any]:
    """The PEM texts of an endpoint with mutual TLS."""
    return {
        "certificate": pair.certificate,
        "private_key": pair.private_key,
        "ca_file": str(authority.write(tmp_path / "ca.pem")),
    }


def endpoint(broker: Broker, *topics: str, **given: Any) -> MqttEndpoint:
    paths = topics or (DATA, KEYS)
    settings = {"client_id": "gateway"} | given
    return MqttEndpoint(broker.host, broker.port, topics=tuple(map(Topic, paths)), **settings)


async def take(session: MqttSession, count: int) -> list[Frame]:
    async with asyncio.timeout(5):
        return [await anext(session) for _ in range(count)]


async def end(session: MqttSession) -> ZtpdError:
    with pytest.raises(ZtpdError) as caught:
        await take(session, 1)
    return caught.value


@pytest.mark.parametrize(
    "engine", [pytest.param("mosquitto", marks=needs_mosquitto), pytest.param("amqtt")]
)
async def test_keys_come_first_and_then_the_stream(
    engine: Any, authority: Authority, tls: dict[str, Any]
) -> None:
    async with Broker(authority, engine=engine) as broker:
        await broker.publish(KEYS, KEY, retain=True)
        async with MqttSession(endpoint(broker, **tls)) as session:
            assert [frame.data for frame in await take(session, 1)] == [KEY]
            stream = coalesce(spartn(random.Random(1), encrypted=True))
            sent = [next(stream).data for _ in range(6)]
            for piece in sent:
                await broker.publish(DATA, piece)
            got = await take(session, 4 + 2 + 20 + 3 * 4)
            assert b"".join(frame.data for frame in got) == b"".join(sent)
            assert session.counts.skipped_bytes == 0


@needs_mosquitto
async def test_rtcm_cut_at_random_places_comes_whole(
    authority: Authority, tls: dict[str, Any]
) -> None:
    stream = rtcm(random.Random(2))
    whole = [next(stream) for _ in range(60)]
    async with (
        Broker(authority) as broker,
        MqttSession(endpoint(broker, "base/one", **tls)) as session,
    ):
        async for piece in paced(cut(whole, random.Random(3)), speed=1000):
            await broker.publish("base/one", piece.data)
        got = await take(session, 60)
    assert {frame.kind for frame in got} == {FrameKind.RTCM3}
    assert [frame.data for frame in got] == [piece.data for piece in whole]


@needs_mosquitto
async def test_Q11_after_a_restart_a_new_session_has_the_keys_again(
    authority: Authority, tls: dict[str, Any]
) -> None:
    async with Broker(authority) as broker:
        await broker.publish(KEYS, KEY, retain=True)
        async with MqttSession(endpoint(broker, **tls)) as session:
            await take(session, 1)
            await broker.restart()
            assert type(await end(session)) is SessionClosed
        async with MqttSession(endpoint(broker, **tls)) as session:
            assert (await take(session, 1))[0].data == KEY


@needs_mosquitto
async def test_Q07_a_twin_closes_the_session(authority: Authority, tls: dict[str, Any]) -> None:
    async with (
        Broker(authority) as broker,
        MqttSession(endpoint(broker, **tls)) as session,
    ):
        await broker.evict("gateway")
        assert type(await end(session)) is SessionClosed


@needs_mosquitto
async def test_a_client_without_a_certificate_is_refused(
    authority: Authority, tls: dict[str, Any]
) -> None:
    async with Broker(authority) as broker:
        with pytest.raises(SessionRefused, match="a client certificate is wanted"):
            async with MqttSession(endpoint(broker, ca_file=tls["ca_file"])):
                pass


@needs_mosquitto
async def test_C07_a_certificate_that_has_ended_is_refused_and_named_with_its_dates(
    authority: Authority, tls: dict[str, Any]
) -> None:
    pair = authority.client("gateway", not_after=datetime(2021, 2, 3))
    mine = tls | {"certificate": pair.certificate, "private_key": pair.private_key}
    async with Broker(authority) as broker:
        with pytest.raises(SessionRefused, match=r"has expired.*to 2021-02-03"):
            async with MqttSession(endpoint(broker, **mine)):
                pass


@needs_mosquitto
async def test_a_certificate_of_another_issuer_is_refused(
    authority: Authority, tls: dict[str, Any]
) -> None:
    stranger = Authority().client("gateway")
    wrong = tls | {"certificate": stranger.certificate, "private_key": stranger.private_key}
    async with Broker(authority) as broker:
        with pytest.raises(SessionRefused):
            async with MqttSession(endpoint(broker, **wrong)):
                pass


@needs_mosquitto
async def test_a_broker_of_another_issuer_is_not_trusted(tls: dict[str, Any]) -> None:
    async with Broker(Authority()) as broker:
        with pytest.raises(TlsUntrusted):
            async with MqttSession(endpoint(broker, **tls)):
                pass


@needs_mosquitto
async def test_a_topic_the_access_list_forbids_yields_nothing(
    authority: Authority, tls: dict[str, Any]
) -> None:
    """mosquitto 2.0 grants the subscription and withholds the messages."""
    acl = f"user gateway\ntopic read {KEYS}\n"
    async with (
        Broker(authority, identity_as_username=True, acl=acl) as broker,
        MqttSession(endpoint(broker, **tls)) as session,
    ):
        await broker.publish(DATA, next(rtcm(random.Random(4))).data)
        await broker.publish(KEYS, KEY)
        assert (await take(session, 1))[0].data == KEY


@needs_mosquitto
async def test_a_private_broker_takes_user_and_password() -> None:
    async with Broker(users={"user": Secret("word")}) as broker:
        login = {"tls": False, "username": "user"}
        async with MqttSession(
            endpoint(broker, "base/one", password=Secret("word"), **login)
        ) as session:
            await broker.publish("base/one", next(rtcm(random.Random(5))).data)
            assert (await take(session, 1))[0].name == "1006"
        with pytest.raises(SessionRefused):
            async with MqttSession(endpoint(broker, password=Secret("wrong"), **login)):
                pass


@needs_mosquitto
async def test_a_plain_broker_cuts_the_handshake() -> None:
    async with Broker() as broker:
        with pytest.raises(ConnectionLost, match="TLS"):
            async with MqttSession(endpoint(broker)):
                pass


@needs_mosquitto
async def test_pings_keep_a_silent_session_alive(authority: Authority, tls: dict[str, Any]) -> None:
    async with (
        Broker(authority) as broker,
        MqttSession(endpoint(broker, keepalive_s=1, **tls)) as session,
    ):
        await asyncio.sleep(2.2)  # mosquitto closes after one and a half keep-alive intervals
        await broker.publish(KEYS, KEY)
        assert (await take(session, 1))[0].data == KEY
