"""The walk: which links there are here, and which of them need which."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from ztpd.check.direct import DirectProbe
from ztpd.check.from_status import OWN_PROBES, StatusProbe
from ztpd.check.network import Endpoint
from ztpd.check.results import LinkState, NotReached, Probe, Problem, Result, joined, layer_of
from ztpd.config import Config, LoadedConfig, exposed_files, is_absent, read_token
from ztpd.errors import (
    NoCredentials,
    NotPermitted,
    SerialError,
    StoreError,
    StoreUnsafe,
    ZtpdError,
)
from ztpd.health import not_used, receiver_weaknesses, with_findings
from ztpd.model import SourceEndpoint, StoredCredentials
from ztpd.modem.at import identity_error
from ztpd.provisioning import board
from ztpd.provisioning.keeper import load_soon
from ztpd.serialport import access, discovery, holders
from ztpd.sources.endpoints import backups, backups_alone, configured_without_ztp, endpoints
from ztpd.status import Cause, Status
from ztpd.system.clock import IN_WORDS, Clock, day
from ztpd.system.files import become_owner
from ztpd.system.mounts import lost_at_power_off
from ztpd.system.offload import offload
from ztpd.unit import UnitState, why_not_running
from ztpd.unit import read as read_unit


class Check:
    """One walk. ``daemon`` is the running daemon's status; None where no daemon runs."""

    def __init__(
        self,
        load: Callable[[], LoadedConfig],
        *,
        state_dir: Path,
        daemon: Status | None = None,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
        unit: Callable[[], UnitState | None] = read_unit,
        root: Path = discovery.ROOT,
    ) -> None:
        self._load = load
        self._unit = unit
        self._root = root
        self._state_dir = state_dir
        self._clock = clock or Clock()
        self._environ = environ
        self._config = Config()
        self._daemon = None if daemon is None else StatusProbe(daemon)
        self._held = AsyncExitStack()
        self._probe: Probe = self._daemon or DirectProbe(self._config, self._held)
        self._stored: StoredCredentials | None = None
        self._store_error: StoreError | None = None
        self._token_error: ZtpdError | None = None
        self._candidates: list[str] = []  # ports that may be the receiver's, where none is named
        self._holders: dict[str, list[int]] = {}
        self._source: SourceEndpoint | None = None
        self._source_error: ZtpdError | None = None
        self._endpoint = Endpoint.ztp(self._config)
        self._well: set[str] = set()  # links that are in order

    async def run(self, tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """The findings, one for each of :data:`LINKS`; ``tell`` is called with each at once.

        A link that needs a broken one is not reached, unless the daemon's status has its finding;
        all others are tried.
        """
        found: list[Result] = []
        broken: set[str] = set()
        async with self._held:
            for link in CHAIN:
                one = Result(link.layer, LinkState.NOT_REACHED)
                needs = () if self._daemon and self._daemon.knows(link.layer) else link.needs
                if broken.intersection((link.layer, *needs)):
                    broken.add(link.layer)
                else:
                    one = await _judged(one, link.probe(self))
                if one.state is LinkState.OK:
                    self._well.add(link.layer)
                if one.state is LinkState.PROBLEM:
                    broken |= {link.layer, layer_of(one.event)}
                found.append(one)
                tell(one)
        return found

    async def config(self) -> str:
        self._raise_reported("config")
        loaded = await offload(self._load)
        self._config = loaded.config
        files = sorted({origin for origin in loaded.origins.values() if origin != "default"})
        unknown = ", ".join(each.key for each in loaded.unknown)
        return joined(
            ", ".join(files) or "all settings have their defaults",
            f"unknown keys ignored: {unknown} (see `ztpd config check`)" if unknown else "",
        )

    async def permissions(self) -> str:
        """From here on as the user that owns the credentials, as the daemon does it."""
        directory, me = self._state_dir, os.geteuid()
        try:
            owner = directory.stat().st_uid
        except FileNotFoundError:
            owner = me
        except OSError as error:
            raise NotPermitted(f"{directory}: {error.strerror}") from error
        if me not in (0, owner):
            raise NotPermitted(f"{directory} belongs to another user")
        await offload(self._look_as_root)
        become_owner(directory)
        try:
            loaded = await load_soon(directory)
        except StoreUnsafe:
            raise
        except StoreError as error:
            self._store_error, sealing = error, ""
        else:
            self._stored = loaded.stored if loaded else None
            sealing = loaded.sealing(wanted=self._config.ztp.seal_credentials) if loaded else ""
        self._choose_source()
        notes = await offload(_notes, directory, self._config)
        return joined(f"{directory} is private", sealing, *notes)

    def _look_as_root(self) -> None:
        """The token that systemd hands to the daemon, and the holders of the ports."""
        try:
            read_token(self._config, self._environ)
        except ZtpdError as error:
            self._token_error = error
        named = self._config.identity.port, self._config.receiver.port
        if self._config.receiver.port == "auto":
            self._candidates = [tty.path for tty in discovery.gnss_candidates(self._root)]
        for port in (*named, *self._candidates):
            self._holders[port] = holders.pids_of(os.path.realpath(port))

    def _choose_source(self) -> None:
        """The service that everything from the route on is tried with."""
        credentials = self._stored.credentials if self._stored else None
        if self._stored:
            self._clock.note_past(self._stored.stored_unix_s)
        if credentials or self._without_ztp:
            try:
                self._source = endpoints(self._config, credentials)[0]
            except ZtpdError as error:
                self._source_error = error
        source = self._source
        self._endpoint = Endpoint.source(source) if source else Endpoint.ztp(self._config)
        self._held.callback(self._endpoint.close)
        if self._daemon is None:
            keys = credentials.keys if credentials else ()
            self._probe = DirectProbe(self._config, self._held, source, keys)

    @property
    def _is_provisioned(self) -> bool:
        """Neither modem nor provisioning service is needed any more."""
        source = self._source or self._source_error
        return source is not None or bool(self._daemon and self._daemon.has_credentials)

    @property
    def _without_ztp(self) -> bool:
        """Whether the configuration is enough; systemd may give the daemon a token."""
        if configured_without_ztp(self._config):
            return True
        has_token = not is_absent(self._token_error)
        if (daemon := self._daemon) and not daemon.is_paused:
            has_token = not daemon.streams_without_credentials
        return self._stored is None and backups_alone(self._config, has_token=has_token)

    @property
    def _not_needed(self) -> str:
        named = "the configuration names the service"
        return f"not needed: {named if self._without_ztp else 'there are credentials'}"

    def _raise_reported(self, *layers: str) -> None:
        if self._daemon:
            self._daemon.raise_reported(*layers)

    async def board(self) -> str:
        serial = await offload(board.serial)
        if not serial:
            return "has no serial number; credentials are not bound to it"
        if self._stored and self._stored.board not in ("", serial):
            return f"{serial}; the credentials are from {self._stored.board}: the IMEI decides"
        return serial

    async def ports(self) -> str:
        words = []
        settings, gnss = self._config.identity, self._config.receiver.port
        needs_modem = not self._is_provisioned and settings.source in ("auto", "at")
        if needs_modem and settings.port != "auto":
            words.append(await self._port("modem", settings.port))
        if gnss != "auto":
            words.append(await self._port("receiver", gnss))
        elif self._candidates and all(map(self._others, self._candidates)):
            port = self._candidates[0]
            raise access.busy(port, self._others(port))
        optional = self._is_provisioned and settings.port != "auto"
        return "; ".join(words) or (
            "the modem's is not needed; the receiver's is looked for"
            if optional
            else "none is named: the devices are looked for"
        )

    def _others(self, port: str) -> list[int]:
        """The processes that have ``port`` open, apart from this one and the daemon."""
        ours = (os.getpid(), self._daemon.pid if self._daemon else None)
        return [pid for pid in self._holders.get(port, []) if pid not in ours]

    async def _port(self, device: str, port: str) -> str:
        try:
            return await offload(self._check_port, device, port)
        except SerialError as error:
            if device == "modem":
                raise identity_error(error) from error
            raise

    def _check_port(self, device: str, port: str) -> str:
        """As opening it would, without opening it. Raises :class:`SerialError`."""
        access.check(port, for_receiver=device == "receiver")
        pids = self._holders.get(port, [])
        if others := self._others(port):
            raise access.busy(port, others)
        if not os.access(port, os.R_OK | os.W_OK):
            raise access.forbidden(port)
        held = "held by the daemon" if pids and self._daemon else "free"
        return joined(f"{device} {port}", held, access.same_name(port))

    async def modem(self) -> str:
        return self._not_needed if self._is_provisioned else await self._probe.modem()

    async def token(self) -> str:
        if self._is_provisioned:
            return self._not_needed
        self._raise_reported("token")
        if self._token_error and not self._daemon:
            raise self._token_error
        return "nothing reported by the daemon" if self._token_error else "has the right form"

    async def clock(self) -> str:
        self._clock.check()
        shown = datetime.fromtimestamp(self._clock.now(), UTC)
        return f"{shown:%Y-%m-%d %H:%M:%S} UTC, {IN_WORDS[await offload(self._clock.describe)]}"

    async def route(self) -> str:
        return await self._endpoint.route()

    async def dns(self) -> str:
        return await self._endpoint.dns()

    async def tcp(self) -> str:
        return await self._endpoint.tcp()

    async def tls(self) -> str:
        return await self._endpoint.tls_handshake()

    async def ztp(self) -> str:
        if self._is_provisioned:
            return self._not_needed
        self._raise_reported("ztp", *OWN_PROBES)
        return f"{self._endpoint.where} is there; it was not called"

    async def credentials(self) -> str:
        self._raise_reported("credentials", "permissions")
        if stored := self._stored:
            return joined(
                f"client {stored.credentials.client_id}",
                f"of {day(stored.stored_unix_s)}",
                f"until {day(stored.expires_unix_s)}" if stored.expires_unix_s else "",
            )
        if self._without_ztp:
            return self._not_needed
        if self._daemon is None:
            raise self._store_error or NoCredentials(str(self._state_dir))
        if not self._daemon.has_credentials:
            raise NotReached(self._daemon.doing)
        return "the daemon has some that are not on disk yet"

    async def login(self) -> str:
        if self._source_error:
            raise self._source_error
        return await self._probe.login()

    async def data(self) -> str:
        return await self._probe.data()

    async def receiver(self) -> str:
        return await self._probe.receiver()

    async def setup(self) -> str:
        return await self._probe.setup()

    async def use(self) -> str:
        """Antenna and sky are judged without data too, where a daemon has watched them."""
        without_data = "data" not in self._well
        if without_data and self._daemon is None:
            raise NotReached("")
        view = await self._probe.use()
        if without_data:
            raise Problem(with_findings((), view)[0]) if view.findings else NotReached("")
        weak = [each.cause for each in receiver_weaknesses(view)]
        if found := with_findings((not_used(view), *weak), view):
            raise Problem(found[0])
        if view.use != "used":
            raise NotReached("it is not known at present whether the receiver uses the corrections")
        return f"the receiver uses them, fix {view.fix}"

    async def backups(self) -> str:
        """All that the links before have not tried; the first that fails is the finding."""
        found, failed = [], []
        for endpoint in backups(self._config):
            if self._daemon is None and endpoint == self._source:  # it may allow one session
                found.append(f"{endpoint.label}: as above")
                continue
            try:
                found.append(await _reached(self._probe, endpoint))
            except (ZtpdError, Problem) as error:
                failed.append(error)
        self._raise_reported("backup")
        if failed:
            raise failed[0]
        return "; ".join(found) or "none is configured"

    async def daemon(self) -> str:
        if self._daemon:
            return self._daemon.present()
        raise Problem(why_not_running(await offload(self._unit), self._load))


def _notes(state_dir: Path, config: Config) -> list[str]:
    volatile = lost_at_power_off(state_dir)
    found = [f"on {volatile}: lost at power off (docs/fleet.md)"] if volatile else []
    cure = "others may read it, so `chown ztpd` and `chmod 600` it"
    return found + [f"{each.path} has mode {each.mode}: {cure}" for each in exposed_files(config)]


async def _reached(probe: Probe, backup: SourceEndpoint) -> str:
    with closing(Endpoint.source(backup)) as there:
        await there.dns()
        await there.tcp()
        await there.tls_handshake()
        return await probe.backup(backup)


class Link(NamedTuple):
    """One of :data:`LINKS`: its probe, and the links without which it cannot be tried."""

    layer: str
    probe: Callable[[Check], Awaitable[str]]
    needs: tuple[str, ...] = ()


CHAIN = (
    Link("config", Check.config),
    Link("permissions", Check.permissions, ("config",)),
    Link("board", Check.board),
    Link("ports", Check.ports, ("permissions",)),
    Link("modem", Check.modem, ("permissions",)),
    Link("token", Check.token, ("permissions",)),
    Link("clock", Check.clock),
    Link("route", Check.route, ("permissions",)),
    Link("dns", Check.dns, ("route",)),
    Link("tcp", Check.tcp, ("dns",)),
    Link("tls", Check.tls, ("tcp", "clock")),
    Link("ztp", Check.ztp, ("tls",)),
    Link("credentials", Check.credentials, ("modem", "token", "ztp")),
    Link("login", Check.login, ("credentials", "tls")),
    Link("data", Check.data, ("login",)),
    Link("receiver", Check.receiver, ("permissions",)),
    Link("setup", Check.setup, ("receiver",)),
    Link("use", Check.use, ("setup",)),
    Link("backup", Check.backups, ("route",)),
    Link("daemon", Check.daemon, ("config",)),
)


async def _judged(link: Result, probing: Awaitable[str]) -> Result:
    try:
        return replace(link, state=LinkState.OK, text=await probing)
    except NotReached as reason:
        return replace(link, text=str(reason))
    except Problem as problem:
        cause = problem.cause
    except ZtpdError as error:
        cause = Cause(error.code, str(error), error.advice)
    return replace(
        link, state=LinkState.PROBLEM, text=cause.text, event=cause.event, advice=cause.advice
    )
