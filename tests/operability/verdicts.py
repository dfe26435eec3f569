"""Every verdict about the receiver, in the words of ``status``, ``check`` and the journal.

One gateway for each, in virtual time: the real daemon with a simulated receiver.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.receiver_bench import WRONG_KEY, spartn
from tests.support.until import until
from tests.support.verdict_bench import (
    EPOCH,
    OURS,
    Frames,
    Running,
    rtcm_frames,
    running,
    spartn_frames,
)
from ztpd import check, events
from ztpd.cli.status import render
from ztpd.events import JournalEvent
from ztpd.model import StoredCredentials
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Portal, Profile
from ztpd.sim.receiver import F9P, F9P_OLD, M9N, X20P, Model, SimReceiver
from ztpd.wire import ztp
from ztpd.wire.ubx import Message

SILENT_F9P = replace(F9P_OLD, reports=())
Change = Callable[[SimReceiver], None]


async def encrypted_frames() -> AsyncIterator[bytes]:
    tag = 0
    while True:
        tag += 5
        yield spartn(tag, encrypted=True).data
        await asyncio.sleep(1)


async def glonass_frames() -> AsyncIterator[bytes]:
    """Of a system that the receiver does not know."""
    tag = 0
    while True:
        tag += 5
        yield spartn(tag, name="OCB-GLO").data
        await asyncio.sleep(1)


async def pausing_frames() -> AsyncIterator[bytes]:
    """A pause of 12 s in each minute."""
    while True:
        for _ in range(48):
            yield EPOCH
            await asyncio.sleep(1)
        await asyncio.sleep(12)


async def seldom_frames() -> AsyncIterator[bytes]:
    while True:
        yield EPOCH
        await asyncio.sleep(55)


def fault(**values: object) -> Change:
    def change(sim: SimReceiver) -> None:
        for name, value in values.items():
            setattr(sim.faults, name, value)

    return change


def settings(**values: int) -> Change:
    """By u-blox names, with two underscores for each hyphen."""

    def change(sim: SimReceiver) -> None:
        for name, value in values.items():
            sim.set(name.replace("__", "-"), value)

    return change


def time_mode(sim: SimReceiver) -> None:
    for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}", "CFG-TMODE-MODE"):
        sim.set(name, 1)


def l_band(sim: SimReceiver) -> None:
    for name in ("CFG-MSGOUT-UBX_RXM_COR_{}", "CFG-MSGOUT-UBX_NAV_PVT_{}", "CFG-{}INPROT-SPARTN"):
        sim.set(name, 1)
    sim.set("CFG-SPARTN-USE_SOURCE", 1)


def see_nothing(sim: SimReceiver) -> None:
    """Questions arrive, and corrections do not."""
    sim.faults.ignores_corrections = True
    sent = sim.send

    def send(data: bytes) -> None:
        if data[2:4] != Message.RXM_COR.to_bytes(2, "big"):
            sent(data)

    sim.send = send  # type: ignore[method-assign]


def damage(sim: SimReceiver) -> None:
    """No message of 200 bytes comes whole."""
    noise = random.Random(2)
    sim.faults.damaged_input = lambda data: bytes(
        byte ^ (noise.random() < 0.05) << 3 for byte in data
    )


def with_keys(authority: Authority, port: int) -> StoredCredentials:
    """Credentials with decryption keys, and a mountpoint with SPARTN at ``port``."""
    portal = Portal(
        Profile(format="spartn", protocol="both"),
        authority,
        broker_host="localhost",
        caster_host="localhost",
        caster_ports=(2101, port),
    )
    body = json.dumps({"token": TOKEN.reveal(), "hardwareId": "356938035643809"}).encode()
    path = ztp.PATHS["flex"]
    _, answer = portal.answer("POST", path, {"content-length": str(len(body))}, body)
    return StoredCredentials(
        credentials=ztp.parse_answer("flex", json.loads(answer)),
        hardware_id="",
        board="",
        stored_unix_s=int(time.time()),
    )


@dataclass(frozen=True)
class Verdict:
    """One verdict, and the receiver that leads to it. ``before`` and ``later`` change the receiver
    before ztpd sees it, and once corrections are used."""

    event: JournalEvent
    about: str
    frames: Frames = rtcm_frames
    model: Model = F9P
    before: Change = lambda _: None
    later: Change | None = None
    stored: bool = False
    receiver: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, dict[str, Any]] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


VERDICTS = (
    Verdict(events.NO_KEY, "no key was given", frames=encrypted_frames),
    Verdict(
        events.WRONG_KEY,
        "the keys are those of another plan",
        frames=encrypted_frames,
        stored=True,
        tables={"ztp": {"allowed_hosts": ["localhost"]}},
        options={"key": WRONG_KEY},
    ),
    Verdict(events.NO_TIME, "the antenna sees nothing", before=fault(no_sky=True)),
    Verdict(events.NO_POSITION, "too few satellites", before=fault(tunnel=True)),
    Verdict(
        events.TIME_ONLY,
        "a base station that ztpd may not change",
        before=time_mode,
        receiver={"configure": False},
    ),
    Verdict(
        events.STATION_FILTERED,
        "a filter for another station",
        before=settings(CFG__RTCM__DF003_IN=1234, CFG__RTCM__DF003_IN_FILTER=2),
    ),
    Verdict(events.OTHER_SOURCE, "a radio", before=fault(radio_station=77)),
    Verdict(
        events.KEPT_OUT,
        "SPARTN of L-band is set, and ztpd may not change it",
        frames=spartn_frames,
        before=l_band,
        receiver={"configure": False},
    ),
    Verdict(events.PREFERS_OTHERS, "in order, and not used", before=fault(ignored_stations={OURS})),
    Verdict(events.DAMAGED_ON_LINE, "a bad cable", frames=spartn_frames, later=damage),
    Verdict(
        events.UNSUPPORTED, "messages that it does not know", frames=glonass_frames, model=X20P
    ),
    Verdict(events.NOT_REPORTED, "an input that takes nothing", before=see_nothing),
    Verdict(
        events.NO_RTK,
        "no RTK, no reports, no effect",
        model=replace(M9N, reports=()),
        before=fault(ignores_corrections=True),
    ),
    Verdict(
        events.NO_CARRIER,
        "no reports, no effect",
        model=SILENT_F9P,
        before=fault(ignores_corrections=True),
    ),
    Verdict(
        events.USE_NOT_REPORTED,
        "no reports, in the first minutes",
        model=SILENT_F9P,
        before=fault(ignores_corrections=True),
    ),
    Verdict(
        events.USE_LIKE_SBAS,
        "no reports, and SBAS",
        model=SILENT_F9P,
        before=fault(ignores_corrections=True, sbas=True),
    ),
    Verdict(
        events.USE_BESIDE_OTHERS,
        "no reports, and a radio",
        frames=pausing_frames,
        model=SILENT_F9P,
        before=fault(radio_station=77),
    ),
    Verdict(
        events.USE_UNKNOWN,
        "no reports, and corrections once a minute",
        frames=seldom_frames,
        model=SILENT_F9P,
        before=fault(ignores_corrections=True),
        tables={"corrections": {"stale_after_s": 300}},
    ),
    Verdict(events.NO_FIX, "used, and no position", later=fault(unsolved=True)),
    Verdict(events.FIX_LOW, "it stays float", before=fault(never_fixed=True)),
    Verdict(events.FIX_WITHOUT_RTK, "no RTK", model=M9N),
)

PASSING = {
    events.FIX_UNKNOWN: "without NAV-PVT for some seconds the receiver is set up again",
}
"""Verdicts that do not last."""


@dataclass(frozen=True)
class Sentences:
    """What a person reads in one verdict."""

    status: str  # the first line
    check: str
    journal: str
    advice: str  # as the screen has it
    problems: tuple[str, ...]  # events of the links that `check` finds broken


async def observe(verdict: Verdict, top: Path) -> Sentences:
    """Run the daemon until its verdict is the one, and a minute more; then ask all three."""
    async with running(
        top,
        verdict.model,
        frames=verdict.frames,
        before=verdict.before,
        receiver=verdict.receiver,
        stored=with_keys if verdict.stored else None,
        **verdict.tables,
        **verdict.options,
    ) as r:
        if verdict.later:
            await until(lambda: r.view.use == "used", 60)
            verdict.later(r.sim)
        await until(lambda: r.cause.event == verdict.event.name, 900)
        await asyncio.sleep(15)  # past a heartbeat, which logs what lasts
        return await _sentences(r, verdict.event)


async def _sentences(r: Running, event: JournalEvent) -> Sentences:
    reported = r.read()
    found = await r.gateway.checked(reported)
    broken = [each for each in found if each.state is check.LinkState.PROBLEM]
    screen = render(reported, is_running=True).splitlines()
    return Sentences(
        status=_steady(screen[0].partition(": ")[2]),
        check=_steady(" ".join(check.render(broken[0]).splitlines()[0].split()) if broken else ""),
        journal=_steady(next((line.partition(" ")[2] for line in r.logged(event.name)), "")),
        advice=next((line.partition("do  ")[2] for line in screen[1:2]), ""),
        problems=tuple(each.event for each in broken),
    )


def _steady(text: str) -> str:
    """The heartbeat decides in which second something is said."""
    return re.sub(r"\b[67]\d s\b", "70 s", text)


def section(verdict: Verdict, seen: Sentences) -> str:
    """The part of the page about one verdict."""
    return (
        f"\n`{verdict.event.name}`: {verdict.about}\n\n"
        f"```\nstatus   {seen.status}\ncheck    {seen.check}\n"
        f"journal  {seen.journal}\n```\n"
    )


HEAD = """
## The verdicts about the receiver, in their words

Measured in the same way, in virtual time: the first line of `ztpd status`, the line of `ztpd check`
and the line of the journal. Where the receiver does not report the use of corrections, the
simulated HPG 1.13 was made silent; a real one reports RXM-RTCM.
"""
