# SPDX-License-Identifier: BSD-2-Clause
"""From sources to a static executable, for each language one module here.

A toolchain says what must be installed and which commands make the executable
(plan.py); this runs them, when something changed, and keeps the record.
"""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl.errors import BuildError
from kvmctl.guest.inspect import inspect
from kvmctl.guest.manifest import LIBCS, Manifest
from kvmctl.guest.toolchains.c import C
from kvmctl.guest.toolchains.executable import Executable
from kvmctl.guest.toolchains.go import Go
from kvmctl.guest.toolchains.javascript import JavaScript
from kvmctl.guest.toolchains.lua import Lua
from kvmctl.guest.toolchains.nim import Nim
from kvmctl.guest.toolchains.ocaml import Ocaml
from kvmctl.guest.toolchains.pascal import Pascal
from kvmctl.guest.toolchains.plan import Need, Plan, Step, Toolchain
from kvmctl.guest.toolchains.python import Python
from kvmctl.guest.toolchains.rust import Rust
from kvmctl.guest.toolchains.wasm import Wasm
from kvmctl.guest.toolchains.zig import Zig

TOOLCHAINS: tuple[Toolchain, ...] = (
    C(), Rust(), Go(), Zig(), Nim(), Pascal(), Ocaml(), Lua(), JavaScript(),
    Python(), Wasm(), Executable())


@dataclass(frozen=True)
class Artefact:
    """A built program: the executable, and its record beside it."""

    executable: Path
    record: dict[str, Any]
    fresh: bool                 # False: nothing had changed


def _toolchain(language: str) -> Toolchain:
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
    found = _toolchain(manifest.language).needs(manifest.language,
                                                manifest.libc)
    if found is None:
        raise BuildError(f"{manifest.path}: there is no {manifest.language} "
                         f"compiler for {manifest.libc}")
    return found


def lacking(manifest: Manifest) -> tuple[Need, ...]:
    """What it needs and this machine has not. May raise BuildError."""
    plan = _toolchain(manifest.language).plan(manifest, Path("/"), Path("/"))
    return tuple(n for n in (*needs(manifest), *plan.needs) if not n.there())


def _inputs_hash(manifest: Manifest, plan: Plan) -> str:
    """All that the result depends on, but the compiler's own version."""
    h = hashlib.sha256(json.dumps(
        [[[s.line, sorted(s.environment.items())] for s in plan.steps],
         plan.files, plan.identity, manifest.settings],
        sort_keys=True).encode())
    for path in sorted(set(plan.inputs)):
        h.update(str(path).encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def _explain(manifest: Manifest, output: str) -> str:
    lines = [line for line in output.splitlines()
             if ("error" in line.lower() or "cannot find" in line
                 or "undefined reference" in line)
             and not line.startswith("collect2:")]
    # gcc repeats itself well; other compilers explain on the lines between.
    text = ("\n".join(lines[:10])
            if lines and manifest.language in ("c", "c++")
            else output.strip()[-2000:])
    if manifest.packages and ("cannot find" in text or
                              "No such file" in text):
        text += ("\nits packages: apt-get install "
                 + " ".join(manifest.packages))
    return text


def _run(manifest: Manifest, step: Step) -> None:
    try:
        done = subprocess.run(
            step.line, capture_output=True, text=True, errors="replace",
            cwd=step.directory, check=False, stdin=subprocess.DEVNULL,
            env=os.environ | step.environment)
    except FileNotFoundError:
        raise BuildError(f"{manifest.name}: {step.line[0]} is missing"
                         ) from None
    if done.returncode != 0:
        raise BuildError(f"{manifest.name} does not compile:\n"
                         + _explain(manifest, done.stderr + done.stdout))


def _make(manifest: Manifest, plan: Plan, work: Path) -> None:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for prepare in plan.prepare:
        prepare()
    for name, text in plan.files.items():
        (work / name).write_text(text)
    for step in plan.steps:
        _run(manifest, step)


def build(manifest: Manifest, out: Path) -> Artefact:
    """Compiles into OUT/NAME/NAME, unless nothing changed.

    Raises BuildError with the compiler's own message, or with what must be
    installed.
    """
    directory = out.resolve() / manifest.name
    executable = directory / manifest.name
    record_file = directory / f"{manifest.name}.json"
    work = directory / "work"
    partial = directory / f".{manifest.name}.partial"
    plan = _toolchain(manifest.language).plan(manifest, work, partial)
    for need in (*needs(manifest), *plan.needs):
        if not need.there():
            raise BuildError(f"{manifest.name}: {need.what} is missing: "
                             f"{need.mend}")
    inputs = _inputs_hash(manifest, plan)
    try:
        record = json.loads(record_file.read_text())
        if record["inputs"] == inputs and executable.exists():
            return Artefact(executable, record, fresh=False)
    except (OSError, ValueError, KeyError):
        pass
    try:
        _make(manifest, plan, work)
        seen = inspect(partial, "allowed_paths" in manifest.settings)
        if seen.problems:
            raise BuildError(f"{manifest.name}: " + "; ".join(seen.problems))
        os.replace(partial, executable)
    finally:
        partial.unlink(missing_ok=True)
    shutil.rmtree(work, ignore_errors=True)
    record = {
        "name": manifest.name, "sha256": seen.sha256, "size": seen.size,
        "language": manifest.language, "libc": manifest.libc,
        "kind": seen.kind, "abi_calls": list(seen.abi_calls),
        "settings": manifest.settings, "inputs": inputs,
    }
    temporary = record_file.with_suffix(".partial")
    temporary.write_text(json.dumps(record, indent=2, sort_keys=True) + "\n")
    os.replace(temporary, record_file)
    return Artefact(executable, record, fresh=True)
