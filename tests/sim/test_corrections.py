"""The simulated streams have the framing, sizes and periods of the services."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pyrtcm
import pyspartn
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.virtualtime import run
from ztpd.model import Frame, FrameKind
from ztpd.sim.corrections import (
    STATION,
    Piece,
    captured,
    coalesce,
    cut,
    paced,
    replay,
    rtcm,
    spartn,
    spartn_time,
)
from ztpd.wire.frames import Scanner, rtcm_frame, spartn_encrypted, spartn_time_tag


def during(pieces: Iterable[Piece], seconds: float) -> Iterator[Piece]:
    """The pieces sent before that time."""
    time_s = 0.0
    for piece in pieces:
        time_s += piece.delay_s
        if time_s >= seconds:
            return
        yield piece


def frames(pieces: Iterable[Piece], kind: FrameKind) -> list[Frame]:
    scanner = Scanner(kind)
    found = scanner.feed(b"".join(piece.data for piece in pieces))
    assert scanner.counts.skipped_bytes == scanner.pending == 0
    return found


@pytest.mark.parametrize("encrypted", [False, True])
def test_a_spartn_stream_has_the_rate_and_the_rhythm_of_the_service(encrypted: bool) -> None:
    sent = list(during(spartn(random.Random(1), encrypted=encrypted), 900))
    names = Counter(frame.name for frame in frames(sent, FrameKind.SPARTN))
    for system in ("GPS", "GLO", "GAL", "BDS"):
        assert names[f"OCB-{system}"] == 180
        assert names[f"HPAC-{system}"] == 150
    assert names["GAD"] == 60
    assert sum(len(piece.data) for piece in sent) / 900 == pytest.approx(319, rel=0.05)


@pytest.mark.parametrize("encrypted", [False, True])
def test_spartn_frames_are_accepted_by_an_independent_parser(encrypted: bool) -> None:
    sent = during(spartn(random.Random(2), encrypted=encrypted), 60)
    for frame in frames(sent, FrameKind.SPARTN):
        parsed = pyspartn.SPARTNReader.parse(frame.data, decode=False)
        assert parsed.eaf == encrypted == spartn_encrypted(frame)
        assert parsed.identity.replace("BEI", "BDS") == f"SPARTN-1X-{frame.name}"


def test_time_tags_go_on_in_the_time_of_each_constellation() -> None:
    start = spartn_time(1_714_348_170)  # 2024-04-28 23:49:30 UTC
    assert start == 452_044_188
    sent = during(spartn(random.Random(3), start=start), 20)
    tags = {
        frame.name: spartn_time_tag(frame)
        for frame in frames(sent, FrameKind.SPARTN)
        if frame.name.startswith("OCB")
    }
    assert tags["OCB-GPS"] == (start + 15, True)
    assert tags["OCB-GLO"] == (start + 15 + 10782, True)
    assert tags["OCB-BDS"] == (start + 15 - 14, True)


def test_an_rtcm_stream_is_accepted_by_an_independent_parser() -> None:
    found = frames(during(rtcm(random.Random(4)), 10), FrameKind.RTCM3)
    names = Counter(frame.name for frame in found)
    assert set(names) == {"1006", "1077", "1087", "1097", "1127", "1230"}
    assert set(names.values()) == {10}
    for frame in found:
        parsed = pyrtcm.RTCMReader.parse(frame.data)
        assert parsed.identity == frame.name
        assert parsed.DF003 == 2003
        if frame.name == "1006":
            assert pytest.approx(STATION.x_m) == parsed.DF025
        elif frame.name != "1230":
            assert parsed.NCell == 2 * parsed.NSat


@pytest.mark.parametrize("stream", [spartn, rtcm])
def test_a_seed_gives_the_same_stream_again(stream: object) -> None:
    assert callable(stream)
    first, second = (list(itertools.islice(stream(random.Random(5)), 100)) for _ in range(2))
    assert first == second


def test_a_capture_is_replayed_frame_by_frame_without_end(captures: Path) -> None:
    capture = captures / "spartnntrip_20240430192807.log"
    frames = captured(capture, FrameKind.SPARTN)
    sent = list(itertools.islice(replay(frames, bytes_per_s=312), 20))
    assert b"".join(piece.data for piece in sent) == capture.read_bytes() * 2
    assert sum(piece.delay_s for piece in sent[1:11]) == pytest.approx(10)
    assert {piece.suffix for piece in sent} == {"hpac", "ocb"}


def test_a_file_that_is_no_capture_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("nothing here")
    with pytest.raises(ValueError, match=r"notes\.txt has neither"):
        captured(text, FrameKind.SPARTN)
    text.write_bytes(rtcm_frame(bytes(30)))
    with pytest.raises(ValueError, match="RTCM3 and no SPARTN"):
        captured(text, FrameKind.SPARTN)


def test_coalesced_pieces_are_messages_with_several_frames() -> None:
    apart = list(during(spartn(random.Random(6)), 60))
    together = list(during(coalesce(spartn(random.Random(6))), 60))
    assert b"".join(piece.data for piece in together) == b"".join(piece.data for piece in apart)
    assert [piece.suffix for piece in together[:4]] == ["ocb", "gad", "hpac", "ocb"]
    assert len(together) == 12 + 2 * 2


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_cut_pieces_give_the_same_frames(seed: int, count: int) -> None:
    whole = list(itertools.islice(rtcm(random.Random(7)), count))
    pieces = list(cut(whole, random.Random(seed)))
    assert len(pieces) == 4 * count
    assert frames(pieces, FrameKind.RTCM3) == frames(whole, FrameKind.RTCM3)
    assert sum(piece.delay_s for piece in pieces) == sum(piece.delay_s for piece in whole)


@pytest.mark.parametrize("speed", [1.0, 10.0])
def test_pieces_come_in_their_time_and_faster_on_request(speed: float) -> None:
    async def seconds() -> float:
        async for _ in paced(itertools.islice(rtcm(random.Random(8)), 6 * 30), speed=speed):
            pass
        return asyncio.get_running_loop().time()

    assert run(seconds()) == pytest.approx(29 / speed, rel=0.01)
