"""Files that can be played: their kinds, their times, their receiver."""

from __future__ import annotations

import random
from io import BytesIO
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztpd.model import WEEK_S
from ztpd.sim import corrections, playable
from ztpd.sim.receiver import F9P, F9P_OLD, X20P, Model
from ztpd.wire import recording, ubx
from ztpd.wire.frames import rtcm_frame, spartn_frame
from ztpd.wire.recording import Record, RecordKind
from ztpd.wire.ubx import MonVer, NavPvt, RxmCor, RxmRtcm

GLO_OFFSET_S = 3 * 3600 - 18


TEXT = b"$GNTXT,01,01,02,hi*52\r\n"


def loaded(folder: Path, data: bytes) -> playable.Playable:
    path = folder / "file"
    path.write_bytes(data)
    return playable.load(path)


def times(found: playable.Playable) -> list[float]:
    return [each.at_s for each in found.records]


def pvt(itow_s: float) -> bytes:
    return NavPvt(itow_ms=round(itow_s * 1000)).encode()


def msm(number: int, epoch_ms: int) -> bytes:
    bits = number << 42 | 7 << 30 | epoch_ms
    return rtcm_frame((bits << 2).to_bytes(7, "big") + bytes(40))


def ocb(subtype: int, tag: int, *, wide: bool = False) -> bytes:
    return spartn_frame(0, subtype, bytes(20), time_tag=tag, wide_tag=wide)


def test_a_log_of_a_receiver_has_the_times_of_its_positions(tmp_path: Path) -> None:
    cor = RxmCor(2).encode()
    log = cor + pvt(604_799.0) + cor + pvt(604_799.25) + pvt(0.25) + cor + TEXT
    found = loaded(tmp_path, log)
    assert found.kind == "a log of a receiver"
    assert times(found) == [0, 0, 0, 0.25, 1.25, 1.25, 1.25]
    assert {each.kind for each in found.records} == {RecordKind.FROM_RECEIVER}
    assert found.format == ""
    assert not found.has_service


def test_a_long_gap_and_a_step_back_are_the_beginning_of_another_log(tmp_path: Path) -> None:
    found = loaded(tmp_path, pvt(100) + pvt(101) + pvt(50_000) + pvt(50_001) + pvt(7))
    assert times(found) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("first", "period_ms", "step_ms"),
    [
        (1077, WEEK_S * 1000, 1000),
        (1127, WEEK_S * 1000, 500),
        (1004, WEEK_S * 1000, 1000),
    ],
)
def test_rtcm_has_the_times_of_its_observations(
    tmp_path: Path, first: int, period_ms: int, step_ms: int
) -> None:
    station = rtcm_frame(corrections.STATION.encode())
    epochs = [(period_ms - 2 * step_ms + step * step_ms) % period_ms for step in range(4)]
    found = loaded(tmp_path, b"".join(msm(first, each) + station for each in epochs))
    assert found.kind == "a stream of RTCM 3"
    assert times(found) == [step * step_ms / 1000 for step in range(4) for _ in range(2)]
    assert (found.format, found.has_service, found.has_receiver) == ("rtcm", True, False)


def test_the_time_of_glonass_is_of_the_day(tmp_path: Path) -> None:
    last, first = 6 << 27 | 86_399_000, 0 << 27 | 0
    assert times(loaded(tmp_path, msm(1087, last) + msm(1087, first))) == [0, 1]
    older = [(86_399_000 << 3), (500 << 3)]
    assert times(loaded(tmp_path, b"".join(msm(1012, each) for each in older))) == [0, 1.5]


def test_other_systems_than_the_first_do_not_count(tmp_path: Path) -> None:
    stream = msm(1077, 10_000) + msm(1087, 5_000_000) + msm(1077, 11_000) + msm(1087, 5_001_000)
    assert times(loaded(tmp_path, stream)) == [0, 0, 1, 1]


def test_spartn_has_the_times_of_its_tags_in_each_systems_own_time(tmp_path: Path) -> None:
    """Also across twelve hours, and from the narrow tag to the wide one."""
    end = 452_044_800 // 43_200 * 43_200
    stream = [
        ocb(0, (end - 5) % 43_200),
        ocb(1, (end - 5 + GLO_OFFSET_S) % 43_200),
        ocb(3, (end - 5 - 14) % 43_200),
        ocb(0, end, wide=True),
        ocb(1, end + GLO_OFFSET_S, wide=True),
        ocb(0, (end - 5) % 43_200),  # late
        spartn_frame(2, 0, bytes(9), time_tag=30, wide_tag=False),
    ]
    assert times(loaded(tmp_path, b"".join(stream))) == [0, 0, 0, 5, 5, 5, 35]


def test_made_streams_have_their_own_pace(tmp_path: Path) -> None:
    pieces = list(islice(corrections.spartn(random.Random(1)), 120))
    found = loaded(tmp_path, b"".join(each.data for each in pieces))
    passed_s, expected = 0.0, []
    for piece in pieces:
        passed_s += piece.delay_s
        expected.append(passed_s)
    assert times(found) == expected


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is neither a recording of ztpd nor a log"),
        (b"\x00" * 500 + pvt(1), "100 of its 600 bytes are messages"),
        (RxmCor(2).encode() * 3, "it is UBX without NAV-PVT, which would say when"),
        (TEXT * 9, "it is NMEA without NAV-PVT, which would say when"),
        (rtcm_frame(corrections.STATION.encode()), "it is RTCM 3 without observations"),
        (b"ztpd recording 9\n{}\n", "it has version '9' of the format"),
        (recording.header({}), "it has no bytes of a receiver or of a service"),
        (recording.write({}, []), "it has no bytes of a receiver or of a service"),
        (b"\x1f\x8b\x08garbage", "its compression is damaged"),
    ],
)
def test_a_file_that_cannot_be_played_is_refused_with_the_reason(
    tmp_path: Path, data: bytes, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        loaded(tmp_path, data)


@given(st.lists(st.one_of(st.binary(max_size=40), st.sampled_from([
    pvt(3), pvt(4), RxmCor(2).encode(), msm(1077, 1000), msm(1087, 2000), ocb(0, 5), ocb(1, 9),
    ubx.message(0x0107, b"short"), recording.header({}), b"< 1.000 3\nabc\n", b"\x1f\x8b",
])), max_size=8))  # fmt: skip
def test_any_bytes_are_played_in_order_or_refused_in_words(parts: list[bytes]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda *_: BytesIO(b"".join(parts)))
        try:
            found = playable.load(Path("any"))
        except ValueError as error:
            assert str(error).startswith(("it", "its"))  # noqa: PT017
            return
    assert times(found) == sorted(times(found))
    assert playable.about(found)


def test_the_receiver_of_a_recording_has_its_model_and_firmware(tmp_path: Path) -> None:
    version = MonVer(
        "EXT CORE 1.00", "00190000", ("FWVER=HPG 1.51", "PROTVER=27.51", "MOD=ZED-F9P")
    )
    records = [Record(1, RecordKind.FROM_RECEIVER, pvt(1))]
    about = {"receiver": version.encode().hex()}
    found = loaded(tmp_path, recording.write(about, records))
    assert (found.model.module, found.model.firmware) == ("ZED-F9P", "HPG 1.51")
    assert found.model.security == 2, "as the newest firmware that is known"
    assert found.has_receiver
    assert not found.has_service


@pytest.mark.parametrize("model", [F9P, F9P_OLD, X20P])
def test_the_receiver_of_a_log_is_that_of_its_version(tmp_path: Path, model: Model) -> None:
    assert loaded(tmp_path, model.version().encode() + pvt(1)).model == model


def test_a_log_with_reports_of_old_firmware_is_of_old_firmware(tmp_path: Path) -> None:
    assert loaded(tmp_path, pvt(1) + RxmRtcm(1077).encode()).model == F9P_OLD
    assert loaded(tmp_path, pvt(1) + RxmRtcm(1077).encode() + RxmCor(1).encode()).model == F9P
