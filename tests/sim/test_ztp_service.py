"""The simulated service on the wire. The tests of the client prove its effect there."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import pytest

from tests.support.until import until
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN
from ztpd.sim.ztp_service import (
    FAULTS,
    Answer,
    Cut,
    Drip,
    Fault,
    Huge,
    Reset,
    Silence,
    ZtpService,
)
from ztpd.wire import ztp

AUTHORITY = Authority()
IMEI = "356938035643809"
BODY = ztp.request_body(token=TOKEN, given_name="gw", tags=("a",), hardware_id=IMEI)


async def exchange(there: ZtpService, *, tls: bool = True) -> tuple[bytes, BaseException | None]:
    """All bytes that come back for one request, and how the connection ended."""
    context = ssl.create_default_context(cadata=AUTHORITY.certificate) if tls else None
    head = f"POST {ztp.PATHS['flex']} HTTP/1.1\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
    answer = bytearray()
    writer = None
    try:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1",
            there.port,
            ssl=context,
            server_hostname="localhost" if tls else None,
        )
        writer.write(head + BODY)
        while block := await reader.read(4096):
            answer += block
    except OSError as error:
        return bytes(answer), error
    finally:
        if writer:
            writer.transport.abort()
    return bytes(answer), None


def parts(answer: bytes) -> tuple[int, dict[str, str], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return int(status.split(" ")[1]), headers, body


@pytest.mark.parametrize("tls", [True, False])
async def test_a_request_is_answered_and_remembered(tls: bool) -> None:
    async with ZtpService(AUTHORITY if tls else None) as there:
        answer, _ = await exchange(there, tls=tls)
    status, headers, body = parts(answer)
    assert status == 200
    assert headers["Content-Length"] == str(len(body))
    assert json.loads(body)["rtcmCredentials"]["mountPoint"] == "NEAR-RTCM"
    (call,) = there.calls
    assert (call.hardware_id, call.given_name, call.tags, call.status) == (IMEI, "gw", ("a",), 200)
    assert TOKEN.reveal() not in repr(there.calls)
    assert (there.connections, there.requests, len(there.things)) == (1, 1, 1)


async def test_each_call_takes_one_fault_from_the_script() -> None:
    script: list[Fault] = [Answer(503, "later", {"Retry-After": "7"}), Cut(20)]
    async with ZtpService(AUTHORITY, script=script) as there:
        status, headers, body = parts((await exchange(there))[0])
        assert (status, headers["Retry-After"], body) == (503, "7", b"later")
        assert (await exchange(there))[0] == b"HTTP/1.1 200 OK\r\nCon"
        assert parts((await exchange(there))[0])[0] == 200
    assert [call.status for call in there.calls] == [503, 200, 200]
    assert len(there.things) == 1


@pytest.mark.parametrize("stage", ["handshake", "response", "body"])
async def test_a_reset_is_one(stage: Any) -> None:
    async with ZtpService(AUTHORITY, script=[Reset(stage)]) as there:
        answer, ended = await exchange(there)
    assert isinstance(ended, ConnectionResetError)
    assert (answer == b"") == (stage != "body")
    assert len(there.things) == (stage == "body")


@pytest.mark.parametrize("stage", ["handshake", "response"])
async def test_silence_lasts_until_the_client_goes(stage: Any) -> None:
    async with ZtpService(AUTHORITY, script=[Silence(stage)]) as there:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(exchange(there), 0.1)
        assert parts((await exchange(there))[0])[0] == 200


async def test_a_drip_is_slow_and_whole() -> None:
    async with ZtpService(AUTHORITY, script=[Drip(0.0001)]) as there:
        _, headers, body = parts((await exchange(there))[0])
    assert len(body) == int(headers["Content-Length"])


async def test_a_huge_body_is_as_huge_as_said() -> None:
    async with ZtpService(AUTHORITY, script=[Huge(1024 * 1024)]) as there:
        _, headers, body = parts((await exchange(there))[0])
    assert "Content-Length" not in headers
    assert len(body) == 1024 * 1024


@pytest.mark.parametrize("name", sorted(FAULTS))
async def test_every_named_fault_is_played_and_recorded(name: str) -> None:
    said: list[str] = []
    async with ZtpService(AUTHORITY, script=[FAULTS[name]], say=said.append) as there:
        calling = asyncio.create_task(exchange(there))
        await until(lambda: said and not there.script)
        calling.cancel()
        await asyncio.wait([calling])
    assert said[0] == str(FAULTS[name])
    assert TOKEN.reveal() not in "".join(said)


async def test_leaving_ends_open_calls() -> None:
    before = asyncio.all_tasks()
    async with ZtpService(AUTHORITY, script=[Silence(), Silence("handshake")]) as there:
        waiting = [asyncio.create_task(exchange(there)) for _ in range(2)]
        while there.connections < 2:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
    await asyncio.wait_for(asyncio.gather(*waiting), 5)
    assert asyncio.all_tasks() == before
