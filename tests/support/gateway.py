"""A whole gateway for a test: simulated devices and services around the real daemon, which runs
in the test's own event loop and knows only its configuration file."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ztpd import check, config, status
from ztpd.daemon import Daemon
from ztpd.provisioning import http
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN
from ztpd.sim.pty import Pty
from ztpd.sim.receiver import SimReceiver
from ztpd.status import Status
from ztpd.system.clock import Clock
from ztpd.system.files import read_json
from ztpd.system.sealing import Sealer

FAST_LINE = 921_600


@dataclass
class Gateway:
    """``top`` holds everything that would be below /etc, /var/lib, /run and /dev."""

    top: Path
    authority: Authority = field(default_factory=Authority)
    board: str = "board-1"  # serial number, as far as it can be read
    clock: Clock | None = None  # None: this machine's clocks
    sealer: Sealer | None = None  # None: this machine's systemd

    def __post_init__(self) -> None:
        self.ca_file = self.authority.write(self.top / "authority.pem")
        self.gnss = Pty(self.top / "gnss")
        self.state_dir, self.runtime_dir = self.top / "state", self.top / "run"
        self.state_dir.mkdir(mode=0o700)
        self.runtime_dir.mkdir()
        self.token_file = self.top / "token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(TOKEN.reveal())

    def configure(self, **tables: dict[str, Any] | list[dict[str, Any]]) -> Path:
        """Write the configuration file: the receiver's port, and ``tables``; a list is one of
        ``[[table]]``."""
        tables.setdefault("receiver", {"port": self.gnss.path, "baudrate": FAST_LINE})
        lines = []
        for table, content in tables.items():
            several = isinstance(content, list)
            for settings in content if isinstance(content, list) else [content]:
                lines.append(f"[[{table}]]" if several else f"[{table}]")
                lines += [f"{key} = {_toml(value)}" for key, value in settings.items()]
        path = self.top / "ztpd.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    @asynccontextmanager
    async def running(
        self, reload: Callable[[], config.LoadedConfig] | None = None
    ) -> AsyncIterator[Daemon]:
        """The daemon, until the context ends; it must then stop cleanly. ``reload`` reads its
        configuration anew."""
        path = self.top / "ztpd.toml"
        daemon = Daemon(
            config.load(path),
            state_dir=self.state_dir,
            runtime_dir=self.runtime_dir,
            environ={},
            reload=reload or (lambda: config.load(path)),
            board_serial=lambda: self.board,
            clock=self.clock,
            sealer=self.sealer,
            post=http.post,  # in this process: a test may run in virtual time
        )
        running = asyncio.create_task(daemon.run())
        try:
            yield daemon
        finally:
            if not running.done():
                daemon.stop()
            async with asyncio.timeout(10):
                await running

    @asynccontextmanager
    async def receiver(self, **options: Any) -> AsyncIterator[SimReceiver]:
        async with self.gnss, SimReceiver(self.gnss, **options) as receiver:
            yield receiver

    async def checked(self, daemon: Status | None = None, **given: Any) -> list[check.Result]:
        """The findings of ``ztpd check``, beside the daemon whose status is ``daemon``."""
        return await check.Check(
            lambda: config.load(self.top / "ztpd.toml"),
            state_dir=self.state_dir,
            daemon=daemon,
            **{"environ": {}} | given,
        ).run()

    @property
    def status(self) -> dict[str, Any]:
        """The published document, as programs read it."""
        return read_json(self.runtime_dir / status.FILE)

    def files(self) -> dict[str, int]:
        """Names below the state directory, with their modes."""
        return {
            path.name: os.stat(path).st_mode & 0o777 for path in sorted(self.state_dir.iterdir())
        }


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(each)}" for key, each in value.items()) + "}"
    return '"' + str(value) + '"'
