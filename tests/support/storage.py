# SPDX-License-Identifier: BSD-2-Clause
"""The guest "storagetest", and what a process holds."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.engine.library import Engine, Program
from support.compiled import compiled
from support.paths import SOURCES, settings


@dataclass
class Storage:
    """A program that is asked by URL; answers are its text."""

    engine: Engine
    program: Program
    name: str

    def ask(self, url: str, arg: object = "", body: bytes = b"") -> str:
        answer = self.program.request("POST" if body else "GET", f"/{url}",
                                      str(arg), [], body)
        return answer.body.decode().rstrip("\n")

    def number(self, url: str, arg: object = "") -> int:
        return int(self.ask(url, arg))

    def counts(self) -> dict[str, Any]:
        counts: dict[str, Any] = self.engine.stats()["programs"][self.name]
        return counts


def define(engine: Engine, directory: Path, name: str = "st",
           **more: Any) -> Storage:
    program = engine.define(name, settings("storagetest", **{
        "state_directory": str(directory), "concurrency": 2} | more))
    return Storage(engine, program, name)


def begun(log: Any) -> int:
    """How many of those that take their time have begun, by their word."""
    count: int = log.text().count("begins")
    return count


def version(directory: Path, name: str, *flags: str) -> Path:
    """The guest with other flags: another version of it."""
    sources = SOURCES / "storagetest"
    return Path(compiled(directory, name, [
        sources / "storagetest.c", sources / "misdeeds.c"], "-O2", *flags))


def held() -> tuple[int, int, int]:
    """Threads, descriptors and KiB of memory of this process."""
    status = dict(line.split(":", 1) for line in
                  Path("/proc/self/status").read_text().splitlines())
    return (int(status["Threads"]), len(os.listdir("/proc/self/fd")),
            int(status["VmRSS"].split()[0]))
