"""Debian's real Prometheus and node exporter: the series of a real daemon, read back by the queries
of the dashboard and by the rules of the package."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import virtualtime
from tests.support.dashboard import FOLDER, queries
from tests.support.gateway import Gateway
from tests.support.prometheus import PROMTOOL
from tests.support.until import until
from tools import samples
from ztpd import metrics, status
from ztpd.metrics import DOWN, Totals
from ztpd.sim import corrections
from ztpd.sim.caster import Caster
from ztpd.system.offload import offload

PROMETHEUS, EXPORTER = shutil.which("prometheus"), shutil.which("prometheus-node-exporter")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not (PROMETHEUS and EXPORTER and PROMTOOL),
        reason="prometheus or prometheus-node-exporter is not installed",
    ),
]

STEP_S = 15
MINUTES = 28
UNPLUGGED_MINUTES = 7  # the last ones, more than the time for which old samples count
DAY_S = 86_400


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Prometheus:
    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: object) -> Any:
        url = f"{self._url}/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=30) as answer:
                document = json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise OSError(f"{error}: {error.read()!r}") from None
        assert document["status"] == "success", document
        return document["data"]

    def value(self, query: str, at_s: float) -> dict[str, float]:
        """The results of ``query``, by gateway."""
        found = self.get("query", query=query, time=at_s)["result"]
        return {each["metric"].get("instance", ""): float(each["value"][1]) for each in found}

    def labels(self, query: str, label: str, at_s: float) -> dict[str, str]:
        found = self.get("query", query=query, time=at_s)["result"]
        return {each["metric"]["instance"]: each["metric"][label] for each in found}


@contextlib.asynccontextmanager
async def running(*command: str | Path, port: int) -> AsyncIterator[None]:
    """A program, from its first answer on ``port`` to its end."""
    process = await asyncio.create_subprocess_exec(
        *map(str, command), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                    writer.close()
                    await writer.wait_closed()
                    break
                assert process.returncode is None, command
                await asyncio.sleep(0.1)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()


@contextlib.asynccontextmanager
async def prometheus(top: Path, config: str) -> AsyncIterator[Prometheus]:
    port = free_port()
    (top / "prometheus.yml").write_text(config)
    async with running(
        PROMETHEUS or "",
        f"--config.file={top}/prometheus.yml",
        f"--storage.tsdb.path={top}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--storage.tsdb.retention.time=10y",
        port=port,
    ):
        found = Prometheus(port)
        await asked(lambda: found.get("query", query="1"))
        yield found


async def asked(question: Callable[[], Any], *, within_s: float = 60) -> Any:
    """The answer of a program that may still be starting; an answer that is empty is none."""
    deadline_s = time.monotonic() + within_s
    while True:
        try:
            if found := await offload(question):
                return found
            problem = "no answer"
        except (OSError, KeyError, IndexError) as error:
            problem = repr(error)
        assert time.monotonic() < deadline_s, problem
        await asyncio.sleep(0.2)


async def stream() -> AsyncIterator[bytes]:
    pieces = corrections.coalesce(corrections.rtcm(random.Random(1)))
    async for piece in corrections.paced(pieces):
        yield piece.data


async def recorded(top: Path) -> list[str]:
    """The metrics of a gateway, every 15 s; its receiver is unplugged at the end."""
    gateway, found = Gateway(top), []
    file = gateway.runtime_dir / metrics.FILE

    async def record(minutes: float) -> None:
        for _ in range(round(minutes * 60 / STEP_S)):
            await asyncio.sleep(STEP_S)
            found.append(file.read_text())

    async with Caster({"NEAR": stream}) as caster, gateway.receiver():
        ntrip = {"host": "127.0.0.1", "port": caster.port, "mountpoint": "NEAR", "tls": False}
        gateway.configure(ntrip=ntrip)
        async with gateway.running():
            await until(lambda: status.read(gateway.runtime_dir).receiver.fix == "RTK fixed", 120)
            await record(MINUTES - UNPLUGGED_MINUTES)
            gateway.gnss.unplug()
            await record(UNPLUGGED_MINUTES)
    return found


def timed(text: str, instance: str, at_s: float) -> list[str]:
    """The samples of ``text`` as the node exporter of ``instance`` gives them, with a time."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            name, brace, rest = series.partition("{")
            labels = f'job="node",instance="{instance}"' + ("," + rest if brace else "}")
            lines.append(f"{name}{{{labels} {value} {at_s:.3f}")
    return lines


@pytest.fixture
def troubled(tmp_path: Path) -> list[str]:
    return virtualtime.run(recorded(tmp_path))


async def test_the_dashboard_and_the_rules_show_the_trouble_of_a_fleet(
    tmp_path: Path, troubled: list[str]
) -> None:
    ended_s = int(time.time()) // 60 * 60 - 3600
    well = Totals(
        started_unix_s=ended_s - DAY_S,
        expires_unix_s=ended_s + 2 * DAY_S,
        sessions={"ntrip": 1},
        session_s={"ntrip": 0.0},
        bytes={"ntrip": 0},
    )
    lines = []
    for step, text in enumerate(troubled):
        at_s = ended_s - (len(troubled) - 1 - step) * STEP_S
        totals = well._replace(fix_s={"RTK fixed": float(step * STEP_S)})
        lines += timed(text, "troubled", at_s)
        lines += timed(metrics.text(samples.HEALTHY, totals), "well", at_s)
        lines += timed(DOWN, "stopped", at_s)
    (tmp_path / "history").write_text("\n".join([*lines, "# EOF", ""]))
    made = [PROMTOOL or "", "tsdb", "create-blocks-from", "openmetrics"]
    await offload(
        lambda: subprocess.run(
            [*made, tmp_path / "history", tmp_path / "data"], check=True, capture_output=True
        )
    )
    rules = f"rule_files: [{FOLDER}/ztpd.rules.yml]\n"
    async with prometheus(tmp_path, rules) as server:
        await offload(lambda: _check_fleet(server, ended_s))
        await offload(lambda: _check_panels(server, ended_s))
        loaded = await offload(lambda: server.get("rules"))
        assert [group["name"] for group in loaded["groups"]] == ["ztpd"]


def _check_fleet(server: Prometheus, at_s: float) -> None:
    columns = {
        each.name: each.text
        for each in queries(job=".*", instance="troubled")
        if each.panel == "Gateways, those with trouble first"
    }
    trouble = server.value(columns["A"], at_s)
    assert trouble["stopped"] == 6
    assert 2 <= trouble["troubled"] <= 5
    assert trouble["well"] == 0
    verdicts = server.labels(columns["B"], "health", at_s)
    assert verdicts["well"] == "healthy"
    assert verdicts["troubled"] != "healthy"
    assert set(server.labels(columns["C"], "event", at_s)) == {"troubled"}
    assert server.labels(columns["C"], "event", at_s)["troubled"].startswith("serial.")
    for_s = server.value(columns["D"], at_s)
    assert for_s["troubled"] == pytest.approx(UNPLUGGED_MINUTES * 60, abs=90)
    assert for_s["well"] <= 60
    assert server.value(columns["E"], at_s) == {"well": 4}
    share = server.value(columns["F"], at_s)
    assert share["well"] == 1
    assert share["troubled"] == pytest.approx(1 - UNPLUGGED_MINUTES / MINUTES, abs=0.05)
    assert server.value(columns["E"], at_s - 600)["troubled"] == 4


def _check_panels(server: Prometheus, at_s: float) -> None:
    empty = set()
    for instance in ("troubled", "well"):
        for each in queries(job=".*", instance=instance):
            span = {"start": at_s - MINUTES * 60, "end": at_s, "step": STEP_S}
            found = server.get("query_range", query=each.text, **span)["result"]
            if not found:
                empty.add((instance, each.panel, each.name))
    shown = {(panel, name) for instance, panel, name in empty if instance == "troubled"} & {
        (panel, name) for instance, panel, name in empty if instance == "well"
    }
    assert shown == {("Verdict", "B")}, "neither of the two is stopped"
    assert server.get("query", query='(ztpd_up{instance="stopped"} == 0) + 1', time=at_s)["result"]


async def test_the_node_exporter_gives_the_series_by_the_link_of_the_manual(tmp_path: Path) -> None:
    textfiles, run = tmp_path / "node-exporter", tmp_path / "run"
    textfiles.mkdir()
    run.mkdir()
    (textfiles / "ztpd.prom").symlink_to(run / "metrics.prom")

    def write(text: str) -> None:
        (run / ".new").write_text(text)
        (run / ".new").rename(run / "metrics.prom")

    write(DOWN)
    port = free_port()
    config = f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
scrape_configs:
  - job_name: node
    static_configs: [{{targets: ['127.0.0.1:{port}']}}]
"""
    exporter = running(
        EXPORTER or "",
        "--collector.disable-defaults",
        "--collector.textfile",
        "--collector.time",
        f"--collector.textfile.directory={textfiles}",
        f"--web.listen-address=127.0.0.1:{port}",
        port=port,
    )
    stale = _rule("ZtpdStale")
    async with exporter, prometheus(tmp_path, config) as server:
        gateway = f"127.0.0.1:{port}"

        async def shows(query: str, value: float) -> None:
            await asked(lambda: server.value(query, time.time()).get(gateway) == value)

        await shows("ztpd_up", 0)
        await shows("node_textfile_scrape_error", 0)
        write(metrics.text(samples.HEALTHY, Totals()))
        await shows("ztpd_up", 1)
        await shows('ztpd_health{health="healthy"}', 1)
        await shows("node_textfile_scrape_error", 0)
        assert server.value(stale, time.time()) == {}
        old_s = time.time() - 300
        os.utime(run / "metrics.prom", (old_s, old_s))
        await shows(stale, 1)
        write(DOWN)
        await shows("ztpd_up", 0)
        await asked(lambda: not server.value("ztpd_satellites", time.time()))


def _rule(name: str) -> str:
    """The expression of an alert of the package, as promtool shows it."""
    text = (FOLDER / "ztpd.rules.yml").read_text()
    after = text.partition(f"- alert: {name}\n")[2]
    lines = after.partition("for:")[0].split("\n")[1:]
    return " ".join(line.strip() for line in lines)
