# SPDX-License-Identifier: BSD-2-Clause
"""JavaScript, by QuickJS. Its C sources come from PyPI's quickjs-ng."""

from pathlib import Path

from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import launcher
from kvmctl.guest.fetch import Package
from kvmctl.guest.toolchains.library import Library
from kvmctl.guest.toolchains.plan import Need, Plan, program

QUICKJS = Library(
    Package("pypi", "quickjs-ng", "0.17.0.2", "43d2e48272208721a7aaea8e3f02d4"
            "b9318f12ef20cc4f5421b59d9a470706ef"),
    "upstream-quickjs",
    tuple(f"upstream-quickjs/{name}.c" for name in
          ("quickjs", "libregexp", "libunicode", "dtoa")),
    ("-std=gnu11", "-O2", "-fwrapv", "-D_GNU_SOURCE", "-DNDEBUG"))


class JavaScript:
    languages = ("javascript",)

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        if libc != "glibc":
            return None
        return (program("gcc", "gcc"),)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        return launcher.plan(
            manifest, work, output, "js/launcher.c",
            flags=["-isystem", str(QUICKJS.include_directory)],
            link=[QUICKJS.archive, "-lm"], prepare=[QUICKJS.compile],
            identity=[QUICKJS.identity])
