# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl syscalls."""

from typing import Any

from kvmctl.engine import Engine
from kvmctl.environment import Environment

_HEAD = """\
# Linux calls

What a guest's system calls do, made by `kvmctl syscalls --markdown` from
table.c. *full*: with Linux's own semantics and error numbers; *partial*: as far
as the note says; *refused*: with the error number that the note says. All
others answer ENOSYS, and are counted by name in `tinykvm.stats()`.

Each costs the exit that enters the host, and none beside it; a call that waits
costs the switch to another thread.

| call | support | note |
|---|---|---|
"""


def markdown(calls: list[dict[str, Any]]) -> str:
    """The table as a document."""
    return _HEAD + "".join(
        f"| {c['name']} | {c['support']} | {c['note']} |\n"
        for c in sorted(calls, key=lambda c: str(c["name"])))


def run(env: Environment, as_markdown: bool) -> None:
    """Shows the table of calls."""
    with Engine() as engine:
        calls = engine.linux_calls()
    if env.as_json:
        env.result_json(calls)
    elif as_markdown:
        env.result(markdown(calls).rstrip("\n"))
    else:
        for c in sorted(calls, key=lambda c: str(c["name"])):
            env.result(f"{c['name']:24} {c['support']:8} {c['note']}"
                       .rstrip())
