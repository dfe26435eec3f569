"""Provisioning in virtual time: few calls at any fault, and none without need."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from tests.support.provisioning_bench import (
    AUTHORITY,
    DAY_S,
    HOUR_S,
    IMEI,
    START_UNIX_S,
    ProvisioningBench,
    ended_after,
    raises,
    run,
)
from ztpd.errors import (
    ConnectTimeout,
    CredentialsLost,
    ModemAbsent,
    ModemAmbiguous,
    ResolveFailed,
    ZtpKeyMismatch,
    ZtpNotListed,
)
from ztpd.lifecycle import Event
from ztpd.model import Identity, Secret
from ztpd.provisioning.reply import Reply
from ztpd.sim.authority import Authority
from ztpd.sim.portal import TOKEN, Profile

OVER = "log.outage_over"
DEAD = raises(ConnectTimeout)
REFUSING = lambda: Reply(403, {}, b"Device hardware code not whitelisted")  # noqa: E731
THROTTLING = lambda: Reply(429, {"retry-after": "120"}, b"")  # noqa: E731
THROTTLING_SILENTLY = lambda: Reply(429, {}, b"")  # noqa: E731
ABSURD = lambda: Reply(503, {"retry-after": "1000000000"}, b"")  # noqa: E731


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory: these tests would else wait for a disk thousands of times."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        yield Path(name)


@pytest.fixture
def gateway(tmp_path: Path) -> ProvisioningBench:
    return ProvisioningBench(tmp_path)


def test_a_new_gateway_calls_once_and_stores_the_answer(gateway: ProvisioningBench) -> None:
    stored = run(gateway.start().obtain())

    assert len(gateway.calls) == 1
    assert run(gateway.start().stored()) == stored
    assert (stored.hardware_id, stored.board) == (IMEI.digits, "board-1")


def test_P3_B33_a_provisioned_gateway_neither_calls_nor_asks_its_modem(
    gateway: ProvisioningBench,
) -> None:
    run(gateway.start().obtain())
    gateway.reads = 0
    for _ in range(100):
        assert run(gateway.start().stored())

    assert len(gateway.calls) == 1
    assert gateway.reads == 0


def test_G96_a_clock_at_1970_is_waited_for_and_no_timer_goes_by_it(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, splay_s=0)
    gateway.clock_off_s = -START_UNIX_S

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(20, setattr, gateway, "clock_off_s", 0)
        await gateway.start().obtain()
        return loop.time()

    assert 20 <= run(scenario()) <= 20 + 60
    assert len(gateway.calls) == 1
    assert gateway.calls[0] >= 20


def test_the_first_call_is_spread_over_the_splay(tmp_path: Path) -> None:
    firsts = []
    for seed in range(40):
        gateway = ProvisioningBench(tmp_path / str(seed), seed=seed, splay_s=600)
        gateway.state_dir.mkdir(mode=0o700)
        run(gateway.start().obtain())
        firsts.append(gateway.calls[0])

    assert min(firsts) < 90
    assert max(firsts) > 510
    assert max(firsts) <= 600


@pytest.mark.parametrize("clock", ["goes on", "starts anew at each boot"])
def test_FR43_the_rest_of_the_splay_survives_power_cuts(tmp_path: Path, clock: str) -> None:
    """Power for twenty minutes at a time: the first call comes when the splay has passed, by the
    time the gateway was on."""

    async def scenario(gateway: ProvisioningBench) -> None:
        while not gateway.calls:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1200):
                    await gateway.start().obtain()
            gateway.reboot()
            if clock != "goes on":
                gateway.clock_off_s = -asyncio.get_running_loop().time()

    for seed in range(10):
        gateway = ProvisioningBench(tmp_path / str(seed), seed=seed, splay_s=14_400)
        gateway.state_dir.mkdir(mode=0o700)
        run(scenario(gateway))
        assert gateway.calls[0] <= 2 * 14_400, "at most ten minutes of twenty are lost by a cut"


def test_FR43_a_person_who_asks_ends_the_splay(tmp_path: Path) -> None:
    async def scenario(gateway: ProvisioningBench) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await gateway.start().obtain()
        provisioner = gateway.start()
        provisioner.pacing.retry_now()
        await provisioner.obtain()

    gateway = ProvisioningBench(tmp_path, splay_s=14_400)
    run(scenario(gateway))
    assert gateway.calls == [pytest.approx(60, abs=1)]


def test_FR64_a_try_that_a_person_asks_for_makes_no_wait_longer(tmp_path: Path) -> None:
    """The person is too early five times, and then puts the IMEI on the allowlist."""
    waits_s: list[float] = []

    async def scenario(gateway: ProvisioningBench) -> None:
        provisioner = gateway.start()
        for _ in range(6):
            calls = len(gateway.calls)
            trying = asyncio.create_task(provisioner.obtain())
            while len(gateway.calls) == calls:
                await asyncio.sleep(1)
            await asyncio.sleep(120)
            trying.cancel()
            waits_s.extend(each.wait_s for each in gateway.dispatched[-1:] if each.wait_s)
            provisioner.pacing.retry_now()

    gateway = ProvisioningBench(tmp_path, splay_s=0)
    gateway.answer = REFUSING
    run(scenario(gateway))
    assert len(waits_s) == 6
    assert max(waits_s) <= 1.5 * HOUR_S


def test_without_splay_the_first_call_comes_at_once(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, splay_s=0)
    run(gateway.start().obtain())

    assert gateway.calls == [0]


@pytest.mark.parametrize(
    ("answer", "most_in_an_hour", "most_in_a_day"),
    [
        pytest.param(DEAD, 13, 65, id="dead"),
        pytest.param(REFUSING, 3, 5, id="refusing"),
        pytest.param(THROTTLING, 13, 65, id="throttling"),
        pytest.param(THROTTLING_SILENTLY, 13, 65, id="throttling silently"),
        pytest.param(ABSURD, 1, 2, id="asking for thirty years"),
    ],
)
def test_P5_a_service_that_does_not_help_is_asked_seldom(
    tmp_path: Path, answer: Callable[[], Reply], most_in_an_hour: int, most_in_a_day: int
) -> None:
    for seed in range(5):
        gateway = ProvisioningBench(tmp_path / str(seed), seed=seed)
        gateway.state_dir.mkdir(mode=0o700)
        gateway.answer = answer
        run(ended_after(gateway.start().obtain(), DAY_S))

        assert sum(at_s < HOUR_S for at_s in gateway.calls) <= most_in_an_hour
        assert 1 <= len(gateway.calls) <= most_in_a_day


def test_P5_an_answer_that_this_machine_cannot_check_is_asked_for_seldom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where sysctl vm.memfd_noexec is 2."""

    def forbidden(*_: object) -> int:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "memfd_create", forbidden)
    gateway = ProvisioningBench(tmp_path, profile=Profile(protocol="both"))
    assert not run(ended_after(gateway.start().obtain(), DAY_S))
    assert 10 < len(gateway.calls) <= 65


def test_N24_a_retry_after_is_a_floor_with_jitter(gateway: ProvisioningBench) -> None:
    gateway.answer = THROTTLING
    run(ended_after(gateway.start().obtain(), DAY_S))

    waits = [
        later - earlier for earlier, later in zip(gateway.calls, gateway.calls[1:], strict=False)
    ]
    assert min(waits) >= 120
    assert len({round(wait) for wait in waits}) > 5


@pytest.mark.parametrize(
    "answer", [DEAD, REFUSING, THROTTLING], ids=["dead", "refusing", "throttling"]
)
@pytest.mark.parametrize("reboot", [False, True], ids=["restart", "reboot"])
@pytest.mark.parametrize("every_s", [200.0, 900.0])
def test_D08_D15_a_loop_of_restarts_makes_no_more_calls(
    tmp_path: Path, answer: Callable[[], Reply], reboot: bool, every_s: float
) -> None:
    steady = ProvisioningBench(tmp_path / "steady")
    looping = ProvisioningBench(tmp_path / "looping")
    for each in (steady, looping):
        each.state_dir.mkdir(mode=0o700)
        each.answer = answer

    async def loop() -> None:
        for _ in range(int(DAY_S / every_s)):
            await ended_after(looping.start().obtain(), every_s)
            if reboot:
                looping.reboot()

    run(ended_after(steady.start().obtain(), DAY_S))
    run(loop())

    assert 1 <= len(looping.calls) <= max(len(steady.calls) * 1.3, 5)


@pytest.mark.parametrize("process", ["of one run", "of one call"])
def test_D08_a_crash_in_every_call_makes_no_more_calls(
    gateway: ProvisioningBench, process: str
) -> None:
    def crash() -> Reply:
        raise RuntimeError

    gateway.answer = crash

    async def loop() -> None:
        end_s = asyncio.get_running_loop().time() + DAY_S
        provisioner = gateway.start()
        while asyncio.get_running_loop().time() < end_s:
            with pytest.raises((RuntimeError, TimeoutError)):
                async with asyncio.timeout(DAY_S):
                    await provisioner.obtain()
            await asyncio.sleep(10)  # RestartSec=, or the daemon's own restart of the activity
            if process == "of one call":
                provisioner = gateway.start()

    run(loop())

    assert len(gateway.calls) <= 65


def test_N28_a_proxy_in_the_environment_is_named_once_in_an_outage(
    gateway: ProvisioningBench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The call itself is made in another process, which logs failures of its own alone."""
    monkeypatch.setenv("HTTPS_PROXY", "http://user:secret@127.0.0.1:1")
    gateway.answer = DEAD
    with caplog.at_level(logging.INFO):
        run(ended_after(gateway.start().obtain(), DAY_S))

    assert len(gateway.calls) > 1
    assert caplog.messages.count("HTTPS_PROXY is set and not used") == 1
    assert "secret" not in caplog.text


def test_N01_N02_without_network_ztpd_tries_often_and_no_try_counts(
    gateway: ProvisioningBench,
) -> None:
    gateway.answer = raises(ResolveFailed)

    async def scenario() -> None:
        await ended_after(gateway.start().obtain(), HOUR_S)
        tried = len(gateway.calls)
        gateway.answer = None
        await gateway.start().obtain()

        assert tried > 60
        assert gateway.calls[-1] - HOUR_S <= 120

    run(scenario())


def test_a_gateway_without_modem_waits_for_it_and_says_so(gateway: ProvisioningBench) -> None:
    gateway.modem = [*[ModemAbsent()] * 20, Identity(IMEI, "the modem")]
    run(gateway.start().obtain())

    waits = [each for each in gateway.dispatched if isinstance(each.error, ModemAbsent)]
    assert len(waits) == 20
    assert max(each.wait_s or 0 for each in waits) <= 60
    assert len(gateway.calls) == 1


def test_Z04_a_person_who_helped_need_not_wait(gateway: ProvisioningBench) -> None:
    gateway.portal.profile = Profile(allowlist=frozenset())

    async def scenario() -> None:
        await ended_after(gateway.start().obtain(), 120)
        gateway.portal.profile = Profile()
        provisioner = gateway.start()
        provisioner.pacing.retry_now()
        await provisioner.obtain()

        assert len(gateway.calls) == 2
        assert gateway.calls[1] <= 121

    run(scenario())


def configured_anew(gateway: ProvisioningBench) -> None:
    gateway.config = replace(gateway.config, ztp=replace(gateway.config.ztp, tags=("north",)))


def given_the_right_token(gateway: ProvisioningBench) -> None:
    gateway.token = TOKEN


def allowed_the_host(gateway: ProvisioningBench) -> None:
    gateway.config = replace(
        gateway.config, ztp=replace(gateway.config.ztp, allowed_hosts=("localhost",))
    )


@pytest.mark.parametrize("cure", [given_the_right_token, configured_anew, allowed_the_host])
def test_Z02_a_new_token_or_setting_ends_the_wait_of_the_old_one(
    gateway: ProvisioningBench, cure: Callable[[ProvisioningBench], None]
) -> None:
    async def scenario() -> None:
        gateway.token = Secret("11111111-2222-4333-8444-555555555555")
        assert not await ended_after(gateway.start().obtain(), 300)
        assert not await ended_after(gateway.start().obtain(), 300), (
            "a mere restart changes nothing"
        )
        assert len(gateway.calls) == 1
        cure(gateway)
        gateway.portal.profile = Profile(token=gateway.token)
        assert await ended_after(gateway.start().obtain(), gateway.config.ztp.splay_s + 1)

    run(scenario())
    assert len(gateway.calls) == 2


@pytest.mark.parametrize("cure", [given_the_right_token, configured_anew])
def test_Z02_a_cure_that_comes_while_a_call_waits_for_the_clock_ends_the_wait_after_it(
    tmp_path: Path, cure: Callable[[ProvisioningBench], None]
) -> None:
    """That call goes out as it was planned, and its refusal says nothing about the cure."""
    gateway = ProvisioningBench(
        tmp_path, splay_s=0, url="https://ztp.example", allowed_hosts=("localhost",)
    )
    gateway.synchronised = False

    async def scenario() -> None:
        gateway.token = Secret("11111111-2222-4333-8444-555555555555")
        provisioner = gateway.start()
        obtaining = asyncio.create_task(ended_after(provisioner.obtain(), 300))
        await asyncio.sleep(60)
        assert not gateway.calls
        cure(gateway)
        gateway.portal.profile = Profile(token=gateway.token)
        provisioner.reconfigured(gateway.config)
        gateway.answer = lambda: Reply(401, {}, b"Unauthorized")
        assert not await obtaining
        assert len(gateway.calls) == 1
        gateway.answer, gateway.synchronised = None, True
        assert await ended_after(provisioner.obtain(), 61)

    run(scenario())
    assert len(gateway.calls) == 2


async def days_until_provisioned(
    gateway: ProvisioningBench, on_h: float, wake: Callable[[], object]
) -> int:
    """The portal refuses a gateway until the third day. It is on for ``on_h`` a day, from ``wake``
    on."""
    gateway.portal.profile = Profile(allowlist=frozenset())
    for day in range(10):
        if day == 2:
            gateway.portal.profile = Profile()
        wake()
        if await ended_after(gateway.start().obtain(), on_h * HOUR_S):
            return day
        await asyncio.sleep(DAY_S - on_h * HOUR_S)
        gateway.reboot()
    return 99


@pytest.mark.parametrize("on_h", [0.5, 4, 8, 11])
def test_a_gateway_whose_power_is_cut_every_evening_asks_again_all_the_same(
    gateway: ProvisioningBench, on_h: float
) -> None:
    assert run(days_until_provisioned(gateway, on_h, lambda: None)) <= 4


@pytest.mark.parametrize("on_h", [0.5, 8])
def test_a_clock_that_is_set_after_each_start_shows_that_the_wait_is_over(
    gateway: ProvisioningBench, on_h: float
) -> None:
    """As above without a clock chip: each start has the image's date until the network comes."""

    def with_the_images_date() -> None:
        loop = asyncio.get_running_loop()
        gateway.clock_off_s = -loop.time()
        loop.call_later(120, setattr, gateway, "clock_off_s", 0.0)

    assert run(days_until_provisioned(gateway, on_h, with_the_images_date)) <= 4


def test_after_a_power_cut_the_reason_of_the_wait_is_reported_again(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        gateway.portal.profile = Profile(allowlist=frozenset())
        await ended_after(gateway.start().obtain(), HOUR_S / 2)
        gateway.reboot()
        gateway.dispatched.clear()
        await ended_after(gateway.start().obtain(), 60)

    run(scenario())
    waiting = [each for each in gateway.dispatched if each.wait_s]
    assert [each.event for each in waiting] == [Event.BLOCKED]
    assert isinstance(waiting[0].error, ZtpNotListed)
    assert waiting[0].error.age_s == pytest.approx(HOUR_S / 2, abs=60), "since the answer"


def test_S09_a_store_that_others_can_read_costs_no_more_calls(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        provisioner = gateway.start()
        gateway.state_dir.chmod(0o755)
        assert not await ended_after(provisioner.obtain(), DAY_S)
        assert len(gateway.calls) == 1
        gateway.state_dir.chmod(0o700)
        stored = await provisioner.obtain()
        assert await gateway.start().stored() == stored

    run(scenario())
    assert len(gateway.calls) == 1


def test_N01_boots_without_network_do_not_count_as_failures_of_the_service(tmp_path: Path) -> None:
    async def scenario(gateway: ProvisioningBench) -> float:
        gateway.answer = raises(ResolveFailed)
        for _ in range(12):
            await ended_after(gateway.start().obtain(), 200)
            await asyncio.sleep(HOUR_S)
            gateway.reboot()
        gateway.answer = None
        began_s = asyncio.get_running_loop().time()
        await gateway.start().obtain()
        return asyncio.get_running_loop().time() - began_s

    for seed in range(8):
        directory = tmp_path / str(seed)
        directory.mkdir(mode=0o700)
        assert run(scenario(ProvisioningBench(directory, seed=seed))) <= 60


def test_a_reload_reaches_the_calls_that_are_planned(gateway: ProvisioningBench) -> None:
    provisioner, ztp = gateway.start(), gateway.config.ztp
    other = replace(ztp, url="https://other.example")
    provisioner.reconfigured(replace(gateway.config, ztp=other))

    request = provisioner.request(Identity(IMEI, "the modem"))
    assert request.url.startswith("https://other.example/")


def test_several_modems_need_a_person(gateway: ProvisioningBench) -> None:
    gateway.modem = [ModemAmbiguous("two of them")]
    run(ended_after(gateway.start().obtain(), 600))

    assert {each.event for each in gateway.dispatched if each.error} == {Event.BLOCKED}


def test_tokens_tried_one_after_the_other_make_one_call_a_minute(
    gateway: ProvisioningBench,
) -> None:
    async def scenario() -> None:
        for digit in "123456789a":
            gateway.token = Secret(f"{digit * 8}-2222-4333-8444-555555555555")
            await ended_after(gateway.start().obtain(), 100)

    run(scenario())
    assert 5 <= len(gateway.calls) <= 10
    assert min(later - earlier for earlier, later in pairwise(gateway.calls)) >= 60


def test_even_a_person_has_the_service_asked_once_a_minute_only(gateway: ProvisioningBench) -> None:
    async def scenario() -> None:
        provisioner = gateway.start()
        assert not provisioner.pacing.rate_limit_reason()
        await provisioner.once()
        assert provisioner.pacing.rate_limit_reason() == (
            "the provisioning service was asked 0 s ago, and may be asked again in 60 s"
        )
        await asyncio.sleep(59)
        assert gateway.start().pacing.rate_limit_reason()
        await asyncio.sleep(1)
        assert not gateway.start().pacing.rate_limit_reason()

    run(scenario())


def test_a_call_that_failed_for_a_person_is_not_repeated_by_the_daemon_at_once(
    gateway: ProvisioningBench,
) -> None:
    gateway.portal.profile = Profile(allowlist=frozenset())

    async def scenario() -> None:
        with pytest.raises(ZtpNotListed):
            await gateway.start().once()
        await ended_after(gateway.start().obtain(), 1700)

    run(scenario())

    assert len(gateway.calls) == 1


def test_the_states_of_a_first_provisioning(gateway: ProvisioningBench) -> None:
    run(gateway.start().obtain())

    assert [each.event for each in gateway.dispatched] == [
        Event.IDENTIFY,
        Event.BACKOFF,
        Event.PROVISION,
        Event.PROVISION,  # stores them
    ]


def test_Z10_an_answer_that_cannot_be_used_leaves_nothing_on_the_disk(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, profile=Profile(protocol="mqtt", format="spartn"))

    async def scenario() -> None:
        await gateway.start().once()
        await asyncio.sleep(DAY_S)
        other = gateway.portal.things[IMEI.digits].credentials
        other["privateKey"] = Authority().client("x").private_key.reveal()
        before = {path.name: path.read_bytes() for path in tmp_path.glob("credentials*")}
        with pytest.raises(ZtpKeyMismatch):
            await gateway.start().once()

        assert before == {path.name: path.read_bytes() for path in tmp_path.glob("credentials*")}

    run(scenario())


def test_users_12_many_gateways_get_a_thing_each_and_the_same_one_again(tmp_path: Path) -> None:
    from ztpd.model import Imei, luhn_digit

    rng = random.Random(1)
    gateway = ProvisioningBench(tmp_path)
    bodies = {f"35{rng.randrange(10**12):012d}" for _ in range(30)}
    for body in bodies:
        gateway.modem = [Identity(Imei(body + luhn_digit(body)), "the modem")]
        run(gateway.start().once())
    first = {key: thing.client_id for key, thing in gateway.portal.things.items()}
    for body in bodies:
        gateway.modem = [Identity(Imei(body + luhn_digit(body)), "the modem")]
        run(gateway.start().once())

    assert len(first) == len(bodies)
    assert first == {key: thing.client_id for key, thing in gateway.portal.things.items()}


BROKEN_MQTT = {
    "another key": {"privateKey": AUTHORITY.client("x").private_key.reveal()},
    "no key": {"privateKey": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
    "not PEM": {"certificate": "certainly!"},
    "cut short": {"certificate": "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"},
}


@pytest.mark.parametrize("broken", BROKEN_MQTT)
def test_FR91_a_sound_ntrip_account_is_used_beside_an_unusable_mqtt_pair(
    tmp_path: Path, broken: str, caplog: pytest.LogCaptureFixture
) -> None:
    gateway = ProvisioningBench(tmp_path, profile=Profile(protocol="both"))

    async def scenario() -> None:
        await gateway.start().once()
        gateway.portal.things[IMEI.digits].credentials |= BROKEN_MQTT[broken]
        await asyncio.sleep(DAY_S)
        stored = await gateway.start().once()
        assert stored.credentials.ntrip
        assert stored.credentials.mqtt is None
        assert stored.expires_unix_s is None
        assert await gateway.start().stored() == stored, "after a restart, too"

    with caplog.at_level(logging.WARNING):
        run(scenario())

    assert "but one cannot be used: " in caplog.text
    assert "certificate" in caplog.text or "key" in caplog.text


def test_FR91_an_unusable_mqtt_pair_alone_is_refused(tmp_path: Path) -> None:
    gateway = ProvisioningBench(tmp_path, profile=Profile(protocol="mqtt", format="spartn"))

    async def scenario() -> None:
        await gateway.start().once()
        gateway.portal.things[IMEI.digits].credentials |= BROKEN_MQTT["another key"]
        await asyncio.sleep(DAY_S)
        with pytest.raises(ZtpKeyMismatch):
            await gateway.start().once()

    run(scenario())


def outages_over(caplog: pytest.LogCaptureFixture) -> list[str]:
    over = [each for each in caplog.records if each.__dict__.get("ZTPD_EVENT") == OVER]
    return [str(each.__dict__["ZTPD_ERROR"]).split(":")[0] for each in over]


def test_FR71_another_start_of_provisioning_says_no_outage_over(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    """As `ztpd retry` does: the identity is read again, and the call fails as before."""
    caplog.set_level(logging.INFO)
    gateway.answer = DEAD
    provisioner = gateway.start()

    async def scenario() -> None:
        for _ in range(2):
            assert not await ended_after(provisioner.obtain(), HOUR_S)

    run(scenario())

    assert not outages_over(caplog)


def test_FR71_the_end_of_a_modem_outage_is_told_before_the_call(
    gateway: ProvisioningBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    gateway.modem = [ModemAbsent("/dev/ttyUSB2"), ModemAbsent("/dev/ttyUSB2"), gateway.modem[0]]
    gateway.answer = DEAD

    assert not run(ended_after(gateway.start().obtain(), HOUR_S))

    assert outages_over(caplog) == [ModemAbsent.summary]


def test_a_gateway_whose_disk_loses_credentials_says_so_while_it_waits(
    gateway: ProvisioningBench, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run(gateway.start().once())
    (tmp_path / "credentials.json").unlink()
    gateway.dispatched.clear()

    assert not run(ended_after(gateway.start().obtain(), HOUR_S))

    waits = [each for each in gateway.dispatched if each.wait_s]
    assert [(each.event, type(each.error)) for each in waits] == [(Event.BACKOFF, CredentialsLost)]
    assert waits[0].wait_s == pytest.approx(DAY_S, abs=60)
    said = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert said == [f"{CredentialsLost.summary}; next try in 24 h. {CredentialsLost.advice}"]


@pytest.mark.parametrize("ahead_s", [0.0, 100 * DAY_S])
def test_C10_lost_credentials_are_replaced_a_day_after_a_call_though_no_run_lasts_a_day(
    gateway: ProvisioningBench, ahead_s: float
) -> None:
    """The clock was ahead at the call, and is right from the next power-up on."""

    async def scenario() -> None:
        gateway.clock_off_s = ahead_s
        await gateway.start().obtain()
        for file in gateway.state_dir.glob("credentials*"):
            file.unlink()
        gateway.clock_off_s = 0.0
        days = 0
        while len(gateway.calls) == 1:
            days += 1
            gateway.reboot()
            gateway.clock_off_s += 16 * HOUR_S  # so long it is off
            await ended_after(gateway.start().obtain(), 8 * HOUR_S)
            assert days <= 2
        assert len(gateway.calls) == 2
        assert days * 16 * HOUR_S + gateway.calls[1] - gateway.calls[0] >= DAY_S - 2

    run(scenario())
