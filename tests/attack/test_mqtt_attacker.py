"""A hostile broker against a session."""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

import pytest

from tests.attack.bench import responsive, some_fast
from tests.support.hostile_streams import PATTERNS
from tests.support.scripted_broker import Peer, ScriptedBroker
from ztpd.errors import SessionProtocol, ZtpdError
from ztpd.model import MqttEndpoint, Topic
from ztpd.sim import mqtt_packets
from ztpd.sources.mqtt import MqttSession

DATA = "/pp/ip/eu"
_NAME = b"\0\x09" + DATA.encode()


def _publish(payload: bytes, *, kind: int = mqtt_packets.PUBLISH, name: bytes = _NAME) -> bytes:
    return mqtt_packets.packet(kind, name + payload)


def endpoint(broker: ScriptedBroker) -> MqttEndpoint:
    return MqttEndpoint(
        "127.0.0.1", broker.port, "gateway", (Topic(DATA),), tls=False, keepalive_s=5
    )


ATTACKS = {
    **{name: _publish(pattern * (60_000 // len(pattern))) for name, pattern in PATTERNS.items()},
    "a packet of 256 MiB": bytes((mqtt_packets.PUBLISH,))
    + mqtt_packets.remaining_length(268_435_455)
    + bytes(100_000),
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x7f",
    "a topic longer than the packet": b"\x30\x04\xff\xff\0\0",
    "a topic that is no text": _publish(b"x", name=b"\0\x04\xff\xfe\xfd\xfc"),
    "a topic with wildcards": _publish(b"x", name=b"\0\x05/pp/#"),
    "a thousand topics": b"".join(
        _publish(b"\xd3\x00\x00", name=b"\0\x0d" + b"/pp/ip/eu%04d" % each) for each in range(1000)
    ),
    "QoS 3": b"\x36\x0d" + _NAME + b"\0\1",
    "unexpected acknowledgements": b"\x40\x02\0\1\x62\x02\0\1\x70\x02\0\1\x90\x03\0\7\0",
    "pings of the broker": b"\xc0\0\xd0\0" * 5000,
    "a connection accepted twice": mqtt_packets.connack() * 2,
    "retained corrections": b"".join([b"\x31\x0e" + _NAME + b"\xd3\x00\x00"] * 500),
    "empty packets": b"\x30\0" * 2000,
}


@pytest.mark.parametrize(
    "name", some_fast(ATTACKS, "rtcm", "spartn, dense", "a thousand topics", "empty packets")
)
@pytest.mark.parametrize("pieces", [False, True], ids=["at once", "in pieces"])
async def test_a_hostile_broker_ends_in_order(name: str, pieces: bool) -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        data = ATTACKS[name]
        size = 777 if pieces else len(data)
        for at in range(0, len(data), size):
            client.send(data[at : at + size])
            await client.drain()
        await asyncio.sleep(0.3)

    unforeseen: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unforeseen.append(context))
    async with ScriptedBroker(script) as broker, responsive():
        session = MqttSession(endpoint(broker))
        with suppress(ZtpdError, ConnectionError):
            async with asyncio.timeout(5), session:
                async for frame in session:
                    assert not frame.data.startswith(b"\xb5\x62\x06")
    assert unforeseen == []


async def test_FR84_a_broker_that_never_finishes_qos_2_holds_no_memory() -> None:
    payload = random.Random(1).randbytes(60_000)

    async def script(client: Peer) -> None:
        await client.accept()
        for number in range(1, 1000):
            identifier = number.to_bytes(2, "big")
            client.send(mqtt_packets.packet(0x34, _NAME + identifier + payload))
            await client.drain()

    async with (
        ScriptedBroker(script) as broker,
        responsive(),
        asyncio.timeout(5),
        MqttSession(endpoint(broker)) as session,
    ):
        with pytest.raises(SessionProtocol, match="QoS 2"):
            await anext(session)
