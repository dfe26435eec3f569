"""Packs a report into one archive."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from typing import IO, Any

from ztpd import records, status
from ztpd.check import document as check_document
from ztpd.check import render
from ztpd.report import page
from ztpd.report.gather import history_rows
from ztpd.report.masking import Masking, setting_name
from ztpd.report.material import Material
from ztpd.wire import ubxcfg
from ztpd.wire.redaction import holds_position

FOLDER = "ztpd-report"


def write(
    stream: IO[bytes], material: Material, masking: Masking, *, with_position: bool
) -> dict[str, int]:
    """Write the archive (tar, gzip) to ``stream``; the size of each file in it. Raises OSError.

    Every file passes through ``masking``, but for a recording, which the daemon has masked.
    """
    sizes = {}
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        texts = _files(material, with_position=with_position)
        files = {name: masking.mask(text).encode(errors="replace") for name, text in texts.items()}
        if material.recording:
            files["recording.ztpd"] = material.recording
        for name, data in files.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size, member.mode = len(data), 0o644
            member.mtime = int(material.made.timestamp())
            archive.addfile(member, io.BytesIO(data))
            sizes[name] = len(data)
    return sizes


def _files(material: Material, *, with_position: bool) -> dict[str, str]:
    """The files that are there, the page first."""
    about = {
        "made": material.made.isoformat(timespec="seconds"),
        "running": material.is_running,
        "verdict": material.verdict,
        "position": with_position,
        "versions": material.versions,
        "missing": [{"part": part, "why": why} for part, why in material.missing],
    }
    html = page.render(material, with_position=with_position)
    files = {"report.html": html, "about.json": _json(about)}
    if material.status.schema:
        files["status.json"] = _json(status.to_json(material.status))
    if material.status_text:
        files["status.txt"] = material.status_text
    if material.checked:
        files["check.json"] = _json(check_document(material.checked))
        files["check.txt"] = "".join(map(render, material.checked))
    if material.config_text:
        files["config.toml"] = material.config_text
    if material.journal:
        files["journal.txt"] = material.journal
    if material.inspection:
        files["receiver.json"] = _json(_receiver(material, with_position=with_position))
    if len(material.history):
        files["history.csv"] = _csv(history_rows(material.history, with_position=with_position))
    return files


def _receiver(material: Material, *, with_position: bool) -> dict[str, Any]:
    found: dict[str, Any] = records.to_json(material.inspection)
    if not with_position:
        found["settings"] = [
            each for each in found["settings"] if not holds_position(ubxcfg.key_id(each["name"]))
        ]
        found["changed"] = [each for each in found["changed"] if not holds_position(each["key"])]
    for each in found["changed"]:
        each["name"] = setting_name(each.pop("key"))
    return found


def _json(value: object) -> str:
    return json.dumps(_rounded(value), indent=1) + "\n"


def _rounded(value: object) -> object:
    """Numbers with three decimals at most: one with more could be taken for a coordinate."""
    match value:
        case float():
            return round(value, 3)
        case dict():
            return {name: _rounded(each) for name, each in value.items()}
        case list() | tuple():
            return [_rounded(each) for each in value]
    return value


def _csv(rows: list[list[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
