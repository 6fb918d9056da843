# SPDX-License-Identifier: BSD-2-Clause
"""Zig, from PyPI's ziglang: no libc at all, or musl."""

from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.c import ZIG, ZIG_NEED, zig_environment
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)


class Zig:
    languages = ("zig",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        return ZIG_NEED, program("strip", "binutils")

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "zig" / "kvm.zig"
        libc = ("-lc",) if manifest.libc == "musl" else ()
        step = Step(line(
            *ZIG, "build-exe", "-target", "x86_64-linux-musl", "-O",
            "ReleaseSafe", "-j1", *libc, "-static", "--dep", "kvm",
            *manifest.cflags, f"-Mroot={manifest.sources[0]}",
            f"-Mkvm={sdk}", *(f"-l{lib}" for lib in manifest.libraries),
            f"-femit-bin={output}"), work, zig_environment())
        # DWARF has the directory in it, and is most of the file; functions
        # keep their names.
        strip = Step(line("strip", "--strip-debug", output), work)
        return Plan((step, strip), (*tree(manifest.directory, "*.zig"), sdk,
                              *manifest.sources))
