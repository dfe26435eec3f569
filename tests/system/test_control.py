import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from ztpd.errors import NotRunning
from ztpd.system import control
from ztpd.system.offload import offload


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "asked": request}


async def test_a_request_gets_its_answer(tmp_path: Path) -> None:
    async with control.serve(tmp_path, echo):
        answer = await offload(lambda: control.ask(tmp_path, {"do": "retry"}))

    assert answer == {"ok": True, "asked": {"do": "retry"}}


def test_without_a_daemon_the_caller_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no daemon is running"):
        control.ask(tmp_path, {"do": "retry"})


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.SOCKET_NAME))
    async with control.serve(tmp_path, echo):
        assert await offload(lambda: control.ask(tmp_path, {}))


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b"\n", b"x" * 100_000 + b"\n", b""])
async def test_nonsense_does_not_end_the_server(tmp_path: Path, line: bytes) -> None:
    async with control.serve(tmp_path, echo):
        reader, writer = await asyncio.open_unix_connection(tmp_path / control.SOCKET_NAME)
        writer.write(line)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert answer == b"" or not json.loads(answer)["ok"]
        assert (await offload(lambda: control.ask(tmp_path, {})))["ok"]


async def test_the_socket_is_gone_after_a_clean_stop(tmp_path: Path) -> None:
    async with control.serve(tmp_path, echo):
        pass

    assert not list(tmp_path.iterdir())
