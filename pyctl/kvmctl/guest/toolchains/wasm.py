# SPDX-License-Identifier: BSD-2-Clause
"""WebAssembly, by wasm3 (C sources from PyPI's pywasm3).

The source is a .wasm file; or C, which ziglang's Clang compiles to one.
"""

from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import launcher
from kvmctl.guest.toolchains.c import (INCLUDED, ZIG, ZIG_NEED,
                                       zig_environment)
from kvmctl.guest.fetch import Package
from kvmctl.guest.toolchains.library import Library
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)

WASM3 = Library(
    Package("pypi", "pywasm3", "0.5.0", "5a47c8a39f7f6ae71b3316b2e5d86c9d0db6"
            "e771a65f09a86e4d4aa3a19aefcc"),
    "wasm3",
    tuple(f"wasm3/m3_{name}.c" for name in
          ("bind", "code", "compile", "core", "emit", "env", "exec",
           "function", "info", "module", "parse")),
    ("-std=gnu11", "-O3", "-fomit-frame-pointer", "-fno-stack-protector",
     "-DNDEBUG", "-Dd_m3HasWASI=0"))


class Wasm:
    languages = ("wasm",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":
            return None
        return program("gcc", "gcc"), ZIG_NEED

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        main = manifest.sources[0]
        before: list[Step] = []
        if main.suffix != ".wasm":
            main = work / "main.wasm"
            before.append(Step(line(
                *ZIG, "cc", "-target", "wasm32-freestanding", "-O2",
                "-nostdlib", "-Wall", "-Wextra", "-Wl,--no-entry",
                "-Wl,--strip-all", f"-I{paths.sdk() / 'wasm'}",
                *manifest.cflags, *manifest.sources, "-o", main), work,
                zig_environment()))
        return launcher.plan(
            manifest, work, output, "wasm/launcher.c",
            files=[("main.wasm", main)],
            flags=["-isystem", str(WASM3.include_directory)],
            link=[WASM3.archive, "-lm"], before=before,
            inputs=(*tree(paths.sdk() / "wasm", "*.h"),
                    *(tree(manifest.directory, *INCLUDED) if before else ())),
            prepare=[WASM3.compile], identity=[WASM3.identity])
