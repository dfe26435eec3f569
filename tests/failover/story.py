"""A fail-over and the way back, as the journal and ``ztpd status`` tell it, in virtual time."""

from __future__ import annotations

import asyncio
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.failover.site import FOREIGN_STATION, Site
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd.cli.status import render
from ztpd.model import utc
from ztpd.sim.corrections import STATION

_NUMBER = re.compile(r"\d[\d.,:]*( ?(ms|s|min|h|MB|B/s|m)\b)?")


@dataclass(frozen=True, slots=True)
class Scene:
    """``about`` says what happened before; ``journal`` are the lines since the last scene."""

    about: str
    journal: tuple[str, ...]
    screen: str

    def shape(self) -> list[str]:
        """All lines without their numbers, and without the order of lines of one moment, which
        differ from run to run."""
        lines = (*sorted(_NUMBER.sub("#", line) for line in self.journal), self.screen)
        return [_NUMBER.sub("#", line) for line in lines]

    def text(self) -> str:
        journal = "".join(f"{line}\n" for line in self.journal)
        shown = f"```\n{journal}```\n\n" if journal else ""
        return f"{self.about}\n\n{shown}```console\n$ ztpd status\n{self.screen}```\n"


_SCENE = re.compile(
    r"(?P<about>[^\n]+)\n\n(```\n(?P<journal>.*?)```\n\n)?"
    r"```console\n\$ ztpd status\n(?P<screen>.*?)```\n",
    re.DOTALL,
)


def parse(page: str) -> list[Scene]:
    """The scenes in a page that shows them."""
    return [
        Scene(found["about"], tuple((found["journal"] or "").splitlines()), found["screen"])
        for found in _SCENE.finditer(page)
    ]


def tell() -> list[Scene]:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as top:
        return run(_tell(Path(top)))


async def _tell(top: Path) -> list[Scene]:
    site = Site(top, every_s=1.0)
    scenes: list[Scene] = []

    def scene(about: str) -> None:
        told = sum(len(each.journal) for each in scenes)
        lines = [f"{utc(at_s):%H:%M:%S} ztpd: {text}" for at_s, _, text in site.journal.lines]
        plain = [_public(site, line) for line in lines[told:]]
        scenes.append(Scene(about, tuple(plain), _public(site, _screen(site))))

    async with site.running(budget={"megabytes_per_month": 1000}):
        await until(lambda: site.daemon.receiver.view.fix == "RTK fixed", 120)
        await asyncio.sleep(60)
        scene("The daemon has just started; the receiver uses the first service.")

        site.first.station = FOREIGN_STATION
        site.receiver.faults.ignored_stations.add(FOREIGN_STATION.station_id)
        await asyncio.sleep(90)
        scene(
            "The first service now sends the data of another station, and the receiver does not use"
            " them. It takes 40 s to be sure; the session itself is in order."
        )

        await until(lambda: site.journal.count("session.service_changed") == 1, 300)
        await asyncio.sleep(15)
        scene("After two minutes without use the backup takes over. RTK is back within seconds.")

        site.first.station = STATION
        await asyncio.sleep(300)
        scene(
            "The first service is mended. Its session is open beside that of the backup; it takes "
            "over when it has brought corrections for ten minutes."
        )

        await until(lambda: site.journal.count("session.service_changed") == 2, 600)
        await asyncio.sleep(75)
        scene("It has, and the receiver uses them: the session with the backup is closed.")
    return scenes


def _screen(site: Site) -> str:
    return render(
        site.daemon.document(),
        is_running=True,
        now=site.daemon.present.wall_clock(),
        clock="synchronised",
    )


def _public(site: Site, text: str) -> str:
    """With addresses as a gateway in the field has them."""
    names = {
        f"127.0.0.1:{site.first.line.port}": "caster.example.com:2101",
        f"127.0.0.1:{site.backup.line.port}": "caster.example.org:2101",
        site.gateway.gnss.path: "/dev/ublox",
    }
    for name, public in names.items():
        text = text.replace(str(name), public)
    return text
