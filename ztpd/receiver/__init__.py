"""The GNSS receiver: found, set up, fed with corrections, and watched whether it uses them."""

from ztpd.receiver.look import look
from ztpd.receiver.receiver import Receiver
from ztpd.receiver.values import Inspection, ReceiverSettings, ReceiverView

__all__ = ["Inspection", "Receiver", "ReceiverSettings", "ReceiverView", "look"]
