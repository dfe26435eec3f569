"""The table of all configuration keys, against pyubx2's database."""

from __future__ import annotations

import subprocess
import sys

import pytest
import pyubx2

from tools import ubxkeys_table
from ztpd.wire import ubxcfg, ubxkeys

ALL = ubxkeys_table.keys()


def test_every_name_that_pyubx2_has_too_has_the_same_id() -> None:
    differing = {
        name: key
        for name, key in ALL.items()
        if ubxkeys.KEYS.get(name, key) != key or ubxcfg.KEYS.get(name, key) != key
    }
    assert differing == {}


def test_the_file_is_the_output_of_its_script() -> None:
    if f"pyubx2 {pyubx2.version}" not in (ubxkeys.__doc__ or ""):
        pytest.skip(f"made from another version than pyubx2 {pyubx2.version}")
    assert ubxkeys_table.FILE.read_text() == ubxkeys_table.module()
    assert ubxkeys.KEYS == ALL


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("CFG-NAVSPG-DYNMODEL", 0x20110021),
        ("CFG-MSGOUT-UBX_NAV_SAT_UART2", 0x20910017),
        ("CFG-TP-POL_TP1", 0x1005000B),
        ("CFG-USBINPROT-SPARTN", 0x10770005),
        ("0x20110021", 0x20110021),
        ("537985057", 0x20110021),
    ],
)
def test_a_key_is_taken_by_name_and_by_number(text: str, key: int) -> None:
    assert ubxcfg.key_id(text) == key


@pytest.mark.parametrize("text", ["CFG-NAVSPG", "CFG-MSGOUT-UBX_NAV_SAT_*", "NAVSPG-DYNMODEL", ""])
def test_an_unknown_key_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="neither the name"):
        ubxcfg.key_id(text)


def test_a_key_given_by_name_is_reported_by_name() -> None:
    key = ubxcfg.key_id("CFG-NAVSPG-INFIL_MINELEV")
    assert ubxcfg.key_name(key) == "CFG-NAVSPG-INFIL_MINELEV"


def test_the_daemon_does_not_carry_the_table() -> None:
    code = "import sys, ztpd.daemon; sys.exit('ztpd.wire.ubxkeys' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
