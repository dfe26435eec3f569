"""The order of causes: the first is the one that a person should know."""

from __future__ import annotations

import pytest

from ztpd import events
from ztpd.check import layer_of
from ztpd.errors import (
    GgaRequired,
    RegionUnknown,
    SealingFailed,
    SessionRefused,
    ZtpTokenMissing,
)
from ztpd.events import JournalEvent
from ztpd.health import Health, cause, causes, health, with_findings
from ztpd.status import (
    Cause,
    CredentialsStatus,
    Failure,
    FindingStatus,
    PauseStatus,
    ReceiverView,
    Status,
)

OPEN = events.ANTENNA_OPEN
FINDING = FindingStatus(OPEN.name, OPEN.text, OPEN.remedy, "2026-11-28T12:00:00+00:00")


@pytest.mark.parametrize(
    "event",
    [
        events.NO_TIME.name,
        events.NO_POSITION.name,
        events.NO_FIX.name,
        events.FIX_LOW.name,
        GgaRequired.code,
        RegionUnknown.code,
    ],
)
def test_a_finding_precedes_its_consequences(event: str) -> None:
    found = with_findings([None, Cause(event)], ReceiverView(findings=(FINDING,)))
    assert [each.event for each in found] == [OPEN.name, event]


@pytest.mark.parametrize("event", [events.WRONG_KEY.name, SessionRefused.code])
def test_a_finding_comes_second_to_another_cause(event: str) -> None:
    view = ReceiverView(findings=(FINDING,))
    found = with_findings([Cause(event), Cause(events.FIX_LOW.name)], view)
    assert [each.event for each in found] == [event, OPEN.name, events.FIX_LOW.name]


@pytest.mark.parametrize("not_used", [None, events.NO_POSITION], ids=["used", "no position"])
def test_corrections_that_flow_without_an_antenna_are_degraded(
    not_used: JournalEvent | None,
) -> None:
    view = ReceiverView(
        use="not used" if not_used else "used",
        use_event=not_used.name if not_used else "",
        fix="RTK float",
        findings=(FINDING,),
    )
    status = Status(schema=1, state="streaming", receiver=view)
    assert health(status, is_running=True) is Health.DEGRADED
    assert cause(status) == Cause(FINDING.event, FINDING.text, FINDING.advice)


@pytest.mark.parametrize(
    ("expires", "word"),
    [
        ("2026-12-05", Health.HEALTHY),
        ("2026-12-02", Health.DEGRADED),
        ("2026-11-29", Health.DEGRADED),
        ("some day", Health.HEALTHY),
        (None, Health.HEALTHY),
    ],
)
def test_a_certificate_in_its_last_days_is_no_healthy_one(
    expires: str | None, word: Health
) -> None:
    """It is renewed in its last week, so the calls for another one fail."""
    view = ReceiverView(use="used", fix="RTK fixed", best_fix="RTK fixed")
    status = Status(
        schema=1,
        at="2026-11-30T12:00:00+00:00",
        state="streaming",
        credentials=CredentialsStatus(86_400, expires, unsaved=False),
        receiver=view,
    )
    assert health(status, is_running=True) is word
    if word is Health.DEGRADED:
        found = cause(status)
        assert found
        assert (found.event, layer_of(found.event)) == ("cert.not_renewed", "credentials")
        assert found.text.startswith(f"the client certificate is valid until {expires}")


PAUSED = PauseStatus("person", "a person", "`ztpd resume` or a reboot")


def test_a_paused_gateway_is_well_and_has_an_exit_status_of_its_own() -> None:
    status = Status(schema=1, state="paused", paused=PAUSED)
    assert health(status, is_running=True) is Health.PAUSED
    assert Health.PAUSED.exit_status == 4
    assert cause(status) is None


def test_a_failure_before_a_pause_does_not_trouble_it() -> None:
    failure = Failure(event="net.dns", text="no name", needs_person=True)
    status = Status(schema=1, state="paused", paused=PAUSED, last_failure=failure)
    assert health(status, is_running=True) is Health.PAUSED


def test_a_paused_gateway_without_its_receiver_is_degraded() -> None:
    gone = Cause("serial.absent", "the port is gone", "Check the cable.")
    status = Status(schema=1, state="paused", paused=PAUSED, receiver_problem=gone)
    assert health(status, is_running=True) is Health.DEGRADED
    assert cause(status) == gone


SEALED_OFF = Cause(SealingFailed.code, "systemd does not unseal", SealingFailed.advice)


@pytest.mark.parametrize("state", ["provisioning", "waiting", "blocked", "connecting"])
def test_credentials_that_cannot_be_unsealed_are_the_first_cause_of_what_follows(
    state: str,
) -> None:
    missing = Cause(ZtpTokenMissing.code, "no token", "Set one.")
    status = Status(schema=1, state=state, reason=missing, credentials_problem=SEALED_OFF)
    assert [each.event for each in causes(status)] == [SealingFailed.code, ZtpTokenMissing.code]
    assert cause(status) == SEALED_OFF


def test_corrections_of_a_backup_beside_credentials_that_cannot_be_unsealed_are_degraded() -> None:
    view = ReceiverView(use="used", fix="RTK fixed")
    assert health(Status(schema=1, state="streaming", receiver=view), is_running=True) is (
        Health.HEALTHY
    )
    status = Status(schema=1, state="streaming", receiver=view, credentials_problem=SEALED_OFF)
    assert health(status, is_running=True) is Health.DEGRADED
    assert causes(status) == [SEALED_OFF]
    missing = Cause(ZtpTokenMissing.code, "no token", ZtpTokenMissing.advice)
    status = Status(schema=1, state="streaming", receiver=view, credentials_problem=missing)
    assert causes(status) == [missing]


def test_a_paused_gateway_lists_credentials_that_cannot_be_unsealed() -> None:
    status = Status(schema=1, state="paused", paused=PAUSED, credentials_problem=SEALED_OFF)
    assert health(status, is_running=True) is Health.PAUSED
    assert causes(status) == [SEALED_OFF]
