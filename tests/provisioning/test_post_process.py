"""The call in a process of its own: the same replies and errors, nothing secret to be seen, and
nothing of it stays."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.until import until
from ztpd.errors import (
    ConfigError,
    ConfigFileUnusable,
    ConnectRefused,
    HostFiltered,
    ResolveFailed,
    ZtpdError,
    ZtpTruncated,
)
from ztpd.net import dial
from ztpd.provisioning import post_process
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN
from ztpd.sim.ztp_service import Cut, Silence, ZtpService
from ztpd.wire import ztp

AUTHORITY = Authority()
PATH = ztp.PATHS["flex"]
BODY = ztp.request_body(token=TOKEN, given_name="gw", tags=(), hardware_id="356938035643809")


@pytest.fixture(scope="module")
def ca_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(AUTHORITY.write(tmp_path_factory.mktemp("ca") / "ca.pem"))


def children() -> list[Path]:
    found = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    return [Path("/proc") / pid for pid in found]


async def error_of(url: str, ca_file: str) -> ZtpdError:
    with pytest.raises(ZtpdError) as caught:
        await post_process.post(url, BODY, timeout_s=5, ca_file=ca_file)
    return caught.value


@pytest.mark.slow
async def test_replies_and_errors_are_those_of_a_call_in_this_process(ca_file: str) -> None:
    async with (
        ZtpService(AUTHORITY) as there,
        ZtpService(AUTHORITY, script=[Cut(300)]) as cutting,
    ):
        reply, cut, refused, no_file, no_url = await asyncio.gather(
            post_process.post(there.url + PATH, BODY, timeout_s=5, ca_file=ca_file),
            error_of(cutting.url + PATH, ca_file),
            error_of("https://127.0.0.1:1/", ca_file),
            error_of("https://localhost:1/", "/nonexistent.pem"),
            error_of("ftp://localhost/", ca_file),
        )

    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert ztp.parse_answer("flex", reply.body).ntrip
    assert type(cut) is ZtpTruncated
    assert cut.delivered
    assert type(refused) is ConnectRefused
    assert "127.0.0.1:1" in refused.detail
    assert not refused.delivered
    assert ["127.0.0.1", 1] in [failed[:2] for failed in dial.failures()], "it goes last next time"
    assert type(no_file) is ConfigFileUnusable
    assert type(no_url) is ConfigError
    assert children() == []


@pytest.mark.slow
async def test_a_cancelled_call_leaves_no_process_and_shows_no_secret(ca_file: str) -> None:
    async with ZtpService(AUTHORITY, script=[Silence()]) as there:
        url = there.url + PATH
        call = asyncio.create_task(post_process.post(url, BODY, timeout_s=30, ca_file=ca_file))
        await until(lambda: there.requests == 1, within_s=20)
        (child,) = children()
        seen = (child / "cmdline").read_bytes() + (child / "environ").read_bytes()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert TOKEN.reveal().encode() not in seen
    assert b"356938035643809" not in seen
    assert children() == []


async def test_the_advice_for_the_case_comes_along(ca_file: str) -> None:
    error = await error_of("https://0.0.0.0:1/", ca_file)

    assert type(error) is ResolveFailed
    assert error.advice == error.own_advice == HostFiltered.advice


async def test_a_process_that_ends_without_an_answer_is_a_failed_call(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")

    with pytest.raises(ZtpdError, match="ended with status 1"):
        await post_process.post("https://127.0.0.1:1/", BODY, timeout_s=5, ca_file=ca_file)


async def test_where_no_process_can_be_started_this_one_makes_the_call(
    ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python3")

    async with ZtpService(AUTHORITY) as there:
        reply = await post_process.post(there.url + PATH, BODY, timeout_s=5, ca_file=ca_file)

    assert reply.status == 200


def test_the_program_of_the_process_needs_no_folder_of_the_user() -> None:
    """The unit runs the interpreter isolated; this process is then, too."""
    program = (
        "import asyncio, sys; sys.path.append(sys.argv[1]);"
        "from ztpd.provisioning import post_process;"
        "asyncio.run(post_process.post('ftp://h/', b'', timeout_s=5))"
    )
    top = str(Path(post_process.__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-I", "-c", program, top],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
    )

    assert "ConfigError: the configuration is wrong: [ztp] url" in done.stderr
