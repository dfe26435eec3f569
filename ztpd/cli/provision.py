"""``ztpd provision``, ``ztpd retry`` and ``ztpd imei``: the identity, and credentials for it."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable

from ztpd import config as configuration
from ztpd import log
from ztpd.cli.ask import daemon_runs
from ztpd.cli.screen import line
from ztpd.config import Config
from ztpd.errors import ImeiInvalid, ZtpdError
from ztpd.lifecycle import Event
from ztpd.model import Secret
from ztpd.system import control, directories
from ztpd.system.control import Verb
from ztpd.system.files import become_owner

EXIT_LATER = 75


def provision(options: argparse.Namespace) -> int:
    """The exit status; raises a typed error with an exit status of its own.

    A running daemon makes the call: two programs must not call the service in parallel.
    """
    config = configuration.load(options.config).config
    log.setup(config.log.level, stream=sys.stderr)
    if not options.dry_run and daemon_runs():
        return _ask(force=options.force, wait_s=control.LONGEST_WAIT_S if options.wait else 0.0)
    return asyncio.run(_provision(config, force=options.force, dry_run=options.dry_run))


def _ask(*, force: bool, wait_s: float) -> int:
    request = {"do": Verb.PROVISION, "force": force, "wait_s": wait_s}
    answer = control.ask(directories.runtime_dir(), request, timeout_s=wait_s + 10.0)
    if answer.get("ok"):
        print(line(answer.get("text")))
        return 0
    print(line(f"the daemon says: {answer.get('error')}"))
    if advice := answer.get("advice"):
        print(line(advice))
    status = answer.get("exit_status")
    return status if isinstance(status, int) else EXIT_LATER


async def _provision(config: Config, *, force: bool, dry_run: bool) -> int:
    from ztpd.modem import identity
    from ztpd.provisioning import http
    from ztpd.provisioning.provisioner import Provisioner

    state_dir = directories.state_dir()
    token = _token(config)
    directories.make(state_dir, 0o700)
    become_owner(state_dir)
    provisioner = Provisioner(
        config,
        state_dir,
        dispatch=_ignore,
        read_identity=lambda: identity.read(config),
        token=token,
        post=http.post,
    )
    if dry_run:
        request = provisioner.request(await identity.read(config))
        shown = json.loads(request.body) | {"token": str(request.token)}
        print(f"would POST to {request.url}:\n{json.dumps(shown, indent=1)}")
        return 0
    stored = None if force else await provisioner.stored()
    if stored:
        print(f"already provisioned: {stored.credentials.transports}")
        return 0
    if rate_limit_reason := provisioner.pacing.rate_limit_reason():
        print(rate_limit_reason)
        return EXIT_LATER
    stored = await provisioner.once()
    await provisioner.keeper.written()  # a slow disk: else the credentials would be lost
    if provisioner.keeper.unsaved:
        return EXIT_LATER
    print(f"provisioned: {stored.credentials.transports}")
    return 0


def _token(config: Config) -> Callable[[], Secret]:
    """Reads the token at once, as root: the daemon's user cannot read its file. An error of it is
    raised when the token is needed."""
    try:
        token = configuration.read_token(config)
    except ZtpdError as error:
        reason = error  # Python forgets the name at the end of this block

        def none() -> Secret:
            raise reason

        return none
    return lambda: token


def imei(options: argparse.Namespace) -> int:
    from ztpd.modem import identity

    config = configuration.load(options.config).config
    log.setup(config.log.level, stream=sys.stderr)  # progress, meanwhile
    try:
        found = asyncio.run(identity.read(config))
    except ZtpdError as error:
        number = error.number if isinstance(error, ImeiInvalid) else ""
        if options.json:
            failure = {"event": error.code, "text": str(error), "advice": error.advice}
            failure |= {"number": number} if number else {}
            print(json.dumps({"imei": None, "error": failure}, indent=1))
        elif number:
            print(line(f"the modem gives the number {number}"), file=sys.stderr)
        raise
    if options.json:
        answer = {
            "imei": found.imei.digits if found.imei else None,
            "hardware_id": found.hardware_id,
            "source": found.source,
            "normalised": found.note or None,
        }
        print(json.dumps(answer, indent=1))
    else:
        print(found.hardware_id)
        note = f" ({found.note})" if found.note else ""
        print(line(f"from {found.source}{note}"), file=sys.stderr)
    return 0


def _ignore(
    event: Event,
    why: str = "",
    *,
    error: ZtpdError | None = None,
    wait_s: float | None = None,
) -> None:
    """A person who waits sees the journal lines; there is no state to keep."""
