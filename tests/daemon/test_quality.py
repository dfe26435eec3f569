"""A line when corrections begin to flow without their full effect, and one when that is over."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests.support.receiver_bench import log_lines
from ztpd import events
from ztpd.daemon.quality import ENDS, LOGGED_ELSEWHERE, QualityLog
from ztpd.events import JournalEvent
from ztpd.status import ReceiverView, Status

WELL = ReceiverView(
    model="ZED-F9P",
    firmware="HPG 1.32",
    ready=True,
    fix="RTK fixed",
    fix_for_s=100.0,
    best_fix="RTK fixed",
    best_fix_age_s=0.0,
    use="used",
    dropped_share=0.0,
)
NO_FIX = {"fix": "no fix", "fix_for_s": 70.0, "best_fix_age_s": 70.0}
LOW = {"fix": "RTK float", "best_fix_age_s": 601.0}
DROPPED = {"dropped_share": 0.25}
UNKNOWN = {"use": "unknown", "use_for_s": 121.0}
SILENT = {"use": "unknown: it does not report it", "use_event": "gnss.use_not_reported"}
LIKE_SBAS = SILENT | {"use_event": "gnss.use_like_sbas"}
AWAY = {"ready": False, "fix": "unknown", "use": "unknown", "dropped_share": None}


def lines(*views: Mapping[str, object] | None) -> list[str]:
    """The lines, by name, of views a minute apart; None is a time without a session."""
    quality = QualityLog()
    with log_lines() as log:
        for number, changed in enumerate(views):
            state = "streaming" if changed is not None else "connecting"
            view = WELL._replace(**(changed or {}))  # type: ignore[arg-type]
            quality.update(Status(state=state, receiver=view), 60.0 * number)
    return log


def names(log: list[str]) -> list[str]:
    return [line.partition(" ")[0].rpartition(".")[2] for line in log]


@pytest.mark.parametrize(
    ("weak", "end"),
    [
        (NO_FIX, "the receiver has a fix again, after 2 min"),
        (LOW, "the receiver has its best fix again, after 2 min"),
        (DROPPED, "the line takes the corrections again, after 2 min"),
        (UNKNOWN, "whether the receiver uses the corrections is known again, after 2 min"),
        (SILENT, "whether the receiver uses the corrections is known again, after 2 min"),
        ({"fix": "unknown"}, "the receiver reports its position again, after 2 min"),
    ],
)
def test_each_weakness_has_a_line_at_its_beginning_and_one_at_its_end(
    weak: Mapping[str, object], end: str
) -> None:
    log = lines({}, weak, weak, {}, {})
    assert len(log) == 2
    assert log[1] == f"quality.over {end}"


@pytest.mark.parametrize("weak", [NO_FIX, LOW, DROPPED], ids=["no fix", "low", "dropped"])
@pytest.mark.parametrize("between", [None, AWAY], ids=["no session", "no receiver"])
def test_what_nobody_can_see_ends_nothing(
    weak: Mapping[str, object], between: Mapping[str, object] | None
) -> None:
    assert names(lines(weak, between, weak, {})) == [*names(lines(weak)), "over"]


def test_a_float_that_becomes_no_fix_at_all_has_not_become_better() -> None:
    assert names(lines(LOW, NO_FIX | {"best_fix_age_s": 661.0}, LOW, {})) == [
        "fix_low",
        "no_fix",
        "over",
        "over",
    ]


def test_two_reasons_for_the_same_doubt_have_one_end() -> None:
    assert names(lines(SILENT, LIKE_SBAS, {})) == ["use_not_reported", "use_like_sbas", "over"]


@pytest.mark.parametrize(
    "event", [each for each in events.every() if each.ended_by == events.QUALITY_OVER.name]
)
def test_every_event_with_this_end_has_a_sentence_for_it(event: JournalEvent) -> None:
    assert ENDS[event.name]
    assert event.name not in LOGGED_ELSEWHERE
