"""A simulated u-blox receiver."""

from ztpd.sim.receiver.device import SimReceiver
from ztpd.sim.receiver.faults import Faults
from ztpd.sim.receiver.models import (
    D9S,
    F9P,
    F9P_NEW,
    F9P_OLD,
    F9R,
    F9T,
    M8P,
    M9N,
    X20P,
    X20P_HAS,
    Model,
)

__all__ = [
    "D9S",
    "F9P",
    "F9P_NEW",
    "F9P_OLD",
    "F9R",
    "F9T",
    "M8P",
    "M9N",
    "X20P",
    "X20P_HAS",
    "Faults",
    "Model",
    "SimReceiver",
]
