# SPDX-License-Identifier: BSD-2-Clause
"""Pascal, with Free Pascal: static by itself, without a libc."""

from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)


class Pascal:
    languages = ("pascal",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":             # there is none in it: the default
            return None
        # Debian has the compiler and its units in two packages.
        return (program("fpc", "fp-compiler fp-units-rtl fp-units-base"),)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "pascal"
        step = Step(line(
            "fpc", "-v0ew", "-l-", "-O2", "-Xs", "-XX", "-CX", f"-Fu{sdk}",
            f"-FU{work}", *manifest.cflags, f"-o{output}",
            manifest.sources[0]), work)
        return Plan((step,), (*tree(manifest.directory, "*.pas", "*.pp", "*.inc"),
                              *tree(sdk, "*.pas"), *manifest.sources))
