"""Programs of Debian that watch gateways, beside the package: Prometheus with its node exporter,
a collector of journals."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

from tests.packaging.boot import bench
from tests.packaging.boot.container import Container
from tests.support import TOP
from ztpd import events
from ztpd.metrics import FAMILIES

Layers = tuple[Path, ...]

PROMETHEUS = """\
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [ztpd.rules.yml]
scrape_configs:
  - job_name: node
    static_configs: [{targets: ['localhost:9100']}]
"""

QUERY = """\
import json, urllib.parse, urllib.request
url = "http://127.0.0.1:9090/api/v1/query?" + urllib.parse.urlencode({{"query": {query!r}}})
found = json.load(urllib.request.urlopen(url, timeout=10))["data"]["result"]
print(json.dumps([[each["metric"], float(each["value"][1])] for each in found]))
"""

BROKEN = "node_textfile_scrape_error"
EVER = "[1h]"


def answer(machine: Container, query: str) -> list[tuple[dict[str, str], float]]:
    """The series of an instant query, each with its value; none while Prometheus starts."""
    done = machine.ask("python3 -", input=QUERY.format(query=query))
    return (
        [(labels, value) for labels, value in json.loads(done.stdout)]
        if not done.returncode
        else []
    )


def shows(machine: Container, query: str, *expected: float, within_s: float = 30) -> None:
    """Wait until ``query`` has these values, in any order."""
    deadline = time.monotonic() + within_s
    while (found := sorted(value for _, value in answer(machine, query))) != sorted(expected):
        assert time.monotonic() < deadline, (query, found, expected)
        time.sleep(0.2)


def linked(machine: Container) -> None:
    """By the command of the page."""
    link = "ln -s /run/ztpd/metrics.prom /var/lib/prometheus/node-exporter/ztpd.prom"
    assert f"sudo {link}" in (TOP / "docs/metrics.md").read_text()
    machine.run(link)


def test_prometheus_reads_the_metrics_through_stop_boot_upgrade_removal_and_purge(
    provisioned: Layers, place: Path, payload: Path, suite: str
) -> None:
    gateway = Container(provisioned, place, payload)
    with gateway as machine:
        machine.run("apt-get --quiet --yes install prometheus prometheus-node-exporter")
        machine.run("cat >/etc/prometheus/prometheus.yml", input=PROMETHEUS)
        machine.run("cp /usr/share/ztpd/prometheus/ztpd.rules.yml /etc/prometheus/")
        machine.run("systemctl restart prometheus")
        linked(machine)
        bench.streams(machine)
        shows(machine, "ztpd_up", 1)
        shows(machine, 'ztpd_health{health="healthy"}', 1)
        shows(machine, "ztpd_satellites > bool 5", 1)
        names = {labels["__name__"] for labels, _ in answer(machine, '{__name__=~"ztpd_.+"}')}
        written = machine.run("grep -o '^ztpd_[a-z_]*' /run/ztpd/metrics.prom").split()
        assert names == set(written)
        assert {"ztpd_frames_total", "ztpd_fix_seconds_total", "ztpd_ztp_calls_total"} <= names
        assert names <= set(FAMILIES)
        machine.run("systemctl disable ztpd")
    with gateway as machine:
        shows(machine, "ztpd_up", 0)
        shows(machine, 'ALERTS{alertname="ZtpdDown", alertstate="pending"}', 1)
        machine.run("systemctl enable --now ztpd")
        bench.streams(machine)
        shows(machine, "ztpd_up", 1)
        shows(machine, "ztpd_satellites > bool 5", 1)
        machine.run("systemctl stop ztpd")
        shows(machine, "ztpd_up", 0)
        shows(machine, "ztpd_satellites")
        bench.upgrade(machine)
        shows(machine, "ztpd_up", 1)
        machine.run("apt-get --quiet --yes remove ztpd")
        shows(machine, "ztpd_up")
        machine.run("apt-get --quiet --yes purge ztpd")
        shows(machine, "ztpd_up")
        shows(machine, f"max_over_time({BROKEN}{EVER})", 0)
        scrapes = answer(machine, f"count_over_time({BROKEN}{EVER})")[0][1]
        assert scrapes > 10
    bench.measured.append(f"{suite}: {scrapes:.0f} scrapes by Prometheus, each without an error")


def blocks(page: Path, section: str) -> list[tuple[str, str]]:
    """The kind and the text of each block of a section, in their order."""
    text = page.read_text().partition(f"## {section}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```(\w+)\n(.*?)^```$", text, re.M | re.S)


def follow(machine: Container, block: tuple[str, str], *, name: str = "gateway-1") -> str:
    """Do a block of the page, which calls the gateway gateway-1, on ``machine``: write a file,
    whose place is the first line, or run root's commands; their output."""
    kind, text = block[0], block[1].replace("gateway-1", name)
    if kind == "console":
        lines = text.splitlines()
        assert all(line.startswith("# ") for line in lines), text
        script = "\n".join(line[2:] for line in lines)
        return machine.run(script.replace("apt-get install", "apt-get --quiet --yes install"))
    path = text.partition("\n")[0].removeprefix("# ")
    machine.run(f"mkdir -p $(dirname {path}); cat >{path}", input=text)
    return ""


def copy(source: Container, name: str, gateway: Container, kept: str) -> None:
    text = source.run(f"cat /etc/ssl/journal/{name}")
    gateway.run(f"mkdir -p /etc/ssl/journal; cat >/etc/ssl/journal/{kept}", input=f"{text}\n")


def wire(collector: Container, gateway: Container, number: int) -> None:
    """A network of these two, as if by modem."""
    ends = {f"to-{number}": collector, "wwan0": gateway}
    (one, first), (other, second) = ends.items()
    link = ["ip", "link", "add", one, "netns", str(first.leader)]
    link += ["type", "veth", "peer", "name", other, "netns", str(second.leader)]
    subprocess.run(link, check=True)
    for host, (name, machine) in enumerate(ends.items(), start=1):
        machine.run(f"ip address add 10.9.{number}.{host}/24 dev {name}; ip link set {name} up")
    gateway.run(f"echo 10.9.{number}.1 collector.example >>/etc/hosts")


def named(machine: Container, name: str) -> Container:
    """Before its boot: another machine than the one that the layers come from."""
    machine.once("/bin/sh", "-euc", f"echo {name} >/etc/hostname; : >/etc/machine-id")
    return machine


def test_one_message_id_finds_the_gateways_of_a_fleet_by_the_recipe_of_the_page(
    provisioned: Layers, image: Layers, place: Path, payload: Path, suite: str
) -> None:
    page = blocks(TOP / "docs/fleet.md", "One journal for the fleet")
    authority, receiving, start, certificate, sending, trying, upload, search, lines = page
    bad = named(Container(provisioned, place / "bad", payload), "gateway-2")
    bad.once("/bin/sh", "-euc", "touch /var/lib/simulators/no-sky")
    region = "printf '[mqtt]\\nregion = \"eu\"\\n' >/etc/ztpd/ztpd.toml.d/60-region.toml"
    bad.once("/bin/sh", "-euc", region)
    good = named(Container(provisioned, place / "good", payload), "gateway-1")
    collector = named(Container(image, place / "collector", payload), "collector")
    with bad, good, collector:
        for block in (authority, receiving, start):
            follow(collector, block)
        for number, gateway in enumerate((good, bad), start=1):
            name = f"gateway-{number}"
            follow(collector, certificate, name=name)
            copy(collector, "authority.pem", gateway, "authority.pem")
            copy(collector, f"{name}.pem", gateway, "gateway.pem")
            copy(collector, f"{name}.key", gateway, "gateway.key")
            for block in (sending, trying, upload):
                follow(gateway, block)
        for number, gateway in enumerate((good, bad), start=1):
            waits = "systemctl show systemd-journal-upload --property=SubState --value"
            gateway.eventually(f"[ $({waits}) = auto-restart ]", within_s=30)
            wire(collector, gateway, number)
            gateway.run("systemctl restart systemd-journal-upload")  # sooner than in a minute

        bad.eventually(f"journalctl -qb ZTPD_EVENT={events.NO_TIME.name} | grep -q .", within_s=90)
        assert f"MESSAGE_ID={events.NO_TIME.message_id} " in search[1]
        deadline = time.monotonic() + 30
        while not (found := follow(collector, search).split()):
            assert time.monotonic() < deadline, bad.run("systemctl status systemd-journal-upload")
            time.sleep(0.5)
        assert found == ["1", "gateway-2"]
        assert "it has no time from the satellites" in follow(collector, lines)
        senders = collector.run(
            f"journalctl -D /var/log/journal/remote ZTPD_EVENT={events.STREAMING.name}"
            " -o cat --output-fields=_HOSTNAME | sort -u"
        )
        assert senders.split() == ["gateway-1", "gateway-2"]
        sent = good.run("journalctl -o export | wc -c; journalctl -o json | wc -l").split()
    bench.measured.append(
        f"{suite}: to the collector: {int(sent[0]) / int(sent[1]):.0f} bytes a line of the journal"
    )
