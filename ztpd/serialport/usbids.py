"""USB ids of serial ports: the AT interfaces of modems, GNSS receivers, and devices that must not
be opened.

Sources: ModemManager's port type rules (1.20 and upstream), the rules of gpsd and of ublox_dgnss,
and the kernel's drivers: option.c with the descriptions in its changes ("add Quectel BG95 modem",
"EM160R-GL", "RM500U-CN", "EC200U", "EC200A"), qcserial.c ("EM919x": 3 AT, 4 DIAG). u-blox makes
modems and receivers under one vendor id, so the product decides, never the vendor.
"""

from __future__ import annotations

Id = tuple[int, int]
"""idVendor, idProduct."""

_QUECTEL, _SIMCOM, _TELIT, _SIERRA = 0x2C7C, 0x1E0E, 0x1BC7, 0x1199
_FIBOCOM, _UNISOC, _UBLOX, _QUALCOMM = 0x2CB7, 0x1782, 0x1546, 0x05C6

AT_INTERFACES: dict[Id, tuple[int, ...]] = {
    (_QUECTEL, 0x0121): (2, 3),  # EC21
    (_QUECTEL, 0x0125): (2, 3),  # EC25, EG25
    (_QUECTEL, 0x0128): (5,),  # EM060K
    (_QUECTEL, 0x0191): (2, 3),  # EG91
    (_QUECTEL, 0x0195): (2, 3),  # EG95
    (_QUECTEL, 0x0296): (2, 3),  # BG96
    (_QUECTEL, 0x0306): (2, 3),  # EG06
    (_QUECTEL, 0x0512): (2, 3),  # EG12
    (_QUECTEL, 0x0620): (2, 3),  # EM160R: 0 DIAG, 1 NMEA, 4 QMI
    (_QUECTEL, 0x0700): (2, 4),  # BG95, BG77: 0 DIAG, 1 NMEA, 3 QMI or ECM
    (_QUECTEL, 0x0800): (2, 3),  # RM500Q
    (_QUECTEL, 0x0801): (2, 3),  # RM520N
    (_QUECTEL, 0x0900): (4, 5),  # RM500U: 0 and 1 network, 2 DIAG, 3 log
    (_QUECTEL, 0x0901): (2, 7),  # EC200U, EC600U: 0 and 1 ECM, 3 DIAG, 4 MOS, 5 and 6 log, 8 NMEA
    (_QUECTEL, 0x6005): (3, 4),  # EC200A: 0 and 1 ECM, 2 DIAG
    (_SIMCOM, 0x9001): (2, 3),  # SIM7000, SIM7100, SIM7600
    (_SIMCOM, 0x9011): (4, 5),  # A7670, A7672, A7600E, A7602E
    (_SIMCOM, 0x9205): (2, 3),  # SIM7070, SIM7080, SIM7090
    (_SIMCOM, 0x9206): (2, 5),  # the same, second layout
    (_TELIT, 0x1031): (1, 2),  # LE910C1-EUX
    (_TELIT, 0x1033): (1, 2),  # LE910C1-EUX, ECM
    (_TELIT, 0x1101): (1, 2),  # ME910C1
    (_TELIT, 0x110A): (1, 2),  # ME910G1, ME310G1
    (_TELIT, 0x1201): (4, 5),  # LE910C1
    (_TELIT, 0x1204): (5, 6),  # LE910C1, MBIM
    (_TELIT, 0x7010): (4, 3),  # LE910S1, RNDIS
    (_TELIT, 0x7011): (4, 3),  # LE910S1, ECM
    (_SIERRA, 0x68C0): (3,),  # RC7611
    (_SIERRA, 0x9071): (3,),  # MC74xx, EM74xx
    (_SIERRA, 0x9079): (3,),  # EM7455
    (_SIERRA, 0x9091): (3,),  # EM7565
    (_SIERRA, 0x90D3): (3,),  # EM9190, EM9191
    (_SIERRA, 0xC001): (0, 2),  # HL7812
    (_FIBOCOM, 0x0007): (2, 6),  # L850-GL
    (_FIBOCOM, 0x0104): (1, 2),  # FM150
    (_FIBOCOM, 0x0106): (1, 2),  # MA510
    (_FIBOCOM, 0x010A): (0, 1),  # MA510, second layout
    (_FIBOCOM, 0x01A0): (2, 3),  # NL668
    (_FIBOCOM, 0x01A2): (2, 3),  # FM101
    (_UNISOC, 0x4D10): (0, 5, 6),  # Fibocom L610
    (_UNISOC, 0x4D11): (2, 7, 8),  # Fibocom L610, ECM
    (_UBLOX, 0x1010): (6,),  # TOBY-L4
    (_UBLOX, 0x1102): (0, 2, 4),  # SARA-U2, LISA-U2
    (_UBLOX, 0x1104): (0,),  # SARA-U2, second layout
    (_UBLOX, 0x1107): (0, 2, 4),  # TOBY-R2
    (_UBLOX, 0x110A): (0, 2, 4),  # LARA-R2
    (_UBLOX, 0x1311): (1, 2, 3),  # LARA-R6
    (_UBLOX, 0x1312): (1, 2, 3),  # LARA-R6, RMNET
    (_UBLOX, 0x1313): (1, 2, 3),  # LARA-R6, ECM
    (_UBLOX, 0x1341): (1, 2),  # LARA-L6
    (_UBLOX, 0x1342): (1, 2),  # LARA-L6, RMNET
    (_UBLOX, 0x1343): (1, 2),  # LARA-L6, ECM
    (_QUALCOMM, 0x908B): (1, 2),  # LARA-R6 00B
    (_QUALCOMM, 0x90B2): (2,),  # SARA-R410M
}
"""Interface numbers that take AT commands, the best first, data ports (PPP) last."""

MODEM_VENDORS = frozenset(
    ({vendor for vendor, _ in AT_INTERFACES} - {_UBLOX, _QUALCOMM})
    | {0x12D1, 0x19D2, 0x1BBB}  # Huawei, ZTE, Alcatel: sticks
)
"""Makers of modems, for devices whose ids are not known."""

GNSS: frozenset[Id] = frozenset(
    (_UBLOX, product)
    for product in (
        *(0x01A5, 0x01A6, 0x01A7, 0x01A8, 0x01A9, 0x01AB),  # 5, 6, 7, M8, F9 and M10, X20
        *(0x050C, 0x050D),  # UART1 and UART2 of the X20
        *(0x0502, 0x0506, 0x0507, 0x0508),  # the bridges on u-blox's boards
    )
)
"""u-blox receivers; only UBX-MON-VER gives the model. The udev rules are made from these."""

GNSS_BRIDGES_FROM = 0x0500
"""Products from here on are UARTs: of a bridge, or of the receiver."""

NEVER: frozenset[Id] = frozenset({(_QUALCOMM, 0x9008)})
"""Modems in recovery mode, which may take any byte as part of a new firmware."""

BRIDGE_DRIVERS = frozenset(
    (
        *("ftdi_sio", "cp210x", "ch341", "pl2303", "xr_serial", "mos7720", "mos7840", "mxuport"),
        *("ark3116", "f81232", "f81534", "io_edgeport", "io_ti", "quatech2", "ti_usb_3410_5052"),
    )
)
BRIDGE_VENDORS = frozenset({0x1A86})  # the newer CH34x and CH91x come as CDC-ACM
"""Adapters from USB to a UART, with unknown devices behind them."""

ADAPTER_VENDORS = BRIDGE_VENDORS | {0x0403, 0x067B, 0x10C4}  # FTDI, Prolific, Silicon Labs
"""Makers of such adapters, for one that has no driver."""
