"""The journal: one handler, event names and ids, repeats at DEBUG, secrets masked."""

from __future__ import annotations

import logging
import os
import re
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from ztpd import events
from ztpd.errors import ZtpdError
from ztpd.events import JournalEvent
from ztpd.model import Secret
from ztpd.sanitize import quoted as quoted

_logger = logging.getLogger("ztpd")
_SUMMARY_EVERY_S = 86_400.0
_JOINTS = " ,:;"  # join a field to the words before it in the line; alone they mean nothing
_LONGEST_LINE = 2000
_in_detail = ContextVar("in_detail", default=False)
_FIELD = re.compile(r"[A-Z0-9][A-Z0-9_]{0,63}")  # names that journald keeps
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(-----END [A-Z ]+-----|\Z)", re.DOTALL)


def emit(event: JournalEvent, **fields: object) -> None:
    """Log ``event``; ``fields`` fill its text and become the journal's ``ZTPD_*`` fields."""
    _log(event, logging.DEBUG if _in_detail.get() else event.level, fields)


def emit_detail(event: JournalEvent, **fields: object) -> None:
    """Log ``event`` at level DEBUG: another line reports the outage that it belongs to."""
    _log(event, logging.DEBUG, fields)


@contextmanager
def in_detail(wanted: bool) -> Iterator[None]:
    """:func:`emit` is :func:`emit_detail` inside, also in the tasks begun there, if ``wanted``."""
    token = _in_detail.set(wanted)
    try:
        yield
    finally:
        _in_detail.reset(token)


def crash(task: str, error: Exception) -> None:
    """Log that ``task`` failed with an unexpected error, with the traceback."""
    fields: dict[str, object] = {"task": task, "error": f"{type(error).__name__}: {error}"}
    _log(events.TASK_DIED, events.TASK_DIED.level, fields, crashed=error)


def duration(seconds: float) -> str:
    """A span for a person: "0.8 s", "45 s", "12 min", "3 h", "2 days"."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400:.0f} days"


class FailureLog:
    """The failures of one activity: one line when an outage begins, one when it ends.

    The first failure of each code is logged; a repeat is DEBUG, with one summary a day at most.
    :meth:`clear` ends the outage, :meth:`begin_anew` begins another one: then the next failure is
    a first one again.
    """

    def __init__(
        self, monotonic: Callable[[], float] | None = None, *, ends_one: bool = False
    ) -> None:
        """``monotonic`` is the running event loop's clock by default. ``ends_one``: the end of an
        outage with one failure is logged too, for no other line does."""
        self._ends_after = 1 if ends_one else 2
        self._monotonic = monotonic or _loop_time
        self._began_s = 0.0
        self._logged: dict[str, float] = {}
        self._repeats: dict[str, int] = {}  # since the last summary
        self._count = 0
        self._first: ZtpdError | None = None

    @property
    def count(self) -> int:
        """The failures of this outage; 0 where there is none."""
        return self._count

    def record(self, error: ZtpdError, *, retry_in_s: float | None = None) -> None:
        event = events.for_error(type(error))
        fields: dict[str, object] = {"error": error, "advice": error.advice}
        now = self._monotonic()
        if self._first is None:
            self._first, self._began_s = error, now
        self._count += 1
        if event.name not in self._logged:
            self._logged[event.name] = now
            _log(event, event.level, fields, retry_in_s=retry_in_s)
            return
        self._repeats[event.name] = self._repeats.get(event.name, 0) + 1
        _log(event, logging.DEBUG, fields, retry_in_s=retry_in_s)
        period_s = now - self._logged[event.name]
        if period_s >= _SUMMARY_EVERY_S:
            emit(
                events.SUPPRESSED,
                error=error,
                count=self._repeats.pop(event.name),
                period=duration(period_s),
                repeated=event.name,
                period_s=period_s,
            )
            self._logged[event.name] = now

    def clear(self, ended_s: float | None = None) -> None:
        """The outage is over since ``ended_s``, by default since now.

        One that began after ``ended_s`` goes on: another part has worked meanwhile.
        """
        if ended_s is not None and ended_s < self._began_s:
            return
        if self._first is not None and self._count >= self._ends_after:
            period_s = (self._monotonic() if ended_s is None else ended_s) - self._began_s
            emit(
                events.OUTAGE_OVER,
                error=self._first,
                count=self._count,
                period=duration(period_s),
                period_s=round(period_s),
            )
        self.begin_anew()

    def begin_anew(self) -> None:
        """Count from the next failure on."""
        self._first, self._count = None, 0
        self.log_next()

    def log_next(self) -> None:
        """Log the next failure of each code, though it belongs to the same outage."""
        self._logged.clear()
        self._repeats.clear()


def _loop_time() -> float:
    import asyncio  # not for the verbs, which log nothing that repeats

    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return time.monotonic()


def _log(
    event: JournalEvent,
    level: int,
    fields: dict[str, object],
    *,
    retry_in_s: float | None = None,
    crashed: Exception | None = None,
) -> None:
    if not _logger.isEnabledFor(level):
        return
    text = event.text.format(**fields)
    if retry_in_s is not None:
        text += f"; next try in {duration(retry_in_s)}"
        fields = fields | {"retry_in_s": round(retry_in_s, 1)}
    if level >= logging.WARNING and (advice := fields.get("advice") or event.remedy):
        text += f". {advice}"
    text = quoted(text, _LONGEST_LINE)  # one event is one line, also with line breaks from a peer
    extra: dict[str, object] = {"MESSAGE_ID": event.message_id, "ZTPD_EVENT": event.name}
    extra |= {f"ZTPD_{name.upper()}": str(value).lstrip(_JOINTS) for name, value in fields.items()}
    _logger.log(level, "%s", text, extra=extra, exc_info=crashed)


class Redaction(logging.Filter):
    """Masks secrets that escaped :class:`Secret`, and everything in PEM form.

    It formats the record first, so it catches a secret in an argument too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: set[str] = set()
        self._hidden = _PEM

    def hide(self, secrets: Iterable[Secret]) -> None:
        """Mask ``secrets`` from now on, except those below 4 characters, which ordinary words
        contain."""
        self._texts |= {secret.reveal() for secret in secrets if len(secret.reveal()) >= 4}
        longest_first = sorted(self._texts, key=len, reverse=True)
        patterns = [_PEM.pattern, *(re.escape(text) for text in longest_first)]
        self._hidden = re.compile("|".join(patterns), re.DOTALL | re.IGNORECASE)

    def mask(self, text: str) -> str:
        return self._hidden.sub("***", text)

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self.mask(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        record.exc_info = None  # the journal's handler would send it as it is
        if record.exc_text:
            record.exc_text = self.mask(record.exc_text)
        for name in [name for name in record.__dict__ if name.startswith("ZTPD_")]:
            record.__dict__[name] = self.mask(record.__dict__[name])
        return True


redaction = Redaction()
"""The filter of this process; code that receives a secret calls :meth:`Redaction.hide`."""


class _Plain(logging.Formatter):
    """A line for a terminal: time, event, level if not INFO, text."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        event = getattr(record, "ZTPD_EVENT", record.name)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        text = record.getMessage().replace("\n", "\n    ")
        if record.exc_text:
            text += "\n" + record.exc_text
        return f"{clock} {event:<24} {level}{text}"


def setup(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Log to the journal if systemd started this process, else to ``stream`` (standard error).

    One handler only: systemd captures standard error, so lines would appear twice.
    """
    handler = _journal_handler() if stream is None else None
    if handler is None:
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(_Plain())
    handler.addFilter(redaction)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)  # libraries: warnings and errors only
    set_level(level)


def set_level(level: str) -> None:
    """Log events of ``level`` and above from now on."""
    _logger.setLevel(level.upper())


def _journal_handler() -> logging.Handler | None:
    """The journal's handler, if standard error is the journal and systemd-python is installed.

    The environment variable alone is not enough: a shell that systemd started passes it on to
    programs on a terminal.
    """
    try:
        here = os.fstat(2)
    except OSError:
        return None
    if os.environ.get("JOURNAL_STREAM") != f"{here.st_dev}:{here.st_ino}":
        return None
    try:
        from systemd.journal import JournalHandler
    except ImportError:
        return None
    handler: Any = JournalHandler(sender_function=JournalSocket(), SYSLOG_IDENTIFIER="ztpd")
    return handler  # type: ignore[no-any-return]


class JournalSocket:
    """Sends lines to journald and never waits: libsystemd's own function waits without end for a
    journald that does not read. Format: systemd's JOURNAL_NATIVE_PROTOCOL page."""

    def __init__(self, path: str = "/run/systemd/journal/socket") -> None:
        self.lost = 0  # lines since the last one that journald took
        self._path = path

    def __call__(self, message: str, /, **fields: object) -> None:
        if self.lost:
            message += f" ({self.lost} lines before this one are lost: journald did not read)"
        lines = {"MESSAGE": message} | fields
        data = b"".join(
            _journal_field(name, value) for name, value in lines.items() if _FIELD.fullmatch(name)
        )
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
                sender.setblocking(False)
                sender.sendto(data, self._path)
        except OSError:
            self.lost += 1
        else:
            self.lost = 0


def _journal_field(name: str, value: object) -> bytes:
    """The form for values of any content."""
    data = str(value).encode(errors="replace")
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"
