"""The package as a file: reproducible, clean, small, and without secrets."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from tests.packaging.boot import bench
from tests.packaging.boot.conftest import TOP, tree
from tests.packaging.boot.container import Container


def build(into: Path, **environment: str) -> bytes:
    subprocess.run(
        [TOP / "packaging/build-deb", into],
        env=os.environ | environment,
        cwd="/",
        stdout=subprocess.DEVNULL,
        check=True,
    )
    (built,) = into.glob("*.deb")
    return built.read_bytes()


def test_the_same_source_gives_the_same_bytes(deb: Path, top: Path) -> None:
    first = build(top / "first")
    second = build(top / "second", TZ="Asia/Tokyo", LC_ALL="C", HOME="/nonexistent")

    assert first == second == deb.read_bytes()


def test_lintian_has_nothing_to_say(suite: str, place: Path, payload: Path) -> None:
    container = Container([tree(suite, "lint") / "root"], place, payload)

    said = container.once("lintian", "--allow-root", "--fail-on=none", "/payload/ztpd.deb")

    assert not re.findall(r"^[EW]: .*", said, re.M)


def test_the_package_fits_any_gateway_and_needs_no_foreign_python(deb: Path) -> None:
    fields = ["Architecture", "Depends"]
    shown = subprocess.run(["dpkg-deb", "--field", deb, *fields], capture_output=True, text=True)
    control = dict(line.split(": ", 1) for line in shown.stdout.splitlines())

    assert control["Architecture"] == "all"
    depends = set(re.findall(r"python3[\w:.-]*", control["Depends"]))
    libraries = {"aiohttp", "paho-mqtt", "serial", "systemd", "tenacity"}
    assert depends == {f"python3-{name}" for name in libraries} | {"python3:any"}


def test_the_package_is_small(deb: Path) -> None:
    size = deb.stat().st_size
    bench.measured.append(f"package: {size / 1000:.0f} kB")

    assert size < 450_000  # docs/decisions/0009


def test_T15_no_token_and_no_credentials_are_in_it(deb: Path) -> None:
    shown = subprocess.run(["dpkg-deb", "--contents", deb], capture_output=True, text=True)

    assert "./etc/ztpd/ztpd.toml\n" in shown.stdout
    assert "/token\n" not in shown.stdout
    assert "/var/" not in shown.stdout
