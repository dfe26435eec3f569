"""The settings that a receiver needs, and how ztpd writes them.

ztpd reads the settings first and writes only those that differ, to RAM, so that settings in flash
stay. One unknown key makes a receiver refuse a whole message. The groups that all receivers for
SPARTN know share one; the others, and those where it is refused, have a message each. A refused
group is read key by key, and refused values are written so, which shows the refused one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ztpd.errors import ConfigError, ReceiverSilent
from ztpd.receiver.client import UbxClient
from ztpd.receiver.identify import unanswered
from ztpd.receiver.settings import SettingView
from ztpd.wire import ubxcfg
from ztpd.wire.ubx import Ack, CfgValget, CfgValgetPoll, CfgValset, Message, Parsed

PORTS = ("UART1", "UART2", "USB")
"""A tty's name does not show which of the receiver's ports it is wired to, so all are set."""


class Setting(NamedTuple):
    key: int
    value: int
    at_least: bool = False  # a higher value serves too, and is left alone

    def holds(self, value: int) -> bool:
        return value >= self.value if self.at_least else value == self.value


class Group(NamedTuple):
    """Settings which a receiver accepts or refuses together.

    ``usual`` marks settings that all receivers for SPARTN know.
    ``ports`` marks one setting for each of the receiver's ports: one that takes it is enough.
    ``optional`` marks settings that some receivers rightly do not have. A group with ``unless`` is
    for receivers that do not know those keys, such as "CFG-MSGOUT-UBX_RXM_COR_{}".
    """

    settings: tuple[Setting, ...]
    ports: bool = False
    optional: bool = False
    unless: str = ""
    usual: bool = False


SPARTN_IN = "CFG-{}INPROT-SPARTN"
RTCM_IN = "CFG-{}INPROT-RTCM3X"
POSITION_OUT = "CFG-MSGOUT-UBX_NAV_PVT_{}"
REPORTS_OUT = "CFG-MSGOUT-UBX_RXM_COR_{}"
RTCM_REPORTS_OUT = "CFG-MSGOUT-UBX_RXM_RTCM_{}"
TMODE = ubxcfg.KEYS["CFG-TMODE-MODE"]
SPARTN_SOURCE = ubxcfg.KEYS["CFG-SPARTN-USE_SOURCE"]
HOST_CORRECTIONS = ubxcfg.KEYS["CFG-NAVCOR-ENABLE_HOST"]
STATION_FILTER = ubxcfg.KEYS["CFG-RTCM-DF003_IN_FILTER"]
FILTERED_STATION = ubxcfg.KEYS["CFG-RTCM-DF003_IN"]
MEASURE_MS, MEASURES_PER_FIX = ubxcfg.KEYS["CFG-RATE-MEAS"], ubxcfg.KEYS["CFG-RATE-NAV"]


DGNSS_MODE = ubxcfg.KEYS["CFG-NAVHPG-DGNSSMODE"]


def port_keys(pattern: str, ports: Sequence[str] = PORTS) -> list[int]:
    """The keys that ``pattern``, such as "CFG-{}INPROT-SPARTN", stands for."""
    return [ubxcfg.KEYS[pattern.format(port)] for port in ports]


def plan(extra: Mapping[str, int]) -> tuple[Group, ...]:
    """The groups in the order they are written; ``extra`` are the user's own settings, by name or
    number, and win over ours. Raises :class:`ConfigError`.

    UBX input and output are not among them: a receiver that answered has both on its port. On
    other ports they would let another device configure it.
    """
    try:
        own = tuple(
            Setting(key, ubxcfg.unsigned(key, int(value)))
            for key, value in ((ubxcfg.key_id(name), extra[name]) for name in extra)
        )
    except ValueError as error:
        raise ConfigError(f"receiver.keys: {error}") from error
    groups = (
        Group(_on_ports(RTCM_IN), ports=True, usual=True),
        Group(_on_ports(SPARTN_IN), ports=True, usual=True),
        Group(_on_ports(POSITION_OUT, at_least=True), ports=True, usual=True),
        Group(_on_ports(REPORTS_OUT, at_least=True), ports=True, usual=True),
        Group(_on_ports(RTCM_REPORTS_OUT, at_least=True), ports=True, unless=REPORTS_OUT),
        Group((_one("CFG-SPARTN-USE_SOURCE", 0),), optional=True, usual=True),
        # Galileo HAS is processed while corrections of the host are off, and instead of them
        Group(
            (_one("CFG-NAVCOR-ENABLE_HOST", 1), _one("CFG-NAVCOR-ENABLE_GAL_HAS", 0)),
            optional=True,
        ),
        Group((_one("CFG-TMODE-MODE", 0),), optional=True),
        # 2 never goes beyond float; above 3 are more cautious ways to a fixed solution
        Group((_one("CFG-NAVHPG-DGNSSMODE", 3, at_least=True),), optional=True, usual=True),
        # any rate serves; they are read to know how often NAV-PVT is due
        Group(
            (Setting(MEASURE_MS, 1, at_least=True), Setting(MEASURES_PER_FIX, 1, at_least=True)),
            optional=True,
            usual=True,
        ),
        # any value is left alone; a filter that keeps the corrections out is named
        Group(
            (Setting(STATION_FILTER, 0, at_least=True), Setting(FILTERED_STATION, 0, True)),
            optional=True,
            usual=True,
        ),
    )
    taken = {setting.key for setting in own}
    ours = (
        group._replace(settings=tuple(each for each in group.settings if each.key not in taken))
        for group in groups
    )
    return (*(group for group in ours if group.settings), *(Group((each,)) for each in own))


def _on_ports(pattern: str, *, at_least: bool = False) -> tuple[Setting, ...]:
    return tuple(Setting(key, 1, at_least) for key in port_keys(pattern))


def _one(name: str, value: int, *, at_least: bool = False) -> Setting:
    return Setting(ubxcfg.KEYS[name], value, at_least)


class AppliedSettings:
    """The settings of the receiver after :func:`apply`."""

    def __init__(self) -> None:
        self.values: dict[int, int] = {}  # the keys that it knows, and their values
        self.written: list[int] = []  # keys that were changed
        self.refused: list[int] = []  # keys it does not know, or not that value

    @property
    def locked(self) -> bool:
        """The receiver answers and lets nothing be changed (CFG-SEC-CFG_LOCK)."""
        return not self.written and any(key in self.values for key in self.refused)

    def lacking(self, group: Group) -> list[int]:
        """The keys that the receiver should have taken and did not."""
        refused = [setting.key for setting in group.settings if setting.key in self.refused]
        excused = group.optional or (group.ports and len(refused) < len(group.settings))
        return [] if excused else refused

    def knows(self, pattern: str) -> bool:
        """Whether the receiver has a key such as "CFG-{}INPROT-SPARTN" for one of its ports."""
        return any(key in self.values for key in port_keys(pattern))

    def wrote(self, pattern: str) -> bool:
        """Whether such a key had to be changed for one of its ports."""
        return any(key in self.written for key in port_keys(pattern))

    def port_values(self, pattern: str, ports: Sequence[str] = PORTS) -> list[int]:
        """The values of a key such as "CFG-{}INPROT-SPARTN" on those ``ports`` that have it."""
        keys = port_keys(pattern, ports)
        return [self.values[key] for key in keys if key in self.values]

    @property
    def epoch_s(self) -> float:
        """Between two navigation epochs; one second if the receiver does not report it."""
        measure_s = self.values.get(MEASURE_MS, 1000) / 1000
        return measure_s * self.values.get(MEASURES_PER_FIX, 1)

    def is_on(self, pattern: str, ports: Sequence[str] = PORTS) -> bool:
        """Whether it is on for one of ``ports``, which all may be the one in use."""
        return any(self.port_values(pattern, ports))

    def differ(self, patterns: Iterable[str], ports: Sequence[str]) -> bool:
        """Whether it matters which of ``ports`` is in use."""
        return any(len(set(self.port_values(pattern, ports))) > 1 for pattern in patterns)

    def fix_interval_s(self, ports: Sequence[str] = PORTS) -> float | None:
        """Between two NAV-PVT on the one of ``ports`` where they come most seldom; None where all
        are off."""
        rates = [rate for rate in self.port_values(POSITION_OUT, ports) if rate]
        if not rates:
            return None
        return self.epoch_s * max(rates)

    @property
    def only_station(self) -> int | None:
        """The one reference station that the DF003 filter lets pass; None where it is off."""
        return self.values.get(FILTERED_STATION) if self.values.get(STATION_FILTER) else None


async def apply(client: UbxClient, groups: Sequence[Group], *, write: bool) -> AppliedSettings:
    """Make the receiver's settings those of ``groups``; with ``write`` false only read them.

    Raises :class:`ztpd.errors.ReceiverSilent`, :class:`ztpd.errors.ReceiverDeaf` and
    :class:`ztpd.errors.ReceiverUnconfigurable` where the receiver does not answer, and
    :class:`ztpd.errors.PortLost`.
    """
    try:
        return await _apply(client, groups, write=write)
    except ReceiverSilent as error:
        raise await unanswered(client, error) from error


async def _apply(client: UbxClient, groups: Sequence[Group], *, write: bool) -> AppliedSettings:
    applied = AppliedSettings()
    usual = [group for group in groups if group.usual]
    for together in filter(None, [usual, *([group] for group in groups if not group.usual)]):
        if together[0].unless and applied.knows(together[0].unless):
            continue
        settings = [setting for group in together for setting in group.settings]
        values = await _read(client, *([each.key for each in group.settings] for group in together))
        wrong = {
            setting.key: setting.value
            for setting in settings
            if setting.key in values and not setting.holds(values[setting.key])
        }
        if wrong and write:
            await _write(client, wrong)
            values |= await _read(client, wrong)
        applied.values |= values
        applied.written += [key for key in wrong if values.get(key) == wrong[key]]
        applied.refused += [
            setting.key
            for setting in settings
            if setting.key not in values or (write and not setting.holds(values[setting.key]))
        ]
    return applied


def compare(groups: Iterable[Group], applied: AppliedSettings) -> tuple[SettingView, ...]:
    """The settings read, and the settings wanted."""

    def view(setting: Setting) -> SettingView:
        value = applied.values.get(setting.key)
        right = value is not None and setting.holds(value)
        state = "right" if right else "unknown" if value is None else "wrong"
        name = ubxcfg.key_name(setting.key)
        return SettingView(name, value, setting.value, setting.at_least, state)

    return tuple(
        view(setting)
        for group in groups
        if not (group.unless and applied.knows(group.unless))
        for setting in group.settings
    )


async def _read(client: UbxClient, *groups: Collection[int]) -> dict[int, int]:
    """The values of the keys in ``groups`` that the receiver knows."""
    values = await _ask(client, [key for group in groups for key in group])
    smaller = groups if len(groups) > 1 else [(key,) for key in groups[0]]
    if not values and len(smaller) > 1:
        for each in smaller:
            values |= await _read(client, each)
    return values


async def _ask(client: UbxClient, keys: Collection[int]) -> dict[int, int]:
    """The values of ``keys``; none where the receiver does not know all of them."""

    def answer(message: Parsed) -> dict[int, int] | None:
        if isinstance(message, CfgValget) and message.values and message.values.keys() <= set(keys):
            return dict(message.values)  # some firmware leaves out what it does not know
        is_ack = isinstance(message, Ack)
        return {} if is_ack and message == Ack(Message.CFG_VALGET, ok=False) else None

    poll = CfgValgetPoll(tuple(keys)).encode()
    return await client.ask(poll, answer, f"CFG-VALGET {_some(keys)}")


async def _write(client: UbxClient, values: Mapping[int, int]) -> None:
    """Write the settings that the receiver accepts."""

    def answer(message: Parsed) -> bool | None:
        acked = isinstance(message, Ack) and message.number == Message.CFG_VALSET
        return message.ok if acked and isinstance(message, Ack) else None

    taken = await client.ask(CfgValset(values).encode(), answer, f"CFG-VALSET {_some(values)}")
    if not taken and len(values) > 1:
        for key, value in values.items():
            await _write(client, {key: value})


def names(keys: Iterable[int]) -> str:
    """The keys for a person."""
    return ", ".join(ubxcfg.key_name(key) for key in keys)


def _some(keys: Collection[int]) -> str:
    """As :func:`names`, the first three."""
    more = f" and {len(keys) - 3} more" if len(keys) > 3 else ""
    return names(islice(keys, 3)) + more
