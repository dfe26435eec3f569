"""What a peer said, made fit for a log line."""

from __future__ import annotations

import re

# C0, DEL and C1; line and paragraph separator; what turns the direction of text; lone surrogates,
# which JSON can spell and no output can encode.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def quoted(text: str, limit: int = 200) -> str:
    """``text`` made safe to print: control characters as dots, cut at ``limit``."""
    clean = _CONTROL.sub(".", text.strip())
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"
