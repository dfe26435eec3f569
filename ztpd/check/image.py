"""The root of an image, before it is written to many cards: faults that every copy would have."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ztpd import config as configuration
from ztpd.errors import ConfigError, UsageError, ZtpdError, ZtpTokenMissing
from ztpd.system.directories import CONFIG_FILE

_LINKS = 40  # followed for one path, as the kernel does
_UNIT = "ztpd.service"
_CONSOLES = re.compile(r"\bconsole=(serial0|ttyAMA\d+|ttyS\d+)\b")
_UARTS = re.compile(r"/dev/(serial0|ttyAMA\d+|ttyS\d+)")


@dataclass(frozen=True, slots=True)
class ImageFinding:
    """One subject. Without ``advice`` all is well with it."""

    subject: str
    text: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """The root directory of a system that does not run."""

    root: Path

    def at(self, path: str) -> Path:
        """The place of the image's absolute ``path``; links lead where its own system would go."""
        rest, here, links = list(PurePosixPath(path).parts[:0:-1]), self.root, 0
        while rest:
            part = rest.pop()
            if part == "..":
                here = here if here == self.root else here.parent
                continue
            here /= part
            if here.is_symlink() and (links := links + 1) <= _LINKS:
                target = PurePosixPath(here.readlink())
                here = self.root if target.is_absolute() else here.parent
                rest += [each for each in reversed(target.parts) if each != "/"]
        return here

    def text(self, path: str) -> str:
        """The content of a file, "" for one that is not there."""
        place = self.at(path)
        return place.read_text(encoding="utf-8", errors="replace") if place.is_file() else ""


def findings(root: Path) -> Iterator[ImageFinding]:
    """Each subject in turn. Raises :class:`UsageError` where ``root`` is no system's root, and
    :class:`PermissionError` where only root may look."""
    image = Image(root.resolve())
    if not (image.root / "etc").is_dir():
        raise UsageError(f"{root} has no etc: give the root directory of an image")
    yield _package(image)
    yield _unit(image)
    yield _state(image)
    try:
        loaded = configuration.load(image.at(str(CONFIG_FILE)))
    except ConfigError as error:
        yield ImageFinding("configuration", str(error), error.advice)
    else:
        yield _configuration(image, loaded)
        yield _token(image, loaded.config)
        yield _identity(loaded.config)
        yield _console(image, loaded.config.receiver.port)
    yield _machine_id(image)
    yield _gpsd(image)


def _package(image: Image) -> ImageFinding:
    if image.at("/usr/bin/ztpd").exists() and image.at(f"/usr/lib/systemd/system/{_UNIT}").exists():
        return ImageFinding("package", "ztpd is installed")
    return ImageFinding(
        "package",
        "ztpd is not installed",
        "Install it in the image: `chroot IMAGE apt-get install ./ztpd.deb`.",
    )


def _unit(image: Image) -> ImageFinding:
    units = image.at("/etc/systemd/system")
    masks = units / _UNIT
    if masks.is_symlink() and masks.readlink() == Path(os.devnull):
        return ImageFinding(
            "unit",
            f"{_UNIT} is masked",
            f"`systemctl --root=IMAGE unmask {_UNIT}`, then enable it.",
        )
    if not any(os.path.lexists(wants / _UNIT) for wants in units.glob("*.wants")):
        return ImageFinding(
            "unit", f"{_UNIT} is not enabled", f"`systemctl --root=IMAGE enable {_UNIT}`."
        )
    return ImageFinding("unit", f"{_UNIT} starts at boot")


def _state(image: Image) -> ImageFinding:
    folder = image.at("/var/lib/ztpd")
    files = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    if not files:
        return ImageFinding("state", "no credentials, no waits")
    return ImageFinding(
        "state",
        f"/var/lib/ztpd has {', '.join(files)}: every copy would take over one gateway's state",
        "Empty it: `rm -rf IMAGE/var/lib/ztpd/*`.",
    )


def _configuration(image: Image, loaded: configuration.LoadedConfig) -> ImageFinding:
    for unknown in loaded.unknown:
        hint = f"; did you mean {unknown.nearest}?" if unknown.nearest else ""
        return ImageFinding(
            "configuration", f"{unknown.file}: unknown key {unknown.key}{hint}", "Correct the key."
        )
    for key, path in configuration.named_files(loaded.config):
        if not image.at(str(path)).is_file():
            return ImageFinding(
                "configuration",
                f"{key} = {path}, which the image does not have",
                "Put the file into the image, unless its partition is mounted later.",
            )
    return ImageFinding("configuration", "without mistakes")


def _token(image: Image, config: configuration.Config) -> ImageFinding:
    path = config.ztp.token_file
    place = image.at(path)
    if not place.exists():
        return ImageFinding("token", "none: each gateway waits for `ztpd token set`")
    try:
        configuration.read_token(
            replace(config, ztp=replace(config.ztp, token_file=str(place))), {}
        )
    except ZtpdError as error:
        if isinstance(error, ZtpTokenMissing) and isinstance(error.__cause__, PermissionError):
            raise error.__cause__ from error
        return ImageFinding("token", str(error), error.advice)
    if owner := place.stat().st_uid:
        return ImageFinding(
            "token", f"{path} belongs to user {owner}", f"`chown root:root IMAGE{path}`."
        )
    return ImageFinding("token", f"{path}, for root only")


def _identity(config: configuration.Config) -> ImageFinding:
    if config.identity.source != "fixed":
        return ImageFinding("identity", "read on each gateway")
    return ImageFinding(
        "identity",
        f"identity.hardware_id = {config.identity.hardware_id}: all copies would be one gateway",
        'Leave it out, so that each gateway reads its IMEI: source = "auto".',
    )


def _console(image: Image, port: str) -> ImageFinding:
    consoles = {
        console
        for file in ("/boot/firmware/cmdline.txt", "/boot/cmdline.txt")
        for console in _CONSOLES.findall(image.text(file))
    }
    if consoles and _UARTS.fullmatch(port):
        return ImageFinding(
            "console",
            f"the kernel's console is on {', '.join(sorted(consoles))}, the receiver on {port}",
            "Take console= of a serial port out of cmdline.txt, if it is the same port.",
        )
    return ImageFinding("console", "not on the receiver's port")


def _machine_id(image: Image) -> ImageFinding:
    if image.text("/etc/machine-id").strip() in ("", "uninitialized"):
        return ImageFinding("machine-id", "made at the first boot")
    return ImageFinding(
        "machine-id",
        "/etc/machine-id is set: all copies would have one",
        "`truncate --size=0 IMAGE/etc/machine-id`.",
    )


def _gpsd(image: Image) -> ImageFinding:
    if not image.at("/usr/sbin/gpsd").exists():
        return ImageFinding("gpsd", "is not installed")
    if re.search(r"^\s*USBAUTO=[\"']?false", image.text("/etc/default/gpsd"), re.MULTILINE):
        return ImageFinding("gpsd", "does not take receivers that are plugged in")
    return ImageFinding(
        "gpsd",
        "opens a u-blox receiver as soon as it is plugged in, beside ztpd",
        'Set USBAUTO="false" in IMAGE/etc/default/gpsd.',
    )
