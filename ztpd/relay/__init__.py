"""From a correction service to the receiver: which source, when again, and is it fresh."""

from ztpd.relay.relay import Progress, Relay, Sink

__all__ = ["Progress", "Relay", "Sink"]
