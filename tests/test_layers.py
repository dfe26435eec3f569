"""Imports point down only, and each library is known to one module: read from the source."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import TOP

PACKAGE = TOP / "ztpd"

# From top to bottom. Rooms of one row do not see each other; a room sees all rows below its own.
# A room is a module or a folder directly below ztpd/; "ztpd" is the package itself (its version).
LAYERS = """
    __main__
    cli
    demo
    daemon | sim | report
    relay | check
    receiver | sources | modem | provisioning
    metrics
    health | unit
    history
    serialport | net | config | status
    system | log | retry | lifecycle
    wire | events
    model
    records
    errors | sanitize | ztpd
"""
ROW = {
    room.strip(): number
    for number, row in enumerate(LAYERS.strip().splitlines())
    for room in row.split("|")
}

SIM_SEES = {"sim", "wire", "model", "errors", "log", "sanitize", "ztpd"}
"""The simulators use wire/, never the code that they test."""

PURE = ("wire", "lifecycle", "model", "errors", "events", "sanitize")
"""Bytes and values in, bytes and values out."""

IO_MODULES = {
    "aiohttp",
    "asyncio",
    "concurrent",
    "fcntl",
    "http",
    "multiprocessing",
    "paho",
    "select",
    "selectors",
    "serial",
    "socket",
    "ssl",
    "subprocess",
    "systemd",
    "tenacity",
    "termios",
    "threading",
}

LIBRARIES = {
    "aiohttp": {"ztpd.provisioning.http"},
    "amqtt": {"ztpd.sim.broker"},
    "paho": {"ztpd.sources.mqtt_client"},
    "serial": {"ztpd.serialport.opening"},
    "systemd": {"ztpd.log", "ztpd.daemon.systemd"},
    "tenacity": {"ztpd.retry"},
    "trustme": {"ztpd.sim.authority"},
}
"""Which modules import which library from outside the standard library: these, and no others."""


def _name(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def _imported(source: str) -> Iterator[str]:
    """The full names of all modules that ``source`` imports, wherever in it that stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield inner if inner in MODULES else base


IMPORTS = {module: set(_imported(file.read_text())) for module, file in MODULES.items()}


def _own(module: str) -> set[str]:
    return {name for name in IMPORTS[module] if name.split(".")[0] == "ztpd"}


def _foreign(module: str) -> set[str]:
    return {name.split(".")[0] for name in IMPORTS[module]} - {"ztpd"}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_place(module: str) -> None:
    assert _room(module) in ROW, "add it to LAYERS"


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    room = _room(module)
    upward = {
        name
        for name in _own(module)
        if _room(name) != room and ROW.get(_room(name), -1) <= ROW[room]
    }
    assert not upward


@pytest.mark.parametrize("module", [name for name in MODULES if _room(name) == "sim"])
def test_simulators_do_not_import_the_code_that_they_test(module: str) -> None:
    assert {_room(name) for name in _own(module)} <= SIM_SEES


@pytest.mark.parametrize("module", [name for name in MODULES if _room(name) in PURE])
def test_bytes_and_values_are_kept_away_from_the_world(module: str) -> None:
    assert not _foreign(module) & IO_MODULES


def test_each_library_is_imported_where_it_is_permitted_and_nowhere_else() -> None:
    imported: dict[str, set[str]] = {}
    for module in MODULES:
        for library in _foreign(module) - sys.stdlib_module_names:
            imported.setdefault(library, set()).add(module)
    assert imported == LIBRARIES


def test_no_two_classes_have_one_name() -> None:
    """A name in a traceback, or in a search, then means one class."""
    places: dict[str, list[str]] = {}
    for module, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: modules for name, modules in places.items() if len(modules) > 1} == {}


CLASS_LINES, CLASS_ATTRIBUTES, MODULE_LINES = 300, 20, 400


def _attributes(node: ast.ClassDef) -> set[str]:
    """The fields of ``node``, and the attributes that its methods set."""
    fields = {
        each.target.id
        for each in node.body
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name)
    }
    return fields | {
        each.attr
        for each in ast.walk(node)
        if isinstance(each, ast.Attribute)
        and isinstance(each.ctx, ast.Store)
        and isinstance(each.value, ast.Name)
        and each.value.id == "self"
    }


def _large(source: str) -> list[str]:
    """The classes of ``source`` above a limit whose docstrings give no reason."""
    return [
        node.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ClassDef)
        and (_lines(node) > CLASS_LINES or len(_attributes(node)) > CLASS_ATTRIBUTES)
        and "One class because " not in (ast.get_docstring(node) or "")
    ]


def _lines(node: ast.ClassDef) -> int:
    return (node.end_lineno or 0) - node.lineno + 1


def _ten_largest() -> str:
    sizes = [
        (_lines(node), len(_attributes(node)), f"{module}.{node.name}")
        for module, file in MODULES.items()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef)
    ]
    ten = sorted(sizes, reverse=True)[:10]
    return "\n".join(f"{name}: {lines} lines, {count} attributes" for lines, count, name in ten)


def test_a_large_class_gives_a_reason() -> None:
    """A class has one job; its docstring says "One class because ..." where it must be large."""
    large = [
        f"{module}.{name}" for module, file in MODULES.items() for name in _large(file.read_text())
    ]
    assert not large, f"the ten largest classes:\n{_ten_largest()}"


def test_a_large_module_gives_a_reason() -> None:
    """The same for a module: "One module because ..."."""
    lines = {module: len(file.read_text().splitlines()) for module, file in MODULES.items()}
    large = [
        module
        for module in MODULES
        if lines[module] > MODULE_LINES
        and "One module because "
        not in (ast.get_docstring(ast.parse(MODULES[module].read_text())) or "")
    ]
    ten = sorted(lines.items(), key=lambda each: -each[1])[:10]
    assert not large, f"the ten largest modules: {ten}"


def test_the_limits_apply_to_lines_and_attributes() -> None:
    long = "class Long:\n" + "    x = 1\n" * CLASS_LINES
    many = "class Many:\n    def __init__(self):\n"
    many += "".join(f"        self.a{number} = 0\n" for number in range(CLASS_ATTRIBUTES + 1))
    fields = "class Fields:\n" + "".join(f"    a{number}: int\n" for number in range(21))
    assert _large(long + many + fields) == ["Long", "Many", "Fields"]
    reason = (
        'class Long:\n    """One class because it is a table."""\n' + "    x = 1\n" * CLASS_LINES
    )
    assert _large(reason) == []


ENTRIES = {"ztpd.__main__", "ztpd.cli.settime"}
"""Started by name: `python3 -m ztpd`, and a unit."""


def test_the_package_holds_only_modules_that_the_program_uses() -> None:
    """Helpers of the tests are in tests/support, outside wheel and .deb."""
    assert set(MODULES) - set().union(*map(_own_and_parents, MODULES)) == ENTRIES


def _own_and_parents(module: str) -> set[str]:
    imported = {name for name in _own(module) if name != module}
    return imported | {name.rpartition(".")[0] for name in imported}


@pytest.mark.parametrize(
    "file",
    [*TOP.glob("tests/**/test_*.py"), *TOP.glob("bench/*.py")],
    ids=lambda file: str(file.relative_to(TOP)),
)
def test_no_test_imports_from_another_test(file: Path) -> None:
    """Shared code is in tests/support."""
    imported = _imported(file.read_text())
    assert not [name for name in imported if re.match(r"tests\..*\btest_", name)]


def test_the_daemon_starts_without_the_http_client() -> None:
    """It costs 10 MiB and half a second on a small board; a provisioned gateway never needs it."""
    code = "import sys, ztpd.cli, ztpd.daemon; print(*sorted({'aiohttp'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.strip() == ""


def test_the_guard_sees_every_form_of_import() -> None:
    source = """
import ztpd.log
def inner():
    from ztpd.serialport import port as serial, no_module_of_ours
    import paho.mqtt.client as paho
if TYPE_CHECKING:
    from ztpd.model import Secret
"""
    assert set(_imported(source)) == {
        "ztpd.log",
        "ztpd.serialport.port",
        "ztpd.serialport",
        "paho.mqtt.client",
        "ztpd.model",
    }
