"""The package on a real kernel: drivers that load late, a clock months behind, power that fails.

Not part of every run: `make boot-test-qemu`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import tree
from tests.packaging.boot.container import Container
from tests.packaging.boot.qemu import Qemu, make_disk
from ztpd import RELEASED_UNIX_S, errors, events
from ztpd.provisioning.pacing import SCHEDULE_FILE

_NEXT_CALL_WITHIN_S = 600.0  # the wait doubles with each cut
_STORE = "/var/lib/ztpd"
_IMAGE_UTC, _TRUE_UTC = RELEASED_UNIX_S + 60 * 86_400, RELEASED_UNIX_S + 300 * 86_400

# Modem and receiver on a USB controller made of software. Bytes written to ttyGS0 and ttyGS1
# come out of ttyACM0 and ttyACM1, whose driver the kernel loads when it sees them.
_PLUG = """\
#!/bin/bash -eu
plug() {
    local gadget=/sys/kernel/config/usb_gadget/$1
    mkdir -p "$gadget/strings/0x409" "$gadget/configs/c.1" "$gadget/functions/acm.$1"
    echo "$2" >"$gadget/idVendor"
    echo "$3" >"$gadget/idProduct"
    echo "$4" >"$gadget/strings/0x409/manufacturer"
    echo "$5" >"$gadget/strings/0x409/product"
    ln -s "$gadget/functions/acm.$1" "$gadget/configs/c.1/"
    echo "$6" >"$gadget/UDC"
}
modprobe dummy_hcd num=2
modprobe libcomposite
modprobe usb_f_acm
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
plug modem 0x2c7c 0x0125 Simulated Modem dummy_udc.0
plug receiver 0x1546 0x01a9 u-blox Receiver dummy_udc.1
for port in modem:ttyGS0 receiver:ttyGS1; do
    socat "/dev/${port%:*},rawer" "/dev/${port#*:},rawer" &
done
wait
"""

_UNIT = """\
[Unit]
After=simulators.service

[Service]
ExecStart=/opt/plug
"""

_MODEM = "/dev/serial/by-id/usb-Simulated_Modem-if00"
_SETTINGS = f"""\
[identity]
port = "{_MODEM}"

[receiver]
port = "/dev/ublox"

[ztp]
timeout_s = 120  # an emulated processor takes long for a TLS handshake
"""


@pytest.fixture(scope="module")
def system(suite: str) -> Path:
    """The tree of a minimal system with a kernel."""
    return tree(suite, "qemu") / "root"


@pytest.fixture(scope="module")
def layers(system: Path, suite: str, top: Path, payload: Path) -> tuple[Path, ...]:
    """A gateway's system that has a token and never ran."""
    container = Container([system], top / f"{suite}-qemu", payload)
    container.once("apt-get", "--quiet", "--yes", "install", "/payload/ztpd.deb")
    bench.equip(container)
    script = f"""
        cat >/opt/plug <<'PLUG'\n{_PLUG}PLUG
        chmod 755 /opt/plug
        cat >/etc/systemd/system/plug.service <<'UNIT'\n{_UNIT}UNIT
        cat >/etc/ztpd/ztpd.toml.d/60-usb.toml <<'TOML'\n{_SETTINGS}TOML
        echo {bench.TOKEN} >/etc/ztpd/token
    """
    container.once("/bin/sh", "-euc", script)
    return container.layers


@pytest.fixture(scope="module")
def disk(system: Path, layers: tuple[Path, ...], suite: str, top: Path) -> tuple[Path, Path]:
    """The tree of the system, and a disk with it."""
    image = top / f"{suite}-qemu" / "disk"
    make_disk(layers, image)
    return system, image


def gateway(disk: tuple[Path, Path], place: Path) -> Qemu:
    """A gateway that was never switched on."""
    system, image = disk
    place.mkdir(parents=True)
    return Qemu(system, image, place)


@pytest.fixture(scope="module")
def late(disk: tuple[Path, Path], suite: str, top: Path) -> Iterator[Qemu]:
    """Devices came when all was up, and corrections flow now."""
    place = top / f"{suite}-late"
    with gateway(disk, place) as machine:
        assert bench.unit(machine, "ActiveState") == "active"
        assert "ttyACM" not in machine.run("cat /proc/devices")
        machine.run("systemctl start plug")
        bench.streams(machine, within_s=_NEXT_CALL_WITHIN_S)
        bench.fixed(machine)
        yield machine
    shutil.rmtree(place)


def test_a_driver_that_loads_after_the_unit_has_started_is_no_hindrance(
    late: Qemu, suite: str
) -> None:
    assert bench.calls(late) == 1
    assert bench.unit(late, "NRestarts") == "0"
    bench.journals[f"{suite} (QEMU)"] = bench.reported(late)
    bench.measured.append(f"{suite} (QEMU): {bench.story(late)}")


def test_P14_its_memory_stays_far_below_the_limit(late: Qemu, suite: str) -> None:
    peak = int(late.run("cat /sys/fs/cgroup/system.slice/ztpd.service/memory.peak"))
    limit = int(bench.unit(late, "MemoryMax"))
    bench.measured.append(f"{suite} (QEMU): most memory used {peak / 1e6:.0f} MB")

    assert peak < limit * 0.75


def test_receivers_have_a_name_and_are_left_alone_by_modemmanager(late: Qemu) -> None:
    port = late.run("udevadm info --query=property --name=/dev/ublox")
    usb = late.run("readlink --canonicalize /sys/class/tty/$(basename $(realpath /dev/ublox))")
    device = late.run(f"udevadm info --query=property --path={usb}/../../..")
    modem = late.run(f"udevadm info --query=property --name={_MODEM}")

    assert "ID_MM_PORT_IGNORE=1" in port
    assert "ID_MM_DEVICE_IGNORE=1" in device
    assert "ID_MM" not in modem


def test_every_link_of_the_chain_is_found_well(late: Qemu) -> None:
    walked = late.ask("ztpd check")

    assert walked.returncode == 0, walked.stdout


def test_P10_a_clock_that_lies_is_set_by_the_receiver_where_that_is_wanted(late: Qemu) -> None:
    late.run("systemctl stop ztpd; date --set 2020-01-01; systemctl start ztpd")

    late.run("systemctl enable --now ztpd-settime")

    late.eventually("[ $(date +%Y) -gt 2020 ]")
    bench.streams(late, within_s=_NEXT_CALL_WITHIN_S)


@pytest.fixture
def two_months_behind(
    system: Path, layers: tuple[Path, ...], suite: str, top: Path, payload: Path
) -> Iterator[Qemu]:
    """A gateway that is switched on ten months after the release, without network time, whose
    clock has the date of its image: two months after the release."""
    place = top / f"{suite}-dated"
    image = Container(layers, place / "image", payload)
    script = f"""
        echo {_TRUE_UTC} >/var/lib/simulators/utc
        ln -s /etc/systemd/system/plug.service /etc/systemd/system/multi-user.target.wants/
        systemctl enable ztpd-settime.service
    """
    image.once("/bin/sh", "-euc", script)
    make_disk(image.layers, place / "disk.raw")
    clock = datetime.fromtimestamp(_IMAGE_UTC, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    with Qemu(system, place / "disk.raw", place, clock=clock) as machine:
        yield machine
    shutil.rmtree(place)


def test_FR41_a_gateway_with_the_date_of_its_image_is_provisioned_without_a_person(
    two_months_behind: Qemu, suite: str
) -> None:
    machine = two_months_behind

    bench.streams(machine, within_s=_NEXT_CALL_WITHIN_S)
    bench.fixed(machine)

    first = int(bench.journal(machine)[0]["__REALTIME_TIMESTAMP"]) / 1e6
    assert 0 <= first - _IMAGE_UTC < 600
    assert int(machine.run("date +%s")) >= _TRUE_UTC
    assert bench.calls(machine) == 1
    assert errors.TlsClock.code in bench.said(machine)
    assert bench.unit(machine, "NRestarts") == "0"
    reported = "journalctl --boot --no-hostname --unit=ztpd --unit=ztpd-settime"
    bench.journals[f"{suite} (QEMU): with the date of its image"] = machine.run(reported)


def test_P1_after_three_power_cuts_while_provisioning_the_gateway_is_provisioned(
    disk: tuple[Path, Path], place: Path, suite: str
) -> None:
    machine = gateway(disk, place)

    with machine:
        bench.from_now_on(machine, "silence")
        machine.run("systemctl start plug")
        bench.called(machine, 1, within_s=_NEXT_CALL_WITHIN_S)
        machine.cut_power()  # asked, and no answer yet

    with machine:
        bench.from_now_on(machine, "drip")
        machine.run("systemctl start plug")
        bench.called(machine, 2, within_s=_NEXT_CALL_WITHIN_S)
        machine.cut_power()  # a part of the answer has come

    with machine:
        bench.from_now_on(machine, "")
        machine.run("systemctl start plug")
        machine.eventually(f"ls {_STORE}/credentials.json*", within_s=_NEXT_CALL_WITHIN_S)
        machine.cut_power()  # the answer is being stored, or just has been

    with machine:
        machine.run("systemctl start plug")
        bench.streams(machine, within_s=_NEXT_CALL_WITHIN_S)

        assert bench.calls(machine) in (3, 4)
        assert len(bench.things(machine)) == 1
        assert events.TASK_DIED.name not in bench.said(machine)
        left = machine.run(f"ls {_STORE}").split()
        assert set(left) <= {"credentials.json", "credentials.previous.json", SCHEDULE_FILE}
        bench.measured.append(
            f"{suite} (QEMU): provisioned after three power cuts, {bench.calls(machine)} calls"
        )
