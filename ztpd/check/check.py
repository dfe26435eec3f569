"""The walk itself: which links there are to look at here, and in what order."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ztpd import events
from ztpd.check.direct import DirectProbe
from ztpd.check.from_status import OWN_PROBES, StatusProbe
from ztpd.check.network import Endpoint
from ztpd.check.results import LINKS, NotReached, Problem, Result, State, joined
from ztpd.config import Config, Loaded, read_token
from ztpd.errors import (
    ModemAbsent,
    ModemBusy,
    ModemPermission,
    NoCredentials,
    NotPermitted,
    PortAbsent,
    PortBusy,
    PortPermission,
    StoreError,
    StoreUnsafe,
    ZtpdError,
)
from ztpd.model import SourceEndpoint, StoredCredentials, utc
from ztpd.provisioning import board
from ztpd.provisioning.store import CredentialStore
from ztpd.serialport import holders
from ztpd.sources.endpoints import configured_without_ztp, endpoints
from ztpd.system.clock import Clock
from ztpd.system.files import become_owner
from ztpd.system.mounts import lost_at_power_off
from ztpd.system.offload import offload


class Check:
    """One walk. ``told`` is the running daemon's status; None where no daemon runs."""

    def __init__(
        self,
        load: Callable[[], Loaded],
        *,
        state_dir: Path,
        told: Mapping[str, Any] | None = None,
        clock: Clock | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._load = load
        self._state_dir = state_dir
        self._clock = clock or Clock()
        self._environ = environ
        self._config = Config()
        self._status_probe = None if told is None else StatusProbe(told)
        self._held = AsyncExitStack()
        self._direct_probe = DirectProbe(self._config, self._held)
        self._stored: StoredCredentials | None = None
        self._store_error: StoreError | None = None
        self._token_error: ZtpdError | None = None
        self._holders: dict[str, list[int]] = {}
        self._way: SourceEndpoint | None = None
        self._no_way: ZtpdError | None = None
        self._endpoint = Endpoint.ztp(self._config)

    async def run(self, tell: Callable[[Result], None] = lambda _: None) -> list[Result]:
        """What was found, one for each of :data:`LINKS`; ``tell`` hears of each at once."""
        found: list[Result] = []
        broken = False
        async with self._held:
            for layer in LINKS:
                one = Result(layer, State.NOT_REACHED)
                if not broken:
                    one = await _judged(one, getattr(self, f"_look_at_{layer}"))
                    broken = one.state is State.PROBLEM
                found.append(one)
                tell(one)
        return found

    async def _look_at_config(self) -> str:
        self._heed("config")
        loaded = await offload(self._load)
        self._config = loaded.config
        self._direct_probe = DirectProbe(self._config, self._held)
        files = sorted({origin for origin in loaded.origins.values() if origin != "default"})
        unknown = ", ".join(each.key for each in loaded.unknown)
        return joined(
            ", ".join(files) or "all settings have their defaults",
            f"unknown keys ignored: {unknown} (see `ztpd config check`)" if unknown else "",
        )

    async def _look_at_permissions(self) -> str:
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
            loaded = await offload(CredentialStore(directory).load)
        except StoreUnsafe:
            raise
        except StoreError as error:
            self._store_error = error
        else:
            self._stored = loaded.stored if loaded else None
        self._choose_way()
        volatile = await offload(lost_at_power_off, directory)
        return joined(
            f"{directory} is private",
            f"on {volatile}: lost at power off (docs/fleet.md)" if volatile else "",
        )

    def _look_as_root(self) -> None:
        """What the daemon gets from systemd, and whose ports are whose."""
        try:
            read_token(self._config, self._environ)
        except ZtpdError as error:
            self._token_error = error
        for port in (self._config.identity.port, self._config.receiver.port):
            self._holders[port] = holders.pids_of(os.path.realpath(port))

    def _choose_way(self) -> None:
        """The service that everything from the route on is tried with."""
        credentials = self._stored.credentials if self._stored else None
        if self._stored:
            past_s = max(self._clock.floor_unix_s, self._stored.stored_unix_s)
            self._clock.floor_unix_s = past_s
        if credentials or configured_without_ztp(self._config):
            try:
                self._way = endpoints(self._config, credentials)[0]
            except ZtpdError as error:
                self._no_way = error
        self._endpoint = Endpoint.source(self._way) if self._way else Endpoint.ztp(self._config)
        self._held.callback(self._endpoint.close)

    @property
    def _equipped(self) -> bool:
        """Neither modem nor provisioning service is needed any more."""
        known = self._way or self._no_way
        return known is not None or bool(self._status_probe and self._status_probe.has_credentials)

    @property
    def _not_needed(self) -> str:
        if configured_without_ztp(self._config):
            return "not needed: the configuration names the service"
        return "not needed: there are credentials"

    def _heed(self, *layers: str) -> None:
        if self._status_probe:
            self._status_probe.raise_reported(*layers)

    async def _look_at_board(self) -> str:
        serial = await offload(board.serial)
        if not serial:
            return "has no serial number; credentials are not bound to it"
        if self._stored and self._stored.board not in ("", serial):
            return f"{serial}; the credentials are from {self._stored.board}: the IMEI decides"
        return serial

    async def _look_at_ports(self) -> str:
        words = []
        settings, gnss = self._config.identity, self._config.receiver.port
        if not self._equipped and settings.source in ("auto", "at") and settings.port != "auto":
            words.append(self._port("modem", settings.port, ModemAbsent, ModemBusy))
        if gnss != "auto":
            words.append(self._port("receiver", gnss, PortAbsent, PortBusy))
        needless = self._equipped and settings.port != "auto"
        return "; ".join(words) or (
            "the modem's is not needed; the receiver's is looked for"
            if needless
            else "none is named: the devices are looked for"
        )

    def _port(self, what: str, port: str, absent: type[ZtpdError], busy: type[ZtpdError]) -> str:
        if not Path(port).exists():
            raise absent(f"{port}; {holders.similar_ports(port)}")
        pids = self._holders.get(port, [])
        ours = (os.getpid(), self._status_probe.pid if self._status_probe else None)
        if others := [pid for pid in pids if pid not in ours]:
            raise busy(f"{port}, by {holders.describe(others)}")
        if not os.access(port, os.R_OK | os.W_OK):
            forbidden = ModemPermission if absent is ModemAbsent else PortPermission
            raise forbidden(f"{port}{holders.describe_permissions(os.path.realpath(port))}")
        return f"{what} {port}, {'held by the daemon' if pids and self._status_probe else 'free'}"

    async def _look_at_modem(self) -> str:
        if self._equipped:
            return self._not_needed
        return await (self._status_probe or self._direct_probe).modem()

    async def _look_at_token(self) -> str:
        if self._equipped:
            return self._not_needed
        self._heed("token")
        if self._token_error and not self._status_probe:
            raise self._token_error
        return "has the right form"

    async def _look_at_clock(self) -> str:
        self._clock.check()
        shown = datetime.fromtimestamp(self._clock.now(), UTC)
        return f"{shown:%Y-%m-%d %H:%M:%S} UTC, {await offload(self._clock.describe)}"

    async def _look_at_route(self) -> str:
        return await self._endpoint.route()

    async def _look_at_dns(self) -> str:
        return await self._endpoint.dns()

    async def _look_at_tcp(self) -> str:
        return await self._endpoint.tcp()

    async def _look_at_tls(self) -> str:
        return await self._endpoint.tls_handshake()

    async def _look_at_ztp(self) -> str:
        if self._equipped:
            return self._not_needed
        self._heed("ztp", *OWN_PROBES)
        return f"{self._endpoint.where} is there; it was not called"

    async def _look_at_credentials(self) -> str:
        self._heed("credentials", "permissions")
        if stored := self._stored:
            return joined(
                f"client {stored.credentials.client_id}",
                f"of {_day(stored.stored_unix_s)}",
                f"until {_day(stored.expires_unix_s)}" if stored.expires_unix_s else "",
            )
        if configured_without_ztp(self._config):
            return self._not_needed
        if self._status_probe is None:
            raise self._store_error or NoCredentials(str(self._state_dir))
        if not self._status_probe.has_credentials:
            raise NotReached(self._status_probe.doing)
        return "the daemon has some that are not on disk yet"

    async def _look_at_login(self) -> str:
        if self._no_way:
            raise self._no_way
        if self._status_probe:
            return await self._status_probe.login()
        if self._way is None:
            raise NotReached("needs credentials")
        keys = self._stored.credentials.keys if self._stored else ()
        return await self._direct_probe.login(self._way, keys)

    async def _look_at_data(self) -> str:
        return await (self._status_probe or self._direct_probe).data()

    async def _look_at_receiver(self) -> str:
        return await (self._status_probe or self._direct_probe).receiver()

    async def _look_at_setup(self) -> str:
        return await (self._status_probe or self._direct_probe).setup()

    async def _look_at_use(self) -> str:
        use, fix = await (self._status_probe or self._direct_probe).use()
        if use.startswith("not used"):
            event = events.not_used(use)
            raise Problem(event.name, event.text, event.remedy)
        if use != "used":
            raise NotReached("the receiver has not said yet what it does with corrections")
        return f"the receiver uses them, fix {fix}"


async def _judged(link: Result, look: Callable[[], Awaitable[str]]) -> Result:
    try:
        return replace(link, state=State.OK, text=await look())
    except NotReached as reason:
        return replace(link, text=str(reason))
    except Problem as problem:
        event, text, advice = problem.event, problem.text, problem.advice
    except ZtpdError as error:
        event, text, advice = error.code, str(error), error.advice
    return replace(link, state=State.PROBLEM, text=text, event=event, advice=advice)


def _day(unix_s: int) -> str:
    return f"{utc(unix_s):%Y-%m-%d}"
