"""The faults that the demonstration can inject, by name."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

from ztpd.demo.site import Fault, Site
from ztpd.sim.corrections import STATION
from ztpd.sim.proxy import BAD_LINES, Line
from ztpd.sim.receiver import D9S, F9P_OLD, F9R, F9T, M8P, X20P_HAS
from ztpd.sim.ztp_service import Answer, Cut
from ztpd.wire.ubx import Antenna, Jamming, Spoofing

_FOREIGN_STATION = 77
_WEAK_DBHZ = 35  # of the strongest satellites
_STRICT = 2  # CFG-RTCM-DF003_IN_FILTER
_ERROR_RATE = 0.2  # of the bytes on a disturbed line


def _line(line: Line) -> Callable[[Site], None]:
    return lambda site: setattr(site.proxy, "to_client", line)


def _ztp(*answers: Answer | Cut) -> Callable[[Site], None]:
    return lambda site: site.service.script.extend(answers)


def _until_named(event: str, **faults: object) -> Callable[[Site], None]:
    return lambda site: site.break_until_named(event, faults)


def _unsuitable(event: str) -> Callable[[Site], None]:
    """The receiver is exchanged for a suitable one when ztpd has published ``event``."""
    return lambda site: site.when_named(event, site.exchange_receiver)


def _noise(seed: int = 1) -> Callable[[bytes], bytes]:
    rng = random.Random(seed)
    return lambda data: bytes(byte ^ (rng.random() < _ERROR_RATE) << 3 for byte in data)


def _cut_input(site: Site) -> None:
    """Cut the wire of a receiver that sends positions."""
    site.receiver.set("CFG-MSGOUT-UBX_NAV_PVT_{}", 1, saved=True)
    site.break_until_named("gnss.deaf", {"hears_nothing": True})


def _filter_stations(site: Site) -> None:
    receiver = site.receiver
    receiver.set("CFG-RTCM-DF003_IN", _FOREIGN_STATION)
    receiver.set("CFG-RTCM-DF003_IN_FILTER", _STRICT)
    site.when_named(
        "gnss.not_used.station_filter", lambda: receiver.set("CFG-RTCM-DF003_IN_FILTER", 0)
    )


def _use_has(site: Site) -> None:
    receiver = site.receiver
    receiver.set("CFG-NAVCOR-ENABLE_HOST", 0)
    receiver.set("CFG-NAVCOR-ENABLE_GAL_HAS", 1)
    site.when_put_back(lambda: receiver.setting("CFG-NAVCOR-ENABLE_HOST") == 1)


def _set_time_mode(site: Site) -> None:
    receiver = site.receiver
    receiver.set("CFG-TMODE-MODE", 2)
    site.when_put_back(lambda: receiver.setting("CFG-TMODE-MODE") == 0)


RECEIVER_FAULTS: Mapping[str, Fault] = {
    "receiver-reset": Fault("the receiver restarts", late=lambda site: site.receiver.reset()),
    "receiver-unplugged": Fault(
        "the receiver's plug is pulled for three seconds", late=lambda site: site.unplug(3.0)
    ),
    "receiver-deaf": Fault(
        "the wire to the receiver's input is cut",
        _cut_input,
    ),
    "receiver-mute": Fault(
        "the wire from the receiver's output is cut",
        _until_named("gnss.silent", sends_nothing=True),
    ),
    "line-noise": Fault(
        "noise on the wire damages the corrections",
        late=_until_named("gnss.not_used.damaged", damaged_input=_noise()),
    ),
    "no-configuration": Fault(
        "the receiver answers MON-VER, and no question about its settings",
        _until_named("gnss.unconfigurable", answers_no_settings=True),
    ),
    "settings-locked": Fault(
        "the receiver refuses every change of its settings",
        _until_named("gnss.not_set", locked=True),
    ),
    "old-firmware": Fault(
        "a ZED-F9P with HPG 1.13 takes RTCM only, and reports its use in an older message",
        model=F9P_OLD,
        format="rtcm",
    ),
    "generation-8": Fault(
        "a NEO-M8P is connected, until ztpd names it",
        _unsuitable("gnss.unsuitable"),
        model=M8P,
    ),
    "l-band-receiver": Fault(
        "a NEO-D9S is connected, until ztpd names it",
        _unsuitable("gnss.unsuitable"),
        model=D9S,
    ),
    "timing-receiver": Fault(
        "a ZED-F9T, which has no RTK, is connected, until ztpd names it",
        _unsuitable("gnss.fix_without_rtk"),
        model=F9T,
        format="rtcm",
    ),
    "other-source": Fault(
        "the receiver ignores the corrections: a radio brings those of another station",
        _until_named("gnss.not_used.other_source", radio_station=_FOREIGN_STATION),
    ),
    "same-station": Fault(
        "a radio brings the receiver corrections of the same station",
        _until_named("gnss.not_used.other_source", radio_station=STATION.station_id),
        format="rtcm",
    ),
    "station-filter": Fault(
        "the receiver takes corrections of another station only",
        _filter_stations,
        format="rtcm",
    ),
    "ignored": Fault(
        "the receiver ignores the first service's station, until a backup has taken over (14 min)",
        lambda site: site.ignore_station(STATION.station_id),
        backup=True,
        format="rtcm",
        within_s=1200.0,
    ),
    "galileo-has": Fault(
        "another program makes the receiver use Galileo HAS",
        late=_use_has,
        model=X20P_HAS,
    ),
    "time-mode": Fault(
        "another program makes the receiver a base station",
        late=_set_time_mode,
    ),
    "no-antenna": Fault(
        "no antenna is connected",
        _until_named("gnss.reception.antenna_open", antenna=Antenna.OPEN, no_sky=True),
    ),
    "antenna-short": Fault(
        "the antenna's cable has a short circuit",
        _until_named("gnss.reception.antenna_short", antenna=Antenna.SHORT, never_fixed=True),
    ),
    "weak-signal": Fault(
        "the antenna receives the satellites weakly",
        _until_named("gnss.reception.weak", cno_dbhz=_WEAK_DBHZ, never_fixed=True),
        within_s=240.0,
    ),
    "jammed": Fault(
        "a transmitter nearby disturbs the satellites' signals",
        _until_named("gnss.reception.jammed", jamming=Jamming.CRITICAL, no_sky=True),
    ),
    "spoofed": Fault(
        "the receiver gets false satellite signals",
        _until_named("gnss.reception.spoofed", spoofing=Spoofing.AFFIRMED, never_fixed=True),
    ),
    "tunnel": Fault(
        "a vehicle drives through a tunnel for ten seconds",
        late=lambda site: site.drive_through_tunnel(10.0),
        model=F9R,
    ),
}
"""Of the receiver, its line and its surroundings; the transport makes no difference to them."""

FAULTS: Mapping[str, Fault] = {
    "busy-service": Fault(
        "the provisioning service is overloaded at first", _ztp(Answer(503, "Service Unavailable"))
    ),
    "lost-answer": Fault("the connection is cut in the service's answer", _ztp(Cut(200))),
    "wrong-token": Fault(
        "the gateway has a ZTP token that the service does not know",
        lambda site: site.give_wrong_token(),
    ),
    "allowlist": Fault(
        "the modem's IMEI is not on the allowlist of the device profile",
        lambda site: site.leave_off_the_allowlist(),
    ),
    "not-active": Fault("the Thing is activated only after a while", lambda site: site.activate()),
    **RECEIVER_FAULTS,
    "silent-caster": Fault(
        "the broker or caster accepts the session and sends nothing",
        lambda site: site.silence_source(),
    ),
    "source-restart": Fault(
        "the broker or caster is restarted", late=lambda site: site.restart_source(), breaks=True
    ),
    "outage": Fault(
        "the broker or caster cannot be reached for three seconds",
        late=lambda site: site.outage(3.0),
        breaks=True,
    ),
    "cut": Fault(
        "the connection is closed on the way", late=lambda site: site.proxy.cut(), breaks=True
    ),
    "reset": Fault(
        "the connection is reset on the way", late=lambda site: site.proxy.reset(), breaks=True
    ),
    "half-open": Fault(
        "the connection breaks, and neither end is notified",
        late=lambda site: site.proxy.half_open(),
        breaks=True,
    ),
    **{name: Fault(about, _line(line)) for name, (about, line) in BAD_LINES.items()},
}
