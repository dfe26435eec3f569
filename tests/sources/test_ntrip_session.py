"""One NTRIP session against the simulated caster: every form of stream, every way to fail.

The R numbers are those of the fault matrix. Those that need the relay's waits are tested here up
to the typed error that the relay receives.
"""

from __future__ import annotations

import asyncio
import io
import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pynmeagps
import pytest
from pyrtcm import RTCMReader
from pyspartn import SPARTNReader

from tests.support.ntrip_bench import (
    FIX,
    FRAMES,
    NO_FIX,
    NULL_ISLAND,
    blocks,
    canned,
    endless,
    endpoint,
    opened,
    refused,
    secure,
    settled,
    take,
    until_end,
)
from tests.support.virtualtime import run
from ztpd.errors import (
    CasterForbidden,
    ConfigError,
    ConnectionLost,
    ConnectRefused,
    ConnectTimeout,
    GgaRequired,
    MountpointNotServed,
    MountpointUnknown,
    Retry,
    SessionClosed,
    SessionError,
    SessionNotActive,
    SessionProtocol,
    SessionRefused,
    StreamCorrupt,
    TlsHostname,
    TlsMismatch,
    TlsUntrusted,
    ZtpdError,
)
from ztpd.model import Carrier, Fix, Frame, FrameKind, NtripAccess, Secret
from ztpd.sim.authority import Authority
from ztpd.sim.caster import Caster
from ztpd.sim.caster_answers import Form
from ztpd.sim.proxy import FaultProxy, Line
from ztpd.sources.casters import HOLD_S, STABLE_S, GgaPolicy
from ztpd.sources.endpoints import ntrip_port
from ztpd.sources.ntrip import NtripSession
from ztpd.wire.frames import Scanner, spartn_frame
from ztpd.wire.ubx import Message, message

PLAIN = FIX._replace(carrier=Carrier.NONE)


# The port


def access(http: int | None, https: int | None) -> NtripAccess:
    return NtripAccess("h", "u", Secret("p"), "M", http_port=http, https_port=https)


@pytest.mark.parametrize(
    ("configured", "of_answer", "tls", "port"),
    [
        (4000, access(2101, 443), True, 4000),
        (4000, access(2101, 443), False, 4000),
        (None, access(2101, 443), True, 443),
        (None, access(2101, None), True, 2102),
        (None, access(None, None), True, 2102),
        (None, access(8080, None), True, 8080),
        (None, None, True, 2102),
        (None, access(2101, 443), False, 2101),
        (None, access(8080, 443), False, 8080),
        (None, access(None, 443), False, 2101),
        (None, None, False, 2101),
        (0, access(2101, None), True, 2102),
    ],
)
def test_the_port_follows_configuration_then_answer_then_convention(
    configured: int | None, of_answer: NtripAccess | None, tls: bool, port: int
) -> None:
    assert ntrip_port(configured, of_answer, tls) == port


# Which position is sent, and when


def looked(
    policy: GgaPolicy, fix: Fix | None, start_s: int, end_s: int, interval_s: float = 10.0
) -> list[tuple[int, bytes]]:
    """Times and sentences sent while the receiver has ``fix``."""
    sent = []
    for now_s in range(start_s, end_s):
        policy.update(fix, now_s)
        if sentence := policy.next_sentence(now_s, interval_s=interval_s):
            sent.append((now_s, sentence))
    return sent


def test_the_first_position_comes_after_a_stable_fix_of_3_s() -> None:
    assert [now_s for now_s, _ in looked(GgaPolicy(), PLAIN, 0, 30)] == [3, 13, 23]


@pytest.mark.parametrize("fix", [None, NO_FIX, NULL_ISLAND, FIX._replace(lat_deg=float("nan"))])
def test_an_invalid_position_is_never_sent_to_the_caster(fix: Fix | None) -> None:
    assert looked(GgaPolicy(), fix, 0, 100) == []


@pytest.mark.parametrize("carrier", [Carrier.FLOAT, Carrier.FIXED])
def test_FR72_a_fix_with_resolved_phases_is_a_stable_one_at_once(carrier: Carrier) -> None:
    (sent_s, _), *_ = looked(GgaPolicy(), FIX._replace(carrier=carrier), 0, 5)
    assert sent_s == 0


def test_a_flapping_fix_is_not_sent() -> None:
    policy = GgaPolicy()
    for now_s in range(0, 60, 3):
        assert looked(policy, PLAIN, now_s, now_s + 2) == []
        assert looked(policy, NO_FIX, now_s + 2, now_s + 3) == []


def test_a_position_is_held_for_5_minutes_with_its_age() -> None:
    policy = GgaPolicy()
    looked(policy, PLAIN, 0, 4)  # sent at 3
    held = looked(policy, None, 4, 1000)
    assert [now_s for now_s, _ in held] == list(range(13, 304, 10))
    ages = [float(sentence.split(b",")[13]) for _, sentence in held]
    assert ages == [float(now_s - 3) for now_s, _ in held]
    assert ages[-1] == HOLD_S
    assert {sentence.split(b",")[6] for _, sentence in held} == {b"1"}
    assert {sentence.split(b",")[1] for _, sentence in held} == {b"120005.00"}


def test_a_held_position_gives_way_to_a_stable_new_one_only() -> None:
    policy = GgaPolicy()
    looked(policy, PLAIN, 0, 5, 1.0)
    looked(policy, None, 5, 10, 1.0)
    elsewhere = PLAIN._replace(lat_deg=10.0)
    sent = looked(policy, elsewhere, 10, 20, 1.0)
    assert [sentence[17:19] for _, sentence in sent] == [b"47"] * 3 + [b"10"] * 7


def test_R13_never_more_than_one_a_second() -> None:
    policy = GgaPolicy()
    times = []
    for tick in range(100):
        policy.update(PLAIN, tick / 10)
        if policy.next_sentence(tick / 10, interval_s=0.0):
            times.append(tick / 10)
    assert times == [3, 4, 5, 6, 7, 8, 9]


def test_a_pause_between_two_updates_is_no_stable_fix() -> None:
    policy = GgaPolicy()
    policy.update(PLAIN, 0)
    policy.update(PLAIN, 100)
    assert not policy.has_position(100)


def test_every_sentence_is_whole_and_without_an_empty_field() -> None:
    policy = GgaPolicy()
    for _, sentence in looked(policy, FIX, 0, 20) + looked(policy, None, 20, 60):
        assert all(sentence.split(b","))
        parsed = pynmeagps.NMEAReader.parse(sentence, validate=pynmeagps.VALCKSUM)
        assert parsed.lat == pytest.approx(FIX.lat_deg, abs=1e-5)
        assert parsed.lon == pytest.approx(FIX.lon_deg, abs=1e-5)
        assert parsed.alt == FIX.height_m


# Streams

FORMS: tuple[Form, ...] = (
    "icy",
    "icy-short",
    "icy-headers",
    "http10",
    "identity",
    "chunked",
    "odd",
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", ["auto", "1"])
@pytest.mark.parametrize("needs_gga", [False, True], ids=["", "GGA"])
async def test_R05_R06_every_form_brings_every_frame(
    form: Form, version: str, needs_gga: bool
) -> None:
    """All mixes of answer, coding and version; a GGA is sent after each of them."""
    feed = blocks(*FRAMES)
    async with (
        Caster({"NEAR-RTCM": feed}, form=form, needs_gga=needs_gga) as caster,
        NtripSession(
            endpoint(caster.port, version=version), position=lambda: FIX, gga=settled()
        ) as session,
    ):
        frames = await take(session, len(FRAMES))
        assert [frame.data for frame in frames] == FRAMES
        assert session.counts.skipped_bytes == 0
        assert caster.ggas[0].in_request
        assert (b"Ntrip-Version" in caster.requests[0]) is (version == "auto")


@pytest.mark.parametrize("form", ["icy-short", "chunked"])
def test_a_caster_that_ignores_the_header_gets_the_position_in_the_stream(form: Form) -> None:
    async def main() -> list[tuple[float, bool]]:
        async with Caster({"NEAR-RTCM": endless()}, form=form) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled())
            async with opened(session):
                await take(session, 25)
            return [(gga.at_s - caster.ggas[0].at_s, gga.in_request) for gga in caster.ggas]

    reported = run(main())
    assert [in_request for _, in_request in reported] == [True, False, False, False]
    waits = [second - first for (first, _), (second, _) in itertools.pairwise(reported)]
    assert waits[0] == pytest.approx(1, abs=1.1)
    assert waits[1:] == pytest.approx([10, 10], abs=1.1)


def test_the_position_is_sent_as_soon_as_it_is_stable() -> None:
    async def main() -> tuple[list[float], list[Frame]]:
        loop = asyncio.get_running_loop()
        start_s = loop.time() + 5
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            session = NtripSession(
                endpoint(caster.port), position=lambda: PLAIN if loop.time() >= start_s else NO_FIX
            )
            async with opened(session):
                frames = await take(session, 3)
            return [gga.at_s - start_s for gga in caster.ggas], frames

    reported, frames = run(main())
    assert reported == [pytest.approx(STABLE_S, abs=1.1)]
    assert len(frames) == 3


def test_a_session_outlives_a_loss_of_fix_of_4_minutes() -> None:
    """The caster ends sessions whose GGA stops for 30 s (ARK-OS#115)."""

    async def main() -> tuple[int, list[str]]:
        lost = False
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            session = NtripSession(
                endpoint(caster.port), position=lambda: None if lost else FIX, gga=settled()
            )
            async with opened(session):
                await take(session, 30)
                lost = True
                frames = await take(session, 240)
            return len(frames), [gga.sentence.split(",")[6] for gga in caster.ggas]

    count, qualities = run(main())
    assert count == 240
    assert qualities[:3] == ["4", "4", "4"]
    assert qualities[-20:] == ["1"] * 20


def test_a_session_that_ends_for_want_of_a_position_says_so() -> None:
    async def main() -> ZtpdError:
        lost = False
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            session = NtripSession(
                endpoint(caster.port), position=lambda: None if lost else FIX, gga=settled()
            )
            async with opened(session):
                await take(session, 5)
                lost = True
                return (await until_end(session))[1]

    assert isinstance(run(main()), GgaRequired)


def test_a_policy_bridges_a_reconnection_without_a_fix() -> None:
    async def main() -> list[bool]:
        policy = settled()
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            seen: list[Fix | None] = [FIX, None]
            while seen:
                session = NtripSession(endpoint(caster.port), position=lambda: seen[0], gga=policy)
                async with opened(session):
                    await take(session, 15)
                seen.pop(0)
            return [gga.in_request for gga in caster.ggas]

    assert run(main()).count(True) == 2


async def test_the_three_kinds_of_frame_pass_and_nothing_else() -> None:
    spartn = spartn_frame(1, 0, bytes(60), time_tag=1)
    ubx = message(Message.ACK_ACK, b"\x06\x8a")
    noise = b"$GNGGA,,,*00\r\nHTTP/1.1 200 OK\r\n\xd3\xff\x00"
    async with (
        Caster({"NEAR-RTCM": blocks(noise + FRAMES[0], spartn + noise, ubx)}) as caster,
        NtripSession(endpoint(caster.port), position=lambda: None) as session,
    ):
        frames = await take(session, 3)
        assert [frame.kind for frame in frames] == [
            FrameKind.RTCM3,
            FrameKind.SPARTN,
            FrameKind.UBX,
        ]
        assert session.counts.skipped_bytes == 2 * len(noise)


def test_a_whole_frame_behind_the_start_of_none_comes_when_the_stream_is_quiet() -> None:
    async def main() -> float:
        beginning = b"\xd3\x03\xff"  # promises 1023 bytes
        async with Caster({"NEAR-RTCM": blocks(beginning + FRAMES[0])}) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: None)
            async with opened(session):
                before = asyncio.get_running_loop().time()
                assert (await take(session, 1))[0].data == FRAMES[0]
                return asyncio.get_running_loop().time() - before

    assert run(main()) < 5


async def test_frames_before_the_end_are_delivered_before_it() -> None:
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES, more=False)}, form="odd") as caster,
        NtripSession(endpoint(caster.port), position=lambda: None) as session,
    ):
        frames, error = await until_end(session)
        assert [frame.data for frame in frames] == FRAMES
        assert isinstance(error, SessionClosed)
        with pytest.raises(SessionClosed):
            await anext(session)


async def test_a_second_session_of_one_user_ends_the_first() -> None:
    users = {"user": "secret"}
    async with Caster({"NEAR-RTCM": endless(0.01)}, users=users) as caster:
        async with NtripSession(endpoint(caster.port), position=lambda: None) as first:
            await take(first, 1)
            async with NtripSession(endpoint(caster.port), position=lambda: None) as second:
                await take(second, 1)
                _, error = await until_end(first)
        assert isinstance(error, SessionClosed | ConnectionLost)
        assert caster.evicted == 1


# Refusals


def gone(fault: str, *, reported: bool = True, fresh: bool = False, **changes: Any) -> ZtpdError:
    """How a session with a caster of that fault fails to open, in virtual time."""

    async def main() -> ZtpdError:
        async with Caster({"NEAR-RTCM": endless()}, fault=fault) as caster:
            session = NtripSession(
                endpoint(caster.port, **changes),
                position=lambda: FIX if reported else None,
                fresh_credentials=fresh,
                gga=settled() if reported else None,
            )
            return await refused(session)

    return run(main())


@pytest.mark.parametrize(
    ("fault", "kind", "retry"),
    [
        pytest.param("unauthorized", SessionRefused, Retry.REFUSED, id="R01"),
        pytest.param("forbidden", SessionRefused, Retry.REFUSED, id="R02"),
        pytest.param("not-found", MountpointUnknown, Retry.REFUSED, id="R03"),
        pytest.param("sourcetable", MountpointNotServed, Retry.SERVER, id="R04-listed"),
        pytest.param("banned", CasterForbidden, Retry.REFUSED, id="banned"),
        pytest.param("gzip", SessionProtocol, Retry.SERVER, id="R07"),
        pytest.param("half-head", ConnectTimeout, Retry.SERVER, id="R08-cut"),
        pytest.param("endless-head", SessionProtocol, Retry.SERVER, id="R08-1MiB"),
        pytest.param("no-answer", ConnectTimeout, Retry.SERVER, id="N08"),
        pytest.param("unavailable", SessionError, Retry.SERVER, id="R14"),
    ],
)
@pytest.mark.parametrize("version", ["auto", "1"])
def test_R01_R14_refusals_are_typed_by_their_kind(
    fault: str, kind: type[ZtpdError], retry: Retry, version: str
) -> None:
    error = gone(fault, version=version)
    assert type(error) is kind
    assert error.retry is retry
    assert "127.0.0.1" in str(error)
    assert "secret" not in str(error)


def test_R01_a_401_before_any_position_blames_the_position() -> None:
    error = gone("unauthorized", reported=False)
    assert isinstance(error, GgaRequired)
    assert "401" in str(error)


@pytest.mark.parametrize("reported", [True, False])
def test_R01_a_401_soon_after_provisioning_means_not_active_yet(reported: bool) -> None:
    error = gone("unauthorized", reported=reported, fresh=True)
    assert isinstance(error, SessionNotActive)
    assert error.retry is Retry.SERVER


async def test_a_caster_that_asks_for_the_position_first_gets_it() -> None:
    async with (
        Caster({"NEAR-RTCM": endless()}, fault="gga-first") as caster,
        NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled()) as session,
    ):
        await take(session, 1)


def test_a_fix_that_has_just_come_is_waited_for_until_it_is_stable() -> None:
    async def main() -> tuple[float, bool]:
        loop = asyncio.get_running_loop()
        async with Caster({"NEAR-RTCM": endless()}, fault="gga-first") as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: PLAIN)
            before = loop.time()
            async with opened(session):
                return loop.time() - before, caster.ggas[0].in_request

    took_s, in_request = run(main())
    assert STABLE_S <= took_s < STABLE_S + 1
    assert in_request


@pytest.mark.parametrize("fix", [None, NO_FIX, NULL_ISLAND])
def test_without_a_fix_nothing_is_waited_for(fix: Fix | None) -> None:
    async def main() -> float:
        async with Caster({"NEAR-RTCM": endless()}) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: fix)
            async with opened(session):
                return asyncio.get_running_loop().time()

    assert run(main()) < 1


@pytest.mark.parametrize("name", ["/NEAR-RTCM", "A\r\nX-Evil: 1", "A\x1b[2J"])
async def test_a_mountpoint_of_the_answer_can_break_neither_request_nor_journal(name: str) -> None:
    async with Caster({"OTHER": endless()}) as caster:
        session = NtripSession(endpoint(caster.port, mountpoint=name), position=lambda: None)
        error = await refused(session)
        assert (session.where + str(error)).isprintable()
        assert b"\r\nX-Evil" not in caster.requests[0]
        assert b"//" not in caster.requests[0]


@pytest.mark.parametrize("version", ["auto", "1"])
async def test_R03_R04_an_unknown_mountpoint_is_named_with_its_neighbours(version: str) -> None:
    async with Caster({"NEAR-RTCM": endless()}) as caster:
        wrong = endpoint(caster.port, mountpoint="NEAR-RTMC", version=version)
        error = await refused(NtripSession(wrong, position=lambda: None))
    assert isinstance(error, MountpointUnknown)
    assert "NEAR-RTMC; did you mean NEAR-RTCM?" in str(error)


def test_R08_a_head_that_stops_costs_10_s() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with Caster({"NEAR-RTCM": endless()}, fault="half-head") as caster:
            before = loop.time()
            await refused(NtripSession(endpoint(caster.port), position=lambda: None))
            return loop.time() - before

    assert 10 <= run(main()) < 11.5


def test_a_refusal_with_an_endless_body_is_still_reported() -> None:
    async def main() -> ZtpdError:
        head = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 100\r\n\r\nno"
        async with canned(head, close=False) as port:
            session = NtripSession(endpoint(port), position=lambda: FIX, gga=settled())
            return await refused(session)

    assert isinstance(run(main()), SessionRefused)


@pytest.mark.parametrize("cut", [0, 1, 5, 16, 17, 40])
async def test_R08_a_head_cut_by_the_caster_is_a_closed_session(cut: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: gnss/data\r\n\r\n"
    async with canned(head[:cut]) as port:
        session = NtripSession(endpoint(port), position=lambda: FIX, gga=settled())
        assert isinstance(await refused(session), SessionClosed)


async def test_R14_how_long_the_caster_asks_to_wait_is_handed_on() -> None:
    async with Caster({"NEAR-RTCM": endless()}, fault="unavailable") as caster:
        error = await refused(NtripSession(endpoint(caster.port), position=lambda: None))
    assert error.retry_after_s == 120


@pytest.mark.parametrize("password", ["a:b:c", "pässwörd ünd mehr", "日本"])
async def test_R16_a_password_of_any_characters_opens_the_session(password: str) -> None:
    async with Caster({"NEAR-RTCM": endless()}, users={"üser": password}) as caster:
        mine = endpoint(caster.port, username="üser", password=Secret(password))
        async with NtripSession(mine, position=lambda: None) as session:
            await take(session, 1)


async def test_R16_a_user_name_with_a_colon_never_leaves() -> None:
    async with Caster({"NEAR-RTCM": endless()}) as caster:
        session = NtripSession(endpoint(caster.port, username="a:b"), position=lambda: None)
        assert isinstance(await refused(session), ConfigError)
        assert caster.connections == 0


async def test_N06_a_closed_port_is_reported_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await refused(NtripSession(endpoint(port), position=lambda: None))
    assert isinstance(error, ConnectRefused)
    assert str(port) in str(error)


# Streams that go wrong


@pytest.mark.parametrize("fault", ["bad-chunks", "huge-chunk"])
async def test_R06_broken_chunks_end_the_session_behind_whole_frames(fault: str) -> None:
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES * 3)}, fault=fault) as caster,
        NtripSession(endpoint(caster.port), position=lambda: None) as session,
    ):
        frames, error = await until_end(session)
    assert isinstance(error, SessionProtocol)
    sent = b"".join(FRAMES * 3)[:2048]
    assert b"".join(frame.data for frame in frames) == sent[: len(sent) - _rest(sent)]


def _rest(data: bytes) -> int:
    """Bytes of a frame that was cut off at the end of ``data``."""
    scanner = Scanner(FrameKind.RTCM3)
    scanner.feed(data)
    return scanner.pending


def test_R09_a_stalled_stream_stays_open_and_silent() -> None:
    """The relay gives up on it after stale_after_s; the session only keeps the position going."""

    async def main() -> int:
        async with Caster({"NEAR-RTCM": blocks(*FRAMES * 3)}, fault="stall") as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled())
            async with opened(session):
                await take(session, 36)
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(anext(session), 60)
            return len(caster.ggas)

    assert run(main()) >= 7


def test_R10_a_short_life_ends_as_a_closed_session() -> None:
    """Three in a row are the relay's to judge (kicked)."""

    async def main() -> tuple[float, int, ZtpdError]:
        loop = asyncio.get_running_loop()
        async with Caster({"NEAR-RTCM": endless()}, fault="short-life") as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: None)
            async with opened(session):
                before = loop.time()
                frames, error = await until_end(session)
                return loop.time() - before, len(frames), error

    lived_s, count, error = run(main())
    assert lived_s == pytest.approx(10, abs=0.5)
    assert count == 10
    assert isinstance(error, SessionClosed)


async def test_FR82_a_stream_of_wrong_checks_ends_the_session_by_name() -> None:
    for pattern in (b"\xd3\x03", bytes.fromhex("b562 0107 5c00"), bytes.fromhex("7301f420")):
        feed = blocks(*[pattern * 2000] * 4)
        async with Caster({"NEAR-RTCM": feed}) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled())
            async with opened(session):
                _, ended = await until_end(session)
        assert type(ended) is StreamCorrupt


async def test_FR82_a_caster_that_never_pauses_does_not_stop_other_work() -> None:
    steps = []

    async def follow(session: NtripSession) -> None:
        before = 0
        while True:
            steps.append(session.counts.bytes - before)
            before = session.counts.bytes
            await asyncio.sleep(0)

    feed = blocks(b"\x73" * 500_000, FRAMES[0])
    async with Caster({"NEAR-RTCM": feed}) as caster:
        session = NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled())
        async with opened(session):
            following = asyncio.create_task(follow(session))
            await take(session, 1)
            following.cancel()
    assert max(steps) <= 4096
    assert sum(steps) > 400_000


async def test_R11_damaged_frames_are_dropped_and_counted() -> None:
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES)}, fault="bad-crc") as caster,
        NtripSession(endpoint(caster.port), position=lambda: None) as session,
    ):
        frames = await take(session, 30)
        assert [frame.data for frame in frames] == [
            frame for number, frame in enumerate(FRAMES, 1) if number % 4
        ]
        assert session.counts.bad_checks >= 9


def test_R11_noise_between_frames_costs_no_frame() -> None:
    async def main() -> list[Frame]:
        async with Caster({"NEAR-RTCM": blocks(*FRAMES)}, fault="noise") as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: None)
            async with opened(session):
                return await take(session, len(FRAMES))

    assert [frame.data for frame in run(main())] == FRAMES


@pytest.mark.parametrize("fix", [None, NO_FIX, NULL_ISLAND])
def test_R12_a_caster_that_waits_for_a_position_is_not_a_silent_link(fix: Fix | None) -> None:
    async def main() -> tuple[float, ZtpdError, int]:
        loop = asyncio.get_running_loop()
        async with Caster({"NEAR-RTCM": endless()}, needs_gga=True) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: fix)
            async with opened(session):
                before = loop.time()
                _, error = await until_end(session)
                return loop.time() - before, error, len(caster.ggas)

    waited_s, error, reported = run(main())
    assert isinstance(error, GgaRequired)
    assert error.retry is Retry.LOCAL
    assert 10 <= waited_s <= 11
    assert reported == 0


def test_R12_a_silent_receiver_is_polled_rarely_and_the_last_position_repeated() -> None:
    """An idle session must not wake up for a position that cannot come."""
    looks: list[float] = []

    def nothing() -> None:
        looks.append(asyncio.get_running_loop().time())

    async def main() -> list[float]:
        async with Caster({"NEAR-RTCM": endless(30)}, needs_gga=True) as caster:
            session = NtripSession(endpoint(caster.port), position=nothing, gga=settled())
            async with opened(session):
                looks.clear()
                await take(session, 4)
            return [gga.at_s for gga in caster.ggas]

    reported = run(main())
    assert len(set(looks)) <= 90 / 5 + 4
    assert max(after - before for before, after in itertools.pairwise(reported)) <= 15.6


def test_R12_a_single_base_streams_without_any_position() -> None:
    async def main() -> int:
        async with Caster({"NEAR-RTCM": endless()}) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: None)
            async with opened(session):
                return len(await take(session, 60))

    assert run(main()) == 60


def test_R13_one_position_in_10_s_over_three_minutes() -> None:
    """The one in the request is repeated on the stream: NTRIP 1 casters read no headers."""

    async def main() -> list[float]:
        async with Caster({"NEAR-RTCM": endless(0.5)}, needs_gga=True) as caster:
            session = NtripSession(endpoint(caster.port), position=lambda: FIX)
            async with opened(session):
                await take(session, 360)
            return [gga.at_s for gga in caster.ggas]

    reported = run(main())
    waits = [after - before for before, after in itertools.pairwise(reported)]
    assert 18 <= len(reported) <= 20
    assert waits[0] >= 1
    assert min(waits[1:]) >= 9
    assert max(waits) <= 11.1


@pytest.mark.parametrize("cut", [0, 100, 1000])
async def test_a_cut_line_is_a_closed_session_and_a_reset_one_a_lost_connection(cut: int) -> None:
    async with Caster({"NEAR-RTCM": blocks(*FRAMES)}, form="icy") as caster:
        for line, kind in (
            (Line(cut_at=14 + cut), SessionClosed),
            (Line(reset_at=14 + cut), ConnectionLost),
        ):
            async with FaultProxy("127.0.0.1", caster.port, to_client=line) as proxy:
                session = NtripSession(endpoint(proxy.port), position=lambda: FIX, gga=settled())
                async with session:
                    frames, error = await until_end(session)
            assert isinstance(error, kind)
            data = b"".join(FRAMES)[:cut]
            whole = data[: len(data) - _rest(data)]
            got = b"".join(frame.data for frame in frames)
            assert got == whole or (kind is ConnectionLost and whole.startswith(got))


@pytest.mark.parametrize("line", [Line(piece=1), Line(piece=7), Line(coalesce_s=0.2)])
async def test_no_split_of_the_stream_costs_a_frame(line: Line) -> None:
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES)}, form="odd") as caster,
        FaultProxy("127.0.0.1", caster.port, to_client=line) as proxy,
        NtripSession(endpoint(proxy.port), position=lambda: None) as session,
    ):
        frames = await take(session, len(FRAMES))
        assert [frame.data for frame in frames] == FRAMES


# TLS


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
def ca_file(authority: Authority, tmp_path: Path) -> str:
    return str(authority.write(tmp_path / "ca.pem"))


async def test_tls_is_verified_and_names_the_host_it_wants(
    authority: Authority, ca_file: str
) -> None:
    names = []
    context = authority.server_context("localhost")
    context.sni_callback = lambda _sock, name, _context: names.append(name)
    async with (
        Caster({"NEAR-RTCM": blocks(*FRAMES)}, tls=context) as caster,
        NtripSession(secure(caster.port, ca_file), position=lambda: None) as session,
    ):
        frames = await take(session, len(FRAMES))
        assert [frame.data for frame in frames] == FRAMES
        assert names == ["localhost"]


async def test_N14_a_caster_that_cannot_be_trusted_sees_no_password(authority: Authority) -> None:
    async with Caster(
        {"NEAR-RTCM": endless()}, tls=authority.server_context("localhost")
    ) as caster:
        error = await refused(NtripSession(secure(caster.port, ""), position=lambda: None))
        assert isinstance(error, TlsUntrusted)
        assert caster.requests == []


async def test_N15_a_certificate_for_another_name_is_refused(
    authority: Authority, ca_file: str
) -> None:
    context = authority.server_context("other.example")
    async with Caster({"NEAR-RTCM": endless()}, tls=context) as caster:
        error = await refused(NtripSession(secure(caster.port, ca_file), position=lambda: None))
        assert isinstance(error, TlsHostname)
        assert caster.requests == []


async def test_R15_a_plain_client_on_a_tls_port(authority: Authority) -> None:
    async with Caster({"NEAR-RTCM": endless()}, tls=authority.server_context()) as caster:
        error = await refused(
            NtripSession(endpoint(caster.port), position=lambda: FIX, gga=settled())
        )
        assert isinstance(error, TlsMismatch | SessionClosed | ConnectionLost)


async def test_R15_an_alert_in_answer_to_plain_text() -> None:
    async with canned(bytes.fromhex("15030300020246")) as port:
        error = await refused(NtripSession(endpoint(port), position=lambda: None))
    assert isinstance(error, TlsMismatch)
    assert "[ntrip] tls" in str(error)
    assert error.needs_person


async def test_R15_a_tls_client_on_a_plain_port(ca_file: str) -> None:
    """A plain server reads the hello as a line of nonsense, and says so in plain text."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        error = await refused(NtripSession(secure(port, ca_file), position=lambda: None))
    assert isinstance(error, TlsMismatch)
    assert "[ntrip] tls" in str(error)


def test_R15_a_tls_client_on_a_plain_port_that_keeps_silent(ca_file: str) -> None:
    async def main() -> ZtpdError:
        async with Caster({"NEAR-RTCM": endless()}) as caster:
            return await refused(NtripSession(secure(caster.port, ca_file), position=lambda: None))

    error = run(main())
    assert isinstance(error, ConnectTimeout)
    assert "[ntrip] tls" in str(error)


# The end of a session


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_the_connection_is_closed_before_the_session_says_so(
    tls: bool, authority: Authority, ca_file: str
) -> None:
    context = authority.server_context("localhost") if tls else None
    async with Caster({"NEAR-RTCM": endless(0.01)}, tls=context) as caster:
        mine = secure(caster.port, ca_file) if tls else endpoint(caster.port)
        before = _sockets()
        for _ in range(3):
            async with NtripSession(mine, position=lambda: None) as session:
                await take(session, 2)
            # Their tasks on the caster's side end with its next turn.
            await asyncio.sleep(0.05)
            assert _sockets() == before
            assert caster.alive == 0


def test_a_caster_that_takes_no_part_is_left_within_a_second(
    authority: Authority, ca_file: str
) -> None:
    context = authority.server_context("localhost")

    async def main() -> float:
        async with (
            Caster({"NEAR-RTCM": endless(0.01)}, tls=context) as caster,
            FaultProxy("127.0.0.1", caster.port) as proxy,
        ):
            loop = asyncio.get_running_loop()
            async with NtripSession(secure(proxy.port, ca_file), position=lambda: None) as session:
                await take(session, 2)
                proxy.go_silent()
                before = loop.time()
            return loop.time() - before

    assert run(main()) < 1.5


@pytest.mark.parametrize("line", [Line(cut_at=6000), Line(reset_at=6000)], ids=["cut", "reset"])
async def test_tls_that_is_broken_off_ends_like_any_other(
    line: Line, authority: Authority, ca_file: str
) -> None:
    before = _sockets()
    context = authority.server_context("localhost")
    async with (
        Caster({"NEAR-RTCM": endless(0.001)}, tls=context) as caster,
        FaultProxy("127.0.0.1", caster.port, to_client=line) as proxy,
        NtripSession(secure(proxy.port, ca_file), position=lambda: None) as session,
    ):
        frames, error = await until_end(session)
        assert frames
        assert isinstance(error, SessionClosed | ConnectionLost)
    await asyncio.sleep(0.05)
    assert _sockets() <= before


async def test_a_failed_opening_leaves_no_socket(authority: Authority, ca_file: str) -> None:
    before = _sockets()
    context = authority.server_context("other.example")
    async with Caster({"NEAR-RTCM": endless()}, tls=context) as caster:
        await refused(NtripSession(secure(caster.port, ca_file), position=lambda: None))
        await refused(NtripSession(endpoint(caster.port), position=lambda: None))
    await asyncio.sleep(0.05)
    assert _sockets() <= before


async def test_a_cancelled_opening_leaves_no_socket(ca_file: str) -> None:
    async with Caster({"NEAR-RTCM": endless()}, fault="no-answer") as caster:
        before = _sockets()
        for mine in (endpoint(caster.port), secure(caster.port, ca_file)):
            session = NtripSession(mine, position=lambda: None)
            opening = asyncio.create_task(session.__aenter__())
            await asyncio.sleep(0.2)
            opening.cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening
        await asyncio.sleep(0.05)
        assert _sockets() == before


def _sockets() -> int:
    return sum("socket:" in _target(entry) for entry in Path("/proc/self/fd").iterdir())


def _target(entry: Path) -> str:
    try:
        return str(entry.readlink())
    except OSError:
        return ""


# Recorded streams, against independent readers


def rtcm_frames(data: bytes) -> list[bytes]:
    return [raw for raw, _ in RTCMReader(io.BytesIO(data), quitonerror=0) if raw]


def spartn_frames(data: bytes) -> list[bytes]:
    reader = SPARTNReader(io.BytesIO(data), decode=False, quitonerror=0)
    return [raw for raw, _ in reader if raw]


@pytest.mark.parametrize(
    ("name", "oracle", "count"),
    [
        ("ntrip_encode_none.bin", rtcm_frames, 292),
        ("spartnntrip_20240430192807.log", spartn_frames, 10),
    ],
)
@pytest.mark.parametrize("form", FORMS)
async def test_a_recorded_stream_arrives_frame_by_frame(
    captures: Path, name: str, oracle: Callable[[bytes], list[bytes]], count: int, form: Form
) -> None:
    data = (captures / name).read_bytes()
    expected = oracle(data)
    assert len(expected) == count
    feed = blocks(*(data[at : at + 700] for at in range(0, len(data), 700)))
    async with (
        Caster({"NEAR-RTCM": feed}, form=form) as caster,
        NtripSession(endpoint(caster.port), position=lambda: None) as session,
    ):
        assert [frame.data for frame in await take(session, count)] == expected


@pytest.mark.parametrize("line", [Line(), Line(piece=1300), Line(coalesce_s=0.1)])
async def test_a_recorded_chunked_body_arrives_frame_by_frame(captures: Path, line: Line) -> None:
    body = (captures / "ntrip_encode_chunked.bin").read_bytes()
    expected = rtcm_frames(b"".join(_dechunked(body)))
    assert len(expected) == 292
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with (
        canned(head + body) as port,
        FaultProxy("127.0.0.1", port, to_client=line) as proxy,
        NtripSession(endpoint(proxy.port), position=lambda: None) as session,
    ):
        frames, error = await until_end(session)
    assert [frame.data for frame in frames] == expected
    assert isinstance(error, SessionClosed)


def _dechunked(body: bytes) -> Iterator[bytes]:
    """The chunks of a body in its plainest form."""
    while body:
        size, _, body = body.partition(b"\r\n")
        length = int(size, 16)
        yield body[:length]
        body = body[length + 2 :]
