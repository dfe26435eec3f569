"""The real activities in the whole daemon make every report that the table of states has."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import virtualtime
from tests.support.services import reason, services, state
from tests.support.tasks import make_fail
from tests.support.until import until
from tools.transitions import reachable
from ztpd import events
from ztpd.daemon.daemon import Daemon
from ztpd.daemon.present import PresentState
from ztpd.errors import ZtpdError
from ztpd.lifecycle import REPORTS, Activity, Event, State
from ztpd.sim.portal import Profile
from ztpd.sim.ztp_service import Answer, Silence

Report = tuple[Activity, Event]


class Recorded(PresentState):
    """Notes each report, and the state it led to."""

    def __init__(self, made: set[Report], reached: set[tuple[State, Activity]]) -> None:
        super().__init__()
        self._made, self._reached = made, reached

    def follow(
        self,
        event: Event,
        why: str,
        error: ZtpdError | None,
        wait_s: float | None,
        *,
        stale_after_s: float,
    ) -> Activity | None:
        self._made.add((self.activity, event))
        started = super().follow(event, why, error, wait_s, stale_after_s=stale_after_s)
        self._reached.add((self.state, self.activity))
        return started


class Recorder:
    def __init__(self) -> None:
        self.made: set[Report] = set()
        self.reached: set[tuple[State, Activity]] = set()

    def watch(self, daemon: Daemon) -> None:
        daemon.present = Recorded(self.made, self.reached)


async def first_boot(top: Path, recorder: Recorder) -> None:
    """A modem and a token that come late; a session that ends; credentials replaced on demand."""
    async with services(top, identity={"timeout_s": 5}) as (gateway, service, caster):
        (top / "modem").rename(top / "unplugged")
        gateway.token_file.rename(top / "no-token-yet")
        async with gateway.running() as daemon:
            recorder.watch(daemon)
            await until(lambda: reason(gateway) == "modem.absent", within_s=60)
            (top / "unplugged").rename(top / "modem")
            await until(lambda: reason(gateway) == "ztp.token_missing", within_s=120)
            (top / "no-token-yet").rename(gateway.token_file)
            await until(lambda: state(gateway) == "streaming", within_s=120)
            caster.end_sessions()
            await until(lambda: state(gateway) != "streaming", within_s=30)
            await until(lambda: state(gateway) == "streaming", within_s=30)
            daemon.try_now("a person wants others", replace=True)
            await until(lambda: len(service.calls) == 2, within_s=30)
            await until(lambda: state(gateway) == "streaming", within_s=30)
            service.script += [Answer(403, "No plan for device device:0"), Silence()]
            daemon.try_now("a person wants others", replace=True)
            await until(lambda: len(service.calls) == 3, within_s=30)
            await until(lambda: state(gateway) == "streaming", within_s=30)
            daemon.try_now("a person wants others", replace=True)
            await until(lambda: service.requests == 4, within_s=30)
            make_fail(Activity.REFRESH.value)
            await until(lambda: state(gateway) == "streaming", within_s=60)


async def card_from_another_board(top: Path, recorder: Recorder) -> None:
    """The directory has a wrong mode at first, and the modem comes late."""
    async with services(top, identity={"timeout_s": 5}) as (gateway, _, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming", within_s=60)
        gateway.board = "board-2"
        gateway.state_dir.chmod(0o755)
        (top / "modem").rename(top / "unplugged")
        async with gateway.running() as daemon:
            recorder.watch(daemon)
            await until(lambda: reason(gateway) == "store.unsafe", within_s=60)
            gateway.state_dir.chmod(0o700)
            await until(lambda: reason(gateway) == "modem.absent", within_s=120)
            (top / "unplugged").rename(top / "modem")
            await until(lambda: state(gateway) == "streaming", within_s=120)


async def nothing_that_may_be_used(top: Path, recorder: Recorder) -> None:
    """Credentials for MQTT alone, where the configuration wants NTRIP; a troubled service."""
    mqtt_only = Profile(protocol="mqtt", format="spartn")
    wanted = {"prefer": ["ntrip"]}
    bench = services(top, profile=mqtt_only, speed=0.02, corrections=wanted)
    async with bench as (gateway, service, _):
        gateway.gnss.unplug()
        async with gateway.running():
            await until(lambda: reason(gateway) == "relay.no_transport", within_s=60)
        (gateway.state_dir / "ztp-schedule.json").write_text("{}")  # the last call was long ago
        service.script.append(Answer(503))
        async with gateway.running() as daemon:
            recorder.watch(daemon)
            await until(lambda: (Activity.RELAY, Event.REFUSED) in recorder.made, within_s=3700)
            await until(lambda: len(service.calls) == 3, within_s=600)
            await until(lambda: reason(gateway) == "relay.no_transport", within_s=60)


@pytest.mark.timeout(180)
def test_FR40_the_activities_make_every_report_and_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    recorder = Recorder()
    scenarios = (first_boot, card_from_another_board, nothing_that_may_be_used)
    for number, scenario in enumerate(scenarios):
        top = tmp_path / str(number)  # short: a socket's path has a limit
        top.mkdir()
        virtualtime.run(scenario(top, recorder))

    reports = {(activity, event) for activity, row in REPORTS.items() for event in row}
    made = {(activity, event) for activity, event in recorder.made if event in REPORTS[activity]}
    assert made == reports
    assert recorder.reached <= set(reachable()) | {(State.STARTING, Activity.NONE)}
    died = [each for each in caplog.records if getattr(each, "ZTPD_EVENT", "") == "task.died"]
    assert [each.ZTPD_TASK for each in died] == ["refresh"], events.TASK_DIED  # type: ignore[attr-defined]
