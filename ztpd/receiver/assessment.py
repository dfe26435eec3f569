"""The abilities of a receiver to use corrections, by its model and its present settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ztpd.errors import ReceiverNotSet, ReceiverRefused, ReceiverUnsuitable
from ztpd.model import FrameKind
from ztpd.receiver import configure
from ztpd.receiver.configure import AppliedSettings, Group
from ztpd.receiver.products import has_rtk, no_such_settings, product, without_rtk
from ztpd.receiver.usage import Abilities
from ztpd.wire.ubx import MonVer

PORT_SETTINGS = (
    configure.SPARTN_IN,
    configure.RTCM_IN,
    configure.POSITION_OUT,
    configure.REPORTS_OUT,
    configure.RTCM_REPORTS_OUT,
)
"""Where these differ from port to port, it matters which port is in use."""

_INPUTS = {FrameKind.SPARTN: configure.SPARTN_IN, FrameKind.RTCM3: configure.RTCM_IN}
_FLOAT_ONLY = 2  # CFG-NAVHPG-DGNSSMODE


class Assessment(NamedTuple):
    """``closed`` has, for each kind of corrections whose input is off, the sentence about it."""

    accepts: frozenset[FrameKind] = frozenset()
    closed: Mapping[FrameKind, str] = {}
    abilities: Abilities = Abilities()
    best_fix: str = ""  # the best label in reach with corrections; "": no answer yet
    fix_interval_s: float | None = None  # between two NAV-PVT


def known_inputs(applied: AppliedSettings) -> frozenset[FrameKind]:
    """The kinds of corrections that the firmware can take, on or off."""
    return frozenset(kind for kind, pattern in _INPUTS.items() if applied.knows(pattern))


def assess(
    version: MonVer,
    applied: AppliedSettings,
    groups: Sequence[Group],
    ports: Sequence[str],
    *,
    may_configure: bool,
) -> Assessment:
    """Judge settings by their values on ``ports``, each of which may be the one in use.

    Raises :class:`ReceiverUnsuitable` where the receiver has no such settings at all,
    :class:`ReceiverRefused` where the firmware lacks a needed one, and :class:`ReceiverNotSet`
    where it is off and cannot be switched on from here.
    """
    known = known_inputs(applied)
    if not applied.values:
        raise ReceiverUnsuitable(no_such_settings(version))
    if not known or not applied.knows(configure.POSITION_OUT):
        if has_rtk(version) is False:
            raise ReceiverUnsuitable(without_rtk(version))
        lacking = [key for group in groups for key in applied.lacking(group)]
        raise ReceiverRefused(configure.names(lacking))
    stays = _why_it_stays(applied, may_configure=may_configure)
    zeros = {each.key for group in groups for each in group.settings if not each.value}

    def off(pattern: str, name: str) -> str:
        """The sentence about an input or output that is off, "" where it is on."""
        if applied.is_on(pattern, ports):
            return ""
        keys = [key for key in configure.port_keys(pattern, ports) if key in zeros]  # the user's
        why = f"[receiver.keys] has {configure.names(keys)} = 0" if keys else stays
        elsewhere = applied.is_on(pattern)
        where = f"on {ports[0]}, the port in use" if elsewhere else "on all its ports"
        return f"{why}; {name} is off {where}"

    inputs = {kind: off(_INPUTS[kind], f"{kind.value} input") for kind in _INPUTS if kind in known}
    closed = {kind: sentence for kind, sentence in inputs.items() if sentence}
    if len(closed) == len(known):
        raise ReceiverNotSet(next(iter(closed.values())))
    if sentence := off(configure.POSITION_OUT, "NAV-PVT output"):
        raise ReceiverNotSet(sentence)
    return Assessment(
        accepts=frozenset({FrameKind.UBX, *known} - closed.keys()),
        closed=closed,
        abilities=Abilities(
            product=product(version),
            reports=_reported(applied, ports),
            rtk=has_rtk(version),
            only_station=applied.only_station,
            is_base=bool(applied.values.get(configure.TMODE)),
            kept_out=_kept_out(applied),
        ),
        best_fix=_best_fix(version, applied),
        fix_interval_s=applied.fix_interval_s(ports),
    )


def _why_it_stays(applied: AppliedSettings, *, may_configure: bool) -> str:
    if not may_configure:
        return "[receiver] configure is false"
    return "the receiver refuses changes" if applied.locked else "the receiver refuses to change it"


def _reported(applied: AppliedSettings, ports: Sequence[str]) -> frozenset[FrameKind]:
    """The kinds of corrections whose use the receiver reports."""
    if applied.is_on(configure.REPORTS_OUT, ports):
        return frozenset({FrameKind.SPARTN, FrameKind.RTCM3})
    rtcm = applied.is_on(configure.RTCM_REPORTS_OUT, ports)
    return frozenset({FrameKind.RTCM3}) if rtcm else frozenset()


def _kept_out(applied: AppliedSettings) -> Mapping[FrameKind, str]:
    """What settings keep out although the input is on, with the words about them."""
    kept_out: dict[FrameKind, str] = {}
    if applied.values.get(configure.SPARTN_SOURCE):
        name = configure.names([configure.SPARTN_SOURCE])
        kept_out[FrameKind.SPARTN] = f"{name} = 1 takes SPARTN over L-band only"
    if applied.values.get(configure.HOST_CORRECTIONS) == 0:
        name = configure.names([configure.HOST_CORRECTIONS])
        kept_out = dict.fromkeys(_INPUTS, f"{name} = 0 keeps corrections of its host out")
    return kept_out


def _best_fix(version: MonVer, applied: AppliedSettings) -> str:
    """An unknown product is expected to reach a carrier solution; else corrections have no use."""
    able = has_rtk(version)
    if able is False:
        return "DGNSS"
    float_only = applied.values.get(configure.DGNSS_MODE) == _FLOAT_ONLY
    return "RTK fixed" if able and not float_only else "RTK float"
