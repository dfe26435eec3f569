"""The walk along real links: alone, and beside the daemon."""

from __future__ import annotations

import asyncio
import encodings.utf_8_sig  # noqa: F401 - another user may not read it where Python is installed
import grp
import os
import random
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.gateway import Gateway
from tests.support.ptybench import ordinary_user
from tests.support.until import until
from tests.support.usbtree import UsbTree
from tests.support.writer import generation
from ztpd import check, config, status
from ztpd.check import LinkState, Result
from ztpd.errors import PortBusy
from ztpd.modem.at import identity_error
from ztpd.provisioning.store import CredentialStore
from ztpd.serialport import holders
from ztpd.serialport.port import SerialPort
from ztpd.sim import corrections
from ztpd.sim.authority import Authority, server_context
from ztpd.sim.caster import Caster
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.ztp_service import ZtpService
from ztpd.status import Status
from ztpd.system import control
from ztpd.system.clock import Clock
from ztpd.system.control import Verb
from ztpd.system.offload import offload
from ztpd.unit import UnitState


async def rtcm() -> AsyncIterator[bytes]:
    async for piece in corrections.paced(corrections.rtcm(random.Random(1)), speed=5):
        yield piece.data


@asynccontextmanager
async def site(top: Path, **ntrip: Any) -> AsyncIterator[tuple[Gateway, Caster]]:
    """A receiver, and a private caster with TLS."""
    gateway = Gateway(top)
    tls = gateway.authority.server_context()
    async with Caster({"NEAR": rtcm}, tls=tls) as caster, gateway.receiver(speed=5.0):
        given = {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=given | {"ca_file": gateway.ca_file} | ntrip)
        yield gateway, caster


async def walk(gateway: Gateway, daemon: Status | None = None, **given: Any) -> list[Result]:
    stopped = UnitState("loaded", "inactive", "dead")
    return await gateway.checked(daemon, **{"unit": lambda: stopped} | given)


def well(found: list[Result]) -> list[Result]:
    """All but the daemon, which does not run in most of these tests."""
    return [each for each in found if each.layer != "daemon"]


def problem(found: list[Result]) -> Result:
    (one,) = (each for each in well(found) if each.state is LinkState.PROBLEM)
    return one


async def test_a_clock_of_which_nothing_is_known_is_described_in_words(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, _):
        found = await walk(gateway, clock=Clock(synchronised=lambda: None))
    (clock,) = [each for each in found if each.layer == "clock"]
    assert clock.text.endswith(" UTC, not known whether it is synchronised")


async def test_a_chain_that_is_whole_is_walked_to_its_end(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, caster):
        found = await walk(gateway)
        await until(lambda: caster.alive == 0)

    assert [each.layer for each in well(found) if each.state is not LinkState.OK] == []
    assert [each.layer for each in found] == list(check.LINKS)
    texts = {each.layer: each.text for each in found}
    assert "uses them" in texts["use"]
    assert texts["backup"] == "none is configured"


async def test_a_password_file_that_others_may_read_is_named_and_no_problem(tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text("secret of a caster")
    password.chmod(0o644)
    async with site(tmp_path, username="u", password_file=password) as (gateway, _):
        found = await walk(gateway)
    assert [each.layer for each in well(found) if each.state is not LinkState.OK] == []
    (permissions,) = [each for each in found if each.layer == "permissions"]
    assert f"{password} has mode 0644: " in permissions.text
    assert "`chmod 600`" in permissions.text


@pytest.mark.parametrize(
    ("usual", "own", "found"),
    [("spartn", "rtcm", ""), ("rtcm", "spartn", "session.format_excluded")],
)
async def test_the_format_of_a_backup_counts_where_it_has_one(
    usual: str, own: str, found: str, tmp_path: Path
) -> None:
    gateway = Gateway(tmp_path)
    async with Caster({"NEAR": rtcm}) as caster, gateway.receiver(speed=5.0):
        table = {"name": "own", "host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(
            corrections={"format": usual, "stale_after_s": 6},
            backup=[table | {"tls": False, "format": own}],
        )
        (data,) = (each for each in await walk(gateway) if each.layer == "data")
    assert data.event == found
    assert (data.state is LinkState.OK) is (not found)


@pytest.mark.parametrize("position_after_s", [0, 14])
def test_FR112_a_caster_that_waits_for_a_position_is_tried_once_there_is_one(
    position_after_s: float, tmp_path: Path
) -> None:
    async def scenario() -> list[Result]:
        gateway = Gateway(tmp_path)
        async with (
            Caster({"NEAR": rtcm}, needs_gga=True) as caster,
            gateway.receiver() as receiver,
        ):
            receiver.faults.no_sky = True
            own = {"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
            gateway.configure(ntrip=own)

            def get_sky() -> None:
                receiver.faults.no_sky = False

            asyncio.get_running_loop().call_later(position_after_s, get_sky)
            return await walk(gateway)

    found = virtualtime.run(scenario())
    assert [each.layer for each in well(found) if each.state is not LinkState.OK] == []


async def test_each_link_is_printed_as_soon_as_its_result_is_known(tmp_path: Path) -> None:
    reported: list[str] = []
    async with site(tmp_path, mountpoint="FAR") as (gateway, _):
        path = gateway.top / "ztpd.toml"
        walker = check.Check(lambda: config.load(path), state_dir=gateway.state_dir, environ={})
        found = await walker.run(lambda each: reported.append(each.layer))

    assert reported == [each.layer for each in found]


async def test_FR75_a_link_that_needs_the_broken_one_is_not_reached_and_others_are(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, mountpoint="FAR") as (gateway, _):
        found = await walk(gateway)

    broken = problem(found)
    assert (broken.layer, broken.event) == ("login", "ntrip.mountpoint")
    states = {each.layer: each.state for each in found}
    assert (states["data"], states["use"]) == (LinkState.NOT_REACHED, LinkState.NOT_REACHED)
    assert (states["receiver"], states["setup"]) == (LinkState.OK, LinkState.OK)


async def test_FR75_without_a_modem_token_network_and_receiver_are_checked(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    async with ZtpService(gateway.authority) as service, gateway.receiver():
        gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
            },
            identity={"source": "at", "port": tmp_path / "modem", "timeout_s": 5},
        )
        found = await walk(gateway)

    states = {each.layer: each.state for each in found}
    broken = problem(found)
    assert (broken.layer, broken.event) == ("ports", "modem.absent")
    assert states["modem"] is states["credentials"] is states["login"] is LinkState.NOT_REACHED
    for layer in ("token", "dns", "tls", "ztp", "receiver", "setup"):
        assert states[layer] is LinkState.OK, layer


async def test_a_token_that_only_the_daemon_can_read_is_not_judged(tmp_path: Path) -> None:
    """systemd hands it to the daemon, and to no user."""
    gateway = Gateway(tmp_path)
    async with ZtpService(gateway.authority) as service, gateway.receiver():
        gateway.configure(
            ztp={"url": service.url, "ca_file": gateway.ca_file},
            identity={"source": "fixed", "hardware_id": "gateway-7"},
        )
        daemon = status.from_json({"schema": 1, "state": "provisioning"})
        beside = {each.layer: each for each in await walk(gateway, daemon)}["token"]
        alone = {each.layer: each for each in await walk(gateway)}["token"]

    assert (beside.state, beside.text) == (LinkState.OK, "nothing reported by the daemon")
    assert (alone.state, alone.event) == (LinkState.PROBLEM, "ztp.token_missing")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes a device node")
async def test_FR49_a_console_on_a_port_is_named_as_opening_it_would(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    port = tmp_path / "ttyAMA0"
    os.mknod(port, stat.S_IFCHR | 0o620, os.makedev(1, 3))
    os.chown(port, 0, grp.getgrnam("tty").gr_gid)
    gateway.configure(identity={"source": "at", "port": port, "timeout_s": 5})

    (broken,) = (each for each in await walk(gateway) if each.layer == "ports")

    with pytest.raises(PortBusy, match="by a login console") as busy:
        await SerialPort.open(str(port), 115200)
    expected = identity_error(busy.value)
    assert (broken.state, broken.event) == (LinkState.PROBLEM, "modem.busy")
    assert (broken.text, broken.advice) == (str(expected), expected.advice)


async def test_beside_the_daemon_nothing_of_the_daemons_is_touched(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, caster), gateway.running():
        await until(lambda: gateway.status.get("receiver", {}).get("use") == "used")
        answer = await offload(control.ask, gateway.runtime_dir, {"do": Verb.STATUS})
        sessions, commands = caster.sessions, len(caster.requests)
        found = await walk(gateway, status.from_json(answer["status"]))
        await asyncio.sleep(0.2)

        assert [each.layer for each in found if each.state is not LinkState.OK] == []
        assert (caster.sessions, len(caster.requests)) == (sessions, commands) == (1, 1)
        assert gateway.status["state"] == "streaming"
    assert "held by the daemon" in next(each.text for each in found if each.layer == "ports")


async def test_the_provisioning_service_is_connected_to_and_not_called(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    async with (
        ZtpService(gateway.authority) as service,
        SimModem(tmp_path / "modem", SARA_R5, scale=0.05),
        gateway.receiver(),
    ):
        gateway.configure(
            ztp={
                "url": service.url,
                "ca_file": gateway.ca_file,
                "token_file": gateway.token_file,
            },
            identity={"source": "at", "port": tmp_path / "modem"},
        )
        found = await walk(gateway)

        assert problem(found).event == "credentials.none"
        assert (service.connections, service.requests) == (1, 0)
    assert next(each.text for each in found if each.layer == "modem").startswith("49015420*****18")


@pytest.mark.parametrize(("wanted", "word"), [(True, "not sealed, though"), (False, "")])
async def test_credentials_in_clear_text_are_named_where_they_should_be_sealed(
    tmp_path: Path, wanted: bool, word: str
) -> None:
    gateway = Gateway(tmp_path)
    gateway.configure(ztp={"seal_credentials": wanted})
    CredentialStore(gateway.state_dir).save(generation(1))
    found = await walk(gateway)
    text = next(each.text for each in found if each.layer == "permissions")

    assert word in text
    assert ("sealed" in text) is wanted


async def test_a_past_cause_is_reported_as_past(tmp_path: Path) -> None:
    reason = {"event": "net.dns", "text": "no such name", "advice": "Check DNS."}
    async with site(tmp_path) as (gateway, _):
        reported = {"state": "waiting", "reason": reason, "pid": os.getpid()}
        found = await walk(gateway, status.from_json(reported))

    broken = problem(found)
    assert (broken.layer, broken.event) == ("login", "net.dns")
    assert "ztpd retry" in broken.advice


async def test_FR65_a_silent_server_is_not_said_to_work(tmp_path: Path) -> None:
    reason = {"event": "net.timeout", "text": "no answer in time", "advice": "Check firewalls."}
    async with site(tmp_path) as (gateway, _):
        reported = {"state": "waiting", "reason": reason, "pid": os.getpid()}
        found = await walk(gateway, status.from_json(reported))

    broken = problem(found)
    assert (broken.layer, broken.event) == ("login", "net.timeout")
    assert broken.advice == (
        "DNS, TCP and TLS work at present; no request was sent. Check firewalls."
    )


async def test_C01_a_clock_at_1970_is_found_before_the_network_is_blamed(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, _):
        found = await walk(gateway, clock=Clock(now=lambda: 12.0))

    assert problem(found).event == "clock.unset"


async def test_a_wrong_configuration_is_reported_first(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path)
    gateway.configure(ntrip={"port": "many"})
    found = await walk(gateway)

    assert problem(found) is found[0]
    assert "ntrip.port" in found[0].text


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_unprivileged_user_is_asked_to_run_it_as_root(open_path: Path) -> None:
    gateway = Gateway(open_path)
    gateway.configure()
    with ordinary_user():
        found = asyncio.run(walk(gateway))

    assert problem(found).event == "check.not_permitted"


async def test_FR67_a_service_that_is_stopped_is_a_broken_link(tmp_path: Path) -> None:
    masked = UnitState("masked", "inactive", "dead")
    async with site(tmp_path) as (gateway, _):
        found = await walk(gateway, unit=lambda: masked)

    assert {each.state for each in well(found)} == {LinkState.OK}
    assert (found[-1].state, found[-1].event) == (LinkState.PROBLEM, "control.not_running")
    assert found[-1].text == "ztpd.service is masked"
    assert "unmask" in found[-1].advice


@pytest.mark.parametrize(
    ("is_foreign", "ends", "event", "shown", "advice"),
    [
        (True, None, "tls.untrusted", "to 3000-01-01", "intercepts TLS"),
        (False, datetime(2001, 2, 3), "tls.clock", "to 2001-02-03", "must renew its certificate"),
    ],
    ids=["interceptor", "expired"],
)
async def test_FR70_the_certificate_that_a_server_shows_is_described(
    tmp_path: Path, is_foreign: bool, ends: datetime | None, event: str, shown: str, advice: str
) -> None:
    gateway = Gateway(tmp_path)
    authority = Authority() if is_foreign else gateway.authority
    tls = server_context(authority.server("localhost", not_after=ends))
    async with Caster({"NEAR": rtcm}, tls=tls) as caster:
        ntrip = {"host": "localhost", "port": caster.port, "mountpoint": "NEAR"}
        gateway.configure(ntrip=ntrip | {"ca_file": gateway.ca_file})
        found = await walk(gateway)

    (broken,) = (each for each in found if each.layer == "tls")
    assert (broken.state, broken.event) == (LinkState.PROBLEM, event)
    assert 'a certificate for "trustme' in broken.text
    assert 'issued by "trustme' in broken.text
    assert shown in broken.text
    assert advice in broken.advice
    assert caster.sessions == 0


async def test_Q04_a_key_of_another_certificate_at_a_private_broker_is_no_matter_of_the_portal(
    tmp_path: Path,
) -> None:
    gateway = Gateway(tmp_path)
    certificate, _ = gateway.authority.client("gateway").write(tmp_path, "one")
    _, key = gateway.authority.client("gateway").write(tmp_path, "other")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        mqtt = {"host": "localhost", "port": listening.getsockname()[1], "topics": ["base"]}
        pair = {"cert_file": certificate, "key_file": key}
        gateway.configure(mqtt=mqtt | pair | {"ca_file": gateway.ca_file})
        found = await walk(gateway)

    (broken,) = (each for each in found if each.layer == "tls")
    assert (broken.state, broken.event) == (LinkState.PROBLEM, "mqtt.account_refused")
    assert "key values mismatch" in broken.text
    assert "portal" not in broken.advice


async def test_FR68_the_holder_of_a_port_that_was_looked_for_is_named(tmp_path: Path) -> None:
    """The daemon may not see processes of other users; root may."""
    gateway, tree = Gateway(tmp_path), UsbTree(tmp_path / "tree")
    tree.plug("1546:01a9", {0: "ttyACM0"}, driver="cdc_acm")
    (tree.root / "dev/ttyACM0").symlink_to(gateway.gnss.path)
    gateway.configure(
        receiver={"port": "auto"}, ntrip={"host": "127.0.0.1", "mountpoint": "NEAR", "tls": False}
    )
    unseen = {"event": "serial.busy", "text": "held by a process of another user"}
    told = status.from_json({"schema": 1, "state": "waiting", "receiver_problem": unseen})
    async with gateway.gnss:
        free = await walk(gateway, told, root=tree.root)
        holding = f"import sys; file = open({str(gateway.gnss.path)!r}); sys.stdin.read()"
        command = [sys.executable, "-S", "-c", holding]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as holder:
            await until(lambda: holders.pids_of(os.path.realpath(gateway.gnss.path)))
            found = await walk(gateway, told, root=tree.root)
            holder.kill()

    ports = {each.layer: each for each in found}["ports"]
    assert {each.layer: each.state for each in free}["ports"] is LinkState.OK
    assert (ports.state, ports.event) == (LinkState.PROBLEM, "serial.busy")
    assert f"(process {holder.pid})" in ports.text


@pytest.mark.parametrize(
    ("minutes", "shown"), [(54, "(54 min ago)"), (-5, "(0.0 s ago)")], ids=["old", "clock set back"]
)
async def test_FR64_a_refusal_is_shown_with_its_age(
    tmp_path: Path, minutes: float, shown: str
) -> None:
    gateway = Gateway(tmp_path)
    refusal = {"event": "ztp.refused.not_listed", "text": "not on the allowlist"}
    came = datetime.now(UTC) - timedelta(minutes=minutes)
    told = {"schema": 1, "state": "blocked", "reason": refusal | {"advice": "Add it."}}
    told["last_failure"] = refusal | {"at": came.isoformat(), "times": 1}
    async with ZtpService(gateway.authority) as service, gateway.receiver(speed=5.0):
        gateway.configure(ztp={"url": service.url, "ca_file": gateway.ca_file})
        found = await walk(gateway, status.from_json(told))

    (refused,) = (each for each in found if each.layer == "credentials")
    assert (refused.state, refused.event) == (LinkState.PROBLEM, "ztp.refused.not_listed")
    assert refused.text == f"not on the allowlist {shown}"


async def test_FR69_a_daemon_that_stands_still_is_a_broken_link(tmp_path: Path) -> None:
    async with site(tmp_path) as (gateway, _):
        reported = {"schema": 1, "state": "streaming", "at": "2026-01-01T00:00:00+00:00", "pid": 1}
        found = await walk(gateway, status.from_json(reported))

    assert (found[-1].layer, found[-1].event) == ("daemon", "control.silent")


@pytest.mark.parametrize(
    ("used", "shown"),
    [({"1077": 3}, "accepts corrections, and reports their use"), ({}, "accepts corrections")],
    ids=["reports", "silent"],
)
async def test_FR03_use_is_said_to_be_reported_where_it_is(
    tmp_path: Path, used: dict[str, int], shown: str
) -> None:
    async with site(tmp_path) as (gateway, _):
        view = {"model": "ZED-F9P", "ready": True, "use": "used", "used": used}
        found = await walk(gateway, status.from_json({"state": "streaming", "receiver": view}))

    (settings,) = (each for each in found if each.layer == "setup")
    assert (settings.state, settings.text) == (LinkState.OK, shown)


async def test_FR75_the_antenna_is_named_beside_a_caster_that_refuses(tmp_path: Path) -> None:
    refused = {"event": "ntrip.mountpoint", "text": "no such mountpoint", "advice": "Correct it."}
    antenna = {
        "event": "gnss.reception.antenna_open",
        "text": "no antenna is connected",
        "advice": "Connect it.",
    }
    view = {"model": "ZED-F9P", "ready": True, "findings": [antenna]}
    async with site(tmp_path) as (gateway, _):
        reported = {"state": "waiting", "reason": refused, "receiver": view}
        found = await walk(gateway, status.from_json(reported))

    broken = [(each.layer, each.event) for each in found if each.state is LinkState.PROBLEM]
    assert broken == [("login", "ntrip.mountpoint"), ("use", "gnss.reception.antenna_open")]


async def test_FR75_a_position_that_the_sky_costs_is_one_problem(tmp_path: Path) -> None:
    """For so long that the use of corrections would be unknown, if any came."""
    region = {"event": "mqtt.region_unknown", "text": "no region", "advice": "Set it."}
    sky = {"event": "gnss.reception.no_signal", "text": "no satellite", "advice": "Look up."}
    view = {"model": "ZED-F9P", "ready": True, "use": "unknown", "use_for_s": 300}
    async with site(tmp_path) as (gateway, _):
        reported = {"state": "waiting", "reason": region, "receiver": view | {"findings": [sky]}}
        found = await walk(gateway, status.from_json(reported))

    assert (problem(found).layer, problem(found).event) == ("use", "gnss.reception.no_signal")


STREAMING = {
    "state": "streaming",
    "pid": 1,
    "source": {"where": "ntrip://b.example:2101/VRS", "frames": {"1077": 9}},
    "receiver": {"model": "ZED-F9P", "ready": True, "use": "used", "fix": "RTK fixed"},
}


async def test_FR75_what_flows_by_a_backup_is_not_hidden_by_the_service_before_it(
    tmp_path: Path,
) -> None:
    async with site(tmp_path, port=1) as (gateway, _):
        found = await walk(gateway, status.from_json(STREAMING))

    assert (problem(found).layer, problem(found).event) == ("tcp", "net.refused")
    states = {each.layer: (each.state, each.text) for each in found}
    assert states["login"] == (LinkState.OK, "ntrip://b.example:2101/VRS, by the daemon")
    assert states["data"][0] is LinkState.OK
    assert states["use"] == (LinkState.OK, "the receiver uses them, fix RTK fixed")


async def test_FR75_beside_a_mistake_in_the_configuration_the_antenna_is_named(
    tmp_path: Path,
) -> None:
    """The daemon goes on with the settings before it."""
    antenna = {"event": "gnss.reception.antenna_open", "text": "no antenna", "advice": "Connect."}
    view = {"model": "ZED-F9P", "ready": True, "use": "used", "fix": "3D", "findings": [antenna]}
    gateway = Gateway(tmp_path)
    gateway.configure(ntrip={"port": "many"})
    found = await walk(gateway, status.from_json(STREAMING | {"receiver": view}))

    broken = [(each.layer, each.event) for each in found if each.state is LinkState.PROBLEM]
    assert broken == [("config", "config.invalid"), ("use", "gnss.reception.antenna_open")]
    assert found[-1].text == "runs as process 1: streaming"
