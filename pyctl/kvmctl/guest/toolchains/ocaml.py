# SPDX-License-Identifier: BSD-2-Clause
"""OCaml's native compiler, with stubs in C."""

import shlex
from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.c import reproducible
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)


class Ocaml:
    languages = ("ocaml",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":
            return None
        return program("ocamlopt", "ocaml-nox"), program("gcc", "gcc")

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        sdk = paths.sdk() / "ocaml"
        # ocamlopt writes its objects beside the sources: copies are compiled.
        names = [sdk / "kvm.ml", *manifest.sources]
        copies = Step(line("cp", *names, sdk / "kvm_stubs.c", work), work)
        flags = ("-static", *reproducible(work, paths.sdk()))
        step = Step(line(
            "ocamlopt", "-ccopt",
            shlex.join((*flags, f"-I{paths.sdk()}")),
            *manifest.cflags, "kvm_stubs.c", *(n.name for n in names),
            "-o", output), work)
        return Plan((copies, step), (*tree(sdk, "*.ml", "*.c"),
                                     *tree(paths.sdk(), "*.h"),
                                     *manifest.sources))
