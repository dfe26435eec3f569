"""One channel to a correction service: its waits, and the meaning of its failures in a row."""

from __future__ import annotations

import random
from collections.abc import Sequence

from ztpd import retry
from ztpd.errors import (
    AccountRefused,
    AuthenticationUnknown,
    BrokerAccountRefused,
    ClientCertificateWanted,
    ClosedEarly,
    ConnectionLost,
    FormatExcluded,
    GgaRequired,
    MountpointNotServed,
    MountpointUnknown,
    MqttDenied,
    MqttWithdrawn,
    Retry,
    SessionClosed,
    SessionEmpty,
    SessionError,
    SessionEvicted,
    SessionStale,
    TableInstead,
    ZtpdError,
)
from ztpd.lifecycle import Event, waiting_event
from ztpd.model import SourceEndpoint, fingerprint
from ztpd.relay import withdrawal

STABLE_S = 60.0
MAX_SHORT_SESSIONS = 3
FAST_S = 1.5
MAX_FRUITLESS = 3
FORGIVEN_S = 6 * 3600.0  # of use, and a service is left for a short time only
PROVEN_S = 600.0
"""A service whose corrections the receiver did not use brings some for so long before it is used
again."""

_RECENTLY_STABLE_S = 600.0  # a channel that was stable until then is tried fast, and not evicted
_ONE_ROW_S = 3600.0  # short sessions further apart are not in one row
_CUT_S = 10.0  # a session that delivered for so long and is then cut costs one fast try
_LEFT_GROWTH = 4  # of the time until a service is used again, each time in vain
LONGEST_LEFT_S = 86_400.0
MOST_UNUSED_TIMES = 16  # counted: the time until it is used again grows no longer
_COMES_BACK = retry.Delay(900, 900, equal=True)
_WITHOUT_FIX = retry.Delay(300, 300, equal=True)

# A base station that was switched off; a rover that has left the area of the service.
_MAY_COME_BACK = (MountpointUnknown, SessionEmpty)

_NOT_OF_CREDENTIALS = (
    AccountRefused,
    AuthenticationUnknown,
    BrokerAccountRefused,
    ClientCertificateWanted,
    FormatExcluded,
)


class Channel:
    """One transport of one service. Times are the loop's, in seconds."""

    def __init__(
        self, endpoint: SourceEndpoint, backoff: retry.Backoff, rng: random.Random
    ) -> None:
        self.endpoint = endpoint
        self.backoff = backoff
        self.rng = rng
        self.due_s = 0.0
        self.error: ZtpdError | None = None
        self.short_sessions = 0  # in a row, ended by the peer after corrections had come
        self.last_short_s = float("-inf")
        self.last_stable_s = float("-inf")  # end of the last session that was stable
        self.has_worked = False  # a session was stable, in this boot
        self.early_closes = 0  # in a row, at one stage of MQTT's opening
        self.empty_sessions = 0  # in a row
        self.last_corrections_s = float("-inf")  # of the last frame
        self.failing_since_s: float | None = None  # no session could be opened since then
        self.last_failing_s = float("-inf")  # when that was last so
        self.left = False  # the receiver did not use its corrections, or it failed again at once
        self.came_back_s = float("-inf")
        self.unused_times = 0  # in a row
        self.left_until_s = 0.0  # while left: not tried beside another one before this
        self.proved_s = 0.0  # while left: of corrections in sessions that ended before the proof
        self.hold_without_fix_until_s = 0.0  # not tried before this while the receiver has no fix

    @property
    def name(self) -> str:
        return self.endpoint.label

    @property
    def mark(self) -> str:
        """Fingerprint of the endpoint. Saved waits apply only if it is unchanged."""
        return fingerprint(*self.endpoint)

    def ready_s(self, *, has_fix: bool) -> float:
        """The loop's time of the next try. A caster that needs a position waits for a fix."""
        return self.due_s if has_fix else max(self.due_s, self.hold_without_fix_until_s)

    @property
    def fast_retries_left(self) -> bool:
        """True while fast retries are left: wait for this channel instead of switching."""
        return self.backoff.fast_retries_left and self.error is not None

    @property
    def waiting_event(self) -> Event:
        """How the wait is reported. Refusals right after good service may be temporary."""
        return Event.BACKOFF if self.backoff.recovering else waiting_event(self.error)

    @property
    def proof_s(self) -> float:
        """How long it must bring corrections beside another one to take over."""
        return PROVEN_S - self.proved_s if self.left else STABLE_S

    def beside_s(self, *, has_fix: bool) -> float:
        """The loop's time of the next try beside another channel."""
        return max(self.ready_s(has_fix=has_fix), self.left_until_s if self.left else 0.0)

    def came_back(self, now: float) -> None:
        """It has proved itself beside another channel, and takes over."""
        self.left, self.came_back_s = False, now

    def leave(self, error: ZtpdError, now: float) -> None:
        """The receiver does not use its corrections."""
        self.stay_away(now)
        self.error, self.due_s = error, now + self.rng.uniform(0.5, FAST_S)

    def stay_away(self, now: float) -> None:
        """Leave it, each time for longer."""
        longer_s = min(PROVEN_S * _LEFT_GROWTH**self.unused_times, LONGEST_LEFT_S)
        self.unused_times = min(self.unused_times + 1, MOST_UNUSED_TIMES)
        self.left, self.proved_s = True, 0.0
        self.left_until_s = now + longer_s - PROVEN_S

    def stable(self, now: float) -> None:
        """A session has delivered corrections for ``STABLE_S``: earlier failures are over."""
        self.backoff.reset_fast()
        self.short_sessions = 0
        self.last_stable_s, self.has_worked = now, True

    def ended(
        self,
        error: ZtpdError,
        now: float,
        *,
        opened: bool,
        carried_s: float | None,
        others_last_s: Sequence[float],
        beside: bool = False,
    ) -> tuple[ZtpdError, float]:
        """Note the end of a session, or of the try to open one: its meaning and the wait in s.

        ``carried_s``: how long corrections came, None where none came; ``others_last_s``: the
        loop's time at which each other channel last delivered any; ``beside``: it was open beside
        another one only.
        """
        if carried_s is not None and carried_s >= FORGIVEN_S:
            self.unused_times = 0
        if carried_s is not None and carried_s >= STABLE_S:
            self.stable(now)
        elif now - self.last_stable_s > _RECENTLY_STABLE_S:
            self.backoff.end_fast()
        if opened:
            self.failing_since_s = None
            if beside:
                self.proved_s += carried_s or 0.0
            error = self._meaning_of_end(error, now, carried_s, beside=beside)
        else:
            self.last_failing_s = now
            if self.failing_since_s is None:
                self.failing_since_s = now
            error = self._meaning_of_failure(error, now, others_last_s)
        often_empty = self.empty_sessions >= MAX_FRUITLESS and isinstance(error, SessionEmpty)
        wait_s = self.backoff.wait_s(error, Retry.REFUSED if often_empty else None)
        if isinstance(error, _MAY_COME_BACK) and self.has_worked:
            wait_s = min(wait_s, _COMES_BACK.sample(0, self.rng))
        self.error, self.due_s = error, now + wait_s
        waiting_for_fix = isinstance(error, GgaRequired)
        self.hold_without_fix_until_s = (
            now + _WITHOUT_FIX.sample(0, self.rng) if waiting_for_fix else 0.0
        )
        return error, wait_s

    def _meaning_of_end(
        self, error: ZtpdError, now: float, carried_s: float | None, *, beside: bool
    ) -> ZtpdError:
        """Only sessions that the peer closes count as evictions: a reset comes from the network,
        and a session without corrections has another cause."""
        self.early_closes = 0
        if carried_s is None:
            self.empty_sessions += 1
            closed = type(error) is SessionClosed
            return SessionEmpty(error.detail) if closed else error
        self.empty_sessions = 0
        flowed_s = self.last_corrections_s - (now - carried_s)
        was_cut = isinstance(error, (ConnectionLost, SessionStale)) and flowed_s >= _CUT_S
        if was_cut and not beside:  # else nobody waits, and all data would come twice
            self.backoff.allow_fast_try()  # a network that cuts may do so without a word
        if not isinstance(error, SessionClosed) or carried_s >= STABLE_S:
            return error
        in_one_row = now - self.last_short_s <= _ONE_ROW_S
        self.short_sessions = self.short_sessions + 1 if in_one_row else 1
        self.last_short_s = now
        recently_stable = now - self.last_stable_s <= _RECENTLY_STABLE_S
        if self.short_sessions < MAX_SHORT_SESSIONS or recently_stable:
            return error
        return SessionEvicted(f"{error.detail}, {self.short_sessions} times in a row")

    def _meaning_of_failure(
        self, error: ZtpdError, now: float, others_last_s: Sequence[float]
    ) -> ZtpdError:
        if self.failing_since_s is not None and withdrawal.has_ended(
            self.endpoint,
            error,
            now,
            failing_since_s=self.failing_since_s,
            last_corrections_s=self.last_corrections_s,
            others_last_s=others_last_s,
        ):
            return MqttWithdrawn(str(error))
        if isinstance(error, MountpointNotServed) and not self.has_worked:
            return TableInstead(error.detail)
        if not isinstance(error, ClosedEarly):
            self.early_closes = 0
            return error
        same = self.error is not None and error.detail in self.error.detail
        self.early_closes = self.early_closes + 1 if same else 1
        if self.early_closes < MAX_FRUITLESS:
            return error
        advice = BrokerAccountRefused.advice if self.endpoint.own_account else ""
        return MqttDenied(f"{error.detail}, {self.early_closes} times in a row", advice=advice)

    @property
    def refuses(self) -> bool:
        """Whether the last try was refused and other credentials may help."""
        if self.endpoint.backup:
            return False
        refused = isinstance(self.error, SessionError) and self.error.retry is Retry.REFUSED
        own = isinstance(self.error, _NOT_OF_CREDENTIALS)
        return refused and not own and not self.backoff.recovering

    def retry_now(self) -> None:
        self.left, self.unused_times = False, 0
        self.due_s = self.hold_without_fix_until_s = 0.0
