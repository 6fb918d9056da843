# SPDX-License-Identifier: BSD-2-Clause
"""kvmctl render."""

from pathlib import Path

from kvmctl import site as sites
from kvmctl.environment import Environment
from kvmctl.vcl import render


def run(env: Environment, path: Path) -> None:
    """The VCL, with a placeholder for the programs file of a release."""
    site = sites.load(path)
    library = (Path("/var/lib/tinykvm") / site.name / "programs.json"
               if site.programs else None)
    env.stdout.write(render(site, library, "shown by kvmctl render"))
