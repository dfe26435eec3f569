"""All journal events of ztpd, declared once.

One module because it is a catalogue: the documents are made from it as a whole.

A :class:`JournalEvent` has a stable name, a level, a text and its page in the message catalog.
:func:`for_error` makes the event of a failure from its error class, so that code, journal, catalog,
``status`` and ``check`` agree.
"""

from __future__ import annotations

import hashlib
import logging
import string
from collections.abc import Iterator
from typing import NamedTuple

from ztpd.errors import Retry, ZtpdError

_NAMESPACE = bytes.fromhex("5f0c4c566f0e5a0e9d0e7a7470640001")

_NOW = {
    Retry.LOCAL: "ztpd tries again within a minute.",
    Retry.SERVER: "ztpd tries again, more and more slowly, and never gives up.",
    Retry.REFUSED: "ztpd waits for a person; until then it asks again, at long intervals.",
    Retry.EVICTED: "ztpd pauses for minutes, so that two clients do not push each other out.",
    Retry.NEVER: "ztpd does not try again before a change.",
}


class JournalEvent(NamedTuple):
    """One kind of journal line.

    ``text`` is a :meth:`str.format` template for the line's fields; ``reaction`` is the reaction
    of ztpd, ``remedy`` the action of a person ("" for none). ``ended_by`` is the name of the event
    that ends the condition which begins with this one; "" where none begins.
    """

    name: str
    level: int
    text: str
    meaning: str
    reaction: str = ""
    remedy: str = ""
    ended_by: str = ""

    @property
    def message_id(self) -> str:
        """The event's 128-bit id in the journal's catalog, derived from its name.

        A name-based UUID (RFC 9562, section 5.5) without the module uuid, whose import costs more
        than all events.
        """
        named = hashlib.sha1(_NAMESPACE + self.name.encode(), usedforsecurity=False)
        digest = bytearray(named.digest()[:16])
        digest[6], digest[8] = digest[6] & 0x0F | 0x50, digest[8] & 0x3F | 0x80
        return digest.hex()

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields in ``text``."""
        return tuple(name for _, name, _, _ in string.Formatter().parse(self.text) if name)


_declared: dict[str, JournalEvent] = {}


def _event(
    name: str,
    level: int,
    text: str,
    meaning: str,
    reaction: str = "",
    remedy: str = "",
    *,
    ended_by: str = "",
) -> JournalEvent:
    event = JournalEvent(name, level, text, meaning, reaction, remedy, ended_by)
    if name in _declared:
        raise ValueError(f"event {name} is declared twice")
    _declared[name] = event
    return event


def for_error(kind: type[ZtpdError]) -> JournalEvent:
    """The event of an error class: ERROR where a person is needed, else WARNING."""
    level = logging.ERROR if kind.needs_person else logging.WARNING
    return JournalEvent(
        kind.code,
        level,
        "{error}",
        _sentence(kind.summary),
        _NOW[kind.retry],
        kind.advice,
        ended_by="log.outage_over",
    )


def every() -> Iterator[JournalEvent]:
    """All events in the order of their names, including those of the errors."""

    def below(kind: type[ZtpdError]) -> Iterator[type[ZtpdError]]:
        yield kind
        for child in kind.__subclasses__():
            yield from below(child)

    found = {kind.code: for_error(kind) for kind in below(ZtpdError)} | _declared
    yield from (found[name] for name in sorted(found))


def named(name: str) -> JournalEvent | None:
    """The declared event of this name; None for one that this version does not know."""
    return _declared.get(name)


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:] + "."


_INFO, _WARNING, _ERROR, _DEBUG = logging.INFO, logging.WARNING, logging.ERROR, logging.DEBUG

STARTED = _event(
    "daemon.started",
    _INFO,
    "ztpd {version} started{how}",
    "The daemon runs; it has read its configuration and holds the lock.",
)
STOPPED = _event(
    "daemon.stopped", _INFO, "ztpd stopped", "The daemon was asked to stop, and stopped."
)
STATE = _event(
    "daemon.state",
    _INFO,
    "{state}: {why}",
    "The daemon changed its state.",
)
STATE_AGAIN = _event(
    "daemon.state_again",
    _DEBUG,
    "{state}: {why}",
    "The daemon changed to a state that another line reports, or entered its state again.",
)
PAUSED = _event(
    "daemon.paused",
    _INFO,
    "paused {why}",
    "The session is closed, and ztpd opens none until the pause ends.",
    ended_by="daemon.resumed",
)
RESUMED = _event("daemon.resumed", _INFO, "the pause is over: {why}", "ztpd opens a session again.")
BUDGET_NEAR = _event(
    "budget.near",
    _WARNING,
    "this month {used}: more than {share} of the budget",
    "The sessions have used most of the month's megabytes or hours.",
    "Corrections go on.",
    "Look at `ztpd status`; raise `[budget]` if the plan allows more, or set `[corrections] "
    "pause_when_still_minutes`.",
    ended_by="budget.below",
)
BUDGET_SPENT = _event(
    "budget.spent",
    _WARNING,
    "this month {used}: the budget is spent; {then}",
    "The sessions have used all of the month's megabytes or hours.",
    "ztpd does what `[budget] then` says: it goes on, or it pauses until the next month begins.",
    "Raise `[budget]` if the plan allows more; `sudo ztpd resume` goes on in this month.",
    ended_by="budget.below",
)
BUDGET_BELOW = _event(
    "budget.below",
    _INFO,
    "this month {used}: below {share} of the budget again",
    "A new month has begun, or the limits were raised.",
)
RELOADED = _event(
    "config.reloaded", _INFO, "configuration reloaded{note}", "The new configuration is in force."
)
RELOAD_FAILED = _event(
    "config.reload_failed",
    _ERROR,
    "the new configuration is not used: {error}",
    "The changed configuration is wrong.",
    "ztpd goes on with the configuration before it.",
    "Correct it (`ztpd config check`), then `systemctl reload ztpd`.",
    ended_by="config.reloaded",
)
UNKNOWN_KEY = _event(
    "config.unknown_key",
    _WARNING,
    "{path}: unknown key {key}{hint}",
    "The configuration has a key that this version does not know.",
    "ztpd ignores it and goes on: a fleet may run mixed versions.",
    "Correct the spelling; `ztpd config check` lists all such keys.",
    ended_by="config.reloaded",
)
FILE_EXPOSED = _event(
    "config.file_exposed",
    _WARNING,
    "{key} = {path} has mode {mode}: other users may read the secret in it",
    "A file of a password or of a private key is open to users other than the daemon's.",
    "ztpd uses it all the same.",
    "Give the file to the daemon alone, by `chown ztpd` and `chmod 600`; consider whether somebody "
    "has read it.",
    ended_by="config.reloaded",
)
IDENTIFIED = _event(
    "identity.read", _INFO, "IMEI {imei} from {source}{note}", "The gateway's identity was read."
)
MODEM_CHANGED = _event(
    "identity.modem_changed",
    _WARNING,
    "the modem now says IMEI {imei}; the credentials were obtained for {stored}",
    "The modem was swapped, or the card is a copy and the board has no serial number.",
    "ztpd keeps the credentials and goes on streaming.",
    "If the card is a copy, or the allowlist or billing is by IMEI, run `ztpd provision --force`.",
)
BOARD_CHANGED = _event(
    "identity.board_changed",
    _WARNING,
    "the credentials were obtained on another board ({stored}); reading the IMEI before using them",
    "The card with the credentials is in another gateway, or is a copy.",
    "ztpd reads the IMEI twice; if it differs too, it asks for credentials of its own.",
    "Nothing to do.",
)
PORT_NAME_SHARED = _event(
    "serial.name_shared",
    _WARNING,
    "{words}",
    "Several equal USB adapters without serial numbers share one name below /dev/serial/by-id.",
    "ztpd uses the one to which udev gave the name last.",
    "Set the port to the adapter's name below /dev/serial/by-path.",
)
MODEM_AWAITED = _event(
    "modem.awaited",
    _INFO,
    "{error}; waiting for it",
    "The modem's port is not there, is in use, or does not answer yet. From the second try on this "
    "line has level debug.",
    "ztpd looks again every second, until [identity] timeout_s has passed.",
)
MODEM_ANSWER = _event(
    "modem.answer",
    _DEBUG,
    "{port}: {command}: {final}",
    "The modem answered a command.",
)
NO_MODEMMANAGER = _event(
    "modemmanager.not_asked",
    _DEBUG,
    "ModemManager is not there ({why}); reading the modem by AT",
    "There is no system bus, or no ModemManager on it.",
)
BY_AT = _event(
    "identity.by_at",
    _INFO,
    "{error}; reading the modem by AT",
    "ModemManager runs and gave no IMEI.",
    "ztpd reads the IMEI on an AT port, if ModemManager does not hold one.",
)
ZTP_CALL = _event(
    "ztp.calling",
    _INFO,
    "asking {host} for credentials{name} ({service}, attempt {attempt})",
    "ztpd calls the provisioning service.",
)
ZTP_CALL_AGAIN = _event(
    "ztp.calling_again",
    _DEBUG,
    "asking {host} for credentials{name} ({service}, attempt {attempt})",
    "ztpd calls the provisioning service again, during an outage that another line names.",
)
PROVISIONED = _event(
    "ztp.provisioned",
    _INFO,
    "provisioned: client {client_id}, {transports}",
    "The service gave credentials, and they are safe on the disk.",
)
CREDENTIALS_UNSAVED = _event(
    "credentials.unsaved",
    _WARNING,
    "the disk has not taken the credentials for {period}: they are in memory only",
    "The credentials work, and a restart or a power cut would lose them.",
    "ztpd tries to store them again, once an hour at least.",
    "Check the disk: `dmesg`, `df -h`; it may be full or read-only.",
    ended_by="ztp.provisioned",
)
CREDENTIALS_LOADED = _event(
    "credentials.loaded",
    _INFO,
    "credentials of {age} found: client {client_id}, {transports}",
    "Stored credentials are used; no provisioning call is made.",
)
BACKUPS_ALONE = _event(
    "credentials.backups_alone",
    _INFO,
    "no ZTP token and no usable credentials: corrections come from [[backup]] alone",
    "Nobody gave this gateway a ZTP token, it has no credentials, or none that can be opened at "
    "present, and its configuration has backup services: it needs no provisioning. A token "
    "(`ztpd token set`) changes that.",
)
PREVIOUS_CREDENTIALS = _event(
    "store.previous",
    _WARNING,
    "{detail}; using the previous generation",
    "The newest credentials on the disk are damaged.",
    "ztpd uses the previous generation.",
    "Check the disk: power cuts with a failing card damage files.",
)
FELL_BACK = _event(
    "credentials.fell_back",
    _WARNING,
    "the credentials in use are refused; using the other generation, client {client_id}",
    "For an hour the service refused the credentials in use; the next ZTP call is not due yet.",
    "ztpd stores two generations of credentials. They take turns, an hour each, until one is "
    "accepted or new ones come.",
    "Check in the portal that the Thing is active and has a plan.",
    ended_by="ztp.provisioned",
)
PART_UNUSABLE = _event(
    "credentials.part_unusable",
    _WARNING,
    "the answer offers MQTT and NTRIP, but one cannot be used: {why}",
    "The service's answer holds a malformed field, or a certificate and key that do not match.",
    "ztpd uses the other one.",
    "Nothing to do while corrections flow; else delete the Thing in the portal: a new one is made.",
    ended_by="ztp.provisioned",
)
CERTIFICATE_EXPIRING = _event(
    "cert.expiring",
    _WARNING,
    "the client certificate expires in {days} days",
    "The client certificate expires soon.",
    "Also while it is paused, ztpd renews it by a call.",
    "Nothing to do if ztpd gets new credentials; it asks once a day in the last 7 days.",
    ended_by="ztp.provisioned",
)
CERTIFICATE_NOT_RENEWED = _event(
    "cert.not_renewed",
    _WARNING,
    "the client certificate is valid until {expires}, and there is no other one so far",
    "ztpd asks for other credentials in the last week, and has not got any three days before the "
    "end.",
    "Corrections go on until then. ztpd asks once a day.",
    "See why in `journalctl -u ztpd -p warning`; when that is mended, `sudo ztpd provision --force "
    "--wait`.",
    ended_by="ztp.provisioned",
)
CONNECTED = _event(
    "session.connected",
    _INFO,
    "connected to {where}",
    "A session with the correction service is open.",
    "During an outage this line has level debug.",
)
STREAMING = _event(
    "session.streaming",
    _INFO,
    "streaming {format} to the receiver, {after_s:.1f} s after the session opened",
    "The first checked correction frames went to the receiver.",
    "After several failures this line has level debug; `log.outage_over` follows in a minute.",
)
TOPICS_REFUSED = _event(
    "mqtt.topics_refused",
    _WARNING,
    "{where} refuses {topics}",
    "The broker refuses some of the topics.",
    "ztpd goes on with the others.",
    "Check that the Thing's plan covers them; see [mqtt] region and topics.",
    ended_by="session.connected",
)
ENDED = _event(
    "session.ended",
    _INFO,
    "session with {where} ended after {lived_s:.0f} s, {frames} frames: {reason}",
    "A session that had delivered corrections ended.",
    "ztpd opens a new one. Where a failure is the reason, its line has it, and this one has level "
    "debug.",
)
SERVICE_CHANGED = _event(
    "session.service_changed",
    _WARNING,
    "corrections now come from {service} instead of {before} ({reason}); its datum may differ: the "
    "position may move by decimetres",
    "Another service took over: the one before failed, or the receiver did not use its "
    "corrections, or a service before it in the order works again.",
    "ztpd uses the first service of the configured order that works. One whose corrections the "
    "receiver did not use, or that failed again within ten minutes of its return, comes back after "
    "ten minutes of corrections beside the present one; each time in vain makes that four times "
    "longer, up to a day.",
    "Nothing, if the change is expected; `ztpd status` shows every service.",
)
BACKUP_IN_USE = _event(
    "session.backup_in_use",
    _WARNING,
    "corrections come from the backup {service}, because {reason}",
    "All services before this backup fail.",
    "ztpd tries them again, and goes back to the first that brings corrections for a minute.",
    "`ztpd status` has the reason and the remedy for each service before it.",
    ended_by="session.service_changed",
)
ASSISTANCE_FETCHED = _event(
    "session.assistance",
    _INFO,
    "fetching assistance from {mountpoint}; the next session uses {plain}",
    "The receiver has just started without a position: the service sends it orbits, for which it "
    "may charge.",
    "ztpd keeps them for two hours, gives them again after a restart of the receiver, and fetches "
    "none meanwhile.",
)
ASSISTANCE_REFUSED = _event(
    "session.assistance_refused",
    _WARNING,
    "no assistance from {mountpoint}: {error}",
    "The caster refuses the mountpoint with assistance.",
    "ztpd uses the mountpoint without it, and asks again after the next start of the receiver, two "
    "hours later at the earliest.",
    'Set [corrections] assistance = "off", or a mountpoint without -MGA.',
)
SUMMARY = _event(
    "stream.summary",
    _INFO,
    "in {period}: {frames} frames, {octets} bytes, {dropped} dropped; fix {fix}",
    "The deliveries of the past hour.",
)
DROPPED = _event(
    "stream.dropped",
    _WARNING,
    "{frames} frames dropped in the last minute: the line to the receiver is too slow",
    "Corrections came faster than the serial line takes them; the oldest were dropped whole.",
    "ztpd keeps the newest.",
    "Raise [receiver] baudrate, or choose a region or plan with less data.",
)
OVERRUN = _event(
    "stream.overrun",
    _WARNING,
    "{frames} frames of {where} dropped in the last minute: they came faster than ztpd reads them",
    "More came at once than ztpd holds (64 KiB) until it can go on; the oldest frames were dropped "
    "whole, keys and assistance last.",
    "ztpd keeps the newest.",
    "If it continues: see which program takes the processor, or choose a region or plan with less "
    "data.",
)
NOT_SEALED = _event(
    "store.not_sealed",
    _WARNING,
    "the credentials are stored in clear text: {reason}",
    "[ztp] seal_credentials is set, and systemd did not encrypt the credentials.",
    "ztpd stores them as without that setting, and tries again at its next start.",
    "Debian 12 cannot seal: update the system, or remove the setting. Else see `journalctl -u "
    "'systemd-creds@*'`.",
)
DAMAGED = _event(
    "stream.damaged",
    _WARNING,
    "{bytes} bytes in the last {period} were not part of a valid frame{kind}",
    "The stream has bytes outside of whole messages with a valid checksum.",
    "ztpd does not send them to the receiver.",
    "If it continues: check that the mountpoint or topics carry SPARTN or RTCM 3.",
)
STATE_VOLATILE = _event(
    "store.volatile",
    _WARNING,
    "{directory} lies on {filesystem}: the credentials are lost at power off",
    "The content of the state directory does not survive a reboot, as with a read-only image whose "
    "changes go to memory.",
    "ztpd works, and asks the provisioning service for its credentials again at each boot.",
    "Mount a partition of the disk on the state directory; docs/fleet.md shows how.",
)
DROPPED_SHARE = _event(
    "stream.dropped_share",
    _WARNING,
    "{share} of the corrections of the last five minutes were dropped",
    "The line to the receiver is too slow for the corrections, or the port stands still.",
    "ztpd drops the oldest message whole and keeps the newest.",
    "Raise [receiver] baudrate, or choose a region or plan with less data.",
    ended_by="quality.over",
)
STALE_LOCK = _event(
    "serial.stale_lock",
    _INFO,
    "{lock} belongs to a process that has ended; using {port}",
    "A program made a UUCP lock file for the port and ended without removing it.",
    "ztpd uses the port. It does not remove files of other programs.",
    "Remove the file.",
)
RECEIVER_FOUND = _event(
    "gnss.found",
    _INFO,
    # the number is for programs: on USB it has no effect, and the sentence leaves it out
    "receiver {model}, firmware {firmware}, on {port}{speed}{baudrate!s:.0}",
    "The GNSS receiver answered.",
)
BAUD_SET = _event(
    "gnss.baud",
    _INFO,
    "the line to the receiver set from {before} to {baudrate} baud",
    "The receiver answered at another speed than the configured one, as after each power-on.",
    "ztpd has set both ends to the configured speed, on the receiver in RAM.",
)
BAUD_RESTORED = _event(
    "gnss.baud_restored",
    _WARNING,
    "the line to the receiver was at {before} baud; set back to {baudrate}",
    "The receiver restarted, or another program changed the speed of its port.",
    "ztpd has set both ends to the configured speed again.",
    "If it happens often: check the power supply, and which other programs configure it.",
)
BAUD_KEPT = _event(
    "gnss.baud_kept",
    _WARNING,
    "the line to the receiver stays at {before} baud: {baudrate} does not work",
    "The receiver's port in use is unknown, or the receiver does not answer at this speed.",
    "ztpd goes on at the working speed.",
    "Set [receiver] baudrate to a speed that both ends and the cable support.",
)
RECEIVER_CONFIGURED = _event(
    "gnss.configured",
    _INFO,
    "receiver configured: {changed} of {total} settings written",
    "The receiver accepts corrections and reports their use.",
)
RECEIVER_OPTION_REFUSED = _event(
    "gnss.option_refused",
    _WARNING,
    "the receiver refuses {keys}",
    "This firmware does not know an optional group of settings.",
    "ztpd goes on without it.",
    "Update the receiver's firmware if you need the function of these keys.",
)
RECEIVER_RESTARTED = _event(
    "gnss.reset",
    _WARNING,
    "the receiver seems to have restarted ({sign}); configuring it again",
    "The receiver lost the settings and the decryption keys, which it keeps in RAM.",
    "ztpd writes both again.",
    "If it happens often: check its power supply.",
)
FORMAT_CHANGED = _event(
    "gnss.format_changed",
    _INFO,
    "corrections come as {format} instead of {before}: the receiver's navigation restarts",
    "The service in use sends another format, and a receiver must not mix two.",
    "ztpd restarts the navigation of the receiver (a hot start, CFG-RST), which drops the "
    "corrections of the old format; the position is away for a few seconds.",
)
RECEIVER_CHANGED = _event(
    "gnss.changed",
    _WARNING,
    "another program had changed the receiver's settings; set again: {keys}",
    "The receiver was no longer configured to accept corrections and to report their use.",
    "ztpd configures it again, once a minute at most.",
    "Find the other program that configures the receiver, or set [receiver] configure = false.",
)
KEYS_SENT = _event(
    "key.sent",
    _INFO,
    "{count} decryption keys sent to the receiver",
    "The receiver has the keys of this and the next period.",
)
KEYS_MISSING = _event(
    "key.missing",
    _WARNING,
    "the receiver holds {held} of {count} decryption keys",
    "The receiver did not accept every decryption key.",
    "ztpd sends them again in ten minutes, and at once when the receiver cannot decrypt.",
    "If it happens again: update the receiver's firmware.",
    ended_by="key.sent",
)
KEYS_REFUSED = _event(
    "key.invalid",
    _WARNING,
    "a key message from the service was not used: {detail}",
    "A decryption key was damaged, expired or implausible.",
    "ztpd keeps its keys.",
    "Nothing to do if it passes; else check the time of the receiver and of the gateway.",
)
FIX = _event(
    "gnss.fix",
    _INFO,
    "fix: {fix}{detail}",
    "The quality of the receiver's position changed.",
)
UNUSED = "corrections arrive, but the receiver does not use them: "


def _not_used(
    name: str, reason: str, meaning: str, remedy: str, reaction: str = ""
) -> JournalEvent:
    text = UNUSED + reason
    reaction = reaction or "ztpd goes on sending, and watches the reports of the receiver."
    name = f"gnss.not_used.{name}"
    return _event(name, _WARNING, text, meaning, reaction, remedy, ended_by="gnss.used")


NO_KEY = _not_used(
    "no_key",
    "they are encrypted, and there is no key for them",
    "The corrections are encrypted, and neither service nor credentials contained a key.",
    "Check that the plan includes this format; then `ztpd provision --force`.",
    "ztpd asks the correction service for its keys again, every ten minutes at most.",
)
WRONG_KEY = _not_used(
    "wrong_key",
    "they are encrypted, and the receiver's keys do not fit",
    "The receiver has keys and cannot decrypt: they have expired, or belong to another plan.",
    "Nothing to do if it passes; else `ztpd provision --force`.",
    "ztpd asks the correction service for its keys again, every ten minutes at most.",
)
NO_TIME = _not_used(
    "no_time",
    "it has no time from the satellites yet",
    "Corrections are valid for a time span, and the receiver does not know the time.",
    "Give the antenna a clear view of the sky; check its cable.",
)
NO_POSITION = _not_used(
    "no_position",
    "it has no position from the satellites yet",
    "The receiver has the time, but too few satellites for a position.",
    "Give the antenna a clear view of the sky; check its cable.",
)
TIME_ONLY = _not_used(
    "time_only",
    "the receiver is set to be a base station (TMODE), so it gives the time only",
    "In time mode the receiver holds a fixed position and uses no corrections.",
    "Find the program that sets CFG-TMODE-MODE, or set [receiver] configure = true.",
    "ztpd sets CFG-TMODE-MODE to 0 within a minute, unless [receiver] configure is false.",
)
STATION_FILTERED = _not_used(
    "station_filter",
    "its filter takes reference station {filter} only, and they are of station {station}",
    "The receiver is set to one RTCM reference station (CFG-RTCM-DF003_IN, DF003_IN_FILTER).",
    "Set CFG-RTCM-DF003_IN_FILTER to 0 in the receiver or below [receiver.keys].",
    "ztpd leaves the filter as it is, and goes on sending.",
)
OTHER_SOURCE = _not_used(
    "other_source",
    "it uses {source} instead",
    "The receiver reports that it uses corrections which ztpd did not send.",
    "Switch the other source off: Galileo HAS, an L-band receiver, a radio, another program.",
    "ztpd makes sure once a minute that corrections of the host are selected.",
)
KEPT_OUT = _not_used(
    "kept_out",
    "its setting {setting}",
    "A setting of the receiver keeps the corrections of its host out, and ztpd may not change it.",
    "Set it in the receiver (`ztpd receiver show`) or below [receiver.keys], or set [receiver] "
    "configure = true; end a configuration lock (CFG-SEC-CFG_LOCK).",
    "ztpd checks the settings once a minute.",
)
PREFERS_OTHERS = _not_used(
    "others",
    "they are in order, and it may prefer another source or await a restart",
    "The corrections are correct, and the receiver uses another source or another format.",
    "Find the other source (L-band, a radio, another program); else restart the receiver.",
    "ztpd checks once a minute that the source selection of the receiver is IP.",
)
DAMAGED_ON_LINE = _not_used(
    "damaged",
    "they are damaged on the serial line",
    "Corrections that were whole when ztpd sent them arrive damaged.",
    "Check cable and ground; lower [receiver] baudrate.",
)
UNSUPPORTED = _not_used(
    "unsupported",
    "its firmware does not know these messages",
    "The firmware knows none of the message types sent.",
    "Update the receiver's firmware, or choose a profile with format RTCM.",
)
NOT_REPORTED = _not_used(
    "unseen",
    "it does not see them: the wire to its input is cut, or the input is off",
    "The receiver could report the messages that it receives, and reports none.",
    "Check the wire to the receiver's RX; `ztpd receiver show` shows whether the input is on.",
    "ztpd checks once a minute that the input is switched on.",
)
NO_RTK = _not_used(
    "no_rtk",
    "its position has shown no effect of them for {minutes:.0f} minutes: {product} has no RTK",
    "The receiver is of a product line without RTK, and reports no use of corrections.",
    "Use a receiver with RTK, such as ZED-F9P, ZED-F9R or ZED-X20P.",
)
NO_CARRIER = _not_used(
    "no_carrier",
    "its position has shown no effect of them for {minutes:.0f} minutes, and {product} does not "
    "report their use",
    "The receiver reports no use of corrections. Its position is not differential, or the "
    "corrections in it grow old while new ones are sent.",
    "Check the antenna, and the format and place of the mountpoint; update the firmware.",
)
_BY_POSITION = (
    "ztpd judges by the positions. A carrier solution with fresh corrections shows use; three "
    "minutes without a differential position, or with corrections that grow old, show that it does "
    "not use them."
)
USE_NOT_REPORTED = _event(
    "gnss.use_not_reported",
    _INFO,
    "it is not known whether the receiver uses the corrections: {product} does not report it",
    "The receiver cannot report the use of corrections, or its reports leave it open.",
    _BY_POSITION,
    "Wait three minutes for the verdict by the positions; a newer firmware may report the use.",
    ended_by="quality.over",
)
USE_LIKE_SBAS = _event(
    "gnss.use_like_sbas",
    _INFO,
    "it is not known whether the receiver uses the corrections: {product} does not report it, and "
    "its differential position would look the same with SBAS alone",
    "The position is differential and has no carrier solution. It may come from these corrections, "
    "or from those that SBAS satellites send.",
    _BY_POSITION,
    "Switch SBAS off to find out: CFG-SIGNAL-SBAS_ENA = 0 in [receiver.keys]. If RTK is expected, "
    "check the antenna, and the format and place of the mountpoint.",
    ended_by="quality.over",
)
USE_BESIDE_OTHERS = _event(
    "gnss.use_beside_others",
    _INFO,
    "it is not known whether the receiver uses the corrections: {product} does not report it, and "
    "it had newer ones than ztpd had sent",
    "While ztpd sent no corrections, the receiver had a carrier solution with fresh ones: another "
    "source sends some too.",
    "ztpd goes on sending corrections. In the next pause of the corrections it looks whether those "
    "in the receiver grow old.",
    "Switch the other source off: a radio, an L-band receiver, another program.",
    ended_by="quality.over",
)
USE_NOT_KNOWN = (USE_NOT_REPORTED, USE_LIKE_SBAS, USE_BESIDE_OTHERS)
"""The receiver does not report it, and its positions leave it open."""

NO_FIX = _event(
    "gnss.no_fix",
    _WARNING,
    "the receiver has had no fix for {period}",
    "Corrections flow, and the receiver has no position.",
    "ztpd goes on sending corrections.",
    "Check the antenna, its cable and its view of the sky.",
    ended_by="quality.over",
)
FIX_LOW = _event(
    "gnss.fix_low",
    _WARNING,
    "no {best} for {period}: the fix is {fix}",
    "The receiver uses the corrections, and its fix stays below the best that it can reach.",
    "ztpd goes on sending corrections.",
    "Check the antenna, its cable and its view of the sky, and that the service covers this place.",
    ended_by="quality.over",
)
FIX_WITHOUT_RTK = _event(
    "gnss.fix_without_rtk",
    _WARNING,
    "{product} has no RTK: {best} is the best it reaches",
    "The receiver is of a product line that computes no carrier solution.",
    "ztpd goes on sending corrections.",
    "Use a receiver with RTK, such as ZED-F9P, ZED-F9R or ZED-X20P.",
    ended_by="quality.over",
)
FIX_UNKNOWN = _event(
    "gnss.fix_unknown",
    _WARNING,
    "the receiver uses the corrections and reports no position",
    "NAV-PVT does not come, so the fix is not known.",
    "ztpd goes on sending corrections.",
    "Switch on NAV-PVT on the receiver's port, or set [receiver] configure = true.",
    ended_by="quality.over",
)
USE_UNKNOWN = _event(
    "gnss.use_unknown",
    _WARNING,
    "the receiver has not reported for {period} whether it uses the corrections",
    "Corrections flow, and neither a report nor the fix shows that they are used.",
    "ztpd goes on sending corrections.",
    "`ztpd receiver show` names the reports that are off; a newer firmware may be needed.",
    ended_by="quality.over",
)
_SENDS_ON = "ztpd goes on sending corrections."

UNSTEADY = _event(
    "gnss.reception.unsteady",
    _WARNING,
    "the receiver had to be set up {count} times in {period}",
    "It restarts, its port comes and goes, or another program changes its settings.",
    "ztpd sets it up each time; meanwhile corrections are lost.",
    "Check power supply, plugs and cable. After gnss.changed in the journal: find the other "
    "program that configures the receiver.",
    ended_by="gnss.reception.over",
)
ANTENNA_SHORT = _event(
    "gnss.reception.antenna_short",
    _WARNING,
    "the receiver reports a short circuit in the antenna or its cable",
    "The receiver's antenna supervisor measures a short circuit (MON-RF).",
    _SENDS_ON,
    "Check antenna, cable and plugs for water and crushed places; replace the part that is broken.",
    ended_by="gnss.reception.over",
)
ANTENNA_OPEN = _event(
    "gnss.reception.antenna_open",
    _WARNING,
    "the receiver reports that no antenna is connected",
    "The receiver's antenna supervisor measures no current (MON-RF).",
    _SENDS_ON,
    "Connect the antenna; check cable and plugs. If a splitter blocks the supply, set "
    "CFG-HW-ANT_CFG_OPENDET = 0 in [receiver.keys].",
    ended_by="gnss.reception.over",
)
JAMMED = _event(
    "gnss.reception.jammed",
    _WARNING,
    "the receiver reports radio interference{where}",
    "A transmitter nearby disturbs the satellites' signals (SEC-SIG, MON-RF).",
    _SENDS_ON,
    "Move the antenna away from transmitters, USB 3 cables, switching supplies and the modem's "
    "antenna; shield the devices that cannot be moved.",
    ended_by="gnss.reception.over",
)
SPOOFED = _event(
    "gnss.reception.spoofed",
    _WARNING,
    "the receiver reports false satellite signals (spoofing)",
    "The receiver sees signs of signals that only pretend to be satellites' (SEC-SIG).",
    _SENDS_ON + " Its position may be wrong.",
    "Do not rely on the position. Look for GNSS repeaters and simulators nearby.",
    ended_by="gnss.reception.over",
)
NO_SIGNALS = _event(
    "gnss.reception.no_signal",
    _WARNING,
    "the receiver receives no satellite",
    "The receiver reports no signal of any satellite (NAV-SAT).",
    _SENDS_ON,
    "Check the antenna, its cable and plugs, and its view of the sky.",
    ended_by="gnss.reception.over",
)
WEAK_SIGNALS = _event(
    "gnss.reception.weak",
    _WARNING,
    "only {good} of {seen} satellites are received well (35 dBHz or more), the best with {best} "
    "dBHz",
    "RTK needs at least eight satellites with strong signals (NAV-SAT).",
    _SENDS_ON,
    "Give the antenna a clear view of the sky, on a metal plate; check its cable; use a dual-band "
    "antenna.",
    ended_by="gnss.reception.over",
)
PORT_OVERRUN = _event(
    "gnss.reception.overrun",
    _WARNING,
    "the receiver lost bytes at its port {port}, {count} times in the last minutes",
    "Bytes came faster than the receiver took them (MON-COMMS): corrections arrive damaged.",
    _SENDS_ON,
    "Find the other writer on that port of the receiver; lower [receiver] baudrate.",
    ended_by="gnss.reception.over",
)
LATE_CORRECTIONS = _event(
    "gnss.reception.late",
    _WARNING,
    "the corrections in use are up to {age_s:.0f} s old",
    "Corrections come, and the receiver uses old ones: RTK needs them within seconds.",
    _SENDS_ON,
    "Check the delay of the mobile network, and whether the service sends an epoch each second.",
    ended_by="gnss.reception.over",
)
FAR_STATION = _event(
    "gnss.reception.far",
    _WARNING,
    "the reference station is {distance_km:.0f} km away",
    "RTK with one reference station reaches about 35 km (RTCM 1005 or 1006 has its position).",
    _SENDS_ON,
    "Choose a nearer mountpoint, or one that makes a virtual station from the GGA.",
    ended_by="gnss.reception.over",
)
NO_STATION = _event(
    "gnss.reception.no_station",
    _WARNING,
    "the corrections lack RTCM 1005 and 1006, the position of the reference station",
    "Observations of a reference station come, and its position does not, or under another "
    "station number: they are of no use.",
    _SENDS_ON,
    "Switch 1005 or 1006 on at the base station, or choose another mountpoint.",
    ended_by="gnss.reception.over",
)
NO_BIASES = _event(
    "gnss.reception.no_biases",
    _WARNING,
    "the corrections have GLONASS and lack RTCM 1230 and 1033, its biases",
    "Without them the receiver cannot fix the ambiguities of GLONASS.",
    _SENDS_ON,
    "Switch 1230 on at the base station, or GLONASS off, or choose another mountpoint.",
    ended_by="gnss.reception.over",
)
RECEPTION_OVER = _event(
    "gnss.reception.over",
    _INFO,
    "over after {period}: {finding}",
    "Something that kept the receiver from a fixed position has ended.",
)
QUALITY_OVER = _event(
    "quality.over",
    _INFO,
    "{end}, after {period}",
    "Something that kept the corrections from their full effect has ended.",
)
USED = _event(
    "gnss.used",
    _INFO,
    "the receiver uses the corrections",
    "The receiver reports that it uses the corrections.",
)
SUPPRESSED = _event(
    "log.suppressed",
    _INFO,
    "{error}; {count} more times in the last {period}",
    "The same failure was repeated; its lines are at DEBUG level.",
)
OUTAGE_OVER = _event(
    "log.outage_over",
    _INFO,
    "works again after {period}; failures: {count}, the first was: {error}",
    "The operation that had failed has succeeded. Where another line says that it did, as "
    "`session.streaming`, a single failure has no line of this kind.",
)
TASK_DIED = _event(
    "task.died",
    _ERROR,
    "internal error in {task}: {error}",
    "A part of the daemon failed with an unexpected error.",
    "ztpd starts that part again.",
    "Report it with the journal lines around it.",
)
PROXY_IGNORED = _event(
    "net.proxy_ignored",
    _INFO,
    "{variable} is set and not used",
    "The environment names a proxy; ztpd connects directly.",
)
