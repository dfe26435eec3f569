"""Figures that ztpd promises, measured on the real daemon against simulators: `make bench`."""
