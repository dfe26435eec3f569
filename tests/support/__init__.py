"""Code that tests share: a whole gateway, benches for single rooms, virtual time."""

from pathlib import Path

TOP = Path(__file__).parents[2]
"""The project's root."""

ANSWERS = TOP / "tests/data/ztp"
"""Answers of the provisioning service."""
