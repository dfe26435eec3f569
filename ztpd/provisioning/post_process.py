"""The POST of a provisioning call, in a process of its own.

A gateway makes this call once and then runs for years. aiohttp and the system's trust store, which
no session may need again, end with that process. Request and answer are one JSON object each, on
its standard input and output: no secret is in a command line or in the environment.
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import Any

from ztpd import log
from ztpd.errors import ConnectTimeout, ZtpdError
from ztpd.net import dial
from ztpd.net.resolve import RESOLVE_S
from ztpd.provisioning.reply import Reply

_START_S = 30.0  # for the interpreter and its imports on a slow board

_FOLDER = Path(__file__).parents[2]  # of the package
# The folder comes last: no file in it replaces a module of the standard library.
_PROGRAM = (
    f"import sys; sys.path.append({str(_FOLDER)!r}); "
    "from ztpd.provisioning.post_process import main; main()"
)


async def post(url: str, body: bytes, *, timeout_s: float, ca_file: str = "") -> Reply:
    """As :func:`ztpd.provisioning.http.post`, and with its errors.

    Raises :class:`ZtpdError` where the process ends without an answer. Where none can be started,
    this process makes the call.
    """
    request = {
        "url": url,
        "body": base64.b64encode(body).decode(),
        "timeout_s": timeout_s,
        "ca_file": ca_file,
        "failures": dial.failures(),
    }
    isolation = "-I" if sys.flags.isolated else "-P"
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            isolation,
            "-c",
            _PROGRAM,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
    except OSError:  # no right or no memory to start one: credentials matter more
        from ztpd.provisioning import http

        return await http.post(url, body, timeout_s=timeout_s, ca_file=ca_file)
    try:
        async with asyncio.timeout(_START_S + RESOLVE_S + timeout_s):
            output, _ = await process.communicate(json.dumps(request).encode())
    except TimeoutError as error:
        raise ConnectTimeout(f"{url}, the call does not end") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        raise ZtpdError(f"the process of the call ended with status {process.returncode}")
    return _reply(json.loads(output))


def _reply(answer: dict[str, Any]) -> Reply:
    """The reply in ``answer``; raises the error in it."""
    dial.restore(answer["failures"])
    if code := answer.get("error"):
        error = ZtpdError.named(code, answer["detail"]) or ZtpdError(answer["detail"])
        error.retry_after_s, error.delivered = answer["retry_after_s"], answer["delivered"]
        error.own_advice = answer["advice"]
        error.advice = error.own_advice or error.advice
        raise error
    return Reply(answer["status"], answer["headers"], base64.b64decode(answer["body"]))


def main() -> None:
    """The process: one request, one answer. An unexpected exception is logged, with status 70."""
    request = json.load(sys.stdin)
    log.setup("warning")
    try:
        answer = asyncio.run(_answer(request))
    except Exception as error:  # noqa: BLE001 - a traceback on standard error would not be masked
        log.crash("provisioning call", error)
        sys.exit(ZtpdError.exit_status)
    json.dump(answer, sys.stdout)


async def _answer(request: dict[str, Any]) -> dict[str, Any]:
    from ztpd.provisioning import http

    dial.restore(request["failures"])
    body = base64.b64decode(request["body"])
    answer: dict[str, Any]
    try:
        reply = await http.post(
            request["url"], body, timeout_s=request["timeout_s"], ca_file=request["ca_file"]
        )
        answer = {
            "status": reply.status,
            "headers": dict(reply.headers),
            "body": base64.b64encode(reply.body).decode(),
        }
    except ZtpdError as error:
        answer = {
            "error": error.code,
            "detail": error.detail,
            "advice": error.own_advice,
            "retry_after_s": error.retry_after_s,
            "delivered": error.delivered,
        }
    return answer | {"failures": dial.failures()}
