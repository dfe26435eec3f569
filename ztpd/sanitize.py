"""Text from outside, made safe for a log line."""

from __future__ import annotations


def quoted(text: str, limit: int = 200) -> str:
    """``text`` safe to print: dots for unprintable characters (control characters, line breaks,
    changes of the writing direction, lone surrogates), cut at ``limit`` characters."""
    clean = "".join(char if char.isprintable() else "." for char in text.strip()[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
