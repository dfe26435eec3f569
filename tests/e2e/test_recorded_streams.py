"""Recorded streams through a real broker with mutual TLS, cut at random places, to the receiver."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pyrtcm
import pyspartn
import pytest

from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.model import FrameKind
from ztpd.sim import corrections
from ztpd.sim.broker import Broker, find_mosquitto
from ztpd.sim.receiver import SimReceiver
from ztpd.wire.frames import rtcm_frame, spartn_frame

BYTES_PER_S = 60_000
TOPIC = "corrections/base"

needs_mosquitto = pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed")


def spartn_by_oracle(stream: bytes) -> list[bytes]:
    reader = pyspartn.SPARTNReader(BytesIO(stream), quitonerror=0, decode=False)
    return [raw for raw, _ in reader if raw]


def rtcm_by_oracle(stream: bytes) -> list[bytes]:
    reader = pyrtcm.RTCMReader(BytesIO(stream), quitonerror=0, labelmsm=0)
    return [raw for raw, _ in reader if raw]


def cut(stream: bytes, rng: random.Random) -> Iterator[bytes]:
    while stream:
        size = rng.randrange(1, 700)
        yield stream[:size]
        stream = stream[size:]


async def sent_and_received(
    tmp_path: Path, stream: bytes, herald: bytes, kind: FrameKind
) -> list[bytes]:
    """The frames of ``stream`` that the receiver accepts. ``herald`` is sent until one passes."""
    gateway, rng = Gateway(tmp_path), random.Random(7)
    client = gateway.authority.client("gateway-1")
    certificate, key = client.write(tmp_path, "client")
    async with (
        Broker(gateway.authority) as broker,
        gateway.receiver() as receiver,
    ):
        gateway.configure(
            receiver={"port": gateway.gnss.path, "baudrate": 921_600},
            mqtt={
                "host": broker.host,
                "port": broker.port,
                "topics": [TOPIC],
                "ca_file": gateway.ca_file,
                "cert_file": certificate,
                "key_file": key,
            },
        )
        async with gateway.running():
            while not receiver.corrections():
                await broker.publish(TOPIC, herald)
                await asyncio.sleep(0.2)
            for piece in cut(stream, rng):
                await broker.publish(TOPIC, piece)
                await asyncio.sleep(len(piece) / BYTES_PER_S)
            await broker.publish(TOPIC, herald)
            await until(lambda: ended(receiver, herald))
            await until(lambda: gateway.status.get("state") == "streaming")
    arrived = [frame for frame in receiver.corrections() if frame.data != herald]
    assert {frame.kind for frame in arrived} == {kind}
    return [frame.data for frame in arrived]


def ended(receiver: SimReceiver, herald: bytes) -> bool:
    """Whether the herald that was sent last has come."""
    frames = receiver.corrections()
    return len(frames) > 2 and frames[-1].data == herald and frames[-2].data != herald


SPARTN_HERALD = spartn_frame(2, 0, b"herald", time_tag=1)
RTCM_HERALD = rtcm_frame(bytes([4072 >> 4, (4072 & 15) << 4, 1, 2, 3]))


@needs_mosquitto
@pytest.mark.parametrize(
    ("name", "count"),
    [("spartnMIXED.log", 422), ("spartn_rollover_32and16_20240428235040.log", 99)],
)
async def test_recorded_spartn_arrives_frame_by_frame(
    captures: Path, tmp_path: Path, name: str, count: int
) -> None:
    stream = (captures / name).read_bytes()
    expected = spartn_by_oracle(stream)
    arrived = await sent_and_received(tmp_path, stream, SPARTN_HERALD, FrameKind.SPARTN)

    assert len(expected) == count
    assert arrived == expected


@needs_mosquitto
async def test_recorded_rtcm_arrives_frame_by_frame(captures: Path, tmp_path: Path) -> None:
    stream = (captures / "rtcm3-base-station.log").read_bytes()
    expected = rtcm_by_oracle(stream)
    arrived = await sent_and_received(tmp_path, stream, RTCM_HERALD, FrameKind.RTCM3)

    assert len(expected) > 1000
    assert arrived == expected


@needs_mosquitto
@pytest.mark.parametrize("kind", [FrameKind.SPARTN, FrameKind.RTCM3])
async def test_made_streams_arrive_frame_by_frame(tmp_path: Path, kind: FrameKind) -> None:
    rng = random.Random(3)
    made = corrections.spartn(rng) if kind is FrameKind.SPARTN else corrections.rtcm(rng)
    expected = [piece.data for piece in itertools.islice(made, 100)]
    herald = SPARTN_HERALD if kind is FrameKind.SPARTN else RTCM_HERALD

    assert await sent_and_received(tmp_path, b"".join(expected), herald, kind) == expected
