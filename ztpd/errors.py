"""All failures that ztpd can name, each with its retry class and its remedy.

One module because it is a catalogue: journal, manual and `check` read it as a whole.

    ZtpdError
      ConfigError       the configuration file
      UsageError        the command line
      LockHeld          a second ztpd on the same gateway
      RuntimeDirectoryUnusable  lock, status file, control socket
      NotRunning        no daemon to answer
      DaemonSilent      the daemon does not answer
      DaemonRefused     the daemon answers that it does not do it
      NoCredentials     none are stored
      NotPermitted      the user lacks a right
      ImportInvalid     a file given to `ztpd import`
      DemoIncomplete    a package that only the demonstration needs
      ReportUnwritable  the archive of `ztpd report`
      RecordingUnwritable  the file of `ztpd record`
      StandardOutputUnwritable  where the verbs print
      RecordingUnreadable  a file to be played
      IdentityError     the modem, its port, the IMEI
      NetworkError      route, name, TCP, TLS: below any one service
      ZtpError          the provisioning service answered without usable credentials
      StoreError        the credentials directory
      SessionError      one MQTT or NTRIP session could not start, or ended
      SerialError       a serial port
      OutputError       the output for other programs
      ReceiverError     the GNSS receiver
      ClockError        the system clock

The module that calls a library or the operating system turns its exceptions into one of these, and
chains them. Modules above never catch ``OSError``. The class holds the facts that do not depend on
the case: a stable ``code`` (also the event name in the journal), the retry class, the exit status
of a one-shot verb, a summary and advice. The instance holds the case: ``detail``, and advice for it
where there is better than that of the class.
"""

from __future__ import annotations

from enum import Enum
from typing import ClassVar


class Retry(Enum):
    """How soon to try again; :mod:`ztpd.retry` has the waits."""

    LOCAL = "local"  # only this gateway is involved: seconds
    SERVER = "server"  # a server is in trouble: minutes, growing
    REFUSED = "refused"  # a server refuses: a person must change something
    EVICTED = (
        "kicked"  # a server ends every session early: another client uses the same credentials
    )
    NEVER = "never"  # trying again without a change is pointless


class ZtpdError(Exception):
    """Base class. ``str()`` gives a sentence for a person, without secrets."""

    code: ClassVar[str] = "internal"
    retry: ClassVar[Retry] = Retry.SERVER
    needs_person: ClassVar[bool] = False  # retries alone cannot help; derived from ``retry``
    exit_status: ClassVar[int] = 70
    summary: ClassVar[str] = "something unexpected happened"
    advice: str = "Report this with the journal lines around it."

    def __init__(
        self, detail: str = "", *, advice: str = "", retry_after_s: float | None = None
    ) -> None:
        """``detail`` names the case (port, host, status, key), ``advice`` replaces that of the
        class; ``retry_after_s`` is the shortest wait that the server asked for."""
        super().__init__(detail)
        self.detail = detail
        self.own_advice = advice
        if advice:
            self.advice = advice
        self.delivered = True  # False where the request certainly was not sent
        self.age_s = 0.0  # of an error that was noted on the disk before a restart
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return f"{self.summary}: {self.detail}" if self.detail else self.summary

    @classmethod
    def named(cls, code: str, detail: str) -> ZtpdError | None:
        """An error of the class with this ``code``; None if no class has it."""
        for kind in cls.__subclasses__():
            if kind.code == code:
                return kind(detail)
            if found := kind.named(code, detail):
                return found
        return None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "needs_person" not in cls.__dict__ and "retry" in cls.__dict__:
            cls.needs_person = cls.retry in (Retry.REFUSED, Retry.NEVER)


class ConfigError(ZtpdError):
    code = "config.invalid"
    retry = Retry.NEVER
    exit_status = 78
    summary = "the configuration is wrong"
    advice = "Correct the setting named here, then run `ztpd config check`."


class ConfigFileUnusable(ConfigError):
    """ca_file, password_file, cert_file, key_file: their partition may be mounted late."""

    code = "config.file"
    retry = Retry.LOCAL  # a further look costs nothing
    needs_person = True
    summary = "a file named in the configuration cannot be used"
    advice = "Correct the file or the setting named here; ztpd looks again within a minute."


class UsageError(ZtpdError):
    code = "usage"
    retry = Retry.NEVER
    exit_status = 64
    summary = "the command line is wrong"
    advice = "See `ztpd --help`."


class LockHeld(ZtpdError):
    code = "lock.held"
    retry = Retry.LOCAL
    exit_status = 70
    summary = "another ztpd is running on this gateway"
    advice = "Stop it first (`systemctl stop ztpd`), or let it do the work."


class RuntimeDirectoryUnusable(ZtpdError):
    code = "runtime.unusable"
    retry = Retry.LOCAL
    exit_status = 74
    summary = "the runtime directory cannot be used"
    advice = (
        "See `df -h /run` and `df -i /run`; without it there is no status and no control socket."
    )


class NotRunning(ZtpdError):
    code = "control.not_running"
    retry = Retry.NEVER
    exit_status = 3
    summary = "no daemon is running"
    advice = "Start it with `systemctl start ztpd`."


class DaemonSilent(ZtpdError):
    code = "control.silent"
    retry = Retry.NEVER
    exit_status = 75
    summary = "the daemon runs and gives no answer"
    advice = (
        "See `journalctl -u ztpd`; `systemctl restart ztpd` ends a daemon that is stopped or hangs."
    )


class DaemonRefused(ZtpdError):
    code = "control.refused"
    retry = Retry.NEVER
    exit_status = 75
    summary = "the daemon does not do it"
    advice = "Try again when the reason is gone; after an upgrade, `systemctl restart ztpd`."


class NoCredentials(ZtpdError):
    code = "credentials.none"
    retry = Retry.LOCAL
    exit_status = 66
    summary = "there are no credentials yet"
    advice = "Start the daemon (`systemctl start ztpd`), or run `ztpd provision`."


class NotPermitted(ZtpdError):
    code = "check.not_permitted"
    retry = Retry.NEVER
    exit_status = 77
    summary = "this user lacks the permission"
    advice = "Run it as root, with sudo."


class DemoIncomplete(ZtpdError):
    code = "demo.incomplete"
    retry = Retry.NEVER
    exit_status = 69
    summary = "the demonstration needs a package that is not installed"
    advice = (
        "Install it: `apt install python3-trustme mosquitto`. With NTRIP, the default, the "
        "demonstration needs neither."
    )


class ReportUnwritable(ZtpdError):
    code = "report.unwritable"
    retry = Retry.NEVER
    exit_status = 73
    summary = "the report cannot be written"
    advice = "Name a new file in a directory with room: `ztpd report --output FILE`."


class RecordingUnwritable(ZtpdError):
    code = "record.unwritable"
    retry = Retry.NEVER
    exit_status = 73
    summary = "the recording cannot be written"
    advice = "Name a new file in a directory with room: `ztpd record FILE`."


class StandardOutputUnwritable(ZtpdError):
    code = "stdout.unwritable"
    retry = Retry.NEVER
    exit_status = 74
    summary = "standard output cannot be written"
    advice = "Send it elsewhere, or make room there: see `df -h` and `df -i`."


class RecordingUnreadable(ZtpdError):
    code = "record.unreadable"
    retry = Retry.NEVER
    exit_status = 65
    summary = "the file cannot be played"
    advice = (
        "Give `ztpd demo --replay` a recording of `ztpd record`, the log of a u-blox receiver with "
        "NAV-PVT, or a stream of RTCM 3 or SPARTN."
    )


class IdentityError(ZtpdError):
    code = "identity.failed"
    retry = Retry.LOCAL
    exit_status = 69
    summary = "the gateway's identity could not be read"
    advice = "See `ztpd imei`."


class ModemAbsent(IdentityError):
    code = "modem.absent"
    summary = "the modem's port is not there"
    advice = (
        "Check power, USB cable and the modem's power key; "
        "`ls /dev/serial/by-id` lists the ports that exist. Set [identity] port to one of them."
    )


class ModemBusy(IdentityError):
    code = "modem.busy"
    summary = "the modem's port is held by another program"
    advice = 'Set [identity] source = "modemmanager", or leave one AT port to ztpd by a udev rule.'


class ModemPermission(IdentityError):
    code = "modem.permission"
    summary = "the user that runs ztpd lacks the permission to open the modem's port"
    advice = "Put the user that runs ztpd into the port's group, then restart ztpd."


class ModemSilent(IdentityError):
    code = "modem.silent"
    summary = "the modem does not answer AT commands"
    advice = (
        "Check [identity] port (diagnostic and NMEA ports never answer) and baudrate; "
        "a modem left in data mode needs a power cycle."
    )


class NotAnAtPort(IdentityError):
    code = "modem.wrong_port"
    summary = "the port does not speak AT"
    advice = "Set [identity] port to the modem's AT port; see docs/modems.md."


class ModemRefused(IdentityError):
    code = "modem.no_imei"
    summary = "the modem answers, but gives no IMEI"
    advice = 'The modem may be unprogrammed; ask its maker, or set [identity] source = "fixed".'


class ImeiInvalid(IdentityError):
    code = "modem.imei_invalid"
    retry = Retry.LOCAL
    summary = "the number that the modem gives is not an IMEI"
    advice = (
        "Compare the number, which `sudo ztpd imei` prints, with the label on the modem; "
        'set [identity] source = "fixed" if it is wrong.'
    )

    def __init__(self, detail: str = "", *, number: str = "") -> None:
        """``number`` is for the person at the terminal; no log and no status has it."""
        super().__init__(detail)
        self.number = number


class ModemAmbiguous(IdentityError):
    code = "modem.ambiguous"
    needs_person = True
    summary = "there are several modems, and the configuration names none"
    advice = (
        "Set [identity] port to a port of the right one; "
        "equal modems differ in their names below /dev/serial/by-path."
    )


class ModemManagerAbsent(IdentityError):
    code = "modemmanager.absent"
    summary = "the service ModemManager is not running"
    advice = 'Start it, `systemctl start ModemManager`, or set [identity] source = "at".'


class ModemManagerSilent(IdentityError):
    code = "modemmanager.silent"
    summary = "the service ModemManager does not answer"
    advice = "Restart it, `systemctl restart ModemManager`; its journal may show the cause."


class ModemManagerNoModem(IdentityError):
    code = "modemmanager.no_modem"
    summary = "the service ModemManager does not know the modem"
    advice = (
        "Check power, USB cable and power key; `mmcli -L` lists the modems that it knows. "
        'For a modem that it ignores set [identity] source = "at" and port.'
    )


class ModemManagerNoImei(IdentityError):
    code = "modemmanager.no_imei"
    summary = "the service ModemManager does not know the modem's IMEI"
    advice = (
        "See `mmcli -m any` for the modem's state, `journalctl -u ModemManager` for the reason."
    )


class NetworkError(ZtpdError):
    code = "net.failed"
    retry = Retry.SERVER
    exit_status = 75
    summary = "the network failed"
    advice = "Check the gateway's uplink."


class NoRoute(NetworkError):
    code = "net.no_route"
    retry = Retry.LOCAL
    summary = "there is no route to the network"
    advice = "Check SIM, antenna and APN, or the Ethernet cable; `ip route` should show a default."


class FamilyUnreachable(NoRoute):
    code = "net.family"
    summary = "the uplink has no route for this kind of address"
    advice = (
        "It carries IPv6 only, or IPv4 only: name the host in place of its address, or ask the "
        "provider for the other kind (NAT64, 464XLAT)."
    )


class ResolveFailed(NetworkError):
    code = "net.dns"
    retry = Retry.LOCAL
    summary = "the host name could not be resolved"
    advice = (
        "Check the uplink and the nameservers in /etc/resolv.conf; "
        "`getent hosts NAME` should answer."
    )


class ConnectRefused(NetworkError):
    code = "net.refused"
    summary = "the server does not accept connections on that port"
    advice = "Check host and port; a firewall in between may also refuse."


class ConnectTimeout(NetworkError):
    code = "net.timeout"
    summary = "the server did not answer in time"
    advice = "Nothing to do if it passes; else check firewall, signal and MTU of the uplink."


class ConnectionLost(NetworkError):
    code = "net.lost"
    summary = "the connection was cut"
    advice = "Nothing to do if it passes; else check signal strength of the uplink."


class TlsError(NetworkError):
    code = "tls.failed"
    summary = "the TLS connection failed"
    advice = "Check that no proxy or firewall intercepts TLS."


class TlsUntrusted(TlsError):
    code = "tls.untrusted"
    summary = "the server's certificate is not from a trusted issuer"
    advice = (
        "See the issuer in `sudo ztpd check`: a proxy intercepts TLS, a private service needs its "
        "ca_file, or ca-certificates or an intermediate certificate is missing."
    )


class TlsHostname(TlsError):
    code = "tls.hostname"
    summary = "the server's certificate is for another name"
    advice = (
        "Check the host setting; else a proxy or firewall intercepts TLS. In a certificate only "
        "the names under subjectAltName count."
    )


class TlsClock(TlsError):
    code = "tls.clock"
    retry = Retry.LOCAL
    summary = "the server's certificate is not valid at the time that the system clock shows"
    advice = (
        "Set a wrong clock by NTP (`timedatectl`), a late one also by `systemctl enable --now "
        "ztpd-settime`. Else the server's operator must renew its certificate."
    )


class TlsVersion(TlsError):
    code = "tls.version"
    summary = "the server offers no TLS 1.2 or newer, or no TLS at all on that port"
    advice = "Check the port setting."


class TlsClientCertificate(TlsError):
    code = "tls.client_certificate"
    retry = Retry.REFUSED
    summary = "the server requires a client certificate, or refuses the one it was given"
    advice = "Check the port: another one may need none; for a broker see [mqtt] cert_file."


class TlsMismatch(TlsError):
    code = "tls.mismatch"
    retry = Retry.REFUSED
    summary = "only one side of the connection uses TLS"
    advice = "Check the port and tls settings: one port is either plain or TLS, never both."


class ZtpError(ZtpdError):
    """The ZTP service answered without usable credentials."""

    code = "ztp.failed"
    retry = Retry.SERVER
    exit_status = 75
    summary = "provisioning failed"
    advice = "Nothing to do if it passes."


class ZtpServerError(ZtpError):
    code = "ztp.server"
    summary = "the provisioning service has an internal problem"
    advice = "Nothing to do; ztpd asks again more and more slowly."


class ZtpThrottled(ZtpError):
    code = "ztp.throttled"
    summary = "the provisioning service asks for fewer calls"
    advice = "Nothing to do; for a mass roll-out raise [ztp] splay_s."


class ZtpNotActive(ZtpError):
    code = "ztp.not_active"
    summary = "the service knows this gateway, but its credentials are not active yet"
    advice = (
        "Nothing to do if the profile has Auto Activate; else activate the Thing in the portal."
    )


class ZtpBadAnswer(ZtpError):
    code = "ztp.schema"
    summary = "the provisioning service's answer has an unknown form"
    advice = (
        "Nothing to do if it passes: the service, or a proxy before it, may be broken; else update "
        "ztpd, and report it with the journal lines around it."
    )


class ZtpTooBig(ZtpError):
    code = "ztp.too_big"
    summary = "the provisioning service's answer is far too large"
    advice = "Check [ztp] url; a proxy may answer instead of the service."


class ZtpTruncated(ZtpError):
    code = "ztp.truncated"
    summary = "the provisioning service's answer was cut short"
    advice = "Nothing to do if it passes; asking again returns the same Thing."


class ZtpCaptivePortal(ZtpError):
    code = "ztp.captive_portal"
    summary = "a captive portal or proxy answered instead of the provisioning service"
    advice = "Log in to it, or use an uplink without one."


class ZtpRefused(ZtpError):
    """The service refuses, and its text gives no known reason."""

    code = "ztp.refused.unknown"
    retry = Retry.REFUSED
    exit_status = 76
    summary = "the provisioning service refused this gateway"
    advice = "Check the device profile in the portal: status Enabled, plan, token, allowlist."


class ZtpNotListed(ZtpRefused):
    code = "ztp.refused.not_listed"
    summary = "this gateway's IMEI is not on the profile's allowlist"
    advice = (
        "Add the IMEI, which `sudo ztpd imei` prints, to the allowlist of the device profile "
        "in the portal; then `sudo ztpd retry`."
    )


class ZtpAlreadyRegistered(ZtpRefused):
    code = "ztp.refused.already_registered"
    summary = "this gateway's IMEI is already registered"
    advice = (
        'In the portal let the profile "return existing details" for an existing hardware code, or '
        "find the Thing or gateway that has this IMEI already."
    )


class ZtpNoPlan(ZtpRefused):
    code = "ztp.refused.no_plan"
    summary = "the Thing of this gateway has no plan"
    advice = "Activate the Thing in the portal, or give its profile a plan."


class ZtpTokenRefused(ZtpRefused):
    code = "ztp.refused.token"
    summary = "the provisioning service does not accept the token"
    advice = "Compare the token with the device profile in the portal, then `sudo ztpd token set`."


class ZtpTokenMissing(ZtpRefused):
    code = "ztp.token_missing"
    retry = Retry.LOCAL  # reading a file again is cheap
    needs_person = True
    exit_status = 78
    summary = "there is no ZTP token"
    advice = "Give it with `sudo ztpd token set`; it is in the device profile in the portal."


class ZtpTokenMalformed(ZtpRefused):
    code = "ztp.token_malformed"
    retry = Retry.LOCAL  # reading a file again is cheap
    needs_person = True
    exit_status = 78
    summary = "the ZTP token is malformed and was not sent"
    advice = "It has 36 lower-case characters, 8-4-4-4-12; give it again: `sudo ztpd token set`."


class ZtpTokenUnsafe(ZtpRefused):
    code = "ztp.token_unsafe"
    retry = Retry.LOCAL  # reading a file again is cheap
    needs_person = True
    exit_status = 77
    summary = "other users can read the ZTP token's file, so it is not used"
    advice = "Run `chmod 0600` on it, or give it again with `sudo ztpd token set`."


class ZtpHardwareCode(ZtpRefused):
    code = "ztp.refused.hardware_code"
    summary = "the service asks for a hardware code"
    advice = "Set [identity] so that ztpd has one; `ztpd imei` shows it."


class ZtpNotFound(ZtpRefused):
    code = "ztp.refused.not_found"
    summary = "the service knows neither this address nor, at it, this token"
    advice = "Check [ztp] url and service: a Flex token does not work for Live, nor the reverse."


class ZtpRedirect(ZtpRefused):
    code = "ztp.redirect"
    summary = "the provisioning service redirects ztpd, which follows no redirects"
    advice = "Check [ztp] url; a captive portal or proxy also redirects."


class ZtpHostNotAllowed(ZtpRefused):
    code = "ztp.host_not_allowed"
    summary = "the answer names a host that is not allowed"
    advice = "If the host is right, list it in [ztp] allowed_hosts."


class HostFiltered(ZtpHostNotAllowed):
    """No refusal for good: the name server answers otherwise once there is an uplink."""

    code = "net.dns_filtered"
    retry = Retry.LOCAL
    exit_status = 75
    summary = "the name server answers with an address that leads nowhere"
    advice = (
        "A filter, or a router without uplink, answers so: check the uplink and the nameservers in "
        "/etc/resolv.conf."
    )


class ZtpKeyMismatch(ZtpError):
    code = "ztp.key_mismatch"
    summary = "certificate and private key of the answer do not belong together"
    advice = "Nothing to do if it passes; else delete the Thing in the portal, for a new one."


class ImportInvalid(ZtpdError):
    code = "import.unusable"
    retry = Retry.NEVER
    exit_status = 65
    summary = "the file has no usable credentials"
    advice = (
        "Give the file that the portal offers for an active Thing, "
        "or an answer of the service, unchanged."
    )


class StoreError(ZtpdError):
    code = "store.io"
    retry = Retry.LOCAL
    exit_status = 74
    summary = "the credentials could not be written or read"
    advice = "Check the disk: `dmesg`, `df -h`, and the state directory."


class StoreFull(StoreError):
    code = "store.full"
    summary = "the disk is full"
    advice = "Free some space; until then ztpd keeps the credentials in memory."


class StoreReadOnly(StoreError):
    code = "store.readonly"
    summary = "the state directory is read-only"
    advice = "Remount it writable; until then ztpd keeps the credentials in memory."


class StoreStalled(StoreError):
    code = "store.stalled"
    summary = "the disk does not answer"
    advice = (
        "Look for errors of the disk in `dmesg`; replace a card that fails. When the disk answers, "
        "ztpd goes on by itself."
    )


class StoreUnsafe(StoreError):
    code = "store.unsafe"
    retry = Retry.LOCAL  # reading a file again is cheap
    needs_person = True
    exit_status = 77
    summary = "other users can read or change the stored credentials, so they are not used"
    advice = "Give directory (0700) and files (0600) to the user that runs ztpd."


class StoreCorrupt(StoreError):
    code = "store.corrupt"
    exit_status = 65
    summary = "the stored credentials are damaged"
    advice = "Nothing to do; ztpd uses the previous ones or asks for new ones."


class CredentialsLost(StoreError):
    """A gateway whose disk loses them would else call at every start."""

    code = "store.lost"
    summary = "the disk has lost the credentials of the last call"
    advice = (
        "Run `sudo ztpd retry` to ask for others now; ztpd asks a day after that call. If they are "
        "lost again, look for errors of the disk in `dmesg`."
    )


class StoreUnsealable(StoreError):
    code = "store.unsealable"
    exit_status = 65
    summary = "the stored credentials are sealed to another machine"
    advice = (
        "Nothing to do after a copy or a reset: ztpd asks for new ones. Where each update of the "
        "system does it, set [ztp] seal_credentials = false."
    )


class SealingFailed(StoreError):
    code = "store.sealing"
    summary = "systemd does not seal or unseal the credentials"
    advice = (
        "See `journalctl -u 'systemd-creds@*'`. ztpd tries again, after two minutes every ten "
        "minutes; it then asks for other credentials too, where it has a ZTP token."
    )


class StoreVersion(StoreError):
    code = "store.version"
    retry = Retry.LOCAL  # reading a file again is cheap
    needs_person = True
    exit_status = 65
    summary = "the stored credentials come from a newer ztpd"
    advice = "Install that version again, or run `ztpd credentials forget`."


class SessionError(ZtpdError):
    """A session with a broker or caster could not start or has ended."""

    code = "session.failed"
    retry = Retry.SERVER
    exit_status = 75
    summary = "the correction service could not be used"
    advice = "Nothing to do if it passes."


class SessionClosed(SessionError):
    code = "session.closed"
    summary = "the correction service ended the session"
    advice = "Nothing to do; ztpd connects again."


class SessionEmpty(SessionClosed):
    code = "session.empty"
    summary = "the correction service ended the session before any corrections came"
    advice = (
        "The position may be outside the service's area, the base station may be off, or the plan "
        "may be used up."
    )


class ClosedEarly(SessionClosed):
    code = "mqtt.closed_early"
    summary = "the broker closed the connection while the session was being opened"
    advice = "Nothing to do if it passes."


class SessionUnreadable(SessionError):
    code = "session.unreadable"
    retry = Retry.REFUSED
    summary = "the correction service sends neither SPARTN nor RTCM 3"
    advice = "Check the mountpoint's format: ztpd takes SPARTN and RTCM 3, and no other."


class FormatExcluded(SessionError):
    code = "session.format_excluded"
    retry = Retry.REFUSED
    summary = "the correction service sends a format that the configuration excludes"
    advice = 'Set [corrections] format to "auto", or choose another mountpoint or profile.'


class SessionStale(SessionError):
    code = "session.stale"
    summary = "the session is open, but no corrections arrive"
    advice = "Nothing to do if it passes; else look at the service's status page and your plan."


class CorrectionsUnused(SessionError):
    code = "session.unused"
    summary = "the receiver does not use the corrections of this service"
    advice = (
        "Check the service: mountpoint, format, its distance and the age of its corrections. ztpd "
        "uses the next service meanwhile."
    )


class SessionEvicted(SessionError):
    code = "session.kicked"
    retry = Retry.EVICTED
    summary = "the service ends every session after a short time"
    advice = (
        "Find the other user of these credentials: a copied card, or a gateway with the same IMEI "
        "or board number (compare `ztpd imei` and `ztpd check`)."
    )


class SessionProtocol(SessionError):
    code = "session.protocol"
    summary = "the correction service violates the protocol"
    advice = "Check host and port; if they are right, report it with the journal lines around it."


class SessionCaptivePortal(SessionProtocol):
    code = "session.captive_portal"
    summary = "a captive portal, proxy or web server answered instead of the correction service"
    advice = (
        "Log in to the portal, or use an uplink without one; else check host and port: a web "
        "server may be there."
    )


class StreamCorrupt(SessionError):
    code = "session.corrupt"
    summary = "the stream of the correction service is damaged: its checksums are wrong"
    advice = (
        "Check mountpoint or topics: they must carry SPARTN or RTCM 3. If they do, "
        "report it to the service; ztpd connects again."
    )


class SessionRefused(SessionError):
    """The service refuses the credentials: new ones may help."""

    code = "session.refused"
    retry = Retry.REFUSED
    summary = "the correction service refuses the credentials"
    advice = (
        "Check in the portal that the Thing is active; ztpd asks for new credentials once a day."
    )


class MqttWithdrawn(SessionRefused):
    """The credentials offer MQTT, which u-blox withdrew; other credentials offer NTRIP."""

    code = "mqtt.withdrawn"
    summary = (
        "u-blox announced the end of PointPerfect over MQTT for 30 September 2026, "
        "and it cannot be reached"
    )
    advice = (
        "In the portal set the profile's client protocol to NTRIP, then run "
        "`ztpd provision --force`; ztpd itself asks for new credentials once a day."
    )


class MqttDenied(SessionRefused):
    """AWS IoT Core refuses so: it closes the connection in place of an answer."""

    code = "mqtt.denied"
    summary = "the broker closes the connection each time at the same point"
    advice = (
        "Check in the portal that the Thing is active, that its plan covers the region, and that "
        "[mqtt] client_id, host and topics, where set, are those of its policy."
    )


class TableInstead(SessionRefused):
    """Some casters answer a wrong password so, others a base station that is off."""

    code = "ntrip.table_instead"
    summary = "the caster answers with its table of mountpoints, and the one asked for is in it"
    advice = (
        "Check user name and password, which some casters refuse in this way; if they are right, "
        "the base station is off."
    )


class SessionNotActive(SessionError):
    """Refused soon after provisioning: activation is the likely reason."""

    code = "session.not_active"
    summary = "the correction service does not accept the new credentials yet"
    advice = (
        "Nothing to do if the profile has Auto Activate; else activate the Thing in the portal."
    )


class SubscriptionRefused(SessionError):
    code = "mqtt.subscription_refused"
    retry = Retry.REFUSED
    summary = "the broker refuses every topic"
    advice = "Check that the Thing's plan covers the region; see [mqtt] region and topics."


class LocalizedOnly(SubscriptionRefused):
    code = "mqtt.localized_only"
    summary = "the credentials offer localized MQTT topics only, which ztpd does not use"
    advice = (
        "The SPARTN mountpoint over NTRIP carries the same product: in the portal set the "
        "profile's client protocol to NTRIP, then run `ztpd provision --force`."
    )


class RegionUnknown(SessionError):
    code = "mqtt.region_unknown"
    retry = Retry.LOCAL
    summary = "the region is unknown, because the receiver has no position yet"
    advice = "Give the antenna a clear view of the sky, or set [mqtt] region."


class MountpointUnknown(SessionError):
    code = "ntrip.mountpoint"
    retry = Retry.REFUSED
    summary = "the caster does not have that mountpoint"
    advice = (
        "Check [ntrip] or [[backup]] mountpoint, or the profile's format: "
        "a SPARTN Thing cannot use an RTCM mountpoint."
    )


class MountpointNotServed(SessionError):
    code = "ntrip.not_served"
    summary = "the caster lists the mountpoint, but does not serve it at present"
    advice = "Nothing to do while the base station is off; ztpd connects again."


class AccountRefused(SessionError):
    code = "ntrip.account_refused"
    retry = Retry.REFUSED
    summary = "the caster refuses the configured user name and password"
    advice = (
        "Check [ntrip] or [[backup]] username and password_file, and with the operator that the "
        "account is paid, may use this mountpoint and is used nowhere else."
    )


class BrokerAccountRefused(SessionError):
    code = "mqtt.account_refused"
    retry = Retry.REFUSED
    summary = "the broker refuses the configured log-in"
    advice = (
        "Check [mqtt] username, password_file, client_id, cert_file and key_file against those of "
        "the broker's operator."
    )


class AuthenticationUnknown(SessionError):
    code = "ntrip.authentication"
    retry = Retry.REFUSED
    summary = "the caster asks for an authentication that ztpd does not have"
    advice = "Ask the caster's operator for Basic authentication over TLS: ztpd has no other."


class ClientCertificateWanted(SessionError):
    code = "ntrip.client_certificate"
    retry = Retry.REFUSED
    summary = "the caster asks for a client certificate"
    advice = "Use a port that takes user name and password: ztpd has no certificate for a caster."


class CasterForbidden(SessionError):
    code = "ntrip.forbidden"
    retry = Retry.REFUSED
    summary = "the caster refuses this client"
    advice = "Read the caster's reason; the address or the user may be banned for a while."


class CasterBusy(CasterForbidden):
    """A caster still counts a session that the network has cut; or the account is used twice."""

    code = "ntrip.busy"
    retry = Retry.SERVER
    summary = "the caster allows no further session at present"
    advice = (
        "Nothing to do if it passes: a caster counts a session that was cut for minutes. Else find "
        "the other user of the account, or ask the operator."
    )


class CasterRedirect(CasterForbidden):
    code = "ntrip.redirect"
    summary = "the caster sends its clients to another address, which ztpd does not follow"
    advice = (
        "If the address is right, set [ntrip] or [[backup]] host, port and mountpoint to it; a "
        "network that wants a log-in redirects, too."
    )


class GgaRequired(SessionError):
    code = "ntrip.gga_missing"
    retry = Retry.LOCAL
    summary = "the caster waits for a position, and the receiver has none"
    advice = "Give the antenna a clear view of the sky."


class NoTransport(SessionError):
    code = "relay.no_transport"
    retry = Retry.REFUSED
    summary = "the credentials offer no correction service that ztpd may use"
    advice = "Check the profile's client protocol in the portal, and [corrections] prefer."


class SerialError(ZtpdError):
    code = "serial.failed"
    retry = Retry.LOCAL
    exit_status = 69
    summary = "the serial port failed"
    advice = "Check cable and power; `dmesg` shows the kernel's messages."


class PortAbsent(SerialError):
    code = "serial.absent"
    summary = "the serial port is not there"
    advice = "Check power and cable; `ls -l /dev/serial/by-id` lists the ports that exist."


class PortBusy(SerialError):
    code = "serial.busy"
    summary = "the serial port is held by another program"
    advice = (
        "Make that program (gpsd, ModemManager, a getty) leave the port, "
        "or let it read [output] udp."
    )


class PortPermission(SerialError):
    code = "serial.permission"
    summary = "the user that runs ztpd lacks the permission to open the serial port"
    advice = "Put the user that runs ztpd into the port's group, then restart ztpd."


class PortHung(SerialError):
    code = "serial.hung"
    summary = "the serial port does not open in time"
    advice = "Power-cycle the device; some drivers hang after a firmware fault."


class PortLost(SerialError):
    code = "serial.lost"
    summary = "the serial port disappeared"
    advice = "Nothing to do if it comes back; else check cable and power."


class NotASerialPort(SerialError):
    code = "serial.wrong_device"
    summary = "the device is not a serial port"
    advice = "Check the port setting."


class OutputError(ZtpdError):
    code = "output.failed"
    retry = Retry.LOCAL
    summary = "the receiver's messages cannot be shared"
    advice = (
        "For udp let the firewall pass the loopback. For pty give a path where ztpd may make a "
        "link, such as /run/ztpd/gnss, and the unit its drop-in (docs/sharing.md)."
    )


class ReceiverError(ZtpdError):
    code = "gnss.failed"
    retry = Retry.LOCAL
    exit_status = 69
    summary = "the GNSS receiver cannot be used"
    advice = "See `ztpd status`."


class ReceiverAbsent(ReceiverError):
    code = "gnss.absent"
    summary = "no GNSS receiver was found"
    advice = (
        "Check its power and cable; `ls /dev/serial/by-id` lists those on USB. "
        "Behind a UART or a common USB adapter, name it in [receiver] port."
    )


class ReceiverAmbiguous(ReceiverError):
    code = "gnss.ambiguous"
    needs_person = True
    summary = "there are several GNSS receivers, and the configuration names none"
    advice = (
        "Set [receiver] port to the right one; "
        "equal receivers differ in their names below /dev/serial/by-path."
    )


class ReceiverSilent(ReceiverError):
    code = "gnss.silent"
    summary = "the receiver does not answer"
    advice = "Check [receiver] port and baudrate, and that UBX input is on for that port."


class ReceiverUnknown(ReceiverError):
    code = "gnss.unknown"
    summary = "the device on the port does not answer as a u-blox receiver"
    advice = (
        "Check [receiver] port. If it is one: check the wire to its RX, and that UBX input and "
        "output are on for its port."
    )


class ReceiverRefused(ReceiverError):
    code = "gnss.nak"
    retry = Retry.REFUSED
    summary = "the receiver refuses a setting it needs"
    advice = "Update the receiver's firmware: it lacks the setting named here."


class ReceiverNotSet(ReceiverRefused):
    code = "gnss.not_set"
    summary = "the receiver is not set for corrections, and ztpd cannot change that"
    advice = (
        "Switch it on there (`ztpd receiver show`) or in [receiver.keys], or end the "
        "configuration lock "
        "(CFG-SEC-CFG_LOCK) and set [receiver] configure = true."
    )


class ReceiverUnsuitable(ReceiverRefused):
    code = "gnss.unsuitable"
    summary = "this u-blox product cannot be used"
    advice = "Use a receiver with RTK, such as ZED-F9P, ZED-F9R or ZED-X20P."


class ReceiverDeaf(ReceiverError):
    code = "gnss.deaf"
    summary = "a u-blox receiver sends, and does not hear ztpd"
    advice = (
        "Check the wire to the receiver's RX, and that UBX input and output are on for its port "
        "(CFG-UART1INPROT-UBX and such)."
    )


class ReceiverUnconfigurable(ReceiverError):
    code = "gnss.unconfigurable"
    summary = "the receiver answers MON-VER, but no question about its settings"
    advice = (
        "Restart the receiver, update its firmware, raise [receiver] baudrate if the line is full. "
        "A program or bridge between must pass UBX-CFG on."
    )


class FormatUnsupported(ReceiverError):
    code = "gnss.no_spartn"
    retry = Retry.REFUSED
    summary = "the receiver cannot take the format of these corrections"
    advice = (
        "Update the firmware (ZED-F9P: HPG 1.30 or newer), or choose a profile with format RTCM."
    )


class ClockError(ZtpdError):
    code = "clock.unset"
    retry = Retry.LOCAL
    exit_status = 75
    summary = "the system clock is not set"
    advice = (
        "Set it from the receiver with `systemctl enable --now ztpd-settime`, "
        "or give the gateway NTP or a clock chip (`timedatectl`)."
    )
