"""Texts from outside: read in the encoding of any editor, and made safe for a log line."""

from __future__ import annotations

import codecs
import re

SAVE_AS_UTF_8 = "is UTF-16: save it as UTF-8"

_TILE = re.compile(r"L[0-9][NS][0-9]{2,}[EW][0-9]{2,}")  # of a localized topic or mountpoint


def is_utf_16(data: bytes) -> bool:
    """Whether an editor saved the file as UTF-16, which some programs of Windows do."""
    return data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))


def decoded(data: bytes) -> str:
    """The text of a file that a person wrote, without the byte order mark of an editor.

    Raises ValueError for bytes that are no UTF-8; its text continues "FILE ...".
    """
    if is_utf_16(data):
        raise ValueError(SAVE_AS_UTF_8)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        begin = error.start
    # Raised here, not above: that exception holds the bytes, a password perhaps.
    raise ValueError(f"is no UTF-8 text, from byte {begin} on")


def quoted(text: str, limit: int = 200) -> str:
    """``text`` safe to print: dots for unprintable characters (control characters, line breaks,
    changes of the writing direction, lone surrogates), cut at ``limit`` characters."""
    clean = "".join(char if char.isprintable() else "." for char in text.strip()[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def clean(text: bytes | str, limit: int) -> str:
    """A peer's text on one line, of printable characters only, cut at ``limit``."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "ignore")
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_tiles(text: str) -> str:
    """``text`` without the tiles of localized topics, which tell the place to some 100 km."""
    return _TILE.sub("*", text)
