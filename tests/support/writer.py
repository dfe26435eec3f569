"""The program that crash tests trace and kill: ``writer.py DIRECTORY ACTION``.

Each line that it prints is a promise, by one write to the standard output.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.support import ANSWERS
from ztpd.model import StoredCredentials
from ztpd.provisioning.store import CredentialStore
from ztpd.wire import ztp

ANSWER = json.loads((ANSWERS / "flex-both.json").read_bytes())
HARDWARE_ID = "490154203237518"


def generation(number: int) -> StoredCredentials:
    return StoredCredentials(
        credentials=ztp.parse_answer("flex", ANSWER | {"generation": number}),
        hardware_id=HARDWARE_ID,
        board="board-1",
        stored_unix_s=1_795_000_000 + number,
        expires_unix_s=2_110_844_456,
    )


def number_of(stored: StoredCredentials) -> int:
    return int(stored.credentials.answer["generation"])


def say(promise: str) -> None:
    os.write(1, f"{promise}\n".encode())


class NearSealer:
    """Seals without another process, and in earnest only for a test that cuts the power."""

    def seal(self, plain: bytes) -> str:
        return base64.b64encode(plain[::-1]).decode()

    def unseal(self, sealed: str) -> bytes:
        return base64.b64decode(sealed)[::-1]


def sealing(directory: Path) -> CredentialStore:
    return CredentialStore(directory, seal=True, sealer=NearSealer())


def convert(directory: Path) -> None:
    """Seal a store in clear text."""
    say("begin")
    sealing(directory).convert()
    say("sealed")


def store(directory: Path, *, seal: bool = False) -> None:
    """Take the place of generation 1, and then of generation 2."""
    credentials = sealing(directory) if seal else CredentialStore(directory)
    for number in (2, 3):
        say(f"begin {number}")
        credentials.save(generation(number))
        say(f"stored {number}")


async def provision(directory: Path) -> None:
    """The whole call, by a gateway that has generation 1."""
    from ztpd.config import Config
    from ztpd.model import Identity, Imei, Secret
    from ztpd.provisioning.provisioner import Provisioner
    from ztpd.provisioning.reply import Reply
    from ztpd.system.clock import Clock

    async def identity() -> Identity:
        return Identity(Imei(HARDWARE_ID), "the test")

    async def post(*_: object, **__: object) -> Reply:
        say("called")
        return Reply(200, {}, json.dumps(ANSWER | {"generation": 2}).encode())

    def dispatch(*_: Any, **__: Any) -> None:
        pass

    provisioner = Provisioner(
        Config(),
        directory,
        dispatch=dispatch,
        read_identity=identity,
        token=lambda: Secret("0f1e2d3c-4b5a-4978-8695-a4b3c2d1e0f1"),
        clock=Clock(now=lambda: 1_800_000_000.0, synchronised=lambda: True),
        board_serial=lambda: "board-1",
        hostname=lambda: "gateway-1",
        post=post,
    )
    say("begin 2")
    await provisioner.once()
    say("stored 2")


if __name__ == "__main__":
    place, action = Path(sys.argv[1]), sys.argv[2]
    match action:
        case "store" | "store sealed":
            store(place, seal=action == "store sealed")
        case "convert":
            convert(place)
        case "provision":
            asyncio.run(provision(place))
