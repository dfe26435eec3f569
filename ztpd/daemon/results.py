"""The results of provisioning tries, for requests that wait for one."""

from __future__ import annotations

import asyncio

from ztpd.errors import ZtpdError


class Results:
    """Gives each result to all who wait for the next one."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[ZtpdError | None]] = set()

    def next(self) -> asyncio.Future[ZtpdError | None]:
        """Of the try that ends next: its error, or None where there are credentials."""
        waiting: asyncio.Future[ZtpdError | None]
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        waiting.add_done_callback(self._waiting.discard)
        return waiting

    def report(self, error: ZtpdError | None = None) -> None:
        for waiting in [each for each in self._waiting if not each.done()]:
            waiting.set_result(error)
