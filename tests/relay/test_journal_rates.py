"""How much the journal gets in days of trouble: architecture, "Events". In virtual time."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.relay_bench import BACKUP, MQTT, NTRIP, SPARTN, RelayBench, Script, steady
from tests.support.virtualtime import run
from ztpd import log
from ztpd.config import Config, IdentityOptions, ZtpOptions
from ztpd.errors import (
    ConnectionLost,
    ConnectRefused,
    ModemAbsent,
    ResolveFailed,
    SessionClosed,
    SessionRefused,
    ZtpdError,
)
from ztpd.model import Identity, Secret
from ztpd.modem import identity
from ztpd.provisioning.provisioner import Provisioner

HOUR_S, DAY_S = 3600.0, 86_400.0
STEADY_A_MINUTE, FAULT_A_MINUTE = 2, 20


class Journal(logging.Handler):
    """When each line at the default level was said, on the loop's clock."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.at_s: list[float] = []
        self.names: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.at_s.append(asyncio.get_running_loop().time())
        self.names.append(str(getattr(record, "ZTPD_EVENT", "")))

    def most_in_a_minute(self) -> int:
        """The most lines in any 60 s."""
        most = first = 0
        for last, at_s in enumerate(self.at_s):
            while at_s - self.at_s[first] >= 60:
                first += 1
            most = max(most, last - first + 1)
        return most

    def between(self, begin_s: float, end_s: float) -> int:
        return sum(begin_s <= at_s < end_s for at_s in self.at_s)


@contextmanager
def journal() -> Iterator[Journal]:
    handler, logger = Journal(), logging.getLogger("ztpd")
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)


def flapping(lasts_s: float) -> Script:
    return steady(lasts_s, ends=SessionClosed("mqtt://broker.example"))


ENDLESS = Script([(1.0, SPARTN)] * int(2 * DAY_S), None)

TROUBLE: dict[str, Callable[[], RelayBench]] = {
    "the broker is down": lambda: RelayBench(mqtt=[Script(refuses=ConnectRefused("broker"))]),
    "there is no DNS": lambda: RelayBench(mqtt=[Script(refuses=ResolveFailed("broker"))]),
    "the credentials are refused": lambda: RelayBench(mqtt=[Script(refuses=SessionRefused("5"))]),
    "another gateway takes the session": lambda: RelayBench(mqtt=[flapping(3)]),
    "sessions end after 30 s": lambda: RelayBench(mqtt=[flapping(30)]),
    "sessions end after 70 s": lambda: RelayBench(mqtt=[flapping(70)]),
    "nothing comes after the log-in": lambda: RelayBench(mqtt=[Script()]),
    "two causes take turns": lambda: RelayBench(
        mqtt=[
            Script(refuses=error)
            for _ in range(2000)
            for error in (ResolveFailed("broker"), ConnectionLost("broker"))
        ]
    ),
    "good minutes and cuts take turns": lambda: RelayBench(
        mqtt=[
            each for _ in range(800) for each in (flapping(65), Script(refuses=ResolveFailed("b")))
        ]
    ),
}


SLOW = ("sessions end after 70 s", "good minutes and cuts take turns")


@pytest.mark.parametrize(
    "fault",
    [pytest.param(fault, marks=[pytest.mark.slow] * (fault in SLOW)) for fault in TROUBLE],
)
def test_D20_days_of_one_fault_stay_below_20_lines_a_minute(fault: str) -> None:
    with journal() as lines:
        TROUBLE[fault]().runs(2 * DAY_S, MQTT)

    assert lines.names
    assert lines.most_in_a_minute() <= FAULT_A_MINUTE
    assert lines.between(DAY_S, 2 * DAY_S) <= 5 * 24 * 60


@pytest.mark.slow
def test_D20_two_failing_channels_stay_below_20_lines_a_minute() -> None:
    with journal() as lines:
        bench = RelayBench(
            mqtt=[Script(refuses=ConnectRefused("broker"))],
            ntrip=[Script(refuses=ResolveFailed("caster"))],
        )
        bench.runs(2 * DAY_S, NTRIP, MQTT)

    assert lines.most_in_a_minute() <= FAULT_A_MINUTE


@pytest.mark.slow
def test_P15_a_healthy_day_is_a_line_an_hour() -> None:
    with journal() as lines:
        RelayBench(mqtt=[steady(3 * DAY_S)]).runs(2 * DAY_S, MQTT)

    assert lines.most_in_a_minute() <= STEADY_A_MINUTE
    assert lines.between(DAY_S, 2 * DAY_S) == 24
    assert set(lines.names[-24:]) == {"stream.summary"}


@pytest.mark.slow
def test_P15_a_stream_with_losses_is_two_lines_a_minute() -> None:
    with journal() as lines:
        bench = RelayBench(mqtt=[ENDLESS])

        async def lose() -> None:
            while True:
                await asyncio.sleep(1)
                bench.receiver.dropped += 1

        async def scenario() -> None:
            losing = asyncio.create_task(lose())
            try:
                async with asyncio.timeout(DAY_S):
                    await bench.relay(MQTT).run()
            finally:
                losing.cancel()

        with pytest.raises(TimeoutError):
            run(scenario())

    assert "stream.dropped" in lines.names
    assert lines.between(3600, 7200) <= 2 * 60


def test_D20_a_modem_that_is_never_there_stays_below_20_lines_a_minute(tmp_path: Path) -> None:
    async def absent() -> Identity:
        await asyncio.sleep(60)
        raise ModemAbsent("/dev/ttyUSB2")

    async def scenario() -> None:
        provisioner = Provisioner(
            Config(ztp=ZtpOptions(splay_s=0)),
            tmp_path,
            dispatch=_nothing,
            read_identity=absent,
            token=lambda: Secret(""),
            board_serial=lambda: "",
            rng=random.Random(1),
        )
        async with asyncio.timeout(2 * DAY_S):
            await provisioner.obtain()

    with journal() as lines, pytest.raises(TimeoutError):
        run(scenario())

    assert lines.most_in_a_minute() <= FAULT_A_MINUTE
    assert lines.between(DAY_S, 2 * DAY_S) <= 24 * 60


def test_D20_the_wait_for_a_modem_is_said_once(tmp_path: Path) -> None:
    config = Config(identity=IdentityOptions(source="at", port=str(tmp_path / "ttyUSB2")))

    async def scenario() -> None:
        provisioner = Provisioner(
            config,
            tmp_path,
            dispatch=_nothing,
            read_identity=lambda: identity.read(config),
            token=lambda: Secret(""),
            board_serial=lambda: "",
            rng=random.Random(1),
        )
        async with asyncio.timeout(HOUR_S / 6):
            await provisioner.obtain()

    with journal() as lines, pytest.raises(TimeoutError):
        run(scenario())

    assert lines.names == ["modem.awaited", "modem.absent"]


def _nothing(*_: object, **__: object) -> None:
    """A closed port."""


def test_D20_a_failure_repeated_every_second_is_logged_once() -> None:
    async def scenario() -> None:
        failures = log.FailureLog()
        error: ZtpdError = ResolveFailed("broker.example")
        for _ in range(2 * 3600):
            failures.record(error, retry_in_s=1)
            await asyncio.sleep(1)

    with journal() as lines:
        run(scenario())

    assert lines.most_in_a_minute() <= STEADY_A_MINUTE
    assert lines.names == ["net.dns"]


START = ["session.connected", "session.streaming"]
REFUSING = Script(refuses=ConnectRefused("broker"))


OVER = "log.outage_over"


@pytest.mark.parametrize(
    ("sessions", "lines"),
    [
        ([Script()] * 5, ["session.connected", "session.stale", OVER]),
        ([REFUSING] * 5, ["net.refused", OVER]),
        ([REFUSING], ["net.refused", "session.streaming"]),
        ([steady(900), *[REFUSING] * 5], [*START, "session.closed", "net.refused", OVER]),
        ([steady(900)], [*START, "session.closed", "session.streaming"]),
        (
            [flapping(20)] * 2,
            [*START, "session.closed", "session.streaming", "session.closed", OVER],
        ),
    ],
    ids=["silent", "refuses", "refuses once", "goes down", "is cut", "flaps"],
)
def test_FR71_an_outage_has_a_line_for_each_cause_and_one_for_its_end(
    sessions: list[Script], lines: list[str]
) -> None:
    """A single failure ends with the next stream; several end with one that proves to be stable."""
    with journal() as logged:
        RelayBench(mqtt=[*sessions, steady(DAY_S)]).runs(HOUR_S / 2, MQTT)

    assert logged.names == lines


def test_FR71_nothing_is_said_to_work_again_while_a_backup_stands_in() -> None:
    """It took over at once; the service before it goes on failing."""
    refusing = Script(refuses=ConnectRefused("caster"))
    bench = RelayBench(ntrip=[steady(30), *[refusing] * 40, steady(DAY_S)], backup=[steady(DAY_S)])
    with journal() as logged:
        bench.runs(DAY_S / 2, NTRIP, BACKUP)

    began, back = (n for n, name in enumerate(logged.names) if name == "session.service_changed")
    meanwhile = [name for name in logged.names[began + 1 : back] if name != "stream.summary"]
    assert meanwhile == ["net.refused", "session.ended", OVER, "session.streaming"]
