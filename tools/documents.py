"""Writes the files that are produced from the code: ``python -m tools.documents DIRECTORY``."""

from __future__ import annotations

import logging
import re
import sys
import textwrap
from collections.abc import Mapping
from pathlib import Path

from tools import configuration, samples, transitions
from ztpd import check, config, events, health, lifecycle, metrics, status
from ztpd.config.options import TABLES, Option
from ztpd.config.rules import toml
from ztpd.receiver import effect, pairing, usage
from ztpd.serialport import usbids


def produced() -> Mapping[str, str]:
    """Path below the project and text of every produced file."""
    return {
        "etc/ztpd/ztpd.toml": config.example(),
        "docs/configuration.md": configuration.reference(),
        "docs/states.md": _states(),
        "docs/status.md": _status(),
        "docs/events.md": _events(),
        "docs/metrics.md": _metrics(),
        "packaging/prometheus/down.prom": metrics.DOWN,
        "packaging/ztpd.catalog": _catalog(),
        "packaging/debian/ztpd.udev": _udev(),
        "packaging/man/ztpd.toml.5": _configuration_manual(),
    }


def _states() -> str:
    rows = "\n".join(f"| {state.name} | {state.meaning} |" for state in lifecycle.State)
    return f"""# States

The daemon is in one of these states; `ztpd status` and `systemctl status` show it.

## If all goes well

The first start of a gateway:

```mermaid
stateDiagram-v2
    direction LR
    [*] --> STARTING
    STARTING --> IDENTIFYING: no credentials
    IDENTIFYING --> PROVISIONING: IMEI read
    PROVISIONING --> CONNECTING: credentials stored
    CONNECTING --> STREAMING: first corrections
```

Every later start goes from STARTING to CONNECTING at once: the gateway has its credentials, and
asks neither the modem nor the provisioning service. STREAMING lasts for as long as corrections
come.

## If something fails

WAITING: ztpd tries again after a while. BLOCKED: a person must act; ztpd tries again all the same,
at longer intervals. During a try the state is that of the step that is tried, and `ztpd status`
goes on to show the last failure. When the step succeeds, the path above continues.

## Paused

PAUSED: no session and no frames, by request: `ztpd pause`, the budget (`[budget] then = "pause"`)
or standing still (`[corrections] pause_when_still_minutes`). `ztpd status` shows who asked for it
and how it ends; `ztpd resume` ends it in any case. A pause survives a restart of the daemon and a
reload, and not a reboot: then ztpd loads the credentials and goes on. Nothing else ends it:
`ztpd retry` does not; `ztpd provision --force` gets new credentials in place of those there are,
and pauses again.

## All states

| state | meaning |
| --- | --- |
{rows}

## All transitions

The arrows are the table of transitions in `ztpd/lifecycle.py`, labelled with their events.

```mermaid
{transitions.diagram()}```
"""


_STATUS_HEAD = """# The status

`ztpd status` is for people, and so are [the last ten minutes](#the-last-ten-minutes); the rest of
this page is for programs.

`ztpd status --json` prints one JSON object; `/run/ztpd/status.json` has the same, without
`running`, `health` and `clock`. It holds no secrets and no position, so every user may read it. The
daemon writes it at every change, and every 10 s; a document older than 20 s is out of date.

`schema` is {schema}. A later version may add fields; the meaning of a field changes only with
`schema`. A field without a value is left out, or is null.

## The verdict

The first line of `ztpd status` has the verdict in a word, and its exit status follows from it:

| word | exit | meaning |
| --- | --- | --- |
| healthy | 0 | corrections are used, and the fix is the best that this receiver can reach |
| starting | 2 | nothing has failed yet |
| waiting | 2 | something failed and is tried again; also during a try |
| blocked | 1 | a person must act; also during a try |
| degraded | 2 | corrections flow, and are not used, or not as well as they could be |
| unknown | 2 | not known whether the receiver uses them, or its position; or a silent daemon |
| paused | 4 | no corrections are wanted at present, see [pause](operate.md#pause); all is well |
| not running | 3 | no daemon runs |

Degraded is, apart from corrections that the receiver does not use: no fix for {no_fix:.0f} s; a
receiver without RTK; for {low:.0f} min no fix that is the best this receiver can reach (RTK float
where it can do RTK fixed); more than {share:.0%} of the corrections of five minutes dropped;
a receiver that is away or not set up, also in a pause; a cause in `receiver.findings`; an
`[output]` that does not work; corrections from a backup in place of a service before it;
credentials that are only in memory; a client certificate that ends within {ends} days, with no
other one so far; stored ones that systemd does not unseal, while a backup brings corrections.

Whether corrections are used is known from the reports of the receiver. A report of use counts for
{window:.0f} s. If none comes for {patience:.0f} s, ztpd says why. If it has found no reason after
{use:.0f} min, the verdict is "unknown". A receiver that cannot report is judged by its positions
([decision 11](decisions/0011-use-without-reports.md)). A carrier solution whose corrections are
renewed while ztpd sends shows use. {minutes:.0f} minutes of positions that are not differential, or
whose corrections grow old, show that there is none. A differential position without a carrier
solution leaves it unknown: with SBAS it looks the same.

## The last ten minutes

`sudo ztpd status --watch` draws the status each second, on a page of its own at any size of the
terminal, until Ctrl-C. Below it stands what the receiver reported in the last ten minutes, the
newest on the right. Here corrections stayed away for {outage} minutes:

```text
{recent}```

| line | shows | in a column of several samples |
| --- | --- | --- |
| `fix` | from "no fix", in red, to "RTK fixed", in green; yellow between | the lowest |
| `accuracy` | horizontal, 1 sigma, as the receiver estimates it; logarithmic | the largest |
| `satellites` | used in the position | the fewest |
| `corrections` | the age of those in use, as the receiver reports it: an upper bound | the oldest |

Beside each line is its scale: the least and the greatest value. The lowest mark is the least. The
highest one is the greatest, if that is 7 satellites, 7 s or ten times the accuracy away; a smaller
change rises less, so that noise stays flat. A blank is a time without a report: the receiver was
away, it used no corrections, there was no position, or the daemon did not run. It is never hidden
by other samples of its column.

`NO_COLOR` switches colours off. A locale without UTF-8, and the console of Linux, get
`_.-=+*%#` instead of blocks. Where the output is no terminal, or `TERM` is `dumb`, one screen
follows the other as plain text; with `--json` one object. The samples are the daemon's, which root
may ask; other users see the rest.

## A sample

A gateway that works:

```json
{sample}
```

While something fails, these parts name it:

```json
{failing}
```

## The fields

| field | meaning |
| --- | --- |
"""

_CHECK_JSON = """
## `ztpd check --json`

`schema` is {schema}. `ok` is true if every link works. `layer`, `event`, `text` and `advice`
are those of the first broken link, or null; `event` is that of the [journal](events.md) for
the same cause. `links` is the whole chain in its order, each with `layer`, `state` ("OK",
"problem" or "not reached") and `text`. The exit status is 0 if `ok`, else 1.

| layer | link |
| --- | --- |
"""


def _status() -> str:
    rows = "".join(f"| `{path}` | {meaning} |\n" for path, meaning in status.FIELDS.items())
    links = "".join(f"| `{layer}` | {name} |\n" for layer, name in check.LINKS.items())
    head = _STATUS_HEAD.format(
        schema=status.SCHEMA,
        use=health.USE_UNKNOWN_AFTER_S / 60,
        stale=health.STALE_AFTER_S,
        no_fix=health.NO_FIX_AFTER_S,
        low=health.FIX_LOW_AFTER_S / 60,
        share=health.DROPPED_SHARE,
        ends=health.ENDS_WITHIN_DAYS,
        window=pairing.WINDOW_S,
        patience=usage.PATIENCE_S,
        minutes=effect.NO_EFFECT_S / 60,
        outage=samples.OUTAGE_S // 60,
        recent=samples.recent(),
        sample=samples.healthy(),
        failing=samples.failing(),
    )
    return f"{head}{rows}{_CHECK_JSON.format(schema=check.SCHEMA)}{links}"


_EVENTS_HEAD = """# Events

Every journal event has a name (`ZTPD_EVENT`), a message id and fields. Names and ids never change;
texts may.

```console
$ journalctl -u ztpd -x                         # adds reaction and remedy to each failure
$ journalctl ZTPD_EVENT=ztp.provisioned         # one event
$ journalctl -u ztpd -p warning                 # warnings and errors
$ journalctl -u ztpd -o json | jq .ZTPD_EVENT   # for programs
```

An error needs a person; a warning usually passes, and has a remedy if it does not. The first
failure of a kind is logged at once, its repeats at level debug with one summary a day, and
the end of an outage once. In steady state there are at most 2 lines a minute (usually one an hour),
in any fault at most 20.

Failures have the fields `ZTPD_ERROR` (the sentence of the line), `ZTPD_ADVICE` and, before another
try, `ZTPD_RETRY_IN_S`. See also [states](states.md), [status](status.md) and
[troubleshooting](troubleshooting.md) by symptom.

"""

_EVENT_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Normal operation": (),
    "The modem gives no IMEI": ("identity.", "modem.", "modemmanager."),
    "The service gives no credentials": ("ztp.", "credentials.none"),
    "The date is wrong": ("clock.", "tls.clock"),
    "The network fails": ("net.", "tls."),
    "A session does not open, or ends": ("session.", "ntrip.", "mqtt.", "relay.", "log."),
    "Bytes or hours run out": ("budget.",),
    "The receiver is not found": ("serial.", "gnss."),
    "The receiver is not set as it must be": (
        "gnss.baud",
        "gnss.changed",
        "gnss.nak",
        "gnss.no_spartn",
        "gnss.not_set",
        "gnss.option_refused",
    ),
    "Corrections are not used": ("gnss.not_used.", "gnss.use", "key.", "stream."),
    "The position is poor, or there is none": ("gnss.fix", "gnss.no_fix", "gnss.reception."),
    "Credentials and the disk": ("store.", "credentials.", "cert.", "import."),
    "Configuration and commands": (
        "check.",
        "config.",
        "control.",
        "demo.",
        "output.",
        "record.",
        "report.",
        "stdout.",
        "usage",
    ),
    "The daemon": ("daemon.", "internal", "lock.", "runtime.", "task."),
}
"""Headings of docs/events.md with the beginnings of their events; the longest beginning counts.
Events that need nothing are normal operation."""


_METRICS_HEAD = """# Metrics for Prometheus

The daemon writes `/run/ztpd/metrics.prom` every ten seconds, for every user to read; `ztpd metrics`
prints it. It holds no position, and no name of a person, a modem or an account.

## With the node exporter

Debian's prometheus-node-exporter reads text files, so ztpd needs no port of its own. Link the file
once:

```console
$ sudo apt install prometheus-node-exporter
$ sudo ln -s /run/ztpd/metrics.prom /var/lib/prometheus/node-exporter/ztpd.prom
```

The link never dangles, which the exporter would report as `node_textfile_scrape_error` for the
whole machine: systemd makes the file at boot with `ztpd_up 0`; the daemon writes over it; after the
daemon's end, also by a crash or `kill -9`, systemd puts `ztpd_up 0` back. Removal or purge of the
package takes the link along; after an installation anew, link again.

## Alerts and a dashboard

`/usr/share/ztpd/prometheus/` has rules for Prometheus and a dashboard for Grafana. Copy both to the
server that they run on.

```yaml
# prometheus.yml
rule_files: [ztpd.rules.yml]
```

| alert | fires when | severity |
| --- | --- | --- |
| `ZtpdDown` | no daemon has run for 5 minutes | critical |
| `ZtpdStale` | no metrics were written for 2 minutes, by the gateway's clock | critical |
| `ZtpdBlocked` | a person is needed; the cause is in the description | critical |
| `ZtpdNotHealthy` | the verdict has not been healthy for 15 minutes; with the cause | warning |
| `ZtpdMissing` | a gateway that had metrics in the last day has none | warning |
| `ZtpdCorrectionsUnused` | sessions are open, and nothing was used for 10 minutes | warning |
| `ZtpdSeldomFixed` | with sessions open, RTK fixed for less than half of an hour | warning |
| `ZtpdReconnects` | more than 10 sessions were opened in an hour | warning |
| `ZtpdCertificateExpires` | the client certificate ends within 3 days | warning |
| `ZtpdBudget` | 80 % of the month's megabytes or hours are used | warning |
| `ZtpdPaused` | the gateway has been paused for a day | info |

Most gateways have an hour without a fix at times; silence `ZtpdSeldomFixed` for those that stand in
a shed, and for receivers without RTK. `ztpd.dashboard.json` is imported in Grafana under
*Dashboards, New, Import*. It begins with the fleet: a table with the gateways in trouble at its
top, their verdict, cause, and how long they have not been healthy; then one gateway.

## The metrics

Counters begin at 0 when the daemon starts; those of the receiver also when its settings change.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


def _metrics() -> str:
    rows = "".join(
        f"| `{name}` | {each.kind} | {', '.join(f'`{label}`' for label in each.labels)} "
        f"| {each.help} |\n"
        for name, each in metrics.FAMILIES.items()
    )
    return _METRICS_HEAD + rows


def _group(event: events.JournalEvent) -> str:
    if not event.remedy:
        return "Normal operation"
    begins = {
        begin: heading
        for heading, group in _EVENT_GROUPS.items()
        for begin in group
        if event.name.startswith(begin)
    }
    return begins[max(begins, key=len)]


def _events() -> str:
    parts = [_EVENTS_HEAD]
    parts += [f"- [{each}](#{_heading_anchor(each)})\n" for each in _EVENT_GROUPS]
    for heading in _EVENT_GROUPS:
        parts.append(f"\n## {heading}\n")
        parts += [_event(each) for each in events.every() if _group(each) == heading]
    return "".join(parts)


def _heading_anchor(heading: str) -> str:
    """The anchor that GitHub and GitLab give to a heading."""
    return re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-")


def _event(event: events.JournalEvent) -> str:
    parts = [f"\n### {event.name}\n\n{event.meaning}\n"]
    if event.reaction:
        parts.append(f"\n{event.reaction}\n")
    if event.remedy:
        parts.append(f"\n**Remedy:** {event.remedy}\n")
    if event.ended_by and event.ended_by != events.OUTAGE_OVER.name:
        parts.append(f"\n**End:** `{event.ended_by}`\n")
    level = logging.getLevelName(event.level).lower()
    fields = ", ".join(f"`ZTPD_{name.upper()}`" for name in event.fields)
    parts.append(f"\n{level}, `{event.message_id}`{', ' if fields else ''}{fields}\n")
    return "".join(parts)


def _catalog() -> str:
    """Entries for `journalctl -x`; it adds nothing to a line that needs nothing."""
    entries = []
    for event in filter(lambda each: each.remedy, events.every()):
        lines = [
            f"-- {event.message_id}",
            f"Subject: {event.meaning.rstrip('.')}",
            "Defined-By: ztpd",
            "Documentation: man:ztpd(8)",
            f"Documentation: file:///usr/share/doc/ztpd/docs/events.md#{_anchor(event.name)}",
            "",
            event.reaction,
            "",
            f"Remedy: {event.remedy}",
        ]
        entries.append("\n".join(lines) + "\n")
    return "\n".join(entries)


def _anchor(heading: str) -> str:
    return heading.replace(".", "")


def _udev() -> str:
    """The udev rules, from the known receivers."""
    (vendor,) = {vendor for vendor, _ in usbids.GNSS}
    products = sorted(product for _, product in usbids.GNSS)
    any_of = "|".join(f"{product:04x}" for product in products)
    own = "|".join(f"{each:04x}" for each in products if each < usbids.GNSS_BRIDGES_FROM)
    return f"""\
# u-blox GNSS receivers: their own USB interface, the UART bridges of u-blox's boards, the UARTs of
# the X20; and modems on PCI Express. Made from ztpd/serialport/usbids.py by `make docs`.
ACTION=="remove", GOTO="ztpd_end"

# ModemManager would send AT commands to them; its own list ends at 01a9.
SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendor:04x}", \\
  ATTR{{idProduct}}=="{any_of}", ENV{{ID_MM_DEVICE_IGNORE}}="1"
SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor:04x}", \\
  ATTRS{{idProduct}}=="{any_of}", ENV{{ID_MM_PORT_IGNORE}}="1"

# A stable name; several receivers differ in their names below /dev/serial/by-id and by-path.
SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor:04x}", \\
  ATTRS{{idProduct}}=="{own}", SYMLINK+="ublox"

# The AT port of a modem on PCI Express, which would else be root's only.
SUBSYSTEM=="wwan", KERNEL=="wwan*at*", GROUP="dialout", MODE="0660"

LABEL="ztpd_end"
"""


_MANUAL_HEAD = r""".Dd November 29, 2026
.Dt ZTPD.TOML 5
.Os ztpd
.Sh NAME
.Nm ztpd.toml
.Nd configuration of the ztpd daemon
.Sh SYNOPSIS
.Bl -item -compact
.It
.Pa /etc/ztpd/ztpd.toml
.It
.Pa /etc/ztpd/ztpd.toml.d/*.toml
.El
.Sh DESCRIPTION
ztpd reads the file first, then the drop-ins in the order of their names.
The last file that sets a key wins, key by key.
Hidden files and those with another ending, such as the
.Pa *.dpkg-dist
that an upgrade leaves, are not read.
.Pp
The file of the package sets nothing: every setting has a default, and most
gateways need no more than the ZTP token.
The format is TOML.
An empty text or list means
.Dq not set .
The end of a key's name is its unit:
.Ql _s
is seconds,
.Ql _bytes
is bytes.
.Pp
A wrong value keeps the daemon from starting, with exit status 78; the message
names file, key, value and the allowed values.
An unknown key is an error for
.Ql ztpd config check
and a warning in the journal for
.Ql ztpd run ,
so that one file can serve gateways of several versions.
.Pp
These files hold no secret: token, passwords and private keys are in their own
files.
"""

_MANUAL_TAIL = r""".Sh EXAMPLES
A modem and a receiver with fixed names, as
.Pa /etc/ztpd/ztpd.toml.d/50-ports.toml :
.Bd -literal -offset indent
[identity]
port = "/dev/serial/by-id/usb-Quectel_EG25-G-if02-port0"

[receiver]
port = "/dev/ublox"
.Ed
.Sh SEE ALSO
.Xr ztpd 8
"""


def _configuration_manual() -> str:
    """``ztpd.toml(5)``."""
    parts = [_MANUAL_HEAD]
    for table in TABLES.values():
        parts.append(f".Ss {table.header}\n{_roff(table.about)}\n.Bl -tag -width 4n\n")
        parts += [_manual_entry(option) for option in table.options.values()]
        parts.append(".El\n")
    return "".join([*parts, _MANUAL_TAIL])


def _manual_entry(option: Option) -> str:
    lines = [f".It Ic {option.name}", _roff(f"{option.help} Takes {option.rule.allowed}.")]
    if not option.is_table:
        lines.append(_roff(f"Default: {toml(option.default)}"))
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """``text`` as roff source, each sentence on a new line."""
    escaped = " ".join(text.split()).replace("\\", "\\e").replace('"', "\\(dq")
    lines = []
    for sentence in re.split(r"(?<=\.) (?=[A-Z\\])", escaped):
        lines += textwrap.wrap(sentence, 78, break_long_words=False, break_on_hyphens=False)
    return "\n".join(f"\\&{line}" if line.startswith((".", "'")) else line for line in lines)


def main() -> int:
    top = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    for name, text in produced().items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
