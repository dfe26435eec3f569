"""The time of the next call to the provisioning service: splay, waits after failures, rate limit.

:class:`Schedule` keeps the waits in a file. A file that cannot be written is logged and fails no
call: the waits then hold for this run.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable

from ztpd import log, retry
from ztpd.errors import Retry, StoreError, ZtpdError
from ztpd.lifecycle import Dispatch, waiting_event
from ztpd.provisioning.schedule import Schedule

SCHEDULE_FILE = "ztp-schedule.json"
CALL_EVERY_S = 60.0  # at most
_LOOK_EVERY_S = 600.0  # at clock and disk, in a wait that began before this start
_SHORTER_BY_S = 60.0  # else it is the same wait
_COUNTED = (Retry.SERVER, Retry.REFUSED)  # errors of a service that has received a call


class Pacing:
    """Waits before calls and keeps account of them. ``dispatch`` receives each wait;
    ``synchronised`` tells whether the clock can be believed."""

    def __init__(
        self,
        schedule: Schedule,
        failures: log.FailureLog,
        *,
        dispatch: Dispatch,
        rng: random.Random,
        synchronised: Callable[[], Awaitable[bool]],
    ) -> None:
        self._schedule = schedule
        self._failures = failures
        self._dispatch = dispatch
        self._rng = rng
        self._synchronised = synchronised
        self.backoff = retry.Backoff(retry.ZTP, rng)
        self.backoff.restore(schedule.steps)

    async def before_first(
        self, hardware_id: str, request_hash: str, *, splay_s: float, without: ZtpdError
    ) -> None:
        """Wait as the schedule says; else spread the first call, and keep to one a minute.

        ``splay_s`` is the longest splay; ``request_hash`` "" stands for a request that cannot be
        made; ``without`` is why credentials that the last call gave are not in use.
        """
        if applies := self._schedule_applies(hardware_id, request_hash):
            why = "the wait after the last call is not over"
            wait_s = self._schedule.left_s()
            error = ZtpdError.named(*self._schedule.reason)
            if error:
                error.age_s = self._schedule.since_call_s()
            elif self._schedule.succeeded_last:
                error = without
        else:
            error = None
            wait_s, why = max(
                (self._splay_left_s(hardware_id, splay_s), "spreading the first calls"),
                (
                    CALL_EVERY_S - self._schedule.since_call_s(),
                    "the service is asked once a minute at most",
                ),
            )
        if wait_s > 0:
            self.begin_wait(error, wait_s, why)
        while wait_s > 0:
            slice_s = min(wait_s, _LOOK_EVERY_S)
            await asyncio.sleep(slice_s)
            wait_s -= slice_s
            await self.look_at_clock()
            if error is None and wait_s > 0:  # the power may be cut meanwhile
                self.keep_rest()
            if applies and (left_s := self._schedule.left_s()) < wait_s - _SHORTER_BY_S:
                wait_s = left_s  # the clock was set: more time has passed since the last call
                if wait_s > 0:
                    self.begin_wait(error, wait_s, why)

    async def look_at_clock(self) -> None:
        """Correct dates that were noted while the clock was ahead, once it is synchronised."""
        if self._schedule.is_ahead and await self._synchronised():
            self._guard(self._schedule.correct_dates)

    def on_demand(self, hardware_id: str, request_hash: str) -> None:
        """A person asks for a call now: its failure makes the next wait no longer."""
        if self._schedule_applies(hardware_id, request_hash):
            self._take_back()

    def demand_failed(self, error: ZtpdError) -> None:
        """That call failed: the next one waits, if the service has received this one."""
        if error.retry in _COUNTED:
            self.wait_after(error)

    def retry_now(self) -> None:
        """End the wait: a person asks for a try, which makes the next wait no longer."""
        self._take_back()
        self._guard(lambda: self._schedule.no_wait(self.backoff.dump()))

    def may_refresh(self) -> bool:
        """Whether refused credentials may be replaced by a call."""
        return self._schedule.may_refresh()

    def may_renew(self) -> bool:
        """Whether credentials that still work may be renewed by a call."""
        return self._schedule.may_renew()

    def rate_limit_reason(self) -> str:
        """Why the service is not called now, even if a person asks; "" if it may be."""
        since_s = self._schedule.since_call_s()
        left_s = CALL_EVERY_S - since_s
        if left_s <= 0:
            return ""
        return (
            f"the provisioning service was asked {since_s:.0f} s ago, "
            f"and may be asked again in {left_s:.0f} s"
        )

    @property
    def attempt(self) -> int:
        """Number of the next call, from 1; failed calls count, also those before a restart."""
        return sum(self.backoff.dump().values()) + 1

    async def begin_call(self, hardware_id: str, request_hash: str) -> None:
        """Note on the disk that a call begins: a crash in it counts as a failed call."""
        wait_s = retry.ZTP[Retry.SERVER].sample(self.attempt, self._rng)
        steps = self.backoff.dump()
        steps[Retry.SERVER.value] = steps.get(Retry.SERVER.value, 0) + 1
        self._guard(lambda: self._schedule.calling(wait_s, steps, hardware_id, request_hash))
        await self._schedule.written()

    def call_failed(self, error: ZtpdError) -> None:
        """Restore the schedule unless the service has received the call."""
        if error.retry not in _COUNTED or not error.delivered:
            self._guard(self._schedule.not_delivered)

    def call_succeeded(self) -> None:
        """End the wait and reset the steps."""
        self._guard(self._schedule.succeeded)
        self.backoff.succeeded()

    def wait_after(self, error: ZtpdError) -> float:
        """Seconds until the next call, kept for a restart; counts the step."""
        wait_s = self.backoff.wait_s(error)
        self._keep(error, wait_s)
        return wait_s

    def on_backoff(self, error: ZtpdError, wait_s: float) -> None:
        """A wait that :attr:`backoff` gave begins: keep it for a restart, and report it."""
        self._keep(error, wait_s)
        self.begin_wait(error, wait_s)

    def begin_wait(self, error: ZtpdError | None, wait_s: float, why: str = "") -> None:
        """Log ``error``, and dispatch the wait after it; without an error, ``why`` is the cause."""
        if error:
            self._failures.record(error, retry_in_s=wait_s)
        self._dispatch(waiting_event(error), why, error=error, wait_s=wait_s)

    def keep_rest(self) -> None:
        """Store the rest of the wait, for a reboot."""
        self._guard(self._schedule.keep_wait)

    def _keep(self, error: ZtpdError, wait_s: float) -> None:
        if error.retry in _COUNTED:
            steps, answered = self.backoff.dump(), error.retry is Retry.REFUSED
            why = {"error": error.code, "detail": error.detail}
            self._guard(lambda: self._schedule.wait(wait_s, steps, **why, answered=answered))

    def _schedule_applies(self, hardware_id: str, request_hash: str) -> bool:
        """Whether the schedule is about the next call; if not, its waits are dropped."""
        if not self._schedule.called_for(hardware_id):
            self._schedule.forget_others(hardware_id)
        elif self._schedule.request_changed(request_hash):
            self.retry_now()
        else:  # with the step of a call that an error of ztpd itself has ended
            self.backoff.restore(self.backoff.dump() | self._schedule.steps)
            return True
        self.backoff.succeeded()
        return False

    def _take_back(self) -> None:
        if self._schedule.left_s():
            self.backoff.take_back(Retry.REFUSED)

    def _splay_left_s(self, hardware_id: str, splay_s: float) -> float:
        drawn_s = self._rng.uniform(0, splay_s)
        left_s = drawn_s
        with contextlib.suppress(OSError):  # the splay holds for this run at least
            left_s = self._schedule.splay_s(hardware_id, drawn_s)
        return min(left_s, splay_s)

    def _guard(self, write: Callable[[], None]) -> None:
        """Log a schedule that cannot be written: it fails no provisioning."""
        try:
            write()
        except OSError as error:
            self._failures.record(StoreError(f"{SCHEDULE_FILE}: {error.strerror}"))
