# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl diff."""

from pathlib import Path
from typing import Any

from kvmctl.environment import Environment
from kvmctl.guest import record, signature
from kvmctl.guest.inspect import inspect, symbol_sizes

_SHOWN = 20                             # functions


def _facts(program: Path) -> dict[str, Any]:
    """What is compared, by names of one level."""
    seen = inspect(program, has_files=True)
    facts: dict[str, Any] = {
        "sha256": seen.sha256, "size": seen.size, "kind": seen.kind,
        "symbols": seen.symbols, "abi_calls": list(seen.abi_calls),
        "signed by": signature.signer(program)}
    for number, segment in enumerate(seen.segments):
        facts[f"segment {number} ({segment.flags})"] = segment.memory_size
    for name, value in (record.read(program) or {}).items():
        if isinstance(value, dict):
            facts |= {f"{name}.{key}": v for key, v in value.items()}
        else:
            facts.setdefault(name, value)
    return facts


def _functions(one: Path, other: Path) -> list[dict[str, Any]]:
    """Functions whose sizes differ, the most different first."""
    a, b = symbol_sizes(one), symbol_sizes(other)
    rows = [{"function": n, "before": a.get(n), "after": b.get(n)}
            for n in a.keys() | b.keys() if a.get(n) != b.get(n)]
    return sorted(rows, key=lambda r: (
        -abs((r["after"] or 0) - (r["before"] or 0)), str(r["function"])))


def _change(before: Any, after: Any) -> str:
    if isinstance(before, list) and isinstance(after, list):
        words = [f"-{v}" for v in before if v not in after]
        words += [f"+{v}" for v in after if v not in before]
        return " ".join(map(str, words)) or "another order"
    if isinstance(before, int) and isinstance(after, int):
        return f"{before} -> {after} ({after - before:+})"
    return f"{'-' if before is None else before} -> " \
           f"{'-' if after is None else after}"


def run(env: Environment, one: Path, other: Path) -> None:
    """Shows what differs between two builds; nothing when they are alike."""
    a, b = _facts(one), _facts(other)
    changes = {name: (a.get(name), b.get(name)) for name in [*a, *b]
               if a.get(name) != b.get(name)}
    functions = _functions(one, other) if "sha256" in changes else []
    if env.as_json:
        env.result_json({
            "changes": {n: {"before": x, "after": y}
                        for n, (x, y) in changes.items()},
            "functions": functions})
        return
    for name, (before, after) in changes.items():
        env.result(f"{name:24} {_change(before, after)}")
    for row in functions[:_SHOWN]:
        env.result(f"  {row['function']:40} "
                   f"{_change(row['before'] or 0, row['after'] or 0)} bytes")
    if len(functions) > _SHOWN:
        env.result(f"  and {len(functions) - _SHOWN} more functions")
    if not changes:
        env.note("they are the same")
