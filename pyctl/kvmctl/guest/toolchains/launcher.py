# SPDX-License-Identifier: BSD-2-Clause
"""Interpreters: a launcher in C from the SDK with the user's files inside."""

from collections.abc import Callable, Sequence
from pathlib import Path

from kvmctl import paths
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import embed
from kvmctl.guest.toolchains.c import INCLUDED, STANDARD, reproducible
from kvmctl.guest.toolchains.plan import Plan, Step, line, tree


def embedded_name(manifest: Manifest, source: Path) -> str:
    """What a source is called inside: its path from the guest's directory."""
    try:
        return source.relative_to(manifest.directory).as_posix()
    except ValueError:
        return source.name


def plan(manifest: Manifest, work: Path, output: Path, launcher: str, *,
         files: Sequence[tuple[str, Path]] | None = None,
         flags: Sequence[str] = (), link: Sequence[str | Path] = (),
         before: Sequence[Step] = (), inputs: Sequence[Path] = (),
         prepare: Sequence[Callable[[], object]] = (),
         identity: Sequence[str] = ()) -> Plan:
    """The SDK's `launcher` with the guest's sources (or `files`) inside.

    C sources among them are compiled instead (an interpreter's extensions),
    but for WebAssembly, whose toolchain has done that.
    """
    own = [s for s in manifest.sources if s.suffix == ".c"]
    if manifest.language == "wasm":
        own = []
    if files is None:
        files = [(embedded_name(manifest, s), s) for s in manifest.sources
                 if s.suffix != ".c"]
    sdk = paths.sdk()
    # Apart, because with -g the object would name a temporary file.
    embed_step = Step(line("gcc", "-c", "files.S", "-o", "files.o"), work)
    compile_step = Step(line(
        "gcc", STANDARD["c"], "-D_GNU_SOURCE", "-static", "-O2", "-g", "-Wall", "-Wextra",
        *reproducible(manifest.directory, sdk, work), f"-I{sdk}", *flags,
        *manifest.cflags, sdk / launcher, *own, work / "files.o", "-o", output,
        *link, *(f"-l{lib}" for lib in manifest.libraries)), work)
    return Plan(
        (*before, embed_step, compile_step),
        (*tree(sdk, "*.h"), sdk / launcher, *manifest.sources, *inputs,
         *(tree(manifest.directory, *INCLUDED) if own else ())),
        files={"files.S": embed.table(files)}, prepare=tuple(prepare),
        identity=tuple(identity))
