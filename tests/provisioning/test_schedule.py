import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from ztpd import retry
from ztpd.provisioning.schedule import LONGEST_WAIT_S, Schedule


class ScheduleBench:
    """The clocks of one gateway: which boot, seconds since it, and the date it shows."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "ztp-schedule.json"
        self.boot, self.boot_s, self.date_s = "first", 100.0, 2e9

    def schedule(self) -> Schedule:
        return Schedule(
            self.path, instant=lambda: (self.boot, self.boot_s), now=lambda: self.date_s
        )

    def passes(self, seconds: float) -> None:
        self.boot_s += seconds
        self.date_s += seconds

    def reboots(self, date_s: float = 0.0) -> None:
        self.boot, self.boot_s, self.date_s = self.boot + "+", 10.0, date_s


@pytest.fixture
def gateway(tmp_path: Path) -> ScheduleBench:
    return ScheduleBench(tmp_path)


def test_a_gateway_that_never_called_has_nothing_to_wait_for(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()

    assert not schedule.called_for("gw-1")
    assert schedule.left_s() == 0
    assert schedule.may_refresh()


def test_a_restart_waits_for_the_rest_only(gateway: ScheduleBench) -> None:
    gateway.schedule().wait(3600, {"server": 4})
    gateway.passes(1000)

    assert gateway.schedule().left_s() == 2600
    assert gateway.schedule().steps == {"server": 4}


def test_D15_a_reboot_without_a_clock_waits_for_all_that_was_left(gateway: ScheduleBench) -> None:
    gateway.schedule().wait(3600, {})
    gateway.passes(1000)
    gateway.reboots()

    assert gateway.schedule().left_s() == 3600


def test_a_power_cut_does_not_restart_the_wait(gateway: ScheduleBench) -> None:
    gateway.schedule().wait(3600, {})
    gateway.passes(1000)
    gateway.reboots(gateway.date_s + 500)

    assert gateway.schedule().left_s() == 2100


def test_C10_a_call_noted_while_the_clock_was_ahead_ages_across_reboots(
    gateway: ScheduleBench,
) -> None:
    schedule, right_s = gateway.schedule(), gateway.date_s
    gateway.date_s += 100 * 86_400
    schedule.calling(0, {}, "gw-1")
    schedule.succeeded()
    assert not schedule.is_ahead

    gateway.reboots(right_s + 3600)
    schedule = gateway.schedule()
    assert schedule.is_ahead
    schedule.correct_dates()
    assert not schedule.is_ahead
    assert schedule.since_call_s() == 10, "not before this boot began"
    gateway.reboots(right_s + 3600 + 86_400)
    assert gateway.schedule().may_refresh()
    assert gateway.schedule().left_s() == 0


def test_C10_a_wait_noted_while_the_clock_was_ahead_goes_on_across_reboots(
    gateway: ScheduleBench,
) -> None:
    right_s = gateway.date_s
    gateway.date_s += 100 * 86_400
    gateway.schedule().wait(50_000, {"refused": 2}, error="ztp.failed", detail="moon")
    gateway.reboots(right_s)
    gateway.schedule().correct_dates()
    gateway.reboots(right_s + 20_000)

    assert gateway.schedule().left_s() == 30_000
    assert gateway.schedule().steps == {"refused": 2}
    assert gateway.schedule().reason == ("ztp.failed", "moon")


def test_the_reason_of_a_wait_is_kept_with_it(gateway: ScheduleBench) -> None:
    gateway.schedule().wait(3600, {}, error="ztp.refused.not_listed", detail="status 403")
    gateway.reboots()
    assert gateway.schedule().reason == ("ztp.refused.not_listed", "status 403")

    gateway.schedule().no_wait()
    assert gateway.schedule().reason == ("", "status 403")


def test_a_call_that_was_none_leaves_nothing_on_the_disk(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {"server": 1}, "gw-1")
    schedule.not_delivered()

    assert gateway.schedule().steps == {}
    assert not gateway.schedule().called_for("gw-1")


def test_a_clean_stop_counts_the_time_that_passed(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.wait(3600, {})
    gateway.passes(1000)
    schedule.keep_wait()
    gateway.reboots()

    assert gateway.schedule().left_s() == 2600


def test_no_restored_wait_exceeds_its_cap(gateway: ScheduleBench) -> None:
    gateway.path.write_text('{"wait_s": 1e12}')

    assert gateway.schedule().left_s() == LONGEST_WAIT_S


@pytest.mark.parametrize("text", ["", "[]", "{", '{"wait_s": "soon", "called_unix_s": null}'])
def test_a_damaged_file_is_no_wait(gateway: ScheduleBench, text: str) -> None:
    gateway.path.write_text(text)

    assert gateway.schedule().left_s() == 0


def test_a_crash_during_a_call_counts_as_a_failed_call(gateway: ScheduleBench) -> None:
    gateway.schedule().calling(45, {"server": 1}, "gw-1")

    assert gateway.schedule().called_for("gw-1")
    assert gateway.schedule().left_s() == 45


def test_credentials_are_refreshed_once_a_day_at_most(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    assert not gateway.schedule().may_refresh()
    gateway.passes(86_399)
    assert not gateway.schedule().may_refresh()
    gateway.passes(1)
    assert gateway.schedule().may_refresh()


def test_C01_a_clock_at_1970_does_not_allow_a_refresh(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    gateway.reboots(date_s=0)

    assert not gateway.schedule().may_refresh()


def test_a_person_ends_the_wait_but_not_the_count(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.wait(3600, {"refused": 1})
    schedule.no_wait()

    assert gateway.schedule().left_s() == 0
    assert gateway.schedule().steps == {"refused": 1}


def test_success_forgets_the_steps(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.wait(3600, {"server": 5})
    schedule.succeeded()

    assert gateway.schedule().steps == {}
    assert gateway.schedule().left_s() == 0


def test_S19_the_schedule_on_a_copied_card_is_another_gateways(gateway: ScheduleBench) -> None:
    gateway.schedule().calling(30, {}, "gw-1")

    assert not gateway.schedule().called_for("gw-2")


def test_S08_credentials_lost_within_a_day_wait_for_the_rest_of_the_day(
    gateway: ScheduleBench,
) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    gateway.passes(1000)
    assert gateway.schedule().left_s() == 85_400

    gateway.reboots(date_s=gateway.date_s + 1000)
    assert gateway.schedule().left_s() == 84_400


def test_a_person_need_not_wait_for_the_rest_of_the_day(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    schedule.no_wait()

    assert gateway.schedule().left_s() == 0


def test_C01_a_day_of_running_allows_a_refresh_at_any_wall_clock(
    gateway: ScheduleBench,
) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    gateway.reboots(date_s=0)
    gateway.passes(86_400)

    assert gateway.schedule().may_refresh()


def test_FR101_a_refusal_counts_as_the_call_of_the_day(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.wait(1800, {"refused": 1}, error="ztp.refused.no_plan", answered=True)
    gateway.passes(86_399)
    assert not gateway.schedule().may_refresh()
    gateway.passes(1)
    assert gateway.schedule().may_refresh()


def test_FR101_after_a_failed_call_its_own_wait_counts_and_not_the_day(
    gateway: ScheduleBench,
) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.wait(600, {"server": 1}, error="ztp.server")
    gateway.passes(599)
    assert not gateway.schedule().may_refresh()
    gateway.passes(1)
    assert gateway.schedule().may_refresh()
    assert not gateway.schedule().may_renew()


def test_FR101_a_call_that_was_cut_off_counts_for_the_wait_of_a_crash(
    gateway: ScheduleBench,
) -> None:
    gateway.schedule().calling(30, {}, "gw-1")
    gateway.passes(29)
    assert not gateway.schedule().may_refresh()
    gateway.passes(1)
    assert gateway.schedule().may_refresh()


def test_FR101_an_earlier_answer_counts_on_where_a_call_was_not_delivered(
    gateway: ScheduleBench,
) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.succeeded()
    gateway.passes(3600)
    schedule.calling(30, {}, "gw-1")
    schedule.not_delivered()
    assert not gateway.schedule().may_refresh()
    gateway.passes(82_800)
    assert gateway.schedule().may_refresh()


def test_FR101_the_wait_after_a_call_that_was_not_delivered_is_this_gateways(
    gateway: ScheduleBench,
) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1", "request")
    schedule.not_delivered()
    schedule.wait(600, {"server": 1}, error="net.timeout")

    again = gateway.schedule()
    assert again.called_for("gw-1")
    assert again.left_s() == 600
    assert again.since_call_s() == float("inf")


def test_N01_a_call_that_was_not_delivered_does_not_count(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.not_delivered()

    assert schedule.may_refresh()
    assert not schedule.called_for("gw-1")


def test_P15_without_network_the_card_is_written_once_an_hour(gateway: ScheduleBench) -> None:
    schedule, written = gateway.schedule(), set()
    for _ in range(240):
        schedule.calling(30, {}, "gw-1")
        schedule.not_delivered()
        written.add(gateway.path.stat().st_mtime_ns)
        gateway.passes(30)

    assert len(written) == 2


def test_a_call_delivered_after_undelivered_ones_is_noted(gateway: ScheduleBench) -> None:
    schedule = gateway.schedule()
    schedule.calling(30, {}, "gw-1")
    schedule.not_delivered()
    gateway.passes(60)
    schedule.calling(30, {}, "gw-1")
    schedule.wait(3600, {"refused": 1})

    assert gateway.schedule().since_call_s() == 0
    assert gateway.schedule().left_s() == 3600


def test_without_a_boot_id_the_date_gives_the_time_of_the_last_call(
    gateway: ScheduleBench,
) -> None:
    gateway.boot = ""
    gateway.boot_s = 5000
    gateway.schedule().calling(30, {}, "gw-1")
    gateway.reboots(date_s=gateway.date_s + 90_000)
    gateway.boot = ""

    assert gateway.schedule().since_call_s() == 90_000


ODD: some.SearchStrategy[Any] = (
    some.none()
    | some.booleans()
    | some.integers()
    | some.just(10**400)
    | some.floats()
    | some.text(max_size=5)
    | some.just([[[[]]]])
    | some.dictionaries(some.text(max_size=2), some.integers() | some.just([[]]))
)
NAMES = (
    "hardware_id splay_of wait_s steps boot boot_s wall_s succeeded answered error detail question"
    " called_unix_s called_boot called_boot_s"
)


@given(kept=some.dictionaries(some.sampled_from(NAMES.split()), ODD))
def test_FR119_any_content_of_the_file_gives_a_wait_that_ends(
    kept: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = ScheduleBench(tmp_path_factory.mktemp("odd"))
    bench.path.write_text(json.dumps(kept | {"boot": "first", "called_boot": "first"}))
    schedule = bench.schedule()
    assert 0 <= schedule.left_s() <= LONGEST_WAIT_S
    assert schedule.since_call_s() >= 0
    retry.Backoff(retry.ZTP).restore(schedule.steps)
    assert all(isinstance(text, str) for text in schedule.reason)
    schedule.request_changed("a")
    schedule.keep_wait()
    bench.passes(LONGEST_WAIT_S)
    assert schedule.left_s() == 0
    assert schedule.may_refresh()
    schedule.calling(5, {"server": 1}, "gw-1")
    assert bench.schedule().called_for("gw-1")


def test_FR119_a_time_of_this_boot_that_is_yet_to_come_counts_for_nothing(
    gateway: ScheduleBench,
) -> None:
    gateway.schedule().wait(3600, {})
    gateway.boot_s = 10.0
    assert gateway.schedule().left_s() == 0
