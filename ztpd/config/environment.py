"""The ZTP token, from systemd or from its file."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ztpd.config.options import Config
from ztpd.errors import ZtpdError, ZtpTokenMalformed, ZtpTokenMissing, ZtpTokenUnsafe
from ztpd.model import Secret
from ztpd.sanitize import decoded
from ztpd.wire.ztp import check_token

CREDENTIAL = "ztp-token"
UNSET = "unset"  # SetCredential= of the unit: without it, a missing token keeps the unit down
_MOST_BYTES = 4096
_NOT_PASSED = (
    "A container may keep systemd from passing it (LoadCredential=): allow nesting (Proxmox: "
    "`pct set ID --features nesting=1`) and `systemctl restart ztpd`; or set [ztp] token_file to "
    "another file, then `sudo ztpd token set`, which gives that one to the daemon."
)


def read_token(config: Config, environ: Mapping[str, str] = os.environ) -> Secret:
    """The ZTP token: the systemd credential ``ztp-token``, else the file ``ztp.token_file``.

    systemd sets owner and mode of the credential, differently in its versions, so they are not
    checked. Group and others must have no right to the file. Raises :class:`ZtpTokenMissing`,
    :class:`ZtpTokenUnsafe` or :class:`ZtpTokenMalformed`.
    """
    path, is_passed = Path(config.ztp.token_file), True
    if directory := environ.get("CREDENTIALS_DIRECTORY"):
        credential = Path(directory) / CREDENTIAL
        text = _read(credential) if credential.exists() else ""
        if text not in ("", UNSET):
            return check_token(text)
        is_passed = bool(text)
    try:
        return check_token(_read(path, private=True))
    except ZtpTokenMissing as error:
        if is_passed or not isinstance(error.__cause__, PermissionError):
            raise
        detail = f"{path} is there, but systemd passed the unit an empty credential"
        raise ZtpTokenMissing(detail, advice=_NOT_PASSED) from error


def has_token(config: Config, environ: Mapping[str, str] = os.environ) -> bool:
    """Whether somebody gave this gateway a token, usable or not."""
    try:
        read_token(config, environ)
    except ZtpdError as error:
        return not is_absent(error)
    return True


def is_absent(error: ZtpdError | None) -> bool:
    """Whether ``error`` of :func:`read_token` means that nobody gave this gateway a token."""
    return error is not None and isinstance(error.__cause__, FileNotFoundError)


def _read(path: Path, *, private: bool = False) -> str:
    """The text of a file, without white space around it."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_MOST_BYTES) if stat.S_ISREG(mode) else None
    except FileNotFoundError as error:
        raise ZtpTokenMissing(f"{path} does not exist") from error
    except PermissionError as error:
        raise ZtpTokenMissing(
            f"this user lacks the permission to read {path}; systemd passes it to the unit at its "
            "start, so run `systemctl restart ztpd` after a change"
        ) from error
    except OSError as error:
        raise ZtpTokenMissing(f"{path}: {error.strerror}") from error
    if data is None:
        raise ZtpTokenMissing(f"{path} is not a file")
    if private and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ZtpTokenUnsafe(f"{path} has mode {stat.S_IMODE(mode):04o}")
    try:
        return decoded(data).strip()
    except ValueError as error:
        raise ZtpTokenMalformed(f"{path} {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO would wait for its writer
