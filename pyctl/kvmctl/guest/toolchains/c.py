# SPDX-License-Identifier: BSD-2-Clause
"""C and C++: gcc with glibc, musl-gcc, zig's Clang for C++ with musl."""

import importlib.util
import sys
from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains.plan import (Need, Plan, Step, line, program,
                                          tree)

#: What sources include has many names, and every one must be looked at.
INCLUDED = tuple(f"*.{end}" for end in (
    "h", "hh", "hpp", "hxx", "h++", "inc", "inl", "ipp", "tpp", "tcc", "def",
    "c", "cc", "cpp", "cxx"))
STANDARD = {"c": "-std=gnu11", "c++": "-std=c++17"}
_COMPILERS = {
    ("c", "glibc"): ("gcc", "gcc"),
    ("c++", "glibc"): ("g++", "g++"),
    ("c", "musl"): ("musl-gcc", "musl-tools"),
}
ZIG = (sys.executable, "-m", "ziglang")
ZIG_NEED = Need("ziglang", f"{sys.executable} -m pip install ziglang==0.16.0",
                lambda: importlib.util.find_spec("ziglang") is not None)


def zig_environment() -> dict[str, str]:
    return {"ZIG_GLOBAL_CACHE_DIR": str(paths.cache() / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(paths.cache() / "zig")}


def reproducible(*directories: Path) -> tuple[str, ...]:
    """Flags that keep the names of these directories out of the result."""
    return tuple(f"-ffile-prefix-map={d}=." for d in directories)


class C:
    languages = ("c", "c++")

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if (language, libc) == ("c++", "musl"):
            return (ZIG_NEED,)
        return (program(*_COMPILERS[language, libc]),)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        key = (manifest.language, manifest.libc)
        if key == ("c++", "musl"):
            compiler: tuple[str, ...] = (*ZIG, "c++", "-target",
                                         "x86_64-linux-musl")
            environment = zig_environment()
        else:
            compiler, environment = (_COMPILERS[key][0],), {}
        fetched = manifest.fetch
        extra: tuple[str | Path, ...] = ()
        if fetched is not None:
            root = fetched.package.directory
            extra = (*reproducible(root),
                     *(f"-isystem{root / i}" for i in fetched.include),
                     *(root / s for s in fetched.sources))
        step = Step(line(
            *compiler, STANDARD[manifest.language], "-static", "-O2", "-g",
            "-Wall", "-Wextra", *reproducible(manifest.directory),
            f"-I{paths.sdk()}", *manifest.cflags, *manifest.sources, *extra,
            "-o", output, *(f"-l{lib}" for lib in manifest.libraries)),
            manifest.directory, environment)
        return Plan(
            (step,), (*tree(manifest.directory, *INCLUDED),
                      *tree(paths.sdk(), "*.h"), *manifest.sources),
            prepare=(fetched.package.fetch,) if fetched else (),
            identity=(fetched.package.identity,) if fetched else (),
            needs=fetched.package.needs() if fetched else ())
