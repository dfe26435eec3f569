"""The GNSS receiver: found, set up, fed with corrections, and watched whether it uses them."""

from ztpd.receiver.inspection import inspect
from ztpd.receiver.receiver import Receiver
from ztpd.receiver.settings import Inspection, ReceiverSettings

__all__ = ["Inspection", "Receiver", "ReceiverSettings", "inspect"]
