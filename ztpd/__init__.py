"""Zero-touch provisioned GNSS corrections for embedded Linux gateways."""

__version__ = "0.1.0"

RELEASED_UNIX_S = 1_795_392_000
"""2026-11-23: no clock that shows an earlier time is right."""
