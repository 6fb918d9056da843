# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl inspect."""

from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.errors import GuestError
from kvmctl.guest.inspect import inspect


def run(env: Environment, program: Path) -> None:
    """Shows all; fails when the program cannot run as a guest."""
    seen = inspect(program)
    if env.as_json:
        env.result_json(seen.to_json())
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
        for key, value in rows:
            env.result(f"{key:10} {value}")
    if seen.problems:
        raise GuestError(f"{program}: " + "; ".join(seen.problems))
