import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ztpd import cli, config
from ztpd.sim.portal import TOKEN


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place for everything that ztpd keeps, and a configuration that points there."""
    monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path / "state"))
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path / "run"))
    (tmp_path / "ztpd.toml").write_text(f'[ztp]\ntoken_file = "{tmp_path}/token"\n')
    return tmp_path


def ztpd(home: Path, *words: str) -> int:
    return cli.main([*words, "--config", str(home / "ztpd.toml")])


@pytest.mark.parametrize("words", [["frobnicate"], [], ["config"], ["run", "--loud"]])
def test_a_wrong_command_line_ends_with_64(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)

    assert ended.value.code == 64
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("before", [True, False])
def test_the_configuration_is_named_before_or_after_the_verb(
    home: Path, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    named, verb = ["--config", str(home / "ztpd.toml")], ["config", "check"]

    assert cli.main([*named, *verb] if before else [*verb, *named]) == 0
    assert "all is well" in capsys.readouterr().out


def test_D13_a_missing_configuration_is_named_with_its_cure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--config", str(tmp_path / "gone.toml")]) == 78
    told = capsys.readouterr().err
    assert "gone.toml" in told
    assert "ztpd config example" in told


def test_an_unknown_key_fails_the_check_and_names_the_nearest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ztpd.toml").write_text("[ztp]\ntokenfile = 1\n")

    assert ztpd(home, "config", "check") == 78
    assert "ztp.tokenfile; did you mean ztp.token_file?" in capsys.readouterr().out


def test_the_example_is_a_valid_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["config", "example"]) == 0
    (tmp_path / "ztpd.toml").write_text(capsys.readouterr().out)

    assert config.load(tmp_path / "ztpd.toml").config == config.Config()


def test_without_a_daemon_status_says_so_and_ends_with_3(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ztpd(home, "status") == 3
    assert "not running" in capsys.readouterr().out
    assert ztpd(home, "status", "--json") == 3
    assert json.loads(capsys.readouterr().out)["running"] is False


def test_without_a_daemon_retry_ends_with_3(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ztpd(home, "retry") == 3
    assert "systemctl start ztpd" in capsys.readouterr().err


def test_a_fixed_identity_is_printed(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "ztpd.toml").write_text('[identity]\nsource = "fixed"\nhardware_id = "gw-1"\n')

    assert ztpd(home, "imei") == 0
    assert capsys.readouterr().out == "gw-1\n"
    assert ztpd(home, "imei", "--json") == 0
    assert json.loads(capsys.readouterr().out)["hardware_id"] == "gw-1"


def test_an_identity_that_cannot_be_read_is_explained_in_both_forms(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = home / "ztpd.toml"
    port.write_text(f'[identity]\nsource = "at"\nport = "{port}"\n')

    assert ztpd(home, "imei", "--json") == 69
    told = capsys.readouterr()
    assert json.loads(told.out)["error"]["event"] == "modem.wrong_port"
    assert f"ztpd: the port does not speak AT: {port}" in told.err
    assert "docs/modems.md" in told.err


def set_token(home: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    monkeypatch.setenv("PATH", "")  # no systemctl
    return ztpd(home, "token", "set")


def test_a_token_is_stored_for_its_owner_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_token(home, f" {TOKEN.reveal()} \n", monkeypatch) == 0

    assert (home / "token").read_text().strip() == TOKEN.reveal()
    assert (home / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("text", ["", "\n", "abc\n", TOKEN.reveal().upper() + "\n"])
def test_Z14_a_malformed_token_is_not_stored(
    home: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_token(home, text, monkeypatch) == 64

    assert not (home / "token").exists()
    assert "8-4-4-4-12" in capsys.readouterr().err


def test_a_dry_run_shows_what_would_be_sent_without_the_token(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "token").touch(mode=0o600)
    (home / "token").write_text(TOKEN.reveal())
    with (home / "ztpd.toml").open("a") as file:
        file.write('given_name = "gw {imei}"\n')
        file.write('[identity]\nsource = "fixed"\nhardware_id = "490154203237518"\n')

    assert ztpd(home, "provision", "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "https://api.thingstream.io/ztp/pointperfect/credentials" in shown
    assert '"hardwareId": "490154203237518"' in shown
    assert '"givenName": "gw 490154203237518"' in shown
    assert TOKEN.reveal() not in shown


def test_credentials_that_are_not_there_are_66(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ztpd(home, "credentials", "show") == 66
    assert ztpd(home, "credentials", "forget") == 66


def test_the_program_starts_without_the_libraries_it_may_not_need() -> None:
    code = "import sys, ztpd.cli; print(*{'aiohttp', 'paho', 'serial'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    assert done.stdout.split() == []
