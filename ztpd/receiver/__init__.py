"""The GNSS receiver: found, set up, fed with corrections, and watched whether it uses them."""

from ztpd.receiver.receiver import Receiver
from ztpd.receiver.values import ReceiverSettings, ReceiverView

__all__ = ["Receiver", "ReceiverSettings", "ReceiverView"]
