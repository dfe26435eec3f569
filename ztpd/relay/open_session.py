"""A session that is open: its progress, and why it brought no corrections."""

from __future__ import annotations

from contextlib import AsyncExitStack

from ztpd.errors import (
    FormatExcluded,
    SessionClosed,
    SessionStale,
    SessionUnreadable,
    ZtpdError,
)
from ztpd.model import CORRECTION_FORMATS, Frame, FrameKind
from ztpd.relay.channels import STABLE_S, Channel
from ztpd.sanitize import clean
from ztpd.sources import Session
from ztpd.wire.foreign import format_name, is_text

_SOME_BYTES = 64  # so many, and no frame: the stream has another format
_OF_SERVICES = ("MGA-", "13", "RXM-SPARTNKEY")  # names of UBX messages: assistance and keys
_NAMES = {FrameKind.SPARTN: "SPARTN", FrameKind.RTCM3: "RTCM 3"}
_SETTINGS = {kind: word for word, kind in CORRECTION_FORMATS.items()}


class Progress:
    """Counts and times of one session, for the status. Times are the loop's, in seconds."""

    def __init__(
        self, where: str = "", kind: str = "", backup: bool = False, opened_s: float = 0.0
    ) -> None:
        self.where = where
        self.kind = kind  # of the endpoint
        self.backup = backup  # the endpoint is one of [[backup]]
        self.opened_s = opened_s
        self.format: FrameKind | None = None
        self.first_frame_s: float | None = None  # of the first frame delivered to the receiver
        self.last_frame_s: float | None = None
        self.frames: dict[str, int] = {}
        self.bytes = 0
        self.other_format = 0
        self.overrun = 0  # of its counts, as of the last minute

    def count(self, frame: Frame, now_s: float) -> bool:
        """Count a frame that goes to the receiver; whether it is the first."""
        self.frames[frame.name] = self.frames.get(frame.name, 0) + 1
        self.bytes += len(frame.data)
        self.last_frame_s = now_s
        if self.first_frame_s is not None:
            return False
        self.first_frame_s = now_s
        return True


class OpenSession:
    """A session of ``channel`` that is open until ``closing`` is closed."""

    def __init__(
        self, channel: Channel, session: Session, closing: AsyncExitStack, progress: Progress
    ) -> None:
        self.channel = channel
        self.session = session
        self.closing = closing
        self.progress = progress
        self.first_corrections_s: float | None = None  # also of those that are not delivered
        self.is_stable = False

    def mark_frame(self, now: float) -> bool:
        """Note corrections; whether the session has just become stable."""
        self.channel.last_corrections_s = now
        if self.first_corrections_s is None:
            self.first_corrections_s = now
        if self.is_stable or now - self.first_corrections_s < STABLE_S:
            return False
        self.is_stable = True
        self.channel.stable(now)
        return True

    def carried_s(self, now: float) -> float | None:
        """How long corrections have come; None where none have."""
        return None if self.first_corrections_s is None else now - self.first_corrections_s


def explained(session: OpenSession, error: ZtpdError, wanted: FrameKind | None) -> ZtpdError:
    """``error``, or the format as its cause where bytes came but no corrections.

    ``wanted`` is the only format that the configuration lets through, None for any.
    """
    counts, sample = session.session.counts, session.session.sample
    silent = isinstance(error, (SessionStale, SessionClosed))
    if session.first_corrections_s is not None or not silent:
        return error
    where = session.progress.where
    if session.progress.other_format and wanted:
        table = "[corrections]" if session.channel.endpoint.format == "auto" else "[[backup]]"
        sent = next(_NAMES[kind] for kind in _NAMES if kind is not wanted)
        return FormatExcluded(
            f'{where} sends {sent}, and {table} format = "{_SETTINGS[wanted]}" lets only '
            f"{_NAMES[wanted]} through"
        )
    is_ubx = any(not name.startswith(_OF_SERVICES) for name in counts.frames)
    if (counts.frames and not is_ubx) or counts.bytes < _SOME_BYTES:
        return error
    if isinstance(error, SessionClosed) and is_text(sample):
        return error  # it shows the words
    name = "UBX, a receiver's raw data" if is_ubx else format_name(sample)
    found = f" but {name}" if name else ""
    words = f': "{clean(sample, 200)}"' if name == "text" else ""
    return SessionUnreadable(
        f"{where}: {counts.bytes} bytes came, none of them SPARTN or RTCM 3{found and ','}{found}"
        f"{words}: check the mountpoint's format"
    )
