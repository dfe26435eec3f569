"""Small files written beside the event loop: a card may take seconds for an fsync."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ztpd.system.files import read_json, write_atomic
from ztpd.system.offload import offload

_Job = tuple[Path, bytes | None]


class DiskWriter:
    """Writes in order, in a thread that ends when nothing is left; of several contents for one
    path the newest is written. Everything but that thread belongs to the event loop."""

    def __init__(
        self,
        failed: Callable[[Path, OSError], None],
        works_again: Callable[[], None] = lambda: None,
    ) -> None:
        """``failed`` is called in the event loop for a file that could not be written,
        ``works_again`` when all such files have been written since."""
        self._failed = failed
        self._works_again = works_again
        self._unwritten: set[Path] = set()  # belongs to the thread
        self._pending: dict[Path, bytes | None] = {}
        self._writing: _Job | None = None
        self._changed = threading.Condition()

    def write(self, path: Path, content: bytes | None) -> None:
        """Replace ``path`` durably, with mode 0600; None removes it. Returns at once."""
        with self._changed:
            starts = not self._pending and self._writing is None
            self._pending.pop(path, None)
            self._pending[path] = content
            job = self._take() if starts else None
        if job:
            work = partial(self._work, job, asyncio.get_running_loop())
            try:
                threading.Thread(target=work, name="ztpd-disk", daemon=True).start()
            except RuntimeError:  # no room for one: else nothing would ever be written again
                work()

    async def written(self, *, timeout_s: float | None = None) -> None:
        """Return when nothing is left to write. Raises TimeoutError."""
        if self._writing is not None:
            await offload(self._wait, timeout_s=timeout_s)

    async def read_json(self, path: Path) -> dict[str, Any]:
        """As :func:`ztpd.system.files.read_json`, after what is to be written there."""
        with self._changed:
            writing = path in self._pending or (self._writing and self._writing[0] == path)
        if writing:
            await self.written()
        return await offload(read_json, path)

    def _wait(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._writing is None)

    def _take(self) -> _Job | None:
        """The next one, which is being written from now on; None: the thread is to end."""
        path = next(iter(self._pending), None)
        self._writing = None if path is None else (path, self._pending.pop(path))
        return self._writing

    def _work(self, job: _Job | None, loop: asyncio.AbstractEventLoop) -> None:
        while job:
            path, content = job
            told: Callable[[], None] | None = None
            try:
                if content is None:
                    path.unlink(missing_ok=True)
                else:
                    write_atomic(path, content, mode=0o600, durable=True)
            except OSError as error:
                self._unwritten.add(path)
                told = partial(self._failed, path, error)
            else:
                if path in self._unwritten:
                    self._unwritten.discard(path)
                    told = None if self._unwritten else self._works_again
            if told:
                with contextlib.suppress(RuntimeError):  # the loop has closed, as the daemon ends
                    loop.call_soon_threadsafe(told)
            with self._changed:
                job = self._take()
                self._changed.notify_all()
