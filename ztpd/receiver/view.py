"""The receiver's part of the status: from its state to a :class:`ReceiverView`."""

from __future__ import annotations

from datetime import datetime, timedelta

from ztpd.receiver.connection import Connection, ReceiverState
from ztpd.receiver.reception import Finding
from ztpd.status import FindingStatus, ReceiverView


def build(
    state: ReceiverState,
    connection: Connection | None,
    *,
    share_problem: str,
    skipped_bytes: int,
    now_s: float,
    wall_clock: datetime,
) -> ReceiverView:
    """``state`` as it is published.

    ``connection`` is the present one, ``share_problem`` says why its messages cannot be shared,
    ``skipped_bytes`` are those of the connections before, ``now_s`` is the event loop's time and
    ``wall_clock`` the host's.
    """
    version, counts, fixes = state.attachment.version, state.counts, state.fixes
    identified = connection if connection and connection.identified else None
    ready = state.ready.is_set()
    fix = fixes.present(now_s) if ready else None
    if identified:
        skipped_bytes += identified.client.scanner.counts.skipped_bytes
    return ReceiverView(
        model=version.model,
        firmware=version.firmware,
        protocol=version.protocol,
        port=state.attachment.path,
        baudrate=identified.port.baudrate if identified else 0,
        ready=ready,
        problem=str(state.error) if state.error else "",
        fix=fix.label if fix else "unknown",
        fix_for_s=fixes.label_for_s(now_s) if fix else None,
        best_fix=state.assessment.best_fix,
        best_fix_age_s=fixes.below_for_s(state.assessment.best_fix, now_s),
        carrier=fix.carrier.name.lower() if fix else "none",
        correction_age_s=fix.correction_age_s if fix else None,
        accuracy_m=fix.accuracy_m if fix and fix.ok else None,
        satellites=fix.satellites if fix else 0,
        use=state.usage.label if ready else "unknown",
        use_for_s=state.usage.verdict_for_s(now_s) if ready else None,
        use_event=state.usage.event_name if ready else "",
        used=dict(state.usage.used),
        rejected=dict(state.usage.rejected),
        findings=_findings(state, now_s, wall_clock) if ready else (),
        delivered_frames=counts.frames,
        delivered_bytes=counts.bytes,
        dropped=counts.dropped,
        dropped_share=counts.dropped_share(now_s),
        refused=counts.refused,
        undelivered=counts.undelivered,
        first_fix_s=fixes.first_at_least("2D"),
        first_float_s=fixes.first_at_least("RTK float"),
        first_fixed_s=fixes.first_at_least("RTK fixed"),
        skipped_bytes=skipped_bytes,
        share_problem=share_problem,
    )


def _findings(
    state: ReceiverState, now_s: float, wall_clock: datetime
) -> tuple[FindingStatus, ...]:
    """The findings, with the date of their beginning by the host's clock."""

    def since(finding: Finding) -> str:
        began = wall_clock - timedelta(seconds=now_s - finding.since_s)
        return began.isoformat(timespec="seconds")

    return tuple(
        FindingStatus(each.event.name, each.text, each.event.remedy, since(each))
        for each in state.reception.findings()
    )
