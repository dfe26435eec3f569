"""What a person has done once: ``ztpd provision`` and ``ztpd import``."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from ztpd import config as configuration
from ztpd import status
from ztpd.config import Config
from ztpd.errors import ImportInvalid, NotRunning, ZtpdError, ZtpError, ZtpHostNotAllowed
from ztpd.lifecycle import Event
from ztpd.model import Secret
from ztpd.modem import identity
from ztpd.provisioning import board
from ztpd.provisioning.call import bind_to_gateway, describe_transports
from ztpd.provisioning.provisioner import Provisioner
from ztpd.provisioning.store import CredentialStore
from ztpd.system import control
from ztpd.system.files import become_owner
from ztpd.wire import ztp

EXIT_LATER = 75


async def provision(config: Config, *, force: bool, dry_run: bool) -> int:
    """The exit status; raises a typed error whose exit status tells what went wrong.

    Where the daemon runs, it is asked: two programs must not call the service side by side.
    """
    runtime_dir, state_dir = configuration.runtime_dir(), configuration.state_dir()
    if status.running(runtime_dir) and not dry_run:
        answer = control.ask(runtime_dir, {"do": "provision", "force": force})
        print(answer.get("text") or f"the daemon says: {answer.get('error')}")
        return 0 if answer.get("ok") else EXIT_LATER
    token = _token(config)
    configuration.make(state_dir, 0o700)
    become_owner(state_dir)
    provisioner = Provisioner(
        config,
        state_dir,
        dispatch=_ignore,
        read_identity=lambda: identity.read(config),
        token=token,
    )
    if dry_run:
        request = provisioner.request(await identity.read(config))
        shown = json.loads(request.body) | {"token": str(request.token)}
        print(f"would POST to {request.url}:\n{json.dumps(shown, indent=1)}")
        return 0
    stored = None if force else await provisioner.stored()
    if stored:
        print(f"already provisioned: {describe_transports(stored.credentials)}")
        return 0
    if rate_limit_reason := provisioner.rate_limit_reason():
        print(rate_limit_reason)
        return EXIT_LATER
    stored = await provisioner.once()
    if provisioner.keeper.unsaved:
        return EXIT_LATER
    print(f"provisioned: {describe_transports(stored.credentials)}")
    return 0


def _token(config: Config) -> Callable[[], Secret]:
    """Reads the token at once, as root: its file is not the daemon's. What is wrong with it is
    raised where it is needed."""
    try:
        token = configuration.read_token(config)
    except ZtpdError as error:
        reason = error  # Python forgets the name at the end of this block

        def none() -> Secret:
            raise reason

        return none
    return lambda: token


def take_in(config: Config, path: Path) -> None:
    """Store the credentials in ``path``, a download of the portal or an answer of the service.

    A running daemon takes them up at once. Raises :class:`ImportInvalid`, :class:`StoreError`
    and its kind; then what was stored is stored still.
    """
    runtime_dir, state_dir = configuration.runtime_dir(), configuration.state_dir()
    content = _read(path)  # as root: it need not be readable for the daemon
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
    configuration.make(state_dir, 0o700)
    become_owner(state_dir)
    CredentialStore(state_dir).save(stored)
    print(f"imported: {describe_transports(credentials)}")
    with contextlib.suppress(NotRunning):
        control.ask(runtime_dir, {"do": "imported"})
    print(f"{path} holds the secrets in clear text: delete it", file=sys.stderr)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(ztp.BODY_LIMIT + 1)
    except OSError as error:
        raise ImportInvalid(f"{path}: {error.strerror}") from error


def _ignore(
    event: Event,
    why: str = "",
    *,
    error: ZtpdError | None = None,
    wait_s: float | None = None,
) -> None:
    """A person who waits sees the journal lines; there is no state to keep."""
