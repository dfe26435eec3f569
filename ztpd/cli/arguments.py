"""The arguments of the command line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from ztpd import __version__
from ztpd.cli import verbs
from ztpd.errors import UsageError
from ztpd.system import directories

MOST_SECONDS = 86_400.0

Verb = Callable[[argparse.Namespace], int]


class _Parser(argparse.ArgumentParser):
    def __init__(self, **given: Any) -> None:
        super().__init__(**given | {"allow_abbrev": False})  # half an option is a mistake

    def _print_message(self, message: str, file: Any = None) -> None:
        if file is sys.stdout:
            file.write(message)  # argparse itself drops the error of a write
        else:
            super()._print_message(message, file)

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"ztpd: {message}{_nearest(message)}", file=sys.stderr)
        raise SystemExit(UsageError.exit_status)


def _nearest(message: str) -> str:
    """The words that argparse offers and that are like the wrong one."""
    import difflib  # for a mistake only

    given, _, offered = message.partition("choose from ")
    wrong = re.search(r"invalid choice: '([^']*)'", given)
    near = difflib.get_close_matches(wrong[1], re.findall(r"[\w-]+", offered)) if wrong else []
    return f"; did you mean {' or '.join(near)}?" if near else ""


_EPILOG = """\
exit status:
  0 success, 64 usage, 70 internal, 78 configuration; those of each verb are in ztpd(8)

examples:
  ztpd demo                     watch the whole chain, without hardware
  ztpd token set < token.txt    give this gateway its ZTP token
  ztpd status --watch           state of the daemon, and its reason
  journalctl -u ztpd            its history
"""


def parser() -> argparse.ArgumentParser:
    top = _Parser(
        prog="ztpd",
        description="From power-on to GNSS corrections in the receiver, without a person.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"ztpd {__version__}")
    _add_config(top, directories.CONFIG_FILE)
    commands = top.add_subparsers(metavar="VERB", required=True)

    def add(name: str, function: Verb, help: str, into: Any = commands) -> argparse.ArgumentParser:
        verb: argparse.ArgumentParser = into.add_parser(name, help=help, description=help)
        verb.set_defaults(verb=function)
        _add_config(verb, argparse.SUPPRESS)  # options before the verb apply too
        return verb

    add("run", verbs.run, "run the daemon (systemd does this)")

    calling = add("provision", verbs.provision, "get credentials once, unless there are some")
    calling.add_argument("--force", action="store_true", help="even if there are some")
    calling.add_argument(
        "--wait", action="store_true", help="wait for the result where the daemon makes the call"
    )
    calling.add_argument(
        "--dry-run", action="store_true", help="show the request, and send nothing"
    )

    taken_in = add("import", verbs.take_in, "store credentials downloaded from the portal")
    taken_in.add_argument("file", type=Path, metavar="FILE")

    add("imei", verbs.imei, "read and print this gateway's identity").add_argument(
        "--json", action="store_true", help="as JSON"
    )

    shown = add("status", verbs.status, "state of the daemon, and its reason")
    shown.add_argument("--json", action="store_true", help="as JSON")
    shown.add_argument(
        "--watch",
        action="store_true",
        help="again every second, with the last ten minutes as lines, until Ctrl-C",
    )

    add("metrics", verbs.metrics, "print the daemon's metrics, in the text form of Prometheus")

    add("check", verbs.check, "check each link from the configuration to the use").add_argument(
        "--json", action="store_true", help="as JSON"
    )

    add(
        "image-check", verbs.check_image, "find faults of an image that every copy would have"
    ).add_argument("root", type=Path, metavar="ROOT", help="the root directory of the image")

    taken = add("record", verbs.record, "record the bytes of receiver and service, with times")
    taken.add_argument(
        "file",
        type=Path,
        nargs="?",
        metavar="FILE",
        help="a new file (default: ztpd-recording-DATE.ztpd); - for standard output",
    )
    _add_seconds(taken, "end after N seconds (default: until Ctrl-C)")
    taken.add_argument("--with-position", action="store_true", help="with positions as they are")

    packed = add("report", verbs.report, "pack one archive for support, with a page of plots")
    packed.add_argument(
        "--with-position", action="store_true", help="with the positions of the last 24 hours"
    )
    packed.add_argument(
        "--output", type=Path, metavar="FILE", help="a new file (default: ztpd-report-DATE.tar.gz)"
    )
    _add_seconds(packed, "with a recording of the next N seconds (default: none)")

    looks = commands.add_parser("receiver", help="the GNSS receiver")
    at_receiver = looks.add_subparsers(required=True)
    add(
        "show",
        verbs.show_receiver,
        "show its model, its settings, and changes that ztpd would make",
        at_receiver,
    ).add_argument("--json", action="store_true", help="as JSON")
    add(
        "monitor",
        verbs.monitor_receiver,
        "fix and corrections, every second, until Ctrl-C",
        at_receiver,
    ).add_argument("--once", action="store_true", help="one look only")

    add("retry", verbs.retry, "end the daemon's present wait now")
    add("pause", verbs.pause, "close the session, and open none before resume or a reboot")
    add("resume", verbs.resume, "end a pause, whatever its cause")

    tokens = commands.add_parser("token", help="the ZTP token").add_subparsers(required=True)
    add("set", verbs.set_token, "store the token given on standard input", tokens)

    files = commands.add_parser("config", help="the configuration").add_subparsers(required=True)
    add("show", verbs.show_config, "the values in force and where they come from", files)
    add("check", verbs.check_config, "find mistakes", files)
    add("example", verbs.example_config, "print a commented file with every setting", files)

    stored = commands.add_parser("credentials", help="the stored credentials")
    kept = stored.add_subparsers(required=True)
    add(
        "show",
        verbs.show_credentials,
        "show the stored credentials without their secrets",
        kept,
    )
    add("forget", verbs.forget_credentials, "delete them: the gateway provisions again", kept)

    _add_demo(
        add("demo", verbs.demo, "simulated modem, services and receiver, and the real daemon")
    )
    return top


def _add_config(parser: argparse.ArgumentParser, default: object) -> None:
    parser.add_argument(
        "--config",
        type=Path,
        default=default,
        metavar="FILE",
        help=f"the configuration file (default: {directories.CONFIG_FILE})",
    )


def _add_seconds(parser: argparse.ArgumentParser, help: str) -> None:
    parser.add_argument("--seconds", type=_seconds, metavar="N", help=help)


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (number := float(text)) <= MOST_SECONDS:
            return number
    raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds, up to a day")


def _add_demo(demo: argparse.ArgumentParser) -> None:
    demo.add_argument("--service", choices=("flex", "live"), default="flex")
    demo.add_argument(
        "--via",
        choices=("ntrip", "mqtt"),
        default="ntrip",
        help="(default: ntrip; u-blox has announced the end of MQTT)",
    )
    demo.add_argument("--format", choices=("spartn", "rtcm"), default="spartn")
    demo.add_argument("--fault", metavar="NAME", help="inject a fault; `--fault list` lists them")
    demo.add_argument(
        "--capture", type=Path, metavar="FILE", help="send a recorded stream instead of made one"
    )
    demo.add_argument(
        "--replay",
        type=Path,
        metavar="FILE",
        help="play a recording of `ztpd record`, or a log of UBX, RTCM 3 or SPARTN, and end",
    )
    demo.add_argument(
        "--speed", type=float, metavar="X", help="play it X times as fast (default: 1)"
    )
    demo.add_argument(
        "--once", action="store_true", help="end after the run: 0 if the receiver reached RTK fixed"
    )
