"""The series of the history: what a sample holds, and how many bytes each value takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ztpd.model import Fix
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

EVERY_S = 10.0
LENGTH = 8640  # samples: 24 hours


class Signals(NamedTuple):
    """What the receiver reports about its reception; None where it reports nothing."""

    antenna: Antenna | None = None
    jamming: Jamming | None = None
    spoofing: Spoofing | None = None
    cno_dbhz: tuple[int, ...] | None = None  # of each satellite that is received


class Sample(NamedTuple):
    """The gateway at one moment. Counts are those since the sample before."""

    at_s: float  # the event loop's time
    state: str = ""
    session: int = 0  # number of the session, 0 without one
    channel: str = ""  # the service of that session
    cause: str = ""  # event of the last failure, "" where the step succeeded since
    use: str = "unknown"  # "used", "unknown", or the event that says why they are not used
    fix: str = "unknown"
    accuracy_m: float | None = None  # horizontal, 1 sigma
    satellites: int | None = None  # used in the position
    correction_age_s: float | None = None  # upper bound of the class that the receiver reports
    frame_age_s: float | None = None  # since the last correction came
    bytes: int = 0  # of corrections
    frames: Mapping[str, int] = {}  # by kind
    signals: Signals = Signals()
    position: Fix | None = None


class Column(NamedTuple):
    """One series. A number is stored as ``round(value * per_unit)``; of a text its index."""

    name: str
    typecode: str  # of :class:`array.array`
    per_unit: float = 1.0
    is_text: bool = False

    @property
    def missing(self) -> int:
        """Stands for "not known"; a larger value is stored as the one before it."""
        return {"B": 0xFF, "H": 0xFFFF, "I": 0xFFFF_FFFF, "i": -(1 << 31)}[self.typecode]

    def stored(self, value: float | None) -> int:
        if value is None:
            return self.missing
        scaled = round(value * self.per_unit)
        if self.typecode == "i":
            return max(self.missing + 1, min((1 << 31) - 1, scaled))
        return max(0, min(self.missing - 1, scaled))


TIME = Column("at_s", "I")
POSITION = (Column("lat_deg", "i", 1e7), Column("lon_deg", "i", 1e7), Column("height_m", "i", 1e3))
"""As NAV-PVT gives them: steps of 1e-7 degrees are 11 mm in latitude."""

COLUMNS: tuple[Column, ...] = (
    TIME,
    Column("state", "B", is_text=True),
    Column("session", "H"),
    Column("channel", "B", is_text=True),
    Column("cause", "B", is_text=True),
    Column("use", "B", is_text=True),
    Column("fix", "B", is_text=True),
    Column("accuracy_m", "I", 1e3),
    Column("satellites", "B"),
    Column("correction_age_s", "H", 10.0),
    Column("frame_age_s", "H", 10.0),
    Column("bytes", "I"),
    Column("antenna", "B"),
    Column("jamming", "B"),
    Column("spoofing", "B"),
    Column("cno_median_dbhz", "B"),
    Column("cno_best_dbhz", "B"),
    Column("received", "B"),  # satellites with any signal
    Column("received_well", "B"),  # with 35 dBHz or more
    *POSITION,
)

KIND = Column("", "B")
"""The frames of one kind in each sample; this column's name is the kind's."""

GOOD_CNO_DBHZ = 35
"""Carrier to noise density with which carrier phases are usable."""


def numbers(sample: Sample) -> dict[str, float | None]:
    """The numbers of ``sample``, by the name of their column."""
    signals, fix = sample.signals, sample.position
    strengths = sorted(signals.cno_dbhz or ())
    known = signals.cno_dbhz is not None
    return {
        "at_s": sample.at_s,
        "session": (sample.session - 1) % 0xFFFE + 1 if sample.session else 0,
        "accuracy_m": sample.accuracy_m,
        "satellites": sample.satellites,
        "correction_age_s": sample.correction_age_s,
        "frame_age_s": sample.frame_age_s,
        "bytes": sample.bytes,
        "antenna": signals.antenna,
        "jamming": signals.jamming,
        "spoofing": signals.spoofing,
        "cno_median_dbhz": strengths[len(strengths) // 2] if strengths else None,
        "cno_best_dbhz": strengths[-1] if strengths else None,
        "received": len(strengths) if known else None,
        "received_well": sum(each >= GOOD_CNO_DBHZ for each in strengths) if known else None,
        "lat_deg": fix.lat_deg if fix else None,
        "lon_deg": fix.lon_deg if fix else None,
        "height_m": fix.height_m if fix else None,
    }


def texts(sample: Sample) -> dict[str, str]:
    """The texts of ``sample``, by the name of their column."""
    return {
        "state": sample.state,
        "channel": sample.channel,
        "cause": sample.cause,
        "use": sample.use,
        "fix": sample.fix,
    }
