"""A simulated u-blox receiver."""

from ztpd.sim.receiver.device import Faults, SimReceiver
from ztpd.sim.receiver.models import F9P, F9P_NEW, F9P_OLD, F9R, X20P, Model

__all__ = ["F9P", "F9P_NEW", "F9P_OLD", "F9R", "X20P", "Faults", "Model", "SimReceiver"]
