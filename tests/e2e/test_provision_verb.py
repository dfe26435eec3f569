"""``ztpd provision`` for a person: message and exit status of each refusal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.services import services, state
from tests.support.until import until
from ztpd.cli import main
from ztpd.provisioning.pacing import SCHEDULE_FILE
from ztpd.provisioning.schedule import Schedule
from ztpd.sim.portal import TOKEN, Profile
from ztpd.sim.ztp_service import Answer, Bomb, Cut, Fault, Huge, Reset, ZtpService
from ztpd.system.offload import offload

HARDWARE_ID = "490154203237518"


@pytest.fixture(autouse=True)
def _the_log_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("ztpd")
    before = list(root.handlers), root.level, ours.level
    yield
    root.handlers[:] = before[0]
    root.setLevel(before[1])
    ours.setLevel(before[2])


async def provision(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    profile: Profile | None = None,
    fault: Fault | None = None,
    token: str = TOKEN.reveal(),
    words: tuple[str, ...] = (),
) -> int:
    gateway = Gateway(tmp_path)
    gateway.token_file.write_text(token)
    monkeypatch.setenv("STATE_DIRECTORY", str(gateway.state_dir))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    async with ZtpService(
        gateway.authority, profile=profile, script=[fault] if fault else []
    ) as service:
        path = gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
            },
            identity={"source": "fixed", "hardware_id": HARDWARE_ID},
        )
        return await offload(main, ["provision", *words, "--config", str(path)])


REFUSALS = {
    "not-listed": (
        Profile(allowlist=frozenset()),
        None,
        76,
        "to the allowlist of the device profile",
    ),
    "disabled": (Profile(enabled=False), None, 76, "status Enabled"),
    "other-service": (Profile(service="live"), None, 76, "a Flex token does not work for Live"),
    "registered": (None, Answer(403, "Device already registered"), 76, "return existing"),
    "no-plan": (None, Answer(403, "No plan for device device:0"), 76, "give its profile a plan"),
    "unknown-words": (None, Answer(403, "It is raining"), 76, "It is raining"),
    "token": (None, Answer(401, "Unauthorized"), 76, "Compare the token"),
    "hardware-code": (None, Answer(400, "hardwareId required"), 76, "ztpd imei"),
    "not-active": (Profile(auto_activate=False), None, 75, "activate the Thing"),
    "throttled": (None, Answer(429, "", {"Retry-After": "9"}), 75, "splay_s"),
    "server": (None, Answer(503, "<html>"), 75, "Nothing to do"),
    "redirect": (None, Answer(307, headers={"Location": "https://x.example/"}), 76, "x.example"),
    "captive-portal": (None, Answer(200, "<html>hotel</html>"), 75, "Log in to it"),
    "proxy": (None, Answer(407), 75, "a captive portal or proxy answered"),
    "not-json": (None, Answer(200, "certainly"), 75, "no sound JSON object"),
    "schema": (None, Answer(200, '{"weather": "fine"}'), 75, "no field that ztpd knows"),
    "inner-host": (
        None,
        Answer(200, '{"rtcmCredentials":{"endpoint":"8.8.8.8","userName":"u","password":"p"}}'),
        76,
        "allowed_hosts",
    ),
    "too-big": (None, Huge(), 75, "far too large"),
    "coded": (None, Bomb(), 75, "a coded body"),
    "cut": (None, Cut(300), 75, "cut short"),
    "reset": (None, Reset(), 75, "signal strength"),
}


@pytest.mark.parametrize(
    ("profile", "fault", "status", "said"), REFUSALS.values(), ids=REFUSALS.keys()
)
async def test_each_refusal_ends_with_its_status_and_its_remedy(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    profile: Profile | None,
    fault: Fault | None,
    status: int,
    said: str,
) -> None:
    assert await provision(tmp_path, monkeypatch, profile=profile, fault=fault) == status

    reported = capfd.readouterr()
    assert said in reported.err
    assert reported.out == ""
    assert TOKEN.reveal() not in reported.err
    assert not list((tmp_path / "state").glob("credentials*"))


@pytest.mark.parametrize(
    ("token", "status"),
    [("", 78), ("0F1E2D3C-4B5A-4978-8695-A4B3C2D1E0F1", 78), ("password1", 78)],
    ids=["missing", "capitals", "malformed"],
)
async def test_Z14_a_token_that_cannot_be_one_is_not_sent(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    token: str,
    status: int,
) -> None:
    assert await provision(tmp_path, monkeypatch, token=token) == status

    reported = capfd.readouterr().err
    assert "ztpd token set" in reported
    assert not token or token not in reported


async def test_a_missing_authority_is_reported_and_no_call_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(gateway.state_dir))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    path = gateway.configure(
        ztp={
            "url": "https://localhost:9",
            "ca_file": "/nonexistent.pem",
            "token_file": gateway.token_file,
        },
        identity={"source": "fixed", "hardware_id": "gw-1"},
    )

    assert await offload(main, ["provision", "--config", str(path)]) == 78
    assert "/nonexistent.pem" in capfd.readouterr().err
    assert not Schedule(gateway.state_dir / SCHEDULE_FILE).called_for("gw-1")


async def test_success_names_the_transports_of_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert await provision(tmp_path, monkeypatch) == 0

    assert capfd.readouterr().out == "provisioned: NTRIP localhost/NEAR-RTCM\n"


async def test_dry_run_shows_all_but_the_token_and_sends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = Answer(500)
    assert await provision(tmp_path, monkeypatch, fault=refused, words=("--dry-run",)) == 0

    reported = capfd.readouterr().out
    assert HARDWARE_ID in reported
    assert TOKEN.reveal() not in reported


def asks(gateway: Gateway, *words: str) -> int:
    return main(["provision", *words, "--config", str(gateway.top / "ztpd.toml")])


@pytest.mark.parametrize(
    ("profile", "status", "printed"),
    [
        (None, 0, "provisioned: NTRIP localhost/NEAR-RTCM"),
        (Profile(allowlist=frozenset()), 76, "to the allowlist of the device profile"),
    ],
    ids=["provisioned", "refused"],
)
async def test_FR74_with_wait_the_verb_ends_with_the_result_of_the_daemons_call(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    profile: Profile | None,
    status: int,
    printed: str,
) -> None:
    gateway = Gateway(tmp_path)
    monkeypatch.setenv("STATE_DIRECTORY", str(gateway.state_dir))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    gateway.token_file.write_text("")
    async with ZtpService(gateway.authority, profile=profile) as service:
        ztp = {"url": service.url, "ca_file": gateway.ca_file, "token_file": gateway.token_file}
        gateway.configure(
            ztp=ztp | {"splay_s": 0}, identity={"source": "fixed", "hardware_id": HARDWARE_ID}
        )
        async with gateway.running():
            await until(lambda: state(gateway) == "blocked")
            assert await offload(asks, gateway, "--wait") == 78
            missing = capfd.readouterr().out
            gateway.token_file.write_text(TOKEN.reveal())
            assert await offload(asks, gateway, "--wait") == status
            answered = capfd.readouterr().out
            if status:
                assert await offload(asks, gateway, "--wait") == 75
                assert "s ago, and may be asked again in " in capfd.readouterr().out

    assert "no ZTP token" in missing
    assert "ztpd token set" in missing
    assert printed in answered
    assert len(service.calls) == 1


@pytest.mark.slow
async def test_FR74_a_refusal_of_the_daemons_call_is_the_verbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    async with services(tmp_path) as (gateway, service, _):
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
        (gateway.state_dir / "ztp-schedule.json").write_text("{}")  # the last call was long ago
        service.script.append(Answer(403, "No plan for device device:0"))
        async with gateway.running():
            await until(lambda: state(gateway) == "streaming")
            assert await offload(asks, gateway, "--force", "--wait") == 76
            refused = capfd.readouterr().out
            assert await offload(asks, gateway, "--force", "--wait") == 75
            too_soon = capfd.readouterr().out
            await until(lambda: state(gateway) == "streaming")

    assert "give its profile a plan" in refused
    assert "asked 0 s ago, and may be asked again in 60 s" in too_soon
