"""The package on a real kernel: drivers that load late, and power that fails.

Not part of every run: `make boot-test-qemu`.
"""

from __future__ import annotations

from pathlib import Path

from boot import bench
from boot.conftest import tree
from boot.container import Container
from boot.qemu import Qemu, make_disk
from ztpd import events

_LATE_S = 5
_NEXT_CALL_WITHIN_S = 600.0  # the wait doubles with each cut
_STORE = "/var/lib/ztpd"

# Devices as on a USB hub whose drivers are modules: a controller made of software, and on it
# two serial interfaces; what is written to ttyGS0 and ttyGS1 comes out of ttyACM0 and ttyACM1.
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

_UNIT = f"""\
[Unit]
Description=Devices that appear when all is up
After=multi-user.target simulators.service

[Service]
ExecStartPre=/bin/sleep {_LATE_S}
ExecStart=/opt/plug

[Install]
WantedBy=multi-user.target
"""

_SETTINGS = """\
[identity]
port = "/dev/serial/by-id/usb-Simulated_Modem-if00"

[receiver]
port = "/dev/ublox"
"""


def gateway(suite: str, place: Path, payload: Path, fault: str = "") -> Qemu:
    """A gateway with a token, on whose bus modem and receiver appear late. Switched off.

    ``fault`` is what every call of the provisioning service gets.
    """
    system = tree(suite, "qemu") / "root"
    container = Container([system], place, payload)
    container.once("apt-get", "--quiet", "--yes", "install", "/payload/ztpd.deb")
    bench.equip(container)
    script = f"""
        cat >/opt/plug <<'PLUG'\n{_PLUG}PLUG
        chmod 755 /opt/plug
        cat >/etc/systemd/system/plug.service <<'UNIT'\n{_UNIT}UNIT
        systemctl enable plug.service
        cat >/etc/ztpd/ztpd.toml.d/60-usb.toml <<'TOML'\n{_SETTINGS}TOML
        echo {bench.TOKEN} >/etc/ztpd/token
        echo {fault} >/var/lib/simulators/fault
    """
    container.once("/bin/sh", "-euc", script)
    make_disk(container.layers, place / "disk.qcow2")
    return Qemu(system, place / "disk.qcow2", place)


def test_a_driver_that_loads_after_the_unit_has_started(
    suite: str, place: Path, payload: Path
) -> None:
    with gateway(suite, place, payload) as machine:
        assert bench.unit(machine, "ActiveState") == "active"
        assert "ttyACM" not in machine.run("cat /proc/devices")
        machine.eventually("[ -c /dev/ttyACM1 ]")

        bench.streams(machine, within_s=120)

        assert bench.calls(machine) == 1
        bench.journals[f"{suite} (QEMU)"] = bench.told(machine)
        peak = machine.run("cat /sys/fs/cgroup/system.slice/ztpd.service/memory.peak")
        bench.measured.append(f"{suite} (QEMU): {bench.story(machine)}")
        bench.measured.append(f"{suite} (QEMU): most memory used: {int(peak) / 1e6:.0f} MB")


def test_receivers_have_a_name_and_are_left_alone_by_modemmanager(
    suite: str, place: Path, payload: Path
) -> None:
    with gateway(suite, place, payload) as machine:
        machine.eventually("[ -c /dev/ublox ]")

        port = machine.run("udevadm info --query=property --name=/dev/ublox")
        usb = "udevadm info --query=property --path=$(udevadm info --query=path --name=/dev/ublox)"
        device = machine.run(f"{usb}/../../../..")
        modem = machine.run("udevadm info --query=property --name=/dev/serial/by-id/*Modem*")

        assert "ID_MM_PORT_IGNORE=1" in port
        assert "ID_MM_DEVICE_IGNORE=1" in device
        assert "ID_MM" not in modem


def test_P1_after_three_power_cuts_while_provisioning_the_gateway_is_provisioned(
    suite: str, place: Path, payload: Path
) -> None:
    machine = gateway(suite, place, payload, fault="silence")

    with machine:
        bench.called(machine, 1, within_s=_NEXT_CALL_WITHIN_S)
        bench.from_now_on(machine, "drip")
        machine.cut_power()  # asked, and no answer yet

    with machine:
        bench.called(machine, 2, within_s=_NEXT_CALL_WITHIN_S)
        bench.from_now_on(machine, "")
        machine.cut_power()  # a part of the answer has come

    with machine:
        machine.eventually(f"ls {_STORE}/credentials.json*", within_s=_NEXT_CALL_WITHIN_S)
        machine.cut_power()  # the answer is being stored, or just has been

    with machine:
        bench.streams(machine, within_s=_NEXT_CALL_WITHIN_S)

        assert bench.calls(machine) in (3, 4)
        assert len(bench.things(machine)) == 1
        assert events.TASK_DIED.name not in bench.said(machine)
        left = machine.run(f"ls {_STORE}").split()
        assert set(left) <= {"credentials.json", "credentials.previous.json", "ztp-schedule.json"}
        bench.measured.append(
            f"{suite} (QEMU): provisioned after three power cuts and {bench.calls(machine)} calls"
        )
