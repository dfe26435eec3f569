"""Takes the samples of the history from the status, the session and the receiver."""

from __future__ import annotations

from ztpd.history.columns import Sample
from ztpd.history.ring import HistoryRing
from ztpd.model import Fix
from ztpd.receiver import Receiver
from ztpd.relay import Progress
from ztpd.status import ReceiverView, Status

_POSITION_FRESH_S = 10.0
_OPEN = ("in use", "opening")


class Sampler:
    """One sample each :meth:`update`, which the daemon's heartbeat calls every ten seconds."""

    def __init__(self) -> None:
        self.ring = HistoryRing()
        self._session = 0
        self._progress: Progress | None = None
        self._frames: dict[str, int] = {}
        self._bytes = 0

    def update(
        self, status: Status, receiver: Receiver, progress: Progress | None, now_s: float
    ) -> None:
        """``progress`` is that of the present session or of the last one."""
        channel = next((each.name for each in status.channels if each.state in _OPEN), "")
        frames, counted_bytes = self._counted(progress)
        view, failure = status.receiver, status.last_failure
        self.ring.add(
            Sample(
                at_s=now_s,
                state=status.state,
                session=self._session if channel else 0,
                channel=channel,
                cause=failure.event if failure else "",
                use=_use(view),
                fix=view.fix,
                accuracy_m=view.accuracy_m,
                satellites=None if view.fix == "unknown" else view.satellites,
                correction_age_s=view.correction_age_s,
                frame_age_s=_frame_age_s(progress, now_s) if channel else None,
                bytes=counted_bytes,
                frames=frames,
                signals=receiver.signals,
                position=_position(receiver),
            )
        )

    def _counted(self, progress: Progress | None) -> tuple[dict[str, int], int]:
        """Frames and bytes since the last time, and the number of the session."""
        if progress is None:
            return {}, 0
        if progress is not self._progress:
            self._progress, self._frames, self._bytes = progress, {}, 0
            self._session += 1
        frames = {
            kind: count - self._frames.get(kind, 0)
            for kind, count in progress.frames.items()
            if count > self._frames.get(kind, 0)
        }
        counted_bytes = progress.bytes - self._bytes
        self._frames, self._bytes = dict(progress.frames), progress.bytes
        return frames, counted_bytes


def _use(view: ReceiverView) -> str:
    """ "used", "unknown", or the event that says why they are not used."""
    return view.use_event or view.use.partition(":")[0]


def _frame_age_s(progress: Progress | None, now_s: float) -> float | None:
    if progress is None or progress.last_frame_s is None:
        return None
    return now_s - progress.last_frame_s


def _position(receiver: Receiver) -> Fix | None:
    fix, age_s = receiver.fix, receiver.fix_age_s
    fresh = fix is not None and fix.ok and age_s is not None and age_s <= _POSITION_FRESH_S
    return fix if fresh else None
