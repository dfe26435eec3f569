"""What a report is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from ztpd.check import Result
from ztpd.history.transfer import HistoryData
from ztpd.receiver.settings import Inspection
from ztpd.status import Status


@dataclass(slots=True)
class Material:
    """Gathered once; a part that could not be had is empty, and :attr:`missing` says why."""

    made: datetime
    versions: dict[str, str] = field(default_factory=dict)
    status: Status = field(default_factory=Status)
    is_running: bool = False
    verdict: str = ""
    status_text: str = ""
    checked: Sequence[Result] = ()
    config_text: str = ""
    journal: str = ""
    inspection: Inspection | None = None
    history: HistoryData = field(default_factory=HistoryData)
    recording: bytes = b""  # of ``ztpd record``, compressed
    missing: list[tuple[str, str]] = field(default_factory=list)

    def lacks(self, part: str, why: object) -> None:
        self.missing.append((part, str(why)))
