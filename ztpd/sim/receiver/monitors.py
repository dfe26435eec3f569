"""The simulated receiver's reports about antenna, interference and satellites."""

from __future__ import annotations

from collections.abc import Callable

from ztpd.sim.receiver.faults import Faults
from ztpd.sim.receiver.models import Model
from ztpd.wire.ubx import Antenna, Jamming, MonRf, NavSat, RfBlock, Satellite, SecSig

_BANDS = 2
_SYSTEMS = (0, 2, 3, 6)  # NAV-SAT's gnssId of GPS, Galileo, BeiDou, GLONASS
_SATELLITES = 32
_JAMMED_KHZ = 1_575_420


def radio(faults: Faults, setting: Callable[[str], int]) -> MonRf:
    """MON-RF. Antenna and jamming are known only where their detection is switched on."""
    antenna = Antenna.OK
    short, broken = setting("CFG-HW-ANT_CFG_SHORTDET"), setting("CFG-HW-ANT_CFG_OPENDET")
    if not (short or broken):
        antenna = Antenna.UNKNOWN
    elif (faults.antenna is Antenna.SHORT and short) or (faults.antenna is Antenna.OPEN and broken):
        antenna = faults.antenna
    jamming = faults.jamming if setting("CFG-ITFM-ENABLE") else Jamming.UNKNOWN
    jammed = faults.jamming in (Jamming.WARNING, Jamming.CRITICAL)
    return MonRf(
        tuple(
            RfBlock(band, antenna, True, jamming, 80, 1200 if jammed else 6100, 200 * jammed)
            for band in range(_BANDS)
        )
    )


def security(model: Model, faults: Faults) -> SecSig:
    """SEC-SIG."""
    jammed = faults.jamming in (Jamming.WARNING, Jamming.CRITICAL)
    frequencies = (_JAMMED_KHZ,) if jammed and model.security == 2 else ()
    return SecSig(faults.jamming, faults.spoofing, version=model.security, jammed_khz=frequencies)


def satellites(faults: Faults, used: int, itow_ms: int) -> NavSat:
    """NAV-SAT: the strongest first, each fourth of them 10 dBHz weaker than the one before."""
    without_sky = faults.no_sky or faults.tunnel
    return NavSat(
        tuple(
            Satellite(
                system=_SYSTEMS[place % 4],
                number=1 + place,
                cno_dbhz=0 if without_sky else max(0, faults.cno_dbhz - place // 4),
                elevation_deg=80 - 2 * place,
                azimuth_deg=place * 37 % 360,
                used=place < used,
                corrected=place < used,
            )
            for place in range(_SATELLITES)
        ),
        itow_ms,
    )
