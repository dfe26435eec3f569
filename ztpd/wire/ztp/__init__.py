"""The zero-touch provisioning call of PointPerfect Flex and Live: bytes to values, and back.

The request is documented by u-blox ("Implementing Zero Touch Provisioning"); the answers are not,
so what is read here is what several public clients agree on, and it is read tolerantly: numbers
may be texts, unknown fields are kept and not looked at, and one usable way to corrections is
enough. Nothing the service says becomes a path, and no text of it reaches a log unscrubbed.
"""

from ztpd.wire.ztp.answer import BODY_LIMIT, Service, parse_answer
from ztpd.wire.ztp.hosts import check_hosts
from ztpd.wire.ztp.refusal import RETRY_AFTER_LIMIT_S, refusal
from ztpd.wire.ztp.request import GIVEN_NAME_LIMIT, PATHS, check_token, request_body

__all__ = [
    "BODY_LIMIT",
    "GIVEN_NAME_LIMIT",
    "PATHS",
    "RETRY_AFTER_LIMIT_S",
    "Service",
    "check_hosts",
    "check_token",
    "parse_answer",
    "refusal",
    "request_body",
]
