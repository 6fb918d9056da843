# SPDX-License-Identifier: BSD-2-Clause
"""C tests and VTC files as pytest items: tests/core/test_reset.c::steady_state."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from kvmctl.varnish.private import system_vmods
from support.paths import BUILD, GUESTS, PROGRAMS, ROOT, VMODS

#: What C tests run under: `make valgrind`.
UNDER = os.environ.get("TK_UNDER", "").split()
_SECONDS = 280
_LONG_SECONDS = 3600


class ProcessFailed(Exception):
    """A test program ended badly; the text is what it said."""


class ProcessItem(pytest.Item):
    """A test that is a process: it passes when the process ends with 0."""

    def __init__(self, *, line: list[str], **more: object) -> None:
        super().__init__(**more)  # type: ignore[arg-type]
        self.line = line

    def runtest(self) -> None:
        env = os.environ | {"TK_TEST_GUEST": str(BUILD / "tests" / "guest"),
                            "TK_TESTS": str(BUILD / "tests"),
                            "TK_GUESTS": str(GUESTS)}
        limit = _LONG_SECONDS if self.get_closest_marker("long") else _SECONDS
        try:
            done = subprocess.run(
                self.line, env=env, stdin=subprocess.DEVNULL, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                timeout=limit, check=False, errors="replace")
        except subprocess.TimeoutExpired as e:
            raise ProcessFailed(f"no end after {limit} s:\n{e.stdout}"
                                ) from None
        if done.returncode != 0:
            raise ProcessFailed(f"{' '.join(self.line)}\nended with "
                                f"{done.returncode}:\n{done.stdout[-8000:]}")

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException],
                     style: object = None) -> str:
        if isinstance(excinfo.value, ProcessFailed):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo))

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class CFile(pytest.File):
    """tests/LAYER/test_X.c, built as build/tests/LAYER/test_X."""

    def collect(self) -> Iterator[ProcessItem]:
        where = self.path.relative_to(ROOT / "tests").with_suffix("")
        program = PROGRAMS / where
        if not program.exists():
            raise self.CollectError(f"{program} is missing: run `make test`")
        listed = subprocess.run([program, "--list"], capture_output=True,
                                text=True, check=True)
        for row in listed.stdout.splitlines():
            name, *marks = row.split()
            item = ProcessItem.from_parent(self, name=name,
                                           line=[*UNDER, str(program), name])
            for mark in marks:
                item.add_marker(mark)
            yield item


# VCL that is compiled to be tested once: in a third of the time.
_CC = "exec gcc -O0 -w -pthread -fpic -shared -Wl,-x -o %o %s"


class VtcFile(pytest.File):
    """tests/vtc/**/X.vtc, run by varnishtest; ${vtc} is tests/vtc."""

    def collect(self) -> Iterator[ProcessItem]:
        vmods = f"{VMODS}:{system_vmods()}"
        item = ProcessItem.from_parent(self, name=self.path.stem, line=[
            "varnishtest", "-b", "20M", "-t", "120", "-p", f"vmod_path={vmods}",
            "-p", f"cc_command='{_CC}'",
            f"-Dguests={GUESTS}", f"-Dvtc={ROOT / 'tests' / 'vtc'}",
            str(self.path)])
        item.add_marker("kvm")
        yield item
