from pathlib import Path

import pytest

from ztpd.provisioning import board


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def adapter(sys: Path, name: str, mac: str, *, assigned: str = "0", bus: str = "platform") -> None:
    device = sys / "devices" / bus / name
    device.mkdir(parents=True)
    write(sys / "class/net" / name / "address", mac + "\n")
    write(sys / "class/net" / name / "addr_assign_type", assigned + "\n")
    (sys / "class/net" / name / "device").symlink_to(device)


def test_the_device_tree_knows_the_serial_number(tmp_path: Path) -> None:
    write(tmp_path / "firmware/devicetree/base/serial-number", "10000000a1b2c3d4\0")
    adapter(tmp_path, "eth0", "b8:27:eb:00:00:01")

    assert board.serial(tmp_path) == "10000000a1b2c3d4"


def test_a_serial_number_of_zeros_is_none(tmp_path: Path) -> None:
    write(tmp_path / "firmware/devicetree/base/serial-number", "0000000000000000\0")
    adapter(tmp_path, "eth0", "b8:27:eb:00:00:01")

    assert board.serial(tmp_path) == "b8:27:eb:00:00:01"


@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("firmware/devicetree/base/serial-number", "0123456789ABCDEF\0"),
        ("firmware/devicetree/base/serial-number", "Default string\0"),
        ("class/dmi/id/product_uuid", "03000200-0400-0500-0006-000700080009\n"),
        ("class/dmi/id/product_uuid", "00020003-0004-0005-0006-000700080009\n"),
        ("class/dmi/id/product_uuid", "ffffffff-ffff-ffff-ffff-ffffffffffff\n"),
    ],
)
def test_FR55_a_placeholder_that_all_boards_of_a_kind_have_is_no_serial_number(
    tmp_path: Path, place: str, number: str
) -> None:
    write(tmp_path / place, number)
    adapter(tmp_path, "eth0", "b8:27:eb:00:00:01")

    assert board.serial(tmp_path) == "b8:27:eb:00:00:01"
    assert not board.is_another(number.strip(" \n\0"), board.serial(tmp_path))


def test_a_usb_adapter_may_move_from_board_to_board(tmp_path: Path) -> None:
    adapter(tmp_path, "eth0", "00:11:22:33:44:55", bus="pci0000:00/usb1/1-1")

    assert board.serial(tmp_path) == ""


def test_an_address_that_software_chose_is_no_identity(tmp_path: Path) -> None:
    adapter(tmp_path, "eth0", "02:00:00:00:00:01", assigned="1")

    assert board.serial(tmp_path) == ""


def test_nothing_known_is_an_empty_text(tmp_path: Path) -> None:
    assert board.serial(tmp_path) == ""


SERIAL, MAC = "10000000a1b2c3d4", "b8:27:eb:00:00:01"


@pytest.mark.parametrize("number", [SERIAL, MAC])
@pytest.mark.parametrize("other", ["", SERIAL, MAC])
def test_FR40_a_number_that_cannot_be_read_is_not_another_board(number: str, other: str) -> None:
    assert not board.is_another(number, other)
    assert not board.is_another(other, number)


@pytest.mark.parametrize(
    ("stored", "present"), [(SERIAL, "10000000a1b2c3d5"), (MAC, "b8:27:eb:00:00:02")]
)
def test_FR40_two_numbers_of_one_kind_are_two_boards(stored: str, present: str) -> None:
    assert board.is_another(stored, present)
