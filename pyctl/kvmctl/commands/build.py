# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl build."""

from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.guest import manifest, toolchains


def run(env: Environment, guests: tuple[Path, ...], out: Path) -> None:
    """Builds each; stops at the first that does not compile."""
    records = []
    for directory in guests:
        guest = manifest.load(directory)
        env.status(f"building {guest.name} ...")
        artefact = toolchains.build(guest, out)
        records.append(artefact.record
                       | {"executable": str(artefact.executable),
                          "fresh": artefact.fresh})
        if not env.as_json:
            word = "built" if artefact.fresh else "unchanged"
            env.result(f"{artefact.executable}  {artefact.record['size']} "
                       f"bytes  {artefact.record['sha256'][:12]}  {word}")
    if env.as_json:
        env.result_json(records)
