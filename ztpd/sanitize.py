"""What a peer said, made fit for a log line."""

from __future__ import annotations


def quoted(text: str, limit: int = 200) -> str:
    """``text`` safe to print: dots for what is not printable (control characters, line breaks,
    what turns the direction of writing, lone surrogates), cut at ``limit`` characters."""
    clean = "".join(char if char.isprintable() else "." for char in text.strip()[: limit + 1])
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
