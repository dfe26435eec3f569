"""Pauses that save bytes and hours: the budget is spent, or the gateway stands still."""

from __future__ import annotations

from collections.abc import Callable

from ztpd import log
from ztpd.config import Config
from ztpd.daemon.budget import BudgetLog, share, traffic_status
from ztpd.daemon.pauses import Asker, Pauses
from ztpd.daemon.present import PresentState
from ztpd.daemon.standstill import Standstill
from ztpd.lifecycle import Activity, State
from ztpd.model import Fix
from ztpd.relay.metering import TrafficMeter
from ztpd.status import TrafficStatus
from ztpd.system.looptime import loop_time


class Economy:
    """Called with each position, and at each heartbeat; has no timer of its own."""

    def __init__(
        self,
        meter: TrafficMeter,
        pauses: Pauses,
        *,
        config: Callable[[], Config],
        present: PresentState,
    ) -> None:
        self._meter, self._pauses = meter, pauses
        self._config, self._present = config, present
        self._budget_log = BudgetLog()
        self._standstill = Standstill()

    def traffic(self) -> TrafficStatus | None:
        """For the status; None while the date is not known, or the count of before."""
        budget = self._config().budget
        return traffic_status(self._meter.month(budget.month_begins_on), budget)

    def update(self) -> None:
        """Count, and begin or end a pause by the budget."""
        self._meter.update()
        by, still_minutes = self._pauses.by, self._config().corrections.pause_when_still_minutes
        if by is Asker.STILL and not still_minutes:
            self._pauses.end("pause_when_still_minutes is 0 now")
        elif used := self.traffic():
            self._follow_budget(used, by)

    def _follow_budget(self, used: TrafficStatus, by: Asker | None) -> None:
        then = self._config().budget.then
        self._budget_log.update(used, then)
        is_spent = share(used) >= 1.0 and then == "pause"
        if by is Asker.BUDGET and not is_spent:
            self._pauses.end(f"the budget allows it: this month {used}")
        elif is_spent and by in (None, Asker.STILL):
            works = by is Asker.STILL or self._present.activity is Activity.RELAY
            if works and self._pauses.ignored_month != used.month_begins:
                why = f"the budget (this month {used})"
                until = f"{used.month_ends}, or `ztpd resume`"
                self._pauses.begin(Asker.BUDGET, why, until=until)

    def on_fix(self, fix: Fix) -> None:
        """Begin or end a pause by standing still."""
        minutes = self._config().corrections.pause_when_still_minutes
        if self._pauses.by is Asker.STILL:
            if self._standstill.has_moved(fix):
                self._standstill.restart()
                self._pauses.end("the gateway moves")
        elif minutes:
            still_s = self._standstill.still_for_s(fix, loop_time())
            if still_s >= minutes * 60.0 and self._present.state is State.STREAMING:
                why = f"standing still for {log.duration(still_s)}"
                self._pauses.begin(Asker.STILL, why)

    def resume(self) -> None:
        """A person ends the pause: what led to it counts from now on."""
        used = self.traffic()
        if used and share(used) >= 1.0:
            self._pauses.ignore_budget(used.month_begins)
        self._standstill.restart()
        self._pauses.end("a person wants corrections")
