"""The real daemon of the demonstration, as a process of its own with its own directories."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import ztpd
from ztpd.model import Secret

_STOP_WITHIN_S = 10.0
_OF_SYSTEMD = ("NOTIFY_SOCKET", "JOURNAL_STREAM", "CREDENTIALS_DIRECTORY")


class Answered(NamedTuple):
    returncode: int
    text: str


class DaemonProcess:
    """Everything that it writes is below ``directory``; it knows only its configuration."""

    def __init__(self, directory: Path) -> None:
        self.config = directory / "ztpd.toml"
        self.token = directory / "token"
        self.runtime_dir = directory / "run"
        self._state_dir = directory / "state"
        self._script = directory / "ztpd"
        self._process: asyncio.subprocess.Process | None = None

    @property
    def command(self) -> str:
        """Runs the verbs of ztpd on this daemon, from any folder and with any environment."""
        script = shlex.quote(str(self._script))
        return script if os.access(self._script, os.X_OK) else f"sh {script}"  # noexec

    @property
    def _environ(self) -> dict[str, str]:
        return {
            "STATE_DIRECTORY": str(self._state_dir),
            "RUNTIME_DIRECTORY": str(self.runtime_dir),
            "PYTHONPATH": str(Path(ztpd.__file__).parent.parent),
        }

    @property
    def _words(self) -> list[str]:
        return [sys.executable, "-P", "-m", "ztpd", "--config", str(self.config)]

    def prepare(self, configuration: str, token: Secret) -> None:
        """Write the configuration, the token, the directories and :attr:`command`."""
        for directory, mode in ((self._state_dir, 0o700), (self.runtime_dir, 0o755)):
            directory.mkdir(mode=mode)
        self.config.write_text(configuration)
        self.token.touch(mode=0o600)
        self.write_token(token)
        words = ["env", *(f"{name}={text}" for name, text in self._environ.items()), *self._words]
        self._script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        self._script.chmod(0o700)

    def write_token(self, token: Secret) -> None:
        self.token.write_text(token.reveal())

    async def start(self) -> asyncio.StreamReader:
        """The journal of the daemon, which was started."""
        environ = {name: text for name, text in os.environ.items() if name not in _OF_SYSTEMD}
        self._process = await asyncio.create_subprocess_exec(
            *self._words,
            "run",
            env=environ | self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the demo, which then stops the daemon
        )
        assert self._process.stderr  # noqa: S101 - it was asked for
        return self._process.stderr

    @property
    def ended_with(self) -> int | None:
        """The exit status of a daemon that has ended."""
        return self._process.returncode if self._process else None

    async def ask(self, verb: str) -> Answered:
        """Run ``verb`` on this daemon."""
        process = await asyncio.create_subprocess_exec(
            *self._words,
            verb,
            env=os.environ | self._environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate()
        text = output.decode(errors="replace").strip().removeprefix("ztpd: ")
        return Answered(process.returncode or 0, text)

    async def stop(self) -> None:
        """Stop the daemon in order; after a while by force."""
        process = self._process
        if process is None:
            return
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(process.wait(), _STOP_WITHIN_S)
        except TimeoutError:
            process.kill()
            await process.wait()
