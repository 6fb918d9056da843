# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl key."""

from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.guest import signature


def run(env: Environment, path: Path | None) -> None:
    """Makes a pair of keys, and says what to do with the public one."""
    path = path or signature.default_key()
    public = signature.new_key(path)
    files = {"private": str(path), "public": str(path.with_suffix(".pub")),
             "fingerprint": public.fingerprint}
    if env.as_json:
        env.result_json(files)
        return
    for name, value in files.items():
        env.result(f"{name:12} {value}")
    env.note(f"whoever verifies puts {files['public']} into "
             f"{signature.default_trust()}")
