"""The simulated receivers: model, firmware, and settings as from the factory."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ztpd.wire import ubxcfg
from ztpd.wire.ubx import MonVer

PORTS = ("UART1", "UART2", "USB")

_MONITORS = ("NAV_SAT", "MON_RF", "MON_COMMS", "SEC_SIG")


@dataclass(frozen=True, slots=True)
class Model:
    """A module and its firmware, as far as a host can distinguish them."""

    module: str
    firmware: str
    protocol: str
    systems: tuple[str, ...] = ("GPS", "GLO", "GAL")  # whose SPARTN it takes; (): no SPARTN
    base: bool = True  # has a base station's settings
    comms: bool = True  # answers MON-COMMS
    rtcm: bool = True  # takes RTCM 3
    rtk: bool = True  # computes carrier solutions
    navigates: bool = True  # has a position; False: a receiver of corrections only
    key_value: bool = True  # has VALSET and VALGET; False: generation 8 and older
    has: bool = False  # takes Galileo HAS from the sky
    reports: tuple[str, ...] = ("RXM_COR", "RXM_RTCM")  # about corrections
    monitors: tuple[str, ...] = _MONITORS
    jamming_in_rf: bool = True  # MON-RF reports jamming; else SEC-SIG alone does
    security: int = 1  # version of SEC-SIG
    sign: str = "="  # between name and value in MON-VER

    @property
    def spartn(self) -> bool:
        return bool(self.systems)

    def version(self) -> MonVer:
        named = (("FWVER", self.firmware), ("PROTVER", self.protocol), ("MOD", self.module))
        texts = (f"{name}{self.sign}{value}" for name, value in named)
        core = "EXT CORE 1.00 (f17067)" if self.key_value else "EXT CORE 3.01 (107900)"
        hardware = "00190000" if self.key_value else "00080000"
        return MonVer(core, hardware, ("ROM BASE 0x118B2060", *texts))

    def named(self, version: MonVer) -> Model:
        """This receiver under another name and firmware."""
        return replace(
            self,
            module=version.model or self.module,
            firmware=version.firmware,
            protocol=version.protocol or self.protocol,
        )

    def defaults(self) -> dict[int, int]:
        """The configuration after a start with nothing saved."""
        values = {
            "CFG-UART1-BAUDRATE": 38400,
            "CFG-UART2-BAUDRATE": 38400,
            "CFG-RATE-MEAS": 1000,
            "CFG-RATE-NAV": 1,
        }
        if self.navigates:
            values["CFG-NAVSPG-CONSTR_DGNSSTO"] = 60
        if self.rtk:
            values["CFG-NAVHPG-DGNSSMODE"] = 3
        if self.rtcm:
            values |= {"CFG-RTCM-DF003_IN": 0, "CFG-RTCM-DF003_IN_FILTER": 0}
        if "MON_RF" in self.monitors:
            values |= {"CFG-HW-ANT_CFG_SHORTDET": 0, "CFG-HW-ANT_CFG_OPENDET": 0}
        if "MON_RF" in self.monitors and self.jamming_in_rf:
            values["CFG-ITFM-ENABLE"] = 0
        if self.spartn:
            values["CFG-SPARTN-USE_SOURCE"] = 0
        if self.base:
            values["CFG-TMODE-MODE"] = 0
        if self.has:
            values |= {"CFG-NAVCOR-ENABLE_HOST": 1, "CFG-NAVCOR-ENABLE_GAL_HAS": 0}
        for port in PORTS:
            values |= self._port_defaults(port)
        return {ubxcfg.KEYS[name]: value for name, value in values.items()}

    def _port_defaults(self, port: str) -> dict[str, int]:
        values = {f"CFG-{port}INPROT-UBX": 1, f"CFG-{port}INPROT-NMEA": 1}
        values |= {f"CFG-{port}OUTPROT-UBX": 1, f"CFG-{port}OUTPROT-NMEA": 1}
        if self.rtcm:
            values[f"CFG-{port}INPROT-RTCM3X"] = 1
        if self.spartn:
            values[f"CFG-{port}INPROT-SPARTN"] = 0
        if self.navigates:
            values[f"CFG-MSGOUT-UBX_NAV_PVT_{port}"] = 0
            values[f"CFG-MSGOUT-NMEA_ID_GGA_{port}"] = 1
        for message in (*self.reports, *self.monitors):
            values[f"CFG-MSGOUT-UBX_{message}_{port}"] = 0
        return values


F9P_OLD = Model(
    "ZED-F9P",
    "HPG 1.13",
    "27.12",
    systems=(),
    reports=("RXM_RTCM",),
    monitors=("NAV_SAT", "MON_RF", "MON_COMMS"),
)
F9P = Model("ZED-F9P", "HPG 1.32", "27.31")
F9P_NEW = Model("ZED-F9P", "HPG 1.50", "27.50", jamming_in_rf=False, security=2)
F9R = Model("ZED-F9R", "HPS 1.40", "33.40", base=False)
X20P = Model(
    "ZED-X20P",
    "HPG 2.02",
    "50.10",
    systems=("GPS", "GAL", "BDS"),
    reports=("RXM_COR",),
    jamming_in_rf=False,
    security=2,
)
X20P_HAS = Model(
    "ZED-X20P",
    "HPG 2.10",
    "50.20",
    systems=("GPS", "GAL", "BDS"),
    has=True,
    reports=("RXM_COR",),
    jamming_in_rf=False,
    security=2,
)
F9T = Model("ZED-F9T", "TIM 2.20", "29.20", systems=(), rtk=False, reports=("RXM_RTCM",))
M9N = Model(
    "NEO-M9N",
    "SPG 4.04",
    "32.01",
    systems=(),
    base=False,
    rtk=False,
    reports=("RXM_RTCM",),
    monitors=("NAV_SAT", "MON_RF", "MON_COMMS"),
)
M8P = Model(
    "NEO-M8P-2",
    "HPG 1.40",
    "20.30",
    systems=(),
    key_value=False,
    comms=False,
    reports=("RXM_RTCM",),
    monitors=(),
)
D9S = Model(
    "NEO-D9S",
    "PMP 1.04",
    "24.00",
    systems=(),
    base=False,
    rtcm=False,
    rtk=False,
    navigates=False,
    reports=(),
    monitors=("MON_RF", "MON_COMMS"),
)

KNOWN = (F9P_OLD, F9P, F9P_NEW, F9R, X20P, X20P_HAS, F9T, M9N, M8P, D9S)
