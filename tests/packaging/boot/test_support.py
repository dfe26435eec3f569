"""The archives for support, beside a running daemon on a real systemd: `ztpd report`, and Debian's
sos, which takes it along."""

from __future__ import annotations

import json
import time

import pytest

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container

MOST_BYTES = 2_000_000

SCAN = """\
import gzip, io, json, lzma, sys, tarfile
def parts(data, name):
    if data[:2] == b"\\x1f\\x8b":
        yield from parts(gzip.decompress(data), name)
    elif data[:6] == b"\\xfd7zXZ\\0":
        yield from parts(lzma.decompress(data), name)
    else:
        yield name, data
        if data[257:262] == b"ustar":
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                for each in archive:
                    if each.isfile():
                        yield from parts(archive.extractfile(each).read(), each.name)
path, *secrets = json.load(sys.stdin)
with open(path, "rb") as file:
    found = list(parts(file.read(), path))
print(json.dumps({
    "names": [name for name, _ in found],
    "leaks": [name for name, data in found for secret in secrets if secret.encode() in data],
}))
"""


def scanned(machine: Container, path: str) -> list[str]:
    """The names of all files in an archive and in archives within it: no byte is a secret's."""
    machine.run("cat >/root/scan.py", input=SCAN)
    hidden = [*bench.secrets(machine), *bench.things(machine)]
    assert len(hidden) > 5
    found = json.loads(machine.run("python3 /root/scan.py", input=json.dumps([path, *hidden])))
    assert found["leaks"] == []
    names: list[str] = found["names"]
    return names


@pytest.fixture
def sessions(running: Container) -> str:
    """The sessions that were opened so far, and the process that opened them."""
    running.eventually("""ztpd metrics | grep -qx 'ztpd_sessions_total{transport="mqtt"} 1'""")
    return counted(running)


def counted(machine: Container) -> str:
    opened = machine.run("ztpd metrics | grep '^ztpd_sessions_total'")
    return f"{opened} {bench.unit(machine, 'MainPID')} {bench.unit(machine, 'NRestarts')}"


def goes_on(machine: Container) -> None:
    """Corrections come and are used as before."""
    shown = bench.status(machine)
    assert shown["health"] == "healthy", shown
    assert shown["source"]["last_frame_age_s"] < 10


def test_a_report_takes_half_a_minute_at_most_and_disturbs_nothing(
    running: Container, sessions: str, suite: str
) -> None:
    bench.fixed(running)
    began_s = time.monotonic()
    running.run("ztpd report --output /root/r.tar.gz")
    took_s = time.monotonic() - began_s

    size = int(running.run("stat --format=%s /root/r.tar.gz"))
    assert running.run("stat --format='%a %U' /root/r.tar.gz") == "600 root"
    assert took_s < 30
    assert size < MOST_BYTES
    assert counted(running) == sessions
    goes_on(running)
    names = scanned(running, "/root/r.tar.gz")
    parts = ("report.html", "journal.txt", "history.csv", "receiver.json", "check.txt")
    assert {f"ztpd-report/{part}" for part in parts} <= set(names)
    about = "tar -xzOf /root/r.tar.gz ztpd-report/about.json"
    assert json.loads(running.run(about))["missing"] == []
    bench.measured.append(f"{suite}: report: {took_s:.1f} s, {size / 1000:.0f} kB")


def test_sos_takes_the_report_along(running: Container, sessions: str, suite: str) -> None:
    running.run("apt-get --quiet --yes install sosreport")
    plugins = running.run("sos report --list-plugins")
    assert "ztpd" in plugins.partition("currently disabled")[0]

    began_s = time.monotonic()
    running.run("sos report --batch --only-plugins ztpd,systemd,process --tmp-dir /root")
    took_s = time.monotonic() - began_s

    (archive,) = running.run("ls /root/sos*.tar.*z").split()
    names = scanned(running, archive)
    inside = [name.partition("/sos_commands/ztpd/")[2] for name in names]
    assert {"ztpd-report.tar.gz", "ztpd_status"} <= {*inside, *map(outer, names)}
    assert "ztpd-report/report.html" in names
    assert counted(running) == sessions
    goes_on(running)
    bench.measured.append(f"{suite}: sos with ztpd: {took_s:.0f} s")
    running.run("systemctl stop simulators; apt-get --quiet --yes purge ztpd")
    assert running.run("find /usr/lib/python3/dist-packages/sos -name '*ztpd*'") == ""
    assert "ztpd" not in running.run("sos report --list-plugins")


def outer(name: str) -> str:
    """An archive within is named by its place, too."""
    return name.rpartition("/")[2]
