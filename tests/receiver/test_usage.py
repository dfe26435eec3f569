"""Connected, but unused: why?"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import (
    NEXT_KEY,
    WRONG_KEY,
    bench,
    in_virtual_time,
    rtcm,
    spartn,
)
from tests.support.until import until
from ztpd.model import Carrier, DynamicKey, Fix, Secret
from ztpd.receiver.fixes import FixHistory
from ztpd.receiver.pairing import report_name
from ztpd.receiver.usage import (
    Abilities,
    CorrectionUsage,
    MessageOutcome,
    UsageVerdict,
    outcome,
)
from ztpd.sim.receiver import X20P
from ztpd.wire.ubx import PROTOCOL_RTCM3, NavPvt, RxmCor

USED = RxmCor(used=True, encrypted=True, decrypted=True)
UNDECRYPTABLE = RxmCor(used=False, encrypted=True, decrypted=False)
DAMAGED = RxmCor(erroneous=True, used=False)
IGNORED = RxmCor(used=False)
UNSUPPORTED = RxmCor(used=False, input_handled=False, subtype=1)

SELDOM = {"CFG-RATE-MEAS": 20_000}  # positions: a long test in little time
UTC_NOW = datetime(2026, 11, 23, tzinfo=UTC)


def fix(*, ok: bool = True, utc: datetime | None = UTC_NOW, carrier: Carrier = Carrier.NONE) -> Fix:
    pvt = NavPvt(utc=utc, fully_resolved=utc is not None, fix_ok=ok, fix_type=3, carrier=carrier)
    return pvt.to_fix()


DIFFERENTIAL = fix()._replace(differential=True)


@pytest.mark.parametrize(
    ("report", "meaning"),
    [
        (USED, MessageOutcome.USED),
        (UNDECRYPTABLE, MessageOutcome.UNDECRYPTABLE),
        (DAMAGED, MessageOutcome.DAMAGED),
        (IGNORED, MessageOutcome.IGNORED),
        (UNSUPPORTED, MessageOutcome.UNSUPPORTED),
        (RxmCor(used=None), None),
    ],
)
def test_a_report_gives_the_outcome_of_its_message(
    report: RxmCor, meaning: MessageOutcome | None
) -> None:
    assert outcome(report) is meaning


def test_a_report_has_the_name_of_its_frame() -> None:
    assert report_name(RxmCor(message_type=1, subtype=2)) == "HPAC-GAL"
    assert report_name(RxmCor(PROTOCOL_RTCM3, message_type=1077, subtype=0)) == "1077"


def judged(
    *reports: RxmCor, last: Fix | None, has_keys: bool = True, for_s: int = 45
) -> UsageVerdict:
    use = CorrectionUsage()
    for second in range(for_s):
        use.delivered(spartn(), second)
        for report in reports:
            use.reported(report, second)
    use.judge(for_s, last, has_keys=has_keys)
    return use.verdict


@pytest.mark.parametrize(
    ("reports", "last", "has_keys", "verdict"),
    [
        ([USED], fix(), True, UsageVerdict.USED),
        ([USED, UNDECRYPTABLE, DAMAGED, UNSUPPORTED], fix(), True, UsageVerdict.USED),
        ([UNDECRYPTABLE], fix(), True, UsageVerdict.WRONG_KEY),
        ([UNDECRYPTABLE], fix(), False, UsageVerdict.NO_KEY),
        ([UNDECRYPTABLE], None, False, UsageVerdict.NO_KEY),
        ([DAMAGED], fix(), True, UsageVerdict.DAMAGED),
        ([UNSUPPORTED], fix(), True, UsageVerdict.UNSUPPORTED),
        ([IGNORED], None, True, UsageVerdict.NO_TIME),
        ([IGNORED], fix(ok=False, utc=None), True, UsageVerdict.NO_TIME),
        ([IGNORED], fix(ok=False), True, UsageVerdict.NO_POSITION),
        ([IGNORED], fix(), True, UsageVerdict.PREFERS_OTHERS),
        ([IGNORED, UNSUPPORTED], fix(), True, UsageVerdict.PREFERS_OTHERS),
        ([], fix(), True, UsageVerdict.NOT_REPORTED),
    ],
)
def test_G07_why_corrections_are_not_used(
    reports: list[RxmCor], last: Fix | None, has_keys: bool, verdict: UsageVerdict
) -> None:
    assert judged(*reports, last=last, has_keys=has_keys) is verdict


def test_it_is_too_early_to_complain_in_the_first_seconds() -> None:
    assert judged(IGNORED, last=fix(), for_s=35) is UsageVerdict.UNKNOWN


def test_without_corrections_there_is_nothing_to_judge() -> None:
    use = CorrectionUsage()
    assert use.reported(USED, 5) is None
    use.judge(6, fix(), has_keys=True)
    assert use.verdict is UsageVerdict.UNKNOWN


def test_a_carrier_solution_proves_use_where_reports_are_silent() -> None:
    use = CorrectionUsage()
    use.restarted(Abilities(reports=frozenset()))
    use.delivered(spartn(), 1)
    position = fix(carrier=Carrier.FLOAT)._replace(differential=True)
    use.followed(position, 2)
    use.judge(3, position, has_keys=True)
    assert use.verdict is UsageVerdict.USED


@pytest.mark.parametrize(
    ("position", "rtk", "after_s", "verdict"),
    [
        (DIFFERENTIAL, True, 39, UsageVerdict.UNKNOWN),
        (DIFFERENTIAL, True, 45, UsageVerdict.USE_LIKE_SBAS),
        (DIFFERENTIAL, True, 900, UsageVerdict.USE_LIKE_SBAS),
        (DIFFERENTIAL, False, 900, UsageVerdict.USE_LIKE_SBAS),
        (fix(), True, 45, UsageVerdict.USE_NOT_REPORTED),
        (fix(), True, 178, UsageVerdict.USE_NOT_REPORTED),
        (fix(), True, 182, UsageVerdict.NO_CARRIER),
        (fix(), False, 182, UsageVerdict.NO_RTK),
        (fix(), None, 182, UsageVerdict.NO_CARRIER),
        (fix(ok=False), True, 45, UsageVerdict.NO_POSITION),
        (fix()._replace(dead_reckoning=True), True, 900, UsageVerdict.NO_POSITION),
        (fix(ok=False, utc=None), True, 45, UsageVerdict.NO_TIME),
        (fix(ok=False)._replace(time_only=True), True, 45, UsageVerdict.TIME_ONLY),
    ],
)
def test_a_receiver_that_cannot_report_is_judged_by_its_positions(
    position: Fix, rtk: bool | None, after_s: int, verdict: UsageVerdict
) -> None:
    use = CorrectionUsage()
    use.restarted(Abilities(reports=frozenset(), rtk=rtk))
    for second in range(after_s + 1):
        use.delivered(spartn(), second)
        use.followed(position, second)
        use.judge(second, position, has_keys=True)
    assert use.verdict is verdict


def test_a_report_counts_more_than_an_old_carrier_solution() -> None:
    assert judged(IGNORED, last=fix(carrier=Carrier.FIXED)) is UsageVerdict.PREFERS_OTHERS


def test_alternating_reasons_are_logged_once_a_minute() -> None:
    use, answered = CorrectionUsage(), []
    for second in range(600):
        use.delivered(spartn(), second)
        use._seen_s.clear()
        use.reported(UNDECRYPTABLE if second % 2 else IGNORED, second)
        use.judge(second, fix(), has_keys=True)
        if use.to_log(second):
            answered.append(second)
    assert 2 <= len(answered) <= 10


def test_use_is_logged_again_only_after_trouble() -> None:
    use, answered = CorrectionUsage(), []
    for second in range(300):
        if not 100 < second < 180:  # nothing comes for a while
            use.delivered(spartn(), second)
            use.reported(USED, second)
        use.judge(second, fix(), has_keys=True)
        if use.to_log(second):
            answered.append(second)
    assert answered == [0]


@given(st.lists(st.tuples(st.floats(0, 100), st.integers(0, 2**32 - 1)), max_size=50))
def test_any_reports_at_any_time_are_judged_without_a_fault(
    reports: list[tuple[float, int]],
) -> None:
    use, now_s = CorrectionUsage(), 0.0
    for step_s, status in reports:
        now_s += step_s
        payload = b"\x01\0\0\0" + status.to_bytes(4, "little") + b"\0\0\1\0"
        use.delivered(spartn(), now_s)
        use.reported(RxmCor.decode(payload), now_s)
        use.judge(now_s, None, has_keys=False)
        use.to_log(now_s)
        assert use.label.partition(": ")[0] in ("used", "unknown", "not used")


def test_G08_progress_of_the_fix_is_logged_at_once_and_its_flicker_once_a_minute() -> None:
    history, answered = FixHistory(), []
    labels = [Carrier.NONE] * 5 + [Carrier.FLOAT] * 5 + [Carrier.FIXED, Carrier.FLOAT] * 300
    for second, carrier in enumerate(labels):
        if history.is_news(fix(carrier=carrier), second):
            answered.append((second, carrier))
    assert answered[:3] == [(0, Carrier.NONE), (5, Carrier.FLOAT), (10, Carrier.FIXED)]
    assert len(answered) <= 3 + 610 // 60
    assert history.first_at_least("RTK float") == 5
    assert history.first_at_least("RTK fixed") == 10


def test_a_fix_better_than_float_counts_as_float_too() -> None:
    history = FixHistory()
    history.restarted(100)
    history.is_news(fix(carrier=Carrier.FIXED), 104)
    assert history.first_at_least("2D") == history.first_at_least("RTK float") == 4


def a_key(value: bytes) -> list[DynamicKey]:
    now_ms = round(datetime.now(UTC).timestamp() * 1000)
    period_ms = 28 * 86_400_000
    return [
        DynamicKey(Secret(value.hex()), now_ms - 1000, period_ms - 1),
        DynamicKey(Secret(NEXT_KEY.hex()), now_ms - 1000 + period_ms, period_ms - 1),
    ]


@in_virtual_time
async def test_G07_a_wrong_key_is_reported_in_a_minute_and_the_right_one_cures_it(
    tmp_path: Path,
) -> None:
    async with bench(tmp_path) as b:
        b.receiver.set_keys(a_key(WRONG_KEY))
        await b.receiver.wait_ready()
        await b.stream(60, lambda: b.spartn(encrypted=True))
        assert b.logged("gnss.not_used")[0].startswith(
            "corrections arrive, but the receiver does not use them: "
            "they are encrypted, and the receiver's keys do not fit"
        )
        assert b.receiver.view.use.startswith("not used: they are encrypted")
        assert b.receiver.view.use_event == "gnss.not_used.wrong_key"
        assert b.receiver.view.rejected["OCB-GPS"] > 50
        b.receiver.set_keys(a_key(b"\x11" * 16))
        await b.stream(20, lambda: b.spartn(encrypted=True))
        assert b.logged("gnss.used")
        assert b.receiver.view.use == "used"
        assert b.receiver.view.use_event == ""


@in_virtual_time
async def test_G07_no_key_at_all(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(60, lambda: b.spartn(encrypted=True))
        assert "there is no key for them" in b.receiver.view.use
        assert len(b.logged("gnss.not_used")) == 1


@in_virtual_time
async def test_G07_the_service_is_asked_for_keys_once_in_ten_minutes(tmp_path: Path) -> None:
    asked: list[float] = []
    now = asyncio.get_running_loop().time
    async with bench(
        tmp_path, on_keys_wanted=lambda: asked.append(now()), settings={"keys": SELDOM}
    ) as b:
        await b.receiver.wait_ready()

        async def every_ten_seconds(minutes: int) -> None:
            for _ in range(minutes * 6):
                b.receiver.deliver(b.spartn(encrypted=True))
                await asyncio.sleep(10)

        await every_ten_seconds(12)
        assert asked[0] < 60
        assert [round((later - asked[0]) / 60) for later in asked] == [0, 10]


@pytest.mark.parametrize("verdict", [each for each in UsageVerdict if each.is_trouble])
def test_G07_each_reason_is_an_event_of_its_own_with_advice(verdict: UsageVerdict) -> None:
    event = verdict.value
    assert event is not None
    assert event.name == f"gnss.not_used.{event.name.rpartition('.')[2]}"
    assert event.remedy
    assert event.text.startswith("corrections arrive, but the receiver does not use them: ")


@in_virtual_time
async def test_G07_damage_on_the_line(tmp_path: Path) -> None:
    noise = random.Random(2)

    def damage(data: bytes) -> bytes:
        return bytes(byte ^ (noise.random() < 0.05) << 3 for byte in data)

    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(3)
        b.sim.faults.damaged_input = damage
        await b.stream(130, b.spartn)
        assert b.receiver.view.use == "not used: they are damaged on the serial line"
        assert len(b.logged("gnss.found")) == 1, "questions that are damaged too end nothing"
        b.sim.faults.damaged_input = bytes
        await b.stream(20, b.spartn)
        assert b.receiver.view.use == "used"


@in_virtual_time
async def test_G08_without_a_sky_the_cause_is_logged_and_nothing_restarts(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        b.sim.faults.no_sky = True
        await b.receiver.wait_ready()
        await b.stream(120, b.spartn)
        assert b.receiver.view.use == "not used: it has no time from the satellites yet"
        assert len(b.logged("gnss.not_used")) == 1
        assert len(b.logged("gnss.found")) == 1
        b.sim.faults.no_sky = False
        await b.stream(20, b.spartn)
        assert b.receiver.view.use == "used"


@in_virtual_time
async def test_types_the_firmware_does_not_know_are_counted_and_no_trouble(tmp_path: Path) -> None:
    async with bench(tmp_path, X20P) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(3)
        names = ["OCB-GPS", "OCB-GLO"] * 20
        await b.stream(40, lambda: b.spartn(name=names.pop()))
        assert b.receiver.view.use == "used"
        assert b.receiver.view.rejected == {"OCB-GLO": 20}
        assert not b.logged("gnss.not_used")


@in_virtual_time
async def test_rtcm_is_followed_too(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await asyncio.sleep(3)
        await b.stream(20, rtcm)
        await until(lambda: b.receiver.view.used == {"1077": 20}, 3)
        assert b.receiver.view.fix == "RTK fixed"


@in_virtual_time
async def test_the_fix_falls_back_when_corrections_end(tmp_path: Path) -> None:
    async with bench(tmp_path) as b:
        await b.receiver.wait_ready()
        await b.stream(20, b.spartn)
        assert b.receiver.view.carrier == "fixed"
        await until(lambda: b.receiver.view.fix == "3D", 75)
        assert b.receiver.view.use == "unknown", "nothing was delivered"
