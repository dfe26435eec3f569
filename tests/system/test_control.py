import asyncio
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ztpd.errors import DaemonSilent, NotRunning
from ztpd.system import control, control_server
from ztpd.system.offload import offload


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "asked": request}


async def test_a_request_gets_its_answer(tmp_path: Path) -> None:
    async with control_server.serve(tmp_path, echo):
        answer = await offload(lambda: control.ask(tmp_path, {"do": "retry"}))

    assert answer == {"ok": True, "asked": {"do": "retry"}}


def test_without_a_daemon_the_caller_gets_an_error(tmp_path: Path) -> None:
    with pytest.raises(NotRunning, match="no daemon is running"):
        control.ask(tmp_path, {"do": "retry"})


async def test_a_socket_left_by_a_crash_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / control.SOCKET_NAME))
    async with control_server.serve(tmp_path, echo):
        assert await offload(lambda: control.ask(tmp_path, {}))


@pytest.mark.parametrize("line", [b"not json\n", b"[1]\n", b"\n", b"x" * 100_000 + b"\n", b""])
async def test_nonsense_does_not_end_the_server(tmp_path: Path, line: bytes) -> None:
    async with control_server.serve(tmp_path, echo):
        reader, writer = await asyncio.open_unix_connection(tmp_path / control.SOCKET_NAME)
        writer.write(line)
        writer.write_eof()
        answer = await reader.read()
        writer.close()
        assert answer == b"" or not json.loads(answer)["ok"]
        assert (await offload(lambda: control.ask(tmp_path, {})))["ok"]


async def test_the_socket_is_gone_after_a_clean_stop(tmp_path: Path) -> None:
    async with control_server.serve(tmp_path, echo):
        pass

    assert not list(tmp_path.iterdir())


def test_a_daemon_that_accepts_nobody_at_the_moment_is_seen_all_the_same(tmp_path: Path) -> None:
    path = str(tmp_path / control.SOCKET_NAME)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(path)
        listener.listen(0)
        client.connect(path)  # its queue is full now
        assert control.is_listening(tmp_path) is True


async def answers(directory: Path, *parts: bytes, every_s: float = 0.0) -> asyncio.Server:
    """A server in place of the daemon, which sends ``parts`` and keeps the connection open."""

    async def client(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(every_s)
        except ConnectionError:
            pass
        finally:
            writer.close()

    return await asyncio.start_unix_server(client, directory / control.SOCKET_NAME)


@pytest.mark.parametrize("answer", [b"[" * 60_000 + b"\n", b"[]\n", b"not json\n", b"\xff\n"])
async def test_FR89_an_answer_that_is_none_is_the_daemons_silence(
    tmp_path: Path, answer: bytes
) -> None:
    server = await answers(tmp_path, answer)
    with pytest.raises(DaemonSilent):
        await offload(lambda: control.ask(tmp_path, {}))
    server.close()


async def test_FR89_one_deadline_holds_for_an_answer_that_drips(tmp_path: Path) -> None:
    server = await answers(tmp_path, *[b"x"] * 100, every_s=0.05)
    began_s = time.monotonic()
    with pytest.raises(DaemonSilent):
        await offload(lambda: control.ask(tmp_path, {}, timeout_s=0.5))
    assert time.monotonic() - began_s < 2
    server.close()


async def test_FR89_an_endless_answer_is_not_collected(tmp_path: Path) -> None:
    server = await answers(tmp_path, *[b"x" * 65_536] * 100)
    with pytest.raises(DaemonSilent):
        await offload(lambda: control.ask(tmp_path, {}, timeout_s=10))
    server.close()


@pytest.mark.parametrize(
    ("given", "waits_s"),
    [
        ({}, 0),
        ({"wait_s": 5}, 5),
        ({"wait_s": 1e9}, 600),
        ({"wait_s": 10**400}, 600),
        ({"wait_s": -1}, 0),
    ]
    + [({"wait_s": wrong}, 0) for wrong in (True, "5", None, float("nan"))],
)
def test_a_request_may_wait_ten_minutes_at_most(given: dict[str, Any], waits_s: float) -> None:
    assert control.patience_s(given) == waits_s
