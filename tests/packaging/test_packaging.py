"""The texts of the package agree with the program, and the unit with its specification."""

from __future__ import annotations

import argparse
import configparser
import email.utils
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ztpd
from tests.support import TOP
from ztpd import errors
from ztpd.cli.arguments import parser as ztpd_parser
from ztpd.config.environment import CREDENTIAL, UNSET
from ztpd.system.directories import runtime_dir

DEBIAN = TOP / "packaging/debian"
UNIT = TOP / "systemd/ztpd.service"
MANUAL = TOP / "packaging/man/ztpd.8"
COMPLETION = TOP / "packaging/bash-completion/ztpd"


class _Several(dict[str, Any]):
    """Directives that are given more than once are joined, as systemd does."""

    def __setitem__(self, key: str, value: Any) -> None:
        if isinstance(value, list) and key in self:
            value = self[key] + value
        super().__setitem__(key, value)


def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(dict_type=_Several, strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser


def test_the_unit_is_watched_and_restarted_unless_a_restart_cannot_help() -> None:
    service = unit()["Service"]
    assert service["Type"] == "notify"
    assert service["WatchdogSec"] == "30"
    assert service["Restart"] == "always"
    assert service["RestartSec"] == "10"
    exit_statuses = {errors.UsageError.exit_status, errors.ConfigError.exit_status}
    assert set(map(int, service["RestartPreventExitStatus"].split())) == exit_statuses
    assert unit()["Unit"]["StartLimitIntervalSec"] == "0"
    assert "-HUP" in service["ExecReload"]


def test_D19_a_missing_token_does_not_keep_the_unit_from_starting() -> None:
    service = unit()["Service"]
    assert service["LoadCredential"] == f"{CREDENTIAL}:/etc/ztpd/token"
    assert service["SetCredential"] == f"{CREDENTIAL}:{UNSET}"


def test_D14_the_unit_waits_for_neither_network_nor_clock() -> None:
    assert not {"Wants", "Requires"} & unit()["Unit"].keys()
    assert unit()["Unit"]["After"] == "ModemManager.service", "an order, where it is installed"


def test_a_device_whose_driver_loads_later_is_not_locked_out() -> None:
    assert not {"DevicePolicy", "DeviceAllow", "PrivateDevices"} & unit()["Service"].keys()


def test_the_kernel_may_be_asked_for_routes_and_nothing_else_is_reached() -> None:
    families = set(unit()["Service"]["RestrictAddressFamilies"].split())
    assert families == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def test_T2_nothing_of_the_process_reaches_a_core_file_or_another_user() -> None:
    service = unit()["Service"]
    assert service["LimitCORE"] == "0"
    assert service["UMask"] == "0077"
    assert service["ProtectProc"] == "invisible"
    assert service["PrivateTmp"] == "yes"
    assert service["StateDirectoryMode"] == "0700"


def test_systemd_counts_the_bytes_of_the_unit() -> None:
    assert unit()["Service"]["IPAccounting"] == "yes"


def test_waits_survive_a_restart_and_not_a_reboot() -> None:
    assert unit()["Service"]["RuntimeDirectoryPreserve"] == "yes"
    assert runtime_dir({}).is_relative_to("/run")


def test_after_the_daemon_whatever_ended_it_the_metrics_say_down() -> None:
    """Two commands, because a reader must never meet half a file."""
    commands = unit()["Service"]["ExecStopPost"].splitlines()
    down, into = "/usr/share/ztpd/prometheus/down.prom", "%t/ztpd/metrics.prom"
    beside = "%t/ztpd/.metrics.prom"
    assert commands == [
        f"-/usr/bin/install -m 0644 {down} {beside}",
        f"-/usr/bin/mv -f {beside} {into}",
    ]
    tmpfiles = (DEBIAN / "ztpd.tmpfiles").read_text()
    assert f"C /run/ztpd/metrics.prom 0644 ztpd ztpd - {down}\n" in tmpfiles


def test_P12_the_sandbox_is_as_tight_as_was_promised() -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    analysis = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", "--no-pager", UNIT],
        capture_output=True,
        text=True,
        check=False,
    )
    assert analysis.returncode == 0, analysis.stdout.splitlines()[-1:]


def test_the_package_has_the_version_of_the_program() -> None:
    first_line = (DEBIAN / "changelog").read_text().splitlines()[0]
    assert first_line.startswith(f"ztpd ({ztpd.__version__}) ")


def test_the_date_of_the_release_is_the_one_in_the_changelog() -> None:
    """A clock that shows an earlier time is wrong: no gateway may find the date in its future."""
    written = re.search(r"^ -- .*>  (.+)$", (DEBIAN / "changelog").read_text(), re.MULTILINE)
    assert written is not None
    assert email.utils.parsedate_to_datetime(written[1]).timestamp() == ztpd.RELEASED_UNIX_S


@pytest.mark.parametrize("page", ["README.md", "docs/install.md"])
def test_the_pages_name_the_package_of_this_version(page: str) -> None:
    assert set(re.findall(r"ztpd_([0-9.]+)_all\.deb", (TOP / page).read_text())) == {
        ztpd.__version__
    }


def test_the_tests_for_other_processors_are_there() -> None:
    script = (TOP / "packaging/arm-test").read_text()
    listed = re.search(r'^TESTS="([^"]*)"', script, re.MULTILINE)
    assert listed is not None
    assert [path for path in listed[1].split() if not (TOP / path).exists()] == []


def test_every_page_is_in_the_index() -> None:
    index = (TOP / "docs/README.md").read_text()
    for page in (TOP / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index


def test_every_decision_is_in_the_index() -> None:
    pages = sorted((TOP / "docs/decisions").glob("[0-9]*.md"))
    index = (TOP / "docs/decisions/README.md").read_text()
    for page in pages:
        title = page.read_text().splitlines()[0].removeprefix("# ")
        number, _, decision = title.partition(". ")
        assert f"| {number} | [{decision}]({page.name}) |" in index


def test_every_room_of_the_package_is_drawn_for_developers() -> None:
    rooms = {path.name for path in (TOP / "ztpd").iterdir() if (path / "__init__.py").exists()}
    drawn = re.findall(r"^  (\w+)/ +", (TOP / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert set(drawn) == rooms


def test_FR95_links_between_the_pages_of_the_package_work_where_they_are_installed() -> None:
    """debhelper copies each entry of ztpd.docs to /usr/share/doc/ztpd, folders as they are."""
    installed: dict[Path, Path] = {}
    for entry in (DEBIAN / "ztpd.docs").read_text().split():
        for path in [TOP / entry, *(TOP / entry).rglob("*")]:
            installed[path.relative_to((TOP / entry).parent)] = path
    for place, source in installed.items():
        if source.suffix == ".md":
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", source.read_text()):
                assert Path(os.path.normpath(place.parent / link)) in installed, (place, link)
    catalog = (TOP / "packaging/ztpd.catalog").read_text()
    for file in set(re.findall(r"file:///usr/share/doc/ztpd/([^#\n]+)", catalog)):
        assert Path(file) in installed


def test_every_library_is_one_that_debian_12_has() -> None:
    bookworm = {"aiohttp": "3.8.4", "paho-mqtt": "1.6.1", "pyserial": "3.5", "tenacity": "8.2.1"}
    project = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]
    wanted = dict(dependency.split(">=") for dependency in project["dependencies"])
    assert wanted == bookworm


def test_T15_no_token_comes_with_the_package() -> None:
    shipped = (DEBIAN / "ztpd.install").read_text() + (DEBIAN / "ztpd.dirs").read_text()
    assert "token" not in shipped


def _purge(root: Path) -> None:
    run_postrm(root, "purge")


def run_postrm(root: Path, action: str) -> None:
    script = (DEBIAN / "ztpd.postrm").read_text().replace("#DEBHELPER#", "")
    environ = {**os.environ, "DPKG_ROOT": str(root)}
    subprocess.run(["sh", "-e", "-c", script, "postrm", action], env=environ, check=True)


def test_a_purge_leaves_neither_credentials_nor_token(tmp_path: Path) -> None:
    for folder in ("etc/ztpd/ztpd.toml.d", "var/lib/ztpd/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "secret").write_text("s")
    _purge(tmp_path)
    assert not (tmp_path / "etc/ztpd").exists()
    assert not (tmp_path / "var/lib/ztpd").exists()
    _purge(tmp_path)


@pytest.mark.parametrize("action", ["remove", "purge"])
def test_a_removal_takes_the_link_of_the_node_exporter_along(tmp_path: Path, action: str) -> None:
    exporter = tmp_path / "var/lib/prometheus/node-exporter"
    exporter.mkdir(parents=True)
    (tmp_path / "run/ztpd").mkdir(parents=True)
    (exporter / "ztpd.prom").symlink_to("/run/ztpd/metrics.prom")
    (exporter / "another-name.prom").symlink_to("/run/ztpd/metrics.prom")
    (exporter / "apt.prom").write_text("")
    (exporter / "other.prom").symlink_to("/run/other/metrics.prom")
    run_postrm(tmp_path, action)
    assert {each.name for each in exporter.iterdir()} == {"apt.prom", "other.prom"}
    assert not (tmp_path / "run/ztpd").exists()


def test_an_upgrade_keeps_that_link(tmp_path: Path) -> None:
    exporter = tmp_path / "var/lib/prometheus/node-exporter"
    exporter.mkdir(parents=True)
    (exporter / "ztpd.prom").symlink_to("/run/ztpd/metrics.prom")
    run_postrm(tmp_path, "upgrade")
    assert (exporter / "ztpd.prom").is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away, and mounts")
def test_FR90_a_purge_empties_a_folder_that_is_a_link_to_a_data_partition(tmp_path: Path) -> None:
    data = tmp_path / "data/ztpd"
    (data / "deep").mkdir(parents=True)
    (data / "deep/secret").write_text("s")
    for path in (data, data / "deep", data / "deep/secret"):
        os.chown(path, 4711, 4711)
    (data / "of another program").write_text("o")
    (tmp_path / "var/lib").mkdir(parents=True)
    (tmp_path / "var/lib/ztpd").symlink_to(data)
    _purge(tmp_path)
    assert not (tmp_path / "var/lib/ztpd").is_symlink()
    assert [path.name for path in data.iterdir()] == ["of another program"]


@pytest.mark.parametrize("name", ["token", "token.cred"])
def test_FR90_a_purge_removes_a_token_of_root_also_from_a_folder_that_is_a_link(
    tmp_path: Path, name: str
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / name).write_text("s")
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/ztpd").symlink_to(data)
    _purge(tmp_path)
    assert not (data / name).exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away, and mounts")
def test_FR90_a_purge_empties_a_folder_that_is_a_mount_point(tmp_path: Path) -> None:
    data, state = tmp_path / "data", tmp_path / "var/lib/ztpd"
    data.mkdir()
    state.mkdir(parents=True)
    mounted = subprocess.run(["mount", "--bind", data, state], check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("root may not mount here, as in most containers")
    try:
        (state / "secret").write_text("s")
        for path in (state, state / "secret"):
            os.chown(path, 4711, 4711)
        _purge(tmp_path)
        assert list(data.iterdir()) == []
    finally:
        subprocess.run(["umount", state], check=True)


@pytest.mark.parametrize(
    ("user", "is_refused"),
    [
        ("ztpd:x:1000:1000:A Person:/home/ztpd:/bin/bash", True),
        ("ztpd:x:65534:65534::/home/ztpd:/bin/sh", True),
        ("ztpd:x:998:998:GNSS corrections daemon:/nonexistent:/usr/sbin/nologin", False),
        ("root:x:0:0:root:/root:/bin/bash", False),
    ],
)
def test_FR96_the_package_does_not_run_as_a_person_called_ztpd(
    user: str, is_refused: bool, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text(f"{user}\n")

    def installs(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", str(DEBIAN / "ztpd.preinst"), *arguments],
            env=os.environ | {"DPKG_ROOT": str(tmp_path)},
            check=False,
            capture_output=True,
            text=True,
        )

    first = installs("install")
    assert first.returncode == is_refused
    assert ("usermod --login" in first.stderr) is is_refused
    assert installs("upgrade", "0.1.0").returncode == 0


UNITS = ("ztpd.service", "ztpd-settime.service", "ztpd-forget-token.service")


def _directives(name: str) -> dict[str, str]:
    lines = (UNIT.parent / name).read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    joined: dict[str, str] = {}
    for key, text in pairs:
        joined[key] = f"{joined[key]} {text}" if key in joined else text
    return joined


@pytest.mark.parametrize("name", UNITS)
def test_FR87_no_python_file_of_the_daemons_user_becomes_part_of_a_program(name: str) -> None:
    found = _directives(name)
    if "python3" in found["ExecStart"]:
        assert found["ExecStart"].startswith("/usr/bin/python3 -I ")
        assert "PYTHONNOUSERSITE=1" in found["Environment"]
        assert "HOME=/nonexistent" in found["Environment"]
    assert "/nonexistent" in (DEBIAN / "ztpd.sysusers").read_text()


def test_FR87_a_pth_file_in_the_home_does_not_run(tmp_path: Path) -> None:
    site = tmp_path / f".local/lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    site.mkdir(parents=True)
    (site / "evil.pth").write_text(
        f"import pathlib; pathlib.Path({str(tmp_path / 'ran')!r}).touch()\n"
    )
    python = getattr(sys, "_base_executable", sys.executable)
    environ = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run([python, "-c", ""], env=environ, check=True)
    assert (tmp_path / "ran").exists(), "else this test proves nothing"
    (tmp_path / "ran").unlink()
    subprocess.run([python, "-I", "-c", ""], env=environ, check=True)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", UNITS)
def test_FR96_no_unit_may_fill_folders_of_the_whole_machine(name: str) -> None:
    found = _directives(name)
    assert {"-/dev/shm", "-/dev/mqueue"} <= set(found["InaccessiblePaths"].split())
    assert found["ReadOnlyPaths"] == "-/run/lock"


_ELSEWHERE = {
    "ProtectClock",
    "StateDirectoryMode",
    "RuntimeDirectoryMode",
}  # the clock is set there


@pytest.mark.parametrize("name", UNITS[1:])
def test_FR96_the_helpers_are_as_confined_as_the_daemon(name: str) -> None:
    words = (
        "Protect",
        "Private",
        "Restrict",
        "NoNew",
        "Lock",
        "MemoryDeny",
        "Keyring",
        "RemoveIPC",
    )
    wanted = {key for key in _directives(UNITS[0]) if key.startswith(words)}
    wanted |= {"LimitCORE", "MemoryMax", "UMask", "SystemCallFilter", "SystemCallArchitectures"}
    assert wanted - _ELSEWHERE - {"RestartSec", "RestartPreventExitStatus"} <= set(
        _directives(name)
    )
    assert "@resources" in _directives(name)["SystemCallFilter"].partition("~")[2]


def test_FR94_another_python_gets_byte_code_of_its_own() -> None:
    assert "interest-noawait /usr/bin/python3\n" in (DEBIAN / "ztpd.triggers").read_text()
    script = (DEBIAN / "ztpd.postinst").read_text()
    assert re.search(r'"\$1" = triggered \].*?py3compile -p ztpd', script, re.DOTALL)


def test_FR92_a_folder_in_place_of_the_request_saves_no_token(tmp_path: Path) -> None:
    """The commands of the unit, with its two paths below a folder of this test."""
    text = (UNIT.parent / "ztpd-forget-token.service").read_text()
    (tmp_path / "token").write_text("secret")
    (tmp_path / "forget-token/deep").mkdir(parents=True)
    for line in re.findall(r"^ExecStart=(.*)$", text, re.MULTILINE):
        command = line.replace("/etc/ztpd/token", str(tmp_path / "token"))
        command = command.replace("/run/ztpd/forget-token", str(tmp_path / "forget-token"))
        subprocess.run(command.split(), check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("product", ["01a5", "01a6", "01a7", "01a8", "01a9", "01ab"])
def test_modemmanager_is_kept_off_receivers(product: str) -> None:
    rules = (DEBIAN / "ztpd.udev").read_text().replace("\\\n", "")
    patterns = [
        pattern
        for line in rules.splitlines()
        if "ID_MM_" in line
        for pattern in re.findall(r'idProduct\}=="([^"]+)"', line)
    ]
    assert len(patterns) == 2
    for pattern in patterns:
        assert any(re.fullmatch(each, product) for each in pattern.split("|"))


def test_modemmanager_keeps_a_ublox_modem() -> None:
    assert '"1102"' not in (DEBIAN / "ztpd.udev").read_text()
    assert 'idVendor}=="1546", ENV' not in (DEBIAN / "ztpd.udev").read_text()


@pytest.mark.parametrize("page", sorted((TOP / "packaging/man").iterdir()), ids=lambda p: p.name)
@pytest.mark.parametrize("command", ["mandoc -T lint -W warning", "man --warnings -l"])
def test_manual_pages_are_without_warnings(page: Path, command: str) -> None:
    if shutil.which(command.split()[0]) is None:
        pytest.skip(f"{command.split()[0]} is not installed")
    said = subprocess.run(
        [*command.split(), page],
        env=os.environ | {"LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 0
    assert said.stderr == ""
    if command.startswith("mandoc"):
        assert said.stdout == ""


def test_the_role_writes_the_files_that_the_page_of_fleets_shows() -> None:
    page = (TOP / "docs/fleet.md").read_text()
    for name in ("preferences", "52ztpd"):
        file = TOP / "packaging/ansible/roles/ztpd/files" / name
        assert f"\n{file.read_text()}```" in page


def verbs(
    parser: argparse.ArgumentParser | None = None, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Every verb with its long options."""
    parser = parser or ztpd_parser()
    options = {name for name in parser._option_string_actions if name.startswith("--")}
    yield path, options
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from verbs(inner, (*path, name))


def manual_of(path: tuple[str, ...]) -> str:
    """The part of ztpd(8) that is about one verb."""
    text = MANUAL.read_text()
    if not path:
        return text
    entry = re.search(rf"^\.It Ic {' '.join(path)}\b.*?(?=^\.It Ic |^\.Sh )", text, re.M | re.S)
    return entry[0] if entry else ""


@pytest.mark.parametrize(("path", "options"), list(verbs()))
def test_the_manual_describes_every_verb_and_option(
    path: tuple[str, ...], options: set[str]
) -> None:
    if any(len(other) > len(path) and other[: len(path)] == path for other, _ in verbs()) and path:
        return  # only its own verbs do something
    text = manual_of(path)
    assert text, f"{' '.join(path)} is missing"
    for option in options - {"--config", "--help"}:
        assert f"Fl -{option.removeprefix('--')}" in text


def test_the_manual_describes_no_other_verb() -> None:
    known = {path for path, _ in verbs()}
    reported = re.findall(r"^\.It Ic (.+?)(?: (?:O[op]|Ar) .*)?$", MANUAL.read_text(), re.M)
    assert {tuple(words.split()) for words in reported} <= known


def test_the_manual_lists_every_exit_status_of_an_error() -> None:
    text = MANUAL.read_text()
    for kind in errors.ZtpdError.__subclasses__():
        assert f".It {kind.exit_status}\n" in text or f"{kind.exit_status}:" in text


@pytest.mark.parametrize(("path", "options"), list(verbs()))
def test_the_completion_offers_every_verb_and_option(
    path: tuple[str, ...], options: set[str]
) -> None:
    below = {other[len(path)] for other, _ in verbs() if other[:-1] == path and other != path}
    assert offered(*path) == below | options


def test_the_completion_offers_the_choices_of_an_option() -> None:
    assert offered("demo", "--via") == {"mqtt", "ntrip"}


def test_the_completion_goes_on_after_an_option_with_a_value() -> None:
    assert offered("demo", "--via", "mqtt") == offered("demo")


def offered(*words: str) -> set[str]:
    """The completions of bash after ``ztpd words``."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = r"""
        arguments=("$@")
        _init_completion() {
            words=(ztpd "${arguments[@]}" "") cur=""
            cword=$((${#words[@]} - 1)) prev=${words[-2]}
        }
        complete() { :; }
        source "$0"
        _ztpd
        printf '%s\n' "${COMPREPLY[@]}"
    """
    done = subprocess.run(
        ["bash", "-c", script, COMPLETION, *words], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())
