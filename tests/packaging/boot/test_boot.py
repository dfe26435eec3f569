"""The package on a real systemd: from an image's first boot to its purge."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from ztpd import errors, events
from ztpd.metrics import DOWN

Layers = tuple[Path, ...]

OTHER_IMEI = "356938035643809"


def drop_in(machine: Container, text: str) -> None:
    """Change the unit as an administrator does."""
    machine.run(
        "mkdir -p /etc/systemd/system/ztpd.service.d;"
        "cat >/etc/systemd/system/ztpd.service.d/test.conf; systemctl daemon-reload",
        input=f"[Service]\n{text}\n",
    )


def said(event: events.JournalEvent) -> str:
    """A script that ends with 0 when the unit has said ``event`` since boot."""
    return f"journalctl --boot --unit=ztpd --output=cat ZTPD_EVENT={event.name} | grep -q ."


@pytest.fixture
def fresh(gateway: Layers, place: Path, payload: Path) -> Iterator[Container]:
    """The first boot of a gateway without a token."""
    with Container(gateway, place, payload) as machine:
        yield machine


def test_without_a_token_the_unit_is_up_and_names_it(fresh: Container) -> None:
    fresh.eventually("ztpd status | grep -q blocked")

    shown = fresh.ask("ztpd status")
    assert shown.returncode == 1  # a person is needed
    assert "there is no ZTP token" in shown.stdout
    assert "ztpd token set" in shown.stdout
    assert bench.unit(fresh, "ActiveState") == "active"
    assert "there is no ZTP token" in bench.unit(fresh, "StatusText")
    assert errors.ZtpTokenMissing.code in bench.said(fresh)
    assert bench.calls(fresh) == 0


def test_a_token_is_all_it_waits_for(fresh: Container, suite: str) -> None:
    fresh.eventually("ztpd status | grep -q blocked")

    bench.give_token(fresh)
    took_s = bench.streams(fresh)
    fixed_s = took_s + bench.fixed(fresh)

    assert bench.calls(fresh) == 1
    assert fresh.run("stat --format='%a %U' /etc/ztpd/token") == "600 root"
    bench.measured.append(
        f"{suite}: after `ztpd token set`: corrections used {took_s:.1f} s, "
        f"RTK fixed {fixed_s:.1f} s"
    )


@pytest.mark.parametrize("text", ["", "hello\n", bench.TOKEN.upper() + "\n", bench.TOKEN[:-1]])
def test_a_malformed_token_is_not_stored(fresh: Container, text: str) -> None:
    answer = fresh.ask("ztpd token set", input=text)

    assert answer.returncode == 64
    assert fresh.ask("test -e /etc/ztpd/token").returncode != 0


def test_a_token_in_the_image_gives_corrections_at_first_boot(
    gateway: Layers, place: Path, payload: Path, suite: str
) -> None:
    machine = Container(gateway, place, payload)
    machine.once("/bin/sh", "-c", f"echo {bench.TOKEN} >/etc/ztpd/token; chmod 644 /etc/ztpd/token")

    with machine:
        bench.streams(machine)

        bench.fixed(machine)

        assert bench.calls(machine) == 1
        assert machine.run("stat --format='%a %U' /etc/ztpd/token") == "600 root"
        bench.measured.append(f"{suite}: first boot with a token: {bench.story(machine)}")
        bench.journals[suite] = bench.reported(machine)


def test_an_encrypted_token_serves_as_well(fresh: Container) -> None:
    fresh.run("systemd-creds setup")
    fresh.run(
        "systemd-creds encrypt --with-key=host --name=ztp-token - /etc/ztpd/token.cred",
        input=bench.TOKEN,
    )
    drop_in(fresh, "LoadCredentialEncrypted=ztp-token:/etc/ztpd/token.cred")
    fresh.run("systemctl restart ztpd")

    bench.streams(fresh)

    assert bench.calls(fresh) == 1


def test_FR40_S19_a_card_in_another_gateway(
    gateway: Layers, place: Path, payload: Path, suite: str
) -> None:
    """Moved with its modem it streams; as a copy it gets credentials for its own identity."""
    card = Container(gateway, place / "card", payload)
    bench.put_on_board(card, "10000000aaaaaaaa")
    with card:
        bench.give_token(card)
        bench.streams(card)
        assert bench.calls(card) == 1

    moved = Container(card.layers, place / "moved", payload)
    bench.put_on_board(moved, "10000000bbbbbbbb")
    with moved:
        bench.streams(moved)
        assert events.BOARD_CHANGED.name in bench.said(moved)
        assert events.TASK_DIED.name not in bench.said(moved)
        assert bench.calls(moved) == 1
        bench.measured.append(f"{suite}: card on another board: {bench.story(moved)}")
        bench.journals[f"{suite}: card on another board"] = bench.reported(moved)

    copied = Container(card.layers, place / "copied", payload)
    bench.put_on_board(copied, "10000000cccccccc", imei=OTHER_IMEI)
    with copied:
        bench.streams(copied)
        assert bench.calls(copied) == 2
        assert OTHER_IMEI in bench.things(copied)
        assert events.TASK_DIED.name not in bench.said(copied)
        bench.measured.append(f"{suite}: copied card: {bench.story(copied)}")
        bench.journals[f"{suite}: copied card"] = bench.reported(copied)


def test_D15_a_provisioned_gateway_boots_without_a_provisioning_call(
    running: Container, suite: str
) -> None:
    assert bench.calls(running) == 1
    assert events.ZTP_CALL.name not in bench.said(running)
    assert events.PROVISIONED.name not in bench.said(running)
    bench.measured.append(f"{suite}: reboot: {bench.story(running)}")


def test_FR80_fifty_restarts_at_random_moments_leave_a_receiver_that_answers(
    gateway: Layers, place: Path, payload: Path, suite: str
) -> None:
    machine = Container(gateway, place, payload)
    bench.put_on_uart(machine)
    with machine:
        bench.give_token(machine)
        bench.streams(machine, within_s=60)
        assert bench.status(machine)["receiver"]["baudrate"] == 38_400

        took_s = bench.restart_at_random(machine, 50)

        assert len(took_s) == 50
        assert [seconds for seconds in took_s if seconds > 5] == []
        assert bench.calls(machine) == 1
        bench.streams(machine)
    bench.measured.append(
        f"{suite}: 50 restarts: receiver ready after {sorted(took_s)[25]:.1f} s (median), "
        f"{max(took_s):.1f} s (longest)"
    )


def test_FR119_a_journald_that_does_not_read_stops_nothing(running: Container) -> None:
    pid = bench.unit(running, "MainPID")
    running.run("systemctl kill --signal=STOP systemd-journald")
    try:
        running.run(f"for n in $(seq 1500); do kill -HUP {pid}; sleep 0.01; done")
        time.sleep(30)  # the status is 10 s old at most
        assert running.ask("timeout 10 ztpd status").returncode == 0
        assert running.run("timeout 10 ztpd status --json | grep -c streaming") != "0"
    finally:
        running.run("systemctl kill --signal=CONT systemd-journald")
    running.run("systemctl reload ztpd")
    running.eventually("journalctl --unit=ztpd --output=cat | grep -q 'before this one are lost'")
    assert bench.unit(running, "MainPID") == pid


def test_P8_a_process_that_hangs_is_replaced(running: Container, suite: str) -> None:
    hung = bench.unit(running, "MainPID")

    running.run("systemctl kill --signal=STOP ztpd")
    took_s = running.eventually(
        f'p=$(systemctl show ztpd --property=MainPID --value); [ "$p" != {hung} ] && [ "$p" != 0 ]',
        within_s=75,
    )
    bench.streams(running)

    assert "watchdog" in running.run("journalctl --boot --unit=ztpd --output=cat")
    assert bench.calls(running) == 1
    bench.measured.append(f"{suite}: hang to new process: {took_s:.0f} s")


def test_D08_a_crash_loop_calls_the_service_no_more_than_running_on(fresh: Container) -> None:
    bench.from_now_on(fresh, "unavailable")
    drop_in(fresh, "RestartSec=100ms")
    bench.give_token(fresh)
    bench.called(fresh, 1, within_s=bench.STREAMS_WITHIN_S)

    for _ in range(10):
        pid = bench.unit(fresh, "MainPID")
        fresh.run("systemctl kill --signal=SEGV ztpd")
        fresh.eventually(
            "[ $(systemctl show ztpd --property=ActiveState --value) = active ] &&"
            f" [ $(systemctl show ztpd --property=MainPID --value) != {pid} ]"
        )

    assert bench.calls(fresh) == 1


def test_D13_a_wrong_configuration_ends_the_unit_until_it_is_right(running: Container) -> None:
    running.run("printf '[log]\\nlevel = 7\\n' >/etc/ztpd/ztpd.toml.d/60-wrong.toml")

    running.ask("systemctl restart ztpd")
    running.eventually("[ $(systemctl show ztpd --property=ActiveState --value) = failed ]")

    assert bench.unit(running, "ExecMainStatus") == "78"
    assert "log.level" in running.run("journalctl --boot --unit=ztpd --output=cat")
    running.run("rm /etc/ztpd/ztpd.toml.d/60-wrong.toml; systemctl start ztpd")
    bench.streams(running)


def test_D06_a_reload_applies_valid_files_only(running: Container) -> None:
    running.run("printf '[log]\\nlevel = 7\\n' >/etc/ztpd/ztpd.toml.d/60-wrong.toml")
    running.run("systemctl reload ztpd")
    running.eventually(said(events.RELOAD_FAILED))

    running.run("printf '[log]\\nlevel = \"debug\"\\n' >/etc/ztpd/ztpd.toml.d/60-wrong.toml")
    running.run("systemctl reload ztpd")
    running.eventually(said(events.RELOADED))

    bench.streams(running)
    assert bench.calls(running) == 1


def test_T1_other_users_can_read_no_secret(running: Container) -> None:
    kept = running.run("find /etc/ztpd/token /var/lib/ztpd /run/credentials/ztpd.service")
    assert "/var/lib/ztpd/credentials.json" in kept.split()

    for path in kept.split():
        look = f"[ -d {path} ] && ls {path} || cat {path}"
        answer = running.ask(f"setpriv --reuid=nobody --clear-groups sh -c '{look}'")
        assert answer.returncode != 0, answer.stdout
        assert "Permission denied" in answer.stdout
    modes = running.run("stat --format='%a %U' /var/lib/ztpd /var/lib/ztpd/credentials.json")
    assert modes.splitlines() == ["700 ztpd", "600 ztpd"]


def test_T2_no_secret_is_in_journal_status_or_process(running: Container) -> None:
    running.run("systemctl restart ztpd; ztpd credentials show; ztpd provision --force || true")
    bench.streams(running)
    pid = bench.unit(running, "MainPID")

    seen = {
        "journal": running.run("journalctl --output=export"),
        "status": running.run("cat /run/ztpd/*.json"),
        "process": running.run(f"cat /proc/{pid}/environ /proc/{pid}/cmdline | tr '\\0' '\\n'"),
    }

    assert "ZTPD_EVENT" in seen["journal"]
    assert "CREDENTIALS_DIRECTORY" in seen["process"]
    for secret in bench.secrets(running):
        for place, text in seen.items():
            assert secret not in text, f"a secret is in the {place}"


def test_T2_a_crash_leaves_no_core_file(running: Container) -> None:
    pid = bench.unit(running, "MainPID")
    limits = running.run(f"cat /proc/{pid}/limits")
    running.run("systemctl kill --signal=ABRT ztpd")
    running.eventually("[ $(systemctl show ztpd --property=NRestarts --value) = 1 ]")

    assert re.search(r"^Max core file size +0 +0 ", limits, re.M)
    assert not running.run("find / -xdev -name 'core*' -user ztpd -not -path '/proc/*'")


def test_the_process_has_no_rights_and_one_group(running: Container) -> None:
    pid = bench.unit(running, "MainPID")
    lines = running.run(f"cat /proc/{pid}/status").splitlines()
    state = {name: value.split() for name, _, value in (line.partition(":") for line in lines)}
    dialout = running.run("getent group dialout | cut -d: -f3")
    own = running.run("id -g ztpd")

    assert set(state["CapEff"] + state["CapBnd"] + state["CapAmb"]) == {"0" * 16}
    assert state["NoNewPrivs"] == ["1"]
    assert state["Seccomp"] == ["2"]
    assert set(state["Groups"]) <= {dialout, own}


def test_P12_the_sandbox_in_force(running: Container, suite: str) -> None:
    shown = running.run("systemd-analyze security --threshold=15 --no-pager ztpd.service")
    verified = running.ask("systemd-analyze verify --man=no ztpd.service")

    bench.measured.append(f"{suite}: {shown.splitlines()[-1].removeprefix('→ ')}")
    assert verified.stdout == ""


def test_P13_nothing_listens_to_the_network(running: Container) -> None:
    sockets = running.run("ss --no-header --listening --tcp --udp --processes")

    assert "ztpd" not in sockets


def test_the_catalog_explains_a_failure_and_adds_nothing_to_other_lines(
    running: Container,
) -> None:
    streaming = running.run(f"journalctl --catalog ZTPD_EVENT={events.STREAMING.name}")
    message_id = events.for_error(errors.ResolveFailed).message_id
    explained = running.run(f"journalctl --dump-catalog {message_id}")

    assert "Defined-By: ztpd" not in streaming
    assert "Defined-By: ztpd" in explained
    assert "Documentation: man:ztpd(8)" in explained


def test_P9_it_stops_at_once_and_cleanly(running: Container) -> None:
    began = time.monotonic()
    running.run("systemctl stop ztpd")

    assert time.monotonic() - began < 5
    assert bench.unit(running, "Result") == "success"


def test_the_demo_runs_from_the_package_as_any_user(running: Container) -> None:
    shown = running.ask("cd /tmp; setpriv --reuid=nobody --clear-groups ztpd demo --once")

    assert shown.returncode == 0, shown.stdout
    assert "RTK fixed" in shown.stdout


def test_the_units_that_set_the_clock_or_remove_the_token_are_off_by_default(
    running: Container,
) -> None:
    for name in ("ztpd-settime.service", "ztpd-forget-token.path"):
        assert running.run(f"systemctl is-enabled {name}", check=False) == "disabled"
        assert running.run(f"systemctl is-active {name}", check=False) == "inactive"
        assert running.run(f"systemd-analyze verify --man=no {name}") == ""


def test_presets_of_an_image_builder_leave_them_off_too(
    gateway: Layers, place: Path, payload: Path
) -> None:
    image = Container(gateway, place, payload)
    image.once("systemctl", "--root=/", "preset-all", "--preset-mode=enable-only")
    script = "for unit in ztpd.service ztpd-settime.service ztpd-forget-token.path; do"
    shown = image.once("/bin/sh", "-c", f"{script} systemctl --root=/ is-enabled $unit; done; true")

    states = [line for line in shown.splitlines() if line in ("enabled", "disabled")]
    assert states == ["enabled", "disabled", "disabled"], shown


READ_DATAGRAM = """\
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader:
    reader.bind(("127.0.0.1", 10110))
    reader.settimeout(20)
    print(reader.recv(9999).hex())
"""


def test_others_get_datagrams_without_a_drop_in(running: Container) -> None:
    running.run(
        "printf '[output]\\nudp = [\"127.0.0.1:10110\"]\\n' >/etc/ztpd/ztpd.toml.d/60-share.toml"
    )
    running.run("systemctl reload ztpd")
    bench.streams(running)

    as_other = "setpriv --reuid=nobody --clear-groups python3 -"
    assert running.run(as_other, input=READ_DATAGRAM).startswith(("24", "b562"))
    assert running.run("ss --listening --udp --no-header --processes | grep ztpd || true") == ""


def test_others_read_the_receiver_where_the_unit_allows_it(running: Container) -> None:
    running.run(
        "printf '[output]\\npty = \"/run/ztpd/gnss\"\\n' >/etc/ztpd/ztpd.toml.d/60-share.toml"
    )
    drop_in(running, "SystemCallFilter=fchown fchown32")
    running.run("systemctl restart ztpd")
    bench.streams(running)

    read = "timeout 20 head --bytes=500 /run/ztpd/gnss | wc --bytes"
    as_reader = "setpriv --reuid=nobody --regid=dialout --clear-groups sh -c"
    assert running.run(f"{as_reader} '{read}'") == "500"
    others = "setpriv --reuid=nobody --clear-groups sh -c"
    assert "Permission denied" in running.run(f"{others} 'cat /run/ztpd/gnss'", check=False)


def test_a_token_that_has_done_its_work_is_removed_where_that_is_wanted(fresh: Container) -> None:
    fresh.run("printf '[ztp]\nforget_token = true\n' >/etc/ztpd/ztpd.toml.d/60-forget.toml")
    fresh.run("systemctl enable --now ztpd-forget-token.path")

    bench.give_token(fresh)
    bench.streams(fresh)
    fresh.eventually("[ ! -e /etc/ztpd/token ]")
    fresh.run("systemctl restart ztpd")
    bench.streams(fresh)

    assert bench.calls(fresh) == 1
    bench.upgrade(fresh)
    assert fresh.run("systemctl is-active ztpd-forget-token.path") == "active"
    fresh.run("apt-get --quiet --yes purge ztpd")
    assert "ztpd-" not in fresh.run("systemctl list-units --all --full --no-legend")


METRICS = "cat /run/ztpd/metrics.prom"


def test_the_metrics_never_claim_that_a_dead_daemon_lives(running: Container) -> None:
    running.run("rm -f /run/ztpd/metrics.prom; systemctl restart ztpd")
    running.eventually(f"{METRICS} | grep -qx 'ztpd_up 1'")
    assert "ztpd_health" in running.run(f"setpriv --reuid=nobody --clear-groups {METRICS}")
    assert running.run("stat --format='%a %U' /run/ztpd/metrics.prom") == "644 ztpd"

    running.run("systemctl kill --signal=KILL --kill-whom=main ztpd")
    running.eventually(f"{METRICS} | grep -qx 'ztpd_up 0'")
    bench.streams(running)
    running.eventually(f"{METRICS} | grep -qx 'ztpd_up 1'")
    running.run("systemctl stop ztpd")
    assert running.run(METRICS) == DOWN.strip()
    assert running.ask("ztpd metrics").returncode == 3
    assert running.run("ls --almost-all /run/ztpd | grep -c metrics") == "1"


def test_a_pause_survives_a_stop_and_no_reboot(
    provisioned: Layers, place: Path, payload: Path
) -> None:
    gateway = Container(provisioned, place, payload)
    with gateway as machine:
        bench.streams(machine)
        machine.run("ztpd pause")
        machine.run("systemctl stop ztpd; systemctl start ztpd")
        machine.eventually(f"{METRICS} | grep -qx 'ztpd_state{{state=\"paused\"}} 1'")
        assert machine.ask("ztpd status").returncode == 4
    with gateway as machine:
        bench.streams(machine)


def test_the_metrics_are_there_before_the_first_start(
    gateway: Layers, place: Path, payload: Path
) -> None:
    image = Container(gateway, place, payload)
    image.once("systemctl", "--root=/", "disable", "ztpd")
    with image as machine:
        assert machine.run(METRICS) == DOWN.strip()
        assert machine.run("stat --format='%a %U' /run/ztpd/metrics.prom") == "644 ztpd"
        machine.run("systemctl start ztpd")
        machine.eventually(f"{METRICS} | grep -qx 'ztpd_up 1'")


def test_an_upgrade_keeps_credentials_and_configuration_and_makes_no_call(
    running: Container,
) -> None:
    before = bench.unit(running, "MainPID")
    running.run("echo '# ours' >>/etc/ztpd/ztpd.toml")
    kept = running.run("sha256sum /etc/ztpd/ztpd.toml /var/lib/ztpd/credentials.json")

    bench.upgrade(running)
    bench.streams(running)

    assert bench.unit(running, "MainPID") != before
    assert running.run("sha256sum /etc/ztpd/ztpd.toml /var/lib/ztpd/credentials.json") == kept
    assert running.ask("test -e /etc/ztpd/ztpd.toml.dpkg-dist").returncode == 0
    assert running.run("ztpd config check").endswith("all is well")
    assert bench.calls(running) == 1


def test_a_removed_package_works_as_before_when_installed_again(running: Container) -> None:
    running.run("apt-get --quiet --yes remove ztpd")
    assert bench.unit(running, "ActiveState") == "inactive"
    assert running.ask("test -e /run/ztpd").returncode != 0
    assert running.ask("test -s /var/lib/ztpd/credentials.json").returncode == 0
    assert running.ask("test -s /etc/ztpd/token").returncode == 0

    running.run("apt-get --quiet --yes install /payload/ztpd.deb")
    bench.streams(running)

    assert bench.calls(running) == 1


def test_D18_a_purge_leaves_only_the_user(running: Container) -> None:
    running.run("systemctl stop simulators; apt-get --quiet --yes purge ztpd")

    mounted = "-path /proc -o -path /sys -o -path /payload -o -path /var/log/journal"
    left = running.run(f"find / -xdev \\( {mounted} \\) -prune -o -name '*ztpd*' -print")
    assert left == ""
    assert running.run("id -un ztpd") == "ztpd"
    assert running.run("systemctl show ztpd --property=LoadState --value") == "not-found"
