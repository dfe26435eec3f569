"""A healthy gateway's status, and ten minutes with an outage, for docs/status.md."""

from __future__ import annotations

import json
from typing import Any

from ztpd import status
from ztpd.cli import sparklines
from ztpd.errors import ZtpNotListed
from ztpd.health import health
from ztpd.history.columns import EVERY_S
from ztpd.history.transfer import HistoryData
from ztpd.status import (
    Cause,
    ChannelStatus,
    ChannelTraffic,
    CredentialsStatus,
    Failure,
    IdentityStatus,
    ReceiverView,
    SourceStatus,
    Status,
    TrafficStatus,
)

HEALTHY = Status(
    schema=status.SCHEMA,
    version="0.2.0",
    at="2026-11-23T12:00:00+00:00",
    pid=612,
    state="streaming",
    since="2026-11-23T09:00:03+00:00",
    reason=Cause(
        "state.streaming", "RTCM3 from ntrip://ppntrip.services.u-blox.com:2102/NEAR-RTCM"
    ),
    identity=IdentityStatus("49015420*****18", "ModemManager, modem 0"),
    service="flex",
    client_id="00000000-0000-4000-8000-000000000001",
    credentials=CredentialsStatus(age_s=86_400, expires="2036-11-20"),
    source=SourceStatus(
        where="ntrip://ppntrip.services.u-blox.com:2102/NEAR-RTCM",
        session_s=10_797.2,
        delivering_s=10_795.0,
        format="RTCM3",
        frames={"1005": 1079, "1077": 10_795, "1087": 10_795, "1097": 10_795},
        bytes=5_182_560,
        last_frame_age_s=0.4,
    ),
    channels=(
        ChannelStatus(
            name="ntrip ppntrip.services.u-blox.com:2102",
            state="in use",
            last_corrections_age_s=0.4,
            today_bytes=9_600_000,
            today_session_s=43_190.0,
            month_bytes=401_000_000,
            month_session_s=1_112_400.0,
        ),
        ChannelStatus(
            name="state network (caster.example.org:2102/VRS_RTCM3)",
            backup=True,
            state="standby",
            last_corrections_age_s=172_800.0,
            today_bytes=0,
            today_session_s=0.0,
            month_bytes=11_000_000,
            month_session_s=3600.0,
        ),
    ),
    traffic=TrafficStatus(
        month_begins="2026-11-01",
        month_ends="2026-12-01",
        month_bytes=412_000_000,
        month_session_s=1_116_000.0,
        today_bytes=9_600_000,
        today_session_s=43_190.0,
        limit_megabytes=1000,
        limit_hours=730,
        channels=(
            ChannelTraffic(
                name="ntrip ppntrip.services.u-blox.com:2102",
                today_bytes=9_600_000,
                today_session_s=43_190.0,
                month_bytes=401_000_000,
                month_session_s=1_112_400.0,
            ),
            ChannelTraffic(
                name="state network (caster.example.org:2102/VRS_RTCM3)",
                month_bytes=11_000_000,
                month_session_s=3600.0,
            ),
        ),
    ),
    receiver=ReceiverView(
        model="ZED-F9P",
        firmware="HPG 1.32",
        protocol="27.31",
        port="/dev/ublox",
        baudrate=38_400,
        ready=True,
        fix="RTK fixed",
        fix_for_s=10_780.0,
        best_fix_age_s=0.0,
        best_fix="RTK fixed",
        carrier="fixed",
        correction_age_s=2.0,
        accuracy_m=0.014,
        satellites=24,
        use_for_s=10_790.0,
        use="used",
        used={"1005": 1079, "1077": 10_795, "1087": 10_795, "1097": 10_795},
        delivered_frames=33_464,
        delivered_bytes=5_182_560,
        dropped_share=0.0,
        first_fix_s=1.2,
        first_float_s=6.0,
        first_fixed_s=17.4,
    ),
)


def healthy() -> str:
    """The document of ``ztpd status --json``."""
    shown: dict[str, Any] = {"running": True, "health": health(HEALTHY, is_running=True).value}
    shown |= status.to_json(HEALTHY) | {"clock": "synchronised"}
    return json.dumps(shown, indent=1)


def failing() -> str:
    """The part of the document that is about a failure."""
    failure = Failure(
        event=ZtpNotListed.code,
        text=str(ZtpNotListed("status 403: Device hardware code not whitelisted")),
        advice=ZtpNotListed.advice,
        at="2026-11-23T11:06:00+00:00",
        times=2,
        needs_person=True,
    )
    shown = Status(
        state="blocked",
        reason=Cause(failure.event, failure.text, failure.advice),
        next_attempt_s=1260.0,
        last_failure=failure,
    )
    whole = status.to_json(shown)
    parts = ("state", "reason", "next_attempt_s", "last_failure")
    return json.dumps({name: whole[name] for name in parts}, indent=1)


OUTAGE_S = 180
_AGES_S = (2, 5, 10, 15, 20, 30, 45, 60, 90, 120)  # the classes that a receiver reports


def recent() -> str:
    """The last lines of `ztpd status --watch`, some minutes after an outage."""
    times = [number * EVERY_S for number in range(sparklines.SAMPLES)]
    rows = [_sample(at_s - 240) for at_s in times]
    fixes, accuracy, ages = zip(*rows, strict=True)
    data = HistoryData(
        unix_s=tuple(times),
        numbers={
            "accuracy_m": accuracy,
            "satellites": tuple(24.0 - (number // 9 % 3) for number in range(len(times))),
            "correction_age_s": ages,
        },
        texts={"fix": fixes},
    )
    return sparklines.lines(sparklines.recent(data, times[-1]), 80)


def _sample(out_s: float) -> tuple[str, float, float | None]:
    """Fix, accuracy and age of the corrections, ``out_s`` after the last one."""
    if not 0 <= out_s < OUTAGE_S + 20:
        return "RTK fixed", 0.014, 2.0
    if out_s >= OUTAGE_S:
        return "RTK float", 0.35, 2.0
    if out_s > 120:
        return "3D", 1.2, None
    age_s = min(each for each in _AGES_S if each >= out_s)
    return ("RTK fixed", 0.02, age_s) if out_s <= 60 else ("RTK float", 0.4, age_s)
