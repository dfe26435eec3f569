"""The serial ports, as opening them would find them, without opening them."""

from __future__ import annotations

import os
from pathlib import Path

from ztpd.check.results import joined
from ztpd.config import Config
from ztpd.serialport import access, discovery, holders


class Ports:
    """``daemon`` is the process of a daemon that runs."""

    def __init__(self, root: Path, daemon: int | None) -> None:
        self._root = root
        self._daemon = daemon
        self._candidates: list[str] = []  # that may be the receiver's, where none is named
        self._holders: dict[str, list[int]] = {}

    def look_as_root(self, config: Config) -> None:
        """Note who holds the ports; other users see their own processes only."""
        named = config.identity.port, config.receiver.port
        if config.receiver.port == "auto":
            self._candidates = [tty.path for tty in discovery.gnss_candidates(self._root)]
        for port in (*named, *self._candidates):
            self._holders[port] = holders.pids_of(os.path.realpath(port))

    def check(self, device: str, port: str) -> str:
        """Raises :class:`SerialError`, as opening it would."""
        access.check(port, for_receiver=device == "receiver")
        pids = self._holders.get(port, [])
        if others := self._others(port):
            raise access.busy(port, others)
        if not os.access(port, os.R_OK | os.W_OK):
            raise access.forbidden(port)
        held = "held by the daemon" if pids and self._daemon else "free"
        return joined(f"{device} {port}", held, access.same_name(port))

    def check_candidates(self) -> None:
        """Raises :class:`PortBusy` where others hold each port that may be the receiver's."""
        if self._candidates and all(map(self._others, self._candidates)):
            port = self._candidates[0]
            raise access.busy(port, self._others(port))

    def _others(self, port: str) -> list[int]:
        """The processes that have ``port`` open, apart from this one and the daemon."""
        ours = os.getpid(), self._daemon
        return [pid for pid in self._holders.get(port, []) if pid not in ours]
