"""``ztpd status --watch`` on a real terminal, beside a daemon that has had an outage."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import subprocess
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.gateway import Gateway
from tests.support.until import until
from tests.support.virtualtime import run
from tests.support.watching import Terminal, frozen, on_terminal
from ztpd.sim import corrections
from ztpd.sim.caster import Caster

BEGIN = "ztpd "


async def rtcm() -> AsyncIterator[bytes]:
    pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
    async for piece in corrections.paced(pieces):
        yield piece.data


@asynccontextmanager
async def outage(top: Path) -> AsyncIterator[Gateway]:
    """Four minutes of RTK, 100 s without corrections, 50 s without the receiver.

    The next sample is due in a second.
    """
    gateway = Gateway(top)
    async with gateway.receiver():
        async with Caster({"MP": rtcm}) as caster:
            port = caster.port
            gateway.configure(
                ntrip={"host": "127.0.0.1", "port": port, "mountpoint": "MP", "tls": False}
            )
            running = gateway.running()
            daemon = await running.__aenter__()
            await until(lambda: fix(gateway) == "RTK fixed", 90)
            await asyncio.sleep(230)
            ring = daemon.observation.sampler.ring
            seen = ring.count
            await until(lambda: ring.count > seen, 20)
            await asyncio.sleep(
                2
            )  # samples 48 and 58 s later: one cell has nothing but the last class
        await asyncio.sleep(100)
        gateway.gnss.unplug()
        seen = ring.count
        await until(lambda: ring.count == seen + 5, 60)
        await asyncio.sleep(9)
        yield gateway
        await asyncio.sleep(1)  # connections of a program that has ended are closed
        await running.__aexit__(None, None, None)


def fix(gateway: Gateway) -> str:
    return str(gateway.status.get("receiver", {}).get("fix"))


def places(gateway: Gateway) -> dict[str, str]:
    return {
        "RUNTIME_DIRECTORY": str(gateway.runtime_dir),
        "STATE_DIRECTORY": str(gateway.state_dir),
    }


def watching(gateway: Gateway, environ: dict[str, str] | None = None, **size: int) -> Any:
    words = ("--config", gateway.top / "ztpd.toml", "status", "--watch")
    return on_terminal(*words, environ=places(gateway) | (environ or {}), **size)


def bars(terminal: Terminal, name: str, edge: str = "│") -> tuple[str, str]:
    """Of the line ``name`` what is between its edges, and the rest of the line."""
    terminal.read()
    found = [line for line in terminal.screen.lines if re.match(rf" *{name}  \{edge}", line)]
    assert len(found) == 1, terminal.screen.text
    _, drawn, scale = found[0].split(edge)
    return drawn, scale.strip()


async def shown(terminal: Terminal) -> None:
    """Until all of the first page is there."""
    await frozen(lambda: "corrections  " in terminal.text.partition("last 10 min")[2])
    await frozen(lambda: terminal.screen.lines[0].startswith(BEGIN))


async def ended(terminal: Terminal) -> int:
    await frozen(lambda: terminal.process.poll() is not None)
    terminal.read()
    return int(terminal.process.returncode)


def test_an_outage_is_seen_with_its_gaps_and_scales_at_80_and_at_40_columns(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway) as terminal:
                await shown(terminal)
                assert terminal.screen.lines[0].startswith("ztpd 0.")
                assert " last 10 min  20 s each, the worst of it; blank: no data" in terminal.text
                drawn, scale = bars(terminal, "corrections")
                assert re.fullmatch(r" {8,11}▁{10,13}[▂-▇]+█ +", drawn), drawn
                assert scale == "2 to 60 s old"
                assert drawn.rstrip()[-1] == "█"
                drawn, scale = bars(terminal, "fix")
                assert re.fullmatch(r" +█+▃+ {2,3}", drawn), drawn
                assert scale == "3D to RTK fixed"
                drawn, scale = bars(terminal, "accuracy")
                assert re.fullmatch(r" +▁+█+ {2,3}", drawn), drawn
                assert re.fullmatch(r"0\.01\d to 1\.2 m", scale)
                drawn, scale = bars(terminal, "satellites")
                assert re.fullmatch(r"1\d to 2\d", scale)
                assert terminal.screen.scrolled == 0

                terminal.resize(40, 40)
                await frozen(
                    lambda: " last 10 min  30 s each, the worst of" in terminal.text, within_s=0.9
                )
                assert bars(terminal, "corrections")[1] == "", "the scale is below"
                assert "\n              2 to 60 s old" in terminal.text
                assert all(len(line) < 40 for line in terminal.screen.lines)
                assert terminal.screen.scrolled == 0

    run(scenario())


def test_ctrl_c_leaves_the_terminal_as_it_was(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway) as terminal:
                await shown(terminal)
                assert terminal.screen.on_own_page
                assert not terminal.screen.has_cursor
                terminal.press("C")
                assert await ended(terminal) == 130
                assert not terminal.screen.on_own_page
                assert terminal.screen.has_cursor
                assert terminal.screen.text.strip() == "", "nothing is left on the user's page"
                assert termios.tcgetattr(terminal.host) == terminal.modes
            with watching(gateway) as terminal:
                await shown(terminal)
                terminal.process.send_signal(signal.SIGTERM)
                assert await ended(terminal) == -signal.SIGTERM
                assert not terminal.screen.on_own_page
                assert terminal.screen.has_cursor

    run(scenario())


def test_ctrl_z_gives_the_terminal_back_until_the_program_goes_on(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway) as terminal:
                await shown(terminal)
                terminal.process.send_signal(signal.SIGTSTP)
                await frozen(lambda: is_stopped(terminal.process.pid))
                assert "last 10 min" not in terminal.text
                assert terminal.screen.has_cursor
                terminal.process.send_signal(signal.SIGCONT)
                await shown(terminal)
                assert terminal.screen.on_own_page

    run(scenario())


def is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


def test_colours_and_block_characters_come_only_where_they_are_wanted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway) as terminal:
                await shown(terminal)
                assert terminal.screen.style_of("█") == "32"
                assert terminal.screen.style_of("waiting") == "1;33"
            with watching(gateway, {"NO_COLOR": "1"}) as terminal:
                await shown(terminal)
                assert terminal.screen.on_own_page
                assert not re.search(rb"\x1b\[[0-9;]*m", terminal.written)
            with watching(gateway, {"LC_ALL": "C"}) as terminal:
                await shown(terminal)
                assert terminal.written.isascii()
                assert re.fullmatch(r" +_+[.=+*%-]+# +", bars(terminal, "corrections", "|")[0])
            with watching(gateway, {"TERM": "dumb"}) as terminal:
                await frozen(
                    lambda: terminal.written.count(b"last 10 min") == 2 or not terminal.text
                )
                assert b"\x1b" not in terminal.written

    run(scenario())


def test_without_a_terminal_screens_follow_one_another_as_plain_text(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            command = [sys.executable, "-m", "ztpd", "--config", str(tmp_path / "ztpd.toml")]
            environ = os.environ | places(gateway) | {"LANG": "C.UTF-8"}
            environ.pop("LC_ALL", None)
            with subprocess.Popen(
                [*command, "status", "--watch"], env=environ, stdout=subprocess.PIPE
            ) as process:
                assert process.stdout
                os.set_blocking(process.stdout.fileno(), False)
                text = b""

                def more() -> bool:
                    nonlocal text
                    text += process.stdout.read() or b"" if process.stdout else b""
                    return text.count(b"old\n") >= 2

                await frozen(more)
                process.send_signal(signal.SIGINT)
                await frozen(lambda: process.poll() is not None)
            assert process.returncode == 130
            assert b"\x1b" not in text
            first, second = text.decode().split("\n\nztpd ")[:2]
            assert "last 10 min  20 s each" in first
            assert "│  2 to 60 s old" in first
            assert "last 10 min  20 s each" in second

    run(scenario())


def test_a_new_sample_moves_the_lines(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway, columns=120) as terminal:
                await shown(terminal)
                before = bars(terminal, "corrections")[0].rstrip()
                await asyncio.sleep(60)
                await frozen(
                    lambda: len(bars(terminal, "corrections")[0].rstrip()) == len(before) - 6
                )

    run(scenario())


def test_a_daemon_that_does_not_answer_is_named(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            with watching(gateway) as terminal:
                await shown(terminal)
                (gateway.runtime_dir / "control.sock").rename(gateway.runtime_dir / "away")
                await frozen(lambda: "last 10 min  the daemon does not answer" in terminal.text)
                (gateway.runtime_dir / "away").rename(gateway.runtime_dir / "control.sock")

    run(scenario())


def test_the_receiver_s_monitor_fills_such_a_page_too(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with outage(tmp_path) as gateway:
            words = ("--config", tmp_path / "ztpd.toml", "receiver", "monitor")
            with on_terminal(*words, environ=places(gateway), columns=60) as terminal:
                await frozen(lambda: "   receiver  ZED-F9P, HPG 1.32" in terminal.text)
                assert terminal.screen.on_own_page
                terminal.press("C")
                assert await ended(terminal) == 130
                assert not terminal.screen.on_own_page
                assert terminal.screen.text.strip() == ""

    run(scenario())
