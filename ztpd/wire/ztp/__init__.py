"""The zero-touch provisioning call of PointPerfect Flex and Live: bytes to values, and back.

u-blox documents the request ("Implementing Zero Touch Provisioning"), not the answers. The parser
follows several public clients, and is tolerant: numbers may be texts, unknown fields are stored and
ignored, and one usable transport of corrections is enough. No text of the service becomes a path,
and none reaches a log before it is sanitised.
"""

from ztpd.wire.ztp.answer import BODY_LIMIT, Service, holds_credentials, parse_answer
from ztpd.wire.ztp.hosts import check_hosts, must_be_public
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
    "holds_credentials",
    "must_be_public",
    "parse_answer",
    "refusal",
    "request_body",
]
