"""Reads attributes of sysfs. One that is missing or odd is empty, since devices come and go."""

from __future__ import annotations

from pathlib import Path


def text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except OSError:
        return ""


def hexadecimal(file: Path) -> int | None:
    try:
        return int(text(file), 16)
    except ValueError:
        return None


def driver(device: Path) -> str:
    """The name of the driver that has the device; "" for none."""
    try:
        return (device / "driver").readlink().name
    except OSError:
        return ""
