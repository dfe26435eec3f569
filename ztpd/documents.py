"""Writes what is produced from the code: ``python -m ztpd.documents DIRECTORY``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path

from ztpd import config, events, lifecycle


def produced() -> Mapping[str, str]:
    """Path below the project and text of every produced file."""
    return {
        "etc/ztpd/ztpd.toml": config.example(),
        "docs/configuration.md": config.reference(),
        "docs/states.md": _states(),
        "docs/events.md": _events(),
        "packaging/ztpd.catalog": _catalog(),
    }


def _states() -> str:
    rows = "\n".join(f"| {state.name} | {state.meaning} |" for state in lifecycle.State)
    return f"""# States

What the daemon is doing is one of these; `ztpd status` and `STATUS=` in `systemctl status` show it.

| state | what is true in it |
| --- | --- |
{rows}

The arrows are the table in `ztpd/lifecycle.py`; their labels are what happened.

```mermaid
{lifecycle.diagram()}```
"""


def _events() -> str:
    parts = [
        "# Events\n\nEvery line of the journal that matters has a name (`ZTPD_EVENT`), a message "
        "id and fields `ZTPD_*`.\nFind them with `journalctl -u ztpd ZTPD_EVENT=ztp.provisioned`; "
        "`journalctl -x` shows the texts below\nbeside the lines.\n"
    ]
    for event in events.every():
        level = logging.getLevelName(event.level).lower()
        parts.append(f"\n## {event.name}\n\n{event.happened}\n")
        if event.now:
            parts.append(f"\n{event.now}\n")
        if event.cure:
            parts.append(f"\n**What to do:** {event.cure}\n")
        parts.append(f"\n`{event.message_id}`, {level}\n")
    return "".join(parts)


def _catalog() -> str:
    entries = []
    for event in events.every():
        lines = [
            f"-- {event.message_id}",
            f"Subject: {event.happened.rstrip('.')}",
            "Defined-By: ztpd",
            "Documentation: man:ztpd(8)",
            "",
            event.now or "This is information; nothing follows from it.",
        ]
        if event.cure:
            lines += ["", f"What to do: {event.cure}"]
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)


def main() -> int:
    top = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in produced().items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
