"""``ztpd import``: a site without provisioning uses the same daemon."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.support import ANSWERS
from tests.support.gateway import Gateway
from tests.support.until import until
from ztpd.cli import main
from ztpd.config import Config
from ztpd.model import MqttEndpoint
from ztpd.net.tls import client_context
from ztpd.provisioning.store import CredentialStore
from ztpd.sim.authority import Authority
from ztpd.sources.endpoints import endpoints
from ztpd.system.offload import offload


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "ztpd.toml").write_text("")
    return tmp_path


def take_in(home: Path, file: Path) -> int:
    return main(["import", str(file), "--config", str(home / "ztpd.toml")])


def changed(name: str, **fields: Any) -> bytes:
    return json.dumps(json.loads((ANSWERS / name).read_bytes()) | fields).encode()


@pytest.mark.parametrize(
    "name",
    ["flex-mqtt-spartn.json", "flex-ntrip-rtcm.json", "flex-both.json", "portal-ucenter.json"],
)
def test_both_shapes_of_the_portal_are_stored(
    home: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "download.json"
    shutil.copy(ANSWERS / name, file)

    assert take_in(home, file) == 0

    reported = capsys.readouterr()
    assert reported.out.startswith("imported: ")
    assert "delete it" in reported.err
    loaded = CredentialStore(home / "state").load()
    assert loaded is not None
    assert loaded.stored.hardware_id == ""
    assert loaded.stored.credentials.answer == json.loads(file.read_bytes())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>log in</html>",
        b'{"clientId": "x"}',
        b"{" * 100_000,
        b"a" * 300_000,
        (ANSWERS / "flex-both.json").read_bytes()[:-200],
        changed("flex-mqtt-spartn.json", certificate="-----BEGIN CERTIFICATE-----\nAAAA\n"),
        changed(
            "flex-ntrip-rtcm.json",
            rtcmCredentials={"endpoint": "10.0.0.1", "userName": "u", "password": "p"},
        ),
    ],
    ids=["empty", "web page", "no credentials", "deep", "huge", "cut", "bad pair", "private host"],
)
def test_a_file_that_cannot_be_used_ends_with_65_and_changes_nothing(
    home: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "download.json"
    file.write_bytes(content)

    assert take_in(home, file) == 65
    assert str(file) in capsys.readouterr().err
    assert not (home / "state").exists()


def test_FR34_a_file_in_utf_16_is_named(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = home / "download.json"
    file.write_bytes((ANSWERS / "flex-both.json").read_text().encode("utf-16"))
    assert take_in(home, file) == 65
    assert "is UTF-16: save it as UTF-8" in capsys.readouterr().err


def test_a_file_that_is_not_there_ends_with_65(home: Path) -> None:
    assert take_in(home, home / "gone.json") == 65


def test_S10_an_unsafe_directory_ends_with_77_and_the_remedy(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "state").mkdir(mode=0o755)

    assert take_in(home, ANSWERS / "flex-both.json") == 77
    assert "chmod 0700" in capsys.readouterr().err


def test_imported_credentials_are_shown_as_imported(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    take_in(home, ANSWERS / "flex-ntrip-rtcm.json")
    assert main(["credentials", "show"]) == 0

    assert "from a file" in capsys.readouterr().out


def test_the_authority_of_the_download_alone_vouches_for_the_broker(home: Path) -> None:
    authority = Authority()
    download = json.loads((ANSWERS / "portal-ucenter.json").read_bytes())
    pair = download["MQTT"]["Connectivity"]["ClientCredentials"]
    pair["RootCA"] = authority.certificate
    (home / "download.json").write_text(json.dumps(download))
    take_in(home, home / "download.json")
    loaded = CredentialStore(home / "state").load()
    assert loaded is not None

    [endpoint] = endpoints(Config(), loaded.stored.credentials)

    assert isinstance(endpoint, MqttEndpoint)
    assert endpoint.authority.strip() == authority.certificate.strip()
    assert len(client_context(authority=endpoint.authority).get_ca_certs()) == 1


def test_a_configured_authority_wins_over_that_of_the_download(tmp_path: Path) -> None:
    configured = Authority().write(tmp_path / "ca.pem")
    context = client_context(str(configured), authority=Authority().certificate)

    assert len(context.get_ca_certs()) == 1


async def test_a_running_daemon_uses_imported_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = Gateway(tmp_path)
    path = gateway.configure(
        ztp={"token_file": tmp_path / "none", "splay_s": 0},
        identity={"source": "fixed", "hardware_id": "gw-1"},
    )
    monkeypatch.setenv("STATE_DIRECTORY", str(gateway.state_dir))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(gateway.runtime_dir))
    (tmp_path / "token").unlink()
    async with gateway.running():
        await until(lambda: gateway.status.get("state") == "blocked")
        words = ["import", str(ANSWERS / "flex-ntrip-rtcm.json"), "--config", str(path)]
        assert await offload(main, words) == 0
        await until(lambda: "client_id" in gateway.status)
        await asyncio.sleep(0)

        assert gateway.status["reason"]["event"] != "ztp.token_missing"
