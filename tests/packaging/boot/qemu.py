"""A whole machine: a real kernel with USB, whose power can be cut. Half a minute to boot."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.packaging.boot.bench import last_words

# Emulated, which works everywhere: on a machine that is virtual itself /dev/kvm may be there, and
# take a kernel that then never says anything. ZTPD_QEMU_ACCEL=kvm is for machines where it boots.
_ACCELERATOR = os.environ.get("ZTPD_QEMU_ACCEL", "tcg,thread=multi")
_BOOT_WITHIN_S = 240.0
_ANSWER_WITHIN_S = 240.0
_PATH = "PATH=/usr/sbin:/usr/bin:/sbin:/bin"


class Qemu:
    """One machine, whose disk keeps its content when the power is cut.

    Commands go through QEMU's guest agent.
    """

    def __init__(self, system: Path, image: Path, top: Path, *, clock: str = "utc") -> None:
        """``system`` has the kernel. The disk begins as ``image``, which stays as it is; changes
        to it, and files of our own, go into ``top``. ``clock`` is the machine's date at power-on,
        as "2027-01-22T04:00:00"; "utc" for the right one."""
        self._clock = clock
        self._kernel, self._initrd = system / "vmlinuz", system / "initrd.img"
        self._disk, self._agent, self._console = top / "disk", top / "agent", top / "console"
        create = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(image)]
        subprocess.run([*create, str(self._disk)], check=True)
        self._machine: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._answers: Any = None

    def __enter__(self) -> Qemu:
        """Power on; return when every unit that starts at boot has started."""
        program = shutil.which("qemu-system-x86_64")
        assert program, "install it first: apt-get install qemu-system-x86 qemu-utils"
        self._machine = subprocess.Popen(
            [
                *(program, "-m", "1024", "-smp", "2", "-display", "none", "-nic", "none"),
                *("-accel", _ACCELERATOR, "-cpu", "max", "-rtc", f"base={self._clock}"),
                *("-kernel", str(self._kernel), "-initrd", str(self._initrd)),
                *("-append", "root=/dev/vda rw console=ttyS0 quiet systemd.show_status=no"),
                *("-drive", f"file={self._disk},if=virtio,cache=unsafe"),
                *("-device", "virtio-rng-pci", "-device", "virtio-serial-pci"),
                *("-chardev", f"socket,id=agent,path={self._agent},server=on,wait=off"),
                *("-device", "virtserialport,chardev=agent,name=org.qemu.guest_agent.0"),
                *("-serial", f"file:{self._console}", "-monitor", "none", "-no-reboot"),
            ],
            stdin=subprocess.DEVNULL,
        )
        try:
            self._connect(self._machine)
            self.eventually("systemctl is-system-running --wait | grep -qxE 'running|degraded'")
        except BaseException:
            self.cut_power()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._machine and self._machine.poll() is None:
            self.ask("sync; systemctl --no-block poweroff")
            self._machine.wait(_BOOT_WITHIN_S)
        self.cut_power()

    def cut_power(self) -> None:
        """Data that the kernel inside has not written yet are lost."""
        if self._machine:
            self._machine.kill()
            self._machine.wait()
        if self._answers:
            self._answers.close()
        if self._connection:
            self._connection.close()
        self._machine = self._connection = self._answers = None

    def run(self, script: str, *, check: bool = True, input: str = "") -> str:
        """The output of ``script`` in the machine, standard error included."""
        return self.ask(script, check=check, input=input).stdout.strip()

    def ask(
        self, script: str, *, check: bool = False, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ``script`` by a shell in the machine."""
        arguments = ["-euc", f"exec 2>&1\n{script}"]
        process = self._call(
            "guest-exec",
            path="/bin/sh",
            arg=arguments,
            env=[_PATH, "LC_ALL=C.UTF-8", "COLUMNS=200"],
            **{"input-data": base64.b64encode(input.encode()).decode(), "capture-output": True},
        )["pid"]
        while not (state := self._call("guest-exec-status", pid=process))["exited"]:
            time.sleep(0.05)
        text = base64.b64decode(state.get("out-data", "")).decode(errors="replace")
        status = state.get("exitcode", -1)
        assert not check or status == 0, f"{script}: {status}\n{text}"
        return subprocess.CompletedProcess(script, status, text)

    def eventually(self, script: str, *, within_s: float = _BOOT_WITHIN_S) -> float:
        """Wait until ``script`` ends with 0; the seconds that took."""
        began = time.monotonic()
        while (done := self.ask(script)).returncode != 0:
            passed = time.monotonic() - began
            assert passed < within_s, (
                f"{script}: not within {within_s} s\n{done.stdout}\n{last_words(self)}"
            )
            time.sleep(0.2)
        return time.monotonic() - began

    def _connect(self, machine: subprocess.Popen[bytes]) -> None:
        """Reach the agent; it answers when the system inside has come that far."""
        deadline = time.monotonic() + _BOOT_WITHIN_S
        while machine.poll() is None and time.monotonic() < deadline:
            self._connection = socket.socket(socket.AF_UNIX)
            self._connection.settimeout(_ANSWER_WITHIN_S)
            try:
                self._connection.connect(str(self._agent))
            except OSError:  # QEMU has not got as far as listening
                self._connection.close()
                time.sleep(0.1)
            else:
                self._answers = self._connection.makefile("rb")
                self._call("guest-ping")
                return
        raise AssertionError(f"the machine did not boot:\n{self._console.read_text()[-2000:]}")

    def _call(self, command: str, **arguments: object) -> Any:
        assert self._connection, "the machine is off"
        request = {"execute": command, "arguments": arguments}
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        assert "return" in answer, answer
        return answer["return"]


def make_disk(layers: Sequence[Path], into: Path) -> None:
    """A disk image of an overlay of ``layers``, the uppermost first."""
    merged = into.with_suffix(".merged")
    merged.mkdir()
    lower = ":".join(str(layer) for layer in layers)
    script = """
        mount -t overlay overlay -o "lowerdir=$1" "$2"
        truncate --size=4G "$3"
        mke2fs -q -t ext4 -E lazy_itable_init=1 -d "$2" "$3"
    """
    enter = ["unshare", "--mount", "--propagation=private", "bash", "-euc", script, "make-disk"]
    subprocess.run([*enter, lower, str(merged), str(into)], check=True)
