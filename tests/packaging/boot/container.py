"""A real systemd in a container: the package as on a gateway, seconds to boot, no network.

The tree of a container is an overlay: the changes of a container are one more layer, from which
the next one starts.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from tests.packaging.boot.bench import last_words

_NAME = "ztpd-boot-test"

# In a mount namespace of its own, so that nothing stays mounted. Where the machine has the cgroups
# of old, the container gets a hierarchy of the new kind; its systemd wants nothing else.
_ENTER = """
lower=$1 top=$2; shift 2
if [ "$(stat --file-system --format=%T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount --lazy /sys/fs/cgroup
    mount -t cgroup2 none /sys/fs/cgroup
fi
group=/sys/fs/cgroup/ztpd-boot-test.$$
mkdir "$group"
echo $$ >"$group/cgroup.procs"
mount -t overlay overlay -o "lowerdir=$lower,upperdir=$top/changed,workdir=$top/work" "$top/root"
status=0
SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit \
    --link-journal=no --console=pipe "$@" </dev/null || status=$?
echo $$ >/sys/fs/cgroup/cgroup.procs
find "$group" -depth -type d -exec rmdir {} +
exit $status
"""

_BOOT_WITHIN_S = 60.0
_STOP_WITHIN_S = 60.0


class Container:
    """``layers`` are directories, the uppermost first; ``top`` takes the changes.

    ``files`` is seen as ``/payload`` inside; ``mounted`` has other directories, each with its place
    inside, which outlive the container like partitions of their own.
    """

    def __init__(
        self,
        layers: Sequence[Path],
        top: Path,
        files: Path,
        mounted: Mapping[Path, str] | None = None,
    ) -> None:
        self.layers = (top / "changed", *layers)
        self._lower = ":".join(str(layer) for layer in layers)
        self._top = top
        self._shared = [f"--bind-ro={files}:/payload"]
        self._shared += [f"--bind={here}:{place}" for here, place in (mounted or {}).items()]
        self._machine: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """Its process 1, seen from here."""
        for name in ("changed", "work", "root"):
            (top / name).mkdir(parents=True)

    def once(self, *command: str, online: bool = False) -> str:
        """Run ``command`` without a boot, as a builder of images does; returns its output.

        ``online``: with the network of this machine.
        """
        done = subprocess.run(
            self._nspawn(*command, online=online),
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    def __enter__(self) -> Container:
        """Boot; return when every unit that starts at boot has started."""
        console = (self._top / "console").open("wb")
        with console:
            self._machine = subprocess.Popen(
                self._nspawn("--boot", "systemd.show_status=no"),
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is ours: we switch it off in order
            )
        self.leader = self._first_process(self._machine)
        try:
            self.eventually("systemctl is-system-running --wait | grep -qxE 'running|degraded'")
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._machine is None:
            return
        self.run("systemctl --no-block poweroff", check=False)
        try:
            self._machine.wait(_STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._kill()
            raise

    def run(self, script: str, *, check: bool = True, input: str = "") -> str:
        """The output of ``script`` in the running container, standard error included."""
        return self.ask(script, check=check, input=input).stdout.strip()

    def ask(
        self, script: str, *, check: bool = False, input: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run ``script`` by a shell in the running container."""
        done = subprocess.run(
            ["nsenter", f"--target={self.leader}", "--all", "/bin/sh", "-euc", script],
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "COLUMNS": "200"},
            input=input,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            start_new_session=True,  # a signal to a whole group stays inside
        )
        assert not check or done.returncode == 0, f"{script}: {done.returncode}\n{done.stdout}"
        return done

    def eventually(self, script: str, *, within_s: float = _BOOT_WITHIN_S) -> float:
        """Wait until ``script`` ends with 0; the seconds that took."""
        began = time.monotonic()
        while (done := self.ask(script)).returncode != 0:
            passed = time.monotonic() - began
            assert passed < within_s, (
                f"{script}: not within {within_s} s\n{done.stdout}\n{last_words(self)}"
            )
            assert self._machine is None or self._machine.poll() is None, "the container has ended"
            time.sleep(0.1)
        return time.monotonic() - began

    def _nspawn(self, *arguments: str, online: bool = False) -> list[str]:
        container = [f"--machine={_NAME}", f"--directory={self._top / 'root'}"]
        if not online:
            container.append("--private-network")
        enter = ["unshare", "--mount", "--propagation=private", "bash", "-euc", _ENTER, _NAME]
        return [*enter, self._lower, str(self._top), *container, *self._shared, *arguments]

    def _first_process(self, machine: subprocess.Popen[bytes]) -> int:
        """The container's process 1, as seen from here."""
        deadline = time.monotonic() + _BOOT_WITHIN_S
        while time.monotonic() < deadline and machine.poll() is None:
            for process in _descendants(machine.pid):
                status = Path(f"/proc/{process}/status")
                if status.exists() and "\t1\n" in _line(status.read_text(), "NSpid:"):
                    return process
            time.sleep(0.05)
        console = (self._top / "console").read_text(errors="replace")
        raise AssertionError(f"no container can be booted on this machine:\n{console}")

    def _kill(self) -> None:
        if self._machine is not None:
            for process in reversed(_descendants(self._machine.pid)):
                subprocess.run(["kill", "-KILL", str(process)], check=False)
            self._machine.wait()


def _descendants(process: int) -> list[int]:
    children = Path(f"/proc/{process}/task/{process}/children")
    try:
        found = [int(child) for child in children.read_text().split()]
    except OSError:
        return []
    return [each for child in found for each in (child, *_descendants(child))]


def _line(text: str, name: str) -> str:
    return next((f"{line}\n" for line in text.splitlines() if line.startswith(name)), "")
