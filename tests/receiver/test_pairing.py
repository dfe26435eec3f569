"""Reports about the corrections that were sent, and about those of another source."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.receiver_bench import rtcm, spartn
from ztpd.receiver.pairing import WINDOW_S, Delivered
from ztpd.receiver.usage import CorrectionUsage, MessageOutcome, UsageVerdict
from ztpd.wire.ubx import PROTOCOL_RTCM3, PROTOCOL_SPARTN, NavPvt, RxmCor

STATION = 5
NUMBERS = (1006, 1077, 1087, 1097, 1127)
FIX = NavPvt(
    fix_type=3, fix_ok=True, utc=datetime(2026, 11, 29, tzinfo=UTC), fully_resolved=True
).to_fix()


def report(number: int, *, used: bool) -> RxmCor:
    return RxmCor(PROTOCOL_RTCM3, used=used, correction_id=STATION, message_type=number)


class Bench:
    """A stream with an epoch each second, and perhaps another one with the same station id."""

    def __init__(self) -> None:
        self.usage = CorrectionUsage()
        self.now_s = 0.0

    def run(
        self,
        seconds: int,
        *,
        used: bool,
        other_at_s: float | None = None,
        other_every_s: int = 1,
        other_numbers: tuple[int, ...] = NUMBERS,
        late_s: float = 0.2,
    ) -> UsageVerdict:
        """``used``: ours are; the messages of the other stream, which come at ``other_at_s`` of a
        second, are then not used, and the reverse. Reports come ``late_s`` after our messages."""
        for second in range(seconds):
            steps: list[tuple[float, int, bool | None]] = []  # when, message, used; None: it leaves
            for place, number in enumerate(NUMBERS):
                steps += [(0.3 + 0.02 * place, number, None)]
                steps += [(0.3 + 0.02 * place + late_s, number, used)]
                comes = other_at_s is not None and second % other_every_s == 0
                if comes and number in other_numbers:
                    steps += [((other_at_s or 0.0) + 0.02 * place, number, not used)]
            for at_s, number, outcome in sorted(steps, key=lambda step: step[0]):
                if outcome is None:
                    self.usage.delivered(rtcm(STATION, number), self.now_s + at_s)
                else:
                    self.usage.reported(report(number, used=outcome), self.now_s + at_s)
            self.now_s += 1
            self.usage.judge(self.now_s, FIX, has_keys=True)
        return self.usage.verdict


PHASES_S = (0.0, 0.2, 0.28, 0.3, 0.6, 0.9)  # 0.3: read in the moment in which ours leave


@pytest.mark.parametrize("phase_s", PHASES_S)
@pytest.mark.parametrize("every_s", [1, 5])
def test_FR02_another_source_with_our_own_station_id_is_no_use_of_ours(
    phase_s: float, every_s: int
) -> None:
    bench = Bench()
    verdict = bench.run(90, used=False, other_at_s=phase_s, other_every_s=every_s)
    assert verdict is UsageVerdict.OTHER_SOURCE
    assert "RTCM of station 5 from another input" in bench.usage.label


@pytest.mark.parametrize("phase_s", PHASES_S)
def test_FR02_a_source_that_the_receiver_ignores_changes_no_verdict(phase_s: float) -> None:
    assert Bench().run(90, used=True, other_at_s=phase_s) is UsageVerdict.USED


@pytest.mark.parametrize("phase_s", [*PHASES_S, 0.4])
@pytest.mark.parametrize(
    ("used", "verdict"), [(False, UsageVerdict.OTHER_SOURCE), (True, UsageVerdict.USED)]
)
def test_FR02_observations_that_the_other_source_lacks_decide_at_any_moment(
    phase_s: float, used: bool, verdict: UsageVerdict
) -> None:
    numbers = (1006, 1077)
    assert Bench().run(90, used=used, other_at_s=phase_s, other_numbers=numbers) is verdict


def test_FR02_when_the_other_source_ends_ours_count_again() -> None:
    bench = Bench()
    assert bench.run(60, used=True) is UsageVerdict.USED
    assert bench.run(90, used=False, other_at_s=0.7) is UsageVerdict.OTHER_SOURCE
    assert bench.run(60, used=True) is UsageVerdict.USED


@pytest.mark.parametrize("late_s", [0.002, 0.6, 3.0, 9.0])
def test_reports_that_come_late_belong_to_no_other_source(late_s: float) -> None:
    bench = Bench()
    for second in range(90):
        bench.usage.delivered(rtcm(STATION, 1077), second)
        if second >= late_s:
            bench.usage.reported(report(1077, used=True), second + late_s % 1)
        bench.usage.judge(second + 1, FIX, has_keys=True)
    assert bench.usage.verdict is UsageVerdict.USED


@given(st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.sampled_from([*NUMBERS, 0, 4095]))))
def test_without_surplus_reports_there_is_no_other_source(
    steps: list[tuple[float, bool, int]],
) -> None:
    """At most one report for each message, in any order of time within the limits."""
    sent, now_s = Delivered(), 0.0
    for pause_s, used, number in steps:
        now_s += pause_s
        sent.add(rtcm(STATION, number), now_s)
        found = report(number, used=used)
        now_s += 0.002
        assert not (sent.covers(found, now_s) and sent.is_of_other(found, now_s))


@given(st.lists(st.tuples(st.floats(0, 40), st.booleans(), st.integers(0, 4095)), max_size=60))
def test_any_messages_and_reports_are_counted(steps: list[tuple[float, bool, int]]) -> None:
    sent, now_s = Delivered(), 0.0
    for pause_s, is_report, number in steps:
        now_s += pause_s
        if is_report:
            sent.is_of_other(report(number, used=True), now_s)
        else:
            sent.add(rtcm(STATION, number), now_s)
        pairs = sent._pairs[PROTOCOL_RTCM3]
        assert sum(pairs._counts.values()) == len(pairs._reports)
        assert all(now_s - when_s <= WINDOW_S for when_s, _ in pairs._reports) or not is_report


def test_bursts_of_spartn_whose_reports_come_later_are_all_ours() -> None:
    """A continental service: clocks each 5 s, 20 messages of the atmosphere each 30 s. The line
    takes some seconds for those, and the reports are read once a second."""
    usage = CorrectionUsage()
    reports: list[tuple[int, RxmCor]] = []
    for second in range(120):
        names = ["OCB-GPS", "OCB-GLO"] if second % 5 == 0 else []
        names += ["GAD"] * 20 if second % 30 == 0 else []
        for place, name in enumerate(names):
            usage.delivered(spartn(name=name), second + 0.1 * place)
            number, subtype = {"OCB-GPS": (0, 0), "OCB-GLO": (0, 1), "GAD": (2, 0)}[name]
            told = RxmCor(PROTOCOL_SPARTN, message_type=number, subtype=subtype)
            reports.append((round(second + 0.1 * place) + 1, told))
        while reports and reports[0][0] <= second:
            at_s, told = reports.pop(0)
            assert usage.reported(told, at_s) is MessageOutcome.USED
        usage.judge(second, FIX, has_keys=False)
    assert usage.verdict is UsageVerdict.USED
