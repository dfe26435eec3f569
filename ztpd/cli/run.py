"""``ztpd run``: the daemon."""

from __future__ import annotations

import asyncio
from pathlib import Path

from ztpd import config, events, log
from ztpd.daemon import Daemon
from ztpd.system import directories
from ztpd.system.mounts import lost_at_power_off


def run(config_file: Path) -> int:
    loaded = config.load(config_file)
    log.setup(loaded.config.log.level)
    state_dir, runtime_dir = directories.state_dir(), directories.runtime_dir()
    directories.make(state_dir, 0o700)
    directories.make(runtime_dir, 0o755)
    if filesystem := lost_at_power_off(state_dir):
        log.emit(events.STATE_VOLATILE, directory=state_dir, filesystem=filesystem)

    async def run_daemon() -> None:
        await Daemon(
            loaded,
            state_dir=state_dir,
            runtime_dir=runtime_dir,
            reload=lambda: config.load(config_file),
        ).run()

    asyncio.run(run_daemon())
    return 0
