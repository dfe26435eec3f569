"""Notes of each heartbeat: the history, and journal lines about weaknesses; and recordings."""

from __future__ import annotations

from ztpd.daemon.quality import QualityLog
from ztpd.daemon.recorder import Recorder
from ztpd.daemon.sampling import Sampler
from ztpd.receiver import Receiver
from ztpd.relay import Progress
from ztpd.status import Status
from ztpd.system.looptime import loop_time


class Observation:
    """``sampler`` has the history, ``recorder`` the taps of a recording."""

    def __init__(self) -> None:
        self.sampler = Sampler()
        self.recorder = Recorder()
        self._quality = QualityLog()

    def update(self, status: Status, receiver: Receiver, progress: Progress | None) -> None:
        """Take the present status; ``progress`` is of the present session or of the last one."""
        now_s = loop_time()
        self._quality.update(status, now_s)
        self.sampler.update(status, receiver, progress, now_s)
