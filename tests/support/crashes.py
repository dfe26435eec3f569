"""Every state that a power cut may leave, computed from the system calls of a program.

The model: each operation that no fsync has confirmed is on the disk or not, in any order; of a
write also its first half alone. An fsync of a file confirms its content and the name it was made
with; one of a directory confirms the names in it. A rename replaces its
target at once.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

WRITER = Path(__file__).with_name("writer.py")
ENVIRON = os.environ | {"PYTHONPATH": str(WRITER.parents[2])}  # ztpd need not be installed
_TRACED = (
    "openat,open,creat,write,pwrite64,rename,renameat,renameat2,unlink,unlinkat,fsync,fdatasync"
)
_CALL = re.compile(r"^\d+ +(?P<name>\w+)\((?P<words>.*)\) += (?P<result>-?\d+)")


@dataclass(frozen=True, slots=True)
class Operation:
    """One step; ``inode`` identifies its file, which may change its name."""

    kind: Literal["create", "write", "rename", "unlink", "sync file", "sync names", "promise"]
    inode: int = 0
    name: str = ""
    old: str = ""
    data: bytes = b""


@dataclass
class Disk:
    """Names and contents of the files."""

    names: dict[str, int] = field(default_factory=dict)
    content: dict[int, bytes] = field(default_factory=dict)

    @classmethod
    def read(cls, directory: Path) -> Disk:
        files = sorted(directory.iterdir())
        return cls(
            {path.name: number for number, path in enumerate(files)},
            {number: path.read_bytes() for number, path in enumerate(files)},
        )

    def copy(self) -> Disk:
        return Disk(dict(self.names), dict(self.content))

    def write(self, directory: Path) -> None:
        directory.mkdir(mode=0o700)
        for name, inode in self.names.items():
            path = directory / name
            path.touch(mode=0o600)
            path.write_bytes(self.content.get(inode, b""))

    def key(self) -> tuple[tuple[str, bytes], ...]:
        return tuple(
            sorted((name, self.content.get(inode, b"")) for name, inode in self.names.items())
        )

    def take(self, step: Operation, *, half: bool = False) -> None:
        match step.kind:
            case "create":
                self.names[step.name] = step.inode
            case "write":
                data = step.data[: len(step.data) // 2] if half else step.data
                self.content[step.inode] = self.content.get(step.inode, b"") + data
            case "rename":
                if self.names.get(step.old) == step.inode:
                    del self.names[step.old]
                self.names[step.name] = step.inode
            case "unlink":
                if self.names.get(step.name) == step.inode:
                    del self.names[step.name]


def traced(directory: Path, action: str) -> tuple[Disk, list[Operation]]:
    """The state before, and the steps of the writer in ``directory``."""
    before, trace = Disk.read(directory), directory.parent / "trace"
    command = ["strace", "-f", "-y", "-s", "1000000", "-e", f"trace={_TRACED}", "-o", trace]
    run = [*command, sys.executable, WRITER, directory, action]
    subprocess.run(list(map(str, run)), env=ENVIRON, check=True, capture_output=True)
    return before, list(_operations(trace, directory, before))


def _operations(trace: Path, directory: Path, before: Disk) -> Iterator[Operation]:
    names, count = dict(before.names), len(before.names)
    where = str(directory)
    for name, words in _calls(trace):
        texts = [
            ast.literal_eval("b" + quoted) for quoted in re.findall(r'"(?:[^"\\]|\\.)*"', words)
        ]
        if name in ("write", "pwrite64"):
            if words.startswith("1<"):
                yield Operation("promise", data=texts[0])
            elif f"<{where}/" in words:
                yield Operation("write", inode=names[_below(words, where)], data=texts[0])
        elif name in ("fsync", "fdatasync"):
            if f"<{where}>" in words:
                yield Operation("sync names")
            elif f"<{where}/" in words:
                yield Operation("sync file", inode=names[_below(words, where)])
        elif where in words:
            paths = [text.decode().removeprefix(f"{where}/") for text in texts]
            if name in ("openat", "open", "creat"):
                if "O_CREAT" in words and paths[0] not in names:
                    names[paths[0]] = count
                    yield Operation("create", inode=count, name=paths[0])
                    count += 1
                assert "O_TRUNC" not in words or names[paths[0]] == count - 1
            elif name.startswith("rename"):
                names[paths[1]] = inode = names.pop(paths[0])
                yield Operation("rename", inode=inode, old=paths[0], name=paths[1])
            else:
                yield Operation("unlink", inode=names.pop(paths[0]), name=paths[0])


def _below(words: str, where: str) -> str:
    return words.split(f"<{where}/", 1)[1].split(">", 1)[0]


def _calls(trace: Path) -> Iterator[tuple[str, str]]:
    """Name and arguments of each call that succeeded, in the order in which they ended."""
    begun: dict[str, str] = {}
    for line in trace.read_text().splitlines():
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line.removesuffix("<unfinished ...>")
            continue
        if " resumed>" in line:
            line = begun.pop(thread) + line.split(" resumed>", 1)[1]
        found = _CALL.match(line)
        if found and int(found["result"]) >= 0:
            yield found["name"], found["words"]


def crashes(before: Disk, steps: Sequence[Operation]) -> Iterator[tuple[Disk, list[str]]]:
    """Each state that a power cut may leave, and the promises that had been given by then."""
    for end in range(len(steps) + 1):
        done = steps[:end]
        promises = [step.data.decode().strip() for step in done if step.kind == "promise"]
        open_steps = [place for place in range(end) if _is_open(done, place)]
        choices = [
            ("no", "half", "yes") if done[place].kind == "write" else ("no", "yes")
            for place in open_steps
        ]
        seen = set()
        for choice in itertools.product(*choices):
            chosen = dict(zip(open_steps, choice, strict=True))
            disk = before.copy()
            for place, step in enumerate(done):
                if chosen.get(place) != "no":
                    disk.take(step, half=chosen.get(place) == "half")
            if disk.key() not in seen:
                seen.add(disk.key())
                yield disk, promises


def _is_open(done: Sequence[Operation], place: int) -> bool:
    """Whether no fsync has confirmed the step."""
    step = done[place]
    later = done[place + 1 :]
    file_synced = any(one.kind == "sync file" and one.inode == step.inode for one in later)
    names_synced = any(one.kind == "sync names" for one in later)
    match step.kind:
        case "write":
            return not file_synced
        case "create":
            return not (file_synced or names_synced)
        case "rename" | "unlink":
            return not names_synced
    return False
