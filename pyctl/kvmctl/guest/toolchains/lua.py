# SPDX-License-Identifier: BSD-2-Clause
"""Lua 5.4 and LuaJIT: Debian's static libraries and the SDK's launcher."""

from pathlib import Path

from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import launcher
from kvmctl.guest.toolchains.plan import Need, Plan, file, program

_LIB = "/usr/lib/x86_64-linux-gnu/"
_WHERE = {
    "lua": (_LIB + "liblua5.4.a", "liblua5.4-dev",
            "-I/usr/include/lua5.4"),
    "luajit": (_LIB + "libluajit-5.1.a", "libluajit-5.1-dev",
               "-I/usr/include/luajit-2.1"),
}


class Lua:
    languages = ("lua", "luajit")

    def needs(self, language: str, libc: str) -> tuple[Need, ...] | None:
        archive, package, _ = _WHERE[language]
        if libc != "glibc":
            return None
        return program("gcc", "gcc"), file(archive, package)

    def plan(self, manifest: Manifest, work: Path, output: Path) -> Plan:
        archive, _, include = _WHERE[manifest.language]
        return launcher.plan(manifest, work, output, "lua/launcher.c",
                             flags=[include], link=[archive, "-lm", "-ldl"])
