# SPDX-License-Identifier: BSD-2-Clause
"""Compilers: one line from sources to a static executable."""

import hashlib
import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kvmctl import paths
from kvmctl.errors import BuildError
from kvmctl.guest.inspect import inspect
from kvmctl.guest.manifest import Manifest

#: (language, libc) -> compiler and the Debian package that has it.
COMPILERS = {
    ("c", "glibc"): ("gcc", "gcc"),
    ("c++", "glibc"): ("g++", "g++"),
    ("c", "musl"): ("musl-gcc", "musl-tools"),
}
_STANDARD = {"c": "-std=gnu11", "c++": "-std=c++17"}


@dataclass(frozen=True)
class Artefact:
    """A built program: the executable, and its record beside it."""

    executable: Path
    record: dict[str, Any]
    fresh: bool                 # False: nothing had changed


def command(manifest: Manifest, output: Path) -> list[str]:
    """The compiler line. Raises BuildError when there is no such compiler."""
    key = (manifest.language, manifest.libc)
    if key not in COMPILERS:
        raise BuildError(f"{manifest.path}: there is no {manifest.language} "
                         f"compiler for {manifest.libc}")
    compiler, package = COMPILERS[key]
    if shutil.which(compiler) is None:
        raise BuildError(f"{manifest.name}: {compiler} is missing: "
                         f"apt-get install {package}")
    return [compiler, _STANDARD[manifest.language], "-static", "-O2", "-g",
            "-Wall", "-Wextra", "-ffile-prefix-map="
            f"{manifest.directory}=.", f"-I{paths.sdk()}", *manifest.cflags,
            *(str(s) for s in manifest.sources), "-o", str(output),
            *(f"-l{lib}" for lib in manifest.libraries)]


def _inputs_hash(manifest: Manifest, line: list[str]) -> str:
    """All that the result depends on, but the compiler's own version."""
    h = hashlib.sha256(json.dumps([line, manifest.settings],
                                  sort_keys=True).encode())
    files = sorted(p for p in {*manifest.directory.rglob("*.h"),
                               *manifest.directory.rglob("*.hpp"),
                               *paths.sdk().rglob("*.h"), *manifest.sources})
    for path in files:
        h.update(str(path).encode() + b"\0" + path.read_bytes())
    return h.hexdigest()


def _explain(manifest: Manifest, output: str) -> str:
    lines = [line for line in output.splitlines()
             if ("error" in line or "cannot find" in line
                 or "undefined reference" in line)
             and not line.startswith("collect2:")]
    text = "\n".join(lines[:10]) or output.strip()[-2000:]
    if manifest.packages and ("cannot find" in text or
                              "No such file" in text):
        text += ("\nits packages: apt-get install "
                 + " ".join(manifest.packages))
    return text


def build(manifest: Manifest, out: Path) -> Artefact:
    """Compiles into OUT/NAME/NAME, unless nothing changed.

    Raises BuildError with the compiler's own message.
    """
    directory = out.resolve() / manifest.name
    executable = directory / manifest.name
    record_file = directory / f"{manifest.name}.json"
    line = command(manifest, executable)
    inputs = _inputs_hash(manifest, line)
    try:
        record = json.loads(record_file.read_text())
        if record["inputs"] == inputs and executable.exists():
            return Artefact(executable, record, fresh=False)
    except (OSError, ValueError, KeyError):
        pass
    directory.mkdir(parents=True, exist_ok=True)
    partial = directory / f".{manifest.name}.partial"
    line[line.index("-o") + 1] = str(partial)
    done = subprocess.run(line, capture_output=True, text=True,
                          cwd=manifest.directory, check=False)
    if done.returncode != 0:
        partial.unlink(missing_ok=True)
        raise BuildError(f"{manifest.name} does not compile:\n"
                         + _explain(manifest, done.stderr))
    seen = inspect(partial)
    if seen.problems:
        partial.unlink(missing_ok=True)
        raise BuildError(f"{manifest.name}: " + "; ".join(seen.problems))
    os.replace(partial, executable)
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
