# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl build."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kvmctl.environment import Environment
from kvmctl.errors import BuildError, KvmctlError
from kvmctl.guest import manifest, toolchains
from kvmctl.guest.manifest import Manifest
from kvmctl.guest.toolchains import Artefact


def _all(env: Environment, guests: list[Manifest], out: Path,
         jobs: int) -> tuple[list[Artefact], list[KvmctlError]]:
    def one(it: Manifest) -> Artefact | KvmctlError:
        env.status(f"building {it.name} ...")
        try:
            return toolchains.build(it, out)
        except KvmctlError as e:
            return e

    with ThreadPoolExecutor(jobs) as pool:
        results = list(pool.map(one, guests))
    return ([r for r in results if isinstance(r, Artefact)],
            [r for r in results if isinstance(r, KvmctlError)])


def _to_json(artefact: Artefact) -> dict[str, Any]:
    return artefact.record | {
        "executable": str(artefact.executable), "how": artefact.how,
        "fresh": artefact.fresh, "warnings": artefact.warnings}


def run(env: Environment, guests: tuple[Path, ...], out: Path,
        jobs: int | None, sign: bool, key: Path | None) -> None:
    """Builds all; those that do not compile are told of together."""
    signer = None
    if sign:
        from kvmctl.guest import signature
        signer = signature.load_private(key)
    built, errors = _all(env, manifest.load_all(guests), out,
                         jobs or os.cpu_count() or 1)
    for artefact in built:
        if signer is not None:
            signature.sign(artefact.executable, signer)
        if artefact.warnings:
            env.note(artefact.warnings)
        if not env.as_json:
            env.result(f"{artefact.executable}  {artefact.record['size']} "
                       f"bytes  {artefact.record['sha256'][:12]}  "
                       f"{artefact.how}")
    if env.as_json:
        env.result_json([_to_json(a) for a in built])
    if len(errors) == 1:
        raise errors[0]
    if errors:
        for error in errors:
            env.error(str(error))
        raise BuildError(f"{len(errors)} of {len(errors) + len(built)} "
                         "programs were not built")
