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
    text = render(site, library, "shown by kvmctl render")
    if env.as_json:
        env.result_json({"site": site.name, "vcl": text})
    else:
        env.stdout.write(text)
