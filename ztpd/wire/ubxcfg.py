"""The receiver's configuration items: names, key ids, and key-value bytes.

An item's key is a 32-bit number whose bits 28 to 30 give the size of its value. Source: u-blox
ZED-F9P interface description, section "Configuration interface".
"""

from __future__ import annotations

from collections.abc import Mapping

PORTS = ("I2C", "UART1", "UART2", "USB", "SPI")
"""The receiver's own names of its ports, in the order of their key ids."""

MAX_ITEMS = 64  # in one VALSET or VALGET message

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8}  # bits 28 to 30 of the key -> bytes of the value


def _per_port() -> dict[str, int]:
    keys = {}
    for place, port in enumerate(PORTS):
        for protocol, low in (("UBX", 1), ("NMEA", 2), ("RTCM3X", 4), ("SPARTN", 5)):
            keys[f"CFG-{port}INPROT-{protocol}"] = 0x1071_0000 + 0x2_0000 * place + low
        for protocol, low in (("UBX", 1), ("NMEA", 2), ("RTCM3X", 4)):
            keys[f"CFG-{port}OUTPROT-{protocol}"] = 0x1072_0000 + 0x2_0000 * place + low
        for message, first in (
            ("UBX_NAV_PVT", 0x2091_0006),
            ("UBX_NAV_HPPOSLLH", 0x2091_0033),
            ("UBX_RXM_COR", 0x2091_06B6),
            ("UBX_RXM_RTCM", 0x2091_0268),
            ("UBX_RXM_PMP", 0x2091_031D),
            ("UBX_NAV_SAT", 0x2091_0015),
            ("UBX_MON_COMMS", 0x2091_034F),
            ("UBX_MON_RF", 0x2091_0359),
            ("UBX_SEC_SIG", 0x2091_0634),
            ("NMEA_ID_GGA", 0x2091_00BA),
        ):
            keys[f"CFG-MSGOUT-{message}_{port}"] = first + place
    return keys


KEYS: Mapping[str, int] = {
    **_per_port(),
    "CFG-UART1-BAUDRATE": 0x4052_0001,
    "CFG-UART2-BAUDRATE": 0x4053_0001,
    "CFG-SPARTN-USE_SOURCE": 0x20A7_0001,  # 0: SPARTN over IP, 1: over L-band
    "CFG-NAVHPG-DGNSSMODE": 0x2014_0011,  # 2: RTK float, 3: RTK fixed
    "CFG-NAVSPG-CONSTR_DGNSSTO": 0x2011_00C4,  # s, how long corrections are used
    "CFG-RTCM-DF003_IN": 0x3009_0008,
    "CFG-RTCM-DF003_IN_FILTER": 0x2009_0009,  # 0: off, 1: relaxed, 2: strict
    "CFG-NAVCOR-ENABLE_HOST": 0x100D_0001,  # 0: corrections from the host are not used
    "CFG-NAVCOR-ENABLE_GAL_HAS": 0x100D_0002,  # Galileo HAS, used only without those of the host
    "CFG-HW-ANT_CFG_VOLTCTRL": 0x10A3_002E,
    "CFG-HW-ANT_CFG_SHORTDET": 0x10A3_002F,
    "CFG-HW-ANT_CFG_OPENDET": 0x10A3_0031,
    "CFG-ITFM-ENABLE": 0x1041_000D,  # jamming monitor, before HPG 1.50
    "CFG-SEC-CFG_LOCK": 0x10F6_0009,  # 1: every VALSET is refused
    "CFG-NMEA-HIGHPREC": 0x1093_0006,
    "CFG-RATE-MEAS": 0x3021_0001,  # ms
    "CFG-RATE-NAV": 0x3021_0002,  # cycles
    "CFG-TMODE-MODE": 0x2003_0001,  # 0: rover
    "CFG-PMP-CENTER_FREQUENCY": 0x40B1_0011,  # Hz
    "CFG-PMP-SEARCH_WINDOW": 0x30B1_0012,
    "CFG-PMP-DATA_RATE": 0x30B1_0013,
    "CFG-PMP-USE_DESCRAMBLER": 0x10B1_0014,
    "CFG-PMP-DESCRAMBLER_INIT": 0x30B1_0015,
    "CFG-PMP-USE_SERVICE_ID": 0x10B1_0016,
    "CFG-PMP-SERVICE_ID": 0x30B1_0017,
    "CFG-PMP-USE_PRESCRAMBLING": 0x10B1_0019,
    "CFG-PMP-UNIQUE_WORD": 0x50B1_001A,
}
"""Key ids by u-blox name; the PMP group is that of the NEO-D9S."""

_NAMES = {key: name for name, key in KEYS.items()}


def key_id(text: str) -> int:
    """The key id that a u-blox name or a number ("0x10730005") means.

    Raises ValueError for an unknown name and for a number that is no key id.
    """
    if text in KEYS:
        return KEYS[text]
    try:
        key = int(text, 0)
    except ValueError:
        return _rare_key_id(text)
    value_size(key)
    return key


def _rare_key_id(name: str) -> int:
    from ztpd.wire import ubxkeys  # large, and rarely needed

    key = ubxkeys.KEYS.get(name)
    if key is None:
        raise ValueError(f"{name!r} is neither the name of a configuration key nor a number")
    _NAMES.setdefault(key, name)
    return key


def key_name(key: int) -> str:
    """The u-blox name of a key id, or the id in hexadecimal."""
    return _NAMES.get(key) or f"0x{key:08x}"


def value_size(key: int) -> int:
    """Bytes of the key's value. Raises ValueError where the number is no key id."""
    size = _SIZES.get(key >> 28)
    if size is None:
        raise ValueError(f"{key:#x} is not the id of a configuration key")
    return size


def unsigned(key: int, value: int) -> int:
    """``value`` as the unsigned number its bytes make: how a receiver's answer is compared.

    Raises ValueError where it does not fit the key. A key of one bit takes 0 and 1 only.
    """
    bits = 1 if key >> 28 == 1 else 8 * value_size(key)
    if not -(1 << (bits - 1)) <= value < 1 << bits or (bits == 1 and value < 0):
        raise ValueError(f"{value} does not fit {key_name(key)}")
    return value % (1 << bits)


def encode_item(key: int, value: int) -> bytes:
    """Key and value as in a VALSET message. Raises ValueError where they do not fit."""
    return key.to_bytes(4, "little") + unsigned(key, value).to_bytes(value_size(key), "little")


def encode_items(values: Mapping[int, int]) -> bytes:
    """All items one after another. Raises ValueError above 64 items."""
    if len(values) > MAX_ITEMS:
        raise ValueError(f"{len(values)} items, a message takes {MAX_ITEMS}")
    return b"".join(encode_item(key, value) for key, value in values.items())


def decode_items(data: bytes) -> dict[int, int]:
    """Key ids and unsigned values. Raises ValueError where ``data`` is not whole items."""
    values: dict[int, int] = {}
    at = 0
    while at < len(data):
        key = int.from_bytes(data[at : at + 4], "little")
        end = at + 4 + value_size(key)
        if end > len(data):
            raise ValueError(f"{len(data) - at} bytes left for {key_name(key)}")
        values[key] = int.from_bytes(data[at + 4 : end], "little")
        at = end
    if len(values) > MAX_ITEMS:
        raise ValueError(f"{len(values)} items, a message has {MAX_ITEMS} at most")
    return values
