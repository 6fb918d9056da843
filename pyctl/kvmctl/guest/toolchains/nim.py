# SPDX-License-Identifier: BSD-2-Clause
"""Nim, through gcc or musl-gcc.

Memory is managed by ARC/ORC: Nim's older collector looks for references on
the stack that main() had, and requests have one of their own. Symbols hold the
way from the source to Nim's library: the same sources give the same bytes at
the same depth of directories only.
"""

import shlex
from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.c import reproducible
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)


class Nim:
    languages = ("nim",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        compiler = ("musl-gcc", "musl-tools") if libc == "musl" else (
            "gcc", "gcc")
        return program("nim", "nim"), program(*compiler)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "nim"
        musl = (("--gcc.exe:musl-gcc", "--gcc.linkerexe:musl-gcc")
                if manifest.libc == "musl" else ())
        flags = shlex.join((*reproducible(manifest.directory, work, sdk),
                            *manifest.cflags))
        step = Step(line(
            "nim", "c", "--hints:off", "-d:release", "--gc:orc",
            "--threads:off", "--skipUserCfg", f"--path:{sdk}", *musl,
            f"--passC:{flags}", "--passL:-static",
            *(f"--passL:-l{lib}" for lib in manifest.libraries),
            f"--nimcache:{work / 'nimcache'}", f"--out:{output}",
            manifest.sources[0]), work)
        return Plan((step,), (*tree(manifest.directory, "*.nim", "*.nims", "*.cfg"),
                              *tree(sdk, "*.nim"), *manifest.sources))
