# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl completion."""

import click
from click.shell_completion import get_completion_class

from kvmctl.environment import Environment


def run(env: Environment, command: click.Command, shell: str,
        variable: str) -> None:
    """The script that a shell reads at its start.

    With it the shell asks kvmctl itself, by the variable, what comes next.
    """
    kind = get_completion_class(shell)
    assert kind is not None             # the option's choices are click's
    env.stdout.write(kind(command, {}, "kvmctl", variable).source())
