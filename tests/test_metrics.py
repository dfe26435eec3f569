"""The metrics of a status: which series, with which values, in a form that Prometheus takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.prometheus import Metrics, complaints, with_promtool
from tools import samples
from ztpd import events, metrics
from ztpd.health import Health
from ztpd.lifecycle import State
from ztpd.metrics import DOWN, FAMILIES, KINDS_LIMIT, Totals
from ztpd.model import FIX_LABELS, Carrier, Fix
from ztpd.report import plots
from ztpd.status import (
    Cause,
    CredentialsStatus,
    IdentityStatus,
    SourceStatus,
    Status,
)

TOTALS = Totals(
    started_unix_s=1_790_000_000,
    expires_unix_s=1_800_000_000,
    fix_s={"RTK float": 11.4, "RTK fixed": 86_000.0, "unknown": 2.25},
    sessions={"ntrip": 3, "mqtt": 0},
    session_s={"ntrip": 86_350.0, "mqtt": 0.0},
    bytes={"ntrip": 14_700_000, "mqtt": 0},
    frames={"1077": 86_000, "1230": 8600},
    calls={"success": 1, "refused": 0, "server": 2, "local": 0},
)
VIEW = samples.HEALTHY.receiver._replace(rejected={"1033": 8}, dropped=3)
STATUS = samples.HEALTHY._replace(receiver=VIEW)


def of(status: Status = STATUS, totals: Totals = TOTALS) -> Metrics:
    return Metrics(metrics.text(status, totals))


def test_a_gateway_that_works_has_these_values() -> None:
    found = of()
    assert found.value("ztpd_up") == 1
    assert found.label("ztpd_health") == "healthy"
    assert found.label("ztpd_state") == "streaming"
    assert found.value("ztpd_fix_quality") == 4
    assert found.value("ztpd_corrections_used") == 1
    assert found.value("ztpd_horizontal_accuracy_meters") == VIEW.accuracy_m
    assert found.value("ztpd_correction_age_seconds") == VIEW.correction_age_s
    assert found.value("ztpd_satellites") == VIEW.satellites
    assert found.value("ztpd_fix_seconds_total", fix="RTK float") == 11.4
    assert found.value("ztpd_sessions_total", transport="ntrip") == 3
    assert found.value("ztpd_received_bytes_total", transport="ntrip") == 14_700_000
    assert found.value("ztpd_frames_total", kind="1077", outcome="received") == 86_000
    assert found.value("ztpd_frames_total", kind="1077", outcome="used") == VIEW.used["1077"]
    assert found.value("ztpd_frames_total", kind="1033", outcome="rejected") == 8
    assert found.value("ztpd_frames_total", outcome="delivered") == VIEW.delivered_frames
    assert found.value("ztpd_frames_total", outcome="dropped") == 3
    assert found.value("ztpd_ztp_calls_total", outcome="server") == 2
    assert found.value("ztpd_client_certificate_expiry_timestamp_seconds") == 1_800_000_000
    assert found.value("ztpd_process_start_time_seconds") == 1_790_000_000


def test_the_month_is_compared_with_its_budget() -> None:
    assert STATUS.traffic
    used = STATUS.traffic._replace(
        month_bytes=250_000_000,
        month_session_s=90_000.0,
        limit_megabytes=1000,
        limit_hours=100,
    )
    found = of(STATUS._replace(traffic=used))
    assert found.value("ztpd_month_bytes") == 250_000_000
    assert found.value("ztpd_month_session_seconds") == 90_000
    assert found.value("ztpd_budget_used_ratio", limit="megabytes") == 0.25
    assert found.value("ztpd_budget_used_ratio", limit="hours") == 0.25
    unlimited = used._replace(limit_megabytes=None, limit_hours=None)
    assert of(STATUS._replace(traffic=unlimited)).sum("ztpd_budget_used_ratio") == 0


def test_every_label_of_a_fix_has_its_quality_and_its_colour() -> None:
    assert set(metrics.QUALITIES) == set(FIX_LABELS)
    assert set(plots.FIX_STYLES) == {*FIX_LABELS, "unknown"}


def test_every_metric_has_its_kind_and_its_labels() -> None:
    found = of(STATUS._replace(receiver=VIEW._replace(use="unknown", use_for_s=900.0)))
    assert found.types == {name: family.kind for name, family in FAMILIES.items()}
    for name, labels in found.series:
        assert {label for label, _ in labels} <= set(FAMILIES[name].labels)


def test_every_verdict_and_state_has_a_series_so_that_none_vanishes_with_a_change() -> None:
    found = of()
    verdicts = {each.value for each in Health} - {"not running"}
    assert {value for name, ((_, value),) in _labelled(found, "ztpd_health")} == verdicts
    states = {each.value for each in State}
    assert {value for name, ((_, value),) in _labelled(found, "ztpd_state")} == states


def _labelled(found: Metrics, name: str) -> list[tuple[str, tuple[tuple[str, str], ...]]]:
    return [(each, tuple(labels)) for each, labels in found.series if each == name]


def test_the_cause_is_the_event_that_the_status_names_first() -> None:
    assert of().series.keys().isdisjoint({("ztpd_cause_info", frozenset())})
    view = VIEW._replace(use="not used: no key", use_event=events.NO_KEY.name)
    found = of(STATUS._replace(receiver=view))
    assert found.label("ztpd_health") == "degraded"
    assert found.label("ztpd_cause_info") == events.NO_KEY.name


@pytest.mark.parametrize(
    ("fix", "quality"),
    [
        ({"ok": False}, 0),
        ({"three_d": False}, 1),
        ({}, 1),
        ({"differential": True}, 2),
        ({"carrier": Carrier.FIXED}, 4),
        ({"carrier": Carrier.FLOAT}, 5),
        ({"dead_reckoning": True}, 6),
        ({"ok": False, "time_only": True}, 0),
    ],
)
def test_the_quality_is_that_of_gga(fix: dict[str, object], quality: int) -> None:
    reported = {
        "ok": True,
        "lat_deg": 0.0,
        "lon_deg": 0.0,
        "height_m": 0.0,
        "geoid_m": 0.0,
        "accuracy_m": 1.0,
        "satellites": 9,
        "carrier": Carrier.NONE,
        "differential": False,
        "correction_age_s": None,
        "utc": None,
    }
    label = Fix(**reported | fix).label  # type: ignore[arg-type]
    assert (
        of(STATUS._replace(receiver=VIEW._replace(fix=label))).value("ztpd_fix_quality") == quality
    )


def test_a_gauge_that_is_not_known_is_left_out() -> None:
    found = of(Status(state="starting"), Totals())
    assert found.value("ztpd_fix_quality") is None
    assert found.value("ztpd_horizontal_accuracy_meters") is None
    assert found.value("ztpd_correction_age_seconds") is None
    assert found.value("ztpd_client_certificate_expiry_timestamp_seconds") is None
    assert found.value("ztpd_corrections_used") == 0
    assert found.value("ztpd_satellites") == 0


def test_without_a_daemon_there_is_one_series() -> None:
    assert Metrics(DOWN).series == {("ztpd_up", frozenset()): 0}


def test_a_service_cannot_make_series_without_limit() -> None:
    many = {str(number): 1 for number in range(4096)}
    found = of(STATUS._replace(receiver=VIEW._replace(used=many)), TOTALS._replace(frames=many))
    kinds = [labels for name, labels in found.series if name == "ztpd_frames_total"]
    assert len([each for each in kinds if ("outcome", "used") in each]) == KINDS_LIMIT + 1
    assert found.sum("ztpd_frames_total", outcome="used") == 4096
    assert found.value("ztpd_frames_total", kind="other", outcome="received") == 4096 - KINDS_LIMIT


def test_neither_identity_nor_account_nor_place_is_in_them() -> None:
    canaries = STATUS._replace(
        identity=IdentityStatus("canary", "canary"),
        client_id="canary",
        source=SourceStatus(where="ntrip://canary@canary/canary"),
        credentials=CredentialsStatus(),
        reason=Cause("state.streaming", "canary", "canary"),
        receiver=VIEW._replace(port="canary", model="canary", problem="canary"),
    )
    assert "canary" not in metrics.text(canaries, TOTALS)


@given(st.dictionaries(st.text(), st.integers(0, 2**63)), st.text(), st.text())
def test_any_text_in_a_label_comes_out_as_it_was(
    used: dict[str, int], version: str, fix: str
) -> None:
    status = STATUS._replace(version=version, receiver=VIEW._replace(used=used))
    found = of(status, TOTALS._replace(fix_s={fix: 1.5}))
    assert found.value("ztpd_build_info", version=version) == 1
    assert found.value("ztpd_fix_seconds_total", fix=fix) == 1.5
    assert found.sum("ztpd_frames_total", outcome="used") == pytest.approx(sum(used.values()))


@with_promtool
@pytest.mark.parametrize("text", [metrics.text(STATUS, TOTALS), DOWN], ids=["up", "down"])
def test_promtool_has_no_complaint(text: str) -> None:
    assert complaints(text) == ""
