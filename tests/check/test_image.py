"""An image, before it is written to many cards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ztpd.check.image import Image, findings
from ztpd.cli.main import main
from ztpd.sim.portal import TOKEN


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """A sound one."""
    root = tmp_path / "image"
    for file in ("usr/bin/ztpd", "usr/lib/systemd/system/ztpd.service", "etc/ztpd/ztpd.toml"):
        write(root, file)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "ztpd.service").symlink_to("/usr/lib/systemd/system/ztpd.service")
    (root / "var/lib/ztpd").mkdir(parents=True)
    write(root, "etc/machine-id", "uninitialized\n")
    write(root, "etc/ztpd/token", TOKEN.reveal()).chmod(0o600)
    return root


def write(root: Path, file: str, text: str = "") -> Path:
    place = root / file
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text)
    return place


def problems(root: Path) -> dict[str, str]:
    return {found.subject: found.text for found in findings(root) if found.advice}


@pytest.mark.skipif(os.geteuid() != 0, reason="the token of a sound image belongs to root")
def test_a_sound_image_has_no_problem(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["image-check", str(image)]) == 0

    shown = capsys.readouterr().out
    assert "problem" not in shown
    assert TOKEN.reveal() not in shown


def test_state_of_one_gateway_is_named_with_its_cure(
    image: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(image, "var/lib/ztpd/credentials.json", "{}")

    assert main(["image-check", str(image)]) == 1

    shown = capsys.readouterr().out
    assert "/var/lib/ztpd has credentials.json" in shown
    assert f"rm -rf {image}/var/lib/ztpd/*" in shown


def test_the_cures_can_be_run_for_any_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write(Path("an image"), "etc/machine-id", "7")

    for root in ("an image", "/"):
        main(["image-check", root])

    shown = capsys.readouterr().out
    assert "truncate --size=0 'an image'/etc/machine-id" in shown
    assert "chroot 'an image' apt-get" in shown
    assert "chroot  " not in shown
    assert "--root= " not in shown


def test_a_token_that_others_can_read_is_named(image: Path) -> None:
    (image / "etc/ztpd/token").chmod(0o644)

    assert "mode 0644" in problems(image)["token"]


def test_a_token_that_is_none_is_named_and_not_shown(image: Path) -> None:
    write(image, "etc/ztpd/token", "not-a-token")

    assert "11 characters" in problems(image)["token"]
    assert "not-a-token" not in problems(image)["token"]


def test_an_image_without_a_token_is_allowed(image: Path) -> None:
    (image / "etc/ztpd/token").unlink()

    assert problems(image) == {}


def test_a_machine_id_is_named(image: Path) -> None:
    write(image, "etc/machine-id", "0123456789abcdef0123456789abcdef\n")

    assert "machine-id" in problems(image)


def test_a_masked_unit_is_named(image: Path) -> None:
    (image / "etc/systemd/system/ztpd.service").symlink_to("/dev/null")

    assert "masked" in problems(image)["unit"]


def test_a_unit_that_is_not_enabled_is_named(image: Path) -> None:
    (image / "etc/systemd/system/multi-user.target.wants/ztpd.service").unlink()

    assert "not enabled" in problems(image)["unit"]


def test_a_missing_package_is_named(image: Path) -> None:
    (image / "usr/bin/ztpd").unlink()

    assert "package" in problems(image)


def test_a_gpsd_that_opens_receivers_is_named(image: Path) -> None:
    write(image, "usr/sbin/gpsd")
    write(image, "etc/default/gpsd", 'DEVICES=""\nUSBAUTO="true"\n')
    assert "gpsd" in problems(image)

    write(image, "etc/default/gpsd", 'DEVICES=""\nUSBAUTO="false"\n')
    assert "gpsd" not in problems(image)


def test_mistakes_in_the_configuration_are_named(image: Path) -> None:
    write(image, "etc/ztpd/ztpd.toml.d/50-board.toml", "[receiver]\nbaudrate = 1\n")
    assert "baudrate" in problems(image)["configuration"]

    write(image, "etc/ztpd/ztpd.toml.d/50-board.toml", "[receiver]\nbaud = 1\n")
    assert "unknown key receiver.baud" in problems(image)["configuration"]


def test_a_file_that_the_image_does_not_have_is_named(image: Path) -> None:
    write(image, "etc/ztpd/ztpd.toml", '[ztp]\nca_file = "/etc/ssl/private-service.pem"\n')
    assert "/etc/ssl/private-service.pem" in problems(image)["configuration"]

    write(image, "etc/ssl/private-service.pem")
    assert problems(image) == {}


def test_one_identity_for_all_copies_is_named(image: Path) -> None:
    write(
        image,
        "etc/ztpd/ztpd.toml",
        '[identity]\nsource = "fixed"\nhardware_id = "gw-1"\n',
    )

    assert "gw-1" in problems(image)["identity"]


def test_a_console_on_the_receivers_port_is_named(image: Path) -> None:
    write(image, "boot/firmware/cmdline.txt", "console=serial0,115200 console=tty1 root=/dev/x")
    assert "console" not in problems(image)

    write(image, "etc/ztpd/ztpd.toml", '[receiver]\nport = "/dev/ttyAMA0"\n')
    assert "serial0" in problems(image)["console"]


@pytest.mark.parametrize(
    ("link", "to", "place"),
    [
        ("etc/a", "/etc/b", "etc/b"),
        ("etc/a", "b", "etc/b"),
        ("etc/a", "../../../etc/b", "etc/b"),
        ("etc/a", "/etc/a", "etc/a"),
    ],
)
def test_links_lead_where_the_images_own_system_would_go(
    tmp_path: Path, link: str, to: str, place: str
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / link).symlink_to(to)

    assert Image(tmp_path).at(f"/{link}") == tmp_path / place


def test_a_directory_that_is_no_root_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["image-check", str(tmp_path)]) == 64
    assert "root directory of an image" in capsys.readouterr().err
