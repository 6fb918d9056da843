# SPDX-License-Identifier: BSD-2-Clause
"""All toolchains, and what they need of this machine."""

from collections.abc import Iterator
from pathlib import Path

from kvmctl.errors import BuildError
from kvmctl.guest.manifest import LIBCS, Manifest
from kvmctl.guest.toolchains.c import C
from kvmctl.guest.toolchains.executable import Executable
from kvmctl.guest.toolchains.go import Go
from kvmctl.guest.toolchains.javascript import JavaScript
from kvmctl.guest.toolchains.lua import Lua
from kvmctl.guest.toolchains.nim import Nim
from kvmctl.guest.toolchains.ocaml import Ocaml
from kvmctl.guest.toolchains.pascal import Pascal
from kvmctl.guest.toolchains.plan import Need, Toolchain
from kvmctl.guest.toolchains.python import Python
from kvmctl.guest.toolchains.rust import Rust
from kvmctl.guest.toolchains.wasm import Wasm
from kvmctl.guest.toolchains.zig import Zig

TOOLCHAINS: tuple[Toolchain, ...] = (
    C(), Rust(), Go(), Zig(), Nim(), Pascal(), Ocaml(), Lua(), JavaScript(),
    Python(), Wasm(), Executable())


def find(language: str) -> Toolchain:
    """The one that compiles this language."""
    return next(t for t in TOOLCHAINS if language in t.languages)


def all_needs() -> Iterator[tuple[str, str, tuple[Need, ...]]]:
    """(language, libc, what it needs) of all that can be built."""
    for toolchain in TOOLCHAINS:
        for language in toolchain.languages:
            for libc in LIBCS:
                needs = toolchain.needs(language, libc)
                if needs is not None:
                    yield language, libc, needs


def needs(manifest: Manifest) -> tuple[Need, ...]:
    """What its language needs. Raises BuildError when there is no way."""
    found = find(manifest.language).needs(manifest.language,
                                                manifest.libc)
    if found is None:
        raise BuildError(f"{manifest.path}: there is no {manifest.language} "
                         f"compiler for {manifest.libc}")
    return found


def lacking(manifest: Manifest) -> tuple[Need, ...]:
    """What it needs and this machine has not. May raise BuildError."""
    plan = find(manifest.language).plan(manifest, Path("/"), Path("/"))
    return tuple(n for n in (*needs(manifest), *plan.needs) if not n.there())
