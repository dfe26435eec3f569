"""The capabilities of u-blox product lines, by the name of their firmware.

Source: u-blox data sheets and interface descriptions; a firmware is named by its product line and
version, such as "HPG 1.32" (MON-VER, extension FWVER).
"""

from __future__ import annotations

from ztpd.wire.ubx import MonVer

RTK = ("HPG", "HPS", "LAP")
"""High precision GNSS, the same with sensors, and lane accurate positioning: carrier solutions."""

_NO_RTK = ("SPG", "TIM", "ADR", "UDR", "MDR", "FTS")
"""Standard precision, timing, dead reckoning, frequency: code corrections at the most."""


def has_rtk(version: MonVer) -> bool | None:
    """Whether the firmware computes carrier solutions; None where it is not known here."""
    if version.firmware.startswith(RTK):
        return True
    return False if version.firmware.startswith(_NO_RTK) else None
