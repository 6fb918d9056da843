# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl sign."""

from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.guest import signature


def run(env: Environment, programs: tuple[Path, ...],
        key: Path | None) -> None:
    """Signs each; the files of the signatures are the result."""
    signer = signature.load_private(key)
    made = [str(signature.sign(program, signer)) for program in programs]
    if env.as_json:
        env.result_json(made)
    else:
        for file in made:
            env.result(file)
