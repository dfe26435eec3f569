"""Which file systems forget at power off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ptybench import ordinary_user
from ztpd.system.mounts import lost_at_power_off, mount_of

PLAIN = "22 1 179:2 / / rw,noatime shared:1 - ext4 /dev/mmcblk0p2 rw\n"
RUN = "25 22 0:23 / /run rw,nosuid shared:5 - tmpfs tmpfs rw,size=93512k\n"
OVERLAY = "22 1 0:30 / / rw - overlay overlay rw,lowerdir=/lower,upperdir=/upper/data\n"


def lost(tmp_path: Path, mountinfo: str, path: str = "/var/lib/ztpd") -> str:
    file = tmp_path / "mountinfo"
    file.write_text(mountinfo)
    return lost_at_power_off(Path(path), file)


def test_FR42_a_disk_keeps_its_content(tmp_path: Path) -> None:
    assert lost(tmp_path, PLAIN + RUN) == ""


def test_FR42_a_file_system_in_memory_does_not(tmp_path: Path) -> None:
    assert lost(tmp_path, PLAIN + RUN, "/run/ztpd") == "tmpfs"


def test_FR42_an_overlay_whose_upper_directory_is_out_of_sight_does_not(tmp_path: Path) -> None:
    assert lost(tmp_path, OVERLAY + RUN) == "overlay"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_FR42_an_upper_directory_in_a_closed_folder_is_out_of_sight_too(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    file = tmp_path / "mountinfo"
    file.write_text(OVERLAY.replace("/upper/data", f"{closed}/upper"))
    for folder in (tmp_path, *tmp_path.parents):
        if Path("/tmp") in folder.parents:
            folder.chmod(folder.stat().st_mode | 0o011)
    with ordinary_user():
        assert lost_at_power_off(Path("/var/lib/ztpd"), file) == "overlay"


@pytest.mark.parametrize(
    ("mount", "named"),
    [
        ("ext4 /dev/zram1 rw", "ext4 on /dev/zram1"),
        ("ext2 /dev/ram0 rw", "ext2 on /dev/ram0"),
        ("aufs none rw,si=1", "aufs"),
        ("rootfs rootfs rw", "rootfs"),
    ],
)
def test_FR42_other_places_in_memory_do_not(tmp_path: Path, mount: str, named: str) -> None:
    assert lost(tmp_path, f"22 1 0:30 / / rw - {mount}\n") == named


def test_FR42_an_overlay_whose_upper_directory_is_on_a_compressed_disk_in_memory_does_not(
    tmp_path: Path,
) -> None:
    overlay = f"30 22 0:30 / /var/lib rw - overlay overlay rw,upperdir={tmp_path},workdir=/w\n"
    zram = f"31 22 0:31 / {tmp_path} rw - ext4 /dev/zram0 rw\n"
    assert lost(tmp_path, PLAIN + overlay + zram) == "overlay"


def test_FR42_an_overlay_on_a_disk_keeps_it(tmp_path: Path) -> None:
    overlay = f"30 22 0:30 / /var/lib rw - overlay overlay rw,upperdir={tmp_path},workdir=/w\n"
    assert lost(tmp_path, PLAIN + overlay) == ""


def test_FR42_a_data_partition_below_an_overlay_keeps_it(tmp_path: Path) -> None:
    data = "31 22 179:3 / /var/lib/ztpd rw - ext4 /dev/mmcblk0p3 rw\n"
    assert lost(tmp_path, OVERLAY + data) == ""


def test_a_later_mount_on_one_point_hides_the_one_before(tmp_path: Path) -> None:
    assert lost(tmp_path, PLAIN + "40 22 0:40 / / rw - tmpfs tmpfs rw\n") == "tmpfs"


def test_blanks_in_names_are_read(tmp_path: Path) -> None:
    odd = "41 22 0:41 / /data\\040disk rw - tmpfs tmpfs rw\n"
    assert lost(tmp_path, PLAIN + odd, "/data disk/ztpd") == "tmpfs"


def test_nothing_is_said_where_nothing_is_known(tmp_path: Path) -> None:
    assert lost_at_power_off(tmp_path, tmp_path / "none") == ""
    assert lost(tmp_path, "") == ""


@given(st.text(max_size=300))
def test_any_text_is_survived(text: str) -> None:
    mount_of(Path("/var/lib/ztpd"), text)
    mount_of(Path("/var/lib/ztpd"), f"1 2 3 4 {text} - {text}")


@pytest.mark.parametrize("path", ["/proc", "/"])
def test_the_kernels_own_table_is_read(path: str) -> None:
    mount = mount_of(Path(path), Path("/proc/self/mountinfo").read_text())
    assert mount is not None
    assert mount.point == Path(path)
