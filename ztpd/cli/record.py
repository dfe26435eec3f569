"""``ztpd record``: what goes over the wires, into a file."""

from __future__ import annotations

import argparse
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from ztpd.cli import ask
from ztpd.errors import DaemonSilent, RecordingUnwritable
from ztpd.log import duration
from ztpd.records import number
from ztpd.system import control, directories
from ztpd.system.control import Verb
from ztpd.system.files import create
from ztpd.wire.recording import Record, RecordingParser, RecordKind

_FLUSH_S = 2.0  # a file that is cut lacks no more than that
_STANDARD_OUTPUT = Path("-")


def record(options: argparse.Namespace) -> int:
    """Record until Ctrl-C, or for ``options.seconds``; 0.

    Raises :class:`RecordingUnwritable`, and as :func:`control.stream`; what there is by then stays
    in the file, and can be played.
    """
    ask.yield_to_daemon()
    request = {"do": Verb.RECORD, "position": options.with_position}
    pieces = control.stream(directories.runtime_dir(), request)
    with closing(pieces):
        first = next(pieces)  # raises where no daemon records, before there is a file
        path = options.file or Path(f"ztpd-recording-{datetime.now(UTC):%Y%m%d-%H%M%S}.ztpd")
        to_stdout = path == _STANDARD_OUTPUT
        progress = _RecordingProgress()
        try:
            with sys.stdout.buffer if to_stdout else create(path) as file:
                ended = _copy(first, pieces, file, options.seconds, progress)
        except BrokenPipeError:
            raise
        except OSError as error:
            place = "standard output" if to_stdout else path
            raise RecordingUnwritable(f"{place}: {error.strerror}") from error
    progress.clear()
    if not to_stdout:
        print(path)
    print(progress.summary(options.with_position), file=sys.stderr)
    if ended:
        raise DaemonSilent("it ended during the recording, which has all until then")
    return 0


def _copy(
    first: bytes,
    pieces: Iterator[bytes],
    file: IO[bytes],
    seconds: float | None,
    progress: _RecordingProgress,
) -> bool:
    """Compress all that comes into ``file``; whether the daemon ended it. Raises OSError."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    began_s = flushed_s = time.monotonic()
    file.write(packer.compress(first))
    progress.took(first)
    ended = False
    try:
        while seconds is None or time.monotonic() - began_s < seconds:
            piece = next(pieces, None)
            if piece is None:
                ended = True
                break
            file.write(packer.compress(piece))
            progress.took(piece)
            if time.monotonic() - flushed_s >= _FLUSH_S:
                flushed_s = time.monotonic()
                file.write(packer.flush(zlib.Z_SYNC_FLUSH))
                file.flush()
                progress.show()
    except KeyboardInterrupt:
        pass
    file.write(packer.flush())
    file.flush()
    return ended


class _RecordingProgress:
    """Counts, for a person: on a terminal while it goes on, and at the end."""

    def __init__(self) -> None:
        self._parser = RecordingParser()
        self._counts: Counter[RecordKind] = Counter()
        self._last = Record(0.0, RecordKind.EVENT, b"")
        self._lost_bytes = 0
        self._is_shown = False

    def took(self, piece: bytes) -> None:
        """Raises :class:`DaemonSilent` for what is no recording."""
        try:
            found = self._parser.feed(piece)
        except ValueError as error:
            raise DaemonSilent(f"what it sends is no recording: {error}") from error
        for each in found:
            self._last = each
            self._counts[each.kind] += len(each.data)
            if each.kind is RecordKind.EVENT and each.fields.get("event") == "lost":
                self._lost_bytes += int(number(each.fields.get("bytes")))

    def show(self) -> None:
        if sys.stderr.isatty():
            self._is_shown = True
            print(f"\r{self._text}; Ctrl-C ends it\033[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._is_shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

    def summary(self, with_position: bool) -> str:
        position = "with positions" if with_position else "positions moved to 1 N 1 E"
        lost = f"; {self._lost_bytes} bytes are missing in it" if self._lost_bytes else ""
        return f"{self._text}, without secrets, {position}{lost}"

    @property
    def _text(self) -> str:
        sizes = (
            f"{self._counts[kind] / 1000:.1f} kB {words}"
            for kind, words in (
                (RecordKind.FROM_RECEIVER, "from the receiver"),
                (RecordKind.TO_RECEIVER, "to it"),
                (RecordKind.FROM_SERVICE, "from the service"),
            )
        )
        return f"{duration(self._last.at_s)}: {', '.join(sizes)}"
