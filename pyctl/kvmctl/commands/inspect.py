# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl inspect."""

import json
from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.errors import GuestError
from kvmctl.guest import record, signature
from kvmctl.guest.inspect import inspect


def run(env: Environment, program: Path) -> None:
    """Shows all; fails when the program cannot run as a guest."""
    about = record.read(program) or {}
    seen = inspect(program,
                   bool(about.get("permissions", {}).get("allowed_paths")))
    if about and about["sha256"] != seen.sha256:
        env.warn(f"{record.file(program)} is the record of something else")
        about = {}
    signer = signature.signer(program) if about else None
    if env.as_json:
        env.result_json(seen.to_json() | {"record": about or None,
                                          "signed_by": signer})
    else:
        rows = [
            ("file", seen.file), ("sha256", seen.sha256),
            ("size", f"{seen.size} bytes"),
            ("kind", f"{seen.kind}, {seen.machine}"),
            ("entry", f"0x{seen.entry:x}"),
            ("W^X", "yes" if seen.write_xor_execute else "NO"),
            ("symbols", str(seen.symbols)),
            ("guest API", ", ".join(seen.abi_calls) or "none found"),
        ]
        rows += [("segment", f"{s.flags} 0x{s.address:x} {s.memory_size} bytes,"
                  f" {s.file_size} of the file") for s in seen.segments]
        if about:
            rows += [("language", f"{about['language']}, {about['libc']}"),
                     ("SDK", f"{about['sdk']['version']}, "
                      f"{about['sdk']['sha256'][:12]}")]
            rows += [(part, ", ".join(f"{k} = {json.dumps(v)}" for k, v in
                                      about[part].items()) or "the defaults")
                     for part in ("limits", "permissions")]
            rows.append(("signed by", f"{signer[:16]}..., not verified here"
                         if signer else "nobody"))
        for key, value in rows:
            env.result(f"{key:11} {value}")
    if seen.problems:
        raise GuestError(f"{program}: " + "; ".join(seen.problems))
