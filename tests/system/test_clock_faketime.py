"""The real call and the real waits under clocks that are wrong, or jump (libfaketime)."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.support import TOP
from tests.support.writer import generation
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.ztp_service import ZtpService

CHILD = TOP / "tests/support/faketime_child.py"
STATE = "state"
ENVIRON = os.environ | {"PYTHONPATH": str(TOP)}  # ztpd need not be installed

pytestmark = pytest.mark.skipif(not shutil.which("faketime"), reason="faketime is not installed")


async def child(date: str | Path, *words: object) -> list[str]:
    """The words that the child printed with that date on its clock, or with the dates that a file
    gives; its timers are real."""
    command = [sys.executable, CHILD, *words]
    faked = ["faketime", "--exclude-monotonic", "-f"]
    environ = ENVIRON | {"TZ": "UTC", "FAKETIME_NO_CACHE": "1"}
    if isinstance(date, Path):
        environ["FAKETIME_TIMESTAMP_FILE"] = str(date)
        command = [*faked, "+0", "env", "-u", "FAKETIME", *command]
    else:
        command = [*faked, date, *command]
    running = await asyncio.create_subprocess_exec(
        *map(str, command),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environ,
    )
    reported, errors = await running.communicate()
    assert running.returncode == 0, errors.decode()
    return reported.decode().split()


async def called(
    tmp_path: Path, date: str, make: Callable[[Authority], ZtpService]
) -> tuple[list[str], ZtpService]:
    """The result of one call, and the called service."""
    authority = Authority()
    ca_file = authority.write(tmp_path / "ca.pem")
    (tmp_path / STATE).mkdir(mode=0o700)
    async with make(authority) as service:
        reported = await child(date, "provision", service.url, ca_file, tmp_path / STATE)
    return reported, service


@pytest.mark.parametrize("date", ["1970-01-01 00:01:00", "2000-01-01 00:00:00"])
async def test_C01_P10_with_a_date_that_is_past_no_connection_is_made(
    tmp_path: Path, date: str
) -> None:
    reported, service = await called(tmp_path, date, ZtpService)

    assert reported == ["clock.unset", "local"]
    assert service.connections == 0


async def test_C01_as_soon_as_the_clock_is_set_the_call_is_made(tmp_path: Path) -> None:
    (tmp_path / "before").mkdir()
    (tmp_path / "after").mkdir()
    reported, _ = await called(tmp_path / "before", "1970-01-01 00:01:00", ZtpService)
    assert reported == ["clock.unset", "local"]
    reported, service = await called(tmp_path / "after", "2027-01-01 00:00:00", ZtpService)

    assert reported[0] == "provisioned"
    assert len(service.calls) == 1


async def test_C02_a_clock_that_is_hours_late_will_do(tmp_path: Path) -> None:
    reported, _ = await called(tmp_path, "2027-01-01 00:00:00", ZtpService)

    assert reported[0] == "provisioned"


@pytest.mark.parametrize(
    ("not_before", "not_after"),
    [
        pytest.param(datetime(2030, 1, 1), datetime(2031, 1, 1), id="C02-not-yet"),
        pytest.param(datetime(2020, 1, 1), datetime(2026, 12, 31), id="N16-ended"),
    ],
)
async def test_N16_N17_a_certificate_of_another_time_names_the_clock_and_blames_no_server(
    tmp_path: Path, not_before: datetime, not_after: datetime
) -> None:
    def make(authority: Authority) -> ZtpService:
        pair = authority.server(not_before=not_before, not_after=not_after)
        return ZtpService(authority, tls=server_context(pair))

    reported, service = await called(tmp_path, "2027-01-01 00:00:00", make)

    assert reported == ["tls.clock", "local"]
    assert service.requests == 0, "the token stayed here"


@pytest.mark.parametrize(
    "new_date",
    [
        pytest.param("2047-01-01 00:00:00", id="C03-forward"),
        pytest.param("1990-01-01 00:00:00", id="C04-back"),
    ],
)
async def test_C03_C04_a_jump_changes_no_wait_and_deletes_nothing(
    tmp_path: Path, new_date: str
) -> None:
    CredentialStore(tmp_path / STATE).save(generation(1))
    date = tmp_path / "date"
    date.write_text("2027-01-01 00:00:00\n")
    reported = await child(date, "jump", date, new_date, tmp_path / STATE)
    took_s, jumped, left_s, may_refresh, loaded = reported

    assert jumped == "1", "or this test proves nothing"
    assert 0.9 <= float(took_s) <= 3
    assert 3590 <= int(left_s) <= 3599
    assert (may_refresh, loaded) == ("False", "True")


@pytest.mark.parametrize("date", ["2038-01-19 03:14:20", "2040-02-29 12:00:00"])
async def test_C09_dates_beyond_thirty_two_bits(tmp_path: Path, date: str) -> None:
    (tmp_path / STATE).mkdir(mode=0o700)

    assert await child(date, "save", tmp_path / STATE) == ["synchronised", "864"]


def test_the_child_runs_without_libfaketime_too(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, CHILD, "save", tmp_path],
        env=ENVIRON,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[1] == "864"
