"""A fleet that asks one server at the same time, with the waits of ztpd itself.

Each gateway is a :class:`ztpd.retry.Backoff`, time is simulated. The server can serve a number of
calls each second; a refusal costs it a tenth of that (the TLS handshake), so too many refusals
leave no time to serve, and calls for which it has no time at all are not answered within 30 s.
"""

from __future__ import annotations

import random
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ztpd.errors import ConnectRefused, ConnectTimeout, ZtpdError, ZtpThrottled
from ztpd.retry import SESSION, ZTP, Backoff, Policy

GATEWAYS = 100_000
_REFUSAL_COST = 0.1
_TIME_OUT_S = 30.0
_PART = 0.99


@dataclass(frozen=True, slots=True)
class Server:
    """Serves nobody before ``up_at_s``. With ``retry_after_s`` each refusal asks for that wait,
    also while it is down, as a load balancer does; without, a server that is down refuses TCP."""

    calls_per_s: int
    up_at_s: float = 0.0
    retry_after_s: float | None = None

    def places(self, calls: int) -> tuple[int, int]:
        """How many of a second's ``calls`` are served, and how many are served or refused."""
        answered = min(calls, int(self.calls_per_s / _REFUSAL_COST))
        spare = self.calls_per_s - answered * _REFUSAL_COST
        return min(answered, int(spare / (1 - _REFUSAL_COST) + 1e-9)), answered

    def refusal(self) -> ZtpdError:
        return ZtpThrottled(retry_after_s=self.retry_after_s)

    def absence(self) -> ZtpdError:
        return self.refusal() if self.retry_after_s else ConnectRefused()


@dataclass(frozen=True, slots=True)
class Result:
    ideal_s: float
    """Until 99 % are served by a server that is never idle, and no call comes before the wait that
    it has asked for."""

    served_s: float
    """Until 99 % were served; both from the moment in which server and fleet have power."""

    peak_per_s: int
    """Most calls in a second, once the server is up."""

    calls: float
    """Per gateway, the mean."""

    most_calls: int

    @property
    def times_ideal(self) -> float:
        return self.served_s / self.ideal_s


def play(
    server: Server,
    starts_s: Sequence[float],
    policy: Policy,
    rng: random.Random,
    fast: bool = False,
) -> Result:
    """Play until all are served. Gateway n makes its first call ``starts_s[n]`` after power-up.

    ``fast``: all had a stable session, after which the first tries come at once.
    """
    waits = [Backoff(policy, rng) for _ in starts_s]
    if fast:
        for wait in waits:
            wait.reset_fast()
    due: defaultdict[int, list[int]] = defaultdict(list)
    for gateway, at_s in enumerate(starts_s):
        due[int(at_s)].append(gateway)
    calls = array("H", bytes(2 * len(waits)))
    needed, served, served_s, peak, second = int(_PART * len(waits)), 0, 0.0, 0, 0
    while due:
        asking = due.pop(second, [])
        rng.shuffle(asking)
        is_up = second >= server.up_at_s
        places, answered = server.places(len(asking)) if is_up else (0, len(asking))
        peak = max(peak, len(asking) if is_up else 0)
        for place, gateway in enumerate(asking):
            calls[gateway] += 1
            if place < places:
                served += 1
                served_s = second - server.up_at_s if served == needed else served_s
                continue
            if not is_up:
                failure, spent_s = server.absence(), 0.0
            elif place < answered:
                failure, spent_s = server.refusal(), 0.0
            else:
                failure, spent_s = ConnectTimeout(), _TIME_OUT_S
            wait_s = spent_s + waits[gateway].wait_s(failure)
            due[second + max(1, round(wait_s))].append(gateway)
        second += 1
    capacity_s = _PART * len(waits) / server.calls_per_s
    ideal_s = max(capacity_s, _PART * max(starts_s), server.retry_after_s or 0)
    return Result(ideal_s, served_s, peak, sum(calls) / len(calls), max(calls))


def _booted_s(rng: random.Random) -> float:
    """From power to the network: the boot, and the modem's registration."""
    return max(1.0, rng.gauss(25, 4)) + rng.lognormvariate(2.5, 0.5)


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    server: Server
    policy: Policy
    start_s: Callable[[random.Random], float]
    fast: bool = False


CASES = (
    Case(
        "first boot of all at once, `splay_s = 60` (default); the service takes 50/s",
        Server(50),
        ZTP,
        lambda rng: _booted_s(rng) + rng.uniform(0, 60),
    ),
    Case(
        "the same with `splay_s = 2200`",
        Server(50),
        ZTP,
        lambda rng: _booted_s(rng) + rng.uniform(0, 2200),
    ),
    Case(
        "first boot, the service comes 30 minutes later and takes 50/s",
        Server(50, up_at_s=1800),
        ZTP,
        lambda rng: _booted_s(rng) + rng.uniform(0, 60),
    ),
    Case(
        "power returns to a provisioned fleet; the caster takes 500/s",
        Server(500),
        SESSION,
        _booted_s,
    ),
    Case(
        "the caster is away for 30 minutes, then takes 500/s",
        Server(500, up_at_s=1800),
        SESSION,
        lambda rng: rng.uniform(0, 1.5),
        fast=True,
    ),
)


def results(fleet: int = GATEWAYS, seed: int = 1) -> Iterator[tuple[Case, float | None, Result]]:
    """Each case without and with a Retry-After, seconds."""
    for case in CASES:
        for retry_after_s in (None, 600.0):
            rng = random.Random(seed)
            starts_s = [case.start_s(rng) for _ in range(fleet)]
            asked = Server(case.server.calls_per_s, case.server.up_at_s, retry_after_s)
            yield case, retry_after_s, play(asked, starts_s, case.policy, rng, case.fast)


HEAD = """\
| situation | Retry-After | ideal | 99 % served after | times ideal | calls/s, at most | calls of \
a gateway: mean, most |
| --- | --- | --- | --- | --- | --- | --- |
"""


def table(fleet: int = GATEWAYS) -> str:
    """The results as the table of docs/fleet.md."""
    lines = [
        f"| {case.name} | {f'{asked:.0f} s' if asked else 'none'} | {found.ideal_s:.0f} s | "
        f"{found.served_s:.0f} s | {found.times_ideal:.1f} | {found.peak_per_s} | "
        f"{found.calls:.1f}, {found.most_calls} |\n"
        for case, asked, found in results(fleet)
    ]
    return HEAD + "".join(lines)


def main() -> None:
    print(table(), end="")


if __name__ == "__main__":
    main()
