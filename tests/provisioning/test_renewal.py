"""Credentials that are refused, end, or are damaged: new ones with care, never twice in a day.

And to whom they belong: one board, one modem.
"""

from __future__ import annotations

import asyncio
import logging
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.provisioning_bench import (
    DAY_S,
    HOUR_S,
    IMEI,
    OTHER_IMEI,
    START_UNIX_S,
    ProvisioningBench,
    ended_after,
    raises,
    run,
)
from ztpd.errors import ConnectTimeout, ModemAbsent, ZtpdError, ZtpNotListed, ZtpTokenMissing
from ztpd.lifecycle import Event
from ztpd.model import Identity, StoredCredentials
from ztpd.provisioning.renewal import share_of_day_s
from ztpd.provisioning.reply import Reply
from ztpd.provisioning.store import CURRENT, PREVIOUS, CredentialStore
from ztpd.sim.portal import TOKEN, Profile


def now_s() -> float:
    return asyncio.get_running_loop().time()


MODEM, OTHER_MODEM = Identity(IMEI, "the modem"), Identity(OTHER_IMEI, "the modem")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: these tests would else wait for a disk thousands of times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def gateway(tmp_path: Path) -> ProvisioningBench:
    return ProvisioningBench(tmp_path, profile=Profile(protocol="mqtt", format="spartn"))


def in_days(days: float) -> datetime:
    return datetime.fromtimestamp(START_UNIX_S + days * DAY_S, UTC).replace(tzinfo=None)


def current(gateway: ProvisioningBench) -> StoredCredentials:
    loaded = CredentialStore(gateway.state_dir).load()
    assert loaded is not None
    return loaded.stored


async def provisioned(gateway: ProvisioningBench, *, days: float = 1000) -> StoredCredentials:
    """A gateway that got credentials some days ago; they end in ``days``."""
    await gateway.start().once()
    gateway.issue(IMEI.digits, ends=in_days(days))
    await asyncio.sleep(2 * DAY_S)
    gateway.start().pacing.retry_now()
    return await gateway.start().once()


# Refused


def test_Z17_refused_credentials_are_replaced(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        steps = len(gateway.dispatched)
        new = await gateway.start().replace(old)

        assert new is not None
        assert new.expires_unix_s != old.expires_unix_s
        assert current(gateway) == new
        assert [each.event for each in gateway.dispatched[steps:]] == [Event.PROVISION], "it stores"

    run(scenario())


def test_Z17_the_modem_is_not_needed_for_that(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.modem = [ModemAbsent()]
        await asyncio.sleep(2 * DAY_S)

        assert await gateway.start().replace(old)

    run(scenario())


def test_Z17_restarts_never_make_more_than_one_call_in_a_day(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        for hour in range(10 * 24):
            await asyncio.sleep(HOUR_S)
            if hour % 3 == 0:
                gateway.reboot()
            provisioner = gateway.start()
            if provisioner.may_replace():
                await provisioner.replace(old)

        assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= DAY_S
        assert 9 <= len(gateway.calls) - 2 <= 10

    run(scenario())


def test_Z17_a_failed_call_changes_nothing(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        await asyncio.sleep(2 * DAY_S)
        gateway.portal.profile = Profile(protocol="mqtt", format="spartn", allowlist=frozenset())
        with pytest.raises(ZtpNotListed):
            await gateway.start().replace(old)

        assert current(gateway) == old

    run(scenario())


def test_the_ones_before_come_back_when_the_new_ones_are_refused(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        new = await gateway.start().once()
        calls = len(gateway.calls)
        provisioner = gateway.start()
        assert provisioner.may_replace()

        assert await provisioner.replace(new) == old
        assert len(gateway.calls) == calls
        assert current(gateway) == old
        assert "using the other generation" in caplog.text

        assert provisioner.may_replace(), "the new ones have their turn again"

    with caplog.at_level(logging.INFO):
        run(scenario())


def test_FR102_the_two_generations_take_turns(gateway: ProvisioningBench) -> None:
    """The ones before are dead, and the new ones are accepted only hours later."""

    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        new = await gateway.start().once()
        del gateway.calls[:]
        provisioner, present, taken = gateway.start(), new, []
        for _ in range(5):
            await asyncio.sleep(HOUR_S)
            assert provisioner.may_replace()
            other = await provisioner.replace(present)
            assert other is not None
            present = other
            taken.append(present == new)
            assert current(gateway) == present

        assert taken == [False, True, False, True, False]
        assert present == old
        assert CredentialStore(gateway.state_dir).load_previous() == new
        assert not gateway.calls

    run(scenario())


def test_FR102_without_a_generation_before_there_is_nothing_to_turn_to(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        only = await gateway.start().once()
        provisioner = gateway.start()
        assert await provisioner.replace(only) is None
        assert not provisioner.may_replace()

    run(scenario())


def test_FR101_a_service_that_fails_for_a_moment_costs_minutes_not_a_day(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        del gateway.calls[:]
        began_s = now_s()

        def once() -> Reply:
            gateway.answer = None
            return Reply(503, {}, b"")

        gateway.answer = once
        assert await gateway.start().replace(old) != old
        assert len(gateway.calls) == 2
        assert 1 <= now_s() - began_s <= 60
        waits = [each.event for each in gateway.dispatched[-3:]]
        assert waits == [Event.BACKOFF, Event.PROVISION, Event.PROVISION], "the last one stores"

    run(scenario())


@pytest.mark.parametrize("kind", ["503", "time-out", "never delivered", "cut off"])
def test_FR101_failures_of_the_days_call_go_by_the_retry_classes(
    gateway: ProvisioningBench, kind: str
) -> None:
    """The service fails for three hours, with restarts; then it is well."""

    def undelivered() -> Reply:
        error = ConnectTimeout()
        error.delivered = False
        raise error

    def cut_off() -> Reply:
        raise asyncio.CancelledError

    failing = {
        "503": lambda: Reply(503, {}, b""),
        "time-out": raises(ConnectTimeout),
        "never delivered": undelivered,
        "cut off": cut_off,
    }[kind]

    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        del gateway.calls[:]
        began_s, gateway.answer, found = now_s(), failing, None
        while found is None:
            if now_s() - began_s > 3 * HOUR_S:
                gateway.answer = None
            provisioner = gateway.start()
            if provisioner.pacing.may_refresh():
                with suppress(ZtpdError, asyncio.CancelledError):
                    found = await provisioner.replace(old)
            await asyncio.sleep(60)

        assert now_s() - began_s <= 5 * HOUR_S
        assert len(gateway.calls) <= 200, "and it was asked more and more slowly"
        assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= 1

    run(scenario())


def test_FR101_a_refusal_is_the_answer_of_the_day(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        await asyncio.sleep(2 * DAY_S)
        gateway.portal.profile = Profile(protocol="mqtt", format="spartn", allowlist=frozenset())
        del gateway.calls[:]
        for _ in range(3 * 24):
            provisioner = gateway.start()
            with suppress(ZtpNotListed):
                await provisioner.replace(old)
            await asyncio.sleep(HOUR_S)

        assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= DAY_S
        assert len(gateway.calls) == 3

    run(scenario())


def test_the_new_ones_are_kept_when_the_ones_before_come_back(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        new = await gateway.start().once()
        await gateway.start().replace(new)

        assert CredentialStore(gateway.state_dir).load_previous() == new

    run(scenario())


def test_S19_credentials_of_another_gateway_on_a_copied_card_never_come_back(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        await provisioned(gateway)
        gateway.board, gateway.modem = "board-2", [OTHER_MODEM]
        assert await gateway.start().stored() is None
        own = await gateway.start().obtain()

        assert await gateway.start().replace(own) is None
        assert current(gateway) == own

    run(scenario())


def test_imported_credentials_that_are_refused_stay_where_there_is_no_token(
    tmp_path: Path,
) -> None:
    from ztpd.provisioning.call import bind_to_gateway
    from ztpd.provisioning.provisioner import Provisioner

    gateway = ProvisioningBench(tmp_path)

    def no_token() -> None:
        raise ZtpTokenMissing

    async def scenario() -> None:
        credentials = (await gateway.start().once()).credentials
        imported = bind_to_gateway(credentials, "", "board-1", START_UNIX_S)
        provisioner = Provisioner(
            gateway.config,
            tmp_path / "other",
            dispatch=gateway._dispatch,
            read_identity=gateway._read_identity,
            token=no_token,  # type: ignore[arg-type]
            post=gateway._post,
        )
        with pytest.raises(ZtpTokenMissing):
            await provisioner.replace(imported)

    run(scenario())

    assert len(gateway.calls) == 1


# Coming to their end


def test_C07_the_end_is_noted_thirty_seven_and_one_days_before(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway, days=50)
        gateway.answer = raises(ConnectTimeout)
        await ended_after(gateway.start().renew(stored), 60 * DAY_S)

    with caplog.at_level(logging.INFO):
        run(scenario())

    reported = re.findall(r"the client certificate expires in (\d+ days)", caplog.text)
    assert reported == [f"{days} days" for days in (29, 6, 0)]


def test_C03_C07_the_end_is_noted_also_after_a_clock_that_was_ahead_for_a_while(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway, days=50)
        gateway.answer = raises(ConnectTimeout)
        renewing = asyncio.create_task(gateway.start().renew(stored))
        gateway.clock_off_s = 20 * 365 * DAY_S
        await asyncio.sleep(5 * HOUR_S)
        gateway.clock_off_s = 0
        caplog.clear()
        await ended_after(renewing, 60 * DAY_S)

    with caplog.at_level(logging.INFO):
        run(scenario())

    reported = re.findall(r"the client certificate expires in (\d+ days)", caplog.text)
    assert reported == [f"{days} days" for days in (29, 6, 0)]


def test_C07_new_ones_are_asked_for_once_a_day_in_the_last_week(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway, days=50)
        gateway.answer = raises(ConnectTimeout)
        del gateway.calls[:]
        for _ in range(70 * 4):  # the daemon is started anew four times a day
            await ended_after(gateway.start().renew(stored), 6 * HOUR_S)

        assert 42 * DAY_S <= gateway.calls[0] <= 44.1 * DAY_S
        assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= DAY_S
        assert max(later - earlier for earlier, later in pairwise(gateway.calls)) <= 1.5 * DAY_S

    run(scenario())


def test_C07_a_fleet_is_spread_over_a_day(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, profile=Profile(protocol="mqtt", format="spartn"))
    stored = run(gateway.start().once())
    shares = []
    for number in range(1000):
        client_id = f"00000000-0000-4000-8000-{number:012d}"
        credentials = replace(stored.credentials, client_id=client_id)
        shares.append(share_of_day_s(stored._replace(credentials=credentials)))

    assert 0 <= min(shares) < HOUR_S
    assert DAY_S - HOUR_S < max(shares) < DAY_S
    assert 0.4 < sum(share < DAY_S / 2 for share in shares) / 1000 < 0.6


def test_C07_the_old_ones_are_used_until_there_are_other_ones(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway, days=20)
        renewing = asyncio.create_task(gateway.start().renew(stored))
        await asyncio.sleep(16 * DAY_S)
        assert len(gateway.calls) > 3, "the service gives the same ones again"
        assert not renewing.done()
        gateway.issue(IMEI.digits, ends=in_days(400))
        renewed = await renewing

        assert renewed.expires_unix_s == pytest.approx(START_UNIX_S + 400 * DAY_S, abs=1)
        assert current(gateway) == renewed

    run(scenario())


@pytest.mark.parametrize("end", ["2038-01-19", "2050-01-01", "2100-03-01", "2106-02-07"])
def test_C07_new_ones_come_a_week_before_an_end_that_is_far_away(tmp_path: Path, end: str) -> None:
    """Dates from 2050 on have another form in a certificate (RFC 5280 section 4.1.2.5)."""
    ends = datetime.fromisoformat(end)
    began_unix_s = ends.replace(tzinfo=UTC).timestamp() - 20 * DAY_S
    mqtt = Profile(protocol="mqtt", format="spartn")
    gateway = ProvisioningBench(tmp_path, profile=mqtt, began_unix_s=began_unix_s)

    async def scenario() -> None:
        await gateway.start().once()
        gateway.issue(IMEI.digits, ends=ends)
        await asyncio.sleep(2 * DAY_S)
        gateway.start().pacing.retry_now()
        stored = await gateway.start().once()
        assert stored.expires_unix_s == began_unix_s + 20 * DAY_S
        gateway.issue(IMEI.digits, ends=ends + timedelta(days=3650))
        renewed = await gateway.start().renew(stored)

        assert 12 * DAY_S < gateway.calls[-1] < 14.1 * DAY_S
        assert renewed.expires_unix_s == began_unix_s + 3670 * DAY_S
        assert current(gateway) == renewed
        assert renewed.stored_unix_s == int(gateway.now_unix_s)

    run(scenario())


@pytest.mark.parametrize("years", [20, -60])
def test_C03_C04_a_clock_that_jumps_deletes_nothing_and_calls_once_a_day_at_most(
    gateway: ProvisioningBench, years: int
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway, days=900)
        await asyncio.sleep(2 * DAY_S)
        del gateway.calls[:]
        gateway.clock_off_s = years * 365 * DAY_S
        before = sorted((path.name, path.read_bytes()) for path in gateway.state_dir.glob("cred*"))
        await ended_after(gateway.start().renew(stored), 3 * DAY_S)

        assert len(gateway.calls) <= 3
        after = sorted((path.name, path.read_bytes()) for path in gateway.state_dir.glob("cred*"))
        assert before == after
        gateway.clock_off_s = 0
        assert await gateway.start().stored() == stored

    run(scenario())


def test_credentials_without_an_end_are_left_alone(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path)

    async def scenario() -> None:
        stored = await gateway.start().once()
        await ended_after(gateway.start().renew(stored), 5 * DAY_S)

    run(scenario())

    assert len(gateway.calls) == 1


# Damaged


def test_S07_the_generation_before_is_used_when_the_current_one_is_damaged(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        old = await provisioned(gateway)
        gateway.issue(IMEI.digits, ends=in_days(2000))
        await asyncio.sleep(2 * DAY_S)
        await gateway.start().once()
        (gateway.state_dir / CURRENT).write_bytes(b"")
        calls = len(gateway.calls)

        assert await gateway.start().stored() == old
        assert len(gateway.calls) == calls

    run(scenario())

    assert "using the previous generation" in caplog.text


def test_S08_with_both_damaged_there_is_one_call_and_not_before_a_day_has_passed(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        await provisioned(gateway)
        for _ in range(5):  # a disk that loses everything at every start
            for name in (CURRENT, PREVIOUS):
                (gateway.state_dir / name).write_bytes(b"\0" * 4096)
            gateway.reboot()
            provisioner = gateway.start()
            assert await provisioner.stored() is None
            await provisioner.obtain()

        assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= DAY_S

    run(scenario())


# To whom they belong


def test_invariant_10_on_its_own_board_the_modem_is_not_asked(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        await provisioned(gateway)
        gateway.modem, gateway.reads = [ModemAbsent()], 0

        assert await gateway.start().stored()
        assert gateway.reads == 0

    run(scenario())


def test_S19_a_card_moved_with_its_modem_is_adopted_after_two_readings(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway)
        calls = len(gateway.calls)
        gateway.board, gateway.reads = "board-2", 0
        moved = await gateway.start().stored()

        assert moved is not None
        assert (moved.credentials, moved.board) == (stored.credentials, "board-2")
        assert gateway.reads == 2
        assert len(gateway.calls) == calls
        assert current(gateway) == moved, "the next start asks no modem"

    run(scenario())

    assert "obtained on another board" in caplog.text


def test_S19_a_copied_card_is_not_used_and_makes_one_call_for_the_new_identity(
    gateway: ProvisioningBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def scenario() -> None:
        original = await provisioned(gateway)
        copy = tmp_path_factory.mktemp("copy") / "state"
        shutil.copytree(gateway.state_dir, copy)
        gateway.state_dir, gateway.board = copy, "board-2"
        gateway.modem = [OTHER_MODEM]
        gateway.reboot()
        calls, start_s = len(gateway.calls), asyncio.get_running_loop().time()
        assert await gateway.start().stored() is None
        own = await gateway.start().obtain()

        assert own.hardware_id == OTHER_IMEI.digits
        assert own.credentials.client_id != original.credentials.client_id
        assert len(gateway.calls) == calls + 1
        assert gateway.calls[-1] - start_s <= 60, "the splay, not the original's waits"
        assert await gateway.start().stored() == own

    run(scenario())


def test_S19_a_single_wrong_reading_decides_nothing(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway)
        gateway.board = "board-2"
        gateway.modem = [OTHER_MODEM, MODEM, MODEM]
        moved = await gateway.start().stored()

        assert moved is not None
        assert moved.credentials == stored.credentials

    run(scenario())


def test_S19_a_copied_card_waits_for_a_modem_that_comes_late(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        await provisioned(gateway)
        gateway.board = "board-2"
        gateway.modem = [*[ModemAbsent()] * 10, MODEM]

        assert await gateway.start().stored()
        assert Event.BACKOFF in [each.event for each in gateway.dispatched]

    run(scenario())


@pytest.mark.parametrize(("stored_on", "now_on"), [("", ""), ("", "board-1"), ("board-1", "")])
def test_FR40_invariant_10_a_serial_number_that_cannot_be_read_is_not_another_board(
    gateway: ProvisioningBench, stored_on: str, now_on: str
) -> None:

    async def scenario() -> None:
        gateway.board = stored_on
        await provisioned(gateway)
        gateway.board, gateway.reads = now_on, 0

        assert await gateway.start().stored()
        assert gateway.reads == 0

    run(scenario())


def test_invariant_10_B32_a_swapped_modem_is_only_logged(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway)
        gateway.modem, gateway.reads = [OTHER_MODEM], 0
        provisioner, calls = gateway.start(), len(gateway.calls)
        assert await provisioner.stored() == stored
        await provisioner.identification.compare(stored)
        await provisioner.identification.compare(stored)

        assert gateway.reads == 1
        assert len(gateway.calls) == calls

    run(scenario())

    [reported] = [record.message for record in caplog.records if "modem now says" in record.message]
    assert str(OTHER_IMEI) in reported
    assert str(IMEI) in reported
    assert OTHER_IMEI.digits not in reported


@pytest.mark.parametrize("modem", [MODEM, ModemAbsent()], ids=["the same", "absent"])
def test_invariant_10_the_same_modem_or_none_is_no_news(
    gateway: ProvisioningBench, modem: Identity | ModemAbsent, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway)
        gateway.modem = [modem]
        caplog.clear()
        await gateway.start().identification.compare(stored)

    with caplog.at_level(logging.INFO):
        run(scenario())

    assert not caplog.records


def test_users_15_a_forced_call_for_another_modem_keeps_the_old_ones_until_it_succeeds(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        stored = await provisioned(gateway)
        gateway.modem = [OTHER_MODEM]
        gateway.answer = lambda: Reply(403, {}, f"token {TOKEN.reveal()}".encode())
        with pytest.raises(Exception, match=r"\*\*\*"):
            await gateway.start().once()
        assert current(gateway) == stored

        gateway.answer = None
        new = await gateway.start().once()
        assert new.hardware_id == OTHER_IMEI.digits
        assert CredentialStore(gateway.state_dir).load_previous() == stored

    run(scenario())
