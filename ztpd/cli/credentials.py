"""``ztpd credentials`` and ``ztpd import``: the stored credentials, without the daemon."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

from ztpd import config as configuration
from ztpd.cli.screen import row
from ztpd.errors import (
    DaemonSilent,
    ImportInvalid,
    NotPermitted,
    NotRunning,
    StoreError,
    ZtpError,
    ZtpHostNotAllowed,
)
from ztpd.system import control, directories
from ztpd.system.clock import day
from ztpd.system.control import Verb
from ztpd.system.files import become_owner

EXIT_NO_CREDENTIALS = 66


def show(_: argparse.Namespace) -> int:
    from ztpd.provisioning.store import CredentialStore

    state_dir = directories.state_dir()
    become_owner(state_dir)
    loaded = CredentialStore(state_dir).load()
    if loaded is None:
        print(f"no credentials in {state_dir}", file=sys.stderr)
        return EXIT_NO_CREDENTIALS
    stored, credentials = loaded.stored, loaded.stored.credentials
    rows = {
        "service": credentials.service,
        "client": credentials.client_id,
        "opens": credentials.transports,
        "obtained": f"{day(stored.stored_unix_s)}, {_obtained_for(stored.hardware_id)}",
        "board": stored.board or "unknown",
        "sealed": "to this machine" if loaded.sealed else "no",
        "ends": day(stored.expires_unix_s) if stored.expires_unix_s else "no date",
        "note": loaded.note,
    }
    print("".join(row(name, text, 10) for name, text in rows.items()), end="")
    return 0


def forget(_: argparse.Namespace) -> int:
    from ztpd.provisioning.pacing import SCHEDULE_FILE
    from ztpd.provisioning.schedule import Schedule
    from ztpd.provisioning.store import CredentialStore

    state_dir = directories.state_dir()
    become_owner(state_dir)
    store = CredentialStore(state_dir)
    try:
        kept = [path for path in state_dir.iterdir() if path.name.startswith("credentials")]
    except FileNotFoundError:
        kept = []
    except OSError as error:
        raise StoreError(f"{state_dir}: {error.strerror}") from error
    if not kept:
        print(f"no credentials in {state_dir}", file=sys.stderr)
        return EXIT_NO_CREDENTIALS
    store.forget()
    with contextlib.suppress(OSError):  # the day between two calls is for losses, not for persons
        Schedule(state_dir / SCHEDULE_FILE).no_wait()
    with contextlib.suppress(NotRunning, NotPermitted, DaemonSilent):  # it has the schedule, too
        control.ask(directories.runtime_dir(), {"do": Verb.FORGOTTEN})
    print("credentials deleted; a running daemon keeps its own until `ztpd provision` or a restart")
    return 0


def take_in(options: argparse.Namespace) -> int:
    """Store the credentials in a file: a download of the portal or an answer of the service.

    A running daemon uses them at once. Raises :class:`ImportInvalid` and :class:`StoreError`; then
    the stored credentials stay.
    """
    from ztpd.provisioning import board
    from ztpd.provisioning.call import bind_to_gateway
    from ztpd.provisioning.store import CredentialStore
    from ztpd.wire import ztp

    config, path = configuration.load(options.config).config, options.file
    runtime_dir, state_dir = directories.runtime_dir(), directories.state_dir()
    content = _read(path, ztp.BODY_LIMIT)  # as root: it need not be readable for the daemon
    try:
        credentials = ztp.parse_answer(config.ztp.service, content)
        ztp.check_hosts(
            credentials,
            allowed_hosts=config.ztp.allowed_hosts,
            service_host=urlsplit(config.ztp.url).hostname or "",
        )
        stored = bind_to_gateway(credentials, "", board.serial(), int(time.time()))
    except ZtpHostNotAllowed as error:
        raise ImportInvalid(f"{path}: {error}. {error.advice}") from error
    except ZtpError as error:
        raise ImportInvalid(f"{path}: {error}") from error
    if stored.expires_unix_s is not None and stored.expires_unix_s < stored.stored_unix_s:
        print(f"{path}: the client certificate in it has ended", file=sys.stderr)
    directories.make(state_dir, 0o700)
    become_owner(state_dir)
    store = CredentialStore(state_dir, seal=config.ztp.seal_credentials)
    store.save(stored)
    print(f"imported: {credentials.transports}")
    if store.not_sealed:
        print(f"stored in clear text: {store.not_sealed.detail}", file=sys.stderr)
    with contextlib.suppress(NotRunning, NotPermitted, DaemonSilent):
        control.ask(runtime_dir, {"do": Verb.IMPORTED})
    print(f"{path} holds the secrets in clear text: delete it", file=sys.stderr)
    return 0


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise ImportInvalid(f"{path}: {error.strerror}") from error


def _obtained_for(hardware_id: str) -> str:
    return f"for {_masked(hardware_id)}" if hardware_id else "from a file"


def _masked(hardware_id: str) -> str:
    return f"{hardware_id[:8]}*****{hardware_id[-2:]}" if len(hardware_id) == 15 else hardware_id
