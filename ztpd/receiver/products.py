"""The capabilities of u-blox product lines, as MON-VER names them.

Source: u-blox data sheets and interface descriptions; a firmware is named by its product line and
version, such as "HPG 1.32" (MON-VER, extension FWVER); the first four digits of the hardware
version are the generation.
"""

from __future__ import annotations

import string

from ztpd.wire.ubx import MonVer

_RTK = ("HPG", "HPS", "LAP")
"""High precision GNSS, the same with sensors, and lane accurate positioning: carrier solutions."""

_NO_RTK = ("SPG", "TIM", "ADR", "UDR", "MDR", "FTS")
"""Standard precision, timing, dead reckoning, frequency: code corrections at the most."""

_NO_POSITION = ("PMP", "QZS")
"""Receivers of corrections over L-band or QZSS: NEO-D9S, NEO-D9C."""

_GENERATION_8, _PROTOCOL_AFTER_8 = 8, 23


def has_rtk(version: MonVer) -> bool | None:
    """Whether the firmware computes carrier solutions; None where it is not known here."""
    if is_generation_8(version) or version.firmware.startswith((*_NO_RTK, *_NO_POSITION)):
        return False
    return True if version.firmware.startswith(_RTK) else None


def is_generation_8(version: MonVer) -> bool:
    """Generation 8 or older: configured by other messages than VALSET."""
    hardware, protocol = version.hardware[:4], version.protocol.partition(".")[0]
    old_hardware = _is_hex(hardware) and int(hardware, 16) <= _GENERATION_8
    return old_hardware or (protocol.isdecimal() and int(protocol) < _PROTOCOL_AFTER_8)


def _is_hex(text: str) -> bool:
    return bool(text) and all(each in string.hexdigits for each in text)


def unsuitable(version: MonVer) -> str:
    """Why a product cannot be used at all, "" where it can."""
    name = version.model or "it"
    if version.firmware.startswith(_NO_POSITION) or name.startswith("NEO-D9"):
        return f"a {name} is no positioning receiver, it receives corrections"
    return no_such_settings(version) if is_generation_8(version) else ""


def product(version: MonVer) -> str:
    """Model and firmware, for a person."""
    return f"{version.model or 'the receiver'} with {version.firmware}"


def without_rtk(version: MonVer) -> str:
    """The sentence about a receiver that is too simple for these corrections."""
    return f"{product(version)} has no RTK, and does not take these corrections"


def no_such_settings(version: MonVer) -> str:
    """The sentence about a receiver that is not configured by VALSET."""
    name = version.model or f"a receiver with firmware {version.firmware}"
    return f"{name}: generation 8 and older have no such settings as ztpd needs"
