"""The waits before the next try, for all operations that ztpd repeats.

The figures come from a simulated fleet of 100,000 gateways that lose one server at the same
instant: full jitter spreads their calls, and the caps keep the sum of them below the load that a
server that has just come back can answer. Nothing else in ztpd repeats a call; the libraries' own
reconnecting is switched off.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ztpd.errors import Retry, ZtpdError

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")


class Delay(NamedTuple):
    """A wait that grows with each step: uniform between a floor and the span of the step.

    The span is ``first_s * growth**step``, at most ``cap_s``. ``equal`` makes half the span the
    floor (equal jitter); otherwise the floor is ``floor_s`` (full jitter).
    """

    first_s: float
    cap_s: float
    growth: float = 2.0
    floor_s: float = 1.0
    equal: bool = False

    def sample(self, step: int, rng: random.Random) -> float:
        span_s = min(self.cap_s, self.first_s * self.growth ** min(step, 64))
        floor_s = span_s / 2 if self.equal else self.floor_s
        return rng.uniform(floor_s, max(floor_s, span_s))


Policy = Mapping[Retry, Delay]

ZTP: Policy = {
    Retry.LOCAL: Delay(2, 60),
    Retry.SERVER: Delay(30, 3600),
    Retry.REFUSED: Delay(3600, 86_400, growth=24, equal=True),
}
"""Provisioning happens once in a gateway's life, so the cap protects the service."""

SESSION: Policy = {
    Retry.LOCAL: Delay(2, 60),
    Retry.SERVER: Delay(2, 300),
    Retry.REFUSED: Delay(300, 3600, equal=True),
    Retry.EVICTED: Delay(600, 1800, floor_s=300),
}
"""Users notice a missing stream: the caps are shorter."""

FAST_TRIES = 4
"""After a session that had delivered corrections for a minute, this many tries come at once."""

RECOVERY_TRIES = 6
"""After such a session this many refusals are tried again within two minutes: a caster that has
just restarted refuses all until it has read its accounts and its base stations are back."""

_MOST_STEPS = 1000  # restored: no wait grows so long
_FAST_S = (0.5, 1.5)
_RECOVERY = Delay(4, 36, growth=1.7, equal=True)  # 56 to 112 s together


class Backoff:
    """Backoff of one operation, counted per retry class."""

    def __init__(self, policy: Policy, rng: random.Random | None = None) -> None:
        self._policy = policy
        self._rng = rng or random.SystemRandom()
        self._steps: dict[Retry, int] = {}
        self._fast_left = self._recovery_left = 0
        self.recovering = False
        """Whether the last wait was one of the short ones after a refusal."""

    def wait_s(self, error: ZtpdError, kind: Retry | None = None) -> float:
        """Seconds until the next try after ``error``; counts the step.

        ``kind`` is the retry class where the error's own does not fit.
        A Retry-After is a floor with as much jitter again: obeyed exactly it would bring the whole
        fleet back in one second. It is cut at the policy's longest wait, for sessions with the
        jitter: a caster's nonsense value must not stop a channel for a day.
        """
        kind = kind or error.retry
        self.recovering = False
        if error.retry_after_s is None:
            if self._fast_left and kind in (Retry.LOCAL, Retry.SERVER):
                self._fast_left -= 1
                return self._rng.uniform(*_FAST_S)
            if self._recovery_left and kind is Retry.REFUSED:
                self._recovery_left -= 1
                self.recovering = True
                return _RECOVERY.sample(RECOVERY_TRIES - 1 - self._recovery_left, self._rng)
        step = self._steps.get(kind, 0)
        self._steps[kind] = step + 1
        wait_s = self._policy[kind].sample(step, self._rng)
        if error.retry_after_s is not None:
            wait_s = max(wait_s, self._asked_s(error.retry_after_s))
        return wait_s

    def _asked_s(self, retry_after_s: float) -> float:
        longest_s = self.longest_s()
        floor_s = min(retry_after_s, longest_s)
        asked_s = floor_s + self._rng.uniform(0, floor_s)
        return min(asked_s, longest_s) if self._policy is SESSION else asked_s

    def take_back(self, kind: Retry) -> None:
        """Undo the last step of ``kind``: a person asks for a try before its wait is over."""
        self._steps[kind] = max(0, self._steps.get(kind, 0) - 1)

    def succeeded(self) -> None:
        """Forget the steps. A mere connection is no success; see the callers."""
        self._steps.clear()
        self.end_fast()

    def reset_fast(self) -> None:
        """The operation has been stable: forget the steps, allow the fast tries."""
        self._steps.clear()
        self._fast_left, self._recovery_left = FAST_TRIES, RECOVERY_TRIES

    def allow_fast_try(self) -> None:
        """Allow one try at once, keeping the steps."""
        self._fast_left = max(self._fast_left, 1)

    def end_fast(self) -> None:
        """The operation was stable too long ago: no fast tries any more."""
        self._fast_left = self._recovery_left = 0

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
                known[name]: min(step, _MOST_STEPS)
                for name, step in steps.items()
                if name in known and isinstance(step, int) and step >= 0
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

    It is tried again only after a :class:`ZtpdError` that may pass; ``waiting`` gets the error and
    the wait before each sleep. Other exceptions are raised. tenacity is imported at the first
    failure: a gateway that loads its credentials at once does without it.
    """
    try:
        return await attempt()
    except ZtpdError as error:
        if not _worth_another_try(error):
            raise
        failure: ZtpdError | None = error
    import tenacity

    async def next_attempt() -> T:
        nonlocal failure
        if failure is not None:
            first, failure = failure, None
            raise first
        return await attempt()

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
    result: T = await again(next_attempt)
    return result


def _worth_another_try(error: BaseException) -> bool:
    return isinstance(error, ZtpdError) and error.retry is not Retry.NEVER


def _error(state: tenacity.RetryCallState) -> ZtpdError:
    error = state.outcome.exception() if state.outcome else None
    assert isinstance(error, ZtpdError)  # noqa: S101 - by _worth_another_try
    return error
