"""How long to wait before the next try, for everything ztpd tries again.

The figures come from a simulated fleet of 100,000 gateways that lose one server at the same
instant: full jitter spreads their calls, and the caps keep the sum of them below the load that a
server that has just come back can answer. Nothing else in ztpd repeats a call; the libraries' own
reconnecting is switched off.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import tenacity

from ztpd.errors import Retry, ZtpdError

T = TypeVar("T")

RETRY_AFTER_CAP_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Delay:
    """A wait that grows with each step: uniform between ``floor`` and the span of the step.

    The span is ``first_s * growth**step``, at most ``cap_s``. ``equal`` makes half the span the
    floor (equal jitter); otherwise the floor is ``floor_s`` (full jitter, never below 1 s).
    """

    first_s: float
    cap_s: float
    growth: float = 2.0
    floor_s: float = 1.0
    equal: bool = False

    def sample(self, step: int, rng: random.Random) -> float:
        span_s = min(self.cap_s, self.first_s * self.growth ** min(step, 64))
        floor_s = span_s / 2 if self.equal else self.floor_s
        return max(floor_s, rng.uniform(0 if not self.equal else floor_s, span_s))


Policy = Mapping[Retry, Delay]

ZTP: Policy = {
    Retry.LOCAL: Delay(2, 60),
    Retry.SERVER: Delay(30, 3600),
    Retry.REFUSED: Delay(3600, 86_400, growth=24, equal=True),
}
"""Provisioning happens once in a gateway's life: the cap protects the service."""

SESSION: Policy = {
    Retry.LOCAL: Delay(2, 60),
    Retry.SERVER: Delay(2, 300),
    Retry.REFUSED: Delay(300, 3600, equal=True),
    Retry.EVICTED: Delay(600, 1800, floor_s=300),
}
"""The stream is what users feel: the caps are shorter."""

FAST_TRIES = 4
"""After a session that had carried corrections for a minute, this many tries come at once."""

_FAST_S = (0.5, 1.5)


class Backoff:
    """Backoff of one operation, counted per retry class."""

    def __init__(self, policy: Policy, rng: random.Random | None = None) -> None:
        self._policy = policy
        self._rng = rng or random.SystemRandom()
        self._steps: dict[Retry, int] = {}
        self._fast_left = 0

    def wait_s(self, error: ZtpdError) -> float:
        """Seconds until the next try after ``error``; counts the step.

        A Retry-After is a floor with as much jitter again: obeyed exactly it would bring the whole
        fleet back in one second.
        """
        asked_to_wait = error.retry_after_s is not None
        if self._fast_left and not asked_to_wait and error.retry in (Retry.LOCAL, Retry.SERVER):
            self._fast_left -= 1
            return self._rng.uniform(*_FAST_S)
        step = self._steps.get(error.retry, 0)
        self._steps[error.retry] = step + 1
        wait_s = self._policy[error.retry].sample(step, self._rng)
        if error.retry_after_s is not None:
            asked_s = min(error.retry_after_s, RETRY_AFTER_CAP_S)
            wait_s = max(wait_s, asked_s + self._rng.uniform(0, asked_s))
        return wait_s

    def succeeded(self) -> None:
        """Forget the steps. A mere connection is no success; see the callers."""
        self._steps.clear()
        self._fast_left = 0

    def reset_fast(self) -> None:
        """The operation has been stable: forget the steps, allow ``FAST_TRIES`` tries at once."""
        self._steps.clear()
        self._fast_left = FAST_TRIES

    @property
    def fast_retries_left(self) -> bool:
        """Whether another try would still come at once."""
        return self._fast_left > 0

    def dump(self) -> dict[str, int]:
        """The steps, for a file."""
        return {kind.value: step for kind, step in self._steps.items()}

    def restore(self, steps: object) -> None:
        """Restore steps that :meth:`dump` gave; anything else is ignored."""
        if isinstance(steps, dict):
            known = {kind.value: kind for kind in self._policy}
            self._steps = {
                known[name]: step
                for name, step in steps.items()
                if name in known and isinstance(step, int) and 0 <= step < 1000
            }

    def longest_s(self) -> float:
        """The longest wait this policy can give; no restored wait may exceed it."""
        return max(wait.cap_s for wait in self._policy.values())


async def until_done(
    attempt: Callable[[], Awaitable[T]],
    backoff: Backoff,
    *,
    waiting: Callable[[ZtpdError, float], None],
) -> T:
    """The result of ``attempt``, tried until it succeeds.

    Only a :class:`ZtpdError` that is worth it is tried again; ``waiting`` is told the error and
    the wait before each sleep. Everything else is raised.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        return backoff.wait_s(_error(state))

    def before_sleep(state: tenacity.RetryCallState) -> None:
        action: Any = state.next_action
        waiting(_error(state), action.sleep)

    again = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(_worth_another_try),
        wait=wait,
        before_sleep=before_sleep,
        sleep=asyncio.sleep,
        reraise=True,
    )
    result: T = await again(attempt)
    return result


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ZtpdError) and error.retry is not Retry.NEVER


def _error(state: tenacity.RetryCallState) -> ZtpdError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ZtpdError)  # noqa: S101 - by _worth_another_try
    return error
