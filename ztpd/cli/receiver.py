"""What `ztpd receiver` prints: one look at the receiver's settings, and one screen of its life."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ztpd.log import duration


def inspection(told: Mapping[str, Any]) -> str:
    """``told`` is a :class:`ztpd.receiver.settings.Inspection` as JSON."""
    firmware = f"firmware {told['firmware']}, protocol {told['protocol'] or 'not told'}"
    lines = [
        _row("receiver", f"{told['model'] or 'of unknown model'}, {firmware}"),
        _row("port", f"{told['port']} at {told['baudrate']} baud"),
        _row("takes", " and ".join(told["takes"])),
    ]
    if told["wanted_baudrate"] not in (None, told["baudrate"]):
        lines.append(_row("change", f"the speed, to {told['wanted_baudrate']} baud"))
    width = max((len(each["name"]) for each in told["settings"]), default=0)
    for each in told["settings"]:
        what = {"right": "setting", "wrong": "change", "unknown": "unknown"}[each["state"]]
        lines.append(_row(what, f"{each['name']:<{width}}  {_value(each)}"))
    wrong = sum(each["state"] == "wrong" for each in told["settings"])
    if not told["configure"]:
        lines.append(_row("", "[receiver] configure is false: nothing would be changed"))
    elif wrong:
        lines.append(_row("", f"{wrong} settings would be changed (in RAM)"))
    else:
        lines.append(_row("", "nothing would be changed"))
    return "".join(lines)


def _value(setting: Mapping[str, Any]) -> str:
    at_least = " or more" if setting["at_least"] else ""
    match setting["state"]:
        case "right":
            return str(setting["value"])
        case "wrong":
            return f"{setting['value']}, would be set to {setting['wanted']}"
    return f"not known to this firmware (wanted: {setting['wanted']}{at_least})"


def monitor(view: Mapping[str, Any]) -> str:
    """``view`` is a :class:`ztpd.receiver.settings.ReceiverView` as JSON."""
    if not view.get("model"):
        return _row("receiver", view.get("problem") or "not found yet")
    accuracy, age = view["accuracy_m"], view["correction_age_s"]
    first = {name: view[f"first_{name}_s"] for name in ("fix", "float", "fixed")}
    reached = [f"{name} after {duration(after)}" for name, after in first.items() if after]
    lines = [
        _row("receiver", f"{view['model']}, {view['firmware']}, {view['port']}"),
        _row("problem", view["problem"]),
        _row(
            "fix",
            f"{view['fix']}, {view['satellites']} satellites"
            + (f", accuracy {accuracy:.3f} m" if accuracy is not None else ""),
        ),
        _row("first", ", ".join(reached)),
        _row("corrections", f"{view['use']}" + (f", the last within {age:g} s" if age else "")),
        _row("line", _line(view)),
    ]
    used, rejected = view["used"], view["rejected"]
    if names := sorted({*used, *rejected}):
        lines.append(f"\n{'':>11}  {'type':<12}{'used':>8}{'not used':>10}\n")
        lines += [
            f"{'':>11}  {name:<12}{used.get(name, 0):>8}{rejected.get(name, 0):>10}\n"
            for name in names
        ]
    return "".join(lines)


def _line(view: Mapping[str, Any]) -> str:
    text = f"{view['delivered_frames']} frames, {view['delivered_bytes']} bytes given"
    for name, words in (
        ("dropped", "dropped"),
        ("refused", "refused"),
        ("undelivered", "while it was not ready"),
    ):
        if view[name]:
            text += f", {view[name]} {words}"
    return text


def _row(name: str, text: object) -> str:
    return f"{name:>11}  {text}\n" if text else ""
