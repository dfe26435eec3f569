"""The verbs. Each imports its module when it runs, so that no verb pays for another."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def check(options: argparse.Namespace) -> int:
    from ztpd.cli import check

    return check.check(options)


def check_image(options: argparse.Namespace) -> int:
    from ztpd.cli import image

    return image.check(options)


def check_config(options: argparse.Namespace) -> int:
    from ztpd.cli import config

    return config.check(options)


def demo(options: argparse.Namespace) -> int:
    from ztpd.errors import DemoIncomplete

    try:
        from ztpd.demo import run

        return run(options)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("ztpd"):
            raise
        raise DemoIncomplete(error.name) from error


def example_config(options: argparse.Namespace) -> int:
    from ztpd.cli import config

    return config.example(options)


def forget_credentials(options: argparse.Namespace) -> int:
    from ztpd.cli import credentials

    return credentials.forget(options)


def imei(options: argparse.Namespace) -> int:
    from ztpd.cli import provision

    return provision.imei(options)


def metrics(options: argparse.Namespace) -> int:
    from ztpd.cli import metrics

    return metrics.metrics(options)


def monitor_receiver(options: argparse.Namespace) -> int:
    from ztpd.cli import receiver

    return receiver.monitor(options)


def pause(options: argparse.Namespace) -> int:
    from ztpd.cli import pause

    return pause.pause(options)


def provision(options: argparse.Namespace) -> int:
    from ztpd.cli import provision

    return provision.provision(options)


def record(options: argparse.Namespace) -> int:
    from ztpd.cli import record

    return record.record(options)


def report(options: argparse.Namespace) -> int:
    from ztpd.cli import report

    return report.report(options)


def resume(options: argparse.Namespace) -> int:
    from ztpd.cli import pause

    return pause.resume(options)


def retry(options: argparse.Namespace) -> int:
    from ztpd.cli import pause

    return pause.retry(options)


def run(options: argparse.Namespace) -> int:
    return run_daemon(options.config)


def run_daemon(config: Path) -> int:
    """``ztpd run`` with that configuration file."""
    gc.disable()  # modules stay: to look for garbage among them takes 6 ms
    from ztpd.cli import run

    gc.freeze()  # nor is there any later
    # A session leaves 0.3 MB in cycles. By Python's own thresholds they would stay for hours.
    gc.set_threshold(200, 5, 1)
    gc.enable()
    return run.run(config)


def set_token(options: argparse.Namespace) -> int:
    from ztpd.cli import token

    return token.store(options)


def show_config(options: argparse.Namespace) -> int:
    from ztpd.cli import config

    return config.show(options)


def show_credentials(options: argparse.Namespace) -> int:
    from ztpd.cli import credentials

    return credentials.show(options)


def show_receiver(options: argparse.Namespace) -> int:
    from ztpd.cli import receiver

    return receiver.show(options)


def status(options: argparse.Namespace) -> int:
    from ztpd.cli import status

    return status.status(options)


def take_in(options: argparse.Namespace) -> int:
    from ztpd.cli import credentials

    return credentials.take_in(options)
