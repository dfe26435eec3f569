"""``ztpd receiver``: one look at the receiver's settings, and one screen of its life."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from ztpd import config as configuration
from ztpd import log, records
from ztpd.cli.ask import daemon_runs, daemon_status
from ztpd.cli.screen import Shown, line
from ztpd.cli.screen import row as screen_row
from ztpd.cli.screen import show as show_screen
from ztpd.errors import NotRunning, ReceiverError
from ztpd.log import duration
from ztpd.status import ReceiverView
from ztpd.system import control, directories
from ztpd.system.control import Verb

if TYPE_CHECKING:
    from ztpd.receiver.settings import Inspection, SettingView


def show(options: argparse.Namespace) -> int:
    """The receiver's settings; the running daemon is asked for them."""
    from ztpd.receiver import ReceiverSettings, inspect
    from ztpd.receiver.settings import Inspection

    if daemon_runs():
        answer = control.ask(directories.runtime_dir(), {"do": Verb.RECEIVER})
        if not answer.get("ok"):
            print(f"ztpd: {line(answer.get('error'))}", file=sys.stderr)
            if answer.get("advice"):
                print(f"      {line(answer['advice'])}", file=sys.stderr)
            return ReceiverError.exit_status
        found = records.from_json(Inspection, answer.get("receiver"))
    else:
        config = configuration.load(options.config).config
        log.setup("error", stream=sys.stderr)  # errors are printed at the end
        found = asyncio.run(inspect(ReceiverSettings.of(config)))
    if options.json:
        print(json.dumps(records.to_json(found), indent=1))
    else:
        print(inspection(found), end="")
    return 0


def monitor(options: argparse.Namespace) -> int:
    """Fix and corrections, every second."""

    def screen() -> Shown:
        published = daemon_status()
        if published is None:
            raise NotRunning(str(directories.runtime_dir()))
        return Shown(life(published.receiver), 0)

    return show_screen(screen, again=not options.once)


def inspection(found: Inspection) -> str:
    """One look, for a person."""
    firmware = f"firmware {found.firmware}, protocol {found.protocol or 'not reported'}"
    lines = [
        _row("receiver", f"{found.model or 'of unknown model'}, {firmware}"),
        _row("port", f"{found.port} {found.speed}"),
        _row("takes", " and ".join(found.takes)),
    ]
    if found.wanted_baudrate not in (None, found.baudrate):
        lines.append(_row("change", f"the speed, to {found.wanted_baudrate} baud"))
    width = max((len(each.name) for each in found.settings), default=0)
    names = {"right": "setting", "wrong": "change"}
    for each in found.settings:
        lines.append(
            _row(names.get(each.state, "unknown"), f"{each.name:<{width}}  {_value(each)}")
        )
    wrong = sum(each.state == "wrong" for each in found.settings)
    if not found.configure:
        lines.append(_row("", "[receiver] configure is false: nothing would be changed"))
    elif wrong:
        lines.append(_row("", f"{wrong} settings would be changed (in RAM)"))
    else:
        lines.append(_row("", "nothing would be changed"))
    return "".join(lines)


def _value(setting: SettingView) -> str:
    match setting.state:
        case "right":
            return str(setting.value)
        case "wrong":
            return f"{setting.value}, would be set to {setting.wanted}"
    at_least = " or more" if setting.at_least else ""
    return f"not known to this firmware (wanted: {setting.wanted}{at_least})"


def life(view: ReceiverView) -> str:
    """The receiver's part of the status, on a screen of its own."""
    if not view.model:
        return _row("receiver", view.problem or "not found yet")
    accuracy_m, age_s = view.accuracy_m, view.correction_age_s
    first = {"fix": view.first_fix_s, "float": view.first_float_s, "fixed": view.first_fixed_s}
    reached = [f"{name} after {duration(after_s)}" for name, after_s in first.items() if after_s]
    lines = [
        _row("receiver", f"{view.model}, {view.firmware}, {view.port}"),
        _row("problem", view.problem),
        _row(
            "fix",
            f"{view.fix}, {view.satellites} satellites"
            + (f", accuracy {accuracy_m:.3g} m" if accuracy_m is not None else ""),
        ),
        _row("first", ", ".join(reached)),
        _row("corrections", view.use + (f", the last within {age_s:g} s" if age_s else "")),
        _row("line", _delivered(view)),
    ]
    for finding in view.findings:
        lines += [_row("found", finding.text), _row("do", finding.advice)]
    if names := sorted({*view.used, *view.rejected}):
        lines.append(f"\n{'':>11}  {'type':<12}{'used':>8}{'not used':>10}\n")
        lines += [
            f"{'':>11}  {name:<12}{view.used.get(name, 0):>8}{view.rejected.get(name, 0):>10}\n"
            for name in names
        ]
    return "".join(lines)


def _delivered(view: ReceiverView) -> str:
    text = f"{view.delivered_frames} frames, {view.delivered_bytes} bytes given"
    for count, words in (
        (view.dropped, "dropped"),
        (view.refused, "refused"),
        (view.undelivered, "while it was not ready"),
    ):
        if count:
            text += f", {count} {words}"
    return text


def _row(name: str, text: object) -> str:
    return screen_row(name, text, 11)
