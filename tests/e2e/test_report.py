"""``ztpd report`` beside the whole daemon, and where none runs."""

from __future__ import annotations

import asyncio
import base64
import gzip
import html
import json
import os
import re
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.gateway import Gateway
from tests.support.services import IMEI, services, state
from tests.support.until import until
from ztpd.cli import main
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.portal import TOKEN
from ztpd.system.offload import offload

NEARBY = {"host": "127.0.0.1", "port": 9, "mountpoint": "MP", "tls": False}
PASSWORD = "canary&of<the>'backup'\"é\\"
LATITUDE, LONGITUDE = 52.52, 13.405  # of the simulated receiver
PLACES = ("52.52", "13.405", "5231.2", "01324.3", "525200", "134050", "472851234", "L2N4775E00850")
SENTENCE = "$GNGGA,120000.00,5231.20000,N,01324.30000,E,4,21,0.6,34.0,M,44.0,M,2.0,0000*5A"


@pytest.fixture(autouse=True)
def _journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal with all that must not be in it."""
    lines = [
        "2026-11-29T08:00:00+0000 gateway ztpd[1]: corrections flow",
        f"2026-11-29T08:00:01+0000 gateway ztpd[1]: somebody logged {TOKEN.reveal()}",
        f"2026-11-29T08:00:02+0000 gateway ztpd[1]: and {PASSWORD}, and {SENTENCE}",
        f"2026-11-29T08:00:03+0000 gateway ztpd[1]: IMEI {IMEI}, at 52.5200001, 13.4050001",
        "2026-11-29T08:00:04+0000 gateway ztpd[1]: refused: pp/ip/L2N4775E00850/gad",
    ]
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "journalctl"
    command.write_text("#!/bin/sh\ncat <<'END'\n" + "\n".join(lines) + "\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def report(top: Path, *words: str) -> int:
    return main(["--config", str(top / "ztpd.toml"), "report", *words])


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path) as archive:
        files = {
            each.name.removeprefix("ztpd-report/"): archive.extractfile(each)
            for each in archive.getmembers()
        }
        return {name: file.read().decode() for name, file in files.items() if file}


def _json_texts(files: dict[str, str]) -> list[str]:
    """The JSON files as a reader decodes them."""
    return [repr(json.loads(text)) for name, text in files.items() if name.endswith(".json")]


def secrets(gateway: Gateway) -> set[str]:
    """Every secret of the gateway, in each form in which it may appear."""
    loaded = CredentialStore(gateway.state_dir).load()
    assert loaded
    stored = loaded.stored.credentials
    found = {TOKEN.reveal(), PASSWORD, IMEI}
    for secret in stored.secrets():
        text = secret.reveal()
        found |= {text, base64.b64encode(text.encode()).decode()}
        found |= {line for line in text.splitlines() if len(line) > 20 and "-----" not in line}
    assert stored.ntrip
    basic = f"{stored.ntrip.username}:{stored.ntrip.password.reveal()}"
    return found | {basic, base64.b64encode(basic.encode()).decode()}


@pytest.mark.slow
async def test_the_report_beside_the_daemon_has_all_parts_and_no_secret_and_no_position(
    directory: Path,
) -> None:
    (directory / "password").write_text(PASSWORD + "\n")
    backup = NEARBY | {"username": "u", "password_file": directory / "password"}
    async with services(directory, backup=[backup]) as (gateway, _, caster), gateway.running():
        await until(lambda: state(gateway) == "streaming", 30)
        await until(lambda: gateway.status["receiver"]["fix"] == "RTK fixed", 60)
        await asyncio.sleep(11)  # a sample with a position
        frames = sum(gateway.status["source"]["frames"].values())
        before = caster.requests if hasattr(caster, "requests") else None
        began_s = time.monotonic()
        assert await offload(report, directory, "--output", str(directory / "r.tar.gz")) == 0
        assert time.monotonic() - began_s < 30
        whole = directory / "with.tar.gz"
        assert await offload(report, directory, "--with-position", "--output", str(whole)) == 0
        await until(lambda: sum(gateway.status["source"]["frames"].values()) > frames, 15)
        assert state(gateway) == "streaming", "it was not disturbed"
        assert before == (caster.requests if hasattr(caster, "requests") else None)
        hidden = secrets(gateway)

    path = directory / "r.tar.gz"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.stat().st_size < 2_000_000
    files = unpacked(path)
    assert set(files) == {
        "report.html",
        "about.json",
        "status.json",
        "status.txt",
        "check.json",
        "check.txt",
        "config.toml",
        "journal.txt",
        "receiver.json",
        "history.csv",
    }
    every_byte = gzip.decompress(path.read_bytes()).decode()
    for text in (every_byte, html.unescape(every_byte), *_json_texts(files)):
        for secret in hidden:
            assert secret.lower() not in text.lower()
    for place in PLACES:
        assert place not in every_byte, place
    assert "somebody logged ***" in files["journal.txt"]
    assert "corrections flow" in files["journal.txt"]
    assert json.loads(files["about.json"])["missing"] == []
    assert json.loads(files["status.json"])["state"] == "streaming"
    assert json.loads(files["receiver.json"])["model"].startswith("ZED-")
    changed = {each["name"]: each for each in json.loads(files["receiver.json"])["changed"]}
    assert changed["CFG-MSGOUT-UBX_NAV_PVT_USB"]["value"] == 1
    assert changed["CFG-MSGOUT-UBX_NAV_PVT_USB"]["default"] == 0
    assert "differs from the default" in files["report.html"]
    assert "ZTP service" in files["check.txt"]
    assert files["history.csv"].count("\n") >= 3
    assert "Scatter of the position" in files["report.html"]
    assert "frames 1077" in files["history.csv"].splitlines()[0]

    positions = unpacked(whole)["history.csv"]
    assert str(LATITUDE) in positions
    assert str(LONGITUDE) in positions
    whole_text = gzip.decompress(whole.read_bytes()).decode().lower()
    assert not [secret for secret in hidden if secret.lower() in whole_text]


async def test_positions_in_receiver_settings_are_left_out(directory: Path) -> None:
    gateway = Gateway(directory)
    gateway.configure(
        receiver={
            "port": gateway.gnss.path,
            "keys": {"CFG-GEOFENCE-FENCE1_LAT": 472851234, "CFG-RATE-MEAS": 1000},
        },
        identity={"source": "fixed", "hardware_id": IMEI},
        mqtt={"topics": ["pp/ip/L2N4775E00850/gad"], "host": "127.0.0.1"},
    )
    assert await offload(report, directory, "--output", str(directory / "r.tar.gz")) == 0
    files = unpacked(directory / "r.tar.gz")
    assert 'CFG-GEOFENCE-FENCE1_LAT = "left out: a position"' in files["config.toml"]
    assert "CFG-RATE-MEAS = 1000" in files["config.toml"]
    assert IMEI not in files["config.toml"]
    every_byte = gzip.decompress((directory / "r.tar.gz").read_bytes()).decode()
    assert "472851234" not in every_byte
    assert "L2N4775E00850" not in every_byte


async def test_without_a_daemon_the_report_says_what_it_lacks(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = Gateway(directory)
    gateway.configure(ntrip=NEARBY)
    began_s = time.monotonic()
    assert await offload(report, directory, "--output", str(directory / "r.tar.gz")) == 0
    assert time.monotonic() - began_s < 30
    files = unpacked(directory / "r.tar.gz")
    about = json.loads(files["about.json"])
    assert (about["running"], about["verdict"]) == (False, "not running")
    assert {"history", "receiver settings"} <= {each["part"] for each in about["missing"]}
    assert "check.txt" in files
    assert "Not in this report" in files["report.html"]
    assert "not in it: history: no daemon runs" in capsys.readouterr().err


async def test_a_wrong_configuration_is_in_the_report_too(directory: Path) -> None:
    gateway = Gateway(directory)
    gateway.configure(ztp={"timeout_s": "soon"})
    assert await offload(report, directory, "--output", str(directory / "r.tar.gz")) == 0
    files = unpacked(directory / "r.tar.gz")
    (lacks,) = [
        each
        for each in json.loads(files["about.json"])["missing"]
        if each["part"] == "configuration"
    ]
    assert "ztp.timeout_s" in lacks["why"]


@pytest.mark.parametrize("name", ["there/is/no/such/folder.tar.gz", "taken.tar.gz", "link.tar.gz"])
def test_a_file_that_cannot_be_made_ends_with_73_and_nothing_is_overwritten(
    directory: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Gateway(directory).configure(ntrip=NEARBY)
    (directory / "taken.tar.gz").write_text("mine")
    (directory / "link.tar.gz").symlink_to(directory / "taken.tar.gz")
    assert report(directory, "--output", str(directory / name)) == 73
    assert (directory / "taken.tar.gz").read_text() == "mine"
    assert re.search(r"ztpd: .*: (File exists|No such file or directory)", capsys.readouterr().err)


def test_the_default_name_has_the_date(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Gateway(directory).configure(ntrip=NEARBY)
    monkeypatch.chdir(directory)
    assert report(directory) == 0
    (path,) = directory.glob("ztpd-report-*.tar.gz")
    assert re.fullmatch(r"ztpd-report-\d{8}-\d{6}\.tar\.gz", path.name)
