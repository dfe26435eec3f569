"""The memory of a structure of data."""

from __future__ import annotations

import gc
import sys


def size_bytes(root: object) -> int:
    """Memory of ``root`` and of all that only data can be, each object once."""
    seen: dict[int, object] = {}
    left = [root]
    while left:
        each = left.pop()
        if id(each) not in seen and not isinstance(each, type):
            seen[id(each)] = each
            left += gc.get_referents(each)
    return sum(map(sys.getsizeof, seen.values()))
