"""``ztpd provision``: from identity to stored credentials once, for a person who waits for it."""

from __future__ import annotations

import json

from ztpd import config as configuration
from ztpd import identity, status
from ztpd.config import Config
from ztpd.errors import ZtpdError
from ztpd.lifecycle import Event
from ztpd.link import control
from ztpd.link.files import become_owner
from ztpd.provision import Provisioner, transports

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
    token = configuration.read_token(config)  # as root: its file is not the daemon's
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    become_owner(state_dir)
    provisioner = Provisioner(
        config,
        state_dir,
        report=_ignore,
        read_identity=lambda: identity.read(config),
        token=lambda: token,
    )
    if dry_run:
        url, body, token = provisioner.request(await identity.read(config))
        shown = json.loads(body) | {"token": str(token)}
        print(f"would POST to {url}:\n{json.dumps(shown, indent=1)}")
        return 0
    stored = None if force else await provisioner.stored()
    if stored:
        print(f"already provisioned: {transports(stored.credentials)}")
        return 0
    if patience := provisioner.patience():
        print(patience)
        return EXIT_LATER
    stored = await provisioner.once()
    if provisioner.unsaved:
        return EXIT_LATER
    print(f"provisioned: {transports(stored.credentials)}")
    return 0


def _ignore(
    event: Event,
    why: str = "",
    *,
    error: ZtpdError | None = None,
    wait_s: float | None = None,
) -> None:
    """A person who waits sees the journal lines; there is no state to keep."""
