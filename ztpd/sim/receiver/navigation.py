"""The simulated receiver's position: it comes with time, improves with corrections, and is lost."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple

from ztpd.model import GPS_EPOCH_UNIX_S, GPS_LEAP_SECONDS, WEEK_S, Carrier
from ztpd.sim.receiver.faults import Faults
from ztpd.sim.receiver.models import Model
from ztpd.wire.ubx import NavPvt

_EPOCHS_TO_TIME, _EPOCHS_TO_FIX = 2, 3
_AGE_BOUNDS_S = (1, 2, 5, 10, 15, 20, 30, 45, 60, 90, 120)  # of lastCorrectionAge, class 1 on
_SBAS_INTERVAL_S = 6.0  # between two messages with fast corrections
_DEGREE_M = 111_195.0  # of latitude, on a sphere
_FLOAT_ONLY = 2  # CFG-NAVHPG-DGNSSMODE
_DEAD_RECKONING, _TIME_ONLY = 1, 5  # NAV-PVT fixType


class _Stage(NamedTuple):
    """How good the position is, after so many correction messages."""

    name: str
    after: int
    accuracy_m: float
    carrier: Carrier = Carrier.NONE


class Navigation:
    """Times are those of the receiver's own clock, in seconds since it was powered."""

    def __init__(
        self,
        model: Model,
        faults: Faults,
        setting: Callable[[str], int],
        *,
        messages_to_fix: int,
        position: tuple[float, float],
        say: Callable[[str], None],
        seed: int,
    ) -> None:
        self.used = 0  # correction messages, since it last went without
        self.stage = "no fix"
        self.began: datetime  # the date when it was powered
        self.epochs = 0  # since the last cold start
        self._used_s = 0.0
        self._messages_to_fix = messages_to_fix
        self._faults = faults
        self._setting = setting
        self.speed_mps = 0.0
        self._home = self._position = position
        self._say = say
        self._random = random.Random(seed)
        self.exchange(model)

    def exchange(self, model: Model) -> None:
        """Navigate as ``model`` from now on."""
        self._model = model
        self._stages = [
            _Stage("DGNSS", 1, 0.6),
            _Stage("3D", 0, 1.2),
        ]
        if model.rtk:
            to_fix = self._messages_to_fix
            self._stages[:0] = [
                _Stage("RTK fixed", to_fix, 0.014, Carrier.FIXED),
                _Stage("RTK float", max(2, to_fix // 3), 0.25, Carrier.FLOAT),
            ]

    def move(self, north_m: float, east_m: float, *, speed_mps: float = 0.0) -> None:
        """Be so far from where it began, and move at ``speed_mps`` from now on."""
        lat_deg, lon_deg = self._home
        east_deg = east_m / _DEGREE_M / math.cos(math.radians(lat_deg))
        self._position = lat_deg + north_m / _DEGREE_M, lon_deg + east_deg
        self.speed_mps = speed_mps

    def restart(self) -> None:
        """A hot start: orbits and position are kept, corrections are not."""
        self.used = self.epochs = 0
        self._say("receiver: restarts its navigation")

    @property
    def without_sky(self) -> bool:
        """No satellites are received."""
        return self._faults.no_sky or self._faults.tunnel

    @property
    def timely(self) -> bool:
        return self.epochs >= _EPOCHS_TO_TIME and not self._faults.no_sky

    @property
    def fixed(self) -> bool:
        poor = self.without_sky or self._faults.unsolved
        return self.epochs >= _EPOCHS_TO_FIX and not poor

    @property
    def is_base(self) -> bool:
        """It is set to be a base station: it has a time, and no position of its own."""
        return self._model.base and self._setting("CFG-TMODE-MODE") != 0

    @property
    def takes_corrections(self) -> bool:
        if self._faults.ignores_corrections:
            return False
        return self.timely and not self.without_sky and not self.is_base

    def use_correction(self, now_s: float) -> None:
        self.used += 1
        self._used_s = now_s

    def epoch(self, now_s: float) -> NavPvt:
        """One navigation epoch later."""
        self.epochs += 1
        age_s = now_s - self._used_s
        if age_s > self._setting("CFG-NAVSPG-CONSTR_DGNSSTO") or self.is_base:
            self.used = 0
        stage = self._present_stage()
        self._log_stage(stage.name if self.fixed else "no fix")
        return self._message(stage, now_s, age_s)

    def _present_stage(self) -> _Stage:
        stage = next(each for each in self._stages if self.used >= each.after)
        if stage.carrier is Carrier.FIXED:
            never = self._faults.never_fixed or self._setting("CFG-NAVHPG-DGNSSMODE") == _FLOAT_ONLY
            return self._stages[1] if never else stage
        return stage

    def _message(self, stage: _Stage, now_s: float, age_s: float) -> NavPvt:
        utc = self.began + timedelta(seconds=now_s)
        gps_s = utc.timestamp() - GPS_EPOCH_UNIX_S + GPS_LEAP_SECONDS
        reckons = self._faults.tunnel and self._model.module == "ZED-F9R"
        fixed = self.fixed or reckons
        if sbas := self._faults.sbas and not self.used and not self.is_base:
            age_s = now_s % _SBAS_INTERVAL_S
        corrected = self.used > 0 or sbas
        aged = 1 + sum(age_s >= bound for bound in _AGE_BOUNDS_S) if corrected else 0
        accuracy_mm = round((38.0 if reckons else stage.accuracy_m) * 1000)
        fix_type = _TIME_ONLY if self.is_base else _DEAD_RECKONING if reckons else 3
        return NavPvt(
            itow_ms=round(gps_s % WEEK_S * 1000) % (WEEK_S * 1000),
            utc=utc if self.timely else None,
            fully_resolved=self.timely,
            confirmed_time=self.timely and self.fixed,
            fix_type=fix_type if fixed else 0,
            fix_ok=fixed,
            differential=self.fixed and corrected,
            carrier=stage.carrier if self.fixed and not self.is_base else Carrier.NONE,
            satellites=self._random.randint(18, 24) if self.fixed else 0,
            lat_deg=self._position[0] if fixed else 0.0,
            lon_deg=self._position[1] if fixed else 0.0,
            height_mm=78_400,
            msl_mm=34_000,
            hacc_mm=accuracy_mm if fixed else 0xFFFF_FFFF,
            vacc_mm=accuracy_mm if fixed else 0xFFFF_FFFF,
            speed_mm_s=round(self.speed_mps * 1000) if fixed else 0,
            pdop=1.2 if fixed else 99.99,
            invalid_llh=not fixed,
            correction_age_class=aged if self.fixed else 0,
        )

    def _log_stage(self, stage: str) -> None:
        if stage != self.stage:
            self.stage = stage
            after = f" after {self.used} correction messages" if self.used else ""
            self._say(f"receiver: {stage}{after}")
