"""Zero-touch provisioned GNSS corrections for embedded Linux gateways."""

__version__ = "0.1.0"
