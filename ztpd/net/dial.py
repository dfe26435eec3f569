"""A TCP connection to the first address of a host that answers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ztpd.errors import FamilyUnreachable, HostFiltered, ResolveFailed
from ztpd.net.errormap import NO_ROUTE
from ztpd.net.resolve import Address, lead_nowhere
from ztpd.system.looptime import loop_time
from ztpd.system.tasks import end

CONNECT_S = 10.0

_HEAD_START_S = 0.25  # RFC 8305 section 5, "Connection Attempt Delay"
_LAST_FOR_S = 600.0
_MOST_FAILED = 64

_failed_s: dict[tuple[Any, ...], float] = {}  # by address and port: loop time of the failure


class Dialled(NamedTuple):
    """A connected, non-blocking socket, and the address that it is connected to."""

    sock: socket.socket
    address: Address


async def dial(addresses: Sequence[Address], *, within_s: float = CONNECT_S) -> Dialled:
    """A connection to the first address that answers.

    The addresses are tried in their order, each with a head start on the next: an address that
    is dead on this uplink costs a quarter of a second. One that failed in the last ten minutes
    goes last. Where none answers within ``within_s``, the failure of the address that got
    farthest is raised, as OSError; :class:`FamilyUnreachable` where the uplink has no route for
    this kind of address at all, :class:`ResolveFailed` where the only address is 0.0.0.0.
    """
    if lead_nowhere(addresses):  # the kernel would connect to this machine
        said = f"{addresses[0].place[0]} leads nowhere: a name server that hides a name answers so"
        raise ResolveFailed(said, advice=HostFiltered.advice)
    waiting = sorted(addresses, key=_has_failed)
    running: dict[asyncio.Task[socket.socket], Address] = {}
    failures: list[OSError] = []
    limit_s = loop_time() + within_s
    try:
        while waiting or running:
            if waiting:
                address = waiting.pop(0)
                running[asyncio.create_task(_connect(address))] = address
            left_s = limit_s - loop_time()
            done, _ = await asyncio.wait(
                running,
                timeout=min(_HEAD_START_S, left_s) if waiting else left_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            won: list[Dialled] = []
            for task in done:
                address, error = running.pop(task), task.exception()
                if error is None:
                    won.append(Dialled(task.result(), address))
                else:
                    avoid(address)
                    failures.append(_os_error(error))
            for late in won[1:]:
                late.sock.close()
            if won:
                return won[0]
            if loop_time() >= limit_s:
                for address in running.values():
                    avoid(address)
                failures.append(TimeoutError(f"no answer within {within_s:g} s"))
                break
    finally:
        await _abandon(running)
    _check_families(addresses, failures)
    raise farthest(failures)


@contextlib.contextmanager
def on_trial(address: Address) -> Iterator[None]:
    """Holds until the service has answered: after a failure or a time-out in this context
    ``address`` goes last for a while."""
    try:
        yield
    except BaseException:
        avoid(address)
        raise


def failures() -> list[list[Any]]:
    """The addresses that go last: host, port, and the time of the failure. All processes of a
    machine have one monotonic clock, so that another one can :func:`restore` them."""
    return [[*place, at_s] for place, at_s in _failed_s.items()]


def restore(failed: Sequence[Sequence[Any]]) -> None:
    """Take over the :func:`failures` of another process."""
    for host, port, at_s in failed:
        _note((host, port), at_s)


def avoid(address: Address) -> None:
    """Let ``address``, which answered and yet did not serve, go last for a while."""
    _note(address.place[:2], loop_time())


def _note(place: tuple[Any, ...], at_s: float) -> None:
    _failed_s[place] = max(at_s, _failed_s.get(place, at_s))
    if len(_failed_s) > _MOST_FAILED:
        del _failed_s[min(_failed_s, key=_failed_s.__getitem__)]


def _has_failed(address: Address) -> bool:
    failed_s = _failed_s.get(address.place[:2])
    return failed_s is not None and 0 <= loop_time() - failed_s < _LAST_FOR_S


def _os_error(error: BaseException) -> OSError:
    if isinstance(error, OSError):
        return error
    raise error


async def _abandon(running: dict[asyncio.Task[socket.socket], Address]) -> None:
    try:
        await end(*running)
    finally:
        for task in running:
            if task.done() and not task.cancelled() and task.exception() is None:
                task.result().close()


def farthest(failures: Sequence[OSError]) -> OSError:
    """The failure that explains most: an answer, silence, a failure of this machine, no route."""

    def reached(failure: OSError) -> int:
        if isinstance(failure, ConnectionError):
            return 3
        if isinstance(failure, TimeoutError):
            return 2
        return 0 if failure.errno in NO_ROUTE else 1

    return max(failures, key=reached)


def _check_families(addresses: Sequence[Address], failures: Sequence[OSError]) -> None:
    """Raise :class:`FamilyUnreachable` where the addresses are of the one kind, IPv4 or IPv6, and
    the default routes of the other."""
    if any(failure.errno not in NO_ROUTE for failure in failures):
        return
    from ztpd.net import routes  # where nothing can be reached

    have = {
        "IPv6" if ":" in route.network else "IPv4" for route in routes.read() if route.is_default
    }
    want = {"IPv6" if each.family is socket.AF_INET6 else "IPv4" for each in addresses}
    if have and not have & want:
        place = addresses[0].place[0]
        raise FamilyUnreachable(f"{place} is {want.pop()}, and this uplink has {have.pop()} only")


async def _connect(address: Address) -> socket.socket:
    host, *rest = address.place
    # A link-local address names its zone twice, in the text and by number. With the text asyncio
    # would resolve it once more, in a thread that stays.
    place = (host.partition("%")[0], *rest)
    # With its protocol named asyncio switches Nagle's delay off: a position is one small write.
    sock = socket.socket(address.family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, place)
    except BaseException:
        sock.close()
        raise
    return sock
