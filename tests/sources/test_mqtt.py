"""An MQTT session against a broker of bytes: every answer, every fault, to the byte."""

from __future__ import annotations

import asyncio
import gc
import random
import threading
import tracemalloc
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tests.support import scripted_broker
from tests.support.scripted_broker import Peer, ScriptedBroker
from ztpd.errors import (
    ConfigFileUnusable,
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    NoTransport,
    SessionClosed,
    SessionError,
    SessionProtocol,
    SessionRefused,
    StreamCorrupt,
    SubscriptionRefused,
    TlsClock,
    TlsHostname,
    TlsUntrusted,
    TlsVersion,
    ZtpdError,
)
from ztpd.model import Frame, FrameKind, MqttEndpoint, Secret, Topic
from ztpd.sim import mqtt_packets
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.mqtt_packets import connack, publish, suback
from ztpd.sources.mqtt import QUEUE_BYTES, MqttSession
from ztpd.wire import ubx
from ztpd.wire.frames import rtcm_frame, spartn_frame

DATA, KEYS, ASSIST = "/pp/ip/eu", "/pp/ubx/0236/ip", "/pp/ubx/mga"
KEY = ubx.SpartnKey((ubx.KeySlot(bytes(16), 2444, 0), ubx.KeySlot(bytes(16), 2448, 0))).encode()
FUZZED_SESSIONS = 200
RTCM_1005 = rtcm_frame(bytes.fromhex("3ed00003") + bytes(15))


def corrections(count: int, size: int = 90) -> list[bytes]:
    return [
        spartn_frame(0, number % 4, bytes((number % 256,)) * size, time_tag=number)
        for number in range(count)
    ]


def endpoint(broker: ScriptedBroker, *topics: str, **given: Any) -> MqttEndpoint:
    settings: dict[str, Any] = {"tls": False} | given
    paths = topics or (DATA, KEYS)
    return MqttEndpoint(
        settings.pop("host", broker.host),
        broker.port,
        client_id="gateway",
        topics=tuple(Topic(path) for path in paths),
        **settings,
    )


async def take(session: MqttSession, count: int) -> list[Frame]:
    async with asyncio.timeout(5):
        return [await anext(session) for _ in range(count)]


async def end(session: MqttSession) -> ZtpdError:
    """The error that ends the session."""

    async def read_all() -> None:
        async for _ in session:
            pass

    with pytest.raises(ZtpdError) as caught:
        await asyncio.wait_for(read_all(), 5)
    return caught.value


async def forever() -> None:
    await asyncio.Event().wait()


def sends(*data: bytes) -> scripted_broker.Script:
    """Accepts the client, sends each piece, and then says nothing more."""

    async def script(client: Peer) -> None:
        await client.accept()
        for piece in data:
            client.send(piece)
        await client.drain()
        await forever()

    return script


async def test_a_session_yields_the_frames_of_all_its_topics() -> None:
    frames = corrections(3)
    script = sends(
        publish(KEYS, KEY, identifier=1, retain=True),
        publish(DATA, b"".join(frames)),
        publish(DATA, RTCM_1005),
    )
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        got = await take(session, 5)
    assert [frame.data for frame in got] == [KEY, *frames, RTCM_1005]
    assert [frame.kind for frame in got] == [
        FrameKind.UBX,
        *[FrameKind.SPARTN] * 3,
        FrameKind.RTCM3,
    ]
    assert session.counts.frames["OCB-GPS"] == 1
    assert session.counts.bytes == sum(map(len, (KEY, *frames, RTCM_1005)))


@pytest.mark.parametrize("tls", [False, True])
async def test_the_bytes_of_its_connection_are_those_of_the_kernel(
    tmp_path: Path, tls: bool
) -> None:
    authority = Authority()
    async with ScriptedBroker(
        sends(*(publish(DATA, piece) for piece in corrections(50))),
        tls=authority.server_context() if tls else None,
    ) as broker:
        given = {"host": "localhost", "ca_file": authority.write(tmp_path / "ca.pem")}
        async with MqttSession(endpoint(broker, tls=tls, **given)) as session:
            await take(session, 50)
            counted = session.ip_bytes
            assert counted is not None
            payload = session.counts.bytes
            assert payload + 300 < counted < 2 * payload + 8000 * tls + 3000
        assert session.ip_bytes is None


async def test_a_frame_cut_over_two_messages_comes_whole() -> None:
    whole = corrections(1)[0]
    script = sends(publish(DATA, whole[:40]), publish(DATA, whole[40:]))
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert (await take(session, 1))[0].data == whole


async def test_topics_do_not_mix() -> None:
    first, second = corrections(2)
    script = sends(
        publish("/pp/ip/eu/ocb", first[:40]),
        publish("/pp/ip/eu/gad", second),
        publish("/pp/ip/eu/ocb", first[40:]),
    )
    async with (
        ScriptedBroker(script) as broker,
        MqttSession(endpoint(broker, "/pp/ip/eu/ocb", "/pp/ip/eu/gad")) as session,
    ):
        assert [frame.data for frame in await take(session, 2)] == [second, first]


async def test_the_client_says_who_it_is_and_asks_for_a_clean_session() -> None:
    seen: list[mqtt_packets.Packet] = []

    async def script(client: Peer) -> None:
        seen.append(await client.expect(mqtt_packets.CONNECT))
        client.send(connack())
        seen.append(await client.expect(mqtt_packets.SUBSCRIBE))
        client.send(suback(mqtt_packets.subscribed(seen[1])[0], (0, 1)))
        await forever()

    async with ScriptedBroker(script) as broker:
        wanted = endpoint(broker, username="user", password=Secret("word"), keepalive_s=20)
        async with MqttSession(wanted):
            pass
    connect, subscribe = seen
    assert connect.body == b"\0\4MQTT\4\xc2\0\x14" + b"\0\7gateway\0\4user\0\4word"
    assert mqtt_packets.subscribed(subscribe)[1] == {DATA: 0, KEYS: 1}


async def test_more_topics_than_a_broker_takes_at_once_are_asked_for_in_turn() -> None:
    asked: list[int] = []

    async def script(client: Peer) -> None:
        await client.expect(mqtt_packets.CONNECT)
        client.send(connack())
        for _ in range(3):
            identifier, topics = mqtt_packets.subscribed(
                await client.expect(mqtt_packets.SUBSCRIBE)
            )
            asked.append(len(topics))
            client.send(suback(identifier, [0] * len(topics)))
        await forever()

    topics = [f"base/{number}" for number in range(18)]
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker, *topics)):
        assert asked == [8, 8, 2]


# Refusals


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        pytest.param(1, SessionProtocol, "does not speak MQTT 3.1.1", id="Q01"),
        pytest.param(2, SessionRefused, 'client identifier "', id="Q02"),
        pytest.param(133, SessionRefused, 'client identifier "', id="Q02-MQTT-5"),
        pytest.param(3, SessionError, "not available", id="Q03"),
        pytest.param(137, SessionError, "not available", id="Q03-busy"),
        pytest.param(159, SessionError, "not available", id="Q03-rate"),
        pytest.param(4, SessionRefused, "bad user name", id="Q04-bad-password"),
        pytest.param(5, SessionRefused, "not authorised", id="Q04-not-authorised"),
        pytest.param(138, SessionRefused, "not authorised", id="Q04-banned"),
        pytest.param(77, SessionProtocol, "", id="unknown"),
    ],
)
async def test_Q01_to_Q04_a_refused_connection_says_why(
    code: int, kind: type[ZtpdError], words: str
) -> None:
    async def script(client: Peer) -> None:
        await client.expect(mqtt_packets.CONNECT)
        client.send(connack(code))
        await client.packet()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(SessionError) as caught:
            async with MqttSession(endpoint(broker)):
                pass
    assert type(caught.value) is kind
    assert words in str(caught.value)
    assert broker.sessions == 1  # no second try behind our back


@pytest.mark.parametrize("tls", [False, True])
async def test_Q05_no_connack_is_a_timeout_that_names_the_stage(
    tls: bool, authority: Authority, ca_file: str
) -> None:
    async def script(client: Peer) -> None:
        await client.expect(mqtt_packets.CONNECT)
        await client.packet()

    context = authority.server_context() if tls else None
    async with ScriptedBroker(script, tls=context) as broker:
        wanted = endpoint(broker, tls=tls, ca_file=ca_file)
        with pytest.raises(ConnectTimeout, match="waiting for CONNACK"):
            async with MqttSession(wanted, timeout_s=0.3):
                pass


async def test_Q05_no_suback_is_a_timeout_too() -> None:
    async def script(client: Peer) -> None:
        await client.expect(mqtt_packets.CONNECT)
        client.send(connack())
        await client.expect(mqtt_packets.SUBSCRIBE)
        await client.packet()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(ConnectTimeout, match="waiting for SUBACK"):
            async with MqttSession(endpoint(broker), timeout_s=0.2):
                pass


async def test_a_server_that_does_not_speak_is_a_timeout_in_the_handshake() -> None:
    async with ScriptedBroker(lambda _: forever()) as broker:
        with pytest.raises(ConnectTimeout, match="TLS handshake"):
            async with MqttSession(endpoint(broker, tls=True), timeout_s=0.2):
                pass


async def test_Q06_one_refused_topic_of_three_is_reported_and_the_others_stream() -> None:
    async def script(client: Peer) -> None:
        await client.accept("/pp/ip/us")
        client.send(publish(DATA, corrections(1)[0]))
        await forever()

    async with (
        ScriptedBroker(script) as broker,
        MqttSession(endpoint(broker, DATA, "/pp/ip/us", KEYS)) as session,
    ):
        assert session.refused == ("/pp/ip/us",)
        assert len(await take(session, 1)) == 1


async def test_Q06_all_topics_refused_is_no_session() -> None:
    async def script(client: Peer) -> None:
        await client.accept(DATA, KEYS)
        await client.packet()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(SubscriptionRefused, match=DATA):
            async with MqttSession(endpoint(broker)):
                pass


@pytest.mark.parametrize("topics", [(), ("wrong/#/wildcard",)])
async def test_topics_that_are_none_are_refused(topics: tuple[str, ...]) -> None:
    async with ScriptedBroker(sends()) as broker:
        wanted = MqttEndpoint(broker.host, broker.port, topics=tuple(map(Topic, topics)), tls=False)
        with pytest.raises(SubscriptionRefused):
            async with MqttSession(wanted):
                pass


async def test_a_closed_port_is_a_refused_connection() -> None:
    async with ScriptedBroker(sends()) as broker:
        gone = endpoint(broker)
    with pytest.raises(ConnectRefused):
        async with MqttSession(gone):
            pass


async def test_a_broker_elsewhere_is_not_used_without_tls() -> None:
    elsewhere = MqttEndpoint("192.0.2.1", 1883, topics=(Topic(DATA),), tls=False)
    with pytest.raises(NoTransport):
        async with MqttSession(elsewhere):
            pass


# Ends


async def test_Q08_a_closed_connection_ends_the_session_after_its_last_frame() -> None:
    frames = corrections(2)

    async def script(client: Peer) -> None:
        await client.accept()
        client.send(publish(DATA, b"".join(frames)))

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert len(await take(session, 2)) == 2
        assert type(await end(session)) is SessionClosed
        assert type(await end(session)) is SessionClosed  # and stays ended


async def test_a_connection_closed_in_answer_to_connect_says_so() -> None:
    async def script(client: Peer) -> None:
        await client.expect(mqtt_packets.CONNECT)

    async with ScriptedBroker(script) as broker:
        with pytest.raises(SessionClosed, match="waiting for CONNACK"):
            async with MqttSession(endpoint(broker)):
                pass


async def test_a_reset_connection_is_lost() -> None:
    async def script(client: Peer) -> None:
        await client.accept()
        client.reset()

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert type(await end(session)) is ConnectionLost


async def test_Q09_a_broker_that_answers_no_ping_is_lost_within_twice_the_keepalive() -> None:
    async with (
        ScriptedBroker(sends()) as broker,
        MqttSession(endpoint(broker, keepalive_s=1)) as session,
    ):
        began_s = asyncio.get_running_loop().time()
        lost = await end(session)
        took_s = asyncio.get_running_loop().time() - began_s
    assert type(lost) is ConnectionLost
    assert "ping" in str(lost)
    assert took_s <= 2.8  # 2 x 1 s, and two rounds of the timer


async def test_Q10_silence_with_answered_pings_is_no_end_of_the_session() -> None:
    pings = 0

    async def script(client: Peer) -> None:
        nonlocal pings
        await client.accept()
        while (await client.packet()).type == mqtt_packets.PINGREQ:
            pings += 1
            client.send(mqtt_packets.packet(mqtt_packets.PINGRESP))

    async with (
        ScriptedBroker(script) as broker,
        MqttSession(endpoint(broker, keepalive_s=1)) as session,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.6):
                await anext(session)
    assert pings == 2


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xff\xff\xff\xff\xff",
        b"\x00\x00",
        mqtt_packets.packet(mqtt_packets.CONNACK, b"\0\0\0"),
        connack(),
        connack(5),
        mqtt_packets.packet(mqtt_packets.PUBLISH, b"\0"),
        mqtt_packets.packet(mqtt_packets.PUBLISH, b"\0\x63short"),
        mqtt_packets.packet(mqtt_packets.PUBLISH | 2, b"\0\1t"),
        mqtt_packets.packet(mqtt_packets.PUBLISH | 6, b"\0\1t\0\1"),
        mqtt_packets.packet(mqtt_packets.SUBACK, b"\0"),
        b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/html\r\n\r\n" + b"<html>" * 20,
    ],
    ids=lambda data: data[:8].hex(),
)
async def test_data_that_is_no_mqtt_ends_the_session(nonsense: bytes) -> None:
    async with ScriptedBroker(sends(nonsense)) as broker, MqttSession(endpoint(broker)) as session:
        assert type(await end(session)) is SessionProtocol


async def test_any_bytes_end_a_session_with_a_typed_error() -> None:
    rng = random.Random(16)
    kinds = [0x20, 0x30, 0x32, 0x34, 0x3A, 0x40, 0x50, 0x62, 0x70, 0x90, 0xB0, 0xC0, 0xD0, 0xE0]

    async def script(client: Peer) -> None:
        await client.accept()
        for _ in range(rng.randrange(1, 6)):
            body = rng.choice((b"", b"\0", b"\0\1", b"\0\x0a" + DATA.encode()))
            client.send(
                mqtt_packets.packet(
                    rng.choice(kinds), body + rng.randbytes(rng.choice((0, 1, 2, 9)))
                )
            )
        client.send(rng.randbytes(rng.randrange(20)))

    unforeseen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unforeseen.append(context))
    async with ScriptedBroker(script) as broker:
        for _ in range(FUZZED_SESSIONS):
            async with MqttSession(endpoint(broker)) as session:
                assert type(await end(session)) in (SessionProtocol, SessionClosed, ConnectionLost)
    assert unforeseen == []


@pytest.mark.parametrize("tls", [False, True])
async def test_Q16_a_packet_of_256_MiB_ends_the_session_at_its_header(
    tls: bool, authority: Authority, ca_file: str
) -> None:
    huge = bytes((mqtt_packets.PUBLISH,)) + mqtt_packets.remaining_length(268_435_455)
    script = sends(huge + b"\0\x09/pp/ip/eu" + bytes(4096))
    context = authority.server_context() if tls else None
    async with (
        ScriptedBroker(script, tls=context) as broker,
        MqttSession(endpoint(broker, tls=tls, ca_file=ca_file)) as session,
    ):
        tracemalloc.start()
        try:
            ended = await end(session)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert type(ended) is SessionProtocol
    assert "268435455" in str(ended)
    assert peak < 1 << 20


async def test_the_longest_packet_passes() -> None:
    frames = corrections(128, size=1000)
    payload = b"".join(frames).ljust(128 << 10, b"\0")
    script = sends(publish(DATA, payload), publish(DATA, frames[0]))
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        await take(session, 129 - session.counts.overrun)
        async with asyncio.timeout(5):
            while session.counts.bytes < len(payload) + len(frames[0]):
                await asyncio.sleep(0.01)
        assert sum(session.counts.frames.values()) == 129


async def test_FR82_a_packet_longer_than_the_service_sends_ends_the_session() -> None:
    script = sends(publish(DATA, bytes(400 << 10)))
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        ended = await end(session)
    assert type(ended) is SessionProtocol
    assert "a packet of 4096" in str(ended)


async def test_FR82_a_payload_is_scanned_in_slices_and_other_work_goes_on() -> None:
    script = sends(publish(DATA, b"\x73" * 130_000 + corrections(1)[0]))
    steps = []

    async def follow(session: MqttSession) -> None:
        before = 0
        while True:
            steps.append(session.counts.bytes - before)
            before = session.counts.bytes
            await asyncio.sleep(0)

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        following = asyncio.create_task(follow(session))
        await take(session, 1)
        following.cancel()
    assert sum(step > 0 for step in steps) >= 130_000 // 8192
    assert max(steps) <= 8192


@pytest.mark.parametrize("pattern", [b"\xd3\x03", bytes.fromhex("7301f420")])
async def test_FR82_a_stream_of_wrong_checks_ends_the_session_by_name(pattern: bytes) -> None:
    script = sends(*[publish(DATA, pattern * (4000 // len(pattern)))] * 4)
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        ended = await end(session)
    assert type(ended) is StreamCorrupt
    assert "wrong checks" in str(ended)


# Messages


def misfit(number: int, payload: bytes) -> bytes:
    return ubx.message(number, payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xb5",
        bytes(65536),
        b"\xb5\x62" * 32768,
        KEY[:-1] + b"\0",
        KEY[:30],
        ubx.message(ubx.Message.CFG_VALSET, bytes(12)),
        ubx.message(ubx.Message.MGA_INI, bytes(20)),
        corrections(1)[0],
        b'{"dynamickeys": {}}',
    ],
    ids=["0B", "1B", "64KiB", "64KiB-sync", "checksum", "cut", "CFG", "MGA", "SPARTN", "JSON"],
)
async def test_Q15_an_invalid_key_message_is_dropped_and_the_next_one_passes(
    payload: bytes,
) -> None:
    script = sends(publish(KEYS, payload, identifier=1), publish(KEYS, KEY, identifier=2))
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert [frame.data for frame in await take(session, 1)] == [KEY]


async def test_assistance_passes_and_nothing_else_of_ubx() -> None:
    mga = ubx.message(ubx.Message.MGA_GPS, bytes(68))
    reset = ubx.message(ubx.Message.CFG_RST, b"\xff\xff\0\0")
    script = sends(publish(ASSIST, mga + reset + mga, identifier=1), publish(DATA, reset + KEY))
    async with (
        ScriptedBroker(script) as broker,
        MqttSession(endpoint(broker, DATA, ASSIST)) as session,
    ):
        assert [frame.data for frame in await take(session, 2)] == [mga, mga]
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(session)
        assert session.counts.frames == {"MGA-GPS": 2, "CFG-RST": 1}


async def test_Q17_a_flood_drops_the_oldest_and_keeps_the_newest_and_the_keys() -> None:
    frames = corrections(3000)
    script = sends(publish(KEYS, KEY, identifier=1), *(publish(DATA, each) for each in frames))
    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        async with asyncio.timeout(5):
            while sum(session.counts.frames.values()) < 3001:
                await asyncio.sleep(0.01)
        kept = await take(session, 3001 - session.counts.overrun)
    assert sum(len(frame.data) for frame in kept) <= QUEUE_BYTES
    assert kept[0].data == KEY
    assert [frame.data for frame in kept[1:]] == frames[-len(kept) + 1 :]


async def test_Q17_a_flood_without_end_takes_no_more_of_each_turn_as_it_goes_on() -> None:
    flood = b"".join(publish(DATA, each) for each in corrections(1000)) * 200

    async with (
        ScriptedBroker(sends(flood)) as broker,
        MqttSession(endpoint(broker)) as session,
    ):
        turns = most_bytes = 0  # turns of the event loop
        while turns < 300 or session.counts.bytes <= 1_000_000:
            before = session.counts.bytes
            await asyncio.sleep(0)
            most_bytes = max(most_bytes, session.counts.bytes - before)
            turns += 1
    assert most_bytes < 3 * 8192


async def test_Q17_a_flood_whose_acknowledgements_the_broker_reads_ends_no_session() -> None:
    frame = corrections(1)[0]

    async def script(client: Peer) -> None:
        await client.accept()
        for identifier in range(1, 10_001):
            client.send(publish(KEYS, b"", identifier=identifier))
        for _ in range(10_000):
            await client.expect(mqtt_packets.PUBACK)
        client.send(publish(DATA, frame))
        await forever()

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert [each.data for each in await take(session, 1)] == [frame]


async def test_Q17_a_thousand_messages_a_second_are_read_as_they_come() -> None:
    frames = corrections(500)

    async def script(client: Peer) -> None:
        await client.accept()
        for number, frame in enumerate(frames):
            client.send(publish(DATA, frame))
            if number % 10 == 0:
                await asyncio.sleep(0.01)
        await forever()

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert [frame.data for frame in await take(session, 500)] == frames
        assert session.counts.overrun == 0


async def test_Q19_a_message_delivered_twice_is_acknowledged_twice_and_harmless() -> None:
    acknowledged: list[bytes] = []

    async def script(client: Peer) -> None:
        await client.accept()
        client.send(publish(KEYS, KEY, identifier=7))
        client.send(publish(KEYS, KEY, identifier=7, duplicate=True))
        for _ in range(2):
            acknowledged.append((await client.expect(mqtt_packets.PUBACK)).body)
        await forever()

    async with ScriptedBroker(script) as broker, MqttSession(endpoint(broker)) as session:
        assert [frame.data for frame in await take(session, 2)] == [KEY, KEY]
        async with asyncio.timeout(2):
            while len(acknowledged) < 2:
                await asyncio.sleep(0.01)
    assert acknowledged == [b"\0\7", b"\0\7"]


@pytest.mark.parametrize(
    "stray",
    [
        publish("/pp/ip/us", corrections(1)[0]),
        publish("/pp/ip/eu/ocb", corrections(1)[0]),
        mqtt_packets.packet(mqtt_packets.PUBLISH, b"\0\2\xff\xfe" + corrections(1)[0]),
        publish(DATA, corrections(1)[0], retain=True),
    ],
    ids=["other-region", "below", "no-utf8", "retained"],
)
async def test_Q20_messages_of_other_topics_are_dropped(stray: bytes) -> None:
    wanted = corrections(2)[1]
    async with (
        ScriptedBroker(sends(stray, publish(DATA, wanted))) as broker,
        MqttSession(endpoint(broker)) as session,
    ):
        assert [frame.data for frame in await take(session, 1)] == [wanted]
        assert session.counts.bytes == len(wanted), "the other one was not even scanned"


async def test_Q20_a_wildcard_sorts_messages_by_topic() -> None:
    frame = corrections(1)[0]
    script = sends(
        publish("/pp/key/ip", b'{"dynamickeys": {}}'),
        publish("/pp/frequencies/Lb", b"{}"),
        publish(DATA, frame),
        publish(KEYS, KEY),
        *(publish(f"/pp/ip/{number}", frame[:20]) for number in range(200)),
        publish(DATA, frame),
    )
    async with (
        ScriptedBroker(script) as broker,
        MqttSession(endpoint(broker, "/pp/#")) as session,
    ):
        assert [frame.data for frame in await take(session, 3)] == [frame, KEY, frame]
        scanned_topics = 62  # of 200: the memory for them is bounded
        assert session.counts.bytes == 2 * len(frame) + len(KEY) + 20 * scanned_topics


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    return str(authority.write(tmp_path / "ca.pem"))


@pytest.mark.parametrize("count", [5, 200])
async def test_messages_in_one_tls_record_are_delivered_at_once(
    count: int, authority: Authority, ca_file: str
) -> None:
    """OpenSSL decrypts a record whole; the part that paho leaves makes no socket readable."""
    frames = corrections(count, size=20)
    record = b"".join(publish(DATA, frame) for frame in frames)
    assert len(record) < 16384
    async with (
        ScriptedBroker(sends(record), tls=authority.server_context()) as broker,
        MqttSession(endpoint(broker, tls=True, ca_file=ca_file)) as session,
        asyncio.timeout(1),
    ):
        got = [await anext(session) for _ in frames]
    assert [frame.data for frame in got] == frames


async def test_a_server_of_an_unknown_issuer_is_not_trusted(ca_file: str) -> None:
    async with ScriptedBroker(sends(), tls=Authority().server_context()) as broker:
        with pytest.raises(TlsUntrusted):
            async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
                pass


async def test_the_system_store_does_not_trust_a_private_issuer(authority: Authority) -> None:
    async with ScriptedBroker(sends(), tls=authority.server_context()) as broker:
        with pytest.raises(TlsUntrusted):
            async with MqttSession(endpoint(broker, tls=True)):
                pass


async def test_a_certificate_for_another_name_is_refused(
    authority: Authority, ca_file: str
) -> None:
    context = authority.server_context("other.invalid")
    async with ScriptedBroker(sends(), tls=context) as broker:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(TlsHostname):
                async with MqttSession(endpoint(broker, host=host, tls=True, ca_file=ca_file)):
                    pass


async def test_an_expired_certificate_blames_the_clock(authority: Authority, ca_file: str) -> None:
    expired = server_context(authority.server(not_after=datetime(2020, 1, 1)))
    async with ScriptedBroker(sends(), tls=expired) as broker:
        with pytest.raises(TlsClock):
            async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
                pass


async def test_a_server_without_tls_12_is_refused(ca_file: str) -> None:
    async def script(client: Peer) -> None:
        client.send(bytes.fromhex("15 0301 0002 02 46"))  # alert: fatal, protocol version
        await forever()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(TlsVersion):
            async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
                pass


async def test_a_server_without_tls_has_its_own_error(ca_file: str) -> None:
    async def script(client: Peer) -> None:
        client.send(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 4)
        await forever()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(TlsVersion):
            async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
                pass


async def test_a_connection_cut_in_the_handshake_is_lost(ca_file: str) -> None:
    async def script(client: Peer) -> None:
        await asyncio.sleep(0.05)
        client.close()

    async with ScriptedBroker(script) as broker:
        with pytest.raises(ConnectionLost):
            async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file)):
                pass


# Leaving


def timers(loop: Any) -> list[asyncio.TimerHandle]:
    return [handle for handle in loop._scheduled if not handle.cancelled()]


def watched(loop: Any) -> int:
    return len(loop._selector.get_map())


@pytest.mark.parametrize("tls", [False, True])
async def test_leaving_sends_disconnect_and_leaves_nothing_behind(
    tls: bool, authority: Authority, ca_file: str
) -> None:
    loop = asyncio.get_running_loop()
    last: asyncio.Future[int] = loop.create_future()

    async def script(client: Peer) -> None:
        await client.accept()
        client.send(publish(DATA, b"".join(corrections(3))))
        last.set_result((await client.packet()).type)
        with pytest.raises(EOFError):
            await client.packet()

    context = authority.server_context() if tls else None
    async with ScriptedBroker(script, tls=context) as broker:
        tasks, threads = asyncio.all_tasks(), threading.active_count()
        before = len(timers(loop)), watched(loop)
        async with MqttSession(endpoint(broker, tls=tls, ca_file=ca_file)) as session:
            await take(session, 1)
            async with asyncio.timeout(1):  # those that resolved and read files end by themselves
                while threading.active_count() > threads:
                    await asyncio.sleep(0.01)
            assert len(timers(loop)) == before[0] + 1
        assert await last == mqtt_packets.DISCONNECT
        async with asyncio.timeout(2):
            while asyncio.all_tasks() != tasks:
                await asyncio.sleep(0.01)
        assert (len(timers(loop)), watched(loop)) == before
        assert type(await end(session)) is SessionClosed
    gc.collect()  # an unclosed socket would warn


Play = Callable[[Peer], Awaitable[None]]


async def _mute(client: Peer) -> None:
    await client.packet()
    await forever()


async def _refuse(client: Peer) -> None:
    await client.packet()
    client.send(connack(5))
    await client.packet()


async def _drop(client: Peer) -> None:
    await client.accept()
    client.reset()


@pytest.mark.parametrize("play", [_mute, _refuse, _drop])
async def test_a_session_that_fails_leaves_nothing_behind(play: Play) -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedBroker(play) as broker:
        before = len(timers(loop)), watched(loop)
        with suppress(ZtpdError):
            async with MqttSession(endpoint(broker), timeout_s=0.2) as session:
                await end(session)
        await asyncio.sleep(0.05)
        assert len(timers(loop)) == before[0]
        assert watched(loop) <= before[1] + 1  # the broker's end of it
    gc.collect()


async def test_a_session_cancelled_while_it_opens_leaves_nothing_behind() -> None:
    loop = asyncio.get_running_loop()
    async with ScriptedBroker(_mute) as broker:
        before = len(timers(loop)), watched(loop)
        opening = asyncio.create_task(MqttSession(endpoint(broker)).__aenter__())
        await asyncio.sleep(0.1)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        await asyncio.sleep(0.05)
        assert (len(timers(loop)), watched(loop)) == before
    gc.collect()


def test_an_idle_session_hardly_wakes_up() -> None:
    class Counting(asyncio.SelectorEventLoop):
        turns = 0

        def _run_once(self) -> None:
            self.turns += 1
            super()._run_once()  # type: ignore[misc]

    async def idle() -> int:
        loop: Any = asyncio.get_running_loop()
        async with ScriptedBroker(sends()) as broker, MqttSession(endpoint(broker)):
            await asyncio.sleep(0.1)
            before: int = loop.turns
            await asyncio.sleep(1.5)
            after: int = loop.turns
            return after - before

    with asyncio.Runner(loop_factory=Counting) as runner:
        assert runner.run(idle()) <= 2


async def test_a_client_pair_that_is_none_is_refused_before_connecting(
    ca_file: str, authority: Authority
) -> None:
    own, other = authority.client("gateway"), authority.client("gateway")
    async with ScriptedBroker(sends()) as broker:
        for certificate, key in (("-----BEGIN", Secret("")), (own.certificate, other.private_key)):
            pair = {"certificate": certificate, "private_key": key}
            with pytest.raises(SessionRefused):
                async with MqttSession(endpoint(broker, tls=True, ca_file=ca_file, **pair)):
                    pass
        assert broker.sessions == 0


async def test_an_encrypted_key_is_refused_without_a_prompt(
    ca_file: str, authority: Authority
) -> None:
    pair = authority.client("gateway")
    key = load_pem_private_key(pair.private_key.reveal().encode(), None)
    locked = key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"word")
    ).decode()
    async with ScriptedBroker(sends()) as broker:
        wanted = endpoint(
            broker,
            tls=True,
            ca_file=ca_file,
            certificate=pair.certificate,
            private_key=Secret(locked),
        )
        with pytest.raises(SessionRefused):
            async with MqttSession(wanted):
                pass


async def test_a_ca_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "ca.pem"
    empty = tmp_path / "empty.pem"
    empty.touch()
    async with ScriptedBroker(sends()) as broker:
        for path in (missing, empty):
            with pytest.raises(ConfigFileUnusable, match=path.name):
                async with MqttSession(endpoint(broker, tls=True, ca_file=str(path))):
                    pass
