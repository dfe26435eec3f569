"""The picture of the demonstration: its parts for each status, and its size."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.demo_states import BEFORE, FIXED, MIDDLE, STREAMING, refused
from ztpd.demo.chain import NAMES, Mark, steps
from ztpd.demo.picture import ASCII, UNICODE, History, Line, Picture, Style, bars
from ztpd.status import Cause, FindingStatus, Status


def marks(status: Status) -> dict[str, Mark]:
    return {step.name: step.mark for step in steps(status)}


def text(lines: list[Line]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


def test_the_chain_fills_from_the_modem_to_the_fix() -> None:
    pending, busy, done = Mark.PENDING, Mark.BUSY, Mark.DONE
    assert [step.mark for step in steps(Status())] == [pending] * 6
    assert [step.mark for step in steps(BEFORE)] == [busy, pending, pending, pending, busy, pending]
    assert [step.mark for step in steps(MIDDLE)] == [done, done, done, busy, busy, busy]
    assert [step.mark for step in steps(STREAMING)] == [done] * 6


@pytest.mark.parametrize(
    ("event", "link"),
    [
        ("modem.absent", "modem"),
        ("ztp.refused.token", "ZTP"),
        ("ztp.refused.not_listed", "ZTP"),
        ("ztp.token_missing", "ZTP"),
        ("net.dns", "ZTP"),
        ("store.unsafe", "store"),
        ("ntrip.refused", "service"),
        ("session.stale", "service"),
        ("serial.absent", "receiver"),
        ("gnss.not_set", "receiver"),
    ],
)
def test_a_fault_stands_at_its_link_with_its_advice(event: str, link: str) -> None:
    status = refused(event, "it is broken", "mend it")
    (step,) = [step for step in steps(status) if step.advice]
    assert (step.name, step.mark, step.text, step.advice) == (
        link,
        Mark.ERROR,
        "it is broken",
        "mend it",
    )


def test_a_network_failure_after_provisioning_stands_at_the_service() -> None:
    failing = MIDDLE._replace(state="waiting", reason=Cause("net.dns", "no name", "mend it"))
    assert marks(failing) | {"fix": Mark.BUSY} == {
        **dict.fromkeys(NAMES, Mark.DONE),
        "service": Mark.WARNING,
        "receiver": Mark.BUSY,
        "fix": Mark.BUSY,
    }


def test_a_finding_about_the_antenna_stands_at_the_fix() -> None:
    found = FindingStatus("gnss.reception.antenna_open", "no antenna is connected", "connect it")
    status = STREAMING._replace(receiver=FIXED._replace(fix="3D", findings=(found,)))
    assert marks(status)["fix"] is Mark.WARNING


def test_corrections_that_are_not_used_stand_at_the_receiver() -> None:
    view = FIXED._replace(use="not used: another source", use_event="gnss.not_used.other_source")
    assert marks(STREAMING._replace(receiver=view))["receiver"] is Mark.WARNING


def test_the_accuracy_is_drawn_from_the_first_to_the_present_one() -> None:
    picture = Picture()
    for accuracy_m in (1.2, 1.2, 0.25, 0.014):
        view = FIXED._replace(accuracy_m=accuracy_m)
        picture.show(STREAMING._replace(receiver=view))
    assert "1.2 m ▇▇▅▁ 0.014 m" in text(picture.lines(80, 24, 9.0))


@given(st.lists(st.floats(allow_nan=False, min_value=0.0), max_size=400))
def test_the_history_keeps_the_worst_and_stays_short(samples: list[float]) -> None:
    history = History()
    for accuracy_m in samples:
        history.add(accuracy_m)
    assert len(history.samples) <= 24
    assert max(history.samples, default=0.0) == max(samples, default=0.0)
    for glyphs in (UNICODE.bars, ASCII.bars):
        assert len(bars(history.samples, glyphs)) == len(history.samples)


@given(
    width=st.integers(1, 200),
    height=st.integers(1, 60),
    status=st.sampled_from([Status(), BEFORE, MIDDLE, STREAMING]),
    fault=st.sampled_from(["", "x" * 90]),
    sentence=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300),
)
def test_the_picture_fits_any_terminal(
    width: int, height: int, status: Status, fault: str, sentence: str
) -> None:
    picture = Picture()
    picture.fault = fault
    picture.commands = ("/tmp/ztpd-demo-12345678/ztpd status", "/tmp/ztpd-demo-12345678/ztpd check")
    for second in range(30):
        picture.log(second, "ztpd", sentence)
    if sentence and status is BEFORE:
        status = refused("ztp.refused.token", sentence, sentence)
    picture.show(status)
    lines = picture.lines(width, height, 99.0)
    assert len(lines) <= height
    assert all(sum(len(span.text) for span in line) <= width for line in lines)


def test_at_60_columns_and_24_rows_nothing_of_the_chain_and_the_commands_is_missing() -> None:
    picture = Picture()
    picture.commands = ("/tmp/ztpd-demo-12345678/ztpd status", "/tmp/ztpd-demo-12345678/ztpd check")
    picture.show(STREAMING)
    picture.log(8.0, "ztpd", "the receiver uses the corrections")
    shown = text(picture.lines(60, 24, 9.0))
    for name in NAMES:
        assert f"✓ {name}" in shown
    for command in picture.commands:
        assert command in shown
    assert "the receiver uses the corrections" in shown
    assert "Ctrl-C ends it" in shown


def test_the_advice_of_a_refusal_is_whole_at_60_columns() -> None:
    advice = (
        "Add the IMEI, which `sudo ztpd imei` prints, to the allowlist of the device profile in "
        "the portal; then `sudo ztpd retry`."
    )
    picture = Picture()
    picture.show(refused("ztp.refused.not_listed", "the IMEI is not on the allowlist", advice))
    shown = " ".join(text(picture.lines(59, 24, 9.0)).split())
    assert advice in shown


def test_a_warning_and_an_error_of_the_journal_have_their_colours() -> None:
    picture = Picture()
    picture.log(1.0, "ztpd", "warning: the line is slow")
    picture.log(2.0, "ztpd", "error: the token is wrong")
    picture.log(3.0, "ztpd", "the receiver uses the corrections")
    spans = [span for line in picture.lines(80, 24, 9.0) for span in line]
    styles = {span.text: span.style for span in spans}
    assert styles["warning: the line is slow"] is Style.WARNING
    assert styles["error: the token is wrong"] is Style.ERROR
    assert styles["the receiver uses the corrections"] is Style.DIM


def test_without_unicode_the_picture_is_ascii() -> None:
    picture = Picture(ASCII)
    picture.show(STREAMING._replace(client_id="00000000-0000-4000-8000-000000000001"))
    picture.log(1.0, "ztpd", "x" * 200)
    shown = text(picture.lines(60, 40, 9.0))
    assert not set("✓│▁▸·✗→") & set(shown)
    assert "+ modem" in shown
