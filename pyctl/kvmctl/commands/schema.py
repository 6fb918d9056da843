# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl schema."""

from kvmctl import schema
from kvmctl.environment import Environment


def run(env: Environment, name: str) -> None:
    """One schema in one piece."""
    env.result_json(schema.bundled(name))
