"""A clock that lies in the past is set from the receiver: once, forward only, or not at all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.gateway import Gateway
from tests.support.until import until
from tests.support.virtualtime import run
from ztpd import RELEASED_UNIX_S
from ztpd.cli import settime
from ztpd.errors import DaemonSilent, NotRunning, TlsClock, ZtpdError
from ztpd.sim.authority import server_context
from ztpd.sim.ztp_service import ZtpService
from ztpd.system import control
from ztpd.system.control import Verb
from ztpd.system.offload import offload

NOW_S = RELEASED_UNIX_S + 1e6
ERA_S = 1024 * 7 * 86_400  # GPS sends its week modulo 1024


class Clock:
    """The gateway's clock, and the answer of a receiver whose time is off by ``wrong_s``."""

    def __init__(self, shows_s: float = 0.0) -> None:
        self.offset_s = shows_s
        self.set_to: list[float] = []
        self.started_s = 0.0

    def now(self) -> float:
        return self.offset_s + _loop_s()

    def set(self, unix_s: float) -> None:
        self.set_to.append(unix_s)
        self.offset_s = unix_s - _loop_s()


def _loop_s() -> float:
    return asyncio.get_running_loop().time()


def says(*times: float | None, clock: str = "unknown") -> Callable[[], dict[str, Any]]:
    """A receiver's answers, one after the other, and the daemon's word; the last one stays."""
    left = list(times)

    def ask() -> dict[str, Any]:
        unix_s = left.pop(0) if len(left) > 1 else left[0]
        if unix_s is None:
            return {"ok": False, "error": "the receiver has no fully resolved time", "clock": clock}
        utc = datetime.fromtimestamp(unix_s, UTC).isoformat()
        return {"ok": True, "utc": utc, "clock": clock}

    return ask


async def for_an_hour(clock: Clock, ask: Callable[[], dict[str, Any]]) -> str:
    try:
        async with asyncio.timeout(3600):
            return await settime.run(ask, now=clock.now, set_clock=clock.set)
    except TimeoutError:
        return ""


def test_C05_a_clock_at_1970_is_set_by_two_answers_that_agree() -> None:
    clock = Clock()
    done = run(for_an_hour(clock, says(NOW_S, NOW_S + 10)))

    assert "is set" in done
    assert clock.set_to == [NOW_S + 10]


def test_a_clock_by_which_corrections_flow_is_left_alone() -> None:
    clock = Clock(RELEASED_UNIX_S)

    assert "nothing to do" in run(for_an_hour(clock, says(NOW_S, clock="right")))
    assert clock.set_to == []


def test_a_clock_of_which_nothing_is_known_yet_is_left_alone() -> None:
    clock = Clock(RELEASED_UNIX_S)

    assert run(for_an_hour(clock, says(NOW_S, NOW_S + 10))) == ""
    assert clock.set_to == []


def test_FR41_a_clock_after_the_release_is_set_where_it_keeps_the_daemon_from_its_work() -> None:
    """fake-hwclock and timesyncd start with the date of the last shutdown, or the image's."""
    clock = Clock(RELEASED_UNIX_S + 60 * 86_400)
    later_s = RELEASED_UNIX_S + 300 * 86_400
    done = run(for_an_hour(clock, says(later_s, later_s + 10, clock="wrong")))

    assert "is set" in done
    assert clock.set_to == [later_s + 10]


def test_FR41_the_clock_is_never_set_back() -> None:
    clock = Clock(NOW_S + 1e6)
    run(for_an_hour(clock, says(NOW_S, NOW_S + 10, clock="wrong")))

    assert clock.set_to == []


@pytest.mark.parametrize(
    "times",
    [
        [None],
        [0.0],
        [RELEASED_UNIX_S - 1.0],
        [NOW_S + ERA_S, NOW_S + ERA_S + 10],
        [NOW_S + 2 * ERA_S, NOW_S + 2 * ERA_S + 10],
        [NOW_S, NOW_S + 500, NOW_S, NOW_S + 900, None],
    ],
    ids=["unresolved", "1970", "before the release", "next era", "weeks lost", "contradictory"],
)
def test_a_time_that_cannot_be_right_sets_nothing(times: list[float | None]) -> None:
    clock = Clock()
    run(for_an_hour(clock, says(*times)))

    assert clock.set_to == []


@pytest.mark.parametrize("error", [NotRunning, DaemonSilent])
def test_the_daemon_may_come_late(error: type[ZtpdError]) -> None:
    tries = iter(range(5))
    receiver = says(NOW_S, NOW_S + 10)

    def ask() -> dict[str, Any]:
        if next(tries, None) is not None:
            raise error("control.sock")
        return receiver()

    clock = Clock()
    run(for_an_hour(clock, ask))

    assert len(clock.set_to) == 1


def test_who_else_sets_the_clock_is_not_overruled() -> None:
    clock = Clock()

    async def scenario() -> str:
        asyncio.get_running_loop().call_later(5, setattr, clock, "offset_s", NOW_S + 77)
        return await for_an_hour(clock, says(NOW_S, NOW_S + 10))

    assert run(scenario()) == ""
    assert clock.set_to == []


async def test_the_daemon_answers_with_the_receivers_time_only_if_it_is_resolved(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    gateway.configure(
        ztp={"token_file": tmp_path / "none", "splay_s": 0},
        identity={"source": "fixed", "hardware_id": "gw-1"},
    )
    async with gateway.running():

        async def ask() -> dict[str, Any]:
            return await offload(lambda: control.ask(gateway.runtime_dir, {"do": Verb.TIME}))

        await until(lambda: gateway.status.get("state"))
        assert not (await ask())["ok"]

        async with gateway.receiver(speed=5.0) as receiver:
            async with asyncio.timeout(20):
                while not (answer := await ask())["ok"]:
                    await asyncio.sleep(0.1)
        assert receiver
        reported = datetime.fromisoformat(answer["utc"]).timestamp()
        assert abs(reported - datetime.now(UTC).timestamp()) < 3600 * 24 * 365 * 30


async def test_FR41_the_daemon_says_that_the_clock_is_wrong_where_tls_fails_for_the_date(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    tomorrow = datetime.now(UTC).replace(tzinfo=None) + timedelta(days=1)
    tls = server_context(gateway.authority.server(not_before=tomorrow))
    async with ZtpService(gateway.authority, tls=tls) as service:
        gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
                "splay_s": 0,
            },
            identity={"source": "fixed", "hardware_id": "gw-1"},
        )
        async with gateway.running():

            async def ask() -> dict[str, Any]:
                return await offload(lambda: control.ask(gateway.runtime_dir, {"do": Verb.TIME}))

            await until(lambda: gateway.status.get("state"))
            async with asyncio.timeout(20):
                while (await ask())["clock"] != "wrong":
                    await asyncio.sleep(0.05)
            assert gateway.status["last_failure"]["event"] == TlsClock.code
