"""The command line: verbs, what they print, how they end."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import pwd
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from ztpd import __version__, events, log, status
from ztpd import config as configuration
from ztpd.config import Loaded
from ztpd.errors import (
    ConfigError,
    NotPermitted,
    NotRunning,
    ReceiverError,
    StoreError,
    UsageError,
    ZtpdError,
    ZtpTokenMalformed,
    ZtpTokenMissing,
)
from ztpd.model import utc
from ztpd.system import control
from ztpd.system.clock import Clock
from ztpd.system.files import become_owner, give_to_owner

EXIT_NO_CREDENTIALS = 66
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; the exit status."""
    options = _parser().parse_args(arguments)
    try:
        result: int = options.verb(options)
        return result
    except ZtpdError as error:
        forbidden = isinstance(error.__cause__, PermissionError) and os.geteuid() != 0
        told = NotPermitted(error.detail) if forbidden else error
        print(f"ztpd: {told}", file=sys.stderr)
        print(f"      {told.advice}", file=sys.stderr)
        return told.exit_status
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us (`| head`) has had enough
        return 0


class _Parser(argparse.ArgumentParser):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"allow_abbrev": False})  # half an option is a mistake

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"ztpd: {message}", file=sys.stderr)
        raise SystemExit(UsageError.exit_status)


_EPILOG = """\
exit status:
  0 all is well, 64 usage, 70 internal, 78 configuration; each verb's own are in ztpd(8)

examples:
  ztpd demo                     watch the whole chain work, without any hardware
  ztpd token set < token.txt    give this gateway its ZTP token
  ztpd status --watch           what the daemon does, and why
  journalctl -u ztpd            what it did
"""


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="ztpd",
        description="From power-on to GNSS corrections in the receiver, without a person.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"ztpd {__version__}")
    _add_config(parser, configuration.DEFAULT_PATH)
    verbs = parser.add_subparsers(metavar="VERB", required=True)

    def add(name: str, function: Any, help: str, into: Any = verbs) -> argparse.ArgumentParser:
        verb: argparse.ArgumentParser = into.add_parser(name, help=help, description=help)
        verb.set_defaults(verb=function)
        _add_config(verb, argparse.SUPPRESS)  # what stands before the verb holds too
        return verb

    add("run", _run, "run the daemon (systemd does this)")

    provision = add("provision", _provision, "get credentials once, unless there are some")
    provision.add_argument("--force", action="store_true", help="even if there are some")
    provision.add_argument(
        "--dry-run", action="store_true", help="show what would be sent, and send nothing"
    )

    taken_in = add("import", _import, "store credentials downloaded from the portal")
    taken_in.add_argument("file", type=Path, metavar="FILE")

    add("imei", _imei, "read and print this gateway's identity").add_argument(
        "--json", action="store_true", help="as JSON"
    )

    shown = add("status", _status, "what the daemon does, and why")
    shown.add_argument("--json", action="store_true", help="as JSON")
    shown.add_argument("--watch", action="store_true", help="again every second, until Ctrl-C")

    add("check", _check, "find the first broken link from configuration to use").add_argument(
        "--json", action="store_true", help="as JSON"
    )

    receiver = verbs.add_parser("receiver", help="the GNSS receiver").add_subparsers(required=True)
    add(
        "show", _receiver_show, "what it is, how it is set, what ztpd would change", receiver
    ).add_argument("--json", action="store_true", help="as JSON")
    add(
        "monitor", _receiver_monitor, "fix and corrections, every second, until Ctrl-C", receiver
    ).add_argument("--once", action="store_true", help="one look only")

    add("retry", _retry, "end the daemon's present wait now")

    token = verbs.add_parser("token", help="the ZTP token").add_subparsers(required=True)
    add("set", _token_set, "store the token given on standard input", token)

    config = verbs.add_parser("config", help="the configuration").add_subparsers(required=True)
    add("show", _config_show, "the values in force and where they come from", config)
    add("check", _config_check, "find mistakes", config)
    add("example", _config_example, "print a commented file with every setting", config)

    credentials = verbs.add_parser("credentials", help="the stored credentials")
    kept = credentials.add_subparsers(required=True)
    add("show", _credentials_show, "what is stored, without the secrets", kept)
    add("forget", _credentials_forget, "delete them: the gateway provisions anew", kept)

    _add_demo(add("demo", _demo, "simulated modem, services and receiver, and the real daemon"))
    return parser


def _add_config(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=default,
        metavar="FILE",
        help=f"the configuration file (default: {configuration.DEFAULT_PATH})",
    )


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--service", choices=("flex", "live"), default="flex")
    demo.add_argument("--via", choices=("mqtt", "ntrip"), default="mqtt", help="(default: mqtt)")
    demo.add_argument("--format", choices=("spartn", "rtcm"), default="spartn")
    demo.add_argument(
        "--fault", metavar="NAME", help="make something go wrong; `--fault list` names what can"
    )
    demo.add_argument(
        "--capture", type=Path, metavar="FILE", help="send a recorded stream instead of made one"
    )
    demo.add_argument(
        "--once", action="store_true", help="end by itself: 0 if the receiver reached RTK fixed"
    )


def _load(options: argparse.Namespace) -> Loaded:
    return configuration.load(options.config)


def _run(options: argparse.Namespace) -> int:
    from ztpd.daemon import Daemon
    from ztpd.system.mounts import lost_at_power_off

    loaded = _load(options)
    log.setup(loaded.config.log.level)
    state_dir, runtime_dir = configuration.state_dir(), configuration.runtime_dir()
    configuration.make(state_dir, 0o700)
    configuration.make(runtime_dir, 0o755)
    if filesystem := lost_at_power_off(state_dir):
        log.emit(events.STATE_VOLATILE, directory=state_dir, filesystem=filesystem)

    async def run() -> None:
        await Daemon(
            loaded,
            state_dir=state_dir,
            runtime_dir=runtime_dir,
            reload=lambda: _load(options),
        ).run()

    asyncio.run(run())
    return 0


def _provision(options: argparse.Namespace) -> int:
    from ztpd.cli.provision import provision

    config = _load(options).config
    log.setup(config.log.level, stream=sys.stderr)
    return asyncio.run(provision(config, force=options.force, dry_run=options.dry_run))


def _import(options: argparse.Namespace) -> int:
    from ztpd.cli.provision import take_in

    take_in(_load(options).config, options.file)
    return 0


def _imei(options: argparse.Namespace) -> int:
    from ztpd.modem import identity

    config = _load(options).config
    log.setup(config.log.level, stream=sys.stderr)  # what is waited for, meanwhile
    try:
        found = asyncio.run(identity.read(config))
    except ZtpdError as error:
        if options.json:
            told = {"event": error.code, "text": str(error), "advice": error.advice}
            print(json.dumps({"imei": None, "error": told}, indent=1))
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
        print(f"from {found.source}" + (f" ({found.note})" if found.note else ""), file=sys.stderr)
    return 0


def _status(options: argparse.Namespace) -> int:
    directory, live = configuration.runtime_dir(), sys.stdout.isatty()
    while True:
        clock = Clock().describe()
        told = _daemon_status()
        is_running = told is not None
        document = status.read(directory) if told is None else told
        if options.json:
            shown = json.dumps({"running": is_running, **document, "clock": clock}, indent=1) + "\n"
        else:
            shown = status.render(
                document,
                is_running=is_running,
                clock=clock,
                on_disk="" if is_running else _on_disk(),
                colour=live and "NO_COLOR" not in os.environ,
            )
        if options.watch and live and not options.json:
            shown = "\033[H" + shown.replace("\n", "\033[K\n") + "\033[J"  # no flicker
        print(shown, end="", flush=True)
        if not options.watch:
            return status.exit_status(document, is_running=is_running)
        time.sleep(1)


def _on_disk() -> str:
    """What is stored, as far as this user may see it."""
    from ztpd.provisioning.call import describe_transports
    from ztpd.provisioning.store import CredentialStore

    directory = configuration.state_dir()
    try:
        become_owner(directory)
        if not os.access(directory, os.R_OK) and directory.exists():
            return f"{directory} is for its owner; run this as root to see it"
        loaded = CredentialStore(directory).load()
    except ZtpdError as error:
        return str(error)
    except OSError as error:
        return f"{directory}: {error.strerror}"
    if loaded is None:
        return f"no credentials in {directory}"
    stored = loaded.stored
    return f"credentials of {_day(stored.stored_unix_s)}: {describe_transports(stored.credentials)}"


def _check(options: argparse.Namespace) -> int:
    from ztpd import check

    log.setup("error", stream=sys.stderr)  # every line of the walk says it better

    def tell(found: check.Result) -> None:
        if not options.json:
            print(check.render(found), end="", flush=True)

    walk = check.Check(
        lambda: _load(options), state_dir=configuration.state_dir(), told=_daemon_status()
    )
    found = asyncio.run(walk.run(tell))
    if options.json:
        print(json.dumps(check.document(found), indent=1))
    return 0 if all(one.state is check.State.OK for one in found) else 1


def _daemon_status() -> dict[str, Any] | None:
    """The running daemon's status, asked of itself where that is allowed; None: none runs."""
    directory = configuration.runtime_dir()
    if not status.running(directory):
        return None
    try:
        answer = control.ask(directory, {"do": "status"})
    except NotRunning:
        answer = {}
    told: dict[str, Any] = answer.get("status") or status.read(directory)
    return told


def _receiver_show(options: argparse.Namespace) -> int:
    from ztpd.cli import receiver
    from ztpd.receiver import ReceiverSettings, inspect

    directory = configuration.runtime_dir()
    if status.running(directory):
        answer = control.ask(directory, {"do": "receiver"})
        if not answer.get("ok"):
            print(f"ztpd: {answer.get('error')}", file=sys.stderr)
            if answer.get("advice"):
                print(f"      {answer['advice']}", file=sys.stderr)
            return ReceiverError.exit_status
        told = answer["receiver"]
    else:
        config = _load(options).config
        log.setup("error", stream=sys.stderr)  # what goes wrong is told at the end
        told = status.plain(asyncio.run(inspect(ReceiverSettings.of(config))))
    print(json.dumps(told, indent=1) if options.json else receiver.inspection(told).rstrip("\n"))
    return 0


def _receiver_monitor(options: argparse.Namespace) -> int:
    from ztpd.cli import receiver

    live = sys.stdout.isatty() and not options.once
    while True:
        told = _daemon_status()
        if told is None:
            raise NotRunning(str(configuration.runtime_dir()))
        shown = receiver.monitor(told.get("receiver") or {})
        if live:
            shown = "\033[H" + shown.replace("\n", "\033[K\n") + "\033[J"  # no flicker
        print(shown, end="", flush=True)
        if options.once:
            return 0
        time.sleep(1)


def _retry(_: argparse.Namespace) -> int:
    answer = control.ask(configuration.runtime_dir(), {"do": "retry"})
    print(answer.get("text") or f"ztpd: {answer.get('error')}")
    return 0 if answer.get("ok") else 1


def _token_set(options: argparse.Namespace) -> int:
    from ztpd.system.files import write_atomic
    from ztpd.wire.ztp import check_token

    path = Path(_load(options).config.ztp.token_file)
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


def _config_show(options: argparse.Namespace) -> int:
    print(configuration.show(_load(options)), end="")
    return 0


def _config_check(options: argparse.Namespace) -> int:
    loaded = _load(options)
    problems = []
    for unknown in loaded.unknown:
        hint = f"; did you mean {unknown.nearest}?" if unknown.nearest else ""
        problems.append(f"{unknown.file}: unknown key {unknown.key}{hint}")
    become_owner(configuration.state_dir())  # what root can read says nothing of the daemon
    for key, path in loaded.named_files():
        try:
            path.open("rb").close()
        except OSError as error:
            reader = pwd.getpwuid(os.geteuid()).pw_name
            problems.append(
                f"{loaded.origins[key]}: {key} = {path}: {error.strerror}, for user {reader}"
            )
    print("\n".join(problems) or f"{options.config}: all is well")
    return ConfigError.exit_status if problems else 0


def _config_example(_: argparse.Namespace) -> int:
    print(configuration.example(), end="")
    return 0


def _credentials_show(_: argparse.Namespace) -> int:
    from ztpd.provisioning.call import describe_transports
    from ztpd.provisioning.store import CredentialStore

    state_dir = configuration.state_dir()
    become_owner(state_dir)
    loaded = CredentialStore(state_dir).load()
    if loaded is None:
        print(f"no credentials in {state_dir}", file=sys.stderr)
        return EXIT_NO_CREDENTIALS
    stored, credentials = loaded.stored, loaded.stored.credentials
    rows = {
        "service": credentials.service,
        "client": credentials.client_id,
        "opens": describe_transports(credentials),
        "obtained": f"{_day(stored.stored_unix_s)}, {_obtained_for(stored.hardware_id)}",
        "board": stored.board or "unknown",
        "ends": _day(stored.expires_unix_s) if stored.expires_unix_s else "no date",
        "note": loaded.note,
    }
    for name, text in rows.items():
        if text:
            print(f"{name:>10}  {text}")
    return 0


def _credentials_forget(_: argparse.Namespace) -> int:
    from ztpd.provisioning.provisioner import SCHEDULE_FILE
    from ztpd.provisioning.schedule import Schedule
    from ztpd.provisioning.store import CredentialStore

    state_dir = configuration.state_dir()
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
    print("credentials deleted; a running daemon keeps its own until `ztpd provision` or a restart")
    return 0


def _day(unix_s: int) -> str:
    return f"{utc(unix_s):%Y-%m-%d}"


def _obtained_for(hardware_id: str) -> str:
    return f"for {_masked(hardware_id)}" if hardware_id else "from a file"


def _masked(hardware_id: str) -> str:
    return f"{hardware_id[:8]}*****{hardware_id[-2:]}" if len(hardware_id) == 15 else hardware_id


def _demo(options: argparse.Namespace) -> int:
    from ztpd.demo import run

    return run(options)
