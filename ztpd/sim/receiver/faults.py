"""Faults of a simulated receiver, its line and its surroundings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ztpd.wire.ubx import Antenna, Jamming, Spoofing


@dataclass(slots=True)
class Faults:
    """Each can be changed while the receiver runs.

    One class because the demo and the tests set a fault by its name.
    """

    # the line
    sends_nothing: bool = False  # its TX wire is cut
    hears_nothing: bool = False  # its RX wire is cut: bytes of the host are lost
    ignores_input: bool = False  # takes nothing from the line, as with a stuck flow control
    damaged_input: Callable[[bytes], bytes] = bytes  # the line changes the host's bytes to this
    deaf_at: set[int] = field(default_factory=set)  # speeds in baud its line is too bad for
    on_other_ports: int = 0  # bytes each of its other ports gets between two of our messages
    drops_failed: bool = False  # a frame whose check is wrong is lost whole, and all that is in it
    overruns: int = 0  # periods in which its port lost bytes, so far

    # answers
    lost_answers: int = 0  # so many of its next answers are lost
    answer_delay_s: float = 0.0
    refused: set[int] = field(default_factory=set)  # keys it does not know
    locked: bool = False  # configuration lock: VALGET answers, VALSET is refused
    answers_in_part: bool = False  # VALGET leaves keys out that it does not know
    answers_no_settings: bool = False  # MON-VER alone is answered, CFG messages are not
    keys_held: int = 2  # so many decryption keys it takes
    stuck: bool = False  # answers, but navigates no more

    # corrections
    ignores_corrections: bool = False  # takes them, and its position stays as it is
    sbas: bool = False  # has corrections of SBAS, which it uses where it has no others
    ignored_stations: set[int] = field(default_factory=set)  # whose RTCM it does not use
    late_s: float = 0.0  # the corrections are so old when they arrive
    radio_station: int | None = None  # a radio on UART2 brings this station's RTCM, which it uses
    other_protocol: int | None = None  # of RXM-COR: it uses corrections that the host did not send

    # antenna and sky
    no_sky: bool = False  # the antenna sees nothing: neither time nor position
    tunnel: bool = False  # no satellites; a receiver with sensors goes on by dead reckoning
    unsolved: bool = False  # too poor signals for a position, though it uses corrections
    never_fixed: bool = False  # stays RTK float
    antenna: Antenna = Antenna.OK
    jamming: Jamming = Jamming.NONE
    spoofing: Spoofing = Spoofing.NONE
    cno_dbhz: int = 44  # of the strongest satellites

    @property
    def uses_others(self) -> bool:
        return self.radio_station is not None or self.other_protocol is not None
