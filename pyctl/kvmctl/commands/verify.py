# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl verify."""

from pathlib import Path

from kvmctl.environment import Environment
from kvmctl.errors import SignatureError
from kvmctl.guest import signature


def run(env: Environment, programs: tuple[Path, ...],
        trust: Path | None) -> None:
    """Shows who signed each; fails when one is not good."""
    keys = signature.trusted(trust)
    rows, wrong = [], []
    for program in programs:
        try:
            key = signature.require(program, keys)
            rows.append({"program": str(program), "good": True,
                         "by": key.name, "fingerprint": key.fingerprint})
        except SignatureError as e:
            wrong.append(str(e))
            rows.append({"program": str(program), "good": False,
                         "error": str(e)})
    if env.as_json:
        env.result_json(rows)
    else:
        for row in rows:
            if row["good"]:
                env.result(f"{row['program']}  signed by {row['by']} "
                           f"({str(row['fingerprint'])[:16]}...)")
    if wrong:
        raise SignatureError("\n".join(wrong))
