"""``ztpd token``: the ZTP token of this gateway."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from ztpd import config as configuration
from ztpd.errors import StoreError, UsageError, ZtpTokenMalformed, ZtpTokenMissing
from ztpd.system.files import give_to_owner, write_atomic


def store(options: argparse.Namespace) -> int:
    """Store the token that comes on standard input, and hand it to a unit that runs."""
    from ztpd.wire.ztp import check_token

    path = Path(configuration.load(options.config).config.ztp.token_file)
    if sys.stdin.isatty():
        print("Paste the token and press Enter: ", end="", file=sys.stderr, flush=True)
    try:
        token = check_token(sys.stdin.readline().strip())
    except (ZtpTokenMissing, ZtpTokenMalformed) as error:
        print(f"ztpd: {error}\n      {ZtpTokenMalformed.advice}", file=sys.stderr)
        return UsageError.exit_status
    try:
        write_atomic(path, token.reveal().encode() + b"\n", mode=0o600, durable=True)
        if path != Path(configuration.Config().ztp.token_file):
            give_to_owner(configuration.state_dir(), path)  # the unit hands over the usual one only
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
    _restart_unit()
    return 0


def _restart_unit() -> None:
    """A new token reaches a running unit only when systemd hands it over at a start."""
    try:
        active = subprocess.run(["systemctl", "is-active", "--quiet", "ztpd"], check=False)
        if active.returncode == 0:
            subprocess.run(["systemctl", "restart", "ztpd"], check=True)
            print("ztpd restarted; watch it with `journalctl -fu ztpd`")
    except (OSError, subprocess.CalledProcessError):
        print("could not restart the unit; run `systemctl restart ztpd`", file=sys.stderr)
