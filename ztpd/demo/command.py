"""The command ``ztpd demo``: its options, its signals, its exit status."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from ztpd import log
from ztpd.demo.console import Console, open_console
from ztpd.demo.faults import FAULTS
from ztpd.demo.play import Demo, captured
from ztpd.demo.replay import Replay, load
from ztpd.errors import UsageError


async def _play(options: argparse.Namespace, console: Console, directory: Path) -> bool:
    """Run the demo, and end every part of it in order, also after an error."""
    playing, loop = asyncio.current_task(), asyncio.get_running_loop()
    assert playing  # noqa: S101 - a coroutine runs in a task
    console.on_closed_output = playing.cancel
    for number in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, playing.cancel)
    loop.add_signal_handler(signal.SIGWINCH, console.redraw)
    loop.add_signal_handler(signal.SIGTSTP, _suspend, console)
    demo = Replay if options.replay else Demo
    return await demo(options, console, directory).run()


def _suspend(console: Console) -> None:
    """Stop until SIGCONT, as Ctrl-Z asks for, with the terminal as it was before."""
    console.pause()
    os.kill(os.getpid(), signal.SIGSTOP)
    console.redraw()


def _unknown(name: str) -> str:
    import difflib  # for a mistake only

    near = difflib.get_close_matches(name, FAULTS, 1)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return f"no fault {name!r}; {guess}`ztpd demo --fault list` lists them"


def run(options: argparse.Namespace, console: Console | None = None) -> int:
    """The exit status: 0 when stopped by Ctrl-C, when a recording has been played, or with
    ``--once`` when corrections were used."""
    if options.fault == "list":
        for name, fault in FAULTS.items():
            print(f"{name:<20} {fault.about}")
        return 0
    if options.fault and options.fault not in FAULTS:
        raise UsageError(_unknown(options.fault))
    if options.fault and (wanted := FAULTS[options.fault].format):
        options.format = wanted
    if options.replay:
        load(options)
    elif options.speed is not None:
        raise UsageError("--speed is for --replay")
    elif options.capture:
        captured(options)
    log.setup("warning")
    console = console or open_console(sys.stdout)
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="ztpd-demo-") as directory:
        try:
            reached = asyncio.run(_play(options, console, Path(directory)))
        except (KeyboardInterrupt, asyncio.CancelledError):
            console.close()
            console.tell("demo", "stopped")
            return 0
        finally:
            console.close()
    took = log.duration(time.monotonic() - began_s)
    console.tell("demo", f"{'done' if reached else 'failed'} after {took}")
    return 0 if reached else 1
