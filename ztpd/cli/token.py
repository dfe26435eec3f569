"""``ztpd token``: the ZTP token of this gateway."""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import stat
import subprocess
import sys
from pathlib import Path

from ztpd import config as configuration
from ztpd.cli.ask import daemon_status
from ztpd.errors import NotPermitted, StoreError, UsageError, ZtpTokenMalformed, ZtpTokenMissing
from ztpd.sanitize import decoded
from ztpd.system import directories
from ztpd.system.files import give_to_owner, write_atomic

_MOST_BYTES = 4096


def store(options: argparse.Namespace) -> int:
    """Store the token that comes on standard input, and hand it to a unit that runs."""
    from ztpd.wire.ztp import check_token

    path = Path(configuration.load(options.config).config.ztp.token_file)
    _check_folders(path)
    try:
        token = check_token(_typed())
    except (ZtpTokenMissing, ZtpTokenMalformed) as error:
        print(f"ztpd: {error}\n      {ZtpTokenMalformed.advice}", file=sys.stderr)
        return UsageError.exit_status
    try:
        write_atomic(path, token.reveal().encode() + b"\n", mode=0o600, durable=True)
        if path != Path(configuration.Config().ztp.token_file):
            give_to_owner(directories.state_dir(), path)  # the unit hands over the usual one only
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    print(f"token stored in {path}")
    encrypted = path.with_name(f"{path.name}.cred")
    if encrypted.exists():
        print(
            f"if the unit takes the token from {encrypted}, encrypt the new one, too:\n"
            f"  systemd-creds encrypt --name=ztp-token {path} {encrypted}",
            file=sys.stderr,
        )
    if _is_streaming():
        print("corrections flow without it: the daemon gets it at its next start")
    else:
        _restart_unit()
    return 0


def _typed() -> str:
    """The token, which a terminal does not show."""
    if sys.stdin.isatty():
        return getpass.getpass("Paste the token and press Enter: ").strip()
    try:
        return decoded(sys.stdin.buffer.readline(_MOST_BYTES)).strip()
    except ValueError as error:
        raise ZtpTokenMalformed(f"standard input {error}") from error


def _check_folders(path: Path) -> None:
    """Raises :class:`StoreError` where another user could put a link in the way of root, who would
    then overwrite a file of that user's choice."""
    if os.geteuid() != 0:
        return
    for folder in path.absolute().parents:
        with contextlib.suppress(FileNotFoundError):
            facts = folder.lstat()
            sticky = facts.st_mode & stat.S_ISVTX
            if facts.st_uid != 0 or (facts.st_mode & 0o022 and not sticky and folder.is_dir()):
                raise StoreError(
                    f"{path}: users other than root may change {folder}; set [ztp] token_file to a "
                    "file below folders of root only, such as /etc/ztpd/token"
                )


def _is_streaming() -> bool:
    """Whether the daemon needs no token now, so that a restart would only make a gap."""
    with contextlib.suppress(NotPermitted):
        published = daemon_status()
        return published is not None and published.state == "streaming"
    return False


def _restart_unit() -> None:
    """A new token reaches a running unit only when systemd hands it over at a start."""
    try:
        active = subprocess.run(["systemctl", "is-active", "--quiet", "ztpd"], check=False)
        if active.returncode == 0:
            subprocess.run(["systemctl", "restart", "ztpd"], check=True)
            print("ztpd restarted; watch it with `journalctl -fu ztpd`")
    except (OSError, subprocess.CalledProcessError):
        print("could not restart the unit; run `systemctl restart ztpd`", file=sys.stderr)
