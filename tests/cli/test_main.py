import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pytest

from tests.support import ANSWERS
from ztpd import config
from ztpd.cli import main
from ztpd.sim.modem import SARA_R5, SimModem
from ztpd.sim.portal import TOKEN
from ztpd.system import control_server
from ztpd.system.offload import offload
from ztpd.system.runlock import RunLock


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place for everything that ztpd keeps, and a configuration that points there.

    Other users can reach it, unlike the directories of pytest.
    """
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        place.chmod(0o711)
        monkeypatch.setenv("STATE_DIRECTORY", str(place / "state"))
        monkeypatch.setenv("RUNTIME_DIRECTORY", str(place / "run"))
        (place / "ztpd.toml").write_text(f'[ztp]\ntoken_file = "{place}/token"\n')
        yield place


def ztpd(home: Path, *words: str) -> int:
    return main([*words, "--config", str(home / "ztpd.toml")])


@pytest.mark.parametrize("words", [["frobnicate"], ["config"], ["run", "--loud"]])
def test_a_wrong_command_line_ends_with_64(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)

    assert ended.value.code == 64
    assert "usage:" in capsys.readouterr().err


def test_FR77_a_word_that_is_nearly_right_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    for words, meant in ((["stauts"], "status"), (["receiver", "shwo"], "show")):
        with pytest.raises(SystemExit):
            main(words)
        assert f"did you mean {meant}?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["frobnicate"])
    assert "did you mean" not in capsys.readouterr().err


def test_FR77_without_a_verb_the_help_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 64
    reported = capsys.readouterr().err
    assert "usage:" in reported
    assert "status" in reported.partition("VERB")[2]


@pytest.mark.parametrize("before", [True, False])
def test_the_configuration_is_named_before_or_after_the_verb(
    home: Path, before: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    named, verb = ["--config", str(home / "ztpd.toml")], ["config", "check"]

    assert main([*named, *verb] if before else [*verb, *named]) == 0
    assert "all is well" in capsys.readouterr().out


def test_D13_a_missing_configuration_is_named_with_its_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--config", str(tmp_path / "gone.toml")]) == 78
    reported = capsys.readouterr().err
    assert "gone.toml" in reported
    assert "ztpd config example" in reported


def test_an_unknown_key_fails_the_check_and_names_the_nearest(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "ztpd.toml").write_text("[ztp]\ntokenfile = 1\n")

    assert ztpd(home, "config", "check") == 78
    assert "ztp.tokenfile; did you mean ztp.token_file?" in capsys.readouterr().out


def check_as_daemon(home: Path, uid: int = 65534) -> subprocess.CompletedProcess[str]:
    """`ztpd config check`, by root where we are root, for a daemon of another user."""
    (home / "state").mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(home / "state", uid, uid)
    verb = ["--config", str(home / "ztpd.toml"), "config", "check"]
    command = [sys.executable, "-m", "ztpd", *verb]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_FR81_a_drop_in_that_the_daemon_cannot_read_is_named_with_its_chmod(home: Path) -> None:
    drop_ins = home / "ztpd.toml.d"
    drop_ins.mkdir(mode=0o755)
    (drop_ins / "98-y.toml").touch(mode=0o600)

    done = check_as_daemon(home)
    assert done.returncode == 78
    assert f"`chmod 0644 {drop_ins}/98-y.toml`" in done.stderr
    (drop_ins / "98-y.toml").chmod(0o644)
    drop_ins.chmod(0o700)
    assert f"`chmod 0755 {drop_ins}`" in check_as_daemon(home).stderr
    drop_ins.chmod(0o755)
    assert check_as_daemon(home).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_a_user_without_a_name_is_named_by_number(home: Path) -> None:
    """As in a container that runs under any number, or on a card with the state of another one."""
    (home / "ztpd.toml").chmod(0o600)
    done = check_as_daemon(home, 47_110)
    assert "may not be read by user 47110" in done.stderr
    (home / "ztpd.toml").write_text(f'[ntrip]\nca_file = "{home}/gone"\n')
    (home / "ztpd.toml").chmod(0o644)
    assert "for user 47110" in check_as_daemon(home, 47_110).stdout


def test_the_check_finds_files_that_the_daemon_cannot_read(home: Path) -> None:
    password, authority = home / "password", home / "ca.pem"
    table = f'username = "u"\npassword_file = "{password}"\nca_file = "{authority}"\n'
    (home / "ztpd.toml").write_text(f"[ntrip]\n{table}")
    password.touch(mode=0o000 if os.geteuid() else 0o600)

    done = check_as_daemon(home)
    assert done.returncode == 78
    assert f"ntrip.password_file = {password}: Permission denied, for user" in done.stdout
    assert f"ntrip.ca_file = {authority}: No such file or directory" in done.stdout

    authority.touch()
    password.chmod(0o604)
    assert check_as_daemon(home).stdout.endswith("all is well\n")


@pytest.mark.timeout(20)
@pytest.mark.parametrize("words", ["run", "config check", "status"])
@pytest.mark.parametrize("name", ["ztpd.toml", "ztpd.toml.d/50-site.toml"])
def test_D13_no_verb_waits_for_a_fifo_in_the_place_of_the_configuration(
    home: Path, words: str, name: str
) -> None:
    (home / "ztpd.toml.d").mkdir()
    (home / name).unlink(missing_ok=True)
    os.mkfifo(home / name)
    command = [sys.executable, "-m", "ztpd", "--config", str(home / "ztpd.toml"), *words.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    assert "Traceback" not in done.stderr
    if words != "status":  # that needs no configuration to say that no daemon runs
        assert done.returncode == 78
        assert f"{home / name}: is not a regular file" in done.stderr


@pytest.mark.timeout(20)
@pytest.mark.parametrize("setting", ["password_file", "ca_file"])
def test_the_check_does_not_wait_for_a_fifo_that_a_setting_names(home: Path, setting: str) -> None:
    os.mkfifo(home / "fifo", 0o604)
    (home / "ztpd.toml").write_text(f'[ntrip]\nusername = "u"\n{setting} = "{home}/fifo"\n')

    done = check_as_daemon(home)
    assert done.returncode == 78
    assert f"ntrip.{setting} = {home}/fifo: is not a regular file" in done.stdout


def test_the_example_is_a_valid_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "example"]) == 0
    (tmp_path / "ztpd.toml").write_text(capsys.readouterr().out)

    assert config.load(tmp_path / "ztpd.toml").config == config.Config()


def test_without_a_daemon_status_says_so_and_ends_with_3(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ztpd(home, "status") == 3
    assert "not running" in capsys.readouterr().out
    assert ztpd(home, "status", "--json") == 3
    assert json.loads(capsys.readouterr().out)["running"] is False


@pytest.mark.parametrize("verb", ["retry", "pause", "resume"])
def test_without_a_daemon_a_request_ends_with_3(
    home: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    assert ztpd(home, verb) == 3
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
    reported = capsys.readouterr()
    assert json.loads(reported.out)["error"]["event"] == "modem.wrong_port"
    assert f"ztpd: the port does not speak AT: {port}" in reported.err
    assert "docs/modems.md" in reported.err


@pytest.mark.parametrize("words", [[], pytest.param(["--json"], marks=pytest.mark.slow)])
async def test_FR70_a_number_with_a_wrong_check_digit_is_printed_for_the_comparison(
    home: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    (home / "ztpd.toml").write_text(f'[identity]\nsource = "at"\nport = "{home / "modem"}"\n')
    async with SimModem(home / "modem", replace(SARA_R5, imei="490154203237519"), scale=0.05):
        assert await offload(ztpd, home, "imei", *words) == 69
    captured = capsys.readouterr()

    assert "the check digit is wrong" in captured.err
    assert "with the label on the modem" in captured.err
    if words:
        assert json.loads(captured.out)["error"]["number"] == "490154203237519"
    else:
        assert "the modem gives the number 490154203237519" in captured.err


def set_token(home: Path, text: str | bytes, monkeypatch: pytest.MonkeyPatch) -> int:
    data = text.encode() if isinstance(text, str) else text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    monkeypatch.setenv("PATH", "")  # no systemctl
    return ztpd(home, "token", "set")


def test_FR34_a_byte_order_mark_before_a_token_on_standard_input_is_not_stored(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_token(home, b"\xef\xbb\xbf" + TOKEN.reveal().encode(), monkeypatch) == 0
    assert (home / "token").read_bytes() == TOKEN.reveal().encode() + b"\n"

    assert set_token(home, TOKEN.reveal().encode("utf-16"), monkeypatch) == 64
    assert "is UTF-16: save it as UTF-8" in capsys.readouterr().err


def test_a_token_is_stored_for_its_owner_only(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set_token(home, f" {TOKEN.reveal()} \n", monkeypatch) == 0

    assert (home / "token").read_text().strip() == TOKEN.reveal()
    assert (home / "token").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "environ",
    [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}],
    ids=["ascii", "locale C"],
)
def test_text_that_the_terminal_cannot_show_ends_no_verb(
    home: Path, environ: dict[str, str]
) -> None:
    backup = '[[backup]]\nname = "Straße"\nhost = "a.example"\nmountpoint = "M"\n'
    (home / "ztpd.toml").write_text(backup, encoding="utf-8")
    command = [sys.executable, "-m", "ztpd", "--config", str(home / "ztpd.toml"), "config", "show"]
    done = subprocess.run(command, env=os.environ | environ, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert b'name = "Stra\\xdfe"' in done.stdout


def test_a_closed_standard_output_changes_no_exit_status(home: Path) -> None:
    command = f"exec {sys.executable} -m ztpd --config {home}/ztpd.toml status >&-"
    done = subprocess.run(["sh", "-c", command], stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (3, "")


def printing(
    home: Path, words: str, output: IO[str], unbuffered: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ztpd", "--config", str(home / "ztpd.toml"), *words.split()],
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    "words",
    ["status", "status --json", "metrics", "config show", "--help", "status --help", "--version"],
)
def test_a_full_disk_behind_standard_output_is_named(
    home: Path, words: str, unbuffered: str
) -> None:
    with Path("/dev/full").open("w") as full:
        done = printing(home, words, full, unbuffered)
    said = done.stderr.splitlines()
    assert said[0] == "ztpd: standard output cannot be written: No space left on device"
    assert (done.returncode, len(said)) == (74, 2)


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_ended_is_no_failure(home: Path, unbuffered: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        done = printing(home, "config show", pipe, unbuffered)
    assert (done.returncode, done.stderr) == (0, "")


AS_NOBODY = """
import os, sys
import encodings.utf_8_sig, ztpd.cli.credentials, ztpd.cli.screen, ztpd.cli.token, ztpd.wire.ztp
from ztpd.cli.arguments import parser
from ztpd.cli.main import main
from ztpd.provisioning import provisioner, schedule, store
parser()  # all is imported now that only root may read here
os.geteuid() or os.setuid(65534)
sys.exit(main(sys.argv[1:]))
"""


def test_a_missing_permission_is_reported_as_such(home: Path) -> None:
    (home / "state").mkdir(mode=0o700)
    (home / "state/credentials.json").touch()
    if os.geteuid() != 0:
        (home / "state").chmod(0)
    (home / "ztpd.toml").chmod(0o644)
    for words in (["credentials", "forget"], ["credentials", "show"], ["token", "set"]):
        done = subprocess.run(
            [sys.executable, "-c", AS_NOBODY, *words, "--config", str(home / "ztpd.toml")],
            input=TOKEN.reveal(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 77, done.stderr
        assert "with sudo" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_provisioned_gateway_needs_no_token_to_say_so(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = ANSWERS / "flex-ntrip-rtcm.json"
    assert ztpd(home, "import", str(answer)) == 0
    assert ztpd(home, "provision") == 0

    assert "already provisioned: NTRIP" in capsys.readouterr().out


def test_a_state_directory_that_cannot_be_made_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "file").touch()
    monkeypatch.setenv("STATE_DIRECTORY", str(home / "file/state"))
    answer = ANSWERS / "flex-ntrip-rtcm.json"

    assert ztpd(home, "import", str(answer)) == 74
    assert "file/state: Not a directory" in capsys.readouterr().err


def test_half_an_option_is_a_mistake(home: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        ztpd(home, "status", "--js")

    assert ended.value.code == 64


def test_a_token_that_the_unit_does_not_hand_over_is_the_daemons_own(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "state").mkdir()
    if os.geteuid() == 0:
        os.chown(home / "state", 65534, 65534)
    assert set_token(home, TOKEN.reveal(), monkeypatch) == 0

    assert (home / "token").stat().st_uid == (home / "state").stat().st_uid
    assert (home / "token").stat().st_mode & 0o777 == 0o600


def test_a_new_token_beside_an_encrypted_one_is_reported(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "token.cred").touch()
    assert set_token(home, TOKEN.reveal(), monkeypatch) == 0

    assert f"encrypt --name=ztp-token {home}/token {home}/token.cred" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "\n", "abc\n", TOKEN.reveal().upper() + "\n"])
def test_Z14_a_malformed_token_is_not_stored(
    home: Path, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert set_token(home, text, monkeypatch) == 64

    assert not (home / "token").exists()
    assert "8-4-4-4-12" in capsys.readouterr().err


def test_a_dry_run_shows_the_request_without_the_token(
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


def test_status_loads_no_library_that_it_does_not_need(home: Path) -> None:
    code = (
        "import sys; from ztpd.cli import main; main(['status']); "
        "print(*{'aiohttp', 'paho', 'serial'} & set(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ
    )

    assert "not running" in done.stdout
    assert done.stderr.split() == []


def test_FR92_a_token_typed_at_a_terminal_is_not_shown(home: Path) -> None:
    ours, terminal = os.openpty()
    command = [sys.executable, "-m", "ztpd", "token", "set", "--config", str(home / "ztpd.toml")]
    attach = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); "
    attach += "os.execv(sys.argv[1], sys.argv[1:])"
    with subprocess.Popen(
        [sys.executable, "-c", attach, *command],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
    ) as process:
        os.close(terminal)
        shown = b""
        while b"Enter: " not in shown:
            shown += os.read(ours, 1024)
        os.write(ours, TOKEN.reveal().encode() + b"\n")
        with contextlib.suppress(OSError):  # EIO: the other side has closed
            while more := os.read(ours, 1024):
                shown += more
        assert process.wait(10) == 0
    os.close(ours)
    assert TOKEN.reveal().encode() not in shown
    assert (home / "token").read_text().strip() == TOKEN.reveal()


@pytest.mark.skipif(os.geteuid() != 0, reason="another user may only be played by root")
def test_FR92_root_writes_no_token_below_a_folder_of_another_user(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = home / "theirs"
    theirs.mkdir()
    os.chown(theirs, 4711, 4711)
    (home / "target").write_text("kept")
    (theirs / "sub").symlink_to(home)
    for name in ("theirs/target", "theirs/sub/target"):
        (home / "ztpd.toml").write_text(f'[ztp]\ntoken_file = "{home}/{name}"\n')
        given = io.TextIOWrapper(io.BytesIO(TOKEN.reveal().encode()))
        monkeypatch.setattr("sys.stdin", given)
        assert ztpd(home, "token", "set") != 0
        assert "users other than root may change" in capsys.readouterr().err
    assert (home / "target").read_text() == "kept"


async def test_FR73_a_token_for_a_gateway_that_streams_restarts_nothing(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (home / "run").mkdir()
    lock = RunLock(home / "run")
    lock.take()
    states = ["streaming", "blocked"]

    async def answer(_: dict[str, Any]) -> dict[str, Any]:
        return {"ok": True, "status": {"schema": 1, "state": states.pop(0)}}

    async with control_server.serve(home / "run", answer):
        assert await offload(set_token, home, TOKEN.reveal(), monkeypatch) == 0
        first = capsys.readouterr()
        assert await offload(set_token, home, TOKEN.reveal(), monkeypatch) == 0
        second = capsys.readouterr()
    lock.release()

    assert "corrections flow without it" in first.out
    assert "restart" not in first.out + first.err
    assert "systemctl restart ztpd" in second.err
