# SPDX-License-Identifier: BSD-2-Clause
"""Runs the commands of a plan, when something changed.

    OUT/NAME/NAME           the executable
    OUT/NAME/NAME.json      what it is: guest/record.py
    OUT/NAME/NAME.sig       who says so, if somebody does: guest/signature.py
    OUT/.store              all that was built lately, by content: guest/store.py

What is under NAME is whole: it was made beside it, and renamed.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import files
from kvmctl.errors import BuildError
from kvmctl.guest import record
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.store import Store
from kvmctl.guest.toolchains import registry
from kvmctl.guest.toolchains.plan import Plan, Step

#: With a dot, as all that is not the program's: no name of one begins so.
_WORK = ".work"
BUILT, KEPT, UNCHANGED = "built", "kept", "unchanged"


@dataclass(frozen=True)
class Artefact:
    """A built program: the executable, and its record beside it."""

    executable: Path
    record: dict[str, Any]
    #: built; kept: out of the store; unchanged: nothing was done.
    how: str
    #: What the compiler said although it succeeded.
    warnings: str = ""

    @property
    def fresh(self) -> bool:
        """False: nothing had changed."""
        return self.how != UNCHANGED


def _compiler(step: Step) -> list[object]:
    """What tells one compiler from its next version: its file."""
    path = shutil.which(step.line[0])
    if path is None:
        return []
    seen = os.stat(path)
    return [os.path.realpath(path), seen.st_size, seen.st_mtime_ns]


def _inputs_hash(manifest: Manifest, plan: Plan) -> str:
    """All that the result depends on, but what compilers bring along."""
    h = hashlib.sha256(json.dumps(
        [[[s.line, sorted(s.environment.items()), _compiler(s)]
          for s in plan.steps],
         plan.files, plan.identity, manifest.settings, record.FORMAT],
        sort_keys=True).encode())
    for path in sorted(set(plan.inputs)):
        with files.problems(BuildError, f"{manifest.name}: cannot read"):
            h.update(os.fsencode(path) + b"\0" + path.read_bytes())
    return h.hexdigest()


def _run(manifest: Manifest, step: Step) -> str:
    """What it says. Raises BuildError with that when it fails."""
    try:
        done = subprocess.run(
            step.line, capture_output=True, text=True, errors="replace",
            cwd=step.directory, check=False, stdin=subprocess.DEVNULL,
            env=os.environ | step.environment)
    except FileNotFoundError:
        raise BuildError(f"{manifest.name}: {step.line[0]} is missing"
                         ) from None
    said = (done.stderr + done.stdout).rstrip()
    if done.returncode == 0:
        return said
    if not said:
        said = f"{step.line[0]} ended with {done.returncode} and no word"
    if manifest.packages and ("cannot find" in said or "No such file" in said):
        said += ("\nits packages: apt-get install "
                 + " ".join(manifest.packages))
    raise BuildError(f"{manifest.name} does not compile:\n{said}")


def _make(manifest: Manifest, plan: Plan, work: Path) -> str:
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        for prepare in plan.prepare:
            prepare()
        for name, text in plan.files.items():
            (work / name).write_bytes(os.fsencode(text))
        said = [_run(manifest, step) for step in plan.steps]
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return "\n".join(filter(None, said))


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """One build of a program at a time: another waits."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _compile(manifest: Manifest, plan: Plan, directory: Path,
             partial: Path) -> tuple[dict[str, Any], str]:
    """Makes `partial`; its record, and what the compiler said."""
    from kvmctl.guest.inspect import inspect    # slow: not when unchanged
    said = _make(manifest, plan, directory / _WORK)
    seen = inspect(partial, "allowed_paths" in manifest.settings)
    if seen.problems:
        raise BuildError(f"{manifest.name}: " + "; ".join(seen.problems))
    return record.make(manifest, seen, plan.inputs), said


def _build(manifest: Manifest, plan: Plan, out: Path) -> Artefact:
    directory = out / manifest.name
    executable = directory / manifest.name
    partial = directory / f".{manifest.name}.partial"
    state = directory / ".inputs"
    inputs = _inputs_hash(manifest, plan)

    def unchanged() -> Artefact | None:
        known = record.read(executable)
        if known is None or not record.fits(known, manifest) \
                or not record.unchanged(state, inputs, executable):
            return None
        return Artefact(executable, known, UNCHANGED)

    found = unchanged()
    if found is not None:               # also where nobody may write
        return found
    with _locked(directory):
        found = unchanged()             # somebody else was building it
        if found is not None:
            return found
        store = Store(out / ".store")
        about, said, how = store.find(inputs), "", KEPT
        try:
            if about is None or not record.fits(about, manifest):
                how = BUILT
                about, said = _compile(manifest, plan, directory, partial)
                store.add(inputs, partial, about)
            state.unlink(missing_ok=True)
            store.put(about, executable)
            files.write_whole(state, record.state(inputs, executable))
        finally:
            partial.unlink(missing_ok=True)
        return Artefact(executable, about, how, said)


def build(manifest: Manifest, out: Path) -> Artefact:
    """Compiles into OUT/NAME/NAME, unless nothing changed.

    Raises BuildError with the compiler's own message, with what must be
    installed, or with what the disk has against it.
    """
    out = files.real(out)
    work = out / manifest.name / _WORK
    partial = out / manifest.name / f".{manifest.name}.partial"
    plan = registry.find(manifest.language).plan(manifest, work, partial)
    for need in (*registry.needs(manifest), *plan.needs):
        if not need.there():
            raise BuildError(f"{manifest.name}: {need.what} is missing: "
                             f"{need.mend}")
    with files.problems(BuildError, f"{manifest.name} cannot be built"):
        return _build(manifest, plan, out)
