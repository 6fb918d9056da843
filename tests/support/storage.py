# SPDX-License-Identifier: BSD-2-Clause
"""The guest "storagetest", and what a process holds."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.engine.library import Engine, Program
from support.paths import SOURCES, guest


def settings(directory: Path, **more: Any) -> dict[str, Any]:
    return {"filename": str(guest("storagetest")), "storage": True,
            "state_directory": str(directory), "max_memory": 64,
            "max_request_memory": 16} | more


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
    program = engine.define(name, settings(directory, **more))
    return Storage(engine, program, name)


def compiled(directory: Path, name: str, *flags: str) -> Path:
    """The guest with other flags: another version of it."""
    sources = SOURCES / "storagetest"
    path = directory / name
    subprocess.run(["gcc", "-static", "-O2", f"-I{SOURCES / 'sdk'}", *flags,
                    "-o", path, sources / "storagetest.c",
                    sources / "misdeeds.c"], check=True)
    return path


def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Waits for what comes true by itself."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.005)


def held() -> tuple[int, int, int]:
    """Threads, descriptors and KiB of memory of this process."""
    status = dict(line.split(":", 1) for line in
                  Path("/proc/self/status").read_text().splitlines())
    return (int(status["Threads"]), len(os.listdir("/proc/self/fd")),
            int(status["VmRSS"].split()[0]))
