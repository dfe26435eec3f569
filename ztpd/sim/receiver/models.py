"""The receivers there are to simulate: what they say they are, and how they come out of the box."""

from __future__ import annotations

from dataclasses import dataclass

from ztpd.wire import ubxcfg
from ztpd.wire.ubx import MonVer

PORTS = ("UART1", "UART2", "USB")


@dataclass(frozen=True, slots=True)
class Model:
    """A module and its firmware, as far as a host can tell them apart."""

    module: str
    firmware: str
    protocol: str
    systems: tuple[str, ...] = ("GPS", "GLO", "GAL")  # whose SPARTN it takes; (): no SPARTN
    base: bool = True  # has a base station's settings
    comms: bool = True  # tells of its ports

    @property
    def spartn(self) -> bool:
        return bool(self.systems)

    def version(self) -> MonVer:
        extensions = ("ROM BASE 0x118B2060", f"FWVER={self.firmware}", f"PROTVER={self.protocol}")
        return MonVer("EXT CORE 1.00 (f17067)", "00190000", (*extensions, f"MOD={self.module}"))

    def defaults(self) -> dict[int, int]:
        """The configuration after a start with nothing saved."""
        values = {
            "CFG-UART1-BAUDRATE": 38400,
            "CFG-UART2-BAUDRATE": 38400,
            "CFG-NAVHPG-DGNSSMODE": 3,
            "CFG-NAVSPG-CONSTR_DGNSSTO": 60,
            "CFG-RATE-MEAS": 1000,
            "CFG-RATE-NAV": 1,
        }
        for port in PORTS:
            for protocol in ("UBX", "NMEA", "RTCM3X"):
                values[f"CFG-{port}INPROT-{protocol}"] = 1
            values[f"CFG-{port}OUTPROT-UBX"] = 1
            values[f"CFG-{port}OUTPROT-NMEA"] = 1
            values[f"CFG-MSGOUT-UBX_NAV_PVT_{port}"] = 0
            values[f"CFG-MSGOUT-NMEA_ID_GGA_{port}"] = 1
            if self.spartn:
                values[f"CFG-{port}INPROT-SPARTN"] = 0
                values[f"CFG-MSGOUT-UBX_RXM_COR_{port}"] = 0
        if self.spartn:
            values["CFG-SPARTN-USE_SOURCE"] = 0
        if self.base:
            values["CFG-TMODE-MODE"] = 0
        return {ubxcfg.KEYS[name]: value for name, value in values.items()}


F9P_OLD = Model("ZED-F9P", "HPG 1.12", "27.11", systems=())
F9P = Model("ZED-F9P", "HPG 1.32", "27.31")
F9P_NEW = Model("ZED-F9P", "HPG 1.50", "27.50")
F9R = Model("ZED-F9R", "HPS 1.40", "33.40", base=False)
X20P = Model("ZED-X20P", "HPG 2.02", "50.10", systems=("GPS", "GAL", "BDS"))
